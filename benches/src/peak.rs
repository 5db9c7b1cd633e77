//! The machine's limits: what the instruction sequences reach without memory, and what one core reads per second.

use std::time::Instant;

use anyhow::Result;
use clap::Args;
use gemmill_codegen::peak::{PeakLoop, ReadBuffer, Sequence};
use gemmill_codegen::{Caches, Tier};
use serde::Serialize;

use crate::args::{self, Format};
use crate::measure;
use crate::op::Arithmetic;
use crate::output::say;

/// Buffer sizes that reading is measured over, bytes.
const BUFFERS: [usize; 6] = [16 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 128 << 20];

/// Seconds that [`TierPeak::sustained`] takes, about.
const SUSTAINED: f64 = 0.3;

/// Measures the machine's limits.
#[derive(Debug, Args)]
pub struct PeakArgs {
    /// Seconds for each figure
    #[arg(long, default_value_t = 0.2, value_parser = crate::gemm::parse_seconds)]
    seconds: f64,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// The peak of a tier's sequence on one core: what every `peak_ratio` refers to.
pub struct TierPeak {
    sequence: Option<PeakLoop>,
    best: Option<f64>,
}

/// The sequence that products of a tier are measured by, and the tier that runs it: AVX2's for plain Rust.
pub fn measure_of(tier: Tier, arithmetic: Arithmetic) -> (Tier, Sequence) {
    let tier = if tier == Tier::Portable { Tier::Avx2 } else { tier };
    let sequence = match arithmetic {
        Arithmetic::Integer => Sequence::of(tier).first().copied().unwrap_or(Sequence::Narrow),
        Arithmetic::Float => Sequence::Fma,
        Arithmetic::Dot(dot) => Sequence::of_dot(dot),
    };
    (tier, sequence)
}

impl TierPeak {
    /// A first measurement. On a CPU that cannot run the sequence there is no peak.
    pub fn new(tier: Tier, arithmetic: Arithmetic) -> Result<TierPeak> {
        let (tier, sequence) = measure_of(tier, arithmetic);
        let mut peak = TierPeak { sequence: PeakLoop::new(tier, sequence).ok(), best: None };
        peak.measure(0.15)?;
        Ok(peak)
    }

    /// Measures again, and gives the best of all measurements so far in GMAC/s.
    ///
    /// Measured before each shape, so that the peak is taken under the same clock and load as the product.
    pub fn refresh(&mut self) -> Result<Option<f64>> {
        self.measure(0.02)?;
        Ok(self.best)
    }

    /// The best of `samples` runs of the sequence that take `seconds` each, GMAC/s: what the core sustains for so long,
    /// with all that interrupts it. At most [`SUSTAINED`] seconds of them, but for the first.
    pub fn sustained(&self, seconds: f64, samples: usize) -> Result<Option<f64>> {
        let (Some(sequence), Some(best)) = (&self.sequence, self.best) else { return Ok(None) };
        let macs = sequence.macs_per_iteration() as f64;
        let iterations = (seconds * best * 1e9 / macs).max(1.0);
        let mut shortest = f64::INFINITY;
        let start = Instant::now();
        for _ in 0..samples.max(1) {
            let sample = Instant::now();
            sequence.run(iterations as u64);
            shortest = shortest.min(sample.elapsed().as_secs_f64());
            if start.elapsed().as_secs_f64() > SUSTAINED {
                break;
            }
        }
        Ok(Some(iterations.floor() * macs / shortest / 1e9))
    }

    fn measure(&mut self, seconds: f64) -> Result<()> {
        if let Some(sequence) = &self.sequence {
            let now = sequence_gmacs(sequence, seconds)?;
            self.best = Some(self.best.map_or(now, |best| best.max(now)));
        }
        Ok(())
    }
}

fn sequence_gmacs(peak: &PeakLoop, seconds: f64) -> Result<f64> {
    const ITERATIONS: u64 = 20_000;
    let timing = measure::time(seconds, || {
        peak.run(ITERATIONS);
        Ok(())
    })?;
    Ok(ITERATIONS as f64 * peak.macs_per_iteration() as f64 / timing.best / 1e9)
}

/// Name and GMAC/s of every sequence of some tiers that this CPU runs.
pub fn sequences(tiers: &[Tier], seconds: f64) -> Result<Vec<(String, f64)>> {
    let of_tier = |tier| Sequence::of(tier).iter().chain(Sequence::of_floats(tier)).map(move |&s| (tier, s));
    let mut all = Vec::new();
    for (tier, sequence) in tiers.iter().flat_map(|&tier| of_tier(tier)) {
        if let Ok(peak) = PeakLoop::new(tier, sequence) {
            all.push((format!("{tier} {}", sequence.name()), sequence_gmacs(&peak, seconds)?));
        }
    }
    Ok(all)
}

/// GB/s of one core that reads a buffer of `bytes` again and again, in the pattern that is fastest with a tier's
/// vectors.
pub fn read_bandwidth(tier: Tier, bytes: usize, seconds: f64) -> f64 {
    ReadBuffer::new(bytes).bytes_per_second(tier, seconds) / 1e9
}

/// Bandwidths of the second-level cache and of memory, GB/s.
pub fn l2_and_memory(tier: Tier, seconds: f64) -> (f64, f64) {
    let caches = Caches::of_this_cpu();
    (read_bandwidth(tier, caches.l2 / 2, seconds), read_bandwidth(tier, 128 << 20, seconds))
}

/// A size in binary units.
pub fn size_name(bytes: usize) -> String {
    match bytes {
        b if b >= 1 << 20 => format!("{} MiB", b >> 20),
        b => format!("{} KiB", b >> 10),
    }
}

#[derive(Debug, Serialize)]
struct Limits {
    cpu: String,
    sequences_gmacs: Vec<(String, f64)>,
    read_gbs: Vec<(usize, f64)>,
}

/// The subcommand.
pub fn run(args: &PeakArgs) -> Result<()> {
    let bar = crate::progress(BUFFERS.len() as u64 + 1, "limits");
    let sequences_gmacs = sequences(&Tier::ALL, args.seconds)?;
    bar.inc(1);
    let mut read_gbs = Vec::new();
    let tier = args::tier_or_best(None)?;
    for bytes in BUFFERS {
        read_gbs.push((bytes, read_bandwidth(tier, bytes, args.seconds)));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let limits = Limits { cpu: gemmill_codegen::cpu_name(), sequences_gmacs, read_gbs };
    match args.format {
        Format::Json => say!("{}\n", serde_json::to_string(&limits)?),
        Format::Csv => {
            say!("what,value,unit\n");
            for (name, x) in &limits.sequences_gmacs {
                say!("{name},{x},GMAC/s\n");
            }
            for (bytes, x) in &limits.read_gbs {
                say!("read {},{x},GB/s\n", size_name(*bytes));
            }
        }
        Format::Table => {
            say!("{}\n", crate::summary::machine()?);
            say!("{}", sequence_table(&limits.sequences_gmacs));
            say!("\n{:<12} {:>8}\n", "read", "GB/s");
            for (bytes, x) in &limits.read_gbs {
                say!("{:<12} {x:>8.1}\n", size_name(*bytes));
            }
        }
    }
    Ok(())
}

/// Sequences and their peaks, for reading.
pub fn sequence_table(sequences: &[(String, f64)]) -> String {
    if sequences.is_empty() {
        return "no generated instruction sequence runs on this CPU\n".to_owned();
    }
    let mut text = format!("{:<16} {:>8}\n", "sequence", "GMAC/s");
    sequences.iter().for_each(|(name, x)| text.push_str(&format!("{name:<16} {x:>8.1}\n")));
    text
}
