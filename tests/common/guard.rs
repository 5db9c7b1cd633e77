//! Memory between two pages that must not be touched.

use gemmill::Element;

/// Elements that end where an inaccessible page begins, or begin where one ends. Touching the page is a segmentation
/// fault, which ends the test run.
pub struct Guarded<T> {
    mapping: *mut libc::c_void,
    mapped_bytes: usize,
    first: *mut T,
    len: usize,
}

/// Which end of the elements meets an inaccessible page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Side {
    Start,
    End,
}

impl Side {
    pub const BOTH: [Side; 2] = [Side::Start, Side::End];
}

impl<T: Element> Guarded<T> {
    /// A copy of `elements`.
    pub fn new(elements: &[T], side: Side) -> Self {
        // SAFETY: `sysconf` only reads a constant of the system.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let bytes = size_of_val(elements);
        let inner_bytes = bytes.next_multiple_of(page).max(page);
        let mapped_bytes = inner_bytes + 2 * page;
        // SAFETY: a fresh private mapping at an address of the system's choice touches no other memory.
        let mapping = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            libc::mmap(std::ptr::null_mut(), mapped_bytes, libc::PROT_NONE, flags, -1, 0)
        };
        assert_ne!(mapping, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        // SAFETY: one page into a mapping that is two pages longer than `inner_bytes`.
        let inner = unsafe { mapping.cast::<u8>().add(page) };
        // SAFETY: these pages belong to the mapping, and nobody else knows them.
        let protected = unsafe { libc::mprotect(inner.cast(), inner_bytes, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!(protected, 0, "mprotect: {}", std::io::Error::last_os_error());
        let skip = if side == Side::End { inner_bytes - bytes } else { 0 };
        // SAFETY: `skip + bytes <= inner_bytes`; pages are aligned for T, and so is a multiple of its size before the
        // end.
        let first = unsafe { inner.add(skip) }.cast::<T>();
        // SAFETY: `first..first + len` is writable memory of the mapping, disjoint from `elements`.
        unsafe { std::ptr::copy_nonoverlapping(elements.as_ptr(), first, elements.len()) };
        Guarded { mapping, mapped_bytes, first, len: elements.len() }
    }

    pub fn elements(&self) -> &[T] {
        // SAFETY: `len` initialised elements that live as long as the mapping, which `self` owns.
        unsafe { std::slice::from_raw_parts(self.first, self.len) }
    }

    pub fn elements_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `elements`; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.first, self.len) }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no slice of it outlives the value.
        unsafe { libc::munmap(self.mapping, self.mapped_bytes) };
    }
}

/// Lets this process map no more memory than this: what asks for more is refused.
pub fn limit_memory(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: the call reads one initialised structure and changes a limit of this process alone.
    let done = unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) };
    assert_eq!(done, 0, "setrlimit: {}", std::io::Error::last_os_error());
}
