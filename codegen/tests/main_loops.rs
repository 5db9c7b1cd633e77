//! Main loops as an independent decoder reads them: what they spend on their multiply-accumulates, against the least that
//! their tile allows. `docs/main-loops.md` has the table; set `GEMMILL_BLESS=1` to write it anew.

#![cfg(target_arch = "x86_64")]

mod common;
#[path = "common/listing.rs"]
mod listing;

use std::fmt::Write;

use common::{Tile, has_dots, machine_tiers, tiles};
use gemmill_codegen::*;
use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};
use listing::Listing;

/// Instructions of one group on the vector ports, or on the one of tiles.
fn arithmetic_per_group(tile: Tile, section: Section) -> usize {
    let (rows, vectors) = (usize::from(tile.rows), usize::from(tile.vectors));
    if tile.layout == Layout::Tiles {
        return rows.div_ceil(16) * section.steps() * vectors;
    }
    rows * match section {
        Section::Wide => 4 * vectors,
        // Masking and shifting are for all vectors of a row.
        Section::Split => 4 * vectors + 2,
        Section::Shuffled => 3 * vectors + 1,
        Section::Dot8 | Section::Dot => section.steps() * vectors,
        _ => (2 * section.steps() + 1) * vectors,
    }
}

/// The loop that a section spends its time in.
struct MainLoop {
    code: Vec<Instruction>,
    /// Groups of one iteration.
    groups: usize,
}

impl MainLoop {
    fn new(tier: Tier, tile: Tile, section: Section) -> MainLoop {
        let desc = tile.desc(tier, [section].into_iter().collect());
        let kernel = Kernel::generate(&desc).unwrap();
        let listing = Listing::new(desc.to_string(), kernel.bytes());
        let longest = listing.main_loops().into_iter().max_by_key(|r| r.len()).expect("a loop");
        let code = listing.code[longest].to_vec();
        // A group reads each of its offsets once.
        let offsets = code.iter().filter(|i| i.mnemonic() == Mnemonic::Movzx).count();
        assert_eq!(offsets % section.offsets(), 0, "{desc}");
        MainLoop { code, groups: offsets / section.offsets() }
    }

    /// Instructions on the vector ports. Broadcasts and other loads need a load port only.
    fn vector_arithmetic(&self) -> usize {
        self.code.iter().filter(|i| is_arithmetic(i)).count()
    }

    /// Instructions that read a vector or a tile from memory, and nothing more. Operands in memory are not counted.
    fn loads(&self) -> usize {
        let reads = |i: &&Instruction| i.memory_base() != Register::None && !is_scalar(i);
        self.code.iter().filter(reads).filter(|i| !is_arithmetic(i)).count()
    }
}

fn is_arithmetic(i: &Instruction) -> bool {
    use Mnemonic::*;
    matches!(i.mnemonic(), Vpmaddubsw | Vpmaddwd | Vpaddw | Vpaddd | Vpshufb | Vpand | Vpandd | Vpsrlw)
        || matches!(i.mnemonic(), Vpdpbusd | Tdpbusd | Tdpbssd)
}

/// Whether an instruction has no vector and no tile.
fn is_scalar(i: &Instruction) -> bool {
    (0..i.op_count()).all(|op| i.op_kind(op) != OpKind::Register || i.op_register(op).is_gpr())
}

/// The sections of a tier.
fn sections_of(tier: Tier) -> impl Iterator<Item = Section> {
    Section::ALL.into_iter().filter(move |s| s.is_dot() == has_dots(tier))
}

/// Every main loop there is.
fn each_main_loop(test: &str, check: impl Fn(Tier, Tile, Section, &MainLoop)) {
    for tier in machine_tiers(test) {
        for (tile, section) in tiles(tier).into_iter().flat_map(|t| sections_of(tier).map(move |s| (t, s))) {
            check(tier, tile, section, &MainLoop::new(tier, tile, section));
        }
    }
}

#[test]
fn main_loops_spend_what_schedules_reckon_with() {
    each_main_loop("main_loops_spend_what_schedules_reckon_with", |tier, tile, section, main_loop| {
        let expected = main_loop.groups * arithmetic_per_group(tile, section);
        let groups = main_loop.groups;
        assert_eq!(main_loop.vector_arithmetic(), expected, "{tier} {tile:?} {section:?}: {groups} groups");
    });
}

#[test]
fn main_loops_store_and_spill_nothing() {
    each_main_loop("main_loops_store_and_spill_nothing", |tier, tile, section, main_loop| {
        let mut info = InstructionInfoFactory::new();
        for i in &main_loop.code {
            for used in info.info(i).used_memory() {
                let reads = matches!(used.access(), OpAccess::Read | OpAccess::NoMemAccess);
                assert!(reads, "{tier} {tile:?} {section:?}: {i} writes memory");
                assert_ne!(used.base(), Register::RSP, "{tier} {tile:?} {section:?}: {i} uses the stack");
            }
        }
    });
}

#[test]
fn main_loops_move_nothing_between_registers() {
    use Mnemonic::*;
    each_main_loop("main_loops_move_nothing_between_registers", |tier, tile, section, main_loop| {
        let moves = |m| {
            matches!(m, Mov | Vmovdqa | Vmovdqu | Vmovdqa32 | Vmovdqu32 | Vmovdqa64 | Vmovdqu64 | Vmovaps | Vmovups)
        };
        let between = |i: &&Instruction| moves(i.mnemonic()) && (0..2).all(|op| i.op_kind(op) == OpKind::Register);
        if let Some(i) = main_loop.code.iter().find(between) {
            panic!("{tier} {tile:?} {section:?}: {i}");
        }
    });
}

/// Instructions that a group cannot do without: its arithmetic, and each step of A once for each row. Packed vectors can be
/// operands of the multiplications (they are the signed factor, which may be in memory), packed tiles cannot.
fn least_instructions(tile: Tile, section: Section) -> usize {
    let (rows, vectors) = (usize::from(tile.rows), usize::from(tile.vectors));
    let loads = match tile.layout {
        Layout::Tiles => section.steps() * (rows.div_ceil(16) + vectors),
        _ if section == Section::Wide => 2 * rows,
        _ => section.steps() * rows,
    };
    arithmetic_per_group(tile, section) + loads
}

/// The tiles that the table shows: every width at MR rows, and the widest at one.
fn shown(tier: Tier) -> Vec<Tile> {
    let widths = || micro_tiles(tier).iter().filter(|t| !matches!(t.layout, Layout::FourColumns | Layout::Depth));
    let of_rows = |t: &MicroTile, rows: usize| Tile {
        layout: t.layout,
        activations: Byte::U8,
        rows: rows as u8,
        vectors: t.vectors as u8,
    };
    widths().map(|t| of_rows(t, t.mr)).chain(widths().take(1).map(|t| of_rows(t, 1))).collect()
}

/// A tier's part of the table. Figures are by group.
fn table(tier: Tier) -> String {
    let mut text = format!("## {tier}\n\n");
    text += "| tile | section | instructions | arithmetic | loads | rest | MAC/instruction | best | of best |\n";
    text += "|------|---------|-------------:|-----------:|------:|-----:|----------------:|-----:|--------:|\n";
    for (tile, section) in shown(tier).into_iter().flat_map(|t| sections_of(tier).map(move |s| (t, s))) {
        let main_loop = MainLoop::new(tier, tile, section);
        let per_group = |count: usize| count as f64 / main_loop.groups as f64;
        let (all, loads) = (per_group(main_loop.code.len()), per_group(main_loop.loads()));
        let arithmetic = arithmetic_per_group(tile, section) as f64;
        let macs = usize::from(tile.rows) * usize::from(tile.vectors) * tile.layout.vector_bytes() * section.steps();
        let (found, best) = (macs as f64 / all, macs as f64 / least_instructions(tile, section) as f64);
        writeln!(
            text,
            "| {}x{} | {} | {all:.1} | {arithmetic:.0} | {loads:.1} | {:.1} | {found:.1} | {best:.1} | {:.0} % |",
            tile.rows,
            tile.panel_cols(),
            section.name(),
            all - arithmetic - loads,
            100.0 * found / best,
        )
        .unwrap();
    }
    text
}

#[test]
fn the_table_is_that_of_the_documentation() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/main-loops.md");
    let document = include_str!("../../docs/main-loops.md");
    let mut written = document.to_owned();
    for tier in machine_tiers("the_table_is_that_of_the_documentation") {
        let heading = format!("## {tier}\n");
        let start = written.find(&heading).unwrap_or_else(|| panic!("{path} has no part on {tier}"));
        let end = written[start + 1..].find("\n## ").map_or(written.len(), |at| start + 1 + at + 1);
        let rest = if end < written.len() { "\n" } else { "" };
        written.replace_range(start..end, &(table(tier) + rest));
    }
    if std::env::var_os("GEMMILL_BLESS").is_some() {
        std::fs::write(path, &written).unwrap();
    } else if let Some((was, is)) = document.lines().zip(written.lines()).find(|(was, is)| was != is) {
        panic!("{path} says\n{was}\nbut main loops give\n{is}\nSet GEMMILL_BLESS=1 to write the table anew.");
    }
}
