//! Packing with options: checks, the choice of layout and blocks, the schedule of every block.

use std::sync::Arc;

use gemmill_codegen::{Caches, KR, Layout, Section, Tier, micro_tiles, sections};

use super::bytes::StoredSchedule;
use super::layout::{PackedPanels, Panel, Scheduled, panels};
use super::packed::{Inner, PackOptions, PackedB, ZeroPoints};
use super::schedule::{Limits, Schedule, Search, Steps, schedule, schedule_dots};
use super::step::{Block, MAX_KC};
use crate::error::{Error, Result};
use crate::matrix::{Element, MatRef};
use crate::parameters::{OwnedPerColumn, PerColumn};
use crate::quant::check_scale;

mod sealed {
    pub trait Sealed {}
    impl Sealed for i8 {}
    impl Sealed for u8 {}
}

/// A type of weights: `i8` or `u8`.
pub trait Weight: Element + PartialEq + sealed::Sealed {
    #[doc(hidden)]
    const SIGNED: bool;
    #[doc(hidden)]
    fn to_i8(self) -> i8;
    #[doc(hidden)]
    fn from_i8(x: i8) -> Self;
}

impl Weight for i8 {
    const SIGNED: bool = true;
    fn to_i8(self) -> i8 {
        self
    }
    fn from_i8(x: i8) -> i8 {
        x
    }
}

/// Kernels multiply i8 weights: unsigned ones are moved down by 128, and so are their zero points.
impl Weight for u8 {
    const SIGNED: bool = false;
    fn to_i8(self) -> i8 {
        (self ^ 0x80) as i8
    }
    fn from_i8(x: i8) -> u8 {
        x as u8 ^ 0x80
    }
}

/// How hard packing searches for steps that may be summed in 16 bits.
///
/// # Examples
/// ```
/// use gemmill::{MatRef, PackEffort, PackedB};
/// let b = MatRef::row_major(&[1i8, 2, 3, 4], 2, 2)?;
/// let packed = PackedB::builder(b).effort(PackEffort::Quick).build()?;
/// assert_eq!(packed.k(), 2);
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PackEffort {
    /// One pass over neighbouring steps: for weights that are used once or twice.
    Quick,
    /// A search over all steps of a block and three pairings: some ten nanoseconds per weight, once.
    #[default]
    Full,
}

/// Packs weights with options. See [`PackedB::builder`].
///
/// # Examples
/// ```
/// use gemmill::{MatRef, PackBuilder, PackedB};
/// let builder: PackBuilder<'_, i8> = PackedB::builder(MatRef::row_major(&[1i8, 2, 3, 4], 2, 2)?);
/// assert_eq!(builder.activation_max(127).build()?.activation_max(), 127);
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct PackBuilder<'a, T> {
    b: MatRef<'a, T>,
    groups: usize,
    zero_points: PerColumn<'a, i32>,
    activation_max: u8,
    tier: Option<Tier>,
    effort: PackEffort,
    kc: Option<usize>,
    scales: Option<PerColumn<'a, f32>>,
    stored: Option<StoredSchedule<'a>>,
}

impl<'a, T: Weight> PackBuilder<'a, T> {
    pub(super) fn new(b: MatRef<'a, T>) -> Self {
        PackBuilder {
            b,
            groups: 1,
            zero_points: PerColumn::Tensor(0),
            activation_max: u8::MAX,
            tier: None,
            effort: PackEffort::Full,
            kc: None,
            scales: None,
            stored: None,
        }
    }

    /// Cuts the columns into `groups` blocks of N / groups each, multiplied with as many blocks of K columns of A.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackedB};
    /// let b = MatRef::row_major(&[1i8, 2, 3, 4], 1, 4)?;
    /// assert_eq!(PackedB::builder(b).groups(2).build()?.groups(), 2);
    /// assert!(PackedB::builder(b).groups(3).build().is_err());
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Zero points, in the range of the weights' type.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackedB, PerColumn};
    /// let b = MatRef::row_major(&[1u8, 2, 3, 4], 2, 2)?;
    /// assert!(PackedB::builder(b).zero_points(PerColumn::Column(&[128, 130])).build().is_ok());
    /// assert!(PackedB::builder(b).zero_points(PerColumn::Tensor(256)).build().is_err());
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn zero_points(mut self, zero_points: PerColumn<'a, i32>) -> Self {
        self.zero_points = zero_points;
        self
    }

    /// Declares that u8 activations will not exceed `max`: more 16-bit sums are safe then. Products check it.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackedB};
    /// // Sixteen times 127 in a lane: safe for activations of 7 bits, two at a time.
    /// let b = [127i8; 64];
    /// let packed = PackedB::builder(MatRef::row_major(&b, 64, 1)?).activation_max(127).build()?;
    /// assert!(!packed.sequences().to_string().contains("wide"));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn activation_max(mut self, max: u8) -> Self {
        self.activation_max = max;
        self
    }

    /// Packs for this tier instead of the best one.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackedB, Tier};
    /// let packed = PackedB::builder(MatRef::row_major(&[1i8], 1, 1)?).tier(Tier::Portable).build()?;
    /// assert_eq!(packed.tier(), Tier::Portable);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn tier(mut self, tier: Tier) -> Self {
        self.tier = Some(tier);
        self
    }

    /// How hard to search for fast sequences.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackEffort, PackedB};
    /// let b = PackedB::builder(MatRef::row_major(&[1i8; 12], 3, 4)?).effort(PackEffort::Quick).build()?;
    /// assert_eq!((b.k(), b.n()), (3, 4));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn effort(mut self, effort: PackEffort) -> Self {
        self.effort = effort;
        self
    }

    /// Most elements of K in a block, instead of what fits this CPU's first-level cache: rounded down to whole steps of the
    /// layout (4, 8, 32 or 64), at least one of them and at most 8192 elements.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackedB};
    /// let b = vec![1i8; 1000 * 16];
    /// assert_eq!(PackedB::builder(MatRef::row_major(&b, 1000, 16)?).kc(256).build()?.k(), 1000);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn kc(mut self, kc: usize) -> Self {
        self.kc = Some(kc);
        self
    }

    /// Scales that go with the weights, into files too. Products take theirs from their output, which may well be these.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Dequantize, Gemm, MatRef, PackedB, PerColumn, quant};
    /// let (b, scales) = quant::symmetric_per_column(MatRef::row_major(&[0.5f32, -1.0, 0.25, 2.0], 2, 2)?)?;
    /// let packed = PackedB::builder(MatRef::row_major(&b, 2, 2)?).scales(PerColumn::Column(&scales)).build()?;
    /// let loaded = PackedB::from_bytes(&packed.to_bytes())?;
    /// let scales = loaded.scales().expect("they were written");
    /// let gemm = Gemm::<u8, f32>::builder(&loaded, Dequantize::new(scales)).build()?;
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn scales(mut self, scales: PerColumn<'a, f32>) -> Self {
        self.scales = Some(scales);
        self
    }

    /// Takes this schedule rather than searching for one, if it is for the layout that packing chooses.
    pub(super) fn stored_schedule(mut self, stored: Option<StoredSchedule<'a>>) -> Self {
        self.stored = stored;
        self
    }

    /// Packs.
    ///
    /// # Errors
    /// [`Error::Groups`] if N is not divisible by the groups, [`Error::Mismatch`] if there are not as many zero points or
    /// scales as groups or columns, [`Error::OutOfRange`] if a zero point is outside the weights' type,
    /// [`Error::BadNumber`] if a scale is not a finite number above 0 with a finite reciprocal, [`Error::Tier`] if the
    /// CPU lacks the tier, [`Error::Overflow`] if the packed form would not fit the address space.
    pub fn build(self) -> Result<PackedB> {
        let tier = match self.tier {
            Some(tier) => tier.require()?,
            None => Tier::best()?,
        };
        self.pack_for(tier, Caches::of_this_cpu())
    }

    /// Packs for any tier and caches, whether or not this CPU has them: a pure function.
    pub(crate) fn pack_for(self, tier: Tier, caches: Caches) -> Result<PackedB> {
        let (k, n) = (self.b.rows(), self.b.cols());
        if self.groups == 0 || n % self.groups != 0 {
            return Err(Error::Groups { cols: n, groups: self.groups });
        }
        let (low, high) = if T::SIGNED { (-128, 127) } else { (0, 255) };
        let moved = if T::SIGNED { 0 } else { -128 };
        let zero_points = self.zero_points.expand("zero points of B", n, self.groups)?;
        for z in zero_points.iter() {
            if !(low..=high).contains(&z) {
                let what = "zero point of B";
                return Err(Error::OutOfRange { what, low: low.into(), high: high.into(), given: z.into() });
            }
        }
        if let Some(scales) = self.scales {
            scales
                .expand("scales of B", n, self.groups)?
                .iter()
                .try_for_each(|s| check_scale("scale of B", s).map(drop))?;
        }
        let zero_point = |column: usize| zero_points.get(column) + moved;
        let group_cols = n / self.groups;
        check_size(k, n, self.groups)?;
        let layout = choose_layout(tier, k, group_cols);
        let search = match self.effort {
            PackEffort::Quick => Search { window: 1, planes: false, reorder: false },
            PackEffort::Full => Search { window: 32, planes: false, reorder: true },
        };
        let dots = sections(tier).contains(Section::Dot);
        // Dot products take a byte for each weight.
        let streams = dots && k.saturating_mul(n) > caches.l2 / 2;
        let mut packing = Packing {
            b: self.b,
            caches,
            layout,
            widest: widest_panel(tier, layout, group_cols, streams),
            dots,
            limits: Limits::for_activations(self.activation_max),
            search,
        };
        let mut stored = self.stored.filter(|stored| stored.is_for(tier, layout));
        let (blocks, panel_vectors) = match &stored {
            Some(stored) => (stored.blocks(k, layout)?, stored.panel_vectors(packing.widest)?),
            None => packing.cut(k, group_cols, self.kc),
        };
        let panels = panels(self.groups, group_cols, layout, panel_vectors);
        let padded = panels.last().map_or(0, |p| p.padded_column + p.padded_cols(layout));
        let per_column = (1..n).any(|j| zero_points.get(j) != zero_points.get(0));
        let mut corrections = vec![0i32; padded];
        let mut column_zero_points = vec![0i32; if per_column { padded } else { 0 }];
        for panel in &panels {
            for j in 0..panel.cols {
                let z = zero_point(panel.column + j);
                corrections[panel.padded_column + j] = (k as i32).wrapping_mul(z);
                if per_column {
                    column_zero_points[panel.padded_column + j] = z;
                }
            }
        }
        let scheduled = packing.schedule(&panels, &blocks, &mut corrections, &mut stored)?;
        stored.map_or(Ok(()), StoredSchedule::end)?;

        let zero_points = match per_column {
            true => ZeroPoints::PerColumn,
            false => ZeroPoints::Tensor(if n > 0 { zero_point(0) } else { 0 }),
        };
        let inner = Inner {
            k,
            group_cols,
            groups: self.groups,
            tier,
            signed: T::SIGNED,
            activation_max: self.activation_max,
            panels: PackedPanels::new(layout, blocks, panels, &scheduled),
            zero_points,
            corrections,
            column_zero_points,
            scales: self.scales.map(OwnedPerColumn::from),
            options: PackOptions { kc: self.kc, effort: self.effort },
        };
        Ok(PackedB::from_inner(Arc::new(inner)))
    }
}

/// Products of so few columns run along K.
const MAX_DEPTH_COLS: usize = 2;
/// ... if K is long enough for that.
const MIN_DEPTH_K: usize = 2 * Layout::Depth.step_depth();
/// Share of the cost of full panels that narrow ones must not exceed: each step of A serves fewer columns.
const NARROW_PAY_BELOW: f64 = 0.97;
/// Columns of a group from which on panels are full: weights stream past single rows fastest.
const MIN_COLS_FOR_FULL_PANELS: usize = 512;
/// Share of the in-place cost that planes of A must not exceed.
const PLANES_PAY_BELOW: f64 = 0.93;
/// Columns of a group that make planes of A worth writing.
const MIN_COLS_FOR_PLANES: usize = 512;

/// Whether the packed form of `k × n` weights fits the address space: panels are padded to whole vectors, K to whole
/// steps, wide weights take two bytes each, and every column and every step has some entries of its own.
fn check_size(k: usize, n: usize, groups: usize) -> Result<()> {
    const ENTRIES: usize = 64;
    const MAX_PANEL_COLS: usize = 64;
    let padded = |x: usize| x.checked_add(ENTRIES);
    let columns = groups.checked_mul(MAX_PANEL_COLS).and_then(|x| x.checked_add(n)).and_then(padded);
    let bytes = columns.zip(padded(k)).and_then(|(c, k)| c.checked_mul(k)).and_then(|x| x.checked_mul(4));
    match bytes {
        Some(bytes) if bytes <= isize::MAX as usize => Ok(()),
        _ => Err(Error::Overflow { what: "packed weights" }),
    }
}

/// Vectors of a full panel, unless columns are fewer: the widest that the tier has micro-tiles for, which take fewest loads.
/// Where weights stream from beyond the second-level cache, the one whose micro-tiles have most rows, for each tile reads
/// all weights: with dot products, which wait for memory soonest. (One vector is left out: load ports would be the limit.)
///
/// MEASURED on Emerald Rapids, `avx512-vnni`: 10 × 4096 × 1024 gains 60 % by 32 columns instead of 64; with weights in the
/// second-level cache, 6 × 256 × 1024 loses 10 % by them.
fn widest_panel(tier: Tier, layout: Layout, group_cols: usize, streams: bool) -> usize {
    let tiles = || micro_tiles(tier).iter().filter(|t| t.layout == layout);
    let widest = tiles().map(|t| t.vectors).max().unwrap_or(1);
    let tallest = || tiles().filter(|t| t.vectors > 1).max_by_key(|t| (t.max_rows, t.vectors)).map(|t| t.vectors);
    let vectors = if streams { tallest().unwrap_or(widest) } else { widest };
    group_cols.div_ceil(layout.columns(1)).clamp(1, vectors)
}

/// The layout that wastes fewest lanes.
fn choose_layout(tier: Tier, k: usize, group_cols: usize) -> Layout {
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
struct Packing<'a, T> {
    b: MatRef<'a, T>,
    caches: Caches,
    layout: Layout,
    /// Vectors of the widest panel.
    widest: usize,
    /// Whether the tier has 32-bit dot products.
    dots: bool,
    limits: Limits,
    search: Search,
}

impl<T: Weight> Packing<'_, T> {
    /// Decides on blocks of K, vectors of a full panel and planes of A.
    fn cut(&mut self, k: usize, group_cols: usize, kc: Option<usize>) -> (Vec<Block>, usize) {
        let depth = self.layout.step_depth();
        // Without columns there is nothing to cut, however deep: no more blocks than one.
        let k = if group_cols == 0 { 0 } else { k };
        let most = kc.unwrap_or_else(|| default_kc(self.caches, self.layout, self.widest)).min(MAX_KC);
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
            packing.schedule_block(&panel, block).schedule
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
            if (left.cost(1) + right.cost(1)) / 2.0 < NARROW_PAY_BELOW * full.cost(widest) {
                return choice(&left, 1, false);
            }
        }
        if group_cols >= MIN_COLS_FOR_PLANES {
            let planes = sample(0, widest, true);
            if planes.cost(widest) < PLANES_PAY_BELOW * full.cost(widest) {
                return choice(&planes, widest, true);
            }
        }
        choice(&full, widest, false)
    }

    fn schedule_block(&self, panel: &Panel, block: Block) -> Scheduled {
        let weights = self.gather(panel, block);
        let steps = self.steps(&weights, panel, block);
        let schedule = match self.dots {
            true => schedule_dots(weights.len() / steps.bytes_per_step, steps.whole),
            false => schedule(steps, self.limits, self.search),
        };
        Scheduled { weights, schedule }
    }

    fn stored_block(&self, panel: &Panel, block: Block, stored: &mut StoredSchedule<'_>) -> Result<Scheduled> {
        let weights = self.gather(panel, block);
        let schedule = stored.next_block(self.steps(&weights, panel, block), self.limits)?;
        Ok(Scheduled { weights, schedule })
    }

    fn steps<'w>(&self, weights: &'w [i8], panel: &Panel, block: Block) -> Steps<'w> {
        let bytes_per_step = panel.step_bytes(self.layout);
        Steps { weights, bytes_per_step, whole: block.len / self.layout.step_depth() }
    }

    /// All blocks, by panel and then block, as stored or searched for; subtracts column sums from `corrections`.
    fn schedule(
        &self,
        panels: &[Panel],
        blocks: &[Block],
        corrections: &mut [i32],
        stored: &mut Option<StoredSchedule<'_>>,
    ) -> Result<Vec<Scheduled>> {
        let mut all = Vec::with_capacity(panels.len() * blocks.len());
        for panel in panels {
            for block in blocks {
                let scheduled = match stored {
                    Some(stored) => self.stored_block(panel, *block, stored)?,
                    None => self.schedule_block(panel, *block),
                };
                self.subtract_column_sums(&scheduled.weights, panel, corrections);
                all.push(scheduled);
            }
        }
        Ok(all)
    }

    /// The vectors of a block's steps in natural order. Elements that a step repeats are zero.
    fn gather(&self, panel: &Panel, block: Block) -> Vec<i8> {
        let depth = self.layout.step_depth();
        let step_bytes = panel.step_bytes(self.layout);
        let mut weights = vec![0i8; block.steps(depth) * step_bytes];
        let whole = block.len / depth;
        let mut rest = 0;
        if let Some(lines) = Lines::of(self.b).filter(|_| whole > 0 && depth == KR && self.layout != Layout::Tiles) {
            gemmill_codegen::vectorize(|| lines.gather(panel, block, step_bytes, &mut weights[..whole * step_bytes]));
            rest = whole * depth;
        }
        for k in rest..block.len {
            let step = k / depth;
            let within = k - block.step_start(step, depth);
            let vectors = &mut weights[step * step_bytes..];
            for j in 0..panel.cols {
                vectors[self.layout.place(j, within)] = self.b.at(block.start + k, panel.column + j).to_i8();
            }
        }
        weights
    }

    fn subtract_column_sums(&self, weights: &[i8], panel: &Panel, corrections: &mut [i32]) {
        let corrections = &mut corrections[panel.padded_column..][..panel.cols];
        let steps = weights.chunks_exact(panel.step_bytes(self.layout));
        let depth = self.layout.step_depth();
        if depth == KR && self.layout != Layout::Tiles {
            return gemmill_codegen::vectorize(|| {
                for step in steps {
                    for (correction, quad) in corrections.iter_mut().zip(step.as_chunks::<KR>().0) {
                        // Shifts of whole lanes take fewer instructions than bytes one by one.
                        let word = i32::from_le_bytes(quad.map(|w| w as u8));
                        let sum = (word << 24 >> 24) + (word << 16 >> 24) + (word << 8 >> 24) + (word >> 24);
                        *correction = correction.wrapping_sub(sum);
                    }
                }
            });
        }
        for step in steps {
            for (j, correction) in corrections.iter_mut().enumerate() {
                for within in 0..depth {
                    *correction = correction.wrapping_sub(step[self.layout.place(j, within)].into());
                }
            }
        }
    }
}

/// Weights whose rows or columns hold their elements side by side.
#[derive(Clone, Copy)]
enum Lines<'a, T> {
    Rows { data: &'a [T], stride: usize },
    Columns { data: &'a [T], stride: usize },
}

impl<'a, T: Weight> Lines<'a, T> {
    fn of(b: MatRef<'a, T>) -> Option<Lines<'a, T>> {
        match (b.row_stride(), b.col_stride()) {
            (stride, 1) => Some(Lines::Rows { data: b.data(), stride }),
            (1, stride) => Some(Lines::Columns { data: b.data(), stride }),
            _ => None,
        }
    }

    /// Writes the whole steps of a block, KR elements of a column side by side.
    #[inline(always)]
    fn gather(self, panel: &Panel, block: Block, step_bytes: usize, weights: &mut [i8]) {
        /// Columns that are written together: a cache line.
        const TOGETHER: usize = 16;
        match self {
            Lines::Rows { data, stride } => {
                for (step, out) in weights.chunks_exact_mut(step_bytes).enumerate() {
                    let row = |i| &data[(block.start + step * KR + i) * stride + panel.column..][..panel.cols];
                    let rows: [&[T]; KR] = std::array::from_fn(row);
                    let quads = &mut out.as_chunks_mut::<KR>().0[..panel.cols];
                    for (j, quad) in quads.iter_mut().enumerate() {
                        *quad = [rows[0][j].to_i8(), rows[1][j].to_i8(), rows[2][j].to_i8(), rows[3][j].to_i8()];
                    }
                }
            }
            Lines::Columns { data, stride } => {
                for first in (0..panel.cols).step_by(TOGETHER) {
                    let cols = TOGETHER.min(panel.cols - first);
                    let column = |j| &data[(panel.column + first + j) * stride + block.start..][..block.len];
                    let columns: [&[T]; TOGETHER] = std::array::from_fn(|j| if j < cols { column(j) } else { &[] });
                    for (step, out) in weights.chunks_exact_mut(step_bytes).enumerate() {
                        let quads = &mut out.as_chunks_mut::<KR>().0[first..first + cols];
                        for (quad, column) in quads.iter_mut().zip(columns) {
                            let from: &[T; KR] = column[step * KR..].first_chunk().expect("steps are whole");
                            *quad = from.map(T::to_i8);
                        }
                    }
                }
            }
        }
    }
}
