//! Floating-point elements of C and of the residual, as the epilogues of all families read and write them: `vectors` in
//! generated kernels, [`read`] and [`write`] in plain Rust. Both round to nearest even and keep a NaN one.

#[cfg(target_arch = "x86_64")]
pub(crate) mod vectors;

use half::{bf16, f16};

/// A floating-point type in memory. Kernels compute in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FloatType {
    /// IEEE-754 binary32.
    F32,
    /// IEEE-754 binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
}

impl FloatType {
    /// All of them.
    pub const ALL: [FloatType; 3] = [FloatType::F32, FloatType::F16, FloatType::Bf16];

    /// Bytes of an element.
    pub const fn bytes(self) -> usize {
        match self {
            FloatType::F32 => 4,
            FloatType::F16 | FloatType::Bf16 => 2,
        }
    }

    /// The name in kernel names and operations.
    pub const fn name(self) -> &'static str {
        match self {
            FloatType::F32 => "f32",
            FloatType::F16 => "f16",
            FloatType::Bf16 => "bf16",
        }
    }
}

/// Element `i` of a row, as f32.
///
/// # Safety
/// The element must be readable. It need not be aligned.
pub(crate) unsafe fn read(of: FloatType, row: *const u8, i: usize) -> f32 {
    let at = row.wrapping_add(i * of.bytes());
    // SAFETY: the caller's promise; alignment is not needed.
    unsafe {
        match of {
            FloatType::F32 => at.cast::<f32>().read_unaligned(),
            FloatType::F16 => at.cast::<f16>().read_unaligned().to_f32(),
            FloatType::Bf16 => at.cast::<bf16>().read_unaligned().to_f32(),
        }
    }
}

/// Makes `x` element `i` of a row.
///
/// # Safety
/// The element must be writable. It need not be aligned.
pub(crate) unsafe fn write(of: FloatType, row: *mut u8, i: usize, x: f32) {
    let at = row.wrapping_add(i * of.bytes());
    // SAFETY: the caller's promise; alignment is not needed.
    unsafe {
        match of {
            FloatType::F32 => at.cast::<f32>().write_unaligned(x),
            FloatType::F16 => at.cast::<f16>().write_unaligned(f16::from_f32(x)),
            FloatType::Bf16 => at.cast::<bf16>().write_unaligned(bf16::from_f32(x)),
        }
    }
}
