//! Schedules in bytes: what the search found, so that loading need not search.
//!
//! ```text
//! scheme            u8       1: sums of pairs in 16 bits, as below
//! layout            u8       1 columns, 2 four columns, 3 depth
//! lanes             u8       sums of a vector: 8, or 16
//! A is read         u8       0 in place, 1 from planes
//! vectors           u32      of the widest panel
//! block             u32      elements of K in a block
//! length            u64      bytes that follow
//! for each panel, for each block:
//!   bundles         u16 × 8  of sections sum8, sum4, sum3, sum2, narrow, shuffled, wide, split
//!   for each section, for each bundle:
//!     placed        u16 × steps of the section (sum8: the first alone); step + plane * 8192
//!                            planes: 0 natural, 1 cross, 2 outer, 3 even
//! ```
//!
//! Scheme, layout and lanes identify the form that a schedule is for; tiers that share a form share schedules. To load
//! for another form, the schedule is passed over. Tiers with 32-bit dot products need no schedule, and write none.

use gemmill_codegen::{Layout, Section, Tier, sections};

use crate::bytes::read::Reader;
use crate::error::{Error, Result};
use crate::machine::memory::require;
use crate::weights::int8::packed::PackedB;
use crate::weights::int8::schedule::{Placed, Schedule};
use crate::weights::int8::step::{Block, MAX_KC, Plane};

/// Sums of pairs in 16 bits, in these sections.
const PAIR_SUMS: u8 = 1;
const SECTIONS: [Section; 8] = [
    Section::Sum8,
    Section::Sum4,
    Section::Sum3,
    Section::Sum2,
    Section::Narrow,
    Section::Shuffled,
    Section::Wide,
    Section::Split,
];
const PLANES: [Plane; 4] = [Plane::Natural, Plane::Cross, Plane::Outer, Plane::Even];

const IN_PLACE: u8 = 0;
const FROM_PLANES: u8 = 1;

/// Bits of a placed step that are the step.
const STEP_BITS: u32 = 13;
const STEP_MASK: u16 = (1 << STEP_BITS) - 1;
// The last block may be longer by less than a step, of four elements at least.
const _: () = assert!(MAX_KC / 4 < STEP_MASK as usize);

/// What a schedule has to be for: scheme, layout, lanes. `None` for a form whose schedules are not stored: those of
/// 32-bit dot products follow from the number of steps.
fn form(tier: Tier, layout: Layout) -> Option<[u8; 3]> {
    if sections(tier).iter().any(Section::is_dot) {
        return None;
    }
    let code = match layout {
        Layout::Columns8 | Layout::Columns16 => 1,
        Layout::FourColumns => 2,
        Layout::Depth => 3,
        // Tiles have dot products alone.
        _ => return None,
    };
    Some([PAIR_SUMS, code, layout.lanes() as u8])
}

/// The schedule of packed weights, unless there are none or their form has no stored schedules.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(super) fn write(packed: &PackedB) -> Result<Option<Vec<u8>>> {
    let panels = &packed.inner().panels;
    let first = panels.panels.first().zip(panels.blocks.first().filter(|b| b.len > 0));
    let Some(((first_panel, first_block), form)) = first.zip(form(packed.tier(), panels.layout)) else {
        return Ok(None);
    };
    // A step of a panel takes 16 bytes for a while, in pieces too small to be asked for, and two in the end.
    let steps: usize = panels.blocks.iter().map(|block| block.steps(panels.layout.step_depth())).sum();
    require("schedule of the weights", steps.saturating_mul(panels.panels.len()).saturating_mul(24))?;
    let schedules: Vec<Schedule> = (0..panels.panels.len())
        .flat_map(|panel| (0..panels.blocks.len()).map(move |block| panels.schedule(panel, block)))
        .collect();
    let reads = |schedule: &Schedule| legal(schedule, IN_PLACE).is_ok();
    let reads = if schedules.iter().all(reads) { IN_PLACE } else { FROM_PLANES };
    let mut blocks = Vec::new();
    schedules.iter().for_each(|schedule| write_block(&mut blocks, schedule));
    let block_len = first_block.len.next_multiple_of(panels.layout.step_depth());
    let mut out = Vec::with_capacity(blocks.len() + 20);
    out.extend(form);
    out.push(reads);
    out.extend((first_panel.vectors as u32).to_le_bytes());
    out.extend((block_len as u32).to_le_bytes());
    out.extend((blocks.len() as u64).to_le_bytes());
    out.extend(blocks);
    Ok(Some(out))
}

fn write_block(out: &mut Vec<u8>, schedule: &Schedule) {
    for section in SECTIONS {
        out.extend((schedule.bundles(section) as u16).to_le_bytes());
    }
    for section in SECTIONS {
        for bundle in schedule.sections[section as usize].chunks_exact(section.steps()) {
            let stored = if section == Section::Sum8 { &bundle[..1] } else { bundle };
            for placed in stored {
                let plane = PLANES.iter().position(|&p| p == placed.plane).unwrap_or_default();
                out.extend((placed.step as u16 | (plane as u16) << STEP_BITS).to_le_bytes());
            }
        }
    }
}

/// A schedule in bytes of which nothing is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoredSchedule<'a> {
    form: [u8; 3],
    reads: u8,
    panel_vectors: usize,
    block_len: usize,
    blocks: Reader<'a>,
}

impl<'a> StoredSchedule<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self> {
        let form = reader.array("form of the schedule")?;
        let reads = reader.u8("how A is read")?;
        let panel_vectors = reader.u32("vectors of a panel")? as usize;
        let block_len = reader.u32("elements of a block")? as usize;
        let length = reader.size("length of the schedule")?;
        let blocks = Reader::new(reader.take("schedule", length)?);
        Ok(StoredSchedule { form, reads, panel_vectors, block_len, blocks })
    }

    /// Whether the schedule is for the form that a tier packs in this layout.
    pub(crate) fn is_for(&self, tier: Tier, layout: Layout) -> bool {
        form(tier, layout) == Some(self.form)
    }

    /// How K is cut.
    pub(crate) fn blocks(&self, k: usize, layout: Layout) -> Result<Vec<Block>> {
        let depth = layout.step_depth();
        in_range("elements of a block in the schedule", depth..=MAX_KC, self.block_len)?;
        let blocks = Block::cut(k, self.block_len, depth);
        let cut = blocks[0].len.next_multiple_of(depth);
        same("elements of a block in the schedule", cut, self.block_len)?;
        Ok(blocks)
    }

    /// Vectors of the widest panel, of which no panel may have more than `most`.
    pub(crate) fn panel_vectors(&self, most: usize) -> Result<usize> {
        in_range("vectors of a panel in the schedule", 1..=most, self.panel_vectors)?;
        Ok(self.panel_vectors)
    }

    /// The schedule of the next block, which has `count` steps, of which `whole` follow each other without overlap. It
    /// is still to be [proven](crate::weights::int8::schedule::prove) against the block's weights.
    pub(crate) fn next_block(&mut self, count: usize, whole: usize) -> Result<Schedule> {
        let mut bundles = [0usize; SECTIONS.len()];
        for of_section in &mut bundles {
            *of_section = self.blocks.u16("schedule of a block")?.into();
        }
        let scheduled = SECTIONS.iter().zip(bundles).map(|(section, bundles)| section.steps() * bundles).sum();
        same("steps in the schedule of a block", count, scheduled)?;
        let mut seen = vec![false; count];
        let mut schedule = Schedule::default();
        for (section, bundles) in SECTIONS.into_iter().zip(bundles) {
            let placed = &mut schedule.sections[section as usize];
            if section == Section::Sum8 {
                for _ in 0..bundles {
                    let first = self.placed()?;
                    placed.extend((0..section.steps()).map(|i| Placed { step: first.step + i, ..first }));
                }
                // The last step may repeat elements of the one before it: they don't follow each other.
                let last = placed.iter().map(|p| p.step).max().unwrap_or(0);
                if bundles > 0 {
                    in_range("step of a run in the schedule", 0..=whole.saturating_sub(1), last)?;
                }
            } else {
                for _ in 0..bundles * section.steps() {
                    placed.push(self.placed()?);
                }
            }
            for p in placed {
                in_range("step in the schedule", 0..=count.saturating_sub(1), p.step)?;
                same("times that a step is in the schedule before", 0, seen[p.step].into())?;
                seen[p.step] = true;
            }
        }
        legal(&schedule, self.reads)?;
        Ok(schedule)
    }

    fn placed(&mut self) -> Result<Placed> {
        let code = self.blocks.u16("schedule of a block")?;
        let plane = usize::from(code >> STEP_BITS);
        let bad_plane = || Error::OutOfRange {
            what: "plane in the schedule",
            low: 0,
            high: PLANES.len() as i64 - 1,
            given: plane as i64,
        };
        Ok(Placed { step: (code & STEP_MASK).into(), plane: *PLANES.get(plane).ok_or_else(bad_plane)? })
    }

    /// Fails unless all blocks have been read.
    pub(crate) fn end(self) -> Result<()> {
        self.blocks.end("bytes behind the schedule")
    }
}

/// Checks that sections hold steps of planes that they can read, and that A is read in place only if it can be.
fn legal(schedule: &Schedule, reads: u8) -> Result<()> {
    in_range("how A is read", IN_PLACE.into()..=FROM_PLANES.into(), reads.into())?;
    let natural = &[Plane::Natural][..];
    for section in SECTIONS {
        let planes = match (section, reads) {
            (Section::Sum8, _) | (Section::Split, IN_PLACE) => natural,
            (Section::Shuffled, IN_PLACE) => &[Plane::Cross, Plane::Outer],
            (Section::Wide, FROM_PLANES) => &[Plane::Even],
            (Section::Shuffled | Section::Wide | Section::Split, _) => &[],
            (_, IN_PLACE) => natural,
            _ => &Plane::PAIRINGS,
        };
        let bad = schedule.sections[section as usize].iter().filter(|p| !planes.contains(&p.plane)).count();
        same("steps in the schedule whose section cannot read their plane", 0, bad)?;
    }
    Ok(())
}

fn in_range(what: &'static str, range: std::ops::RangeInclusive<usize>, given: usize) -> Result<()> {
    if range.contains(&given) {
        return Ok(());
    }
    Err(Error::OutOfRange { what, low: *range.start() as i64, high: *range.end() as i64, given: given as i64 })
}

fn same(what: &'static str, expected: usize, given: usize) -> Result<()> {
    if expected == given {
        return Ok(());
    }
    Err(Error::Inconsistent { what, expected: expected as i64, given: given as i64 })
}
