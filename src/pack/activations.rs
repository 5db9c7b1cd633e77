//! Activations: read where they lie if kernels can, else written to planes.

use gemmill_codegen::{Byte, KR, Layout};

use super::step::{Block, Plane, Planes};
use crate::matrix::MatRef;
use crate::quant;

/// The operand A of a product, as the user gave it.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// Unsigned: what kernels multiply.
    U8(MatRef<'a, u8>),
    /// Signed: as they are where kernels multiply signed activations, else moved up by 128, and zero points with them.
    I8(MatRef<'a, i8>),
    /// To be quantized on the fly.
    F32(MatRef<'a, f32>, RowQuantization<'a>),
}

/// How rows of f32 become u8.
#[derive(Debug, Clone, Copy)]
pub enum RowQuantization<'a> {
    /// All alike.
    Static {
        /// Reciprocal of the scale.
        inverse: f32,
        /// Zero point.
        zero_point: i32,
    },
    /// Each row by its own parameters.
    PerRow {
        /// Reciprocals of the scales.
        inverses: &'a [f32],
        /// Zero points.
        zero_points: &'a [i32],
    },
}

/// Rows that are brought together before they are written to planes: columns of a transposed operand are read in runs.
pub(crate) const ROW_CHUNK: usize = 16;

impl<'a> Source<'a> {
    pub(crate) fn cols(&self) -> usize {
        match self {
            Source::U8(m) => m.cols(),
            Source::I8(m) => m.cols(),
            Source::F32(m, _) => m.cols(),
        }
    }

    /// The operand itself as bytes, if its rows hold elements of the type that kernels get side by side.
    pub(crate) fn as_rows_of(&self, activations: Byte) -> Option<MatRef<'a, u8>> {
        let m = match *self {
            Source::U8(m) if activations == Byte::U8 => m,
            Source::I8(m) if activations == Byte::I8 => m.as_bytes(),
            _ => return None,
        };
        (m.col_stride() == 1 || m.cols() <= 1).then_some(m)
    }

    /// Writes rows `first..` in the type that kernels get, `pitch` bytes apart, as many as `out` holds.
    #[inline(always)]
    pub(crate) fn natural_rows(&self, first: usize, activations: Byte, out: &mut [u8], pitch: usize) {
        match self {
            Source::U8(m) => copy_rows(m, first, out, pitch, |x| x),
            Source::I8(m) if activations == Byte::I8 => copy_rows(m, first, out, pitch, |x| x as u8),
            Source::I8(m) => copy_rows(m, first, out, pitch, |x| x as u8 ^ 0x80),
            Source::F32(m, quantization) => {
                for (i, out) in out.chunks_mut(pitch).enumerate() {
                    let (inverse, zero_point) = match *quantization {
                        RowQuantization::Static { inverse, zero_point } => (inverse, zero_point),
                        RowQuantization::PerRow { inverses, zero_points } => {
                            (inverses[first + i], zero_points[first + i])
                        }
                    };
                    quantize_row(m, first + i, inverse, zero_point, &mut out[..m.cols()]);
                }
            }
        }
    }
}

#[inline(always)]
fn copy_rows<T: crate::matrix::Element>(
    m: &MatRef<'_, T>,
    first: usize,
    out: &mut [u8],
    pitch: usize,
    convert: impl Fn(T) -> u8,
) {
    if m.col_stride() == 1 || m.cols() <= 1 {
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

#[inline(always)]
fn quantize_row(m: &MatRef<'_, f32>, i: usize, inverse: f32, zero_point: i32, out: &mut [u8]) {
    if let Some(row) = m.row(i) {
        quant::quantize_row_into(inverse, zero_point, row, out);
        return;
    }
    let mut gathered = [0f32; 64];
    for (k, out) in out.chunks_mut(gathered.len()).enumerate() {
        let start = k * gathered.len();
        let gathered = &mut gathered[..out.len()];
        gathered.iter_mut().enumerate().for_each(|(j, x)| *x = m.at(i, start + j));
        quant::quantize_row_into(inverse, zero_point, gathered, out);
    }
}

/// Writes one group's part of a row, block by block and plane by plane.
#[inline(always)]
pub(crate) fn write_planes(natural: &[u8], blocks: &[Block], planes: Planes, layout: Layout, out: &mut [u8]) {
    let depth = layout.step_depth();
    let mut out = out;
    for block in blocks {
        let elements = &natural[block.start..][..block.len];
        for plane in planes.iter() {
            let (this, rest) = out.split_at_mut(block.plane_bytes(depth));
            write_plane(elements, plane, depth, this);
            out = rest;
        }
    }
}

#[inline(always)]
fn write_plane(elements: &[u8], plane: Plane, depth: usize, out: &mut [u8]) {
    if plane == Plane::Natural || elements.len() < depth {
        let (copy, padding) = out.split_at_mut(elements.len());
        copy.copy_from_slice(elements);
        padding.fill(0);
        if plane != Plane::Natural {
            arrange_in_place(out, plane);
        }
        return;
    }
    let whole = elements.len() / depth * depth;
    arrange(&elements[..whole], plane, &mut out[..whole]);
    if whole < elements.len() {
        arrange(&elements[elements.len() - depth..], plane, &mut out[whole..]);
    }
}

#[inline(always)]
fn arrange(elements: &[u8], plane: Plane, out: &mut [u8]) {
    match plane {
        Plane::Natural => out.copy_from_slice(elements),
        Plane::Cross => each_quad(elements, out, |x| x & 0xff00_00ff | x >> 8 & 0xff00 | x << 8 & 0xff_0000),
        Plane::Outer => each_quad(elements, out, |x| x & 0xff | x >> 16 & 0xff00 | x << 8 & 0xffff_0000),
        Plane::Even => each_quad(elements, out, |x| x & 0x00ff_00ff),
        Plane::Odd => each_quad(elements, out, |x| x >> 8 & 0x00ff_00ff),
    }
}

#[inline(always)]
fn each_quad(elements: &[u8], out: &mut [u8], f: impl Fn(u32) -> u32) {
    let (quads, _) = elements.as_chunks::<KR>();
    let (out, _) = out.as_chunks_mut::<KR>();
    for (quad, out) in quads.iter().zip(out) {
        *out = f(u32::from_le_bytes(*quad)).to_le_bytes();
    }
}

/// A step shorter than the layout's: rare, and at most 63 elements.
fn arrange_in_place(out: &mut [u8], plane: Plane) {
    for quad in out.chunks_exact_mut(KR) {
        let copy = [quad[0], quad[1], quad[2], quad[3]];
        arrange(&copy, plane, quad);
    }
}

/// Sum of a row's elements, modulo 2^32.
#[inline(always)]
pub(crate) fn row_sum(elements: &[u8], activations: Byte) -> i32 {
    match activations {
        Byte::U8 => elements.iter().fold(0, |sum: i32, &x| sum.wrapping_add(x.into())),
        Byte::I8 => elements.iter().fold(0, |sum: i32, &x| sum.wrapping_add((x as i8).into())),
    }
}
