//! Versions and tiers.

use std::ffi::{CStr, CString, c_char};
use std::sync::OnceLock;

use gemmill::Tier;
use gemmill::kernel::set_kernel_limit;

use crate::call::{call, value};
use crate::caller::entry;
use crate::codes::{Code, TierCode};
use crate::memory::at_least_one;
use crate::status::Status;

/// First part of the version of this header.
pub const GEMMILL_VERSION_MAJOR: i32 = 0;
/// Second part of the version of this header.
pub const GEMMILL_VERSION_MINOR: i32 = 2;
/// Third part of the version of this header.
pub const GEMMILL_VERSION_PATCH: i32 = 0;

/// major * 1000000 + minor * 1000 + patch of the library that is running, which may be newer than the header.
///
/// Threads: any. Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn gemmill_version() -> i32 {
    GEMMILL_VERSION_MAJOR * 1_000_000 + GEMMILL_VERSION_MINOR * 1_000 + GEMMILL_VERSION_PATCH
}

/// "major.minor.patch" of the library that is running.
///
/// Ownership: the text is static. Threads: any. Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn gemmill_version_text() -> *const c_char {
    const TEXT: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    TEXT.as_ptr().cast()
}

/// *tier = the best tier that this machine runs, or the one that the environment variable GEMMILL_TIER names: what
/// packing uses if no tier is set.
///
/// The environment is read once, by the first call that needs it. Threads: any.
/// Errors: GEMMILL_STATUS_TIER if the variable names no tier, or one that this machine lacks; pointers.
///
/// # Safety
/// tier points to an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_tier_best(tier: *mut i32) -> Status {
    entry!("gemmill_tier_best", |c| {
        let tier = c.out("tier", tier)?;
        tier.set(TierCode::from_tier(Tier::best().map_err(gemmill::Error::from)?)? as i32);
    })
}

/// *tier = the tier of this name: "portable", "avx2", "avx2-vnni", "avx512", "avx512-vnni" or "amx".
///
/// Whether this machine runs it is for gemmill_tier_missing_feature to say. Threads: any.
/// Errors: GEMMILL_STATUS_TIER if no tier has the name; pointers.
///
/// # Safety
/// name points to a text that ends with a NUL, tier to an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_tier_from_name(name: *const c_char, tier: *mut i32) -> Status {
    entry!("gemmill_tier_from_name", |c| {
        let (name, out) = (c.text("name", name)?, c.out("tier", tier)?);
        let tier: Tier = name.to_string_lossy().parse().map_err(gemmill::Error::Tier)?;
        out.set(TierCode::from_tier(tier)? as i32);
    })
}

/// The name of a tier; null for a number that is none.
///
/// Ownership: the text is static. Threads: any. Errors: none but null.
#[unsafe(no_mangle)]
pub extern "C" fn gemmill_tier_name(tier: i32) -> *const c_char {
    value(std::ptr::null(), || TierCode::of("tier", tier).map_or(std::ptr::null(), |tier| texts(tier).name.as_ptr()))
}

/// *feature = the name of the first CPU feature that this machine lacks for a tier, or null if it runs the tier.
///
/// Ownership: the text is static. Threads: any.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE if no tier has this number; pointers.
///
/// # Safety
/// feature points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_tier_missing_feature(tier: i32, feature: *mut *const c_char) -> Status {
    entry!("gemmill_tier_missing_feature", |c| {
        let out = c.out("feature", feature)?;
        let missing = texts(TierCode::of("tier", tier)?).missing.as_deref();
        out.set(missing.map_or(std::ptr::null(), CStr::as_ptr));
    })
}

/// Kernels of machine code that the library keeps at most, for each of the three kinds of products (8 bits, floats, few
/// bits by 8-bit activations): 4096 unless told otherwise.
///
/// Beyond that, those that have not been asked for the longest give way, and are generated again when they are needed.
/// Operations keep theirs. A kernel takes 4 to 12 KiB. Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for kernels
/// below 1.
#[unsafe(no_mangle)]
pub extern "C" fn gemmill_set_kernel_limit(kernels: i64) -> Status {
    call("gemmill_set_kernel_limit", || {
        set_kernel_limit(at_least_one("kernels", kernels)?);
        Ok(())
    })
}

/// What is said of a tier, as C reads texts.
struct Texts {
    name: CString,
    missing: Option<CString>,
}

fn texts(tier: Tier) -> &'static Texts {
    static TEXTS: [OnceLock<Texts>; Tier::ALL.len()] = [const { OnceLock::new() }; Tier::ALL.len()];
    TEXTS[tier as usize].get_or_init(|| {
        let for_c = |text: &str| CString::new(text).unwrap_or_default();
        Texts { name: for_c(tier.name()), missing: tier.missing_feature().map(for_c) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_the_package_s() {
        let parts = [GEMMILL_VERSION_MAJOR, GEMMILL_VERSION_MINOR, GEMMILL_VERSION_PATCH].map(|part| part.to_string());
        assert_eq!(parts.join("."), env!("CARGO_PKG_VERSION"));
    }
}
