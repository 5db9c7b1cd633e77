//! Main loops as an independent decoder reads them: what they spend on their multiply-accumulates, against the least
//! that their tile allows. `docs/main-loops.md` has the table; set `GEMMILL_BLESS=1` to write it anew.

#![cfg(target_arch = "x86_64")]

mod common;
#[path = "common/listing.rs"]
mod listing;

use std::fmt::{Display, Write};

use common::{Tile, has_dots, machine_tiers, tiles};
use gemmill_codegen::*;
use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};
use listing::Listing;

/// Instructions of one bundle on the vector ports, or on the one of tiles.
fn arithmetic_per_bundle(tile: Tile, section: Section) -> usize {
    let (rows, vectors) = (usize::from(tile.rows), usize::from(tile.vectors));
    if tile.layout == Layout::Tiles {
        return rows.div_ceil(16) * section.steps() * vectors;
    }
    if tile.layout == Layout::RowsOfTiles {
        return rows * section.steps() * 16 * vectors;
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

/// The loop that a section, or a kernel of the float family, spends its time in.
struct MainLoop {
    code: Vec<Instruction>,
    /// Bundles of one iteration; of a float kernel: k, pairs of k, or tiles of k.
    bundles: usize,
}

/// The longest of a kernel's main loops.
fn longest_loop(name: String, kernel: &[u8]) -> Vec<Instruction> {
    let listing = Listing::new(name, kernel);
    let longest = listing.main_loops().into_iter().max_by_key(|r| r.len()).expect("a loop");
    listing.code[longest].to_vec()
}

impl MainLoop {
    fn new(tier: Tier, tile: Tile, section: Section) -> MainLoop {
        let desc = tile.desc(tier, [section].into_iter().collect());
        let kernel = Kernel::generate(&desc).unwrap();
        let code = longest_loop(desc.to_string(), kernel.bytes());
        // A bundle reads each of its offsets once.
        let offsets = code.iter().filter(|i| i.mnemonic() == Mnemonic::Movzx).count();
        assert_eq!(offsets % section.offsets(), 0, "{desc}");
        MainLoop { code, bundles: offsets / section.offsets() }
    }

    fn of_floats(tile: FloatLoop) -> MainLoop {
        let desc = tile.desc();
        let kernel = Kernel::generate(&desc).unwrap();
        let code = longest_loop(desc.to_string(), kernel.bytes());
        let product = match tile.products {
            FloatProducts::Chain => Mnemonic::Vfmadd231ps,
            FloatProducts::Dot(HardwareDot::Avx512Bf16) => Mnemonic::Vdpbf16ps,
            FloatProducts::Dot(HardwareDot::AmxBf16) => Mnemonic::Tdpbf16ps,
        };
        let products = code.iter().filter(|i| i.mnemonic() == product).count();
        assert!(products > 0 && products.is_multiple_of(tile.products_of_step()), "{desc}");
        MainLoop { code, bundles: products / tile.products_of_step() }
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
    // A load that leaves some elements alone has to put the others among them.
    let merges = i.mnemonic() == Vmovdqu16 && i.has_op_mask() && !i.zeroing_masking();
    matches!(i.mnemonic(), Vpmaddubsw | Vpmaddwd | Vpaddw | Vpaddd | Vpshufb | Vpand | Vpandd | Vpsrlw)
        || matches!(i.mnemonic(), Vpdpbusd | Tdpbusd | Tdpbssd | Vfmadd231ps | Vcvtph2ps | Vpslld | Vpsrld)
        || matches!(i.mnemonic(), Vdpbf16ps | Tdpbf16ps)
        || merges
}

/// Whether an instruction has no vector and no tile.
fn is_scalar(i: &Instruction) -> bool {
    (0..i.op_count()).all(|op| i.op_kind(op) != OpKind::Register || i.op_register(op).is_gpr())
}

/// The sections of a tier.
fn sections_of(tier: Tier) -> impl Iterator<Item = Section> {
    Section::ALL.into_iter().filter(move |s| s.is_dot() == has_dots(tier))
}

/// A kernel of the float family by its main loop.
#[derive(Debug, Clone, Copy)]
struct FloatLoop {
    tier: Tier,
    products: FloatProducts,
    weights: FloatType,
    expansion: Expansion,
    a: FloatRows,
    rows: usize,
    vectors: usize,
}

impl FloatLoop {
    fn desc(self) -> FloatKernelDesc {
        FloatKernelDesc {
            tier: self.tier,
            products: self.products,
            weights: self.weights.into(),
            expansion: self.expansion,
            a: self.a,
            sweep: Sweep::Column,
            rows: self.rows as u8,
            vectors: self.vectors as u8,
            cols: (self.vectors * float_lanes(self.tier)) as u8,
            start: FloatStart::Zero,
            finish: FloatFinish::Scratch,
            c: FloatType::F32,
            prefetch: FloatPrefetch::None,
        }
    }

    /// Products of a step: of one k, a pair of k, or a tile of k.
    fn products_of_step(self) -> usize {
        let rows = if self.products.in_tiles(self.tier) { self.rows.div_ceil(16) } else { self.rows };
        rows * self.vectors
    }

    /// k of a step.
    fn step_depth(self) -> usize {
        self.products.group()
    }

    /// Instructions of a step on the vector ports: products, and what makes f32 or pairs of each vector of weights.
    fn arithmetic(self) -> usize {
        let made = match (self.expansion, self.weights, self.products) {
            (Expansion::InRegisters, _, FloatProducts::Dot(_)) => 2 * self.vectors,
            (Expansion::InRegisters, FloatType::F16 | FloatType::Bf16, FloatProducts::Chain) => self.vectors,
            _ => 0,
        };
        self.products_of_step() + made
    }

    /// Instructions that a step cannot do without: its arithmetic, and rows of A, or tiles of both.
    fn least_instructions(self) -> usize {
        let tiles = self.products.in_tiles(self.tier);
        self.arithmetic() + if tiles { self.rows.div_ceil(16) + self.vectors } else { self.rows }
    }
}

/// Hardware dot products that a tier has, here.
fn dots_of(tier: Tier) -> impl Iterator<Item = HardwareDot> {
    HardwareDot::ALL.into_iter().filter(move |dot| dot.require(tier).is_ok())
}

/// Every loop of a tier's kernels with hardware dot products but those that keep pairs.
fn each_dot_loop(tier: Tier, dot: HardwareDot, check: impl Fn(FloatLoop, &MainLoop)) {
    let products = FloatProducts::Dot(dot);
    for tile in float_tiles_of(tier, products) {
        for (rows, vectors) in (1..=tile.max_rows).flat_map(|r| (2..=tile.vectors).step_by(2).map(move |v| (r, v))) {
            let (weights, a) = (FloatType::Bf16, FloatRows::Strided);
            let reused = FloatLoop { tier, products, weights, expansion: Expansion::Reused, a, rows, vectors };
            check(reused, &MainLoop::of_floats(reused));
            if !products.in_tiles(tier) {
                let in_registers = FloatLoop { expansion: Expansion::InRegisters, ..reused };
                check(in_registers, &MainLoop::of_floats(in_registers));
            }
        }
    }
}

/// Every main loop of the float family but those that keep f32, which are there to store.
fn each_float_loop(test: &str, check: impl Fn(FloatLoop, &MainLoop)) {
    for tier in machine_tiers(test) {
        dots_of(tier).for_each(|dot| each_dot_loop(tier, dot, &check));
        let sizes = float_tiles(tier).iter().flat_map(|tile| {
            let vectors = (2..=tile.vectors).step_by(2);
            vectors.flat_map(|vectors| (1..=tile.max_rows).map(move |rows| (rows, vectors)))
        });
        for (rows, vectors) in sizes {
            for (weights, a) in
                FloatType::ALL.into_iter().flat_map(|w| [FloatRows::Strided, FloatRows::Interleaved].map(|a| (w, a)))
            {
                let (products, expansion) = (FloatProducts::Chain, Expansion::InRegisters);
                let in_registers = FloatLoop { tier, products, weights, expansion, a, rows, vectors };
                check(in_registers, &MainLoop::of_floats(in_registers));
                if vectors == 2 {
                    let reused = FloatLoop { expansion: Expansion::Reused, ..in_registers };
                    check(reused, &MainLoop::of_floats(reused));
                }
            }
        }
    }
}

/// Every main loop of the int8 family.
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
        let expected = main_loop.bundles * arithmetic_per_bundle(tile, section);
        let bundles = main_loop.bundles;
        assert_eq!(main_loop.vector_arithmetic(), expected, "{tier} {tile:?} {section:?}: {bundles} bundles");
    });
}

#[test]
fn float_loops_convert_each_vector_of_weights_once() {
    each_float_loop("float_loops_convert_each_vector_of_weights_once", |tile, main_loop| {
        assert_eq!(main_loop.vector_arithmetic(), main_loop.bundles * tile.arithmetic(), "{tile:?}");
    });
}

/// Panics if a loop writes memory or uses the stack.
fn stores_and_spills_nothing(name: impl Display, main_loop: &MainLoop) {
    let mut info = InstructionInfoFactory::new();
    for i in &main_loop.code {
        for used in info.info(i).used_memory() {
            let reads = matches!(used.access(), OpAccess::Read | OpAccess::NoMemAccess);
            assert!(reads, "{name}: {i} writes memory");
            assert_ne!(used.base(), Register::RSP, "{name}: {i} uses the stack");
        }
    }
}

#[test]
fn main_loops_store_and_spill_nothing() {
    let test = "main_loops_store_and_spill_nothing";
    each_main_loop(test, |tier, tile, section, main_loop| {
        stores_and_spills_nothing(format_args!("{tier} {tile:?} {section:?}"), main_loop);
    });
    each_float_loop(test, |tile, main_loop| stores_and_spills_nothing(tile.desc(), main_loop));
}

/// A weight of few bits costs two instructions to be found in a mantissa, one to be scaled, and one for each row; a
/// dword is loaded once, and shifted at most once for each k. Nothing is stored.
#[test]
fn loops_of_groups_make_a_weight_of_three_instructions() {
    use Mnemonic::*;
    for tier in machine_tiers("loops_of_groups_make_a_weight_of_three_instructions") {
        for (tile, bits) in float_tiles(tier).iter().flat_map(|tile| [2u8, 4].map(|bits| (tile, bits))) {
            for (rows, vectors) in (1..=tile.rows).flat_map(|r| (2..=tile.vectors).step_by(2).map(move |v| (r, v))) {
                let layout = GroupLayout { bits, zero_points: GroupZeroPoints::PerColumn };
                let groups = WeightGroups { layout, size: 128, scales: GroupScales::Moderate };
                let of_numbers = FloatLoop {
                    tier,
                    products: FloatProducts::Chain,
                    weights: FloatType::F32,
                    expansion: Expansion::InRegisters,
                    a: FloatRows::Strided,
                    rows,
                    vectors,
                };
                let desc = FloatKernelDesc { weights: FloatWeights::Groups(groups), ..of_numbers.desc() };
                let kernel = Kernel::generate(&desc).unwrap();
                let main_loop = MainLoop { code: longest_loop(desc.to_string(), kernel.bytes()), bundles: 1 };
                stores_and_spills_nothing(desc, &main_loop);
                let count = |of: &[Mnemonic]| main_loop.code.iter().filter(|i| of.contains(&i.mnemonic())).count();
                let weights = vectors * layout.step_depth();
                assert_eq!(count(&[Vfmadd231ps]), rows * weights, "{desc}");
                assert_eq!(count(&[Vfmadd213ps]), weights, "{desc}");
                let (two, one) = (count(&[Vpand, Vpandd, Vpor, Vpord]), count(&[Vpternlogd]));
                assert_eq!(two / 2 + one, weights, "{desc}");
                assert!(count(&[Vpslld, Vpsrld]) <= weights, "{desc}");
            }
        }
    }
}

/// Panics if a loop copies a register.
fn moves_nothing_between_registers(name: impl Display, main_loop: &MainLoop) {
    use Mnemonic::*;
    let moves =
        |m| matches!(m, Mov | Vmovdqa | Vmovdqu | Vmovdqa32 | Vmovdqu32 | Vmovdqa64 | Vmovdqu64 | Vmovaps | Vmovups);
    let between = |i: &&Instruction| moves(i.mnemonic()) && (0..2).all(|op| i.op_kind(op) == OpKind::Register);
    if let Some(i) = main_loop.code.iter().find(between) {
        panic!("{name}: {i}");
    }
}

#[test]
fn main_loops_move_nothing_between_registers() {
    let test = "main_loops_move_nothing_between_registers";
    each_main_loop(test, |tier, tile, section, main_loop| {
        moves_nothing_between_registers(format_args!("{tier} {tile:?} {section:?}"), main_loop);
    });
    each_float_loop(test, |tile, main_loop| moves_nothing_between_registers(tile.desc(), main_loop));
}

/// Instructions that a bundle cannot do without: its arithmetic, and each step of A once for each row. Packed vectors
/// can be operands of the multiplications (they are the signed factor, which may be in memory), packed tiles cannot.
fn least_instructions(tile: Tile, section: Section) -> usize {
    let (rows, vectors) = (usize::from(tile.rows), usize::from(tile.vectors));
    let loads = match tile.layout {
        Layout::Tiles => section.steps() * (rows.div_ceil(16) + vectors),
        Layout::RowsOfTiles => section.steps() * 16 * rows,
        _ if section == Section::Wide => 2 * rows,
        _ => section.steps() * rows,
    };
    arithmetic_per_bundle(tile, section) + loads
}

/// The tiles that the table shows: every width at MR rows, and the widest at one.
fn shown(tier: Tier) -> Vec<Tile> {
    let by_columns = |t: &&MicroTile| !matches!(t.layout, Layout::FourColumns | Layout::Depth | Layout::RowsOfTiles);
    let widths = || micro_tiles(tier).iter().filter(by_columns);
    let of_rows = |t: &MicroTile, rows: usize| Tile {
        layout: t.layout,
        activations: Byte::U8,
        rows: rows as u8,
        vectors: t.vectors as u8,
    };
    widths().map(|t| of_rows(t, t.mr)).chain(widths().take(1).map(|t| of_rows(t, 1))).collect()
}

/// A tier's part of the table. Figures are by bundle.
fn table(tier: Tier) -> String {
    let mut text = format!("## {tier}\n\n");
    text += "| tile | section | instructions | arithmetic | loads | rest | MAC/instruction | best | of best |\n";
    text += "|------|---------|-------------:|-----------:|------:|-----:|----------------:|-----:|--------:|\n";
    for (tile, section) in shown(tier).into_iter().flat_map(|t| sections_of(tier).map(move |s| (t, s))) {
        let main_loop = MainLoop::new(tier, tile, section);
        let per_bundle = |count: usize| count as f64 / main_loop.bundles as f64;
        let (all, loads) = (per_bundle(main_loop.code.len()), per_bundle(main_loop.loads()));
        let arithmetic = arithmetic_per_bundle(tile, section) as f64;
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

/// The float family's part of the table, for tiers of so many lanes. Figures are by k.
fn float_table(tier: Tier) -> String {
    let mut text = format!("### {} lanes\n\n", float_lanes(tier));
    text += "| tile | weights | instructions | arithmetic | loads | rest | MAC/instruction | best | of best |\n";
    text += "|------|---------|-------------:|-----------:|------:|-----:|----------------:|-----:|--------:|\n";
    let tiles = float_tiles(tier);
    // Every width at most rows, and the widest at one.
    let shown = tiles.iter().map(|t| (t.rows, t.vectors));
    let one_row = (1, tiles[0].vectors);
    for (rows, vectors) in shown.clone().chain([one_row].into_iter().filter(|&one| shown.clone().all(|s| s != one))) {
        for weights in FloatType::ALL {
            let (products, expansion, a) = (FloatProducts::Chain, Expansion::InRegisters, FloatRows::Strided);
            let tile = FloatLoop { tier, products, weights, expansion, a, rows, vectors };
            text += &float_line(tile, weights.name());
        }
    }
    text
}

/// A line of the float family's tables. Figures are by step.
fn float_line(tile: FloatLoop, name: &str) -> String {
    let main_loop = MainLoop::of_floats(tile);
    let per_step = |count: usize| count as f64 / main_loop.bundles as f64;
    let (all, loads, arithmetic) = (per_step(main_loop.code.len()), per_step(main_loop.loads()), tile.arithmetic());
    let (rows, cols) = (tile.rows, tile.vectors * float_lanes(tile.tier));
    let macs = (rows * cols * tile.step_depth()) as f64;
    let (found, best) = (macs / all, macs / tile.least_instructions() as f64);
    format!(
        "| {rows}x{cols} | {name} | {all:.1} | {arithmetic} | {loads:.1} | {:.1} | {found:.1} | {best:.1} \
         | {:.0} % |\n",
        all - arithmetic as f64 - loads,
        100.0 * found / best,
    )
}

/// The part of the table for hardware dot products. Figures are by pair of k, or by tile of 32 k.
fn dot_table(tier: Tier, dot: HardwareDot) -> String {
    let mut text = format!("### {dot}\n\n");
    text += "| tile | weights | instructions | arithmetic | loads | rest | MAC/instruction | best | of best |\n";
    text += "|------|---------|-------------:|-----------:|------:|-----:|----------------:|-----:|--------:|\n";
    let products = FloatProducts::Dot(dot);
    for tile in float_tiles_of(tier, products) {
        let (weights, a, rows, vectors) = (FloatType::Bf16, FloatRows::Strided, tile.max_rows, tile.vectors);
        let reused = FloatLoop { tier, products, weights, expansion: Expansion::Reused, a, rows, vectors };
        if !products.in_tiles(tier) {
            text += &float_line(FloatLoop { expansion: Expansion::InRegisters, ..reused }, "packed");
        }
        if vectors == 2 {
            text += &float_line(reused, "kept");
        }
    }
    text
}

/// Puts `text`, which begins with its heading, in the place of the part of the document that has this heading. Parts
/// end where the next heading begins.
fn replace_part(document: &mut String, text: &str) {
    let heading = &text[..text.find('\n').expect("a heading") + 1];
    let start = document.find(heading).unwrap_or_else(|| panic!("{DOCUMENT} has no part {heading}"));
    let mut ends = document[start + 1..].match_indices("\n#").map(|(at, _)| start + 1 + at);
    let end = ends.next().map_or(document.len(), |at| at + 1);
    let rest = if end < document.len() { "\n" } else { "" };
    document.replace_range(start..end, &format!("{text}{rest}"));
}

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/main-loops.md");

#[test]
fn the_table_is_that_of_the_documentation() {
    let document = include_str!("../../docs/main-loops.md");
    let mut written = document.to_owned();
    let tiers = machine_tiers("the_table_is_that_of_the_documentation");
    for &tier in &tiers {
        replace_part(&mut written, &table(tier));
        replace_part(&mut written, &float_table(tier));
    }
    for dot in HardwareDot::ALL {
        match tiers.iter().find(|&&tier| dot.require(tier).is_ok()) {
            Some(&tier) => replace_part(&mut written, &dot_table(tier, dot)),
            None => common::say(format_args!("SKIPPED the table on {dot}: no tier has it here")),
        }
    }
    // One table for all of them.
    for (a, b) in tiers.windows(2).map(|pair| (pair[0], pair[1])) {
        assert!(float_lanes(a) != float_lanes(b) || float_table(a) == float_table(b), "{a}, {b}");
    }
    if std::env::var_os("GEMMILL_BLESS").is_some() {
        std::fs::write(DOCUMENT, &written).unwrap();
    } else if let Some((was, is)) = document.lines().zip(written.lines()).find(|(was, is)| was != is) {
        panic!("{DOCUMENT} says\n{was}\nbut main loops give\n{is}\nSet GEMMILL_BLESS=1 to write the table anew.");
    }
}
