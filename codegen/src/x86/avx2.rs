//! AVX2 and FMA: sixteen 256-bit registers, no masks; with VNNI 32-bit dot products.

use dynasmrt::{DynasmApi, DynasmLabelApi, dynasm};

use super::asm::{Assembler, MachineCode, Mem, load, store};
use super::encode::{Instruction, Operands, Width};
use super::features::Features;
use super::lowering::{Lowering, Op, Source, TileOp, Vector};
use crate::CodegenError;

/// Shuffle of bytes: the lower half of each 32-bit lane to its upper half.
const EVEN_TO_UPPER: [u32; 4] = [0x0100_8080, 0x0504_8080, 0x0908_8080, 0x0d0c_8080];

const NO_PAIRS: &str = "no dot products of bf16 in 256 bits";
const NO_CONSTANT: &str = "a constant is missing";

pub(crate) struct Avx2 {
    pub(crate) asm: Assembler,
    /// The instruction of 32-bit dot products: in VEX or EVEX encoding, or none.
    pub(crate) dot: Option<&'static Instruction>,
}

impl Avx2 {
    pub(crate) fn new(dot: Option<&'static Instruction>) -> Avx2 {
        let mut asm = Assembler::new();
        // What `dynasm!` encodes here.
        asm.needs(Features::AVX.and(Features::AVX2).and(Features::FMA).and(Features::F16C));
        Avx2 { asm, dot }
    }
}

/// `$ins dst, a, b` for each kind of source `b`.
macro_rules! three {
    ($self:ident, $ins:ident, $d:expr, $a:expr, $b:expr) => {{
        let (d, a) = ($d.0, $a.0);
        match $b {
            Source::Register(b) => dynasm!($self.asm.ops ; .arch x64 ; $ins Ry(d), Ry(a), Ry(b.0)),
            Source::Memory(m) => load!($self.asm, m; $ins Ry(d), Ry(a), ),
            Source::Constant(label) => dynasm!($self.asm.ops ; .arch x64 ; $ins Ry(d), Ry(a), [=>label]),
        }
    }};
}

impl Lowering for Avx2 {
    const REGISTERS: usize = 16;

    fn asm(&mut self) -> &mut Assembler {
        &mut self.asm
    }

    fn finish(self) -> Result<MachineCode, CodegenError> {
        self.asm.machine_code()
    }

    fn zero(&mut self, dst: Vector) {
        dynasm!(self.asm.ops ; .arch x64 ; vpxor Ry(dst.0), Ry(dst.0), Ry(dst.0));
    }

    fn load(&mut self, dst: Vector, src: Source) {
        match src {
            Source::Register(src) => dynasm!(self.asm.ops ; .arch x64 ; vmovdqa Ry(dst.0), Ry(src.0)),
            Source::Memory(m) => load!(self.asm, m; vmovdqu Ry(dst.0), ),
            Source::Constant(label) => dynasm!(self.asm.ops ; .arch x64 ; vmovdqa Ry(dst.0), [=>label]),
        }
    }

    fn store(&mut self, dst: Mem, src: Vector) {
        store!(self.asm, dst; vmovdqu YWORD; Ry(src.0));
    }

    fn broadcast64(&mut self, dst: Vector, src: Mem) {
        load!(self.asm, src; vpbroadcastq Ry(dst.0), );
    }

    fn broadcast32(&mut self, dst: Vector, src: Mem) {
        load!(self.asm, src; vpbroadcastd Ry(dst.0), );
    }

    fn broadcast16(&mut self, dst: Vector, src: Mem) {
        load!(self.asm, src; vpbroadcastw Ry(dst.0), );
    }

    fn broadcast8(&mut self, dst: Vector, src: Mem) {
        load!(self.asm, src; vpbroadcastb Ry(dst.0), );
    }

    fn op(&mut self, op: Op, dst: Vector, a: Vector, b: Source) {
        match op {
            Op::MulPairsU8I8 => three!(self, vpmaddubsw, dst, a, b),
            Op::MulPairsI16 => three!(self, vpmaddwd, dst, a, b),
            Op::And => three!(self, vpand, dst, a, b),
            Op::Or => three!(self, vpor, dst, a, b),
            Op::ShuffleBytes => three!(self, vpshufb, dst, a, b),
            Op::AddI16 => three!(self, vpaddw, dst, a, b),
            Op::AddSaturatingI16 => three!(self, vpaddsw, dst, a, b),
            Op::AddI32 => three!(self, vpaddd, dst, a, b),
            Op::MinI32 => three!(self, vpminsd, dst, a, b),
            Op::MulI32 => three!(self, vpmulld, dst, a, b),
            Op::HorizontalAddI32 => three!(self, vphaddd, dst, a, b),
            Op::AddF32 => three!(self, vaddps, dst, a, b),
            Op::MulF32 => three!(self, vmulps, dst, a, b),
            Op::DivF32 => three!(self, vdivps, dst, a, b),
            Op::MaxF32 => three!(self, vmaxps, dst, a, b),
            Op::MinF32 => three!(self, vminps, dst, a, b),
            Op::MaxU8 => three!(self, vpmaxub, dst, a, b),
            Op::MinU8 => three!(self, vpminub, dst, a, b),
            Op::MaxI8 => three!(self, vpmaxsb, dst, a, b),
            Op::MinI8 => three!(self, vpminsb, dst, a, b),
            Op::PackI32I16 => three!(self, vpackssdw, dst, a, b),
            Op::PackI16U8 => three!(self, vpackuswb, dst, a, b),
            Op::PackI16I8 => three!(self, vpacksswb, dst, a, b),
        }
    }

    fn dot(&mut self, acc: Vector, a: Vector, b: Source) {
        match self.dot {
            Some(instruction) => self.asm.emit(instruction, Width::Y, Operands::new(acc.0, a.0, b)),
            None => self.asm.fail("the tier has no 32-bit dot products"),
        }
    }

    fn multiply_add_f32(&mut self, dst: Vector, a: Vector, b: Source) {
        three!(self, vfmadd213ps, dst, a, b);
    }

    fn accumulate_f32(&mut self, acc: Vector, a: Vector, b: Source) {
        three!(self, vfmadd231ps, acc, a, b);
    }

    fn load_f16(&mut self, dst: Vector, src: Mem) {
        load!(self.asm, src; vcvtph2ps Ry(dst.0), OWORD);
    }

    // One shuffle or mask: neither takes the ports of multiplications from Ice Lake and Zen 2 on.
    fn bf16_constants(&mut self) -> [Option<Source>; 2] {
        let constants = [self.asm.constant(&EVEN_TO_UPPER.repeat(2)), self.asm.constant(&[0xffff_0000; 8])];
        constants.map(|label| Some(Source::Constant(label)))
    }

    fn even_bf16(&mut self, dst: Vector, src: Source, constant: Option<Source>) {
        let Some(order) = constant else { return self.asm.fail(NO_CONSTANT) };
        let Source::Register(from) = src else {
            self.load(dst, src);
            return self.op(Op::ShuffleBytes, dst, dst, order);
        };
        self.op(Op::ShuffleBytes, dst, from, order);
    }

    fn odd_bf16(&mut self, dst: Vector, src: Source, constant: Option<Source>) {
        let Some(mask) = constant else { return self.asm.fail(NO_CONSTANT) };
        self.and(dst, src, mask);
    }

    fn prepare_pairs(&mut self) {
        self.asm.fail(NO_PAIRS);
    }

    fn load_even_pairs(&mut self, _: Vector, _: Mem, _: Option<Mem>) {
        self.asm.fail(NO_PAIRS);
    }

    fn load_odd_pairs(&mut self, _: Vector, _: Mem, _: Option<Mem>) {
        self.asm.fail(NO_PAIRS);
    }

    fn dot_bf16(&mut self, _: Vector, _: Vector, _: Source) {
        self.asm.fail(NO_PAIRS);
    }

    fn f16_to_f32(&mut self, dst: Vector, src: Vector) {
        dynasm!(self.asm.ops ; .arch x64 ; vcvtph2ps Ry(dst.0), Rx(src.0));
    }

    fn f32_to_f16(&mut self, dst: Vector, src: Vector) {
        dynasm!(self.asm.ops ; .arch x64 ; vcvtps2ph Rx(dst.0), Ry(src.0), 0);
    }

    fn widen16(&mut self, dst: Vector, src: Vector) {
        dynasm!(self.asm.ops ; .arch x64 ; vpmovzxwd Ry(dst.0), Rx(src.0));
    }

    fn shift_left32(&mut self, dst: Vector, src: Vector, bits: u8) {
        dynasm!(self.asm.ops ; .arch x64 ; vpslld Ry(dst.0), Ry(src.0), bits as i8);
    }

    fn shift_right32(&mut self, dst: Vector, src: Vector, bits: u8) {
        dynasm!(self.asm.ops ; .arch x64 ; vpsrld Ry(dst.0), Ry(src.0), bits as i8);
    }

    fn exchange_halves(&mut self, _: Vector, _: Vector, _: Vector) {
        self.asm.fail("vectors of 256 bits have natural columns");
    }

    fn i32_to_f32(&mut self, dst: Vector, src: Vector) {
        dynasm!(self.asm.ops ; .arch x64 ; vcvtdq2ps Ry(dst.0), Ry(src.0));
    }

    fn f32_to_i32(&mut self, dst: Vector, src: Vector) {
        dynasm!(self.asm.ops ; .arch x64 ; vcvtps2dq Ry(dst.0), Ry(src.0));
    }

    fn select_bits(&mut self, dst: Vector, src: Vector, mask: Source, bits: Source) {
        self.op(Op::And, dst, src, mask);
        self.op(Op::Or, dst, dst, bits);
    }

    fn high_bytes(&mut self, dst: Vector, src: Vector) {
        dynasm!(self.asm.ops ; .arch x64 ; vpsrlw Ry(dst.0), Ry(src.0), 8);
    }

    fn permute32(&mut self, dst: Vector, order: Vector, src: Vector) {
        dynasm!(self.asm.ops ; .arch x64 ; vpermd Ry(dst.0), Ry(order.0), Ry(src.0));
    }

    fn part(&mut self, dst: Vector, src: Vector, index: usize) {
        debug_assert_eq!(index, 1);
        dynasm!(self.asm.ops ; .arch x64 ; vextracti128 Rx(dst.0), Ry(src.0), 1);
    }

    fn load_first(&mut self, dst: Vector, mask: Vector, src: Mem, count: usize) {
        let lanes: [u32; 8] = std::array::from_fn(|i| if i < count { u32::MAX } else { 0 });
        let constant = self.asm.constant(&lanes);
        self.load(mask, Source::Constant(constant));
        load!(self.asm, src; vpmaskmovd Ry(dst.0), Ry(mask.0), );
    }

    fn store_bytes(&mut self, dst: Mem, src: Vector, from: usize, count: usize) {
        if count == 16 {
            store!(self.asm, dst; vmovdqu OWORD; Rx(src.0));
            return;
        }
        let (mut at, mut left, mut to) = (from, count, dst);
        for piece in [8, 4, 2, 1] {
            if left < piece {
                continue;
            }
            let lane = (at / piece) as i8;
            match piece {
                8 if lane == 0 => store!(self.asm, to; vmovq QWORD; Rx(src.0)),
                8 => store!(self.asm, to; vpextrq QWORD; Rx(src.0), lane),
                4 if lane == 0 => store!(self.asm, to; vmovd DWORD; Rx(src.0)),
                4 => store!(self.asm, to; vpextrd DWORD; Rx(src.0), lane),
                2 => store!(self.asm, to; vpextrw WORD; Rx(src.0), lane),
                _ => store!(self.asm, to; vpextrb BYTE; Rx(src.0), lane),
            }
            (at, left, to) = (at + piece, left - piece, to.offset(piece));
        }
    }

    fn store_first(&mut self, dst: Mem, src: Vector, count: usize) {
        match count {
            8 => self.store(dst, src),
            4.. => {
                self.store_bytes(dst, src, 0, 16);
                if count > 4 {
                    self.part(src, src, 1);
                    self.store_first(dst.offset(16), src, count - 4);
                }
            }
            _ => self.store_bytes(dst, src, 0, 4 * count),
        }
    }

    fn load_first16(&mut self, dst: Vector, src: Mem, count: usize) {
        debug_assert!(src.index.is_none());
        let (d, b) = (dst.0, src.base.id());
        if count == 8 {
            return load!(self.asm, src; vmovdqu Rx(d), OWORD);
        }
        self.zero(dst);
        let mut at = 0;
        for piece in [8, 4, 2] {
            if 2 * count - at < piece {
                continue;
            }
            let (from, lane) = (src.disp + at as i32, (at / piece) as i8);
            match piece {
                8 => dynasm!(self.asm.ops ; .arch x64 ; vpinsrq Rx(d), Rx(d), QWORD [DWORD Rq(b) + from], lane),
                4 => dynasm!(self.asm.ops ; .arch x64 ; vpinsrd Rx(d), Rx(d), DWORD [DWORD Rq(b) + from], lane),
                _ => dynasm!(self.asm.ops ; .arch x64 ; vpinsrw Rx(d), Rx(d), WORD [DWORD Rq(b) + from], lane),
            }
            at += piece;
        }
    }

    fn store_first16(&mut self, dst: Mem, src: Vector, count: usize) {
        self.store_bytes(dst, src, 0, 2 * count);
    }

    fn tile(&mut self, _: TileOp) {
        self.asm.fail("no tiles beside vectors of 256 bits");
    }

    fn leave(&mut self) {
        self.asm.vzeroupper();
    }
}
