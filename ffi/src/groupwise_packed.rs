//! Weights of 4 and 2 bits in the layout that kernels read.

use gemmill::PackedGroupwise;

use crate::caller::{create, entry};
use crate::codes::ThreadsCode;
use crate::groupwise_weights::{GroupwiseWeights, set_format};
use crate::status::Status;

/// Weights of 4 or 2 bits in the layout that kernels read. They never change once they are made, and serve every tier.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupwisePacked {
    pub(crate) packed: PackedGroupwise,
}

/// *packed = the weights in the layout that kernels read: half or a quarter of a byte each, and their scales.
///
/// how: a gemmill_threads. threads: 0 for GEMMILL_THREADS_AUTO; otherwise 1 or more. With 1, the calling thread packs
/// alone, and no pool is started; with more, all threads of the library's pool may share the work. The result is the
/// same.
/// Ownership: weights are copied, and may be destroyed; the handle is the caller's, to be given back to
/// gemmill_groupwise_packed_destroy; null after a failure. Threads: any; the handle may serve many at once.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE for how and threads, GEMMILL_STATUS_OVERFLOW, GEMMILL_STATUS_OUT_OF_MEMORY;
/// pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; packed points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_packed_create(
    weights: *const GroupwiseWeights, how: i32, threads: i64, packed: *mut *mut GroupwisePacked,
) -> Status {
    create!("gemmill_groupwise_packed_create", packed, |c| {
        let threads = ThreadsCode::threads(how, threads)?;
        let weights = &c.object(weights)?.quantized;
        Ok(GroupwisePacked { packed: PackedGroupwise::with_threads(weights, threads)? })
    })
}

/// *copy = another handle of the same weights, which are not copied.
///
/// Ownership: each handle is given back on its own; null after a failure. Threads: any. Errors: pointers.
///
/// # Safety
/// packed is a handle that is not destroyed meanwhile; copy points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_packed_share(
    packed: *const GroupwisePacked, copy: *mut *mut GroupwisePacked,
) -> Status {
    entry!("gemmill_groupwise_packed_share", |c| c.share(packed, copy)?)
}

/// Gives a handle back; null is nothing. Operations that were created with it go on.
///
/// Threads: no other may use the handle meanwhile or later. Errors: GEMMILL_STATUS_MISALIGNED.
///
/// # Safety
/// packed is a handle or null, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_packed_destroy(packed: *mut GroupwisePacked) -> Status {
    entry!("gemmill_groupwise_packed_destroy", |c| c.destroy(packed)?)
}

/// *value = K, the rows of B.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// packed is a handle that is not destroyed meanwhile; value points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_packed_k(packed: *const GroupwisePacked, value: *mut i64) -> Status {
    entry!("gemmill_groupwise_packed_k", |c| c.count(packed, value, |p| p.packed.k())?)
}

/// *value = N, the columns of B.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// packed is a handle that is not destroyed meanwhile; value points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_packed_n(packed: *const GroupwisePacked, value: *mut i64) -> Status {
    entry!("gemmill_groupwise_packed_n", |c| c.count(packed, value, |p| p.packed.n())?)
}

/// *bits, *group_size, *zero_points = the format: 4 or 2; 32, 64 or 128; a gemmill_zero_points.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// packed is a handle that is not destroyed meanwhile; bits, group_size and zero_points point to an int32_t each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_packed_format(
    packed: *const GroupwisePacked, bits: *mut i32, group_size: *mut i32, zero_points: *mut i32,
) -> Status {
    entry!("gemmill_groupwise_packed_format", |c| {
        set_format(c, c.object(packed)?.packed.format(), [bits, group_size, zero_points])?
    })
}

/// *value = bytes that the packed form takes.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// packed is a handle that is not destroyed meanwhile; value points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_packed_size(packed: *const GroupwisePacked, value: *mut i64) -> Status {
    entry!("gemmill_groupwise_packed_size", |c| c.count(packed, value, |p| p.packed.size_in_bytes())?)
}

/// *value = 1 if both pack the same weights in the same format, 0 if not.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// packed and other are handles that are not destroyed meanwhile; value points to an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_groupwise_packed_equal(
    packed: *const GroupwisePacked, other: *const GroupwisePacked, value: *mut i32,
) -> Status {
    entry!("gemmill_groupwise_packed_equal", |c| c.equal(packed, other, value)?)
}
