//! The machine in place of a CPU: gemmill's kernels of chosen tiers are carried out by it.

use gemmill_codegen::Tier;
use gemmill_codegen::interpret::{self, Program as Stand};

use crate::decode::Program;

/// The environment variable that names the tiers to interpret, separated by commas.
pub const VARIABLE: &str = "GEMMILL_INTERPRET";

/// Has the machine carry out the kernels of `tiers` in this process, whether or not the CPU has them. A [`crate::Fault`]
/// is a panic.
///
/// # Panics
/// If other tiers were installed before.
pub fn stand_in_for(tiers: &[Tier]) {
    // SAFETY: the machine does to memory what a CPU does.
    let agreed = unsafe { interpret::install(tiers, load) };
    assert!(agreed, "other tiers are interpreted already, not {tiers:?}");
}

/// The tiers that [`VARIABLE`] names, for which the machine stands in from now on.
///
/// # Panics
/// If it names something else.
pub fn stand_in_as_asked() -> Vec<Tier> {
    let text = std::env::var(VARIABLE).unwrap_or_default();
    let names = text.split(',').filter(|name| !name.is_empty());
    let tiers: Vec<Tier> = names.map(|name| name.parse().unwrap_or_else(|e| panic!("{VARIABLE}: {e}"))).collect();
    stand_in_for(&tiers);
    tiers
}

fn load(code: &[u8]) -> Result<Stand, String> {
    let program = Program::decode(code).map_err(|fault| fault.to_string())?;
    Ok(Box::new(move |args| {
        // SAFETY: whoever runs the kernel promises that its arguments are there; the code stays in its place as long as
        // the kernel that owns both.
        if let Err(fault) = unsafe { program.run(args) } {
            panic!("{fault}");
        }
    }))
}
