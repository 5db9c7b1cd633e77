//! Configuring a [`Gemm`].

use std::marker::PhantomData;

use gemmill_codegen::Tier;

use super::activation::{Activation, ActivationKind, ActivationQuantization};
use super::bound::{ActivationScale, Context};
use super::operation::Gemm;
use super::options::Threads;
use super::output::OutputStage;
use crate::error::{Error, Result};
use crate::pack::packed::PackedB;

/// Configures a [`Gemm`].
///
/// # Examples
/// ```
/// use gemmill::{Gemm, IntOutput, MatRef, PackedB, Threads};
/// let b = PackedB::new(MatRef::row_major(&[1i8], 1, 1)?)?;
/// let builder = Gemm::<u8, i32>::builder(&b, IntOutput::Store);
/// assert_eq!(builder.a_zero_point(7).threads(Threads::Max(1)).build()?.a_zero_point(), 7);
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct GemmBuilder<'a, A, O> {
    packed: &'a PackedB,
    output: O,
    a_zero_point: i32,
    quantization: Option<ActivationQuantization>,
    threads: Threads,
    tier: Option<Tier>,
    types: PhantomData<fn(A)>,
}

impl<'a, A: Activation, O: OutputStage> GemmBuilder<'a, A, O> {
    pub(super) fn new(packed: &'a PackedB, output: O) -> Self {
        GemmBuilder {
            packed,
            output,
            a_zero_point: 0,
            quantization: None,
            threads: Threads::Auto,
            tier: None,
            types: PhantomData,
        }
    }

    /// Zero point of integer activations, in the range of their type.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Gemm, IntOutput, MatMut, MatRef, PackedB};
    /// let b = PackedB::new(MatRef::row_major(&[2i8], 1, 1)?)?;
    /// let gemm = Gemm::builder(&b, IntOutput::Store).a_zero_point(100).build()?;
    /// let mut c = [0];
    /// gemm.run(MatRef::row_major(&[103u8], 1, 1)?, &mut MatMut::row_major(&mut c, 1, 1)?)?;
    /// assert_eq!(c, [6]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn a_zero_point(mut self, zero_point: i32) -> Self {
        self.a_zero_point = zero_point;
        self
    }

    /// How f32 activations become u8; required for them.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{ActivationQuantization, Dequantize, Gemm, MatMut, MatRef, PackedB};
    /// let b = PackedB::new(MatRef::row_major(&[100i8, -100], 2, 1)?)?;
    /// let gemm = Gemm::builder(&b, Dequantize::new(0.01))
    ///     .a_quantization(ActivationQuantization::DynamicPerRow)
    ///     .build()?;
    /// let mut c = [0f32];
    /// gemm.run(MatRef::row_major(&[2.55f32, 0.0], 1, 2)?, &mut MatMut::row_major(&mut c, 1, 1)?)?;
    /// assert!((c[0] - 2.55).abs() < 0.01);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn a_quantization(mut self, quantization: ActivationQuantization) -> Self {
        self.quantization = Some(quantization);
        self
    }

    /// How many threads a product may use.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Gemm, IntOutput, MatRef, PackedB, Threads};
    /// let b = PackedB::new(MatRef::row_major(&[1i8], 1, 1)?)?;
    /// assert!(Gemm::<u8, i32>::builder(&b, IntOutput::Store).threads(Threads::Max(1)).build().is_ok());
    /// assert!(Gemm::<u8, i32>::builder(&b, IntOutput::Store).threads(Threads::Max(0)).build().is_err());
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn threads(mut self, threads: Threads) -> Self {
        self.threads = threads;
        self
    }

    /// Insists on a tier. Products run on the tier that their weights were packed for: another one is an error.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Error, Gemm, IntOutput, MatRef, PackedB, Tier};
    /// let b = PackedB::builder(MatRef::row_major(&[1i8], 1, 1)?).tier(Tier::Portable).build()?;
    /// let builder = Gemm::<u8, i32>::builder(&b, IntOutput::Store);
    /// assert!(builder.clone().tier(Tier::Portable).build().is_ok());
    /// assert!(matches!(builder.tier(Tier::Avx2).build(), Err(Error::PackedFor { .. })));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn tier(mut self, tier: Tier) -> Self {
        self.tier = Some(tier);
        self
    }

    /// Checks everything that does not depend on A.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for zero points outside their types and for zero threads, [`Error::BadNumber`] for scales,
    /// multipliers and biases that are no usable numbers, [`Error::Mismatch`] for parameters of the wrong length,
    /// [`Error::Unsupported`] for combinations that make no sense, [`Error::PackedFor`] if the weights were packed for
    /// another tier than the one asked for, [`Error::Tier`] if this CPU lacks it.
    pub fn build(self) -> Result<Gemm<A, O::Element>> {
        let packed_for = self.packed.tier();
        if let Some(asked) = self.tier.filter(|&asked| asked != packed_for) {
            return Err(Error::PackedFor { tier: packed_for, asked });
        }
        packed_for.require()?;
        self.configure()
    }

    /// As [`Self::build`], whether or not this CPU has the tier of the weights: a pure function.
    pub(super) fn configure(self) -> Result<Gemm<A, O::Element>> {
        let mut a_zero_point = self.a_zero_point;
        A::KIND.check_zero_point(a_zero_point)?;
        self.threads.check()?;
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
        let packed = self.packed.view();
        let context = Context { packed, a_zero_point: a_zero_point + A::KIND.moved(packed), a_scale };
        let bound = self.output.bind(&context)?;
        Ok(Gemm::new(self.packed.clone(), a_zero_point, self.quantization, self.threads, bound))
    }
}
