//! The micro-tiles of the float family. Planning, tests and benchmarks all read this table.

use super::desc::float_lanes;
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

/// Most rows of a micro-tile of so many vectors; of fewer vectors than a tile has, those of the tile.
pub(crate) fn max_rows(tier: Tier, vectors: usize) -> usize {
    let fitting = float_tiles(tier).iter().rev().find(|tile| vectors <= tile.vectors);
    fitting.map_or(0, |tile| tile.max_rows)
}
