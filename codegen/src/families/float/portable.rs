//! The float family in plain Rust: the portable tier, and the oracle of the generated kernels.

use super::desc::{
    Expansion, FLOAT_PANEL, FloatFinish, FloatKernelArgs, FloatKernelDesc, FloatProducts, FloatRows, FloatStart,
};
use super::dot::HardwareDot;
use super::function::float_function;
use super::weights::{FloatWeights, WeightGroups};
use crate::families::element::{FloatType, read, write};
use crate::families::groups::desc::{GROUP_PANEL, GroupZeroPoints};
use crate::families::sweep::Sweep;
use half::bf16;

/// Most accumulators of a micro-tile, of any tier: 15 × 32, 3 × 128, or 32 × 32 in tiles.
pub(super) const MAX_ACCUMULATORS: usize = 1024;

/// Bytes of scales from a panel's first half to its second one.
const HALF_PANEL_OF_SCALES: isize = (FLOAT_PANEL / 2 * size_of::<bf16>()) as isize;

/// Runs the kernel that `desc` describes.
///
/// # Safety
/// As [`crate::Kernel::run`].
pub(super) unsafe fn run(desc: &FloatKernelDesc, args: &mut FloatKernelArgs) {
    if let Sweep::Grid { k, .. } = desc.sweep {
        // SAFETY: the caller's promise is the same.
        return unsafe { run_grid(desc, args, k as usize) };
    }
    let (rows, cols) = (usize::from(desc.rows), desc.strip_cols());
    for _ in 0..args.tiles {
        let mut acc = [0f32; MAX_ACCUMULATORS];
        let acc = &mut acc[..rows * cols];
        // SAFETY: passed on from the caller, who provides scratch memory for each micro-tile.
        unsafe {
            start(desc, args, acc);
            match desc.products {
                FloatProducts::Chain => multiply(desc, args, acc),
                FloatProducts::Dot(dot) => add_dots(desc, dot, args, acc),
            }
            match desc.finish {
                FloatFinish::Scratch => args.scratch.copy_from_nonoverlapping(acc.as_ptr(), acc.len()),
                FloatFinish::Epilogue(_) => finish(desc, args, acc),
            }
        }
        match desc.sweep {
            Sweep::Grid { .. } => unreachable!("a grid has a loop of its own"),
            Sweep::Column => {
                args.a = args.a.wrapping_byte_add(args.a_tile_stride);
                args.c = args.c.wrapping_add(rows * args.c_row_stride);
                args.residual = args.residual.wrapping_add(rows * args.residual_row_stride);
            }
            Sweep::Row => {
                args.b = args.b.wrapping_add(args.b_strip_stride);
                if desc.has_half_panels() {
                    args.b_strip_stride = args.b_panel_stride.wrapping_sub(args.b_strip_stride);
                    if let FloatWeights::Groups(_) = desc.weights {
                        args.scales_from_b = -HALF_PANEL_OF_SCALES - args.scales_from_b;
                    }
                }
                args.c = args.c.wrapping_add(cols * desc.c.bytes());
                args.residual = args.residual.wrapping_add(cols * desc.c.bytes());
                args.bias = args.bias.wrapping_add(cols);
            }
        }
        args.scratch = args.scratch.wrapping_add(acc.len());
    }
}

/// All micro-tiles of a grid, a panel each.
///
/// # Safety
/// As [`crate::Kernel::run`].
unsafe fn run_grid(desc: &FloatKernelDesc, args: &mut FloatKernelArgs, k: usize) {
    let FloatProducts::Dot(dot) = desc.products else { return };
    let (rows, cols, steps) = (usize::from(desc.rows), desc.strip_cols(), k.div_ceil(dot.group()));
    for _ in 0..args.tiles {
        let mut panel = *args;
        for _ in 0..args.grid.width * desc.sweep.panels() {
            let mut acc = [0f32; MAX_ACCUMULATORS];
            let acc = &mut acc[..rows * cols];
            for (at, sum) in acc.iter_mut().enumerate() {
                let (row, column) = (at / cols, at % cols);
                for step in 0..steps {
                    let mut a = [bf16::ZERO; MAX_GROUP];
                    let mut b = [bf16::ZERO; MAX_GROUP];
                    for within in 0..dot.group() {
                        let of_a = panel.a.wrapping_byte_add(row * panel.a_row_stride).cast::<bf16>();
                        let of_b = panel.b.wrapping_add(place_in_tiles(step, column, within)).cast::<bf16>();
                        // SAFETY: the caller provides whole steps of each row and of each panel.
                        unsafe {
                            a[within] = of_a.wrapping_add(step * dot.group() + within).read_unaligned();
                            b[within] = of_b.read_unaligned();
                        }
                    }
                    *sum = dot.add(*sum, &a[..dot.group()], &b[..dot.group()]);
                }
            }
            // SAFETY: passed on from the caller.
            unsafe { finish(desc, &panel, acc) };
            panel.b = panel.b.wrapping_add(steps * STEP_OF_TILES);
            panel.c = panel.c.wrapping_add(cols * desc.c.bytes());
            panel.residual = panel.residual.wrapping_add(cols * desc.c.bytes());
            panel.bias = panel.bias.wrapping_add(cols);
        }
        args.a = args.a.wrapping_byte_add(rows * args.a_row_stride);
        args.c = args.c.wrapping_add(rows * args.c_row_stride);
        args.residual = args.residual.wrapping_add(rows * args.residual_row_stride);
    }
}

/// Bytes of a panel's two tiles of a step.
const STEP_OF_TILES: usize = 2048;

/// Where an element of a step of [`Expansion::Tiles`] stands in its panel.
fn place_in_tiles(step: usize, column: usize, within: usize) -> usize {
    step * STEP_OF_TILES + column / 16 * (STEP_OF_TILES / 2) + within / 2 * 64 + column % 16 * 4 + within % 2 * 2
}

/// # Safety
/// As [`crate::Kernel::run`].
unsafe fn start(desc: &FloatKernelDesc, args: &FloatKernelArgs, acc: &mut [f32]) {
    match desc.start {
        FloatStart::Zero => {}
        // SAFETY: the caller provides scratch memory for each micro-tile.
        FloatStart::Scratch => unsafe { args.scratch.copy_to_nonoverlapping(acc.as_mut_ptr(), acc.len()) },
        FloatStart::Beta => {
            for (i, row) in acc.chunks_exact_mut(desc.strip_cols()).enumerate() {
                for (j, sum) in row[..desc.cols.into()].iter_mut().enumerate() {
                    // SAFETY: the element is one of C's.
                    let c = unsafe { read(desc.c, args.c.wrapping_add(i * args.c_row_stride), j) };
                    *sum = args.beta * c;
                }
            }
        }
    }
}

/// # Safety
/// As [`crate::Kernel::run`].
unsafe fn multiply(desc: &FloatKernelDesc, args: &FloatKernelArgs, acc: &mut [f32]) {
    let (rows, cols) = (usize::from(desc.rows), desc.strip_cols());
    for k in 0..args.depth {
        for j in 0..cols {
            let kept = args.expanded.wrapping_add(k * cols + j);
            let b = match desc.expansion {
                // SAFETY: the caller provides `depth * strip_cols` elements.
                Expansion::Reused => unsafe { kept.read() },
                Expansion::Tiles => unreachable!("tiles are multiplied in grids"),
                Expansion::InRegisters | Expansion::Kept => {
                    let panel = args.b.wrapping_add(j / FLOAT_PANEL * args.b_panel_stride);
                    // SAFETY: the caller provides `depth` k of each panel.
                    unsafe {
                        match desc.weights {
                            FloatWeights::Numbers(of) => {
                                let row = panel.wrapping_add(desc.weights.panel_bytes(k));
                                read(of, row, of.place(j % FLOAT_PANEL))
                            }
                            FloatWeights::Groups(groups) => {
                                small_weight(groups, args.scales_from_b, panel, k, j % FLOAT_PANEL)
                            }
                        }
                    }
                }
            };
            if desc.expansion == Expansion::Kept {
                // SAFETY: the caller provides `depth * strip_cols` elements.
                unsafe { kept.write(b) };
            }
            for i in 0..rows {
                let a = match desc.a {
                    FloatRows::Strided => args.a.wrapping_byte_add(i * args.a_row_stride).wrapping_add(k),
                    FloatRows::Interleaved => args.a.wrapping_add(k * rows + i),
                };
                let sum = &mut acc[i * cols + j];
                // SAFETY: the caller provides `depth` elements of each row.
                *sum = unsafe { a.read() }.mul_add(b, *sum);
            }
        }
    }
}

/// A weight of few bits, as f32.
///
/// # Safety
/// `b` points to the columns' dwords of a panel, were they at the start of the first group; the panel has `k`.
unsafe fn small_weight(groups: WeightGroups, scales_from_b: isize, b: *const u8, k: usize, j: usize) -> f32 {
    let WeightGroups { layout, size, .. } = groups;
    let (group, within) = (FloatWeights::Groups(groups).panel_bytes(k), k % usize::from(size));
    let (step, in_step) = (within / layout.step_depth(), within % layout.step_depth());
    let half = |at: usize| {
        let at = b.wrapping_add(group + at).wrapping_offset(scales_from_b).cast::<u16>();
        // SAFETY: every group has a header, with scales and, if columns have their own, zero points.
        unsafe { at.add(j).read_unaligned() }
    };
    let dword = b.wrapping_add(group + layout.header_bytes() + (step * GROUP_PANEL + j) * 4).cast::<u32>();
    // SAFETY: the caller's promise.
    let dword = unsafe { dword.read_unaligned() };
    let q = dword >> layout.offset_in_dword(in_step) & ((1 << layout.bits) - 1);
    let zero_point = match layout.zero_points {
        GroupZeroPoints::Middle => layout.middle().into(),
        GroupZeroPoints::PerColumn => half(GROUP_PANEL * size_of::<u16>()),
    };
    bf16::from_bits(half(0)).to_f32() * (q as f32 - f32::from(zero_point))
}

/// Most k of a group of hardware dot products.
const MAX_GROUP: usize = 32;

/// # Safety
/// As [`crate::Kernel::run`].
unsafe fn add_dots(desc: &FloatKernelDesc, dot: HardwareDot, args: &FloatKernelArgs, acc: &mut [f32]) {
    let (rows, cols, group) = (usize::from(desc.rows), desc.strip_cols(), dot.group());
    for first in (0..args.depth).step_by(group) {
        for j in 0..cols {
            let kept = args.expanded.cast::<bf16>().wrapping_add(first * cols + 2 * j);
            // Pair `p` of a column stands a strip's pairs behind the one before it.
            let in_pairs = |k: usize| kept.wrapping_add(k / 2 * 2 * cols + k % 2);
            let mut b = [bf16::ZERO; MAX_GROUP];
            for (k, weight) in b[..group].iter_mut().enumerate() {
                let panel = args.b.wrapping_add(j / FLOAT_PANEL * args.b_panel_stride);
                let row = panel.wrapping_add(desc.weights.panel_bytes(first + k));
                let at = row.wrapping_add(FloatType::Bf16.place(j % FLOAT_PANEL) * FloatType::Bf16.bytes());
                if desc.expansion == Expansion::Reused {
                    // SAFETY: the caller provides room for whole groups, which an earlier kernel filled.
                    *weight = unsafe { in_pairs(k).read() };
                } else if first + k < args.depth {
                    // SAFETY: the caller provides `depth` rows of each panel.
                    *weight = unsafe { at.cast::<bf16>().read_unaligned() };
                }
                if desc.expansion == Expansion::Kept {
                    // SAFETY: the caller provides room for whole groups.
                    unsafe { in_pairs(k).write(*weight) };
                }
            }
            for i in 0..rows {
                let row = args.a.wrapping_byte_add(i * args.a_row_stride).cast::<bf16>().wrapping_add(first);
                let mut a = [bf16::ZERO; MAX_GROUP];
                for (k, a) in a[..group].iter_mut().enumerate() {
                    // SAFETY: the caller provides whole groups of each row, which need not be aligned.
                    *a = unsafe { row.wrapping_add(k).read_unaligned() };
                }
                acc[i * cols + j] = dot.add(acc[i * cols + j], &a[..group], &b[..group]);
            }
        }
    }
}

/// # Safety
/// As [`crate::Kernel::run`].
unsafe fn finish(desc: &FloatKernelDesc, args: &FloatKernelArgs, acc: &[f32]) {
    let FloatFinish::Epilogue(epilogue) = desc.finish else { return };
    for (i, row) in acc.chunks_exact(desc.strip_cols()).enumerate() {
        for (j, &sum) in row[..desc.cols.into()].iter().enumerate() {
            let mut x = sum;
            if epilogue.bias {
                // SAFETY: the caller provides a bias for every column.
                x += unsafe { args.bias.add(j).read() };
            }
            if epilogue.residual {
                // SAFETY: the caller provides a residual for every element.
                x += unsafe { read(desc.c, args.residual.wrapping_add(i * args.residual_row_stride), j) };
            }
            let x = float_function(epilogue.function, x, args.low, args.high);
            // SAFETY: the element is one of C's.
            unsafe { write(desc.c, args.c.wrapping_add(i * args.c_row_stride), j, x) };
        }
    }
}
