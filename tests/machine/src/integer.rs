//! Arithmetic on integer lanes.

use bytemuck::Pod;
use iced_x86::Mnemonic;

use crate::state::Vector;
use crate::vector::{Access, Entry, Extent, Function, Layout, Sources};

/// A function of integer lanes. The number in a name is the lane's width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Integer {
    And,
    AndNot,
    Or,
    Xor,
    /// Any function of three bits: the immediate number is its truth table.
    Ternary,
    AddI16,
    AddSaturatingI16,
    AddI32,
    SubtractI32,
    /// Low half of the product.
    MultiplyI32,
    MinU8,
    MaxU8,
    MinI8,
    MaxI8,
    MinI32,
    MaxI32,
    /// `u8 × i8`, pairs summed with saturation to i16.
    MultiplyPairsU8I8,
    /// `i16 × i16`, pairs summed to i32.
    MultiplyPairsI16,
    /// `u8 × i8`, quads added to i32.
    DotU8I8,
    /// `i16 × i16`, pairs added to i32.
    DotI16,
    /// Sums of neighbours in each 128-bit lane: two of the first source, two of the second.
    HorizontalAddI32,
    ShiftLeft16,
    ShiftLeft32,
    ShiftRight16,
    ShiftRight32,
    ShiftRightArithmetic16,
    ShiftRightArithmetic32,
    ZeroExtend {
        from: u8,
        to: u8,
    },
    SignExtend {
        from: u8,
        to: u8,
    },
    TruncateI32I8,
    TruncateI16I8,
    SaturateI32I8,
    SaturateU32U8,
}

impl Integer {
    pub(crate) fn lookup(mnemonic: Mnemonic, layout: Layout) -> Option<Entry> {
        use Access::{Active, Whole};
        use Integer as I;
        use Layout::{Three, ThreeImmediate, Two, TwoImmediate};
        use Mnemonic as M;
        let narrowing = |function, result| {
            Some(Entry { function: Function::Integer(function), element: 1, access: Active, result })
        };
        let (function, element, access) = match (mnemonic, layout) {
            (M::Vpand | M::Vpandd, Three) => (I::And, 4, Active),
            (M::Vpandq, Three) => (I::And, 8, Active),
            (M::Vpandn | M::Vpandnd, Three) => (I::AndNot, 4, Active),
            (M::Vpandnq, Three) => (I::AndNot, 8, Active),
            (M::Vpor | M::Vpord, Three) => (I::Or, 4, Active),
            (M::Vporq, Three) => (I::Or, 8, Active),
            (M::Vpxor | M::Vpxord, Three) => (I::Xor, 4, Active),
            (M::Vpxorq, Three) => (I::Xor, 8, Active),
            (M::Vpternlogd, ThreeImmediate) => (I::Ternary, 4, Active),
            (M::Vpternlogq, ThreeImmediate) => (I::Ternary, 8, Active),
            (M::Vpaddw, Three) => (I::AddI16, 2, Active),
            (M::Vpaddsw, Three) => (I::AddSaturatingI16, 2, Active),
            (M::Vpaddd, Three) => (I::AddI32, 4, Active),
            (M::Vpsubd, Three) => (I::SubtractI32, 4, Active),
            (M::Vpmulld, Three) => (I::MultiplyI32, 4, Active),
            (M::Vpminub, Three) => (I::MinU8, 1, Active),
            (M::Vpmaxub, Three) => (I::MaxU8, 1, Active),
            (M::Vpminsb, Three) => (I::MinI8, 1, Active),
            (M::Vpmaxsb, Three) => (I::MaxI8, 1, Active),
            (M::Vpminsd, Three) => (I::MinI32, 4, Active),
            (M::Vpmaxsd, Three) => (I::MaxI32, 4, Active),
            (M::Vpmaddubsw, Three) => (I::MultiplyPairsU8I8, 2, Whole),
            (M::Vpmaddwd, Three) => (I::MultiplyPairsI16, 4, Whole),
            (M::Vpdpbusd, Three) => (I::DotU8I8, 4, Active),
            (M::Vpdpwssd, Three) => (I::DotI16, 4, Active),
            (M::Vphaddd, Three) => (I::HorizontalAddI32, 4, Whole),
            (M::Vpsllw, TwoImmediate) => (I::ShiftLeft16, 2, Active),
            (M::Vpslld, TwoImmediate) => (I::ShiftLeft32, 4, Active),
            (M::Vpsrlw, TwoImmediate) => (I::ShiftRight16, 2, Active),
            (M::Vpsrld, TwoImmediate) => (I::ShiftRight32, 4, Active),
            (M::Vpsraw, TwoImmediate) => (I::ShiftRightArithmetic16, 2, Active),
            (M::Vpsrad, TwoImmediate) => (I::ShiftRightArithmetic32, 4, Active),
            (M::Vpmovzxbw, Two) => (I::ZeroExtend { from: 1, to: 2 }, 2, Active),
            (M::Vpmovzxbd, Two) => (I::ZeroExtend { from: 1, to: 4 }, 4, Active),
            (M::Vpmovzxwd, Two) => (I::ZeroExtend { from: 2, to: 4 }, 4, Active),
            (M::Vpmovsxbw, Two) => (I::SignExtend { from: 1, to: 2 }, 2, Active),
            (M::Vpmovsxbd, Two) => (I::SignExtend { from: 1, to: 4 }, 4, Active),
            (M::Vpmovsxwd, Two) => (I::SignExtend { from: 2, to: 4 }, 4, Active),
            (M::Vpmovdb, Two) => return narrowing(I::TruncateI32I8, Extent::Fraction(4)),
            (M::Vpmovwb, Two) => return narrowing(I::TruncateI16I8, Extent::Fraction(2)),
            (M::Vpmovsdb, Two) => return narrowing(I::SaturateI32I8, Extent::Fraction(4)),
            (M::Vpmovusdb, Two) => return narrowing(I::SaturateU32U8, Extent::Fraction(4)),
            _ => return None,
        };
        Some(Entry::new(Function::Integer(function), element, access))
    }

    #[inline]
    pub(crate) fn apply(self, s: &Sources) -> Vector {
        let count = u32::from(s.immediate);
        match self {
            Integer::And => both(s, |a: u64, b| a & b),
            Integer::AndNot => both(s, |a: u64, b| !a & b),
            Integer::Or => both(s, |a: u64, b| a | b),
            Integer::Xor => both(s, |a: u64, b| a ^ b),
            Integer::Ternary => ternary(s),
            Integer::AddI16 => both(s, u16::wrapping_add),
            Integer::AddSaturatingI16 => both(s, i16::saturating_add),
            Integer::AddI32 => both(s, u32::wrapping_add),
            Integer::SubtractI32 => both(s, u32::wrapping_sub),
            Integer::MultiplyI32 => both(s, u32::wrapping_mul),
            Integer::MinU8 => both(s, u8::min),
            Integer::MaxU8 => both(s, u8::max),
            Integer::MinI8 => both(s, i8::min),
            Integer::MaxI8 => both(s, i8::max),
            Integer::MinI32 => both(s, i32::min),
            Integer::MaxI32 => both(s, i32::max),
            Integer::MultiplyPairsU8I8 => both(s, |a: [u8; 2], b: [u8; 2]| {
                let product = |i: usize| i32::from(a[i]) * i32::from(b[i] as i8);
                let sum = product(0) + product(1);
                bytemuck::cast(sum.clamp(i16::MIN.into(), i16::MAX.into()) as i16)
            }),
            Integer::MultiplyPairsI16 => both(s, |a: [i16; 2], b: [i16; 2]| bytemuck::cast(pair(a, b))),
            Integer::DotU8I8 => added(s, |sum: i32, a: [u8; 4], b: [i8; 4]| {
                let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
                sum.wrapping_add(product(0) + product(1) + product(2) + product(3))
            }),
            Integer::DotI16 => added(s, |sum: i32, a: [i16; 2], b: [i16; 2]| sum.wrapping_add(pair(a, b))),
            Integer::HorizontalAddI32 => horizontal_add(s),
            Integer::ShiftLeft16 => one(s, |x: u16| x.checked_shl(count).unwrap_or(0)),
            Integer::ShiftLeft32 => one(s, |x: u32| x.checked_shl(count).unwrap_or(0)),
            Integer::ShiftRight16 => one(s, |x: u16| x.checked_shr(count).unwrap_or(0)),
            Integer::ShiftRight32 => one(s, |x: u32| x.checked_shr(count).unwrap_or(0)),
            Integer::ShiftRightArithmetic16 => one(s, |x: i16| x >> count.min(15)),
            Integer::ShiftRightArithmetic32 => one(s, |x: i32| x >> count.min(31)),
            Integer::ZeroExtend { from: 1, to: 2 } => converted(s, |x: u8| u16::from(x)),
            Integer::ZeroExtend { from: 1, .. } => converted(s, |x: u8| u32::from(x)),
            Integer::ZeroExtend { .. } => converted(s, |x: u16| u32::from(x)),
            Integer::SignExtend { from: 1, to: 2 } => converted(s, |x: i8| i16::from(x)),
            Integer::SignExtend { from: 1, .. } => converted(s, |x: i8| i32::from(x)),
            Integer::SignExtend { .. } => converted(s, |x: i16| i32::from(x)),
            Integer::TruncateI32I8 => converted(s, |x: u32| x as u8),
            Integer::TruncateI16I8 => converted(s, |x: u16| x as u8),
            Integer::SaturateI32I8 => converted(s, |x: i32| x.clamp(-128, 127) as i8),
            Integer::SaturateU32U8 => converted(s, |x: u32| x.min(255) as u8),
        }
    }
}

/// Each lane of the last source.
#[inline]
pub(crate) fn one<L: Pod>(s: &Sources, f: impl Fn(L) -> L) -> Vector {
    converted(s, f)
}

/// Lanes of both sources.
#[inline]
pub(crate) fn both<L: Pod>(s: &Sources, f: impl Fn(L, L) -> L) -> Vector {
    let mut result = Vector::ZERO;
    let lanes = s.bytes / size_of::<L>();
    let sources = s.a.lanes::<L>().iter().zip(s.b.lanes::<L>()).take(lanes);
    result.lanes_mut::<L>().iter_mut().zip(sources).for_each(|(to, (&a, &b))| *to = f(a, b));
    result
}

/// Lanes of the destination and of both sources, which have the same width.
#[inline]
pub(crate) fn added<R: Pod, A: Pod, B: Pod>(s: &Sources, f: impl Fn(R, A, B) -> R) -> Vector {
    let mut result = Vector::ZERO;
    let lanes = s.bytes / size_of::<R>();
    let sources = s.old.lanes::<R>().iter().zip(s.a.lanes::<A>()).zip(s.b.lanes::<B>()).take(lanes);
    result.lanes_mut::<R>().iter_mut().zip(sources).for_each(|(to, ((&old, &a), &b))| *to = f(old, a, b));
    result
}

/// Lanes of the last source become as many lanes of another width. The wider ones fill the vectors.
#[inline]
pub(crate) fn converted<L: Pod, R: Pod>(s: &Sources, f: impl Fn(L) -> R) -> Vector {
    let mut result = Vector::ZERO;
    let lanes = s.bytes / size_of::<L>().max(size_of::<R>());
    let source = s.b.lanes::<L>().iter().take(lanes);
    result.lanes_mut::<R>().iter_mut().zip(source).for_each(|(to, &x)| *to = f(x));
    result
}

/// Wraps where all four factors are -32768, as the instruction does.
fn pair(a: [i16; 2], b: [i16; 2]) -> i32 {
    let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
    product(0).wrapping_add(product(1))
}

fn ternary(s: &Sources) -> Vector {
    added(s, |old: u64, a: u64, b: u64| {
        let rows = (0..8).filter(|row| s.immediate >> row & 1 == 1);
        let bits = |x: u64, wanted: u8| if wanted & 1 == 1 { x } else { !x };
        rows.fold(0, |result, row| result | bits(old, row >> 2) & bits(a, row >> 1) & bits(b, row))
    })
}

fn horizontal_add(s: &Sources) -> Vector {
    let mut result = Vector::ZERO;
    let lanes = s.a.lanes::<[u32; 4]>().iter().zip(s.b.lanes::<[u32; 4]>()).take(s.bytes / 16);
    for (to, (a, b)) in result.lanes_mut::<[u32; 4]>().iter_mut().zip(lanes) {
        let sum = |x: u32, y: u32| x.wrapping_add(y);
        *to = [sum(a[0], a[1]), sum(a[2], a[3]), sum(b[0], b[1]), sum(b[2], b[3])];
    }
    result
}
