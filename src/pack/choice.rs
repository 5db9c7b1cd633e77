//! How weights are packed: their layout, panels, planes of A and blocks of K, and the schedule of every block.

use gemmill_codegen::{Caches, Core, Layout, Machine, Section, Tier, micro_tiles};

use super::builder::Weight;
use super::bytes::StoredSchedule;
use super::gather::Gather;
use super::layout::Panel;
use super::schedule::{Limits, Schedule, Search, Steps, schedule, schedule_dots};
use super::step::{Block, MAX_KC};
use crate::error::Result;

/// Products of so few columns run along K.
const MAX_DEPTH_COLS: usize = 2;
/// ... if K is long enough for that.
const MIN_DEPTH_K: usize = 2 * Layout::Depth.step_depth();
/// Share of the cost of full panels that narrow ones must not exceed: each step of A serves fewer columns.
fn narrow_pay_below(core: Core) -> f64 {
    match core {
        // Never. MEASURED on Zen 4: weights quantized by tensor are 0.8 times as fast in narrow panels at 16 to 256 rows and as fast
        // at one; weights quantized by column as fast at many rows and 0.85 times as fast at one.
        Core::Zen => 0.0,
        Core::Intel => 0.97,
    }
}

/// Columns of a group from which on panels are full: weights stream past single rows fastest.
const MIN_COLS_FOR_FULL_PANELS: usize = 512;
/// Share of the in-place cost that planes of A must not exceed.
fn planes_pay_below(core: Core) -> f64 {
    match core {
        // MEASURED on Zen 4: gaussian weights quantized by column, at 0.90, are 3 % slower with planes at 64 rows, and up to 20 %
        // with one row, whose planes don't stay in the first-level cache; uniform ones, at 0.80, gain.
        Core::Zen => 0.88,
        // MEASURED on Granite Rapids: those at 0.90 are 1.1 times as fast with planes at 64 rows.
        Core::Intel => 0.93,
    }
}

/// Columns of a group that make planes of A worth writing.
const MIN_COLS_FOR_PLANES: usize = 512;

/// Vectors of a full panel, unless columns are fewer: the widest that the tier has micro-tiles for, which take fewest loads.
/// Where dot products, which wait for memory soonest, stream weights from beyond the second-level cache, those of the
/// micro-tiles with most rows, for each tile reads all weights. One vector would leave the limit to load ports.
///
/// MEASURED on Emerald Rapids, `avx512-vnni`: 10 × 4096 × 1024 gains 60 % by 32 columns instead of 64; with weights in the
/// second-level cache, 6 × 256 × 1024 loses 10 % by them.
pub(super) fn full_panel_vectors(tier: Tier, layout: Layout, group_cols: usize, streams: bool) -> usize {
    let tiles = || micro_tiles(tier).iter().filter(|t| t.layout == layout);
    let widest = tiles().map(|t| t.vectors).max().unwrap_or(1);
    let tallest = || tiles().filter(|t| t.vectors > 1).max_by_key(|t| (t.max_rows, t.vectors)).map(|t| t.vectors);
    let vectors = if streams { tallest().unwrap_or(widest) } else { widest };
    group_cols.div_ceil(layout.columns(1)).clamp(1, vectors)
}

/// The layout that wastes fewest lanes.
pub(super) fn choose_layout(tier: Tier, k: usize, group_cols: usize) -> Layout {
    let has = |layout| micro_tiles(tier).iter().any(|t| t.layout == layout);
    if (1..=MAX_DEPTH_COLS).contains(&group_cols) && k >= MIN_DEPTH_K {
        Layout::Depth
    } else if (1..=Layout::FourColumns.columns(1)).contains(&group_cols) && k >= Layout::FourColumns.step_depth() {
        Layout::FourColumns
    } else if has(Layout::Tiles) && group_cols > Layout::Columns8.lanes() && k >= Layout::Tiles.step_depth() {
        // ASSUMPTION, not measured: less than a whole tile of K is better left to vectors.
        Layout::Tiles
    } else if has(Layout::Columns16) && group_cols > Layout::Columns8.lanes() {
        Layout::Columns16
    } else {
        Layout::Columns8
    }
}

/// What is decided by a sample of the weights.
struct Choice {
    /// Vectors of a full panel.
    panel_vectors: usize,
    /// Whether A is written to planes.
    planes: bool,
    /// 1 where all sequences take weights of a byte, 2 where all are wide.
    bytes_per_weight: f64,
}

/// Elements of K such that a block of a full panel takes half of the first-level cache.
fn default_kc(caches: Caches, layout: Layout, widest: usize) -> usize {
    let fits = (caches.l1 / 2 / layout.columns(widest).max(16)).clamp(256, 4096);
    let run = Section::Dot8.steps() * layout.step_depth();
    // Whole runs of steps, unless one is more than fits.
    if fits < run { fits } else { fits / run * run }
}

/// What scheduling needs to know.
#[derive(Clone, Copy)]
pub(super) struct Packing<'a, T> {
    pub(super) gather: Gather<'a, T>,
    pub(super) machine: Machine,
    pub(super) layout: Layout,
    /// Vectors of the widest panel.
    pub(super) widest: usize,
    /// Whether the tier has 32-bit dot products.
    pub(super) dots: bool,
    pub(super) limits: Limits,
    pub(super) search: Search,
}

impl<T: Weight> Packing<'_, T> {
    /// Decides on blocks of K, vectors of a full panel and planes of A.
    pub(super) fn cut(&mut self, k: usize, group_cols: usize, kc: Option<usize>) -> (Vec<Block>, usize) {
        let depth = self.layout.step_depth();
        // Without columns there is nothing to cut, however deep: no more blocks than one.
        let k = if group_cols == 0 { 0 } else { k };
        let most = kc.unwrap_or_else(|| default_kc(self.machine.caches, self.layout, self.widest)).min(MAX_KC);
        let choice = self.choose(group_cols, Block::cut(k, most, depth)[0]);
        self.search.planes = choice.planes;
        // Wide weights take twice the room in the first-level cache.
        let most = if kc.is_some() { most } else { (most as f64 / choice.bytes_per_weight) as usize };
        (Block::cut(k, most, depth), choice.panel_vectors)
    }

    /// Decides by one block of the first panel. Planes of A cost a pass over A for each, which must be small against the
    /// product, and first-level cache, which must be paid for by faster sequences.
    fn choose(&self, group_cols: usize, block: Block) -> Choice {
        let widest = self.widest;
        if self.dots {
            return Choice { panel_vectors: widest, planes: false, bytes_per_weight: 1.0 };
        }
        let sample = |column: usize, vectors: usize, planes: bool| {
            let cols = (group_cols - column).min(self.layout.columns(vectors));
            let panel = Panel { group: 0, column, cols, vectors, padded_column: 0 };
            let packing = Packing { search: Search { planes, ..self.search }, ..*self };
            let mut weights = Vec::new();
            packing.gather.block(&panel, block, &mut weights);
            schedule(packing.steps(&weights, &panel, block), packing.limits, packing.search)
        };
        let full = sample(0, widest, false);
        let choice = |schedule: &Schedule, panel_vectors, planes| Choice {
            panel_vectors,
            planes,
            bytes_per_weight: schedule.vectors_per_step().max(1.0),
        };
        let splits = self.layout.lanes_per_column() == 1 && widest > 1;
        let can_narrow = splits && group_cols < MIN_COLS_FOR_FULL_PANELS;
        // Offsets of narrow panels take twice the room: safe weights keep the promise of 1.05 bytes each.
        if can_narrow && full.has_unsafe_steps() {
            // The same columns, in two panels.
            let (left, right) = (sample(0, 1, false), sample(self.layout.columns(1), 1, false));
            if (left.cost(1) + right.cost(1)) / 2.0 < narrow_pay_below(self.machine.core) * full.cost(widest) {
                return choice(&left, 1, false);
            }
        }
        if group_cols >= MIN_COLS_FOR_PLANES {
            let planes = sample(0, widest, true);
            if planes.cost(widest) < planes_pay_below(self.machine.core) * full.cost(widest) {
                return choice(&planes, widest, true);
            }
        }
        choice(&full, widest, false)
    }

    /// The schedule of a block: as stored, or searched for. `scratch` is for its weights.
    fn schedule_block(
        &self,
        panel: &Panel,
        block: Block,
        stored: Option<&mut StoredSchedule<'_>>,
        scratch: &mut Vec<i8>,
    ) -> Result<Schedule> {
        if self.dots && stored.is_none() {
            let depth = self.layout.step_depth();
            return Ok(schedule_dots(block.steps(depth), block.len / depth));
        }
        self.gather.block(panel, block, scratch);
        let steps = self.steps(scratch, panel, block);
        match stored {
            Some(stored) => stored.next_block(steps, self.limits),
            None => Ok(schedule(steps, self.limits, self.search)),
        }
    }

    fn steps<'w>(&self, weights: &'w [i8], panel: &Panel, block: Block) -> Steps<'w> {
        let bytes_per_step = panel.step_bytes(self.layout);
        Steps { weights, bytes_per_step, whole: block.len / self.layout.step_depth() }
    }

    /// The schedules of all blocks, by panel and then block.
    pub(super) fn schedule(
        &self,
        panels: &[Panel],
        blocks: &[Block],
        mut stored: Option<&mut StoredSchedule<'_>>,
    ) -> Result<Vec<Schedule>> {
        let mut scratch = Vec::new();
        let of_all = panels.iter().flat_map(|panel| blocks.iter().map(move |&block| (panel, block)));
        of_all.map(|(panel, block)| self.schedule_block(panel, block, stored.as_deref_mut(), &mut scratch)).collect()
    }
}
