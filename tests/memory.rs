//! Memory: nothing outside an operand is read, nothing outside an output is written.
//!
//! Operands begin where an inaccessible page ends, or end where one begins: a stray access ends the test run with a
//! segmentation fault.
mod common;

use common::guard::{Guarded, Side};
use common::operand::{Order, Stored, Weights};
use common::random::{Rng, Values, decode};
use common::{Bits, Sample, assert_same_bits, seed, tiers};
use gemmill::quant::QuantElement;
use gemmill::reference::{self, Rows};
use gemmill::{
    Activation, ActivationQuantization, Dequantize, Element, Gemm, IntOutput, MatMut, MatRef, OutputStage, PackedB,
    PerColumn, QuantParams, Requantize, RunOptions, Threads, Tier, Weight,
};

/// Shapes with every kind of tail: rows, columns, depth, both layouts, planes of A.
fn shapes(rng: &mut Rng) -> Vec<(usize, usize, usize)> {
    let mut shapes = Vec::new();
    for n in [1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17, 24, 31, 33] {
        for k in [0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 33, 63, 64, 65, 95, 97, 131] {
            shapes.push((1 + rng.below(14), n, k));
        }
    }
    shapes.extend([(3, 512, 40), (5, 515, 37), (1, 300, 65), (4, 16, 4096), (7, 3, 4097), (2, 17, 3999), (30, 20, 50)]);
    shapes
}

/// A guarded output whose rows are `gap` elements apart; the gaps hold poison.
fn output<T: Bits + Element>(shape: (usize, usize), gap: usize, side: Side) -> Guarded<T> {
    let (rows, cols) = shape;
    let len = if rows == 0 || cols == 0 { 0 } else { (rows - 1) * (cols + gap) + cols };
    let poison: Vec<T> = (0..len).map(T::poison).collect();
    Guarded::new(&poison, side)
}

/// Runs an operation on guarded operands and compares with `want`.
fn run<A: Activation, O: OutputStage>(
    packed: &PackedB,
    stage: O,
    (a, order): (&Stored<A>, Order),
    want: &[O::Element],
    quantization: Option<ActivationQuantization>,
    options: &RunOptions<'_>,
    case: &str,
) where
    O::Element: Bits,
{
    let (m, n) = (a.rows, packed.n());
    let mut builder = Gemm::<A, O::Element>::builder(packed, stage).threads(Threads::Max(1));
    if let Some(quantization) = quantization {
        builder = builder.a_quantization(quantization);
    }
    let gemm = builder.build().unwrap();
    let (row_stride, col_stride) = order.strides(m, a.cols);
    for (side, gap) in [(Side::Start, 0), (Side::End, 0), (Side::End, 3)] {
        let a = Guarded::new(&a.data, side);
        let view = MatRef::with_strides(a.elements(), m, packed.k() * packed.groups(), row_stride, col_stride).unwrap();
        let mut c = output::<O::Element>((m, n), gap, side);
        let mut expected: Vec<O::Element> = c.elements().to_vec();
        for (i, row) in want.chunks(n.max(1)).enumerate() {
            expected[i * (n + gap)..][..n].copy_from_slice(row);
        }
        gemm.run_with(view, &mut MatMut::with_row_stride(c.elements_mut(), m, n, n + gap).unwrap(), options).unwrap();
        assert_same_bits(c.elements(), &expected, || format!("{side:?}, gap {gap}, {case}"));
    }
}

/// All outputs of a shape, with A in this order.
fn all_outputs<A: Activation + QuantElement, B: Weight + QuantElement>(
    rng: &mut Rng,
    (m, n, k): (usize, usize, usize),
    order: Order,
    values: Values,
    tiers: &[Tier],
) {
    let mut weights = Weights::<B>::plain(rng, k, n, values);
    weights.kc = rng.pick(&[None, None, Some(8), Some(64)]);
    let zero_points = [common::operand::Params::Tensor(0), common::operand::Params::Column(vec![5; n])];
    weights.zero_points = zero_points[rng.below(2)].clone();
    let a = Stored::<A>::integers(rng, (m, k), order, Values::Uniform, 255);
    let raw = weights.raw(a.view(), Rows::All(0));
    let side = rng.pick(&Side::BOTH);

    let multipliers = Guarded::new(&vec![0.01f32; n], side);
    let int_bias: Vec<i32> = (0..n as i32).map(|j| j * 100).collect();
    let int_bias = Guarded::new(&int_bias, side);
    let float_bias: Vec<f32> = (0..n).map(|j| j as f32 * 0.25 - 3.0).collect();
    let float_bias = Guarded::new(&float_bias, side);
    let residual: Vec<f32> = (0..m * n).map(|at| at as f32 * 0.5).collect();
    let residual = Guarded::new(&residual, side);
    let row_scales = Guarded::new(&vec![0.5f32; m], side);
    let row_zero_points = Guarded::new(&vec![0i32; m], side);

    let bytes: Vec<i8> = (0..m * n)
        .map(|at| {
            let bias = reference::Bias::Int(int_bias.elements()[at % n]);
            reference::requantize(raw[at], bias, 0.01, 0, (-128, 127))
        })
        .collect();
    let reals: Vec<f32> = (0..m * n)
        .map(|at| {
            let stages = reference::Dequantize {
                a_scale: 0.5,
                b_scale: 0.01,
                bias: Some(float_bias.elements()[at % n]),
                residual: Some(residual.elements()[at]),
                clamp: None,
            };
            reference::dequantize(raw[at], stages)
        })
        .collect();
    for &tier in tiers {
        let stored = Guarded::new(&weights.b.data, side);
        let view = MatRef::row_major(stored.elements(), k, n).unwrap();
        let mut builder = PackedB::builder(view).zero_points(weights.zero_points.get()).tier(tier);
        if let Some(kc) = weights.kc {
            builder = builder.kc(kc);
        }
        let packed = builder.build().unwrap();
        // Packing keeps nothing of the user's memory.
        drop(stored);
        let case = format!("tier {tier}, {m}×{n}×{k}, A {order:?}, {}", weights.describe());
        let none = RunOptions::new();
        run(&packed, IntOutput::Store, (&a, order), &raw, None, &none, &case);
        let stage = Requantize::<i8>::new(PerColumn::Column(multipliers.elements())).bias_i32(int_bias.elements());
        run(&packed, stage, (&a, order), &bytes, None, &none, &case);
        let stage = Dequantize::new(multipliers.elements()).a_scale(1.0).bias(float_bias.elements());
        let options = none
            .residual(MatRef::row_major(residual.elements(), m, n).unwrap())
            .row_scales(row_scales.elements())
            .row_zero_points(row_zero_points.elements());
        run(&packed, stage, (&a, order), &reals, None, &options, &case);
    }
}

#[test]
fn operands_between_guard_pages() {
    let (tiers, rng) = (tiers(), &mut Rng::new(seed()));
    let mut sample = Sample::new("operands between guard pages");
    for shape in shapes(rng).into_iter().filter(|_| sample.keeps()) {
        let values = rng.pick(&Values::WEIGHTS);
        all_outputs::<u8, i8>(rng, shape, Order::RowMajor, values, &tiers);
        let order = rng.pick(&Order::ALL);
        all_outputs::<i8, u8>(rng, shape, order, values, &tiers);
        all_outputs::<u8, u8>(rng, shape, Order::PaddedRows(3), Values::Uniform, &tiers);
    }
}

#[test]
fn groups_between_guard_pages() {
    let (tiers, rng) = (tiers(), &mut Rng::new(seed()));
    for (m, group_cols, k, groups) in [(3, 1, 5, 3), (5, 9, 7, 2), (4, 16, 66, 3), (2, 2, 70, 4), (13, 17, 3, 2)] {
        let mut weights = Weights::<i8>::plain(rng, k, group_cols * groups, Values::Uniform);
        weights.groups = groups;
        let a = Stored::<u8>::integers(rng, (m, k * groups), Order::RowMajor, Values::Corners, 255);
        let want = weights.raw(a.view(), Rows::All(0));
        for &tier in &tiers {
            let case = format!("tier {tier}, {}", weights.describe());
            let packed = weights.pack(tier);
            run(&packed, IntOutput::Store, (&a, Order::RowMajor), &want, None, &RunOptions::new(), &case);
        }
    }
}

#[test]
fn reals_between_guard_pages() {
    let (tiers, rng) = (tiers(), &mut Rng::new(seed()));
    for (m, n, k) in [(1, 1, 1), (3, 17, 5), (2, 3, 65), (13, 9, 33), (5, 16, 64), (1, 8, 131), (30, 4, 97)] {
        let weights = Weights::<i8>::plain(rng, k, n, Values::Uniform);
        for order in [Order::RowMajor, Order::ColMajor, Order::PaddedRows(1), Order::EverySecond] {
            let a = Stored::<f32>::new((m, k), order, |_| f32::NAN, |_, _| rng.gaussian());
            let params = QuantParams::<u8>::new(0.03, 120).unwrap();
            let quantized = Stored::<u8>::new(
                (m, k),
                Order::RowMajor,
                |_| decode(0),
                |i, k| gemmill::quant::reference::quantize(params, a.view().get(i, k).unwrap()),
            );
            let want = weights.raw(quantized.view(), Rows::All(120));
            for &tier in &tiers {
                let case = format!("tier {tier}, {m}×{n}×{k} {order:?}");
                let packed = weights.pack(tier);
                let fixed = Some(ActivationQuantization::Static(params));
                run(&packed, IntOutput::Store, (&a, order), &want, fixed, &RunOptions::new(), &case);
                // Row by row: only that nothing else is touched; values are compared elsewhere.
                let by_row = ActivationQuantization::DynamicPerRow;
                let gemm = Gemm::<f32, f32>::builder(&packed, Dequantize::new(0.1)).a_quantization(by_row);
                let gemm = gemm.build().unwrap();
                for side in Side::BOTH {
                    let data = Guarded::new(&a.data, side);
                    let (rs, cs) = order.strides(m, k);
                    let view = MatRef::with_strides(data.elements(), m, k, rs, cs).unwrap();
                    let mut c = output::<f32>((m, n), 0, side);
                    gemm.run(view, &mut MatMut::row_major(c.elements_mut(), m, n).unwrap()).unwrap();
                }
            }
        }
    }
}

#[test]
fn unpacking_between_guard_pages() {
    let (tiers, rng) = (tiers(), &mut Rng::new(seed()));
    let mut sample = Sample::new("unpacking between guard pages");
    for (_, n, k) in shapes(rng).into_iter().filter(|_| sample.keeps()) {
        let values = rng.pick(&Values::WEIGHTS);
        let weights = Weights::<i8>::plain(rng, k, n, values);
        let packed = weights.pack(*tiers.last().unwrap());
        for (side, gap) in [(Side::Start, 0), (Side::End, 2)] {
            let mut back = output::<i8>((k, n), gap, side);
            let mut expected = back.elements().to_vec();
            for (i, row) in weights.b.data.chunks(n).enumerate() {
                expected[i * (n + gap)..][..n].copy_from_slice(row);
            }
            packed.unpack(&mut MatMut::with_row_stride(back.elements_mut(), k, n, n + gap).unwrap()).unwrap();
            assert_same_bits(back.elements(), &expected, || weights.describe());
        }
    }
}

/// Several threads write pieces of one output, and nothing beside it.
#[test]
fn threads_between_guard_pages() {
    let rng = &mut Rng::new(seed());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    let (m, n, k) = (67, 131, 515);
    let weights = Weights::<i8>::plain(rng, k, n, Values::Uniform);
    let a = Stored::<u8>::integers(rng, (m, k), Order::RowMajor, Values::Uniform, 255);
    let want = weights.raw(a.view(), Rows::All(0));
    for tier in tiers() {
        let packed = weights.pack(tier);
        let gemm = Gemm::<u8, i32>::builder(&packed, IntOutput::Store).threads(Threads::Max(4)).build().unwrap();
        for side in Side::BOTH {
            let a = Guarded::new(&a.data, side);
            let mut c = output::<i32>((m, n), 0, side);
            let view = MatRef::row_major(a.elements(), m, k).unwrap();
            let mut out = MatMut::row_major(c.elements_mut(), m, n).unwrap();
            pool.install(|| gemm.run(view, &mut out)).unwrap();
            assert_same_bits(c.elements(), &want, || format!("tier {tier}, {side:?}"));
        }
    }
}
