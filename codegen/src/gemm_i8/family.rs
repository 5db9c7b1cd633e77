//! What [`KernelDesc`] stands for: the int8 family's kernels, generated or in plain Rust.

use std::sync::OnceLock;

use super::portable;
use crate::args::KernelArgs;
use crate::cache::KernelCache;
use crate::desc::{Finish, KernelDesc, Layout, Start, Sweep};
use crate::kernel::{CodegenError, Description, Family};
use crate::registry::{micro_tile, multiplies, sections};
use crate::tier::Tier;
#[cfg(target_arch = "x86_64")]
use crate::x86::asm::MachineCode;

impl Description for KernelDesc {
    type Args = KernelArgs;
}

impl KernelDesc {
    /// What a row of micro-tiles asks for.
    fn check_row(&self) -> Result<(), CodegenError> {
        if self.layout.lanes_per_column() != 1 || self.layout == Layout::Tiles {
            return Err(CodegenError::Unsupported("panels of a row have a vector's lane for each column"));
        }
        if usize::from(self.cols) != self.panel_cols() {
            return Err(CodegenError::Unsupported("panels of a row have full width"));
        }
        if self.start != Start::Zero || self.finish == Finish::Scratch {
            return Err(CodegenError::Unsupported("micro-tiles of a row go from zero to the epilogue"));
        }
        Ok(())
    }
}

impl Family for KernelDesc {
    fn tier(&self) -> Tier {
        self.tier
    }

    /// The portable tier runs every tier's kernels: it is their oracle.
    fn check(&self) -> Result<(), CodegenError> {
        let of_tier = |tier| {
            let tile = micro_tile(tier, self.layout, self.vectors.into());
            let fits = tile.is_some_and(|tile| (1..=tile.max_rows).contains(&self.rows.into()));
            fits && multiplies(tier, self.layout, self.activations)
        };
        let fits = if self.tier == Tier::Portable { Tier::ALL.into_iter().any(of_tier) } else { of_tier(self.tier) };
        if !fits {
            return Err(CodegenError::Unsupported("the tier has no such micro-tile for these activations"));
        }
        if !(1..=self.panel_cols()).contains(&self.cols.into()) {
            return Err(CodegenError::Unsupported("the columns do not fit the micro-tile"));
        }
        if self.sweep == Sweep::Row {
            self.check_row()?;
        }
        if self.tier != Tier::Portable && !self.sections.iter().all(|s| sections(self.tier).contains(s)) {
            return Err(CodegenError::Unsupported("the tier has no such main loop"));
        }
        Ok(())
    }

    #[cfg(target_arch = "x86_64")]
    fn machine_code(&self) -> Result<MachineCode, CodegenError> {
        crate::frame::generate(*self)
    }

    unsafe fn run_portable(&self, args: &mut KernelArgs) {
        // SAFETY: the caller's promise is the same.
        unsafe { portable::run(self, args) }
    }

    fn global_cache() -> &'static KernelCache {
        static GLOBAL: OnceLock<KernelCache> = OnceLock::new();
        GLOBAL.get_or_init(KernelCache::default)
    }
}
