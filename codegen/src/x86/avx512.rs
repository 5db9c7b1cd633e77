//! AVX-512: thirty-two 512-bit registers; masks for edge tiles; with VNNI 32-bit dot products, with BF16 those of bf16;
//! with AMX tiles of 16 × 64 bytes.

use super::asm::{Assembler, Gpr, MachineCode, Mem};
use super::encode::table::*;
use super::encode::{Instruction, Operands, Rm, Width};
use super::lowering::{Lowering, ODD_BF16, Op, Source, TileOp, Vector};
use super::operand::{Opmask, Register};
use crate::Byte;
use crate::CodegenError;

pub(crate) struct Avx512 {
    asm: Assembler,
}

/// The opmask of edge tiles.
const EDGE: Opmask = Opmask(1);
/// The opmasks of the lower and of the upper 16-bit halves of 32-bit lanes.
const LOWER_HALVES: Opmask = Opmask(2);
const UPPER_HALVES_OF_LANES: Opmask = Opmask(3);
/// The order of VSHUFI32X4 that takes the upper halves of both sources.
const UPPER_HALVES: u8 = 0b11_10_11_10;
/// The truth table of `a | (b & c)`, for VPTERNLOGD.
const FIRST_OR_BOTH_OTHERS: u8 = 0xf8;
/// Free where masks are set: in the epilogue.
const MASK_BITS: Gpr = Gpr::Rdx;

impl Avx512 {
    pub(crate) fn new() -> Avx512 {
        Avx512 { asm: Assembler::new() }
    }

    fn wide(&mut self, instruction: &'static Instruction, operands: Operands) {
        self.asm.emit(instruction, Width::Z, operands);
    }

    /// A load or a store of the first `count` of sixteen lanes; a load makes others zero.
    fn first(&mut self, instruction: &'static Instruction, width: Width, operands: Operands, count: usize) {
        let operands = match count {
            16 => operands,
            0..16 => {
                self.asm.load_imm(MASK_BITS, (1 << count) - 1);
                self.asm.emit(&KMOVW_FROM_GPR, Width::X, Operands::two(EDGE, MASK_BITS));
                if instruction.stores() { operands.masked(EDGE) } else { operands.zeroed(EDGE) }
            }
            _ => return self.asm.fail(format!("the first {count} lanes: expected at most 16")),
        };
        self.asm.emit(instruction, width, operands);
    }
}

impl Lowering for Avx512 {
    const REGISTERS: usize = 32;
    const WIDTH: Width = Width::Z;

    fn asm(&mut self) -> &mut Assembler {
        &mut self.asm
    }

    fn finish(self) -> Result<MachineCode, CodegenError> {
        self.asm.machine_code()
    }

    fn dot_instruction(&self) -> Option<&'static Instruction> {
        Some(&VPDPBUSD)
    }

    fn select_bits(&mut self, dst: Vector, src: Vector, mask: Source, bits: Source) {
        if dst == src {
            self.op(Op::And, dst, src, mask);
            return self.op(Op::Or, dst, dst, bits);
        }
        // The move takes no port of the multipliers.
        self.load(dst, bits);
        self.wide(&VPTERNLOGD, Operands::new(dst, src, mask).imm(FIRST_OR_BOTH_OTHERS));
    }

    fn bf16_constants(&mut self) -> [Option<Source>; 2] {
        [None, Some(self.repeated(ODD_BF16))]
    }

    fn even_bf16(&mut self, dst: Vector, src: Source, _: Option<Source>) {
        self.wide(&VPSLLD_IMM, Operands::shift(dst, src, 16));
    }

    fn load_first(&mut self, dst: Vector, _mask: Vector, src: Mem, count: usize) {
        self.first(&VMOVDQU32, Width::Z, Operands::two(dst, src), count);
    }

    fn store_bytes(&mut self, dst: Mem, src: Vector, from: usize, count: usize) {
        if from != 0 {
            return self.asm.fail(format!("bytes from {from}: expected 0 in vectors of 512 bits"));
        }
        self.first(&VMOVDQU8_STORE, Width::X, Operands::two(src, dst), count);
    }

    fn store_first(&mut self, dst: Mem, src: Vector, count: usize) {
        self.first(&VMOVDQU32_STORE, Width::Z, Operands::two(src, dst), count);
    }

    fn load_first16(&mut self, dst: Vector, src: Mem, count: usize) {
        self.first(&VMOVDQU16, Width::Y, Operands::two(dst, src), count);
    }

    fn store_first16(&mut self, dst: Mem, src: Vector, count: usize) {
        self.first(&VMOVDQU16_STORE, Width::Y, Operands::two(src, dst), count);
    }

    fn store_half(&mut self, dst: Mem, src: Vector, upper: bool) {
        match upper {
            true => self.wide(&VEXTRACTI64X4, Operands::two(src, dst).imm(1)),
            false => self.asm.emit(&VMOVDQU8_STORE, Width::Y, Operands::two(src, dst)),
        }
    }

    fn exchange_halves(&mut self, a: Vector, b: Vector, temp: Vector) {
        self.wide(&VINSERTI64X4, Operands::new(temp, a, b).imm(1));
        self.wide(&VSHUFI32X4, Operands::new(b, a, b).imm(UPPER_HALVES));
        self.load(a, temp.into());
    }

    fn prepare_pairs(&mut self) {
        for (opmask, bits) in [(LOWER_HALVES, 0x5555_5555), (UPPER_HALVES_OF_LANES, 0xaaaa_aaaa)] {
            self.asm.load_imm(MASK_BITS, bits);
            self.asm.emit(&KMOVD_FROM_GPR, Width::X, Operands::two(opmask, MASK_BITS));
        }
    }

    // A shift, and a load that replaces every other half.
    fn load_even_pairs(&mut self, dst: Vector, first: Mem, second: Option<Mem>) {
        let lower = Operands::two(dst, first);
        let lower = match second {
            Some(second) => {
                self.wide(&VPSLLD_IMM, Operands::shift(dst, second, 16));
                lower.masked(LOWER_HALVES)
            }
            None => lower.zeroed(LOWER_HALVES),
        };
        self.wide(&VMOVDQU16, lower);
    }

    fn load_odd_pairs(&mut self, dst: Vector, first: Mem, second: Option<Mem>) {
        self.wide(&VPSRLD_IMM, Operands::shift(dst, first, 16));
        if let Some(second) = second {
            self.wide(&VMOVDQU16, Operands::two(dst, second).masked(UPPER_HALVES_OF_LANES));
        }
    }

    fn dot_bf16(&mut self, acc: Vector, a: Vector, b: Source) {
        self.wide(&VDPBF16PS, Operands::new(acc, a, b));
    }

    fn tile(&mut self, op: TileOp) {
        let none = Register::NONE;
        let (instruction, operands) = match op {
            TileOp::Configure(sizes) => (&LDTILECFG, Operands::two(none, Rm::Constant(sizes))),
            TileOp::Release => (&TILERELEASE, Operands::two(none, none)),
            TileOp::Zero(tile) => (&TILEZERO, Operands::two(tile, none)),
            TileOp::Load(tile, from) => (&TILELOADD, Operands::two(tile, from)),
            TileOp::LoadStreaming(tile, from) => (&TILELOADDT1, Operands::two(tile, from)),
            TileOp::Store(to, tile) => (&TILESTORED, Operands::two(tile, to)),
            TileOp::Dot { sums, a, b, activations: Byte::U8 } => (&TDPBUSD, Operands::new(sums, b, a)),
            TileOp::Dot { sums, a, b, activations: Byte::I8 } => (&TDPBSSD, Operands::new(sums, b, a)),
            TileOp::DotBf16 { sums, a, b } => (&TDPBF16PS, Operands::new(sums, b, a)),
        };
        self.asm.emit(instruction, Width::X, operands);
    }
}
