//! What [`GroupKernelDesc`] stands for: kernels, generated or in plain Rust.

use std::sync::OnceLock;

use super::desc::{GroupKernelArgs, GroupKernelDesc, MAX_ROWS, group_rows};
use super::portable;
use crate::cache::KernelCache;
use crate::kernel::{CodegenError, Description, Family};
use crate::tier::Tier;
#[cfg(target_arch = "x86_64")]
use crate::x86::asm::MachineCode;

impl Description for GroupKernelDesc {
    type Args = GroupKernelArgs;
}

impl Family for GroupKernelDesc {
    fn tier(&self) -> Tier {
        self.tier
    }

    fn check(&self) -> Result<(), CodegenError> {
        if !matches!(self.layout.bits, 2 | 4) {
            return Err(CodegenError::Unsupported("weights have 2 or 4 bits"));
        }
        // The portable tier runs every tier's kernels: it is their oracle.
        let most = if self.tier == Tier::Portable { MAX_ROWS } else { group_rows(self.tier) };
        if !(1..=most).contains(&self.rows.into()) {
            return Err(CodegenError::Unsupported("the rows do not fit the registers"));
        }
        Ok(())
    }

    #[cfg(target_arch = "x86_64")]
    fn machine_code(&self) -> Result<MachineCode, CodegenError> {
        crate::frame::generate(*self)
    }

    unsafe fn run_portable(&self, args: &mut GroupKernelArgs) {
        // SAFETY: the caller's promise is the same.
        unsafe { portable::run(self, args) }
    }

    fn global_cache() -> &'static KernelCache<GroupKernelDesc> {
        static GLOBAL: OnceLock<KernelCache<GroupKernelDesc>> = OnceLock::new();
        GLOBAL.get_or_init(KernelCache::default)
    }
}
