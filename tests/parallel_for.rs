//! Threads of the caller's own: whatever they do with tasks, products have the same bits, or are refused.
mod common;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::random::Rng;
use common::{Sample, assert_same_bits, seed, tiers};
use gemmill::half::bf16;
use gemmill::quant::{Bits, GroupSize, GroupwiseFormat, GroupwiseWeights, ZeroPoints};
use gemmill::{
    ActivationQuantization, Dequantize, Error, FloatGemm, FloatType, Gemm, GroupwiseGemm, IntOutput, MatMut, MatRef,
    PackedB, PackedFloat, PackedGroupwise, ParallelFor, Result, RunOptions, Threads, Tier,
};

/// How tasks are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// By the calling thread, the last one first.
    Reverse,
    /// By a thread each.
    Threads,
    /// By threads that each take the next one.
    Shared,
    /// Each by two threads at the same time, and by the calling one once more.
    Repeated,
    /// With others that there are not.
    OutOfRange,
    /// None of them.
    NotAtAll,
    /// All but the last one.
    AllButOne,
}

impl Order {
    const ALL: [Order; 7] = [
        Order::Reverse,
        Order::Threads,
        Order::Shared,
        Order::Repeated,
        Order::OutOfRange,
        Order::NotAtAll,
        Order::AllButOne,
    ];

    /// How many of so many tasks are done.
    fn done(self, tasks: usize) -> usize {
        match self {
            Order::NotAtAll => 0,
            Order::AllButOne => tasks - 1,
            _ => tasks,
        }
    }
}

struct Own {
    threads: usize,
    order: Order,
    /// The tasks of each run.
    runs: Mutex<Vec<usize>>,
}

impl Own {
    fn new(threads: usize, order: Order) -> Own {
        Own { threads, order, runs: Mutex::default() }
    }
}

impl ParallelFor for Own {
    fn threads(&self) -> usize {
        self.threads
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        self.runs.lock().unwrap().push(tasks);
        match self.order {
            Order::Reverse => (0..tasks).rev().for_each(task),
            Order::Threads => {
                std::thread::scope(|scope| (0..tasks).for_each(|i| drop(scope.spawn(move || task(i)))));
            }
            Order::Shared => {
                let next = AtomicUsize::new(0);
                let take = || {
                    while let i = next.fetch_add(1, Ordering::Relaxed)
                        && i < tasks
                    {
                        task(i);
                    }
                };
                std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(take))));
            }
            Order::Repeated => {
                let all = || (0..tasks).for_each(task);
                std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(all))));
                all();
            }
            Order::OutOfRange => (0..2 * tasks).chain([usize::MAX, tasks + 64]).for_each(task),
            Order::NotAtAll => {}
            Order::AllButOne => (0..tasks - 1).for_each(task),
        }
    }
}

/// A product, and the bits of C.
type Run<'r> = dyn FnMut(Threads, Option<&dyn ParallelFor>) -> (Result<()>, Vec<i32>) + 'r;

/// Runs with one thread, and with each kind of the caller's own: bits that are not those of one thread fail, and so
/// does a run that should have been refused.
fn check(kind: &str, tier: Tier, run: &mut Run<'_>) {
    let (ok, want) = run(Threads::Max(1), None);
    ok.unwrap();
    for threads in [2, 3, 7] {
        for order in Order::ALL {
            let own = Own::new(threads, order);
            let (given, bits) = run(Threads::Exactly(threads), Some(&own));
            let runs = own.runs.into_inner().unwrap();
            let case = || format!("{kind}, tier {tier}, {threads} threads, {order:?}, tasks {runs:?}");
            // Rows of A may be fitted and packed in runs of their own, before the product. The first that is not done
            // ends it.
            assert!((1..=3).contains(&runs.len()), "{}", case());
            assert!(runs.iter().all(|tasks| (2..=threads).contains(tasks)), "{}", case());
            let tasks = runs[0];
            let done = order.done(tasks);
            if done == tasks {
                given.unwrap_or_else(|e| panic!("{e}: {}", case()));
                assert_same_bits(&bits, &want, case);
            } else {
                assert_eq!(given, Err(Error::NotRun { tasks, done }), "{}", case());
            }
        }
    }
    // Nobody is asked for a single task.
    let own = Own::new(4, Order::NotAtAll);
    let (given, bits) = run(Threads::Max(1), Some(&own));
    given.unwrap();
    assert_eq!(bits, want);
    assert!(own.runs.into_inner().unwrap().is_empty());
}

fn bits_of(c: &[f32]) -> Vec<i32> {
    c.iter().map(|x| x.to_bits().cast_signed()).collect()
}

/// More columns than rows, and the other way round; rows that several threads pack.
const SHAPES: [(usize, usize, usize); 4] = [(1, 1100, 130), (5, 700, 95), (150, 40, 200), (200, 300, 500)];

#[test]
fn integers() {
    let rng = &mut Rng::new(seed());
    let mut sample = Sample::new("shapes of integer products");
    for (m, n, k) in SHAPES.into_iter().filter(|_| sample.keeps()) {
        let b: Vec<i8> = (0..k * n).map(|_| rng.bits() as i8).collect();
        let a: Vec<u8> = (0..m * k).map(|_| rng.bits() as u8).collect();
        let reals: Vec<f32> = (0..m * k).map(|_| rng.gaussian()).collect();
        for tier in tiers() {
            let weights = PackedB::builder(MatRef::row_major(&b, k, n).unwrap()).tier(tier).build().unwrap();
            check("i32", tier, &mut |threads, own| {
                let gemm = Gemm::<u8, i32>::builder(&weights, IntOutput::Store).threads(threads).build().unwrap();
                let mut c = vec![i32::MIN; m * n];
                let options = own.map_or(RunOptions::new(), |own| RunOptions::new().parallel_for(own));
                let (a, mut view) = (MatRef::row_major(&a, m, k).unwrap(), MatMut::row_major(&mut c, m, n).unwrap());
                let given = gemm.run_with(a, &mut view, &options);
                (given, c)
            });
            check("f32 by row", tier, &mut |threads, own| {
                let how = ActivationQuantization::DynamicPerRow;
                let gemm = Gemm::builder(&weights, Dequantize::new(0.01)).a_quantization(how).threads(threads);
                let (gemm, mut c) = (gemm.build().unwrap(), vec![f32::NAN; m * n]);
                let options = own.map_or(RunOptions::new(), |own| RunOptions::new().parallel_for(own));
                let a = MatRef::row_major(&reals, m, k).unwrap();
                let given = gemm.run_with(a, &mut MatMut::row_major(&mut c, m, n).unwrap(), &options);
                (given, bits_of(&c))
            });
        }
    }
}

#[test]
fn floats_and_few_bits() {
    let rng = &mut Rng::new(seed());
    let mut sample = Sample::new("shapes of floating-point products");
    let format = GroupwiseFormat { bits: Bits::Four, group_size: GroupSize::G32, zero_points: ZeroPoints::Each };
    for (m, n, k) in SHAPES.into_iter().filter(|_| sample.keeps()) {
        let b: Vec<f32> = (0..k * n).map(|_| rng.gaussian()).collect();
        let b = MatRef::row_major(&b, k, n).unwrap();
        let a: Vec<bf16> = (0..m * k).map(|_| bf16::from_f32(rng.gaussian())).collect();
        let a = MatRef::row_major(&a, m, k).unwrap();
        let halves = PackedFloat::builder(b).store(FloatType::Bf16).build().unwrap();
        let nibbles = PackedGroupwise::new(&GroupwiseWeights::round_to_nearest(b, format).unwrap()).unwrap();
        for tier in tiers() {
            for (kind, builder) in
                [("bf16", FloatGemm::builder(&halves)), ("f32 of few bits", FloatGemm::groupwise(&nibbles))]
            {
                check(kind, tier, &mut |threads, own| {
                    let gemm = builder.clone().tier(tier).threads(threads).build().unwrap();
                    let options = own.map_or(RunOptions::new(), |own| RunOptions::new().parallel_for(own));
                    let mut c = vec![f32::NAN; m * n];
                    let given = gemm.run_with(a, &mut MatMut::row_major(&mut c, m, n).unwrap(), &options);
                    (given, bits_of(&c))
                });
            }
            check("i8 by few bits", tier, &mut |threads, own| {
                let gemm = GroupwiseGemm::builder(&nibbles).tier(tier).threads(threads).build().unwrap();
                let options = own.map_or(RunOptions::new(), |own| RunOptions::new().parallel_for(own));
                let mut c = vec![f32::NAN; m * n];
                let given = gemm.run_with(a, &mut MatMut::row_major(&mut c, m, n).unwrap(), &options);
                (given, bits_of(&c))
            });
        }
    }
}

/// The operation's setting says how many tasks there are at most, and a thread that nobody has counts as one.
#[test]
fn the_operation_s_threads_are_respected() {
    let weights = PackedB::new(MatRef::row_major(&vec![3i8; 1024 * 4096], 1024, 4096).unwrap()).unwrap();
    let a = vec![1u8; 1024];
    for (setting, threads, expected) in [
        (Threads::Auto, 4, Some(4)),
        (Threads::Auto, 1000, Some(4)),
        (Threads::Auto, 0, None),
        (Threads::Auto, 1, None),
        (Threads::Max(3), 4, Some(3)),
        (Threads::Max(3), 2, Some(2)),
        (Threads::Exactly(6), 100, Some(6)),
        (Threads::Exactly(6), 2, Some(2)),
        (Threads::Max(1), 8, None),
    ] {
        let gemm = Gemm::<u8, i32>::builder(&weights, IntOutput::Store).threads(setting).build().unwrap();
        let own = Own::new(threads, Order::Reverse);
        let mut c = vec![0; 4096];
        let options = RunOptions::new().parallel_for(&own);
        let c_view = &mut MatMut::row_major(&mut c, 1, 4096).unwrap();
        gemm.run_with(MatRef::row_major(&a, 1, 1024).unwrap(), c_view, &options).unwrap();
        assert_eq!(own.runs.into_inner().unwrap(), Vec::from_iter(expected), "{setting:?}, {threads} threads");
        assert_eq!(c, [3072; 4096]);
    }
}
