//! CPU features: a small set of them, and what this CPU and its operating system offer.

use std::sync::OnceLock;

/// A set of CPU features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Features(u32);

/// Declares the features in the order in which they are looked for.
macro_rules! features {
    ($($constant:ident = $bit:literal $name:literal $detected:expr;)*) => {
        impl Features {
            $(pub(crate) const $constant: Features = Features(1 << $bit);)*

            /// Each feature with its name.
            const NAMES: &[(Features, &str)] = &[$((Features::$constant, $name)),*];

            /// What this CPU and its operating system offer without being asked for permission.
            fn detect() -> Features {
                let mut found = Features::NONE;
                $(if $detected { found.add(Features::$constant); })*
                found
            }
        }
    };
}

features! {
    AVX         =  0 "AVX"          std::arch::is_x86_feature_detected!("avx");
    AVX2        =  1 "AVX2"         std::arch::is_x86_feature_detected!("avx2");
    FMA         =  2 "FMA"          std::arch::is_x86_feature_detected!("fma");
    F16C        =  3 "F16C"         std::arch::is_x86_feature_detected!("f16c");
    AVX_VNNI    =  4 "AVX_VNNI"     std::arch::is_x86_feature_detected!("avxvnni");
    AVX512F     =  5 "AVX512F"      std::arch::is_x86_feature_detected!("avx512f");
    AVX512BW    =  6 "AVX512BW"     std::arch::is_x86_feature_detected!("avx512bw");
    AVX512DQ    =  7 "AVX512DQ"     std::arch::is_x86_feature_detected!("avx512dq");
    AVX512VL    =  8 "AVX512VL"     std::arch::is_x86_feature_detected!("avx512vl");
    AVX512_VNNI =  9 "AVX512_VNNI"  std::arch::is_x86_feature_detected!("avx512vnni");
    AVX512_BF16 = 10 "AVX512_BF16"  std::arch::is_x86_feature_detected!("avx512bf16");
    AMX_TILE    = 11 "AMX_TILE"     amx::announced(24);
    AMX_INT8    = 12 "AMX_INT8"     amx::announced(25);
    AMX_BF16    = 13 "AMX_BF16"     amx::announced(22);
}

impl Features {
    pub(crate) const NONE: Features = Features(0);

    /// The features that use tile registers, for which the operating system is asked.
    const AMX: Features = Features::AMX_TILE.and(Features::AMX_INT8).and(Features::AMX_BF16);

    /// Both sets.
    pub(crate) const fn and(self, other: Features) -> Features {
        Features(self.0 | other.0)
    }

    pub(crate) fn add(&mut self, other: Features) {
        *self = self.and(other);
    }

    /// Whether all of `other` is in the set.
    pub(crate) const fn contains(self, other: Features) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        Features::NAMES.iter().filter(move |(feature, _)| self.contains(*feature)).map(|(_, name)| *name)
    }

    /// The first feature of the set that this CPU or its operating system lacks.
    ///
    /// The first call with an AMX feature that the CPU has asks the operating system to let this process use tiles.
    pub(crate) fn missing(self) -> Option<&'static str> {
        static DETECTED: OnceLock<Features> = OnceLock::new();
        let detected = *DETECTED.get_or_init(Features::detect);
        if let Some(name) = Features(self.0 & !detected.0).names().next() {
            return Some(name);
        }
        let tiles = self.0 & Features::AMX.0 != 0;
        (tiles && !amx::permitted()).then_some("the operating system's permission to use AMX tiles")
    }
}

/// Detection of AMX, whose names `is_x86_feature_detected!` does not take in stable Rust.
mod amx {
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

    /// Whether bit `bit` of EDX of CPUID leaf 7, subleaf 0, is set, and the operating system saves tile registers.
    pub(super) fn announced(bit: u32) -> bool {
        __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx >> bit & 1 != 0 && tiles_saved()
    }

    /// XCR0 bits 17 (tile configuration) and 18 (tile data).
    fn tiles_saved() -> bool {
        const TILES: u64 = 1 << 17 | 1 << 18;
        const OSXSAVE: u32 = 1 << 27;

        #[target_feature(enable = "xsave")]
        fn xcr0() -> u64 {
            // SAFETY: XCR0 exists where OSXSAVE is set, which the only caller checks.
            unsafe { _xgetbv(0) }
        }
        // SAFETY: OSXSAVE says that the CPU has XSAVE and that the operating system enabled it.
        __cpuid(1).ecx & OSXSAVE != 0 && unsafe { xcr0() } & TILES == TILES
    }

    /// Whether this process may use tile data. Asked once: permission holds for all threads, and for good.
    #[cfg(target_os = "linux")]
    pub(super) fn permitted() -> bool {
        use std::sync::OnceLock;

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
    pub(super) fn permitted() -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_bits_and_order() {
        for (i, (feature, name)) in Features::NAMES.iter().enumerate() {
            assert_eq!(feature.0, 1 << i, "{name}: one bit each, in order");
            assert_eq!(feature.names().collect::<Vec<_>>(), [*name]);
        }
        assert_eq!(Features::NONE.missing(), None);
        assert!(Features::AMX.contains(Features::AMX_INT8) && !Features::AMX.contains(Features::AVX));
    }

    /// The kernel lists a feature only if it supports its registers too.
    #[cfg(target_os = "linux")]
    #[test]
    fn detection_agrees_with_the_kernel() {
        let info = std::fs::read_to_string("/proc/cpuinfo").expect("Linux has /proc/cpuinfo");
        let flags = info.lines().find_map(|l| l.strip_prefix("flags")).expect("a line of flags");
        for (feature, name) in Features::NAMES {
            // Linux writes AVX512F as avx512f, but AVX512_VNNI as avx512_vnni.
            let listed = flags.split_whitespace().any(|flag| flag == name.to_lowercase());
            let missing = feature.missing();
            match missing {
                None => assert!(listed, "{name} was found, but the kernel does not list it"),
                Some(missing) if missing == *name => assert!(!listed, "{name} is listed, but was not found"),
                Some(reason) => {
                    assert!(Features::AMX.contains(*feature), "{name}: {reason}");
                    eprintln!("{name}: listed, but {reason} is missing");
                }
            }
        }
        assert_eq!(Features::AVX.and(Features::AVX2).missing().is_none(), Features::AVX2.missing().is_none());
    }
}
