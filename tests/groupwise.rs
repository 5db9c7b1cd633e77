//! Products with weights of 4 and 2 bits against the reference, bit for bit: all formats, strides, types, tiers and
//! numbers of threads; shapes around every edge.

mod common;

use common::guard::{Guarded, Side};
use common::operand::{Order, Poisoned, Stored};
use common::products::{Numbers, stored};
use common::random::Rng;
use common::{SeedOfPanic, assert_same_bits, seed, share_of, tiers};
use gemmill::convert::bf16;
use gemmill::quant::{Bits, GroupSize, GroupwiseFormat, GroupwiseParts, GroupwiseWeights, ZeroPoints};
use gemmill::reference::groupwise::{Accumulate, quantize_rows, quantized, weight_only};
use gemmill::{
    Error, Float, FloatGemm, Function, GroupwiseGemm, MatMut, MatRef, PackedGroupwise, RunOptions, Threads, Tier,
    half::f16,
};

const FUNCTIONS: [Function; 5] =
    [Function::Identity, Function::Relu, Function::Clamp { low: -0.5, high: 1.5 }, Function::Gelu, Function::Silu];

fn format(rng: &mut Rng) -> GroupwiseFormat {
    GroupwiseFormat {
        bits: rng.pick(&[Bits::Two, Bits::Four, Bits::Four]),
        group_size: rng.pick(&[GroupSize::G32, GroupSize::G64, GroupSize::G128]),
        zero_points: rng.pick(&[ZeroPoints::Middle, ZeroPoints::Each]),
    }
}

/// Weights of all values, or of the extreme ones alone.
fn weights(rng: &mut Rng, k: usize, n: usize, format: GroupwiseFormat) -> GroupwiseWeights {
    let exponent = rng.pick(&[-9, 0, 20]);
    weights_of(rng, (k, n), format, exponent)
}

/// The same with scales of about `2^exponent`.
fn weights_of(rng: &mut Rng, (k, n): (usize, usize), format: GroupwiseFormat, exponent: i32) -> GroupwiseWeights {
    let highest = format.bits.highest();
    let extreme = rng.one_in(3);
    let value =
        |rng: &mut Rng| if extreme { rng.pick(&[0, highest]) } else { rng.below(usize::from(highest) + 1) as u8 };
    let values = (0..k * n).map(|_| value(rng)).collect();
    let groups = format.groups(k) * n;
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
    let residual: Vec<C> = (0..m * n).map(|_| C::from_f32(rng.gaussian())).collect();
    let residual = rng.one_in(3).then_some(&residual[..]);
    let mut options = RunOptions::new();
    if let Some(residual) = residual {
        options = options.residual(MatRef::row_major(residual, m, n).unwrap());
    }
    let mut c = Poisoned::<C>::holding((m, n), rng.below(4), &before);
    gemm.build().unwrap().run_with(a.view(), &mut c.view(), &options).unwrap();
    let before = as_f32(MatRef::row_major(&before, m, n).unwrap());
    let start = Accumulate { beta, c: MatRef::row_major(&before, m, n).unwrap() };
    let sums = weight_only(real, &b, Some(start));
    let finish = |(i, &x): (usize, &f32)| {
        let x = bias.map_or(x, |bias| x + bias[i % n.max(1)]);
        C::from_f32(function.apply(residual.map_or(x, |residual| x + residual[i].to_f32())))
    };
    let expected: Vec<C> = sums.iter().enumerate().map(finish).collect();
    let case = || format!("floating-point activations: {}, beta {beta}, residual {}", case(), residual.is_some());
    c.assert_holds(&expected, case);
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
    let tiers = tiers();
    for _ in 0..share_of(30) {
        let (m, n, k) = (2 + rng.below(30), 1 + rng.below(100), rng.below(600));
        let format = format(rng);
        let packed = PackedGroupwise::new(&weights(rng, k, n, format)).unwrap();
        let a: Vec<f32> = (0..m * k).map(|_| rng.gaussian()).collect();
        let mut first: Option<[Vec<f32>; 2]> = None;
        for &tier in &tiers {
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

/// Rows whose scale is a corner: nothing but zeros or NaN, NaN among numbers (which counts as zero), the largest and
/// the smallest numbers.
#[test]
fn rows_of_special_numbers() {
    let rng = &mut Rng::new(seed() + 3);
    let (n, k) = (37, 1100);
    let format = GroupwiseFormat { bits: Bits::Four, group_size: GroupSize::G64, zero_points: ZeroPoints::Each };
    let b = weights(rng, k, n, format);
    let packed = PackedGroupwise::new(&b).unwrap();
    let row_of = |of: &mut dyn FnMut(usize) -> f32| (0..k).map(of).collect::<Vec<f32>>();
    let rows = [
        row_of(&mut |_| 0.0),
        row_of(&mut |_| -0.0),
        row_of(&mut |_| f32::NAN),
        row_of(&mut |i| if i % 3 == 0 { -f32::NAN } else { rng.gaussian() }),
        row_of(&mut |i| if i == 1090 { f32::MAX } else { rng.gaussian() * 1e37 }),
        row_of(&mut |_| rng.gaussian() * 1e-38),
        row_of(&mut |i| f32::from_bits(i as u32)),
        row_of(&mut |i| if i == 7 { -1e-37 } else { 1e-38 }),
    ];
    let (m, a) = (rows.len(), rows.concat());
    let without_nan: Vec<f32> = a.iter().map(|x| if x.is_nan() { 0.0 } else { *x }).collect();
    let (integers, scales) = quantize_rows(MatRef::row_major(&without_nan, m, k).unwrap()).unwrap();
    let expected = quantized(MatRef::row_major(&integers, m, k).unwrap(), &scales, &b, None);
    for tier in tiers() {
        let gemm = GroupwiseGemm::builder(&packed).tier(tier).build().unwrap();
        let mut c = vec![0f32; m * n];
        gemm.run(MatRef::row_major(&a, m, k).unwrap(), &mut MatMut::row_major(&mut c, m, n).unwrap()).unwrap();
        assert_same_bits(&c, &expected, || format!("special numbers on {tier}"));
    }
}

/// Infinities and NaN are what f32 makes of them where activations stay what they are; scales may be as small as f32
/// holds, and as large as weights allow.
#[test]
fn floating_point_activations_may_be_anything() {
    let rng = &mut Rng::new(seed() + 4);
    let tiers = tiers();
    for _ in 0..share_of(30) {
        let (m, n, k) = (1 + rng.below(20), 1 + rng.below(70), 1 + rng.below(200));
        let format = format(rng);
        let exponent = rng.pick(&[-127, -9, 0, 110, 113, 122]);
        let b = weights_of(rng, (k, n), format, exponent);
        let packed = PackedGroupwise::new(&b).unwrap();
        let numbers = rng.pick(&[Numbers::Special, Numbers::Usual, Numbers::Tiny, Numbers::AllMagnitudes]);
        let a = stored::<f32>(rng, (m, k), Order::RowMajor, numbers);
        let expected = weight_only(a.view(), &b, None);
        for &tier in &tiers {
            let mut c = vec![0f32; m * n];
            let gemm = FloatGemm::groupwise(&packed).tier(tier).build().unwrap();
            gemm.run(a.view(), &mut MatMut::row_major(&mut c, m, n).unwrap()).unwrap();
            // Which NaN it is, is not specified.
            let same =
                |(c, expected): (&f32, &f32)| c.to_bits() == expected.to_bits() || c.is_nan() && expected.is_nan();
            assert!(c.iter().zip(&expected).all(same), "{m}x{n}x{k} {format:?}, scales of 2^{exponent}, on {tier}");
        }
    }
}

/// A and C between pages that must not be touched.
#[test]
fn operands_beside_guard_pages() {
    for tier in tiers() {
        let rng = &mut Rng::new(seed() + 5);
        for _ in 0..share_of(40) {
            let (m, n, k) = (1 + rng.below(16), 1 + rng.below(70), rng.below(140));
            let format = format(rng);
            let packed = PackedGroupwise::new(&weights(rng, k, n, format)).unwrap();
            let numbers: Vec<f32> = (0..m * k).map(|_| rng.gaussian()).collect();
            let integer = GroupwiseGemm::builder(&packed).tier(tier).build().unwrap();
            let float = FloatGemm::groupwise(&packed).tier(tier).build().unwrap();
            let run = |a: &[f32], c: [&mut [f32]; 2]| {
                let a = MatRef::row_major(a, m, k).unwrap();
                let [of_integer, of_float] = c.map(|c| MatMut::row_major(c, m, n).unwrap());
                integer.run(a, &mut { of_integer }).unwrap();
                float.run(a, &mut { of_float }).unwrap();
            };
            let mut expected = [vec![0f32; m * n], vec![0f32; m * n]];
            let [of_integer, of_float] = &mut expected;
            run(&numbers, [of_integer, of_float]);
            for side in Side::BOTH {
                let a = Guarded::new(&numbers, side);
                let mut c = [(); 2].map(|()| Guarded::new(&vec![0f32; m * n], side));
                let [of_integer, of_float] = &mut c;
                run(a.elements(), [of_integer.elements_mut(), of_float.elements_mut()]);
                for (c, expected) in c.iter().zip(&expected) {
                    assert_same_bits(c.elements(), expected, || format!("{tier} {m}x{n}x{k} {format:?} {side:?}"));
                }
            }
        }
    }
}

#[test]
fn no_rows_no_columns_no_depth() {
    for tier in tiers() {
        for (m, n, k) in [(0, 5, 3), (5, 0, 3), (0, 0, 0), (3, 4, 0)] {
            let rng = &mut Rng::new(seed());
            let format = format(rng);
            let packed = PackedGroupwise::new(&weights(rng, k, n, format)).unwrap();
            let bias = vec![2f32; n];
            let (a, mut c) = (vec![1f32; m * k], vec![4f32; m * n]);
            let a = MatRef::row_major(&a, m, k).unwrap();
            let integer = GroupwiseGemm::builder(&packed).bias(&bias).tier(tier).build().unwrap();
            integer.run(a, &mut MatMut::row_major(&mut c, m, n).unwrap()).unwrap();
            assert_eq!(c, vec![2f32; m * n], "{tier}");
            let float = FloatGemm::groupwise(&packed).bias(&bias).beta(0.5).tier(tier).build().unwrap();
            float.run(a, &mut MatMut::row_major(&mut c, m, n).unwrap()).unwrap();
            assert_eq!(c, vec![3f32; m * n], "{tier}");
        }
    }
}

/// However deep, and however many rows: without columns there is nothing to store; but activations are looked at.
#[test]
fn depth_and_rows_without_columns() {
    let format = GroupwiseFormat { bits: Bits::Two, group_size: GroupSize::G32, zero_points: ZeroPoints::Each };
    let parts = |k| GroupwiseParts { k, n: 0, format, values: vec![], scales: vec![], zero_points: vec![] };
    let run = |a: MatRef<'_, f32>| {
        let packed = PackedGroupwise::new(&GroupwiseWeights::from_parts(parts(a.cols())).unwrap()).unwrap();
        assert_eq!(packed.size_in_bytes(), 0);
        let mut none = [0f32; 0];
        let mut c = MatMut::row_major(&mut none, a.rows(), 0).unwrap();
        FloatGemm::groupwise(&packed).build().unwrap().run(a, &mut c).unwrap();
        GroupwiseGemm::builder(&packed).build().unwrap().run(a, &mut c)
    };
    for (rows, k) in [(2, usize::MAX / 8), (usize::MAX, 3), (usize::MAX, usize::MAX)] {
        run(MatRef::with_strides(&[1f32], rows, k, 0, 0).unwrap()).unwrap();
        let infinite = run(MatRef::with_strides(&[f32::INFINITY], rows, k, 0, 0).unwrap());
        assert!(matches!(infinite, Err(Error::BadNumber { .. })));
    }
    run(MatRef::row_major(&[], usize::MAX, 0).unwrap()).unwrap();
    let mut a = vec![1f32; 5000];
    run(MatRef::row_major(&a, 1, 5000).unwrap()).unwrap();
    a[4999] = f32::NEG_INFINITY;
    let given = f32::NEG_INFINITY;
    let refused = run(MatRef::row_major(&a, 1, 5000).unwrap());
    assert!(matches!(refused, Err(Error::BadNumber { given: of_error, .. }) if of_error == given));
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
    assert!(matches!(refuse(&[1.0, 1.0, f32::NAN, f32::NEG_INFINITY], 2, (2, 3)), Error::BadNumber { .. }));
    let halves = [f16::ONE, f16::ONE, f16::INFINITY, f16::ONE];
    let mut c = Poisoned::<f32>::new((2, 3), 1);
    let columns = MatRef::col_major(&halves, 2, 2).unwrap();
    assert!(matches!(gemm.run(columns, &mut c.view()), Err(Error::BadNumber { .. })));
    c.assert_untouched("an infinite f16");
}
