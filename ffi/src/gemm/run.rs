//! Carrying out products.

use std::ffi::{c_char, c_void};

use gemmill::{AnyGemm, ElementType, IntOutput};

use super::Gemm;
use crate::call::Failure;
use crate::caller::entry;
use crate::codes::{Code, Type};
use crate::memory::{Matrix, size};
use crate::operation::{Operands, Prepared, Types};
use crate::packing::Settings;
use crate::run_options::{Arrays, RunOptions};
use crate::status::Status;
use crate::weights::pack;

/// Checks the settings and freezes them. The first run does so too; this tells of mistakes before.
///
/// After a failure, settings can still be changed. Threads: any, several at once as well.
/// Errors: GEMMILL_STATUS_UNSUPPORTED for settings that are missing or do not go together, GEMMILL_STATUS_OUT_OF_RANGE,
/// GEMMILL_STATUS_BAD_NUMBER for scales and multipliers that are not finite and above 0 and for biases that are not
/// finite,
/// GEMMILL_STATUS_MISMATCH, GEMMILL_STATUS_TIER for a tier that the weights were not packed for; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_prepare(gemm: *const Gemm) -> Status {
    entry!("gemmill_gemm_prepare", |c| c.object(gemm)?.prepared().map(drop)?)
}

/// C = epilogue(A * B), the formulas at gemmill_gemm_create: A[i][k] is a[i * a_row_stride + k * a_col_stride], C[i][j]
/// is c[i * c_row_stride + j].
///
/// Shapes: A is m x (K * groups), C is m x N; strides count elements and those of A may be 0 or make elements overlap.
/// a and c have the types that the operation was created with, may be null where they have no elements, and lie apart
/// from each other. What lies between the rows of C is not touched, and C is only read if it is accumulated to.
/// options: null, or what differs from run to run. Ownership: a and c are the caller's, and unused once the call
/// returns.
/// Threads: any, many at once with the same operation; each writes to its own C. After the first run of a size on a
/// thread, a run with one thread allocates no memory.
/// Errors: those of gemmill_gemm_prepare; GEMMILL_STATUS_OUT_OF_RANGE for negative m and strides, zero points of rows,
/// and activations beyond what packing was promised; GEMMILL_STATUS_OVERFLOW; GEMMILL_STATUS_OVERLAP if rows of C
/// overlap each other or C another operand; GEMMILL_STATUS_MISMATCH if options are not for m rows;
/// GEMMILL_STATUS_BAD_NUMBER if a row to quantize by itself holds an infinity; GEMMILL_STATUS_UNSUPPORTED for options
/// that the operation has no use for;
/// GEMMILL_STATUS_MACHINE_CODE; GEMMILL_STATUS_THREADS for threads of the caller's own that did not run all tasks and
/// GEMMILL_STATUS_OUT_OF_MEMORY, C being written in part; pointers. C is untouched after all others but
/// GEMMILL_STATUS_INTERNAL.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile, options one or null; a and c have the elements that m, K, N and
/// strides reach; nobody writes to A's, or uses C's, meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_run(
    gemm: *const Gemm, m: i64, a: *const c_void, a_row_stride: i64, a_col_stride: i64, c: *mut c_void,
    c_row_stride: i64, options: *const RunOptions,
) -> Status {
    entry!("gemmill_gemm_run", |caller| {
        let (gemm, arrays) = (caller.object(gemm)?, caller.settings_or_default(options)?);
        let operands = Operands { types: gemm.types, m, a, a_row_stride, a_col_stride, c, c_row_stride };
        gemm.prepared()?.run(caller, operands, &arrays)?
    })
}

/// buffer = how a product with m rows is carried out, row-major: tier, sequences, cache blocks, parts, kernels; a text
/// for people, which may change from version to version.
///
/// Freezes the settings. *length = the length of the text, without the NUL that ends it; it is set even if the buffer
/// is too small. buffer may be null if capacity is 0. Ownership: the buffer is the caller's. Threads: any.
/// Errors: those of gemmill_gemm_prepare, GEMMILL_STATUS_TOO_SMALL, GEMMILL_STATUS_OUT_OF_RANGE for a negative m or
/// capacity,
/// GEMMILL_STATUS_OVERFLOW; pointers.
///
/// # Safety
/// gemm is a handle that is not destroyed meanwhile; buffer has capacity bytes; length points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_gemm_describe(
    gemm: *const Gemm, m: i64, buffer: *mut c_char, capacity: i64, length: *mut i64,
) -> Status {
    entry!("gemmill_gemm_describe", |c| {
        let (gemm, buffer) = (c.object(gemm)?, c.buffer::<u8>(buffer.cast(), capacity, length)?);
        let rows = size("m", m)?;
        buffer.set_text(&gemm.prepared()?.gemm.describe(rows)?)?
    })
}

/// C = A * B in i32, modulo 2^32, with weights that are packed for this call alone: A[i][k] is
/// a[i * a_row_stride + k * a_col_stride], B[k][j] is b[k * b_row_stride + j * b_col_stride], C[i][j] is c[i *
/// c_row_stride + j].
///
/// Shapes: A is m x k, B is k x n, C is m x n. a_type and b_type are GEMMILL_TYPE_U8 or GEMMILL_TYPE_I8. Strides count
/// elements. Weights that are used more than a few times are better packed once. Ownership: all memory is the caller's.
/// Threads: any. Errors: as gemmill_weights_create and gemmill_gemm_run.
///
/// # Safety
/// a, b and c have the elements that sizes and strides reach; nobody writes to A's and B's, or uses C's, meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_multiply(
    a_type: i32, b_type: i32, m: i64, n: i64, k: i64, a: *const c_void, a_row_stride: i64, a_col_stride: i64,
    b: *const c_void, b_row_stride: i64, b_col_stride: i64, c: *mut i32, c_row_stride: i64,
) -> Status {
    entry!("gemmill_multiply", |caller| {
        let types = Types { a: Type::of("type of A", a_type)?, c: ElementType::I32 };
        if !matches!(types.a, ElementType::U8 | ElementType::I8) {
            return Err(Failure::unsupported("A: expected the type u8 or i8"));
        }
        let b = Matrix::weights("b", (Type::of("type of B", b_type)?, b), (k, n), (b_row_stride, b_col_stride))?;
        let packed = pack(caller, &b, &Settings::quick())?;
        let gemm = AnyGemm::int8(&packed, types.a, IntOutput::Store).build_any()?;
        let operands = Operands { types, m, a, a_row_stride, a_col_stride, c: c.cast(), c_row_stride };
        Prepared { gemm, dot: None, pool: None }.run(caller, operands, &Arrays::default())?
    })
}
