//! What may become of a sum before it is stored.

use gemmill_codegen::{FloatFunction, float_function};

use crate::error::{Error, Result};

/// A function that is applied to each element of C.
///
/// All tiers give the same bits. GELU and SiLU are `x / (1 + exp(-t))` in f32, with `t = x` for SiLU and `t = 2
/// sqrt(2/pi) (x + 0.044715 x^3)` for GELU. Against the formulas below without any rounding, `f(x)`, the error is at
/// most `2^-22 |f(x)| + 1e-36` for SiLU, `2^-22 (1 + |t|) |f(x)| + 1e-36` for GELU, and `2^-22 |x| + 1e-36` for both:
/// held over all exponents by a test (`docs/accuracy.md`). NaN stays NaN.
///
/// # Examples
/// ```
/// use gemmill::Function;
/// assert_eq!(Function::Relu.apply(-1.0), 0.0);
/// assert!((Function::Gelu.apply(1.0) - 0.841192).abs() < 1e-6);
/// assert!(Function::Clamp { low: 1.0, high: 0.0 }.check().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Function {
    /// `x`
    #[default]
    Identity,
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, low), high)`
    Clamp {
        /// Smallest result; not NaN, may be infinite.
        low: f32,
        /// Largest result; not NaN, at least `low`.
        high: f32,
    },
    /// `x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))) / 2`
    Gelu,
    /// `x / (1 + exp(-x))`, also called swish.
    Silu,
}

impl Function {
    /// The function of one number: the bits that kernels give.
    pub fn apply(self, x: f32) -> f32 {
        let (low, high) = self.limits();
        float_function(self.kind(), x, low, high)
    }

    /// Whether limits make sense.
    ///
    /// # Errors
    /// [`Error::BadNumber`] if a limit is NaN or `high < low`.
    pub fn check(self) -> Result<()> {
        let (low, high) = self.limits();
        for (what, given) in [("smallest output", low), ("largest output", high)] {
            if given.is_nan() {
                return Err(Error::BadNumber { what, expected: "a number", given });
            }
        }
        if high < low {
            return Err(Error::BadNumber { what: "largest output", expected: "at least the smallest", given: high });
        }
        Ok(())
    }

    pub(crate) fn kind(self) -> FloatFunction {
        match self {
            Function::Identity => FloatFunction::Identity,
            Function::Relu | Function::Clamp { .. } => FloatFunction::Clamp,
            Function::Gelu => FloatFunction::Gelu,
            Function::Silu => FloatFunction::Silu,
        }
    }

    pub(crate) fn limits(self) -> (f32, f32) {
        match self {
            Function::Relu => (0.0, f32::INFINITY),
            Function::Clamp { low, high } => (low, high),
            _ => (f32::NEG_INFINITY, f32::INFINITY),
        }
    }
}
