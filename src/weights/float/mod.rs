//! Weights of f32, f16 and bf16: [`packed`] for kernels, [`mod@file`] the format of files.

mod file;
pub(crate) mod packed;
