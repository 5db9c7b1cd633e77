//! The tables of products: every operation over all shapes, and some of them shape by shape.

use std::fmt::Write;

use gemmill::half::{bf16, f16};
use gemmill::quant::{self, Bits, Choose, GroupwiseWeights, QuantElement, QuantParams};
use gemmill::{
    Activation, ActivationQuantization, Dequantize, Float, FloatGemm, FloatType, Gemm, GroupwiseGemm, IntOutput,
    MatMut, MatRef, OutputStage, PackedB, PackedFloat, PackedGroupwise, PerColumn, Requantize, Tier, Weight,
};

use super::few_bits::{self, DEFAULT};
use super::operands::{Errors, Numbers, Operands, SHAPES, Sum, number, on_every_tier};

/// Operations that are told shape by shape.
const BY_SHAPE: [&str; 6] = ["f32f32-f32", "bf16bf16-bf16", "f32i8-f32", "u8i8-u8", "f32i4-f32", "i8i4-f32"];

/// The errors of an operation on a shape.
pub struct Finding {
    op: String,
    shape: usize,
    arithmetic: Errors,
    in_all: Errors,
}

/// A shape's products.
struct Bench<'a> {
    tiers: &'a [Tier],
    index: usize,
    operands: Operands,
    findings: Vec<Finding>,
}

impl Bench<'_> {
    /// Compares elements with the sums of what was stored, and with those of what was before.
    fn find(&mut self, op: String, c: &[f64], stored: &[Sum]) {
        let (arithmetic, in_all) = (Errors::of(c, stored), Errors::of(c, &self.operands.exact));
        self.findings.push(Finding { op, shape: self.index, arithmetic, in_all });
    }

    /// The same for a product into floating-point numbers.
    fn find_run<C: Float + PartialEq + Into<f64>>(
        &mut self,
        op: String,
        stored: &[Sum],
        run: impl Fn(Tier, &mut MatMut<'_, C>) -> gemmill::Result<()>,
    ) -> gemmill::Result<()> {
        let (m, n) = (self.operands.m, self.operands.n);
        let c = on_every_tier(self.tiers, &op, |tier| {
            let mut c = vec![C::from_f32(0.0); m * n];
            run(tier, &mut MatMut::row_major(&mut c, m, n)?)?;
            Ok(c)
        })?;
        self.find(op, &c, stored);
        Ok(())
    }

    /// Floating-point products with these operands, into every type.
    fn floats<A: Float, B: Float>(&mut self) -> gemmill::Result<()> {
        let (k, n) = (self.operands.k, self.operands.n);
        let (a, a64) = self.operands.stored_a::<A>();
        let stored = Numbers { a: &a64, b: &self.operands.stored_b::<B>() }.sums(k);
        let packed = PackedFloat::builder(MatRef::row_major(&self.operands.b, k, n)?).store(B::FLOAT).build()?;
        let build = |tier| FloatGemm::builder(&packed).tier(tier).build();
        let op = [A::FLOAT, B::FLOAT].map(FloatType::name).concat();
        self.float_results(&op, &a, &stored, build)
    }

    /// Products with groupwise weights, activations staying what they are.
    fn few_bits<A: Float>(&mut self, bits: Bits) -> gemmill::Result<()> {
        let (k, n) = (self.operands.k, self.operands.n);
        let weights =
            GroupwiseWeights::round_to_nearest(MatRef::row_major(&self.operands.b, k, n)?, DEFAULT.with(bits))?;
        let packed = PackedGroupwise::new(&weights)?;
        let (a, a64) = self.operands.stored_a::<A>();
        let stored = Numbers { a: &a64, b: &few_bits::by_columns(&weights) }.sums(k);
        let build = |tier| FloatGemm::groupwise(&packed).tier(tier).build();
        let op = format!("{}i{}", A::FLOAT.name(), bits.count());
        self.float_results(&op, &a, &stored, build)
    }

    fn float_results<A: Float>(
        &mut self,
        op: &str,
        a: &[A],
        stored: &[Sum],
        build: impl Fn(Tier) -> gemmill::Result<FloatGemm>,
    ) -> gemmill::Result<()> {
        let a = MatRef::row_major(a, self.operands.m, self.operands.k)?;
        self.find_run::<f32>(format!("{op}-f32"), stored, |tier, c| build(tier)?.run(a, c))?;
        self.find_run::<f16>(format!("{op}-f16"), stored, |tier, c| build(tier)?.run(a, c))?;
        self.find_run::<bf16>(format!("{op}-bf16"), stored, |tier, c| build(tier)?.run(a, c))
    }

    /// Products with groupwise weights, f32 activations becoming i8 inside the call.
    fn quantized_few_bits(&mut self, bits: Bits) -> gemmill::Result<()> {
        let Operands { m, n, k, .. } = self.operands;
        let a = self.operands.a.clone();
        let a = MatRef::row_major(&a, m, k)?;
        let weights =
            GroupwiseWeights::round_to_nearest(MatRef::row_major(&self.operands.b, k, n)?, DEFAULT.with(bits))?;
        let packed = PackedGroupwise::new(&weights)?;
        let stored = Numbers { a: &few_bits::quantized_rows(a)?, b: &few_bits::by_columns(&weights) }.sums(k);
        let build = |tier| GroupwiseGemm::builder(&packed).tier(tier).build();
        let op = format!("i8i{}", bits.count());
        self.find_run::<f32>(format!("{op}-f32"), &stored, |tier, c| build(tier)?.run(a, c))?;
        self.find_run::<f16>(format!("{op}-f16"), &stored, |tier, c| build(tier)?.run(a, c))?;
        self.find_run::<bf16>(format!("{op}-bf16"), &stored, |tier, c| build(tier)?.run(a, c))
    }

    /// Products with weights of 8 bits.
    fn integers(&mut self) -> gemmill::Result<()> {
        let (k, n) = (self.operands.k, self.operands.n);
        let (of_i8, scales) = quant::symmetric_per_column(MatRef::row_major(&self.operands.b, k, n)?)?;
        let of_u8: Vec<u8> = of_i8.iter().map(|w| *w as u8 ^ 0x80).collect();
        let of_i8 = Weights::new("i8", self.tiers, MatRef::row_major(&of_i8, k, n)?, 0, &scales)?;
        let of_u8 = Weights::new("u8", self.tiers, MatRef::row_major(&of_u8, k, n)?, 128, &scales)?;
        self.of_bytes::<u8>(&of_i8)?;
        self.of_bytes::<i8>(&of_i8)?;
        self.quantized_rows(&of_i8)?;
        self.of_bytes::<u8>(&of_u8)?;
        self.of_bytes::<i8>(&of_u8)?;
        self.quantized_rows(&of_u8)
    }

    /// Products of bytes into everything that they can give.
    fn of_bytes<A: Activation + QuantElement + Into<i32>>(&mut self, weights: &Weights<'_>) -> gemmill::Result<()> {
        let Operands { m, n, k, .. } = self.operands;
        let (min, max) = quant::min_max(&self.operands.a).unwrap_or_default();
        let params = QuantParams::<A>::from_min_max(min, max, Choose::default())?;
        let mut a = vec![A::default(); m * k];
        params.quantize(&self.operands.a, &mut a)?;
        let a64: Vec<f64> = a.iter().map(|q| number(params, *q)).collect();
        let stored = Numbers { a: &a64, b: &weights.numbers }.sums(k);
        let product = ByteProduct { a: MatRef::row_major(&a, m, k)?, zero_point: params.zero_point(), weights };
        let op = format!("{}{}", std::any::type_name::<A>(), weights.name);

        // Sums themselves are compared as integers: reals of f64 would be rounded.
        let sums = product.run(self.tiers, &op, IntOutput::Store)?;
        let integers: Vec<f64> = a.iter().map(|q| f64::from((*q).into() - params.zero_point())).collect();
        let expected = Numbers { a: &integers, b: &weights.integers }.sums(k);
        let scale = |j: usize| f64::from(params.scale()) * f64::from(weights.scales[j]);
        let real: Vec<f64> = sums.iter().enumerate().map(|(i, x)| x * scale(i % n)).collect();
        self.findings.push(Finding {
            op: format!("{op}-i32"),
            shape: self.index,
            arithmetic: Errors::of(&sums, &expected),
            in_all: Errors::of(&real, &self.operands.exact),
        });

        self.requantized::<u8, A>(format!("{op}-u8"), &product, params.scale(), &stored)?;
        self.requantized::<i8, A>(format!("{op}-i8"), &product, params.scale(), &stored)?;
        let dequantize = Dequantize::new(PerColumn::Column(weights.scales)).a_scale(params.scale());
        let c = product.run(self.tiers, &op, dequantize)?;
        self.find(format!("{op}-f32"), &c, &stored);
        Ok(())
    }

    /// Into bytes whose range is that of the exact results. They are off by half a step at most.
    fn requantized<C, A>(
        &mut self,
        op: String,
        product: &ByteProduct<'_, A>,
        a_scale: f32,
        stored: &[Sum],
    ) -> gemmill::Result<()>
    where
        C: QuantElement + Into<i32> + Into<f64>,
        A: Activation,
    {
        let exact: Vec<f32> = self.operands.exact.iter().map(|sum| sum.value as f32).collect();
        let (min, max) = quant::min_max(&exact).unwrap_or_default();
        let params = QuantParams::<C>::from_min_max(min, max, Choose::default())?;
        let multipliers: Vec<f32> =
            product.weights.scales.iter().map(|scale| a_scale * scale / params.scale()).collect();
        let output = Requantize::<C>::new(PerColumn::Column(&multipliers)).zero_point(params.zero_point());
        let zero_point = f64::from(params.zero_point());
        let step = f64::from(params.scale());
        let bytes = product.run(self.tiers, &op, output)?;
        let c: Vec<f64> = bytes.iter().map(|q| step * (q - zero_point)).collect();
        let [low, high] = [C::LOW, C::HIGH].map(|q| step * (f64::from(q) - zero_point));
        for (c, sum) in c.iter().zip(stored) {
            let error = (c - sum.value.clamp(low, high)).abs();
            assert!(error <= step * (0.5 + 1e-4), "{op}: {c} instead of {}, the step being {step}", sum.value);
        }
        self.find(op, &c, stored);
        Ok(())
    }

    /// Activations of f32 that become u8 inside the call, row by row.
    fn quantized_rows(&mut self, weights: &Weights<'_>) -> gemmill::Result<()> {
        let Operands { m, k, .. } = self.operands;
        let mut a64 = Vec::new();
        for row in self.operands.a.chunks_exact(k) {
            let (min, max) = quant::min_max(row).unwrap_or_default();
            let params = QuantParams::<u8>::from_min_max(min, max, Choose::default())?;
            a64.extend(row.iter().map(|x| number(params, quant::reference::quantize(params, *x))));
        }
        let stored = Numbers { a: &a64, b: &weights.numbers }.sums(k);
        let a = self.operands.a.clone();
        let a = MatRef::row_major(&a, m, k)?;
        self.find_run::<f32>(format!("f32{}-f32", weights.name), &stored, |tier, c| {
            Gemm::builder(weights.packed(tier), Dequantize::new(PerColumn::Column(weights.scales)))
                .a_quantization(ActivationQuantization::DynamicPerRow)
                .build()?
                .run(a, c)
        })
    }
}

/// Weights of 8 bits with a scale for each column, packed for every tier.
struct Weights<'a> {
    name: &'static str,
    packed: Vec<PackedB>,
    scales: &'a [f32],
    /// By columns: without the zero point, and what that stands for.
    integers: Vec<f64>,
    numbers: Vec<f64>,
}

impl<'a> Weights<'a> {
    fn new<B: Weight + Into<i32>>(
        name: &'static str,
        tiers: &[Tier],
        b: MatRef<'_, B>,
        zero_point: i32,
        scales: &'a [f32],
    ) -> gemmill::Result<Weights<'a>> {
        let pack = |&tier: &Tier| PackedB::builder(b).zero_points(zero_point).tier(tier).build();
        let integer = |k, j| f64::from(b.get(k, j).expect("an element of B").into() - zero_point);
        let column = |j| (0..b.rows()).map(move |k| integer(k, j));
        let integers = (0..b.cols()).flat_map(column).collect();
        let numbers = (0..b.cols()).flat_map(|j| column(j).map(move |w| w * f64::from(scales[j]))).collect();
        let packed = tiers.iter().map(pack).collect::<gemmill::Result<_>>()?;
        Ok(Weights { name, packed, scales, integers, numbers })
    }

    fn packed(&self, tier: Tier) -> &PackedB {
        self.packed.iter().find(|packed| packed.tier() == tier).expect("weights are packed for every tier")
    }
}

/// A product of bytes, but for what becomes of its sums.
struct ByteProduct<'a, A> {
    a: MatRef<'a, A>,
    zero_point: i32,
    weights: &'a Weights<'a>,
}

impl<A: Activation> ByteProduct<'_, A> {
    fn run<O>(&self, tiers: &[Tier], op: &str, output: O) -> gemmill::Result<Vec<f64>>
    where
        O: OutputStage<Element: PartialEq + Into<f64>> + Copy,
    {
        let (m, n) = (self.a.rows(), self.weights.scales.len());
        on_every_tier(tiers, op, |tier| {
            let mut c = vec![O::Element::default(); m * n];
            Gemm::builder(self.weights.packed(tier), output)
                .a_zero_point(self.zero_point)
                .build()?
                .run(self.a, &mut MatMut::row_major(&mut c, m, n)?)?;
            Ok(c)
        })
    }
}

/// The errors of all operations on all shapes; fails unless they are the same on all tiers.
pub fn findings(tiers: &[Tier]) -> gemmill::Result<Vec<Finding>> {
    let mut all = Vec::new();
    for index in 0..SHAPES.len() {
        let mut bench = Bench { tiers, index, operands: Operands::new(index), findings: Vec::new() };
        bench.floats::<f32, f32>()?;
        bench.floats::<f32, f16>()?;
        bench.floats::<f32, bf16>()?;
        bench.floats::<f16, f32>()?;
        bench.floats::<f16, f16>()?;
        bench.floats::<f16, bf16>()?;
        bench.floats::<bf16, f32>()?;
        bench.floats::<bf16, f16>()?;
        bench.floats::<bf16, bf16>()?;
        bench.integers()?;
        for bits in [Bits::Four, Bits::Two] {
            bench.few_bits::<f32>(bits)?;
            bench.few_bits::<f16>(bits)?;
            bench.few_bits::<bf16>(bits)?;
            bench.quantized_few_bits(bits)?;
        }
        all.extend(bench.findings);
    }
    Ok(all)
}

pub fn table_of_operations(findings: &[Finding]) -> String {
    let mut text = "| operation | arithmetic, max | mean | in all, max | mean |\n|---|--:|--:|--:|--:|\n".to_owned();
    let ops: Vec<&str> = findings.iter().filter(|f| f.shape == 0).map(|f| f.op.as_str()).collect();
    // Of floats, of bytes, of weights of few bits: all that the command line knows.
    assert_eq!(ops.len(), 27 + 18 + 24);
    for op in ops {
        let same = || findings.iter().filter(|f| f.op == op);
        let arithmetic = same().fold(Errors::default(), |all, f| all.and(f.arithmetic));
        let in_all = same().fold(Errors::default(), |all, f| all.and(f.in_all));
        writeln!(text, "| `{op}` | {} | {} |", arithmetic.cells(), in_all.cells()).unwrap();
    }
    text
}

pub fn table_of_shapes(findings: &[Finding]) -> String {
    let mut text = "| model | m × n × k | operation | arithmetic, max | mean | in all, max | mean |\n".to_owned();
    text.push_str("|---|---|---|--:|--:|--:|--:|\n");
    for f in findings.iter().filter(|f| BY_SHAPE.contains(&f.op.as_str())) {
        let (arithmetic, in_all) = (f.arithmetic.cells(), f.in_all.cells());
        writeln!(text, "| {} | `{}` | {arithmetic} | {in_all} |", SHAPES[f.shape].cells(), f.op).unwrap();
    }
    text
}
