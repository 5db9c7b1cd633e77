//! Carrying out floating-point products.

use std::ffi::c_void;

use super::FloatGemm;
use crate::caller::entry;
use crate::codes::{HardwareDotCode, TierCode};
use crate::operation::Operands;
use crate::run_options::RunOptions;
use crate::status::Status;

/// Checks the settings and freezes them. The first run does so too; this tells of mistakes before.
///
/// After a failure, settings can still be changed. Threads: any, several at once as well.
/// Errors: GEMMILL_STATUS_BAD_NUMBER for limits that are none and for a beta that is not finite, GEMMILL_STATUS_TIER
/// for a tier that this machine lacks and for hardware dot products that the machine or the tier lacks; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_prepare(gemm: *const FloatGemm) -> Status {
    entry!("gemmill_float_gemm_prepare", |c| c.object(gemm)?.prepared().map(drop)?)
}

/// *value = the gemmill_tier of the operation's kernels.
///
/// Freezes the settings. Threads: any. Errors: those of gemmill_float_gemm_prepare; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile; value points to an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_tier(gemm: *const FloatGemm, value: *mut i32) -> Status {
    entry!("gemmill_float_gemm_tier", |c| {
        c.get(gemm, value, |gemm| Ok(TierCode::from_tier(gemm.prepared()?.gemm.tier())? as i32))?
    })
}

/// *value = the gemmill_hardware_dot that the operation uses: GEMMILL_HARDWARE_DOT_NONE, or an instruction by name.
///
/// Freezes the settings. Threads: any. Errors: those of gemmill_float_gemm_prepare; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile; value points to an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_hardware_dot(gemm: *const FloatGemm, value: *mut i32) -> Status {
    entry!("gemmill_float_gemm_hardware_dot", |c| {
        c.get(gemm, value, |gemm| Ok(HardwareDotCode::from_dot(gemm.prepared()?.dot) as i32))?
    })
}

/// C = f(A * B + beta * C + bias + residual), the formulas at gemmill_float_gemm_create and
/// gemmill_float_gemm_create_groupwise_a8: A[i][k] is a[i * a_row_stride + k * a_col_stride], C[i][j] is c[i *
/// c_row_stride + j].
///
/// Shapes: A is m x K, C is m x N; strides count elements and those of A may be 0 or make elements overlap. a and c
/// have the types that the operation was created with, may be null where they have no elements, and lie apart from each
/// other. What lies between the rows of C is not touched, and C is only read if beta is not 0. f32 activations whose
/// rows have their elements side by side are read where they lie, all others are packed first.
/// options: null, or a residual or threads of this run. Ownership: a and c are the caller's, and unused once the call
/// returns.
/// Threads: any, many at once with the same operation; each writes to its own C. After the first run of a size on a
/// thread, a floating-point product with one thread allocates no memory.
/// Errors: those of gemmill_float_gemm_prepare; GEMMILL_STATUS_OUT_OF_RANGE for negative m and strides;
/// GEMMILL_STATUS_OVERFLOW;
/// GEMMILL_STATUS_OVERLAP if rows of C overlap each other or C another operand; GEMMILL_STATUS_BAD_NUMBER if a row to
/// quantize holds an infinity; GEMMILL_STATUS_UNSUPPORTED for options that the operation has no use for;
/// GEMMILL_STATUS_MACHINE_CODE;
/// GEMMILL_STATUS_THREADS for threads of the caller's own that did not run all tasks and GEMMILL_STATUS_OUT_OF_MEMORY,
/// C being written in part; pointers. C is untouched after all others but GEMMILL_STATUS_INTERNAL.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile, options one or null; a and c have the elements that m, K, N and
/// strides reach; nobody writes to A's, or uses C's, meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_run(
    gemm: *const FloatGemm, m: i64, a: *const c_void, a_row_stride: i64, a_col_stride: i64, c: *mut c_void,
    c_row_stride: i64, options: *const RunOptions,
) -> Status {
    entry!("gemmill_float_gemm_run", |caller| {
        let (gemm, arrays) = (caller.object(gemm)?, caller.settings_or_default(options)?);
        let operands = Operands { types: gemm.types, m, a, a_row_stride, a_col_stride, c, c_row_stride };
        gemm.prepared()?.run(caller, operands, &arrays)?
    })
}
