//! How large the sums of packed weights can get, and weights cut along K until theirs fit 32 bits.

use std::ops::Range;

use super::builder::Weight;
use super::natural::Natural;
use super::packed::PackedB;
use crate::error::Result;
use crate::machine::threads::{Threads, piece};
use crate::quant::per_column::{Expanded, OwnedPerColumn, PerColumn};
use crate::views::MatRef;

/// The largest distance of an 8-bit activation, and of an 8-bit weight, from a zero point in its range.
const FURTHEST: u64 = 255;

/// Rows of weights whose sums fit an i32, whatever they and the activations are.
const SAFE_DEPTH: usize = (i32::MAX as u64 / (FURTHEST * FURTHEST)) as usize;

/// `|Σ_k (a - a_zp) * (b - b_zp)|` is at most this in every column, for all activations and zero points of one 8-bit
/// type.
///
/// With `d = a_zp - low`, activations lie in `-d..=255 - d` of their zero point; with `p` and `q` the sums of the
/// positive and of the negative `b - b_zp`, taken without their signs, the sum lies between `-(d p + (255 - d) q)` and
/// `(255 - d) p + d q`, and so within `255 max(p, q)`. Where K is so small that every column's sums fit an i32, a
/// larger bound from K alone is given, which costs no pass over the weights.
pub(super) fn largest_sum<T: Weight>(b: MatRef<'_, T>, zero_points: &Expanded<'_, i32>) -> u64 {
    /// Columns that are summed together.
    const COLUMNS: usize = 256;
    let (low, high, moved) = if T::SIGNED { (-128, 127, 0) } else { (0, 255, -128) };
    let furthest = zero_points.iter().map(|z| (high - z).max(z - low)).max().unwrap_or(0);
    let of_any = (FURTHEST * u64::from(furthest.unsigned_abs())).saturating_mul(b.rows() as u64);
    if b.cols() == 0 {
        return 0;
    }
    if of_any <= i32::MAX as u64 {
        return of_any;
    }
    let mut largest = 0;
    for first in (0..b.cols()).step_by(COLUMNS) {
        let count = COLUMNS.min(b.cols() - first);
        let (mut above, mut below) = ([0i64; COLUMNS], [0i64; COLUMNS]);
        let mut zero = [0i32; COLUMNS];
        zero[..count].iter_mut().enumerate().for_each(|(j, z)| *z = zero_points.get(first + j) + moved);
        let mut add = |j: usize, weight: T| {
            let difference = i64::from(weight.to_i8()) - i64::from(zero[j]);
            above[j] += difference.max(0);
            below[j] -= difference.min(0);
        };
        for k in 0..b.rows() {
            match b.row(k) {
                Some(row) => row[first..][..count].iter().enumerate().for_each(|(j, &weight)| add(j, weight)),
                None => (0..count).for_each(|j| add(j, b.at(k, first + j))),
            }
        }
        let most = above.iter().chain(&below).max().copied().unwrap_or(0);
        largest = largest.max(most.unsigned_abs());
    }
    FURTHEST.saturating_mul(largest)
}

/// Weights of some rows of one group, packed by themselves.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) group: usize,
    /// Rows of the group's weights.
    pub(crate) rows: Range<usize>,
    pub(crate) packed: PackedB,
}

impl PackedB {
    /// The weights again, for the same tier, group by group in runs of rows whose sums fit an i32.
    pub(crate) fn cut_to_fit(&self, threads: Threads) -> Result<Vec<Cut>> {
        let natural = Natural::of(self)?;
        match natural.signed {
            true => natural.cut::<i8>(bytemuck::cast_slice(&natural.weights), self, threads),
            false => natural.cut::<u8>(&natural.weights, self, threads),
        }
    }
}

impl Natural<'_> {
    fn cut<T: Weight>(&self, weights: &[T], packed: &PackedB, threads: Threads) -> Result<Vec<Cut>> {
        let b = MatRef::row_major(weights, self.k, self.n)?;
        let group_cols = self.n / self.groups.max(1);
        let count = self.k.div_ceil(SAFE_DEPTH);
        let cuts = (0..self.groups).flat_map(|group| (0..count).map(move |i| (group, i)));
        cuts.map(|(group, i)| {
            let (rows, first) = (piece(self.k, i, count), group * group_cols);
            let zero_points = match &self.zero_points {
                OwnedPerColumn::Tensor(z) => PerColumn::Tensor(*z),
                OwnedPerColumn::Group(z) => PerColumn::Tensor(z[group]),
                OwnedPerColumn::Column(z) => PerColumn::Column(&z[first..][..group_cols]),
            };
            let builder = PackedB::builder(b.row_range(rows.start, rows.len())?.columns(first, group_cols)?)
                .zero_points(zero_points)
                .activation_max(self.activation_max)
                .effort(self.options.effort)
                .tier(packed.tier())
                .threads(threads);
            let builder = if let Some(kc) = self.options.kc { builder.kc(kc) } else { builder };
            Ok(Cut { group, rows, packed: builder.build()? })
        })
        .collect()
    }
}
