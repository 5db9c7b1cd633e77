//! What packaging says of versions is what the package says.

use std::fs;
use std::path::Path;

#[test]
fn cmake_s_version_is_the_package_s() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("cmake/gemmill-config-version.cmake");
    let text = fs::read_to_string(path).expect("the file is checked in");
    let line = |line: String| assert!(text.lines().any(|l| l.trim() == line), "{line} is missing");
    line(format!("set(PACKAGE_VERSION \"{}\")", env!("CARGO_PKG_VERSION")));
    line(format!("elseif(NOT PACKAGE_FIND_VERSION_MAJOR EQUAL {})", env!("CARGO_PKG_VERSION_MAJOR")));
    if env!("CARGO_PKG_VERSION_MAJOR") == "0" {
        line(format!("elseif(NOT PACKAGE_FIND_VERSION_MINOR EQUAL {})", env!("CARGO_PKG_VERSION_MINOR")));
    }
}

/// What ffi/install says, having done nothing: its status, stdout and stderr.
#[cfg(target_os = "linux")]
fn install(arguments: &[&str]) -> (i32, String, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("install");
    let out = std::process::Command::new(script).args(arguments).output().expect("bash is there");
    let text = |bytes| String::from_utf8(bytes).expect("it is text");
    (out.status.code().expect("no signal ended it"), text(out.stdout), text(out.stderr))
}

#[cfg(target_os = "linux")]
#[test]
fn install_says_what_it_takes() {
    for arguments in [&["--help"][..], &["-h"], &["--offline", "--help"]] {
        let (status, help, errors) = install(arguments);
        assert_eq!((status, errors.as_str()), (0, ""), "{arguments:?}");
        for part in ["ffi/install [OPTION...] PREFIX", "--offline", "--keep-symbols", "--help"] {
            assert!(help.contains(part), "{part} is missing in {help}");
        }
        assert!(!help.contains("set -"), "{help}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn install_refuses_what_it_does_not_take() {
    let refused = [
        (&[][..], "given none"),
        (&["--offline"], "given none"),
        (&[""], "given an empty one"),
        (&["--prefix=/usr"], "given the option --prefix=/usr"),
        (&["-x", "prefix"], "given the option -x"),
        (&["one", "two"], "given one and two"),
        (&["--", "--offline"], "given none"),
    ];
    for (arguments, part) in refused {
        let (status, out, errors) = install(arguments);
        assert_eq!((status, out.as_str(), errors.lines().count()), (2, "", 1), "{arguments:?}: {errors}");
        assert!(errors.contains("expected") && errors.contains(part), "{arguments:?}: {errors}");
    }
}
