//! What kernels of a grid of micro-tiles ask for and remember, in all families.

/// Arrays by row, and arrays by column, at most.
const ARRAYS: usize = 5;

/// The part of an argument block that kernels of a grid keep of where they stand. Callers set `width` alone.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct GridArgs {
    /// Micro-tiles of a row; not zero.
    pub width: usize,
    /// Kernel's own: micro-tiles of this row that are left.
    pub(crate) left: usize,
    /// Kernel's own: those whose epilogue is to come.
    pub(crate) epilogues_left: usize,
    /// Kernel's own: the rows of A to prefetch.
    pub(crate) next_rows: usize,
    /// Kernel's own: bytes from row to row of C.
    pub(crate) c_row_stride: usize,
    /// Kernel's own: where this row's arrays by row begin.
    pub(crate) by_row: [usize; ARRAYS],
    /// Kernel's own: where arrays by column begin.
    pub(crate) by_column: [usize; ARRAYS],
}

impl GridArgs {
    /// Numbers of scratch memory behind a grid's sums: a row of C of any type, 64 columns wide.
    pub const ROW_OF_NOTHING: usize = 64;

    /// Of rows of so many micro-tiles.
    ///
    /// # Examples
    /// ```
    /// use gemmill_codegen::{GridArgs, KernelArgs};
    /// let args = KernelArgs { grid: GridArgs::of_width(16), ..KernelArgs::EMPTY };
    /// assert_eq!(args.grid.width, 16);
    /// ```
    pub fn of_width(width: usize) -> GridArgs {
        GridArgs { width, ..GridArgs::default() }
    }
}
