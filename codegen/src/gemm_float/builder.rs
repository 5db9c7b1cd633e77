//! The kernel's loops, and what its parts share.

use dynasmrt::DynamicLabel;

use super::desc::{FloatFinish, FloatKernelDesc, FloatProducts, FloatRows, FloatStart};
use super::{epilogue, main_loop, tiles};
use crate::CodegenError;
use crate::desc::Sweep;
use crate::element::FloatType;
use crate::element::vectors::Elements;
use crate::tier::Tier;
use crate::x86::asm::{Assembler, Gpr, MachineCode, Mem};
use crate::x86::avx2::Avx2;
use crate::x86::avx512::Avx512;
use crate::x86::lowering::{Lowering, Op, Source, TileOp, Vector};
use crate::x86::rows::RowStrides;

/// General-purpose registers by role.
pub(super) mod role {
    use crate::x86::asm::Gpr;

    /// The argument block, for the whole call.
    pub const ARGS: Gpr = Gpr::Rdi;
    /// Row 0 of the micro-tile at the current k; main loop only.
    pub const A: Gpr = Gpr::Rsi;
    /// 1, 3, 5, 7, 9, 11 and 13 times the row stride of A; main loop only.
    pub const STRIDES: [Gpr; 7] = [Gpr::Rax, Gpr::Rcx, Gpr::Rdx, Gpr::R13, Gpr::R14, Gpr::R15, Gpr::R12];
    /// The first panel at the current k; main loop only.
    pub const B: Gpr = Gpr::R9;
    /// 1 and 3 times the distance of panels; main loop only.
    pub const PANELS: [Gpr; 2] = [Gpr::R8, Gpr::Rbx];
    /// The next line to prefetch, in strips of one panel; main loop only.
    pub const NEXT: Gpr = PANELS[0];
    /// Expanded weights at the current k; main loop only.
    pub const EXPANDED: Gpr = Gpr::Rbp;
    /// k left; main loop only.
    pub const COUNT: Gpr = Gpr::R10;
    /// Free between the parts.
    pub const SCRATCH: Gpr = Gpr::R11;
    /// C; start and epilogue only.
    pub const C: Gpr = Gpr::Rsi;
    /// Bytes from row to row of C; start and epilogue only.
    pub const C_STRIDE: Gpr = Gpr::Rax;
    /// The residual; epilogue only.
    pub const RESIDUAL: Gpr = Gpr::R8;
    /// Bytes from row to row of the residual; epilogue only.
    pub const RESIDUAL_STRIDE: Gpr = Gpr::R9;
    /// The bias; epilogue only.
    pub const BIAS: Gpr = Gpr::R10;
}

/// An argument's address.
macro_rules! arg {
    ($field:ident) => {
        crate::x86::asm::Mem::at(
            crate::gemm_float::builder::role::ARGS,
            std::mem::offset_of!(crate::gemm_float::desc::FloatKernelArgs, $field),
        )
    };
}
pub(super) use arg;

/// Lanes of the widest vector.
const MAX_LANES: usize = 16;

/// The kernel under construction: its description and its tier's lowering.
pub(super) struct Builder<L> {
    pub(super) desc: FloatKernelDesc,
    pub(super) low: L,
}

impl<L: Lowering> Builder<L> {
    pub(super) fn rows(&self) -> usize {
        self.desc.rows.into()
    }

    pub(super) fn vectors(&self) -> usize {
        self.desc.vectors.into()
    }

    pub(super) fn vector_bytes(&self) -> usize {
        self.desc.lanes() * size_of::<f32>()
    }

    /// Accumulator of row `r`, vector `v`.
    pub(super) fn acc(&self, r: usize, v: usize) -> Vector {
        Vector((r * self.vectors() + v) as u8)
    }

    /// All accumulators, row after row.
    pub(super) fn accs(&self) -> impl Iterator<Item = Vector> + use<L> {
        (0..self.desc.rows * self.desc.vectors).map(Vector)
    }

    /// The `i`-th register from the end: free of accumulators.
    pub(super) fn temp(&self, i: usize) -> Vector {
        debug_assert!(i < self.free());
        Vector((L::REGISTERS - 1 - i) as u8)
    }

    /// Registers free of accumulators.
    pub(super) fn free(&self) -> usize {
        L::REGISTERS - self.rows() * self.vectors()
    }

    /// A constant whose 32-bit lanes are all `x`.
    pub(super) fn repeated(&mut self, x: u32) -> DynamicLabel {
        let lanes = self.desc.lanes();
        self.low.asm().constant(&[x; MAX_LANES][..lanes])
    }

    /// A constant whose lanes are all `x`.
    pub(super) fn number(&mut self, x: f32) -> Source {
        Source::Constant(self.repeated(x.to_bits()))
    }

    /// Elements of C and of the residual.
    pub(super) fn elements(&self) -> Elements {
        Elements { of: self.desc.c, lanes: self.desc.lanes() }
    }

    /// Columns of C in vector `v`; none, maybe.
    pub(super) fn columns_in(&self, v: usize) -> usize {
        let lanes = self.desc.lanes();
        usize::from(self.desc.cols).saturating_sub(v * lanes).min(lanes)
    }

    /// Row `r` of a strided A, `base` being row 0.
    pub(super) fn row_of_a(&self, r: usize) -> Mem {
        RowStrides(&role::STRIDES).row(role::A, r)
    }

    /// The whole kernel: for each micro-tile, all of k; then the epilogue.
    fn kernel(&mut self) {
        Gpr::CALLEE_SAVED.iter().for_each(|&r| self.low.asm().push(r));
        if self.desc.products != FloatProducts::Chain {
            self.low.prepare_pairs();
        }
        let has_tiles = self.desc.has_tiles();
        if has_tiles {
            tiles::configure(self);
        }
        let next_tile = self.low.asm().label();
        self.low.asm().place(next_tile);
        if has_tiles {
            tiles::start(self)
        } else {
            self.start()
        }
        if self.desc.finish != FloatFinish::Scratch {
            epilogue::prefetch_c(self);
        }
        if self.desc.a == FloatRows::Strided && !has_tiles {
            let rows = self.rows();
            RowStrides(&role::STRIDES).compute(self.low.asm(), arg!(a_row_stride), rows);
        }
        match (has_tiles, self.desc.finish) {
            (true, finish) => {
                tiles::products(self);
                tiles::finish(self, finish);
            }
            (false, FloatFinish::Scratch) => {
                main_loop::all(self);
                self.store_scratch();
            }
            (false, FloatFinish::Epilogue(e)) => {
                main_loop::all(self);
                epilogue::stages(self, e);
            }
        }
        self.advance();
        self.low.asm().dec_mem_jump_not_zero(arg!(tiles), next_tile);
        if has_tiles {
            self.low.tile(TileOp::Release);
        }
        self.low.leave();
        Gpr::CALLEE_SAVED.iter().rev().for_each(|&r| self.low.asm().pop(r));
        self.low.asm().ret();
    }

    fn start(&mut self) {
        match self.desc.start {
            FloatStart::Zero => self.accs().for_each(|acc| self.low.zero(acc)),
            FloatStart::Beta => epilogue::start_at_c(self),
            FloatStart::Scratch => {
                let bytes = self.vector_bytes();
                self.low.asm().load64(role::SCRATCH, arg!(scratch));
                for (i, acc) in self.accs().enumerate() {
                    self.low.load(acc, Mem::at(role::SCRATCH, i * bytes).into());
                }
            }
        }
    }

    fn store_scratch(&mut self) {
        let bytes = self.vector_bytes();
        self.low.asm().load64(role::SCRATCH, arg!(scratch));
        for (i, acc) in self.accs().enumerate() {
            self.low.store(Mem::at(role::SCRATCH, i * bytes), acc);
        }
    }

    /// Brings pairs of accumulators from the order of columns in which bf16 panels make them into the natural one, or back.
    pub(super) fn exchange_halves(&mut self) {
        if self.desc.weights != FloatType::Bf16.into() || self.desc.lanes() == 8 {
            return;
        }
        let accs: Vec<Vector> = self.accs().collect();
        let temp = self.temp(0);
        accs.chunks_exact(2).for_each(|pair| self.low.exchange_halves(pair[0], pair[1], temp));
    }

    /// Moves pointers to the next micro-tile.
    fn advance(&mut self) {
        let scratch_bytes = self.desc.scratch_len() * size_of::<f32>();
        let has_scratch = self.desc.start == FloatStart::Scratch || self.desc.finish == FloatFinish::Scratch;
        match self.desc.sweep {
            Sweep::Column => self.advance_down(),
            Sweep::Row => self.advance_across(),
        }
        if has_scratch {
            self.low.asm().add_imm_to(arg!(scratch), scratch_bytes);
        }
    }

    /// To the next rows of A, C and the residual.
    fn advance_down(&mut self) {
        let (rows, touches_c, epilogue) = (self.rows(), self.touches_c(), self.desc.finish);
        let asm = self.low.asm();
        asm.load64(role::SCRATCH, arg!(a_tile_stride));
        asm.add_to(arg!(a), role::SCRATCH);
        if touches_c {
            advance_by_rows(asm, arg!(c), arg!(c_row_stride), rows);
        }
        if matches!(epilogue, FloatFinish::Epilogue(e) if e.residual) {
            advance_by_rows(asm, arg!(residual), arg!(residual_row_stride), rows);
        }
    }

    /// To the next strip of B, and the next columns of C, the residual and the bias.
    fn advance_across(&mut self) {
        let (cols, c_bytes, half_panels) = (self.desc.strip_cols(), self.desc.c.bytes(), self.desc.has_half_panels());
        let (touches_c, epilogue) = (self.touches_c(), self.desc.finish);
        let has_scales = self.desc.weights.groups().is_some();
        let asm = self.low.asm();
        asm.load64(role::SCRATCH, arg!(b_strip_stride));
        asm.add_to(arg!(b), role::SCRATCH);
        if half_panels {
            asm.negate(role::SCRATCH);
            asm.add_from(role::SCRATCH, arg!(b_panel_stride));
            asm.store64(arg!(b_strip_stride), role::SCRATCH);
            if has_scales {
                // The distance to scales is 0 and what a half panel has of them in turns.
                asm.load64(role::SCRATCH, arg!(scales_from_b));
                asm.add_imm(role::SCRATCH, cols * size_of::<u16>());
                asm.negate(role::SCRATCH);
                asm.store64(arg!(scales_from_b), role::SCRATCH);
            }
        }
        if touches_c {
            asm.add_imm_to(arg!(c), cols * c_bytes);
        }
        if let FloatFinish::Epilogue(e) = epilogue {
            if e.residual {
                asm.add_imm_to(arg!(residual), cols * c_bytes);
            }
            if e.bias {
                asm.add_imm_to(arg!(bias), cols * size_of::<f32>());
            }
        }
    }

    /// Whether C is read or written.
    fn touches_c(&self) -> bool {
        self.desc.finish != FloatFinish::Scratch || self.desc.start == FloatStart::Beta
    }

    /// `dst = op(a, b)`
    pub(super) fn op(&mut self, op: Op, dst: Vector, a: Vector, b: impl Into<Source>) {
        self.low.op(op, dst, a, b.into());
    }
}

/// `*pointer += *stride * rows`
fn advance_by_rows(asm: &mut Assembler, pointer: Mem, stride: Mem, rows: usize) {
    asm.load64(role::SCRATCH, stride);
    asm.multiply_imm(role::SCRATCH, rows);
    asm.add_to(pointer, role::SCRATCH);
}

/// The code of a kernel.
pub(super) fn generate(desc: FloatKernelDesc) -> Result<MachineCode, CodegenError> {
    match desc.tier {
        Tier::Portable => Err(CodegenError::Unsupported("the portable tier has no machine code")),
        Tier::Avx2 | Tier::Avx2Vnni => build(desc, Avx2::new(None)),
        Tier::Avx512 | Tier::Avx512Vnni | Tier::Amx => build(desc, Avx512::new()),
    }
}

fn build<L: Lowering>(desc: FloatKernelDesc, low: L) -> Result<MachineCode, CodegenError> {
    let mut builder = Builder { desc, low };
    builder.kernel();
    builder.low.finish()
}
