//! Peak loops, decoded: each iteration has the instructions that its figure of multiply-accumulates stands for.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic};

use super::*;

/// Instructions up to the return.
fn decode(sequence: Sequence) -> Vec<Instruction> {
    let bytes = generate(sequence).unwrap().bytes;
    let mut decoder = Decoder::with_ip(64, &bytes, 0, DecoderOptions::NONE);
    let mut code: Vec<Instruction> = Vec::new();
    while code.last().is_none_or(|i| i.mnemonic() != Mnemonic::Ret) {
        code.push(decoder.decode());
        assert!(!code[code.len() - 1].is_invalid());
    }
    code
}

#[test]
fn iterations_do_the_multiplications_they_claim() {
    for sequence in Sequence::ALL {
        let code = decode(sequence);
        let jumps: Vec<usize> = (0..code.len()).filter(|&at| code[at].is_jcc_short_or_near()).collect();
        let [jump] = jumps[..] else { panic!("{sequence:?}: one loop") };
        let start = code.iter().position(|i| i.ip() == code[jump].near_branch_target()).unwrap();
        let body = &code[start..=jump];
        let count = |m: Mnemonic| body.iter().filter(|i| i.mnemonic() == m).count() as u64;

        // An instruction multiplies 32 bytes, or 16 words.
        let macs = sequence.macs_per_iteration();
        let chains = ACCUMULATORS as u64;
        let (bytes, words, sums) = (count(Mnemonic::Vpmaddubsw), count(Mnemonic::Vpmaddwd), count(Mnemonic::Vpaddw));
        if sequence == Sequence::Wide {
            assert_eq!((bytes, words * 16, sums), (0, macs, 0), "{sequence:?}");
            assert_eq!(count(Mnemonic::Vpaddd), 2 * chains);
        } else {
            let steps = sequence.steps() as u64;
            assert_eq!((bytes * 32, words, sums), (macs, chains, chains * (steps - 1)), "{sequence:?}");
            assert_eq!(count(Mnemonic::Vpaddd), chains);
        }
        // Nothing else but the counter and the jump.
        let vector = bytes + words + sums + count(Mnemonic::Vpaddd);
        assert_eq!(body.len() as u64, vector + 2, "{sequence:?}");
        assert!(body.iter().all(|i| i.memory_base() == iced_x86::Register::None), "{sequence:?}: registers only");
        assert_eq!(code[code.len() - 2].mnemonic(), Mnemonic::Vzeroupper);
    }
}

#[test]
fn chains_do_not_depend_on_each_other() {
    for sequence in Sequence::ALL {
        let code = decode(sequence);
        let accumulators: std::collections::HashSet<_> =
            code.iter().filter(|i| i.mnemonic() == Mnemonic::Vpaddd).map(|i| i.op0_register()).collect();
        // In the wide sequence one more register holds the sum of the two products.
        let sums = usize::from(sequence == Sequence::Wide);
        assert_eq!(accumulators.len(), ACCUMULATORS + sums, "{sequence:?}");
    }
}
