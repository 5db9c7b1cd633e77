//! The int8 family on [tiles]: sums stay in tile registers while the main loops run, then pass through scratch memory
//! to the epilogue, which works on vectors as everywhere. Tiles of weights are 16 quads of k × 16 columns.
//!
//! [tiles]: crate::frame::tiles

use std::mem::offset_of;

use super::builder::{Builder, role};
use super::epilogue;
use crate::families::int8::args::KernelArgs as Args;
use crate::families::int8::desc::{
    AZeroPoint, BZeroPoint, Dequantize, Epilogue, Finish, KernelDesc, Layout, Output, Section, Start,
};
use crate::families::sweep::Sweep;
use crate::frame::grid::{Array, Distance, GridBody, GridFields, GridLoop, grid_fields};
use crate::x86::asm::Mem;
use crate::x86::lowering::{Lowering, Tile, TileOp};
use crate::x86::tiles::ROW_BYTES;

/// The beginning of a micro-tile: strides, and sums at zero or what an earlier block left.
pub(super) fn start<L: Lowering>(b: &mut Builder<L>) {
    match b.desc.start {
        Start::Zero => b.zero_tiles(),
        Start::Scratch => b.load_tiles(),
    }
    b.load_tile_strides(ROW_BYTES);
}

/// The products of a bundle, the `index`-th from where the pointers stand; row 0 is at the first of the steps'
/// registers.
pub(super) fn products<L: Lowering>(b: &mut Builder<L>, section: Section, index: usize) {
    let (layout, vectors, activations) = (b.desc.layout, b.vectors(), b.desc.activations);
    let place_of_b = |step, vector| ((index * section.vectors() + step) * vectors + vector) * layout.vector_bytes();
    let dot = |sums, a, b| TileOp::Dot { sums, a, b, activations };
    b.multiply_tiles((role::STEPS[0], layout.step_depth()), (role::B, place_of_b), section.steps(), dot);
}

/// The end of a micro-tile: sums go to scratch memory, from where the epilogue takes them some rows at a time.
pub(super) fn finish<L: Lowering>(b: &mut Builder<L>) {
    b.store_tiles();
    let Finish::Epilogue(epilogue) = b.desc.finish else { return };
    // To the epilogue, kernels of vectors that resume from scratch memory.
    let of_rows = |whole, rows| KernelDesc { layout: Layout::Columns16, rows, start: Start::Scratch, ..whole };
    b.in_vectors(of_rows, |b, place| {
        b.load_accs(place);
        epilogue::stages(b, epilogue);
    });
}

impl GridBody for KernelDesc {
    const FIELDS: GridFields = grid_fields!();

    fn main_loop(&self) -> GridLoop {
        let Sweep::Grid { k, ahead, .. } = self.sweep else { unreachable!("asked of grids alone") };
        GridLoop { a_bytes: k as usize, panel_vectors: self.vectors.into(), rows_ahead: ahead.rows() }
    }

    fn dot(&self, sums: Tile, a: Tile, b: Tile) -> TileOp {
        TileOp::Dot { sums, a, b, activations: self.activations }
    }

    fn arrays_by_row(&self) -> Vec<Array> {
        let Finish::Epilogue(epilogue) = self.finish else { return Vec::new() };
        let (rows, is_dequantize) = (usize::from(self.rows), dequantize_of(epilogue));
        let numbers = |at| Array { at, by: Distance::Bytes(4 * rows) };
        let matrix = |at, stride| Array { at, by: Distance::Times(rows, stride) };
        let some = |condition: bool, array: Array| condition.then_some(array);
        [
            Some(matrix(offset_of!(Args, c), offset_of!(Args, c_row_stride))),
            some(
                is_dequantize.is_some_and(|d| d.residual),
                matrix(offset_of!(Args, residual), offset_of!(Args, residual_row_stride)),
            ),
            some(epilogue.a_zero_point == AZeroPoint::PerRow, numbers(offset_of!(Args, row_zero_point))),
            some(epilogue.b_zero_point != BZeroPoint::Zero, numbers(offset_of!(Args, row_term))),
            some(is_dequantize.is_some_and(|d| d.row_scale), numbers(offset_of!(Args, row_scale))),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn arrays_by_column(&self) -> Vec<Array> {
        let Finish::Epilogue(epilogue) = self.finish else { return Vec::new() };
        let cols = self.panel_cols() * self.sweep.panels();
        epilogue::arrays_by_column(epilogue)
            .map(|(at, bytes)| Array { at, by: Distance::Bytes(bytes * cols) })
            .collect()
    }

    fn hold_constants<L: Lowering>(b: &mut Builder<L>) {
        epilogue_of(b, 1, epilogue::hold_constants);
    }

    fn hold<L: Lowering>(b: &mut Builder<L>) {
        epilogue_of(b, 1, epilogue::hold);
    }

    fn epilogue<L: Lowering>(b: &mut Builder<L>, rows: usize, sums: Mem) {
        epilogue_of(b, rows, |b, epilogue| {
            b.load_accs(sums);
            epilogue::stages(b, epilogue);
        });
    }
}

/// Calls `part` with the kernel as one of vectors, of some rows of a grid's micro-tile.
fn epilogue_of<L: Lowering>(b: &mut Builder<L>, rows: usize, part: impl FnOnce(&mut Builder<L>, Epilogue)) {
    let whole = b.desc;
    let Finish::Epilogue(epilogue) = whole.finish else { return };
    b.desc = KernelDesc {
        layout: Layout::Columns16,
        rows: rows as u8,
        vectors: whole.all_vectors() as u8,
        cols: whole.cols * whole.sweep.panels() as u8,
        start: Start::Scratch,
        sweep: whole.sweep.of_one_panel(),
        ..whole
    };
    part(b, epilogue);
    b.desc = whole;
}

fn dequantize_of(epilogue: Epilogue) -> Option<Dequantize> {
    match epilogue.output {
        Output::Dequantize(d) => Some(d),
        _ => None,
    }
}
