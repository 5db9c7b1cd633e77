//! Properties with shrinking: what fails is reduced to the smallest shape that does.
mod common;

use common::operand::{Order, Params, Stored, Weights};
use common::random::{Rng, Values};
use common::{Bits, seed, share_of, tiers};
use gemmill::reference::{self, Bias, Rows};
use gemmill::{Dequantize, Gemm, IntOutput, MatMut, PackEffort, Requantize, RunOptions, Threads};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Shape and parameters; data follow from `seed`.
#[derive(Debug, Clone)]
struct Case {
    m: usize,
    group_cols: usize,
    k: usize,
    groups: usize,
    kc: Option<usize>,
    a_order: usize,
    b_order: usize,
    a_values: usize,
    b_values: usize,
    a_zero_point: i32,
    b_zero_point: i32,
    row_zero_points: bool,
    quick: bool,
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let shape =
        (0usize..=40, 0usize..=40, 0usize..=150, 1usize..=3, prop_oneof![Just(None), (0usize..=80).prop_map(Some)]);
    let data = (0..Order::ALL.len(), 0..Order::ALL.len(), 0..Values::ACTIVATIONS.len(), 0..Values::WEIGHTS.len());
    let numbers = (0..=255i32, -128..=127i32, any::<bool>(), any::<bool>(), any::<u64>());
    (shape, data, numbers).prop_map(|((m, group_cols, k, groups, kc), data, numbers)| {
        let (a_order, b_order, a_values, b_values) = data;
        let (a_zero_point, b_zero_point, row_zero_points, quick, seed) = numbers;
        let (k, groups) = (if m * group_cols > 400 { k.min(100) } else { k }, groups);
        Case {
            m,
            group_cols,
            k,
            groups,
            kc,
            a_order,
            b_order,
            a_values,
            b_values,
            a_zero_point,
            b_zero_point,
            row_zero_points,
            quick,
            seed,
        }
    })
}

impl Case {
    fn n(&self) -> usize {
        self.group_cols * self.groups
    }

    fn operands(&self) -> (Stored<u8>, Weights<i8>, Vec<i32>) {
        let rng = &mut Rng::new(self.seed);
        let (a_values, b_values) = (Values::ACTIVATIONS[self.a_values], Values::WEIGHTS[self.b_values]);
        let shape = (self.m, self.k * self.groups);
        let a = Stored::integers(rng, shape, Order::ALL[self.a_order], a_values, 255);
        let weights = Weights {
            b: Stored::integers(rng, (self.k, self.n()), Order::ALL[self.b_order], b_values, 255),
            values: b_values,
            groups: self.groups,
            zero_points: Params::Tensor(self.b_zero_point),
            activation_max: 255,
            effort: if self.quick { PackEffort::Quick } else { PackEffort::Full },
            kc: self.kc,
        };
        let rows = (0..self.m).map(|_| if self.row_zero_points { rng.range(0, 255) } else { self.a_zero_point });
        let rows = rows.collect();
        (a, weights, rows)
    }

    fn options<'a>(&self, rows: &'a [i32]) -> RunOptions<'a> {
        if self.row_zero_points { RunOptions::new().row_zero_points(rows) } else { RunOptions::new() }
    }
}

/// Runs a property from this run's seed; what fails is printed after shrinking.
fn hold(cases_to_try: u32, property: impl Fn(Case) -> Result<(), TestCaseError>) {
    let seed = seed();
    let bytes: Vec<u8> = (0..4).flat_map(|i| (seed ^ i).to_le_bytes()).collect();
    let config = Config { cases: share_of(cases_to_try.into()) as u32, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    if let Err(e) = runner.run(&cases(), property) {
        panic!("GEMMILL_TEST_SEED={seed}\n{e}");
    }
}

fn same<T: Bits>(got: &[T], want: &[T], what: &str) -> Result<(), TestCaseError> {
    let different = got.iter().zip(want).position(|(g, w)| g.bits() != w.bits());
    prop_assert!(different.is_none(), "{what}: element {different:?}: got {got:?}, want {want:?}");
    Ok(())
}

#[test]
fn products_are_those_of_the_reference() {
    let tiers = tiers();
    hold(1500, |case| {
        let (a, weights, rows) = case.operands();
        let want = weights.raw(a.view(), Rows::Each(&rows));
        for &tier in &tiers {
            let packed = weights.pack(tier);
            let gemm = Gemm::builder(&packed, IntOutput::Store).a_zero_point(case.a_zero_point).build().unwrap();
            let mut c = vec![i32::poison(1); case.m * case.n()];
            let mut view = MatMut::row_major(&mut c, case.m, case.n()).unwrap();
            gemm.run_with(a.view(), &mut view, &case.options(&rows)).unwrap();
            same(&c, &want, tier.name())?;
        }
        Ok(())
    });
}

#[test]
fn epilogues_are_those_of_the_reference() {
    let tiers = tiers();
    hold(700, |case| {
        let (a, weights, rows) = case.operands();
        let (m, n) = (case.m, case.n());
        let raw = weights.raw(a.view(), Rows::Each(&rows));
        let rng = &mut Rng::new(case.seed);
        let multipliers: Vec<f32> = (0..n).map(|_| rng.real(4).abs().max(1e-12)).collect();
        let bias: Vec<i32> = (0..n).map(|_| rng.bits() as i32 >> rng.below(32)).collect();
        let real_bias: Vec<f32> = (0..n).map(|_| rng.real(8)).collect();
        let zero_point = rng.range(-128, 127);
        let bytes: Vec<i8> = (0..m * n)
            .map(|at| {
                let (j, limits) = (at % n, (-128, 127));
                reference::requantize(raw[at], Bias::Int(bias[j]), multipliers[j], zero_point, limits)
            })
            .collect();
        let stages = |j: usize| reference::Dequantize {
            a_scale: 0.37,
            b_scale: multipliers[j],
            bias: Some(real_bias[j]),
            residual: None,
            clamp: Some((0.0, f32::INFINITY)),
        };
        let reals: Vec<f32> = (0..m * n).map(|at| reference::dequantize(raw[at], stages(at % n))).collect();
        for &tier in &tiers {
            let packed = weights.pack(tier);
            let by_column = gemmill::PerColumn::Column(&multipliers);
            let stage = Requantize::<i8>::new(by_column).zero_point(zero_point).bias_i32(&bias);
            let gemm = Gemm::builder(&packed, stage).a_zero_point(case.a_zero_point).threads(Threads::Max(1));
            let mut c = vec![i8::poison(1); m * n];
            let mut view = MatMut::row_major(&mut c, m, n).unwrap();
            gemm.build().unwrap().run_with(a.view(), &mut view, &case.options(&rows)).unwrap();
            same(&c, &bytes, tier.name())?;

            let stage = Dequantize::new(by_column).a_scale(0.37).bias(&real_bias).relu();
            let gemm = Gemm::builder(&packed, stage).a_zero_point(case.a_zero_point).threads(Threads::Max(1));
            let mut c = vec![f32::poison(1); m * n];
            let mut view = MatMut::row_major(&mut c, m, n).unwrap();
            gemm.build().unwrap().run_with(a.view(), &mut view, &case.options(&rows)).unwrap();
            same(&c, &reals, tier.name())?;
        }
        Ok(())
    });
}
