//! `gemmill-bench measure`: all figures of the documentation. It measures into CSV files, and makes pages and charts of
//! them.

mod chart;
mod figures;
mod page;
mod plan;
mod sheet;
mod sources;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use gemmill::Tier;

use crate::output::say;
use crate::{output, summary};
use figures::{Effort, Figures};
use page::Age;
use plan::{Measurement, TierOf, What};
use sheet::Sheet;

/// Measures what the documentation says in figures, and writes docs/measured: CSV files, pages and charts.
#[derive(Debug, Args)]
#[command(after_help = "\
Each table is a CSV file with CPU, date, commit, and fingerprints of the code that it measures. Pages and charts are \
made of these files alone. Where that code has changed since, the page says so.

For steady figures pin the process, for example with `taskset -c 2`: it does not pin itself.")]
pub struct MeasureArgs {
    /// Only what has one of these names, or begins with one of them
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<String>,
    /// Names what would be measured, and does nothing
    #[arg(long)]
    list: bool,
    /// Makes the pages and charts anew, and measures nothing
    #[arg(long, conflicts_with_all = ["only", "list", "seconds", "peer"])]
    render: bool,
    /// With --render: writes nothing, and fails where a page or chart is not what its CSV file makes
    #[arg(long, requires = "render")]
    check: bool,
    /// Seconds to time each product
    #[arg(long, default_value_t = 0.25, value_parser = crate::gemm::parse_seconds)]
    seconds: f64,
    /// Driver program of other libraries for products, as `gemm` has it
    #[arg(long, value_name = "PATH")]
    peer: Option<PathBuf>,
    /// The repository, whose docs/measured is written and whose sources are looked at
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    root: PathBuf,
}

/// The subcommand.
pub fn run(args: &MeasureArgs) -> Result<()> {
    let folder = args.root.join("docs/measured");
    if !args.render {
        let chosen = |m: &Measurement| args.only.is_empty() || args.only.iter().any(|name| m.name.starts_with(name));
        let all: Vec<Measurement> = plan::all()?.into_iter().filter(chosen).collect();
        ensure!(!all.is_empty(), "nothing is named {}: --list has the names", args.only.join(", "));
        if args.list {
            let mut out = std::io::stdout().lock();
            return Ok(all.iter().try_for_each(|m| writeln!(out, "{:<20} {}", m.name, m.title))?);
        }
        let effort = Effort { seconds: args.seconds, peer: args.peer.clone() };
        for measurement in &all {
            say!("{}: {}\n", measurement.name, measurement.title);
            let sheet = measure(measurement, &effort, &args.root)?;
            fs::create_dir_all(&folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
            write(&folder.join(format!("{}.csv", sheet.name)), &sheet.to_csv()?)?;
        }
    }
    render(&folder, &args.root, args.check)
}

/// The sheet of a measurement.
fn measure(measurement: &Measurement, effort: &Effort, root: &Path) -> Result<Sheet> {
    let tier = match measurement.tier {
        TierOf::All(tier) => tier,
        TierOf::Row => Tier::best()?,
    };
    let print = |path: &&'static str| {
        let print = sources::fingerprint(root, path)?;
        Ok((*path, print.with_context(|| format!("{}: no sources of gemmill are there", root.join(path).display()))?))
    };
    let prints = measurement.sources.iter().map(print).collect::<Result<Vec<_>>>()?;
    let figures = Figures::of(&measurement.what, tier, effort)?;
    let mut sheet =
        Sheet { name: measurement.name.clone(), columns: figures.columns, rows: figures.rows, ..Sheet::default() };
    sheet.say("title", &*measurement.title);
    sheet.say("about", measurement.about);
    sheet.say("cpu", summary::cpu());
    sheet.say("date", today()?);
    sheet.say("commit", commit(root));
    sheet.say("tier", if measurement.tier == TierOf::Row { "as the rows say".to_owned() } else { tier.to_string() });
    let threads = match measurement.what {
        What::Packing => std::thread::available_parallelism()?.get(),
        _ => 1,
    };
    sheet.say("threads", threads.to_string());
    sheet.say("command", format!("gemmill-bench measure --only {} --seconds {}", sheet.name, effort.seconds));
    for (path, print) in prints {
        sheet.say("sources", format!("{path} {print}"));
    }
    figures.chart.into_iter().for_each(|column| sheet.say("chart", column));
    Ok(sheet)
}

/// Makes the pages and charts of all CSV files of a folder; or, to check them, compares those that are there.
fn render(folder: &Path, root: &Path, check: bool) -> Result<()> {
    let files = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<PathBuf>>>();
    let mut files = files().with_context(|| format!("{}: cannot be read", folder.display()))?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "csv"));
    files.sort();
    let mut sheets = Vec::new();
    let mut made = Vec::new();
    for path in &files {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))?;
        let sheet = Sheet::parse(&name, &text).with_context(|| format!("{}: not a sheet", path.display()))?;
        let age = Age::of(&sheet, root)?;
        made.push((format!("{name}.md"), page::page(&sheet, &age)));
        made.extend(chart::svg(&sheet)?.map(|svg| (format!("{name}.svg"), svg)));
        sheets.push((sheet, age));
    }
    // The newest first.
    sheets.sort_by(|(a, _), (b, _)| b.first("date").cmp(a.first("date")));
    made.push(("README.md".to_owned(), page::index(&sheets)));
    let mut stale = Vec::new();
    for (name, text) in &made {
        let path = folder.join(name);
        if fs::read_to_string(&path).is_ok_and(|is| is == *text) {
            continue;
        }
        if check {
            stale.push(name.as_str());
        } else {
            write(&path, text)?;
        }
    }
    if !stale.is_empty() {
        bail!("{}: not what the CSV files make: {}; run `measure --render`", folder.display(), stale.join(", "));
    }
    say!("{}: {} tables, {} files\n", folder.display(), sheets.len(), made.len());
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    output::write_atomically(path, |file, _| Ok(file.write_all(text.as_bytes())?))
}

/// The commit that is checked out, and whether the code differs from it.
fn commit(root: &Path) -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match (git(&["rev-parse", "--short=10", "HEAD"]), git(&["status", "--porcelain", "--", "src", "codegen"])) {
        (Some(commit), Some(changes)) if changes.is_empty() => commit,
        (Some(commit), _) => format!("{commit} with changes"),
        (None, _) => "unknown".to_owned(),
    }
}

/// Today, UTC, as year-month-day.
pub fn today() -> Result<String> {
    Ok(date(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs()))
}

/// The day of seconds since 1970, UTC, as year-month-day.
fn date(seconds: u64) -> String {
    // Years begin in March here: a leap day is the last of its year. Eras are 400 years, 146097 days.
    let days = seconds / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let of_years = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * of_years + of_years / 4 - of_years / 100);
    let march_based = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_based + 2) / 5 + 1;
    let month = if march_based < 10 { march_based + 3 } else { march_based - 9 };
    let year = era * 400 + of_years + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn days_have_dates() {
        let day = 86_400;
        let known = [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29"), (11_017, "2000-03-01")];
        known.iter().for_each(|&(days, text)| assert_eq!(date(days * day + 5), text));
        assert_eq!(date(1_796_083_200), "2026-12-01");
    }
}
