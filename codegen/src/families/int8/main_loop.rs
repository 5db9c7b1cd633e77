//! The main loops of the int8 family: one for each section, over the bundles of a block.
//!
//! A bundle reads its offsets, points at row 0 for each of its steps, and then goes row by row: for every step a
//! broadcast of A and a multiplication per vector of columns, sums in 16 bits, one widening into the accumulators.

use std::mem::offset_of;

use super::builder::{Builder, role};
use super::tiles;
use crate::families::int8::args::{BlockHeader, KernelArgs as Args};
use crate::families::int8::desc::{KR, Layout, Prefetch, SHUFFLE_BYTES, SHUFFLES, Section};
use crate::frame::arg;
use crate::tuning::{INT8_UNROLL, INT8_UNROLLED_PRODUCTS, OFFSETS_AHEAD};
use crate::x86::asm::{Gpr, LINE_BYTES, Mem, Scale};
use crate::x86::lowering::{Lowering, Op, Source, Vector};

/// Pairs of ones, to widen 16-bit sums.
const ONES: u32 = 0x0001_0001;

/// Even bytes of 16-bit lanes.
const EVEN_BYTES: u32 = 0x00ff_00ff;
/// Address of [`shuffle_masks`] in a shuffled section.
const MASKS: Gpr = role::STEPS[2];

/// A mask of `SHUFFLE_BYTES` for each order of [`SHUFFLES`].
fn shuffle_masks() -> Vec<u32> {
    let masks = SHUFFLES.iter().flat_map(|order| {
        (0..SHUFFLE_BYTES / KR).map(move |quad| {
            let first = quad % 4 * KR;
            u32::from_le_bytes(order.map(|i| (first + i) as u8))
        })
    });
    masks.collect()
}

/// The loop over one section's bundles in the current block.
pub(super) fn section<L: Lowering>(b: &mut Builder<L>, section: Section) {
    let (end, again) = (b.low.asm().label(), b.low.asm().label());
    let asm = b.low.asm();
    asm.load64(role::SCRATCH, arg!(cursor));
    asm.load32(role::COUNT, Mem::at(role::SCRATCH, offset_of!(BlockHeader, bundles) + 4 * section as usize));
    asm.jump_if_zero(role::COUNT, end);

    let registers = Registers::plan(b, section);
    registers.load_constants(b);
    if section == Section::Shuffled {
        let masks = b.low.asm().constant(&shuffle_masks());
        b.low.asm().lea_constant(MASKS, masks);
    }
    let unroll = unroll(b, section);
    if unroll > 1 {
        let (many, few) = (b.low.asm().label(), b.low.asm().label());
        b.low.asm().jump_if_below(role::COUNT, unroll, few);
        b.low.asm().place(many);
        (0..unroll).for_each(|i| bundle(b, section, &registers, i));
        advance(b, section, unroll);
        let asm = b.low.asm();
        asm.sub_imm(role::COUNT, unroll);
        asm.jump_if_not_below(role::COUNT, unroll, many);
        asm.jump_if_zero(role::COUNT, end);
        asm.place(few);
    }
    b.low.asm().place(again);
    bundle(b, section, &registers, 0);
    advance(b, section, 1);
    b.low.asm().dec_jump_not_zero(role::COUNT, again);
    b.low.asm().place(end);
}

/// Bundles per iteration.
fn unroll<L: Lowering>(b: &Builder<L>, section: Section) -> usize {
    let products = b.rows() * b.vectors() * section.steps();
    (INT8_UNROLLED_PRODUCTS / products).clamp(1, INT8_UNROLL)
}

fn advance<L: Lowering>(b: &mut Builder<L>, section: Section, bundles: usize) {
    let bytes = bundles * section.vectors() * b.vectors() * b.desc.layout.vector_bytes();
    let asm = b.low.asm();
    asm.add_imm(role::OFFSETS, bundles * section.offsets() * size_of::<u16>());
    asm.add_imm(role::B, bytes);
}

/// Where a section's temporaries live. What does not fit stays in memory.
struct Registers {
    /// Rows that are worked on together, so that a packed vector in a register serves them all.
    batch: usize,
    /// 16-bit sums, `batch × vectors`.
    sums: Vec<Vector>,
    /// A step of A.
    a: Vector,
    /// A product, before it is added to its sum.
    product: Vector,
    /// Ones, or their place in the constants, where sums are widened.
    ones: Option<Source>,
    /// First vectors of a step of B.
    cached: Vec<Vector>,
}

impl Registers {
    fn plan<L: Lowering>(b: &mut Builder<L>, section: Section) -> Registers {
        let (vectors, free) = (b.vectors(), b.free());
        let rest =
            |b: &Builder<L>, first: usize, most: usize| (first..free.min(first + most)).map(|i| b.temp(i)).collect();
        if section.is_dot() {
            let (a, rows) = (b.temp(0), b.rows());
            let cached = rest(b, 1, if rows > 1 { vectors } else { 0 });
            return Registers { batch: rows, sums: Vec::new(), a, product: a, ones: None, cached };
        }
        let batch = if b.rows() > 1 && 2 * vectors + 4 <= free { 2 } else { 1 };
        let sums: Vec<Vector> = (0..batch * vectors).map(|i| b.temp(i)).collect();
        let (a, product) = (b.temp(sums.len()), b.temp(sums.len() + 1));
        let mut next = sums.len() + 2;
        let ones = match section {
            Section::Wide | Section::Split => None,
            _ if next < free => {
                next += 1;
                Some(b.temp(next - 1).into())
            }
            _ => Some(Source::Constant(b.repeated(ONES))),
        };
        let cached = rest(b, next, if batch > 1 { vectors } else { 0 });
        Registers { batch, sums, a, product, ones, cached }
    }

    fn load_constants<L: Lowering>(&self, b: &mut Builder<L>) {
        if let Some(Source::Register(ones)) = self.ones {
            let constant = b.repeated(ONES);
            b.low.load(ones, Source::Constant(constant));
        }
    }

    fn sum(&self, row: usize, vector: usize) -> Vector {
        self.sums[row * (self.sums.len() / self.batch) + vector]
    }
}

/// One bundle, the `index`-th from where the pointers stand.
fn bundle<L: Lowering>(b: &mut Builder<L>, section: Section, regs: &Registers, index: usize) {
    for i in 0..section.offsets() {
        let asm = b.low.asm();
        asm.load16(role::STEPS[i], Mem::at(role::OFFSETS, (index * section.offsets() + i) * size_of::<u16>()));
        let is_mask = section == Section::Shuffled && i == 1;
        asm.add(role::STEPS[i], if is_mask { MASKS } else { role::A });
    }
    if b.has_tiles() {
        return tiles::products(b, section, index);
    }
    let rows = b.rows();
    if b.prefetch() != Prefetch::None && index == 0 {
        b.low.asm().prefetch_l2(Mem::at(role::OFFSETS, OFFSETS_AHEAD));
    }
    for first in (0..rows).step_by(regs.batch) {
        let batch = first..rows.min(first + regs.batch);
        match section {
            Section::Wide => wide_rows(b, regs, batch, index),
            Section::Split => split_rows(b, regs, batch, index),
            Section::Dot8 | Section::Dot if b.desc.layout == Layout::RowsOfTiles => {
                rows_of_tiles(b, section, regs, batch, index)
            }
            Section::Dot8 | Section::Dot => dot_rows(b, section, regs, batch, index),
            _ => narrow_rows(b, section, regs, batch, index),
        }
    }
}

/// Vector `vector` of step `step` of bundle `index`.
fn packed<L: Lowering>(b: &Builder<L>, section: Section, index: usize, step: usize, vector: usize) -> Mem {
    Mem::at(role::B, ((index * section.vectors() + step) * b.vectors() + vector) * b.desc.layout.vector_bytes())
}

/// The step of A that starts at `at`.
fn load_a<L: Lowering>(b: &mut Builder<L>, dst: Vector, at: Mem) {
    match b.desc.layout {
        Layout::Columns8 | Layout::Columns16 => b.low.broadcast32(dst, at),
        Layout::FourColumns => b.low.broadcast64(dst, at),
        // A row of a tile at a time.
        Layout::RowsOfTiles => b.low.broadcast32(dst, at),
        Layout::Depth | Layout::Tiles => b.low.load(dst, at.into()),
    }
}

/// Most vectors of columns that a micro-tile has.
const MAX_VECTORS: usize = 4;

/// Where a step of B stands among the bundles of an iteration, and for which rows.
#[derive(Debug, Clone, Copy)]
struct StepOfB {
    section: Section,
    index: usize,
    step: usize,
    /// Whether these are the micro-tile's first rows, so that the step is read for the first time.
    first_rows: bool,
}

/// Prefetches vector `v` of a step, if it is the first to be read of its line.
fn prefetch<L: Lowering>(b: &mut Builder<L>, at: StepOfB, v: usize) {
    let starts_line = ((at.step * b.vectors() + v) * b.desc.layout.vector_bytes()).is_multiple_of(LINE_BYTES);
    if !(at.first_rows && starts_line) {
        return;
    }
    let place = ahead(packed(b, at.section, at.index, at.step, v));
    match b.prefetch() {
        Prefetch::None => {}
        Prefetch::ToFirstLevel => b.low.asm().prefetch(place),
        Prefetch::ToSecondLevel => b.low.asm().prefetch_l2(place),
    }
}

/// Loads what is cached of a step of B and says where each of its vectors is found.
fn step_of_b<L: Lowering>(b: &mut Builder<L>, regs: &Registers, at: StepOfB) -> [Source; MAX_VECTORS] {
    let mut found = [packed(b, at.section, at.index, at.step, 0).into(); MAX_VECTORS];
    for (v, found) in found.iter_mut().enumerate().take(b.vectors()) {
        let place = packed(b, at.section, at.index, at.step, v);
        prefetch(b, at, v);
        *found = place.into();
        if let Some(&register) = regs.cached.get(v) {
            b.low.load(register, place.into());
            *found = register.into();
        }
    }
    found
}

/// Where row `row` of A stands at step `step` of a bundle.
fn step_of_a<L: Lowering>(b: &Builder<L>, section: Section, step: usize, row: usize) -> Mem {
    match section.is_run() {
        true => b.row_of_a(role::STEPS[0], row).offset(step * b.desc.layout.step_depth()),
        false => b.row_of_a(role::STEPS[step], row),
    }
}

fn dot_rows<L: Lowering>(
    b: &mut Builder<L>,
    section: Section,
    regs: &Registers,
    rows: std::ops::Range<usize>,
    index: usize,
) {
    for step in 0..section.steps() {
        let weights = step_of_b(b, regs, StepOfB { section, index, step, first_rows: rows.start == 0 });
        let copy = (index * section.steps() + step) % b.copies();
        for row in rows.clone() {
            let at = step_of_a(b, section, step, row);
            load_a(b, regs.a, at);
            for (v, &weight) in weights.iter().enumerate().take(b.vectors()) {
                let acc = b.acc_copy(copy, row, v);
                b.low.dot(acc, regs.a, weight);
            }
        }
    }
}

/// Rows of tiles: each is a vector of a step, as of sixteen columns.
fn rows_of_tiles<L: Lowering>(
    b: &mut Builder<L>,
    section: Section,
    regs: &Registers,
    rows: std::ops::Range<usize>,
    index: usize,
) {
    let (depth, vector_bytes) = (b.desc.layout.step_depth(), b.vector_bytes());
    for step in 0..section.steps() {
        for quad in 0..depth / KR {
            let weights: Vec<Source> = (0..b.vectors())
                .map(|v| {
                    let place = packed(b, section, index, step, v).offset(quad * vector_bytes);
                    match b.prefetch() {
                        Prefetch::None => {}
                        Prefetch::ToFirstLevel => b.low.asm().prefetch(ahead(place)),
                        Prefetch::ToSecondLevel => b.low.asm().prefetch_l2(ahead(place)),
                    }
                    match regs.cached.get(v) {
                        Some(&register) => {
                            b.low.load(register, place.into());
                            register.into()
                        }
                        None => place.into(),
                    }
                })
                .collect();
            let copy = (step * depth / KR + quad) % b.copies();
            for row in rows.clone() {
                let at = step_of_a(b, section, step, row).offset(quad * KR);
                load_a(b, regs.a, at);
                for (v, &weight) in weights.iter().enumerate() {
                    let acc = b.acc_copy(copy, row, v);
                    b.low.dot(acc, regs.a, weight);
                }
            }
        }
    }
}

/// A place of packed vectors that is as far ahead as prefetches reach.
fn ahead(place: Mem) -> Mem {
    Mem { index: Some((role::PREFETCH, Scale::X1)), ..place }
}

fn narrow_rows<L: Lowering>(
    b: &mut Builder<L>,
    section: Section,
    regs: &Registers,
    rows: std::ops::Range<usize>,
    index: usize,
) {
    let last = b.vectors() - 1;
    for step in 0..section.steps() {
        let weights = step_of_b(b, regs, StepOfB { section, index, step, first_rows: rows.start == 0 });
        for (slot, row) in rows.clone().enumerate() {
            let at = step_of_a(b, section, step, row);
            load_a(b, regs.a, at);
            if section == Section::Shuffled {
                b.low.op(Op::ShuffleBytes, regs.a, regs.a, Mem::at(role::STEPS[1], 0).into());
            }
            for (v, &weight) in weights.iter().enumerate().take(b.vectors()) {
                let sum = regs.sum(slot, v);
                if step == 0 {
                    b.low.op(Op::MulPairsU8I8, sum, regs.a, weight);
                } else {
                    let product = if v == last { regs.a } else { regs.product };
                    b.low.op(Op::MulPairsU8I8, product, regs.a, weight);
                    b.low.op(Op::AddI16, sum, sum, product.into());
                }
            }
        }
    }
    for (slot, row) in rows.enumerate() {
        for v in 0..=last {
            let (sum, acc) = (regs.sum(slot, v), b.acc(row, v));
            if let Some(ones) = regs.ones {
                b.low.op(Op::MulPairsI16, sum, sum, ones);
            }
            b.low.op(Op::AddI32, acc, acc, sum.into());
        }
    }
}

fn wide_rows<L: Lowering>(b: &mut Builder<L>, regs: &Registers, rows: std::ops::Range<usize>, index: usize) {
    for half in 0..2 {
        let at = StepOfB { section: Section::Wide, index, step: half, first_rows: rows.start == 0 };
        let weights = step_of_b(b, regs, at);
        for (slot, row) in rows.clone().enumerate() {
            let at = b.row_of_a(role::STEPS[half], row);
            load_a(b, regs.a, at);
            for (v, &weight) in weights.iter().enumerate().take(b.vectors()) {
                let sum = regs.sum(slot, v);
                if half == 0 {
                    b.low.op(Op::MulPairsI16, sum, regs.a, weight);
                } else {
                    let acc = b.acc(row, v);
                    b.low.op(Op::MulPairsI16, regs.product, regs.a, weight);
                    b.low.op(Op::AddI32, sum, sum, regs.product.into());
                    b.low.op(Op::AddI32, acc, acc, sum.into());
                }
            }
        }
    }
}

fn split_rows<L: Lowering>(b: &mut Builder<L>, regs: &Registers, rows: std::ops::Range<usize>, index: usize) {
    let even_bytes = b.repeated(EVEN_BYTES);
    let weight = |b: &Builder<L>, half: usize, v: usize| packed(b, Section::Split, index, half, v).into();
    for step in 0..2 {
        let at = StepOfB { section: Section::Split, index, step, first_rows: rows.start == 0 };
        (0..b.vectors()).for_each(|v| prefetch(b, at, v));
    }
    for (slot, row) in rows.enumerate() {
        let at = b.row_of_a(role::STEPS[0], row);
        load_a(b, regs.a, at);
        b.low.op(Op::And, regs.product, regs.a, Source::Constant(even_bytes));
        b.low.high_bytes(regs.a, regs.a);
        for v in 0..b.vectors() {
            let even = weight(b, 0, v);
            b.low.op(Op::MulPairsI16, regs.sum(slot, v), regs.product, even);
        }
        for v in 0..b.vectors() {
            let (sum, acc, odd) = (regs.sum(slot, v), b.acc(row, v), weight(b, 1, v));
            b.low.op(Op::MulPairsI16, regs.product, regs.a, odd);
            b.low.op(Op::AddI32, sum, sum, regs.product.into());
            b.low.op(Op::AddI32, acc, acc, sum.into());
        }
    }
}
