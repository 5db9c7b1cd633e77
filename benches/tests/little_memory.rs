//! Shapes that there is no memory for are refused, in words.

#![cfg(unix)]

use std::process::Command;

#[test]
fn operands_that_do_not_fit_are_an_error() {
    for op in ["u8i8-i32", "f32f16-f32", "i8i4-f32"] {
        let size = ["--m", "60000", "--n", "60000", "--k", "60000", "--op", op];
        // 8 GB of address space.
        let limited = ["-c", "ulimit -v 8000000 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_gemmill-bench"), "gemm"];
        let output = Command::new("sh").args(limited).args(size).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{op}: {text}");
        assert!(text.contains("60000x60000x60000: no memory for"), "{op}: {text}");
    }
}
