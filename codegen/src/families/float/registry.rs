//! The micro-tiles of the float family. Planning, tests and benchmarks all read this table.

use super::desc::{FloatFinish, FloatFunction, FloatKernelDesc, FloatProducts};
use super::weights::FloatWeights;
use crate::machine::tier::Tier;

/// A shape of micro-kernels: every number of rows from 1 to `max_rows` can be generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FloatTile {
    /// Vectors of accumulators per row.
    pub vectors: usize,
    /// Most rows beside which all weights of a step, or all its elements of A, fit the registers.
    pub rows: usize,
    /// Most rows that fit the registers at all. Above `rows`, each element of A is loaded once for every vector, and
    /// two registers are left for the epilogue.
    pub max_rows: usize,
}

impl FloatTile {
    /// Most rows where the epilogue has this function, with these weights.
    ///
    /// # Examples
    /// ```
    /// use gemmill_codegen::{FloatFunction, FloatType, Tier, float_tiles};
    /// let (narrow, weights) = (float_tiles(Tier::Avx2)[2], FloatType::F16.into());
    /// assert_eq!(narrow.max_rows_with(FloatFunction::Clamp, weights), 7);
    /// assert_eq!(narrow.max_rows_with(FloatFunction::Gelu, weights), 6);
    /// ```
    pub fn max_rows_with(&self, function: FloatFunction, weights: FloatWeights) -> usize {
        // Expanding weights of few bits takes four registers, which `rows` leave.
        let several = function.registers() > LEAST_FREE || weights.groups().is_some();
        if several { self.rows } else { self.max_rows }
    }
}

/// Registers that every micro-tile leaves free.
const LEAST_FREE: usize = 2;

/// Sixteen registers of 256 bits. Two ports and a latency of four cycles want eight chains at least.
pub(crate) const AVX2: [FloatTile; 3] = [
    FloatTile { vectors: 8, rows: 1, max_rows: 1 },
    FloatTile { vectors: 4, rows: 3, max_rows: 3 },
    FloatTile { vectors: 2, rows: 6, max_rows: 7 },
];

/// Thirty-two registers of 512 bits.
pub(crate) const AVX512: [FloatTile; 3] = [
    FloatTile { vectors: 8, rows: 3, max_rows: 3 },
    FloatTile { vectors: 4, rows: 6, max_rows: 6 },
    FloatTile { vectors: 2, rows: 14, max_rows: 15 },
];

/// The micro-tiles of a tier, the widest first.
///
/// # Examples
/// ```
/// use gemmill_codegen::{Tier, float_tiles};
/// assert_eq!(float_tiles(Tier::Avx2)[2].rows, 6);
/// ```
pub fn float_tiles(tier: Tier) -> &'static [FloatTile] {
    tier.facts().float_tiles
}

/// Eight tiles of 16 × 64 bytes: 2 × 2 hold sums, two A and two B.
const TILES: [FloatTile; 1] = [FloatTile { vectors: 2, rows: 32, max_rows: 32 }];

/// The registers of AVX-512 as hardware dot products have them, which pair weights in the registers that are left.
const DOTS: [FloatTile; 3] = [
    FloatTile { vectors: 8, rows: 3, max_rows: 3 },
    FloatTile { vectors: 4, rows: 6, max_rows: 6 },
    FloatTile { vectors: 2, rows: 14, max_rows: 14 },
];

/// The micro-tiles of a tier's kernels that sum products in this way. The portable tier carries out hardware dot
/// products in tiles of its own.
///
/// # Examples
/// ```
/// use gemmill_codegen::{FloatProducts, HardwareDot, Tier, float_tiles, float_tiles_of};
/// assert_eq!(float_tiles_of(Tier::Amx, FloatProducts::Chain), float_tiles(Tier::Amx));
/// assert_eq!(float_tiles_of(Tier::Amx, FloatProducts::Dot(HardwareDot::AmxBf16))[0].max_rows, 32);
/// ```
pub fn float_tiles_of(tier: Tier, products: FloatProducts) -> &'static [FloatTile] {
    match products {
        _ if products.in_tiles(tier) => &TILES,
        FloatProducts::Dot(_) if tier.facts().lanes > 8 => &DOTS,
        _ => float_tiles(tier),
    }
}

/// Most rows of a description's micro-tile; of fewer vectors than a tile has, those of the tile.
pub(crate) fn max_rows(desc: &FloatKernelDesc) -> usize {
    let function = match desc.finish {
        FloatFinish::Epilogue(epilogue) => epilogue.function,
        FloatFinish::Scratch => FloatFunction::Identity,
    };
    let vectors = usize::from(desc.vectors);
    let fitting = float_tiles_of(desc.tier, desc.products).iter().rev().find(|tile| vectors <= tile.vectors);
    fitting.map_or(0, |tile| tile.max_rows_with(function, desc.weights))
}
