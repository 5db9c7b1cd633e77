//! Hardware dot products: which the CPU has, and how far their sums may be off.

use std::ffi::{CStr, c_char};

use crate::call::{Failure, call, value};
use crate::caller::entry;
use crate::codes::{Code, HardwareDotCode, TierCode};
use crate::memory::size;
use crate::status::Status;

impl HardwareDotCode {
    const fn text(self) -> &'static CStr {
        match self {
            HardwareDotCode::None => c"none",
            HardwareDotCode::Best => c"best",
            HardwareDotCode::Avx512Bf16 => c"avx512-bf16",
            HardwareDotCode::AmxBf16 => c"amx-bf16",
        }
    }
}

/// "none", "best", "avx512-bf16" or "amx-bf16"; null for a number that no gemmill_hardware_dot has.
///
/// Ownership: the text is static. Threads: any. Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn gemmill_hardware_dot_name(dot: i32) -> *const c_char {
    let text = || HardwareDotCode::of("dot", dot).map_or(std::ptr::null(), |dot| dot.text().as_ptr());
    value(std::ptr::null(), text)
}

/// Whether kernels of a tier, a gemmill_tier, can have these hardware dot products on this machine: GEMMILL_STATUS_OK,
/// or
/// GEMMILL_STATUS_TIER and a message that names what is missing.
///
/// GEMMILL_TIER_PORTABLE carries out GEMMILL_HARDWARE_DOT_AVX512_BF16 and GEMMILL_HARDWARE_DOT_AMX_BF16 without the
/// instructions, slowly, on every machine. GEMMILL_HARDWARE_DOT_BEST asks for one of those of the CPU,
/// GEMMILL_HARDWARE_DOT_NONE for the tier alone. Threads: any.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE for numbers that enums do not have; GEMMILL_STATUS_TIER.
#[unsafe(no_mangle)]
pub extern "C" fn gemmill_hardware_dot_require(dot: i32, tier: i32) -> Status {
    call("gemmill_hardware_dot_require", || {
        let dot = HardwareDotCode::of("dot", dot)?;
        let tier = TierCode::of("tier", tier)?.require().map_err(gemmill::Error::from)?;
        match dot.resolve(Some(tier))? {
            Some(dot) => Ok(dot.require(tier).map_err(gemmill::Error::from)?),
            None => Ok(()),
        }
    })
}

/// *dot = the best hardware dot products that kernels of a tier, a gemmill_tier, can have on this machine: what
/// GEMMILL_HARDWARE_DOT_BEST stands for.
///
/// Threads: any. Errors: GEMMILL_STATUS_TIER if there are none, with what is missing for the plainest, or where this
/// CPU multiplies faster without them; the portable tier has none.
/// GEMMILL_STATUS_OUT_OF_RANGE if no tier has this number; pointers.
///
/// # Safety
/// dot points to an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_hardware_dot_best(tier: i32, dot: *mut i32) -> Status {
    entry!("gemmill_hardware_dot_best", |c| {
        let dot = c.out("dot", dot)?;
        let best = HardwareDotCode::Best.resolve(Some(TierCode::of("tier", tier)?))?;
        dot.set(HardwareDotCode::from_dot(best) as i32);
    })
}

/// *bound = how far a sum x of k products, and of what it begins with, is from that of exact numbers at most, unless a
/// partial sum overflows; before bias and residual are added.
///
/// magnitude: |beta C[i][j]| + sum over k of |A[i][k] B[k][j]|, with A rounded to bf16. Factors that are subnormal
/// count as zero on both sides. With u = 2^-24, r roundings on the way of any product into the sum and f results that
/// may become zero:
///
///   r u / (1 - r u) * magnitude + (1 + r u / (1 - r u)) * f * 2^-126
///   GEMMILL_HARDWARE_DOT_AVX512_BF16    r = 2 ceil(k / 2)       f = 2 ceil(k / 2) + 1
///   GEMMILL_HARDWARE_DOT_AMX_BF16       r = ceil(k / 32) + 17   f = 34 ceil(k / 32) + 1
///
/// Threads: any. Errors: GEMMILL_STATUS_UNSUPPORTED for dot that is none of these two, GEMMILL_STATUS_OUT_OF_RANGE for
/// a number that no gemmill_hardware_dot has and for a negative k, GEMMILL_STATUS_BAD_NUMBER for a magnitude that is
/// NaN or below 0; pointers.
///
/// # Safety
/// bound points to a double.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_hardware_dot_error_bound(dot: i32, k: i64, magnitude: f64, bound: *mut f64) -> Status {
    entry!("gemmill_hardware_dot_error_bound", |c| {
        let out = c.out("bound", bound)?;
        let Some(dot) = HardwareDotCode::of("dot", dot)?.named() else {
            return Err(Failure::unsupported("dot: expected avx512-bf16 or amx-bf16 by name"));
        };
        let k = size("k", k)?;
        if magnitude.is_nan() || magnitude < 0.0 {
            let message = format!("magnitude: expected a number of at least 0, given {magnitude}");
            return Err(Failure::new(Status::BadNumber, message));
        }
        out.set(dot.error_bound(k, magnitude));
    })
}

#[cfg(test)]
mod tests {
    use gemmill::HardwareDot;

    use super::*;

    #[test]
    fn instructions_have_the_library_s_names() {
        for dot in HardwareDot::ALL {
            assert_eq!(HardwareDotCode::from_dot(Some(dot)).text().to_str(), Ok(dot.name()));
        }
    }
}
