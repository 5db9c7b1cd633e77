//! Operations: packed weights, an epilogue and options, checked once and run many times.
//!
//! [`operation`] is the one operation of all families, which knows no types of elements: it checks shapes, fits
//! parameters of rows, keeps prepared plans and hands the product to its body. A family ([`int8`], [`float`],
//! [`groupwise`]) says what its products depend on and make of their options, and has a thin typed door: [`Gemm`],
//! [`FloatGemm`], [`GroupwiseGemm`]. [`AnyGemm`] is the door of programs that know types when they run.

pub(crate) mod float;
pub(crate) mod groupwise;
pub(crate) mod int8;
mod operation;
mod options;

pub use float::{FloatGemm, FloatGemmBuilder};
pub use groupwise::{GroupwiseGemm, GroupwiseGemmBuilder};
pub use int8::{
    Activation, ActivationQuantization, Dequantize, Description, Gemm, GemmBuilder, IntOutput, LargeSums, OutputStage,
    Requantize, Sums, Untyped, multiply,
};
pub use operation::AnyGemm;
pub use options::RunOptions;
