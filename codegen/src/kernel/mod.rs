//! Kernels of any family: generated code in executable memory of its own and the call into it, kept once in a [cache],
//! named for [profilers](profile), or carried out by an [interpreter](interpret).

pub(crate) mod cache;
pub(crate) mod grid;
#[cfg(all(target_arch = "x86_64", feature = "interpreter"))]
pub mod interpret;
#[cfg(target_arch = "x86_64")]
pub(crate) mod profile;

use std::fmt;
use std::hash::Hash;

use crate::families::Listed;
use crate::families::int8::desc::KernelDesc;
#[cfg(all(target_arch = "x86_64", feature = "interpreter"))]
use crate::kernel::interpret::Interpreted;
#[cfg(target_arch = "x86_64")]
use crate::machine::executable::Executable;
use crate::machine::tier::{Tier, TierError};
#[cfg(target_arch = "x86_64")]
use crate::x86::asm::MachineCode;

/// Why a kernel could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodegenError {
    /// The description is not one of a kernel that can exist.
    Unsupported(&'static str),
    /// The assembler refused an instruction or a jump.
    Assemble(String),
    /// The system refused executable memory.
    Memory(String),
    /// A word in `GEMMILL_PROFILE` that names no profiler.
    Profile(String),
    /// This CPU does not run the tier.
    Tier(TierError),
}

impl fmt::Display for CodegenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodegenError::Unsupported(what) => f.write_str(what),
            CodegenError::Assemble(e) => write!(f, "assembler: {e}"),
            CodegenError::Memory(e) => write!(f, "executable memory: {e}"),
            CodegenError::Profile(word) => {
                write!(f, "GEMMILL_PROFILE: expected perfmap, jitdump or both with a comma, given {word:?}")
            }
            CodegenError::Tier(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for CodegenError {}

impl From<TierError> for CodegenError {
    fn from(e: TierError) -> Self {
        CodegenError::Tier(e)
    }
}

#[cfg(target_arch = "x86_64")]
impl CodegenError {
    pub(crate) fn memory(refused: std::io::Error) -> CodegenError {
        CodegenError::Memory(refused.to_string())
    }
}

/// That a kernel can be as its description says, where that `holds`.
pub(crate) fn ensure(holds: bool, otherwise: &'static str) -> Result<(), CodegenError> {
    if holds { Ok(()) } else { Err(CodegenError::Unsupported(otherwise)) }
}

/// A family of kernels: what describes each of them, and what they are called with. The families are those of
/// [`KernelDesc`], [`crate::FloatKernelDesc`] and [`crate::GroupKernelDesc`]; there can be no others.
pub trait Description:
    Listed + Copy + Eq + Hash + Ord + fmt::Debug + fmt::Display + Send + Sync + Sized + 'static
{
    /// What kernels are called with.
    type Args;

    /// Instruction set.
    #[doc(hidden)]
    fn tier(&self) -> Tier;
    /// Whether there is such a kernel. The portable tier runs every tier's kernels: it is their oracle.
    #[doc(hidden)]
    fn check(&self) -> Result<(), CodegenError>;
    /// Does in plain Rust what the kernel does.
    ///
    /// # Safety
    /// As [`Kernel::run`].
    #[doc(hidden)]
    unsafe fn run_portable(&self, args: &mut Self::Args);
    /// Kernels of a tier that have every kind of instruction and address between them.
    #[cfg(all(target_arch = "x86_64", any(test, feature = "inspect")))]
    #[doc(hidden)]
    fn samples(tier: Tier) -> Vec<Self>;
}

/// A micro-kernel, ready to run on this CPU. Holding one proves that the CPU has the features of its
/// instructions, or that the interpreter carries them out.
#[derive(Debug)]
pub struct Kernel<D: Description = KernelDesc> {
    desc: D,
    code: Code,
}

#[derive(Debug)]
enum Code {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Machine(Executable),
    #[cfg(all(target_arch = "x86_64", feature = "interpreter"))]
    Interpreted(Interpreted),
}

impl<D: Description> Kernel<D> {
    /// Generates the kernel that `desc` describes.
    ///
    /// # Errors
    /// [`CodegenError::Tier`] if this CPU lacks the tier, [`CodegenError::Unsupported`] if the micro-tile does not fit
    /// the registry, [`CodegenError::Memory`] if the system refuses executable memory, [`CodegenError::Assemble`] if
    /// the assembler refuses what the builder asked for, which would be a bug.
    ///
    /// # Examples
    /// ```
    /// use gemmill_codegen::*;
    /// let desc = KernelDesc {
    ///     tier: Tier::Portable,
    ///     layout: Layout::Columns8,
    ///     activations: Byte::U8,
    ///     rows: 4,
    ///     vectors: 2,
    ///     cols: 16,
    ///     sections: [Section::Narrow].into_iter().collect(),
    ///     start: Start::Zero,
    ///     finish: Finish::Scratch,
    ///     sweep: Sweep::Column,
    ///     prefetch: Prefetch::None,
    /// };
    /// let kernel = Kernel::generate(&desc)?;
    /// assert!(kernel.bytes().is_empty());
    /// assert!(Kernel::generate(&KernelDesc { rows: 99, ..desc }).is_err());
    /// # Ok::<(), CodegenError>(())
    /// ```
    pub fn generate(desc: &D) -> Result<Kernel<D>, CodegenError> {
        desc.check()?;
        desc.tier().require()?;
        let code = match desc.tier() {
            Tier::Portable => Code::Portable,
            #[cfg(target_arch = "x86_64")]
            _ => machine(desc, desc.machine_code()?)?,
            #[cfg(not(target_arch = "x86_64"))]
            _ => return Err(CodegenError::Unsupported("this architecture has the portable tier only")),
        };
        Ok(Kernel { desc: *desc, code })
    }

    /// What the kernel is.
    pub fn desc(&self) -> &D {
        &self.desc
    }

    /// The machine code, constants behind it; empty on the portable tier.
    pub fn bytes(&self) -> &[u8] {
        match &self.code {
            Code::Portable => &[],
            #[cfg(target_arch = "x86_64")]
            Code::Machine(executable) => executable.bytes(),
            #[cfg(all(target_arch = "x86_64", feature = "interpreter"))]
            Code::Interpreted(interpreted) => interpreted.bytes(),
        }
    }

    /// Runs the kernel.
    ///
    /// # Safety
    /// What the description makes the kernel touch must be there for the whole call, as its arguments say. For the int8
    /// family, [`KernelArgs`](crate::KernelArgs):
    /// - `a` readable for the rows of all micro-tiles at every offset of every block, a whole step each;
    /// - `blocks`, `offsets` and `b` readable for what the headers count, of all panels, and sections of the headers
    ///   all in `desc.sections`; every bundle of a 16-bit sum proven not to saturate for the values in `a`; the second
    ///   offset of a shuffled step an index into [`crate::SHUFFLES`] times [`crate::SHUFFLE_BYTES`];
    /// - `c` writable (and readable for [`crate::Output::AddI32`]) for those rows and `desc.cols` columns of each
    ///   panel, not aliased by any other argument; scratch likewise;
    /// - `scratch` also for kernels of [`crate::Layout::Tiles`] that neither start nor end with partial sums:
    ///   [`KernelDesc::scratch_bytes`] once, which all micro-tiles of the call use;
    /// - for a [`crate::Sweep::Grid`], every panel's steps as they follow each other in A, the last one reaching back
    ///   to end with the row's K bytes, and `grid.width` not zero, but one for panels that are not full;
    /// - the residual readable for the elements of C that are written, exactly;
    /// - `scratch` and the per-row and per-column arrays that the description names readable (scratch writable) for all
    ///   those rows and for all columns of the panels, rounded up to whole vectors, and aligned for their types (C and
    ///   the residual need not be); multipliers and float biases such that no NaN meets a clamp;
    /// - `tiles` and `block_count` not zero.
    ///
    /// For the other families, as the fields of [`FloatKernelArgs`](crate::FloatKernelArgs) and
    /// [`GroupKernelArgs`](crate::GroupKernelArgs) say.
    #[inline]
    pub unsafe fn run(&self, args: &mut D::Args) {
        match &self.code {
            // SAFETY: the caller's promise is the same.
            Code::Portable => unsafe { self.desc.run_portable(args) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the executable holds code that the builder made for this description, `generate` checked the
            // CPU's features, and the caller promises the arguments.
            Code::Machine(executable) => unsafe { executable.call(args) },
            #[cfg(all(target_arch = "x86_64", feature = "interpreter"))]
            // SAFETY: the caller's promise is the same.
            Code::Interpreted(interpreted) => unsafe { interpreted.call(args) },
        }
    }
}

/// Makes machine code callable on this CPU.
#[cfg(target_arch = "x86_64")]
fn machine<D: Description>(desc: &D, code: MachineCode) -> Result<Code, CodegenError> {
    let executable = Executable::new(&code.bytes).map_err(CodegenError::memory)?;
    #[cfg(feature = "interpreter")]
    let executable = match Interpreted::load(desc.tier(), executable)? {
        Ok(interpreted) => return Ok(Code::Interpreted(interpreted)),
        Err(executable) => executable,
    };
    // What the tier promises is checked again from what was emitted.
    if let Some(feature) = code.features.missing() {
        return Err(TierError::Missing { tier: desc.tier(), feature }.into());
    }
    crate::kernel::profile::register(desc, executable.bytes())?;
    Ok(Code::Machine(executable))
}
