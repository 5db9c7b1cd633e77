//! Carrying out products.

use std::ffi::{c_char, c_void};

use gemmill::{Activation, RunOptions as Options};
use rayon::ThreadPool;

use super::{Gemm, Operands};
use crate::call::{Failure, Outcome, call};
use crate::codes::{Code, Type};
use crate::packing::Settings;
use crate::pointer::{Buffer, Element, Input, Output, check_apart, object, optional_object, size};
use crate::run_options::{Arrays, RunOptions};
use crate::status::Status;
use crate::weights::pack;

/// A product whose types are known.
pub(super) trait Product: Send + Sync {
    /// # Safety
    /// As [`Input::view`] for A, [`Output::view`] for C and [`Arrays::options`].
    unsafe fn run(&self, operands: Operands, arrays: Option<Arrays>, pool: Option<&ThreadPool>) -> Outcome;

    fn describe(&self, rows: usize) -> Outcome<String>;
}

impl<A: Activation + Element, C: Element> Product for gemmill::Gemm<A, C> {
    unsafe fn run(&self, operands: Operands, arrays: Option<Arrays>, pool: Option<&ThreadPool>) -> Outcome {
        let Operands { m, a, a_row_stride, a_col_stride, c, c_row_stride } = operands;
        let (k, n, groups) = (self.packed().k(), self.packed().n(), self.packed().groups());
        let rows = size("m", m)?;
        let overflow = || Failure::new(Status::Overflow, "K times groups: the size does not fit the address space");
        let cols = k.checked_mul(groups).ok_or_else(overflow)?;
        let a = Input { name: "a", data: a, rows, cols, row_stride: a_row_stride, col_stride: a_col_stride };
        let c = Output { name: "c", data: c, rows, cols: n, row_stride: c_row_stride };
        let c_at = c.extent::<C>()?;
        check_apart(("c", &c_at), ("a", &a.extent::<A>()?))?;
        let mut options = match arrays {
            // SAFETY: by this function's contract.
            Some(arrays) => unsafe { arrays.options((rows, n), ("c", &c_at)) }?,
            None => Options::new(),
        };
        let own_threads = arrays.and_then(|arrays| arrays.own_threads);
        if let Some(own) = &own_threads {
            options = options.parallel_for(own);
        }
        // SAFETY: by this function's contract.
        let (a, mut c) = unsafe { (a.view::<A>()?, c.view::<C>()?) };
        let mut run = || self.run_with(a, &mut c, &options);
        match pool.filter(|_| own_threads.is_none() && self.may_use_threads(rows)) {
            Some(pool) => pool.install(run),
            None => run(),
        }?;
        Ok(())
    }

    fn describe(&self, rows: usize) -> Outcome<String> {
        Ok(gemmill::Gemm::describe(self, rows)?.to_string())
    }
}

/// Checks the settings and freezes them. The first run does so too; this tells of mistakes before.
///
/// After a failure, settings can still be changed. Threads: any, several at once as well.
/// Errors: GEMMILL_STATUS_UNSUPPORTED for settings that are missing or do not go together, GEMMILL_STATUS_OUT_OF_RANGE,
/// GEMMILL_STATUS_BAD_NUMBER for scales and multipliers that are not finite and above 0 and for biases that are not finite,
/// GEMMILL_STATUS_MISMATCH, GEMMILL_STATUS_TIER for a tier that the weights were not packed for; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_prepare(gemm: *const Gemm) -> Status {
    call("gemmill_gemm_prepare", || {
        // SAFETY: by this function's contract.
        unsafe { object("gemm", gemm) }?.prepared().map(drop)
    })
}

/// C = epilogue(A * B), the formulas at gemmill_gemm_create: A[i][k] is a[i * a_row_stride + k * a_col_stride], C[i][j] is
/// c[i * c_row_stride + j].
///
/// Shapes: A is m x (K * groups), C is m x N; strides count elements and those of A may be 0 or make elements overlap. a and
/// c have the types that the operation was created with, may be null where they have no elements, and lie apart from each
/// other. What lies between the rows of C is not touched, and C is only read if it is accumulated to.
/// options: null, or what differs from run to run. Ownership: a and c are the caller's, and unused once the call returns.
/// Threads: any, many at once with the same operation; each writes to its own C. After the first run of a size on a thread,
/// a run with one thread allocates no memory.
/// Errors: those of gemmill_gemm_prepare; GEMMILL_STATUS_OUT_OF_RANGE for negative m and strides, zero points of rows, and
/// activations beyond what packing was promised; GEMMILL_STATUS_OVERFLOW; GEMMILL_STATUS_OVERLAP if rows of C overlap each
/// other or C another operand; GEMMILL_STATUS_MISMATCH if options are not for m rows; GEMMILL_STATUS_BAD_NUMBER if a row to
/// quantize by itself holds an infinity; GEMMILL_STATUS_UNSUPPORTED for options that the operation has no use for;
/// GEMMILL_STATUS_MACHINE_CODE; GEMMILL_STATUS_THREADS for threads of the caller's own that did not run all tasks, C being written
/// in part; pointers. C is untouched after all others but GEMMILL_STATUS_INTERNAL.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile, options one or null; a and c have the elements that m, K, N and strides
/// reach; nobody writes to A's, or uses C's, meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_run(
    gemm: *const Gemm,
    m: i64,
    a: *const c_void,
    a_row_stride: i64,
    a_col_stride: i64,
    c: *mut c_void,
    c_row_stride: i64,
    options: *const RunOptions,
) -> Status {
    call("gemmill_gemm_run", || {
        // SAFETY: by this function's contract.
        let (gemm, options) = unsafe { (object("gemm", gemm)?, optional_object("options", options)?) };
        let prepared = gemm.prepared()?;
        let operands = Operands { m, a, a_row_stride, a_col_stride, c, c_row_stride };
        // SAFETY: by this function's contract.
        unsafe { prepared.product.run(operands, options.map(RunOptions::arrays), prepared.pool.as_deref()) }
    })
}

/// buffer = how a product with m rows is carried out, row-major: tier, sequences, cache blocks, parts, kernels; a text for
/// people, which may change from version to version.
///
/// Freezes the settings. *length = the length of the text, without the NUL that ends it; it is set even if the buffer is too
/// small. buffer may be null if capacity is 0. Ownership: the buffer is the caller's. Threads: any.
/// Errors: those of gemmill_gemm_prepare, GEMMILL_STATUS_TOO_SMALL, GEMMILL_STATUS_OUT_OF_RANGE for a negative m or capacity,
/// GEMMILL_STATUS_OVERFLOW; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile; buffer has capacity bytes; length points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_describe(
    gemm: *const Gemm,
    m: i64,
    buffer: *mut c_char,
    capacity: i64,
    length: *mut i64,
) -> Status {
    call("gemmill_gemm_describe", || {
        // SAFETY: by this function's contract.
        let (gemm, buffer) = unsafe { (object("gemm", gemm)?, Buffer::<u8>::new(buffer.cast(), capacity, length)?) };
        let rows = size("m", m)?;
        buffer.set_text(&gemm.prepared()?.product.describe(rows)?)
    })
}

/// C = A * B in i32, modulo 2^32, with weights that are packed for this call alone: A[i][k] is
/// a[i * a_row_stride + k * a_col_stride], B[k][j] is b[k * b_row_stride + j * b_col_stride], C[i][j] is c[i * c_row_stride + j].
///
/// Shapes: A is m x k, B is k x n, C is m x n. a_type and b_type are GEMMILL_TYPE_U8 or GEMMILL_TYPE_I8. Strides count
/// elements. Weights that are used more than a few times are better packed once. Ownership: all memory is the caller's.
/// Threads: any. Errors: as gemmill_weights_create and gemmill_gemm_run.
///
/// # Safety
/// a, b and c have the elements that sizes and strides reach; nobody writes to A's and B's, or uses C's, meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_multiply(
    a_type: i32,
    b_type: i32,
    m: i64,
    n: i64,
    k: i64,
    a: *const c_void,
    a_row_stride: i64,
    a_col_stride: i64,
    b: *const c_void,
    b_row_stride: i64,
    b_col_stride: i64,
    c: *mut i32,
    c_row_stride: i64,
) -> Status {
    call("gemmill_multiply", || {
        let b = Input {
            name: "b",
            data: b,
            rows: size("k", k)?,
            cols: size("n", n)?,
            row_stride: b_row_stride,
            col_stride: b_col_stride,
        };
        let operands = Operands { m, a, a_row_stride, a_col_stride, c: c.cast(), c_row_stride };
        // SAFETY: by this function's contract.
        unsafe { multiply((Type::of("type of A", a_type)?, Type::of("type of B", b_type)?), operands, b) }
    })
}

/// # Safety
/// As [`Product::run`], and [`Input::view`] for B.
unsafe fn multiply((a_type, b_type): (Type, Type), operands: Operands, b: Input<'_>) -> Outcome {
    // SAFETY: by this function's contract.
    let packed = unsafe { pack(b_type, b, &Settings::quick()) }?.packed;
    let output = gemmill::IntOutput::Store;
    let product: Box<dyn Product> = match a_type {
        Type::U8 => Box::new(gemmill::Gemm::<u8, i32>::builder(&packed, output).build()?),
        Type::I8 => Box::new(gemmill::Gemm::<i8, i32>::builder(&packed, output).build()?),
        Type::I32 | Type::F32 | Type::F16 | Type::Bf16 => {
            return Err(Failure::unsupported("A: expected the type u8 or i8"));
        }
    };
    // SAFETY: by this function's contract.
    unsafe { product.run(operands, None, None) }
}
