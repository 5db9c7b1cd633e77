//! What is multiplied, on the command line: the operation and the options of its operands.

use anyhow::{Result, bail, ensure};
use clap::Args;
use gemmill::Tier;

use crate::args::{Activations, WeightKind};
use crate::case::{self, Integers, Setup};
use crate::groups::GroupArgs;
use crate::hardware_dot::DotArgs;
use crate::op::Op;

/// An operation, and how its operands are made.
#[derive(Debug, Args)]
pub struct OperandArgs {
    /// Operation, as activations, weights and result: {u8,i8}{i8,u8}-{i32,u8,i8,f32}, f32{i8,u8}-f32, or any three of
    /// f32, f16 and bf16: f32f16-f32, bf16bf16-bf16. With weights of 4 or 2 bits in groups: f32i4-f32, bf16i2-bf16 and
    /// so on expand weights to f32, i8i4-f32 and i8i2-f32 quantize f32 activations to i8, row by row inside the call
    #[arg(long, default_value = "u8i8-i32")]
    pub op: Op,
    /// How weights are made: per-column if not given, gaussian in all but integer products; u8 weights are the i8 ones
    /// plus 128, with zero point 128
    #[arg(long, value_enum)]
    weights: Option<WeightKind>,
    #[command(flatten)]
    groups: GroupArgs,
    /// How f32 activations are quantized for integer weights: dynamic if not given
    #[arg(long, value_enum)]
    activations: Option<Activations>,
    /// Largest u8 activation; packing is told of it (uniform in 0..=MAX): 255 if not given
    #[arg(long, value_name = "MAX")]
    activation_max: Option<u8>,
    /// Zero point of integer activations: 43 if not given
    #[arg(long, value_name = "Z", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i32).range(-128..=255))]
    a_zero_point: Option<i32>,
    #[command(flatten)]
    dot: DotArgs,
}

impl OperandArgs {
    /// What cases are made of on a tier, with one copy of the weights, one thread and seed 1.
    ///
    /// # Errors
    /// If an option was given that the operation does not have.
    pub fn setup(&self, tier: Tier) -> Result<Setup> {
        if !matches!(self.op, Op::Int(_)) {
            let given = [
                ("--activations", self.activations.is_some()),
                ("--activation-max", self.activation_max.is_some()),
                ("--a-zero-point", self.a_zero_point.is_some()),
            ];
            for (option, given) in given {
                ensure!(!given, "{option} is for integer products: {} has floating-point activations", self.op);
            }
        }
        if let (Some(option), false) = (self.groups.given(), matches!(self.op, Op::Group(_))) {
            bail!("{option} is for weights of 4 or 2 bits: {} has others", self.op);
        }
        let hardware_dot = self.dot.of(&[self.op], tier)?;
        let weights = self.weights.unwrap_or(WeightKind::of(self.op)[0]);
        case::check_weights(self.op, weights)?;
        let usual = Integers::default();
        let integers = Integers {
            activations: self.activations.unwrap_or(usual.activations),
            activation_max: self.activation_max.unwrap_or(usual.activation_max),
            a_zero_point: self.a_zero_point.unwrap_or(usual.a_zero_point),
        };
        let groups = self.groups.groups();
        Ok(Setup { weights, integers, groups, hardware_dot, copies: 1, tier, threads: 1, seed: 1 })
    }
}
