//! What a tier must know: the vector operations that builders speak of, by role.

use dynasmrt::DynamicLabel;

use super::asm::{Assembler, MachineCode, Mem};
use super::encode::table::*;
use super::encode::{Instruction, Operands, Rm, Width};
pub(crate) use super::operand::{Tile, Vector};
use crate::Byte;
use crate::CodegenError;

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
            Source::Register(v) => v.into(),
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

impl Op {
    /// The instruction in VEX and in EVEX.
    fn instruction(self) -> Pair {
        match self {
            Op::MulPairsU8I8 => [&VPMADDUBSW_VEX, &VPMADDUBSW],
            Op::MulPairsI16 => [&VPMADDWD_VEX, &VPMADDWD],
            Op::And => [&VPAND_VEX, &VPANDD],
            Op::Or => [&VPOR_VEX, &VPORD],
            Op::ShuffleBytes => [&VPSHUFB_VEX, &VPSHUFB],
            Op::AddI16 => [&VPADDW_VEX, &VPADDW],
            Op::AddSaturatingI16 => [&VPADDSW_VEX, &VPADDSW],
            Op::AddI32 => [&VPADDD_VEX, &VPADDD],
            Op::MinI32 => [&VPMINSD_VEX, &VPMINSD],
            Op::MulI32 => [&VPMULLD_VEX, &VPMULLD],
            // No form of 512 bits: it is refused there.
            Op::HorizontalAddI32 => [&VPHADDD_VEX, &VPHADDD_VEX],
            Op::AddF32 => [&VADDPS_VEX, &VADDPS],
            Op::MulF32 => [&VMULPS_VEX, &VMULPS],
            Op::DivF32 => [&VDIVPS_VEX, &VDIVPS],
            Op::MaxF32 => [&VMAXPS_VEX, &VMAXPS],
            Op::MinF32 => [&VMINPS_VEX, &VMINPS],
            Op::MaxU8 => [&VPMAXUB_VEX, &VPMAXUB],
            Op::MinU8 => [&VPMINUB_VEX, &VPMINUB],
            Op::MaxI8 => [&VPMAXSB_VEX, &VPMAXSB],
            Op::MinI8 => [&VPMINSB_VEX, &VPMINSB],
            Op::PackI32I16 => [&VPACKSSDW_VEX, &VPACKSSDW],
            Op::PackI16U8 => [&VPACKUSWB_VEX, &VPACKUSWB],
            Op::PackI16I8 => [&VPACKSSWB_VEX, &VPACKSSWB],
        }
    }
}

/// An operation on tiles. Memory operands have the distance of rows as their index register.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TileOp {
    /// Takes the sizes of all tiles from a constant of 64 bytes; all tiles are zero then.
    Configure(DynamicLabel),
    /// Gives the tiles up.
    Release,
    Zero(Tile),
    Load(Tile, Mem),
    /// The same, with a hint that what is loaded passes by: caches keep other lines rather than these.
    LoadStreaming(Tile, Mem),
    Store(Mem, Tile),
    /// `sums += a · b`: products of four bytes for each 32-bit sum, wrapping. `activations` is the type of `a`; `b` is
    /// signed.
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

/// The mask of [`Lowering::odd_bf16`].
pub(super) const ODD_BF16: u32 = 0xffff_0000;

/// An instruction in VEX, and the one that does the same in EVEX.
pub(crate) type Pair = [&'static Instruction; 2];

/// What a tier of 256 bits is not asked for: planning has its kernels do without.
const NOT_IN_256_BITS: &str =
    "vectors of 256 bits have natural columns, and neither pairs of bf16 nor tiles beside them";

/// The vector instructions of a tier. What is the same at each width is written here.
pub(crate) trait Lowering {
    /// Vector registers.
    const REGISTERS: usize;
    /// The width of vectors: 256 bits in VEX, or 512 bits in EVEX.
    const WIDTH: Width;

    fn asm(&mut self) -> &mut Assembler;
    /// The finished code.
    fn finish(self) -> Result<MachineCode, CodegenError>;
    /// The instruction of 32-bit dot products, on tiers that have it.
    fn dot_instruction(&self) -> Option<&'static Instruction>;

    /// The instruction that the tier has of two.
    #[inline(always)]
    fn emit(&mut self, [vex, evex]: Pair, operands: Operands) {
        let instruction = if Self::WIDTH == Width::Z { evex } else { vex };
        self.asm().emit(instruction, Self::WIDTH, operands);
    }

    /// A constant whose 32-bit lanes are all `x`.
    fn repeated(&mut self, x: u32) -> Source {
        Source::Constant(self.asm().constant(&[x; Width::Z.lanes()][..Self::WIDTH.lanes()]))
    }

    /// `dst = 0`
    fn zero(&mut self, dst: Vector) {
        self.emit([&VPXOR_VEX, &VPXORD], Operands::new(dst, dst, dst));
    }
    /// A whole vector.
    fn load(&mut self, dst: Vector, src: Source) {
        self.emit([&VMOVDQU_VEX, &VMOVDQU32], Operands::two(dst, src));
    }
    /// A whole vector to memory.
    fn store(&mut self, dst: Mem, src: Vector) {
        self.emit([&VMOVDQU_STORE_VEX, &VMOVDQU32_STORE], Operands::two(src, dst));
    }
    /// Eight bytes, repeated.
    fn broadcast64(&mut self, dst: Vector, src: Mem) {
        self.emit([&VPBROADCASTQ_VEX, &VPBROADCASTQ], Operands::two(dst, src));
    }
    /// Four bytes, repeated.
    fn broadcast32(&mut self, dst: Vector, src: Mem) {
        self.emit([&VPBROADCASTD_VEX, &VPBROADCASTD], Operands::two(dst, src));
    }
    /// Two bytes, repeated.
    fn broadcast16(&mut self, dst: Vector, src: Mem) {
        self.emit([&VPBROADCASTW_VEX, &VPBROADCASTW], Operands::two(dst, src));
    }
    /// One byte, repeated.
    fn broadcast8(&mut self, dst: Vector, src: Mem) {
        self.emit([&VPBROADCASTB_VEX, &VPBROADCASTB], Operands::two(dst, src));
    }
    fn op(&mut self, op: Op, dst: Vector, a: Vector, b: Source) {
        self.emit(op.instruction(), Operands::new(dst, a, b));
    }
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
    /// `dst = (src & mask) | bits`
    fn select_bits(&mut self, dst: Vector, src: Vector, mask: Source, bits: Source) {
        self.op(Op::And, dst, src, mask);
        self.op(Op::Or, dst, dst, bits);
    }
    /// `acc += a · b`: four `u8 × i8` products for each 32-bit lane, wrapping. On tiers that have it.
    fn dot(&mut self, acc: Vector, a: Vector, b: Source) {
        match self.dot_instruction() {
            Some(instruction) => self.asm().emit(instruction, Self::WIDTH, Operands::new(acc, a, b)),
            None => self.asm().fail("the tier has no 32-bit dot products"),
        }
    }
    /// `dst = fma(dst, a, b)`
    fn multiply_add_f32(&mut self, dst: Vector, a: Vector, b: Source) {
        self.emit([&VFMADD213PS_VEX, &VFMADD213PS], Operands::new(dst, a, b));
    }
    /// `acc = fma(a, b, acc)`
    fn accumulate_f32(&mut self, acc: Vector, a: Vector, b: Source) {
        self.emit([&VFMADD231PS_VEX, &VFMADD231PS], Operands::new(acc, a, b));
    }
    /// i32 to f32, to nearest even.
    fn i32_to_f32(&mut self, dst: Vector, src: Vector) {
        self.emit([&VCVTDQ2PS_VEX, &VCVTDQ2PS], Operands::two(dst, src));
    }
    /// f32 to i32, to nearest even; out of range gives `i32::MIN`.
    fn f32_to_i32(&mut self, dst: Vector, src: Vector) {
        self.emit([&VCVTPS2DQ_VEX, &VCVTPS2DQ], Operands::two(dst, src));
    }
    /// As many f16 as a vector has 32-bit lanes, to f32.
    fn load_f16(&mut self, dst: Vector, src: Mem) {
        self.emit([&VCVTPH2PS_VEX, &VCVTPH2PS], Operands::two(dst, src));
    }
    /// f16 in the lower half of a vector, to f32.
    fn f16_to_f32(&mut self, dst: Vector, src: Vector) {
        self.emit([&VCVTPH2PS_VEX, &VCVTPH2PS], Operands::two(dst, src));
    }
    /// f32 to f16 in the lower half of a vector, to nearest even.
    fn f32_to_f16(&mut self, dst: Vector, src: Vector) {
        self.emit([&VCVTPS2PH_VEX, &VCVTPS2PH], Operands::two(src, dst).imm(0));
    }
    /// The constants of [`Lowering::even_bf16`] and [`Lowering::odd_bf16`], which use them themselves if they are given
    /// none; none where that takes none. They may be in registers by the time that they are given.
    fn bf16_constants(&mut self) -> [Option<Source>; 2];
    /// The lower 16 bits of all 32-bit lanes, as bf16, to f32.
    fn even_bf16(&mut self, dst: Vector, src: Source, constant: Option<Source>);
    /// The upper 16 bits of all 32-bit lanes, as bf16, to f32.
    fn odd_bf16(&mut self, dst: Vector, src: Source, constant: Option<Source>) {
        let mask = constant.unwrap_or_else(|| self.repeated(ODD_BF16));
        self.and(dst, src, mask);
    }
    /// 16-bit lanes in the lower half of a vector, to 32 bits, unsigned.
    fn widen16(&mut self, dst: Vector, src: Vector) {
        self.emit([&VPMOVZXWD_VEX, &VPMOVZXWD], Operands::two(dst, src));
    }
    /// All 32-bit lanes by `bits`.
    fn shift_left32(&mut self, dst: Vector, src: Vector, bits: u8) {
        self.emit([&VPSLLD_IMM_VEX, &VPSLLD_IMM], Operands::shift(dst, src, bits));
    }
    /// All 32-bit lanes by `bits`, unsigned.
    fn shift_right32(&mut self, dst: Vector, src: Vector, bits: u8) {
        self.emit([&VPSRLD_IMM_VEX, &VPSRLD_IMM], Operands::shift(dst, src, bits));
    }
    /// The upper byte of each 16-bit lane, as a number.
    fn high_bytes(&mut self, dst: Vector, src: Vector) {
        self.emit([&VPSRLW_IMM_VEX, &VPSRLW_IMM], Operands::shift(dst, src, 8));
    }
    /// Lane `i` of `dst` is lane `order[i]` of `src`; `order` in a register.
    fn permute32(&mut self, dst: Vector, order: Vector, src: Vector) {
        self.emit([&VPERMD_VEX, &VPERMD], Operands::new(dst, order, src));
    }
    /// The `index`-th 128 bits of `src` to the lowest of `dst`; not the lowest.
    fn part(&mut self, dst: Vector, src: Vector, index: usize) {
        let last = Self::WIDTH.lanes() / 4 - 1;
        match u8::try_from(index) {
            Ok(part) if (1..=last).contains(&index) => {
                self.emit([&VEXTRACTI128_VEX, &VEXTRACTI32X4], Operands::two(src, dst).imm(part));
            }
            _ => self.asm().fail(format!("part {index} of a vector: expected 1 to {last}")),
        }
    }
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
    /// Leaves the vector unit as compiled code expects it.
    fn leave(&mut self) {
        self.asm().vzeroupper();
    }

    // What only tiers of 512 bits have.

    /// A half of a vector, the lower one or the upper one.
    fn store_half(&mut self, _dst: Mem, _src: Vector, _upper: bool) {
        self.asm().fail(NOT_IN_256_BITS);
    }
    /// `a` = the lower halves of `a` and `b`, `b` = the upper halves. `temp` is a free register.
    fn exchange_halves(&mut self, _a: Vector, _b: Vector, _temp: Vector) {
        self.asm().fail(NOT_IN_256_BITS);
    }
    /// Sets what [`Lowering::load_even_pairs`] and [`Lowering::load_odd_pairs`] need for the rest of the kernel.
    fn prepare_pairs(&mut self) {
        self.asm().fail(NOT_IN_256_BITS);
    }
    /// The lower 16 bits of all 32-bit lanes of `first` in the lower halves, those of `second` in the upper halves,
    /// zeros if there is none.
    fn load_even_pairs(&mut self, _dst: Vector, _first: Mem, _second: Option<Mem>) {
        self.asm().fail(NOT_IN_256_BITS);
    }
    /// The upper 16 bits of all 32-bit lanes of `first` in the lower halves, those of `second` in the upper halves.
    fn load_odd_pairs(&mut self, _dst: Vector, _first: Mem, _second: Option<Mem>) {
        self.asm().fail(NOT_IN_256_BITS);
    }
    /// `acc += a · b`: pairs of bf16 in each 32-bit lane, as VDPBF16PS rounds them.
    fn dot_bf16(&mut self, _acc: Vector, _a: Vector, _b: Source) {
        self.asm().fail(NOT_IN_256_BITS);
    }
    /// An operation on tiles. Of these tiers, on those that have them.
    fn tile(&mut self, _op: TileOp) {
        self.asm().fail(NOT_IN_256_BITS);
    }
}

#[cfg(test)]
mod tests;
