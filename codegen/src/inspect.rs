//! What generated code is made of, for fuzzing: kernels of all tiers as bytes, whatever this CPU has, and single
//! instructions of the table-driven encoder against a disassembler.
//!
//! For tests only, behind the feature `inspect`.

use crate::CodegenError;
use crate::desc::KernelDesc;
use crate::kernel::Family;

pub use crate::x86::encode::inspect::{Choice, Encoded, RegisterChoice, RmChoice, check_instruction};

/// A kernel that need not be able to run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelCode {
    /// The code, constants behind it.
    pub bytes: Vec<u8>,
    /// What the CPU needs besides the base instructions and prefetches, by the names of Intel's manual.
    pub features: Vec<&'static str>,
}

/// The code of a kernel of a tier with machine code.
///
/// # Errors
/// As [`Kernel::generate`](crate::Kernel::generate), but for tiers that this CPU lacks.
pub fn kernel_code(desc: &KernelDesc) -> Result<KernelCode, CodegenError> {
    desc.check()?;
    let code = desc.machine_code()?;
    Ok(KernelCode { bytes: code.bytes, features: code.features.names().collect() })
}
