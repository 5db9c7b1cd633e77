//! From accumulators to C, and from C to accumulators.

use super::builder::{Builder, role};
use super::desc::{FloatEpilogue, FloatFunction, FloatKernelArgs as Args};
use super::function::{
    EXP, EXP_HIGH, EXP_LOW, EXPONENT_BIAS, EXPONENT_SHIFT, GELU_CUBIC, GELU_LINEAR, LOG2_E, LOWEST, MINUS_LN2,
};
use crate::frame::arg;
use crate::tuning::GRID_EPILOGUE_VECTORS;
use crate::x86::asm::{LINE_BYTES, Mem};
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
    let (elements, temp) = (b.elements(), b.temp(0));
    for r in 0..b.rows() {
        for v in 0..b.vectors() {
            let acc = b.acc(r, v);
            let count = b.columns_in(v);
            if count == 0 {
                b.low.zero(acc);
                continue;
            }
            elements.load(&mut b.low, acc, temp, role::C, v, count);
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

/// The register of a grid's bias: behind the accumulators.
pub(super) fn held_bias(vector: usize) -> Vector {
    Vector((GRID_EPILOGUE_VECTORS + vector) as u8)
}

/// The stages of rows from where the pointers stand, which are then behind them.
pub(super) fn stages_of_rows<L: Lowering>(b: &mut Builder<L>, epilogue: FloatEpilogue) {
    b.exchange_halves();
    let (elements, t0, t1) = (b.elements(), b.temp(0), b.temp(1));
    for r in 0..b.rows() {
        for v in 0..b.vectors() {
            let (acc, count) = (b.acc(r, v), b.columns_in(v));
            if count == 0 {
                continue;
            }
            if epilogue.bias {
                let bias: Source = match b.in_grid {
                    Some(_) => held_bias(v).into(),
                    None => Mem::at(role::BIAS, v * b.vector_bytes()).into(),
                };
                b.op(Op::AddF32, acc, acc, bias);
            }
            if epilogue.residual {
                elements.load(&mut b.low, t0, t1, role::RESIDUAL, v, count);
                b.op(Op::AddF32, acc, acc, t0);
            }
            apply(b, epilogue.function, acc);
            elements.store(&mut b.low, acc, [t0, t1], role::C, v, count);
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
