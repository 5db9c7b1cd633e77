//! Tiers: clusters of CPU features that kernels are generated for, and what this CPU offers.

use std::env::VarError;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// A cluster of instruction-set extensions. All tiers give the same bits.
///
/// Ordered: a later tier needs all that an earlier one needs, and more.
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
}

/// The environment variable that caps the tier.
pub const TIER_VARIABLE: &str = "GEMMILL_TIER";

impl Tier {
    /// All tiers, the plainest first.
    pub const ALL: [Tier; 2] = [Tier::Portable, Tier::Avx2];

    /// The name that `GEMMILL_TIER`, the command line and kernel names use.
    pub const fn name(self) -> &'static str {
        match self {
            Tier::Portable => "portable",
            Tier::Avx2 => "avx2",
        }
    }

    /// The first feature of this tier that this CPU (or its operating system) lacks.
    ///
    /// # Examples
    /// ```
    /// use gemmill_codegen::Tier;
    /// assert_eq!(Tier::Portable.missing_feature(), None);
    /// ```
    pub fn missing_feature(self) -> Option<&'static str> {
        match self {
            Tier::Portable => None,
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => {
                if !std::arch::is_x86_feature_detected!("avx2") {
                    Some("AVX2")
                } else if !std::arch::is_x86_feature_detected!("fma") {
                    Some("FMA")
                } else if !std::arch::is_x86_feature_detected!("f16c") {
                    Some("F16C")
                } else {
                    None
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            Tier::Avx2 => Some("the x86-64 architecture"),
        }
    }

    /// The best tier that this CPU runs, or the one that `GEMMILL_TIER` names if that is set.
    ///
    /// The environment is read once, by the first call.
    ///
    /// # Errors
    /// [`TierError`] if the variable names no tier, or one that this CPU lacks.
    pub fn best() -> Result<Tier, TierError> {
        static BEST: OnceLock<Result<Tier, TierError>> = OnceLock::new();
        BEST.get_or_init(|| match std::env::var(TIER_VARIABLE) {
            Ok(name) => name.parse::<Tier>()?.require(),
            Err(VarError::NotUnicode(name)) => Err(TierError::Unknown { name: name.to_string_lossy().into_owned() }),
            Err(VarError::NotPresent) => {
                Ok(Tier::ALL.into_iter().rev().find(|t| t.missing_feature().is_none()).unwrap_or(Tier::Portable))
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
        match self.missing_feature() {
            None => Ok(self),
            Some(feature) => Err(TierError::Missing { tier: self, feature }),
        }
    }
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
}

impl fmt::Display for TierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TierError::Unknown { name } => {
                let known = Tier::ALL.map(Tier::name).join(", ");
                write!(f, "no tier is named {name:?}: expected one of {known}")
            }
            TierError::Missing { tier, feature } => write!(f, "tier {tier}: this CPU lacks {feature}"),
        }
    }
}

impl std::error::Error for TierError {}
