//! What a tier must know: the vector operations that builders speak of, by role.

use dynasmrt::DynamicLabel;

use super::asm::{Assembler, MachineCode, Mem};
use super::encode::Rm;
use crate::Byte;
use crate::CodegenError;

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

impl From<Source> for Rm {
    fn from(source: Source) -> Rm {
        match source {
            Source::Register(v) => Rm::Register(v.0),
            Source::Memory(m) => Rm::Memory(m),
            Source::Constant(label) => Rm::Constant(label),
        }
    }
}

/// An operation `dst = op(a, b)` on all 32-bit, 16-bit or 8-bit lanes of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// `u8 × i8` products, summed in pairs to i16. Saturates: packing proves that it never has to.
    MulPairsU8I8,
    /// `i16 × i16` products, summed in pairs to i32; never overflows for weights and activations of 8 or 9 bits.
    MulPairsI16,
    And,
    Or,
    /// Byte `i` is byte `b[i]` of `a`, in each 128-bit part.
    ShuffleBytes,
    AddI16,
    AddSaturatingI16,
    AddI32,
    /// The smaller one, signed.
    MinI32,
    /// Low 32 bits of the product.
    MulI32,
    /// Sums of neighbours: `a0+a1, a2+a3, b0+b1, b2+b3`, in each 128-bit part.
    HorizontalAddI32,
    AddF32,
    MulF32,
    DivF32,
    /// `a > b ? a : b`: `b` if one is NaN.
    MaxF32,
    /// `a < b ? a : b`: `b` if one is NaN.
    MinF32,
    MaxU8,
    MinU8,
    MaxI8,
    MinI8,
    /// i32 to i16, saturating, in each 128-bit part: four lanes of `a`, four of `b`.
    PackI32I16,
    /// i16 to u8, saturating, in each 128-bit part.
    PackI16U8,
    /// i16 to i8, saturating, in each 128-bit part.
    PackI16I8,
}

/// A tile register: up to 16 rows of 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tile(pub(crate) u8);

/// An operation on tiles. Memory operands have the distance of rows as their index register.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TileOp {
    /// Takes the sizes of all tiles from a constant of 64 bytes; all tiles are zero then.
    Configure(DynamicLabel),
    /// Gives the tiles up.
    Release,
    Zero(Tile),
    Load(Tile, Mem),
    Store(Mem, Tile),
    /// `sums += a · b`: products of four bytes for each 32-bit sum, wrapping. `activations` is the type of `a`; `b` is signed.
    Dot {
        sums: Tile,
        a: Tile,
        b: Tile,
        activations: Byte,
    },
    /// The same with pairs of bf16 and sums of f32, as TDPBF16PS rounds them.
    DotBf16 {
        sums: Tile,
        a: Tile,
        b: Tile,
    },
}

/// The vector instructions of a tier.
pub(crate) trait Lowering {
    /// Vector registers.
    const REGISTERS: usize;

    fn asm(&mut self) -> &mut Assembler;
    /// The finished code.
    fn finish(self) -> Result<MachineCode, CodegenError>;

    /// `dst = 0`
    fn zero(&mut self, dst: Vector);
    /// A whole vector.
    fn load(&mut self, dst: Vector, src: Source);
    /// A whole vector to memory.
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
    /// `dst = a & b`, whichever of both are in memory.
    fn and(&mut self, dst: Vector, a: Source, b: Source) {
        match (a, b) {
            (Source::Register(register), other) | (other, Source::Register(register)) => {
                self.op(Op::And, dst, register, other);
            }
            _ => {
                self.load(dst, b);
                self.op(Op::And, dst, dst, a);
            }
        }
    }
    /// `acc += a · b`: four `u8 × i8` products for each 32-bit lane, wrapping. On tiers that have it.
    fn dot(&mut self, acc: Vector, a: Vector, b: Source);
    /// `dst = fma(dst, a, b)`
    fn multiply_add_f32(&mut self, dst: Vector, a: Vector, b: Source);
    /// `acc = fma(a, b, acc)`
    fn accumulate_f32(&mut self, acc: Vector, a: Vector, b: Source);
    /// i32 to f32, to nearest even.
    fn i32_to_f32(&mut self, dst: Vector, src: Vector);
    /// f32 to i32, to nearest even; out of range gives `i32::MIN`.
    fn f32_to_i32(&mut self, dst: Vector, src: Vector);
    /// As many f16 as a vector has 32-bit lanes, to f32.
    fn load_f16(&mut self, dst: Vector, src: Mem);
    /// The constants of [`Lowering::even_bf16`] and [`Lowering::odd_bf16`]; none where that takes none.
    fn bf16_constants(&mut self) -> [Option<Source>; 2];
    /// The lower 16 bits of all 32-bit lanes, as bf16, to f32. The constant may be in a register by now.
    fn even_bf16(&mut self, dst: Vector, src: Source, constant: Option<Source>);
    /// The upper 16 bits of all 32-bit lanes, as bf16, to f32.
    fn odd_bf16(&mut self, dst: Vector, src: Source, constant: Option<Source>);
    /// Sets what [`Lowering::load_even_pairs`] and [`Lowering::load_odd_pairs`] need for the rest of the kernel. On tiers of
    /// 512 bits, as these.
    fn prepare_pairs(&mut self);
    /// The lower 16 bits of all 32-bit lanes of `first` in the lower halves, those of `second` in the upper halves, zeros if
    /// there is none.
    fn load_even_pairs(&mut self, dst: Vector, first: Mem, second: Option<Mem>);
    /// The upper 16 bits of all 32-bit lanes of `first` in the lower halves, those of `second` in the upper halves.
    fn load_odd_pairs(&mut self, dst: Vector, first: Mem, second: Option<Mem>);
    /// `acc += a · b`: pairs of bf16 in each 32-bit lane, as VDPBF16PS rounds them.
    fn dot_bf16(&mut self, acc: Vector, a: Vector, b: Source);
    /// f16 in the lower half of a vector, to f32.
    fn f16_to_f32(&mut self, dst: Vector, src: Vector);
    /// f32 to f16 in the lower half of a vector, to nearest even.
    fn f32_to_f16(&mut self, dst: Vector, src: Vector);
    /// 16-bit lanes in the lower half of a vector, to 32 bits, unsigned.
    fn widen16(&mut self, dst: Vector, src: Vector);
    /// All 32-bit lanes by `bits`.
    fn shift_left32(&mut self, dst: Vector, src: Vector, bits: u8);
    /// All 32-bit lanes by `bits`, unsigned.
    fn shift_right32(&mut self, dst: Vector, src: Vector, bits: u8);
    /// `a` = the lower halves of `a` and `b`, `b` = the upper halves. On tiers of 512 bits. `temp` is a free register.
    fn exchange_halves(&mut self, a: Vector, b: Vector, temp: Vector);
    /// `dst = (src & mask) | bits`
    fn select_bits(&mut self, dst: Vector, src: Vector, mask: Source, bits: Source);
    /// The upper byte of each 16-bit lane, as a number.
    fn high_bytes(&mut self, dst: Vector, src: Vector);
    /// Lane `i` of `dst` is lane `order[i]` of `src`; `order` in a register.
    fn permute32(&mut self, dst: Vector, order: Vector, src: Vector);
    /// The `index`-th 128 bits of `src` to the lowest of `dst`; not the lowest.
    fn part(&mut self, dst: Vector, src: Vector, index: usize);
    /// The first `count` 32-bit lanes, others zero; memory of the others is not touched. `mask` is a free register.
    fn load_first(&mut self, dst: Vector, mask: Vector, src: Mem, count: usize);
    /// `count` of the lowest 16 bytes, from byte `from` on; `from` is 0, or 8 where vectors have eight lanes.
    fn store_bytes(&mut self, dst: Mem, src: Vector, from: usize, count: usize);
    /// The first `count` 32-bit lanes. `src` may be clobbered.
    fn store_first(&mut self, dst: Mem, src: Vector, count: usize);
    /// `count` 16-bit elements to the lower half of a vector; memory of the others is not touched.
    fn load_first16(&mut self, dst: Vector, src: Mem, count: usize);
    /// The first `count` 16-bit lanes of the lower half of a vector.
    fn store_first16(&mut self, dst: Mem, src: Vector, count: usize);
    /// An operation on tiles. On tiers that have them.
    fn tile(&mut self, op: TileOp);
    /// Leaves the vector unit as compiled code expects it.
    fn leave(&mut self);
}
