//! The int8 family in plain Rust: the portable tier, and the oracle of the generated kernels.
//!
//! It runs any [`KernelDesc`] on the same arguments and the same packed weights as machine code. Sums are formed in 32
//! bits throughout, so it does not depend on the proofs that packing made for 16-bit sums.

use crate::families::element::{read, write};
use crate::families::int8::args::{BlockHeader, KernelArgs};
use crate::families::int8::desc::{
    AZeroPoint, BZeroPoint, Byte, Clamp, Dequantize, Epilogue, Finish, KR, KernelDesc, Layout, Output, Requantize,
    SHUFFLE_BYTES, SHUFFLES, Section, Start,
};
use crate::families::sweep::Sweep;

/// Most accumulators that a micro-tile has, in lanes: 32 × 32 of the tiles.
const MAX_LANES: usize = 1024;

/// Runs the kernel that `desc` describes.
///
/// # Safety
/// As [`crate::Kernel::run`].
pub(crate) unsafe fn run(desc: &KernelDesc, args: &mut KernelArgs) {
    let width = match desc.sweep {
        Sweep::Column => {
            for _ in 0..args.tiles {
                // SAFETY: the caller's promise is the same.
                unsafe { micro_tile(desc, args) };
                advance_down(desc, args);
            }
            return;
        }
        Sweep::Row => std::mem::replace(&mut args.tiles, 1),
        Sweep::Grid { .. } => args.grid.width * desc.sweep.panels(),
    };
    for _ in 0..args.tiles {
        let mut row = *args;
        for _ in 0..width {
            // SAFETY: the caller's promise is the same.
            let ends = unsafe { micro_tile(desc, &mut row) };
            advance_across(desc, &mut row, ends);
        }
        advance_down(desc, args);
    }
}

/// One micro-tile, of one panel.
///
/// # Safety
/// As [`crate::Kernel::run`].
unsafe fn micro_tile(desc: &KernelDesc, args: &mut KernelArgs) -> PanelEnds {
    let rows = desc.rows as usize;
    let lanes = desc.vectors as usize * desc.layout.lanes();
    let mut acc = [0i32; MAX_LANES];
    let acc = &mut acc[..rows * lanes];
    if desc.start == Start::Scratch {
        // SAFETY: the caller provides scratch memory of `desc.scratch_bytes()` per micro-tile.
        acc.copy_from_slice(unsafe { std::slice::from_raw_parts(args.scratch, acc.len()) });
    }
    // SAFETY: passed on from the caller.
    let ends = unsafe { multiply(desc, args, acc) };
    match desc.finish {
        // SAFETY: the caller provides scratch memory of `desc.scratch_bytes()` per micro-tile.
        Finish::Scratch => unsafe { std::slice::from_raw_parts_mut(args.scratch, acc.len()) }.copy_from_slice(acc),
        // SAFETY: passed on from the caller.
        Finish::Epilogue(epilogue) => unsafe { finish(desc, args, epilogue, acc) },
    }
    args.scratch = args.scratch.wrapping_add(acc.len());
    ends
}

/// To the next rows of A, C and the arrays by row.
fn advance_down(desc: &KernelDesc, args: &mut KernelArgs) {
    let rows = desc.rows as usize;
    args.a = args.a.wrapping_add(rows * args.a_row_stride);
    args.c = args.c.wrapping_add(rows * args.c_row_stride);
    args.residual = args.residual.wrapping_add(rows * args.residual_row_stride);
    args.row_zero_point = args.row_zero_point.wrapping_add(rows);
    args.row_term = args.row_term.wrapping_add(rows);
    args.row_scale = args.row_scale.wrapping_add(rows);
}

/// To the next panel, and its columns of C and the arrays by column.
fn advance_across(desc: &KernelDesc, args: &mut KernelArgs, ends: PanelEnds) {
    let cols = desc.panel_cols();
    args.b = ends.b;
    args.offsets = ends.offsets;
    args.blocks = args.blocks.wrapping_add(args.block_count);
    if let Finish::Epilogue(epilogue) = desc.finish {
        let bytes = cols * epilogue.output.element_bytes();
        args.c = args.c.wrapping_add(bytes);
        args.residual = args.residual.wrapping_add(bytes);
    }
    args.column_term = args.column_term.wrapping_add(cols);
    args.column_correction = args.column_correction.wrapping_add(cols);
    args.column_zero_point = args.column_zero_point.wrapping_add(cols);
    args.column_scale = args.column_scale.wrapping_add(cols);
    args.column_bias = args.column_bias.wrapping_add(cols);
}

/// Where a panel's packed vectors and offsets end.
struct PanelEnds {
    b: *const u8,
    offsets: *const u16,
}

/// Adds all blocks of the panel to the accumulators.
///
/// # Safety
/// As [`crate::Kernel::run`].
unsafe fn multiply(desc: &KernelDesc, args: &KernelArgs, acc: &mut [i32]) -> PanelEnds {
    let (mut a, mut b, mut offsets) = (args.a, args.b, args.offsets);
    // SAFETY: the caller provides `block_count` headers.
    let blocks: &[BlockHeader] = unsafe { std::slice::from_raw_parts(args.blocks, args.block_count) };
    for block in blocks {
        for section in desc.sections.iter() {
            for _ in 0..block.bundles[section as usize] {
                for step in 0..section.vectors() {
                    let (entry, disp) = match section {
                        _ if section.is_run() => (0, step * desc.layout.step_depth()),
                        Section::Split => (0, 0),
                        _ => (step, 0),
                    };
                    let mut form = match (section, step) {
                        (Section::Split, 0) => Form::EvenOfBytes,
                        (Section::Split, _) => Form::OddOfBytes,
                        (Section::Wide, _) => Form::Words,
                        _ if desc.activations == Byte::I8 => Form::SignedBytes,
                        _ => Form::Bytes([0, 1, 2, 3]),
                    };
                    // SAFETY: the header counts the bundles, and so the offsets and vectors that are there; each offset
                    // leads to a whole step inside the rows of A.
                    unsafe {
                        let at = a.add(usize::from(*offsets.add(entry)) + disp);
                        if section == Section::Shuffled {
                            form = Form::Bytes(SHUFFLES[usize::from(*offsets.add(1)) / SHUFFLE_BYTES]);
                        }
                        multiply_step(desc, form, at, args.a_row_stride, b, acc);
                        b = b.add(desc.vectors as usize * desc.layout.vector_bytes());
                    }
                }
                // SAFETY: one past the bundle's offsets at most.
                offsets = unsafe { offsets.add(section.offsets()) };
            }
        }
        a = a.wrapping_add(block.a_advance as usize);
    }
    PanelEnds { b, offsets }
}

/// How four elements of a step meet four bytes of packed weights.
#[derive(Clone, Copy)]
enum Form {
    /// As bytes, the elements in this order.
    Bytes([usize; KR]),
    /// As signed bytes.
    SignedBytes,
    /// As two 16-bit numbers each.
    Words,
    /// Even elements against two 16-bit weights.
    EvenOfBytes,
    /// Odd elements likewise.
    OddOfBytes,
}

impl Form {
    fn dot(self, x: &[u8], weights: &[u8]) -> i32 {
        let word = |i: usize| i32::from(i16::from_le_bytes([weights[2 * i], weights[2 * i + 1]]));
        match self {
            Form::Bytes(order) => order.iter().zip(weights).map(|(&i, &w)| i32::from(x[i]) * i32::from(w as i8)).sum(),
            Form::SignedBytes => x.iter().zip(weights).map(|(&x, &w)| i32::from(x as i8) * i32::from(w as i8)).sum(),
            Form::Words => {
                let element = |i: usize| i32::from(i16::from_le_bytes([x[2 * i], x[2 * i + 1]]));
                element(0) * word(0) + element(1) * word(1)
            }
            Form::EvenOfBytes => i32::from(x[0]) * word(0) + i32::from(x[2]) * word(1),
            Form::OddOfBytes => i32::from(x[1]) * word(0) + i32::from(x[3]) * word(1),
        }
    }
}

/// One step of every row against its packed vectors.
///
/// # Safety
/// `a` must be readable for a step in every row, `b` for the step's vectors.
unsafe fn multiply_step(
    desc: &KernelDesc,
    form: Form,
    a: *const u8,
    a_row_stride: usize,
    b: *const u8,
    acc: &mut [i32],
) {
    let layout = desc.layout;
    let (lanes, bytes) = (layout.lanes(), desc.vectors as usize * layout.vector_bytes());
    for row in 0..desc.rows as usize {
        // SAFETY: the caller's promise.
        let (step, packed) = unsafe {
            let step = std::slice::from_raw_parts(a.add(row * a_row_stride), layout.step_depth());
            (step, std::slice::from_raw_parts(b, bytes))
        };
        let sums = &mut acc[row * desc.vectors as usize * lanes..][..desc.vectors as usize * lanes];
        for (i, weights) in packed.chunks_exact(KR).enumerate() {
            // Which lane, and which four elements of the step.
            let (lane, quad) = match layout {
                Layout::Tiles | Layout::RowsOfTiles => {
                    let quads = layout.step_depth() / KR;
                    (i / (quads * lanes) * lanes + i % lanes, i / lanes % quads)
                }
                _ => (i, i % layout.lanes_per_column()),
            };
            sums[lane] = sums[lane].wrapping_add(form.dot(&step[quad * KR..][..KR], weights));
        }
    }
}

/// The epilogue of one micro-tile.
///
/// # Safety
/// As [`crate::Kernel::run`].
unsafe fn finish(desc: &KernelDesc, args: &KernelArgs, epilogue: Epilogue, acc: &[i32]) {
    let (rows, cols) = (desc.rows as usize, desc.cols as usize);
    for row in 0..rows {
        for col in 0..cols {
            let row_lanes = desc.vectors as usize * desc.layout.lanes();
            let acc = &acc[row * row_lanes..][..row_lanes];
            let lanes = desc.layout.lanes_per_column();
            let sum = acc[col * lanes..][..lanes].iter().fold(0i32, |sum, &x| sum.wrapping_add(x));
            // SAFETY: per-row arrays hold every row of the call, per-column arrays every column of the panel, C and the
            // residual `rows × cols` elements at their strides.
            unsafe {
                let raw = raw(args, epilogue, sum, row, col);
                let c = args.c.add(row * args.c_row_stride);
                match epilogue.output {
                    Output::StoreI32 => c.cast::<i32>().add(col).write_unaligned(raw),
                    Output::AddI32 => {
                        let c = c.cast::<i32>().add(col);
                        c.write_unaligned(c.read_unaligned().wrapping_add(raw));
                    }
                    Output::Requantize(r) => c.add(col).write(requantize(args, r, raw, col)),
                    Output::Dequantize(d) => {
                        let residual = args.residual.wrapping_add(row * args.residual_row_stride);
                        let residual = if d.residual { read(d.to, residual, col) } else { 0.0 };
                        write(d.to, c, col, dequantize(args, d, raw, (row, col), residual));
                    }
                }
            }
        }
    }
}

/// # Safety
/// The arrays that `epilogue` names must hold `row` and `col`.
unsafe fn raw(args: &KernelArgs, epilogue: Epilogue, sum: i32, row: usize, col: usize) -> i32 {
    // SAFETY: the caller's promise.
    unsafe {
        let mut raw = sum.wrapping_add(*args.column_term.add(col));
        if epilogue.a_zero_point == AZeroPoint::PerRow {
            let correction = *args.column_correction.add(col);
            raw = raw.wrapping_add(correction.wrapping_mul(*args.row_zero_point.add(row)));
        }
        match epilogue.b_zero_point {
            BZeroPoint::Zero => raw,
            BZeroPoint::Tensor => raw.wrapping_add(*args.row_term.add(row)),
            BZeroPoint::PerColumn => {
                let zero_point = *args.column_zero_point.add(col);
                raw.wrapping_add(zero_point.wrapping_mul(*args.row_term.add(row)))
            }
        }
    }
}

/// # Safety
/// The arrays that `r` names must hold `col`.
unsafe fn requantize(args: &KernelArgs, r: Requantize, raw: i32, col: usize) -> u8 {
    // SAFETY: the caller's promise.
    let (bias, multiplier) =
        unsafe { (if r.float_bias { *args.column_bias.add(col) } else { 0.0 }, *args.column_scale.add(col)) };
    let x = if r.float_bias { raw as f32 + bias } else { raw as f32 };
    let y = x * multiplier;
    let (low, high) = match r.clamp {
        Clamp::Float => (args.low, args.high),
        Clamp::Narrowing | Clamp::Type => {
            ((args.low_byte - args.zero_point) as f32, (args.high_byte - args.zero_point) as f32)
        }
    };
    let c = args.zero_point + y.clamp(low, high).round_ties_even() as i32;
    match r.to {
        Byte::U8 => c as u8,
        Byte::I8 => c as i8 as u8,
    }
}

/// # Safety
/// The arrays that `d` names must hold `row` and `col`.
unsafe fn dequantize(args: &KernelArgs, d: Dequantize, raw: i32, (row, col): (usize, usize), residual: f32) -> f32 {
    // SAFETY: the caller's promise.
    let c = unsafe {
        let column = *args.column_scale.add(col);
        let scale = if d.row_scale { *args.row_scale.add(row) * column } else { column };
        if d.bias { (raw as f32).mul_add(scale, *args.column_bias.add(col)) } else { raw as f32 * scale }
    };
    let c = if d.residual { c + residual } else { c };
    if !d.clamp {
        return c;
    }
    let c = if args.low > c { args.low } else { c };
    if args.high < c { args.high } else { c }
}
