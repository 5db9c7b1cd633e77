//! The emulated machine: a model of the instructions that gemmill's code generator emits.
//!
//! Kernels of tiers that this CPU lacks are tested on it, and for kernels that the CPU has it is a second oracle.
//! Machine code is decoded once, into a [`Program`], and carried out on a [`State`]: registers of its own, but the
//! memory of this process. The semantics are those of the pseudo-code in Intel's Software Developer's Manual (SDM),
//! with the SSE control register in its default state: rounding to nearest even, denormals kept, exceptions masked.
//!
//! ```text
//! bytes ─→ decode (reachable instructions) ─→ Program ─→ run: scalar | opmask | amx
//!                                                         │   | vector ─→ integer, float, half, bf16, shuffle
//!                                                         └─→ State, memory of the process
//! ```
//!
//! It is stricter than a CPU. What a kernel must not do is a [`Fault`], even where a CPU would carry on: an instruction
//! outside the model, a flag read while undefined, a return without `vzeroupper` or `tilerelease`.

mod address;
mod amx;
mod bf16;
mod decode;
mod fault;
mod float;
mod half;
mod integer;
mod opmask;
mod run;
mod scalar;
mod shuffle;
mod stand_in;
mod state;
mod statistics;
mod vector;

pub use decode::Program;
pub use fault::{Fault, Reason};
pub use run::{DEFAULT_LIMIT, call};
pub use stand_in::{EXPECTED, Exercised, Lacking, VARIABLE, stand_in_for};
pub use state::{Flags, State, TileConfiguration, Tiles, Vector};
pub use statistics::Statistics;
