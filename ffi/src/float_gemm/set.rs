//! The settings of a floating-point operation.

use gemmill::Function;

use super::{FloatGemm, Settings, Weights};
use crate::call::Failure;
use crate::codes::{Code, FunctionCode};
use crate::operation::{self, optional_columns, set};
use crate::pool::Pool;
use crate::status::Status;

impl Weights {
    fn n(&self) -> usize {
        match self {
            Weights::Float(packed) => packed.n(),
            Weights::Expanded(packed) | Weights::Integer(packed) => packed.n(),
        }
    }
}

/// x = beta == 0 ? 0 : beta * C[i][j] before the sum: with 0, C is not read.
///
/// That it is finite is checked by gemmill_float_gemm_prepare. Threads: any.
/// Errors: GEMMILL_STATUS_UNSUPPORTED for products with quantized activations; GEMMILL_STATUS_FROZEN after the first run; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_set_beta(gemm: *mut FloatGemm, beta: f32) -> Status {
    let change = |gemm: &FloatGemm, settings: &mut Settings| {
        if matches!(gemm.weights, Weights::Integer(_)) {
            return Err(Failure::unsupported("beta: products with quantized activations have none"));
        }
        settings.beta = beta;
        Ok(())
    };
    // SAFETY: by this function's contract.
    unsafe { set("gemmill_float_gemm_set_beta", gemm, change) }
}

/// x = x + bias[j] after the sum; null and 0 for no bias.
///
/// count: N. Ownership: values are copied. Threads: any.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE for a negative count, GEMMILL_STATUS_MISMATCH for another one; GEMMILL_STATUS_OVERFLOW;
/// GEMMILL_STATUS_FROZEN after the first run; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile; bias has count elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_set_bias(gemm: *mut FloatGemm, bias: *const f32, count: i64) -> Status {
    let change = |gemm: &FloatGemm, settings: &mut Settings| {
        // SAFETY: by this function's contract.
        settings.bias = unsafe { optional_columns("bias", (bias, count), gemm.weights.n()) }?;
        Ok(())
    };
    // SAFETY: by this function's contract.
    unsafe { set("gemmill_float_gemm_set_bias", gemm, change) }
}

/// f, what is stored of a sum: a gemmill_function. Replaces a clamp.
///
/// Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for another number; GEMMILL_STATUS_FROZEN after the first run; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_set_function(gemm: *mut FloatGemm, function: i32) -> Status {
    let change = |_: &FloatGemm, settings: &mut Settings| {
        settings.function = FunctionCode::of("function", function)?.function();
        Ok(())
    };
    // SAFETY: by this function's contract.
    unsafe { set("gemmill_float_gemm_set_function", gemm, change) }
}

/// f(x) = min(max(x, low), high); a NaN stays one. Replaces another function.
///
/// Limits may be infinite, but not NaN, and low is at most high: checked by gemmill_float_gemm_prepare. Threads: any.
/// Errors: GEMMILL_STATUS_FROZEN after the first run; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_set_clamp(gemm: *mut FloatGemm, low: f32, high: f32) -> Status {
    let change = |_: &FloatGemm, settings: &mut Settings| {
        settings.function = Function::Clamp { low, high };
        Ok(())
    };
    // SAFETY: by this function's contract.
    unsafe { set("gemmill_float_gemm_set_clamp", gemm, change) }
}

/// How many threads a product may use. Results are the same.
///
/// how: a gemmill_threads. threads: 0 for GEMMILL_THREADS_AUTO, which holds until another is set; otherwise 1 or more.
/// With 1, the calling thread does all, and many threads may each run products of their own. Threads: any. Errors:
/// GEMMILL_STATUS_OUT_OF_RANGE; GEMMILL_STATUS_FROZEN after the first run; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_set_threads(gemm: *mut FloatGemm, how: i32, threads: i64) -> Status {
    // SAFETY: by this function's contract.
    unsafe { operation::set_threads("gemmill_float_gemm_set_threads", gemm, how, threads) }
}

/// The tier of kernels, a gemmill_tier, instead of the best one. Its bits are the same.
///
/// Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE if no tier has this number; GEMMILL_STATUS_FROZEN after the first run;
/// pointers. (Whether this machine has it is for gemmill_float_gemm_prepare to say.)
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_set_tier(gemm: *mut FloatGemm, tier: i32) -> Status {
    // SAFETY: by this function's contract.
    unsafe { operation::set_tier("gemmill_float_gemm_set_tier", gemm, tier) }
}

/// Products that use several threads use those of this pool; null for the library's own.
///
/// Ownership: the operation keeps the pool's threads until it is destroyed. Threads: any. Errors: GEMMILL_STATUS_FROZEN
/// after the first run; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile; pool is one or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_set_pool(gemm: *mut FloatGemm, pool: *const Pool) -> Status {
    // SAFETY: by this function's contract.
    unsafe { operation::set_pool("gemmill_float_gemm_set_pool", gemm, pool) }
}
