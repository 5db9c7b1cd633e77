//! Operands to measure with: weights and activations from a seeded generator.

use anyhow::{Result, bail};
use gemmill::{MatRef, PerColumn};

use crate::args::{Shape, WeightKind};
use crate::op::Type;

/// SplitMix64: small, seedable, and the same numbers on every machine.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// 64 uniform bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `low..=high`, which must not be empty.
    pub fn integer(&mut self, low: i32, high: i32) -> i32 {
        let count = (i64::from(high) - i64::from(low) + 1) as u64;
        // The high half of a 32 × 32-bit product: uniform up to 2^-32, without a division.
        low.wrapping_add((((self.bits() >> 32) * count) >> 32) as i32)
    }

    /// Two independent normal variables (Box and Muller).
    fn normal_pair(&mut self) -> [f32; 2] {
        const TO_UNIT: f32 = 1.0 / (1u32 << 24) as f32;
        let bits = self.bits();
        // In (0, 1], so that the logarithm is finite.
        let radius = (-2.0 * (((bits >> 40) + 1) as f32 * TO_UNIT).ln()).sqrt();
        let (sin, cos) = ((bits & 0xff_ffff) as f32 * TO_UNIT * std::f32::consts::TAU).sin_cos();
        [radius * cos, radius * sin]
    }

    /// `len` independent normal variables.
    pub fn normal(&mut self, len: usize) -> Vec<f32> {
        let mut values = Vec::with_capacity(len + 1);
        while values.len() < len {
            values.extend(self.normal_pair());
        }
        values.truncate(len);
        values
    }
}

/// Row-major weights (k × n).
#[derive(Debug, Clone)]
pub enum Values {
    I8(Vec<i8>),
    U8(Vec<u8>),
}

/// A scale for all columns or one for each, owned.
#[derive(Debug, Clone)]
pub enum Scales {
    Tensor(f32),
    Column(Vec<f32>),
}

impl Scales {
    /// As the library takes them.
    pub fn as_per_column(&self) -> PerColumn<'_, f32> {
        match self {
            Scales::Tensor(s) => PerColumn::Tensor(*s),
            Scales::Column(s) => PerColumn::Column(s),
        }
    }

    /// The scale of column `j`.
    pub fn at(&self, j: usize) -> f32 {
        match self {
            Scales::Tensor(s) => *s,
            Scales::Column(s) => s[j],
        }
    }

    /// Every scale multiplied by `factor`.
    pub fn times(&self, factor: f32) -> Scales {
        match self {
            Scales::Tensor(s) => Scales::Tensor(s * factor),
            Scales::Column(s) => Scales::Column(s.iter().map(|s| s * factor).collect()),
        }
    }
}

/// Weights with what an epilogue needs to know about them.
#[derive(Debug, Clone)]
pub struct Weights {
    pub values: Values,
    /// What a step of the weights is worth.
    pub scales: Scales,
    /// 0 for i8 weights, 128 for u8 weights: u8 weights are the i8 ones plus 128.
    pub zero_point: i32,
}

/// Integer weights of a shape.
pub fn weights(kind: WeightKind, b: Type, shape: &Shape, random: &mut Random) -> Result<Weights> {
    let len = shape.k * shape.n;
    let mut uniform = |low: i32, high: i32| -> (Vec<i8>, Scales) {
        ((0..len).map(|_| random.integer(low, high) as i8).collect(), Scales::Tensor(0.02))
    };
    let (signed, scales) = match kind {
        WeightKind::Uniform => uniform(-128, 127),
        WeightKind::Safe => uniform(-64, 63),
        WeightKind::Int4 => uniform(-8, 7),
        WeightKind::Gaussian => bail!("gaussian weights are no integers"),
        WeightKind::PerTensor | WeightKind::PerColumn => {
            let real = random.normal(len);
            let real = MatRef::row_major(&real, shape.k, shape.n)?;
            if kind == WeightKind::PerTensor {
                let (values, scale) = gemmill::quant::symmetric_per_tensor(real)?;
                (values, Scales::Tensor(scale))
            } else {
                let (values, scales) = gemmill::quant::symmetric_per_column(real)?;
                (values, Scales::Column(scales))
            }
        }
    };
    Ok(match b {
        Type::U8 => {
            let shifted = signed.into_iter().map(|w| (w as u8) ^ 0x80).collect();
            Weights { values: Values::U8(shifted), scales, zero_point: 128 }
        }
        _ => Weights { values: Values::I8(signed), scales, zero_point: 0 },
    })
}

/// u8 activations, uniform in `0..=max`.
pub fn activations_u8(len: usize, max: u8, random: &mut Random) -> Vec<u8> {
    (0..len).map(|_| random.integer(0, i32::from(max)) as u8).collect()
}

/// i8 activations, uniform in the full range.
pub fn activations_i8(len: usize, random: &mut Random) -> Vec<i8> {
    (0..len).map(|_| random.integer(-128, 127) as i8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_cover_their_range() {
        let mut random = Random::new(1);
        let values: Vec<i32> = (0..1000).map(|_| random.integer(-8, 7)).collect();
        assert_eq!((values.iter().min(), values.iter().max()), (Some(&-8), Some(&7)));
    }

    #[test]
    fn normal_variables_have_mean_0_and_variance_1() {
        let values = Random::new(2).normal(100_001);
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let variance = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
        assert!(values.iter().all(|v| v.is_finite()));
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        assert_eq!(Random::new(7).normal(9), Random::new(7).normal(9));
    }
}
