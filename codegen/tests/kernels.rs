//! Generated kernels against the portable tier: the same arguments must leave the same bytes, in C, around it and in
//! scratch memory. Every argument ends where a page begins that must not be touched.

#[path = "common/case.rs"]
mod case;
mod common;
#[path = "common/guarded.rs"]
mod guarded;

use case::{Case, Fill, Memory, Shape};
use common::{Rng, Sample, Tile, epilogues, grid, has_dots, machine_tiers, say, section_sets, share_of, tiles, vary};
use gemmill_codegen::*;

/// Bundle counts on both sides of every unrolling.
const BUNDLES: &[u32] = &[0, 1, 2, 3, 7, 8, 9, 16, 17];

/// Runs a case on its tier and on the portable one, and compares all that they wrote.
fn compare(case: &Case, memory: &mut Memory) {
    let generate = |tier| Kernel::generate(&KernelDesc { tier, ..case.desc }).unwrap();
    let expected = case.run(&generate(Tier::Portable), memory);
    let found = case.run(&generate(case.desc.tier), memory);
    let name = case.desc;
    for (at, (&was, &is)) in case.c_before().iter().zip(&expected.c).enumerate() {
        assert!(was == is || case.place_in_c(at).is_some(), "{name}: the portable tier wrote outside C, byte {at}");
    }
    if let Some(at) = (0..expected.c.len()).find(|&at| expected.c[at] != found.c[at]) {
        let (e, f) = (expected.c[at], found.c[at]);
        panic!("{name}: byte {at} of C, (row, column) {:?}: expected {e}, found {f}", case.place_in_c(at));
    }
    if let Some(at) = (0..expected.scratch.len()).find(|&at| expected.scratch[at] != found.scratch[at]) {
        panic!("{name}: lane {at} of scratch: expected {}, found {}", expected.scratch[at], found.scratch[at]);
    }
    if case.desc.finish != Finish::Scratch && !found.scratch.is_empty() {
        assert_eq!(found.scratch, case.scratch_before(), "{name}: scratch memory is only read");
    }
}

/// Every tile of every tier that can be exercised.
fn tiles_of_tiers(test: &str) -> Vec<(Tier, Tile)> {
    machine_tiers(test).into_iter().flat_map(|tier| tiles(tier).into_iter().map(move |tile| (tier, tile))).collect()
}

/// Every tile, every set of sections, every fill, both starts, with and without prefetches.
#[test]
fn main_loops_match_the_portable_tier() {
    let mut rng = Rng(1);
    let mut memory = Memory::new();
    let store = |output| Epilogue { a_zero_point: AZeroPoint::Folded, b_zero_point: BZeroPoint::Zero, output };
    let mut count = 0;
    for (tier, tile) in tiles_of_tiers("main_loops_match_the_portable_tier") {
        for sections in section_sets(tier) {
            // Other fills from one set to the next where a share of the cases is done.
            let cases = if tile.layout == Layout::Tiles { 4 } else { 16 };
            for fill in Fill::ALL.into_iter().cycle().skip(count % Fill::ALL.len()).take(share_of(cases)) {
                let some_cols = rng.within(1, tile.panel_cols().into()) as u8;
                let desc = KernelDesc {
                    cols: rng.pick(&[some_cols, tile.panel_cols()]),
                    start: rng.pick(&[Start::Zero, Start::Scratch]),
                    finish: rng.pick(&[Finish::Scratch, Finish::Epilogue(store(Output::StoreI32))]),
                    ..tile.desc(tier, sections)
                };
                let desc = vary(desc, &mut rng);
                let shape = Shape {
                    fill,
                    activation_max: rng.pick(&[255, 255, 255, 128, 127, 1]),
                    tiles: rng.pick(&[1, 1, 2, 3]),
                    width: rng.pick(&[1, 2, 3]),
                    blocks: rng.pick(&[1, 1, 2, 3]),
                    bundles: BUNDLES,
                };
                compare(&Case::new(desc, shape, &mut rng), &mut memory);
                count += 1;
            }
        }
    }
    eprintln!("{count} kernels compared");
}

/// Grids of every number of rows, with every epilogue, of one micro-tile and of many.
#[test]
fn grids_match_the_portable_tier() {
    let (mut rng, mut memory) = (Rng(7), Memory::new());
    let mut count = 0;
    for (tier, tile) in tiles_of_tiers("grids_match_the_portable_tier") {
        if tile.layout != Layout::Tiles {
            continue;
        }
        let epilogues = epilogues();
        for _ in 0..share_of(16) {
            let some_cols = rng.within(1, tile.panel_cols().into()) as u8;
            let desc = KernelDesc {
                cols: rng.pick(&[some_cols, tile.panel_cols(), tile.panel_cols()]),
                finish: Finish::Epilogue(rng.pick(&epilogues)),
                ..tile.desc(tier, sections(tier))
            };
            let shape = Shape {
                fill: rng.pick(&Fill::ALL),
                activation_max: 255,
                tiles: rng.pick(&[1, 2, 3]),
                width: rng.pick(&[1, 2, 3, 4]),
                blocks: 1,
                bundles: &[1],
            };
            compare(&Case::new(grid(desc, &mut rng), shape, &mut rng), &mut memory);
            count += 1;
        }
    }
    eprintln!("{count} kernels compared");
}

/// A grid has tiles, goes from zero to the epilogue, and knows its K.
#[test]
fn other_grids_are_refused() {
    let finish = Finish::Epilogue(epilogues()[0]);
    let sweep = Sweep::Grid { k: 64, panels: Panels::One, ahead: Ahead::Nothing };
    for tier in machine_tiers("other_grids_are_refused") {
        for tile in tiles(tier) {
            let plain = KernelDesc { finish, sweep, ..tile.desc(tier, sections(tier)) };
            let is_tiles = tile.layout == Layout::Tiles;
            assert_eq!(Kernel::generate(&plain).is_ok(), is_tiles, "{plain}");
            let of = |k, panels, ahead| KernelDesc { sweep: Sweep::Grid { k, panels, ahead }, ..plain };
            let two = of(64, Panels::Two, Ahead::Nothing);
            assert_eq!(Kernel::generate(&two).is_ok(), is_tiles && tile.rows <= 16 && tile.vectors == 2, "{two}");
            for wrong in [
                KernelDesc { start: Start::Scratch, ..plain },
                KernelDesc { finish: Finish::Scratch, ..plain },
                KernelDesc { prefetch: Prefetch::ToFirstLevel, ..plain },
                KernelDesc { cols: plain.cols - 1, ..two },
                KernelDesc { cols: plain.cols - 1, ..of(64, Panels::One, Ahead::OneRow) },
                of(63, Panels::One, Ahead::Nothing),
                of((1 << 20) + 1, Panels::One, Ahead::Nothing),
            ] {
                assert!(matches!(Kernel::generate(&wrong), Err(CodegenError::Unsupported(_))), "{wrong}");
            }
        }
    }
}

/// Every tile with every number of columns and every epilogue.
#[test]
fn epilogues_match_the_portable_tier() {
    let mut rng = Rng(2);
    let mut memory = Memory::new();
    let mut count = 0;
    let mut sample = Sample::new("epilogues of every tile and number of columns");
    // Sums of tiles meet the epilogue that sums of avx512-vnni meet: one in 64 of them.
    let mut thinning = Rng(6);
    for (tier, tile) in tiles_of_tiers("epilogues_match_the_portable_tier") {
        let sets = section_sets(tier);
        for cols in 1..=tile.panel_cols() {
            for epilogue in
                epilogues().into_iter().filter(|_| sample.keeps() && (tier != Tier::Amx || thinning.below(64) == 0))
            {
                let desc = KernelDesc {
                    cols,
                    start: rng.pick(&[Start::Zero, Start::Zero, Start::Scratch]),
                    finish: Finish::Epilogue(epilogue),
                    ..tile.desc(tier, rng.pick(&sets))
                };
                let desc = vary(desc, &mut rng);
                let shape = Shape {
                    fill: rng.pick(&Fill::ALL),
                    activation_max: 255,
                    tiles: rng.pick(&[1, 2, 3]),
                    width: rng.pick(&[1, 2]),
                    blocks: 1,
                    bundles: &[1],
                };
                compare(&Case::new(desc, shape, &mut rng), &mut memory);
                count += 1;
            }
        }
    }
    eprintln!("{count} kernels compared");
}

/// Lanes that are exactly as heavy as the bound allows, by a formula rather than by the portable tier.
#[test]
fn full_lanes_reach_the_bound_and_do_not_saturate() {
    let mut rng = Rng(3);
    let mut memory = Memory::new();
    let takes_all = |s: &Section| matches!(s, Section::Wide | Section::Split) || s.is_dot();
    let narrow: Vec<Section> = Section::ALL.into_iter().filter(|s| !takes_all(s)).collect();
    let mut reached = Vec::new();
    let mut tiles = tiles_of_tiers("full_lanes_reach_the_bound_and_do_not_saturate");
    tiles.retain(|t| !has_dots(t.0));
    if tiles.is_empty() {
        say(format_args!(
            "SKIPPED full_lanes_reach_the_bound_and_do_not_saturate: no tier with 16-bit sums is exercised"
        ));
        return;
    }
    let fills = [255, 128, 127].into_iter().flat_map(|a| [(a, Fill::Largest), (a, Fill::Smallest)]);
    for ((tier, tile), section) in tiles.into_iter().flat_map(|t| narrow.iter().map(move |&s| (t, s))) {
        // Any of the fills where a share of the cases is done.
        for (activation_max, fill) in fills.clone().cycle().skip(rng.below(6)).take(share_of(6)) {
            let desc = tile.desc(tier, [section].into_iter().collect());
            let shape = Shape { fill, activation_max, tiles: 2, width: 1, blocks: 2, bundles: &[1, 8, 9] };
            let case = Case::new(desc, shape, &mut rng);
            let (amax, weights) = (i32::from(activation_max), 2 * section.steps() as i32);
            let lane = match fill {
                Fill::Largest => amax * (32767 / amax).min(127 * weights),
                _ => -amax * (32768 / amax).min(128 * weights),
            };
            reached.push(lane);
            // Two 16-bit lanes are widened into one of 32 bits.
            let expected = 2 * lane * case.bundles(section) as i32;
            let outcome = case.run(&Kernel::generate(&desc).unwrap(), &mut memory);
            assert!(outcome.scratch.iter().all(|&x| x == expected), "{desc}: {expected} expected in each lane");
        }
    }
    for bound in [32640, -32640, -32768] {
        assert!(reached.contains(&bound), "no lane reached {bound}");
    }
}

/// Wide, split and dot sections take weights and activations of any size: by a formula again.
#[test]
fn wide_lanes_hold_every_product() {
    let (mut rng, mut memory) = (Rng(4), Memory::new());
    for (tier, tile) in tiles_of_tiers("wide_lanes_hold_every_product") {
        let sections = if has_dots(tier) { [Section::Dot8, Section::Dot] } else { [Section::Wide, Section::Split] };
        let section = rng.pick(&sections);
        for (fill, weight) in [(Fill::Largest, 127), (Fill::Smallest, -128)] {
            let desc = tile.desc(tier, [section].into_iter().collect());
            let shape = Shape { fill, activation_max: 255, tiles: 1, width: 1, blocks: 1, bundles: &[17] };
            let case = Case::new(desc, shape, &mut rng);
            let outcome = case.run(&Kernel::generate(&desc).unwrap(), &mut memory);
            let largest = if tile.activations == Byte::I8 { 127 } else { 255 };
            let elements = section.steps() * tile.layout.step_depth() / tile.layout.lanes_per_column();
            let expected = 17 * elements as i32 * largest * weight;
            assert!(outcome.scratch.iter().all(|&x| x == expected), "{desc}: {expected} expected in each lane");
        }
    }
}

/// Two calls with partial sums between them give what one call gives.
#[test]
fn the_empty_kernel_passes_partial_sums_on() {
    let (mut rng, mut memory) = (Rng(5), Memory::new());
    for (tier, tile) in tiles_of_tiers("the_empty_kernel_passes_partial_sums_on") {
        let desc = KernelDesc { start: Start::Scratch, ..tile.desc(tier, Sections::default()) };
        let shape = Shape { fill: Fill::Random, activation_max: 255, tiles: 3, width: 1, blocks: 2, bundles: &[0] };
        let case = Case::new(desc, shape, &mut rng);
        let outcome = case.run(&Kernel::generate(&desc).unwrap(), &mut memory);
        assert_eq!(outcome.scratch, case.scratch_before(), "{desc}");
    }
}

/// The registry says what the list says.
#[test]
fn the_registry_is_complete() {
    for tier in Tier::ALL {
        let types = |t: &MicroTile| if multiplies_signed(tier, t.layout) { 2 } else { 1 };
        let registered: usize = micro_tiles(tier).iter().map(|t| types(t) * t.max_rows).sum();
        assert_eq!(registered, tiles(tier).len());
        for tile in tiles(tier) {
            let found = micro_tile(tier, tile.layout, tile.vectors.into()).unwrap();
            assert!(usize::from(tile.rows) <= found.max_rows, "{tile:?}");
            assert!(found.mr <= found.max_rows && found.few_rows <= found.max_rows, "{found:?}");
        }
        assert!(sections(tier).iter().all(|s| s.is_dot() == has_dots(tier)));
    }
}

/// Exactly the tiles of the list are generated; others are refused, and so are other tiers' sections.
/// A row of micro-tiles has full panels with a lane for each column, and goes from zero to the epilogue.
#[test]
fn other_rows_of_micro_tiles_are_refused() {
    let finish = Finish::Epilogue(epilogues()[0]);
    for tier in machine_tiers("other_rows_of_micro_tiles_are_refused") {
        for tile in tiles(tier) {
            let plain = KernelDesc { finish, ..tile.desc(tier, Sections::default()) };
            let row = KernelDesc { sweep: Sweep::Row, cols: tile.panel_cols(), start: Start::Zero, ..plain };
            let fits = matches!(tile.layout, Layout::Columns8 | Layout::Columns16 | Layout::RowsOfTiles);
            assert_eq!(Kernel::generate(&row).is_ok(), fits, "{row}");
            for wrong in [
                KernelDesc { cols: row.cols - 1, ..row },
                KernelDesc { start: Start::Scratch, ..row },
                KernelDesc { finish: Finish::Scratch, ..row },
            ] {
                assert!(matches!(Kernel::generate(&wrong), Err(CodegenError::Unsupported(_))), "{wrong}");
            }
        }
    }
}

#[test]
fn other_micro_tiles_are_refused() {
    for tier in machine_tiers("other_micro_tiles_are_refused") {
        let legal = tiles(tier);
        for layout in Layout::ALL {
            let types = [Byte::U8, Byte::I8].into_iter();
            let sizes = types.flat_map(|t| (0..=34u8).flat_map(move |r| (0..=6u8).map(move |v| (t, r, v))));
            for (activations, rows, vectors) in sizes.chain([(Byte::U8, 255, 255), (Byte::U8, 128, 2)]) {
                let tile = Tile { layout, activations, rows, vectors };
                for cols in [0, 1, tile.panel_cols(), tile.panel_cols().saturating_add(1)] {
                    let fits = legal.contains(&tile) && (1..=tile.panel_cols()).contains(&cols);
                    let desc = KernelDesc { cols, ..tile.desc(tier, Sections::default()) };
                    let result = Kernel::generate(&desc);
                    assert_eq!(result.is_ok(), fits, "{desc}: {:?}", result.err());
                    if !fits {
                        assert!(matches!(Kernel::generate(&desc), Err(CodegenError::Unsupported(_))));
                    }
                }
            }
        }
        for section in Section::ALL {
            let desc = legal[0].desc(tier, [section].into_iter().collect());
            assert_eq!(Kernel::generate(&desc).is_ok(), section.is_dot() == has_dots(tier), "{desc}");
        }
    }
}
