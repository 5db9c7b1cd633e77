//! Matrix views: a slice, a shape and strides, checked once when the view is made.

use crate::error::{Error, Result};

/// A type that a matrix view may hold.
pub trait Element: Copy + Default + Send + Sync + 'static {}
impl Element for u8 {}
impl Element for i8 {}
impl Element for i32 {}
impl Element for f32 {}

/// A read-only `rows × cols` matrix in a slice, with any strides.
///
/// Element `(i, j)` is `data[i * row_stride + j * col_stride]`. Strides may be zero or make elements overlap: a row that
/// repeats (`row_stride == 0`) or a sliding window is a legal input.
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
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

/// One past the last element that a view reaches, or an error if that does not fit an address.
fn reach<T>(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> Result<usize> {
    let overflow = Error::Overflow { what: "matrix strides" };
    if rows == 0 || cols == 0 {
        return Ok(0);
    }
    let last = (rows - 1)
        .checked_mul(row_stride)
        .and_then(|r| (cols - 1).checked_mul(col_stride).and_then(|c| r.checked_add(c)))
        .and_then(|l| l.checked_add(1))
        .ok_or(overflow.clone())?;
    match last.checked_mul(size_of::<T>()) {
        Some(bytes) if bytes <= isize::MAX as usize => Ok(last),
        _ => Err(overflow),
    }
}

/// The row stride of a matrix, or 0 where there is no second row: then it may be any number.
pub(crate) fn taken_stride(rows: usize, row_stride: usize) -> usize {
    if rows > 1 { row_stride } else { 0 }
}

impl<'a> MatRef<'a, i8> {
    /// The same elements, bit by bit.
    pub(crate) fn as_bytes(self) -> MatRef<'a, u8> {
        let MatRef { data, rows, cols, row_stride, col_stride } = self;
        MatRef { data: bytemuck::cast_slice(data), rows, cols, row_stride, col_stride }
    }
}

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
        Ok(MatRef { data, rows, cols, row_stride, col_stride })
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
        (i < self.rows && j < self.cols).then(|| self.at(i, j))
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
        MatRef {
            data: self.data,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
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
            let what = "end of the column range";
            return Err(Error::OutOfRange { what, low: 0, high: self.cols as i64, given: end as i64 });
        }
        let skip = if count == 0 || self.rows == 0 { 0 } else { start * self.col_stride };
        Ok(MatRef { data: &self.data[skip..], cols: count, ..self })
    }

    /// A view of the same elements in which none is met twice because a stride is zero.
    pub(crate) fn without_repeats(self) -> Self {
        let once = |count: usize, stride| if stride == 0 { count.min(1) } else { count };
        MatRef { rows: once(self.rows, self.row_stride), cols: once(self.cols, self.col_stride), ..self }
    }

    /// Element `(i, j)` of a matrix that is known to have it.
    pub(crate) fn at(&self, i: usize, j: usize) -> T {
        self.data[i * self.row_stride + j * self.col_stride]
    }

    /// Row `i` as a slice, where elements of a row lie side by side.
    pub(crate) fn row(&self, i: usize) -> Option<&'a [T]> {
        if self.cols == 0 {
            return Some(&[]);
        }
        (self.col_stride == 1 || self.cols == 1).then(|| &self.data[i * self.row_stride..][..self.cols])
    }

    /// The slice behind the view, from element (0, 0) on.
    pub(crate) fn data(&self) -> &'a [T] {
        self.data
    }
}

/// A `rows × cols` matrix to write to: row-major, any row stride of at least `cols`.
///
/// Elements between the rows are never touched.
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
    data: &'a mut [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
}

impl<'a, T: Element> MatMut<'a, T> {
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
        if rows > 1 && row_stride < cols {
            return Err(Error::Overlap { rows, cols, row_stride });
        }
        let needed = reach::<T>(rows, cols, row_stride, 1)?;
        if needed > data.len() {
            return Err(Error::TooShort { what: "output data", needed, given: data.len() });
        }
        Ok(MatMut { data, rows, cols, row_stride })
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
        MatRef { data: self.data, rows: self.rows, cols: self.cols, row_stride: self.row_stride, col_stride: 1 }
    }

    /// The slice behind the view.
    pub(crate) fn data_mut(&mut self) -> &mut [T] {
        self.data
    }
}
