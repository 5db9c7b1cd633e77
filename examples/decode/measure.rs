//! How long a token takes, and how fast one core reads memory.

use std::hint::black_box;
use std::time::{Duration, Instant};

use gemmill_codegen::Tier;
use gemmill_codegen::peak::ReadBuffer;

/// Fewest and longest: whatever is more.
const LEAST_RUNS: usize = 5;
const TIME: Duration = Duration::from_secs(1);

/// Seconds of the shortest of many runs, after one to warm up.
pub fn best_of<T>(mut f: impl FnMut() -> gemmill::Result<T>) -> gemmill::Result<f64> {
    f()?;
    let start = Instant::now();
    let (mut best, mut runs) = (f64::INFINITY, 0);
    while runs < LEAST_RUNS || start.elapsed() < TIME {
        let run = Instant::now();
        black_box(f()?);
        best = best.min(run.elapsed().as_secs_f64());
        runs += 1;
    }
    Ok(best)
}

/// Bytes a second that one core reads from a buffer of so many bytes, again and again, by the fastest of loops that
/// only load.
pub fn read_bandwidth(bytes: usize, tier: Tier) -> f64 {
    ReadBuffer::new(bytes).bytes_per_second(tier, TIME.as_secs_f64() / 2.0)
}
