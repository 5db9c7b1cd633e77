//! Operations: what is multiplied into what, and how the command line spells it.

use std::fmt;
use std::str::FromStr;

use gemmill::quant::Bits;
use gemmill::{FloatType, HardwareDot};

/// Element type of an operand or of the result of an integer product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    U8,
    I8,
    I32,
    F32,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Type::U8 => "u8",
            Type::I8 => "i8",
            Type::I32 => "i32",
            Type::F32 => "f32",
        }
    }
}

/// A product of 8-bit integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IntOp {
    /// Activations: u8, i8, or f32 that are quantized inside the call.
    pub a: Type,
    /// Weights: i8 or u8.
    pub b: Type,
    /// Result: i32, u8 or i8 (requantized), f32 (dequantized).
    pub c: Type,
}

impl IntOp {
    /// All of them, in the order that messages list them.
    pub fn all() -> Vec<IntOp> {
        let mut all = Vec::new();
        for (a, b) in [(Type::U8, Type::I8), (Type::U8, Type::U8), (Type::I8, Type::I8), (Type::I8, Type::U8)] {
            all.extend([Type::I32, Type::U8, Type::I8, Type::F32].map(|c| IntOp { a, b, c }));
        }
        all.extend([Type::I8, Type::U8].map(|b| IntOp { a: Type::F32, b, c: Type::F32 }));
        all
    }
}

impl fmt::Display for IntOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}{}-{}", self.a.name(), self.b.name(), self.c.name()))
    }
}

impl FromStr for IntOp {
    type Err = String;

    fn from_str(name: &str) -> Result<IntOp, String> {
        named(name, &IntOp::all())
    }
}

/// A floating-point product, accumulated in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FloatOp {
    /// Activations.
    pub a: FloatType,
    /// Weights, as they are packed.
    pub b: FloatType,
    /// Result.
    pub c: FloatType,
}

impl FloatOp {
    /// All of them.
    pub fn all() -> Vec<FloatOp> {
        let each = FloatType::ALL;
        let operands = each.into_iter().flat_map(|a| each.map(|b| (a, b)));
        operands.flat_map(|(a, b)| each.map(|c| FloatOp { a, b, c })).collect()
    }
}

impl fmt::Display for FloatOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}{}-{}", self.a.name(), self.b.name(), self.c.name()))
    }
}

/// Activations of a product with weights of 4 or 2 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupActivation {
    /// They stay what they are, and weights are expanded to f32.
    Float(FloatType),
    /// f32 that become i8 inside the call, row by row.
    Quantized,
}

/// A product with weights of 4 or 2 bits that have a scale for every group of k.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupOp {
    /// Activations.
    pub a: GroupActivation,
    /// Bits of a weight.
    pub bits: Bits,
    /// Result.
    pub c: FloatType,
}

impl GroupOp {
    /// All of them.
    pub fn all() -> Vec<GroupOp> {
        let activations = FloatType::ALL.map(GroupActivation::Float).into_iter().chain([GroupActivation::Quantized]);
        let operands = activations.flat_map(|a| [Bits::Four, Bits::Two].map(|bits| (a, bits)));
        operands.flat_map(|(a, bits)| FloatType::ALL.map(|c| GroupOp { a, bits, c })).collect()
    }
}

impl fmt::Display for GroupOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let a = match self.a {
            GroupActivation::Float(a) => a.name(),
            GroupActivation::Quantized => "i8",
        };
        f.pad(&format!("{a}i{}-{}", self.bits.count(), self.c.name()))
    }
}

/// An operation, written `A B - C`: `u8i8-i32` multiplies u8 activations by i8 weights into i32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    Int(IntOp),
    Float(FloatOp),
    Group(GroupOp),
}

/// What a CPU multiplies with: each has a peak of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    Integer,
    Float,
    /// The CPU's own dot products of bf16.
    Dot(HardwareDot),
}

impl Op {
    /// All operations, in the order that messages list them.
    pub fn all() -> Vec<Op> {
        let integers = IntOp::all().into_iter().map(Op::Int);
        let floats = FloatOp::all().into_iter().map(Op::Float);
        integers.chain(floats).chain(GroupOp::all().into_iter().map(Op::Group)).collect()
    }

    /// Bits of a weight in memory.
    pub fn weight_bits(self) -> usize {
        match self {
            Op::Int(_) => 8,
            Op::Float(op) => 8 * op.b.bytes(),
            Op::Group(op) => op.bits.count(),
        }
    }

    /// Whose peak the operation is compared with, unless it is given hardware dot products.
    pub fn arithmetic(self) -> Arithmetic {
        match self {
            Op::Int(_) | Op::Group(GroupOp { a: GroupActivation::Quantized, .. }) => Arithmetic::Integer,
            Op::Float(_) | Op::Group(_) => Arithmetic::Float,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Int(op) => op.fmt(f),
            Op::Float(op) => op.fmt(f),
            Op::Group(op) => op.fmt(f),
        }
    }
}

impl FromStr for Op {
    type Err = String;

    fn from_str(name: &str) -> Result<Op, String> {
        named(name, &Op::all())
    }
}

fn named<T: Copy + fmt::Display>(name: &str, all: &[T]) -> Result<T, String> {
    all.iter().copied().find(|op| op.to_string() == name).ok_or_else(|| {
        let known: Vec<String> = all.iter().map(T::to_string).collect();
        format!("expected one of {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ops_parse_as_they_print() {
        assert_eq!(IntOp::all().len(), 18);
        assert_eq!(Op::all().len(), 18 + 27 + 24);
        for op in Op::all() {
            assert_eq!(op.to_string().parse(), Ok(op));
        }
        assert!("f32i8-u8".parse::<Op>().is_err());
        assert!("f32f16-f32".parse::<IntOp>().is_err());
        assert_eq!("bf16f16-f32".parse::<Op>().map(Op::arithmetic), Ok(Arithmetic::Float));
        let of_groups =
            ["f16i4-f32", "i8i2-bf16"].map(|name| name.parse::<Op>().map(|op| (op.arithmetic(), op.weight_bits())));
        assert_eq!(of_groups, [Ok((Arithmetic::Float, 4)), Ok((Arithmetic::Integer, 2))]);
    }
}
