//! Parameters that are given per tensor, per group or per column.

use crate::error::{Error, Result};
use crate::machine::memory::copied;

/// A parameter of the columns of B or C. Where one is asked for, a number is meant for all columns, and a slice, an
/// array or a vector by reference has one for each column; groups are named.
///
/// # Examples
/// ```
/// use gemmill::{Dequantize, PerColumn};
/// let scales = vec![0.5f32, 0.25];
/// assert_eq!(PerColumn::from(0.5), PerColumn::Tensor(0.5));
/// assert_eq!(PerColumn::from(&scales), PerColumn::Column(&[0.5, 0.25]));
/// let for_all = Dequantize::new(0.5);
/// let by_column = [Dequantize::new(&scales), Dequantize::new(&scales[..]), Dequantize::new(&[0.5, 0.25])];
/// let by_group = Dequantize::new(PerColumn::Group(&scales));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PerColumn<'a, T> {
    /// The same for all columns.
    Tensor(T),
    /// One for each group of columns.
    Group(&'a [T]),
    /// One for each column.
    Column(&'a [T]),
}

impl<T> From<T> for PerColumn<'_, T> {
    fn from(x: T) -> Self {
        PerColumn::Tensor(x)
    }
}

impl<'a, T> From<&'a [T]> for PerColumn<'a, T> {
    fn from(values: &'a [T]) -> Self {
        PerColumn::Column(values)
    }
}

impl<'a, T, const N: usize> From<&'a [T; N]> for PerColumn<'a, T> {
    fn from(values: &'a [T; N]) -> Self {
        PerColumn::Column(values)
    }
}

impl<'a, T> From<&'a Vec<T>> for PerColumn<'a, T> {
    fn from(values: &'a Vec<T>) -> Self {
        PerColumn::Column(values)
    }
}

/// A parameter of columns that owns its values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OwnedPerColumn<T> {
    Tensor(T),
    Group(Vec<T>),
    Column(Vec<T>),
}

impl<T: Copy> OwnedPerColumn<T> {
    pub(crate) fn get(&self) -> PerColumn<'_, T> {
        match self {
            OwnedPerColumn::Tensor(x) => PerColumn::Tensor(*x),
            OwnedPerColumn::Group(values) => PerColumn::Group(values),
            OwnedPerColumn::Column(values) => PerColumn::Column(values),
        }
    }
}

impl<T: Copy> PerColumn<'_, T> {
    pub(crate) fn to_owned(self) -> Result<OwnedPerColumn<T>> {
        const WHAT: &str = "parameters of columns";
        Ok(match self {
            PerColumn::Tensor(x) => OwnedPerColumn::Tensor(x),
            PerColumn::Group(values) => OwnedPerColumn::Group(copied(WHAT, values)?),
            PerColumn::Column(values) => OwnedPerColumn::Column(copied(WHAT, values)?),
        })
    }
}

/// Values by column, whatever they were given by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expanded<'a, T> {
    source: PerColumn<'a, T>,
    group_cols: usize,
}

impl<'a, T: Copy> PerColumn<'a, T> {
    /// Checks the number of values against `cols` columns in `groups` groups.
    pub(crate) fn expand(self, what: &'static str, cols: usize, groups: usize) -> Result<Expanded<'a, T>> {
        let (expected, given) = match self {
            PerColumn::Tensor(_) => (1, 1),
            PerColumn::Group(values) => (groups, values.len()),
            PerColumn::Column(values) => (cols, values.len()),
        };
        if expected != given {
            return Err(Error::Mismatch { what, expected, given });
        }
        Ok(Expanded { source: self, group_cols: (cols / groups.max(1)).max(1) })
    }
}

impl<T: Copy> Expanded<'_, T> {
    pub(crate) fn get(&self, column: usize) -> T {
        match self.source {
            PerColumn::Tensor(x) => x,
            PerColumn::Group(values) => values[column / self.group_cols],
            PerColumn::Column(values) => values[column],
        }
    }

    /// The values as they were given.
    pub(crate) fn iter(&self) -> impl Iterator<Item = T> + '_ {
        let (one, many) = match self.source {
            PerColumn::Tensor(x) => (Some(x), &[][..]),
            PerColumn::Group(values) | PerColumn::Column(values) => (None, values),
        };
        one.into_iter().chain(many.iter().copied())
    }
}
