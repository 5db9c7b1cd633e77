//! `gemmill-bench plot`: a roofline and a bar chart of results, as SVG or PNG.

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use clap::{Args, ValueEnum};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::output;
use crate::table::{self, Record};

/// Draws a roofline and a bar chart of the results of `gemm --format json`.
#[derive(Debug, Args)]
pub struct PlotArgs {
    /// Results: JSON lines
    #[arg(value_name = "RESULT.json")]
    results: PathBuf,
    /// Picture to write; its name ends in .svg or .png
    #[arg(short, long, value_name = "FILE.svg|FILE.png")]
    output: PathBuf,
    /// What to draw
    #[arg(long, value_enum, default_value_t = Kind::Both)]
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Both,
    Roofline,
    Bars,
}

const WIDTH: u32 = 1100;
const ROOFLINE_HEIGHT: u32 = 640;
const BAR_HEIGHT: u32 = 20;
/// The font of all charts: [`register_font`] makes it known.
pub const FONT: &str = "sans-serif";
/// Colors of series, apart for all eyes.
pub const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// The subcommand.
pub fn run(args: &PlotArgs) -> Result<()> {
    let format = args.output.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    if !["svg", "png"].contains(&format.as_str()) {
        bail!("{}: the name has to end in .svg or .png", args.output.display());
    }
    let records = table::read(&args.results)?;
    if let Some(r) = records.iter().find(|r| !(r.gmacs.is_finite() && r.gmacs > 0.0)) {
        bail!("{}: {} has a speed of {}", args.results.display(), r.shape(), r.gmacs);
    }
    register_font()?;
    let height = match args.kind {
        Kind::Roofline => ROOFLINE_HEIGHT,
        Kind::Bars => bars_height(&records),
        Kind::Both => ROOFLINE_HEIGHT + bars_height(&records),
    };
    output::write_atomically(&args.output, |_, path| {
        if format == "svg" {
            draw(&SVGBackend::new(path, (WIDTH, height)).into_drawing_area(), &records, args.kind)
        } else {
            draw(&BitMapBackend::new(path, (WIDTH, height)).into_drawing_area(), &records, args.kind)
        }
    })?;
    println!("{}: {} results", args.output.display(), records.len());
    Ok(())
}

/// Text is drawn from the binary itself: no machine is asked for its fonts.
pub fn register_font() -> Result<()> {
    plotters::style::register_font(FONT, FontStyle::Normal, dejavu::sans::regular())
        .map_err(|_| anyhow!("the font cannot be read"))
}

fn draw<DB: DrawingBackend>(root: &DrawingArea<DB, Shift>, records: &[Record], kind: Kind) -> Result<()> {
    drawn(root.fill(&WHITE))?;
    match kind {
        Kind::Roofline => roofline(root, records)?,
        Kind::Bars => bars(root, records)?,
        Kind::Both => {
            let (above, below) = root.split_vertically(ROOFLINE_HEIGHT);
            roofline(&above, records)?;
            bars(&below, records)?;
        }
    }
    drawn(root.present())
}

/// Errors of drawing backends borrow from the backend; only their text is kept.
pub fn drawn<T, E: std::error::Error + Send + Sync>(result: Result<T, DrawingAreaErrorKind<E>>) -> Result<T> {
    result.map_err(|e| anyhow!("drawing: {e}"))
}

fn bars_height(records: &[Record]) -> u32 {
    // A picture of more bars than this could be neither drawn nor read.
    BAR_HEIGHT * records.len().min(1000) as u32 + 130
}

/// The operations of the results, each with its color.
fn series(records: &[Record]) -> Vec<(String, RGBColor)> {
    let mut names: Vec<String> = Vec::new();
    for r in records {
        let name = series_name(r);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.into_iter().zip(COLORS.into_iter().cycle()).collect()
}

fn series_name(r: &Record) -> String {
    let threads = if r.threads == 1 { String::new() } else { format!(", {} threads", r.threads) };
    format!("{} {}{threads}", r.op, r.tier)
}

fn color(series: &[(String, RGBColor)], r: &Record) -> RGBColor {
    let name = series_name(r);
    series.iter().find(|(n, _)| *n == name).map_or(BLACK, |(_, c)| *c)
}

/// Multiply-accumulates per byte of A, B and C.
fn intensity(r: &Record) -> f64 {
    let bytes = if r.bytes > 0 { r.bytes as f64 } else { (r.m * r.k + r.k * r.n + r.m * r.n) as f64 };
    (r.shape().macs() / bytes.max(1.0)).max(1e-3)
}

fn greatest(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.filter(|v| v.is_finite() && *v > 0.0).reduce(f64::max)
}

fn roofline<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, records: &[Record]) -> Result<()> {
    let threads = records.iter().map(|r| r.threads).max().unwrap_or(1) as f64;
    let peak = greatest(records.iter().filter_map(|r| r.peak_gmacs)).map(|p| p * threads);
    let fastest = greatest(records.iter().map(|r| r.gmacs)).unwrap_or(1.0);
    let slowest = records.iter().map(|r| r.gmacs).fold(fastest, f64::min);
    let x_low = records.iter().map(intensity).fold(0.5, f64::min) / 1.5;
    let x_high = records.iter().map(intensity).fold(64.0, f64::max) * 2.0;
    let y_high = peak.unwrap_or(fastest).max(fastest) * 2.0;
    let mut chart = drawn(
        ChartBuilder::on(area)
            .caption("Roofline, one point per shape", (FONT, 22))
            .margin(15)
            .x_label_area_size(50)
            .y_label_area_size(70)
            .build_cartesian_2d((x_low..x_high).log_scale(), (slowest / 2.0..y_high).log_scale()),
    )?;
    drawn(
        chart
            .configure_mesh()
            .x_desc("multiply-accumulates per byte of A, B and C")
            .y_desc("GMAC/s")
            .label_style((FONT, 14))
            .x_label_formatter(&|x| short(*x))
            .y_label_formatter(&|y| short(*y))
            .draw(),
    )?;
    let ceiling = peak.unwrap_or(y_high);
    let bandwidths = [
        ("memory, one core", greatest(records.iter().filter_map(|r| r.memory_gbs))),
        ("L2, one core", greatest(records.iter().filter_map(|r| r.l2_gbs))),
    ];
    let roofs = bandwidths.into_iter().filter_map(|(name, gbs)| Some((name, gbs?)));
    for ((name, gbs), style) in roofs.zip([BLACK.mix(0.8), BLACK.mix(0.4)]) {
        let knee = (ceiling / gbs).clamp(x_low, x_high);
        let line = LineSeries::new([(x_low, gbs * x_low), (knee, (gbs * knee).min(ceiling))], style.stroke_width(2));
        drawn(chart.draw_series(line))?
            .label(format!("{name}: {gbs:.0} GB/s"))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style.stroke_width(2)));
    }
    if let Some(peak) = peak {
        let line = LineSeries::new([(x_low, peak), (x_high, peak)], RED.stroke_width(2));
        drawn(chart.draw_series(line))?
            .label(format!("sequence peak: {peak:.0} GMAC/s"))
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], RED.stroke_width(2)));
    }
    for (name, color) in series(records) {
        let points = records.iter().filter(|r| series_name(r) == name).map(|r| (intensity(r), r.gmacs));
        drawn(chart.draw_series(points.map(|at| Circle::new(at, 4, color.filled()))))?
            .label(name)
            .legend(move |(x, y)| Circle::new((x + 9, y), 4, color.filled()));
    }
    drawn(
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .label_font((FONT, 14))
            .draw(),
    )
}

/// A number on a logarithmic axis.
fn short(x: f64) -> String {
    if x >= 10.0 { format!("{x:.0}") } else { format!("{x:.2}") }
}

fn bars<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, records: &[Record]) -> Result<()> {
    let shown = &records[..records.len().min(1000)];
    let peak = greatest(shown.iter().filter_map(|r| r.peak_gmacs));
    let fastest = greatest(shown.iter().map(|r| r.gmacs)).unwrap_or(1.0);
    let right = fastest.max(peak.unwrap_or(0.0)) * 1.2;
    let count = shown.len() as f64;
    let mut chart = drawn(
        ChartBuilder::on(area)
            .caption("GMAC/s by shape", (FONT, 22))
            .margin(15)
            .x_label_area_size(45)
            .y_label_area_size(310)
            .build_cartesian_2d(0.0..right, count..0.0),
    )?;
    drawn(
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(0)
            .x_desc("GMAC/s; the line is the sequence peak of one core")
            .label_style((FONT, 14))
            .draw(),
    )?;
    let series = series(shown);
    let name = |r: &Record| {
        let label = r.label.as_ref().map(|l| format!("{l} ")).unwrap_or_default();
        format!("{label}{} {}", r.shape(), r.op)
    };
    let boxes = shown.iter().enumerate().map(|(i, r)| {
        let top = i as f64;
        Rectangle::new([(0.0, top + 0.15), (r.gmacs, top + 0.85)], color(&series, r).filled())
    });
    drawn(chart.draw_series(boxes))?;
    let beside = |h: HPos| TextStyle::from((FONT, 13).into_font()).pos(Pos::new(h, VPos::Center));
    let figures = shown.iter().enumerate().map(|(i, r)| {
        let text = match r.peak_ratio {
            Some(_) => format!("{:.1} ({})", r.gmacs, table::percent(r.peak_ratio)),
            None => format!("{:.1}", r.gmacs),
        };
        EmptyElement::at((r.gmacs, i as f64 + 0.5)) + Text::new(text, (5, 0), beside(HPos::Left))
    });
    drawn(chart.draw_series(figures))?;
    // In pixels of the whole area: the chart's own area ends at its axis.
    let (pixels_x, pixels_y) = chart.plotting_area().get_pixel_range();
    let (base_x, base_y) = area.get_base_pixel();
    for (i, r) in shown.iter().enumerate() {
        let height = f64::from(pixels_y.end - pixels_y.start);
        let y = pixels_y.start + ((i as f64 + 0.5) / count * height) as i32;
        let at = (pixels_x.start - base_x - 8, y - base_y);
        drawn(area.draw(&Text::new(name(r), at, beside(HPos::Right))))?;
    }
    if let Some(peak) = peak {
        drawn(chart.draw_series([PathElement::new([(peak, 0.0), (peak, count)], RED.stroke_width(2))]))?;
    }
    Ok(())
}
