//! What this CPU and its operating system offer.

use std::arch::x86_64::{__cpuid_count, _xgetbv};
use std::sync::OnceLock;

use crate::machine::executable;
pub(crate) use crate::machine::features::Features;

impl Features {
    /// What this machine offers to code that needs `needed`: a permission is only asked for where that has use for it,
    /// since it changes what signal handlers of this process must have room for.
    ///
    /// On macOS, AVX-512 counts as not supported: XCR0 says so until the first use of it.
    pub(crate) fn offered_for(needed: Features) -> Features {
        static DETECTED: OnceLock<Features> = OnceLock::new();
        let mut detected = *DETECTED.get_or_init(|| Features::decode(cpuid, xcr0));
        if needed != Features::NONE && !cfg!(miri) && executable::is_permitted() {
            detected.add(Features::CODE_PERMISSION);
        }
        let permitted = detected.and(Features::AMX_PERMISSION);
        let tiles = needed.common(Features::AMX);
        let of_use = tiles != Features::NONE && tiles.missing_from(permitted).is_none();
        if of_use && tiles_permitted() { permitted } else { detected }
    }

    /// The first feature of the set that this CPU or its operating system lacks.
    pub(crate) fn missing(self) -> Option<&'static str> {
        self.missing_from(Features::offered_for(self))
    }
}

/// Under Miri, which knows no CPUID, a CPU without features.
fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    if cfg!(miri) {
        return [0; 4];
    }
    let r = __cpuid_count(leaf, subleaf);
    [r.eax, r.ebx, r.ecx, r.edx]
}

/// XCR0, for [`Features::decode`], which calls it where CPUID announces OSXSAVE.
fn xcr0() -> u64 {
    #[target_feature(enable = "xsave")]
    fn read() -> u64 {
        // SAFETY: XCR0 exists where OSXSAVE is set, which the only caller's caller checks.
        unsafe { _xgetbv(0) }
    }
    // SAFETY: OSXSAVE says that the CPU has XSAVE and that the operating system enabled it.
    unsafe { read() }
}

/// Whether this process may use tile data. Asked once: permission holds for all threads, and for good.
#[cfg(target_os = "linux")]
fn tiles_permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    static PERMITTED: OnceLock<bool> = OnceLock::new();
    *PERMITTED.get_or_init(|| {
        // SAFETY: this request takes two numbers, and reads and writes none of this process's memory.
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
    })
}

/// Other systems have other ways to ask, or none; without asking, the first tile instruction may end the process.
#[cfg(not(target_os = "linux"))]
fn tiles_permitted() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel lists a feature only if it supports its registers too.
    #[cfg(target_os = "linux")]
    #[test]
    fn detection_agrees_with_the_kernel() {
        let info = std::fs::read_to_string("/proc/cpuinfo").expect("Linux has /proc/cpuinfo");
        let flags = info.lines().find_map(|l| l.strip_prefix("flags")).expect("a line of flags");
        for (feature, name) in Features::each() {
            // Linux writes AVX512F as avx512f, but AVX512_VNNI as avx512_vnni.
            let listed = flags.split_whitespace().any(|flag| flag == name.to_lowercase());
            match feature.missing() {
                None => assert!(listed, "{name} was found, but the kernel does not list it"),
                Some(reason) if reason.contains("permission") => {
                    assert!(listed && Features::AMX.contains(feature), "{name}: {reason}");
                    eprintln!("{name}: listed, but {reason} is missing");
                }
                Some(reason) => assert!(!listed, "{name} is listed, but was not found: {reason}"),
            }
        }
    }

    /// The standard library's detection is another reading of the same manuals.
    #[test]
    fn detection_agrees_with_the_standard_library() {
        macro_rules! agree {
            ($($feature:ident $name:tt)*) => {
                $({
                    let found = std::arch::is_x86_feature_detected!($name);
                    assert_eq!(Features::$feature.missing().is_none(), found, $name);
                })*
            };
        }
        agree!(AVX "avx" AVX2 "avx2" FMA "fma" F16C "f16c" AVX_VNNI "avxvnni" AVX512F "avx512f" AVX512BW "avx512bw");
        agree!(AVX512DQ "avx512dq" AVX512VL "avx512vl" AVX512_VNNI "avx512vnni" AVX512_BF16 "avx512bf16");
    }
}
