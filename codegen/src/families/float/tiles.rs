//! The float family on [tiles]: sums stay in tile registers while products are added, and pass through scratch memory
//! on their way from C and to the epilogue, which work on vectors as everywhere.
//!
//! Tiles of weights are 16 pairs of k × 16 columns, which the first micro-tile of a block makes of the packed panel and
//! keeps:
//!
//! ```text
//! for each pair of k:   16 columns of even places | 16 columns of odd places       128 bytes; zeros up to whole tiles
//! ```
//!
//! Weights that lie in tiles already are multiplied in [grids](crate::frame::grid).
//!
//! [tiles]: crate::x86::tiles

use std::mem::offset_of;

use super::builder::{Builder, role};
use super::desc::{Expansion, FLOAT_PANEL, FloatFinish, FloatKernelArgs as Args, FloatKernelDesc, FloatStart};
use super::{epilogue, main_loop};
use crate::families::sweep::Sweep;
use crate::frame::arg;
use crate::frame::grid::{Array, Distance, GridBody, GridFields, GridLoop, grid_fields};
use crate::x86::asm::{LINE_BYTES, Mem};
use crate::x86::lowering::{Lowering, Tile, TileOp, Vector};
use crate::x86::tiles::TILE_ROWS;

/// k of a tile of A: a row of a tile of weights is a pair of them.
const TILE_DEPTH: usize = 2 * TILE_ROWS;
/// Vectors of columns of a micro-tile.
const VECTORS: usize = 2;
/// Bytes of a kept pair of k.
const STRIP_BYTES: usize = VECTORS * LINE_BYTES;

/// A kernel of some rows of a micro-tile.
fn of_rows(whole: FloatKernelDesc, rows: u8) -> FloatKernelDesc {
    FloatKernelDesc { rows, ..whole }
}

/// The beginning of a micro-tile: sums at zero, at C, or at what an earlier part of K left.
pub(super) fn start<L: Lowering>(b: &mut Builder<L>) {
    if b.desc.start == FloatStart::Zero {
        return b.zero_tiles();
    }
    if b.desc.start == FloatStart::Beta {
        epilogue::point_at_c(b);
        b.in_vectors(of_rows, |b, place| {
            epilogue::start_at_rows_of_c(b);
            b.store_accs(place);
        });
    }
    b.load_tiles();
}

/// All of k.
pub(super) fn products<L: Lowering>(b: &mut Builder<L>) {
    if b.desc.expansion == Expansion::Kept {
        keep(b);
    }
    let (again, end) = (b.low.asm().label(), b.low.asm().label());
    b.load_tile_strides(STRIP_BYTES);
    let asm = b.low.asm();
    asm.load64(role::A, arg!(a));
    asm.load64(role::EXPANDED, arg!(expanded));
    asm.load64(role::COUNT, arg!(depth));
    asm.add_imm(role::COUNT, TILE_DEPTH - 1);
    asm.shift_right_imm(role::COUNT, TILE_DEPTH.ilog2() as u8);
    asm.jump_if_zero(role::COUNT, end);
    asm.place(again);
    let place_of_b = |_, vector| vector * LINE_BYTES;
    b.multiply_tiles((role::A, LINE_BYTES), (role::EXPANDED, place_of_b), 1, |sums, a, b| TileOp::DotBf16 {
        sums,
        a,
        b,
    });
    let asm = b.low.asm();
    asm.add_imm(role::A, LINE_BYTES);
    asm.add_imm(role::EXPANDED, TILE_ROWS * STRIP_BYTES);
    asm.dec_jump_not_zero(role::COUNT, again);
    asm.place(end);
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
    b.store_tiles();
    let FloatFinish::Epilogue(epilogue) = finish else { return };
    epilogue::point(b, epilogue);
    b.in_vectors(of_rows, |b, place| {
        b.load_accs(place);
        epilogue::stages_of_rows(b, epilogue);
    });
}

impl GridBody for FloatKernelDesc {
    const FIELDS: GridFields = grid_fields!();

    fn main_loop(&self) -> GridLoop {
        let Sweep::Grid { k, ahead, .. } = self.sweep else { unreachable!("asked of grids alone") };
        let a_bytes = (k as usize).div_ceil(TILE_DEPTH) * LINE_BYTES;
        GridLoop { a_bytes, panel_vectors: VECTORS, rows_ahead: ahead.rows() }
    }

    fn dot(&self, sums: Tile, a: Tile, b: Tile) -> TileOp {
        TileOp::DotBf16 { sums, a, b }
    }

    fn arrays_by_row(&self) -> Vec<Array> {
        let rows = usize::from(self.rows);
        let c = Array { at: offset_of!(Args, c), by: Distance::Times(rows, offset_of!(Args, c_row_stride)) };
        let by = Distance::Times(rows, offset_of!(Args, residual_row_stride));
        let residual = Array { at: offset_of!(Args, residual), by };
        [Some(c), self.has_residual().then_some(residual)].into_iter().flatten().collect()
    }

    fn arrays_by_column(&self) -> Vec<Array> {
        let cols = FLOAT_PANEL * self.sweep.panels();
        let array = |at, bytes| Array { at, by: Distance::Bytes(bytes * cols) };
        let c = array(offset_of!(Args, c), self.c.bytes());
        let residual = array(offset_of!(Args, residual), self.c.bytes());
        let bias = array(offset_of!(Args, bias), size_of::<f32>());
        let arrays = [Some(c), self.has_residual().then_some(residual), self.has_bias().then_some(bias)];
        arrays.into_iter().flatten().collect()
    }

    fn hold_constants<L: Lowering>(_: &mut Builder<L>) {}

    fn hold<L: Lowering>(b: &mut Builder<L>) {
        let FloatFinish::Epilogue(epilogue) = b.desc.finish else { return };
        epilogue::point(b, epilogue);
        if epilogue.bias {
            for v in 0..b.vectors() {
                let bias = Mem::at(role::BIAS, v * LINE_BYTES);
                b.low.load(epilogue::held_bias(v), bias.into());
            }
        }
    }

    fn epilogue<L: Lowering>(b: &mut Builder<L>, rows: usize, sums: Mem) {
        let whole = b.desc;
        let (FloatFinish::Epilogue(epilogue), Sweep::Grid { ahead, .. }) = (whole.finish, whole.sweep) else { return };
        let (panels, sweep) = (whole.sweep.panels() as u8, whole.sweep.of_one_panel());
        let (vectors, cols) = (whole.vectors * panels, whole.cols * panels);
        b.desc = FloatKernelDesc { rows: rows as u8, vectors, cols, sweep, ..whole };
        b.load_accs(sums);
        if ahead.rows() > 0 {
            let row_bytes = usize::from(cols) * whole.c.bytes();
            b.prefetch_micro_tiles_ahead((role::C, role::C_STRIDE), row_bytes);
            if epilogue.residual {
                b.prefetch_micro_tiles_ahead((role::RESIDUAL, role::RESIDUAL_STRIDE), row_bytes);
            }
        }
        epilogue::stages_of_rows(b, epilogue);
        b.desc = whole;
    }
}

impl FloatKernelDesc {
    fn has_residual(&self) -> bool {
        matches!(self.finish, FloatFinish::Epilogue(e) if e.residual)
    }

    fn has_bias(&self) -> bool {
        matches!(self.finish, FloatFinish::Epilogue(e) if e.bias)
    }
}
