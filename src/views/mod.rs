//! Views of matrices: a pointer, a shape and strides, checked once when the view is made. A view says only what it
//! owns, its elements: what lies between them may belong to others, who may read and write it meanwhile.
//!
//! [`MatRef`] and [`MatMut`] know their type of elements when the program is compiled, [`AnyRef`] and [`AnyMut`] when
//! it runs.

mod any;
mod element;
mod matrix;
#[cfg(test)]
mod tests;

pub use any::{AnyMut, AnyRef};
pub use element::{Element, ElementType, Float};
pub use matrix::{MatMut, MatRef};

use crate::error::{Error, Result};

/// One past the last element that a view reaches, or an error if that does not fit an address.
#[inline]
fn reach<T>(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> Result<usize> {
    let overflow = || Error::Overflow { what: "matrix strides" };
    if rows == 0 || cols == 0 {
        return Ok(0);
    }
    let last = (rows - 1)
        .checked_mul(row_stride)
        .and_then(|r| (cols - 1).checked_mul(col_stride).and_then(|c| r.checked_add(c)))
        .and_then(|l| l.checked_add(1))
        .ok_or_else(overflow)?;
    match last.checked_mul(size_of::<T>()) {
        Some(bytes) if bytes <= isize::MAX as usize => Ok(last),
        _ => Err(overflow()),
    }
}

/// The row stride of a matrix, or 0 where there is no second row: then it may be any number.
pub(crate) fn taken_stride(rows: usize, row_stride: usize) -> usize {
    if rows > 1 { row_stride } else { 0 }
}
