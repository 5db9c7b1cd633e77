//! Every error that the API documents, with what its message says; nothing is written when there is one.
mod common;

use common::operand::Poisoned;
use gemmill::half::bf16;
use gemmill::{
    ActivationQuantization, AnyGemm, Choose, Dequantize, ElementType, Error, Gemm, IntOutput, MatMut, MatRef, PackedB,
    PerColumn, QuantParams, Requantize, RunOptions, Threads, Tier, quant,
};

/// Numbers that are no scales.
const BAD_SCALES: [f32; 7] = [0.0, -0.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-40];

const K: usize = 6;
const N: usize = 4;

fn packed() -> PackedB {
    PackedB::new(MatRef::row_major(&[3i8; K * N], K, N).unwrap()).unwrap()
}

/// Fails unless `result` is an error of this kind whose message has all `parts`.
#[track_caller]
fn refused<T>(result: gemmill::Result<T>, is: fn(&Error) -> bool, parts: &[&str]) {
    let Err(error) = result else { panic!("accepted; expected an error with {parts:?}") };
    assert!(is(&error), "another kind of error: {error:?}");
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

/// Shorthand for the kinds.
macro_rules! kind {
    ($name:ident) => {
        |e| matches!(e, Error::$name { .. })
    };
}

#[test]
fn views_reach_no_further_than_their_data() {
    let data = [0u8; 10];
    refused(MatRef::row_major(&data, 3, 4), kind!(TooShort), &["12", "10"]);
    refused(MatRef::col_major(&data, 4, 3), kind!(TooShort), &["12", "10"]);
    refused(MatRef::with_strides(&data, 2, 2, 9, 1), kind!(TooShort), &["11", "10"]);
    assert!(MatRef::with_strides(&data, 2, 2, 8, 1).is_ok());
    refused(MatRef::with_strides(&data, 2, 2, 1, 9), kind!(TooShort), &["11", "10"]);
    refused(MatRef::<u8>::row_major(&[], 1, 1), kind!(TooShort), &["1 element", "0 given"]);
    let most = usize::MAX;
    for (rows, cols, row_stride, col_stride) in [
        (most, most, 1, 1),
        (most, most, most, most),
        (2, 2, most, 1),
        (2, 2, 1, most),
        (3, 1, most, 0),
        (1, 3, 0, most),
        (2, 1, most, 0),
        (most, 1, 1, 0),
        (most / 2 + 2, 1, 1, 1),
    ] {
        refused(MatRef::with_strides(&data, rows, cols, row_stride, col_stride), kind!(Overflow), &["strides"]);
    }
    refused(MatRef::row_major(&data, most, most), kind!(Overflow), &["strides"]);
    refused(MatRef::row_major(&[0i32; 4], most / 4, 1), kind!(Overflow), &["strides"]);
    assert!(MatRef::with_strides(&data, 0, most, most, most).is_ok(), "no element, no memory");
    assert!(MatRef::with_strides(&data, most, 0, most, most).is_ok());
    assert!(MatRef::with_strides(&data, 1, 1, most, most).is_ok(), "strides of one element are not used");
    assert!(MatRef::with_strides(&data, most, most, 0, 0).is_ok(), "one element may repeat");

    let view = MatRef::row_major(&data, 2, 5).unwrap();
    refused(view.columns(3, 3), kind!(OutOfRange), &["5", "6"]);
    refused(view.columns(1, most), kind!(Overflow), &["column range"]);
    assert!(view.columns(5, 0).is_ok());
    assert_eq!(view.get(2, 0), None);
    assert_eq!(view.get(0, 5), None);
}

#[test]
fn outputs_neither_overlap_nor_overflow() {
    let mut data = [0i32; 10];
    refused(MatMut::with_row_stride(&mut data, 2, 4, 3), kind!(Overlap), &["2 rows", "4 columns", "3"]);
    refused(MatMut::with_row_stride(&mut data, 2, 1, 0), kind!(Overlap), &["0"]);
    refused(MatMut::with_row_stride(&mut data, usize::MAX, 4, 0), kind!(Overlap), &["row stride of 0"]);
    refused(MatMut::row_major(&mut data, 3, 4), kind!(TooShort), &["12", "10"]);
    refused(MatMut::with_row_stride(&mut data, 2, 4, 7), kind!(TooShort), &["11", "10"]);
    refused(MatMut::with_row_stride(&mut data, 3, 1, usize::MAX), kind!(Overflow), &["strides"]);
    refused(MatMut::with_row_stride(&mut data, 2, 1, usize::MAX / 2), kind!(Overflow), &["strides"]);
    refused(MatMut::row_major(&mut data, usize::MAX, 2), kind!(Overflow), &["strides"]);
    assert!(MatMut::with_row_stride(&mut data, 2, 4, 6).is_ok());
    assert!(MatMut::with_row_stride(&mut data, 1, 4, 0).is_ok(), "a single row overlaps nothing");
}

#[test]
fn a_stride_that_is_never_taken_may_be_anything() {
    let most = usize::MAX;
    let one = [2u8];
    let b = PackedB::new(MatRef::with_strides(&[3i8], 1, 1, most, most).unwrap()).unwrap();
    let gemm = Gemm::builder(&b, IntOutput::Store).build().unwrap();
    let mut c = [0i32; 1];
    let mut view = MatMut::with_row_stride(&mut c, 1, 1, most).unwrap();
    gemm.run(MatRef::with_strides(&one, 1, 1, most, most).unwrap(), &mut view).unwrap();
    assert_eq!(c, [6]);

    let gemm = Gemm::builder(&b, Dequantize::new(1.0).a_scale(1.0)).build().unwrap();
    let mut c = [0f32; 1];
    let mut view = MatMut::row_major(&mut c, 1, 1).unwrap();
    let residual = [0.5f32];
    let options = RunOptions::new().residual(MatRef::with_strides(&residual, 1, 1, most, most).unwrap());
    gemm.run_with(MatRef::row_major(&one, 1, 1).unwrap(), &mut view, &options).unwrap();
    assert_eq!(c, [6.5]);
}

#[test]
fn weights_that_cannot_be_packed() {
    let b = [0i8; 24];
    let build = |groups, zero_points: PerColumn<'_, i32>| {
        PackedB::builder(MatRef::row_major(&b, K, N).unwrap()).groups(groups).zero_points(zero_points).build()
    };
    refused(build(0, PerColumn::Tensor(0)), kind!(Groups), &["4 columns", "0 groups"]);
    refused(build(3, PerColumn::Tensor(0)), kind!(Groups), &["4 columns", "3 groups"]);
    refused(build(usize::MAX, PerColumn::Tensor(0)), kind!(Groups), &["4 columns"]);
    refused(build(2, PerColumn::Group(&[0])), kind!(Mismatch), &["zero points of B", "2", "1"]);
    refused(build(2, PerColumn::Group(&[0; 4])), kind!(Mismatch), &["expected 2", "given 4"]);
    refused(build(1, PerColumn::Column(&[0; 5])), kind!(Mismatch), &["expected 4", "given 5"]);
    refused(build(1, PerColumn::Column(&[])), kind!(Mismatch), &["expected 4", "given 0"]);
    for z in [128, -129, i32::MAX, i32::MIN] {
        refused(build(1, PerColumn::Tensor(z)), kind!(OutOfRange), &["-128 to 127", &z.to_string()]);
        let each = [0, 0, 0, z];
        refused(build(1, PerColumn::Column(&each)), kind!(OutOfRange), &["-128 to 127", &z.to_string()]);
    }
    let unsigned = [0u8; 24];
    for z in [-1, 256] {
        let builder = PackedB::builder(MatRef::row_major(&unsigned, K, N).unwrap());
        refused(builder.zero_points(PerColumn::Tensor(z)).build(), kind!(OutOfRange), &["0 to 255", &z.to_string()]);
    }
    for tier in Tier::ALL.into_iter().filter(|t| t.missing_feature().is_some()) {
        let builder = PackedB::builder(MatRef::row_major(&b, K, N).unwrap()).tier(tier);
        refused(builder.build(), |e| matches!(e, Error::Tier(_)), &["lacks", tier.name()]);
    }
}

#[test]
fn weights_are_unpacked_as_what_they_were() {
    let b = packed();
    let mut wrong = [7u8; K * N];
    refused(b.unpack(&mut MatMut::row_major(&mut wrong, K, N).unwrap()), kind!(Unsupported), &["type"]);
    assert_eq!(wrong, [7; K * N]);
    let mut c = [7i8; 30];
    refused(b.unpack(&mut MatMut::row_major(&mut c, N, K).unwrap()), kind!(Mismatch), &["expected 6", "given 4"]);
    refused(b.unpack(&mut MatMut::row_major(&mut c, K, N + 1).unwrap()), kind!(Mismatch), &["expected 4", "given 5"]);
    assert_eq!(c, [7; 30]);
    let unsigned = PackedB::new(MatRef::row_major(&[1u8; K * N], K, N).unwrap()).unwrap();
    refused(unsigned.unpack(&mut MatMut::row_major(&mut c, K, 5).unwrap()), kind!(Unsupported), &["type"]);
}

#[test]
fn operations_that_make_no_sense() {
    let b = packed();
    let u8_sums = || Gemm::<u8, i32>::builder(&b, IntOutput::Store);
    for z in [-1, 256, i32::MIN] {
        refused(u8_sums().a_zero_point(z).build(), kind!(OutOfRange), &["zero point of A", "0 to 255", &z.to_string()]);
    }
    let i8_sums = || Gemm::<i8, i32>::builder(&b, IntOutput::Store);
    for z in [-129, 128, i32::MAX] {
        refused(i8_sums().a_zero_point(z).build(), kind!(OutOfRange), &["-128 to 127", &z.to_string()]);
    }
    refused(u8_sums().threads(Threads::Max(0)).build(), kind!(OutOfRange), &["threads", "0"]);

    let params = QuantParams::<u8>::new(0.5, 3).unwrap();
    let fixed = ActivationQuantization::Static(params);
    let by_row = ActivationQuantization::DynamicPerRow;
    refused(u8_sums().a_quantization(fixed).build(), kind!(Unsupported), &["floating-point"]);
    refused(u8_sums().a_quantization(by_row).build(), kind!(Unsupported), &["floating-point"]);
    let f32_sums = || Gemm::<f32, i32>::builder(&b, IntOutput::Store);
    refused(f32_sums().build(), kind!(Unsupported), &["a_quantization"]);
    refused(f32_sums().a_quantization(fixed).a_zero_point(1).build(), kind!(Unsupported), &["zero point"]);
    refused(f32_sums().a_quantization(by_row).build(), kind!(Unsupported), &["floating-point output"]);
    let requantized = Gemm::<f32, u8>::builder(&b, Requantize::new(1.0));
    refused(requantized.a_quantization(by_row).build(), kind!(Unsupported), &["floating-point output"]);
    let scaled = Gemm::<f32, f32>::builder(&b, Dequantize::new(1.0).a_scale(1.0));
    refused(scaled.clone().a_quantization(fixed).build(), kind!(Unsupported), &["scale of A"]);
    refused(scaled.a_quantization(by_row).build(), kind!(Unsupported), &["scale of A"]);

    let bounded =
        PackedB::builder(MatRef::row_major(&[3i8; K * N], K, N).unwrap()).activation_max(100).build().unwrap();
    refused(Gemm::<i8, i32>::builder(&bounded, IntOutput::Store).build(), kind!(Unsupported), &["u8"]);
    let quantized = Gemm::<f32, i32>::builder(&bounded, IntOutput::Store).a_quantization(fixed);
    refused(quantized.build(), kind!(Unsupported), &["u8"]);
}

#[test]
fn requantization_that_makes_no_sense() {
    let b = packed();
    let build = |stage: Requantize<'_, u8>| Gemm::<u8, u8>::builder(&b, stage).build();
    for bad in BAD_SCALES.into_iter().filter(|&m| m != 1e-40) {
        refused(
            build(Requantize::new(bad)),
            kind!(BadNumber),
            &["multiplier", "finite number above 0", &bad.to_string()],
        );
        let each = [1.0, 1.0, 1.0, bad];
        refused(build(Requantize::new(PerColumn::Column(&each))), kind!(BadNumber), &["multiplier"]);
    }
    assert!(build(Requantize::new(1e-40)).is_ok(), "nothing is divided by a multiplier");
    refused(build(Requantize::new(PerColumn::Column(&[1.0; 3]))), kind!(Mismatch), &["multipliers", "4", "3"]);
    refused(build(Requantize::new(PerColumn::Group(&[1.0; 4]))), kind!(Mismatch), &["expected 1", "given 4"]);
    for z in [-1, 256] {
        refused(build(Requantize::new(1.0).zero_point(z)), kind!(OutOfRange), &["zero point of C", "0 to 255"]);
    }
    for z in [-129, 128] {
        let signed = Gemm::<u8, i8>::builder(&b, Requantize::new(1.0).zero_point(z)).build();
        refused(signed, kind!(OutOfRange), &["-128 to 127", &z.to_string()]);
    }
    refused(build(Requantize::new(1.0).clamp(9, 8)), kind!(OutOfRange), &["8", "9"]);
    refused(build(Requantize::new(1.0).zero_point(9).relu().clamp(0, 8)), kind!(OutOfRange), &["8", "9"]);
    refused(build(Requantize::new(1.0).bias_i32(&[0; 5])), kind!(Mismatch), &["i32 bias", "expected 4", "given 5"]);
    let bias = [1.0f32; 4];
    refused(build(Requantize::new(1.0).bias_f32(&bias[1..], 1.0, 1.0)), kind!(Mismatch), &["f32 bias", "4", "3"]);
    for bad in BAD_SCALES {
        let given = bad.to_string();
        refused(build(Requantize::new(1.0).bias_f32(&bias, bad, 1.0)), kind!(BadNumber), &["scale of A", &given]);
        refused(build(Requantize::new(1.0).bias_f32(&bias, 1.0, bad)), kind!(BadNumber), &["scale of B", &given]);
    }
    refused(
        build(Requantize::new(1.0).bias_f32(&bias, 1.0, PerColumn::Column(&[1.0; 2]))),
        kind!(Mismatch),
        &["scales of B", "expected 4", "given 2"],
    );
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let bias = [0.0, bad, 0.0, 0.0];
        refused(build(Requantize::new(1.0).bias_f32(&bias, 1.0, 1.0)), kind!(BadNumber), &["bias", &bad.to_string()]);
    }
    refused(build(Requantize::new(1.0).bias_f32(&[1e30; 4], 1e-10, 1e-10)), kind!(BadNumber), &["bias", "inf"]);
    refused(build(Requantize::new(1.0).bias_f32(&[0.0; 4], 1e-30, 1e-30)), kind!(BadNumber), &["bias", "NaN"]);
}

#[test]
fn dequantization_that_makes_no_sense() {
    let b = packed();
    let build = |stage: Dequantize<'_>| Gemm::<u8, f32>::builder(&b, stage).build();
    for bad in BAD_SCALES {
        let given = bad.to_string();
        refused(build(Dequantize::new(bad)), kind!(BadNumber), &["scale of B", &given]);
        refused(build(Dequantize::new(1.0).a_scale(bad)), kind!(BadNumber), &["scale of A", &given]);
        refused(build(Dequantize::new(PerColumn::Column(&[1.0, bad, 1.0, 1.0]))), kind!(BadNumber), &["scale of B"]);
    }
    refused(build(Dequantize::new(PerColumn::Column(&[1.0; 5]))), kind!(Mismatch), &["scales of B", "4", "5"]);
    refused(build(Dequantize::new(PerColumn::Group(&[]))), kind!(Mismatch), &["expected 1", "given 0"]);
    refused(
        build(Dequantize::new(1.0).a_scale(1.0).bias(&[0.0; 3])),
        kind!(Mismatch),
        &["f32 bias", "expected 4", "given 3"],
    );
    for bad in [f32::NAN, f32::INFINITY] {
        refused(build(Dequantize::new(1.0).a_scale(1.0).bias(&[0.0, 0.0, 0.0, bad])), kind!(BadNumber), &["f32 bias"]);
    }
    refused(build(Dequantize::new(1.0).a_scale(1.0).clamp(1.0, 0.5)), kind!(BadNumber), &["clamp", "1"]);
    refused(build(Dequantize::new(1.0).a_scale(1.0).relu().clamp(-2.0, -1.0)), kind!(BadNumber), &["clamp"]);
    assert!(build(Dequantize::new(1.0).a_scale(1.0).clamp(f32::NEG_INFINITY, 0.0)).is_ok(), "an open limit");
}

#[test]
fn integers_without_a_scale() {
    let b = packed();
    let parts = ["u8 or i8 activations", "a_scale"];
    refused(Gemm::<u8, f32>::builder(&b, Dequantize::new(1.0)).build(), kind!(Unsupported), &parts);
    refused(Gemm::<i8, f32>::builder(&b, Dequantize::new(1.0)).build(), kind!(Unsupported), &parts);
    refused(Gemm::<u8, bf16>::builder(&b, Dequantize::new(1.0).to()).build(), kind!(Unsupported), &parts);
    let any = AnyGemm::int8(&b, ElementType::U8, Dequantize::new(1.0)).build_any();
    refused(any, kind!(Unsupported), &parts);
    // Floating-point activations bring theirs.
    let by_row = ActivationQuantization::DynamicPerRow;
    assert!(Gemm::<f32, f32>::builder(&b, Dequantize::new(1.0)).a_quantization(by_row).build().is_ok());
}

#[test]
fn parameters_of_columns_by_whatever_holds_them() {
    let b = MatRef::row_major(&[1i8, -2, 3, 4], 2, 2).unwrap();
    let (zeros, scales) = (vec![1, -1], vec![0.5f32, 0.25]);
    let by_name = PackedB::builder(b).zero_points(PerColumn::Column(&zeros)).scales(PerColumn::Column(&scales));
    let by_name = by_name.build().unwrap();
    for of in [
        PackedB::builder(b).zero_points(&[1, -1]).scales(&[0.5, 0.25]),
        PackedB::builder(b).zero_points(&zeros).scales(&scales),
        PackedB::builder(b).zero_points(&zeros[..]).scales(&scales[..]),
        PackedB::builder(b).zero_points(zeros.as_slice()).scales(PerColumn::from(&scales)),
    ] {
        assert_eq!(of.build().unwrap(), by_name);
    }
    assert_eq!(
        PackedB::builder(b).zero_points(3).scales(0.5).build().unwrap(),
        PackedB::builder(b).zero_points(PerColumn::Tensor(3)).scales(PerColumn::Tensor(0.5)).build().unwrap(),
    );
    let run = |stage: Dequantize<'_>| {
        let gemm = Gemm::builder(&by_name, stage.a_scale(1.0)).build().unwrap();
        let mut c = [0f32; 2];
        gemm.run(MatRef::row_major(&[3u8, 1], 1, 2).unwrap(), &mut MatMut::row_major(&mut c, 1, 2).unwrap()).unwrap();
        c
    };
    let want = [1.0, 0.5];
    assert_eq!(run(Dequantize::new(PerColumn::Column(&scales))), want);
    assert_eq!(
        [run(Dequantize::new(&scales)), run(Dequantize::new(&scales[..])), run(Dequantize::new(&[0.5, 0.25]))],
        [want; 3]
    );
    assert_eq!(run(Dequantize::new(by_name.scales().unwrap())), want);
    let stage = Requantize::<i8>::new(&scales).bias_f32(&[1.0, 1.0], 1.0, &scales);
    assert!(Gemm::<u8, i8>::builder(&by_name, stage).build().is_ok());
    refused(PackedB::builder(b).scales(&[0.5]).build(), kind!(Mismatch), &["scales", "expected 2", "given 1"]);
}

#[test]
fn a_limit_is_never_nan() {
    let b = packed();
    let build = |stage: Dequantize<'_>| Gemm::<u8, f32>::builder(&b, stage).build();
    refused(build(Dequantize::new(1.0).a_scale(1.0).clamp(f32::NAN, 1.0)), kind!(BadNumber), &["clamp", "NaN"]);
    refused(build(Dequantize::new(1.0).a_scale(1.0).relu().clamp(f32::NAN, 1.0)), kind!(BadNumber), &["clamp", "NaN"]);
}

#[test]
fn the_limit_that_is_nan_is_named() {
    let b = packed();
    let gemm = Gemm::<u8, f32>::builder(&b, Dequantize::new(1.0).a_scale(1.0).clamp(0.0, f32::NAN)).build();
    refused(gemm, kind!(BadNumber), &["clamp", "given NaN"]);
}

#[test]
fn operands_that_do_not_fit() {
    let b = packed();
    let gemm = Gemm::<u8, f32>::builder(&b, Dequantize::new(1.0).a_scale(1.0)).build().unwrap();
    let a = [1u8; 40];
    let residual = [0f32; 40];
    let view = |rows, cols| MatRef::row_major(&a, rows, cols).unwrap();
    let run = |a, shape, options: RunOptions<'_>, parts: &[&str], is: fn(&Error) -> bool| {
        let mut c = Poisoned::<f32>::new(shape, 1);
        refused(gemm.run_with(a, &mut c.view(), &options), is, parts);
        c.assert_untouched(&format!("{parts:?}"));
    };
    let none = RunOptions::new();
    run(view(3, 5), (3, 4), none, &["columns of A", "expected 6", "given 5"], kind!(Mismatch));
    run(view(3, 7), (3, 4), none, &["columns of A", "expected 6", "given 7"], kind!(Mismatch));
    run(view(3, 6), (2, 4), none, &["rows of C", "expected 3", "given 2"], kind!(Mismatch));
    run(view(3, 6), (3, 3), none, &["columns of C", "expected 4", "given 3"], kind!(Mismatch));
    run(view(0, 5), (0, 4), none, &["columns of A"], kind!(Mismatch));

    let residuals = |rows, cols| none.residual(MatRef::row_major(&residual, rows, cols).unwrap());
    run(view(3, 6), (3, 4), residuals(2, 4), &["rows of the residual", "expected 3", "given 2"], kind!(Mismatch));
    run(view(3, 6), (3, 4), residuals(3, 5), &["columns of the residual", "expected 4", "given 5"], kind!(Mismatch));
    let column_major = none.residual(MatRef::col_major(&residual, 3, 4).unwrap());
    run(view(3, 6), (3, 4), column_major, &["residual"], kind!(Unsupported));

    run(view(3, 6), (3, 4), none.row_zero_points(&[0; 2]), &["row zero points", "3", "2"], kind!(Mismatch));
    run(view(3, 6), (3, 4), none.row_zero_points(&[0, 0, 256]), &["0 to 255", "256"], kind!(OutOfRange));
    run(view(3, 6), (3, 4), none.row_zero_points(&[0, -1, 0]), &["0 to 255", "-1"], kind!(OutOfRange));
    run(view(3, 6), (3, 4), none.row_scales(&[1.0; 4]), &["row scales", "3", "4"], kind!(Mismatch));
    for bad in BAD_SCALES {
        let scales = [1.0, 1.0, bad];
        run(view(3, 6), (3, 4), none.row_scales(&scales), &["scale", &bad.to_string()], kind!(BadNumber));
    }
}

#[test]
fn options_that_an_output_has_no_use_for() {
    let b = packed();
    let a = MatRef::row_major(&[1u8; K], 1, K).unwrap();
    let residual = [0f32; N];
    let none = RunOptions::new();
    let with_residual = none.residual(MatRef::row_major(&residual, 1, N).unwrap());

    let sums = Gemm::builder(&b, IntOutput::Add).build().unwrap();
    let bytes = Gemm::builder(&b, Requantize::<i8>::new(1.0)).build().unwrap();
    for options in [none.row_scales(&[1.0]), with_residual] {
        let mut c = Poisoned::<i32>::new((1, N), 0);
        refused(sums.run_with(a, &mut c.view(), &options), kind!(Unsupported), &["floating-point outputs"]);
        c.assert_untouched("i32");
        let mut c = Poisoned::<i8>::new((1, N), 0);
        refused(bytes.run_with(a, &mut c.view(), &options), kind!(Unsupported), &["floating-point outputs"]);
        c.assert_untouched("i8");
    }
    let quantization = ActivationQuantization::DynamicPerRow;
    let reals = Gemm::<f32, f32>::builder(&b, Dequantize::new(1.0)).a_quantization(quantization).build().unwrap();
    for options in [none.row_scales(&[1.0]), none.row_zero_points(&[1])] {
        let mut c = Poisoned::<f32>::new((1, N), 0);
        let a = MatRef::row_major(&[1f32; K], 1, K).unwrap();
        refused(reals.run_with(a, &mut c.view(), &options), kind!(Unsupported), &["integer activations"]);
        c.assert_untouched("f32");
    }
}

#[test]
fn activations_keep_what_packing_was_promised() {
    let b = [3i8; K * N];
    for (max, order) in [(100u8, (K, 1)), (100, (1, 3)), (0, (K, 1)), (254, (K, 1))] {
        let packed = PackedB::builder(MatRef::row_major(&b, K, N).unwrap()).activation_max(max).build().unwrap();
        assert_eq!(packed.activation_max(), max);
        let gemm = Gemm::builder(&packed, Requantize::<u8>::new(0.1)).build().unwrap();
        let mut a = [max; 3 * K];
        let mut c = Poisoned::<u8>::new((3, N), 2);
        gemm.run(MatRef::with_strides(&a, 3, K, order.0, order.1).unwrap(), &mut c.view()).unwrap();
        for at in 0..3 * K {
            a[at] = max + 1;
            let mut c = Poisoned::<u8>::new((3, N), 2);
            let view = MatRef::with_strides(&a, 3, K, order.0, order.1).unwrap();
            let (limit, given) = (format!("0 to {max}"), format!("given {}", max + 1));
            refused(gemm.run(view, &mut c.view()), kind!(OutOfRange), &["activation", &limit, &given]);
            c.assert_untouched("activation bound");
            a[at] = max;
        }
    }
}

#[test]
fn a_bound_of_activations_and_no_rows() {
    let packed = PackedB::builder(MatRef::row_major(&[3i8; K * N], K, N).unwrap()).activation_max(9).build().unwrap();
    let gemm = Gemm::builder(&packed, IntOutput::Store).build().unwrap();
    let none: [u8; 0] = [];
    gemm.run(MatRef::row_major(&none, 0, K).unwrap(), &mut MatMut::row_major(&mut [], 0, N).unwrap()).unwrap();
}

#[test]
fn rows_to_quantize_hold_no_infinity() {
    let b = packed();
    let quantization = ActivationQuantization::DynamicPerRow;
    let gemm = Gemm::<f32, f32>::builder(&b, Dequantize::new(1.0)).a_quantization(quantization).build().unwrap();
    for bad in [f32::INFINITY, f32::NEG_INFINITY] {
        for at in [0, K - 1, K, 3 * K - 1] {
            for strides in [(K, 1), (1, 3)] {
                let mut a = [0.25f32; 3 * K];
                a[at] = bad;
                let mut c = Poisoned::<f32>::new((3, N), 1);
                let view = MatRef::with_strides(&a, 3, K, strides.0, strides.1).unwrap();
                refused(gemm.run(view, &mut c.view()), kind!(BadNumber), &["finite", &bad.to_string()]);
                c.assert_untouched("infinity");
            }
        }
    }
}

/// A bad activation is one whether or not there are columns to multiply it with.
#[test]
fn bad_activations_are_refused_without_columns() {
    let b = PackedB::builder(MatRef::row_major(&[0i8; 0], K, 0).unwrap());
    let packed = b.clone().build().unwrap();
    let quantization = ActivationQuantization::DynamicPerRow;
    let gemm = Gemm::<f32, f32>::builder(&packed, Dequantize::new(1.0)).a_quantization(quantization).build().unwrap();
    let run = |a: &[f32]| gemm.run(MatRef::row_major(a, 1, K).unwrap(), &mut MatMut::row_major(&mut [], 1, 0).unwrap());
    run(&[0.25; K]).unwrap();
    refused(run(&[f32::NEG_INFINITY; K]), kind!(BadNumber), &["finite", "-inf"]);

    let bounded = b.activation_max(9).build().unwrap();
    let gemm = Gemm::<u8, i32>::builder(&bounded, IntOutput::Store).build().unwrap();
    let run = |a: &[u8]| gemm.run(MatRef::row_major(a, 1, K).unwrap(), &mut MatMut::row_major(&mut [], 1, 0).unwrap());
    run(&[9; K]).unwrap();
    refused(run(&[10; K]), kind!(OutOfRange), &["activation", "given 10"]);
}

#[test]
fn quantization_parameters() {
    for bad in BAD_SCALES {
        refused(QuantParams::<u8>::new(bad, 0), kind!(BadNumber), &["scale", "finite reciprocal", &bad.to_string()]);
    }
    refused(QuantParams::<u8>::new(1.0, 256), kind!(OutOfRange), &["0 to 255", "256"]);
    refused(QuantParams::<i8>::new(1.0, -129), kind!(OutOfRange), &["-128 to 127", "-129"]);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        refused(QuantParams::<u8>::from_min_max(bad, 1.0, Choose::default()), kind!(BadNumber), &["min"]);
        refused(QuantParams::<u8>::from_min_max(0.0, bad, Choose::default()), kind!(BadNumber), &["max"]);
    }
    refused(QuantParams::<u8>::from_min_max(2.0, 1.0, Choose::default()), kind!(BadNumber), &["max", "1"]);
    let params = QuantParams::<u8>::new(1.0, 0).unwrap();
    refused(params.quantize(&[1.0; 3], &mut [0; 2]), kind!(Mismatch), &["expected 3", "given 2"]);
    refused(params.dequantize(&[1; 2], &mut [0.0; 3]), kind!(Mismatch), &["expected 2", "given 3"]);
    let weights = [1.0, f32::NAN];
    refused(quant::symmetric_per_column(MatRef::row_major(&weights, 1, 2).unwrap()), kind!(BadNumber), &["NaN"]);
}
