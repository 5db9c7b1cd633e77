//! The loops around the float micro-kernel, and the call into machine code.
//!
//! ```text
//! parts (threads):  rows × strips                      each part writes its own piece of C
//!   LOOP 1  rows in blocks of MC                       A is packed into micro-panels, or rounded to bf16, or read where it lies
//!     LOOP 2  panels of columns
//!       LOOP 3  K in passes of KC                      partial sums of the panel between them; the next pass's B is prefetched
//!         LOOP 4  strips of NR columns, of the panel
//!           kernel: micro-tiles of the block of rows   the first may keep the strip's weights as f32
//! ```
//!
//! Where the plan goes along rows of strips, micro-tiles of the block take the place of loop 2, and the kernel goes through all
//! strips itself, with all of K.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use gemmill_codegen::{
    FLOAT_PANEL, FloatKernelArgs, FloatKernelDesc, FloatProducts, FloatRows, FloatWeights, Kernel, Sweep,
};
use half::bf16;

use super::{Destination, from, piece};
use crate::aligned::{LINE, Lines};
use crate::error::{Error, Result, expect};
use crate::float::plan::FloatPlan;
use crate::float::{Float, InPlace, Source, Weights};
use crate::matrix::{MatRef, taken_stride};
use crate::parallel::{ParallelFor, run_parts};
use crate::plan::Run;

/// A product, ready to be carried out: every kernel of the plan is there, and every shape and length was checked. That is
/// what the call into machine code relies on: A is M × K, C and the residual M × N, and the bias has all columns, rounded up
/// to whole panels.
pub(crate) struct FloatJob<'a> {
    pub(crate) weights: &'a Weights,
    pub(crate) plan: &'a FloatPlan,
    pub(crate) products: FloatProducts,
    pub(crate) a: Source<'a>,
    pub(crate) kernels: &'a FloatKernels,
    /// By padded column; empty if the epilogue has none.
    pub(crate) bias: &'a [f32],
    pub(crate) beta: f32,
    pub(crate) low: f32,
    pub(crate) high: f32,
    pub(crate) c: Destination<'a>,
    pub(crate) residual: Option<FloatResidual<'a>>,
}

/// A matrix of C's type that is added to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FloatResidual<'a> {
    data: &'a [u8],
    row_stride_bytes: usize,
}

impl<'a> FloatResidual<'a> {
    /// Checks that the residual has C's shape, and rows that kernels can read.
    pub(crate) fn new<C: Float>(residual: MatRef<'a, C>, rows: usize, cols: usize) -> Result<FloatResidual<'a>> {
        expect("rows of the residual", rows, residual.rows())?;
        expect("columns of the residual", cols, residual.cols())?;
        if rows > 0 && residual.row(0).is_none() {
            return Err(Error::Unsupported { what: "elements of a row of the residual must lie side by side" });
        }
        let row_stride_bytes = taken_stride(rows, residual.row_stride()) * size_of::<C>();
        Ok(FloatResidual { data: bytemuck::cast_slice(residual.data()), row_stride_bytes })
    }
}

/// Where a kernel stands among those of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KernelPlace {
    /// The last one, if it is narrower than the others.
    pub(crate) narrow_strip: bool,
    /// The shorter of the two tile heights.
    pub(crate) short_tile: bool,
    pub(crate) first_pass: bool,
    pub(crate) last_pass: bool,
    pub(crate) tile: TileRole,
}

/// What a micro-tile does besides its product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TileRole {
    /// The first of a block: it keeps weights for the others, where the plan says so.
    First,
    /// It prefetches the weights that come next.
    Prefetching,
    /// Nothing.
    Plain,
}

impl TileRole {
    const ALL: [TileRole; 3] = [TileRole::First, TileRole::Prefetching, TileRole::Plain];
}

impl KernelPlace {
    pub(crate) fn all() -> impl Iterator<Item = KernelPlace> {
        (0..KERNEL_PLACES).map(|i| {
            let bit = |b: usize| i >> b & 1 == 1;
            let (narrow_strip, short_tile, first_pass, last_pass) = (bit(0), bit(1), bit(2), bit(3));
            KernelPlace { narrow_strip, short_tile, first_pass, last_pass, tile: TileRole::ALL[i >> 4] }
        })
    }

    fn index(self) -> usize {
        let KernelPlace { narrow_strip, short_tile, first_pass, last_pass, tile } = self;
        let bits = [narrow_strip, short_tile, first_pass, last_pass].map(usize::from);
        (tile as usize) << 4 | bits[3] << 3 | bits[2] << 2 | bits[1] << 1 | bits[0]
    }
}

const KERNEL_PLACES: usize = 3 << 4;

/// The kernels of a plan, by place.
#[derive(Debug)]
pub(crate) struct FloatKernels([Option<Arc<Kernel<FloatKernelDesc>>>; KERNEL_PLACES]);

impl Default for FloatKernels {
    fn default() -> Self {
        FloatKernels(std::array::from_fn(|_| None))
    }
}

impl FloatKernels {
    pub(crate) fn slot(&mut self, place: KernelPlace) -> &mut Option<Arc<Kernel<FloatKernelDesc>>> {
        &mut self.0[place.index()]
    }
}

/// A thread's own memory, kept from call to call.
#[derive(Default)]
struct Workspace {
    packed_a: Lines,
    constants: Lines,
    expanded: Lines,
    partial: Lines,
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

/// Carries out a job in as many parts as its plan says, on threads of the caller's own or of its rayon pool.
pub(crate) fn run(job: &FloatJob<'_>, own_threads: Option<&dyn ParallelFor>) -> Result<()> {
    // Sizes of packed blocks are checked before anything is written.
    let height = job.plan.tiles.height * job.plan.tiles_per_block.min(job.plan.tiles.count());
    let block = packed_row_bytes(job.products, job.weights.k()).and_then(|row| row.checked_mul(height));
    if job.plan.packs_a && block.is_none_or(|bytes| bytes > isize::MAX as usize - 64) {
        return Err(Error::Overflow { what: "packed block of A" });
    }
    let plan = job.plan;
    run_parts(own_threads, plan.row_parts * plan.strip_parts, &|part| {
        let (row_part, strip_part) = (part / plan.strip_parts, part % plan.strip_parts);
        let tiles = piece(plan.tiles.count(), row_part, plan.row_parts);
        let strips = piece(plan.strips, strip_part, plan.strip_parts);
        WORKSPACE.with(|workspace| match workspace.try_borrow_mut() {
            Ok(mut workspace) => run_part(job, tiles, strips, &mut workspace),
            Err(_) => run_part(job, tiles, strips, &mut Workspace::default()),
        });
        Ok(())
    })
}

/// LOOP 1 and LOOP 2.
fn run_part(job: &FloatJob<'_>, tiles: Range<usize>, strips: Range<usize>, workspace: &mut Workspace) {
    let (plan, k) = (job.plan, job.weights.k());
    for first in tiles.clone().step_by(plan.tiles_per_block) {
        let tiles = first..tiles.end.min(first + plan.tiles_per_block);
        let rows = plan.tiles.row(tiles.start)..plan.tiles.row(tiles.end);
        let Workspace { packed_a, constants, expanded, partial } = &mut *workspace;
        let a = match job.a.in_place(job.products) {
            Some(InPlace { data, row_stride }) if !plan.packs_a => {
                Rows { data: &data[(rows.start * row_stride).min(data.len())..], row_stride, first: rows.start }
            }
            _ => {
                let row_stride = packed_row_bytes(job.products, k).expect("checked for all rows of the block");
                packed_a.grow(rows.len() * row_stride);
                match plan.rows_of_a(job.products) {
                    FloatRows::Interleaved => pack(job, &tiles, packed_a.of_mut()),
                    FloatRows::Strided => round_rows(job, rows.clone(), row_stride, packed_a.of_mut()),
                }
                Rows { data: packed_a.of(), row_stride, first: rows.start }
            }
        };
        constants.grow(job.weights.packed().constants_len(plan.strip) * size_of::<f32>());
        expanded.grow(if plan.keeps { job.products.slots(plan.kc) * plan.strip * size_of::<f32>() } else { 0 });
        let partial_rows = match (plan.passes(k) > 1, plan.in_tiles) {
            (true, _) => rows.len(),
            (false, true) => plan.tiles.height,
            (false, false) => 0,
        };
        partial.grow(partial_rows * plan.strip * plan.strips_of_panel() * size_of::<f32>());
        let block = Block {
            job,
            runs: plan.tiles.runs(tiles.start, tiles.end),
            rows: rows.len(),
            common: FloatKernelArgs {
                a_row_stride: a.row_stride,
                b_panel_stride: job.weights.panel_bytes(),
                constants: constants.of_mut().as_mut_ptr(),
                expanded: expanded.of_mut().as_mut_ptr(),
                c_row_stride: job.c.row_stride_bytes,
                residual_row_stride: job.residual.map_or(0, |residual| residual.row_stride_bytes),
                beta: job.beta,
                low: job.low,
                high: job.high,
                ..FloatKernelArgs::EMPTY
            },
            a,
        };
        let in_row = match plan.sweep {
            Sweep::Column => strips.start..strips.start,
            Sweep::Row => strips.start..strips.end.min(plan.whole_strips),
        };
        if !in_row.is_empty() {
            block.run_rows(in_row.clone());
        }
        let mut first = in_row.end;
        while first < strips.end {
            let end = strips.end.min((first + 1).next_multiple_of(plan.strips_of_panel()));
            block.run_panel(first..end, partial.of_mut());
            first = end;
        }
    }
}

/// Rows of A as kernels read them.
struct Rows<'a> {
    data: &'a [u8],
    /// Bytes from row to row; packed rows take as many, also where they are interleaved.
    row_stride: usize,
    /// The row that `data` begins with.
    first: usize,
}

/// Bytes that a packed row of A takes, if they can be counted. Rows of bf16 take an odd number of cache lines: in the caches
/// they do not stand in each other's way.
fn packed_row_bytes(products: FloatProducts, k: usize) -> Option<usize> {
    let bytes = products.slots(k).checked_mul(size_of::<f32>())?;
    match products {
        FloatProducts::Chain => Some(bytes),
        FloatProducts::Dot(_) => (bytes.div_ceil(LINE) | 1).checked_mul(LINE),
    }
}

/// Packs rows of A as bf16 side by side, zeros behind them up to whole groups of k.
fn round_rows(job: &FloatJob<'_>, rows: Range<usize>, row_stride: usize, out: &mut [bf16]) {
    let (k, whole) = (job.weights.k(), job.products.slots(job.weights.k()) * job.products.depth_of_slot());
    for (i, row) in rows.zip(out.chunks_exact_mut(row_stride / size_of::<bf16>())) {
        job.a.read_bf16(i, 0, &mut row[..k]);
        row[k..whole].fill(bf16::ZERO);
    }
}

/// How much of K is packed at a time.
const PACK_DEPTH: usize = 64;
/// Most rows of a micro-tile.
const MAX_ROWS: usize = 16;

/// Packs tiles of A into micro-panels.
///
/// ```text
/// tile:  k = 0: row 0, row 1, .. | k = 1: row 0, row 1, .. | ...
/// ```
fn pack(job: &FloatJob<'_>, tiles: &Range<usize>, out: &mut [f32]) {
    let (plan, depth) = (job.plan, job.weights.k());
    let mut out = out;
    gemmill_codegen::vectorize(|| {
        for tile in tiles.clone() {
            let rows = plan.tiles.row(tile)..plan.tiles.row(tile + 1);
            let height = rows.len();
            let (panel, rest) = std::mem::take(&mut out).split_at_mut(height * depth);
            out = rest;
            let mut piece = [[0f32; PACK_DEPTH]; MAX_ROWS];
            for k in (0..depth).step_by(PACK_DEPTH) {
                let count = PACK_DEPTH.min(depth - k);
                for (row, natural) in rows.clone().zip(&mut piece[..height]) {
                    job.a.read(row, k, &mut natural[..count]);
                }
                for (i, group) in panel[k * height..][..count * height].chunks_exact_mut(height).enumerate() {
                    group.iter_mut().zip(&piece).for_each(|(to, natural)| *to = natural[i]);
                }
            }
        }
    });
}

/// A block of rows against all columns of a part.
struct Block<'a, 'j> {
    job: &'a FloatJob<'j>,
    a: Rows<'a>,
    /// Its micro-tiles.
    runs: [Run; 2],
    /// Rows of all of them.
    rows: usize,
    /// What all calls have in common.
    common: FloatKernelArgs,
}

impl Block<'_, '_> {
    /// LOOP 2 to LOOP 4: strips of full width against each micro-tile of the block, all of K.
    fn run_rows(&self, strips: Range<usize>) {
        let strip = self.strip(strips.start, 0..self.job.weights.k());
        let mut tile = TileRole::First;
        for (short_tile, run) in self.runs.into_iter().enumerate() {
            for i in 0..run.tiles {
                let place = KernelPlace {
                    narrow_strip: false,
                    short_tile: short_tile == 1,
                    first_pass: true,
                    last_pass: true,
                    tile,
                };
                let run = Run { first_row: run.first_row + i * run.height, tiles: 1, ..run };
                let call = Call { run, tiles: strips.len(), partial: std::ptr::null_mut(), next: std::ptr::null() };
                self.call(place, &strip, call);
                tile = TileRole::Plain;
            }
        }
    }

    /// LOOP 3 and LOOP 4: strips of one panel, or one of several panels, against the block of rows.
    fn run_panel(&self, strips: Range<usize>, partial: &mut [f32]) {
        let (plan, k) = (self.job.plan, self.job.weights.k());
        let passes = plan.passes(k);
        for pass in 0..passes {
            let depth = (pass * plan.kc).min(k)..((pass + 1) * plan.kc).min(k);
            // What the panel has behind this part is prefetched meanwhile, or the panel after it.
            let ends = strips.end == plan.strips && pass + 1 == passes;
            let mut prefetching = if ends { 0 } else { plan.prefetching_tiles };
            let mut next = PackedPart::new(self.job.weights, strips.start * plan.strip, depth.end, plan.strip).start;
            for number in strips.clone() {
                let strip = self.strip(number, depth.clone());
                let narrow_strip = number >= plan.whole_strips;
                let width = if narrow_strip { plan.strip / plan.vectors * plan.last_vectors } else { plan.strip };
                let mut done = (number - strips.start) * self.rows * plan.strip;
                let mut first_tile = true;
                for (short_tile, run) in self.runs.into_iter().enumerate() {
                    let mut left = run;
                    while left.tiles > 0 {
                        let (tile, tiles) = match (first_tile, prefetching) {
                            (true, _) => (TileRole::First, 1),
                            (false, 0) => (TileRole::Plain, left.tiles),
                            (false, some) => (TileRole::Prefetching, some.min(left.tiles)),
                        };
                        let place = KernelPlace {
                            narrow_strip,
                            short_tile: short_tile == 1,
                            first_pass: pass == 0,
                            last_pass: pass + 1 == passes,
                            tile,
                        };
                        let partial = match (passes > 1, plan.in_tiles) {
                            (true, _) => partial[done..].as_mut_ptr(),
                            (false, true) => partial.as_mut_ptr(),
                            (false, false) => std::ptr::null_mut(),
                        };
                        self.call(place, &strip, Call { run: left, tiles, partial, next });
                        if tile == TileRole::Prefetching {
                            prefetching -= tiles;
                            next = next.wrapping_add(tiles * prefetched_by_tile(depth.len()));
                        }
                        first_tile = false;
                        done += tiles * left.height * width;
                        left =
                            Run { first_row: left.first_row + tiles * left.height, tiles: left.tiles - tiles, ..left };
                    }
                }
            }
        }
    }

    /// What calls have in common that multiply by a strip, in a pass of K.
    fn strip(&self, strip: usize, depth: Range<usize>) -> Strip {
        let (job, column) = (self.job, strip * self.job.plan.strip);
        let b = PackedPart::new(job.weights, column, depth.start, job.plan.strip);
        Strip {
            column,
            slots_before: depth.start / job.products.depth_of_slot(),
            args: FloatKernelArgs {
                b: b.start,
                b_strip_stride: b.strip_stride,
                scales_from_b: b.scales_from_start,
                depth: depth.len(),
                bias: from(job.bias, column),
                ..self.common
            },
        }
    }

    fn call(&self, place: KernelPlace, strip: &Strip, call: Call) {
        let (job, column, row) = (self.job, strip.column, call.run.first_row);
        let kernel = job.kernels.0[place.index()].as_deref().expect("a job has every kernel of its plan");
        let within = size_of::<f32>()
            * match job.plan.rows_of_a(job.products) {
                FloatRows::Interleaved => strip.slots_before * call.run.height,
                FloatRows::Strided => strip.slots_before,
            };
        let before = (row - self.a.first) * self.a.row_stride + within;
        let mut args = FloatKernelArgs {
            a: self.a.data[before.min(self.a.data.len())..].as_ptr().cast(),
            a_tile_stride: call.run.height * self.a.row_stride,
            next: call.next,
            tiles: call.tiles,
            c: job.c.at(row, column),
            scratch: call.partial,
            residual: job.residual.map_or(std::ptr::null(), |residual| {
                from(residual.data, row * residual.row_stride_bytes + column * job.c.element_bytes)
            }),
            ..strip.args
        };
        // SAFETY: a `FloatJob` has operands and a destination of the sizes that its kernels were described with; `run_part`
        // provides the run's rows and room for constants, expanded weights and partial sums; nobody else has this part's
        // rectangle of C.
        unsafe { kernel.run(&mut args) }
    }
}

/// A strip in a pass of K.
struct Strip {
    column: usize,
    /// Slots of K before the pass.
    slots_before: usize,
    args: FloatKernelArgs,
}

/// One kernel call: micro-tiles of a run against a part of a strip, or one of them against strip after strip.
struct Call {
    run: Run,
    tiles: usize,
    /// Where the run's partial sums are.
    partial: *mut f32,
    /// What kernels that prefetch go on with.
    next: *const u8,
}

/// Bytes that a micro-tile prefetches: a line for every two k.
fn prefetched_by_tile(depth: usize) -> usize {
    depth / 2 * LINE
}

/// Where kernels begin to read packed weights.
struct PackedPart {
    start: *const u8,
    scales_from_start: isize,
    strip_stride: usize,
}

impl PackedPart {
    /// The strip that begins with `column`, from `k` on: the first k of a group, where weights have some. The next one is
    /// `strip` columns further.
    fn new(weights: &Weights, column: usize, k: usize, strip: usize) -> PackedPart {
        let (packed, panel_stride, before) = (weights.packed(), weights.panel_bytes(), column % FLOAT_PANEL);
        let scales_from_start = match packed {
            FloatWeights::Numbers(_) => 0,
            FloatWeights::Groups(_) => -((before * size_of::<bf16>()) as isize),
        };
        let place = |column: usize| column / FLOAT_PANEL * panel_stride + packed.place(k, column % FLOAT_PANEL);
        let at = place(column);
        // Going back where panels have no bytes: then nothing is read.
        let strip_stride = place(column + strip).wrapping_sub(at);
        // Without any k there is nothing to read.
        let start = weights.bytes()[at.min(weights.bytes().len())..].as_ptr();
        PackedPart { start, scales_from_start, strip_stride }
    }
}
