//! Types of activations, and how floating-point ones become u8.

use gemmill_codegen::Byte;
use half::{bf16, f16};

use crate::error::{Error, Result};
use crate::quant::QuantParams;
use crate::views::{Element, ElementType};
use crate::weights::int8::packed::PackedView;

mod sealed {
    pub trait Sealed {}
}

/// A type of activations: `u8`, `i8`, or `f32`, [`half::f16`] or [`half::bf16`] that are quantized on the fly.
pub trait Activation: Element + sealed::Sealed {}

macro_rules! activations {
    ($($type:ty)*) => {
        $(impl sealed::Sealed for $type {}
        impl Activation for $type {})*
    };
}

activations!(u8 i8 f32 f16 bf16);

/// What becomes of a type of activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ActivationKind {
    U8,
    I8,
    /// Quantized to u8 inside the call.
    Float,
}

impl ActivationKind {
    /// # Errors
    /// [`Error::Unsupported`] for i32.
    pub(crate) fn of(element: ElementType) -> Result<ActivationKind> {
        match element {
            ElementType::U8 => Ok(ActivationKind::U8),
            ElementType::I8 => Ok(ActivationKind::I8),
            ElementType::F32 | ElementType::F16 | ElementType::Bf16 => Ok(ActivationKind::Float),
            ElementType::I32 => {
                Err(Error::Unsupported { what: "activations: expected the type u8, i8, f32, f16 or bf16, given i32" })
            }
        }
    }

    /// The type in which kernels get these activations: signed ones as they are where the packed weights' kernels
    /// multiply them so, otherwise moved up by 128 to unsigned ones.
    pub(crate) fn multiplied_as(self, packed: PackedView<'_>) -> Byte {
        match self {
            ActivationKind::I8 if packed.multiplies_signed() => Byte::I8,
            _ => Byte::U8,
        }
    }

    /// Whether activations must be written anew for kernels to read them.
    pub(crate) fn is_converted(self, packed: PackedView<'_>) -> bool {
        match self {
            ActivationKind::U8 => false,
            ActivationKind::I8 => self.multiplied_as(packed) == Byte::U8,
            ActivationKind::Float => true,
        }
    }

    /// What is added to activations, and to their zero points, to make them what kernels get.
    pub(super) fn moved(self, packed: PackedView<'_>) -> i32 {
        let is_moved = self == ActivationKind::I8 && self.multiplied_as(packed) == Byte::U8;
        if is_moved { 128 } else { 0 }
    }

    pub(super) fn check_zero_point(self, zero_point: i32) -> Result<()> {
        let (low, high) = if self == ActivationKind::I8 { (-128, 127) } else { (0, 255) };
        if (low..=high).contains(&zero_point) {
            return Ok(());
        }
        let what = "zero point of A";
        Err(Error::OutOfRange { what, low: low.into(), high: high.into(), given: zero_point.into() })
    }
}

/// How floating-point activations become u8.
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
    /// Each row by its own smallest and largest element, for floating-point outputs. NaN is left out of them and
    /// becomes the zero point; a row that holds an infinity is an error.
    DynamicPerRow,
}
