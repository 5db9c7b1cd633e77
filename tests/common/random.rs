//! Random numbers, and the kinds of data that reach the corners of the library.

use gemmill::quant::QuantElement;

/// SplitMix64: every seed is as good as every other, so `seed + case` seeds a case.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number in `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// A number in `low..=high`.
    pub fn range(&mut self, low: i32, high: i32) -> i32 {
        low + self.below((high - low) as usize + 1) as i32
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// In `0.0..1.0`.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// About normal, of mean 0 and variance 1: the sum of eight bytes.
    pub fn gaussian(&mut self) -> f32 {
        let sum: u32 = self.bits().to_le_bytes().into_iter().map(u32::from).sum();
        (sum as f32 - 1020.0) / 209.0
    }

    /// Any finite f32 whose magnitude is at most `2^exponent`, exponents being equally likely; sometimes zero.
    pub fn real(&mut self, exponent: i32) -> f32 {
        let sign = if self.one_in(2) { -1.0 } else { 1.0 };
        if self.one_in(16) {
            return 0.0 * sign;
        }
        sign * (self.unit() + 1.0) * 2f32.powi(self.range(-30, exponent - 1))
    }
}

/// Kinds of 8-bit data. A value is a code in `0..=255`, from the smallest value of the type to its largest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Values {
    /// The smallest value everywhere.
    Min,
    /// The largest value everywhere.
    Max,
    /// The smallest or the largest.
    Corners,
    /// The smallest and the largest in turn: pairs of equal and of opposite sign, by row and column.
    Alternating,
    /// Any value.
    Uniform,
    /// 16 values around the middle.
    Int4,
    /// The lower 7 bits, around the middle.
    SevenBit,
    /// Around the middle, with this standard deviation; the tails are cut off at the extremes.
    Gaussian(f32),
    /// Gaussian, but one in some hundred is an extreme: a step that overflows among many that don't.
    Outliers(f32),
    /// The middle nearly everywhere, or the smallest value nearly everywhere.
    Sparse,
}

impl Values {
    /// Weights that between them reach every sequence, and the extremes.
    pub const WEIGHTS: [Values; 16] = [
        Values::Min,
        Values::Max,
        Values::Corners,
        Values::Alternating,
        Values::Uniform,
        Values::Uniform,
        Values::Int4,
        Values::SevenBit,
        Values::Gaussian(4.0),
        Values::Gaussian(8.0),
        Values::Gaussian(12.0),
        Values::Gaussian(18.0),
        Values::Gaussian(30.0),
        Values::Gaussian(60.0),
        Values::Outliers(8.0),
        Values::Sparse,
    ];

    /// Activations.
    pub const ACTIVATIONS: [Values; 6] =
        [Values::Min, Values::Max, Values::Corners, Values::Uniform, Values::Gaussian(40.0), Values::Sparse];

    /// The code at `(i, j)`.
    pub fn code(self, rng: &mut Rng, i: usize, j: usize) -> u8 {
        let gaussian = |rng: &mut Rng, sigma: f32| (128.0 + sigma * rng.gaussian()).clamp(0.0, 255.0) as u8;
        match self {
            Values::Min => 0,
            Values::Max => 255,
            Values::Corners => rng.pick(&[0, 255]),
            Values::Alternating => [0, 255, 255, 0][(i + j) % 4],
            Values::Uniform => rng.bits() as u8,
            Values::Int4 => 120 + rng.below(16) as u8,
            Values::SevenBit => 64 + rng.below(128) as u8,
            Values::Gaussian(sigma) => gaussian(rng, sigma),
            Values::Outliers(sigma) => {
                if rng.one_in(150) {
                    rng.pick(&[0, 255])
                } else {
                    gaussian(rng, sigma)
                }
            }
            Values::Sparse => {
                if rng.one_in(20) {
                    rng.bits() as u8
                } else {
                    128
                }
            }
        }
    }
}

/// The value of a code.
pub fn decode<T: QuantElement>(code: u8) -> T {
    T::from_i32(T::LOW + i32::from(code))
}
