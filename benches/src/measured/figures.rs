//! The figures of a measurement: columns and rows of its sheet.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use gemmill::{HardwareDot, Tier};
use gemmill_codegen::Caches;

use super::plan::{self, Way, What};
use crate::args::{Shape, WeightKind};
use crate::case::{self, Integers, Setup};
use crate::groups::Groups;
use crate::op::{Arithmetic, Op};
use crate::peak::{self, TierPeak, size_name};
use crate::peers::Peers;
use crate::table::Record;
use crate::{convert, gemm, gemv};

/// How long and beside what is measured.
pub struct Effort {
    pub seconds: f64,
    pub peer: Option<PathBuf>,
}

/// A table, and those of its columns that a chart shows.
#[derive(Default)]
pub struct Figures {
    pub columns: Vec<String>,
    pub chart: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// Multiply-accumulates that the reference may spend on one product: rows of large ones are sampled.
const VERIFY_BUDGET: f64 = 2e7;
/// Turns of peers and gemmill.
const TURNS: u32 = 3;
/// Bytes that all copies of weights from memory may have.
const LARGEST: usize = 1 << 30;

impl Figures {
    fn with_columns(columns: &[&str], chart: &[&str]) -> Figures {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Figures { columns: owned(columns), chart: owned(chart), rows: Vec::new() }
    }

    /// Measures.
    pub fn of(what: &What, tier: Tier, effort: &Effort) -> Result<Figures> {
        match what {
            What::Peaks => Figures::peaks(effort),
            What::Squares => Figures::squares(effort),
            What::Products { shapes, ways } => Figures::products(tier, shapes, ways, effort),
            What::Rows { ops } => Figures::rows(tier, ops, effort),
            What::Conversions => Figures::conversions(effort),
            What::Packing => Figures::packing(),
        }
    }

    fn peaks(effort: &Effort) -> Result<Figures> {
        let mut figures = Figures::with_columns(&["what", "speed", "unit"], &[]);
        let mut add = |what: String, speed: f64, unit: &str| figures.rows.push(vec![what, tenths(speed), unit.into()]);
        for (name, gmacs) in peak::sequences(&plan::tiers(), effort.seconds)? {
            add(name, gmacs, "GMAC/s");
        }
        let tier = Tier::best()?;
        let caches = Caches::of_this_cpu();
        for bytes in [caches.l1 / 2, caches.l2 / 2, 16 << 20, 128 << 20] {
            add(format!("read {}", size_name(bytes)), peak::read_bandwidth(tier, bytes, effort.seconds), "GB/s");
        }
        Ok(figures)
    }

    fn squares(effort: &Effort) -> Result<Figures> {
        const SIDES: [usize; 3] = [512, 1024, 2048];
        let kinds = [
            ("gaussian, per tensor", WeightKind::PerTensor),
            ("−64..63", WeightKind::Safe),
            ("gaussian, per column", WeightKind::PerColumn),
            ("uniform −128..127", WeightKind::Uniform),
            ("int4, −8..7", WeightKind::Int4),
        ];
        let mut figures = Figures::with_columns(&["tier", "weights"], &[]);
        for side in SIDES {
            figures.columns.extend([side.to_string(), "of the peak, %".to_owned()]);
            figures.chart.push(side.to_string());
        }
        for tier in plan::tiers() {
            let mut products = Products::new(tier, effort)?;
            for (name, weights) in kinds {
                let way = Way { name: name.into(), op: u8i8_u8(), weights, hardware_dot: None };
                let mut row = vec![tier.to_string(), name.to_owned()];
                for side in SIDES {
                    let record = products.measure(&way, [side; 3])?;
                    row.extend([tenths(record.gmacs), percent(record.peak_ratio)]);
                }
                figures.rows.push(row);
            }
        }
        Ok(figures)
    }

    fn products(tier: Tier, shapes: &[[usize; 3]], ways: &[Way], effort: &Effort) -> Result<Figures> {
        let mut products = Products::new(tier, effort)?;
        let mut figures = Figures::with_columns(&["m", "n", "k"], &[]);
        let peers = products.peers.as_ref().map(|p| p.names().to_vec()).unwrap_or_default();
        for way in ways {
            let column = format!("{}, GMAC/s", way.name);
            figures.columns.extend([column.clone(), "of the peak, %".to_owned()]);
            figures.columns.extend(peers.iter().map(|peer| format!("× {peer}")));
            figures.chart.push(column);
        }
        for &shape in shapes {
            let mut row = shape.map(|size| size.to_string()).to_vec();
            for way in ways {
                let record = products.measure(way, shape)?;
                row.extend([tenths(record.gmacs), percent(record.peak_ratio)]);
                let over = |peer| record.peers.get(peer).map(|gmacs| format!("{:.2}", record.gmacs / gmacs));
                row.extend(peers.iter().map(|peer| over(peer).unwrap_or_default()));
            }
            figures.rows.push(row);
        }
        Ok(figures)
    }

    fn rows(tier: Tier, ops: &[Op], effort: &Effort) -> Result<Figures> {
        let columns = [
            "operation",
            "from",
            "m",
            "n",
            "k",
            "GMAC/s",
            "weights, GB/s",
            "read, GB/s",
            "of read, %",
            "of the peak, %",
        ];
        let mut figures = Figures::with_columns(&columns, &["GMAC/s", "weights, GB/s", "read, GB/s"]);
        for &op in ops {
            let mut peak = TierPeak::new(tier, op.arithmetic())?;
            for level in gemv::levels(Caches::of_this_cpu(), LARGEST) {
                let (side, copies) = level.matrix(op);
                for m in [1, 4] {
                    let shape = Shape::checked(m, side, side)?;
                    let setup = Setup { copies, ..setup(WeightKind::of(op)[0], tier, None) };
                    let (r, verdict) = gemv::measure(op, &shape, level, &setup, effort.seconds, &mut peak)?;
                    ensure!(r.verified, "{op} {shape}: {verdict}");
                    let sizes =
                        [op.to_string(), level.name.to_owned(), m.to_string(), side.to_string(), side.to_string()];
                    let speeds = [r.gmacs, r.weight_gbs, r.read_gbs].map(tenths);
                    let shares = [percent(Some(r.read_ratio)), percent(r.peak_ratio)];
                    figures.rows.push(sizes.into_iter().chain(speeds).chain(shares).collect());
                }
            }
        }
        Ok(figures)
    }

    fn conversions(effort: &Effort) -> Result<Figures> {
        let columns = ["conversion", "bytes", "GB/s", "copy, GB/s", "over the copy"];
        let mut figures = Figures::with_columns(&columns, &["GB/s", "copy, GB/s"]);
        for bytes in convert::usual_sizes() {
            for r in convert::rows(bytes, effort.seconds, || ())? {
                let speeds = [tenths(r.gbs), tenths(r.copy_gbs), format!("{:.2}", r.ratio)];
                figures.rows.push([r.conversion.to_owned(), size_name(r.bytes)].into_iter().chain(speeds).collect());
            }
        }
        Ok(figures)
    }

    fn packing() -> Result<Figures> {
        const SIDE: usize = 1024;
        const TIMES: usize = 3;
        let ops = ["u8i8-u8", "f32f16-f32", "f32f32-f32", "i8i4-f32", "i8i2-f32"];
        let mut figures =
            Figures::with_columns(&["tier", "operation", "weights", "ns for a weight"], &["ns for a weight"]);
        let shape = Shape::checked(1, SIDE, SIDE)?;
        for tier in plan::tiers() {
            for op in ops.map(|op| op.parse::<Op>().map_err(anyhow::Error::msg)) {
                let op = op?;
                for &weights in WeightKind::of(op).iter().filter(|&&kind| kind != WeightKind::Safe) {
                    let mut best = f64::INFINITY;
                    for _ in 0..TIMES {
                        let case = case::new(op, &shape, &setup(weights, tier, None))?;
                        best = best.min(case.pack_seconds());
                    }
                    let ns = format!("{:.2}", best * 1e9 / (SIDE * SIDE) as f64);
                    figures.rows.push(vec![tier.to_string(), op.to_string(), weights.to_string(), ns]);
                }
            }
        }
        Ok(figures)
    }
}

/// Products of one tier: their peaks, and peers that run all the while.
struct Products<'a> {
    tier: Tier,
    effort: &'a Effort,
    peaks: Vec<(Arithmetic, TierPeak)>,
    peers: Option<Peers>,
}

impl<'a> Products<'a> {
    fn new(tier: Tier, effort: &'a Effort) -> Result<Products<'a>> {
        let peers = effort.peer.as_deref().map(|path| Peers::start(path, tier)).transpose()?;
        Ok(Products { tier, effort, peaks: Vec::new(), peers })
    }

    /// Measures a product and compares it with the reference.
    fn measure(&mut self, way: &Way, [m, n, k]: [usize; 3]) -> Result<Record> {
        let (op, shape) = (way.op, Shape::checked(m, n, k)?);
        let arithmetic = way.hardware_dot.map_or(op.arithmetic(), Arithmetic::Dot);
        let at = match self.peaks.iter().position(|(of, _)| *of == arithmetic) {
            Some(at) => at,
            None => {
                self.peaks.push((arithmetic, TierPeak::new(self.tier, arithmetic)?));
                self.peaks.len() - 1
            }
        };
        let setup = setup(way.weights, self.tier, way.hardware_dot);
        let seconds = self.effort.seconds;
        let measurement = gemm::Measurement { op, setup: &setup, seconds, turns: TURNS, verify_budget: VERIFY_BUDGET };
        let (record, verdict) = measurement.run(&shape, &mut self.peaks[at].1, self.peers.as_mut())?;
        ensure!(record.verified, "{op} {shape}: {verdict}");
        Ok(record)
    }
}

fn u8i8_u8() -> Op {
    use crate::op::{IntOp, Type};
    Op::Int(IntOp { a: Type::U8, b: Type::I8, c: Type::U8 })
}

/// One thread, one copy of the weights, the usual of all else.
fn setup(weights: WeightKind, tier: Tier, hardware_dot: Option<HardwareDot>) -> Setup {
    let (integers, groups) = (Integers::default(), Groups::default());
    Setup { weights, integers, groups, hardware_dot, copies: 1, tier, threads: 1, seed: 1 }
}

fn tenths(x: f64) -> String {
    format!("{x:.1}")
}

fn percent(ratio: Option<f64>) -> String {
    ratio.map(|r| format!("{:.0}", r * 100.0)).unwrap_or_default()
}
