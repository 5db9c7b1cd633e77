//! CPU features: sets of them, and how CPUID and XCR0 tell what a machine offers.
//!
//! Nothing here asks the machine that it runs on: `x86/features.rs` does.

/// A set of CPU features, and of what an operating system must do for their registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Features(u32);

/// A register that CPUID leaves its answer in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(any(target_arch = "x86_64", test)), allow(dead_code, reason = "there is no CPUID"))]
enum Register {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

/// A CPU feature, its name, and the bit by which CPUID announces it (SDM volume 2, "CPUID").
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(any(target_arch = "x86_64", test)), allow(dead_code, reason = "there is no CPUID"))]
struct Announced {
    feature: Features,
    name: &'static str,
    leaf: u32,
    subleaf: u32,
    register: Register,
    bit: u32,
}

/// Declares the features in the order in which they are looked for.
macro_rules! features {
    ($(
        $constant:ident = $place:literal $name:literal $leaf:literal.$subleaf:literal $register:ident $bit:literal;
    )*) => {
        impl Features {
            $(pub(crate) const $constant: Features = Features(1 << $place);)*

            const ANNOUNCED: &[Announced] = &[$(Announced {
                feature: Features::$constant,
                name: $name,
                leaf: $leaf,
                subleaf: $subleaf,
                register: Register::$register,
                bit: $bit,
            }),*];
        }
    };
}

//                                leaf.subleaf, register, bit
features! {
    AVX         =  0 "AVX"          1 . 0 Ecx 28;
    AVX2        =  1 "AVX2"         7 . 0 Ebx  5;
    FMA         =  2 "FMA"          1 . 0 Ecx 12;
    F16C        =  3 "F16C"         1 . 0 Ecx 29;
    AVX_VNNI    =  4 "AVX_VNNI"     7 . 1 Eax  4;
    AVX512F     =  5 "AVX512F"      7 . 0 Ebx 16;
    AVX512BW    =  6 "AVX512BW"     7 . 0 Ebx 30;
    AVX512DQ    =  7 "AVX512DQ"     7 . 0 Ebx 17;
    AVX512VL    =  8 "AVX512VL"     7 . 0 Ebx 31;
    AVX512_VNNI =  9 "AVX512_VNNI"  7 . 0 Ecx 11;
    AVX512_BF16 = 10 "AVX512_BF16"  7 . 1 Eax  5;
    AMX_TILE    = 11 "AMX_TILE"     7 . 0 Edx 24;
    AMX_INT8    = 12 "AMX_INT8"     7 . 0 Edx 25;
    AMX_BF16    = 13 "AMX_BF16"     7 . 0 Edx 22;
}

/// The system refuses it where a thread's stack for signal handlers has no room for the tiles' state.
pub(crate) const TILES_PERMITTED: &str =
    "the operating system's permission to use tiles (refused where a thread's sigaltstack is small)";

/// What some features need of the operating system.
#[derive(Debug, Clone, Copy)]
struct Condition {
    /// The features that need it.
    of: Features,
    /// It, as an element of sets.
    met: Features,
    name: &'static str,
    /// The bits of XCR0 that say so, all of them (SDM volume 1, "Managing State Using the XSAVE Feature Set"); none
    /// where XCR0 does not.
    #[cfg_attr(not(any(target_arch = "x86_64", test)), allow(dead_code, reason = "there is no XCR0"))]
    xcr0: u64,
}

impl Features {
    pub(crate) const NONE: Features = Features(0);

    /// The features that use tile registers, for which the operating system is asked.
    pub(crate) const AMX: Features = Features::AMX_TILE.and(Features::AMX_INT8).and(Features::AMX_BF16);

    /// The features that use ZMM or mask registers, or more than sixteen others.
    const AVX512: Features = Features::AVX512F
        .and(Features::AVX512BW)
        .and(Features::AVX512DQ)
        .and(Features::AVX512VL)
        .and(Features::AVX512_VNNI)
        .and(Features::AVX512_BF16);

    /// The operating system lets this process run generated code.
    pub(crate) const CODE_PERMISSION: Features = Features(1 << 27);
    /// The operating system saves XMM and YMM registers.
    pub(crate) const AVX_STATE: Features = Features(1 << 28);
    /// The operating system saves mask registers and all of the ZMM ones.
    pub(crate) const AVX512_STATE: Features = Features(1 << 29);
    /// The operating system saves tile registers and their configuration.
    pub(crate) const AMX_STATE: Features = Features(1 << 30);
    /// The operating system permits this process to use tiles.
    pub(crate) const AMX_PERMISSION: Features = Features(1 << 31);

    const CONDITIONS: [Condition; 5] = [
        Condition {
            of: Features((1 << Features::ANNOUNCED.len()) - 1),
            met: Features::CODE_PERMISSION,
            name: "the operating system's permission to run generated code",
            xcr0: 0,
        },
        Condition {
            of: Features(((1 << Features::ANNOUNCED.len()) - 1) & !Features::AMX.0),
            met: Features::AVX_STATE,
            name: "operating-system support of YMM registers",
            xcr0: 1 << 1 | 1 << 2,
        },
        Condition {
            of: Features::AVX512,
            met: Features::AVX512_STATE,
            name: "operating-system support of ZMM and mask registers",
            xcr0: 1 << 1 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 7,
        },
        Condition {
            of: Features::AMX,
            met: Features::AMX_STATE,
            name: "operating-system support of tile registers",
            xcr0: 1 << 17 | 1 << 18,
        },
        Condition { of: Features::AMX, met: Features::AMX_PERMISSION, name: TILES_PERMITTED, xcr0: 0 },
    ];

    /// Both sets.
    pub(crate) const fn and(self, other: Features) -> Features {
        Features(self.0 | other.0)
    }

    /// What both sets hold.
    pub(crate) const fn common(self, other: Features) -> Features {
        Features(self.0 & other.0)
    }

    #[cfg(any(target_arch = "x86_64", test))]
    pub(crate) fn add(&mut self, other: Features) {
        *self = self.and(other);
    }

    /// Whether all of `other` is in the set.
    pub(crate) const fn contains(self, other: Features) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names of the CPU features in the set.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        Features::ANNOUNCED.iter().filter(move |a| self.contains(a.feature)).map(|a| a.name)
    }

    /// The first feature of the set that is not among those that a machine offers; if it has all, the first thing that
    /// its operating system does not do for them.
    pub(crate) fn missing_from(self, offered: Features) -> Option<&'static str> {
        let unmet = |c: &&Condition| self.common(c.of) != Features::NONE && !offered.contains(c.met);
        let unmet_condition = || Features::CONDITIONS.iter().find(unmet).map(|c| c.name);
        Features(self.0 & !offered.0).names().next().or_else(unmet_condition)
    }

    /// What a machine offers but for permissions: the features that the CPU announces, whether or not the operating
    /// system supports them, and the registers that it saves.
    ///
    /// `cpuid` gives EAX, EBX, ECX and EDX of a leaf and subleaf; `xcr0` is only called where XGETBV exists. Leaves
    /// past the last one are not asked for: Intel's CPUs answer these with what the last one says.
    #[cfg(any(target_arch = "x86_64", test))]
    pub(crate) fn decode(cpuid: impl Fn(u32, u32) -> [u32; 4], xcr0: impl FnOnce() -> u64) -> Features {
        const OSXSAVE: u32 = 1 << 27;
        let last_leaf = cpuid(0, 0)[Register::Eax as usize];
        let last_subleaf = |leaf| if leaf == 7 { cpuid(7, 0)[Register::Eax as usize] } else { 0 };
        let mut offered = Features::NONE;
        for a in Features::ANNOUNCED {
            let exists = a.leaf <= last_leaf && a.subleaf <= last_subleaf(a.leaf);
            if exists && cpuid(a.leaf, a.subleaf)[a.register as usize] >> a.bit & 1 == 1 {
                offered.add(a.feature);
            }
        }
        let has_xgetbv = last_leaf >= 1 && cpuid(1, 0)[Register::Ecx as usize] & OSXSAVE != 0;
        let xcr0 = if has_xgetbv { xcr0() } else { 0 };
        for c in Features::CONDITIONS.iter().filter(|c| c.xcr0 != 0 && xcr0 & c.xcr0 == c.xcr0) {
            offered.add(c.met);
        }
        offered
    }
}

#[cfg(test)]
pub(crate) mod tests;
