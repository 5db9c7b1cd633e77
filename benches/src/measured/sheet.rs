//! A sheet: one table of figures as a CSV file, whose first lines say what it is, where it was measured, and when.
//!
//! ```text
//! # title: Conversions
//! # cpu: the CPU's name
//! ...
//! conversion,bytes,GB/s
//! bf16 to f32,1 MiB,52.1
//! ```

use anyhow::{Context, Result, ensure};

/// What a sheet must say of itself.
const REQUIRED: [&str; 6] = ["title", "cpu", "date", "commit", "tier", "threads"];
/// What it may say besides, some of them several times:
///
/// - `about`: a paragraph for the reader
/// - `command`: what was run
/// - `sources`: a path and the fingerprint that it had, as `super::sources` makes it
/// - `chart`: a column that is drawn
const OPTIONAL: [&str; 4] = ["about", "command", "sources", "chart"];

/// One table of figures.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sheet {
    /// The file's name without its ending.
    pub name: String,
    /// What the sheet says of itself: keys and texts in their order.
    pub says: Vec<(String, String)>,
    pub columns: Vec<String>,
    /// As many fields each as there are columns.
    pub rows: Vec<Vec<String>>,
}

impl Sheet {
    /// The sheet that a CSV file of this name holds.
    pub fn parse(name: &str, text: &str) -> Result<Sheet> {
        let said = text.lines().take_while(|line| line.starts_with('#'));
        let says = said.map(|line| {
            let (key, value) = line.trim_start_matches('#').split_once(':').context("expected `# key: value`")?;
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        });
        let says = says.collect::<Result<Vec<_>>>()?;
        for (key, _) in &says {
            let known = REQUIRED.iter().chain(&OPTIONAL).any(|known| known == key);
            ensure!(known, "{key:?}: expected one of {}, {}", REQUIRED.join(", "), OPTIONAL.join(", "));
        }
        let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(text.as_bytes());
        let columns: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
        let rows = reader.records().map(|row| Ok(row?.iter().map(str::to_owned).collect()));
        let sheet = Sheet { name: name.to_owned(), says, columns, rows: rows.collect::<Result<_>>()? };
        for key in REQUIRED {
            ensure!(sheet.all(key).count() == 1, "expected one line `# {key}: ...`");
        }
        ensure!(!sheet.rows.is_empty(), "expected a row at least");
        for column in sheet.all("chart") {
            ensure!(sheet.columns.iter().any(|c| c == column), "no column is named {column:?}");
        }
        Ok(sheet)
    }

    /// The file: [`Sheet::parse`] gives the sheet back.
    pub fn to_csv(&self) -> Result<String> {
        let mut text: String = self.says.iter().map(|(key, value)| format!("# {key}: {value}\n")).collect();
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(&self.columns)?;
        for row in &self.rows {
            writer.write_record(row)?;
        }
        text.push_str(&String::from_utf8(writer.into_inner()?)?);
        Ok(text)
    }

    /// Adds a line about the sheet.
    pub fn say(&mut self, key: &str, value: impl Into<String>) {
        self.says.push((key.to_owned(), value.into()));
    }

    /// All that the sheet says under a key.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.says.iter().filter(move |(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// The first that the sheet says under a key; empty if there is none.
    pub fn first<'a>(&'a self, key: &'a str) -> &'a str {
        self.all(key).next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# title: Speeds
# cpu: a CPU, 2 MiB of L2
# date: 2026-12-01
# commit: abc
# tier: avx2
# threads: 1
# chart: GMAC/s
shape,GMAC/s
1x2x3,4.5
\"a, b\",6.0
";

    #[test]
    fn sheets_read_back() -> Result<()> {
        let sheet = Sheet::parse("speeds", TEXT)?;
        assert_eq!(sheet.to_csv()?, TEXT);
        assert_eq!((sheet.first("tier"), sheet.rows[1][0].as_str()), ("avx2", "a, b"));
        Ok(())
    }

    #[test]
    fn sheets_that_do_not_say_what_they_are_are_refused() {
        let without = |line: &str| TEXT.lines().filter(|l| !l.contains(line)).map(|l| format!("{l}\n")).collect();
        let broken: [String; 5] = [
            without("# cpu"),
            TEXT.replace("# date", "# day"),
            TEXT.replace("chart: GMAC/s", "chart: GB/s"),
            TEXT.replace("4.5", "4.5,7"),
            TEXT.lines().take(8).map(|l| format!("{l}\n")).collect(),
        ];
        for text in broken {
            assert!(Sheet::parse("speeds", &text).is_err(), "{text}");
        }
    }
}
