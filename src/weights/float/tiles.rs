//! Weights of bf16 as tiles, which hardware dot products multiply: made of packed weights once, at the first operation
//! that asks for them, and shared by clones of these.
//!
//! ```text
//! panel p:  columns 32p .. 32p + 32      step of 32 k: tile of columns 0..16, tile of columns 16..32 | next step | ...
//! tile:     k0 k1 of each column | k2 k3 of each column | ...           16 rows of 64 bytes; zeros beyond K and N
//! ```

use std::sync::OnceLock;

use gemmill_codegen::{FLOAT_PANEL, FloatType};
use half::bf16;

use crate::error::{Error, Result};
use crate::machine::memory::Lines;
use crate::machine::threads::{Threads, share};

/// k of a step.
const DEPTH: usize = 32;
/// Columns of a tile.
const COLUMNS: usize = 16;
/// Elements of a panel's tiles of a step.
const STEP: usize = DEPTH * FLOAT_PANEL;

/// Bytes of a panel's tiles.
pub(crate) fn panel_bytes(k: usize) -> usize {
    k.div_ceil(DEPTH) * STEP * size_of::<bf16>()
}

/// What may have been made of packed weights. Whether it has says nothing of these: all are equal.
#[derive(Debug, Default)]
pub(crate) struct Tiles(OnceLock<Lines>);

impl PartialEq for Tiles {
    fn eq(&self, _: &Tiles) -> bool {
        true
    }
}

impl Tiles {
    /// Makes tiles of `k` rows of panels of bf16, unless they are there.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], and [`Error::Overflow`] if their size does not fit the address space.
    pub(super) fn make(&self, packed: &[bf16], k: usize, threads: Threads) -> Result<()> {
        if self.0.get().is_some() {
            return Ok(());
        }
        let what = "weights as tiles";
        let panels = packed.len() / (k * FLOAT_PANEL).max(1);
        let bytes = panels.checked_mul(panel_bytes(k)).ok_or(Error::Overflow { what })?;
        let mut lines = Lines::zeroed(what, bytes)?;
        let tiles: &mut [bf16] = lines.of_mut();
        let of_panels = tiles.chunks_exact_mut(panel_bytes(k).max(1) / size_of::<bf16>());
        let pairs = packed.chunks_exact((k * FLOAT_PANEL).max(1)).zip(of_panels).collect();
        share(threads, pairs, &|(panel, tiles): (&[bf16], &mut [bf16])| write_panel(panel, tiles));
        // Another thread may have been faster: both made the same.
        self.0.get_or_init(|| lines);
        Ok(())
    }

    /// All panels, one behind the other; nothing before [`Tiles::make`].
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.get().map_or(&[], |lines| lines.of())
    }
}

fn write_panel(panel: &[bf16], tiles: &mut [bf16]) {
    for (k, row) in panel.chunks_exact(FLOAT_PANEL).enumerate() {
        let step = &mut tiles[k / DEPTH * STEP..][..STEP];
        let (pair, within) = (k % DEPTH / 2, k % 2);
        for (tile, columns) in step.chunks_exact_mut(STEP / 2).enumerate() {
            let to = &mut columns[pair * 2 * COLUMNS..][..2 * COLUMNS];
            for j in 0..COLUMNS {
                to[2 * j + within] = row[FloatType::Bf16.place(tile * COLUMNS + j)];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::MatRef;
    use crate::weights::PackedFloat;

    #[test]
    fn every_weight_has_its_place_and_the_rest_is_zero() {
        for (k, n) in [(1, 1), (31, 33), (32, 32), (33, 70), (64, 31)] {
            let b: Vec<bf16> = (0..k * n).map(|i| bf16::from_bits(0x3f80 + i as u16)).collect();
            let packed = PackedFloat::new(MatRef::row_major(&b, k, n).unwrap()).unwrap();
            packed.make_tiles(Threads::Exactly(1)).unwrap();
            let tiles: &[bf16] = bytemuck::cast_slice(packed.tiles());
            assert_eq!(size_of_val(tiles), n.div_ceil(FLOAT_PANEL) * panel_bytes(k));
            let mut found = 0;
            for (at, &x) in tiles.iter().enumerate() {
                let (panel, within) = (at / (panel_bytes(k) / 2), at % (panel_bytes(k) / 2));
                let (step, tile, pair) = (within / STEP, within % STEP / (STEP / 2), within % (STEP / 2) / 32);
                let (column, half) = (panel * FLOAT_PANEL + tile * COLUMNS + at % 32 / 2, at % 2);
                let row = step * DEPTH + 2 * pair + half;
                let expected = if row < k && column < n { b[row * n + column] } else { bf16::ZERO };
                assert_eq!(x, expected, "({row}, {column}) of {k} x {n}");
                found += usize::from(x != bf16::ZERO);
            }
            assert_eq!(found, k * n);
            assert_eq!(packed, PackedFloat::new(MatRef::row_major(&b, k, n).unwrap()).unwrap());
        }
    }
}
