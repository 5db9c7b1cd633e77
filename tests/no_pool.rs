//! A process whose runs have threads of the caller's own starts no pool. Alone in its process: any other test might
//! start one.

use gemmill::quant::{Bits, GroupSize, GroupwiseFormat, GroupwiseWeights, ZeroPoints};
use gemmill::{
    FloatGemm, Gemm, GroupwiseGemm, IntOutput, MatMut, MatRef, PackedB, PackedFloat, PackedGroupwise, ParallelFor,
    RunOptions, Threads,
};

struct Two;

impl ParallelFor for Two {
    fn threads(&self) -> usize {
        2
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        assert_eq!(tasks, 2);
        std::thread::scope(|scope| (0..tasks).for_each(|i| drop(scope.spawn(move || task(i)))));
    }
}

#[test]
fn runs_on_threads_of_the_caller_s_own_start_no_pool() {
    let (n, k) = (4096, 1024);
    // Weights are packed and quantized by a pool that is no global one.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let (integers, floats, nibbles) = pool.install(|| {
        let b = vec![0.5f32; k * n];
        let b = MatRef::row_major(&b, k, n).unwrap();
        let format = GroupwiseFormat { bits: Bits::Four, group_size: GroupSize::G128, zero_points: ZeroPoints::Middle };
        let nibbles = GroupwiseWeights::round_to_nearest(b, format).unwrap();
        let integers = PackedB::new(MatRef::row_major(&vec![3i8; k * n], k, n).unwrap()).unwrap();
        let floats = PackedFloat::builder(b);
        (integers, floats.build().unwrap(), PackedGroupwise::new(&nibbles).unwrap())
    });
    let (a, mut sums) = (vec![1u8; k], vec![0; n]);
    let gemm = Gemm::<u8, i32>::builder(&integers, IntOutput::Store).build().unwrap();
    let (a, sums_view) = (MatRef::row_major(&a, 1, k).unwrap(), &mut MatMut::row_major(&mut sums, 1, n).unwrap());
    gemm.run_with(a, sums_view, &RunOptions::new().parallel_for(&Two)).unwrap();
    assert!(sums.iter().all(|&x| x == 3 * k as i32));

    let (a, mut c) = (vec![1f32; k], vec![0f32; n]);
    let (a, c) = (MatRef::row_major(&a, 1, k).unwrap(), &mut MatMut::row_major(&mut c, 1, n).unwrap());
    let options = RunOptions::new().parallel_for(&Two);
    FloatGemm::builder(&floats).build().unwrap().run_with(a, c, &options).unwrap();
    FloatGemm::groupwise(&nibbles).threads(Threads::Max(2)).build().unwrap().run_with(a, c, &options).unwrap();
    let options = RunOptions::new().parallel_for(&Two);
    GroupwiseGemm::builder(&nibbles).threads(Threads::Exactly(2)).build().unwrap().run_with(a, c, &options).unwrap();

    // There can be one global pool: that this one is made says that none was.
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("no product has started a pool");
}
