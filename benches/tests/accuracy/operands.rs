//! Operands of the model shapes, sums in f64, and errors against them.

use gemmill::quant::{QuantElement, QuantParams};
use gemmill::{Float, Tier};

/// A product of a model: K is its own, M and N are smaller.
pub struct Shape {
    pub model: &'static str,
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

const fn shape(model: &'static str, m: usize, n: usize, k: usize) -> Shape {
    Shape { model, m, n, k }
}

pub const SHAPES: [Shape; 7] = [
    shape("resnet50", 16, 64, 64),
    shape("dlrm", 16, 64, 479),
    shape("bert-base", 8, 48, 768),
    shape("dlrm", 8, 64, 1024),
    shape("bert-base", 8, 48, 3072),
    shape("llama3-8b", 4, 64, 4096),
    shape("llama3-8b", 4, 64, 14336),
];

impl Shape {
    /// The cells that name it in a table.
    pub fn cells(&self) -> String {
        let Shape { model, m, n, k } = self;
        format!("{model} | {m} × {n} × {k}")
    }
}

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
pub struct Sum {
    pub value: f64,
    pub magnitude: f64,
}

/// Operands of a product, as numbers: A by rows, B by columns.
pub struct Numbers<'a> {
    pub a: &'a [f64],
    pub b: &'a [f64],
}

impl Numbers<'_> {
    pub fn sums(&self, k: usize) -> Vec<Sum> {
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

/// Errors of some elements, each a share of its sum of magnitudes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Errors {
    pub largest: f64,
    total: f64,
    count: usize,
}

impl Errors {
    pub fn of(found: &[f64], sums: &[Sum]) -> Errors {
        assert_eq!(found.len(), sums.len());
        let mut errors = Errors::default();
        for (&found, sum) in found.iter().zip(sums) {
            errors.add((found - sum.value).abs() / sum.magnitude);
        }
        errors
    }

    pub fn add(&mut self, error: f64) {
        assert!(error.is_finite(), "an error of {error}");
        *self = self.and(Errors { largest: error, total: error, count: 1 });
    }

    pub fn and(self, other: Errors) -> Errors {
        let largest = self.largest.max(other.largest);
        Errors { largest, total: self.total + other.total, count: self.count + other.count }
    }

    pub fn mean(self) -> f64 {
        self.total / self.count as f64
    }

    pub fn cells(self) -> String {
        format!("{:.1e} | {:.1e}", self.largest, self.mean())
    }
}

/// The operands of a shape, and what comes of them in f64.
pub struct Operands {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// Row-major, both.
    pub a: Vec<f32>,
    pub b: Vec<f32>,
    /// Of these numbers, before they are stored.
    pub exact: Vec<Sum>,
}

impl Operands {
    pub fn new(index: usize) -> Operands {
        let Shape { m, n, k, .. } = SHAPES[index];
        let mut random = Random(index as u64 + 1);
        let a: Vec<f32> = (0..m * k).map(|_| random.normal()).collect();
        let scale = 1.0 / (k as f32).sqrt();
        let b: Vec<f32> = (0..k * n).map(|_| random.normal() * scale).collect();
        let (a64, b64): (Vec<f64>, _) = (a.iter().map(|x| f64::from(*x)).collect(), columns(&b, n, |_, x| x.into()));
        let exact = Numbers { a: &a64, b: &b64 }.sums(k);
        Operands { m, n, k, a, b, exact }
    }

    /// A as it is stored, and as numbers.
    pub fn stored_a<T: Float>(&self) -> (Vec<T>, Vec<f64>) {
        (self.a.iter().map(|x| T::from_f32(*x)).collect(), self.a.iter().map(|x| through::<T>(*x)).collect())
    }

    /// B as it is stored, as numbers by columns.
    pub fn stored_b<T: Float>(&self) -> Vec<f64> {
        columns(&self.b, self.n, |_, x| through::<T>(x))
    }
}

/// The elements of a row-major matrix of `n` columns by columns, as numbers; `to_f64` is told the column.
pub fn columns<T: Copy>(b: &[T], n: usize, to_f64: impl Fn(usize, T) -> f64) -> Vec<f64> {
    (0..n).flat_map(|j| b.iter().skip(j).step_by(n).map(move |x| (j, *x))).map(|(j, x)| to_f64(j, x)).collect()
}

fn through<T: Float>(x: f32) -> f64 {
    f64::from(T::from_f32(x).to_f32())
}

/// What an integer stands for.
pub fn number<T: QuantElement + Into<i32>>(params: QuantParams<T>, q: T) -> f64 {
    f64::from(params.scale()) * f64::from(q.into() - params.zero_point())
}

/// What `run` gives, as numbers; fails unless it is the same on every tier.
pub fn on_every_tier<C: Copy + PartialEq + Into<f64>>(
    tiers: &[Tier],
    op: &str,
    run: impl Fn(Tier) -> gemmill::Result<Vec<C>>,
) -> gemmill::Result<Vec<f64>> {
    let first = run(tiers[0])?;
    for &tier in &tiers[1..] {
        assert!(run(tier)? == first, "{op} gives something else on {tier} than on {}", tiers[0]);
    }
    Ok(first.into_iter().map(C::into).collect())
}
