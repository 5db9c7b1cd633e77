//! Timing: best and median of many short samples.

use std::time::{Duration, Instant};

use anyhow::Result;

/// Seconds that one call takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// The shortest sample.
    pub best: f64,
    /// The median of the samples.
    pub median: f64,
    /// Number of samples.
    pub samples: usize,
}

/// Shortest sample that the clock resolves well: faster calls are timed several at once.
pub const SAMPLE: Duration = Duration::from_micros(20);
/// Samples taken even where one is longer than the whole time allowed.
const MIN_SAMPLES: usize = 3;
/// Samples that are kept at most.
const MAX_SAMPLES: usize = 200_000;

/// Calls `f` for about `seconds` (at least three times, after one call to warm up) and gives the time of one call.
///
/// # Errors
/// The first error of `f`.
pub fn time(seconds: f64, mut f: impl FnMut() -> Result<()>) -> Result<Timing> {
    let calls = calls_per_sample(&mut f)?;
    let mut samples = Vec::new();
    let start = Instant::now();
    while samples.len() < MIN_SAMPLES || (start.elapsed().as_secs_f64() < seconds && samples.len() < MAX_SAMPLES) {
        let sample = Instant::now();
        for _ in 0..calls {
            f()?;
        }
        samples.push(sample.elapsed().as_secs_f64() / f64::from(calls));
    }
    Ok(summarize(samples))
}

fn calls_per_sample(f: &mut impl FnMut() -> Result<()>) -> Result<u32> {
    f()?;
    let mut calls = 1u32;
    loop {
        let start = Instant::now();
        for _ in 0..calls {
            f()?;
        }
        if start.elapsed() >= SAMPLE || calls >= 1 << 20 {
            return Ok(calls);
        }
        calls *= 2;
    }
}

fn summarize(mut samples: Vec<f64>) -> Timing {
    samples.sort_by(f64::total_cmp);
    let best = samples.first().copied().unwrap_or(f64::INFINITY);
    let median = samples.get(samples.len() / 2).copied().unwrap_or(f64::INFINITY);
    Timing { best, median, samples: samples.len() }
}

/// The geometric mean, or `None` of nothing.
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| (values.iter().map(|v| v.ln()).sum::<f64>() / values.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_and_median_of_samples() {
        let t = summarize(vec![3.0, 1.0, 2.0]);
        assert_eq!((t.best, t.median, t.samples), (1.0, 2.0, 3));
    }

    #[test]
    fn slow_calls_are_still_sampled() -> Result<()> {
        let mut calls = 0;
        let t = time(0.0, || {
            calls += 1;
            std::thread::sleep(Duration::from_millis(1));
            Ok(())
        })?;
        assert_eq!(t.samples, MIN_SAMPLES);
        assert!(calls >= MIN_SAMPLES && t.best >= 1e-3);
        Ok(())
    }

    #[test]
    fn geometric_means() {
        assert_eq!(geometric_mean(&[]), None);
        assert!((geometric_mean(&[1.0, 4.0]).unwrap() - 2.0).abs() < 1e-12);
    }
}
