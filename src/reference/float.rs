//! The normative semantics of floating-point products: short, obvious loops. Every kernel on every tier gives these
//! bits, except that which NaN an operation gives is not specified.

use gemmill_codegen::HardwareDot;
use half::bf16;

use crate::error::{Result, expect};
use crate::function::Function;
use crate::views::{Float, MatMut, MatRef};

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
    each_element((a, b), c, stages, |i, j, mut x| {
        for k in 0..a.cols() {
            x = a.at(i, k).to_f32().mul_add(b.at(k, j).to_f32(), x);
        }
        x
    })
}

/// The same with [hardware dot products](HardwareDot): A is rounded to bf16, and sums are the instruction's.
///
/// ```text
/// x = beta == 0 ? 0 : beta * C[i][j]
/// for each group of k:  x = dot.add(x, A[i][group], B[group][j])          ascending; the last group is filled up with
/// zeros x = x + bias[j];  x = x + residual[i][j]                                as far as given
/// C[i][j] = round(f(x))
/// ```
///
/// # Errors
/// [`Error::Mismatch`](crate::Error::Mismatch) if shapes don't fit.
///
/// # Examples
/// ```
/// use gemmill::half::bf16;
/// use gemmill::{HardwareDot, MatMut, MatRef, float_reference::{Stages, hardware_dot}};
/// let (a, b) = ([1.0f32, 2.0], [3.0, 4.0].map(bf16::from_f32));
/// let mut c = [0f32];
/// let (a, b, stages) = (MatRef::row_major(&a, 1, 2)?, MatRef::row_major(&b, 2, 1)?, Stages::default());
/// hardware_dot(HardwareDot::Avx512Bf16, a, b, &mut MatMut::row_major(&mut c, 1, 1)?, &stages)?;
/// assert_eq!(c, [11.0]);
/// # Ok::<(), gemmill::Error>(())
/// ```
pub fn hardware_dot<A: Float, C: Float>(
    dot: HardwareDot,
    a: MatRef<'_, A>,
    b: MatRef<'_, bf16>,
    c: &mut MatMut<'_, C>,
    stages: &Stages<'_, C>,
) -> Result<()> {
    each_element((a, b), c, stages, |i, j, mut x| {
        for first in (0..a.cols()).step_by(dot.group()) {
            let group = first..a.cols().min(first + dot.group());
            let of_a: Vec<bf16> = group.clone().map(|k| bf16::from_f32(a.at(i, k).to_f32())).collect();
            let of_b: Vec<bf16> = group.map(|k| b.at(k, j)).collect();
            x = dot.add(x, &of_a, &of_b);
        }
        x
    })
}

/// What surrounds the products: `add` adds those of an element to what it begins with.
fn each_element<A: Float, B: Float, C: Float>(
    (a, b): (MatRef<'_, A>, MatRef<'_, B>),
    c: &mut MatMut<'_, C>,
    stages: &Stages<'_, C>,
    add: impl Fn(usize, usize, f32) -> f32,
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
    for i in 0..a.rows() {
        for j in 0..b.cols() {
            let at = &mut c.row_mut(i)[j];
            let mut x = add(i, j, if stages.beta == 0.0 { 0.0 } else { stages.beta * at.to_f32() });
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
