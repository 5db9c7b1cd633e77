//! Products with weights of 4 or 2 bits, [`GroupwiseWeights`]: short loops whose order fixes the bits.
//!
//! `w[k][j]` is the real weight [`GroupwiseWeights::weight`], exact in f32; `g` counts groups of rows of the weights.

use crate::error::Result;
use crate::quant::{GroupwiseWeights, reference, symmetric_row_params};
use crate::views::{Element, MatRef};

/// What a product is added to.
#[derive(Debug, Clone, Copy)]
pub struct Accumulate<'a> {
    /// Times this. 0 stands for no addition: `c` is not read then.
    pub beta: f32,
    /// M × N.
    pub c: MatRef<'a, f32>,
}

/// Real activations times groupwise weights, row after row:
///
/// ```text
/// c = beta == 0 ? 0 : beta * C[i][j]
/// for k in 0..K:  c = fma(f32(A[i][k]), w[k][j], c)         ascending k, one chain
/// ```
///
/// Activations are f32, or a type that becomes f32 exactly. Elements outside the operands count as zero.
///
/// # Panics
/// If `M * N` numbers don't fit memory.
///
/// # Examples
/// ```
/// use gemmill::MatRef;
/// use gemmill::quant::{Bits, GroupSize, GroupwiseFormat, GroupwiseWeights, ZeroPoints};
/// use gemmill::reference::groupwise::weight_only;
/// let format = GroupwiseFormat { bits: Bits::Four, group_size: GroupSize::G32, zero_points: ZeroPoints::Middle };
/// let b = GroupwiseWeights::round_to_nearest(MatRef::row_major(&[0.5f32, -1.0, 3.5, 2.0], 2, 2)?, format)?;
/// let a = [1.0f32, 2.0];
/// assert_eq!(weight_only(MatRef::row_major(&a, 1, 2)?, &b, None), [7.5, 2.8515625]);
/// # Ok::<(), gemmill::Error>(())
/// ```
pub fn weight_only<A: Element + Into<f32>>(
    a: MatRef<'_, A>,
    b: &GroupwiseWeights,
    start: Option<Accumulate<'_>>,
) -> Vec<f32> {
    let (m, n) = (a.rows(), b.n());
    let mut product = vec![0f32; m * n];
    for i in 0..m {
        for j in 0..n {
            let mut c = match start {
                Some(Accumulate { beta, c }) if beta != 0.0 => beta * c.get(i, j).unwrap_or(0.0),
                _ => 0.0,
            };
            for k in 0..b.k() {
                let x: f32 = a.get(i, k).map_or(0.0, A::into);
                c = x.mul_add(b.weight(k, j).unwrap_or(0.0), c);
            }
            product[i * n + j] = c;
        }
    }
    product
}

/// Activations as i8 with a scale for each row, from that row's largest magnitude:
///
/// ```text
/// scale[i] = max_k |A[i][k]| / 127        at least 2^-126; 0.1 for a row of zeros; NaN is left out
/// qa[i][k] = rne(A[i][k] * (1 / scale[i]))        at most 127 in magnitude; NaN gives 0
/// ```
///
/// # Errors
/// [`Error::BadNumber`](crate::Error::BadNumber) if an activation is infinite.
///
/// # Panics
/// If `M * K` bytes don't fit memory.
pub fn quantize_rows(a: MatRef<'_, f32>) -> Result<(Vec<i8>, Vec<f32>)> {
    let (mut quantized, mut scales) = (Vec::new(), Vec::new());
    for i in 0..a.rows() {
        let row: Vec<f32> = (0..a.cols()).filter_map(|k| a.get(i, k)).collect();
        let (min, max) = reference::min_max(&row).unwrap_or_default();
        let of_row = symmetric_row_params(min, max)?;
        quantized.extend(row.iter().map(|&x| reference::quantize(of_row, x)));
        scales.push(of_row.scale());
    }
    Ok((quantized, scales))
}

/// Quantized activations times groupwise weights, with an f32 bias for each column or none, row after row:
///
/// ```text
/// s[g] = Σ_{k in g} qa[i][k] * (q[k][j] - zp[g][j])           exact: below 2^18
/// acc = 0;  for g ascending:  acc = fma(f32(s[g]), f32(scale[g][j]), acc)
/// C = fma(acc, a_scale[i], bias[j])           without a bias:  acc * a_scale[i]
/// ```
///
/// Elements outside the operands count as zero.
///
/// # Panics
/// If `M * N` numbers don't fit memory.
///
/// # Examples
/// ```
/// use gemmill::MatRef;
/// use gemmill::quant::{Bits, GroupSize, GroupwiseFormat, GroupwiseWeights, ZeroPoints};
/// use gemmill::reference::groupwise::{quantize_rows, quantized};
/// let format = GroupwiseFormat { bits: Bits::Four, group_size: GroupSize::G32, zero_points: ZeroPoints::Middle };
/// let b = GroupwiseWeights::round_to_nearest(MatRef::row_major(&[0.5f32, 3.5], 2, 1)?, format)?;
/// let (a, scales) = quantize_rows(MatRef::row_major(&[127.0f32, 0.0], 1, 2)?)?;
/// assert_eq!((a[0], scales[0]), (127, 1.0));
/// assert_eq!(quantized(MatRef::row_major(&a, 1, 2)?, &scales, &b, Some(&[1.0])), [64.5]);
/// # Ok::<(), gemmill::Error>(())
/// ```
pub fn quantized(a: MatRef<'_, i8>, scales: &[f32], b: &GroupwiseWeights, bias: Option<&[f32]>) -> Vec<f32> {
    let (m, n, size) = (a.rows(), b.n(), b.format().group_size.elements());
    let mut product = vec![0f32; m * n];
    for (i, &scale) in scales.iter().enumerate().take(m) {
        for j in 0..n {
            let mut acc = 0f32;
            for g in 0..b.groups() {
                let zero_point = i32::from(b.zero_point(g, j).unwrap_or(0));
                let mut sum = 0i32;
                for k in g * size..((g + 1) * size).min(b.k()) {
                    let x = a.get(i, k).map_or(0, i32::from);
                    sum += x * (i32::from(b.values()[k * n + j]) - zero_point);
                }
                acc = (sum as f32).mul_add(b.scales()[g * n + j].to_f32(), acc);
            }
            product[i * n + j] = match bias.and_then(|bias| bias.get(j)) {
                Some(&bias) => acc.mul_add(scale, bias),
                None => acc * scale,
            };
        }
    }
    product
}
