//! The integer types that a quantized tensor may hold.

use crate::views::Element;

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for i8 {}
}

/// A quantized element: `u8` or `i8`. The trait is sealed.
///
/// # Examples
/// ```
/// use gemmill::quant::QuantElement;
/// assert_eq!((u8::LOW, u8::HIGH), (0, 255));
/// assert_eq!((i8::LOW, i8::HIGH), (-128, 127));
/// ```
pub trait QuantElement: Element + sealed::Sealed + PartialEq + std::fmt::Debug {
    /// The smallest value.
    const LOW: i32;
    /// The largest value.
    const HIGH: i32;

    /// The low eight bits of `value`: the value itself if it lies in `LOW..=HIGH`.
    ///
    /// # Examples
    /// ```
    /// use gemmill::quant::QuantElement;
    /// assert_eq!(i8::from_i32(-3), -3);
    /// assert_eq!(u8::from_i32(256), 0);
    /// ```
    fn from_i32(value: i32) -> Self;

    /// The value, exactly.
    ///
    /// # Examples
    /// ```
    /// use gemmill::quant::QuantElement;
    /// assert_eq!((-3i8).to_i32(), -3);
    /// ```
    fn to_i32(self) -> i32;
}

impl QuantElement for u8 {
    const LOW: i32 = u8::MIN as i32;
    const HIGH: i32 = u8::MAX as i32;

    #[inline(always)]
    fn from_i32(value: i32) -> Self {
        value as u8
    }

    #[inline(always)]
    fn to_i32(self) -> i32 {
        i32::from(self)
    }
}

impl QuantElement for i8 {
    const LOW: i32 = i8::MIN as i32;
    const HIGH: i32 = i8::MAX as i32;

    #[inline(always)]
    fn from_i32(value: i32) -> Self {
        value as i8
    }

    #[inline(always)]
    fn to_i32(self) -> i32 {
        i32::from(self)
    }
}
