//! The scalar frame of a kernel: registers, addresses, loops. The same on every x86-64 tier.

use dynasmrt::x64::X64Relocation;
use dynasmrt::{DynamicLabel, DynasmApi, DynasmLabelApi, VecAssembler, dynasm};

use super::encode::{Scalar, W};
use super::features::Features;
pub(crate) use super::operand::{Gpr, Mem, Scale};
use crate::CodegenError;

/// Bytes of a cache line, which a prefetch brings in.
pub(crate) const LINE_BYTES: usize = 64;

const MOV_LOAD: Scalar = Scalar { name: "mov", w: W::W1, opcode: &[0x8B] };
const MOV_LOAD_32: Scalar = Scalar { name: "mov", w: W::W0, opcode: &[0x8B] };
const MOV_STORE: Scalar = Scalar { name: "mov", w: W::W1, opcode: &[0x89] };
const MOVZX_16: Scalar = Scalar { name: "movzx", w: W::W0, opcode: &[0x0F, 0xB7] };
const LEA: Scalar = Scalar { name: "lea", w: W::W1, opcode: &[0x8D] };
const ADD_LOAD: Scalar = Scalar { name: "add", w: W::W1, opcode: &[0x03] };
const ADD_STORE: Scalar = Scalar { name: "add", w: W::W1, opcode: &[0x01] };
/// Arithmetic of memory and an immediate of a byte, or of four; the other half of the opcode says which.
const WITH_BYTE: Scalar = Scalar { name: "add or sub", w: W::W1, opcode: &[0x83] };
const WITH_DWORD: Scalar = Scalar { name: "add or sub", w: W::W1, opcode: &[0x81] };
const ADD: u8 = 0;
const SUB: u8 = 5;
/// The other half of the opcode says into which cache.
const PREFETCH: Scalar = Scalar { name: "prefetch", w: W::W0, opcode: &[0x0F, 0x18] };
const T0: u8 = 1;
const T1: u8 = 2;

/// Emits an instruction whose last operand is the number `$imm`, sign-extended, in its shortest form.
macro_rules! immediate {
    ($asm:expr, $imm:expr; $($ins:tt)*) => {{
        let imm = $asm.signed($imm);
        match i8::try_from(imm) {
            Ok(imm) => dynasm!($asm.ops ; .arch x64 ; $($ins)* BYTE imm),
            Err(_) => dynasm!($asm.ops ; .arch x64 ; $($ins)* DWORD imm),
        }
    }};
}

/// Collects instructions and constants, and what a CPU needs for them.
///
/// What cannot be encoded gives no bytes: [`Assembler::finish`] fails, with the first such thing as the reason.
pub(crate) struct Assembler {
    pub(crate) ops: VecAssembler<X64Relocation>,
    constants: Vec<(DynamicLabel, Vec<u32>)>,
    /// What the CPU must have to run the instructions so far.
    pub(super) features: Features,
    /// Why there is no code.
    pub(super) failure: Option<String>,
}

/// A finished kernel: its bytes, and what a CPU must have to run them.
pub struct MachineCode {
    pub(crate) bytes: Vec<u8>,
    pub(crate) features: Features,
}

impl Assembler {
    pub(crate) fn new() -> Assembler {
        // Room for most kernels, so that they are assembled without growing.
        Assembler {
            ops: VecAssembler::new_with_capacity(0, 4096, 0, 0, 32, 0, 32),
            constants: Vec::with_capacity(8),
            features: Features::NONE,
            failure: None,
        }
    }

    /// Makes [`Assembler::finish`] fail. Of several reasons the first counts.
    #[cold]
    pub(crate) fn fail(&mut self, reason: impl Into<String>) {
        self.failure.get_or_insert_with(|| reason.into());
    }

    /// Notes what an instruction needs.
    pub(crate) fn needs(&mut self, features: Features) {
        self.features.add(features);
    }

    /// A label to jump to, not placed yet.
    pub(crate) fn label(&mut self) -> DynamicLabel {
        self.ops.new_dynamic_label()
    }

    pub(crate) fn place(&mut self, label: DynamicLabel) {
        dynasm!(self.ops ; .arch x64 ; =>label);
    }

    /// A label for 32 bytes or a multiple of 64 that will stand behind the code. Equal constants share a place.
    pub(crate) fn constant(&mut self, dwords: &[u32]) -> DynamicLabel {
        if let Some((label, _)) = self.constants.iter().find(|(_, c)| c == dwords) {
            return *label;
        }
        let bytes = size_of_val(dwords);
        if bytes != 32 && (bytes == 0 || !bytes.is_multiple_of(LINE_BYTES)) {
            self.fail(format!("a constant of {bytes} bytes: expected 32 or a multiple of {LINE_BYTES}"));
        }
        let label = self.label();
        self.constants.push((label, dwords.to_vec()));
        label
    }

    /// `dst = address of a constant`
    pub(crate) fn lea_constant(&mut self, dst: Gpr, label: DynamicLabel) {
        dynasm!(self.ops ; .arch x64 ; lea Rq(dst.id()), [=>label]);
    }

    /// The finished kernel.
    pub(crate) fn machine_code(self) -> Result<MachineCode, CodegenError> {
        let features = self.features;
        Ok(MachineCode { bytes: self.finish()?, features })
    }

    /// The finished bytes.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, CodegenError> {
        if let Some(reason) = self.failure {
            return Err(CodegenError::Assemble(reason));
        }
        if !self.constants.is_empty() {
            dynasm!(self.ops ; .arch x64 ; .align 64);
        }
        let mut constants = std::mem::take(&mut self.constants);
        // The longest first, so that none of them crosses a cache line.
        constants.sort_by_key(|(_, dwords)| std::cmp::Reverse(dwords.len()));
        for (label, dwords) in constants {
            dynasm!(self.ops ; .arch x64 ; =>label);
            dwords.iter().for_each(|&d| self.ops.push_u32(d));
        }
        self.ops.finalize().map_err(|e| CodegenError::Assemble(e.to_string()))
    }

    /// A number as an immediate, which instructions extend by its sign.
    fn signed(&mut self, imm: usize) -> i32 {
        i32::try_from(imm).unwrap_or_else(|_| {
            self.fail(format!("immediate {imm}: expected 0 to {}", i32::MAX));
            0
        })
    }

    pub(crate) fn push(&mut self, r: Gpr) {
        dynasm!(self.ops ; .arch x64 ; push Rq(r.id()));
    }

    pub(crate) fn pop(&mut self, r: Gpr) {
        dynasm!(self.ops ; .arch x64 ; pop Rq(r.id()));
    }

    pub(crate) fn ret(&mut self) {
        dynasm!(self.ops ; .arch x64 ; ret);
    }

    pub(crate) fn load64(&mut self, dst: Gpr, mem: Mem) {
        self.emit_scalar(&MOV_LOAD, dst.id(), mem);
    }

    pub(crate) fn load32(&mut self, dst: Gpr, mem: Mem) {
        self.emit_scalar(&MOV_LOAD_32, dst.id(), mem);
    }

    pub(crate) fn load16(&mut self, dst: Gpr, mem: Mem) {
        self.emit_scalar(&MOVZX_16, dst.id(), mem);
    }

    /// `dst = imm`, zero-extended.
    pub(crate) fn load_imm(&mut self, dst: Gpr, imm: u32) {
        dynasm!(self.ops ; .arch x64 ; mov Rd(dst.id()), DWORD imm.cast_signed());
    }

    pub(crate) fn vzeroupper(&mut self) {
        self.needs(Features::AVX);
        dynasm!(self.ops ; .arch x64 ; vzeroupper);
    }

    pub(crate) fn store64(&mut self, mem: Mem, src: Gpr) {
        self.emit_scalar(&MOV_STORE, src.id(), mem);
    }

    /// `dst = address`
    pub(crate) fn lea(&mut self, dst: Gpr, mem: Mem) {
        self.emit_scalar(&LEA, dst.id(), mem);
    }

    pub(crate) fn add(&mut self, dst: Gpr, src: Gpr) {
        dynasm!(self.ops ; .arch x64 ; add Rq(dst.id()), Rq(src.id()));
    }

    /// Adds a 64-bit number from memory.
    pub(crate) fn add_from(&mut self, dst: Gpr, mem: Mem) {
        self.emit_scalar(&ADD_LOAD, dst.id(), mem);
    }

    pub(crate) fn add_imm(&mut self, dst: Gpr, imm: usize) {
        immediate!(self, imm; add Rq(dst.id()), );
    }

    pub(crate) fn sub_imm(&mut self, dst: Gpr, imm: usize) {
        immediate!(self, imm; sub Rq(dst.id()), );
    }

    /// Unsigned, by less than 64.
    pub(crate) fn shift_right_imm(&mut self, dst: Gpr, bits: u8) {
        if bits >= 64 {
            self.fail(format!("shr: by {bits} bits: expected 0 to 63"));
        }
        dynasm!(self.ops ; .arch x64 ; shr Rq(dst.id()), BYTE bits.cast_signed());
    }

    pub(crate) fn and_imm(&mut self, dst: Gpr, imm: u8) {
        immediate!(self, imm.into(); and Rq(dst.id()), );
    }

    pub(crate) fn negate(&mut self, dst: Gpr) {
        dynasm!(self.ops ; .arch x64 ; neg Rq(dst.id()));
    }

    pub(crate) fn multiply_imm(&mut self, dst: Gpr, imm: usize) {
        immediate!(self, imm; imul Rq(dst.id()), Rq(dst.id()), );
    }

    /// Adds to a 64-bit number in memory.
    pub(crate) fn add_to(&mut self, mem: Mem, src: Gpr) {
        self.emit_scalar(&ADD_STORE, src.id(), mem);
    }

    /// Adds to a 64-bit number in memory.
    pub(crate) fn add_imm_to(&mut self, mem: Mem, imm: usize) {
        let imm = self.signed(imm);
        match i8::try_from(imm) {
            Ok(byte) => {
                self.emit_scalar(&WITH_BYTE, ADD, mem);
                self.ops.push_i8(byte);
            }
            Err(_) => {
                self.emit_scalar(&WITH_DWORD, ADD, mem);
                self.ops.push_i32(imm);
            }
        }
    }

    /// A hint that a cache line will be read. Any address is allowed.
    pub(crate) fn prefetch(&mut self, mem: Mem) {
        self.emit_scalar(&PREFETCH, T0, mem);
    }

    /// The same for the second-level cache.
    pub(crate) fn prefetch_l2(&mut self, mem: Mem) {
        self.emit_scalar(&PREFETCH, T1, mem);
    }

    /// Decrements and jumps while the result is not zero.
    pub(crate) fn dec_jump_not_zero(&mut self, counter: Gpr, label: DynamicLabel) {
        dynasm!(self.ops ; .arch x64 ; dec Rq(counter.id()) ; jnz =>label);
    }

    /// Decrements a 64-bit number in memory and jumps while the result is not zero.
    pub(crate) fn dec_mem_jump_not_zero(&mut self, mem: Mem, label: DynamicLabel) {
        self.emit_scalar(&WITH_BYTE, SUB, mem);
        self.ops.push_i8(1);
        dynasm!(self.ops ; .arch x64 ; jnz =>label);
    }

    pub(crate) fn jump_if_zero(&mut self, r: Gpr, label: DynamicLabel) {
        dynasm!(self.ops ; .arch x64 ; test Rq(r.id()), Rq(r.id()) ; jz =>label);
    }

    pub(crate) fn jump_if_below(&mut self, r: Gpr, limit: usize, label: DynamicLabel) {
        let limit = self.signed(limit);
        dynasm!(self.ops ; .arch x64 ; cmp Rq(r.id()), DWORD limit ; jb =>label);
    }

    pub(crate) fn jump_if_not_below(&mut self, r: Gpr, limit: usize, label: DynamicLabel) {
        let limit = self.signed(limit);
        dynasm!(self.ops ; .arch x64 ; cmp Rq(r.id()), DWORD limit ; jae =>label);
    }
}

#[cfg(test)]
mod tests;
