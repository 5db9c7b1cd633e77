//! Every form of an instruction, with random registers, addresses and numbers.

use iced_x86::{
    Code, Decoder, DecoderOptions, Encoder, EncodingKind, Instruction, OpCodeOperandKind, OpKind, Register,
};

use crate::common::Rng;

/// Where the operand is that can be in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Register,
    /// At a base register, an index register times a factor, and a distance.
    Memory,
    /// At a distance from the stack pointer.
    Stack,
    /// Behind the code.
    Code,
    /// One element for all lanes.
    Broadcast,
}

/// What a mask does to the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Masking {
    None,
    Merge,
    Zero,
}

/// What distinguishes the forms of one opcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variant {
    pub place: Place,
    pub masking: Masking,
}

impl Variant {
    pub fn all() -> impl Iterator<Item = Variant> {
        let places = [Place::Register, Place::Memory, Place::Stack, Place::Code, Place::Broadcast];
        let maskings = [Masking::None, Masking::Merge, Masking::Zero];
        places.into_iter().flat_map(move |place| maskings.map(|masking| Variant { place, masking }))
    }
}

/// Where code and memory operands go.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// Address of the instruction.
    pub code: u64,
    /// Address of bytes that can only be read, near the code.
    pub constants: u64,
}

/// An instruction, ready to be executed.
#[derive(Debug, Clone)]
pub struct Form {
    pub instruction: Instruction,
    /// The instruction, what it needs around itself, and a return.
    pub bytes: Vec<u8>,
}

const RETURN: u8 = 0xc3;
/// `lea rax, [rax + 1]`
const COUNT: [u8; 4] = [0x48, 0x8d, 0x40, 0x01];
/// `lea rsp, [rsp + 8]` and `lea rsp, [rsp - 8]`
const RAISE_STACK: [u8; 5] = [0x48, 0x8d, 0x64, 0x24, 0x08];
const LOWER_STACK: [u8; 5] = [0x48, 0x8d, 0x64, 0x24, 0xf8];

/// Numbers at the limits of what they are used for.
const NUMBERS: [u8; 20] = [0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 127, 128, 200, 255];

/// A general-purpose register other than the stack pointer.
fn general(first: Register, rng: &mut Rng) -> Register {
    first + rng.pick(&[0u32, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])
}

fn register(kind: OpCodeOperandKind, registers: u32, rng: &mut Rng) -> Option<Register> {
    use OpCodeOperandKind as K;
    let first_byte = [Register::AL, Register::CL, Register::DL, Register::BL];
    Some(match kind {
        K::r8_or_mem | K::r8_reg | K::r8_opcode => match rng.below(15) {
            n @ 0..4 => first_byte[n],
            n @ 4..7 => Register::BPL + (n as u32 - 4),
            n => Register::R8L + (n as u32 - 7),
        },
        K::r16_or_mem | K::r16_reg | K::r16_reg_mem | K::r16_rm | K::r16_opcode => general(Register::AX, rng),
        K::r32_or_mem | K::r32_reg | K::r32_reg_mem | K::r32_rm | K::r32_opcode => general(Register::EAX, rng),
        K::r64_or_mem | K::r64_reg | K::r64_reg_mem | K::r64_rm | K::r64_opcode => general(Register::RAX, rng),
        K::xmm_or_mem | K::xmm_reg | K::xmm_rm | K::xmm_vvvv => Register::XMM0 + rng.below(registers as usize) as u32,
        K::ymm_or_mem | K::ymm_reg | K::ymm_rm | K::ymm_vvvv => Register::YMM0 + rng.below(registers as usize) as u32,
        K::zmm_or_mem | K::zmm_reg | K::zmm_rm | K::zmm_vvvv => Register::ZMM0 + rng.below(registers as usize) as u32,
        K::k_or_mem | K::k_reg | K::k_rm | K::k_vvvv => Register::K0 + rng.below(8) as u32,
        K::tmm_reg => Register::TMM0 + rng.below(2) as u32,
        K::tmm_rm => Register::TMM2 + rng.below(3) as u32,
        K::tmm_vvvv => Register::TMM5 + rng.below(3) as u32,
        K::al => Register::AL,
        K::cl => Register::CL,
        K::ax => Register::AX,
        K::eax => Register::EAX,
        K::rax => Register::RAX,
        _ => return None,
    })
}

/// What an opcode leaves open for an operand: a place in memory, a register, or either.
pub fn can_be_memory(kind: OpCodeOperandKind) -> (bool, bool) {
    use OpCodeOperandKind as K;
    match kind {
        K::mem | K::sibmem => (true, false),
        K::r8_or_mem | K::r16_or_mem | K::r32_or_mem | K::r64_or_mem => (true, true),
        K::xmm_or_mem | K::ymm_or_mem | K::zmm_or_mem | K::k_or_mem => (true, true),
        _ => (false, true),
    }
}

fn immediate_kind(kind: OpCodeOperandKind) -> Option<OpKind> {
    use OpCodeOperandKind as K;
    Some(match kind {
        K::imm8 | K::imm8_const_1 => OpKind::Immediate8,
        K::imm8sex16 => OpKind::Immediate8to16,
        K::imm8sex32 => OpKind::Immediate8to32,
        K::imm8sex64 => OpKind::Immediate8to64,
        K::imm16 => OpKind::Immediate16,
        K::imm32 => OpKind::Immediate32,
        K::imm32sex64 => OpKind::Immediate32to64,
        K::imm64 => OpKind::Immediate64,
        _ => return None,
    })
}

fn place_memory(instruction: &mut Instruction, variant: Variant, places: Places, needs_index: bool, rng: &mut Rng) {
    let alignment = 64;
    match variant.place {
        Place::Code => {
            instruction.set_memory_base(Register::RIP);
            instruction.set_memory_displacement64(places.constants + alignment * rng.below(2) as u64);
            instruction.set_memory_displ_size(8);
            return;
        }
        Place::Stack => {
            instruction.set_memory_base(Register::RSP);
            instruction.set_memory_displacement64((-448 + 64 * rng.below(6) as i64) as u64);
        }
        _ => {
            let base = general(Register::RAX, rng);
            instruction.set_memory_base(base);
            let index = general(Register::RAX, rng);
            if (needs_index || rng.below(3) > 0) && index != base {
                instruction.set_memory_index(index);
                instruction.set_memory_index_scale(rng.pick(&[1, 2, 4, 8]));
            }
            let distance = rng.pick(&[0i64, 1, 8, 64, 127, 128, -1, -64, -128, -129, 4096, 1 << 20, -(1 << 30)]);
            instruction.set_memory_displacement64(distance as u64);
        }
    }
    instruction.set_memory_displ_size(1);
}

/// An instruction of an opcode and a variant; `None` where they do not go together.
pub fn build(code: Code, variant: Variant, places: Places, rng: &mut Rng) -> Option<Form> {
    let info = code.op_code();
    let mut instruction = Instruction::default();
    instruction.set_code(code);
    let registers = if code.encoding() == EncodingKind::EVEX { 32 } else { 16 };
    let mut in_memory = false;
    for (index, &kind) in info.op_kinds().iter().enumerate() {
        let index = index as u32;
        if let Some(kind_of_number) = immediate_kind(kind) {
            instruction.set_op_kind(index, kind_of_number);
            let number = match kind {
                OpCodeOperandKind::imm8_const_1 => 1,
                OpCodeOperandKind::imm8 if rng.below(2) == 0 => rng.pick(&NUMBERS).into(),
                _ => rng.next(),
            };
            match kind_of_number {
                OpKind::Immediate8 => instruction.set_immediate8(number as u8),
                OpKind::Immediate8to16 => instruction.set_immediate8to16((number as i8).into()),
                OpKind::Immediate8to32 => instruction.set_immediate8to32((number as i8).into()),
                OpKind::Immediate8to64 => instruction.set_immediate8to64((number as i8).into()),
                OpKind::Immediate16 => instruction.set_immediate16(number as u16),
                OpKind::Immediate32 => instruction.set_immediate32(number as u32),
                OpKind::Immediate32to64 => instruction.set_immediate32to64((number as i32).into()),
                _ => instruction.set_immediate64(number),
            }
            continue;
        }
        if matches!(kind, OpCodeOperandKind::br64_1 | OpCodeOperandKind::br64_4) {
            return if variant == (Variant { place: Place::Register, masking: Masking::None }) {
                jump(instruction, places)
            } else {
                None
            };
        }
        let (memory, register_too) = can_be_memory(kind);
        if memory && (variant.place != Place::Register) {
            if variant.place == Place::Code && (index == 0 || kind == OpCodeOperandKind::sibmem) {
                return None;
            }
            instruction.set_op_kind(index, OpKind::Memory);
            place_memory(&mut instruction, variant, places, kind == OpCodeOperandKind::sibmem, rng);
            in_memory = true;
        } else if register_too {
            instruction.set_op_kind(index, OpKind::Register);
            instruction.set_op_register(index, register(kind, registers, rng)?);
        } else {
            return None;
        }
    }
    if in_memory != (variant.place != Place::Register) {
        return None;
    }
    if variant.place == Place::Broadcast {
        if !info.can_broadcast() {
            return None;
        }
        instruction.set_is_broadcast(true);
    }
    if variant.masking != Masking::None {
        if !info.can_use_op_mask_register() || variant.masking == Masking::Zero && !info.can_use_zeroing_masking() {
            return None;
        }
        instruction.set_op_mask(Register::K1 + rng.below(7) as u32);
        instruction.set_zeroing_masking(variant.masking == Masking::Zero);
    }
    finish(instruction, places)
}

/// Encodes an instruction and makes sure that it is what was asked for. What moves the stack pointer is undone behind
/// it.
fn finish(instruction: Instruction, places: Places) -> Option<Form> {
    let mut encoder = Encoder::new(64);
    encoder.encode(&instruction, places.code).ok()?;
    let mut bytes = encoder.take_buffer();
    let decoded = Decoder::with_ip(64, &bytes, places.code, DecoderOptions::NONE).decode();
    let same = decoded.code() == instruction.code()
        && decoded.op_mask() == instruction.op_mask()
        && decoded.zeroing_masking() == instruction.zeroing_masking()
        && decoded.is_broadcast() == instruction.is_broadcast();
    if !same {
        return None;
    }
    match instruction.code() {
        Code::Push_r64 => bytes.extend(RAISE_STACK),
        Code::Pop_r64 => bytes.extend(LOWER_STACK),
        _ => {}
    }
    if instruction.code() != Code::Retnq {
        bytes.push(RETURN);
    }
    Some(Form { instruction: decoded, bytes })
}

/// A jump over an instruction that counts.
fn jump(mut instruction: Instruction, places: Places) -> Option<Form> {
    instruction.set_op0_kind(OpKind::NearBranch64);
    let mut encoder = Encoder::new(64);
    // The length does not depend on the target.
    instruction.set_near_branch64(places.code);
    let length = encoder.encode(&instruction, places.code).ok()?;
    drop(encoder.take_buffer());
    instruction.set_near_branch64(places.code + (length + COUNT.len()) as u64);
    encoder.encode(&instruction, places.code).ok()?;
    let mut bytes = encoder.take_buffer();
    let decoded = Decoder::with_ip(64, &bytes, places.code, DecoderOptions::NONE).decode();
    if decoded.code() != instruction.code() {
        return None;
    }
    bytes.extend(COUNT);
    bytes.push(RETURN);
    Some(Form { instruction: decoded, bytes })
}
