//! The one error type of the safe API: what was expected and what was given.

use std::fmt;

use gemmill_codegen::{CodegenError, Tier, TierError};

/// `std::result::Result` with gemmill's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call was refused. A refused call has not written to its output, except for [`Error::NotRun`] and
/// [`Error::OutOfMemory`] of runs.
///
/// # Examples
/// ```
/// use gemmill::{Error, MatRef};
/// let err = MatRef::row_major(&[1u8, 2, 3], 2, 2).unwrap_err();
/// assert!(matches!(err, Error::TooShort { .. }));
/// assert_eq!(err.to_string(), "matrix data: 4 elements needed, 3 given");
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A slice holds fewer elements than the shape and strides reach.
    TooShort {
        /// Which operand.
        what: &'static str,
        /// Elements that the shape needs.
        needed: usize,
        /// Elements in the slice.
        given: usize,
    },
    /// Two sizes that must be equal are not.
    Mismatch {
        /// Which sizes, for example `"rows of B against columns of A"`.
        what: &'static str,
        /// The size that was required.
        expected: usize,
        /// The size that was given.
        given: usize,
    },
    /// A size or stride does not fit `usize`, or an allocation of it would exceed `isize::MAX` bytes.
    Overflow {
        /// Which computation.
        what: &'static str,
    },
    /// The system has no memory for what is needed. A run may have written C in part; all other calls have written
    /// nothing.
    OutOfMemory {
        /// What it is needed for.
        what: &'static str,
        /// Bytes of the allocation.
        bytes: usize,
    },
    /// Two elements of an output would share an address.
    Overlap {
        /// Rows of the output.
        rows: usize,
        /// Columns of the output.
        cols: usize,
        /// Elements between the starts of two rows.
        row_stride: usize,
    },
    /// A scale, multiplier or bias is not a usable number.
    BadNumber {
        /// Which parameter.
        what: &'static str,
        /// What it has to be.
        expected: &'static str,
        /// What it is.
        given: f32,
    },
    /// An integer parameter lies outside its range.
    OutOfRange {
        /// Which parameter.
        what: &'static str,
        /// Smallest legal value.
        low: i64,
        /// Largest legal value.
        high: i64,
        /// The value that was given.
        given: i64,
    },
    /// N is not a multiple of the number of groups, or there are no groups.
    Groups {
        /// Columns of B.
        cols: usize,
        /// Number of groups.
        groups: usize,
    },
    /// Options that do not go together, or one that is missing.
    Unsupported {
        /// What was asked, and what to do instead.
        what: &'static str,
    },
    /// Bytes that do not begin as packed weights do.
    NotWeights {
        /// The first bytes that were given.
        given: [u8; 8],
    },
    /// Bytes that do not begin as groupwise weights do.
    NotGroupwiseWeights {
        /// The first bytes that were given.
        given: [u8; 8],
    },
    /// Bytes that do not begin as packed floating-point weights do.
    NotFloatWeights {
        /// The first bytes that were given.
        given: [u8; 8],
    },
    /// Packed weights in a version of the format that this release does not read.
    Version {
        /// The newest version that it reads.
        newest: u32,
        /// The version that was given.
        given: u32,
    },
    /// Bytes that end too early.
    Truncated {
        /// Which part is missing.
        what: &'static str,
        /// Bytes that were needed.
        needed: usize,
        /// Bytes that were left.
        given: usize,
    },
    /// Bytes that are not those that were written.
    Checksum {
        /// The checksum of the bytes.
        expected: u64,
        /// The checksum that they carry.
        given: u64,
    },
    /// Packed weights that contradict themselves, though their checksum is right.
    Inconsistent {
        /// Which number.
        what: &'static str,
        /// What follows from the other content.
        expected: i64,
        /// What was given.
        given: i64,
    },
    /// Weights that were packed for another tier than the one asked for.
    PackedFor {
        /// The tier that they were packed for.
        tier: Tier,
        /// The tier that was asked for.
        asked: Tier,
    },
    /// A [`ParallelFor`](crate::ParallelFor) of the caller's returned before all tasks were done: C is written in part.
    NotRun {
        /// Tasks that it was given.
        tasks: usize,
        /// Those that were done.
        done: usize,
    },
    /// Sums that may leave i32, of an operation that was told to refuse them ([`Sums`](crate::Sums)), or whose sums
    /// cannot be cut.
    SumsMayWrap {
        /// The largest absolute value that a sum, bias included, can have.
        largest: u64,
    },
    /// The requested tier cannot run here, or does not exist.
    Tier(TierError),
    /// The system refused executable memory, or a kernel could not be generated.
    Codegen(CodegenError),
}

/// What weights in bytes are that begin so.
fn kind_of(magic: &[u8; 8]) -> Option<&'static str> {
    match magic {
        b"\x89gemmill" => Some("packed weights of 8 bits"),
        b"\x89gemmgrp" => Some("groupwise weights"),
        b"\x89gemmflt" => Some("floating-point weights"),
        _ => None,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::TooShort { what, needed, given } => write!(f, "{what}: {needed} elements needed, {given} given"),
            Error::Mismatch { what, expected, given } => write!(f, "{what}: expected {expected}, given {given}"),
            Error::Overflow { what } => write!(f, "{what}: the size does not fit the address space"),
            Error::OutOfMemory { what, bytes } => write!(f, "{what}: no memory for {bytes} bytes"),
            Error::Overlap { rows, cols, row_stride } => {
                write!(f, "output of {rows} rows and {cols} columns overlaps itself with a row stride of {row_stride}")
            }
            Error::BadNumber { what, expected, given } => write!(f, "{what}: expected {expected}, given {given}"),
            Error::OutOfRange { what, low, high, given } => {
                write!(f, "{what}: expected {low} to {high}, given {given}")
            }
            Error::Groups { cols, groups } => write!(f, "{cols} columns cannot be divided into {groups} groups"),
            Error::Unsupported { what } => f.write_str(what),
            Error::SumsMayWrap { largest } => {
                write!(f, "sums: expected at most {}, given weights whose sums may reach {largest}", i32::MAX)
            }
            Error::NotWeights { given } if kind_of(given).is_some() => {
                write!(f, "packed weights: expected those of 8 bits, given {}", kind_of(given).unwrap_or_default())
            }
            Error::NotGroupwiseWeights { given } if kind_of(given).is_some() => {
                write!(f, "groupwise weights: given {}", kind_of(given).unwrap_or_default())
            }
            Error::NotFloatWeights { given } if kind_of(given).is_some() => {
                write!(f, "floating-point weights: given {}", kind_of(given).unwrap_or_default())
            }
            Error::NotWeights { given } => {
                write!(f, "packed weights: expected to begin with 89 67 65 6d 6d 69 6c 6c, given {given:02x?}")
            }
            Error::NotGroupwiseWeights { given } => {
                write!(f, "groupwise weights: expected to begin with 89 67 65 6d 6d 67 72 70, given {given:02x?}")
            }
            Error::NotFloatWeights { given } => {
                write!(f, "floating-point weights: expected to begin with 89 67 65 6d 6d 66 6c 74, given {given:02x?}")
            }
            Error::Version { newest, given } => {
                write!(f, "packed weights: version {given} of the format; versions 1 to {newest} can be read")
            }
            Error::Truncated { what, needed, given } => {
                write!(f, "packed weights end too early: {what} needs {needed} bytes, {given} given")
            }
            Error::Checksum { expected, given } => {
                write!(f, "packed weights are damaged: their checksum is {expected:#018x}, the one given {given:#018x}")
            }
            Error::Inconsistent { what, expected, given } => {
                write!(f, "packed weights, {what}: expected {expected}, given {given}")
            }
            Error::PackedFor { tier, asked } => {
                write!(f, "weights were packed for tier {tier}, not for {asked}: PackedB::repack packs them for it")
            }
            Error::NotRun { tasks, done } => {
                write!(f, "threads of the caller's own: expected {tasks} tasks to be run, done were {done}")
            }
            Error::Tier(e) => e.fmt(f),
            Error::Codegen(e) => write!(f, "machine code: {e}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Codegen(e) => Some(e),
            Error::Tier(e) => Some(e),
            _ => None,
        }
    }
}

impl From<CodegenError> for Error {
    fn from(e: CodegenError) -> Self {
        Error::Codegen(e)
    }
}

impl From<TierError> for Error {
    fn from(e: TierError) -> Self {
        Error::Tier(e)
    }
}

/// Two sizes that must be equal.
pub(crate) fn expect(what: &'static str, expected: usize, given: usize) -> Result<()> {
    if expected == given { Ok(()) } else { Err(Error::Mismatch { what, expected, given }) }
}
