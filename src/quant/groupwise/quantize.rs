//! From f32 to groupwise weights: round to nearest, and a search of the scales with the least squared error.
//!
//! A group's scale and zero point are chosen first; then, whatever they are,
//!
//! ```text
//! q = zero_point + rne(clamp(w / f32(scale), -zero_point, highest - zero_point))
//! ```

use gemmill_codegen::vectorize;

use super::{GroupwiseFormat, GroupwiseParts, GroupwiseWeights, ZeroPoints};
use crate::convert::bf16;
use crate::error::{Error, Result, expect};
use crate::machine::memory;
use crate::machine::threads::{Threads, available_threads, try_share};
use crate::quant::rows::{clamp, larger, round};
use crate::views::MatRef;

/// The largest magnitude of a weight: scales that cover it leave all weights finite.
const LARGEST: f32 = (1u128 << 127) as f32;
/// The smallest scale. Smaller ones are subnormal and have fewer bits.
const SMALLEST_SCALE: f32 = f32::MIN_POSITIVE;

impl GroupwiseWeights {
    /// Quantizes K × N weights with scales that just cover each group of each column.
    ///
    /// - Symmetric: `scale = max(p / (highest - middle), n / middle)`, `p` being the largest weight and `n` the
    ///   magnitude of the smallest one, both at least 0.
    /// - Asymmetric: `scale = (p + n) / highest`, and `zero_point = rne(n / scale)`, at most `highest`.
    ///
    /// The scale is rounded to the nearest bf16, and is at least 2^-126. A group of zeros gets the scale 1. No weight
    /// moves by more than half a scale and what rounding the scale adds, at most `highest / 255` of a scale.
    ///
    /// Groups are shared out among the threads of the caller's rayon pool.
    ///
    /// # Errors
    /// [`Error::BadNumber`] if a weight is NaN, infinite, or larger than 2^127 in magnitude, [`Error::Overflow`] if the
    /// result does not fit in memory.
    pub fn round_to_nearest(weights: MatRef<'_, f32>, format: GroupwiseFormat) -> Result<Self> {
        quantize(weights, format, |group, out| {
            let ranges = group.ranges();
            for (j, range) in ranges.iter().enumerate() {
                let (scale, zero_point) = cover(*range, format);
                out.set(j, scale, zero_point);
            }
        })
    }

    /// Quantizes K × N weights with the scales, and the zero points if they are free, that give the least squared error
    /// among those that are tried: `Σ_k importance[k] * (w[k][j] - w'[k][j])^2` over each group of each column.
    ///
    /// Tried are: those of [`round_to_nearest`](Self::round_to_nearest); that scale times 8/32 to 36/32, with the zero
    /// point that puts the range in the middle and its two neighbours; twice, the scale that suits the best integers so
    /// far best. So the error is never larger than with rounding to nearest.
    ///
    /// `importance` holds a weight for each row, for example the mean square of the activations that meet it; all are 1
    /// without it.
    ///
    /// # Errors
    /// As [`round_to_nearest`](Self::round_to_nearest); [`Error::Mismatch`] unless there are K importances,
    /// [`Error::BadNumber`] for one that is negative, NaN or infinite.
    pub fn search(weights: MatRef<'_, f32>, format: GroupwiseFormat, importance: Option<&[f32]>) -> Result<Self> {
        if let Some(importance) = importance {
            expect("importances of rows", weights.rows(), importance.len())?;
            if let Some(&given) = importance.iter().find(|x| !(x.is_finite() && **x >= 0.0)) {
                return Err(Error::BadNumber {
                    what: "importance of a row",
                    expected: "a finite number, at least 0",
                    given,
                });
            }
        }
        quantize(weights, format, |group, out| {
            let ranges = group.ranges();
            let mut column = Column::default();
            column
                .importance
                .extend((0..group.rows).map(|k| importance.map_or(1.0, |all| all[group.first_row + k].into())));
            for (j, range) in ranges.iter().enumerate() {
                column.weights.clear();
                column.weights.extend((0..group.rows).map(|k| group.weights[k * group.n + j]));
                let (scale, zero_point) = best(&column, *range, format);
                out.set(j, scale, zero_point);
            }
        })
    }
}

/// The weights of a group of rows, side by side.
struct Group<'a> {
    weights: &'a [f32],
    n: usize,
    first_row: usize,
    rows: usize,
}

/// Magnitudes of the smallest weight below 0 and of the largest one above, 0 if there is none.
#[derive(Debug, Clone, Copy, Default)]
struct Range {
    below: f32,
    above: f32,
}

impl Group<'_> {
    /// The range of each column.
    fn ranges(&self) -> Vec<Range> {
        let mut ranges = vec![Range::default(); self.n];
        for row in self.weights.chunks_exact(self.n) {
            vectorize(|| {
                for (range, &w) in ranges.iter_mut().zip(row) {
                    range.below = larger(-w, range.below);
                    range.above = larger(w, range.above);
                }
            });
        }
        ranges
    }
}

/// Scales and zero points of a group of rows.
struct Chosen<'a> {
    scales: &'a mut [bf16],
    zero_points: &'a mut [u8],
}

impl Chosen<'_> {
    fn set(&mut self, column: usize, scale: bf16, zero_point: u8) {
        self.scales[column] = scale;
        if let Some(place) = self.zero_points.get_mut(column) {
            *place = zero_point;
        }
    }
}

/// Quantizes with the scales and zero points that `choose` finds for each group of rows.
fn quantize(
    weights: MatRef<'_, f32>,
    format: GroupwiseFormat,
    choose: impl Fn(&Group<'_>, &mut Chosen<'_>) + Sync,
) -> Result<GroupwiseWeights> {
    let (k, n) = (weights.rows(), weights.cols());
    let size = format.group_size.elements();
    let mut values = filled(k, n, 0u8)?;
    let mut scales = filled(format.groups(k), n, bf16::ONE)?;
    let mut zero_points = filled(format.groups(k), n, format.bits.middle())?;
    if n > 0 {
        // What groups at work take: their weights, and some numbers for each column.
        let at_work = available_threads(None).min(format.groups(k));
        memory::require("groups of weights", n.saturating_mul(size * 4 + 32).saturating_mul(at_work))?;
        let outputs = values.chunks_mut(size.saturating_mul(n)).zip(scales.chunks_mut(n));
        let groups = outputs.zip(zero_points.chunks_mut(n)).enumerate().collect();
        try_share(Threads::Auto, groups, &|(g, ((values, scales), zero_points))| {
            let first_row = g * size;
            let rows = values.len() / n;
            let gathered = gather(weights, first_row, rows)?;
            let group = Group { weights: &gathered, n, first_row, rows };
            choose(&group, &mut Chosen { scales, zero_points });
            let real: Vec<f32> = scales.iter().map(|scale| scale.to_f32()).collect();
            for (q, w) in values.chunks_exact_mut(n).zip(gathered.chunks_exact(n)) {
                vectorize(|| {
                    for (((q, &w), &scale), &zero_point) in q.iter_mut().zip(w).zip(&real).zip(&*zero_points) {
                        *q = (step(w, scale, zero_point, format) + i32::from(zero_point)) as u8;
                    }
                });
            }
            Ok(())
        })?;
    }
    if format.zero_points == ZeroPoints::Middle {
        zero_points = Vec::new();
    }
    GroupwiseWeights::from_parts(GroupwiseParts { k, n, format, values, scales, zero_points })
}

/// `rows * cols` times the same. A view may have more elements than its slice, even more than fit in memory.
fn filled<T: Clone>(rows: usize, cols: usize, value: T) -> Result<Vec<T>> {
    const WHAT: &str = "groupwise weights";
    let len = rows.checked_mul(cols).ok_or(Error::Overflow { what: WHAT })?;
    memory::filled(WHAT, len, value)
}

/// Some rows of the weights, one after the other, all of them usable.
fn gather(weights: MatRef<'_, f32>, first_row: usize, rows: usize) -> Result<Vec<f32>> {
    let mut gathered = memory::with_capacity("a group of weights", rows * weights.cols())?;
    for k in first_row..first_row + rows {
        match weights.row(k) {
            Some(row) => gathered.extend_from_slice(row),
            None => gathered.extend((0..weights.cols()).map(|j| weights.at(k, j))),
        }
    }
    let usable = |w: f32| w.abs() <= LARGEST;
    let all_usable = vectorize(|| gathered.iter().fold(true, |all, &w| all & usable(w)));
    match gathered.iter().find(|w| !all_usable && !usable(**w)) {
        Some(&given) => {
            Err(Error::BadNumber { what: "weight", expected: "a finite number of at most 2^127 in magnitude", given })
        }
        None => Ok(gathered),
    }
}

/// `q - zero_point` of a weight.
#[inline(always)]
fn step(w: f32, scale: f32, zero_point: u8, format: GroupwiseFormat) -> i32 {
    let zero_point = f32::from(zero_point);
    round(clamp(w / scale, -zero_point, f32::from(format.bits.highest()) - zero_point))
}

/// Whether all weights are finite with this scale.
fn stays_finite(scale: bf16, zero_point: u8, format: GroupwiseFormat) -> bool {
    let reach = zero_point.max(format.bits.highest() - zero_point);
    (scale.to_f32() * f32::from(reach)).is_finite()
}

/// The scale and zero point of rounding to nearest.
fn cover(range: Range, format: GroupwiseFormat) -> (bf16, u8) {
    let (highest, middle) = (f32::from(format.bits.highest()), f32::from(format.bits.middle()));
    let Range { below, above } = range;
    if below == 0.0 && above == 0.0 {
        return (bf16::ONE, if format.zero_points == ZeroPoints::Middle { format.bits.middle() } else { 0 });
    }
    match format.zero_points {
        ZeroPoints::Middle => {
            let scale = bf16::from_f32((above / (highest - middle)).max(below / middle).max(SMALLEST_SCALE));
            // 2^127 as twice the scale is the one range whose other end would be infinite.
            let finite = stays_finite(scale, format.bits.middle(), format);
            (if finite { scale } else { bf16::from_bits(scale.to_bits() - 1) }, format.bits.middle())
        }
        ZeroPoints::Each => {
            // Twice the largest weight overflows f32.
            let width = f64::from(below) + f64::from(above);
            let scale = bf16::from_f32(((width / f64::from(highest)) as f32).max(SMALLEST_SCALE));
            (scale, (below / scale.to_f32()).round_ties_even().min(highest) as u8)
        }
    }
}

/// A column of a group, and the importance of its rows.
#[derive(Default)]
struct Column {
    weights: Vec<f32>,
    importance: Vec<f64>,
}

impl Column {
    /// The weighted sum of squared errors, and that of `w * step` and of `step^2`: what the best scale for these
    /// integers follows from.
    fn sums(&self, scale: bf16, zero_point: u8, format: GroupwiseFormat) -> Sums {
        vectorize(|| self.sums_in_lanes(scale, zero_point, format))
    }

    #[inline(always)]
    fn sums_in_lanes(&self, scale: bf16, zero_point: u8, format: GroupwiseFormat) -> Sums {
        // Sums of floating-point numbers keep their order, so the lanes that may run side by side are spelled out.
        const LANES: usize = 8;
        let scale = scale.to_f32();
        let mut errors = [0f64; LANES];
        let (mut products, mut squares) = ([0f64; LANES], [0f64; LANES]);
        let (weights, weights_rest) = self.weights.as_chunks::<LANES>();
        let (importance, importance_rest) = self.importance.as_chunks::<LANES>();
        let mut add = |lane: usize, w: f32, importance: f64| {
            let step = step(w, scale, zero_point, format) as f32;
            let error = f64::from(w) - f64::from(scale * step);
            errors[lane] += importance * error * error;
            products[lane] += importance * f64::from(w) * f64::from(step);
            squares[lane] += importance * f64::from(step * step);
        };
        for (w, importance) in weights.iter().zip(importance) {
            for lane in 0..LANES {
                add(lane, w[lane], importance[lane]);
            }
        }
        for (lane, (&w, &importance)) in weights_rest.iter().zip(importance_rest).enumerate() {
            add(lane, w, importance);
        }
        let sum = |lanes: [f64; LANES]| lanes.into_iter().sum();
        Sums { error: sum(errors), products: sum(products), squares: sum(squares) }
    }
}

#[derive(Debug, Clone, Copy)]
struct Sums {
    error: f64,
    products: f64,
    squares: f64,
}

/// The scale and zero point with the least error among those that [`GroupwiseWeights::search`] lists; the first of
/// equals.
fn best(column: &Column, range: Range, format: GroupwiseFormat) -> (bf16, u8) {
    let covering = cover(range, format);
    if range.below == 0.0 && range.above == 0.0 {
        return covering;
    }
    let mut best =
        Candidate { scale: covering.0, zero_point: covering.1, sums: column.sums(covering.0, covering.1, format) };
    let highest = format.bits.highest();
    for thirty_seconds in 8..=36u8 {
        let scale = covering.0.to_f32() * (f32::from(thirty_seconds) / 32.0);
        match format.zero_points {
            ZeroPoints::Middle => best.improve(column, scale, format.bits.middle(), format),
            ZeroPoints::Each => {
                let off_centre = (range.below / scale - range.above / scale) / 2.0;
                let centred =
                    (f32::from(highest) / 2.0 + off_centre).round_ties_even().clamp(0.0, highest.into()) as u8;
                for zero_point in centred.saturating_sub(1)..=(centred + 1).min(highest) {
                    best.improve(column, scale, zero_point, format);
                }
            }
        }
    }
    for _ in 0..2 {
        let Sums { products, squares, .. } = best.sums;
        if products > 0.0 && squares > 0.0 {
            best.improve(column, (products / squares) as f32, best.zero_point, format);
        }
    }
    (best.scale, best.zero_point)
}

/// The best scale and zero point so far.
struct Candidate {
    scale: bf16,
    zero_point: u8,
    sums: Sums,
}

impl Candidate {
    /// Becomes these if their error is smaller.
    fn improve(&mut self, column: &Column, scale: f32, zero_point: u8, format: GroupwiseFormat) {
        let scale = bf16::from_f32(scale.max(SMALLEST_SCALE));
        if stays_finite(scale, zero_point, format) {
            let sums = column.sums(scale, zero_point, format);
            if sums.error < self.sums.error {
                *self = Candidate { scale, zero_point, sums };
            }
        }
    }
}
