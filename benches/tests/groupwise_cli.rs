//! Weights of 4 and 2 bits on the command line: what is printed, what is written, and what is refused.

mod common;

use std::fs;

use common::{Sandbox, TestResult, read_npy};
use gemmill::half::f16;
use gemmill::quant::{Bits, GroupSize, GroupwiseFormat, GroupwiseWeights, ZeroPoints};
use gemmill::reference::groupwise as reference;
use gemmill::{Function, MatRef};

#[test]
fn gemm_verifies_groupwise_operations() -> TestResult {
    let s = Sandbox::new()?;
    fs::write(s.path("shapes.csv"), "m,n,k\n3,5,7\n17,33,400\n1,64,128\n")?;
    let operands = ["f32", "f16", "bf16", "i8"].into_iter().flat_map(|a| ["i4", "i2"].map(|b| (a, b, "f32")));
    for (a, b, c) in
        operands.chain([("i8", "i4", "f16"), ("i8", "i2", "bf16"), ("bf16", "i4", "bf16"), ("f32", "i2", "f16")])
    {
        let op = format!("{a}{b}-{c}");
        let args = ["gemm", "--op", &op, "--shapes", "shapes.csv", "--seconds", "0.001", "--format", "json"];
        let text = s.ok(&args)?;
        assert_eq!(text.lines().count(), 3, "{text}");
        for line in text.lines() {
            let record: serde_json::Value = serde_json::from_str(line)?;
            for key in ["tier", "threads", "peak_ratio"] {
                assert!(record.get(key).is_some(), "{key} is missing in {line}");
            }
            assert_eq!((&record["op"], &record["verified"]), (&op.as_str().into(), &true.into()), "{line}");
            assert_eq!(record["sequence"], format!("{b} groups of 128"), "{line}");
            assert_eq!(record["weights"], "gaussian", "{line}");
            let [m, n, k] = ["m", "n", "k"].map(|size| record[size].as_u64().unwrap_or(0));
            // i8 activations are f32 that the call quantizes.
            let [a, c] = [a, c].map(|name| if ["f32", "i8"].contains(&name) { 4 } else { 2 });
            let bits = if b == "i4" { 4 } else { 2 };
            let weights = (k * n * bits).div_ceil(8) + k.div_ceil(128) * n * 2;
            assert_eq!(record["bytes"].as_u64(), Some(m * k * a + weights + m * n * c), "{line}");
            assert!(record["gmacs"].as_f64().is_some_and(|g| g > 0.0), "{line}");
        }
    }
    Ok(())
}

#[test]
fn gemm_has_groups_of_all_kinds() -> TestResult {
    let s = Sandbox::new()?;
    let args = ["gemm", "--m", "5", "--n", "40", "--k", "300", "--seconds", "0.001", "--format", "json"];
    let kinds = [
        ("32", &["--asymmetric"][..]),
        ("64", &["--quantizer", "search"]),
        ("128", &["--quantizer", "nearest"]),
        ("64", &["--asymmetric", "--quantizer", "search"]),
    ];
    for op in ["f32i4-f32", "i8i2-f32"] {
        for (group, more) in kinds {
            let text = s.ok(&[&args[..], &["--op", op, "--group", group, "--threads", "2"], more].concat())?;
            let record: serde_json::Value = serde_json::from_str(text.trim())?;
            assert_eq!(record["verified"], true, "{text}");
            let zero_points = if more[0] == "--asymmetric" { " asymmetric" } else { "" };
            let sequence = format!("{} groups of {group}{zero_points}", &op[op.len() - 6..][..2]);
            assert_eq!(record["sequence"], sequence, "{text}");
        }
    }
    let table = s.ok(&["gemm", "--op", "i8i4-bf16", "--m", "2", "--n", "3", "--k", "4", "--tier", "portable"])?;
    assert!(table.contains("portable") && table.contains(" all ") && table.contains("i4 groups of 128"), "{table}");
    Ok(())
}

#[test]
fn gemm_and_gemv_refuse_options_of_the_other_kinds() -> TestResult {
    let s = Sandbox::new()?;
    let shape = ["gemm", "--m", "3", "--n", "4", "--k", "5"];
    let group = |more: &[&'static str]| [&shape[..], &["--op", "i8i4-f32"], more].concat();
    s.refused(&group(&["--group", "48"]), "expected 32, 64 or 128")?;
    s.refused(&group(&["--quantizer", "best"]), "nearest, search")?;
    s.refused(&group(&["--weights", "int4"]), "is not for i8i4-f32: expected one of gaussian")?;
    s.refused(&group(&["--activations", "static"]), "--activations is for integer products")?;
    s.refused(&group(&["--activation-max", "127"]), "--activation-max is for integer products")?;
    s.refused(
        &[&shape[..], &["--group", "32"]].concat(),
        "--group is for weights of 4 or 2 bits: u8i8-i32 has others",
    )?;
    let float = [&shape[..], &["--op", "f32f16-f32", "--asymmetric"]].concat();
    s.refused(&float, "--asymmetric is for weights of 4 or 2 bits: f32f16-f32 has others")?;
    s.refused(&[&shape[..], &["--op", "u8i4-f32"]].concat(), "expected one of")?;
    s.refused(&[&shape[..], &["--op", "i8i3-f32"]].concat(), "i8i4-f32")?;
    s.refused(&["gemv", "--quantizer", "search"], "--quantizer is for weights of 4 or 2 bits")?;
    Ok(())
}

#[test]
fn gemv_has_groups() -> TestResult {
    let s = Sandbox::new()?;
    let args =
        ["gemv", "--op", "f32i4-f32,i8i4-f32,i8i2-f32,u8i8-f32", "--m", "1,3", "--largest", "1", "--group", "32"];
    let text = s.ok(&[&args[..], &["--seconds", "0.001", "--format", "json"]].concat())?;
    assert_eq!(text.lines().count(), 4 * 2 * 3, "{text}");
    for line in text.lines() {
        let record: serde_json::Value = serde_json::from_str(line)?;
        assert_eq!(record["verified"], true, "{line}");
    }
    Ok(())
}

const SIZES: [usize; 3] = [3, 5, 70];

/// A sine of another frequency for each operand.
fn waves(len: usize, step: f32) -> Vec<f32> {
    (0..len).map(|i| f16::from_f32((i as f32 * step).sin()).to_f32()).collect()
}

fn f32_bytes(x: &[f32]) -> Vec<u8> {
    x.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn f16_bytes(x: &[f32]) -> Vec<u8> {
    x.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect()
}

/// A in C order and B in both, each as f32 and f16, and a bias; and the numbers of A, B and the bias.
fn operands(s: &Sandbox) -> Result<[Vec<f32>; 3], Box<dyn std::error::Error>> {
    let [m, n, k] = SIZES;
    let (a, b, bias) = (waves(m * k, 0.7), waves(k * n, 1.3), waves(n, 2.9));
    let columns: Vec<f32> = (0..k * n).map(|i| b[i % k * n + i / k]).collect();
    s.npy("A.npy", "<f4", false, "(3, 70)", &f32_bytes(&a))?;
    s.npy("A2.npy", "<f2", false, "(3, 70)", &f16_bytes(&a))?;
    s.npy("B.npy", "<f4", true, "(70, 5)", &f32_bytes(&columns))?;
    s.npy("B2.npy", "<f2", false, "(70, 5)", &f16_bytes(&b))?;
    s.npy("bias.npy", "<f4", false, "(5,)", &f32_bytes(&bias))?;
    Ok([a, b, bias])
}

#[test]
fn npy_quantizes_b_in_groups() -> TestResult {
    let s = Sandbox::new()?;
    let [a, b, bias] = operands(&s)?;
    let [m, n, k] = SIZES;
    let (a, b) = (MatRef::row_major(&a, m, k)?, MatRef::row_major(&b, k, n)?);
    for (bits, digit) in [(Bits::Four, "4"), (Bits::Two, "2")] {
        let format = GroupwiseFormat { bits, group_size: GroupSize::G128, zero_points: ZeroPoints::Middle };
        let small = GroupwiseFormat { group_size: GroupSize::G32, zero_points: ZeroPoints::Each, ..format };
        let nearest = GroupwiseWeights::round_to_nearest(b, format)?;
        let searched = GroupwiseWeights::search(b, small, None)?;
        let search = ["--group", "32", "--asymmetric", "--quantizer", "search"];
        for (weights, options) in [(&nearest, &[][..]), (&searched, &search)] {
            let (quantized, scales) = reference::quantize_rows(a)?;
            let sums = reference::weight_only(a, weights, None);
            let by_i8 = reference::quantized(MatRef::row_major(&quantized, m, k)?, &scales, weights, None);
            let with_bias =
                reference::quantized(MatRef::row_major(&quantized, m, k)?, &scales, weights, Some(bias.as_slice()));
            let relu: Vec<f32> = with_bias.iter().map(|&x| Function::Relu.apply(x)).collect();
            for (of_a, of_b) in [("A.npy", "B.npy"), ("A2.npy", "B2.npy")] {
                let args = [&["npy", of_a, of_b, "-o", "C.npy", "--bits", digit], options].concat();
                s.ok(&args)?;
                let (header, data) = read_npy(&s.path("C.npy"))?;
                assert!(header.contains("'<f4'") && header.contains("(3, 5)"), "{header}");
                assert_eq!(data, f32_bytes(&sums), "{args:?}");
                s.ok(&[&args[..], &["--quantize-a", "--c-type", "f16", "--threads", "1"]].concat())?;
                let (header, data) = read_npy(&s.path("C.npy"))?;
                assert!(header.contains("'<f2'"), "{header}");
                assert_eq!(data, f16_bytes(&by_i8), "{args:?}");
                s.ok(&[&args[..], &["--quantize-a", "--bias", "bias.npy", "--relu"]].concat())?;
                assert_eq!(read_npy(&s.path("C.npy"))?.1, f32_bytes(&relu), "{args:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn npy_refuses_what_cannot_be_quantized() -> TestResult {
    let s = Sandbox::new()?;
    operands(&s)?;
    s.npy("nan.npy", "<f4", false, "(70, 5)", &f32_bytes(&[f32::NAN; 350]))?;
    s.npy("infinite.npy", "<f2", false, "(3, 70)", &f16_bytes(&[f32::INFINITY; 210]))?;
    s.npy("I.npy", "|i1", false, "(3, 70)", &[1; 210])?;
    s.npy("J.npy", "|i1", false, "(70, 5)", &[1; 350])?;
    let with = |a, b, more: &[&'static str]| [&["npy", a, b, "-o", "C.npy"], more].concat();
    s.refused(&with("A.npy", "B.npy", &["--bits", "3"]), "expected 4 or 2")?;
    s.refused(&with("A.npy", "B.npy", &["--bits", "4", "--group", "0"]), "expected 32, 64 or 128")?;
    s.refused(&with("A.npy", "B.npy", &["--group", "32"]), "--group needs --bits")?;
    s.refused(&with("A.npy", "B.npy", &["--asymmetric"]), "--asymmetric needs --bits")?;
    s.refused(&with("A.npy", "B.npy", &["--quantize-a"]), "--bits")?;
    s.refused(&with("A.npy", "B.npy", &["--bits", "4", "--c-type", "i8"]), "f32 or f16")?;
    s.refused(&with("A.npy", "B.npy", &["--bits", "4", "--multiplier", "2"]), "--multiplier is for integers")?;
    s.refused(&with("I.npy", "J.npy", &["--bits", "4"]), "--bits is for floating-point arrays")?;
    s.refused(&with("A.npy", "nan.npy", &["--bits", "2"]), "quantizing B")?;
    s.refused(&with("infinite.npy", "B.npy", &["--bits", "2", "--quantize-a"]), "expected a finite number, given inf")?;
    s.refused(&with("A.npy", "A2.npy", &["--bits", "4"]), "the shapes do not fit")?;
    Ok(())
}
