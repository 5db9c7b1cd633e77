//! Counts of executed instructions.

use std::sync::Arc;

use iced_x86::Mnemonic;

/// How often each instruction was executed, by mnemonic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statistics {
    mnemonics: Arc<[Mnemonic]>,
    counts: Box<[u64]>,
}

impl Statistics {
    /// Counts of the mnemonics in the same place.
    pub(crate) fn new(mnemonics: Arc<[Mnemonic]>, counts: Box<[u64]>) -> Statistics {
        Statistics { mnemonics, counts }
    }

    /// How often one instruction was executed.
    pub fn count(&self, mnemonic: Mnemonic) -> u64 {
        self.iter().find(|&(m, _)| m == mnemonic).map_or(0, |(_, count)| count)
    }

    /// Instructions executed.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The mnemonics of the program, each once, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Mnemonic, u64)> + '_ {
        self.mnemonics.iter().copied().zip(self.counts.iter().copied())
    }
}
