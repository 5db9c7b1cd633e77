//! Small products of every kind on the portable tier, for Miri (`tests/miri`), which checks each access of the
//! library's own code: views of column blocks that two threads write to, outputs that are not initialised, operands and
//! output interleaved in one buffer, odd shapes. Natively these are ordinary tests.

use std::mem::MaybeUninit;

use gemmill::half::bf16;
use gemmill::quant::{Bits, GroupSize, GroupwiseFormat, GroupwiseParts, GroupwiseWeights, ZeroPoints};
use gemmill::{
    ActivationQuantization, Dequantize, FloatGemm, FloatType, Function, Gemm, GroupwiseGemm, IntOutput, MatMut, MatRef,
    PackedB, PackedFloat, PackedGroupwise, ParallelFor, RunOptions, Threads, Tier,
};

/// Small integers.
fn numbers(count: usize, seed: usize) -> Vec<i8> {
    (0..count).map(|i| ((i * 37 + seed * 11) % 41) as i8 - 20).collect()
}

fn weights(b: &[i8], k: usize, n: usize) -> PackedB {
    let b = MatRef::row_major(b, k, n).unwrap();
    PackedB::builder(b).tier(Tier::Portable).threads(Threads::Max(1)).build().unwrap()
}

fn product(a: &[i8], b: &[i8], (m, n, k): (usize, usize, usize)) -> Vec<i32> {
    let sum = |i: usize, j: usize| (0..k).map(|p| i32::from(a[i * k + p]) * i32::from(b[p * n + j])).sum();
    (0..m * n).map(|x| sum(x / n, x % n)).collect()
}

/// Two threads of its own.
struct Two;

impl ParallelFor for Two {
    fn threads(&self) -> usize {
        2
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| (0..tasks).for_each(|i| drop(scope.spawn(move || task(i)))));
    }
}

#[test]
fn integers_into_memory_that_is_not_initialised() {
    for (m, n, k) in [(1, 1, 1), (3, 17, 9), (6, 5, 70), (2, 33, 0)] {
        let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
        let gemm = Gemm::builder(&weights(&b, k, n), IntOutput::Store).threads(Threads::Max(1)).build().unwrap();
        let mut c = vec![MaybeUninit::<i32>::uninit(); m * n];
        let a_view = MatRef::row_major(&a, m, k).unwrap();
        let c = gemm.run_uninit(a_view, MatMut::row_major(&mut c, m, n).unwrap(), &RunOptions::new()).unwrap();
        let found: Vec<i32> = (0..m * n).filter_map(|x| c.as_ref().get(x / n, x % n)).collect();
        assert_eq!(found, product(&a, &b, (m, n, k)), "{m}x{n}x{k}");
    }
}

#[test]
fn two_threads_write_to_column_blocks_of_one_buffer() {
    let (m, n, k) = (5, 9, 12);
    let (a, b) = (numbers(m * k, 3), numbers(k * n, 4));
    let gemm = Gemm::builder(&weights(&b, k, n), IntOutput::Store).threads(Threads::Max(1)).build().unwrap();
    let mut c = vec![-1i32; m * 2 * n];
    let (left, right) = MatMut::row_major(&mut c, m, 2 * n).unwrap().split_at_column(n).unwrap();
    let a_view = MatRef::row_major(&a, m, k).unwrap();
    let gemm = &gemm;
    std::thread::scope(|scope| {
        for mut half in [left, right] {
            scope.spawn(move || gemm.run(a_view, &mut half).unwrap());
        }
    });
    let want = product(&a, &b, (m, n, k));
    for (x, &found) in c.iter().enumerate() {
        assert_eq!(found, want[x / (2 * n) * n + x % n], "{x}");
    }
}

#[test]
fn a_and_c_interleave_in_one_buffer() {
    let (m, n, k) = (4, 3, 10);
    let b: Vec<f32> = numbers(k * n, 5).into_iter().map(f32::from).collect();
    let mut buffer = vec![0f32; m * (k + n)];
    let (mut left, mut right) = MatMut::row_major(&mut buffer, m, k + n).unwrap().split_at_column(k).unwrap();
    let a: Vec<f32> = numbers(m * k, 6).into_iter().map(f32::from).collect();
    let one = PackedFloat::builder(MatRef::row_major(&[1f32], 1, 1).unwrap()).threads(Threads::Max(1)).build().unwrap();
    let copy = FloatGemm::builder(&one).tier(Tier::Portable).threads(Threads::Max(1)).build().unwrap();
    // Column after column of A, by products with one.
    let mut rest = left.reborrow();
    for j in 0..k {
        let (mut column, others) = rest.split_at_column(1).unwrap();
        copy.run(MatRef::with_strides(&a[j..], m, 1, k, 1).unwrap(), &mut column).unwrap();
        rest = others;
    }
    let packed = PackedFloat::builder(MatRef::row_major(&b, k, n).unwrap()).threads(Threads::Max(1)).build().unwrap();
    let gemm = FloatGemm::builder(&packed).tier(Tier::Portable).threads(Threads::Max(1)).build().unwrap();
    gemm.run(left.into_ref(), &mut right).unwrap();
    let right = right.into_ref();
    for (i, j) in (0..m * n).map(|x| (x / n, x % n)) {
        let want: f32 = (0..k).map(|p| a[i * k + p] * b[p * n + j]).sum();
        assert_eq!(right.get(i, j), Some(want), "({i}, {j})");
    }
}

#[test]
fn halves_are_quantized_and_given_back() {
    let (m, n, k) = (3, 20, 8);
    let b = numbers(k * n, 7);
    let a: Vec<bf16> = numbers(m * k, 8).into_iter().map(|x| bf16::from_f32(f32::from(x))).collect();
    let quantization = ActivationQuantization::DynamicPerRow;
    let packed = weights(&b, k, n);
    let gemm = Gemm::builder(&packed, Dequantize::new(0.5).to::<bf16>()).a_quantization(quantization);
    let gemm = gemm.threads(Threads::Exactly(2)).build().unwrap();
    let mut c = vec![bf16::ZERO; m * n];
    let options = RunOptions::new().parallel_for(&Two);
    let a_view = MatRef::row_major(&a, m, k).unwrap();
    gemm.run_with(a_view, &mut MatMut::row_major(&mut c, m, n).unwrap(), &options).unwrap();
    for (x, c) in c.iter().enumerate() {
        let want: f32 = (0..k).map(|p| a[x / n * k + p].to_f32() * f32::from(b[p * n + x % n]) * 0.5).sum();
        assert!((c.to_f32() - want).abs() <= 0.02 * want.abs() + 15.0, "{x}: {c} for {want}");
    }
}

/// Panels of few bits are read from their second half, whose scales lie before it.
#[test]
fn weights_of_few_bits() {
    let (m, n, k) = (2, 50, 35);
    let a: Vec<f32> = numbers(m * k, 10).into_iter().map(f32::from).collect();
    let format = GroupwiseFormat { bits: Bits::Four, group_size: GroupSize::G32, zero_points: ZeroPoints::Each };
    let small = |count: usize, seed| numbers(count, seed).into_iter().map(|x| x as u8 % 16).collect::<Vec<u8>>();
    // Quantizing here would start a pool, whose queues make pointers of addresses.
    let (values, zero_points) = (small(k * n, 9), small(2 * n, 11));
    let scales = (0..2 * n).map(|x| bf16::from_f32(1.0 + x as f32 / 64.0)).collect();
    let weights = GroupwiseWeights::from_parts(GroupwiseParts { k, n, format, values, scales, zero_points }).unwrap();
    let packed = PackedGroupwise::with_threads(&weights, Threads::Max(1)).unwrap();
    let (a_view, mut integers, mut floats) =
        (MatRef::row_major(&a, m, k).unwrap(), vec![0f32; m * n], vec![0f32; m * n]);
    let gemm = GroupwiseGemm::builder(&packed).tier(Tier::Portable).threads(Threads::Max(1)).build().unwrap();
    gemm.run(a_view, &mut MatMut::row_major(&mut integers, m, n).unwrap()).unwrap();
    let gemm = FloatGemm::groupwise(&packed).tier(Tier::Portable).threads(Threads::Max(1)).build().unwrap();
    gemm.run(a_view, &mut MatMut::row_major(&mut floats, m, n).unwrap()).unwrap();
    for (x, (integer, float)) in integers.iter().zip(&floats).enumerate() {
        let weight = |p: usize| weights.weight(p, x % n).unwrap();
        let want: f32 = (0..k).map(|p| a[x / n * k + p] * weight(p)).sum();
        assert_eq!(*float, (0..k).fold(0.0, |sum: f32, p| a[x / n * k + p].mul_add(weight(p), sum)), "{x}");
        assert!((integer - want).abs() < 100.0, "{x}: {integer} for {want}");
    }
}

#[test]
fn floats_with_all_stages() {
    // The last one has several micro-tiles of rows, and two blocks of K.
    for (m, n, k) in [(1, 70, 3), (7, 33, 20), (if cfg!(miri) { 8 } else { 40 }, 5, 260)] {
        let w: Vec<f32> = numbers(k * n, 11).into_iter().map(f32::from).collect();
        let b = MatRef::row_major(&w, k, n).unwrap();
        let packed = PackedFloat::builder(b).store(FloatType::Bf16).threads(Threads::Max(1)).build().unwrap();
        let bias: Vec<f32> = (0..n).map(|j| j as f32).collect();
        let gemm = FloatGemm::builder(&packed).tier(Tier::Portable).bias(&bias).beta(1.0).function(Function::Relu);
        let gemm = gemm.threads(Threads::Exactly(2)).build().unwrap();
        let a: Vec<f32> = numbers(m * k, 12).into_iter().map(f32::from).collect();
        let residual = vec![bf16::ONE; m * n];
        let mut c = vec![bf16::ONE; m * n];
        let options = RunOptions::new().residual(MatRef::row_major(&residual, m, n).unwrap()).parallel_for(&Two);
        // A transposed twice: columns are not side by side.
        let turned: Vec<f32> = (0..m * k).map(|x| a[x % m * k + x / m]).collect();
        let a_view = MatRef::col_major(&turned, m, k).unwrap();
        gemm.run_with(a_view, &mut MatMut::row_major(&mut c, m, n).unwrap(), &options).unwrap();
        for (x, c) in c.iter().enumerate() {
            let (i, j) = (x / n, x % n);
            let sum: f32 = (0..k).fold(1.0, |sum: f32, p| a[i * k + p].mul_add(w[p * n + j], sum)) + bias[j] + 1.0;
            assert_eq!(*c, bf16::from_f32(sum.max(0.0)), "{m}x{n}x{k} ({i}, {j})");
        }
    }
}
