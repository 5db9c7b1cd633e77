//! What kernels say that they need, against what a decoder says.

use std::collections::BTreeSet;

use iced_x86::{CpuidFeature, Decoder, DecoderOptions, Mnemonic};

use crate::desc::{
    AZeroPoint, BZeroPoint, Byte, Clamp, Dequantize, Epilogue, Finish, KernelDesc, Output, Prefetch, Requantize, Start,
    Sweep,
};
use crate::element::FloatType;
use crate::registry::{micro_tiles, multiplies, sections};
use crate::tier::Tier;

/// Kernels of every tile with all sections of the tier, and epilogues that have every kind of instruction between them.
fn kernels(tier: Tier) -> Vec<KernelDesc> {
    let dequantize =
        |to| Output::Dequantize(Dequantize { to, row_scale: true, bias: true, residual: true, clamp: true });
    let requantize = Requantize { to: Byte::U8, float_bias: true, clamp: Clamp::Narrowing };
    let mut outputs = vec![Output::AddI32, Output::Requantize(requantize)];
    outputs.extend(FloatType::ALL.map(dequantize));
    let mut descs = Vec::new();
    for tile in micro_tiles(tier) {
        for activations in [Byte::U8, Byte::I8].into_iter().filter(|&a| multiplies(tier, tile.layout, a)) {
            let panel_cols = tile.layout.columns(tile.vectors) as u8;
            for (output, cols) in outputs.iter().flat_map(|&o| [(o, 1), (o, panel_cols)]) {
                descs.push(KernelDesc {
                    tier,
                    layout: tile.layout,
                    activations,
                    rows: tile.max_rows as u8,
                    vectors: tile.vectors as u8,
                    cols,
                    sections: sections(tier),
                    start: Start::Zero,
                    finish: Finish::Epilogue(Epilogue {
                        a_zero_point: AZeroPoint::PerRow,
                        b_zero_point: BZeroPoint::PerColumn,
                        output,
                    }),
                    sweep: Sweep::Column,
                    prefetch: Prefetch::None,
                });
            }
        }
    }
    descs
}

/// The features of a kernel's instructions, by the names of Intel's manual.
fn decoded(bytes: &[u8]) -> BTreeSet<String> {
    const BASE: [CpuidFeature; 3] = [CpuidFeature::INTEL8086, CpuidFeature::INTEL386, CpuidFeature::X64];
    let mut found = BTreeSet::new();
    for i in Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE).iter() {
        found.extend(i.cpuid_features().iter().filter(|f| !BASE.contains(f)).map(|f| format!("{f:?}")));
        if i.mnemonic() == Mnemonic::Ret {
            return found;
        }
    }
    panic!("no return");
}

/// Nothing that a kernel has is missing from what it says, and what it says is what its tier offers.
#[test]
fn kernels_know_what_they_need() {
    for tier in Tier::ALL.into_iter().filter(|&t| t != Tier::Portable) {
        let mut of_tier = BTreeSet::new();
        for desc in kernels(tier) {
            let code = crate::frame::generate(desc).unwrap();
            let said: BTreeSet<String> = code.features.names().map(str::to_owned).collect();
            let found = decoded(&code.bytes);
            assert!(found.is_subset(&said), "{desc} has {found:?}, and says {said:?}");
            of_tier.extend(said);
        }
        let offered: BTreeSet<String> = tier.features().names().map(str::to_owned).collect();
        assert!(of_tier.is_subset(&offered), "{tier} offers {offered:?}, its kernels need {of_tier:?}");
        // Part of the tiers' definition, for other families.
        let others = ["AVX512DQ"];
        let unused: Vec<_> = offered.difference(&of_tier).filter(|f| !others.contains(&f.as_str())).collect();
        assert!(unused.is_empty(), "{tier} asks for {unused:?}, which no kernel needs");
    }
}
