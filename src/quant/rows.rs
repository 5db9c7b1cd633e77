//! Loops over one row, in a form that the compiler vectorises where they are inlined into
//! [`vectorize`](gemmill_codegen::vectorize).

use gemmill_codegen::{in_default_float_mode, vectorize};

use super::element::QuantElement;

/// 1.5 · 2^23. Between 2^23 and 2^24 neighbouring `f32` are 1 apart, so `r + ROUNDER` is rounded to an integer, ties to
/// even (the constant is even), for every `|r| <= 2^22`; and its bits are those of the constant plus that integer.
const ROUNDER: f32 = 12_582_912.0;

/// Quantizes `src` into `dst`, as far as the shorter of them reaches, with `inverse` being 1 / scale.
#[inline(always)]
pub(crate) fn quantize_row_into<T: QuantElement>(inverse: f32, zero_point: i32, src: &[f32], dst: &mut [T]) {
    quantize_row(|x| x * inverse, zero_point, src, dst);
}

/// The same with the scale itself, which elements are divided by.
#[inline(always)]
pub(super) fn quantize_row_by_division<T: QuantElement>(scale: f32, zero_point: i32, src: &[f32], dst: &mut [T]) {
    quantize_row(|x| x / scale, zero_point, src, dst);
}

#[inline(always)]
fn quantize_row<T: QuantElement>(in_steps: impl Fn(f32) -> f32, zero_point: i32, src: &[f32], dst: &mut [T]) {
    let low = (T::LOW - zero_point) as f32;
    let high = (T::HIGH - zero_point) as f32;
    for (q, &x) in dst.iter_mut().zip(src) {
        let t = in_steps(x);
        let t = if t.is_nan() { 0.0 } else { t };
        *q = T::from_i32(round(clamp(t, low, high)) + zero_point);
    }
}

/// The integer nearest to `t`, ties to even, for `|t| <= 2^22`.
#[inline(always)]
pub(super) fn round(t: f32) -> i32 {
    (t + ROUNDER).to_bits().wrapping_sub(ROUNDER.to_bits()) as i32
}

/// `t`, a number, limited to `low..=high`: one `vmaxps`, one `vminps`. (`f32::clamp` keeps NaN, which costs more.)
#[inline(always)]
pub(super) fn clamp(t: f32, low: f32, high: f32) -> f32 {
    smaller(larger(t, low), high)
}

/// Dequantizes `src` into `dst`, as far as the shorter of them reaches.
#[inline(always)]
pub(super) fn dequantize_row_into<T: QuantElement>(scale: f32, zero_point: i32, src: &[T], dst: &mut [f32]) {
    for (x, &q) in dst.iter_mut().zip(src) {
        *x = scale * (q.to_i32() - zero_point) as f32;
    }
}

/// Smallest and largest element, NaN left out; `None` if nothing is left. A zero is returned as +0.
///
/// # Examples
/// ```
/// use gemmill::quant::min_max;
/// assert_eq!(min_max(&[2.0, f32::NAN, -1.0]), Some((-1.0, 2.0)));
/// assert_eq!(min_max(&[f32::NAN]), None);
/// assert_eq!(min_max(&[]), None);
/// ```
pub fn min_max(data: &[f32]) -> Option<(f32, f32)> {
    in_default_float_mode(|| vectorize(|| min_max_row(data)))
}

/// [`min_max`] for use inside [`vectorize`].
#[inline(always)]
pub(crate) fn min_max_row(src: &[f32]) -> Option<(f32, f32)> {
    // Floating-point reductions keep their order, so the lanes that may run side by side are spelled out.
    const LANES: usize = 32;
    let mut low = [f32::INFINITY; LANES];
    let mut high = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = src.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            low[lane] = smaller(chunk[lane], low[lane]);
            high[lane] = larger(chunk[lane], high[lane]);
        }
    }
    for (lane, &x) in rest.iter().enumerate() {
        low[lane] = smaller(x, low[lane]);
        high[lane] = larger(x, high[lane]);
    }
    let min = low.into_iter().fold(f32::INFINITY, |a, b| smaller(b, a));
    let max = high.into_iter().fold(f32::NEG_INFINITY, |a, b| larger(b, a));
    (min <= max).then_some((min + 0.0, max + 0.0))
}

/// The smaller of two numbers, `b` if `a` is NaN: one `vminps`.
#[inline(always)]
fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// The larger of two numbers, `b` if `a` is NaN: one `vmaxps`.
#[inline(always)]
pub(super) fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}
