//! x86-64: an assembler, the vector operations that a tier must lower, and the tiers.
//!
//! Start with [`lowering`]: it is all that a kernel builder sees of an instruction set.

// `dynasm!` converts register numbers that already have the right type.
#![allow(clippy::useless_conversion)]

pub(crate) mod asm;
pub(crate) mod avx2;
pub(crate) mod avx512;
pub(crate) mod encode;
pub(crate) mod features;
pub(crate) mod lowering;
pub(crate) mod operand;
pub(crate) mod rows;
pub(crate) mod tiles;
