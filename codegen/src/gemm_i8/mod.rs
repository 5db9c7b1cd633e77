//! The int8 family: products of u8 or i8 and i8, sums of i32, whole or dequantized or requantized.
//!
//! `builder` is its body in the [frame](crate::frame): `main_loop` multiplies, in vectors or by `tiles`, `epilogue` finishes;
//! [`portable`] does the same in plain Rust.

#[cfg(target_arch = "x86_64")]
mod builder;
#[cfg(target_arch = "x86_64")]
mod epilogue;
mod family;
#[cfg(target_arch = "x86_64")]
mod main_loop;
pub(crate) mod portable;
#[cfg(target_arch = "x86_64")]
mod tiles;
