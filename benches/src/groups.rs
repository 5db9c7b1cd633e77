//! Weights of 4 and 2 bits in groups: their options on the command line, and how they are quantized.

use clap::{Args, ValueEnum};
use gemmill::MatRef;
use gemmill::quant::{Bits, GroupSize, GroupwiseFormat, GroupwiseWeights, ZeroPoints};

/// Options of weights of 4 and 2 bits.
#[derive(Debug, Args)]
pub struct GroupArgs {
    /// Weights of a column that share a scale, where they have 4 or 2 bits: 32, 64 or 128; 128 if not given
    #[arg(long, value_name = "SIZE", value_parser = parse_group)]
    group: Option<GroupSize>,
    /// A zero point for every group of such weights, not 8 (of 4 bits) or 2 (of 2 bits) for all
    #[arg(long)]
    asymmetric: bool,
    /// How such weights are quantized: nearest if not given
    #[arg(long, value_enum)]
    quantizer: Option<Quantizer>,
}

fn parse_group(text: &str) -> Result<GroupSize, String> {
    match text {
        "32" => Ok(GroupSize::G32),
        "64" => Ok(GroupSize::G64),
        "128" => Ok(GroupSize::G128),
        _ => Err("expected 32, 64 or 128".to_owned()),
    }
}

/// How weights become groupwise ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Quantizer {
    /// Round to nearest, with the scale that covers a group
    Nearest,
    /// Of many scales, the one with the least squared error: slower
    Search,
}

/// What the options say.
#[derive(Debug, Clone, Copy)]
pub struct Groups {
    pub size: GroupSize,
    pub zero_points: ZeroPoints,
    pub quantizer: Quantizer,
}

impl Default for Groups {
    fn default() -> Groups {
        Groups { size: GroupSize::G128, zero_points: ZeroPoints::Middle, quantizer: Quantizer::Nearest }
    }
}

impl GroupArgs {
    /// What was asked for, and the usual where nothing was.
    pub fn groups(&self) -> Groups {
        let usual = Groups::default();
        Groups {
            size: self.group.unwrap_or(usual.size),
            zero_points: if self.asymmetric { ZeroPoints::Each } else { usual.zero_points },
            quantizer: self.quantizer.unwrap_or(usual.quantizer),
        }
    }

    /// The first of the options that was given.
    pub fn given(&self) -> Option<&'static str> {
        let all = [
            ("--group", self.group.is_some()),
            ("--asymmetric", self.asymmetric),
            ("--quantizer", self.quantizer.is_some()),
        ];
        all.into_iter().find_map(|(option, given)| given.then_some(option))
    }
}

impl Groups {
    /// Quantizes weights.
    pub fn quantize(self, weights: MatRef<'_, f32>, bits: Bits) -> gemmill::Result<GroupwiseWeights> {
        let format = GroupwiseFormat { bits, group_size: self.size, zero_points: self.zero_points };
        match self.quantizer {
            Quantizer::Nearest => GroupwiseWeights::round_to_nearest(weights, format),
            Quantizer::Search => GroupwiseWeights::search(weights, format, None),
        }
    }
}
