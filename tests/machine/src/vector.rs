//! Vector instructions: operands, masks, and what happens between memory and registers. What happens to lanes is in
//! [`integer`](crate::integer), [`float`](crate::float) and [`shuffle`](crate::shuffle).
//!
//! An instruction takes up to three sources, has a function of them make a whole [`Vector`], and puts its first
//! `result_bytes` where they belong. VEX and EVEX forms differ in masks and broadcasts only: both make what is above
//! the result zero.

use iced_x86::{EncodingKind, Instruction, MemorySize, Mnemonic, OpKind, Register, RoundingControl};

use crate::address::{self, Address};
use crate::fault::Reason;
use crate::float::Float;
use crate::integer::Integer;
use crate::scalar::register_number;
use crate::shuffle::Shuffle;
use crate::state::{State, Vector};

/// What makes the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    /// The source.
    Move,
    /// `vpmaskmovd`: the first source holds the mask.
    MaskedMove,
    Integer(Integer),
    Float(Float),
    Shuffle(Shuffle),
}

/// The sources of a function.
pub(crate) struct Sources<'a> {
    /// The destination as it was.
    pub(crate) old: &'a Vector,
    /// The first source of those with two.
    pub(crate) a: &'a Vector,
    /// The last source, the only one that can be in memory.
    pub(crate) b: &'a Vector,
    pub(crate) immediate: u8,
    /// Bytes of the vectors.
    pub(crate) bytes: usize,
}

/// How an instruction's operands are laid out, immediate numbers apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Destination and source.
    Two,
    /// Destination, source and a number.
    TwoImmediate,
    /// Destination and two sources.
    Three,
    /// Destination, two sources and a number.
    ThreeImmediate,
}

/// What is read of a source in memory under a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// All of it, whatever the mask.
    Whole,
    /// Only elements that active lanes use.
    Active,
    /// All of it, and its address must be a multiple of its size.
    Aligned,
}

/// What the table says of a mnemonic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) function: Function,
    /// Bytes of the result for each bit of a mask.
    pub(crate) element: u8,
    pub(crate) access: Access,
    /// Bytes of the result, where it is not a whole destination register.
    pub(crate) result: Extent,
}

/// Bytes of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// As many as the destination has.
    Destination,
    /// A number of its own.
    Fixed(u8),
    /// A part of the source's bytes.
    Fraction(u8),
}

#[derive(Debug, Clone, Copy)]
enum Destination {
    Vector(u8),
    General(u8),
    Memory(Address),
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Vector(u8),
    General(u8),
    Memory(Address),
    /// One element for all lanes.
    Broadcast(Address),
}

/// A decoded instruction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VectorInstruction {
    function: Function,
    destination: Destination,
    a: u8,
    b: Source,
    immediate: u8,
    /// Bytes of the vectors that the function works on.
    bytes: u8,
    result_bytes: u8,
    element: u8,
    /// Bytes of the source in memory, and of each element that a mask can leave out.
    source_bytes: u8,
    source_element: u8,
    access: Access,
    /// Zero for none.
    mask: u8,
    zeroing: bool,
}

fn lookup(mnemonic: Mnemonic, layout: Layout) -> Option<Entry> {
    use Access::{Active, Aligned};
    use Layout::{Three, Two};
    let (function, element, access) = match (mnemonic, layout) {
        (Mnemonic::Vmovdqa, Two) => (Function::Move, 8, Aligned),
        (Mnemonic::Vmovdqa32, Two) => (Function::Move, 4, Aligned),
        (Mnemonic::Vmovdqa64, Two) => (Function::Move, 8, Aligned),
        (Mnemonic::Vmovdqu8, Two) => (Function::Move, 1, Active),
        (Mnemonic::Vmovdqu16, Two) => (Function::Move, 2, Active),
        (Mnemonic::Vmovdqu | Mnemonic::Vmovdqu32 | Mnemonic::Vmovups, Two) => (Function::Move, 4, Active),
        (Mnemonic::Vmovdqu64, Two) => (Function::Move, 8, Active),
        (Mnemonic::Vpmaskmovd, Three) => (Function::MaskedMove, 4, Active),
        (Mnemonic::Vmovd, Two) => {
            return Some(Entry { function: Function::Move, element: 4, access: Active, result: Extent::Fixed(4) });
        }
        (Mnemonic::Vmovq, Two) => {
            return Some(Entry { function: Function::Move, element: 8, access: Active, result: Extent::Fixed(8) });
        }
        _ => {
            return Integer::lookup(mnemonic, layout)
                .or_else(|| Float::lookup(mnemonic, layout))
                .or_else(|| Shuffle::lookup(mnemonic, layout));
        }
    };
    Some(Entry { function, element, access, result: Extent::Destination })
}

impl Entry {
    /// An entry whose result fills its destination.
    pub(crate) fn new(function: Function, element: u8, access: Access) -> Entry {
        Entry { function, element, access, result: Extent::Destination }
    }
}

fn vector_number(register: Register) -> Option<u8> {
    register.is_vector_register().then(|| register.number() as u8)
}

impl VectorInstruction {
    /// `None` for instructions of other kinds.
    pub(crate) fn decode(instruction: &Instruction) -> Result<Option<VectorInstruction>, Reason> {
        let i = instruction;
        if !matches!(i.code().encoding(), EncodingKind::VEX | EncodingKind::EVEX) {
            return Ok(None);
        }
        let is_operand = |&index: &u32| matches!(i.op_kind(index), OpKind::Register | OpKind::Memory);
        let operands = (0..i.op_count()).filter(is_operand).count() as u32;
        let layout = match (operands, i.op_count() - operands) {
            (2, 0) => Layout::Two,
            (2, 1) => Layout::TwoImmediate,
            (3, 0) => Layout::Three,
            (3, 1) => Layout::ThreeImmediate,
            _ => return Ok(None),
        };
        let Some(entry) = lookup(i.mnemonic(), layout) else { return Ok(None) };
        if i.rounding_control() != RoundingControl::None || i.suppress_all_exceptions() {
            return Err(Reason::NotModelled("a rounding mode of its own"));
        }

        let last = operands - 1;
        let memory_bytes = if i.memory_size() == MemorySize::Unknown { 0 } else { i.memory_size().size() as u8 };
        let destination = match i.op_kind(0) {
            OpKind::Memory => Destination::Memory(Address::decode(i)?),
            _ => match vector_number(i.op0_register()) {
                Some(number) => Destination::Vector(number),
                None => Destination::General(register_number(i.op0_register())?),
            },
        };
        let b = match i.op_kind(last) {
            OpKind::Memory if i.is_broadcast() => Source::Broadcast(Address::decode(i)?),
            OpKind::Memory => Source::Memory(Address::decode(i)?),
            _ => match vector_number(i.op_register(last)) {
                Some(number) => Source::Vector(number),
                None => Source::General(register_number(i.op_register(last))?),
            },
        };
        let a = if operands == 3 {
            vector_number(i.op1_register()).ok_or(Reason::NotModelled("a first source that is no vector"))?
        } else {
            0
        };

        let register_bytes = |index| match i.op_kind(index) {
            OpKind::Register if i.op_register(index).is_vector_register() => i.op_register(index).size() as u8,
            _ => 0,
        };
        let (wide, source) = (register_bytes(0), register_bytes(last));
        let (bytes, result_bytes) = match entry.result {
            Extent::Destination if wide == 0 => (memory_bytes, memory_bytes),
            Extent::Destination => (wide, wide),
            Extent::Fixed(bytes) => (source.max(bytes), bytes),
            Extent::Fraction(part) => (source, source / part),
        };
        let lanes = (result_bytes / entry.element).max(1);
        let source_element = match entry.function {
            Function::Integer(Integer::ZeroExtend { .. } | Integer::SignExtend { .. })
            | Function::Float(Float::FromF16) => memory_bytes / lanes,
            _ => entry.element.min(memory_bytes),
        };
        Ok(Some(VectorInstruction {
            function: entry.function,
            destination,
            a,
            b,
            immediate: if operands < i.op_count() { i.immediate8() } else { 0 },
            bytes,
            result_bytes,
            element: entry.element,
            source_bytes: memory_bytes,
            source_element,
            access: entry.access,
            mask: if i.has_op_mask() { i.op_mask().number() as u8 } else { 0 },
            zeroing: i.zeroing_masking(),
        }))
    }

    /// # Safety
    /// Memory operands must be accessible where the instruction accesses them.
    #[inline]
    pub(crate) unsafe fn execute(&self, state: &mut State) -> Result<(), Reason> {
        let mut active = match self.mask {
            0 => u64::MAX,
            mask => state.masks[usize::from(mask & 7)],
        };
        if self.function == Function::MaskedMove {
            let signs = state.vectors[usize::from(self.a & 31)];
            let sign = |lane: usize| u64::from(signs.lane::<i32>(lane) < 0) << lane;
            active = (0..usize::from(self.bytes) / 4).map(sign).sum();
        }
        let loaded;
        let b = match self.b {
            Source::Vector(register) => &state.vectors[usize::from(register & 31)],
            _ => {
                // SAFETY: the caller's promise.
                loaded = unsafe { self.load(state, active)? };
                &loaded
            }
        };
        let old = match self.destination {
            Destination::Vector(register) => &state.vectors[usize::from(register & 31)],
            _ => &Vector::ZERO,
        };
        let a = &state.vectors[usize::from(self.a & 31)];
        let sources = Sources { old, a, b, immediate: self.immediate, bytes: self.bytes.into() };
        let mut result = match self.function {
            Function::Move | Function::MaskedMove => first_bytes(b, self.result_bytes.into()),
            Function::Integer(function) => function.apply(&sources),
            Function::Float(function) => function.apply(&sources),
            Function::Shuffle(function) => function.apply(&sources),
        };
        match self.destination {
            Destination::Vector(register) => {
                if self.mask != 0 {
                    let kept = if self.zeroing { &Vector::ZERO } else { old };
                    self.merge(&mut result, kept, active);
                }
                state.vectors[usize::from(register & 31)] = result;
                state.upper_dirty |= self.result_bytes > 16 && register < 16;
            }
            Destination::General(register) => state.general[usize::from(register & 15)] = result.lane(0),
            Destination::Memory(address) => {
                let at = address.resolve(&state.general);
                // SAFETY: the caller's promise.
                unsafe { self.store(at, &result, active)? }
            }
        }
        Ok(())
    }

    /// The last source from somewhere else than a vector register.
    ///
    /// # Safety
    /// As [`VectorInstruction::execute`].
    #[inline]
    unsafe fn load(&self, state: &State, active: u64) -> Result<Vector, Reason> {
        let (address, broadcast) = match self.b {
            Source::Memory(address) => (address, false),
            Source::Broadcast(address) => (address, true),
            Source::General(register) => {
                let mut vector = Vector::ZERO;
                vector.lanes_mut()[0] = state.general[usize::from(register & 15)];
                return Ok(vector);
            }
            Source::Vector(register) => return Ok(state.vectors[usize::from(register & 31)]),
        };
        let at = address.resolve(&state.general);
        let bytes = usize::from(self.source_bytes);
        self.check_alignment(at, self.source_bytes)?;
        let mut vector = Vector::ZERO;
        let room = &mut vector.lanes_mut::<u8>()[..bytes];
        let masked = self.mask != 0 || self.function == Function::MaskedMove;
        if masked && self.access != Access::Whole {
            let element = usize::from(self.source_element);
            let lanes = usize::from(self.result_bytes / self.element);
            let count = bytes / element;
            for (index, room) in room.chunks_exact_mut(element).enumerate() {
                let used = (index..lanes).step_by(count).any(|lane| active >> lane & 1 == 1);
                if used {
                    // SAFETY: an active lane uses this element; the caller's promise.
                    unsafe { address::read_bytes(at.wrapping_add((index * element) as u64), room) }
                }
            }
        } else {
            // SAFETY: the caller's promise.
            unsafe { address::read_bytes(at, room) }
        }
        if broadcast {
            let (first, rest) = vector.lanes_mut::<u8>()[..self.bytes.into()].split_at_mut(bytes);
            rest.chunks_exact_mut(bytes).for_each(|element| element.copy_from_slice(first));
        }
        Ok(vector)
    }

    /// # Safety
    /// As [`VectorInstruction::execute`].
    #[inline]
    unsafe fn store(&self, at: u64, result: &Vector, active: u64) -> Result<(), Reason> {
        self.check_alignment(at, self.result_bytes)?;
        let bytes = &result.lanes::<u8>()[..self.result_bytes.into()];
        if self.mask == 0 && self.function != Function::MaskedMove {
            // SAFETY: the caller's promise.
            unsafe { address::write_bytes(at, bytes) }
            return Ok(());
        }
        let element = usize::from(self.element);
        for (lane, bytes) in bytes.chunks_exact(element).enumerate().filter(|(lane, _)| active >> lane & 1 == 1) {
            // SAFETY: the lane is active; the caller's promise.
            unsafe { address::write_bytes(at.wrapping_add((lane * element) as u64), bytes) }
        }
        Ok(())
    }

    fn check_alignment(&self, address: u64, bytes: u8) -> Result<(), Reason> {
        let alignment = u64::from(bytes);
        if self.access == Access::Aligned && !address.is_multiple_of(alignment) {
            return Err(Reason::Misaligned { address, alignment });
        }
        Ok(())
    }

    /// Puts what was `kept` in the place of inactive lanes.
    fn merge(&self, result: &mut Vector, kept: &Vector, active: u64) {
        let (element, bytes) = (usize::from(self.element), usize::from(self.result_bytes));
        let lanes = result.lanes_mut::<u8>()[..bytes].chunks_exact_mut(element);
        for (lane, (to, from)) in lanes.zip(kept.lanes::<u8>().chunks_exact(element)).enumerate() {
            if active >> lane & 1 == 0 {
                to.copy_from_slice(from);
            }
        }
    }
}

/// The first bytes of a vector, zeros behind.
#[inline]
pub(crate) fn first_bytes(vector: &Vector, bytes: usize) -> Vector {
    let mut result = Vector::ZERO;
    result.lanes_mut::<u8>()[..bytes].copy_from_slice(&vector.lanes::<u8>()[..bytes]);
    result
}
