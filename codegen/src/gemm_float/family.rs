//! What [`FloatKernelDesc`] stands for: kernels, generated or in plain Rust.

use std::sync::OnceLock;

use super::desc::{Expansion, FLOAT_PANEL, FloatKernelArgs, FloatKernelDesc, FloatPrefetch};
use super::portable;
use super::registry::max_rows;
use crate::cache::KernelCache;
use crate::kernel::{CodegenError, Description, Family};
use crate::tier::Tier;
#[cfg(target_arch = "x86_64")]
use crate::x86::asm::MachineCode;

impl Description for FloatKernelDesc {
    type Args = FloatKernelArgs;
}

impl Family for FloatKernelDesc {
    fn tier(&self) -> Tier {
        self.tier
    }

    fn check(&self) -> Result<(), CodegenError> {
        let (rows, vectors) = (usize::from(self.rows), usize::from(self.vectors));
        if vectors == 0 || !vectors.is_multiple_of(2) {
            return Err(CodegenError::Unsupported("micro-tiles have an even number of vectors a row"));
        }
        // The portable tier runs every tier's kernels: it is their oracle.
        let fits = match self.tier {
            Tier::Portable => rows * self.strip_cols() <= portable::MAX_ACCUMULATORS,
            _ => rows <= max_rows(self),
        };
        if rows == 0 || !fits {
            return Err(CodegenError::Unsupported("the micro-tile does not fit the registers"));
        }
        if !(1..=self.strip_cols()).contains(&self.cols.into()) {
            return Err(CodegenError::Unsupported("the columns do not fit the micro-tile"));
        }
        if self.prefetch == FloatPrefetch::Next && self.strip_cols() > FLOAT_PANEL {
            return Err(CodegenError::Unsupported("strips of several panels do not prefetch the next one"));
        }
        if self.expansion == Expansion::Kept && vectors != 2 && self.tier != Tier::Portable {
            return Err(CodegenError::Unsupported("strips of two vectors are kept, no others"));
        }
        Ok(())
    }

    #[cfg(target_arch = "x86_64")]
    fn machine_code(&self) -> Result<MachineCode, CodegenError> {
        super::builder::generate(*self)
    }

    unsafe fn run_portable(&self, args: &mut FloatKernelArgs) {
        // SAFETY: the caller's promise is the same.
        unsafe { portable::run(self, args) }
    }

    fn global_cache() -> &'static KernelCache<FloatKernelDesc> {
        static GLOBAL: OnceLock<KernelCache<FloatKernelDesc>> = OnceLock::new();
        GLOBAL.get_or_init(KernelCache::default)
    }
}
