//! The int8 family: one builder, lowered per tier.
//!
//! Start with [`generate`]: it reads like the kernel's loops. [`main_loop`] multiplies, in vectors or by [`tiles`],
//! [`epilogue`] finishes, [`portable`] does both in plain Rust.

#[cfg(target_arch = "x86_64")]
mod epilogue;
mod family;
#[cfg(target_arch = "x86_64")]
mod main_loop;
pub(crate) mod portable;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tiles;

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::generate;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::mem::offset_of;

    use dynasmrt::DynamicLabel;

    use super::{epilogue, main_loop, tiles};
    use crate::CodegenError;
    use crate::args::BlockHeader;
    use crate::desc::{Finish, KernelDesc, Layout, Prefetch, Section, Start, Sweep};
    use crate::registry::MAX_PREFETCH_ROWS;
    use crate::tier::Tier;
    use crate::x86::asm::{Assembler, Gpr, MachineCode, Mem};
    use crate::x86::avx2::Avx2;
    use crate::x86::avx512::Avx512;
    use crate::x86::encode::table;
    use crate::x86::lowering::{Lowering, Op, TileOp, Vector};
    use crate::x86::rows::RowStrides;

    /// General-purpose registers by role.
    pub(in crate::gemm_i8) mod role {
        use crate::x86::asm::Gpr;

        /// The argument block, for the whole call.
        pub const ARGS: Gpr = Gpr::Rdi;
        /// Row 0 of the micro-tile at the current block; main loop only.
        pub const A: Gpr = Gpr::Rsi;
        /// 1, 3, 5, 7, 9 and 11 times the row stride of A; main loop only.
        pub const STRIDES: [Gpr; 6] = [Gpr::Rax, Gpr::Rcx, Gpr::Rdx, Gpr::R13, Gpr::R14, Gpr::R15];
        /// Next offset; main loop only.
        pub const OFFSETS: Gpr = Gpr::R8;
        /// Next packed vector; main loop only.
        pub const B: Gpr = Gpr::R9;
        /// Groups left; main loop only.
        pub const COUNT: Gpr = Gpr::R10;
        /// Row 0 at each step of a group; main loop only.
        pub const STEPS: [Gpr; 4] = [Gpr::R11, Gpr::Rbx, Gpr::Rbp, Gpr::R12];
        /// Distance of prefetches, in kernels of at most [`MAX_PREFETCH_ROWS`](crate::MAX_PREFETCH_ROWS) rows; main
        /// loop only.
        pub const PREFETCH: Gpr = Gpr::R13;
        /// Free between the parts.
        pub const SCRATCH: Gpr = Gpr::R11;
    }

    /// An argument's address.
    macro_rules! arg {
        ($field:ident) => {
            crate::x86::asm::Mem::at(
                crate::gemm_i8::x86::role::ARGS,
                std::mem::offset_of!(crate::args::KernelArgs, $field),
            )
        };
    }
    pub(in crate::gemm_i8) use arg;

    /// Lanes of the widest vector.
    const MAX_LANES: usize = 16;
    /// Chains of 32-bit dot products that keep two ports busy for a latency of five cycles.
    const DOT_CHAINS: usize = 10;
    /// Registers that main loops of 32-bit dot products need besides accumulators: A, and up to four vectors of B.
    const MAIN_LOOP_TEMPORARIES: usize = 5;

    /// The kernel under construction: its description and its tier's lowering.
    pub(in crate::gemm_i8) struct Builder<L> {
        pub(in crate::gemm_i8) desc: KernelDesc,
        pub(in crate::gemm_i8) low: L,
    }

    impl<L: Lowering> Builder<L> {
        pub(in crate::gemm_i8) fn rows(&self) -> usize {
            self.desc.rows as usize
        }

        pub(in crate::gemm_i8) fn vectors(&self) -> usize {
            self.desc.vectors as usize
        }

        /// Whether accumulators begin at the column term, which saves the epilogue an addition: in kernels that see a tile
        /// from start to finish, where a lane is a column.
        pub(in crate::gemm_i8) fn starts_at_term(&self) -> bool {
            let whole = self.desc.start == Start::Zero && self.desc.finish != Finish::Scratch;
            whole && self.desc.layout.lanes_per_column() == 1 && !self.has_tiles()
        }

        /// Whether sums are in tile registers while the main loops run.
        pub(in crate::gemm_i8) fn has_tiles(&self) -> bool {
            self.desc.layout == Layout::Tiles
        }

        /// What the main loops prefetch of packed vectors.
        pub(in crate::gemm_i8) fn prefetch(&self) -> Prefetch {
            let can = self.rows() <= MAX_PREFETCH_ROWS && !self.has_tiles();
            if can { self.desc.prefetch } else { Prefetch::None }
        }

        /// Accumulator of row `r`, vector `v`.
        pub(in crate::gemm_i8) fn acc(&self, r: usize, v: usize) -> Vector {
            Vector((r * self.vectors() + v) as u8)
        }

        /// Copy `copy` of that accumulator.
        pub(in crate::gemm_i8) fn acc_copy(&self, copy: usize, r: usize, v: usize) -> Vector {
            Vector(self.acc(r, v).0 + (copy * self.rows() * self.vectors()) as u8)
        }

        /// Sets of accumulators that the steps of 32-bit dot products take in turns, so that enough of them are under way
        /// to hide an instruction's latency. They are summed after the main loops.
        pub(in crate::gemm_i8) fn copies(&self) -> usize {
            if self.has_tiles() || !self.desc.sections.iter().all(Section::is_dot) {
                return 1;
            }
            let accumulators = self.rows() * self.vectors();
            let fit = (L::REGISTERS - MAIN_LOOP_TEMPORARIES) / accumulators;
            [8, 4, 2].into_iter().find(|&n| n <= fit && n / 2 * accumulators < DOT_CHAINS).unwrap_or(1)
        }

        /// A constant whose 32-bit lanes are all `x`.
        pub(in crate::gemm_i8) fn repeated(&mut self, x: u32) -> DynamicLabel {
            let lanes = self.desc.layout.lanes();
            self.low.asm().constant(&[x; MAX_LANES][..lanes])
        }

        /// All accumulators, row after row.
        pub(in crate::gemm_i8) fn accs(&self) -> impl Iterator<Item = Vector> + use<L> {
            (0..self.desc.rows * self.desc.vectors).map(Vector)
        }

        /// The `i`-th register from the end: free of accumulators while `i < temporaries()`.
        pub(in crate::gemm_i8) fn temp(&self, i: usize) -> Vector {
            debug_assert!(i < self.temporaries());
            Vector((L::REGISTERS - 1 - i) as u8)
        }

        /// Registers that hold no accumulator, nor a copy of one while the main loops run.
        pub(in crate::gemm_i8) fn temporaries(&self) -> usize {
            if self.has_tiles() {
                return L::REGISTERS;
            }
            L::REGISTERS - self.rows() * self.vectors() * self.copies()
        }

        /// Row `r` of A, `p` being row 0.
        pub(in crate::gemm_i8) fn row_of_a(&self, p: Gpr, r: usize) -> Mem {
            RowStrides(&role::STRIDES).row(p, r)
        }

        /// The multiples of the row stride that [`Builder::row_of_a`] needs.
        fn compute_strides(&mut self) {
            let rows = self.rows();
            RowStrides(&role::STRIDES).compute(self.low.asm(), arg!(a_row_stride), rows);
        }

        /// The whole kernel: for each micro-tile, for each block, for each section; then the epilogue.
        fn kernel(&mut self) {
            let saved = Gpr::CALLEE_SAVED.len() - if self.rows() > MAX_PREFETCH_ROWS { 0 } else { 2 };
            Gpr::CALLEE_SAVED[..saved].iter().for_each(|&r| self.low.asm().push(r));

            if self.has_tiles() {
                tiles::configure(self);
            }
            let (next_tile, next_block) = (self.low.asm().label(), self.low.asm().label());
            self.low.asm().place(next_tile);
            match self.has_tiles() {
                true => tiles::start(self),
                false => {
                    self.compute_strides();
                    self.start();
                }
            }
            let prefetches = self.prefetch() != Prefetch::None;
            let asm = self.low.asm();
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

            self.low.asm().place(next_block);
            for section in self.desc.sections.iter() {
                main_loop::section(self, section);
            }
            let asm = self.low.asm();
            asm.load64(role::SCRATCH, arg!(cursor));
            asm.load32(role::COUNT, Mem::at(role::SCRATCH, offset_of!(BlockHeader, a_advance)));
            asm.add(role::A, role::COUNT);
            asm.add_imm(role::SCRATCH, size_of::<BlockHeader>());
            asm.store64(arg!(cursor), role::SCRATCH);
            asm.dec_mem_jump_not_zero(arg!(blocks_left), next_block);
            if self.desc.sweep == Sweep::Row {
                // Where this panel ends, the next one begins.
                let asm = self.low.asm();
                asm.store64(arg!(b), role::B);
                asm.store64(arg!(offsets), role::OFFSETS);
                asm.store64(arg!(blocks), role::SCRATCH);
            }

            match self.has_tiles() {
                true => tiles::finish(self),
                false => self.finish(),
            }
            self.advance();
            self.low.asm().dec_mem_jump_not_zero(arg!(tiles), next_tile);

            if self.has_tiles() {
                self.low.tile(TileOp::Release);
            }
            self.low.leave();
            let asm = self.low.asm();
            Gpr::CALLEE_SAVED[..saved].iter().rev().for_each(|&r| asm.pop(r));
            asm.ret();
        }

        fn finish(&mut self) {
            self.sum_copies();
            match self.desc.finish {
                Finish::Scratch => self.store_scratch(),
                Finish::Epilogue(e) => {
                    match self.desc.layout {
                        Layout::Columns8 | Layout::Columns16 | Layout::Tiles => {}
                        Layout::FourColumns => epilogue::sum_pairs(self),
                        Layout::Depth => epilogue::sum_lanes(self),
                    }
                    epilogue::stages(self, e);
                }
            }
        }

        fn start(&mut self) {
            let bytes = self.desc.layout.accumulator_bytes();
            let accs = self.rows() * self.vectors();
            (accs..accs * self.copies()).for_each(|i| self.low.zero(Vector(i as u8)));
            match self.desc.start {
                Start::Zero if self.starts_at_term() => {
                    self.low.asm().load64(role::SCRATCH, arg!(column_term));
                    for (i, acc) in self.accs().enumerate() {
                        let v = i % self.vectors();
                        self.low.load(acc, Mem::at(role::SCRATCH, v * bytes).into());
                    }
                }
                Start::Zero => self.accs().for_each(|acc| self.low.zero(acc)),
                Start::Scratch => {
                    self.low.asm().load64(role::SCRATCH, arg!(scratch));
                    for (i, acc) in self.accs().enumerate() {
                        self.low.load(acc, Mem::at(role::SCRATCH, i * bytes).into());
                    }
                }
            }
        }

        /// Sums the copies of accumulators, which begin at zero, into the first.
        fn sum_copies(&mut self) {
            let accs: Vec<Vector> = self.accs().collect();
            for copy in (1..self.copies()).map(|copy| (copy * accs.len()) as u8) {
                accs.iter().for_each(|&acc| self.low.op(Op::AddI32, acc, acc, Vector(acc.0 + copy).into()));
            }
        }

        fn store_scratch(&mut self) {
            let bytes = self.desc.layout.accumulator_bytes();
            self.low.asm().load64(role::SCRATCH, arg!(scratch));
            for (i, acc) in self.accs().enumerate() {
                self.low.store(Mem::at(role::SCRATCH, i * bytes), acc);
            }
        }

        /// Moves A and scratch memory to the next micro-tile. What the epilogue reads and writes it has moved itself.
        fn advance(&mut self) {
            let (rows, scratch_bytes) = (self.rows(), self.desc.scratch_bytes());
            let uses_scratch = self.desc.start == Start::Scratch || self.desc.finish == Finish::Scratch;
            let asm = self.low.asm();
            if self.desc.sweep == Sweep::Column {
                advance_by_rows(asm, arg!(a), arg!(a_row_stride), rows);
            }
            if uses_scratch {
                asm.add_imm_to(arg!(scratch), scratch_bytes);
            }
        }
    }

    /// `*pointer += *stride * rows`
    pub(in crate::gemm_i8) fn advance_by_rows(asm: &mut Assembler, pointer: Mem, stride: Mem, rows: usize) {
        asm.load64(role::SCRATCH, stride);
        asm.multiply_imm(role::SCRATCH, rows);
        asm.add_to(pointer, role::SCRATCH);
    }

    /// The code of a kernel.
    pub(crate) fn generate(desc: KernelDesc) -> Result<MachineCode, CodegenError> {
        // Layouts of eight lanes are for products of few columns: sixteen registers serve them on every tier.
        match (desc.tier, desc.layout.lanes()) {
            (Tier::Portable, _) => Err(CodegenError::Unsupported("the portable tier has no machine code")),
            (Tier::Avx2 | Tier::Avx512, 8) => build(desc, Avx2::new(None)),
            (Tier::Avx2Vnni, 8) => build(desc, Avx2::new(Some(&table::VPDPBUSD_VEX))),
            (Tier::Avx512Vnni | Tier::Amx, 8) => build(desc, Avx2::new(Some(&table::VPDPBUSD))),
            (Tier::Avx512 | Tier::Avx512Vnni | Tier::Amx, _) => build(desc, Avx512::new()),
            (Tier::Avx2 | Tier::Avx2Vnni, _) => Err(CodegenError::Unsupported("the tier has no vectors of 512 bits")),
        }
    }

    fn build<L: Lowering>(desc: KernelDesc, low: L) -> Result<MachineCode, CodegenError> {
        let mut builder = Builder { desc, low };
        builder.kernel();
        builder.low.finish()
    }
}
