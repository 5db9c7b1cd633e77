//! Views whose type of elements is known when the program is compiled.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::NonNull;
use std::slice;

use super::element::Element;
use super::{reach, taken_stride};
use crate::error::{Error, Result};

/// A read-only `rows × cols` matrix with any strides.
///
/// Element `(i, j)` stands `i * row_stride + j * col_stride` elements after element (0, 0). Strides may be zero or make
/// elements overlap: a row that repeats (`row_stride == 0`) or a sliding window is a legal input.
///
/// # Examples
/// ```
/// use gemmill::MatRef;
/// let m = MatRef::row_major(&[1u8, 2, 3, 4, 5, 6], 2, 3)?;
/// assert_eq!(m.get(1, 0), Some(4));
/// assert_eq!(m.transposed().get(0, 1), Some(4));
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct MatRef<'a, T> {
    /// Element (0, 0). Invariant, which every constructor upholds: all elements of the view can be read, and nobody
    /// writes to them, while `'a` lasts; their offsets in bytes fit `isize`. Without elements it may dangle.
    start: NonNull<T>,
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
    elements: PhantomData<&'a [T]>,
}

// SAFETY: a view of elements that nobody writes to is as `&[T]`.
unsafe impl<T: Sync> Send for MatRef<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for MatRef<'_, T> {}

impl<'a, T: Element> MatRef<'a, T> {
    /// A view of `rows × cols` elements, one row after the other.
    ///
    /// # Errors
    /// [`Error::TooShort`] if `data` holds fewer than `rows * cols` elements, [`Error::Overflow`] if that product does
    /// not fit.
    ///
    /// # Examples
    /// ```
    /// let m = gemmill::MatRef::row_major(&[1i8, 2], 1, 2)?;
    /// assert_eq!((m.rows(), m.cols()), (1, 2));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn row_major(data: &'a [T], rows: usize, cols: usize) -> Result<Self> {
        Self::with_strides(data, rows, cols, cols, 1)
    }

    /// A view of `rows × cols` elements, one column after the other.
    ///
    /// # Errors
    /// As [`MatRef::row_major`].
    ///
    /// # Examples
    /// ```
    /// let m = gemmill::MatRef::col_major(&[1i8, 2, 3, 4], 2, 2)?;
    /// assert_eq!(m.get(0, 1), Some(3));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn col_major(data: &'a [T], rows: usize, cols: usize) -> Result<Self> {
        Self::with_strides(data, rows, cols, 1, rows)
    }

    /// A view with any strides, in elements.
    ///
    /// # Errors
    /// [`Error::TooShort`] if an element would lie outside `data`, [`Error::Overflow`] if its index does not fit.
    ///
    /// # Examples
    /// ```
    /// // Every second column of a 2 × 4 matrix.
    /// let m = gemmill::MatRef::with_strides(&[0u8, 1, 2, 3, 4, 5, 6, 7], 2, 2, 4, 2)?;
    /// assert_eq!(m.get(1, 1), Some(6));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn with_strides(data: &'a [T], rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> Result<Self> {
        let needed = reach::<T>(rows, cols, row_stride, col_stride)?;
        if needed > data.len() {
            return Err(Error::TooShort { what: "matrix data", needed, given: data.len() });
        }
        Ok(MatRef { start: NonNull::from(data).cast(), rows, cols, row_stride, col_stride, elements: PhantomData })
    }

    /// A view of elements that may have others' memory between them: those of a column block, say, whose neighbour
    /// another thread writes to.
    ///
    /// # Safety
    /// While `'a` lasts, every element can be read and nobody writes to it. Nothing is asked of memory between the
    /// elements.
    ///
    /// # Errors
    /// [`Error::Overflow`] if an element's index does not fit, [`Error::Unsupported`] if there are elements and `start`
    /// is null or misaligned.
    ///
    /// # Examples
    /// ```
    /// let data = [1u8, 2, 3, 4];
    /// // SAFETY: elements 1 and 3 of `data`, which outlives the view.
    /// let m = unsafe { gemmill::MatRef::from_raw(data[1..].as_ptr(), 2, 1, 2, 1) }?;
    /// assert_eq!(m.get(1, 0), Some(4));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub unsafe fn from_raw(
        start: *const T,
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Result<Self> {
        let start = start_of(start.cast_mut(), reach::<T>(rows, cols, row_stride, col_stride)?)?;
        Ok(MatRef { start, rows, cols, row_stride, col_stride, elements: PhantomData })
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

    /// Elements from one column to the next.
    pub fn col_stride(&self) -> usize {
        self.col_stride
    }

    /// Element `(i, j)`, or `None` outside the matrix.
    pub fn get(&self, i: usize, j: usize) -> Option<T> {
        // SAFETY: by the view's invariant its elements can be read, and this is one.
        (i < self.rows && j < self.cols).then(|| unsafe { self.place(i, j).read() })
    }

    /// The same elements with rows and columns exchanged.
    ///
    /// # Examples
    /// ```
    /// let m = gemmill::MatRef::row_major(&[1u8, 2, 3], 1, 3)?.transposed();
    /// assert_eq!((m.rows(), m.cols()), (3, 1));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn transposed(self) -> Self {
        MatRef { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    /// Columns `start .. start + count`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if they are not all columns of this matrix, [`Error::Overflow`] if their end does not fit.
    ///
    /// # Examples
    /// ```
    /// let m = gemmill::MatRef::row_major(&[1u8, 2, 3, 4], 2, 2)?.columns(1, 1)?;
    /// assert_eq!((m.get(0, 0), m.get(1, 0)), (Some(2), Some(4)));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn columns(self, start: usize, count: usize) -> Result<Self> {
        let end = start.checked_add(count).ok_or(Error::Overflow { what: "column range" })?;
        if end > self.cols {
            return Err(out_of_range("end of the column range", self.cols, end));
        }
        let start = if count == 0 || self.rows == 0 { self.start } else { self.place(0, start) };
        Ok(MatRef { start, cols: count, ..self })
    }

    /// Rows `start .. start + count`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if they are not all rows of this matrix, [`Error::Overflow`] if their end does not fit.
    ///
    /// # Examples
    /// ```
    /// let m = gemmill::MatRef::row_major(&[1u8, 2, 3, 4], 2, 2)?.row_range(1, 1)?;
    /// assert_eq!((m.get(0, 0), m.get(0, 1)), (Some(3), Some(4)));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn row_range(self, start: usize, count: usize) -> Result<Self> {
        let end = start.checked_add(count).ok_or(Error::Overflow { what: "row range" })?;
        if end > self.rows {
            return Err(out_of_range("end of the row range", self.rows, end));
        }
        let start = if count == 0 || self.cols == 0 { self.start } else { self.place(start, 0) };
        Ok(MatRef { start, rows: count, ..self })
    }

    /// A view of the same elements in which none is met twice because a stride is zero.
    pub(crate) fn without_repeats(self) -> Self {
        let once = |count: usize, stride| if stride == 0 { count.min(1) } else { count };
        MatRef { rows: once(self.rows, self.row_stride), cols: once(self.cols, self.col_stride), ..self }
    }

    /// Element `(i, j)` of a matrix that is known to have it.
    #[inline]
    pub(crate) fn at(&self, i: usize, j: usize) -> T {
        // SAFETY: by the view's invariant its elements can be read, and this is one.
        unsafe { self.place(i, j).read() }
    }

    /// Row `i` of a matrix that is known to have it, as a slice, where elements of a row lie side by side.
    #[inline]
    pub(crate) fn row(&self, i: usize) -> Option<&'a [T]> {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        if self.cols == 0 {
            return Some(&[]);
        }
        // SAFETY: by the view's invariant its elements can be read and are not written to, and these are one row's,
        // which lie side by side.
        self.is_contiguous_rows().then(|| unsafe { slice::from_raw_parts(self.place(i, 0).as_ptr(), self.cols) })
    }

    /// The bytes of its elements, where elements of a row lie side by side.
    pub(crate) fn row_bytes(self) -> Option<MatRef<'a, u8>> {
        let (MatRef { start, rows, cols, row_stride, .. }, size) = (self, size_of::<T>());
        // Without elements, or a second row, these may be any numbers.
        let row_stride = if cols == 0 { 0 } else { taken_stride(rows, row_stride).saturating_mul(size) };
        let (start, cols) = (start.cast(), cols.saturating_mul(size));
        let bytes = MatRef { start, rows, cols, row_stride, col_stride: 1, elements: PhantomData };
        self.is_contiguous_rows().then_some(bytes)
    }

    /// Whether elements of a row lie side by side.
    pub(crate) fn is_contiguous_rows(&self) -> bool {
        self.col_stride == 1 || self.cols <= 1
    }

    /// Where a block of the matrix begins, which is known to lie within it: some columns of some rows.
    #[inline]
    pub(crate) fn block(&self, rows: Range<usize>, cols: Range<usize>) -> *const T {
        let is_within =
            rows.start <= rows.end && rows.end <= self.rows && cols.start <= cols.end && cols.end <= self.cols;
        assert!(is_within, "rows {rows:?} and columns {cols:?} of {} x {}", self.rows, self.cols);
        self.start.as_ptr().wrapping_add(rows.start * self.row_stride + cols.start * self.col_stride)
    }

    /// Element (0, 0). What may be read from there on are the view's elements, nothing else.
    pub(crate) fn as_ptr(&self) -> *const T {
        self.start.as_ptr()
    }

    /// Where element `(i, j)` of a matrix that is known to have it is.
    #[inline]
    fn place(&self, i: usize, j: usize) -> NonNull<T> {
        assert!(i < self.rows && j < self.cols, "({i}, {j}) of {} x {}", self.rows, self.cols);
        // SAFETY: by the view's invariant the offset of an element fits, and stays within what the elements lie in.
        unsafe { self.start.add(i * self.row_stride + j * self.col_stride) }
    }
}

/// A `rows × cols` matrix to write to: row-major, any row stride of at least `cols`.
///
/// Elements between the rows are never touched, and may be others'. An output whose elements are not initialised is a
/// `MatMut<MaybeUninit<T>>`.
///
/// # Examples
/// ```
/// use gemmill::MatMut;
/// let mut data = vec![0i32; 8];
/// let c = MatMut::with_row_stride(&mut data, 2, 3, 5)?;
/// assert_eq!((c.rows(), c.cols(), c.row_stride()), (2, 3, 5));
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug)]
pub struct MatMut<'a, T> {
    /// Element (0, 0). Invariant, which every constructor upholds: all elements can be read and written through this
    /// view alone while `'a` lasts; no two are the same, and their offsets in bytes fit `isize`. Without elements it
    /// may dangle.
    start: NonNull<T>,
    rows: usize,
    cols: usize,
    row_stride: usize,
    elements: PhantomData<&'a mut T>,
}

// SAFETY: a view that has its elements alone is as `&mut [T]`.
unsafe impl<T: Send> Send for MatMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for MatMut<'_, T> {}

impl<'a, T> MatMut<'a, T> {
    /// A writable view of `rows × cols` elements, one row after the other.
    ///
    /// # Errors
    /// As [`MatRef::row_major`].
    ///
    /// # Examples
    /// ```
    /// assert!(gemmill::MatMut::row_major(&mut [0u8; 6], 2, 3).is_ok());
    /// assert!(gemmill::MatMut::row_major(&mut [0u8; 5], 2, 3).is_err());
    /// ```
    pub fn row_major(data: &'a mut [T], rows: usize, cols: usize) -> Result<Self> {
        Self::with_row_stride(data, rows, cols, cols)
    }

    /// A writable view whose rows start `row_stride` elements apart.
    ///
    /// # Errors
    /// [`Error::Overlap`] if rows would overlap (`row_stride < cols` and more than one row), otherwise as
    /// [`MatRef::row_major`].
    ///
    /// # Examples
    /// ```
    /// let mut data = [0f32; 10];
    /// assert!(gemmill::MatMut::with_row_stride(&mut data, 3, 3, 2).is_err());
    /// ```
    pub fn with_row_stride(data: &'a mut [T], rows: usize, cols: usize, row_stride: usize) -> Result<Self> {
        let needed = reach_of_rows::<T>(rows, cols, row_stride)?;
        if needed > data.len() {
            return Err(Error::TooShort { what: "output data", needed, given: data.len() });
        }
        Ok(MatMut { start: NonNull::from(data).cast(), rows, cols, row_stride, elements: PhantomData })
    }

    /// A writable view of elements that may have others' memory between their rows.
    ///
    /// # Safety
    /// While `'a` lasts, every element can be read and written, and nobody but this view does. Nothing is asked of
    /// memory between the rows.
    ///
    /// # Errors
    /// [`Error::Overlap`] if rows would overlap, [`Error::Overflow`] if an element's index does not fit,
    /// [`Error::Unsupported`] if there are elements and `start` is null or misaligned.
    ///
    /// # Examples
    /// ```
    /// let mut data = [1u8, 2, 3, 4];
    /// // SAFETY: elements 0 and 2 of `data`, which outlives the view and is not used meanwhile.
    /// let m = unsafe { gemmill::MatMut::from_raw(data.as_mut_ptr(), 2, 1, 2) }?;
    /// assert_eq!(m.as_ref().get(1, 0), Some(3));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub unsafe fn from_raw(start: *mut T, rows: usize, cols: usize, row_stride: usize) -> Result<Self> {
        let start = start_of(start, reach_of_rows::<T>(rows, cols, row_stride)?)?;
        Ok(MatMut { start, rows, cols, row_stride, elements: PhantomData })
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

    /// The same view for a while.
    ///
    /// # Examples
    /// ```
    /// let mut data = [0u8; 4];
    /// let mut c = gemmill::MatMut::row_major(&mut data, 2, 2)?;
    /// let (top, _) = c.reborrow().split_at_row(1)?;
    /// assert_eq!(top.rows(), 1);
    /// assert_eq!(c.rows(), 2);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn reborrow(&mut self) -> MatMut<'_, T> {
        MatMut { elements: PhantomData, ..*self }
    }

    /// Rows before row `i`, and the others.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if there are fewer rows.
    ///
    /// # Examples
    /// ```
    /// let mut data = [0u8; 6];
    /// let (top, bottom) = gemmill::MatMut::row_major(&mut data, 3, 2)?.split_at_row(1)?;
    /// assert_eq!((top.rows(), bottom.rows()), (1, 2));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn split_at_row(self, i: usize) -> Result<(Self, Self)> {
        if i > self.rows {
            return Err(out_of_range("row to split at", self.rows, i));
        }
        let start = if i == self.rows || self.cols == 0 { self.start } else { self.row_start(i) };
        let second = MatMut { start, rows: self.rows - i, ..self };
        Ok((MatMut { rows: i, ..self }, second))
    }

    /// Columns before column `j`, and the others: two threads may each write to one of these.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if there are fewer columns.
    ///
    /// # Examples
    /// ```
    /// let mut data = [1u8, 2, 3, 4, 5, 6];
    /// let (left, right) = gemmill::MatMut::row_major(&mut data, 2, 3)?.split_at_column(2)?;
    /// assert_eq!((left.as_ref().get(1, 0), right.as_ref().get(1, 0)), (Some(4), Some(6)));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn split_at_column(self, j: usize) -> Result<(Self, Self)> {
        if j > self.cols {
            return Err(out_of_range("column to split at", self.cols, j));
        }
        let start = if j == self.cols || self.rows == 0 {
            self.start
        } else {
            // SAFETY: by the view's invariant the offset of an element of row 0 fits, and stays within that row.
            unsafe { self.start.add(j) }
        };
        let second = MatMut { start, cols: self.cols - j, ..self };
        Ok((MatMut { cols: j, ..self }, second))
    }

    /// Row `i` of a matrix that is known to have it.
    #[inline]
    pub(crate) fn row_mut(&mut self, i: usize) -> &mut [T] {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        if self.cols == 0 {
            return &mut [];
        }
        // SAFETY: by the view's invariant it has its elements alone, and these are one row's, which lie side by side.
        unsafe { slice::from_raw_parts_mut(self.row_start(i).as_ptr(), self.cols) }
    }

    /// Element (0, 0). What may be written to from there on are the view's elements, nothing else.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut T {
        self.start.as_ptr()
    }

    /// Where row `i` begins, of a matrix that is known to have elements in it.
    #[inline]
    fn row_start(&self, i: usize) -> NonNull<T> {
        assert!(i < self.rows && self.cols > 0, "({i}, 0) of {} x {}", self.rows, self.cols);
        // SAFETY: by the view's invariant the offset of an element fits, and stays within what the elements lie in.
        unsafe { self.start.add(i * self.row_stride) }
    }
}

impl<'a, T: Element> MatMut<'a, T> {
    /// A read-only view of the same elements.
    ///
    /// # Examples
    /// ```
    /// let mut data = [7u8; 4];
    /// let c = gemmill::MatMut::row_major(&mut data, 2, 2)?;
    /// assert_eq!(c.as_ref().get(1, 1), Some(7));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn as_ref(&self) -> MatRef<'_, T> {
        let MatMut { start, rows, cols, row_stride, .. } = *self;
        MatRef { start, rows, cols, row_stride, col_stride: 1, elements: PhantomData }
    }

    /// A read-only view of the same elements, for as long as this one would have lasted.
    ///
    /// # Examples
    /// ```
    /// // A is the left half of a buffer, C the right one.
    /// let mut data = [1u8, 2, 3, 4];
    /// let (a, c) = gemmill::MatMut::row_major(&mut data, 2, 2)?.split_at_column(1)?;
    /// assert_eq!((a.into_ref().get(1, 0), c.as_ref().get(1, 0)), (Some(3), Some(4)));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn into_ref(self) -> MatRef<'a, T> {
        let MatMut { start, rows, cols, row_stride, .. } = self;
        MatRef { start, rows, cols, row_stride, col_stride: 1, elements: PhantomData }
    }
}

impl<'a, T: Element> MatMut<'a, MaybeUninit<T>> {
    /// The same view of elements that have been written to.
    ///
    /// # Safety
    /// Every element is initialised: a product that took this view as its output and succeeded did that.
    ///
    /// # Examples
    /// ```
    /// use std::mem::MaybeUninit;
    /// let mut data = [MaybeUninit::new(5u8); 4];
    /// let c = gemmill::MatMut::row_major(&mut data, 2, 2)?;
    /// // SAFETY: they all are.
    /// let c = unsafe { c.assume_init() };
    /// assert_eq!(c.as_ref().get(1, 1), Some(5));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub unsafe fn assume_init(self) -> MatMut<'a, T> {
        let MatMut { start, rows, cols, row_stride, .. } = self;
        MatMut { start: start.cast(), rows, cols, row_stride, elements: PhantomData }
    }
}

/// The reach of a matrix whose rows must not overlap.
fn reach_of_rows<T>(rows: usize, cols: usize, row_stride: usize) -> Result<usize> {
    if rows > 1 && row_stride < cols {
        return Err(Error::Overlap { rows, cols, row_stride });
    }
    reach::<T>(rows, cols, row_stride, 1)
}

/// A pointer that views may keep, to a matrix of this reach.
fn start_of<T>(start: *mut T, reach: usize) -> Result<NonNull<T>> {
    match NonNull::new(start) {
        _ if reach == 0 => Ok(NonNull::dangling()),
        Some(start) if start.is_aligned() => Ok(start),
        Some(_) => Err(Error::Unsupported { what: "a pointer to elements of a matrix is not aligned for their type" }),
        None => Err(Error::Unsupported { what: "a pointer to elements of a matrix is null" }),
    }
}

fn out_of_range(what: &'static str, high: usize, given: usize) -> Error {
    Error::OutOfRange { what, low: 0, high: high as i64, given: given as i64 }
}
