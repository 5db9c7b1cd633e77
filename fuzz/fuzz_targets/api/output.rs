//! Outputs with any parameters, and what the reference makes of a sum.

use arbitrary::Arbitrary;
use gemmill::quant::QuantElement;
use gemmill::reference;
use gemmill::{Dequantize, IntOutput, Requantize};

use crate::common::operand::Params;
use crate::input::{Int, Parameter, Real};

#[derive(Arbitrary, Debug)]
pub enum Output {
    Int { add: bool },
    U8(RequantizeInput),
    I8(RequantizeInput),
    F32(DequantizeInput),
}

/// An element of C.
pub struct At<C> {
    pub row: usize,
    pub column: usize,
    pub raw: i32,
    /// Of its row.
    pub a_scale: f32,
    pub before: C,
}

pub fn int(add: bool) -> (IntOutput, impl Fn(At<i32>) -> i32) {
    let output = if add { IntOutput::Add } else { IntOutput::Store };
    (output, move |at: At<i32>| if add { at.before.wrapping_add(at.raw) } else { at.raw })
}

#[derive(Arbitrary, Debug)]
pub struct RequantizeInput {
    multiplier: Parameter<Real>,
    zero_point: Int,
    bias: Bias,
    relu: bool,
    clamp: Option<(u8, u8)>,
}

#[derive(Arbitrary, Debug)]
enum Bias {
    None,
    Int(Parameter<Int>),
    Float { bias: Parameter<Real>, a_scale: Real, b_scale: Parameter<Real> },
}

/// Arrays that an output refers to.
pub struct RequantizeArrays {
    multiplier: Params<f32>,
    int_bias: Vec<i32>,
    float_bias: Vec<f32>,
    b_scale: Params<f32>,
}

impl RequantizeInput {
    pub fn arrays(&self, n: usize, groups: usize) -> RequantizeArrays {
        let mut arrays = RequantizeArrays {
            multiplier: self.multiplier.expand(n, groups, Real::positive),
            int_bias: Vec::new(),
            float_bias: Vec::new(),
            b_scale: Params::Tensor(1.0),
        };
        match &self.bias {
            Bias::None => {}
            Bias::Int(bias) => arrays.int_bias = bias.repeat(n, Int::get),
            Bias::Float { bias, b_scale, .. } => {
                arrays.float_bias = bias.repeat(n, Real::signed);
                arrays.b_scale = b_scale.expand(n, groups, Real::positive);
            }
        }
        arrays
    }

    pub fn stage<'a, T: QuantElement>(
        &'a self,
        arrays: &'a RequantizeArrays,
        n: usize,
        groups: usize,
    ) -> (Requantize<'a, T>, impl Fn(At<T>) -> T + 'a) {
        let zero_point = self.zero_point.within(T::LOW, T::HIGH);
        let mut stage = Requantize::<T>::new(arrays.multiplier.get()).zero_point(zero_point);
        stage = match &self.bias {
            Bias::None => stage,
            Bias::Int(_) => stage.bias_i32(&arrays.int_bias),
            Bias::Float { a_scale, .. } => stage.bias_f32(&arrays.float_bias, a_scale.positive(), arrays.b_scale.get()),
        };
        let clamp = self.clamp.map(|(low, high)| (T::LOW + i32::from(low), T::LOW + i32::from(high)));
        // In order, but for those that are the same in this.
        let clamp =
            clamp.map(|(low, high)| if low % 16 == high % 16 { (low, high) } else { (low.min(high), low.max(high)) });
        let relu = self.relu && clamp.is_none_or(|(low, high)| high >= zero_point || low % 16 == 0);
        if relu {
            stage = stage.relu();
        }
        if let Some((low, high)) = clamp {
            stage = stage.clamp(T::from_i32(low), T::from_i32(high));
        }
        let (low, high) = clamp.unwrap_or((T::LOW, T::HIGH));
        let low = if relu { low.max(zero_point) } else { low };
        let want = move |at: At<T>| {
            let bias = match &self.bias {
                Bias::None => reference::Bias::None,
                Bias::Int(_) => reference::Bias::Int(arrays.int_bias[at.column]),
                Bias::Float { a_scale, .. } => reference::Bias::Float {
                    bias: arrays.float_bias[at.column],
                    a_scale: a_scale.positive(),
                    b_scale: arrays.b_scale.at(at.column, n, groups),
                },
            };
            let multiplier = arrays.multiplier.at(at.column, n, groups);
            reference::requantize(at.raw, bias, multiplier, zero_point, (low, high))
        };
        (stage, want)
    }
}

#[derive(Arbitrary, Debug)]
pub struct DequantizeInput {
    b_scale: Parameter<Real>,
    bias: Option<Parameter<Real>>,
    residual: Option<Parameter<Real>>,
    relu: bool,
    clamp: Option<(Real, Real)>,
}

/// Arrays that an output refers to.
pub struct DequantizeArrays {
    b_scale: Params<f32>,
    bias: Option<Vec<f32>>,
    /// Row-major.
    pub residual: Option<Vec<f32>>,
}

impl DequantizeInput {
    pub fn arrays(&self, rows: usize, n: usize, groups: usize) -> DequantizeArrays {
        DequantizeArrays {
            b_scale: self.b_scale.expand(n, groups, Real::positive),
            bias: self.bias.map(|bias| bias.repeat(n, Real::signed)),
            residual: self.residual.map(|residual| residual.repeat(rows * n, Real::signed)),
        }
    }

    pub fn stage<'a>(
        &'a self,
        arrays: &'a DequantizeArrays,
        a_scale: Option<f32>,
        n: usize,
        groups: usize,
    ) -> (Dequantize<'a>, impl Fn(At<f32>) -> f32 + 'a) {
        let mut stage = Dequantize::new(arrays.b_scale.get());
        if let Some(scale) = a_scale {
            stage = stage.a_scale(scale);
        }
        if let Some(bias) = &arrays.bias {
            stage = stage.bias(bias);
        }
        if self.relu {
            stage = stage.relu();
        }
        let clamp = self.clamp.map(|(low, high)| (low.signed(), high.signed()));
        if let Some((low, high)) = clamp {
            stage = stage.clamp(low, high);
        }
        let (low, high) = clamp.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let low = if self.relu && low < 0.0 { 0.0 } else { low };
        let want = move |at: At<f32>| {
            reference::dequantize(
                at.raw,
                reference::Dequantize {
                    a_scale: at.a_scale,
                    b_scale: arrays.b_scale.at(at.column, n, groups),
                    bias: arrays.bias.as_ref().map(|bias| bias[at.column]),
                    residual: arrays.residual.as_ref().map(|residual| residual[at.row * n + at.column]),
                    clamp: (self.relu || clamp.is_some()).then_some((low, high)),
                },
            )
        };
        (stage, want)
    }
}
