//! The C++ headers call every function of the C header.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every `gemmill_...` in `text`, comments left out: types too, and functions that are handed on rather than called.
fn names(text: &str) -> BTreeSet<String> {
    let mut code = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/*") {
        code.push_str(before);
        rest = after.split_once("*/").expect("comments end").1;
    }
    code.push_str(rest);
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    code.split(|c| !is_of_name(c)).filter(|word| word.starts_with("gemmill_")).map(str::to_owned).collect()
}

fn include() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../include")
}

/// The functions that the C header declares.
fn functions() -> BTreeSet<String> {
    let header = fs::read_to_string(include().join("gemmill.h")).expect("the header is checked in");
    let is_function = |name: &String| header.contains(&format!("{name}("));
    // Types are named before a parenthesis only where a function's parameters are.
    names(&header).into_iter().filter(is_function).collect()
}

/// What the C++ headers name.
fn called() -> BTreeSet<String> {
    let folder = fs::read_dir(include().join("gemmill")).expect("the wrapper has a folder");
    let headers = folder.map(|entry| entry.expect("it can be read").path());
    headers.flat_map(|path| names(&fs::read_to_string(path).expect("it is text"))).collect()
}

#[test]
fn the_wrapper_has_every_function() {
    let functions = functions();
    assert!(functions.len() > 100 && functions.contains("gemmill_gemm_run"), "{functions:?}");
    let called = called();
    let missing: Vec<_> = functions.difference(&called).collect();
    assert!(missing.is_empty(), "include/gemmill/*.hpp lack {missing:?}");
}

#[test]
fn names_in_comments_are_no_calls() {
    assert_eq!(names("/* gemmill_a() */ gemmill_b(x, gemmill_c) /** gemmill_d */"), {
        ["gemmill_b", "gemmill_c"].map(String::from).into()
    });
}
