//! The registry of micro-tiles: which kernels a tier has. Planning, tests and benchmarks all read this table.

use crate::families::int8::desc::{Byte, Layout, Section, Sections};
use crate::machine::tier::Tier;

/// A shape of micro-kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MicroTile {
    /// How a step meets A.
    pub layout: Layout,
    /// Vectors of accumulators per row: NR is `layout.columns(vectors)`.
    pub vectors: usize,
    /// Most rows that fit the registers; every number from 1 on can be generated.
    pub max_rows: usize,
    /// Rows that keep the multipliers busy with fewest loads: MR of products with many rows.
    pub mr: usize,
    /// Rows up to which a product gets one or two tiles, so that weights stream past once or twice only.
    pub few_rows: usize,
}

const fn tile(layout: Layout, vectors: usize, max_rows: usize, mr: usize, few_rows: usize) -> MicroTile {
    MicroTile { layout, vectors, max_rows, mr, few_rows }
}

/// Sixteen registers of 256 bits: twelve accumulators at most, four for the epilogue, `vectors + 2` for the main loops.
///
/// MR of 4 and 8 rather than the 6 and 12 that fit: rows can then be worked on in pairs that share a packed vector in a
/// register, and ones for widening have a register too. MEASURED on 16-bit sums: on Emerald Rapids 4 × 16 is never
/// slower than 6 × 16; on Zen 4 two tiles of three rows are 1.2 times as fast as one of six, and one of five as fast as
/// two; on Granite Rapids six rows are as fast either way.
pub(crate) const AVX2: [MicroTile; 5] = [
    tile(Layout::Columns8, 2, 6, 4, 5),
    tile(Layout::Columns8, 1, 12, 8, 12),
    tile(Layout::FourColumns, 1, 12, 8, 12),
    tile(Layout::Depth, 1, 12, 8, 8),
    tile(Layout::Depth, 2, 6, 4, 4),
];

/// The same registers, for 32-bit dot products: these need no more than A and the vectors of B besides accumulators.
pub(crate) const AVX2_VNNI: [MicroTile; 5] = [
    tile(Layout::Columns8, 2, 6, 6, 6),
    tile(Layout::Columns8, 1, 12, 12, 12),
    tile(Layout::FourColumns, 1, 12, 12, 12),
    tile(Layout::Depth, 1, 12, 8, 8),
    tile(Layout::Depth, 2, 6, 4, 4),
];

/// Thirty-two registers of 512 bits, and the layouts of 256 bits for products of up to eight columns.
pub(crate) const AVX512: [MicroTile; 6] = [
    tile(Layout::Columns16, 2, 12, 8, 12),
    tile(Layout::Columns16, 1, 12, 12, 12),
    tile(Layout::Columns8, 1, 12, 8, 12),
    tile(Layout::FourColumns, 1, 12, 8, 12),
    tile(Layout::Depth, 1, 12, 8, 8),
    tile(Layout::Depth, 2, 6, 4, 4),
];

/// Twenty-four accumulators at most: 6 × 64 loads ten vectors for 24 dot products.
pub(crate) const AVX512_VNNI: [MicroTile; 8] = [
    tile(Layout::Columns16, 4, 6, 6, 6),
    tile(Layout::Columns16, 3, 8, 8, 8),
    tile(Layout::Columns16, 2, 12, 12, 12),
    tile(Layout::Columns16, 1, 12, 12, 12),
    tile(Layout::Columns8, 1, 12, 12, 12),
    tile(Layout::FourColumns, 1, 12, 12, 12),
    tile(Layout::Depth, 1, 12, 8, 8),
    tile(Layout::Depth, 2, 6, 4, 4),
];

/// Eight tiles of 16 × 64 bytes: 2 × 2 hold sums, two A and two B, so that four loads feed four products. What tiles
/// would waste (products of few columns, or of little depth) goes to vectors.
pub(crate) const AMX: [MicroTile; 12] = [
    tile(Layout::Tiles, 2, 32, 32, 32),
    tile(Layout::Tiles, 1, 32, 32, 32),
    tile(Layout::RowsOfTiles, 2, 12, 12, 12),
    tile(Layout::RowsOfTiles, 1, 12, 12, 12),
    AVX512_VNNI[0],
    AVX512_VNNI[1],
    AVX512_VNNI[2],
    AVX512_VNNI[3],
    AVX512_VNNI[4],
    AVX512_VNNI[5],
    AVX512_VNNI[6],
    AVX512_VNNI[7],
];

/// Most rows of a kernel that prefetches: taller ones need the register for a stride of A.
pub const MAX_PREFETCH_ROWS: usize = 7;

/// The micro-tiles of a tier, the widest panels first.
///
/// # Examples
/// ```
/// use gemmill_codegen::{Layout, Tier, micro_tiles};
/// let widest = micro_tiles(Tier::Avx2)[0];
/// assert_eq!((widest.mr, widest.layout.columns(widest.vectors)), (4, 16));
/// ```
pub fn micro_tiles(tier: Tier) -> &'static [MicroTile] {
    tier.facts().micro_tiles
}

/// The sections that a tier's kernels may have.
///
/// # Examples
/// ```
/// use gemmill_codegen::{Section, Tier, sections};
/// assert!(sections(Tier::Avx2).contains(Section::Sum3));
/// assert!(sections(Tier::Avx512Vnni).iter().all(Section::is_dot));
/// ```
pub fn sections(tier: Tier) -> Sections {
    Section::ALL.into_iter().filter(|s| s.is_dot() == tier.facts().dots).collect()
}

/// Whether a tier's kernels of this layout multiply signed activations as they are. Elsewhere these are moved to
/// unsigned ones.
///
/// # Examples
/// ```
/// use gemmill_codegen::{Layout, Tier, multiplies_signed};
/// assert!(multiplies_signed(Tier::Amx, Layout::Tiles));
/// assert!(!multiplies_signed(Tier::Avx512Vnni, Layout::Columns16));
/// ```
pub fn multiplies_signed(tier: Tier, layout: Layout) -> bool {
    tier.facts().tiles && layout == Layout::Tiles
}

/// Whether kernels of a tier may have this type of activations.
pub(crate) fn multiplies(tier: Tier, layout: Layout, activations: Byte) -> bool {
    activations == Byte::U8 || multiplies_signed(tier, layout)
}

/// The micro-tile of a tier with this layout and number of vectors.
///
/// # Examples
/// ```
/// use gemmill_codegen::{Layout, Tier, micro_tile};
/// assert_eq!(micro_tile(Tier::Avx2, Layout::Columns8, 1).map(|t| t.max_rows), Some(12));
/// assert!(micro_tile(Tier::Avx2, Layout::Columns8, 3).is_none());
/// ```
pub fn micro_tile(tier: Tier, layout: Layout, vectors: usize) -> Option<&'static MicroTile> {
    micro_tiles(tier).iter().find(|t| t.layout == layout && t.vectors == vectors)
}
