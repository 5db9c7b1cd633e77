//! Numbers that find mistakes: the extremes of each type of lane, and floats of every kind.

use gemmill_machine::Vector;

use crate::common::Rng;

const BYTES: [u8; 8] = [0, 1, 0x7f, 0x80, 0x81, 0xfe, 0xff, 2];
const WORDS: [u16; 14] =
    [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0x007f, 0x0080, 0xff80, 0xff7f, 0x7c00, 0xfc01, 0x03ff, 0x8400];
const DWORDS: [u32; 14] = [
    0,
    1,
    0x7fff_ffff,
    0x8000_0000,
    0x8000_0001,
    0xffff_ffff,
    0x7fff,
    0x8000,
    0xffff_8000,
    0xffff_7fff,
    0x7f,
    0x80,
    0xffff_ff7f,
    0xff,
];
const QWORDS: [u64; 8] = [0, 1, 2, u64::MAX, 1 << 63, (1 << 63) - 1, 1 << 31, 0xffff_ffff];

fn float(rng: &mut Rng) -> u32 {
    let special = [
        0,
        0x8000_0000,
        // Infinities, quiet and signalling NaNs.
        0x7f80_0000,
        0xff80_0000,
        0x7fc0_0000,
        0xffc0_1234,
        0x7f80_0001,
        0xffbf_ffff,
        // Denormals, the smallest and the largest normal numbers.
        1,
        0x807f_ffff,
        0x0080_0000,
        0x8080_0001,
        0x7f7f_ffff,
        0xff7f_ffff,
    ];
    match rng.below(9) {
        0 => rng.pick(&special),
        // NaNs with payloads.
        1 => 0x7f80_0000 | rng.next() as u32 & 0x807f_ffff,
        2 => rng.next() as u32,
        // Half-way cases and their neighbours.
        3 => (rng.within(-20, 20) as f32 * 0.5).to_bits().wrapping_add(rng.within(-1, 1) as u32),
        // Around what f16 holds, its half-way cases and their neighbours.
        6 => {
            let (sign, fraction) = (rng.next() as u32 & 0x8000_0000, rng.next() as u32 & 0x3ff);
            let beyond_f16 = rng.pick(&[0, 1, 0xfff, 0x1000, 0x1001, 0x1fff]);
            sign | (rng.within(100, 145) as u32) << 23 | fraction << 13 | beyond_f16
        }
        // Around the limits of i32.
        4 => (2147483648.0f32 * rng.pick(&[1.0, -1.0])).to_bits().wrapping_add(rng.within(-2, 2) as u32),
        // Products and sums that cancel or underflow.
        5 => (rng.next() as u32 & 0x807f_ffff) | (rng.within(58, 70) as u32) << 23,
        _ => ((rng.unit() - 0.5) * 2f32.powi(rng.within(-8, 24))).to_bits(),
    }
}

/// 64 bytes, all of one kind.
pub fn vector(rng: &mut Rng) -> Vector {
    let mut vector = Vector::ZERO;
    match rng.below(9) {
        0 => vector.lanes_mut::<u8>().fill_with(|| rng.pick(&BYTES)),
        1 => vector.lanes_mut::<u16>().fill_with(|| rng.pick(&WORDS)),
        2 => vector.lanes_mut::<u32>().fill_with(|| rng.pick(&DWORDS)),
        3 => vector.lanes_mut::<u64>().fill_with(|| rng.pick(&QWORDS)),
        4 => vector.lanes_mut::<u32>().fill_with(|| rng.within(-70000, 70000) as u32),
        5 => vector.lanes_mut::<u64>().fill_with(|| rng.next()),
        _ => vector.lanes_mut::<u32>().fill_with(|| float(rng)),
    }
    vector
}

/// Bits of a mask.
pub fn mask(rng: &mut Rng) -> u64 {
    match rng.below(6) {
        0 => 0,
        1 => u64::MAX,
        2 => rng.next() & rng.next() & rng.next(),
        3 => (1 << rng.below(64)) - 1,
        _ => rng.next(),
    }
}

/// A general-purpose register.
pub fn general(rng: &mut Rng) -> u64 {
    match rng.below(4) {
        0 => rng.pick(&QWORDS),
        1 => rng.pick(&DWORDS).into(),
        2 => rng.below(70) as u64,
        _ => rng.next(),
    }
}
