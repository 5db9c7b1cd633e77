//! Memory on cache lines of its own: vector loads of packed operands then never cross one. Where there is much of it,
//! it asks for large pages: weights that stream past once would otherwise spend a good part of their time on
//! translating addresses. The rest that fills no large page has ordinary ones, so that no more memory is taken than
//! asked for.

use bytemuck::{Pod, Zeroable};

use crate::error::{Error, Result};

/// Allocations below this size are small: they are not asked about, and end the process if they fail, as everywhere in
/// Rust.
const SMALL: usize = 64 << 10;
/// What is left to small allocations after a large one.
const HEADROOM: usize = 2 << 20;

/// Refuses what there is no memory for: `bytes` in large and small pieces, and some headroom. What no address space
/// holds is an overflow.
pub(crate) fn require(what: &'static str, bytes: usize) -> Result<()> {
    if bytes < SMALL {
        return Ok(());
    }
    let room = bytes.checked_add(HEADROOM).filter(|&room| isize::try_from(room).is_ok());
    let room = room.ok_or(Error::Overflow { what })?;
    if can_be_had(room) { Ok(()) } else { Err(Error::OutOfMemory { what, bytes }) }
}

/// Asks the system itself: the heap would keep what it gave back.
#[cfg(all(target_os = "linux", not(miri)))]
fn can_be_had(bytes: usize) -> bool {
    memmap2::MmapOptions::new().len(bytes).map_anon().is_ok()
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn can_be_had(bytes: usize) -> bool {
    let mut room = Vec::<u8>::new();
    let reserved = room.try_reserve_exact(bytes).is_ok();
    // An allocation that is not used may be optimised away, and with it its failure.
    std::hint::black_box(&room);
    reserved
}

/// An empty vector with room for `capacity` elements.
pub(crate) fn with_capacity<T>(what: &'static str, capacity: usize) -> Result<Vec<T>> {
    let bytes = capacity.saturating_mul(size_of::<T>());
    require(what, bytes)?;
    let mut vec = Vec::new();
    vec.try_reserve_exact(capacity).map_err(|_| Error::OutOfMemory { what, bytes })?;
    Ok(vec)
}

/// `len` times the same.
pub(crate) fn filled<T: Clone>(what: &'static str, len: usize, value: T) -> Result<Vec<T>> {
    let mut vec = with_capacity(what, len)?;
    vec.resize(len, value);
    Ok(vec)
}

/// As [`Vec::resize`], but that what it held is lost where it has no room.
pub(crate) fn resize<T: Clone>(what: &'static str, vec: &mut Vec<T>, len: usize, value: T) -> Result<()> {
    if vec.capacity() < len {
        *vec = with_capacity(what, len)?;
    }
    vec.resize(len, value);
    Ok(())
}

/// A copy of a slice.
pub(crate) fn copied<T: Clone>(what: &'static str, slice: &[T]) -> Result<Vec<T>> {
    let mut vec = with_capacity(what, slice.len())?;
    vec.extend_from_slice(slice);
    Ok(vec)
}

/// Bytes of a cache line.
pub(crate) const LINE: usize = size_of::<Line>();

/// 64 bytes on a cache line of their own.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Bytes from the start of a cache line on.
#[derive(Debug)]
pub(crate) struct Lines(Memory);

#[derive(Debug)]
enum Memory {
    Heap(Vec<Line>),
    #[cfg(target_os = "linux")]
    Pages(pages::Pages),
}

impl Lines {
    /// Room for `bytes`, all zero.
    pub(crate) fn zeroed(what: &'static str, bytes: usize) -> Result<Lines> {
        require(what, bytes)?;
        #[cfg(target_os = "linux")]
        if bytes >= pages::LARGE
            && let Some(pages) = pages::Pages::zeroed(bytes.next_multiple_of(LINE))
        {
            return Ok(Lines(Memory::Pages(pages)));
        }
        Ok(Lines(Memory::Heap(filled(what, bytes.div_ceil(LINE), Line([0; 64]))?)))
    }

    /// Makes room for `bytes` at least. What it holds then is anything.
    pub(crate) fn grow(&mut self, what: &'static str, bytes: usize) -> Result<()> {
        if self.lines().len() < bytes.div_ceil(LINE) {
            *self = Lines::zeroed(what, bytes)?;
        }
        Ok(())
    }

    /// All of it, as elements of a plain type.
    pub(crate) fn of<T: Pod>(&self) -> &[T] {
        bytemuck::cast_slice(self.lines())
    }

    /// All of it, as elements of a plain type.
    pub(crate) fn of_mut<T: Pod>(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(match &mut self.0 {
            Memory::Heap(lines) => lines,
            #[cfg(target_os = "linux")]
            Memory::Pages(pages) => bytemuck::cast_slice_mut(pages.bytes_mut()),
        })
    }

    pub(crate) fn size_in_bytes(&self) -> usize {
        size_of_val(self.lines())
    }

    fn lines(&self) -> &[Line] {
        match &self.0 {
            Memory::Heap(lines) => lines,
            #[cfg(target_os = "linux")]
            Memory::Pages(pages) => bytemuck::cast_slice(pages.bytes()),
        }
    }
}

impl Default for Lines {
    fn default() -> Lines {
        Lines(Memory::Heap(Vec::new()))
    }
}

impl PartialEq for Lines {
    fn eq(&self, other: &Lines) -> bool {
        self.lines() == other.lines()
    }
}

#[cfg(target_os = "linux")]
mod pages {
    use memmap2::{Advice, MmapMut, MmapOptions};

    /// The size of a large page.
    pub(super) const LARGE: usize = 2 << 20;

    /// Memory that begins at a large page.
    ///
    /// ```text
    /// mapping:  slack, never touched | large page | large page | ... | rest, ordinary pages | slack, never touched
    ///                                start                                                  start + len
    /// ```
    #[derive(Debug)]
    pub(super) struct Pages {
        mapping: MmapMut,
        start: usize,
        len: usize,
    }

    impl Pages {
        /// `len` zero bytes, or none if the system refuses: the heap is asked then.
        pub(super) fn zeroed(len: usize) -> Option<Pages> {
            let mapping = MmapOptions::new().len(len.checked_add(LARGE)?).map_anon().ok()?;
            let address = mapping.as_ptr() as usize;
            let start = address.next_multiple_of(LARGE) - address;
            let whole = len / LARGE * LARGE;
            // Hints: where the system has no large pages, ordinary ones do. Where it has them for all memory, the rest
            // would get one too, unless it is excepted.
            let _ = mapping.advise_range(Advice::HugePage, start, whole);
            let _ = mapping.advise_range(Advice::NoHugePage, start + whole, mapping.len() - start - whole);
            Some(Pages { mapping, start, len })
        }

        pub(super) fn bytes(&self) -> &[u8] {
            &self.mapping[self.start..][..self.len]
        }

        pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
            &mut self.mapping[self.start..][..self.len]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_memory_is_zero_and_aligned() {
        for bytes in [0, 1, 64, 65, 5000, (2 << 20) - 1, 2 << 20, (5 << 20) + 3] {
            let mut lines = Lines::zeroed("test", bytes).unwrap();
            let size = lines.size_in_bytes();
            assert_eq!(size, bytes.next_multiple_of(64));
            assert!(lines.of::<u8>().iter().all(|&b| b == 0));
            assert!(size == 0 || lines.of::<u8>().as_ptr().addr().is_multiple_of(64));
            lines.of_mut::<u8>().iter_mut().enumerate().for_each(|(i, b)| *b = i as u8);
            lines.grow("test", bytes / 2).unwrap();
            assert_eq!(lines.size_in_bytes(), size, "no smaller");
            lines.grow("test", bytes + 100).unwrap();
            assert!(lines.size_in_bytes() >= bytes + 100);
        }
    }
}
