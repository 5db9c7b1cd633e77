//! Carrying out floating-point products.

use std::ffi::c_void;

use gemmill::{Float, FloatRunOptions, GroupwiseRunOptions, MatMut, MatRef};

use super::{FloatGemm, Prepared, Product};
use crate::call::{Failure, Outcome};
use crate::caller::{Caller, entry};
use crate::codes::{HardwareDotCode, TierCode, with_float};
use crate::memory::{Element, check_apart};
use crate::operation::{Operands, on_pool};
use crate::parallel_for::OwnThreads;
use crate::run_options::{Arrays, RunOptions};
use crate::status::Status;

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
        &self, a: MatRef<'_, A>, c: &mut MatMut<'_, C>, mut options: FloatRunOptions<'a, C>,
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
    /// Asks for: [`Caller::matrix`] for A, [`Caller::matrix_mut`] for C and [`Arrays::float_options`].
    fn run<A: Element + Float, C: Element + Float>(
        &self, caller: Caller<'_>, operands: Operands, arrays: Arrays,
    ) -> Outcome {
        let (k, n) = self.product.shape();
        let (a, c) = operands.matrices(k, n)?;
        let c_at = c.footprint::<C>()?;
        check_apart(&c_at, &a.footprint::<A>()?)?;
        if matches!(self.product, Product::Integer(_)) && arrays.has_residual() {
            return Err(Failure::unsupported("residual: products with quantized activations have none"));
        }
        let options = arrays.float_options::<C>(caller, (c.rows, n), &c_at)?;
        let own = arrays.own_threads.as_ref();
        let pool = self.pool.as_deref().filter(|_| own.is_none() && self.product.may_use_threads(c.rows));
        let (a, mut c) = (caller.matrix::<A>(&a)?, caller.matrix_mut::<C>(&c)?);
        Ok(on_pool(pool, || self.product.carry_out(a, &mut c, options, own))?)
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
    entry!("gemmill_float_gemm_prepare", |c| c.object(gemm)?.prepared().map(drop)?)
}

/// *value = the gemmill_tier of the operation's kernels.
///
/// Freezes the settings. Threads: any. Errors: those of gemmill_float_gemm_prepare; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile; value points to an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_tier(gemm: *const FloatGemm, value: *mut i32) -> Status {
    entry!("gemmill_float_gemm_tier", |c| {
        let get = |gemm: &FloatGemm| {
            let tier = match &gemm.prepared()?.product {
                Product::Float(gemm) => gemm.tier(),
                Product::Integer(gemm) => gemm.tier(),
            };
            Ok(TierCode::from_tier(tier)? as i32)
        };
        c.get(gemm, value, get)?
    })
}

/// *value = the gemmill_hardware_dot that the operation uses: GEMMILL_HARDWARE_DOT_NONE, or an instruction by name.
///
/// Freezes the settings. Threads: any. Errors: those of gemmill_float_gemm_prepare; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile; value points to an int32_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_float_gemm_hardware_dot(gemm: *const FloatGemm, value: *mut i32) -> Status {
    entry!("gemmill_float_gemm_hardware_dot", |c| {
        let get = |gemm: &FloatGemm| {
            let dot = match &gemm.prepared()?.product {
                Product::Float(gemm) => gemm.hardware_dot(),
                Product::Integer(_) => None,
            };
            Ok(HardwareDotCode::from_dot(dot) as i32)
        };
        c.get(gemm, value, get)?
    })
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
    gemm: *const FloatGemm, m: i64, a: *const c_void, a_row_stride: i64, a_col_stride: i64, c: *mut c_void,
    c_row_stride: i64, options: *const RunOptions,
) -> Status {
    entry!("gemmill_float_gemm_run", |caller| {
        let (gemm, arrays) = (caller.object(gemm)?, caller.settings_or_default(options)?);
        let prepared = gemm.prepared()?;
        let operands = Operands { m, a, a_row_stride, a_col_stride, c, c_row_stride };
        with_float!(gemm.a, A => with_float!(gemm.c, C => prepared.run::<A, C>(caller, operands, arrays)))?
    })
}
