//! Hardware dot products of bf16 against their reference, bit for bit: AVX512-BF16 and AMX-BF16 on every tier that has
//! them, and in plain Rust on the portable one; against f64, their documented bound; and that nobody gets them without
//! asking.

mod common;

use common::products::{check, check_empty, check_guarded, check_rows};
use common::random::Rng;
use common::{SeedOfPanic, announce, seed, share_of, tiers};
use gemmill::half::{bf16, f16};
use gemmill::quant::{Bits, GroupSize, GroupwiseFormat, GroupwiseWeights, ZeroPoints};
use gemmill::{
    Error, FloatGemm, FloatType, HardwareDot, MatMut, MatRef, PackedFloat, PackedGroupwise, Tier, TierError,
};
use gemmill_machine::{Exercised, Lacking};

/// The tiers that are exercised, each with the dot products that it has. Says which dot products no tier has, and fails
/// if the emulated machine stands in for the tier that has all of them and one is missing.
fn dots() -> Vec<(Tier, HardwareDot)> {
    let tiers = tiers();
    let mut all = Vec::new();
    for dot in HardwareDot::ALL {
        let having: Vec<Tier> = tiers.iter().copied().filter(|&tier| dot.require(tier).is_ok()).collect();
        assert!(having.contains(&Tier::Portable), "the portable tier does everything");
        if having.len() == 1 {
            let interpreted = &Exercised::in_this_process(Lacking::LeftOut).interpreted;
            assert!(!interpreted.contains(&Tier::Amx), "{dot} is not exercised though tier amx is interpreted");
            let why = dot.require(dot.lowest_tier()).err().map_or("no tier is exercised".to_owned(), |e| e.to_string());
            announce(format_args!("SKIPPED hardware dot products on {dot}: {why}"));
        }
        all.extend(having.into_iter().map(|tier| (tier, dot)));
    }
    all
}

/// A product of random types.
fn check_any(rng: &mut Rng, by: (Tier, HardwareDot), shape: (usize, usize, usize)) {
    type Check = fn(&mut Rng, (Tier, HardwareDot), (usize, usize, usize));
    let checks: [Check; 7] = [
        check::<bf16, bf16, f32, _>,
        check::<bf16, bf16, bf16, _>,
        check::<bf16, bf16, f16, _>,
        check::<f32, bf16, f32, _>,
        check::<f32, bf16, bf16, _>,
        check::<f16, bf16, f32, _>,
        check::<f16, bf16, f16, _>,
    ];
    rng.pick(&checks)(rng, by, shape)
}

/// The script that interprets tiers looks for the last line.
#[test]
fn random_products_have_the_bits_of_the_reference() {
    for by in dots() {
        let mut products = 0;
        for case in 0..share_of(500) {
            let case = seed().wrapping_add(case);
            let _seed = SeedOfPanic(case);
            let rng = &mut Rng::new(case);
            let m = if rng.one_in(4) { 1 + rng.below(80) } else { rng.below(18) };
            let n = if rng.one_in(3) { rng.below(300) } else { rng.below(70) };
            let k = if rng.one_in(8) { rng.below(800) } else { rng.below(70) };
            check_any(rng, by, (m, n, k));
            products += 1;
        }
        announce(format_args!("hardware-dot: {}: {} on {}: {products} products, 0 wrong", by.0, by.1, by.0));
    }
}

/// Every number of rows of a micro-tile and beyond, with every number of columns of a panel; K around pairs and groups.
#[test]
fn all_edges() {
    for by in dots() {
        let rng = &mut Rng::new(seed());
        for m in 1..=34 {
            for n in 1..=33 {
                if (m > 16 || share_of(10) < 10) && !rng.one_in(6) {
                    continue;
                }
                let k = rng.pick(&[0, 1, 2, 3, 4, 5, 31, 32, 33, 34, 63, 64, 65]);
                check_any(rng, by, (m, n, k));
            }
        }
    }
}

/// K beyond a block: partial sums pass through memory. N beyond a strip, rows beyond a block of tiles.
#[test]
fn several_blocks() {
    for by in dots() {
        let rng = &mut Rng::new(seed() + 1);
        let shapes = [(20, 40, 1100), (3, 40, 2100), (90, 33, 1301), (40, 130, 513), (33, 64, 1537), (300, 16, 2000)];
        for &shape in &shapes[..share_of(6) as usize] {
            for _ in 0..share_of(2) {
                check_any(rng, by, shape);
            }
        }
    }
}

#[test]
fn rows_do_not_depend_on_the_batch() {
    let rng = &mut Rng::new(seed() + 2);
    let all_dots = dots();
    for dot in HardwareDot::ALL {
        let tiers: Vec<Tier> = all_dots.iter().filter(|(_, of)| *of == dot).map(|(tier, _)| *tier).collect();
        for _ in 0..share_of(20) {
            let shape = (2 + rng.below(50), 1 + rng.below(120), rng.below(700));
            check_rows(rng, (&tiers, dot), shape);
        }
    }
}

/// A read where it lies, and packed first.
#[test]
fn operands_beside_guard_pages() {
    for by in dots() {
        let rng = &mut Rng::new(seed() + 3);
        for _ in 0..share_of(60) {
            let k = if rng.one_in(3) { 32 * rng.below(4) } else { rng.below(40) };
            let shape = (1 + rng.below(36), 1 + rng.below(70), k);
            check_guarded::<bf16, _>(rng, by, shape);
            check_guarded::<f32, _>(rng, by, shape);
        }
    }
}

/// What fills up the last pair or group is zero on both sides: no infinity and no NaN comes of it.
#[test]
fn padding_makes_no_nan() {
    for (tier, dot) in dots() {
        for k in [1, 3, 31, 33, 65] {
            for last in [f32::INFINITY, f32::NEG_INFINITY] {
                let mut a = vec![1f32; k];
                a[k - 1] = last;
                // Rows and columns beside the ones that are looked at hold NaN.
                let rows: Vec<f32> = a.iter().copied().chain(vec![f32::NAN; k]).collect();
                let b: Vec<bf16> = (0..k).flat_map(|_| [bf16::ONE, bf16::NAN]).collect();
                let packed = PackedFloat::new(MatRef::row_major(&b, k, 2).unwrap()).unwrap();
                let gemm = FloatGemm::builder(&packed).hardware_dot(dot).tier(tier).build().unwrap();
                let mut c = [0f32; 4];
                let view = MatRef::row_major(&rows, 2, k).unwrap();
                gemm.run(view, &mut MatMut::row_major(&mut c, 2, 2).unwrap()).unwrap();
                assert!(c[0] == last && c[1..].iter().all(|x| x.is_nan()), "{dot} on {tier}, k {k}: {c:?}");
                // And with the roles exchanged.
                let b: Vec<bf16> = a.iter().copied().map(bf16::from_f32).collect();
                let packed = PackedFloat::new(MatRef::row_major(&b, k, 1).unwrap()).unwrap();
                let gemm = FloatGemm::builder(&packed).hardware_dot(dot).tier(tier).build().unwrap();
                let (ones, mut c) = (vec![bf16::ONE; k], [0f32]);
                let view = MatRef::row_major(&ones, 1, k).unwrap();
                gemm.run(view, &mut MatMut::row_major(&mut c, 1, 1).unwrap()).unwrap();
                assert_eq!(c, [last], "{dot} on {tier}, k {k}");
            }
        }
    }
}

/// Rows and columns for the bound: usual ones, those whose sums cancel, one large number among small ones, factors
/// whose products are flushed, and a 1 to which every product adds a little less than half of its last bit, which is
/// lost.
fn rows_for_the_bound(rng: &mut Rng, kind: u64, k: usize) -> (Vec<bf16>, Vec<bf16>) {
    let number = |rng: &mut Rng, i: usize, is_a: bool| match kind {
        0 => rng.gaussian(),
        // Positive numbers: roundings add up.
        1 => 1.0 + rng.unit(),
        // What one half adds, the other one takes away.
        2 if is_a => (1.0 + rng.unit()) * if i < k / 2 { 1.0 } else { -1.0 },
        2 => 1.0 + rng.unit(),
        3 => rng.gaussian() * if i == k / 3 { 2f32.powi(30) } else { 1.0 },
        4 => rng.gaussian() * 2f32.powi(-64),
        _ if i < 2 => [1.0, 0.0][i],
        _ if is_a => (1.0 - 2f32.powi(-8)) * 2f32.powi(-12),
        _ => 2f32.powi(-12),
    };
    let a = (0..k).map(|i| bf16::from_f32(number(rng, i, true))).collect();
    let b = (0..k).map(|i| bf16::from_f32(number(rng, i, false))).collect();
    (a, b)
}

#[test]
fn errors_stay_within_the_documented_bound() {
    for (tier, dot) in dots() {
        let rng = &mut Rng::new(seed() + 5);
        let mut worst = 0f64;
        // Enough of each kind to come near the bound, whatever share of the cases is wanted.
        for case in 0..share_of(200).max(60) {
            let k = if rng.one_in(3) { 1 + rng.below(4096) } else { 1 + rng.below(200) };
            let (a, b) = rows_for_the_bound(rng, case % 6, k);
            let usual = rng.gaussian();
            let first = rng.pick(&[0.0, 0.0, usual, 1e-40]);
            let packed = PackedFloat::new(MatRef::row_major(&b, k, 1).unwrap()).unwrap();
            let gemm = FloatGemm::builder(&packed).hardware_dot(dot).beta(1.0).tier(tier).build().unwrap();
            let mut c = [first];
            let view = MatRef::row_major(&a, 1, k).unwrap();
            gemm.run(view, &mut MatMut::row_major(&mut c, 1, 1).unwrap()).unwrap();

            // The products are exact, and sums of f64 err less than f32 by 29 bits: that is added to the bound.
            let flushed = |x: f32| f64::from(if x.is_subnormal() { 0.0 } else { x });
            let product = |(a, b): (&bf16, &bf16)| flushed(a.to_f32()) * flushed(b.to_f32());
            let exact = a.iter().zip(&b).map(product).sum::<f64>() + f64::from(first);
            let magnitude = a.iter().zip(&b).map(|p| product(p).abs()).sum::<f64>() + f64::from(first).abs();
            let of_f64 = k as f64 * f64::EPSILON * magnitude;
            let (error, bound) = ((f64::from(c[0]) - exact).abs(), dot.error_bound(k, magnitude) + of_f64);
            assert!(error <= bound, "{dot} on {tier}, k {k}: {} instead of {exact}: {error:e} > {bound:e}", c[0]);
            worst = worst.max(error / bound);
        }
        // A bound that is never approached says little.
        assert!(worst > 0.5, "{dot} on {tier}: at most {worst} of the bound");
        announce(format_args!("{dot} on {tier}: at most {worst:.3} of the bound of the error"));
    }
}

/// Results are flushed before they are subnormal: with 24 bits, this one would stay below the smallest normal number,
/// though with as few as subnormal numbers have it would round to it.
#[test]
fn results_are_flushed_before_they_are_rounded_as_subnormal() {
    let least = f32::MIN_POSITIVE;
    for (tier, dot) in dots() {
        // 2^-126 less three quarters of what 24 bits have below it, and less half of that.
        for (factor, expected) in [(0.75, 0.0), (0.5, least)] {
            let a = [2f32.powi(-63), 0.0, -2f32.powi(-75), 0.0].map(bf16::from_f32);
            let b = [2f32.powi(-63), 0.0, factor * 2f32.powi(-75), 0.0].map(bf16::from_f32);
            let packed = PackedFloat::new(MatRef::row_major(&b, 4, 1).unwrap()).unwrap();
            let gemm = FloatGemm::builder(&packed).hardware_dot(dot).tier(tier).build().unwrap();
            let mut c = [f32::NAN];
            let view = MatRef::row_major(&a, 1, 4).unwrap();
            gemm.run(view, &mut MatMut::row_major(&mut c, 1, 1).unwrap()).unwrap();
            assert_eq!(c, [expected], "{dot} on {tier}, {factor}");
        }
    }
}

/// The result tells which way was taken: 2^24 + 1 is 2^24, so the order of summation shows.
#[test]
fn each_way_is_taken_only_if_asked_for() {
    let big = 2f32.powi(24);
    // In ascending order 1 is lost. The second one of a pair comes first; even and odd ones have sums of their own.
    let a = [big, 1.0, -big, 0.0].map(bf16::from_f32);
    let packed = PackedFloat::new(MatRef::row_major(&[bf16::ONE; 4], 4, 1).unwrap()).unwrap();
    let result = |gemm: &FloatGemm| {
        let mut c = [0f32];
        let view = MatRef::row_major(&a, 1, 4).unwrap();
        gemm.run(view, &mut MatMut::row_major(&mut c, 1, 1).unwrap()).unwrap();
        c[0]
    };
    for tier in tiers() {
        let chain = FloatGemm::builder(&packed).tier(tier).build().unwrap();
        assert_eq!((result(&chain), chain.hardware_dot()), (0.0, None), "{tier}");
    }
    for (tier, dot) in dots() {
        let gemm = FloatGemm::builder(&packed).hardware_dot(dot).tier(tier).build().unwrap();
        assert_eq!(gemm.hardware_dot(), Some(dot));
        let expected = match dot {
            HardwareDot::Avx512Bf16 => 0.0,
            HardwareDot::AmxBf16 => 1.0,
        };
        assert_eq!(result(&gemm), expected, "{dot} on {tier}");
    }
    // Subnormal numbers tell the chain from both.
    let (tiny, one) = ([bf16::from_bits(1)], [bf16::ONE]);
    let packed = PackedFloat::new(MatRef::row_major(&one, 1, 1).unwrap()).unwrap();
    let run = |gemm: FloatGemm| {
        let mut c = [7f32];
        gemm.run(MatRef::row_major(&tiny, 1, 1).unwrap(), &mut MatMut::row_major(&mut c, 1, 1).unwrap()).unwrap();
        c[0]
    };
    assert_eq!(run(FloatGemm::builder(&packed).build().unwrap()), tiny[0].to_f32());
    for (tier, dot) in dots() {
        assert_eq!(
            run(FloatGemm::builder(&packed).hardware_dot(dot).tier(tier).build().unwrap()),
            0.0,
            "{dot} on {tier}"
        );
    }
}

#[test]
fn no_rows_no_columns_no_depth() {
    for (tier, dot) in dots() {
        check_empty(tier, dot);
    }
}

/// Other weights, tiers without the instruction, and CPUs without it are refused, and say what they lack.
#[test]
fn what_cannot_be_had_is_refused() {
    let b = [1f32; 6];
    let view = MatRef::row_major(&b, 2, 3).unwrap();
    let dot = HardwareDot::Avx512Bf16;
    for stored in [FloatType::F32, FloatType::F16] {
        let packed = PackedFloat::builder(view).store(stored).build().unwrap();
        let refused = FloatGemm::builder(&packed).hardware_dot(dot).tier(Tier::Portable).build().unwrap_err();
        assert!(
            matches!(refused, Error::Unsupported { .. }) && refused.to_string().ends_with(stored.name()),
            "{refused}"
        );
    }
    let format = GroupwiseFormat { bits: Bits::Four, group_size: GroupSize::G32, zero_points: ZeroPoints::Middle };
    let weights = PackedGroupwise::new(&GroupwiseWeights::round_to_nearest(view, format).unwrap()).unwrap();
    let refused = FloatGemm::groupwise(&weights).hardware_dot(dot).tier(Tier::Portable).build().unwrap_err();
    assert!(matches!(refused, Error::Unsupported { .. }), "{refused}");

    let packed = PackedFloat::builder(view).store(FloatType::Bf16).build().unwrap();
    for dot in HardwareDot::ALL {
        for tier in tiers() {
            let built = FloatGemm::builder(&packed).hardware_dot(dot).tier(tier).build();
            assert_eq!(built.as_ref().err(), dot.require(tier).err().map(Error::Tier).as_ref(), "{dot} on {tier}");
            if tier != Tier::Portable && tier < dot.lowest_tier() {
                assert_eq!(built.unwrap_err(), Error::Tier(TierError::NoDot { dot, tier }));
            }
        }
    }
    // The best tier counts where none is named; plain Rust has to be named.
    let best = Tier::best().unwrap();
    for dot in HardwareDot::ALL {
        let refused = FloatGemm::builder(&packed).hardware_dot(dot).build().err();
        let expected = match best {
            Tier::Portable => Some(TierError::NoDot { dot, tier: best }),
            _ => dot.require(best).err(),
        };
        assert_eq!(refused, expected.map(Error::Tier), "{dot}");
    }
    // The best one of a tier is one that it has, and none that this CPU is slow with.
    for tier in tiers().into_iter().filter(|&tier| tier != Tier::Portable) {
        let had = HardwareDot::ALL.into_iter().rev().find(|dot| dot.require(tier).is_ok());
        match HardwareDot::best(tier) {
            Err(TierError::SlowDot { dot }) => assert_eq!((Some(dot), dot), (had, HardwareDot::Avx512Bf16), "{tier}"),
            best => assert_eq!(best.ok(), had, "{tier}"),
        }
    }
    assert!(HardwareDot::best(Tier::Portable).is_err());
}
