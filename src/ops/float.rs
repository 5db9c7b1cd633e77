//! [`FloatGemm`]: a floating-point product that is configured once and run many times.

use std::mem::MaybeUninit;

use gemmill_codegen::{FLOAT_PANEL, FloatEpilogue, FloatProducts, FloatType, HardwareDot, MAX_GRID_K, Tier, TierError};

use super::operation::{AnyGemm, Family, Operation, Product, Shape};
use super::options::RunOptions;
use crate::error::{Error, Result, expect};
use crate::function::Function;
use crate::machine::memory::with_capacity;
use crate::machine::threads::Threads;
use crate::operands::{Operand, Quantization, RowParameters, RowRange};
use crate::plan::Resources;
use crate::plan::float::{FloatPlan, FloatProblem};
use crate::plan::float_grid::{FloatGridPlan, FloatGridProblem};
use crate::run::float::{FloatKernels, FloatProduct, FloatVariant};
use crate::run::float_grid::{FloatGridKernels, FloatGridProduct};
use crate::run::{self, Destination, Residual};
use crate::views::{AnyMut, AnyRef, Float, MatMut, MatRef};
use crate::weights::{PackedFloat, PackedGroupwise, Weights};

/// A product `C = f(A · B + beta · C + bias + residual)` of floating-point matrices with packed weights, accumulated in
/// f32.
///
/// ```text
/// x = beta == 0 ? 0 : beta * C[i][j]
/// for k in 0..K:  x = fma(A[i][k], B[k][j], x)          ascending, one chain
/// x = x + bias[j];  x = x + residual[i][j]              as far as given
/// C[i][j] = round(f(x))
/// ```
///
/// Every element has one chain of fused multiply-adds: a row of C has the same bits however many rows A has, on every
/// tier and with every number of threads. A and C may be f32, f16 or bf16, whatever the weights are. Only if it is
/// asked for, by [`FloatGemmBuilder::hardware_dot`], the chain is another one.
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
    operation: Operation<FloatFamily>,
}

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

    /// Has the CPU's own dot products of bf16 multiply, which is faster and rounds otherwise: [`HardwareDot`] says how,
    /// and has a bound of the error. Never done unless asked for.
    ///
    /// A CPU that lacks the instruction is an error of [`FloatGemmBuilder::build`]; so is a tier that lacks it. The
    /// portable tier does the same in plain Rust, slowly, if [`FloatGemmBuilder::tier`] names it.
    ///
    /// Weights must be packed as bf16. A is rounded to bf16 first, to the nearest, if it has another type. Results
    /// depend on which instruction is named, and on nothing else: not on the number of rows, the tile, the threads or
    /// the CPU.
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

    /// The tier of kernels: the best one of this CPU, or the one that `GEMMILL_TIER` names, if not given. Results do
    /// not depend on it.
    pub fn tier(mut self, tier: Tier) -> Self {
        self.tier = Some(tier);
        self
    }

    /// Checks everything that does not depend on A.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a bias of the wrong length, [`Error::BadNumber`] for limits that are none and for a
    /// `beta` that is not finite, [`Error::OutOfRange`] for zero threads, [`Error::Tier`] for a tier that the CPU
    /// lacks, or hardware dot products that it or the tier lacks, [`Error::Unsupported`] for these with weights that
    /// are not bf16.
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
        if !self.beta.is_finite() {
            return Err(Error::BadNumber { what: "beta", expected: "a finite number", given: self.beta });
        }
        self.function.check()?;
        let mut bias = Vec::new();
        if let Some(given) = self.bias {
            expect("bias", self.weights.n(), given.len())?;
            let padded = given.len().next_multiple_of(FLOAT_PANEL);
            bias = with_capacity("bias", padded)?;
            bias.extend_from_slice(given);
            bias.resize(padded, 0.0);
        }
        let mut family = FloatFamily {
            weights: self.weights,
            tier,
            products: self.products,
            beta: self.beta,
            bias,
            function: self.function,
            in_tiles: false,
        };
        if let Weights::Float(packed) = &family.weights
            && family.fits_tiles()
        {
            packed.make_tiles(self.threads)?;
            family.in_tiles = true;
        }
        Ok(FloatGemm { operation: Operation::new(family, self.threads)? })
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
        self.operation.family.weights.k()
    }

    /// Columns of the weights.
    pub fn n(&self) -> usize {
        self.operation.family.weights.n()
    }

    /// The tier of its kernels.
    pub fn tier(&self) -> Tier {
        self.operation.family.tier
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
        match self.operation.family.products {
            FloatProducts::Chain => None,
            FloatProducts::Dot(dot) => Some(dot),
        }
    }

    /// Whether a product of so many rows of A may use other threads than the calling one: if not, it asks no pool for
    /// any.
    pub fn may_use_threads(&self, rows: usize) -> bool {
        self.operation.may_use_threads(rows)
    }

    /// Computes C from A: M × K into M × N.
    ///
    /// A may have any strides; f32 with elements of a row side by side is read where it lies, everything else is packed
    /// first. No heap memory is allocated by a single-threaded call after the first one of its size on the same thread.
    ///
    /// Arithmetic is to nearest and keeps subnormals, whatever the calling thread's MXCSR says, which stays as it is.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if shapes don't fit, [`Error::Overflow`] if a packed block of A would not fit the address
    /// space, [`Error::Codegen`] if the system refuses executable memory. C is untouched then.
    pub fn run<A: Float, C: Float>(&self, a: MatRef<'_, A>, c: &mut MatMut<'_, C>) -> Result<()> {
        self.run_with(a, c, &RunOptions::default())
    }

    /// As [`FloatGemm::run`], with a residual or threads of the caller's own.
    ///
    /// # Errors
    /// Also [`Error::Mismatch`] for a residual of another shape than C, and [`Error::Unsupported`] for one of another
    /// type, one whose elements of a row do not lie side by side, and options for 8-bit integers; [`Error::NotRun`] if
    /// threads of the caller's own did not run all tasks, C being written in part then.
    pub fn run_with<A: Float, C: Float>(
        &self,
        a: MatRef<'_, A>,
        c: &mut MatMut<'_, C>,
        options: &RunOptions<'_>,
    ) -> Result<()> {
        self.operation.run(a.into(), c.into(), options)
    }

    /// As [`FloatGemm::run_with`], into memory that need not be initialised: all of C is, if this succeeds.
    ///
    /// # Errors
    /// Also [`Error::Unsupported`] if the operation reads C.
    pub fn run_uninit<'c, A: Float, C: Float>(
        &self,
        a: MatRef<'_, A>,
        c: MatMut<'c, MaybeUninit<C>>,
        options: &RunOptions<'_>,
    ) -> Result<MatMut<'c, C>> {
        self.operation.run_uninit(a.into(), c, options)
    }
}

impl From<FloatGemm> for AnyGemm {
    fn from(gemm: FloatGemm) -> AnyGemm {
        AnyGemm::new(gemm.operation)
    }
}

/// What products of floats of an operation have in common.
#[derive(Debug)]
struct FloatFamily {
    weights: Weights,
    tier: Tier,
    products: FloatProducts,
    beta: f32,
    /// By padded column; empty if there is none.
    bias: Vec<f32>,
    function: Function,
    /// Whether weights are multiplied as tiles, which they have then.
    in_tiles: bool,
}

/// What plans and kernels depend on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Variant {
    in_place: bool,
    residual: bool,
    c: FloatType,
}

/// A plan, and its kernels.
#[derive(Debug)]
enum Prepared {
    Strips { plan: FloatPlan, kernels: Box<FloatKernels> },
    Tiles { plan: FloatGridPlan, kernels: FloatGridKernels },
}

/// The type of a matrix of floats.
///
/// # Errors
/// [`Error::Unsupported`] for integers, with `what`.
pub(super) fn float_type(element: crate::views::ElementType, what: &'static str) -> Result<FloatType> {
    element.float().ok_or(Error::Unsupported { what })
}

impl Family for FloatFamily {
    type Variant = Variant;
    type Prepared = Prepared;

    fn shape(&self) -> Shape {
        Shape { k: self.weights.k(), groups: 1, n: self.weights.n() }
    }

    fn tier(&self) -> Tier {
        self.tier
    }

    fn variant(&self, a: AnyRef<'_>, c: &AnyMut<'_>, options: &RunOptions<'_>) -> Result<Variant> {
        options.no_row_parameters("zero points and scales of rows are for products of 8-bit integers")?;
        float_type(a.element(), "A of a floating-point product has the type f32, f16 or bf16")?;
        let c_type = float_type(c.element(), "C of a floating-point product has the type f32, f16 or bf16")?;
        if self.beta != 0.0 && !c.is_initialised() {
            return Err(Error::Unsupported { what: "beta times C is added to sums: C must be initialised" });
        }
        if let Some(residual) = options.residual {
            Residual::new(residual, c)?;
        }
        let in_place = Operand::new(a, Quantization::None).as_float_rows(self.products).is_some();
        Ok(Variant { in_place, residual: options.residual.is_some(), c: c_type })
    }

    fn fits_rows(&self) -> Option<RowRange> {
        None
    }

    fn rows(&self, _: AnyRef<'_>, _: &RunOptions<'_>, _: &mut RowParameters) -> Result<()> {
        Ok(())
    }

    fn prepare(&self, rows: usize, variant: Variant, resources: Resources) -> Result<Prepared> {
        if self.in_tiles {
            let plan = FloatGridPlan::new(&self.grid_problem(rows, variant, resources));
            let kernels = FloatGridKernels::new(self.kernel_variant(variant), &plan)?;
            return Ok(Prepared::Tiles { plan, kernels });
        }
        let plan = FloatPlan::new(&self.problem(rows, variant.in_place, resources));
        let kernels = Box::new(FloatKernels::new(self.kernel_variant(variant), &plan)?);
        Ok(Prepared::Strips { plan, kernels })
    }

    fn multiply(&self, product: Product<'_, Prepared>) -> Result<()> {
        let Product { prepared, a, mut c, options, .. } = product;
        let residual = options.residual.map(|residual| Residual::new(residual, &c)).transpose()?;
        let (low, high) = self.function.limits();
        let (a, bias) = (Operand::new(a, Quantization::None), &self.bias[..]);
        let c = Destination::new(&mut c);
        match (prepared, &self.weights) {
            (Prepared::Tiles { plan, kernels }, Weights::Float(packed)) => {
                let tiles = packed.tiles();
                let product = FloatGridProduct { tiles, plan, kernels, a, bias, low, high, c, residual };
                run::run(&product.body()?, options.parallel_for)
            }
            (Prepared::Strips { plan, kernels }, weights) => {
                let beta = self.beta;
                let product = FloatProduct { weights, plan, kernels, a, bias, beta, low, high, c, residual };
                run::run(&product.body()?, options.parallel_for)
            }
            (Prepared::Tiles { .. }, Weights::Groupwise(_)) => unreachable!("tiles are of weights of bf16"),
        }
    }

    fn describe(&self, rows: usize, resources: Resources) -> Result<String> {
        let variant = Variant { in_place: true, residual: false, c: FloatType::F32 };
        if self.in_tiles {
            let plan = FloatGridPlan::new(&self.grid_problem(rows, variant, resources));
            return Ok(FloatGridKernels::describe(&self.kernel_variant(variant), &plan));
        }
        let plan = FloatPlan::new(&self.problem(rows, true, resources));
        Ok(FloatKernels::describe(&self.kernel_variant(variant), &plan))
    }
}

impl FloatFamily {
    /// Whether there are grids of tiles for products of this operation: sums begin at zero there.
    fn fits_tiles(&self) -> bool {
        let (k, n) = (self.weights.k(), self.weights.n());
        let fits = u32::try_from(k).is_ok_and(|k| (1..=MAX_GRID_K).contains(&k)) && n > 0;
        self.products.in_tiles(self.tier) && self.beta == 0.0 && fits
    }

    fn grid_problem(&self, rows: usize, variant: Variant, resources: Resources) -> FloatGridProblem {
        let (k, cols) = (self.weights.k(), self.weights.n());
        FloatGridProblem { resources, rows, k, cols, in_place: variant.in_place, c_bytes: variant.c.bytes() }
    }

    fn problem(&self, rows: usize, in_place: bool, resources: Resources) -> FloatProblem {
        FloatProblem {
            tier: self.tier,
            products: self.products,
            resources,
            rows,
            k: self.weights.k(),
            cols: self.weights.n(),
            weights: self.weights.packed(),
            in_place,
            function: self.function.kind(),
        }
    }

    fn kernel_variant(&self, variant: Variant) -> FloatVariant {
        let (bias, function) = (!self.bias.is_empty(), self.function.kind());
        FloatVariant {
            tier: self.tier,
            products: self.products,
            weights: self.weights.packed(),
            k: self.weights.k(),
            n: self.weights.n(),
            reads_c: self.beta != 0.0,
            epilogue: FloatEpilogue { bias, residual: variant.residual, function },
            c: variant.c,
        }
    }
}
