//! One call of a groupwise kernel: operands that satisfy its contract.

use gemmill_codegen::*;
use half::bf16;

use crate::common::{Rng, sizes};
use crate::guarded::Guarded;

/// One micro-tile, or several, with all operands.
pub struct Case {
    pub desc: GroupKernelDesc,
    a: Vec<i8>,
    a_row_stride: usize,
    b: Vec<u8>,
    pub chunks: Vec<u32>,
    row_tiles: usize,
    prefetch_distance: usize,
    terms: Vec<i32>,
    sums: Vec<f32>,
}

impl Case {
    pub fn random(desc: GroupKernelDesc, rng: &mut Rng) -> Case {
        let row_tiles = rng.pick(&[1, 1, 2, 3]);
        let full = rng.pick(sizes(&[1, 2, 4], 1));
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
    pub fn run(&self, tier: Tier, memory: &mut [Guarded; 5]) -> Vec<u32> {
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
