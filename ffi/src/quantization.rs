//! From f32 to 8-bit integers and back.

use std::ffi::c_void;

use gemmill::quant::{self, QuantElement};
use gemmill::{Choose, MatRef, QuantParams};

use crate::call::{Failure, Outcome, call};
use crate::codes::{Code, Type};
use crate::pointer::{Element, Input, Out, addresses, check_apart, elements, elements_mut, extent, size};
use crate::status::Status;

const BYTES: &str = "quantized elements: expected the type u8 or i8";

/// *scale, *zero_point = parameters that represent the real numbers min to max, extended to contain 0:
/// scale = (max - min) / 255, zero_point = the integer nearest to where 0 falls.
///
/// q_type: GEMMILL_TYPE_U8 or GEMMILL_TYPE_I8. preserve_sparsity, unless 0: a range with both signs is widened until 0 lies in
/// the middle of the integers. power_of_two, unless 0: the scale is raised to a power of two. A range of zero width gets the
/// scale 0.1; scales below 6.1e-5 are raised to it. Threads: any.
/// Errors: GEMMILL_STATUS_BAD_NUMBER if a bound is not finite or min > max, GEMMILL_STATUS_OUT_OF_RANGE and
/// GEMMILL_STATUS_UNSUPPORTED for other types; pointers.
///
/// # Safety
/// scale points to a float, zero_point to an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_quantization_choose(
    q_type: i32,
    min: f32,
    max: f32,
    preserve_sparsity: i32,
    power_of_two: i32,
    scale: *mut f32,
    zero_point: *mut i32,
) -> Status {
    fn choose<T: QuantElement>(min: f32, max: f32, how: Choose) -> Outcome<(f32, i32)> {
        let params = QuantParams::<T>::from_min_max(min, max, how)?;
        Ok((params.scale(), params.zero_point()))
    }
    call("gemmill_quantization_choose", || {
        // SAFETY: by this function's contract.
        let (scale, zero_point) = unsafe { (Out::new("scale", scale)?, Out::new("zero point", zero_point)?) };
        let how = Choose { preserve_sparsity: preserve_sparsity != 0, power_of_two: power_of_two != 0 };
        let chosen = match Type::of("type", q_type)? {
            Type::U8 => choose::<u8>(min, max, how),
            Type::I8 => choose::<i8>(min, max, how),
            Type::I32 | Type::F32 | Type::F16 | Type::Bf16 => Err(Failure::unsupported(BYTES)),
        }?;
        scale.set(chosen.0);
        zero_point.set(chosen.1);
        Ok(())
    })
}

/// *min, *max = the smallest and the largest of count numbers, NaN left out.
///
/// Ownership: x is the caller's. Threads: any.
/// Errors: GEMMILL_STATUS_BAD_NUMBER if there is nothing but NaN, or nothing; GEMMILL_STATUS_OUT_OF_RANGE for a negative
/// count; GEMMILL_STATUS_OVERFLOW; pointers.
///
/// # Safety
/// x has count elements; min and max point to a float each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_quantization_range(x: *const f32, count: i64, min: *mut f32, max: *mut f32) -> Status {
    call("gemmill_quantization_range", || {
        // SAFETY: by this function's contract.
        let x = unsafe { elements("x", x, size("count", count)?) }?;
        // SAFETY: as above.
        let (min, max) = unsafe { (Out::new("min", min)?, Out::new("max", max)?) };
        let nothing = || Failure::new(Status::BadNumber, "x: expected a number at least, given none but NaN");
        let range = quant::min_max(x).ok_or_else(nothing)?;
        min.set(range.0);
        max.set(range.1);
        Ok(())
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
    q_type: i32,
    x: *const f32,
    count: i64,
    scale: f32,
    zero_point: i32,
    q: *mut c_void,
) -> Status {
    /// # Safety
    /// As [`elements_mut`].
    unsafe fn quantize<T: QuantElement + Element>(x: &[f32], scale: f32, zero_point: i32, q: *mut c_void) -> Outcome {
        let params = QuantParams::<T>::new(scale, zero_point)?;
        check_apart(("q", &extent("q", q.cast::<T>(), x.len())?), ("x", &addresses(x)))?;
        // SAFETY: by this function's contract.
        let q = unsafe { elements_mut("q", q.cast::<T>(), x.len()) }?;
        Ok(params.quantize(x, q)?)
    }
    call("gemmill_quantize", || {
        // SAFETY: by this function's contract.
        let x = unsafe { elements("x", x, size("count", count)?) }?;
        // SAFETY: as above.
        unsafe {
            match Type::of("type", q_type)? {
                Type::U8 => quantize::<u8>(x, scale, zero_point, q),
                Type::I8 => quantize::<i8>(x, scale, zero_point, q),
                Type::I32 | Type::F32 | Type::F16 | Type::Bf16 => Err(Failure::unsupported(BYTES)),
            }
        }
    })
}

/// x[i] = scale * (q[i] - zero_point).
///
/// q_type: GEMMILL_TYPE_U8 or GEMMILL_TYPE_I8. Everything else as gemmill_quantize.
///
/// # Safety
/// q and x have count elements each; nobody writes to q's, or uses x's, meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_dequantize(
    q_type: i32,
    q: *const c_void,
    count: i64,
    scale: f32,
    zero_point: i32,
    x: *mut f32,
) -> Status {
    /// # Safety
    /// As [`elements`] and [`elements_mut`].
    unsafe fn dequantize<T: QuantElement + Element>(
        q: *const c_void,
        count: usize,
        (scale, zero_point): (f32, i32),
        x: *mut f32,
    ) -> Outcome {
        let params = QuantParams::<T>::new(scale, zero_point)?;
        check_apart(("x", &extent("x", x, count)?), ("q", &extent("q", q.cast::<T>(), count)?))?;
        // SAFETY: by this function's contract.
        let (q, x) = unsafe { (elements("q", q.cast::<T>(), count)?, elements_mut("x", x, count)?) };
        Ok(params.dequantize(q, x)?)
    }
    call("gemmill_dequantize", || {
        let count = size("count", count)?;
        // SAFETY: by this function's contract.
        unsafe {
            match Type::of("type", q_type)? {
                Type::U8 => dequantize::<u8>(q, count, (scale, zero_point), x),
                Type::I8 => dequantize::<i8>(q, count, (scale, zero_point), x),
                Type::I32 | Type::F32 | Type::F16 | Type::Bf16 => Err(Failure::unsupported(BYTES)),
            }
        }
    })
}

/// q[k * n + j] = rne(clamp(w * (1 / scales[j]), -127, 127)), w = weights[k * row_stride + j * col_stride],
/// scales[j] = max over k of |w| / 127: weights as i8, each column by a scale of its own.
///
/// Shapes: weights is k x n, q k x n and row-major, scales has n elements. A column of zeros gets the scale 1. Strides count
/// elements. q and scales lie apart from each other and from the weights. Ownership: all memory is the caller's. Threads: any.
/// Errors: GEMMILL_STATUS_BAD_NUMBER if a weight is not finite, GEMMILL_STATUS_OUT_OF_RANGE for negative sizes and strides,
/// GEMMILL_STATUS_OVERFLOW, GEMMILL_STATUS_OVERLAP; pointers.
///
/// # Safety
/// weights, q and scales have the elements that sizes and strides reach; nobody writes to the weights', or uses those of q and
/// scales, meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_quantize_weights_per_column(
    weights: *const f32,
    k: i64,
    n: i64,
    row_stride: i64,
    col_stride: i64,
    q: *mut i8,
    scales: *mut f32,
) -> Status {
    call("gemmill_quantize_weights_per_column", || {
        let given = WeightsToQuantize { weights, k, n, row_stride, col_stride, q, scales };
        // SAFETY: by this function's contract.
        unsafe { given.quantize(size("n", n)?, quant::symmetric_per_column) }
    })
}

/// q[k * n + j] = rne(clamp(w * (1 / *scale), -127, 127)), w = weights[k * row_stride + j * col_stride],
/// *scale = max of |w| / 127: weights as i8, by one scale for all.
///
/// Everything else as gemmill_quantize_weights_per_column.
///
/// # Safety
/// weights and q have the elements that sizes and strides reach; nobody writes to the weights', or uses those of q, meanwhile;
/// scale points to a float.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_quantize_weights_per_tensor(
    weights: *const f32,
    k: i64,
    n: i64,
    row_stride: i64,
    col_stride: i64,
    q: *mut i8,
    scale: *mut f32,
) -> Status {
    call("gemmill_quantize_weights_per_tensor", || {
        let given = WeightsToQuantize { weights, k, n, row_stride, col_stride, q, scales: scale };
        let quantize = |weights: MatRef<'_, f32>| {
            let (quantized, scale) = quant::symmetric_per_tensor(weights)?;
            Ok((quantized, vec![scale]))
        };
        // SAFETY: by this function's contract.
        unsafe { given.quantize(1, quantize) }
    })
}

/// Weights to quantize, and places for the result, as C gives them.
struct WeightsToQuantize {
    weights: *const f32,
    k: i64,
    n: i64,
    row_stride: i64,
    col_stride: i64,
    q: *mut i8,
    scales: *mut f32,
}

impl WeightsToQuantize {
    /// # Safety
    /// As [`Input::view`] and [`elements_mut`], for so many scales.
    unsafe fn quantize(
        &self,
        scales: usize,
        quantize: impl FnOnce(MatRef<'_, f32>) -> gemmill::Result<(Vec<i8>, Vec<f32>)>,
    ) -> Outcome {
        let &WeightsToQuantize { row_stride, col_stride, .. } = self;
        let (rows, cols) = (size("k", self.k)?, size("n", self.n)?);
        let weights = Input { name: "weights", data: self.weights.cast(), rows, cols, row_stride, col_stride };
        let overflow = || Failure::new(Status::Overflow, "q: the size does not fit the address space");
        let count = rows.checked_mul(cols).ok_or_else(overflow)?;
        let at = weights.extent::<f32>()?;
        let q_at = extent("q", self.q, count)?;
        let scales_at = extent("scales", self.scales, scales)?;
        check_apart(("q", &q_at), ("weights", &at))?;
        check_apart(("scales", &scales_at), ("weights", &at))?;
        check_apart(("q", &q_at), ("scales", &scales_at))?;
        // SAFETY: by this function's contract; they were seen to be apart.
        let (q, scales) = unsafe { (elements_mut("q", self.q, count)?, elements_mut("scales", self.scales, scales)?) };
        // SAFETY: as above.
        let (quantized, found) = quantize(unsafe { weights.view() }?)?;
        q.copy_from_slice(&quantized);
        scales.copy_from_slice(&found);
        Ok(())
    }
}
