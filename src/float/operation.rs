//! [`FloatGemm`]: a floating-point product that is configured once and run many times.

use std::sync::{Arc, PoisonError, RwLock};

use gemmill_codegen::{
    Expansion, FLOAT_PANEL, FloatEpilogue, FloatFinish, FloatKernelDesc, FloatPrefetch, FloatProducts, FloatStart,
    FloatType, HardwareDot, KernelCache, Machine, Sweep, Tier, TierError,
};

use super::element::{Float, Source};
use super::functions::Function;
use super::packed::{PackedFloat, Weights};
use super::plan::{FloatPlan, FloatProblem};
use crate::error::{Error, Result, expect};
use crate::gemm::Threads;
use crate::groupwise::PackedGroupwise;
use crate::matrix::{MatMut, MatRef};
use crate::parallel::ParallelFor;
use crate::plan::{MACS_PER_THREAD, Resources};
use crate::run::Destination;
use crate::run::float::{self, FloatJob, FloatKernels, FloatResidual, KernelPlace, TileRole};

/// A product `C = f(A · B + beta · C + bias + residual)` of floating-point matrices with packed weights, accumulated in f32.
///
/// ```text
/// x = beta == 0 ? 0 : beta * C[i][j]
/// for k in 0..K:  x = fma(A[i][k], B[k][j], x)          ascending, one chain
/// x = x + bias[j];  x = x + residual[i][j]              as far as given
/// C[i][j] = round(f(x))
/// ```
///
/// Every element has one chain of fused multiply-adds: a row of C has the same bits however many rows A has, on every tier
/// and with every number of threads. A and C may be f32, f16 or bf16, whatever the weights are. Only if it is asked for,
/// by [`FloatGemmBuilder::hardware_dot`], the chain is another one.
///
/// # Examples
/// ```
/// use gemmill::{FloatGemm, FloatType, Function, MatMut, MatRef, PackedFloat};
/// let (m, n, k) = (2, 3, 2);
/// let a = [1.0f32, 2.0, -3.0, 0.5];
/// let b = [1.0f32, 0.0, 2.0, 0.5, -1.0, 4.0];
/// let weights = PackedFloat::builder(MatRef::row_major(&b, k, n)?).store(FloatType::Bf16).build()?;
/// let gemm = FloatGemm::builder(&weights).bias(&[0.0, 1.0, 0.0]).function(Function::Relu).build()?;
/// let mut c = [0f32; 6];
/// gemm.run(MatRef::row_major(&a, m, k)?, &mut MatMut::row_major(&mut c, m, n)?)?;
/// assert_eq!(c, [2.0, 0.0, 10.0, 0.0, 0.5, 0.0]);
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug)]
pub struct FloatGemm {
    weights: Weights,
    tier: Tier,
    products: FloatProducts,
    beta: f32,
    /// By padded column; empty if there is none.
    bias: Vec<f32>,
    function: Function,
    threads: Threads,
    /// Plans and kernels of earlier products.
    prepared: RwLock<Vec<(Key, Arc<Prepared>)>>,
}

/// What plans and kernels depend on, besides the operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    rows: usize,
    in_place: bool,
    c: FloatType,
    residual: bool,
    threads: usize,
}

#[derive(Debug)]
struct Prepared {
    plan: FloatPlan,
    kernels: FloatKernels,
}

/// Numbers of rows that plans are kept for.
const KEPT: usize = 16;

/// Configures a [`FloatGemm`]; made by [`FloatGemm::builder`].
#[derive(Debug, Clone)]
pub struct FloatGemmBuilder<'a> {
    weights: Weights,
    beta: f32,
    bias: Option<&'a [f32]>,
    function: Function,
    threads: Threads,
    tier: Option<Tier>,
    products: FloatProducts,
}

impl<'a> FloatGemmBuilder<'a> {
    /// The factor of what C holds: 0, if not given, and then C is not read.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{FloatGemm, MatMut, MatRef, PackedFloat};
    /// let weights = PackedFloat::new(MatRef::row_major(&[2.0f32], 1, 1)?)?;
    /// let mut c = [10.0f32];
    /// let gemm = FloatGemm::builder(&weights).beta(1.0).build()?;
    /// gemm.run(MatRef::row_major(&[3.0f32], 1, 1)?, &mut MatMut::row_major(&mut c, 1, 1)?)?;
    /// assert_eq!(c, [16.0]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn beta(mut self, beta: f32) -> Self {
        self.beta = beta;
        self
    }

    /// A number for each column.
    pub fn bias(mut self, bias: &'a [f32]) -> Self {
        self.bias = Some(bias);
        self
    }

    /// What is stored of a sum.
    pub fn function(mut self, function: Function) -> Self {
        self.function = function;
        self
    }

    /// How many threads a product may use.
    pub fn threads(mut self, threads: Threads) -> Self {
        self.threads = threads;
        self
    }

    /// Has the CPU's own dot products of bf16 multiply, which is faster and rounds otherwise: [`HardwareDot`] says how, and
    /// has a bound of the error. Never done unless asked for.
    ///
    /// A CPU that lacks the instruction is an error of [`FloatGemmBuilder::build`]; so is a tier that lacks it. The portable tier
    /// does the same in plain Rust, slowly, if [`FloatGemmBuilder::tier`] names it.
    ///
    /// Weights must be packed as bf16. A is rounded to bf16 first, to the nearest, if it has another type. Results depend on
    /// which instruction is named, and on nothing else: not on the number of rows, the tile, the threads or the CPU.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{FloatGemm, FloatType, HardwareDot, MatMut, MatRef, PackedFloat, Tier};
    /// let b = MatRef::row_major(&[2.0f32, 0.5], 2, 1)?;
    /// let weights = PackedFloat::builder(b).store(FloatType::Bf16).build()?;
    /// let builder = FloatGemm::builder(&weights);
    /// let gemm = match HardwareDot::best(Tier::best()?) {
    ///     Ok(dot) => builder.hardware_dot(dot).build()?,
    ///     // This CPU has none: one chain of f32, as without the option.
    ///     Err(_) => builder.build()?,
    /// };
    /// let mut c = [0f32];
    /// gemm.run(MatRef::row_major(&[3.0f32, 4.0], 1, 2)?, &mut MatMut::row_major(&mut c, 1, 1)?)?;
    /// assert_eq!(c, [8.0]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn hardware_dot(mut self, dot: HardwareDot) -> Self {
        self.products = FloatProducts::Dot(dot);
        self
    }

    /// The tier of kernels: the best one of this CPU, or the one that `GEMMILL_TIER` names, if not given. Results do not
    /// depend on it.
    pub fn tier(mut self, tier: Tier) -> Self {
        self.tier = Some(tier);
        self
    }

    /// Checks everything that does not depend on A.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a bias of the wrong length, [`Error::BadNumber`] for limits that are none and for a `beta`
    /// that is not finite, [`Error::OutOfRange`] for zero threads, [`Error::Tier`] for a tier that the CPU lacks, or
    /// hardware dot products that it or the tier lacks, [`Error::Unsupported`] for these with weights that are not bf16.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{FloatGemm, MatRef, PackedFloat};
    /// let weights = PackedFloat::new(MatRef::row_major(&[2.0f32], 1, 1)?)?;
    /// assert!(FloatGemm::builder(&weights).bias(&[0.0, 0.0]).build().is_err());
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn build(self) -> Result<FloatGemm> {
        let tier = match self.tier {
            Some(tier) => tier.require()?,
            None => Tier::best()?,
        };
        if let FloatProducts::Dot(dot) = self.products {
            // Plain Rust is no substitute that anybody should get without asking.
            if tier == Tier::Portable && self.tier.is_none() {
                return Err(TierError::NoDot { dot, tier }.into());
            }
            dot.require(tier)?;
            self.weights.check_bf16()?;
        }
        self.threads.check()?;
        if !self.beta.is_finite() {
            return Err(Error::BadNumber { what: "beta", expected: "a finite number", given: self.beta });
        }
        self.function.check()?;
        let mut bias = Vec::new();
        if let Some(given) = self.bias {
            expect("bias", self.weights.n(), given.len())?;
            bias.extend_from_slice(given);
            bias.resize(given.len().next_multiple_of(FLOAT_PANEL), 0.0);
        }
        Ok(FloatGemm {
            weights: self.weights,
            tier,
            products: self.products,
            beta: self.beta,
            bias,
            function: self.function,
            threads: self.threads,
            prepared: RwLock::default(),
        })
    }
}

/// What may differ from run to run.
///
/// # Examples
/// ```
/// use gemmill::{FloatGemm, FloatRunOptions, MatMut, MatRef, PackedFloat};
/// let weights = PackedFloat::new(MatRef::row_major(&[2.0f32], 1, 1)?)?;
/// let residual = [100.0f32];
/// let options = FloatRunOptions::new().residual(MatRef::row_major(&residual, 1, 1)?);
/// let mut c = [0f32];
/// let gemm = FloatGemm::builder(&weights).build()?;
/// gemm.run_with(MatRef::row_major(&[3.0f32], 1, 1)?, &mut MatMut::row_major(&mut c, 1, 1)?, &options)?;
/// assert_eq!(c, [106.0]);
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct FloatRunOptions<'a, C> {
    residual: Option<MatRef<'a, C>>,
    parallel_for: Option<&'a dyn ParallelFor>,
}

impl<C> Default for FloatRunOptions<'_, C> {
    fn default() -> Self {
        FloatRunOptions { residual: None, parallel_for: None }
    }
}

impl<'a, C> FloatRunOptions<'a, C> {
    /// None of them.
    pub fn new() -> Self {
        Self::default()
    }

    /// A matrix that is added after the bias. Elements of a row lie side by side.
    pub fn residual(mut self, residual: MatRef<'a, C>) -> Self {
        self.residual = Some(residual);
        self
    }

    /// Threads of the caller's own, instead of a rayon pool's. The operation's [`Threads`] say how many of them it may use.
    pub fn parallel_for(mut self, threads: &'a dyn ParallelFor) -> Self {
        self.parallel_for = Some(threads);
        self
    }
}

impl FloatGemm {
    /// An operation with these weights.
    pub fn builder<'a>(packed: &PackedFloat) -> FloatGemmBuilder<'a> {
        Self::with(Weights::Float(packed.clone()))
    }

    /// An operation with weights of 4 or 2 bits, which become f32 (exactly) in registers while it runs.
    ///
    /// # Examples
    /// ```
    /// use gemmill::quant::{Bits, GroupSize, GroupwiseFormat, GroupwiseWeights, ZeroPoints};
    /// use gemmill::{FloatGemm, MatMut, MatRef, PackedGroupwise};
    /// let w = [0.5f32, -1.0, 3.5, 2.0];
    /// let format = GroupwiseFormat { bits: Bits::Four, group_size: GroupSize::G32, zero_points: ZeroPoints::Middle };
    /// let weights = GroupwiseWeights::round_to_nearest(MatRef::row_major(&w, 2, 2)?, format)?;
    /// let gemm = FloatGemm::groupwise(&PackedGroupwise::new(&weights)?).build()?;
    /// let mut c = [0f32; 2];
    /// gemm.run(MatRef::row_major(&[1.0f32, 2.0], 1, 2)?, &mut MatMut::row_major(&mut c, 1, 2)?)?;
    /// assert_eq!(c, [7.5, 2.8515625]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn groupwise<'a>(packed: &PackedGroupwise) -> FloatGemmBuilder<'a> {
        Self::with(Weights::Groupwise(packed.clone()))
    }

    fn with<'a>(weights: Weights) -> FloatGemmBuilder<'a> {
        FloatGemmBuilder {
            weights,
            beta: 0.0,
            bias: None,
            function: Function::Identity,
            threads: Threads::Auto,
            tier: None,
            products: FloatProducts::Chain,
        }
    }

    /// Rows of the weights.
    pub fn k(&self) -> usize {
        self.weights.k()
    }

    /// Columns of the weights.
    pub fn n(&self) -> usize {
        self.weights.n()
    }

    /// The tier of its kernels.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// The dot products of the CPU that it uses, if it was asked to.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{FloatGemm, MatRef, PackedFloat};
    /// let weights = PackedFloat::new(MatRef::row_major(&[2.0f32], 1, 1)?)?;
    /// assert_eq!(FloatGemm::builder(&weights).build()?.hardware_dot(), None);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn hardware_dot(&self) -> Option<HardwareDot> {
        match self.products {
            FloatProducts::Chain => None,
            FloatProducts::Dot(dot) => Some(dot),
        }
    }

    /// Whether a product of so many rows of A may use other threads than the calling one: if not, it asks no pool for any.
    pub fn may_use_threads(&self, rows: usize) -> bool {
        self.threads.may_be_several(rows, self.weights.k(), self.weights.n())
    }

    /// Computes C from A: M × K into M × N.
    ///
    /// A may have any strides; f32 with elements of a row side by side is read where it lies, everything else is packed
    /// first. No heap memory is allocated by a single-threaded call after the first one of its size on the same thread.
    ///
    /// The floating-point environment must be the usual one (to nearest, subnormals kept), as for all Rust code.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if shapes don't fit, [`Error::Overflow`] if a packed block of A would not fit the address space,
    /// [`Error::Codegen`] if the system refuses executable memory. C is untouched then.
    pub fn run<A: Float, C: Float>(&self, a: MatRef<'_, A>, c: &mut MatMut<'_, C>) -> Result<()> {
        self.run_with(a, c, &FloatRunOptions::default())
    }

    /// As [`FloatGemm::run`], with a residual or threads of the caller's own.
    ///
    /// # Errors
    /// Also [`Error::Mismatch`] for a residual of another shape than C, and [`Error::Unsupported`] for one whose elements of
    /// a row do not lie side by side; [`Error::NotRun`] if threads of the caller's own did not run all tasks, C being written in
    /// part then.
    pub fn run_with<A: Float, C: Float>(
        &self,
        a: MatRef<'_, A>,
        c: &mut MatMut<'_, C>,
        options: &FloatRunOptions<'_, C>,
    ) -> Result<()> {
        expect("columns of A against rows of B", self.weights.k(), a.cols())?;
        expect("rows of C against rows of A", a.rows(), c.rows())?;
        expect("columns of C against columns of B", self.weights.n(), c.cols())?;
        let residual = options.residual.map(|r| FloatResidual::new(r, c.rows(), c.cols())).transpose()?;
        if a.rows() == 0 || self.weights.n() == 0 {
            return Ok(());
        }
        let source = Source::new(a);
        let key = Key {
            rows: a.rows(),
            in_place: source.in_place(self.products).is_some(),
            c: C::TYPE,
            residual: residual.is_some(),
            threads: self.threads.of_product(a.rows(), self.weights.k(), self.weights.n(), options.parallel_for),
        };
        let prepared = self.prepared(key)?;
        let (low, high) = self.function.limits();
        let job = FloatJob {
            weights: &self.weights,
            plan: &prepared.plan,
            products: self.products,
            a: source,
            kernels: &prepared.kernels,
            bias: &self.bias,
            beta: self.beta,
            low,
            high,
            c: Destination::new(c),
            residual,
        };
        float::run(&job, options.parallel_for)
    }

    /// The plan of a product of so many rows, and its kernels.
    fn prepared(&self, key: Key) -> Result<Arc<Prepared>> {
        // A panic elsewhere cannot leave the list half-written.
        let read = self.prepared.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, prepared)) = read.iter().find(|(k, _)| *k == key) {
            return Ok(prepared.clone());
        }
        drop(read);
        let plan = FloatPlan::new(&self.problem(key, Machine::of_this_cpu()));
        let kernels = self.kernels(key, &plan)?;
        let prepared = Arc::new(Prepared { plan, kernels });
        let mut write = self.prepared.write().unwrap_or_else(PoisonError::into_inner);
        if write.len() >= KEPT {
            write.remove(0);
        }
        write.push((key, prepared.clone()));
        Ok(prepared)
    }

    fn problem(&self, key: Key, machine: Machine) -> FloatProblem {
        let macs_per_thread = if matches!(self.threads, Threads::Exactly(_)) { 0 } else { MACS_PER_THREAD };
        FloatProblem {
            tier: self.tier,
            products: self.products,
            resources: Resources { machine, threads: key.threads, macs_per_thread },
            rows: key.rows,
            k: self.weights.k(),
            cols: self.weights.n(),
            weights: self.weights.packed(),
            in_place: key.in_place,
            function: self.function.kind(),
        }
    }

    /// The kernels that a plan needs: all of them are there before anything is written.
    fn kernels(&self, key: Key, plan: &FloatPlan) -> Result<FloatKernels> {
        let mut kernels = FloatKernels::default();
        for place in KernelPlace::all() {
            if let Some(desc) = self.kernel_desc(key, plan, place) {
                *kernels.slot(place) = Some(KernelCache::<FloatKernelDesc>::global().get(&desc)?);
            }
        }
        Ok(kernels)
    }

    /// The kernel at a place of the plan, if the plan may need one there.
    fn kernel_desc(&self, key: Key, plan: &FloatPlan, place: KernelPlace) -> Option<FloatKernelDesc> {
        let (tiles, passes) = (plan.tiles, plan.passes(self.weights.k()));
        let (height, count) =
            if place.short_tile { (tiles.height.saturating_sub(1), tiles.short) } else { (tiles.height, tiles.tall) };
        let (vectors, cols, sweep, strips) = if place.narrow_strip {
            let cols = self.weights.n() - plan.whole_strips * plan.strip;
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
                TileRole::Plain => plan.tiles.count() > 1,
            };
        let epilogue =
            FloatEpilogue { bias: !self.bias.is_empty(), residual: key.residual, function: self.function.kind() };
        exists.then(|| FloatKernelDesc {
            tier: self.tier,
            products: self.products,
            weights: self.weights.packed(),
            expansion: match (plan.keeps, place.tile) {
                (false, _) => Expansion::InRegisters,
                (true, TileRole::First) => Expansion::Kept,
                (true, _) => Expansion::Reused,
            },
            a: plan.rows_of_a(self.products),
            sweep,
            rows: height as u8,
            vectors: vectors as u8,
            cols: cols as u8,
            start: match place.first_pass {
                true if self.beta == 0.0 => FloatStart::Zero,
                true => FloatStart::Beta,
                false => FloatStart::Scratch,
            },
            finish: if place.last_pass { FloatFinish::Epilogue(epilogue) } else { FloatFinish::Scratch },
            c: key.c,
            prefetch: match place.tile {
                TileRole::First if plan.prefetch => FloatPrefetch::Ahead,
                TileRole::Prefetching => FloatPrefetch::Next,
                _ => FloatPrefetch::None,
            },
        })
    }
}
