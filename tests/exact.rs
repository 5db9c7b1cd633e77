//! Exactness: i32 products of every kind, compared bit by bit with the reference, on every tier.
mod common;

use std::collections::BTreeMap;
use std::fmt::Write;

use common::operand::{Order, Params, Poisoned, Stored, Weights};
use common::random::{Rng, Values};
use common::{Sample, SeedOfPanic, announce, assert_same_bits, long_mode, seed, share, share_of, tiers};
use gemmill::quant::QuantElement;
use gemmill::reference::{Rows, ZeroPoints, raw};
use gemmill::{
    Activation, Gemm, IntOutput, MatMut, MatRef, PackEffort, PackedB, RunOptions, Threads, Tier, Weight, multiply,
};
use gemmill_codegen::{
    Byte, KernelDesc, Layout, Panels, Section, Start, Sweep, micro_tiles, multiplies_signed, sections,
};

/// What has been exercised: products by tier and feature.
#[derive(Default)]
struct Tally {
    products: BTreeMap<Tier, u64>,
    features: BTreeMap<(Tier, &'static str), u64>,
}

/// Features other than sequences that a run must exercise, where the tier has them.
const FEATURES: [&str; 17] = [
    "layout columns8",
    "layout columns16",
    "layout four columns",
    "layout depth",
    "layout tiles",
    "rows of tiles",
    "signed as they are",
    "several passes",
    "several passes elsewhere",
    "row of panels",
    "grid",
    "grid of twos",
    "packed A",
    "A in place",
    "several threads",
    "zero-sized",
    "wrapping sums",
];

impl Tally {
    fn count(&mut self, packed: &PackedB, gemm_features: &[&'static str]) {
        let tier = packed.tier();
        *self.products.entry(tier).or_default() += 1;
        let sequences = packed.sequences();
        for name in sequences.shares().map(|(s, _)| s.name()).chain(gemm_features.iter().copied()) {
            *self.features.entry((tier, name)).or_default() += 1;
        }
    }

    /// What a run must exercise on a tier.
    fn names(tier: Tier) -> impl Iterator<Item = &'static str> {
        let has = move |layout| micro_tiles(tier).iter().any(|t| t.layout == layout);
        let of_tier = FEATURES.into_iter().filter(move |&name| match name {
            "layout columns16" => has(Layout::Columns16),
            "layout tiles" | "rows of tiles" | "grid" | "grid of twos" => has(Layout::Tiles),
            "signed as they are" => Layout::ALL.into_iter().any(|layout| multiplies_signed(tier, layout)),
            _ => true,
        });
        sections(tier).iter().map(Section::name).chain(of_tier)
    }

    /// Whether something has not been exercised yet.
    fn lacks_any(&self, tiers: &[Tier]) -> bool {
        tiers.iter().any(|&tier| Tally::names(tier).any(|name| !self.features.contains_key(&(tier, name))))
    }

    /// Prints the table, and fails if a runnable tier, a sequence or a feature is missing from it.
    fn guard(&self, tiers: &[Tier], what: &str) {
        let mut missing = Vec::new();
        for &tier in tiers {
            let mut line = format!("{what}: {tier}: {} products, 0 wrong;", self.products.get(&tier).unwrap_or(&0));
            for name in Tally::names(tier) {
                let products = self.features.get(&(tier, name)).copied().unwrap_or(0);
                write!(line, " {name} {products}").unwrap();
                if products == 0 {
                    missing.push(format!("{tier}: {name}"));
                }
            }
            announce(format_args!("{line}"));
        }
        assert!(missing.is_empty(), "not exercised by a share of {} of the cases: {missing:?}", share());
    }
}

fn features<A: Activation>(gemm: &Gemm<A, i32>, a: &MatRef<'_, A>, sums_wrap: bool) -> Vec<&'static str> {
    let mut found = Vec::new();
    let plan = gemm.describe(a.rows().max(1)).unwrap();
    let empty = a.rows() == 0 || a.cols() == 0 || gemm.packed().n() == 0;
    let kernels = || plan.kernels.iter().filter(|_| !empty);
    found.extend(kernels().next().map(|k| match k.layout {
        Layout::Columns8 => "layout columns8",
        Layout::Columns16 => "layout columns16",
        Layout::FourColumns => "layout four columns",
        Layout::Depth => "layout depth",
        Layout::Tiles => "layout tiles",
        Layout::RowsOfTiles => "rows of tiles",
        other => panic!("{other:?} is not in the list of features"),
    }));
    if kernels().any(|k| k.activations == Byte::I8) {
        found.push("signed as they are");
    }
    let by_columns = |layout| matches!(layout, Layout::Columns8 | Layout::Columns16);
    if let Some(kernel) = kernels().find(|k| k.start == Start::Scratch) {
        found.push(if by_columns(kernel.layout) { "several passes" } else { "several passes elsewhere" });
    }
    let sweeps = ["row of panels", "grid", "grid of twos"].map(|name| {
        let is_one = |k: &KernelDesc| match k.sweep {
            Sweep::Column => false,
            Sweep::Row => name == "row of panels",
            Sweep::Grid { panels: Panels::One, .. } => name == "grid",
            Sweep::Grid { panels: Panels::Two, .. } => name == "grid of twos",
        };
        kernels().any(is_one).then_some(name)
    });
    found.extend(sweeps.into_iter().flatten());
    let strided = a.col_stride() != 1 && a.cols() > 1;
    found.push(if plan.packs_a || strided { "packed A" } else { "A in place" });
    if plan.row_parts * plan.panel_parts > 1 && !empty {
        found.push("several threads");
    }
    if empty {
        found.push("zero-sized");
    }
    if sums_wrap {
        found.push("wrapping sums");
    }
    found
}

/// Sizes of which small ones, and those next to multiples of a step, are likely.
fn random_depth(rng: &mut Rng) -> usize {
    match rng.below(24) {
        0..=7 => rng.below(14),
        8..=15 => rng.below(70),
        16..=19 => rng.pick(&[32usize, 48, 64, 96, 128]) + rng.below(5) - 2,
        20..=21 => rng.below(300),
        // Eight steps of tiles and more.
        22 => rng.pick(&[512usize, 576, 640]) + rng.below(5) - 2,
        _ => rng.below(100),
    }
}

fn random_weights<B: Weight + QuantElement>(rng: &mut Rng, u8_activations: bool) -> Weights<B> {
    let groups = if rng.one_in(5) { rng.range(2, 4) as usize } else { 1 };
    let mut k = random_depth(rng);
    let group_cols = match rng.below(60) {
        0..=7 => rng.below(5),
        8..=44 => 1 + rng.below(20),
        45..=58 => 1 + rng.below(40),
        // Columns enough for A to be written to planes.
        _ => {
            k = k.min(64);
            512 + rng.below(20)
        }
    };
    let n = if group_cols > 100 { group_cols } else { group_cols * groups };
    let groups = if group_cols > 100 { 1 } else { groups };
    let values = rng.pick(&Values::WEIGHTS);
    let order = Order::random(rng);
    Weights {
        b: Stored::integers(rng, (k, n), order, values, 255),
        values,
        groups,
        zero_points: if rng.one_in(2) {
            Params::Tensor(0)
        } else {
            Params::random(rng, n, groups, any_zero_point::<B>)
        },
        activation_max: if u8_activations && rng.one_in(6) { rng.pick(&[0, 1, 15, 100, 127, 128, 254]) } else { 255 },
        effort: if rng.one_in(4) { PackEffort::Quick } else { PackEffort::Full },
        kc: if rng.one_in(3) { Some(rng.pick(&[1, 8, 12, 32, 64, 100])) } else { None },
    }
}

/// A zero point in the range of its type, often at an end.
fn any_zero_point<T: QuantElement>(rng: &mut Rng) -> i32 {
    let any = rng.range(T::LOW, T::HIGH);
    rng.pick(&[T::LOW, T::HIGH, 0, any, any])
}

/// Packs random weights for all tiers and multiplies them with some activations.
fn random_case<A: Activation + QuantElement, B: Weight + QuantElement>(seed: u64, tiers: &[Tier], tally: &mut Tally) {
    let _names_the_seed = SeedOfPanic(seed);
    let rng = &mut Rng::new(seed);
    let weights = random_weights::<B>(rng, A::LOW == 0);
    let packed: Vec<_> = tiers.iter().map(|&tier| weights.pack(tier)).collect();
    let (k, n, groups) = (weights.k(), weights.n(), weights.groups);
    for product in 0..4 {
        let m = match rng.below(16) {
            0..=9 => rng.below(14),
            10..=13 => rng.below(30),
            14 => rng.below(60),
            // Several passes, where few micro-tiles take one.
            _ => rng.below(140),
        };
        let m = if n * k > 8192 { m.min(14) } else { m };
        let order = Order::random(rng);
        let values = rng.pick(&Values::ACTIVATIONS);
        let a = Stored::<A>::integers(rng, (m, k * groups), order, values, weights.activation_max);
        let zero_point = any_zero_point::<A>(rng);
        let by_row: Option<Vec<i32>> = rng.one_in(4).then(|| (0..m).map(|_| any_zero_point::<A>(rng)).collect());
        let several = Threads::Exactly(2 + rng.below(3));
        let threads = rng.pick(&[Threads::Auto, Threads::Max(1), Threads::Max(4), several]);
        let output = rng.pick(&[IntOutput::Store, IntOutput::Store, IntOutput::Add]);
        let gap = rng.pick(&[0, 0, 1, 7, 16]);

        let mut want = weights.raw(a.view(), by_row.as_deref().map_or(Rows::All(zero_point), Rows::Each));
        let before: Vec<i32> = (0..m * n).map(|_| rng.bits() as i32).collect();
        if output == IntOutput::Add {
            want.iter_mut().zip(&before).for_each(|(want, &before)| *want = want.wrapping_add(before));
        }
        for packed in &packed {
            let case = || {
                format!(
                    "tier {}, A: {} [{m}×{}] {values:?} {order:?}, zero point {zero_point} {by_row:?}, {threads:?}, \
                     {output:?}\n{}\nsequences {}\nproduct {product} of the first case with GEMMILL_TEST_SEED={seed}",
                    packed.tier(),
                    std::any::type_name::<A>(),
                    k * groups,
                    weights.describe(),
                    packed.sequences(),
                )
            };
            let gemm = Gemm::<A, i32>::builder(packed, output).a_zero_point(zero_point).threads(threads).build();
            let gemm = gemm.unwrap_or_else(|e| panic!("{e}\n{}", case()));
            let mut c = match output {
                IntOutput::Store => Poisoned::new((m, n), gap),
                IntOutput::Add => Poisoned::holding((m, n), gap, &before),
            };
            let mut options = RunOptions::new();
            if let Some(by_row) = &by_row {
                options = options.row_zero_points(by_row);
            }
            let done = gemm.run_with(a.view(), &mut c.view(), &options);
            done.unwrap_or_else(|e| panic!("{e}\n{}", case()));
            c.assert_holds(&want, case);
            tally.count(packed, &features(&gemm, &a.view(), false));
        }
    }
}

/// How many products the randomised run compares unless the long mode asks for more.
const DEFAULT_PRODUCTS: u64 = 400_000;

#[test]
fn random_and_adversarial_products() {
    let (tiers, seed) = (tiers(), seed());
    let products = share_of(long_mode().unwrap_or(DEFAULT_PRODUCTS));
    let (start, mut tally) = (std::time::Instant::now(), Tally::default());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    pool.install(|| {
        large_products(seed, &tiers, &mut tally);
        sums_that_wrap(&tiers, &mut tally);
        let mut case = seed;
        let done = |tally: &Tally| tally.products.values().sum::<u64>();
        // A small share goes on until all has been exercised.
        let most = products.max(DEFAULT_PRODUCTS);
        while done(&tally) < products || (done(&tally) < most && share() < 1.0 && tally.lacks_any(&tiers)) {
            match case % 4 {
                0 => random_case::<u8, i8>(case, &tiers, &mut tally),
                1 => random_case::<i8, i8>(case, &tiers, &mut tally),
                2 => random_case::<u8, u8>(case, &tiers, &mut tally),
                _ => random_case::<i8, u8>(case, &tiers, &mut tally),
            }
            case = case.wrapping_add(1);
        }
    });
    let elapsed = start.elapsed().as_secs_f64();
    let total: u64 = tally.products.values().sum();
    announce(format_args!("exact: {total} products in {elapsed:.1} s, GEMMILL_TEST_SEED={seed}"));
    tally.guard(&tiers, "exact");
}

/// Products that several threads share: large enough for a plan of as many parts.
fn large_products(seed: u64, tiers: &[Tier], tally: &mut Tally) {
    let rng = &mut Rng::new(seed ^ 1);
    let mut sample = Sample::new("products that several threads share");
    for (m, n, k, groups, values) in [
        (130, 65, 520, 1, Values::Gaussian(14.0)),
        (33, 600, 512, 1, Values::Uniform),
        (5, 1030, 700, 1, Values::Uniform),
        (1200, 3, 1001, 1, Values::Corners),
        (70, 4 * 33, 600, 4, Values::Outliers(10.0)),
        // Several blocks of rows.
        (16, 24, 35_000, 1, Values::Gaussian(20.0)),
    ]
    .into_iter()
    .filter(|_| sample.keeps())
    {
        let mut weights = Weights::<i8>::plain(rng, k, n, values);
        weights.groups = groups;
        weights.kc = rng.pick(&[None, Some(64), Some(200)]);
        weights.zero_points = Params::random(rng, n, groups, |rng| rng.range(-128, 127));
        let a = Stored::<u8>::integers(rng, (m, k * groups), Order::RowMajor, Values::Corners, 255);
        let want = weights.raw(a.view(), Rows::All(3));
        for &tier in tiers {
            let packed = weights.pack(tier);
            for threads in 1..=4 {
                let gemm = Gemm::builder(&packed, IntOutput::Store).a_zero_point(3).threads(Threads::Max(threads));
                let gemm = gemm.build().unwrap();
                let mut c = Poisoned::new((m, n), 1);
                gemm.run(a.view(), &mut c.view()).unwrap();
                let case =
                    || format!("tier {tier}, {threads} threads, {}, GEMMILL_TEST_SEED={seed}", weights.describe());
                c.assert_holds(&want, case);
                tally.count(&packed, &features(&gemm, &a.view(), false));
            }
        }
    }
}

/// Depths at which sums of extreme products exceed i32.
fn sums_that_wrap(tiers: &[Tier], tally: &mut Tally) {
    fn corner<A: Activation + QuantElement, B: Weight + QuantElement>(
        (a_values, b_values): (Values, Values),
        k: usize,
        tiers: &[Tier],
        (tally, sample): (&mut Tally, &mut Sample),
    ) {
        if !sample.keeps() {
            return;
        }
        let rng = &mut Rng::new(7);
        let (m, n) = (2, 9);
        let mut weights = Weights::<B>::plain(rng, k, n, b_values);
        weights.effort = PackEffort::Quick;
        let a = Stored::<A>::integers(rng, (m, k), Order::RowMajor, a_values, 255);
        for (a_zero_point, b_zero_point) in [(0, 0), (A::HIGH, B::LOW)] {
            weights.zero_points = Params::Tensor(b_zero_point);
            let want = weights.raw(a.view(), Rows::All(a_zero_point));
            for &tier in tiers {
                let packed = weights.pack(tier);
                let gemm = Gemm::builder(&packed, IntOutput::Store).a_zero_point(a_zero_point).build().unwrap();
                let mut c = Poisoned::new((m, n), 0);
                gemm.run(a.view(), &mut c.view()).unwrap();
                c.assert_holds(&want, || format!("tier {tier}, A {a_values:?}, K {k}, {}", weights.describe()));
                tally.count(&packed, &features(&gemm, &a.view(), true));
            }
        }
    }
    let mut sample = Sample::new("sums that wrap");
    let all = [Values::Min, Values::Max];
    for corners in all.into_iter().flat_map(|a| all.map(|b| (a, b))) {
        corner::<u8, i8>(corners, 65_795, tiers, (tally, &mut sample));
        corner::<u8, i8>(corners, 66_320, tiers, (tally, &mut sample));
        corner::<u8, u8>(corners, 33_027, tiers, (tally, &mut sample));
        corner::<i8, i8>(corners, 131_073, tiers, (tally, &mut sample));
        corner::<i8, u8>(corners, 65_801, tiers, (tally, &mut sample));
    }
}

/// Fails if a product is wrong; for systematic sweeps of plain weights.
fn check<A: Activation + QuantElement, B: Weight + QuantElement>(
    rng: &mut Rng,
    weights: &Weights<B>,
    packed: &[PackedB],
    m: usize,
    values: Values,
) {
    let a = Stored::<A>::integers(rng, (m, weights.k()), Order::RowMajor, values, weights.activation_max);
    let zero_point = rng.pick(&[0, A::HIGH]);
    let want = weights.raw(a.view(), Rows::All(zero_point));
    for packed in packed {
        let gemm = Gemm::builder(packed, IntOutput::Store).a_zero_point(zero_point).threads(Threads::Max(1));
        let gemm = gemm.build().unwrap();
        let mut c = Poisoned::new((m, weights.n()), 2);
        gemm.run(a.view(), &mut c.view()).unwrap();
        c.assert_holds(&want, || {
            let types = std::any::type_name::<A>();
            format!("tier {}, A: {types} [{m}] {values:?} - {zero_point}, {}", packed.tier(), weights.describe())
        });
    }
}

/// Every edge size of a micro-tile, with depths around whole steps; each sign combination in turn.
#[test]
fn every_edge_size_at_every_small_depth() {
    fn sweep<A: Activation + QuantElement, B: Weight + QuantElement>(n: usize, k: usize, tiers: &[Tier]) {
        let rng = &mut Rng::new((n * 1000 + k) as u64);
        let values = rng.pick(&Values::WEIGHTS);
        let mut weights = Weights::<B>::plain(rng, k, n, values);
        weights.zero_points = Params::Tensor(rng.pick(&[0, B::LOW, B::HIGH]));
        let packed: Vec<_> = tiers.iter().map(|&tier| weights.pack(tier)).collect();
        for m in 0..=13 {
            let values = rng.pick(&Values::ACTIVATIONS);
            check::<A, B>(rng, &weights, &packed, m, values);
        }
    }
    let tiers = tiers();
    let mut sample = Sample::new("edge sizes");
    for k in 0..=13 {
        // Some widths of 512-bit tiles, at some depths.
        let wide = [40, 47, 48, 49, 63, 64, 65, 80].into_iter().filter(|n| (n + k) % 3 == 0);
        for n in (0..=33).chain(wide).filter(|_| sample.keeps()) {
            match (n + k) % 4 {
                0 => sweep::<u8, i8>(n, k, &tiers),
                1 => sweep::<i8, i8>(n, k, &tiers),
                2 => sweep::<u8, u8>(n, k, &tiers),
                _ => sweep::<i8, u8>(n, k, &tiers),
            }
        }
    }
    // Few columns have layouts with deeper steps.
    for k in (14..=34).chain([47, 48, 49, 62, 63, 64, 65, 66, 67, 68, 79, 95, 96, 97, 98, 99, 127, 128, 129, 160, 161])
    {
        for n in (1..=5).filter(|_| sample.keeps()) {
            sweep::<u8, i8>(n, k, &tiers);
            sweep::<i8, u8>(n, k, &tiers);
        }
    }
}

/// Depths around multiples of KC, with rows enough for several passes over K, and too few for them.
#[test]
fn depths_around_blocks() {
    let tiers = tiers();
    let rng = &mut Rng::new(seed());
    let mut sample = Sample::new("depths around blocks");
    for kc in [8, 12, 64] {
        for multiple in 1..=4 {
            for k in (multiple * kc - 5)..=(multiple * kc + 5) {
                for n in [1, 3, 8, 16, 21].into_iter().filter(|_| sample.keeps()) {
                    let values = rng.pick(&Values::WEIGHTS);
                    let mut weights = Weights::<i8>::plain(rng, k, n, values);
                    weights.kc = Some(kc);
                    weights.zero_points = Params::Tensor(rng.pick(&[0, -128]));
                    let packed: Vec<_> = tiers.iter().map(|&tier| weights.pack(tier)).collect();
                    for m in [1, rng.range(13, 24) as usize, rng.pick(&[25, 60, 97, 130]) + rng.below(20)] {
                        check::<u8, i8>(rng, &weights, &packed, m, Values::Corners);
                        check::<i8, i8>(rng, &weights, &packed, m, Values::Uniform);
                    }
                }
            }
        }
    }
}

/// Each sequence with the activations that bring its 16-bit sums to their bounds.
#[test]
fn each_sequence_at_its_extremes() {
    let tiers = tiers();
    let rng = &mut Rng::new(seed());
    for (at, (values, n, activation_max, expected)) in [
        (Values::Int4, 16, 255, Section::Sum8),
        (Values::Gaussian(17.0), 16, 255, Section::Sum4),
        (Values::Gaussian(24.0), 16, 255, Section::Sum3),
        (Values::SevenBit, 16, 255, Section::Narrow),
        (Values::Gaussian(32.0), 16, 255, Section::Sum2),
        (Values::Gaussian(45.0), 16, 255, Section::Shuffled),
        (Values::Uniform, 16, 255, Section::Split),
        (Values::Min, 16, 255, Section::Split),
        (Values::Max, 16, 255, Section::Split),
        (Values::Uniform, 512, 255, Section::Wide),
        (Values::Min, 512, 255, Section::Wide),
        (Values::Min, 16, 128, Section::Narrow),
        (Values::Min, 16, 127, Section::Narrow),
        (Values::Min, 16, 16, Section::Sum8),
        (Values::Max, 16, 16, Section::Sum8),
        (Values::Int4, 2, 255, Section::Sum8),
        (Values::SevenBit, 2, 255, Section::Narrow),
        (Values::Uniform, 3, 255, Section::Split),
    ]
    .into_iter()
    .enumerate()
    {
        let mut weights = Weights::<i8>::plain(rng, 520, n, values);
        weights.activation_max = activation_max;
        let packed: Vec<_> = tiers.iter().map(|&tier| weights.pack(tier)).collect();
        for packed in &packed {
            let sequences = packed.sequences();
            let expected = if sections(packed.tier()).contains(Section::Dot) { Section::Dot8 } else { expected };
            assert!(sequences.shares().any(|(s, _)| s == expected), "{} for {}", sequences, weights.describe());
        }
        // Other rows from one kind of weights to the next where a share of the cases is done.
        for m in [1, 2, 7, 13].into_iter().cycle().skip(at % 4).take(share_of(4) as usize) {
            for activations in [Values::Max, Values::Corners, Values::Uniform, Values::Sparse] {
                check::<u8, i8>(rng, &weights, &packed, m, activations);
            }
            if activation_max == 255 {
                check::<i8, i8>(rng, &weights, &packed, m, Values::Corners);
            }
        }
        // Activations that meet exactly the weights of one sign reach the bounds of a column's sums.
        for column in 0..n.min(4) {
            for positive in [true, false] {
                let row: Vec<u8> = (0..520)
                    .map(|k| if (weights.b.data[k * n + column] > 0) == positive { activation_max } else { 0 })
                    .collect();
                let a = MatRef::row_major(&row, 1, 520).unwrap();
                let want = weights.raw(a, Rows::All(0));
                for packed in &packed {
                    let gemm = Gemm::builder(packed, IntOutput::Store).build().unwrap();
                    let mut c = Poisoned::new((1, n), 0);
                    gemm.run(a, &mut c.view()).unwrap();
                    c.assert_holds(&want, || format!("column {column} {positive}, {}", weights.describe()));
                }
            }
        }
    }
}

#[test]
fn multiply_packs_for_one_call() {
    let rng = &mut Rng::new(seed());
    for (m, n, k) in [(0, 3, 2), (3, 0, 2), (3, 2, 0), (1, 1, 1), (7, 19, 45), (30, 5, 100)] {
        let a = Stored::<i8>::integers(rng, (m, k), Order::ColMajor, Values::Corners, 255);
        let b = Stored::<u8>::integers(rng, (k, n), Order::ColMajor, Values::Corners, 255);
        let mut c = vec![-1; m * n];
        multiply(a.view(), b.view(), &mut MatMut::row_major(&mut c, m, n).unwrap()).unwrap();
        let want = raw(a.view(), b.view(), 1, ZeroPoints::default());
        assert_same_bits(&c, &want, || format!("{m} {n} {k}"));
    }
}
