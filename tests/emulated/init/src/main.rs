//! The only program that an emulated machine starts: runs the test binaries of its image and switches the machine off.
//!
//! `/plan` lists what to do, one line each:
//!
//! ```text
//! env NAME=VALUE                        for all test binaries that follow
//! test BINARY [NAME=VALUE ...] [ARGUMENT ...]
//! ```
//!
//! Binaries lie in `/tests`. What this program says begins with `emulated: `, all else is the tests' own output:
//!
//! ```text
//! emulated: features avx2 avx512f ...   of those that kernels use; the ones that this CPU lacks are not listed
//! emulated: start BINARY
//! emulated: end BINARY ok               or what its exit status was instead
//! emulated: done 12 of 12 ok
//! ```

use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod machine;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    machine::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("init: a program for Linux");
    ExitCode::FAILURE
}
