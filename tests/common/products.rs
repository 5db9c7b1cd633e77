//! Floating-point products of any kind: random ones against their reference, and properties that all of them have.

use std::fmt::Display;

use gemmill::float_reference::{self, Stages};
use gemmill::half::{bf16, f16};
use gemmill::{
    Float, FloatGemm, FloatGemmBuilder, FloatType, Function, HardwareDot, MatMut, MatRef, PackedFloat, Result,
    RunOptions, Threads, Tier,
};

use super::guard::{Guarded, Side};
use super::operand::{Order, Poisoned, Stored};
use super::random::Rng;
use super::{Bits, assert_same_bits};

const FUNCTIONS: [Function; 5] =
    [Function::Identity, Function::Relu, Function::Clamp { low: -0.5, high: 1.5 }, Function::Gelu, Function::Silu];

/// What numbers are like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Numbers {
    Usual,
    /// All magnitudes: sums overflow and vanish.
    AllMagnitudes,
    /// Products and sums about the smallest normal number, and subnormal factors.
    Tiny,
    /// Small integers, of which sums are exact.
    Integers,
    /// Infinities and NaN among the usual ones.
    Special,
}

impl Numbers {
    const ALL: [Numbers; 5] =
        [Numbers::Usual, Numbers::AllMagnitudes, Numbers::Tiny, Numbers::Integers, Numbers::Special];

    pub fn next(self, rng: &mut Rng) -> f32 {
        match self {
            Numbers::Usual => rng.gaussian(),
            Numbers::AllMagnitudes => f32::from_bits(rng.bits() as u32 & 0xbfff_ffff),
            Numbers::Tiny if rng.one_in(5) => f32::from_bits(rng.bits() as u32 & 0x80ff_ffff),
            Numbers::Tiny => rng.gaussian() * 2f32.powi(rng.pick(&[-64, -63, -62, -50, 0])),
            Numbers::Integers => rng.range(-8, 8) as f32,
            // Subnormal and largest ones of f32 and of bf16 as well.
            Numbers::Special if rng.one_in(9) => {
                let special = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0, -0.0, 1e-45, 1e-40, 3.3e38, 3.4e38];
                rng.pick(&special)
            }
            Numbers::Special => rng.gaussian(),
        }
    }
}

/// A matrix of such numbers, with NaN between them.
pub fn stored<T: Float>(rng: &mut Rng, shape: (usize, usize), order: Order, numbers: Numbers) -> Stored<T> {
    Stored::new(shape, order, |_| T::from_f32(f32::NAN), |_, _| T::from_f32(numbers.next(rng)))
}

/// How products are summed, for weights of type `B`.
pub trait Summation<B: Float>: Copy + Display {
    /// Asks for it.
    fn ask<'a>(self, builder: FloatGemmBuilder<'a>) -> FloatGemmBuilder<'a>;

    /// The formula as loops.
    fn reference<A: Float, C: Float>(
        self,
        a: MatRef<'_, A>,
        b: MatRef<'_, B>,
        c: &mut MatMut<'_, C>,
        stages: &Stages<'_, C>,
    ) -> Result<()>;
}

/// One chain of fused multiply-adds: the default.
#[derive(Clone, Copy)]
pub struct Chain;

impl Display for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("one chain")
    }
}

impl<B: Float> Summation<B> for Chain {
    fn ask<'a>(self, builder: FloatGemmBuilder<'a>) -> FloatGemmBuilder<'a> {
        builder
    }

    fn reference<A: Float, C: Float>(
        self,
        a: MatRef<'_, A>,
        b: MatRef<'_, B>,
        c: &mut MatMut<'_, C>,
        stages: &Stages<'_, C>,
    ) -> Result<()> {
        float_reference::gemm(a, b, c, stages)
    }
}

impl Summation<bf16> for HardwareDot {
    fn ask<'a>(self, builder: FloatGemmBuilder<'a>) -> FloatGemmBuilder<'a> {
        builder.hardware_dot(self)
    }

    fn reference<A: Float, C: Float>(
        self,
        a: MatRef<'_, A>,
        b: MatRef<'_, bf16>,
        c: &mut MatMut<'_, C>,
        stages: &Stages<'_, C>,
    ) -> Result<()> {
        float_reference::hardware_dot(self, a, b, c, stages)
    }
}

/// One product, all of whose parameters come from a seed.
pub fn check<A: Float, B: Float, C: Float + Bits, S: Summation<B>>(
    rng: &mut Rng,
    (tier, by): (Tier, S),
    (m, n, k): (usize, usize, usize),
) {
    let numbers = rng.pick(&Numbers::ALL);
    let (a_order, b_order) = (Order::random(rng), Order::random(rng));
    let a = stored::<A>(rng, (m, k), a_order, numbers);
    let b = stored::<B>(rng, (k, n), b_order, numbers);
    let beta = rng.pick(&[0.0, 0.0, 1.0, -0.75]);
    let bias: Vec<f32> = (0..n).map(|_| numbers.next(rng)).collect();
    let bias = rng.one_in(2).then_some(&bias[..]);
    let residual_order = if rng.one_in(2) { Order::RowMajor } else { Order::PaddedRows(3) };
    let residual = stored::<C>(rng, (m, n), residual_order, numbers);
    let residual = rng.one_in(3).then_some(residual.view());
    let function = rng.pick(&FUNCTIONS);
    let before: Vec<C> = (0..m * n).map(|_| C::from_f32(numbers.next(rng))).collect();
    let threads = rng.pick(&[Threads::Max(1), Threads::Max(1), Threads::Exactly(2), Threads::Exactly(3)]);

    let packed = PackedFloat::new(b.view()).unwrap();
    let gemm = by.ask(FloatGemm::builder(&packed)).beta(beta).function(function).threads(threads).tier(tier);
    let gemm = if let Some(bias) = bias { gemm.bias(bias) } else { gemm }.build().unwrap();
    let mut c = Poisoned::holding((m, n), rng.below(4), &before);
    let mut options = RunOptions::new();
    if let Some(residual) = residual {
        options = options.residual(residual);
    }
    gemm.run_with(a.view(), &mut c.view(), &options).unwrap();

    let mut expected = before;
    let mut view = MatMut::row_major(&mut expected, m, n).unwrap();
    by.reference(a.view(), b.view(), &mut view, &Stages { beta, bias, residual, function }).unwrap();
    // Which NaN it is, is not specified: what was found counts.
    let found = c.view();
    for i in 0..m {
        for j in 0..n {
            let (at, got) = (i * n + j, found.as_ref().get(i, j).unwrap());
            if expected[at].to_f32().is_nan() && got.to_f32().is_nan() {
                expected[at] = got;
            }
        }
    }
    c.assert_holds(&expected, || {
        let types = [A::FLOAT, B::FLOAT, C::FLOAT].map(FloatType::name);
        format!(
            "{by} on {tier} {types:?} {m}x{n}x{k}, A {a_order:?}, B {b_order:?}, {numbers:?}, beta {beta}, bias {}, \
             residual {}, {function:?}, {threads:?}",
            bias.is_some(),
            residual.is_some()
        )
    });
}

/// A row of a product has the same bits whatever rows are with it, on all of the tiers and with any number of threads.
pub fn check_rows<S: Summation<bf16>>(rng: &mut Rng, (tiers, by): (&[Tier], S), (m, n, k): (usize, usize, usize)) {
    let a = stored::<f32>(rng, (m, k), Order::RowMajor, Numbers::Usual);
    let b = stored::<bf16>(rng, (k, n), Order::RowMajor, Numbers::Usual);
    let packed = PackedFloat::new(b.view()).unwrap();
    let mut first: Option<Vec<f32>> = None;
    for &tier in tiers {
        let threads = rng.pick(&[Threads::Max(1), Threads::Exactly(2), Threads::Exactly(4)]);
        let builder = by.ask(FloatGemm::builder(&packed)).function(Function::Gelu);
        let gemm = builder.tier(tier).threads(threads).build().unwrap();
        let mut all = vec![0f32; m * n];
        gemm.run(a.view(), &mut MatMut::row_major(&mut all, m, n).unwrap()).unwrap();
        for i in 0..m {
            let row = MatRef::row_major(&a.data[i * k..][..k], 1, k).unwrap();
            let mut alone = vec![0f32; n];
            gemm.run(row, &mut MatMut::row_major(&mut alone, 1, n).unwrap()).unwrap();
            assert_same_bits(&alone, &all[i * n..][..n], || format!("row {i} of {m}x{n}x{k}: {by} on {tier}"));
        }
        let before = first.get_or_insert_with(|| all.clone());
        assert_same_bits(&all, before, || format!("{m}x{n}x{k}: {by} on {tier}, {threads:?}"));
    }
}

/// A, C and the residual between pages that must not be touched.
pub fn check_guarded<A: Float, S: Summation<bf16>>(
    rng: &mut Rng,
    (tier, by): (Tier, S),
    (m, n, k): (usize, usize, usize),
) {
    for side in Side::BOTH {
        let a: Vec<A> = (0..m * k).map(|_| A::from_f32(rng.gaussian())).collect();
        let b: Vec<bf16> = (0..k * n).map(|_| bf16::from_f32(rng.gaussian())).collect();
        let residual: Vec<f16> = (0..m * n).map(|_| f16::from_f32(rng.gaussian())).collect();
        let (a, mut c) = (Guarded::new(&a, side), Guarded::new(&vec![f16::ZERO; m * n], side));
        let residual = Guarded::new(&residual, side);
        let a = MatRef::row_major(a.elements(), m, k).unwrap();
        let b = MatRef::row_major(&b, k, n).unwrap();
        let residual = MatRef::row_major(residual.elements(), m, n).unwrap();
        let packed = PackedFloat::new(b).unwrap();
        let gemm = by.ask(FloatGemm::builder(&packed)).beta(1.0).tier(tier).build().unwrap();
        let options = RunOptions::new().residual(residual);
        gemm.run_with(a, &mut MatMut::row_major(c.elements_mut(), m, n).unwrap(), &options).unwrap();
        let mut expected = vec![f16::ZERO; m * n];
        let stages = Stages { beta: 1.0, residual: Some(residual), ..Stages::default() };
        let mut view = MatMut::row_major(&mut expected, m, n).unwrap();
        by.reference(a, b, &mut view, &stages).unwrap();
        assert_same_bits(c.elements(), &expected, || format!("{by} on {tier} {m}x{n}x{k} {side:?}"));
    }
}

/// No rows, no columns, no depth.
pub fn check_empty<S: Summation<bf16>>(tier: Tier, by: S) {
    for (m, n, k) in [(0, 5, 3), (5, 0, 3), (0, 0, 0), (3, 4, 0)] {
        let packed = PackedFloat::new(MatRef::row_major(&vec![bf16::ONE; k * n], k, n).unwrap()).unwrap();
        let bias = vec![2f32; n];
        let gemm = by.ask(FloatGemm::builder(&packed)).bias(&bias).beta(0.5).tier(tier).build().unwrap();
        let (a, mut c) = (vec![1f32; m * k], vec![4f32; m * n]);
        gemm.run(MatRef::row_major(&a, m, k).unwrap(), &mut MatMut::row_major(&mut c, m, n).unwrap()).unwrap();
        assert_eq!(c, vec![4f32; m * n], "{by} on {tier}");
    }
}
