//! The table of functions, and their bounds.

use std::fmt::Write;

use gemmill::Function;

/// A function in f64, and the `t` of its exponential.
fn exactly(function: Function, x: f64) -> (f64, f64) {
    let t = match function {
        Function::Gelu => 2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x),
        _ => x,
    };
    (x / (1.0 + (-t).exp()), t)
}

/// What the documentation of [`Function`] says that the error is at most.
fn bound(function: Function, x: f64, exact: f64, t: f64) -> f64 {
    const UNIT: f64 = 1.0 / (1 << 22) as f64;
    let growth = if function == Function::Gelu { 1.0 + t.abs() } else { 1.0 };
    (UNIT * growth * exact.abs() + 1e-36).min(UNIT * x.abs() + 1e-36)
}

/// Where x lies in the table.
const RANGES: [(&str, f64, f64); 6] = [
    ("x ≥ 0", 0.0, f64::INFINITY),
    ("−1 ≤ x < 0", -1.0, 0.0),
    ("−4 ≤ x < −1", -4.0, -1.0),
    ("−8 ≤ x < −4", -8.0, -4.0),
    ("−88 ≤ x < −8", -88.0, -8.0),
    ("x < −88", f64::NEG_INFINITY, -88.0),
];

/// The numbers that are tried: finite ones of all exponents, and those more densely for which a function is neither 0,
/// x / 2 nor x.
pub fn numbers_to_try() -> impl Iterator<Item = f32> {
    let long = std::env::var_os("GEMMILL_TEST_LONG").is_some();
    let (smallest, steps) = if long { (1.0 / (1 << 24) as f32, [97, 1]) } else { (1.0 / 16.0, [997, 61]) };
    let all = (0..f32::INFINITY.to_bits()).step_by(steps[0]);
    let dense = (smallest.to_bits()..128f32.to_bits()).step_by(steps[1]);
    all.chain(dense).flat_map(|bits| [bits, bits | 1 << 31]).map(f32::from_bits)
}

pub fn table() -> String {
    let mut text = "| function | where | largest error / abs f(x) | / abs x |\n|---|---|--:|--:|\n".to_owned();
    for (name, function) in [("SiLU", Function::Silu), ("GELU", Function::Gelu)] {
        let mut largest = [(0f64, 0f64); RANGES.len()];
        for x in numbers_to_try() {
            let (exact, t) = exactly(function, x.into());
            let found = function.apply(x);
            let error = (f64::from(found) - exact).abs();
            let most = bound(function, x.into(), exact, t);
            assert!(error <= most, "{name}({x:e}) is {found:e}: {error:e} off, more than {most:e}");
            let range = RANGES.iter().position(|&(_, low, high)| (low..high).contains(&f64::from(x)));
            if let (Some(range), true) = (range, error > 1e-36) {
                let (of_result, of_x) = &mut largest[range];
                *of_result = of_result.max((error - 1e-36) / exact.abs());
                *of_x = of_x.max(error / f64::from(x).abs());
            }
        }
        for ((range, ..), (of_result, of_x)) in RANGES.iter().zip(largest) {
            writeln!(text, "| {name} | {range} | {of_result:.1e} | {of_x:.1e} |").unwrap();
        }
    }
    text
}
