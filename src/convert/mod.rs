//! f32 to half precision and back, on slices: [`struct@f16`] (IEEE 754 binary16) and [`bf16`] (the upper half of an
//! f32).
//!
//! | from f32 | |
//! |---|---|
//! | rounding | to the nearest, ties to even, subnormal results among them |
//! | overflow | infinity; `_saturating` functions give the largest finite number of that sign, also for an infinity |
//! | NaN | stays NaN, made quiet: sign and upper bits of its payload are kept; saturating makes no difference |
//!
//! To f32 every number is exact. A NaN keeps its sign and payload; a signalling one becomes quiet, as the instructions
//! of the CPU and the crate `half` have it.
//!
//! The bits are those of [`mod@reference`] and of the crate `half`, whatever the CPU. (The rounding of bf16 uses
//! integers: the CPU's own instruction for it takes subnormal numbers for zeros.)
//!
//! # Speed
//! As fast as memory, with AVX2 and F16C. A destination that caches would not hold is written past them, which spares
//! reading it first.
//!
//! # Examples
//! ```
//! use gemmill::convert::{self, bf16, f16};
//! let x = [1.0f32, -2.5, 70000.0, 1e-8];
//! let mut halves = [f16::ZERO; 4];
//! convert::f32_to_f16(&x, &mut halves)?;
//! assert_eq!(halves.map(f16::to_f32), [1.0, -2.5, f32::INFINITY, 0.0]);
//! convert::f32_to_f16_saturating(&x, &mut halves)?;
//! assert_eq!(halves[2], f16::MAX);
//! let mut brains = [bf16::ZERO; 4];
//! convert::f32_to_bf16(&x, &mut brains)?;
//! let mut back = [0f32; 4];
//! convert::bf16_to_f32(&brains, &mut back)?;
//! assert_eq!(back, [1.0, -2.5, 70144.0, 1.0011718e-8]);
//! # Ok::<(), gemmill::Error>(())
//! ```

pub mod reference;
// Calls of functions that are compiled for AVX2 and F16C, and stores that bypass the caches.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod vector;

#[cfg(test)]
mod tests;

use gemmill_codegen::in_default_float_mode;
pub use half::{bf16, f16};

use crate::error::{Result, expect};
use crate::views::{AnyRef, Element, MatRef};

/// A conversion of every element of a slice into the element of another at its place: with vectors where the CPU has
/// them, as in the reference elsewhere.
macro_rules! conversion {
    ($(#[$attribute:meta])* $name:ident, $from:ty => $to:ty, $reference:path) => {
        $(#[$attribute])*
        ///
        /// # Errors
        /// [`Error::Mismatch`](crate::Error::Mismatch) if the lengths differ.
        pub fn $name(src: &[$from], dst: &mut [$to]) -> Result<()> {
            expect("length of the destination against the source", src.len(), dst.len())?;
            in_default_float_mode(|| {
                #[cfg(target_arch = "x86_64")]
                if vector::$name(src, dst) {
                    return;
                }
                plain(src, dst, $reference);
            });
            Ok(())
        }
    };
}

conversion!(
    /// To f16: rounded to the nearest, ties to even; 65520 and above to infinity.
    f32_to_f16, f32 => f16, reference::f32_to_f16
);
conversion!(
    /// To f16: rounded to the nearest, ties to even; everything above 65504, infinity too, to 65504.
    f32_to_f16_saturating, f32 => f16, reference::f32_to_f16_saturating
);
conversion!(
    /// From f16, exactly.
    f16_to_f32, f16 => f32, reference::f16_to_f32
);
conversion!(
    /// To bf16: rounded to the nearest, ties to even; what is nearer to 2^128 than to the largest finite number goes to
    /// infinity.
    f32_to_bf16, f32 => bf16, reference::f32_to_bf16
);
conversion!(
    /// To bf16: rounded to the nearest, ties to even; everything above the largest finite number, infinity too, to
    /// that.
    f32_to_bf16_saturating, f32 => bf16, reference::f32_to_bf16_saturating
);
conversion!(
    /// From bf16, exactly.
    bf16_to_f32, bf16 => f32, reference::bf16_to_f32
);

/// Elements that follow each other in row `i` of a matrix of floats, from column `first` on, as f32.
///
/// # Panics
/// If the matrix lacks one of them, or holds integers.
#[inline(always)]
pub(crate) fn read_row(matrix: &AnyRef<'_>, i: usize, first: usize, out: &mut [f32]) {
    match matrix {
        AnyRef::F32(m) => read(m, i, first, out, |row, out| out.copy_from_slice(row), |x| x),
        AnyRef::F16(m) => {
            read(m, i, first, out, |row, out| f16_to_f32(row, out).expect("as many of both"), f16::to_f32)
        }
        AnyRef::Bf16(m) => {
            read(m, i, first, out, |row, out| bf16_to_f32(row, out).expect("as many of both"), bf16::to_f32);
        }
        AnyRef::U8(_) | AnyRef::I8(_) | AnyRef::I32(_) => {
            panic!("expected a matrix of floats, given {}", matrix.element())
        }
    }
}

#[inline(always)]
fn read<T: Element>(
    m: &MatRef<'_, T>,
    i: usize,
    first: usize,
    out: &mut [f32],
    of_row: impl Fn(&[T], &mut [f32]),
    of_one: impl Fn(T) -> f32,
) {
    match m.row(i) {
        Some(row) => of_row(&row[first..][..out.len()], out),
        None => out.iter_mut().enumerate().for_each(|(j, to)| *to = of_one(m.at(i, first + j))),
    }
}

/// One element after the other.
fn plain<S: Copy, D>(src: &[S], dst: &mut [D], convert: impl Fn(S) -> D) {
    for (d, &s) in dst.iter_mut().zip(src) {
        *d = convert(s);
    }
}
