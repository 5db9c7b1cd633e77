//! A table-driven encoder for the instructions on vectors, opmasks and tiles: VEX and EVEX.
//!
//! [`table`] says what each instruction looks like, one line each. [`Assembler::emit`] encodes one of them into the
//! buffer that `dynasm!` writes to as well. Operands are typed, and those that an instruction cannot have give no
//! bytes: the first of them is what [`Assembler::finish`] returns.
//!
//! ```text
//! asm.emit(&VPADDD, Width::Z, Operands::new(dst, a, b).zeroed(Opmask(1)));
//! asm.emit(&VMOVDQU32_STORE, Width::Z, Operands::new(src, Register::NONE, Rm::Memory(dst)));
//! ```

use std::fmt;

use dynasmrt::relocations::{Relocation, RelocationKind, RelocationSize};
use dynasmrt::x64::X64Relocation;
use dynasmrt::{DynamicLabel, DynasmApi, DynasmLabelApi};

use super::asm::Assembler;
use super::operand::{Kind, Mem, Opmask, Register, Vector};

#[cfg(any(test, feature = "inspect"))]
pub(crate) mod inspect;
mod instruction;
pub(crate) mod table;
#[cfg(test)]
mod tests;

use instruction::{Access, Class, Encoding, Field, Forms, Immediate, Map};
pub(crate) use instruction::{Instruction, W, Width};

/// The operand in the ModRM.rm field, whichever direction data flow.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rm {
    Register(Register),
    Memory(Mem),
    /// A constant of the kernel's own ([`Assembler::constant`]).
    Constant(DynamicLabel),
}

impl From<Mem> for Rm {
    fn from(mem: Mem) -> Rm {
        Rm::Memory(mem)
    }
}

impl<R: Into<Register>> From<R> for Rm {
    fn from(register: R) -> Rm {
        Rm::Register(register.into())
    }
}

/// Lanes that an instruction writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mask {
    /// 1 to 7.
    pub(crate) register: Opmask,
    /// Whether other lanes become zero. Otherwise they stay as they are.
    pub(crate) zeroing: bool,
}

/// The operands of one instruction, by the field that holds them. Fields that it does not have are [`Register::NONE`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operands {
    pub(crate) reg: Register,
    pub(crate) vvvv: Register,
    pub(crate) rm: Rm,
    pub(crate) mask: Option<Mask>,
    /// Whether memory holds one element, which is repeated.
    pub(crate) broadcast: bool,
    pub(crate) imm: Option<u8>,
}

impl Operands {
    #[inline]
    pub(crate) fn new(reg: impl Into<Register>, vvvv: impl Into<Register>, rm: impl Into<Rm>) -> Operands {
        Operands { reg: reg.into(), vvvv: vvvv.into(), rm: rm.into(), mask: None, broadcast: false, imm: None }
    }

    /// A destination or a source in ModRM.reg, and the other one in ModRM.rm.
    #[inline]
    pub(crate) fn two(reg: impl Into<Register>, rm: impl Into<Rm>) -> Operands {
        Operands::new(reg, Register::NONE, rm)
    }

    /// A shift of `src` by a number of bits: the destination is in vvvv.
    #[inline]
    pub(crate) fn shift(dst: Vector, src: impl Into<Rm>, bits: u8) -> Operands {
        Operands::new(Register::NONE, dst, src).imm(bits)
    }

    /// Lanes outside of the opmask stay as they are.
    #[inline]
    pub(crate) fn masked(self, register: Opmask) -> Operands {
        Operands { mask: Some(Mask { register, zeroing: false }), ..self }
    }

    /// Lanes outside of the opmask become zero.
    #[inline]
    pub(crate) fn zeroed(self, register: Opmask) -> Operands {
        Operands { mask: Some(Mask { register, zeroing: true }), ..self }
    }

    /// Memory holds one element, which is repeated.
    #[cfg(test)]
    pub(crate) fn broadcast(self) -> Operands {
        Operands { broadcast: true, ..self }
    }

    #[inline]
    pub(crate) fn imm(self, imm: u8) -> Operands {
        Operands { imm: Some(imm), ..self }
    }
}

/// Why an instruction cannot have the operands that were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Illegal {
    Width(Width),
    Register { field: &'static str, given: u8, registers: u8 },
    Kind { field: &'static str, given: Kind, expected: Kind },
    RegisterForm,
    MemoryForm,
    RipRelative,
    EqualTiles,
    NoMasks,
    MaskRegister(Opmask),
    ZeroedMemory,
    NoBroadcast,
    BroadcastRegister,
    ImmediateMissing,
    NoImmediate(u8),
    Displacement(i64),
}

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Illegal::Width(given) => write!(f, "has no form of {} bits", 128 << given as u32),
            Illegal::Register { field, given, registers } => {
                write!(f, "register {given} in {field}: expected 0 to {}", registers - 1)
            }
            Illegal::Kind { field, given, expected } => write!(f, "{given} in {field}: expected {expected}"),
            Illegal::RegisterForm => f.write_str("takes memory, not a register, in ModRM.rm"),
            Illegal::MemoryForm => f.write_str("takes a register, not memory, in ModRM.rm"),
            Illegal::RipRelative => f.write_str("takes memory with a base register, not a constant"),
            Illegal::EqualTiles => f.write_str("takes three different tiles"),
            Illegal::NoMasks => f.write_str("takes no opmask"),
            Illegal::MaskRegister(Opmask(given)) => write!(f, "opmask {given}: expected 1 to 7"),
            Illegal::ZeroedMemory => f.write_str("cannot zero lanes in memory"),
            Illegal::NoBroadcast => f.write_str("has no broadcast form"),
            Illegal::BroadcastRegister => f.write_str("broadcasts from memory only, not from a register"),
            Illegal::ImmediateMissing => f.write_str("needs an immediate byte"),
            Illegal::NoImmediate(given) => write!(f, "takes no immediate byte, but {given} was given"),
            Illegal::Displacement(given) => write!(f, "displacement {given}: expected a number of 32 bits"),
        }
    }
}

/// An instruction of general-purpose registers and memory.
#[derive(Debug)]
pub(super) struct Scalar {
    pub(super) name: &'static str,
    pub(super) w: W,
    pub(super) opcode: &'static [u8],
}

impl Assembler {
    /// Encodes one instruction.
    ///
    /// Operands that it cannot have give no bytes, and [`Assembler::finish`] fails.
    pub(crate) fn emit(&mut self, instruction: &'static Instruction, width: Width, operands: Operands) {
        match encode(instruction, width, &operands) {
            Ok(code) => {
                self.needs(instruction.features(width));
                self.push_bytes(code);
                if let Rm::Constant(label) = operands.rm {
                    // Counted back from here: the field ends where the immediate byte, if any, begins.
                    let field = 4 + operands.imm.is_some() as u8;
                    let kind = X64Relocation::from_size(RelocationKind::Relative, RelocationSize::DWord);
                    self.ops.dynamic_relocation(label, 0, field, 0, kind);
                }
            }
            Err(reason) => self.refuse(instruction.name, reason),
        }
    }

    /// Adds an instruction's bytes, from one register at a time: a store of some of them would delay the load of all.
    #[inline(always)]
    fn push_bytes(&mut self, Code { prefix, prefix_length, rest }: Code) {
        let (bits, length) = (8 * prefix_length, prefix_length + rest.length);
        let first = (u64::from(prefix) | rest.bytes << bits).to_le_bytes();
        if length <= 8 {
            return self.ops.extend(&first[..length]);
        }
        self.ops.extend(&first);
        self.ops.extend(&(rest.bytes >> (64 - bits)).to_le_bytes()[..length - 8]);
    }

    /// Encodes an instruction with a memory operand; `reg` is the number of its register, or more bits of its opcode.
    pub(super) fn emit_scalar(&mut self, instruction: &Scalar, reg: u8, mem: Mem) {
        let mut rest = Rest::default();
        instruction.opcode.iter().for_each(|&byte| rest.push(byte));
        if let Err(reason) = address(&mut rest, reg & 7, &mem, 0, false) {
            return self.refuse(instruction.name, reason);
        }
        let index = mem.index.map_or(0, |(index, _)| index.id() >> 3);
        let rex = 0x40 | (instruction.w as u8) << 3 | reg >> 3 << 2 | index << 1 | mem.base.id() >> 3;
        if rex != 0x40 {
            self.ops.push(rex);
        }
        self.ops.extend(&rest.bytes.to_le_bytes()[..rest.length]);
    }

    #[cold]
    fn refuse(&mut self, name: &str, reason: Illegal) {
        self.fail(format!("{name}: {reason}"));
    }
}

/// The bytes of one instruction, put together in registers: the prefix, and the rest. The first byte is the lowest.
struct Code {
    prefix: u32,
    prefix_length: usize,
    rest: Rest,
}

/// Opcode, ModRM, SIB, displacement and immediate: at most eight bytes.
#[derive(Default)]
struct Rest {
    bytes: u64,
    length: usize,
}

impl Rest {
    #[inline(always)]
    fn push(&mut self, byte: u8) {
        self.bytes |= u64::from(byte) << (8 * self.length);
        self.length += 1;
    }

    #[inline(always)]
    fn push_i32(&mut self, value: i32) {
        self.bytes |= u64::from(value as u32) << (8 * self.length);
        self.length += 4;
    }
}

/// Register numbers as prefixes spread them: five bits each, the upper two of `rm` in `b` and `x`.
struct RegisterBits {
    reg: u8,
    vvvv: u8,
    x: u8,
    b: u8,
}

/// The bytes of an instruction; the displacement of a constant is zero.
#[inline(always)]
fn encode(i: &Instruction, width: Width, o: &Operands) -> Result<Code, Illegal> {
    if !i.widths.contains(width) {
        return Err(Illegal::Width(width));
    }
    let reg = i.registers[0].number(o.reg, "ModRM.reg")?;
    let vvvv = i.registers[1].number(o.vvvv, "vvvv")?;
    let reg = match i.reg {
        Field::Digit(digit) => digit,
        _ => reg,
    };
    let mut direct = 0;
    let (x, b) = match o.rm {
        Rm::Register(rm) => {
            if !i.forms.register() {
                return Err(Illegal::RegisterForm);
            }
            let rm = i.registers[2].number(rm, "ModRM.rm")?;
            direct = rm & 7;
            if i.vvvv == Field::Operand(Access::Read, Class::Tile) && (reg == vvvv || vvvv == rm || rm == reg) {
                return Err(Illegal::EqualTiles);
            }
            (rm >> 4, rm >> 3)
        }
        Rm::Memory(_) if !i.forms.memory() => return Err(Illegal::MemoryForm),
        Rm::Memory(mem) => (mem.index.map_or(0, |(index, _)| index.id() >> 3), mem.base.id() >> 3),
        Rm::Constant(_) if !i.forms.memory() => return Err(Illegal::MemoryForm),
        Rm::Constant(_) if i.forms == Forms::Sib => return Err(Illegal::RipRelative),
        Rm::Constant(_) => (0, 0),
    };
    let numbers = RegisterBits { reg, vvvv, x: x & 1, b: b & 1 };
    let (prefix, prefix_length) = match i.encoding {
        Encoding::Vex => vex(i, width, o, numbers)?,
        Encoding::Evex => (evex(i, width, o, numbers)?, 4),
    };
    let mut rest = Rest { bytes: i.opcode.into(), length: 1 };
    match &o.rm {
        Rm::Register(_) => rest.push(0xC0 | (reg & 7) << 3 | direct),
        Rm::Memory(mem) => {
            let shift = i.displacement_shift(width, o.broadcast);
            address(&mut rest, reg & 7, mem, shift, i.forms == Forms::Sib)?;
        }
        Rm::Constant(_) => {
            rest.push((reg & 7) << 3 | 5);
            rest.push_i32(0);
        }
    }
    match (i.immediate, o.imm) {
        (Immediate::None, None) => {}
        (Immediate::Byte, Some(byte)) => rest.push(byte),
        (Immediate::Byte, None) => return Err(Illegal::ImmediateMissing),
        (Immediate::None, Some(byte)) => return Err(Illegal::NoImmediate(byte)),
    }
    Ok(Code { prefix, prefix_length, rest })
}

/// `C5 RvvvvLpp` where that can say it all, otherwise `C4 RXBmmmmm WvvvvLpp`. Register bits are inverted.
#[inline(always)]
fn vex(i: &Instruction, width: Width, o: &Operands, n: RegisterBits) -> Result<(u32, usize), Illegal> {
    if o.mask.is_some() {
        return Err(Illegal::NoMasks);
    }
    if o.broadcast {
        return Err(Illegal::NoBroadcast);
    }
    let r = (!n.reg >> 3 & 1) << 7;
    let last = (!n.vvvv & 15) << 3 | (width as u8) << 2 | i.prefix as u8;
    if i.map == Map::M0F && i.w == W::W0 && n.x | n.b == 0 {
        Ok((u32::from_le_bytes([0xC5, r | last, 0, 0]), 2))
    } else {
        let second = r | (n.x ^ 1) << 6 | (n.b ^ 1) << 5 | i.map as u8;
        Ok((u32::from_le_bytes([0xC4, second, (i.w as u8) << 7 | last, 0]), 3))
    }
}

/// `62 RXBR'0mmm Wvvvv1pp zL'LbV'aaa`. Register bits are inverted.
#[inline(always)]
fn evex(i: &Instruction, width: Width, o: &Operands, n: RegisterBits) -> Result<u32, Illegal> {
    let mask = match o.mask {
        None => 0,
        Some(Mask { register, .. }) if !(1..=7).contains(&register.0) => return Err(Illegal::MaskRegister(register)),
        Some(Mask { register, zeroing }) => {
            if zeroing && i.stores() && !matches!(o.rm, Rm::Register(_)) {
                return Err(Illegal::ZeroedMemory);
            }
            (zeroing as u8) << 7 | register.0
        }
    };
    if o.broadcast {
        if i.tuple.broadcast_element().is_none() {
            return Err(Illegal::NoBroadcast);
        }
        if matches!(o.rm, Rm::Register(_)) {
            return Err(Illegal::BroadcastRegister);
        }
    }
    let (reg, vvvv) = (!n.reg, !n.vvvv);
    Ok(u32::from_le_bytes([
        0x62,
        (reg >> 3 & 1) << 7 | (n.x ^ 1) << 6 | (n.b ^ 1) << 5 | (reg >> 4 & 1) << 4 | i.map as u8,
        (i.w as u8) << 7 | (vvvv & 15) << 3 | 1 << 2 | i.prefix as u8,
        (width as u8) << 5 | (o.broadcast as u8) << 4 | (vvvv >> 4 & 1) << 3 | mask,
    ]))
}

/// ModRM, SIB and displacement, the shortest that fit. An 8-bit displacement counts in units of `1 << shift` bytes.
#[inline(always)]
fn address(rest: &mut Rest, reg: u8, mem: &Mem, shift: u32, always_sib: bool) -> Result<(), Illegal> {
    const SIB: u8 = 4;
    let disp = i32::try_from(mem.disp).map_err(|_| Illegal::Displacement(mem.disp))?;
    let reg = reg << 3;
    let base = mem.base.id() & 7;
    let short = disp >> shift;
    // Without a displacement, base 5 (rbp, r13) would mean something else.
    let (mode, bytes) = if disp == 0 && base != 5 {
        (0x00, 0)
    } else if short << shift == disp && i8::try_from(short).is_ok() {
        (0x40, 1)
    } else {
        (0x80, 4)
    };
    match mem.index {
        Some((index, scale)) => {
            rest.push(mode | reg | SIB);
            rest.push((scale as u8) << 6 | (index.id() & 7) << 3 | base);
        }
        // Index 4 is none. Base 4 (r12) can only be said in a SIB byte.
        None if always_sib || base == SIB => {
            rest.push(mode | reg | SIB);
            rest.push(4 << 3 | base);
        }
        None => rest.push(mode | reg | base),
    }
    match bytes {
        0 => {}
        1 => rest.push(short as u8),
        _ => rest.push_i32(disp),
    }
    Ok(())
}
