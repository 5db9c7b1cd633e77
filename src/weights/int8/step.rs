//! Steps, planes and blocks: how a row of A and a column of B are cut along K.
//!
//! K is cut into blocks of at most KC, each block into *steps* of `Layout::step_depth()` elements. A kernel finds a
//! step of A at a byte offset from the block's start in the row:
//!
//! ```text
//! row of A, as the user has it (plane `Natural` only):
//!   | a0 a1 a2 a3 | a4 a5 a6 a7 | ... | aK-4 aK-3 aK-2 aK-1 |      the last step may overlap the one before it:
//!                                                                  its repeated elements meet weights of zero
//! row of packed A, one block with three planes in use:
//!   | natural: a0 a1 a2 a3 ... | even: a0 0 a2 0 ... | odd: a1 0 a3 0 ... |      each plane a whole number of steps
//! ```
//!
//! Pair products are summed over elements (0, 1) and (2, 3) of each four. The planes `Cross` and `Outer` put elements
//! into another order, so that a large weight meets a small one; the order of weights follows.

use gemmill_codegen::{KR, Layout, SHUFFLES, Section};

use crate::error::{Error, Result};

/// An arrangement of the elements of A, four by four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plane {
    /// `a0 a1 a2 a3`: pairs (0, 1) and (2, 3).
    Natural,
    /// `a0 a2 a1 a3`: pairs (0, 2) and (1, 3).
    Cross,
    /// `a0 a3 a1 a2`: pairs (0, 3) and (1, 2).
    Outer,
    /// `a0 0 a2 0`: even elements as 16-bit numbers.
    Even,
    /// `a1 0 a3 0`: odd elements as 16-bit numbers.
    Odd,
}

impl Plane {
    pub(crate) const ALL: [Plane; 5] = [Plane::Natural, Plane::Cross, Plane::Outer, Plane::Even, Plane::Odd];
    /// Planes that hold every element as a byte: the pairings to choose from.
    pub(crate) const PAIRINGS: [Plane; 3] = [Plane::Natural, Plane::Cross, Plane::Outer];

    /// For a pairing: which element of four stands at each place.
    pub(crate) const fn order(self) -> [usize; KR] {
        match self.shuffle() {
            Some(shuffle) => SHUFFLES[shuffle],
            None => [0, 1, 2, 3],
        }
    }

    /// The shuffle that makes this pairing from the natural one.
    pub(crate) const fn shuffle(self) -> Option<usize> {
        match self {
            Plane::Cross => Some(0),
            Plane::Outer => Some(1),
            _ => None,
        }
    }
}

/// The planes that packed weights read, in the order of [`Plane::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Planes(u8);

impl Planes {
    pub(crate) fn insert(&mut self, plane: Plane) {
        self.0 |= 1 << plane as u8;
    }

    pub(crate) const fn contains(self, plane: Plane) -> bool {
        self.0 >> plane as u8 & 1 == 1
    }

    pub(crate) const fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Place of a plane among those in use.
    pub(crate) const fn slot(self, plane: Plane) -> usize {
        (self.0 & ((1 << plane as u8) - 1)).count_ones() as usize
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Plane> {
        Plane::ALL.into_iter().filter(move |&p| self.contains(p))
    }

    /// Whether rows can be read from where the user has them.
    pub(crate) const fn only_natural(self) -> bool {
        self.0 & !(1 << Plane::Natural as u8) == 0
    }
}

/// A block of K.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) start: usize,
    pub(crate) len: usize,
}

impl Block {
    /// Cuts `k` into blocks of about equal length, of at most `kc` elements (but for a short rest, which joins the last
    /// one). All but the last are whole steps; the last is at least one step long if `k` is. No elements make one
    /// block.
    pub(crate) fn cut(k: usize, kc: usize, depth: usize) -> Vec<Block> {
        if k == 0 {
            return vec![Block { start: 0, len: 0 }];
        }
        let kc = (kc / depth).max(1) * depth;
        let count = k.div_ceil(kc);
        let len = k.div_ceil(count).next_multiple_of(depth);
        // Whole runs of steps, where blocks have room for them.
        let runs = len.next_multiple_of(RUN * depth);
        let len = if count > 1 && runs <= kc { runs } else { len };
        let mut blocks = Vec::with_capacity(count);
        let mut start = 0;
        while start < k {
            let rest = k - start;
            let len = if rest < len + depth { rest } else { len };
            blocks.push(Block { start, len });
            start += len;
        }
        blocks
    }

    pub(crate) fn steps(self, depth: usize) -> usize {
        self.len.div_ceil(depth)
    }

    /// Bytes of one plane of this block.
    pub(crate) fn plane_bytes(self, depth: usize) -> usize {
        self.len.next_multiple_of(depth)
    }

    /// First element of a step, from the block's start. The last step reaches back rather than past the end.
    pub(crate) fn step_start(self, step: usize, depth: usize) -> usize {
        (step * depth).min(self.len.saturating_sub(depth))
    }

    /// Byte offset of a step in a plane, from the block's start in a row of A.
    ///
    /// In the natural plane elements stand where they stand in the user's row; the others hold step after step.
    pub(crate) fn offset(self, step: usize, plane: Plane, planes: Planes, depth: usize) -> usize {
        let within = if plane == Plane::Natural { self.step_start(step, depth) } else { step * depth };
        planes.slot(plane) * self.plane_bytes(depth) + within
    }

    /// The step and the plane at a byte offset: the inverse of [`Block::offset`].
    pub(crate) fn locate(self, offset: usize, planes: Planes, depth: usize) -> (usize, Plane) {
        let (slot, within) = (offset / self.plane_bytes(depth), offset % self.plane_bytes(depth));
        (within.div_ceil(depth), planes.iter().nth(slot).unwrap_or(Plane::Natural))
    }
}

/// Steps of the sections that take them as they follow each other.
const RUN: usize = Section::Dot8.steps();

/// Most elements of K in a block: five planes of it stay within the reach of a 16-bit offset.
pub(crate) const MAX_KC: usize = 8192;

/// Packed rows of fewer bytes follow each other without padding.
const SHORT_ROW: usize = 256;

/// Bytes of one row of packed A: for each group, for each block, for each plane.
pub(crate) fn packed_row_bytes(blocks: &[Block], planes: Planes, layout: Layout, groups: usize) -> Result<usize> {
    let overflow = Error::Overflow { what: "packed row of A" };
    let bytes = group_row_bytes(blocks, planes, layout).checked_mul(groups).ok_or(overflow.clone())?;
    if bytes < SHORT_ROW {
        return Ok(bytes);
    }
    // An odd number of cache lines: rows of a micro-tile would meet in the same sets at a power of two.
    bytes.checked_next_multiple_of(64).map(|b| b | 64).ok_or(overflow)
}

/// Bytes of one group's part of a row of packed A.
pub(crate) fn group_row_bytes(blocks: &[Block], planes: Planes, layout: Layout) -> usize {
    blocks.iter().map(|b| planes.count() * b.plane_bytes(layout.step_depth())).sum()
}
