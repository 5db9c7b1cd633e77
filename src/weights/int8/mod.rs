//! Packing of 8-bit weights into panels that kernels stream through.
//!
//! Start with [`step`]: it defines steps, planes and offsets, which weights and [activations](crate::operands::planes)
//! share. [`builder`] has the options, [`choice`] decides by them and by the weights that [`gather`] takes from where
//! the user has them; [`schedule`] proves which steps may be summed in 16 bits; [`layout`] lays weights out
//! accordingly; [`natural`] takes packed weights apart; [`sums`] bounds their sums; [`mod@file`] is the format of
//! files.

pub(crate) mod builder;
mod choice;
mod file;
mod gather;
pub(crate) mod layout;
mod natural;
pub(crate) mod packed;
pub(crate) mod schedule;
pub(crate) mod step;
mod sums;
#[cfg(test)]
mod tests;

pub use builder::{PackBuilder, PackEffort, Weight};
pub use file::Loader;
pub use packed::{PackedB, SequenceSummary};
