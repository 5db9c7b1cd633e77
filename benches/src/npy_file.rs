//! `.npy` files: one- and two-dimensional arrays of u8, i8, i32, f32 and f16, C or Fortran order; and of int64 and
//! float64, what numpy makes of lists, where every element is one of these types.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use gemmill::MatRef;
use gemmill::half::f16;
use ndarray_npy::npy::header::{Header, Layout};

use crate::output;

/// The elements of an array, in the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub enum Elements {
    U8(Vec<u8>),
    I8(Vec<i8>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    F16(Vec<f16>),
}

impl Elements {
    /// Name of the element type.
    pub fn dtype(&self) -> &'static str {
        match self {
            Elements::U8(_) => "u8",
            Elements::I8(_) => "i8",
            Elements::I32(_) => "i32",
            Elements::F32(_) => "f32",
            Elements::F16(_) => "f16",
        }
    }
}

/// An element type of the arrays that are written.
pub trait Written: bytemuck::NoUninit {
    /// Its name in a header.
    const DESCRIPTOR: &str;
}

macro_rules! written {
    ($($type:ty: $descriptor:literal;)*) => {$(
        impl Written for $type {
            const DESCRIPTOR: &str = $descriptor;
        }
    )*};
}

written! {
    u8: "|u1";
    i8: "|i1";
    i32: "<i4";
    f32: "<f4";
    f16: "<f2";
}

/// An array as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    pub elements: Elements,
    /// Size of each dimension.
    pub shape: Vec<usize>,
    fortran: bool,
}

/// A header longer than this, or nested deeper, describes no array of ours; its parser recurses on brackets.
const MAX_HEADER: usize = 4096;
const MAX_BRACKETS: usize = 16;

impl Array {
    /// Reads a file.
    ///
    /// # Errors
    /// Says which file and what is wrong with it: not readable, not an npy file, a dtype that is none of ours, or a
    /// length that is not what the header says.
    pub fn read(path: &Path) -> Result<Array> {
        let bytes = std::fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))?;
        Array::parse(&bytes).with_context(|| format!("{}: not a usable npy file", path.display()))
    }

    fn parse(bytes: &[u8]) -> Result<Array> {
        check_header_text(bytes)?;
        let mut rest = bytes;
        let header = Header::from_reader(&mut rest)?;
        // A zero size must not hide that the others overflow.
        let fits = header.shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size.max(1)));
        ensure!(fits.is_some_and(|len| len <= isize::MAX as usize), "the sizes {:?} overflow", header.shape);
        let len: usize = header.shape.iter().product();
        let descriptor = header.type_descriptor.to_string();
        let dtype = descriptor.trim_matches(['\'', '"']);
        let elements = match dtype {
            "|u1" | "<u1" | "u1" | "B" => Elements::U8(exactly(rest, len, 1)?.to_vec()),
            "|i1" | "<i1" | "i1" | "b" => Elements::I8(exactly(rest, len, 1)?.iter().map(|&x| x as i8).collect()),
            "<i4" => Elements::I32(words(exactly(rest, len, 4)?).map(i32::from_le_bytes).collect()),
            "<f4" => Elements::F32(words(exactly(rest, len, 4)?).map(f32::from_le_bytes).collect()),
            "<f2" => Elements::F16(words(exactly(rest, len, 2)?).map(f16::from_le_bytes).collect()),
            "<i8" => narrow_integers(words(exactly(rest, len, 8)?).map(i64::from_le_bytes))?,
            "<f8" => Elements::F32(narrow_floats(words(exactly(rest, len, 8)?).map(f64::from_le_bytes))?),
            _ => bail!("its dtype is {descriptor}: expected u8, i8, i32, f32 or f16, int64 or float64 (little-endian)"),
        };
        Ok(Array { elements, shape: header.shape, fortran: header.layout.is_fortran() })
    }

    /// Rows and columns of a two-dimensional array.
    pub fn rows_and_cols(&self) -> Result<(usize, usize)> {
        match self.shape[..] {
            [rows, cols] => Ok((rows, cols)),
            _ => bail!("it has {} dimensions: expected 2", self.shape.len()),
        }
    }

    /// A view of `data`, which must be the elements of this array, in its order.
    pub fn view<'a, T: gemmill::Element>(&self, data: &'a [T]) -> Result<MatRef<'a, T>> {
        let (rows, cols) = self.rows_and_cols()?;
        Ok(match self.fortran {
            true => MatRef::col_major(data, rows, cols)?,
            false => MatRef::row_major(data, rows, cols)?,
        })
    }
}

/// Refuses what the header's parser could not cope with.
fn check_header_text(bytes: &[u8]) -> Result<()> {
    ensure!(bytes.starts_with(b"\x93NUMPY"), "it does not begin with the npy magic string");
    let (start, len) = match bytes.get(6..12) {
        Some(&[1, _, a, b, ..]) => (10, usize::from(u16::from_le_bytes([a, b]))),
        Some(&[_, _, a, b, c, d]) => (12, u32::from_le_bytes([a, b, c, d]) as usize),
        _ => bail!("its header is cut off"),
    };
    ensure!(len <= MAX_HEADER, "its header has {len} bytes: expected at most {MAX_HEADER}");
    let Some(text) = bytes.get(start..start + len) else { bail!("its header is cut off") };
    let brackets = text.iter().filter(|b| b"([{".contains(b)).count();
    ensure!(brackets <= MAX_BRACKETS, "its dtype is a structure: expected u8, i8, i32, f32 or f16");
    Ok(())
}

fn exactly(data: &[u8], len: usize, size: usize) -> Result<&[u8]> {
    let needed = len.checked_mul(size).context("its size overflows")?;
    ensure!(data.len() == needed, "the shape needs {needed} bytes of data, the file holds {}", data.len());
    Ok(data)
}

/// u8 where none is negative and all fit, otherwise i8 where all fit, otherwise i32.
fn narrow_integers(elements: impl Iterator<Item = i64> + Clone) -> Result<Elements> {
    fn all<T: TryFrom<i64>>(elements: impl Iterator<Item = i64>) -> Option<Vec<T>> {
        elements.map(|x| T::try_from(x).ok()).collect()
    }
    if let Some(bytes) = all(elements.clone()) {
        return Ok(Elements::U8(bytes));
    }
    if let Some(bytes) = all(elements.clone()) {
        return Ok(Elements::I8(bytes));
    }
    match elements.clone().enumerate().find(|&(_, x)| i32::try_from(x).is_err()) {
        Some((place, x)) => bail!("its dtype is int64, and element {place} is {x}: expected numbers of 32 bits"),
        None => Ok(Elements::I32(all(elements).unwrap_or_default())),
    }
}

fn narrow_floats(elements: impl Iterator<Item = f64>) -> Result<Vec<f32>> {
    let narrow = |(place, x): (usize, f64)| {
        let is_exact = x.is_nan() || f64::from(x as f32) == x;
        ensure!(is_exact, "its dtype is float64, and element {place} is {x}, which is no f32: save it as float32");
        Ok(x as f32)
    };
    elements.enumerate().map(narrow).collect()
}

fn words<const N: usize>(data: &[u8]) -> impl Iterator<Item = [u8; N]> + Clone {
    data.as_chunks::<N>().0.iter().copied()
}

/// Writes a row-major array, whole or not at all.
pub fn write<T: Written>(path: &Path, data: &[T], shape: [usize; 2]) -> Result<()> {
    output::write_atomically(path, |file, _| write_to(file, data, shape))
}

fn write_to<T: Written>(file: &mut impl Write, data: &[T], shape: [usize; 2]) -> Result<()> {
    let type_descriptor = format!("'{}'", T::DESCRIPTOR).parse().context("the name of an element type")?;
    let header = Header { type_descriptor, layout: Layout::Standard, shape: shape.to_vec() };
    header.write(&mut *file)?;
    file.write_all(bytemuck::cast_slice(data))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16 + 1).to_le_bytes());
        bytes.extend(header.bytes());
        bytes.push(b'\n');
        bytes.extend(data);
        bytes
    }

    #[test]
    fn both_orders() -> Result<()> {
        for (fortran, expected) in [("False", 2i8), ("True", 3)] {
            let header = format!("{{'descr': '|i1', 'fortran_order': {fortran}, 'shape': (2, 3)}}");
            let array = Array::parse(&npy(&header, &[1, 2, 3, 4, 5, 6]))?;
            let Elements::I8(data) = &array.elements else { bail!("wrong type") };
            assert_eq!(array.view(data)?.get(0, 1), Some(expected));
        }
        Ok(())
    }

    #[test]
    fn what_is_written_reads_back() -> Result<()> {
        let mut bytes = Vec::new();
        write_to(&mut bytes, &[1i32, -2, 3, i32::MIN, 5, 6], [2, 3])?;
        let array = Array::parse(&bytes)?;
        assert_eq!(array.elements, Elements::I32(vec![1, -2, 3, i32::MIN, 5, 6]));
        assert_eq!(array.rows_and_cols()?, (2, 3));
        Ok(())
    }

    #[test]
    fn hostile_files_are_refused() {
        let shape = |shape: &str| format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}");
        let nested = "(".repeat(3000);
        let cases: Vec<Vec<u8>> = vec![
            vec![],
            b"\x93NUMPY".to_vec(),
            b"\x93NUMPY\x01\x00\xff\xff".to_vec(),
            b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(),
            b"\x93NUMPY\x09\x00\x02\x00\x00\x00{}".to_vec(),
            npy(&shape("(18446744073709551615, 2)"), &[]),
            npy(&shape("(0, 9223372036854775807, 4)"), &[]),
            npy(&shape("(99999999999999999999999, 2)"), &[]),
            npy(&shape("(-1, 2)"), &[]),
            npy(&shape("(1000000000, 1000)"), &[1]),
            npy(&shape("(2, 2)"), &[1, 2, 3]),
            npy(&shape("(2, 2)"), &[1, 2, 3, 4, 5]),
            npy(&shape(&nested), &[]),
            npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", &[0; 4]),
            npy("{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", &[0; 4]),
            npy("{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", &[0; 8]),
            npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", &0.1f64.to_le_bytes()),
            npy("{'descr': '<i8', 'fortran_order': False, 'shape': (1,)}", &i64::MAX.to_le_bytes()),
            npy("{'descr': '|u1', 'shape': (1,)}", &[0]),
            npy("not a dictionary", &[]),
        ];
        for case in cases {
            assert!(Array::parse(&case).is_err(), "{:?}", String::from_utf8_lossy(&case));
        }
    }
}
