//! [`GroupwiseGemm`]: i8 activations, quantized row by row inside the call, by groupwise weights.

use gemmill_codegen::{FloatType, Tier};

use super::float::float_type;
use super::operation::{AnyGemm, Family, Operation, Product, Shape};
use super::options::RunOptions;
use crate::error::{Error, Result, expect};
use crate::function::Function;
use crate::machine::memory::copied;
use crate::machine::threads::Threads;
use crate::operands::{Operand, Quantization, RowParameters, RowRange};
use crate::plan::Resources;
use crate::plan::groupwise::{GroupwisePlan, GroupwiseProblem};
use crate::run::groupwise::{GroupwiseKernels, GroupwiseProduct};
use crate::run::{self, Destination};
use crate::views::{AnyMut, AnyRef, Float, MatMut, MatRef};
use crate::weights::PackedGroupwise;

/// A product `C = f(A · B + bias)` of floating-point activations, quantized to i8 row by row inside the call, and
/// weights of 4 or 2 bits.
///
/// ```text
/// scale[i] = max_k |A[i][k]| / 127;   qa[i][k] = rne(A[i][k] / scale[i])
/// s[g]     = Σ_{k in g} qa[i][k] * (q[k][j] - zero_point[g][j])            i32, exact
/// acc      = fma(f32(s[g]), f32(scale[g][j]), acc)                         g ascending, from 0
/// C[i][j]  = round(f(fma(acc, scale[i], bias[j])))                         without a bias: acc * scale[i]
/// ```
///
/// Activations that are NaN count as zero. A row of zeros has the scale 0.1; others' scales are at least 2^-126.
///
/// The bits are those of [`reference::groupwise`](mod@crate::reference::groupwise) on every tier, for every number of
/// rows and threads.
///
/// # Examples
/// ```
/// use gemmill::quant::{Bits, GroupSize, GroupwiseFormat, GroupwiseWeights, ZeroPoints};
/// use gemmill::{GroupwiseGemm, MatMut, MatRef, PackedGroupwise};
/// let (m, n, k) = (1, 2, 64);
/// let w: Vec<f32> = (0..k * n).map(|i| if i % 2 == 0 { 0.5 } else { -0.25 }).collect();
/// let format = GroupwiseFormat { bits: Bits::Four, group_size: GroupSize::G32, zero_points: ZeroPoints::Middle };
/// let weights = GroupwiseWeights::search(MatRef::row_major(&w, k, n)?, format, None)?;
/// let gemm = GroupwiseGemm::builder(&PackedGroupwise::new(&weights)?).build()?;
/// let (a, mut c) = (vec![1f32; k], [0f32; 2]);
/// gemm.run(MatRef::row_major(&a, m, k)?, &mut MatMut::row_major(&mut c, m, n)?)?;
/// assert!((c[0] - 32.0).abs() < 0.2 && (c[1] + 16.0).abs() < 0.1);
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug)]
pub struct GroupwiseGemm {
    operation: Operation<GroupwiseFamily>,
}

/// Configures a [`GroupwiseGemm`]; made by [`GroupwiseGemm::builder`].
#[derive(Debug, Clone)]
pub struct GroupwiseGemmBuilder<'a> {
    packed: &'a PackedGroupwise,
    bias: Option<&'a [f32]>,
    function: Function,
    threads: Threads,
    tier: Option<Tier>,
}

impl<'a> GroupwiseGemmBuilder<'a> {
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

    /// The tier of kernels: the best one of this CPU, or the one that `GEMMILL_TIER` names, if not given.
    pub fn tier(mut self, tier: Tier) -> Self {
        self.tier = Some(tier);
        self
    }

    /// Checks everything that does not depend on A.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a bias of the wrong length, [`Error::BadNumber`] for limits that are none,
    /// [`Error::OutOfRange`] for zero threads, [`Error::Tier`] for a tier that the CPU lacks.
    ///
    /// [`Error::Mismatch`]: crate::Error::Mismatch
    /// [`Error::BadNumber`]: crate::Error::BadNumber
    /// [`Error::OutOfRange`]: crate::Error::OutOfRange
    /// [`Error::Tier`]: crate::Error::Tier
    pub fn build(self) -> Result<GroupwiseGemm> {
        let tier = match self.tier {
            Some(tier) => tier.require()?,
            None => Tier::best()?,
        };
        self.function.check()?;
        if let Some(bias) = self.bias {
            expect("bias", self.packed.n(), bias.len())?;
        }
        let family = GroupwiseFamily {
            packed: self.packed.clone(),
            tier,
            bias: copied("bias", self.bias.unwrap_or_default())?,
            function: self.function,
        };
        Ok(GroupwiseGemm { operation: Operation::new(family, self.threads)? })
    }
}

impl GroupwiseGemm {
    /// An operation with these weights.
    pub fn builder(packed: &PackedGroupwise) -> GroupwiseGemmBuilder<'_> {
        GroupwiseGemmBuilder { packed, bias: None, function: Function::Identity, threads: Threads::Auto, tier: None }
    }

    /// The packed weights.
    pub fn packed(&self) -> &PackedGroupwise {
        &self.operation.family.packed
    }

    /// The tier of its kernels.
    pub fn tier(&self) -> Tier {
        self.operation.family.tier
    }

    /// Whether a product of so many rows of A may use other threads than the calling one: if not, it asks no pool for
    /// any.
    pub fn may_use_threads(&self, rows: usize) -> bool {
        self.operation.may_use_threads(rows)
    }

    /// Computes C from A: M × K into M × N. A may have any strides.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if shapes don't fit, [`Error::BadNumber`] if an activation is infinite, also where C has no
    /// columns, [`Error::Codegen`] if the system refuses executable memory. C is untouched then.
    ///
    /// [`Error::Mismatch`]: crate::Error::Mismatch
    /// [`Error::BadNumber`]: crate::Error::BadNumber
    /// [`Error::Codegen`]: crate::Error::Codegen
    pub fn run<A: Float, C: Float>(&self, a: MatRef<'_, A>, c: &mut MatMut<'_, C>) -> Result<()> {
        self.run_with(a, c, &RunOptions::default())
    }

    /// As [`GroupwiseGemm::run`], with threads of the caller's own.
    ///
    /// # Errors
    /// Also [`Error::Unsupported`](crate::Error::Unsupported) for other options, and
    /// [`Error::NotRun`](crate::Error::NotRun) if these threads did not run all tasks: C is written in part then.
    pub fn run_with<A: Float, C: Float>(
        &self,
        a: MatRef<'_, A>,
        c: &mut MatMut<'_, C>,
        options: &RunOptions<'_>,
    ) -> Result<()> {
        self.operation.run(a.into(), c.into(), options)
    }
}

impl From<GroupwiseGemm> for AnyGemm {
    fn from(gemm: GroupwiseGemm) -> AnyGemm {
        AnyGemm::new(gemm.operation)
    }
}

/// What products of weights of few bits of an operation have in common.
#[derive(Debug)]
struct GroupwiseFamily {
    packed: PackedGroupwise,
    tier: Tier,
    /// Empty if there is none.
    bias: Vec<f32>,
    function: Function,
}

/// A plan, and its kernels.
#[derive(Debug)]
struct Prepared {
    plan: GroupwisePlan,
    kernels: GroupwiseKernels,
}

impl GroupwiseFamily {
    fn plan(&self, rows: usize, resources: Resources) -> GroupwisePlan {
        GroupwisePlan::new(&GroupwiseProblem {
            tier: self.tier,
            resources,
            rows,
            k: self.packed.k(),
            cols: self.packed.n(),
            a_row_bytes: self.packed.padded_k(),
            b_bytes: self.packed.size_in_bytes(),
        })
    }
}

impl Family for GroupwiseFamily {
    /// Kernels take and give the same, whatever the types of A and C.
    type Variant = FloatType;
    type Prepared = Prepared;

    fn shape(&self) -> Shape {
        Shape { k: self.packed.k(), groups: 1, n: self.packed.n() }
    }

    fn tier(&self) -> Tier {
        self.tier
    }

    fn variant(&self, a: AnyRef<'_>, c: &AnyMut<'_>, options: &RunOptions<'_>) -> Result<FloatType> {
        options.no_row_parameters("zero points and scales of rows are for products of 8-bit integers")?;
        if options.residual.is_some() {
            return Err(Error::Unsupported { what: "residual: products with quantized activations have none" });
        }
        float_type(a.element(), "A of a product with weights of few bits has the type f32, f16 or bf16")?;
        float_type(c.element(), "C of a product with weights of few bits has the type f32, f16 or bf16")
    }

    fn fits_rows(&self) -> Option<RowRange> {
        Some(RowRange::SymmetricI8)
    }

    fn rows(&self, _: AnyRef<'_>, _: &RunOptions<'_>, _: &mut RowParameters) -> Result<()> {
        Ok(())
    }

    fn prepare(&self, rows: usize, _: FloatType, resources: Resources) -> Result<Prepared> {
        let plan = self.plan(rows, resources);
        let kernels = GroupwiseKernels::new(&self.packed, &plan, self.tier)?;
        Ok(Prepared { plan, kernels })
    }

    fn multiply(&self, product: Product<'_, Prepared>) -> Result<()> {
        let Product { prepared: Prepared { plan, kernels }, a, mut c, rows, options } = product;
        let c_type = c.element();
        let product = GroupwiseProduct {
            packed: &self.packed,
            plan,
            kernels,
            a: Operand::new(a, Quantization::PerRow(rows)),
            rows,
            bias: &self.bias,
            function: self.function,
            c: Destination::new(&mut c),
            c_type,
        };
        run::run(&product.body()?, options.parallel_for)
    }

    fn describe(&self, rows: usize, resources: Resources) -> Result<String> {
        let plan = self.plan(rows, resources);
        Ok(GroupwiseKernels::describe(&self.packed, &plan, self.tier))
    }
}
