//! Weights of 4 or 2 bits with a scale for every group of elements along K, column by column.
//!
//! ```text
//! w[k][j] = f32(scale[g][j]) * f32(q[k][j] - zero_point[g][j])        g = k / group size
//! ```
//!
//! `q` is unsigned, scales are [`bf16`] above 0. A bf16 has 8 significant bits, so that product is exact in f32, and so
//! are the kernels' weights. [`quantize`] makes such weights, [`bytes`] is their format in files; products are defined
//! in [`reference::groupwise`](crate::reference::groupwise).

mod bytes;
mod quantize;
#[cfg(test)]
mod tests;

use gemmill_codegen::{in_default_float_mode, vectorize};

use crate::convert::bf16;
use crate::error::{Error, Result, expect};
use crate::machine::memory::filled;
use crate::views::{MatMut, MatRef};

/// Bits of a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bits {
    /// 0 to 3.
    Two,
    /// 0 to 15.
    Four,
}

impl Bits {
    /// How many bits they are.
    pub fn count(self) -> usize {
        match self {
            Bits::Two => 2,
            Bits::Four => 4,
        }
    }

    /// The largest value of a stored weight.
    pub fn highest(self) -> u8 {
        match self {
            Bits::Two => 3,
            Bits::Four => 15,
        }
    }

    /// The zero point of symmetric weights: 2 or 8.
    pub fn middle(self) -> u8 {
        self.highest() / 2 + 1
    }
}

/// Elements along K that share a scale. The last group of a column may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupSize {
    /// 32 elements.
    G32,
    /// 64 elements.
    G64,
    /// 128 elements.
    G128,
}

impl GroupSize {
    /// How many elements they are.
    pub fn elements(self) -> usize {
        match self {
            GroupSize::G32 => 32,
            GroupSize::G64 => 64,
            GroupSize::G128 => 128,
        }
    }
}

/// Which integers stand for 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ZeroPoints {
    /// [`Bits::middle`] everywhere: symmetric weights.
    Middle,
    /// One for each group of each column, 0 to [`Bits::highest`]: asymmetric weights.
    Each,
}

/// The format of groupwise weights.
///
/// # Examples
/// ```
/// use gemmill::quant::{Bits, GroupSize, GroupwiseFormat, ZeroPoints};
/// let format = GroupwiseFormat { bits: Bits::Four, group_size: GroupSize::G128, zero_points: ZeroPoints::Middle };
/// assert_eq!(format.groups(300), 3);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupwiseFormat {
    /// Bits of a weight.
    pub bits: Bits,
    /// Elements along K that share a scale.
    pub group_size: GroupSize,
    /// Which integers stand for 0.
    pub zero_points: ZeroPoints,
}

impl GroupwiseFormat {
    /// Groups of a column of `k` elements.
    pub fn groups(&self, k: usize) -> usize {
        k.div_ceil(self.group_size.elements())
    }
}

/// What groupwise weights consist of. See [`GroupwiseWeights::from_parts`].
#[derive(Debug, Clone, PartialEq)]
pub struct GroupwiseParts {
    /// Rows.
    pub k: usize,
    /// Columns.
    pub n: usize,
    /// The format.
    pub format: GroupwiseFormat,
    /// The stored weights, K × N, one in a byte, row after row.
    pub values: Vec<u8>,
    /// Scales, groups × N, all groups of the first rows first.
    pub scales: Vec<bf16>,
    /// Zero points, as many and in the same order; none for [`ZeroPoints::Middle`].
    pub zero_points: Vec<u8>,
}

/// K × N weights of 4 or 2 bits with a scale, and maybe a zero point, for every group of elements along K.
///
/// `w[k][j] = f32(scale[g][j]) * f32(q[k][j] - zero_point[g][j])` with `g = k / group_size`; every weight is finite,
/// and the product exact.
///
/// # Examples
/// ```
/// use gemmill::MatRef;
/// use gemmill::quant::{Bits, GroupSize, GroupwiseFormat, GroupwiseWeights, ZeroPoints};
/// let w: Vec<f32> = (0..256 * 3).map(|i| (i as f32 * 0.7).sin()).collect();
/// let view = MatRef::row_major(&w, 256, 3)?;
/// let format = GroupwiseFormat { bits: Bits::Four, group_size: GroupSize::G64, zero_points: ZeroPoints::Middle };
/// let nearest = GroupwiseWeights::round_to_nearest(view, format)?;
/// let searched = GroupwiseWeights::search(view, format, None)?;
/// let (before, after) = (nearest.error(view)?, searched.error(view)?);
/// assert!(after.mean_squared <= before.mean_squared && before.max < 0.08);
/// assert_eq!(GroupwiseWeights::from_bytes(&searched.to_bytes())?, searched);
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GroupwiseWeights {
    /// Checked: see `check`.
    parts: GroupwiseParts,
}

/// How far groupwise weights lie from those that they stand for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupwiseError {
    /// The largest difference; NaN if one is.
    pub max: f64,
    /// The mean of the squared differences; 0 of no weights.
    pub mean_squared: f64,
}

impl GroupwiseWeights {
    /// Weights that were quantized elsewhere.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a wrong number of values, scales or zero points, [`Error::OutOfRange`] for a value or
    /// zero point above [`Bits::highest`], [`Error::BadNumber`] for a scale that is not above 0 or by which a weight
    /// could be infinite, [`Error::Overflow`] for sizes that no memory holds.
    ///
    /// # Examples
    /// ```
    /// use gemmill::convert::bf16;
    /// use gemmill::quant::{Bits, GroupSize, GroupwiseFormat, GroupwiseParts, GroupwiseWeights, ZeroPoints};
    /// let format = GroupwiseFormat { bits: Bits::Two, group_size: GroupSize::G32, zero_points: ZeroPoints::Each };
    /// let parts = GroupwiseParts {
    ///     k: 2,
    ///     n: 1,
    ///     format,
    ///     values: vec![0, 3],
    ///     scales: vec![bf16::from_f32(0.5)],
    ///     zero_points: vec![1],
    /// };
    /// let weights = GroupwiseWeights::from_parts(parts)?;
    /// assert_eq!((weights.weight(0, 0), weights.weight(1, 0)), (Some(-0.5), Some(1.0)));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn from_parts(parts: GroupwiseParts) -> Result<Self> {
        check(&parts)?;
        Ok(GroupwiseWeights { parts })
    }

    /// Gives the parts back.
    pub fn into_parts(self) -> GroupwiseParts {
        self.parts
    }

    /// Rows.
    pub fn k(&self) -> usize {
        self.parts.k
    }

    /// Columns.
    pub fn n(&self) -> usize {
        self.parts.n
    }

    /// The format.
    pub fn format(&self) -> GroupwiseFormat {
        self.parts.format
    }

    /// Groups of a column.
    pub fn groups(&self) -> usize {
        self.parts.format.groups(self.parts.k)
    }

    /// The stored weights, K × N, one in a byte, row after row.
    pub fn values(&self) -> &[u8] {
        &self.parts.values
    }

    /// Scales, groups × N, all groups of the first rows first.
    pub fn scales(&self) -> &[bf16] {
        &self.parts.scales
    }

    /// Zero points, groups × N; `None` where all are [`Bits::middle`].
    pub fn zero_points(&self) -> Option<&[u8]> {
        (self.parts.format.zero_points == ZeroPoints::Each).then_some(&self.parts.zero_points)
    }

    /// The zero point of a group of a column; `None` if there is no such group.
    pub fn zero_point(&self, group: usize, column: usize) -> Option<u8> {
        let (groups, n) = (self.groups(), self.parts.n);
        (group < groups && column < n).then(|| match self.zero_points() {
            Some(zero_points) => zero_points[group * n + column],
            None => self.parts.format.bits.middle(),
        })
    }

    /// The real weight `(k, j)`; `None` outside the matrix.
    pub fn weight(&self, k: usize, j: usize) -> Option<f32> {
        if k >= self.parts.k {
            return None;
        }
        let group = k / self.parts.format.group_size.elements();
        let zero_point = self.zero_point(group, j)?;
        let scale = self.parts.scales[group * self.parts.n + j].to_f32();
        Some(scale * f32::from(self.parts.values[k * self.parts.n + j] as i8 - zero_point as i8))
    }

    /// Writes all real weights.
    ///
    /// # Errors
    /// [`Error::Mismatch`] unless `dst` is K × N.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatMut, MatRef};
    /// use gemmill::quant::{Bits, GroupSize, GroupwiseFormat, GroupwiseWeights, ZeroPoints};
    /// let format = GroupwiseFormat { bits: Bits::Two, group_size: GroupSize::G32, zero_points: ZeroPoints::Middle };
    /// let w = [-1.0f32, 0.4, 0.5, 0.0];
    /// let weights = GroupwiseWeights::round_to_nearest(MatRef::row_major(&w, 4, 1)?, format)?;
    /// let mut back = [0f32; 4];
    /// weights.dequantize(&mut MatMut::row_major(&mut back, 4, 1)?)?;
    /// assert_eq!(back, [-1.0, 0.5, 0.5, 0.0]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn dequantize(&self, dst: &mut MatMut<'_, f32>) -> Result<()> {
        expect("rows of the destination", self.parts.k, dst.rows())?;
        expect("columns of the destination", self.parts.n, dst.cols())?;
        in_default_float_mode(|| {
            self.for_each_row(|k, row| {
                dst.row_mut(k).copy_from_slice(row);
                Ok(())
            })
        })
    }

    /// How far these weights lie from `weights`.
    ///
    /// # Errors
    /// [`Error::Mismatch`] unless `weights` is K × N.
    pub fn error(&self, weights: MatRef<'_, f32>) -> Result<GroupwiseError> {
        expect("rows of the weights", self.parts.k, weights.rows())?;
        expect("columns of the weights", self.parts.n, weights.cols())?;
        in_default_float_mode(|| {
            let (mut max, mut sum) = (0f64, 0f64);
            self.for_each_row(|k, row| {
                for (j, &w) in row.iter().enumerate() {
                    let difference = (f64::from(weights.at(k, j)) - f64::from(w)).abs();
                    max = if difference > max || difference.is_nan() { difference } else { max };
                    sum += difference * difference;
                }
                Ok(())
            })?;
            Ok(GroupwiseError { max, mean_squared: sum / self.parts.values.len().max(1) as f64 })
        })
    }

    /// Calls `f` with the index and the real weights of every row that has any.
    fn for_each_row(&self, mut f: impl FnMut(usize, &[f32]) -> Result<()>) -> Result<()> {
        let n = self.parts.n;
        // Rows of a matrix that has none may be longer than memory.
        if self.parts.values.is_empty() {
            return Ok(());
        }
        const WHAT: &str = "a row of weights";
        let middle = filled(WHAT, n, self.parts.format.bits.middle())?;
        let mut scales = filled(WHAT, n, 0f32)?;
        let mut row = filled(WHAT, n, 0f32)?;
        for (k, values) in self.parts.values.chunks_exact(n).enumerate() {
            let group = k / self.parts.format.group_size.elements();
            if k % self.parts.format.group_size.elements() == 0 {
                crate::convert::bf16_to_f32(&self.parts.scales[group * n..][..n], &mut scales)?;
            }
            let zero_points = self.zero_points().map_or(&middle[..], |all| &all[group * n..][..n]);
            vectorize(|| {
                for (((w, &q), &scale), &zero_point) in row.iter_mut().zip(values).zip(&scales).zip(zero_points) {
                    *w = scale * (i32::from(q) - i32::from(zero_point)) as f32;
                }
            });
            f(k, &row)?;
        }
        Ok(())
    }
}

/// The contract of groupwise weights.
fn check(parts: &GroupwiseParts) -> Result<()> {
    let GroupwiseParts { k, n, format, .. } = *parts;
    let overflow = Error::Overflow { what: "K times N of groupwise weights" };
    let len = k.checked_mul(n).ok_or(overflow.clone())?;
    let groups = format.groups(k).checked_mul(n).ok_or(overflow)?;
    expect("stored weights", len, parts.values.len())?;
    expect("scales", groups, parts.scales.len())?;
    let zero_points = if format.zero_points == ZeroPoints::Each { groups } else { 0 };
    expect("zero points", zero_points, parts.zero_points.len())?;
    let highest = format.bits.highest();
    at_most("stored weight", highest, &parts.values)?;
    at_most("zero point", highest, &parts.zero_points)?;
    for (i, scale) in parts.scales.iter().enumerate() {
        let zero_point = parts.zero_points.get(i).copied().unwrap_or(format.bits.middle());
        let (scale, reach) = (scale.to_f32(), zero_point.max(highest - zero_point));
        // Not so for NaN either.
        let usable = scale > 0.0 && (scale * f32::from(reach)).is_finite();
        if !usable {
            let expected = "a number above 0 with which all weights are finite";
            return Err(Error::BadNumber { what: "scale of a group", expected, given: scale });
        }
    }
    Ok(())
}

fn at_most(what: &'static str, highest: u8, values: &[u8]) -> Result<()> {
    let largest = vectorize(|| values.iter().fold(0, |a, &b| if a > b { a } else { b }));
    if largest > highest {
        return Err(Error::OutOfRange { what, low: 0, high: highest.into(), given: largest.into() });
    }
    Ok(())
}
