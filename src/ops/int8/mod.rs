//! Products of 8-bit integers.
//!
//! [`Gemm`] is the typed door. [`output`] says what C can be, [`bound`] turns that into the arrays that kernels read,
//! [`family`] is what the operation asks; [`long`] adds up sums that may leave i32.

mod activation;
mod bound;
mod builder;
mod description;
pub(crate) mod family;
mod gemm;
mod long;
mod output;

pub use activation::{Activation, ActivationQuantization};
pub use builder::{GemmBuilder, Sums, Untyped};
pub use description::{Description, LargeSums};
pub use gemm::{Gemm, multiply};
pub use output::{Dequantize, IntOutput, OutputStage, Requantize};
