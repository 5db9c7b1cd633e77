//! Products of 8-bit integers.
//!
//! [`Gemm`] is the typed door. [`output`] says what C can be, [`bound`] turns that into the arrays that kernels read,
//! [`family`] is what the operation asks.

mod activation;
mod bound;
mod builder;
mod description;
pub(crate) mod family;
mod gemm;
mod output;

pub use activation::{Activation, ActivationQuantization};
pub use builder::{GemmBuilder, Untyped};
pub use description::Description;
pub use gemm::{Gemm, multiply};
pub use output::{Dequantize, IntOutput, OutputStage, Requantize};
