//! From accumulators to C, and from C to accumulators.

use super::builder::{Builder, arg, role};
use super::desc::{FloatEpilogue, FloatFunction, FloatType};
use super::function::{
    EXP, EXP_HIGH, EXP_LOW, EXPONENT_BIAS, EXPONENT_SHIFT, GELU_CUBIC, GELU_LINEAR, LOG2_E, LOWEST, MINUS_LN2,
};
use crate::x86::asm::{Gpr, LINE_BYTES, Mem};
use crate::x86::lowering::{Lowering, Op, Source, Vector};

/// `acc = beta * C`
pub(super) fn start_at_c<L: Lowering>(b: &mut Builder<L>) {
    point_at_c(b);
    start_at_rows_of_c(b);
}

/// Loads the pointers of [`start_at_rows_of_c`].
pub(super) fn point_at_c<L: Lowering>(b: &mut Builder<L>) {
    b.low.asm().load64(role::C, arg!(c));
    b.low.asm().load64(role::C_STRIDE, arg!(c_row_stride));
}

/// The same from the row that [`role::C`] points at on, which it moves behind the rows.
pub(super) fn start_at_rows_of_c<L: Lowering>(b: &mut Builder<L>) {
    let temp = b.temp(0);
    for r in 0..b.rows() {
        for v in 0..b.vectors() {
            let acc = b.acc(r, v);
            if b.columns_in(v) == 0 {
                b.low.zero(acc);
                continue;
            }
            load_element(b, acc, temp, role::C, v);
            b.low.broadcast32(temp, arg!(beta));
            b.op(Op::MulF32, acc, acc, temp);
        }
        b.low.asm().add(role::C, role::C_STRIDE);
    }
    b.exchange_halves();
}

/// Asks for the lines of C that the tile will be written to: they arrive while the main loop runs.
pub(super) fn prefetch_c<L: Lowering>(b: &mut Builder<L>) {
    let row_bytes = usize::from(b.desc.cols) * b.desc.c.bytes();
    let rows = b.rows();
    let asm = b.low.asm();
    asm.load64(role::C, arg!(c));
    asm.load64(role::C_STRIDE, arg!(c_row_stride));
    for r in 0..rows {
        (0..row_bytes).step_by(LINE_BYTES).for_each(|at| asm.prefetch(Mem::at(role::C, at)));
        if r + 1 < rows {
            asm.add(role::C, role::C_STRIDE);
        }
    }
}

/// Vector `v` of a row of C or the residual, as f32. `mask` is a free register.
fn load_element<L: Lowering>(b: &mut Builder<L>, dst: Vector, mask: Vector, row: Gpr, v: usize) {
    let count = b.columns_in(v);
    let at = Mem::at(row, v * b.desc.lanes() * b.desc.c.bytes());
    match b.desc.c {
        FloatType::F32 => b.low.load_first(dst, mask, at, count),
        FloatType::F16 => {
            b.low.load_first16(dst, at, count);
            b.low.f16_to_f32(dst, dst);
        }
        FloatType::Bf16 => {
            b.low.load_first16(dst, at, count);
            b.low.widen16(dst, dst);
            b.low.shift_left32(dst, dst, 16);
        }
    }
}

/// Bias, residual, function, store.
pub(super) fn stages<L: Lowering>(b: &mut Builder<L>, epilogue: FloatEpilogue) {
    point(b, epilogue);
    stages_of_rows(b, epilogue);
}

/// Loads the pointers of [`stages_of_rows`].
pub(super) fn point<L: Lowering>(b: &mut Builder<L>, epilogue: FloatEpilogue) {
    point_at_c(b);
    if epilogue.bias {
        b.low.asm().load64(role::BIAS, arg!(bias));
    }
    if epilogue.residual {
        b.low.asm().load64(role::RESIDUAL, arg!(residual));
        b.low.asm().load64(role::RESIDUAL_STRIDE, arg!(residual_row_stride));
    }
}

/// The stages of rows from where the pointers stand, which are then behind them.
pub(super) fn stages_of_rows<L: Lowering>(b: &mut Builder<L>, epilogue: FloatEpilogue) {
    b.exchange_halves();
    let (t0, t1) = (b.temp(0), b.temp(1));
    for r in 0..b.rows() {
        for v in 0..b.vectors() {
            let (acc, count) = (b.acc(r, v), b.columns_in(v));
            if count == 0 {
                continue;
            }
            if epilogue.bias {
                let bias = Mem::at(role::BIAS, v * b.vector_bytes());
                b.op(Op::AddF32, acc, acc, bias);
            }
            if epilogue.residual {
                load_element(b, t0, t1, role::RESIDUAL, v);
                b.op(Op::AddF32, acc, acc, t0);
            }
            apply(b, epilogue.function, acc);
            store(b, acc, v, count);
        }
        b.low.asm().add(role::C, role::C_STRIDE);
        if epilogue.residual {
            b.low.asm().add(role::RESIDUAL, role::RESIDUAL_STRIDE);
        }
    }
}

/// `x = f(x)`; the operations of [`super::function`].
fn apply<L: Lowering>(b: &mut Builder<L>, function: FloatFunction, x: Vector) {
    let (t, n) = (b.temp(0), b.temp(1));
    match function {
        FloatFunction::Identity => return,
        FloatFunction::Clamp => {
            b.low.broadcast32(t, arg!(low));
            b.op(Op::MaxF32, x, t, x);
            b.low.broadcast32(t, arg!(high));
            return b.op(Op::MinF32, x, t, x);
        }
        FloatFunction::Silu => {
            let minus = b.number(-1.0);
            b.op(Op::MulF32, t, x, minus);
        }
        FloatFunction::Gelu => {
            let (linear, cubic) = (b.number(GELU_LINEAR), b.number(GELU_CUBIC));
            b.op(Op::MulF32, t, x, x);
            b.low.load(n, cubic);
            b.low.multiply_add_f32(t, n, linear);
            b.op(Op::MulF32, t, t, x);
        }
    }
    let (bound, power) = (n, b.temp(2));
    for (op, limit) in [(Op::MaxF32, EXP_LOW), (Op::MinF32, EXP_HIGH)] {
        let limit = b.number(limit);
        b.low.load(bound, limit);
        b.op(op, t, bound, t);
    }
    let log2_e = b.number(LOG2_E);
    b.op(Op::MulF32, n, t, log2_e);
    b.low.f32_to_i32(power, n);
    b.low.i32_to_f32(n, power);
    for part in MINUS_LN2 {
        let part = b.number(part);
        b.low.accumulate_f32(t, n, part);
    }
    let sum = n;
    let [first, rest @ ..] = EXP;
    let first = b.number(first);
    b.low.load(sum, first);
    for coefficient in rest {
        let coefficient = b.number(coefficient);
        b.low.multiply_add_f32(sum, t, coefficient);
    }
    let bias = Source::Constant(b.repeated(EXPONENT_BIAS));
    b.op(Op::AddI32, power, power, bias);
    b.low.shift_left32(power, power, EXPONENT_SHIFT);
    b.op(Op::MulF32, sum, sum, power);
    let (one, lowest) = (b.number(1.0), b.number(LOWEST));
    b.op(Op::AddF32, sum, sum, one);
    b.low.load(t, lowest);
    b.op(Op::MaxF32, x, t, x);
    b.op(Op::DivF32, x, x, sum);
}

/// Stores the first `count` lanes as elements of C.
fn store<L: Lowering>(b: &mut Builder<L>, x: Vector, v: usize, count: usize) {
    let at = Mem::at(role::C, v * b.desc.lanes() * b.desc.c.bytes());
    match b.desc.c {
        FloatType::F32 => b.low.store_first(at, x, count),
        FloatType::F16 => {
            b.low.f32_to_f16(x, x);
            b.low.store_first16(at, x, count);
        }
        FloatType::Bf16 => {
            f32_to_bf16(b, x);
            b.low.store_first16(at, x, count);
        }
    }
}

/// To nearest even, side by side in the lower half of the vector.
///
/// ```text
/// magnitude = min(x & 0x7fffffff, 0x7fff7fff)         a NaN that rounds up stays one
/// rounded   = magnitude + 0x7fff + (x >> 16 & 1)      the upper half, with the sign of x
/// ```
fn f32_to_bf16<L: Lowering>(b: &mut Builder<L>, x: Vector) {
    let (t0, t1) = (b.temp(0), b.temp(1));
    let constants = [0x7fff_ffff, 0x7fff_7fff, 1, 0x7fff, 0x8000_0000].map(|c| Source::Constant(b.repeated(c)));
    let [magnitude, largest, one, half, sign] = constants;
    b.op(Op::And, t0, x, magnitude);
    b.op(Op::MinI32, t0, t0, largest);
    b.low.shift_right32(t1, x, 16);
    b.op(Op::And, t1, t1, one);
    b.op(Op::AddI32, t0, t0, t1);
    b.op(Op::AddI32, t0, t0, half);
    b.op(Op::And, x, x, sign);
    b.op(Op::Or, x, x, t0);
    let lanes = b.desc.lanes();
    let bytes = b.low.asm().constant(&upper_halves(lanes));
    let order = b.low.asm().constant(&even_quads(lanes));
    b.op(Op::ShuffleBytes, x, x, Source::Constant(bytes));
    b.low.load(t0, Source::Constant(order));
    b.low.permute32(x, t0, x);
}

/// Shuffle of bytes: the upper halves of four 32-bit lanes side by side, in each 128-bit part.
fn upper_halves(lanes: usize) -> Vec<u32> {
    [0x0706_0302, 0x0f0e_0b0a, 0x8080_8080, 0x8080_8080].into_iter().cycle().take(lanes).collect()
}

/// Order of 32-bit lanes: the first two of each 128-bit part side by side.
fn even_quads(lanes: usize) -> Vec<u32> {
    (0..lanes as u32).map(|i| i / 2 * 4 % lanes as u32 + i % 2).collect()
}
