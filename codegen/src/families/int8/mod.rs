//! The int8 family: products of u8 or i8 and i8, sums of i32, whole or dequantized or requantized.
//!
//! [`desc`] says what a kernel is, [`registry`] which there are, [`args`] what they are called with. `builder` is the
//! body in the [frame](crate::frame): `main_loop` multiplies, in vectors or by `tiles`, `epilogue` finishes;
//! [`portable`] does the same in plain Rust.

pub(crate) mod args;
#[cfg(target_arch = "x86_64")]
mod builder;
pub(crate) mod desc;
#[cfg(target_arch = "x86_64")]
mod epilogue;
mod family;
#[cfg(target_arch = "x86_64")]
mod main_loop;
mod portable;
pub(crate) mod registry;
#[cfg(target_arch = "x86_64")]
mod tiles;
