//! From f32 to f16 and bf16, and back.

use std::ffi::c_void;

use gemmill::half::{bf16, f16};
use gemmill::{Element, ElementType, convert};

use crate::call::{Failure, Outcome};
use crate::caller::{Caller, entry};
use crate::codes::Type;
use crate::memory::{Footprint, check_apart, size};
use crate::status::Status;

/// y[i] = x[i] as another type, rounded to nearest, ties to even; what is beyond the largest number becomes infinity,
/// NaN stays NaN.
///
/// x_type and y_type: GEMMILL_TYPE_F32 and one of GEMMILL_TYPE_F16 and GEMMILL_TYPE_BF16, either way round. To f32,
/// numbers stay exactly what they are. x and y may be null if count is 0, and lie apart from each other. Ownership:
/// both are the caller's.
/// Threads: any; the calling thread does all.
/// Errors: GEMMILL_STATUS_UNSUPPORTED for other types, GEMMILL_STATUS_OUT_OF_RANGE for a negative count and codes that
/// no type has,
/// GEMMILL_STATUS_OVERFLOW, GEMMILL_STATUS_OVERLAP; pointers.
///
/// # Safety
/// x and y have count elements each; nobody writes to x's, or uses y's, meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_convert(
    x_type: i32, x: *const c_void, y_type: i32, y: *mut c_void, count: i64,
) -> Status {
    let arrays = Arrays { x_type, x, y_type, y, count };
    entry!("gemmill_convert", |c| arrays.convert(c, Large::ToInfinity)?)
}

/// y[i] = x[i] as another type, rounded to nearest, ties to even; what is beyond the largest finite number, infinity
/// too, becomes that number, NaN stays NaN.
///
/// x_type: GEMMILL_TYPE_F32. y_type: GEMMILL_TYPE_F16 or GEMMILL_TYPE_BF16. Everything else as gemmill_convert.
///
/// # Safety
/// x and y have count elements each; nobody writes to x's, or uses y's, meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_convert_saturating(
    x_type: i32, x: *const c_void, y_type: i32, y: *mut c_void, count: i64,
) -> Status {
    let arrays = Arrays { x_type, x, y_type, y, count };
    entry!("gemmill_convert_saturating", |c| arrays.convert(c, Large::ToLargest)?)
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
    /// Asks for: the same as [`Arrays::each`].
    fn convert(&self, c: Caller<'_>, large: Large) -> Outcome {
        use ElementType::{Bf16, F16, F32};
        let types = (Type::float("type of x", self.x_type)?, Type::float("type of y", self.y_type)?);
        match (types, large) {
            ((F32, F16), Large::ToInfinity) => self.each(c, convert::f32_to_f16),
            ((F32, Bf16), Large::ToInfinity) => self.each(c, convert::f32_to_bf16),
            ((F16, F32), Large::ToInfinity) => self.each::<f16, f32>(c, convert::f16_to_f32),
            ((Bf16, F32), Large::ToInfinity) => self.each::<bf16, f32>(c, convert::bf16_to_f32),
            ((F32, F16), Large::ToLargest) => self.each(c, convert::f32_to_f16_saturating),
            ((F32, Bf16), Large::ToLargest) => self.each(c, convert::f32_to_bf16_saturating),
            (_, Large::ToInfinity) => Err(Failure::unsupported("types: expected f32 and one of f16 and bf16")),
            (_, Large::ToLargest) => Err(Failure::unsupported("types: expected f32 to f16 or bf16")),
        }
    }

    /// Asks for: [`Caller::elements`] for x and [`Caller::elements_mut`] for y.
    fn each<X: Element, Y: Element>(
        &self, caller: Caller<'_>, convert: impl FnOnce(&[X], &mut [Y]) -> gemmill::Result<()>,
    ) -> Outcome {
        let (x, y, count) = (self.x.cast::<X>(), self.y.cast::<Y>(), size("count", self.count)?);
        check_apart(&Footprint::array("y", y, count)?, &Footprint::array("x", x, count)?)?;
        Ok(convert(caller.elements("x", x, count)?, caller.elements_mut("y", y, count)?)?)
    }
}
