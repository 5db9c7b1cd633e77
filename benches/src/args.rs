//! What is measured: shapes and weights, and how the command line spells them. Operations are in `op`.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use gemmill::Tier;

use crate::op::Op;

/// How weights are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WeightKind {
    /// Gaussian, quantized with one scale to the full range
    PerTensor,
    /// Gaussian, quantized with one scale per column to the full range
    PerColumn,
    /// Uniform in -128..=127
    Uniform,
    /// Uniform in -64..=63: no pair of products can overflow 16 bits
    Safe,
    /// Uniform in -8..=7
    Int4,
    /// Gaussian, as floating-point numbers or quantized in groups
    Gaussian,
}

impl WeightKind {
    /// The kinds that an operation can have; the first one is what it has if none is asked for.
    pub fn of(op: Op) -> &'static [WeightKind] {
        match op {
            Op::Int(_) => {
                &[WeightKind::PerColumn, WeightKind::PerTensor, WeightKind::Uniform, WeightKind::Safe, WeightKind::Int4]
            }
            Op::Float(_) | Op::Group(_) => &[WeightKind::Gaussian],
        }
    }
}

impl fmt::Display for WeightKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            WeightKind::PerTensor => "per-tensor",
            WeightKind::PerColumn => "per-column",
            WeightKind::Uniform => "uniform",
            WeightKind::Safe => "safe",
            WeightKind::Int4 => "int4",
            WeightKind::Gaussian => "gaussian",
        })
    }
}

/// How f32 activations are quantized inside the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Activations {
    /// With one scale and zero point, chosen beforehand
    Static,
    /// With a scale and a zero point for each row, chosen inside the call
    Dynamic,
}

/// Output format of a table of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For reading
    Table,
    /// One JSON object a line
    Json,
    /// Comma-separated values with a header line
    Csv,
}

/// Sizes of a product: C (m × n) = A (m × k) · B (k × n).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// The fourth column of a shapes file, for example the model that the shape comes from.
    pub label: Option<String>,
}

impl Shape {
    /// A shape without a label.
    pub fn new(m: usize, n: usize, k: usize) -> Shape {
        Shape { m, n, k, label: None }
    }

    /// A shape without a label, if products of it can be made.
    pub fn checked(m: usize, n: usize, k: usize) -> Result<Shape> {
        let shape = Shape::new(m, n, k);
        shape.check()?;
        Ok(shape)
    }

    /// Multiply-accumulates of the product.
    pub fn macs(&self) -> f64 {
        self.m as f64 * self.n as f64 * self.k as f64
    }

    /// Refuses shapes with a zero size and those whose operands would not fit any memory.
    fn check(&self) -> Result<()> {
        const LIMIT: usize = 1 << 34;
        if self.m == 0 || self.n == 0 || self.k == 0 {
            bail!("{self}: m, n and k have to be at least 1");
        }
        for (what, rows, cols) in [("A", self.m, self.k), ("B", self.k, self.n), ("C", self.m, self.n)] {
            if rows.checked_mul(cols).is_none_or(|len| len > LIMIT) {
                bail!("{self}: {what} would have more than {LIMIT} elements");
            }
        }
        Ok(())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.m, self.n, self.k)
    }
}

/// Where shapes come from.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct ShapeArgs {
    /// Shapes to measure: a CSV file whose columns begin with m,n,k; a fourth column labels the shape
    #[arg(long, value_name = "FILE.csv", conflicts_with_all = ["m", "n", "k"])]
    pub shapes: Option<PathBuf>,
    /// Rows of A and C
    #[arg(long, requires_all = ["n", "k"])]
    pub m: Option<usize>,
    /// Columns of B and C
    #[arg(long, requires_all = ["m", "k"])]
    pub n: Option<usize>,
    /// Columns of A, rows of B
    #[arg(long, requires_all = ["m", "n"])]
    pub k: Option<usize>,
}

impl ShapeArgs {
    /// The shapes that the arguments name.
    pub fn shapes(&self) -> Result<Vec<Shape>> {
        match (&self.shapes, self.m, self.n, self.k) {
            (Some(path), ..) => read_shapes(path),
            (None, Some(m), Some(n), Some(k)) => Ok(vec![Shape::checked(m, n, k)?]),
            _ => bail!("give --shapes FILE.csv, or all of --m, --n and --k"),
        }
    }
}

fn read_shapes(path: &Path) -> Result<Vec<Shape>> {
    let file = std::fs::File::open(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    parse_shapes(file).with_context(|| format!("{}: not a table of shapes", path.display()))
}

fn parse_shapes(input: impl std::io::Read) -> Result<Vec<Shape>> {
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).comment(Some(b'#')).from_reader(input);
    let header = reader.headers()?;
    if header.iter().take(3).ne(["m", "n", "k"]) {
        bail!("the header line has to begin with m,n,k");
    }
    let mut shapes = Vec::new();
    for record in reader.records() {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        let size = |column: usize, name: &str| -> Result<usize> {
            let text = record.get(column).unwrap_or("");
            text.parse().with_context(|| format!("line {line}: {name} is {text:?}, not a number"))
        };
        let (m, n, k) = (size(0, "m")?, size(1, "n")?, size(2, "k")?);
        let label = record.get(3).filter(|l| !l.is_empty()).map(str::to_owned);
        let shape = Shape { m, n, k, label };
        shape.check().with_context(|| format!("line {line}"))?;
        shapes.push(shape);
    }
    if shapes.is_empty() {
        bail!("it holds no shapes");
    }
    Ok(shapes)
}

/// The tier that `--tier` names, or the best one.
pub fn tier_or_best(tier: Option<Tier>) -> Result<Tier> {
    match tier {
        Some(tier) => Ok(tier.require()?),
        None => Ok(Tier::best()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_files() {
        let shapes = parse_shapes("m,n,k,model\n1, 2,3,bert\n4,5,6\n".as_bytes()).unwrap();
        assert_eq!(shapes.len(), 2);
        assert_eq!((shapes[0].to_string().as_str(), shapes[0].label.as_deref()), ("1x2x3", Some("bert")));
        for bad in ["", "m,n,k\n", "n,m,k\n1,2,3\n", "m,n,k\n1,2\n", "m,n,k\n1,x,3\n", "m,n,k\n0,1,1\n"] {
            assert!(parse_shapes(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(parse_shapes("m,n,k\n18446744073709551615,2,3\n".as_bytes()).is_err());
    }
}
