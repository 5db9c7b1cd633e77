//! A stand-in for CPUs that are not at hand: kernels of chosen tiers are carried out by an interpreter of machine code.
//!
//! For tests only, behind the feature `interpreter`. What is generated, packed and planned is what the real CPU would
//! get; only the call into machine code is replaced.

use std::ffi::c_void;
use std::fmt;
use std::sync::OnceLock;

use crate::CodegenError;
use crate::machine::executable::Executable;
use crate::machine::tier::Tier;

/// Carries out one kernel: a function of the pointer that the kernel is called with.
pub type Program = Box<dyn Fn(*mut c_void) + Send + Sync>;

/// Makes a [`Program`] of a kernel's code, which stays where it is as long as the program is used; or says what is
/// wrong with it.
pub type Loader = fn(&[u8]) -> Result<Program, String>;

struct Interpreter {
    tiers: Vec<Tier>,
    load: Loader,
}

static INTERPRETER: OnceLock<Interpreter> = OnceLock::new();

/// Has `load` carry out the kernels of `tiers` from now on, in this process. These count as tiers that the CPU has.
///
/// The first call decides; later ones change nothing and return whether they asked for the same tiers.
///
/// # Safety
/// A program that `load` makes must do to memory what the code would do on a CPU.
pub unsafe fn install(tiers: &[Tier], load: Loader) -> bool {
    INTERPRETER.get_or_init(|| Interpreter { tiers: tiers.to_vec(), load }).tiers == tiers
}

/// Whether kernels of this tier are interpreted.
pub(crate) fn covers(tier: Tier) -> bool {
    INTERPRETER.get().is_some_and(|i| i.tiers.contains(&tier))
}

/// A kernel that is interpreted.
pub(crate) struct Interpreted {
    code: Executable,
    program: Program,
}

impl Interpreted {
    /// The kernel of this code, if its tier is interpreted; otherwise the code, for the CPU.
    pub(crate) fn load(tier: Tier, code: Executable) -> Result<Result<Interpreted, Executable>, CodegenError> {
        match INTERPRETER.get() {
            Some(interpreter) if covers(tier) => {
                let program = (interpreter.load)(code.bytes()).map_err(CodegenError::Assemble)?;
                Ok(Ok(Interpreted { code, program }))
            }
            _ => Ok(Err(code)),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.code.bytes()
    }

    /// Runs the kernel.
    ///
    /// # Safety
    /// As [`crate::Kernel::run`].
    pub(crate) unsafe fn call<A>(&self, args: *mut A) {
        // A program does with the arguments what the code would do, as `install`'s caller promised: so the caller's
        // promise is all that it needs.
        (self.program)(args.cast());
    }
}

impl fmt::Debug for Interpreted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interpreted").field("code", &self.code).finish_non_exhaustive()
    }
}
