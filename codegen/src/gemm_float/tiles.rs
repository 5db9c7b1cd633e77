//! The float family on tiles: sums stay in tile registers while products are added, and pass through scratch memory on their
//! way from C and to the epilogue, which work on vectors as everywhere.
//!
//! ```text
//! C (rows × 32):   tmm0 tmm1     rows 0..16       += A: tmm4   ·   B: tmm6 tmm7     (16 pairs of k × 16 columns each)
//!                  tmm2 tmm3     rows 16..32      +=    tmm5
//! ```
//!
//! Tiles of weights are pairs of k, which the first micro-tile of a block makes of the packed panel and keeps:
//!
//! ```text
//! for each pair of k:   16 columns of even places | 16 columns of odd places       128 bytes; zeros up to whole tiles
//! ```
//!
//! A kernel owns the tile configuration from its first instruction to its last, as in the int8 family.

use super::builder::{Builder, LINE_BYTES, arg, role};
use super::desc::{Expansion, FloatFinish, FloatKernelDesc, FloatStart};
use super::{epilogue, main_loop};
use crate::x86::asm::{Gpr, Mem, Scale};
use crate::x86::lowering::{Lowering, Tile, TileOp, Vector};

/// Rows of a tile, and pairs of k of a tile of weights.
const TILE_ROWS: usize = 16;
/// k of a tile of A.
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

fn sums(half: usize, vector: usize) -> Tile {
    Tile((half * VECTORS + vector) as u8)
}

fn of_a(half: usize) -> Tile {
    Tile(4 + half as u8)
}

fn of_b(vector: usize) -> Tile {
    Tile(6 + vector as u8)
}

/// Rows in each half of the micro-tile.
fn halves(rows: usize) -> impl Iterator<Item = usize> {
    (0..rows).step_by(TILE_ROWS).map(move |first| TILE_ROWS.min(rows - first))
}

/// The sizes of all tiles, as LDTILECFG reads them (palette 1): byte 0 the palette, words from byte 16 the bytes of rows,
/// bytes from 48 the rows.
fn sizes(desc: &FloatKernelDesc) -> Vec<u32> {
    let mut bytes = [0u8; 64];
    bytes[0] = 1;
    let mut set = |tile: Tile, rows: usize| {
        bytes[16 + 2 * usize::from(tile.0)] = LINE_BYTES as u8;
        bytes[48 + usize::from(tile.0)] = rows as u8;
    };
    (0..VECTORS).for_each(|vector| set(of_b(vector), TILE_ROWS));
    for (half, rows) in halves(desc.rows.into()).enumerate() {
        set(of_a(half), rows);
        (0..VECTORS).for_each(|vector| set(sums(half, vector), rows));
    }
    bytes.as_chunks::<4>().0.iter().map(|&dword| u32::from_le_bytes(dword)).collect()
}

/// Takes the tiles, once for all micro-tiles of a call.
pub(super) fn configure<L: Lowering>(b: &mut Builder<L>) {
    let constant = b.low.asm().constant(&sizes(&b.desc));
    b.low.tile(TileOp::Configure(constant));
}

/// Every tile of sums, and where it lies in scratch memory.
fn in_scratch<L: Lowering>(b: &Builder<L>) -> Vec<(Tile, Mem)> {
    let at = |half: usize, vector: usize| Mem {
        base: role::SCRATCH,
        index: Some((SCRATCH_STRIDE, Scale::X1)),
        disp: (half * TILE_ROWS * STRIP_BYTES + vector * LINE_BYTES) as i32,
    };
    let halves = 0..halves(b.rows()).count();
    halves.flat_map(|half| (0..VECTORS).map(move |v| (sums(half, v), at(half, v)))).collect()
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
    for (tile, place) in in_scratch(b) {
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
    let halves = halves(b.rows()).count();
    if halves > 1 {
        b.low.asm().lea(SECOND_HALF, Mem { base: role::A, index: Some((A_SIXTEEN_ROWS, Scale::X1)), disp: 0 });
    }
    for (half, base) in [role::A, SECOND_HALF].into_iter().enumerate().take(halves) {
        b.low.tile(TileOp::Load(of_a(half), Mem { base, index: Some((A_STRIDE, Scale::X1)), disp: 0 }));
        for vector in 0..VECTORS {
            if half == 0 {
                let index = Some((B_STRIDE, Scale::X1));
                let place = Mem { base: role::EXPANDED, index, disp: (vector * LINE_BYTES) as i32 };
                b.low.tile(TileOp::Load(of_b(vector), place));
            }
            b.low.tile(TileOp::DotBf16 { sums: sums(half, vector), a: of_a(half), b: of_b(vector) });
        }
    }
}

/// Makes pairs of the packed panel, with zeros behind them up to whole tiles.
fn keep<L: Lowering>(b: &mut Builder<L>) {
    let [again, half, pad, pad_again, end] = [(); 5].map(|()| b.low.asm().label());
    let row_bytes = b.desc.panel_row_bytes();
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
    for (tile, place) in in_scratch(b) {
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
