//! What a kernel of the groupwise family is, how packed weights lie, and what it is called with.

use std::fmt;

use crate::families::int8::desc::Prefetch;
use crate::machine::tier::Tier;

/// Columns of a packed panel of groupwise weights, on every tier.
pub const GROUP_PANEL: usize = 32;
/// Groups are whole chunks of so many k: what 16-bit sums hold, and what padding of K fills up.
pub const GROUP_CHUNK: usize = 32;

/// How packed weights of few bits lie in a panel of [`GROUP_PANEL`] columns: a sequence of groups, each of them:
///
/// ```text
/// scales:       32 bf16                                  by column
/// zero points:  32 u16                                   by column; only if they differ
/// weights:      for each 32 / bits k: 32 dwords          by column
///
/// dword, 4 bits:   byte b = k b in the low half, k b + 4 in the high half
/// dword, 2 bits:   byte b = k b, k b + 4, k b + 8, k b + 12, from the lowest bits on
/// ```
///
/// # Examples
/// ```
/// use gemmill_codegen::{GroupLayout, GroupZeroPoints};
/// let layout = GroupLayout { bits: 4, zero_points: GroupZeroPoints::Middle };
/// assert_eq!((layout.step_depth(), layout.middle()), (8, 8));
/// assert_eq!(layout.group_bytes(128), 64 + 128 * 32 / 2);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupLayout {
    /// Bits of a weight: 4 or 2.
    pub bits: u8,
    /// Whether columns have their own zero points.
    pub zero_points: GroupZeroPoints,
}

/// Zero points of weights, and how kernels of integers take them out of a group's sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupZeroPoints {
    /// All are [`GroupLayout::middle`]: `correction = term[g][row]`.
    Middle,
    /// Columns have their own in each group: `correction = term[g][row] * zero_point[g][column]`.
    PerColumn,
}

impl GroupLayout {
    /// The zero point of weights that have none of their own.
    pub const fn middle(&self) -> u8 {
        1 << (self.bits - 1)
    }

    /// k of a vector of packed dwords.
    pub const fn step_depth(&self) -> usize {
        32 / self.bits as usize
    }

    /// Bytes of scales and zero points of a group.
    pub const fn header_bytes(&self) -> usize {
        match self.zero_points {
            GroupZeroPoints::Middle => GROUP_PANEL * 2,
            GroupZeroPoints::PerColumn => GROUP_PANEL * 4,
        }
    }

    /// Bytes of a packed group of `depth` k, a multiple of [`GROUP_CHUNK`].
    pub const fn group_bytes(&self, depth: usize) -> usize {
        self.header_bytes() + depth / self.step_depth() * GROUP_PANEL * 4
    }

    /// Where the `in_step`-th k of a step stands in its column's dword.
    pub(crate) const fn offset_in_dword(&self, in_step: usize) -> usize {
        in_step % 4 * 8 + in_step / 4 * self.bits as usize
    }
}

/// A micro-kernel of the groupwise family: a micro-tile of `rows` rows and [`GROUP_PANEL`] columns.
///
/// # Examples
/// ```
/// use gemmill_codegen::{GroupKernelDesc, GroupLayout, GroupZeroPoints, Prefetch, Tier};
/// let layout = GroupLayout { bits: 4, zero_points: GroupZeroPoints::Middle };
/// let desc = GroupKernelDesc { tier: Tier::Avx2, layout, rows: 6, prefetch: Prefetch::None };
/// assert_eq!(desc.to_string(), "q4gemm_avx2_6x32");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKernelDesc {
    /// Instruction set.
    pub tier: Tier,
    /// How packed weights lie.
    pub layout: GroupLayout,
    /// Rows of the micro-tile, at most [`group_rows`].
    pub rows: u8,
    /// What is prefetched of packed weights.
    pub prefetch: Prefetch,
}

/// Sums that a tier's registers hold. Without 32-bit dot products each takes two registers: one of 16-bit sums, one of
/// 32-bit ones.
const fn sums(tier: Tier) -> usize {
    (tier.facts().registers - TEMPORARIES) / if tier.facts().dots { 1 } else { 2 }
}

/// Vectors of a panel's row of sums that registers hold at a time, for so many rows: 0 if there are too many rows.
#[cfg(target_arch = "x86_64")]
pub(crate) fn vectors_at_a_time(tier: Tier, rows: usize) -> usize {
    let panel = GROUP_PANEL / tier.facts().lanes;
    [4, 2, 1].into_iter().find(|&v| v <= panel && v * rows <= sums(tier)).unwrap_or(0)
}

/// Least registers besides sums: packed weights, some of them as bytes, a mask, activations. One row leaves more, and
/// keeps more activations in them.
const TEMPORARIES: usize = 4;

/// Most rows of a micro-tile of any tier: those whose strides have registers.
pub(crate) const MAX_ROWS: usize = 12;

/// Most rows of a micro-tile: MR.
///
/// # Examples
/// ```
/// use gemmill_codegen::{Tier, group_rows};
/// assert_eq!((group_rows(Tier::Avx2), group_rows(Tier::Avx512Vnni)), (6, 12));
/// ```
pub const fn group_rows(tier: Tier) -> usize {
    let sums = sums(tier);
    if sums < MAX_ROWS { sums } else { MAX_ROWS }
}

impl fmt::Display for GroupKernelDesc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "q{}gemm_{}_{}x{GROUP_PANEL}", self.layout.bits, self.tier, self.rows)?;
        f.write_str(match self.layout.zero_points {
            GroupZeroPoints::Middle => "",
            GroupZeroPoints::PerColumn => "_zero_points",
        })?;
        f.write_str(self.prefetch.suffix())
    }
}

/// Arguments of one call: a column of micro-tiles against one panel.
///
/// The kernel moves `a`, `terms` and `sums` forward as it goes: a block serves one call.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct GroupKernelArgs {
    /// Row 0 of the first micro-tile: i8, readable for all chunks of all groups.
    pub a: *const i8,
    /// Bytes from row to row of A.
    pub a_row_stride: usize,
    /// The panel.
    pub b: *const u8,
    /// Chunks of each group; none is zero.
    pub chunks: *const u32,
    /// Number of groups; not zero.
    pub groups: usize,
    /// Number of micro-tiles; not zero.
    pub tiles: usize,
    /// i32 for each group and row of each micro-tile: tile after tile, group after group.
    pub terms: *const i32,
    /// Sums that are added to: [`GROUP_PANEL`] for each row of each micro-tile.
    pub sums: *mut f32,
    /// Bytes from a line of packed weights to what is worth prefetching while it is multiplied; for kernels that
    /// prefetch.
    pub prefetch_distance: usize,
    /// Kernel's own: groups left.
    pub groups_left: usize,
}
