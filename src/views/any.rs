//! Views whose type of elements is known when the program runs.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::slice;

use half::{bf16, f16};

use super::element::{Element, ElementType};
use super::matrix::{MatMut, MatRef};
use crate::error::Result;

/// A matrix to read, whose type is known when the program runs.
///
/// # Examples
/// ```
/// use gemmill::{AnyRef, ElementType, MatRef};
/// let a: AnyRef = MatRef::row_major(&[1f32, 2.0], 1, 2)?.into();
/// assert_eq!((a.element(), a.rows(), a.cols()), (ElementType::F32, 1, 2));
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub enum AnyRef<'a> {
    /// Of bytes without a sign.
    U8(MatRef<'a, u8>),
    /// Of bytes with a sign.
    I8(MatRef<'a, i8>),
    /// Of 32-bit integers.
    I32(MatRef<'a, i32>),
    /// Of single precision.
    F32(MatRef<'a, f32>),
    /// Of IEEE half precision.
    F16(MatRef<'a, f16>),
    /// Of upper halves of f32.
    Bf16(MatRef<'a, bf16>),
}

/// The same expression of a view of any type.
macro_rules! of_any {
    ($any:expr, $view:ident => $result:expr) => {
        match $any {
            AnyRef::U8($view) => $result,
            AnyRef::I8($view) => $result,
            AnyRef::I32($view) => $result,
            AnyRef::F32($view) => $result,
            AnyRef::F16($view) => $result,
            AnyRef::Bf16($view) => $result,
        }
    };
}

impl AnyRef<'_> {
    /// The type of its elements.
    pub fn element(&self) -> ElementType {
        fn of<T: Element>(_: &MatRef<'_, T>) -> ElementType {
            T::TYPE
        }
        of_any!(self, view => of(view))
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        of_any!(self, view => view.rows())
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        of_any!(self, view => view.cols())
    }

    /// Elements from one row to the next.
    pub fn row_stride(&self) -> usize {
        of_any!(self, view => view.row_stride())
    }

    /// Elements from one column to the next.
    pub fn col_stride(&self) -> usize {
        of_any!(self, view => view.col_stride())
    }
}

impl<'a> AnyRef<'a> {
    /// A view of the same elements in which none is met twice because a stride is zero.
    pub(crate) fn without_repeats(self) -> AnyRef<'a> {
        of_any!(self, view => view.without_repeats().into())
    }

    /// The bytes of its elements, where elements of a row lie side by side.
    pub(crate) fn row_bytes(self) -> Option<MatRef<'a, u8>> {
        of_any!(self, view => view.row_bytes())
    }

    /// The elements where these rows and columns meet.
    ///
    /// # Errors
    /// As [`MatRef::row_range`] and [`MatRef::columns`].
    pub(crate) fn block(self, rows: Range<usize>, cols: Range<usize>) -> Result<AnyRef<'a>> {
        of_any!(self, view => Ok(view.row_range(rows.start, rows.len())?.columns(cols.start, cols.len())?.into()))
    }
}

impl<'a, T: Element> From<MatRef<'a, T>> for AnyRef<'a> {
    fn from(matrix: MatRef<'a, T>) -> AnyRef<'a> {
        T::any_ref(matrix)
    }
}

/// A matrix to write to, whose type is known when the program runs.
///
/// # Examples
/// ```
/// use gemmill::{AnyMut, ElementType, MatMut};
/// let mut data = [0i32; 6];
/// let c = AnyMut::from(MatMut::row_major(&mut data, 2, 3)?);
/// assert_eq!((c.element(), c.rows(), c.cols(), c.row_stride()), (ElementType::I32, 2, 3, 3));
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug)]
pub struct AnyMut<'a> {
    element: ElementType,
    start: *mut u8,
    rows: usize,
    cols: usize,
    row_stride: usize,
    is_initialised: bool,
    elements: PhantomData<&'a mut u8>,
}

// SAFETY: as `&mut [T]` of an element's type: the view has its elements alone, and those are plain numbers.
unsafe impl Send for AnyMut<'_> {}
// SAFETY: a shared view gives its shape and a pointer; going through that is up to whoever does.
unsafe impl Sync for AnyMut<'_> {}

impl<'a> AnyMut<'a> {
    fn new<T>(element: ElementType, is_initialised: bool, mut c: MatMut<'a, T>) -> AnyMut<'a> {
        let (rows, cols, row_stride) = (c.rows(), c.cols(), c.row_stride());
        AnyMut { element, start: c.as_mut_ptr().cast(), rows, cols, row_stride, is_initialised, elements: PhantomData }
    }

    /// The type of its elements.
    pub fn element(&self) -> ElementType {
        self.element
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Elements from one row to the next.
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Element (0, 0). Elements of a row lie side by side, rows [`row_stride_bytes`](Self::row_stride_bytes) apart.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.start
    }

    /// Row `i` of a matrix that is known to have it, to be written; none if its elements have another type.
    pub(crate) fn row_mut<T: Element>(&mut self, i: usize) -> Option<&mut [MaybeUninit<T>]> {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        if T::TYPE != self.element {
            return None;
        }
        if self.cols == 0 {
            return Some(&mut []);
        }
        // SAFETY: the view was made of a matrix of `T` (checked) that has its elements alone; the offset of one of its
        // rows fits, by that matrix's invariant.
        let start = unsafe { self.start.cast::<MaybeUninit<T>>().add(i * self.row_stride) };
        // SAFETY: a row's elements lie side by side.
        Some(unsafe { slice::from_raw_parts_mut(start, self.cols) })
    }

    /// Whether its elements may be read.
    pub(crate) fn is_initialised(&self) -> bool {
        self.is_initialised
    }

    /// Bytes from one row to the next; 0 where there is no second one.
    pub(crate) fn row_stride_bytes(&self) -> usize {
        if self.cols == 0 { 0 } else { super::taken_stride(self.rows, self.row_stride) * self.element.bytes() }
    }
}

impl<'a, T: Element> From<MatMut<'a, T>> for AnyMut<'a> {
    fn from(c: MatMut<'a, T>) -> AnyMut<'a> {
        AnyMut::new(T::TYPE, true, c)
    }
}

impl<'a, T: Element> From<&'a mut MatMut<'_, T>> for AnyMut<'a> {
    fn from(c: &'a mut MatMut<'_, T>) -> AnyMut<'a> {
        c.reborrow().into()
    }
}

impl<'a, T: Element> From<MatMut<'a, MaybeUninit<T>>> for AnyMut<'a> {
    fn from(c: MatMut<'a, MaybeUninit<T>>) -> AnyMut<'a> {
        AnyMut::new(T::TYPE, false, c)
    }
}

impl<'a, T: Element> From<&'a mut MatMut<'_, MaybeUninit<T>>> for AnyMut<'a> {
    fn from(c: &'a mut MatMut<'_, MaybeUninit<T>>) -> AnyMut<'a> {
        c.reborrow().into()
    }
}
