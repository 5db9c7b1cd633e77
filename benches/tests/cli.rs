//! The binary from outside: what it prints, what it writes, and how it refuses bad input.

mod common;

use std::fs;
use std::process::Command;

use common::{Sandbox, TestResult, read_npy};

fn i32s(data: &[u8]) -> Vec<i32> {
    data.as_chunks::<4>().0.iter().map(|x| i32::from_le_bytes(*x)).collect()
}

/// A = [[1, 2, 3], [255, 0, 4]] as u8, B = [[1, -1], [2, 127], [-128, 3]] as i8, in both orders.
fn operands(s: &Sandbox) -> TestResult {
    s.npy("A.npy", "|u1", false, "(2, 3)", &[1, 2, 3, 255, 0, 4])?;
    s.npy("AF.npy", "|u1", true, "(2, 3)", &[1, 255, 2, 0, 3, 4])?;
    s.npy("B.npy", "|i1", false, "(3, 2)", &[1, 255, 2, 127, 128, 3])?;
    s.npy("BF.npy", "|i1", true, "(3, 2)", &[1, 2, 128, 255, 127, 3])?;
    Ok(())
}

const PRODUCT: [i32; 4] = [1 + 4 - 384, -1 + 254 + 9, 255 - 512, -255 + 12];

#[test]
fn npy_products_in_both_orders() -> TestResult {
    let s = Sandbox::new()?;
    operands(&s)?;
    for (a, b) in [("A.npy", "B.npy"), ("AF.npy", "B.npy"), ("A.npy", "BF.npy"), ("AF.npy", "BF.npy")] {
        s.ok(&["npy", a, b, "-o", "C.npy", "--threads", "1"])?;
        let (header, data) = read_npy(&s.path("C.npy"))?;
        assert!(header.contains("'<i4'") && header.contains("(2, 2)"), "{header}");
        assert_eq!(i32s(&data), PRODUCT);
    }
    Ok(())
}

#[test]
fn npy_zero_points() -> TestResult {
    let s = Sandbox::new()?;
    operands(&s)?;
    let words = |x: [i32; 2]| x.map(i32::to_le_bytes).concat();
    s.npy("az.npy", "<i4", false, "(2,)", &words([1, 5]))?;
    s.npy("bz.npy", "<i4", false, "(2,)", &words([2, -3]))?;
    s.ok(&["npy", "A.npy", "B.npy", "-o", "C.npy", "--a-zero-point", "az.npy", "--b-zero-point", "bz.npy"])?;
    let (a, b) = ([[1, 2, 3], [255, 0, 4]], [[1, -1], [2, 127], [-128, 3]]);
    let (az, bz) = ([1, 5], [2, -3]);
    let mut expected = Vec::new();
    for i in 0..2 {
        for j in 0..2 {
            expected.push((0..3).map(|k| (a[i][k] - az[i]) * (b[k][j] - bz[j])).sum::<i32>());
        }
    }
    assert_eq!(i32s(&read_npy(&s.path("C.npy"))?.1), expected);
    s.ok(&["npy", "A.npy", "B.npy", "-o", "C.npy", "--a-zero-point", "1", "--b-zero-point", "-3"])?;
    assert_eq!(i32s(&read_npy(&s.path("C.npy"))?.1)[1], 130 + 2 * 6);
    Ok(())
}

#[test]
fn npy_requantizes() -> TestResult {
    let s = Sandbox::new()?;
    operands(&s)?;
    let expected = |multiplier: [f32; 2], zp: i32, bias: [i32; 2], low: i32, high: i32| -> Vec<u8> {
        let y = |(i, raw): (usize, i32)| (raw + bias[i % 2]) as f32 * multiplier[i % 2];
        let byte = |y: f32| (y.round_ties_even() as i32 + zp).clamp(low, high) as u8;
        PRODUCT.into_iter().enumerate().map(y).map(byte).collect()
    };
    s.ok(&["npy", "A.npy", "B.npy", "-o", "C.npy", "--multiplier", "0.1", "--c-zero-point", "20"])?;
    let (header, data) = read_npy(&s.path("C.npy"))?;
    assert!(header.contains("'|u1'"), "{header}");
    assert_eq!(data, expected([0.1; 2], 20, [0; 2], 0, 255));

    let multipliers = [0.25f32, 0.5].map(f32::to_le_bytes).concat();
    s.npy("m.npy", "<f4", false, "(2,)", &multipliers)?;
    s.npy("bias.npy", "<i4", false, "(2,)", &[7i32, -100].map(i32::to_le_bytes).concat())?;
    let args = ["npy", "A.npy", "B.npy", "-o", "C.npy", "--multiplier", "m.npy", "--bias", "bias.npy"];
    s.ok(&[&args[..], &["--c-type", "i8", "--c-zero-point", "-5", "--relu"]].concat())?;
    let (header, data) = read_npy(&s.path("C.npy"))?;
    assert!(header.contains("'|i1'"), "{header}");
    assert_eq!(data, expected([0.25, 0.5], -5, [7, -100], -5, 127));
    Ok(())
}

#[test]
fn npy_refuses_bad_input() -> TestResult {
    let s = Sandbox::new()?;
    operands(&s)?;
    s.npy("wide.npy", "|u1", false, "(2, 4)", &[0; 8])?;
    s.npy("vector.npy", "|u1", false, "(3,)", &[0; 3])?;
    s.npy("float.npy", "<f4", false, "(2, 3)", &[0; 24])?;
    s.npy("complex.npy", "<c8", false, "(2, 3)", &[0; 48])?;
    s.npy("floatB.npy", "<f4", false, "(3, 2)", &[0; 24])?;
    s.npy("short.npy", "|u1", false, "(2, 3)", &[0; 5])?;
    s.npy("huge.npy", "|u1", false, "(9223372036854775807, 9223372036854775807)", &[0; 5])?;
    s.npy("z2.npy", "<i4", false, "(2, 3)", &[0; 24])?;
    s.npy("z3.npy", "<i4", false, "(3,)", &[0; 12])?;
    s.npy("nan.npy", "<f4", false, "(2,)", &[f32::NAN.to_le_bytes(), f32::NAN.to_le_bytes()].concat())?;
    fs::write(s.path("text.npy"), "hello")?;
    for (a, message) in [
        ("none.npy", "none.npy: cannot be read"),
        ("text.npy", "text.npy: not a usable npy file"),
        ("wide.npy", "the shapes do not fit"),
        ("vector.npy", "1 dimensions: expected 2"),
        ("z2.npy", "its dtype is i32: expected u8, i8, f32 or f16"),
        ("complex.npy", "its dtype is '<c8'"),
        ("short.npy", "the shape needs 6 bytes of data, the file holds 5"),
        ("huge.npy", "overflow"),
    ] {
        s.refused(&["npy", a, "B.npy", "-o", "C.npy"], message)?;
    }
    s.refused(&["npy", "A.npy", "float.npy", "-o", "C.npy"], "the shapes do not fit")?;
    let both = "A.npy is u8 and floatB.npy is f32: expected integers (u8, i8) in B where they are in A";
    s.refused(&["npy", "A.npy", "floatB.npy", "-o", "C.npy"], both)?;
    s.refused(&["npy", "A.npy", "B.npy", "-o", "no/such/C.npy"], "there is no folder")?;
    s.refused(&["npy", "A.npy", "B.npy", "-o", "."], "is a folder")?;
    let with = |more: &[&'static str]| [&["npy", "A.npy", "B.npy", "-o", "C.npy"], more].concat();
    s.refused(&with(&["--b-zero-point", "z3.npy"]), "expected 2 elements, one for each column of B")?;
    s.refused(&with(&["--a-zero-point", "1000"]), "1000")?;
    s.refused(&with(&["--multiplier", "nan.npy"]), "multiplier")?;
    s.refused(&with(&["--multiplier", "NaN"]), "multiplier")?;
    s.refused(&with(&["--multiplier", "A.npy"]), "--multiplier")?;
    s.refused(&with(&["--relu"]), "--multiplier")?;
    s.refused(&with(&["--bias", "z3.npy"]), "--bias needs --multiplier")?;
    s.refused(&with(&["--c-type", "i8"]), "--c-type needs --multiplier")?;
    s.refused(&with(&["--c-type", "f16", "--multiplier", "1"]), "products of integers are i32, u8 or i8")?;
    s.refused(&with(&["--gelu"]), "--gelu is for floating-point arrays")?;
    s.refused(&with(&["--silu"]), "--silu is for floating-point arrays")?;
    s.refused(&with(&["--tier", "sse9"]), "sse9")?;
    s.refused(&with(&["--threads", "0"]), "--threads")?;
    Ok(())
}

#[test]
fn gemm_prints_json_lines_that_plot_draws() -> TestResult {
    let s = Sandbox::new()?;
    fs::write(s.path("shapes.csv"), "m,n,k,model\n3,5,7,tiny\n17,33,40,\n")?;
    let fast = ["--seconds", "0.001", "--format", "json"];
    let mut all = String::new();
    for op in ["u8i8-i32", "u8i8-u8", "u8i8-f32", "i8i8-i32", "u8u8-i8", "i8u8-u8", "f32i8-f32", "f32u8-f32"] {
        let text = s.ok(&[&["gemm", "--op", op, "--shapes", "shapes.csv"], &fast[..]].concat())?;
        assert_eq!(text.lines().count(), 2, "{text}");
        for line in text.lines() {
            let record: serde_json::Value = serde_json::from_str(line)?;
            for key in ["m", "n", "k", "op", "tier", "threads", "sequence", "gmacs", "peak_ratio", "verified"] {
                assert!(record.get(key).is_some(), "{key} is missing in {line}");
            }
            assert_eq!(record["op"], op);
            assert_eq!(record["verified"], true, "{line}");
            assert!(record["gmacs"].as_f64().is_some_and(|g| g > 0.0), "{line}");
        }
        all += &text;
    }
    fs::write(s.path("result.json"), all)?;
    for (name, magic) in [("p.svg", &b"<svg"[..]), ("p.png", b"\x89PNG")] {
        s.ok(&["plot", "result.json", "-o", name])?;
        assert!(fs::read(s.path(name))?.starts_with(magic), "{name}");
    }
    for kind in ["roofline", "bars"] {
        s.ok(&["plot", "result.json", "-o", "q.svg", "--kind", kind])?;
    }
    s.refused(&["plot", "result.json", "-o", "p.gif"], "has to end in .svg or .png")?;
    s.refused(&["plot", "shapes.csv", "-o", "r.svg"], "line 1 is no result")?;
    s.refused(&["plot", "none.json", "-o", "r.svg"], "cannot be read")?;
    Ok(())
}

#[test]
fn gemm_has_other_formats_weights_and_tiers() -> TestResult {
    let s = Sandbox::new()?;
    let shape = ["gemm", "--m", "9", "--n", "20", "--k", "31", "--seconds", "0.001"];
    for weights in ["per-tensor", "per-column", "uniform", "safe", "int4"] {
        let table = s.ok(&[&shape[..], &["--weights", weights, "--tier", "portable"]].concat())?;
        assert!(table.contains("portable") && table.contains(" all "), "{table}");
    }
    let csv = s.ok(&[&shape[..], &["--format", "csv", "--threads", "2"]].concat())?;
    assert!(csv.starts_with("m,n,k,") && csv.lines().count() == 2, "{csv}");
    let more = ["--op", "f32i8-f32", "--activations", "static", "--format", "json", "-o", "out.json"];
    assert_eq!(s.ok(&[&shape[..], &more].concat())?, "");
    assert!(fs::read_to_string(s.path("out.json"))?.contains("\"verified\":true"));
    s.ok(&[&shape[..], &["--activation-max", "127"]].concat())?;
    Ok(())
}

#[test]
fn gemm_refuses_bad_arguments() -> TestResult {
    let s = Sandbox::new()?;
    fs::write(s.path("bad.csv"), "m,n,k\n1,x,2\n")?;
    s.refused(&["gemm"], "required")?;
    s.refused(&["gemm", "--m", "1", "--n", "2"], "--k")?;
    s.refused(&["gemm", "--m", "0", "--n", "2", "--k", "3"], "at least 1")?;
    s.refused(&["gemm", "--m", "99999999999", "--n", "2", "--k", "99999999999"], "elements")?;
    s.refused(&["gemm", "--shapes", "bad.csv"], "line 2: n is \"x\"")?;
    s.refused(&["gemm", "--shapes", "none.csv"], "none.csv")?;
    s.refused(&["gemm", "--op", "f32i8-u8", "--m", "1", "--n", "1", "--k", "1"], "expected one of")?;
    s.refused(&["gemm", "--peer", "./none", "--m", "1", "--n", "1", "--k", "1"], "cannot be started")?;
    Ok(())
}

#[cfg(unix)]
#[test]
fn gemm_takes_turns_with_a_peer() -> TestResult {
    use std::os::unix::fs::PermissionsExt;
    let s = Sandbox::new()?;
    let script = "#!/bin/sh\necho 'm n k | slow fast (GMAC/s)'\n\
                  while read m n k; do echo \"$m $n $k | 0.000001 1000000\"; done\n";
    fs::write(s.path("peer"), script)?;
    fs::set_permissions(s.path("peer"), fs::Permissions::from_mode(0o755))?;
    let table = s.ok(&["gemm", "--m", "9", "--n", "20", "--k", "31", "--seconds", "0.001", "--peer", "./peer"])?;
    assert!(table.contains("against slow") && table.contains("against fast"), "{table}");
    fs::write(s.path("peer"), "#!/bin/sh\nread line\necho nonsense\n")?;
    let args = ["gemm", "--m", "9", "--n", "20", "--k", "31", "--peer", "./peer"];
    s.refused(&args, "the peers began with")?;
    Ok(())
}

#[cfg(unix)]
#[test]
fn an_interrupt_leaves_no_file() -> TestResult {
    use std::process::Stdio;
    let s = Sandbox::new()?;
    // Long samples: their number is limited too.
    let args = ["gemm", "--m", "1024", "--n", "1024", "--k", "1024", "--seconds", "60", "-o", "out.csv"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_gemmill-bench"))
        .args(args)
        .current_dir(s.folder())
        .stderr(Stdio::null())
        .spawn()?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status()?.success());
    assert_eq!(child.wait()?.code(), Some(130));
    assert_eq!(fs::read_dir(s.folder())?.count(), 0);
    Ok(())
}

#[test]
fn disasm_prints_code_or_says_that_there_is_none() -> TestResult {
    let s = Sandbox::new()?;
    let shape = ["disasm", "--m", "20", "--n", "32", "--k", "64"];
    for op in ["u8i8-i32", "f32i8-f32", "f32f16-bf16", "i8i4-f32", "f32i2-f16"] {
        let shape = [&shape[..], &["--op", op]].concat();
        let avx2 = s.bench(&[&shape[..], &["--tier", "avx2"]].concat())?;
        if avx2.status.success() {
            let text = String::from_utf8(avx2.stdout)?;
            assert!(text.contains("ymm") && text.contains("ret") && text.contains("L0:"), "{text}");
        } else {
            assert!(String::from_utf8(avx2.stderr)?.contains("lacks"));
        }
        assert!(s.ok(&[&shape[..], &["--tier", "portable"]].concat())?.contains("plain Rust"), "{op}");
    }
    s.refused(&[&shape[..], &["--op", "f32f16-f32", "--a-zero-point", "3"]].concat(), "--a-zero-point is for integer")
}

#[test]
fn convert_prints_ratios() -> TestResult {
    let s = Sandbox::new()?;
    let args = ["convert", "--seconds", "0.002", "--bytes", "65536", "--bytes", "1000000"];
    assert_eq!(s.ok(&args)?.matches("bf16 to f32").count(), 2);
    let json = s.ok(&[&args[..], &["--format", "json"]].concat())?;
    let rows = json.lines().map(serde_json::from_str).collect::<Result<Vec<serde_json::Value>, _>>()?;
    assert_eq!(rows.len(), 12);
    assert!(rows.iter().all(|row| row["ratio"].as_f64().is_some_and(|ratio| ratio > 0.0)), "{json}");
    assert_eq!(s.ok(&[&args[..], &["--format", "csv"]].concat())?.lines().count(), 13);
    s.refused(&["convert", "--bytes", "1"], "--bytes")
}

#[test]
fn peak_prints_limits() -> TestResult {
    let s = Sandbox::new()?;
    let limits: serde_json::Value =
        serde_json::from_str(&s.ok(&["peak", "--seconds", "0.002", "--format", "json"])?)?;
    assert_eq!(limits["read_gbs"].as_array().map(Vec::len), Some(6));
    assert!(s.ok(&["peak", "--seconds", "0.002"])?.contains("128 MiB"));
    Ok(())
}

#[test]
fn every_subcommand_has_help() -> TestResult {
    let s = Sandbox::new()?;
    for args in [&[][..], &["gemm"], &["gemv"], &["npy"], &["peak"], &["convert"], &["disasm"], &["plot"]] {
        let help = s.ok(&[args, &["--help"]].concat())?;
        assert!(help.contains("Usage: gemmill-bench"), "{help}");
    }
    Ok(())
}
