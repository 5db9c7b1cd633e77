//! Conversions of slices against a plain copy that moves as many bytes, in turns.

use std::hint::black_box;
use std::io::Write;

use anyhow::Result;
use bytemuck::Pod;
use clap::Args;
use gemmill::convert::{self, bf16, f16};
use gemmill_codegen::Caches;
use serde::Serialize;

use crate::args::Format;
use crate::measure;
use crate::peak::size_name;

/// Measures conversions between f32 and half precision against a plain copy of as many bytes.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// Seconds for each figure
    #[arg(long, default_value_t = 0.5, value_parser = crate::gemm::parse_seconds)]
    seconds: f64,
    /// Bytes of source and destination together; without it, half of the second-level cache, and several times the last
    /// one
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(384..=1 << 34))]
    bytes: Vec<u64>,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Serialize)]
pub struct Row {
    pub conversion: &'static str,
    /// Source and destination together.
    pub bytes: usize,
    /// Bytes read and written each second.
    pub gbs: f64,
    /// Of the copy.
    pub copy_gbs: f64,
    pub ratio: f64,
}

/// The subcommand.
pub fn run(args: &ConvertArgs) -> Result<()> {
    let sizes = if args.bytes.is_empty() {
        usual_sizes().to_vec()
    } else {
        args.bytes.iter().map(|&bytes| usize::try_from(bytes)).collect::<Result<_, _>>()?
    };
    let bar = crate::progress(6 * sizes.len() as u64, "conversions");
    let mut rows = Vec::new();
    for &bytes in &sizes {
        rows.extend(self::rows(bytes, args.seconds, || bar.inc(1))?);
    }
    bar.finish_and_clear();
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Json => {
            for row in &rows {
                writeln!(out, "{}", serde_json::to_string(row)?)?;
            }
        }
        Format::Csv => {
            writeln!(out, "conversion,bytes,gbs,copy_gbs,ratio")?;
            for r in &rows {
                writeln!(out, "\"{}\",{},{},{},{}", r.conversion, r.bytes, r.gbs, r.copy_gbs, r.ratio)?;
            }
        }
        Format::Table => {
            writeln!(out, "{}", crate::summary::machine()?)?;
            writeln!(out, "{:<24} {:>10} {:>8} {:>10} {:>6}", "conversion", "bytes", "GB/s", "copy GB/s", "ratio")?;
            for r in &rows {
                let (name, bytes) = (r.conversion, size_name(r.bytes));
                writeln!(out, "{name:<24} {bytes:>10} {:>8.1} {:>10.1} {:>6.2}", r.gbs, r.copy_gbs, r.ratio)?;
            }
        }
    }
    Ok(())
}

/// Half of the second-level cache, and several times the last one.
pub fn usual_sizes() -> [usize; 2] {
    let Caches { l2, l3, .. } = Caches::of_this_cpu();
    [l2 / 2, (4 * l3).clamp(256 << 20, 1 << 30)]
}

/// Every conversion of so many bytes, source and destination together; `step` is called after each.
pub fn rows(bytes: usize, seconds: f64, step: impl Fn()) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut add = |row: Result<Row>| -> Result<()> {
        rows.push(row?);
        step();
        Ok(())
    };
    let measure = Measure { bytes, seconds };
    add(measure.row("bf16 to f32", convert::bf16_to_f32, bf16::from_f32(1.5)))?;
    add(measure.row("f32 to bf16", convert::f32_to_bf16, 1.5f32))?;
    add(measure.row("f32 to bf16, saturating", convert::f32_to_bf16_saturating, 1.5f32))?;
    add(measure.row("f16 to f32", convert::f16_to_f32, f16::from_f32(1.5)))?;
    add(measure.row("f32 to f16", convert::f32_to_f16, 1.5f32))?;
    add(measure.row("f32 to f16, saturating", convert::f32_to_f16_saturating, 1.5f32))?;
    Ok(rows)
}

struct Measure {
    /// Source and destination together.
    bytes: usize,
    seconds: f64,
}

impl Measure {
    /// The best of many samples of the conversion and of the copy, which take turns.
    fn row<S: Pod, D: Pod>(
        &self,
        conversion: &'static str,
        convert: impl Fn(&[S], &mut [D]) -> gemmill::Result<()>,
        element: S,
    ) -> Result<Row> {
        const TURNS: u32 = 5;
        let len = self.bytes / (size_of::<S>() + size_of::<D>());
        let (src, mut dst) = (vec![element; len], vec![D::zeroed(); len]);
        let bytes = size_of_val(&src[..]) + size_of_val(&dst[..]);
        let (from, mut to) = (vec![1u8; bytes / 2], vec![0u8; bytes / 2]);
        let seconds = self.seconds / f64::from(2 * TURNS);
        let (mut converted, mut copied) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..TURNS {
            let timing = measure::time(seconds, || Ok(convert(black_box(&src), black_box(&mut dst))?))?;
            converted = converted.min(timing.best);
            let timing = measure::time(seconds, || {
                black_box(&mut to[..]).copy_from_slice(black_box(&from));
                Ok(())
            })?;
            copied = copied.min(timing.best);
        }
        let gbs = |seconds: f64| bytes as f64 / seconds / 1e9;
        let (gbs, copy_gbs) = (gbs(converted), gbs(copied));
        Ok(Row { conversion, bytes, gbs, copy_gbs, ratio: gbs / copy_gbs })
    }
}
