//! The settings of an operation.

use std::sync::MutexGuard;

use gemmill::{ActivationQuantization, ElementType, QuantParams, Sums};

use super::{Bias, Gemm, Settings, limit};
use crate::call::{Failure, Outcome};
use crate::caller::{Caller, entry, set};
use crate::codes::{Code, ThreadsCode, TierCode, Values};
use crate::operation::optional_columns;
use crate::pool::Pool;
use crate::status::Status;

impl Gemm {
    /// Whether C is requantized.
    fn gives_bytes(&self) -> bool {
        matches!(self.types.c, ElementType::U8 | ElementType::I8)
    }

    /// Whether C is requantized or dequantized.
    fn is_scaled(&self) -> bool {
        self.types.c != ElementType::I32
    }

    /// Whether A is quantized inside the call.
    fn quantizes(&self) -> bool {
        self.types.a.float().is_some()
    }

    /// Whether C is dequantized.
    fn gives_floats(&self) -> bool {
        self.types.c.float().is_some()
    }
}

/// An operation that `fits`, and its settings, to be changed. Asks for: [`Caller::object`].
fn change<'a>(
    c: Caller<'a>, gemm: *mut Gemm, fits: impl FnOnce(&Gemm) -> bool, what: &str,
) -> Outcome<(&'a Gemm, MutexGuard<'a, Settings>)> {
    let (gemm, settings) = c.change(gemm)?;
    if fits(gemm) { Ok((gemm, settings)) } else { Err(Failure::unsupported(what)) }
}

/// As [`change`], the settings alone.
fn settings<'a>(
    c: Caller<'a>, gemm: *mut Gemm, fits: impl FnOnce(&Gemm) -> bool, what: &str,
) -> Outcome<MutexGuard<'a, Settings>> {
    change(c, gemm, fits, what).map(|(_, settings)| settings)
}

/// Parameters of the columns of the weights. Asks for: [`Caller::elements`].
fn columns(
    c: Caller<'_>, gemm: &Gemm, what: &'static str, per: i32, values: (*const f32, i64),
) -> Outcome<Option<Values<f32>>> {
    Values::given(c, what, per, values)?.expect(what, gemm.packed.groups(), gemm.packed.n()).map(Some)
}

/// Refuses what is no value of 8 bits of this type.
fn check_byte(of: ElementType, what: &str, given: i32) -> Outcome {
    if of == ElementType::I8 { limit::<i8>(what, given).map(drop) } else { limit::<u8>(what, given).map(drop) }
}

const QUANTIZATION: &str = "a quantization is for floating-point activations";
const SCALES: &str = "scales are for all outputs but i32";
const MULTIPLIERS: &str = "multipliers are for u8 and i8 outputs";

/// A_zp[i] = zero_point, in the range of A's type, for u8 and i8 activations.
///
/// Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE; GEMMILL_STATUS_UNSUPPORTED for floating-point activations;
/// GEMMILL_STATUS_FROZEN after the first run; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_set_a_zero_point(gemm: *mut Gemm, zero_point: i32) -> Status {
    entry!("gemmill_gemm_set_a_zero_point", |c| {
        let what = "floating-point activations take their zero point from their quantization";
        let (gemm, mut settings) = change(c, gemm, |gemm| !gemm.quantizes(), what)?;
        check_byte(gemm.types.a, "zero point of A", zero_point)?;
        settings.a_zero_point = zero_point;
    })
}

/// A becomes zero_point + rne(clamp(a * (1 / scale), -zero_point, 255 - zero_point)), for floating-point activations,
/// as f32; NaN becomes zero_point.
///
/// The scale is finite, above 0 and has a finite reciprocal; the zero point is 0 to 255. Threads: any.
/// Errors: GEMMILL_STATUS_BAD_NUMBER, GEMMILL_STATUS_OUT_OF_RANGE; GEMMILL_STATUS_UNSUPPORTED for other activations;
/// GEMMILL_STATUS_FROZEN after the first run; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_set_a_quantization(gemm: *mut Gemm, scale: f32, zero_point: i32) -> Status {
    entry!("gemmill_gemm_set_a_quantization", |c| {
        let mut settings = settings(c, gemm, Gemm::quantizes, QUANTIZATION)?;
        settings.a_quantization = Some(ActivationQuantization::Static(QuantParams::new(scale, zero_point)?));
    })
}

/// As gemmill_gemm_set_a_quantization, with a scale and a zero point for each row, from its smallest and largest
/// element as gemmill_quantization_choose gives them; for floating-point activations and outputs.
///
/// NaN is left out of the range; a row that holds an infinity is refused by the run. Threads: any. Errors:
/// GEMMILL_STATUS_UNSUPPORTED for other activations or outputs; GEMMILL_STATUS_FROZEN after the first run; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_set_a_quantization_per_row(gemm: *mut Gemm) -> Status {
    entry!("gemmill_gemm_set_a_quantization_per_row", |c| {
        let (gemm, mut settings) = change(c, gemm, Gemm::quantizes, QUANTIZATION)?;
        if !gemm.gives_floats() {
            return Err(Failure::unsupported("only floating-point outputs can take scales of rows into account"));
        }
        settings.a_quantization = Some(ActivationQuantization::DynamicPerRow);
    })
}

/// A_scale[i] = scale, for u8 and i8 activations: of floating-point outputs, and of u8 and i8 ones with an f32 bias.
///
/// The scale is finite, above 0 and has a finite reciprocal: checked by gemmill_gemm_prepare. Threads: any. Errors:
/// GEMMILL_STATUS_UNSUPPORTED for floating-point activations or i32 outputs; GEMMILL_STATUS_FROZEN after the first run;
/// pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_set_a_scale(gemm: *mut Gemm, scale: f32) -> Status {
    entry!("gemmill_gemm_set_a_scale", |c| {
        let what = "floating-point activations take their scale from their quantization";
        let (gemm, mut settings) = change(c, gemm, |gemm| !gemm.quantizes(), what)?;
        if !gemm.is_scaled() {
            return Err(Failure::unsupported(SCALES));
        }
        settings.a_scale = Some(scale);
    })
}

/// B_scale[j] = scale for all columns: of floating-point outputs, and of u8 and i8 ones with an f32 bias.
///
/// The scale is finite, above 0 and has a finite reciprocal: checked by gemmill_gemm_prepare. Threads: any.
/// Errors: GEMMILL_STATUS_UNSUPPORTED for i32 outputs; GEMMILL_STATUS_FROZEN after the first run; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_set_b_scale(gemm: *mut Gemm, scale: f32) -> Status {
    entry!("gemmill_gemm_set_b_scale", |c| {
        settings(c, gemm, Gemm::is_scaled, SCALES)?.b_scale = Some(Values::one(scale));
    })
}

/// B_scale[j] = scales[0], scales[group of j] or scales[j], as gemmill_gemm_set_b_scale.
///
/// per: a gemmill_per. count: 1, the number of groups, or N. Ownership: values are copied. Threads: any.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE for per and count; GEMMILL_STATUS_MISMATCH for another count;
/// GEMMILL_STATUS_UNSUPPORTED for i32 outputs; GEMMILL_STATUS_FROZEN after the first run; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile; scales has count elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_set_b_scales(
    gemm: *mut Gemm, per: i32, scales: *const f32, count: i64,
) -> Status {
    entry!("gemmill_gemm_set_b_scales", |c| {
        let (gemm, mut settings) = change(c, gemm, Gemm::is_scaled, SCALES)?;
        settings.b_scale = columns(c, gemm, "scales of B", per, (scales, count))?;
    })
}

/// multiplier[j] = multiplier for all columns, of u8 and i8 outputs: usually A_scale * B_scale / C_scale.
///
/// It is finite and above 0: checked by gemmill_gemm_prepare. Threads: any.
/// Errors: GEMMILL_STATUS_UNSUPPORTED for other outputs; GEMMILL_STATUS_FROZEN after the first run; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_set_multiplier(gemm: *mut Gemm, multiplier: f32) -> Status {
    entry!("gemmill_gemm_set_multiplier", |c| {
        settings(c, gemm, Gemm::gives_bytes, MULTIPLIERS)?.multiplier = Some(Values::one(multiplier));
    })
}

/// multiplier[j] = multipliers[0], multipliers[group of j] or multipliers[j], as gemmill_gemm_set_multiplier.
///
/// per: a gemmill_per. count: 1, the number of groups, or N. Ownership: values are copied. Threads: any.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE for per and count; GEMMILL_STATUS_MISMATCH for another count;
/// GEMMILL_STATUS_UNSUPPORTED for other outputs; GEMMILL_STATUS_FROZEN after the first run; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile; multipliers has count elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_set_multipliers(
    gemm: *mut Gemm, per: i32, multipliers: *const f32, count: i64,
) -> Status {
    entry!("gemmill_gemm_set_multipliers", |c| {
        let (gemm, mut settings) = change(c, gemm, Gemm::gives_bytes, MULTIPLIERS)?;
        settings.multiplier = columns(c, gemm, "multipliers", per, (multipliers, count))?;
    })
}

/// zp = zero_point, in the range of C's type, of u8 and i8 outputs.
///
/// Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE; GEMMILL_STATUS_UNSUPPORTED for other outputs;
/// GEMMILL_STATUS_FROZEN after the first run; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_set_c_zero_point(gemm: *mut Gemm, zero_point: i32) -> Status {
    entry!("gemmill_gemm_set_c_zero_point", |c| {
        let (gemm, mut settings) = change(c, gemm, Gemm::gives_bytes, "a zero point of C is for u8 and i8 outputs")?;
        check_byte(gemm.types.c, "zero point of C", zero_point)?;
        settings.c_zero_point = zero_point;
    })
}

/// bias[j] is added to the sums, modulo 2^32, of u8 and i8 outputs; null and 0 for no bias.
///
/// count: N. Replaces an f32 bias. Ownership: values are copied. Threads: any.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE for a negative count, GEMMILL_STATUS_MISMATCH for another one;
/// GEMMILL_STATUS_UNSUPPORTED for other outputs; GEMMILL_STATUS_FROZEN after the first run; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile; bias has count elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_set_bias_i32(gemm: *mut Gemm, bias: *const i32, count: i64) -> Status {
    entry!("gemmill_gemm_set_bias_i32", |c| {
        let (gemm, mut settings) = change(c, gemm, Gemm::gives_bytes, "an i32 bias is for u8 and i8 outputs")?;
        let bias = optional_columns(c, "i32 bias", (bias, count), gemm.packed.n())?;
        settings.bias = bias.map_or(Bias::None, Bias::Int);
    })
}

/// bias[j] is added to floating-point outputs; for u8 and i8 outputs, bias[j] / (A_scale * B_scale[j]), rounded to f32,
/// is added to f32(raw). Null and 0 for no bias.
///
/// count: N. Replaces an i32 bias. u8 and i8 outputs need scales of A and B then. Values are finite: checked by
/// gemmill_gemm_prepare. Ownership: values are copied. Threads: any.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE for a negative count, GEMMILL_STATUS_MISMATCH for another one;
/// GEMMILL_STATUS_UNSUPPORTED for i32 outputs; GEMMILL_STATUS_FROZEN after the first run; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile; bias has count elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_set_bias_f32(gemm: *mut Gemm, bias: *const f32, count: i64) -> Status {
    entry!("gemmill_gemm_set_bias_f32", |c| {
        let (gemm, mut settings) = change(c, gemm, Gemm::is_scaled, "an f32 bias is for all outputs but i32")?;
        let bias = optional_columns(c, "f32 bias", (bias, count), gemm.packed.n())?;
        settings.bias = bias.map_or(Bias::None, Bias::Float);
    })
}

/// lo = max(lo, zp) for u8 and i8 outputs, C = max(C, 0) for floating-point ones, unless on is 0.
///
/// Threads: any. Errors: GEMMILL_STATUS_UNSUPPORTED for i32 outputs; GEMMILL_STATUS_FROZEN after the first run;
/// pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_set_relu(gemm: *mut Gemm, on: i32) -> Status {
    entry!("gemmill_gemm_set_relu", |c| {
        settings(c, gemm, Gemm::is_scaled, "ReLU is for all outputs but i32")?.relu = on != 0;
    })
}

/// lo = low, hi = high, in the range of C's type, of u8 and i8 outputs.
///
/// Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE; GEMMILL_STATUS_UNSUPPORTED for other outputs;
/// GEMMILL_STATUS_FROZEN after the first run; pointers. (Whether low exceeds high, ReLU included, is for
/// gemmill_gemm_prepare to say.)
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_set_clamp_i32(gemm: *mut Gemm, low: i32, high: i32) -> Status {
    entry!("gemmill_gemm_set_clamp_i32", |c| {
        let (gemm, mut settings) = change(c, gemm, Gemm::gives_bytes, "integer limits are for u8 and i8 outputs")?;
        check_byte(gemm.types.c, "lower limit of C", low)?;
        check_byte(gemm.types.c, "upper limit of C", high)?;
        settings.int_clamp = Some((low, high));
    })
}

/// C = min(max(C, low), high), of floating-point outputs, before they are rounded; a NaN stays one.
///
/// Limits may be infinite, but not NaN, and low is at most high, ReLU included: checked by gemmill_gemm_prepare.
/// Threads: any. Errors: GEMMILL_STATUS_UNSUPPORTED for other outputs; GEMMILL_STATUS_FROZEN after the first run;
/// pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_set_clamp_f32(gemm: *mut Gemm, low: f32, high: f32) -> Status {
    entry!("gemmill_gemm_set_clamp_f32", |c| {
        let what = "f32 limits are for floating-point outputs";
        settings(c, gemm, Gemm::gives_floats, what)?.float_clamp = Some((low, high));
    })
}

/// C = C + raw, modulo 2^32, of i32 outputs, unless on is 0.
///
/// Threads: any. Errors: GEMMILL_STATUS_UNSUPPORTED for other outputs; GEMMILL_STATUS_FROZEN after the first run;
/// pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_set_accumulate(gemm: *mut Gemm, on: i32) -> Status {
    entry!("gemmill_gemm_set_accumulate", |c| {
        settings(c, gemm, |gemm| !gemm.is_scaled(), "accumulation is for i32 outputs")?.accumulate = on != 0;
    })
}

/// Unless refuse is 0, gemmill_gemm_prepare and the first run refuse integer outputs whose sums, i32 bias included, may
/// leave int32_t: see gemmill_weights_largest_sum. Otherwise these wrap modulo 2^32.
///
/// Threads: any. Errors: GEMMILL_STATUS_FROZEN after the first run; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_set_refuse_wrapping(gemm: *mut Gemm, refuse: i32) -> Status {
    set!("gemmill_gemm_set_refuse_wrapping", gemm.sums = if refuse != 0 { Sums::Refuse } else { Sums::Wrap })
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
pub unsafe extern "C" fn gemmill_gemm_set_threads(gemm: *mut Gemm, how: i32, threads: i64) -> Status {
    set!("gemmill_gemm_set_threads", gemm.execution.threads = ThreadsCode::threads(how, threads)?)
}

/// Insists on the tier that the weights were packed for: another one is refused by gemmill_gemm_prepare.
///
/// tier: a gemmill_tier. Threads: any.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE if no tier has this number; GEMMILL_STATUS_FROZEN after the first run; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_set_tier(gemm: *mut Gemm, tier: i32) -> Status {
    set!("gemmill_gemm_set_tier", gemm.execution.tier = Some(TierCode::of("tier", tier)?))
}

/// Products that use several threads use those of this pool; null for the library's own.
///
/// Ownership: the operation keeps the pool's threads until it is destroyed. Threads: any. Errors: GEMMILL_STATUS_FROZEN
/// after the first run; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile; pool is one or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_set_pool(gemm: *mut Gemm, pool: *const Pool) -> Status {
    entry!("gemmill_gemm_set_pool", |c| c.settings(gemm)?.execution.set_pool(c, pool)?)
}
