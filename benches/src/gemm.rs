//! `gemmill-bench gemm`: speed and exactness of an operation on a list of shapes, alone or in turns with peers.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use gemmill::Tier;

use crate::args::{self, Format, Shape, ShapeArgs};
use crate::case::{self, Case, Setup, Verdict};
use crate::measure::{self, Timing};
use crate::measured;
use crate::op::{Arithmetic, Op};
use crate::operands::OperandArgs;
use crate::output;
use crate::peak::{self, TierPeak};
use crate::peers::{self, Peers};
use crate::table::{self, Record};

/// Measures an operation and compares its results with the reference.
#[derive(Debug, Args)]
#[command(after_help = "\
Verification: products of at most 2e8 multiply-accumulates are compared with the reference in whole, larger ones in a \
random sample of rows of about that cost, with the first and the last row. All compared elements have to have the \
reference's bits: otherwise `verified` is false and the exit status is not 0.

Peak: `peak_ratio` is GMAC/s over threads times the one-core peak of the tier's plainest exact sequence (of integers \
narrow: pairs widened one by one; with VNNI dot, with AMX tiles; of floating-point numbers fma; of hardware dot \
products dot-bf16 or tiles-bf16), measured in this process before each shape (the best measurement so far, in samples \
of 20000 iterations, some 40 us of fma). `sustained_ratio` divides by the best of the same sequence in as many \
samples, each as long as the product took (at most 0.3 s of them), on one core as well: what else a machine does is in \
long samples, and not in the best of short ones.

For steady figures pin the process, for example with `taskset -c 2 gemmill-bench gemm ...`: it does not pin itself.")]
pub struct GemmArgs {
    #[command(flatten)]
    operands: OperandArgs,
    #[command(flatten)]
    shapes: ShapeArgs,
    /// Threads of one product
    #[arg(long, value_name = "T", default_value_t = 1, value_parser = parse_threads)]
    threads: usize,
    /// Instruction-set tier; the best one of this CPU if not given
    #[arg(long)]
    tier: Option<Tier>,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Write the results to this file instead of standard output, at the end
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Seconds to time each shape
    #[arg(long, default_value_t = 0.25, value_parser = parse_seconds)]
    seconds: f64,
    /// Seed of the operands
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Driver program of other libraries: reads "m n k" lines, answers "m n k | GMAC/s ..."; it and gemmill take turns
    #[arg(long, value_name = "PATH")]
    peer: Option<PathBuf>,
    /// Turns of peers and gemmill; the best of each counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    turns: u32,
}

/// A positive number of seconds.
pub fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(s) if s > 0.0 && s <= 3600.0 => Ok(s),
        _ => Err("expected a number of seconds above 0, at most 3600".to_owned()),
    }
}

/// A number of threads.
pub fn parse_threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(t) if (1..=1024).contains(&t) => Ok(t),
        _ => Err("expected a number from 1 to 1024".to_owned()),
    }
}

/// Multiply-accumulates that the reference may spend on one shape.
pub const VERIFY_BUDGET: f64 = 2e8;

/// Measures one shape: peers and gemmill in turns, or gemmill alone, then compares with the reference.
pub struct Measurement<'a> {
    pub op: Op,
    pub setup: &'a Setup,
    pub seconds: f64,
    pub turns: u32,
    pub verify_budget: f64,
}

impl Measurement<'_> {
    /// The record of a shape, and what the comparison found.
    pub fn run(&self, shape: &Shape, peak: &mut TierPeak, peers: Option<&mut Peers>) -> Result<(Record, Verdict)> {
        let mut case = case::new(self.op, shape, self.setup)?;
        let peak_gmacs = peak.refresh()?;
        let (timing, peers) = match peers {
            None => (measure::time(self.seconds, || Ok(case.run()?))?, BTreeMap::new()),
            Some(peers) => self.in_turns(shape, &mut *case, peers)?,
        };
        // Faster calls than a sample are timed several at once.
        let sustained_gmacs = peak.sustained(timing.best.max(measure::SAMPLE.as_secs_f64()), timing.samples)?;
        let verdict = case::verify(&mut *case, shape, self.setup.seed, self.verify_budget)?;
        let gmacs = |seconds: f64| shape.macs() / seconds / 1e9;
        let Setup { tier, threads, weights, .. } = *self.setup;
        let record = Record {
            m: shape.m,
            n: shape.n,
            k: shape.k,
            label: shape.label.clone(),
            op: self.op.to_string(),
            weights: weights.to_string(),
            tier: tier.to_string(),
            threads,
            sequence: case.sequence(),
            gmacs: gmacs(timing.best),
            gmacs_median: gmacs(timing.median),
            peak_ratio: peak_gmacs.map(|p| gmacs(timing.best) / (p * threads as f64)),
            peak_gmacs,
            sustained_ratio: sustained_gmacs.map(|p| gmacs(timing.best) / (p * threads as f64)),
            l2_gbs: None,
            memory_gbs: None,
            bytes: case.bytes(),
            packed_bytes: case.packed_bytes(),
            pack_seconds: case.pack_seconds(),
            verified: matches!(verdict, Verdict::Equal { .. }),
            verified_rows: if let Verdict::Equal { rows } = verdict { rows } else { 0 },
            cpu: gemmill_codegen::cpu_name(),
            date: measured::today()?,
            peers,
        };
        Ok((record, verdict))
    }

    fn in_turns(
        &self,
        shape: &Shape,
        case: &mut dyn Case,
        peers: &mut Peers,
    ) -> Result<(Timing, BTreeMap<String, f64>)> {
        let mut best: Option<Timing> = None;
        let mut figures = BTreeMap::new();
        for _ in 0..self.turns {
            let answer = peers.ask(shape)?;
            for (name, gmacs) in peers.names().iter().zip(answer) {
                let figure: &mut f64 = figures.entry(name.clone()).or_insert(0.0);
                *figure = figure.max(gmacs);
            }
            let timing = measure::time(self.seconds, || Ok(case.run()?))?;
            if best.is_none_or(|b| timing.best < b.best) {
                best = Some(timing);
            }
        }
        match best {
            Some(timing) => Ok((timing, figures)),
            None => bail!("at least one turn is needed"),
        }
    }
}

/// The subcommand.
pub fn run(args: &GemmArgs) -> Result<()> {
    let shapes = args.shapes.shapes()?;
    if let Some(path) = &args.output {
        output::check_writable(path)?;
    }
    let tier = args::tier_or_best(args.tier)?;
    let op = args.operands.op;
    let setup = Setup { threads: args.threads, seed: args.seed, ..args.operands.setup(tier)? };
    let verify_budget = VERIFY_BUDGET;
    let measurement = Measurement { op, setup: &setup, seconds: args.seconds, turns: args.turns, verify_budget };
    let mut peers = args.peer.as_deref().map(|path| Peers::start(path, tier)).transpose()?;
    let names: Vec<String> = peers.as_ref().map(|p| p.names().to_vec()).unwrap_or_default();
    let arithmetic = setup.hardware_dot.map_or(op.arithmetic(), Arithmetic::Dot);
    let mut peak = TierPeak::new(tier, arithmetic)?;
    let bandwidth = (args.format == Format::Json).then(|| peak::l2_and_memory(tier, args.seconds.min(0.1)));

    let mut sink = Sink { to_file: args.output.is_some(), text: String::new() };
    if args.format == Format::Table {
        sink.put(&format!("weights {}, seed {}\n", setup.weights, args.seed))?;
    }
    sink.put(&table::header(args.format, &names)?)?;
    let bar = crate::progress(shapes.len() as u64, "shapes");
    let mut records = Vec::new();
    let mut wrong = Vec::new();
    for shape in &shapes {
        bar.set_message(shape.to_string());
        let (mut record, verdict) = measurement.run(shape, &mut peak, peers.as_mut())?;
        (record.l2_gbs, record.memory_gbs) = bandwidth.unzip();
        if !record.verified {
            wrong.push(format!("{shape}: {verdict}"));
        }
        bar.suspend(|| sink.put(&table::line(args.format, &record, &names)?))?;
        bar.inc(1);
        records.push(record);
    }
    bar.finish_and_clear();
    let comparison = peers::comparison(&records, &names);
    if args.format == Format::Table {
        sink.put(&summary(&records, tier, arithmetic))?;
        sink.put(&comparison)?;
    } else if !comparison.is_empty() {
        eprint!("{comparison}");
    }
    if let Some(path) = &args.output {
        output::write_atomically(path, |file, _| Ok(file.write_all(sink.text.as_bytes())?))?;
    }
    if !wrong.is_empty() {
        bail!("{} of {} shapes differ from the reference:\n{}", wrong.len(), shapes.len(), wrong.join("\n"));
    }
    Ok(())
}

/// Standard output as it comes, or text to be written to a file at the end.
struct Sink {
    to_file: bool,
    text: String,
}

impl Sink {
    /// Takes whole lines: an interrupt never leaves part of one.
    fn put(&mut self, lines: &str) -> Result<()> {
        if self.to_file {
            self.text.push_str(lines);
        } else {
            let mut out = std::io::stdout().lock();
            out.write_all(lines.as_bytes())?;
            out.flush()?;
        }
        Ok(())
    }
}

/// Means over several shapes.
fn summary(records: &[Record], tier: Tier, arithmetic: Arithmetic) -> String {
    if records.len() < 2 {
        return String::new();
    }
    let gmacs: Vec<f64> = records.iter().map(|r| r.gmacs).collect();
    let ratios: Vec<f64> = records.iter().filter_map(|r| r.peak_ratio).collect();
    let mean = measure::geometric_mean(&gmacs).unwrap_or(0.0);
    let of_peak = table::percent(measure::geometric_mean(&ratios));
    let (_, sequence) = peak::measure_of(tier, arithmetic);
    format!("geometric mean {mean:.1} GMAC/s, {of_peak} of the {} peak, {} shapes\n", sequence.name(), records.len())
}
