//! The table of hardware dot products, beside the chain that is the default.

use std::fmt::Write;

use gemmill::half::bf16;
use gemmill::{FloatGemm, FloatType, HardwareDot, MatMut, MatRef, PackedFloat, Tier};

use super::operands::{Errors, Numbers, Operands, SHAPES, on_every_tier};

/// What the default chain is off by at most, as a share of the sum of magnitudes: K roundings.
fn bound_of_the_chain(k: usize) -> f64 {
    let roundings = k as f64 * f64::from(f32::EPSILON) / 2.0;
    roundings / (1.0 - roundings)
}

/// Both instructions on every tier that has them: on any CPU the portable one.
pub fn table(tiers: &[Tier]) -> gemmill::Result<String> {
    let mut text = "| model | m × n × k | sums | arithmetic, max | mean | of the bound | in all, max | mean |\n\
                    |---|---|---|--:|--:|--:|--:|--:|\n"
        .to_owned();
    for (index, shape) in SHAPES.iter().enumerate() {
        let operands = Operands::new(index);
        let Operands { m, n, k, .. } = operands;
        let (a, a64) = operands.stored_a::<bf16>();
        let stored = Numbers { a: &a64, b: &operands.stored_b::<bf16>() }.sums(k);
        let packed = PackedFloat::builder(MatRef::row_major(&operands.b, k, n)?).store(FloatType::Bf16).build()?;
        for dot in [None].into_iter().chain(HardwareDot::ALL.map(Some)) {
            let name = dot.map_or("the default", HardwareDot::name);
            let having: Vec<Tier> =
                tiers.iter().copied().filter(|&tier| dot.is_none_or(|dot| dot.require(tier).is_ok())).collect();
            let c = on_every_tier(&having, name, |tier| {
                let gemm = FloatGemm::builder(&packed).tier(tier);
                let gemm = match dot {
                    Some(dot) => gemm.hardware_dot(dot),
                    None => gemm,
                };
                let mut c = vec![0f32; m * n];
                gemm.build()?.run(MatRef::row_major(&a, m, k)?, &mut MatMut::row_major(&mut c, m, n)?)?;
                Ok(c)
            })?;
            let (arithmetic, in_all) = (Errors::of(&c, &stored), Errors::of(&c, &operands.exact));
            // The bound is in proportion to the magnitudes but for what may be flushed, which these leave no trace of.
            let bound = dot.map_or(bound_of_the_chain(k), |dot| dot.error_bound(k, 1.0));
            let share = arithmetic.largest / bound;
            assert!(share < 1.0, "{name} on {}: {} is beyond the bound of {bound}", shape.cells(), arithmetic.largest);
            let (arithmetic, in_all) = (arithmetic.cells(), in_all.cells());
            writeln!(text, "| {} | {name} | {arithmetic} | {share:.1e} | {in_all} |", shape.cells()).unwrap();
        }
    }
    Ok(text)
}
