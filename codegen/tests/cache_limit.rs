//! The cache keeps no more kernels than its limit, the latest used ones, and those that are held work on. In a process
//! of its own, whose memory is read.

#![cfg(target_os = "linux")]

mod common;

use std::collections::HashSet;
use std::sync::Arc;

use common::{epilogues, native_tiers, section_sets, tiles};
use gemmill_codegen::*;

/// 12 000 kernels that differ.
fn many(tier: Tier) -> Vec<KernelDesc> {
    let (sets, epilogues) = (section_sets(tier), epilogues());
    let mut descs = Vec::new();
    for tile in tiles(tier) {
        for &set in &sets {
            let desc = tile.desc(tier, set);
            descs.extend(epilogues.iter().map(|&e| KernelDesc { finish: Finish::Epilogue(e), ..desc }));
        }
    }
    descs.sort();
    descs.dedup();
    // Not only neighbours.
    let step = descs.len() / 12_000;
    descs.into_iter().step_by(step.max(1)).take(12_000).collect()
}

/// KiB of this process that are in memory, and its mappings.
fn memory() -> (usize, usize) {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("every process has some");
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux has it");
    (line.trim().trim_end_matches(" kB").parse().expect("a number"), maps.lines().count())
}

#[test]
fn memory_is_bounded_and_kernels_that_are_held_stay() {
    const LIMIT: usize = 400;
    for tier in native_tiers("the cache's limit").into_iter().take(1) {
        let descs = many(tier);
        assert_eq!(descs.len(), 12_000);
        let cache = KernelCache::default();
        cache.set_limit(LIMIT);
        let held: Vec<_> = descs[..50].iter().map(|desc| cache.get(desc).unwrap()).collect();
        let code: Vec<Vec<u8>> = held.iter().map(|kernel| kernel.bytes().to_vec()).collect();
        let start = memory();
        // Two threads that make the others give way, and one that asks for the same again and again.
        std::thread::scope(|scope| {
            let (first, second) = descs.split_at(descs.len() / 2);
            for part in [first, second] {
                let cache = &cache;
                scope.spawn(move || {
                    for desc in part {
                        assert_eq!(cache.get(desc).unwrap().desc(), desc);
                    }
                });
            }
            for _ in 0..2000 {
                assert_eq!(cache.get(&descs[77]).unwrap().desc(), &descs[77]);
            }
        });
        // The last one of the second thread may have been long before the last one of the first.
        let last = cache.get(&descs[descs.len() - 1]).unwrap();
        let end = memory();
        let kept: HashSet<KernelDesc> = cache.descriptions().into_iter().collect();
        assert!((LIMIT * 7 / 8 - 2..=LIMIT).contains(&kept.len()), "{} kernels are kept", kept.len());
        assert!(kept.contains(last.desc()), "the last one is kept");
        // A page or two for each kernel that is kept, and what the allocator holds.
        assert!(end.0 < start.0 + (16 << 10), "from {} to {} KiB", start.0, end.0);
        assert!(end.1 < start.1 + 2 * LIMIT, "from {} to {} mappings", start.1, end.1);
        for ((kernel, code), desc) in held.iter().zip(&code).zip(&descs) {
            assert_eq!(kernel.bytes(), code);
            let again = cache.get(desc).unwrap();
            assert!(kept.contains(desc) || !Arc::ptr_eq(kernel, &again));
            assert_eq!(again.bytes(), code, "generated again, it is the same");
        }
    }
}

#[test]
fn the_latest_used_are_kept() {
    let layout = GroupLayout { bits: 4, zero_points: GroupZeroPoints::Middle };
    let desc = |i: usize| {
        let layout = GroupLayout { bits: if i.is_multiple_of(2) { 4 } else { 2 }, ..layout };
        GroupKernelDesc { tier: Tier::Portable, layout, rows: 1 + (i / 2) as u8, prefetch: Prefetch::None }
    };
    let cache = KernelCache::default();
    cache.set_limit(4);
    let first: Vec<_> = (0..4).map(|i| cache.get(&desc(i)).unwrap()).collect();
    assert!(Arc::ptr_eq(&first[0], &cache.get(&desc(0)).unwrap()), "kept, and now the latest");
    cache.get(&desc(4)).unwrap();
    assert!(Arc::ptr_eq(&first[0], &cache.get(&desc(0)).unwrap()));
    assert!(cache.find(&desc(1).to_string()).is_none(), "asked for the longest ago");
    cache.set_limit(0);
    assert_eq!(cache.descriptions(), [desc(0)], "one is kept at least");
}
