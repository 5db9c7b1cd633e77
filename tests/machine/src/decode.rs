//! From machine code to a [`Program`]: the instructions that can be reached, decoded once.

use std::collections::BTreeMap;
use std::sync::Arc;

use iced_x86::{Code, ConditionCode, Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, Mnemonic};

use crate::amx::Tile;
use crate::fault::{Fault, Reason};
use crate::opmask::MaskMove;
use crate::run::DEFAULT_LIMIT;
use crate::scalar::{Scalar, register_number};
use crate::vector::VectorInstruction;

/// What an instruction does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation {
    Vector(VectorInstruction),
    Scalar(Scalar),
    MaskMove(MaskMove),
    Tile(Tile),
    Push(u8),
    Pop(u8),
    /// To the instruction of an index.
    Jump(u32),
    JumpIf(ConditionCode, u32),
    /// `vzeroupper`
    ZeroUpper,
    /// A prefetch, or no operation at all.
    Nothing,
    Return,
}

/// A decoded instruction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) operation: Operation,
    /// Index of its mnemonic among those of the program.
    pub(crate) mnemonic: u16,
}

/// Decoded machine code.
///
/// It refers to constants among the code where they lie, so the code must stay in its place.
///
/// # Examples
/// ```
/// use gemmill_machine::Program;
/// // inc qword ptr [rdi]; ret
/// let program = Program::decode(&[0x48, 0xff, 0x07, 0xc3])?;
/// let mut number = 41u64;
/// // SAFETY: the code adds to the number that it is given, which is there.
/// let statistics = unsafe { program.run((&raw mut number).cast())? };
/// assert_eq!((number, statistics.total()), (42, 2));
/// # Ok::<(), gemmill_machine::Fault>(())
/// ```
#[derive(Debug, Clone)]
pub struct Program {
    pub(crate) steps: Vec<Step>,
    pub(crate) mnemonics: Arc<[Mnemonic]>,
    pub(crate) limit: u64,
    /// Each instruction's text is made only where it faults.
    decoded: Vec<Instruction>,
}

impl Program {
    /// Decodes what can be reached from the first byte on.
    ///
    /// # Errors
    /// A [`Fault`] at the first instruction, in the order of the code, that is not in the model, or whose successor is
    /// no instruction.
    pub fn decode(code: &[u8]) -> Result<Program, Fault> {
        let base = code.as_ptr().expose_provenance() as u64;
        let decoded = reachable(code, base)?;
        let mut mnemonics = Vec::new();
        let mut steps = Vec::with_capacity(decoded.len());
        for (index, instruction) in decoded.iter().enumerate() {
            let fault = |reason| fault(instruction, base, reason);
            let indices = |address| match decoded.binary_search_by_key(&address, Instruction::ip) {
                Ok(index) => Ok(index as u32),
                Err(_) => Err(Reason::LeavesCode { offset: address.wrapping_sub(base) as i64 }),
            };
            let operation = operation(instruction, indices).map_err(fault)?;
            if let Some(next) = decoded.get(index + 1)
                && next.ip() < instruction.next_ip()
            {
                return Err(fault(Reason::Overlap));
            }
            let mnemonic = mnemonics.iter().position(|&m| m == instruction.mnemonic()).unwrap_or_else(|| {
                mnemonics.push(instruction.mnemonic());
                mnemonics.len() - 1
            });
            steps.push(Step { operation, mnemonic: mnemonic as u16 });
        }
        Ok(Program { steps, mnemonics: mnemonics.into(), limit: DEFAULT_LIMIT, decoded })
    }

    /// The same program, with another limit to the number of instructions of a run.
    pub fn with_limit(self, limit: u64) -> Program {
        Program { limit, ..self }
    }

    /// The decoded instructions, in the order of the code.
    pub fn instructions(&self) -> &[Instruction] {
        &self.decoded
    }

    /// A fault of the instruction at an index.
    pub(crate) fn fault(&self, index: usize, reason: Reason) -> Fault {
        let first = self.decoded.first().map_or(0, Instruction::ip);
        match self.decoded.get(index) {
            Some(instruction) => fault(instruction, first, reason),
            None => Fault { offset: 0, instruction: String::new(), reason },
        }
    }
}

fn fault(instruction: &Instruction, base: u64, reason: Reason) -> Fault {
    let mut text = String::new();
    IntelFormatter::new().format(instruction, &mut text);
    Fault { offset: instruction.ip().wrapping_sub(base) as usize, instruction: text, reason }
}

/// The instructions that can be reached, in the order of their addresses.
fn reachable(code: &[u8], base: u64) -> Result<Vec<Instruction>, Fault> {
    let mut found = BTreeMap::new();
    let mut entries = vec![base];
    let mut decoder = Decoder::with_ip(64, code, base, DecoderOptions::NONE);
    while let Some(mut address) = entries.pop() {
        while !found.contains_key(&address) {
            let offset = address.wrapping_sub(base);
            if offset >= code.len() as u64 || decoder.set_position(offset as usize).is_err() {
                // Reported at the instruction that leads there, when it is decoded.
                break;
            }
            decoder.set_ip(address);
            let instruction = decoder.decode();
            if instruction.is_invalid() {
                return Err(fault(&instruction, base, Reason::Undecodable));
            }
            found.insert(address, instruction);
            if instruction.is_jcc_short_or_near() || instruction.is_jmp_short_or_near() {
                entries.push(instruction.near_branch_target());
            }
            if !continues(&instruction) {
                break;
            }
            address = instruction.next_ip();
        }
    }
    Ok(found.into_values().collect())
}

/// Whether the instruction behind this one can be next.
fn continues(instruction: &Instruction) -> bool {
    !instruction.is_jmp_short_or_near() && instruction.mnemonic() != Mnemonic::Ret
}

fn operation(instruction: &Instruction, index_of: impl Fn(u64) -> Result<u32, Reason>) -> Result<Operation, Reason> {
    if continues(instruction) {
        index_of(instruction.next_ip())?;
    }
    if instruction.has_lock_prefix() || instruction.has_rep_prefix() || instruction.has_repne_prefix() {
        return Err(Reason::NotModelled("a prefix that locks or repeats"));
    }
    if instruction.is_jcc_short_or_near() {
        let target = index_of(instruction.near_branch_target())?;
        return Ok(Operation::JumpIf(instruction.condition_code(), target));
    }
    if instruction.is_jmp_short_or_near() {
        return Ok(Operation::Jump(index_of(instruction.near_branch_target())?));
    }
    match instruction.code() {
        Code::Push_r64 => return Ok(Operation::Push(register_number(instruction.op0_register())?)),
        Code::Pop_r64 => return Ok(Operation::Pop(register_number(instruction.op0_register())?)),
        Code::Retnq => return Ok(Operation::Return),
        _ => {}
    }
    match instruction.mnemonic() {
        Mnemonic::Vzeroupper => return Ok(Operation::ZeroUpper),
        Mnemonic::Nop | Mnemonic::Prefetcht0 | Mnemonic::Prefetcht1 | Mnemonic::Prefetcht2 | Mnemonic::Prefetchnta => {
            return Ok(Operation::Nothing);
        }
        _ => {}
    }
    if let Some(scalar) = Scalar::decode(instruction)? {
        return Ok(Operation::Scalar(scalar));
    }
    if let Some(mask_move) = MaskMove::decode(instruction)? {
        return Ok(Operation::MaskMove(mask_move));
    }
    if let Some(tile) = Tile::decode(instruction)? {
        return Ok(Operation::Tile(tile));
    }
    match VectorInstruction::decode(instruction)? {
        Some(vector) => Ok(Operation::Vector(vector)),
        None => Err(Reason::NotModelled("the instruction")),
    }
}
