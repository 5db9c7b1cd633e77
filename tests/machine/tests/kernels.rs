//! gemmill's kernels, carried out by the model and by the CPU: the same arguments must leave the same bytes in C,
//! around it and in scratch memory.

#![cfg(target_arch = "x86_64")]

#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../../../codegen/tests/common/case.rs"]
mod case;
#[path = "../../../codegen/tests/common/mod.rs"]
mod common;
#[path = "../../../codegen/tests/common/float_case.rs"]
mod float_case;
#[path = "../../../codegen/tests/common/guarded.rs"]
mod guarded;

use case::{Case, Fill, Memory, Shape};
use common::{Rng, Tile, epilogues, is_native, native_tiers, section_sets, tiles, vary};
use gemmill_codegen::*;
use gemmill_machine::{Program, Statistics};
use iced_x86::Mnemonic;

/// Runs a case natively and in the model. Gives what the model counted.
fn compare(case: &Case, memory: &mut Memory) -> Statistics {
    let name = case.desc;
    let kernel = Kernel::generate(&case.desc).unwrap();
    let program = Program::decode(kernel.bytes()).unwrap_or_else(|fault| panic!("{name}: {fault}"));
    let expected = case.run(&kernel, memory);
    let mut statistics = None;
    let found = case.run_with(memory, |args| {
        // SAFETY: the arguments are what the kernel asks for, and the kernel lives until the end of this function.
        let result = unsafe { program.run((&raw mut *args).cast()) };
        statistics = Some(result.unwrap_or_else(|fault| panic!("{name}: {fault}")));
    });
    if let Some(at) = (0..expected.c.len()).find(|&at| expected.c[at] != found.c[at]) {
        let (e, f) = (expected.c[at], found.c[at]);
        panic!("{name}: byte {at} of C, (row, column) {:?}: the CPU has {e}, the model {f}", case.place_in_c(at));
    }
    assert_eq!(expected.scratch, found.scratch, "{name}: scratch memory");
    statistics.expect("executed")
}

/// The same for the float family: bits of NaNs count too.
fn compare_floats(case: &float_case::Case, memory: &mut float_case::Memory) -> u64 {
    let name = case.name();
    let expected = case.run(case.desc.tier, memory);
    let mut instructions = 0;
    let found = case.run_with(case.desc.tier, memory, |kernel, args| {
        let program = Program::decode(kernel.bytes()).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        // SAFETY: the arguments are what the kernel asks for, and the kernel lives until the end of this function.
        let result = unsafe { program.run((&raw mut *args).cast()) };
        instructions += result.unwrap_or_else(|fault| panic!("{name}: {fault}")).total();
    });
    if let Some(at) = (0..expected.c.len()).find(|&at| expected.c[at] != found.c[at]) {
        let (e, f, parts) = (expected.c[at], found.c[at], &case.parts);
        let element = at / case.desc.c.bytes();
        let place = (element / case.c_row_stride, element % case.c_row_stride);
        panic!("{name}, parts {parts:?}: byte {at} of C, (row, column) {place:?}: the CPU has {e}, the model {f}");
    }
    assert_eq!(expected.scratch, found.scratch, "{name}: scratch memory");
    instructions
}

/// Every tile of every tier that this CPU has.
fn tiles_of_tiers(test: &str) -> Vec<(Tier, Tile)> {
    native_tiers(test).into_iter().flat_map(|tier| tiles(tier).into_iter().map(move |tile| (tier, tile))).collect()
}

/// Every tile, every set of sections.
#[test]
fn main_loops_do_what_the_cpu_does() {
    let (mut rng, mut memory) = (Rng(11), Memory::new());
    let store = Epilogue { a_zero_point: AZeroPoint::Folded, b_zero_point: BZeroPoint::Zero, output: Output::StoreI32 };
    let (mut kernels, mut instructions) = (0, 0);
    for (tier, tile) in tiles_of_tiers("main_loops_do_what_the_cpu_does") {
        for sections in section_sets(tier) {
            for fill in Fill::ALL {
                let some_cols = rng.within(1, tile.panel_cols().into()) as u8;
                let desc = KernelDesc {
                    cols: rng.pick(&[some_cols, tile.panel_cols()]),
                    start: rng.pick(&[Start::Zero, Start::Scratch]),
                    finish: rng.pick(&[Finish::Scratch, Finish::Epilogue(store)]),
                    ..tile.desc(tier, sections)
                };
                let desc = vary(desc, &mut rng);
                let shape = Shape {
                    fill,
                    activation_max: rng.pick(&[255, 255, 128, 1]),
                    tiles: rng.pick(&[1, 2]),
                    width: rng.pick(&[1, 2]),
                    blocks: rng.pick(&[1, 2]),
                    bundles: &[0, 1, 2, 8, 9],
                };
                instructions += compare(&Case::new(desc, shape, &mut rng), &mut memory).total();
                kernels += 1;
            }
        }
    }
    eprintln!("{kernels} kernels compared, {instructions} instructions");
}

/// Every tile with every epilogue, and numbers of columns that take turns.
#[test]
fn epilogues_do_what_the_cpu_does() {
    let (mut rng, mut memory) = (Rng(12), Memory::new());
    let mut kernels = 0;
    for (tier, tile) in tiles_of_tiers("epilogues_do_what_the_cpu_does") {
        let sets = section_sets(tier);
        for (epilogue, cols) in epilogues().into_iter().zip((1..=tile.panel_cols()).cycle()) {
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
            kernels += 1;
        }
    }
    eprintln!("{kernels} kernels compared");
}

/// Every micro-tile of the float family, with random operands, sizes, strides and stages.
#[test]
fn float_kernels_do_what_the_cpu_does() {
    let (mut rng, mut memory) = (Rng(15), float_case::Memory::new());
    let (mut kernels, mut instructions) = (0, 0);
    for tier in native_tiers("float_kernels_do_what_the_cpu_does") {
        for tile in float_tiles(tier) {
            for rows in 1..=tile.max_rows {
                for vectors in (2..=tile.vectors).step_by(2) {
                    for _ in 0..12 {
                        let case = float_case::Case::random(tier, rows, vectors, &mut rng);
                        instructions += compare_floats(&case, &mut memory);
                        kernels += 1;
                    }
                }
            }
        }
    }
    eprintln!("{kernels} kernels compared, {instructions} instructions");
}

/// The same with weights of few bits.
#[test]
fn kernels_of_groups_do_what_the_cpu_does() {
    let (mut rng, mut memory) = (Rng(17), float_case::Memory::new());
    let (mut kernels, mut instructions) = (0, 0);
    for tier in native_tiers("kernels_of_groups_do_what_the_cpu_does") {
        for tile in float_tiles(tier) {
            for rows in 1..=tile.rows {
                for vectors in (2..=tile.vectors).step_by(2) {
                    for _ in 0..12 {
                        let case = float_case::Case::random_groups(tier, rows, vectors, &mut rng);
                        instructions += compare_floats(&case, &mut memory);
                        kernels += 1;
                    }
                }
            }
        }
    }
    eprintln!("{kernels} kernels compared, {instructions} instructions");
}

/// The same with hardware dot products, by those that this CPU has.
#[test]
fn hardware_dots_do_what_the_cpu_does() {
    const TEST: &str = "hardware_dots_do_what_the_cpu_does";
    let (mut rng, mut memory) = (Rng(16), float_case::Memory::new());
    for dot in HardwareDot::ALL {
        let mut kernels = 0;
        for tier in native_tiers(TEST).into_iter().filter(|&tier| dot.require(tier).is_ok()) {
            for tile in float_tiles_of(tier, FloatProducts::Dot(dot)) {
                for rows in 1..=tile.max_rows {
                    for vectors in (2..=tile.vectors).step_by(2) {
                        for _ in 0..12 {
                            let case = float_case::Case::random_dot(tier, dot, rows, vectors, &mut rng);
                            compare_floats(&case, &mut memory);
                            kernels += 1;
                        }
                    }
                }
            }
        }
        match kernels {
            0 => common::say(format_args!("SKIPPED {TEST} on {dot}: this CPU lacks it")),
            _ => eprintln!("{dot}: {kernels} kernels compared"),
        }
    }
}

/// Counts are those of a loop whose length is known.
#[test]
fn instructions_are_counted() {
    if !is_native("instructions_are_counted", Tier::Avx2) {
        return;
    }
    let (mut rng, mut memory) = (Rng(13), Memory::new());
    for tile in tiles(Tier::Avx2) {
        let desc = tile.desc(Tier::Avx2, [Section::Narrow].into_iter().collect());
        let shape = Shape { fill: Fill::Random, activation_max: 255, tiles: 3, width: 1, blocks: 2, bundles: &[17] };
        let statistics = compare(&Case::new(desc, shape, &mut rng), &mut memory);
        let products = 3 * 2 * 17 * u64::from(tile.rows) * u64::from(tile.vectors);
        assert_eq!(statistics.count(Mnemonic::Vpmaddubsw), products, "{desc}");
        assert_eq!(statistics.count(Mnemonic::Ret), 1, "{desc}");
        assert_eq!(statistics.count(Mnemonic::Vpdpbusd), 0, "{desc}");
        assert_eq!(statistics.iter().map(|(_, count)| count).sum::<u64>(), statistics.total(), "{desc}");
    }
}

/// Fast enough for whole test suites: some 40 million instructions per second on an idle core, and a bound far below
/// for one that is not.
#[test]
fn the_model_is_fast_enough() {
    if !is_native("the_model_is_fast_enough", Tier::Avx2) {
        return;
    }
    let (mut rng, mut memory) = (Rng(14), Memory::new());
    let tile = tiles(Tier::Avx2)[5];
    for section in [Section::Narrow, Section::Sum8, Section::Wide] {
        let desc = tile.desc(Tier::Avx2, [section].into_iter().collect());
        let kernel = Kernel::generate(&desc).unwrap();
        let program = Program::decode(kernel.bytes()).unwrap();
        let shape = Shape { fill: Fill::Random, activation_max: 255, tiles: 20, width: 1, blocks: 2, bundles: &[100] };
        let case = Case::new(desc, shape, &mut rng);
        let (mut instructions, mut seconds) = (0, 0.0);
        for _ in 0..20 {
            case.run_with(&mut memory, |args| {
                let start = std::time::Instant::now();
                // SAFETY: the arguments are what the kernel asks for, and the kernel lives as long as its program.
                instructions += unsafe { program.run((&raw mut *args).cast()) }.unwrap().total();
                seconds += start.elapsed().as_secs_f64();
            });
        }
        let millions = instructions as f64 / seconds / 1e6;
        eprintln!("{desc}: {millions:.1} million instructions per second");
        assert!(millions > 1.0, "{desc}: {millions} million instructions per second");
    }
}
