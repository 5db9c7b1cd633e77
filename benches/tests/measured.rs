//! The figures of the documentation: pages are what their CSV files make, and what is measured becomes such a file.

mod common;

use std::fs;
use std::path::Path;

use common::{Sandbox, TestResult};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[test]
fn pages_and_charts_are_those_of_the_csv_files() -> TestResult {
    let said = Sandbox::new()?.ok(&["measure", "--render", "--check", "--root", REPOSITORY])?;
    assert!(said.contains("tables"), "{said}");
    Ok(())
}

#[test]
fn every_page_and_chart_has_its_csv_file() -> TestResult {
    let folder = Path::new(REPOSITORY).join("docs/measured");
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let made = path.extension().is_some_and(|e| e == "md" || e == "svg") && !path.ends_with("README.md");
        assert!(!made || path.with_extension("csv").is_file(), "{}: is of no CSV file", path.display());
    }
    Ok(())
}

#[test]
fn pages_that_the_documentation_links_to_are_there() -> TestResult {
    let docs = Path::new(REPOSITORY).join("docs");
    for entry in fs::read_dir(&docs)? {
        let path = entry?.path();
        if path.extension().is_none_or(|e| e != "md") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        for link in text.split("(measured/").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(docs.join("measured").join(link).is_file(), "{}: no page measured/{link}", path.display());
        }
    }
    Ok(())
}

#[test]
fn measuring_writes_a_file_a_page_and_a_chart() -> TestResult {
    let s = Sandbox::new()?;
    s.refused(&["measure", "--only", "conversions"], "no sources of gemmill are there")?;
    fs::create_dir_all(s.path("src/convert"))?;
    fs::write(s.path("src/convert/mod.rs"), "fn convert() {}\n")?;
    s.ok(&["measure", "--only", "conversions", "--seconds", "0.001"])?;
    let csv = fs::read_to_string(s.path("docs/measured/conversions.csv"))?;
    for said in ["# cpu: ", "# date: 2", "# commit: ", "# sources: src/convert ", "\nf32 to bf16,"] {
        assert!(csv.contains(said), "{said}: {csv}");
    }
    let page = || fs::read_to_string(s.path("docs/measured/conversions.md"));
    assert!(page()?.contains("The code is still what was measured."));
    assert!(fs::read_to_string(s.path("docs/measured/conversions.svg"))?.contains("f32 to bf16"));
    s.ok(&["measure", "--render", "--check"])?;

    // A comment is no change, code is one: the page says so as soon as it is made anew, and has to be.
    fs::write(s.path("src/convert/mod.rs"), "// A comment.\nfn convert() {}\n")?;
    s.ok(&["measure", "--render", "--check"])?;
    fs::write(s.path("src/convert/mod.rs"), "fn changed() {}\n")?;
    s.refused(&["measure", "--render", "--check"], "conversions.md")?;
    s.ok(&["measure", "--render"])?;
    assert!(page()?.contains("**Measured before the last change of:** `src/convert`."));

    // A figure that was edited by hand in a page is found.
    fs::write(s.path("docs/measured/conversions.md"), page()?.replace("GB/s", "TB/s"))?;
    s.refused(&["measure", "--render", "--check"], "conversions.md")
}

#[test]
fn measurements_have_names() -> TestResult {
    let s = Sandbox::new()?;
    let list = s.ok(&["measure", "--list"])?;
    assert!(list.lines().any(|line| line.starts_with("conversions ")), "{list}");
    s.refused(&["measure", "--only", "nothing"], "nothing is named nothing")?;
    s.refused(&["measure", "--check"], "--render")
}
