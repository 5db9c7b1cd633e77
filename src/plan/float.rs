//! The plan of a floating-point product: micro-tiles, cache blocks and the split among threads. A pure function.
//!
//! Few rows get one micro-tile that is as wide as registers allow: weights then stream past once, from several panels
//! at a time. More rows are cut into tiles of about MR rows and two vectors. The first of a block expands a part of a
//! strip to f32, which the others read from the first-level cache; or each goes along all strips, where these are
//! small.

use gemmill_codegen::{
    FLOAT_PANEL, FloatFunction, FloatProducts, FloatRows, FloatTile, FloatType, FloatWeights, Sweep, Tier, float_lanes,
    float_tiles_of,
};

use super::{Loops, Prefer, Resources, RowTiles, parts};
use crate::machine::tuning;

/// All that a plan depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FloatProblem {
    pub(crate) tier: Tier,
    pub(crate) products: FloatProducts,
    pub(crate) resources: Resources,
    pub(crate) rows: usize,
    pub(crate) k: usize,
    pub(crate) cols: usize,
    pub(crate) weights: FloatWeights,
    /// Whether A can be read where it lies.
    pub(crate) in_place: bool,
    /// The function of the epilogue.
    pub(crate) function: FloatFunction,
}

/// How a product is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FloatPlan {
    pub(crate) loops: Loops,
    /// Vectors of a strip: NR = `vectors * lanes`.
    pub(crate) vectors: usize,
    /// Vectors of the last strip.
    pub(crate) last_vectors: usize,
    /// Columns of a strip.
    pub(crate) strip: usize,
    /// Number of strips.
    pub(crate) strips: usize,
    /// Those of full width: all, or all but the last.
    pub(crate) whole_strips: usize,
    /// Which micro-tiles a kernel call goes through: of strips of full width.
    pub(crate) sweep: Sweep,
    /// KC: how much of K a kernel call goes through.
    pub(crate) kc: usize,
    /// Whether A is packed into micro-panels.
    pub(crate) packs_a: bool,
    /// Whether the first micro-tile of a block keeps weights for the others, or, in tiles, for itself.
    pub(crate) keeps: bool,
    /// Whether weights come from beyond the second-level cache, for one micro-tile, and are prefetched.
    pub(crate) prefetch: bool,
    /// Whether sums are in tile registers, and pass through scratch memory.
    pub(crate) in_tiles: bool,
    /// Micro-tiles of a pass through a panel that prefetch the weights that come next.
    pub(crate) prefetching_tiles: usize,
}

/// Longer blocks leave the first-level cache too little for A. MEASURED on Emerald Rapids: 256 is never worse than 384
/// or 512, and 128 is where partial sums begin to show.
const LARGEST_KC: usize = 256;
/// k are blocked in multiples of this, and of a group of hardware dot products.
const KC_UNIT: usize = 8;

impl FloatPlan {
    pub(crate) fn new(p: &FloatProblem) -> FloatPlan {
        let lanes = float_lanes(p.tier);
        let tiles_of_tier = float_tiles_of(p.tier, p.products);
        let max_rows = |tile: &FloatTile| tile.max_rows_with(p.function, p.weights);
        // Accumulators of a tile of one row leave constants of groups no registers. MEASURED on Emerald Rapids, `avx2`:
        // 1 × 4 vectors instead of 1 × 8 are 12 % faster.
        let has_room = |tile: &&FloatTile| p.weights.groups().is_none() || tile.rows > 1;
        let mut tiles_for_weights = tiles_of_tier.iter().filter(has_room);
        let fitting = tiles_for_weights.find(|tile| p.rows <= max_rows(tile)).or(tiles_of_tier.last());
        let (widest, rows, max_rows) = fitting.map_or((2, 1, 1), |tile| (tile.vectors, tile.rows, max_rows(tile)));
        let vectors = widest.min(even_vectors(p.cols, lanes));
        // One tile less is worth higher ones where there are few.
        let mr = if p.rows.div_ceil(max_rows) <= 2 { max_rows } else { rows };
        let tiles = RowTiles::cut(p.rows, p.rows.div_ceil(mr));
        let strip = vectors * lanes;
        let (strips, whole_strips) = (p.cols.div_ceil(strip), p.cols / strip);
        let last_vectors = even_vectors(p.cols - strips.saturating_sub(1) * strip, lanes);

        let many_tiles = tiles.count() > 1;
        let in_tiles = p.products.in_tiles(p.tier);
        let caches = p.resources.machine.caches;
        let slots = p.products.slots(p.k.max(1));
        let most = (caches.l1 * 2 / 3 / (strip * size_of::<f32>())).min(LARGEST_KC) * p.products.depth_of_slot();
        let b_bytes = p.weights.bytes_of(p.k.saturating_mul(p.cols));
        let in_rows = many_tiles && whole_strips > 1 && rows_pay(p, tiles.count(), b_bytes);
        let keeps = (many_tiles && !in_rows && p.weights != FloatType::F32.into()) || in_tiles;
        let in_blocks = (many_tiles && !in_rows) || keeps;
        let kc =
            if in_blocks { even_blocks(p.k, most, KC_UNIT.max(p.products.group()).max(p.weights.unit())) } else { p.k };
        let tile_bytes = tiles.height.max(1).saturating_mul(slots).saturating_mul(size_of::<f32>());
        let tiles_per_block = (caches.l2 / 4 / tile_bytes).max(LEAST_TILES_PER_BLOCK);
        let halves = [FloatType::F16.into(), FloatType::Bf16.into()].contains(&p.weights);
        let follows_by_itself = p.rows == 1 && halves && p.products == FloatProducts::Chain && {
            tuning::one_row_of_halves_streams_by_itself(p.resources.machine.core)
        };
        let prefetch = !in_blocks && !follows_by_itself && b_bytes > caches.l2 / 2;
        // A tile prefetches a line for every two k.
        let tiles_of_panel = p.weights.bytes_of(2 * FLOAT_PANEL).div_ceil(64);
        let prefer = if !p.in_place || p.rows >= p.cols { Prefer::Rows } else { Prefer::Columns };
        let threads = p.resources.worth(p.rows, p.cols, p.k);
        let (row_parts, column_parts) = parts(threads, tiles.count(), strips, prefer);
        FloatPlan {
            loops: Loops { tiles, tiles_per_block, row_parts, column_parts },
            vectors,
            last_vectors,
            strip,
            strips,
            whole_strips,
            // Calls for all of K.
            sweep: if in_blocks || whole_strips < 2 { Sweep::Column } else { Sweep::Row },
            kc: kc.max(1),
            packs_a: !p.in_place,
            keeps,
            prefetch,
            in_tiles,
            prefetching_tiles: if in_blocks && many_tiles && !in_tiles && b_bytes > caches.l2 / 4 {
                tiles_of_panel
            } else {
                0
            },
        }
    }

    /// How kernels find rows of A.
    pub(crate) fn rows_of_a(&self, products: FloatProducts) -> FloatRows {
        match products {
            FloatProducts::Chain if self.packs_a => FloatRows::Interleaved,
            _ => FloatRows::Strided,
        }
    }

    /// Strips that a panel is cut into.
    pub(crate) fn strips_of_panel(&self) -> usize {
        (FLOAT_PANEL / self.strip).max(1)
    }

    /// Parts of K.
    pub(crate) fn passes(&self, k: usize) -> usize {
        k.div_ceil(self.kc).max(1)
    }
}

/// Fewer tiles than this would expand weights for too few rows.
const LEAST_TILES_PER_BLOCK: usize = 8;

/// So few k take a kernel call less time than the call costs.
const SHORT_K: usize = 32;
/// The same with vectors of 512 bits, which do as much in half the time and more.
const SHORT_K_OF_512_BITS: usize = 256;
/// Micro-tiles for which keeping expanded weights is hardly worth the calls.
const FEW_TILES: usize = 4;

/// Whether several micro-tiles of rows go along all strips in a call each, instead of a call or more for every strip:
/// weights stay in the second-level cache, and each micro-tile expands them anew.
///
/// MEASURED on Granite Rapids. `avx2`: 1.1 to 1.4 times as fast at k = 13, and twice where C has 2048 rows; bf16 1.04
/// to 1.1 times for 12 to 24 rows of 512 × 512, and 0.95 times for 128; f16 loses from k = 64 on, since its conversion
/// takes the multipliers' ports. `avx512`: 1.05 to 1.3 times up to k = 256; 1.07 to 1.15 times for 24 rows of 512 ×
/// 512.
fn rows_pay(p: &FloatProblem, tiles: usize, b_bytes: usize) -> bool {
    let machine = p.resources.machine;
    if p.products != FloatProducts::Chain || p.weights.groups().is_some() || b_bytes > machine.caches.l2 / 2 {
        return false;
    }
    if float_lanes(p.tier) == 16 {
        return p.k <= SHORT_K_OF_512_BITS || tiles <= FEW_TILES;
    }
    let expands_for_free = p.weights != FloatType::F16.into() || tuning::converts_f16_beside_products(machine.core);
    p.k <= SHORT_K || expands_for_free && tiles <= FEW_TILES
}

/// Vectors for so many columns: an even number, since kernels take panels in pairs of vectors.
fn even_vectors(cols: usize, lanes: usize) -> usize {
    debug_assert!(FLOAT_PANEL.is_multiple_of(2 * lanes));
    cols.div_ceil(2 * lanes).max(1) * 2
}

/// A block of K of at most about `most`, such that all blocks are about equal.
fn even_blocks(k: usize, most: usize, unit: usize) -> usize {
    let blocks = k.div_ceil(most.max(unit)).max(1);
    k.div_ceil(blocks).next_multiple_of(unit)
}
