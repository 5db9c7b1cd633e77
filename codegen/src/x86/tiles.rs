//! Micro-tiles in tile registers, as all families have them: which register holds what, and how large it is.
//!
//! ```text
//! C (rows × 16·vectors):   tmm0 tmm1     rows 0..16       += A: tmm4   ·   B: tmm6 tmm7     (16 × 64 bytes each)
//!                          tmm2 tmm3     rows 16..32      +=    tmm5
//! ```
//!
//! A kernel owns the tile configuration from its first instruction to its last: it has no way out in between, tiles
//! belong to the thread, and callers expect none of theirs to survive a call.

use super::asm::{Gpr, Mem, Scale};
use super::lowering::{Lowering, Tile, TileOp};

/// Rows of a tile.
pub(crate) const TILE_ROWS: usize = 16;
/// Bytes of a tile's row.
pub(crate) const ROW_BYTES: usize = 64;
/// Vectors of columns of the widest micro-tile.
const MAX_VECTORS: usize = 2;

/// A micro-tile of at most 32 rows and two vectors of columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MicroTile {
    pub(crate) rows: usize,
    pub(crate) vectors: usize,
}

fn sums(half: usize, vector: usize) -> Tile {
    Tile((half * MAX_VECTORS + vector) as u8)
}

fn of_a(half: usize) -> Tile {
    Tile(4 + half as u8)
}

fn of_b(vector: usize) -> Tile {
    Tile(6 + vector as u8)
}

impl MicroTile {
    /// Whether some rows are in the second half.
    pub(crate) fn has_second_half(self) -> bool {
        self.rows > TILE_ROWS
    }

    /// Rows in each half.
    fn halves(self) -> impl Iterator<Item = usize> {
        (0..self.rows).step_by(TILE_ROWS).map(move |first| TILE_ROWS.min(self.rows - first))
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

    /// Takes the tiles, once for all micro-tiles of a call.
    pub(crate) fn configure(self, low: &mut impl Lowering) {
        let constant = low.asm().constant(&self.sizes());
        low.tile(TileOp::Configure(constant));
    }

    /// Every tile of sums, and where it lies in an array with a row of all columns for each row; `stride` holds the
    /// bytes of such a row.
    pub(crate) fn sums_in_memory(self, start: Gpr, stride: Gpr) -> impl Iterator<Item = (Tile, Mem)> {
        let place = move |half: usize, vector: usize| {
            Mem::at(start, (half * TILE_ROWS * self.vectors + vector) * ROW_BYTES).indexed(stride, Scale::X1)
        };
        let halves = 0..self.halves().count();
        halves.flat_map(move |half| (0..self.vectors).map(move |v| (sums(half, v), place(half, v))))
    }

    /// Loads the tiles of A, which are at `a` for each half, and those of B, which are where `b` says for each vector,
    /// and adds their products to the sums by `dot(sums, a, b)`.
    pub(crate) fn multiply(
        self,
        low: &mut impl Lowering,
        a: [Mem; 2],
        b: impl Fn(usize) -> Mem,
        dot: impl Fn(Tile, Tile, Tile) -> TileOp,
    ) {
        for (half, a) in a.into_iter().enumerate().take(self.halves().count()) {
            low.tile(TileOp::Load(of_a(half), a));
            for vector in 0..self.vectors {
                if half == 0 {
                    low.tile(TileOp::Load(of_b(vector), b(vector)));
                }
                low.tile(dot(sums(half, vector), of_a(half), of_b(vector)));
            }
        }
    }
}
