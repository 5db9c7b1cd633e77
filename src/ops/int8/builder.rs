//! Configuring a [`Gemm`].

use std::marker::PhantomData;
use std::sync::atomic::AtomicBool;

use gemmill_codegen::{Tier, in_default_float_mode};

use super::activation::{Activation, ActivationKind, ActivationQuantization};
use super::bound::{ActivationScale, Context};
use super::family::Int8Family;
use super::gemm::Gemm;
use super::long::{Activations, LongSums};
use super::output::OutputStage;
use crate::error::{Error, Result};
use crate::machine::threads::Threads;
use crate::ops::AnyGemm;
use crate::ops::operation::Operation;
use crate::views::{Element, ElementType};
use crate::weights::PackedB;

/// What becomes of integer outputs whose sums, bias included, may leave i32: where [`PackedB::largest_sum`] exceeds
/// 2^31 - 1. (Floating-point outputs are exact all the same.)
///
/// # Examples
/// ```
/// use gemmill::{Error, Gemm, IntOutput, MatRef, PackedB, Sums};
/// let b = PackedB::new(MatRef::with_strides(&[127i8], 70_000, 1, 0, 1)?)?;
/// let builder = Gemm::<u8, i32>::builder(&b, IntOutput::Store);
/// assert!(builder.clone().build().is_ok());
/// let refused = builder.sums(Sums::Refuse).build().unwrap_err();
/// assert_eq!(refused, Error::SumsMayWrap { largest: 255 * 127 * 70_000 });
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sums {
    /// They wrap modulo 2^32, on all tiers alike.
    #[default]
    Wrap,
    /// Such an operation is refused.
    Refuse,
}

/// In place of a type of activations that is known when the program runs. See [`AnyGemm::int8`].
#[derive(Debug, Clone, Copy)]
pub enum Untyped {}

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
    a: ElementType,
    output: O,
    a_zero_point: i32,
    quantization: Option<ActivationQuantization>,
    sums: Sums,
    threads: Threads,
    tier: Option<Tier>,
    types: PhantomData<fn(A)>,
}

impl<'a, A, O: OutputStage> GemmBuilder<'a, A, O> {
    pub(super) fn new(packed: &'a PackedB, a: ElementType, output: O) -> Self {
        GemmBuilder {
            packed,
            a,
            output,
            a_zero_point: 0,
            quantization: None,
            sums: Sums::Wrap,
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

    /// How floating-point activations become u8; required for them.
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

    /// Whether integer outputs may wrap modulo 2^32.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Gemm, IntOutput, MatRef, PackedB, Sums};
    /// let b = PackedB::new(MatRef::row_major(&[1i8], 1, 1)?)?;
    /// assert!(Gemm::<u8, i32>::builder(&b, IntOutput::Store).sums(Sums::Refuse).build().is_ok());
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn sums(mut self, sums: Sums) -> Self {
        self.sums = sums;
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

    /// As [`GemmBuilder::build`], with types erased.
    pub(super) fn build_operation(self) -> Result<Operation<Int8Family>> {
        let packed_for = self.packed.tier();
        if let Some(asked) = self.tier.filter(|&asked| asked != packed_for) {
            return Err(Error::PackedFor { tier: packed_for, asked });
        }
        packed_for.require()?;
        let threads = self.threads;
        threads.check()?;
        let mut family = self.configure()?;
        if family.has_long_sums() {
            family.long = Some(LongSums::new(&family.packed, Activations::of(&family), threads)?);
        }
        Operation::new(family, threads)
    }

    /// The same, whether or not this CPU has the tier of the weights: a pure function.
    pub(crate) fn configure(self) -> Result<Int8Family> {
        let kind = ActivationKind::of(self.a)?;
        let mut a_zero_point = self.a_zero_point;
        kind.check_zero_point(a_zero_point)?;
        if kind != ActivationKind::U8 && self.packed.activation_max() != u8::MAX {
            let what = "a bound of the activations was declared when packing, but activations are not u8";
            return Err(Error::Unsupported { what });
        }
        let a_scale = match (kind, self.quantization) {
            (ActivationKind::Float, None) => {
                return Err(Error::Unsupported { what: "floating-point activations need a_quantization" });
            }
            (ActivationKind::Float, Some(_)) if a_zero_point != 0 => {
                let what = "floating-point activations take their zero point from a_quantization";
                return Err(Error::Unsupported { what });
            }
            (ActivationKind::Float, Some(ActivationQuantization::Static(params))) => {
                a_zero_point = params.zero_point();
                ActivationScale::Static(params.scale())
            }
            (ActivationKind::Float, Some(ActivationQuantization::DynamicPerRow)) => ActivationScale::PerRow,
            (_, None) => ActivationScale::Given,
            (_, Some(_)) => {
                return Err(Error::Unsupported { what: "a_quantization is for floating-point activations" });
            }
        };
        let packed = self.packed.view();
        let context = Context { packed, a_zero_point: a_zero_point + kind.moved(packed), a_scale };
        let bound = in_default_float_mode(|| self.output.bind(&context))?;
        let largest = self.packed.largest_sum().saturating_add(bound.largest_bias);
        let may_wrap = bound.gives_integers() && largest > i32::MAX as u64;
        if may_wrap && self.sums == Sums::Refuse {
            return Err(Error::SumsMayWrap { largest });
        }
        Ok(Int8Family {
            packed: self.packed.clone(),
            a: self.a,
            c: O::Element::TYPE,
            kind,
            a_zero_point,
            quantization: self.quantization,
            bound,
            may_wrap,
            long: None,
            backwards: AtomicBool::new(false),
        })
    }
}

impl<A: Activation, O: OutputStage> GemmBuilder<'_, A, O> {
    /// Checks everything that does not depend on A.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for zero points outside their types and for zero threads, [`Error::BadNumber`] for scales,
    /// multipliers and biases that are no usable numbers, [`Error::Mismatch`] for parameters of the wrong length,
    /// [`Error::Unsupported`] for combinations that make no sense, [`Error::PackedFor`] if the weights were packed for
    /// another tier than the one asked for, [`Error::Tier`] if this CPU lacks it, [`Error::SumsMayWrap`] if that was to
    /// be refused.
    pub fn build(self) -> Result<Gemm<A, O::Element>> {
        Ok(Gemm::new(self.build_operation()?))
    }
}

impl<O: OutputStage> GemmBuilder<'_, Untyped, O> {
    /// Checks everything that does not depend on A, types of activations included.
    ///
    /// # Errors
    /// As for a type that is known; [`Error::Unsupported`] for one that activations cannot have.
    pub fn build_any(self) -> Result<AnyGemm> {
        Ok(AnyGemm::new(self.build_operation()?))
    }
}

impl AnyGemm {
    /// Configures a product of 8-bit integers whose type of activations is known when the program runs.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{AnyGemm, ElementType, IntOutput, MatMut, MatRef, PackedB, RunOptions};
    /// let b = PackedB::new(MatRef::row_major(&[2i8], 1, 1)?)?;
    /// let gemm = AnyGemm::int8(&b, ElementType::U8, IntOutput::Store).a_zero_point(1).build_any()?;
    /// let (a, mut c) = ([4u8], [0]);
    /// let a = MatRef::row_major(&a, 1, 1)?;
    /// gemm.run(a.into(), (&mut MatMut::row_major(&mut c, 1, 1)?).into(), &RunOptions::new())?;
    /// assert_eq!(c, [6]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn int8<O: OutputStage>(packed: &PackedB, a: ElementType, output: O) -> GemmBuilder<'_, Untyped, O> {
        GemmBuilder::new(packed, a, output)
    }
}
