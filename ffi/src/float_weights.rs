//! Packed floating-point weights, and how they are packed.

use std::ffi::c_void;
use std::sync::Mutex;

use gemmill::{ElementType, Float, FloatType, MatRef, PackedFloat, Threads};

use crate::call::{Outcome, unpoisoned};
use crate::caller::{collects, create, entry, set};
use crate::codes::{Code, ThreadsCode, Type, with_type};
use crate::memory::{Matrix, size};
use crate::status::Status;

/// How floating-point weights are packed: their type, a factor, whether they saturate.
#[derive(Debug, Default)]
pub struct FloatPacking {
    settings: Mutex<Settings>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    stored: Option<FloatType>,
    alpha: f32,
    saturating: bool,
    threads: Threads,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { stored: None, alpha: 1.0, saturating: false, threads: Threads::Auto }
    }
}

collects!(FloatPacking: Settings, |packing| Ok(unpoisoned(packing.settings.lock())));

impl Settings {
    fn pack<T: Float>(&self, b: MatRef<'_, T>) -> Outcome<FloatWeights> {
        let &Settings { stored, alpha, saturating, threads } = self;
        let stored = stored.unwrap_or(T::FLOAT);
        let builder = PackedFloat::builder(b).store(stored).alpha(alpha).saturating(saturating).threads(threads);
        Ok(FloatWeights { packed: builder.build()? })
    }
}

/// *packing = new settings: weights keep their type, the factor is 1, they do not saturate.
///
/// Ownership: the caller's, to be given back to gemmill_float_packing_destroy; null after a failure. Threads: any.
/// Errors: pointers.
///
/// # Safety
/// packing points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_packing_create(packing: *mut *mut FloatPacking) -> Status {
    entry!("gemmill_float_packing_create", |c| c.create(packing, || Ok(FloatPacking::default()))?)
}

/// packed[k][j] = B[k][j], rounded to this type, to nearest, ties to even: GEMMILL_TYPE_F32, GEMMILL_TYPE_F16 or
/// GEMMILL_TYPE_BF16.
///
/// Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for codes that no type has, GEMMILL_STATUS_UNSUPPORTED for types
/// of integers; pointers.
///
/// # Safety
/// packing is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_packing_set_type(packing: *mut FloatPacking, packed_type: i32) -> Status {
    set!("gemmill_float_packing_set_type", packing.stored = Type::float("type", packed_type)?.float())
}

/// packed[k][j] = round(f32(alpha * B[k][j])): a factor that is folded into the weights.
///
/// That it is finite is checked when weights are packed. Threads: any. Errors: pointers.
///
/// # Safety
/// packing is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_packing_set_alpha(packing: *mut FloatPacking, alpha: f32) -> Status {
    set!("gemmill_float_packing_set_alpha", packing.alpha = alpha)
}

/// packed[k][j] = clamp(packed[k][j], -largest, largest), unless on is 0: what is beyond the type's largest number
/// (65504 for f16) becomes that number instead of infinity.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// packing is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_packing_set_saturating(packing: *mut FloatPacking, on: i32) -> Status {
    set!("gemmill_float_packing_set_saturating", packing.saturating = on != 0)
}

/// Whether the threads of the library's pool share the work of packing. The weights are the same.
///
/// how: a gemmill_threads. threads: 0 for GEMMILL_THREADS_AUTO, which holds until another is set; otherwise 1 or more.
/// With 1, the calling thread packs alone, and no pool is started; with more, all of the pool's threads may. Threads:
/// any.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE; pointers.
///
/// # Safety
/// packing is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_packing_set_threads(
    packing: *mut FloatPacking, how: i32, threads: i64,
) -> Status {
    set!("gemmill_float_packing_set_threads", packing.threads = ThreadsCode::threads(how, threads)?)
}

/// Gives the settings back; null is nothing. Weights that were packed with them stay.
///
/// Threads: no other may use the handle meanwhile or later. Errors: GEMMILL_STATUS_MISALIGNED.
///
/// # Safety
/// packing is a handle or null, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_packing_destroy(packing: *mut FloatPacking) -> Status {
    entry!("gemmill_float_packing_destroy", |c| c.destroy(packing)?)
}

/// Weights of f32, f16 or bf16 in the layout that kernels read. They never change once they are made, and serve every
/// tier.
#[derive(Debug, Clone, PartialEq)]
pub struct FloatWeights {
    pub(crate) packed: PackedFloat,
}

/// *weights = B, packed: element B[k][j] is b[k * row_stride + j * col_stride], for K rows and N columns.
///
/// b_type: GEMMILL_TYPE_F32, GEMMILL_TYPE_F16 or GEMMILL_TYPE_BF16. Strides count elements: row-major weights have (n,
/// 1), those of a layer that are stored by output, N x K, have (1, k). packing: settings, or null for the usual ones. b
/// may be null if K or N is 0. Ownership: b is copied; the handle is the caller's, to be given back to
/// gemmill_float_weights_destroy; null after a failure.
/// Threads: any; the handle may serve many at once. Unless gemmill_float_packing_set_threads says otherwise, the
/// library's pool takes part.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE for negative sizes and strides, GEMMILL_STATUS_OVERFLOW,
/// GEMMILL_STATUS_OUT_OF_MEMORY,
/// GEMMILL_STATUS_BAD_NUMBER for a factor that is not finite, GEMMILL_STATUS_UNSUPPORTED for types of integers;
/// pointers.
///
/// # Safety
/// b has the elements that sizes and strides reach; packing is a handle or null; weights points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_weights_create(
    b_type: i32, b: *const c_void, k: i64, n: i64, row_stride: i64, col_stride: i64, packing: *const FloatPacking,
    weights: *mut *mut FloatWeights,
) -> Status {
    create!("gemmill_float_weights_create", weights, |c| {
        let b = Matrix::weights("b", (Type::of("type", b_type)?, b), (k, n), (row_stride, col_stride))?;
        let settings = c.settings_or_default(packing)?;
        with_type!(b.element, T in [F32 F16 Bf16] => settings.pack(c.matrix::<T>(&b)?),
            else Err(Type::not_float("type", b.element)))
    })
}

/// *copy = another handle of the same weights, which are not copied.
///
/// Ownership: each handle is given back on its own; null after a failure. Threads: any. Errors: pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; copy points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_weights_share(
    weights: *const FloatWeights, copy: *mut *mut FloatWeights,
) -> Status {
    entry!("gemmill_float_weights_share", |c| c.share(weights, copy)?)
}

/// Gives a handle back; null is nothing. Operations that were created with it go on.
///
/// Threads: no other may use the handle meanwhile or later. Errors: GEMMILL_STATUS_MISALIGNED.
///
/// # Safety
/// weights is a handle or null, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_weights_destroy(weights: *mut FloatWeights) -> Status {
    entry!("gemmill_float_weights_destroy", |c| c.destroy(weights)?)
}

/// *value = K, the rows of B.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; value points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_weights_k(weights: *const FloatWeights, value: *mut i64) -> Status {
    entry!("gemmill_float_weights_k", |c| c.count(weights, value, |w| w.packed.k())?)
}

/// *value = N, the columns of B.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; value points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_weights_n(weights: *const FloatWeights, value: *mut i64) -> Status {
    entry!("gemmill_float_weights_n", |c| c.count(weights, value, |w| w.packed.n())?)
}

/// *value = the gemmill_type that the weights are packed as.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; value points to an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_weights_type(weights: *const FloatWeights, value: *mut i32) -> Status {
    entry!("gemmill_float_weights_type", |c| {
        let code = |stored| match stored {
            FloatType::F32 => Type::F32,
            FloatType::F16 => Type::F16,
            FloatType::Bf16 => Type::Bf16,
        };
        c.get(weights, value, |w| Ok(code(w.packed.stored()) as i32))?
    })
}

/// *value = bytes that the packed form takes.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; value points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_weights_size(weights: *const FloatWeights, value: *mut i64) -> Status {
    entry!("gemmill_float_weights_size", |c| c.count(weights, value, |w| w.packed.size_in_bytes())?)
}

/// *value = 1 if both pack the same numbers, bit by bit, as the same type, 0 if not.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// weights and other are handles that are not destroyed meanwhile; value points to an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_weights_equal(
    weights: *const FloatWeights, other: *const FloatWeights, value: *mut i32,
) -> Status {
    entry!("gemmill_float_weights_equal", |c| c.equal(weights, other, value)?)
}

/// b[k * row_stride + j] = f32(packed[k][j]): the weights as they are multiplied.
///
/// row_stride counts elements. b may be null if K or N is 0. Ownership: b is the caller's. Threads: any.
/// Errors: GEMMILL_STATUS_OVERLAP if row_stride is below N, GEMMILL_STATUS_OUT_OF_RANGE, GEMMILL_STATUS_OVERFLOW;
/// pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; b has the elements that K, N and row_stride reach, and nobody
/// else uses them meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_weights_unpack(
    weights: *const FloatWeights, b: *mut f32, row_stride: i64,
) -> Status {
    entry!("gemmill_float_weights_unpack", |c| {
        let packed = &c.object(weights)?.packed;
        let b = Matrix::output("b", (ElementType::F32, b.cast()), (packed.k(), packed.n()), row_stride);
        c.fill(&b, |k, j| packed.get(k, j).unwrap_or_default())?
    })
}

/// buffer = the weights and their type as bytes, for gemmill_float_weights_from_bytes on any CPU.
///
/// *length = how many: those of K * N weights, and few more. It is set even if the buffer is too small; asking with a
/// capacity of 0 and a null buffer takes as long as writing. The format has a version and a checksum. Ownership: the
/// buffer is the caller's.
/// Threads: any.
/// Errors: GEMMILL_STATUS_TOO_SMALL, GEMMILL_STATUS_OUT_OF_RANGE for a negative capacity, GEMMILL_STATUS_OVERFLOW;
/// pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; buffer has capacity bytes; length points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_weights_to_bytes(
    weights: *const FloatWeights, buffer: *mut u8, capacity: i64, length: *mut i64,
) -> Status {
    entry!("gemmill_float_weights_to_bytes", |c| {
        let (weights, buffer) = (c.object(weights)?, c.buffer(buffer, capacity, length)?);
        buffer.set(&weights.packed.try_to_bytes()?)?
    })
}

/// *weights = the weights that gemmill_float_weights_to_bytes wrote, on this CPU or another.
///
/// Ownership: bytes are not kept; the handle is the caller's; null after a failure. Threads: any; the calling thread
/// does all.
/// Errors: GEMMILL_STATUS_BAD_DATA and GEMMILL_STATUS_OUT_OF_RANGE for bytes that are not what was written,
/// GEMMILL_STATUS_OUT_OF_RANGE for a negative count, GEMMILL_STATUS_OVERFLOW; pointers.
///
/// # Safety
/// bytes has count bytes; weights points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_weights_from_bytes(
    bytes: *const u8, count: i64, weights: *mut *mut FloatWeights,
) -> Status {
    create!("gemmill_float_weights_from_bytes", weights, |c| {
        let bytes = c.elements("bytes", bytes, size("count", count)?)?;
        Ok(FloatWeights { packed: PackedFloat::from_bytes(bytes)? })
    })
}
