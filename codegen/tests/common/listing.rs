//! A kernel's machine code, decoded.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, Mnemonic};

/// Instructions up to the return; the first has address 0.
pub struct Listing {
    pub name: String,
    pub code: Vec<Instruction>,
    /// Bytes of code and constants together.
    pub bytes: usize,
}

impl Listing {
    /// Decodes up to the first return. Panics at what is no instruction.
    pub fn new(name: String, bytes: &[u8]) -> Listing {
        let mut code = Vec::new();
        for instruction in Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE).iter() {
            assert!(!instruction.is_invalid(), "{name}: no instruction at {:#x}", instruction.ip());
            code.push(instruction);
            if instruction.mnemonic() == Mnemonic::Ret {
                return Listing { name, code, bytes: bytes.len() };
            }
        }
        panic!("{name}: no return");
    }

    /// Bytes up to and with the return.
    pub fn code_bytes(&self) -> usize {
        self.code.last().map_or(0, |i| i.next_ip() as usize)
    }

    /// Instruction indices of the innermost loops but for the one over blocks, which is innermost in a kernel without
    /// sections.
    pub fn main_loops(&self) -> Vec<Range<usize>> {
        let index = |ip: u64| self.code.binary_search_by_key(&ip, |i| i.ip()).expect("a branch to an instruction");
        let backward = |(at, i): (usize, &Instruction)| {
            let jumps = i.is_jcc_short_or_near() && i.near_branch_target() <= i.ip();
            jumps.then(|| index(i.near_branch_target())..at + 1)
        };
        let loops: Vec<Range<usize>> = self.code.iter().enumerate().filter_map(backward).collect();
        let is_innermost = |r: &Range<usize>| !loops.iter().any(|l| l != r && r.start <= l.start && l.end <= r.end);
        // The loop over blocks counts in memory, the ones over groups in a register.
        let counts_in_memory = |r: &Range<usize>| self.code[r.end - 2].memory_base() != iced_x86::Register::None;
        loops.iter().filter(|r| is_innermost(r) && !counts_in_memory(r)).cloned().collect()
    }

    /// The kernel's name and an instruction, for messages.
    pub fn line(&self, instruction: &Instruction) -> String {
        let mut text = String::new();
        IntelFormatter::new().format(instruction, &mut text);
        format!("{}: {:#x} {text}", self.name, instruction.ip())
    }
}
