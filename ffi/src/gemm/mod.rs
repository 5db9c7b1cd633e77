//! The operation: a handle that collects settings, and becomes a product that any thread may run once they are
//! complete.

// In this order in the header.
mod set;
mod run;

use gemmill::half::{bf16, f16};
use gemmill::quant::QuantElement;
use gemmill::{
    ActivationQuantization, AnyGemm, Dequantize, ElementType, IntOutput, OutputStage, PackedB, Requantize, Sums,
};

use crate::call::{Failure, Outcome};
use crate::caller::{collects, create, entry};
use crate::codes::{Code, Type, Values};
use crate::operation::{Execution, Prepared, Stages, Types};
use crate::status::Status;
use crate::weights::Weights;

/// A product C = epilogue(A * B) with packed weights: created, set, run any number of times, destroyed.
pub struct Gemm {
    packed: PackedB,
    types: Types,
    stages: Stages<Settings>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    a_zero_point: i32,
    a_quantization: Option<ActivationQuantization>,
    a_scale: Option<f32>,
    b_scale: Option<Values<f32>>,
    multiplier: Option<Values<f32>>,
    c_zero_point: i32,
    bias: Bias,
    relu: bool,
    int_clamp: Option<(i32, i32)>,
    float_clamp: Option<(f32, f32)>,
    accumulate: bool,
    sums: Sums,
    execution: Execution,
}

#[derive(Debug, Clone, Default)]
enum Bias {
    #[default]
    None,
    Int(Vec<i32>),
    Float(Vec<f32>),
}

collects!(Gemm: Settings, |gemm| gemm.stages.settings());

impl Gemm {
    /// What runs use.
    fn prepared(&self) -> Outcome<&Prepared> {
        self.stages.prepared(|settings| {
            let gemm = settings.product(&self.packed, self.types)?;
            Ok(Prepared { gemm, dot: None, pool: settings.execution.pool.clone() })
        })
    }
}

impl Settings {
    fn product(&self, packed: &PackedB, Types { a, c }: Types) -> Outcome<AnyGemm> {
        match c {
            ElementType::I32 => self.with(packed, a, if self.accumulate { IntOutput::Add } else { IntOutput::Store }),
            ElementType::U8 => self.with(packed, a, self.requantize::<u8>()?),
            ElementType::I8 => self.with(packed, a, self.requantize::<i8>()?),
            ElementType::F32 => self.with(packed, a, self.dequantize(a)?),
            ElementType::F16 => self.with(packed, a, self.dequantize(a)?.to::<f16>()),
            ElementType::Bf16 => self.with(packed, a, self.dequantize(a)?.to::<bf16>()),
        }
    }

    fn with(&self, packed: &PackedB, a: ElementType, output: impl OutputStage) -> Outcome<AnyGemm> {
        let builder = AnyGemm::int8(packed, a, output);
        let mut builder = builder.a_zero_point(self.a_zero_point).sums(self.sums).threads(self.execution.threads);
        if let Some(quantization) = self.a_quantization {
            builder = builder.a_quantization(quantization);
        }
        if let Some(tier) = self.execution.tier {
            builder = builder.tier(tier);
        }
        Ok(builder.build_any()?)
    }

    fn requantize<T: QuantElement + TryFrom<i32>>(&self) -> Outcome<Requantize<'_, T>> {
        let Some(multiplier) = &self.multiplier else {
            return Err(Failure::unsupported("u8 and i8 outputs need gemmill_gemm_set_multiplier"));
        };
        let mut output = Requantize::new(multiplier.per_column()).zero_point(self.c_zero_point);
        match &self.bias {
            Bias::None => {}
            Bias::Int(bias) => output = output.bias_i32(bias),
            Bias::Float(bias) => {
                let a_scale = match self.a_quantization {
                    Some(ActivationQuantization::Static(params)) => Some(params.scale()),
                    _ => self.a_scale,
                };
                let (Some(a_scale), Some(b_scale)) = (a_scale, &self.b_scale) else {
                    let what =
                        "an f32 bias of u8 and i8 outputs needs gemmill_gemm_set_a_scale and gemmill_gemm_set_b_scale";
                    return Err(Failure::unsupported(what));
                };
                output = output.bias_f32(bias, a_scale, b_scale.per_column());
            }
        }
        if self.relu {
            output = output.relu();
        }
        if let Some((low, high)) = self.int_clamp {
            output = output.clamp(limit("lower limit of C", low)?, limit("upper limit of C", high)?);
        }
        Ok(output)
    }

    fn dequantize(&self, a: ElementType) -> Outcome<Dequantize<'_>> {
        let Some(b_scale) = &self.b_scale else {
            return Err(Failure::unsupported("floating-point outputs need gemmill_gemm_set_b_scale"));
        };
        let mut output = Dequantize::new(b_scale.per_column());
        if let Some(a_scale) = self.a_scale {
            output = output.a_scale(a_scale);
        } else if matches!(a, ElementType::U8 | ElementType::I8) {
            let what = "floating-point outputs of u8 and i8 activations need gemmill_gemm_set_a_scale";
            return Err(Failure::unsupported(what));
        }
        if let Bias::Float(bias) = &self.bias {
            output = output.bias(bias);
        }
        if self.relu {
            output = output.relu();
        }
        if let Some((low, high)) = self.float_clamp {
            output = output.clamp(low, high);
        }
        Ok(output)
    }
}

/// A limit as a value of the output's type.
fn limit<T: QuantElement + TryFrom<i32>>(what: &str, given: i32) -> Outcome<T> {
    T::try_from(given).map_err(|_| Failure::out_of_range(what, T::LOW.into(), T::HIGH.into(), given.into()))
}

/// *gemm = a product C = epilogue(A * B): A is M x (K * groups), B the weights, C is M x N.
///
/// raw[i][j] = sum over k of (A[i][k] - A_zp[i]) * (B[k][j] - B_zp[j]), exact; for i32, u8 and i8 outputs modulo 2^32
/// (see gemmill_weights_largest_sum). a_type is GEMMILL_TYPE_U8 or GEMMILL_TYPE_I8, or GEMMILL_TYPE_F32, _F16 or _BF16
/// for activations that are quantized to u8 on the fly, as f32. c_type decides what C is:
///
///   GEMMILL_TYPE_I32            C = raw, or C + raw
///   GEMMILL_TYPE_U8, _I8        C = zp + rne(clamp(x * multiplier[j], lo - zp, hi - zp)),
///                               x = f32(raw + bias[j]) with an i32 bias,
///                               f32(raw) + bias[j] / (A_scale * B_scale[j]) with an f32 one;
///                               rne rounds to nearest, ties to even
///   GEMMILL_TYPE_F32            C = fma(f32(raw), A_scale[i] * B_scale[j], bias[j]),
///                               without a bias f32(raw) * that product;
///                               plus the residual of a run, then ReLU and clamp
///   GEMMILL_TYPE_F16, _BF16     that, rounded to nearest, ties to even
///
/// Zero points are 0 until they are set. Needed are a multiplier for u8 and i8 outputs, scales of B for floating-point
/// outputs, a scale of A for these if activations are u8 or i8, a quantization for floating-point activations.
/// Ownership: the handle is the caller's, to be given back to gemmill_gemm_destroy; null after a failure. It keeps what
/// it needs of the weights, whose own handle may be destroyed. Threads: any.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE for codes that no type has, GEMMILL_STATUS_UNSUPPORTED for i32 activations;
/// pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; gemm points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_create(
    weights: *const Weights, a_type: i32, c_type: i32, gemm: *mut *mut Gemm,
) -> Status {
    create!("gemmill_gemm_create", gemm, |c| {
        let packed = c.object(weights)?.packed.clone();
        let types = Types { a: Type::of("type of A", a_type)?, c: Type::of("type of C", c_type)? };
        if types.a == ElementType::I32 {
            return Err(Failure::unsupported("activations: expected the type u8, i8, f32, f16 or bf16, given i32"));
        }
        Ok(Gemm { packed, types, stages: Stages::default() })
    })
}

/// Gives an operation back; null is nothing.
///
/// Threads: no other may use the handle meanwhile or later. Errors: GEMMILL_STATUS_MISALIGNED.
///
/// # Safety
/// gemm is a handle or null, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_destroy(gemm: *mut Gemm) -> Status {
    entry!("gemmill_gemm_destroy", |c| c.destroy(gemm)?)
}
