//! The body of products of weights of few bits by quantized activations: the loop over panels, the call into machine
//! code, and the epilogue.
//!
//! ```text
//! LOOP 2  panels                                   sums of MC × 32, then the epilogue
//!   kernel: micro-tiles of the block of rows
//! ```

use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::Arc;

use gemmill_codegen::{Byte, CodegenError, GROUP_PANEL, GroupKernelArgs, GroupKernelDesc, Kernel, KernelCache, Tier};
use half::{bf16, f16};

use super::{Block, Body, Destination, RowSize, Rows, RowsMut, Scratch};
use crate::error::{Result, expect};
use crate::function::Function;
use crate::operands::{Operand, RowParameters};
use crate::plan::Loops;
use crate::plan::groupwise::GroupwisePlan;
use crate::quant::ZeroPoints;
use crate::views::{ElementType, Float};
use crate::weights::PackedGroupwise;

/// Kernels for tall and short micro-tiles.
#[derive(Debug)]
pub(crate) struct GroupwiseKernels([Option<Arc<Kernel<GroupKernelDesc>>>; 2]);

impl GroupwiseKernels {
    /// All kernels that a plan needs.
    pub(crate) fn new(
        packed: &PackedGroupwise,
        plan: &GroupwisePlan,
        tier: Tier,
    ) -> Result<GroupwiseKernels, CodegenError> {
        let [tall, short] = descriptions(packed, plan, tier);
        let kernel = |desc: Option<GroupKernelDesc>| desc.map(|desc| KernelCache::global().get(&desc)).transpose();
        Ok(GroupwiseKernels([kernel(tall)?, kernel(short)?]))
    }

    /// A plan, told.
    pub(crate) fn describe(packed: &PackedGroupwise, plan: &GroupwisePlan, tier: Tier) -> String {
        super::describe(tier, &plan.loops, descriptions(packed, plan, tier).into_iter().flatten())
    }
}

/// The kernels of tall and of short micro-tiles, as far as a plan has such.
fn descriptions(packed: &PackedGroupwise, plan: &GroupwisePlan, tier: Tier) -> [Option<GroupKernelDesc>; 2] {
    let tiles = plan.loops.tiles;
    let kernel = |count: usize, rows: usize, prefetch| (count > 0).then(|| packed.kernel(tier, rows, prefetch));
    [
        kernel(tiles.tall, tiles.height, plan.prefetch[0]),
        kernel(tiles.short, tiles.height.saturating_sub(1), plan.prefetch[1]),
    ]
}

/// A product: what [`GroupwiseProduct::body`] checks.
pub(crate) struct GroupwiseProduct<'a> {
    pub(crate) packed: &'a PackedGroupwise,
    pub(crate) plan: &'a GroupwisePlan,
    pub(crate) kernels: &'a GroupwiseKernels,
    pub(crate) a: Operand<'a>,
    /// Scales by which rows are quantized.
    pub(crate) rows: &'a RowParameters,
    /// Empty if there is none.
    pub(crate) bias: &'a [f32],
    pub(crate) function: Function,
    pub(crate) c: Destination<'a>,
    pub(crate) c_type: ElementType,
}

/// A product that is ready to be carried out. Its operands have the extents that its kernels read and write.
pub(crate) struct GroupwiseBody<'a> {
    product: &'a GroupwiseProduct<'a>,
    size: RowSize,
}

impl<'a> GroupwiseProduct<'a> {
    /// Checks the extents of all that kernels read and write.
    ///
    /// # Errors
    /// [`Error::Mismatch`](crate::Error::Mismatch) for an array or an operand of another size than the plan asks for.
    pub(crate) fn body(&'a self) -> Result<GroupwiseBody<'a>> {
        let (rows, tiles) = (self.a.rows(), self.plan.loops.tiles);
        expect("columns of A in a product", self.packed.k(), self.a.cols())?;
        expect("rows of A in a plan", tiles.row(tiles.count()), rows)?;
        expect("rows of C in a product", rows, self.c.rows)?;
        expect("columns of C in a product", self.packed.n(), self.c.cols)?;
        expect("bytes of an element of C", self.c_type.bytes(), self.c.element_bytes)?;
        expect("row scales", rows, self.rows.scales.len())?;
        if !self.bias.is_empty() {
            expect("biases", self.packed.n(), self.bias.len())?;
        }
        let size = RowSize { bytes: self.packed.padded_k(), terms: self.packed.chunks().len() };
        Ok(GroupwiseBody { product: self, size })
    }
}

impl Body for GroupwiseBody<'_> {
    fn loops(&self) -> &Loops {
        &self.product.plan.loops
    }

    fn columns(&self) -> usize {
        self.product.packed.n().div_ceil(GROUP_PANEL)
    }

    fn row_size(&self) -> RowSize {
        self.size
    }

    fn prepares_in_pieces(&self) -> bool {
        true
    }

    /// Rows as i8, padded to whole chunks of k, and what zero points of weights take out of each group: by micro-tile,
    /// group, row.
    fn prepare(&self, tiles: Range<usize>, to: RowsMut<'_>, _: &mut Scratch) -> Result<()> {
        let GroupwiseProduct { packed, plan, a, .. } = *self.product;
        let (all, k) = (plan.loops.tiles, packed.k());
        let RowSize { bytes: padded, terms: groups } = self.size;
        let format = packed.format();
        let factor = match format.zero_points {
            ZeroPoints::Middle => -i32::from(format.bits.middle()),
            ZeroPoints::Each => -1,
        };
        let first_row = all.row(tiles.start);
        gemmill_codegen::vectorize(|| {
            for tile in tiles.clone() {
                let rows = all.row(tile)..all.row(tile + 1);
                let terms = &mut to.terms[(rows.start - first_row) * groups..][..rows.len() * groups];
                for row in rows.clone() {
                    let out = &mut to.bytes[(row - first_row) * padded..][..padded];
                    let (quantized, padding) = out.split_at_mut(k);
                    if k > 0 {
                        a.integers(row, Byte::I8, quantized, k);
                    }
                    padding.fill(0);
                    for (g, group) in quantized.chunks(format.group_size.elements()).enumerate() {
                        let sum: i32 = group.iter().map(|&x| i32::from(x as i8)).sum();
                        terms[g * rows.len() + row - rows.start] = sum * factor;
                    }
                }
            }
        });
        Ok(())
    }

    fn multiply(&self, rows: Rows<'_>, block: Block, scratch: &mut Scratch) -> Result<()> {
        let count = rows.of(&self.product.plan.loops, &block.tiles, self.size).rows();
        scratch.sums.grow("sums of a panel", count * GROUP_PANEL * size_of::<f32>())?;
        for panel in block.columns.clone() {
            self.run_panel(rows, &block.tiles, panel, scratch);
        }
        Ok(())
    }
}

impl GroupwiseBody<'_> {
    /// LOOP 2: one panel against the block of rows.
    fn run_panel(&self, rows: Rows<'_>, tiles: &Range<usize>, panel: usize, scratch: &mut Scratch) {
        let GroupwiseProduct { packed, plan, kernels, bias, function, ref c, c_type, rows: parameters, .. } =
            *self.product;
        let (all, groups) = (plan.loops.tiles, self.size.terms);
        let a = rows.of(&plan.loops, tiles, self.size);
        let (first_row, first_of_terms) = (all.row(tiles.start), all.row(rows.first_tile));
        let sums = &mut scratch.sums.of_mut::<f32>()[..a.rows() * GROUP_PANEL];
        sums.fill(0.0);
        for (kernel, run) in kernels.0.iter().zip(all.runs(tiles.start, tiles.end)) {
            if run.tiles == 0 || groups == 0 {
                continue;
            }
            let kernel = kernel.as_deref().expect("a product has every kernel of its plan");
            let (row, count) = (run.first_row - first_row, run.tiles * run.height);
            assert!(
                usize::from(kernel.desc().rows) == run.height,
                "a kernel of the plan's micro-tile: {}",
                kernel.desc()
            );
            let mut args = GroupKernelArgs {
                a: a.block(row..row + count, 0..a.cols()).cast(),
                a_row_stride: a.row_stride(),
                b: packed.panels_from(panel).as_ptr(),
                chunks: packed.chunks().as_ptr(),
                groups,
                tiles: run.tiles,
                prefetch_distance: plan.prefetch_distance,
                terms: rows.terms[(run.first_row - first_of_terms) * groups..][..count * groups].as_ptr(),
                sums: sums[row * GROUP_PANEL..][..count * GROUP_PANEL].as_mut_ptr(),
                groups_left: 0,
            };
            // SAFETY: packing made the panel for these groups and chunks; `prepare` wrote padded rows of A and a term
            // for each group and row of the run's tiles, and the sums have a row for each of them, as the lines above
            // check.
            unsafe { kernel.run(&mut args) }
        }
        let column = panel * GROUP_PANEL;
        let cols = GROUP_PANEL.min(packed.n() - column);
        let finish = Finish {
            sums,
            scales: &parameters.scales[first_row..][..a.rows()],
            bias: bias.get(column..column + cols),
            function,
            c: c.rectangle(first_row..first_row + a.rows(), column..column + cols),
            row_stride_bytes: c.row_stride_bytes(),
            cols,
        };
        match c_type {
            ElementType::F32 => finish.run::<f32>(),
            ElementType::F16 => finish.run::<f16>(),
            ElementType::Bf16 => finish.run::<bf16>(),
            ElementType::U8 | ElementType::I8 | ElementType::I32 => {
                unreachable!("operations check that C holds floats")
            }
        }
    }
}

/// The epilogue of a panel: from sums, with the scales of their rows, to C.
struct Finish<'a> {
    sums: &'a [f32],
    scales: &'a [f32],
    bias: Option<&'a [f32]>,
    function: Function,
    /// A rectangle of C, with as many rows as there are scales.
    c: *mut u8,
    row_stride_bytes: usize,
    cols: usize,
}

impl Finish<'_> {
    fn run<C: Float>(&self) {
        // Too large for the compiler to inline it into `vectorize`: each multiply-add would be a call.
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2,fma")]
            fn with_avx2<C: Float>(finish: &Finish<'_>) {
                finish.rows::<C>();
            }
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                // SAFETY: the two features that the function is compiled for were detected on the line above.
                return unsafe { with_avx2::<C>(self) };
            }
        }
        self.rows::<C>();
    }

    #[inline(always)]
    fn rows<C: Float>(&self) {
        for (i, (sums, &scale)) in self.sums.chunks_exact(GROUP_PANEL).zip(self.scales).enumerate() {
            let at = self.c.wrapping_add(i * self.row_stride_bytes).cast::<MaybeUninit<C>>();
            // SAFETY: the rectangle of C has this row and `cols` columns, and nobody else uses it.
            let out = unsafe { std::slice::from_raw_parts_mut(at, self.cols) }.iter_mut().zip(sums);
            let store = |c: &mut MaybeUninit<C>, x: f32| {
                c.write(C::from_f32(x));
            };
            let function = |x| self.function.apply(x);
            match (self.bias, self.function) {
                (None, Function::Identity) => out.for_each(|(c, &x)| store(c, x * scale)),
                (Some(bias), Function::Identity) => {
                    out.zip(bias).for_each(|((c, &x), &b)| store(c, x.mul_add(scale, b)));
                }
                (None, _) => out.for_each(|(c, &x)| store(c, function(x * scale))),
                (Some(bias), _) => {
                    out.zip(bias).for_each(|((c, &x), &b)| store(c, function(x.mul_add(scale, b))));
                }
            }
        }
    }
}
