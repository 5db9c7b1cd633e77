//! One operation on one shape: operands, packed weights, the call that is timed, and its comparison with the reference.
//!
//! Every kind of operation has a file of its own with a [`Case`]; [`new`] chooses among them.

mod float;
mod groupwise;
mod int;
mod int_expectation;

use std::fmt;

use anyhow::{Result, ensure};
use gemmill::{HardwareDot, Tier};

use crate::args::{Activations, Shape, WeightKind};
use crate::data::Random;
use crate::groups::Groups;
use crate::op::Op;

/// What a case is made of, besides its operation and shape.
#[derive(Debug, Clone)]
pub struct Setup {
    pub weights: WeightKind,
    pub integers: Integers,
    /// Of weights of 4 and 2 bits.
    pub groups: Groups,
    /// What floating-point products of bf16 use instead of a chain of f32.
    pub hardware_dot: Option<HardwareDot>,
    /// Packed weights of the same values that products take in turn: several, where they shall come from memory.
    pub copies: usize,
    pub tier: Tier,
    pub threads: usize,
    pub seed: u64,
}

/// What integer products have besides.
#[derive(Debug, Clone, Copy)]
pub struct Integers {
    /// How f32 activations become integers.
    pub activations: Activations,
    /// Largest activation of u8 operands; packing is told of it.
    pub activation_max: u8,
    /// Zero point of integer activations.
    pub a_zero_point: i32,
}

impl Default for Integers {
    fn default() -> Integers {
        Integers { activations: Activations::Dynamic, activation_max: u8::MAX, a_zero_point: 43 }
    }
}

/// Everything that a measurement needs, allocated. Operands and result have types that only the implementation knows.
pub trait Case {
    /// One product: what is timed.
    fn run(&mut self) -> gemmill::Result<()>;

    /// How the packed weights are multiplied: their sequences, or their type.
    fn sequence(&self) -> String;

    /// Bytes of one copy of the packed weights.
    fn packed_bytes(&self) -> usize;

    /// Seconds that packing took, of one copy.
    fn pack_seconds(&self) -> f64;

    /// Bytes of A, B and C as the caller holds them.
    fn bytes(&self) -> u64;

    /// Fills C with a value that a product hardly gives.
    fn poison(&mut self);

    /// Row `i` of C, each element's bits extended to 32 in a way that tells them apart.
    fn row_bits(&self, i: usize) -> Vec<u32>;

    /// What [`Case::row_bits`] has to be, by the library's normative reference.
    fn expected_bits(&self, i: usize) -> Result<Vec<u32>>;
}

/// Makes operands, packs the weights and builds the operation.
pub fn new(op: Op, shape: &Shape, setup: &Setup) -> Result<Box<dyn Case>> {
    check_weights(op, setup.weights)?;
    check_memory(shape, setup.copies)?;
    Ok(match op {
        Op::Int(op) => Box::new(int::IntCase::new(op, shape, setup)?),
        Op::Float(op) => float::new(op, shape, setup)?,
        Op::Group(op) => groupwise::new(op, shape, setup)?,
    })
}

/// Refuses shapes that there is no memory for: real numbers, what is made of them, and packed weights.
fn check_memory(shape: &Shape, copies: usize) -> Result<()> {
    let Shape { m, n, k, .. } = *shape;
    let of = |rows: usize, cols: usize, each: usize| rows.saturating_mul(cols).saturating_mul(each);
    let of_weights = copies.saturating_add(1).saturating_mul(4);
    let bytes = of(m, k, 5).saturating_add(of(k, n, of_weights)).saturating_add(of(m, n, 4));
    let mut room = Vec::<u8>::new();
    let is_there = room.try_reserve_exact(bytes).is_ok();
    // An allocation that is not used may be optimised away, and with it its failure.
    std::hint::black_box(&room);
    ensure!(is_there, "{shape}: no memory for {bytes} bytes of operands");
    Ok(())
}

/// Refuses weights of another kind of operation.
pub fn check_weights(op: Op, weights: WeightKind) -> Result<()> {
    let known = WeightKind::of(op);
    ensure!(known.contains(&weights), "--weights {weights} is not for {op}: expected one of {}", names(known));
    Ok(())
}

fn names(kinds: &[WeightKind]) -> String {
    kinds.iter().map(WeightKind::to_string).collect::<Vec<_>>().join(", ")
}

/// What a comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All elements of so many rows have the bits of the reference.
    Equal { rows: usize },
    /// The first element that differs, as bits.
    Wrong { row: usize, col: usize, expected: u32, given: u32 },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Equal { rows } => write!(f, "{rows} rows equal the reference"),
            Verdict::Wrong { row, col, expected, given } => {
                write!(f, "C[{row}][{col}] has the bits {given:#010x}, the reference {expected:#010x}")
            }
        }
    }
}

/// Runs once more and compares rows of C with the reference, bit for bit.
///
/// All rows where the product has at most `budget` multiply-accumulates, otherwise a random sample of about that cost,
/// with the first and the last row.
pub fn verify(case: &mut dyn Case, shape: &Shape, seed: u64, budget: f64) -> Result<Verdict> {
    case.poison();
    case.run()?;
    let Shape { m, n, k, .. } = *shape;
    let affordable = (budget / (n as f64 * k as f64)) as usize;
    let rows: Vec<usize> = if affordable >= m {
        (0..m).collect()
    } else {
        let mut random = Random::new(seed ^ 0x5eed);
        let mut rows: Vec<usize> =
            (0..affordable.max(2)).map(|_| (random.bits() % m as u64) as usize).chain([0, m - 1]).collect();
        rows.sort_unstable();
        rows.dedup();
        rows
    };
    for &i in &rows {
        let expected = case.expected_bits(i)?;
        let given = case.row_bits(i);
        if let Some(j) = (0..n).find(|&j| given[j] != expected[j]) {
            return Ok(Verdict::Wrong { row: i, col: j, expected: expected[j], given: given[j] });
        }
    }
    Ok(Verdict::Equal { rows: rows.len() })
}

/// Goes around a list: which of `len` comes after `at`.
fn next_of(at: usize, len: usize) -> usize {
    if at + 1 < len { at + 1 } else { 0 }
}

/// Column after column of row-major elements.
fn transposed<T: Copy>(data: &[T], cols: usize) -> Vec<T> {
    (0..cols).flat_map(|j| data.iter().skip(j).step_by(cols).copied()).collect()
}
