//! Pages of sheets, as Markdown: one for each, and one that lists them all.

use std::path::Path;

use anyhow::Result;

use super::sheet::Sheet;
use super::sources;

/// How a sheet's figures stand to the code as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Age {
    /// The code is what was measured.
    Current,
    /// The code at these paths has changed since.
    Older(Vec<String>),
    /// The sheet does not say what it measured.
    Unknown,
}

impl Age {
    /// Compares the fingerprints that a sheet carries with those of the sources below `root`.
    pub fn of(sheet: &Sheet, root: &Path) -> Result<Age> {
        let mut changed = Vec::new();
        let mut any = false;
        for (path, was) in sheet.all("sources").filter_map(|line| line.rsplit_once(' ')) {
            any = true;
            if sources::fingerprint(root, path)?.is_none_or(|is| is != was) {
                changed.push(path.to_owned());
            }
        }
        Ok(match (any, changed.is_empty()) {
            (false, _) => Age::Unknown,
            (true, true) => Age::Current,
            (true, false) => Age::Older(changed),
        })
    }

    fn sentence(&self) -> String {
        match self {
            Age::Current => "The code is still what was measured.".to_owned(),
            Age::Older(paths) => format!("**Measured before the last change of:** {}.", quoted(paths)),
            Age::Unknown => "**Measured before the code as it is**, of a commit that is older.".to_owned(),
        }
    }

    fn word(&self) -> &'static str {
        if *self == Age::Current { "yes" } else { "no, older" }
    }
}

fn quoted(paths: &[String]) -> String {
    paths.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ")
}

/// The page of a sheet.
pub fn page(sheet: &Sheet, age: &Age) -> String {
    let mut text = format!(
        "<!-- Made of {}.csv by `gemmill-bench measure --render`: not to be edited. -->\n# {}\n\n",
        sheet.name,
        sheet.first("title")
    );
    for about in sheet.all("about") {
        text.push_str(&format!("{}\n\n", wrapped(about)));
    }
    let of_all = [("CPU", "cpu"), ("tier", "tier"), ("threads", "threads"), ("date", "date"), ("commit", "commit")];
    for (what, key) in of_all {
        text.push_str(&format!("- {what}: {}\n", sheet.first(key)));
    }
    for command in sheet.all("command") {
        text.push_str(&format!("- command: `{command}`\n"));
    }
    text.push_str(&format!("\n{}\n\n", age.sentence()));
    if sheet.all("chart").next().is_some() {
        text.push_str(&format!("![{}]({}.svg)\n\n", sheet.first("title"), sheet.name));
    }
    text + &table(&sheet.columns, &sheet.rows)
}

/// The page that lists all of them.
pub fn index(sheets: &[(Sheet, Age)]) -> String {
    let columns = ["figures", "CPU", "date", "commit", "of the code as it is"].map(str::to_owned);
    let rows = sheets.iter().map(|(sheet, age)| {
        let link = format!("[{}]({}.md)", sheet.first("title"), sheet.name);
        let said = ["cpu", "date", "commit"].map(|key| sheet.first(key).to_owned());
        [link].into_iter().chain(said).chain([age.word().to_owned()]).collect()
    });
    format!(
        "<!-- Made by `gemmill-bench measure --render`: not to be edited. -->\n{INTRODUCTION}\n{}",
        table(&columns, &rows.collect::<Vec<_>>())
    )
}

const INTRODUCTION: &str = "\
# Measured

Figures, each table a CSV file with its CPU, date and commit, and a page and a chart that are made of it. Nobody edits
them by hand:

```sh
taskset -c 1 cargo run --release -- measure                                  # all, some minutes; --list names them
taskset -c 1 cargo run --release -- measure --only int8-avx2 --peer DRIVER   # one, in turns with other libraries
cargo run --release -- measure --render                                      # pages and charts anew, nothing measured
```

A file carries fingerprints of the code that it measures. Where that code has changed since, its page says so, once the
pages are made anew; a test fails until they are. Comments do not count as a change.

Speeds are the best of many samples on a machine that may have had other work. Every product was compared with the
reference, bit for bit. A multiply-accumulate (MAC) is one product of two elements, added to a sum.
";

/// A paragraph in lines of at most 118 characters.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().filter(|line| line.chars().count() + 1 + word.chars().count() <= 118);
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => line.extend([" ", word]),
            None => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

/// A table; columns of numbers are right-aligned.
fn table(columns: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let numeric = |at: usize| {
        rows.iter().all(|row| row[at].is_empty() || row[at].starts_with(|c: char| c.is_ascii_digit()))
            && rows.iter().any(|row| !row[at].is_empty() && !row[at].contains('-'))
    };
    let marks: Vec<&str> = (0..columns.len()).map(|at| if numeric(at) { "--:" } else { "---" }).collect();
    let escaped = |cells: &[String]| cells.iter().map(|cell| cell.replace('|', "\\|")).collect::<Vec<_>>();
    let mut text = line(&escaped(columns)) + &format!("|{}|\n", marks.join("|"));
    rows.iter().for_each(|row| text.push_str(&line(&escaped(row))));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet(sources: &str) -> Result<Sheet> {
        let said = "# title: T\n# cpu: C\n# date: D\n# commit: E\n# tier: avx2\n# threads: 1\n";
        Sheet::parse("t", &format!("{said}{sources}shape,GMAC/s\na,1.5\n"))
    }

    #[test]
    fn figures_say_whether_they_are_older_than_the_code() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let root = folder.path();
        std::fs::create_dir(root.join("src"))?;
        std::fs::write(root.join("src/a.rs"), "fn a() {}\n")?;
        let print = sources::fingerprint(root, "src")?.unwrap();
        let current = sheet(&format!("# sources: src {print}\n"))?;
        assert_eq!(Age::of(&current, root)?, Age::Current);
        assert_eq!(Age::of(&sheet("")?, root)?, Age::Unknown);
        std::fs::write(root.join("src/a.rs"), "fn b() {}\n")?;
        let age = Age::of(&current, root)?;
        assert_eq!(age, Age::Older(vec!["src".to_owned()]));
        assert!(page(&current, &age).contains("**Measured before the last change of:** `src`."));
        assert!(index(&[(current, age)]).contains("| [T](t.md) | C | D | E | no, older |"));
        Ok(())
    }

    #[test]
    fn tables_align_numbers_to_the_right() {
        let rows = [["1x2", "3.5", "", "2026-12-01"].map(str::to_owned).to_vec()];
        let columns = ["shape", "GMAC/s", "none", "date"].map(str::to_owned);
        assert!(table(&columns, &rows).contains("|--:|--:|---|---|"));
    }
}
