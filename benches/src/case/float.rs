//! Floating-point products: gaussian operands, packed weights, a bias, and the reference's chains.

use std::time::Instant;

use anyhow::Result;
use gemmill::float_reference::{self, Stages};
use gemmill::half::{bf16, f16};
use gemmill::{Float, FloatGemm, FloatType, HardwareDot, MatMut, MatRef, PackedFloat, Threads};

use super::{Case, Setup, next_of, transposed};
use crate::args::Shape;
use crate::data::Random;
use crate::op::FloatOp;

/// A product of A and C of these types; weights have theirs at run time.
struct FloatCase<A, C> {
    /// The operation, with each copy of the weights.
    gemms: Vec<FloatGemm>,
    /// Which of them is next.
    next: usize,
    packed: PackedFloat,
    pack_seconds: f64,
    a: Vec<A>,
    c: Vec<C>,
    /// The weights, rounded to their type, column after column: the reference goes down columns.
    columns: Vec<f32>,
    bias: Vec<f32>,
    hardware_dot: Option<HardwareDot>,
    shape: Shape,
}

/// Makes operands, packs the weights and builds the operation.
pub(super) fn new(op: FloatOp, shape: &Shape, setup: &Setup) -> Result<Box<dyn Case>> {
    match op.a {
        FloatType::F32 => of_activations::<f32>(op, shape, setup),
        FloatType::F16 => of_activations::<f16>(op, shape, setup),
        FloatType::Bf16 => of_activations::<bf16>(op, shape, setup),
    }
}

fn of_activations<A: Float>(op: FloatOp, shape: &Shape, setup: &Setup) -> Result<Box<dyn Case>> {
    Ok(match op.c {
        FloatType::F32 => Box::new(FloatCase::<A, f32>::new(op, shape, setup)?),
        FloatType::F16 => Box::new(FloatCase::<A, f16>::new(op, shape, setup)?),
        FloatType::Bf16 => Box::new(FloatCase::<A, bf16>::new(op, shape, setup)?),
    })
}

impl<A: Float, C: Float> FloatCase<A, C> {
    fn new(op: FloatOp, shape: &Shape, setup: &Setup) -> Result<FloatCase<A, C>> {
        let Shape { m, n, k, .. } = *shape;
        let mut random = Random::new(setup.seed);
        // As in networks: sums of about the size of an activation.
        let scale = 1.0 / (k as f32).sqrt();
        let mut weights = random.normal(k * n);
        weights.iter_mut().for_each(|w| *w = rounded(op.b, *w * scale));
        let a = random.normal(m * k).into_iter().map(A::from_f32).collect();
        let bias = random.normal(n);

        let mut gemms = Vec::new();
        let pack = || PackedFloat::builder(MatRef::row_major(&weights, k, n)?).store(op.b).build();
        let mut packed = pack()?;
        let mut pack_seconds = f64::INFINITY;
        for _ in 0..setup.copies {
            let start = Instant::now();
            packed = pack()?;
            pack_seconds = pack_seconds.min(start.elapsed().as_secs_f64());
            let gemm = FloatGemm::builder(&packed).bias(&bias).tier(setup.tier).threads(Threads::Max(setup.threads));
            let gemm = if let Some(dot) = setup.hardware_dot { gemm.hardware_dot(dot) } else { gemm };
            gemms.push(gemm.build()?);
        }
        Ok(FloatCase {
            gemms,
            next: 0,
            packed,
            pack_seconds,
            a,
            c: vec![C::from_f32(0.0); m * n],
            columns: transposed(&weights, n),
            bias,
            hardware_dot: setup.hardware_dot,
            shape: shape.clone(),
        })
    }

    fn packed(&self) -> &PackedFloat {
        &self.packed
    }
}

/// The nearest number of a type.
fn rounded(to: FloatType, x: f32) -> f32 {
    match to {
        FloatType::F32 => x,
        FloatType::F16 => f16::from_f32(x).to_f32(),
        FloatType::Bf16 => bf16::from_f32(x).to_f32(),
    }
}

/// f32 hold every number of the other types, so that their bits tell them apart.
fn bits<C: Float>(row: &[C]) -> Vec<u32> {
    row.iter().map(|x| x.to_f32().to_bits()).collect()
}

impl<A: Float, C: Float> Case for FloatCase<A, C> {
    fn run(&mut self) -> gemmill::Result<()> {
        let a = MatRef::row_major(&self.a, self.shape.m, self.shape.k)?;
        self.next = next_of(self.next, self.gemms.len());
        self.gemms[self.next].run(a, &mut MatMut::row_major(&mut self.c, self.shape.m, self.shape.n)?)
    }

    fn sequence(&self) -> String {
        self.hardware_dot.map_or(self.packed().stored().name(), HardwareDot::name).to_owned()
    }

    fn packed_bytes(&self) -> usize {
        self.packed().size_in_bytes()
    }

    fn pack_seconds(&self) -> f64 {
        self.pack_seconds
    }

    fn bytes(&self) -> u64 {
        let Shape { m, n, k, .. } = self.shape;
        (m * k * size_of::<A>() + k * n * self.packed().stored().bytes() + m * n * size_of::<C>()) as u64
    }

    fn poison(&mut self) {
        self.c.fill(C::from_f32(-1.5e38));
    }

    fn row_bits(&self, i: usize) -> Vec<u32> {
        bits(&self.c[i * self.shape.n..][..self.shape.n])
    }

    fn expected_bits(&self, i: usize) -> Result<Vec<u32>> {
        let Shape { n, k, .. } = self.shape;
        let mut row = vec![C::from_f32(0.0); n];
        let a = MatRef::row_major(&self.a[i * k..][..k], 1, k)?;
        let stages = Stages { bias: Some(&self.bias), ..Stages::default() };
        let c = &mut MatMut::row_major(&mut row, 1, n)?;
        match self.hardware_dot {
            None => float_reference::gemm(a, MatRef::col_major(&self.columns, k, n)?, c, &stages)?,
            Some(dot) => {
                let columns: Vec<bf16> = self.columns.iter().copied().map(bf16::from_f32).collect();
                float_reference::hardware_dot(dot, a, MatRef::col_major(&columns, k, n)?, c, &stages)?;
            }
        }
        Ok(bits(&row))
    }
}
