//! The plan of a product of bf16 in tiles: grids for all of K. A pure function.

use gemmill_codegen::{Ahead, Panels};

use super::grid::{GridProblem, MAX_ROWS};
use super::{Loops, Prefer, Resources, RowTiles, parts};
use crate::weights::float::tiles::panel_bytes;

/// All that a plan depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FloatGridProblem {
    pub(crate) resources: Resources,
    pub(crate) rows: usize,
    pub(crate) k: usize,
    pub(crate) cols: usize,
    /// Whether A can be read where it lies.
    pub(crate) in_place: bool,
    /// Bytes of an element of C.
    pub(crate) c_bytes: usize,
}

/// How a product is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FloatGridPlan {
    pub(crate) loops: Loops,
    /// Panels that a micro-tile has side by side, where there are two.
    pub(crate) side_by_side: Panels,
    pub(crate) ahead: Ahead,
    pub(crate) panels: usize,
    pub(crate) panels_per_block: usize,
    pub(crate) in_place: bool,
}

/// Columns of a panel.
pub(crate) const PANEL: usize = gemmill_codegen::FLOAT_PANEL;

impl FloatGridPlan {
    pub(crate) fn new(p: &FloatGridProblem) -> FloatGridPlan {
        let caches = p.resources.machine.caches;
        let tiles = RowTiles::cut(p.rows, p.rows.div_ceil(MAX_ROWS));
        let (panels, a_bytes) = (p.cols.div_ceil(PANEL), 2 * p.k);
        let b_bytes = panels.saturating_mul(panel_bytes(p.k));
        let row_bytes = a_bytes.saturating_add(p.cols.saturating_mul(p.c_bytes));
        let grid = GridProblem { caches, tiles, row_bytes, panels, b_bytes, has_full_panels: true };
        let panels_per_block = if tiles.count() > 1 { grid.panels_per_block() } else { panels.max(1) };
        let tiles_per_block = match p.in_place {
            true => tiles.count().max(1),
            false => (caches.l2 / 4 / (tiles.height.max(1) * a_bytes.max(1))).max(1),
        };
        let prefer = if !p.in_place || p.rows >= p.cols { Prefer::Rows } else { Prefer::Columns };
        let threads = p.resources.worth(p.rows, p.cols, p.k);
        let (row_parts, column_parts) = parts(threads, tiles.count(), panels, prefer);
        FloatGridPlan {
            loops: Loops { tiles, tiles_per_block, row_parts, column_parts },
            side_by_side: grid.side_by_side(),
            ahead: grid.rows_ahead(panels_per_block),
            panels,
            panels_per_block,
            in_place: p.in_place,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gemmill_codegen::{Caches, Core, Machine};

    fn plan(rows: usize, cols: usize, k: usize) -> FloatGridPlan {
        let machine = Machine { core: Core::Intel, caches: Caches { l1: 48 << 10, l2: 2 << 20, l3: 64 << 20 } };
        let resources = Resources { machine, threads: 1, macs_per_thread: 0 };
        FloatGridPlan::new(&FloatGridProblem { resources, rows, k, cols, in_place: true, c_bytes: 4 })
    }

    #[test]
    fn rows_that_fit_one_tile_have_two_panels() {
        for (rows, panels) in [(1, Panels::Two), (16, Panels::Two), (17, Panels::One), (33, Panels::One)] {
            assert_eq!(plan(rows, 1024, 1024).side_by_side, panels, "{rows}");
        }
        assert_eq!(plan(16, 32, 1024).side_by_side, Panels::One);
        assert_eq!(plan(33, 64, 64).loops.tiles, RowTiles { height: 17, tall: 1, short: 1 });
    }

    #[test]
    fn blocks_of_columns_fit_half_of_the_second_level() {
        // 64 KiB each.
        assert_eq!(plan(1024, 4096, 1024).panels_per_block, 16);
        assert_eq!(plan(32, 4096, 1024).panels_per_block, 128);
        assert_eq!((plan(1024, 4096, 1024).ahead, plan(64, 64, 64).ahead), (Ahead::TwoRows, Ahead::Nothing));
        assert_eq!(plan(1024, 4096, 256).ahead, Ahead::OneRow);
    }
}
