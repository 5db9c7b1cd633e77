//! Hardware dot products: what the CPU's own instructions for pairs of bf16 compute, as operations on numbers.
//!
//! Both instructions take the numbers of a depth of [`HardwareDot::group`] at a time, and round to nearest even after
//! each operation below. Subnormal factors and sums count as zero, and so does a result that is subnormal (flushing),
//! whatever the control register says (Intel SDM volume 2, VDPBF16PS and TDPBF16PS).
//!
//! ```text
//! VDPBF16PS   two k:      x = fma(a1, b1, x)                 the second one first
//!                         x = fma(a0, b0, x)
//! TDPBF16PS   up to 32:   even = odd = 0
//!                         even = fma(a0, b0, even);  odd = fma(a1, b1, odd);  even = fma(a2, b2, even);  ...
//!                         x = x + (even + odd)
//! ```

use std::fmt;

use half::bf16;

use crate::machine::features::Features;
use crate::machine::host::Machine;
use crate::machine::tier::{Tier, TierError, is_interpreted, offered_for};
use crate::tuning::hardware_dot_pays;

/// An instruction set with dot products of bf16.
///
/// # Examples
/// ```
/// use gemmill_codegen::{HardwareDot, Tier};
/// assert_eq!(HardwareDot::Avx512Bf16.name(), "avx512-bf16");
/// // The portable tier does what it does in plain Rust; AVX2 has no such instruction.
/// assert!(HardwareDot::Avx512Bf16.require(Tier::Portable).is_ok());
/// assert!(HardwareDot::Avx512Bf16.require(Tier::Avx2).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HardwareDot {
    /// AVX512-BF16: `VDPBF16PS`, for vectors.
    Avx512Bf16,
    /// AMX-BF16: `TDPBF16PS`, for tiles.
    AmxBf16,
}

impl HardwareDot {
    /// All of them, the plainest first.
    pub const ALL: [HardwareDot; 2] = [HardwareDot::Avx512Bf16, HardwareDot::AmxBf16];

    /// The name in kernel names and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            HardwareDot::Avx512Bf16 => "avx512-bf16",
            HardwareDot::AmxBf16 => "amx-bf16",
        }
    }

    /// Numbers of a row and a column that are summed at a time: results depend on where K is cut into such groups,
    /// which is always at multiples of this, and on nothing else.
    pub const fn group(self) -> usize {
        match self {
            HardwareDot::Avx512Bf16 => 2,
            HardwareDot::AmxBf16 => 32,
        }
    }

    /// The lowest tier whose kernels may use the instruction.
    pub const fn lowest_tier(self) -> Tier {
        match self {
            HardwareDot::Avx512Bf16 => Tier::Avx512,
            HardwareDot::AmxBf16 => Tier::Amx,
        }
    }

    /// Whether kernels of a tier may have the instruction, or do the same in plain Rust.
    pub(crate) const fn is_of(self, tier: Tier) -> bool {
        let has_instruction = match self {
            HardwareDot::Avx512Bf16 => tier.facts().lanes == 16,
            HardwareDot::AmxBf16 => tier.facts().tiles,
        };
        has_instruction || matches!(tier, Tier::Portable)
    }

    /// What a CPU must have besides the tier.
    pub(crate) const fn features(self) -> Features {
        match self {
            HardwareDot::Avx512Bf16 => Features::AVX512_BF16,
            HardwareDot::AmxBf16 => Features::AMX_TILE.and(Features::AMX_BF16),
        }
    }

    /// Whether kernels of `tier` with these dot products can run here. The portable tier carries them out in plain
    /// Rust, on every CPU: the same bits, slowly.
    ///
    /// # Errors
    /// [`TierError`]: the tier cannot be had, has no such instruction, or the CPU lacks it.
    pub fn require(self, tier: Tier) -> Result<(), TierError> {
        tier.require()?;
        if !self.is_of(tier) {
            return Err(TierError::NoDot { dot: self, tier });
        }
        if tier == Tier::Portable || is_interpreted(tier) {
            return Ok(());
        }
        let needed = tier.features().and(self.features());
        match needed.missing_from(offered_for(needed)) {
            Some(feature) => Err(TierError::MissingForDot { dot: self, feature }),
            None => Ok(()),
        }
    }

    /// The last of [`HardwareDot::ALL`] that kernels of `tier` can use here, and that this CPU is not faster without.
    ///
    /// # Errors
    /// [`TierError`] if there is none: what is missing for the first one, or that it is slow.
    ///
    /// # Examples
    /// ```
    /// use gemmill_codegen::{HardwareDot, Tier};
    /// assert!(HardwareDot::best(Tier::Avx2).is_err());
    /// ```
    pub fn best(tier: Tier) -> Result<HardwareDot, TierError> {
        let runs = |dot: &HardwareDot| tier != Tier::Portable && dot.require(tier).is_ok();
        match HardwareDot::ALL.into_iter().rev().find(runs) {
            Some(dot) if hardware_dot_pays(dot, Machine::of_this_cpu().core) => Ok(dot),
            Some(dot) => Err(TierError::SlowDot { dot }),
            None => {
                let [plainest, _] = HardwareDot::ALL;
                plainest.require(tier)?;
                Err(TierError::NoDot { dot: plainest, tier })
            }
        }
    }

    /// How far a sum is from that of exact numbers, at most, unless a partial sum overflows: of `k` products on top of
    /// a first number. `magnitude` is the sum of the magnitudes of all of them. Factors that are subnormal count as
    /// zero on both sides.
    ///
    /// With u = 2^-24, r roundings on the way of any product into the sum and f operations whose result may be flushed:
    ///
    /// ```text
    /// |sum - exact| <= r u / (1 - r u) * magnitude + (1 + r u / (1 - r u)) * f * 2^-126
    ///
    /// AVX512-BF16:  r = 2 ceil(k / 2)          f = 2 ceil(k / 2) + 1
    /// AMX-BF16:     r = ceil(k / 32) + 17      f = 34 ceil(k / 32) + 1
    /// ```
    ///
    /// # Examples
    /// ```
    /// use gemmill_codegen::HardwareDot;
    /// let of = |dot: HardwareDot| dot.error_bound(4096, 1.0);
    /// assert!(of(HardwareDot::Avx512Bf16) < 2.5e-4 && of(HardwareDot::AmxBf16) < 9e-6);
    /// ```
    pub fn error_bound(self, k: usize, magnitude: f64) -> f64 {
        let groups = k.div_ceil(self.group()) as f64;
        let (roundings, flushes) = match self {
            HardwareDot::Avx512Bf16 => (2.0 * groups, 2.0 * groups + 1.0),
            HardwareDot::AmxBf16 => (groups + 17.0, 34.0 * groups + 1.0),
        };
        let error = roundings * f64::from(f32::EPSILON) / 2.0;
        if error >= 1.0 {
            return f64::INFINITY;
        }
        let growth = error / (1.0 - error);
        growth * magnitude + (1.0 + growth) * flushes * f64::from(f32::MIN_POSITIVE)
    }

    /// `sum` and the products of a group: at most [`HardwareDot::group`] numbers, zeros in the place of missing ones.
    ///
    /// # Examples
    /// ```
    /// use gemmill_codegen::HardwareDot;
    /// use half::bf16;
    /// let (a, b) = ([2.0, 3.0].map(bf16::from_f32), [5.0, 7.0].map(bf16::from_f32));
    /// for dot in HardwareDot::ALL {
    ///     assert_eq!(dot.add(100.0, &a, &b), 131.0);
    /// }
    /// ```
    pub fn add(self, sum: f32, a: &[bf16], b: &[bf16]) -> f32 {
        let at = |of: &[bf16], k: usize| flush(of.get(k).copied().unwrap_or(bf16::ZERO).to_f32());
        let fma = |k: usize, sum| fused(at(a, k), at(b, k), sum);
        match self {
            HardwareDot::Avx512Bf16 => fma(0, fma(1, flush(sum))),
            HardwareDot::AmxBf16 => {
                let chain = |first: usize| (first..self.group()).step_by(2).fold(0.0, |sum, k| fma(k, sum));
                // Numbers that are not subnormal have no bits below those of the largest subnormal one: their sum is
                // exact where it is that small.
                flush(flush(sum) + flush(chain(0) + chain(1)))
            }
        }
    }
}

impl fmt::Display for HardwareDot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Zero of the same sign, for a subnormal number.
fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0f32.copysign(x) } else { x }
}

/// Below this, a number that is rounded to 24 bits stays below the smallest normal f32: the halfway point.
const TINY: f64 = f32::MIN_POSITIVE as f64 * (1.0 - 1.0 / (1 << 25) as f64);

/// `fma(a, b, sum)` of numbers that are bf16 and no subnormal ones, and of a sum that is none. Flushing comes before a
/// result is made subnormal: one that 24 bits could hold below the smallest normal number is zero, even where rounding
/// it to fewer bits would make that number of it.
fn fused(a: f32, b: f32, sum: f32) -> f32 {
    // The product is exact, and so is a sum that small, unless it is far closer to `sum` than to the limit.
    let exact = f64::from(a) * f64::from(b) + f64::from(sum);
    if exact != 0.0 && exact.abs() < TINY {
        return if exact < 0.0 { -0.0 } else { 0.0 };
    }
    flush(a.mul_add(b, sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::features::TILES_PERMITTED;

    fn bf(x: f32) -> bf16 {
        assert_eq!(x.to_bits() & 0xffff, 0, "{x} is no bf16 number");
        bf16::from_f32(x)
    }

    /// Sums whose order can be told from the result.
    #[test]
    fn orders_are_those_of_the_manual() {
        let [one, big, minus] = [1.0, 2f32.powi(24), -2f32.powi(24)].map(bf);
        let ones = [one; 32];
        // The second product of a pair comes first: 1 is lost in 2^24 only where it follows it.
        assert_eq!(HardwareDot::Avx512Bf16.add(2f32.powi(24), &[minus, one], &ones[..2]), 0.0);
        assert_eq!(HardwareDot::Avx512Bf16.add(2f32.powi(24), &[one, minus], &ones[..2]), 1.0);
        // Even and odd ones apart, the sum last.
        assert_eq!(HardwareDot::AmxBf16.add(0.0, &[one, one, big, one, minus], &ones[..5]), 2.0);
        assert_eq!(HardwareDot::AmxBf16.add(2f32.powi(24), &[one, one, minus], &ones[..3]), 2.0);
    }

    #[test]
    fn subnormal_numbers_are_zero() {
        let least = f32::MIN_POSITIVE;
        let subnormal = bf16::from_bits(0x0040);
        for dot in HardwareDot::ALL {
            assert_eq!(dot.add(0.0, &[subnormal], &[bf(2f32.powi(100))]), 0.0);
            assert_eq!(dot.add(1e-40, &[bf16::ZERO], &[bf16::ONE]), 0.0);
            assert_eq!(dot.add(0.0, &[bf(2f32.powi(-70))], &[bf(2f32.powi(-70))]), 0.0);
            assert_eq!(dot.add(least, &[bf(least)], &[bf(1.0)]), 2.0 * least);
            assert_eq!(dot.add(1.5 * least, &[bf(-least)], &[bf(1.0)]), 0.0);
        }
        // Just below the smallest normal number: with 24 bits, the halfway point rounds to it, what is below does not.
        let dot = HardwareDot::Avx512Bf16;
        assert_eq!(dot.add(least, &[bf(-2f32.powi(-75))], &[bf(2f32.powi(-76))]), least);
        let below = dot.add(least, &[bf(-2f32.powi(-75))], &[bf(1.5 * 2f32.powi(-76))]);
        assert_eq!(below.to_bits(), 0, "{below:e}");
        let below = dot.add(-least, &[bf(2f32.powi(-75))], &[bf(1.5 * 2f32.powi(-76))]);
        assert_eq!(below.to_bits(), 1 << 31, "{below:e}");
    }

    #[test]
    fn infinities_and_nan_are_what_ieee_754_makes_of_them() {
        for dot in HardwareDot::ALL {
            assert_eq!(dot.add(1.0, &[bf16::INFINITY, bf16::ONE], &[bf16::ONE; 2]), f32::INFINITY);
            assert!(dot.add(1.0, &[bf16::INFINITY], &[bf16::ZERO]).is_nan());
            assert!(dot.add(f32::NEG_INFINITY, &[bf16::INFINITY], &[bf16::ONE]).is_nan());
            // Missing numbers are zeros on both sides.
            assert_eq!(dot.add(0.0, &[bf16::INFINITY], &[bf16::ONE]), f32::INFINITY);
            // A subnormal factor counts as zero there too.
            assert!(dot.add(0.0, &[bf16::INFINITY], &[bf16::from_bits(1)]).is_nan());
        }
    }

    /// What a CPU must have, on made-up machines.
    #[test]
    fn features_of_the_instructions() {
        use crate::machine::features::tests::Machine;
        let lacks = |dot: HardwareDot, machine: &Machine| {
            let needed = dot.lowest_tier().features().and(dot.features());
            needed.missing_from(machine.features())
        };
        for dot in HardwareDot::ALL {
            assert_eq!(lacks(dot, &Machine::sapphire_rapids()), None);
        }
        assert_eq!(lacks(HardwareDot::Avx512Bf16, &Machine::zen4()), None);
        let without = Machine::sapphire_rapids().without_permission();
        assert_eq!(lacks(HardwareDot::AmxBf16, &without), Some(TILES_PERMITTED));
        assert_eq!(lacks(HardwareDot::Avx512Bf16, &Machine::ice_lake()), Some("AVX512_BF16"));
        assert!(lacks(HardwareDot::AmxBf16, &Machine::zen4()).is_some());
    }
}
