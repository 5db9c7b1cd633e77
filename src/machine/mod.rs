//! What a machine gives: memory on cache lines of its own, threads, and what was measured of its cores.

pub(crate) mod memory;
pub(crate) mod pool;
pub(crate) mod threads;
pub(crate) mod tuning;
