//! What every plan of 8-bit integers must satisfy. The choices themselves are pinned by `golden/int8.txt`.

use gemmill_codegen::{Byte, Caches, Core, Layout, Machine, Sweep, Tier};

use crate::machine::threads::{MACS_PER_THREAD, worth_threads};
use crate::plan::Resources;
use crate::plan::grid::PanelKind;
use crate::plan::int8::{Int8Plan, Int8Problem, KernelIndex};

const ZEN3: Machine = Machine { core: Core::Zen, caches: Caches { l1: 32 << 10, l2: 512 << 10, l3: 32 << 20 } };
const SMALL: Machine = Machine { core: Core::Intel, caches: Caches { l1: 32 << 10, l2: 256 << 10, l3: 6 << 20 } };
const LARGE: Machine = Machine { core: Core::Intel, caches: Caches { l1: 48 << 10, l2: 2 << 20, l3: 64 << 20 } };

/// A product as packing presents it: `groups` of `k × cols` weights, in `blocks` of K.
fn problem(rows: usize, cols: usize, k: usize) -> Int8Problem {
    let vectors = cols.div_ceil(8).clamp(1, 2);
    let panels = cols.div_ceil(8 * vectors);
    Int8Problem {
        tier: Tier::Avx2,
        resources: Resources { machine: ZEN3, threads: 1, macs_per_thread: MACS_PER_THREAD },
        rows,
        k,
        cols,
        layout: Layout::Columns8,
        activations: Byte::U8,
        vectors,
        panels,
        blocks: k.div_ceil(1024).max(1),
        b_bytes: panels * vectors * 32 * k.div_ceil(4),
        a_row_bytes: k,
        packs_a: false,
    }
}

/// The same with panels of another layout: all columns in one.
fn few_columns(rows: usize, cols: usize, k: usize, layout: Layout) -> Int8Problem {
    let vectors = if layout == Layout::Depth { cols } else { 1 };
    let b_bytes = vectors * 32 * k.div_ceil(layout.step_depth());
    Int8Problem { layout, vectors, panels: 1, blocks: 1, b_bytes, ..problem(rows, cols, k) }
}

/// The same with A written to planes.
fn packed_a(p: Int8Problem, planes: usize) -> Int8Problem {
    Int8Problem { packs_a: true, a_row_bytes: planes * p.k, ..p }
}

/// `groups` products side by side.
fn grouped(p: Int8Problem, groups: usize) -> Int8Problem {
    Int8Problem {
        cols: p.cols * groups,
        panels: p.panels * groups,
        b_bytes: p.b_bytes * groups,
        a_row_bytes: p.a_row_bytes * groups,
        ..p
    }
}

fn threads(p: Int8Problem, threads: usize) -> Int8Problem {
    Int8Problem { resources: Resources { threads, ..p.resources }, ..p }
}

fn on(p: Int8Problem, machine: Machine) -> Int8Problem {
    Int8Problem { resources: Resources { machine, ..p.resources }, ..p }
}

/// M×N×K of the tables in FBGEMM's benchmarks and of common networks.
fn table() -> Vec<Int8Problem> {
    vec![
        few_columns(156_800, 4, 36, Layout::FourColumns),
        threads(few_columns(156_800, 4, 36, Layout::FourColumns), 16),
        problem(156_800, 8, 36),
        problem(156_800, 16, 36),
        few_columns(1, 1, 4096, Layout::Depth),
        few_columns(100, 1, 4096, Layout::Depth),
        few_columns(100, 2, 4096, Layout::Depth),
        few_columns(100, 3, 4096, Layout::FourColumns),
        few_columns(100, 4, 4096, Layout::FourColumns),
        problem(1, 4096, 1024),
        threads(problem(1, 4096, 1024), 2),
        threads(problem(1, 4096, 1024), 4),
        problem(2, 4096, 1024),
        problem(6, 4096, 1024),
        threads(problem(6, 4096, 1024), 4),
        problem(7, 4096, 1024),
        problem(12, 4096, 1024),
        problem(13, 4096, 1024),
        problem(20, 4096, 1024),
        threads(problem(20, 4096, 1024), 16),
        problem(64, 800, 320),
        problem(128, 128, 128),
        threads(problem(128, 128, 128), 16),
        problem(1024, 1024, 1024),
        packed_a(problem(1024, 1024, 1024), 2),
        on(problem(1024, 1024, 1024), SMALL),
        on(problem(1024, 1024, 1024), LARGE),
        threads(problem(1024, 1024, 1024), 2),
        threads(problem(1024, 1024, 1024), 16),
        problem(2048, 2048, 2048),
        threads(packed_a(problem(2048, 2048, 2048), 5), 4),
        threads(problem(100, 20_000, 512), 16),
        threads(problem(20_000, 100, 512), 16),
        grouped(problem(3136, 4, 36), 32),
        threads(grouped(problem(3136, 16, 144), 8), 4),
        on(problem(64, 64, 1_000_000), SMALL),
        problem(1, 1, 1),
        problem(5, 7, 0),
    ]
}

/// Every layout and panel width that a tier has, with `rows` rows.
fn each_micro_tile(rows: usize) -> impl Iterator<Item = Int8Problem> {
    let base = problem(rows, 64, 64);
    gemmill_codegen::micro_tiles(Tier::Avx2).iter().map(move |t| Int8Problem {
        layout: t.layout,
        vectors: t.vectors,
        ..base
    })
}

#[test]
fn row_tiles_cover_all_rows_once() {
    for rows in 1..500 {
        for p in each_micro_tile(rows) {
            let tiles = Int8Plan::new(&p).loops.tiles;
            let most = gemmill_codegen::micro_tile(p.tier, p.layout, p.vectors).map_or(0, |t| t.max_rows);
            assert!((1..=most).contains(&tiles.height), "{p:?}: {tiles:?}");
            assert!(tiles.tall > 0 && (tiles.short == 0 || tiles.height > 1), "{p:?}: {tiles:?}");
            assert_eq!(tiles.tall * tiles.height + tiles.short * (tiles.height - 1), rows, "{p:?}: {tiles:?}");
            let starts: Vec<usize> = (0..=tiles.count()).map(|t| tiles.row(t)).collect();
            assert_eq!((starts[0], starts[tiles.count()]), (0, rows));
            assert!(starts.windows(2).all(|w| (tiles.height - 1..=tiles.height).contains(&(w[1] - w[0]))));
        }
    }
}

/// Kernels of a row have no partial sums, and a lane for each column.
#[test]
fn rows_of_panels_take_all_of_k_in_one_pass() {
    let sizes = (0..40).chain([64, 257, 1000]).flat_map(|rows| [1, 300, 5000].map(|k| (rows, k)));
    let mut counts = [0; 2];
    for (rows, k) in sizes {
        for p in each_micro_tile(rows).flat_map(|p| [ZEN3, SMALL, LARGE].map(|machine| on(p, machine))) {
            let p =
                Int8Problem { k, blocks: k.div_ceil(1024), b_bytes: p.panels * p.vectors * 32 * k.div_ceil(4), ..p };
            let plan = Int8Plan::new(&p);
            let row = plan.sweep == Sweep::Row;
            counts[usize::from(row)] += 1;
            let by_columns = p.layout.lanes_per_column() == 1 && p.layout != Layout::Tiles;
            assert!(!row || plan.blocks_per_pass == p.blocks && by_columns, "{p:?}: {plan:?}");
        }
    }
    assert!(counts.iter().all(|&count| count > 100), "{counts:?}");
}

#[test]
fn runs_cover_any_range_of_tiles() {
    for rows in (1..100).chain([131, 257, 499]) {
        for p in each_micro_tile(rows) {
            let tiles = Int8Plan::new(&p).loops.tiles;
            let step = tiles.count().div_ceil(16).max(1);
            for first in (0..=tiles.count()).step_by(step) {
                for end in (first..=tiles.count()).step_by(step) {
                    let mut row = tiles.row(first);
                    let mut count = 0;
                    for run in tiles.runs(first, end).into_iter().filter(|r| r.tiles > 0) {
                        assert_eq!(run.first_row, row, "{tiles:?}, {first}..{end}");
                        assert!(run.height > 0, "{tiles:?}, {first}..{end}");
                        row += run.tiles * run.height;
                        count += run.tiles;
                    }
                    assert_eq!((row, count), (tiles.row(end), end - first), "{tiles:?}, {first}..{end}");
                }
            }
        }
    }
}

#[test]
fn parts_are_no_more_than_threads_tiles_and_panels() {
    for p in table() {
        for n in [1, 2, 3, 4, 7, 16, 128] {
            for p in [threads(p, n), packed_a(threads(p, n), 5)] {
                let plan = Int8Plan::new(&p);
                assert!((1..=n).contains(&(plan.loops.row_parts * plan.loops.column_parts)), "{p:?}");
                assert!(
                    plan.loops.row_parts <= plan.loops.tiles.count().max(1)
                        && plan.loops.column_parts <= p.panels.max(1),
                    "{p:?}"
                );
                if !worth_threads(p.rows, p.k, p.cols) {
                    assert_eq!((plan.loops.row_parts, plan.loops.column_parts), (1, 1), "{p:?}");
                }
            }
        }
    }
}

#[test]
fn blocks_fit_their_cache_or_are_as_small_as_they_can_be() {
    for p in table() {
        let plan = Int8Plan::new(&p);
        let bytes = plan.loops.mc() * p.a_row_bytes;
        assert!(
            bytes <= p.resources.machine.caches.l2 / 4 || plan.loops.tiles_per_block == 1,
            "{p:?}: {bytes} bytes of A"
        );
        assert!(plan.panels_per_block >= 1 && (1..=p.blocks).contains(&plan.blocks_per_pass));
        if plan.blocks_per_pass < p.blocks {
            let rows = plan.loops.mc().min(p.rows);
            let bytes = rows * plan.panels_per_block * p.vectors * 32;
            assert!(
                bytes <= p.resources.machine.caches.l2 / 2 || plan.panels_per_block == 1,
                "{p:?}: {bytes} bytes of partial sums"
            );
        }
    }
}

#[test]
fn kernel_places_are_those_of_the_passes() {
    for blocks in 1..8 {
        for blocks_per_pass in 1..=blocks {
            let plan = Int8Plan { blocks_per_pass, ..Int8Plan::new(&problem(64, 64, 64)) };
            let mut needed = Vec::new();
            for first in (0..blocks).step_by(blocks_per_pass) {
                let pass = (first == 0, first + blocks_per_pass >= blocks);
                if !needed.contains(&pass) {
                    needed.push(pass);
                }
            }
            let places: Vec<KernelIndex> = plan.kernel_places(blocks).collect();
            assert_eq!(places.len(), 4 * needed.len(), "{blocks} blocks, {blocks_per_pass} a pass");
            let kinds = [PanelKind::Full, PanelKind::Tail].into_iter();
            for (panels, short_tile) in kinds.flat_map(|panels| [(panels, false), (panels, true)]) {
                for &(first_pass, last_pass) in &needed {
                    let index = KernelIndex { panels, short_tile, first_pass, last_pass };
                    assert_eq!(places.iter().filter(|&&p| p == index).count(), 1, "{index:?}");
                }
            }
        }
    }
}

#[test]
fn the_portable_tier_plans_alike() {
    for p in table() {
        assert_eq!(Int8Plan::new(&p), Int8Plan::new(&Int8Problem { tier: Tier::Portable, ..p }));
    }
}

#[test]
fn weights_alternate_between_half_and_eight_times_the_second_level() {
    for machine in [ZEN3, SMALL, LARGE] {
        let Caches { l2, l3, .. } = machine.caches;
        let most = l3.min(8 * l2);
        for (b_bytes, expected) in [(l2 / 2, false), (l2 / 2 + 1, true), (most, true), (most + 1, false)] {
            let one = |rows| Int8Plan::new(&Int8Problem { b_bytes, ..on(problem(rows, 4096, 1024), machine) });
            assert_eq!(one(1).alternates, expected, "{machine:?} {b_bytes}");
            // Where nothing is used again, one micro-tile goes through all panels at once; several go through what fits
            // the cache.
            assert_eq!(one(1).panels_per_block == 256, !expected, "{machine:?} {b_bytes}");
            assert_eq!(one(20).panels_per_block == 256, b_bytes <= l2 / 2, "{machine:?} {b_bytes}");
        }
    }
}
