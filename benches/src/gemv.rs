//! `gemmill-bench gemv`: products of few rows, where reading the weights is what takes the time.

use anyhow::{Result, bail};
use clap::Args;
use gemmill::{HardwareDot, Tier};
use gemmill_codegen::Caches;
use serde::Serialize;

use crate::args::{self, Format, Shape, WeightKind};
use crate::case::{self, Integers, Setup, Verdict};
use crate::gemm::VERIFY_BUDGET;
use crate::groups::GroupArgs;
use crate::hardware_dot::{self, DotArgs};
use crate::measure;
use crate::op::{Arithmetic, Op};
use crate::output::{self, say};
use crate::peak::{self, TierPeak};
use crate::table;

/// Measures products of 1 to 16 rows on one core, with weights that lie in the second-level cache, in the third-level
/// cache, and in memory.
#[derive(Debug, Args)]
#[command(after_help = "\
Weights are square matrices of half the second-level cache, of the geometric mean of the second and third level, and \
of at most 32 MiB: of those, products take copies in turn that are at least 128 MiB together, and twice the third \
level (at most 1 GiB).

GB/s are bytes of packed weights. `read` is what the same core reads in the same run, from a buffer of as many bytes \
as all copies have and on pages as large as theirs: the fastest of loops that only load, with one or several streams, \
with and without prefetches. Every product is compared with the reference, bit for bit, as `gemm` does.")]
pub struct GemvArgs {
    /// Operations, as `gemm` has them, with commas between
    #[arg(long, value_name = "OP,...", value_delimiter = ',', default_value = "u8i8-f32,f32f16-f32,f32bf16-f32")]
    op: Vec<Op>,
    #[command(flatten)]
    groups: GroupArgs,
    #[command(flatten)]
    dot: DotArgs,
    /// Numbers of rows, from 1 to 16, with commas between
    #[arg(long, value_name = "M,...", value_delimiter = ',', default_value = "1")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=16))]
    m: Vec<u32>,
    /// Largest bytes of all copies of the weights, MiB: sizes beyond are cut to it
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    largest: u32,
    /// Instruction-set tier; the best one of this CPU if not given
    #[arg(long)]
    tier: Option<Tier>,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Seconds to time each product, and to read
    #[arg(long, default_value_t = 0.25, value_parser = crate::gemm::parse_seconds)]
    seconds: f64,
    /// Seed of the operands
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What was measured of one product. JSON output is one of these a line.
#[derive(Debug, Serialize)]
pub struct Record {
    pub op: String,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// Where the weights lie.
    pub from: &'static str,
    pub tier: String,
    /// Bytes of all copies of the packed weights.
    pub weight_bytes: usize,
    pub gmacs: f64,
    /// Bytes of packed weights a second.
    pub weight_gbs: f64,
    /// What the core reads from a buffer of `weight_bytes`.
    pub read_gbs: f64,
    /// `weight_gbs` over `read_gbs`.
    pub read_ratio: f64,
    /// `gmacs` over the tier's peak; absent where its sequence cannot run.
    pub peak_ratio: Option<f64>,
    /// What multiplies, where it is hardware dot products.
    pub hardware_dot: Option<&'static str>,
    pub verified: bool,
}

/// Where weights lie, and what of them there has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    pub name: &'static str,
    /// Bytes of all copies.
    bytes: usize,
}

/// The largest matrix: weights from memory are several.
const LARGEST_MATRIX: usize = 32 << 20;

/// The levels that weights shall lie in, with at most `largest` bytes each.
pub fn levels(caches: Caches, largest: usize) -> [Level; 3] {
    let between = (caches.l2 as f64 * caches.l3 as f64).sqrt() as usize;
    let memory = caches.l3.saturating_mul(2).clamp(128 << 20, 1 << 30);
    [("L2", caches.l2 / 2), ("L3", between), ("memory", memory)]
        .map(|(name, bytes)| Level { name, bytes: bytes.min(largest) })
}

impl Level {
    /// Rows and columns of one matrix of the level, and copies of it.
    pub fn matrix(self, op: Op) -> (usize, usize) {
        const UNIT: usize = 64;
        let elements = |bytes: usize| bytes * 8 / op.weight_bits();
        let side = (elements(self.bytes.min(LARGEST_MATRIX)) as f64).sqrt() as usize / UNIT * UNIT;
        let side = side.max(UNIT);
        // To the nearest: a matrix that is a little smaller than its level is alone.
        (side, ((elements(self.bytes) + side * side / 2) / (side * side)).max(1))
    }
}

/// The subcommand.
pub fn run(args: &GemvArgs) -> Result<()> {
    let tier = args::tier_or_best(args.tier)?;
    if let (Some(option), false) = (args.groups.given(), args.op.iter().any(|op| matches!(op, Op::Group(_)))) {
        bail!("{option} is for weights of 4 or 2 bits: none of the operations has them");
    }
    let dot = args.dot.of(&args.op, tier)?;
    if let (Some(dot), Format::Table) = (dot, args.format) {
        say!("weights of bf16 by {dot}\n");
    }
    let levels = levels(Caches::of_this_cpu(), (args.largest as usize) << 20);
    say!("{}", header(args.format)?);
    let bar = crate::progress((args.op.len() * levels.len() * args.m.len()) as u64, "products");
    let mut wrong = Vec::new();
    for &op in &args.op {
        let hardware_dot = dot.filter(|_| hardware_dot::has_bf16_weights(op));
        let mut peak = TierPeak::new(tier, hardware_dot.map_or(op.arithmetic(), Arithmetic::Dot))?;
        for level in levels {
            let (side, copies) = level.matrix(op);
            for &m in &args.m {
                let shape = Shape::checked(m as usize, side, side)?;
                bar.set_message(format!("{op} {shape}"));
                let setup = Setup {
                    weights: WeightKind::of(op)[0],
                    integers: Integers::default(),
                    groups: args.groups.groups(),
                    hardware_dot,
                    copies,
                    tier,
                    threads: 1,
                    seed: args.seed,
                };
                let (record, verdict) = measure(op, &shape, level, &setup, args.seconds, &mut peak)?;
                if !record.verified {
                    wrong.push(format!("{op} {shape}: {verdict}"));
                }
                let line = line(args.format, &record)?;
                bar.suspend(|| output::write_stdout(format_args!("{line}")))?;
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    if !wrong.is_empty() {
        bail!("results differ from the reference:\n{}", wrong.join("\n"));
    }
    Ok(())
}

/// Measures one product, its weights in a level, and what the core reads there; compares it with the reference.
pub fn measure(
    op: Op,
    shape: &Shape,
    level: Level,
    setup: &Setup,
    seconds: f64,
    peak: &mut TierPeak,
) -> Result<(Record, Verdict)> {
    let mut case = case::new(op, shape, setup)?;
    let weight_bytes = case.packed_bytes() * setup.copies;
    // Before and after, so that the clock and the neighbours are those of the product.
    let before = peak::read_bandwidth(setup.tier, weight_bytes, seconds / 2.0);
    let peak_gmacs = peak.refresh()?;
    let timing = measure::time(seconds, || {
        for _ in 0..setup.copies {
            case.run()?;
        }
        Ok(())
    })?;
    let read_gbs = peak::read_bandwidth(setup.tier, weight_bytes, seconds / 2.0).max(before);
    let verdict = case::verify(&mut *case, shape, setup.seed, VERIFY_BUDGET)?;
    let gmacs = shape.macs() * setup.copies as f64 / timing.best / 1e9;
    let weight_gbs = weight_bytes as f64 / timing.best / 1e9;
    let record = Record {
        op: op.to_string(),
        m: shape.m,
        n: shape.n,
        k: shape.k,
        from: level.name,
        tier: setup.tier.to_string(),
        weight_bytes,
        gmacs,
        weight_gbs,
        read_gbs,
        read_ratio: weight_gbs / read_gbs,
        peak_ratio: peak_gmacs.map(|peak| gmacs / peak),
        hardware_dot: setup.hardware_dot.map(HardwareDot::name),
        verified: matches!(verdict, Verdict::Equal { .. }),
    };
    Ok((record, verdict))
}

const CSV_COLUMNS: &str =
    "op,m,n,k,from,tier,weight_bytes,gmacs,weight_gbs,read_gbs,read_ratio,peak_ratio,hardware_dot,verified\n";

fn header(format: Format) -> Result<String> {
    Ok(match format {
        Format::Json => String::new(),
        Format::Csv => CSV_COLUMNS.to_owned(),
        Format::Table => format!(
            "{:<14} {:>2} {:>6} {:>6}  {:<8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>6}  verified\n",
            "op", "m", "n", "k", "from", "MiB", "GMAC/s", "GB/s", "read", "of read", "peak"
        ),
    })
}

fn line(format: Format, r: &Record) -> Result<String> {
    Ok(match format {
        Format::Json => serde_json::to_string(r)? + "\n",
        Format::Csv => {
            let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
            writer.serialize(r)?;
            String::from_utf8(writer.into_inner()?)?
        }
        Format::Table => format!(
            "{:<14} {:>2} {:>6} {:>6}  {:<8} {:>8.1} {:>8.2} {:>8.2} {:>8.2} {:>8} {:>6}  {}\n",
            r.op,
            r.m,
            r.n,
            r.k,
            r.from,
            r.weight_bytes as f64 / f64::from(1 << 20),
            r.gmacs,
            r.weight_gbs,
            r.read_gbs,
            table::percent(Some(r.read_ratio)),
            table::percent(r.peak_ratio),
            if r.verified { "all" } else { "WRONG" },
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(name: &str) -> Op {
        name.parse().unwrap()
    }

    #[test]
    fn weights_lie_where_they_shall() {
        let caches = Caches { l1: 32 << 10, l2: 512 << 10, l3: 32 << 20 };
        let levels = levels(caches, 1 << 30);
        assert_eq!(levels.map(|l| l.bytes), [256 << 10, 4 << 20, 128 << 20]);
        for op in [op("u8i8-i32"), op("f32f16-f32"), op("f32f32-f32"), op("f32i4-f32"), op("i8i2-f32")] {
            for level in levels {
                let (side, copies) = level.matrix(op);
                let bytes = side * side * op.weight_bits() / 8;
                assert!(side.is_multiple_of(64) && bytes <= LARGEST_MATRIX, "{op} {level:?} {side}");
                assert!(bytes * copies > level.bytes * 3 / 4, "{op} {level:?} {side} {copies}");
                assert!(bytes * copies < level.bytes * 5 / 4, "{op} {level:?} {side} {copies}");
                assert_eq!(copies == 1, level.bytes <= LARGEST_MATRIX, "{op} {level:?} {side} {copies}");
            }
        }
        let tiny = Level { name: "L2", bytes: 1 };
        assert_eq!(tiny.matrix(op("f32f32-f32")), (64, 1));
    }

    #[test]
    fn csv_has_as_many_fields_as_its_header() -> Result<()> {
        let record = Record {
            op: "u8i8-i32".into(),
            m: 1,
            n: 2,
            k: 3,
            from: "L2",
            tier: "avx2".into(),
            weight_bytes: 6,
            gmacs: 1.0,
            weight_gbs: 1.0,
            read_gbs: 2.0,
            read_ratio: 0.5,
            peak_ratio: None,
            hardware_dot: None,
            verified: true,
        };
        let commas = |text: &str| text.matches(',').count();
        assert_eq!(commas(&header(Format::Csv)?), commas(&line(Format::Csv, &record)?));
        Ok(())
    }
}
