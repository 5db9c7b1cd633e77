//! Memory on cache lines of its own: vector loads of packed operands then never cross one.

use bytemuck::{Pod, Zeroable};

/// 64 bytes on a cache line of their own.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Bytes from the start of a cache line on.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Lines(Vec<Line>);

impl Lines {
    /// Room for `bytes`, all zero.
    pub(crate) fn zeroed(bytes: usize) -> Lines {
        Lines(vec![Line([0; 64]); bytes.div_ceil(64)])
    }

    /// Makes room for `bytes` at least.
    pub(crate) fn grow(&mut self, bytes: usize) {
        if self.0.len() < bytes.div_ceil(64) {
            self.0.resize(bytes.div_ceil(64), Line([0; 64]));
        }
    }

    /// All of it, as elements of a plain type.
    pub(crate) fn of<T: Pod>(&self) -> &[T] {
        bytemuck::cast_slice(&self.0)
    }

    /// All of it, as elements of a plain type.
    pub(crate) fn of_mut<T: Pod>(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.0)
    }

    pub(crate) fn size_in_bytes(&self) -> usize {
        size_of_val(&self.0[..])
    }
}
