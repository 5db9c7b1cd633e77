//! The epilogue of the int8 family: typed stages on accumulators in registers, in the order of
//! [`crate::families::int8::desc::Epilogue`]. The portable tier's version stands beside it in `portable.rs`.

use std::mem::offset_of;

use super::builder::{Builder, role};
use crate::families::element::vectors::Elements;
use crate::families::int8::args::KernelArgs as Args;
use crate::families::int8::desc::{AZeroPoint, BZeroPoint, Byte, Clamp, Dequantize, Epilogue, Output, Requantize};
use crate::families::sweep::{Ahead, Sweep};
use crate::frame::arg;
use crate::tuning::GRID_EPILOGUE_VECTORS;
use crate::x86::asm::{Gpr, Mem};
use crate::x86::lowering::{Lowering, Op, Source, Vector};

/// A row of C, and what is added to it.
const C: Gpr = Gpr::R9;
const C_STRIDE: Gpr = Gpr::R8;
const RESIDUAL: Gpr = Gpr::R10;
const RESIDUAL_STRIDE: Gpr = Gpr::Rsi;
/// Arrays by column and by row.
const COLUMNS: Gpr = Gpr::R11;
const COLUMNS_2: Gpr = Gpr::Rax;
const ROWS: Gpr = Gpr::Rcx;

/// Lane order that undoes the 128-bit parts of the two packing steps: lanes of the `i`-th of four vectors come from
/// lane `i` of every four.
fn unpack_order(lanes: usize) -> Vec<u32> {
    (0..lanes as u32).map(|to| to % (lanes as u32 / 4) * 4 + to / (lanes as u32 / 4)).collect()
}

/// Bytes of what [`Lowering::part`] takes out of a vector.
const PART_BYTES: usize = 16;

/// Sums the lanes of each row's accumulators: column `v` goes to lane `v` of the row's first accumulator.
pub(super) fn sum_lanes<L: Lowering>(b: &mut Builder<L>) {
    let (vectors, t0, t1) = (b.vectors(), b.temp(0), b.temp(1));
    for row in 0..b.rows() {
        let (first, last) = (b.acc(row, 0), b.acc(row, vectors - 1));
        b.low.op(Op::HorizontalAddI32, t0, first, last.into());
        b.low.op(Op::HorizontalAddI32, t0, t0, t0.into());
        b.low.part(t1, t0, 1);
        b.low.op(Op::AddI32, first, t0, t1.into());
    }
}

/// Sums pairs of lanes: a row's accumulator then holds its four columns in its first lanes.
pub(super) fn sum_pairs<L: Lowering>(b: &mut Builder<L>) {
    // A horizontal addition of rows r and s gives r0 r1 s0 s1 | r2 r3 s2 s3.
    const FIRST_ROW: [u32; 8] = [0, 1, 4, 5, 0, 1, 4, 5];
    const SECOND_ROW: [u32; 8] = [2, 3, 6, 7, 2, 3, 6, 7];
    let (sums, first, second) = (b.temp(0), b.temp(1), b.temp(2));
    for (order, lanes) in [(first, FIRST_ROW), (second, SECOND_ROW)] {
        let constant = b.low.asm().constant(&lanes);
        b.low.load(order, Source::Constant(constant));
    }
    for row in (0..b.rows()).step_by(2) {
        let (r, s) = (b.acc(row, 0), b.acc((row + 1).min(b.rows() - 1), 0));
        b.low.op(Op::HorizontalAddI32, sums, r, s.into());
        b.low.permute32(s, second, sums);
        b.low.permute32(r, first, sums);
    }
}

/// Vectors of columns that a grid's epilogue has in registers begin here, behind its accumulators.
const HELD: u8 = GRID_EPILOGUE_VECTORS as u8;
/// Its constants: limits, zero point of C, order of lanes.
const HELD_CONSTANTS: [Vector; 4] = [Vector(27), Vector(26), Vector(25), Vector(24)];

/// Loads what the epilogues of all micro-tiles of a grid read.
pub(super) fn hold_constants<L: Lowering>(b: &mut Builder<L>, epilogue: Epilogue) {
    let [low, high, zero_point, order] = HELD_CONSTANTS;
    match epilogue.output {
        Output::StoreI32 | Output::AddI32 => {}
        Output::Requantize(r) => {
            load_limits(b, r.clamp, low, high);
            load_narrowing(b, zero_point, order);
        }
        Output::Dequantize(d) if d.clamp => load_limits(b, Clamp::Float, low, high),
        Output::Dequantize(_) => {}
    }
}

/// Loads what the epilogue of a micro-tile of a grid reads for all rows, and points at the first row of C and of the
/// residual.
pub(super) fn hold<L: Lowering>(b: &mut Builder<L>, epilogue: Epilogue) {
    let vectors = b.vectors();
    for (i, at) in held_columns(epilogue).enumerate() {
        b.low.asm().load64(COLUMNS, Mem::at(role::ARGS, at));
        for v in 0..vectors {
            let place = Mem::at(COLUMNS, v * b.vector_bytes());
            b.low.load(Vector(HELD + (i * vectors + v) as u8), place.into());
        }
    }
    point_at_c(b, matches!(epilogue.output, Output::Dequantize(d) if d.residual));
}

/// The arrays by column of numbers of four bytes, as offsets of the arguments.
fn held_columns(epilogue: Epilogue) -> impl Iterator<Item = usize> {
    let of_c = [offset_of!(Args, c), offset_of!(Args, residual)];
    arrays_by_column(epilogue).map(|(at, _)| at).filter(move |at| !of_c.contains(at))
}

/// Points at C and, if there is one, the residual: in a grid they stay so from row to row.
fn point_at_c<L: Lowering>(b: &mut Builder<L>, residual: bool) {
    if b.in_grid.is_some() {
        return;
    }
    let asm = b.low.asm();
    asm.load64(C, arg!(c));
    asm.load64(C_STRIDE, arg!(c_row_stride));
    if residual {
        asm.load64(RESIDUAL, arg!(residual));
        asm.load64(RESIDUAL_STRIDE, arg!(residual_row_stride));
    }
}

/// Points `register` at an array by column, which it is by its offset among the arguments.
fn point_at_columns<L: Lowering>(b: &mut Builder<L>, register: Gpr, at: usize) {
    if b.in_grid.is_none() {
        b.low.asm().load64(register, Mem::at(role::ARGS, at));
    }
}

/// Result vector `v` of an array by column that `register` points at.
fn column<L: Lowering>(b: &Builder<L>, epilogue: Epilogue, (register, at): (Gpr, usize), v: usize) -> Source {
    if b.in_grid.is_none() {
        return at_column(b, register, v).into();
    }
    let index = held_columns(epilogue).position(|held| held == at).unwrap_or_default();
    Vector(HELD + (index * b.vectors() + v) as u8).into()
}

/// Row `row` of the array by row that [`ROWS`] points at.
fn at_row<L: Lowering>(b: &Builder<L>, row: usize) -> Mem {
    Mem::at(ROWS, 4 * (b.in_grid.unwrap_or_default() + row))
}

/// All stages for one micro-tile; moves what they read and write to the next, unless these are some rows of a grid's.
pub(super) fn stages<L: Lowering>(b: &mut Builder<L>, epilogue: Epilogue) {
    if let Sweep::Grid { ahead: Ahead::OneRow | Ahead::TwoRows, .. } = b.desc.sweep {
        let row_bytes = usize::from(b.desc.cols) * epilogue.output.element_bytes();
        b.prefetch_micro_tiles_ahead((C, C_STRIDE), row_bytes);
        if matches!(epilogue.output, Output::Dequantize(d) if d.residual) {
            b.prefetch_micro_tiles_ahead((RESIDUAL, RESIDUAL_STRIDE), row_bytes);
        }
    }
    zero_points(b, epilogue);
    match epilogue.output {
        Output::StoreI32 => store_i32(b, false),
        Output::AddI32 => store_i32(b, true),
        Output::Requantize(r) => requantize(b, epilogue, r),
        Output::Dequantize(d) => dequantize(b, epilogue, d),
    }
    match b.desc.sweep {
        Sweep::Column => advance_down(b, epilogue),
        Sweep::Row => advance_across(b, epilogue),
        // The frame moves them, from micro-tile to micro-tile.
        Sweep::Grid { .. } => {}
    }
}

/// To the next rows of C, of the residual and of the arrays by row.
fn advance_down<L: Lowering>(b: &mut Builder<L>, epilogue: Epilogue) {
    let bytes = 4 * b.rows();
    b.advance_by_rows(arg!(c), arg!(c_row_stride));
    let asm = b.low.asm();
    if epilogue.a_zero_point == AZeroPoint::PerRow {
        asm.add_imm_to(arg!(row_zero_point), bytes);
    }
    if epilogue.b_zero_point != BZeroPoint::Zero {
        asm.add_imm_to(arg!(row_term), bytes);
    }
    if let Output::Dequantize(d) = epilogue.output {
        if d.row_scale {
            asm.add_imm_to(arg!(row_scale), bytes);
        }
        if d.residual {
            b.advance_by_rows(arg!(residual), arg!(residual_row_stride));
        }
    }
}

/// To the next panel's columns of C, of the residual and of the arrays by column.
fn advance_across<L: Lowering>(b: &mut Builder<L>, epilogue: Epilogue) {
    let cols = b.desc.panel_cols();
    for (at, bytes) in arrays_by_column(epilogue) {
        b.low.asm().add_imm_to(Mem::at(role::ARGS, at), bytes * cols);
    }
}

/// What is read or written by column: offsets of the arguments, and bytes of an element.
pub(super) fn arrays_by_column(epilogue: Epilogue) -> impl Iterator<Item = (usize, usize)> {
    let (scale, bias, residual) = match epilogue.output {
        Output::StoreI32 | Output::AddI32 => (false, false, false),
        Output::Requantize(r) => (true, r.float_bias, false),
        Output::Dequantize(d) => (true, d.bias, d.residual),
    };
    let element = epilogue.output.element_bytes();
    let arrays = [
        (true, offset_of!(Args, c), element),
        (residual, offset_of!(Args, residual), element),
        (true, offset_of!(Args, column_term), 4),
        (epilogue.a_zero_point == AZeroPoint::PerRow, offset_of!(Args, column_correction), 4),
        (epilogue.b_zero_point == BZeroPoint::PerColumn, offset_of!(Args, column_zero_point), 4),
        (scale, offset_of!(Args, column_scale), 4),
        (bias, offset_of!(Args, column_bias), 4),
    ];
    arrays.into_iter().filter(|(is_read, ..)| *is_read).map(|(_, at, bytes)| (at, bytes))
}

/// Vectors of 32-bit results per row.
fn result_vectors<L: Lowering>(b: &Builder<L>) -> usize {
    (b.desc.cols as usize).div_ceil(b.lanes())
}

/// The accumulator that holds columns `lanes * v ..` of a row. (Summed lanes leave a row's later accumulators unused.)
fn result<L: Lowering>(b: &Builder<L>, row: usize, v: usize) -> Vector {
    b.acc(row, v)
}

/// Columns of C in result vector `v`.
fn columns_in<L: Lowering>(b: &Builder<L>, v: usize) -> usize {
    let lanes = b.lanes();
    (b.desc.cols as usize - v * lanes).min(lanes)
}

/// The arrays by column `COLUMNS` or `COLUMNS_2`, or C of i32, at result vector `v`.
fn at_column<L: Lowering>(b: &Builder<L>, array: Gpr, v: usize) -> Mem {
    Mem::at(array, v * b.vector_bytes())
}

fn zero_points<L: Lowering>(b: &mut Builder<L>, epilogue: Epilogue) {
    let (rows, vectors, t0, t1) = (b.rows(), result_vectors(b), b.temp(0), b.temp(1));
    if epilogue.a_zero_point == AZeroPoint::PerRow {
        let corrections = (COLUMNS, offset_of!(Args, column_correction));
        b.low.asm().load64(ROWS, arg!(row_zero_point));
        point_at_columns(b, corrections.0, corrections.1);
        for row in 0..rows {
            b.low.broadcast32(t0, at_row(b, row));
            for v in 0..vectors {
                let (acc, correction) = (result(b, row, v), column(b, epilogue, corrections, v));
                b.low.op(Op::MulI32, t1, t0, correction);
                b.low.op(Op::AddI32, acc, acc, t1.into());
            }
        }
    }
    if epilogue.b_zero_point != BZeroPoint::Zero {
        let zero_points = (COLUMNS, offset_of!(Args, column_zero_point));
        b.low.asm().load64(ROWS, arg!(row_term));
        point_at_columns(b, zero_points.0, zero_points.1);
        for row in 0..rows {
            b.low.broadcast32(t0, at_row(b, row));
            for v in 0..vectors {
                let acc = result(b, row, v);
                let term = match epilogue.b_zero_point {
                    BZeroPoint::PerColumn => {
                        let zero_point = column(b, epilogue, zero_points, v);
                        b.low.op(Op::MulI32, t1, t0, zero_point);
                        t1
                    }
                    _ => t0,
                };
                b.low.op(Op::AddI32, acc, acc, term.into());
            }
        }
    }
    if b.starts_at_term() {
        return;
    }
    let terms = (COLUMNS, offset_of!(Args, column_term));
    point_at_columns(b, terms.0, terms.1);
    for row in 0..rows {
        for v in 0..vectors {
            let (acc, term) = (result(b, row, v), column(b, epilogue, terms, v));
            b.low.op(Op::AddI32, acc, acc, term);
        }
    }
}

fn store_i32<L: Lowering>(b: &mut Builder<L>, add: bool) {
    let (t0, t1) = (b.temp(0), b.temp(1));
    point_at_c(b, false);
    for row in 0..b.rows() {
        for v in 0..result_vectors(b) {
            let (acc, count, place) = (result(b, row, v), columns_in(b, v), at_column(b, C, v));
            if add && count == b.lanes() {
                b.low.op(Op::AddI32, acc, acc, place.into());
            } else if add {
                b.low.load_first(t0, t1, place, count);
                b.low.op(Op::AddI32, acc, acc, t0.into());
            }
            b.low.store_first(place, acc, count);
        }
        b.low.asm().add(C, C_STRIDE);
    }
}

/// Loads the limits of a clamp.
fn load_limits<L: Lowering>(b: &mut Builder<L>, clamp: Clamp, low: Vector, high: Vector) {
    match clamp {
        Clamp::Float => {
            b.low.broadcast32(low, arg!(low));
            b.low.broadcast32(high, arg!(high));
        }
        Clamp::Narrowing => {
            b.low.broadcast8(low, arg!(low_byte));
            b.low.broadcast8(high, arg!(high_byte));
        }
        Clamp::Type => {}
    }
}

/// Loads the zero point and the order of lanes of narrowing.
fn load_narrowing<L: Lowering>(b: &mut Builder<L>, zero_point: Vector, order: Vector) {
    let order_of_lanes = unpack_order(b.lanes());
    let constant = b.low.asm().constant(&order_of_lanes);
    b.low.broadcast16(zero_point, arg!(zero_point));
    b.low.load(order, Source::Constant(constant));
}

fn dequantize<L: Lowering>(b: &mut Builder<L>, epilogue: Epilogue, d: Dequantize) {
    let (rows, vectors, t0, t1) = (b.rows(), result_vectors(b), b.temp(0), b.temp(1));
    let scales = (COLUMNS, offset_of!(Args, column_scale));
    let biases = (COLUMNS_2, offset_of!(Args, column_bias));
    point_at_columns(b, scales.0, scales.1);
    point_at_columns(b, biases.0, biases.1);
    if d.row_scale {
        b.low.asm().load64(ROWS, arg!(row_scale));
    }
    for row in 0..rows {
        if d.row_scale {
            b.low.broadcast32(t0, at_row(b, row));
        }
        for v in 0..vectors {
            let (acc, scale) = (result(b, row, v), column(b, epilogue, scales, v));
            let scale = match scale {
                Source::Register(held) if !d.row_scale => held,
                _ if d.row_scale => {
                    b.low.op(Op::MulF32, t1, t0, scale);
                    t1
                }
                _ => {
                    b.low.load(t1, scale);
                    t1
                }
            };
            b.low.i32_to_f32(acc, acc);
            if d.bias {
                let bias = column(b, epilogue, biases, v);
                b.low.multiply_add_f32(acc, scale, bias);
            } else {
                b.low.op(Op::MulF32, acc, acc, scale.into());
            }
        }
    }
    let elements = Elements { of: d.to, lanes: b.lanes() };
    let (mut low, mut high) = (b.temp(2), b.temp(3));
    match b.in_grid {
        Some(_) => [low, high, ..] = HELD_CONSTANTS,
        None if d.clamp => load_limits(b, Clamp::Float, low, high),
        None => {}
    }
    point_at_c(b, d.residual);
    for row in 0..rows {
        for v in 0..vectors {
            let (acc, count) = (result(b, row, v), columns_in(b, v));
            if d.residual {
                elements.load(&mut b.low, t0, t1, RESIDUAL, v, count);
                b.low.op(Op::AddF32, acc, acc, t0.into());
            }
            if d.clamp {
                b.low.op(Op::MaxF32, acc, low, acc.into());
                b.low.op(Op::MinF32, acc, high, acc.into());
            }
            elements.store(&mut b.low, acc, [t0, t1], C, v, count);
        }
        b.low.asm().add(C, C_STRIDE);
        if d.residual {
            b.low.asm().add(RESIDUAL, RESIDUAL_STRIDE);
        }
    }
}

fn requantize<L: Lowering>(b: &mut Builder<L>, epilogue: Epilogue, r: Requantize) {
    let (rows, vectors) = (b.rows(), result_vectors(b));
    let (mut low, mut high) = (b.temp(0), b.temp(1));
    match b.in_grid {
        Some(_) => [low, high, ..] = HELD_CONSTANTS,
        None => load_limits(b, r.clamp, low, high),
    }
    let scales = (COLUMNS, offset_of!(Args, column_scale));
    let biases = (COLUMNS_2, offset_of!(Args, column_bias));
    point_at_columns(b, scales.0, scales.1);
    point_at_columns(b, biases.0, biases.1);
    for row in 0..rows {
        for v in 0..vectors {
            let acc = result(b, row, v);
            b.low.i32_to_f32(acc, acc);
            if r.float_bias {
                let bias = column(b, epilogue, biases, v);
                b.low.op(Op::AddF32, acc, acc, bias);
            }
            let scale = column(b, epilogue, scales, v);
            b.low.op(Op::MulF32, acc, acc, scale);
            if r.clamp == Clamp::Float {
                b.low.op(Op::MaxF32, acc, low, acc.into());
                b.low.op(Op::MinF32, acc, high, acc.into());
            }
            b.low.f32_to_i32(acc, acc);
        }
    }
    narrow_and_store(b, r, low, high);
}

/// Four vectors of i32 at a time become one of bytes: each vector's columns side by side.
fn narrow_and_store<L: Lowering>(b: &mut Builder<L>, r: Requantize, low: Vector, high: Vector) {
    let (rows, vectors) = (b.rows(), result_vectors(b));
    let (mut zero_point, mut order) = (b.temp(2), b.temp(3));
    match b.in_grid {
        Some(_) => [.., zero_point, order] = HELD_CONSTANTS,
        None => load_narrowing(b, zero_point, order),
    }
    point_at_c(b, false);
    let (narrow, max, min) = match r.to {
        Byte::U8 => (Op::PackI16U8, Op::MaxU8, Op::MinU8),
        Byte::I8 => (Op::PackI16I8, Op::MaxI8, Op::MinI8),
    };
    let results: Vec<(usize, usize)> = (0..rows).flat_map(|row| (0..vectors).map(move |v| (row, v))).collect();
    for four in results.chunks(4) {
        let x: [Vector; 4] = std::array::from_fn(|i| {
            let (row, v) = four[i.min(four.len() - 1)];
            result(b, row, v)
        });
        let packed = x[0];
        // A missing second half is the first one again: nothing of it is stored.
        let halves = if four.len() > 2 { &[(x[0], x[1]), (x[2], x[3])][..] } else { &[(x[0], x[1])][..] };
        for &(first, second) in halves {
            b.low.op(Op::PackI32I16, first, first, second.into());
            b.low.op(Op::AddSaturatingI16, first, first, zero_point.into());
        }
        let second = if four.len() > 2 { x[2] } else { packed };
        b.low.op(narrow, packed, packed, second.into());
        b.low.permute32(packed, order, packed);
        if r.clamp == Clamp::Narrowing {
            b.low.op(max, packed, packed, low.into());
            b.low.op(min, packed, packed, high.into());
        }
        store_packed(b, packed, x[1], four);
    }
}

/// Stores the bytes of up to four (row, vector) results, which follow each other in `packed`. `part` is free.
fn store_packed<L: Lowering>(b: &mut Builder<L>, packed: Vector, part: Vector, four: &[(usize, usize)]) {
    let (lanes, cols) = (b.lanes(), usize::from(b.desc.cols));
    if four.len() * lanes == 64 && cols == 64 {
        b.low.store(Mem::at(C, 0), packed);
        return b.low.asm().add(C, C_STRIDE);
    }
    if lanes == 16 && cols == 32 {
        for (index, _) in four.chunks(2).enumerate() {
            b.low.store_half(Mem::at(C, 0), packed, index == 1);
            b.low.asm().add(C, C_STRIDE);
        }
        return;
    }
    for (index, results) in four.chunks(PART_BYTES / lanes).enumerate() {
        let from = if index == 0 { packed } else { part };
        if index > 0 {
            b.low.part(part, packed, index);
        }
        let whole_row = results.len() == 2 && results[0].0 == results[1].0;
        for (i, &(_, v)) in results.iter().enumerate() {
            let end_of_row = v + 1 == result_vectors(b);
            if !(whole_row && i == 1) {
                let count = if whole_row { lanes + columns_in(b, 1) } else { columns_in(b, v) };
                b.low.store_bytes(Mem::at(C, v * lanes), from, i * lanes, count);
            }
            if end_of_row {
                b.low.asm().add(C, C_STRIDE);
            }
        }
    }
}
