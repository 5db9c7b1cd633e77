//! The table of weights of 4 and 2 bits: every format, by both kinds of activations.

use std::fmt::Write;

use gemmill::quant::{Bits, GroupSize, GroupwiseFormat, GroupwiseWeights, ZeroPoints};
use gemmill::reference::groupwise::quantize_rows;
use gemmill::{FloatGemm, GroupwiseGemm, MatMut, MatRef, PackedGroupwise, Tier};

use super::operands::{Errors, Numbers, Operands, on_every_tier};

/// What groups share, the number of bits aside.
#[derive(Clone, Copy)]
pub struct Grouping {
    size: GroupSize,
    zero_points: ZeroPoints,
}

/// The grouping that the command line takes unless told otherwise.
pub const DEFAULT: Grouping = Grouping { size: GroupSize::G128, zero_points: ZeroPoints::Middle };

impl Grouping {
    pub fn with(self, bits: Bits) -> GroupwiseFormat {
        GroupwiseFormat { bits, group_size: self.size, zero_points: self.zero_points }
    }
}

/// Real weights by columns.
pub fn by_columns(weights: &GroupwiseWeights) -> Vec<f64> {
    let weight = |k, j| f64::from(weights.weight(k, j).expect("an element of the weights"));
    (0..weights.n()).flat_map(|j| (0..weights.k()).map(move |k| weight(k, j))).collect()
}

/// What activations stand for once they are i8.
pub fn quantized_rows(a: MatRef<'_, f32>) -> gemmill::Result<Vec<f64>> {
    let (quantized, scales) = quantize_rows(a)?;
    let rows = quantized.chunks_exact(a.cols()).zip(scales);
    Ok(rows.flat_map(|(row, scale)| row.iter().map(move |q| f64::from(scale) * f64::from(*q))).collect())
}

/// The errors of one kind of activations: of the arithmetic, and in all by both quantizers.
#[derive(Default)]
struct Findings {
    arithmetic: Errors,
    nearest: Errors,
    searched: Errors,
}

/// The shapes that the table is about: of those with the same kind of groups one.
const OF_SHAPES: [usize; 4] = [0, 1, 2, 5];

pub fn table(tiers: &[Tier]) -> gemmill::Result<String> {
    let mut text = "| weights | groups | zero points | activations | arithmetic, max | mean | in all, max | mean | \
                    searched, max | mean |\n|---|---|---|---|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    let operands = OF_SHAPES.map(Operands::new);
    for bits in [Bits::Four, Bits::Two] {
        for size in [GroupSize::G32, GroupSize::G64, GroupSize::G128] {
            for zero_points in [ZeroPoints::Middle, ZeroPoints::Each] {
                let format = Grouping { size, zero_points }.with(bits);
                let mut found: [Findings; 2] = Default::default();
                for operands in &operands {
                    compare(tiers, operands, format, &mut found)?;
                }
                let (bits, size) = (bits.count(), size.elements());
                let each = if zero_points == ZeroPoints::Each { "each" } else { "middle" };
                for (activations, found) in ["f32", "i8"].iter().zip(found) {
                    let [arithmetic, nearest, searched] =
                        [found.arithmetic, found.nearest, found.searched].map(Errors::cells);
                    writeln!(
                        text,
                        "| {bits} bits | {size} | {each} | {activations} | {arithmetic} | {nearest} | {searched} |"
                    )
                    .unwrap();
                }
            }
        }
    }
    Ok(text)
}

/// Adds what products of a shape give: of f32 activations, and of those that become i8.
fn compare(
    tiers: &[Tier],
    operands: &Operands,
    format: GroupwiseFormat,
    found: &mut [Findings; 2],
) -> gemmill::Result<()> {
    let Operands { m, n, k, .. } = *operands;
    let (a, b) = (MatRef::row_major(&operands.a, m, k)?, MatRef::row_major(&operands.b, k, n)?);
    let real: Vec<f64> = operands.a.iter().map(|x| f64::from(*x)).collect();
    let activations = [real, quantized_rows(a)?];
    let nearest = GroupwiseWeights::round_to_nearest(b, format)?;
    let searched = GroupwiseWeights::search(b, format, None)?;
    for (weights, is_searched) in [(nearest, false), (searched, true)] {
        let (packed, by_columns) = (PackedGroupwise::new(&weights)?, by_columns(&weights));
        let floats = on_every_tier(tiers, "weights of few bits by floats", |tier| {
            let mut c = vec![0f32; m * n];
            let gemm = FloatGemm::groupwise(&packed).tier(tier).build()?;
            gemm.run(a, &mut MatMut::row_major(&mut c, m, n)?)?;
            Ok(c)
        })?;
        let integers = on_every_tier(tiers, "weights of few bits by integers", |tier| {
            let mut c = vec![0f32; m * n];
            let gemm = GroupwiseGemm::builder(&packed).tier(tier).build()?;
            gemm.run(a, &mut MatMut::row_major(&mut c, m, n)?)?;
            Ok(c)
        })?;
        for ((found, a), c) in found.iter_mut().zip(&activations).zip([floats, integers]) {
            let stored = Numbers { a, b: &by_columns }.sums(k);
            found.arithmetic = found.arithmetic.and(Errors::of(&c, &stored));
            let in_all = if is_searched { &mut found.searched } else { &mut found.nearest };
            *in_all = in_all.and(Errors::of(&c, &operands.exact));
        }
    }
    Ok(())
}
