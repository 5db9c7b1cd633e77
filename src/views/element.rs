//! The types of elements that matrices may have.

use std::fmt;

use bytemuck::Pod;
use gemmill_codegen::FloatType;
use half::{bf16, f16};

use super::any::AnyRef;
use super::matrix::MatRef;

/// The type of a matrix's elements, known when the program runs.
///
/// # Examples
/// ```
/// use gemmill::ElementType;
/// assert_eq!(ElementType::Bf16.bytes(), 2);
/// assert_eq!(ElementType::ALL.map(|t| t.to_string()).join(" "), "u8 i8 i32 f32 f16 bf16");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// Bytes without a sign.
    U8,
    /// Bytes with a sign.
    I8,
    /// 32-bit integers.
    I32,
    /// Single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
}

impl ElementType {
    /// All of them.
    pub const ALL: [ElementType; 6] =
        [ElementType::U8, ElementType::I8, ElementType::I32, ElementType::F32, ElementType::F16, ElementType::Bf16];

    /// Bytes of an element.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(gemmill::ElementType::I32.bytes(), 4);
    /// ```
    pub const fn bytes(self) -> usize {
        match self {
            ElementType::U8 | ElementType::I8 => 1,
            ElementType::F16 | ElementType::Bf16 => 2,
            ElementType::I32 | ElementType::F32 => 4,
        }
    }

    /// Its name, as Rust and the half crate write it.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(gemmill::ElementType::U8.name(), "u8");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            ElementType::U8 => "u8",
            ElementType::I8 => "i8",
            ElementType::I32 => "i32",
            ElementType::F32 => "f32",
            ElementType::F16 => "f16",
            ElementType::Bf16 => "bf16",
        }
    }

    /// The floating-point type that it is, if it is one.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{ElementType, FloatType};
    /// assert_eq!(ElementType::F16.float(), Some(FloatType::F16));
    /// assert_eq!(ElementType::I32.float(), None);
    /// ```
    pub const fn float(self) -> Option<FloatType> {
        match self {
            ElementType::F32 => Some(FloatType::F32),
            ElementType::F16 => Some(FloatType::F16),
            ElementType::Bf16 => Some(FloatType::Bf16),
            ElementType::U8 | ElementType::I8 | ElementType::I32 => None,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A type that a matrix may hold: `u8`, `i8`, `i32`, `f32`, [`half::f16`] or [`half::bf16`].
///
/// # Examples
/// ```
/// use gemmill::{Element, ElementType};
/// assert_eq!(<u8 as Element>::TYPE, ElementType::U8);
/// ```
pub trait Element: Copy + Default + Send + Sync + Pod + sealed::Sealed + 'static {
    /// Which type it is.
    const TYPE: ElementType;

    #[doc(hidden)]
    fn any_ref(matrix: MatRef<'_, Self>) -> AnyRef<'_>;
}

/// A floating-point type that matrices may have: `f32`, [`half::f16`] or [`half::bf16`].
///
/// # Examples
/// ```
/// use gemmill::{Float, FloatType, half::bf16};
/// assert_eq!(bf16::FLOAT, FloatType::Bf16);
/// assert_eq!(bf16::from_f32(1.0 + 1e-4).to_f32(), 1.0);
/// ```
pub trait Float: Element {
    /// Which type it is.
    const FLOAT: FloatType;

    /// The same number.
    fn to_f32(self) -> f32;

    /// The nearest number, to even where two are; beyond the largest one infinity. NaN stays NaN.
    fn from_f32(x: f32) -> Self;
}

macro_rules! element {
    ($($type:ty, $variant:ident;)*) => {$(
        impl sealed::Sealed for $type {}

        impl Element for $type {
            const TYPE: ElementType = ElementType::$variant;

            fn any_ref(matrix: MatRef<'_, Self>) -> AnyRef<'_> {
                AnyRef::$variant(matrix)
            }
        }
    )*};
}

element! {
    u8, U8;
    i8, I8;
    i32, I32;
    f32, F32;
    f16, F16;
    bf16, Bf16;
}

macro_rules! float {
    ($($type:ty, $variant:ident, $to:expr, $from:expr;)*) => {$(
        impl Float for $type {
            const FLOAT: FloatType = FloatType::$variant;

            #[inline(always)]
            fn to_f32(self) -> f32 {
                $to(self)
            }

            #[inline(always)]
            fn from_f32(x: f32) -> Self {
                $from(x)
            }
        }
    )*};
}

float! {
    f32, F32, std::convert::identity, std::convert::identity;
    f16, F16, f16::to_f32, f16::from_f32;
    bf16, Bf16, bf16::to_f32, bf16::from_f32;
}
