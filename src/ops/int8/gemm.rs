//! [`Gemm`]: an operation that is configured once and run many times.

use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::activation::Activation;
use super::builder::GemmBuilder;
use super::description::Description;
use super::family::Int8Family;
use super::output::{IntOutput, OutputStage};
use crate::error::Result;
use crate::ops::operation::Operation;
use crate::ops::{AnyGemm, RunOptions};
use crate::views::{Element, MatMut, MatRef};
use crate::weights::{PackEffort, PackedB, Weight};

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
    operation: Operation<Int8Family>,
    types: PhantomData<fn(A) -> C>,
}

impl<A: Activation, C: Element> Gemm<A, C> {
    /// An operation with these weights and this output.
    ///
    /// The type of C follows from the output, and that of A from the first run: it has to be said where no run tells.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Gemm, IntOutput, MatMut, MatRef, PackedB};
    /// let b = PackedB::new(MatRef::row_major(&[2i8], 1, 1)?)?;
    /// let inferred = Gemm::builder(&b, IntOutput::Store).build()?;
    /// let mut c = [0];
    /// inferred.run(MatRef::row_major(&[3u8], 1, 1)?, &mut MatMut::row_major(&mut c, 1, 1)?)?;
    /// let said = Gemm::<i8, _>::builder(&b, IntOutput::Store).build()?; // nothing is run
    /// assert_eq!((c, said.packed().n()), ([6], 1));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn builder<'a, O: OutputStage<Element = C>>(packed: &'a PackedB, output: O) -> GemmBuilder<'a, A, O> {
        GemmBuilder::new(packed, A::TYPE, output)
    }

    pub(super) fn new(operation: Operation<Int8Family>) -> Self {
        Gemm { operation, types: PhantomData }
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
        &self.operation.family.packed
    }

    /// Computes C from A: `M × (K * groups)` into `M × N`.
    ///
    /// No heap memory is allocated by a single-threaded call after the first one of its size on the same thread.
    ///
    /// Arithmetic is to nearest and keeps subnormals, whatever the calling thread's MXCSR says, which stays as it is.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the shapes don't fit, [`Error::OutOfRange`] if an activation exceeds what packing was
    /// promised, [`Error::BadNumber`] if a row to quantize holds an infinity, [`Error::Overflow`] if A needs packing
    /// and a packed row would not fit the address space, [`Error::Codegen`] if the system refuses executable memory. C
    /// is untouched then.
    ///
    /// [`Error::Mismatch`]: crate::Error::Mismatch
    /// [`Error::OutOfRange`]: crate::Error::OutOfRange
    /// [`Error::BadNumber`]: crate::Error::BadNumber
    /// [`Error::Overflow`]: crate::Error::Overflow
    /// [`Error::Codegen`]: crate::Error::Codegen
    pub fn run(&self, a: MatRef<'_, A>, c: &mut MatMut<'_, C>) -> Result<()> {
        self.run_with(a, c, &RunOptions::default())
    }

    /// As [`Gemm::run`], with parameters by row, a residual, or threads of the caller's own.
    ///
    /// # Errors
    /// Also [`Error::Mismatch`], [`Error::OutOfRange`] and [`Error::BadNumber`] for the options, and
    /// [`Error::Unsupported`] for options that the operation's output has no use for; [`Error::NotRun`] if threads of
    /// the caller's own did not run all tasks, C being written in part then.
    ///
    /// [`Error::Mismatch`]: crate::Error::Mismatch
    /// [`Error::OutOfRange`]: crate::Error::OutOfRange
    /// [`Error::BadNumber`]: crate::Error::BadNumber
    /// [`Error::Unsupported`]: crate::Error::Unsupported
    /// [`Error::NotRun`]: crate::Error::NotRun
    pub fn run_with(&self, a: MatRef<'_, A>, c: &mut MatMut<'_, C>, options: &RunOptions<'_>) -> Result<()> {
        self.operation.run(a.into(), c.into(), options)
    }

    /// As [`Gemm::run_with`], into memory that need not be initialised: all of C is, if this succeeds.
    ///
    /// # Errors
    /// Also [`Error::Unsupported`](crate::Error::Unsupported) if the operation reads C.
    ///
    /// # Examples
    /// ```
    /// use std::mem::MaybeUninit;
    /// use gemmill::{Gemm, IntOutput, MatMut, MatRef, PackedB, RunOptions};
    /// let b = PackedB::new(MatRef::row_major(&[2i8, 3], 1, 2)?)?;
    /// let gemm = Gemm::builder(&b, IntOutput::Store).build()?;
    /// let mut c = [const { MaybeUninit::<i32>::uninit() }; 2];
    /// let a = MatRef::row_major(&[5u8], 1, 1)?;
    /// let c = gemm.run_uninit(a, MatMut::row_major(&mut c, 1, 2)?, &RunOptions::new())?;
    /// assert_eq!(c.as_ref().get(0, 1), Some(15));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn run_uninit<'c>(
        &self,
        a: MatRef<'_, A>,
        c: MatMut<'c, MaybeUninit<C>>,
        options: &RunOptions<'_>,
    ) -> Result<MatMut<'c, C>> {
        self.operation.run_uninit(a.into(), c, options)
    }

    /// How a product with `rows` rows of A is carried out, integer activations being row-major.
    ///
    /// # Errors
    /// [`Error::Overflow`](crate::Error::Overflow) if a packed row of A would not fit the address space.
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
        self.operation.family.description(rows, self.operation.resources_of(rows))
    }

    /// Whether a product of so many rows of A may use other threads than the calling one: if not, it asks no pool for
    /// any.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Gemm, IntOutput, MatRef, PackedB};
    /// let b = PackedB::new(MatRef::row_major(&[1i8; 64], 4, 16)?)?;
    /// assert!(!Gemm::<u8, i32>::builder(&b, IntOutput::Store).build()?.may_use_threads(4));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn may_use_threads(&self, rows: usize) -> bool {
        self.operation.may_use_threads(rows)
    }

    /// The operation's zero point of A.
    pub fn a_zero_point(&self) -> i32 {
        self.operation.family.a_zero_point
    }
}

impl<A, C> From<Gemm<A, C>> for AnyGemm {
    fn from(gemm: Gemm<A, C>) -> AnyGemm {
        AnyGemm::new(gemm.operation)
    }
}

impl<A, C> fmt::Debug for Gemm<A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = &self.operation.family;
        f.debug_struct("Gemm")
            .field("k", &family.packed.k())
            .field("n", &family.packed.n())
            .field("groups", &family.packed.groups())
            .field("epilogue", &family.bound.epilogue.to_string())
            .finish_non_exhaustive()
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
