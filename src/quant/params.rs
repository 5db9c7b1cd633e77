//! Scale and zero point of a tensor, and the conversions that they define.

use std::marker::PhantomData;

use gemmill_codegen::{in_default_float_mode, vectorize};

use super::choose::{Choose, choose};
use super::element::QuantElement;
use super::rows::{dequantize_row_into, quantize_row_by_division, quantize_row_into};
use crate::error::{Error, Result};

/// Scale and zero point of a tensor of `u8` or `i8`: `x ≈ scale * (q - zero_point)`.
///
/// The scale is finite, above 0 and has a finite reciprocal; the zero point is a value of `T`, so that the real number
/// 0 is represented exactly.
///
/// # Examples
/// ```
/// use gemmill::quant::QuantParams;
/// let params = QuantParams::<i8>::new(0.5, 10)?;
/// let mut q = [0i8; 3];
/// params.quantize(&[0.0, 1.0, -1000.0], &mut q)?;
/// assert_eq!(q, [10, 12, -128]);
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuantParams<T> {
    scale: f32,
    inverse: f32,
    zero_point: i32,
    element: PhantomData<T>,
}

/// A scale, if it is usable as one.
pub(crate) fn check_scale(what: &'static str, scale: f32) -> Result<f32> {
    if scale.is_finite() && scale > 0.0 && (1.0 / scale).is_finite() {
        return Ok(scale);
    }
    Err(Error::BadNumber { what, expected: "a finite number above 0 with a finite reciprocal", given: scale })
}

impl<T: QuantElement> QuantParams<T> {
    /// Parameters with this scale and zero point.
    ///
    /// # Errors
    /// [`Error::BadNumber`] unless `scale` is finite, above 0 and has a finite reciprocal; [`Error::OutOfRange`] unless
    /// `zero_point` is a value of `T`.
    ///
    /// # Examples
    /// ```
    /// use gemmill::quant::QuantParams;
    /// assert!(QuantParams::<u8>::new(0.02, 128).is_ok());
    /// assert!(QuantParams::<i8>::new(0.02, 128).is_err());
    /// assert!(QuantParams::<u8>::new(0.0, 128).is_err());
    /// ```
    pub fn new(scale: f32, zero_point: i32) -> Result<Self> {
        let inverse = in_default_float_mode(|| check_scale("scale", scale).map(|scale| 1.0 / scale))?;
        if !(T::LOW..=T::HIGH).contains(&zero_point) {
            let (low, high) = (i64::from(T::LOW), i64::from(T::HIGH));
            return Err(Error::OutOfRange { what: "zero point", low, high, given: i64::from(zero_point) });
        }
        Ok(QuantParams { scale, inverse, zero_point, element: PhantomData })
    }

    /// Parameters that represent the real numbers `min..=max`, extended to contain 0.
    ///
    /// The scale is `(max - min) / 255` and the zero point the integer nearest to where 0 falls, with the exceptions
    /// that [`Choose`] lists. The numbers are FBGEMM's `ChooseQuantizationParams`, its floor being an option.
    ///
    /// # Errors
    /// [`Error::BadNumber`] if a bound is NaN or infinite, or `min > max`.
    ///
    /// # Examples
    /// ```
    /// use gemmill::quant::{Choose, QuantParams};
    /// let asymmetric = QuantParams::<u8>::from_min_max(-1.0, 4.1, Choose::default())?;
    /// assert_eq!((asymmetric.scale(), asymmetric.zero_point()), (0.02, 50));
    /// let choose = Choose { preserve_sparsity: true, ..Choose::default() };
    /// let symmetric = QuantParams::<i8>::from_min_max(-1.6165, 0.5685, choose)?;
    /// assert_eq!((symmetric.scale(), symmetric.zero_point()), (0.012628906, 0));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn from_min_max(min: f32, max: f32, choose_how: Choose) -> Result<Self> {
        let expected = "a finite number";
        for (what, given) in [("min", min), ("max", max)] {
            if !given.is_finite() {
                return Err(Error::BadNumber { what, expected, given });
            }
        }
        if min > max {
            return Err(Error::BadNumber { what: "max", expected: "at least min", given: max });
        }
        let (scale, zero_point) = in_default_float_mode(|| choose(min, max, T::LOW, T::HIGH, choose_how));
        Self::new(scale, zero_point)
    }

    /// The difference of two real numbers whose integers differ by one.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// The integer that stands for 0.
    pub fn zero_point(&self) -> i32 {
        self.zero_point
    }

    /// `1 / scale`, rounded once: what quantization multiplies by.
    pub fn inverse(&self) -> f32 {
        self.inverse
    }

    /// Quantizes every element of `src` into the element of `dst` at its place.
    ///
    /// `t = x * inverse; q = zero_point + rne(clamp(t, LOW - zero_point, HIGH - zero_point))`, `rne` being rounding to
    /// the nearest integer with ties to even. NaN gives the zero point. The bits are those of
    /// [`reference::quantize`](super::reference::quantize).
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the lengths differ.
    ///
    /// # Examples
    /// ```
    /// let params = gemmill::quant::QuantParams::<u8>::new(1.0, 3)?;
    /// let mut q = [0u8; 5];
    /// params.quantize(&[0.5, 1.5, f32::INFINITY, f32::NAN, -9.0], &mut q)?;
    /// assert_eq!(q, [3, 5, 255, 3, 0]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn quantize(&self, src: &[f32], dst: &mut [T]) -> Result<()> {
        same_length(src.len(), dst.len())?;
        in_default_float_mode(|| vectorize(|| quantize_row_into(self.inverse, self.zero_point, src, dst)));
        Ok(())
    }

    /// As [`QuantParams::quantize`], with `t = x / scale` in place of `x * inverse`: what ONNX's `QuantizeLinear` and
    /// `DynamicQuantizeLinear` ask for. The two differ where a product and a quotient round to different sides of a
    /// tie. The bits are those of [`reference::quantize_by_division`](super::reference::quantize_by_division).
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the lengths differ.
    ///
    /// # Examples
    /// ```
    /// use gemmill::quant::{Choose, QuantParams};
    /// let x = [0.0, 2.0, -3.0, -2.5, 1.34, 0.5];
    /// let params = QuantParams::<u8>::from_min_max(-3.0, 2.0, Choose::default())?;
    /// let mut q = [0u8; 6];
    /// params.quantize_by_division(&x, &mut q)?;
    /// assert_eq!(q, [153, 255, 0, 26, 221, 179]);
    /// params.quantize(&x, &mut q)?;
    /// assert_eq!(q, [153, 255, 0, 25, 221, 179]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn quantize_by_division(&self, src: &[f32], dst: &mut [T]) -> Result<()> {
        same_length(src.len(), dst.len())?;
        in_default_float_mode(|| vectorize(|| quantize_row_by_division(self.scale, self.zero_point, src, dst)));
        Ok(())
    }

    /// Turns every element of `src` back into the real number it stands for: `scale * f32(q - zero_point)`.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the lengths differ.
    ///
    /// # Examples
    /// ```
    /// let params = gemmill::quant::QuantParams::<u8>::new(0.5, 3)?;
    /// let mut x = [0f32; 2];
    /// params.dequantize(&[0, 5], &mut x)?;
    /// assert_eq!(x, [-1.5, 1.0]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn dequantize(&self, src: &[T], dst: &mut [f32]) -> Result<()> {
        same_length(src.len(), dst.len())?;
        in_default_float_mode(|| vectorize(|| dequantize_row_into(self.scale, self.zero_point, src, dst)));
        Ok(())
    }
}

fn same_length(src: usize, dst: usize) -> Result<()> {
    if src == dst {
        return Ok(());
    }
    Err(Error::Mismatch { what: "length of the destination against the source", expected: src, given: dst })
}

/// Parameters of a row with elements in `min..=max` that is to be i8 with zero point 0 and at most 127 in magnitude.
pub(crate) fn symmetric_row_params(min: f32, max: f32) -> Result<QuantParams<i8>> {
    if let Some(given) = [min, max].into_iter().find(|x| !x.is_finite()) {
        let what = "activation of a row to quantize";
        return Err(Error::BadNumber { what, expected: "a finite number", given });
    }
    let largest = max.max(-min);
    let scale = largest / 127.0;
    QuantParams::new(if largest == 0.0 { 0.1 } else { scale.max(f32::MIN_POSITIVE) }, 0)
}

/// Parameters for one row of activations whose elements lie in `min..=max`, chosen while the product runs.
pub(crate) fn dynamic_row_params(min: f32, max: f32) -> Result<QuantParams<u8>> {
    QuantParams::from_min_max(min, max, Choose::default())
}
