//! Packed weights.
//!
//! ```text
//! B (K × N, one group):     columns 0..16 | 16..32 | ... | last panel: 1..=8 columns in one vector, 9..16 in two
//! panel:                    block 0 | block 1 | ...
//! block:                    groups of its schedule, section after section
//! group:                    step | step | ...                        (wide: even | odd)
//! step:                     vector 0 | vector 1                      VECTOR_BYTES each
//! vector (layout Columns):  b[k0..k3][col 0] b[k0..k3][col 1] ... b[k0..k3][col 7]
//! vector (layout Depth):    b[k0..k31][col]
//! ```

use std::fmt;
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use gemmill_codegen::{BlockHeader, Caches, KR, LANES, Layout, SHUFFLE_BYTES, SHUFFLES, Section, Sections, Tier, VECTOR_BYTES};

use super::schedule::{Limits, Placed, Schedule, Search, Steps, schedule};
use super::step::{Block, MAX_KC, Plane, Planes};
use crate::error::{Error, Result};
use crate::matrix::{Element, MatMut, MatRef};
use crate::parameters::PerColumn;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PackEffort {
    /// One pass over neighbouring steps: for weights that are used once or twice.
    Quick,
    /// A search over all steps of a block and three pairings: some ten nanoseconds per weight, once.
    #[default]
    Full,
}

/// Weights in the layout that kernels read, with their zero points and column sums.
///
/// A handle: cloning it is cheap, and one may serve many threads at once.
///
/// # Examples
/// ```
/// use gemmill::{MatRef, PackedB};
/// let b = vec![1i8; 512 * 64];
/// let packed = PackedB::new(MatRef::row_major(&b, 512, 64)?)?;
/// assert_eq!((packed.k(), packed.n()), (512, 64));
/// assert!(packed.size_in_bytes() < 512 * 64 * 105 / 100 + 64 * 64);
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct PackedB {
    inner: Arc<Inner>,
}

/// 64 bytes on a cache line of their own.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// A strip of columns of one group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Panel {
    /// Which group.
    pub(crate) group: usize,
    /// First column, among all columns of B.
    pub(crate) column: usize,
    /// Columns that exist.
    pub(crate) cols: usize,
    /// Vectors per step.
    pub(crate) vectors: usize,
    /// Where the panel's columns start in the per-column arrays, which have all columns of all panels.
    pub(crate) padded_column: usize,
}

impl Panel {
    /// Entries of the panel in per-column arrays: whole vectors.
    pub(crate) fn padded_cols(&self, layout: Layout) -> usize {
        layout.columns(self.vectors).next_multiple_of(LANES)
    }
}

/// Where a block of a panel starts.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Start {
    data: usize,
    offsets: usize,
}

#[derive(Debug, PartialEq)]
struct Inner {
    k: usize,
    group_cols: usize,
    groups: usize,
    tier: Tier,
    signed: bool,
    activation_max: u8,
    layout: Layout,
    planes: Planes,
    sections: Sections,
    blocks: Vec<Block>,
    panels: Vec<Panel>,
    /// By panel, then block.
    starts: Vec<Start>,
    headers: Vec<BlockHeader>,
    offsets: Vec<u16>,
    data: Vec<Line>,
    zero_points: ZeroPoints,
    /// By padded column: `K * zero_point - Σ_k b`, the factor of A's zero point.
    corrections: Vec<i32>,
    /// By padded column, of i8 weights; empty where they are all alike.
    column_zero_points: Vec<i32>,
}

/// Zero points of B as i8 kernels see them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ZeroPoints {
    /// One for all columns; often zero.
    Tensor(i32),
    /// Columns differ.
    PerColumn,
}

/// Packs weights with options. See [`PackedB::builder`].
#[derive(Debug, Clone)]
pub struct PackBuilder<'a, T> {
    b: MatRef<'a, T>,
    groups: usize,
    zero_points: PerColumn<'a, i32>,
    activation_max: u8,
    tier: Option<Tier>,
    effort: PackEffort,
    kc: Option<usize>,
}

impl PackedB {
    /// Packs a `K × N` matrix of i8 or u8 weights with zero points of zero.
    ///
    /// # Errors
    /// As [`PackBuilder::build`].
    pub fn new<T: Weight>(b: MatRef<'_, T>) -> Result<PackedB> {
        PackedB::builder(b).build()
    }

    /// Packs with options: groups, zero points, a bound of the activations, the tier.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackedB, PerColumn};
    /// let b = [1u8, 2, 3, 4, 5, 6, 7, 8];
    /// // Two groups of two columns each, stored side by side.
    /// let packed = PackedB::builder(MatRef::row_major(&b, 2, 4)?)
    ///     .groups(2)
    ///     .zero_points(PerColumn::Group(&[128, 127]))
    ///     .build()?;
    /// assert_eq!((packed.k(), packed.n(), packed.groups()), (2, 4, 2));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn builder<T: Weight>(b: MatRef<'_, T>) -> PackBuilder<'_, T> {
        PackBuilder {
            b,
            groups: 1,
            zero_points: PerColumn::Tensor(0),
            activation_max: u8::MAX,
            tier: None,
            effort: PackEffort::Full,
            kc: None,
        }
    }

    /// Depth of the product, per group.
    pub fn k(&self) -> usize {
        self.inner.k
    }

    /// Columns, of all groups together.
    pub fn n(&self) -> usize {
        self.inner.group_cols * self.inner.groups
    }

    /// Number of groups.
    pub fn groups(&self) -> usize {
        self.inner.groups
    }

    /// The tier that the weights were packed for.
    pub fn tier(&self) -> Tier {
        self.inner.tier
    }

    /// Whether the weights were i8 rather than u8.
    pub fn is_signed(&self) -> bool {
        self.inner.signed
    }

    /// The largest activation that the 16-bit sums were proven for.
    pub fn activation_max(&self) -> u8 {
        self.inner.activation_max
    }

    /// Bytes that the packed form takes, per-column arrays included.
    pub fn size_in_bytes(&self) -> usize {
        let inner = &*self.inner;
        size_of_val(&inner.data[..])
            + size_of_val(&inner.offsets[..])
            + size_of_val(&inner.headers[..])
            + size_of_val(&inner.starts[..])
            + size_of_val(&inner.panels[..])
            + size_of_val(&inner.corrections[..])
            + size_of_val(&inner.column_zero_points[..])
    }

    /// Which sequences the weights were proven fit for.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackedB};
    /// let b = vec![3i8; 1024 * 16];
    /// let packed = PackedB::new(MatRef::row_major(&b, 1024, 16)?)?;
    /// assert_eq!(packed.sequences().to_string(), "sum8 100%");
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn sequences(&self) -> SequenceSummary {
        let mut steps = [0u64; Section::ALL.len()];
        for header in &self.inner.headers {
            for section in Section::ALL {
                steps[section as usize] += u64::from(header.groups[section as usize]) * section.steps() as u64;
            }
        }
        SequenceSummary { steps }
    }

    /// Writes the weights as they were before packing.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if `b` is not `K × N`, [`Error::Unsupported`] if the type is not the one that was packed.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatMut, MatRef, PackedB};
    /// let b = [1i8, -2, 3, -4, 5, -6];
    /// let packed = PackedB::new(MatRef::row_major(&b, 3, 2)?)?;
    /// let mut back = [0i8; 6];
    /// packed.unpack(&mut MatMut::row_major(&mut back, 3, 2)?)?;
    /// assert_eq!(back, b);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn unpack<T: Weight>(&self, b: &mut MatMut<'_, T>) -> Result<()> {
        let inner = &*self.inner;
        if T::SIGNED != inner.signed {
            return Err(Error::Unsupported { what: "unpack: the weights were packed from the other 8-bit type" });
        }
        expect("rows of the unpacked matrix", inner.k, b.rows())?;
        expect("columns of the unpacked matrix", self.n(), b.cols())?;
        let stride = b.row_stride();
        let out = b.data_mut();
        let write = |k: usize, column: usize, x: i8| out[k * stride + column] = T::from_i8(x);
        inner.for_each_weight(write);
        Ok(())
    }

    pub(crate) fn view(&self) -> PackedView<'_> {
        PackedView { inner: &self.inner }
    }
}

/// Two handles are equal if they pack the same weights, zero points and layout.
impl PartialEq for PackedB {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner) || *self.inner == *other.inner
    }
}

pub(crate) fn expect(what: &'static str, expected: usize, given: usize) -> Result<()> {
    if expected == given { Ok(()) } else { Err(Error::Mismatch { what, expected, given }) }
}

impl<'a, T: Weight> PackBuilder<'a, T> {
    /// Cuts the columns into `groups` blocks of N / groups each, multiplied with as many blocks of K columns of A.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Zero points, in the range of the weights' type.
    pub fn zero_points(mut self, zero_points: PerColumn<'a, i32>) -> Self {
        self.zero_points = zero_points;
        self
    }

    /// Declares that u8 activations will not exceed `max`: more 16-bit sums are safe then. Products check it.
    pub fn activation_max(mut self, max: u8) -> Self {
        self.activation_max = max;
        self
    }

    /// Packs for this tier instead of the best one.
    pub fn tier(mut self, tier: Tier) -> Self {
        self.tier = Some(tier);
        self
    }

    /// How hard to search for fast sequences.
    pub fn effort(mut self, effort: PackEffort) -> Self {
        self.effort = effort;
        self
    }

    /// Most elements of K in a block, instead of what fits this CPU's first-level cache. A multiple of 4 is used.
    pub fn kc(mut self, kc: usize) -> Self {
        self.kc = Some(kc);
        self
    }

    /// Packs.
    ///
    /// # Errors
    /// [`Error::Groups`] if N is not divisible by the groups, [`Error::Mismatch`] if there are not as many zero points
    /// as groups or columns, [`Error::OutOfRange`] if one is outside the weights' type, [`Error::Tier`] if the
    /// CPU lacks the tier, [`Error::Overflow`] if the packed form would not fit the address space.
    pub fn build(self) -> Result<PackedB> {
        let (k, n) = (self.b.rows(), self.b.cols());
        if self.groups == 0 || n % self.groups != 0 {
            return Err(Error::Groups { cols: n, groups: self.groups });
        }
        let tier = match self.tier {
            Some(tier) => tier.require()?,
            None => Tier::best()?,
        };
        let (low, high) = if T::SIGNED { (-128, 127) } else { (0, 255) };
        let moved = if T::SIGNED { 0 } else { -128 };
        let zero_points = self.zero_points.expand("zero points of B", n, self.groups)?;
        for z in zero_points.iter() {
            if !(low..=high).contains(&z) {
                let what = "zero point of B";
                return Err(Error::OutOfRange { what, low: low.into(), high: high.into(), given: z.into() });
            }
        }
        let zero_point = |column: usize| zero_points.get(column) + moved;
        let group_cols = n / self.groups;
        let layout = if (1..=MAX_DEPTH_COLS).contains(&group_cols) && k >= MIN_DEPTH_K { Layout::Depth } else { Layout::Columns };
        let panels = panels(self.groups, group_cols, layout);
        let padded = panels.last().map_or(0, |p| p.padded_column + p.padded_cols(layout));
        // Wide weights take two bytes each; a packed row of A five planes.
        k.checked_mul(padded).and_then(|x| x.checked_mul(4)).ok_or(Error::Overflow { what: "packed weights" })?;

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
        let search = match self.effort {
            PackEffort::Quick => Search { window: 1, planes: false, reorder: false },
            PackEffort::Full => Search { window: 32, planes: false, reorder: true },
        };
        let mut packing = Packing { b: self.b, layout, limits: Limits::for_activations(self.activation_max), search };
        let kc = self.kc.unwrap_or_else(|| default_kc(Caches::of_this_cpu())).min(MAX_KC);
        let sample = packing.choose_planes(&panels, Block::cut(k, kc, layout.step_depth())[0]);
        // Wide weights take twice the room in the first-level cache.
        let kc = if self.kc.is_some() { kc } else { (kc as f64 / sample.vectors_per_step()) as usize };
        let blocks = Block::cut(k, kc, layout.step_depth());
        let scheduled = packing.schedule(&panels, &blocks, &mut corrections);

        let mut planes = Planes::default();
        let mut sections = Sections::default();
        for block in &scheduled {
            for section in Section::ALL.into_iter().filter(|&s| block.schedule.groups(s) > 0) {
                sections.insert(section);
                for placed in &block.schedule.sections[section as usize] {
                    match section {
                        Section::Wide => {
                            planes.insert(Plane::Even);
                            planes.insert(Plane::Odd);
                        }
                        Section::Shuffled | Section::Split => planes.insert(Plane::Natural),
                        _ => planes.insert(placed.plane),
                    }
                }
            }
        }
        let mut inner = Inner {
            k,
            group_cols,
            groups: self.groups,
            tier,
            signed: T::SIGNED,
            activation_max: self.activation_max,
            layout,
            planes,
            sections,
            blocks,
            panels,
            starts: Vec::new(),
            headers: Vec::new(),
            offsets: Vec::new(),
            data: Vec::new(),
            zero_points: if per_column { ZeroPoints::PerColumn } else { ZeroPoints::Tensor(if n > 0 { zero_point(0) } else { 0 }) },
            corrections,
            column_zero_points,
        };
        inner.lay_out(&scheduled);
        Ok(PackedB { inner: Arc::new(inner) })
    }
}

/// Products of so few columns run along K.
const MAX_DEPTH_COLS: usize = 4;
/// ... if K is long enough for that.
const MIN_DEPTH_K: usize = 2 * VECTOR_BYTES;
/// Share of the in-place cost that planes of A must not exceed.
const PLANES_PAY_BELOW: f64 = 0.93;
/// Columns of a group that make planes of A worth writing.
const MIN_COLS_FOR_PLANES: usize = 256;
/// Vectors of a full panel.
const PANEL_VECTORS: usize = 2;

/// Elements of K such that a block of a full panel takes half of the first-level cache.
fn default_kc(caches: Caches) -> usize {
    (caches.l1 / 2 / (PANEL_VECTORS * LANES)).clamp(256, 4096)
}

fn panels(groups: usize, group_cols: usize, layout: Layout) -> Vec<Panel> {
    let mut panels = Vec::new();
    let mut padded_column = 0;
    for group in 0..groups {
        let mut done = 0;
        while done < group_cols {
            let left = group_cols - done;
            let vectors = match layout {
                Layout::Depth => left,
                Layout::Columns => left.div_ceil(LANES).min(PANEL_VECTORS),
            };
            let cols = left.min(layout.columns(vectors));
            panels.push(Panel { group, column: group * group_cols + done, cols, vectors, padded_column });
            padded_column += panels.last().map_or(0, |p: &Panel| p.padded_cols(layout));
            done += cols;
        }
    }
    panels
}

/// What scheduling needs to know.
struct Packing<'a, T> {
    b: MatRef<'a, T>,
    layout: Layout,
    limits: Limits,
    search: Search,
}

/// A block of a panel: its steps' vectors in natural order, and their schedule.
struct Scheduled {
    weights: Vec<i8>,
    schedule: Schedule,
}

impl<T: Weight> Packing<'_, T> {
    /// Decides by one block of the first panel whether A is to be written to planes. That costs a pass over A for each,
    /// which must be small against the product, and first-level cache, which must be paid for by faster sequences.
    fn choose_planes(&mut self, panels: &[Panel], block: Block) -> Schedule {
        let Some(panel) = panels.first() else { return Schedule::default() };
        let in_place = self.schedule_block(panel, block).schedule;
        let group_cols = panels.iter().filter(|p| p.group == 0).map(|p| p.cols).sum::<usize>();
        if group_cols < MIN_COLS_FOR_PLANES {
            return in_place;
        }
        self.search.planes = true;
        let planes = self.schedule_block(panel, block).schedule;
        if planes.cost(panel.vectors) < PLANES_PAY_BELOW * in_place.cost(panel.vectors) {
            return planes;
        }
        self.search.planes = false;
        in_place
    }

    fn schedule_block(&self, panel: &Panel, block: Block) -> Scheduled {
        let weights = self.gather(panel, block);
        let bytes_per_step = panel.vectors * VECTOR_BYTES;
        let steps = Steps { weights: &weights, bytes_per_step, whole: block.len / self.layout.step_depth() };
        let schedule = schedule(steps, self.limits, self.search);
        Scheduled { weights, schedule }
    }

    /// All blocks, by panel and then block; subtracts column sums from `corrections`.
    fn schedule(&self, panels: &[Panel], blocks: &[Block], corrections: &mut [i32]) -> Vec<Scheduled> {
        let mut all = Vec::with_capacity(panels.len() * blocks.len());
        for panel in panels {
            for block in blocks {
                let scheduled = self.schedule_block(panel, *block);
                self.subtract_column_sums(&scheduled.weights, panel, corrections);
                all.push(scheduled);
            }
        }
        all
    }

    /// The vectors of a block's steps in natural order. Elements that a step repeats are zero.
    fn gather(&self, panel: &Panel, block: Block) -> Vec<i8> {
        let depth = self.layout.step_depth();
        let mut weights = vec![0i8; block.steps(depth) * panel.vectors * VECTOR_BYTES];
        for k in 0..block.len {
            let step = k / depth;
            let within = k - block.step_start(step, depth);
            let vectors = &mut weights[step * panel.vectors * VECTOR_BYTES..];
            for j in 0..panel.cols {
                vectors[place(self.layout, j, within)] = self.b.at(block.start + k, panel.column + j).to_i8();
            }
        }
        weights
    }

    fn subtract_column_sums(&self, weights: &[i8], panel: &Panel, corrections: &mut [i32]) {
        let corrections = &mut corrections[panel.padded_column..];
        for step in weights.chunks_exact(panel.vectors * VECTOR_BYTES) {
            for (j, correction) in corrections.iter_mut().enumerate().take(panel.cols) {
                for within in 0..self.layout.step_depth() {
                    *correction = correction.wrapping_sub(step[place(self.layout, j, within)].into());
                }
            }
        }
    }
}

/// Where element `within` of column `j` stands in the vectors of a step.
fn place(layout: Layout, j: usize, within: usize) -> usize {
    match layout {
        Layout::Columns => j * KR + within,
        Layout::Depth => j * VECTOR_BYTES + within,
    }
}

impl Inner {
    /// Writes data, offsets, headers and starts for all blocks.
    fn lay_out(&mut self, scheduled: &[Scheduled]) {
        let depth = self.layout.step_depth();
        let mut data: Vec<u8> = Vec::new();
        for (i, block_of_panel) in scheduled.iter().enumerate() {
            let panel = self.panels[i / self.blocks.len()];
            let block = self.blocks[i % self.blocks.len()];
            self.starts.push(Start { data: data.len(), offsets: self.offsets.len() });
            let mut header = BlockHeader {
                a_advance: (self.planes.count() * block.plane_bytes(depth)) as u32,
                ..BlockHeader::default()
            };
            let offset = |step, plane| block.offset(step, plane, self.planes, depth) as u16;
            for section in Section::ALL {
                header.groups[section as usize] = block_of_panel.schedule.groups(section) as u32;
                for group in block_of_panel.schedule.sections[section as usize].chunks_exact(section.steps()) {
                    let first = group[0];
                    match section {
                        Section::Wide => {
                            self.offsets.extend([offset(first.step, Plane::Even), offset(first.step, Plane::Odd)])
                        }
                        Section::Sum8 | Section::Split => self.offsets.push(offset(first.step, first.plane)),
                        Section::Shuffled => {
                            let order = SHUFFLES.iter().position(|&o| o == first.plane.order()).unwrap_or(0);
                            self.offsets.extend([
                                offset(first.step, Plane::Natural),
                                (order * SHUFFLE_BYTES) as u16,
                            ]);
                        }
                        _ => self.offsets.extend(group.iter().map(|p| offset(p.step, p.plane))),
                    }
                    for placed in group {
                        let bytes_per_step = panel.vectors * VECTOR_BYTES;
                        let natural = &block_of_panel.weights[placed.step * bytes_per_step..][..bytes_per_step];
                        append_step(&mut data, natural, section, *placed);
                    }
                }
            }
            self.headers.push(header);
        }
        self.data = vec![Line([0; 64]); data.len().div_ceil(64)];
        bytemuck::cast_slice_mut::<Line, u8>(&mut self.data)[..data.len()].copy_from_slice(&data);
    }

    /// Calls `f(k, column, weight)` for every weight, from the packed form alone.
    fn for_each_weight(&self, mut f: impl FnMut(usize, usize, i8)) {
        let depth = self.layout.step_depth();
        let data: &[u8] = bytemuck::cast_slice(&self.data);
        for (i, start) in self.starts.iter().enumerate() {
            let panel = self.panels[i / self.blocks.len()];
            let block = self.blocks[i % self.blocks.len()];
            let bytes_per_step = panel.vectors * VECTOR_BYTES;
            let mut data = &data[start.data..];
            let mut offsets = &self.offsets[start.offsets..];
            for section in Section::ALL {
                for _ in 0..self.headers[i].groups[section as usize] {
                    for s in 0..section.steps() {
                        let natural_run = section == Section::Sum8;
                        let offset = usize::from(offsets[if natural_run { 0 } else { s }]);
                        let slot = offset / block.plane_bytes(depth);
                        let order = match section {
                            Section::Shuffled => SHUFFLES[usize::from(offsets[1]) / SHUFFLE_BYTES],
                            _ => self.planes.iter().nth(slot).unwrap_or(Plane::Natural).order(),
                        };
                        let within_plane = offset - slot * block.plane_bytes(depth);
                        let step = within_plane.div_ceil(depth) + if natural_run { s } else { 0 };
                        let repeated = step * depth - block.step_start(step, depth);
                        for j in 0..panel.cols {
                            for within in repeated..depth.min(block.len) {
                                let k = block.start + block.step_start(step, depth) + within;
                                let place = place(self.layout, j, within);
                                f(k, panel.column + j, stored(data, bytes_per_step, section, order, place));
                            }
                        }
                        data = &data[bytes_per_step * section.vectors() / section.steps()..];
                    }
                    offsets = &offsets[section.offsets()..];
                }
            }
        }
    }
}

/// Appends a step's vectors in the order of its plane; a wide step as 16-bit numbers, even ones first.
fn append_step(data: &mut Vec<u8>, natural: &[i8], section: Section, placed: Placed) {
    if section.vectors() > section.steps() {
        for odd in 0..2 {
            let half = natural.chunks_exact(2).flat_map(|pair| i16::from(pair[odd]).to_le_bytes());
            data.extend(half);
        }
    } else {
        let order = placed.plane.order();
        data.extend(natural.chunks_exact(KR).flat_map(|quad| order.map(|i| quad[i] as u8)));
    }
}

/// The weight that stands at `place` in natural order, from a step as [`append_step`] wrote it.
fn stored(data: &[u8], bytes_per_step: usize, section: Section, order: [usize; KR], place: usize) -> i8 {
    let (quad, within) = (place / KR, place % KR);
    if section.vectors() > section.steps() {
        data[within % 2 * bytes_per_step + quad * KR + within / 2 * 2] as i8
    } else {
        let at = order.iter().position(|&i| i == within).unwrap_or(within);
        data[quad * KR + at] as i8
    }
}

/// What the layers below the API see of packed weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PackedView<'a> {
    inner: &'a Inner,
}

/// The packed form of some blocks of a panel.
pub(crate) struct PanelData<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) offsets: &'a [u16],
    pub(crate) headers: &'a [BlockHeader],
}

impl<'a> PackedView<'a> {
    pub(crate) fn layout(&self) -> Layout {
        self.inner.layout
    }

    pub(crate) fn planes(&self) -> Planes {
        self.inner.planes
    }

    pub(crate) fn sections(&self) -> Sections {
        self.inner.sections
    }

    pub(crate) fn blocks(&self) -> &'a [Block] {
        &self.inner.blocks
    }

    pub(crate) fn panels(&self) -> &'a [Panel] {
        &self.inner.panels
    }

    pub(crate) fn groups(&self) -> usize {
        self.inner.groups
    }

    pub(crate) fn group_cols(&self) -> usize {
        self.inner.group_cols
    }

    pub(crate) fn zero_points(&self) -> ZeroPoints {
        self.inner.zero_points
    }

    /// By padded column: `K * zero_point - Σ_k b`.
    pub(crate) fn corrections(&self) -> &'a [i32] {
        &self.inner.corrections
    }

    /// By padded column; empty where zero points are all alike.
    pub(crate) fn column_zero_points(&self) -> &'a [i32] {
        &self.inner.column_zero_points
    }

    /// Blocks `first..` of panel `panel`.
    pub(crate) fn panel_data(&self, panel: usize, first: usize) -> PanelData<'a> {
        let at = panel * self.inner.blocks.len();
        let start = self.inner.starts[at + first];
        PanelData {
            data: &bytemuck::cast_slice(&self.inner.data)[start.data..],
            offsets: &self.inner.offsets[start.offsets..],
            headers: &self.inner.headers[at + first..at + self.inner.blocks.len()],
        }
    }
}

/// How many steps run in each sequence. See [`PackedB::sequences`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceSummary {
    steps: [u64; Section::ALL.len()],
}

impl SequenceSummary {
    /// The sequences in use and the share of steps that each of them multiplies.
    pub fn shares(&self) -> impl Iterator<Item = (Section, f64)> + '_ {
        let total = self.steps.iter().sum::<u64>().max(1) as f64;
        Section::ALL
            .into_iter()
            .map(move |s| (s, self.steps[s as usize] as f64 / total))
            .filter(|&(_, share)| share > 0.0)
    }
}

impl fmt::Display for SequenceSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (section, share) in self.shares() {
            write!(f, "{separator}{} {:.0}%", section.name(), share * 100.0)?;
            separator = " ";
        }
        if separator.is_empty() { f.write_str("empty") } else { Ok(()) }
    }
}
