//! Products of floating-point arrays.

use std::path::Path;

use anyhow::{Context, Result, bail};
use gemmill::half::f16;
use gemmill::{Float, FloatGemm, Function, MatMut, MatRef, PackedFloat, Threads, Tier};

use crate::npy_file::{self, Array, Elements, Written};

/// A product whose operands have fitting shapes.
#[derive(Debug)]
pub struct FloatProduct<'a> {
    pub a: &'a Array,
    pub b: &'a Array,
    /// Rows and columns of C.
    pub shape: [usize; 2],
    /// One for each column.
    pub bias: Option<Vec<f32>>,
    pub function: Function,
    pub tier: Tier,
    pub threads: Threads,
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
        let packed = match &self.b.elements {
            Elements::F32(data) => PackedFloat::new(self.b.view(data)?),
            Elements::F16(data) => PackedFloat::new(self.b.view(data)?),
            other => bail!("weights are {}: expected f32 or f16", other.dtype()),
        };
        let packed = packed.context("packing B")?;
        let mut gemm = FloatGemm::builder(&packed).function(self.function).tier(self.tier).threads(self.threads);
        if let Some(bias) = &self.bias {
            gemm = gemm.bias(bias);
        }
        let gemm = gemm.build()?;
        match (&self.a.elements, c) {
            (Elements::F32(a), FloatC::F32) => self.run::<f32, f32>(&gemm, self.a.view(a)?, output),
            (Elements::F32(a), FloatC::F16) => self.run::<f32, f16>(&gemm, self.a.view(a)?, output),
            (Elements::F16(a), FloatC::F32) => self.run::<f16, f32>(&gemm, self.a.view(a)?, output),
            (Elements::F16(a), FloatC::F16) => self.run::<f16, f16>(&gemm, self.a.view(a)?, output),
            (other, _) => bail!("activations are {}: expected f32 or f16", other.dtype()),
        }
    }

    fn run<A: Float, C: Float + Written>(&self, gemm: &FloatGemm, a: MatRef<'_, A>, output: &Path) -> Result<()> {
        let [m, n] = self.shape;
        let mut c = vec![C::from_f32(0.0); m * n];
        gemm.run(a, &mut MatMut::row_major(&mut c, m, n)?)?;
        npy_file::write(output, &c, self.shape)
    }
}
