//! Memory that ends where a page begins that nobody may touch.

/// A place for the bytes of one argument. An access past their end is a fault, not a wrong result that might go
/// unnoticed.
pub struct Guarded {
    pages: Pages,
}

impl Guarded {
    /// Room for `bytes`.
    pub fn new(bytes: usize) -> Guarded {
        Guarded { pages: Pages::new(bytes.next_multiple_of(PAGE)) }
    }

    /// Copies `data` so that it ends where the room ends.
    pub fn put<T: Copy>(&mut self, data: &[T]) -> *mut T {
        let (room, bytes) = (self.pages.room(), size_of_val(data));
        assert!(bytes <= room, "{bytes} bytes do not fit {room}");
        let to = self.pages.start().wrapping_add(room - bytes).cast::<T>();
        // SAFETY: `to..` is within the pages, which nobody else refers to, and aligned: the room is whole pages.
        unsafe { to.copy_from_nonoverlapping(data.as_ptr(), data.len()) };
        to
    }

    /// The last `len` elements of the room, as they are now. Any bits must be a valid `T`.
    pub fn take<T: Copy>(&mut self, len: usize) -> Vec<T> {
        let bytes = len * size_of::<T>();
        assert!(bytes <= self.pages.room());
        let from = self.pages.start().wrapping_add(self.pages.room() - bytes).cast::<T>();
        // SAFETY: within the pages, aligned, written by `put` or zero; the caller chose a plain `T`.
        unsafe { std::slice::from_raw_parts(from, len) }.to_vec()
    }
}

const PAGE: usize = 4096;

#[cfg(target_os = "linux")]
struct Pages {
    start: *mut u8,
    room: usize,
}

#[cfg(target_os = "linux")]
impl Pages {
    fn new(room: usize) -> Pages {
        let (flags, access) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a fresh anonymous mapping.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), room + PAGE, access, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        let start = start.cast::<u8>();
        // SAFETY: the last page of the mapping above.
        let refused = unsafe { libc::mprotect(start.wrapping_add(room).cast(), PAGE, libc::PROT_NONE) };
        assert_eq!(refused, 0);
        Pages { start, room }
    }

    fn start(&mut self) -> *mut u8 {
        self.start
    }

    fn room(&self) -> usize {
        self.room
    }
}

#[cfg(target_os = "linux")]
impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made.
        unsafe { libc::munmap(self.start.cast(), self.room + PAGE) };
    }
}

/// Elsewhere: plain memory, no guard.
#[cfg(not(target_os = "linux"))]
struct Pages(Vec<u64>);

#[cfg(not(target_os = "linux"))]
impl Pages {
    fn new(room: usize) -> Pages {
        Pages(vec![0; room / size_of::<u64>()])
    }

    fn start(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }

    fn room(&self) -> usize {
        size_of_val(&self.0[..])
    }
}
