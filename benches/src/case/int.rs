//! Products of 8-bit integers: operands, packed weights, an epilogue for each type of result.

use std::rc::Rc;
use std::time::Instant;

use anyhow::Result;
use gemmill::{
    ActivationQuantization, Dequantize, Gemm, IntOutput, MatMut, MatRef, PackedB, QuantParams, Requantize, Threads,
    Tier,
};

use super::int_expectation::{Activation, Expectation, Output};
use super::{Case, Setup, next_of};
use crate::args::{self, Shape};
use crate::data::{self, Random, Values, Weights};
use crate::op::{IntOp, Type};

/// A product of integers.
pub struct IntCase {
    packed: PackedB,
    pack_seconds: f64,
    call: Box<dyn Call>,
    expectation: Expectation,
    shape: Shape,
}

/// The call that is timed. Operands and result have types that only the implementation knows.
trait Call {
    fn run(&mut self) -> gemmill::Result<()>;
    /// Fills C with a value that a product hardly gives.
    fn poison(&mut self);
    /// The bits of row `i` of C.
    fn row_bits(&self, i: usize) -> Vec<u32>;
}

struct CallOf<A, C> {
    /// The operation, with each copy of the weights.
    gemms: Vec<Gemm<A, C>>,
    /// Which of them is next.
    next: usize,
    a: Rc<[A]>,
    c: Vec<C>,
    shape: Shape,
}

macro_rules! call {
    ($($a:ty => $c:ty, $poison:expr, $bits:expr;)*) => {$(
        impl Call for CallOf<$a, $c> {
            fn run(&mut self) -> gemmill::Result<()> {
                let a = MatRef::row_major(&self.a, self.shape.m, self.shape.k)?;
                self.next = next_of(self.next, self.gemms.len());
                self.gemms[self.next].run(a, &mut MatMut::row_major(&mut self.c, self.shape.m, self.shape.n)?)
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

impl IntCase {
    /// Makes operands, packs the weights and builds the operation.
    pub fn new(op: IntOp, shape: &Shape, setup: &Setup) -> Result<IntCase> {
        let mut random = Random::new(setup.seed);
        let weights = data::weights(setup.weights, op.b, shape, &mut random)?;
        let activation_max = if op.a == Type::U8 { setup.integers.activation_max } else { u8::MAX };
        let start = Instant::now();
        let packed = pack(&weights, shape, activation_max, setup.tier)?;
        let pack_seconds = start.elapsed().as_secs_f64();
        let copies = copies(&packed, setup.copies)?;
        let activation = activation(op.a, shape, setup, &mut random)?;
        let output = output(op.c, &weights, &activation, shape, &mut random);
        let call = call(&copies, &activation, &output, shape, setup.threads)?;
        let expectation = Expectation::new(activation, weights, output, shape);
        Ok(IntCase { packed, pack_seconds, call, expectation, shape: shape.clone() })
    }
}

impl Case for IntCase {
    fn run(&mut self) -> gemmill::Result<()> {
        self.call.run()
    }

    fn sequence(&self) -> String {
        self.packed.sequences().to_string()
    }

    fn packed_bytes(&self) -> usize {
        self.packed.size_in_bytes()
    }

    fn pack_seconds(&self) -> f64 {
        self.pack_seconds
    }

    fn bytes(&self) -> u64 {
        let Shape { m, n, k, .. } = self.shape;
        let a = m * k * if matches!(self.expectation.activation, Activation::F32 { .. }) { 4 } else { 1 };
        let c = m * n * if matches!(self.expectation.output, Output::U8 { .. } | Output::I8 { .. }) { 1 } else { 4 };
        (a + k * n + c) as u64
    }

    fn poison(&mut self) {
        self.call.poison();
    }

    fn row_bits(&self, i: usize) -> Vec<u32> {
        self.call.row_bits(i)
    }

    fn expected_bits(&self, i: usize) -> Result<Vec<u32>> {
        self.expectation.row(i)
    }
}

/// The weights themselves, and as many others of the same bytes in memory of their own.
fn copies(packed: &PackedB, count: usize) -> Result<Vec<PackedB>> {
    let mut all = vec![packed.clone()];
    if count > 1 {
        let bytes = packed.to_bytes();
        for _ in 1..count {
            all.push(PackedB::loader(&bytes).tier(packed.tier()).load()?);
        }
    }
    Ok(all)
}

fn pack(weights: &Weights, shape: &Shape, activation_max: u8, tier: Tier) -> Result<PackedB> {
    let (k, n) = (shape.k, shape.n);
    Ok(match &weights.values {
        Values::I8(b) => PackedB::builder(MatRef::row_major(b, k, n)?)
            .zero_points(weights.zero_point)
            .activation_max(activation_max)
            .tier(tier)
            .build()?,
        Values::U8(b) => PackedB::builder(MatRef::row_major(b, k, n)?)
            .zero_points(weights.zero_point)
            .activation_max(activation_max)
            .tier(tier)
            .build()?,
    })
}

fn activation(a: Type, shape: &Shape, setup: &Setup, random: &mut Random) -> Result<Activation> {
    let len = shape.m * shape.k;
    Ok(match a {
        Type::I8 => {
            Activation::I8 { data: data::activations_i8(len, random).into(), zero_point: setup.integers.a_zero_point }
        }
        Type::F32 => {
            let data = random.normal(len);
            let quantization = match setup.integers.activations {
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
            data: data::activations_u8(len, setup.integers.activation_max, random).into(),
            zero_point: setup.integers.a_zero_point,
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
    copies: &[PackedB],
    activation: &Activation,
    output: &Output,
    shape: &Shape,
    threads: usize,
) -> Result<Box<dyn Call>> {
    let threads = Threads::Max(threads);
    let len = shape.m * shape.n;
    let shape = shape.clone();
    /// The call with an output, given what the builder is told besides.
    macro_rules! call_of {
        ($a:expr, $c:ty, $to:expr, |$builder:ident| $more:expr) => {{
            let gemm = |packed| {
                let $builder = Gemm::builder(packed, $to).threads(threads);
                $more.build()
            };
            let gemms = copies.iter().map(gemm).collect::<gemmill::Result<Vec<_>>>()?;
            Box::new(CallOf { gemms, next: 0, a: Rc::clone($a), c: vec![<$c>::default(); len], shape })
        }};
    }
    Ok(match output {
        Output::I32 => for_integers!(activation, |a, zero_point| {
            call_of!(a, i32, IntOutput::Store, |gemm| gemm.a_zero_point(*zero_point))
        }),
        Output::U8 { multiplier, bias, zero_point: c_zero_point } => for_integers!(activation, |a, zero_point| {
            let to = || Requantize::<u8>::new(multiplier.as_per_column()).zero_point(*c_zero_point).bias_i32(bias);
            call_of!(a, u8, to(), |gemm| gemm.a_zero_point(*zero_point))
        }),
        Output::I8 { multiplier, bias, zero_point: c_zero_point } => for_integers!(activation, |a, zero_point| {
            let to = || Requantize::<i8>::new(multiplier.as_per_column()).zero_point(*c_zero_point).bias_i32(bias);
            call_of!(a, i8, to(), |gemm| gemm.a_zero_point(*zero_point))
        }),
        Output::F32 { b_scales, a_scale, bias } => {
            let to = || Dequantize::new(b_scales.as_per_column()).bias(bias);
            if let Activation::F32 { data: a, quantization } = activation {
                call_of!(a, f32, to(), |gemm| gemm.a_quantization(*quantization))
            } else {
                let to = || to().a_scale(a_scale.unwrap_or(1.0));
                for_integers!(activation, |a, zero_point| {
                    call_of!(a, f32, to(), |gemm| gemm.a_zero_point(*zero_point))
                })
            }
        }
    })
}
