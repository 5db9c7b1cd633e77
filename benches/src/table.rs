//! Results of shapes, and how they are printed: a table, JSON lines, or CSV.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::args::{Format, Shape};

/// What was measured of one shape. JSON output is one of these a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    pub op: String,
    #[serde(default)]
    pub weights: String,
    pub tier: String,
    pub threads: usize,
    /// How the packed weights are multiplied.
    pub sequence: String,
    /// GMAC/s of the shortest sample.
    pub gmacs: f64,
    /// GMAC/s of the median sample.
    #[serde(default)]
    pub gmacs_median: f64,
    /// `gmacs` over the tier's peak times the threads; absent where its sequence cannot run.
    pub peak_ratio: Option<f64>,
    /// The peak of the tier's plainest exact sequence on one core, GMAC/s.
    #[serde(default)]
    pub peak_gmacs: Option<f64>,
    /// `gmacs` over the best of the same sequence in samples as long as the product's, times the threads.
    #[serde(default)]
    pub sustained_ratio: Option<f64>,
    /// What one core reads from its second-level cache and from memory, GB/s.
    #[serde(default)]
    pub l2_gbs: Option<f64>,
    #[serde(default)]
    pub memory_gbs: Option<f64>,
    /// Bytes of A, B and C as the caller holds them.
    #[serde(default)]
    pub bytes: u64,
    #[serde(default)]
    pub packed_bytes: usize,
    #[serde(default)]
    pub pack_seconds: f64,
    /// All compared elements had the bits of the reference.
    pub verified: bool,
    /// Rows of C that were compared.
    #[serde(default)]
    pub verified_rows: usize,
    /// The CPU, and the day (UTC).
    #[serde(default)]
    pub cpu: String,
    #[serde(default)]
    pub date: String,
    /// GMAC/s of each peer, measured in turns with this one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub peers: BTreeMap<String, f64>,
}

impl Record {
    /// The sizes, with the label.
    pub fn shape(&self) -> Shape {
        Shape { m: self.m, n: self.n, k: self.k, label: self.label.clone() }
    }
}

/// Lines before the first record.
pub fn header(format: Format, peers: &[String]) -> Result<String> {
    Ok(match format {
        Format::Json => String::new(),
        Format::Csv => {
            csv_line(CSV_COLUMNS.iter().map(|c| (*c).to_owned()).chain(peers.iter().cloned()).collect::<Vec<_>>())?
        }
        Format::Table => {
            let mut line = format!(
                "{:>7} {:>6} {:>6}  {:<14} {:<8} {:>2}  {:>8} {:>8} {:>6} {:>9}  {:<8}",
                "m", "n", "k", "op", "tier", "T", "GMAC/s", "median", "peak", "sustained", "verified"
            );
            peers.iter().for_each(|p| line.push_str(&format!(" {p:>16}")));
            line + "  sequence\n"
        }
    })
}

const CSV_COLUMNS: [&str; 17] = [
    "m",
    "n",
    "k",
    "label",
    "op",
    "weights",
    "tier",
    "threads",
    "sequence",
    "gmacs",
    "gmacs_median",
    "peak_ratio",
    "peak_gmacs",
    "sustained_ratio",
    "packed_bytes",
    "verified",
    "verified_rows",
];

/// One record as a line, with its line end.
pub fn line(format: Format, r: &Record, peers: &[String]) -> Result<String> {
    let optional = |x: Option<f64>| x.map(|x| x.to_string()).unwrap_or_default();
    Ok(match format {
        Format::Json => serde_json::to_string(r)? + "\n",
        Format::Csv => {
            let mut fields = vec![
                r.m.to_string(),
                r.n.to_string(),
                r.k.to_string(),
                r.label.clone().unwrap_or_default(),
                r.op.clone(),
                r.weights.clone(),
                r.tier.clone(),
                r.threads.to_string(),
                r.sequence.clone(),
                r.gmacs.to_string(),
                r.gmacs_median.to_string(),
                optional(r.peak_ratio),
                optional(r.peak_gmacs),
                optional(r.sustained_ratio),
                r.packed_bytes.to_string(),
                r.verified.to_string(),
                r.verified_rows.to_string(),
            ];
            fields.extend(peers.iter().map(|p| optional(r.peers.get(p).copied())));
            csv_line(fields)?
        }
        Format::Table => {
            let mut line = format!(
                "{:>7} {:>6} {:>6}  {:<14} {:<8} {:>2}  {:>8.2} {:>8.2} {:>6} {:>9}  {:<8}",
                r.m,
                r.n,
                r.k,
                r.op,
                r.tier,
                r.threads,
                r.gmacs,
                r.gmacs_median,
                percent(r.peak_ratio),
                percent(r.sustained_ratio),
                verdict(r)
            );
            for peer in peers {
                let text = r.peers.get(peer).map(|&g| format!("{g:.1} ({:.2}x)", r.gmacs / g)).unwrap_or_default();
                line.push_str(&format!(" {text:>16}"));
            }
            line.push_str("  ");
            line.push_str(&r.sequence);
            if let Some(label) = &r.label {
                line.push_str(&format!("  [{label}]"));
            }
            line + "\n"
        }
    })
}

fn csv_line(fields: Vec<String>) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields)?;
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// A ratio in percent, or a dash.
pub fn percent(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |r| format!("{:.0}%", r * 100.0))
}

fn verdict(r: &Record) -> &'static str {
    match (r.verified, r.verified_rows == r.m) {
        (false, _) => "WRONG",
        (true, true) => "all",
        (true, false) => "sample",
    }
}

/// Reads JSON lines as `gemm --format json` prints them.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let text = match path.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(path),
    };
    let text = text.with_context(|| format!("{}: cannot be read", path.display()))?;
    let mut records = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let record: Record = serde_json::from_str(line)
            .with_context(|| format!("{}: line {} is no result", path.display(), number + 1))?;
        records.push(record);
    }
    if records.is_empty() {
        bail!("{}: holds no results", path.display());
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            m: 1,
            n: 2,
            k: 3,
            label: Some("a,b".into()),
            op: "u8i8-i32".into(),
            weights: "per-column".into(),
            tier: "avx2".into(),
            threads: 1,
            sequence: "narrow".into(),
            gmacs: 50.0,
            gmacs_median: 49.0,
            peak_ratio: Some(0.5),
            peak_gmacs: Some(100.0),
            sustained_ratio: Some(0.55),
            l2_gbs: None,
            memory_gbs: None,
            bytes: 17,
            packed_bytes: 64,
            pack_seconds: 0.0,
            verified: true,
            verified_rows: 1,
            cpu: "a CPU".into(),
            date: "2026-12-01".into(),
            peers: BTreeMap::from([("other".to_owned(), 25.0)]),
        }
    }

    #[test]
    fn json_reads_back() -> Result<()> {
        let line = line(Format::Json, &record(), &[])?;
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(serde_json::from_str::<Record>(&line)?, record());
        Ok(())
    }

    #[test]
    fn csv_has_as_many_fields_as_its_header() -> Result<()> {
        let peers = ["other".to_owned()];
        let text = header(Format::Csv, &peers)? + &line(Format::Csv, &record(), &peers)?;
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let row = reader.records().next().context("no row")??;
        assert_eq!(row.get(3), Some("a,b"));
        assert_eq!(row.get(CSV_COLUMNS.len()), Some("25"));
        Ok(())
    }

    #[test]
    fn the_table_tells_a_sample_from_all() -> Result<()> {
        let mut r = record();
        assert!(line(Format::Table, &r, &[])?.contains(" all "));
        r.verified = false;
        assert!(line(Format::Table, &r, &[])?.contains("WRONG"));
        assert!(line(Format::Table, &r, &["other".into()])?.contains("25.0 (2.00x)"));
        Ok(())
    }
}
