//! Scale and zero point from a range of real numbers, as FBGEMM's `ChooseQuantizationParams` picks them.

/// What to hold on to when parameters are chosen from a range.
///
/// Whatever is chosen here, a range of zero width gets the scale 0.1, and a scale is at least 2^-126, the smallest
/// normal `f32`: its reciprocal is finite.
///
/// # Examples
/// ```
/// use gemmill::quant::{Choose, QuantParams};
/// let how = Choose { power_of_two: true, ..Choose::default() };
/// let params = QuantParams::<u8>::from_min_max(0.0, 100.0, how)?;
/// assert_eq!((params.scale(), params.zero_point()), (0.5, 0));
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Choose {
    /// Where the range has numbers on both sides of 0, widen it until 0 lies in the middle of the integers: the zero
    /// point becomes 0 for `i8` and 128 for `u8`.
    pub preserve_sparsity: bool,
    /// Raise the scale to the next power of two: multiplying by it is then exact.
    pub power_of_two: bool,
    /// Raise scales below 6.1e-5 to that (to 2^-14 where a power of two was asked for), and give 0.1 where the
    /// reciprocal would be infinite, as FBGEMM does: numbers below some 1e-5 all become the zero point.
    pub fbgemm_floor: bool,
}

/// FBGEMM raises scales below this one to it.
const FBGEMM_FLOOR: f32 = 6.1e-5;

/// The same where a power of two was asked for: the smallest one that is not below [`FBGEMM_FLOOR`].
const FBGEMM_POWER_OF_TWO_FLOOR: f32 = 1.0 / 16384.0;

/// `(scale, zero_point)` for finite `min <= max`; the scale has a finite reciprocal, the zero point is in `low..=high`.
///
/// The precision of every step is part of the result: `f32` where an intermediate is stored, `f64` in between.
pub(super) fn choose(mut min: f32, mut max: f32, low: i32, high: i32, how: Choose) -> (f32, i32) {
    let steps = high - low;
    let both_signs = |min: f32, max: f32| min < 0.0 && max > 0.0;

    if both_signs(min, max) && how.preserve_sparsity {
        let below = -(steps / 2 + 1) as f32;
        let above = (steps / 2) as f32;
        let step = f64::max((min / below).abs().into(), (max / above).abs().into());
        min = finite(step * f64::from(below));
        max = finite(step * f64::from(above));
    }
    min = min.min(0.0);
    max = max.max(0.0);

    let mut scale = ((f64::from(max) - f64::from(min)) / f64::from(steps)) as f32;
    if min == max || how.fbgemm_floor && (1.0 / scale).is_infinite() {
        scale = 0.1;
    }
    scale = scale.max(f32::MIN_POSITIVE);
    if how.power_of_two {
        scale = power_of_two_from(scale);
    }
    let smallest = match (how.fbgemm_floor, how.power_of_two) {
        (false, _) => f32::MIN_POSITIVE,
        (true, false) => FBGEMM_FLOOR,
        (true, true) => FBGEMM_POWER_OF_TWO_FLOOR,
    };
    if scale < smallest {
        if min == 0.0 {
            max = smallest * steps as f32;
        } else if max == 0.0 {
            min = -smallest * steps as f32;
        } else {
            let amplifier = smallest / scale;
            min *= amplifier;
            max *= amplifier;
        }
        scale = smallest;
    }

    // Both bounds determine the zero point; the one with the smaller terms does so with the smaller error.
    let min_in_steps = f64::from(min) / f64::from(scale);
    let max_in_steps = f64::from(max) / f64::from(scale);
    let error_from_min = f64::from(low).abs() + min_in_steps.abs();
    let error_from_max = f64::from(high).abs() + max_in_steps.abs();
    let zero_point = if both_signs(min, max) && how.preserve_sparsity {
        f64::from(low + high) / 2.0
    } else if error_from_min < error_from_max {
        f64::from(low) - min_in_steps
    } else {
        f64::from(high) - max_in_steps
    };
    (scale, zero_point.clamp(low.into(), high.into()).round_ties_even() as i32)
}

/// `x` rounded to `f32`, or the nearest finite number where that overflows: the widened range may be 128/127 times
/// as wide as the given one.
fn finite(x: f64) -> f32 {
    (x as f32).clamp(f32::MIN, f32::MAX)
}

/// The smallest power of two that is not below `scale`, a positive normal number below 2^127.
fn power_of_two_from(scale: f32) -> f32 {
    const FRACTION_BITS: u32 = f32::MANTISSA_DIGITS - 1;
    let fraction_mask = (1 << FRACTION_BITS) - 1;
    let bits = scale.to_bits();
    let up = u32::from(bits & fraction_mask != 0);
    f32::from_bits(((bits >> FRACTION_BITS) + up) << FRACTION_BITS)
}
