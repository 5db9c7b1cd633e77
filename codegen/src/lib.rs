//! Run-time machine code for [gemmill](https://docs.rs/gemmill): from a kernel descriptor to a callable kernel.
//!
//! This crate knows nothing of threads, packing or planning. A description says what a kernel is; [`Kernel`] is one
//! that can run; its arguments are what it is called with; [`KernelCache`] keeps each kernel once.
//!
//! ```text
//! KernelDesc ──────→ families::int8 ───┐
//! FloatKernelDesc ─→ families::float ──┼─→ frame ─→ x86::lowering (tier) ─→ machine::executable ─→ Kernel::run(args)
//! GroupKernelDesc ─→ families::groups ─┘
//!                         └─→ portable (plain Rust, the same arguments)
//! ```
//!
//! | folder | holds |
//! |---|---|
//! | `families` | the families of kernels and their list: start at `families/int8/desc.rs`, then `builder.rs` |
//! | `frame` | what all generated kernels share: prologue, micro-tile loop, registers by role, tiles |
//! | `kernel` | a kernel in memory, the cache, names for profilers |
//! | `machine` | CPU features, tiers and what they have, cores and caches |
//! | `x86` | the assembler and the lowering of each tier |
//! | `peak` | loops that measure what a CPU can do |
//!
//! A new tier is a lowering in `x86`, an entry in [`Tier`] and a row of `machine/facts.rs`; a new family is a folder
//! and a line in `families/mod.rs`. What was measured of cores stands in `tuning.rs`.

mod families;
#[cfg(target_arch = "x86_64")]
mod frame;
#[cfg(all(target_arch = "x86_64", feature = "inspect"))]
pub mod inspect;
mod kernel;
mod machine;
pub mod peak;
mod tuning;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use families::element::FloatType;
pub use families::float::desc::{
    Expansion, FLOAT_PANEL, FloatEpilogue, FloatFinish, FloatFunction, FloatKernelArgs, FloatKernelDesc, FloatPrefetch,
    FloatProducts, FloatRows, FloatStart, float_lanes,
};
pub use families::float::dot::HardwareDot;
pub use families::float::function::float_function;
pub use families::float::registry::{FloatTile, float_tiles, float_tiles_of};
pub use families::float::weights::{FloatWeights, GroupScales, WeightGroups};
pub use families::groups::desc::{
    GROUP_CHUNK, GROUP_PANEL, GroupKernelArgs, GroupKernelDesc, GroupLayout, GroupZeroPoints, group_rows,
};
pub use families::int8::args::{BlockHeader, KernelArgs};
pub use families::int8::desc::{
    AZeroPoint, BZeroPoint, Byte, Clamp, Dequantize, Epilogue, Finish, KR, KernelDesc, Layout, Output, Prefetch,
    Requantize, SHUFFLE_BYTES, SHUFFLES, Section, Sections, Start,
};
pub use families::int8::registry::{
    MAX_PREFETCH_ROWS, MicroTile, micro_tile, micro_tiles, multiplies_signed, sections,
};
pub use families::sweep::{Ahead, MAX_GRID_K, MAX_ROWS_OF_TWO, Panels, Sweep};
pub use families::{NamedCode, generated, set_kernel_limit};
pub use kernel::cache::KernelCache;
pub use kernel::grid::GridArgs;
#[cfg(all(target_arch = "x86_64", feature = "interpreter"))]
pub use kernel::interpret;
pub use kernel::{CodegenError, Description, Kernel};
pub use machine::float_mode::in_default_float_mode;
pub use machine::host::{Caches, Core, Machine, cpu_name, vectorize};
pub use machine::quads::{QUAD_COLUMNS, QuadRows, interleave_quads, stack_quads, subtract_quads};
pub use machine::tier::{TIER_VARIABLE, Tier, TierError};
pub use tuning::FLOAT_PREFETCH;
