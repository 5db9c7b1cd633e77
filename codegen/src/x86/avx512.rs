//! AVX-512: thirty-two 512-bit registers; masks for edge tiles; with VNNI 32-bit dot products, with BF16 those of bf16; with AMX
//! tiles of 16 × 64 bytes.

use super::asm::{Assembler, Gpr, MachineCode, Mem};
use super::encode::{Instruction, Operands, Rm, Width, table};
use super::features::Features;
use super::lowering::{Lowering, Op, Source, TileOp, Vector};
use crate::Byte;
use crate::CodegenError;

pub(crate) struct Avx512 {
    pub(crate) asm: Assembler,
}

/// The opmask of edge tiles.
const EDGE: u8 = 1;
/// The opmasks of the lower and of the upper 16-bit halves of 32-bit lanes.
const LOWER_HALVES: u8 = 2;
const UPPER_HALVES_OF_LANES: u8 = 3;
/// The order of VSHUFI32X4 that takes the upper halves of both sources.
const UPPER_HALVES: u8 = 0b11_10_11_10;
/// The truth table of `a | (b & c)`, for VPTERNLOGD.
const FIRST_OR_BOTH_OTHERS: u8 = 0xf8;
/// Free where masks are set: in the epilogue.
const MASK_BITS: Gpr = Gpr::Rdx;

impl Avx512 {
    pub(crate) fn new() -> Avx512 {
        let mut asm = Assembler::new();
        // VZEROUPPER, which `dynasm!` encodes.
        asm.needs(Features::AVX);
        Avx512 { asm }
    }

    fn three(&mut self, instruction: &'static Instruction, dst: Vector, a: Vector, b: Source) {
        self.asm.emit(instruction, Width::Z, Operands::new(dst.0, a.0, b));
    }

    fn two(&mut self, instruction: &'static Instruction, dst: Vector, src: Source) {
        self.asm.emit(instruction, Width::Z, Operands::new(dst.0, 0, src));
    }

    fn shift(&mut self, instruction: &'static Instruction, dst: Vector, src: Rm, bits: u8) {
        self.asm.emit(instruction, Width::Z, Operands::new(0, dst.0, src).imm(bits));
    }

    /// Sets the opmask to the first `count` lanes.
    fn mask_first(&mut self, count: usize) {
        self.asm.load_imm(MASK_BITS, (1 << count) - 1);
        self.asm.emit(&table::KMOVW_FROM_GPR, Width::X, Operands::new(EDGE, 0, Rm::Register(MASK_BITS.id())));
    }
}

impl Lowering for Avx512 {
    const REGISTERS: usize = 32;

    fn asm(&mut self) -> &mut Assembler {
        &mut self.asm
    }

    fn finish(self) -> Result<MachineCode, CodegenError> {
        self.asm.machine_code()
    }

    fn zero(&mut self, dst: Vector) {
        self.three(&table::VPXORD, dst, dst, dst.into());
    }

    fn load(&mut self, dst: Vector, src: Source) {
        self.two(&table::VMOVDQU32, dst, src);
    }

    fn store(&mut self, dst: Mem, src: Vector) {
        self.two(&table::VMOVDQU32_STORE, src, dst.into());
    }

    fn broadcast64(&mut self, dst: Vector, src: Mem) {
        self.two(&table::VPBROADCASTQ, dst, src.into());
    }

    fn broadcast32(&mut self, dst: Vector, src: Mem) {
        self.two(&table::VPBROADCASTD, dst, src.into());
    }

    fn broadcast16(&mut self, dst: Vector, src: Mem) {
        self.two(&table::VPBROADCASTW, dst, src.into());
    }

    fn broadcast8(&mut self, dst: Vector, src: Mem) {
        self.two(&table::VPBROADCASTB, dst, src.into());
    }

    fn op(&mut self, op: Op, dst: Vector, a: Vector, b: Source) {
        let instruction = match op {
            Op::MulPairsU8I8 => &table::VPMADDUBSW,
            Op::MulPairsI16 => &table::VPMADDWD,
            Op::And => &table::VPANDD,
            Op::Or => &table::VPORD,
            Op::ShuffleBytes => &table::VPSHUFB,
            Op::AddI16 => &table::VPADDW,
            Op::AddSaturatingI16 => &table::VPADDSW,
            Op::AddI32 => &table::VPADDD,
            Op::MinI32 => &table::VPMINSD,
            Op::MulI32 => &table::VPMULLD,
            Op::AddF32 => &table::VADDPS,
            Op::MulF32 => &table::VMULPS,
            Op::DivF32 => &table::VDIVPS,
            Op::MaxF32 => &table::VMAXPS,
            Op::MinF32 => &table::VMINPS,
            Op::MaxU8 => &table::VPMAXUB,
            Op::MinU8 => &table::VPMINUB,
            Op::MaxI8 => &table::VPMAXSB,
            Op::MinI8 => &table::VPMINSB,
            Op::PackI32I16 => &table::VPACKSSDW,
            Op::PackI16U8 => &table::VPACKUSWB,
            Op::PackI16I8 => &table::VPACKSSWB,
            Op::HorizontalAddI32 => return self.asm.fail("no horizontal additions of 512 bits"),
        };
        self.three(instruction, dst, a, b);
    }

    fn dot(&mut self, acc: Vector, a: Vector, b: Source) {
        self.three(&table::VPDPBUSD, acc, a, b);
    }

    fn multiply_add_f32(&mut self, dst: Vector, a: Vector, b: Source) {
        self.three(&table::VFMADD213PS, dst, a, b);
    }

    fn accumulate_f32(&mut self, acc: Vector, a: Vector, b: Source) {
        self.three(&table::VFMADD231PS, acc, a, b);
    }

    fn load_f16(&mut self, dst: Vector, src: Mem) {
        self.two(&table::VCVTPH2PS, dst, src.into());
    }

    fn bf16_constants(&mut self) -> [Option<Source>; 2] {
        [None, Some(Source::Constant(self.asm.constant(&[0xffff_0000; 16])))]
    }

    fn even_bf16(&mut self, dst: Vector, src: Source, _: Option<Source>) {
        self.shift(&table::VPSLLD_IMM, dst, src.into(), 16);
    }

    fn odd_bf16(&mut self, dst: Vector, src: Source, constant: Option<Source>) {
        let Some(mask) = constant else { return self.asm.fail("a constant is missing") };
        self.and(dst, src, mask);
    }

    fn prepare_pairs(&mut self) {
        for (opmask, bits) in [(LOWER_HALVES, 0x5555_5555), (UPPER_HALVES_OF_LANES, 0xaaaa_aaaa)] {
            self.asm.load_imm(MASK_BITS, bits);
            self.asm.emit(&table::KMOVD_FROM_GPR, Width::X, Operands::new(opmask, 0, Rm::Register(MASK_BITS.id())));
        }
    }

    // A shift, and a load that replaces every other half.
    fn load_even_pairs(&mut self, dst: Vector, first: Mem, second: Option<Mem>) {
        let lower = Operands::new(dst.0, 0, Rm::Memory(first));
        let lower = match second {
            Some(second) => {
                self.shift(&table::VPSLLD_IMM, dst, Rm::Memory(second), 16);
                lower.masked(LOWER_HALVES)
            }
            None => lower.zeroed(LOWER_HALVES),
        };
        self.asm.emit(&table::VMOVDQU16, Width::Z, lower);
    }

    fn load_odd_pairs(&mut self, dst: Vector, first: Mem, second: Option<Mem>) {
        self.shift(&table::VPSRLD_IMM, dst, Rm::Memory(first), 16);
        if let Some(second) = second {
            let upper = Operands::new(dst.0, 0, Rm::Memory(second)).masked(UPPER_HALVES_OF_LANES);
            self.asm.emit(&table::VMOVDQU16, Width::Z, upper);
        }
    }

    fn dot_bf16(&mut self, acc: Vector, a: Vector, b: Source) {
        self.three(&table::VDPBF16PS, acc, a, b);
    }

    fn f16_to_f32(&mut self, dst: Vector, src: Vector) {
        self.two(&table::VCVTPH2PS, dst, src.into());
    }

    fn f32_to_f16(&mut self, dst: Vector, src: Vector) {
        let operands = Operands::new(src.0, 0, Rm::Register(dst.0)).imm(0);
        self.asm.emit(&table::VCVTPS2PH, Width::Z, operands);
    }

    fn widen16(&mut self, dst: Vector, src: Vector) {
        self.two(&table::VPMOVZXWD, dst, src.into());
    }

    fn shift_left32(&mut self, dst: Vector, src: Vector, bits: u8) {
        self.shift(&table::VPSLLD_IMM, dst, Rm::Register(src.0), bits);
    }

    fn shift_right32(&mut self, dst: Vector, src: Vector, bits: u8) {
        self.shift(&table::VPSRLD_IMM, dst, Rm::Register(src.0), bits);
    }

    fn exchange_halves(&mut self, a: Vector, b: Vector, temp: Vector) {
        self.asm.emit(&table::VINSERTI64X4, Width::Z, Operands::new(temp.0, a.0, Rm::Register(b.0)).imm(1));
        self.asm.emit(&table::VSHUFI32X4, Width::Z, Operands::new(b.0, a.0, Rm::Register(b.0)).imm(UPPER_HALVES));
        self.load(a, temp.into());
    }

    fn i32_to_f32(&mut self, dst: Vector, src: Vector) {
        self.two(&table::VCVTDQ2PS, dst, src.into());
    }

    fn f32_to_i32(&mut self, dst: Vector, src: Vector) {
        self.two(&table::VCVTPS2DQ, dst, src.into());
    }

    fn select_bits(&mut self, dst: Vector, src: Vector, mask: Source, bits: Source) {
        if dst == src {
            self.op(Op::And, dst, src, mask);
            return self.op(Op::Or, dst, dst, bits);
        }
        // The move takes no port of the multipliers.
        self.load(dst, bits);
        self.asm.emit(&table::VPTERNLOGD, Width::Z, Operands::new(dst.0, src.0, mask).imm(FIRST_OR_BOTH_OTHERS));
    }

    fn high_bytes(&mut self, dst: Vector, src: Vector) {
        self.asm.emit(&table::VPSRLW_IMM, Width::Z, Operands::new(0, dst.0, Rm::Register(src.0)).imm(8));
    }

    fn permute32(&mut self, dst: Vector, order: Vector, src: Vector) {
        self.three(&table::VPERMD, dst, order, src.into());
    }

    fn part(&mut self, dst: Vector, src: Vector, index: usize) {
        let operands = Operands::new(src.0, 0, Rm::Register(dst.0)).imm(index as u8);
        self.asm.emit(&table::VEXTRACTI32X4, Width::Z, operands);
    }

    fn load_first(&mut self, dst: Vector, _mask: Vector, src: Mem, count: usize) {
        if count == 16 {
            return self.load(dst, src.into());
        }
        self.mask_first(count);
        let operands = Operands::new(dst.0, 0, Rm::Memory(src)).zeroed(EDGE);
        self.asm.emit(&table::VMOVDQU32, Width::Z, operands);
    }

    fn store_bytes(&mut self, dst: Mem, src: Vector, from: usize, count: usize) {
        debug_assert_eq!(from, 0);
        let operands = Operands::new(src.0, 0, Rm::Memory(dst));
        if count == 16 {
            return self.asm.emit(&table::VMOVDQU8_STORE, Width::X, operands);
        }
        self.mask_first(count);
        self.asm.emit(&table::VMOVDQU8_STORE, Width::X, operands.masked(EDGE));
    }

    fn store_first(&mut self, dst: Mem, src: Vector, count: usize) {
        if count == 16 {
            return self.store(dst, src);
        }
        self.mask_first(count);
        self.asm.emit(&table::VMOVDQU32_STORE, Width::Z, Operands::new(src.0, 0, Rm::Memory(dst)).masked(EDGE));
    }

    fn load_first16(&mut self, dst: Vector, src: Mem, count: usize) {
        let operands = Operands::new(dst.0, 0, Rm::Memory(src));
        if count == 16 {
            return self.asm.emit(&table::VMOVDQU16, Width::Y, operands);
        }
        self.mask_first(count);
        self.asm.emit(&table::VMOVDQU16, Width::Y, operands.zeroed(EDGE));
    }

    fn store_first16(&mut self, dst: Mem, src: Vector, count: usize) {
        let operands = Operands::new(src.0, 0, Rm::Memory(dst));
        if count == 16 {
            return self.asm.emit(&table::VMOVDQU16_STORE, Width::Y, operands);
        }
        self.mask_first(count);
        self.asm.emit(&table::VMOVDQU16_STORE, Width::Y, operands.masked(EDGE));
    }

    fn tile(&mut self, op: TileOp) {
        let (instruction, operands) = match op {
            TileOp::Configure(sizes) => (&table::LDTILECFG, Operands::new(0, 0, Rm::Constant(sizes))),
            TileOp::Release => (&table::TILERELEASE, Operands::new(0, 0, Rm::Register(0))),
            TileOp::Zero(tile) => (&table::TILEZERO, Operands::new(tile.0, 0, Rm::Register(0))),
            TileOp::Load(tile, from) => (&table::TILELOADD, Operands::new(tile.0, 0, Rm::Memory(from))),
            TileOp::Store(to, tile) => (&table::TILESTORED, Operands::new(tile.0, 0, Rm::Memory(to))),
            TileOp::Dot { sums, a, b, activations } => {
                let instruction = match activations {
                    Byte::U8 => &table::TDPBUSD,
                    Byte::I8 => &table::TDPBSSD,
                };
                (instruction, Operands::new(sums.0, b.0, Rm::Register(a.0)))
            }
            TileOp::DotBf16 { sums, a, b } => (&table::TDPBF16PS, Operands::new(sums.0, b.0, Rm::Register(a.0))),
        };
        self.asm.emit(instruction, Width::X, operands);
    }

    fn leave(&mut self) {
        self.asm.vzeroupper();
    }
}
