//! Products of any shape, strides, parameters and output through the safe API: what is accepted has the bits of the
//! reference, what is refused has not touched its output, and nothing panics.
#![no_main]

#[path = "../../../tests/common/mod.rs"]
mod common;
mod input;
mod output;

use common::Bits;
use common::guard::{Guarded, Side};
use common::operand::Poisoned;
use common::random::Rng;
use gemmill::quant::{QuantElement, reference as quantization};
use gemmill::reference::{self, Rows, ZeroPoints};
use gemmill::{
    Activation, ActivationQuantization, Choose, Element, Gemm, MatRef, OutputStage, PackEffort, PackedB, QuantParams,
    RunOptions, Threads, Tier, Weight,
};
use input::{Activations, Input};
use libfuzzer_sys::fuzz_target;
use output::Output;

fuzz_target!(|input: Input| {
    // Refused weights are a fine end of a case.
    let _ = if input.b_is_signed { with_weights::<i8>(&input) } else { with_weights::<u8>(&input) };
});

fn with_weights<B: Weight + QuantElement>(input: &Input) -> gemmill::Result<()> {
    let rng = &mut Rng::new(input.seed);
    let (k, n) = (input.k(), input.n());
    let data: Vec<B> = input.b.data(rng, (k, n), 255);
    let b = input.b.view(&data, (k, n))?;
    let zero_points = input.b_zero_points.expand(n, input.groups(), |z| z.within(B::LOW, B::HIGH));
    let mut builder = PackedB::builder(b)
        .groups(input.groups())
        .zero_points(zero_points.get())
        .activation_max(input.activation_max())
        .effort(if input.quick { PackEffort::Quick } else { PackEffort::Full })
        .tier(Tier::ALL[usize::from(input.tier) % Tier::ALL.len()]);
    if let Some(kc) = input.kc {
        builder = builder.kc(kc.into());
    }
    let packed = builder.build()?;
    let case = Case { input, packed: &packed, b, b_zero_points: zero_points.get() };
    match input.activations() {
        Activations::U8 => case.integers::<u8>(rng),
        Activations::I8 => case.integers::<i8>(rng),
        Activations::Static => case.reals(rng, ActivationQuantization::Static(input.quantization()?)),
        Activations::Dynamic => case.reals(rng, ActivationQuantization::DynamicPerRow),
    }
}

/// Weights that were accepted.
struct Case<'a, B> {
    input: &'a Input,
    packed: &'a PackedB,
    b: MatRef<'a, B>,
    b_zero_points: gemmill::PerColumn<'a, i32>,
}

/// What the reference multiplies.
struct Reference<A> {
    a: Vec<A>,
    zero_points: Vec<i32>,
    scales: Vec<f32>,
}

impl<B: Weight + QuantElement> Case<'_, B> {
    fn shape_of_a(&self) -> (usize, usize) {
        (self.input.rows(), self.input.k() * self.input.groups())
    }

    fn integers<A: Activation + QuantElement + Bits>(&self, rng: &mut Rng) -> gemmill::Result<()> {
        let shape = self.shape_of_a();
        let memory = Guarded::<A>::new(&self.input.a.data(rng, shape, self.input.largest_code()), self.side());
        let a = self.input.a.view(memory.elements(), shape)?;
        let row_zero_points = self.input.row_zero_points();
        let row_scales = self.input.row_scales();
        let zero_point = self.input.a_zero_point();
        let reference = || Reference {
            a: reference::to_row_major(a),
            zero_points: row_zero_points.clone().unwrap_or_else(|| vec![zero_point; shape.0]),
            scales: row_scales.clone().unwrap_or_else(|| vec![self.input.a_scale().unwrap_or(1.0); shape.0]),
        };
        let mut options = RunOptions::new();
        if let Some(zero_points) = &row_zero_points {
            options = options.row_zero_points(zero_points);
        }
        if let Some(scales) = &row_scales {
            options = options.row_scales(scales);
        }
        self.outputs(rng, a, None, options, reference)
    }

    fn reals(&self, rng: &mut Rng, quantization: ActivationQuantization) -> gemmill::Result<()> {
        let shape = self.shape_of_a();
        let memory = Guarded::new(&self.input.a.reals(rng, shape), self.side());
        let a = self.input.a.view(memory.elements(), shape)?;
        let reference = || {
            let mut reference = Reference { a: Vec::new(), zero_points: Vec::new(), scales: Vec::new() };
            for row in reference::to_row_major(a).chunks_exact(shape.1.max(1)) {
                reference.quantize_row(quantization, row);
            }
            for _ in reference.zero_points.len()..shape.0 {
                reference.quantize_row(quantization, &[]);
            }
            reference
        };
        self.outputs(rng, a, Some(quantization), RunOptions::new(), reference)
    }

    fn side(&self) -> Side {
        Side::BOTH[usize::from(self.input.before_guard)]
    }

    fn outputs<A: Activation, Q: QuantElement>(
        &self,
        rng: &mut Rng,
        a: MatRef<'_, A>,
        quantization: Option<ActivationQuantization>,
        options: RunOptions<'_>,
        reference: impl Fn() -> Reference<Q>,
    ) -> gemmill::Result<()> {
        let (n, groups) = (self.input.n(), self.input.groups());
        match &self.input.output {
            Output::Int { add } => {
                let (stage, want) = output::int(*add);
                self.product(rng, a, stage, quantization, options, reference, want)
            }
            Output::U8(stages) => {
                let arrays = stages.arrays(n, groups);
                let (stage, want) = stages.stage::<u8>(&arrays, n, groups);
                self.product(rng, a, stage, quantization, options, reference, want)
            }
            Output::I8(stages) => {
                let arrays = stages.arrays(n, groups);
                let (stage, want) = stages.stage::<i8>(&arrays, n, groups);
                self.product(rng, a, stage, quantization, options, reference, want)
            }
            Output::F32(stages) => {
                let arrays = stages.arrays(self.input.rows(), n, groups);
                let (stage, want) = stages.stage(&arrays, self.input.a_scale(), n, groups);
                let residual = arrays.residual.as_ref().map(|r| MatRef::row_major(r, self.input.rows(), n));
                let options = residual.transpose()?.map_or(options, |residual| options.residual(residual));
                self.product(rng, a, stage, quantization, options, reference, want)
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a product and what it is compared with")]
    fn product<A: Activation, Q: QuantElement, O: OutputStage>(
        &self,
        rng: &mut Rng,
        a: MatRef<'_, A>,
        stage: O,
        quantization: Option<ActivationQuantization>,
        options: RunOptions<'_>,
        reference: impl Fn() -> Reference<Q>,
        want: impl Fn(output::At<O::Element>) -> O::Element,
    ) -> gemmill::Result<()>
    where
        O::Element: Bits + Element,
    {
        let (m, n) = (self.input.rows() + usize::from(self.input.c_row_too_many == 255), self.input.n());
        let before: Vec<O::Element> = (0..m * n).map(|_| O::Element::poison(rng.bits() as usize)).collect();
        let mut c = Poisoned::holding((m, n), usize::from(self.input.c_gap % 4), &before);
        let mut builder = Gemm::<A, O::Element>::builder(self.packed, stage).a_zero_point(self.input.a_zero_point());
        if let Some(quantization) = quantization {
            builder = builder.a_quantization(quantization);
        }
        let threads = match self.input.threads {
            0 => Threads::Auto,
            1..=8 => Threads::Max(self.input.threads.into()),
            threads => Threads::Exactly(usize::from(threads % 4)),
        };
        let result = builder.threads(threads).build()?.run_with(a, &mut c.view(), &options);
        if let Err(e) = result {
            c.assert_holds(&before, || format!("written to, but refused: {e}"));
            return Err(e);
        }
        let Reference { a, zero_points, scales } = reference();
        let a = MatRef::row_major(&a, m, self.shape_of_a().1)?;
        let zero_points = ZeroPoints { a: Rows::Each(&zero_points), b: self.b_zero_points };
        let raw = reference::raw(a, self.b, self.input.groups(), zero_points);
        let element = |i: usize| {
            want(output::At { row: i / n, column: i % n, raw: raw[i], a_scale: scales[i / n], before: before[i] })
        };
        let want: Vec<O::Element> = (0..m * n).map(element).collect();
        c.assert_holds(&want, || format!("sequences {}\n{:#?}", self.packed.sequences(), self.input));
        Ok(())
    }
}

impl Reference<u8> {
    fn quantize_row(&mut self, quantization: ActivationQuantization, row: &[f32]) {
        let params = match quantization {
            ActivationQuantization::Static(params) => params,
            ActivationQuantization::DynamicPerRow => {
                let (min, max) = quantization::min_max(row).unwrap_or_default();
                QuantParams::from_min_max(min, max, Choose::default()).expect("the product was accepted")
            }
        };
        self.a.extend(row.iter().map(|&x| quantization::quantize(params, x)));
        self.zero_points.push(params.zero_point());
        self.scales.push(params.scale());
    }
}
