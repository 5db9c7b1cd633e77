//! From f32 to f16 and bf16, and back.

use std::ffi::c_void;

use gemmill::FloatType;
use gemmill::convert;
use gemmill::half::{bf16, f16};

use crate::call::{Failure, Outcome, call};
use crate::codes::Type;
use crate::pointer::{Plain, check_apart, elements, elements_mut, extent, size};
use crate::status::Status;

/// y[i] = x[i] as another type, rounded to nearest, ties to even; what is beyond the largest number becomes infinity, NaN stays NaN.
///
/// x_type and y_type: GEMMILL_TYPE_F32 and one of GEMMILL_TYPE_F16 and GEMMILL_TYPE_BF16, either way round. To f32, numbers stay
/// exactly what they are. x and y may be null if count is 0, and lie apart from each other. Ownership: both are the caller's.
/// Threads: any; the calling thread does all.
/// Errors: GEMMILL_STATUS_UNSUPPORTED for other types, GEMMILL_STATUS_OUT_OF_RANGE for a negative count and codes that no type has,
/// GEMMILL_STATUS_OVERFLOW, GEMMILL_STATUS_OVERLAP; pointers.
///
/// # Safety
/// x and y have count elements each; nobody writes to x's, or uses y's, meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_convert(
    x_type: i32,
    x: *const c_void,
    y_type: i32,
    y: *mut c_void,
    count: i64,
) -> Status {
    let arrays = Arrays { x_type, x, y_type, y, count };
    // SAFETY: by this function's contract.
    call("gemmill_convert", || unsafe { arrays.convert(Large::ToInfinity) })
}

/// y[i] = x[i] as another type, rounded to nearest, ties to even; what is beyond the largest finite number, infinity too, becomes
/// that number, NaN stays NaN.
///
/// x_type: GEMMILL_TYPE_F32. y_type: GEMMILL_TYPE_F16 or GEMMILL_TYPE_BF16. Everything else as gemmill_convert.
///
/// # Safety
/// x and y have count elements each; nobody writes to x's, or uses y's, meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_convert_saturating(
    x_type: i32,
    x: *const c_void,
    y_type: i32,
    y: *mut c_void,
    count: i64,
) -> Status {
    let arrays = Arrays { x_type, x, y_type, y, count };
    // SAFETY: by this function's contract.
    call("gemmill_convert_saturating", || unsafe { arrays.convert(Large::ToLargest) })
}

/// What becomes of numbers that are beyond the largest one of their new type.
#[derive(Debug, Clone, Copy)]
enum Large {
    ToInfinity,
    ToLargest,
}

/// Arrays as C gives them.
struct Arrays {
    x_type: i32,
    x: *const c_void,
    y_type: i32,
    y: *mut c_void,
    count: i64,
}

impl Arrays {
    /// # Safety
    /// As [`Arrays::each`].
    unsafe fn convert(&self, large: Large) -> Outcome {
        let types = (Type::float("type of x", self.x_type)?, Type::float("type of y", self.y_type)?);
        // SAFETY: by this function's contract.
        unsafe {
            match (types, large) {
                ((FloatType::F32, FloatType::F16), Large::ToInfinity) => self.each(convert::f32_to_f16),
                ((FloatType::F32, FloatType::Bf16), Large::ToInfinity) => self.each(convert::f32_to_bf16),
                ((FloatType::F16, FloatType::F32), Large::ToInfinity) => self.each::<f16, f32>(convert::f16_to_f32),
                ((FloatType::Bf16, FloatType::F32), Large::ToInfinity) => self.each::<bf16, f32>(convert::bf16_to_f32),
                ((FloatType::F32, FloatType::F16), Large::ToLargest) => self.each(convert::f32_to_f16_saturating),
                ((FloatType::F32, FloatType::Bf16), Large::ToLargest) => self.each(convert::f32_to_bf16_saturating),
                (_, Large::ToInfinity) => Err(Failure::unsupported("types: expected f32 and one of f16 and bf16")),
                (_, Large::ToLargest) => Err(Failure::unsupported("types: expected f32 to f16 or bf16")),
            }
        }
    }

    /// # Safety
    /// As [`elements`] for x and [`elements_mut`] for y.
    unsafe fn each<X: Plain, Y: Plain>(&self, convert: impl FnOnce(&[X], &mut [Y]) -> gemmill::Result<()>) -> Outcome {
        let (x, y, count) = (self.x.cast::<X>(), self.y.cast::<Y>(), size("count", self.count)?);
        check_apart(("y", &extent("y", y, count)?), ("x", &extent("x", x, count)?))?;
        // SAFETY: by this function's contract; they were seen to be apart.
        let (x, y) = unsafe { (elements("x", x, count)?, elements_mut("y", y, count)?) };
        Ok(convert(x, y)?)
    }
}
