//! The main loop of the float family: for each k, every accumulator gets one more product; with hardware dot products, for each
//! pair of k two of them.
//!
//! Vectors of B stay in registers while rows of A are broadcast one by one; or, in wide tiles of few rows, rows of A stay
//! while vectors of B pass. Where accumulators leave room for neither, both pass; where they leave room for both, both stay,
//! if that pays.

use super::builder::{Builder, LINE_BYTES, arg, role};
use super::desc::{Expansion, FLOAT_PANEL, FLOAT_PREFETCH, FloatPrefetch, FloatProducts, FloatRows, FloatType};
use super::groups;
use super::weights::FloatWeights;
use crate::x86::asm::{Assembler, Mem, Scale};
use crate::x86::lowering::{Lowering, Vector};

/// What a step multiplies.
#[derive(Clone, Copy)]
enum Step {
    /// The `i`-th k, or pair of k, from where the registers point.
    Whole(usize),
    /// The last k of an odd number of them, without the second one of its pair.
    Half,
}

impl Step {
    fn index(self) -> usize {
        match self {
            Step::Whole(i) => i,
            Step::Half => 0,
        }
    }
}

/// All of k.
pub(super) fn all<L: Lowering>(b: &mut Builder<L>) {
    if let (Some(groups), false) = (b.desc.weights.groups(), b.desc.expansion == Expansion::Reused) {
        return groups::all(b, groups);
    }
    let (end, again, many, few) = (b.low.asm().label(), b.low.asm().label(), b.low.asm().label(), b.low.asm().label());
    let panels = b.desc.strip_cols().div_ceil(FLOAT_PANEL);
    let expands = b.desc.expansion != Expansion::InRegisters;
    let asm = b.low.asm();
    asm.load64(role::A, arg!(a));
    asm.load64(role::B, arg!(b));
    asm.load64(role::COUNT, arg!(depth));
    let pairs = b.desc.products != FloatProducts::Chain;
    // What was kept has a whole pair at the end; where it is made, half a pair has a step of its own.
    let ends_in_half = pairs && b.desc.expansion != Expansion::Reused;
    let asm = b.low.asm();
    if pairs {
        if !ends_in_half {
            asm.add_imm(role::COUNT, 1);
        }
        asm.shift_right_imm(role::COUNT, 1);
    }
    if panels > 1 {
        load_panel_distances(asm);
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
    (0..unroll).for_each(|i| step(b, Step::Whole(i)));
    advance(b, unroll);
    let asm = b.low.asm();
    asm.sub_imm(role::COUNT, unroll);
    asm.jump_if_not_below(role::COUNT, unroll, many);
    asm.place(few);
    asm.jump_if_zero(role::COUNT, end);
    asm.place(again);
    step(b, Step::Whole(0));
    advance(b, 1);
    let asm = b.low.asm();
    asm.dec_jump_not_zero(role::COUNT, again);
    asm.place(end);
    if ends_in_half {
        let done = asm.label();
        asm.load64(role::COUNT, arg!(depth));
        asm.and_imm(role::COUNT, 1);
        asm.jump_if_zero(role::COUNT, done);
        step(b, Step::Half);
        b.low.asm().place(done);
    }
    let asm = b.low.asm();
    if nexts {
        asm.store64(arg!(next), role::NEXT);
    }
}

/// Loads what [`panel`] takes for panels behind the first one.
pub(super) fn load_panel_distances(asm: &mut Assembler) {
    let [one, three] = role::PANELS;
    asm.load64(one, arg!(b_panel_stride));
    asm.lea(three, Mem { base: one, index: Some((one, Scale::X2)), disp: 0 });
}

/// Steps per iteration: enough that the loop's own instructions, some of which take a multiplier's port, hardly count.
/// MEASURED on Emerald Rapids at 6 × 2 vectors: 8 make 1024³ 3 to 5 % faster than 2; 16 are no better.
fn unroll<L: Lowering>(b: &Builder<L>) -> usize {
    (96 / (b.rows() * b.vectors())).clamp(4, 8) & !1
}

/// Bytes of expanded weights for one step.
pub(super) fn expanded_bytes<L: Lowering>(b: &Builder<L>) -> usize {
    b.desc.strip_cols() * size_of::<f32>()
}

fn advance<L: Lowering>(b: &mut Builder<L>, steps: usize) {
    let a_bytes = match b.desc.a {
        FloatRows::Strided => size_of::<f32>(),
        FloatRows::Interleaved => b.rows() * size_of::<f32>(),
    };
    let (b_bytes, expanded) = (step_bytes(b), expanded_bytes(b));
    let depth = steps * b.desc.products.depth_of_slot();
    let (expansion, nexts) = (b.desc.expansion, b.desc.prefetch == FloatPrefetch::Next && depth > 1);
    let asm = b.low.asm();
    asm.add_imm(role::A, steps * a_bytes);
    if expansion != Expansion::Reused {
        asm.add_imm(role::B, steps * b_bytes);
    }
    if expansion != Expansion::InRegisters {
        asm.add_imm(role::EXPANDED, steps * expanded);
    }
    if nexts {
        for line in 0..depth / 2 {
            asm.prefetch_l2(Mem::at(role::NEXT, line * LINE_BYTES));
        }
        asm.add_imm(role::NEXT, depth / 2 * LINE_BYTES);
    }
}

/// Bytes of a panel's weights for one step.
fn step_bytes<L: Lowering>(b: &Builder<L>) -> usize {
    b.desc.weights.panel_bytes(1) * b.desc.products.depth_of_slot()
}

/// One k, or one pair of k.
fn step<L: Lowering>(b: &mut Builder<L>, step: Step) {
    let i = step.index();
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
            weights(b, v, step, from_b);
            for r in 0..rows {
                let (acc, row) = (b.acc(r, v), b.temp(r));
                accumulate(b, acc, row, from_b);
            }
        }
        return;
    }
    if takes_all_first(b) {
        let row = |b: &Builder<L>, r: usize| b.temp(vectors + r);
        for r in 0..rows {
            let row = row(b, r);
            broadcast(b, r, i, row);
        }
        for v in 0..vectors {
            let vector = b.temp(v);
            weights(b, v, step, vector);
        }
        for (v, r) in (0..vectors).flat_map(|v| (0..rows).map(move |r| (v, r))) {
            let (acc, row, vector) = (b.acc(r, v), row(b, r), b.temp(v));
            accumulate(b, acc, row, vector);
        }
        return;
    }
    if b.free() <= vectors {
        let (vector, from_a) = (b.temp(0), b.temp(1));
        for v in 0..vectors {
            weights(b, v, step, vector);
            for r in 0..rows {
                broadcast(b, r, i, from_a);
                let acc = b.acc(r, v);
                accumulate(b, acc, from_a, vector);
            }
        }
        return;
    }
    let from_a = b.temp(vectors);
    for v in 0..vectors {
        let vector = b.temp(v);
        weights(b, v, step, vector);
    }
    for r in 0..rows {
        broadcast(b, r, i, from_a);
        for v in 0..vectors {
            let (acc, vector) = (b.acc(r, v), b.temp(v));
            accumulate(b, acc, from_a, vector);
        }
    }
}

/// Whether a step has all its operands in registers before it multiplies. With no more chains than the multipliers' latency
/// asks for, a late operand holds them up. MEASURED on Emerald Rapids, 4 rows × 2 vectors on AVX2: f16 3 % faster, which is
/// then at the bound of its ports; f32 no change; bf16 1 to 2 % slower.
fn takes_all_first<L: Lowering>(b: &Builder<L>) -> bool {
    let (rows, vectors) = (b.rows(), b.vectors());
    b.desc.weights == FloatType::F16.into() && rows * vectors <= 8 && rows + vectors <= b.free()
}

/// `acc += a · weights`
pub(super) fn accumulate<L: Lowering>(b: &mut Builder<L>, acc: Vector, a: Vector, weights: Vector) {
    match b.desc.products {
        FloatProducts::Chain => b.low.accumulate_f32(acc, a, weights.into()),
        FloatProducts::Dot(_) => b.low.dot_bf16(acc, a, weights.into()),
    }
}

/// Row `r` of A at the `i`-th step to all lanes.
pub(super) fn broadcast<L: Lowering>(b: &mut Builder<L>, r: usize, i: usize, dst: Vector) {
    let at = match b.desc.a {
        FloatRows::Strided => b.row_of_a(r).offset(i * size_of::<f32>()),
        FloatRows::Interleaved => Mem::at(role::A, (i * b.rows() + r) * size_of::<f32>()),
    };
    b.low.broadcast32(dst, at);
}

/// Panel `p`, at the current step.
pub(super) fn panel(p: usize) -> Mem {
    let [one, three] = role::PANELS;
    let index = match p {
        0 => None,
        1 => Some((one, Scale::X1)),
        2 => Some((one, Scale::X2)),
        _ => Some((three, Scale::X1)),
    };
    Mem { base: role::B, index, disp: 0 }
}

/// Vector `v` of weights at a step, as f32 or as pairs; kept, if that is wanted.
fn weights<L: Lowering>(b: &mut Builder<L>, v: usize, step: Step, dst: Vector) {
    let expanded = Mem::at(role::EXPANDED, step.index() * expanded_bytes(b) + v * b.vector_bytes());
    match b.desc.expansion {
        Expansion::Reused => b.low.load(dst, expanded.into()),
        Expansion::InRegisters => packed_weights(b, v, step, dst),
        Expansion::Kept => {
            packed_weights(b, v, step, dst);
            b.low.store(expanded, dst);
        }
    }
}

/// The same from a packed panel.
fn packed_weights<L: Lowering>(b: &mut Builder<L>, v: usize, step: Step, dst: Vector) {
    let per_panel = FLOAT_PANEL / b.desc.lanes();
    let row = panel(v / per_panel).offset(step.index() * step_bytes(b));
    if b.desc.products != FloatProducts::Chain {
        let second = match step {
            Step::Whole(_) => Some(row.offset(b.desc.weights.panel_bytes(1))),
            Step::Half => None,
        };
        return pairs(b, v % per_panel, row, second, dst);
    }
    let FloatWeights::Numbers(numbers) = b.desc.weights else {
        return b.low.asm().fail("weights of few bits have a main loop of their own");
    };
    let (within, bytes) = (v % per_panel, b.desc.lanes() * numbers.bytes());
    match numbers {
        FloatType::F32 => b.low.load(dst, row.offset(within * bytes).into()),
        FloatType::F16 => b.low.load_f16(dst, row.offset(within * bytes)),
        FloatType::Bf16 if within % 2 == 0 => b.low.load_even_bf16(dst, row.offset(within * bytes)),
        FloatType::Bf16 => b.low.load_odd_bf16(dst, row.offset((within - 1) * bytes)),
    }
}

/// Pairs of two rows of a panel, or of one and zeros: the `within`-th vector of them.
pub(super) fn pairs<L: Lowering>(b: &mut Builder<L>, within: usize, first: Mem, second: Option<Mem>, dst: Vector) {
    match within {
        0 => b.low.load_even_pairs(dst, first, second),
        _ => b.low.load_odd_pairs(dst, first, second),
    }
}

/// How far ahead an iteration asks for one line of each panel, into the second-level cache: the hardware's prefetcher goes on
/// from there. MEASURED on Emerald Rapids, one row of f16 from memory: 7 % faster in the mean of three runs; bf16 no change.
const FAR_AHEAD: usize = 4 * FLOAT_PREFETCH;

/// The lines of all panels that will be needed some time from now.
fn prefetch<L: Lowering>(b: &mut Builder<L>, i: usize) {
    let row_bytes = step_bytes(b);
    for p in 0..b.desc.strip_cols().div_ceil(FLOAT_PANEL) {
        if i == 0 {
            b.low.asm().prefetch_l2(panel(p).offset(FAR_AHEAD));
        }
        for line in (0..row_bytes).step_by(LINE_BYTES) {
            b.low.asm().prefetch(panel(p).offset(FLOAT_PREFETCH + i * row_bytes + line));
        }
    }
}
