//! What machine code must not do.

use std::fmt;

use iced_x86::Register;

/// A breach of the architecture's rules or of the calling convention, and the instruction that it happened at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Bytes from the code's start to the instruction.
    pub offset: usize,
    /// The instruction in Intel's syntax.
    pub instruction: String,
    /// What is wrong.
    pub reason: Reason,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}: {}: {}", self.offset, self.instruction, self.reason)
    }
}

impl std::error::Error for Fault {}

/// Why an instruction faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The bytes are no legal instruction (#UD): a product that names a tile twice is none.
    Undecodable,
    /// The model lacks the instruction, or this form of it.
    NotModelled(&'static str),
    /// Execution would leave the code, or enter an instruction in its middle.
    LeavesCode {
        /// Where it would continue, in bytes from the code's start.
        offset: i64,
    },
    /// Two reachable instructions share bytes.
    Overlap,
    /// An access that must be aligned is not (#GP).
    Misaligned {
        /// The address accessed.
        address: u64,
        /// The alignment needed.
        alignment: u64,
    },
    /// `ldtilecfg` was given what is no configuration (#GP).
    TileConfiguration(&'static str),
    /// A tile instruction while no tiles are configured (#UD).
    TilesNotConfigured,
    /// A tile that the configuration gives no size (#UD).
    TileWithoutSize {
        /// The tile.
        tile: u8,
    },
    /// Operands of a tile product that do not fit each other (#UD).
    TileShapes(&'static str),
    /// A jump on a flag whose value is undefined.
    UndefinedFlag {
        /// The flags, as bits of RFLAGS.
        flags: u64,
    },
    /// More instructions than allowed.
    TooManyInstructions {
        /// How many are allowed.
        limit: u64,
    },
    /// The stack pointer left the stack.
    StackOverflow {
        /// The stack pointer.
        pointer: u64,
    },
    /// The stack pointer at the return is not the one at the entry.
    StackImbalance {
        /// Bytes that it is too high.
        by: i64,
    },
    /// The return address was overwritten.
    ReturnAddress,
    /// A callee-saved register has another value at the return than at the entry.
    NotRestored(Register),
    /// A return while tiles are configured: `tilerelease` is missing.
    TilesNotReleased,
    /// A return while upper halves of vector registers are in use: `vzeroupper` is missing.
    UpperHalvesDirty,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Reason::Undecodable => write!(f, "#UD: no legal instruction"),
            Reason::NotModelled(what) => write!(f, "not in the model: {what}"),
            Reason::LeavesCode { offset } => write!(f, "continues at {offset:#x}, where no instruction starts"),
            Reason::Overlap => write!(f, "shares bytes with another instruction"),
            Reason::Misaligned { address, alignment } => {
                write!(f, "#GP: address {address:#x} is not a multiple of {alignment}")
            }
            Reason::TileConfiguration(what) => write!(f, "#GP: tile configuration: {what}"),
            Reason::TilesNotConfigured => write!(f, "#UD: tiles are not configured"),
            Reason::TileWithoutSize { tile } => write!(f, "#UD: the configuration leaves tile {tile} out"),
            Reason::TileShapes(what) => write!(f, "#UD: {what}"),
            Reason::UndefinedFlag { flags } => write!(f, "reads undefined flags {flags:#x}"),
            Reason::TooManyInstructions { limit } => write!(f, "more than {limit} instructions"),
            Reason::StackOverflow { pointer } => write!(f, "the stack pointer {pointer:#x} is outside the stack"),
            Reason::StackImbalance { by } => write!(f, "the stack pointer is {by} bytes too high at the return"),
            Reason::ReturnAddress => write!(f, "the return address was overwritten"),
            Reason::NotRestored(register) => write!(f, "{register:?} is not what it was at the entry"),
            Reason::TilesNotReleased => write!(f, "returns with tiles configured"),
            Reason::UpperHalvesDirty => write!(f, "returns without vzeroupper"),
        }
    }
}
