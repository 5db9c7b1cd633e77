//! The functions of a float epilogue, as the same operations on every tier: numbers, and the operations on one number.
//!
//! Both are `x / (1 + exp(t))`, with `t = -x` for SiLU and `t = -2 sqrt(2/pi) (x + 0.044715 x^3)` for GELU by tanh.
//!
//! ```text
//! t = min(max(t, -87), 88)        n = rne(t * log2 e)        r = t - n ln 2, in two parts
//! exp(t) = (1 + r + r^2 (c2 + r (c3 + ...))) * 2^n           a fit of 3e-9 on |r| <= ln(2) / 2
//! ```
//!
//! Every operation rounds once, so that all tiers give the same bits. For `x` below -104 the numerator stays -104:
//! where the function itself is smaller than 1e-36, so is the result. The error is at most `2^-22 * |f(x)| + 1e-36` for
//! SiLU, and for GELU `2^-22 * (1 + |t|) * |f(x)| + 1e-36`, since its `t` is rounded; `benches/tests/accuracy` measures
//! both.
//!
//! Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016; Elfwing, Uchibe and Doya, "Sigmoid-Weighted Linear
//! Units", 2017.

use super::desc::FloatFunction;

/// `-2 sqrt(2/pi)`
pub(crate) const GELU_LINEAR: f32 = -1.595_769_2;
/// `-2 sqrt(2/pi) * 0.044715`
pub(crate) const GELU_CUBIC: f32 = -0.071_354_814;
/// Smallest numerator.
pub(crate) const LOWEST: f32 = -104.0;
/// Smallest exponent: `2^n` stays normal.
pub(crate) const EXP_LOW: f32 = -87.0;
/// Largest exponent: `exp` stays finite.
pub(crate) const EXP_HIGH: f32 = 88.0;
pub(crate) const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// `-ln 2`: fourteen bits, and the rest.
pub(crate) const MINUS_LN2: [f32; 2] = [-0.693_115_23, -3.194_618_3e-5];
/// Coefficients of `r^6` down to `r^0`.
pub(crate) const EXP: [f32; 7] = [0.001_381_458_4, 0.008_368_724, 0.041_668_39, 0.166_665_21, 0.499_999_94, 1.0, 1.0];
/// The bias of f32 exponents, and their place.
pub(crate) const EXPONENT_BIAS: u32 = 127;
pub(crate) const EXPONENT_SHIFT: u8 = 23;

/// `a > b ? a : b`, as the CPU's instruction.
fn max(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// `a < b ? a : b`, as the CPU's instruction.
fn min(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// What kernels make of `x`, bit for bit; `low` and `high` are the limits of [`FloatFunction::Clamp`].
///
/// # Examples
/// ```
/// use gemmill_codegen::{FloatFunction, float_function};
/// assert_eq!(float_function(FloatFunction::Clamp, -2.0, 0.0, f32::INFINITY), 0.0);
/// assert!((float_function(FloatFunction::Silu, 1.0, 0.0, 0.0) - 0.7310586).abs() < 1e-6);
/// assert_eq!(float_function(FloatFunction::Gelu, 100.0, 0.0, 0.0), 100.0);
/// ```
pub fn float_function(function: FloatFunction, x: f32, low: f32, high: f32) -> f32 {
    let t = match function {
        FloatFunction::Identity => return x,
        FloatFunction::Clamp => return min(high, max(low, x)),
        FloatFunction::Silu => -x,
        FloatFunction::Gelu => (x * x).mul_add(GELU_CUBIC, GELU_LINEAR) * x,
    };
    max(LOWEST, x) / (exp(t) + 1.0)
}

fn exp(t: f32) -> f32 {
    let t = min(EXP_HIGH, max(EXP_LOW, t));
    let n = (t * LOG2_E).round_ties_even();
    let r = n.mul_add(MINUS_LN2[1], n.mul_add(MINUS_LN2[0], t));
    let power = f32::from_bits(((n as i32).wrapping_add(EXPONENT_BIAS as i32) as u32) << EXPONENT_SHIFT);
    let [first, rest @ ..] = EXP;
    rest.into_iter().fold(first, |sum, c| sum.mul_add(r, c)) * power
}
