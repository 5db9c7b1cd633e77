//! The body of products of bf16 in tiles: grids of micro-tiles, each in one call into machine code.
//!
//! ```text
//! LOOP 2  panels in blocks of NC                   they stay in the second-level cache
//!   kernel: micro-tiles of the block of rows       a panel of A stays in the first-level cache
//! ```

use std::ops::Range;
use std::sync::Arc;

use gemmill_codegen::{
    Ahead, CodegenError, Expansion, FLOAT_PANEL, FloatFinish, FloatKernelArgs, FloatKernelDesc, FloatPrefetch,
    FloatProducts, FloatRows, FloatStart, FloatType, GridArgs, HardwareDot, Kernel, KernelCache, Panels, Sweep,
};

use super::float::FloatVariant;
use super::{Block, Body, Destination, Residual, RowSize, Rows, RowsMut, Scratch, from};
use crate::error::{Error, Result, expect};
use crate::machine::memory::Lines;
use crate::operands::{Operand, float_row_bytes};
use crate::plan::float_grid::{FloatGridPlan, PANEL};
use crate::plan::grid::{PanelKind, in_twos};
use crate::plan::{Loops, Run};
use crate::views::MatRef;
use crate::weights::float::tiles::panel_bytes;

/// How products are summed here.
const PRODUCTS: FloatProducts = FloatProducts::Dot(HardwareDot::AmxBf16);

/// The kernels of a plan: `[PanelKind][tall or short tile]`.
#[derive(Debug)]
pub(crate) struct FloatGridKernels {
    variant: FloatVariant,
    table: [[Option<Arc<Kernel<FloatKernelDesc>>>; 2]; 3],
}

impl FloatGridKernels {
    /// All kernels that a plan needs.
    pub(crate) fn new(variant: FloatVariant, plan: &FloatGridPlan) -> Result<FloatGridKernels, CodegenError> {
        let mut table = [const { [const { None }; 2] }; 3];
        for (kind, short_tile) in places() {
            if let Some(desc) = kernel_desc(&variant, plan, kind, short_tile) {
                table[kind as usize][usize::from(short_tile)] = Some(KernelCache::global().get(&desc)?);
            }
        }
        Ok(FloatGridKernels { variant, table })
    }

    /// A plan, told.
    pub(crate) fn describe(variant: &FloatVariant, plan: &FloatGridPlan) -> String {
        let kernels = places().filter_map(|(kind, short_tile)| kernel_desc(variant, plan, kind, short_tile));
        super::describe(variant.tier, &plan.loops, kernels)
    }
}

fn places() -> impl Iterator<Item = (PanelKind, bool)> {
    PanelKind::ALL.into_iter().flat_map(|kind| [(kind, false), (kind, true)])
}

/// The kernel for some panels and micro-tiles of a plan, if it may need one.
fn kernel_desc(of: &FloatVariant, plan: &FloatGridPlan, kind: PanelKind, short_tile: bool) -> Option<FloatKernelDesc> {
    let tiles = plan.loops.tiles;
    let (rows, count) =
        if short_tile { (tiles.height.saturating_sub(1), tiles.short) } else { (tiles.height, tiles.tall) };
    let (full, tail) = (of.n / PANEL, of.n % PANEL);
    let (cols, exists) = match kind {
        PanelKind::Full => (PANEL, full > 0),
        PanelKind::Two => (PANEL, full > 1 && plan.side_by_side == Panels::Two),
        PanelKind::Tail => (tail, tail > 0),
    };
    let panels = if kind == PanelKind::Two { Panels::Two } else { Panels::One };
    let ahead = if kind == PanelKind::Tail { Ahead::Nothing } else { plan.ahead };
    (exists && count > 0).then(|| FloatKernelDesc {
        tier: of.tier,
        products: PRODUCTS,
        weights: FloatType::Bf16.into(),
        expansion: Expansion::Tiles,
        a: FloatRows::Strided,
        sweep: Sweep::Grid { k: of.k as u32, panels, ahead },
        rows: rows as u8,
        vectors: 2,
        cols: cols as u8,
        start: FloatStart::Zero,
        finish: FloatFinish::Epilogue(of.epilogue),
        c: of.c,
        prefetch: FloatPrefetch::None,
    })
}

/// A product: what [`FloatGridProduct::body`] checks.
pub(crate) struct FloatGridProduct<'a> {
    /// Panels of tiles, one behind the other.
    pub(crate) tiles: &'a [u8],
    pub(crate) plan: &'a FloatGridPlan,
    pub(crate) kernels: &'a FloatGridKernels,
    pub(crate) a: Operand<'a>,
    /// By padded column; empty if the epilogue has none.
    pub(crate) bias: &'a [f32],
    pub(crate) low: f32,
    pub(crate) high: f32,
    pub(crate) c: Destination<'a>,
    pub(crate) residual: Option<Residual<'a>>,
}

/// A product that is ready to be carried out. Its operands have the extents that its kernels read and write.
pub(crate) struct FloatGridBody<'a> {
    product: &'a FloatGridProduct<'a>,
    /// A, where kernels read it as it lies.
    in_place: Option<MatRef<'a, u8>>,
    size: RowSize,
}

impl<'a> FloatGridProduct<'a> {
    /// Checks the extents of all that kernels read and write.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for an array or an operand of another size than the epilogue and the plan ask for;
    /// [`Error::Overflow`] if a packed row of A does not fit the address space.
    #[inline(always)]
    pub(crate) fn body(&'a self) -> Result<FloatGridBody<'a>> {
        let of = &self.kernels.variant;
        let (rows, tiles) = (self.a.rows(), self.plan.loops.tiles);
        expect("columns of A in a product", of.k, self.a.cols())?;
        expect("rows of A in a plan", tiles.row(tiles.count()), rows)?;
        expect("rows of C in a product", rows, self.c.rows)?;
        expect("columns of C in a product", of.n, self.c.cols)?;
        expect("panels of a plan", of.n.div_ceil(PANEL), self.plan.panels)?;
        expect("bytes of weights as tiles", self.plan.panels * panel_bytes(of.k), self.tiles.len())?;
        expect("bytes of an element of C", of.c.bytes(), self.c.element_bytes)?;
        let biases = if of.epilogue.bias { of.n.next_multiple_of(FLOAT_PANEL) } else { 0 };
        expect("biases by padded column", biases, self.bias.len())?;
        expect("residuals of an epilogue", of.epilogue.residual.into(), self.residual.is_some().into())?;
        let in_place = self.a.as_float_rows(PRODUCTS).filter(|_| self.plan.in_place);
        let overflow = Error::Overflow { what: "packed row of A" };
        let bytes = match in_place {
            Some(_) => 0,
            None => float_row_bytes(PRODUCTS, of.k).ok_or(overflow)?,
        };
        Ok(FloatGridBody { product: self, in_place, size: RowSize { bytes, terms: 0 } })
    }
}

impl Body for FloatGridBody<'_> {
    fn loops(&self) -> &Loops {
        &self.product.plan.loops
    }

    fn columns(&self) -> usize {
        self.product.plan.panels
    }

    fn row_size(&self) -> RowSize {
        self.size
    }

    fn prepares_in_pieces(&self) -> bool {
        true
    }

    fn prepare(&self, tiles: Range<usize>, rows: RowsMut<'_>, _: &mut Scratch) -> Result<()> {
        let (all, k) = (self.product.plan.loops.tiles, self.product.kernels.variant.k);
        let (rows_of_a, out) = (all.row(tiles.start)..all.row(tiles.end), bytemuck::cast_slice_mut(rows.bytes));
        self.product.a.round_rows(rows_of_a, (PRODUCTS, k), self.size.bytes, out);
        Ok(())
    }

    fn multiply(&self, rows: Rows<'_>, block: Block, scratch: &mut Scratch) -> Result<()> {
        let plan = self.product.plan;
        let tiles = plan.loops.tiles;
        let (first_row, a) = match self.in_place {
            Some(a) => (0, a),
            None => (tiles.row(block.tiles.start), rows.of(&plan.loops, &block.tiles, self.size)),
        };
        let side_by_side = if plan.side_by_side == Panels::Two { 2 } else { 1 };
        let sums = tiles.height * PANEL * side_by_side + GridArgs::ROW_OF_NOTHING;
        scratch.sums.grow("partial sums", sums * size_of::<f32>())?;
        let runs = tiles.runs(block.tiles.start, block.tiles.end);
        let full = self.product.kernels.variant.n / PANEL;
        for panels in super::blocks(block.columns, plan.panels_per_block) {
            let end_of_full = panels.end.min(full).max(panels.start);
            let [twos, others] = in_twos(panels.start..end_of_full, plan.side_by_side);
            let parts = [twos, others, (PanelKind::Tail, end_of_full..panels.end)];
            for (short_tile, run) in runs.into_iter().enumerate() {
                for (kind, panels) in parts.clone() {
                    self.call((first_row, a), Call { kind, panels, run, short_tile }, &mut scratch.sums);
                }
            }
        }
        Ok(())
    }
}

/// One kernel call: all micro-tiles of a run against some panels.
struct Call {
    kind: PanelKind,
    panels: Range<usize>,
    run: Run,
    /// Whether the run has the shorter of the two tile heights.
    short_tile: usize,
}

impl FloatGridBody<'_> {
    /// A call; `a` has rows from `first_row` on.
    fn call(&self, (first_row, a): (usize, MatRef<'_, u8>), call: Call, sums: &mut Lines) {
        let Call { kind, panels, run, short_tile } = call;
        if run.tiles == 0 || panels.is_empty() {
            return;
        }
        let FloatGridProduct { tiles, kernels, bias, low, high, ref c, residual, .. } = *self.product;
        let kernel = kernels.table[kind as usize][short_tile].as_deref();
        let kernel = kernel.expect("a product has every kernel of its plan");
        let (desc, k) = (kernel.desc(), kernels.variant.k);
        assert!(usize::from(desc.rows) == run.height, "a kernel of the plan's micro-tile: {desc}");
        // What is read and written: a rectangle of C, whole steps of as many rows of A, the panels, the bias of them.
        let rows = run.first_row..run.first_row + run.tiles * run.height;
        let first_column = panels.start * PANEL;
        let columns = first_column..(panels.end - 1) * PANEL + usize::from(desc.cols);
        let bytes = k.div_ceil(PRODUCTS.group()) * PRODUCTS.group() * size_of::<u16>();
        let a_start = a.block(rows.start - first_row..rows.end - first_row, 0..bytes);
        let sums: &mut [f32] = sums.of_mut();
        assert!(desc.scratch_len() <= sums.len(), "room for partial sums");
        let mut args = FloatKernelArgs {
            a: a_start.cast(),
            a_row_stride: a.row_stride(),
            b: tiles[panels.start * panel_bytes(k)..panels.end * panel_bytes(k)].as_ptr(),
            tiles: run.tiles,
            grid: GridArgs::of_width(panels.len() / desc.sweep.panels()),
            c: c.rectangle(rows.clone(), columns),
            c_row_stride: c.row_stride_bytes(),
            scratch: sums.as_mut_ptr(),
            low,
            high,
            bias: from(bias, first_column, panels.len() * PANEL),
            residual: residual.map_or(std::ptr::null(), |residual| residual.at(rows.start, first_column)),
            residual_row_stride: residual.map_or(0, |residual| residual.row_stride_bytes()),
            ..FloatKernelArgs::EMPTY
        };
        // SAFETY: `FloatGridProduct::body` checked that operands, tiles, bias and C have the sizes that kernels read
        // and write, and the lines above that this call stays within them; nobody else has this part's rectangle of C.
        unsafe { kernel.run(&mut args) }
    }
}
