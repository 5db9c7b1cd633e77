//! The float family: f32, f16 and bf16 weights, f32 accumulation, one chain in ascending k for every element; or, where
//! that is asked for, the CPU's own dot products of bf16.
//!
//! [`desc`] says what a kernel is, [`registry`] which there are. `builder` is the body in the [frame](crate::frame):
//! `main_loop` multiplies, in vectors or by `tiles`, weights of few bits by `groups`; `epilogue` finishes. `portable`
//! does the same in plain Rust. [`function`] has the numbers that both make exponentials of, [`dot`] what hardware dot
//! products are.

#[cfg(target_arch = "x86_64")]
mod builder;
pub(crate) mod desc;
pub(crate) mod dot;
#[cfg(target_arch = "x86_64")]
mod epilogue;
mod family;
pub mod function;
#[cfg(target_arch = "x86_64")]
mod groups;
#[cfg(target_arch = "x86_64")]
mod main_loop;
mod portable;
pub(crate) mod registry;
#[cfg(target_arch = "x86_64")]
mod tiles;
pub(crate) mod weights;
