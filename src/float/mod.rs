//! Floating-point products: f32, f16 or bf16 weights, accumulation in f32, the same bits whatever the tier, the tile, the
//! number of threads and the number of rows.
//!
//! [`packed`] has weights, [`mod@bytes`] their format in files, [`plan`] the choice of tiles and blocks, [`operation`] the product, [`functions`] what may become
//! of its sums. Start with [`operation`]; the loops are in `run/float.rs`.

mod bytes;
mod element;
mod functions;
mod operation;
mod packed;
pub(crate) mod plan;
pub mod reference;
#[cfg(test)]
mod tests;

pub use element::Float;
pub use functions::Function;
pub use operation::{FloatGemm, FloatGemmBuilder, FloatRunOptions};
pub use packed::{FloatPackBuilder, PackedFloat};

pub(crate) use element::{InPlace, Source};
pub(crate) use packed::Weights;
