//! Products with weights of 4 or 2 bits that have a scale for every group of k.
//!
//! [`packed`] has weights as kernels read them. With integer activations, [`operation`] multiplies them in groups; with
//! floating-point ones [`FloatGemm::groupwise`](crate::FloatGemm::groupwise) makes f32 of them in registers. Start with
//! [`operation`]; the loops are in `run/groupwise.rs` and, with floating-point activations, `run/float.rs`.

mod operation;
mod packed;

pub use operation::{GroupwiseGemm, GroupwiseGemmBuilder, GroupwiseRunOptions};
pub use packed::PackedGroupwise;
