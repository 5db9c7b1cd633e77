//! `gemmill-bench plot`: a roofline and a bar chart of results, as SVG or PNG.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::output::{self, say};
use crate::table::{self, Record};

/// Draws a roofline and a bar chart of the results of `gemm --format json`.
#[derive(Debug, Args)]
pub struct PlotArgs {
    /// Results: JSON lines; - for standard input
    #[arg(value_name = "RESULT.json|-")]
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
/// Bars of a picture: more could not be read. The first results have them; the caption says so.
const MOST_BARS: usize = 200;
/// Characters of a label.
const MOST_CHARACTERS: usize = 40;
/// Speeds and rates that a picture can have, from a thousandth of a portable core to a machine room, in GMAC/s and
/// GB/s.
const RANGE: std::ops::RangeInclusive<f64> = 1e-6..=1e9;
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
    let mut records = table::read(&args.results)?;
    for r in &mut records {
        check(r).with_context(|| args.results.display().to_string())?;
        make_printable(r);
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
    say!("{}: {} results\n", args.output.display(), records.len());
    Ok(())
}

/// Refuses figures that no axis has room for.
fn check(r: &Record) -> Result<()> {
    let figures =
        [("speed", Some(r.gmacs)), ("peak", r.peak_gmacs), ("rate of L2", r.l2_gbs), ("rate of memory", r.memory_gbs)];
    for (what, figure) in figures {
        let Some(figure) = figure.filter(|figure| !RANGE.contains(figure)) else { continue };
        bail!("{} has a {what} of {figure}: expected {:e} to {:e}", r.shape(), RANGE.start(), RANGE.end());
    }
    Ok(())
}

/// Texts without what is no text in a picture, and no longer than there is room for.
fn make_printable(r: &mut Record) {
    let clean = |text: &mut String| {
        let replaced = |c: char| if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') { '\u{fffd}' } else { c };
        let mut short: String = text.chars().take(MOST_CHARACTERS).map(replaced).collect();
        if text.chars().count() > MOST_CHARACTERS {
            short.push('…');
        }
        *text = short;
    };
    [&mut r.op, &mut r.weights, &mut r.tier, &mut r.sequence, &mut r.cpu, &mut r.date].into_iter().for_each(clean);
    r.label.iter_mut().for_each(clean);
}

/// CPU, threads and date of the results.
fn origin(records: &[Record]) -> String {
    let distinct = |of: fn(&Record) -> String| {
        let mut all: Vec<String> = records.iter().map(of).filter(|text| !text.is_empty()).collect();
        all.dedup();
        match &all[..] {
            [] => "unknown".to_owned(),
            [one] => one.clone(),
            [first, ..] if all.iter().all(|text| text == first) => first.clone(),
            [first, ..] => format!("{first} and others"),
        }
    };
    let threads = |pick: fn(usize, usize) -> usize| records.iter().map(|r| r.threads).reduce(pick).unwrap_or(1);
    let threads = match (threads(usize::min), threads(usize::max)) {
        (1, 1) => "1 thread".to_owned(),
        (low, high) if low == high => format!("{low} threads"),
        (low, high) => format!("{low} to {high} threads"),
    };
    format!("{}, {threads}, {}", distinct(|r| r.cpu.clone()), distinct(|r| r.date.clone()))
}

/// The peak of each tier with each number of threads, in the order of the results.
fn roofs(records: &[Record]) -> Vec<(String, f64)> {
    let mut roofs: Vec<(String, f64)> = Vec::new();
    for r in records {
        let Some(peak) = r.peak_gmacs.map(|peak| peak * r.threads.max(1) as f64) else { continue };
        let threads = if r.threads == 1 { String::new() } else { format!(", {} threads", r.threads) };
        let name = format!("{}{threads}", r.tier);
        match roofs.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = known.max(peak),
            None => roofs.push((name, peak)),
        }
    }
    roofs
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
    BAR_HEIGHT * records.len().min(MOST_BARS) as u32 + 130
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
    let bytes = if r.bytes > 0 {
        r.bytes as f64
    } else {
        r.m as f64 * r.k as f64 + r.k as f64 * r.n as f64 + r.m as f64 * r.n as f64
    };
    (r.shape().macs() / bytes.max(1.0)).clamp(1e-3, 1e6)
}

fn greatest(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.filter(|v| v.is_finite() && *v > 0.0).reduce(f64::max)
}

fn roofline<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, records: &[Record]) -> Result<()> {
    let peaks = roofs(records);
    let peak = greatest(peaks.iter().map(|(_, peak)| *peak));
    let fastest = greatest(records.iter().map(|r| r.gmacs)).unwrap_or(1.0);
    let slowest = records.iter().map(|r| r.gmacs).fold(fastest, f64::min);
    let x_low = records.iter().map(intensity).fold(0.5, f64::min) / 1.5;
    let x_high = records.iter().map(intensity).fold(64.0, f64::max) * 2.0;
    let y_high = peak.unwrap_or(fastest).max(fastest) * 2.0;
    let mut chart = drawn(
        ChartBuilder::on(area)
            .caption(format!("Roofline, one point per shape: {}", origin(records)), (FONT, 16))
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
    // Each tier's, in red that pales from the first to the last.
    for (i, (name, peak)) in peaks.into_iter().enumerate() {
        let style = RED.mix(1.0 / (1.0 + i as f64 * 0.5)).stroke_width(2);
        drawn(chart.draw_series(LineSeries::new([(x_low, peak), (x_high, peak)], style)))?
            .label(format!("{name}: sequence peak {peak:.0} GMAC/s"))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
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

/// A number on an axis: three digits, none of them a zero behind the point.
fn short(x: f64) -> String {
    if x.abs() >= 100.0 || x == 0.0 {
        return format!("{x:.0}");
    }
    let digits = (2.0 - x.abs().log10().floor()).clamp(0.0, 9.0) as usize;
    let text = format!("{x:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn bars<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, records: &[Record]) -> Result<()> {
    let shown = &records[..records.len().min(MOST_BARS)];
    let of_all = match shown.len() < records.len() {
        true => format!(", the first {MOST_BARS} of {} results", records.len()),
        false => String::new(),
    };
    let peak_of = |r: &Record| r.peak_gmacs.map(|peak| peak * r.threads.max(1) as f64);
    let peak = greatest(shown.iter().filter_map(peak_of));
    let fastest = greatest(shown.iter().map(|r| r.gmacs)).unwrap_or(1.0);
    let right = fastest.max(peak.unwrap_or(0.0)) * 1.2;
    let count = shown.len() as f64;
    let mut chart = drawn(
        ChartBuilder::on(area)
            .caption(format!("GMAC/s by shape{of_all}: {}", origin(records)), (FONT, 16))
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
            .x_desc("GMAC/s; red: the sequence peak of the tier's cores")
            .x_label_formatter(&|x| short(*x))
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
    let marks = shown.iter().enumerate().filter_map(|(i, r)| Some((i as f64, peak_of(r)?)));
    let mark = |(top, peak): (f64, f64)| PathElement::new([(peak, top), (peak, top + 1.0)], RED.stroke_width(2));
    drawn(chart.draw_series(marks.map(mark)))?;
    Ok(())
}
