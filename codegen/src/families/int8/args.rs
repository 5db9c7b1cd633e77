//! The argument block of a kernel: plain data, shared by the caller and the generated code through `offset_of!`.

use crate::families::int8::desc::Section;
use crate::kernel::grid::GridArgs;

/// What one block of K of a packed panel holds, section by section.
///
/// ```text
/// panel:    | block 0                          | block 1 ...
/// vectors:  | sum8 | sum4 | .. | narrow | wide | sum8 | ...        `vectors` per step
/// offsets:  | sum8 | sum4 | .. | narrow | wide | sum8 | ...        u16 each: bytes from the block's start in A's row
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct BlockHeader {
    /// Bundles of each section, in the order of [`Section::ALL`].
    pub bundles: [u32; Section::ALL.len()],
    /// Bytes from this block's start to the next one's in a row of A.
    pub a_advance: u32,
}

/// Arguments of one kernel call: a column of micro-tiles of C against one packed panel, or a row or several rows of
/// them against several.
///
/// The kernel moves pointers forward as it goes: an argument block serves one call.
/// Arrays indexed by column start at the first panel's first column and are readable for all columns of all panels,
/// rounded up to whole vectors of [`crate::Layout::lanes`], whether or not C has them.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct KernelArgs {
    /// Row 0 of the first micro-tile, at the first block's start.
    pub a: *const u8,
    /// Bytes from row to row of A.
    pub a_row_stride: usize,
    /// Packed vectors of the first block. Those of a row's panels follow each other, and so do their offsets and
    /// headers.
    pub b: *const u8,
    /// Offsets of the first block.
    pub offsets: *const u16,
    /// Header of the first block.
    pub blocks: *const BlockHeader,
    /// Number of blocks of a panel.
    pub block_count: usize,
    /// Number of micro-tiles, or of rows of them in a grid; not zero.
    pub tiles: usize,
    /// Element (0, 0) of the first micro-tile of C.
    pub c: *mut u8,
    /// Bytes from row to row of C.
    pub c_row_stride: usize,
    /// Partial sums, micro-tile after micro-tile. Kernels of tiles always have some: their sums pass through memory on
    /// the way to the epilogue.
    pub scratch: *mut i32,
    /// i32 per column: everything that is added to each row alike.
    pub column_term: *const i32,
    /// i32 per column: factor of `row_zero_point`.
    pub column_correction: *const i32,
    /// i32 per column: factor of `row_term`.
    pub column_zero_point: *const i32,
    /// f32 per column: multiplier or scale.
    pub column_scale: *const f32,
    /// f32 per column: float bias.
    pub column_bias: *const f32,
    /// i32 per row: zero point of A.
    pub row_zero_point: *const i32,
    /// i32 per row: what the zero points of B take out.
    pub row_term: *const i32,
    /// f32 per row: scale of A.
    pub row_scale: *const f32,
    /// Elements of the type of C that are added to it.
    pub residual: *const u8,
    /// Bytes from row to row of the residual.
    pub residual_row_stride: usize,
    /// Smallest output, less the zero point where C is a byte and clamped as f32.
    pub low: f32,
    /// Largest output, likewise.
    pub high: f32,
    /// Output zero point.
    pub zero_point: i32,
    /// Smallest output byte.
    pub low_byte: i32,
    /// Largest output byte.
    pub high_byte: i32,
    /// Bytes from a packed vector to what is worth prefetching while it is multiplied; for kernels that prefetch.
    pub prefetch_distance: usize,
    /// Of a [`crate::Sweep::Grid`].
    pub grid: GridArgs,
    /// Kernel's own: where it stands among the blocks.
    pub cursor: *const BlockHeader,
    /// Kernel's own: blocks left.
    pub blocks_left: usize,
}

impl KernelArgs {
    /// All pointers null, all counts zero: a start for filling in what a kernel needs.
    // SAFETY: all fields are numbers and raw pointers, of which zero is one.
    pub const EMPTY: KernelArgs = unsafe { std::mem::zeroed() };
}
