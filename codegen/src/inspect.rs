//! What generated code is made of, for fuzzing: kernels of all tiers as bytes, whatever this CPU has, and single
//! instructions of the table-driven encoder against a disassembler.
//!
//! For tests only, behind the feature `inspect`.

use crate::CodegenError;
use crate::kernel::Description;
use crate::machine::tier::Tier;
use crate::x86::asm::MachineCode;

pub use crate::x86::encode::inspect::{Choice, Encoded, RegisterChoice, RmChoice, check_instruction};

/// A kernel that need not be able to run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelCode {
    /// The code, constants behind it.
    pub bytes: Vec<u8>,
    /// What the CPU needs besides the base instructions and prefetches, by the names of Intel's manual.
    pub features: Vec<&'static str>,
}

impl From<MachineCode> for KernelCode {
    fn from(code: MachineCode) -> KernelCode {
        KernelCode { bytes: code.bytes, features: code.features.names().collect() }
    }
}

/// The code of a kernel of any family, of a tier with machine code.
///
/// # Errors
/// As [`Kernel::generate`](crate::Kernel::generate), but for tiers that this CPU lacks.
pub fn kernel_code<D: Description>(desc: &D) -> Result<KernelCode, CodegenError> {
    desc.check()?;
    Ok(desc.machine_code()?.into())
}

/// Kernels of a tier by name, of all families, that have every kind of instruction and address between them. The
/// portable tier has none.
///
/// # Errors
/// As [`kernel_code`], for the first kernel that cannot be generated, which would be a bug.
///
/// # Examples
/// ```
/// use gemmill_codegen::{Tier, inspect};
/// let samples = inspect::samples(Tier::Avx2)?;
/// for family in ["i8gemm_avx2_", "fgemm_avx2_", "q4gemm_avx2_"] {
///     assert!(samples.iter().any(|(name, code)| name.starts_with(family) && !code.bytes.is_empty()));
/// }
/// # Ok::<(), gemmill_codegen::CodegenError>(())
/// ```
pub fn samples(tier: Tier) -> Result<Vec<(String, KernelCode)>, CodegenError> {
    if tier == Tier::Portable {
        return Ok(Vec::new());
    }
    crate::families::samples(tier).into_iter().map(|(name, code)| Ok((name, code?.into()))).collect()
}
