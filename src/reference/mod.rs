//! The normative semantics: short, obvious loops. Every kernel on every tier gives these bits.
//!
//! Quantization has its own, in [`quant::reference`](crate::quant::reference).

pub mod float;
pub mod groupwise;

use crate::quant::QuantElement;
use crate::quant::per_column::PerColumn;
use crate::views::{Element, MatRef};

/// Zero points of a product's operands.
///
/// # Examples
/// ```
/// use gemmill::reference::ZeroPoints;
/// let none = ZeroPoints::default();
/// assert_eq!(none.a(3), 0);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ZeroPoints<'a> {
    /// One for all rows of A, or one for each.
    pub a: Rows<'a, i32>,
    /// Of B.
    pub b: PerColumn<'a, i32>,
}

/// A parameter of the rows of A.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rows<'a, T> {
    /// The same for all rows.
    All(T),
    /// One for each row.
    Each(&'a [T]),
}

impl<T: Copy> Rows<'_, T> {
    /// The parameter of row `i`; `None` if there is no such row.
    pub fn get(&self, i: usize) -> Option<T> {
        match *self {
            Rows::All(x) => Some(x),
            Rows::Each(x) => x.get(i).copied(),
        }
    }
}

impl Default for ZeroPoints<'_> {
    fn default() -> Self {
        ZeroPoints { a: Rows::All(0), b: PerColumn::Tensor(0) }
    }
}

impl ZeroPoints<'_> {
    /// Of row `i` of A; 0 where none was given.
    pub fn a(&self, i: usize) -> i32 {
        self.a.get(i).unwrap_or(0)
    }

    /// Of column `j` of B, whose groups have `group_cols` columns; 0 where none was given.
    pub fn b(&self, j: usize, group_cols: usize) -> i32 {
        match self.b {
            PerColumn::Tensor(z) => z,
            PerColumn::Group(z) => z.get(j / group_cols.max(1)).copied().unwrap_or(0),
            PerColumn::Column(z) => z.get(j).copied().unwrap_or(0),
        }
    }
}

/// `raw[i][j] = Σ_k A[i][k]*B[k][j] - A_zp[i]*col_sum[j] - B_zp[j]*row_sum[i] + K*A_zp[i]*B_zp[j]`, modulo 2^32, row
/// after row. With `groups`, columns of group `g` meet columns `g*K..(g+1)*K` of A.
///
/// Elements outside the operands count as zero.
///
/// # Panics
/// If `M * N` sums don't fit memory.
///
/// # Examples
/// ```
/// use gemmill::{MatRef, reference::{ZeroPoints, raw}};
/// let (a, b) = ([255u8, 255], [127i8, 127]);
/// let c = raw(MatRef::row_major(&a, 1, 2)?, MatRef::row_major(&b, 2, 1)?, 1, ZeroPoints::default());
/// assert_eq!(c, [64770]);
/// # Ok::<(), gemmill::Error>(())
/// ```
pub fn raw<A: QuantElement, B: QuantElement>(
    a: MatRef<'_, A>,
    b: MatRef<'_, B>,
    groups: usize,
    zero_points: ZeroPoints<'_>,
) -> Vec<i32> {
    let (m, k, n) = (a.rows(), b.rows(), b.cols());
    let group_cols = (n / groups.max(1)).max(1);
    let mut raw = vec![0i32; m * n];
    for i in 0..m {
        for j in 0..n {
            let (az, bz) = (zero_points.a(i), zero_points.b(j, group_cols));
            let first = j / group_cols * k;
            let (mut acc, mut row_sum, mut col_sum) = (0i32, 0i32, 0i32);
            for k in 0..k {
                let x = a.get(i, first + k).map_or(0, A::to_i32);
                let y = b.get(k, j).map_or(0, B::to_i32);
                acc = acc.wrapping_add(x * y);
                row_sum = row_sum.wrapping_add(x);
                col_sum = col_sum.wrapping_add(y);
            }
            raw[i * n + j] = acc
                .wrapping_sub(az.wrapping_mul(col_sum))
                .wrapping_sub(bz.wrapping_mul(row_sum))
                .wrapping_add((k as i32).wrapping_mul(az).wrapping_mul(bz));
        }
    }
    raw
}

/// `sum[i][j] = Σ_k (A[i][k] - A_zp[i]) * (B[k][j] - B_zp[j])`, exact: what floating-point outputs are made of. It is
/// [`raw`] where that did not wrap.
///
/// Elements outside the operands count as their zero points.
///
/// # Panics
/// If `M * N` sums don't fit memory.
///
/// # Examples
/// ```
/// use gemmill::{MatRef, reference::{ZeroPoints, raw, sums}};
/// let a = MatRef::with_strides(&[255u8], 1, 70_000, 0, 0)?;
/// let b = MatRef::with_strides(&[127i8], 70_000, 1, 0, 1)?;
/// assert_eq!(sums(a, b, 1, ZeroPoints::default()), [2_266_950_000]);
/// assert_eq!(raw(a, b, 1, ZeroPoints::default()), [2_266_950_000u32 as i32]);
/// # Ok::<(), gemmill::Error>(())
/// ```
pub fn sums<A: QuantElement, B: QuantElement>(
    a: MatRef<'_, A>,
    b: MatRef<'_, B>,
    groups: usize,
    zero_points: ZeroPoints<'_>,
) -> Vec<i64> {
    let (m, k, n) = (a.rows(), b.rows(), b.cols());
    let group_cols = (n / groups.max(1)).max(1);
    let mut sums = vec![0i64; m * n];
    for i in 0..m {
        for j in 0..n {
            let (az, bz) = (zero_points.a(i), zero_points.b(j, group_cols));
            let first = j / group_cols * k;
            for k in 0..k {
                let x = a.get(i, first + k).map_or(az, A::to_i32);
                let y = b.get(k, j).map_or(bz, B::to_i32);
                sums[i * n + j] += i64::from(x - az) * i64::from(y - bz);
            }
        }
    }
    sums
}

/// The bias of a requantized element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bias {
    /// None.
    None,
    /// In units of the sums.
    Int(i32),
    /// In real units, with the scales that make one unit of the sums real.
    Float {
        /// The bias.
        bias: f32,
        /// Scale of A.
        a_scale: f32,
        /// Scale of the column of B.
        b_scale: f32,
    },
}

/// `C = zp + rne(clamp(x * multiplier, low - zp, high - zp))`, with `x = f32(raw + bias)` for an i32 bias (wrapping)
/// and `x = f32(raw) + bias / (a_scale * b_scale)` for an f32 one.
///
/// # Panics
/// In debug builds, if `zero_point` or the limits are not of the order of a byte: differences may overflow.
///
/// # Examples
/// ```
/// use gemmill::reference::{Bias, requantize};
/// assert_eq!(requantize::<u8>(5, Bias::None, 0.5, 10, (0, 255)), 12); // 2.5 goes to 2
/// assert_eq!(requantize::<u8>(i32::MAX, Bias::None, 2.0, 10, (0, 255)), 255);
/// ```
pub fn requantize<T: QuantElement>(
    raw: i32,
    bias: Bias,
    multiplier: f32,
    zero_point: i32,
    (low, high): (i32, i32),
) -> T {
    let x = match bias {
        Bias::None => raw as f32,
        Bias::Int(bias) => raw.wrapping_add(bias) as f32,
        Bias::Float { bias, a_scale, b_scale } => raw as f32 + bias / (a_scale * b_scale),
    };
    let y = x * multiplier;
    let (low, high) = ((low - zero_point) as f32, (high - zero_point) as f32);
    let clamped = if y < low {
        low
    } else if y > high {
        high
    } else {
        y
    };
    T::from_i32(zero_point + clamped.round_ties_even() as i32)
}

/// The stages of a dequantized element.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Dequantize {
    /// Scale of the row of A.
    pub a_scale: f32,
    /// Scale of the column of B.
    pub b_scale: f32,
    /// Bias of the column.
    pub bias: Option<f32>,
    /// What is added after the bias.
    pub residual: Option<f32>,
    /// Limits, ReLU among them.
    pub clamp: Option<(f32, f32)>,
}

/// `C = fma(f32(raw), a_scale * b_scale, bias)`, or `f32(raw) * (a_scale * b_scale)` without a bias; then the residual
/// is added, then the clamp taken. A NaN stays one.
///
/// A C of f16 or bf16 is this rounded once, to the nearest: [`Float::from_f32`](crate::Float::from_f32) of it.
///
/// # Examples
/// ```
/// use gemmill::{Float, half::bf16};
/// use gemmill::reference::{Dequantize, dequantize};
/// let stages = Dequantize { a_scale: 0.5, b_scale: 0.25, bias: Some(1.0), ..Default::default() };
/// assert_eq!(dequantize(8, stages), 2.0);
/// // C of bf16: 1.0 + 0.5^9 lies between two, and half-way goes to the even one.
/// let stages = Dequantize { a_scale: 1.0, b_scale: 0.5f32.powi(9), bias: Some(1.0), ..Default::default() };
/// assert_eq!(bf16::from_f32(dequantize(1, stages)).to_f32(), 1.0);
/// ```
pub fn dequantize(sum: impl Into<i64>, stages: Dequantize) -> f32 {
    let sum = sum.into();
    let scale = stages.a_scale * stages.b_scale;
    let mut c = match stages.bias {
        Some(bias) => (sum as f32).mul_add(scale, bias),
        None => sum as f32 * scale,
    };
    if let Some(residual) = stages.residual {
        c += residual;
    }
    if let Some((low, high)) = stages.clamp {
        c = if c < low { low } else { c };
        c = if c > high { high } else { c };
    }
    c
}

/// Rows of a matrix, gathered side by side.
///
/// # Examples
/// ```
/// use gemmill::{MatRef, reference::to_row_major};
/// let m = MatRef::col_major(&[1u8, 2, 3, 4], 2, 2)?;
/// assert_eq!(to_row_major(m), [1, 3, 2, 4]);
/// # Ok::<(), gemmill::Error>(())
/// ```
pub fn to_row_major<T: Element>(m: MatRef<'_, T>) -> Vec<T> {
    (0..m.rows()).flat_map(|i| (0..m.cols()).filter_map(move |j| m.get(i, j))).collect()
}
