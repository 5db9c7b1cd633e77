//! The golden table of dispatch: what every tier does with many products, from weights to plan, on machines that are
//! given rather than the one at hand. So it is the same everywhere, and a change of any choice shows as a difference of
//! its lines: look at each, measure, then write the table anew with `GEMMILL_BLESS=1 cargo test --lib golden_table`.
//!
//! The portable tier is not in it: it does what AVX2 does, which a test of its own checks.

use std::collections::HashMap;
use std::fmt::Write as _;

use gemmill_codegen::{
    Ahead, Byte, Caches, Core, KernelDesc, Machine, Panels, Prefetch, Section, Sweep, Tier, sections,
};

use super::difference;
use crate::machine::threads::MACS_PER_THREAD;
use crate::ops::{AnyGemm, IntOutput};
use crate::plan::Resources;
use crate::plan::int8::Int8Plan;
use crate::run::int8::{kernel_desc, reads_in_place};
use crate::views::{ElementType, MatRef};
use crate::weights::PackedB;

const TABLE: &str = include_str!("int8.txt");

/// Numbers of threads whose parts the table shows.
const THREADS: [usize; 2] = [4, 16];

/// Machines, by name.
const MACHINES: [(&str, Machine); 3] = [
    ("zen3", Machine { core: Core::Zen, caches: Caches { l1: 32 << 10, l2: 512 << 10, l3: 32 << 20 } }),
    ("small", Machine { core: Core::Intel, caches: Caches { l1: 32 << 10, l2: 256 << 10, l3: 6 << 20 } }),
    ("large", Machine { core: Core::Intel, caches: Caches { l1: 48 << 10, l2: 2 << 20, l3: 64 << 20 } }),
];

/// Weights as they occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Values {
    /// Gaussian, quantized by tensor: the largest of many take the whole range.
    Gaussian,
    /// Uniform in -64..=63: no pair sum saturates.
    Safe,
    /// Uniform in -8..=7.
    FourBits,
    /// Uniform in -128..=127.
    Uniform,
}

impl Values {
    const ALL: [Values; 4] = [Values::Gaussian, Values::Safe, Values::FourBits, Values::Uniform];

    fn name(self) -> &'static str {
        match self {
            Values::Gaussian => "gaussian",
            Values::Safe => "safe",
            Values::FourBits => "4 bits",
            Values::Uniform => "uniform",
        }
    }

    /// The same `count` weights on every machine (splitmix64).
    fn weights(self, count: usize) -> Vec<i8> {
        let mut state = 0u64;
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let x = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^ x >> 31
        };
        let mut weight = || match self {
            // A sum of sixteen uniform numbers, with a standard deviation of 31.7: a quarter of the range.
            Values::Gaussian => {
                let bytes = [next().to_le_bytes(), next().to_le_bytes()];
                let sum: i32 = bytes.as_flattened().iter().map(|&b| 2 * i32::from(b) - 255).sum();
                (sum / 19).clamp(-128, 127) as i8
            }
            Values::Safe => (next() >> 57) as i8 - 64,
            Values::FourBits => (next() >> 60) as i8 - 8,
            Values::Uniform => (next() >> 56) as u8 as i8,
        };
        (0..count).map(|_| weight()).collect()
    }
}

/// M×N×K by group, groups.
type Shape = (usize, usize, usize, usize);

/// Of the tables in FBGEMM's benchmarks, of common networks, and where rules change.
const SHAPES: [Shape; 41] = [
    (156_800, 4, 36, 1),
    (156_800, 8, 36, 1),
    (156_800, 16, 36, 1),
    (1, 128, 512, 1),
    (1, 1024, 256, 1),
    (1, 4096, 1024, 1),
    (2, 4096, 1024, 1),
    (6, 256, 1024, 1),
    (6, 4096, 1024, 1),
    (7, 128, 512, 1),
    (7, 4096, 1024, 1),
    (12, 4096, 1024, 1),
    (13, 4096, 1024, 1),
    (20, 4096, 1024, 1),
    (102, 1024, 512, 1),
    (64, 800, 320, 1),
    (128, 128, 128, 1),
    (256, 512, 256, 1),
    (1024, 1024, 1024, 1),
    (2048, 2048, 2048, 1),
    (64, 64, 20_000, 1),
    (20_000, 100, 512, 1),
    (100, 5000, 512, 1),
    (1, 1, 4096, 1),
    (100, 1, 4096, 1),
    (100, 2, 4096, 1),
    (100, 3, 4096, 1),
    (100, 4, 4096, 1),
    (100, 5, 4096, 1),
    (100, 9, 4096, 1),
    (100, 17, 4096, 1),
    (1, 1, 1, 1),
    (100, 100, 1, 1),
    (100, 100, 3, 1),
    (100, 100, 5, 1),
    (100, 100, 63, 1),
    (100, 100, 64, 1),
    (5, 7, 0, 1),
    (3136, 4, 36, 32),
    (3136, 16, 144, 8),
    (196, 32, 288, 8),
];

/// Shapes that are also planned for the weights and the caches that others do without.
const MORE: [Shape; 4] = [(1, 4096, 1024, 1), (20, 4096, 1024, 1), (128, 128, 128, 1), (1024, 1024, 1024, 1)];

/// A line's place in the table.
#[derive(Debug, Clone, Copy)]
struct Row {
    shape: Shape,
    values: Values,
    machine: usize,
    activations: ElementType,
}

/// The rows of a tier: 32-bit dot products take all weights alike.
fn rows(tier: Tier) -> Vec<Row> {
    let values: &[Values] = if has_dots(tier) { &[Values::Gaussian] } else { &Values::ALL };
    let mut rows = Vec::new();
    for shape in SHAPES {
        for &values in values.iter().filter(|&&v| v == Values::Gaussian || v == Values::Safe || MORE.contains(&shape)) {
            rows.push(Row { shape, values, machine: 0, activations: ElementType::U8 });
        }
        if MORE.contains(&shape) {
            let gaussian = Row { shape, values: Values::Gaussian, machine: 0, activations: ElementType::U8 };
            rows.extend((1..MACHINES.len()).map(|machine| Row { machine, ..gaussian }));
            rows.push(Row { activations: ElementType::I8, ..gaussian });
        }
    }
    rows
}

fn has_dots(tier: Tier) -> bool {
    sections(tier).contains(Section::Dot)
}

/// What packed weights depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct PackedFrom {
    tier: Tier,
    /// K×N by group, groups.
    shape: (usize, usize, usize),
    values: Values,
    machine: usize,
}

/// Packed weights, each packed once: they don't depend on the rows of a product.
#[derive(Default)]
struct Weights {
    packed: HashMap<PackedFrom, PackedB>,
}

impl Weights {
    fn get(&mut self, tier: Tier, row: &Row) -> &PackedB {
        let (_, n, k, groups) = row.shape;
        let machine = MACHINES[row.machine].1;
        let from = PackedFrom { tier, shape: (k, n, groups), values: row.values, machine: row.machine };
        self.packed.entry(from).or_insert_with(|| {
            let weights = row.values.weights(k * n * groups);
            let b = MatRef::row_major(&weights, k, n * groups).unwrap();
            PackedB::builder(b).groups(groups).pack_for(tier, machine).unwrap()
        })
    }
}

/// What a product does.
fn line(tier: Tier, row: &Row, weights: &mut Weights) -> String {
    let (m, n, k, groups) = row.shape;
    let (name, machine) = MACHINES[row.machine];
    let packed = weights.get(tier, row).clone();
    let family = AnyGemm::int8(&packed, row.activations, IntOutput::Store).configure().unwrap();
    let view = packed.view();
    let in_place = reads_in_place(view, !family.kind.is_converted(view));
    let plan = |threads| {
        let resources = Resources { machine, threads, macs_per_thread: MACS_PER_THREAD };
        Int8Plan::new(&family.problem(in_place, m, resources).unwrap())
    };
    let one = plan(1);
    let activations = family.kind.multiplied_as(view);
    let kernels: Vec<KernelDesc> = one
        .kernel_places(view.blocks().len())
        .filter_map(|i| kernel_desc(view, &one, family.bound.epilogue, activations, i))
        .collect();
    let widest = view.widest().unwrap();
    let tail = view.tail().map_or(String::new(), |p| format!("..{}", p.cols));
    let shape = if groups == 1 { format!("{m}x{n}x{k}") } else { format!("{m}x{n}x{k} groups {groups}") };
    let nc = one.panels_per_block.min(view.panels().len()) * widest.cols;
    let blocks = view.blocks().iter().map(|b| b.len);
    let mut line = format!(
        "{:<11} {shape:<20} {:<8} {name:<5} {} | {:<12} {:>2}x{:<6} | {:<21} | KC {:>4} MC {:>6} NC {:>4} \
         pass {:>2}/{:<2} | {:<8} |",
        tier.name(),
        row.values.name(),
        if row.activations == ElementType::I8 { "i8" } else { "u8" },
        format!("{:?}{}", one.layout, if kernels.iter().any(|k| k.activations == Byte::I8) { " i8" } else { "" }),
        one.loops.tiles.height,
        format!("{}{tail}", widest.cols),
        tiles(&one),
        blocks.clone().max().unwrap_or(0),
        one.loops.mc().min(m),
        nc,
        one.blocks_per_pass,
        blocks.len(),
        if in_place { "in place" } else { "planes" },
    );
    for threads in THREADS {
        let plan = plan(threads);
        write!(line, " {}x{}", plan.loops.row_parts, plan.loops.column_parts).unwrap();
    }
    write!(line, " | {}", packed.sequences()).unwrap();
    line += match one.sweep {
        Sweep::Column => "",
        Sweep::Row => " | row",
        Sweep::Grid { panels: Panels::One, .. } => " | grid",
        Sweep::Grid { panels: Panels::Two, .. } => " | grid of twos",
    };
    line += match one.sweep {
        Sweep::Grid { ahead: Ahead::OneRow, .. } => " | a row ahead",
        Sweep::Grid { ahead: Ahead::TwoRows, .. } => " | two rows ahead",
        _ => "",
    };
    line += match kernels.iter().map(|k| k.prefetch).max().unwrap_or(Prefetch::None) {
        Prefetch::None => "",
        Prefetch::ToFirstLevel => " | prefetch L1",
        Prefetch::ToSecondLevel => " | prefetch L2",
    };
    line
}

/// Tiles of each height.
fn tiles(plan: &Int8Plan) -> String {
    let t = plan.loops.tiles;
    let short = if t.short > 0 { format!(" + {} of {}", t.short, t.height - 1) } else { String::new() };
    format!("{} of {}{short}", t.tall, t.height)
}

fn table() -> String {
    let mut weights = Weights::default();
    let mut table = String::new();
    for tier in Tier::ALL.into_iter().filter(|&t| t != Tier::Portable) {
        for row in rows(tier) {
            table += &line(tier, &row, &mut weights);
            table.push('\n');
        }
        weights.packed.clear();
    }
    table
}

/// Every tier, forty shapes: layout, sections, micro-tiles, panels, blocks, passes, parts for 4 and for 16 threads.
#[test]
fn golden_table_of_dispatch() {
    super::check("int8", TABLE, &table());
}

#[test]
fn the_portable_tier_does_what_avx2_does() {
    let mut weights = Weights::default();
    for row in
        rows(Tier::Avx2).into_iter().filter(|row| MORE.contains(&row.shape) || row.shape.1 * row.shape.2 < 20_000)
    {
        let portable = line(Tier::Portable, &row, &mut weights).replacen("portable", "avx2    ", 1);
        assert_eq!(portable, line(Tier::Avx2, &row, &mut weights));
    }
}

/// A table that differs says where; lines are told apart.
#[test]
fn differences_are_shown() {
    let lines: Vec<&str> = TABLE.lines().collect();
    assert_eq!(difference(TABLE, TABLE), "");
    let changed = lines[3].replace(" | ", " ! ").replacen(" ! ", " | ", 1);
    let other = TABLE.replace(lines[3], &changed).replace(&format!("{}\n", lines[5]), "");
    assert_eq!(difference(TABLE, &other), format!("- {}\n+ {changed}\n- {}\n", lines[3], lines[5]));
    assert_eq!(difference(&other, TABLE), format!("- {changed}\n+ {}\n+ {}\n", lines[3], lines[5]));
    let keys: std::collections::HashSet<_> = lines.iter().map(|l| l.split('|').next()).collect();
    assert_eq!(keys.len(), lines.len(), "each line has a key of its own");
}
