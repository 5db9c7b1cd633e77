//! Floating-point products against the reference, bit for bit: all types, strides, stages, tiers and numbers of
//! threads; shapes around every edge; numbers that overflow, vanish or are none.

mod common;

use common::operand::{Order, Poisoned};
use common::products::{Chain, Numbers, check, check_empty, check_guarded, check_rows, stored};
use common::random::Rng;
use common::{SeedOfPanic, seed, share_of, tiers};
use gemmill::half::{bf16, f16};
use gemmill::{Error, FloatGemm, FloatType, Function, MatMut, MatRef, PackedFloat, RunOptions, Threads, Tier};

/// A product of random types.
fn check_any(rng: &mut Rng, tier: Tier, shape: (usize, usize, usize)) {
    type Check = fn(&mut Rng, (Tier, Chain), (usize, usize, usize));
    macro_rules! any {
        ($($a:ty, $b:ty, $c:ty;)*) => {{
            let checks: &[Check] = &[$(check::<$a, $b, $c, Chain>),*];
            rng.pick(checks)(rng, (tier, Chain), shape)
        }};
    }
    any! {
        f32, f32, f32; f32, f16, f32; f32, bf16, f32; f32, bf16, bf16; f32, f16, f16; f32, f32, f16; f32, f32, bf16;
        f16, f16, f16; f16, f16, f32; f16, bf16, bf16; f16, f32, f32;
        bf16, bf16, bf16; bf16, bf16, f32; bf16, f16, f16; bf16, f32, bf16;
    }
}

#[test]
fn random_products_have_the_bits_of_the_reference() {
    for tier in tiers() {
        for case in 0..share_of(1200) {
            let case = seed().wrapping_add(case);
            let _seed = SeedOfPanic(case);
            let rng = &mut Rng::new(case);
            let m = if rng.one_in(4) { 1 + rng.below(60) } else { rng.below(18) };
            let n = if rng.one_in(3) { rng.below(300) } else { rng.below(70) };
            let k = if rng.one_in(8) { rng.below(800) } else { rng.below(40) };
            check_any(rng, tier, (m, n, k));
        }
    }
}

/// Every number of rows of a micro-tile and beyond, with every number of columns of a panel.
#[test]
fn all_edges() {
    for tier in tiers() {
        let rng = &mut Rng::new(seed());
        for m in 1..=16 {
            for n in 1..=33 {
                if share_of(10) < 10 && !rng.one_in(20) {
                    continue;
                }
                let k = 1 + rng.below(9);
                check_any(rng, tier, (m, n, k));
            }
        }
    }
}

/// K beyond a block: partial sums pass through memory. N beyond a strip, rows beyond a block of tiles.
#[test]
fn several_blocks() {
    for tier in tiers() {
        let rng = &mut Rng::new(seed() + 1);
        let shapes = [
            (20, 40, 1100),
            (3, 40, 2100),
            (90, 33, 700),
            (40, 130, 513),
            (29, 64, 1031),
            (200, 16, 5000),
            // Several blocks of rows that go along all strips.
            (4200, 70, 32),
        ];
        for &shape in &shapes[..share_of(7) as usize] {
            for _ in 0..share_of(4) {
                check_any(rng, tier, shape);
            }
        }
    }
}

#[test]
fn rows_do_not_depend_on_the_batch() {
    let rng = &mut Rng::new(seed() + 2);
    let tiers = tiers();
    for _ in 0..share_of(60) {
        let shape = (2 + rng.below(40), 1 + rng.below(200), rng.below(600));
        check_rows(rng, (&tiers, Chain), shape);
    }
}

#[test]
fn operands_beside_guard_pages() {
    for tier in tiers() {
        let rng = &mut Rng::new(seed() + 3);
        for _ in 0..share_of(150) {
            let shape = (1 + rng.below(16), 1 + rng.below(70), rng.below(20));
            check_guarded::<f32, _>(rng, (tier, Chain), shape);
        }
    }
}

/// Weights keep their numbers, scaled and rounded as documented.
#[test]
fn packed_weights_are_those_given() {
    let rng = &mut Rng::new(seed() + 4);
    for _ in 0..share_of(200) {
        let (k, n) = (rng.below(30), rng.below(100));
        let numbers = rng.pick(&[Numbers::Usual, Numbers::AllMagnitudes]);
        let order = Order::random(rng);
        let b = stored::<f32>(rng, (k, n), order, numbers);
        let (alpha, saturating) = (rng.pick(&[1.0, -0.3, 1e9]), rng.one_in(2));
        for stored in FloatType::ALL {
            let packed =
                PackedFloat::builder(b.view()).store(stored).alpha(alpha).saturating(saturating).build().unwrap();
            let unpacked = packed.unpack();
            assert_eq!((unpacked.len(), packed.get(k, 0), packed.get(0, n)), (k * n, None, None));
            for i in 0..k {
                for j in 0..n {
                    let mut x = alpha * b.view().get(i, j).unwrap();
                    let largest = match stored {
                        FloatType::F32 => f32::MAX,
                        FloatType::F16 => 65504.0,
                        FloatType::Bf16 => bf16::MAX.to_f32(),
                    };
                    if saturating {
                        x = x.clamp(-largest, largest);
                    }
                    let x = match stored {
                        FloatType::F32 => x,
                        FloatType::F16 => f16::from_f32(x).to_f32(),
                        FloatType::Bf16 => bf16::from_f32(x).to_f32(),
                    };
                    let found = unpacked[i * n + j];
                    assert!(found.to_bits() == x.to_bits() || found.is_nan() && x.is_nan(), "{found} is not {x}");
                }
            }
        }
    }
}

#[test]
fn no_rows_no_columns_no_depth() {
    for tier in tiers() {
        check_empty(tier, Chain);
    }
}

/// However deep: without columns there is nothing to store.
#[test]
fn depth_without_columns() {
    let k = usize::MAX / 8;
    let none = MatRef::<f32>::row_major(&[], k, 0).unwrap();
    let packed = PackedFloat::new(none).unwrap();
    assert_eq!((packed.k(), packed.n(), packed.size_in_bytes()), (k, 0, 0));
    let gemm = FloatGemm::builder(&packed).build().unwrap();
    let a = MatRef::with_strides(&[1f32], 2, k, 0, 0).unwrap();
    gemm.run(a, &mut MatMut::<f32>::row_major(&mut [], 2, 0).unwrap()).unwrap();
}

#[test]
fn bad_input_is_refused_and_c_untouched() {
    let b = [1f32; 6];
    let packed = PackedFloat::new(MatRef::row_major(&b, 2, 3).unwrap()).unwrap();
    let builder = || FloatGemm::builder(&packed);
    assert!(matches!(builder().bias(&[0.0]).build(), Err(Error::Mismatch { expected: 3, given: 1, .. })));
    assert!(matches!(builder().beta(f32::NAN).build(), Err(Error::BadNumber { .. })));
    assert!(matches!(builder().beta(f32::INFINITY).build(), Err(Error::BadNumber { .. })));
    for (low, high) in [(1.0, 0.0), (f32::NAN, 0.0), (0.0, f32::NAN)] {
        assert!(matches!(builder().function(Function::Clamp { low, high }).build(), Err(Error::BadNumber { .. })));
    }
    for threads in [Threads::Max(0), Threads::Exactly(0)] {
        assert!(matches!(builder().threads(threads).build(), Err(Error::OutOfRange { .. })));
    }
    let b = MatRef::row_major(&b, 2, 3).unwrap();
    assert!(matches!(PackedFloat::builder(b).alpha(f32::NAN).build(), Err(Error::BadNumber { .. })));
    // Weights that no memory can hold, in a view of one element.
    let huge = MatRef::with_strides(&[1f32], usize::MAX / 2, 2, 0, 0).unwrap();
    assert!(matches!(PackedFloat::new(huge), Err(Error::Overflow { .. })));

    let gemm = builder().build().unwrap();
    let a = [1f32; 8];
    let view = |rows, cols| MatRef::row_major(&a, rows, cols).unwrap();
    let refuse = |a: MatRef<'_, f32>, rows, cols, residual: Option<MatRef<'_, f32>>| {
        let mut c = Poisoned::<f32>::new((rows, cols), 1);
        let mut options = RunOptions::new();
        if let Some(residual) = residual {
            options = options.residual(residual);
        }
        let error = gemm.run_with(a, &mut c.view(), &options).unwrap_err();
        c.assert_untouched(&error.to_string());
        error
    };
    assert!(matches!(refuse(view(2, 3), 2, 3, None), Error::Mismatch { .. }));
    assert!(matches!(refuse(view(2, 2), 1, 3, None), Error::Mismatch { .. }));
    assert!(matches!(refuse(view(2, 2), 2, 2, None), Error::Mismatch { .. }));
    assert!(matches!(refuse(view(2, 2), 2, 3, Some(view(2, 2))), Error::Mismatch { .. }));
    assert!(matches!(refuse(view(2, 2), 2, 3, Some(view(1, 3))), Error::Mismatch { .. }));
    let gaps = MatRef::with_strides(&a, 2, 3, 1, 2).unwrap();
    assert!(matches!(refuse(view(2, 2), 2, 3, Some(gaps)), Error::Unsupported { .. }));
}
