//! The formats that weights may have. Another one is an entry of [`FORMATS`] and what packs it.

use gemmill::quant::{self, Bits, GroupSize, GroupwiseFormat, GroupwiseWeights, ZeroPoints};
use gemmill::{
    ActivationQuantization, Dequantize, FloatGemm, FloatType, Gemm, GroupwiseGemm, MatMut, MatRef, PackedB,
    PackedFloat, PackedGroupwise, Result, Threads,
};

/// A matrix of weights that multiplies one token.
pub trait Weights {
    /// `out = x * weights`
    fn multiply(&self, x: &[f32], out: &mut [f32]) -> Result<()>;

    /// Bytes of the packed weights.
    fn bytes(&self) -> usize;
}

/// A way to store weights.
pub struct Format {
    pub name: &'static str,
    /// From f32 weights, K × N.
    pub pack: fn(MatRef<'_, f32>) -> Result<Box<dyn Weights>>,
    /// The largest error of a projection, relative to f32, that counts as a success.
    pub tolerance: f64,
}

/// All of them; the first one is what the others are compared with.
pub const FORMATS: [Format; 4] = [
    Format { name: "f32", pack: |weights| float(weights, FloatType::F32), tolerance: 0.0 },
    Format { name: "bf16", pack: |weights| float(weights, FloatType::Bf16), tolerance: 0.004 },
    Format { name: "int8", pack: int8, tolerance: 0.03 },
    Format { name: "int4", pack: int4, tolerance: 0.15 },
];

fn float(weights: MatRef<'_, f32>, stored: FloatType) -> Result<Box<dyn Weights>> {
    let packed = PackedFloat::builder(weights).store(stored).build()?;
    let gemm = FloatGemm::builder(&packed).threads(Threads::Max(1)).build()?;
    Ok(Box::new(Float { gemm, bytes: packed.size_in_bytes() }))
}

/// Weights and activations that are floating-point numbers.
struct Float {
    gemm: FloatGemm,
    bytes: usize,
}

impl Weights for Float {
    fn multiply(&self, x: &[f32], out: &mut [f32]) -> Result<()> {
        let n = out.len();
        self.gemm.run(MatRef::row_major(x, 1, x.len())?, &mut MatMut::row_major(out, 1, n)?)
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Weights of 8 bits with a scale for each column; activations become 8 bits inside the call, with a scale for each
/// row.
struct Int8 {
    gemm: Gemm<f32, f32>,
    bytes: usize,
}

fn int8(weights: MatRef<'_, f32>) -> Result<Box<dyn Weights>> {
    let (integers, scales) = quant::symmetric_per_column(weights)?;
    let packed = PackedB::new(MatRef::row_major(&integers, weights.rows(), weights.cols())?)?;
    let gemm = Gemm::builder(&packed, Dequantize::new(&scales))
        .a_quantization(ActivationQuantization::DynamicPerRow)
        .threads(Threads::Max(1))
        .build()?;
    Ok(Box::new(Int8 { gemm, bytes: packed.size_in_bytes() }))
}

impl Weights for Int8 {
    fn multiply(&self, x: &[f32], out: &mut [f32]) -> Result<()> {
        let n = out.len();
        self.gemm.run(MatRef::row_major(x, 1, x.len())?, &mut MatMut::row_major(out, 1, n)?)
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Weights of 4 bits with a scale for every 128 of a column; activations become 8 bits inside the call.
fn int4(weights: MatRef<'_, f32>) -> Result<Box<dyn Weights>> {
    let format = GroupwiseFormat { bits: Bits::Four, group_size: GroupSize::G128, zero_points: ZeroPoints::Middle };
    let groupwise = GroupwiseWeights::round_to_nearest(weights, format)?;
    let packed = PackedGroupwise::new(&groupwise)?;
    Ok(Box::new(GroupwiseGemm::builder(&packed).threads(Threads::Max(1)).build()?))
}

impl Weights for GroupwiseGemm {
    fn multiply(&self, x: &[f32], out: &mut [f32]) -> Result<()> {
        let n = out.len();
        self.run(MatRef::row_major(x, 1, x.len())?, &mut MatMut::row_major(out, 1, n)?)
    }

    fn bytes(&self) -> usize {
        self.packed().size_in_bytes()
    }
}
