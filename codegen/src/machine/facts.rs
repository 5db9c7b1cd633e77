//! What each tier has, in one table. All that asks a tier what it can do derives from it.

use crate::families::float::registry::{self as float, FloatTile};
use crate::families::int8::registry::{self, MicroTile};
use crate::machine::tier::Tier;

/// What kernels of a tier may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// 32-bit lanes of the widest vectors.
    pub(crate) lanes: usize,
    /// Vector registers of that width.
    pub(crate) registers: usize,
    /// Whether there are 32-bit dot products of bytes; otherwise sums of 16 bits.
    pub(crate) dots: bool,
    /// Whether there are tiles, which multiply signed activations as well as unsigned ones.
    pub(crate) tiles: bool,
    /// Micro-tiles of the int8 family, the widest panels first.
    pub(crate) micro_tiles: &'static [MicroTile],
    /// Micro-tiles of the float family, the widest first.
    pub(crate) float_tiles: &'static [FloatTile],
}

/// Sixteen registers of 256 bits.
const AVX2: Facts = Facts {
    lanes: 8,
    registers: 16,
    dots: false,
    tiles: false,
    micro_tiles: &registry::AVX2,
    float_tiles: &float::AVX2,
};

/// Thirty-two registers of 512 bits.
const AVX512: Facts =
    Facts { lanes: 16, registers: 32, micro_tiles: &registry::AVX512, float_tiles: &float::AVX512, ..AVX2 };

impl Tier {
    /// What kernels of this tier may use. The portable tier runs what the AVX2 tier runs, so that the two check each
    /// other.
    pub(crate) const fn facts(self) -> Facts {
        match self {
            Tier::Portable | Tier::Avx2 => AVX2,
            Tier::Avx2Vnni => Facts { dots: true, micro_tiles: &registry::AVX2_VNNI, ..AVX2 },
            Tier::Avx512 => AVX512,
            Tier::Avx512Vnni => Facts { dots: true, micro_tiles: &registry::AVX512_VNNI, ..AVX512 },
            Tier::Amx => Facts { dots: true, tiles: true, micro_tiles: &registry::AMX, ..AVX512 },
        }
    }
}
