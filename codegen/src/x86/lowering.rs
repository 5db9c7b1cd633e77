//! What a tier must know: the vector operations that the int8 builder speaks of, by role.

use dynasmrt::DynamicLabel;

use super::asm::{Assembler, Mem};

/// A vector register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vector(pub(crate) u8);

/// The second source of an operation.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    Register(Vector),
    Memory(Mem),
    /// A constant of the kernel's own.
    Constant(DynamicLabel),
}

impl From<Vector> for Source {
    fn from(v: Vector) -> Source {
        Source::Register(v)
    }
}

impl From<Mem> for Source {
    fn from(m: Mem) -> Source {
        Source::Memory(m)
    }
}

/// An operation `dst = op(a, b)` on eight 32-bit or sixteen 16-bit lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// `u8 × i8` products, summed in pairs to i16. Saturates: packing proves that it never has to.
    MulPairsU8I8,
    /// `i16 × i16` products, summed in pairs to i32; never overflows for weights and activations of 8 or 9 bits.
    MulPairsI16,
    And,
    /// Byte `i` is byte `b[i]` of `a`, in each 128-bit half.
    ShuffleBytes,
    AddI16,
    AddSaturatingI16,
    AddI32,
    /// Low 32 bits of the product.
    MulI32,
    /// Sums of neighbours: `a0+a1, a2+a3, b0+b1, b2+b3`, in each 128-bit half.
    HorizontalAddI32,
    AddF32,
    MulF32,
    /// `a > b ? a : b`: `b` if one is NaN.
    MaxF32,
    /// `a < b ? a : b`: `b` if one is NaN.
    MinF32,
    MaxU8,
    MinU8,
    MaxI8,
    MinI8,
    /// i32 to i16, saturating, in each 128-bit half: four lanes of `a`, four of `b`.
    PackI32I16,
    /// i16 to u8, saturating, in each 128-bit half.
    PackI16U8,
    /// i16 to i8, saturating, in each 128-bit half.
    PackI16I8,
}

/// The vector instructions of a tier.
pub(crate) trait Lowering {
    /// Vector registers.
    const REGISTERS: usize;

    fn asm(&mut self) -> &mut Assembler;

    /// `dst = 0`
    fn zero(&mut self, dst: Vector);
    /// 32 bytes from memory.
    fn load(&mut self, dst: Vector, src: Source);
    /// 32 bytes to memory.
    fn store(&mut self, dst: Mem, src: Vector);
    /// Eight bytes, repeated.
    fn broadcast64(&mut self, dst: Vector, src: Mem);
    /// Four bytes, repeated.
    fn broadcast32(&mut self, dst: Vector, src: Mem);
    /// Two bytes, repeated.
    fn broadcast16(&mut self, dst: Vector, src: Mem);
    /// One byte, repeated.
    fn broadcast8(&mut self, dst: Vector, src: Mem);
    fn op(&mut self, op: Op, dst: Vector, a: Vector, b: Source);
    /// `dst = fma(dst, a, b)`
    fn multiply_add_f32(&mut self, dst: Vector, a: Vector, b: Source);
    /// i32 to f32, to nearest even.
    fn i32_to_f32(&mut self, dst: Vector, src: Vector);
    /// f32 to i32, to nearest even; out of range gives `i32::MIN`.
    fn f32_to_i32(&mut self, dst: Vector, src: Vector);
    /// The upper byte of each 16-bit lane, as a number.
    fn high_bytes(&mut self, dst: Vector, src: Vector);
    /// Lane `i` of `dst` is lane `order[i]` of `src`; `order` in a register.
    fn permute32(&mut self, dst: Vector, order: Vector, src: Vector);
    /// The upper half of `src` to the lower half of `dst`.
    fn upper_half(&mut self, dst: Vector, src: Vector);
    /// The first `count` 32-bit lanes, others zero; memory of the others is not touched. `mask` is a free register.
    fn load_first(&mut self, dst: Vector, mask: Vector, src: Mem, count: usize);
    /// `count` bytes of the lower half, from byte `from` on; `from` is 0 or 8.
    fn store_bytes(&mut self, dst: Mem, src: Vector, from: usize, count: usize);
    /// The first `count` of eight 32-bit lanes. `src` may be clobbered.
    fn store_first(&mut self, dst: Mem, src: Vector, count: usize);
    /// Leaves the vector unit as compiled code expects it.
    fn leave(&mut self);
}
