//! The float family on [tiles]: sums stay in tile registers while products are added, and pass through scratch memory on their
//! way from C and to the epilogue, which work on vectors as everywhere.
//!
//! Tiles of weights are 16 pairs of k × 16 columns, which the first micro-tile of a block makes of the packed panel and keeps:
//!
//! ```text
//! for each pair of k:   16 columns of even places | 16 columns of odd places       128 bytes; zeros up to whole tiles
//! ```
//!
//! [tiles]: crate::x86::tiles

use super::builder::{Builder, arg, role};
use super::desc::{Expansion, FloatFinish, FloatStart};
use super::{epilogue, main_loop};
use crate::x86::asm::{Gpr, LINE_BYTES, Mem, Scale};
use crate::x86::lowering::{Lowering, TileOp, Vector};
use crate::x86::tiles::{MicroTile, TILE_ROWS};

/// k of a tile of A: a row of a tile of weights is a pair of them.
const TILE_DEPTH: usize = 2 * TILE_ROWS;
/// Vectors of columns of a micro-tile.
const VECTORS: usize = 2;
/// Bytes of all columns of a micro-tile in scratch memory, and of a kept pair of k.
const STRIP_BYTES: usize = VECTORS * LINE_BYTES;
/// Rows that pass the start and the epilogue together: they leave eight registers to these.
const VECTOR_ROWS: usize = 12;

/// The row stride of A, and sixteen times that; while products are added.
const A_STRIDE: Gpr = role::STRIDES[0];
const A_SIXTEEN_ROWS: Gpr = role::STRIDES[1];
/// The distance of kept pairs; likewise.
const B_STRIDE: Gpr = role::STRIDES[2];
/// Row 16 of A; likewise.
const SECOND_HALF: Gpr = role::STRIDES[3];
/// The distance of rows in scratch memory; otherwise.
const SCRATCH_STRIDE: Gpr = role::COUNT;

fn micro_tile<L: Lowering>(b: &Builder<L>) -> MicroTile {
    MicroTile { rows: b.rows(), vectors: VECTORS }
}

/// Takes the tiles, once for all micro-tiles of a call.
pub(super) fn configure<L: Lowering>(b: &mut Builder<L>) {
    micro_tile(b).configure(&mut b.low);
}

fn point_at_scratch<L: Lowering>(b: &mut Builder<L>) {
    b.low.asm().load64(role::SCRATCH, arg!(scratch));
    b.low.asm().load_imm(SCRATCH_STRIDE, STRIP_BYTES as u32);
}

/// Calls `part` with some rows at a time as a kernel of vectors, their accumulators being at the place that it is given.
fn in_vectors<L: Lowering>(b: &mut Builder<L>, part: impl Fn(&mut Builder<L>, Mem)) {
    let whole = b.desc;
    for first in (0..b.rows()).step_by(VECTOR_ROWS) {
        b.desc.rows = VECTOR_ROWS.min(usize::from(whole.rows) - first) as u8;
        part(b, Mem::at(role::SCRATCH, first * STRIP_BYTES));
    }
    b.desc = whole;
}

/// The beginning of a micro-tile: sums at zero, at C, or at what an earlier part of K left.
pub(super) fn start<L: Lowering>(b: &mut Builder<L>) {
    if b.desc.start == FloatStart::Beta {
        epilogue::point_at_c(b);
        b.low.asm().load64(role::SCRATCH, arg!(scratch));
        in_vectors(b, |b, place| {
            epilogue::start_at_rows_of_c(b);
            for (i, acc) in b.accs().enumerate() {
                b.low.store(place.offset(i * LINE_BYTES), acc);
            }
        });
    }
    let from_zero = b.desc.start == FloatStart::Zero;
    if !from_zero {
        point_at_scratch(b);
    }
    for (tile, place) in micro_tile(b).sums_in_memory(role::SCRATCH, SCRATCH_STRIDE) {
        b.low.tile(if from_zero { TileOp::Zero(tile) } else { TileOp::Load(tile, place) });
    }
}

/// All of k.
pub(super) fn products<L: Lowering>(b: &mut Builder<L>) {
    if b.desc.expansion == Expansion::Kept {
        keep(b);
    }
    let (again, end) = (b.low.asm().label(), b.low.asm().label());
    let asm = b.low.asm();
    asm.load64(role::A, arg!(a));
    asm.load64(A_STRIDE, arg!(a_row_stride));
    asm.load64(A_SIXTEEN_ROWS, arg!(a_row_stride));
    asm.multiply_imm(A_SIXTEEN_ROWS, TILE_ROWS);
    asm.load64(role::EXPANDED, arg!(expanded));
    asm.load_imm(B_STRIDE, STRIP_BYTES as u32);
    asm.load64(role::COUNT, arg!(depth));
    asm.add_imm(role::COUNT, TILE_DEPTH - 1);
    asm.shift_right_imm(role::COUNT, TILE_DEPTH.ilog2() as u8);
    asm.jump_if_zero(role::COUNT, end);
    asm.place(again);
    step(b);
    let asm = b.low.asm();
    asm.add_imm(role::A, LINE_BYTES);
    asm.add_imm(role::EXPANDED, TILE_ROWS * STRIP_BYTES);
    asm.dec_jump_not_zero(role::COUNT, again);
    asm.place(end);
}

/// The k of one tile.
fn step<L: Lowering>(b: &mut Builder<L>) {
    let tile = micro_tile(b);
    if tile.has_second_half() {
        b.low.asm().lea(SECOND_HALF, Mem::at(role::A, 0).indexed(A_SIXTEEN_ROWS, Scale::X1));
    }
    let of_a = |base| Mem::at(base, 0).indexed(A_STRIDE, Scale::X1);
    let of_b = |vector| Mem::at(role::EXPANDED, vector * LINE_BYTES).indexed(B_STRIDE, Scale::X1);
    let dot = |sums, a, b| TileOp::DotBf16 { sums, a, b };
    tile.multiply(&mut b.low, [role::A, SECOND_HALF].map(of_a), of_b, dot);
}

/// Makes pairs of the packed panel, with zeros behind them up to whole tiles.
fn keep<L: Lowering>(b: &mut Builder<L>) {
    let [again, half, pad, pad_again, end] = [(); 5].map(|()| b.low.asm().label());
    let row_bytes = b.desc.weights.panel_bytes(1);
    let (first, second) = (Mem::at(role::B, 0), Mem::at(role::B, row_bytes));
    let store = |b: &mut Builder<L>, second: Option<Mem>| {
        for vector in 0..VECTORS {
            let register = Vector(vector as u8);
            main_loop::pairs(b, vector, first, second, register);
            b.low.store(Mem::at(role::EXPANDED, vector * LINE_BYTES), register);
        }
        b.low.asm().add_imm(role::EXPANDED, STRIP_BYTES);
    };
    let asm = b.low.asm();
    asm.load64(role::B, arg!(b));
    asm.load64(role::EXPANDED, arg!(expanded));
    asm.load64(role::COUNT, arg!(depth));
    asm.shift_right_imm(role::COUNT, 1);
    asm.jump_if_zero(role::COUNT, half);
    asm.place(again);
    store(b, Some(second));
    let asm = b.low.asm();
    asm.add_imm(role::B, 2 * row_bytes);
    asm.dec_jump_not_zero(role::COUNT, again);

    asm.place(half);
    asm.load64(role::COUNT, arg!(depth));
    asm.and_imm(role::COUNT, 1);
    asm.jump_if_zero(role::COUNT, pad);
    store(b, None);

    let asm = b.low.asm();
    asm.place(pad);
    asm.load64(role::COUNT, arg!(depth));
    asm.add_imm(role::COUNT, 1);
    asm.shift_right_imm(role::COUNT, 1);
    asm.negate(role::COUNT);
    asm.and_imm(role::COUNT, (TILE_ROWS - 1) as u8);
    asm.jump_if_zero(role::COUNT, end);
    b.low.zero(Vector(0));
    b.low.asm().place(pad_again);
    for vector in 0..VECTORS {
        b.low.store(Mem::at(role::EXPANDED, vector * LINE_BYTES), Vector(0));
    }
    let asm = b.low.asm();
    asm.add_imm(role::EXPANDED, STRIP_BYTES);
    asm.dec_jump_not_zero(role::COUNT, pad_again);
    asm.place(end);
}

/// The end of a micro-tile: sums go to scratch memory, from where the epilogue takes them some rows at a time.
pub(super) fn finish<L: Lowering>(b: &mut Builder<L>, finish: FloatFinish) {
    point_at_scratch(b);
    for (tile, place) in micro_tile(b).sums_in_memory(role::SCRATCH, SCRATCH_STRIDE) {
        b.low.tile(TileOp::Store(place, tile));
    }
    let FloatFinish::Epilogue(epilogue) = finish else { return };
    epilogue::point(b, epilogue);
    in_vectors(b, |b, place| {
        for (i, acc) in b.accs().enumerate() {
            b.low.load(acc, place.offset(i * LINE_BYTES).into());
        }
        epilogue::stages_of_rows(b, epilogue);
    });
}
