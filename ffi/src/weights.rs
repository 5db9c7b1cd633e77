//! Packed weights.

use std::ffi::{c_char, c_void};

use gemmill::{PackedB, PerColumn};

use crate::call::{Failure, Outcome};
use crate::caller::{Caller, create, entry};
use crate::codes::{Code, Per, TierCode, Type, with_type};
use crate::memory::{Matrix, size};
use crate::packing::{Packing, Settings};
use crate::status::Status;

/// Weights in the layout that kernels read, with their zero points. They never change once they are made.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    pub(crate) packed: PackedB,
}

/// *weights = B, packed: element B[k][j] is b[k * row_stride + j * col_stride], for K rows and N columns.
///
/// b_type: GEMMILL_TYPE_I8 or GEMMILL_TYPE_U8. Strides count elements: row-major weights have (n, 1), those of a layer
/// that are stored by output, N x K, have (1, k). packing: settings, or null for the usual ones. b may be null if K or
/// N is 0.
/// Ownership: b is copied; the handle is the caller's, to be given back to gemmill_weights_destroy; null after a
/// failure.
/// Threads: any; the handle may serve many at once. Unless gemmill_packing_set_threads says otherwise, the library's
/// pool takes part from 2^18 weights on.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE for negative sizes and strides and for zero points, GEMMILL_STATUS_OVERFLOW,
/// GEMMILL_STATUS_OUT_OF_MEMORY, GEMMILL_STATUS_GROUPS, GEMMILL_STATUS_MISMATCH for the number of zero points,
/// GEMMILL_STATUS_UNSUPPORTED for other types, GEMMILL_STATUS_TIER; pointers.
///
/// # Safety
/// b has the elements that sizes and strides reach; packing is a handle or null; weights points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_weights_create(
    b_type: i32, b: *const c_void, k: i64, n: i64, row_stride: i64, col_stride: i64, packing: *const Packing,
    weights: *mut *mut Weights,
) -> Status {
    create!("gemmill_weights_create", weights, |c| {
        let b = Matrix::weights("b", (Type::of("type", b_type)?, b), (k, n), (row_stride, col_stride))?;
        Ok(Weights { packed: pack(c, &b, &c.settings_or_default(packing)?)? })
    })
}

/// Asks for: [`Caller::matrix`].
pub(crate) fn pack(caller: Caller<'_>, b: &Matrix<'_>, settings: &Settings) -> Outcome<PackedB> {
    with_type!(b.element, T in [U8 I8] => {
        let view = caller.matrix::<T>(b)?;
        settings.pack(PackedB::builder(view))
    }, else not_weights())
}

fn not_weights<T>() -> Outcome<T> {
    Err(Failure::unsupported("weights: expected the type i8 or u8"))
}

/// *repacked = the same weights with the same settings, packed for another tier, or once more for this one.
///
/// tier: a gemmill_tier. Ownership: the handle is the caller's; null after a failure. Threads: any.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE if no tier has this number, GEMMILL_STATUS_TIER if this machine lacks it;
/// pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; repacked points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_weights_repack(
    weights: *const Weights, tier: i32, repacked: *mut *mut Weights,
) -> Status {
    entry!("gemmill_weights_repack", |c| {
        let make = || {
            let packed = &c.object(weights)?.packed;
            Ok(Weights { packed: packed.repack(TierCode::of("tier", tier)?)? })
        };
        c.create_as("repacked", repacked, make)?
    })
}

/// *copy = another handle of the same weights, which are not copied.
///
/// Ownership: each handle is given back on its own; null after a failure. Threads: any. Errors: pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; copy points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_weights_share(weights: *const Weights, copy: *mut *mut Weights) -> Status {
    entry!("gemmill_weights_share", |c| c.share(weights, copy)?)
}

/// Gives a handle back; null is nothing. Operations that were created with it go on.
///
/// Threads: no other may use the handle meanwhile or later. Errors: GEMMILL_STATUS_MISALIGNED.
///
/// # Safety
/// weights is a handle or null, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_weights_destroy(weights: *mut Weights) -> Status {
    entry!("gemmill_weights_destroy", |c| c.destroy(weights)?)
}

/// *value = K, the rows of B.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; value points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_weights_k(weights: *const Weights, value: *mut i64) -> Status {
    entry!("gemmill_weights_k", |c| c.count(weights, value, |w| w.packed.k())?)
}

/// *value = N, the columns of B, of all groups together.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; value points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_weights_n(weights: *const Weights, value: *mut i64) -> Status {
    entry!("gemmill_weights_n", |c| c.count(weights, value, |w| w.packed.n())?)
}

/// *value = the number of groups.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; value points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_weights_groups(weights: *const Weights, value: *mut i64) -> Status {
    entry!("gemmill_weights_groups", |c| c.count(weights, value, |w| w.packed.groups())?)
}

/// *value = a bound of the sums of products with these weights, 255 * max over columns of max(p, q), with p and q the
/// sums of the positive and of the negative b - b_zp; or a larger bound from K alone where none can leave int32_t.
///
/// Where it exceeds 2^31 - 1, integer outputs wrap modulo 2^32 unless gemmill_gemm_set_refuse_wrapping refuses that;
/// floating-point outputs are exact. Threads: any. Errors: pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; value points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_weights_largest_sum(weights: *const Weights, value: *mut i64) -> Status {
    entry!("gemmill_weights_largest_sum", |c| {
        c.get(weights, value, |w| Ok(i64::try_from(w.packed.largest_sum()).unwrap_or(i64::MAX)))?
    })
}

/// *value = the type that was packed: GEMMILL_TYPE_I8 or GEMMILL_TYPE_U8.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; value points to an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_weights_type(weights: *const Weights, value: *mut i32) -> Status {
    entry!("gemmill_weights_type", |c| {
        let get = |w: &Weights| Ok(if w.packed.is_signed() { Type::I8 } else { Type::U8 } as i32);
        c.get(weights, value, get)?
    })
}

/// *value = the gemmill_tier that the weights were packed for.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; value points to an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_weights_tier(weights: *const Weights, value: *mut i32) -> Status {
    entry!("gemmill_weights_tier", |c| { c.get(weights, value, |w| Ok(TierCode::from_tier(w.packed.tier())? as i32))? })
}

/// *value = the largest u8 activation that products may have.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; value points to an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_weights_activation_max(weights: *const Weights, value: *mut i32) -> Status {
    entry!("gemmill_weights_activation_max", |c| c.get(weights, value, |w| Ok(w.packed.activation_max().into()))?)
}

/// *value = bytes that the packed form takes.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; value points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_weights_size(weights: *const Weights, value: *mut i64) -> Status {
    entry!("gemmill_weights_size", |c| c.count(weights, value, |w| w.packed.size_in_bytes())?)
}

/// *value = 1 if both pack the same weights with the same zero points, scales and settings, in the same layout, 0 if
/// not.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// weights and other are handles that are not destroyed meanwhile; value points to an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_weights_equal(
    weights: *const Weights, other: *const Weights, value: *mut i32,
) -> Status {
    entry!("gemmill_weights_equal", |c| c.equal(weights, other, value)?)
}

/// *per, buffer = the scales that came with the weights, as gemmill_packing_set_scales was given them.
///
/// *count = their number: 0 if none came, and *per is GEMMILL_PER_TENSOR then. It is set even if the buffer is too
/// small. buffer may be null if capacity, in floats, is 0. Ownership: the buffer is the caller's. Threads: any.
/// Errors: GEMMILL_STATUS_TOO_SMALL, GEMMILL_STATUS_OUT_OF_RANGE for a negative capacity, GEMMILL_STATUS_OVERFLOW;
/// pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; buffer has capacity floats; per points to an int32_t, count to
/// an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_weights_scales(
    weights: *const Weights, per: *mut i32, buffer: *mut f32, capacity: i64, count: *mut i64,
) -> Status {
    entry!("gemmill_weights_scales", |c| {
        let (weights, per) = (c.object(weights)?, c.out("per", per)?);
        let buffer = c.buffer(buffer, capacity, count)?;
        let one;
        let (code, scales) = match weights.packed.scales() {
            None => (Per::Tensor, &[][..]),
            Some(PerColumn::Tensor(scale)) => {
                one = [scale];
                (Per::Tensor, &one[..])
            }
            Some(PerColumn::Group(scales)) => (Per::Group, scales),
            Some(PerColumn::Column(scales)) => (Per::Column, scales),
        };
        buffer.set(scales)?;
        per.set(code as i32);
    })
}

/// buffer = the weights with their zero points, scales and settings as bytes, for gemmill_weights_from_bytes on any
/// CPU.
///
/// *length = how many: one for each weight, and few more. It is set even if the buffer is too small; asking with a
/// capacity of 0 and a null buffer takes as long as writing. The format has a version and a checksum. Ownership: the
/// buffer is the caller's.
/// Threads: any.
/// Errors: GEMMILL_STATUS_TOO_SMALL, GEMMILL_STATUS_OUT_OF_RANGE for a negative capacity, GEMMILL_STATUS_OVERFLOW;
/// pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; buffer has capacity bytes; length points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_weights_to_bytes(
    weights: *const Weights, buffer: *mut u8, capacity: i64, length: *mut i64,
) -> Status {
    entry!("gemmill_weights_to_bytes", |c| {
        let (weights, buffer) = (c.object(weights)?, c.buffer(buffer, capacity, length)?);
        buffer.set(&weights.packed.try_to_bytes()?)?
    })
}

/// *weights = the weights that gemmill_weights_to_bytes wrote, on this CPU or another, packed for this one.
///
/// packing: settings of which the tier and the threads are used, and nothing else may be set, or null for the best
/// tier. Whatever the bytes hold, the result is an error or weights whose products are exact. Ownership: bytes are not
/// kept; the handle is the caller's; null after a failure. Threads: any; as gemmill_weights_create.
/// Errors: GEMMILL_STATUS_BAD_DATA for bytes that are not what was written, and all of gemmill_weights_create for
/// content that could not have been packed; GEMMILL_STATUS_OUT_OF_RANGE for a negative count, GEMMILL_STATUS_OVERFLOW,
/// GEMMILL_STATUS_UNSUPPORTED for other settings, GEMMILL_STATUS_TIER; pointers.
///
/// # Safety
/// bytes has count bytes; packing is a handle or null; weights points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_weights_from_bytes(
    bytes: *const u8, count: i64, packing: *const Packing, weights: *mut *mut Weights,
) -> Status {
    create!("gemmill_weights_from_bytes", weights, |c| {
        let loader = PackedB::loader(c.elements("bytes", bytes, size("count", count)?)?);
        Ok(Weights { packed: c.settings_or_default(packing)?.load(loader)? })
    })
}

/// buffer = the share of each multiplication sequence that the weights were proven fit for, as a text such as "sum2
/// 100%".
///
/// *length = the length of the text, without the NUL that ends it; it is set even if the buffer is too small. buffer
/// may be null if capacity is 0. Ownership: the buffer is the caller's. Threads: any.
/// Errors: GEMMILL_STATUS_TOO_SMALL, GEMMILL_STATUS_OUT_OF_RANGE for a negative capacity; pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; buffer has capacity bytes; length points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_weights_sequences(
    weights: *const Weights, buffer: *mut c_char, capacity: i64, length: *mut i64,
) -> Status {
    entry!("gemmill_weights_sequences", |c| {
        let (weights, buffer) = (c.object(weights)?, c.buffer::<u8>(buffer.cast(), capacity, length)?);
        buffer.set_text(&weights.packed.sequences().to_string())?
    })
}

/// b[k * row_stride + j] = B[k][j]: the weights as they were before packing.
///
/// b_type: the type that was packed. Strides count elements. b may be null if K or N is 0. Ownership: b is the
/// caller's.
/// Threads: any.
/// Errors: GEMMILL_STATUS_UNSUPPORTED for another type, GEMMILL_STATUS_OVERLAP if row_stride is below N,
/// GEMMILL_STATUS_OUT_OF_RANGE, GEMMILL_STATUS_OVERFLOW; pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; b has the elements that K, N and row_stride reach, and nobody
/// else uses them meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_weights_unpack(
    weights: *const Weights, b_type: i32, b: *mut c_void, row_stride: i64,
) -> Status {
    entry!("gemmill_weights_unpack", |c| {
        let packed = &c.object(weights)?.packed;
        let b = Matrix::output("b", (Type::of("type", b_type)?, b), (packed.k(), packed.n()), row_stride);
        with_type!(b.element, T in [U8 I8] => packed.unpack(&mut c.matrix_mut::<T>(&b)?)?, else not_weights()?)
    })
}
