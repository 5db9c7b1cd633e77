//! Exact int8 matrix products on x86 CPUs, with machine code generated at run time.
mod error;
mod gemm;
mod matrix;
mod pack;
mod parameters;
mod plan;
pub mod quant;
pub mod reference;
mod run;

pub use error::{Error, Result};
pub use gemm::{
    Activation, ActivationQuantization, Dequantize, Description, Gemm, GemmBuilder, IntOutput, OutputStage, Requantize,
    RunOptions, Threads, multiply,
};
pub use gemmill_codegen::Tier;
pub use matrix::{Element, MatMut, MatRef};
pub use pack::{PackBuilder, PackEffort, PackedB, SequenceSummary, Weight};
pub use parameters::PerColumn;
pub use quant::{Choose, QuantParams};
