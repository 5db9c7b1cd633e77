//! Which micro-tiles a call of a kernel goes through, in all families.

use crate::kernel::{CodegenError, ensure};

/// Most elements of K of a [`Sweep::Grid`]: displacements reach all of a panel.
pub const MAX_GRID_K: u32 = 1 << 20;
/// Most rows that have room for two panels side by side in a grid.
pub const MAX_ROWS_OF_TWO: usize = 16;

/// Which micro-tiles a call goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sweep {
    /// A column of them: rows of A, micro-tile after micro-tile, against one panel, or strip of panels, of B.
    Column,
    /// A row of them: the same rows of A against one panel or strip of full width after the other.
    Row,
    /// A grid of them, row after row: software-pipelined kernels of tiles, for a `k` of their own.
    Grid {
        /// Elements of a row of A that meet weights.
        k: u32,
        /// Panels that a micro-tile has side by side.
        panels: Panels,
        /// What is prefetched into the second-level cache, for operands that exceed it.
        ahead: Ahead,
    },
}

/// What a micro-tile of a grid prefetches into the second-level cache besides its own: hints, which change no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ahead {
    /// Nothing.
    Nothing,
    /// C four micro-tiles ahead, and a row of A of the next row of micro-tiles.
    OneRow,
    /// The same, and two such rows.
    TwoRows,
}

impl Ahead {
    /// All of them.
    pub const ALL: [Ahead; 3] = [Ahead::Nothing, Ahead::OneRow, Ahead::TwoRows];

    /// Rows of A.
    pub(crate) const fn rows(self) -> usize {
        self as usize
    }
}

/// Panels side by side in a micro-tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Panels {
    /// One of them.
    One,
    /// Two of full width, for rows that fit one tile: as many products as two halves of rows would be.
    Two,
}

impl Sweep {
    /// Panels side by side in a micro-tile.
    pub const fn panels(self) -> usize {
        match self {
            Sweep::Grid { panels: Panels::Two, .. } => 2,
            _ => 1,
        }
    }

    pub(crate) const fn is_grid(self) -> bool {
        matches!(self, Sweep::Grid { .. })
    }

    /// A grid of one panel's micro-tiles, of one that has several side by side.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn of_one_panel(self) -> Sweep {
        match self {
            Sweep::Grid { k, ahead, .. } => Sweep::Grid { k, panels: Panels::One, ahead },
            other => other,
        }
    }

    /// What all families ask of a grid: its micro-tile has so many rows, panels of two vectors that are full, or not,
    /// and at least so many elements of K.
    pub(crate) fn check_grid(self, rows: usize, is_full: bool, least_k: u32) -> Result<(), CodegenError> {
        let Sweep::Grid { k, panels, ahead } = self else { return Ok(()) };
        ensure((least_k..=MAX_GRID_K).contains(&k), "a grid has a step of K to 1 048 576 elements")?;
        ensure(ahead == Ahead::Nothing || is_full, "kernels of a grid prefetch beside panels of full width")?;
        ensure(
            panels == Panels::One || is_full && rows <= MAX_ROWS_OF_TWO,
            "two panels side by side are full ones, and have at most 16 rows",
        )
    }

    /// The end of a kernel's name.
    pub(crate) fn suffix(self) -> String {
        match self {
            Sweep::Column => String::new(),
            Sweep::Row => "_row".into(),
            Sweep::Grid { k, panels, ahead } => {
                let panels = if panels == Panels::Two { "twos" } else { "grid" };
                let ahead = ["", "_ahead1", "_ahead2"][ahead.rows()];
                format!("_{panels}{k}{ahead}")
            }
        }
    }
}
