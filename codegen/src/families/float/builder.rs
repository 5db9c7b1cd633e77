//! The kernel's loops, and what its parts share.

use std::mem::offset_of;

use super::desc::{
    Expansion, FloatFinish, FloatKernelArgs as Args, FloatKernelDesc, FloatProducts, FloatRows, FloatStart,
};
use super::{epilogue, main_loop, tiles};
use crate::families::element::FloatType;
use crate::families::element::vectors::Elements;
use crate::families::sweep::Sweep;
use crate::frame::{self, Body, FrameArgs, Shape, arg};
use crate::x86::lowering::{Lowering, Op, Source, Vector};

/// General-purpose registers by role, beside those of all families.
pub(super) mod role {
    pub(in crate::families::float) use crate::frame::role::*;
    use crate::x86::asm::Gpr;

    /// 1 and 3 times the distance of panels; main loop only.
    pub(in crate::families::float) const PANELS: [Gpr; 2] = [Gpr::R8, Gpr::Rbx];
    /// The next line to prefetch, in strips of one panel; main loop only.
    pub(in crate::families::float) const NEXT: Gpr = PANELS[0];
    /// Expanded weights at the current k; main loop only.
    pub(in crate::families::float) const EXPANDED: Gpr = Gpr::Rbp;
    /// C; start and epilogue only.
    pub(in crate::families::float) const C: Gpr = Gpr::Rsi;
    /// Bytes from row to row of C; start and epilogue only.
    pub(in crate::families::float) const C_STRIDE: Gpr = Gpr::Rax;
    /// The residual; epilogue only.
    pub(in crate::families::float) const RESIDUAL: Gpr = Gpr::R8;
    /// Bytes from row to row of the residual; epilogue only.
    pub(in crate::families::float) const RESIDUAL_STRIDE: Gpr = Gpr::R9;
    /// The bias; epilogue only.
    pub(in crate::families::float) const BIAS: Gpr = Gpr::R10;
}

pub(super) type Builder<L> = frame::Builder<FloatKernelDesc, L>;

impl Body for FloatKernelDesc {
    const ARGS: FrameArgs = FrameArgs {
        tiles: offset_of!(Args, tiles),
        a_row_stride: offset_of!(Args, a_row_stride),
        scratch: offset_of!(Args, scratch),
    };

    fn shape(&self) -> Shape {
        Shape {
            tier: self.tier,
            rows: self.rows.into(),
            vectors: usize::from(self.vectors) * self.sweep.panels(),
            lanes: self.lanes(),
            has_tiles: self.has_tiles(),
        }
    }

    fn prepare<L: Lowering>(b: &mut Builder<L>) {
        if b.desc.products != FloatProducts::Chain && b.desc.expansion != Expansion::Tiles {
            b.low.prepare_pairs();
        }
    }

    fn grid<L: Lowering>(b: &mut Builder<L>) -> bool {
        b.kernel_if_grid(b.desc.sweep)
    }

    fn start<L: Lowering>(b: &mut Builder<L>) {
        let has_tiles = b.has_tiles();
        match (b.desc.start, has_tiles) {
            (_, true) => tiles::start(b),
            (FloatStart::Zero, _) => b.accs().for_each(|acc| b.low.zero(acc)),
            (FloatStart::Beta, _) => epilogue::start_at_c(b),
            (FloatStart::Scratch, _) => b.load_scratch(),
        }
        if b.desc.finish != FloatFinish::Scratch {
            epilogue::prefetch_c(b);
        }
        if b.desc.a == FloatRows::Strided && !has_tiles {
            b.compute_strides();
        }
    }

    fn main_loop<L: Lowering>(b: &mut Builder<L>) {
        if b.has_tiles() { tiles::products(b) } else { main_loop::all(b) }
    }

    fn finish<L: Lowering>(b: &mut Builder<L>) {
        match (b.has_tiles(), b.desc.finish) {
            (true, finish) => tiles::finish(b, finish),
            (false, FloatFinish::Scratch) => b.store_scratch(),
            (false, FloatFinish::Epilogue(e)) => epilogue::stages(b, e),
        }
    }

    fn advance<L: Lowering>(b: &mut Builder<L>) {
        let scratch_bytes = b.desc.scratch_len() * size_of::<f32>();
        let has_scratch = b.desc.start == FloatStart::Scratch || b.desc.finish == FloatFinish::Scratch;
        match b.desc.sweep {
            Sweep::Row => b.advance_across(),
            Sweep::Column => b.advance_down(),
            Sweep::Grid { .. } => unreachable!("a grid is a kernel of its own"),
        }
        if has_scratch {
            b.low.asm().add_imm_to(arg!(scratch), scratch_bytes);
        }
    }
}

impl<L: Lowering> Builder<L> {
    /// Elements of C and of the residual.
    pub(super) fn elements(&self) -> Elements {
        Elements { of: self.desc.c, lanes: self.desc.lanes() }
    }

    /// Columns of C in vector `v`; none, maybe.
    pub(super) fn columns_in(&self, v: usize) -> usize {
        let lanes = self.desc.lanes();
        usize::from(self.desc.cols).saturating_sub(v * lanes).min(lanes)
    }

    /// Brings pairs of accumulators from the order of columns in which bf16 panels make them into the natural one, or
    /// back.
    pub(super) fn exchange_halves(&mut self) {
        let is_natural = self.desc.expansion == Expansion::Tiles;
        if is_natural || self.desc.weights != FloatType::Bf16.into() || self.desc.lanes() == 8 {
            return;
        }
        let accs: Vec<Vector> = self.accs().collect();
        let temp = self.temp(0);
        accs.chunks_exact(2).for_each(|pair| self.low.exchange_halves(pair[0], pair[1], temp));
    }

    /// To the next rows of A, C and the residual.
    fn advance_down(&mut self) {
        let asm = self.low.asm();
        asm.load64(role::SCRATCH, arg!(a_tile_stride));
        asm.add_to(arg!(a), role::SCRATCH);
        if self.touches_c() {
            self.advance_by_rows(arg!(c), arg!(c_row_stride));
        }
        if matches!(self.desc.finish, FloatFinish::Epilogue(e) if e.residual) {
            self.advance_by_rows(arg!(residual), arg!(residual_row_stride));
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
