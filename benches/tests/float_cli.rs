//! Floating-point products on the command line: what is printed, what is written, and what is refused.

mod common;

use std::fs;

use common::{Sandbox, TestResult, read_npy};
use gemmill::Function;
use gemmill::half::f16;

#[test]
fn gemm_verifies_floating_point_operations() -> TestResult {
    let s = Sandbox::new()?;
    fs::write(s.path("shapes.csv"), "m,n,k\n3,5,7\n17,33,400\n1,64,64\n")?;
    for a in ["f32", "f16", "bf16"] {
        for b in ["f32", "f16", "bf16"] {
            for c in ["f32", "f16", "bf16"] {
                let op = format!("{a}{b}-{c}");
                let args = ["gemm", "--op", &op, "--shapes", "shapes.csv", "--seconds", "0.001", "--format", "json"];
                let text = s.ok(&args)?;
                assert_eq!(text.lines().count(), 3, "{text}");
                for line in text.lines() {
                    let record: serde_json::Value = serde_json::from_str(line)?;
                    assert_eq!((&record["op"], &record["verified"]), (&op.as_str().into(), &true.into()), "{line}");
                    assert_eq!((&record["sequence"], &record["weights"]), (&b.into(), &"gaussian".into()), "{line}");
                    let sizes = ["m", "n", "k"].map(|size| record[size].as_u64().unwrap_or(0));
                    let [a, b, c] = [a, b, c].map(|name| if name == "f32" { 4 } else { 2 });
                    let [m, n, k] = sizes;
                    assert_eq!(record["bytes"].as_u64(), Some(m * k * a + k * n * b + m * n * c), "{line}");
                    assert!(record["gmacs"].as_f64().is_some_and(|g| g > 0.0), "{line}");
                }
            }
        }
    }
    let table = s.ok(&[
        "gemm",
        "--op",
        "f32f16-f32",
        "--shapes",
        "shapes.csv",
        "--seconds",
        "0.001",
        "--tier",
        "portable",
        "--threads",
        "2",
    ])?;
    assert!(table.contains("of the fma peak") && table.contains("weights gaussian"), "{table}");
    Ok(())
}

/// On the portable tier hardware dot products are plain Rust, so every machine has them there; and only if they are
/// asked for.
#[test]
fn gemm_verifies_hardware_dot_products() -> TestResult {
    let s = Sandbox::new()?;
    fs::write(s.path("shapes.csv"), "m,n,k\n3,5,7\n17,33,401\n1,64,64\n")?;
    let shapes = ["gemm", "--shapes", "shapes.csv", "--seconds", "0.001", "--format", "json", "--tier", "portable"];
    for dot in ["avx512-bf16", "amx-bf16"] {
        for op in ["bf16bf16-f32", "f32bf16-bf16", "f16bf16-f16"] {
            let text = s.ok(&[&shapes[..], &["--op", op, &format!("--hardware-dot={dot}")]].concat())?;
            assert_eq!(text.lines().count(), 3, "{text}");
            for line in text.lines() {
                let record: serde_json::Value = serde_json::from_str(line)?;
                assert_eq!((&record["sequence"], &record["verified"]), (&dot.into(), &true.into()), "{line}");
            }
        }
    }
    let asked = |more: &[&'static str]| [&shapes[..], more].concat();
    s.refused(&asked(&["--op", "bf16bf16-f32", "--hardware-dot=fma"]), "one of avx512-bf16, amx-bf16")?;
    s.refused(&asked(&["--op", "bf16bf16-f32", "--hardware-dot"]), "need tier avx512")?;
    s.refused(&asked(&["--op", "bf16f16-f32", "--hardware-dot=amx-bf16"]), "--hardware-dot is for weights of bf16")?;
    s.refused(&asked(&["--op", "u8i8-f32", "--hardware-dot=amx-bf16"]), "--hardware-dot is for weights of bf16")?;
    if gemmill::Tier::Avx2.require().is_ok() {
        let shape = ["gemm", "--op", "bf16bf16-f32", "--tier", "avx2", "--m", "1", "--n", "1", "--k", "1"];
        s.refused(&[&shape[..], &["--hardware-dot=avx512-bf16"]].concat(), "need tier avx512")?;
    }
    Ok(())
}

#[test]
fn gemm_refuses_options_of_the_other_kind() -> TestResult {
    let s = Sandbox::new()?;
    let shape = ["gemm", "--m", "3", "--n", "4", "--k", "5"];
    let float = |more: &[&'static str]| [&shape[..], &["--op", "f32bf16-f32"], more].concat();
    for weights in ["per-tensor", "per-column", "uniform", "safe", "int4"] {
        s.refused(&float(&["--weights", weights]), "is not for f32bf16-f32: expected one of gaussian")?;
    }
    s.refused(&float(&["--activation-max", "127"]), "--activation-max is for integer products")?;
    s.refused(&float(&["--a-zero-point", "3"]), "--a-zero-point is for integer products")?;
    s.refused(&float(&["--activations", "static"]), "--activations is for integer products")?;
    s.refused(&[&shape[..], &["--weights", "gaussian"]].concat(), "is not for u8i8-i32: expected one of per-column")?;
    s.refused(&[&shape[..], &["--op", "f32f8-f32"]].concat(), "f32bf16-f32")?;
    Ok(())
}

#[test]
fn gemv_has_a_line_for_each_level() -> TestResult {
    let s = Sandbox::new()?;
    let args = ["gemv", "--op", "u8i8-u8,f32f16-f32,bf16bf16-bf16", "--m", "1,16", "--largest", "1"];
    let fast = ["--seconds", "0.001", "--format"];
    let text = s.ok(&[&args[..], &fast, &["json"]].concat())?;
    assert_eq!(text.lines().count(), 3 * 2 * 3, "{text}");
    for line in text.lines() {
        let record: serde_json::Value = serde_json::from_str(line)?;
        assert_eq!(record["verified"], true, "{line}");
        let [gbs, read, ratio] =
            ["weight_gbs", "read_gbs", "read_ratio"].map(|key| record[key].as_f64().unwrap_or(f64::NAN));
        assert!(gbs > 0.0 && read > 0.0 && (ratio - gbs / read).abs() < 1e-9, "{line}");
    }
    let table = s.ok(&[&args[..], &fast, &["table"]].concat())?;
    for word in ["L2", "L3", "memory", "GB/s", "of read"] {
        assert!(table.contains(word), "{word} is missing in {table}");
    }
    assert_eq!(s.ok(&[&args[..], &fast, &["csv"]].concat())?.lines().count(), 19);
    s.refused(&["gemv", "--m", "17"], "17")?;
    s.refused(&["gemv", "--m", "0"], "0")?;
    s.refused(&["gemv", "--op", "f32f8-f32"], "expected one of")?;
    Ok(())
}

#[test]
fn gemv_has_hardware_dot_products() -> TestResult {
    let s = Sandbox::new()?;
    let with = |more: &[&'static str]| {
        let args = ["gemv", "--tier", "portable", "--largest", "1", "--seconds", "0.001", "--hardware-dot=amx-bf16"];
        [&args[..], more].concat()
    };
    let text = s.ok(&with(&["--op", "bf16bf16-f32,f32f16-f32", "--format", "json"]))?;
    assert_eq!(text.lines().count(), 2 * 3, "{text}");
    for line in text.lines() {
        let record: serde_json::Value = serde_json::from_str(line)?;
        let dot = (record["op"] == "bf16bf16-f32").then_some("amx-bf16");
        assert_eq!((record["hardware_dot"].as_str(), &record["verified"]), (dot, &true.into()), "{line}");
    }
    assert!(s.ok(&with(&["--op", "bf16bf16-f32"]))?.contains("weights of bf16 by amx-bf16"));
    s.refused(&with(&["--op", "f32f16-f32,u8i8-f32"]), "--hardware-dot is for weights of bf16")?;
    s.refused(&["gemv", "--tier", "portable", "--op", "bf16bf16-f32", "--hardware-dot"], "need tier avx512")?;
    Ok(())
}

/// Copies of weights in turn: also those of integers.
#[test]
fn gemv_takes_copies_in_turn() -> TestResult {
    let s = Sandbox::new()?;
    let args = ["gemv", "--op", "u8i8-f32", "--largest", "80", "--seconds", "0.001", "--format", "csv"];
    let text = s.ok(&args)?;
    let memory = text.lines().last().unwrap_or_default();
    let fields: Vec<&str> = memory.split(',').collect();
    let bytes: usize = fields[6].parse()?;
    let matrix = fields[2].parse::<usize>()? * fields[3].parse::<usize>()?;
    assert!(bytes >= 2 * matrix && memory.ends_with("true"), "{text}");
    Ok(())
}

#[test]
fn peak_has_multiply_adds() -> TestResult {
    let s = Sandbox::new()?;
    let limits: serde_json::Value =
        serde_json::from_str(&s.ok(&["peak", "--seconds", "0.002", "--format", "json"])?)?;
    let sequences = limits["sequences_gmacs"].as_array().map_or(&[][..], |s| s);
    let tiers = |name: &str| sequences.iter().filter(|s| s[0].as_str().is_some_and(|s| s.ends_with(name))).count();
    let with_code = gemmill::Tier::ALL.into_iter().filter(|t| *t != gemmill::Tier::Portable && t.require().is_ok());
    assert_eq!(tiers(" fma"), with_code.count(), "{limits}");
    Ok(())
}

/// A = [[1, 2, 3], [-0.5, 0, 4]], B = [[1, -1], [2, 0.25], [-4, 3]]: numbers that every type has.
const A: [f32; 6] = [1.0, 2.0, 3.0, -0.5, 0.0, 4.0];
const B: [f32; 6] = [1.0, -1.0, 2.0, 0.25, -4.0, 3.0];
const BIAS: [f32; 2] = [0.5, -1.0];
const PRODUCT: [f32; 4] = [1.0 + 4.0 - 12.0, -1.0 + 0.5 + 9.0, -0.5 - 16.0, 0.5 + 12.0];

fn f32_bytes(x: &[f32]) -> Vec<u8> {
    x.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn f16_bytes(x: &[f32]) -> Vec<u8> {
    x.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect()
}

fn operands(s: &Sandbox) -> TestResult {
    let by_columns = |x: &[f32; 6]| [x[0], x[2], x[4], x[1], x[3], x[5]];
    s.npy("A.npy", "<f4", false, "(2, 3)", &f32_bytes(&A))?;
    s.npy("A2.npy", "<f2", false, "(2, 3)", &f16_bytes(&A))?;
    s.npy("B.npy", "<f4", false, "(3, 2)", &f32_bytes(&B))?;
    s.npy("B2.npy", "<f2", true, "(3, 2)", &f16_bytes(&by_columns(&B)))?;
    s.npy("bias.npy", "<f4", false, "(2,)", &f32_bytes(&BIAS))?;
    s.npy("bias2.npy", "<f2", false, "(1, 2)", &f16_bytes(&BIAS))?;
    Ok(())
}

#[test]
fn npy_multiplies_floating_point_arrays() -> TestResult {
    let s = Sandbox::new()?;
    operands(&s)?;
    for a in ["A.npy", "A2.npy"] {
        for b in ["B.npy", "B2.npy"] {
            s.ok(&["npy", a, b, "-o", "C.npy", "--threads", "1"])?;
            let (header, data) = read_npy(&s.path("C.npy"))?;
            assert!(header.contains("'<f4'") && header.contains("(2, 2)"), "{header}");
            assert_eq!(data, f32_bytes(&PRODUCT));
            s.ok(&["npy", a, b, "-o", "C.npy", "--c-type", "f16"])?;
            let (header, data) = read_npy(&s.path("C.npy"))?;
            assert!(header.contains("'<f2'"), "{header}");
            assert_eq!(data, f16_bytes(&PRODUCT));
        }
    }
    Ok(())
}

/// Halfway between 1 and the next bf16 number: rounded to 1.
const TIE: f32 = 1.0 + 1.0 / 256.0;

#[test]
fn npy_has_hardware_dot_products() -> TestResult {
    let s = Sandbox::new()?;
    operands(&s)?;
    s.npy("tie.npy", "<f4", false, "(1, 1)", &f32_bytes(&[TIE]))?;
    s.npy("one.npy", "<f4", false, "(1, 1)", &f32_bytes(&[1.0]))?;
    s.npy("I.npy", "|i1", false, "(2, 2)", &[1; 4])?;
    let portable = ["-o", "C.npy", "--tier", "portable"];
    for dot in ["--hardware-dot=avx512-bf16", "--hardware-dot=amx-bf16"] {
        for (a, b) in [("A.npy", "B.npy"), ("A2.npy", "B2.npy")] {
            s.ok(&[&["npy", a, b, dot], &portable[..]].concat())?;
            assert_eq!(read_npy(&s.path("C.npy"))?.1, f32_bytes(&PRODUCT));
        }
        for (a, b) in [("tie.npy", "one.npy"), ("one.npy", "tie.npy")] {
            s.ok(&[&["npy", a, b, dot], &portable[..]].concat())?;
            assert_eq!(read_npy(&s.path("C.npy"))?.1, f32_bytes(&[1.0]));
            s.ok(&[&["npy", a, b], &portable[..]].concat())?;
            assert_eq!(read_npy(&s.path("C.npy"))?.1, f32_bytes(&[TIE]));
        }
        fs::remove_file(s.path("C.npy"))?;
        s.refused(&[&["npy", "I.npy", "I.npy", dot], &portable[..]].concat(), "--hardware-dot is for floating-point")?;
        s.refused(&[&["npy", "A.npy", "B.npy", dot, "--bits", "4"], &portable[..]].concat(), "--bits makes others")?;
    }
    s.refused(&[&["npy", "A.npy", "B.npy", "--hardware-dot"], &portable[..]].concat(), "need tier avx512")?;
    Ok(())
}

#[test]
fn npy_has_a_bias_and_functions() -> TestResult {
    let s = Sandbox::new()?;
    operands(&s)?;
    let sums: Vec<f32> = PRODUCT.iter().zip(BIAS.iter().cycle()).map(|(x, bias)| x + bias).collect();
    let functions = [("--relu", Function::Relu), ("--gelu", Function::Gelu), ("--silu", Function::Silu)];
    for bias in ["bias.npy", "bias2.npy"] {
        s.ok(&["npy", "A.npy", "B2.npy", "-o", "C.npy", "--bias", bias])?;
        assert_eq!(read_npy(&s.path("C.npy"))?.1, f32_bytes(&sums));
        for (option, function) in functions {
            let expected: Vec<f32> = sums.iter().map(|&x| function.apply(x)).collect();
            s.ok(&["npy", "A.npy", "B2.npy", "-o", "C.npy", "--bias", bias, option])?;
            assert_eq!(read_npy(&s.path("C.npy"))?.1, f32_bytes(&expected), "{option}");
            s.ok(&["npy", "A2.npy", "B.npy", "-o", "C.npy", "--bias", bias, option, "--c-type", "f16"])?;
            assert_eq!(read_npy(&s.path("C.npy"))?.1, f16_bytes(&expected), "{option}");
        }
    }
    Ok(())
}

#[test]
fn npy_refuses_what_is_of_integers() -> TestResult {
    let s = Sandbox::new()?;
    operands(&s)?;
    s.npy("I32.npy", "<i4", false, "(3, 2)", &[1; 24])?;
    s.npy("I3.npy", "<i4", false, "(2,)", &[1; 8])?;
    s.npy("B8.npy", "<c8", false, "(3, 2)", &[0; 48])?;
    s.npy("short.npy", "<f2", false, "(3, 2)", &[0; 11])?;
    let with = |more: &[&'static str]| [&["npy", "A.npy", "B.npy", "-o", "C.npy"], more].concat();
    s.refused(&["npy", "A.npy", "I32.npy", "-o", "C.npy"], "its dtype is i32: expected u8, i8, f32 or f16")?;
    s.refused(&["npy", "A.npy", "B8.npy", "-o", "C.npy"], "its dtype is '<c8'")?;
    s.refused(&["npy", "A.npy", "short.npy", "-o", "C.npy"], "the shape needs 12 bytes of data, the file holds 11")?;
    s.refused(&["npy", "A.npy", "A2.npy", "-o", "C.npy"], "the shapes do not fit")?;
    s.refused(&with(&["--multiplier", "2"]), "--multiplier is for integers")?;
    s.refused(&with(&["--a-zero-point", "2"]), "--a-zero-point is for integers")?;
    s.refused(&with(&["--b-zero-point", "2"]), "--b-zero-point is for integers")?;
    s.refused(&with(&["--c-type", "i8"]), "products of floating-point arrays are f32 or f16")?;
    s.refused(&with(&["--bias", "I3.npy"]), "its dtype is i32: expected f32 or f16")?;
    s.refused(&with(&["--bias", "A.npy"]), "expected 2 elements, one for each column of B")?;
    s.refused(&with(&["--relu", "--gelu"]), "cannot be used with")?;
    s.refused(&with(&["--gelu", "--silu"]), "cannot be used with")?;
    Ok(())
}
