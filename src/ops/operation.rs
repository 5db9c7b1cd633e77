//! The operation of all families, types erased: checks, parameters of rows, prepared plans, the run.

use std::fmt;
use std::mem::MaybeUninit;
use std::sync::Arc;

use gemmill_codegen::{Machine, Tier, in_default_float_mode};

use super::options::RunOptions;
use crate::error::{Error, Result, expect};
use crate::machine::threads::{MACS_PER_THREAD, Threads};
use crate::operands::{RowParameters, RowRange, with_row_parameters};
use crate::plan::Resources;
use crate::run::PreparedCache;
use crate::views::{AnyMut, AnyRef, Element, MatMut};

/// What an operation does besides what all have in common.
pub(crate) trait Family: fmt::Debug + Send + Sync {
    /// What plans and kernels depend on, besides the operation, the number of rows and the number of threads.
    type Variant: Copy + PartialEq + fmt::Debug + Send + Sync;
    /// A plan with its kernels.
    type Prepared: fmt::Debug + Send + Sync;

    /// Columns of A for each group, groups, and columns of C.
    fn shape(&self) -> Shape;

    fn tier(&self) -> Tier;

    /// Checks the types of A and C, and the options of a run.
    fn variant(&self, a: AnyRef<'_>, c: &AnyMut<'_>, options: &RunOptions<'_>) -> Result<Self::Variant>;

    /// Into which integers a run quantizes rows by themselves, if it does.
    fn fits_rows(&self) -> Option<RowRange>;

    /// The rest of a run's parameters by row, and of its checks of A.
    fn rows(&self, a: AnyRef<'_>, options: &RunOptions<'_>, parameters: &mut RowParameters) -> Result<()>;

    /// The plan of a product with so many rows, and its kernels.
    fn prepare(&self, rows: usize, variant: Self::Variant, resources: Resources) -> Result<Self::Prepared>;

    /// Carries out a product that has rows and columns.
    fn multiply(&self, product: Product<'_, Self::Prepared>) -> Result<()>;

    /// How products of so many rows are carried out, for people to read.
    fn describe(&self, rows: usize, resources: Resources) -> Result<String>;
}

/// The shape of an operation's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) k: usize,
    /// Groups of columns, each with as many columns of A to itself.
    pub(crate) groups: usize,
    /// Columns, of all groups.
    pub(crate) n: usize,
}

/// A product of a run: shapes, types and options are checked.
#[derive(Debug)]
pub(crate) struct Product<'a, P> {
    pub(crate) prepared: &'a P,
    pub(crate) a: AnyRef<'a>,
    pub(crate) c: AnyMut<'a>,
    pub(crate) rows: &'a RowParameters,
    pub(crate) options: &'a RunOptions<'a>,
}

/// What prepared plans are kept by.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Key<V> {
    rows: usize,
    threads: usize,
    variant: V,
}

/// An operation of some family.
#[derive(Debug)]
pub(crate) struct Operation<F: Family> {
    pub(crate) family: F,
    threads: Threads,
    prepared: PreparedCache<Key<F::Variant>, F::Prepared>,
}

impl<F: Family> Operation<F> {
    /// # Errors
    /// [`Error::OutOfRange`] for zero threads.
    pub(crate) fn new(family: F, threads: Threads) -> Result<Operation<F>> {
        threads.check()?;
        Ok(Operation { family, threads, prepared: PreparedCache::default() })
    }

    fn resources(&self, threads: usize) -> Resources {
        let macs_per_thread = if matches!(self.threads, Threads::Exactly(_)) { 0 } else { MACS_PER_THREAD };
        Resources { machine: Machine::of_this_cpu(), threads, macs_per_thread }
    }

    fn threads_of(&self, rows: usize, options: &RunOptions<'_>) -> usize {
        let Shape { k, n, .. } = self.family.shape();
        self.threads.of_product(rows, k, n, options.parallel_for)
    }

    pub(crate) fn run(&self, a: AnyRef<'_>, c: AnyMut<'_>, options: &RunOptions<'_>) -> Result<()> {
        in_default_float_mode(|| self.run_here(a, c, options))
    }

    fn run_here(&self, a: AnyRef<'_>, c: AnyMut<'_>, options: &RunOptions<'_>) -> Result<()> {
        let Shape { k, groups, n } = self.family.shape();
        let depth = k.checked_mul(groups).ok_or(Error::Overflow { what: "K times groups" })?;
        expect("columns of A against rows of B, times groups", depth, a.cols())?;
        expect("rows of C against rows of A", a.rows(), c.rows())?;
        expect("columns of C against columns of B", n, c.cols())?;
        let variant = self.family.variant(a, &c, options)?;
        let rows = a.rows();
        if rows == 0 {
            return Ok(());
        }
        let by_row = self.family.fits_rows().is_some() || options.has_row_parameters();
        if n == 0 {
            if let Some(range) = self.family.fits_rows() {
                RowParameters::check(a, range)?;
            }
            return with_row_parameters(by_row, |parameters| self.family.rows(a, options, parameters));
        }
        let threads = self.threads_of(rows, options);
        with_row_parameters(by_row, |parameters| {
            if let Some(range) = self.family.fits_rows() {
                parameters.fit(a, range, self.resources(threads).worth(rows, n, k), options.parallel_for)?;
            }
            self.family.rows(a, options, parameters)?;
            let key = Key { rows, threads, variant };
            let prepare = || self.family.prepare(rows, variant, self.resources(threads));
            self.prepared.with(key, prepare, |prepared| {
                self.family.multiply(Product { prepared, a, c, rows: parameters, options })
            })
        })
    }

    /// As [`Operation::run`], into memory that need not be initialised.
    #[allow(unsafe_code)]
    pub(crate) fn run_uninit<'c, C: Element>(
        &self,
        a: AnyRef<'_>,
        mut c: MatMut<'c, MaybeUninit<C>>,
        options: &RunOptions<'_>,
    ) -> Result<MatMut<'c, C>> {
        self.run(a, c.reborrow().into(), options)?;
        // SAFETY: a run that succeeds has written all elements of C, whose parts cover it.
        Ok(unsafe { c.assume_init() })
    }

    /// What products of so many rows may use, without options.
    pub(crate) fn resources_of(&self, rows: usize) -> Resources {
        self.resources(self.threads_of(rows, &RunOptions::default()))
    }

    pub(crate) fn may_use_threads(&self, rows: usize) -> bool {
        let Shape { k, n, .. } = self.family.shape();
        self.threads.may_be_several(rows, k, n)
    }
}

/// What an operation can do without its family.
trait Erased: fmt::Debug + Send + Sync {
    fn shape(&self) -> Shape;
    fn tier(&self) -> Tier;
    fn run(&self, a: AnyRef<'_>, c: AnyMut<'_>, options: &RunOptions<'_>) -> Result<()>;
    fn describe(&self, rows: usize) -> Result<String>;
    fn may_use_threads(&self, rows: usize) -> bool;
}

impl<F: Family> Erased for Operation<F> {
    fn shape(&self) -> Shape {
        self.family.shape()
    }

    fn tier(&self) -> Tier {
        self.family.tier()
    }

    fn run(&self, a: AnyRef<'_>, c: AnyMut<'_>, options: &RunOptions<'_>) -> Result<()> {
        Operation::run(self, a, c, options)
    }

    fn describe(&self, rows: usize) -> Result<String> {
        self.family.describe(rows, self.resources_of(rows))
    }

    fn may_use_threads(&self, rows: usize) -> bool {
        Operation::may_use_threads(self, rows)
    }
}

/// A product of any kind, whose types of elements are known when the program runs: what [`Gemm`](crate::Gemm),
/// [`FloatGemm`](crate::FloatGemm) and [`GroupwiseGemm`](crate::GroupwiseGemm) are without their types.
///
/// Cloning is cheap: clones share all.
///
/// # Examples
/// ```
/// use gemmill::{AnyGemm, FloatGemm, MatMut, MatRef, PackedFloat, RunOptions};
/// let weights = PackedFloat::new(MatRef::row_major(&[2.0f32], 1, 1)?)?;
/// let gemm: AnyGemm = FloatGemm::builder(&weights).build()?.into();
/// let (a, mut c) = ([3.0f32], [0f32]);
/// let a = MatRef::row_major(&a, 1, 1)?;
/// gemm.run(a.into(), (&mut MatMut::row_major(&mut c, 1, 1)?).into(), &RunOptions::new())?;
/// assert_eq!((c, gemm.k(), gemm.n()), ([6.0], 1, 1));
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct AnyGemm {
    operation: Arc<dyn Erased>,
}

impl AnyGemm {
    pub(crate) fn new<F: Family + 'static>(operation: Operation<F>) -> AnyGemm {
        AnyGemm { operation: Arc::new(operation) }
    }

    /// Rows of the weights: columns of A for each group.
    pub fn k(&self) -> usize {
        self.operation.shape().k
    }

    /// Groups of columns, each with K columns of A to itself.
    pub fn groups(&self) -> usize {
        self.operation.shape().groups
    }

    /// Columns of the weights, of all groups: columns of C.
    pub fn n(&self) -> usize {
        self.operation.shape().n
    }

    /// The tier of its kernels.
    pub fn tier(&self) -> Tier {
        self.operation.tier()
    }

    /// Computes C from A.
    ///
    /// # Errors
    /// Those of the operation's own `run_with`, and [`Error::Unsupported`] for matrices of types that it does not take.
    pub fn run(&self, a: AnyRef<'_>, c: AnyMut<'_>, options: &RunOptions<'_>) -> Result<()> {
        self.operation.run(a, c, options)
    }

    /// How a product with `rows` rows of A is carried out: a text for people, which may change from version to version.
    ///
    /// # Errors
    /// [`Error::Overflow`] if a packed row of A would not fit the address space.
    pub fn describe(&self, rows: usize) -> Result<String> {
        self.operation.describe(rows)
    }

    /// Whether a product of so many rows of A may use other threads than the calling one: if not, it asks no pool for
    /// any.
    pub fn may_use_threads(&self, rows: usize) -> bool {
        self.operation.may_use_threads(rows)
    }
}
