//! The main loop for weights of few bits, which become f32 in registers.
//!
//! A vector holds a dword of each of its columns, 32 / bits k. A weight's bits are moved to a place in a mantissa:
//!
//! ```text
//! dword:   .... | q (k = 2) | .... | q (k = 1) | .... | q (k = 0)         place of q's lowest bit: p, 8 at least
//! f32:     exponent 23 - p | 0 ... 0 | q | 0 ... 0        =  2^(23-p) + q
//! w = fma(2^(23-p) + q, scale, -scale * (2^(23-p) + zero point))     scale: 8 bits, the sum at most 16: exact in f32
//! ```
//!
//! Dwords are shifted such that few places occur: the last term is computed once for each place, column and group, and
//! kept in memory. An integer conversion, as the other way to make f32 of q, would take a multiplier's port for each
//! weight, and a mask and a shift besides.
//!
//! Vectors of a step's columns are gone through one by one, all k of the step for each: a dword is loaded once. The
//! chains of several vectors overlap as the CPU runs ahead.

use std::ops::Range;

use super::builder::{Builder, role};
use super::desc::{Expansion, FLOAT_PANEL, FloatKernelArgs as Args, FloatPrefetch, FloatRows};
use super::main_loop::{accumulate, broadcast, expanded_bytes, load_panel_distances, panel};
use super::weights::{GroupScales, WeightGroups, constants_per_column, places};
use crate::families::groups::desc::{GROUP_PANEL, GroupLayout, GroupZeroPoints};
use crate::frame::arg;
use crate::tuning::FEW_BITS_PREFETCH;
use crate::x86::asm::{Gpr, LINE_BYTES, Mem};
use crate::x86::lowering::{Lowering, Op, Source, Vector};

/// Bits of an f32's mantissa.
const MANTISSA: usize = 23;
/// The exponent of 1.0.
const EXPONENT_OF_ONE: u32 = 127;
/// Bytes of a step of a panel.
const STEP_BYTES: usize = GROUP_PANEL * 4;

/// A shift of a dword.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shift {
    None,
    Left(u8),
    Right(u8),
}

/// How a k of a step gets to its place.
#[derive(Debug, Clone, Copy)]
struct Move {
    shift: Shift,
    /// Which of the places.
    place: usize,
}

/// ```text
/// 4 bits:  offsets 0 4 | 8 12 16 | 20 24 28              2 bits:  offsets 0 2 4 6 | 8 .. 14 | 16 .. 22 | 24 .. 30
/// places           8 12  8 12 16    8 12 16                       places 14 16 18 20, for each of the four
/// ```
fn move_of(layout: GroupLayout, in_step: usize) -> Move {
    let (bits, offset) = (usize::from(layout.bits), layout.offset_in_dword(in_step));
    let first = match (bits, offset) {
        (4, ..8) => 0,
        (4, ..20) => 8,
        (4, _) => 20,
        _ => offset / 8 * 8,
    };
    let lowest = places(layout.bits)[0];
    let shift = match lowest as isize - first as isize {
        0 => Shift::None,
        left @ 1.. => Shift::Left(left as u8),
        right => Shift::Right(-right as u8),
    };
    Move { shift, place: (offset - first) / bits }
}

/// Registers by role, beside accumulators. The first four are always there; others as far as they go.
struct Registers {
    dwords: Vector,
    weights: Vector,
    from_a: Vector,
    scale: Vector,
    /// Shifted dwords that are kept for a whole step.
    shifted: Vec<(Shift, Vector)>,
    /// Masks and exponents by place.
    masks: Vec<Source>,
    exponents: Vec<Source>,
}

impl Registers {
    fn new<L: Lowering>(b: &mut Builder<L>, layout: GroupLayout) -> Registers {
        let [dwords, weights, from_a, scale] = std::array::from_fn(|i| b.temp(i));
        let mut others = (4..b.free()).map(|i| b.temp(i)).collect::<Vec<_>>().into_iter();
        let mut next = || others.next();
        let mut shifts: Vec<Shift> = (0..layout.step_depth()).map(|k| move_of(layout, k).shift).collect();
        shifts.sort();
        shifts.dedup();
        let shifted = shifts.into_iter().filter(|&s| s != Shift::None).map_while(|s| Some((s, next()?))).collect();
        let mut constants: Vec<Source> = Vec::new();
        for &place in places(layout.bits) {
            let mask = ((1u32 << layout.bits) - 1) << place;
            let exponent = (EXPONENT_OF_ONE + (MANTISSA - place) as u32) << MANTISSA;
            for dwords in [mask, exponent] {
                let constant = Source::Constant(b.repeated(dwords));
                constants.push(match next() {
                    Some(register) => {
                        b.low.load(register, constant);
                        register.into()
                    }
                    None => constant,
                });
            }
        }
        let masks = constants.iter().step_by(2).copied().collect();
        let exponents = constants.iter().skip(1).step_by(2).copied().collect();
        Registers { dwords, weights, from_a, scale, shifted, masks, exponents }
    }
}

/// What the parts of the loop share.
struct Groups {
    of: WeightGroups,
    registers: Registers,
    /// Constants of the current group.
    constants: Gpr,
}

/// All of k.
pub(super) fn all<L: Lowering>(b: &mut Builder<L>, of: WeightGroups) {
    let panels = b.desc.strip_cols().div_ceil(FLOAT_PANEL);
    // Kernels of several panels have few rows, and no use for the last stride.
    let constants = if panels > 1 { role::STRIDES[6] } else { role::PANELS[1] };
    let asm = b.low.asm();
    let (end, next_group, whole, again, rest) = (asm.label(), asm.label(), asm.label(), asm.label(), asm.label());
    let (size, depth) = (usize::from(of.size), of.layout.step_depth());
    asm.load64(role::A, arg!(a));
    asm.load64(role::B, arg!(b));
    asm.load64(role::COUNT, arg!(depth));
    asm.load64(constants, arg!(constants));
    if panels > 1 {
        load_panel_distances(asm);
    }
    if b.desc.expansion == Expansion::Kept {
        b.low.asm().load64(role::EXPANDED, arg!(expanded));
    }
    b.low.asm().jump_if_zero(role::COUNT, end);
    let groups = Groups { of, registers: Registers::new(b, of.layout), constants };

    b.low.asm().place(next_group);
    groups.start(b);
    let asm = b.low.asm();
    asm.add_imm(role::B, of.layout.header_bytes());
    // SCRATCH counts whole steps of this group, COUNT the k of those behind it.
    asm.load_imm(role::SCRATCH, (size / depth) as u32);
    asm.jump_if_not_below(role::COUNT, size, whole);
    asm.lea(role::SCRATCH, Mem::at(role::COUNT, 0));
    asm.shift_right_imm(role::SCRATCH, depth.trailing_zeros() as u8);
    asm.jump_if_zero(role::SCRATCH, rest);
    asm.load_imm(role::COUNT, size as u32);
    asm.place(whole);
    asm.sub_imm(role::COUNT, size);
    asm.place(again);
    groups.step(b);
    let asm = b.low.asm();
    asm.dec_jump_not_zero(role::SCRATCH, again);
    asm.jump_if_not_below(role::COUNT, 1, next_group);
    asm.place(rest);
    asm.load64(role::COUNT, arg!(depth));
    asm.and_imm(role::COUNT, (depth - 1) as u8);
    asm.jump_if_zero(role::COUNT, end);
    for k in 0..depth - 1 {
        (0..b.vectors()).for_each(|v| groups.vector(b, v, k..k + 1));
        if k + 2 < depth {
            b.low.asm().sub_imm(role::COUNT, 1);
            b.low.asm().jump_if_zero(role::COUNT, end);
        }
    }
    b.low.asm().place(end);
}

impl Groups {
    /// Constant `i` of vector `v`: its scales, then a term for each place.
    fn constant<L: Lowering>(&self, b: &Builder<L>, v: usize, i: usize) -> Mem {
        Mem::at(self.constants, (v * constants_per_column(self.of.layout) + i) * b.vector_bytes())
    }

    /// The constants of a group, whose header B points to.
    fn start<L: Lowering>(&self, b: &mut Builder<L>) {
        let Registers { weights: scale, from_a: zero_point, scale: term, .. } = self.registers;
        let (layout, lanes) = (self.of.layout, b.desc.lanes());
        for v in 0..b.vectors() {
            let (p, within) = (v * lanes / FLOAT_PANEL, v * lanes % FLOAT_PANEL);
            if within == 0 {
                // B points to dwords of columns, as far behind scales as the strip's columns are from the panel's first
                // one.
                b.low.asm().lea(role::SCRATCH, panel(p));
                b.low.asm().add_from(role::SCRATCH, arg!(scales_from_b));
            }
            let scales = Mem::at(role::SCRATCH, within * size_of::<u16>());
            b.low.load_first16(scale, scales, lanes);
            b.low.widen16(scale, scale);
            b.low.shift_left32(scale, scale, 16);
            if layout.zero_points == GroupZeroPoints::PerColumn {
                b.low.load_first16(zero_point, scales.offset(GROUP_PANEL * size_of::<u16>()), lanes);
                b.low.widen16(zero_point, zero_point);
                b.low.i32_to_f32(zero_point, zero_point);
            } else {
                let middle = b.number(layout.middle().into());
                b.low.load(zero_point, middle);
            }
            let minus_one = b.number(-1.0);
            b.op(Op::MulF32, zero_point, zero_point, minus_one);
            let at = self.constant(b, v, 0);
            b.low.store(at, scale);
            for (i, place) in places(layout.bits).iter().enumerate() {
                let minus_one_of_place = b.number(-((1u32 << (MANTISSA - place)) as f32));
                b.op(Op::AddF32, term, zero_point, minus_one_of_place);
                if self.of.scales == GroupScales::Moderate {
                    b.op(Op::MulF32, term, term, scale);
                }
                let at = self.constant(b, v, 1 + i);
                b.low.store(at, term);
            }
        }
    }

    /// A whole step, from where A, B and EXPANDED point; they go on to the next one.
    fn step<L: Lowering>(&self, b: &mut Builder<L>) {
        let depth = self.of.layout.step_depth();
        if b.desc.prefetch == FloatPrefetch::Ahead {
            for p in 0..b.desc.strip_cols().div_ceil(FLOAT_PANEL) {
                for line in (0..STEP_BYTES).step_by(LINE_BYTES) {
                    b.low.asm().prefetch_l2(panel(p).offset(FEW_BITS_PREFETCH + line));
                }
            }
        }
        (0..b.vectors()).for_each(|v| self.vector(b, v, 0..depth));
        let a_bytes = match b.desc.a {
            FloatRows::Strided => size_of::<f32>(),
            FloatRows::Interleaved => b.rows() * size_of::<f32>(),
        };
        let expanded = expanded_bytes(b);
        let keeps = b.desc.expansion == Expansion::Kept;
        let asm = b.low.asm();
        asm.add_imm(role::A, depth * a_bytes);
        asm.add_imm(role::B, STEP_BYTES);
        if keeps {
            asm.add_imm(role::EXPANDED, depth * expanded);
        }
    }

    /// Some k of a step, for one vector of columns.
    fn vector<L: Lowering>(&self, b: &mut Builder<L>, v: usize, depth: Range<usize>) {
        let Registers { dwords, weights, from_a, scale, ref shifted, .. } = self.registers;
        let per_panel = FLOAT_PANEL / b.desc.lanes();
        b.low.load(dwords, panel(v / per_panel).offset(v % per_panel * b.vector_bytes()).into());
        let scales = self.constant(b, v, 0);
        b.low.load(scale, scales.into());
        let is_whole = depth.len() > 1;
        if is_whole {
            shifted.iter().for_each(|&(by, register)| shift(b, register, dwords, by));
        }
        for k in depth {
            let Move { shift: by, place } = move_of(self.of.layout, k);
            let kept = shifted.iter().find(|(of, _)| is_whole && *of == by);
            let moved = match (by, kept) {
                (Shift::None, _) => dwords,
                (_, Some(&(_, register))) => register,
                (_, None) => {
                    shift(b, weights, dwords, by);
                    weights
                }
            };
            let (mask, exponent) = (self.registers.masks[place], self.registers.exponents[place]);
            b.low.select_bits(weights, moved, mask, exponent);
            let term = self.constant(b, v, 1 + place);
            match self.of.scales {
                GroupScales::Moderate => b.low.multiply_add_f32(weights, scale, term.into()),
                GroupScales::Any => {
                    b.op(Op::AddF32, weights, weights, term);
                    b.op(Op::MulF32, weights, weights, scale);
                }
            }
            if b.desc.expansion == Expansion::Kept {
                // The k of an incomplete step have EXPANDED at its beginning, as those of a whole one.
                let at = Mem::at(role::EXPANDED, k * expanded_bytes(b) + v * b.vector_bytes());
                b.low.store(at, weights);
            }
            for r in 0..b.rows() {
                broadcast(b, r, k, from_a);
                let acc = b.acc(r, v);
                accumulate(b, acc, from_a, weights);
            }
        }
    }
}

fn shift<L: Lowering>(b: &mut Builder<L>, dst: Vector, src: Vector, by: Shift) {
    match by {
        Shift::None => {}
        Shift::Left(bits) => b.low.shift_left32(dst, src, bits),
        Shift::Right(bits) => b.low.shift_right32(dst, src, bits),
    }
}
