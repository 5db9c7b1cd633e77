//! Floating-point products against the reference, bit for bit: all types, strides, stages, tiers and numbers of threads;
//! shapes around every edge; numbers that overflow, vanish or are none.

mod common;

use common::guard::{Guarded, Side};
use common::operand::{Order, Poisoned, Stored};
use common::random::Rng;
use common::{Bits, SeedOfPanic, assert_same_bits, seed, share_of, tiers};
use gemmill::float_reference::{self, Stages};
use gemmill::half::{bf16, f16};
use gemmill::{
    Error, Float, FloatGemm, FloatRunOptions, FloatType, Function, MatMut, MatRef, PackedFloat, Threads, Tier,
};

const FUNCTIONS: [Function; 5] =
    [Function::Identity, Function::Relu, Function::Clamp { low: -0.5, high: 1.5 }, Function::Gelu, Function::Silu];

/// What numbers are like.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Numbers {
    Usual,
    /// All magnitudes: sums overflow and vanish.
    AllMagnitudes,
    /// Small integers, of which sums are exact.
    Integers,
    /// Infinities and NaN among the usual ones.
    Special,
}

impl Numbers {
    const ALL: [Numbers; 4] = [Numbers::Usual, Numbers::AllMagnitudes, Numbers::Integers, Numbers::Special];

    fn next(self, rng: &mut Rng) -> f32 {
        match self {
            Numbers::Usual => rng.gaussian(),
            Numbers::AllMagnitudes => f32::from_bits(rng.bits() as u32 & 0xbfff_ffff),
            Numbers::Integers => rng.range(-8, 8) as f32,
            Numbers::Special if rng.one_in(9) => {
                rng.pick(&[f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0, -0.0, 1e-45, 3.4e38])
            }
            Numbers::Special => rng.gaussian(),
        }
    }
}

fn stored<T: Float>(rng: &mut Rng, shape: (usize, usize), order: Order, numbers: Numbers) -> Stored<T> {
    Stored::new(shape, order, |_| T::from_f32(f32::NAN), |_, _| T::from_f32(numbers.next(rng)))
}

/// One product, all of whose parameters come from a seed.
fn check<A: Float + Bits, B: Float + Bits, C: Float + Bits>(
    rng: &mut Rng,
    tier: Tier,
    (m, n, k): (usize, usize, usize),
) {
    let numbers = rng.pick(&Numbers::ALL);
    let (a_order, b_order) = (Order::random(rng), Order::random(rng));
    let a = stored::<A>(rng, (m, k), a_order, numbers);
    let b = stored::<B>(rng, (k, n), b_order, numbers);
    let beta = rng.pick(&[0.0, 0.0, 1.0, -0.75]);
    let bias: Vec<f32> = (0..n).map(|_| numbers.next(rng)).collect();
    let bias = rng.one_in(2).then_some(&bias[..]);
    let residual_order = if rng.one_in(2) { Order::RowMajor } else { Order::PaddedRows(3) };
    let residual = stored::<C>(rng, (m, n), residual_order, numbers);
    let residual = rng.one_in(3).then_some(residual.view());
    let function = rng.pick(&FUNCTIONS);
    let before: Vec<C> = (0..m * n).map(|_| C::from_f32(numbers.next(rng))).collect();
    let threads = rng.pick(&[Threads::Max(1), Threads::Max(1), Threads::Exactly(2), Threads::Exactly(3)]);

    let packed = PackedFloat::new(b.view()).unwrap();
    let gemm = FloatGemm::builder(&packed).beta(beta).function(function).threads(threads).tier(tier);
    let gemm = if let Some(bias) = bias { gemm.bias(bias) } else { gemm }.build().unwrap();
    let mut c = Poisoned::holding((m, n), rng.below(4), &before);
    let mut options = FloatRunOptions::new();
    if let Some(residual) = residual {
        options = options.residual(residual);
    }
    gemm.run_with(a.view(), &mut c.view(), &options).unwrap();

    let mut expected = before;
    let mut view = MatMut::row_major(&mut expected, m, n).unwrap();
    float_reference::gemm(a.view(), b.view(), &mut view, &Stages { beta, bias, residual, function }).unwrap();
    // Which NaN it is, is not specified: what was found counts.
    let found = c.view();
    for i in 0..m {
        for j in 0..n {
            let (at, got) = (i * n + j, found.as_ref().get(i, j).unwrap());
            if expected[at].to_f32().is_nan() && got.to_f32().is_nan() {
                expected[at] = got;
            }
        }
    }
    c.assert_holds(&expected, || {
        let types = [A::TYPE, B::TYPE, C::TYPE].map(FloatType::name);
        format!(
            "{tier} {types:?} {m}x{n}x{k}, A {a_order:?}, B {b_order:?}, {numbers:?}, beta {beta}, bias {}, residual {}, \
             {function:?}, {threads:?}",
            bias.is_some(),
            residual.is_some()
        )
    });
}

/// A product of random types.
fn check_any(rng: &mut Rng, tier: Tier, shape: (usize, usize, usize)) {
    macro_rules! any {
        ($($a:ty, $b:ty, $c:ty;)*) => {{
            let checks: &[fn(&mut Rng, Tier, (usize, usize, usize))] = &[$(check::<$a, $b, $c>),*];
            rng.pick(checks)(rng, tier, shape)
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
        let shapes = [(20, 40, 1100), (3, 40, 2100), (90, 33, 700), (40, 130, 513), (29, 64, 1031), (200, 16, 5000)];
        for &shape in &shapes[..share_of(6) as usize] {
            for _ in 0..share_of(4) {
                check_any(rng, tier, shape);
            }
        }
    }
}

/// A row of a product has the same bits whatever rows are with it, on every tier and with any number of threads.
#[test]
fn rows_do_not_depend_on_the_batch() {
    let rng = &mut Rng::new(seed() + 2);
    for _ in 0..share_of(60) {
        let (m, n, k) = (2 + rng.below(40), 1 + rng.below(200), rng.below(600));
        let a = stored::<f32>(rng, (m, k), Order::RowMajor, Numbers::Usual);
        let b = stored::<bf16>(rng, (k, n), Order::RowMajor, Numbers::Usual);
        let packed = PackedFloat::new(b.view()).unwrap();
        let mut first: Option<Vec<f32>> = None;
        for tier in tiers() {
            let threads = rng.pick(&[Threads::Max(1), Threads::Exactly(2), Threads::Exactly(4)]);
            let function = Function::Gelu;
            let gemm = FloatGemm::builder(&packed).function(function).tier(tier).threads(threads).build().unwrap();
            let mut all = vec![0f32; m * n];
            gemm.run(a.view(), &mut MatMut::row_major(&mut all, m, n).unwrap()).unwrap();
            for i in 0..m {
                let row = MatRef::row_major(&a.data[i * k..][..k], 1, k).unwrap();
                let mut alone = vec![0f32; n];
                gemm.run(row, &mut MatMut::row_major(&mut alone, 1, n).unwrap()).unwrap();
                assert_same_bits(&alone, &all[i * n..][..n], || format!("row {i} of {m}x{n}x{k} on {tier}"));
            }
            let before = first.get_or_insert_with(|| all.clone());
            assert_same_bits(&all, before, || format!("{m}x{n}x{k} on {tier}, {threads:?}"));
        }
    }
}

/// A, C and the residual between pages that must not be touched.
#[test]
fn operands_beside_guard_pages() {
    for tier in tiers() {
        let rng = &mut Rng::new(seed() + 3);
        for _ in 0..share_of(150) {
            let (m, n, k) = (1 + rng.below(16), 1 + rng.below(70), rng.below(20));
            for side in Side::BOTH {
                let a: Vec<f32> = (0..m * k).map(|_| rng.gaussian()).collect();
                let b: Vec<bf16> = (0..k * n).map(|_| bf16::from_f32(rng.gaussian())).collect();
                let residual: Vec<f16> = (0..m * n).map(|_| f16::from_f32(rng.gaussian())).collect();
                let (a, mut c) = (Guarded::new(&a, side), Guarded::new(&vec![f16::ZERO; m * n], side));
                let residual = Guarded::new(&residual, side);
                let a = MatRef::row_major(a.elements(), m, k).unwrap();
                let b = MatRef::row_major(&b, k, n).unwrap();
                let residual = MatRef::row_major(residual.elements(), m, n).unwrap();
                let gemm = FloatGemm::builder(&PackedFloat::new(b).unwrap()).beta(1.0).tier(tier).build().unwrap();
                let options = FloatRunOptions::new().residual(residual);
                gemm.run_with(a, &mut MatMut::row_major(c.elements_mut(), m, n).unwrap(), &options).unwrap();
                let mut expected = vec![f16::ZERO; m * n];
                let stages = Stages { beta: 1.0, residual: Some(residual), ..Stages::default() };
                let mut view = MatMut::row_major(&mut expected, m, n).unwrap();
                float_reference::gemm(a, b, &mut view, &stages).unwrap();
                assert_same_bits(c.elements(), &expected, || format!("{tier} {m}x{n}x{k} {side:?}"));
            }
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
        for (m, n, k) in [(0, 5, 3), (5, 0, 3), (0, 0, 0), (3, 4, 0)] {
            let packed = PackedFloat::new(MatRef::row_major(&vec![1f32; k * n], k, n).unwrap()).unwrap();
            let bias = vec![2f32; n];
            let gemm = FloatGemm::builder(&packed).bias(&bias).beta(0.5).tier(tier).build().unwrap();
            let (a, mut c) = (vec![1f32; m * k], vec![4f32; m * n]);
            gemm.run(MatRef::row_major(&a, m, k).unwrap(), &mut MatMut::row_major(&mut c, m, n).unwrap()).unwrap();
            assert_eq!(c, vec![4f32; m * n]);
        }
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
        let mut options = FloatRunOptions::new();
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
