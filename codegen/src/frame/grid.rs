//! Software-pipelined kernels of [tiles](crate::x86::tiles): a grid of micro-tiles in one call, row after row of them,
//! each with its products between the stages of the one before.
//!
//! ```text
//! micro-tile i:   step 0                                       steps 1 ..
//!                 load, for each tile of sums: store, zero,    load, multiply, some rows of the epilogue of i - 1
//!                 multiply
//! ```
//!
//! Sums are stored just before their tile is used again: the tile's last product is long done then. The epilogue's rows
//! are spread evenly over the other steps, where vector units have nothing else to do. MEASURED in a prototype on
//! Sapphire Rapids, 512 and 1024 cubed: stores that wait gain 1.1 to 1.3 times, the epilogue between products 1.1
//! times; unevenly spread at K = 512 it loses a tenth.
//!
//! The epilogue of nothing, before the first micro-tile, writes to a row of its own behind the sums in scratch memory.
//! It is the end of a row of micro-tiles, so that the epilogue's place after it is the grid's first. The last
//! micro-tile's epilogue stands behind the loop.
//!
//! What the epilogue reads and writes by row or column it finds at arguments that move; where rows begin, and where the
//! first column is, [`GridArgs`] remembers.

use std::mem::offset_of;

use super::{Body, Builder, role};
use crate::families::sweep::Sweep;
use crate::kernel::grid::GridArgs;
use crate::tuning;
use crate::x86::asm::{Gpr, LINE_BYTES, Mem, Scale};
use crate::x86::lowering::{Lowering, Tile, TileOp};
use crate::x86::tiles::{Hint, MicroTile, ROW_BYTES, Step, TILE_ROWS};

/// Where an argument block has what the frame of a grid reads: offsets of its fields.
pub(crate) struct GridFields {
    pub(crate) a: usize,
    pub(crate) b: usize,
    pub(crate) c: usize,
    pub(crate) c_row_stride: usize,
    pub(crate) grid: usize,
}

/// [`GridFields`] of the type that is called `Args` where this stands.
macro_rules! grid_fields {
    () => {
        crate::frame::grid::GridFields {
            a: std::mem::offset_of!(Args, a),
            b: std::mem::offset_of!(Args, b),
            c: std::mem::offset_of!(Args, c),
            c_row_stride: std::mem::offset_of!(Args, c_row_stride),
            grid: std::mem::offset_of!(Args, grid),
        }
    };
}
pub(crate) use grid_fields;

/// An array that the epilogue reads by row or by column, or C.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Array {
    /// Offset of the argument.
    pub(crate) at: usize,
    /// How far a micro-tile moves it along its way.
    pub(crate) by: Distance,
}

/// A distance in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Distance {
    /// So many.
    Bytes(usize),
    /// So many times what the argument at this offset holds.
    Times(usize, usize),
}

/// A grid's main loop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GridLoop {
    /// Bytes of a row of A that products read.
    pub(crate) a_bytes: usize,
    /// Vectors of columns of a packed panel.
    pub(crate) panel_vectors: usize,
    /// Rows of A for the next row of micro-tiles that a micro-tile prefetches, two at most.
    pub(crate) rows_ahead: usize,
}

impl GridLoop {
    fn steps(&self) -> usize {
        self.a_bytes.div_ceil(ROW_BYTES)
    }

    /// Where a step of A is in its row: the last one reaches back rather than past the end.
    fn step_of_a(&self, step: usize) -> usize {
        (step * ROW_BYTES).min(self.a_bytes.saturating_sub(ROW_BYTES))
    }

    /// Bytes of a panel's tiles of one step.
    fn step_bytes(&self) -> usize {
        self.panel_vectors * TILE_ROWS * ROW_BYTES
    }

    fn panel_bytes(&self) -> usize {
        self.steps() * self.step_bytes()
    }

    /// Where the tile of a step and vector is, from where the micro-tile's first panel begins.
    fn tile_of_b(&self, step: usize, vector: usize) -> usize {
        let (panel, within) = (vector / self.panel_vectors, vector % self.panel_vectors);
        panel * self.panel_bytes() + step * self.step_bytes() + within * TILE_ROWS * ROW_BYTES
    }
}

/// What a family puts into a grid.
pub(crate) trait GridBody: Body {
    const FIELDS: GridFields;

    fn main_loop(&self) -> GridLoop;
    /// The product of two tiles, added to a third.
    fn dot(&self, sums: Tile, a: Tile, b: Tile) -> TileOp;
    /// Arrays by row, C among them, in units of micro-tiles' rows.
    fn arrays_by_row(&self) -> Vec<Array>;
    /// The same by column: of a micro-tile's columns. C and the residual are in both lists.
    fn arrays_by_column(&self) -> Vec<Array>;
    /// Loads what the epilogues of all micro-tiles read.
    fn hold_constants<L: Lowering>(b: &mut Builder<Self, L>);
    /// Loads what a micro-tile's epilogue reads for all rows, and points at its first row.
    fn hold<L: Lowering>(b: &mut Builder<Self, L>);
    /// The epilogue of `rows` rows of a micro-tile from [`Builder::in_grid`] on, whose sums are at `sums`.
    fn epilogue<L: Lowering>(b: &mut Builder<Self, L>, rows: usize, sums: Mem);
}

/// Registers of main loops; the epilogue has others.
const A: Gpr = Gpr::Rbx;
const SECOND_HALF: Gpr = Gpr::Rbp;
const A_STRIDE: Gpr = Gpr::R12;
const B: Gpr = Gpr::R13;
/// Bytes of a tile's row.
const ROW: Gpr = Gpr::R14;
const SUMS: Gpr = Gpr::R15;

/// Where rows of A to prefetch begin; a register that the epilogue has for masks, where it has some.
const NEXT: Gpr = Gpr::Rdx;

/// Steps that a kernel has one after the other, and those that the epilogue is spread over if there are more.
const UNROLLED: usize = 64;
const WOVEN: usize = 32;
/// Steps of an iteration of the loop that there is then.
const ITERATION: usize = 8;

fn address(of: usize) -> Mem {
    Mem::at(role::ARGS, of)
}

impl<D: GridBody, L: Lowering> Builder<D, L> {
    fn grid(field: usize) -> Mem {
        address(D::FIELDS.grid + field)
    }

    /// The whole kernel, but for saving registers, if its sweep is a grid, and whether it is.
    pub(crate) fn kernel_if_grid(&mut self, sweep: Sweep) -> bool {
        if sweep.is_grid() {
            self.grid_kernel();
        }
        sweep.is_grid()
    }

    fn grid_kernel(&mut self) {
        let tile = self.micro_tile();
        let next = self.low.asm().label();
        self.begin_grid(tile);
        self.low.asm().place(next);
        self.woven_micro_tile(tile);
        self.next_epilogue();

        let asm = self.low.asm();
        asm.dec_mem_jump_not_zero(Self::grid(offset_of!(GridArgs, left)), next);
        asm.load64(role::SCRATCH, Self::grid(offset_of!(GridArgs, width)));
        asm.store64(Self::grid(offset_of!(GridArgs, left)), role::SCRATCH);
        asm.load64(B, address(D::FIELDS.b));
        self.advance_by_rows(address(D::FIELDS.a), address(D::ARGS.a_row_stride));
        self.point_at_next_rows();
        self.low.asm().dec_mem_jump_not_zero(address(D::ARGS.tiles), next);

        for (tile, place) in tile.sums_in_memory(SUMS, row_of(tile)) {
            self.low.tile(TileOp::Store(place, tile));
        }
        D::hold(self);
        self.pieces(tile).iter().for_each(|piece| self.piece(piece));
        self.low.tile(TileOp::Release);
    }

    /// Tiles, constants, and the end of a row before the first one.
    fn begin_grid(&mut self, tile: MicroTile) {
        let (by_row, by_column) = (self.desc.arrays_by_row(), self.desc.arrays_by_column());
        let asm = self.low.asm();
        asm.load64(SUMS, address(D::ARGS.scratch));
        asm.load_imm(ROW, ROW_BYTES as u32);
        asm.load64(B, address(D::FIELDS.b));
        asm.load64(role::SCRATCH, Self::grid(offset_of!(GridArgs, width)));
        asm.store64(Self::grid(offset_of!(GridArgs, left)), role::SCRATCH);
        asm.load_imm(role::SCRATCH, 1);
        asm.store64(Self::grid(offset_of!(GridArgs, epilogues_left)), role::SCRATCH);
        for (i, array) in by_row.iter().enumerate() {
            // A row before: the first row's place is one row on.
            self.distance(array.by);
            let asm = self.low.asm();
            asm.negate(role::SCRATCH);
            asm.add_from(role::SCRATCH, address(array.at));
            asm.store64(Self::grid(offset_of!(GridArgs, by_row) + i * size_of::<usize>()), role::SCRATCH);
        }
        for (i, array) in self.homes(&by_row, &by_column) {
            let asm = self.low.asm();
            asm.load64(role::SCRATCH, address(array.at));
            asm.store64(Self::grid(offset_of!(GridArgs, by_column) + i * size_of::<usize>()), role::SCRATCH);
        }
        let asm = self.low.asm();
        asm.load64(role::SCRATCH, address(D::FIELDS.c_row_stride));
        asm.store64(Self::grid(offset_of!(GridArgs, c_row_stride)), role::SCRATCH);
        asm.load_imm(role::SCRATCH, 0);
        asm.store64(address(D::FIELDS.c_row_stride), role::SCRATCH);
        asm.lea(role::SCRATCH, Mem::at(SUMS, tile.rows * tile.row_bytes()));
        asm.store64(address(D::FIELDS.c), role::SCRATCH);
        D::hold_constants(self);
        self.point_at_next_rows();
        tile.configure(&mut self.low);
    }

    /// Points at the rows of A behind those of this row of micro-tiles.
    fn point_at_next_rows(&mut self) {
        let rows = self.rows();
        if self.desc.main_loop().rows_ahead > 0 {
            let asm = self.low.asm();
            asm.load64(role::SCRATCH, address(D::ARGS.a_row_stride));
            asm.multiply_imm(role::SCRATCH, rows);
            asm.add_from(role::SCRATCH, address(D::FIELDS.a));
            asm.store64(Self::grid(offset_of!(GridArgs, next_rows)), role::SCRATCH);
        }
    }

    /// Arrays that go back to their first column at the end of a row: those by column that are not by row too.
    fn homes(&self, by_row: &[Array], by_column: &[Array]) -> Vec<(usize, Array)> {
        let alone = by_column.iter().filter(|c| by_row.iter().all(|r| r.at != c.at));
        alone.copied().enumerate().collect()
    }

    /// `role::SCRATCH = distance`
    fn distance(&mut self, distance: Distance) {
        let asm = self.low.asm();
        match distance {
            Distance::Bytes(bytes) => asm.load_imm(role::SCRATCH, bytes as u32),
            Distance::Times(times, of) => {
                asm.load64(role::SCRATCH, address(of));
                asm.multiply_imm(role::SCRATCH, times);
            }
        }
    }

    /// The epilogue's place moves to the next micro-tile of the row, or of the next row.
    fn next_epilogue(&mut self) {
        let (by_row, by_column) = (self.desc.arrays_by_row(), self.desc.arrays_by_column());
        let home = |i: usize| Self::grid(offset_of!(GridArgs, by_row) + i * size_of::<usize>());
        let done = self.low.asm().label();
        for array in &by_column {
            if let Distance::Bytes(bytes) = array.by {
                self.low.asm().add_imm_to(address(array.at), bytes);
            }
        }
        let left = Self::grid(offset_of!(GridArgs, epilogues_left));
        self.low.asm().dec_mem_jump_not_zero(left, done);

        let asm = self.low.asm();
        asm.load64(role::SCRATCH, Self::grid(offset_of!(GridArgs, width)));
        asm.store64(left, role::SCRATCH);
        asm.load64(role::SCRATCH, Self::grid(offset_of!(GridArgs, c_row_stride)));
        asm.store64(address(D::FIELDS.c_row_stride), role::SCRATCH);
        for (i, array) in by_row.iter().enumerate() {
            self.distance(array.by);
            let asm = self.low.asm();
            asm.add_from(role::SCRATCH, home(i));
            asm.store64(home(i), role::SCRATCH);
            asm.store64(address(array.at), role::SCRATCH);
        }
        for (i, array) in self.homes(&by_row, &by_column) {
            let asm = self.low.asm();
            asm.load64(role::SCRATCH, Self::grid(offset_of!(GridArgs, by_column) + i * size_of::<usize>()));
            asm.store64(address(array.at), role::SCRATCH);
        }
        self.low.asm().place(done);
    }

    /// The rows that pass the epilogue together.
    fn pieces(&self, tile: MicroTile) -> Vec<Piece> {
        let rows = tuning::GRID_EPILOGUE_VECTORS.div_ceil(tile.vectors);
        let sums = |first| Mem::at(SUMS, first * tile.row_bytes());
        let of = |first| Piece { first, rows: rows.min(tile.rows - first), sums: sums(first) };
        (0..tile.rows).step_by(rows).map(of).collect()
    }

    fn piece(&mut self, piece: &Piece) {
        self.in_grid = Some(piece.first);
        D::epilogue(self, piece.rows, piece.sums);
        self.in_grid = None;
    }

    /// The products of a micro-tile, and the epilogue of the one before.
    fn woven_micro_tile(&mut self, tile: MicroTile) {
        let main_loop = self.desc.main_loop();
        let steps = main_loop.steps();
        let asm = self.low.asm();
        asm.load64(A, address(D::FIELDS.a));
        asm.load64(A_STRIDE, address(D::ARGS.a_row_stride));
        if let Some(row) = tile.second_half() {
            asm.load64(SECOND_HALF, address(D::ARGS.a_row_stride));
            asm.multiply_imm(SECOND_HALF, row);
            asm.add(SECOND_HALF, A);
        }
        let next_rows = Self::grid(offset_of!(GridArgs, next_rows));
        if main_loop.rows_ahead > 0 {
            self.low.asm().load64(NEXT, next_rows);
        }
        let (woven, looped) = match steps {
            ..=UNROLLED => (steps, 0),
            // The last step, which may reach back, stands behind the loop.
            _ => (WOVEN, (steps - WOVEN - 1) / ITERATION),
        };
        let pieces = self.pieces(tile);
        let mut done = 0;
        for step in 0..woven {
            self.grid_step(tile, &main_loop, step, 0);
            // None at the first step, which stores the sums.
            let due = if woven == 1 { pieces.len() } else { (pieces.len() * step).div_ceil(woven - 1) };
            if step == 0 {
                D::hold(self);
            }
            pieces[done..due].iter().for_each(|piece| self.piece(piece));
            done = due;
        }
        if looped > 0 {
            let again = self.low.asm().label();
            self.low.asm().load_imm(role::COUNT, looped as u32);
            self.low.asm().place(again);
            (0..ITERATION).for_each(|i| self.grid_step(tile, &main_loop, woven + i, 0));
            let asm = self.low.asm();
            asm.add_imm(A, ITERATION * ROW_BYTES);
            let others = [(tile.second_half().is_some(), SECOND_HALF), (main_loop.rows_ahead > 0, NEXT)];
            for (_, pointer) in others.into_iter().filter(|(is_used, _)| *is_used) {
                asm.add_imm(pointer, ITERATION * ROW_BYTES);
            }
            asm.add_imm(B, ITERATION * main_loop.step_bytes());
            asm.dec_jump_not_zero(role::COUNT, again);
        }
        let moved = looped * ITERATION;
        for step in woven + moved..steps {
            self.grid_step(tile, &main_loop, step, moved);
        }
        for _ in 0..main_loop.rows_ahead {
            self.low.asm().add_to(next_rows, A_STRIDE);
        }
        let all = tile.vectors / main_loop.panel_vectors * main_loop.panel_bytes();
        self.low.asm().add_imm(B, all - moved * main_loop.step_bytes());
    }

    /// Prefetches, beside two rows of a matrix at most that begin where a register says, what these rows have some
    /// micro-tiles on; `row_bytes` is what a row of a micro-tile has.
    pub(crate) fn prefetch_micro_tiles_ahead(&mut self, (matrix, stride): (Gpr, Gpr), row_bytes: usize) {
        for row in 0..self.rows().min(2) {
            for line in (0..row_bytes).step_by(LINE_BYTES) {
                let index = (row > 0).then_some((stride, Scale::X1));
                let place = Mem::at(matrix, tuning::GRID_MICRO_TILES_AHEAD * row_bytes + line);
                self.low.asm().prefetch_l2(Mem { index, ..place });
            }
        }
    }

    /// A step whose pointers have moved by `moved` steps.
    fn grid_step(&mut self, tile: MicroTile, main_loop: &GridLoop, step: usize, moved: usize) {
        let desc = self.desc;
        let rows = |base, index, disp| Mem { index: Some((index, Scale::X1)), ..Mem::at(base, disp) };
        let at = Step {
            a: [A, SECOND_HALF].map(|half| rows(half, A_STRIDE, main_loop.step_of_a(step) - moved * ROW_BYTES)),
            a_hint: match step < tuning::GRID_STEPS_KEPT * 2 * TILE_ROWS / tile.rows {
                true => Hint::Stays,
                false => Hint::Passes,
            },
            b: |vector| rows(B, ROW, main_loop.tile_of_b(step, vector) - moved * main_loop.step_bytes()),
            b_hint: Hint::Passes,
        };
        for row in 0..main_loop.rows_ahead {
            let place = Mem::at(NEXT, (step - moved) * ROW_BYTES);
            let index = (row > 0).then_some((A_STRIDE, Scale::X1));
            self.low.asm().prefetch_l2(Mem { index, ..place });
        }
        let places: Vec<(Tile, Mem)> = tile.sums_in_memory(SUMS, row_of(tile)).collect();
        let dot = |sums, a, b| desc.dot(sums, a, b);
        tile.multiply(&mut self.low, &at, dot, |low, sums| {
            if step == 0 {
                let place = places.iter().find(|(tile, _)| *tile == sums).map(|&(_, place)| place);
                place.into_iter().for_each(|place| low.tile(TileOp::Store(place, sums)));
                low.tile(TileOp::Zero(sums));
            }
        });
    }
}

/// Some rows of sums.
struct Piece {
    first: usize,
    rows: usize,
    sums: Mem,
}

/// The distance of rows of sums, by [`ROW`].
fn row_of(tile: MicroTile) -> (Gpr, Scale) {
    let scale = match tile.vectors {
        1 => Scale::X1,
        2 => Scale::X2,
        _ => Scale::X4,
    };
    (ROW, scale)
}
