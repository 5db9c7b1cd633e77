//! How long a token takes, and how fast one core reads memory.

use std::hint::black_box;
use std::time::{Duration, Instant};

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

/// Bytes a second that one core reads from a buffer of so many bytes, again and again.
pub fn read_bandwidth(bytes: usize) -> f64 {
    let buffer: Vec<u64> = (0..bytes as u64 / 8).collect();
    let mut best = f64::INFINITY;
    let start = Instant::now();
    while start.elapsed() < TIME / 2 {
        let run = Instant::now();
        black_box(sum(black_box(&buffer)));
        best = best.min(run.elapsed().as_secs_f64());
    }
    bytes as f64 / best
}

/// Wrapping sum in independent lanes, so that loads and not additions are the limit.
fn sum(data: &[u64]) -> u64 {
    gemmill_codegen::vectorize(|| {
        let mut lanes = [0u64; 32];
        for chunk in data.as_chunks::<32>().0 {
            lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane = lane.wrapping_add(*x));
        }
        lanes.into_iter().fold(0, u64::wrapping_add)
    })
}
