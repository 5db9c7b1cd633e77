//! How weights are packed: their layout, panels, planes of A and blocks of K, and the schedule of every block.

use gemmill_codegen::{Caches, Layout, Machine, Section, Tier, micro_tiles};

use super::builder::Weight;
use super::file::StoredSchedule;
use super::gather::Gather;
use super::layout::{Draft, Panel};
use super::schedule::{Limits, Schedule, Search, Steps, prove, schedule, schedule_dots};
use super::step::{Block, MAX_KC};
use crate::error::Result;
use crate::machine::tuning::{
    MAX_DEPTH_COLS, MIN_COLS_FOR_FULL_PANELS, MIN_COLS_FOR_PLANES, MIN_DEPTH_K, narrow_pay_below, planes_pay_below,
};

/// Vectors of a full panel, unless columns are fewer: the widest that the tier has micro-tiles for, which take fewest
/// loads. Where dot products, which wait for memory soonest, stream weights from beyond the second-level cache, those
/// of the micro-tiles with most rows, for each tile reads all weights. One vector would leave the limit to load ports.
///
/// MEASURED on Emerald Rapids, `avx512-vnni`: 10 × 4096 × 1024 gains 60 % by 32 columns instead of 64; with weights in
/// the second-level cache, 6 × 256 × 1024 loses 10 % by them.
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

    /// Decides by one block of the first panel. Planes of A cost a pass over A for each, which must be small against
    /// the product, and first-level cache, which must be paid for by faster sequences.
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

    /// Schedules of a panel's blocks that files hold, and that are still to be proven.
    pub(super) fn stored_schedules(&self, blocks: &[Block], stored: &mut StoredSchedule<'_>) -> Result<Vec<Schedule>> {
        let depth = self.layout.step_depth();
        blocks.iter().map(|block| stored.next_block(block.steps(depth), block.len / depth)).collect()
    }

    /// Completes the schedules of a panel's blocks, proving those that it has. Where that takes its weights, they are
    /// written at once, not to be gathered again.
    pub(super) fn schedule(&self, draft: &mut Draft<'_>, blocks: &[Block]) -> Result<()> {
        let depth = self.layout.step_depth();
        if self.dots {
            draft.schedules = blocks.iter().map(|block| schedule_dots(block.steps(depth), block.len / depth)).collect();
            return Ok(());
        }
        let is_stored = !draft.schedules.is_empty();
        let mut natural = Vec::new();
        for (i, &block) in blocks.iter().enumerate() {
            self.gather.block(&draft.panel, block, &mut natural);
            self.gather.subtract_column_sums(&draft.panel, &natural, draft.corrections);
            let steps = self.steps(&natural, &draft.panel, block);
            if is_stored {
                prove(steps, &draft.schedules[i], self.limits)?;
            } else {
                draft.schedules.push(schedule(steps, self.limits, self.search));
            }
            draft.write(&natural, i, self.layout);
        }
        Ok(())
    }

    fn steps<'w>(&self, weights: &'w [i8], panel: &Panel, block: Block) -> Steps<'w> {
        let bytes_per_step = panel.step_bytes(self.layout);
        Steps { weights, bytes_per_step, whole: block.len / self.layout.step_depth() }
    }
}
