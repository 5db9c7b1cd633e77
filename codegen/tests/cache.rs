//! The kernel cache under threads; names of kernels; what generation costs.

mod common;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Barrier};
use std::time::Instant;

use common::{epilogues, machine_tiers, section_sets, share_of, tiles};
use gemmill_codegen::*;

/// AVX2, where it is exercised.
fn tier() -> Tier {
    let tiers = machine_tiers("machine code in the cache (the portable tier stands in)");
    if tiers.contains(&Tier::Avx2) { Tier::Avx2 } else { Tier::Portable }
}

/// Twenty kernels that differ.
fn twenty() -> Vec<KernelDesc> {
    let sets = section_sets(Tier::Avx2);
    tiles(Tier::Avx2).into_iter().take(20).zip(sets.iter().cycle()).map(|(tile, &s)| tile.desc(tier(), s)).collect()
}

/// Runs `f(0..threads)` on as many threads, which start together.
fn together<R: Send>(threads: usize, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let barrier = Barrier::new(threads);
    let (barrier, f) = (&barrier, &f);
    std::thread::scope(|scope| {
        let start = |i| {
            scope.spawn(move || {
                barrier.wait();
                f(i)
            })
        };
        let handles: Vec<_> = (0..threads).map(start).collect();
        handles.into_iter().map(|h| h.join().unwrap()).collect()
    })
}

#[test]
fn threads_that_ask_for_different_kernels_each_get_theirs() {
    let cache = KernelCache::default();
    let descs = twenty();
    let kernels = together(20, |i| cache.get(&descs[i]).unwrap());
    for (kernel, desc) in kernels.iter().zip(&descs) {
        assert_eq!(kernel.desc(), desc);
        assert!(Arc::ptr_eq(kernel, &cache.get(desc).unwrap()));
    }
    let mut sorted = descs;
    sorted.sort();
    assert_eq!(cache.descriptions(), sorted);
}

#[test]
fn threads_that_ask_for_the_same_kernel_get_the_same_one() {
    for desc in twenty() {
        let cache = KernelCache::default();
        let kernels = together(20, |_| cache.get(&desc).unwrap());
        let kept = cache.get(&desc).unwrap();
        assert!(kernels.iter().all(|k| Arc::ptr_eq(k, &kept)), "{desc}");
        assert_eq!(cache.descriptions(), [desc]);
    }
}

#[test]
fn threads_that_ask_for_all_kernels_in_any_order_share_them() {
    let cache = KernelCache::default();
    let descs = twenty();
    let all = together(20, |i| {
        let mut mine: Vec<_> =
            (0..20).map(|j| ((i + j * 7) % 20, cache.get(&descs[(i + j * 7) % 20]).unwrap())).collect();
        mine.sort_by_key(|&(index, _)| index);
        mine
    });
    for mine in &all[1..] {
        assert!(mine.iter().zip(&all[0]).all(|((_, a), (_, b))| Arc::ptr_eq(a, b)));
    }
}

#[test]
fn failures_are_returned_and_not_kept() {
    let cache = KernelCache::default();
    let good = twenty()[0];
    let bad = KernelDesc { rows: 99, ..good };
    for _ in 0..2 {
        assert!(matches!(cache.get(&bad), Err(CodegenError::Unsupported(_))));
        assert!(cache.descriptions().is_empty());
        assert!(cache.find(&bad.to_string()).is_none());
    }
    let results = together(20, |i| cache.get(if i % 2 == 0 { &good } else { &bad }));
    assert!(results.iter().enumerate().all(|(i, r)| r.is_ok() == (i % 2 == 0)));
    assert_eq!(cache.descriptions(), [good]);
}

#[test]
fn kernels_are_found_by_name() {
    let cache = KernelCache::default();
    let descs = twenty();
    assert!(cache.find(&descs[0].to_string()).is_none());
    for desc in &descs {
        let kernel = cache.get(desc).unwrap();
        assert!(Arc::ptr_eq(&kernel, &cache.find(&desc.to_string()).unwrap()));
    }
    assert!(cache.find("i8gemm").is_none());
    assert!(cache.find("").is_none());
}

#[test]
fn the_global_cache_is_one() {
    let desc = twenty()[7];
    let kernels = together(20, |_| KernelCache::global().get(&desc).unwrap());
    assert!(kernels.iter().all(|k| Arc::ptr_eq(k, &kernels[0])));
}

#[test]
fn kernels_may_cross_threads() {
    fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<Kernel>();
    assert_send_sync::<KernelCache>();
    assert_send_sync::<CodegenError>();
}

/// `perf`, `find` and file names tell kernels apart by name alone.
#[test]
fn names_are_unique() {
    let mut names: HashMap<String, KernelDesc> = HashMap::new();
    let mut finishes: Vec<Finish> = epilogues().into_iter().map(Finish::Epilogue).collect();
    finishes.push(Finish::Scratch);
    let mut add = |desc: KernelDesc| {
        let name = desc.to_string();
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_+-".contains(c);
        assert!(name.chars().all(legal), "{name}: fit for a file and a line of a perf map");
        if let Some(other) = names.insert(name, desc) {
            panic!("{desc} names both {desc:?} and {other:?}");
        }
    };
    // Every tile and number of columns, with every set of sections of at most two.
    let mut sets: HashSet<Sections> = section_sets(Tier::Avx2).into_iter().collect();
    sets.extend(Section::ALL.into_iter().flat_map(|a| Section::ALL.map(|b| Sections::from_iter([a, b]))));
    for tile in tiles(Tier::Avx2) {
        for cols in 1..=tile.panel_cols() {
            for &sections in &sets {
                add(KernelDesc { cols, ..tile.desc(Tier::Avx2, sections) });
            }
        }
    }
    // Everything else, for a few tiles whose plain form is above.
    for tile in tiles(Tier::Avx2).into_iter().step_by(7) {
        for tier in Tier::ALL {
            for &sections in &section_sets(Tier::Avx2)[7..10] {
                for &finish in &finishes {
                    for (start, prefetch) in
                        [Start::Zero, Start::Scratch].into_iter().flat_map(|s| Prefetch::ALL.map(|p| (s, p)))
                    {
                        let desc = KernelDesc { start, finish, prefetch, ..tile.desc(tier, sections) };
                        add(KernelDesc { sweep: Sweep::Row, ..desc });
                        for (k, panels) in [(64, Panels::One), (64, Panels::Two), (65, Panels::One)] {
                            for ahead in Ahead::ALL {
                                add(KernelDesc { sweep: Sweep::Grid { k, panels, ahead }, ..desc });
                            }
                        }
                        let above = (tier, start, finish, prefetch)
                            == (Tier::Avx2, Start::Zero, Finish::Scratch, Prefetch::None);
                        if !above {
                            add(desc);
                        }
                    }
                }
            }
        }
    }
    eprintln!("{} names", names.len());
}

/// Kernels of the AVX2 tier have memory of their own; the time of their generation is printed.
#[test]
fn kernels_share_no_memory() {
    if !machine_tiers("kernels_share_no_memory").contains(&Tier::Avx2) {
        return;
    }
    let tile = tiles(Tier::Avx2).into_iter().find(|t| (t.rows, t.vectors) == (4, 2)).unwrap();
    let epilogue = epilogues()[4];
    let sections = [Section::Sum4, Section::Sum2, Section::Narrow].into_iter().collect();
    let desc = KernelDesc { finish: Finish::Epilogue(epilogue), ..tile.desc(Tier::Avx2, sections) };
    let mut times = Vec::new();
    let kernels: Vec<Kernel> = (0..share_of(200).max(20))
        .map(|_| {
            let start = Instant::now();
            let kernel = Kernel::generate(&desc).unwrap();
            times.push(start.elapsed());
            kernel
        })
        .collect();
    times.sort();
    eprintln!(
        "{desc}: {} bytes, generated in {:?} (median of {})",
        kernels[0].bytes().len(),
        times[times.len() / 2],
        times.len()
    );

    let mut ranges: Vec<_> = kernels.iter().map(|k| k.bytes().as_ptr_range()).collect();
    ranges.sort_by_key(|r| r.start);
    assert!(ranges.windows(2).all(|w| w[0].end <= w[1].start));
    assert!(ranges.iter().all(|r| r.start < r.end));
}
