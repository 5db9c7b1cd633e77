//! [`Gemm`]: an operation that is configured once and run many times.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use gemmill_codegen::{
    AZeroPoint, Caches, Epilogue, Finish, Kernel, KernelCache, KernelDesc, Output, Start, Tier,
};

use super::bound::{ActivationScale, Bound, Context};
use super::output::{IntOutput, OutputStage};
use crate::error::{Error, Result};
use crate::matrix::{Element, MatMut, MatRef};
use crate::pack::activations::{RowQuantization, Source};
use crate::pack::packed::{PackEffort, PackedB, Weight, expect};
use crate::plan::{Plan, Problem};
use crate::quant::{QuantParams, dynamic_row_params, min_max_row};
use crate::run::{self, Columns, Destination, Job, KernelIndex, Kernels, Residual, Rows};

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for i8 {}
    impl Sealed for f32 {}
}

/// A type of activations: `u8`, `i8`, or `f32` that is quantized on the fly.
pub trait Activation: Element + sealed::Sealed {
    #[doc(hidden)]
    const KIND: ActivationKind;
    #[doc(hidden)]
    fn source<'a>(a: MatRef<'a, Self>, quantization: RowQuantization<'a>) -> Source<'a>;
}

/// What kernels need to know of a type of activations.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivationKind {
    U8,
    I8,
    F32,
}

impl ActivationKind {
    /// Legal zero points.
    fn zero_points(self) -> (i32, i32) {
        if self == ActivationKind::I8 { (-128, 127) } else { (0, 255) }
    }

    /// What is added to activations, and to their zero points, to make them u8.
    fn moved(self) -> i32 {
        if self == ActivationKind::I8 { 128 } else { 0 }
    }

    fn check_zero_point(self, zero_point: i32) -> Result<()> {
        let (low, high) = self.zero_points();
        if (low..=high).contains(&zero_point) {
            return Ok(());
        }
        let what = "zero point of A";
        Err(Error::OutOfRange { what, low: low.into(), high: high.into(), given: zero_point.into() })
    }
}

impl Activation for u8 {
    const KIND: ActivationKind = ActivationKind::U8;
    fn source<'a>(a: MatRef<'a, u8>, _: RowQuantization<'a>) -> Source<'a> {
        Source::U8(a)
    }
}

impl Activation for i8 {
    const KIND: ActivationKind = ActivationKind::I8;
    fn source<'a>(a: MatRef<'a, i8>, _: RowQuantization<'a>) -> Source<'a> {
        Source::I8(a)
    }
}

impl Activation for f32 {
    const KIND: ActivationKind = ActivationKind::F32;
    fn source<'a>(a: MatRef<'a, f32>, quantization: RowQuantization<'a>) -> Source<'a> {
        Source::F32(a, quantization)
    }
}

/// How f32 activations become u8.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ActivationQuantization {
    /// All alike, by these parameters.
    Static(QuantParams<u8>),
    /// Each row by its own smallest and largest element, for f32 outputs. NaN is left out of them and becomes the zero
    /// point; a row that holds an infinity is an error.
    DynamicPerRow,
}

/// How many threads a product may use. They come from the rayon pool that the caller runs in, or from the global one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Threads {
    /// As many as the pool has, if the product is large enough for them.
    #[default]
    Auto,
    /// At most this many. With one, the calling thread does all.
    Max(usize),
}

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
    packed: PackedB,
    a_zero_point: i32,
    quantization: Option<ActivationQuantization>,
    threads: Threads,
    bound: Bound,
    /// Kernels of `bound.epilogue`: `[narrow panel?][height - 1][pass]`.
    kernels: [[[OnceLock<Arc<Kernel>>; 4]; MAX_HEIGHT]; 2],
    types: PhantomData<fn(A) -> C>,
}

/// Most rows of a micro-tile.
const MAX_HEIGHT: usize = 12;

/// Configures a [`Gemm`].
#[derive(Debug, Clone)]
pub struct GemmBuilder<'a, A, O> {
    packed: &'a PackedB,
    output: O,
    a_zero_point: i32,
    quantization: Option<ActivationQuantization>,
    threads: Threads,
    types: PhantomData<fn(A)>,
}

impl<A: Activation, C: Element> Gemm<A, C> {
    /// An operation with these weights and this output.
    pub fn builder<'a, O: OutputStage<Element = C>>(packed: &'a PackedB, output: O) -> GemmBuilder<'a, A, O> {
        GemmBuilder { packed, output, a_zero_point: 0, quantization: None, threads: Threads::Auto, types: PhantomData }
    }
}

impl<A: Activation, O: OutputStage> GemmBuilder<'_, A, O> {
    /// Zero point of integer activations, in the range of their type.
    pub fn a_zero_point(mut self, zero_point: i32) -> Self {
        self.a_zero_point = zero_point;
        self
    }

    /// How f32 activations become u8; required for them.
    pub fn a_quantization(mut self, quantization: ActivationQuantization) -> Self {
        self.quantization = Some(quantization);
        self
    }

    /// How many threads a product may use.
    pub fn threads(mut self, threads: Threads) -> Self {
        self.threads = threads;
        self
    }

    /// Checks everything that does not depend on A.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for zero points outside their types and for zero threads, [`Error::BadNumber`] for scales,
    /// multipliers and biases that are no usable numbers, [`Error::Mismatch`] for parameters of the wrong length,
    /// [`Error::Unsupported`] for combinations that make no sense.
    pub fn build(self) -> Result<Gemm<A, O::Element>> {
        let mut a_zero_point = self.a_zero_point;
        A::KIND.check_zero_point(a_zero_point)?;
        if self.threads == Threads::Max(0) {
            return Err(Error::OutOfRange { what: "threads", low: 1, high: i64::MAX, given: 0 });
        }
        if A::KIND != ActivationKind::U8 && self.packed.activation_max() != u8::MAX {
            let what = "a bound of the activations was declared when packing, but activations are not u8";
            return Err(Error::Unsupported { what });
        }
        let a_scale = match (A::KIND, self.quantization) {
            (ActivationKind::F32, None) => {
                return Err(Error::Unsupported { what: "f32 activations need a_quantization" });
            }
            (ActivationKind::F32, Some(_)) if a_zero_point != 0 => {
                let what = "f32 activations take their zero point from a_quantization";
                return Err(Error::Unsupported { what });
            }
            (ActivationKind::F32, Some(ActivationQuantization::Static(params))) => {
                a_zero_point = params.zero_point();
                ActivationScale::Static(params.scale())
            }
            (ActivationKind::F32, Some(ActivationQuantization::DynamicPerRow)) => ActivationScale::PerRow,
            (_, None) => ActivationScale::Given,
            (_, Some(_)) => {
                return Err(Error::Unsupported { what: "a_quantization is for f32 activations" });
            }
        };
        let context =
            Context { packed: self.packed.view(), a_zero_point: a_zero_point + A::KIND.moved(), a_scale };
        Ok(Gemm {
            packed: self.packed.clone(),
            a_zero_point,
            quantization: self.quantization,
            threads: self.threads,
            bound: self.output.bind(&context)?,
            kernels: Default::default(),
            types: PhantomData,
        })
    }
}

/// What may differ from run to run.
///
/// # Examples
/// ```
/// use gemmill::{Dequantize, Gemm, MatMut, MatRef, PackedB, RunOptions};
/// let b = PackedB::new(MatRef::row_major(&[1i8], 1, 1)?)?;
/// let gemm = Gemm::builder(&b, Dequantize::new(1.0)).build()?;
/// let mut c = [0f32; 2];
/// let options = RunOptions::new().row_zero_points(&[1, 2]).row_scales(&[0.5, 2.0]);
/// gemm.run_with(MatRef::row_major(&[5u8, 6], 2, 1)?, &mut MatMut::row_major(&mut c, 2, 1)?, &options)?;
/// assert_eq!(c, [2.0, 8.0]);
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions<'a> {
    row_zero_points: Option<&'a [i32]>,
    row_scales: Option<&'a [f32]>,
    residual: Option<MatRef<'a, f32>>,
}

impl<'a> RunOptions<'a> {
    /// None of them.
    pub fn new() -> Self {
        Self::default()
    }

    /// A zero point for each row of integer activations, instead of the operation's.
    pub fn row_zero_points(mut self, zero_points: &'a [i32]) -> Self {
        self.row_zero_points = Some(zero_points);
        self
    }

    /// A scale for each row of integer activations, instead of the operation's; for f32 outputs.
    pub fn row_scales(mut self, scales: &'a [f32]) -> Self {
        self.row_scales = Some(scales);
        self
    }

    /// A matrix that is added to an f32 output before ReLU and clamp. Elements of a row lie side by side.
    pub fn residual(mut self, residual: MatRef<'a, f32>) -> Self {
        self.residual = Some(residual);
        self
    }
}

/// Parameters by row that kernels read, kept from call to call.
#[derive(Default)]
struct RowParameters {
    zero_points: Vec<i32>,
    scales: Vec<f32>,
    inverses: Vec<f32>,
    /// A row whose elements don't lie side by side.
    gathered: Vec<f32>,
}

impl RowParameters {
    /// Parameters of each row from its own range.
    fn fit_rows(&mut self, a: &MatRef<'_, f32>) -> Result<()> {
        for i in 0..a.rows() {
            let row = a.row(i).unwrap_or_else(|| {
                self.gathered.clear();
                self.gathered.extend((0..a.cols()).map(|k| a.at(i, k)));
                &self.gathered
            });
            let (min, max) = gemmill_codegen::vectorize(|| min_max_row(row)).unwrap_or_default();
            let params = dynamic_row_params(min, max)?;
            self.zero_points.push(params.zero_point());
            self.scales.push(params.scale());
            self.inverses.push(params.inverse());
        }
        Ok(())
    }
}

thread_local! {
    static ROW_PARAMETERS: RefCell<RowParameters> = RefCell::default();
}

impl<A: Activation, C: Element> Gemm<A, C> {
    /// The packed weights.
    pub fn packed(&self) -> &PackedB {
        &self.packed
    }

    /// Computes C from A: `M × (K * groups)` into `M × N`.
    ///
    /// No heap memory is allocated by a single-threaded call after the first one of its size.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the shapes don't fit, [`Error::OutOfRange`] if an activation exceeds what packing was
    /// promised, [`Error::BadNumber`] if a row to quantize holds an infinity, [`Error::Codegen`] if the system refuses
    /// executable memory. C is untouched then.
    pub fn run(&self, a: MatRef<'_, A>, c: &mut MatMut<'_, C>) -> Result<()> {
        self.run_with(a, c, &RunOptions::default())
    }

    /// As [`Gemm::run`], with parameters by row or a residual.
    ///
    /// # Errors
    /// Also [`Error::Mismatch`], [`Error::OutOfRange`] and [`Error::BadNumber`] for the options, and
    /// [`Error::Unsupported`] for options that the operation's output has no use for.
    pub fn run_with(&self, a: MatRef<'_, A>, c: &mut MatMut<'_, C>, options: &RunOptions<'_>) -> Result<()> {
        let (k, groups) = (self.packed.k(), self.packed.groups());
        let depth = k.checked_mul(groups).ok_or(Error::Overflow { what: "K times groups" })?;
        expect("columns of A against K of B times groups", depth, a.cols())?;
        expect("rows of C against rows of A", a.rows(), c.rows())?;
        expect("columns of C against columns of B", self.packed.n(), c.cols())?;
        let epilogue = self.epilogue(options, a.rows())?;
        let residual = options.residual.map(|r| residual(r, c)).transpose()?;

        let mut parameters = ROW_PARAMETERS.with(|p| p.try_borrow_mut().map(|mut p| std::mem::take(&mut *p)).unwrap_or_default());
        let done = self.row_parameters(&a, options, &mut parameters).and_then(|()| {
            let source = A::source(a, self.row_quantization(&parameters));
            self.check_activations(&source)?;
            if a.rows() == 0 || self.packed.n() == 0 {
                return Ok(());
            }
            let packed = self.packed.view();
            let plan = Plan::new(&self.problem(&source, a.rows())?);
            let kernels = self.kernels(&plan, epilogue)?;
            let per_row_zero_point = epilogue.a_zero_point == AZeroPoint::PerRow;
            let per_row_scale = matches!(epilogue.output, Output::Dequantize(d) if d.row_scale);
            let bound = &self.bound;
            run::run(&Job {
                packed,
                plan: &plan,
                a: source,
                kernels: &kernels,
                columns: Columns {
                    term: if per_row_zero_point { &bound.bias_term } else { &bound.term },
                    correction: packed.corrections(),
                    zero_point: packed.column_zero_points(),
                    scale: if per_row_scale { &bound.b_scale } else { &bound.scale },
                    bias: &bound.bias,
                },
                rows: Rows { zero_point: &parameters.zero_points, scale: &parameters.scales },
                row_sum_factor: bound.row_sum_factor,
                c: Destination {
                    row_stride_bytes: c.row_stride() * size_of::<C>(),
                    element_bytes: size_of::<C>(),
                    start: c.data_mut().as_mut_ptr().cast(),
                },
                residual,
                constants: bound.constants,
            })
        });
        ROW_PARAMETERS.with(|p| p.try_borrow_mut().map(|mut p| *p = parameters).ok());
        done
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
                QuantParams::<u8>::new(scale, 0)?;
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
        if let Some(given) = options.row_zero_points {
            parameters.zero_points.extend(given.iter().map(|&z| z + A::KIND.moved()));
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
            Some(_) => {
                (0..a.rows()).filter_map(|i| a.row(i)).map(|row| row.iter().fold(0, |m, &x| x.max(m))).max().unwrap_or(0)
            }
            None => (0..a.cols()).flat_map(|k| (0..a.rows()).map(move |i| a.at(i, k))).max().unwrap_or(0),
        });
        if max <= bound {
            return Ok(());
        }
        let what = "activation, by the bound that was declared when packing";
        Err(Error::OutOfRange { what, low: 0, high: bound.into(), given: max.into() })
    }

    fn problem(&self, source: &Source<'_>, rows: usize) -> Result<Problem> {
        let packed = self.packed.view();
        let threads = match self.threads {
            Threads::Auto => rayon::current_num_threads(),
            Threads::Max(1) => 1,
            Threads::Max(n) => n.min(rayon::current_num_threads()),
        };
        Ok(Problem {
            tier: self.packed.tier(),
            caches: Caches::of_this_cpu(),
            threads,
            rows,
            k: self.packed.k(),
            cols: self.packed.n(),
            layout: packed.layout(),
            vectors: packed.panels().first().map_or(1, |p| p.vectors),
            panels: packed.panels().len(),
            blocks: packed.blocks().len(),
            a_row_bytes: run::a_row_bytes(packed, source, self.packed.k(), self.packed.groups())?,
            packs_a: !run::reads_in_place(packed, source, self.packed.k()),
        })
    }

    /// The kernels that a plan needs: all of them are there before anything is written.
    fn kernels(&self, plan: &Plan, epilogue: Epilogue) -> Result<Kernels> {
        let mut kernels = Kernels::default();
        let blocks = self.packed.view().blocks().len();
        let passes = blocks.div_ceil(plan.blocks_per_pass);
        for (narrow_panel, short_tile, pass) in
            [false, true].into_iter().flat_map(|n| [false, true].into_iter().flat_map(move |s| (0..3).map(move |p| (n, s, p))))
        {
            let (first_pass, last_pass) = match (passes, pass) {
                (1, 0) => (true, true),
                (2.., 0) => (true, false),
                (2.., 1) => (false, true),
                (3.., 2) => (false, false),
                _ => continue,
            };
            let index = KernelIndex { narrow_panel, short_tile, first_pass, last_pass };
            if let Some(desc) = self.kernel_desc(plan, epilogue, index) {
                *kernels.slot(index) = Some(self.kernel(&desc, epilogue, index)?);
            }
        }
        Ok(kernels)
    }

    /// The kernel at a place of the plan, if the plan has one there.
    fn kernel_desc(&self, plan: &Plan, epilogue: Epilogue, index: KernelIndex) -> Option<KernelDesc> {
        let packed = self.packed.view();
        let tiles = plan.tiles;
        let (rows, count) = if index.short_tile { (tiles.height - 1, tiles.short) } else { (tiles.height, tiles.tall) };
        let panels = packed.panels();
        let panel = if index.narrow_panel {
            panels.iter().find(|p| p.cols != panels[0].cols)?
        } else {
            panels.first()?
        };
        (count > 0).then(|| KernelDesc {
            tier: self.packed.tier(),
            layout: packed.layout(),
            rows: rows as u8,
            vectors: panel.vectors as u8,
            cols: panel.cols as u8,
            sections: packed.sections(),
            start: if index.first_pass { Start::Zero } else { Start::Scratch },
            finish: if index.last_pass { Finish::Epilogue(epilogue) } else { Finish::Scratch },
        })
    }

    fn kernel(&self, desc: &KernelDesc, epilogue: Epilogue, index: KernelIndex) -> Result<Arc<Kernel>> {
        let cache = KernelCache::global();
        if epilogue != self.bound.epilogue {
            return Ok(cache.get(desc)?);
        }
        let pass = usize::from(index.first_pass) + 2 * usize::from(index.last_pass);
        let slot = &self.kernels[usize::from(index.narrow_panel)][usize::from(desc.rows) - 1][pass];
        if let Some(kernel) = slot.get() {
            return Ok(kernel.clone());
        }
        let kernel = cache.get(desc)?;
        Ok(slot.get_or_init(|| kernel).clone())
    }

    /// How a product with `rows` rows of A is carried out, u8 activations being row-major.
    ///
    /// # Errors
    /// [`Error::Overflow`] if a packed row of A would not fit the address space.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Gemm, IntOutput, MatRef, PackedB};
    /// let b = vec![1i8; 64 * 16];
    /// let gemm = Gemm::<u8, i32>::builder(&PackedB::new(MatRef::row_major(&b, 64, 16)?)?, IntOutput::Store).build()?;
    /// let plan = gemm.describe(5)?;
    /// assert_eq!(plan.kernels.len(), 1);
    /// assert_eq!(plan.kernels[0].rows, 5);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn describe(&self, rows: usize) -> Result<Description> {
        let quantization = RowQuantization::Static { inverse: 1.0, zero_point: 0 };
        let nothing = [A::default(); 1];
        let depth = self.packed.k().saturating_mul(self.packed.groups());
        // A view of one element that repeats: only its shape and the order of its elements count.
        let source = A::source(MatRef::repeated(&nothing, rows, depth), quantization);
        let plan = Plan::new(&self.problem(&source, rows)?);
        let blocks = self.packed.view().blocks().len();
        let passes = blocks.div_ceil(plan.blocks_per_pass);
        let mut kernels = Vec::new();
        for narrow_panel in [false, true] {
            for short_tile in [false, true] {
                for pass in 0..passes.min(3) {
                    let (first_pass, last_pass) = (pass == 0, pass == passes.min(3) - 1);
                    let index = KernelIndex { narrow_panel, short_tile, first_pass, last_pass };
                    kernels.extend(self.kernel_desc(&plan, self.bound.epilogue, index));
                }
            }
        }
        Ok(Description {
            tier: self.packed.tier(),
            kernels,
            sequence: self.packed.sequences().to_string(),
            mc: plan.mc(),
            kc: self.packed.view().blocks().iter().map(|b| b.len).max().unwrap_or(0),
            packs_a: !run::reads_in_place(self.packed.view(), &source, self.packed.k()),
            row_parts: plan.row_parts,
            panel_parts: plan.panel_parts,
        })
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
    Ok(Residual { data: r.data(), row_stride: r.row_stride() })
}

/// A plan, told. See [`Gemm::describe`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Description {
    /// The tier of the kernels.
    pub tier: Tier,
    /// The micro-kernels.
    pub kernels: Vec<KernelDesc>,
    /// Share of each multiplication sequence.
    pub sequence: String,
    /// Rows of a cache block.
    pub mc: usize,
    /// Depth of the longest block of K.
    pub kc: usize,
    /// Whether A is rewritten before it is multiplied.
    pub packs_a: bool,
    /// Parts among which threads split rows.
    pub row_parts: usize,
    /// Parts among which threads split columns.
    pub panel_parts: usize,
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "tier {}, sequences {}", self.tier, self.sequence)?;
        writeln!(f, "MC {}, KC {}, A {}", self.mc, self.kc, if self.packs_a { "packed" } else { "read in place" })?;
        writeln!(f, "{} × {} parts", self.row_parts, self.panel_parts)?;
        self.kernels.iter().try_for_each(|kernel| writeln!(f, "{kernel}"))
    }
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
