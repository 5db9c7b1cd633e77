//! The plan of a product of weights of few bits by quantized activations: micro-tiles, blocks of rows, prefetches and
//! the split among threads. A pure function.

use gemmill_codegen::{GROUP_PANEL, Prefetch, Tier, group_rows};

use super::{Loops, Prefer, Resources, RowTiles, parts};
use crate::machine::tuning;

/// All that a plan depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupwiseProblem {
    pub(crate) tier: Tier,
    pub(crate) resources: Resources,
    pub(crate) rows: usize,
    pub(crate) k: usize,
    pub(crate) cols: usize,
    /// Bytes of a row of A as kernels read it.
    pub(crate) a_row_bytes: usize,
    /// Bytes of packed weights.
    pub(crate) b_bytes: usize,
}

/// How a product is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupwisePlan {
    pub(crate) loops: Loops,
    /// What tall and short micro-tiles prefetch of packed weights.
    pub(crate) prefetch: [Prefetch; 2],
    /// How far ahead, in bytes.
    pub(crate) prefetch_distance: usize,
}

impl GroupwisePlan {
    pub(crate) fn new(p: &GroupwiseProblem) -> GroupwisePlan {
        let machine = p.resources.machine;
        let tiles = RowTiles::cut(p.rows, p.rows.div_ceil(group_rows(p.tier)));
        let threads = p.resources.worth(p.rows, p.cols, p.k);
        let (row_parts, column_parts) = parts(threads, tiles.count(), p.cols.div_ceil(GROUP_PANEL), Prefer::Rows);
        // A quarter of the second level: weights and sums pass through as well.
        let tiles_per_block = (machine.caches.l2 / 4 / (tiles.height * p.a_row_bytes.max(1)).max(1)).max(1);
        let prefetch = |rows| match p.b_bytes > machine.caches.l2 / 2 {
            true => tuning::groupwise_prefetch(machine.core, rows),
            false => Prefetch::None,
        };
        GroupwisePlan {
            loops: Loops { tiles, tiles_per_block, row_parts, column_parts },
            prefetch: [prefetch(tiles.height), prefetch(tiles.height.saturating_sub(1))],
            prefetch_distance: tuning::groupwise_stream_ahead(machine.core),
        }
    }
}
