//! `include/gemmill.h` is what this crate says. `GEMMILL_BLESS=1` writes it anew.

use std::fs;
use std::path::Path;

/// The header as cbindgen makes it of the crate, with its `# Safety` sections in words that C readers know.
fn generated(ffi: &Path) -> String {
    let config = cbindgen::Config::from_file(ffi.join("cbindgen.toml")).expect("the configuration is well-formed");
    let builder = cbindgen::Builder::new().with_crate(ffi).with_config(config);
    let mut text = Vec::new();
    builder.generate().expect("the crate is well-formed").write(&mut text);
    let text = String::from_utf8(text).expect("cbindgen writes UTF-8");
    let text = text.replace(" * # Safety\n * ", " * Requires: ");
    wrapped(&text)
}

/// The text with what goes beyond 120 characters of a comment's line at the beginning of its next one.
fn wrapped(text: &str) -> String {
    let mut wrapped = String::new();
    let mut beyond = String::new();
    for line in text.lines() {
        let mut line = line.trim_end().to_owned();
        if !beyond.is_empty() {
            match line.strip_prefix(" * ") {
                Some(rest) => line = format!(" * {beyond} {rest}"),
                None => wrapped += &format!(" * {beyond}\n"),
            }
            beyond.clear();
        }
        if line.starts_with(" * ")
            && let Some(at) = line.get(..=120).and_then(|start| start.rfind(' '))
        {
            beyond = line.split_off(at)[1..].to_owned();
        }
        wrapped += &line;
        wrapped.push('\n');
    }
    wrapped
}

#[test]
fn the_header_is_what_the_crate_says() {
    let ffi = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = ffi.join("../include/gemmill.h");
    let header = generated(ffi);
    if std::env::var_os("GEMMILL_BLESS").is_some() {
        fs::write(&path, &header).expect("the header can be written");
    }
    let checked_in = fs::read_to_string(&path).unwrap_or_default();
    let first = checked_in.lines().zip(header.lines()).enumerate().find(|(_, (old, new))| old != new);
    assert!(
        checked_in == header,
        "include/gemmill.h differs from the crate: look at the difference, then GEMMILL_BLESS=1 cargo test \
         -p gemmill-ffi --test header. First: {first:?}"
    );
}

#[test]
fn every_function_s_comment_tells_threads_and_errors() {
    let header = generated(Path::new(env!("CARGO_MANIFEST_DIR")));
    let mut functions = 0;
    let mut comment = String::new();
    for line in header.lines() {
        match line {
            "/**" => comment.clear(),
            _ if line.starts_with(" *") => comment.push_str(line),
            _ if line.contains(" gemmill_") && line.contains('(') => {
                functions += 1;
                for part in ["Threads: ", "Errors: "] {
                    let elsewhere = comment.contains("verything else as gemmill_");
                    assert!(comment.contains(part) || elsewhere, "{part}is missing: {line}");
                }
                let pointers = line.split_once('(').is_some_and(|(_, parameters)| parameters.contains('*'));
                let asks = comment.contains("Requires: ") || line.starts_with("typedef");
                assert!(asks || !pointers, "Requires: is missing: {line}");
                comment.clear();
            }
            _ => {}
        }
    }
    assert!(functions > 50, "{functions} functions");
}

/// What checks the pointers of an entry point relies on its `# Safety` section, so that only `unsafe` functions may use
/// it; and messages begin with the name of the function that was called.
#[test]
fn entry_points_have_contracts_and_their_own_names() {
    let mut functions = 0;
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for path in
            fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("it can be read").path())
        {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = fs::read_to_string(&path).expect("sources are text");
            let mut parts = source.split("extern \"C\" fn gemmill_");
            let mut before = parts.next().unwrap_or_default();
            for part in parts {
                let (name, body) = part.split_once('(').expect("functions have parameters");
                let body = body.split_once("\n}\n").map_or(body, |(body, _)| body);
                let relies = ["entry!(", "create!(", "set!("].iter().any(|of| body.contains(of));
                assert!(!relies || before.ends_with("pub unsafe "), "{name} relies on a contract and has none");
                for named in body.split("\"gemmill_").skip(1).filter_map(|rest| rest.split_once('"')) {
                    assert_eq!(named.0, name);
                }
                before = part;
                functions += 1;
            }
        }
    }
    assert!(functions > 100, "{functions} functions");
}
