//! The floating-point types of operands.

use half::{bf16, f16};

use crate::convert;
use crate::matrix::{Element, MatRef, taken_stride};
use gemmill_codegen::{FloatProducts, FloatType};

impl Element for f16 {}
impl Element for bf16 {}

/// A floating-point type that matrices may have: `f32`, [`half::f16`] or [`half::bf16`].
///
/// # Examples
/// ```
/// use gemmill::{Float, FloatType, half::bf16};
/// assert_eq!(bf16::TYPE, FloatType::Bf16);
/// assert_eq!(bf16::from_f32(1.0 + 1e-4).to_f32(), 1.0);
/// ```
pub trait Float: Element + bytemuck::Pod + sealed::Sealed {
    /// Which type it is.
    const TYPE: FloatType;

    /// The same number.
    fn to_f32(self) -> f32;

    /// The nearest number, to even where two are; beyond the largest one infinity. NaN stays NaN.
    fn from_f32(x: f32) -> Self;
}

mod sealed {
    use super::{MatRef, Source};

    pub trait Sealed: Sized {
        fn source(a: MatRef<'_, Self>) -> Source<'_>;
    }
}

/// A matrix whose type is known when the program runs.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    F32(MatRef<'a, f32>),
    F16(MatRef<'a, f16>),
    Bf16(MatRef<'a, bf16>),
}

impl<'a> Source<'a> {
    pub(crate) fn new<T: Float>(a: MatRef<'a, T>) -> Source<'a> {
        <T as sealed::Sealed>::source(a)
    }

    /// Runs of elements side by side in a row, as f32, from element `(i, k)` on.
    pub(crate) fn read(&self, i: usize, k: usize, out: &mut [f32]) {
        match self {
            Source::F32(a) => read(a, i, k, out),
            Source::F16(a) => read(a, i, k, out),
            Source::Bf16(a) => read(a, i, k, out),
        }
    }

    /// The same as bf16, to the nearest.
    pub(crate) fn read_bf16(&self, i: usize, k: usize, out: &mut [bf16]) {
        const PIECE: usize = 256;
        if let Source::Bf16(a) = self
            && let Some(row) = a.row(i)
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

    /// The matrix, where kernels can read it as it lies: rows have their elements side by side, f32, or bf16 in whole groups
    /// for hardware dot products.
    pub(crate) fn in_place(&self, products: FloatProducts) -> Option<InPlace<'a>> {
        match (self, products) {
            (Source::F32(a), FloatProducts::Chain) => InPlace::new(a),
            (Source::Bf16(a), FloatProducts::Dot(dot)) if a.cols().is_multiple_of(dot.group()) => InPlace::new(a),
            _ => None,
        }
    }
}

/// Rows that kernels read as they lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InPlace<'a> {
    pub(crate) data: &'a [u8],
    /// Bytes from row to row.
    pub(crate) row_stride: usize,
}

impl<'a> InPlace<'a> {
    fn new<T: Float>(a: &MatRef<'a, T>) -> Option<InPlace<'a>> {
        a.row(0)?;
        let row_stride = taken_stride(a.rows(), a.row_stride()) * size_of::<T>();
        Some(InPlace { data: bytemuck::cast_slice(a.data()), row_stride })
    }
}

#[inline(always)]
fn read<T: Float>(a: &MatRef<'_, T>, i: usize, k: usize, out: &mut [f32]) {
    match a.row(i) {
        Some(row) => {
            let row = &row[k..][..out.len()];
            out.iter_mut().zip(row).for_each(|(to, from)| *to = from.to_f32());
        }
        None => out.iter_mut().enumerate().for_each(|(j, to)| *to = a.at(i, k + j).to_f32()),
    }
}

macro_rules! float {
    ($($type:ty, $variant:ident, $to:expr, $from:expr;)*) => {$(
        impl sealed::Sealed for $type {
            fn source(a: MatRef<'_, Self>) -> Source<'_> {
                Source::$variant(a)
            }
        }

        impl Float for $type {
            const TYPE: FloatType = FloatType::$variant;

            #[inline(always)]
            fn to_f32(self) -> f32 {
                $to(self)
            }

            #[inline(always)]
            fn from_f32(x: f32) -> Self {
                $from(x)
            }
        }
    )*};
}

float! {
    f32, F32, std::convert::identity, std::convert::identity;
    f16, F16, f16::to_f32, f16::from_f32;
    bf16, Bf16, bf16::to_f32, bf16::from_f32;
}
