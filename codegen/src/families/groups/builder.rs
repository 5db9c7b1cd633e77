//! The generated kernels of the groupwise family.
//!
//! Sums of f32 stay in memory: they are touched once for every group of k. Inside a group, as many vectors of a panel's
//! columns as registers allow are summed at a time, over its chunks of 32 k. Without 32-bit dot products a chunk's pair
//! products are added in 16 bits (at most `16 * 15 * 128 = 30720`) and widened once.

use std::mem::offset_of;
use std::ops::Range;

use super::desc::{
    GROUP_CHUNK, GROUP_PANEL, GroupKernelArgs as Args, GroupKernelDesc, GroupZeroPoints, vectors_at_a_time,
};
use crate::families::int8::desc::Prefetch;
use crate::frame::{self, Body, FrameArgs, Shape, arg};
use crate::x86::asm::{LINE_BYTES, Mem};
use crate::x86::lowering::{Lowering, Op, Source, Vector};

/// General-purpose registers by role, beside those of all families.
mod role {
    pub(super) use crate::frame::role::*;
    use crate::x86::asm::Gpr;

    /// Where the weights of the current chunk stand, in the current columns.
    pub(super) const WEIGHTS: Gpr = Gpr::R8;
    /// Row 0 at the current chunk.
    pub(super) const CHUNK: Gpr = Gpr::R10;
    /// Chunks left in the group; free outside.
    pub(super) const COUNT: Gpr = SCRATCH;
    /// The current group's number of chunks.
    pub(super) const CHUNKS: Gpr = Gpr::Rbx;
    /// The current group's terms.
    pub(super) const TERMS: Gpr = Gpr::R12;
    /// What is prefetched; in a chunk.
    pub(super) const AHEAD: Gpr = Gpr::Rbp;
    /// Sums of the micro-tile; at the end of a group.
    pub(super) const SUMS: Gpr = Gpr::Rbp;
}

/// Pairs of ones, to widen 16-bit sums.
const ONES: u32 = 0x0001_0001;

/// Registers of a multiplication: weights as bytes, four elements of a row, and where products go before they are
/// added.
struct Operands {
    bytes: Vector,
    a: Vector,
    product: Vector,
}

type Builder<L> = frame::Builder<GroupKernelDesc, L>;

/// A panel's columns are gone through some vectors at a time; the accumulators are those of one pass. Sums in memory
/// take the place of scratch memory.
impl Body for GroupKernelDesc {
    const ARGS: FrameArgs = FrameArgs {
        tiles: offset_of!(Args, tiles),
        a_row_stride: offset_of!(Args, a_row_stride),
        scratch: offset_of!(Args, sums),
    };

    fn shape(&self) -> Shape {
        let (tier, rows) = (self.tier, self.rows.into());
        let lanes = tier.facts().lanes;
        Shape { tier, rows, vectors: vectors_at_a_time(tier, rows), lanes, has_tiles: false }
    }

    /// Without 32-bit dot products, 16-bit sums stand behind those of 32 bits.
    fn registers_per_accumulator(&self, _: usize) -> usize {
        if self.tier.facts().dots { 1 } else { 2 }
    }

    fn prepare<L: Lowering>(b: &mut Builder<L>) {
        b.compute_strides();
    }

    fn start<L: Lowering>(b: &mut Builder<L>) {
        let asm = b.low.asm();
        asm.load64(role::A, arg!(a));
        asm.load64(role::B, arg!(b));
        asm.load64(role::CHUNKS, arg!(chunks));
        asm.load64(role::TERMS, arg!(terms));
        asm.load64(role::COUNT, arg!(groups));
        asm.store64(arg!(groups_left), role::COUNT);
    }

    /// For each group, for each set of columns, for each chunk.
    fn main_loop<L: Lowering>(b: &mut Builder<L>) {
        let (next_group, rows, vectors) = (b.low.asm().label(), b.rows(), b.vectors());
        b.low.asm().place(next_group);
        let panel_vectors = GROUP_PANEL / b.lanes();
        for first in (0..panel_vectors).step_by(vectors) {
            b.group(first, first + vectors == panel_vectors);
        }
        // The last set of columns left both where the next group begins.
        let ahead = (panel_vectors - vectors) * b.vector_bytes();
        let asm = b.low.asm();
        asm.lea(role::B, Mem::at(role::WEIGHTS, 0).before(ahead));
        asm.lea(role::A, Mem::at(role::CHUNK, 0));
        asm.add_imm(role::CHUNKS, size_of::<u32>());
        asm.add_imm(role::TERMS, rows * size_of::<i32>());
        asm.dec_mem_jump_not_zero(arg!(groups_left), next_group);
    }

    fn finish<L: Lowering>(b: &mut Builder<L>) {
        b.low.asm().store64(arg!(terms), role::TERMS);
    }

    fn advance<L: Lowering>(b: &mut Builder<L>) {
        let rows = b.rows();
        b.advance_by_rows(arg!(a), arg!(a_row_stride));
        b.low.asm().add_imm_to(arg!(sums), rows * GROUP_PANEL * size_of::<f32>());
    }
}

impl<L: Lowering> Builder<L> {
    /// Whether products are summed in 32 bits at once.
    fn dots(&self) -> bool {
        self.desc.tier.facts().dots
    }

    /// Vectors of columns whose weights are in registers at a time.
    fn shared(&self) -> usize {
        // A mask and an element of A, then two registers for each vector, and one for products where there are such.
        let needed = 2 + 2 * self.vectors() + usize::from(!self.dots());
        if self.free() >= needed { self.vectors() } else { 1 }
    }

    /// 16-bit sums of row `r`, vector `v`.
    fn narrow(&self, r: usize, v: usize) -> Vector {
        Vector(self.acc(r, v).0 + (self.rows() * self.vectors()) as u8)
    }

    /// One group for some vectors of columns, `first` and those behind it.
    fn group(&mut self, first: usize, is_last: bool) {
        let header = self.desc.layout.header_bytes();
        let columns = first * self.vector_bytes();
        self.begin(first);
        let again = self.low.asm().label();
        let asm = self.low.asm();
        asm.lea(role::WEIGHTS, Mem::at(role::B, header + columns));
        asm.lea(role::CHUNK, Mem::at(role::A, 0));
        asm.load32(role::COUNT, Mem::at(role::CHUNKS, 0));
        asm.place(again);
        self.chunk(is_last);
        let bytes = GROUP_CHUNK / self.desc.layout.step_depth() * GROUP_PANEL * 4;
        let asm = self.low.asm();
        asm.add_imm(role::WEIGHTS, bytes);
        asm.add_imm(role::CHUNK, GROUP_CHUNK);
        asm.dec_jump_not_zero(role::COUNT, again);
        self.fold(first);
    }

    /// 32-bit sums begin at the corrections.
    fn begin(&mut self, first: usize) {
        let rows = self.rows();
        for v in 0..self.vectors() {
            let zero_point = self.temp(0);
            if self.desc.layout.zero_points == GroupZeroPoints::PerColumn {
                let at = 2 * (GROUP_PANEL + (first + v) * self.lanes());
                self.low.load_first16(zero_point, Mem::at(role::B, at), self.lanes());
                self.low.widen16(zero_point, zero_point);
            }
            for r in 0..rows {
                let sum = self.acc(r, v);
                self.low.broadcast32(sum, Mem::at(role::TERMS, 4 * r));
                if self.desc.layout.zero_points == GroupZeroPoints::PerColumn {
                    self.low.op(Op::MulI32, sum, sum, zero_point.into());
                }
            }
        }
    }

    /// A chunk of k.
    fn chunk(&mut self, prefetches: bool) {
        let mask = self.temp(0);
        let field_mask = [0x0303_0303, 0x0f0f_0f0f][usize::from(self.desc.layout.bits == 4)];
        let constant = self.repeated(field_mask);
        self.low.load(mask, Source::Constant(constant));
        let steps = GROUP_CHUNK / self.desc.layout.step_depth();
        if prefetches && self.desc.prefetch != Prefetch::None {
            let asm = self.low.asm();
            asm.load64(role::AHEAD, arg!(prefetch_distance));
            asm.add(role::AHEAD, role::WEIGHTS);
            for line in (0..steps * GROUP_PANEL * 4).step_by(LINE_BYTES) {
                match self.desc.prefetch {
                    Prefetch::ToFirstLevel => asm.prefetch(Mem::at(role::AHEAD, line)),
                    _ => asm.prefetch_l2(Mem::at(role::AHEAD, line)),
                }
            }
        }
        for step in 0..steps {
            if self.rows() == 1 && !self.dots() {
                self.step_of_one_row(step, mask);
                continue;
            }
            // As many vectors at a time as registers hold the weights of: their products share elements of A.
            let shared = self.shared();
            for first in (0..self.vectors()).step_by(shared) {
                self.step(step, first..first + shared, mask);
            }
        }
        if !self.dots() {
            let ones = self.repeated(ONES);
            for r in 0..self.rows() {
                for v in 0..self.vectors() {
                    let (narrow, sum) = (self.narrow(r, v), self.acc(r, v));
                    self.low.op(Op::MulPairsI16, narrow, narrow, Source::Constant(ones));
                    self.low.op(Op::AddI32, sum, sum, narrow.into());
                }
            }
        }
    }

    /// A step of all vectors of columns at a time: the row's elements stay in registers while weights pass.
    fn step_of_one_row(&mut self, step: usize, mask: Vector) {
        let fields = 8 / usize::from(self.desc.layout.bits);
        let (weights, bytes) = (self.temp(1), self.temp(2));
        let a: Vec<Vector> = (0..fields).map(|field| self.temp(3 + field)).collect();
        for (field, &a) in a.iter().enumerate() {
            let k = step * self.desc.layout.step_depth() + field * 4;
            self.low.broadcast32(a, Mem::at(role::CHUNK, k));
        }
        for v in 0..self.vectors() {
            let at = step * GROUP_PANEL * 4 + v * self.vector_bytes();
            self.low.load(weights, Mem::at(role::WEIGHTS, at).into());
            for (field, &a) in a.iter().enumerate() {
                if field > 0 {
                    self.low.shift_right32(weights, weights, self.desc.layout.bits);
                }
                self.low.op(Op::And, bytes, weights, mask.into());
                self.multiply(0, v, Operands { bytes, a, product: bytes }, step == 0 && field == 0);
            }
        }
    }

    /// A step of some vectors of columns.
    fn step(&mut self, step: usize, vectors: Range<usize>, mask: Vector) {
        let (a, bits) = (self.temp(1), self.desc.layout.bits);
        let (weights, bytes) = (|v: usize| 2 + 2 * v, |v: usize| 3 + 2 * v);
        // One vector alone lets products take the place of A's element.
        let product = if vectors.len() > 1 && !self.dots() { self.temp(2 + 2 * vectors.len()) } else { a };
        for (i, v) in vectors.clone().enumerate() {
            let at = step * GROUP_PANEL * 4 + v * self.vector_bytes();
            self.low.load(self.temp(weights(i)), Mem::at(role::WEIGHTS, at).into());
        }
        for field in 0..8 / usize::from(bits) {
            for i in 0..vectors.len() {
                let (weights, bytes) = (self.temp(weights(i)), self.temp(bytes(i)));
                if field > 0 {
                    self.low.shift_right32(weights, weights, bits);
                }
                self.low.op(Op::And, bytes, weights, mask.into());
            }
            for r in 0..self.rows() {
                let k = step * self.desc.layout.step_depth() + field * 4;
                self.low.broadcast32(a, self.row_of_a(role::CHUNK, r).offset(k));
                for (i, v) in vectors.clone().enumerate() {
                    let operands = Operands { bytes: self.temp(bytes(i)), a, product };
                    self.multiply(r, v, operands, step == 0 && field == 0);
                }
            }
        }
    }

    /// Four k of one row and one vector of columns; the first ones begin 16-bit sums.
    fn multiply(&mut self, r: usize, v: usize, operands: Operands, is_first: bool) {
        let Operands { bytes, a, product } = operands;
        let (sum, narrow) = (self.acc(r, v), self.narrow(r, v));
        match (self.dots(), is_first) {
            (true, _) => self.low.dot(sum, bytes, a.into()),
            (false, true) => self.low.op(Op::MulPairsU8I8, narrow, bytes, a.into()),
            (false, false) => {
                self.low.op(Op::MulPairsU8I8, product, bytes, a.into());
                self.low.op(Op::AddI16, narrow, narrow, product.into());
            }
        }
    }

    /// The group's sums, scaled, to those in memory.
    fn fold(&mut self, first: usize) {
        let (scale, total) = (self.temp(0), self.temp(1));
        self.low.asm().load64(role::SUMS, arg!(sums));
        for v in 0..self.vectors() {
            let columns = (first + v) * self.lanes();
            self.low.load_first16(scale, Mem::at(role::B, 2 * columns), self.lanes());
            self.low.widen16(scale, scale);
            self.low.shift_left32(scale, scale, 16);
            for r in 0..self.rows() {
                let (sum, at) = (self.acc(r, v), Mem::at(role::SUMS, 4 * (r * GROUP_PANEL + columns)));
                self.low.i32_to_f32(sum, sum);
                self.low.load(total, at.into());
                self.low.accumulate_f32(total, sum, scale.into());
                self.low.store(at, total);
            }
        }
    }
}
