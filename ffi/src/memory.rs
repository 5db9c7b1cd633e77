//! Sizes, addresses and matrices as C gives them, checked before they become references, and whether they lie apart.

use std::ffi::c_void;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::ptr::NonNull;

use gemmill::{Element, ElementType};

use crate::call::{Failure, Outcome};
use crate::status::Status;

/// A pointer that is not null and a multiple of the type's alignment.
pub(crate) fn checked<T>(what: &str, pointer: *mut T) -> Outcome<NonNull<T>> {
    aligned(what, pointer, align_of::<T>())
}

/// A pointer that is not null and a multiple of this alignment.
pub(crate) fn aligned<T>(what: &str, pointer: *mut T, alignment: usize) -> Outcome<NonNull<T>> {
    let pointer = NonNull::new(pointer)
        .ok_or_else(|| Failure::new(Status::NullPointer, format!("{what}: expected a pointer, given null")))?;
    if pointer.addr().get().is_multiple_of(alignment) {
        return Ok(pointer);
    }
    let message = format!("{what}: expected a multiple of {alignment}, given {pointer:p}");
    Err(Failure::new(Status::Misaligned, message))
}

/// A size, count or stride.
pub(crate) fn size(what: impl Display, given: i64) -> Outcome<usize> {
    usize::try_from(given).map_err(|_| Failure::out_of_range(what, 0, i64::MAX, given))
}

/// A size or count in a range.
pub(crate) fn ranged(what: &str, range: RangeInclusive<i64>, given: i64) -> Outcome<usize> {
    let (&low, &high) = (range.start(), range.end());
    if range.contains(&given) { size(what, given) } else { Err(Failure::out_of_range(what, low, high, given)) }
}

/// A size or count that is not 0.
pub(crate) fn at_least_one(what: &str, given: i64) -> Outcome<usize> {
    ranged(what, 1..=i64::MAX, given)
}

/// The addresses of `count` elements from `data` on, if they fit the address space. Null is fine for none.
pub(crate) fn extent<T: Element>(what: &str, data: *const T, count: usize) -> Outcome<Range<usize>> {
    addresses(what, data.cast_mut().cast(), count, T::TYPE)
}

/// As [`extent`], with a type that is known at run time. Elements are aligned to their size.
fn addresses(what: &str, data: *mut c_void, count: usize, element: ElementType) -> Outcome<Range<usize>> {
    if count == 0 {
        return Ok(0..0);
    }
    let start = aligned(what, data, element.bytes())?.addr().get();
    let bytes = count.checked_mul(element.bytes()).filter(|&bytes| isize::try_from(bytes).is_ok());
    let end = bytes.and_then(|bytes| start.checked_add(bytes));
    // Programs have the lower half of a 64-bit address space.
    let end = end.filter(|&end| usize::BITS < 64 || isize::try_from(end).is_ok());
    Ok(start..end.ok_or_else(|| overflow(what))?)
}

/// The size of `what` is no size of anything in memory.
pub(crate) fn overflow(what: &str) -> Failure {
    Failure::new(Status::Overflow, format!("{what}: the size does not fit the address space"))
}

/// A copy of what C gives.
pub(crate) fn copied<T: Copy>(what: &str, values: &[T]) -> Outcome<Vec<T>> {
    let mut copy = Vec::new();
    let no_memory = |_| {
        let message = format!("{what}: no memory for {} bytes", size_of_val(values));
        Failure::new(Status::OutOfMemory, message)
    };
    copy.try_reserve_exact(values.len()).map_err(no_memory)?;
    copy.extend_from_slice(values);
    Ok(copy)
}

/// A matrix as C gives it: element `(i, j)` is `data[i * row_stride + j * col_stride]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'n> {
    /// What messages call it.
    pub(crate) name: &'n str,
    pub(crate) element: ElementType,
    /// Only written through if it is that of an output.
    pub(crate) data: *mut c_void,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    row_stride: i64,
    col_stride: i64,
}

impl<'n> Matrix<'n> {
    /// A matrix to read.
    pub(crate) fn input(
        name: &'n str, (element, data): (ElementType, *const c_void), (rows, cols): (usize, usize),
        (row_stride, col_stride): (i64, i64),
    ) -> Matrix<'n> {
        Matrix { name, element, data: data.cast_mut(), rows, cols, row_stride, col_stride }
    }

    /// A matrix to write, whose rows have their elements side by side.
    pub(crate) fn output(
        name: &'n str, elements: (ElementType, *mut c_void), shape: (usize, usize), row_stride: i64,
    ) -> Matrix<'n> {
        Matrix::input(name, (elements.0, elements.1), shape, (row_stride, 1))
    }

    /// Weights to read, with K rows and N columns.
    pub(crate) fn weights(
        name: &'n str, elements: (ElementType, *const c_void), (k, n): (i64, i64), strides: (i64, i64),
    ) -> Outcome<Matrix<'n>> {
        Ok(Matrix::input(name, elements, (size("k", k)?, size("n", n)?), strides))
    }

    /// From row to row and from column to column, in elements.
    pub(crate) fn strides(&self) -> Outcome<(usize, usize)> {
        let row_stride = size(format_args!("row stride of {}", self.name), self.row_stride)?;
        let col_stride = size(format_args!("column stride of {}", self.name), self.col_stride)?;
        Ok((row_stride, col_stride))
    }

    /// Elements from the first to the last, gaps included.
    fn span(&self) -> Outcome<usize> {
        let (row_stride, col_stride) = self.strides()?;
        let (Some(last_row), Some(last_col)) = (self.rows.checked_sub(1), self.cols.checked_sub(1)) else {
            return Ok(0);
        };
        let row = last_row.checked_mul(row_stride);
        let col = last_col.checked_mul(col_stride);
        let last = row.zip(col).and_then(|(row, col)| row.checked_add(col));
        last.and_then(|last| last.checked_add(1)).ok_or_else(|| overflow(self.name))
    }

    /// Its first element and its strides, checked.
    ///
    /// # Panics
    /// If its elements have another type.
    pub(crate) fn place<T: Element>(&self) -> Outcome<(*mut T, (usize, usize))> {
        assert_eq!(self.element, T::TYPE, "{}", self.name);
        addresses(self.name, self.data, self.span()?, self.element)?;
        Ok((self.data.cast(), self.strides()?))
    }

    /// The bytes of its elements.
    pub(crate) fn footprint(&self) -> Outcome<Footprint<'n>> {
        let (row_stride, col_stride) = self.strides()?;
        let extent = addresses(self.name, self.data, self.span()?, self.element)?;
        Ok(Footprint::new(self.name, self.element, extent, [(self.rows, row_stride), (self.cols, col_stride)]))
    }
}

/// The bytes of an operand: runs of equal length at equal distances. Elements that do not form such runs count as one
/// run from the first to the last of them.
#[derive(Debug, Clone)]
pub(crate) struct Footprint<'n> {
    name: &'n str,
    start: usize,
    /// None of them is empty: this is 0 if there are no elements.
    runs: usize,
    bytes: usize,
    /// From the start of one run to that of the next, larger than `bytes` if there is a next one.
    distance: usize,
}

impl<'n> Footprint<'n> {
    /// An array.
    pub(crate) fn array<T: Element>(name: &'n str, data: *const T, count: usize) -> Outcome<Footprint<'n>> {
        Ok(Footprint::new(name, T::TYPE, extent(name, data, count)?, [(1, 0), (count, 1)]))
    }

    /// A matrix with these addresses from its first element to its last: counts and strides, in elements, of its two
    /// directions.
    fn new(
        name: &'n str, element: ElementType, extent: Range<usize>, directions: [(usize, usize); 2],
    ) -> Footprint<'n> {
        let one_run = Footprint { name, start: extent.start, runs: 1, bytes: extent.len(), distance: 0 };
        if extent.is_empty() {
            return Footprint { runs: 0, ..one_run };
        }
        let [rows, cols] = directions.map(|(count, stride)| (if stride == 0 { 1 } else { count }, stride));
        let dense = |(count, stride)| count == 1 || stride == 1;
        let ((elements, _), (runs, stride)) = if dense(cols) { (cols, rows) } else { (rows, cols) };
        let (bytes, distance) = (elements * element.bytes(), stride * element.bytes());
        if (dense(cols) || dense(rows)) && runs > 1 && bytes < distance {
            Footprint { runs, bytes, distance, ..one_run }
        } else {
            one_run
        }
    }

    /// One past the last byte of operands that have elements.
    fn end(&self) -> usize {
        self.start + (self.runs - 1) * self.distance + self.bytes
    }

    /// Whether no byte belongs to both. Exact where both are runs at the same distance, or one is a single run.
    fn is_apart(&self, other: &Footprint<'_>) -> bool {
        let (first, second) = if self.start <= other.start { (self, other) } else { (other, self) };
        if first.runs == 0 || second.runs == 0 || first.end() <= second.start {
            return true;
        }
        if first.runs == 1 || (second.runs > 1 && first.distance != second.distance) {
            return false;
        }
        // Run j of `second` begins `offset` bytes after the start of run `skipped + j` of `first`, the one before it.
        let (skipped, offset) =
            ((second.start - first.start) / first.distance, (second.start - first.start) % first.distance);
        let before_next = second.bytes <= first.distance - offset || skipped + 1 >= first.runs;
        first.bytes <= offset && before_next
    }
}

/// Refuses an output that shares addresses with an input.
pub(crate) fn check_apart(output: &Footprint<'_>, input: &Footprint<'_>) -> Outcome {
    if output.is_apart(input) {
        return Ok(());
    }
    let message =
        format!("{} and {}: expected memory apart from each other, given overlapping", output.name, input.name);
    Err(Failure::new(Status::Overlap, message))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A matrix of elements of `T` in a buffer that is never read: its footprint and the addresses of its bytes.
    fn matrix<T: Element>(
        at: usize, [rows, cols]: [usize; 2], [row, col]: [usize; 2],
    ) -> (Footprint<'static>, BTreeSet<usize>) {
        const BUFFER: usize = 4096;
        let data = std::ptr::without_provenance::<T>(BUFFER + at * size_of::<T>());
        let matrix = Matrix::input("m", (T::TYPE, data.cast()), (rows, cols), (row as i64, col as i64));
        let footprint = matrix.footprint().unwrap();
        let elements = (0..rows).flat_map(|i| (0..cols).map(move |j| at + i * row + j * col));
        let bytes = elements.flat_map(|element| (0..size_of::<T>()).map(move |byte| element * size_of::<T>() + byte));
        (footprint, bytes.map(|byte| BUFFER + byte).collect())
    }

    fn matrices<T: Element>(starts: usize) -> Vec<(Footprint<'static>, BTreeSet<usize>)> {
        let mut all = Vec::new();
        for at in 0..starts {
            for shape in [[0, 2], [1, 1], [1, 3], [1, 9], [2, 1], [2, 2], [2, 5], [3, 1], [3, 2], [4, 3]] {
                for strides in [[0, 0], [0, 1], [1, 0], [1, 1], [1, 4], [2, 1], [4, 1], [5, 1], [6, 1], [3, 2], [6, 2]]
                {
                    all.push(matrix::<T>(at, shape, strides));
                }
            }
        }
        all
    }

    /// Whether all bytes lie in runs of one length at one distance, so that the check is exact for them.
    fn expects_exact(a: &Footprint<'_>, b: &Footprint<'_>, bytes: [&BTreeSet<usize>; 2]) -> bool {
        let whole = [a, b].into_iter().zip(bytes).all(|(f, bytes)| f.runs * f.bytes == bytes.len());
        whole && (a.runs <= 1 || b.runs <= 1 || a.distance == b.distance)
    }

    fn compare(a: &[(Footprint<'_>, BTreeSet<usize>)], b: &[(Footprint<'_>, BTreeSet<usize>)]) -> [usize; 2] {
        let mut exact = [0, 0];
        for (a, a_bytes) in a {
            for (b, b_bytes) in b {
                let (apart, truth) = (a.is_apart(b), a_bytes.is_disjoint(b_bytes));
                assert_eq!(apart, b.is_apart(a), "{a:?} {b:?}");
                assert!(truth || !apart, "{a:?} and {b:?} share bytes");
                if expects_exact(a, b, [a_bytes, b_bytes]) {
                    assert_eq!(apart, truth, "{a:?} {b:?}");
                    exact[usize::from(truth)] += 1;
                }
            }
        }
        exact
    }

    #[test]
    fn apart_is_what_sets_of_addresses_say() {
        let (bytes, words) = (matrices::<u8>(20), matrices::<i32>(6));
        for [overlapping, apart] in [compare(&bytes, &bytes), compare(&words, &bytes), compare(&words, &words)] {
            assert!(overlapping > 1000 && apart > 1000, "{overlapping} {apart}");
        }
    }

    #[test]
    fn column_blocks_of_one_buffer_are_apart() {
        // A of 8 bytes and C of 4 floats in rows of 24 bytes, and a row of C too many.
        let a = matrix::<u8>(0, [5, 8], [24, 1]).0;
        let c = matrix::<f32>(2, [5, 4], [6, 1]).0;
        let wider = matrix::<f32>(2, [5, 5], [6, 1]).0;
        assert!(check_apart(&c, &a).is_ok());
        assert!(check_apart(&wider, &a).is_err());
        // Transposed, A has its columns side by side.
        let transposed = matrix::<u8>(0, [8, 5], [1, 24]).0;
        assert!(check_apart(&c, &transposed).is_ok());
        assert!(check_apart(&wider, &transposed).is_err());
    }
}
