//! The groupwise family: i8 activations by weights of 4 or 2 bits, integer sums inside a group of k, f32 across groups.
//!
//! ```text
//! s[g]   = Σ_{k in g} a[k] * q[k]  +  correction[g]            i32; exact
//! sum    = fma(f32(s[g]), f32(scale[g]), sum)                  g ascending
//! ```
//!
//! [`desc`] says what a kernel is and how packed weights lie. `builder` is the body in the
//! [frame](crate::frame), `portable` does the same in plain Rust.

#[cfg(target_arch = "x86_64")]
mod builder;
pub(crate) mod desc;
mod family;
mod portable;
