//! Errors of products, conversions and functions against f64: the tables of `docs/accuracy.md`, and the bounds that are
//! documented.

mod conversions;
mod few_bits;
mod functions;
mod hardware_dot;
mod operands;
mod products;

use gemmill::Tier;

/// Puts a table where the one of a section is.
fn replace_table(document: &mut String, heading: &str, table: &str) {
    let heading = format!("## {heading}\n");
    let section = document.find(&heading).unwrap_or_else(|| panic!("the document has no {heading}"));
    let start = section + document[section..].find("\n|").expect("the section has a table") + 1;
    let len: usize =
        document[start..].split_inclusive('\n').take_while(|line| line.starts_with('|')).map(str::len).sum();
    document.replace_range(start..start + len, table);
}

/// Compares the document with one whose tables were made anew; or writes that one.
fn compare(path: &str, replace: impl Fn(&mut String)) {
    let document = std::fs::read_to_string(path).unwrap();
    let mut written = document.clone();
    replace(&mut written);
    if std::env::var_os("GEMMILL_BLESS").is_some() {
        std::fs::write(path, &written).unwrap();
    } else if let Some((was, is)) = document.lines().zip(written.lines()).find(|(was, is)| was != is) {
        panic!("{path} says\n{was}\nbut products give\n{is}\nSet GEMMILL_BLESS=1 to write the tables anew.");
    } else {
        assert_eq!(document.len(), written.len(), "{path}: a table is longer or shorter than it should be");
    }
}

/// The tiers that the CPU has: the portable one is always among them.
fn tiers() -> Vec<Tier> {
    let has = |tier: &Tier| match tier.require() {
        Ok(_) => true,
        Err(why) => {
            eprintln!("SKIPPED tier {tier}: {why}");
            false
        }
    };
    Tier::ALL.into_iter().filter(has).collect()
}

/// In one test: writing the document from several would lose some of it.
#[test]
fn the_tables_are_those_of_the_documentation() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/accuracy.md");
    let tiers = tiers();
    let findings = products::findings(&tiers).unwrap();
    let hardware_dot = hardware_dot::table(&tiers).unwrap();
    let few_bits = few_bits::table(&tiers).unwrap();
    let conversions = conversions::table().unwrap();
    let functions = functions::table();
    compare(path, |document| {
        replace_table(document, "Every operation", &products::table_of_operations(&findings));
        replace_table(document, "By shape", &products::table_of_shapes(&findings));
        replace_table(document, "Hardware dot products", &hardware_dot);
        replace_table(document, "Weights of 4 and 2 bits", &few_bits);
        replace_table(document, "Conversions", &conversions);
        // More numbers have larger errors: then the bounds are what is tested.
        if std::env::var_os("GEMMILL_TEST_LONG").is_none() {
            replace_table(document, "Functions", &functions);
        }
    });
}
