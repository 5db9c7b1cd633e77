//! The operation: packed weights, an epilogue and options, checked once and run many times.
//!
//! Start with [`Gemm`]. [`output`] says what C can be, [`bound`] turns that into the arrays that kernels read.

mod activation;
mod bound;
mod builder;
mod description;
#[cfg(test)]
mod dispatch;
mod operation;
mod options;
mod output;

pub use activation::{Activation, ActivationQuantization};
pub use builder::GemmBuilder;
pub use description::Description;
pub use operation::{Gemm, multiply};
pub use options::{RunOptions, Threads};
pub use output::{Dequantize, IntOutput, OutputStage, Requantize};
