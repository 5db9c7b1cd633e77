//! The settings of a floating-point operation.

use gemmill::{FloatType, Function};

use super::{FloatGemm, Weights};
use crate::call::Failure;
use crate::caller::{entry, set};
use crate::codes::{Code, FunctionCode, HardwareDotCode, ThreadsCode, TierCode};
use crate::operation::optional_columns;
use crate::pool::Pool;
use crate::status::Status;

impl Weights {
    fn n(&self) -> usize {
        match self {
            Weights::Float(packed) => packed.n(),
            Weights::Expanded(packed) | Weights::Integer(packed) => packed.n(),
        }
    }

    /// Whether they are packed as bf16.
    fn are_bf16(&self) -> bool {
        matches!(self, Weights::Float(packed) if packed.stored() == FloatType::Bf16)
    }
}

/// x = beta == 0 ? 0 : beta * C[i][j] before the sum: with 0, C is not read.
///
/// That it is finite is checked by gemmill_float_gemm_prepare. Threads: any.
/// Errors: GEMMILL_STATUS_UNSUPPORTED for products with quantized activations; GEMMILL_STATUS_FROZEN after the first
/// run; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_set_beta(gemm: *mut FloatGemm, beta: f32) -> Status {
    entry!("gemmill_float_gemm_set_beta", |c| {
        let (gemm, mut settings) = c.change(gemm)?;
        if matches!(gemm.weights, Weights::Integer(_)) {
            return Err(Failure::unsupported("beta: products with quantized activations have none"));
        }
        settings.beta = beta;
    })
}

/// x = x + bias[j] after the sum; null and 0 for no bias.
///
/// count: N. Ownership: values are copied. Threads: any.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE for a negative count, GEMMILL_STATUS_MISMATCH for another one;
/// GEMMILL_STATUS_OVERFLOW;
/// GEMMILL_STATUS_FROZEN after the first run; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile; bias has count elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_set_bias(gemm: *mut FloatGemm, bias: *const f32, count: i64) -> Status {
    entry!("gemmill_float_gemm_set_bias", |c| {
        let (gemm, mut settings) = c.change(gemm)?;
        settings.bias = optional_columns(c, "bias", (bias, count), gemm.weights.n())?;
    })
}

/// f, what is stored of a sum: a gemmill_function. Replaces a clamp.
///
/// Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for another number; GEMMILL_STATUS_FROZEN after the first run;
/// pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_set_function(gemm: *mut FloatGemm, function: i32) -> Status {
    set!("gemmill_float_gemm_set_function", gemm.function = FunctionCode::of("function", function)?)
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
    set!("gemmill_float_gemm_set_clamp", gemm.function = Function::Clamp { low, high })
}

/// Has the CPU's own dot products of bf16 multiply, a gemmill_hardware_dot. They are faster, and round otherwise:
/// nothing has them without asking.
///
/// Weights must be packed as bf16; A is rounded to bf16 first, to nearest, ties to even. x is summed by groups of k
/// then, ascending, missing numbers of the last group being zero:
///
///   GEMMILL_HARDWARE_DOT_AVX512_BF16   2 k:   x = fma(a[1], b[1], x); x = fma(a[0], b[0], x)
///   GEMMILL_HARDWARE_DOT_AMX_BF16     32 k:   even = odd = 0
///                                             for p in 0..16: even = fma(a[2p], b[2p], even)
///                                                             odd = fma(a[2p+1], b[2p+1], odd)
///                                             x = x + (even + odd)
///
/// Each of these operations rounds to nearest, ties to even, takes subnormal numbers as zero, and gives zero for a
/// subnormal result. Bits depend on the instruction that is meant, and on nothing else;
/// gemmill_hardware_dot_error_bound has a bound. Whether CPU and tier have it is for gemmill_float_gemm_prepare to say.
/// GEMMILL_TIER_PORTABLE, if gemmill_float_gemm_set_tier names it, carries out either one on every CPU, slowly;
/// GEMMILL_HARDWARE_DOT_BEST never means that.
/// Threads: any. Errors: GEMMILL_STATUS_UNSUPPORTED for any but GEMMILL_HARDWARE_DOT_NONE with weights that are not
/// bf16;
/// GEMMILL_STATUS_OUT_OF_RANGE for another number; GEMMILL_STATUS_FROZEN after the first run; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_set_hardware_dot(gemm: *mut FloatGemm, dot: i32) -> Status {
    entry!("gemmill_float_gemm_set_hardware_dot", |c| {
        let (gemm, mut settings) = c.change(gemm)?;
        let dot = HardwareDotCode::of("dot", dot)?;
        if dot != HardwareDotCode::None && !gemm.weights.are_bf16() {
            return Err(Failure::unsupported("hardware dot products: expected weights that are packed as bf16"));
        }
        settings.hardware_dot = dot;
    })
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
    set!("gemmill_float_gemm_set_threads", gemm.execution.threads = ThreadsCode::threads(how, threads)?)
}

/// The tier of kernels, a gemmill_tier, instead of the best one. Its bits are the same.
///
/// Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE if no tier has this number; GEMMILL_STATUS_FROZEN after the first
/// run; pointers. (Whether this machine has it is for gemmill_float_gemm_prepare to say.)
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_set_tier(gemm: *mut FloatGemm, tier: i32) -> Status {
    set!("gemmill_float_gemm_set_tier", gemm.execution.tier = Some(TierCode::of("tier", tier)?))
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
    entry!("gemmill_float_gemm_set_pool", |c| c.settings(gemm)?.execution.set_pool(c, pool)?)
}
