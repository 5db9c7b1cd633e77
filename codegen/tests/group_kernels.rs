//! Generated groupwise kernels against the portable tier: the same arguments must leave the same bits. Operands end where a
//! page begins that must not be touched.

mod common;
#[path = "common/guarded.rs"]
mod guarded;

use common::{Rng, machine_tiers, share_of};
use gemmill_codegen::*;
use guarded::Guarded;
use half::bf16;

/// One micro-tile, or several, with all operands.
struct Case {
    desc: GroupKernelDesc,
    a: Vec<i8>,
    a_row_stride: usize,
    b: Vec<u8>,
    chunks: Vec<u32>,
    row_tiles: usize,
    prefetch_distance: usize,
    terms: Vec<i32>,
    sums: Vec<f32>,
}

impl Case {
    fn random(desc: GroupKernelDesc, rng: &mut Rng) -> Case {
        let row_tiles = rng.pick(&[1, 1, 2, 3]);
        let full = rng.pick(&[1, 2, 4]);
        let mut chunks = vec![full; 1 + rng.below(4)];
        if rng.below(2) == 0 {
            chunks.push(1 + rng.below(full as usize) as u32);
        }
        let depth = chunks.iter().sum::<u32>() as usize * GROUP_CHUNK;
        let rows = usize::from(desc.rows) * row_tiles;
        let a_row_stride = depth + rng.below(3) * 16;
        // Corners of all operands, or anything.
        let corners = rng.below(3) == 0;
        let a = (0..a_row_stride * (rows - 1) + depth)
            .map(|_| if corners { rng.pick(&[-128, 127]) } else { rng.next() as i8 })
            .collect();
        let mut b = Vec::new();
        for &count in &chunks {
            for _ in 0..GROUP_PANEL {
                b.extend(bf16::from_f32((1 + rng.below(1000)) as f32 / 8192.0).to_le_bytes());
            }
            if desc.layout.zero_points == GroupZeroPoints::PerColumn {
                (0..GROUP_PANEL).for_each(|_| b.extend((rng.below(16) as u16).to_le_bytes()));
            }
            let bytes = desc.layout.group_bytes(count as usize * GROUP_CHUNK) - desc.layout.header_bytes();
            b.extend((0..bytes).map(|_| if corners { rng.pick(&[0, 0xff]) } else { rng.next() as u8 }));
        }
        let terms = (0..rows * chunks.len()).map(|_| rng.below(1 << 15) as i32 - (1 << 14)).collect();
        let sums = (0..rows * GROUP_PANEL).map(|_| rng.below(100) as f32 / 7.0).collect();
        let prefetch_distance = rng.pick(&[0, 8192, usize::MAX >> 1]);
        Case { desc, a, a_row_stride, b, chunks, row_tiles, prefetch_distance, terms, sums }
    }

    /// The sums that a tier leaves.
    fn run(&self, tier: Tier, memory: &mut [Guarded; 5]) -> Vec<u32> {
        let [a, b, chunks, terms, sums] = memory;
        let kernel = Kernel::generate(&GroupKernelDesc { tier, ..self.desc }).unwrap();
        let mut args = GroupKernelArgs {
            a: a.put(&self.a),
            a_row_stride: self.a_row_stride,
            b: b.put(&self.b),
            chunks: chunks.put(&self.chunks),
            groups: self.chunks.len(),
            tiles: self.row_tiles,
            prefetch_distance: self.prefetch_distance,
            terms: terms.put(&self.terms),
            sums: sums.put(&self.sums),
            groups_left: 0,
        };
        // SAFETY: the operands have the sizes that the description and the arguments say.
        unsafe { kernel.run(&mut args) };
        sums.take(self.sums.len())
    }
}

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
