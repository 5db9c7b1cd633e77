//! What a product of integers has to give, row by row, by the library's normative reference.

use std::rc::Rc;

use anyhow::Result;
use gemmill::quant::{self, Choose, QuantElement, QuantParams};
use gemmill::reference::{self, Bias, Dequantize, Rows, ZeroPoints, dequantize, requantize};
use gemmill::{ActivationQuantization, MatRef};

use super::transposed;
use crate::args::Shape;
use crate::data::{Scales, Values, Weights};

/// Row-major activations, and how their integers are to be read.
#[derive(Debug, Clone)]
pub enum Activation {
    U8 { data: Rc<[u8]>, zero_point: i32 },
    I8 { data: Rc<[i8]>, zero_point: i32 },
    F32 { data: Rc<[f32]>, quantization: ActivationQuantization },
}

/// The epilogue.
#[derive(Debug, Clone)]
pub enum Output {
    I32,
    U8 { multiplier: Scales, bias: Vec<i32>, zero_point: i32 },
    I8 { multiplier: Scales, bias: Vec<i32>, zero_point: i32 },
    F32 { b_scales: Scales, a_scale: Option<f32>, bias: Vec<f32> },
}

/// Operands and epilogue of a product.
#[derive(Debug)]
pub struct Expectation {
    pub activation: Activation,
    pub output: Output,
    weights: Weights,
    /// The weights column after column: the reference goes down columns.
    columns: Values,
    n: usize,
    k: usize,
}

impl Expectation {
    /// What the reference reads: operands and an epilogue.
    pub fn new(activation: Activation, weights: Weights, output: Output, shape: &Shape) -> Expectation {
        let columns = match &weights.values {
            Values::I8(b) => Values::I8(transposed(b, shape.n)),
            Values::U8(b) => Values::U8(transposed(b, shape.n)),
        };
        Expectation { activation, weights, columns, output, n: shape.n, k: shape.k }
    }

    /// The bits of row `i` of C.
    pub fn row(&self, i: usize) -> Result<Vec<u32>> {
        let (raw, a_scale) = self.raw_row(i)?;
        let all = || raw.iter().copied().enumerate();
        Ok(match &self.output {
            Output::I32 => raw.iter().map(|&raw| raw as u32).collect(),
            Output::U8 { multiplier, bias, zero_point } => all()
                .map(|(j, raw)| {
                    requantize::<u8>(raw, Bias::Int(bias[j]), multiplier.at(j), *zero_point, (0, 255)).into()
                })
                .collect(),
            Output::I8 { multiplier, bias, zero_point } => all()
                .map(|(j, raw)| {
                    requantize::<i8>(raw, Bias::Int(bias[j]), multiplier.at(j), *zero_point, (-128, 127)) as u32
                })
                .collect(),
            Output::F32 { b_scales, a_scale: given, bias } => all()
                .map(|(j, raw)| {
                    let a_scale = given.unwrap_or(a_scale);
                    let stages =
                        Dequantize { a_scale, b_scale: b_scales.at(j), bias: Some(bias[j]), ..Default::default() };
                    dequantize(raw, stages).to_bits()
                })
                .collect(),
        })
    }

    /// The sums of row `i`, zero points taken out; and the scale of its activations where they were f32.
    fn raw_row(&self, i: usize) -> Result<(Vec<i32>, f32)> {
        let range = i * self.k..(i + 1) * self.k;
        Ok(match &self.activation {
            Activation::U8 { data, zero_point } => (self.raw(&data[range], *zero_point)?, 1.0),
            Activation::I8 { data, zero_point } => (self.raw(&data[range], *zero_point)?, 1.0),
            Activation::F32 { data, quantization } => {
                let row = &data[range];
                let params = match quantization {
                    ActivationQuantization::Static(params) => *params,
                    _ => {
                        let (min, max) = quant::reference::min_max(row).unwrap_or((0.0, 0.0));
                        QuantParams::from_min_max(min, max, Choose::default())?
                    }
                };
                let integers: Vec<u8> = row.iter().map(|&x| quant::reference::quantize(params, x)).collect();
                (self.raw(&integers, params.zero_point())?, params.scale())
            }
        })
    }

    fn raw<A: QuantElement>(&self, a: &[A], zero_point: i32) -> Result<Vec<i32>> {
        let a = MatRef::row_major(a, 1, self.k)?;
        let zero_points = ZeroPoints { a: Rows::All(zero_point), b: self.weights.zero_point.into() };
        Ok(match &self.columns {
            Values::I8(b) => reference::raw(a, MatRef::col_major(b, self.k, self.n)?, 1, zero_points),
            Values::U8(b) => reference::raw(a, MatRef::col_major(b, self.k, self.n)?, 1, zero_points),
        })
    }
}
