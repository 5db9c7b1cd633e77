//! Addresses of memory operands, and the accesses themselves.

use bytemuck::Pod;
use iced_x86::{Instruction, Register};

use crate::fault::Reason;
use crate::state::NO_REGISTER;

/// `base + (index << shift) + displacement`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    base: u8,
    index: u8,
    shift: u8,
    /// The whole address where it is relative to the instruction pointer.
    displacement: u64,
}

impl Address {
    /// The memory operand of an instruction.
    pub(crate) fn decode(instruction: &Instruction) -> Result<Address, Reason> {
        if instruction.has_segment_prefix() {
            return Err(Reason::NotModelled("a segment other than the default one"));
        }
        let register = |r: Register| match r {
            Register::None | Register::RIP => Ok(NO_REGISTER),
            _ if r.is_gpr64() => Ok(r.number() as u8),
            _ => Err(Reason::NotModelled("an address that is not made of 64-bit registers")),
        };
        Ok(Address {
            base: register(instruction.memory_base())?,
            index: register(instruction.memory_index())?,
            shift: instruction.memory_index_scale().trailing_zeros() as u8,
            displacement: instruction.memory_displacement64(),
        })
    }

    /// The address, given the registers.
    #[inline]
    pub(crate) fn resolve(&self, general: &[u64; 17]) -> u64 {
        self.start(general).wrapping_add(self.stride(general))
    }

    /// The address without its index.
    #[inline]
    pub(crate) fn start(&self, general: &[u64; 17]) -> u64 {
        general[usize::from(self.base & 31).min(16)].wrapping_add(self.displacement)
    }

    /// The scaled index.
    #[inline]
    pub(crate) fn stride(&self, general: &[u64; 17]) -> u64 {
        general[usize::from(self.index & 31).min(16)] << self.shift
    }
}

/// Reads a value.
///
/// # Safety
/// The bytes at `address` must be readable: the kernel's caller promises what its memory operands touch.
#[inline]
pub(crate) unsafe fn read<T: Pod>(address: u64) -> T {
    // SAFETY: the caller's promise; any bits are a valid `T`.
    unsafe { std::ptr::with_exposed_provenance::<T>(address as usize).read_unaligned() }
}

/// Writes a value.
///
/// # Safety
/// The bytes at `address` must be writable: the kernel's caller promises what its memory operands touch.
#[inline]
pub(crate) unsafe fn write<T: Pod>(address: u64, value: T) {
    // SAFETY: the caller's promise.
    unsafe { std::ptr::with_exposed_provenance_mut::<T>(address as usize).write_unaligned(value) }
}

/// Reads bytes.
///
/// # Safety
/// As [`read`], for all of `to`.
#[inline]
pub(crate) unsafe fn read_bytes(address: u64, to: &mut [u8]) {
    let from = std::ptr::with_exposed_provenance::<u8>(address as usize);
    // SAFETY: the caller's promise; `to` belongs to the machine, which machine code does not know.
    unsafe { to.as_mut_ptr().copy_from_nonoverlapping(from, to.len()) }
}

/// Writes bytes.
///
/// # Safety
/// As [`write`], for all of `from`.
#[inline]
pub(crate) unsafe fn write_bytes(address: u64, from: &[u8]) {
    let to = std::ptr::with_exposed_provenance_mut::<u8>(address as usize);
    // SAFETY: the caller's promise; `from` belongs to the machine, which machine code does not know.
    unsafe { to.copy_from_nonoverlapping(from.as_ptr(), from.len()) }
}
