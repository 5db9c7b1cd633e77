//! Plans: how a product is carried out. Pure functions of what is written in a problem: no clock, no environment, no
//! CPU.
//!
//! What all families' plans have in common is here: [`RowTiles`], and [`Loops`], which is all that the loop driver
//! reads. A family's plan ([`int8`], [`float`], [`float_grid`], [`groupwise`]) adds what its kernels need; [`grid`]
//! has what those of tiles share. Golden tables pin every choice (`int8.txt`, `float.txt`, `groupwise.txt`): they
//! change only with a measurement.

pub(crate) mod float;
pub(crate) mod float_grid;
#[cfg(test)]
mod golden;
pub(crate) mod grid;
pub(crate) mod groupwise;
pub(crate) mod int8;
#[cfg(test)]
mod tests;

use gemmill_codegen::Machine;

/// What a product may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resources {
    pub(crate) machine: Machine,
    /// Most threads that may be used.
    pub(crate) threads: usize,
    /// Multiply-accumulates that a thread must have to itself.
    pub(crate) macs_per_thread: usize,
}

/// Rows cut into micro-tiles of two heights that differ by one at most: first the `tall` ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowTiles {
    /// Rows of a tall tile.
    pub(crate) height: usize,
    pub(crate) tall: usize,
    /// Number of tiles of `height - 1` rows.
    pub(crate) short: usize,
}

/// Tiles of one height that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first_row: usize,
    pub(crate) height: usize,
    pub(crate) tiles: usize,
}

impl Run {
    /// The first tiles, and those behind them.
    pub(crate) fn split(self, tiles: usize) -> (Run, Run) {
        let first_row = self.first_row + tiles * self.height;
        (Run { tiles, ..self }, Run { first_row, tiles: self.tiles - tiles, ..self })
    }
}

impl RowTiles {
    /// Cuts `rows` into `tiles` tiles.
    pub(crate) fn cut(rows: usize, tiles: usize) -> RowTiles {
        let height = rows.div_ceil(tiles.max(1));
        let short = tiles.saturating_mul(height).saturating_sub(rows);
        RowTiles { height, tall: tiles - short, short }
    }

    pub(crate) fn count(&self) -> usize {
        self.tall + self.short
    }

    /// First row of tile `tile`; the number of rows for `tile == count()`.
    pub(crate) fn row(&self, tile: usize) -> usize {
        tile * self.height - tile.saturating_sub(self.tall)
    }

    /// Tiles `first..end` as runs of equal height; empty runs among them.
    pub(crate) fn runs(&self, first: usize, end: usize) -> [Run; 2] {
        let middle = self.tall.clamp(first, end);
        [
            Run { first_row: self.row(first), height: self.height, tiles: middle - first },
            Run { first_row: self.row(middle), height: self.height.saturating_sub(1), tiles: end - middle },
        ]
    }
}

/// How a product is cut for caches and threads: what the loop driver reads of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Loops {
    pub(crate) tiles: RowTiles,
    /// Micro-tiles per block of rows: MC = `tiles_per_block * MR`.
    pub(crate) tiles_per_block: usize,
    /// Parts among which rows are split.
    pub(crate) row_parts: usize,
    /// Parts among which columns are split, in panels or strips of them.
    pub(crate) column_parts: usize,
}

impl Loops {
    /// Rows of a block.
    pub(crate) fn mc(&self) -> usize {
        self.tiles_per_block * self.tiles.height
    }
}

impl Resources {
    /// How many of the threads a product of so many multiply-accumulates is worth.
    pub(crate) fn worth(&self, rows: usize, cols: usize, k: usize) -> usize {
        let macs = rows.saturating_mul(cols).saturating_mul(k);
        let worth = macs.checked_div(self.macs_per_thread).unwrap_or(usize::MAX);
        self.threads.min(worth).max(1)
    }
}

/// What splitting prefers among equals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefer {
    Rows,
    Columns,
}

/// Parts of rows and of columns whose largest piece is smallest, for so many tiles of rows and panels of columns.
pub(crate) fn parts(threads: usize, tiles: usize, panels: usize, prefer: Prefer) -> (usize, usize) {
    let mut best = (usize::MAX, (1, 1));
    for row_parts in 1..=threads.min(tiles.max(1)) {
        let column_parts = (threads / row_parts).clamp(1, panels.max(1));
        let largest = tiles.div_ceil(row_parts).saturating_mul(panels.div_ceil(column_parts));
        if largest < best.0 || largest == best.0 && prefer == Prefer::Rows {
            best = (largest, (row_parts, column_parts));
        }
    }
    best.1
}
