//! [`Gemm`]: an operation that is configured once and run many times.

use std::fmt;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use gemmill_codegen::{
    AZeroPoint, Epilogue, Finish, KernelCache, KernelDesc, MAX_PREFETCH_ROWS, Machine, Output, Prefetch, Start, Sweep,
};

use super::activation::{Activation, ActivationKind, ActivationQuantization};
use super::bound::Bound;
use super::builder::GemmBuilder;
use super::options::{RowParameters, RunOptions, Threads, with_row_parameters};
use super::output::{IntOutput, OutputStage};
use crate::error::{Error, Result, expect};
use crate::matrix::{Element, MatMut, MatRef, taken_stride};
use crate::pack::activations::{RowQuantization, Source};
use crate::pack::builder::{PackEffort, Weight};
use crate::pack::packed::PackedB;
use crate::parallel::ParallelFor;
use crate::plan::{KernelIndex, MACS_PER_THREAD, Plan, Problem, Resources};
use crate::quant::check_scale;
use crate::run::{self, Columns, Destination, Direction, Job, Kernels, Residual, Rows};

/// A product `C = epilogue(A · B)` with packed weights: configured once, run on any number of rows, from any thread.
///
/// `A` is the type of activations, `C` that of the output.
///
/// # Examples
/// ```
/// use gemmill::{Gemm, MatMut, MatRef, PackedB, Requantize};
/// let (m, n, k) = (2, 3, 4);
/// let a = [1u8, 2, 3, 4, 5, 6, 7, 8];
/// let b = [1i8, 0, -1, 1, 0, -1, 1, 0, -1, 1, 0, -1];
/// let weights = PackedB::new(MatRef::row_major(&b, k, n)?)?;
/// let gemm = Gemm::builder(&weights, Requantize::<u8>::new(0.5).zero_point(20)).a_zero_point(1).build()?;
/// let mut c = [0u8; 6];
/// gemm.run(MatRef::row_major(&a, m, k)?, &mut MatMut::row_major(&mut c, m, n)?)?;
/// assert_eq!(c, [23, 20, 17, 31, 20, 9]);
/// # Ok::<(), gemmill::Error>(())
/// ```
pub struct Gemm<A, C> {
    pub(super) packed: PackedB,
    pub(super) a_zero_point: i32,
    pub(super) quantization: Option<ActivationQuantization>,
    pub(super) threads: Threads,
    pub(super) bound: Bound,
    /// For products of few rows: `[rows - 1][A is read in place?]`.
    prepared: [[OnceLock<Prepared>; 2]; FEW_ROWS],
    /// Whether the next product of those that alternate begins with the last columns.
    backwards: AtomicBool,
    types: PhantomData<fn(A) -> C>,
}

/// Rows of a product that may be so small that choosing its plan and kernels takes as long as the product: they are kept.
const FEW_ROWS: usize = 12;

/// A plan, and its kernels for some epilogue.
struct Prepared {
    plan: Plan,
    kernels: Kernels,
}

impl<A: Activation, C: Element> Gemm<A, C> {
    /// An operation with these weights and this output.
    pub fn builder<'a, O: OutputStage<Element = C>>(packed: &'a PackedB, output: O) -> GemmBuilder<'a, A, O> {
        GemmBuilder::new(packed, output)
    }

    pub(super) fn new(
        packed: PackedB,
        a_zero_point: i32,
        quantization: Option<ActivationQuantization>,
        threads: Threads,
        bound: Bound,
    ) -> Self {
        Gemm {
            packed,
            a_zero_point,
            quantization,
            threads,
            bound,
            prepared: Default::default(),
            backwards: AtomicBool::new(false),
            types: PhantomData,
        }
    }

    /// The packed weights.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Gemm, IntOutput, MatRef, PackedB};
    /// let b = PackedB::new(MatRef::row_major(&[1i8; 12], 3, 4)?)?;
    /// assert_eq!(Gemm::<u8, i32>::builder(&b, IntOutput::Store).build()?.packed(), &b);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn packed(&self) -> &PackedB {
        &self.packed
    }

    /// Computes C from A: `M × (K * groups)` into `M × N`.
    ///
    /// No heap memory is allocated by a single-threaded call after the first one of its size on the same thread.
    ///
    /// The floating-point environment must be the usual one (to nearest, subnormals kept), as for all Rust code.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the shapes don't fit, [`Error::OutOfRange`] if an activation exceeds what packing was
    /// promised, [`Error::BadNumber`] if a row to quantize holds an infinity, [`Error::Overflow`] if A needs packing and a
    /// packed row would not fit the address space, [`Error::Codegen`] if the system refuses executable memory. C is
    /// untouched then.
    pub fn run(&self, a: MatRef<'_, A>, c: &mut MatMut<'_, C>) -> Result<()> {
        self.run_with(a, c, &RunOptions::default())
    }

    /// As [`Gemm::run`], with parameters by row, a residual, or threads of the caller's own.
    ///
    /// # Errors
    /// Also [`Error::Mismatch`], [`Error::OutOfRange`] and [`Error::BadNumber`] for the options, and
    /// [`Error::Unsupported`] for options that the operation's output has no use for; [`Error::NotRun`] if threads of the
    /// caller's own did not run all tasks, C being written in part then.
    pub fn run_with(&self, a: MatRef<'_, A>, c: &mut MatMut<'_, C>, options: &RunOptions<'_>) -> Result<()> {
        let (k, groups) = (self.packed.k(), self.packed.groups());
        let depth = k.checked_mul(groups).ok_or(Error::Overflow { what: "K times groups" })?;
        expect("columns of A against K of B times groups", depth, a.cols())?;
        expect("rows of C against rows of A", a.rows(), c.rows())?;
        expect("columns of C against columns of B", self.packed.n(), c.cols())?;
        let epilogue = self.epilogue(options, a.rows())?;
        let residual = options.residual.map(|r| residual(r, c)).transpose()?;

        if a.rows() == 0 {
            return Ok(());
        }
        with_row_parameters(|parameters| {
            self.row_parameters(&a, options, parameters)?;
            let source = A::source(a, self.row_quantization(parameters));
            self.check_activations(&source)?;
            if self.packed.n() == 0 {
                return Ok(());
            }
            let packed = self.packed.view();
            let activations = A::KIND.multiplied_as(packed);
            let in_place = run::reads_in_place(packed, source.as_rows_of(activations).is_some(), k);
            let for_this_run;
            let prepared = match self.keeps(a.rows(), epilogue) {
                true => self.kept(a.rows(), in_place)?,
                false => {
                    for_this_run = self.prepare(a.rows(), in_place, epilogue, options.parallel_for)?;
                    &for_this_run
                }
            };
            let per_row_zero_point = epilogue.a_zero_point == AZeroPoint::PerRow;
            let per_row_scale = matches!(epilogue.output, Output::Dequantize(d) if d.row_scale);
            let bound = &self.bound;
            let job = Job {
                packed,
                plan: &prepared.plan,
                a: source,
                activations,
                kernels: &prepared.kernels,
                columns: Columns {
                    term: if per_row_zero_point { &bound.bias_term } else { &bound.term },
                    correction: packed.corrections(),
                    zero_point: packed.column_zero_points(),
                    scale: if per_row_scale { &bound.b_scale } else { &bound.scale },
                    bias: &bound.bias,
                },
                rows: Rows { zero_point: &parameters.zero_points, scale: &parameters.scales },
                row_sum_factor: bound.row_sum_factor,
                c: Destination::new(c),
                residual,
                limits: bound.limits,
                direction: self.direction(&prepared.plan),
            };
            run::run(&job, options.parallel_for)
        })
    }

    /// The epilogue of a run with these options; checks them.
    fn epilogue(&self, options: &RunOptions<'_>, rows: usize) -> Result<Epilogue> {
        let mut epilogue = self.bound.epilogue;
        if A::KIND == ActivationKind::F32 && (options.row_zero_points.is_some() || options.row_scales.is_some()) {
            let what = "row zero points and scales are for integer activations";
            return Err(Error::Unsupported { what });
        }
        if let Some(zero_points) = options.row_zero_points {
            expect("row zero points", rows, zero_points.len())?;
            zero_points.iter().try_for_each(|&z| A::KIND.check_zero_point(z))?;
            epilogue.a_zero_point = AZeroPoint::PerRow;
        }
        if options.row_scales.is_some() || options.residual.is_some() {
            let Output::Dequantize(dequantize) = &mut epilogue.output else {
                return Err(Error::Unsupported { what: "row scales and a residual are for f32 outputs" });
            };
            dequantize.residual = options.residual.is_some();
            dequantize.row_scale |= options.row_scales.is_some();
        }
        if let Some(scales) = options.row_scales {
            expect("row scales", rows, scales.len())?;
            for &scale in scales {
                check_scale("row scale of A", scale)?;
            }
        }
        Ok(epilogue)
    }

    /// Fills in parameters by row.
    fn row_parameters(
        &self,
        a: &MatRef<'_, A>,
        options: &RunOptions<'_>,
        parameters: &mut RowParameters,
    ) -> Result<()> {
        parameters.zero_points.clear();
        parameters.scales.clear();
        parameters.inverses.clear();
        let moved = A::KIND.moved(self.packed.view());
        if let Some(given) = options.row_zero_points {
            parameters.zero_points.extend(given.iter().map(|&z| z + moved));
        }
        parameters.scales.extend_from_slice(options.row_scales.unwrap_or_default());
        let unused = RowQuantization::Static { inverse: 1.0, zero_point: 0 };
        match (self.quantization, A::source(*a, unused)) {
            (Some(ActivationQuantization::DynamicPerRow), Source::F32(a, _)) => parameters.fit_rows(&a),
            _ => Ok(()),
        }
    }

    /// How f32 rows are quantized; of no consequence for integers.
    fn row_quantization<'p>(&self, parameters: &'p RowParameters) -> RowQuantization<'p> {
        match self.quantization {
            None => RowQuantization::Static { inverse: 1.0, zero_point: 0 },
            Some(ActivationQuantization::Static(params)) => {
                RowQuantization::Static { inverse: params.inverse(), zero_point: params.zero_point() }
            }
            Some(ActivationQuantization::DynamicPerRow) => {
                RowQuantization::PerRow { inverses: &parameters.inverses, zero_points: &parameters.zero_points }
            }
        }
    }

    /// Checks activations against the bound that packing was promised.
    fn check_activations(&self, source: &Source<'_>) -> Result<()> {
        let bound = self.packed.activation_max();
        let Source::U8(a) = source else { return Ok(()) };
        if bound == u8::MAX {
            return Ok(());
        }
        let max = gemmill_codegen::vectorize(|| match a.row(0) {
            Some(_) => (0..a.rows())
                .filter_map(|i| a.row(i))
                .map(|row| row.iter().fold(0, |m, &x| x.max(m)))
                .max()
                .unwrap_or(0),
            None => (0..a.cols()).flat_map(|k| (0..a.rows()).map(move |i| a.at(i, k))).max().unwrap_or(0),
        });
        if max <= bound {
            return Ok(());
        }
        let what = "activation, by the bound that was declared when packing";
        Err(Error::OutOfRange { what, low: 0, high: bound.into(), given: max.into() })
    }

    pub(super) fn problem(
        &self,
        in_place: bool,
        rows: usize,
        own_threads: Option<&dyn ParallelFor>,
    ) -> Result<Problem> {
        let threads = self.threads.of_product(rows, self.packed.k(), self.packed.n(), own_threads);
        let macs_per_thread = if matches!(self.threads, Threads::Exactly(_)) { 0 } else { MACS_PER_THREAD };
        self.problem_given(in_place, rows, Resources { machine: Machine::of_this_cpu(), threads, macs_per_thread })
    }

    /// The problem of a product on any machine: a pure function.
    pub(super) fn problem_given(&self, in_place: bool, rows: usize, resources: Resources) -> Result<Problem> {
        let packed = self.packed.view();
        Ok(Problem {
            tier: self.packed.tier(),
            resources,
            rows,
            k: self.packed.k(),
            cols: self.packed.n(),
            layout: packed.layout(),
            vectors: packed.widest().map_or(1, |p| p.vectors),
            panels: packed.panels().len(),
            blocks: packed.blocks().len(),
            b_bytes: packed.data_bytes(),
            a_row_bytes: run::a_row_bytes(packed, in_place, self.packed.k())?,
            packs_a: !in_place,
        })
    }

    /// The kernels that a plan needs: all of them are there before anything is written.
    fn kernels(&self, plan: &Plan, epilogue: Epilogue) -> Result<Kernels> {
        let mut kernels = Kernels::default();
        for index in plan.kernel_places(self.packed.view().blocks().len()) {
            if let Some(desc) = self.kernel_desc(plan, epilogue, index) {
                *kernels.slot(index) = Some(KernelCache::global().get(&desc)?);
            }
        }
        Ok(kernels)
    }

    /// The kernel at a place of the plan, if the plan has one there.
    pub(super) fn kernel_desc(&self, plan: &Plan, epilogue: Epilogue, index: KernelIndex) -> Option<KernelDesc> {
        let packed = self.packed.view();
        let tiles = plan.tiles;
        let (rows, count) =
            if index.short_tile { (tiles.height.saturating_sub(1), tiles.short) } else { (tiles.height, tiles.tall) };
        let panel = if index.narrow_panel { packed.tail()? } else { packed.widest()? };
        (count > 0).then(|| KernelDesc {
            tier: self.packed.tier(),
            layout: packed.layout(),
            activations: A::KIND.multiplied_as(packed),
            rows: rows as u8,
            vectors: panel.vectors as u8,
            cols: panel.cols as u8,
            sections: packed.sections(),
            start: if index.first_pass { Start::Zero } else { Start::Scratch },
            finish: if index.last_pass { Finish::Epilogue(epilogue) } else { Finish::Scratch },
            // A panel that is not full stands alone in its row.
            sweep: if panel.is_full(packed.layout()) { plan.sweep } else { Sweep::Column },
            prefetch: if rows <= MAX_PREFETCH_ROWS { plan.prefetch } else { Prefetch::None },
        })
    }

    /// The direction of this product's first block of rows: the other one than last time, where the plan says so.
    fn direction(&self, plan: &Plan) -> Direction {
        // Which of two simultaneous products gets which does not matter.
        match plan.alternates && self.backwards.fetch_xor(true, Ordering::Relaxed) {
            true => Direction::Backwards,
            false => Direction::Forwards,
        }
    }

    /// Whether products of so many rows with this epilogue use what is kept: their plans don't depend on the thread pool.
    fn keeps(&self, rows: usize, epilogue: Epilogue) -> bool {
        let (k, n) = (self.packed.k(), self.packed.n());
        let one_thread = match self.threads {
            Threads::Max(1) => true,
            Threads::Exactly(_) => false,
            _ => !Plan::worth_threads(rows, k, n),
        };
        rows <= FEW_ROWS && one_thread && epilogue == self.bound.epilogue
    }

    /// What is kept for a number of rows from 1 to [`FEW_ROWS`], prepared by the first product.
    fn kept(&self, rows: usize, in_place: bool) -> Result<&Prepared> {
        let slot = &self.prepared[rows - 1][usize::from(in_place)];
        if let Some(prepared) = slot.get() {
            return Ok(prepared);
        }
        let prepared = self.prepare(rows, in_place, self.bound.epilogue, None)?;
        Ok(slot.get_or_init(|| prepared))
    }

    fn prepare(
        &self,
        rows: usize,
        in_place: bool,
        epilogue: Epilogue,
        own_threads: Option<&dyn ParallelFor>,
    ) -> Result<Prepared> {
        let plan = Plan::new(&self.problem(in_place, rows, own_threads)?);
        let kernels = self.kernels(&plan, epilogue)?;
        Ok(Prepared { plan, kernels })
    }

    /// Whether a product of so many rows of A may use other threads than the calling one: if not, it asks no pool for any.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Gemm, IntOutput, MatRef, PackedB};
    /// let b = PackedB::new(MatRef::row_major(&[1i8; 64], 4, 16)?)?;
    /// assert!(!Gemm::<u8, i32>::builder(&b, IntOutput::Store).build()?.may_use_threads(4));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn may_use_threads(&self, rows: usize) -> bool {
        self.threads.may_be_several(rows, self.packed.k(), self.packed.n())
    }

    /// The operation's zero point of A.
    pub fn a_zero_point(&self) -> i32 {
        self.a_zero_point
    }
}

impl<A: Activation, C: Element> fmt::Debug for Gemm<A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gemm")
            .field("k", &self.packed.k())
            .field("n", &self.packed.n())
            .field("groups", &self.packed.groups())
            .field("epilogue", &self.bound.epilogue.to_string())
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

fn residual<'a, C: Element>(r: MatRef<'a, f32>, c: &MatMut<'_, C>) -> Result<Residual<'a>> {
    expect("rows of the residual", c.rows(), r.rows())?;
    expect("columns of the residual", c.cols(), r.cols())?;
    if r.col_stride() != 1 && r.cols() > 1 {
        return Err(Error::Unsupported { what: "the elements of a row of the residual must lie side by side" });
    }
    Ok(Residual { data: r.data(), row_stride: taken_stride(r.rows(), r.row_stride()) })
}

/// `C = A · B` in i32 (wrapping), with weights packed for this call alone.
///
/// Pack them once with [`PackedB`] if they are used more than a few times.
///
/// # Errors
/// As [`PackBuilder::build`](crate::PackBuilder::build) and [`Gemm::run`].
///
/// # Examples
/// ```
/// use gemmill::{MatMut, MatRef, multiply};
/// let (a, b) = ([255u8, 255], [127i8, 127]);
/// let mut c = [0i32];
/// multiply(MatRef::row_major(&a, 1, 2)?, MatRef::row_major(&b, 2, 1)?, &mut MatMut::row_major(&mut c, 1, 1)?)?;
/// assert_eq!(c, [64770]); // a pair sum beyond 16 bits
/// # Ok::<(), gemmill::Error>(())
/// ```
pub fn multiply<A: Activation, B: Weight>(a: MatRef<'_, A>, b: MatRef<'_, B>, c: &mut MatMut<'_, i32>) -> Result<()> {
    let packed = PackedB::builder(b).effort(PackEffort::Quick).build()?;
    Gemm::builder(&packed, IntOutput::Store).build()?.run(a, c)
}
