//! Peak loops, decoded: each iteration has the instructions that its figure of multiply-accumulates stands for.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, Register};

use super::*;

/// Every sequence of every tier, also of those that this CPU lacks.
fn all() -> impl Iterator<Item = (Tier, Sequence)> {
    let of_tier = |tier| Sequence::of(tier).iter().chain(Sequence::of_floats(tier)).map(move |&s| (tier, s));
    Tier::ALL.into_iter().flat_map(of_tier)
}

/// Instructions up to the return.
fn decode(tier: Tier, sequence: Sequence) -> Vec<Instruction> {
    let bytes = crate::frame::lower(tier, tier.facts().lanes, sequence).unwrap().bytes;
    let mut decoder = Decoder::with_ip(64, &bytes, 0, DecoderOptions::NONE);
    let mut code: Vec<Instruction> = Vec::new();
    while code.last().is_none_or(|i| i.mnemonic() != Mnemonic::Ret) {
        code.push(decoder.decode());
        assert!(!code[code.len() - 1].is_invalid());
    }
    code
}

/// The instructions of the one loop.
fn body(code: &[Instruction], name: &str) -> Vec<Instruction> {
    let jumps: Vec<usize> = (0..code.len()).filter(|&at| code[at].is_jcc_short_or_near()).collect();
    let [jump] = jumps[..] else { panic!("{name}: one loop") };
    let start = code.iter().position(|i| i.ip() == code[jump].near_branch_target()).unwrap();
    code[start..=jump].to_vec()
}

#[test]
fn iterations_do_the_multiplications_they_claim() {
    for (tier, sequence) in all() {
        let name = format!("{tier} {sequence:?}");
        let code = decode(tier, sequence);
        let body = body(&code, &name);
        let count = |m: Mnemonic| body.iter().filter(|i| i.mnemonic() == m).count() as u64;
        let vector_bytes = body[0].op0_register().size() as u64;
        assert_eq!(
            vector_bytes,
            if sequence.has_tiles() {
                1024
            } else if tier.facts().lanes == 16 {
                64
            } else {
                32
            }
        );

        // An instruction on pairs multiplies a vector of bytes, or half as many words.
        let macs = macs_per_iteration(tier, sequence);
        let chains = ACCUMULATORS as u64;
        let (bytes, words, sums) = (count(Mnemonic::Vpmaddubsw), count(Mnemonic::Vpmaddwd), count(Mnemonic::Vpaddw));
        let (dots, tiles) = (count(Mnemonic::Vpdpbusd), count(Mnemonic::Tdpbusd));
        let sums_of_floats = count(Mnemonic::Vfmadd231ps);
        let (pairs, tiles_of_pairs) = (count(Mnemonic::Vdpbf16ps), count(Mnemonic::Tdpbf16ps));
        match sequence {
            Sequence::Dot => assert_eq!((dots * vector_bytes, bytes, words, tiles), (macs, 0, 0, 0), "{name}"),
            Sequence::Tiles => assert_eq!((tiles * 16 * 1024, bytes, words, dots), (macs, 0, 0, 0), "{name}"),
            Sequence::Fma => assert_eq!((sums_of_floats * vector_bytes / 4, bytes, words), (macs, 0, 0), "{name}"),
            Sequence::DotBf16 => assert_eq!((pairs * vector_bytes / 2, sums_of_floats), (macs, 0), "{name}"),
            Sequence::TilesBf16 => assert_eq!((tiles_of_pairs * 16 * 512, tiles), (macs, 0), "{name}"),
            Sequence::Wide => {
                assert_eq!((bytes, words * vector_bytes / 2, sums), (0, macs, 0), "{name}");
                assert_eq!(count(Mnemonic::Vpaddd), 2 * chains);
            }
            _ => {
                let steps = sequence.steps() as u64;
                assert_eq!((bytes * vector_bytes, words, sums), (macs, chains, chains * (steps - 1)), "{name}");
                assert_eq!(count(Mnemonic::Vpaddd), chains);
            }
        }
        // Nothing else but the counter and the jump.
        let floats = sums_of_floats + pairs + tiles_of_pairs;
        let arithmetic = bytes + words + sums + dots + tiles + floats + count(Mnemonic::Vpaddd);
        assert_eq!(body.len() as u64, arithmetic + 2, "{name}");
        assert!(body.iter().all(|i| i.memory_base() == Register::None), "{name}: registers only");
        assert_eq!(code[code.len() - 2].mnemonic(), Mnemonic::Vzeroupper);
        let releases = code.iter().filter(|i| i.mnemonic() == Mnemonic::Tilerelease).count();
        assert_eq!(releases, usize::from(sequence.has_tiles()), "{name}: tiles are given up");
    }
}

#[test]
fn chains_do_not_depend_on_each_other() {
    use Mnemonic::{Tdpbf16ps, Tdpbusd, Vdpbf16ps, Vfmadd231ps, Vpaddd, Vpdpbusd};
    for (tier, sequence) in all() {
        let code = decode(tier, sequence);
        let is_sum = |m| matches!(m, Vpaddd | Vpdpbusd | Tdpbusd | Vfmadd231ps | Vdpbf16ps | Tdpbf16ps);
        let sums = code.iter().filter(|i| is_sum(i.mnemonic()));
        let accumulators: std::collections::HashSet<_> = sums.map(|i| i.op0_register()).collect();
        let expected = match sequence {
            // One more register holds the sum of the two products.
            Sequence::Wide => ACCUMULATORS + 1,
            Sequence::Tiles | Sequence::TilesBf16 => TILE_ACCUMULATORS,
            Sequence::Dot | Sequence::Fma | Sequence::DotBf16 => DOT_ACCUMULATORS,
            _ => ACCUMULATORS,
        };
        assert_eq!(accumulators.len(), expected, "{tier} {sequence:?}");
    }
}

#[test]
fn other_sequences_are_refused() {
    assert!(PeakLoop::new(Tier::Portable, Sequence::Narrow).is_err());
    if Tier::Avx2.missing_feature().is_none() {
        assert!(matches!(PeakLoop::new(Tier::Avx2, Sequence::Dot), Err(CodegenError::Unsupported(_))));
    }
}
