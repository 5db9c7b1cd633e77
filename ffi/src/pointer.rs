//! Pointers and sizes that C gives, checked before they become references.
//!
//! What cannot be checked is what `# Safety` of each entry point asks for: that memory is there, as large as sizes and
//! strides say, and that nobody else writes to it meanwhile.

use std::ffi::{CStr, c_char, c_void};
use std::fmt::Display;
use std::ops::Range;
use std::ptr::NonNull;

use gemmill::half::{bf16, f16};
use gemmill::{MatMut, MatRef};

use crate::call::{Failure, Outcome, call};
use crate::status::Status;

/// A pointer that is not null and a multiple of the type's alignment.
fn checked<T>(what: &str, pointer: *mut T) -> Outcome<NonNull<T>> {
    let pointer = NonNull::new(pointer)
        .ok_or_else(|| Failure::new(Status::NullPointer, format!("{what}: expected a pointer, given null")))?;
    if pointer.is_aligned() {
        return Ok(pointer);
    }
    let expected = align_of::<T>();
    let message = format!("{what}: expected a multiple of {expected}, given {pointer:p}");
    Err(Failure::new(Status::Misaligned, message))
}

/// Refuses a pointer that is null or misaligned.
pub(crate) fn check<T>(what: &str, pointer: *const T) -> Outcome {
    checked(what, pointer.cast_mut()).map(drop)
}

/// The object behind a handle.
///
/// # Safety
/// A pointer that passes the checks comes from [`create`] for this type and is not destroyed while `'a` lasts.
pub(crate) unsafe fn object<'a, T: Sync>(what: &str, handle: *const T) -> Outcome<&'a T> {
    let handle = checked(what, handle.cast_mut())?;
    // SAFETY: by this function's contract it points to a `T` that lives; only shared references to it are ever made.
    Ok(unsafe { handle.as_ref() })
}

/// The object behind a handle that may be null.
///
/// # Safety
/// As [`object`].
pub(crate) unsafe fn optional_object<'a, T: Sync>(what: &str, handle: *const T) -> Outcome<Option<&'a T>> {
    // SAFETY: by this function's contract.
    if handle.is_null() { Ok(None) } else { unsafe { object(what, handle) }.map(Some) }
}

/// Destroys what [`create`] made; null is nothing.
///
/// # Safety
/// A pointer that passes the checks comes from [`create`] for this type and is not used afterwards or meanwhile.
pub(crate) unsafe fn destroy<T>(what: &str, handle: *mut T) -> Outcome {
    if handle.is_null() {
        return Ok(());
    }
    let handle = checked(what, handle)?;
    // SAFETY: by this function's contract it came from `Box::into_raw` and is given back once.
    drop(unsafe { Box::from_raw(handle.as_ptr()) });
    Ok(())
}

/// A place for one result.
pub(crate) struct Out<T>(NonNull<T>);

impl<T> Out<T> {
    /// # Safety
    /// A pointer that passes the checks points to memory for a `T` that nobody else uses while the `Out` is there.
    pub(crate) unsafe fn new(what: &str, pointer: *mut T) -> Outcome<Out<T>> {
        checked(what, pointer).map(Out)
    }

    pub(crate) fn set(&self, value: T) {
        // SAFETY: by the contract of `new`. What was there is C's and has no destructor.
        unsafe { self.0.write(value) }
    }
}

/// Sets `*handle` to the new object that `make` gives, or to null if it fails.
///
/// # Safety
/// As [`Out::new`].
pub(crate) unsafe fn create<T>(what: &str, handle: *mut *mut T, make: impl FnOnce() -> Outcome<T>) -> Outcome {
    // SAFETY: by this function's contract.
    let out = unsafe { Out::new(what, handle) }?;
    out.set(std::ptr::null_mut());
    out.set(Box::into_raw(Box::new(make()?)));
    Ok(())
}

/// Sets `*value` to what `get` says of the object behind a handle.
///
/// # Safety
/// `handle` as for [`object`], `value` as for [`Out::new`].
pub(crate) unsafe fn property<H: Sync, T>(
    function: &str,
    (what, handle): (&str, *const H),
    value: *mut T,
    get: impl FnOnce(&H) -> Outcome<T>,
) -> Status {
    call(function, || {
        // SAFETY: by this function's contract.
        let (object, value) = unsafe { (object(what, handle)?, Out::new("value", value)?) };
        value.set(get(object)?);
        Ok(())
    })
}

/// A text that ends with a NUL.
///
/// # Safety
/// A pointer that passes the check points to one, which nobody changes while `'a` lasts.
pub(crate) unsafe fn text<'a>(what: &str, text: *const c_char) -> Outcome<&'a CStr> {
    let text = checked(what, text.cast_mut())?;
    // SAFETY: by this function's contract.
    Ok(unsafe { CStr::from_ptr(text.as_ptr()) })
}

/// A buffer of C for what has a length that C may not know, and the place for that.
pub(crate) struct Buffer<'a, T> {
    elements: &'a mut [T],
    length: Out<i64>,
}

impl<T: Plain> Buffer<'_, T> {
    /// Null is fine for a buffer of no bytes.
    ///
    /// # Safety
    /// As [`elements_mut`] and [`Out::new`].
    pub(crate) unsafe fn new<'a>(data: *mut T, capacity: i64, length: *mut i64) -> Outcome<Buffer<'a, T>> {
        let capacity = size("capacity", capacity)?;
        // SAFETY: by this function's contract.
        let (elements, length) = unsafe { (elements_mut("buffer", data, capacity)?, Out::new("length", length)?) };
        Ok(Buffer { elements, length })
    }

    /// Writes all of `content`; its length is written even if the buffer is too small.
    pub(crate) fn set(self, content: &[T]) -> Outcome {
        self.set_with_length(content, content.len())
    }

    fn set_with_length(self, content: &[T], length: usize) -> Outcome {
        self.length.set(length as i64);
        let (needed, given) = (content.len(), self.elements.len());
        let Some(place) = self.elements.get_mut(..needed) else {
            return Err(Failure::new(Status::TooSmall, format!("buffer: {needed} elements needed, {given} given")));
        };
        place.copy_from_slice(content);
        Ok(())
    }
}

impl Buffer<'_, u8> {
    /// Writes all of `content` and a NUL; the length is without it, and is written even if the buffer is too small.
    pub(crate) fn set_text(self, content: &str) -> Outcome {
        let with_nul: Vec<u8> = content.bytes().chain([0]).collect();
        self.set_with_length(&with_nul, content.len())
    }
}

/// A size, count or stride.
pub(crate) fn size(what: impl Display, given: i64) -> Outcome<usize> {
    usize::try_from(given).map_err(|_| Failure::out_of_range(what, 0, i64::MAX, given))
}

/// The addresses of `count` elements from `data` on, if they fit the address space. Null is fine for none.
pub(crate) fn extent<T>(what: &str, data: *const T, count: usize) -> Outcome<Range<usize>> {
    if count == 0 {
        return Ok(0..0);
    }
    let start = checked(what, data.cast_mut())?.addr().get();
    let bytes = count.checked_mul(size_of::<T>()).filter(|&bytes| isize::try_from(bytes).is_ok());
    let end = bytes.and_then(|bytes| start.checked_add(bytes));
    // Programs have the lower half of a 64-bit address space.
    let end = end.filter(|&end| usize::BITS < 64 || isize::try_from(end).is_ok());
    Ok(start..end.ok_or_else(|| overflow(what))?)
}

fn overflow(what: &str) -> Failure {
    Failure::new(Status::Overflow, format!("{what}: the size does not fit the address space"))
}

/// `count` elements to read. Null is fine for none.
///
/// # Safety
/// If the checks pass, so many elements are there, initialized, and nobody writes to them while `'a` lasts.
pub(crate) unsafe fn elements<'a, T: Plain>(what: &str, data: *const T, count: usize) -> Outcome<&'a [T]> {
    if extent(what, data, count)?.is_empty() {
        return Ok(&[]);
    }
    // SAFETY: not null, aligned, of a size that fits: `extent` says so. Any bits are a `T`, and the rest is the contract.
    Ok(unsafe { std::slice::from_raw_parts(data, count) })
}

/// `count` elements to write. Null is fine for none.
///
/// # Safety
/// If the checks pass, so many elements are there, and nobody else uses them while `'a` lasts.
pub(crate) unsafe fn elements_mut<'a, T: Plain>(what: &str, data: *mut T, count: usize) -> Outcome<&'a mut [T]> {
    if extent(what, data, count)?.is_empty() {
        return Ok(&mut []);
    }
    // SAFETY: as in `elements`. Memory that C has not yet written holds some bits, and any are a `T`.
    Ok(unsafe { std::slice::from_raw_parts_mut(data, count) })
}

/// Types whose every bit pattern is a value.
pub(crate) trait Plain: Copy {}
impl Plain for u8 {}
impl Plain for i8 {}
impl Plain for i32 {}
impl Plain for f32 {}
impl Plain for f16 {}
impl Plain for bf16 {}

/// A type that matrices of the interface hold.
pub(crate) trait Element: gemmill::Element + Plain {}
impl<T: gemmill::Element + Plain> Element for T {}

/// A matrix to read, as C gives it: element `(i, j)` is `data[i * row_stride + j * col_stride]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'n> {
    /// What messages call it.
    pub(crate) name: &'n str,
    pub(crate) data: *const c_void,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) row_stride: i64,
    pub(crate) col_stride: i64,
}

/// A matrix to write, as C gives it: element `(i, j)` is `data[i * row_stride + j]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output<'n> {
    /// What messages call it.
    pub(crate) name: &'n str,
    pub(crate) data: *mut c_void,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) row_stride: i64,
}

/// Elements from the first to the last of a matrix, gaps included.
fn span(name: &str, (rows, cols): (usize, usize), (row_stride, col_stride): (usize, usize)) -> Outcome<usize> {
    let (Some(last_row), Some(last_col)) = (rows.checked_sub(1), cols.checked_sub(1)) else { return Ok(0) };
    let row = last_row.checked_mul(row_stride);
    let col = last_col.checked_mul(col_stride);
    let last = row.zip(col).and_then(|(row, col)| row.checked_add(col));
    last.and_then(|last| last.checked_add(1)).ok_or_else(|| overflow(name))
}

impl Input<'_> {
    /// The addresses from the first to the last element.
    pub(crate) fn extent<T>(&self) -> Outcome<Range<usize>> {
        extent(self.name, self.data.cast::<T>(), self.span()?)
    }

    /// The matrix as the library sees it.
    ///
    /// # Safety
    /// If the checks pass, its elements are there and initialized, what lies between them is there, and nobody writes to the
    /// elements while `'a` lasts.
    pub(crate) unsafe fn view<'a, T: Element>(&self) -> Outcome<MatRef<'a, T>> {
        let (row_stride, col_stride) = self.strides()?;
        // SAFETY: by this function's contract; any bits are a `T`.
        let data = unsafe { elements(self.name, self.data.cast::<T>(), self.span()?) }?;
        Ok(MatRef::with_strides(data, self.rows, self.cols, row_stride, col_stride)?)
    }

    fn strides(&self) -> Outcome<(usize, usize)> {
        let row_stride = size(format_args!("row stride of {}", self.name), self.row_stride)?;
        let col_stride = size(format_args!("column stride of {}", self.name), self.col_stride)?;
        Ok((row_stride, col_stride))
    }

    fn span(&self) -> Outcome<usize> {
        span(self.name, (self.rows, self.cols), self.strides()?)
    }
}

impl Output<'_> {
    /// The addresses from the first to the last element.
    pub(crate) fn extent<T>(&self) -> Outcome<Range<usize>> {
        extent(self.name, self.data.cast::<T>(), self.span()?)
    }

    /// The matrix as the library sees it.
    ///
    /// # Safety
    /// If the checks pass, its elements, and what lies between them, are there, and nobody else uses the elements while
    /// `'a` lasts.
    pub(crate) unsafe fn view<'a, T: Element>(&self) -> Outcome<MatMut<'a, T>> {
        // SAFETY: by this function's contract. What lies between rows is never touched.
        let data = unsafe { elements_mut(self.name, self.data.cast::<T>(), self.span()?) }?;
        Ok(MatMut::with_row_stride(data, self.rows, self.cols, self.stride()?)?)
    }

    fn stride(&self) -> Outcome<usize> {
        size(format_args!("row stride of {}", self.name), self.row_stride)
    }

    fn span(&self) -> Outcome<usize> {
        span(self.name, (self.rows, self.cols), (self.stride()?, 1))
    }
}

/// The addresses of a slice.
pub(crate) fn addresses<T>(data: &[T]) -> Range<usize> {
    let Range { start, end } = data.as_ptr_range();
    start.addr()..end.addr()
}

/// Refuses an output that shares addresses with an input.
pub(crate) fn check_apart(output: (&str, &Range<usize>), input: (&str, &Range<usize>)) -> Outcome {
    let (o, i) = (output.1, input.1);
    if o.is_empty() || i.is_empty() || o.end <= i.start || i.end <= o.start {
        return Ok(());
    }
    let message = format!("{} and {}: expected memory apart from each other, given overlapping", output.0, input.0);
    Err(Failure::new(Status::Overlap, message))
}
