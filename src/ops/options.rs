//! What may differ from run to run.

use crate::error::{Error, Result};
use crate::machine::threads::ParallelFor;
use crate::views::{AnyRef, Float, MatRef};

/// What may differ from run to run. An option that an operation has no use for is refused by the run.
///
/// # Examples
/// ```
/// use gemmill::{Dequantize, Gemm, MatMut, MatRef, PackedB, RunOptions};
/// let b = PackedB::new(MatRef::row_major(&[1i8], 1, 1)?)?;
/// let gemm = Gemm::builder(&b, Dequantize::new(1.0).a_scale(1.0)).build()?;
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
    pub(super) residual: Option<AnyRef<'a>>,
    pub(super) parallel_for: Option<&'a dyn ParallelFor>,
}

impl<'a> RunOptions<'a> {
    /// None of them.
    pub fn new() -> Self {
        Self::default()
    }

    /// A zero point for each row of integer activations, instead of the operation's; for [`Gemm`](crate::Gemm).
    pub fn row_zero_points(mut self, zero_points: &'a [i32]) -> Self {
        self.row_zero_points = Some(zero_points);
        self
    }

    /// A scale for each row of integer activations, instead of the operation's; for [`Dequantize`](crate::Dequantize).
    pub fn row_scales(mut self, scales: &'a [f32]) -> Self {
        self.row_scales = Some(scales);
        self
    }

    /// A matrix of C's shape and type that is added, as f32, after the bias: for [`FloatGemm`](crate::FloatGemm) and
    /// [`Dequantize`](crate::Dequantize). Elements of a row lie side by side.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Dequantize, Gemm, MatMut, MatRef, PackedB, RunOptions};
    /// let b = PackedB::new(MatRef::row_major(&[2i8], 1, 1)?)?;
    /// let gemm = Gemm::builder(&b, Dequantize::new(1.0).a_scale(1.0).relu()).build()?;
    /// let residual = [-5f32, 5.0];
    /// let options = RunOptions::new().residual(MatRef::row_major(&residual, 2, 1)?);
    /// let mut c = [0f32; 2];
    /// gemm.run_with(MatRef::row_major(&[1u8, 1], 2, 1)?, &mut MatMut::row_major(&mut c, 2, 1)?, &options)?;
    /// assert_eq!(c, [0.0, 7.0]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn residual<T: Float>(mut self, residual: MatRef<'a, T>) -> Self {
        self.residual = Some(residual.into());
        self
    }

    /// Threads of the caller's own, instead of a rayon pool's. The operation's [`Threads`](crate::Threads) say how many
    /// of them it may use.
    pub fn parallel_for(mut self, threads: &'a dyn ParallelFor) -> Self {
        self.parallel_for = Some(threads);
        self
    }

    pub(super) fn has_row_parameters(&self) -> bool {
        self.row_zero_points.is_some() || self.row_scales.is_some()
    }

    /// Refuses zero points and scales of rows.
    pub(super) fn no_row_parameters(&self, what: &'static str) -> Result<()> {
        if self.has_row_parameters() { Err(Error::Unsupported { what }) } else { Ok(()) }
    }
}
