//! Parameters by row of A that kernels read, and those that rows are quantized by.

use std::cell::RefCell;

use super::{Operand, Quantization};
use crate::error::Result;
use crate::machine::memory::resize;
use crate::machine::threads::{ParallelFor, piece, run_pieces, worth_pieces};
use crate::quant::{dynamic_row_params, min_max_row, symmetric_row_params};
use crate::views::AnyRef;

/// Which integers rows become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowRange {
    /// 0 to 255, by a scale and a zero point of the row.
    U8,
    /// -127 to 127, by a scale of the row.
    SymmetricI8,
}

impl RowRange {
    /// Scale, its reciprocal, and zero point of a row whose elements lie in `min..=max`.
    fn parameters(self, min: f32, max: f32) -> Result<(f32, f32, i32)> {
        match self {
            RowRange::U8 => dynamic_row_params(min, max).map(|p| (p.scale(), p.inverse(), p.zero_point())),
            RowRange::SymmetricI8 => symmetric_row_params(min, max).map(|p| (p.scale(), p.inverse(), 0)),
        }
    }
}

/// One number for each row, or none where the product needs none; kept from call to call.
#[derive(Debug, Default)]
pub(crate) struct RowParameters {
    pub(crate) zero_points: Vec<i32>,
    pub(crate) scales: Vec<f32>,
    /// Reciprocals of `scales`, of rows that are quantized.
    pub(crate) inverses: Vec<f32>,
}

/// Some rows' places in [`RowParameters`].
struct Rows<'a> {
    first: usize,
    zero_points: &'a mut [i32],
    scales: &'a mut [f32],
    inverses: &'a mut [f32],
}

impl RowParameters {
    pub(crate) fn clear(&mut self) {
        self.zero_points.clear();
        self.scales.clear();
        self.inverses.clear();
    }

    /// Parameters of every row of floats from its smallest and largest element, NaN left out.
    ///
    /// # Errors
    /// [`Error::BadNumber`](crate::Error::BadNumber) if a row holds an infinity.
    pub(crate) fn fit(
        &mut self,
        a: AnyRef<'_>,
        range: RowRange,
        threads: usize,
        own: Option<&dyn ParallelFor>,
    ) -> Result<()> {
        let rows = a.rows();
        const WHAT: &str = "parameters of rows";
        resize(WHAT, &mut self.zero_points, rows, 0)?;
        resize(WHAT, &mut self.scales, rows, 0.0)?;
        resize(WHAT, &mut self.inverses, rows, 0.0)?;
        let a = Operand::new(a, Quantization::None);
        let (mut zero_points, mut scales, mut inverses) =
            (&mut self.zero_points[..], &mut self.scales[..], &mut self.inverses[..]);
        let bytes = rows.saturating_mul(a.cols()).saturating_mul(a.elements.element().bytes());
        let parts = worth_pieces(bytes, threads).min(rows);
        if parts <= 1 {
            return fit_rows(&a, range, Rows { first: 0, zero_points, scales, inverses });
        }
        let pieces = (0..parts).map(|i| {
            let piece = piece(rows, i, parts);
            let first = piece.start;
            Rows {
                first,
                zero_points: zero_points.split_off_mut(..piece.len()).unwrap_or_default(),
                scales: scales.split_off_mut(..piece.len()).unwrap_or_default(),
                inverses: inverses.split_off_mut(..piece.len()).unwrap_or_default(),
            }
        });
        run_pieces(own, pieces, &|rows| fit_rows(&a, range, rows))
    }

    /// Refuses rows that cannot be quantized, of a product whose C has no columns: nothing says then that A fits
    /// memory.
    pub(crate) fn check(a: AnyRef<'_>, range: RowRange) -> Result<()> {
        let a = a.without_repeats();
        let operand = Operand::new(a, Quantization::None);
        for i in 0..if a.cols() == 0 { 0 } else { a.rows() } {
            let (min, max) = bounds(&operand, i);
            range.parameters(min, max)?;
        }
        Ok(())
    }
}

fn fit_rows(a: &Operand<'_>, range: RowRange, rows: Rows<'_>) -> Result<()> {
    for i in 0..rows.scales.len() {
        let (min, max) = bounds(a, rows.first + i);
        (rows.scales[i], rows.inverses[i], rows.zero_points[i]) = range.parameters(min, max)?;
    }
    Ok(())
}

/// The smallest and the largest element of a row, NaN left out; zeros if nothing is left.
fn bounds(a: &Operand<'_>, row: usize) -> (f32, f32) {
    const PIECE: usize = 1024;
    gemmill_codegen::vectorize(|| {
        if let AnyRef::F32(m) = a.elements
            && let Some(row) = m.row(row)
        {
            return min_max_row(row).unwrap_or_default();
        }
        let mut wide = [0f32; PIECE];
        let mut found: Option<(f32, f32)> = None;
        for first in (0..a.cols()).step_by(PIECE) {
            let wide = &mut wide[..PIECE.min(a.cols() - first)];
            a.read(row, first, wide);
            let Some((min, max)) = min_max_row(wide) else { continue };
            found = Some(found.map_or((min, max), |(low, high)| (low.min(min), high.max(max))));
        }
        found.unwrap_or_default()
    })
}

thread_local! {
    static ROW_PARAMETERS: RefCell<RowParameters> = RefCell::default();
}

/// Runs `f` with row parameters, empty: with this thread's, which have memory, if it needs some. A run inside a run
/// gets fresh ones.
pub(crate) fn with_row_parameters<R>(needs_some: bool, f: impl FnOnce(&mut RowParameters) -> R) -> R {
    if !needs_some {
        return f(&mut RowParameters::default());
    }
    ROW_PARAMETERS.with(|parameters| match parameters.try_borrow_mut() {
        Ok(mut parameters) => {
            parameters.clear();
            f(&mut parameters)
        }
        Err(_) => f(&mut RowParameters::default()),
    })
}
