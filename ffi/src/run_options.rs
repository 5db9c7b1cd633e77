//! What may differ from run to run.

use std::sync::Mutex;

use gemmill::RunOptions as Options;

use crate::call::{Outcome, call, unpoisoned};
use crate::pointer::{Input, addresses, check, check_apart, create, destroy, elements, object, size};
use crate::status::Status;

/// What may differ from run to run: zero points and scales of rows, a residual.
#[derive(Debug, Default)]
pub struct RunOptions {
    arrays: Mutex<Arrays>,
}

/// Arrays of the caller, which only runs read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Arrays {
    row_zero_points: Option<Array<i32>>,
    row_scales: Option<Array<f32>>,
    residual: Option<(*const f32, i64)>,
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
        if let Some((data, row_stride)) = self.residual {
            let residual = Input { name: "residual", data: data.cast(), rows, cols, row_stride, col_stride: 1 };
            check_apart(output, ("residual", &residual.extent::<f32>()?))?;
            // SAFETY: by this function's contract.
            options = options.residual(unsafe { residual.view() }?);
        }
        Ok(options)
    }
}

/// Changes one option.
///
/// # Safety
/// As [`object`].
unsafe fn set(function: &str, options: *mut RunOptions, change: impl FnOnce(&mut Arrays) -> Outcome) -> Status {
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
        size("row stride of residual", row_stride)?;
        let given = usize::from(!residual.is_null());
        arrays.residual = array("residual", residual, given)?.map(|first| (first.data, row_stride));
        Ok(())
    };
    // SAFETY: by this function's contract.
    unsafe { set("gemmill_run_options_set_residual", options, change) }
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
