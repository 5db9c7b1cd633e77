//! Packing: weights into panels that kernels stream through, activations into planes that broadcasts read from.
//!
//! Start with [`step`]: it defines steps, planes and offsets, which both sides share. [`builder`] has the options, [`choice`]
//! decides by them and by the weights that [`gather`] takes from where the user has them; [`schedule`] proves which steps may be
//! summed in 16 bits; [`layout`] lays weights out accordingly; [`activations`] writes the planes; [`bytes`] is the format of files.

pub(crate) mod activations;
pub(crate) mod builder;
pub(crate) mod bytes;
mod choice;
mod gather;
pub(crate) mod layout;
mod natural;
pub(crate) mod packed;
pub(crate) mod schedule;
pub(crate) mod step;
#[cfg(test)]
mod tests;

pub use builder::{PackBuilder, PackEffort, Weight};
pub use bytes::Loader;
pub use packed::{PackedB, SequenceSummary};
