//! Products with weights of 4 and 2 bits: gaussian operands, quantized weights, a bias, and the reference's loops.

use std::time::Instant;

use anyhow::Result;
use gemmill::half::{bf16, f16};
use gemmill::quant::{GroupwiseWeights, ZeroPoints};
use gemmill::reference::groupwise as reference;
use gemmill::{Float, FloatGemm, FloatType, GroupwiseGemm, MatMut, MatRef, PackedGroupwise, Threads};

use super::{Case, Setup, next_of};
use crate::args::Shape;
use crate::data::Random;
use crate::op::{GroupActivation, GroupOp};

/// A product of A and C of these types.
struct GroupCase<A, C> {
    gemms: Gemms,
    /// Which copy of the weights is next.
    next: usize,
    packed: PackedGroupwise,
    pack_seconds: f64,
    weights: GroupwiseWeights,
    a: Vec<A>,
    c: Vec<C>,
    bias: Vec<f32>,
    shape: Shape,
}

/// The operation, with each copy of the weights.
enum Gemms {
    /// Activations stay what they are.
    WeightOnly(Vec<FloatGemm>),
    /// Activations become i8, row by row.
    Quantized(Vec<GroupwiseGemm>),
}

/// Makes operands, quantizes and packs the weights, and builds the operation.
pub(super) fn new(op: GroupOp, shape: &Shape, setup: &Setup) -> Result<Box<dyn Case>> {
    match op.a {
        GroupActivation::Float(FloatType::F32) | GroupActivation::Quantized => of_activations::<f32>(op, shape, setup),
        GroupActivation::Float(FloatType::F16) => of_activations::<f16>(op, shape, setup),
        GroupActivation::Float(FloatType::Bf16) => of_activations::<bf16>(op, shape, setup),
    }
}

fn of_activations<A: Float + Into<f32>>(op: GroupOp, shape: &Shape, setup: &Setup) -> Result<Box<dyn Case>> {
    Ok(match op.c {
        FloatType::F32 => Box::new(GroupCase::<A, f32>::new(op, shape, setup)?),
        FloatType::F16 => Box::new(GroupCase::<A, f16>::new(op, shape, setup)?),
        FloatType::Bf16 => Box::new(GroupCase::<A, bf16>::new(op, shape, setup)?),
    })
}

impl<A: Float + Into<f32>, C: Float> GroupCase<A, C> {
    fn new(op: GroupOp, shape: &Shape, setup: &Setup) -> Result<GroupCase<A, C>> {
        let Shape { m, n, k, .. } = *shape;
        let mut random = Random::new(setup.seed);
        // As in networks: sums of about the size of an activation.
        let scale = 1.0 / (k as f32).sqrt();
        let mut real = random.normal(k * n);
        real.iter_mut().for_each(|w| *w *= scale);
        let weights = setup.groups.quantize(MatRef::row_major(&real, k, n)?, op.bits)?;
        drop(real);
        let a = random.normal(m * k).into_iter().map(A::from_f32).collect();
        let bias = random.normal(n);

        let mut pack_seconds = f64::INFINITY;
        let mut copies = Vec::new();
        for _ in 0..setup.copies.max(1) {
            let start = Instant::now();
            copies.push(PackedGroupwise::new(&weights)?);
            pack_seconds = pack_seconds.min(start.elapsed().as_secs_f64());
        }
        let threads = Threads::Max(setup.threads);
        let weight_only = |packed| FloatGemm::groupwise(packed).bias(&bias).tier(setup.tier).threads(threads).build();
        let quantized = |packed| GroupwiseGemm::builder(packed).bias(&bias).tier(setup.tier).threads(threads).build();
        let gemms = match op.a {
            GroupActivation::Float(_) => Gemms::WeightOnly(copies.iter().map(weight_only).collect::<Result<_, _>>()?),
            GroupActivation::Quantized => Gemms::Quantized(copies.iter().map(quantized).collect::<Result<_, _>>()?),
        };
        let packed = copies.swap_remove(0);
        let c = vec![C::from_f32(0.0); m * n];
        Ok(GroupCase { gemms, next: 0, packed, pack_seconds, weights, a, c, bias, shape: shape.clone() })
    }
}

impl<A: Float + Into<f32>, C: Float> Case for GroupCase<A, C> {
    fn run(&mut self) -> gemmill::Result<()> {
        let a = MatRef::row_major(&self.a, self.shape.m, self.shape.k)?;
        let mut c = MatMut::row_major(&mut self.c, self.shape.m, self.shape.n)?;
        match &self.gemms {
            Gemms::WeightOnly(gemms) => {
                self.next = next_of(self.next, gemms.len());
                gemms[self.next].run(a, &mut c)
            }
            Gemms::Quantized(gemms) => {
                self.next = next_of(self.next, gemms.len());
                gemms[self.next].run(a, &mut c)
            }
        }
    }

    fn sequence(&self) -> String {
        let format = self.packed.format();
        let zero_points = if format.zero_points == ZeroPoints::Each { " asymmetric" } else { "" };
        format!("i{} groups of {}{zero_points}", format.bits.count(), format.group_size.elements())
    }

    fn packed_bytes(&self) -> usize {
        self.packed.size_in_bytes()
    }

    fn pack_seconds(&self) -> f64 {
        self.pack_seconds
    }

    fn bytes(&self) -> u64 {
        let Shape { m, n, k, .. } = self.shape;
        let scales = size_of_val(self.weights.scales()) + self.weights.zero_points().map_or(0, <[u8]>::len);
        let b = (k * n * self.weights.format().bits.count()).div_ceil(8) + scales;
        (m * k * size_of::<A>() + b + m * n * size_of::<C>()) as u64
    }

    fn poison(&mut self) {
        self.c.fill(C::from_f32(-1.5e38));
    }

    fn row_bits(&self, i: usize) -> Vec<u32> {
        // f32 hold every number of the other types, so that their bits tell them apart.
        self.c[i * self.shape.n..][..self.shape.n].iter().map(|x| x.to_f32().to_bits()).collect()
    }

    fn expected_bits(&self, i: usize) -> Result<Vec<u32>> {
        let k = self.shape.k;
        let row = &self.a[i * k..][..k];
        let sums = match &self.gemms {
            Gemms::WeightOnly(_) => {
                let sums = reference::weight_only(MatRef::row_major(row, 1, k)?, &self.weights, None);
                sums.iter().zip(&self.bias).map(|(sum, bias)| sum + bias).collect()
            }
            Gemms::Quantized(_) => {
                let row: Vec<f32> = row.iter().map(|x| x.to_f32()).collect();
                let (quantized, scales) = reference::quantize_rows(MatRef::row_major(&row, 1, k)?)?;
                let quantized = MatRef::row_major(&quantized, 1, k)?;
                reference::quantized(quantized, &scales, &self.weights, Some(&self.bias))
            }
        };
        Ok(sums.into_iter().map(|x: f32| C::from_f32(x).to_f32().to_bits()).collect())
    }
}
