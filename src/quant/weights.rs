//! Symmetric quantization of weights: zero point 0, integers -127..=127.

use gemmill_codegen::{in_default_float_mode, vectorize};

use super::rows::{clamp, larger, round};
use crate::error::{Error, Result};
use crate::machine::memory::{filled, with_capacity};
use crate::views::{Element, MatRef};

/// The largest magnitude of a quantized weight. -128 is left out, so that a weight and its negative stay mirrored.
const LARGEST: f32 = 127.0;

/// Quantizes `K × N` weights to `i8`, each column by a scale of its own: the weights, row-major, and `N` scales.
///
/// `scale[j] = max |w[.][j]| / 127` and `q = rne(clamp(w * (1 / scale[j]), -127, 127))`, so `w ≈ scale[j] * q`. A
/// column of zeros gets the scale 1. A scale is at least 2^-126: smaller ones are subnormal, and soon have no finite
/// reciprocal.
///
/// # Errors
/// [`Error::BadNumber`] if a weight is NaN or infinite, [`Error::Overflow`] if the result does not fit in memory.
///
/// # Examples
/// ```
/// use gemmill::{MatRef, quant};
/// let weights = [1.27f32, 0.0, -0.5, 0.0];
/// let (q, scales) = quant::symmetric_per_column(MatRef::row_major(&weights, 2, 2)?)?;
/// assert_eq!(q, [127, 0, -50, 0]);
/// assert_eq!(scales, [0.01, 1.0]);
/// # Ok::<(), gemmill::Error>(())
/// ```
pub fn symmetric_per_column(weights: MatRef<'_, f32>) -> Result<(Vec<i8>, Vec<f32>)> {
    in_default_float_mode(|| {
        let mut quantized = zeros(weights.rows(), weights.cols())?;
        let scales: Vec<f32> = column_magnitudes(weights)?.into_iter().map(scale_for).collect();
        quantize_into(weights, &scales, &mut quantized)?;
        Ok((quantized, scales))
    })
}

/// Quantizes `K × N` weights to `i8` by one scale for all: the weights, row-major, and the scale.
///
/// `scale = max |w| / 127`, otherwise as [`symmetric_per_column`].
///
/// # Errors
/// As [`symmetric_per_column`].
///
/// # Examples
/// ```
/// use gemmill::{MatRef, quant};
/// let weights = [1.27f32, 0.02, -0.5, 0.0];
/// let (q, scale) = quant::symmetric_per_tensor(MatRef::row_major(&weights, 2, 2)?)?;
/// assert_eq!((q, scale), (vec![127, 2, -50, 0], 0.01));
/// # Ok::<(), gemmill::Error>(())
/// ```
pub fn symmetric_per_tensor(weights: MatRef<'_, f32>) -> Result<(Vec<i8>, f32)> {
    in_default_float_mode(|| {
        let mut quantized = zeros(weights.rows(), weights.cols())?;
        let scale = scale_for(column_magnitudes(weights)?.into_iter().fold(0.0, f32::max));
        quantize_into(weights, &filled("scales", weights.cols(), scale)?, &mut quantized)?;
        Ok((quantized, scale))
    })
}

/// The scale for weights whose largest magnitude is `largest`.
fn scale_for(largest: f32) -> f32 {
    if largest == 0.0 { 1.0 } else { (largest / LARGEST).max(f32::MIN_POSITIVE) }
}

/// `rows * cols` zeros. A view may have more elements than its slice, even more than fit in memory.
fn zeros<T: Element>(rows: usize, cols: usize) -> Result<Vec<T>> {
    const WHAT: &str = "quantized weights";
    let len = rows.checked_mul(cols).ok_or(Error::Overflow { what: WHAT })?;
    filled(WHAT, len, T::default())
}

/// The largest magnitude in every column.
fn column_magnitudes(weights: MatRef<'_, f32>) -> Result<Vec<f32>> {
    let mut largest = zeros(1, weights.cols())?;
    for_each_row(weights, |_, row| {
        let all_finite = vectorize(|| {
            let mut all_finite = true;
            for (m, &w) in largest.iter_mut().zip(row) {
                let magnitude = w.abs();
                all_finite &= magnitude <= f32::MAX;
                *m = larger(magnitude, *m);
            }
            all_finite
        });
        match row.iter().find(|w| !all_finite && !w.is_finite()) {
            Some(&given) => Err(Error::BadNumber { what: "weight", expected: "a finite number", given }),
            None => Ok(()),
        }
    })?;
    Ok(largest)
}

/// The weights divided by their columns' scales and rounded, row-major.
fn quantize_into(weights: MatRef<'_, f32>, scales: &[f32], dst: &mut [i8]) -> Result<()> {
    let mut inverses = filled("scales", scales.len(), 0f32)?;
    inverses.iter_mut().zip(scales).for_each(|(inverse, scale)| *inverse = 1.0 / scale);
    for_each_row(weights, |i, row| {
        let dst = &mut dst[i * row.len()..][..row.len()];
        vectorize(|| {
            for ((q, &w), &inverse) in dst.iter_mut().zip(row).zip(&inverses) {
                *q = round(clamp(w * inverse, -LARGEST, LARGEST)) as i8;
            }
        });
        Ok(())
    })
}

/// Calls `f` with the index and the elements of every row that has any.
fn for_each_row(weights: MatRef<'_, f32>, mut f: impl FnMut(usize, &[f32]) -> Result<()>) -> Result<()> {
    if weights.cols() == 0 {
        return Ok(());
    }
    let mut gathered = Vec::new();
    if !weights.is_contiguous_rows() {
        gathered = with_capacity("a row of weights", weights.cols())?;
    }
    for i in 0..weights.rows() {
        if let Some(row) = weights.row(i) {
            f(i, row)?;
        } else {
            gathered.clear();
            gathered.extend((0..weights.cols()).map(|j| weights.at(i, j)));
            f(i, &gathered)?;
        }
    }
    Ok(())
}
