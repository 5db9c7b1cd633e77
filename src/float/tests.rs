//! The golden table of floating-point plans: what every tier does with many products on machines that are given rather than
//! the one at hand. A change of any choice shows as a difference of its lines: look at each, measure, then write the table
//! anew with `GEMMILL_BLESS=1 cargo test --lib golden_table`.

use std::fmt::Write as _;

use gemmill_codegen::{
    Caches, Core, FLOAT_PANEL, FloatFunction, FloatProducts, FloatType, FloatWeights, GroupLayout, GroupScales,
    GroupZeroPoints, HardwareDot, Machine, Sweep, Tier, WeightGroups, float_lanes, float_tiles_of,
};

use super::plan::{FloatPlan, FloatProblem};
use crate::plan::{MACS_PER_THREAD, Resources};

const BLESS: &str = "GEMMILL_BLESS";
const TABLE: &str = include_str!("plan.txt");
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/float/plan.txt");

/// Machines, by name.
const MACHINES: [(&str, Machine); 2] = [
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

fn problem(tier: Tier, machine: Machine, (rows, cols, k): (usize, usize, usize)) -> FloatProblem {
    let resources = Resources { machine, threads: 4, macs_per_thread: MACS_PER_THREAD };
    let (weights, function, products) = (FloatType::F16.into(), FloatFunction::Identity, FloatProducts::Chain);
    FloatProblem { tier, products, resources, rows, k, cols, weights, in_place: true, function }
}

fn four_bits() -> FloatWeights {
    let layout = GroupLayout { bits: 4, zero_points: GroupZeroPoints::Middle };
    FloatWeights::Groups(WeightGroups { layout, size: 128, scales: GroupScales::Moderate })
}

/// The same with hardware dot products, on the highest tier that has them.
fn dot_problem(dot: HardwareDot, machine: Machine, shape: (usize, usize, usize)) -> FloatProblem {
    let products = FloatProducts::Dot(dot);
    FloatProblem { products, weights: FloatType::Bf16.into(), ..problem(Tier::Amx, machine, shape) }
}

fn line(name: &str, p: &FloatProblem, plan: &FloatPlan) -> String {
    let FloatPlan { tiles, vectors, last_vectors, strips, kc, tiles_per_block, .. } = plan;
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
        "{:<11} {name:<5} {:<14} {weights:<4} {}x{}+{} rows, {strips} strips of {vectors} (last {last_vectors}) vectors, kc {kc}, {} tiles a \
         block, {}x{} parts, {}",
        operation,
        format!("{}x{}x{}", p.rows, p.cols, p.k),
        tiles.tall,
        tiles.height,
        tiles.short,
        tiles_per_block,
        plan.row_parts,
        plan.strip_parts,
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
    let found = table();
    if std::env::var_os(BLESS).is_some() {
        return std::fs::write(PATH, &found).unwrap();
    }
    let differs = |(was, is): (&str, &str)| (was != is).then(|| format!("- {was}\n+ {is}"));
    let differences: Vec<String> = TABLE.lines().zip(found.lines()).filter_map(differs).collect();
    assert!(found == TABLE, "choices differ from {PATH}; {BLESS}=1 writes it anew:\n{}", differences.join("\n"));
}

/// What kernels and loops rely on, for many sizes.
#[test]
fn plans_cover_everything_and_fit_the_registry() {
    for tier in Tier::ALL {
        for rows in [1, 2, 3, 5, 6, 7, 13, 14, 15, 29, 100, 1001] {
            for cols in [1, 15, 16, 17, 31, 32, 33, 64, 100, 129, 1000] {
                for (k, p) in [0, 1, 7, 255, 256, 257, 513, 4096].into_iter().flat_map(|k| {
                    let shape = (rows, cols, k);
                    MACHINES.into_iter().flat_map(move |(_, machine)| {
                        let of_dot = |dot| FloatProblem { tier, ..dot_problem(dot, machine, shape) };
                        let numbers = FloatType::ALL.map(FloatWeights::Numbers).into_iter();
                        let of_weights = |weights| FloatProblem { weights, ..problem(tier, machine, shape) };
                        let chains = numbers.chain([four_bits()]).map(of_weights);
                        let all: Vec<_> = chains.chain(HardwareDot::ALL.map(of_dot)).map(|p| (k, p)).collect();
                        all
                    })
                }) {
                    let plan = FloatPlan::new(&p);
                    let lanes = float_lanes(tier);
                    let of_tier = float_tiles_of(tier, p.products);
                    let of_strip = |vectors: usize| of_tier.iter().rev().find(|t| vectors <= t.vectors);
                    for vectors in [plan.vectors, plan.last_vectors] {
                        let fits = of_strip(vectors).is_some_and(|tile| plan.tiles.height <= tile.max_rows);
                        assert!(fits && vectors.is_multiple_of(2), "{p:?}: {plan:?}");
                    }
                    let before = (plan.strips - 1) * plan.strip;
                    assert_eq!(plan.strip, plan.vectors * lanes);
                    assert!(before < cols && cols <= before + plan.last_vectors * lanes, "{p:?}: {plan:?}");
                    let narrow = plan.strips - plan.whole_strips;
                    assert!(plan.whole_strips == cols / plan.strip && narrow < 2, "{p:?}: {plan:?}");
                    assert_eq!(plan.tiles.row(plan.tiles.count()), rows);
                    if plan.sweep == Sweep::Row {
                        let once = plan.passes(k) == 1 && !plan.keeps && plan.prefetching_tiles == 0;
                        let half_or_whole = plan.strip == FLOAT_PANEL / 2 || plan.strip.is_multiple_of(FLOAT_PANEL);
                        assert!(once && half_or_whole && !plan.in_tiles, "{p:?}: {plan:?}");
                    }
                    assert!(plan.kc * plan.passes(k) >= k && plan.kc > 0, "{p:?}: {plan:?}");
                    assert!(k == 0 || plan.kc * (plan.passes(k) - 1) < k, "{p:?}: {plan:?}");
                    assert!(!plan.keeps || plan.vectors == 2, "{p:?}: {plan:?}");
                    let unit = p.products.group().max(p.weights.unit());
                    let whole_groups = plan.passes(k) == 1 || plan.kc.is_multiple_of(unit);
                    assert!(whole_groups, "{p:?}: {plan:?}");
                    assert!(
                        !plan.in_tiles || plan.keeps && !plan.prefetch && plan.prefetching_tiles == 0,
                        "{p:?}: {plan:?}"
                    );
                }
            }
        }
    }
}
