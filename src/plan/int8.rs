//! The plan of a product of 8-bit integers: micro-tiles, cache blocks and the split among threads.
//!
//! # Assumptions
//! Tiers say which instructions a CPU has, not how it carries them out. What packing and planning take for granted
//! about that, beyond the sizes of caches:
//!
//! - *Ports.* Sequences are compared by how many instructions they give the vector multipliers and adders
//!   (`Schedule::cost`): loads, broadcasts and the front end are assumed to keep up, and every such instruction to cost
//!   the same. Measured on Emerald Rapids, modelled for Zen 3 (llvm-mca); it holds where multiplications start on two
//!   vector ports (Intel's P-cores from Haswell on with 256 bits, Xeons with two 512-bit units, Zen 2 and later), and
//!   is assumed elsewhere: a Xeon or client core with one 512-bit port has half the multiplications, but the same
//!   ratios.
//! - *Frequency.* No sequence is avoided because a core runs slower while it is used. Skylake-X, which lowers its
//!   frequency most for 512-bit multiplications, is assumed to gain by them all the same.
//! - *Registers.* MR and NR (the registry of micro-tiles) cover a latency of 4 to 5 cycles of a dot product and of a
//!   multiplication by at least eight independent accumulators on two ports.
//! - *Caches.* Half of the first level holds a block of a panel; a quarter of the second one a block of rows, whatever
//!   its associativity. The last level is not reckoned with. A core's second thread is assumed to be idle.
//! - *Prefetchers* of the hardware differ by core: see [`tuning`].

use gemmill_codegen::{
    Ahead, Byte, Layout, MAX_GRID_K, MAX_ROWS_OF_TWO, Prefetch, Section, Sweep, Tier, micro_tile, sections,
};

use super::grid::{GridProblem, PanelKind};
use super::{Loops, Prefer, Resources, RowTiles, parts};
use crate::machine::tuning;

/// All that a plan depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Int8Problem {
    pub(crate) tier: Tier,
    pub(crate) resources: Resources,
    pub(crate) rows: usize,
    /// Depth of one group.
    pub(crate) k: usize,
    /// Columns of C.
    pub(crate) cols: usize,
    pub(crate) layout: Layout,
    /// The type of A's elements as kernels multiply them.
    pub(crate) activations: Byte,
    /// Vectors of the widest panel.
    pub(crate) vectors: usize,
    /// Panels, of all groups.
    pub(crate) panels: usize,
    /// Blocks of K.
    pub(crate) blocks: usize,
    /// Bytes of packed weights.
    pub(crate) b_bytes: usize,
    /// Bytes of a row of A as kernels read it.
    pub(crate) a_row_bytes: usize,
    /// Whether A is written to planes first.
    pub(crate) packs_a: bool,
}

/// How a product is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Int8Plan {
    pub(crate) loops: Loops,
    /// How kernels read packed weights.
    pub(crate) layout: Layout,
    /// Panels per block of columns: NC = `panels_per_block * NR`.
    pub(crate) panels_per_block: usize,
    /// Blocks of K that a kernel call goes through: all, or one with partial sums in scratch memory between.
    pub(crate) blocks_per_pass: usize,
    /// Which micro-tiles a kernel call goes through, in panels of full width.
    pub(crate) sweep: Sweep,
    /// What is prefetched of packed weights that come from beyond the second-level cache.
    pub(crate) prefetch: Prefetch,
    /// Whether blocks of columns are gone through forwards and backwards in turns, for every block of rows and from
    /// product to product: what the second-level cache still holds of weights that don't fit it is then used again.
    pub(crate) alternates: bool,
}

/// The place of a kernel: which panels, which micro-tiles, which passes over K.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KernelIndex {
    pub(crate) panels: PanelKind,
    /// The shorter of the two tile heights.
    pub(crate) short_tile: bool,
    pub(crate) first_pass: bool,
    pub(crate) last_pass: bool,
}

impl KernelIndex {
    /// A number below 4 for the place among the passes.
    pub(crate) fn pass(self) -> usize {
        usize::from(self.first_pass) + 2 * usize::from(self.last_pass)
    }
}

impl Int8Plan {
    pub(crate) fn new(p: &Int8Problem) -> Int8Plan {
        let p = &Int8Problem { layout: kernels_layout(p), ..*p };
        let caches = p.resources.machine.caches;
        let tiles = row_tiles(p);
        let tile_bytes = tiles.height.max(1) * p.a_row_bytes.max(1);
        // A quarter: a panel that comes from the next cache and partial sums pass through as well.
        let grid = GridProblem {
            caches,
            tiles,
            // At least a byte for each element of C.
            row_bytes: p.a_row_bytes.saturating_add(p.cols),
            panels: p.panels,
            b_bytes: p.b_bytes,
            has_full_panels: p.vectors == 2,
        };
        let mut sweep = sweep(p, &grid);
        let is_grid = matches!(sweep, Sweep::Grid { .. });
        let tiles_per_block = match is_grid && !p.packs_a {
            // Weights stay, and all of A passes once for each block of them.
            true => tiles.count().max(1),
            false => (caches.l2 / 4 / tile_bytes).max(1),
        };
        let in_passes = sweep == Sweep::Column && tiles.count() >= TILES_WORTH_A_PASS;
        let blocks_per_pass = if in_passes { 1 } else { p.blocks };
        let panel_scratch =
            tiles_per_block.min(tiles.count()).max(1) * tiles.height.max(1) * p.vectors * p.layout.accumulator_bytes();
        // From here on, weights are gone by the time that a product of few rows ends.
        let exceeds_l2 = p.b_bytes > caches.l2 / 2;
        // The larger weights are, the smaller is the part that the second level keeps, and every jump costs the stream
        // something, most of all from memory. MEASURED on Granite Rapids (2 MiB of second-level cache), one row, the
        // same weights again and again: 1.4 times as fast with 2 MiB of them, 1.3 with 4, 1.1 with 8 to 16, 1.04 with
        // 33; and 0.95 times where they come from memory since others came in between. ASSUMPTION: the same factor on
        // other cores, and for all threads together.
        let alternates = exceeds_l2 && p.b_bytes <= caches.l3.min(8 * caches.l2);
        let panels_per_block = if blocks_per_pass < p.blocks {
            (caches.l2 / 4 / panel_scratch).max(1)
        } else if alternates || exceeds_l2 && tiles.count() > 1 {
            match is_grid {
                true => grid.panels_per_block(),
                false => (caches.l2 / 4 / (p.b_bytes / p.panels.max(1)).max(1)).max(1),
            }
        } else {
            p.panels.max(1)
        };
        if let Sweep::Grid { ahead, .. } = &mut sweep {
            *ahead = grid.rows_ahead(panels_per_block);
        }
        // Splitting rows shares the work of packing A, and each part's B is everybody's.
        let prefer = if p.packs_a || p.rows >= p.cols { Prefer::Rows } else { Prefer::Columns };
        let threads = p.resources.worth(p.rows, p.cols, p.k);
        let (row_parts, column_parts) = parts(threads, tiles.count(), p.panels, prefer);
        let prefetch = match exceeds_l2 && p.layout != Layout::Tiles {
            true => tuning::int8_prefetch(p.resources.machine.core, has_dots(p.tier), p.rows, tiles.count()),
            false => Prefetch::None,
        };
        Int8Plan {
            loops: Loops { tiles, tiles_per_block, row_parts, column_parts },
            layout: p.layout,
            panels_per_block,
            blocks_per_pass,
            sweep,
            prefetch,
            alternates,
        }
    }

    /// Where kernels may be needed, K having `blocks` blocks.
    pub(crate) fn kernel_places(&self, blocks: usize) -> impl Iterator<Item = KernelIndex> + use<> {
        let passes: &[(bool, bool)] = match blocks.div_ceil(self.blocks_per_pass) {
            1 => &[(true, true)],
            2 => &[(true, false), (false, true)],
            _ => &[(true, false), (false, false), (false, true)],
        };
        let kinds: &[PanelKind] = match self.sweep.panels() {
            1 => &[PanelKind::Full, PanelKind::Tail],
            _ => &[PanelKind::Full, PanelKind::Two, PanelKind::Tail],
        };
        let panels_and_tiles = kinds.iter().flat_map(|&panels| [(panels, false), (panels, true)]);
        panels_and_tiles.flat_map(move |(panels, short_tile)| {
            passes.iter().map(move |&(first_pass, last_pass)| KernelIndex { panels, short_tile, first_pass, last_pass })
        })
    }
}

/// How kernels read packed weights: tiles by vectors where that takes fewer cycles by a reckoning.
///
/// For two panels whose weights are in the second-level cache, a step of tiles takes 72 cycles with up to 16 rows, for
/// each tile of rows (MEASURED in a prototype on Sapphire Rapids: 18 for each KiB), and one of vectors 32 for each row,
/// 64 at least. The rest is chosen: 40 for each row, and 400 for a call of tiles, from their configuration to the last
/// epilogue. MEASURED on Sapphire Rapids, 17 small products: with these none but 33 × 33 × 65 is slower than on
/// `avx512-vnni`, which is 1.1 times as fast there.
fn kernels_layout(p: &Int8Problem) -> Layout {
    if p.layout != Layout::Tiles || p.activations == Byte::I8 {
        return p.layout;
    }
    let steps_of_two = p.k.div_ceil(Layout::Tiles.step_depth()).saturating_mul(p.panels.div_ceil(2));
    let has_tail = !p.cols.is_multiple_of(Layout::Tiles.columns(p.vectors));
    let calls = if p.rows > MAX_ROWS_OF_TWO { 2 } else { 1 } * (1 + usize::from(has_tail));
    let by_tiles = 400 * calls + steps_of_two.saturating_mul(72 * p.rows.div_ceil(MAX_ROWS_OF_TWO));
    let by_vectors = steps_of_two.saturating_mul((40 * p.rows).max(64));
    if by_vectors <= by_tiles { Layout::RowsOfTiles } else { Layout::Tiles }
}

/// Fewer micro-tiles than this leave a panel's blocks too little used to store partial sums between them.
const TILES_WORTH_A_PASS: usize = 4;

/// Rows of micro-tiles, each in one call that goes through panel after panel, or columns of them in a call for each
/// panel, or, of tiles, all of them in one call.
///
/// Few tiles save calls by rows. With many there are as few calls either way: by columns a part of a panel stays in the
/// first-level cache, and sums wait in memory while there are other parts; by rows a block of panels streams from the
/// second-level cache for every tile.
fn sweep(p: &Int8Problem, grid: &GridProblem) -> Sweep {
    let tiles = grid.tiles.count();
    if p.layout == Layout::Tiles {
        return grid_sweep(p, grid).unwrap_or(Sweep::Column);
    }
    let lane_for_each_column = p.layout.lanes_per_column() == 1;
    // About half of them take two bytes, or padding takes as much.
    let wide = p.b_bytes / 3 * 2 > p.k.saturating_mul(p.cols);
    let most = tuning::most_tiles_in_rows(p.resources.machine.core, wide, p.b_bytes);
    if lane_for_each_column && (1..=most).contains(&tiles) { Sweep::Row } else { Sweep::Column }
}

/// A grid of tiles, where there is more than one micro-tile whose epilogue can pass between another one's products.
fn grid_sweep(p: &Int8Problem, grid: &GridProblem) -> Option<Sweep> {
    let k = u32::try_from(p.k).ok().filter(|k| (p.layout.step_depth() as u32..=MAX_GRID_K).contains(k))?;
    let panels = grid.side_by_side();
    (grid.tiles.count() * p.panels > 1).then_some(Sweep::Grid { k, panels, ahead: Ahead::Nothing })
}

/// Whether a tier's kernels multiply by 32-bit dot products.
fn has_dots(tier: Tier) -> bool {
    sections(tier).contains(Section::Dot)
}

/// Tiles of MR rows, or one or two taller ones if rows are few.
fn row_tiles(p: &Int8Problem) -> RowTiles {
    let (mr, few_rows) = micro_tile(p.tier, p.layout, p.vectors).map_or((1, 1), |t| (t.mr, t.few_rows));
    let height = if p.rows <= 2 * few_rows { few_rows } else { mr };
    RowTiles::cut(p.rows, p.rows.div_ceil(height))
}
