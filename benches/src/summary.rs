//! Without a subcommand: this machine, its peaks, a verified selection of shapes, and the digits network.

use std::io::Write;
use std::time::Instant;

use anyhow::{Result, bail};
use gemmill::FloatType;
use gemmill_codegen::{Caches, Tier, cpu_name};

use crate::args::{self, Format, Shape, WeightKind};
use crate::case::{Integers, Setup};
use crate::gemm::Measurement;
use crate::groups::Groups;
use crate::op::{Arithmetic, FloatOp, IntOp, Op, Type};
use crate::peak::{self, TierPeak, size_name};
use crate::table;

#[path = "../../examples/digits/network.rs"]
mod network;

const fn op(a: Type, b: Type, c: Type) -> Op {
    Op::Int(IntOp { a, b, c })
}

const fn float(a: FloatType, b: FloatType, c: FloatType) -> Op {
    Op::Float(FloatOp { a, b, c })
}

/// From one row to large squares; every combination of types that the kernels tell apart.
const SELECTION: [(Op, [usize; 3], WeightKind); 15] = [
    (op(Type::U8, Type::I8, Type::U8), [1, 128, 512], WeightKind::PerColumn),
    (op(Type::U8, Type::I8, Type::U8), [1, 4096, 1024], WeightKind::PerTensor),
    (op(Type::U8, Type::I8, Type::U8), [20, 4096, 1024], WeightKind::PerColumn),
    (op(Type::U8, Type::I8, Type::U8), [156_800, 16, 36], WeightKind::PerColumn),
    (op(Type::U8, Type::I8, Type::I32), [102, 1024, 512], WeightKind::PerTensor),
    (op(Type::U8, Type::I8, Type::I32), [512, 512, 512], WeightKind::PerColumn),
    (op(Type::U8, Type::I8, Type::I32), [512, 512, 512], WeightKind::Uniform),
    (op(Type::U8, Type::I8, Type::I32), [512, 512, 512], WeightKind::Int4),
    (op(Type::I8, Type::I8, Type::I8), [256, 1024, 1024], WeightKind::PerTensor),
    (op(Type::U8, Type::U8, Type::F32), [102, 2323, 256], WeightKind::PerColumn),
    (op(Type::F32, Type::I8, Type::F32), [16, 256, 1500], WeightKind::PerColumn),
    (op(Type::U8, Type::I8, Type::U8), [1024, 1024, 1024], WeightKind::PerTensor),
    (float(FloatType::F32, FloatType::F16, FloatType::F32), [1, 4096, 1024], WeightKind::Gaussian),
    (float(FloatType::F32, FloatType::F16, FloatType::F32), [512, 512, 512], WeightKind::Gaussian),
    (float(FloatType::Bf16, FloatType::Bf16, FloatType::Bf16), [102, 1024, 512], WeightKind::Gaussian),
];

/// Seconds of timing for each shape, and multiply-accumulates of its comparison: the whole run stays below a minute.
const SECONDS: f64 = 0.4;
const VERIFY_BUDGET: f64 = 1e8;

/// CPU, caches and tier.
pub fn machine() -> Result<String> {
    Ok(format!("{}\n{}; tier {}\n", cpu_name(), caches(), args::tier_or_best(None)?))
}

/// CPU and caches in one line.
pub fn cpu() -> String {
    format!("{}, {}", cpu_name(), caches())
}

fn caches() -> String {
    let Caches { l1, l2, l3 } = Caches::of_this_cpu();
    format!("L1 {}, L2 {}, L3 {}", size_name(l1), size_name(l2), size_name(l3))
}

/// The run without a subcommand.
pub fn run() -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{}", machine()?)?;
    let tier = args::tier_or_best(None)?;
    let tiers = if tier == Tier::Avx2 { vec![tier] } else { vec![Tier::Avx2, tier] };
    writeln!(out, "{}", peak::sequence_table(&peak::sequences(&tiers, 0.1)?))?;
    let (l2, memory) = peak::l2_and_memory(tier, 0.1);
    writeln!(out, "one core reads {l2:.0} GB/s from L2, {memory:.0} GB/s from memory\n")?;

    let mut integer_peak = TierPeak::new(tier, Arithmetic::Integer)?;
    let mut float_peak = TierPeak::new(tier, Arithmetic::Float)?;
    let bar = crate::progress(SELECTION.len() as u64, "shapes");
    write!(out, "{}", table::header(Format::Table, &[])?)?;
    let mut wrong = Vec::new();
    for (op, [m, n, k], weights) in SELECTION {
        let (integers, groups) = (Integers::default(), Groups::default());
        let setup = Setup { weights, integers, groups, hardware_dot: None, copies: 1, tier, threads: 1, seed: 1 };
        let measurement = Measurement { op, setup: &setup, seconds: SECONDS, turns: 1, verify_budget: VERIFY_BUDGET };
        let shape = Shape { label: Some(weights.to_string()), ..Shape::new(m, n, k) };
        bar.set_message(shape.to_string());
        let peak = match op.arithmetic() {
            Arithmetic::Integer => &mut integer_peak,
            Arithmetic::Float | Arithmetic::Dot(_) => &mut float_peak,
        };
        let (record, verdict) = measurement.run(&shape, peak, None)?;
        if !record.verified {
            wrong.push(format!("{op} {shape}: {verdict}"));
        }
        let line = table::line(Format::Table, &record, &[])?;
        bar.suspend(|| out.write_all(line.as_bytes()))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let (peak_tier, integer) = peak::measure_of(tier, Arithmetic::Integer);
    let (_, float) = peak::measure_of(tier, Arithmetic::Float);
    writeln!(
        out,
        "peak: of the sequence {peak_tier} {}, floating-point {}; verified: all rows, or a sample, bit for bit\n",
        integer.name(),
        float.name()
    )?;
    digits(&mut out)?;
    if !wrong.is_empty() {
        bail!("results differ from the reference:\n{}", wrong.join("\n"));
    }
    Ok(())
}

/// Accuracy of the f32 and of the int8 network, and images per second.
fn digits(out: &mut impl Write) -> Result<()> {
    let (training, held_out) = network::load();
    let (calibration, _) = training.split_at(256);
    let network = network::Network::train(&training);
    let quantized = network::QuantizedNetwork::new(&network, &calibration)?;
    let f32_accuracy = held_out.accuracy(&network.logits(&held_out));
    let start = Instant::now();
    let logits = quantized.logits(&held_out)?;
    let per_second = held_out.len() as f64 / start.elapsed().as_secs_f64();
    let int8_accuracy = held_out.accuracy(&logits);
    writeln!(
        out,
        "digits: {f32_accuracy:.2} % right in f32, {int8_accuracy:.2} % in int8, {} images held out, \
         {:.0} thousand a second",
        held_out.len(),
        per_second / 1e3
    )?;
    Ok(())
}
