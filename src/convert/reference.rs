//! The normative conversions, one element at a time: what every faster path must equal bit by bit.

use super::{bf16, f16};

/// Bits of a fraction: of f32, and the explicit ones of f16 and of bf16.
const F32_FRACTION: u32 = 23;
const F16_FRACTION: u32 = 10;
const BF16_FRACTION: u32 = 7;

/// The exponent field of all ones, where it stands in an f32: infinity. What lies above it, sign aside, is NaN.
const INFINITY: u32 = 0xff << F32_FRACTION;
const MAGNITUDE: u32 = !(1 << 31);

/// `x / 2^shift`, rounded to the nearest, ties to even; `shift` of 1 to 31.
fn shift_rne(x: u32, shift: u32) -> u32 {
    let (whole, rest, half) = (x >> shift, x & ((1 << shift) - 1), 1 << (shift - 1));
    whole + u32::from(rest > half || (rest == half && whole & 1 == 1))
}

/// The nearest f16, ties to even; overflow gives infinity, NaN a quiet NaN with the upper bits of its payload.
///
/// # Examples
/// ```
/// use gemmill::convert::{f16, reference::f32_to_f16};
/// assert_eq!(f32_to_f16(65519.0), f16::MAX);
/// assert_eq!(f32_to_f16(65520.0), f16::INFINITY);
/// assert_eq!(f32_to_f16(2f32.powi(-25)), f16::ZERO); // halfway to the smallest subnormal
/// ```
pub fn f32_to_f16(x: f32) -> f16 {
    const SHIFT: u32 = F32_FRACTION - F16_FRACTION;
    /// f32's exponent field of 2^-14, the smallest normal f16, whose field is 1.
    const SMALLEST_NORMAL: u32 = 127 - 14;
    const INFINITY_16: u32 = 0x1f << F16_FRACTION;
    let sign = (x.to_bits() >> 16 & 0x8000) as u16;
    let magnitude = x.to_bits() & MAGNITUDE;
    let exponent = magnitude >> F32_FRACTION;
    let fraction = magnitude & ((1 << F32_FRACTION) - 1);
    let result = if magnitude > INFINITY {
        INFINITY_16 | 1 << (F16_FRACTION - 1) | fraction >> SHIFT
    } else if exponent >= SMALLEST_NORMAL {
        // A fraction that rounds up to one carries into the exponent, up to infinity.
        shift_rne(magnitude - ((SMALLEST_NORMAL - 1) << F32_FRACTION), SHIFT).min(INFINITY_16)
    } else {
        // In units of 2^-24. Below 2^-26 nothing is left, f32's subnormal numbers among it.
        let shift = SHIFT + SMALLEST_NORMAL - exponent;
        if shift > F32_FRACTION + 2 { 0 } else { shift_rne(fraction | 1 << F32_FRACTION, shift) }
    };
    f16::from_bits(sign | result as u16)
}

/// As [`f32_to_f16`], but what is larger than 65504 in magnitude, an infinity too, becomes ±65504.
///
/// # Examples
/// ```
/// use gemmill::convert::{f16, reference::f32_to_f16_saturating};
/// assert_eq!(f32_to_f16_saturating(-1e9), f16::MIN);
/// assert_eq!(f32_to_f16_saturating(f32::INFINITY), f16::MAX);
/// assert!(f32_to_f16_saturating(f32::NAN).is_nan());
/// ```
pub fn f32_to_f16_saturating(x: f32) -> f16 {
    f32_to_f16(clamp(x, 65504.0))
}

/// The same number; a NaN quiet, with its payload.
///
/// # Examples
/// ```
/// use gemmill::convert::{f16, reference::f16_to_f32};
/// assert_eq!(f16_to_f32(f16::from_bits(1)), 2f32.powi(-24));
/// assert_eq!(f16_to_f32(f16::from_bits(0x7c01)).to_bits(), 0x7fc0_2000);
/// ```
pub fn f16_to_f32(x: f16) -> f32 {
    const SHIFT: u32 = F32_FRACTION - F16_FRACTION;
    let bits = u32::from(x.to_bits());
    let sign = (bits & 0x8000) << 16;
    let (exponent, fraction) = (bits >> F16_FRACTION & 0x1f, bits & ((1 << F16_FRACTION) - 1));
    let magnitude = match (exponent, fraction) {
        (0x1f, 0) => INFINITY,
        (0x1f, _) => INFINITY | 1 << (F32_FRACTION - 1) | fraction << SHIFT,
        // In units of 2^-24: an integer below 2^10, times a power of two, is exact.
        (0, _) => (fraction as f32 / (1u32 << 24) as f32).to_bits(),
        _ => (exponent + 127 - 15) << F32_FRACTION | fraction << SHIFT,
    };
    f32::from_bits(sign | magnitude)
}

/// The nearest bf16, ties to even; overflow gives infinity, NaN a quiet NaN with the upper bits of its payload.
///
/// # Examples
/// ```
/// use gemmill::convert::{bf16, reference::f32_to_bf16};
/// assert_eq!(f32_to_bf16(1.00390625).to_f32(), 1.0); // halfway to 1.0078125
/// assert_eq!(f32_to_bf16(f32::MAX), bf16::INFINITY);
/// assert_eq!(f32_to_bf16(f32::from_bits(0x7f80_0001)).to_bits(), 0x7fc0);
/// ```
pub fn f32_to_bf16(x: f32) -> bf16 {
    const SHIFT: u32 = F32_FRACTION - BF16_FRACTION;
    let bits = x.to_bits();
    let result = if bits & MAGNITUDE > INFINITY {
        bits >> SHIFT | 1 << (BF16_FRACTION - 1)
    } else {
        // A fraction that rounds up to one carries into the exponent, up to infinity.
        shift_rne(bits, SHIFT)
    };
    bf16::from_bits(result as u16)
}

/// As [`f32_to_bf16`], but what is larger in magnitude than the largest finite number, an infinity too, becomes that.
///
/// # Examples
/// ```
/// use gemmill::convert::{bf16, reference::f32_to_bf16_saturating};
/// assert_eq!(f32_to_bf16_saturating(f32::MAX), bf16::MAX);
/// assert_eq!(f32_to_bf16_saturating(f32::NEG_INFINITY), bf16::MIN);
/// ```
pub fn f32_to_bf16_saturating(x: f32) -> bf16 {
    f32_to_bf16(clamp(x, f32::from_bits(0x7f7f_0000)))
}

/// The same number; a NaN quiet, with its payload.
///
/// # Examples
/// ```
/// use gemmill::convert::{bf16, reference::bf16_to_f32};
/// assert_eq!(bf16_to_f32(bf16::from_bits(0x3fc0)), 1.5);
/// assert_eq!(bf16_to_f32(bf16::from_bits(0xff81)).to_bits(), 0xffc1_0000);
/// ```
pub fn bf16_to_f32(x: bf16) -> f32 {
    let bits = u32::from(x.to_bits()) << 16;
    let quiet = if bits & MAGNITUDE > INFINITY { 1 << (F32_FRACTION - 1) } else { 0 };
    f32::from_bits(bits | quiet)
}

/// `x`, limited to `-largest..=largest`; NaN as it is.
fn clamp(x: f32, largest: f32) -> f32 {
    if x > largest {
        largest
    } else if x < -largest {
        -largest
    } else {
        x
    }
}
