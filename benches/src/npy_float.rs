//! Products of floating-point arrays, with B as it is, as bf16 or quantized in groups.

use std::path::Path;

use anyhow::{Context, Result, bail};
use gemmill::half::f16;
use gemmill::quant::Bits;
use gemmill::{
    Float, FloatGemm, FloatType, Function, GroupwiseGemm, HardwareDot, MatMut, MatRef, PackedFloat, PackedGroupwise,
    Threads, Tier,
};

use crate::groups::Groups;
use crate::npy_file::{self, Array, Elements, Written};

/// A product whose operands have fitting shapes.
#[derive(Debug)]
pub struct FloatProduct<'a> {
    pub a: &'a Array,
    pub b: &'a Array,
    /// What B becomes; packed as it is without.
    pub quantization: Option<Quantization>,
    /// What multiplies bf16, which B becomes then.
    pub hardware_dot: Option<HardwareDot>,
    /// Rows and columns of C.
    pub shape: [usize; 2],
    /// One for each column.
    pub bias: Option<Vec<f32>>,
    pub function: Function,
    pub tier: Tier,
    pub threads: Threads,
}

/// Weights of 4 or 2 bits.
#[derive(Debug, Clone, Copy)]
pub struct Quantization {
    pub bits: Bits,
    pub groups: Groups,
    pub activations: Activations,
}

/// What activations become where weights are quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activations {
    /// They stay what they are.
    Float,
    /// i8, row by row.
    Quantized,
}

/// The operation.
enum Operation {
    Float(FloatGemm),
    Groupwise(GroupwiseGemm),
}

/// The type of C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatC {
    F32,
    F16,
}

impl FloatProduct<'_> {
    /// Multiplies, and writes C.
    pub fn write(&self, c: FloatC, output: &Path) -> Result<()> {
        let gemm = self.operation()?;
        match (&self.a.elements, c) {
            (Elements::F32(a), FloatC::F32) => self.run::<f32, f32>(&gemm, self.a.view(a)?, output),
            (Elements::F32(a), FloatC::F16) => self.run::<f32, f16>(&gemm, self.a.view(a)?, output),
            (Elements::F16(a), FloatC::F32) => self.run::<f16, f32>(&gemm, self.a.view(a)?, output),
            (Elements::F16(a), FloatC::F16) => self.run::<f16, f16>(&gemm, self.a.view(a)?, output),
            (other, _) => bail!("activations are {}: expected f32 or f16", other.dtype()),
        }
    }

    fn operation(&self) -> Result<Operation> {
        /// What both builders are told.
        macro_rules! build {
            ($builder:expr) => {{
                let mut gemm = $builder.function(self.function).tier(self.tier).threads(self.threads);
                if let Some(bias) = &self.bias {
                    gemm = gemm.bias(bias);
                }
                gemm.build()?
            }};
        }
        Ok(match self.quantization {
            None => {
                let builder = FloatGemm::builder(&self.packed()?);
                Operation::Float(build!(match self.hardware_dot {
                    Some(dot) => builder.hardware_dot(dot),
                    None => builder,
                }))
            }
            Some(quantization) => {
                let packed = self.quantized(quantization)?;
                match quantization.activations {
                    Activations::Quantized => Operation::Groupwise(build!(GroupwiseGemm::builder(&packed))),
                    Activations::Float => Operation::Float(build!(FloatGemm::groupwise(&packed))),
                }
            }
        })
    }

    fn packed(&self) -> Result<PackedFloat> {
        let stored = |own| if self.hardware_dot.is_some() { FloatType::Bf16 } else { own };
        let packed = match &self.b.elements {
            Elements::F32(data) => PackedFloat::builder(self.b.view(data)?).store(stored(FloatType::F32)).build(),
            Elements::F16(data) => PackedFloat::builder(self.b.view(data)?).store(stored(FloatType::F16)).build(),
            other => bail!("weights are {}: expected f32 or f16", other.dtype()),
        };
        packed.context("packing B")
    }

    fn quantized(&self, Quantization { bits, groups, .. }: Quantization) -> Result<PackedGroupwise> {
        let weights = match &self.b.elements {
            Elements::F32(data) => groups.quantize(self.b.view(data)?, bits),
            Elements::F16(data) => {
                let data: Vec<f32> = data.iter().map(|x| x.to_f32()).collect();
                groups.quantize(self.b.view(&data)?, bits)
            }
            other => bail!("weights are {}: expected f32 or f16", other.dtype()),
        };
        PackedGroupwise::new(&weights.context("quantizing B")?).context("packing B")
    }

    fn run<A: Float, C: Float + Written>(&self, gemm: &Operation, a: MatRef<'_, A>, output: &Path) -> Result<()> {
        let [m, n] = self.shape;
        let mut data = vec![C::from_f32(0.0); m * n];
        let mut c = MatMut::row_major(&mut data, m, n)?;
        match gemm {
            Operation::Float(gemm) => gemm.run(a, &mut c),
            Operation::Groupwise(gemm) => gemm.run(a, &mut c),
        }?;
        npy_file::write(output, &data, self.shape)
    }
}
