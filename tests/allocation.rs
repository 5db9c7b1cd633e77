//! Memory that a product asks for: none after the first call of its size; and the size of packed weights.
mod common;

use common::allocator::{Counting, allocations};
use common::operand::{Order, Stored, Weights};
use common::random::{Rng, Values};
use common::{Sample, native_tiers, seed};
use gemmill::half::bf16;
use gemmill::quant::{Bits, GroupSize, GroupwiseFormat, GroupwiseWeights, ZeroPoints};
use gemmill::{
    Activation, ActivationQuantization, Dequantize, Element, FloatGemm, FloatType, Gemm, GroupwiseGemm, HardwareDot,
    IntOutput, MatMut, MatRef, PackedB, PackedFloat, PackedGroupwise, ParallelFor, QuantParams, Requantize, RunOptions,
    Threads,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Fails if a second call of any of these sizes asks for memory. Sizes are run in turn, so that none shrinks a buffer
/// that the next one needs.
fn assert_steady<'a, A: Activation, C: Element>(
    gemm: &Gemm<A, C>,
    views: &[MatRef<'_, A>],
    options: &dyn Fn(usize) -> RunOptions<'a>,
    case: &str,
) {
    let n = gemm.packed().n();
    let mut outputs: Vec<Vec<C>> = views.iter().map(|a| vec![C::default(); a.rows() * n]).collect();
    for round in 0..3 {
        for (a, c) in views.iter().zip(&mut outputs) {
            let mut c = MatMut::row_major(c, a.rows(), n).unwrap();
            let options = options(a.rows());
            let asked = allocations(|| gemm.run_with(*a, &mut c, &options).unwrap());
            assert!(round == 0 || asked == 0, "{asked} allocations in round {round}, {} rows, {case}", a.rows());
        }
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| ()), 0);
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1u8; 100]))), 1);
}

#[test]
fn calls_after_the_first_allocate_nothing() {
    let rng = &mut Rng::new(seed());
    // Weights with planes of A, without, along K; in one pass over K and in several.
    for (k, n, values, kc) in [
        (100, 33, Values::Int4, None),
        (100, 33, Values::Uniform, Some(32)),
        (130, 3, Values::Gaussian(20.0), None),
        (96, 528, Values::Uniform, None),
        (600, 528, Values::Uniform, Some(128)),
    ] {
        let mut weights = Weights::<i8>::plain(rng, k, n, values);
        weights.kc = kc;
        weights.zero_points = common::operand::Params::Column((0..n as i32).map(|j| j % 100).collect());
        let mut sample = Sample::new("sizes of A");
        let matrices: Vec<Stored<u8>> = [1, 3, 13, 64, 40]
            .map(|m| Stored::integers(rng, (m, k), Order::RowMajor, Values::Uniform, 255))
            .into_iter()
            .chain([Stored::integers(rng, (50, k), Order::ColMajor, Values::Uniform, 255)])
            .filter(|_| sample.keeps())
            .collect();
        let views: Vec<MatRef<'_, u8>> = matrices.iter().map(Stored::view).collect();
        let signed: Vec<Vec<i8>> = matrices.iter().map(|m| m.data.iter().map(|&x| x as i8).collect()).collect();
        let signed: Vec<MatRef<'_, i8>> = signed
            .iter()
            .zip(&views)
            .map(|(d, v)| MatRef::with_strides(d, v.rows(), k, v.row_stride(), v.col_stride()).unwrap())
            .collect();
        let reals: Vec<Vec<f32>> =
            matrices.iter().map(|m| m.data.iter().map(|&x| f32::from(x) - 99.0).collect()).collect();
        let reals: Vec<MatRef<'_, f32>> = reals
            .iter()
            .zip(&views)
            .map(|(d, v)| MatRef::with_strides(d, v.rows(), k, v.row_stride(), v.col_stride()).unwrap())
            .collect();
        let (row_scales, row_zero_points, residual) = (vec![0.5f32; 64], vec![7i32; 64], vec![0.25f32; 64 * n]);
        let bias = vec![3; n];
        let none = |_: usize| RunOptions::new();
        for tier in native_tiers() {
            let packed = weights.pack(tier);
            let case = |what: &str| format!("tier {tier}, {what}, {}", weights.describe());
            let one = Threads::Max(1);

            let gemm = Gemm::builder(&packed, IntOutput::Store).a_zero_point(9).threads(one).build().unwrap();
            assert_steady(&gemm, &views, &none, &case("i32"));
            let by_row = |m: usize| RunOptions::new().row_zero_points(&row_zero_points[..m]);
            assert_steady(&gemm, &views, &by_row, &case("i32, zero points by row"));
            let gemm = Gemm::builder(&packed, IntOutput::Add).threads(one).build().unwrap();
            assert_steady(&gemm, &signed, &none, &case("added i32"));
            let stage = Requantize::<u8>::new(0.01).bias_i32(&bias).zero_point(3).relu();
            let gemm = Gemm::builder(&packed, stage).threads(one).build().unwrap();
            assert_steady(&gemm, &views, &none, &case("u8"));
            let stage = Requantize::<i8>::new(0.01);
            let gemm = Gemm::builder(&packed, stage).threads(one).build().unwrap();
            assert_steady(&gemm, &signed, &none, &case("i8"));
            let gemm = Gemm::builder(&packed, Dequantize::new(0.01).a_scale(1.0).relu()).threads(one).build().unwrap();
            assert_steady(&gemm, &views, &none, &case("f32"));
            let full = |m: usize| {
                let residual = MatRef::row_major(&residual, m, n).unwrap();
                RunOptions::new().residual(residual).row_scales(&row_scales[..m]).row_zero_points(&row_zero_points[..m])
            };
            assert_steady(&gemm, &views, &full, &case("f32 with options"));
            for how in [
                ActivationQuantization::DynamicPerRow,
                ActivationQuantization::Static(QuantParams::new(0.5, 100).unwrap()),
            ] {
                let gemm =
                    Gemm::builder(&packed, Dequantize::new(0.01)).a_quantization(how).threads(one).build().unwrap();
                assert_steady(&gemm, &reals, &none, &case("f32 activations"));
            }
        }
    }
}

/// Weights that are safe in 16 bits take little more room than they did before.
#[test]
fn packed_weights_are_small() {
    let rng = &mut Rng::new(seed());
    let mut sample = Sample::new("sizes of packed weights");
    for (k, n) in [(64, 16), (256, 64), (1000, 48), (1024, 256), (4096, 32), (777, 512)] {
        let all = [Values::Int4, Values::SevenBit, Values::Gaussian(10.0)];
        for values in all.into_iter().filter(|_| sample.keeps()) {
            let weights = Weights::<i8>::plain(rng, k, n, values);
            for tier in native_tiers() {
                let size = weights.pack(tier).size_in_bytes();
                let limit = k * n * 105 / 100 + 64 * n;
                assert!(size <= limit, "{size} > {limit}: tier {tier}, {}", weights.describe());
            }
        }
    }
}

/// Packing a shape without elements, or asking for its size, needs next to nothing.
#[test]
fn empty_weights_are_small() {
    for (k, n) in [(0, 0), (0, 100), (100, 0)] {
        let packed = PackedB::new(MatRef::<i8>::row_major(&[], k, n).unwrap()).unwrap();
        assert!(packed.size_in_bytes() <= 64 * n + 1024, "{} bytes for {k}×{n}", packed.size_in_bytes());
    }
}

/// The same for floating-point and groupwise products: what is packed, expanded and quantized goes to memory that is
/// kept.
#[test]
fn floating_point_calls_after_the_first_allocate_nothing() {
    let rng = &mut Rng::new(seed());
    let (k, n) = (700, 97);
    let number = |rng: &mut Rng| bf16::from_f32(rng.gaussian());
    let b: Vec<f32> = (0..k * n).map(|_| rng.gaussian()).collect();
    let b = MatRef::row_major(&b, k, n).unwrap();
    let halves = PackedFloat::builder(b).store(FloatType::Bf16).build().unwrap();
    let format = GroupwiseFormat { bits: Bits::Four, group_size: GroupSize::G64, zero_points: ZeroPoints::Each };
    let nibbles = PackedGroupwise::new(&GroupwiseWeights::round_to_nearest(b, format).unwrap()).unwrap();
    for tier in native_tiers() {
        let threads = Threads::Max(1);
        let float = FloatGemm::builder(&halves).threads(threads).tier(tier).build().unwrap();
        let expanding = FloatGemm::groupwise(&nibbles).threads(threads).tier(tier).build().unwrap();
        let integer = GroupwiseGemm::builder(&nibbles).threads(threads).tier(tier).build().unwrap();
        // Those that this tier has, in plain Rust or by instruction. K is no multiple of a tile's: A is packed for
        // tiles.
        let dots = HardwareDot::ALL.into_iter().filter(|dot| dot.require(tier).is_ok());
        let with_dot = |dot| FloatGemm::builder(&halves).hardware_dot(dot).threads(threads).tier(tier).build().unwrap();
        let dots: Vec<FloatGemm> = dots.map(with_dot).collect();
        for round in 0..3 {
            for m in [1, 3, 16, 40] {
                let a: Vec<bf16> = (0..m * k).map(|_| number(rng)).collect();
                let (a, mut c) = (MatRef::row_major(&a, m, k).unwrap(), vec![0f32; m * n]);
                let mut c = MatMut::row_major(&mut c, m, n).unwrap();
                let asked = allocations(|| {
                    float.run(a, &mut c).unwrap();
                    expanding.run(a, &mut c).unwrap();
                    integer.run(a, &mut c).unwrap();
                    dots.iter().for_each(|dot| dot.run(a, &mut c).unwrap());
                });
                assert!(round == 0 || asked == 0, "{asked} allocations in round {round}, {m} rows on {tier}");
            }
        }
    }
}

/// Threads of the caller's own need no memory either: here, the calling thread carries out all tasks.
#[test]
fn tasks_on_threads_of_the_caller_s_own_allocate_nothing() {
    struct InTurn;

    impl ParallelFor for InTurn {
        fn threads(&self) -> usize {
            3
        }

        fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
            (0..tasks).for_each(task);
        }
    }

    let rng = &mut Rng::new(seed());
    let (k, n) = (300, 500);
    let b: Vec<f32> = (0..k * n).map(|_| rng.gaussian()).collect();
    let integers: Vec<i8> = (0..k * n).map(|_| rng.bits() as i8).collect();
    let b = MatRef::row_major(&b, k, n).unwrap();
    let format = GroupwiseFormat { bits: Bits::Four, group_size: GroupSize::G64, zero_points: ZeroPoints::Each };
    let nibbles = PackedGroupwise::new(&GroupwiseWeights::round_to_nearest(b, format).unwrap()).unwrap();
    let halves = PackedFloat::builder(b).store(FloatType::Bf16).build().unwrap();
    let threads = Threads::Exactly(3);
    for tier in native_tiers() {
        let weights = PackedB::builder(MatRef::row_major(&integers, k, n).unwrap()).tier(tier).build().unwrap();
        let gemm = Gemm::builder(&weights, Dequantize::new(0.01)).a_quantization(ActivationQuantization::DynamicPerRow);
        let gemm = gemm.threads(threads).build().unwrap();
        let float = FloatGemm::builder(&halves).threads(threads).tier(tier).build().unwrap();
        let integer = GroupwiseGemm::builder(&nibbles).threads(threads).tier(tier).build().unwrap();
        for round in 0..3 {
            for m in [1, 3, 40] {
                let a: Vec<f32> = (0..m * k).map(|_| rng.gaussian()).collect();
                let (a, mut c) = (MatRef::row_major(&a, m, k).unwrap(), vec![0f32; m * n]);
                let mut c = MatMut::row_major(&mut c, m, n).unwrap();
                let asked = allocations(|| {
                    gemm.run_with(a, &mut c, &RunOptions::new().parallel_for(&InTurn)).unwrap();
                    float.run_with(a, &mut c, &RunOptions::new().parallel_for(&InTurn)).unwrap();
                    integer.run_with(a, &mut c, &RunOptions::new().parallel_for(&InTurn)).unwrap();
                });
                assert!(round == 0 || asked == 0, "{asked} allocations in round {round}, {m} rows on {tier}");
            }
        }
    }
}
