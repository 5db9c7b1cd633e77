//! Generated groupwise kernels against the portable tier: the same arguments must leave the same bits. Operands end
//! where a page begins that must not be touched.

mod common;
#[path = "common/group_case.rs"]
mod group_case;
#[path = "common/guarded.rs"]
mod guarded;

use common::{Rng, machine_tiers, share_of};
use gemmill_codegen::*;
use group_case::Case;
use guarded::Guarded;

#[test]
fn group_kernels_match_the_portable_tier() {
    let mut rng = Rng(11);
    let mut memory: [Guarded; 5] = std::array::from_fn(|_| Guarded::new(1 << 16));
    let mut count = 0;
    for tier in machine_tiers("group_kernels_match_the_portable_tier") {
        for rows in 1..=group_rows(tier) as u8 {
            for bits in [2, 4] {
                for zero_points in [GroupZeroPoints::Middle, GroupZeroPoints::PerColumn] {
                    for _ in 0..share_of(16) {
                        let layout = GroupLayout { bits, zero_points };
                        let case = Case::random(
                            GroupKernelDesc { tier, layout, rows, prefetch: rng.pick(&Prefetch::ALL) },
                            &mut rng,
                        );
                        let (expected, found) = (case.run(Tier::Portable, &mut memory), case.run(tier, &mut memory));
                        assert_eq!(expected, found, "{}, chunks {:?}", case.desc, case.chunks);
                        count += 1;
                    }
                }
            }
        }
    }
    eprintln!("{count} kernels compared");
}

#[test]
fn impossible_kernels_are_refused() {
    let layout = GroupLayout { bits: 4, zero_points: GroupZeroPoints::Middle };
    let desc = GroupKernelDesc { tier: Tier::Avx2, layout, rows: 6, prefetch: Prefetch::None };
    for wrong in [
        GroupKernelDesc { rows: 0, ..desc },
        GroupKernelDesc { rows: 7, ..desc },
        GroupKernelDesc { layout: GroupLayout { bits: 3, ..layout }, ..desc },
        GroupKernelDesc { tier: Tier::Portable, rows: 13, ..desc },
    ] {
        assert!(matches!(Kernel::generate(&wrong), Err(CodegenError::Unsupported(_))), "{wrong}");
    }
}
