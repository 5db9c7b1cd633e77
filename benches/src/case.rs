//! One operation on one shape: operands, packed weights, the call that is timed, and its comparison with the reference.

use std::rc::Rc;
use std::time::Instant;

use anyhow::Result;
use gemmill::{
    ActivationQuantization, Dequantize, Description, Gemm, IntOutput, MatMut, MatRef, PackedB, QuantParams, Requantize,
    Threads, Tier,
};

use crate::args::{self, Op, Shape, Type, WeightKind};
use crate::data::{self, Random, Values, Weights};
use crate::verify::{Activation, Expectation, Output, Verdict};

/// What a case is made of, besides its operation and shape.
#[derive(Debug, Clone)]
pub struct Setup {
    pub weights: WeightKind,
    pub activations: args::Activations,
    /// Largest activation of u8 operands; packing is told of it.
    pub activation_max: u8,
    /// Zero point of integer activations.
    pub a_zero_point: i32,
    pub tier: Tier,
    pub threads: usize,
    pub seed: u64,
}

/// Everything that a measurement needs, allocated.
pub struct Case {
    packed: PackedB,
    pack_seconds: f64,
    call: Box<dyn Call>,
    expectation: Expectation,
    shape: Shape,
    seed: u64,
}

/// The call that is timed. Operands and result have types that only the implementation knows.
trait Call {
    fn run(&mut self) -> gemmill::Result<()>;
    fn describe(&self) -> gemmill::Result<Description>;
    /// Fills C with a value that a product hardly gives.
    fn poison(&mut self);
    /// The bits of row `i` of C.
    fn row_bits(&self, i: usize) -> Vec<u32>;
}

struct CallOf<A, C> {
    gemm: Gemm<A, C>,
    a: Rc<[A]>,
    c: Vec<C>,
    shape: Shape,
}

macro_rules! call {
    ($($a:ty => $c:ty, $poison:expr, $bits:expr;)*) => {$(
        impl Call for CallOf<$a, $c> {
            fn run(&mut self) -> gemmill::Result<()> {
                let a = MatRef::row_major(&self.a, self.shape.m, self.shape.k)?;
                self.gemm.run(a, &mut MatMut::row_major(&mut self.c, self.shape.m, self.shape.n)?)
            }
            fn describe(&self) -> gemmill::Result<Description> {
                self.gemm.describe(self.shape.m)
            }
            fn poison(&mut self) {
                self.c.fill($poison);
            }
            fn row_bits(&self, i: usize) -> Vec<u32> {
                self.c[i * self.shape.n..][..self.shape.n].iter().map(|&x| $bits(x)).collect()
            }
        }
    )*};
}

call! {
    u8 => i32, 0x5bad_5bad, |x: i32| x as u32;
    i8 => i32, 0x5bad_5bad, |x: i32| x as u32;
    u8 => u8, 0x5b, u32::from;
    i8 => u8, 0x5b, u32::from;
    u8 => i8, 0x5b, |x: i8| x as u32;
    i8 => i8, 0x5b, |x: i8| x as u32;
    u8 => f32, -1.5e38, f32::to_bits;
    i8 => f32, -1.5e38, f32::to_bits;
    f32 => f32, -1.5e38, f32::to_bits;
}

impl Case {
    /// Makes operands, packs the weights and builds the operation.
    pub fn new(op: Op, shape: &Shape, setup: &Setup) -> Result<Case> {
        let mut random = Random::new(setup.seed);
        let weights = data::weights(setup.weights, op.b, shape, &mut random)?;
        let activation_max = if op.a == Type::U8 { setup.activation_max } else { u8::MAX };
        let start = Instant::now();
        let packed = pack(&weights, shape, activation_max, setup.tier)?;
        let pack_seconds = start.elapsed().as_secs_f64();
        let activation = activation(op.a, shape, setup, &mut random)?;
        let output = output(op.c, &weights, &activation, shape, &mut random);
        let call = call(&packed, &activation, &output, shape, setup.threads)?;
        let expectation = Expectation::new(activation, weights, output, shape);
        Ok(Case { packed, pack_seconds, call, expectation, shape: shape.clone(), seed: setup.seed })
    }

    /// One product: what is timed.
    pub fn run(&mut self) -> Result<()> {
        Ok(self.call.run()?)
    }

    /// What the operation does for this shape.
    pub fn describe(&self) -> Result<Description> {
        Ok(self.call.describe()?)
    }

    /// How the packed weights are multiplied.
    pub fn sequence(&self) -> String {
        self.packed.sequences().to_string()
    }

    /// Bytes of the packed weights.
    pub fn packed_bytes(&self) -> usize {
        self.packed.size_in_bytes()
    }

    /// Seconds that packing took.
    pub fn pack_seconds(&self) -> f64 {
        self.pack_seconds
    }

    /// Bytes of A, B and C as the caller holds them.
    pub fn bytes(&self) -> u64 {
        let Shape { m, n, k, .. } = self.shape;
        let a = m * k * if matches!(self.expectation.activation, Activation::F32 { .. }) { 4 } else { 1 };
        let c = m * n * if matches!(self.expectation.output, Output::U8 { .. } | Output::I8 { .. }) { 1 } else { 4 };
        (a + k * n + c) as u64
    }

    /// Runs once more and compares rows of C with the reference, bit for bit.
    ///
    /// All rows where the product has at most `budget` multiply-accumulates, otherwise a random sample of about that
    /// cost, with the first and the last row.
    pub fn verify(&mut self, budget: f64) -> Result<Verdict> {
        self.call.poison();
        self.call.run()?;
        let Shape { m, n, k, .. } = self.shape;
        let affordable = (budget / (n as f64 * k as f64)) as usize;
        let rows: Vec<usize> = if affordable >= m {
            (0..m).collect()
        } else {
            let mut random = Random::new(self.seed ^ 0x5eed);
            let mut rows: Vec<usize> =
                (0..affordable.max(2)).map(|_| (random.bits() % m as u64) as usize).chain([0, m - 1]).collect();
            rows.sort_unstable();
            rows.dedup();
            rows
        };
        for &i in &rows {
            let expected = self.expectation.row(i)?;
            let given = self.call.row_bits(i);
            if let Some(j) = (0..n).find(|&j| given[j] != expected[j]) {
                return Ok(Verdict::Wrong { row: i, col: j, expected: expected[j], given: given[j] });
            }
        }
        Ok(Verdict::Equal { rows: rows.len() })
    }
}

fn pack(weights: &Weights, shape: &Shape, activation_max: u8, tier: Tier) -> Result<PackedB> {
    let (k, n) = (shape.k, shape.n);
    let zero_points = weights.zero_point.into();
    Ok(match &weights.values {
        Values::I8(b) => PackedB::builder(MatRef::row_major(b, k, n)?)
            .zero_points(zero_points)
            .activation_max(activation_max)
            .tier(tier)
            .build()?,
        Values::U8(b) => PackedB::builder(MatRef::row_major(b, k, n)?)
            .zero_points(zero_points)
            .activation_max(activation_max)
            .tier(tier)
            .build()?,
    })
}

fn activation(a: Type, shape: &Shape, setup: &Setup, random: &mut Random) -> Result<Activation> {
    let len = shape.m * shape.k;
    Ok(match a {
        Type::I8 => Activation::I8 { data: data::activations_i8(len, random).into(), zero_point: setup.a_zero_point },
        Type::F32 => {
            let data = random.normal(len);
            let quantization = match setup.activations {
                args::Activations::Dynamic => ActivationQuantization::DynamicPerRow,
                args::Activations::Static => {
                    let (min, max) = gemmill::quant::min_max(&data).unwrap_or((0.0, 0.0));
                    let params = QuantParams::<u8>::from_min_max(min, max, gemmill::quant::Choose::default())?;
                    ActivationQuantization::Static(params)
                }
            };
            Activation::F32 { data: data.into(), quantization }
        }
        _ => Activation::U8 {
            data: data::activations_u8(len, setup.activation_max, random).into(),
            zero_point: setup.a_zero_point,
        },
    })
}

/// An epilogue whose results spread over the range of the output type.
fn output(c: Type, weights: &Weights, activation: &Activation, shape: &Shape, random: &mut Random) -> Output {
    const A_SCALE: f32 = 0.03;
    let spread = (shape.k as f32).sqrt() * 64.0;
    let mut bias_i32 = || (0..shape.n).map(|_| random.integer(-1000, 1000)).collect();
    match c {
        Type::U8 | Type::I8 => {
            let mean = match &weights.scales {
                data::Scales::Tensor(s) => *s,
                data::Scales::Column(s) => s.iter().sum::<f32>() / s.len().max(1) as f32,
            };
            let multiplier = weights.scales.times(0.6 / (spread * mean));
            match c {
                Type::U8 => Output::U8 { multiplier, bias: bias_i32(), zero_point: 120 },
                _ => Output::I8 { multiplier, bias: bias_i32(), zero_point: -5 },
            }
        }
        Type::F32 => {
            let a_scale = (!matches!(activation, Activation::F32 { .. })).then_some(A_SCALE);
            Output::F32 { b_scales: weights.scales.clone(), a_scale, bias: random.normal(shape.n) }
        }
        Type::I32 => Output::I32,
    }
}

/// Builds the operation for the types at hand; `$a` is bound to the activations.
macro_rules! for_integers {
    ($activation:expr, |$a:ident, $zero_point:ident| $build:expr) => {
        match $activation {
            Activation::U8 { data: $a, zero_point: $zero_point } => $build,
            Activation::I8 { data: $a, zero_point: $zero_point } => $build,
            Activation::F32 { .. } => anyhow::bail!("f32 activations give f32 results"),
        }
    };
}

fn call(
    packed: &PackedB,
    activation: &Activation,
    output: &Output,
    shape: &Shape,
    threads: usize,
) -> Result<Box<dyn Call>> {
    let threads = Threads::Max(threads);
    let len = shape.m * shape.n;
    let shape = shape.clone();
    Ok(match output {
        Output::I32 => for_integers!(activation, |a, zero_point| {
            let gemm = Gemm::builder(packed, IntOutput::Store).a_zero_point(*zero_point).threads(threads).build()?;
            Box::new(CallOf { gemm, a: Rc::clone(a), c: vec![0i32; len], shape })
        }),
        Output::U8 { multiplier, bias, zero_point: c_zero_point } => for_integers!(activation, |a, zero_point| {
            let to = Requantize::<u8>::new(multiplier.as_per_column()).zero_point(*c_zero_point).bias_i32(bias);
            let gemm = Gemm::builder(packed, to).a_zero_point(*zero_point).threads(threads).build()?;
            Box::new(CallOf { gemm, a: Rc::clone(a), c: vec![0u8; len], shape })
        }),
        Output::I8 { multiplier, bias, zero_point: c_zero_point } => for_integers!(activation, |a, zero_point| {
            let to = Requantize::<i8>::new(multiplier.as_per_column()).zero_point(*c_zero_point).bias_i32(bias);
            let gemm = Gemm::builder(packed, to).a_zero_point(*zero_point).threads(threads).build()?;
            Box::new(CallOf { gemm, a: Rc::clone(a), c: vec![0i8; len], shape })
        }),
        Output::F32 { b_scales, a_scale, bias } => {
            let to = Dequantize::new(b_scales.as_per_column()).bias(bias);
            if let Activation::F32 { data: a, quantization } = activation {
                let gemm = Gemm::builder(packed, to).a_quantization(*quantization).threads(threads).build()?;
                Box::new(CallOf { gemm, a: Rc::clone(a), c: vec![0f32; len], shape })
            } else {
                let to = to.a_scale(a_scale.unwrap_or(1.0));
                for_integers!(activation, |a, zero_point| {
                    let gemm = Gemm::builder(packed, to).a_zero_point(*zero_point).threads(threads).build()?;
                    Box::new(CallOf { gemm, a: Rc::clone(a), c: vec![0f32; len], shape })
                })
            }
        }
    })
}
