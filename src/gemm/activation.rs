//! Types of activations, and how f32 ones become u8.

use gemmill_codegen::Byte;

use crate::error::{Error, Result};
use crate::matrix::{Element, MatRef};
use crate::pack::activations::{RowQuantization, Source};
use crate::pack::packed::PackedView;
use crate::quant::QuantParams;

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for i8 {}
    impl Sealed for f32 {}
}

/// A type of activations: `u8`, `i8`, or `f32` that is quantized on the fly.
pub trait Activation: Element + sealed::Sealed {
    #[doc(hidden)]
    const KIND: ActivationKind;
    #[doc(hidden)]
    fn source<'a>(a: MatRef<'a, Self>, quantization: RowQuantization<'a>) -> Source<'a>;
}

/// What kernels need to know of a type of activations.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivationKind {
    U8,
    I8,
    F32,
}

impl ActivationKind {
    /// Legal zero points.
    fn zero_points(self) -> (i32, i32) {
        if self == ActivationKind::I8 { (-128, 127) } else { (0, 255) }
    }

    /// The type in which kernels get these activations: signed ones as they are where the packed weights' kernels multiply
    /// them so, otherwise moved up by 128 to unsigned ones.
    pub(super) fn multiplied_as(self, packed: PackedView<'_>) -> Byte {
        match self {
            ActivationKind::I8 if packed.multiplies_signed() => Byte::I8,
            _ => Byte::U8,
        }
    }

    /// Whether activations must be written anew for kernels to read them.
    pub(super) fn is_converted(self, packed: PackedView<'_>) -> bool {
        match self {
            ActivationKind::U8 => false,
            ActivationKind::I8 => self.multiplied_as(packed) == Byte::U8,
            ActivationKind::F32 => true,
        }
    }

    /// What is added to activations, and to their zero points, to make them what kernels get.
    pub(super) fn moved(self, packed: PackedView<'_>) -> i32 {
        let is_moved = self == ActivationKind::I8 && self.multiplied_as(packed) == Byte::U8;
        if is_moved { 128 } else { 0 }
    }

    pub(super) fn check_zero_point(self, zero_point: i32) -> Result<()> {
        let (low, high) = self.zero_points();
        if (low..=high).contains(&zero_point) {
            return Ok(());
        }
        let what = "zero point of A";
        Err(Error::OutOfRange { what, low: low.into(), high: high.into(), given: zero_point.into() })
    }
}

impl Activation for u8 {
    const KIND: ActivationKind = ActivationKind::U8;
    fn source<'a>(a: MatRef<'a, u8>, _: RowQuantization<'a>) -> Source<'a> {
        Source::U8(a)
    }
}

impl Activation for i8 {
    const KIND: ActivationKind = ActivationKind::I8;
    fn source<'a>(a: MatRef<'a, i8>, _: RowQuantization<'a>) -> Source<'a> {
        Source::I8(a)
    }
}

impl Activation for f32 {
    const KIND: ActivationKind = ActivationKind::F32;
    fn source<'a>(a: MatRef<'a, f32>, quantization: RowQuantization<'a>) -> Source<'a> {
        Source::F32(a, quantization)
    }
}

/// How f32 activations become u8.
///
/// # Examples
/// ```
/// use gemmill::{ActivationQuantization, QuantParams};
/// let fixed = ActivationQuantization::Static(QuantParams::new(0.02, 128)?);
/// assert_ne!(fixed, ActivationQuantization::DynamicPerRow);
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ActivationQuantization {
    /// All alike, by these parameters.
    Static(QuantParams<u8>),
    /// Each row by its own smallest and largest element, for f32 outputs. NaN is left out of them and becomes the zero
    /// point; a row that holds an infinity is an error.
    DynamicPerRow,
}
