//! The machine that this process runs on: its core, its data caches, and a way to compile plain loops for its vectors.

use std::sync::OnceLock;

/// Whose design a core is: what plans choose by between ways that give the same bits, where cores with the same
/// instructions and caches differ in how fast these are.
///
/// Most of all they differ in how their prefetchers follow a stream of weights, and in which ports convert numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Core {
    /// Of AMD: Zen and its successors. MEASURED on Zen 4.
    Zen,
    /// Of Intel, and all that is not known. MEASURED on Emerald Rapids.
    Intel,
}

impl Core {
    /// Both.
    pub const ALL: [Core; 2] = [Core::Zen, Core::Intel];

    /// The core of this CPU, read once: in a virtual machine, reading takes as long as a small product.
    ///
    /// # Examples
    /// ```
    /// use gemmill_codegen::Core;
    /// assert!(Core::ALL.contains(&Core::of_this_cpu()));
    /// ```
    pub fn of_this_cpu() -> Core {
        static CORE: OnceLock<Core> = OnceLock::new();
        *CORE.get_or_init(|| {
            if matches!(&cpuid::vendor(), b"AuthenticAMD" | b"HygonGenuine") { Core::Zen } else { Core::Intel }
        })
    }
}

/// Sizes of the data caches that one core sees, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Caches {
    /// First level, data.
    pub l1: usize,
    /// Second level.
    pub l2: usize,
    /// Last level, shared by all cores.
    pub l3: usize,
}

impl Caches {
    /// What is assumed where the CPU does not tell: a Zen 3 core.
    pub const FALLBACK: Caches = Caches { l1: 32 << 10, l2: 512 << 10, l3: 32 << 20 };

    /// The caches of this CPU, read once.
    ///
    /// # Examples
    /// ```
    /// let caches = gemmill_codegen::Caches::of_this_cpu();
    /// assert!(caches.l1 <= caches.l2);
    /// ```
    pub fn of_this_cpu() -> Caches {
        static CACHES: OnceLock<Caches> = OnceLock::new();
        *CACHES.get_or_init(|| cpuid::caches().unwrap_or(Caches::FALLBACK))
    }
}

/// What plans depend on of a machine, beside its instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Machine {
    /// Its cores.
    pub core: Core,
    /// Data caches of one of them.
    pub caches: Caches,
}

impl Machine {
    /// The machine that this process runs on.
    ///
    /// # Examples
    /// ```
    /// use gemmill_codegen::{Core, Machine};
    /// assert_eq!(Machine::of_this_cpu().core, Core::of_this_cpu());
    /// ```
    pub fn of_this_cpu() -> Machine {
        Machine { core: Core::of_this_cpu(), caches: Caches::of_this_cpu() }
    }
}

/// Name of the CPU, as it gives it itself.
///
/// # Examples
/// ```
/// assert!(!gemmill_codegen::cpu_name().is_empty());
/// ```
pub fn cpu_name() -> String {
    cpuid::brand().unwrap_or_else(|| format!("unnamed {} CPU", std::env::consts::ARCH))
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod cpuid {
    use super::Caches;
    use std::arch::x86_64::{__cpuid, __cpuid_count};

    /// Deterministic cache parameters: leaf 4 (Intel), or 0x8000001D (AMD) where extended topology is announced.
    pub(super) fn caches() -> Option<Caches> {
        let leaf = if __cpuid(0).eax >= 4 && __cpuid_count(4, 0).eax & 31 != 0 {
            4
        } else if __cpuid(0x8000_0000).eax >= 0x8000_001D && __cpuid(0x8000_0001).ecx & (1 << 22) != 0 {
            0x8000_001D
        } else {
            return None;
        };
        let mut found = [0usize; 3];
        for index in 0..8 {
            let r = __cpuid_count(leaf, index);
            let kind = r.eax & 31;
            if kind == 0 {
                break;
            }
            let level = (r.eax >> 5 & 7) as usize;
            let instruction_cache = kind == 2;
            if !instruction_cache && (1..=3).contains(&level) {
                let ways = (r.ebx >> 22 & 0x3ff) as usize + 1;
                let partitions = (r.ebx >> 12 & 0x3ff) as usize + 1;
                let line = (r.ebx & 0xfff) as usize + 1;
                found[level - 1] = ways * partitions * line * (r.ecx as usize + 1);
            }
        }
        let [l1, l2, l3] = found;
        (l1 > 0 && l2 > 0).then_some(Caches { l1, l2, l3: if l3 > 0 { l3 } else { l2 } })
    }

    pub(super) fn vendor() -> [u8; 12] {
        let leaf = __cpuid(0);
        let mut name = [0; 12];
        for (four, register) in name.as_chunks_mut().0.iter_mut().zip([leaf.ebx, leaf.edx, leaf.ecx]) {
            *four = register.to_le_bytes();
        }
        name
    }

    pub(super) fn brand() -> Option<String> {
        if __cpuid(0x8000_0000).eax < 0x8000_0004 {
            return None;
        }
        let bytes: Vec<u8> = (0x8000_0002..=0x8000_0004)
            .map(__cpuid)
            .flat_map(|r| [r.eax, r.ebx, r.ecx, r.edx])
            .flat_map(u32::to_le_bytes)
            .filter(|&b| b != 0)
            .collect();
        let text = String::from_utf8_lossy(&bytes).split_whitespace().collect::<Vec<_>>().join(" ");
        (!text.is_empty()).then_some(text)
    }
}

/// Where there is no CPUID, or Miri interprets the program, which knows none.
#[cfg(any(not(target_arch = "x86_64"), miri))]
mod cpuid {
    pub(super) fn caches() -> Option<super::Caches> {
        None
    }

    pub(super) fn vendor() -> [u8; 12] {
        [0; 12]
    }

    pub(super) fn brand() -> Option<String> {
        None
    }
}

/// Runs `f` compiled for AVX2 and FMA where this CPU has them, and as it stands elsewhere.
///
/// The compiler can only vectorise what it inlines: the loops have to stand in the closure or in `#[inline(always)]`
/// functions. Plain Rust arithmetic is never contracted, so the bits are the same either way.
///
/// # Examples
/// ```
/// let row = [1u8; 100];
/// let sum: u32 = gemmill_codegen::vectorize(|| row.iter().map(|&x| u32::from(x)).sum());
/// assert_eq!(sum, 100);
/// ```
pub fn vectorize<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn with_avx2<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the two features that the function is compiled for were detected on the line above.
            return unsafe { with_avx2(f) };
        }
    }
    f()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Machine;

    /// Products ask for it in every call.
    #[test]
    fn the_machine_is_read_once() {
        let machine = Machine::of_this_cpu();
        // Where each call asks the CPU anew, in a virtual machine, the best of these takes about 20 ms; emulated CPUs
        // are slow.
        let best = (0..20).map(|_| {
            let start = Instant::now();
            assert!((0..1000).all(|_| Machine::of_this_cpu() == machine));
            start.elapsed()
        });
        assert!(best.min().unwrap() < Duration::from_millis(5));
    }
}
