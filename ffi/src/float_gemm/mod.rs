//! The floating-point operation: a handle that collects settings, and becomes a product that any thread may run.

// In this order in the header.
mod set;
mod run;

use gemmill::{AnyGemm, Function, GroupwiseGemm, PackedFloat, PackedGroupwise};

use crate::call::Outcome;
use crate::caller::{collects, entry};
use crate::codes::{HardwareDotCode, Type};
use crate::float_weights::FloatWeights;
use crate::groupwise_packed::GroupwisePacked;
use crate::operation::{Execution, Prepared, Stages, Types};
use crate::status::Status;

/// A product C = f(A * B + ...) of floating-point A and C with packed weights: created, set, run any number of times,
/// destroyed.
pub struct FloatGemm {
    weights: Weights,
    types: Types,
    stages: Stages<Settings>,
}

/// What A is multiplied by, and how.
enum Weights {
    Float(PackedFloat),
    /// In f32: weights become that in registers.
    Expanded(PackedGroupwise),
    /// In integers: A is quantized row by row.
    Integer(PackedGroupwise),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    beta: f32,
    bias: Option<Vec<f32>>,
    function: Function,
    hardware_dot: HardwareDotCode,
    execution: Execution,
}

collects!(FloatGemm: Settings, |gemm| gemm.stages.settings());

impl FloatGemm {
    /// What runs use.
    fn prepared(&self) -> Outcome<&Prepared> {
        self.stages.prepared(|settings| {
            let (gemm, dot) = match &self.weights {
                Weights::Float(packed) => settings.product(gemmill::FloatGemm::builder(packed))?,
                Weights::Expanded(packed) => settings.product(gemmill::FloatGemm::groupwise(packed))?,
                Weights::Integer(packed) => (settings.integer_product(packed)?, None),
            };
            Ok(Prepared { gemm, dot, pool: settings.execution.pool.clone() })
        })
    }
}

impl Settings {
    fn product<'a>(
        &'a self, builder: gemmill::FloatGemmBuilder<'a>,
    ) -> Outcome<(AnyGemm, Option<gemmill::HardwareDot>)> {
        let mut builder = builder.beta(self.beta).function(self.function).threads(self.execution.threads);
        if let Some(bias) = &self.bias {
            builder = builder.bias(bias);
        }
        if let Some(tier) = self.execution.tier {
            builder = builder.tier(tier);
        }
        let dot = self.hardware_dot.resolve(self.execution.tier)?;
        if let Some(dot) = dot {
            builder = builder.hardware_dot(dot);
        }
        Ok((builder.build()?.into(), dot))
    }

    fn integer_product(&self, packed: &PackedGroupwise) -> Outcome<AnyGemm> {
        let mut builder = GroupwiseGemm::builder(packed).function(self.function).threads(self.execution.threads);
        if let Some(bias) = &self.bias {
            builder = builder.bias(bias);
        }
        if let Some(tier) = self.execution.tier {
            builder = builder.tier(tier);
        }
        Ok(builder.build()?.into())
    }
}

/// An operation with these weights.
fn operation(weights: Weights, a_type: i32, c_type: i32) -> Outcome<FloatGemm> {
    let types = Types { a: Type::float("type of A", a_type)?, c: Type::float("type of C", c_type)? };
    Ok(FloatGemm { weights, types, stages: Stages::default() })
}

/// *gemm = a floating-point product: A is M x K, B the weights, C is M x N, all sums in f32:
///
///   x = beta == 0 ? 0 : beta * C[i][j]
///   for k in 0..K: x = fma(A[i][k], B[k][j], x)          ascending, one chain
///   C[i][j] = round(f(x + bias[j] + residual[i][j]))     bias and residual as far as given, one rounding each
///
/// a_type and c_type are GEMMILL_TYPE_F32, GEMMILL_TYPE_F16 or GEMMILL_TYPE_BF16, whatever the weights are. A row of C
/// has the same bits however many rows A has, on every tier and with every number of threads. beta is 0, there is no
/// bias, and f(x) = x until they are set. Only gemmill_float_gemm_set_hardware_dot makes the chain another one.
/// Ownership: the handle is the caller's, to be given back to gemmill_float_gemm_destroy; null after a failure. It
/// keeps what it needs of the weights, whose own handle may be destroyed. Threads: any.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE for codes that no type has, GEMMILL_STATUS_UNSUPPORTED for types of integers;
/// pointers.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; gemm points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_create(
    weights: *const FloatWeights, a_type: i32, c_type: i32, gemm: *mut *mut FloatGemm,
) -> Status {
    entry!("gemmill_float_gemm_create", |c| {
        let make = || operation(Weights::Float(c.object(weights)?.packed.clone()), a_type, c_type);
        c.create(gemm, make)?
    })
}

/// *gemm = a product as gemmill_float_gemm_create, with weights of few bits, which become f32 (exactly) in registers
/// while it runs: B[k][j] = scale[g][j] * (q[k][j] - zero_point[g][j]), g = k / group size.
///
/// Everything else as gemmill_float_gemm_create.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; gemm points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_create_groupwise(
    weights: *const GroupwisePacked, a_type: i32, c_type: i32, gemm: *mut *mut FloatGemm,
) -> Status {
    entry!("gemmill_float_gemm_create_groupwise", |c| {
        let make = || operation(Weights::Expanded(c.object_as("weights", weights)?.packed.clone()), a_type, c_type);
        c.create(gemm, make)?
    })
}

/// *gemm = a product of A, quantized to i8 row by row while it runs, and weights of few bits, in integers within each
/// group:
///
///   scale[i] = max over k of |A[i][k]| / 127;  qa[i][k] = rne(A[i][k] * (1 / scale[i]))
///   s[g]     = sum over k in g of qa[i][k] * (q[k][j] - zero_point[g][j])       exact
///   x        = fma(f32(s[g]), scale[g][j], x)                                   g ascending, from 0
///   C[i][j]  = round(f(fma(x, scale[i], bias[j])))                              without a bias: x * scale[i]
///
/// There is no beta and no residual. Runs refuse infinite activations. Everything else as gemmill_float_gemm_create.
///
/// # Safety
/// weights is a handle that is not destroyed meanwhile; gemm points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_create_groupwise_a8(
    weights: *const GroupwisePacked, a_type: i32, c_type: i32, gemm: *mut *mut FloatGemm,
) -> Status {
    entry!("gemmill_float_gemm_create_groupwise_a8", |c| {
        let make = || operation(Weights::Integer(c.object_as("weights", weights)?.packed.clone()), a_type, c_type);
        c.create(gemm, make)?
    })
}

/// Gives an operation back; null is nothing.
///
/// Threads: no other may use the handle meanwhile or later. Errors: GEMMILL_STATUS_MISALIGNED.
///
/// # Safety
/// gemm is a handle or null, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_destroy(gemm: *mut FloatGemm) -> Status {
    entry!("gemmill_float_gemm_destroy", |c| c.destroy(gemm)?)
}
