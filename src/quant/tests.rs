use super::*;
use crate::error::Error;
use crate::views::MatRef;

const PLAIN: Choose = Choose { preserve_sparsity: false, power_of_two: false, fbgemm_floor: false };
const SYMMETRIC: Choose = Choose { preserve_sparsity: true, ..PLAIN };
const POWER_OF_TWO: Choose = Choose { power_of_two: true, ..PLAIN };
const FBGEMM: Choose = Choose { fbgemm_floor: true, ..PLAIN };

/// Numbers that rounding, clamping and comparing treat specially.
fn special() -> Vec<f32> {
    let mut values = vec![
        f32::NAN,
        -f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        0.0,
        -0.0,
        f32::MIN,
        f32::MAX,
        f32::MIN_POSITIVE,
        -f32::MIN_POSITIVE,
        f32::from_bits(1),
        -f32::from_bits(1),
        2147483647.0,
        -2147483648.0,
        4194304.5,
    ];
    for half in -600..600 {
        let tie = half as f32 / 2.0;
        values.extend([tie, tie.next_up(), tie.next_down()]);
    }
    values
}

fn assert_as_reference<T: QuantElement>(params: QuantParams<T>, data: &[f32]) {
    let mut quantized = vec![T::default(); data.len()];
    params.quantize(data, &mut quantized).unwrap();
    for (&x, &q) in data.iter().zip(&quantized) {
        assert_eq!(q, reference::quantize(params, x), "{x:e} by {params:?}");
    }
    let mut divided = vec![T::default(); data.len()];
    params.quantize_by_division(data, &mut divided).unwrap();
    for (&x, &q) in data.iter().zip(&divided) {
        assert_eq!(q, reference::quantize_by_division(params, x), "{x:e} by {params:?}");
    }
    let mut restored = vec![f32::NAN; data.len()];
    params.dequantize(&quantized, &mut restored).unwrap();
    for (&x, &q) in restored.iter().zip(&quantized) {
        assert_eq!(x.to_bits(), reference::dequantize(params, q).to_bits(), "{q:?} by {params:?}");
    }
}

fn for_all_params(mut unsigned: impl FnMut(QuantParams<u8>), mut signed: impl FnMut(QuantParams<i8>)) {
    for scale in [1.0, 0.5, 3.0, 0.1, 1e-3, 1e30, 3e38, 3e-39, f32::MIN_POSITIVE, 1.19209e-7] {
        for zero_point in [0, 1, 5, 127, 128, 254, 255] {
            unsigned(QuantParams::new(scale, zero_point).unwrap());
            signed(QuantParams::new(scale, zero_point - 128).unwrap());
        }
    }
}

#[test]
fn special_numbers_are_quantized_as_in_the_reference() {
    let data = special();
    for_all_params(|p| assert_as_reference(p, &data), |p| assert_as_reference(p, &data));
}

#[test]
fn every_length_is_quantized_as_in_the_reference() {
    let data = special();
    let (unsigned, signed) = (QuantParams::<u8>::new(0.7, 100).unwrap(), QuantParams::<i8>::new(1.3, -7).unwrap());
    for len in 0..100 {
        for start in [0, 1, 7] {
            assert_as_reference(unsigned, &data[start..start + len]);
            assert_as_reference(signed, &data[start..start + len]);
        }
    }
}

#[test]
fn numbers_of_every_magnitude_are_quantized_as_in_the_reference() {
    let data: Vec<f32> = (0..=u32::MAX).step_by(65_521).map(f32::from_bits).collect();
    for_all_params(|p| assert_as_reference(p, &data), |p| assert_as_reference(p, &data));
}

#[test]
fn all_quantized_numbers_survive_the_way_back() {
    let all: Vec<u8> = (0..=255).collect();
    for zero_point in [0, 3, 128, 255] {
        let params = QuantParams::<u8>::new(0.037, zero_point).unwrap();
        let (mut x, mut q) = ([0f32; 256], [0u8; 256]);
        params.dequantize(&all, &mut x).unwrap();
        params.quantize(&x, &mut q).unwrap();
        assert_eq!(q[..], all);
    }
}

#[test]
fn lengths_must_agree() {
    let params = QuantParams::<i8>::new(1.0, 0).unwrap();
    let mut q = [9i8; 2];
    let error = params.quantize(&[1.0; 3], &mut q).unwrap_err();
    assert!(matches!(error, Error::Mismatch { expected: 3, given: 2, .. }), "{error}");
    assert_eq!(q, [9, 9]);
    assert!(params.dequantize(&q, &mut [0.0; 3]).is_err());
}

#[test]
fn unusable_parameters_are_refused() {
    for scale in [0.0, -0.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::from_bits(1), 2.9e-39] {
        let error = QuantParams::<u8>::new(scale, 0).unwrap_err();
        assert!(matches!(error, Error::BadNumber { what: "scale", .. }), "{scale}: {error}");
    }
    for zero_point in [-1, 256, i32::MIN, i32::MAX] {
        let error = QuantParams::<u8>::new(1.0, zero_point).unwrap_err();
        assert!(matches!(error, Error::OutOfRange { low: 0, high: 255, .. }), "{error}");
    }
    assert!(QuantParams::<i8>::new(1.0, -129).is_err());
    assert!(QuantParams::<i8>::new(1.0, 128).is_err());
    for (min, max) in [(f32::NAN, 1.0), (0.0, f32::NAN), (f32::NEG_INFINITY, 0.0), (0.0, f32::INFINITY), (1.0, 0.9)] {
        let error = QuantParams::<u8>::from_min_max(min, max, Choose::default()).unwrap_err();
        assert!(matches!(error, Error::BadNumber { .. }), "{min} {max}: {error}");
    }
}

/// The fixed vectors of FBGEMM's QuantUtilsTest.
#[test]
fn fbgemm_vectors() {
    let symmetric = QuantParams::<i8>::from_min_max(-1.6165, 0.5685, SYMMETRIC).unwrap();
    assert_eq!((symmetric.scale(), symmetric.zero_point()), (0.012628906, 0));

    let extremes = [3.40282e38, -2.16845e38];
    let mut x = [0f32; 2];
    let signed = QuantParams::<i8>::new(1.19209e-07, 0).unwrap();
    let mut q = [0i8; 2];
    signed.quantize(&extremes, &mut q).unwrap();
    assert_eq!(q, [127, -128]);
    signed.dequantize(&q, &mut x).unwrap();
    assert_eq!(x, [127.0 * 1.19209e-07, -1.5258752e-05]);
    assert!((x[0] - 1.5139543e-05).abs() < 1e-12, "FBGEMM gives eight digits");
    let unsigned = QuantParams::<u8>::new(1.19209e-07, 0).unwrap();
    let mut q = [7u8; 2];
    unsigned.quantize(&extremes, &mut q).unwrap();
    assert_eq!(q, [255, 0]);
    unsigned.dequantize(&q, &mut x).unwrap();
    assert_eq!(x, [3.0398295e-05, 0.0]);

    // x * (1 / scale) is the tie -127.5, which rounds to -128; x / scale is -127.499992, which would give 1.
    let params = QuantParams::<u8>::new(2.312_433_4e-7, 128).unwrap();
    let mut q = [9u8; 33];
    params.quantize(&[-2.9483526e-05; 33], &mut q).unwrap();
    assert_eq!(q, [0; 33]);
}

#[test]
fn ranges_become_parameters() {
    let unsigned = |min, max, how| {
        let p = QuantParams::<u8>::from_min_max(min, max, how).unwrap();
        (p.scale(), p.zero_point())
    };
    let plain = Choose::default();
    assert_eq!(unsigned(0.0, 2.55, plain), (0.01, 0));
    assert_eq!(unsigned(-2.55, 0.0, plain), (0.01, 255));
    assert_eq!(unsigned(1.0, 2.55, plain), (0.01, 0), "the range is extended to 0");
    assert_eq!(unsigned(-1.0, 1.0, plain), (2.0 / 255.0, 127), "1 / scale is 127.49999");
    assert_eq!(unsigned(0.0, 0.0, plain), (0.1, 0));
    assert_eq!(unsigned(0.0, 2.55e-6, plain), (1e-8, 0), "small ranges have small scales");
    assert_eq!(unsigned(-1e-30, 3e-30, plain), (4e-30 / 255.0, 64));
    assert_eq!(unsigned(0.0, 1e-40, plain), (f32::MIN_POSITIVE, 0));
    assert_eq!(unsigned(-1e-45, 1e-45, plain), (f32::MIN_POSITIVE, 0));
    assert_eq!(unsigned(0.0, 0.0, FBGEMM), (0.1, 0));
    assert_eq!(unsigned(0.0, 1e-40, FBGEMM).0, 0.1);
    assert_eq!(unsigned(0.0, 1e-6, FBGEMM), (6.1e-5, 0));
    assert_eq!(unsigned(-1e-6, 0.0, FBGEMM), (6.1e-5, 255));
    assert_eq!(unsigned(-1e-6, 3e-6, FBGEMM), (6.1e-5, 64));
    assert_eq!(unsigned(-3.0, 1.0, SYMMETRIC).1, 128);
    assert_eq!(unsigned(0.0, 2.55, SYMMETRIC), (0.01, 0), "only ranges with both signs are made symmetric");
    assert_eq!(unsigned(0.0, 255.0, POWER_OF_TWO), (1.0, 0));
    assert_eq!(unsigned(0.0, 256.0, POWER_OF_TWO), (2.0, 0));
    assert_eq!(unsigned(0.0, 100.0, POWER_OF_TWO), (0.5, 0));
    assert_eq!(unsigned(0.0, 255.0 * 2f32.powi(-40), POWER_OF_TWO), (2f32.powi(-40), 0));
    assert_eq!(unsigned(0.0, 1e-9, Choose { fbgemm_floor: true, ..POWER_OF_TWO }), (1.0 / 16384.0, 0));
    let signed = QuantParams::<i8>::from_min_max(0.0, 2.55, plain).unwrap();
    assert_eq!((signed.scale(), signed.zero_point()), (0.01, -128));
}

#[test]
fn every_finite_range_gives_usable_parameters() {
    let mut bounds: Vec<f32> = special().into_iter().filter(|x| x.is_finite()).step_by(41).collect();
    bounds.extend([f32::MIN, f32::MAX, 1e-38, -1e-38, 1e-45, -1e-45, 1e38, -1e38, 1e-20, 0.015, 0.016]);
    for &min in &bounds {
        for &max in bounds.iter().filter(|&&max| max >= min) {
            for flags in 0..8 {
                let (preserve_sparsity, power_of_two) = (flags & 1 != 0, flags & 2 != 0);
                let how = Choose { preserve_sparsity, power_of_two, fbgemm_floor: flags & 4 != 0 };
                let params = QuantParams::<i8>::from_min_max(min, max, how).unwrap();
                QuantParams::<u8>::from_min_max(min, max, how).unwrap();
                if how.power_of_two {
                    let exponent = params.scale().log2();
                    assert_eq!(params.scale(), exponent.round().exp2(), "{min} {max}");
                }
            }
        }
    }
}

#[test]
fn min_max_is_that_of_the_reference() {
    let bits = |r: Option<(f32, f32)>| r.map(|(a, b)| (a.to_bits(), b.to_bits()));
    let mut data = special();
    for len in 0..130 {
        for start in [0, 2, 4, 100] {
            let part = &data[start..start + len];
            assert_eq!(bits(min_max(part)), bits(reference::min_max(part)), "{part:?}");
        }
    }
    for _ in 0..data.len() {
        data.rotate_left(1);
        assert_eq!(min_max(&data[..200]), reference::min_max(&data[..200]));
    }
    assert_eq!(min_max(&[f32::NAN; 70]), None);
    assert_eq!(min_max(&[f32::INFINITY; 70]), Some((f32::INFINITY, f32::INFINITY)));
    assert_eq!(bits(min_max(&[-0.0, 0.0])), bits(Some((0.0, 0.0))));
}

#[test]
fn dynamic_rows_use_the_whole_range() {
    let params = dynamic_row_params(-1.0, 4.1).unwrap();
    assert_eq!((params.scale(), params.zero_point()), (0.02, 50));
    assert!(dynamic_row_params(f32::NEG_INFINITY, 0.0).is_err());
    // Small rows have small scales.
    assert_eq!(dynamic_row_params(0.0, 2.55e-20).unwrap().scale(), (f64::from(2.55e-20f32) / 255.0) as f32);
    assert_eq!(symmetric_row_params(-1.27e-30, 0.0).unwrap().scale(), 1.27e-30 / 127.0);
    assert_eq!(symmetric_row_params(0.0, 1e-40).unwrap().scale(), f32::MIN_POSITIVE);
    assert_eq!(symmetric_row_params(0.0, 0.0).unwrap().scale(), 0.1);
}

#[test]
fn weights_are_scaled_by_column() {
    let weights: Vec<f32> = (0..7 * 5).map(|i| ((i * 37) % 101) as f32 / 8.0 - 6.0).collect();
    let view = MatRef::row_major(&weights, 7, 5).unwrap();
    let (q, scales) = symmetric_per_column(view).unwrap();
    for j in 0..5 {
        let column = || (0..7).map(|i| weights[i * 5 + j]);
        let largest = column().fold(0f32, |m, w| m.max(w.abs()));
        assert_eq!(scales[j], largest / 127.0);
        let params = QuantParams::<i8>::new(scales[j], 0).unwrap();
        for (i, w) in column().enumerate() {
            assert_eq!(q[i * 5 + j], reference::quantize(params, w), "row {i}, column {j}");
        }
    }
    let transposed: Vec<f32> = (0..5).flat_map(|j| weights.iter().skip(j).step_by(5).copied()).collect();
    let columns = MatRef::col_major(&transposed, 7, 5).unwrap();
    assert_eq!(symmetric_per_column(columns).unwrap(), (q, scales));
    assert_eq!(symmetric_per_tensor(columns), symmetric_per_tensor(view));
}

#[test]
fn weights_at_the_edges() {
    fn view(data: &[f32], rows: usize, cols: usize) -> MatRef<'_, f32> {
        MatRef::row_major(data, rows, cols).unwrap()
    }
    assert_eq!(symmetric_per_column(view(&[], 0, 2)).unwrap(), (vec![], vec![1.0, 1.0]));
    assert_eq!(symmetric_per_column(view(&[], 2, 0)).unwrap(), (vec![], vec![]));
    assert_eq!(symmetric_per_tensor(view(&[], 0, 0)).unwrap(), (vec![], 1.0));
    assert_eq!(symmetric_per_tensor(view(&[f32::MAX, f32::MIN], 2, 1)).unwrap().0, [127, -127]);
    assert_eq!(symmetric_per_tensor(view(&[1e-40, f32::MIN_POSITIVE], 2, 1)).unwrap(), (vec![0, 1], f32::MIN_POSITIVE));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let data = [1.0, 2.0, bad, 0.0];
        let error = symmetric_per_column(view(&data, 2, 2)).unwrap_err();
        assert!(matches!(error, Error::BadNumber { what: "weight", .. }), "{error}");
        assert!(symmetric_per_tensor(view(&data, 2, 2)).is_err());
    }
    let endless = MatRef::with_strides(&[1.0f32], usize::MAX, usize::MAX, 0, 0).unwrap();
    assert!(matches!(symmetric_per_column(endless).unwrap_err(), Error::Overflow { .. }));
    let endless = MatRef::with_strides(&[1.0f32], usize::MAX, 1, 0, 1).unwrap();
    assert!(matches!(symmetric_per_tensor(endless).unwrap_err(), Error::Overflow { .. }));
    for (rows, cols) in [(0, usize::MAX), (usize::MAX, 0)] {
        let empty = MatRef::with_strides(&[], rows, cols, 0, 0).unwrap();
        assert_eq!(symmetric_per_column(empty).is_ok(), cols == 0, "{cols} scales");
    }
}
