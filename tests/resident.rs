//! Packed weights take as much memory as they say. In a process of its own: others' memory would count.

#![cfg(target_os = "linux")]

mod common;

use common::announce;
use gemmill::half::bf16;
use gemmill::{MatRef, PackedB, PackedFloat};

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("every process has some");
    let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}

/// What 48 packed matrices take in memory, for each byte that they say they take.
fn overhead<W>(what: &str, pack: impl Fn() -> W, size: impl Fn(&W) -> usize) -> f64 {
    // What packing itself leaves behind is there before.
    drop(pack());
    let before = resident();
    let packed: Vec<W> = (0..48).map(|_| pack()).collect();
    let taken = resident() - before;
    let said: usize = packed.iter().map(size).sum();
    announce(format_args!("{what}: {} MiB packed, {} MiB resident", said >> 20, taken >> 20));
    taken as f64 / said as f64
}

/// Sizes a little above one large page, and some megabytes.
#[test]
fn packed_weights_take_what_they_say() {
    let enabled = "/sys/kernel/mm/transparent_hugepage/enabled";
    match std::fs::read_to_string(enabled) {
        Ok(text) if !text.contains("[never]") => {}
        other => announce(format_args!("SKIPPED large pages: {enabled}: {other:?}")),
    }
    let bytes = vec![1i8; 3072 * 1400];
    let halves = vec![bf16::ONE; 1024 * 1400];
    for (k, n) in [(768, 3072), (3072, 1400), (700, 3072)] {
        let pack = || PackedB::new(MatRef::row_major(&bytes[..k * n], k, n).unwrap()).unwrap();
        let ratio = overhead(&format!("int8 {k} x {n}"), pack, PackedB::size_in_bytes);
        assert!(ratio < 1.05, "int8 {k} x {n}: {ratio}");
    }
    for (k, n) in [(1024, 1100), (1024, 1400)] {
        let pack = || PackedFloat::new(MatRef::row_major(&halves[..k * n], k, n).unwrap()).unwrap();
        let ratio = overhead(&format!("bf16 {k} x {n}"), pack, PackedFloat::size_in_bytes);
        assert!(ratio < 1.05, "bf16 {k} x {n}: {ratio}");
    }
}
