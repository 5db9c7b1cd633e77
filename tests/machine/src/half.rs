//! Conversions between f32 and f16 (IEEE-754 binary16), as `vcvtph2ps` and `vcvtps2ph` do them: denormals of both are
//! kept, NaNs become quiet and keep what fits of their payload.

/// How `vcvtps2ph` rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    NearestEven,
    Down,
    Up,
    TowardsZero,
}

impl Rounding {
    /// What the immediate number asks for. With bit 2 it asks for the control register's mode, which is the default
    /// one; bits above are ignored.
    pub(crate) fn of_immediate(number: u8) -> Rounding {
        match number & 7 {
            1 => Rounding::Down,
            2 => Rounding::Up,
            3 => Rounding::TowardsZero,
            _ => Rounding::NearestEven,
        }
    }
}

const SIGN: u16 = 0x8000;
const INFINITY: u16 = 0x7c00;
const QUIET: u16 = 0x0200;
const FRACTION: u16 = 0x03ff;
/// Bits of f32's fraction that f16 lacks.
const EXTRA_BITS: u32 = 13;
/// The difference of the exponents' biases.
const REBIAS: u32 = 127 - 15;

/// f16 to f32: always exact.
pub(crate) fn to_f32(x: u16) -> u32 {
    let sign = u32::from(x & SIGN) << 16;
    let (exponent, fraction) = (u32::from(x >> 10 & 31), u32::from(x & FRACTION));
    let magnitude = match exponent {
        // Denormals count units of 2^-24, which are normal numbers of f32.
        0 => (fraction as f32 * 2f32.powi(-24)).to_bits(),
        31 if fraction == 0 => 0x7f80_0000,
        31 => 0x7fc0_0000 | fraction << EXTRA_BITS,
        _ => (exponent + REBIAS) << 23 | fraction << EXTRA_BITS,
    };
    sign | magnitude
}

/// f32 to f16.
pub(crate) fn from_f32(x: u32, rounding: Rounding) -> u16 {
    let sign = (x >> 16) as u16 & SIGN;
    let (exponent, fraction) = (x >> 23 & 255, x & 0x7f_ffff);
    if exponent == 255 {
        let payload = (fraction >> EXTRA_BITS) as u16;
        return sign | INFINITY | if fraction == 0 { 0 } else { payload | QUIET };
    }
    let away_if_inexact = match rounding {
        Rounding::Down => sign != 0,
        Rounding::Up => sign == 0,
        _ => false,
    };
    // From 2^16 on.
    if exponent >= REBIAS + 31 {
        let infinite = away_if_inexact || rounding == Rounding::NearestEven;
        return sign | if infinite { INFINITY } else { INFINITY - 1 };
    }
    // Denormals have the exponent of the smallest normal numbers, and no leading one.
    let significand = if exponent == 0 { fraction } else { fraction | 1 << 23 };
    // Below 2^-14, results are denormals, which lose more bits. With 26 or more, nothing but a remainder below half is
    // left.
    let lost = EXTRA_BITS + (REBIAS + 1).saturating_sub(exponent.max(1)).min(EXTRA_BITS);
    let (kept, remainder, half) = (significand >> lost, significand & ((1 << lost) - 1), 1 << (lost - 1));
    // The leading one of a normal number adds one to the exponent; so does a carry out of the fraction.
    let truncated = (exponent.saturating_sub(REBIAS + 1) << 10) + kept;
    let away = match rounding {
        Rounding::NearestEven => remainder > half || remainder == half && kept & 1 == 1,
        _ => away_if_inexact && remainder != 0,
    };
    sign | (truncated + u32::from(away)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from the definition of the format.
    #[test]
    fn known_values() {
        let nearest = |x: f32| from_f32(x.to_bits(), Rounding::NearestEven);
        let known =
            [(0x0001, 2f32.powi(-24)), (0x03ff, 1023.0 * 2f32.powi(-24)), (0x0400, 2f32.powi(-14)), (0x3c00, 1.0)];
        for (half, float) in
            known.into_iter().chain([(0xc248, -3.140625), (0x7bff, 65504.0), (0xfc00, f32::NEG_INFINITY)])
        {
            assert_eq!((to_f32(half), nearest(float)), (float.to_bits(), half), "{float}");
        }
        // Ties: below the smallest denormal, between denormals, and from the largest number to infinity.
        assert_eq!([0.5, 1.5, 2.5].map(|units| nearest(units * 2f32.powi(-24))), [0, 2, 2]);
        assert_eq!([65519.996, 65520.0].map(nearest), [0x7bff, 0x7c00]);
    }

    #[test]
    fn every_half_survives_every_rounding() {
        use Rounding::*;
        for half in 0..=u16::MAX {
            let quiet = if half & !SIGN > INFINITY { half | QUIET } else { half };
            for rounding in [NearestEven, Down, Up, TowardsZero] {
                assert_eq!(from_f32(to_f32(half), rounding), quiet, "{half:#x} {rounding:?}");
            }
        }
    }
}
