//! A body that asks for more than its micro-tile leaves.

use super::*;
use crate::x86::lowering::Lowering;

/// So many accumulators, and so many temporaries.
#[derive(Clone, Copy)]
struct Greedy {
    tier: Tier,
    accumulators: usize,
    temporaries: usize,
}

impl Body for Greedy {
    const ARGS: FrameArgs = FrameArgs { tiles: 0, a_row_stride: 8, scratch: 16 };

    fn shape(&self) -> Shape {
        let (tier, rows) = (self.tier, self.accumulators);
        Shape { tier, rows, vectors: 1, lanes: tier.facts().lanes, has_tiles: false }
    }

    fn start<L: Lowering>(b: &mut Builder<Self, L>) {
        let temps: Vec<Vector> = (0..b.desc.temporaries).map(|i| b.temp(i)).collect();
        b.accs().chain(temps).for_each(|register| b.low.zero(register));
    }

    fn main_loop<L: Lowering>(_: &mut Builder<Self, L>) {}
    fn finish<L: Lowering>(_: &mut Builder<Self, L>) {}
    fn advance<L: Lowering>(_: &mut Builder<Self, L>) {}
}

#[test]
fn kernels_that_need_too_many_registers_are_refused() {
    for tier in Tier::ALL.into_iter().filter(|&tier| tier != Tier::Portable) {
        let registers = tier.facts().registers;
        for accumulators in 0..=registers + 1 {
            for temporaries in 0..=registers + 1 {
                let made = generate(Greedy { tier, accumulators, temporaries });
                assert_eq!(made.is_ok(), accumulators + temporaries <= registers, "{accumulators} {temporaries}");
            }
        }
    }
}
