//! Sums beyond 32 bits: floating-point outputs are exact, integer ones wrap or are refused, and say so.

mod common;

use std::mem::MaybeUninit;

use common::random::Rng;
use common::{Bits, assert_same_bits, seed, tiers};
use gemmill::half::{bf16, f16};
use gemmill::quant::{Choose, QuantElement, QuantParams};
use gemmill::reference::{self, Rows, ZeroPoints};
use gemmill::{
    Activation, ActivationQuantization, Dequantize, Error, Float, Gemm, IntOutput, LargeSums, MatMut, MatRef, PackedB,
    ParallelFor, PerColumn, Requantize, RunOptions, Sums, Threads, Tier, Weight,
};

/// Depths at which sums of the largest products leave i32: the least one, of weights of 127, and another.
const K: [usize; 2] = [66_312, 70_001];

/// Weights that are nearly all the largest, so that sums leave i32, in a few columns of several groups.
struct Weights<B> {
    k: usize,
    n: usize,
    groups: usize,
    values: Vec<B>,
    zero_points: Vec<i32>,
    scales: Vec<f32>,
}

impl<B: Weight + QuantElement> Weights<B> {
    fn random(rng: &mut Rng, (k, n, groups): (usize, usize, usize)) -> Self {
        let extreme = B::from_i32(rng.pick(&[B::LOW, B::HIGH]));
        let mut weight = || match rng.below(40) {
            0 => B::from_i32(rng.range(B::LOW, B::HIGH)),
            _ => extreme,
        };
        let values = (0..k * n).map(|_| weight()).collect();
        // The first column's is as far from its weights as can be.
        let furthest = if extreme.to_i32() == B::LOW { B::HIGH } else { B::LOW };
        let zero_points = (0..n).map(|j| if j == 0 { furthest } else { rng.pick(&[B::LOW, 0, B::HIGH, 7]) }).collect();
        let scales = (0..n).map(|_| 0.001 + rng.below(1000) as f32 * 1e-5).collect();
        Weights { k, n, groups, values, zero_points, scales }
    }

    fn view(&self) -> MatRef<'_, B> {
        MatRef::row_major(&self.values, self.k, self.n).unwrap()
    }

    fn pack(&self, tier: Tier) -> PackedB {
        let zero_points = PerColumn::Column(&self.zero_points[..]);
        let builder = PackedB::builder(self.view()).groups(self.groups).zero_points(zero_points);
        builder.tier(tier).build().unwrap()
    }

    /// The sums, exact.
    fn sums<A: QuantElement>(&self, a: MatRef<'_, A>, a_zero_points: Rows<'_, i32>) -> Vec<i64> {
        let b = PerColumn::Column(&self.zero_points[..]);
        reference::sums(a, self.view(), self.groups, ZeroPoints { a: a_zero_points, b })
    }

    /// A bound of the sums, by another way than the library's.
    fn largest_sum(&self) -> u64 {
        let of_column = |j: usize| {
            let differences =
                (0..self.k).map(|k| i64::from(self.values[k * self.n + j].to_i32() - self.zero_points[j]));
            let above: i64 = differences.clone().filter(|&d| d > 0).sum();
            let below: i64 = differences.filter(|&d| d < 0).sum();
            255 * above.max(-below).unsigned_abs()
        };
        (0..self.n).map(of_column).max().unwrap_or(0)
    }
}

/// Compares C with what the sums give.
fn compare<C: Float + Bits>(c: &[C], sums: &[i64], n: usize, stages: impl Fn(usize, usize) -> reference::Dequantize) {
    let expected = sums.iter().enumerate().map(|(at, &sum)| {
        let x = reference::dequantize(sum, stages(at / n, at % n));
        C::from_f32(x)
    });
    assert_same_bits(c, &expected.collect::<Vec<C>>(), || format!("sums {sums:?}"));
}

fn leave_i32(sums: &[i64]) -> bool {
    sums.iter().any(|&sum| i32::try_from(sum).is_err())
}

/// A product of integers with all that a floating-point output can have. Whether a sum left i32.
fn integers<A: Activation + QuantElement, B: Weight + QuantElement, C: Float + Bits>(
    rng: &mut Rng,
    tier: Tier,
    (m, n, k, groups): (usize, usize, usize, usize),
) -> bool {
    let weights = Weights::<B>::random(rng, (k, n, groups));
    let packed = weights.pack(tier);
    assert_eq!(packed.largest_sum(), weights.largest_sum());
    let extreme = A::from_i32(rng.pick(&[A::LOW, A::HIGH]));
    let a: Vec<A> = (0..m * k * groups).map(|_| extreme).collect();
    let a = MatRef::row_major(&a, m, k * groups).unwrap();
    let a_zero_point = rng.pick(&[A::LOW, 0, A::HIGH]);
    let bias: Vec<f32> = (0..n).map(|j| j as f32 * 1e4 - 2e4).collect();
    let gemm = Gemm::builder(
        &packed,
        Dequantize::new(PerColumn::Column(&weights.scales[..])).to::<C>().a_scale(0.01).bias(&bias).clamp(-3e5, 3e5),
    );
    let gemm = gemm.a_zero_point(a_zero_point).threads(Threads::Exactly(2)).build().unwrap();
    let parts = k.div_ceil(33_025);
    assert_eq!(gemm.describe(m).unwrap().large_sums, LargeSums::InParts(parts));
    let said = format!("K in {parts} parts, added up in 64 bits");
    assert!(gemm.describe(m).unwrap().to_string().contains(&said));

    let sums = weights.sums(a, Rows::All(a_zero_point));
    let stages = |j: usize| reference::Dequantize {
        a_scale: 0.01,
        b_scale: weights.scales[j],
        bias: Some(bias[j]),
        residual: None,
        clamp: Some((-3e5, 3e5)),
    };
    let mut c = vec![MaybeUninit::uninit(); m * n];
    let view = MatMut::row_major(&mut c, m, n).unwrap();
    let c = reference::to_row_major(gemm.run_uninit(a, view, &RunOptions::new()).unwrap().as_ref());
    compare::<C>(&c, &sums, n, |_, j| stages(j));

    // Parameters of rows, a residual, rows of C with gaps, threads of the caller's own.
    let zero_points: Vec<i32> = (0..m).map(|_| rng.pick(&[A::LOW, 3, A::HIGH])).collect();
    let row_scales: Vec<f32> = (0..m).map(|i| 0.003 * (i + 1) as f32).collect();
    let residual: Vec<C> = (0..m * n).map(|i| C::from_f32(i as f32 * 100.0 - 700.0)).collect();
    let options = RunOptions::new()
        .row_zero_points(&zero_points)
        .row_scales(&row_scales)
        .residual(MatRef::row_major(&residual, m, n).unwrap())
        .parallel_for(&InTurn);
    let mut c = vec![C::from_f32(-1.0); m * (n + 3)];
    gemm.run_with(a, &mut MatMut::with_row_stride(&mut c, m, n, n + 3).unwrap(), &options).unwrap();
    assert!(c.chunks(n + 3).all(|row| row[n..].iter().all(|x| x.to_f32() == -1.0)), "gaps are left alone");
    let c: Vec<C> = c.chunks(n + 3).flat_map(|row| row[..n].to_vec()).collect();
    let sums = weights.sums(a, Rows::Each(&zero_points));
    compare::<C>(&c, &sums, n, |i, j| reference::Dequantize {
        a_scale: row_scales[i],
        residual: Some(residual[i * n + j].to_f32()),
        ..stages(j)
    });
    leave_i32(&sums)
}

/// Carries out tasks on the calling thread.
struct InTurn;

impl ParallelFor for InTurn {
    fn threads(&self) -> usize {
        3
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).rev().for_each(task);
    }
}

/// A product of floats that are quantized inside the call.
fn floats<A: Activation + Float, B: Weight + QuantElement, C: Float + Bits>(
    rng: &mut Rng,
    tier: Tier,
    (m, n, k): (usize, usize, usize),
) {
    let weights = Weights::<B>::random(rng, (k, n, 1));
    let packed = weights.pack(tier);
    let a: Vec<A> = (0..m * k).map(|i| A::from_f32(if i % k == 5 { -0.5 } else { 2.0 + (i % 3) as f32 })).collect();
    let view = MatRef::row_major(&a, m, k).unwrap();
    let fixed = QuantParams::<u8>::new(4.0 / 255.0, 3).unwrap();
    for quantization in [ActivationQuantization::Static(fixed), ActivationQuantization::DynamicPerRow] {
        let output = Dequantize::new(PerColumn::Column(&weights.scales[..])).to::<C>();
        let gemm = Gemm::<A, C>::builder(&packed, output).a_quantization(quantization).build().unwrap();
        let mut c = vec![C::from_f32(7.0); m * n];
        gemm.run(view, &mut MatMut::row_major(&mut c, m, n).unwrap()).unwrap();

        let (mut bytes, mut zero_points, mut scales) = (vec![0u8; m * k], vec![0; m], vec![0f32; m]);
        for i in 0..m {
            let row: Vec<f32> = a[i * k..][..k].iter().map(|x| x.to_f32()).collect();
            let params = match quantization {
                ActivationQuantization::Static(params) => params,
                ActivationQuantization::DynamicPerRow => {
                    let (min, max) = gemmill::quant::min_max(&row).unwrap();
                    QuantParams::from_min_max(min, max, Choose::default()).unwrap()
                }
            };
            params.quantize(&row, &mut bytes[i * k..][..k]).unwrap();
            (zero_points[i], scales[i]) = (params.zero_point(), params.scale());
        }
        let sums = weights.sums(MatRef::row_major(&bytes, m, k).unwrap(), Rows::Each(&zero_points));
        compare::<C>(&c, &sums, n, |i, j| reference::Dequantize {
            a_scale: scales[i],
            b_scale: weights.scales[j],
            ..reference::Dequantize::default()
        });
    }
}

#[test]
fn floating_point_outputs_are_exact() {
    for tier in tiers() {
        let rng = &mut Rng::new(seed());
        let left = [
            integers::<u8, i8, f32>(rng, tier, (3, 5, K[0], 1)),
            integers::<i8, i8, f16>(rng, tier, (2, 18, K[1], 2)),
            integers::<u8, u8, bf16>(rng, tier, (5, 3, K[1], 3)),
            integers::<i8, u8, f32>(rng, tier, (1, 33, 40_000, 1)),
        ];
        assert!(left.contains(&true), "no sum of these products leaves i32");
        floats::<f32, i8, f32>(rng, tier, (2, 4, K[0]));
        floats::<bf16, u8, f16>(rng, tier, (3, 1, K[1]));
        floats::<f16, i8, bf16>(rng, tier, (1, 17, K[1]));
    }
}

/// The case of the report: ones by ones.
#[test]
fn ones_by_ones() {
    let k = 66_400;
    let packed = PackedB::new(MatRef::with_strides(&[127i8], k, 1, 0, 1).unwrap()).unwrap();
    let a = MatRef::with_strides(&[255u8], 1, k, 0, 0).unwrap();
    let mut c = [0f32];
    let gemm = Gemm::builder(&packed, Dequantize::new(1.0 / 127.0).a_scale(1.0 / 255.0)).build().unwrap();
    gemm.run(a, &mut MatMut::row_major(&mut c, 1, 1).unwrap()).unwrap();
    assert!((c[0] - 66_400.0).abs() < 0.1, "{c:?}");
}

/// Many rows by many columns are cut into blocks of rows.
#[test]
fn blocks_of_rows_have_the_bits_of_the_whole() {
    let (m, n, k) = (37, 700, 66_400);
    let b: Vec<i8> = (0..n).map(|j| 127 - (j % 3) as i8).collect();
    let packed = PackedB::new(MatRef::with_strides(&b, k, n, 0, 1).unwrap()).unwrap();
    let a: Vec<f32> = (0..m).map(|i| 1.0 + i as f32).collect();
    // Rows of one number each.
    let a = MatRef::with_strides(&a, m, k, 1, 0).unwrap();
    let builder = Gemm::builder(&packed, Dequantize::new(1.0 / 127.0));
    let gemm = builder.a_quantization(ActivationQuantization::DynamicPerRow).build().unwrap();
    let mut c = vec![0f32; m * n];
    gemm.run(a, &mut MatMut::row_major(&mut c, m, n).unwrap()).unwrap();
    for i in [0, 1, 20, 36] {
        let mut row = vec![0f32; n];
        gemm.run(a.row_range(i, 1).unwrap(), &mut MatMut::row_major(&mut row, 1, n).unwrap()).unwrap();
        assert_same_bits(&c[i * n..][..n], &row, || format!("row {i}"));
        let expected = (1.0 + i as f64) * k as f64;
        assert!((f64::from(row[0]) - expected).abs() < expected * 1e-5, "row {i}: {}, expected {expected}", row[0]);
    }
}

#[test]
fn sums_that_fit_are_made_at_once() {
    let rng = &mut Rng::new(seed());
    // The largest K whose sums fit, of the largest weights: one more does not.
    for (k, fits) in [(66_311, true), (66_312, false)] {
        let packed = PackedB::new(MatRef::with_strides(&[127i8], k, 3, 0, 0).unwrap()).unwrap();
        assert_eq!(packed.largest_sum() <= i32::MAX as u64, fits);
        let gemm = Gemm::<u8, f32>::builder(&packed, Dequantize::new(0.5).a_scale(1.0)).build().unwrap();
        assert_eq!(gemm.describe(1).unwrap().large_sums == LargeSums::Fit, fits);
    }
    // Large K does not make large sums: weights do.
    let k = 300_000;
    let b: Vec<i8> = (0..k).map(|_| rng.range(-20, 20) as i8).collect();
    let packed = PackedB::new(MatRef::row_major(&b, k, 1).unwrap()).unwrap();
    let gemm = Gemm::<u8, f32>::builder(&packed, Dequantize::new(0.5).a_scale(1.0)).build().unwrap();
    assert_eq!(gemm.describe(1).unwrap().large_sums, LargeSums::Fit);
}

#[test]
fn integer_outputs_wrap_or_are_refused() {
    let k = 70_000;
    let packed = PackedB::new(MatRef::with_strides(&[127i8], k, 2, 0, 0).unwrap()).unwrap();
    let a = MatRef::with_strides(&[255u8], 1, k, 0, 0).unwrap();
    let largest = 255 * 127 * k as u64;
    let gemm = Gemm::builder(&packed, IntOutput::Store).build().unwrap();
    let mut c = [0; 2];
    gemm.run(a, &mut MatMut::row_major(&mut c, 1, 2).unwrap()).unwrap();
    assert_eq!(c, [largest as i32; 2], "modulo 2^32");
    let description = gemm.describe(1).unwrap();
    assert_eq!(description.large_sums, LargeSums::Wrap);
    assert!(description.to_string().contains("sums may leave i32: they wrap modulo 2^32"));

    let refused = Gemm::<u8, i32>::builder(&packed, IntOutput::Add).sums(Sums::Refuse).build().unwrap_err();
    assert_eq!(refused, Error::SumsMayWrap { largest });
    assert!(refused.to_string().contains("expected at most 2147483647"), "{refused}");
    let bytes = Gemm::<u8, u8>::builder(&packed, Requantize::new(1e-8));
    assert!(bytes.clone().build().is_ok());
    assert_eq!(bytes.sums(Sums::Refuse).build().unwrap_err(), Error::SumsMayWrap { largest });
    let floats = Gemm::<u8, f32>::builder(&packed, Dequantize::new(1.0).a_scale(1.0));
    assert!(floats.sums(Sums::Refuse).build().is_ok(), "floats are exact");
}

/// An i32 bias counts among the sums.
#[test]
fn an_integer_bias_is_part_of_the_bound() {
    let packed = PackedB::new(MatRef::row_major(&[1i8, 1, 1, 1], 2, 2).unwrap()).unwrap();
    let largest = packed.largest_sum();
    for (bias, fits) in [(i32::MAX - largest as i32, true), (i32::MAX - largest as i32 + 1, false), (i32::MIN, false)] {
        let bias = [0, bias];
        let output = Requantize::<u8>::new(1e-8).bias_i32(&bias);
        let gemm = Gemm::<u8, u8>::builder(&packed, output);
        assert_eq!(gemm.clone().sums(Sums::Refuse).build().is_ok(), fits, "{bias:?}");
        let said = gemm.build().unwrap().describe(1).unwrap().large_sums;
        assert_eq!(said == LargeSums::Fit, fits, "{bias:?}");
    }
}

/// Weights that were written to bytes and read know their bound.
#[test]
fn the_bound_outlives_a_file() {
    let rng = &mut Rng::new(seed());
    let weights = Weights::<u8>::random(rng, (K[1], 3, 1));
    let packed = weights.pack(Tier::Portable);
    for loaded in [PackedB::from_bytes(&packed.to_bytes()).unwrap(), packed.repack(Tier::Portable).unwrap()] {
        assert_eq!(loaded.largest_sum(), weights.largest_sum());
    }
    let a: Vec<u8> = vec![255; K[1]];
    let sums = weights.sums(MatRef::row_major(&a, 1, K[1]).unwrap(), Rows::All(0));
    assert!(leave_i32(&sums), "{sums:?}");
}
