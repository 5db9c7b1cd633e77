//! Hardware dot products of bf16: their option on the command line.

use anyhow::{Result, ensure};
use clap::Args;
use gemmill::{FloatType, HardwareDot, Tier};

use crate::op::{FloatOp, Op};

/// Which hardware dot products are used, if any.
#[derive(Debug, Args)]
pub struct DotArgs {
    /// Multiply bf16 by the CPU's own dot products, which round otherwise: avx512-bf16 or amx-bf16; without a name, the
    /// best that the tier has here
    #[arg(long, value_name = "NAME", value_parser = parse)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = BEST)]
    hardware_dot: Option<Dot>,
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
enum Dot {
    /// The best of the tier.
    Best,
    Named(HardwareDot),
}

const BEST: &str = "best";

fn parse(text: &str) -> Result<Dot, String> {
    if text == BEST {
        return Ok(Dot::Best);
    }
    let named = HardwareDot::ALL.into_iter().find(|dot| dot.name() == text);
    named
        .map(Dot::Named)
        .ok_or_else(|| format!("expected {BEST} or one of {}", HardwareDot::ALL.map(HardwareDot::name).join(", ")))
}

impl DotArgs {
    /// Whether the option was given.
    pub fn given(&self) -> bool {
        self.hardware_dot.is_some()
    }

    /// What was asked for, on a tier.
    pub fn on(&self, tier: Tier) -> Result<Option<HardwareDot>> {
        Ok(match self.hardware_dot {
            None => None,
            Some(Dot::Best) => Some(HardwareDot::best(tier)?),
            Some(Dot::Named(dot)) => Some(dot),
        })
    }

    /// The same for operations, of which one at least has to have weights of bf16.
    pub fn of(&self, ops: &[Op], tier: Tier) -> Result<Option<HardwareDot>> {
        let dot = self.on(tier)?;
        let names = || ops.iter().map(Op::to_string).collect::<Vec<_>>().join(", ");
        ensure!(
            dot.is_none() || ops.iter().copied().any(has_bf16_weights),
            "--hardware-dot is for weights of bf16, as in bf16bf16-f32: {} has others",
            names()
        );
        Ok(dot)
    }
}

/// Whether an operation can be given hardware dot products.
pub fn has_bf16_weights(op: Op) -> bool {
    matches!(op, Op::Float(FloatOp { b: FloatType::Bf16, .. }))
}
