//! Execution: the loop over instructions, and calls under the System V convention.

use std::ffi::c_void;

use iced_x86::Register;

use crate::address;
use crate::decode::{Operation, Program};
use crate::fault::{Fault, Reason};
use crate::scalar::is_met;
use crate::state::{RDI, RSP, State, Vector};
use crate::statistics::Statistics;

/// How many instructions a run may execute unless [`Program::with_limit`] says otherwise.
pub const DEFAULT_LIMIT: u64 = 1 << 32;

/// Bytes of the stack of a call.
const STACK_BYTES: usize = 64 << 10;

/// What a call finds as its return address: an address that nobody can return to.
const RETURN_ADDRESS: u64 = 0xdead_0000_dead_0000;

/// Runs a function of one pointer, under the System V convention, until it returns.
///
/// Constants of the code are read where `code` lies, and its loads and stores go to the memory of this process.
/// [`Program`] saves decoding it again for every call.
///
/// # Errors
/// A [`Fault`] where the code does what it must not.
///
/// # Safety
/// Memory that the code accesses, given `args`, must be there for it to access.
pub unsafe fn call(code: &[u8], args: *mut c_void) -> Result<Statistics, Fault> {
    let program = Program::decode(code)?;
    // SAFETY: the caller's promise; `code` is borrowed for the whole call.
    unsafe { program.run(args) }
}

impl Program {
    /// Calls the program as a function of one pointer, under the System V convention. Registers that mean nothing to a
    /// function hold arbitrary bits.
    ///
    /// # Errors
    /// A [`Fault`] where the code does what it must not: as [`Program::execute`], and where it breaks the convention.
    ///
    /// # Safety
    /// Memory that the code accesses, given `args`, must be there for it to access. The code that was decoded must
    /// still lie where it was.
    pub unsafe fn run(&self, args: *mut c_void) -> Result<Statistics, Fault> {
        // Not zero, so that code that reads what it never wrote does not get away with it.
        let mut stack = vec![0xa5u8; STACK_BYTES];
        let bottom = stack.as_mut_ptr().expose_provenance() as u64;
        let mut state = State::arbitrary();
        state.general[RDI] = args.expose_provenance() as u64;
        // At the entry, the return address stands below a multiple of 16 bytes. Some room stays above it, for
        // arguments.
        let entry = ((bottom + STACK_BYTES as u64 - 256) & !15) - 8;
        state.general[RSP] = entry;
        // SAFETY: within the stack.
        unsafe { address::write(entry, RETURN_ADDRESS) };
        let before = state.general;

        // SAFETY: the caller's promise; the stack is there until the end of this function.
        let (statistics, last) = unsafe { self.execute_within(&mut state, bottom..bottom + STACK_BYTES as u64)? };

        let fault = |reason| Err(self.fault(last, reason));
        // SAFETY: within the stack.
        if unsafe { address::read::<u64>(entry) } != RETURN_ADDRESS {
            return fault(Reason::ReturnAddress);
        }
        use Register::{R12, R13, R14, R15, RBP, RBX};
        for register in [RBX, RBP, R12, R13, R14, R15] {
            if state.general[register.number()] != before[register.number()] {
                return fault(Reason::NotRestored(register));
            }
        }
        if state.tiles.configuration.is_some() {
            return fault(Reason::TilesNotReleased);
        }
        if state.upper_dirty {
            return fault(Reason::UpperHalvesDirty);
        }
        Ok(statistics)
    }

    /// Executes the program on a state of the caller's, until it returns. The state is then that behind the return.
    ///
    /// # Errors
    /// A [`Fault`] where the architecture has one, where a jump reads an undefined flag, where the limit of
    /// instructions is reached, and where a return does not find the stack pointer of the entry.
    ///
    /// # Safety
    /// As [`Program::run`]; stack accesses included, whose pointer is part of the state.
    pub unsafe fn execute(&self, state: &mut State) -> Result<Statistics, Fault> {
        // SAFETY: the caller's promise.
        unsafe { self.execute_within(state, 0..u64::MAX) }.map(|(statistics, _)| statistics)
    }

    /// As [`Program::execute`], with bounds of the stack; gives also the index of the return.
    ///
    /// # Safety
    /// As [`Program::execute`].
    unsafe fn execute_within(
        &self,
        state: &mut State,
        stack: std::ops::Range<u64>,
    ) -> Result<(Statistics, usize), Fault> {
        let mut counts = vec![0u64; self.mnemonics.len()].into_boxed_slice();
        let entry = state.general[RSP];
        let mut left = self.limit;
        let mut at = 0;
        loop {
            let Some(step) = self.steps.get(at) else {
                return Err(self.fault(at, Reason::LeavesCode { offset: 0 }));
            };
            if left == 0 {
                return Err(self.fault(at, Reason::TooManyInstructions { limit: self.limit }));
            }
            left -= 1;
            counts[usize::from(step.mnemonic)] += 1;
            let mut next = at + 1;
            // SAFETY: the caller's promise: what the instructions access is there.
            let outcome = unsafe {
                match &step.operation {
                    Operation::Vector(vector) => vector.execute(state),
                    Operation::Scalar(scalar) => {
                        scalar.execute(state);
                        Ok(())
                    }
                    Operation::JumpIf(condition, target) => is_met(*condition, state.flags).map(|met| {
                        if met {
                            next = *target as usize;
                        }
                    }),
                    Operation::Jump(target) => {
                        next = *target as usize;
                        Ok(())
                    }
                    Operation::Push(register) => push(state, *register, &stack),
                    Operation::Pop(register) => pop(state, *register, &stack),
                    Operation::MaskMove(mask_move) => {
                        mask_move.execute(state);
                        Ok(())
                    }
                    Operation::Tile(tile) => tile.execute(state),
                    Operation::ZeroUpper => {
                        zero_upper(state);
                        Ok(())
                    }
                    Operation::Nothing => Ok(()),
                    Operation::Return => {
                        let by = state.general[RSP].wrapping_sub(entry) as i64;
                        if by != 0 {
                            return Err(self.fault(at, Reason::StackImbalance { by }));
                        }
                        state.general[RSP] = entry.wrapping_add(8);
                        return Ok((Statistics::new(self.mnemonics.clone(), counts), at));
                    }
                }
            };
            if let Err(reason) = outcome {
                return Err(self.fault(at, reason));
            }
            at = next;
        }
    }
}

/// # Safety
/// The stack must be writable within the bounds.
unsafe fn push(state: &mut State, register: u8, stack: &std::ops::Range<u64>) -> Result<(), Reason> {
    let value = state.general[usize::from(register & 15)];
    let pointer = state.general[RSP].wrapping_sub(8);
    check_stack(pointer, stack)?;
    state.general[RSP] = pointer;
    // SAFETY: within the bounds; the caller's promise.
    unsafe { address::write(pointer, value) };
    Ok(())
}

/// # Safety
/// The stack must be readable within the bounds.
unsafe fn pop(state: &mut State, register: u8, stack: &std::ops::Range<u64>) -> Result<(), Reason> {
    let pointer = state.general[RSP];
    check_stack(pointer, stack)?;
    state.general[RSP] = pointer.wrapping_add(8);
    // SAFETY: within the bounds; the caller's promise.
    state.general[usize::from(register & 15)] = unsafe { address::read(pointer) };
    Ok(())
}

fn check_stack(pointer: u64, stack: &std::ops::Range<u64>) -> Result<(), Reason> {
    if pointer < stack.start || pointer > stack.end - 8 {
        return Err(Reason::StackOverflow { pointer });
    }
    Ok(())
}

fn zero_upper(state: &mut State) {
    for vector in &mut state.vectors[..16] {
        let low = vector.lane::<u128>(0);
        *vector = Vector::ZERO;
        vector.lanes_mut::<u128>()[0] = low;
    }
    state.upper_dirty = false;
}
