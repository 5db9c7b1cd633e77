//! What may differ from run to run.

use std::ffi::c_void;
use std::sync::Mutex;

use gemmill::{Float, FloatRunOptions, FloatType, MatRef, RunOptions as Options};

use crate::call::{Failure, Outcome, call, unpoisoned};
use crate::codes::Type;
use crate::parallel_for::OwnThreads;
use crate::pointer::{Element, Input, addresses, check, check_apart, create, destroy, elements, object, size};
use crate::status::Status;

/// What may differ from run to run: zero points and scales of rows, a residual, threads.
#[derive(Debug, Default)]
pub struct RunOptions {
    arrays: Mutex<Arrays>,
}

/// Arrays of the caller, which only runs read, and threads.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Arrays {
    row_zero_points: Option<Array<i32>>,
    row_scales: Option<Array<f32>>,
    residual: Option<Residual>,
    pub(crate) own_threads: Option<OwnThreads>,
}

/// A matrix of C's shape and type.
#[derive(Debug, Clone, Copy)]
struct Residual {
    element: FloatType,
    data: *const c_void,
    row_stride: i64,
}

#[derive(Debug, Clone, Copy)]
struct Array<T> {
    data: *const T,
    count: usize,
}

// SAFETY: the pointers are only read through by runs, whose callers vouch that what they point to is there and unchanged.
unsafe impl Send for Arrays {}

impl RunOptions {
    pub(crate) fn arrays(&self) -> Arrays {
        *unpoisoned(self.arrays.lock())
    }
}

impl Arrays {
    /// The options of a run with an output of so many rows and columns at `output`.
    ///
    /// # Safety
    /// The arrays are there and nobody writes to them while `'a` lasts.
    pub(crate) unsafe fn options<'a>(
        &self,
        (rows, cols): (usize, usize),
        output: (&str, &std::ops::Range<usize>),
    ) -> Outcome<Options<'a>> {
        let mut options = Options::new();
        if let Some(Array { data, count }) = self.row_zero_points {
            // SAFETY: by this function's contract.
            let zero_points = unsafe { elements("row zero points", data, count) }?;
            check_apart(output, ("row zero points", &addresses(zero_points)))?;
            options = options.row_zero_points(zero_points);
        }
        if let Some(Array { data, count }) = self.row_scales {
            // SAFETY: by this function's contract.
            let scales = unsafe { elements("row scales", data, count) }?;
            check_apart(output, ("row scales", &addresses(scales)))?;
            options = options.row_scales(scales);
        }
        // SAFETY: by this function's contract.
        if let Some(residual) = unsafe { self.residual::<f32>((rows, cols), output) }? {
            options = options.residual(residual);
        }
        Ok(options)
    }

    /// The options of a floating-point run with an output of so many rows and columns at `output`.
    ///
    /// # Safety
    /// As [`Arrays::options`].
    pub(crate) unsafe fn float_options<'a, C: Element + Float>(
        &self,
        shape: (usize, usize),
        output: (&str, &std::ops::Range<usize>),
    ) -> Outcome<FloatRunOptions<'a, C>> {
        if self.row_zero_points.is_some() || self.row_scales.is_some() {
            let what = "options: zero points and scales of rows are for products of 8-bit integers";
            return Err(Failure::unsupported(what));
        }
        let options = FloatRunOptions::new();
        // SAFETY: by this function's contract.
        let residual = unsafe { self.residual::<C>(shape, output) }?;
        Ok(residual.map_or(options, |residual| options.residual(residual)))
    }

    pub(crate) fn has_residual(&self) -> bool {
        self.residual.is_some()
    }

    /// # Safety
    /// As [`Arrays::options`].
    unsafe fn residual<'a, C: Element + Float>(
        &self,
        (rows, cols): (usize, usize),
        output: (&str, &std::ops::Range<usize>),
    ) -> Outcome<Option<MatRef<'a, C>>> {
        let Some(Residual { element, data, row_stride }) = self.residual else { return Ok(None) };
        if element != C::TYPE {
            let expected = C::TYPE;
            return Err(Failure::unsupported(format!(
                "residual: expected {expected:?}, the type of C, given {element:?}"
            )));
        }
        let residual = Input { name: "residual", data, rows, cols, row_stride, col_stride: 1 };
        check_apart(output, ("residual", &residual.extent::<C>()?))?;
        // SAFETY: by this function's contract.
        Ok(Some(unsafe { residual.view() }?))
    }
}

/// Changes one option.
///
/// # Safety
/// As [`object`].
pub(crate) unsafe fn set(
    function: &str,
    options: *mut RunOptions,
    change: impl FnOnce(&mut Arrays) -> Outcome,
) -> Status {
    call(function, || {
        // SAFETY: by this function's contract.
        let options = unsafe { object("options", options) }?;
        change(&mut unpoisoned(options.arrays.lock()))
    })
}

/// An array to be read later; `None` for null and a count of 0.
fn array<T>(what: &str, data: *const T, count: usize) -> Outcome<Option<Array<T>>> {
    if data.is_null() && count == 0 {
        return Ok(None);
    }
    check(what, data)?;
    Ok(Some(Array { data, count }))
}

/// *options = new options, none of them set.
///
/// Ownership: the caller's, to be given back to gemmill_run_options_destroy; null after a failure. Threads: any; options that
/// change from run to run are best created once for each thread. Errors: pointers.
///
/// # Safety
/// options points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_run_options_create(options: *mut *mut RunOptions) -> Status {
    // SAFETY: by this function's contract.
    call("gemmill_run_options_create", || unsafe { create("options", options, || Ok(RunOptions::default())) })
}

/// A_zp[i] = zero_points[i], instead of the operation's zero point of A; null and 0 for the operation's again.
///
/// For u8 and i8 activations. count: M of the runs to come, which check it and the range. Ownership: the array is not copied;
/// it must be there in each run with these options. Threads: any.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE for a negative count; pointers.
///
/// # Safety
/// options is a handle that is not destroyed meanwhile; zero_points has count elements, in each run with these options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_run_options_set_row_zero_points(
    options: *mut RunOptions,
    zero_points: *const i32,
    count: i64,
) -> Status {
    let change = |arrays: &mut Arrays| {
        arrays.row_zero_points = array("row zero points", zero_points, size("count", count)?)?;
        Ok(())
    };
    // SAFETY: by this function's contract.
    unsafe { set("gemmill_run_options_set_row_zero_points", options, change) }
}

/// A_scale[i] = scales[i], instead of the operation's scale of A; null and 0 for the operation's again.
///
/// For u8 and i8 activations and f32 outputs. count: M of the runs to come, which check it, and that scales are finite, above
/// 0 and have a finite reciprocal. Ownership: the array is not copied; it must be there in each run with these options.
/// Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for a negative count; pointers.
///
/// # Safety
/// options is a handle that is not destroyed meanwhile; scales has count elements, in each run with these options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_run_options_set_row_scales(
    options: *mut RunOptions,
    scales: *const f32,
    count: i64,
) -> Status {
    let change = |arrays: &mut Arrays| {
        arrays.row_scales = array("row scales", scales, size("count", count)?)?;
        Ok(())
    };
    // SAFETY: by this function's contract.
    unsafe { set("gemmill_run_options_set_row_scales", options, change) }
}

/// C[i][j] = clamp(relu(product + residual[i * row_stride + j])): a matrix of C's shape that is added to an f32 output before
/// ReLU and clamp; null for none.
///
/// row_stride counts elements; 0 adds the same row to all. Ownership: the matrix is not copied; it must be there in each run
/// with these options, apart from C. Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for a negative stride; pointers.
///
/// # Safety
/// options is a handle that is not destroyed meanwhile; residual has the elements that C's shape and row_stride reach, in each
/// run with these options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_run_options_set_residual(
    options: *mut RunOptions,
    residual: *const f32,
    row_stride: i64,
) -> Status {
    let change = |arrays: &mut Arrays| {
        arrays.residual = given_residual(FloatType::F32, residual.cast(), row_stride)?;
        Ok(())
    };
    // SAFETY: by this function's contract.
    unsafe { set("gemmill_run_options_set_residual", options, change) }
}

/// C[i][j] = f(sum + bias[j] + residual[i * row_stride + j]): as gemmill_run_options_set_residual, for floating-point products,
/// with elements of the type of C: GEMMILL_TYPE_F32, GEMMILL_TYPE_F16 or GEMMILL_TYPE_BF16.
///
/// Runs with another type of C refuse it. row_stride counts elements; 0 adds the same row to all. Ownership: the matrix is not
/// copied; it must be there in each run with these options, apart from C. Threads: any.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE for a negative stride and codes that no type has, GEMMILL_STATUS_UNSUPPORTED for types of
/// integers; pointers.
///
/// # Safety
/// options is a handle that is not destroyed meanwhile; residual has the elements that C's shape and row_stride reach, in each
/// run with these options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_run_options_set_float_residual(
    options: *mut RunOptions,
    residual_type: i32,
    residual: *const c_void,
    row_stride: i64,
) -> Status {
    let change = |arrays: &mut Arrays| {
        let element = Type::float("type of residual", residual_type)?;
        arrays.residual = given_residual(element, residual, row_stride)?;
        Ok(())
    };
    // SAFETY: by this function's contract.
    unsafe { set("gemmill_run_options_set_float_residual", options, change) }
}

/// A residual to be read later; `None` for null.
fn given_residual(element: FloatType, data: *const c_void, row_stride: i64) -> Outcome<Option<Residual>> {
    size("row stride of residual", row_stride)?;
    if data.is_null() {
        return Ok(None);
    }
    match element {
        FloatType::F32 => check("residual", data.cast::<f32>())?,
        FloatType::F16 | FloatType::Bf16 => check("residual", data.cast::<u16>())?,
    }
    Ok(Some(Residual { element, data, row_stride }))
}

/// Gives options back; null is nothing.
///
/// Threads: no other may use the handle meanwhile or later. Errors: GEMMILL_STATUS_MISALIGNED.
///
/// # Safety
/// options is a handle or null, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_run_options_destroy(options: *mut RunOptions) -> Status {
    // SAFETY: by this function's contract.
    call("gemmill_run_options_destroy", || unsafe { destroy("options", options) })
}
