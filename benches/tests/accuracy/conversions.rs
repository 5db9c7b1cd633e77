//! The table of conversions: half precision, and integers with their scales.

use std::fmt::Write;

use gemmill::MatRef;
use gemmill::convert::{
    bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_bf16_saturating, f32_to_f16, f32_to_f16_saturating,
};
use gemmill::half::{bf16, f16};
use gemmill::quant::{self, Bits, Choose, GroupwiseWeights, QuantElement, QuantParams};

use super::few_bits::DEFAULT;
use super::operands::{Errors, Operands, number};

/// A half-precision format, told by its bits alone.
struct Half {
    name: &'static str,
    exponent_bits: u32,
    fraction_bits: u32,
}

const F16: Half = Half { name: "f16", exponent_bits: 5, fraction_bits: 10 };
const BF16: Half = Half { name: "bf16", exponent_bits: 8, fraction_bits: 7 };

impl Half {
    fn bias(&self) -> i32 {
        (1 << (self.exponent_bits - 1)) - 1
    }

    fn smallest_normal(&self) -> f64 {
        2f64.powi(1 - self.bias())
    }

    /// From here on, the nearest number would be 2 to the power of the largest exponent and one.
    fn first_infinite(&self) -> f64 {
        2f64.powi(self.bias()) * (2.0 - 2f64.powi(-(self.fraction_bits as i32) - 1))
    }

    /// The number that some bits stand for; an infinity for those of infinities and NaN.
    fn number(&self, bits: u16) -> f64 {
        let fraction = f64::from(bits & ((1 << self.fraction_bits) - 1)) * 2f64.powi(-(self.fraction_bits as i32));
        let exponent = i32::from(bits >> self.fraction_bits & ((1 << self.exponent_bits) - 1));
        let magnitude = match exponent {
            0 => fraction * self.smallest_normal(),
            _ if exponent > 2 * self.bias() => f64::INFINITY,
            _ => (1.0 + fraction) * 2f64.powi(exponent - self.bias()),
        };
        if bits >> 15 == 1 { -magnitude } else { magnitude }
    }

    /// The distance of neighbours about `x`.
    fn step(&self, x: f64) -> f64 {
        // The power of two below, by clearing the fraction.
        let power = f64::from_bits(x.abs().to_bits() >> 52 << 52);
        power.max(self.smallest_normal()) * 2f64.powi(-(self.fraction_bits as i32))
    }
}

fn row(text: &mut String, conversion: &str, of: &str, steps: Errors, relative: Option<f64>) {
    let relative = relative.map_or("–".to_owned(), |relative| format!("{relative:.1e}"));
    let (largest, mean) = (steps.largest, steps.mean());
    writeln!(text, "| {conversion} | {of} | {largest:.4} | {mean:.4} | {relative} |").unwrap();
}

pub fn table() -> gemmill::Result<String> {
    let mut text =
        "| conversion | of | largest error, in steps | mean | largest / abs x |\n|---|---|--:|--:|--:|\n".to_owned();
    let numbers = numbers_to_convert();
    let (mut plain, mut saturating) = (vec![f16::ZERO; numbers.len()], vec![f16::ZERO; numbers.len()]);
    f32_to_f16(&numbers, &mut plain)?;
    f32_to_f16_saturating(&numbers, &mut saturating)?;
    to_half(&mut text, &F16, &numbers, plain.iter().zip(&saturating).map(|(p, s)| (p.to_bits(), s.to_bits())));
    let (mut plain, mut saturating) = (vec![bf16::ZERO; numbers.len()], vec![bf16::ZERO; numbers.len()]);
    f32_to_bf16(&numbers, &mut plain)?;
    f32_to_bf16_saturating(&numbers, &mut saturating)?;
    to_half(&mut text, &BF16, &numbers, plain.iter().zip(&saturating).map(|(p, s)| (p.to_bits(), s.to_bits())));
    let all: Vec<u16> = (0..=u16::MAX).collect();
    let mut wide = vec![0f32; all.len()];
    f16_to_f32(&all.iter().map(|&bits| f16::from_bits(bits)).collect::<Vec<_>>(), &mut wide)?;
    from_half(&mut text, &F16, &all, &wide);
    bf16_to_f32(&all.iter().map(|&bits| bf16::from_bits(bits)).collect::<Vec<_>>(), &mut wide)?;
    from_half(&mut text, &BF16, &all, &wide);
    let operands = [0, 1, 2, 5].map(Operands::new);
    activations::<u8>(&mut text, &operands)?;
    activations::<i8>(&mut text, &operands)?;
    weights(&mut text, &operands)?;
    Ok(text)
}

/// Finite numbers of all exponents and both signs.
fn numbers_to_convert() -> Vec<f32> {
    let magnitudes = (0..f32::INFINITY.to_bits()).step_by(997);
    magnitudes.flat_map(|bits| [bits, bits | 1 << 31]).map(f32::from_bits).collect()
}

/// `results` are the bits of plain conversions and of those that saturate.
fn to_half(text: &mut String, half: &Half, numbers: &[f32], results: impl Iterator<Item = (u16, u16)>) {
    let (mut normal, mut subnormal, mut relative) = (Errors::default(), Errors::default(), 0f64);
    for (&x, (plain, saturating)) in numbers.iter().zip(results) {
        let x = f64::from(x);
        let found = half.number(plain);
        if x.abs() >= half.first_infinite() {
            assert_eq!(found, f64::INFINITY.copysign(x), "{x:e} as {}", half.name);
            // The neighbour of infinity.
            assert_eq!(saturating, plain - 1, "{x:e} as {}", half.name);
            continue;
        }
        assert_eq!(saturating, plain, "{x:e} as {}", half.name);
        let error = (found - x).abs();
        let steps = error / half.step(x);
        assert!(steps <= 0.5, "{x:e} became {found:e}");
        if x.abs() >= half.smallest_normal() {
            normal.add(steps);
            relative = relative.max(error / x.abs());
        } else {
            subnormal.add(steps);
        }
    }
    let conversion = format!("f32 → {}", half.name);
    row(text, &conversion, "normal numbers", normal, Some(relative));
    row(text, &conversion, "smaller ones", subnormal, None);
}

fn from_half(text: &mut String, half: &Half, all: &[u16], wide: &[f32]) {
    let mut errors = Errors::default();
    for (x, found) in all.iter().map(|&bits| half.number(bits)).zip(wide).filter(|(x, _)| x.is_finite()) {
        errors.add((f64::from(*found) - x).abs() / f64::from(f32::MIN_POSITIVE));
    }
    row(text, &format!("{} → f32", half.name), "all finite numbers", errors, Some(errors.largest));
}

/// To bytes with the scale that their range gives, and back.
fn activations<T: QuantElement + Into<i32>>(text: &mut String, operands: &[Operands]) -> gemmill::Result<()> {
    let (mut there, mut back, mut relative) = (Errors::default(), Errors::default(), 0f64);
    for Operands { a, .. } in operands {
        let (min, max) = quant::min_max(a).unwrap_or_default();
        let params = QuantParams::<T>::from_min_max(min, max, Choose::default())?;
        let (mut bytes, mut reals) = (vec![T::default(); a.len()], vec![0f32; a.len()]);
        params.quantize(a, &mut bytes)?;
        params.dequantize(&bytes, &mut reals)?;
        let step = f64::from(params.scale());
        for ((&x, &q), &real) in a.iter().zip(&bytes).zip(&reals) {
            let exact = number(params, q);
            there.add((exact - f64::from(x)).abs() / step);
            let error = (f64::from(real) - exact).abs();
            back.add(error / step);
            relative = relative.max(if error == 0.0 { 0.0 } else { error / exact.abs() });
        }
    }
    let name = std::any::type_name::<T>();
    row(text, &format!("f32 → {name}"), "activations", there, None);
    row(text, &format!("{name} → f32"), "activations", back, Some(relative));
    Ok(())
}

/// To symmetric weights of all numbers of bits; a step is the scale of their column or group.
fn weights(text: &mut String, operands: &[Operands]) -> gemmill::Result<()> {
    let mut of_columns = Errors::default();
    let mut of_groups = [Errors::default(); 2];
    let bits = [Bits::Four, Bits::Two];
    for Operands { b, n, k, .. } in operands {
        let view = MatRef::row_major(b, *k, *n)?;
        let (quantized, scales) = quant::symmetric_per_column(view)?;
        for (i, (&x, &q)) in b.iter().zip(&quantized).enumerate() {
            of_columns.add((f64::from(q) - f64::from(x) / f64::from(scales[i % n])).abs());
        }
        for (errors, bits) in of_groups.iter_mut().zip(bits) {
            let format = DEFAULT.with(bits);
            let quantized = GroupwiseWeights::round_to_nearest(view, format)?;
            for (i, &x) in b.iter().enumerate() {
                let (row, column) = (i / n, i % n);
                let weight = quantized.weight(row, column).expect("an element of the weights");
                let scale = quantized.scales()[row / format.group_size.elements() * n + column];
                errors.add((f64::from(weight) - f64::from(x)).abs() / f64::from(scale));
            }
        }
    }
    row(text, "f32 → i8", "weights, a scale for each column", of_columns, None);
    for (errors, bits) in of_groups.into_iter().zip(bits) {
        row(text, &format!("f32 → {} bits", bits.count()), "weights, a scale for 128 of them", errors, None);
    }
    Ok(())
}
