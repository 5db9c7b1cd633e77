//! Executable memory: written once, then executable and never writable again.

use memmap2::{Mmap, MmapOptions};

use crate::CodegenError;

/// Code in pages of its own. Pages are given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Executable {
    pages: Mmap,
}

impl Executable {
    /// Copies position-independent code into fresh pages and makes them executable.
    pub(crate) fn new(code: &[u8]) -> Result<Executable, CodegenError> {
        let refused = |e: std::io::Error| CodegenError::Memory(e.to_string());
        // Populated at once: a page fault costs as much as assembling half a kernel.
        let mut pages = MmapOptions::new().len(code.len()).populate().map_anon().map_err(refused)?;
        pages.copy_from_slice(code);
        Ok(Executable { pages: pages.make_exec().map_err(refused)? })
    }

    /// The code.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.pages
    }

    /// Calls the code as a function of one pointer.
    ///
    /// # Safety
    /// The code must be a kernel that this CPU can run, and `args` what that kernel expects.
    #[inline]
    pub(crate) unsafe fn call<A>(&self, args: *mut A) {
        // SAFETY: the pages hold a function of this signature from their first byte on (the caller's promise), and
        // outlive the call because `self` does.
        let function: unsafe extern "sysv64" fn(*mut A) = unsafe { std::mem::transmute(self.pages.as_ptr()) };
        // SAFETY: the caller's promise.
        unsafe { function(args) }
    }
}
