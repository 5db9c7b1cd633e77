//! Bytes that may or may not be packed weights: loading gives an error, or weights whose products are those of the
//! reference on the weights that they give back. Files of floating-point and groupwise weights give an error, or the
//! same bytes again.
//!
//! Inputs are files as they are. Mutations mend what would keep them from being read any further, but not always:
//! magic, version, column sums, length and checksum.
#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;

use common::file::{at, check_products, seal, set_size, size_at, zero_points};
use common::random::Rng;
use gemmill::quant::GroupwiseWeights;
use gemmill::{PackedB, PackedFloat, Tier};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|bytes: &[u8]| {
    let rng = &mut Rng::new(bytes.len() as u64);
    for tier in runnable() {
        let Ok(loaded) = PackedB::loader(bytes).tier(tier).load() else { continue };
        check_products(rng, &loaded, &zero_points(bytes)).unwrap_or_else(|e| panic!("tier {tier}: {e}"));
        let again = PackedB::loader(&loaded.to_bytes()).tier(tier).load().expect("what was written can be read");
        assert!(again == loaded, "tier {tier}: other weights after writing and reading");
    }
    if let Ok(floats) = PackedFloat::from_bytes(bytes) {
        assert!(floats.to_bytes() == bytes, "other floating-point weights after reading and writing");
    }
    if let Ok(groupwise) = GroupwiseWeights::from_bytes(bytes) {
        assert!(groupwise.to_bytes() == bytes, "other groupwise weights after reading and writing");
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    let rng = &mut Rng::new(seed.into());
    mend(rng, &mut data[..size]);
    size
});

fn runnable() -> impl Iterator<Item = Tier> {
    Tier::ALL.into_iter().filter(|tier| tier.missing_feature().is_none())
}

/// Makes a file readable again, most of the time.
fn mend(rng: &mut Rng, bytes: &mut [u8]) {
    if bytes.len() < at::ZERO_POINTS + 8 || rng.one_in(20) {
        return;
    }
    if !rng.one_in(20) {
        let magic = rng.pick(&[
            b"\x89gemmill\x01\0\0\0",
            b"\x89gemmill\x01\0\0\0",
            b"\x89gemmflt\x01\0\0\0",
            b"\x89gemmgrp\x01\0\0\0",
        ]);
        bytes[..at::LENGTH].copy_from_slice(magic);
    }
    if rng.one_in(8) {
        let place = rng.pick(&[at::K, at::N, at::GROUPS, at::KC]);
        set_size(bytes, place, rng.below(40) as u64);
    }
    if !rng.one_in(10) {
        mend_sums(bytes);
    }
    if !rng.one_in(20) {
        seal(bytes);
    }
}

/// Makes column sums right, if the file has room for what its header says.
fn mend_sums(bytes: &mut [u8]) -> Option<()> {
    let [k, n, groups] = [at::K, at::N, at::GROUPS].map(|place| size_at(bytes, place));
    let count = |kind: u8| match kind {
        0 => Some(1),
        1 => Some(groups),
        2 => Some(n),
        255 => Some(0),
        _ => None,
    };
    let numbers = count(bytes[at::ZERO_POINTS_ARE])?.checked_add(count(bytes[at::SCALES_ARE])?)?;
    let sums = numbers.checked_mul(4)?.checked_add(at::ZERO_POINTS)?;
    let weights = n.checked_mul(4)?.checked_add(sums)?;
    if k.checked_mul(n)?.checked_add(weights)? > bytes.len() {
        return None;
    }
    for column in 0..n {
        let sum = (0..k).fold(0i32, |sum, row| {
            let byte = bytes[weights + row * n + column];
            sum.wrapping_add(if bytes[at::SIGNED] == 1 { (byte as i8).into() } else { byte.into() })
        });
        bytes[sums + 4 * column..][..4].copy_from_slice(&sum.to_le_bytes());
    }
    Some(())
}
