//! The main loop of the float family: for each k, every accumulator gets one more product; with hardware dot products,
//! for each pair of k two of them.
//!
//! Vectors of B stay in registers while rows of A are broadcast one by one; or, in wide tiles of few rows, rows of A
//! stay while vectors of B pass. Where accumulators leave room for neither, both pass; where they leave room for both,
//! both stay, if that pays.

use super::builder::{Builder, role};
use super::desc::{Expansion, FLOAT_PANEL, FloatKernelArgs as Args, FloatPrefetch, FloatProducts, FloatRows};
use super::groups;
use super::weights::FloatWeights;
use crate::families::element::FloatType;
use crate::frame::arg;
use crate::tuning::{FEW_CHAINS, FLOAT_PREFETCH, FLOAT_UNROLL, FLOAT_UNROLLED_PRODUCTS};
use crate::x86::asm::{Assembler, LINE_BYTES, Mem, Scale};
use crate::x86::lowering::{Lowering, Source, Vector};

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
    let constants = constants(b);
    let unroll = unroll(b);
    let asm = b.low.asm();
    asm.jump_if_below(role::COUNT, unroll, few);
    asm.place(many);
    (0..unroll).for_each(|i| step(b, Step::Whole(i), constants));
    advance(b, unroll);
    let asm = b.low.asm();
    asm.sub_imm(role::COUNT, unroll);
    asm.jump_if_not_below(role::COUNT, unroll, many);
    asm.place(few);
    asm.jump_if_zero(role::COUNT, end);
    asm.place(again);
    step(b, Step::Whole(0), constants);
    advance(b, 1);
    let asm = b.low.asm();
    asm.dec_jump_not_zero(role::COUNT, again);
    asm.place(end);
    if ends_in_half {
        let done = asm.label();
        asm.load64(role::COUNT, arg!(depth));
        asm.and_imm(role::COUNT, 1);
        asm.jump_if_zero(role::COUNT, done);
        step(b, Step::Half, constants);
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

/// Steps per iteration; an even number.
fn unroll<L: Lowering>(b: &Builder<L>) -> usize {
    let [least, most] = FLOAT_UNROLL;
    (FLOAT_UNROLLED_PRODUCTS / (b.rows() * b.vectors())).clamp(least, most) & !1
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
fn step<L: Lowering>(b: &mut Builder<L>, step: Step, constants: Constants) {
    let i = step.index();
    if b.desc.prefetch == FloatPrefetch::Ahead {
        prefetch(b, i);
    }
    let (rows, vectors) = (b.rows(), b.vectors());
    if rows < vectors {
        for r in 0..rows {
            let row = b.temp(r);
            broadcast(b, r, i, row);
        }
        // Two vectors at a time, where there are registers for them.
        let together = if b.free() >= rows + 2 { 2 } else { 1 };
        for v in (0..vectors).step_by(together) {
            let from_b = [0, together - 1].map(|i| b.temp(rows + i));
            match together {
                2 => two_vectors(b, v, step, from_b, constants),
                _ => weights(b, v, step, from_b[0], constants),
            }
            for (v, r) in (v..v + together).flat_map(|v| (0..rows).map(move |r| (v, r))) {
                let (acc, row) = (b.acc(r, v), b.temp(r));
                accumulate(b, acc, row, from_b[v % together]);
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
            weights(b, v, step, vector, constants);
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
            weights(b, v, step, vector, constants);
            for r in 0..rows {
                broadcast(b, r, i, from_a);
                let acc = b.acc(r, v);
                accumulate(b, acc, from_a, vector);
            }
        }
        return;
    }
    let from_a = b.temp(vectors);
    for v in (0..vectors).step_by(2) {
        let pair = [b.temp(v), b.temp(v + 1)];
        two_vectors(b, v, step, pair, constants);
    }
    for r in 0..rows {
        broadcast(b, r, i, from_a);
        for v in 0..vectors {
            let (acc, vector) = (b.acc(r, v), b.temp(v));
            accumulate(b, acc, from_a, vector);
        }
    }
}

/// Whether a step has all its operands in registers before it multiplies.
fn takes_all_first<L: Lowering>(b: &Builder<L>) -> bool {
    let (rows, vectors) = (b.rows(), b.vectors());
    b.desc.weights == FloatType::F16.into() && rows * vectors <= FEW_CHAINS && rows + vectors <= b.free()
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
        FloatRows::Strided => b.row_of_a(role::A, r).offset(i * size_of::<f32>()),
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

/// The constants that expand bf16: of even and of odd vectors.
type Constants = [Option<Source>; 2];

/// Those of the kernel, in registers as far as a step leaves some.
fn constants<L: Lowering>(b: &mut Builder<L>) -> Constants {
    let expands = b.desc.products == FloatProducts::Chain && b.desc.expansion != Expansion::Reused;
    if !(expands && b.desc.weights == FloatType::Bf16.into()) {
        return [None; 2];
    }
    let taken = if b.rows() < b.vectors() { b.rows() + 2 } else { b.vectors() + 1 };
    let mut registers = (taken.min(b.free())..b.free()).map(|i| b.temp(i)).collect::<Vec<_>>().into_iter();
    b.low.bf16_constants().map(|constant| {
        let constant = constant?;
        let Some(register) = registers.next() else { return Some(constant) };
        b.low.load(register, constant);
        Some(register.into())
    })
}

/// Vectors `v` and `v + 1` of weights at a step, `v` being even: as [`weights`] gives them.
fn two_vectors<L: Lowering>(b: &mut Builder<L>, v: usize, step: Step, dst: [Vector; 2], constants: Constants) {
    let is_bf16_chain = b.desc.products == FloatProducts::Chain && b.desc.weights == FloatType::Bf16.into();
    if !is_bf16_chain || b.desc.expansion == Expansion::Reused {
        return (0..2).for_each(|i| weights(b, v + i, step, dst[i], constants));
    }
    let [even, odd] = dst;
    let both = packed_row(b, v, step).offset(v % vectors_of_panel(b) * b.desc.lanes() * FloatType::Bf16.bytes());
    b.low.load(odd, both.into());
    b.low.even_bf16(even, odd.into(), constants[0]);
    b.low.odd_bf16(odd, odd.into(), constants[1]);
    if b.desc.expansion == Expansion::Kept {
        (0..2).for_each(|i| keep(b, v + i, step, dst[i]));
    }
}

/// Vector `v` of weights at a step, as f32 or as pairs; kept, if that is wanted.
fn weights<L: Lowering>(b: &mut Builder<L>, v: usize, step: Step, dst: Vector, constants: Constants) {
    match b.desc.expansion {
        Expansion::Reused => {
            let expanded = kept(b, v, step);
            b.low.load(dst, expanded.into());
        }
        Expansion::Tiles => unreachable!("tiles are multiplied in grids"),
        Expansion::InRegisters => packed_weights(b, v, step, dst, constants),
        Expansion::Kept => {
            packed_weights(b, v, step, dst, constants);
            keep(b, v, step, dst);
        }
    }
}

/// Where vector `v` of a step is kept.
fn kept<L: Lowering>(b: &Builder<L>, v: usize, step: Step) -> Mem {
    Mem::at(role::EXPANDED, step.index() * expanded_bytes(b) + v * b.vector_bytes())
}

fn keep<L: Lowering>(b: &mut Builder<L>, v: usize, step: Step, vector: Vector) {
    let at = kept(b, v, step);
    b.low.store(at, vector);
}

fn vectors_of_panel<L: Lowering>(b: &Builder<L>) -> usize {
    FLOAT_PANEL / b.desc.lanes()
}

/// The packed row of a step that vector `v` is in.
fn packed_row<L: Lowering>(b: &Builder<L>, v: usize, step: Step) -> Mem {
    panel(v / vectors_of_panel(b)).offset(step.index() * step_bytes(b))
}

/// The same as [`weights`], from a packed panel.
fn packed_weights<L: Lowering>(b: &mut Builder<L>, v: usize, step: Step, dst: Vector, constants: Constants) {
    let (row, within) = (packed_row(b, v, step), v % vectors_of_panel(b));
    if b.desc.products != FloatProducts::Chain {
        let second = match step {
            Step::Whole(_) => Some(row.offset(b.desc.weights.panel_bytes(1))),
            Step::Half => None,
        };
        return pairs(b, within, row, second, dst);
    }
    let FloatWeights::Numbers(numbers) = b.desc.weights else {
        return b.low.asm().fail("weights of few bits have a main loop of their own");
    };
    let bytes = b.desc.lanes() * numbers.bytes();
    match numbers {
        FloatType::F32 => b.low.load(dst, row.offset(within * bytes).into()),
        FloatType::F16 => b.low.load_f16(dst, row.offset(within * bytes)),
        FloatType::Bf16 if within % 2 == 0 => b.low.even_bf16(dst, row.offset(within * bytes).into(), constants[0]),
        FloatType::Bf16 => b.low.odd_bf16(dst, row.offset((within - 1) * bytes).into(), constants[1]),
    }
}

/// Pairs of two rows of a panel, or of one and zeros: the `within`-th vector of them.
pub(super) fn pairs<L: Lowering>(b: &mut Builder<L>, within: usize, first: Mem, second: Option<Mem>, dst: Vector) {
    match within {
        0 => b.low.load_even_pairs(dst, first, second),
        _ => b.low.load_odd_pairs(dst, first, second),
    }
}

/// The lines of all panels that will be needed some time from now.
fn prefetch<L: Lowering>(b: &mut Builder<L>, i: usize) {
    let row_bytes = step_bytes(b);
    for p in 0..b.desc.strip_cols().div_ceil(FLOAT_PANEL) {
        for line in (0..row_bytes).step_by(LINE_BYTES) {
            b.low.asm().prefetch(panel(p).offset(FLOAT_PREFETCH + i * row_bytes + line));
        }
    }
}
