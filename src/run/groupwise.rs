//! The loops around the groupwise micro-kernel, and the call into machine code.
//!
//! ```text
//! parts (threads):  rows × panels                      each part writes its own piece of C
//!   LOOP 1  rows in blocks of MC                       A is quantized: i8, padded to whole chunks of k
//!     LOOP 2  panels                                   sums of MC × 32, then the epilogue
//!       kernel: micro-tiles of the block of rows
//! ```

use std::cell::RefCell;
use std::ops::Range;

use gemmill_codegen::{GROUP_PANEL, GroupKernelArgs, GroupKernelDesc, Kernel};

use super::{Destination, piece};
use crate::error::Result;
use crate::float::{Float, Function, Source};
use crate::groupwise::PackedGroupwise;
use crate::matrix::{MatMut, MatRef};
use crate::parallel::{ParallelFor, run_parts};
use crate::plan::RowTiles;
use crate::quant::{ZeroPoints, min_max_row, quantize_row_into, symmetric_row_params};

/// A product, ready to be carried out: kernels for both tile heights are there, every shape and length was checked, and every
/// row of A can be quantized. There are rows and columns.
pub(crate) struct GroupwiseJob<'a> {
    pub(crate) packed: &'a PackedGroupwise,
    pub(crate) a: Source<'a>,
    pub(crate) tiles: RowTiles,
    /// Micro-tiles per block of rows.
    pub(crate) tiles_per_block: usize,
    pub(crate) row_parts: usize,
    pub(crate) panel_parts: usize,
    /// Of kernels that prefetch.
    pub(crate) prefetch_distance: usize,
    /// For tall and short tiles.
    pub(crate) kernels: [Option<&'a Kernel<GroupKernelDesc>>; 2],
    /// Empty if there is none.
    pub(crate) bias: &'a [f32],
    pub(crate) function: Function,
}

/// A thread's own memory, kept from call to call.
#[derive(Default)]
struct Workspace {
    natural: Vec<f32>,
    a: Vec<i8>,
    scales: Vec<f32>,
    terms: Vec<i32>,
    sums: Vec<f32>,
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

/// Carries out a job in as many parts as it says, on threads of the caller's own or of its rayon pool.
pub(crate) fn run<C: Float>(
    job: &GroupwiseJob<'_>,
    c: &mut MatMut<'_, C>,
    own_threads: Option<&dyn ParallelFor>,
) -> Result<()> {
    let c = Destination::new(c);
    run_parts(own_threads, job.row_parts * job.panel_parts, &|part| {
        run_part::<C>(job, &c, part);
        Ok(())
    })
}

/// Refuses rows that cannot be quantized, before anything is written.
pub(crate) fn check_finite<A: Float>(a: MatRef<'_, A>) -> Result<()> {
    // Without columns of weights, nothing says that A, or a row of it, fits memory.
    let a = a.without_repeats();
    let (source, k) = (Source::new(a), a.cols());
    let mut piece = [0f32; PIECE];
    for i in 0..if k == 0 { 0 } else { a.rows() } {
        for first in (0..k).step_by(PIECE) {
            let (min, max) = read_and_bound(&source, i, first, &mut piece[..PIECE.min(k - first)]);
            symmetric_row_params(min, max)?;
        }
    }
    Ok(())
}

/// Elements of a row that are looked at together.
const PIECE: usize = 1024;

fn with_workspace<R>(f: impl FnOnce(&mut Workspace) -> R) -> R {
    WORKSPACE.with(|workspace| match workspace.try_borrow_mut() {
        Ok(mut workspace) => f(&mut workspace),
        Err(_) => f(&mut Workspace::default()),
    })
}

/// Reads elements of a row, and gives the smallest and the largest one; zeros if all are NaN.
fn read_and_bound(a: &Source<'_>, row: usize, first: usize, natural: &mut [f32]) -> (f32, f32) {
    gemmill_codegen::vectorize(|| {
        a.read(row, first, natural);
        min_max_row(natural).unwrap_or_default()
    })
}

fn run_part<C: Float>(job: &GroupwiseJob<'_>, c: &Destination<'_>, part: usize) {
    let (row_part, panel_part) = (part / job.panel_parts, part % job.panel_parts);
    let tiles = piece(job.tiles.count(), row_part, job.row_parts);
    let panels = piece(job.packed.n().div_ceil(GROUP_PANEL), panel_part, job.panel_parts);
    if panels.is_empty() {
        return;
    }
    with_workspace(|workspace| {
        for first in tiles.clone().step_by(job.tiles_per_block) {
            let tiles = first..tiles.end.min(first + job.tiles_per_block);
            quantize(job, &tiles, workspace);
            for panel in panels.clone() {
                run_panel::<C>(job, c, &tiles, panel, workspace);
            }
        }
    });
}

/// LOOP 1: rows as i8, their scales, and what zero points of weights take out of each group.
fn quantize(job: &GroupwiseJob<'_>, tiles: &Range<usize>, workspace: &mut Workspace) {
    let Workspace { natural, a, scales, terms, .. } = workspace;
    let (k, padded, groups) = (job.packed.k(), job.packed.padded_k(), job.packed.chunks().len());
    let size = job.packed.format().group_size.elements();
    let middle = i32::from(job.packed.format().bits.middle());
    let factor = if job.packed.format().zero_points == ZeroPoints::Middle { -middle } else { -1 };
    let first_row = job.tiles.row(tiles.start);
    let rows = job.tiles.row(tiles.end) - first_row;
    natural.resize(k, 0.0);
    a.resize(rows * padded, 0);
    scales.resize(rows, 0.0);
    terms.resize(rows * groups, 0);
    for tile in tiles.clone() {
        let start = job.tiles.row(tile);
        let height = job.tiles.row(tile + 1) - start;
        for i in 0..height {
            let row = start + i - first_row;
            let (min, max) = read_and_bound(&job.a, start + i, 0, natural);
            // Rows that have no parameters were refused.
            let Ok(params) = symmetric_row_params(min, max) else { continue };
            scales[row] = params.scale();
            let (quantized, padding) = a[row * padded..][..padded].split_at_mut(k);
            gemmill_codegen::vectorize(|| {
                quantize_row_into(params.inverse(), 0, natural, quantized);
                padding.fill(0);
                for (g, group) in quantized.chunks(size).enumerate() {
                    let sum: i32 = group.iter().map(|&x| i32::from(x)).sum();
                    terms[(start - first_row) * groups + g * height + i] = sum * factor;
                }
            });
        }
    }
}

/// LOOP 2: one panel against the block of rows.
fn run_panel<C: Float>(
    job: &GroupwiseJob<'_>,
    c: &Destination<'_>,
    tiles: &Range<usize>,
    panel: usize,
    workspace: &mut Workspace,
) {
    let (padded, groups) = (job.packed.padded_k(), job.packed.chunks().len());
    let first_row = job.tiles.row(tiles.start);
    let rows = job.tiles.row(tiles.end) - first_row;
    workspace.sums.clear();
    workspace.sums.resize(rows * GROUP_PANEL, 0.0);
    for (kernel, run) in job.kernels.iter().zip(job.tiles.runs(tiles.start, tiles.end)) {
        if run.tiles == 0 || groups == 0 {
            continue;
        }
        let kernel = kernel.expect("a job has kernels for its tiles");
        let row = run.first_row - first_row;
        let mut args = GroupKernelArgs {
            a: workspace.a[row * padded..].as_ptr(),
            a_row_stride: padded,
            b: job.packed.panels_from(panel).as_ptr(),
            chunks: job.packed.chunks().as_ptr(),
            groups,
            tiles: run.tiles,
            prefetch_distance: job.prefetch_distance,
            terms: workspace.terms[row * groups..].as_ptr(),
            sums: workspace.sums[row * GROUP_PANEL..].as_mut_ptr(),
            groups_left: 0,
        };
        // SAFETY: packing made the panel for these groups and chunks; `quantize` wrote padded rows of A and a term for each
        // group and row of the run's tiles; the sums have a row for each row of them.
        unsafe { kernel.run(&mut args) }
    }
    let column = panel * GROUP_PANEL;
    let cols = GROUP_PANEL.min(job.packed.n() - column);
    let bias = job.bias.get(column..column + cols);
    let rows =
        workspace.sums.chunks_exact(GROUP_PANEL).zip(&workspace.scales).enumerate().map(|(i, (sums, &scale))| {
            let at = c.at(first_row + i, column).cast::<C>();
            // SAFETY: these elements are C's, and nobody else writes this part's rectangle of it.
            (sums, scale, unsafe { std::slice::from_raw_parts_mut(at, cols) })
        });
    finish(rows, bias, job.function);
}

/// The epilogue of rows: of sums, with their scale, to where they go.
fn finish<'a, C: Float>(
    rows: impl Iterator<Item = (&'a [f32], f32, &'a mut [C])>,
    bias: Option<&[f32]>,
    function: Function,
) {
    #[inline(always)]
    fn row<C: Float>(sums: &[f32], scale: f32, bias: Option<&[f32]>, function: Function, out: &mut [C]) {
        let out = out.iter_mut().zip(sums);
        match (bias, function) {
            (None, Function::Identity) => out.for_each(|(c, &x)| *c = C::from_f32(x * scale)),
            (Some(bias), Function::Identity) => {
                out.zip(bias).for_each(|((c, &x), &b)| *c = C::from_f32(x.mul_add(scale, b)));
            }
            (None, _) => out.for_each(|(c, &x)| *c = C::from_f32(function.apply(x * scale))),
            (Some(bias), _) => {
                out.zip(bias).for_each(|((c, &x), &b)| *c = C::from_f32(function.apply(x.mul_add(scale, b))));
            }
        }
    }
    #[inline(always)]
    fn all<'a, C: Float>(
        rows: impl Iterator<Item = (&'a [f32], f32, &'a mut [C])>,
        bias: Option<&[f32]>,
        function: Function,
    ) {
        for (sums, scale, out) in rows {
            row(sums, scale, bias, function, out);
        }
    }
    // Too large for the compiler to inline it into `vectorize`: each multiply-add would be a call.
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn with_avx2<'a, C: Float>(
            rows: impl Iterator<Item = (&'a [f32], f32, &'a mut [C])>,
            bias: Option<&[f32]>,
            function: Function,
        ) {
            all(rows, bias, function);
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the two features that the function is compiled for were detected on the line above.
            return unsafe { with_avx2(rows, bias, function) };
        }
    }
    all(rows, bias, function);
}
