//! The mode of floating-point arithmetic that all of the library's runs in.
//!
//! Threads have one each (MXCSR on x86): whether subnormal numbers are kept, how results are rounded, and what traps.
//! Rust code, and kernels, expect the usual one. A program may have set another for its own arithmetic, and only in
//! some of its threads: results would then depend on the thread that computes them.

/// Calls `f` in the usual mode: rounding to nearest, subnormal numbers kept, nothing trapping. The calling thread's own
/// mode is back afterwards, also if `f` panics; flags of exceptions that occurred are as before.
///
/// Where the mode is the usual one already, this costs reading it.
///
/// # Examples
/// ```
/// let half = gemmill_codegen::in_default_float_mode(|| f32::MIN_POSITIVE / 2.0);
/// assert!(half > 0.0);
/// ```
#[inline]
pub fn in_default_float_mode<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        let mode = x86::mode();
        if mode & !x86::FLAGS != x86::USUAL {
            return x86::with_usual(mode, f);
        }
    }
    f()
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86 {
    use std::arch::asm;

    /// Exceptions that occurred.
    pub(super) const FLAGS: u32 = 0x3f;
    /// All exceptions masked; to nearest; neither FTZ nor DAZ.
    pub(super) const USUAL: u32 = 0x1f80;

    /// MXCSR.
    #[inline]
    pub(super) fn mode() -> u32 {
        let mut mode = 0u32;
        // SAFETY: the instruction writes the four bytes that it is given.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut mode, options(nostack, preserves_flags)) };
        mode
    }

    /// Sets MXCSR.
    ///
    /// # Safety
    /// `mode` is the usual one, or what the thread had on entry to [`with_usual`], and code that was compiled for the
    /// usual mode does not run in another but where it did on that entry.
    unsafe fn set_mode(mode: u32) {
        // SAFETY: the instruction reads the four bytes that it is given; the caller promises that the mode may be set.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const mode, options(nostack, preserves_flags)) };
    }

    /// Puts the thread's mode back.
    struct Before(u32);

    impl Drop for Before {
        fn drop(&mut self) {
            // SAFETY: the mode is that on entry.
            unsafe { set_mode(self.0) };
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn with_usual<R>(mode: u32, f: impl FnOnce() -> R) -> R {
        let _before = Before(mode);
        // SAFETY: the mode is the usual one.
        unsafe { set_mode(USUAL) };
        apart(f)
    }

    /// Arithmetic must not move out of here: the compiler does not know that it depends on the mode.
    #[inline(never)]
    fn apart<R>(f: impl FnOnce() -> R) -> R {
        f()
    }
}
