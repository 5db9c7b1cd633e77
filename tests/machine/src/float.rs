//! Arithmetic on f32 lanes, and conversions: IEEE 754, rounded to nearest even, denormals kept, with NaNs as the SDM
//! has them.

use iced_x86::Mnemonic;

use crate::bf16::dot_pair;
use crate::half::{self, Rounding};
use crate::integer::{added, both, converted, one};
use crate::state::Vector;
use crate::vector::{Access, Entry, Extent, Function, Layout, Sources};

/// A function of f32 lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Float {
    Add,
    Subtract,
    Multiply,
    Divide,
    /// The second source unless the first one is larger.
    Max,
    /// The second source unless the first one is smaller.
    Min,
    /// `destination × second + first`
    MultiplyAdd132,
    /// `first × destination + second`
    MultiplyAdd213,
    /// `first × second + destination`
    MultiplyAdd231,
    /// Two products of bf16 for each lane.
    DotBf16,
    FromI32,
    /// `i32::MIN` for NaN and for what does not fit.
    ToI32,
    FromF16,
    /// Rounded as the immediate number says.
    ToF16,
}

/// What invalid operations give.
const DEFAULT_NAN: u32 = 0xffc0_0000;

impl Float {
    pub(crate) fn lookup(mnemonic: Mnemonic, layout: Layout) -> Option<Entry> {
        let function = match (mnemonic, layout) {
            (Mnemonic::Vaddps, Layout::Three) => Float::Add,
            (Mnemonic::Vsubps, Layout::Three) => Float::Subtract,
            (Mnemonic::Vmulps, Layout::Three) => Float::Multiply,
            (Mnemonic::Vdivps, Layout::Three) => Float::Divide,
            (Mnemonic::Vmaxps, Layout::Three) => Float::Max,
            (Mnemonic::Vminps, Layout::Three) => Float::Min,
            (Mnemonic::Vfmadd132ps, Layout::Three) => Float::MultiplyAdd132,
            (Mnemonic::Vfmadd213ps, Layout::Three) => Float::MultiplyAdd213,
            (Mnemonic::Vfmadd231ps, Layout::Three) => Float::MultiplyAdd231,
            (Mnemonic::Vdpbf16ps, Layout::Three) => Float::DotBf16,
            (Mnemonic::Vcvtdq2ps, Layout::Two) => Float::FromI32,
            (Mnemonic::Vcvtps2dq, Layout::Two) => Float::ToI32,
            (Mnemonic::Vcvtph2ps, Layout::Two) => Float::FromF16,
            (Mnemonic::Vcvtps2ph, Layout::TwoImmediate) => {
                let function = Function::Float(Float::ToF16);
                return Some(Entry { function, element: 2, access: Access::Active, result: Extent::Fraction(2) });
            }
            _ => return None,
        };
        Some(Entry::new(Function::Float(function), 4, Access::Active))
    }

    #[inline]
    pub(crate) fn apply(self, s: &Sources) -> Vector {
        match self {
            Float::Add => both(s, |a, b| result([a, b], f32::from_bits(a) + f32::from_bits(b))),
            Float::Subtract => both(s, |a, b| result([a, b], f32::from_bits(a) - f32::from_bits(b))),
            Float::Multiply => both(s, |a, b| result([a, b], f32::from_bits(a) * f32::from_bits(b))),
            Float::Divide => both(s, |a, b| result([a, b], f32::from_bits(a) / f32::from_bits(b))),
            Float::Max => both(s, |a, b| if f32::from_bits(a) > f32::from_bits(b) { a } else { b }),
            Float::Min => both(s, |a, b| if f32::from_bits(a) < f32::from_bits(b) { a } else { b }),
            Float::MultiplyAdd132 => added(s, |old, a, b| multiply_add(old, b, a)),
            Float::MultiplyAdd213 => added(s, |old, a, b| multiply_add(a, old, b)),
            Float::MultiplyAdd231 => added(s, |old, a, b| multiply_add(a, b, old)),
            Float::DotBf16 => added(s, dot_pair),
            Float::FromI32 => one(s, |x: u32| (x as i32 as f32).to_bits()),
            Float::ToI32 => one(s, |x: u32| to_i32(f32::from_bits(x)) as u32),
            Float::FromF16 => converted(s, half::to_f32),
            Float::ToF16 => {
                let rounding = Rounding::of_immediate(s.immediate);
                converted(s, |x| half::from_f32(x, rounding))
            }
        }
    }
}

/// The first operand that is NaN, made quiet; otherwise the value, if it is no NaN.
#[inline]
fn result<const N: usize>(operands: [u32; N], value: f32) -> u32 {
    if !value.is_nan() {
        return value.to_bits();
    }
    match operands.into_iter().find(|&x| f32::from_bits(x).is_nan()) {
        Some(nan) => nan | 0x0040_0000,
        None => DEFAULT_NAN,
    }
}

fn multiply_add(x: u32, y: u32, z: u32) -> u32 {
    result([x, y, z], f32::from_bits(x).mul_add(f32::from_bits(y), f32::from_bits(z)))
}

fn to_i32(x: f32) -> i32 {
    let rounded = x.round_ties_even();
    // 2^31 is the first number that does not fit.
    if (-2147483648.0..2147483648.0).contains(&rounded) { rounded as i32 } else { i32::MIN }
}
