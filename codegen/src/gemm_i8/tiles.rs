//! The int8 family on tiles: sums stay in tile registers while the main loops run, then pass through scratch memory to the
//! epilogue, which works on vectors as everywhere.
//!
//! ```text
//! C (rows × 16·vectors):   tmm0 tmm1     rows 0..16       += A: tmm4   ·   B: tmm6 tmm7     (16 quads × 16 columns each)
//!                          tmm2 tmm3     rows 16..32      +=    tmm5
//! ```
//!
//! A kernel owns the tile configuration from its first instruction to its last: it has no way out in between, tiles belong
//! to the thread, and callers expect none of theirs to survive a call.

use super::epilogue;
use super::x86::{Builder, arg, role};
use crate::desc::{Finish, KernelDesc, Layout, Section, Start};
use crate::x86::asm::{Gpr, Mem, Scale};
use crate::x86::lowering::{Lowering, Tile, TileOp};

/// Rows of a tile.
const TILE_ROWS: usize = 16;
/// Bytes of a tile's row.
const ROW_BYTES: usize = 64;
/// Vectors of columns of the widest micro-tile.
const MAX_VECTORS: usize = 2;
/// Rows that pass the epilogue together: with two vectors each they leave eight registers to it.
const EPILOGUE_ROWS: usize = 12;

/// The row stride of A, sixteen times that, and the distance of rows in packed tiles; main loop only.
const A_STRIDE: Gpr = role::STRIDES[0];
const A_SIXTEEN_ROWS: Gpr = role::STRIDES[1];
const B_STRIDE: Gpr = role::STRIDES[2];
/// The distance of rows in scratch memory; outside the main loop.
const SCRATCH_STRIDE: Gpr = role::COUNT;
/// Row 16 of A at a step; main loop only.
const SECOND_HALF: Gpr = role::STEPS[1];

fn sums(half: usize, vector: usize) -> Tile {
    Tile((half * MAX_VECTORS + vector) as u8)
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
fn sizes(desc: &KernelDesc) -> Vec<u32> {
    let mut bytes = [0u8; 64];
    bytes[0] = 1;
    let mut set = |tile: Tile, rows: usize| {
        bytes[16 + 2 * usize::from(tile.0)] = ROW_BYTES as u8;
        bytes[48 + usize::from(tile.0)] = rows as u8;
    };
    for vector in 0..desc.vectors as usize {
        set(of_b(vector), TILE_ROWS);
    }
    for (half, rows) in halves(desc.rows as usize).enumerate() {
        set(of_a(half), rows);
        (0..desc.vectors as usize).for_each(|vector| set(sums(half, vector), rows));
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
    let vectors = b.vectors();
    let at = |half: usize, vector: usize| Mem {
        base: role::SCRATCH,
        index: Some((SCRATCH_STRIDE, Scale::X1)),
        disp: ((half * TILE_ROWS * vectors + vector) * ROW_BYTES) as i32,
    };
    let halves = 0..halves(b.rows()).count();
    halves.flat_map(|half| (0..vectors).map(move |v| (sums(half, v), at(half, v)))).collect()
}

fn load_scratch<L: Lowering>(b: &mut Builder<L>) {
    let stride = b.vectors() * ROW_BYTES;
    b.low.asm().load64(role::SCRATCH, arg!(scratch));
    b.low.asm().load_imm(SCRATCH_STRIDE, stride as u32);
}

/// The beginning of a micro-tile: strides, and sums at zero or what an earlier block left.
pub(super) fn start<L: Lowering>(b: &mut Builder<L>) {
    let resumes = b.desc.start == Start::Scratch;
    if resumes {
        load_scratch(b);
    }
    for (tile, place) in in_scratch(b) {
        b.low.tile(if resumes { TileOp::Load(tile, place) } else { TileOp::Zero(tile) });
    }
    let asm = b.low.asm();
    asm.load64(A_STRIDE, arg!(a_row_stride));
    asm.load64(A_SIXTEEN_ROWS, arg!(a_row_stride));
    asm.multiply_imm(A_SIXTEEN_ROWS, TILE_ROWS);
    asm.load_imm(B_STRIDE, ROW_BYTES as u32);
}

/// The products of a group, the `index`-th from where the pointers stand; row 0 is at the first of the steps' registers.
pub(super) fn products<L: Lowering>(b: &mut Builder<L>, section: Section, index: usize) {
    let halves = halves(b.rows()).count();
    let (vectors, activations) = (b.vectors(), b.desc.activations);
    let first_half = role::STEPS[0];
    if halves > 1 {
        let row = Mem { base: first_half, index: Some((A_SIXTEEN_ROWS, Scale::X1)), disp: 0 };
        b.low.asm().lea(SECOND_HALF, row);
    }
    for step in 0..section.steps() {
        for (half, base) in [first_half, SECOND_HALF].into_iter().enumerate().take(halves) {
            let disp = (step * b.desc.layout.step_depth()) as i32;
            b.low.tile(TileOp::Load(of_a(half), Mem { base, index: Some((A_STRIDE, Scale::X1)), disp }));
            for vector in 0..vectors {
                if half == 0 {
                    let tile = (index * section.vectors() + step) * vectors + vector;
                    let disp = (tile * b.desc.layout.vector_bytes()) as i32;
                    let place = Mem { base: role::B, index: Some((B_STRIDE, Scale::X1)), disp };
                    b.low.tile(TileOp::Load(of_b(vector), place));
                }
                let (sums, a, weights) = (sums(half, vector), of_a(half), of_b(vector));
                b.low.tile(TileOp::Dot { sums, a, b: weights, activations });
            }
        }
    }
}

/// The end of a micro-tile: sums go to scratch memory, from where the epilogue takes them some rows at a time.
pub(super) fn finish<L: Lowering>(b: &mut Builder<L>) {
    load_scratch(b);
    for (tile, place) in in_scratch(b) {
        b.low.tile(TileOp::Store(place, tile));
    }
    let Finish::Epilogue(epilogue) = b.desc.finish else { return };
    let whole = b.desc;
    let rows = b.rows();
    for first in (0..rows).step_by(EPILOGUE_ROWS) {
        // To the epilogue, a kernel of vectors that resumes from scratch memory.
        let rows = EPILOGUE_ROWS.min(rows - first) as u8;
        b.desc = KernelDesc { layout: Layout::Columns16, rows, start: Start::Scratch, ..whole };
        b.low.asm().load64(role::SCRATCH, arg!(scratch));
        for (i, acc) in b.accs().enumerate() {
            let place = Mem::at(role::SCRATCH, (first * b.vectors() + i) * ROW_BYTES);
            b.low.load(acc, place.into());
        }
        epilogue::stages(b, epilogue);
    }
    b.desc = whole;
}
