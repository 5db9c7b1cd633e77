//! Criterion benches of a few shapes: `cargo bench -p gemmill-bench`. For tables of many shapes there is the binary.

use std::error::Error;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use gemmill::{Gemm, IntOutput, MatMut, MatRef, PackedB, Requantize, Threads, Tier};
use gemmill_codegen::Kernel;

const SHAPES: [(usize, usize, usize); 5] =
    [(1, 4096, 1024), (20, 1024, 512), (102, 1024, 512), (512, 512, 512), (25_088, 16, 36)];

/// Bytes without a pattern that a branch predictor or a packing routine could profit from.
fn bytes(len: usize) -> impl Iterator<Item = u8> {
    let mut state = 1u64;
    (0..len).map(move |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
}

fn products(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let mut group = criterion.benchmark_group("u8i8, one thread");
    for (m, n, k) in SHAPES {
        let a: Vec<u8> = bytes(m * k).collect();
        let b: Vec<i8> = bytes(k * n).map(|x| x as i8).collect();
        let a = MatRef::row_major(&a, m, k)?;
        let packed = PackedB::new(MatRef::row_major(&b, k, n)?)?;
        // Criterion counts elements: one is a multiply-accumulate.
        group.throughput(Throughput::Elements((m * n * k) as u64));

        let gemm = Gemm::builder(&packed, IntOutput::Store).threads(Threads::Max(1)).build()?;
        let mut c = vec![0i32; m * n];
        let mut c = MatMut::row_major(&mut c, m, n)?;
        group.bench_function(format!("i32 {m}x{n}x{k}"), |bench| bench.iter(|| gemm.run(black_box(a), &mut c)));

        let to = Requantize::<u8>::new(0.001).zero_point(10);
        let gemm = Gemm::builder(&packed, to).a_zero_point(43).threads(Threads::Max(1)).build()?;
        let mut c = vec![0u8; m * n];
        let mut c = MatMut::row_major(&mut c, m, n)?;
        group.bench_function(format!("u8 {m}x{n}x{k}"), |bench| bench.iter(|| gemm.run(black_box(a), &mut c)));
    }
    group.finish();
    Ok(())
}

/// A product so small that nothing but the call counts, its kernel being there.
fn small(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let (m, n, k) = (1, 16, 16);
    let a: Vec<u8> = bytes(m * k).collect();
    let b: Vec<i8> = bytes(k * n).map(|x| x as i8).collect();
    let a = MatRef::row_major(&a, m, k)?;
    for tier in tiers() {
        let packed = PackedB::builder(MatRef::row_major(&b, k, n)?).tier(tier).build()?;
        let gemm = Gemm::builder(&packed, Requantize::<u8>::new(0.001).zero_point(10)).a_zero_point(43).build()?;
        let mut c = vec![0u8; m * n];
        let mut c = MatMut::row_major(&mut c, m, n)?;
        let name = format!("u8 {m}x{n}x{k}, {tier}");
        criterion.bench_function(&name, |bench| bench.iter(|| gemm.run(black_box(a), &mut c)));
    }
    Ok(())
}

/// Kernels of a large product, made anew: description to callable code.
fn generation(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let (n, k) = (1024, 1024);
    let b: Vec<i8> = bytes(k * n).map(|x| x as i8).collect();
    for tier in tiers() {
        let packed = PackedB::builder(MatRef::row_major(&b, k, n)?).tier(tier).build()?;
        let gemm = Gemm::<u8, u8>::builder(&packed, Requantize::new(0.001).zero_point(10)).build()?;
        for desc in gemm.describe(102)?.kernels.iter().take(1) {
            let bytes = Kernel::generate(desc)?.bytes().len();
            let name = format!("generate {desc}, {bytes} bytes");
            criterion.bench_function(&name, |bench| {
                // Kernels are dropped, their memory handed back, outside the clock.
                bench.iter_batched(|| black_box(desc), Kernel::generate, BatchSize::NumIterations(100))
            });
        }
    }
    Ok(())
}

/// The tiers with machine code that this CPU runs.
fn tiers() -> impl Iterator<Item = Tier> {
    Tier::ALL.into_iter().filter(|&tier| tier != Tier::Portable && tier.missing_feature().is_none())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    products(&mut criterion)?;
    small(&mut criterion)?;
    generation(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}
