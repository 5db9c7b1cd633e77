//! The layer: its projections, and what a first token becomes in it.

use gemmill::{Function, Result};
use rayon::prelude::*;

use crate::formats::Weights;

/// Widths of the layer's vectors.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub hidden: usize,
    /// Keys, and values.
    pub kv: usize,
    pub ffn: usize,
}

impl Sizes {
    /// Llama-3-8B: 32 query heads and 8 key-value heads of 128.
    pub const LLAMA_3_8B: Sizes = Sizes { hidden: 4096, kv: 1024, ffn: 14336 };

    pub fn divided_by(self, factor: usize) -> Sizes {
        Sizes { hidden: self.hidden / factor, kv: self.kv / factor, ffn: self.ffn / factor }
    }
}

/// The products of the layer, in the order in which a token goes through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    Query,
    Key,
    Value,
    Output,
    Gate,
    Up,
    Down,
}

impl Projection {
    pub const ALL: [Projection; 7] = [
        Projection::Query,
        Projection::Key,
        Projection::Value,
        Projection::Output,
        Projection::Gate,
        Projection::Up,
        Projection::Down,
    ];

    /// Rows and columns of its weights.
    pub fn sizes(self, sizes: &Sizes) -> (usize, usize) {
        let Sizes { hidden, kv, ffn } = *sizes;
        match self {
            Projection::Query | Projection::Output => (hidden, hidden),
            Projection::Key | Projection::Value => (hidden, kv),
            Projection::Gate | Projection::Up => (hidden, ffn),
            Projection::Down => (ffn, hidden),
        }
    }
}

/// The weights of all projections.
pub struct Layer {
    sizes: Sizes,
    weights: Vec<Box<dyn Weights>>,
}

/// What became of a token.
pub struct Forward {
    /// What each projection multiplied, and what it gave.
    pub inputs: Vec<Vec<f32>>,
    pub outputs: Vec<Vec<f32>>,
    /// What the layer adds to the token.
    pub update: Vec<f32>,
}

impl Layer {
    /// A layer without weights.
    pub fn new(sizes: Sizes) -> Layer {
        Layer { sizes, weights: Vec::new() }
    }

    /// The weights of the next projection of [`Projection::ALL`].
    pub fn push(&mut self, weights: Box<dyn Weights>) {
        self.weights.push(weights);
    }

    /// Bytes of all packed weights.
    pub fn weight_bytes(&self) -> usize {
        self.weights.iter().map(|w| w.bytes()).sum()
    }

    /// Bytes that a token's projections read and write: weights, inputs and outputs.
    pub fn bytes_moved(&self) -> usize {
        let vectors = Projection::ALL.map(|p| {
            let (k, n) = p.sizes(&self.sizes);
            (k + n) * size_of::<f32>()
        });
        self.weight_bytes() + vectors.into_iter().sum::<usize>()
    }

    /// One projection.
    fn multiply(&self, projection: Projection, x: &[f32]) -> Result<Vec<f32>> {
        let mut out = vec![0.0; projection.sizes(&self.sizes).1];
        self.weights[projection as usize].multiply(x, &mut out)?;
        Ok(out)
    }

    /// All projections, of given inputs.
    pub fn project(&self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>> {
        Projection::ALL.into_iter().zip(inputs).map(|(p, x)| self.multiply(p, x)).collect()
    }

    /// The layer of a first token, which attends to itself alone: what its attention gives are its values, each
    /// key-value head serving a group of query heads.
    pub fn forward(&self, token: &[f32]) -> Result<Forward> {
        let Sizes { hidden, kv, .. } = self.sizes;
        let normalized = rms_normalized(token);
        let [query, key, value] =
            [Projection::Query, Projection::Key, Projection::Value].map(|p| self.multiply(p, &normalized));
        let (query, key, value) = (query?, key?, value?);
        let head = 128.min(kv);
        let group = hidden / kv;
        let attended: Vec<f32> =
            value.chunks(head).flat_map(|values| values.iter().cycle().take(head * group).copied()).collect();
        let output = self.multiply(Projection::Output, &attended)?;
        let middle: Vec<f32> = token.iter().zip(&output).map(|(x, y)| x + y).collect();

        let normalized_middle = rms_normalized(&middle);
        let gate = self.multiply(Projection::Gate, &normalized_middle)?;
        let up = self.multiply(Projection::Up, &normalized_middle)?;
        let gated: Vec<f32> = gate.iter().zip(&up).map(|(g, u)| Function::Silu.apply(*g) * u).collect();
        let down = self.multiply(Projection::Down, &gated)?;
        let update = output.iter().zip(&down).map(|(x, y)| x + y).collect();

        let inputs = vec![
            normalized.clone(),
            normalized.clone(),
            normalized,
            attended,
            normalized_middle.clone(),
            normalized_middle,
            gated,
        ];
        Ok(Forward { inputs, outputs: vec![query, key, value, output, gate, up, down], update })
    }
}

fn rms_normalized(x: &[f32]) -> Vec<f32> {
    let mean_square = x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32;
    x.iter().map(|x| x / (mean_square + 1e-5).sqrt()).collect()
}

/// Relative errors: square roots of summed squares.
pub struct Errors {
    /// Of all projections, each on the inputs that it has in f32.
    pub of_projections: f64,
    /// Of what the whole layer adds to a token.
    pub of_layer: f64,
}

impl Errors {
    /// The errors of a layer whose weights are rounded, against what the exact one made of the same tokens.
    pub fn of(layer: &Layer, tokens: &[Vec<f32>], exact: &[Forward]) -> Result<Errors> {
        let (mut projections, mut layers) = (Squares::default(), Squares::default());
        for (token, exact) in tokens.iter().zip(exact) {
            let outputs = layer.project(&exact.inputs)?;
            outputs.iter().zip(&exact.outputs).for_each(|(found, exact)| projections.add(found, exact));
            layers.add(&layer.forward(token)?.update, &exact.update);
        }
        Ok(Errors { of_projections: projections.ratio(), of_layer: layers.ratio() })
    }
}

#[derive(Default)]
struct Squares {
    differences: f64,
    exact: f64,
}

impl Squares {
    fn add(&mut self, found: &[f32], exact: &[f32]) {
        for (&found, &exact) in found.iter().zip(exact) {
            self.differences += (f64::from(found) - f64::from(exact)).powi(2);
            self.exact += f64::from(exact).powi(2);
        }
    }

    fn ratio(&self) -> f64 {
        (self.differences / self.exact).sqrt()
    }
}

/// Independent normal variables of a standard deviation: the same ones on every run.
pub fn gaussian(seed: u64, len: usize, deviation: f32) -> Vec<f32> {
    const PIECE: usize = 1 << 16;
    let mut values = vec![0.0; len];
    values.par_chunks_mut(PIECE).enumerate().for_each(|(piece, values)| {
        let mut random = Random(seed << 32 | piece as u64);
        values.chunks_mut(2).for_each(|pair| pair.copy_from_slice(&random.normal_pair(deviation)[..pair.len()]));
    });
    values
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Box and Muller.
    fn normal_pair(&mut self, deviation: f32) -> [f32; 2] {
        const UNIT: f32 = 1.0 / (1u32 << 24) as f32;
        let bits = self.bits();
        // In (0, 1], so that the logarithm is finite.
        let radius = deviation * (-2.0 * (((bits >> 40) + 1) as f32 * UNIT).ln()).sqrt();
        let (sin, cos) = ((bits & 0xff_ffff) as f32 * UNIT * std::f32::consts::TAU).sin_cos();
        [radius * cos, radius * sin]
    }
}
