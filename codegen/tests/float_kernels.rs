//! Generated float kernels against the portable tier: the same arguments must leave the same bits in C, and nothing
//! around it. Operands end where a page begins that must not be touched.
//!
//! How partial sums and expanded weights lie in memory is a tier's own business: kernels that leave them are followed
//! by one that takes them, and what that one leaves in C is compared.

mod common;
#[path = "common/float_case.rs"]
mod float_case;
#[path = "common/guarded.rs"]
mod guarded;

use common::{Rng, machine_tiers, say, share_of};
use float_case::{Case, Memory, compare};
use gemmill_codegen::*;
use gemmill_machine::{Exercised, Lacking};

/// Every micro-tile of every tier, with random operands, sizes, strides and stages.
#[test]
fn float_kernels_match_the_portable_tier() {
    let (mut rng, mut memory) = (Rng(7), Memory::new());
    let mut count = 0;
    for tier in machine_tiers("float_kernels_match_the_portable_tier") {
        for tile in float_tiles(tier) {
            for rows in 1..=tile.max_rows {
                for vectors in (2..=tile.vectors).step_by(2) {
                    for _ in 0..share_of(24) {
                        compare(&Case::random(tier, rows, vectors, &mut rng), &mut memory);
                        count += 1;
                    }
                }
            }
        }
    }
    eprintln!("{count} kernels compared");
}

/// The same with weights of few bits.
#[test]
fn kernels_of_groups_match_the_portable_tier() {
    let (mut rng, mut memory) = (Rng(9), Memory::new());
    let mut count = 0;
    for tier in machine_tiers("kernels_of_groups_match_the_portable_tier") {
        for tile in float_tiles(tier) {
            for rows in 1..=tile.rows {
                for vectors in (2..=tile.vectors).step_by(2) {
                    for _ in 0..share_of(24) {
                        compare(&Case::random_groups(tier, rows, vectors, &mut rng), &mut memory);
                        count += 1;
                    }
                }
            }
        }
    }
    eprintln!("{count} kernels compared");
}

/// The same with hardware dot products, on every tier that has some: the portable tier does in plain Rust what the CPU
/// or the emulated machine does.
#[test]
fn hardware_dots_match_the_portable_tier() {
    const TEST: &str = "hardware_dots_match_the_portable_tier";
    let (mut rng, mut memory) = (Rng(8), Memory::new());
    for dot in HardwareDot::ALL {
        let mut count = 0;
        for tier in machine_tiers(TEST).into_iter().filter(|&tier| tier >= dot.lowest_tier()) {
            if let Err(why) = dot.require(tier) {
                say(format_args!("SKIPPED {TEST} on {dot}: {why} (tier {tier})"));
                continue;
            }
            for tile in float_tiles_of(tier, FloatProducts::Dot(dot)) {
                for rows in 1..=tile.max_rows {
                    for vectors in (2..=tile.vectors).step_by(2) {
                        for _ in 0..share_of(16) {
                            compare(&Case::random_dot(tier, dot, rows, vectors, &mut rng), &mut memory);
                            count += 1;
                        }
                    }
                }
            }
        }
        say(format_args!("hardware dot products: {dot}: {count} kernels compared"));
        // The emulated machine has all of them.
        let interpreted = &Exercised::in_this_process(Lacking::Interpreted).interpreted;
        assert!(count > 0 || !interpreted.contains(&Tier::Amx), "{dot} was not exercised");
    }
}

/// What is no kernel is refused.
#[test]
fn impossible_kernels_are_refused() {
    let desc = FloatKernelDesc {
        tier: Tier::Avx2,
        products: FloatProducts::Chain,
        weights: FloatType::F16.into(),
        expansion: Expansion::InRegisters,
        a: FloatRows::Strided,
        sweep: Sweep::Column,
        rows: 6,
        vectors: 2,
        cols: 16,
        start: FloatStart::Zero,
        finish: FloatFinish::Scratch,
        c: FloatType::F32,
        prefetch: FloatPrefetch::None,
    };
    let silu = FloatEpilogue { bias: false, residual: false, function: FloatFunction::Silu };
    let dot = FloatKernelDesc { products: FloatProducts::Dot(HardwareDot::Avx512Bf16), ..desc };
    let tiles = FloatKernelDesc {
        tier: Tier::Amx,
        products: FloatProducts::Dot(HardwareDot::AmxBf16),
        weights: FloatType::Bf16.into(),
        expansion: Expansion::Kept,
        ..desc
    };
    let layout = GroupLayout { bits: 4, zero_points: GroupZeroPoints::Middle };
    let groups = WeightGroups { layout, size: 64, scales: GroupScales::Moderate };
    let of = |groups| FloatKernelDesc { weights: FloatWeights::Groups(groups), ..desc };
    assert!(Kernel::generate(&of(groups)).is_ok());
    for wrong in [
        of(WeightGroups { layout: GroupLayout { bits: 3, ..layout }, ..groups }),
        of(WeightGroups { size: 16, ..groups }),
        FloatKernelDesc { rows: 7, ..of(groups) },
        FloatKernelDesc { prefetch: FloatPrefetch::Next, ..of(groups) },
        FloatKernelDesc { rows: 0, ..desc },
        FloatKernelDesc { rows: 8, ..desc },
        FloatKernelDesc { rows: 7, finish: FloatFinish::Epilogue(silu), ..desc },
        FloatKernelDesc { vectors: 4, ..desc },
        FloatKernelDesc { vectors: 8, rows: 1, prefetch: FloatPrefetch::Next, ..desc },
        FloatKernelDesc { vectors: 3, ..desc },
        FloatKernelDesc { vectors: 0, ..desc },
        FloatKernelDesc { cols: 17, ..desc },
        FloatKernelDesc { cols: 0, ..desc },
        FloatKernelDesc { vectors: 4, rows: 1, expansion: Expansion::Kept, ..desc },
        FloatKernelDesc { tier: Tier::Portable, vectors: 200, ..desc },
        FloatKernelDesc { weights: FloatType::Bf16.into(), ..dot },
        FloatKernelDesc { tier: Tier::Avx512, ..dot },
        FloatKernelDesc { a: FloatRows::Interleaved, ..tiles },
        FloatKernelDesc { weights: FloatType::F32.into(), ..tiles },
        FloatKernelDesc { tier: Tier::Avx512Vnni, ..tiles },
        FloatKernelDesc { expansion: Expansion::InRegisters, ..tiles },
        FloatKernelDesc { prefetch: FloatPrefetch::Ahead, ..tiles },
        FloatKernelDesc { rows: 33, ..tiles },
        FloatKernelDesc { sweep: Sweep::Row, cols: 15, ..desc },
        FloatKernelDesc { sweep: Sweep::Row, expansion: Expansion::Kept, ..desc },
        FloatKernelDesc { sweep: Sweep::Row, expansion: Expansion::Reused, ..desc },
        FloatKernelDesc { sweep: Sweep::Row, prefetch: FloatPrefetch::Next, ..desc },
        FloatKernelDesc { sweep: Sweep::Row, vectors: 6, rows: 1, cols: 48, ..desc },
        FloatKernelDesc { sweep: Sweep::Row, cols: 32, ..tiles },
        FloatKernelDesc { vectors: 4, ..tiles },
    ] {
        assert!(matches!(Kernel::generate(&wrong), Err(CodegenError::Unsupported(_))), "{wrong}");
    }
}
