//! Conversions between f16 and f32 on every f16, and on f32 from all parts of the number line.

use std::fmt::Debug;

use bytemuck::Pod;
use gemmill_machine::{Program, State, Vector};
use iced_x86::{Code, Encoder, Instruction, Register};

use crate::native::{CONSTANT_BYTES, Harness, Registers, VectorFile};
use crate::say;

/// Numbers of one instruction.
const LANES: usize = 8;

/// Has the CPU and the model execute an instruction that makes register 1 from register 2.
struct Conversion {
    harness: Harness,
    program: Program,
    registers: Registers,
    state: State,
    /// What the CPU's stack pointer refers to.
    stack: Box<u64>,
}

impl Conversion {
    fn new(instruction: Instruction) -> Conversion {
        let mut harness = Harness::new(VectorFile::Ymm, &[0; CONSTANT_BYTES]);
        let mut encoder = Encoder::new(64);
        encoder.encode(&instruction, harness.snippet_address()).expect("encodable");
        encoder.encode(&Instruction::with(Code::Retnq), harness.snippet_address()).expect("encodable");
        let bytes = encoder.take_buffer();
        harness.place(&bytes);
        let program = Program::decode(harness.snippet(bytes.len())).unwrap_or_else(|fault| panic!("{fault}"));
        let stack = Box::new(harness.return_address());
        Conversion { harness, program, registers: Registers::new(), state: State::arbitrary(), stack }
    }

    /// Compares the whole result for some numbers.
    fn compare<L: Pod + Debug>(&mut self, numbers: &[L]) {
        let mut source = Vector::ZERO;
        source.lanes_mut::<L>()[..numbers.len()].copy_from_slice(numbers);
        (self.registers.vectors[2], self.state.vectors[2]) = (source, source);
        self.registers.general[4] = (&raw mut *self.stack).expose_provenance() as u64;
        // SAFETY: the CPU has the instruction, which has no operand in memory; the return address is on its stack.
        unsafe { self.harness.run(&mut self.registers) };
        // SAFETY: the instruction has no operand in memory.
        unsafe { self.program.execute(&mut self.state) }.unwrap_or_else(|fault| panic!("{fault}"));
        let (cpu, model) = (self.registers.vectors[1], self.state.vectors[1]);
        assert!(cpu == model, "{}: {numbers:x?}: {cpu:x?} on the CPU, {model:x?}", self.program.instructions()[0]);
    }
}

fn lacks_f16c(test: &str) -> bool {
    let lacking = VectorFile::of_this_cpu().is_none() || !std::arch::is_x86_feature_detected!("f16c");
    if lacking {
        say(&format!("SKIPPED {test}: this CPU lacks AVX2 or F16C"));
    }
    lacking
}

#[test]
fn every_f16_becomes_the_same_f32() {
    if lacks_f16c("every_f16_becomes_the_same_f32") {
        return;
    }
    let instruction = Instruction::with2(Code::VEX_Vcvtph2ps_ymm_xmmm128, Register::YMM1, Register::XMM2);
    let mut conversion = Conversion::new(instruction.expect("operands of this code"));
    let all: Vec<u16> = (0..=u16::MAX).collect();
    all.chunks(LANES).for_each(|numbers| conversion.compare(numbers));
}

/// All leading bits that an f16 can have, followed by nothing, by half a unit and by what is next to these; some of
/// those for exponents that an f16 does not have.
#[test]
fn f32_become_the_same_f16() {
    if lacks_f16c("f32_become_the_same_f16") {
        return;
    }
    let mut numbers = Vec::new();
    for sign_and_exponent in 0..512u32 {
        let held_by_f16 = (100..=144).contains(&(sign_and_exponent & 255));
        for fraction in (0..1024).step_by(if held_by_f16 { 1 } else { 93 }) {
            let rest = [0, 1, 0xfff, 0x1000, 0x1001, 0x1fff];
            numbers.extend(rest.map(|rest| sign_and_exponent << 23 | fraction << 13 | rest));
        }
        // Denormals and their ties have bits further down, or up.
        numbers.extend(
            (0..23).flat_map(|bit| [1u32 << bit, (1 << bit) + 1, (1 << bit) - 1]).map(|f| sign_and_exponent << 23 | f),
        );
    }
    for rounding in [0u32, 1, 2, 3, 4, 7] {
        let code = Code::VEX_Vcvtps2ph_xmmm128_ymm_imm8;
        let instruction = Instruction::with3(code, Register::XMM1, Register::YMM2, rounding);
        let mut conversion = Conversion::new(instruction.expect("operands of this code"));
        numbers.chunks(LANES).for_each(|numbers| conversion.compare(numbers));
    }
    eprintln!("{} numbers", numbers.len());
}
