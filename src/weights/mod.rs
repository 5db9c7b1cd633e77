//! Packed weights of every format: what kernels read, made once from what the user has, and read back.
//!
//! [`int8`] has weights of 8 bits in panels with proven sums of 16 bits, and their files; [`float`](mod@float) those of
//! f32, f16 and bf16, and their files; [`groupwise`] those of 4 and 2 bits, whose files are of the weights before
//! packing ([`GroupwiseWeights`](crate::quant::GroupwiseWeights)).

pub(crate) mod float;
pub(crate) mod groupwise;
pub(crate) mod int8;

use gemmill_codegen::{FloatType, FloatWeights};

pub use float::packed::{FloatPackBuilder, PackedFloat};
pub use groupwise::PackedGroupwise;
pub use int8::{Loader, PackBuilder, PackEffort, PackedB, SequenceSummary, Weight};

use crate::error::{Error, Result};

/// The weights of a product of floats.
#[derive(Debug, Clone)]
pub(crate) enum Weights {
    /// Kernels read them as they are.
    Float(PackedFloat),
    /// They have few bits, and become f32 in registers.
    Groupwise(PackedGroupwise),
}

impl Weights {
    pub(crate) fn k(&self) -> usize {
        match self {
            Weights::Float(packed) => packed.k(),
            Weights::Groupwise(packed) => packed.k(),
        }
    }

    pub(crate) fn n(&self) -> usize {
        match self {
            Weights::Float(packed) => packed.n(),
            Weights::Groupwise(packed) => packed.n(),
        }
    }

    /// What kernels read.
    pub(crate) fn packed(&self) -> FloatWeights {
        match self {
            Weights::Float(packed) => packed.stored().into(),
            Weights::Groupwise(packed) => packed.float_weights(),
        }
    }

    /// Bytes from panel to panel.
    pub(crate) fn panel_bytes(&self) -> usize {
        match self {
            Weights::Float(packed) => packed.panel_bytes(),
            Weights::Groupwise(packed) => packed.panel_bytes(),
        }
    }

    /// The packed bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Weights::Float(packed) => packed.bytes(),
            Weights::Groupwise(packed) => packed.bytes(),
        }
    }

    /// Whether hardware dot products can multiply them.
    pub(crate) fn check_bf16(&self) -> Result<()> {
        let what = match self.packed() {
            FloatWeights::Numbers(FloatType::Bf16) => return Ok(()),
            FloatWeights::Groups(_) => {
                "hardware dot products expect weights packed as bf16, given groups of 4 or 2 bits"
            }
            FloatWeights::Numbers(FloatType::F32) => {
                "hardware dot products expect weights packed as bf16 (FloatPackBuilder::store), given f32"
            }
            FloatWeights::Numbers(FloatType::F16) => {
                "hardware dot products expect weights packed as bf16 (FloatPackBuilder::store), given f16"
            }
        };
        Err(Error::Unsupported { what })
    }
}
