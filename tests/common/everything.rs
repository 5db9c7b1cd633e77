//! One of everything that the library does: packing, quantizing, products of all families, conversions.

use gemmill::half::{bf16, f16};
use gemmill::quant::{Bits, Choose, GroupSize, GroupwiseFormat, GroupwiseWeights, QuantParams, ZeroPoints};
use gemmill::{
    ActivationQuantization, Dequantize, FloatGemm, Gemm, GroupwiseGemm, IntOutput, MatMut, MatRef, PackedB,
    PackedFloat, PackedGroupwise, ParallelFor, Requantize, RunOptions, Threads,
};

const M: usize = 32;
const N: usize = 256;
const K: usize = 320;

/// What it is done with.
pub struct Everything {
    bytes: Vec<i8>,
    small: Vec<u8>,
    floats: Vec<f32>,
    real: Vec<f32>,
    bias: Vec<f32>,
    a_scale: f32,
    range: (f32, f32),
}

fn put<T: Copy, const S: usize>(out: &mut Vec<u8>, values: &[T], to_bytes: impl Fn(T) -> [u8; S]) {
    out.extend(values.iter().flat_map(|&value| to_bytes(value)));
}

impl Everything {
    /// Real numbers are some multiples of `unit`.
    pub fn new(unit: f32) -> Everything {
        let small: Vec<u8> = (0..M * K).map(|i| (i * 5 % 256) as u8).collect();
        Everything {
            bytes: (0..K * N).map(|i| (i * 7 % 251) as i8).collect(),
            floats: (0..K * N).map(|i| ((i * 13 % 97) as f32 / 16.0 - 3.0) * unit).collect(),
            real: small.iter().map(|&x| (f32::from(x) / 30.0 - 4.0) * unit).collect(),
            bias: (0..N).map(|j| (j as f32 * 3.7 - 40.0) * unit).collect(),
            a_scale: (0.037 * unit).max(f32::MIN_POSITIVE),
            range: (-4.0 * unit, 4.5 * unit),
            small,
        }
    }

    /// The bytes of all results. Does no arithmetic of its own: it may be called in any mode of that.
    pub fn results(&self, threads: Threads, own: Option<&dyn ParallelFor>) -> Vec<u8> {
        let Everything { bytes, small, floats, real, bias, a_scale, range } = self;
        let options = own.map_or(RunOptions::new(), |own| RunOptions::new().parallel_for(own));
        let (b, w) = (MatRef::row_major(bytes, K, N).unwrap(), MatRef::row_major(floats, K, N).unwrap());
        let (a, x) = (MatRef::row_major(small, M, K).unwrap(), MatRef::row_major(real, M, K).unwrap());
        let mut out = Vec::new();

        // 8 bits.
        let packed = PackedB::builder(b).threads(threads).build().unwrap();
        let packed = PackedB::loader(&packed.to_bytes()).threads(threads).load().unwrap();
        let mut sums = vec![0i32; M * N];
        let gemm = Gemm::builder(&packed, IntOutput::Store).threads(threads).build().unwrap();
        gemm.run_with(a, &mut MatMut::row_major(&mut sums, M, N).unwrap(), &options).unwrap();
        put(&mut out, &sums, i32::to_le_bytes);
        let mut c = vec![0u8; M * N];
        let output = Requantize::<u8>::new(1e-4).zero_point(9).bias_f32(bias, *a_scale, 0.3);
        let gemm = Gemm::builder(&packed, output).threads(threads).build().unwrap();
        gemm.run_with(a, &mut MatMut::row_major(&mut c, M, N).unwrap(), &options).unwrap();
        out.extend(&c);
        let fixed = QuantParams::from_min_max(range.0, range.1, Choose::default()).unwrap();
        let mut c = vec![0f32; M * N];
        for how in [ActivationQuantization::DynamicPerRow, ActivationQuantization::Static(fixed)] {
            let output = Dequantize::new(0.013).bias(bias);
            let gemm = Gemm::builder(&packed, output).a_quantization(how).threads(threads).build().unwrap();
            gemm.run_with(x, &mut MatMut::row_major(&mut c, M, N).unwrap(), &options).unwrap();
            put(&mut out, &c, f32::to_le_bytes);
        }

        // Floats.
        for packed in [PackedFloat::builder(w), PackedFloat::builder(w).store(gemmill::FloatType::F16)] {
            let packed = packed.alpha(0.7).threads(threads).build().unwrap();
            let gemm = FloatGemm::builder(&packed).threads(threads).bias(bias).build().unwrap();
            gemm.run_with(x, &mut MatMut::row_major(&mut c, M, N).unwrap(), &options).unwrap();
            put(&mut out, &c, f32::to_le_bytes);
        }

        // Few bits.
        let format = GroupwiseFormat { bits: Bits::Four, group_size: GroupSize::G64, zero_points: ZeroPoints::Each };
        let nearest = GroupwiseWeights::round_to_nearest(w, format).unwrap();
        let weights = GroupwiseWeights::search(w, format, None).unwrap();
        out.extend(nearest.values());
        out.extend(weights.values());
        let error = weights.error(w).unwrap();
        put(&mut out, &[error.max, error.mean_squared], f64::to_le_bytes);
        let packed = PackedGroupwise::with_threads(&weights, threads).unwrap();
        let gemm = GroupwiseGemm::builder(&packed).threads(threads).bias(bias).build().unwrap();
        gemm.run_with(x, &mut MatMut::row_major(&mut c, M, N).unwrap(), &options).unwrap();
        put(&mut out, &c, f32::to_le_bytes);
        let gemm = FloatGemm::groupwise(&packed).threads(threads).build().unwrap();
        gemm.run_with(x, &mut MatMut::row_major(&mut c, M, N).unwrap(), &options).unwrap();
        put(&mut out, &c, f32::to_le_bytes);

        // Conversions and quantization.
        let (mut halves, mut brains) = (vec![f16::ZERO; M * N], vec![bf16::ZERO; M * N]);
        gemmill::convert::f32_to_f16(&c, &mut halves).unwrap();
        gemmill::convert::f32_to_bf16(&c, &mut brains).unwrap();
        put(&mut out, &halves, f16::to_le_bytes);
        put(&mut out, &brains, bf16::to_le_bytes);
        let (q, scales) = gemmill::quant::symmetric_per_column(w).unwrap();
        put(&mut out, &q, i8::to_le_bytes);
        put(&mut out, &scales, f32::to_le_bytes);
        let (min, max) = gemmill::quant::min_max(real).unwrap();
        put(&mut out, &[min, max, fixed.scale(), fixed.inverse()], f32::to_le_bytes);
        let mut q = vec![0u8; real.len()];
        fixed.quantize(real, &mut q).unwrap();
        out.extend(&q);
        fixed.quantize_by_division(real, &mut q).unwrap();
        out.extend(&q);
        let mut back = vec![0f32; real.len()];
        fixed.dequantize(&q, &mut back).unwrap();
        put(&mut out, &back, f32::to_le_bytes);
        out
    }
}
