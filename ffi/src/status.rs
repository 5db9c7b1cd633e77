//! Status codes.

use std::ffi::{CStr, c_char};

use gemmill::Error;

use crate::call;

/// What a call gives back. After any other than GEMMILL_STATUS_OK, gemmill_last_error says what was expected and what
/// was given, and outputs are untouched, but for those of GEMMILL_STATUS_THREADS, of GEMMILL_STATUS_INTERNAL and of
/// runs with GEMMILL_STATUS_OUT_OF_MEMORY (handles that would have been created are null).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// A pointer is null that must not be.
    NullPointer = 1,
    /// A pointer is not a multiple of its type's alignment.
    Misaligned = 2,
    /// An integer is outside its range: a negative size or stride, a zero point that is no value of its type, a code
    /// that no enum has, an activation beyond the bound that packing was promised.
    OutOfRange = 3,
    /// A matrix would not fit the address space.
    Overflow = 4,
    /// Elements of an output share an address with each other or with an input.
    Overlap = 5,
    /// Two sizes that must be equal are not.
    Mismatch = 6,
    /// A scale, multiplier, bias, limit or activation is not a usable number.
    BadNumber = 7,
    /// Columns cannot be divided into so many groups.
    Groups = 8,
    /// Settings that do not go together, or one that is missing.
    Unsupported = 9,
    /// The CPU or its operating system lacks a tier, GEMMILL_TIER names none, or weights were packed for another one;
    /// or the CPU or the tier lacks hardware dot products.
    Tier = 10,
    /// The system refused executable memory, or a kernel could not be generated.
    MachineCode = 11,
    /// There is not enough memory.
    OutOfMemory = 12,
    /// The settings of an operation can no longer be changed.
    Frozen = 13,
    /// A buffer is too small for what is to be written.
    TooSmall = 14,
    /// Bytes are not packed weights, or not whole, or not from a version that is known.
    BadData = 15,
    /// The system refused threads, or the caller's own did not run all tasks of a product: C is written in part then.
    Threads = 16,
    /// A defect of the library.
    Internal = 17,
}

impl Status {
    /// In the order of their numbers, in a few words each.
    const ALL: [(Status, &CStr); 18] = [
        (Status::Ok, c"ok"),
        (Status::NullPointer, c"null pointer"),
        (Status::Misaligned, c"misaligned pointer"),
        (Status::OutOfRange, c"out of range"),
        (Status::Overflow, c"overflow"),
        (Status::Overlap, c"overlap"),
        (Status::Mismatch, c"mismatch"),
        (Status::BadNumber, c"bad number"),
        (Status::Groups, c"groups do not divide columns"),
        (Status::Unsupported, c"unsupported"),
        (Status::Tier, c"tier not to be had"),
        (Status::MachineCode, c"no machine code"),
        (Status::OutOfMemory, c"out of memory"),
        (Status::Frozen, c"settings are frozen"),
        (Status::TooSmall, c"buffer too small"),
        (Status::BadData, c"bad data"),
        (Status::Threads, c"no threads"),
        (Status::Internal, c"internal error"),
    ];

    pub(crate) fn of(error: &Error) -> Status {
        match error {
            Error::TooShort { .. } | Error::Mismatch { .. } => Status::Mismatch,
            Error::Overflow { .. } => Status::Overflow,
            Error::OutOfMemory { .. } => Status::OutOfMemory,
            Error::Overlap { .. } => Status::Overlap,
            Error::BadNumber { .. } => Status::BadNumber,
            Error::OutOfRange { .. } | Error::SumsMayWrap { .. } => Status::OutOfRange,
            Error::Groups { .. } => Status::Groups,
            Error::Unsupported { .. } => Status::Unsupported,
            Error::Tier(_) | Error::PackedFor { .. } => Status::Tier,
            Error::NotWeights { .. }
            | Error::NotGroupwiseWeights { .. }
            | Error::NotFloatWeights { .. }
            | Error::Version { .. }
            | Error::Truncated { .. }
            | Error::Checksum { .. }
            | Error::Inconsistent { .. } => Status::BadData,
            Error::NotRun { .. } => Status::Threads,
            Error::Codegen(_) => Status::MachineCode,
            _ => Status::Internal,
        }
    }
}

/// A status in a few words; "unknown status" for a number that is none.
///
/// Ownership: the text is static. Threads: any. Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn gemmill_status_text(status: i32) -> *const c_char {
    let known = || Status::ALL.into_iter().find(|(known, _)| *known as i32 == status);
    call::value(c"".as_ptr(), || known().map_or(c"unknown status", |(_, text)| text).as_ptr())
}

/// What was expected and what was given, by this thread's last call that failed; empty if none did.
///
/// A call that succeeds leaves the message alone. It begins with the function's name.
///
/// Ownership: the text belongs to the library and is there until a call on the same thread fails, or the thread ends.
/// Threads: each has its own message. Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn gemmill_last_error() -> *const c_char {
    call::value(c"".as_ptr(), call::last_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_have_texts() {
        for (code, (status, expected)) in Status::ALL.into_iter().enumerate() {
            assert_eq!(status as usize, code);
            // SAFETY: what the function returns is static and ends with a NUL.
            let text = unsafe { CStr::from_ptr(gemmill_status_text(code as i32)) };
            assert_eq!(text, expected);
        }
        for unknown in [-1, Status::ALL.len() as i32, i32::MIN] {
            // SAFETY: as above.
            let text = unsafe { CStr::from_ptr(gemmill_status_text(unknown)) };
            assert_eq!(text, c"unknown status");
        }
    }
}
