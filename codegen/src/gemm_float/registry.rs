//! The micro-tiles of the float family. Planning, tests and benchmarks all read this table.

use super::desc::{FloatProducts, float_lanes};
use crate::tier::Tier;

/// A shape of micro-kernels: every number of rows from 1 to `max_rows` can be generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FloatTile {
    /// Vectors of accumulators per row.
    pub vectors: usize,
    /// Most rows that fit the registers.
    pub max_rows: usize,
}

/// Sixteen registers of 256 bits. Two ports and a latency of four cycles want eight chains at least.
const AVX2: [FloatTile; 3] = [
    FloatTile { vectors: 8, max_rows: 1 },
    FloatTile { vectors: 4, max_rows: 3 },
    FloatTile { vectors: 2, max_rows: 6 },
];

/// Thirty-two registers of 512 bits.
const AVX512: [FloatTile; 3] = [
    FloatTile { vectors: 8, max_rows: 3 },
    FloatTile { vectors: 4, max_rows: 6 },
    FloatTile { vectors: 2, max_rows: 14 },
];

/// The micro-tiles of a tier, the widest first.
///
/// # Examples
/// ```
/// use gemmill_codegen::{Tier, float_tiles};
/// assert_eq!(float_tiles(Tier::Avx2)[2].max_rows, 6);
/// ```
pub fn float_tiles(tier: Tier) -> &'static [FloatTile] {
    match float_lanes(tier) {
        8 => &AVX2,
        _ => &AVX512,
    }
}

/// Eight tiles of 16 × 64 bytes: 2 × 2 hold sums, two A and two B.
const TILES: [FloatTile; 1] = [FloatTile { vectors: 2, max_rows: 32 }];

/// The micro-tiles of a tier's kernels that sum products in this way. The portable tier carries out hardware dot products in
/// tiles of its own.
///
/// # Examples
/// ```
/// use gemmill_codegen::{FloatProducts, HardwareDot, Tier, float_tiles, float_tiles_of};
/// assert_eq!(float_tiles_of(Tier::Amx, FloatProducts::Chain), float_tiles(Tier::Amx));
/// assert_eq!(float_tiles_of(Tier::Amx, FloatProducts::Dot(HardwareDot::AmxBf16))[0].max_rows, 32);
/// ```
pub fn float_tiles_of(tier: Tier, products: FloatProducts) -> &'static [FloatTile] {
    if products.in_tiles(tier) { &TILES } else { float_tiles(tier) }
}

/// Most rows of a micro-tile of so many vectors; of fewer vectors than a tile has, those of the tile.
pub(crate) fn max_rows(tier: Tier, products: FloatProducts, vectors: usize) -> usize {
    let fitting = float_tiles_of(tier, products).iter().rev().find(|tile| vectors <= tile.vectors);
    fitting.map_or(0, |tile| tile.max_rows)
}
