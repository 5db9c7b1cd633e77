//! Products with weights of 4 or 2 bits that have a scale for every group of k.
//!
//! [`packed`] has weights as kernels read them. With integer activations, [`operation`] multiplies them in groups; with
//! floating-point ones [`FloatGemm::groupwise`](crate::FloatGemm::groupwise) expands them to f32 block by block. Start with
//! [`operation`]; the loops are in `run/groupwise.rs`.

mod operation;
mod packed;

pub use operation::{GroupwiseGemm, GroupwiseGemmBuilder, GroupwiseRunOptions};
pub use packed::PackedGroupwise;
