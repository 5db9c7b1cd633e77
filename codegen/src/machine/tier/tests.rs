//! Dispatch on made-up machines: every request, with the tier or the error that it must give.

use super::*;
use crate::machine::features::TILES_PERMITTED;
use crate::machine::features::tests::{AVX, AVX2, AVX512_VNNI, FMA, Machine};

/// What is expected of a machine.
struct Row {
    machine: Machine,
    /// The best tier by name: the first of these that exists.
    best: &'static [&'static str],
    /// By name, what the tiers miss that cannot be had.
    missing: &'static [(&'static str, &'static str)],
}

fn row(machine: Machine, best: &'static [&'static str], missing: &'static [(&'static str, &'static str)]) -> Row {
    Row { machine, best, missing }
}

const YMM: &str = "operating-system support of YMM registers";
const ZMM: &str = "operating-system support of ZMM and mask registers";

#[rustfmt::skip]
fn table() -> Vec<Row> {
    vec![
        row(Machine::sse2(), &["portable"],
            &[("avx2", "AVX"), ("avx2-vnni", "AVX"), ("avx512", "AVX"), ("avx512-vnni", "AVX"), ("amx", "AVX")]),
        row(Machine::haswell(), &["avx2"],
            &[("avx2-vnni", "AVX_VNNI"), ("avx512", "AVX512F"), ("avx512-vnni", "AVX512F"),
              ("amx", "AVX512F")]),
        row(Machine::haswell().without_ymm(), &["portable"],
            &[("avx2", YMM), ("avx2-vnni", "AVX_VNNI"), ("avx512", "AVX512F"), ("avx512-vnni", "AVX512F"),
              ("amx", "AVX512F")]),
        row(Machine::haswell().hiding(FMA, "FMA"), &["portable"],
            &[("avx2", "FMA"), ("avx2-vnni", "FMA"), ("avx512", "FMA"), ("avx512-vnni", "FMA"), ("amx", "FMA")]),
        row(Machine::zen3(), &["avx2"],
            &[("avx2-vnni", "AVX_VNNI"), ("avx512", "AVX512F"), ("avx512-vnni", "AVX512F"),
              ("amx", "AVX512F")]),
        row(Machine::alder_lake(), &["avx2-vnni"],
            &[("avx512", "AVX512F"), ("avx512-vnni", "AVX512F"),
              ("amx", "AVX512F")]),
        row(Machine::alder_lake().without_ymm(), &["portable"],
            &[("avx2", YMM), ("avx2-vnni", YMM), ("avx512", "AVX512F"), ("avx512-vnni", "AVX512F"),
              ("amx", "AVX512F")]),
        row(Machine::alder_lake().hiding(FMA, "FMA"), &["portable"],
            &[("avx2", "FMA"), ("avx2-vnni", "FMA"), ("avx512", "FMA"), ("avx512-vnni", "FMA"), ("amx", "FMA")]),
        row(Machine::skylake_x(), &["avx512"],
            &[("avx2-vnni", "AVX_VNNI"), ("avx512-vnni", "AVX512_VNNI"),
              ("amx", "AVX512_VNNI")]),
        row(Machine::skylake_x().without_zmm(), &["avx2"],
            &[("avx2-vnni", "AVX_VNNI"), ("avx512", ZMM), ("avx512-vnni", "AVX512_VNNI"),
              ("amx", "AVX512_VNNI")]),
        row(Machine::skylake_x().without_ymm(), &["portable"],
            &[("avx2", YMM), ("avx2-vnni", "AVX_VNNI"), ("avx512", YMM), ("avx512-vnni", "AVX512_VNNI"),
              ("amx", "AVX512_VNNI")]),
        row(Machine::ice_lake(), &["avx512-vnni"],
            &[("avx2-vnni", "AVX_VNNI"), ("amx", "AMX_TILE")]),
        row(Machine::ice_lake().without_zmm(), &["avx2"],
            &[("avx2-vnni", "AVX_VNNI"), ("avx512", ZMM), ("avx512-vnni", ZMM), ("amx", "AMX_TILE")]),
        row(Machine::ice_lake().hiding(AVX512_VNNI, "AVX512_VNNI"), &["avx512"],
            &[("avx2-vnni", "AVX_VNNI"), ("avx512-vnni", "AVX512_VNNI"),
              ("amx", "AVX512_VNNI")]),
        row(Machine::ice_lake().hiding(AVX, "AVX"), &["portable"],
            &[("avx2", "AVX"), ("avx2-vnni", "AVX"), ("avx512", "AVX"), ("avx512-vnni", "AVX"), ("amx", "AVX")]),
        row(Machine::ice_lake().hiding(AVX2, "AVX2"), &["portable"],
            &[("avx2", "AVX2"), ("avx2-vnni", "AVX2"), ("avx512", "AVX2"), ("avx512-vnni", "AVX2"), ("amx", "AVX2")]),
        row(Machine::zen4(), &["avx512-vnni"],
            &[("avx2-vnni", "AVX_VNNI"), ("amx", "AMX_TILE")]),
        row(Machine::zen4().without_zmm(), &["avx2"],
            &[("avx2-vnni", "AVX_VNNI"), ("avx512", ZMM), ("avx512-vnni", ZMM), ("amx", "AMX_TILE")]),
        row(Machine::sapphire_rapids(), &["amx", "avx512-vnni"], &[]),
        row(Machine::sapphire_rapids().without_permission(), &["avx512-vnni"],
            &[("amx", TILES_PERMITTED)]),
        row(Machine::sapphire_rapids().without_tiles(), &["avx512-vnni"],
            &[("amx", "operating-system support of tile registers")]),
        row(Machine::sapphire_rapids().without_zmm(), &["avx2-vnni"],
            &[("avx512", ZMM), ("avx512-vnni", ZMM), ("amx", ZMM)]),
        row(Machine::sapphire_rapids().without_ymm(), &["portable"],
            &[("avx2", YMM), ("avx2-vnni", YMM), ("avx512", YMM), ("avx512-vnni", YMM), ("amx", YMM)]),
        row(Machine::sapphire_rapids().hiding(FMA, "FMA"), &["portable"],
            &[("avx2", "FMA"), ("avx2-vnni", "FMA"), ("avx512", "FMA"), ("avx512-vnni", "FMA"), ("amx", "FMA")]),
    ]
}

#[test]
fn every_request_gets_its_tier_or_its_error() {
    for Row { machine, best, missing } in table() {
        let offered = machine.features();
        let best = best.iter().find_map(|name| name.parse().ok());
        assert_eq!(select(offered, None).ok(), best, "{}: the best tier", machine.name);
        for tier in Tier::ALL {
            let missing = missing.iter().find(|(name, _)| *name == tier.name()).map(|&(_, feature)| feature);
            let expected = match missing {
                None => Ok(tier),
                Some(feature) => Err(format!("tier {tier} needs {feature}, which this machine lacks")),
            };
            assert_eq!(select(offered, Some(tier)).map_err(|e| e.to_string()), expected, "{}: {tier}", machine.name);
        }
    }
}

#[test]
fn errors_say_what_is_needed() {
    let error = |machine: Machine, tier| select(machine.features(), Some(tier)).unwrap_err();
    assert_eq!(error(Machine::zen3(), Tier::Avx512).to_string(), "tier avx512 needs AVX512F, which this machine lacks");
    assert_eq!(
        error(Machine::ice_lake().without_zmm(), Tier::Avx512Vnni).to_string(),
        "tier avx512-vnni needs operating-system support of ZMM and mask registers, which this machine lacks"
    );
    let missing = TierError::Missing { tier: Tier::Avx2, feature: "FMA" };
    assert_eq!(error(Machine::zen3().hiding(FMA, "FMA"), Tier::Avx2), missing);
    let unknown = "avx3".parse::<Tier>().unwrap_err().to_string();
    assert!(unknown.starts_with("no tier is named \"avx3\": expected one of portable, avx2, "), "{unknown}");
}

/// A lesser tier never needs what the next one of its kind does without, and what is offered beyond a tier changes
/// nothing.
#[test]
fn more_features_never_make_a_worse_choice() {
    let machines: Vec<Machine> = table().into_iter().map(|row| row.machine).collect();
    for a in &machines {
        for b in machines.iter().filter(|b| b.features().contains(a.features())) {
            assert!(
                select(a.features(), None).unwrap() <= select(b.features(), None).unwrap(),
                "{} against {}",
                a.name,
                b.name
            );
        }
    }
    for tier in Tier::ALL {
        let exactly = tier.features().and(Features::AVX_STATE).and(Features::AVX512_STATE);
        let exactly = exactly.and(Features::AMX_STATE).and(Features::AMX_PERMISSION).and(Features::CODE_PERMISSION);
        assert_eq!(select(exactly, None), Ok(tier), "a machine that has the features of {tier} and no others");
    }
}

/// What this machine runs is what is selected from what it offers.
#[test]
fn this_machine_is_dispatched_alike() {
    for tier in Tier::ALL {
        assert_eq!(tier.require(), select(offered_for(tier.features()), Some(tier)));
        assert_eq!(tier.missing_feature(), tier.features().missing_from(offered_for(tier.features())));
    }
    assert_eq!(Tier::Portable.require(), Ok(Tier::Portable));
}
