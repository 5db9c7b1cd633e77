//! Executable memory: written once, then executable and never writable again.
//!
//! ```text
//! the plain way        anonymous pages: written, then made executable
//! where that is        a file in memory: written, sealed, then mapped executable; no page is ever both, nor becomes
//! refused (Linux)      executable that was writable (PR_SET_MDWE, SELinux's execmem)
//! ```

use std::io;
use std::sync::OnceLock;

use memmap2::{Mmap, MmapOptions};

/// Code in pages of its own. Pages are given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Executable {
    pages: Mmap,
}

impl Executable {
    /// Copies position-independent code into fresh pages and makes them executable.
    pub(crate) fn new(code: &[u8]) -> io::Result<Executable> {
        let pages = match way()? {
            Way::Plain => plain(code)?,
            #[cfg(target_os = "linux")]
            Way::File => file::mapped(code)?,
        };
        Ok(Executable { pages })
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

/// Whether the system lets this process run generated code, in one way or the other. Found once; where it does not, a
/// line on standard error says so.
pub(crate) fn is_permitted() -> bool {
    static PERMITTED: OnceLock<bool> = OnceLock::new();
    *PERMITTED.get_or_init(|| match way() {
        Ok(_) => true,
        Err(error) => {
            let line = format!(
                "gemmill: the system refuses memory for generated code ({error}): tier portable does the work, which \
                 is slow. Permit this process to make memory executable (no PR_SET_MDWE, execmem in SELinux), or set \
                 GEMMILL_TIER=portable to do without and without this line.\n"
            );
            // Nobody may read it.
            let _ = io::Write::write_all(&mut io::stderr(), line.as_bytes());
            false
        }
    })
}

/// How pages become executable.
#[derive(Debug, Clone, Copy)]
enum Way {
    Plain,
    #[cfg(target_os = "linux")]
    File,
}

/// The way that this process has, tried with a function that returns.
fn way() -> io::Result<Way> {
    const RETURN: &[u8] = &[0xc3];
    static WAY: OnceLock<Result<Way, (io::ErrorKind, String)>> = OnceLock::new();
    let found = WAY.get_or_init(|| {
        let tried = plain(RETURN).map(|_| Way::Plain);
        #[cfg(target_os = "linux")]
        let tried = tried.or_else(|refused| file::mapped(RETURN).map(|_| Way::File).map_err(|_| refused));
        tried.map_err(|error| (error.kind(), error.to_string()))
    });
    found.as_ref().copied().map_err(|(kind, error)| io::Error::new(*kind, error.clone()))
}

/// Populated at once: a page fault costs as much as assembling half a kernel.
fn plain(code: &[u8]) -> io::Result<Mmap> {
    let mut pages = MmapOptions::new().len(code.len()).populate().map_anon()?;
    pages.copy_from_slice(code);
    pages.make_exec()
}

#[cfg(target_os = "linux")]
mod file {
    use std::fs::File;
    use std::io::{self, Write};
    use std::os::fd::{AsRawFd, FromRawFd};

    use memmap2::{Mmap, MmapOptions};

    /// From Linux 6.3 on, where files in memory may be refused otherwise (`vm.memfd_noexec`).
    const MFD_EXEC: libc::c_uint = 0x10;

    /// The code in a file that nobody else has, cannot be written to any more, and is mapped executable.
    pub(super) fn mapped(code: &[u8]) -> io::Result<Mmap> {
        let mut file = in_memory(MFD_EXEC).or_else(|_| in_memory(0))?;
        file.write_all(code)?;
        let seals = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        // SAFETY: the call takes numbers; the descriptor is the file's.
        if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: what is mapped does not change: the file is sealed, and nobody but this function knows it.
        unsafe { MmapOptions::new().len(code.len()).populate().map_exec(&file) }
    }

    fn in_memory(flags: libc::c_uint) -> io::Result<File> {
        let flags = flags | libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
        // SAFETY: the name ends with a NUL.
        let descriptor = unsafe { libc::memfd_create(c"gemmill".as_ptr(), flags) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and the file's alone.
        Ok(unsafe { File::from_raw_fd(descriptor) })
    }
}
