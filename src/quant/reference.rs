//! The normative formulas, one element at a time: what every faster path must equal bit by bit.

use super::element::QuantElement;
use super::params::QuantParams;

/// `zero_point + rne(clamp(x * inverse, LOW - zero_point, HIGH - zero_point))`; NaN gives the zero point.
///
/// # Examples
/// ```
/// use gemmill::quant::{QuantParams, reference};
/// let params = QuantParams::<u8>::new(0.5, 100)?;
/// assert_eq!(reference::quantize(params, 1.25), 102);
/// # Ok::<(), gemmill::Error>(())
/// ```
pub fn quantize<T: QuantElement>(params: QuantParams<T>, x: f32) -> T {
    of_steps(params.zero_point(), x * params.inverse())
}

/// `zero_point + rne(clamp(x / scale, LOW - zero_point, HIGH - zero_point))`; NaN gives the zero point.
///
/// # Examples
/// ```
/// use gemmill::quant::{QuantParams, reference};
/// let params = QuantParams::<u8>::new(5.0 / 255.0, 153)?;
/// assert_eq!(reference::quantize_by_division(params, -2.5), 26);
/// assert_eq!(reference::quantize(params, -2.5), 25);
/// # Ok::<(), gemmill::Error>(())
/// ```
pub fn quantize_by_division<T: QuantElement>(params: QuantParams<T>, x: f32) -> T {
    of_steps(params.zero_point(), x / params.scale())
}

fn of_steps<T: QuantElement>(zero_point: i32, t: f32) -> T {
    if t.is_nan() {
        return T::from_i32(zero_point);
    }
    let low = (T::LOW - zero_point) as f32;
    let high = (T::HIGH - zero_point) as f32;
    T::from_i32(zero_point + t.clamp(low, high).round_ties_even() as i32)
}

/// `scale * f32(q - zero_point)`.
///
/// # Examples
/// ```
/// use gemmill::quant::{QuantParams, reference};
/// let params = QuantParams::<i8>::new(0.5, -4)?;
/// assert_eq!(reference::dequantize(params, 2), 3.0);
/// # Ok::<(), gemmill::Error>(())
/// ```
pub fn dequantize<T: QuantElement>(params: QuantParams<T>, q: T) -> f32 {
    params.scale() * (q.to_i32() - params.zero_point()) as f32
}

/// Smallest and largest element, NaN left out; `None` if nothing is left. A zero is returned as +0.
///
/// # Examples
/// ```
/// use gemmill::quant::reference;
/// assert_eq!(reference::min_max(&[-2.0, f32::NAN, 5.0]), Some((-2.0, 5.0)));
/// ```
pub fn min_max(data: &[f32]) -> Option<(f32, f32)> {
    let numbers = || data.iter().copied().filter(|x| !x.is_nan());
    let min = numbers().reduce(f32::min)?;
    let max = numbers().reduce(f32::max)?;
    Some((min + 0.0, max + 0.0))
}
