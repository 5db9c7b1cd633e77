//! What kernels say that they need, against what a decoder says.

use std::collections::BTreeSet;

use iced_x86::{CpuidFeature, Decoder, DecoderOptions, Mnemonic};

use crate::{HardwareDot, Tier};

/// The features of a kernel's instructions, by the names of Intel's manual.
fn decoded(bytes: &[u8]) -> BTreeSet<String> {
    const BASE: [CpuidFeature; 4] =
        [CpuidFeature::INTEL8086, CpuidFeature::INTEL386, CpuidFeature::X64, CpuidFeature::SSE];
    let mut found = BTreeSet::new();
    for i in Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE).iter() {
        found.extend(i.cpuid_features().iter().filter(|f| !BASE.contains(f)).map(|f| format!("{f:?}")));
        if i.mnemonic() == Mnemonic::Ret {
            return found;
        }
    }
    panic!("no return");
}

/// Nothing that a kernel of any family has is missing from what it says, and what it says is what its tier offers, or a
/// hardware dot product.
#[test]
fn kernels_know_what_they_need() {
    for tier in Tier::ALL.into_iter().filter(|&t| t != Tier::Portable) {
        let (mut of_tier, mut count) = (BTreeSet::new(), 0);
        for (name, code) in super::samples(tier) {
            let code = code.unwrap_or_else(|e| panic!("{name}: {e}"));
            let said: BTreeSet<String> = code.features.names().map(str::to_owned).collect();
            let found = decoded(&code.bytes);
            assert!(found.is_subset(&said), "{name} has {found:?}, and says {said:?}");
            of_tier.extend(said);
            count += 1;
        }
        let dots = HardwareDot::ALL.into_iter().filter(|dot| dot.is_of(tier));
        let offered = dots.fold(tier.features(), |all, dot| all.and(dot.features()));
        let offered: BTreeSet<String> = offered.names().map(str::to_owned).collect();
        assert!(of_tier.is_subset(&offered), "{tier} offers {offered:?}, its kernels need {of_tier:?}");
        // A part of the tiers' definition that no kernel needs.
        let unused: Vec<_> = offered.difference(&of_tier).filter(|f| *f != "AVX512DQ").collect();
        assert!(unused.is_empty(), "{tier} asks for {unused:?}, which no kernel needs");
        eprintln!("{tier}: {count} kernels");
    }
}
