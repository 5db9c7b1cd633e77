//! Products with floating-point outputs whose sums may leave i32.
//!
//! ```text
//! K:     rows 0..r      | rows r..2r     | ...            weights cut so that the sums of each part fit an i32
//! part:  i32 product    | i32 product    | ...            zero points included
//! sum:   i64            = part + part + ...               exact
//! C:     fma(f32(sum), s, bias) and so on                 f32(sum) rounded once, as of sums that fit
//! ```

use std::mem::MaybeUninit;
use std::ops::Range;

use gemmill_codegen::{Byte, Output};
use half::{bf16, f16};

use super::activation::ActivationKind;
use super::builder::{GemmBuilder, Untyped};
use super::family::{Int8Family, Prepared};
use super::output::IntOutput;
use crate::convert;
use crate::error::{Error, Result};
use crate::machine::memory::filled;
use crate::machine::threads::Threads;
use crate::operands::{Operand, Quantization};
use crate::ops::RunOptions;
use crate::ops::operation::{Operation, Product};
use crate::reference;
use crate::views::{AnyMut, AnyRef, Element, ElementType, Float, MatMut, MatRef};
use crate::weights::PackedB;

/// Bytes of sums and of quantized activations that a block of rows may take, if it has more than one row.
const BLOCK_BYTES: usize = 4 << 20;

/// Products of parts of K, and what it takes to add them up.
#[derive(Debug)]
pub(super) struct LongSums {
    parts: Vec<Part>,
    /// Columns of C in each part.
    cols: usize,
}

/// A part of K of one group.
#[derive(Debug)]
struct Part {
    /// Columns of A.
    depth: Range<usize>,
    /// The first column of C.
    first: usize,
    operation: Operation<Int8Family>,
}

impl LongSums {
    /// Parts of a product with these activations.
    pub(super) fn new(packed: &PackedB, activations: Activations, threads: Threads) -> Result<LongSums> {
        let (k, cols) = (packed.k(), packed.n() / packed.groups().max(1));
        let parts = packed.cut_to_fit(threads)?.into_iter().map(|cut| {
            let builder = GemmBuilder::<Untyped, _>::new(&cut.packed, activations.element, IntOutput::Store);
            let operation = builder.a_zero_point(activations.zero_point).threads(threads).build_operation()?;
            let start = cut.group * k;
            Ok(Part { depth: start + cut.rows.start..start + cut.rows.end, first: cut.group * cols, operation })
        });
        Ok(LongSums { parts: parts.collect::<Result<_>>()?, cols })
    }

    /// How many parts K is cut into.
    pub(super) fn count(&self, groups: usize) -> usize {
        self.parts.len() / groups.max(1)
    }

    /// The product of the first part, which is carried out as the others are.
    pub(super) fn first(&self) -> Option<&Operation<Int8Family>> {
        self.parts.first().map(|part| &part.operation)
    }

    /// Carries out a product of this family.
    pub(super) fn multiply(&self, family: &Int8Family, product: Product<'_, Prepared>) -> Result<()> {
        let Product { a, mut c, rows: parameters, options, .. } = product;
        let (rows, n) = (c.rows(), c.cols());
        let (element, quantization) = (a.element(), family.quantization(parameters));
        let quantizes = element.float().is_some();
        let depth = if quantizes { a.cols() } else { 0 };
        let row_bytes = n.saturating_mul(size_of::<i64>() + size_of::<i32>()).saturating_add(depth);
        let block = (BLOCK_BYTES / row_bytes.max(1)).clamp(1, rows);
        let mut sums = filled("sums", block * n, 0i64)?;
        let mut of_part = filled("sums of a part", block * self.cols, 0i32)?;
        let mut bytes = filled("quantized rows of A", block * depth, 0u8)?;
        let mut line = Line { values: filled("a row of C", n, 0f32)?, residual: filled("a row of C", n, 0f32)? };
        for first in (0..rows).step_by(block) {
            let len = block.min(rows - first);
            let a = match quantizes {
                true => {
                    let (bytes, operand) = (&mut bytes[..len * depth], Operand::new(a, quantization));
                    gemmill_codegen::vectorize(|| operand.integers(first, Byte::U8, bytes, depth));
                    MatRef::row_major(bytes, len, depth)?.into()
                }
                false => a.block(first..first + len, 0..a.cols())?,
            };
            let zero_points = match quantization {
                Quantization::PerRow(rows) => Some(&rows.zero_points[..]),
                _ => options.row_zero_points,
            };
            let mut run = RunOptions { parallel_for: options.parallel_for, ..RunOptions::default() };
            run.row_zero_points = zero_points.map(|z| &z[first..first + len]);
            let sums = &mut sums[..len * n];
            sums.fill(0);
            for part in &self.parts {
                let of_part = &mut of_part[..len * self.cols];
                let c = MatMut::row_major(of_part, len, self.cols)?;
                part.operation.run(a.block(0..len, part.depth.clone())?, c.into(), &run)?;
                for (sums, of_part) in sums.chunks_exact_mut(n).zip(of_part.chunks_exact(self.cols)) {
                    let sums = &mut sums[part.first..][..self.cols];
                    sums.iter_mut().zip(of_part).for_each(|(sum, &x)| *sum += i64::from(x));
                }
            }
            for (i, sums) in (first..).zip(sums.chunks_exact(n)) {
                let row_scale = match quantization {
                    Quantization::PerRow(rows) => Some(rows.scales[i]),
                    _ => options.row_scales.map(|scales| scales[i]),
                };
                family.dequantize_row(i, sums, row_scale, options.residual, &mut line)?;
                write_row(&mut c, i, &line.values);
            }
        }
        Ok(())
    }
}

/// What parts multiply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Activations {
    pub(super) element: ElementType,
    pub(super) zero_point: i32,
}

impl Activations {
    /// Activations of a family, after they were quantized.
    pub(super) fn of(family: &Int8Family) -> Activations {
        let element = if family.kind == ActivationKind::Float { ElementType::U8 } else { family.a };
        let zero_point = match family.quantization {
            Some(super::ActivationQuantization::Static(params)) => params.zero_point(),
            _ => family.a_zero_point,
        };
        Activations { element, zero_point }
    }
}

/// A row of C.
#[derive(Debug)]
struct Line {
    values: Vec<f32>,
    residual: Vec<f32>,
}

impl Int8Family {
    /// Row `i` of C in f32.
    fn dequantize_row(
        &self,
        i: usize,
        sums: &[i64],
        row_scale: Option<f32>,
        residual: Option<AnyRef<'_>>,
        line: &mut Line,
    ) -> Result<()> {
        let Output::Dequantize(stages) = self.bound.epilogue.output else {
            return Err(Error::Unsupported { what: "sums in parts are for floating-point outputs" });
        };
        if let Some(residual) = residual {
            convert::read_row(&residual, i, 0, &mut line.residual);
        }
        let (bound, limits) = (&self.bound, &self.bound.limits);
        for panel in self.packed.view().panels() {
            for j in 0..panel.cols {
                let (column, padded) = (panel.column + j, panel.padded_column + j);
                let (a_scale, b_scale) = match row_scale {
                    Some(a_scale) => (a_scale, bound.b_scale[padded]),
                    None => (1.0, bound.scale[padded]),
                };
                let stages = reference::Dequantize {
                    a_scale,
                    b_scale,
                    bias: stages.bias.then(|| bound.bias[padded]),
                    residual: residual.map(|_| line.residual[column]),
                    clamp: stages.clamp.then_some((limits.low, limits.high)),
                };
                line.values[column] = reference::dequantize(sums[column], stages);
            }
        }
        Ok(())
    }
}

/// Writes row `i` of C, which holds floats.
fn write_row(c: &mut AnyMut<'_>, i: usize, values: &[f32]) {
    fn write<T: Float>(row: &mut [MaybeUninit<T>], values: &[f32]) {
        row.iter_mut().zip(values).for_each(|(out, &x)| {
            out.write(T::from_f32(x));
        });
    }
    match c.element() {
        ElementType::F16 => write::<f16>(row(c, i), values),
        ElementType::Bf16 => write::<bf16>(row(c, i), values),
        _ => write::<f32>(row(c, i), values),
    }
}

/// Row `i` of a matrix of this type.
fn row<'c, T: Element>(c: &'c mut AnyMut<'_>, i: usize) -> &'c mut [MaybeUninit<T>] {
    let element = c.element();
    c.row_mut::<T>(i).unwrap_or_else(|| panic!("expected a matrix of {}, given {element}", T::TYPE))
}
