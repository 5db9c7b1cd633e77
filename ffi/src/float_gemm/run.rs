//! Carrying out floating-point products.

use std::ffi::c_void;

use gemmill::half::{bf16, f16};
use gemmill::{Float, FloatRunOptions, FloatType, GroupwiseRunOptions, MatMut, MatRef};

use super::{FloatGemm, Prepared, Product};
use crate::call::{Failure, Outcome, call};
use crate::codes::{HardwareDotCode, TierCode};
use crate::gemm::Operands;
use crate::parallel_for::OwnThreads;
use crate::pointer::{Element, Input, Output, check_apart, object, optional_object, property, size};
use crate::run_options::{Arrays, RunOptions};
use crate::status::Status;

/// Calls `$run::<A, C>(...)` with the types of these codes.
macro_rules! with_types {
    ($codes:expr, $object:ident.$run:ident($($argument:expr),*)) => {
        match $codes {
            (FloatType::F32, FloatType::F32) => $object.$run::<f32, f32>($($argument),*),
            (FloatType::F32, FloatType::F16) => $object.$run::<f32, f16>($($argument),*),
            (FloatType::F32, FloatType::Bf16) => $object.$run::<f32, bf16>($($argument),*),
            (FloatType::F16, FloatType::F32) => $object.$run::<f16, f32>($($argument),*),
            (FloatType::F16, FloatType::F16) => $object.$run::<f16, f16>($($argument),*),
            (FloatType::F16, FloatType::Bf16) => $object.$run::<f16, bf16>($($argument),*),
            (FloatType::Bf16, FloatType::F32) => $object.$run::<bf16, f32>($($argument),*),
            (FloatType::Bf16, FloatType::F16) => $object.$run::<bf16, f16>($($argument),*),
            (FloatType::Bf16, FloatType::Bf16) => $object.$run::<bf16, bf16>($($argument),*),
        }
    };
}

impl Product {
    /// Rows and columns of the weights.
    fn shape(&self) -> (usize, usize) {
        match self {
            Product::Float(gemm) => (gemm.k(), gemm.n()),
            Product::Integer(gemm) => (gemm.packed().k(), gemm.packed().n()),
        }
    }

    fn may_use_threads(&self, rows: usize) -> bool {
        match self {
            Product::Float(gemm) => gemm.may_use_threads(rows),
            Product::Integer(gemm) => gemm.may_use_threads(rows),
        }
    }

    fn carry_out<'a, A: Float, C: Float>(
        &self,
        a: MatRef<'_, A>,
        c: &mut MatMut<'_, C>,
        mut options: FloatRunOptions<'a, C>,
        own_threads: Option<&'a OwnThreads>,
    ) -> gemmill::Result<()> {
        let mut integer_options = GroupwiseRunOptions::new();
        if let Some(own) = own_threads {
            (options, integer_options) = (options.parallel_for(own), integer_options.parallel_for(own));
        }
        match self {
            Product::Float(gemm) => gemm.run_with(a, c, &options),
            Product::Integer(gemm) => gemm.run_with(a, c, &integer_options),
        }
    }
}

impl Prepared {
    /// # Safety
    /// As [`Input::view`] for A, [`Output::view`] for C and [`Arrays::options`].
    unsafe fn run<A: Element + Float, C: Element + Float>(&self, operands: Operands, arrays: Arrays) -> Outcome {
        let Operands { m, a, a_row_stride, a_col_stride, c, c_row_stride } = operands;
        let (k, n) = self.product.shape();
        let rows = size("m", m)?;
        let a = Input { name: "a", data: a, rows, cols: k, row_stride: a_row_stride, col_stride: a_col_stride };
        let c = Output { name: "c", data: c, rows, cols: n, row_stride: c_row_stride };
        let c_at = c.extent::<C>()?;
        check_apart(("c", &c_at), ("a", &a.extent::<A>()?))?;
        if matches!(self.product, Product::Integer(_)) && arrays.has_residual() {
            return Err(Failure::unsupported("residual: products with quantized activations have none"));
        }
        // SAFETY: by this function's contract.
        let options = unsafe { arrays.float_options::<C>((rows, n), ("c", &c_at)) }?;
        // SAFETY: as above.
        let (a, mut c) = unsafe { (a.view::<A>()?, c.view::<C>()?) };
        let own_threads = arrays.own_threads;
        let mut run = || self.product.carry_out(a, &mut c, options, own_threads.as_ref());
        match self.pool.as_deref().filter(|_| own_threads.is_none() && self.product.may_use_threads(rows)) {
            Some(pool) => pool.install(run),
            None => run(),
        }?;
        Ok(())
    }
}

/// Checks the settings and freezes them. The first run does so too; this tells of mistakes before.
///
/// After a failure, settings can still be changed. Threads: any, several at once as well.
/// Errors: GEMMILL_STATUS_BAD_NUMBER for limits that are none and for a beta that is not finite, GEMMILL_STATUS_TIER for a tier that
/// this machine lacks and for hardware dot products that the machine or the tier lacks; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_prepare(gemm: *const FloatGemm) -> Status {
    call("gemmill_float_gemm_prepare", || {
        // SAFETY: by this function's contract.
        unsafe { object("gemm", gemm) }?.prepared().map(drop)
    })
}

/// *value = the gemmill_tier of the operation's kernels.
///
/// Freezes the settings. Threads: any. Errors: those of gemmill_float_gemm_prepare; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile; value points to an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_tier(gemm: *const FloatGemm, value: *mut i32) -> Status {
    let get = |gemm: &FloatGemm| {
        let tier = match &gemm.prepared()?.product {
            Product::Float(gemm) => gemm.tier(),
            Product::Integer(gemm) => gemm.tier(),
        };
        Ok(TierCode::from_tier(tier)? as i32)
    };
    // SAFETY: by this function's contract.
    unsafe { property("gemmill_float_gemm_tier", ("gemm", gemm), value, get) }
}

/// *value = the gemmill_hardware_dot that the operation uses: GEMMILL_HARDWARE_DOT_NONE, or an instruction by name.
///
/// Freezes the settings. Threads: any. Errors: those of gemmill_float_gemm_prepare; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile; value points to an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_hardware_dot(gemm: *const FloatGemm, value: *mut i32) -> Status {
    let get = |gemm: &FloatGemm| {
        let dot = match &gemm.prepared()?.product {
            Product::Float(gemm) => gemm.hardware_dot(),
            Product::Integer(_) => None,
        };
        Ok(HardwareDotCode::from_dot(dot) as i32)
    };
    // SAFETY: by this function's contract.
    unsafe { property("gemmill_float_gemm_hardware_dot", ("gemm", gemm), value, get) }
}

/// C = f(A * B + beta * C + bias + residual), the formulas at gemmill_float_gemm_create and
/// gemmill_float_gemm_create_groupwise_a8: A[i][k] is a[i * a_row_stride + k * a_col_stride], C[i][j] is c[i * c_row_stride + j].
///
/// Shapes: A is m x K, C is m x N; strides count elements and those of A may be 0 or make elements overlap. a and c have the
/// types that the operation was created with, may be null where they have no elements, and lie apart from each other. What lies
/// between the rows of C is not touched, and C is only read if beta is not 0. f32 activations whose rows have their elements side by
/// side are read where they lie, all others are packed first.
/// options: null, or a residual or threads of this run. Ownership: a and c are the caller's, and unused once the call returns.
/// Threads: any, many at once with the same operation; each writes to its own C. After the first run of a size on a thread, a
/// floating-point product with one thread allocates no memory.
/// Errors: those of gemmill_float_gemm_prepare; GEMMILL_STATUS_OUT_OF_RANGE for negative m and strides; GEMMILL_STATUS_OVERFLOW;
/// GEMMILL_STATUS_OVERLAP if rows of C overlap each other or C another operand; GEMMILL_STATUS_BAD_NUMBER if a row to quantize
/// holds an infinity; GEMMILL_STATUS_UNSUPPORTED for options that the operation has no use for; GEMMILL_STATUS_MACHINE_CODE;
/// GEMMILL_STATUS_THREADS for threads of the caller's own that did not run all tasks, C being written in part; pointers. C is
/// untouched after all others but GEMMILL_STATUS_INTERNAL.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile, options one or null; a and c have the elements that m, K, N and strides
/// reach; nobody writes to A's, or uses C's, meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_run(
    gemm: *const FloatGemm,
    m: i64,
    a: *const c_void,
    a_row_stride: i64,
    a_col_stride: i64,
    c: *mut c_void,
    c_row_stride: i64,
    options: *const RunOptions,
) -> Status {
    call("gemmill_float_gemm_run", || {
        // SAFETY: by this function's contract.
        let (gemm, options) = unsafe { (object("gemm", gemm)?, optional_object("options", options)?) };
        let prepared = gemm.prepared()?;
        let operands = Operands { m, a, a_row_stride, a_col_stride, c, c_row_stride };
        let arrays = options.map(RunOptions::arrays).unwrap_or_default();
        // SAFETY: by this function's contract.
        unsafe { with_types!((gemm.a, gemm.c), prepared.run(operands, arrays)) }
    })
}
