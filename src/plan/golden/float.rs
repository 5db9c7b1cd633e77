//! The golden table of floating-point plans: what every tier does with many products on machines that are given rather
//! than the one at hand. A change of any choice shows as a difference of its lines: look at each, measure, then write
//! the table anew with `GEMMILL_BLESS=1 cargo test --lib golden_table`.

use std::fmt::Write as _;

use gemmill_codegen::{
    Caches, Core, FloatFunction, FloatProducts, FloatType, FloatWeights, GroupLayout, GroupScales, GroupZeroPoints,
    HardwareDot, Machine, Sweep, Tier, WeightGroups,
};

use crate::machine::threads::MACS_PER_THREAD;
use crate::plan::float::{FloatPlan, FloatProblem};
use crate::plan::{Loops, Resources};

/// Machines, by name.
pub(in crate::plan) const MACHINES: [(&str, Machine); 2] = [
    ("zen3", Machine { core: Core::Zen, caches: Caches { l1: 32 << 10, l2: 512 << 10, l3: 32 << 20 } }),
    ("large", Machine { core: Core::Intel, caches: Caches { l1: 48 << 10, l2: 2 << 20, l3: 64 << 20 } }),
];

const SHAPES: [(usize, usize, usize); 18] = [
    (1, 1, 1),
    (1, 4096, 4096),
    (2, 1000, 512),
    (3, 16, 4096),
    (4, 512, 512),
    (6, 4096, 1024),
    (7, 512, 512),
    (14, 48, 300),
    (16, 256, 500),
    (20, 4096, 1024),
    (64, 800, 320),
    (119, 512, 512),
    (128, 3072, 768),
    (256, 14336, 4096),
    (1024, 1024, 1024),
    (100, 64, 1),
    (24, 512, 128),
    (2048, 512, 13),
];

pub(in crate::plan) fn problem(tier: Tier, machine: Machine, (rows, cols, k): (usize, usize, usize)) -> FloatProblem {
    let resources = Resources { machine, threads: 4, macs_per_thread: MACS_PER_THREAD };
    let (weights, function, products) = (FloatType::F16.into(), FloatFunction::Identity, FloatProducts::Chain);
    FloatProblem { tier, products, resources, rows, k, cols, weights, in_place: true, function }
}

pub(in crate::plan) fn four_bits() -> FloatWeights {
    let layout = GroupLayout { bits: 4, zero_points: GroupZeroPoints::Middle };
    FloatWeights::Groups(WeightGroups { layout, size: 128, scales: GroupScales::Moderate })
}

/// The same with hardware dot products, on the highest tier that has them.
pub(in crate::plan) fn dot_problem(dot: HardwareDot, machine: Machine, shape: (usize, usize, usize)) -> FloatProblem {
    let products = FloatProducts::Dot(dot);
    FloatProblem { products, weights: FloatType::Bf16.into(), ..problem(Tier::Amx, machine, shape) }
}

fn line(name: &str, p: &FloatProblem, plan: &FloatPlan) -> String {
    let FloatPlan { vectors, last_vectors, strips, kc, .. } = plan;
    let Loops { tiles, tiles_per_block, row_parts, column_parts } = plan.loops;
    let operation = match p.products {
        FloatProducts::Chain => p.tier.name(),
        FloatProducts::Dot(dot) => dot.name(),
    };
    let options = [
        (plan.keeps, "keeps"),
        (plan.packs_a, "packs"),
        (plan.prefetch, "ahead"),
        (plan.prefetching_tiles > 0, "next"),
        (plan.sweep == Sweep::Row, "row"),
    ];
    let options: Vec<&str> = options.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect();
    let weights = match p.weights {
        FloatWeights::Numbers(numbers) => numbers.name(),
        FloatWeights::Groups(_) => "i4",
    };
    format!(
        "{:<11} {name:<5} {:<14} {weights:<4} {}x{}+{} rows, {strips} strips of {vectors} (last {last_vectors}) \
         vectors, kc {kc}, {} tiles a block, {}x{} parts, {}",
        operation,
        format!("{}x{}x{}", p.rows, p.cols, p.k),
        tiles.tall,
        tiles.height,
        tiles.short,
        tiles_per_block,
        row_parts,
        column_parts,
        if options.is_empty() { "plain".to_owned() } else { options.join(" ") },
    )
}

fn table() -> String {
    let mut table = String::new();
    for tier in [Tier::Avx2, Tier::Avx512] {
        for (name, machine) in MACHINES {
            for shape in SHAPES {
                let p = problem(tier, machine, shape);
                writeln!(table, "{}", line(name, &p, &FloatPlan::new(&p))).unwrap();
            }
            for weights in [FloatType::F32, FloatType::Bf16] {
                let p = FloatProblem { weights: weights.into(), ..problem(tier, machine, (24, 512, 128)) };
                writeln!(table, "{}", line(name, &p, &FloatPlan::new(&p))).unwrap();
            }
            for weights in [FloatType::F32.into(), FloatType::F16.into(), four_bits()] {
                let p = problem(tier, machine, (64, 1024, 1024));
                let p = FloatProblem { weights, in_place: false, ..p };
                writeln!(table, "{}", line(name, &p, &FloatPlan::new(&p))).unwrap();
            }
            for shape in [(1, 4096, 4096), (7, 512, 512), (1024, 1024, 1000)] {
                let p = FloatProblem { weights: four_bits(), ..problem(tier, machine, shape) };
                writeln!(table, "{}", line(name, &p, &FloatPlan::new(&p))).unwrap();
            }
        }
    }
    for dot in HardwareDot::ALL {
        for (name, machine) in MACHINES {
            for shape in SHAPES {
                let p = dot_problem(dot, machine, shape);
                writeln!(table, "{}", line(name, &p, &FloatPlan::new(&p))).unwrap();
            }
            let p = FloatProblem { in_place: false, ..dot_problem(dot, machine, (64, 1024, 1024)) };
            writeln!(table, "{}", line(name, &p, &FloatPlan::new(&p))).unwrap();
        }
    }
    table
}

#[test]
fn golden_table_of_floating_point_plans() {
    super::check("float", include_str!("float.txt"), &table());
}
