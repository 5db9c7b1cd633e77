//! The normative semantics of floating-point products: short, obvious loops. Every kernel on every tier gives these bits,
//! except that which NaN an operation gives is not specified.

use super::element::Float;
use super::functions::Function;
use crate::error::{Result, expect};
use crate::matrix::{MatMut, MatRef};

/// What follows the sums.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stages<'a, C> {
    /// The factor of C; with 0, C is not read.
    pub beta: f32,
    /// One for each column, or none.
    pub bias: Option<&'a [f32]>,
    /// An element for each of C's, or none.
    pub residual: Option<MatRef<'a, C>>,
    /// What is stored of `x` is `f(x)`, rounded to the type of C.
    pub function: Function,
}

/// `C = round(f(Σ_k A[i][k] B[k][j] + beta C + bias[j] + residual[i][j]))`, in f32:
///
/// ```text
/// x = beta == 0 ? 0 : beta * C[i][j]
/// for k in 0..K:  x = fma(A[i][k], B[k][j], x)          ascending, one chain
/// x = x + bias[j];  x = x + residual[i][j]              as far as given
/// C[i][j] = round(f(x))
/// ```
///
/// # Errors
/// [`Error::Mismatch`](crate::Error::Mismatch) if shapes don't fit.
///
/// # Examples
/// ```
/// use gemmill::{MatMut, MatRef, float_reference::{Stages, gemm}};
/// let (a, b) = ([1.0f32, 2.0], [3.0f32, 4.0]);
/// let mut c = [100.0f32];
/// let stages = Stages { beta: 0.5, ..Stages::default() };
/// gemm(MatRef::row_major(&a, 1, 2)?, MatRef::row_major(&b, 2, 1)?, &mut MatMut::row_major(&mut c, 1, 1)?, &stages)?;
/// assert_eq!(c, [61.0]);
/// # Ok::<(), gemmill::Error>(())
/// ```
pub fn gemm<A: Float, B: Float, C: Float>(
    a: MatRef<'_, A>,
    b: MatRef<'_, B>,
    c: &mut MatMut<'_, C>,
    stages: &Stages<'_, C>,
) -> Result<()> {
    expect("rows of B against columns of A", a.cols(), b.rows())?;
    expect("rows of C against rows of A", a.rows(), c.rows())?;
    expect("columns of C against columns of B", b.cols(), c.cols())?;
    if let Some(bias) = stages.bias {
        expect("bias", b.cols(), bias.len())?;
    }
    if let Some(residual) = stages.residual {
        expect("rows of the residual", a.rows(), residual.rows())?;
        expect("columns of the residual", b.cols(), residual.cols())?;
    }
    let stride = c.row_stride();
    for i in 0..a.rows() {
        for j in 0..b.cols() {
            let at = &mut c.data_mut()[i * stride + j];
            let mut x = if stages.beta == 0.0 { 0.0 } else { stages.beta * at.to_f32() };
            for k in 0..a.cols() {
                x = a.at(i, k).to_f32().mul_add(b.at(k, j).to_f32(), x);
            }
            if let Some(bias) = stages.bias {
                x += bias[j];
            }
            if let Some(residual) = stages.residual {
                x += residual.at(i, j).to_f32();
            }
            *at = C::from_f32(stages.function.apply(x));
        }
    }
    Ok(())
}
