//! The float family: f32, f16 and bf16 weights, f32 accumulation, one chain in ascending k for every element.
//!
//! [`desc`] says what a kernel is, [`registry`] which there are. Start with `builder::generate`: it reads like the kernel's
//! loops. `main_loop` multiplies, `epilogue` finishes, [`portable`] does both in plain Rust; [`function`] has the numbers
//! that both make exponentials of.

#[cfg(target_arch = "x86_64")]
mod builder;
pub(crate) mod desc;
#[cfg(target_arch = "x86_64")]
mod epilogue;
mod family;
pub mod function;
#[cfg(target_arch = "x86_64")]
mod main_loop;
mod portable;
pub(crate) mod registry;
