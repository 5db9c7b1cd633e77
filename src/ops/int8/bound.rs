//! An output bound to packed weights: the epilogue's description and the arrays that its stages read.

use gemmill_codegen::{self as codegen, AZeroPoint, BZeroPoint, Byte, Clamp, Epilogue, FloatType, Output};

use super::output::{Bias, Dequantize, IntOutput};
use crate::error::{Error, Result, expect};
use crate::machine::memory::require;
use crate::quant::check_scale;
use crate::quant::per_column::{Expanded, PerColumn};
use crate::run::int8::Limits;
use crate::weights::int8::packed::{PackedView, ZeroPoints};

/// What an output is bound to.
#[derive(Debug)]
pub struct Context<'a> {
    pub(crate) packed: PackedView<'a>,
    /// Zero point of A, in the type that kernels get.
    pub(crate) a_zero_point: i32,
    /// Scale that floating-point activations bring.
    pub(crate) a_scale: ActivationScale,
}

/// Where the scale of A comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ActivationScale {
    /// The output's own parameter: activations are integers.
    Given,
    /// Quantization on the fly, one scale for all rows.
    Static(f32),
    /// Quantization on the fly, row by row.
    PerRow,
}

/// The epilogue of an operation, arrays by padded column.
#[derive(Debug)]
pub struct Bound {
    /// With zero points and scales per tensor for A, unless quantization is per row.
    pub(crate) epilogue: Epilogue,
    /// Bias, and what A's zero point takes out.
    pub(crate) term: Vec<i32>,
    /// Bias alone, for zero points by row.
    pub(crate) bias_term: Vec<i32>,
    /// Multiplier, or scale of A times scale of B.
    pub(crate) scale: Vec<f32>,
    /// Scale of B alone, for scales by row.
    pub(crate) b_scale: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) limits: Limits,
    pub(crate) row_sum_factor: i32,
    /// The largest absolute value of an i32 bias.
    pub(super) largest_bias: u64,
}

fn check_finite(what: &'static str, x: f32) -> Result<f32> {
    if x.is_finite() { Ok(x) } else { Err(Error::BadNumber { what, expected: "a finite number", given: x }) }
}

impl Context<'_> {
    fn cols(&self) -> usize {
        self.packed.group_cols() * self.packed.groups()
    }

    fn expand<'v, T: Copy>(&self, what: &'static str, values: PerColumn<'v, T>) -> Result<Expanded<'v, T>> {
        values.expand(what, self.cols(), self.packed.groups())
    }

    /// An array by padded column: `f(j)` where C has column `j`, `padding` elsewhere.
    fn by_column<T: Copy>(&self, padding: T, f: impl Fn(usize) -> T) -> Vec<T> {
        let mut array = vec![padding; self.packed.corrections().len()];
        for panel in self.packed.panels() {
            for j in 0..panel.cols {
                array[panel.padded_column + j] = f(panel.column + j);
            }
        }
        array
    }

    /// What all outputs share: the zero-point stages.
    fn bound(&self, output: Output, int_bias: Option<&[i32]>) -> Result<Bound> {
        // Five arrays of four bytes for each padded column, two of them here.
        require("parameters of columns", self.packed.corrections().len().saturating_mul(20))?;
        let bias_term = self.by_column(0, |j| int_bias.map_or(0, |b| b[j]));
        let corrections = self.packed.corrections();
        let term = bias_term
            .iter()
            .zip(corrections)
            .map(|(&bias, &correction)| bias.wrapping_add(correction.wrapping_mul(self.a_zero_point)))
            .collect();
        let (b_zero_point, row_sum_factor) = match self.packed.zero_points() {
            ZeroPoints::Tensor(0) => (BZeroPoint::Zero, 0),
            ZeroPoints::Tensor(z) => (BZeroPoint::Tensor, -z),
            ZeroPoints::PerColumn => (BZeroPoint::PerColumn, -1),
        };
        let per_row = self.a_scale == ActivationScale::PerRow;
        let a_zero_point = if per_row { AZeroPoint::PerRow } else { AZeroPoint::Folded };
        Ok(Bound {
            epilogue: Epilogue { a_zero_point, b_zero_point, output },
            term,
            bias_term,
            scale: Vec::new(),
            b_scale: Vec::new(),
            bias: Vec::new(),
            limits: Limits::default(),
            row_sum_factor,
            largest_bias: int_bias.and_then(|b| b.iter().map(|b| b.unsigned_abs()).max()).unwrap_or(0).into(),
        })
    }
}

impl Bound {
    /// Whether C holds sums modulo 2^32, or what was made of them.
    pub(super) fn gives_integers(&self) -> bool {
        !matches!(self.epilogue.output, Output::Dequantize(_))
    }

    pub(crate) fn int(output: IntOutput, context: &Context<'_>) -> Result<Bound> {
        if context.a_scale == ActivationScale::PerRow {
            return Err(Error::Unsupported { what: PER_ROW_NEEDS_FLOATS });
        }
        let output = match output {
            IntOutput::Store => Output::StoreI32,
            IntOutput::Add => Output::AddI32,
        };
        context.bound(output, None)
    }

    pub(crate) fn requantize(
        to: Byte,
        (low, high): (i32, i32),
        zero_point: i32,
        multiplier: PerColumn<'_, f32>,
        bias: Bias<'_>,
        context: &Context<'_>,
    ) -> Result<Bound> {
        if context.a_scale == ActivationScale::PerRow {
            return Err(Error::Unsupported { what: PER_ROW_NEEDS_FLOATS });
        }
        let multiplier = context.expand("multipliers", multiplier)?;
        for m in multiplier.iter() {
            if !(m.is_finite() && m > 0.0) {
                return Err(Error::BadNumber { what: "multiplier", expected: "a finite number above 0", given: m });
            }
        }
        let (int_bias, float_bias) = match bias {
            Bias::None => (None, None),
            Bias::Int(bias) => {
                expect("i32 bias", context.cols(), bias.len())?;
                (Some(bias), None)
            }
            Bias::Float { bias, a_scale, b_scale } => (None, Some(float_bias(bias, a_scale, b_scale, context)?)),
        };
        // |f32(raw)| <= 2^31, and a margin of two for the roundings on the way.
        let safe = |j: usize| {
            let bias = float_bias.as_ref().map_or(0.0, |q| f64::from(q[j].abs()));
            (2f64.powi(31) + bias) * f64::from(multiplier.get(j)) <= 2f64.powi(30)
        };
        let limits_of_type = if to == Byte::U8 { (0, 255) } else { (-128, 127) };
        let clamp = match (0..context.cols()).all(safe) {
            true if (low, high) == limits_of_type => Clamp::Type,
            true => Clamp::Narrowing,
            false => Clamp::Float,
        };
        let stages = codegen::Requantize { to, float_bias: float_bias.is_some(), clamp };
        let mut bound = context.bound(Output::Requantize(stages), int_bias)?;
        bound.scale = context.by_column(1.0, |j| multiplier.get(j));
        bound.bias = float_bias.map_or(Vec::new(), |q| context.by_column(0.0, |j| q[j]));
        bound.limits = Limits {
            low: (low - zero_point) as f32,
            high: (high - zero_point) as f32,
            zero_point,
            low_byte: low,
            high_byte: high,
        };
        Ok(bound)
    }

    pub(crate) fn dequantize<T>(to: FloatType, output: &Dequantize<'_, T>, context: &Context<'_>) -> Result<Bound> {
        let b_scale = context.expand("scales of B", output.b_scale)?;
        b_scale.iter().try_for_each(|s| check_scale("scale of B", s).map(drop))?;
        let a_scale = match (context.a_scale, output.a_scale) {
            (ActivationScale::Given, Some(given)) => check_scale("scale of A", given)?,
            (ActivationScale::Given, None) => {
                let what = "a floating-point output of u8 or i8 activations needs their scale (Dequantize::a_scale)";
                return Err(Error::Unsupported { what });
            }
            (ActivationScale::Static(scale), None) => scale,
            (ActivationScale::PerRow, None) => 1.0,
            _ => {
                return Err(Error::Unsupported {
                    what: "a scale of A is given, but floating-point activations bring their own",
                });
            }
        };
        if let Some(bias) = output.bias {
            expect("f32 bias", context.cols(), bias.len())?;
            bias.iter().try_for_each(|&b| check_finite("f32 bias", b).map(drop))?;
        }
        let (low, high) = output.clamp.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        for (what, limit) in [("clamp, lower limit", low), ("clamp, upper limit", high)] {
            if limit.is_nan() {
                return Err(Error::BadNumber { what, expected: "a number", given: limit });
            }
        }
        let low = if output.relu && low <= 0.0 { 0.0 } else { low };
        if low > high {
            let what = "clamp, lower limit after ReLU";
            return Err(Error::BadNumber { what, expected: "at most the upper limit", given: low });
        }
        let stages = codegen::Dequantize {
            to,
            row_scale: context.a_scale == ActivationScale::PerRow,
            bias: output.bias.is_some(),
            residual: false,
            clamp: output.relu || output.clamp.is_some(),
        };
        let mut bound = context.bound(Output::Dequantize(stages), None)?;
        bound.scale = context.by_column(1.0, |j| a_scale * b_scale.get(j));
        bound.b_scale = context.by_column(1.0, |j| b_scale.get(j));
        bound.bias = output.bias.map_or(Vec::new(), |b| context.by_column(0.0, |j| b[j]));
        bound.limits = Limits { low, high, ..Limits::default() };
        Ok(bound)
    }
}

const PER_ROW_NEEDS_FLOATS: &str = "activations are quantized row by row: \
    only a floating-point output (Dequantize) can take their scales into account";

/// `bias[j] / (a_scale * b_scale[j])`, each operation rounded to f32.
fn float_bias(bias: &[f32], a_scale: f32, b_scale: PerColumn<'_, f32>, context: &Context<'_>) -> Result<Vec<f32>> {
    expect("f32 bias", context.cols(), bias.len())?;
    let a_scale = check_scale("scale of A", a_scale)?;
    let b_scale = context.expand("scales of B", b_scale)?;
    b_scale.iter().try_for_each(|s| check_scale("scale of B", s).map(drop))?;
    let quotient = |(j, &b): (usize, &f32)| {
        check_finite("f32 bias", b)?;
        check_finite("scale of A times scale of B", a_scale * b_scale.get(j))?;
        check_finite("f32 bias divided by the scales", b / (a_scale * b_scale.get(j)))
    };
    bias.iter().enumerate().map(quotient).collect()
}
