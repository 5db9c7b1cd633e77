//! Threads: any number of them gives the same bits, and handles serve many at once.
mod common;

use common::operand::{Order, Poisoned, Stored, Weights};
use common::random::{Rng, Values};
use common::{Sample, assert_same_bits, seed, share_of, tiers};
use gemmill::reference::{Bias, Rows, requantize};
use gemmill::{
    ActivationQuantization, Dequantize, Error, Gemm, IntOutput, MatMut, MatRef, PackedB, QuantParams, Requantize,
    Threads,
};
use rayon::prelude::*;

const fn shared<T: Send + Sync>() {}

const _: () = {
    shared::<PackedB>();
    shared::<Gemm<u8, i32>>();
    shared::<Gemm<i8, u8>>();
    shared::<Gemm<f32, f32>>();
    shared::<MatRef<'static, u8>>();
    shared::<MatMut<'static, f32>>();
    shared::<QuantParams<u8>>();
    shared::<Error>();
};

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let rng = &mut Rng::new(seed());
    let mut sample = Sample::new("products of several threads");
    for (m, n, k, groups, kc) in [
        (200, 70, 300, 1, None),
        (9, 400, 1200, 1, None),
        (64, 260, 260, 1, Some(64)),
        (3, 2000, 700, 1, Some(100)),
        (5000, 2, 420, 1, None),
        (40, 6 * 20, 900, 6, None),
    ]
    .into_iter()
    .filter(|_| sample.keeps())
    {
        let mut weights = Weights::<i8>::plain(rng, k, n, Values::Uniform);
        (weights.groups, weights.kc) = (groups, kc);
        let a = Stored::<u8>::integers(rng, (m, k * groups), Order::RowMajor, Values::Uniform, 255);
        let want = weights.raw(a.view(), Rows::All(17));
        let bytes: Vec<u8> = want.iter().map(|&raw| requantize(raw, Bias::None, 0.001, 128, (0, 255))).collect();
        for tier in tiers() {
            let packed = weights.pack(tier);
            for pool_threads in 1..=4 {
                let pool = pool(pool_threads);
                let numbers = [Threads::Auto, Threads::Max(1), Threads::Max(2), Threads::Max(3), Threads::Max(4)];
                // Other numbers from one pool to the next where a share of the cases is done.
                let numbers = numbers.into_iter().cycle().skip(pool_threads).take(share_of(5) as usize);
                for threads in numbers {
                    let case = || format!("tier {tier}, {threads:?} of {pool_threads}, {}", weights.describe());
                    let gemm = Gemm::builder(&packed, IntOutput::Store).a_zero_point(17).threads(threads);
                    let gemm = gemm.build().unwrap();
                    let mut c = Poisoned::new((m, n), 3);
                    pool.install(|| gemm.run(a.view(), &mut c.view())).unwrap();
                    c.assert_holds(&want, case);
                    let stage = Requantize::<u8>::new(0.001).zero_point(128);
                    let gemm = Gemm::builder(&packed, stage).a_zero_point(17).threads(threads).build().unwrap();
                    let mut c = Poisoned::new((m, n), 0);
                    pool.install(|| gemm.run(a.view(), &mut c.view())).unwrap();
                    c.assert_holds(&bytes, case);
                }
            }
        }
    }
}

#[test]
fn no_more_threads_than_allowed() {
    let packed = PackedB::new(MatRef::row_major(&vec![3i8; 1024 * 512], 1024, 512).unwrap()).unwrap();
    for pool_threads in 1..=4 {
        let pool = pool(pool_threads);
        for threads in 1..=6 {
            let gemm =
                Gemm::<u8, i32>::builder(&packed, IntOutput::Store).threads(Threads::Max(threads)).build().unwrap();
            for rows in [1, 5, 64, 500] {
                let plan = pool.install(|| gemm.describe(rows)).unwrap();
                let parts = plan.row_parts * plan.panel_parts;
                assert!(parts <= threads.min(pool_threads), "{parts} parts for {threads} of {pool_threads}");
            }
            let plan = pool.install(|| gemm.describe(500)).unwrap();
            let parts = plan.row_parts * plan.panel_parts;
            assert_eq!(parts, threads.min(pool_threads), "a large product uses what it may");
        }
    }
    let gemm = Gemm::<u8, i32>::builder(&packed, IntOutput::Store).threads(Threads::Auto).build().unwrap();
    let plan = pool(3).install(|| gemm.describe(500)).unwrap();
    assert_eq!(plan.row_parts * plan.panel_parts, 3);
}

/// A product with one thread stays on the caller's: it neither waits for the pool nor needs one.
#[test]
fn one_thread_is_the_callers() {
    let pool = pool(1);
    let packed = PackedB::new(MatRef::row_major(&vec![3i8; 512 * 128], 512, 128).unwrap()).unwrap();
    let gemm = Gemm::<u8, i32>::builder(&packed, IntOutput::Store).threads(Threads::Max(1)).build().unwrap();
    let a = vec![1u8; 64 * 512];
    let (done, wait) = std::sync::mpsc::channel::<()>();
    pool.spawn(move || wait.recv().unwrap());
    let mut c = vec![0i32; 64 * 128];
    gemm.run(MatRef::row_major(&a, 64, 512).unwrap(), &mut MatMut::row_major(&mut c, 64, 128).unwrap()).unwrap();
    done.send(()).unwrap();
    assert_eq!(c, vec![1536; 64 * 128]);
}

/// One handle, many threads, each with another number of rows, while kernels are still being generated.
#[test]
fn one_handle_serves_many_threads() {
    let rng = &mut Rng::new(seed());
    let weights = Weights::<i8>::plain(rng, 150, 37, Values::Gaussian(30.0));
    let a = Stored::<u8>::integers(rng, (64, 150), Order::RowMajor, Values::Uniform, 255);
    let want = weights.raw(a.view(), Rows::All(5));
    let reals: Vec<f32> = a.data.iter().map(|&x| f32::from(x)).collect();
    for tier in tiers() {
        let packed = weights.pack(tier);
        let sums = Gemm::<u8, i32>::builder(&packed, IntOutput::Store).a_zero_point(5).build().unwrap();
        let dequantized = Gemm::<f32, f32>::builder(&packed, Dequantize::new(1.0))
            .a_quantization(ActivationQuantization::Static(QuantParams::new(1.0, 5).unwrap()))
            .build()
            .unwrap();
        // 5 is added by quantization, and taken out with the zero point; 250 and more are clamped.
        let clamped: Vec<u8> = a.data.iter().map(|&x| x.saturating_add(5)).collect();
        let clamped = weights.raw(MatRef::row_major(&clamped, 64, 150).unwrap(), Rows::All(5));
        std::thread::scope(|scope| {
            for thread in 0..16 {
                let (sums, dequantized, a, reals, want, clamped) = (&sums, &dequantized, &a, &reals, &want, &clamped);
                scope.spawn(move || {
                    for round in 0..share_of(40) as usize {
                        let m = 1 + (thread * 7 + round * 3) % 64;
                        let view = MatRef::row_major(&a.data, m, 150).unwrap();
                        let mut c = Poisoned::new((m, 37), 1);
                        sums.run(view, &mut c.view()).unwrap();
                        c.assert_holds(&want[..m * 37], || format!("tier {tier}, thread {thread}, {m} rows"));
                        let view = MatRef::row_major(reals, m, 150).unwrap();
                        let mut c = Poisoned::new((m, 37), 1);
                        dequantized.run(view, &mut c.view()).unwrap();
                        let want: Vec<f32> = clamped[..m * 37].iter().map(|&raw| raw as f32).collect();
                        c.assert_holds(&want, || format!("tier {tier}, thread {thread}, {m} rows of f32"));
                    }
                });
            }
        });
    }
}

/// Products inside tasks of the pool that they themselves are split over.
#[test]
fn products_inside_the_callers_tasks() {
    let rng = &mut Rng::new(seed());
    let (m, n, k) = (90, 80, 500);
    let weights = Weights::<i8>::plain(rng, k, n, Values::Uniform);
    let a = Stored::<i8>::integers(rng, (m, k), Order::RowMajor, Values::Uniform, 255);
    let want = weights.raw(a.view(), Rows::All(0));
    for tier in tiers() {
        let packed = weights.pack(tier);
        let gemm = Gemm::<i8, i32>::builder(&packed, IntOutput::Store).threads(Threads::Auto).build().unwrap();
        pool(4).install(|| {
            (0..share_of(24) as usize).into_par_iter().for_each(|task| {
                let mut c = Poisoned::new((m, n), task % 3);
                gemm.run(a.view(), &mut c.view()).unwrap();
                c.assert_holds(&want, || format!("tier {tier}, task {task}"));
            });
        });
    }
}

#[test]
fn handles_pack_on_many_threads() {
    let rng = &mut Rng::new(seed());
    let weights = Weights::<u8>::plain(rng, 100, 40, Values::Uniform);
    for tier in tiers() {
        let first = weights.pack(tier);
        let all: Vec<PackedB> = (0..8).into_par_iter().map(|_| weights.pack(tier)).collect();
        assert!(all.iter().all(|p| *p == first));
    }
}

/// Products whose weights don't fit the cache go through them forwards and backwards in turns: the first ones of an
/// operation and those after them have the same bits, with any number of rows in between.
#[test]
fn products_in_turns_have_the_same_bits() {
    let (n, k) = (2601, 1203);
    let mut rng = Rng::new(seed());
    let b: Vec<i8> = (0..k * n).map(|_| rng.bits() as i8).collect();
    let a: Vec<u8> = (0..3 * k).map(|_| rng.bits() as u8).collect();
    let mut want = vec![0i32; 3 * n];
    for (a, want) in a.chunks_exact(k).zip(want.chunks_exact_mut(n)) {
        for (&a, b) in a.iter().zip(b.chunks_exact(n)) {
            want.iter_mut().zip(b).for_each(|(c, &b)| *c += i32::from(a) * i32::from(b));
        }
    }
    for tier in tiers() {
        let weights = PackedB::builder(MatRef::row_major(&b, k, n).unwrap()).tier(tier).build().unwrap();
        for threads in [1, 2, 3] {
            let gemm = Gemm::<u8, i32>::builder(&weights, IntOutput::Store).threads(Threads::Exactly(threads));
            let gemm = gemm.build().unwrap();
            for (turn, rows) in [1, 3, 1, 2].into_iter().enumerate() {
                let mut c = vec![i32::MIN; rows * n];
                let a = MatRef::row_major(&a[..rows * k], rows, k).unwrap();
                gemm.run(a, &mut MatMut::row_major(&mut c, rows, n).unwrap()).unwrap();
                let case = || format!("{tier}, {threads} threads, turn {turn}, {rows} rows");
                assert_same_bits(&c, &want[..rows * n], case);
            }
        }
    }
}
