//! The int8 family on [tiles]: sums stay in tile registers while the main loops run, then pass through scratch memory to the
//! epilogue, which works on vectors as everywhere. Tiles of weights are 16 quads of k × 16 columns.
//!
//! [tiles]: crate::x86::tiles

use super::epilogue;
use super::x86::{Builder, arg, role};
use crate::desc::{Finish, KernelDesc, Layout, Section, Start};
use crate::x86::asm::{Gpr, Mem, Scale};
use crate::x86::lowering::{Lowering, TileOp};
use crate::x86::tiles::{MicroTile, ROW_BYTES, TILE_ROWS};

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

fn micro_tile<L: Lowering>(b: &Builder<L>) -> MicroTile {
    MicroTile { rows: b.rows(), vectors: b.vectors() }
}

/// Takes the tiles, once for all micro-tiles of a call.
pub(super) fn configure<L: Lowering>(b: &mut Builder<L>) {
    micro_tile(b).configure(&mut b.low);
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
    for (tile, place) in micro_tile(b).sums_in_memory(role::SCRATCH, SCRATCH_STRIDE) {
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
    let (tile, activations) = (micro_tile(b), b.desc.activations);
    let first_half = role::STEPS[0];
    if tile.has_second_half() {
        let row = Mem { base: first_half, index: Some((A_SIXTEEN_ROWS, Scale::X1)), disp: 0 };
        b.low.asm().lea(SECOND_HALF, row);
    }
    let layout = b.desc.layout;
    for step in 0..section.steps() {
        let of_a = |base| Mem::at(base, step * layout.step_depth()).indexed(A_STRIDE, Scale::X1);
        let of_b = |vector| {
            let before = (index * section.vectors() + step) * tile.vectors + vector;
            Mem::at(role::B, before * layout.vector_bytes()).indexed(B_STRIDE, Scale::X1)
        };
        let dot = |sums, a, b| TileOp::Dot { sums, a, b, activations };
        tile.multiply(&mut b.low, [first_half, SECOND_HALF].map(of_a), of_b, dot);
    }
}

/// The end of a micro-tile: sums go to scratch memory, from where the epilogue takes them some rows at a time.
pub(super) fn finish<L: Lowering>(b: &mut Builder<L>) {
    load_scratch(b);
    for (tile, place) in micro_tile(b).sums_in_memory(role::SCRATCH, SCRATCH_STRIDE) {
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
