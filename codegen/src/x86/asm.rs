//! The scalar frame of a kernel: registers, addresses, loops. The same on every x86-64 tier.

use dynasmrt::x64::X64Relocation;
use dynasmrt::{DynamicLabel, DynasmApi, DynasmLabelApi, VecAssembler, dynasm};

use super::encode::Emitted;
use super::features::Features;
use crate::CodegenError;

/// Bytes of a cache line, which a prefetch brings in.
pub(crate) const LINE_BYTES: usize = 64;

/// A 64-bit general-purpose register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Gpr {
    Rax = 0,
    Rcx = 1,
    Rdx = 2,
    Rbx = 3,
    Rbp = 5,
    Rsi = 6,
    Rdi = 7,
    R8 = 8,
    R9 = 9,
    R10 = 10,
    R11 = 11,
    R12 = 12,
    R13 = 13,
    R14 = 14,
    R15 = 15,
}

impl Gpr {
    /// Registers that a System V callee must hand back as it found them.
    pub(crate) const CALLEE_SAVED: [Gpr; 6] = [Gpr::Rbx, Gpr::Rbp, Gpr::R12, Gpr::R13, Gpr::R14, Gpr::R15];

    /// The number in encodings.
    pub(crate) fn id(self) -> u8 {
        self as u8
    }
}

/// The factor of an index register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    X1,
    X2,
    X4,
    X8,
}

/// An address: `base + index * scale + disp`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mem {
    pub(crate) base: Gpr,
    pub(crate) index: Option<(Gpr, Scale)>,
    pub(crate) disp: i32,
}

impl Mem {
    pub(crate) fn at(base: Gpr, disp: usize) -> Mem {
        Mem { base, index: None, disp: disp as i32 }
    }

    pub(crate) fn offset(self, bytes: usize) -> Mem {
        Mem { disp: self.disp + bytes as i32, ..self }
    }
}

/// Emits an instruction whose last operand is the address `$mem`, with the shortest displacement.
macro_rules! load {
    ($asm:expr, $mem:expr; $($ins:tt)*) => {{
        let m: $crate::x86::asm::Mem = $mem;
        let b = m.base.id();
        match (m.index, i8::try_from(m.disp)) {
            (None, Ok(d)) => dynasm!($asm.ops ; .arch x64 ; $($ins)* [BYTE Rq(b) + d]),
            (None, Err(_)) => dynasm!($asm.ops ; .arch x64 ; $($ins)* [DWORD Rq(b) + m.disp]),
            (Some((i, scale)), _) => {
                use $crate::x86::asm::Scale;
                let (i, d) = (i.id(), m.disp);
                match scale {
                    Scale::X1 => dynasm!($asm.ops ; .arch x64 ; $($ins)* [DWORD Rq(b) + Rq(i) * 1 + d]),
                    Scale::X2 => dynasm!($asm.ops ; .arch x64 ; $($ins)* [DWORD Rq(b) + Rq(i) * 2 + d]),
                    Scale::X4 => dynasm!($asm.ops ; .arch x64 ; $($ins)* [DWORD Rq(b) + Rq(i) * 4 + d]),
                    Scale::X8 => dynasm!($asm.ops ; .arch x64 ; $($ins)* [DWORD Rq(b) + Rq(i) * 8 + d]),
                }
            }
        }
    }};
}
pub(crate) use load;

/// Emits an instruction whose first operand is the address `$mem`, which has no index.
macro_rules! store {
    ($asm:expr, $mem:expr; $ins:ident $size:ident ; $($rest:tt)*) => {{
        let m: $crate::x86::asm::Mem = $mem;
        debug_assert!(m.index.is_none());
        let (b, d) = (m.base.id(), m.disp);
        dynasm!($asm.ops ; .arch x64 ; $ins $size [DWORD Rq(b) + d], $($rest)*)
    }};
}
pub(crate) use store;

/// Collects instructions and constants.
pub(crate) struct Assembler {
    pub(crate) ops: VecAssembler<X64Relocation>,
    constants: Vec<(DynamicLabel, Vec<u32>)>,
    /// What the table-driven encoder notes; see [`Assembler::emit`].
    pub(super) emitted: Emitted,
    /// The first thing that a lowering was asked for and cannot do.
    failure: Option<&'static str>,
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
            emitted: Emitted::default(),
            failure: None,
        }
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
        let label = self.label();
        self.constants.push((label, dwords.to_vec()));
        label
    }

    /// `dst = address of a constant`
    pub(crate) fn lea_constant(&mut self, dst: Gpr, label: DynamicLabel) {
        dynasm!(self.ops ; .arch x64 ; lea Rq(dst.id()), [=>label]);
    }

    /// Makes [`Assembler::finish`] fail: a lowering was asked for what its tier does not have.
    #[cold]
    pub(crate) fn fail(&mut self, reason: &'static str) {
        self.failure.get_or_insert(reason);
    }

    /// The finished kernel.
    pub(crate) fn machine_code(self) -> Result<MachineCode, CodegenError> {
        let features = self.features();
        Ok(MachineCode { bytes: self.finish()?, features })
    }

    /// The finished bytes.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, CodegenError> {
        if let Some(refused) = self.emitted.refused().or(self.failure.map(str::to_owned)) {
            return Err(CodegenError::Assemble(refused));
        }
        if !self.constants.is_empty() {
            dynasm!(self.ops ; .arch x64 ; .align 64);
        }
        let mut constants = std::mem::take(&mut self.constants);
        // The longest first, so that none of them crosses a cache line.
        constants.sort_by_key(|(_, dwords)| std::cmp::Reverse(dwords.len()));
        for (label, dwords) in constants {
            self.place(label);
            dwords.iter().for_each(|&d| self.ops.push_u32(d));
        }
        self.ops.finalize().map_err(|e| CodegenError::Assemble(e.to_string()))
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
        load!(self, mem; mov Rq(dst.id()), QWORD);
    }

    pub(crate) fn load32(&mut self, dst: Gpr, mem: Mem) {
        load!(self, mem; mov Rd(dst.id()), DWORD);
    }

    pub(crate) fn load16(&mut self, dst: Gpr, mem: Mem) {
        load!(self, mem; movzx Rd(dst.id()), WORD);
    }

    /// `dst = imm`, zero-extended.
    pub(crate) fn load_imm(&mut self, dst: Gpr, imm: u32) {
        dynasm!(self.ops ; .arch x64 ; mov Rd(dst.id()), DWORD imm as i32);
    }

    pub(crate) fn vzeroupper(&mut self) {
        dynasm!(self.ops ; .arch x64 ; vzeroupper);
    }

    pub(crate) fn store64(&mut self, mem: Mem, src: Gpr) {
        store!(self, mem; mov QWORD; Rq(src.id()));
    }

    /// `dst = address`
    pub(crate) fn lea(&mut self, dst: Gpr, mem: Mem) {
        load!(self, mem; lea Rq(dst.id()), );
    }

    pub(crate) fn add(&mut self, dst: Gpr, src: Gpr) {
        dynasm!(self.ops ; .arch x64 ; add Rq(dst.id()), Rq(src.id()));
    }

    /// Adds a 64-bit number from memory.
    pub(crate) fn add_from(&mut self, dst: Gpr, mem: Mem) {
        load!(self, mem; add Rq(dst.id()), QWORD);
    }

    pub(crate) fn add_imm(&mut self, dst: Gpr, imm: usize) {
        let imm = imm as i32;
        match i8::try_from(imm) {
            Ok(imm) => dynasm!(self.ops ; .arch x64 ; add Rq(dst.id()), BYTE imm),
            Err(_) => dynasm!(self.ops ; .arch x64 ; add Rq(dst.id()), DWORD imm),
        }
    }

    pub(crate) fn sub_imm(&mut self, dst: Gpr, imm: usize) {
        dynasm!(self.ops ; .arch x64 ; sub Rq(dst.id()), DWORD imm as i32);
    }

    /// Unsigned.
    pub(crate) fn shift_right_imm(&mut self, dst: Gpr, bits: u8) {
        dynasm!(self.ops ; .arch x64 ; shr Rq(dst.id()), BYTE bits as i8);
    }

    pub(crate) fn and_imm(&mut self, dst: Gpr, imm: u8) {
        debug_assert!(imm < 128, "sign-extended");
        dynasm!(self.ops ; .arch x64 ; and Rq(dst.id()), BYTE imm as i8);
    }

    pub(crate) fn negate(&mut self, dst: Gpr) {
        dynasm!(self.ops ; .arch x64 ; neg Rq(dst.id()));
    }

    pub(crate) fn multiply_imm(&mut self, dst: Gpr, imm: usize) {
        dynasm!(self.ops ; .arch x64 ; imul Rq(dst.id()), Rq(dst.id()), DWORD imm as i32);
    }

    /// Adds to a 64-bit number in memory.
    pub(crate) fn add_to(&mut self, mem: Mem, src: Gpr) {
        store!(self, mem; add QWORD; Rq(src.id()));
    }

    /// Adds to a 64-bit number in memory.
    pub(crate) fn add_imm_to(&mut self, mem: Mem, imm: usize) {
        store!(self, mem; add QWORD; DWORD imm as i32);
    }

    /// A hint that a cache line will be read. Any address is allowed.
    pub(crate) fn prefetch(&mut self, mem: Mem) {
        load!(self, mem; prefetcht0 );
    }

    /// The same for the second-level cache.
    pub(crate) fn prefetch_l2(&mut self, mem: Mem) {
        load!(self, mem; prefetcht1 );
    }

    /// Decrements and jumps while the result is not zero.
    pub(crate) fn dec_jump_not_zero(&mut self, counter: Gpr, label: DynamicLabel) {
        dynasm!(self.ops ; .arch x64 ; dec Rq(counter.id()) ; jnz =>label);
    }

    /// Decrements a 64-bit number in memory and jumps while the result is not zero.
    pub(crate) fn dec_mem_jump_not_zero(&mut self, mem: Mem, label: DynamicLabel) {
        store!(self, mem; sub QWORD; BYTE 1);
        dynasm!(self.ops ; .arch x64 ; jnz =>label);
    }

    pub(crate) fn jump_if_zero(&mut self, r: Gpr, label: DynamicLabel) {
        dynasm!(self.ops ; .arch x64 ; test Rq(r.id()), Rq(r.id()) ; jz =>label);
    }

    pub(crate) fn jump_if_below(&mut self, r: Gpr, limit: usize, label: DynamicLabel) {
        dynasm!(self.ops ; .arch x64 ; cmp Rq(r.id()), DWORD limit as i32 ; jb =>label);
    }

    pub(crate) fn jump_if_not_below(&mut self, r: Gpr, limit: usize, label: DynamicLabel) {
        dynasm!(self.ops ; .arch x64 ; cmp Rq(r.id()), DWORD limit as i32 ; jae =>label);
    }
}
