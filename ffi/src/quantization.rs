//! From f32 to 8-bit integers and back.

use std::ffi::c_void;

use gemmill::{Choose, ElementType, MatRef, QuantParams, quant};

use crate::call::{Failure, Outcome};
use crate::caller::{Caller, entry};
use crate::codes::{Code, Type, with_type};
use crate::memory::{Footprint, Matrix, check_apart, overflow, size};
use crate::status::Status;

fn not_bytes<T>() -> Outcome<T> {
    Err(Failure::unsupported("quantized elements: expected the type u8 or i8"))
}

/// *scale, *zero_point = parameters that represent the real numbers min to max, extended to contain 0:
/// scale = (max - min) / 255, zero_point = the integer nearest to where 0 falls.
///
/// q_type: GEMMILL_TYPE_U8 or GEMMILL_TYPE_I8. preserve_sparsity, unless 0: a range with both signs is widened until 0
/// lies in the middle of the integers. power_of_two, unless 0: the scale is raised to a power of two. A range of zero
/// width gets the scale 0.1; scales are 2^-126 at least. Threads: any.
/// Errors: GEMMILL_STATUS_BAD_NUMBER if a bound is not finite or min > max, GEMMILL_STATUS_OUT_OF_RANGE and
/// GEMMILL_STATUS_UNSUPPORTED for other types; pointers.
///
/// # Safety
/// scale points to a float, zero_point to an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_quantization_choose(
    q_type: i32, min: f32, max: f32, preserve_sparsity: i32, power_of_two: i32, scale: *mut f32, zero_point: *mut i32,
) -> Status {
    let how =
        Choose { preserve_sparsity: preserve_sparsity != 0, power_of_two: power_of_two != 0, fbgemm_floor: false };
    entry!("gemmill_quantization_choose", |c| choose(c, q_type, (min, max), how, (scale, zero_point))?)
}

/// As gemmill_quantization_choose, with FBGEMM's floor: scales below 6.1e-5 are raised to it (to 2^-14 where a power of
/// two is asked for), and one whose reciprocal is infinite becomes 0.1.
///
/// Everything else as gemmill_quantization_choose.
///
/// # Safety
/// scale points to a float, zero_point to an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_quantization_choose_fbgemm(
    q_type: i32, min: f32, max: f32, preserve_sparsity: i32, power_of_two: i32, scale: *mut f32, zero_point: *mut i32,
) -> Status {
    let how = Choose { preserve_sparsity: preserve_sparsity != 0, power_of_two: power_of_two != 0, fbgemm_floor: true };
    entry!("gemmill_quantization_choose_fbgemm", |c| choose(c, q_type, (min, max), how, (scale, zero_point))?)
}

/// Asks for: [`Caller::out`] for both.
fn choose(
    c: Caller<'_>, q_type: i32, (min, max): (f32, f32), how: Choose, (scale, zero_point): (*mut f32, *mut i32),
) -> Outcome {
    let (scale, zero_point) = (c.out("scale", scale)?, c.out("zero point", zero_point)?);
    let chosen = with_type!(Type::of("type", q_type)?, T in [U8 I8] => {
        let params = QuantParams::<T>::from_min_max(min, max, how)?;
        (params.scale(), params.zero_point())
    }, else not_bytes()?);
    scale.set(chosen.0);
    zero_point.set(chosen.1);
    Ok(())
}

/// *min, *max = the smallest and the largest of count numbers, NaN left out.
///
/// Ownership: x is the caller's. Threads: any.
/// Errors: GEMMILL_STATUS_BAD_NUMBER if there is nothing but NaN, or nothing; GEMMILL_STATUS_OUT_OF_RANGE for a
/// negative count; GEMMILL_STATUS_OVERFLOW; pointers.
///
/// # Safety
/// x has count elements; min and max point to a float each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_quantization_range(x: *const f32, count: i64, min: *mut f32, max: *mut f32) -> Status {
    entry!("gemmill_quantization_range", |c| {
        let x = c.elements("x", x, size("count", count)?)?;
        let (min, max) = (c.out("min", min)?, c.out("max", max)?);
        let nothing = || Failure::new(Status::BadNumber, "x: expected a number at least, given none but NaN");
        let range = quant::min_max(x).ok_or_else(nothing)?;
        min.set(range.0);
        max.set(range.1);
    })
}

/// q[i] = zero_point + rne(clamp(x[i] * (1 / scale), lo - zero_point, hi - zero_point)); NaN gives zero_point.
///
/// q_type: GEMMILL_TYPE_U8 or GEMMILL_TYPE_I8; lo to hi is its range. The scale is finite, above 0 and has a finite
/// reciprocal; zero_point is a value of the type. x and q may be null if count is 0, and lie apart from each other.
/// Ownership: both are the caller's. Threads: any.
/// Errors: GEMMILL_STATUS_BAD_NUMBER, GEMMILL_STATUS_OUT_OF_RANGE, GEMMILL_STATUS_UNSUPPORTED for other types,
/// GEMMILL_STATUS_OVERFLOW, GEMMILL_STATUS_OVERLAP; pointers.
///
/// # Safety
/// x and q have count elements each; nobody writes to x's, or uses q's, meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_quantize(
    q_type: i32, x: *const f32, count: i64, scale: f32, zero_point: i32, q: *mut c_void,
) -> Status {
    entry!("gemmill_quantize", |c| quantize(c, How::Multiply, q_type, (x, count), (scale, zero_point), q)?)
}

/// As gemmill_quantize, with x[i] / scale in place of x[i] * (1 / scale): ONNX's QuantizeLinear.
///
/// Everything else as gemmill_quantize.
///
/// # Safety
/// x and q have count elements each; nobody writes to x's, or uses q's, meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_quantize_by_division(
    q_type: i32, x: *const f32, count: i64, scale: f32, zero_point: i32, q: *mut c_void,
) -> Status {
    entry!("gemmill_quantize_by_division", |c| quantize(c, How::Divide, q_type, (x, count), (scale, zero_point), q)?)
}

/// How numbers become steps of a scale.
#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    /// By its reciprocal.
    Multiply,
    Divide,
}

/// Asks for: [`Caller::elements`] for x, [`Caller::elements_mut`] for q.
fn quantize(
    c: Caller<'_>, how: How, q_type: i32, (x, count): (*const f32, i64), (scale, zero_point): (f32, i32),
    q: *mut c_void,
) -> Outcome {
    let count = size("count", count)?;
    let x_at = Footprint::array("x", x, count)?;
    with_type!(Type::of("type", q_type)?, T in [U8 I8] => {
        let (params, q) = (QuantParams::<T>::new(scale, zero_point)?, q.cast::<T>());
        check_apart(&Footprint::array("q", q, count)?, &x_at)?;
        let (x, q) = (c.elements("x", x, count)?, c.elements_mut("q", q, count)?);
        match how {
            How::Multiply => params.quantize(x, q)?,
            How::Divide => params.quantize_by_division(x, q)?,
        }
    }, else not_bytes()?);
    Ok(())
}

/// x[i] = scale * (q[i] - zero_point).
///
/// q_type: GEMMILL_TYPE_U8 or GEMMILL_TYPE_I8. Everything else as gemmill_quantize.
///
/// # Safety
/// q and x have count elements each; nobody writes to q's, or uses x's, meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_dequantize(
    q_type: i32, q: *const c_void, count: i64, scale: f32, zero_point: i32, x: *mut f32,
) -> Status {
    entry!("gemmill_dequantize", |c| {
        let count = size("count", count)?;
        with_type!(Type::of("type", q_type)?, T in [U8 I8] => {
            let (params, q) = (QuantParams::<T>::new(scale, zero_point)?, q.cast::<T>());
            check_apart(&Footprint::array("x", x, count)?, &Footprint::array("q", q, count)?)?;
            params.dequantize(c.elements("q", q, count)?, c.elements_mut("x", x, count)?)?
        }, else not_bytes()?)
    })
}

/// q[k * n + j] = rne(clamp(w * (1 / scales[j]), -127, 127)), w = weights[k * row_stride + j * col_stride],
/// scales[j] = max over k of |w| / 127: weights as i8, each column by a scale of its own.
///
/// Shapes: weights is k x n, q k x n and row-major, scales has n elements. A column of zeros gets the scale 1. Strides
/// count elements. q and scales lie apart from each other and from the weights. Ownership: all memory is the caller's.
/// Threads: any.
/// Errors: GEMMILL_STATUS_BAD_NUMBER if a weight is not finite, GEMMILL_STATUS_OUT_OF_RANGE for negative sizes and
/// strides,
/// GEMMILL_STATUS_OVERFLOW, GEMMILL_STATUS_OVERLAP; pointers.
///
/// # Safety
/// weights, q and scales have the elements that sizes and strides reach; nobody writes to the weights', or uses those
/// of q and scales, meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_quantize_weights_per_column(
    weights: *const f32, k: i64, n: i64, row_stride: i64, col_stride: i64, q: *mut i8, scales: *mut f32,
) -> Status {
    entry!("gemmill_quantize_weights_per_column", |c| {
        let places = QuantizedWeights { q, scales, count: size("n", n)? };
        let weights = Matrix::weights("weights", (ElementType::F32, weights.cast()), (k, n), (row_stride, col_stride))?;
        places.set(c, &weights, quant::symmetric_per_column)?
    })
}

/// q[k * n + j] = rne(clamp(w * (1 / *scale), -127, 127)), w = weights[k * row_stride + j * col_stride],
/// *scale = max of |w| / 127: weights as i8, by one scale for all.
///
/// Everything else as gemmill_quantize_weights_per_column.
///
/// # Safety
/// weights and q have the elements that sizes and strides reach; nobody writes to the weights', or uses those of q,
/// meanwhile; scale points to a float.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_quantize_weights_per_tensor(
    weights: *const f32, k: i64, n: i64, row_stride: i64, col_stride: i64, q: *mut i8, scale: *mut f32,
) -> Status {
    entry!("gemmill_quantize_weights_per_tensor", |c| {
        let places = QuantizedWeights { q, scales: scale, count: 1 };
        let weights = Matrix::weights("weights", (ElementType::F32, weights.cast()), (k, n), (row_stride, col_stride))?;
        places.set(c, &weights, |weights| {
            let (quantized, scale) = quant::symmetric_per_tensor(weights)?;
            Ok((quantized, vec![scale]))
        })?
    })
}

/// Places for quantized weights and so many scales, as C gives them.
struct QuantizedWeights {
    q: *mut i8,
    scales: *mut f32,
    count: usize,
}

impl QuantizedWeights {
    /// Asks for: [`Caller::matrix`] and [`Caller::elements_mut`].
    fn set(
        self, caller: Caller<'_>, weights: &Matrix<'_>,
        quantize: impl FnOnce(MatRef<'_, f32>) -> gemmill::Result<(Vec<i8>, Vec<f32>)>,
    ) -> Outcome {
        let q_count = weights.rows.checked_mul(weights.cols).ok_or_else(|| overflow("q"))?;
        let weights_at = weights.footprint()?;
        let q_at = Footprint::array("q", self.q, q_count)?;
        let scales_at = Footprint::array("scales", self.scales, self.count)?;
        check_apart(&q_at, &weights_at)?;
        check_apart(&scales_at, &weights_at)?;
        check_apart(&q_at, &scales_at)?;
        let (quantized, found) = quantize(caller.matrix(weights)?)?;
        caller.write("q", self.q, &quantized)?;
        caller.write("scales", self.scales, &found)
    }
}
