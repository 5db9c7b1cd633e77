//! What an instruction looks like: the types of the columns of [`table`](super::table).

use super::Illegal;
use crate::x86::features::Features;
use crate::x86::operand::{Kind, Register};

/// The vector length of an instruction. Opmask and tile instructions have the one of their line in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    /// 128 bits.
    X = 0,
    /// 256 bits.
    Y = 1,
    /// 512 bits.
    Z = 2,
}

impl Width {
    /// 32-bit lanes.
    pub(crate) const fn lanes(self) -> usize {
        4 << self as usize
    }
}

/// A set of [`Width`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Widths(pub(super) u8);

impl Widths {
    pub(crate) fn contains(self, width: Width) -> bool {
        self.0 >> width as u8 & 1 != 0
    }
}

/// The form of an instruction's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Vex,
    Evex,
}

/// The mandatory prefix, as VEX and EVEX number it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefix {
    None = 0,
    P66 = 1,
    PF3 = 2,
    PF2 = 3,
}

/// The opcode map, as VEX and EVEX number it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Map {
    M0F = 1,
    M0F38 = 2,
    M0F3A = 3,
}

/// The W bit. Instructions that ignore it have [`W::W0`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum W {
    W0 = 0,
    W1 = 1,
}

/// What an instruction does to an operand when it has no mask. A merging mask makes `Write` an `Update`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    Update,
}

/// What register a field of an instruction names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// A vector of the instruction's width.
    Vector,
    /// A vector of half the width, at least 128 bits.
    HalfVector,
    /// 128 bits.
    Xmm,
    /// 256 bits.
    Ymm,
    Opmask,
    Tile,
    Gpr32,
    /// No register: memory only.
    Memory,
}

impl Class {
    const fn kind(self) -> Kind {
        match self {
            Class::Opmask => Kind::Opmask,
            Class::Tile => Kind::Tile,
            Class::Gpr32 => Kind::Gpr,
            Class::Memory => Kind::Nothing,
            _ => Kind::Vector,
        }
    }
}

/// What one of the three operand fields of an instruction holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// Nothing. [`Operands`] has [`Register::NONE`] there.
    Unused,
    /// More bits of the opcode. [`Operands`] has [`Register::NONE`] there.
    Digit(u8),
    Operand(Access, Class),
}

impl Field {
    /// The registers that the field may have.
    pub(super) const fn registers(self, encoding: Encoding) -> Registers {
        let Field::Operand(_, class) = self else { return Registers { kind: Kind::Nothing, count: 1 } };
        let kind = class.kind();
        let count = match (kind, encoding) {
            (Kind::Nothing, _) => 0,
            (Kind::Opmask | Kind::Tile, _) => 8,
            (Kind::Gpr, _) | (Kind::Vector, Encoding::Vex) => 16,
            (Kind::Vector, Encoding::Evex) => 32,
        };
        Registers { kind, count }
    }
}

/// The registers of a kind, from number 0 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Registers {
    pub(super) kind: Kind,
    count: u8,
}

impl Registers {
    /// The number of a register that must be one of these.
    #[inline(always)]
    pub(super) fn number(self, given: Register, field: &'static str) -> Result<u8, Illegal> {
        if given.kind == self.kind && given.number < self.count {
            return Ok(given.number);
        }
        Err(self.refuse(given, field))
    }

    #[cold]
    fn refuse(self, given: Register, field: &'static str) -> Illegal {
        match given.kind == self.kind {
            true => Illegal::Register { field, given: given.number, registers: self.count },
            false => Illegal::Kind { field, given: given.kind, expected: self.kind },
        }
    }
}

/// What ModRM.rm may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forms {
    Register,
    Memory,
    Both,
    /// Memory with a SIB byte: never relative to RIP.
    Sib,
}

impl Forms {
    pub(super) fn register(self) -> bool {
        matches!(self, Forms::Register | Forms::Both)
    }

    pub(super) fn memory(self) -> bool {
        !matches!(self, Forms::Register)
    }
}

/// How much memory an instruction touches. In EVEX an 8-bit displacement counts in that unit (the vendors' "tuple
/// type").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tuple {
    /// None, or a structure of no vector's size.
    Unscaled,
    /// A vector, or a broadcast element of 32 bits.
    Full32,
    /// A vector.
    FullMem,
    /// Half a vector.
    HalfMem,
    /// So many bytes, whatever the width; a power of two.
    Fixed(u8),
}

impl Tuple {
    /// Bytes of an element that may be broadcast.
    pub(crate) fn broadcast_element(self) -> Option<u32> {
        match self {
            Tuple::Full32 => Some(4),
            _ => None,
        }
    }

    /// The binary logarithm of the bytes of memory.
    pub(super) fn memory_shift(self, width: Width, broadcast: bool) -> u32 {
        let vector = 4 + width as u32;
        match self {
            Tuple::Unscaled => 0,
            Tuple::Full32 if broadcast => 2,
            Tuple::Full32 | Tuple::FullMem => vector,
            Tuple::HalfMem => vector - 1,
            Tuple::Fixed(bytes) => bytes.trailing_zeros(),
        }
    }
}

/// Whether a byte of immediate data follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Immediate {
    None,
    Byte,
}

/// What an instruction looks like: a line of [`table`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) name: &'static str,
    pub(crate) encoding: Encoding,
    pub(crate) prefix: Prefix,
    pub(crate) map: Map,
    pub(crate) w: W,
    pub(crate) opcode: u8,
    pub(crate) reg: Field,
    pub(crate) vvvv: Field,
    pub(crate) rm: Field,
    pub(crate) forms: Forms,
    pub(crate) immediate: Immediate,
    pub(crate) tuple: Tuple,
    pub(crate) widths: Widths,
    /// What the CPU needs for it. EVEX forms need AVX512F (512 bits) or AVX512VL (fewer) as well.
    pub(crate) feature: Features,
    /// [`Field::registers`] of ModRM.reg, vvvv and ModRM.rm.
    pub(super) registers: [Registers; 3],
}

impl Instruction {
    /// Whether ModRM.rm is what it writes.
    pub(in crate::x86) fn stores(&self) -> bool {
        matches!(self.rm, Field::Operand(Access::Write, _))
    }

    /// The binary logarithm of the unit of an 8-bit displacement.
    #[inline(always)]
    pub(super) fn displacement_shift(&self, width: Width, broadcast: bool) -> u32 {
        match self.encoding {
            Encoding::Vex => 0,
            Encoding::Evex => self.tuple.memory_shift(width, broadcast),
        }
    }

    /// The features that the instruction needs at `width`.
    pub(crate) fn features(&self, width: Width) -> Features {
        match (self.encoding, width) {
            (Encoding::Vex, _) => self.feature,
            (Encoding::Evex, Width::X | Width::Y) => self.feature.and(Features::AVX512VL),
            (Encoding::Evex, Width::Z) => self.feature.and(Features::AVX512F),
        }
    }
}
