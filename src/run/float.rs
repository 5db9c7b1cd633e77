//! The body of products of floats: loops over strips and passes of K, and the call into machine code.
//!
//! ```text
//! LOOP 2  panels of columns
//!   LOOP 3  K in passes of KC                      partial sums of the panel between them; B is prefetched
//!     LOOP 4  strips of NR columns, of the panel
//!       kernel: micro-tiles of the block of rows   the first may keep the strip's weights as f32
//! ```
//!
//! Where the plan goes along rows of strips, micro-tiles of the block take the place of loop 2, and the kernel goes
//! through all strips itself, with all of K.

use std::ops::Range;
use std::sync::Arc;

use gemmill_codegen::{
    CodegenError, Expansion, FLOAT_PANEL, FloatEpilogue, FloatFinish, FloatKernelArgs, FloatKernelDesc, FloatPrefetch,
    FloatProducts, FloatRows, FloatStart, FloatType, FloatWeights, Kernel, KernelCache, Sweep, Tier,
};
use half::bf16;

use super::{Block, Body, Destination, Residual, RowSize, Rows, RowsMut, Scratch, from};
use crate::error::{Error, Result, expect};
use crate::machine::memory::LINE;
use crate::operands::{Operand, float_row_bytes};
use crate::plan::float::FloatPlan;
use crate::plan::{Loops, Run};
use crate::views::MatRef;
use crate::weights::Weights;

/// What kernels depend on besides the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FloatVariant {
    pub(crate) tier: Tier,
    pub(crate) products: FloatProducts,
    pub(crate) weights: FloatWeights,
    pub(crate) k: usize,
    pub(crate) n: usize,
    /// Whether sums begin at a multiple of C.
    pub(crate) reads_c: bool,
    pub(crate) epilogue: FloatEpilogue,
    /// The type of C and of the residual.
    pub(crate) c: FloatType,
}

/// A product: what [`FloatProduct::body`] checks.
pub(crate) struct FloatProduct<'a> {
    pub(crate) weights: &'a Weights,
    pub(crate) plan: &'a FloatPlan,
    pub(crate) kernels: &'a FloatKernels,
    pub(crate) a: Operand<'a>,
    /// By padded column; empty if the epilogue has none.
    pub(crate) bias: &'a [f32],
    pub(crate) beta: f32,
    pub(crate) low: f32,
    pub(crate) high: f32,
    pub(crate) c: Destination<'a>,
    pub(crate) residual: Option<Residual<'a>>,
}

/// Where a kernel stands among those of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct KernelPlace {
    /// The last one, if it is narrower than the others.
    narrow_strip: bool,
    /// The shorter of the two tile heights.
    short_tile: bool,
    first_pass: bool,
    last_pass: bool,
    tile: TileRole,
}

/// What a micro-tile does besides its product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TileRole {
    /// The first of a block: it keeps weights for the others, where the plan says so.
    First,
    /// It prefetches the weights that come next.
    Prefetching,
    /// Nothing.
    Plain,
}

impl TileRole {
    const ALL: [TileRole; 3] = [TileRole::First, TileRole::Prefetching, TileRole::Plain];
}

impl KernelPlace {
    fn all() -> impl Iterator<Item = KernelPlace> {
        (0..KERNEL_PLACES).map(|i| {
            let bit = |b: usize| i >> b & 1 == 1;
            let (narrow_strip, short_tile, first_pass, last_pass) = (bit(0), bit(1), bit(2), bit(3));
            KernelPlace { narrow_strip, short_tile, first_pass, last_pass, tile: TileRole::ALL[i >> 4] }
        })
    }

    fn index(self) -> usize {
        let KernelPlace { narrow_strip, short_tile, first_pass, last_pass, tile } = self;
        let bits = [narrow_strip, short_tile, first_pass, last_pass].map(usize::from);
        (tile as usize) << 4 | bits[3] << 3 | bits[2] << 2 | bits[1] << 1 | bits[0]
    }
}

const KERNEL_PLACES: usize = 3 << 4;

/// The kernels of a plan, by place.
#[derive(Debug)]
pub(crate) struct FloatKernels {
    variant: FloatVariant,
    by_place: [Option<Arc<Kernel<FloatKernelDesc>>>; KERNEL_PLACES],
}

impl FloatKernels {
    /// All kernels that a plan needs.
    pub(crate) fn new(variant: FloatVariant, plan: &FloatPlan) -> Result<FloatKernels, CodegenError> {
        let mut by_place = [const { None }; KERNEL_PLACES];
        for place in KernelPlace::all() {
            if let Some(desc) = kernel_desc(&variant, plan, place) {
                by_place[place.index()] = Some(KernelCache::<FloatKernelDesc>::global().get(&desc)?);
            }
        }
        Ok(FloatKernels { variant, by_place })
    }

    /// A plan, told.
    pub(crate) fn describe(variant: &FloatVariant, plan: &FloatPlan) -> String {
        let kernels = KernelPlace::all().filter_map(|place| kernel_desc(variant, plan, place));
        super::describe(variant.tier, &plan.loops, kernels)
    }
}

/// The kernel at a place of the plan, if the plan may need one there.
fn kernel_desc(of: &FloatVariant, plan: &FloatPlan, place: KernelPlace) -> Option<FloatKernelDesc> {
    let (tiles, passes) = (plan.loops.tiles, plan.passes(of.k));
    let (height, count) =
        if place.short_tile { (tiles.height.saturating_sub(1), tiles.short) } else { (tiles.height, tiles.tall) };
    let (vectors, cols, sweep, strips) = if place.narrow_strip {
        let cols = of.n - plan.whole_strips * plan.strip;
        (plan.last_vectors, cols, Sweep::Column, plan.strips - plan.whole_strips)
    } else {
        (plan.vectors, plan.strip, plan.sweep, plan.whole_strips)
    };
    let exists = count > 0
        && strips > 0
        && (place.first_pass || passes > 1)
        && (place.last_pass || passes > 1)
        && (place.first_pass || place.last_pass || passes > 2)
        && !(place.first_pass && place.last_pass && passes > 1)
        && match place.tile {
            TileRole::First => true,
            TileRole::Prefetching => plan.prefetching_tiles > 0 && !(place.narrow_strip && place.last_pass),
            TileRole::Plain => tiles.count() > 1,
        };
    exists.then(|| FloatKernelDesc {
        tier: of.tier,
        products: of.products,
        weights: of.weights,
        expansion: match (plan.keeps, place.tile) {
            (false, _) => Expansion::InRegisters,
            (true, TileRole::First) => Expansion::Kept,
            (true, _) => Expansion::Reused,
        },
        a: plan.rows_of_a(of.products),
        sweep,
        rows: height as u8,
        vectors: vectors as u8,
        cols: cols as u8,
        start: match place.first_pass {
            true if of.reads_c => FloatStart::Beta,
            true => FloatStart::Zero,
            false => FloatStart::Scratch,
        },
        finish: if place.last_pass { FloatFinish::Epilogue(of.epilogue) } else { FloatFinish::Scratch },
        c: of.c,
        prefetch: match place.tile {
            TileRole::First if plan.prefetch => FloatPrefetch::Ahead,
            TileRole::Prefetching => FloatPrefetch::Next,
            _ => FloatPrefetch::None,
        },
    })
}

/// A product that is ready to be carried out. Its operands have the extents that its kernels read and write.
pub(crate) struct FloatBody<'a> {
    product: &'a FloatProduct<'a>,
    /// A, where kernels read it as it lies.
    in_place: Option<MatRef<'a, u8>>,
    size: RowSize,
}

impl<'a> FloatProduct<'a> {
    /// Checks the extents of all that kernels read and write.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for an array or an operand of another size than the epilogue and the plan ask for;
    /// [`Error::Overflow`] if a packed row of A does not fit the address space.
    #[inline(always)]
    pub(crate) fn body(&'a self) -> Result<FloatBody<'a>> {
        let of = &self.kernels.variant;
        let (plan, rows, tiles) = (self.plan, self.a.rows(), self.plan.loops.tiles);
        expect("K of kernels", self.weights.k(), of.k)?;
        expect("N of kernels", self.weights.n(), of.n)?;
        expect("columns of A in a product", of.k, self.a.cols())?;
        expect("rows of A in a plan", tiles.row(tiles.count()), rows)?;
        expect("rows of C in a product", rows, self.c.rows)?;
        expect("columns of C in a product", of.n, self.c.cols)?;
        expect("bytes of an element of C", of.c.bytes(), self.c.element_bytes)?;
        let biases = if of.epilogue.bias { of.n.next_multiple_of(FLOAT_PANEL) } else { 0 };
        expect("biases by padded column", biases, self.bias.len())?;
        expect("residuals of an epilogue", of.epilogue.residual.into(), self.residual.is_some().into())?;
        let in_place = self.a.as_float_rows(of.products).filter(|_| !plan.packs_a);
        let overflow = Error::Overflow { what: "packed row of A" };
        let bytes = match in_place {
            Some(_) => 0,
            None => float_row_bytes(of.products, of.k).ok_or(overflow)?,
        };
        Ok(FloatBody { product: self, in_place, size: RowSize { bytes, terms: 0 } })
    }
}

impl Body for FloatBody<'_> {
    fn loops(&self) -> &Loops {
        &self.product.plan.loops
    }

    fn columns(&self) -> usize {
        self.product.plan.strips
    }

    fn row_size(&self) -> RowSize {
        self.size
    }

    fn prepares_in_pieces(&self) -> bool {
        true
    }

    fn prepare(&self, tiles: Range<usize>, rows: RowsMut<'_>, _: &mut Scratch) -> Result<()> {
        match self.product.plan.rows_of_a(self.product.kernels.variant.products) {
            FloatRows::Interleaved => self.pack(&tiles, bytemuck::cast_slice_mut(rows.bytes)),
            FloatRows::Strided => {
                let FloatVariant { products, k, .. } = self.product.kernels.variant;
                let (all, out) = (self.product.plan.loops.tiles, bytemuck::cast_slice_mut(rows.bytes));
                let rows = all.row(tiles.start)..all.row(tiles.end);
                self.product.a.round_rows(rows, (products, k), self.size.bytes, out);
            }
        }
        Ok(())
    }

    fn multiply(&self, rows: Rows<'_>, block: Block, scratch: &mut Scratch) -> Result<()> {
        let FloatProduct { weights, plan, kernels, beta, low, high, ref c, residual, .. } = *self.product;
        let FloatVariant { products, k, .. } = kernels.variant;
        let (tiles, Block { tiles: of_block, columns: strips, .. }) = (plan.loops.tiles, block);
        let (first_row, a) = match self.in_place {
            Some(a) => (0, a),
            None => (tiles.row(of_block.start), rows.of(&plan.loops, &of_block, self.size)),
        };
        let count = tiles.row(of_block.end) - tiles.row(of_block.start);
        let Scratch { sums, expanded, constants, .. } = scratch;
        let constants_len = weights.packed().constants_len(plan.strip);
        let expanded_len = if plan.keeps { products.slots(plan.kc) * plan.strip } else { 0 };
        let sums_rows = match (plan.passes(k) > 1, plan.in_tiles) {
            (true, _) => count,
            (false, true) => tiles.height,
            (false, false) => 0,
        };
        constants.grow("constants of groups", constants_len * size_of::<f32>())?;
        expanded.grow("expanded weights", expanded_len * size_of::<f32>())?;
        sums.grow("partial sums", sums_rows * plan.strip * plan.strips_of_panel() * size_of::<f32>())?;
        let rows = RowsOfBlock {
            body: self,
            runs: tiles.runs(of_block.start, of_block.end),
            first_row,
            count,
            common: FloatKernelArgs {
                a_row_stride: a.row_stride(),
                b_panel_stride: weights.panel_bytes(),
                constants: constants.of_mut().as_mut_ptr(),
                expanded: expanded.of_mut().as_mut_ptr(),
                c_row_stride: c.row_stride_bytes(),
                residual_row_stride: residual.map_or(0, |residual| residual.row_stride_bytes()),
                beta,
                low,
                high,
                ..FloatKernelArgs::EMPTY
            },
            a,
        };
        let in_row = match plan.sweep {
            Sweep::Grid { .. } => unreachable!("grids have a body of their own"),
            Sweep::Column => strips.start..strips.start,
            Sweep::Row => strips.start..strips.end.min(plan.whole_strips),
        };
        if !in_row.is_empty() {
            rows.run_rows(in_row.clone());
        }
        let mut first = in_row.end;
        while first < strips.end {
            let end = strips.end.min((first + 1).next_multiple_of(plan.strips_of_panel()));
            rows.run_panel(first..end, sums.of_mut());
            first = end;
        }
        Ok(())
    }
}

/// How much of K is packed at a time.
const PACK_DEPTH: usize = 64;
/// Most rows of a micro-tile.
const MAX_ROWS: usize = 16;

impl FloatBody<'_> {
    /// Packs tiles of A into micro-panels.
    ///
    /// ```text
    /// tile:  k = 0: row 0, row 1, .. | k = 1: row 0, row 1, .. | ...
    /// ```
    fn pack(&self, tiles: &Range<usize>, out: &mut [f32]) {
        let (all, depth) = (self.product.plan.loops.tiles, self.product.kernels.variant.k);
        let mut out = out;
        gemmill_codegen::vectorize(|| {
            for tile in tiles.clone() {
                let rows = all.row(tile)..all.row(tile + 1);
                let height = rows.len();
                let (panel, rest) = std::mem::take(&mut out).split_at_mut(height * depth);
                out = rest;
                let mut piece = [[0f32; PACK_DEPTH]; MAX_ROWS];
                for k in (0..depth).step_by(PACK_DEPTH) {
                    let count = PACK_DEPTH.min(depth - k);
                    for (row, natural) in rows.clone().zip(&mut piece[..height]) {
                        self.product.a.read(row, k, &mut natural[..count]);
                    }
                    for (i, group) in panel[k * height..][..count * height].chunks_exact_mut(height).enumerate() {
                        group.iter_mut().zip(&piece).for_each(|(to, natural)| *to = natural[i]);
                    }
                }
            }
        });
    }
}

/// A block of rows against all columns of a part.
struct RowsOfBlock<'a, 'p> {
    body: &'a FloatBody<'p>,
    /// Its rows, as kernels read them.
    a: MatRef<'a, u8>,
    /// The first row of `a`.
    first_row: usize,
    /// Rows of the block.
    count: usize,
    /// Its micro-tiles.
    runs: [Run; 2],
    /// What all calls have in common.
    common: FloatKernelArgs,
}

impl RowsOfBlock<'_, '_> {
    /// LOOP 2 to LOOP 4: strips of full width against each micro-tile of the block, all of K.
    fn run_rows(&self, strips: Range<usize>) {
        let strip = self.strip(strips.start, 0..self.body.product.weights.k());
        let [tall, short] = self.runs;
        let first = if tall.tiles > 0 { (1, 0) } else { (0, short.tiles.min(1)) };
        let ((first_tall, tall), (first_short, short)) = (tall.split(first.0), short.split(first.1));
        for (tile, short_tile, run) in [
            (TileRole::First, false, first_tall),
            (TileRole::First, true, first_short),
            (TileRole::Plain, false, tall),
            (TileRole::Plain, true, short),
        ] {
            if run.tiles > 0 {
                let place = KernelPlace { narrow_strip: false, short_tile, first_pass: true, last_pass: true, tile };
                let calls = self.calls(place, &strip, strips.len());
                for i in 0..run.tiles {
                    let run = Run { first_row: run.first_row + i * run.height, tiles: 1, ..run };
                    calls.call(run, &mut [], std::ptr::null());
                }
            }
        }
    }

    /// LOOP 3 and LOOP 4: strips of one panel, or one of several panels, against the block of rows.
    fn run_panel(&self, strips: Range<usize>, sums: &mut [f32]) {
        let FloatProduct { plan, weights, .. } = *self.body.product;
        let k = weights.k();
        let passes = plan.passes(k);
        for pass in 0..passes {
            let depth = (pass * plan.kc).min(k)..((pass + 1) * plan.kc).min(k);
            // What the panel has behind this part is prefetched meanwhile, or the panel after it.
            let ends = strips.end == plan.strips && pass + 1 == passes;
            let mut prefetching = if ends { 0 } else { plan.prefetching_tiles };
            let mut next = PackedPart::new(weights, strips.start * plan.strip, depth.end, plan.strip).start;
            for number in strips.clone() {
                let strip = self.strip(number, depth.clone());
                let narrow_strip = number >= plan.whole_strips;
                let width = if narrow_strip { plan.strip / plan.vectors * plan.last_vectors } else { plan.strip };
                let mut done = (number - strips.start) * self.count * plan.strip;
                let mut first_tile = true;
                for (short_tile, run) in self.runs.into_iter().enumerate() {
                    let mut left = run;
                    while left.tiles > 0 {
                        let (tile, tiles) = match (first_tile, prefetching) {
                            (true, _) => (TileRole::First, 1),
                            (false, 0) => (TileRole::Plain, left.tiles),
                            (false, some) => (TileRole::Prefetching, some.min(left.tiles)),
                        };
                        let place = KernelPlace {
                            narrow_strip,
                            short_tile: short_tile == 1,
                            first_pass: pass == 0,
                            last_pass: pass + 1 == passes,
                            tile,
                        };
                        let sums = match (passes > 1, plan.in_tiles) {
                            (true, _) => &mut sums[done..],
                            (false, true) => &mut sums[..],
                            (false, false) => &mut [],
                        };
                        let (run, rest) = left.split(tiles);
                        self.calls(place, &strip, 1).call(run, sums, next);
                        if tile == TileRole::Prefetching {
                            prefetching -= tiles;
                            next = next.wrapping_add(tiles * prefetched_by_tile(depth.len()));
                        }
                        first_tile = false;
                        done += tiles * left.height * width;
                        left = rest;
                    }
                }
            }
        }
    }

    /// What calls have in common that multiply by a strip, in a pass of K.
    fn strip(&self, strip: usize, depth: Range<usize>) -> Strip {
        let FloatProduct { plan, weights, kernels, .. } = *self.body.product;
        let column = strip * plan.strip;
        let b = PackedPart::new(weights, column, depth.start, plan.strip);
        Strip {
            column,
            slots_before: depth.start / kernels.variant.products.depth_of_slot(),
            args: FloatKernelArgs {
                b: b.start,
                b_strip_stride: b.strip_stride,
                scales_from_b: b.scales_from_start,
                depth: depth.len(),
                ..self.common
            },
        }
    }

    /// Calls of the kernel at a place, for a strip or for so many from it on.
    fn calls<'k>(&'k self, place: KernelPlace, strip: &Strip, strips: usize) -> Calls<'k> {
        let FloatProduct { plan, kernels, bias, ref c, residual, .. } = *self.body.product;
        let kernel = kernels.by_place[place.index()].as_deref().expect("a product has every kernel of its plan");
        let (desc, column) = (kernel.desc(), strip.column);
        let cols = (strips - 1) * plan.strip + usize::from(desc.cols);
        let padded = (strips - 1) * plan.strip + desc.strip_cols();
        let height = usize::from(desc.rows);
        let all_of_k = place.first_pass && place.last_pass;
        let before = size_of::<f32>()
            * match desc.a {
                FloatRows::Interleaved => strip.slots_before * height,
                FloatRows::Strided => strip.slots_before,
            };
        Calls {
            kernel,
            c,
            residual,
            a: self.a,
            first_row: self.first_row,
            height,
            strips,
            cols: column..column + cols,
            before,
            sums: match (all_of_k, plan.in_tiles) {
                (true, false) => Sums::None,
                (true, true) => Sums::OfOneTile(desc.scratch_len()),
                (false, _) => Sums::OfEachTile(desc.scratch_len()),
            },
            args: FloatKernelArgs {
                a_tile_stride: height * self.a.row_stride(),
                bias: from(bias, column, padded),
                ..strip.args
            },
        }
    }
}

/// Calls of one kernel that differ in their rows: micro-tiles of a run against a part of a strip, or one of them
/// against strip after strip.
struct Calls<'a> {
    kernel: &'a Kernel<FloatKernelDesc>,
    c: &'a Destination<'a>,
    residual: Option<Residual<'a>>,
    /// Rows of the block, as kernels read them.
    a: MatRef<'a, u8>,
    /// The first row of `a`.
    first_row: usize,
    height: usize,
    strips: usize,
    cols: Range<usize>,
    /// Bytes of A before the pass.
    before: usize,
    sums: Sums,
    args: FloatKernelArgs,
}

/// Partial sums that a kernel has in memory: so many numbers.
enum Sums {
    None,
    OfOneTile(usize),
    OfEachTile(usize),
}

impl Calls<'_> {
    /// Calls the kernel for a run, which has its partial sums in `sums`; kernels that prefetch go on with `next`.
    ///
    /// What is read and written is a rectangle of C, as many rows of A, and the bias of whole strips.
    #[inline(always)]
    fn call(&self, run: Run, sums: &mut [f32], next: *const u8) {
        let rows = run.first_row..run.first_row + run.tiles * run.height;
        assert!(self.height == run.height, "a kernel of the plan's micro-tile: {}", self.kernel.desc());
        let in_block = rows.start - self.first_row..rows.end - self.first_row;
        let a = self.a.block(in_block, 0..self.a.cols());
        let sums_needed = match self.sums {
            Sums::None => 0,
            Sums::OfOneTile(len) => len,
            Sums::OfEachTile(len) => len * run.tiles,
        };
        assert!(sums_needed <= sums.len(), "room for partial sums");
        let first_row = rows.start;
        let mut args = FloatKernelArgs {
            a: a.wrapping_add(self.before).cast(),
            next,
            tiles: run.tiles.max(self.strips),
            c: self.c.rectangle(rows, self.cols.clone()),
            scratch: sums.as_mut_ptr(),
            residual: self.residual.map_or(std::ptr::null(), |residual| residual.at(first_row, self.cols.start)),
            ..self.args
        };
        // SAFETY: `FloatProduct::body` checked that operands, bias and C have the sizes that kernels read and write,
        // and `calls` and the lines above that this call stays within them; `multiply` made room for constants and
        // expanded weights; the strip and those behind it are packed; nobody else has this part's rectangle of C.
        unsafe { self.kernel.run(&mut args) }
    }
}

/// A strip in a pass of K.
struct Strip {
    column: usize,
    /// Slots of K before the pass.
    slots_before: usize,
    args: FloatKernelArgs,
}

/// Bytes that a micro-tile prefetches: a line for every two k.
fn prefetched_by_tile(depth: usize) -> usize {
    depth / 2 * LINE
}

/// Where kernels begin to read packed weights.
struct PackedPart {
    start: *const u8,
    scales_from_start: isize,
    strip_stride: usize,
}

impl PackedPart {
    /// The strip that begins with `column`, from `k` on: the first k of a group, where weights have some. The next one
    /// is `strip` columns further.
    fn new(weights: &Weights, column: usize, k: usize, strip: usize) -> PackedPart {
        let (packed, panel_stride, before) = (weights.packed(), weights.panel_bytes(), column % FLOAT_PANEL);
        let scales_from_start = match packed {
            FloatWeights::Numbers(_) => 0,
            FloatWeights::Groups(_) => -((before * size_of::<bf16>()) as isize),
        };
        let place = |column: usize| column / FLOAT_PANEL * panel_stride + packed.place(k, column % FLOAT_PANEL);
        let at = place(column);
        // Going back where panels have no bytes: then nothing is read.
        let strip_stride = place(column + strip).wrapping_sub(at);
        // Without any k there is nothing to read. The pointer may be walked back to scales: it is one to all of the
        // weights.
        let start = weights.bytes().as_ptr().wrapping_add(at.min(weights.bytes().len()));
        PackedPart { start, scales_from_start, strip_stride }
    }
}
