//! Weights of 4 and 2 bits with a scale for every group of elements along K: made of f32, of parts or of bytes.

use std::sync::Arc;

use gemmill::half::bf16;
use gemmill::quant::{self, Bits, GroupSize, GroupwiseFormat, GroupwiseParts, ZeroPoints};
use gemmill::{ElementType, MatRef};

use crate::call::{Failure, Outcome};
use crate::caller::{Caller, create, entry};
use crate::codes::{Code, ZeroPointsCode};
use crate::memory::{Matrix, copied, overflow, size};
use crate::status::Status;

/// Weights of 4 or 2 bits with their scales, as they are quantized; gemmill_groupwise_packed is what products take.
/// They never change once they are made.
#[derive(Debug, PartialEq)]
pub struct GroupwiseWeights {
    pub(crate) quantized: Arc<quant::GroupwiseWeights>,
}

impl GroupwiseWeights {
    fn new(quantized: quant::GroupwiseWeights) -> GroupwiseWeights {
        GroupwiseWeights { quantized: Arc::new(quantized) }
    }
}

/// A format as C gives it.
fn format(bits: i32, group_size: i32, zero_points: i32) -> Outcome<GroupwiseFormat> {
    let refused = |what: &str, given: i32| Failure::new(Status::OutOfRange, format!("{what}, given {given}"));
    let bits = match bits {
        2 => Bits::Two,
        4 => Bits::Four,
        given => return Err(refused("bits of a weight: expected 2 or 4", given)),
    };
    let group_size = match group_size {
        32 => GroupSize::G32,
        64 => GroupSize::G64,
        128 => GroupSize::G128,
        given => return Err(refused("group size: expected 32, 64 or 128", given)),
    };
    Ok(GroupwiseFormat { bits, group_size, zero_points: ZeroPointsCode::of("zero points", zero_points)? })
}

/// Sets the places for bits, group size and zero points. Asks for: [`Caller::out`], for each of them.
pub(crate) fn set_format(caller: Caller<'_>, format: GroupwiseFormat, places: [*mut i32; 3]) -> Outcome {
    let [bits, group_size, zero_points] = places;
    let (bits, group_size) = (caller.out("bits", bits)?, caller.out("group size", group_size)?);
    let place = caller.out("zero points", zero_points)?;
    bits.set(format.bits.count() as i32);
    group_size.set(format.group_size.elements() as i32);
    place.set(match format.zero_points {
        ZeroPoints::Middle => ZeroPointsCode::Middle,
        ZeroPoints::Each => ZeroPointsCode::Each,
    } as i32);
    Ok(())
}

/// The weights that `quantize` makes of `b`. Asks for: [`Caller::matrix`].
fn quantized(
    caller: Caller<'_>, b: impl FnOnce() -> Outcome<Matrix<'static>>, format: Outcome<GroupwiseFormat>,
    quantize: impl FnOnce(MatRef<'_, f32>, GroupwiseFormat) -> gemmill::Result<quant::GroupwiseWeights>,
) -> Outcome<GroupwiseWeights> {
    let format = format?;
    let b = caller.matrix::<f32>(&b()?)?;
    Ok(GroupwiseWeights::new(quantize(b, format)?))
}

/// *weights = B in few bits, each group of each column by the scale that just covers it, rounded to bf16:
/// q[k][j] = zero_point[g][j] + rne(clamp(B[k][j] / scale[g][j], -zero_point[g][j], highest - zero_point[g][j])), g = k
/// / group_size.
///
/// B[k][j] is b[k * row_stride + j * col_stride], for K rows and N columns; strides count elements. bits: 4 or 2,
/// highest is 15 or 3. group_size: 32, 64 or 128; the last group of a column may be shorter. zero_points: a
/// gemmill_zero_points. b may be null if K or N is 0. Ownership: b is copied; the handle is the caller's, to be given
/// back to gemmill_groupwise_weights_destroy; null after a failure. Threads: any; groups are shared out among the
/// threads of the library's pool.
/// Errors: GEMMILL_STATUS_BAD_NUMBER if a weight is NaN, infinite or larger than 2^127 in magnitude,
/// GEMMILL_STATUS_OUT_OF_RANGE for negative sizes and strides and for other bits, group sizes and codes,
/// GEMMILL_STATUS_OVERFLOW, GEMMILL_STATUS_OUT_OF_MEMORY; pointers.
///
/// # Safety
/// b has the elements that sizes and strides reach; weights points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_weights_round_to_nearest(
    b: *const f32, k: i64, n: i64, row_stride: i64, col_stride: i64, bits: i32, group_size: i32, zero_points: i32,
    weights: *mut *mut GroupwiseWeights,
) -> Status {
    entry!("gemmill_groupwise_weights_round_to_nearest", |c| {
        let b = || Matrix::weights("b", (ElementType::F32, b.cast()), (k, n), (row_stride, col_stride));
        let format = format(bits, group_size, zero_points);
        c.create(weights, || quantized(c, b, format, quant::GroupwiseWeights::round_to_nearest))?
    })
}

/// *weights = B in few bits, with the scales and zero points of those that are tried that give the least
/// sum over k in g of importance[k] * (B[k][j] - B'[k][j])^2 in each group g of each column j.
///
/// The error is never larger than that of gemmill_groupwise_weights_round_to_nearest, whose scale is among them.
/// importance: K numbers, at least 0, for example the mean squares of the activations that meet the rows; null and a
/// count of 0 for 1 everywhere.
/// Errors: also GEMMILL_STATUS_MISMATCH for another count, GEMMILL_STATUS_BAD_NUMBER for an importance that is negative
/// or not finite. Everything else as gemmill_groupwise_weights_round_to_nearest.
///
/// # Safety
/// b has the elements that sizes and strides reach, importance count elements; weights points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_weights_search(
    b: *const f32, k: i64, n: i64, row_stride: i64, col_stride: i64, bits: i32, group_size: i32, zero_points: i32,
    importance: *const f32, count: i64, weights: *mut *mut GroupwiseWeights,
) -> Status {
    create!("gemmill_groupwise_weights_search", weights, |c| {
        let b = || Matrix::weights("b", (ElementType::F32, b.cast()), (k, n), (row_stride, col_stride));
        let format = format(bits, group_size, zero_points);
        let importance = if importance.is_null() && count == 0 {
            None
        } else {
            Some(c.elements("importance", importance, size("count", count)?)?)
        };
        quantized(c, b, format, |b, format| quant::GroupwiseWeights::search(b, format, importance))
    })
}

/// *weights = weights that were quantized elsewhere: B[k][j] = scale[g][j] * (values[k][j] - zero_point[g][j]), g = k /
/// group_size.
///
/// values: K x N, one in a byte, row after row. scales: ceil(K / group_size) x N numbers of bfloat16, all groups of the
/// first rows first. points: as many zero points in the same order with GEMMILL_ZERO_POINTS_EACH; otherwise null, and
/// the middle, 8 or 2, is meant. Arrays may be null where they have no elements. Ownership: arrays are copied; the
/// handle is the caller's, to be given back to gemmill_groupwise_weights_destroy; null after a failure. Threads: any.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE for a value or zero point above 15 or 3, for negative sizes, and for other bits,
/// group sizes and codes; GEMMILL_STATUS_BAD_NUMBER for a scale that is not above 0 or by which a weight could be
/// infinite;
/// GEMMILL_STATUS_MISMATCH for zero points without GEMMILL_ZERO_POINTS_EACH; GEMMILL_STATUS_OVERFLOW; pointers.
///
/// # Safety
/// values, scales and points have so many elements; weights points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_weights_from_parts(
    k: i64, n: i64, bits: i32, group_size: i32, zero_points: i32, values: *const u8, scales: *const u16,
    points: *const u8, weights: *mut *mut GroupwiseWeights,
) -> Status {
    create!("gemmill_groupwise_weights_from_parts", weights, |c| {
        let format = format(bits, group_size, zero_points)?;
        let (k, n) = (size("k", k)?, size("n", n)?);
        let overflow = || overflow("groupwise weights");
        let count = k.checked_mul(n).ok_or_else(overflow)?;
        let groups = format.groups(k).checked_mul(n).ok_or_else(overflow)?;
        let values = copied("values", c.elements("values", values, count)?)?;
        let scales = copied("scales", c.elements("scales", scales.cast::<bf16>(), groups)?)?;
        let zero_points = match (format.zero_points, points.is_null()) {
            (ZeroPoints::Each, _) => copied("zero points", c.elements("zero points", points, groups)?)?,
            (ZeroPoints::Middle, true) => Vec::new(),
            (ZeroPoints::Middle, false) => {
                let what = "zero points: expected null, for all are the middle, given a pointer";
                return Err(Failure::new(Status::Mismatch, what));
            }
        };
        let parts = GroupwiseParts { k, n, format, values, scales, zero_points };
        Ok(GroupwiseWeights::new(quant::GroupwiseWeights::from_parts(parts)?))
    })
}

/// *weights = the weights that gemmill_groupwise_weights_to_bytes wrote, on this CPU or another.
///
/// Ownership: bytes are not kept; the handle is the caller's; null after a failure. Threads: any.
/// Errors: GEMMILL_STATUS_BAD_DATA for bytes that are not what was written, and all of
/// gemmill_groupwise_weights_from_parts for content that could not have been; GEMMILL_STATUS_OUT_OF_RANGE for a
/// negative count, GEMMILL_STATUS_OVERFLOW; pointers.
///
/// # Safety
/// bytes has count bytes; weights points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_weights_from_bytes(
    bytes: *const u8, count: i64, weights: *mut *mut GroupwiseWeights,
) -> Status {
    create!("gemmill_groupwise_weights_from_bytes", weights, |c| {
        let bytes = c.elements("bytes", bytes, size("count", count)?)?;
        Ok(GroupwiseWeights::new(quant::GroupwiseWeights::from_bytes(bytes)?))
    })
}

/// buffer = the weights with scales and zero points as bytes, for gemmill_groupwise_weights_from_bytes on any CPU.
///
/// *length = how many; it is set even if the buffer is too small. The format has a version and a checksum. buffer may
/// be null if capacity is 0. Ownership: the buffer is the caller's. Threads: any.
/// Errors: GEMMILL_STATUS_TOO_SMALL, GEMMILL_STATUS_OUT_OF_RANGE for a negative capacity, GEMMILL_STATUS_OVERFLOW;
/// pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; buffer has capacity bytes; length points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_weights_to_bytes(
    weights: *const GroupwiseWeights, buffer: *mut u8, capacity: i64, length: *mut i64,
) -> Status {
    entry!("gemmill_groupwise_weights_to_bytes", |c| {
        let (weights, buffer) = (c.object(weights)?, c.buffer(buffer, capacity, length)?);
        buffer.set(&weights.quantized.try_to_bytes()?)?
    })
}

/// Gives a handle back; null is nothing. What was packed of it goes on.
///
/// Threads: no other may use the handle meanwhile or later. Errors: GEMMILL_STATUS_MISALIGNED.
///
/// # Safety
/// weights is a handle or null, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_weights_destroy(weights: *mut GroupwiseWeights) -> Status {
    entry!("gemmill_groupwise_weights_destroy", |c| c.destroy(weights)?)
}

/// *value = K, the rows of B.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; value points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_weights_k(weights: *const GroupwiseWeights, value: *mut i64) -> Status {
    entry!("gemmill_groupwise_weights_k", |c| c.count(weights, value, |w| w.quantized.k())?)
}

/// *value = N, the columns of B.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; value points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_weights_n(weights: *const GroupwiseWeights, value: *mut i64) -> Status {
    entry!("gemmill_groupwise_weights_n", |c| c.count(weights, value, |w| w.quantized.n())?)
}

/// *bits, *group_size, *zero_points = the format: 4 or 2; 32, 64 or 128; a gemmill_zero_points.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; bits, group_size and zero_points point to an int32_t each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_weights_format(
    weights: *const GroupwiseWeights, bits: *mut i32, group_size: *mut i32, zero_points: *mut i32,
) -> Status {
    entry!("gemmill_groupwise_weights_format", |c| {
        set_format(c, c.object(weights)?.quantized.format(), [bits, group_size, zero_points])?
    })
}

/// *value = 1 if both have the same format, values, scales and zero points, 0 if not.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// weights and other are handles that are not destroyed meanwhile; value points to an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_weights_equal(
    weights: *const GroupwiseWeights, other: *const GroupwiseWeights, value: *mut i32,
) -> Status {
    entry!("gemmill_groupwise_weights_equal", |c| c.equal(weights, other, value)?)
}

/// buffer = the stored weights, K x N, one in a byte, row after row.
///
/// *count = how many; it is set even if the buffer is too small. buffer may be null if capacity is 0. Ownership: the
/// buffer is the caller's. Threads: any.
/// Errors: GEMMILL_STATUS_TOO_SMALL, GEMMILL_STATUS_OUT_OF_RANGE for a negative capacity, GEMMILL_STATUS_OVERFLOW;
/// pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; buffer has capacity bytes; count points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_weights_values(
    weights: *const GroupwiseWeights, buffer: *mut u8, capacity: i64, count: *mut i64,
) -> Status {
    entry!("gemmill_groupwise_weights_values", |c| {
        let (weights, buffer) = (c.object(weights)?, c.buffer(buffer, capacity, count)?);
        buffer.set(weights.quantized.values())?
    })
}

/// buffer = the scales, ceil(K / group size) x N numbers of bfloat16, all groups of the first rows first.
///
/// Everything else as gemmill_groupwise_weights_values; capacity counts elements.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; buffer has capacity elements; count points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_weights_scales(
    weights: *const GroupwiseWeights, buffer: *mut u16, capacity: i64, count: *mut i64,
) -> Status {
    entry!("gemmill_groupwise_weights_scales", |c| {
        let (weights, buffer) = (c.object(weights)?, c.buffer::<bf16>(buffer.cast(), capacity, count)?);
        buffer.set(weights.quantized.scales())?
    })
}

/// buffer = the zero points, ceil(K / group size) x N, all groups of the first rows first; none where all are the
/// middle.
///
/// Everything else as gemmill_groupwise_weights_values.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; buffer has capacity bytes; count points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_weights_zero_points(
    weights: *const GroupwiseWeights, buffer: *mut u8, capacity: i64, count: *mut i64,
) -> Status {
    entry!("gemmill_groupwise_weights_zero_points", |c| {
        let (weights, buffer) = (c.object(weights)?, c.buffer(buffer, capacity, count)?);
        buffer.set(weights.quantized.zero_points().unwrap_or_default())?
    })
}

/// b[k * row_stride + j] = scale[g][j] * (q[k][j] - zero_point[g][j]), g = k / group size: the real weights, exactly.
///
/// row_stride counts elements. b may be null if K or N is 0. Ownership: b is the caller's. Threads: any.
/// Errors: GEMMILL_STATUS_OVERLAP if row_stride is below N, GEMMILL_STATUS_OUT_OF_RANGE, GEMMILL_STATUS_OVERFLOW;
/// pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; b has the elements that K, N and row_stride reach, and nobody
/// else uses them meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_weights_dequantize(
    weights: *const GroupwiseWeights, b: *mut f32, row_stride: i64,
) -> Status {
    entry!("gemmill_groupwise_weights_dequantize", |c| {
        let weights = &c.object(weights)?.quantized;
        let b = Matrix::output("b", (ElementType::F32, b.cast()), (weights.k(), weights.n()), row_stride);
        weights.dequantize(&mut c.matrix_mut(&b)?)?
    })
}

/// *largest, *mean_squared = how far the weights lie from B: the largest |B[k][j] - B'[k][j]|, and the mean of their
/// squares.
///
/// B[k][j] is b[k * row_stride + j * col_stride], for as many rows and columns as the weights have. Ownership: b is the
/// caller's.
/// Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for negative strides, GEMMILL_STATUS_OVERFLOW; pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; b has the elements that K, N and strides reach; largest and
/// mean_squared point to a double each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_weights_error(
    weights: *const GroupwiseWeights, b: *const f32, row_stride: i64, col_stride: i64, largest: *mut f64,
    mean_squared: *mut f64,
) -> Status {
    entry!("gemmill_groupwise_weights_error", |c| {
        let weights = &c.object(weights)?.quantized;
        let (largest, mean) = (c.out("largest", largest)?, c.out("mean squared", mean_squared)?);
        let b = (ElementType::F32, b.cast());
        let b = Matrix::input("b", b, (weights.k(), weights.n()), (row_stride, col_stride));
        let error = weights.error(c.matrix(&b)?)?;
        largest.set(error.max);
        mean.set(error.mean_squared);
    })
}
