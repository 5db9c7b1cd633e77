//! Run-time machine code for [gemmill](https://docs.rs/gemmill): from a kernel descriptor to a callable kernel.
//!
//! This crate knows nothing of threads, packing or planning. A [`KernelDesc`] says what a kernel is; [`Kernel`] is one
//! that can run; [`KernelArgs`] is what it is called with; [`KernelCache`] keeps each of them once.
//!
//! ```text
//! KernelDesc ──────→ gemm_i8 ────┬─→ x86::lowering (tier) ─→ memory (W^X) ─→ Kernel::run(KernelArgs)
//! FloatKernelDesc ─→ gemm_float ─┤                                            Kernel::run(FloatKernelArgs)
//!                    (builders)  └─→ portable (plain Rust, same arguments)
//! ```
//!
//! Start reading at [`desc`](KernelDesc), then `gemm_i8/mod.rs`; the float and groupwise families have the same parts in `gemm_float/` and `gemm_groups/`. A new tier is a lowering in `x86/` and an entry in
//! [`Tier`] and in the registry ([`micro_tiles`]).

mod args;
mod cache;
mod desc;
mod element;
mod facts;
mod families;
mod features;
#[cfg(target_arch = "x86_64")]
mod frame;
mod gemm_float;
mod gemm_groups;
mod gemm_i8;
mod host;
#[cfg(all(target_arch = "x86_64", feature = "inspect"))]
pub mod inspect;
#[cfg(all(target_arch = "x86_64", feature = "interpreter"))]
pub mod interpret;
mod kernel;
#[cfg(target_arch = "x86_64")]
mod memory;
pub mod peak;
#[cfg(target_arch = "x86_64")]
mod profile;
mod quads;
mod registry;
mod tier;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use args::{BlockHeader, KernelArgs};
pub use cache::KernelCache;
pub use desc::{
    AZeroPoint, BZeroPoint, Byte, Clamp, Dequantize, Epilogue, Finish, KR, KernelDesc, Layout, Output, Prefetch,
    Requantize, SHUFFLE_BYTES, SHUFFLES, Section, Sections, Start, Sweep,
};
pub use element::FloatType;
pub use families::{NamedCode, generated};
pub use gemm_float::desc::{
    Expansion, FLOAT_PANEL, FLOAT_PREFETCH, FloatEpilogue, FloatFinish, FloatFunction, FloatKernelArgs,
    FloatKernelDesc, FloatPrefetch, FloatProducts, FloatRows, FloatStart, float_lanes,
};
pub use gemm_float::dot::HardwareDot;
pub use gemm_float::function::float_function;
pub use gemm_float::registry::{FloatTile, float_tiles, float_tiles_of};
pub use gemm_float::weights::{FloatWeights, GroupScales, WeightGroups};
pub use gemm_groups::desc::{
    GROUP_CHUNK, GROUP_PANEL, GroupKernelArgs, GroupKernelDesc, GroupLayout, GroupZeroPoints, group_rows,
};
pub use host::{Caches, Core, Machine, cpu_name, vectorize};
pub use kernel::{CodegenError, Description, Kernel};
pub use quads::{QUAD_COLUMNS, QuadRows, interleave_quads, stack_quads, subtract_quads};
pub use registry::{MAX_PREFETCH_ROWS, MicroTile, micro_tile, micro_tiles, multiplies_signed, sections};
pub use tier::{TIER_VARIABLE, Tier, TierError};
