//! From `f32` to 8-bit integers and back: parameters, activations, weights.
//!
//! A real number `x` stands as the integer `q` with `x ≈ scale * (q - zero_point)`. Activations usually take one
//! [`QuantParams`] per tensor, chosen from the range that was seen ([`QuantParams::from_min_max`]); weights take a
//! scale per column and zero point 0 ([`symmetric_per_column`]), or, with 4 or 2 bits, a scale for every few elements
//! of a column ([`GroupwiseWeights`]).
//!
//! # Examples
//! ```
//! use gemmill::quant::{Choose, QuantParams, min_max};
//! let activations = [-1.0f32, 0.0, 0.25, 3.0];
//! let (min, max) = min_max(&activations).unwrap();
//! let params = QuantParams::<u8>::from_min_max(min, max, Choose::default())?;
//! let mut q = [0u8; 4];
//! params.quantize(&activations, &mut q)?;
//! assert_eq!(q, [0, 64, 80, 255]);
//! # Ok::<(), gemmill::Error>(())
//! ```

mod choose;
mod element;
mod groupwise;
mod params;
pub(crate) mod per_column;
pub mod reference;
mod rows;
mod weights;

#[cfg(test)]
mod tests;

pub use choose::Choose;
pub use element::QuantElement;
pub use groupwise::{Bits, GroupSize, GroupwiseError, GroupwiseFormat, GroupwiseParts, GroupwiseWeights, ZeroPoints};
pub use params::QuantParams;
pub use rows::min_max;
pub use weights::{symmetric_per_column, symmetric_per_tensor};

pub(crate) use params::{check_scale, dynamic_row_params, symmetric_row_params};
pub(crate) use rows::{min_max_row, quantize_row_into};
