//! Epilogues: bytes and f32 from sums, compared bit by bit with the reference, on every tier.
mod common;

use common::operand::{Order, Params, Poisoned, Stored, Weights};
use common::random::{Rng, Values};
use common::{Bits, SeedOfPanic, announce, seed, share_of, tiers};
use gemmill::half::{bf16, f16};
use gemmill::quant::{QuantElement, reference as quantization};
use gemmill::reference::{self, Rows, to_row_major};
use gemmill::{
    Activation, ActivationQuantization, Choose, Dequantize, Float, Gemm, IntOutput, MatRef, PackEffort, PackedB,
    QuantParams, Requantize, RunOptions, Threads, Tier, Weight,
};

/// Weights of moderate size in one of many shapes.
fn weights<B: Weight + QuantElement>(rng: &mut Rng) -> Weights<B> {
    let groups = if rng.one_in(4) { rng.range(2, 3) as usize } else { 1 };
    let n = groups * if rng.one_in(6) { rng.below(5) } else { 1 + rng.below(35) };
    let k = if rng.one_in(8) { rng.below(4) } else { rng.below(100) };
    let values = rng.pick(&Values::WEIGHTS);
    let order = Order::random(rng);
    let zero_points = Params::random(rng, n, groups, |rng| rng.range(B::LOW, B::HIGH));
    Weights {
        b: Stored::integers(rng, (k, n), order, values, 255),
        values,
        groups,
        zero_points: if rng.one_in(2) { Params::Tensor(0) } else { zero_points },
        activation_max: 255,
        effort: rng.pick(&[PackEffort::Quick, PackEffort::Full]),
        kc: rng.pick(&[None, None, Some(8), Some(32)]),
    }
}

fn rows(rng: &mut Rng) -> usize {
    if rng.one_in(5) { 13 + rng.below(30) } else { rng.below(14) }
}

/// Multipliers from the smallest subnormal to the largest numbers, most of them such that outputs are in range.
fn multiplier(rng: &mut Rng) -> f32 {
    match rng.below(12) {
        0 => rng.pick(&[1e30, f32::MAX, 1e38]),
        1 => rng.pick(&[1e-40, f32::from_bits(1), f32::MIN_POSITIVE]),
        2 => rng.pick(&[1.0, 0.5, 2.0, 0.25]),
        3 => rng.pick(&[0.499_999_97, 0.500_000_06, 1.000_000_1]),
        _ => (rng.unit() + 0.01) * 2f32.powi(rng.range(-14, 1)),
    }
}

/// A multiplier for all columns that keeps |x * multiplier| below 2^31, or any.
fn multipliers(rng: &mut Rng, n: usize, groups: usize) -> Params<f32> {
    let tame = rng.one_in(2);
    Params::random(rng, n, groups, |rng| if tame { multiplier(rng).min(0.25) } else { multiplier(rng) })
}

/// A bias that stays a number when it is divided by these scales.
fn bias(rng: &mut Rng, n: usize) -> Vec<f32> {
    (0..n).map(|_| rng.real(12)).collect()
}

/// An i32 bias: small, or one that makes sums wrap.
fn int_bias(rng: &mut Rng, n: usize) -> Vec<i32> {
    (0..n).map(|_| if rng.one_in(4) { rng.pick(&[i32::MIN, i32::MAX]) } else { rng.bits() as i32 >> 12 }).collect()
}

fn scale(rng: &mut Rng) -> f32 {
    (rng.unit() + 0.5) * 2f32.powi(rng.range(-12, 4))
}

fn at_seed(seed: u64, tier: Tier, what: &dyn std::fmt::Debug, weights: String) -> String {
    format!("tier {tier}, {what:?}\n{weights}\nthe first case with GEMMILL_TEST_SEED={seed}")
}

fn requantize_case<A, B, C>(seed: u64, tiers: &[Tier])
where
    A: Activation + QuantElement,
    B: Weight + QuantElement,
    C: QuantElement + common::Bits,
{
    let _names_the_seed = SeedOfPanic(seed);
    let rng = &mut Rng::new(seed);
    let weights = weights::<B>(rng);
    let (m, n, k, groups) = (rows(rng), weights.n(), weights.k(), weights.groups);
    let order = Order::random(rng);
    let values = rng.pick(&Values::ACTIVATIONS);
    let a = Stored::<A>::integers(rng, (m, k * groups), order, values, 255);
    let a_zero_point = rng.range(A::LOW, A::HIGH);
    let by_row: Option<Vec<i32>> = rng.one_in(3).then(|| (0..m).map(|_| rng.range(A::LOW, A::HIGH)).collect());
    let multiplier = multipliers(rng, n, groups);
    let any_zero_point = rng.range(C::LOW, C::HIGH);
    let zero_point = rng.pick(&[C::LOW, C::HIGH, 0, any_zero_point]);
    let (int_bias, float_bias) = (int_bias(rng, n), bias(rng, n));
    let (a_scale, b_scale) = (scale(rng), Params::random(rng, n, groups, scale));
    let bias_kind = rng.below(3);
    let relu = rng.one_in(3);
    let clamp = rng.one_in(3).then(|| {
        let low = rng.range(C::LOW, C::HIGH);
        (low, rng.range(low, C::HIGH))
    });
    // ReLU raises the lower limit; a clamp that ends below the zero point would contradict it.
    let relu = relu && clamp.is_none_or(|(_, high)| high >= zero_point);

    let raw = weights.raw(a.view(), by_row.as_deref().map_or(Rows::All(a_zero_point), Rows::Each));
    let (mut low, high) = clamp.unwrap_or((C::LOW, C::HIGH));
    if relu {
        low = low.max(zero_point);
    }
    let want: Vec<C> = (0..m * n)
        .map(|at| {
            let j = at % n;
            let bias = match bias_kind {
                0 => reference::Bias::None,
                1 => reference::Bias::Int(int_bias[j]),
                _ => reference::Bias::Float { bias: float_bias[j], a_scale, b_scale: b_scale.at(j, n, groups) },
            };
            reference::requantize(raw[at], bias, multiplier.at(j, n, groups), zero_point, (low, high))
        })
        .collect();

    let mut stage = Requantize::<C>::new(multiplier.get()).zero_point(zero_point);
    stage = match bias_kind {
        0 => stage,
        1 => stage.bias_i32(&int_bias),
        _ => stage.bias_f32(&float_bias, a_scale, b_scale.get()),
    };
    if relu {
        stage = stage.relu();
    }
    if let Some((low, high)) = clamp {
        stage = stage.clamp(C::from_i32(low), C::from_i32(high));
    }
    for &tier in tiers {
        let packed = weights.pack(tier);
        let case = || {
            let types = (std::any::type_name::<A>(), std::any::type_name::<C>(), m, values, order);
            at_seed(seed, tier, &(types, a_zero_point, &by_row, stage), weights.describe())
        };
        let gemm = Gemm::<A, C>::builder(&packed, stage).a_zero_point(a_zero_point).threads(Threads::Max(1));
        let gemm = gemm.build().unwrap_or_else(|e| panic!("{e}\n{}", case()));
        let mut options = RunOptions::new();
        if let Some(by_row) = &by_row {
            options = options.row_zero_points(by_row);
        }
        let mut c = Poisoned::new((m, n), rng.below(5));
        gemm.run_with(a.view(), &mut c.view(), &options).unwrap_or_else(|e| panic!("{e}\n{}", case()));
        c.assert_holds(&want, case);
    }
}

#[test]
fn requantized_bytes() {
    let (tiers, seed) = (tiers(), seed());
    let cases = share_of(6000);
    for case in (0..cases).map(|i| seed.wrapping_add(i)) {
        match case % 5 {
            0 => requantize_case::<u8, i8, u8>(case, &tiers),
            1 => requantize_case::<u8, i8, i8>(case, &tiers),
            2 => requantize_case::<i8, i8, i8>(case, &tiers),
            3 => requantize_case::<u8, u8, u8>(case, &tiers),
            _ => requantize_case::<i8, u8, u8>(case, &tiers),
        }
    }
    announce(format_args!("requantize: {cases} products on each of {} tiers, GEMMILL_TEST_SEED={seed}", tiers.len()));
}

/// Sums next to and beyond what f32, 16 bits and i32 hold, times multipliers that take them anywhere.
#[test]
fn requantization_saturates_in_the_right_direction() {
    let (m, n) = (7, 19);
    let bias: Vec<i32> = (0..n)
        .map(|j| {
            [i32::MAX, i32::MIN, 0, 1, -1, 1 << 24, (1 << 24) + 1, -(1 << 24) - 1, 32767, 32768, -32769, 127, 128]
                [j % 13]
        })
        .collect();
    for tier in tiers() {
        // No activations: sums are the bias.
        let packed = PackedB::builder(MatRef::<i8>::row_major(&[], 0, n).unwrap()).tier(tier).build().unwrap();
        let multipliers =
            [f32::from_bits(1), 1e-40, 2f32.powi(-31), 2f32.powi(-24), 0.003_906_25, 0.25, 0.5, 0.75, 1.0];
        for multiplier in multipliers.into_iter().chain([1.5, 256.0, 65536.0, 1e10, 1e30, f32::MAX]) {
            for zero_point in [-128, -1, 0, 1, 127] {
                for (low, high) in [(-128, 127), (-5, 100), (zero_point, 127), (127, 127), (-128, -128)] {
                    let stage = Requantize::<i8>::new(multiplier).zero_point(zero_point).bias_i32(&bias);
                    let gemm = Gemm::<u8, i8>::builder(&packed, stage.clamp(low as i8, high as i8)).build().unwrap();
                    let mut c = Poisoned::new((m, n), 3);
                    gemm.run(MatRef::row_major(&[], m, 0).unwrap(), &mut c.view()).unwrap();
                    let element = |at: usize| {
                        let bias = reference::Bias::Int(bias[at % n]);
                        reference::requantize::<i8>(0, bias, multiplier, zero_point, (low, high))
                    };
                    let want: Vec<i8> = (0..m * n).map(element).collect();
                    c.assert_holds(&want, || format!("tier {tier}, {multiplier:e}, {zero_point}, {low}..={high}"));
                }
            }
        }
    }
}

/// Every quotient that lies in the middle between two bytes, and its neighbours.
#[test]
fn requantization_rounds_ties_to_even() {
    let n = 1024;
    let bias: Vec<i32> = (0..n).map(|j| j - 512).collect();
    for tier in tiers() {
        let b = vec![0u8; n as usize];
        let packed = PackedB::builder(MatRef::row_major(&b, 1, n as usize).unwrap()).tier(tier).build().unwrap();
        for multiplier in [0.5, 0.25, 0.125, 1.5, 0.499_999_97, 0.500_000_06] {
            for zero_point in [0, 3, 128, 255] {
                let stage = Requantize::<u8>::new(multiplier).zero_point(zero_point).bias_i32(&bias);
                let gemm = Gemm::<u8, u8>::builder(&packed, stage).build().unwrap();
                let mut c = Poisoned::new((1, n as usize), 0);
                gemm.run(MatRef::row_major(&[9], 1, 1).unwrap(), &mut c.view()).unwrap();
                let element =
                    |&b: &i32| reference::requantize::<u8>(b, reference::Bias::None, multiplier, zero_point, (0, 255));
                let want: Vec<u8> = bias.iter().map(element).collect();
                c.assert_holds(&want, || format!("tier {tier}, {multiplier}, {zero_point}"));
            }
        }
    }
}

/// How A reaches an f32 output.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Source {
    /// Integers with one scale, and one or many scales and zero points given to a run.
    Integers {
        row_scales: bool,
        row_zero_points: bool,
    },
    Static,
    Dynamic,
}

/// Stages of a floating-point output that are drawn for a case.
struct Stages<C> {
    b_scale: Params<f32>,
    bias: Option<Vec<f32>>,
    residual: Option<Stored<C>>,
    relu: bool,
    clamp: Option<(f32, f32)>,
}

impl<C: Float + Bits> Stages<C> {
    fn random(rng: &mut Rng, m: usize, n: usize, groups: usize) -> Stages<C> {
        let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, f32::MAX, 1e-45];
        let order = rng.pick(&[Order::RowMajor, Order::PaddedRows(3), Order::RepeatedRow]);
        let with_special = rng.one_in(2);
        let element =
            |rng: &mut Rng| C::from_f32(if with_special && rng.one_in(6) { rng.pick(&special) } else { rng.real(10) });
        let b_scale = Params::random(rng, n, groups, scale);
        let bias = rng.one_in(2).then(|| bias(rng, n));
        let residual = rng.one_in(2).then(|| Stored::new((m, n), order, C::poison, |_, _| element(rng)));
        let clamp = rng.one_in(3).then(|| {
            let low = rng.pick(&[f32::NEG_INFINITY, -6.0, -0.5, 0.0, 1.0]);
            (low, rng.pick(&[low, low.max(1.0), 6.0, f32::INFINITY]))
        });
        let relu = rng.one_in(3) && clamp.is_none_or(|(_, high)| high >= 0.0);
        Stages { b_scale, bias, residual, relu, clamp }
    }

    fn output(&self) -> Dequantize<'_, C> {
        let mut stage = Dequantize::new(self.b_scale.get());
        if let Some(bias) = &self.bias {
            stage = stage.bias(bias);
        }
        if self.relu {
            stage = stage.relu();
        }
        if let Some((low, high)) = self.clamp {
            stage = stage.clamp(low, high);
        }
        stage.to()
    }

    /// What the reference makes of the sums.
    fn want(&self, raw: &[i32], a_scale: impl Fn(usize) -> f32, n: usize, groups: usize) -> Vec<C> {
        let residual = self.residual.as_ref().map(|r| to_row_major(r.view()));
        let (low, high) = self.clamp.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let limits = (if self.relu && low < 0.0 { 0.0 } else { low }, high);
        let element = |(at, &raw): (usize, &i32)| {
            let (i, j) = (at / n, at % n);
            let stages = reference::Dequantize {
                a_scale: a_scale(i),
                b_scale: self.b_scale.at(j, n, groups),
                bias: self.bias.as_ref().map(|b| b[j]),
                residual: residual.as_ref().map(|r| r[at].to_f32()),
                clamp: (self.relu || self.clamp.is_some()).then_some(limits),
            };
            C::from_f32(reference::dequantize(raw, stages))
        };
        raw.iter().enumerate().map(element).collect()
    }
}

/// Floating-point activations: numbers, ties, and a few NaN; infinities too where they are legal.
fn real_activations<F: Float>(rng: &mut Rng, shape: (usize, usize), infinities: bool) -> Stored<F> {
    let order = Order::random(rng);
    let special = [f32::NAN, -0.0, 1e-45, -1e-40, f32::INFINITY, f32::NEG_INFINITY];
    let special = &special[..if infinities { 6 } else { 4 }];
    let spread = rng.range(-8, 6);
    let flat = rng.one_in(8).then(|| rng.pick(&[0.0, -3.5, 7.25, f32::NAN]));
    let number = |rng: &mut Rng| match flat {
        Some(same) => same,
        None if rng.one_in(40) => rng.pick(special),
        None if rng.one_in(4) => rng.range(-300, 300) as f32 * 0.25,
        None => rng.gaussian() * 2f32.powi(spread),
    };
    Stored::new(shape, order, |_| F::from_f32(f32::NAN), |_, _| F::from_f32(number(rng)))
}

fn dequantize_case<A, B, F, C>(seed: u64, tiers: &[Tier])
where
    A: Activation + QuantElement,
    B: Weight + QuantElement,
    F: Activation + Float,
    C: Float + Bits + PartialEq,
{
    let _names_the_seed = SeedOfPanic(seed);
    let rng = &mut Rng::new(seed);
    let weights = weights::<B>(rng);
    let (m, n, k, groups) = (rows(rng), weights.n(), weights.k(), weights.groups);
    let stages = Stages::<C>::random(rng, m, n, groups);
    let mut options = RunOptions::new();
    if let Some(residual) = &stages.residual {
        options = options.residual(residual.view());
    }
    let source = match rng.below(4) {
        0 | 1 => Source::Integers { row_scales: rng.one_in(2), row_zero_points: rng.one_in(3) },
        2 => Source::Static,
        _ => Source::Dynamic,
    };
    let case = |tier| at_seed(seed, tier, &(source, m, stages.output()), weights.describe());

    if let Source::Integers { row_scales, row_zero_points } = source {
        let (order, values) = (Order::random(rng), rng.pick(&Values::ACTIVATIONS));
        let a = Stored::<A>::integers(rng, (m, k * groups), order, values, 255);
        let zero_point = rng.range(A::LOW, A::HIGH);
        let zero_points: Vec<i32> =
            (0..m).map(|_| if row_zero_points { rng.range(A::LOW, A::HIGH) } else { zero_point }).collect();
        let a_scale = scale(rng);
        let scales: Vec<f32> = (0..m).map(|_| if row_scales { scale(rng) } else { a_scale }).collect();
        let raw = weights.raw(a.view(), Rows::Each(&zero_points));
        let want = stages.want(&raw, |i| scales[i], n, groups);
        let output = stages.output().a_scale(a_scale);
        if row_zero_points {
            options = options.row_zero_points(&zero_points);
        }
        if row_scales {
            options = options.row_scales(&scales);
        }
        for &tier in tiers {
            let packed = weights.pack(tier);
            let gemm = Gemm::<A, C>::builder(&packed, output).a_zero_point(zero_point).build().unwrap();
            let mut c = Poisoned::new((m, n), 2);
            gemm.run_with(a.view(), &mut c.view(), &options).unwrap();
            c.assert_holds(&want, || case(tier));
        }
        return;
    }

    let a = real_activations::<F>(rng, (m, k * groups), source == Source::Static);
    let by_row: Vec<QuantParams<u8>> = match source {
        Source::Dynamic => (0..m)
            .map(|i| {
                let row: Vec<f32> = (0..k * groups).filter_map(|k| a.view().get(i, k)).map(F::to_f32).collect();
                let (min, max) = quantization::min_max(&row).unwrap_or((0.0, 0.0));
                QuantParams::from_min_max(min, max, Choose::default()).unwrap()
            })
            .collect(),
        _ => vec![QuantParams::new(scale(rng), rng.range(0, 255)).unwrap(); m.max(1)],
    };
    let quantized = Stored::<u8>::new(
        (m, k * groups),
        Order::RowMajor,
        |_| 0,
        |i, k| quantization::quantize(by_row[i], a.view().get(i, k).unwrap().to_f32()),
    );
    let zero_points: Vec<i32> = by_row.iter().map(QuantParams::zero_point).collect();
    let raw = weights.raw(quantized.view(), Rows::Each(&zero_points));
    let want = stages.want(&raw, |i| by_row[i].scale(), n, groups);
    let how = match source {
        Source::Dynamic => ActivationQuantization::DynamicPerRow,
        _ => ActivationQuantization::Static(by_row[0]),
    };
    for &tier in tiers {
        let packed = weights.pack(tier);
        let gemm = Gemm::<F, C>::builder(&packed, stages.output()).a_quantization(how).build().unwrap();
        let mut c = Poisoned::new((m, n), 2);
        gemm.run_with(a.view(), &mut c.view(), &options).unwrap();
        c.assert_holds(&want, || case(tier));
        if source == Source::Static {
            let gemm = Gemm::<F, i32>::builder(&packed, IntOutput::Store).a_quantization(how).build().unwrap();
            let mut c = Poisoned::new((m, n), 0);
            gemm.run(a.view(), &mut c.view()).unwrap();
            c.assert_holds(&raw, || case(tier));
        }
    }
}

#[test]
fn dequantized_reals() {
    let (tiers, seed) = (tiers(), seed());
    let cases = share_of(6000);
    for case in (0..cases).map(|i| seed.wrapping_add(i)) {
        match case % 8 {
            0 => dequantize_case::<u8, i8, f32, f32>(case, &tiers),
            1 => dequantize_case::<i8, i8, bf16, f32>(case, &tiers),
            2 => dequantize_case::<u8, u8, f16, f32>(case, &tiers),
            3 => dequantize_case::<i8, u8, f32, f16>(case, &tiers),
            4 => dequantize_case::<u8, i8, bf16, bf16>(case, &tiers),
            5 => dequantize_case::<i8, i8, f16, f16>(case, &tiers),
            6 => dequantize_case::<u8, u8, f32, bf16>(case, &tiers),
            _ => dequantize_case::<i8, u8, f16, bf16>(case, &tiers),
        }
    }
    announce(format_args!("dequantize: {cases} products on each of {} tiers, GEMMILL_TEST_SEED={seed}", tiers.len()));
}

/// Scales whose product leaves the range of f32, and results that are zeros of either sign.
#[test]
fn dequantization_at_the_ends_of_f32() {
    let a = [0u8, 1, 255, 200];
    let b = [-1i8, 1, 0, 127, -128, 3, -3, 2, 50];
    for tier in tiers() {
        let packed = PackedB::builder(MatRef::row_major(&b, 1, 9).unwrap()).tier(tier).build().unwrap();
        for a_scale in [1e-30, 1.0, 1e38, 3e38] {
            for b_scale in [1.2e-38, 1e-20, 1.0, 1e38] {
                for relu in [false, true] {
                    let overflows = a_scale * b_scale == f32::INFINITY;
                    let mut output = Dequantize::new(b_scale).a_scale(a_scale);
                    if relu {
                        output = output.relu();
                    }
                    let gemm = Gemm::<u8, f32>::builder(&packed, output).build().unwrap();
                    let mut c = Poisoned::new((4, 9), 0);
                    gemm.run(MatRef::row_major(&a, 4, 1).unwrap(), &mut c.view()).unwrap();
                    let stages = reference::Dequantize {
                        a_scale,
                        b_scale,
                        clamp: relu.then_some((0.0, f32::INFINITY)),
                        ..Default::default()
                    };
                    let sums = (0..36).map(|at| i32::from(a[at / 9]) * i32::from(b[at % 9]));
                    let want: Vec<f32> = sums.map(|raw| reference::dequantize(raw, stages)).collect();
                    c.assert_holds(&want, || format!("tier {tier}, {a_scale:e}, {b_scale:e}, {relu}, {overflows}"));
                }
            }
        }
    }
}

/// Without depth, an epilogue sees sums of zero.
#[test]
fn no_depth_leaves_the_bias() {
    let n = 21;
    let none: [u8; 0] = [];
    for tier in tiers() {
        for m in [0, 1, 5, 30] {
            let b = PackedB::builder(MatRef::row_major(&none, 0, n).unwrap())
                .zero_points(gemmill::PerColumn::Tensor(255))
                .tier(tier)
                .build()
                .unwrap();
            let a = MatRef::row_major(&none, m, 0).unwrap();
            let mut sums = Poisoned::new((m, n), 1);
            let gemm = Gemm::<u8, i32>::builder(&b, IntOutput::Store).a_zero_point(255).build().unwrap();
            gemm.run(a, &mut sums.view()).unwrap();
            sums.assert_holds(&vec![0; m * n], || format!("tier {tier}, {m} rows, i32"));

            let mut kept = Poisoned::new((m, n), 1);
            let gemm = Gemm::<u8, i32>::builder(&b, IntOutput::Add).a_zero_point(255).build().unwrap();
            gemm.run(a, &mut kept.view()).unwrap();
            kept.assert_untouched("zero added");

            let bias: Vec<i32> = (0..n as i32).collect();
            let mut bytes = Poisoned::new((m, n), 1);
            let stage = Requantize::<u8>::new(1.0).bias_i32(&bias).zero_point(7);
            let gemm = Gemm::<u8, u8>::builder(&b, stage).a_zero_point(9).build().unwrap();
            gemm.run(a, &mut bytes.view()).unwrap();
            let want: Vec<u8> = (0..m * n).map(|at| (at % n) as u8 + 7).collect();
            bytes.assert_holds(&want, || format!("tier {tier}, {m} rows, u8"));

            let bias = [-1.5f32; 21];
            let mut reals = Poisoned::new((m, n), 1);
            let stage = Dequantize::new(2.0).bias(&bias);
            let how = ActivationQuantization::DynamicPerRow;
            let gemm = Gemm::<f32, f32>::builder(&b, stage).a_quantization(how).build().unwrap();
            gemm.run(MatRef::row_major(&[], m, 0).unwrap(), &mut reals.view()).unwrap();
            reals.assert_holds(&vec![-1.5; m * n], || format!("tier {tier}, {m} rows, f32"));
        }
    }
}
