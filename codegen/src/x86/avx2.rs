//! AVX2 and FMA: sixteen 256-bit registers, no masks; with VNNI 32-bit dot products.

use super::asm::{Assembler, MachineCode, Mem};
use super::encode::table::*;
use super::encode::{Instruction, Operands, Width};
use super::lowering::{Lowering, ODD_BF16, Op, Source, Vector};
use crate::CodegenError;

/// Shuffle of bytes: the lower half of each 32-bit lane to its upper half.
const EVEN_TO_UPPER: [u32; 4] = [0x0100_8080, 0x0504_8080, 0x0908_8080, 0x0d0c_8080];

pub(crate) struct Avx2 {
    asm: Assembler,
    /// The instruction of 32-bit dot products: in VEX or EVEX encoding, or none.
    dot: Option<&'static Instruction>,
}

impl Avx2 {
    pub(crate) fn new(dot: Option<&'static Instruction>) -> Avx2 {
        Avx2 { asm: Assembler::new(), dot }
    }

    /// An instruction on the lowest 128 bits.
    fn narrow(&mut self, instruction: &'static Instruction, operands: Operands) {
        self.asm.emit(instruction, Width::X, operands);
    }

    fn even_order(&mut self) -> Source {
        Source::Constant(self.asm.constant(&EVEN_TO_UPPER.repeat(2)))
    }
}

impl Lowering for Avx2 {
    const REGISTERS: usize = 16;
    const WIDTH: Width = Width::Y;

    fn asm(&mut self) -> &mut Assembler {
        &mut self.asm
    }

    fn finish(self) -> Result<MachineCode, CodegenError> {
        self.asm.machine_code()
    }

    fn dot_instruction(&self) -> Option<&'static Instruction> {
        self.dot
    }

    // One shuffle or mask: neither takes the ports of multiplications from Ice Lake and Zen 2 on.
    fn bf16_constants(&mut self) -> [Option<Source>; 2] {
        [Some(self.even_order()), Some(self.repeated(ODD_BF16))]
    }

    fn even_bf16(&mut self, dst: Vector, src: Source, constant: Option<Source>) {
        let order = constant.unwrap_or_else(|| self.even_order());
        let from = match src {
            Source::Register(from) => from,
            _ => {
                self.load(dst, src);
                dst
            }
        };
        self.op(Op::ShuffleBytes, dst, from, order);
    }

    fn load_first(&mut self, dst: Vector, mask: Vector, src: Mem, count: usize) {
        if count > 8 {
            return self.asm.fail(format!("the first {count} lanes: expected at most 8"));
        }
        let lanes: [u32; 8] = std::array::from_fn(|i| if i < count { u32::MAX } else { 0 });
        let constant = self.asm.constant(&lanes);
        self.load(mask, Source::Constant(constant));
        self.asm.emit(&VPMASKMOVD_VEX, Width::Y, Operands::new(dst, mask, src));
    }

    fn store_bytes(&mut self, dst: Mem, src: Vector, from: usize, count: usize) {
        if ![0, 8].contains(&from) || from + count > 16 {
            return self.asm.fail(format!("{count} bytes from {from}: expected at most 16, from 0 or 8"));
        }
        if count == 16 {
            return self.narrow(&VMOVDQU_STORE_VEX, Operands::two(src, dst));
        }
        let (mut at, mut left) = (from, count);
        for piece in [8, 4, 2, 1] {
            if left < piece {
                continue;
            }
            let to = Operands::two(src, dst.offset(at - from));
            let element = to.imm((at / piece) as u8);
            match (piece, at) {
                (8, 0) => self.narrow(&VMOVQ_STORE_VEX, to),
                (8, _) => self.narrow(&VPEXTRQ_VEX, element),
                (4, 0) => self.narrow(&VMOVD_STORE_VEX, to),
                (4, _) => self.narrow(&VPEXTRD_VEX, element),
                (2, _) => self.narrow(&VPEXTRW_VEX, element),
                _ => self.narrow(&VPEXTRB_VEX, element),
            }
            (at, left) = (at + piece, left - piece);
        }
    }

    fn store_first(&mut self, dst: Mem, src: Vector, count: usize) {
        match count {
            8 => self.store(dst, src),
            4.. => {
                self.store_bytes(dst, src, 0, 16);
                if count > 4 {
                    self.part(src, src, 1);
                    self.store_bytes(dst.offset(16), src, 0, 4 * (count - 4));
                }
            }
            _ => self.store_bytes(dst, src, 0, 4 * count),
        }
    }

    fn load_first16(&mut self, dst: Vector, src: Mem, count: usize) {
        match count {
            0..8 => self.zero(dst),
            8 => return self.narrow(&VMOVDQU_VEX, Operands::two(dst, src)),
            _ => return self.asm.fail(format!("the first {count} lanes: expected at most 8")),
        }
        let mut at = 0;
        for (piece, instruction) in [(8, &VPINSRQ_VEX), (4, &VPINSRD_VEX), (2, &VPINSRW_VEX)] {
            if 2 * count - at < piece {
                continue;
            }
            self.narrow(instruction, Operands::new(dst, dst, src.offset(at)).imm((at / piece) as u8));
            at += piece;
        }
    }

    fn store_first16(&mut self, dst: Mem, src: Vector, count: usize) {
        self.store_bytes(dst, src, 0, 2 * count);
    }
}
