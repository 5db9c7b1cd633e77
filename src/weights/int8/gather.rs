//! Weights as steps in natural order, gathered from where the user has them, and their column sums.
//!
//! A step's packed bytes are rows of quads, four elements of each of a vector's columns; all layouts but those along K:
//!
//! ```text
//! Columns8, Columns16:  step 0: vector 0 | vector 1 | ...      step 1: ...        a quad row of all columns: one step
//! Tiles:                step 0: quad rows 0..16 of columns 0..16 | of columns 16..32 | ...        step 1: ...
//! ```

use gemmill_codegen::{KR, Layout, QUAD_COLUMNS, QuadRows, interleave_quads, stack_quads, subtract_quads};

use super::builder::Weight;
use super::layout::Panel;
use super::step::Block;
use crate::views::MatRef;

/// Where weights come from, and the layout that they are gathered for.
#[derive(Clone, Copy)]
pub(super) struct Gather<'a, T> {
    b: MatRef<'a, T>,
    layout: Layout,
}

/// Rows of quads at equal distances.
#[derive(Clone, Copy)]
struct Strip {
    /// Where the first one stands among a block's bytes, and how far apart they are.
    start: usize,
    pitch: usize,
    rows: usize,
    /// The element of K that they begin with, from the start of the block.
    k: usize,
    /// Columns of the panel.
    column: usize,
    cols: usize,
}

impl<'a, T: Weight> Gather<'a, T> {
    pub(super) fn new(b: MatRef<'a, T>, layout: Layout) -> Self {
        Gather { b, layout }
    }

    /// Writes a block to `weights`, whatever that held.
    pub(super) fn block(&self, panel: &Panel, block: Block, weights: &mut Vec<i8>) {
        weights.clear();
        weights.resize(block.steps(self.layout.step_depth()) * panel.step_bytes(self.layout), 0);
        self.block_into(panel, block, weights);
    }

    /// Writes a block to zeros. Elements that a step repeats, and columns that do not exist, stay zero.
    pub(super) fn block_into(&self, panel: &Panel, block: Block, weights: &mut [i8]) {
        let depth = self.layout.step_depth();
        let step_bytes = panel.step_bytes(self.layout);
        let whole = block.len / depth;
        let mut rest = 0;
        if let Some((lines, strips)) = self.lines().zip(self.strips(panel, whole)).filter(|_| whole > 0) {
            strips.for_each(|strip| lines.gather(strip, panel.column, block.start, weights));
            rest = whole * depth;
        }
        for k in rest..block.len {
            let step = k / depth;
            let within = k - block.step_start(step, depth);
            let vectors = &mut weights[step * step_bytes..];
            for j in 0..panel.cols {
                vectors[self.layout.place(j, within)] = self.b.at(block.start + k, panel.column + j).to_i8();
            }
        }
    }

    /// Subtracts the column sums of a block that was gathered from `sums`, one for each column of the panel.
    pub(super) fn subtract_column_sums(&self, panel: &Panel, weights: &[i8], sums: &mut [i32]) {
        let steps = weights.len() / panel.step_bytes(self.layout);
        if let Some(strips) = self.strips(panel, steps) {
            for Strip { start, pitch, rows, column, cols, .. } in strips {
                subtract_quads(&weights[start..], pitch, rows, &mut sums[column..][..cols]);
            }
            return;
        }
        for step in weights.chunks_exact(panel.step_bytes(self.layout)) {
            for (j, sum) in sums.iter_mut().enumerate() {
                for within in 0..self.layout.step_depth() {
                    *sum = sum.wrapping_sub(step[self.layout.place(j, within)].into());
                }
            }
        }
    }

    /// The rows of quads of some steps, for layouts that have such.
    fn strips(&self, panel: &Panel, steps: usize) -> Option<impl Iterator<Item = Strip>> {
        let (panel, layout) = (*panel, self.layout);
        let step_bytes = panel.step_bytes(layout);
        let (count, width) = match layout {
            Layout::Columns8 | Layout::Columns16 => (1, panel.cols.max(1)),
            Layout::Tiles => (steps, layout.lanes()),
            _ => return None,
        };
        let strip = move |i: usize, column: usize| {
            let cols = width.min(panel.cols - column);
            match layout {
                Layout::Tiles => Strip {
                    start: i * step_bytes + layout.place(column, 0),
                    pitch: layout.lanes() * KR,
                    rows: layout.step_depth() / KR,
                    k: i * layout.step_depth(),
                    column,
                    cols,
                },
                _ => Strip { start: 0, pitch: step_bytes, rows: steps, k: 0, column, cols },
            }
        };
        Some((0..count).flat_map(move |i| (0..panel.cols).step_by(width).map(move |column| strip(i, column))))
    }

    /// How weights lie, if their rows or columns have their elements side by side.
    fn lines(&self) -> Option<Lines<'a, T>> {
        match (self.b.row_stride(), self.b.col_stride()) {
            (_, 1) => Some(Lines::Rows(self.b)),
            (1, _) => Some(Lines::Columns(self.b.transposed())),
            _ => None,
        }
    }
}

/// A row of a matrix whose rows hold their elements side by side.
#[inline]
fn side_by_side<'a, T: Weight>(b: &MatRef<'a, T>, row: usize) -> &'a [T] {
    b.row(row).expect("a column stride of 1")
}

/// Weights whose rows or columns hold their elements side by side.
#[derive(Clone, Copy)]
enum Lines<'a, T> {
    Rows(MatRef<'a, T>),
    /// The transposed matrix.
    Columns(MatRef<'a, T>),
}

impl<T: Weight> Lines<'_, T> {
    /// Writes a strip of the panel whose columns begin with `first_column`, of the block that begins with element
    /// `first_k`.
    fn gather(self, strip: Strip, first_column: usize, first_k: usize, weights: &mut [i8]) {
        let Strip { start, pitch, rows, k, column, cols } = strip;
        let (k, column, out) = (first_k + k, first_column + column, &mut weights[start..]);
        match self {
            Lines::Rows(b) => {
                let out = QuadRows { bytes: bytemuck::cast_slice_mut(out), pitch, count: rows };
                let strip =
                    b.columns(column, cols).and_then(|b| b.row_range(k, rows * KR)).expect("a part of the matrix");
                stack_quads(|i| T::bytes(side_by_side(&strip, i)), T::FLIP, out);
            }
            Lines::Columns(b) => {
                let elements = |j: usize| &side_by_side(&b, column + j)[k..][..rows * KR];
                for first in (0..cols).step_by(QUAD_COLUMNS) {
                    let out = &mut out[first * KR..];
                    if cols - first >= QUAD_COLUMNS {
                        let columns = std::array::from_fn(|j| T::bytes(elements(first + j)));
                        let out = QuadRows { bytes: bytemuck::cast_slice_mut(out), pitch, count: rows };
                        interleave_quads(&columns, T::FLIP, out);
                        continue;
                    }
                    for j in first..cols {
                        for (q, quad) in elements(j).as_chunks::<KR>().0.iter().enumerate() {
                            out[q * pitch + (j - first) * KR..][..KR].copy_from_slice(&quad.map(T::to_i8));
                        }
                    }
                }
            }
        }
    }
}
