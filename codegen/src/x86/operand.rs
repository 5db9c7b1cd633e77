//! What instructions name: registers, each kind a type of its own, and addresses.

use std::fmt;

/// A 64-bit general-purpose register. There is no rsp: kernels do not move the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Gpr {
    Rax = 0,
    Rcx = 1,
    Rdx = 2,
    Rbx = 3,
    Rbp = 5,
    Rsi = 6,
    Rdi = 7,
    R8 = 8,
    R9 = 9,
    R10 = 10,
    R11 = 11,
    R12 = 12,
    R13 = 13,
    R14 = 14,
    R15 = 15,
}

impl Gpr {
    /// Registers that a System V callee must hand back as it found them.
    pub(crate) const CALLEE_SAVED: [Gpr; 6] = [Gpr::Rbx, Gpr::Rbp, Gpr::R12, Gpr::R13, Gpr::R14, Gpr::R15];

    /// The number in encodings.
    pub(crate) fn id(self) -> u8 {
        self as u8
    }
}

/// A vector register, whatever its width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vector(pub(crate) u8);

/// An opmask: a bit for each lane of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opmask(pub(crate) u8);

/// A tile register: up to 16 rows of 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tile(pub(crate) u8);

/// The kinds of registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Nothing,
    Vector,
    Opmask,
    Tile,
    Gpr,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Nothing => "nothing",
            Kind::Vector => "a vector register",
            Kind::Opmask => "an opmask",
            Kind::Tile => "a tile",
            Kind::Gpr => "a general-purpose register",
        })
    }
}

/// A register of any kind, or none: made from one of the types above, and checked against an instruction's field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Register {
    pub(super) kind: Kind,
    pub(super) number: u8,
}

impl Register {
    /// For fields that an instruction does not have.
    pub(crate) const NONE: Register = Register { kind: Kind::Nothing, number: 0 };
}

macro_rules! numbered {
    ($($register:ident)*) => {
        $(impl From<$register> for Register {
            fn from(r: $register) -> Register {
                Register { kind: Kind::$register, number: r.0 }
            }
        })*
    };
}

numbered!(Vector Opmask Tile);

impl From<Gpr> for Register {
    fn from(g: Gpr) -> Register {
        Register { kind: Kind::Gpr, number: g.id() }
    }
}

/// The factor of an index register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    X1,
    X2,
    X4,
    X8,
}

/// An address: `base + index * scale + disp`. Instructions refuse a displacement that does not fit 32 bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mem {
    pub(crate) base: Gpr,
    pub(crate) index: Option<(Gpr, Scale)>,
    pub(crate) disp: i64,
}

/// A number of bytes as a displacement; what is too large stays so.
fn displacement(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Mem {
    pub(crate) fn at(base: Gpr, disp: usize) -> Mem {
        Mem { base, index: None, disp: displacement(disp) }
    }

    /// The same with `index * scale`, instead of any other index.
    pub(crate) fn indexed(self, index: Gpr, scale: Scale) -> Mem {
        Mem { index: Some((index, scale)), ..self }
    }

    pub(crate) fn offset(self, bytes: usize) -> Mem {
        Mem { disp: self.disp.saturating_add(displacement(bytes)), ..self }
    }

    /// So many bytes before.
    pub(crate) fn before(self, bytes: usize) -> Mem {
        Mem { disp: self.disp.saturating_sub(displacement(bytes)), ..self }
    }
}
