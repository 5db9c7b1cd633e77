//! What may differ from run to run.

use std::ffi::c_void;
use std::sync::Mutex;

use gemmill::{Element, ElementType, RunOptions as Options};

use crate::call::{Outcome, unpoisoned};
use crate::caller::{Caller, collects, entry, set};
use crate::codes::{Type, with_type};
use crate::memory::{Footprint, Matrix, aligned, check_apart, checked, size};
use crate::parallel_for::OwnThreads;
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

/// A matrix of C's shape, of floating-point numbers.
#[derive(Debug, Clone, Copy)]
struct Residual {
    element: ElementType,
    data: *const c_void,
    row_stride: i64,
}

#[derive(Debug, Clone, Copy)]
struct Array<T> {
    data: *const T,
    count: usize,
}

impl<T: Element> Array<T> {
    /// The elements, apart from an output. Asks for: [`Caller::elements`].
    fn given<'a>(self, caller: Caller<'a>, what: &str, output: &Footprint<'_>) -> Outcome<&'a [T]> {
        check_apart(output, &Footprint::array(what, self.data, self.count)?)?;
        caller.elements(what, self.data, self.count)
    }
}

// SAFETY: the pointers are only read through by runs, whose callers vouch that what they point to is there and
// unchanged.
unsafe impl Send for Arrays {}

collects!(RunOptions: Arrays, |options| Ok(unpoisoned(options.arrays.lock())));

impl Arrays {
    /// The options of a run with an output of so many rows and columns at `output`.
    ///
    /// Asks for: [`Caller::elements`] for the arrays and [`Caller::matrix`] for the residual.
    pub(crate) fn options<'a>(
        &'a self, caller: Caller<'a>, shape: (usize, usize), output: &Footprint<'_>,
    ) -> Outcome<Options<'a>> {
        let mut options = Options::new();
        if let Some(zero_points) = self.row_zero_points {
            options = options.row_zero_points(zero_points.given(caller, "row zero points", output)?);
        }
        if let Some(scales) = self.row_scales {
            options = options.row_scales(scales.given(caller, "row scales", output)?);
        }
        if let Some(Residual { element, data, row_stride }) = self.residual {
            let residual = Matrix::input("residual", (element, data), shape, (row_stride, 1));
            check_apart(output, &residual.footprint()?)?;
            options = with_type!(element, T in [F32 F16 Bf16] => options.residual(caller.matrix::<T>(&residual)?),
                else return Err(Type::not_float("residual", element)));
        }
        if let Some(own) = &self.own_threads {
            options = options.parallel_for(own);
        }
        Ok(options)
    }
}

/// An array to be read later; `None` for null and a count of 0.
fn array<T>(what: &str, data: *const T, count: i64) -> Outcome<Option<Array<T>>> {
    let count = size("count", count)?;
    if data.is_null() && count == 0 {
        return Ok(None);
    }
    checked(what, data.cast_mut())?;
    Ok(Some(Array { data, count }))
}

/// A residual to be read later; `None` for null.
fn given_residual(element: ElementType, data: *const c_void, row_stride: i64) -> Outcome<Option<Residual>> {
    size("row stride of residual", row_stride)?;
    if data.is_null() {
        return Ok(None);
    }
    aligned("residual", data.cast_mut(), element.bytes())?;
    Ok(Some(Residual { element, data, row_stride }))
}

/// *options = new options, none of them set.
///
/// Ownership: the caller's, to be given back to gemmill_run_options_destroy; null after a failure. Threads: any;
/// options that change from run to run are best created once for each thread. Errors: pointers.
///
/// # Safety
/// options points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_run_options_create(options: *mut *mut RunOptions) -> Status {
    entry!("gemmill_run_options_create", |c| c.create(options, || Ok(RunOptions::default()))?)
}

/// A_zp[i] = zero_points[i], instead of the operation's zero point of A; null and 0 for the operation's again.
///
/// For u8 and i8 activations. count: M of the runs to come, which check it and the range. Ownership: the array is not
/// copied; it must be there in each run with these options. Threads: any.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE for a negative count; pointers.
///
/// # Safety
/// options is a handle that is not destroyed meanwhile; zero_points has count elements, in each run with these options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_run_options_set_row_zero_points(
    options: *mut RunOptions, zero_points: *const i32, count: i64,
) -> Status {
    set!(
        "gemmill_run_options_set_row_zero_points",
        options.row_zero_points = array("row zero points", zero_points, count)?
    )
}

/// A_scale[i] = scales[i], instead of the operation's scale of A; null and 0 for the operation's again.
///
/// For u8 and i8 activations and floating-point outputs. count: M of the runs to come, which check it, and that scales
/// are finite, above 0 and have a finite reciprocal. Ownership: the array is not copied; it must be there in each run
/// with these options.
/// Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for a negative count; pointers.
///
/// # Safety
/// options is a handle that is not destroyed meanwhile; scales has count elements, in each run with these options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_run_options_set_row_scales(
    options: *mut RunOptions, scales: *const f32, count: i64,
) -> Status {
    set!("gemmill_run_options_set_row_scales", options.row_scales = array("row scales", scales, count)?)
}

/// C[i][j] = clamp(relu(product + residual[i * row_stride + j])): a matrix of C's shape that is added to an f32 output
/// before ReLU and clamp; null for none. gemmill_run_options_set_float_residual is for outputs of f16 and bf16.
///
/// row_stride counts elements; 0 adds the same row to all. Ownership: the matrix is not copied; it must be there in
/// each run with these options, apart from C. Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for a negative stride;
/// pointers.
///
/// # Safety
/// options is a handle that is not destroyed meanwhile; residual has the elements that C's shape and row_stride reach,
/// in each run with these options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_run_options_set_residual(
    options: *mut RunOptions, residual: *const f32, row_stride: i64,
) -> Status {
    set!(
        "gemmill_run_options_set_residual",
        options.residual = given_residual(ElementType::F32, residual.cast(), row_stride)?
    )
}

/// C[i][j] = f(sum + bias[j] + residual[i * row_stride + j]): as gemmill_run_options_set_residual, with elements of the
/// type of C, which is GEMMILL_TYPE_F32, GEMMILL_TYPE_F16 or GEMMILL_TYPE_BF16. For all products.
///
/// Runs with another type of C refuse it, and so do products with quantized activations and weights of few bits.
/// row_stride counts elements; 0 adds the same row to all. Ownership: the matrix is not copied; it must be there in
/// each run with these options, apart from C. Threads: any.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE for a negative stride and codes that no type has, GEMMILL_STATUS_UNSUPPORTED for
/// types of integers; pointers.
///
/// # Safety
/// options is a handle that is not destroyed meanwhile; residual has the elements that C's shape and row_stride reach,
/// in each run with these options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_run_options_set_float_residual(
    options: *mut RunOptions, residual_type: i32, residual: *const c_void, row_stride: i64,
) -> Status {
    set!(
        "gemmill_run_options_set_float_residual",
        options.residual = given_residual(Type::float("type of residual", residual_type)?, residual, row_stride)?
    )
}

/// Gives options back; null is nothing.
///
/// Threads: no other may use the handle meanwhile or later. Errors: GEMMILL_STATUS_MISALIGNED.
///
/// # Safety
/// options is a handle or null, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_run_options_destroy(options: *mut RunOptions) -> Status {
    entry!("gemmill_run_options_destroy", |c| c.destroy(options)?)
}
