//! The main loop of the float family: for each k, every accumulator gets one more product.
//!
//! Vectors of B stay in registers while rows of A are broadcast one by one; or, in wide tiles of few rows, rows of A stay
//! while vectors of B pass. Where accumulators leave room for neither, both pass.

use super::builder::{Builder, LINE_BYTES, arg, role};
use super::desc::{Expansion, FLOAT_PANEL, FLOAT_PREFETCH, FloatPrefetch, FloatRows, FloatType};
use crate::x86::asm::{Mem, Scale};
use crate::x86::lowering::{Lowering, Vector};

/// All of k.
pub(super) fn all<L: Lowering>(b: &mut Builder<L>) {
    let (end, again, many, few) = (b.low.asm().label(), b.low.asm().label(), b.low.asm().label(), b.low.asm().label());
    let panels = b.desc.strip_cols().div_ceil(FLOAT_PANEL);
    let expands = b.desc.expansion != Expansion::InRegisters;
    let asm = b.low.asm();
    asm.load64(role::A, arg!(a));
    asm.load64(role::B, arg!(b));
    asm.load64(role::COUNT, arg!(depth));
    if panels > 1 {
        let [one, three] = role::PANELS;
        asm.load64(one, arg!(b_panel_stride));
        asm.lea(three, Mem { base: one, index: Some((one, Scale::X2)), disp: 0 });
    }
    if expands {
        asm.load64(role::EXPANDED, arg!(expanded));
    }
    let nexts = b.desc.prefetch == FloatPrefetch::Next;
    let asm = b.low.asm();
    if nexts {
        asm.load64(role::NEXT, arg!(next));
    }
    let unroll = unroll(b);
    let asm = b.low.asm();
    asm.jump_if_below(role::COUNT, unroll, few);
    asm.place(many);
    (0..unroll).for_each(|i| step(b, i));
    advance(b, unroll);
    let asm = b.low.asm();
    asm.sub_imm(role::COUNT, unroll);
    asm.jump_if_not_below(role::COUNT, unroll, many);
    asm.place(few);
    asm.jump_if_zero(role::COUNT, end);
    asm.place(again);
    step(b, 0);
    advance(b, 1);
    let asm = b.low.asm();
    asm.dec_jump_not_zero(role::COUNT, again);
    asm.place(end);
    if nexts {
        asm.store64(arg!(next), role::NEXT);
    }
}

/// k per iteration: enough that the loop's own instructions, some of which take a multiplier's port, hardly count. MEASURED
/// on Emerald Rapids at 6 × 2 vectors: 8 make 1024³ 3 to 5 % faster than 2; 16 are no better.
fn unroll<L: Lowering>(b: &Builder<L>) -> usize {
    (96 / (b.rows() * b.vectors())).clamp(4, 8) & !1
}

/// Bytes of expanded weights for one k.
fn expanded_bytes<L: Lowering>(b: &Builder<L>) -> usize {
    b.desc.strip_cols() * size_of::<f32>()
}

fn advance<L: Lowering>(b: &mut Builder<L>, steps: usize) {
    let a_bytes = match b.desc.a {
        FloatRows::Strided => size_of::<f32>(),
        FloatRows::Interleaved => b.rows() * size_of::<f32>(),
    };
    let (b_bytes, expanded) = (b.desc.panel_row_bytes(), expanded_bytes(b));
    let (expansion, nexts) = (b.desc.expansion, b.desc.prefetch == FloatPrefetch::Next && steps > 1);
    let asm = b.low.asm();
    asm.add_imm(role::A, steps * a_bytes);
    if expansion != Expansion::Reused {
        asm.add_imm(role::B, steps * b_bytes);
    }
    if expansion != Expansion::InRegisters {
        asm.add_imm(role::EXPANDED, steps * expanded);
    }
    if nexts {
        for line in 0..steps / 2 {
            asm.prefetch_l2(Mem::at(role::NEXT, line * LINE_BYTES));
        }
        asm.add_imm(role::NEXT, steps / 2 * LINE_BYTES);
    }
}

/// One k, the `i`-th from where the registers point.
fn step<L: Lowering>(b: &mut Builder<L>, i: usize) {
    if b.desc.prefetch == FloatPrefetch::Ahead {
        prefetch(b, i);
    }
    let (rows, vectors) = (b.rows(), b.vectors());
    if rows < vectors {
        let from_b = b.temp(rows);
        for r in 0..rows {
            let row = b.temp(r);
            broadcast(b, r, i, row);
        }
        for v in 0..vectors {
            weights(b, v, i, from_b);
            for r in 0..rows {
                let (acc, row) = (b.acc(r, v), b.temp(r));
                b.low.accumulate_f32(acc, row, from_b.into());
            }
        }
        return;
    }
    if b.free() <= vectors {
        let (vector, from_a) = (b.temp(0), b.temp(1));
        for v in 0..vectors {
            weights(b, v, i, vector);
            for r in 0..rows {
                broadcast(b, r, i, from_a);
                let acc = b.acc(r, v);
                b.low.accumulate_f32(acc, from_a, vector.into());
            }
        }
        return;
    }
    let from_a = b.temp(vectors);
    for v in 0..vectors {
        let vector = b.temp(v);
        weights(b, v, i, vector);
    }
    for r in 0..rows {
        broadcast(b, r, i, from_a);
        for v in 0..vectors {
            let (acc, vector) = (b.acc(r, v), b.temp(v));
            b.low.accumulate_f32(acc, from_a, vector.into());
        }
    }
}

/// Row `r` of A at the `i`-th k to all lanes.
fn broadcast<L: Lowering>(b: &mut Builder<L>, r: usize, i: usize, dst: Vector) {
    let at = match b.desc.a {
        FloatRows::Strided => b.row_of_a(r).offset(i * size_of::<f32>()),
        FloatRows::Interleaved => Mem::at(role::A, (i * b.rows() + r) * size_of::<f32>()),
    };
    b.low.broadcast32(dst, at);
}

/// Panel `p`, at the current k.
fn panel(p: usize) -> Mem {
    let [one, three] = role::PANELS;
    let index = match p {
        0 => None,
        1 => Some((one, Scale::X1)),
        2 => Some((one, Scale::X2)),
        _ => Some((three, Scale::X1)),
    };
    Mem { base: role::B, index, disp: 0 }
}

/// Vector `v` of weights at the `i`-th k, as f32; kept, if that is wanted.
fn weights<L: Lowering>(b: &mut Builder<L>, v: usize, i: usize, dst: Vector) {
    let expanded = Mem::at(role::EXPANDED, i * expanded_bytes(b) + v * b.vector_bytes());
    match b.desc.expansion {
        Expansion::Reused => b.low.load(dst, expanded.into()),
        Expansion::InRegisters => packed_weights(b, v, i, dst),
        Expansion::Kept => {
            packed_weights(b, v, i, dst);
            b.low.store(expanded, dst);
        }
    }
}

/// The same from a packed panel.
fn packed_weights<L: Lowering>(b: &mut Builder<L>, v: usize, i: usize, dst: Vector) {
    let per_panel = FLOAT_PANEL / b.desc.lanes();
    let row = panel(v / per_panel).offset(i * b.desc.panel_row_bytes());
    let (within, bytes) = (v % per_panel, b.desc.lanes() * b.desc.weights.bytes());
    match b.desc.weights {
        FloatType::F32 => b.low.load(dst, row.offset(within * bytes).into()),
        FloatType::F16 => b.low.load_f16(dst, row.offset(within * bytes)),
        FloatType::Bf16 if within % 2 == 0 => b.low.load_even_bf16(dst, row.offset(within * bytes)),
        FloatType::Bf16 => b.low.load_odd_bf16(dst, row.offset((within - 1) * bytes)),
    }
}

/// The lines of all panels that will be needed some time from now.
fn prefetch<L: Lowering>(b: &mut Builder<L>, i: usize) {
    let row_bytes = b.desc.panel_row_bytes();
    for p in 0..b.desc.strip_cols().div_ceil(FLOAT_PANEL) {
        for line in (0..row_bytes).step_by(LINE_BYTES) {
            b.low.asm().prefetch(panel(p).offset(FLOAT_PREFETCH + i * row_bytes + line));
        }
    }
}
