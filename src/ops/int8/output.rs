//! What C can be: i32 sums, requantized bytes, dequantized floats.

use std::marker::PhantomData;

use gemmill_codegen::Byte;

use super::bound::{Bound, Context};
use crate::error::{Error, Result};
use crate::quant::QuantElement;
use crate::quant::per_column::PerColumn;
use crate::views::{Element, Float};

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::IntOutput {}
    impl<T> Sealed for super::Requantize<'_, T> {}
    impl<T> Sealed for super::Dequantize<'_, T> {}
}

/// A kind of output. The type of C follows from it.
pub trait OutputStage: sealed::Sealed {
    /// Type of the elements of C.
    type Element: Element;

    #[doc(hidden)]
    fn bind(&self, context: &Context<'_>) -> Result<Bound>;
}

/// i32 output: `C = raw` or `C = C + raw` (wrapping), with
/// `raw[i][j] = Σ_k (A[i][k] - A_zp[i]) * (B[k][j] - B_zp[j])`. Sums that leave i32 wrap modulo 2^32, or are refused:
/// [`Sums`](crate::Sums).
///
/// # Examples
/// ```
/// use gemmill::{Gemm, IntOutput, MatMut, MatRef, PackedB};
/// let b = PackedB::new(MatRef::row_major(&[1i8, -1, 2, 3], 2, 2)?)?;
/// let gemm = Gemm::builder(&b, IntOutput::Add).build()?;
/// let mut c = [100i32, 100];
/// gemm.run(MatRef::row_major(&[5u8, 6], 1, 2)?, &mut MatMut::row_major(&mut c, 1, 2)?)?;
/// assert_eq!(c, [117, 113]);
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntOutput {
    /// C is overwritten.
    Store,
    /// C is added to.
    Add,
}

impl OutputStage for IntOutput {
    type Element = i32;

    fn bind(&self, context: &Context<'_>) -> Result<Bound> {
        Bound::int(*self, context)
    }
}

/// The bias of a requantized output.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bias<'a> {
    None,
    /// Added to the sums.
    Int(&'a [i32]),
    /// Divided by `a_scale * b_scale[j]`, then added to the sums as f32.
    Float {
        bias: &'a [f32],
        a_scale: f32,
        b_scale: PerColumn<'a, f32>,
    },
}

/// Output of u8 or i8: `C = zp + rne(clamp(x * multiplier[j], lo - zp, hi - zp))`.
///
/// `x` is `f32(raw + bias[j])` with an i32 bias and `f32(raw) + bias[j] / (A_scale * B_scale[j])` with an f32 one; the
/// multiplier is usually `A_scale * B_scale[j] / C_scale`. `lo..hi` is the range of the type, narrowed by
/// [`Requantize::clamp`]; ReLU raises `lo` to the zero point. Sums, bias included, that leave i32 wrap modulo 2^32, or
/// are refused: [`Sums`](crate::Sums).
///
/// # Examples
/// ```
/// use gemmill::{Gemm, MatMut, MatRef, PackedB, Requantize};
/// let b = PackedB::new(MatRef::row_major(&[1i8, -1], 1, 2)?)?;
/// let gemm = Gemm::builder(&b, Requantize::<u8>::new(0.5).zero_point(10)).build()?;
/// let mut c = [0u8; 2];
/// gemm.run(MatRef::row_major(&[9u8], 1, 1)?, &mut MatMut::row_major(&mut c, 1, 2)?)?;
/// assert_eq!(c, [14, 6]); // 4.5 and -4.5, to even, plus 10
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Requantize<'a, T> {
    pub(crate) multiplier: PerColumn<'a, f32>,
    pub(crate) zero_point: i32,
    pub(crate) bias: Bias<'a>,
    pub(crate) relu: bool,
    pub(crate) clamp: Option<(T, T)>,
}

impl<'a, T: QuantElement> Requantize<'a, T> {
    /// With these multipliers (finite, > 0), a zero point of 0, and no bias.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Gemm, MatMut, MatRef, PackedB, Requantize};
    /// let b = PackedB::new(MatRef::row_major(&[1i8, -1], 1, 2)?)?;
    /// let gemm = Gemm::builder(&b, Requantize::<i8>::new(&[1.0, 0.5])).build()?; // or one number for all columns
    /// let mut c = [0i8; 2];
    /// gemm.run(MatRef::row_major(&[8u8], 1, 1)?, &mut MatMut::row_major(&mut c, 1, 2)?)?;
    /// assert_eq!(c, [8, -4]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn new(multiplier: impl Into<PerColumn<'a, f32>>) -> Self {
        Requantize { multiplier: multiplier.into(), zero_point: 0, bias: Bias::None, relu: false, clamp: None }
    }

    /// Zero point of C, in the range of its type.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Gemm, MatMut, MatRef, PackedB, Requantize};
    /// let b = PackedB::new(MatRef::row_major(&[1i8, -1], 1, 2)?)?;
    /// let gemm = Gemm::builder(&b, Requantize::<i8>::new(1.0).zero_point(-10)).build()?;
    /// let mut c = [0i8; 2];
    /// gemm.run(MatRef::row_major(&[9u8], 1, 1)?, &mut MatMut::row_major(&mut c, 1, 2)?)?;
    /// assert_eq!(c, [-1, -19]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn zero_point(mut self, zero_point: i32) -> Self {
        self.zero_point = zero_point;
        self
    }

    /// A bias per column, in units of the i32 sums (wrapping addition).
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Gemm, MatMut, MatRef, PackedB, Requantize};
    /// let b = PackedB::new(MatRef::row_major(&[1i8, -1], 1, 2)?)?;
    /// let gemm = Gemm::builder(&b, Requantize::<i8>::new(1.0).bias_i32(&[100, -100])).build()?;
    /// let mut c = [0i8; 2];
    /// gemm.run(MatRef::row_major(&[9u8], 1, 1)?, &mut MatMut::row_major(&mut c, 1, 2)?)?;
    /// assert_eq!(c, [109, -109]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn bias_i32(mut self, bias: &'a [i32]) -> Self {
        self.bias = Bias::Int(bias);
        self
    }

    /// A bias per column in real units; `a_scale * b_scale[j]` is the real value of one unit of the sums.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Gemm, MatMut, MatRef, PackedB, Requantize};
    /// let b = PackedB::new(MatRef::row_major(&[1i8, -1], 1, 2)?)?;
    /// let gemm = Gemm::builder(&b, Requantize::<i8>::new(1.0).bias_f32(&[1.0, -1.0], 0.5, 0.5)).build()?;
    /// let mut c = [0i8; 2];
    /// gemm.run(MatRef::row_major(&[9u8], 1, 1)?, &mut MatMut::row_major(&mut c, 1, 2)?)?;
    /// assert_eq!(c, [13, -13]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn bias_f32(mut self, bias: &'a [f32], a_scale: f32, b_scale: impl Into<PerColumn<'a, f32>>) -> Self {
        self.bias = Bias::Float { bias, a_scale, b_scale: b_scale.into() };
        self
    }

    /// No output is below the zero point.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Gemm, MatMut, MatRef, PackedB, Requantize};
    /// let b = PackedB::new(MatRef::row_major(&[1i8, -1], 1, 2)?)?;
    /// let gemm = Gemm::builder(&b, Requantize::<i8>::new(1.0).zero_point(3).relu()).build()?;
    /// let mut c = [0i8; 2];
    /// gemm.run(MatRef::row_major(&[9u8], 1, 1)?, &mut MatMut::row_major(&mut c, 1, 2)?)?;
    /// assert_eq!(c, [12, 3]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn relu(mut self) -> Self {
        self.relu = true;
        self
    }

    /// No output is outside `low..=high`.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Gemm, MatMut, MatRef, PackedB, Requantize};
    /// let b = PackedB::new(MatRef::row_major(&[1i8, -1], 1, 2)?)?;
    /// let gemm = Gemm::builder(&b, Requantize::<i8>::new(1.0).clamp(-5, 5)).build()?;
    /// let mut c = [0i8; 2];
    /// gemm.run(MatRef::row_major(&[9u8], 1, 1)?, &mut MatMut::row_major(&mut c, 1, 2)?)?;
    /// assert_eq!(c, [5, -5]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn clamp(mut self, low: T, high: T) -> Self {
        self.clamp = Some((low, high));
        self
    }
}

impl<T: QuantElement> OutputStage for Requantize<'_, T> {
    type Element = T;

    fn bind(&self, context: &Context<'_>) -> Result<Bound> {
        let to = if T::LOW < 0 { Byte::I8 } else { Byte::U8 };
        let limits = self.clamp.map(|(low, high)| (low.to_i32(), high.to_i32()));
        let (mut low, high) = limits.unwrap_or((T::LOW, T::HIGH));
        if !(T::LOW..=T::HIGH).contains(&self.zero_point) {
            let what = "zero point of C";
            let (low, high) = (T::LOW.into(), T::HIGH.into());
            return Err(Error::OutOfRange { what, low, high, given: self.zero_point.into() });
        }
        if self.relu {
            low = low.max(self.zero_point);
        }
        if low > high {
            let what = "lower limit of C, after ReLU";
            return Err(Error::OutOfRange { what, low: T::LOW.into(), high: high.into(), given: low.into() });
        }
        Bound::requantize(to, (low, high), self.zero_point, self.multiplier, self.bias, context)
    }
}

/// Floating-point output: `C = fma(f32(raw), A_scale[i] * B_scale[j], bias[j])`, or `f32(raw) * (A_scale[i] *
/// B_scale[j])` without a bias; then the residual is added if a run gives one, then ReLU and clamp (a NaN stays one).
/// All of that is f32; C is that, or what [`Dequantize::to`] rounds it to.
///
/// `raw[i][j] = Σ_k (A[i][k] - A_zp[i]) * (B[k][j] - B_zp[j])`, exact for every K: where it may leave i32
/// ([`PackedB::largest_sum`](crate::PackedB::largest_sum)), the operation keeps weights cut along K until the sums of
/// each part fit, and adds these up in i64.
///
/// # Examples
/// ```
/// use gemmill::{Dequantize, Gemm, MatMut, MatRef, PackedB};
/// let b = PackedB::new(MatRef::row_major(&[3i8, -4], 1, 2)?)?;
/// let gemm = Gemm::builder(&b, Dequantize::new(0.5).a_scale(0.25).bias(&[1.0, 1.0]).relu()).build()?;
/// let mut c = [0f32; 2];
/// gemm.run(MatRef::row_major(&[8u8], 1, 1)?, &mut MatMut::row_major(&mut c, 1, 2)?)?;
/// assert_eq!(c, [4.0, 0.0]);
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Dequantize<'a, T = f32> {
    pub(crate) b_scale: PerColumn<'a, f32>,
    pub(crate) a_scale: Option<f32>,
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) relu: bool,
    pub(crate) clamp: Option<(f32, f32)>,
    element: PhantomData<fn() -> T>,
}

impl<'a> Dequantize<'a> {
    /// With these scales of B, and no bias. Scales are finite and > 0. Integer activations need [`Dequantize::a_scale`]
    /// as well.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Dequantize, Gemm, MatMut, MatRef, PackedB};
    /// let b = PackedB::new(MatRef::row_major(&[1i8, -1], 1, 2)?)?;
    /// let scales = [0.5, 0.25];
    /// let gemm = Gemm::builder(&b, Dequantize::new(&scales).a_scale(1.0)).build()?;
    /// let mut c = [0f32; 2];
    /// gemm.run(MatRef::row_major(&[8u8], 1, 1)?, &mut MatMut::row_major(&mut c, 1, 2)?)?;
    /// assert_eq!(c, [4.0, -2.0]);
    /// assert!(Gemm::<u8, f32>::builder(&b, Dequantize::new(&scales)).build().is_err());
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn new(b_scale: impl Into<PerColumn<'a, f32>>) -> Self {
        let b_scale = b_scale.into();
        Dequantize { b_scale, a_scale: None, bias: None, relu: false, clamp: None, element: PhantomData }
    }
}

impl<'a, T: Float> Dequantize<'a, T> {
    /// The type of C: results are rounded to it, to the nearest, ties to even.
    ///
    /// # Examples
    /// ```
    /// use gemmill::half::bf16;
    /// use gemmill::{Dequantize, Gemm, MatMut, MatRef, PackedB};
    /// let b = PackedB::new(MatRef::row_major(&[1i8, -1], 1, 2)?)?;
    /// let gemm = Gemm::builder(&b, Dequantize::new(0.5).to::<bf16>().a_scale(1.0)).build()?;
    /// let mut c = [bf16::ZERO; 2];
    /// gemm.run(MatRef::row_major(&[9u8], 1, 1)?, &mut MatMut::row_major(&mut c, 1, 2)?)?;
    /// assert_eq!(c.map(bf16::to_f32), [4.5, -4.5]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn to<U: Float>(self) -> Dequantize<'a, U> {
        let Dequantize { b_scale, a_scale, bias, relu, clamp, .. } = self;
        Dequantize { b_scale, a_scale, bias, relu, clamp, element: PhantomData }
    }

    /// Scale of u8 or i8 activations, which need one. (Floating-point ones bring theirs. Scales of rows that a run's
    /// options give are taken instead of this one.)
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Dequantize, Gemm, MatMut, MatRef, PackedB};
    /// let b = PackedB::new(MatRef::row_major(&[1i8, -1], 1, 2)?)?;
    /// let gemm = Gemm::builder(&b, Dequantize::new(0.5).a_scale(2.0)).build()?;
    /// let mut c = [0f32; 2];
    /// gemm.run(MatRef::row_major(&[9u8], 1, 1)?, &mut MatMut::row_major(&mut c, 1, 2)?)?;
    /// assert_eq!(c, [9.0, -9.0]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn a_scale(mut self, a_scale: f32) -> Self {
        self.a_scale = Some(a_scale);
        self
    }

    /// A bias per column, finite.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Dequantize, Gemm, MatMut, MatRef, PackedB};
    /// let b = PackedB::new(MatRef::row_major(&[1i8, -1], 1, 2)?)?;
    /// let gemm = Gemm::builder(&b, Dequantize::new(0.5).a_scale(1.0).bias(&[1.0, 2.0])).build()?;
    /// let mut c = [0f32; 2];
    /// gemm.run(MatRef::row_major(&[9u8], 1, 1)?, &mut MatMut::row_major(&mut c, 1, 2)?)?;
    /// assert_eq!(c, [5.5, -2.5]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn bias(mut self, bias: &'a [f32]) -> Self {
        self.bias = Some(bias);
        self
    }

    /// No output is below zero.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Dequantize, Gemm, MatMut, MatRef, PackedB};
    /// let b = PackedB::new(MatRef::row_major(&[1i8, -1], 1, 2)?)?;
    /// let gemm = Gemm::builder(&b, Dequantize::new(0.5).a_scale(1.0).relu()).build()?;
    /// let mut c = [0f32; 2];
    /// gemm.run(MatRef::row_major(&[9u8], 1, 1)?, &mut MatMut::row_major(&mut c, 1, 2)?)?;
    /// assert_eq!(c, [4.5, 0.0]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn relu(mut self) -> Self {
        self.relu = true;
        self
    }

    /// No output is outside `low..=high`.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Dequantize, Gemm, MatMut, MatRef, PackedB};
    /// let b = PackedB::new(MatRef::row_major(&[1i8, -1], 1, 2)?)?;
    /// let gemm = Gemm::builder(&b, Dequantize::new(0.5).a_scale(1.0).clamp(-1.0, 1.0)).build()?;
    /// let mut c = [0f32; 2];
    /// gemm.run(MatRef::row_major(&[9u8], 1, 1)?, &mut MatMut::row_major(&mut c, 1, 2)?)?;
    /// assert_eq!(c, [1.0, -1.0]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn clamp(mut self, low: f32, high: f32) -> Self {
        self.clamp = Some((low, high));
        self
    }
}

impl<T: Float> OutputStage for Dequantize<'_, T> {
    type Element = T;

    fn bind(&self, context: &Context<'_>) -> Result<Bound> {
        Bound::dequantize(T::FLOAT, self, context)
    }
}
