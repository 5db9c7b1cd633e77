//! Products with weights of 4 and 2 bits against the reference, bit for bit: all formats, strides, types, tiers and numbers of
//! threads; shapes around every edge.

mod common;

use common::operand::{Order, Poisoned, Stored};
use common::random::Rng;
use common::{SeedOfPanic, assert_same_bits, seed, share_of, tiers};
use gemmill::convert::bf16;
use gemmill::quant::{Bits, GroupSize, GroupwiseFormat, GroupwiseParts, GroupwiseWeights, ZeroPoints};
use gemmill::reference::groupwise::{Accumulate, quantize_rows, quantized, weight_only};
use gemmill::{
    Error, Float, FloatGemm, Function, GroupwiseGemm, MatMut, MatRef, PackedGroupwise, Threads, Tier, half::f16,
};

const FUNCTIONS: [Function; 3] = [Function::Identity, Function::Relu, Function::Silu];

fn format(rng: &mut Rng) -> GroupwiseFormat {
    GroupwiseFormat {
        bits: rng.pick(&[Bits::Two, Bits::Four, Bits::Four]),
        group_size: rng.pick(&[GroupSize::G32, GroupSize::G64, GroupSize::G128]),
        zero_points: rng.pick(&[ZeroPoints::Middle, ZeroPoints::Each]),
    }
}

/// Weights of all values, or of the extreme ones alone.
fn weights(rng: &mut Rng, k: usize, n: usize, format: GroupwiseFormat) -> GroupwiseWeights {
    let highest = format.bits.highest();
    let extreme = rng.one_in(3);
    let value =
        |rng: &mut Rng| if extreme { rng.pick(&[0, highest]) } else { rng.below(usize::from(highest) + 1) as u8 };
    let values = (0..k * n).map(|_| value(rng)).collect();
    let groups = format.groups(k) * n;
    let exponent = rng.pick(&[-9, 0, 20]);
    let scale = |rng: &mut Rng| bf16::from_f32((rng.unit() + 0.01) * 2f32.powi(exponent));
    let zero_points = if format.zero_points == ZeroPoints::Each { groups } else { 0 };
    GroupwiseWeights::from_parts(GroupwiseParts {
        k,
        n,
        format,
        values,
        scales: (0..groups).map(|_| scale(rng)).collect(),
        zero_points: (0..zero_points).map(|_| rng.below(usize::from(highest) + 1) as u8).collect(),
    })
    .unwrap()
}

fn activations<T: Float>(rng: &mut Rng, shape: (usize, usize)) -> Stored<T> {
    let order = Order::random(rng);
    let exponent = rng.pick(&[0, 0, -40, 12]);
    let number = |rng: &mut Rng| if rng.one_in(10) { 0.0 } else { rng.gaussian() * 2f32.powi(exponent) };
    Stored::new(shape, order, |_| T::from_f32(f32::NAN), |_, _| T::from_f32(number(rng)))
}

/// The same matrix as f32, row-major.
fn as_f32<T: Float>(a: MatRef<'_, T>) -> Vec<f32> {
    (0..a.rows()).flat_map(|i| (0..a.cols()).map(move |k| a.get(i, k).unwrap().to_f32())).collect()
}

/// One product with integer activations and one with floating-point ones.
fn check<A: Float, C: Float + common::Bits>(rng: &mut Rng, tier: Tier, (m, n, k): (usize, usize, usize)) {
    let format = format(rng);
    let b = weights(rng, k, n, format);
    let packed = PackedGroupwise::new(&b).unwrap();
    let a = activations::<A>(rng, (m, k));
    let bias: Vec<f32> = (0..n).map(|_| rng.gaussian()).collect();
    let bias = rng.one_in(2).then_some(&bias[..]);
    let function = rng.pick(&FUNCTIONS);
    let threads = rng.pick(&[Threads::Max(1), Threads::Max(1), Threads::Exactly(2), Threads::Exactly(3)]);
    let case = || format!("{tier} {m}x{n}x{k} {format:?} {function:?} {threads:?}, bias {}", bias.is_some());
    let real = as_f32(a.view());
    let real = MatRef::row_major(&real, m, k).unwrap();

    let mut gemm = GroupwiseGemm::builder(&packed).function(function).threads(threads).tier(tier);
    if let Some(bias) = bias {
        gemm = gemm.bias(bias);
    }
    let mut c = Poisoned::<C>::new((m, n), rng.below(4));
    gemm.build().unwrap().run(a.view(), &mut c.view()).unwrap();
    let (integers, scales) = quantize_rows(real).unwrap();
    let sums = quantized(MatRef::row_major(&integers, m, k).unwrap(), &scales, &b, bias);
    let expected: Vec<C> = sums.iter().map(|&x| C::from_f32(function.apply(x))).collect();
    c.assert_holds(&expected, || format!("integer activations: {}", case()));

    let beta = rng.pick(&[0.0, -0.5]);
    let mut gemm = FloatGemm::groupwise(&packed).function(function).threads(threads).tier(tier).beta(beta);
    if let Some(bias) = bias {
        gemm = gemm.bias(bias);
    }
    let before: Vec<C> = (0..m * n).map(|_| C::from_f32(rng.gaussian())).collect();
    let mut c = Poisoned::<C>::holding((m, n), rng.below(4), &before);
    gemm.build().unwrap().run(a.view(), &mut c.view()).unwrap();
    let before = as_f32(MatRef::row_major(&before, m, n).unwrap());
    let start = Accumulate { beta, c: MatRef::row_major(&before, m, n).unwrap() };
    let sums = weight_only(real, &b, Some(start));
    let expected: Vec<C> = sums
        .iter()
        .enumerate()
        .map(|(i, &x)| C::from_f32(function.apply(bias.map_or(x, |bias| x + bias[i % n.max(1)]))))
        .collect();
    c.assert_holds(&expected, || format!("floating-point activations: {}", case()));
}

type Check = fn(&mut Rng, Tier, (usize, usize, usize));

fn check_any(rng: &mut Rng, tier: Tier, shape: (usize, usize, usize)) {
    let checks: [Check; 5] =
        [check::<f32, f32>, check::<f32, f32>, check::<bf16, bf16>, check::<f16, f32>, check::<f32, f16>];
    rng.pick(&checks)(rng, tier, shape);
}

#[test]
fn random_products_have_the_bits_of_the_reference() {
    for tier in tiers() {
        for case in 0..share_of(500) {
            let case = seed().wrapping_add(case);
            let _seed = SeedOfPanic(case);
            let rng = &mut Rng::new(case);
            let m = if rng.one_in(4) { 1 + rng.below(40) } else { rng.below(14) };
            let n = if rng.one_in(3) { rng.below(200) } else { rng.below(70) };
            let k = if rng.one_in(4) { rng.below(700) } else { rng.below(140) };
            check_any(rng, tier, (m, n, k));
        }
    }
}

/// Every K around a group, and every number of rows of a micro-tile and beyond.
#[test]
fn all_edges() {
    for tier in tiers() {
        let rng = &mut Rng::new(seed());
        for k in 0..=140 {
            if share_of(10) == 10 || rng.one_in(10) {
                let m = 1 + k % 26;
                let n = 1 + rng.below(70);
                check_any(rng, tier, (m, n, k));
            }
        }
    }
}

/// Activations and weights at their corners: no sum may overflow 16 bits on the way.
#[test]
fn corners_of_all_operands() {
    for tier in tiers() {
        for bits in [Bits::Two, Bits::Four] {
            for (sign, m) in [(1.0f32, 1), (-1.0, 3), (1.0, 14)] {
                let (k, n) = (256, 40);
                let format = GroupwiseFormat { bits, group_size: GroupSize::G128, zero_points: ZeroPoints::Each };
                let parts = GroupwiseParts {
                    k,
                    n,
                    format,
                    values: vec![bits.highest(); k * n],
                    scales: vec![bf16::ONE; 2 * n],
                    zero_points: vec![0; 2 * n],
                };
                let packed = PackedGroupwise::new(&GroupwiseWeights::from_parts(parts).unwrap()).unwrap();
                let gemm = GroupwiseGemm::builder(&packed).tier(tier).build().unwrap();
                let (a, mut c) = (vec![sign * 127.0; m * k], vec![0f32; m * n]);
                gemm.run(MatRef::row_major(&a, m, k).unwrap(), &mut MatMut::row_major(&mut c, m, n).unwrap()).unwrap();
                let expected = sign * 127.0 * 256.0 * f32::from(bits.highest());
                assert!(c.iter().all(|&x| x == expected), "{tier} {bits:?} {m}: {} is not {expected}", c[0]);
            }
        }
    }
}

#[test]
fn rows_do_not_depend_on_the_batch() {
    let rng = &mut Rng::new(seed() + 2);
    for _ in 0..share_of(30) {
        let (m, n, k) = (2 + rng.below(30), 1 + rng.below(100), rng.below(600));
        let format = format(rng);
        let packed = PackedGroupwise::new(&weights(rng, k, n, format)).unwrap();
        let a: Vec<f32> = (0..m * k).map(|_| rng.gaussian()).collect();
        let mut first: Option<[Vec<f32>; 2]> = None;
        for tier in tiers() {
            let threads = rng.pick(&[Threads::Max(1), Threads::Exactly(2), Threads::Exactly(4)]);
            let integer = GroupwiseGemm::builder(&packed).tier(tier).threads(threads).build().unwrap();
            let float = FloatGemm::groupwise(&packed).tier(tier).threads(threads).build().unwrap();
            let run = |a: &[f32], m: usize| {
                let mut c = [vec![0f32; m * n], vec![0f32; m * n]];
                let a = MatRef::row_major(a, m, k).unwrap();
                integer.run(a, &mut MatMut::row_major(&mut c[0], m, n).unwrap()).unwrap();
                float.run(a, &mut MatMut::row_major(&mut c[1], m, n).unwrap()).unwrap();
                c
            };
            let all = run(&a, m);
            for i in 0..m {
                let alone = run(&a[i * k..][..k], 1);
                for (all, alone) in all.iter().zip(&alone) {
                    assert_same_bits(alone, &all[i * n..][..n], || format!("row {i} of {m}x{n}x{k} on {tier}"));
                }
            }
            let before = first.get_or_insert_with(|| all.clone());
            for (all, before) in all.iter().zip(before) {
                assert_same_bits(all, before, || format!("{m}x{n}x{k} on {tier}, {threads:?}"));
            }
        }
    }
}

/// However deep: without columns there is nothing to store; but activations are looked at.
#[test]
fn depth_without_columns() {
    let format = GroupwiseFormat { bits: Bits::Two, group_size: GroupSize::G32, zero_points: ZeroPoints::Each };
    let parts = |k| GroupwiseParts { k, n: 0, format, values: vec![], scales: vec![], zero_points: vec![] };
    let deep = GroupwiseWeights::from_parts(parts(usize::MAX / 8)).unwrap();
    assert_eq!(PackedGroupwise::new(&deep).unwrap().size_in_bytes(), 0);
    let packed = PackedGroupwise::new(&GroupwiseWeights::from_parts(parts(5000)).unwrap()).unwrap();
    let gemm = GroupwiseGemm::builder(&packed).build().unwrap();
    let run = |a: &[f32]| {
        gemm.run(MatRef::row_major(a, 1, 5000).unwrap(), &mut MatMut::<f32>::row_major(&mut [], 1, 0).unwrap())
    };
    let mut a = vec![1f32; 5000];
    run(&a).unwrap();
    a[4999] = f32::NEG_INFINITY;
    assert!(matches!(run(&a), Err(Error::BadNumber { .. })));
}

#[test]
fn bad_input_is_refused_and_c_untouched() {
    let format = GroupwiseFormat { bits: Bits::Four, group_size: GroupSize::G32, zero_points: ZeroPoints::Middle };
    let w = GroupwiseWeights::round_to_nearest(MatRef::row_major(&[1f32; 6], 2, 3).unwrap(), format).unwrap();
    let packed = PackedGroupwise::new(&w).unwrap();
    assert!(matches!(GroupwiseGemm::builder(&packed).bias(&[1.0]).build(), Err(Error::Mismatch { .. })));
    assert!(matches!(GroupwiseGemm::builder(&packed).threads(Threads::Max(0)).build(), Err(Error::OutOfRange { .. })));
    let limits = Function::Clamp { low: 1.0, high: 0.0 };
    assert!(matches!(GroupwiseGemm::builder(&packed).function(limits).build(), Err(Error::BadNumber { .. })));
    let gemm = GroupwiseGemm::builder(&packed).build().unwrap();
    let refuse = |a: &[f32], k: usize, shape: (usize, usize)| {
        let mut c = Poisoned::<f32>::new(shape, 1);
        let error = gemm.run(MatRef::row_major(a, a.len() / k, k).unwrap(), &mut c.view()).unwrap_err();
        c.assert_untouched(&error.to_string());
        error
    };
    assert!(matches!(refuse(&[1.0; 6], 3, (2, 3)), Error::Mismatch { .. }));
    assert!(matches!(refuse(&[1.0; 4], 2, (1, 3)), Error::Mismatch { .. }));
    assert!(matches!(refuse(&[1.0; 4], 2, (2, 2)), Error::Mismatch { .. }));
    assert!(matches!(refuse(&[1.0, 1.0, f32::INFINITY, 1.0], 2, (2, 3)), Error::BadNumber { .. }));
}
