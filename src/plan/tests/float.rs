//! What every plan of floats must satisfy. The choices themselves are pinned by `golden/float.txt`.

use gemmill_codegen::{FLOAT_PANEL, FloatType, FloatWeights, HardwareDot, Sweep, Tier, float_lanes, float_tiles_of};

use crate::plan::float::{FloatPlan, FloatProblem};
use crate::plan::golden::float::{MACHINES, dot_problem, four_bits, problem};

/// What kernels and loops rely on, for many sizes.
#[test]
fn plans_cover_everything_and_fit_the_registry() {
    for tier in Tier::ALL {
        for rows in [1, 2, 3, 5, 6, 7, 13, 14, 15, 29, 100, 1001] {
            for cols in [1, 15, 16, 17, 31, 32, 33, 64, 100, 129, 1000] {
                for (k, p) in [0, 1, 7, 255, 256, 257, 513, 4096].into_iter().flat_map(|k| {
                    let shape = (rows, cols, k);
                    MACHINES.into_iter().flat_map(move |(_, machine)| {
                        let of_dot = |dot| FloatProblem { tier, ..dot_problem(dot, machine, shape) };
                        let numbers = FloatType::ALL.map(FloatWeights::Numbers).into_iter();
                        let of_weights = |weights| FloatProblem { weights, ..problem(tier, machine, shape) };
                        let chains = numbers.chain([four_bits()]).map(of_weights);
                        let all: Vec<_> = chains.chain(HardwareDot::ALL.map(of_dot)).map(|p| (k, p)).collect();
                        all
                    })
                }) {
                    let plan = FloatPlan::new(&p);
                    let lanes = float_lanes(tier);
                    let of_tier = float_tiles_of(tier, p.products);
                    let of_strip = |vectors: usize| of_tier.iter().rev().find(|t| vectors <= t.vectors);
                    for vectors in [plan.vectors, plan.last_vectors] {
                        let fits = of_strip(vectors).is_some_and(|tile| plan.loops.tiles.height <= tile.max_rows);
                        assert!(fits && vectors.is_multiple_of(2), "{p:?}: {plan:?}");
                    }
                    let before = (plan.strips - 1) * plan.strip;
                    assert_eq!(plan.strip, plan.vectors * lanes);
                    assert!(before < cols && cols <= before + plan.last_vectors * lanes, "{p:?}: {plan:?}");
                    let narrow = plan.strips - plan.whole_strips;
                    assert!(plan.whole_strips == cols / plan.strip && narrow < 2, "{p:?}: {plan:?}");
                    assert_eq!(plan.loops.tiles.row(plan.loops.tiles.count()), rows);
                    if plan.sweep == Sweep::Row {
                        let once = plan.passes(k) == 1 && !plan.keeps && plan.prefetching_tiles == 0;
                        let half_or_whole = plan.strip == FLOAT_PANEL / 2 || plan.strip.is_multiple_of(FLOAT_PANEL);
                        assert!(once && half_or_whole && !plan.in_tiles, "{p:?}: {plan:?}");
                    }
                    assert!(plan.kc * plan.passes(k) >= k && plan.kc > 0, "{p:?}: {plan:?}");
                    assert!(k == 0 || plan.kc * (plan.passes(k) - 1) < k, "{p:?}: {plan:?}");
                    assert!(!plan.keeps || plan.vectors == 2, "{p:?}: {plan:?}");
                    let unit = p.products.group().max(p.weights.unit());
                    let whole_groups = plan.passes(k) == 1 || plan.kc.is_multiple_of(unit);
                    assert!(whole_groups, "{p:?}: {plan:?}");
                    assert!(
                        !plan.in_tiles || plan.keeps && !plan.prefetch && plan.prefetching_tiles == 0,
                        "{p:?}: {plan:?}"
                    );
                }
            }
        }
    }
}
