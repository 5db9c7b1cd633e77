//! What C gives to an entry point, and the handles behind it: one way to make, share, ask, set and destroy them.

use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::MutexGuard;

use gemmill::{AnyMut, AnyRef, Element, MatMut, MatRef};

use crate::call::{Failure, Outcome, call};
use crate::codes::with_type;
use crate::memory::{Matrix, checked, extent, size};
use crate::status::Status;

/// The status of an entry point: `entry!("its name", |c| body)`, where `c` is the [`Caller`] and the body gives `()`.
///
/// For functions with a `# Safety` section only: it is what the macro relies on.
macro_rules! entry {
    ($function:literal, |$c:ident| $body:expr) => {{
        // SAFETY: the body gives the caller's methods nothing but arguments of entry points, its own or those that
        // handles keep, and the `# Safety` sections of these ask C for what the methods ask for.
        unsafe {
            crate::caller::Caller::call($function, |$c| {
                let () = $body;
                Ok(())
            })
        }
    }};
}
pub(crate) use entry;

/// As [`entry!`] for one that makes a handle: `create!("its name", handle, |c| make)` with an [`Outcome`] of the
/// object.
macro_rules! create {
    ($function:literal, $handle:ident, |$c:ident| $make:expr) => {
        crate::caller::entry!($function, |$c| $c.create($handle, || $make)?)
    };
}
pub(crate) use create;

/// As [`entry!`] for one that changes a setting: `set!("its name", handle.setting = value)`.
macro_rules! set {
    ($function:literal, $handle:ident.$($setting:ident).+ = $value:expr) => {
        crate::caller::entry!($function, |c| {
            let mut settings = c.settings($handle)?;
            settings.$($setting).+ = $value;
        })
    };
}
pub(crate) use set;

/// What C vouches for with a call, for as long as the call lasts.
///
/// Its methods check what can be checked of a pointer: that it is not null, aligned, and that sizes fit the address
/// space. What cannot be checked is promised for all pointers that they are ever given by who makes the `Caller`; each
/// method says what that is after "Asks for".
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a>(PhantomData<&'a ()>);

/// What C has handles of: made by [`Caller::create`], borrowed shared until [`Caller::destroy`].
pub(crate) trait Handle: Send + Sync + 'static {
    /// What messages call it.
    const NAME: &'static str;
}

/// `collects!(Type: Settings, |handle| settings)` makes the handle one that [`Collects`].
macro_rules! collects {
    ($handle:ty: $settings:ty, |$of:ident| $locked:expr) => {
        impl crate::caller::Collects for $handle {
            type Settings = $settings;

            fn settings(&self) -> crate::call::Outcome<std::sync::MutexGuard<'_, $settings>> {
                let $of = self;
                $locked
            }
        }
    };
}
pub(crate) use collects;

/// The types of handles, and what messages call them.
macro_rules! handles {
    ($($handle:ty: $name:literal)*) => {
        $(impl Handle for $handle {
            const NAME: &'static str = $name;
        })*
    };
}

handles! {
    crate::packing::Packing: "packing"
    crate::weights::Weights: "weights"
    crate::pool::Pool: "pool"
    crate::gemm::Gemm: "gemm"
    crate::run_options::RunOptions: "options"
    crate::float_weights::FloatPacking: "packing"
    crate::float_weights::FloatWeights: "weights"
    crate::groupwise_weights::GroupwiseWeights: "weights"
    crate::groupwise_packed::GroupwisePacked: "packed"
    crate::float_gemm::FloatGemm: "gemm"
}

/// A handle that collects settings.
pub(crate) trait Collects: Handle {
    type Settings: 'static;

    /// The settings, to be changed, unless they are frozen.
    fn settings(&self) -> Outcome<MutexGuard<'_, Self::Settings>>;
}

impl Caller<'_> {
    /// The status of `function`, whose work `body` does with what C gives it; [`entry!`] makes it of an entry point.
    ///
    /// # Safety
    /// Every pointer that the body gives to a method of the `Caller`, and that passes the method's checks, is what it
    /// asks for.
    pub(crate) unsafe fn call(function: &str, body: impl FnOnce(Caller<'_>) -> Outcome) -> Status {
        call(function, || body(Caller(PhantomData)))
    }
}

impl<'a> Caller<'a> {
    /// The object behind a handle.
    ///
    /// Asks for: a handle from [`Caller::create`] for this type, not destroyed during the call.
    pub(crate) fn object<T: Handle>(self, handle: *const T) -> Outcome<&'a T> {
        self.object_as(T::NAME, handle)
    }

    /// As [`Caller::object`], with another name in messages.
    pub(crate) fn object_as<T: Handle>(self, what: &str, handle: *const T) -> Outcome<&'a T> {
        let handle = checked(what, handle.cast_mut())?;
        // SAFETY: as asked for, it points to a `T` that lives; only shared references to it are ever made.
        Ok(unsafe { handle.as_ref() })
    }

    /// The object behind a handle that may be null. Asks for: null or the same as [`Caller::object`].
    pub(crate) fn optional<T: Handle>(self, handle: *const T) -> Outcome<Option<&'a T>> {
        if handle.is_null() { Ok(None) } else { self.object(handle).map(Some) }
    }

    /// The settings behind a handle, to be changed. Asks for: the same as [`Caller::object`].
    pub(crate) fn settings<T: Collects>(self, handle: *mut T) -> Outcome<MutexGuard<'a, T::Settings>> {
        self.change(handle).map(|(_, settings)| settings)
    }

    /// A copy of the settings behind a handle, or the usual ones for null. Asks for: the same as [`Caller::optional`].
    pub(crate) fn settings_or_default<T>(self, handle: *const T) -> Outcome<T::Settings>
    where
        T: Collects<Settings: Clone + Default>,
    {
        match self.optional(handle)? {
            Some(object) => Ok(object.settings()?.clone()),
            None => Ok(T::Settings::default()),
        }
    }

    /// The object behind a handle, and its settings, to be changed. Asks for: the same as [`Caller::object`].
    pub(crate) fn change<T: Collects>(self, handle: *mut T) -> Outcome<(&'a T, MutexGuard<'a, T::Settings>)> {
        let object = self.object(handle)?;
        Ok((object, object.settings()?))
    }

    /// Sets `*handle` to the new object that `make` gives, or to null if it fails. Asks for: the same as
    /// [`Caller::out`].
    pub(crate) fn create<T: Handle>(self, handle: *mut *mut T, make: impl FnOnce() -> Outcome<T>) -> Outcome {
        self.create_as(T::NAME, handle, make)
    }

    /// As [`Caller::create`], with another name in messages.
    pub(crate) fn create_as<T: Handle>(
        self, what: &str, handle: *mut *mut T, make: impl FnOnce() -> Outcome<T>,
    ) -> Outcome {
        let out = self.out(what, handle)?;
        out.set(std::ptr::null_mut());
        out.set(Box::into_raw(Box::new(make()?)));
        Ok(())
    }

    /// Sets `*copy` to another handle of what one points to. Asks for: [`Caller::object`] and [`Caller::out`].
    pub(crate) fn share<T: Handle + Clone>(self, handle: *const T, copy: *mut *mut T) -> Outcome {
        self.create_as("copy", copy, || self.object(handle).cloned())
    }

    /// Destroys what [`Caller::create`] made; null is nothing.
    ///
    /// Asks for: null or a handle from [`Caller::create`] for this type, not used afterwards or meanwhile.
    pub(crate) fn destroy<T: Handle>(self, handle: *mut T) -> Outcome {
        if !handle.is_null() {
            let handle = checked(T::NAME, handle)?;
            // SAFETY: as asked for, it came from `Box::into_raw` and is given back once.
            drop(unsafe { Box::from_raw(handle.as_ptr()) });
        }
        Ok(())
    }

    /// Sets `*value` to what `get` says of the object behind a handle. Asks for: [`Caller::object`], [`Caller::out`].
    pub(crate) fn get<T: Handle, V>(
        self, handle: *const T, value: *mut V, get: impl FnOnce(&T) -> Outcome<V>,
    ) -> Outcome {
        let (object, value) = (self.object(handle)?, self.out("value", value)?);
        value.set(get(object)?);
        Ok(())
    }

    /// As [`Caller::get`], for what counts something that is in memory, and fits therefore.
    pub(crate) fn count<T: Handle>(self, handle: *const T, value: *mut i64, get: impl FnOnce(&T) -> usize) -> Outcome {
        self.get(handle, value, |object| Ok(get(object) as i64))
    }

    /// Sets `*value` to whether two handles point to equal objects. Asks for: the same as [`Caller::get`].
    pub(crate) fn equal<T: Handle + PartialEq>(self, handle: *const T, other: *const T, value: *mut i32) -> Outcome {
        self.get(handle, value, |object| Ok(i32::from(object == self.object_as("other", other)?)))
    }

    /// A place for one result. Asks for: memory for a `T` that nobody else uses during the call.
    pub(crate) fn out<T>(self, what: &str, pointer: *mut T) -> Outcome<Out<'a, T>> {
        Ok(Out(checked(what, pointer)?, PhantomData))
    }

    /// A buffer for what has a length that C may not know, and the place for that; null is fine for a buffer of no
    /// elements.
    ///
    /// Asks for: memory for `capacity` elements that nobody else uses during the call, and the same as [`Caller::out`].
    pub(crate) fn buffer<T: Element>(self, data: *mut T, capacity: i64, length: *mut i64) -> Outcome<Buffer<'a, T>> {
        let capacity = size("capacity", capacity)?;
        extent("buffer", data, capacity)?;
        Ok(Buffer { caller: self, data, capacity, length: self.out("length", length)? })
    }

    /// A text. Asks for: one that ends with a NUL, which nobody changes during the call.
    pub(crate) fn text(self, what: &str, text: *const c_char) -> Outcome<&'a CStr> {
        let text = checked(what, text.cast_mut())?;
        // SAFETY: as asked for.
        Ok(unsafe { CStr::from_ptr(text.as_ptr()) })
    }

    /// `count` elements to read; null is fine for none.
    ///
    /// Asks for: so many elements, initialized, to which nobody writes during the call.
    pub(crate) fn elements<T: Element>(self, what: &str, data: *const T, count: usize) -> Outcome<&'a [T]> {
        if extent(what, data, count)?.is_empty() {
            return Ok(&[]);
        }
        // SAFETY: not null, aligned, of a size that fits: `extent` says so. Any bits are a `T`, and the rest is asked
        // for.
        Ok(unsafe { std::slice::from_raw_parts(data, count) })
    }

    /// `count` elements to write; null is fine for none.
    ///
    /// Asks for: memory for so many elements that nobody else uses during the call.
    pub(crate) fn elements_mut<T: Element>(self, what: &str, data: *mut T, count: usize) -> Outcome<&'a mut [T]> {
        if extent(what, data, count)?.is_empty() {
            return Ok(&mut []);
        }
        // SAFETY: as in `elements`. Memory that C has not yet written holds some bits, and any are a `T`.
        Ok(unsafe { std::slice::from_raw_parts_mut(data, count) })
    }

    /// Copies elements to `data`; null is fine for none. Asks for: the same as [`Caller::elements_mut`].
    pub(crate) fn write<T: Element>(self, what: &str, data: *mut T, content: &[T]) -> Outcome {
        if !extent(what, data, content.len())?.is_empty() {
            // SAFETY: `extent` has checked the pointer, and the memory is asked for; nobody else uses it, so that
            // `content` is elsewhere.
            unsafe { data.copy_from_nonoverlapping(content.as_ptr(), content.len()) };
        }
        Ok(())
    }

    /// A matrix to read, whose type is known at run time. Asks for: the same as [`Caller::matrix`].
    pub(crate) fn any(self, matrix: &Matrix<'_>) -> Outcome<AnyRef<'a>> {
        with_type!(matrix.element, T in [U8 I8 I32 F32 F16 Bf16] => self.matrix::<T>(matrix).map(AnyRef::from))
    }

    /// An output, whose type is known at run time. Asks for: the same as [`Caller::matrix_mut`].
    pub(crate) fn any_mut(self, matrix: &Matrix<'_>) -> Outcome<AnyMut<'a>> {
        with_type!(matrix.element, T in [U8 I8 I32 F32 F16 Bf16] => self.matrix_mut::<T>(matrix).map(AnyMut::from))
    }

    /// A matrix to read, of elements of the matrix's type.
    ///
    /// Asks for: its elements, initialized, to which nobody writes during the call.
    pub(crate) fn matrix<T: Element>(self, matrix: &Matrix<'_>) -> Outcome<MatRef<'a, T>> {
        let (data, (row_stride, col_stride)) = matrix.place::<T>()?;
        // SAFETY: as asked for; `place` has checked the rest.
        Ok(unsafe { MatRef::from_raw(data, matrix.rows, matrix.cols, row_stride, col_stride) }?)
    }

    /// An output, of elements of the matrix's type. What lies between rows is never touched.
    ///
    /// Asks for: memory for its elements that nobody else uses during the call. What C has not yet written holds some
    /// bits, and any are a `T`.
    pub(crate) fn matrix_mut<T: Element>(self, matrix: &Matrix<'_>) -> Outcome<MatMut<'a, T>> {
        let (data, (row_stride, _)) = matrix.place::<T>()?;
        // SAFETY: as asked for; `place` has checked the rest.
        Ok(unsafe { MatMut::from_raw(data, matrix.rows, matrix.cols, row_stride) }?)
    }

    /// Sets element `(i, j)` of a matrix to `value(i, j)`. Asks for: the same as [`Caller::matrix_mut`].
    pub(crate) fn fill<T: Element>(self, matrix: &Matrix<'_>, value: impl Fn(usize, usize) -> T) -> Outcome {
        self.matrix_mut::<T>(matrix)?;
        let (data, (row_stride, _)) = matrix.place::<T>()?;
        let rows = if matrix.cols == 0 { 0 } else { matrix.rows };
        for (i, j) in (0..rows).flat_map(|i| (0..matrix.cols).map(move |j| (i, j))) {
            // SAFETY: `matrix_mut` has checked the matrix, and asks for memory that nobody else uses.
            unsafe { data.add(i * row_stride + j).write(value(i, j)) };
        }
        Ok(())
    }
}

/// A place for one result.
pub(crate) struct Out<'a, T>(NonNull<T>, PhantomData<&'a mut T>);

impl<T> Out<'_, T> {
    pub(crate) fn set(&self, value: T) {
        // SAFETY: as `Caller::out` asks for. What was there is C's and has no destructor.
        unsafe { self.0.write(value) }
    }
}

/// A buffer of C, and the place for the length of what is to be written to it.
pub(crate) struct Buffer<'a, T> {
    caller: Caller<'a>,
    data: *mut T,
    capacity: usize,
    length: Out<'a, i64>,
}

impl<T: Element> Buffer<'_, T> {
    /// Writes all of `content`; its length is written even if the buffer is too small.
    pub(crate) fn set(self, content: &[T]) -> Outcome {
        self.set_with_length(content, content.len())
    }

    fn set_with_length(self, content: &[T], length: usize) -> Outcome {
        self.length.set(length as i64);
        let (needed, given) = (content.len(), self.capacity);
        if needed > given {
            return Err(Failure::new(Status::TooSmall, format!("buffer: {needed} elements needed, {given} given")));
        }
        self.caller.write("buffer", self.data, content)
    }
}

impl Buffer<'_, u8> {
    /// Writes all of `content` and a NUL; the length is without it, and is written even if the buffer is too small.
    pub(crate) fn set_text(self, content: &str) -> Outcome {
        let with_nul: Vec<u8> = content.bytes().chain([0]).collect();
        self.set_with_length(&with_nul, content.len())
    }
}
