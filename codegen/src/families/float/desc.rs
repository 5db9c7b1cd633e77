//! What a kernel of the float family is, and what it is called with.

use std::fmt;

use super::dot::HardwareDot;
use super::weights::FloatWeights;
use crate::families::element::FloatType;
use crate::families::sweep::Sweep;
use crate::kernel::grid::GridArgs;
use crate::machine::tier::Tier;

/// Columns of a packed panel of floating-point weights, on every tier.
pub const FLOAT_PANEL: usize = 32;

impl FloatType {
    /// Where column `j` of a panel stands in a row of [`FLOAT_PANEL`] packed weights.
    ///
    /// ```text
    /// f32, f16:  0 1 2 3 ... 31
    /// bf16:      0 8  1 9  2 10 ... 7 15 | 16 24  17 25 ... 23 31        one shuffle or mask makes eight of them f32
    /// ```
    ///
    /// # Examples
    /// ```
    /// use gemmill_codegen::FloatType;
    /// assert_eq!(FloatType::F16.place(9), 9);
    /// assert_eq!(FloatType::Bf16.place(9), 3);
    /// ```
    pub const fn place(self, j: usize) -> usize {
        match self {
            FloatType::F32 | FloatType::F16 => j,
            FloatType::Bf16 => j / 16 * 16 + j % 8 * 2 + j / 8 % 2,
        }
    }
}

/// Where kernels take weights from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Expansion {
    /// From packed panels; they become f32 in registers.
    InRegisters,
    /// The same, and the f32 are kept in memory for other micro-tiles.
    Kept,
    /// From what such a kernel kept.
    Reused,
    /// From tiles that weights lie in: those of a [`Sweep::Grid`].
    ///
    /// ```text
    /// panel:  step of 32 k: columns 0..16, columns 16..32 | next step | ...             two tiles a step
    /// tile:   k0 k1 of columns 0..16 | k2 k3 of columns 0..16 | ...                     16 rows of 64 bytes
    /// ```
    Tiles,
}

/// How products are summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FloatProducts {
    /// One chain of fused multiply-adds of f32, in ascending k.
    Chain,
    /// The CPU's dot products of bf16, a group of k after the other. Rows of A are bf16 then, two side by side in the
    /// place of an f32, and so are expanded weights: a *pair* of k.
    Dot(HardwareDot),
}

impl FloatProducts {
    /// k of which a chain takes one step: parts of K begin at multiples of it.
    pub const fn group(self) -> usize {
        match self {
            FloatProducts::Chain => 1,
            FloatProducts::Dot(dot) => dot.group(),
        }
    }

    /// k in the place of an f32: in a row of A, and of expanded weights.
    pub const fn depth_of_slot(self) -> usize {
        match self {
            FloatProducts::Chain => 1,
            FloatProducts::Dot(_) => 2,
        }
    }

    /// Whether kernels of a tier keep sums in tile registers while products are added.
    pub const fn in_tiles(self, tier: Tier) -> bool {
        tier.facts().tiles && matches!(self, FloatProducts::Dot(HardwareDot::AmxBf16))
    }

    /// Slots of so many k in a row of A that kernels read, and of expanded weights for a column. What is past the last
    /// k is zero.
    ///
    /// # Examples
    /// ```
    /// use gemmill_codegen::{FloatProducts, HardwareDot};
    /// assert_eq!(FloatProducts::Chain.slots(5), 5);
    /// assert_eq!(FloatProducts::Dot(HardwareDot::Avx512Bf16).slots(5), 3);
    /// assert_eq!(FloatProducts::Dot(HardwareDot::AmxBf16).slots(33), 32);
    /// ```
    pub const fn slots(self, depth: usize) -> usize {
        depth.div_ceil(self.group()) * (self.group() / self.depth_of_slot())
    }
}

/// How rows of A lie in memory, as f32, or as pairs of bf16 where kernels have hardware dot products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FloatRows {
    /// A row's elements side by side, rows a stride apart.
    Strided,
    /// Packed micro-panels, of f32: the elements of a micro-tile's rows for one k side by side, then those for the next
    /// k.
    Interleaved,
}

/// Where a micro-tile's accumulators begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FloatStart {
    /// At zero; C is not read.
    Zero,
    /// At `beta * C`.
    Beta,
    /// At the partial sums that an earlier part of K left in scratch memory.
    Scratch,
}

/// What kernels prefetch: hints, which change no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FloatPrefetch {
    /// Nothing.
    None,
    /// Packed weights, [`FLOAT_PREFETCH`](crate::FLOAT_PREFETCH) bytes ahead, into the first-level cache.
    Ahead,
    /// A line from [`FloatKernelArgs::next`] on for every two k, into the second-level cache; in strips of one panel.
    Next,
}

/// What becomes of a micro-tile's accumulators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FloatFinish {
    /// Partial sums go to scratch memory, for the next part of K.
    Scratch,
    /// The epilogue is applied and C written.
    Epilogue(FloatEpilogue),
}

/// The stages that sums pass while they are in registers, in this order: bias, residual, function, conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FloatEpilogue {
    /// `x += bias[j]`
    pub bias: bool,
    /// `x += residual[i][j]`, an element of the type of C.
    pub residual: bool,
    /// What is made of `x`.
    pub function: FloatFunction,
}

/// A function of a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FloatFunction {
    /// `x`
    Identity,
    /// `min(max(x, low), high)`; a NaN stays one.
    Clamp,
    /// `x / (1 + exp(-2u))`, `u = sqrt(2/pi) * (x + 0.044715 x^3)`: the GELU by tanh.
    Gelu,
    /// `x / (1 + exp(-x))`.
    Silu,
}

impl FloatFunction {
    /// Registers beside the accumulators that an epilogue with this function needs.
    ///
    /// # Examples
    /// ```
    /// # use gemmill_codegen::FloatFunction;
    /// assert_eq!(FloatFunction::Identity.registers(), 2);
    /// assert_eq!(FloatFunction::Silu.registers(), 3);
    /// ```
    pub fn registers(self) -> usize {
        match self {
            FloatFunction::Identity | FloatFunction::Clamp => 2,
            FloatFunction::Gelu | FloatFunction::Silu => 3,
        }
    }
}

/// A micro-kernel of the float family: `C[rows × cols]` from rows of A and a strip of panels of B, one chain of fused
/// multiply-adds in ascending k for each element, or one of hardware dot products.
///
/// # Examples
/// ```
/// use gemmill_codegen::*;
/// let desc = FloatKernelDesc {
///     tier: Tier::Avx2,
///     products: FloatProducts::Chain,
///     weights: FloatType::Bf16.into(),
///     expansion: Expansion::InRegisters,
///     a: FloatRows::Strided,
///     sweep: Sweep::Column,
///     rows: 6,
///     vectors: 2,
///     cols: 16,
///     start: FloatStart::Zero,
///     finish: FloatFinish::Scratch,
///     c: FloatType::F32,
///     prefetch: FloatPrefetch::None,
/// };
/// assert_eq!(desc.to_string(), "fgemm_avx2_bf16_6x16_c16_zero_scratch");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FloatKernelDesc {
    /// Instruction set.
    pub tier: Tier,
    /// How products are summed.
    pub products: FloatProducts,
    /// Packed weights; bf16 for hardware dot products.
    pub weights: FloatWeights,
    /// Where they are taken from.
    pub expansion: Expansion,
    /// How A lies in memory.
    pub a: FloatRows,
    /// Which micro-tiles a call goes through.
    pub sweep: Sweep,
    /// Rows of the micro-tile.
    pub rows: u8,
    /// Vectors of accumulators per row; an even number.
    pub vectors: u8,
    /// Columns of the micro-tile that exist in C, at most `vectors` times [`FloatKernelDesc::lanes`].
    pub cols: u8,
    /// Where accumulators begin.
    pub start: FloatStart,
    /// What becomes of them.
    pub finish: FloatFinish,
    /// The type of C and of the residual.
    pub c: FloatType,
    /// What is prefetched.
    pub prefetch: FloatPrefetch,
}

impl FloatKernelDesc {
    /// f32 elements of a vector of the tier.
    pub const fn lanes(&self) -> usize {
        float_lanes(self.tier)
    }

    /// Columns that the accumulators cover.
    pub const fn strip_cols(&self) -> usize {
        self.vectors as usize * self.lanes()
    }

    /// f32 elements of scratch memory per micro-tile; in a grid, for all of it.
    pub const fn scratch_len(&self) -> usize {
        let sums = self.rows as usize * self.strip_cols() * self.sweep.panels();
        match self.sweep {
            Sweep::Grid { .. } => sums + GridArgs::ROW_OF_NOTHING,
            _ => sums,
        }
    }

    /// Whether strips are half a panel wide.
    pub const fn has_half_panels(&self) -> bool {
        self.strip_cols() == FLOAT_PANEL / 2
    }

    /// Whether sums are in tile registers while products are added.
    pub const fn has_tiles(&self) -> bool {
        self.products.in_tiles(self.tier)
    }
}

/// f32 elements of a vector of a tier.
///
/// # Examples
/// ```
/// use gemmill_codegen::{Tier, float_lanes};
/// assert_eq!((float_lanes(Tier::Avx2), float_lanes(Tier::Avx512)), (8, 16));
/// ```
pub const fn float_lanes(tier: Tier) -> usize {
    tier.facts().lanes
}

impl fmt::Display for FloatKernelDesc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, width) = (self.rows, self.strip_cols());
        write!(f, "fgemm_{}_{}_", self.tier, self.weights.name())?;
        if let FloatProducts::Dot(dot) = self.products {
            write!(f, "dot-{dot}_")?;
        }
        write!(f, "{rows}x{width}_c{}", self.cols)?;
        f.write_str(match self.a {
            FloatRows::Strided => "",
            FloatRows::Interleaved => "_interleaved",
        })?;
        f.write_str(&self.sweep.suffix())?;
        f.write_str(match self.expansion {
            Expansion::InRegisters => "",
            Expansion::Kept => "_kept",
            Expansion::Reused => "_reused",
            Expansion::Tiles => "_tiles",
        })?;
        f.write_str(match self.start {
            FloatStart::Zero => "_zero",
            FloatStart::Beta => "_beta",
            FloatStart::Scratch => "_resume",
        })?;
        match self.finish {
            FloatFinish::Scratch => f.write_str("_scratch")?,
            FloatFinish::Epilogue(e) => {
                write!(f, "_{}", self.c.name())?;
                f.write_str(if e.bias { "_bias" } else { "" })?;
                f.write_str(if e.residual { "_residual" } else { "" })?;
                f.write_str(match e.function {
                    FloatFunction::Identity => "",
                    FloatFunction::Clamp => "_clamp",
                    FloatFunction::Gelu => "_gelu",
                    FloatFunction::Silu => "_silu",
                })?;
            }
        }
        f.write_str(match self.prefetch {
            FloatPrefetch::None => "",
            FloatPrefetch::Ahead => "_ahead",
            FloatPrefetch::Next => "_next",
        })
    }
}

/// Arguments of one call: `tiles` micro-tiles of C, a column or a row of them.
///
/// The kernel moves pointers and `b_strip_stride` forward as it goes: a block serves one call.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct FloatKernelArgs {
    /// The first micro-tile's row 0 at the first k: readable for `depth` elements of all rows of all tiles. For
    /// hardware dot products, pairs of bf16 that need not be aligned, [`FloatProducts::slots`] of them for each row;
    /// zeros past `depth`.
    pub a: *const f32,
    /// Bytes from row to row of A, where rows are [`FloatRows::Strided`].
    pub a_row_stride: usize,
    /// Bytes from micro-tile to micro-tile of A; unused by [`Sweep::Row`].
    pub a_tile_stride: usize,
    /// The first strip's first weights at the first k: readable for `depth` rows of each panel of all strips. Unused by
    /// [`Expansion::Reused`]. Of weights of few bits, the first group's first byte, and behind it four for each column
    /// of the panel before the strip's first one; groups of `depth` k are readable. The pointer may be moved back to
    /// the scales: it is derived from one to all of the panel, not to what is behind it.
    pub b: *const u8,
    /// Bytes from the first strip to the second one, for [`Sweep::Row`]. Where strips are half a panel, the next
    /// distance is what it lacks to `b_panel_stride`, and so on in turns.
    pub b_strip_stride: usize,
    /// From `b` to where weights of few bits have the scale of the strip's first column, not more than zero: two bytes
    /// for each column of the panel before it.
    pub scales_from_b: isize,
    /// Room for [`FloatWeights::constants_len`] elements, if weights have few bits and are not [`Expansion::Reused`].
    pub constants: *mut f32,
    /// Bytes from panel to panel.
    pub b_panel_stride: usize,
    /// Where [`FloatPrefetch::Next`] goes on; any address is allowed.
    pub next: *const u8,
    /// Number of k; may be zero. Parts of K but the last one are multiples of [`FloatProducts::group`]
    /// and [`FloatWeights::unit`].
    pub depth: usize,
    /// Number of micro-tiles, or of rows of them in a grid; not zero.
    pub tiles: usize,
    /// Of a [`Sweep::Grid`]: panels of tiles are at `b`, one behind the other, and rows of A have whole steps. It uses
    /// neither `depth` nor what is said of panels and expansions.
    pub grid: GridArgs,
    /// [`FloatProducts::slots`] of `depth`, times `strip_cols`, elements for all expansions but
    /// [`Expansion::InRegisters`].
    pub expanded: *mut f32,
    /// Element (0, 0) of the first micro-tile of C.
    pub c: *mut u8,
    /// Bytes from row to row of C.
    pub c_row_stride: usize,
    /// Partial sums, micro-tile after micro-tile, `scratch_len` each. Kernels of tiles need those of one micro-tile
    /// even where they neither start nor end with partial sums.
    pub scratch: *mut f32,
    /// The factor of C.
    pub beta: f32,
    /// Smallest result of [`FloatFunction::Clamp`].
    pub low: f32,
    /// Largest result of [`FloatFunction::Clamp`].
    pub high: f32,
    /// f32 per column: readable for whole strips, all of them.
    pub bias: *const f32,
    /// Element (0, 0) of the first micro-tile of the residual.
    pub residual: *const u8,
    /// Bytes from row to row of the residual.
    pub residual_row_stride: usize,
}

impl FloatKernelArgs {
    /// All pointers null, all numbers zero: a start for filling in what a kernel needs.
    // SAFETY: all fields are numbers and raw pointers, of which zero is one.
    pub const EMPTY: FloatKernelArgs = unsafe { std::mem::zeroed() };
}
