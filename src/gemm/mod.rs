//! The operation: packed weights, an epilogue and options, checked once and run many times.
//!
//! Start with [`Gemm`]. [`output`] says what C can be, [`bound`] turns that into the arrays that kernels read.

mod bound;
mod operation;
mod output;

pub use operation::{
    Activation, ActivationQuantization, Description, Gemm, GemmBuilder, RunOptions, Threads, multiply,
};
pub use output::{Dequantize, IntOutput, OutputStage, Requantize};
