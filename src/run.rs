//! The loops around the micro-kernel, and the one call into machine code.
//!
//! ```text
//! parts (threads):  rows × panels                      each part writes its own piece of C
//!   LOOP 1  rows in blocks of MC                       A is written to planes, or read where it lies
//!     LOOP 2  panels in blocks of NC                   partial sums of MC × NC, if K has several passes
//!       LOOP 3  K in passes of one block (KC) or all
//!         LOOP 4  panels                               a panel's block stays in the first-level cache
//!           kernel: micro-tiles of the block of rows
//! ```
//!
//! Where the plan goes along rows of panels, with all of K in one pass, each micro-tile of the block takes the place of loop 4,
//! and the kernel goes through the panels itself.

pub(crate) mod float;
pub(crate) mod groupwise;

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use gemmill_codegen::{Byte, Kernel, KernelArgs, Layout, Prefetch, Sweep};

use crate::aligned::Lines;
use crate::error::{Error, Result};
use crate::matrix::{Element, MatMut, taken_stride};
use crate::pack::activations::{ROW_CHUNK, Source, row_sum, write_planes};
use crate::pack::packed::PackedView;
use crate::pack::step::{group_row_bytes, packed_row_bytes};
use crate::parallel::{ParallelFor, run_parts};
use crate::plan::{KernelIndex, Plan, Run};

/// A product, ready to be carried out: every kernel of the plan is there, and every shape, length and bound was checked.
/// That is what the call into machine code relies on: A is `M × (K * groups)`, C and the residual `M × N`, arrays have all
/// padded columns and all rows that the epilogue of `kernels` reads, and no activation exceeds what packing was promised.
pub(crate) struct Job<'a> {
    pub(crate) packed: PackedView<'a>,
    pub(crate) plan: &'a Plan,
    pub(crate) a: Source<'a>,
    /// The type in which kernels get A.
    pub(crate) activations: Byte,
    pub(crate) kernels: &'a Kernels,
    pub(crate) columns: Columns<'a>,
    pub(crate) rows: Rows<'a>,
    /// What row sums of A are multiplied with to give `row_term`; no row sums are needed for zero.
    pub(crate) row_sum_factor: i32,
    pub(crate) c: Destination<'a>,
    pub(crate) residual: Option<Residual<'a>>,
    pub(crate) limits: Limits,
    /// The direction in which the first block of rows goes through blocks of columns.
    pub(crate) direction: Direction,
}

/// A direction through blocks of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Forwards,
    Backwards,
}

impl Direction {
    fn turned(self) -> Direction {
        match self {
            Direction::Forwards => Direction::Backwards,
            Direction::Backwards => Direction::Forwards,
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

/// Per-column arrays, by padded column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns<'a> {
    pub(crate) term: &'a [i32],
    pub(crate) correction: &'a [i32],
    pub(crate) zero_point: &'a [i32],
    pub(crate) scale: &'a [f32],
    pub(crate) bias: &'a [f32],
}

/// Per-row arrays; empty where the epilogue needs none.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rows<'a> {
    pub(crate) zero_point: &'a [i32],
    pub(crate) scale: &'a [f32],
}

/// C, as kernels write it: borrowed until the job is done. Parts of a job write disjoint rectangles of it.
#[derive(Debug)]
pub(crate) struct Destination<'c> {
    start: *mut u8,
    row_stride_bytes: usize,
    element_bytes: usize,
    borrowed: PhantomData<&'c mut [u8]>,
}

// SAFETY: the pointer is only written through for disjoint rectangles of C, one for each part of a job.
unsafe impl Sync for Destination<'_> {}

impl<'c> Destination<'c> {
    /// The address of element (row, column).
    fn at(&self, row: usize, column: usize) -> *mut u8 {
        self.start.wrapping_add(row * self.row_stride_bytes + column * self.element_bytes)
    }

    pub(crate) fn new<T: Element>(c: &'c mut MatMut<'_, T>) -> Destination<'c> {
        Destination {
            row_stride_bytes: taken_stride(c.rows(), c.row_stride()) * size_of::<T>(),
            element_bytes: size_of::<T>(),
            start: c.data_mut().as_mut_ptr().cast(),
            borrowed: PhantomData,
        }
    }
}

/// A matrix of f32 that is added to C.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Residual<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) row_stride: usize,
}

/// The kernels of a job: by panel width, tile height, and place among the passes over K.
#[derive(Debug, Default)]
pub(crate) struct Kernels {
    /// `[wide or narrow panel][tall or short tile][KernelIndex::pass]`
    pub(crate) table: [[[Option<Arc<Kernel>>; 4]; 2]; 2],
}

impl Kernels {
    pub(crate) fn slot(&mut self, i: KernelIndex) -> &mut Option<Arc<Kernel>> {
        &mut self.table[usize::from(i.narrow_panel)][usize::from(i.short_tile)][i.pass()]
    }

    fn get(&self, i: KernelIndex) -> Option<&Kernel> {
        self.table[usize::from(i.narrow_panel)][usize::from(i.short_tile)][i.pass()].as_deref()
    }
}

/// A thread's own memory, kept from call to call so that calls after the first of a size allocate nothing.
#[derive(Default)]
struct Workspace {
    packed_a: Vec<u8>,
    natural: Vec<u8>,
    row_term: Vec<i32>,
    /// Whole cache lines: sums of tiles pass through it by lines.
    partial: Lines,
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

/// Carries out a job in as many parts as its plan says, on threads of the caller's own or of its rayon pool.
pub(crate) fn run(job: &Job<'_>, own_threads: Option<&dyn ParallelFor>) -> Result<()> {
    let plan = job.plan;
    run_parts(own_threads, plan.row_parts * plan.panel_parts, &|part| {
        let (row_part, panel_part) = (part / plan.panel_parts, part % plan.panel_parts);
        let tiles = piece(plan.tiles.count(), row_part, plan.row_parts);
        let panels = piece(job.packed.panels().len(), panel_part, plan.panel_parts);
        WORKSPACE.with(|workspace| match workspace.try_borrow_mut() {
            Ok(mut workspace) => run_part(job, tiles, panels, &mut workspace),
            Err(_) => run_part(job, tiles, panels, &mut Workspace::default()),
        })
    })
}

/// Piece `index` of `count` about equal pieces of `0..total`.
fn piece(total: usize, index: usize, count: usize) -> Range<usize> {
    let start = |i: usize| total / count * i + (total % count).min(i);
    start(index)..start(index + 1)
}

fn run_part(job: &Job<'_>, tiles: Range<usize>, panels: Range<usize>, workspace: &mut Workspace) -> Result<()> {
    let plan = job.plan;
    let blocks = job.packed.blocks().len();
    let blocks_of_panels = panels.len().div_ceil(plan.panels_per_block);
    let mut direction = job.direction;
    for first in tiles.clone().step_by(plan.tiles_per_block) {
        let tiles = first..tiles.end.min(first + plan.tiles_per_block);
        let rows = plan.tiles.row(tiles.start)..plan.tiles.row(tiles.end);
        let Workspace { packed_a, natural, row_term, partial } = &mut *workspace;
        let a = prepare_rows(job, rows, packed_a, natural, row_term)?;
        for i in 0..blocks_of_panels {
            let first = panels.start + direction.place(i, blocks_of_panels) * plan.panels_per_block;
            let panels = first..panels.end.min(first + plan.panels_per_block);
            for pass in (0..blocks).step_by(plan.blocks_per_pass) {
                let pass = pass..blocks.min(pass + plan.blocks_per_pass);
                run_pass(job, &a, &tiles, &panels, pass, partial);
            }
        }
        if plan.alternates {
            direction = direction.turned();
        }
    }
    Ok(())
}

/// Rows of A as kernels read them.
struct PreparedRows<'a> {
    /// First of the rows; later arrays start there too.
    first_row: usize,
    data: &'a [u8],
    row_stride: usize,
    /// Bytes from group to group.
    group_stride: usize,
    /// By group, then row.
    row_term: &'a [i32],
    /// Number of rows.
    count: usize,
}

/// Whether kernels can read A where it lies, `rows_of_bytes` saying that its rows hold what they read side by side.
pub(crate) fn reads_in_place(packed: PackedView<'_>, rows_of_bytes: bool, k: usize) -> bool {
    let whole_steps = k == 0 || k >= packed.layout().step_depth();
    rows_of_bytes && whole_steps && packed.planes().only_natural()
}

/// Bytes of a row of A as kernels read it.
pub(crate) fn a_row_bytes(packed: PackedView<'_>, in_place: bool, k: usize) -> Result<usize> {
    match in_place {
        true => Ok(k * packed.groups()),
        false => packed_row_bytes(packed.blocks(), packed.planes(), packed.layout(), packed.groups()),
    }
}

/// Writes planes and row terms for some rows of A, as far as they are needed.
fn prepare_rows<'w>(
    job: &Job<'w>,
    rows: Range<usize>,
    packed_a: &'w mut Vec<u8>,
    natural: &mut Vec<u8>,
    row_term: &'w mut Vec<i32>,
) -> Result<PreparedRows<'w>> {
    let (packed, a) = (job.packed, job.a);
    let groups = job.packed.groups();
    let k = a.cols() / groups.max(1);
    let needs_sums = job.row_sum_factor != 0;
    let count = rows.len();
    row_term.clear();
    row_term.resize(if needs_sums { count * groups } else { 0 }, 0);

    let rows_of_bytes = a.as_rows_of(job.activations);
    if reads_in_place(packed, rows_of_bytes.is_some(), k)
        && let Some(m) = rows_of_bytes
    {
        if needs_sums {
            gemmill_codegen::vectorize(|| {
                for (i, row) in rows.clone().enumerate() {
                    let row = m.row(row).unwrap_or_default();
                    sum_groups(job, row, k, i, count, row_term);
                }
            });
        }
        // Rows of no elements lie nowhere.
        let row_stride = if m.cols() == 0 { 0 } else { taken_stride(m.rows(), m.row_stride()) };
        return Ok(PreparedRows {
            first_row: rows.start,
            data: &m.data()[rows.start * row_stride..],
            row_stride,
            group_stride: k,
            row_term,
            count,
        });
    }

    let row_stride = packed_row_bytes(packed.blocks(), packed.planes(), packed.layout(), groups)?;
    let group_stride = group_row_bytes(packed.blocks(), packed.planes(), packed.layout());
    let bytes = row_stride.checked_mul(count).ok_or(Error::Overflow { what: "packed block of A" })?;
    if packed_a.len() < bytes {
        packed_a.resize(bytes, 0);
    }
    let pitch = a.cols().max(1);
    if rows_of_bytes.is_none() && natural.len() < ROW_CHUNK * pitch {
        natural.resize(ROW_CHUNK * pitch, 0);
    }
    // Short rows are many: they take the short way.
    let is_copy = packed.planes().only_natural() && packed.blocks().len() == 1 && groups == 1;
    gemmill_codegen::vectorize(|| {
        for chunk in (0..count).step_by(ROW_CHUNK) {
            let in_chunk = ROW_CHUNK.min(count - chunk);
            if rows_of_bytes.is_none() {
                a.natural_rows(rows.start + chunk, job.activations, &mut natural[..in_chunk * pitch], pitch);
            }
            for i in 0..in_chunk {
                let natural = match rows_of_bytes {
                    Some(m) => m.row(rows.start + chunk + i).unwrap_or_default(),
                    None => &natural[i * pitch..][..a.cols()],
                };
                if needs_sums {
                    sum_groups(job, natural, k, chunk + i, count, row_term);
                }
                let out = &mut packed_a[(chunk + i) * row_stride..][..row_stride];
                if is_copy {
                    let (copy, padding) = out.split_at_mut(natural.len());
                    copy.copy_from_slice(natural);
                    padding.fill(0);
                    continue;
                }
                for group in 0..groups {
                    let elements = &natural[group * k..][..k];
                    let out = &mut out[group * group_stride..][..group_stride];
                    write_planes(elements, packed.blocks(), packed.planes(), packed.layout(), out);
                }
            }
        }
    });
    Ok(PreparedRows { first_row: rows.start, data: packed_a, row_stride, group_stride, row_term, count })
}

/// Row terms of one row, for all groups.
#[inline(always)]
fn sum_groups(job: &Job<'_>, row: &[u8], k: usize, i: usize, count: usize, row_term: &mut [i32]) {
    for group in 0..job.packed.groups() {
        let sum = row_sum(&row[group * k..][..k], job.activations);
        row_term[group * count + i] = sum.wrapping_mul(job.row_sum_factor);
    }
}

/// How far ahead packed vectors are prefetched that micro-tiles of a row stream past.
fn stream_ahead(prefetch: Prefetch) -> usize {
    match prefetch {
        // Less than a small page, where the hardware's prefetchers stop: MEASURED on Granite Rapids, one row from memory, 3 KiB is
        // 1.1 times as fast as 4 or 8. A line now and then further ahead, into the second-level cache, cost 14 %.
        // On Emerald Rapids 4 KiB had been worse than 8, with such lines.
        Prefetch::None | Prefetch::ToFirstLevel => 3072,
        // MEASURED on Zen 4, three and more rows from memory: 16 KiB is up to 10 % better than 8, and 32 no better.
        Prefetch::ToSecondLevel => 16384,
    }
}

/// LOOP 4: panels against the block of rows, for one pass over K.
fn run_pass(
    job: &Job<'_>,
    a: &PreparedRows<'_>,
    tiles: &Range<usize>,
    panels: &Range<usize>,
    pass: Range<usize>,
    partial: &mut Lines,
) {
    let blocks = job.packed.blocks();
    let vectors = job.packed.widest().map_or(1, |p| p.vectors);
    // Partial sums of a panel: whole vectors for each row.
    let panel_partial = a.count * vectors * job.packed.layout().lanes();
    let has_partial = pass.len() < blocks.len();
    let scratch_len = match job.packed.layout() {
        _ if has_partial => panels.len() * panel_partial,
        // Sums of tiles pass through scratch memory: one micro-tile after the other.
        layout @ Layout::Tiles => job.plan.tiles.height * vectors * layout.lanes(),
        _ => 0,
    };
    partial.grow(scratch_len * size_of::<i32>());
    let partial = partial.of_mut();
    let planes_before = job.packed.planes().count();
    let pass = Pass {
        job,
        a,
        a_offset: blocks[..pass.start]
            .iter()
            .map(|b| planes_before * b.plane_bytes(job.packed.layout().step_depth()))
            .sum(),
        blocks: pass,
    };
    let runs = job.plan.tiles.runs(tiles.start, tiles.end);
    match job.plan.sweep {
        Sweep::Column => {
            for (i, panel) in panels.clone().enumerate() {
                let mut partial_at = i * panel_partial;
                for (short_tile, run) in runs.into_iter().enumerate() {
                    let scratch = if has_partial { &mut partial[partial_at..] } else { &mut partial[..] };
                    // What is prefetched is the next panel, or this one's later vectors where they stream past once.
                    let distance = match run.tiles {
                        1 => stream_ahead(job.plan.prefetch),
                        _ => job.packed.panel_bytes(panel),
                    };
                    pass.call(Call { panel, run, short_tile: short_tile == 1, tiles: run.tiles, distance, scratch });
                    partial_at +=
                        run.tiles * run.height * job.packed.panels()[panel].vectors * job.packed.layout().lanes();
                }
            }
        }
        Sweep::Row => {
            debug_assert!(!has_partial, "kernels of a row have no partial sums");
            let distance = stream_ahead(job.plan.prefetch);
            for (short_tile, run) in runs.into_iter().enumerate() {
                for tile in 0..run.tiles {
                    let run = Run { first_row: run.first_row + tile * run.height, tiles: 1, ..run };
                    for panels in job.packed.rows_of_panels(panels.clone()) {
                        let (panel, tiles) = (panels.start, panels.len());
                        pass.call(Call { panel, run, short_tile: short_tile == 1, tiles, distance, scratch: &mut [] });
                    }
                }
            }
        }
    }
}

/// Some blocks of K against a block of rows.
struct Pass<'a, 'j> {
    job: &'a Job<'j>,
    a: &'a PreparedRows<'j>,
    /// Bytes from a row's start to the first block.
    a_offset: usize,
    blocks: Range<usize>,
}

/// One kernel call: a run of micro-tiles against some blocks of a panel, or one of them against panel after panel.
struct Call<'a> {
    /// The first panel.
    panel: usize,
    run: Run,
    /// Whether the run has the shorter of the two tile heights.
    short_tile: bool,
    /// Micro-tiles of the call.
    tiles: usize,
    /// Of prefetches.
    distance: usize,
    scratch: &'a mut [i32],
}

impl Pass<'_, '_> {
    fn call(&self, call: Call<'_>) {
        if call.tiles == 0 {
            return;
        }
        let job = self.job;
        let panel = &job.packed.panels()[call.panel];
        let data = job.packed.panel_data(call.panel, self.blocks.start);
        let kernel = job.kernels.get(KernelIndex {
            narrow_panel: job.packed.widest().is_some_and(|p| p.cols != panel.cols),
            short_tile: call.short_tile,
            first_pass: self.blocks.start == 0,
            last_pass: self.blocks.end == job.packed.blocks().len(),
        });
        let kernel = kernel.expect("a job has every kernel of its plan");
        let (row, column, columns) = (call.run.first_row, panel.column, panel.padded_column);
        let row_in_block = row - self.a.first_row;
        let mut args = KernelArgs {
            a: self.a.data[row_in_block * self.a.row_stride + panel.group * self.a.group_stride + self.a_offset..]
                .as_ptr(),
            a_row_stride: self.a.row_stride,
            b: data.data.as_ptr(),
            offsets: data.offsets.as_ptr(),
            blocks: data.headers.as_ptr(),
            block_count: self.blocks.len(),
            tiles: call.tiles,
            c: job.c.at(row, column),
            c_row_stride: job.c.row_stride_bytes,
            scratch: call.scratch.as_mut_ptr(),
            column_term: from(job.columns.term, columns),
            column_correction: from(job.columns.correction, columns),
            column_zero_point: from(job.columns.zero_point, columns),
            column_scale: from(job.columns.scale, columns),
            column_bias: from(job.columns.bias, columns),
            row_zero_point: from(job.rows.zero_point, row),
            row_scale: from(job.rows.scale, row),
            row_term: from(self.a.row_term, panel.group * self.a.count + row_in_block),
            prefetch_distance: call.distance,
            low: job.limits.low,
            high: job.limits.high,
            zero_point: job.limits.zero_point,
            low_byte: job.limits.low_byte,
            high_byte: job.limits.high_byte,
            ..KernelArgs::EMPTY
        };
        if let Some(residual) = job.residual {
            args.residual = from(residual.data, row * residual.row_stride + column).cast();
            args.residual_row_stride = residual.row_stride * size_of::<f32>();
        }
        // SAFETY: a `Job` has operands, arrays and destination of the sizes that its kernels were described with; packing wrote
        // offsets, headers and data for each other, with sums proven for the job's activations, one panel's after the other's;
        // `prepare_rows` provides the run's rows with all their steps, `run_pass` its partial sums; nobody else has this part's
        // rectangle of C.
        unsafe { kernel.run(&mut args) }
    }
}

/// Pointer to element `i` of an array, or none for an array that is empty because the kernel does not read it.
fn from<T>(array: &[T], i: usize) -> *const T {
    if array.is_empty() { std::ptr::null() } else { array[i..].as_ptr() }
}

#[cfg(test)]
mod tests;
