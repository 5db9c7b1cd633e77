//! The golden table of products with weights of few bits and quantized activations.

use std::fmt::Write as _;

use gemmill_codegen::{Caches, Core, GROUP_CHUNK, Machine, Prefetch, Tier};

use crate::machine::threads::MACS_PER_THREAD;
use crate::plan::groupwise::{GroupwisePlan, GroupwiseProblem};
use crate::plan::{Loops, Resources};

/// Machines, by name.
const MACHINES: [(&str, Machine); 3] = [
    ("zen3", Machine { core: Core::Zen, caches: Caches { l1: 32 << 10, l2: 512 << 10, l3: 32 << 20 } }),
    ("small", Machine { core: Core::Intel, caches: Caches { l1: 32 << 10, l2: 256 << 10, l3: 6 << 20 } }),
    ("large", Machine { core: Core::Intel, caches: Caches { l1: 48 << 10, l2: 2 << 20, l3: 64 << 20 } }),
];

/// M×N×K.
const SHAPES: [(usize, usize, usize); 16] = [
    (1, 1, 1),
    (1, 32, 32),
    (1, 4096, 4096),
    (2, 1000, 500),
    (2, 4096, 4096),
    (4, 512, 512),
    (4, 4096, 1024),
    (5, 4096, 1024),
    (7, 512, 512),
    (16, 256, 500),
    (33, 14336, 4096),
    (64, 800, 320),
    (128, 3072, 768),
    (1024, 1024, 1024),
    (100, 64, 1),
    (2048, 512, 13),
];

const THREADS: [usize; 2] = [4, 16];

/// Weights of 4 bits in groups of 128.
fn problem(tier: Tier, machine: Machine, (rows, cols, k): (usize, usize, usize), threads: usize) -> GroupwiseProblem {
    GroupwiseProblem {
        tier,
        resources: Resources { machine, threads, macs_per_thread: MACS_PER_THREAD },
        rows,
        k,
        cols,
        a_row_bytes: k.next_multiple_of(GROUP_CHUNK),
        b_bytes: cols.next_multiple_of(32) * (k.next_multiple_of(GROUP_CHUNK) / 2 + 2 * k.div_ceil(128)),
    }
}

fn prefetch(of: Prefetch) -> &'static str {
    match of {
        Prefetch::None => "none",
        Prefetch::ToFirstLevel => "L1",
        Prefetch::ToSecondLevel => "L2",
    }
}

#[test]
fn golden_table_of_groupwise_plans() {
    let mut table = String::new();
    for tier in Tier::ALL {
        for (name, machine) in MACHINES {
            for shape in SHAPES {
                let plan = |threads| GroupwisePlan::new(&problem(tier, machine, shape, threads));
                let GroupwisePlan { loops: Loops { tiles, tiles_per_block, .. }, prefetch: ahead, .. } = plan(1);
                let (m, n, k) = shape;
                write!(
                    table,
                    "{:<11} {name:<5} {:<15} | {}x{}+{} rows, {tiles_per_block} tiles a block | {:<4} {:<4} {} ahead |",
                    tier.name(),
                    format!("{m}x{n}x{k}"),
                    tiles.tall,
                    tiles.height,
                    tiles.short,
                    prefetch(ahead[0]),
                    prefetch(ahead[1]),
                    plan(1).prefetch_distance,
                )
                .unwrap();
                for threads in THREADS {
                    let Loops { row_parts, column_parts, .. } = plan(threads).loops;
                    write!(table, " {row_parts}x{column_parts}").unwrap();
                }
                table.push('\n');
            }
        }
    }
    super::check("groupwise", include_str!("groupwise.txt"), &table);
}
