//! Packed weights as bytes, read by the documented format rather than by the library's code; products of what was
//! loaded.

use gemmill::quant::QuantElement;
use gemmill::reference::{self, Rows, ZeroPoints};
use gemmill::{Gemm, IntOutput, MatMut, MatRef, PackedB, Weight};

use super::operand::Params;
use super::random::Rng;

/// Where numbers stand that all files have.
pub mod at {
    pub const VERSION: usize = 8;
    pub const LENGTH: usize = 12;
    pub const SIGNED: usize = 20;
    pub const ACTIVATION_MAX: usize = 21;
    pub const ZERO_POINTS_ARE: usize = 24;
    pub const SCALES_ARE: usize = 25;
    pub const HAS_SCHEDULE: usize = 26;
    pub const RESERVED: usize = 27;
    pub const K: usize = 28;
    pub const N: usize = 36;
    pub const GROUPS: usize = 44;
    pub const KC: usize = 52;
    pub const ZERO_POINTS: usize = 60;
}

/// CRC-64/XZ, bit by bit.
pub fn checksum(bytes: &[u8]) -> u64 {
    let step = |sum: u64, _: i32| if sum & 1 == 1 { sum >> 1 ^ 0xc96c_5795_d787_0f42 } else { sum >> 1 };
    !bytes.iter().fold(u64::MAX, |sum, &byte| (0..8).fold(sum ^ u64::from(byte), step))
}

/// Makes the length and the checksum (the last eight bytes) right.
pub fn seal(bytes: &mut [u8]) {
    let length = bytes.len() as u64;
    if let Some(place) = bytes.get_mut(at::LENGTH..at::LENGTH + 8) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    if let Some((content, place)) = bytes.split_last_chunk_mut::<8>() {
        *place = checksum(content).to_le_bytes();
    }
}

pub fn size_at(bytes: &[u8], place: usize) -> usize {
    u64::from_le_bytes(bytes[place..place + 8].try_into().unwrap()) as usize
}

pub fn set_size(bytes: &mut [u8], place: usize, size: u64) {
    bytes[place..place + 8].copy_from_slice(&size.to_le_bytes());
}

fn count(kind: u8, groups: usize, n: usize) -> usize {
    match kind {
        0 => 1,
        1 => groups,
        2 => n,
        255 => 0,
        _ => panic!("no kind of parameter: {kind}"),
    }
}

/// Where the schedule begins in a file that is right: behind the weights.
pub fn schedule_start(bytes: &[u8]) -> usize {
    let (k, n, groups) = (size_at(bytes, at::K), size_at(bytes, at::N), size_at(bytes, at::GROUPS));
    let kinds = [bytes[at::ZERO_POINTS_ARE], bytes[at::SCALES_ARE]];
    at::ZERO_POINTS + 4 * kinds.map(|kind| count(kind, groups, n)).iter().sum::<usize>() + 4 * n + k * n
}

/// The zero points of a file that was accepted.
pub fn zero_points(bytes: &[u8]) -> Params<i32> {
    let count = count(bytes[at::ZERO_POINTS_ARE], size_at(bytes, at::GROUPS), size_at(bytes, at::N));
    let values = bytes[at::ZERO_POINTS..][..4 * count].as_chunks::<4>().0.iter().map(|&x| i32::from_le_bytes(x));
    let values: Vec<i32> = values.collect();
    match bytes[at::ZERO_POINTS_ARE] {
        0 => Params::Tensor(values[0]),
        1 => Params::Group(values),
        _ => Params::Column(values),
    }
}

/// Compares a product of loaded weights with the reference on the weights that they give back.
pub fn check_products(rng: &mut Rng, loaded: &PackedB, zero_points: &Params<i32>) -> Result<(), String> {
    // Products of no columns have nothing to compare; nor is there memory for any K then.
    if loaded.n() == 0 {
        return Ok(());
    }
    if loaded.is_signed() { check::<i8>(rng, loaded, zero_points) } else { check::<u8>(rng, loaded, zero_points) }
}

fn check<B: Weight + QuantElement>(rng: &mut Rng, loaded: &PackedB, zero_points: &Params<i32>) -> Result<(), String> {
    let (m, n, k, groups) = (3, loaded.n(), loaded.k(), loaded.groups());
    let mut b = vec![B::default(); k * n];
    loaded.unpack(&mut MatMut::row_major(&mut b, k, n).unwrap()).unwrap();
    let max = usize::from(loaded.activation_max());
    let a: Vec<u8> =
        (0..m * k * groups).map(|_| if rng.one_in(2) { max as u8 } else { rng.below(max + 1) as u8 }).collect();
    let a = MatRef::row_major(&a, m, k * groups).unwrap();
    let both = ZeroPoints { a: Rows::All(7), b: zero_points.get() };
    let want = reference::raw(a, MatRef::row_major(&b, k, n).unwrap(), groups, both);
    let mut c = vec![0; m * n];
    let gemm = Gemm::builder(loaded, IntOutput::Store).a_zero_point(7).build().map_err(|e| e.to_string())?;
    gemm.run(a, &mut MatMut::row_major(&mut c, m, n).unwrap()).map_err(|e| e.to_string())?;
    match c.iter().zip(&want).position(|(got, want)| got != want) {
        Some(i) => Err(format!("element {i}: got {}, want {} ({})", c[i], want[i], loaded.sequences())),
        None => Ok(()),
    }
}
