//! The frame's part of micro-tiles in [tile registers](crate::x86::tiles): sums begin in scratch memory or at zero, and
//! pass through scratch memory to the epilogue, which works on vectors as everywhere.

use super::{Body, Builder, role};
use crate::x86::asm::{Gpr, Mem, Scale};
use crate::x86::lowering::{Lowering, Tile, TileOp};
use crate::x86::tiles::{Hint, MicroTile, Step};

/// Rows that pass the epilogue together: with two vectors each they leave eight registers to it.
const VECTOR_ROWS: usize = 12;

/// The row stride of A, the distance of rows in tiles of weights, and the first row of A's second half; main loop only.
const A_STRIDE: Gpr = role::STRIDES[0];
const B_STRIDE: Gpr = role::STRIDES[1];
const SECOND_HALF: Gpr = role::STRIDES[3];
/// Bytes from row 0 of A to its second half; main loop only.
const TO_SECOND_HALF: Gpr = role::STRIDES[2];
/// The distance of rows in scratch memory; outside the main loop.
const SCRATCH_STRIDE: Gpr = role::COUNT;

impl<D: Body, L: Lowering> Builder<D, L> {
    /// The micro-tile, as tiles hold it.
    pub(crate) fn micro_tile(&self) -> MicroTile {
        MicroTile { rows: self.rows(), vectors: self.vectors() }
    }

    /// Does something with every tile of sums, given its place in scratch memory.
    fn each_sum(&mut self, op: impl Fn(Tile, Mem) -> TileOp) {
        for (tile, place) in self.micro_tile().sums_in_memory(role::SCRATCH, (SCRATCH_STRIDE, Scale::X1)) {
            self.low.tile(op(tile, place));
        }
    }

    fn point_at_rows_of_scratch(&mut self) {
        let bytes = self.micro_tile().row_bytes();
        self.point_at_scratch();
        self.low.asm().load_imm(SCRATCH_STRIDE, bytes as u32);
    }

    /// Tiles begin at zero.
    pub(crate) fn zero_tiles(&mut self) {
        self.each_sum(|tile, _| TileOp::Zero(tile));
    }

    /// Tiles begin at what is in scratch memory.
    pub(crate) fn load_tiles(&mut self) {
        self.point_at_rows_of_scratch();
        self.each_sum(TileOp::Load);
    }

    /// Sums go to scratch memory.
    pub(crate) fn store_tiles(&mut self) {
        self.point_at_rows_of_scratch();
        self.each_sum(|tile, place| TileOp::Store(place, tile));
    }

    /// Calls `part` with some rows of the micro-tile at a time, as the kernel of vectors that `of_rows` makes of the
    /// description, and with the place of their sums in scratch memory.
    pub(crate) fn in_vectors(&mut self, of_rows: impl Fn(D, u8) -> D, part: impl Fn(&mut Self, Mem)) {
        let (whole, row_bytes) = (self.desc, self.micro_tile().row_bytes());
        for first in (0..self.rows()).step_by(VECTOR_ROWS) {
            self.desc = of_rows(whole, VECTOR_ROWS.min(whole.shape().rows - first) as u8);
            self.point_at_scratch();
            part(self, Mem::at(role::SCRATCH, first * row_bytes));
        }
        self.desc = whole;
    }

    /// Loads the strides of [`Builder::multiply_tiles`]; rows of a tile of weights lie `b_stride` bytes apart.
    pub(crate) fn load_tile_strides(&mut self, b_stride: usize) {
        let (a_stride, second) = (Mem::at(role::ARGS, D::ARGS.a_row_stride), self.micro_tile().second_half());
        let asm = self.low.asm();
        asm.load64(A_STRIDE, a_stride);
        if let Some(row) = second {
            asm.load64(TO_SECOND_HALF, a_stride);
            asm.multiply_imm(TO_SECOND_HALF, row);
        }
        asm.load_imm(B_STRIDE, b_stride as u32);
    }

    /// The products of `steps` steps by `dot(sums, a, b)`: row 0 of A is at `a`, a step of `depth` bytes of a row
    /// behind the other, and the tile of weights of a step and vector is `place_of_b` bytes from `b` on.
    pub(crate) fn multiply_tiles(
        &mut self,
        (a, depth): (Gpr, usize),
        (b, place_of_b): (Gpr, impl Fn(usize, usize) -> usize),
        steps: usize,
        dot: impl Fn(Tile, Tile, Tile) -> TileOp,
    ) {
        let tile = self.micro_tile();
        let rows = |base, index, disp: usize| Mem { index: Some((index, Scale::X1)), ..Mem::at(base, disp) };
        if tile.second_half().is_some() {
            self.low.asm().lea(SECOND_HALF, rows(a, TO_SECOND_HALF, 0));
        }
        for step in 0..steps {
            let at = Step {
                a: [a, SECOND_HALF].map(|half| rows(half, A_STRIDE, step * depth)),
                a_hint: Hint::Stays,
                b: |vector| rows(b, B_STRIDE, place_of_b(step, vector)),
                b_hint: Hint::Stays,
            };
            tile.multiply(&mut self.low, &at, &dot, |_, _| {});
        }
    }
}
