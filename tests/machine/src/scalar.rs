//! Instructions on general-purpose registers, and the conditions of jumps.

use iced_x86::{Code, ConditionCode, Instruction, Mnemonic, OpKind, Register};

use crate::address::{self, Address};
use crate::fault::Reason;
use crate::state::{Flags, State};

/// An operand: a register's number, an address, or a sign-extended number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operand {
    Register(u8),
    Memory(Address),
    Immediate(u64),
}

/// What is done with the operands. The first one is the destination, where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Move,
    /// From a smaller operand.
    ZeroExtend,
    /// From a smaller operand.
    SignExtend,
    /// The address itself.
    LoadAddress,
    Add,
    Subtract,
    Compare,
    And,
    Test,
    Or,
    Xor,
    /// Signed, low half of the product; the second factor is in `third` if there are three operands.
    Multiply,
    Increment,
    Decrement,
    Negate,
    ShiftLeft,
    ShiftRight,
    ShiftRightArithmetic,
}

/// A decoded instruction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scalar {
    operation: Operation,
    /// Bytes of the destination, and of the sources but for extensions.
    size: u8,
    /// Bytes of the source.
    source_size: u8,
    destination: Operand,
    source: Operand,
    third: Option<Operand>,
}

fn operation(mnemonic: Mnemonic) -> Option<Operation> {
    Some(match mnemonic {
        Mnemonic::Mov => Operation::Move,
        Mnemonic::Movzx => Operation::ZeroExtend,
        Mnemonic::Movsx | Mnemonic::Movsxd => Operation::SignExtend,
        Mnemonic::Lea => Operation::LoadAddress,
        Mnemonic::Add => Operation::Add,
        Mnemonic::Sub => Operation::Subtract,
        Mnemonic::Cmp => Operation::Compare,
        Mnemonic::And => Operation::And,
        Mnemonic::Test => Operation::Test,
        Mnemonic::Or => Operation::Or,
        Mnemonic::Xor => Operation::Xor,
        Mnemonic::Imul => Operation::Multiply,
        Mnemonic::Inc => Operation::Increment,
        Mnemonic::Dec => Operation::Decrement,
        Mnemonic::Neg => Operation::Negate,
        Mnemonic::Shl => Operation::ShiftLeft,
        Mnemonic::Shr => Operation::ShiftRight,
        Mnemonic::Sar => Operation::ShiftRightArithmetic,
        _ => return None,
    })
}

/// The number of a general-purpose register whose bits start at bit 0 of the whole one.
pub(crate) fn register_number(register: Register) -> Result<u8, Reason> {
    use Register::{AH, BH, CH, DH};
    if !register.is_gpr() || matches!(register, AH | BH | CH | DH) {
        return Err(Reason::NotModelled("an operand other than a low part of a general-purpose register"));
    }
    Ok(register.full_register().number() as u8)
}

fn operand(instruction: &Instruction, index: u32) -> Result<(Operand, u8), Reason> {
    match instruction.op_kind(index) {
        OpKind::Register => {
            let register = instruction.op_register(index);
            Ok((Operand::Register(register_number(register)?), register.size() as u8))
        }
        OpKind::Memory => Ok((Operand::Memory(Address::decode(instruction)?), instruction.memory_size().size() as u8)),
        _ => match instruction.try_immediate(index) {
            Ok(number) => Ok((Operand::Immediate(number), 0)),
            Err(_) => Err(Reason::NotModelled("an operand of this kind")),
        },
    }
}

impl Scalar {
    /// `None` for instructions of other kinds.
    pub(crate) fn decode(instruction: &Instruction) -> Result<Option<Scalar>, Reason> {
        let Some(operation) = operation(instruction.mnemonic()) else { return Ok(None) };
        let count = instruction.op_count();
        use Code::{
            Mov_AL_moffs8, Mov_AX_moffs16, Mov_EAX_moffs32, Mov_RAX_moffs64, Mov_moffs8_AL, Mov_moffs16_AX,
            Mov_moffs32_EAX, Mov_moffs64_RAX,
        };
        match instruction.code() {
            Mov_AL_moffs8 | Mov_AX_moffs16 | Mov_EAX_moffs32 | Mov_RAX_moffs64 | Mov_moffs8_AL | Mov_moffs16_AX
            | Mov_moffs32_EAX | Mov_moffs64_RAX => return Err(Reason::NotModelled("an absolute address of 64 bits")),
            _ => {}
        }
        if operation == Operation::Multiply && count == 1 {
            return Err(Reason::NotModelled("a product in two registers"));
        }
        let (destination, size) = operand(instruction, 0)?;
        let (source, source_size) = if count > 1 { operand(instruction, 1)? } else { (destination, size) };
        let third = if count > 2 { Some(operand(instruction, 2)?.0) } else { None };
        Ok(Some(Scalar { operation, size, source_size, destination, source, third }))
    }

    /// # Safety
    /// Memory operands must be accessible.
    #[inline]
    pub(crate) unsafe fn execute(&self, state: &mut State) {
        use Operation as O;
        let size = self.size;
        // SAFETY: the caller's promise, here and below.
        let read = |state: &State, operand, size| unsafe { read(state, operand, size) };
        let result = match self.operation {
            O::Move => read(state, self.source, size),
            O::ZeroExtend => read(state, self.source, self.source_size),
            O::SignExtend => sign_extend(read(state, self.source, self.source_size), self.source_size) as u64,
            O::LoadAddress => match self.source {
                Operand::Memory(address) => address.resolve(&state.general),
                _ => return,
            },
            O::Multiply => {
                let (a, b) = match self.third {
                    Some(third) => (self.source, third),
                    None => (self.destination, self.source),
                };
                let signed = |x: u64| i128::from(sign_extend(x, size));
                let product = signed(read(state, a, size)) * signed(read(state, b, size));
                let kept = sign_extend(product as u64, size);
                let lost = if i128::from(kept) == product { 0 } else { Flags::CARRY | Flags::OVERFLOW };
                state.flags = Flags { bits: lost, undefined: Flags::ALL & !(Flags::CARRY | Flags::OVERFLOW) };
                kept as u64
            }
            O::ShiftLeft | O::ShiftRight | O::ShiftRightArithmetic => {
                let value = read(state, self.destination, size);
                let count = read(state, self.source, 1) & if size == 8 { 63 } else { 31 };
                if count == 0 {
                    value
                } else {
                    let (result, flags) = shift(self.operation, value, count as u32, size);
                    state.flags = flags;
                    result
                }
            }
            operation => {
                let (a, b) = (read(state, self.destination, size), read(state, self.source, size));
                let (result, flags) = arithmetic(operation, a, b, size, state.flags);
                state.flags = flags;
                if matches!(operation, O::Compare | O::Test) {
                    return;
                }
                result
            }
        };
        // SAFETY: the caller's promise.
        unsafe { write(state, self.destination, size, result) }
    }
}

fn mask(size: u8) -> u64 {
    u64::MAX >> (64 - 8 * u32::from(size))
}

fn sign_extend(value: u64, size: u8) -> i64 {
    let unused = 64 - 8 * u32::from(size);
    (value << unused) as i64 >> unused
}

/// # Safety
/// A memory operand must be readable.
#[inline]
unsafe fn read(state: &State, operand: Operand, size: u8) -> u64 {
    match operand {
        Operand::Register(r) => state.general[usize::from(r & 15)] & mask(size),
        Operand::Immediate(number) => number & mask(size),
        Operand::Memory(address) => {
            let at = address.resolve(&state.general);
            // SAFETY: the caller's promise.
            unsafe {
                match size {
                    1 => address::read::<u8>(at).into(),
                    2 => address::read::<u16>(at).into(),
                    4 => address::read::<u32>(at).into(),
                    _ => address::read::<u64>(at),
                }
            }
        }
    }
}

/// # Safety
/// A memory operand must be writable.
#[inline]
unsafe fn write(state: &mut State, operand: Operand, size: u8, value: u64) {
    match operand {
        Operand::Register(r) => {
            let register = &mut state.general[usize::from(r & 15)];
            // Results of 32 bits clear the upper half; smaller ones leave the rest alone.
            *register = match size {
                8 => value,
                4 => value & mask(4),
                _ => *register & !mask(size) | value & mask(size),
            };
        }
        Operand::Memory(address) => {
            let at = address.resolve(&state.general);
            // SAFETY: the caller's promise.
            unsafe {
                match size {
                    1 => address::write(at, value as u8),
                    2 => address::write(at, value as u16),
                    4 => address::write(at, value as u32),
                    _ => address::write(at, value),
                }
            }
        }
        Operand::Immediate(_) => {}
    }
}

/// The zero, sign and parity flags of a result.
fn result_flags(result: u64, size: u8) -> u64 {
    let mut flags = 0;
    if result == 0 {
        flags |= Flags::ZERO;
    }
    if sign_extend(result, size) < 0 {
        flags |= Flags::SIGN;
    }
    if (result as u8).count_ones().is_multiple_of(2) {
        flags |= Flags::PARITY;
    }
    flags
}

fn when(condition: bool, flag: u64) -> u64 {
    if condition { flag } else { 0 }
}

fn arithmetic(operation: Operation, a: u64, b: u64, size: u8, before: Flags) -> (u64, Flags) {
    use Operation as O;
    let negative = |x: u64| sign_extend(x, size) < 0;
    let (result, carry_and_overflow) = match operation {
        O::Add | O::Increment => {
            let b = if operation == O::Increment { 1 } else { b };
            let result = a.wrapping_add(b) & mask(size);
            (result, when(result < a, Flags::CARRY) | when(negative((a ^ result) & (b ^ result)), Flags::OVERFLOW))
        }
        O::Subtract | O::Compare | O::Decrement | O::Negate => {
            let (a, b) = match operation {
                O::Decrement => (a, 1),
                O::Negate => (0, a),
                _ => (a, b),
            };
            let result = a.wrapping_sub(b) & mask(size);
            (result, when(a < b, Flags::CARRY) | when(negative((a ^ b) & (a ^ result)), Flags::OVERFLOW))
        }
        O::Or => (a | b, 0),
        O::Xor => (a ^ b, 0),
        _ => (a & b, 0),
    };
    let mut flags = Flags { bits: carry_and_overflow | result_flags(result, size), undefined: Flags::ADJUST };
    if matches!(operation, O::Increment | O::Decrement) {
        flags.bits = flags.bits & !Flags::CARRY | before.bits & Flags::CARRY;
        flags.undefined |= before.undefined & Flags::CARRY;
    }
    (result, flags)
}

/// A shift by a count that is not zero.
fn shift(operation: Operation, value: u64, count: u32, size: u8) -> (u64, Flags) {
    let bits = 8 * u32::from(size);
    let signed = sign_extend(value, size);
    let last_out = |shifted: u64| shifted & 1 != 0;
    let (result, carry, overflow) = match operation {
        Operation::ShiftLeft => {
            let result = value << count & mask(size);
            let carry = count < bits && last_out(value >> (bits - count));
            (result, carry, (sign_extend(result, size) < 0) != carry)
        }
        Operation::ShiftRight => (value >> count, last_out(value >> (count - 1)), signed < 0),
        _ => ((signed >> count) as u64 & mask(size), last_out((signed >> (count - 1)) as u64), false),
    };
    let mut undefined = Flags::ADJUST;
    if count != 1 {
        undefined |= Flags::OVERFLOW;
    }
    if count >= bits && operation != Operation::ShiftRightArithmetic {
        undefined |= Flags::CARRY;
    }
    let defined = when(carry, Flags::CARRY) | when(overflow, Flags::OVERFLOW) | result_flags(result, size);
    (result, Flags { bits: defined & !undefined, undefined })
}

/// Whether a jump is taken.
pub(crate) fn is_met(condition: ConditionCode, flags: Flags) -> Result<bool, Reason> {
    use Flags as F;
    let all = F::CARRY | F::PARITY | F::ZERO | F::SIGN | F::OVERFLOW;
    let on = |flag| flags.bits & flag != 0;
    let less = on(F::SIGN) != on(F::OVERFLOW);
    let (reads, met) = match condition {
        ConditionCode::o => (F::OVERFLOW, on(F::OVERFLOW)),
        ConditionCode::no => (F::OVERFLOW, !on(F::OVERFLOW)),
        ConditionCode::b => (F::CARRY, on(F::CARRY)),
        ConditionCode::ae => (F::CARRY, !on(F::CARRY)),
        ConditionCode::e => (F::ZERO, on(F::ZERO)),
        ConditionCode::ne => (F::ZERO, !on(F::ZERO)),
        ConditionCode::be => (F::CARRY | F::ZERO, on(F::CARRY | F::ZERO)),
        ConditionCode::a => (F::CARRY | F::ZERO, !on(F::CARRY | F::ZERO)),
        ConditionCode::s => (F::SIGN, on(F::SIGN)),
        ConditionCode::ns => (F::SIGN, !on(F::SIGN)),
        ConditionCode::p => (F::PARITY, on(F::PARITY)),
        ConditionCode::np => (F::PARITY, !on(F::PARITY)),
        ConditionCode::l => (F::SIGN | F::OVERFLOW, less),
        ConditionCode::ge => (F::SIGN | F::OVERFLOW, !less),
        ConditionCode::le => (F::SIGN | F::OVERFLOW | F::ZERO, less || on(F::ZERO)),
        ConditionCode::g => (F::SIGN | F::OVERFLOW | F::ZERO, !less && !on(F::ZERO)),
        ConditionCode::None => (all, true),
    };
    match flags.undefined & reads {
        0 => Ok(met),
        flags => Err(Reason::UndefinedFlag { flags }),
    }
}
