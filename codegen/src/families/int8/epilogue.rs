//! The epilogue of the int8 family: typed stages on accumulators in registers, in the order of
//! [`crate::families::int8::desc::Epilogue`]. The portable tier's version stands beside it in `portable.rs`.

use super::builder::Builder;
use crate::families::element::vectors::Elements;
use crate::families::int8::args::KernelArgs as Args;
use crate::families::int8::desc::{
    AZeroPoint, BZeroPoint, Byte, Clamp, Dequantize, Epilogue, Output, Requantize, Sweep,
};
use crate::frame::arg;
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

/// All stages for one micro-tile; moves what they read and write to the next.
pub(super) fn stages<L: Lowering>(b: &mut Builder<L>, epilogue: Epilogue) {
    zero_points(b, epilogue);
    match epilogue.output {
        Output::StoreI32 => store_i32(b, false),
        Output::AddI32 => store_i32(b, true),
        Output::Requantize(r) => requantize(b, r),
        Output::Dequantize(d) => dequantize(b, d),
    }
    match b.desc.sweep {
        Sweep::Column => advance_down(b, epilogue),
        Sweep::Row => advance_across(b, epilogue),
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
    let asm = b.low.asm();
    asm.add_imm_to(arg!(c), cols * epilogue.output.element_bytes());
    asm.add_imm_to(arg!(column_term), 4 * cols);
    if epilogue.a_zero_point == AZeroPoint::PerRow {
        asm.add_imm_to(arg!(column_correction), 4 * cols);
    }
    if epilogue.b_zero_point == BZeroPoint::PerColumn {
        asm.add_imm_to(arg!(column_zero_point), 4 * cols);
    }
    let (scale, bias, residual) = match epilogue.output {
        Output::StoreI32 | Output::AddI32 => (false, false, false),
        Output::Requantize(r) => (true, r.float_bias, false),
        Output::Dequantize(d) => (true, d.bias, d.residual),
    };
    if scale {
        asm.add_imm_to(arg!(column_scale), 4 * cols);
    }
    if bias {
        asm.add_imm_to(arg!(column_bias), 4 * cols);
    }
    if residual {
        asm.add_imm_to(arg!(residual), cols * epilogue.output.element_bytes());
    }
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
        b.low.asm().load64(ROWS, arg!(row_zero_point));
        b.low.asm().load64(COLUMNS, arg!(column_correction));
        for row in 0..rows {
            b.low.broadcast32(t0, Mem::at(ROWS, 4 * row));
            for v in 0..vectors {
                let acc = result(b, row, v);
                b.low.op(Op::MulI32, t1, t0, at_column(b, COLUMNS, v).into());
                b.low.op(Op::AddI32, acc, acc, t1.into());
            }
        }
    }
    if epilogue.b_zero_point != BZeroPoint::Zero {
        b.low.asm().load64(ROWS, arg!(row_term));
        b.low.asm().load64(COLUMNS, arg!(column_zero_point));
        for row in 0..rows {
            b.low.broadcast32(t0, Mem::at(ROWS, 4 * row));
            for v in 0..vectors {
                let acc = result(b, row, v);
                let term = match epilogue.b_zero_point {
                    BZeroPoint::PerColumn => {
                        b.low.op(Op::MulI32, t1, t0, at_column(b, COLUMNS, v).into());
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
    b.low.asm().load64(COLUMNS, arg!(column_term));
    for row in 0..rows {
        for v in 0..vectors {
            let acc = result(b, row, v);
            b.low.op(Op::AddI32, acc, acc, at_column(b, COLUMNS, v).into());
        }
    }
}

fn store_i32<L: Lowering>(b: &mut Builder<L>, add: bool) {
    let (t0, t1) = (b.temp(0), b.temp(1));
    b.low.asm().load64(C, arg!(c));
    b.low.asm().load64(C_STRIDE, arg!(c_row_stride));
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

fn dequantize<L: Lowering>(b: &mut Builder<L>, d: Dequantize) {
    let (rows, vectors, t0, t1) = (b.rows(), result_vectors(b), b.temp(0), b.temp(1));
    b.low.asm().load64(COLUMNS, arg!(column_scale));
    b.low.asm().load64(COLUMNS_2, arg!(column_bias));
    b.low.asm().load64(ROWS, arg!(row_scale));
    for row in 0..rows {
        if d.row_scale {
            b.low.broadcast32(t0, Mem::at(ROWS, 4 * row));
        }
        for v in 0..vectors {
            let acc = result(b, row, v);
            let scale = at_column(b, COLUMNS, v).into();
            if d.row_scale {
                b.low.op(Op::MulF32, t1, t0, scale);
            } else {
                b.low.load(t1, scale);
            }
            b.low.i32_to_f32(acc, acc);
            if d.bias {
                b.low.multiply_add_f32(acc, t1, at_column(b, COLUMNS_2, v).into());
            } else {
                b.low.op(Op::MulF32, acc, acc, t1.into());
            }
        }
    }
    let elements = Elements { of: d.to, lanes: b.lanes() };
    let (low, high) = (b.temp(2), b.temp(3));
    if d.clamp {
        b.low.broadcast32(low, arg!(low));
        b.low.broadcast32(high, arg!(high));
    }
    if d.residual {
        b.low.asm().load64(RESIDUAL, arg!(residual));
        b.low.asm().load64(RESIDUAL_STRIDE, arg!(residual_row_stride));
    }
    b.low.asm().load64(C, arg!(c));
    b.low.asm().load64(C_STRIDE, arg!(c_row_stride));
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

fn requantize<L: Lowering>(b: &mut Builder<L>, r: Requantize) {
    let (rows, vectors) = (b.rows(), result_vectors(b));
    let (low, high) = (b.temp(0), b.temp(1));
    b.low.asm().load64(COLUMNS, arg!(column_scale));
    b.low.asm().load64(COLUMNS_2, arg!(column_bias));
    match r.clamp {
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
    for row in 0..rows {
        for v in 0..vectors {
            let acc = result(b, row, v);
            b.low.i32_to_f32(acc, acc);
            if r.float_bias {
                b.low.op(Op::AddF32, acc, acc, at_column(b, COLUMNS_2, v).into());
            }
            b.low.op(Op::MulF32, acc, acc, at_column(b, COLUMNS, v).into());
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
    let (zero_point, order) = (b.temp(2), b.temp(3));
    let order_of_lanes = unpack_order(b.lanes());
    let constant = b.low.asm().constant(&order_of_lanes);
    b.low.broadcast16(zero_point, arg!(zero_point));
    b.low.load(order, Source::Constant(constant));
    b.low.asm().load64(C, arg!(c));
    b.low.asm().load64(C_STRIDE, arg!(c_row_stride));
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
    let lanes = b.lanes();
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
