//! Weights of f32, f16 and bf16: [`packed`] for kernels, [`tiles`] of these for hardware dot products, [`mod@file`] the
//! format of files.

mod file;
pub(crate) mod packed;
pub(crate) mod tiles;
