//! What the CPU needs for an opcode.

use iced_x86::{Code, CpuidFeature};

/// The first feature of an opcode that this CPU lacks.
pub fn missing(code: Code) -> Option<&'static str> {
    code.cpuid_features().iter().find_map(|&feature| lacks(feature))
}

fn lacks(feature: CpuidFeature) -> Option<&'static str> {
    use CpuidFeature as F;
    macro_rules! unless {
        ($name:tt) => {
            (!std::arch::is_x86_feature_detected!($name)).then_some($name)
        };
    }
    match feature {
        F::INTEL8086 | F::INTEL186 | F::INTEL286 | F::INTEL386 | F::INTEL486 | F::X64 | F::CMOV => None,
        F::MULTIBYTENOP | F::SSE | F::SSE2 => None,
        F::AVX => unless!("avx"),
        F::AVX2 => unless!("avx2"),
        F::FMA => unless!("fma"),
        F::AVX512F => unless!("avx512f"),
        F::AVX512BW => unless!("avx512bw"),
        F::AVX512DQ => unless!("avx512dq"),
        F::AVX512VL => unless!("avx512vl"),
        F::AVX512_VNNI => unless!("avx512vnni"),
        // Bit 4 of EAX in leaf 7, subleaf 1; detection by name is younger than the instructions.
        F::AVX_VNNI => unless!("avxvnni"),
        // The kernel has to be asked for tile data before they can be executed.
        F::AMX_TILE => Some("AMX-TILE (not asked for)"),
        F::AMX_INT8 => Some("AMX-INT8 (not asked for)"),
        F::AMX_BF16 => Some("AMX-BF16 (not asked for)"),
        other => panic!("{other:?}: not in the table of features"),
    }
}
