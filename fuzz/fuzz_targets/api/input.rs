//! What a case consists of: sizes, strides and parameters, and data that follow from a few of the input's bytes.
//!
//! Most refusals are alike, so most cases are kept from them: parameters are brought into their ranges, and options
//! that do not go together are dropped, unless a byte says otherwise.

use arbitrary::Arbitrary;
use gemmill::quant::QuantElement;
use gemmill::{Element, MatRef, QuantParams};

use crate::common::operand::Params;
use crate::common::random::{Rng, decode};
use crate::output::Output;

#[derive(Arbitrary, Debug)]
pub struct Input {
    rows: u8,
    group_cols: u8,
    k: u16,
    groups: u8,
    pub seed: u64,
    pub a: Operand,
    pub b: Operand,
    pub before_guard: bool,
    pub b_is_signed: bool,
    activations: Activations,
    /// Of f32 activations.
    quantization: (Real, Int),
    a_zero_point: Int,
    row_zero_points: Option<Parameter<Int>>,
    /// Of an f32 output.
    a_scale: Option<Real>,
    row_scales: Option<Parameter<Real>>,
    pub b_zero_points: Parameter<Int>,
    /// At 255, options that don't go together stay.
    any_options: u8,
    activation_max: Option<u8>,
    pub quick: bool,
    pub kc: Option<u16>,
    pub tier: u8,
    pub threads: u8,
    pub c_gap: u8,
    pub c_row_too_many: u8,
    pub output: Output,
}

impl Input {
    pub fn rows(&self) -> usize {
        usize::from(self.rows) % 41
    }

    /// Up to three, rarely none.
    pub fn groups(&self) -> usize {
        match self.groups {
            255 => 0,
            groups => usize::from(groups) % 3 + 1,
        }
    }

    pub fn n(&self) -> usize {
        usize::from(self.group_cols) % 81 * self.groups() + usize::from(self.group_cols == 255)
    }

    /// Small where the rest is large: the reference is slow.
    pub fn k(&self) -> usize {
        let most = 60_000 / (self.rows() * self.n()).max(1);
        usize::from(self.k) % most.clamp(2, 300)
    }

    fn sensible(&self) -> bool {
        self.any_options != 255
    }

    pub fn activations(&self) -> Activations {
        match (self.activations, &self.output) {
            (Activations::Dynamic, Output::F32(_)) => Activations::Dynamic,
            (Activations::Dynamic, _) if self.sensible() => Activations::Static,
            (given, _) => given,
        }
    }

    fn reals(&self) -> bool {
        matches!(self.activations, Activations::Static | Activations::Dynamic)
    }

    pub fn quantization(&self) -> gemmill::Result<QuantParams<u8>> {
        QuantParams::new(self.quantization.0.positive(), self.quantization.1.within(0, 255))
    }

    pub fn a_zero_point(&self) -> i32 {
        match self.activations {
            Activations::U8 => self.a_zero_point.within(0, 255),
            Activations::I8 => self.a_zero_point.within(-128, 127),
            _ if self.sensible() => 0,
            _ => self.a_zero_point.within(0, 1),
        }
    }

    pub fn row_zero_points(&self) -> Option<Vec<i32>> {
        let low = if self.activations == Activations::I8 { -128 } else { 0 };
        let given = self.row_zero_points.filter(|_| !(self.reals() && self.sensible()));
        given.map(|values| values.repeat(self.rows(), |z| z.within(low, low + 255)))
    }

    pub fn a_scale(&self) -> Option<f32> {
        let given = self.a_scale.map(Real::positive);
        match self.sensible() {
            true if self.reals() => None,
            true => given.or(Some(1.0)),
            false => given,
        }
    }

    pub fn row_scales(&self) -> Option<Vec<f32>> {
        let useless = self.reals() || !matches!(self.output, Output::F32(_));
        let given = self.row_scales.filter(|_| !(useless && self.sensible()));
        given.map(|values| values.repeat(self.rows(), Real::positive))
    }

    pub fn activation_max(&self) -> u8 {
        let useless = self.activations != Activations::U8;
        self.activation_max.filter(|_| !(useless && self.sensible())).unwrap_or(255)
    }

    /// The largest code of activations.
    pub fn largest_code(&self) -> u8 {
        if self.sensible() { self.activation_max() } else { 255 }
    }
}

/// Activations, and how they become u8.
#[derive(Arbitrary, Debug, Clone, Copy, PartialEq)]
pub enum Activations {
    U8,
    I8,
    Static,
    Dynamic,
}

#[derive(Arbitrary, Debug, Clone, Copy)]
pub struct Int {
    bits: i32,
    /// Out of range, perhaps, at 255.
    any: u8,
}

impl Int {
    pub fn get(self) -> i32 {
        self.bits
    }

    pub fn within(self, low: i32, high: i32) -> i32 {
        if self.any == 255 { self.bits } else { low + self.bits.rem_euclid(high - low + 1) }
    }
}

#[derive(Arbitrary, Debug, Clone, Copy)]
pub struct Real {
    bits: u32,
    /// Any f32 at 255, any finite one at 254, otherwise one of moderate size.
    any: u8,
}

impl Real {
    /// A number for scales and multipliers.
    pub fn positive(self) -> f32 {
        match self.any {
            255 => f32::from_bits(self.bits),
            254 => f32::from_bits((self.bits >> 1).min(f32::MAX.to_bits())),
            // From 2^-32 to 2^29.
            exponent => f32::from_bits((95 + u32::from(exponent ^ 8) % 16 * 4) << 23 | self.bits >> 9),
        }
    }

    pub fn signed(self) -> f32 {
        match self.any {
            255 => f32::from_bits(self.bits),
            _ if self.bits & 1 == 0 => self.positive(),
            _ => -self.positive(),
        }
    }
}

/// Parameters of columns or rows: values that repeat.
#[derive(Arbitrary, Debug, Clone, Copy)]
pub struct Parameter<T> {
    kind: u8,
    values: [T; 3],
    /// One value too many at 255.
    too_many: u8,
}

impl<T: Copy> Parameter<T> {
    /// One for each of `count`.
    pub fn repeat<V>(self, count: usize, value: impl Fn(T) -> V) -> Vec<V> {
        let count = count + usize::from(self.too_many == 255);
        (0..count).map(|i| value(self.values[i % 3])).collect()
    }

    /// One, or one for each group or column.
    pub fn expand<V>(self, cols: usize, groups: usize, value: impl Fn(T) -> V) -> Params<V> {
        match self.kind % 3 {
            0 => Params::Tensor(value(self.values[0])),
            1 => Params::Group(self.repeat(groups, value)),
            _ => Params::Column(self.repeat(cols, value)),
        }
    }
}

/// Strides and data of an operand.
#[derive(Arbitrary, Debug)]
pub struct Operand {
    order: u8,
    strides: [u8; 2],
    /// One element too few at 255.
    too_few: u8,
    /// Repeated over the operand in as many of 256 places as `steady`; other places are random.
    codes: [u8; 8],
    steady: u8,
    spread: i8,
}

impl Operand {
    fn strides(&self, (rows, cols): (usize, usize)) -> (usize, usize) {
        let gap = usize::from(self.strides[0] % 8);
        match self.order % 6 {
            0 | 1 => (cols, 1),
            2 => (cols + gap, 1),
            3 => (1, rows + gap),
            4 => (2 * cols + gap, 2),
            _ => (self.strides[0].into(), self.strides[1].into()),
        }
    }

    fn len(&self, shape: (usize, usize)) -> usize {
        let (rs, cs) = self.strides(shape);
        let len = if shape.0 == 0 || shape.1 == 0 { 0 } else { (shape.0 - 1) * rs + (shape.1 - 1) * cs + 1 };
        if self.too_few == 255 { len.saturating_sub(1) } else { len }
    }

    fn code(&self, rng: &mut Rng, place: usize) -> u8 {
        if rng.below(256) < usize::from(self.steady) { self.codes[place % self.codes.len()] } else { rng.bits() as u8 }
    }

    /// 8-bit numbers, none of a code above `max`.
    pub fn data<T: QuantElement>(&self, rng: &mut Rng, shape: (usize, usize), max: u8) -> Vec<T> {
        (0..self.len(shape)).map(|place| decode(self.code(rng, place).min(max))).collect()
    }

    /// Numbers of some magnitude, and what else an f32 can be.
    pub fn reals(&self, rng: &mut Rng, shape: (usize, usize)) -> Vec<f32> {
        let special = [f32::NAN, -0.0, 1e-45, f32::INFINITY, f32::MAX, f32::MIN_POSITIVE, -f32::MAX, f32::NEG_INFINITY];
        let mut real = |place| match self.code(rng, place) {
            code @ 0..8 if self.spread % 4 == 0 => special[usize::from(code)],
            code => (f32::from(code) - 128.0) * 2f32.powi((self.spread / 8).into()),
        };
        (0..self.len(shape)).map(&mut real).collect()
    }

    pub fn view<'a, T: Element>(&self, data: &'a [T], shape: (usize, usize)) -> gemmill::Result<MatRef<'a, T>> {
        let (rs, cs) = self.strides(shape);
        MatRef::with_strides(data, shape.0, shape.1, rs, cs)
    }
}
