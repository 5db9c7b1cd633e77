//! Errors of products and functions against f64: the tables of `docs/accuracy.md`, and the bounds that are documented.

use std::fmt::Write;

use gemmill::half::{bf16, f16};
use gemmill::quant::{self, Choose, QuantElement, QuantParams};
use gemmill::{
    ActivationQuantization, Dequantize, Float, FloatGemm, FloatType, Function, Gemm, MatMut, MatRef, PackedB,
    PackedFloat, PerColumn, Tier,
};

/// Products of models, K being theirs.
const SHAPES: [(&str, usize, usize, usize); 7] = [
    ("resnet50", 16, 64, 64),
    ("dlrm", 16, 64, 479),
    ("bert-base", 8, 48, 768),
    ("dlrm", 8, 64, 1024),
    ("bert-base", 8, 48, 3072),
    ("llama3-8b", 4, 64, 4096),
    ("llama3-8b", 4, 64, 14336),
];

/// Operations that are told shape by shape.
const BY_SHAPE: [&str; 3] = ["f32f32-f32", "bf16bf16-bf16", "f32i8-f32"];

/// SplitMix64, with normal variables that need no function which differs from one machine to another.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// About normal: the sum of eight numbers of 16 bits.
    fn normal(&mut self) -> f32 {
        let bits = [self.bits(), self.bits()];
        let sum: i64 = bits.iter().flat_map(|x| [0, 16, 32, 48].map(|at| (x >> at & 0xffff) as i64)).sum();
        // Each has a variance of 2^32 / 12.
        (sum - 4 * 0xffff) as f32 / (65536.0 * (8.0f32 / 12.0).sqrt())
    }
}

/// A sum in f64, and that of the magnitudes.
#[derive(Debug, Clone, Copy)]
struct Sum {
    value: f64,
    magnitude: f64,
}

/// Operands of a product, as numbers: A by rows, B by columns.
struct Numbers {
    a: Vec<f64>,
    b: Vec<f64>,
}

impl Numbers {
    fn sums(&self, k: usize) -> Vec<Sum> {
        let rows = self.a.chunks_exact(k);
        rows.flat_map(|row| self.b.chunks_exact(k).map(move |column| sum(row, column))).collect()
    }
}

fn sum(row: &[f64], column: &[f64]) -> Sum {
    let mut sum = Sum { value: 0.0, magnitude: 0.0 };
    for (a, b) in row.iter().zip(column) {
        sum.value += a * b;
        sum.magnitude += (a * b).abs();
    }
    sum
}

#[derive(Debug, Clone, Copy, Default)]
struct Errors {
    largest: f64,
    total: f64,
    count: usize,
}

impl Errors {
    fn of(found: &[f32], sums: &[Sum]) -> Errors {
        let mut errors = Errors::default();
        for (&found, sum) in found.iter().zip(sums) {
            let error = (f64::from(found) - sum.value).abs() / sum.magnitude;
            assert!(error.is_finite(), "{found} against {sum:?}");
            errors = errors.and(Errors { largest: error, total: error, count: 1 });
        }
        errors
    }

    fn and(self, other: Errors) -> Errors {
        let largest = self.largest.max(other.largest);
        Errors { largest, total: self.total + other.total, count: self.count + other.count }
    }

    fn cells(self) -> String {
        format!("{:.1e} | {:.1e}", self.largest, self.total / self.count as f64)
    }
}

/// The errors of an operation on a shape.
struct Finding {
    op: String,
    shape: usize,
    arithmetic: Errors,
    in_all: Errors,
}

/// A shape's operands, and what comes of them.
struct Bench {
    tier: Tier,
    index: usize,
    m: usize,
    n: usize,
    k: usize,
    /// Row-major, both.
    a: Vec<f32>,
    b: Vec<f32>,
    /// Of these numbers, before they are stored.
    exact: Vec<Sum>,
    findings: Vec<Finding>,
}

fn columns<T: Copy>(b: &[T], n: usize, to_f64: impl Fn(usize, T) -> f64) -> Vec<f64> {
    (0..n).flat_map(|j| b.iter().skip(j).step_by(n).map(move |x| (j, *x))).map(|(j, x)| to_f64(j, x)).collect()
}

fn through<T: Float>(x: f32) -> f64 {
    f64::from(T::from_f32(x).to_f32())
}

impl Bench {
    fn new(tier: Tier, index: usize) -> Bench {
        let (_, m, n, k) = SHAPES[index];
        let mut random = Random(index as u64 + 1);
        let a: Vec<f32> = (0..m * k).map(|_| random.normal()).collect();
        let scale = 1.0 / (k as f32).sqrt();
        let b: Vec<f32> = (0..k * n).map(|_| random.normal() * scale).collect();
        let numbers = Numbers { a: a.iter().map(|x| f64::from(*x)).collect(), b: columns(&b, n, |_, x| x.into()) };
        Bench { tier, index, m, n, k, exact: numbers.sums(k), a, b, findings: Vec::new() }
    }

    fn find(&mut self, op: String, c: &[f32], stored: &[Sum]) {
        let (arithmetic, in_all) = (Errors::of(c, stored), Errors::of(c, &self.exact));
        self.findings.push(Finding { op, shape: self.index, arithmetic, in_all });
    }

    /// Floating-point products with these operands, into every type.
    fn floats<A: Float, B: Float>(&mut self) -> gemmill::Result<()> {
        let a: Vec<A> = self.a.iter().map(|x| A::from_f32(*x)).collect();
        let stored = Numbers {
            a: self.a.iter().map(|x| through::<A>(*x)).collect(),
            b: columns(&self.b, self.n, |_, x| through::<B>(x)),
        };
        let stored = stored.sums(self.k);
        let packed = PackedFloat::builder(MatRef::row_major(&self.b, self.k, self.n)?).store(B::TYPE).build()?;
        let gemm = FloatGemm::builder(&packed).tier(self.tier).build()?;
        self.float_result::<A, B, f32>(&gemm, &a, &stored)?;
        self.float_result::<A, B, f16>(&gemm, &a, &stored)?;
        self.float_result::<A, B, bf16>(&gemm, &a, &stored)
    }

    fn float_result<A: Float, B: Float, C: Float>(
        &mut self,
        gemm: &FloatGemm,
        a: &[A],
        stored: &[Sum],
    ) -> gemmill::Result<()> {
        let mut c = vec![C::from_f32(0.0); self.m * self.n];
        gemm.run(MatRef::row_major(a, self.m, self.k)?, &mut MatMut::row_major(&mut c, self.m, self.n)?)?;
        let c: Vec<f32> = c.iter().map(|x| x.to_f32()).collect();
        let [a, b, c_name] = [A::TYPE, B::TYPE, C::TYPE].map(FloatType::name);
        self.find(format!("{a}{b}-{c_name}"), &c, stored);
        Ok(())
    }

    /// Products of integers with f32 results, weights being i8 or u8.
    fn integers(&mut self) -> gemmill::Result<()> {
        let (i8_weights, scales) = quant::symmetric_per_column(MatRef::row_major(&self.b, self.k, self.n)?)?;
        let u8_weights: Vec<u8> = i8_weights.iter().map(|w| *w as u8 ^ 0x80).collect();
        let weights = columns(&i8_weights, self.n, |j, w| f64::from(w) * f64::from(scales[j]));
        let of_i8 = PackedB::builder(MatRef::row_major(&i8_weights, self.k, self.n)?).tier(self.tier).build()?;
        let of_u8 = PackedB::builder(MatRef::row_major(&u8_weights, self.k, self.n)?)
            .zero_points(128.into())
            .tier(self.tier)
            .build()?;
        for (name, packed) in [("i8", &of_i8), ("u8", &of_u8)] {
            macro_rules! quantized {
                ($a:ty) => {{
                    let (min, max) = quant::min_max(&self.a).unwrap_or_default();
                    let params = QuantParams::<$a>::from_min_max(min, max, Choose::default())?;
                    let mut a = vec![0; self.a.len()];
                    params.quantize(&self.a, &mut a)?;
                    let output = Dequantize::new(PerColumn::Column(&scales)).a_scale(params.scale());
                    let gemm = Gemm::builder(packed, output).a_zero_point(params.zero_point()).build()?;
                    let mut c = vec![0f32; self.m * self.n];
                    let view = MatRef::row_major(&a, self.m, self.k)?;
                    gemm.run(view, &mut MatMut::row_major(&mut c, self.m, self.n)?)?;
                    let a = a.iter().map(|q| number(params, *q)).collect();
                    let stored = Numbers { a, b: weights.clone() }.sums(self.k);
                    self.find(format!("{}{name}-f32", stringify!($a)), &c, &stored);
                }};
            }
            quantized!(u8);
            quantized!(i8);

            let gemm = Gemm::builder(packed, Dequantize::new(PerColumn::Column(&scales)))
                .a_quantization(ActivationQuantization::DynamicPerRow)
                .build()?;
            let mut c = vec![0f32; self.m * self.n];
            let view = MatRef::row_major(&self.a, self.m, self.k)?;
            gemm.run(view, &mut MatMut::row_major(&mut c, self.m, self.n)?)?;
            let mut a = Vec::new();
            for row in self.a.chunks_exact(self.k) {
                let (min, max) = quant::min_max(row).unwrap_or_default();
                let params = QuantParams::<u8>::from_min_max(min, max, Choose::default())?;
                a.extend(row.iter().map(|x| number(params, quant::reference::quantize(params, *x))));
            }
            let stored = Numbers { a, b: weights.clone() }.sums(self.k);
            self.find(format!("f32{name}-f32"), &c, &stored);
        }
        Ok(())
    }
}

/// What an integer stands for.
fn number<T: QuantElement + Into<i32>>(params: QuantParams<T>, q: T) -> f64 {
    f64::from(params.scale()) * f64::from(q.into() - params.zero_point())
}

fn findings(tier: Tier) -> gemmill::Result<Vec<Finding>> {
    let mut all = Vec::new();
    for index in 0..SHAPES.len() {
        let mut bench = Bench::new(tier, index);
        bench.floats::<f32, f32>()?;
        bench.floats::<f32, f16>()?;
        bench.floats::<f32, bf16>()?;
        bench.floats::<f16, f32>()?;
        bench.floats::<f16, f16>()?;
        bench.floats::<f16, bf16>()?;
        bench.floats::<bf16, f32>()?;
        bench.floats::<bf16, f16>()?;
        bench.floats::<bf16, bf16>()?;
        bench.integers()?;
        all.extend(bench.findings);
    }
    Ok(all)
}

fn table_of_operations(findings: &[Finding]) -> String {
    let mut text = "| operation | arithmetic, max | mean | in all, max | mean |\n|---|--:|--:|--:|--:|\n".to_owned();
    let ops: Vec<&str> = findings.iter().filter(|f| f.shape == 0).map(|f| f.op.as_str()).collect();
    assert_eq!(ops.len(), 27 + 6);
    for op in ops {
        let same = || findings.iter().filter(|f| f.op == op);
        let arithmetic = same().fold(Errors::default(), |all, f| all.and(f.arithmetic));
        let in_all = same().fold(Errors::default(), |all, f| all.and(f.in_all));
        writeln!(text, "| `{op}` | {} | {} |", arithmetic.cells(), in_all.cells()).unwrap();
    }
    text
}

fn table_of_shapes(findings: &[Finding]) -> String {
    let mut text =
        "| model | m × n × k | operation | arithmetic, max | mean | in all, max | mean |\n|---|---|---|--:|--:|--:|--:|\n"
            .to_owned();
    for f in findings.iter().filter(|f| BY_SHAPE.contains(&f.op.as_str())) {
        let (model, m, n, k) = SHAPES[f.shape];
        let (arithmetic, in_all) = (f.arithmetic.cells(), f.in_all.cells());
        writeln!(text, "| {model} | {m} × {n} × {k} | `{}` | {arithmetic} | {in_all} |", f.op).unwrap();
    }
    text
}

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

/// The numbers that are tried: finite ones of all exponents, and those more densely for which a function is neither 0, x / 2
/// nor x.
fn numbers_to_try() -> impl Iterator<Item = f32> {
    let long = std::env::var_os("GEMMILL_TEST_LONG").is_some();
    let (smallest, steps) = if long { (1.0 / (1 << 24) as f32, [97, 1]) } else { (1.0 / 16.0, [997, 61]) };
    let all = (0..f32::INFINITY.to_bits()).step_by(steps[0]);
    let dense = (smallest.to_bits()..128f32.to_bits()).step_by(steps[1]);
    all.chain(dense).flat_map(|bits| [bits, bits | 1 << 31]).map(f32::from_bits)
}

fn table_of_functions() -> String {
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

/// Puts a table where the one of a section is.
fn replace_table(document: &mut String, heading: &str, table: &str) {
    let heading = format!("## {heading}\n");
    let section = document.find(&heading).unwrap_or_else(|| panic!("the document has no {heading}"));
    let start = section + document[section..].find("\n|").expect("the section has a table") + 1;
    let len: usize =
        document[start..].split_inclusive('\n').take_while(|line| line.starts_with('|')).map(str::len).sum();
    document.replace_range(start..start + len, table);
}

/// Compares the document with one whose tables were made anew; or writes that one.
fn compare(path: &str, replace: impl Fn(&mut String)) {
    let document = std::fs::read_to_string(path).unwrap();
    let mut written = document.clone();
    replace(&mut written);
    if std::env::var_os("GEMMILL_BLESS").is_some() {
        std::fs::write(path, &written).unwrap();
    } else if let Some((was, is)) = document.lines().zip(written.lines()).find(|(was, is)| was != is) {
        panic!("{path} says\n{was}\nbut products give\n{is}\nSet GEMMILL_BLESS=1 to write the tables anew.");
    } else {
        assert_eq!(document.len(), written.len(), "{path}: a table is longer or shorter than it should be");
    }
}

/// In one test: writing the document from several would lose some of it.
#[test]
fn the_tables_are_those_of_the_documentation() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/accuracy.md");
    let tiers = Tier::ALL.into_iter().filter(|tier| match tier.require() {
        Ok(_) => true,
        Err(why) => {
            eprintln!("SKIPPED tier {tier}: {why}");
            false
        }
    });
    for tier in tiers {
        let findings = findings(tier).unwrap();
        compare(path, |document| {
            replace_table(document, "Every operation", &table_of_operations(&findings));
            replace_table(document, "By shape", &table_of_shapes(&findings));
        });
    }
    let functions = table_of_functions();
    // More numbers have larger errors: then the bounds are what is tested.
    if std::env::var_os("GEMMILL_TEST_LONG").is_none() {
        compare(path, |document| replace_table(document, "Functions", &functions));
    }
}
