//! What [`GroupKernelDesc`] stands for: kernels, generated or in plain Rust.

use super::desc::{GroupKernelArgs, GroupKernelDesc, MAX_ROWS, group_rows};
use super::portable;
use crate::kernel::{CodegenError, Description, ensure};
use crate::machine::tier::Tier;

impl Description for GroupKernelDesc {
    type Args = GroupKernelArgs;

    fn tier(&self) -> Tier {
        self.tier
    }

    fn check(&self) -> Result<(), CodegenError> {
        ensure(matches!(self.layout.bits, 2 | 4), "weights have 2 or 4 bits")?;
        let most = if self.tier == Tier::Portable { MAX_ROWS } else { group_rows(self.tier) };
        ensure((1..=most).contains(&self.rows.into()), "the rows do not fit the registers")
    }

    unsafe fn run_portable(&self, args: &mut GroupKernelArgs) {
        // SAFETY: the caller's promise is the same.
        unsafe { portable::run(self, args) }
    }

    #[cfg(all(target_arch = "x86_64", any(test, feature = "inspect")))]
    fn samples(tier: Tier) -> Vec<GroupKernelDesc> {
        use super::desc::{GroupLayout, GroupZeroPoints};
        let zero_points = [GroupZeroPoints::Middle, GroupZeroPoints::PerColumn].into_iter();
        let layouts = zero_points.flat_map(|zero_points| [2, 4].map(|bits| GroupLayout { bits, zero_points }));
        let sizes = layouts.flat_map(|layout| (1..=group_rows(tier)).map(move |rows| (layout, rows as u8)));
        let prefetch = crate::families::int8::desc::Prefetch::ToFirstLevel;
        sizes.map(|(layout, rows)| GroupKernelDesc { tier, layout, rows, prefetch }).collect()
    }
}
