//! Tiers: clusters of CPU features that kernels are generated for, and what this CPU offers.

use std::env::VarError;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::families::float::dot::HardwareDot;
#[cfg(all(target_arch = "x86_64", feature = "interpreter"))]
pub(crate) use crate::kernel::interpret::covers as is_interpreted;
use crate::machine::features::Features;

/// A cluster of instruction-set extensions. All tiers give the same bits.
///
/// Ordered by preference: a CPU that runs several is best used by the last of them.
///
/// # Examples
/// ```
/// use gemmill_codegen::Tier;
/// assert_eq!("avx2".parse::<Tier>().unwrap(), Tier::Avx2);
/// assert!(Tier::Portable.missing_feature().is_none());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Tier {
    /// Plain Rust, on every CPU.
    Portable,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX2 and AVX-VNNI: 32-bit dot products in 256 bits.
    Avx2Vnni,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// AVX-512 and its VNNI: 32-bit dot products in 512 bits.
    Avx512Vnni,
    /// AVX-512, its VNNI, and AMX-INT8: products of tiles.
    Amx,
}

/// The environment variable that names the tier to use where packing does not: a cap on the best one.
pub const TIER_VARIABLE: &str = "GEMMILL_TIER";

impl Tier {
    /// All tiers, the plainest first.
    pub const ALL: [Tier; 6] = [Tier::Portable, Tier::Avx2, Tier::Avx2Vnni, Tier::Avx512, Tier::Avx512Vnni, Tier::Amx];

    /// The name that `GEMMILL_TIER`, the command line and kernel names use.
    pub const fn name(self) -> &'static str {
        match self {
            Tier::Portable => "portable",
            Tier::Avx2 => "avx2",
            Tier::Avx2Vnni => "avx2-vnni",
            Tier::Avx512 => "avx512",
            Tier::Avx512Vnni => "avx512-vnni",
            Tier::Amx => "amx",
        }
    }

    /// The first feature of this tier that this CPU or its operating system lacks.
    ///
    /// # Examples
    /// ```
    /// use gemmill_codegen::Tier;
    /// assert_eq!(Tier::Portable.missing_feature(), None);
    /// ```
    pub fn missing_feature(self) -> Option<&'static str> {
        match self.require() {
            Err(TierError::Missing { feature, .. }) => Some(feature),
            _ => None,
        }
    }

    /// What a CPU must have for this tier.
    pub(crate) const fn features(self) -> Features {
        match self {
            Tier::Portable => Features::NONE,
            Tier::Avx2 => Features::AVX.and(Features::AVX2).and(Features::FMA).and(Features::F16C),
            Tier::Avx2Vnni => Tier::Avx2.features().and(Features::AVX_VNNI),
            Tier::Avx512 => Tier::Avx2
                .features()
                .and(Features::AVX512F)
                .and(Features::AVX512BW)
                .and(Features::AVX512DQ)
                .and(Features::AVX512VL),
            Tier::Avx512Vnni => Tier::Avx512.features().and(Features::AVX512_VNNI),
            Tier::Amx => Tier::Avx512Vnni.features().and(Features::AMX_TILE).and(Features::AMX_INT8),
        }
    }

    /// The best tier that this CPU runs, or the one that `GEMMILL_TIER` names if that is set, and not empty.
    ///
    /// The environment is read once, by the first call.
    ///
    /// # Errors
    /// [`TierError`] if the variable names no tier, or one that this CPU lacks.
    pub fn best() -> Result<Tier, TierError> {
        static BEST: OnceLock<Result<Tier, TierError>> = OnceLock::new();
        BEST.get_or_init(|| match std::env::var(TIER_VARIABLE) {
            Ok(name) if !name.is_empty() => name.parse::<Tier>()?.require(),
            Err(VarError::NotUnicode(name)) => Err(TierError::Unknown { name: name.to_string_lossy().into_owned() }),
            Ok(_) | Err(VarError::NotPresent) => {
                let needed = Tier::ALL.into_iter().fold(Features::NONE, |all, tier| all.and(tier.features()));
                let native = select(offered_for(needed), None)?;
                Ok(Tier::ALL.into_iter().filter(|&tier| is_interpreted(tier)).fold(native, Tier::max))
            }
        })
        .clone()
    }

    /// This tier, if the CPU runs it.
    ///
    /// # Errors
    /// [`TierError::Missing`] with the feature that is missing.
    ///
    /// # Examples
    /// ```
    /// use gemmill_codegen::Tier;
    /// assert_eq!(Tier::Portable.require(), Ok(Tier::Portable));
    /// ```
    pub fn require(self) -> Result<Tier, TierError> {
        let is_everywhere = self == Tier::Portable || is_interpreted(self);
        if is_everywhere { Ok(self) } else { select(offered_for(self.features()), Some(self)) }
    }
}

/// Dispatch: the tier that was asked for, or the best one, on a machine that offers these features.
///
/// A tier is all or nothing: one that lacks a single feature is not had in part, and one that was asked for is not
/// replaced by a lesser one. Which of several tiers is best is an assumption about CPUs, not measured where it runs:
///
/// - 512-bit vectors beat 256-bit ones, and 32-bit dot products 16-bit sums, on every CPU that has them. A core that
///   lowers its frequency for 512-bit multiplications, or has one port for them, is assumed to gain more than it loses.
///   Zen 4 does 512-bit operations in two halves: it is assumed to gain by registers and shorter code, and to lose
///   nothing.
/// - Tiles beat 512-bit dot products on every CPU that has them, where packing finds the product large enough for
///   tiles.
/// - 32-bit dot products in 256 bits (AVX-VNNI) are below 512-bit 16-bit sums; no CPU yet has AVX-VNNI and AVX-512 but
///   no AVX512_VNNI, so that only matters where a hypervisor hides the latter.
pub(crate) fn select(offered: Features, request: Option<Tier>) -> Result<Tier, TierError> {
    let missing = |tier: Tier| tier.features().missing_from(offered);
    match request {
        None => Ok(Tier::ALL.into_iter().rev().find(|&tier| missing(tier).is_none()).unwrap_or(Tier::Portable)),
        Some(tier) => match missing(tier) {
            None => Ok(tier),
            Some(feature) => Err(TierError::Missing { tier, feature }),
        },
    }
}

/// What this machine offers to code that needs `needed`.
#[cfg(target_arch = "x86_64")]
pub(crate) fn offered_for(needed: Features) -> Features {
    Features::offered_for(needed)
}

/// Another architecture has none of the features.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn offered_for(_: Features) -> Features {
    Features::NONE
}

/// No interpreter stands in for CPUs that have the tier.
#[cfg(not(all(target_arch = "x86_64", feature = "interpreter")))]
pub(crate) fn is_interpreted(_: Tier) -> bool {
    false
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Tier {
    type Err = TierError;

    fn from_str(name: &str) -> Result<Tier, TierError> {
        Tier::ALL.into_iter().find(|t| t.name() == name).ok_or_else(|| TierError::Unknown { name: name.to_owned() })
    }
}

/// Why a tier cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TierError {
    /// No tier has this name.
    Unknown {
        /// The name that was given.
        name: String,
    },
    /// The CPU or the operating system lacks a feature.
    Missing {
        /// The tier that was asked for.
        tier: Tier,
        /// The first feature that is missing.
        feature: &'static str,
    },
    /// The tier has no such dot products.
    NoDot {
        /// What was asked for.
        dot: HardwareDot,
        /// The tier that kernels were to be of.
        tier: Tier,
    },
    /// The CPU or the operating system lacks what the dot products need besides their tier.
    MissingForDot {
        /// What was asked for.
        dot: HardwareDot,
        /// The first feature that is missing.
        feature: &'static str,
    },
    /// This CPU has the dot products, and is faster without: [`HardwareDot::best`] does not name them.
    SlowDot {
        /// The only ones that kernels of the tier can have here.
        dot: HardwareDot,
    },
}

impl fmt::Display for TierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TierError::Unknown { name } => {
                let known = Tier::ALL.map(Tier::name).join(", ");
                write!(f, "no tier is named {name:?}: expected one of {known}")
            }
            TierError::Missing { tier, feature } => write!(f, "tier {tier} needs {feature}, which this machine lacks"),
            TierError::NoDot { dot, tier } => {
                let lowest = dot.lowest_tier();
                write!(f, "hardware dot products {dot} need tier {lowest} or a later one that has them, given {tier}")
            }
            TierError::MissingForDot { dot, feature } => {
                write!(f, "hardware dot products {dot} need {feature}, which this machine lacks")
            }
            TierError::SlowDot { dot } => {
                write!(f, "hardware dot products {dot} are slower than multiply-adds on this CPU, unless named")
            }
        }
    }
}

impl std::error::Error for TierError {}

#[cfg(test)]
mod tests;
