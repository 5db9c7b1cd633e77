//! The plan of a product: micro-tiles, cache blocks and the split among threads.
//!
//! A pure function of what is written in [`Problem`]: no clock, no environment, no CPU. A golden table
//! (`gemm/dispatch.txt`) pins its choices, together with those of packing.
//!
//! # Assumptions
//! Tiers say which instructions a CPU has, not how it carries them out. What packing and planning take for granted about
//! that, beyond the sizes of caches:
//!
//! - *Ports.* Sequences are compared by how many instructions they give the vector multipliers and adders
//!   (`Schedule::cost`): loads, broadcasts and the front end are assumed to keep up, and every such instruction to cost the
//!   same. Measured on Emerald Rapids, modelled for Zen 3 (llvm-mca); it holds where multiplications start on two vector ports (Intel's P-cores from
//!   Haswell on with 256 bits, Xeons with two 512-bit units, Zen 2 and later), and is assumed elsewhere: a Xeon or client core with
//!   one 512-bit port has half the multiplications, but the same ratios.
//! - *Frequency.* No sequence is avoided because a core runs slower while it is used. Skylake-X, which lowers its frequency
//!   most for 512-bit multiplications, is assumed to gain by them all the same.
//! - *Registers.* MR and NR (the registry of micro-tiles) cover a latency of 4 to 5 cycles of a dot product and of a
//!   multiplication by at least eight independent accumulators on two ports.
//! - *Caches.* Half of the first level holds a block of a panel; a quarter of the second one a block of rows, whatever its
//!   associativity. The last level is not reckoned with. A core's second thread is assumed to be idle.
//! - *Prefetchers* of the hardware differ by [`Core`]: Intel's follow a panel's stream within a page, and stop at its end;
//!   Zen's go on if nothing breaks the stream ([`Plan::prefetch`]).

use gemmill_codegen::{Core, Layout, Machine, Prefetch, Section, Sweep, Tier, micro_tile, sections};

/// What a product may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resources {
    pub(crate) machine: Machine,
    /// Most threads that may be used.
    pub(crate) threads: usize,
    /// Multiply-accumulates that a thread must have to itself.
    pub(crate) macs_per_thread: usize,
}

/// All that a plan depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) tier: Tier,
    pub(crate) resources: Resources,
    pub(crate) rows: usize,
    /// Depth of one group.
    pub(crate) k: usize,
    /// Columns of C.
    pub(crate) cols: usize,
    pub(crate) layout: Layout,
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
pub(crate) struct Plan {
    pub(crate) tiles: RowTiles,
    /// Micro-tiles per block of rows: MC = `tiles_per_block * MR`.
    pub(crate) tiles_per_block: usize,
    /// Panels per block of columns: NC = `panels_per_block * NR`.
    pub(crate) panels_per_block: usize,
    /// Blocks of K that a kernel call goes through: all, or one with partial sums in scratch memory between.
    pub(crate) blocks_per_pass: usize,
    /// Which micro-tiles a kernel call goes through, in panels of full width.
    pub(crate) sweep: Sweep,
    /// What is prefetched of packed weights that come from beyond the second-level cache.
    pub(crate) prefetch: Prefetch,
    /// Whether blocks of columns are gone through forwards and backwards in turns, for every block of rows and from product to
    /// product: what the second-level cache still holds of weights that don't fit it is then used again.
    pub(crate) alternates: bool,
    /// Parts among which rows are split.
    pub(crate) row_parts: usize,
    /// Parts among which panels are split.
    pub(crate) panel_parts: usize,
}

/// Rows cut into micro-tiles of two heights that differ by one at most: first the `tall` ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowTiles {
    /// Rows of a tall tile.
    pub(crate) height: usize,
    pub(crate) tall: usize,
    /// Number of tiles of `height - 1` rows.
    pub(crate) short: usize,
}

/// The place of a kernel: which panels, which micro-tiles, which passes over K.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KernelIndex {
    /// The tail panel of a group rather than one of full width.
    pub(crate) narrow_panel: bool,
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

/// Tiles of one height that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first_row: usize,
    pub(crate) height: usize,
    pub(crate) tiles: usize,
}

impl RowTiles {
    /// Cuts `rows` into `tiles` tiles.
    pub(crate) fn cut(rows: usize, tiles: usize) -> RowTiles {
        let height = rows.div_ceil(tiles.max(1));
        let short = tiles.saturating_mul(height).saturating_sub(rows);
        RowTiles { height, tall: tiles - short, short }
    }

    pub(crate) fn count(&self) -> usize {
        self.tall + self.short
    }

    /// First row of tile `tile`; the number of rows for `tile == count()`.
    pub(crate) fn row(&self, tile: usize) -> usize {
        tile * self.height - tile.saturating_sub(self.tall)
    }

    /// Tiles `first..end` as runs of equal height; empty runs among them.
    pub(crate) fn runs(&self, first: usize, end: usize) -> [Run; 2] {
        let middle = self.tall.clamp(first, end);
        [
            Run { first_row: self.row(first), height: self.height, tiles: middle - first },
            Run { first_row: self.row(middle), height: self.height.saturating_sub(1), tiles: end - middle },
        ]
    }
}

/// Multiply-accumulates that a thread has to itself, unless a number of threads is insisted on: some ten times what
/// handing it work costs.
pub(crate) const MACS_PER_THREAD: usize = 1 << 20;

impl Plan {
    pub(crate) fn new(p: &Problem) -> Plan {
        let caches = p.resources.machine.caches;
        let tiles = row_tiles(p);
        let tile_bytes = tiles.height.max(1) * p.a_row_bytes.max(1);
        // A quarter: a panel that comes from the next cache and partial sums pass through as well.
        let tiles_per_block = (caches.l2 / 4 / tile_bytes).max(1);
        let sweep = sweep(p, tiles.count());
        let in_passes = sweep == Sweep::Column && tiles.count() >= TILES_WORTH_A_PASS;
        let blocks_per_pass = if in_passes { 1 } else { p.blocks };
        let panel_scratch =
            tiles_per_block.min(tiles.count()).max(1) * tiles.height.max(1) * p.vectors * p.layout.accumulator_bytes();
        // From here on, weights are gone by the time that a product of few rows ends.
        let exceeds_l2 = p.b_bytes > caches.l2 / 2;
        // The larger weights are, the smaller is the part that the second level keeps, and every jump costs the stream something, most
        // of all from memory. MEASURED on Granite Rapids (2 MiB of second-level cache), one row, the same weights again and again:
        // 1.4 times as fast with 2 MiB of them, 1.3 with 4, 1.1 with 8 to 16, 1.04 with 33; and 0.95 times where they come from
        // memory since others came in between. ASSUMPTION: the same factor on other cores, and for all threads together.
        let alternates = exceeds_l2 && p.b_bytes <= caches.l3.min(8 * caches.l2);
        let panels_per_block = if blocks_per_pass < p.blocks {
            (caches.l2 / 4 / panel_scratch).max(1)
        } else if alternates || exceeds_l2 && tiles.count() > 1 {
            (caches.l2 / 4 / (p.b_bytes / p.panels.max(1)).max(1)).max(1)
        } else {
            p.panels.max(1)
        };
        let (row_parts, panel_parts) = split(p, tiles.count());
        let prefetch = if exceeds_l2 { prefetch(p, tiles.count()) } else { Prefetch::None };
        Plan {
            tiles,
            tiles_per_block,
            panels_per_block,
            blocks_per_pass,
            sweep,
            prefetch,
            alternates,
            row_parts,
            panel_parts,
        }
    }

    /// Whether a product is large enough for a second thread.
    pub(crate) fn worth_threads(rows: usize, k: usize, cols: usize) -> bool {
        rows.saturating_mul(cols).saturating_mul(k) >= 2 * MACS_PER_THREAD
    }

    /// Where kernels may be needed, K having `blocks` blocks.
    pub(crate) fn kernel_places(&self, blocks: usize) -> impl Iterator<Item = KernelIndex> + use<> {
        let passes: &[(bool, bool)] = match blocks.div_ceil(self.blocks_per_pass) {
            1 => &[(true, true)],
            2 => &[(true, false), (false, true)],
            _ => &[(true, false), (false, false), (false, true)],
        };
        let tiles_and_panels = [(false, false), (false, true), (true, false), (true, true)];
        tiles_and_panels.into_iter().flat_map(move |(narrow_panel, short_tile)| {
            passes.iter().map(move |&(first_pass, last_pass)| KernelIndex {
                narrow_panel,
                short_tile,
                first_pass,
                last_pass,
            })
        })
    }

    /// Rows of a block.
    pub(crate) fn mc(&self) -> usize {
        self.tiles_per_block * self.tiles.height
    }
}

/// Fewer micro-tiles than this leave a panel's blocks too little used to store partial sums between them.
const TILES_WORTH_A_PASS: usize = 4;

/// Bytes of weights in a row of micro-tiles from which on its call takes much longer than making it.
const LEAST_OF_A_ROW: usize = 8192;

/// Rows of micro-tiles, each in one call that goes through panel after panel, or columns of them in a call for each panel.
///
/// Few tiles save calls by rows. With many there are as few calls either way: by columns a part of a panel stays in the first-level
/// cache, and sums wait in memory while there are other parts; by rows a block of panels streams from the second-level
/// cache for every tile.
fn sweep(p: &Problem, tiles: usize) -> Sweep {
    let lane_for_each_column = p.layout.lanes_per_column() == 1 && p.layout != Layout::Tiles;
    // About half of them take two bytes, or padding takes as much.
    let wide = p.b_bytes / 3 * 2 > p.k.saturating_mul(p.cols);
    let most = match p.resources.machine.core {
        // MEASURED on Zen 4, `avx2`: one row is 1.1 to 1.5 times as fast as by columns, eight tiles of weights of one block of K
        // 1.01 times, of several blocks any number of tiles 1.03 to 1.05 times; where most weights are wide, 0.95 times.
        Core::Zen if !wide && p.b_bytes >= LEAST_OF_A_ROW => usize::MAX,
        // ASSUMPTION, not measured: rows pay where calls are saved.
        Core::Zen | Core::Intel => 8,
    };
    if lane_for_each_column && (1..=most).contains(&tiles) { Sweep::Row } else { Sweep::Column }
}

/// What is prefetched of weights that come from beyond the second-level cache.
fn prefetch(p: &Problem, tiles: usize) -> Prefetch {
    let dots = sections(p.tier).contains(Section::Dot);
    match p.resources.machine.core {
        // MEASURED on Zen 4: the hardware's prefetcher keeps up with one stream that has no gaps. Prefetches into the first level
        // cost it up to a third. Where groups of steps and several rows of A break the stream, it needs help from memory: from
        // three rows on 1.2 to 1.7 times as fast, from the third-level cache 2 % slower; two rows lose by it.
        Core::Zen if dots || p.rows <= 2 => Prefetch::None,
        Core::Zen => Prefetch::ToSecondLevel,
        // MEASURED on Emerald Rapids: a micro-tile that streams past weights is 1.1 to 1.3 times as fast from the third-level
        // cache, and up to 1.6 times from memory; with several ones, dot products eat weights faster than prefetches into the
        // first-level cache can have them under way (10 × 4096 × 1024: 182 instead of 208).
        Core::Intel if dots && tiles > 1 => Prefetch::None,
        Core::Intel => Prefetch::ToFirstLevel,
    }
}

/// Tiles of MR rows, or one or two taller ones if rows are few.
fn row_tiles(p: &Problem) -> RowTiles {
    let (mr, few_rows) = micro_tile(p.tier, p.layout, p.vectors).map_or((1, 1), |t| (t.mr, t.few_rows));
    let height = if p.rows <= 2 * few_rows { few_rows } else { mr };
    RowTiles::cut(p.rows, p.rows.div_ceil(height))
}

/// Parts of rows and of panels whose largest piece is smallest.
fn split(p: &Problem, tiles: usize) -> (usize, usize) {
    let macs = p.rows.saturating_mul(p.cols).saturating_mul(p.k);
    let worth = macs.checked_div(p.resources.macs_per_thread).unwrap_or(usize::MAX);
    let threads = p.resources.threads.min(worth).max(1);
    // Splitting rows shares the work of packing A, and each part's B is everybody's.
    parts(threads, tiles, p.panels, p.packs_a || p.rows >= p.cols)
}

/// The same for so many tiles and panels; among equals the most parts of rows, if that is preferred.
pub(crate) fn parts(threads: usize, tiles: usize, panels: usize, prefers_rows: bool) -> (usize, usize) {
    let mut best = (usize::MAX, (1, 1));
    for row_parts in 1..=threads.min(tiles.max(1)) {
        let panel_parts = (threads / row_parts).clamp(1, panels.max(1));
        let largest = tiles.div_ceil(row_parts).saturating_mul(panels.div_ceil(panel_parts));
        if largest < best.0 || largest == best.0 && prefers_rows {
            best = (largest, (row_parts, panel_parts));
        }
    }
    best.1
}

#[cfg(test)]
mod tests;
