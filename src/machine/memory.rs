//! Memory on cache lines of its own: vector loads of packed operands then never cross one. Where there is much of it,
//! it asks for large pages: weights that stream past once would otherwise spend a good part of their time on
//! translating addresses. The rest that fills no large page has ordinary ones, so that no more memory is taken than
//! asked for.

use bytemuck::{Pod, Zeroable};

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
    pub(crate) fn zeroed(bytes: usize) -> Lines {
        #[cfg(target_os = "linux")]
        if bytes >= pages::LARGE
            && let Some(pages) = pages::Pages::zeroed(bytes.next_multiple_of(LINE))
        {
            return Lines(Memory::Pages(pages));
        }
        Lines(Memory::Heap(vec![Line([0; 64]); bytes.div_ceil(LINE)]))
    }

    /// Makes room for `bytes` at least. What it holds then is anything.
    pub(crate) fn grow(&mut self, bytes: usize) {
        if self.lines().len() < bytes.div_ceil(LINE) {
            *self = Lines::zeroed(bytes);
        }
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

impl Clone for Lines {
    fn clone(&self) -> Lines {
        let mut copy = Lines::zeroed(self.size_in_bytes());
        copy.of_mut::<Line>().copy_from_slice(self.lines());
        copy
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
            let mut lines = Lines::zeroed(bytes);
            let size = lines.size_in_bytes();
            assert_eq!(size, bytes.next_multiple_of(64));
            assert!(lines.of::<u8>().iter().all(|&b| b == 0));
            assert!(size == 0 || lines.of::<u8>().as_ptr().addr().is_multiple_of(64));
            lines.of_mut::<u8>().iter_mut().enumerate().for_each(|(i, b)| *b = i as u8);
            assert_eq!(lines.clone(), lines);
            lines.grow(bytes / 2);
            assert_eq!(lines.size_in_bytes(), size, "no smaller");
            lines.grow(bytes + 100);
            assert!(lines.size_in_bytes() >= bytes + 100);
        }
    }
}
