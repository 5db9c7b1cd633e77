//! The packed form of weights, and how it is written and read back.
//!
//! ```text
//! B (K × N, one group):     columns 0..NR | NR..2·NR | ... | last panel: as many vectors as its columns need
//! panel:                    block 0 | block 1 | ...
//! block:                    bundles of its schedule, section after section
//! bundle:                   step | step | ...                        (wide: even | odd)
//! step:                     vector 0 | vector 1 | ...                Layout::vector_bytes each
//! vector (layout Columns8): b[k0..k3][col 0] b[k0..k3][col 1] ... b[k0..k3][col 7]
//! vector (layout Depth):    b[k0..k31][col]
//! tile (layout Tiles):      quad rows: see Layout::place
//! ```

use gemmill_codegen::{BlockHeader, KR, Layout, SHUFFLE_BYTES, Section, Sections};

use super::schedule::{Placed, Schedule};
use super::step::{Block, Plane, Planes};
use crate::error::Result;
use crate::machine::memory::{LINE, Lines};
use crate::machine::threads::{Threads, share};

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
        layout.columns(self.vectors).next_multiple_of(layout.lanes())
    }

    /// Whether each lane of its vectors has a column.
    pub(crate) fn is_full(&self, layout: Layout) -> bool {
        self.cols == layout.columns(self.vectors)
    }

    /// Bytes of the panel's vectors of one step.
    pub(crate) fn step_bytes(&self, layout: Layout) -> usize {
        self.vectors * layout.vector_bytes()
    }
}

/// The panels of all groups; those of layouts with a lane for each column are `panel_vectors` vectors wide, but for a
/// group's last.
pub(crate) fn panels(groups: usize, group_cols: usize, layout: Layout, panel_vectors: usize) -> Vec<Panel> {
    let mut panels = Vec::new();
    if group_cols == 0 {
        return panels;
    }
    let mut padded_column = 0;
    for group in 0..groups {
        let mut done = 0;
        while done < group_cols {
            let left = group_cols - done;
            let vectors = match layout {
                Layout::Depth => left,
                Layout::FourColumns => 1,
                _ => left.div_ceil(layout.lanes()).min(panel_vectors),
            };
            let cols = left.min(layout.columns(vectors));
            panels.push(Panel { group, column: group * group_cols + done, cols, vectors, padded_column });
            padded_column += panels.last().map_or(0, |p: &Panel| p.padded_cols(layout));
            done += cols;
        }
    }
    panels
}

/// Where a block of a panel starts.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Start {
    data: usize,
    offsets: usize,
}

/// All panels of a matrix.
#[derive(Debug, PartialEq)]
pub(crate) struct PackedPanels {
    pub(crate) layout: Layout,
    pub(crate) planes: Planes,
    pub(crate) sections: Sections,
    pub(crate) blocks: Vec<Block>,
    pub(crate) panels: Vec<Panel>,
    /// The last panel of a group, if it has fewer columns than the others.
    pub(crate) tail: Option<Panel>,
    /// By panel, then block.
    starts: Vec<Start>,
    pub(crate) headers: Vec<BlockHeader>,
    /// Offsets of all steps of A, then, from a cache line on, the vectors of B: one piece of memory, so that both lie
    /// on large pages. MEASURED on Granite Rapids, `avx2`, weights from memory: with offsets on small pages one row is
    /// 0.91 times as fast, four rows are 0.88 times.
    memory: Lines,
    /// Where the vectors start.
    data_start: usize,
}

/// The packed form from a block of a panel on, with the panels behind it.
pub(crate) struct PanelData<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) offsets: &'a [u16],
    pub(crate) headers: &'a [BlockHeader],
}

/// A panel on its way to its packed form.
pub(super) struct Draft<'c> {
    pub(super) panel: Panel,
    /// By block.
    pub(super) schedules: Vec<Schedule>,
    /// Packed vectors of all blocks, if they have been written already; empty otherwise.
    data: Vec<u8>,
    /// What column sums are subtracted from, for each column of the panel.
    pub(super) corrections: &'c mut [i32],
}

impl<'c> Draft<'c> {
    /// Drafts of panels whose columns begin with these corrections, by padded column.
    pub(super) fn of_panels(panels: &[Panel], layout: Layout, mut corrections: &'c mut [i32]) -> Vec<Draft<'c>> {
        let mut drafts = Vec::with_capacity(panels.len());
        for &panel in panels {
            let (own, others) = corrections.split_at_mut(panel.padded_cols(layout));
            let corrections_of_columns = &mut own[..panel.cols];
            drafts.push(Draft { panel, schedules: Vec::new(), data: Vec::new(), corrections: corrections_of_columns });
            corrections = others;
        }
        drafts
    }

    /// Writes the vectors of the next block, `block`, from its steps in natural order.
    pub(super) fn write(&mut self, natural: &[i8], block: usize, layout: Layout) {
        let bytes = self.block_bytes(block, layout);
        let start = self.data.len();
        self.data.resize(start + bytes, 0);
        write_block(&mut self.data[start..], natural, &self.schedules[block], self.panel.step_bytes(layout));
    }

    /// Bytes of the packed vectors of a block.
    fn block_bytes(&self, block: usize, layout: Layout) -> usize {
        self.schedules[block].vectors() * self.panel.step_bytes(layout)
    }
}

/// The planes and sections that some schedules use.
fn in_use<'a>(schedules: impl Iterator<Item = &'a Schedule>) -> (Planes, Sections) {
    let mut planes = Planes::default();
    let mut sections = Sections::default();
    for schedule in schedules {
        for section in Section::ALL.into_iter().filter(|&s| schedule.bundles(s) > 0) {
            sections.insert(section);
            for placed in &schedule.sections[section as usize] {
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
    (planes, sections)
}

impl PackedPanels {
    /// Lays out panels whose blocks are scheduled. `gather` writes a block's steps in natural order to zeros and
    /// subtracts its column sums; it is called for panels that have not been written yet.
    pub(super) fn new(
        layout: Layout,
        blocks: Vec<Block>,
        drafts: Vec<Draft<'_>>,
        threads: Threads,
        gather: &(impl Fn(&Panel, Block, &mut [i8], &mut [i32]) + Sync),
    ) -> Result<PackedPanels> {
        let (planes, sections) = in_use(drafts.iter().flat_map(|draft| &draft.schedules));
        let panels: Vec<Panel> = drafts.iter().map(|draft| draft.panel).collect();
        let tail = panels.iter().find(|p| p.cols != panels[0].cols).copied();
        let mut packed = PackedPanels {
            tail,
            layout,
            planes,
            sections,
            blocks,
            panels,
            starts: Vec::new(),
            headers: Vec::new(),
            memory: Lines::default(),
            data_start: 0,
        };
        packed.lay_out(drafts, threads, gather)?;
        Ok(packed)
    }

    /// Bytes of packed vectors.
    pub(crate) fn data_bytes(&self) -> usize {
        self.data().len()
    }

    /// Packed vectors of all panels.
    fn data(&self) -> &[u8] {
        &self.memory.of()[self.data_start..]
    }

    /// Bytes of all arrays.
    pub(crate) fn size_in_bytes(&self) -> usize {
        self.memory.size_in_bytes()
            + size_of_val(&self.headers[..])
            + size_of_val(&self.starts[..])
            + size_of_val(&self.panels[..])
    }

    /// Bytes of a panel's packed vectors, all blocks.
    pub(crate) fn panel_bytes(&self, panel: usize) -> usize {
        let start = |panel: usize| self.starts.get(panel * self.blocks.len()).map_or(self.data_bytes(), |s| s.data);
        start(panel + 1) - start(panel)
    }

    /// Block `first` of panel `panel`, and all that follows.
    pub(crate) fn panel_data(&self, panel: usize, first: usize) -> PanelData<'_> {
        let at = panel * self.blocks.len();
        let start = self.starts[at + first];
        PanelData {
            data: &self.data()[start.data..],
            offsets: &self.memory.of()[..self.data_start / size_of::<u16>()][start.offsets..],
            headers: &self.headers[at + first..],
        }
    }

    /// Writes data, offsets, headers and starts for all blocks.
    fn lay_out(
        &mut self,
        drafts: Vec<Draft<'_>>,
        threads: Threads,
        gather: &(impl Fn(&Panel, Block, &mut [i8], &mut [i32]) + Sync),
    ) -> Result<()> {
        let layout = self.layout;
        let mut offsets = Vec::new();
        let mut end = 0;
        for draft in &drafts {
            for (i, schedule) in draft.schedules.iter().enumerate() {
                self.starts.push(Start { data: end, offsets: offsets.len() });
                self.describe(schedule, self.blocks[i], &mut offsets);
                end += draft.block_bytes(i, layout);
            }
        }
        self.data_start = size_of_val(&offsets[..]).next_multiple_of(LINE);
        let mut memory = Lines::zeroed("packed weights", self.data_start + end)?;
        memory.of_mut()[..offsets.len()].copy_from_slice(&offsets);
        drop(offsets);
        let mut rest = &mut memory.of_mut::<u8>()[self.data_start..];
        let mut pieces = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let bytes = (0..draft.schedules.len()).map(|i| draft.block_bytes(i, layout)).sum();
            let (data, others) = rest.split_at_mut(bytes);
            pieces.push((draft, data));
            rest = others;
        }
        let blocks = &self.blocks;
        share(threads, pieces, &|(draft, mut data): (Draft<'_>, &mut [u8])| {
            if !draft.data.is_empty() {
                return data.copy_from_slice(&draft.data);
            }
            for (i, &block) in blocks.iter().enumerate() {
                let (this, others) = data.split_at_mut(draft.block_bytes(i, layout));
                data = others;
                assert!(draft.schedules[i].is_natural());
                gather(&draft.panel, block, bytemuck::cast_slice_mut(this), draft.corrections);
            }
        });
        self.memory = memory;
        Ok(())
    }

    /// Adds the header and the offsets of a block.
    fn describe(&mut self, schedule: &Schedule, block: Block, offsets: &mut Vec<u16>) {
        let depth = self.layout.step_depth();
        let a_advance = (self.planes.count() * block.plane_bytes(depth)) as u32;
        let mut header = BlockHeader { a_advance, ..BlockHeader::default() };
        let offset = |step, plane| block.offset(step, plane, self.planes, depth) as u16;
        for section in Section::ALL {
            header.bundles[section as usize] = schedule.bundles(section) as u32;
            for bundle in schedule.sections[section as usize].chunks_exact(section.steps()) {
                let first = bundle[0];
                match section {
                    Section::Wide => offsets.extend([offset(first.step, Plane::Even), offset(first.step, Plane::Odd)]),
                    Section::Sum8 | Section::Split | Section::Dot8 | Section::Dot => {
                        offsets.push(offset(first.step, first.plane))
                    }
                    Section::Shuffled => {
                        let shuffle = first.plane.shuffle().unwrap_or_default();
                        offsets.extend([offset(first.step, Plane::Natural), (shuffle * SHUFFLE_BYTES) as u16]);
                    }
                    _ => offsets.extend(bundle.iter().map(|p| offset(p.step, p.plane))),
                }
            }
        }
        self.headers.push(header);
    }

    /// The schedule that a block of a panel was laid out by, from its header and offsets.
    pub(crate) fn schedule(&self, panel: usize, block: usize) -> Schedule {
        let PanelData { headers, mut offsets, .. } = self.panel_data(panel, block);
        let locate = |offset: u16| {
            let (step, plane) = self.blocks[block].locate(offset.into(), self.planes, self.layout.step_depth());
            Placed { step, plane }
        };
        let mut schedule = Schedule::default();
        for section in Section::ALL {
            let steps = &mut schedule.sections[section as usize];
            for _ in 0..headers[0].bundles[section as usize] {
                let first = locate(offsets[0]);
                match section {
                    Section::Shuffled => {
                        let shuffle = Some(usize::from(offsets[1]) / SHUFFLE_BYTES);
                        let pairing = Plane::PAIRINGS.into_iter().find(|p| p.shuffle() == shuffle);
                        steps.push(Placed { step: first.step, plane: pairing.unwrap_or(Plane::Natural) });
                    }
                    _ if section.is_run() => {
                        steps.extend((0..section.steps()).map(|i| Placed { step: first.step + i, ..first }));
                    }
                    _ => steps.extend(offsets[..section.steps()].iter().map(|&offset| locate(offset))),
                }
                offsets = &offsets[section.offsets()..];
            }
        }
        schedule
    }

    /// Calls `f(k, column, weight)` for every weight, from the packed form alone.
    pub(crate) fn for_each_weight(&self, mut f: impl FnMut(usize, usize, i8)) {
        let depth = self.layout.step_depth();
        for (i, panel) in self.panels.iter().enumerate() {
            let bytes_per_step = panel.step_bytes(self.layout);
            for (j, block) in self.blocks.iter().enumerate() {
                let mut data = self.panel_data(i, j).data;
                let schedule = self.schedule(i, j);
                for section in Section::ALL {
                    for placed in &schedule.sections[section as usize] {
                        let (order, start) = (placed.plane.order(), block.step_start(placed.step, depth));
                        let repeated = placed.step * depth - start;
                        for column in 0..panel.cols {
                            for within in repeated..depth.min(block.len) {
                                let place = self.layout.place(column, within);
                                let weight = stored(data, bytes_per_step, section, order, place);
                                f(block.start + start + within, panel.column + column, weight);
                            }
                        }
                        data = &data[bytes_per_step * section.vectors() / section.steps()..];
                    }
                }
            }
        }
    }
}

/// Writes a block's steps, section after section.
fn write_block(mut data: &mut [u8], natural: &[i8], schedule: &Schedule, bytes_per_step: usize) {
    for section in Section::ALL {
        for placed in &schedule.sections[section as usize] {
            let (step, rest) = data.split_at_mut(bytes_per_step * section.vectors() / section.steps());
            write_step(step, &natural[placed.step * bytes_per_step..][..bytes_per_step], section, *placed);
            data = rest;
        }
    }
}

/// Writes a step's vectors in the order of its plane; a wide step as 16-bit numbers, even ones first.
fn write_step(step: &mut [u8], natural: &[i8], section: Section, placed: Placed) {
    if section.vectors() > section.steps() {
        gemmill_codegen::vectorize(|| {
            let (even, odd) = step.as_chunks_mut::<2>().0.split_at_mut(natural.len() / 2);
            for (i, pair) in natural.as_chunks::<2>().0.iter().enumerate() {
                even[i] = i16::from(pair[0]).to_le_bytes();
                odd[i] = i16::from(pair[1]).to_le_bytes();
            }
        });
    } else if placed.plane.shuffle().is_none() {
        step.copy_from_slice(bytemuck::cast_slice(natural));
    } else {
        let order = placed.plane.order();
        for (to, quad) in step.as_chunks_mut::<KR>().0.iter_mut().zip(natural.as_chunks::<KR>().0) {
            *to = order.map(|i| quad[i] as u8);
        }
    }
}

/// The weight that stands at `place` in natural order, from a step as [`write_step`] wrote it.
fn stored(data: &[u8], bytes_per_step: usize, section: Section, order: [usize; KR], place: usize) -> i8 {
    let (quad, within) = (place / KR, place % KR);
    if section.vectors() > section.steps() {
        data[within % 2 * bytes_per_step + quad * KR + within / 2 * 2] as i8
    } else {
        let at = order.iter().position(|&i| i == within).unwrap_or(within);
        data[quad * KR + at] as i8
    }
}
