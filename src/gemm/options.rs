//! What may differ from run to run, and the parameters by row that follow from it.

use std::cell::RefCell;

use crate::error::{Error, Result};
use crate::matrix::MatRef;
use crate::parallel::{ParallelFor, available_threads};
use crate::plan::Plan;
use crate::quant::{dynamic_row_params, min_max_row};

/// How many threads a product may use. They come from the rayon pool that the caller runs in, or from the global one, unless
/// the run has a [`ParallelFor`].
///
/// # Examples
/// ```
/// use gemmill::Threads;
/// assert_eq!(Threads::default(), Threads::Auto);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Threads {
    /// As many as the pool has, if the product is large enough for them.
    #[default]
    Auto,
    /// At most this many, if the product is large enough. With one, the calling thread does all.
    Max(usize),
    /// This many, however small the product, as far as the pool has them and C can be cut.
    Exactly(usize),
}

impl Threads {
    /// Refuses none at all.
    pub(crate) fn check(self) -> Result<()> {
        match self {
            Threads::Max(0) | Threads::Exactly(0) => {
                Err(Error::OutOfRange { what: "threads", low: 1, high: i64::MAX, given: 0 })
            }
            _ => Ok(()),
        }
    }

    /// Whether a product of this size may use more than the calling thread.
    pub(crate) fn may_be_several(self, rows: usize, k: usize, cols: usize) -> bool {
        match self {
            Threads::Max(1) | Threads::Exactly(1) => false,
            Threads::Exactly(_) => true,
            _ => Plan::worth_threads(rows, k, cols),
        }
    }

    /// The most that a product of this size may use.
    pub(crate) fn of_product(self, rows: usize, k: usize, cols: usize, own: Option<&dyn ParallelFor>) -> usize {
        match self {
            Threads::Max(1) | Threads::Exactly(1) => 1,
            Threads::Exactly(n) => n.min(available_threads(own)),
            // Asking the pool costs as much as a small product.
            _ if !Plan::worth_threads(rows, k, cols) => 1,
            Threads::Auto => available_threads(own),
            Threads::Max(n) => n.min(available_threads(own)),
        }
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
    pub(super) row_zero_points: Option<&'a [i32]>,
    pub(super) row_scales: Option<&'a [f32]>,
    pub(super) residual: Option<MatRef<'a, f32>>,
    pub(super) parallel_for: Option<&'a dyn ParallelFor>,
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
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Dequantize, Gemm, MatMut, MatRef, PackedB, RunOptions};
    /// let b = PackedB::new(MatRef::row_major(&[2i8], 1, 1)?)?;
    /// let gemm = Gemm::builder(&b, Dequantize::new(1.0).relu()).build()?;
    /// let residual = [-5f32, 5.0];
    /// let options = RunOptions::new().residual(MatRef::row_major(&residual, 2, 1)?);
    /// let mut c = [0f32; 2];
    /// gemm.run_with(MatRef::row_major(&[1u8, 1], 2, 1)?, &mut MatMut::row_major(&mut c, 2, 1)?, &options)?;
    /// assert_eq!(c, [0.0, 7.0]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn residual(mut self, residual: MatRef<'a, f32>) -> Self {
        self.residual = Some(residual);
        self
    }

    /// Threads of the caller's own, instead of a rayon pool's. The operation's [`Threads`] say how many of them it may use.
    pub fn parallel_for(mut self, threads: &'a dyn ParallelFor) -> Self {
        self.parallel_for = Some(threads);
        self
    }
}

/// Parameters by row that kernels read, kept from call to call.
#[derive(Default)]
pub(super) struct RowParameters {
    pub(super) zero_points: Vec<i32>,
    pub(super) scales: Vec<f32>,
    pub(super) inverses: Vec<f32>,
    /// A row whose elements don't lie side by side.
    gathered: Vec<f32>,
}

impl RowParameters {
    /// Parameters of each row from its own range.
    pub(super) fn fit_rows(&mut self, a: &MatRef<'_, f32>) -> Result<()> {
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

/// Runs `f` with this thread's row parameters. A run inside a run gets fresh ones.
pub(super) fn with_row_parameters<R>(f: impl FnOnce(&mut RowParameters) -> R) -> R {
    ROW_PARAMETERS.with(|parameters| match parameters.try_borrow_mut() {
        Ok(mut parameters) => f(&mut parameters),
        Err(_) => f(&mut RowParameters::default()),
    })
}
