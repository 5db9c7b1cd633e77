//! Packed weights: round trips, equality, what a handle tells, and operands of any strides.
mod common;

use common::operand::{Order, Params, Poisoned, Stored, Weights};
use common::random::{Rng, Values};
use common::{Sample, assert_same_bits, seed, share_of, tiers};
use gemmill::quant::QuantElement;
use gemmill::reference::{Rows, to_row_major};
use gemmill::{
    Activation, ActivationQuantization, Dequantize, Error, Gemm, IntOutput, MatMut, MatRef, PackEffort, PackedB,
    PerColumn, QuantParams, Tier, Weight,
};
use gemmill_codegen::{Section, sections};

fn round_trip<B: Weight + QuantElement + common::Bits>(weights: &Weights<B>, tier: Tier) {
    let packed = weights.pack(tier);
    let want = to_row_major(weights.b.view());
    let mut back = Poisoned::<B>::new((weights.k(), weights.n()), 3);
    packed.unpack(&mut back.view()).unwrap();
    let case = || format!("tier {tier}, {}, sequences {}", weights.describe(), packed.sequences());
    back.assert_holds(&want, case);
    assert_eq!((packed.k(), packed.n(), packed.groups()), (weights.k(), weights.n(), weights.groups), "{}", case());
    assert_eq!(packed.activation_max(), weights.activation_max, "{}", case());
    assert_eq!((packed.tier(), packed.is_signed()), (tier, B::LOW < 0), "{}", case());
    let shares: f64 = packed.sequences().shares().map(|(_, share)| share).sum();
    let empty = weights.k() == 0 || weights.n() == 0;
    assert!((shares - if empty { 0.0 } else { 1.0 }).abs() < 1e-9, "{shares}, {}", case());
}

#[test]
fn weights_come_back_as_they_were() {
    let (tiers, rng) = (tiers(), &mut Rng::new(seed()));
    for case in 0..share_of(1500) {
        let groups = rng.pick(&[1, 1, 1, 2, 3, 7]);
        let n = groups * if rng.one_in(50) { 512 + rng.below(40) } else { rng.below(40) };
        let k = if rng.one_in(4) { rng.below(14) } else { rng.below(260) };
        let (values, order) = (rng.pick(&Values::WEIGHTS), rng.pick(&Order::ALL));
        let activation_max = rng.pick(&[255, 255, 255, 0, 1, 15, 127, 128, 200]);
        let effort = rng.pick(&[PackEffort::Quick, PackEffort::Full]);
        let kc = rng.pick(&[None, None, Some(0), Some(1), Some(8), Some(12), Some(64), Some(100), Some(usize::MAX)]);
        let zero_points = Params::random(rng, n, groups, |rng| rng.range(0, 127));
        if case % 2 == 0 {
            let b = Stored::<i8>::integers(rng, (k, n), order, values, 255);
            let weights = Weights { b, values, groups, zero_points, activation_max, effort, kc };
            tiers.iter().for_each(|&tier| round_trip(&weights, tier));
        } else {
            let b = Stored::<u8>::integers(rng, (k, n), order, values, 255);
            let weights = Weights { b, values, groups, zero_points, activation_max, effort, kc };
            tiers.iter().for_each(|&tier| round_trip(&weights, tier));
        }
    }
}

#[test]
fn handles_are_equal_if_they_pack_the_same() {
    let b: Vec<i8> = (0..70 * 20).map(|i| (i * 37 % 251) as i8).collect();
    let view = MatRef::row_major(&b, 70, 20).unwrap();
    let packed = PackedB::new(view).unwrap();
    assert_eq!(packed, packed.clone());
    assert_eq!(packed, PackedB::new(view).unwrap(), "packing is deterministic");
    let columns: Vec<i8> = (0..20).flat_map(|j| b.iter().skip(j).step_by(20).copied()).collect();
    assert_eq!(packed, PackedB::new(MatRef::col_major(&columns, 70, 20).unwrap()).unwrap(), "strides leave no trace");
    assert_eq!(packed, PackedB::builder(view).zero_points(PerColumn::Column(&[0; 20])).build().unwrap());

    let mut other = b.clone();
    other[70 * 20 - 1] ^= 1;
    assert_ne!(packed, PackedB::new(MatRef::row_major(&other, 70, 20).unwrap()).unwrap(), "another weight");
    assert_ne!(packed, PackedB::builder(view).zero_points(1).build().unwrap(), "another zero point");
    assert_ne!(packed, PackedB::builder(view).groups(2).build().unwrap(), "other groups");
    assert_ne!(packed, PackedB::builder(view).activation_max(127).build().unwrap(), "another promise");
    let unsigned: Vec<u8> = b.iter().map(|&x| x as u8 ^ 0x80).collect();
    let unsigned = MatRef::row_major(&unsigned, 70, 20).unwrap();
    assert_ne!(packed, PackedB::new(unsigned).unwrap(), "another type");
}

/// Sequences depend on the weights, and on nothing else of a tier than whether it has 32-bit dot products and how many
/// columns must agree.
#[test]
fn sequences_are_those_of_the_weights() {
    let rng = &mut Rng::new(seed());
    for values in Values::WEIGHTS {
        let weights = Weights::<i8>::plain(rng, 200, 16, values);
        let portable = weights.pack(Tier::Portable).sequences().to_string();
        for tier in tiers() {
            let found = weights.pack(tier).sequences().to_string();
            match sections(tier).contains(Section::Dot) {
                // Three steps of 64, and a rest.
                true if tier == Tier::Amx => assert_eq!(found, "dot 100%"),
                true => assert_eq!(found, "dot8 96% dot 4%", "{tier}"),
                false if tier == Tier::Avx2 => assert_eq!(found, portable),
                false => assert!(!found.contains("dot"), "{tier}: {found}"),
            }
        }
    }
}

#[test]
fn a_promise_of_small_activations_allows_longer_sums() {
    let rng = &mut Rng::new(1);
    let mut weights = Weights::<i8>::plain(rng, 512, 32, Values::Uniform);
    let share = |weights: &Weights<i8>, section: Section| {
        let packed = weights.pack(Tier::Portable);
        packed.sequences().shares().filter(|(s, _)| *s == section).map(|(_, share)| share).sum::<f64>()
    };
    assert!(share(&weights, Section::Split) > 0.2, "full-range weights overflow 16 bits");
    weights.activation_max = 127;
    assert_eq!(share(&weights, Section::Split), 0.0, "7-bit activations make every pair safe");
    weights.activation_max = 15;
    assert!(share(&weights, Section::Sum8) > 0.9);
}

/// The same product, whatever the strides of its operands.
#[test]
fn operands_of_any_strides() {
    fn check<A: Activation + QuantElement, B: Weight + QuantElement>(
        rng: &mut Rng,
        (m, n, k): (usize, usize, usize),
        tiers: &[Tier],
        sample: &mut Sample,
    ) {
        for a_order in Order::ALL {
            for b_order in Order::ALL {
                if !sample.keeps() {
                    continue;
                }
                let mut weights = Weights::<B>::plain(rng, k, n, Values::Uniform);
                weights.b = Stored::integers(rng, (k, n), b_order, Values::Uniform, 255);
                weights.zero_points = Params::Tensor(3);
                let a = Stored::<A>::integers(rng, (m, k), a_order, Values::Corners, 255);
                let want = weights.raw(a.view(), Rows::All(1));
                for &tier in tiers {
                    let packed = weights.pack(tier);
                    let gemm = Gemm::builder(&packed, IntOutput::Store).a_zero_point(1).build().unwrap();
                    let mut c = Poisoned::new((m, n), 1);
                    gemm.run(a.view(), &mut c.view()).unwrap();
                    c.assert_holds(&want, || format!("tier {tier}, A {a_order:?}, {}", weights.describe()));
                }
            }
        }
    }
    let (tiers, rng) = (tiers(), &mut Rng::new(seed()));
    let mut sample = Sample::new("orders of operands");
    for shape in [(1, 1, 1), (5, 9, 7), (17, 19, 33), (1, 16, 64), (20, 1, 70), (3, 4, 100), (18, 40, 2)] {
        check::<u8, i8>(rng, shape, &tiers, &mut sample);
        check::<i8, u8>(rng, shape, &tiers, &mut sample);
    }
}

/// Transposed views and ranges of columns are operands like any other.
#[test]
fn views_of_views() {
    let rng = &mut Rng::new(seed());
    let whole = Stored::<u8>::integers(rng, (40, 50), Order::RowMajor, Values::Uniform, 255);
    let a = whole.view().transposed().columns(3, 30).unwrap();
    let weights = Stored::<i8>::integers(rng, (60, 30), Order::RowMajor, Values::Uniform, 255);
    let b = weights.view().transposed().columns(41, 19).unwrap();
    let want = gemmill::reference::raw(a, b, 1, Default::default());
    for tier in tiers() {
        let packed = PackedB::builder(b).tier(tier).build().unwrap();
        let mut c = vec![0; 50 * 19];
        let gemm = Gemm::builder(&packed, IntOutput::Store).build().unwrap();
        gemm.run(a, &mut MatMut::row_major(&mut c, 50, 19).unwrap()).unwrap();
        assert_same_bits(&c, &want, || format!("tier {tier}"));
    }
}

#[test]
fn matrices_without_elements() {
    for tier in tiers() {
        for (m, n, k, groups) in [
            (0, 0, 0, 1),
            (0, 5, 5, 1),
            (5, 0, 5, 1),
            (5, 5, 0, 1),
            (0, 0, 7, 3),
            (4, 0, 7, 3),
            (4, 6, 0, 3),
            (0, 6, 2, 3),
        ] {
            let weights = vec![1i8; k * n];
            let b = MatRef::row_major(&weights, k, n).unwrap();
            let packed = PackedB::builder(b).groups(groups).tier(tier).build().unwrap();
            packed.unpack(&mut MatMut::row_major(&mut vec![0i8; k * n], k, n).unwrap()).unwrap();
            let a = vec![1u8; m * k * groups];
            let gemm = Gemm::builder(&packed, IntOutput::Store).a_zero_point(255).build().unwrap();
            let mut c = Poisoned::new((m, n), 2);
            gemm.run(MatRef::row_major(&a, m, k * groups).unwrap(), &mut c.view()).unwrap();
            c.assert_holds(&vec![k as i32 - 255 * k as i32; m * n], || format!("tier {tier}, {m}×{n}×{k}, {groups}"));
            let reals = vec![1f32; m * k * groups];
            let how = ActivationQuantization::DynamicPerRow;
            let gemm = Gemm::builder(&packed, Dequantize::new(1.0)).a_quantization(how).build().unwrap();
            let mut c = Poisoned::new((m, n), 2);
            gemm.run(MatRef::row_major(&reals, m, k * groups).unwrap(), &mut c.view()).unwrap();
        }
    }
}

#[test]
fn a_plan_can_be_told_for_any_number_of_rows() {
    for (n, k) in [(0, 5), (1, 0), (3, 100), (8, 5), (17, 40), (300, 70)] {
        let weights = vec![100i8; n * k];
        let packed = PackedB::builder(MatRef::row_major(&weights, k, n).unwrap()).kc(16).build().unwrap();
        let gemm = Gemm::<u8, i32>::builder(&packed, IntOutput::Store).build().unwrap();
        let reals = Gemm::<f32, i32>::builder(&packed, IntOutput::Store)
            .a_quantization(ActivationQuantization::Static(QuantParams::new(1.0, 0).unwrap()))
            .build()
            .unwrap();
        for rows in (0..70).chain([1000, 1 << 40]) {
            let plan = gemm.describe(rows).unwrap();
            assert!(!plan.to_string().is_empty());
            assert!(reals.describe(rows).is_ok());
            if n > 0 && rows > 0 {
                assert!(!plan.kernels.is_empty(), "{rows} rows, {n} columns");
            }
        }
    }
}

/// Weights too large for memory, though their view is legal: one element that repeats, or none. An error is given, or
/// next to nothing is packed. Each is packed in a process of its own, because memory that cannot be had ends a process.
#[test]
fn endless_weights() {
    const CHILD: &str = "GEMMILL_TEST_ENDLESS";
    let endless = |k, n| MatRef::with_strides(&[0i8], k, n, 0, 0).unwrap();
    if let Ok(shape) = std::env::var(CHILD) {
        common::guard::limit_memory(1 << 30);
        let (k, n) = shape.split_once('x').unwrap();
        let (k, n) = (k.parse().unwrap(), n.parse().unwrap());
        match PackedB::new(endless(k, n)) {
            Ok(packed) => assert_eq!((packed.k(), packed.n()), (k, n)),
            Err(e) => assert!(matches!(e, Error::Overflow { .. }), "{e}"),
        }
        return;
    }
    let most = usize::MAX;
    let mut failures = Vec::new();
    for (k, n) in [(most, 0), (most, 1), (0, most), (1, most), (most, most), (1 << 33, 1 << 33)] {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", "endless_weights"]).env(CHILD, format!("{k}x{n}")).output().unwrap();
        if !output.status.success() {
            failures.push(format!("{k}×{n}: {} {}", output.status, String::from_utf8_lossy(&output.stderr)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
