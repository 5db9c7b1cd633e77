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
