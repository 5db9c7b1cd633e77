//! The family's body: for each micro-tile, for each block, for each section; then the epilogue.

use std::mem::offset_of;

use super::{epilogue, main_loop, tiles};
use crate::families::int8::args::{BlockHeader, KernelArgs as Args};
use crate::families::int8::desc::{Finish, KernelDesc, Layout, Prefetch, Section, Start};
use crate::families::int8::registry::MAX_PREFETCH_ROWS;
use crate::families::sweep::Sweep;
use crate::frame::{self, Body, FrameArgs, Shape, arg};
use crate::tuning::DOT_CHAINS;
use crate::x86::asm::{Gpr, Mem};
use crate::x86::lowering::{Lowering, Op, Vector};

/// General-purpose registers by role, beside those of all families.
pub(super) mod role {
    pub(in crate::families::int8) use crate::frame::role::*;
    use crate::x86::asm::Gpr;

    /// Next offset; main loop only.
    pub(in crate::families::int8) const OFFSETS: Gpr = Gpr::R8;
    /// Row 0 at each step of a bundle; main loop only.
    pub(in crate::families::int8) const STEPS: [Gpr; 4] = [Gpr::R11, Gpr::Rbx, Gpr::Rbp, Gpr::R12];
    /// Distance of prefetches, in kernels of at most [`MAX_PREFETCH_ROWS`](crate::MAX_PREFETCH_ROWS) rows; main loop
    /// only.
    pub(in crate::families::int8) const PREFETCH: Gpr = Gpr::R13;
}

/// Registers that main loops of 32-bit dot products need besides accumulators: A, and up to four vectors of B.
const MAIN_LOOP_TEMPORARIES: usize = 5;

pub(super) type Builder<L> = frame::Builder<KernelDesc, L>;

impl Body for KernelDesc {
    const ARGS: FrameArgs = FrameArgs {
        tiles: offset_of!(Args, tiles),
        a_row_stride: offset_of!(Args, a_row_stride),
        scratch: offset_of!(Args, scratch),
    };

    fn shape(&self) -> Shape {
        Shape {
            tier: self.tier,
            rows: self.rows.into(),
            vectors: self.all_vectors(),
            lanes: self.layout.lanes(),
            has_tiles: self.layout == Layout::Tiles,
        }
    }

    /// Sets of accumulators that the steps of 32-bit dot products take in turns, so that enough of them are under way
    /// to hide an instruction's latency. They are summed after the main loops.
    fn registers_per_accumulator(&self, registers: usize) -> usize {
        if self.layout == Layout::Tiles || !self.sections.iter().all(Section::is_dot) {
            return 1;
        }
        let accumulators = usize::from(self.rows) * usize::from(self.vectors);
        let fit = (registers - MAIN_LOOP_TEMPORARIES) / accumulators;
        [8, 4, 2].into_iter().find(|&n| n <= fit && n / 2 * accumulators < DOT_CHAINS).unwrap_or(1)
    }

    fn saved(&self) -> &'static [Gpr] {
        let uses_all = usize::from(self.rows) > MAX_PREFETCH_ROWS || self.sweep.is_grid();
        let unused = if uses_all { 0 } else { 2 };
        &Gpr::CALLEE_SAVED[..Gpr::CALLEE_SAVED.len() - unused]
    }

    fn grid<L: Lowering>(b: &mut Builder<L>) -> bool {
        b.kernel_if_grid(b.desc.sweep)
    }

    fn start<L: Lowering>(b: &mut Builder<L>) {
        if b.has_tiles() {
            return tiles::start(b);
        }
        b.compute_strides();
        let accs = b.rows() * b.vectors();
        (accs..accs * b.copies()).for_each(|i| b.low.zero(Vector(i as u8)));
        match b.desc.start {
            Start::Zero if b.starts_at_term() => {
                let bytes = b.vector_bytes();
                b.low.asm().load64(role::SCRATCH, arg!(column_term));
                for (i, acc) in b.accs().enumerate() {
                    let v = i % b.vectors();
                    b.low.load(acc, Mem::at(role::SCRATCH, v * bytes).into());
                }
            }
            Start::Zero => b.accs().for_each(|acc| b.low.zero(acc)),
            Start::Scratch => b.load_scratch(),
        }
    }

    fn main_loop<L: Lowering>(b: &mut Builder<L>) {
        let prefetches = b.prefetch() != Prefetch::None;
        let asm = b.low.asm();
        if prefetches {
            asm.load64(role::PREFETCH, arg!(prefetch_distance));
        }
        asm.load64(role::A, arg!(a));
        asm.load64(role::B, arg!(b));
        asm.load64(role::OFFSETS, arg!(offsets));
        asm.load64(role::SCRATCH, arg!(block_count));
        asm.store64(arg!(blocks_left), role::SCRATCH);
        asm.load64(role::SCRATCH, arg!(blocks));
        asm.store64(arg!(cursor), role::SCRATCH);

        let next_block = asm.label();
        asm.place(next_block);
        for section in b.desc.sections.iter() {
            main_loop::section(b, section);
        }
        let asm = b.low.asm();
        asm.load64(role::SCRATCH, arg!(cursor));
        asm.load32(role::COUNT, Mem::at(role::SCRATCH, offset_of!(BlockHeader, a_advance)));
        asm.add(role::A, role::COUNT);
        asm.add_imm(role::SCRATCH, size_of::<BlockHeader>());
        asm.store64(arg!(cursor), role::SCRATCH);
        asm.dec_mem_jump_not_zero(arg!(blocks_left), next_block);
        if b.desc.sweep == Sweep::Row {
            // Where this panel ends, the next one begins.
            let asm = b.low.asm();
            asm.store64(arg!(b), role::B);
            asm.store64(arg!(offsets), role::OFFSETS);
            asm.store64(arg!(blocks), role::SCRATCH);
        }
    }

    fn finish<L: Lowering>(b: &mut Builder<L>) {
        if b.has_tiles() {
            return tiles::finish(b);
        }
        b.sum_copies();
        match b.desc.finish {
            Finish::Scratch => b.store_scratch(),
            Finish::Epilogue(e) => {
                match b.desc.layout {
                    Layout::Columns8 | Layout::Columns16 | Layout::Tiles | Layout::RowsOfTiles => {}
                    Layout::FourColumns => epilogue::sum_pairs(b),
                    Layout::Depth => epilogue::sum_lanes(b),
                }
                epilogue::stages(b, e);
            }
        }
    }

    /// Moves A and scratch memory to the next micro-tile. What the epilogue reads and writes it has moved itself.
    fn advance<L: Lowering>(b: &mut Builder<L>) {
        let scratch_bytes = b.desc.scratch_bytes();
        if b.desc.sweep == Sweep::Column {
            b.advance_by_rows(arg!(a), arg!(a_row_stride));
        }
        if b.desc.start == Start::Scratch || b.desc.finish == Finish::Scratch {
            b.low.asm().add_imm_to(arg!(scratch), scratch_bytes);
        }
    }
}

impl<L: Lowering> Builder<L> {
    /// Whether accumulators begin at the column term, which saves the epilogue an addition: in kernels that see a tile
    /// from start to finish, where a lane is a column.
    pub(super) fn starts_at_term(&self) -> bool {
        let whole = self.desc.start == Start::Zero && self.desc.finish != Finish::Scratch;
        whole && self.desc.layout.lanes_per_column() == 1 && !self.has_tiles()
    }

    /// What the main loops prefetch of packed vectors.
    pub(super) fn prefetch(&self) -> Prefetch {
        let can = self.rows() <= MAX_PREFETCH_ROWS && !self.has_tiles();
        if can { self.desc.prefetch } else { Prefetch::None }
    }

    /// Sets of accumulators.
    pub(super) fn copies(&self) -> usize {
        self.desc.registers_per_accumulator(L::REGISTERS)
    }

    /// Accumulator of row `r`, vector `v` in set `copy`.
    pub(super) fn acc_copy(&self, copy: usize, r: usize, v: usize) -> Vector {
        Vector(self.acc(r, v).0 + (copy * self.rows() * self.vectors()) as u8)
    }

    /// Sums the copies of accumulators, which begin at zero, into the first.
    fn sum_copies(&mut self) {
        let count = self.rows() * self.vectors();
        for copy in 1..self.copies() {
            for acc in self.accs() {
                self.low.op(Op::AddI32, acc, acc, Vector(acc.0 + (copy * count) as u8).into());
            }
        }
    }
}
