//! A chart of a sheet: for every row a bar of each column that is drawn.

use anyhow::{Context, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::sheet::Sheet;
use crate::plot::{COLORS, FONT, drawn, register_font};

const WIDTH: u32 = 900;
/// Height of a bar, and of all that is no bar.
const BAR: u32 = 12;
const REST: u32 = 100;
/// Space for the names of rows, and the characters that it has room for.
const NAMES: u32 = 260;
const NAME_LEN: usize = 38;

/// The chart as SVG, the same on every machine; none if the sheet has no columns to draw.
pub fn svg(sheet: &Sheet) -> Result<Option<String>> {
    let columns: Vec<&str> = sheet.all("chart").collect();
    if columns.is_empty() {
        return Ok(None);
    }
    let series = columns.iter().map(|column| values(sheet, column)).collect::<Result<Vec<_>>>()?;
    let names: Vec<String> = sheet.rows.iter().map(|row| name(sheet, row, &columns)).collect();
    let greatest = series.iter().flatten().copied().fold(0.0, f64::max).max(1e-9);
    register_font()?;
    let height = REST + BAR * ((columns.len() + 1) * names.len()) as u32;
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        drawn(root.fill(&WHITE))?;
        let rows = names.len() as f64;
        let mut chart = drawn(
            ChartBuilder::on(&root)
                .caption(sheet.first("title"), (FONT, 20))
                .margin(10)
                .x_label_area_size(20)
                .y_label_area_size(NAMES)
                // The longest bar ends where the legend begins.
                .build_cartesian_2d(0.0..greatest * 1.35, rows..0.0),
        )?;
        drawn(chart.configure_mesh().disable_y_mesh().max_light_lines(1).y_labels(0).label_style((FONT, 14)).draw())?;
        for (at, (column, values)) in columns.iter().zip(&series).enumerate() {
            let color = COLORS[at % COLORS.len()];
            let step = 1.0 / (columns.len() + 1) as f64;
            let bars = values.iter().enumerate().map(|(row, &value)| {
                let top = row as f64 + step * (at as f64 + 0.5);
                Rectangle::new([(0.0, top), (value, top + step)], color.filled())
            });
            drawn(chart.draw_series(bars))?
                .label(*column)
                .legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 12, y + 4)], color.filled()));
        }
        let (x, y) = chart.plotting_area().get_pixel_range();
        for (row, name) in names.iter().enumerate() {
            let middle = y.start + ((row as f64 + 0.5) / rows * f64::from(y.end - y.start)) as i32;
            let style = TextStyle::from((FONT, 14).into_font()).pos(Pos::new(HPos::Right, VPos::Center));
            drawn(root.draw(&Text::new(name.as_str(), (x.start - 6, middle), style)))?;
        }
        let mut legend = chart.configure_series_labels();
        legend.position(SeriesLabelPosition::UpperRight).background_style(WHITE.mix(0.85)).label_font((FONT, 14));
        drawn(legend.draw())?;
        drawn(root.present())?;
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(Some(text))
}

/// The numbers of a column; a field without one counts as nothing.
fn values(sheet: &Sheet, column: &str) -> Result<Vec<f64>> {
    let at = sheet.columns.iter().position(|c| c == column).with_context(|| format!("no column {column:?}"))?;
    let number = |text: &str| text.split([' ', '(']).next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
    Ok(sheet.rows.iter().map(|row| number(&row[at])).collect())
}

/// What a row is called: the fields before the first column that is drawn.
fn name(sheet: &Sheet, row: &[String], drawn: &[&str]) -> String {
    let end = sheet.columns.iter().position(|c| drawn.contains(&c.as_str())).unwrap_or(0);
    let all = row[..end].join(" ");
    all.chars().take(NAME_LEN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_name_rows_and_columns() -> Result<()> {
        let said = "# title: T\n# cpu: C\n# date: D\n# commit: E\n# tier: avx2\n# threads: 1\n";
        let table = "m,n,GMAC/s,of the peak\n1,17,4.5 (9 %),9 %\n2,18,,\n";
        let sheet = Sheet::parse("t", &format!("{said}# chart: GMAC/s\n{table}"))?;
        assert_eq!(values(&sheet, "GMAC/s")?, [4.5, 0.0]);
        let svg = svg(&sheet)?.context("no chart")?;
        assert!(svg.contains("1 17") && svg.contains("GMAC/s") && svg.contains("</svg>"));
        assert_eq!(super::svg(&Sheet::parse("t", &format!("{said}{table}"))?)?, None);
        Ok(())
    }
}
