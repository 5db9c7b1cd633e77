//! Generated code as an independent decoder reads it: which instructions, which registers, which addresses.

#![cfg(target_arch = "x86_64")]

mod common;
#[path = "common/listing.rs"]
mod listing;

use common::{Rng, epilogues, machine_tiers, section_sets, share_of, tiles, vary};
use gemmill_codegen::*;
use iced_x86::{Code, CpuidFeature, EncodingKind, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, Register};
use listing::Listing;

/// Every tile with every number of columns; for each of them some epilogues, sections and starts, all of which occur.
/// Fewer where sums are in tiles: there are many of these, and their epilogues are those of vectors.
fn sweep(tier: Tier) -> Vec<KernelDesc> {
    let mut rng = Rng(11);
    let mut finishes: Vec<Finish> = epilogues().into_iter().map(Finish::Epilogue).collect();
    finishes.push(Finish::Scratch);
    let sets = section_sets(tier);
    let mut descs = Vec::new();
    for tile in tiles(tier) {
        let by_columns = if tile.layout == Layout::Tiles { 2 } else { 12 };
        let kernels = by_columns * usize::from(tile.panel_cols());
        let kept = share_of(kernels);
        for at in (0..kept).map(|i| i * kernels / kept) {
            let desc = KernelDesc {
                cols: 1 + (at / by_columns) as u8,
                start: rng.pick(&[Start::Zero, Start::Scratch]),
                finish: finishes[descs.len() % finishes.len()],
                ..tile.desc(tier, sets[descs.len() % sets.len()])
            };
            descs.push(vary(desc, &mut rng));
        }
    }
    descs
}

/// Calls `check` with each kernel of the sweep, decoded.
fn each_kernel(test: &str, check: impl Fn(&KernelDesc, &Listing)) {
    for desc in machine_tiers(test).into_iter().flat_map(sweep) {
        let kernel = Kernel::generate(&desc).unwrap();
        check(&desc, &Listing::new(desc.to_string(), kernel.bytes()));
    }
}

/// What a tier's kernels may use besides the base instructions.
fn features(tier: Tier) -> Vec<CpuidFeature> {
    use CpuidFeature::*;
    let mut features = vec![AVX, AVX2, FMA, F16C];
    if matches!(tier, Tier::Avx512 | Tier::Avx512Vnni | Tier::Amx) {
        features.extend([AVX512F, AVX512BW, AVX512DQ, AVX512VL]);
    }
    features.extend(match tier {
        Tier::Avx2Vnni => &[AVX_VNNI][..],
        Tier::Avx512Vnni => &[AVX512_VNNI],
        Tier::Amx => &[AVX512_VNNI, AMX_TILE, AMX_INT8],
        _ => &[],
    });
    features
}

#[test]
fn every_instruction_is_one_of_the_tier() {
    const BASE: [CpuidFeature; 3] = [CpuidFeature::INTEL8086, CpuidFeature::INTEL386, CpuidFeature::X64];
    each_kernel("every_instruction_is_one_of_the_tier", |desc, listing| {
        let of_tier = features(desc.tier);
        for i in &listing.code {
            for feature in i.cpuid_features() {
                let is_prefetch = matches!(i.mnemonic(), Mnemonic::Prefetcht0 | Mnemonic::Prefetcht1);
                let known = BASE.contains(feature) || of_tier.contains(feature) || is_prefetch;
                assert!(known, "{}: {feature:?} is not of the tier", listing.line(i));
            }
            // Legacy SSE instructions among AVX ones are slow, and leave the upper halves alone.
            let vector = (0..i.op_count()).any(|op| i.op_register(op).is_vector_register());
            let is_avx = matches!(i.encoding(), EncodingKind::VEX | EncodingKind::EVEX);
            assert!(!vector || is_avx, "{}: no VEX or EVEX prefix", listing.line(i));
        }
    });
}

/// Kernels with hardware dot products have those they ask for; other kernels of floating-point numbers have none.
#[test]
fn hardware_dots_are_in_kernels_that_ask_for_them() {
    const TEST: &str = "hardware_dots_are_in_kernels_that_ask_for_them";
    let chain = FloatKernelDesc {
        tier: Tier::Amx,
        products: FloatProducts::Chain,
        weights: FloatType::Bf16.into(),
        expansion: Expansion::Kept,
        a: FloatRows::Strided,
        sweep: Sweep::Column,
        rows: 14,
        vectors: 2,
        cols: 31,
        start: FloatStart::Beta,
        finish: FloatFinish::Epilogue(FloatEpilogue { bias: true, residual: true, function: FloatFunction::Gelu }),
        c: FloatType::Bf16,
        prefetch: FloatPrefetch::None,
    };
    let is_dot = |feature: &CpuidFeature| matches!(feature, CpuidFeature::AVX512_BF16 | CpuidFeature::AMX_BF16);
    for tier in machine_tiers(TEST) {
        let found = |desc: FloatKernelDesc| {
            let kernel = Kernel::generate(&FloatKernelDesc { tier, ..desc }).unwrap();
            let listing = Listing::new(desc.to_string(), kernel.bytes());
            let mut features: Vec<CpuidFeature> =
                listing.code.iter().flat_map(|i| i.cpuid_features()).copied().collect();
            features.sort();
            features.dedup();
            features
        };
        let rows = if float_lanes(tier) == 8 { 6 } else { 14 };
        let cols = (2 * float_lanes(tier)) as u8;
        assert!(!found(FloatKernelDesc { rows, cols, ..chain }).iter().any(is_dot), "{tier}");
        for dot in HardwareDot::ALL.into_iter().filter(|dot| dot.require(tier).is_ok()) {
            let wanted = match dot {
                HardwareDot::Avx512Bf16 => CpuidFeature::AVX512_BF16,
                HardwareDot::AmxBf16 => CpuidFeature::AMX_BF16,
            };
            let dots = FloatKernelDesc { products: FloatProducts::Dot(dot), ..chain };
            let found: Vec<CpuidFeature> = found(dots).into_iter().filter(is_dot).collect();
            assert_eq!(found, [wanted], "{dot} on {tier}");
        }
    }
}

#[test]
fn branches_stay_inside_and_on_instructions() {
    each_kernel("branches_stay_inside_and_on_instructions", |_, listing| {
        for i in listing.code.iter().filter(|i| i.is_jcc_short_or_near() || i.is_jmp_short_or_near()) {
            let target = i.near_branch_target();
            assert!(listing.code.iter().any(|t| t.ip() == target), "{}: not an instruction", listing.line(i));
        }
        let other = |i: &&Instruction| i.is_call_near() || i.is_call_near_indirect() || i.is_jmp_near_indirect();
        assert!(!listing.code.iter().any(|i| other(&i)), "{}: a call", listing.name);
    });
}

#[test]
fn constants_stand_behind_the_code() {
    each_kernel("constants_stand_behind_the_code", |_, listing| {
        for i in listing.code.iter().filter(|i| i.is_ip_rel_memory_operand()) {
            let place = i.ip_rel_memory_address() as usize;
            // The address of the shuffle masks: two of 32 bytes.
            let size = if i.mnemonic() == Mnemonic::Lea { 2 * SHUFFLE_BYTES } else { i.memory_size().size() };
            assert!(place >= listing.code_bytes(), "{}: inside the code", listing.line(i));
            assert!(place + size <= listing.bytes, "{}: past the end", listing.line(i));
            // None of them crosses a cache line.
            assert!(place.is_multiple_of(size.min(64)), "{}: not aligned", listing.line(i));
        }
    });
}

#[test]
fn registers_and_stack_are_handed_back() {
    const SAVED: [Register; 6] =
        [Register::RBX, Register::RBP, Register::R12, Register::R13, Register::R14, Register::R15];
    let is_saved = |r: Register| SAVED.contains(&r.full_register());
    each_kernel("registers_and_stack_are_handed_back", |_, listing| {
        let name = &listing.name;
        let pushed: Vec<Register> =
            listing.code.iter().take_while(|i| i.mnemonic() == Mnemonic::Push).map(|i| i.op0_register()).collect();
        let (body, end) = listing.code[pushed.len()..].split_at(listing.code.len() - 2 * pushed.len() - 2);
        let popped: Vec<Register> = end[1..].iter().take(pushed.len()).map(|i| i.op0_register()).collect();
        assert!(end[1..=pushed.len()].iter().all(|i| i.mnemonic() == Mnemonic::Pop), "{name}: pops at the end");
        assert!(popped.iter().rev().eq(&pushed), "{name}: pops {popped:?} undo pushes {pushed:?}");
        assert!(pushed.iter().all(|&r| is_saved(r)), "{name}: {pushed:?} pushed");
        assert_eq!(end[0].mnemonic(), Mnemonic::Vzeroupper, "{name}: upper halves are zero at the end");
        assert_eq!(end[pushed.len() + 1].code(), Code::Retnq, "{name}");

        let mut info = InstructionInfoFactory::new();
        for i in body {
            assert_eq!(i.stack_pointer_increment(), 0, "{}: moves the stack", listing.line(i));
            for used in info.info(i).used_registers() {
                let register = used.register().full_register();
                let written = !matches!(used.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess);
                let mine = register != Register::RSP && (!is_saved(register) || pushed.contains(&register));
                assert!(!written || mine, "{}: {register:?} is the caller's", listing.line(i));
            }
        }
        // A jump into the pushes or past the pops would break the pairing.
        for i in listing.code.iter().filter(|i| i.is_jcc_short_or_near()) {
            let target = i.near_branch_target();
            assert!((body[0].ip()..=end[0].ip()).contains(&target), "{}: leaves the body", listing.line(i));
        }
    });
}

#[test]
fn generation_is_deterministic() {
    for desc in machine_tiers("generation_is_deterministic").into_iter().flat_map(sweep) {
        let [first, second] = [(); 2].map(|()| Kernel::generate(&desc).unwrap());
        assert_eq!(first.bytes(), second.bytes(), "{desc}");
    }
}
