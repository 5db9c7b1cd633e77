//! Vectors of f32 from elements in memory, and to them.

use super::FloatType;
use crate::x86::asm::{Gpr, Mem};
use crate::x86::lowering::{Lowering, Op, Source, Vector};

/// Rows of elements that kernels load and store a vector at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Elements {
    /// Their type.
    pub(crate) of: FloatType,
    /// Lanes of a vector.
    pub(crate) lanes: usize,
}

impl Elements {
    /// Where vector `v` of a row stands.
    fn place(self, row: Gpr, v: usize) -> Mem {
        Mem::at(row, v * self.lanes * self.of.bytes())
    }

    /// The first `count` elements of vector `v` of a row, as f32; memory of the others is not touched. `mask` is a free
    /// register.
    pub(crate) fn load(self, low: &mut impl Lowering, dst: Vector, mask: Vector, row: Gpr, v: usize, count: usize) {
        let at = self.place(row, v);
        match self.of {
            FloatType::F32 => low.load_first(dst, mask, at, count),
            FloatType::F16 => {
                low.load_first16(dst, at, count);
                low.f16_to_f32(dst, dst);
            }
            FloatType::Bf16 => {
                low.load_first16(dst, at, count);
                low.widen16(dst, dst);
                low.shift_left32(dst, dst, 16);
            }
        }
    }

    /// Stores the first `count` lanes of `x`, which it may clobber, as vector `v` of a row. `free` are free registers.
    pub(crate) fn store(self, low: &mut impl Lowering, x: Vector, free: [Vector; 2], row: Gpr, v: usize, count: usize) {
        let at = self.place(row, v);
        match self.of {
            FloatType::F32 => low.store_first(at, x, count),
            FloatType::F16 => {
                low.f32_to_f16(x, x);
                low.store_first16(at, x, count);
            }
            FloatType::Bf16 => {
                self.f32_to_bf16(low, x, free);
                low.store_first16(at, x, count);
            }
        }
    }

    /// To nearest even, side by side in the lower half of the vector. A NaN must be a quiet one, as arithmetic leaves
    /// it.
    ///
    /// ```text
    /// magnitude = min(x & 0x7fffffff, 0x7fff7fff)         a NaN that rounds up stays one
    /// rounded   = magnitude + 0x7fff + (x >> 16 & 1)      the upper half, with the sign of x
    /// ```
    fn f32_to_bf16(self, low: &mut impl Lowering, x: Vector, [t0, t1]: [Vector; 2]) {
        let mut repeated = |c: u32| Source::Constant(low.asm().constant(&vec![c; self.lanes]));
        let [magnitude, largest, one, half, sign] =
            [0x7fff_ffff, 0x7fff_7fff, 1, 0x7fff, 0x8000_0000].map(&mut repeated);
        low.op(Op::And, t0, x, magnitude);
        low.op(Op::MinI32, t0, t0, largest);
        low.shift_right32(t1, x, 16);
        low.op(Op::And, t1, t1, one);
        low.op(Op::AddI32, t0, t0, t1.into());
        low.op(Op::AddI32, t0, t0, half);
        low.op(Op::And, x, x, sign);
        low.op(Op::Or, x, x, t0.into());
        let bytes = low.asm().constant(&upper_halves(self.lanes));
        let order = low.asm().constant(&even_quads(self.lanes));
        low.op(Op::ShuffleBytes, x, x, Source::Constant(bytes));
        low.load(t0, Source::Constant(order));
        low.permute32(x, t0, x);
    }
}

/// Shuffle of bytes: the upper halves of four 32-bit lanes side by side, in each 128-bit part.
fn upper_halves(lanes: usize) -> Vec<u32> {
    [0x0706_0302, 0x0f0e_0b0a, 0x8080_8080, 0x8080_8080].into_iter().cycle().take(lanes).collect()
}

/// Order of 32-bit lanes: the first two of each 128-bit part side by side.
fn even_quads(lanes: usize) -> Vec<u32> {
    (0..lanes as u32).map(|i| i / 2 * 4 % lanes as u32 + i % 2).collect()
}
