//! The frame of every generated kernel, whatever its family: what it saves and hands back, the loop over micro-tiles,
//! registers by role, accumulators and temporaries, and which lowering a tier has.
//!
//! ```text
//! push │ prepare │ configure tiles ┐
//!      ┌───────────────────────────┘
//!      └─→ start │ main loop │ finish │ advance ──→ next micro-tile, or: release tiles │ pop │ ret
//! ```
//!
//! A family fills it in as a [`Body`].

pub(crate) mod grid;
pub(crate) mod tiles;

use std::cell::Cell;

use dynasmrt::DynamicLabel;

use crate::CodegenError;
use crate::machine::tier::Tier;
use crate::x86::asm::{Gpr, MachineCode, Mem};
use crate::x86::avx2::Avx2;
use crate::x86::avx512::Avx512;
use crate::x86::encode::table;
use crate::x86::lowering::{Lowering, Source, TileOp, Vector};
use crate::x86::rows::RowStrides;

/// General-purpose registers by role, in all families. A family adds what its own parts need of the others.
pub(crate) mod role {
    use crate::x86::asm::Gpr;

    /// The argument block, for the whole call.
    pub(crate) const ARGS: Gpr = Gpr::Rdi;
    /// Row 0 of the micro-tile at the current k; main loop only.
    pub(crate) const A: Gpr = Gpr::Rsi;
    /// Packed weights at the current k; main loop only.
    pub(crate) const B: Gpr = Gpr::R9;
    /// 1, 3, 5, 7, 9, 11 and 13 times the row stride of A, as many as a micro-tile's rows need; main loop only.
    pub(crate) const STRIDES: [Gpr; 7] = [Gpr::Rax, Gpr::Rcx, Gpr::Rdx, Gpr::R13, Gpr::R14, Gpr::R15, Gpr::R12];
    /// What is left of a loop; main loop only.
    pub(crate) const COUNT: Gpr = Gpr::R10;
    /// Free between the parts.
    pub(crate) const SCRATCH: Gpr = Gpr::R11;
}

/// The address of an argument: a field of the type that is called `Args` where this stands.
macro_rules! arg {
    ($field:ident) => {
        crate::x86::asm::Mem::at(crate::frame::role::ARGS, std::mem::offset_of!(Args, $field))
    };
}
pub(crate) use arg;

/// Where an argument block has what the frame reads: offsets of its fields.
pub(crate) struct FrameArgs {
    /// Number of micro-tiles left.
    pub(crate) tiles: usize,
    /// Bytes from row to row of A.
    pub(crate) a_row_stride: usize,
    /// Scratch memory of the current micro-tile, in families that have some.
    pub(crate) scratch: usize,
}

/// A kernel's micro-tile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) tier: Tier,
    pub(crate) rows: usize,
    /// Vectors of accumulators per row.
    pub(crate) vectors: usize,
    /// 32-bit lanes of a vector.
    pub(crate) lanes: usize,
    /// Whether sums are in tile registers while products are added.
    pub(crate) has_tiles: bool,
}

/// What a family puts into the frame.
pub(crate) trait Body: Copy {
    /// Where its arguments are.
    const ARGS: FrameArgs;

    /// Its micro-tile.
    fn shape(&self) -> Shape;
    /// Registers that each accumulator takes, of so many registers in all.
    fn registers_per_accumulator(&self, _registers: usize) -> usize {
        1
    }
    /// The callee-saved registers that the kernel writes.
    fn saved(&self) -> &'static [Gpr] {
        &Gpr::CALLEE_SAVED
    }

    /// The whole kernel, if it is one of a [grid], and whether it is.
    fn grid<L: Lowering>(_: &mut Builder<Self, L>) -> bool {
        false
    }
    /// Once for all micro-tiles of a call.
    fn prepare<L: Lowering>(_: &mut Builder<Self, L>) {}
    /// The beginning of a micro-tile: where its sums begin.
    fn start<L: Lowering>(b: &mut Builder<Self, L>);
    /// All products of a micro-tile.
    fn main_loop<L: Lowering>(b: &mut Builder<Self, L>);
    /// What becomes of a micro-tile's sums.
    fn finish<L: Lowering>(b: &mut Builder<Self, L>);
    /// Moves pointers to the next micro-tile.
    fn advance<L: Lowering>(b: &mut Builder<Self, L>);
}

/// The kernel under construction: its description and its tier's lowering.
pub(crate) struct Builder<D, L> {
    pub(crate) desc: D,
    pub(crate) low: L,
    /// In the epilogue of a grid, which has what it reads in registers of its own: its first row in the micro-tile.
    pub(crate) in_grid: Option<usize>,
    /// Whether a part asked for a temporary that accumulators leave no register for.
    short: Cell<bool>,
}

const NO_REGISTER: CodegenError = CodegenError::Unsupported("the micro-tile leaves too few registers");

impl<D: Body, L: Lowering> Builder<D, L> {
    /// Rows of the micro-tile.
    pub(crate) fn rows(&self) -> usize {
        self.desc.shape().rows
    }

    /// Vectors of accumulators per row.
    pub(crate) fn vectors(&self) -> usize {
        self.desc.shape().vectors
    }

    /// Whether sums are in tile registers while products are added.
    pub(crate) fn has_tiles(&self) -> bool {
        self.desc.shape().has_tiles
    }

    /// 32-bit lanes of a vector.
    pub(crate) fn lanes(&self) -> usize {
        self.desc.shape().lanes
    }

    /// Bytes of a vector.
    pub(crate) fn vector_bytes(&self) -> usize {
        self.lanes() * size_of::<u32>()
    }

    /// Accumulator of row `r`, vector `v`.
    pub(crate) fn acc(&self, r: usize, v: usize) -> Vector {
        Vector((r * self.vectors() + v) as u8)
    }

    /// All accumulators, row after row.
    pub(crate) fn accs(&self) -> impl Iterator<Item = Vector> + use<D, L> {
        (0..(self.rows() * self.vectors()) as u8).map(Vector)
    }

    /// Registers that accumulators take.
    fn taken(&self) -> usize {
        if self.has_tiles() {
            return 0;
        }
        self.rows() * self.vectors() * self.desc.registers_per_accumulator(L::REGISTERS)
    }

    /// Registers free of accumulators.
    pub(crate) fn free(&self) -> usize {
        L::REGISTERS.saturating_sub(self.taken())
    }

    /// The `i`-th register from the end. Generation fails if it is not free of accumulators.
    pub(crate) fn temp(&self, i: usize) -> Vector {
        if i >= self.free() {
            self.short.set(true);
            return Vector(0);
        }
        Vector((L::REGISTERS - 1 - i) as u8)
    }

    /// A constant whose 32-bit lanes are all `x`.
    pub(crate) fn repeated(&mut self, x: u32) -> DynamicLabel {
        let lanes = self.lanes();
        self.low.asm().constant(&vec![x; lanes])
    }

    /// A constant whose lanes are all `x`.
    pub(crate) fn number(&mut self, x: f32) -> Source {
        Source::Constant(self.repeated(x.to_bits()))
    }

    /// Computes the multiples of the row stride that [`Builder::row_of_a`] takes.
    pub(crate) fn compute_strides(&mut self) {
        let rows = self.rows();
        RowStrides(&role::STRIDES).compute(self.low.asm(), Mem::at(role::ARGS, D::ARGS.a_row_stride), rows);
    }

    /// Row `r` of A, `p` being row 0.
    pub(crate) fn row_of_a(&self, p: Gpr, r: usize) -> Mem {
        RowStrides(&role::STRIDES).row(p, r)
    }

    /// Points [`role::SCRATCH`] at the micro-tile's partial sums.
    pub(crate) fn point_at_scratch(&mut self) {
        self.low.asm().load64(role::SCRATCH, Mem::at(role::ARGS, D::ARGS.scratch));
    }

    /// Accumulators begin at the micro-tile's partial sums.
    pub(crate) fn load_scratch(&mut self) {
        self.point_at_scratch();
        self.load_accs(Mem::at(role::SCRATCH, 0));
    }

    /// Accumulators become the micro-tile's partial sums.
    pub(crate) fn store_scratch(&mut self) {
        self.point_at_scratch();
        self.store_accs(Mem::at(role::SCRATCH, 0));
    }

    /// Loads all accumulators from an array.
    pub(crate) fn load_accs(&mut self, at: Mem) {
        let bytes = self.vector_bytes();
        self.accs().enumerate().for_each(|(i, acc)| self.low.load(acc, at.offset(i * bytes).into()));
    }

    /// Stores all accumulators to an array.
    pub(crate) fn store_accs(&mut self, at: Mem) {
        let bytes = self.vector_bytes();
        self.accs().enumerate().for_each(|(i, acc)| self.low.store(at.offset(i * bytes), acc));
    }

    /// `*pointer += *stride * rows`
    pub(crate) fn advance_by_rows(&mut self, pointer: Mem, stride: Mem) {
        let rows = self.rows();
        let asm = self.low.asm();
        asm.load64(role::SCRATCH, stride);
        asm.multiply_imm(role::SCRATCH, rows);
        asm.add_to(pointer, role::SCRATCH);
    }

    /// All micro-tiles, one after the other.
    fn micro_tiles(&mut self, has_tiles: bool) {
        if has_tiles {
            self.micro_tile().configure(&mut self.low);
        }
        let next_tile = self.low.asm().label();
        self.low.asm().place(next_tile);
        D::start(self);
        D::main_loop(self);
        D::finish(self);
        D::advance(self);
        self.low.asm().dec_mem_jump_not_zero(Mem::at(role::ARGS, D::ARGS.tiles), next_tile);
        if has_tiles {
            self.low.tile(TileOp::Release);
        }
    }

    /// The whole kernel.
    fn kernel(&mut self) {
        let (saved, has_tiles) = (self.desc.saved(), self.has_tiles());
        saved.iter().for_each(|&r| self.low.asm().push(r));
        D::prepare(self);
        if !D::grid(self) {
            self.micro_tiles(has_tiles);
        }
        self.low.leave();
        let asm = self.low.asm();
        saved.iter().rev().for_each(|&r| asm.pop(r));
        asm.ret();
    }
}

/// What is built of the vector operations of any tier.
pub(crate) trait Build {
    /// The code.
    fn build<L: Lowering>(self, low: L) -> Result<MachineCode, CodegenError>;
}

/// Builds with the lowering of a tier's vectors of so many lanes.
///
/// # Errors
/// [`CodegenError::Unsupported`] if the tier has no such vectors, and what the builder says.
pub(crate) fn lower(tier: Tier, lanes: usize, what: impl Build) -> Result<MachineCode, CodegenError> {
    let facts = tier.facts();
    match lanes {
        _ if tier == Tier::Portable => Err(CodegenError::Unsupported("the portable tier has no machine code")),
        // Sixteen registers serve bodies of eight lanes, on every tier.
        8 if !facts.dots => what.build(Avx2::new(None)),
        8 if facts.lanes == 8 => what.build(Avx2::new(Some(&table::VPDPBUSD_VEX))),
        8 => what.build(Avx2::new(Some(&table::VPDPBUSD))),
        _ if lanes == facts.lanes => what.build(Avx512::new()),
        _ => Err(CodegenError::Unsupported("the tier has no such vectors")),
    }
}

/// The code of a kernel.
///
/// # Errors
/// [`CodegenError::Unsupported`] if the tier has no such vectors or too few registers, [`CodegenError::Assemble`] if
/// the lowering cannot do what the body asks for.
pub(crate) fn generate<D: Body>(desc: D) -> Result<MachineCode, CodegenError> {
    let Shape { tier, lanes, .. } = desc.shape();
    lower(tier, lanes, Kernel(desc))
}

/// A kernel of this description.
struct Kernel<D>(D);

impl<D: Body> Build for Kernel<D> {
    fn build<L: Lowering>(self, low: L) -> Result<MachineCode, CodegenError> {
        let mut builder = Builder { desc: self.0, low, in_grid: None, short: Cell::new(false) };
        if builder.taken() > L::REGISTERS {
            return Err(NO_REGISTER);
        }
        builder.kernel();
        if builder.short.get() {
            return Err(NO_REGISTER);
        }
        builder.low.finish()
    }
}

#[cfg(test)]
mod tests;
