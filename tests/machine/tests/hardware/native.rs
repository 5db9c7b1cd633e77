//! Execution of single instructions by the CPU, between a prologue that loads all registers and an epilogue that stores
//! them.

use gemmill_machine::Vector;
use iced_x86::{Code, Encoder, Instruction, MemoryOperand, Register};
use memmap2::{Mmap, MmapMut};

/// All registers that an instruction can see.
#[derive(Debug, Clone, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Registers {
    pub vectors: [Vector; 32],
    pub masks: [u64; 8],
    pub general: [u64; 16],
    pub flags: u64,
    /// The harness's own stack pointer, while the instruction has another.
    host_stack: u64,
}

impl Registers {
    pub fn new() -> Registers {
        Registers { vectors: [Vector::ZERO; 32], masks: [0; 8], general: [0; 16], flags: 0, host_stack: 0 }
    }
}

/// Bits of RFLAGS that are on whenever user code runs.
const FIXED_FLAGS: u64 = 0x202;

const PAGE: usize = 4096;
/// Where the instruction stands in the page, and where constants do.
const SNIPPET: usize = 0xc00;
const CONSTANTS: usize = 0xe00;
pub const CONSTANT_BYTES: usize = 256;

/// The vector registers that the CPU has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorFile {
    /// Sixteen of 256 bits.
    Ymm,
    /// 32 of 512 bits, and masks.
    Zmm,
}

impl VectorFile {
    /// That of this CPU; `None` without AVX2.
    pub fn of_this_cpu() -> Option<VectorFile> {
        if std::arch::is_x86_feature_detected!("avx512bw") && std::arch::is_x86_feature_detected!("avx512f") {
            Some(VectorFile::Zmm)
        } else {
            std::arch::is_x86_feature_detected!("avx2").then_some(VectorFile::Ymm)
        }
    }

    pub fn count(self) -> usize {
        if self == VectorFile::Zmm { 32 } else { 16 }
    }

    pub fn bytes(self) -> usize {
        if self == VectorFile::Zmm { 64 } else { 32 }
    }
}

/// A page of code around one instruction.
pub struct Harness {
    page: Option<Mmap>,
    base: u64,
    /// Where a return of the instruction's code has to go.
    continuation: u64,
    /// Allocated by `new`, and known to the code in the page.
    registers: *mut Registers,
}

impl Drop for Harness {
    fn drop(&mut self) {
        // SAFETY: made by `Box::into_raw` and given to nobody but the code in the page, which does not run any more.
        drop(unsafe { Box::from_raw(self.registers) });
    }
}

struct Assembler {
    base: u64,
    bytes: Vec<u8>,
}

impl Assembler {
    fn push(&mut self, instruction: Result<Instruction, iced_x86::IcedError>) {
        let mut encoder = Encoder::new(64);
        let instruction = instruction.expect("operands of this code");
        encoder.encode(&instruction, self.base + self.bytes.len() as u64).expect("encodable");
        self.bytes.extend(encoder.take_buffer());
    }
}

const CALLEE_SAVED: [Register; 6] =
    [Register::RBX, Register::RBP, Register::R12, Register::R13, Register::R14, Register::R15];

impl Harness {
    pub fn new(file: VectorFile, constants: &[u8; CONSTANT_BYTES]) -> Harness {
        let mut page = MmapMut::map_anon(PAGE).expect("a page");
        let base = page.as_ptr().expose_provenance() as u64;
        let registers = Box::into_raw(Box::new(Registers::new()));
        let (code, continuation) = frame(file, base, registers);
        assert!(code.len() <= SNIPPET);
        page[..code.len()].copy_from_slice(&code);
        page[CONSTANTS..][..CONSTANT_BYTES].copy_from_slice(constants);
        let page = page.make_exec().expect("executable memory");
        Harness { page: Some(page), base, continuation, registers }
    }

    /// Address of the instruction.
    pub fn snippet_address(&self) -> u64 {
        self.base + SNIPPET as u64
    }

    /// Address of the constants.
    pub fn constants_address(&self) -> u64 {
        self.base + CONSTANTS as u64
    }

    /// The return address that has to lie on the instruction's stack.
    pub fn return_address(&self) -> u64 {
        self.continuation
    }

    /// Puts an instruction in its place. The pages are writable for so long only.
    pub fn place(&mut self, bytes: &[u8]) {
        assert!(SNIPPET + bytes.len() <= CONSTANTS);
        let mut page = self.page.take().expect("a page").make_mut().expect("writable memory");
        page[SNIPPET..][..bytes.len()].copy_from_slice(bytes);
        self.page = Some(page.make_exec().expect("executable memory"));
    }

    /// The code of the instruction, where it lies.
    pub fn snippet(&self, len: usize) -> &[u8] {
        &self.page.as_ref().expect("a page")[SNIPPET..][..len]
    }

    /// Has the CPU execute the instruction.
    ///
    /// # Safety
    /// The CPU must have it, memory that it accesses must be there, and its stack must hold the return address.
    pub unsafe fn run(&mut self, registers: &mut Registers) {
        registers.flags |= FIXED_FLAGS;
        // SAFETY: allocated by `new`, and nobody holds a reference to it.
        unsafe { self.registers.write(registers.clone()) };
        // SAFETY: the page holds a function without arguments, made by `frame`.
        let function: unsafe extern "sysv64" fn() = unsafe { std::mem::transmute(self.base as usize) };
        // SAFETY: the caller's promise; the frame saves and restores what the convention asks for.
        unsafe { function() };
        // SAFETY: as above.
        *registers = unsafe { self.registers.read() };
    }
}

/// The code around the instruction, and the address where it continues behind it.
fn frame(file: VectorFile, base: u64, registers: *mut Registers) -> (Vec<u8>, u64) {
    use Register::{RAX, RSP};
    let address = registers.expose_provenance() as u64;
    let at = |offset: usize| MemoryOperand::with_base_displ(RAX, offset as i64);
    let general = |n: usize| at(std::mem::offset_of!(Registers, general) + 8 * n);
    let mask = |n: usize| at(std::mem::offset_of!(Registers, masks) + 8 * n);
    let vector = |n: usize| at(64 * n);
    let flags = at(std::mem::offset_of!(Registers, flags));
    let host_stack = at(std::mem::offset_of!(Registers, host_stack));
    let number = |register, n: usize| register + n as u32;

    let mut asm = Assembler { base, bytes: Vec::new() };
    for register in CALLEE_SAVED {
        asm.push(Instruction::with1(Code::Push_r64, register));
    }
    asm.push(Instruction::with2(Code::Mov_r64_imm64, RAX, address));
    asm.push(Instruction::with2(Code::Mov_rm64_r64, host_stack, RSP));
    for n in 0..file.count() {
        asm.push(match file {
            VectorFile::Zmm => {
                Instruction::with2(Code::EVEX_Vmovdqu64_zmm_k1z_zmmm512, number(Register::ZMM0, n), vector(n))
            }
            VectorFile::Ymm => Instruction::with2(Code::VEX_Vmovdqu_ymm_ymmm256, number(Register::YMM0, n), vector(n)),
        });
    }
    if file == VectorFile::Zmm {
        for n in 0..8 {
            asm.push(Instruction::with2(Code::VEX_Kmovq_kr_km64, number(Register::K0, n), mask(n)));
        }
    }
    asm.push(Instruction::with1(Code::Push_rm64, flags));
    asm.push(Ok(Instruction::with(Code::Popfq)));
    for n in 1..16 {
        asm.push(Instruction::with2(Code::Mov_r64_rm64, number(RAX, n), general(n)));
    }
    asm.push(Instruction::with2(Code::Mov_r64_rm64, RAX, general(0)));
    asm.push(Instruction::with_branch(Code::Jmp_rel32_64, base + SNIPPET as u64));

    let continuation = base + asm.bytes.len() as u64;
    let rax = address + std::mem::offset_of!(Registers, general) as u64;
    asm.push(Instruction::with2(Code::Mov_moffs64_RAX, MemoryOperand::with_displ(rax, 8), RAX));
    asm.push(Instruction::with2(Code::Mov_r64_imm64, RAX, address));
    for n in 1..16 {
        asm.push(Instruction::with2(Code::Mov_rm64_r64, general(n), number(RAX, n)));
    }
    asm.push(Instruction::with2(Code::Mov_r64_rm64, RSP, host_stack));
    asm.push(Ok(Instruction::with(Code::Pushfq)));
    asm.push(Instruction::with1(Code::Pop_rm64, flags));
    for n in 0..file.count() {
        asm.push(match file {
            VectorFile::Zmm => {
                Instruction::with2(Code::EVEX_Vmovdqu64_zmmm512_k1z_zmm, vector(n), number(Register::ZMM0, n))
            }
            VectorFile::Ymm => Instruction::with2(Code::VEX_Vmovdqu_ymmm256_ymm, vector(n), number(Register::YMM0, n)),
        });
    }
    if file == VectorFile::Zmm {
        for n in 0..8 {
            asm.push(Instruction::with2(Code::VEX_Kmovq_m64_kr, mask(n), number(Register::K0, n)));
        }
    }
    asm.push(Ok(Instruction::with(Code::VEX_Vzeroupper)));
    for register in CALLEE_SAVED.into_iter().rev() {
        asm.push(Instruction::with1(Code::Pop_r64, register));
    }
    asm.push(Ok(Instruction::with(Code::Retnq)));
    (asm.bytes, continuation)
}
