//! Moves of opmask registers.

use iced_x86::{Instruction, Mnemonic, OpKind};

use crate::address::{self, Address};
use crate::fault::Reason;
use crate::scalar::register_number;
use crate::state::State;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Mask(u8),
    General(u8),
    Memory(Address),
}

/// `kmovw`, `kmovd` or `kmovq`. What is above their bits becomes zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaskMove {
    bytes: u8,
    destination: Place,
    source: Place,
}

impl MaskMove {
    /// `None` for instructions of other kinds.
    pub(crate) fn decode(instruction: &Instruction) -> Result<Option<MaskMove>, Reason> {
        let bytes = match instruction.mnemonic() {
            Mnemonic::Kmovw => 2,
            Mnemonic::Kmovd => 4,
            Mnemonic::Kmovq => 8,
            _ => return Ok(None),
        };
        let place = |index| match instruction.op_kind(index) {
            OpKind::Memory => Ok(Place::Memory(Address::decode(instruction)?)),
            _ if instruction.op_register(index).is_k() => {
                Ok(Place::Mask(instruction.op_register(index).number() as u8))
            }
            _ => Ok(Place::General(register_number(instruction.op_register(index))?)),
        };
        Ok(Some(MaskMove { bytes, destination: place(0)?, source: place(1)? }))
    }

    /// # Safety
    /// A memory operand must be accessible.
    pub(crate) unsafe fn execute(&self, state: &mut State) {
        let mut value = [0; 8];
        let bytes = usize::from(self.bytes);
        match self.source {
            Place::Mask(k) => value = state.masks[usize::from(k & 7)].to_le_bytes(),
            Place::General(r) => value = state.general[usize::from(r & 15)].to_le_bytes(),
            Place::Memory(address) => {
                // SAFETY: the caller's promise.
                unsafe { address::read_bytes(address.resolve(&state.general), &mut value[..bytes]) }
            }
        }
        value[bytes..].fill(0);
        match self.destination {
            Place::Mask(k) => state.masks[usize::from(k & 7)] = u64::from_le_bytes(value),
            Place::General(r) => state.general[usize::from(r & 15)] = u64::from_le_bytes(value),
            Place::Memory(address) => {
                // SAFETY: the caller's promise.
                unsafe { address::write_bytes(address.resolve(&state.general), &value[..bytes]) }
            }
        }
    }
}
