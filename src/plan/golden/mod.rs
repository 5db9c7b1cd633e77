//! The golden tables: what every tier does with many products, on machines that are given rather than the one at hand.
//! So they are the same everywhere, and a change of any choice shows as a difference of their lines: look at each,
//! measure, then write the tables anew with `GEMMILL_BLESS=1 cargo test --lib golden_table`.

pub(super) mod float;
mod groupwise;
mod int8;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;

/// The environment variable that has tables written anew.
const BLESS: &str = "GEMMILL_BLESS";

/// Compares a table, which is in the file of this name, with what was found.
fn check(name: &str, table: &str, found: &str) {
    let path = format!("{}/src/plan/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&path, found).unwrap();
        // Not `eprintln!`, which the test harness keeps to itself.
        let _ = writeln!(std::io::stderr(), "{BLESS}: {path} is written anew; nothing was compared");
        return;
    }
    let difference = difference(table, found);
    assert!(
        found == table,
        "choices differ from {path}; {BLESS}=1 writes it anew, if they are meant to:\n{difference}"
    );
}

/// The lines in which two tables differ, each after the one that it replaces.
fn difference(expected: &str, found: &str) -> String {
    // The tier, the shape, the weights and the machine tell lines apart.
    let key = |line: &str| line.split('|').next().unwrap_or_default().to_owned();
    let index = |table: &str| table.lines().map(|l| (key(l), l.to_owned())).collect::<HashMap<_, _>>();
    let (old, new) = (index(expected), index(found));
    let mut difference = String::new();
    for line in expected.lines().filter(|l| new.get(&key(l)).is_none_or(|n| n != l)) {
        writeln!(difference, "- {line}").unwrap();
        if let Some(replaced) = new.get(&key(line)) {
            writeln!(difference, "+ {replaced}").unwrap();
        }
    }
    for line in found.lines().filter(|l| !old.contains_key(&key(l))) {
        writeln!(difference, "+ {line}").unwrap();
    }
    difference
}
