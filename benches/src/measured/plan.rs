//! What `measure` measures: a fixed list, each entry with a name that is its file's.

use anyhow::{Context, Result};
use gemmill::{HardwareDot, Tier};

use crate::args::WeightKind;
use crate::op::Op;

/// One table of figures to be made.
pub struct Measurement {
    pub name: String,
    pub title: String,
    pub about: &'static str,
    pub tier: TierOf,
    /// The code whose change makes the figures old: modules, as paths from the repository's root.
    pub sources: &'static [&'static str],
    pub what: What,
}

/// The tier that a table is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TierOf {
    All(Tier),
    /// A column says it, or figures do not depend on one that could be chosen.
    Row,
}

/// How the figures come about.
pub enum What {
    /// Sequences in registers, and reading.
    Peaks,
    /// u8 by i8 into u8: each kind of weights on each tier.
    Squares,
    /// Shapes by ways to multiply.
    Products {
        shapes: &'static [[usize; 3]],
        ways: Vec<Way>,
    },
    /// Few rows, with weights from each level of memory.
    Rows {
        ops: Vec<Op>,
    },
    Conversions,
    /// Nanoseconds for a weight.
    Packing,
}

/// A way to multiply.
pub struct Way {
    pub name: String,
    pub op: Op,
    pub weights: WeightKind,
    pub hardware_dot: Option<HardwareDot>,
}

impl Way {
    fn of(name: &str, op: &str, weights: WeightKind) -> Result<Way> {
        Ok(Way { name: name.to_owned(), op: operation(op)?, weights, hardware_dot: None })
    }
}

fn operation(name: &str) -> Result<Op> {
    name.parse().map_err(anyhow::Error::msg).with_context(|| name.to_owned())
}

/// From one row to many, and from weights in the second-level cache to such as exceed it.
const INT8: [[usize; 3]; 13] = [
    [1, 128, 512],
    [1, 1024, 256],
    [1, 4096, 1024],
    [1, 800, 3200],
    [6, 512, 512],
    [6, 2048, 256],
    [6, 4096, 1024],
    [16, 256, 1500],
    [20, 4096, 1024],
    [102, 512, 256],
    [102, 1024, 512],
    [256, 1024, 1024],
    [156_800, 16, 36],
];

const FLOAT: [[usize; 3]; 13] = [
    [1, 512, 512],
    [4, 512, 512],
    [6, 512, 512],
    [12, 512, 512],
    [16, 512, 512],
    [64, 512, 512],
    [119, 512, 512],
    [1, 4096, 4096],
    [6, 4096, 1024],
    [16, 256, 500],
    [128, 3072, 768],
    [256, 1024, 1024],
    [1024, 1024, 1024],
];

const FEW_BITS: [[usize; 3]; 6] =
    [[1, 1024, 1024], [1, 4096, 4096], [4, 4096, 4096], [16, 4096, 4096], [128, 1024, 4096], [1024, 1024, 1024]];

/// One row, and blocks of rows.
const DOTS: [[usize; 3]; 4] = [[1, 4096, 4096], [16, 1024, 1024], [256, 1024, 1024], [1024, 1024, 1024]];

/// What products of all families go through from the plan to the instructions, and what a family has of its own.
macro_rules! sources {
    ($($own:literal),*) => {
        &[
            "codegen/src/frame",
            "codegen/src/tuning",
            "codegen/src/x86",
            "src/machine/tuning",
            "src/operands",
            "src/plan",
            "src/run",
            $($own),*
        ]
    };
}

const INT_SOURCES: &[&str] = sources!["codegen/src/families/int8", "src/weights/int8"];
const FLOAT_SOURCES: &[&str] =
    sources!["codegen/src/families/element", "codegen/src/families/float", "src/weights/float"];
const GROUP_SOURCES: &[&str] = sources![
    "codegen/src/families/element",
    "codegen/src/families/float",
    "codegen/src/families/groups",
    "src/weights/groupwise"
];
const ALL_SOURCES: &[&str] = sources!["codegen/src/families", "src/weights"];

/// The tiers with machine code that this CPU runs.
pub fn tiers() -> Vec<Tier> {
    Tier::ALL.into_iter().filter(|&tier| tier != Tier::Portable && tier.missing_feature().is_none()).collect()
}

/// Everything that this CPU can measure.
pub fn all() -> Result<Vec<Measurement>> {
    let (tiers, best) = (tiers(), Tier::best()?);
    let mut all = vec![
        Measurement {
            name: "peaks".to_owned(),
            title: "Peaks of one core".to_owned(),
            about: "What sequences of instructions reach in registers, and what one core reads from buffers that it \
                    goes through again and again.",
            tier: TierOf::Row,
            sources: &["codegen/src/peak"],
            what: What::Peaks,
        },
        Measurement {
            name: "int8-squares".to_owned(),
            title: "int8: squares by tier and weights".to_owned(),
            about: "`u8i8-u8`, GMAC/s. The peak is that of the tier's plainest exact sequence in registers.",
            tier: TierOf::Row,
            sources: INT_SOURCES,
            what: What::Squares,
        },
    ];
    for &tier in &tiers {
        all.push(Measurement {
            name: format!("int8-{tier}"),
            title: format!("int8 on {tier}"),
            about: "`u8i8-u8`, gaussian weights with one scale, and with one for each column.",
            tier: TierOf::All(tier),
            sources: INT_SOURCES,
            what: What::Products {
                shapes: &INT8,
                ways: vec![
                    Way::of("per tensor", "u8i8-u8", WeightKind::PerTensor)?,
                    Way::of("per column", "u8i8-u8", WeightKind::PerColumn)?,
                ],
            },
        });
    }
    // Tiers whose vectors have as many lanes have the same loops of floats.
    for tier in [Tier::Avx2, Tier::Avx512].into_iter().filter(|tier| tiers.contains(tier)) {
        all.push(Measurement {
            name: format!("float-{tier}"),
            title: format!("f32 by f16, bf16 and f32 on {tier}"),
            about: "f32 activations and results, weights of each type. The peak is that of fused multiply-adds.",
            tier: TierOf::All(tier),
            sources: FLOAT_SOURCES,
            what: What::Products {
                shapes: &FLOAT,
                ways: ["f16", "bf16", "f32"]
                    .into_iter()
                    .map(|b| Way::of(b, &format!("f32{b}-f32"), WeightKind::Gaussian))
                    .collect::<Result<_>>()?,
            },
        });
    }
    let dots: Vec<HardwareDot> = HardwareDot::ALL.into_iter().filter(|dot| dot.require(best).is_ok()).collect();
    if !dots.is_empty() {
        let by = |&dot: &HardwareDot| {
            let way = Way::of(dot.name(), "bf16bf16-f32", WeightKind::Gaussian)?;
            Ok(Way { hardware_dot: Some(dot), ..way })
        };
        all.push(Measurement {
            name: "hardware-dots".to_owned(),
            title: "Hardware dot products of bf16".to_owned(),
            about: "`bf16bf16-f32` by the CPU's own dot products, which have to be asked for; each has its own peak.",
            tier: TierOf::All(best),
            sources: FLOAT_SOURCES,
            what: What::Products { shapes: &DOTS, ways: dots.iter().map(by).collect::<Result<_>>()? },
        });
    }
    let ends = if tiers.len() > 1 { vec![Tier::Avx2, best] } else { tiers.clone() };
    for &tier in &ends {
        let ways = [("4 bits by i8", "i8i4-f32"), ("4 bits by f32", "f32i4-f32")].into_iter();
        let ways = ways.chain([("2 bits by i8", "i8i2-f32"), ("2 bits by f32", "f32i2-f32")]);
        all.push(Measurement {
            name: format!("few-bits-{tier}"),
            title: format!("Weights of 4 and 2 bits on {tier}"),
            about: "Groups of 128. By i8: f32 activations are quantized in the call. By f32: they stay as they are.",
            tier: TierOf::All(tier),
            sources: GROUP_SOURCES,
            what: What::Products {
                shapes: &FEW_BITS,
                ways: ways.map(|(name, op)| Way::of(name, op, WeightKind::Gaussian)).collect::<Result<_>>()?,
            },
        });
        let ops = ["u8i8-f32", "f32f16-f32", "f32bf16-f32", "i8i4-f32", "f32i4-f32"];
        all.push(Measurement {
            name: format!("rows-{tier}"),
            title: format!("One row and four on {tier}"),
            about: "Weights from the second-level cache, the third, and memory. GB/s are of packed weights; *read* is \
                    what the same core reads in the same run from as many bytes.",
            tier: TierOf::All(tier),
            sources: ALL_SOURCES,
            what: What::Rows { ops: ops.map(operation).into_iter().collect::<Result<_>>()? },
        });
    }
    all.push(Measurement {
        name: "conversions".to_owned(),
        title: "Conversions of slices".to_owned(),
        about: "Bytes read and written a second, beside a plain copy of as many in the same run.",
        tier: TierOf::Row,
        sources: &["src/convert"],
        what: What::Conversions,
    });
    all.push(Measurement {
        name: "packing".to_owned(),
        title: "Packing".to_owned(),
        about: "1024 × 1024 weights, nanoseconds for each: from the caller's matrix to what kernels read, quantizing \
                left out.",
        tier: TierOf::Row,
        sources: &["codegen/src/machine/quads", "src/machine/tuning", "src/weights"],
        what: What::Packing,
    });
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::measured::sources;

    #[test]
    fn names_are_apart_and_sources_are_there() -> Result<()> {
        let all = all()?;
        let names: BTreeSet<&str> = all.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names.len(), all.len());
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        for path in all.iter().flat_map(|m| m.sources) {
            assert!(sources::fingerprint(root, path)?.is_some(), "{path}: there is no code");
        }
        Ok(())
    }
}
