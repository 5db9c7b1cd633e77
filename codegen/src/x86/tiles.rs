//! Micro-tiles in tile registers, as all families have them: which register holds what, and how large it is.
//!
//! ```text
//! C (rows × 16·vectors):   tmm0 tmm1     first half       += A: tmm4   ·   B: tmm6 tmm7     (16 × 64 bytes each)
//!                          tmm2 tmm3     second half      +=    tmm5
//!
//! of 16 rows and fewer:    tmm0 tmm1 tmm2 tmm3            += A: tmm4   ·   B: tmm6 tmm7 tmm6 tmm7
//! ```
//!
//! Halves have as many rows, or the first has one more: a product takes as long as its tile of A has rows.
//!
//! A kernel owns the tile configuration from its first instruction to its last: it has no way out in between, tiles
//! belong to the thread, and callers expect none of theirs to survive a call.

use super::asm::{Gpr, Mem, Scale};
use super::lowering::{Lowering, Tile, TileOp};

/// Rows of a tile.
pub(crate) const TILE_ROWS: usize = 16;
/// Bytes of a tile's row.
pub(crate) const ROW_BYTES: usize = 64;
/// Vectors of columns of the widest micro-tile with two halves.
const MAX_VECTORS: usize = 2;

/// A micro-tile of at most 32 rows and two vectors of columns, or 16 rows and four.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MicroTile {
    pub(crate) rows: usize,
    pub(crate) vectors: usize,
}

/// Whether loads hint that what they load passes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hint {
    Stays,
    Passes,
}

impl Hint {
    fn load(self, tile: Tile, from: Mem) -> TileOp {
        match self {
            Hint::Stays => TileOp::Load(tile, from),
            Hint::Passes => TileOp::LoadStreaming(tile, from),
        }
    }
}

/// Where a step's tiles are: of A for each half, of B for each vector of columns.
pub(crate) struct Step<B: Fn(usize) -> Mem> {
    pub(crate) a: [Mem; 2],
    pub(crate) a_hint: Hint,
    pub(crate) b: B,
    pub(crate) b_hint: Hint,
}

fn sums(half: usize, vector: usize) -> Tile {
    Tile((half * MAX_VECTORS + vector) as u8)
}

fn of_a(half: usize) -> Tile {
    Tile(4 + half as u8)
}

fn of_b(vector: usize) -> Tile {
    Tile(6 + (vector % MAX_VECTORS) as u8)
}

impl MicroTile {
    /// Rows in each half.
    pub(crate) fn halves(self) -> impl Iterator<Item = usize> {
        let first = if self.rows > TILE_ROWS { self.rows.div_ceil(2) } else { self.rows };
        [first, self.rows - first].into_iter().filter(|&rows| rows > 0)
    }

    /// The first row of the second half, if there is one.
    pub(crate) fn second_half(self) -> Option<usize> {
        (self.halves().count() > 1).then(|| self.halves().next().unwrap_or_default())
    }

    /// The sizes of all tiles, as LDTILECFG reads them (palette 1): byte 0 the palette, words from byte 16 the bytes of
    /// rows, bytes from 48 the rows.
    fn sizes(self) -> Vec<u32> {
        let mut bytes = [0u8; 64];
        bytes[0] = 1;
        let mut set = |tile: Tile, rows: usize| {
            bytes[16 + 2 * usize::from(tile.0)] = ROW_BYTES as u8;
            bytes[48 + usize::from(tile.0)] = rows as u8;
        };
        (0..self.vectors).for_each(|vector| set(of_b(vector), TILE_ROWS));
        for (half, rows) in self.halves().enumerate() {
            set(of_a(half), rows);
            (0..self.vectors).for_each(|vector| set(sums(half, vector), rows));
        }
        bytes.as_chunks::<4>().0.iter().map(|&dword| u32::from_le_bytes(dword)).collect()
    }

    /// Takes the tiles, once for all micro-tiles of a call. Sums are zero then.
    pub(crate) fn configure(self, low: &mut impl Lowering) {
        let constant = low.asm().constant(&self.sizes());
        low.tile(TileOp::Configure(constant));
    }

    /// Bytes of a row of all columns of sums.
    pub(crate) fn row_bytes(self) -> usize {
        self.vectors * ROW_BYTES
    }

    /// Every tile of sums, and where it lies in an array with a row of all columns for each row; `stride`, scaled,
    /// holds the bytes of such a row.
    pub(crate) fn sums_in_memory(self, start: Gpr, stride: (Gpr, Scale)) -> impl Iterator<Item = (Tile, Mem)> {
        let place = move |first_row: usize, vector: usize| Mem {
            index: Some(stride),
            ..Mem::at(start, (first_row * self.vectors + vector) * ROW_BYTES)
        };
        let starts = [Some(0), self.second_half()].into_iter().flatten().enumerate();
        starts.flat_map(move |(half, row)| (0..self.vectors).map(move |v| (sums(half, v), place(row, v))))
    }

    /// Loads the tiles of a step and adds their products to the sums by `dot(sums, a, b)`. Just before the first use of
    /// a tile of sums, `before` has its turn.
    ///
    /// B is loaded before A, which is in a nearer cache: MEASURED in a prototype on Sapphire Rapids, 512 to 1024 cubed,
    /// 1.05 times as fast as A first.
    pub(crate) fn multiply<L: Lowering>(
        self,
        low: &mut L,
        step: &Step<impl Fn(usize) -> Mem>,
        dot: impl Fn(Tile, Tile, Tile) -> TileOp,
        mut before: impl FnMut(&mut L, Tile),
    ) {
        let halves = self.halves().count();
        let load_b = |low: &mut L, vector| low.tile(step.b_hint.load(of_b(vector), (step.b)(vector)));
        let load_a = |low: &mut L, half: usize| low.tile(step.a_hint.load(of_a(half), step.a[half]));
        let mut add = |low: &mut L, half, vector| {
            before(low, sums(half, vector));
            low.tile(dot(sums(half, vector), of_a(half), of_b(vector)));
        };
        load_b(low, 0);
        load_a(low, 0);
        for vector in 1..self.vectors.min(MAX_VECTORS) {
            load_b(low, vector);
        }
        if halves > 1 {
            load_a(low, 1);
        }
        for half in 0..halves {
            for vector in 0..self.vectors {
                if vector >= MAX_VECTORS {
                    load_b(low, vector);
                }
                add(low, half, vector);
            }
        }
    }
}
