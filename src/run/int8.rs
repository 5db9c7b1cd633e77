//! The body of products of 8-bit integers: loops over panels and passes of K, and the call into machine code.
//!
//! ```text
//! LOOP 2  panels in blocks of NC                   partial sums of MC × NC, if K has several passes
//!   LOOP 3  K in passes of one block (KC) or all
//!     LOOP 4  panels                               a panel's block stays in the first-level cache
//!       kernel: micro-tiles of the block of rows
//! ```
//!
//! Where the plan goes along rows of panels, with all of K in one pass, each micro-tile of the block takes the place of
//! loop 4, and the kernel goes through the panels itself.

use std::ops::Range;
use std::sync::Arc;

use gemmill_codegen::{
    AZeroPoint, Ahead, BZeroPoint, Byte, CodegenError, Epilogue, Finish, GridArgs, Kernel, KernelArgs, KernelCache,
    KernelDesc, Layout, MAX_PREFETCH_ROWS, Output, Panels, Prefetch, Start, Sweep,
};

use super::{Block, Body, Destination, Residual, RowSize, Rows, RowsMut, Scratch, from};
use crate::error::{Result, expect};
use crate::machine::memory::{Lines, resize};
use crate::machine::tuning;
use crate::operands::planes::{row_sum, write_planes};
use crate::operands::{Operand, ROW_CHUNK, RowParameters};
use crate::plan::grid::{PanelKind, in_twos};
use crate::plan::int8::{Int8Plan, KernelIndex};
use crate::plan::{Loops, Run};
use crate::views::MatRef;
use crate::weights::int8::packed::PackedView;
use crate::weights::int8::step::{self, group_row_bytes, packed_row_bytes};

/// A direction through blocks of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Forwards,
    Backwards,
}

impl Direction {
    /// The direction after `turns` turns.
    fn turned(self, turns: usize) -> Direction {
        match (self, turns % 2) {
            (direction, 0) => direction,
            (Direction::Forwards, _) => Direction::Backwards,
            (Direction::Backwards, _) => Direction::Forwards,
        }
    }

    /// The `i`-th of `count` in this direction.
    fn place(self, i: usize, count: usize) -> usize {
        match self {
            Direction::Forwards => i,
            Direction::Backwards => count - 1 - i,
        }
    }
}

/// Limits and zero point of the output, as [`KernelArgs`] has them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    pub(crate) low: f32,
    pub(crate) high: f32,
    pub(crate) zero_point: i32,
    pub(crate) low_byte: i32,
    pub(crate) high_byte: i32,
}

/// Per-column arrays, by padded column; empty where the epilogue needs none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns<'a> {
    pub(crate) term: &'a [i32],
    pub(crate) correction: &'a [i32],
    pub(crate) zero_point: &'a [i32],
    pub(crate) scale: &'a [f32],
    pub(crate) bias: &'a [f32],
}

/// The kernels of a plan for an epilogue: by panel width, tile height, and place among the passes over K.
#[derive(Debug)]
pub(crate) struct Int8Kernels {
    epilogue: Epilogue,
    activations: Byte,
    /// `[PanelKind][tall or short tile][KernelIndex::pass]`
    table: [[[Option<Arc<Kernel>>; 4]; 2]; 3],
}

impl Int8Kernels {
    /// All kernels that a plan needs.
    pub(crate) fn new(
        packed: PackedView<'_>,
        plan: &Int8Plan,
        epilogue: Epilogue,
        activations: Byte,
    ) -> Result<Int8Kernels, CodegenError> {
        let mut kernels = Int8Kernels { epilogue, activations, table: Default::default() };
        for i in plan.kernel_places(packed.blocks().len()) {
            if let Some(desc) = kernel_desc(packed, plan, epilogue, activations, i) {
                let slot = &mut kernels.table[i.panels as usize][usize::from(i.short_tile)][i.pass()];
                *slot = Some(KernelCache::global().get(&desc)?);
            }
        }
        Ok(kernels)
    }

    pub(crate) fn epilogue(&self) -> Epilogue {
        self.epilogue
    }

    fn get(&self, i: KernelIndex) -> Option<&Kernel> {
        self.table[i.panels as usize][usize::from(i.short_tile)][i.pass()].as_deref()
    }
}

/// The kernel at a place of the plan, if the plan has one there.
pub(crate) fn kernel_desc(
    packed: PackedView<'_>,
    plan: &Int8Plan,
    epilogue: Epilogue,
    activations: Byte,
    index: KernelIndex,
) -> Option<KernelDesc> {
    let tiles = plan.loops.tiles;
    let (rows, count) =
        if index.short_tile { (tiles.height.saturating_sub(1), tiles.short) } else { (tiles.height, tiles.tall) };
    let panel = if index.panels == PanelKind::Tail { packed.tail()? } else { packed.widest()? };
    let is_full = panel.is_full(packed.layout());
    let sweep = match plan.sweep {
        Sweep::Grid { k, ahead, .. } if index.panels != PanelKind::Two => {
            Sweep::Grid { k, panels: Panels::One, ahead: if is_full { ahead } else { Ahead::Nothing } }
        }
        // A panel that is not full stands alone in its row.
        Sweep::Row if !is_full => Sweep::Column,
        Sweep::Grid { .. } if !is_full => return None,
        sweep => sweep,
    };
    (count > 0).then(|| KernelDesc {
        tier: packed.tier(),
        layout: plan.layout,
        activations,
        rows: rows as u8,
        vectors: panel.vectors as u8,
        cols: panel.cols as u8,
        sections: packed.sections(),
        start: if index.first_pass { Start::Zero } else { Start::Scratch },
        finish: if index.last_pass { Finish::Epilogue(epilogue) } else { Finish::Scratch },
        sweep,
        prefetch: if rows <= MAX_PREFETCH_ROWS { plan.prefetch } else { Prefetch::None },
    })
}

/// Whether kernels can read A where it lies, `has_rows_of_bytes` saying that its rows hold what they read side by side.
pub(crate) fn reads_in_place(packed: PackedView<'_>, has_rows_of_bytes: bool) -> bool {
    let whole_steps = packed.k() == 0 || packed.k() >= packed.layout().step_depth();
    has_rows_of_bytes && whole_steps && packed.planes().only_natural()
}

/// Bytes of a row of A as kernels read it.
pub(crate) fn a_row_bytes(packed: PackedView<'_>, in_place: bool) -> Result<usize> {
    match in_place {
        true => Ok(packed.k() * packed.groups()),
        false => packed_row_bytes(packed.blocks(), packed.planes(), packed.layout(), packed.groups()),
    }
}

/// A product: what [`Int8Product::body`] checks.
pub(crate) struct Int8Product<'a> {
    pub(crate) packed: PackedView<'a>,
    pub(crate) plan: &'a Int8Plan,
    pub(crate) kernels: &'a Int8Kernels,
    pub(crate) a: Operand<'a>,
    pub(crate) columns: Columns<'a>,
    pub(crate) rows: &'a RowParameters,
    /// What row sums of A are multiplied with to give row terms; no row sums are needed for zero.
    pub(crate) row_sum_factor: i32,
    pub(crate) c: Destination<'a>,
    pub(crate) residual: Option<Residual<'a>>,
    pub(crate) limits: Limits,
    /// The direction in which the first block of rows goes through blocks of columns.
    pub(crate) direction: Direction,
}

/// A product that is ready to be carried out. Its operands have the extents that its kernels read and write.
pub(crate) struct Int8Body<'a> {
    product: &'a Int8Product<'a>,
    /// A, where kernels read it as it lies.
    in_place: Option<MatRef<'a, u8>>,
    size: RowSize,
    /// Bytes from group to group in a row of A as kernels read it.
    group_stride: usize,
}

impl<'a> Int8Product<'a> {
    /// Checks the extents of all that kernels read and write.
    ///
    /// # Errors
    /// [`Error::Mismatch`](crate::Error::Mismatch) for an array or an operand of another size than the epilogue and the
    /// plan ask for.
    #[inline(always)]
    pub(crate) fn body(&'a self) -> Result<Int8Body<'a>> {
        let (packed, epilogue) = (self.packed, self.kernels.epilogue);
        let (rows, padded) = (self.a.rows(), packed.corrections().len());
        let tiles = self.plan.loops.tiles;
        expect("columns of A in a product", packed.k() * packed.groups(), self.a.cols())?;
        expect("rows of A in a plan", tiles.row(tiles.count()), rows)?;
        expect("rows of C in a product", rows, self.c.rows)?;
        expect("columns of C in a product", packed.group_cols() * packed.groups(), self.c.cols)?;
        expect("bytes of an element of C", epilogue.output.element_bytes(), self.c.element_bytes)?;
        let needed = |is_read: bool, count: usize| if is_read { count } else { 0 };
        let (has_scale, has_bias, row_scale, residual) = match epilogue.output {
            Output::StoreI32 | Output::AddI32 => (false, false, false, false),
            Output::Requantize(r) => (true, r.float_bias, false, false),
            Output::Dequantize(d) => (true, d.bias, d.row_scale, d.residual),
        };
        let (a_by_row, b_by_column) =
            (epilogue.a_zero_point == AZeroPoint::PerRow, epilogue.b_zero_point == BZeroPoint::PerColumn);
        expect("column terms", padded, self.columns.term.len())?;
        for (what, is_read, count) in [
            ("column corrections", a_by_row, self.columns.correction.len()),
            ("column zero points", b_by_column, self.columns.zero_point.len()),
            ("column scales", has_scale, self.columns.scale.len()),
            ("column biases", has_bias, self.columns.bias.len()),
        ] {
            if is_read {
                expect(what, padded, count)?;
            }
        }
        expect("row zero points", needed(a_by_row, rows), needed(a_by_row, self.rows.zero_points.len()))?;
        expect("row scales", needed(row_scale, rows), needed(row_scale, self.rows.scales.len()))?;
        expect("residuals of an epilogue", residual.into(), self.residual.is_some().into())?;
        expect("row terms of an epilogue", (epilogue.b_zero_point != BZeroPoint::Zero).into(), {
            (self.row_sum_factor != 0).into()
        })?;

        let rows_of_bytes = self.a.as_rows_of(self.kernels.activations);
        let in_place = rows_of_bytes.filter(|_| reads_in_place(packed, true));
        let bytes = if in_place.is_some() { 0 } else { a_row_bytes(packed, false)? };
        let terms = if self.row_sum_factor != 0 { packed.groups() } else { 0 };
        let group_stride = match in_place {
            Some(_) => packed.k(),
            None => group_row_bytes(packed.blocks(), packed.planes(), packed.layout()),
        };
        Ok(Int8Body { product: self, in_place, size: RowSize { bytes, terms }, group_stride })
    }
}

impl Body for Int8Body<'_> {
    fn loops(&self) -> &Loops {
        &self.product.plan.loops
    }

    fn columns(&self) -> usize {
        self.product.packed.panels().len()
    }

    fn row_size(&self) -> RowSize {
        self.size
    }

    /// Row terms of several groups are not side by side.
    fn prepares_in_pieces(&self) -> bool {
        self.size.terms <= 1
    }

    /// Writes planes and row terms, as far as they are needed.
    fn prepare(&self, tiles: Range<usize>, to: RowsMut<'_>, scratch: &mut Scratch) -> Result<()> {
        let all = self.product.plan.loops.tiles;
        let rows = all.row(tiles.start)..all.row(tiles.end);
        let packed = self.product.packed;
        let (k, groups, cols) = (packed.k(), packed.groups(), self.product.a.cols());
        let rows_of_bytes = self.product.a.as_rows_of(self.product.kernels.activations);
        let pitch = cols.max(1);
        if rows_of_bytes.is_none() && scratch.natural.len() < ROW_CHUNK * pitch {
            resize("some rows of A", &mut scratch.natural, ROW_CHUNK * pitch, 0)?;
        }
        // Short rows are many: they take the short way.
        let is_copy = packed.planes().only_natural() && packed.blocks().len() == 1 && groups == 1;
        gemmill_codegen::vectorize(|| {
            for first in rows.clone().step_by(ROW_CHUNK) {
                let in_chunk = ROW_CHUNK.min(rows.end - first);
                if rows_of_bytes.is_none() {
                    let chunk = &mut scratch.natural[..in_chunk * pitch];
                    self.product.a.integers(first, self.product.kernels.activations, chunk, pitch);
                }
                for row in first..first + in_chunk {
                    let natural = match rows_of_bytes {
                        Some(m) => m.row(row).unwrap_or_default(),
                        None => &scratch.natural[(row - first) * pitch..][..cols],
                    };
                    let i = row - rows.start;
                    if self.size.terms > 0 {
                        self.add_terms(natural, i, rows.len(), to.terms);
                    }
                    if self.size.bytes == 0 {
                        continue;
                    }
                    let out = &mut to.bytes[i * self.size.bytes..][..self.size.bytes];
                    if is_copy {
                        let (copy, padding) = out.split_at_mut(natural.len());
                        copy.copy_from_slice(natural);
                        padding.fill(0);
                        continue;
                    }
                    for group in 0..groups {
                        let elements = &natural[group * k..][..k];
                        let out = &mut out[group * self.group_stride..][..self.group_stride];
                        write_planes(elements, packed.blocks(), packed.planes(), packed.layout(), out);
                    }
                }
            }
        });
        Ok(())
    }

    /// LOOP 2 and LOOP 3.
    fn multiply(&self, rows: Rows<'_>, block: Block, scratch: &mut Scratch) -> Result<()> {
        let plan = self.product.plan;
        let tiles = plan.loops.tiles;
        let (first_row, a) = match self.in_place {
            Some(a) => (0, a),
            None => (tiles.row(block.tiles.start), rows.of(&plan.loops, &block.tiles, self.size)),
        };
        let count = tiles.row(block.tiles.end) - tiles.row(block.tiles.start);
        let a = RowsOfA { first_row, a, count, terms: rows.terms, first_of_terms: tiles.row(rows.first_tile) };
        let turns = if plan.alternates { block.ordinal } else { 0 };
        let direction = self.product.direction.turned(turns);
        let blocks = self.product.packed.blocks().len();
        let passes = |panels: &Range<usize>, sums: &mut Lines| {
            for pass in super::blocks(0..blocks, plan.blocks_per_pass) {
                self.run_pass(&a, &block.tiles, panels, pass, sums)?;
            }
            Ok(())
        };
        if block.columns.len() <= plan.panels_per_block {
            return passes(&block.columns, &mut scratch.sums);
        }
        let blocks_of_panels = block.columns.len().div_ceil(plan.panels_per_block);
        for i in 0..blocks_of_panels {
            let first = block.columns.start + direction.place(i, blocks_of_panels) * plan.panels_per_block;
            passes(&(first..block.columns.end.min(first + plan.panels_per_block)), &mut scratch.sums)?;
        }
        Ok(())
    }
}

/// Rows of A as kernels read them.
struct RowsOfA<'a> {
    /// The first row of `a`.
    first_row: usize,
    a: MatRef<'a, u8>,
    /// Rows of the block.
    count: usize,
    /// By group, then row.
    terms: &'a [i32],
    /// The row that terms of a group begin with.
    first_of_terms: usize,
}

impl Int8Body<'_> {
    /// Row terms of one row of `count`, for all groups.
    #[inline(always)]
    fn add_terms(&self, natural: &[u8], i: usize, count: usize, terms: &mut [i32]) {
        let (k, activations) = (self.product.packed.k(), self.product.kernels.activations);
        for group in 0..self.product.packed.groups() {
            let sum = row_sum(&natural[group * k..][..k], activations);
            terms[group * count + i] = sum.wrapping_mul(self.product.row_sum_factor);
        }
    }

    /// LOOP 4: panels against the block of rows, for one pass over K.
    fn run_pass(
        &self,
        a: &RowsOfA<'_>,
        tiles: &Range<usize>,
        panels: &Range<usize>,
        pass: Range<usize>,
        sums: &mut Lines,
    ) -> Result<()> {
        let (packed, plan) = (self.product.packed, self.product.plan);
        let (blocks, layout) = (packed.blocks(), packed.layout());
        let vectors = packed.widest().map_or(1, |p| p.vectors);
        // Partial sums of a panel: whole vectors for each row.
        let panel_sums = a.count * vectors * layout.lanes();
        let has_sums = pass.len() < blocks.len();
        let len = match plan.layout {
            _ if has_sums => panels.len() * panel_sums,
            // Sums of tiles pass through scratch memory: one micro-tile after the other.
            Layout::Tiles => {
                let cols = plan.sweep.panels() * vectors * layout.lanes();
                plan.loops.tiles.height * cols + GridArgs::ROW_OF_NOTHING
            }
            _ => 0,
        };
        sums.grow("partial sums", len * size_of::<i32>())?;
        let sums: &mut [i32] = sums.of_mut();
        let bytes_of = |blocks: &[step::Block]| -> usize {
            let of_block = |b: &step::Block| match self.in_place {
                Some(_) => b.len,
                None => packed.planes().count() * b.plane_bytes(layout.step_depth()),
            };
            blocks.iter().map(of_block).sum()
        };
        let pass = Pass {
            body: self,
            a,
            a_offset: bytes_of(&blocks[..pass.start]),
            a_bytes: bytes_of(&blocks[pass.clone()]),
            blocks: pass,
        };
        let runs = plan.loops.tiles.runs(tiles.start, tiles.end);
        match plan.sweep {
            Sweep::Column => {
                for (i, panel) in panels.clone().enumerate() {
                    let mut sums_at = i * panel_sums;
                    for (short_tile, run) in runs.into_iter().enumerate() {
                        // What is prefetched is the next panel, or this one's later vectors where they stream past
                        // once.
                        let distance = match run.tiles {
                            1 => tuning::int8_stream_ahead(plan.prefetch),
                            _ => packed.panel_bytes(panel),
                        };
                        let sums = if has_sums { &mut sums[sums_at..] } else { &mut sums[..] };
                        let panels = panel..panel + 1;
                        pass.call(Call {
                            panels,
                            side_by_side: Panels::One,
                            run,
                            short_tile: short_tile == 1,
                            distance,
                            sums,
                        });
                        sums_at += run.tiles * run.height * packed.panels()[panel].vectors * layout.lanes();
                    }
                }
            }
            Sweep::Row => {
                let distance = tuning::int8_stream_ahead(plan.prefetch);
                for (short_tile, run) in runs.into_iter().enumerate() {
                    for tile in 0..run.tiles {
                        let run = Run { first_row: run.first_row + tile * run.height, tiles: 1, ..run };
                        for panels in packed.rows_of_panels(panels.clone()) {
                            let sums = &mut [];
                            pass.call(Call {
                                panels,
                                side_by_side: Panels::One,
                                run,
                                short_tile: short_tile == 1,
                                distance,
                                sums,
                            });
                        }
                    }
                }
            }
            Sweep::Grid { panels: side_by_side, .. } => {
                for (short_tile, run) in runs.into_iter().enumerate() {
                    for panels in packed.rows_of_panels(panels.clone()) {
                        let is_full = packed.panels()[panels.start].is_full(layout);
                        let side_by_side = if is_full { side_by_side } else { Panels::One };
                        for (kind, panels) in in_twos(panels, side_by_side) {
                            let side_by_side = if kind == PanelKind::Two { Panels::Two } else { Panels::One };
                            let (short_tile, sums) = (short_tile == 1, &mut *sums);
                            pass.call(Call { panels, side_by_side, run, short_tile, distance: 0, sums });
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Some blocks of K against a block of rows.
struct Pass<'a, 'p> {
    body: &'a Int8Body<'p>,
    a: &'a RowsOfA<'a>,
    /// Bytes from a group's start in a row to the first block.
    a_offset: usize,
    /// Bytes of the blocks in a row.
    a_bytes: usize,
    blocks: Range<usize>,
}

/// One kernel call: a run of micro-tiles against some blocks of a panel, or one of them, or all, against panel after
/// panel.
struct Call<'a> {
    panels: Range<usize>,
    /// Of a micro-tile.
    side_by_side: Panels,
    run: Run,
    /// Whether the run has the shorter of the two tile heights.
    short_tile: bool,
    /// Of prefetches.
    distance: usize,
    sums: &'a mut [i32],
}

impl Pass<'_, '_> {
    fn call(&self, call: Call<'_>) {
        let Call { panels, side_by_side, run, short_tile, distance, sums } = call;
        if run.tiles == 0 || panels.is_empty() {
            return;
        }
        let Int8Product { packed, kernels, ref columns, rows: parameters, ref c, residual, limits, .. } =
            *self.body.product;
        let first = &packed.panels()[panels.start];
        let last = &packed.panels()[panels.end - 1];
        let data = packed.panel_data(panels.start, self.blocks.start);
        let kernel = kernels.get(KernelIndex {
            panels: match side_by_side {
                Panels::Two => PanelKind::Two,
                Panels::One if packed.widest().is_some_and(|p| p.cols != first.cols) => PanelKind::Tail,
                Panels::One => PanelKind::Full,
            },
            short_tile,
            first_pass: self.blocks.start == 0,
            last_pass: self.blocks.end == packed.blocks().len(),
        });
        let kernel = kernel.expect("a product has every kernel of its plan");
        // What is read and written: a rectangle of C, as many rows of A, whole vectors of the panels' columns.
        let rows = run.first_row..run.first_row + run.tiles * run.height;
        let padded = first.padded_column..last.padded_column + last.padded_cols(packed.layout());
        let rectangle = c.rectangle(rows.clone(), first.column..last.column + last.cols);
        let in_block = rows.start - self.a.first_row;
        let a_start = first.group * self.body.group_stride + self.a_offset;
        let a = self.a.a.block(in_block..in_block + rows.len(), a_start..a_start + self.a_bytes);
        let terms_of_group = self.a.terms.len() / packed.groups();
        let desc = kernel.desc();
        assert!(
            (usize::from(desc.rows), usize::from(desc.cols)) == (run.height, first.cols),
            "a kernel of the plan's micro-tile: {desc}"
        );
        let has_sums = desc.start == Start::Scratch || desc.finish == Finish::Scratch;
        let sums_needed = match desc.layout {
            _ if has_sums => run.tiles * desc.scratch_bytes(),
            Layout::Tiles => desc.scratch_bytes(),
            _ => 0,
        };
        assert!(sums_needed <= size_of_val(sums), "room for partial sums");
        let mut args = KernelArgs {
            a,
            a_row_stride: self.a.a.row_stride(),
            b: data.data.as_ptr(),
            offsets: data.offsets.as_ptr(),
            blocks: data.headers.as_ptr(),
            block_count: self.blocks.len(),
            tiles: if desc.sweep == Sweep::Row { panels.len() } else { run.tiles },
            grid: GridArgs::of_width(panels.len() / desc.sweep.panels()),
            c: rectangle,
            c_row_stride: c.row_stride_bytes(),
            scratch: sums.as_mut_ptr(),
            column_term: from(columns.term, padded.start, padded.len()),
            column_correction: from(columns.correction, padded.start, padded.len()),
            column_zero_point: from(columns.zero_point, padded.start, padded.len()),
            column_scale: from(columns.scale, padded.start, padded.len()),
            column_bias: from(columns.bias, padded.start, padded.len()),
            row_zero_point: from(&parameters.zero_points, rows.start, rows.len()),
            row_scale: from(&parameters.scales, rows.start, rows.len()),
            row_term: from(self.a.terms, first.group * terms_of_group + rows.start - self.a.first_of_terms, rows.len()),
            prefetch_distance: distance,
            low: limits.low,
            high: limits.high,
            zero_point: limits.zero_point,
            low_byte: limits.low_byte,
            high_byte: limits.high_byte,
            ..KernelArgs::EMPTY
        };
        if let Some(residual) = residual {
            args.residual = residual.at(rows.start, first.column);
            args.residual_row_stride = residual.row_stride_bytes();
        }
        // SAFETY: `Int8Product::body` checked that operands, arrays and C have the sizes that the epilogue reads and
        // writes, and the lines above that this call stays within them; packing wrote offsets, headers and data for
        // each other, with sums proven for the activations that the operation checked, one panel's after the other's;
        // nobody else has this part's rectangle of C.
        unsafe { kernel.run(&mut args) }
    }
}

#[cfg(test)]
mod tests {
    use super::Direction;

    #[test]
    fn directions_turn_for_every_block() {
        let places = |turns| (0..3).map(move |i| Direction::Backwards.turned(turns).place(i, 3)).collect::<Vec<_>>();
        assert_eq!((places(0), places(1), places(2)), (vec![2, 1, 0], vec![0, 1, 2], vec![2, 1, 0]));
    }
}
