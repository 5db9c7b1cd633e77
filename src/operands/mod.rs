//! Operand A: where its elements come from, and how they become what kernels read.
//!
//! ```text
//! u8, i8                 as they are, where they lie; or written anew: i8 moved up by 128, strides made one
//! f32, f16, bf16         quantized while the product runs, by parameters of the tensor or of each row;
//!                        or as they are, for products of floats: f32, or bf16 for hardware dot products
//! ```
//!
//! [`Operand`] reads rows, whatever their type and strides; [`planes`] arranges bytes as kernels of 8-bit integers take
//! them.

pub(crate) mod planes;
mod row_parameters;

use std::ops::Range;

use gemmill_codegen::{Byte, FloatProducts};
use half::bf16;

pub(crate) use row_parameters::{RowParameters, RowRange, with_row_parameters};

use crate::convert;
use crate::machine::memory::LINE;
use crate::quant::{QuantElement, quantize_row_into};
use crate::views::{AnyRef, Element, MatRef};

/// Bytes that a row of A takes which is written for products of floats, if they can be counted. Rows of bf16 take an
/// odd number of cache lines: in the caches they do not stand in each other's way.
pub(crate) fn float_row_bytes(products: FloatProducts, k: usize) -> Option<usize> {
    let bytes = products.slots(k).checked_mul(size_of::<f32>())?;
    match products {
        FloatProducts::Chain => Some(bytes),
        FloatProducts::Dot(_) => (bytes.div_ceil(LINE) | 1).checked_mul(LINE),
    }
}

/// How floating-point elements become integers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Quantization<'a> {
    /// They don't: A holds integers, or is multiplied as floats.
    None,
    /// All rows alike.
    Static {
        /// Reciprocal of the scale.
        inverse: f32,
        zero_point: i32,
    },
    /// Each row by its own parameters.
    PerRow(&'a RowParameters),
}

impl Quantization<'_> {
    /// Reciprocal of the scale, and zero point, of row `i`.
    fn of_row(&self, i: usize) -> (f32, i32) {
        match *self {
            Quantization::None => (1.0, 0),
            Quantization::Static { inverse, zero_point } => (inverse, zero_point),
            Quantization::PerRow(rows) => (rows.inverses[i], rows.zero_points.get(i).copied().unwrap_or(0)),
        }
    }
}

/// Operand A of a product, as the user gave it, and how it is quantized.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operand<'a> {
    elements: AnyRef<'a>,
    quantization: Quantization<'a>,
}

/// Rows that are brought together before they are written to planes: columns of a transposed operand are read in runs.
pub(crate) const ROW_CHUNK: usize = 16;

/// Elements of a row that become f32 together.
const PIECE: usize = 256;

impl<'a> Operand<'a> {
    pub(crate) fn new(elements: AnyRef<'a>, quantization: Quantization<'a>) -> Operand<'a> {
        Operand { elements, quantization }
    }

    pub(crate) fn rows(&self) -> usize {
        self.elements.rows()
    }

    pub(crate) fn cols(&self) -> usize {
        self.elements.cols()
    }

    /// The operand itself as bytes, if its rows hold elements of the type that kernels multiply side by side.
    pub(crate) fn as_rows_of(&self, activations: Byte) -> Option<MatRef<'a, u8>> {
        match (self.elements, activations) {
            (AnyRef::U8(m), Byte::U8) => m.row_bytes(),
            (AnyRef::I8(m), Byte::I8) => m.row_bytes(),
            _ => None,
        }
    }

    /// The operand itself as bytes, if kernels of floats read it as it lies: rows have their elements side by side,
    /// f32, or bf16 in whole groups of hardware dot products.
    pub(crate) fn as_float_rows(&self, products: FloatProducts) -> Option<MatRef<'a, u8>> {
        match (self.elements, products) {
            (AnyRef::F32(m), FloatProducts::Chain) => m.row_bytes(),
            (AnyRef::Bf16(m), FloatProducts::Dot(dot)) if m.cols().is_multiple_of(dot.group()) => m.row_bytes(),
            _ => None,
        }
    }

    /// Writes rows `first..` as bytes that kernels multiply, `pitch` bytes apart, as many as `out` holds: integers as
    /// they are or moved up by 128, floats quantized.
    #[inline(always)]
    pub(crate) fn integers(&self, first: usize, activations: Byte, out: &mut [u8], pitch: usize) {
        match (self.elements, activations) {
            (AnyRef::U8(m), _) => copy_rows(&m, first, out, pitch, |x| x),
            (AnyRef::I8(m), Byte::I8) => copy_rows(&m, first, out, pitch, |x| x as u8),
            (AnyRef::I8(m), Byte::U8) => copy_rows(&m, first, out, pitch, |x| x as u8 ^ 0x80),
            _ => {
                for (i, out) in out.chunks_mut(pitch).enumerate() {
                    let out = &mut out[..self.cols()];
                    match activations {
                        Byte::U8 => self.quantize_row(first + i, out),
                        Byte::I8 => self.quantize_row(first + i, bytemuck::cast_slice_mut::<u8, i8>(out)),
                    }
                }
            }
        }
    }

    /// Quantizes row `i` of floats.
    #[inline(always)]
    fn quantize_row<T: QuantElement>(&self, i: usize, out: &mut [T]) {
        let (inverse, zero_point) = self.quantization.of_row(i);
        if let AnyRef::F32(m) = self.elements
            && let Some(row) = m.row(i)
        {
            return quantize_row_into(inverse, zero_point, row, out);
        }
        let mut wide = [0f32; PIECE];
        for (piece, out) in out.chunks_mut(PIECE).enumerate() {
            let wide = &mut wide[..out.len()];
            self.read(i, piece * PIECE, wide);
            quantize_row_into(inverse, zero_point, wide, out);
        }
    }

    /// Elements that follow each other in a row of floats, as f32, from element `(i, k)` on.
    #[inline(always)]
    pub(crate) fn read(&self, i: usize, k: usize, out: &mut [f32]) {
        convert::read_row(&self.elements, i, k, out);
    }

    /// The same as bf16, to the nearest.
    fn read_bf16(&self, i: usize, k: usize, out: &mut [bf16]) {
        if let AnyRef::Bf16(m) = self.elements
            && let Some(row) = m.row(i)
        {
            return out.copy_from_slice(&row[k..][..out.len()]);
        }
        let mut wide = [0f32; PIECE];
        for (piece, out) in out.chunks_mut(PIECE).enumerate() {
            let wide = &mut wide[..out.len()];
            self.read(i, k + piece * PIECE, wide);
            convert::f32_to_bf16(wide, out).expect("as many of both");
        }
    }

    /// Writes rows as bf16 side by side, zeros behind them up to whole groups of k; `pitch` bytes from row to row.
    pub(crate) fn round_rows(
        &self,
        rows: Range<usize>,
        (products, k): (FloatProducts, usize),
        pitch: usize,
        out: &mut [bf16],
    ) {
        let whole = products.slots(k) * products.depth_of_slot();
        for (i, row) in rows.zip(out.chunks_exact_mut(pitch / size_of::<bf16>())) {
            self.read_bf16(i, 0, &mut row[..k]);
            row[k..whole].fill(bf16::ZERO);
        }
    }

    /// The largest element, if A holds u8.
    pub(crate) fn largest_u8(&self) -> Option<u8> {
        let AnyRef::U8(m) = self.elements else { return None };
        let m = m.without_repeats();
        let largest = gemmill_codegen::vectorize(|| match m.row_bytes() {
            Some(_) => (0..m.rows())
                .filter_map(|i| m.row(i))
                .fold(0, |largest, row| row.iter().fold(largest, |m, &x| x.max(m))),
            None => (0..m.cols()).flat_map(|k| (0..m.rows()).map(move |i| m.at(i, k))).max().unwrap_or(0),
        });
        Some(largest)
    }
}

#[inline(always)]
fn copy_rows<T: Element>(m: &MatRef<'_, T>, first: usize, out: &mut [u8], pitch: usize, convert: impl Fn(T) -> u8) {
    if m.row_bytes().is_some() {
        for (i, out) in out.chunks_mut(pitch).enumerate() {
            if let Some(row) = m.row(first + i) {
                out.iter_mut().zip(row).for_each(|(o, &x)| *o = convert(x));
            }
        }
    } else {
        let rows = out.len().div_ceil(pitch);
        for k in 0..m.cols() {
            for i in 0..rows {
                out[i * pitch + k] = convert(m.at(first + i, k));
            }
        }
    }
}
