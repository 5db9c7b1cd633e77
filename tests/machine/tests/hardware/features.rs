//! What the CPU needs for an opcode.

use iced_x86::{Code, CpuidFeature};

/// Why an opcode cannot be checked here: the first feature that this CPU lacks, or that the test does not use.
pub fn missing(code: Code) -> Option<String> {
    code.cpuid_features().iter().find_map(|&feature| lacks(feature))
}

fn lacks(feature: CpuidFeature) -> Option<String> {
    use CpuidFeature as F;
    macro_rules! unless {
        ($name:tt) => {
            (!std::arch::is_x86_feature_detected!($name)).then(|| format!("this CPU lacks {}", $name))
        };
    }
    match feature {
        F::INTEL8086 | F::INTEL186 | F::INTEL286 | F::INTEL386 | F::INTEL486 | F::X64 | F::CMOV => None,
        F::MULTIBYTENOP | F::SSE | F::SSE2 => None,
        F::AVX => unless!("avx"),
        F::AVX2 => unless!("avx2"),
        F::F16C => unless!("f16c"),
        F::FMA => unless!("fma"),
        F::AVX512F => unless!("avx512f"),
        F::AVX512BW => unless!("avx512bw"),
        F::AVX512DQ => unless!("avx512dq"),
        F::AVX512VL => unless!("avx512vl"),
        F::AVX512_VNNI => unless!("avx512vnni"),
        F::AVX512_BF16 => unless!("avx512bf16"),
        F::AVX_VNNI => unless!("avxvnni"),
        F::AMX_TILE => Some(tiles(24, "AMX-TILE")),
        F::AMX_INT8 => Some(tiles(25, "AMX-INT8")),
        F::AMX_BF16 => Some(tiles(22, "AMX-BF16")),
        other => panic!("{other:?}: not in the table of features"),
    }
}

/// Tile instructions are checked against loops only (`products.rs`): they need the system's leave, and a comparison of
/// tiles that this test does not have. `bit` is that of the feature in EDX of CPUID leaf 7.
fn tiles(bit: u32, name: &str) -> String {
    if std::arch::x86_64::__cpuid_count(7, 0).edx >> bit & 1 == 1 {
        format!("the test does not use {name}, though this CPU has it")
    } else {
        format!("this CPU lacks {name}")
    }
}
