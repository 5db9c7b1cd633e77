//! Groupwise weights as kernels read them: panels of 32 columns, each a sequence of groups with their scales, as
//! [`GroupLayout`] draws them. The same for all tiers.

use std::sync::Arc;

use gemmill_codegen::{
    FloatWeights, GROUP_CHUNK, GROUP_PANEL, GroupKernelDesc, GroupLayout, GroupScales, GroupZeroPoints, Prefetch, Tier,
    WeightGroups,
};

use crate::error::{Error, Result};
use crate::machine::memory::Lines;
use crate::machine::threads::{Threads, share};
use crate::quant::{Bits, GroupwiseFormat, GroupwiseWeights, ZeroPoints};

/// Weights of 4 or 2 bits, packed for any number of products on any tier.
///
/// Cloning is cheap: clones share the weights.
///
/// # Examples
/// ```
/// use gemmill::quant::{Bits, GroupSize, GroupwiseFormat, GroupwiseWeights, ZeroPoints};
/// use gemmill::{MatRef, PackedGroupwise};
/// let w = vec![0.25f32; 256 * 64];
/// let format = GroupwiseFormat { bits: Bits::Four, group_size: GroupSize::G128, zero_points: ZeroPoints::Middle };
/// let weights = GroupwiseWeights::round_to_nearest(MatRef::row_major(&w, 256, 64)?, format)?;
/// let packed = PackedGroupwise::new(&weights)?;
/// // Half a byte a weight, and two bytes for every 128.
/// assert_eq!(packed.size_in_bytes(), 256 * 64 / 2 + 256 * 64 / 128 * 2);
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PackedGroupwise {
    k: usize,
    n: usize,
    format: GroupwiseFormat,
    /// Chunks of each group.
    chunks: Arc<[u32]>,
    panel_bytes: usize,
    scales: GroupScales,
    data: Arc<Lines>,
}

impl PackedGroupwise {
    /// Packs weights. The threads of the caller's rayon pool share the panels.
    ///
    /// # Errors
    /// [`Error::Overflow`] if the packed size does not fit the address space.
    pub fn new(weights: &GroupwiseWeights) -> Result<PackedGroupwise> {
        Self::with_threads(weights, Threads::Auto)
    }

    /// Packs weights: with at most one thread, the calling one does all, and no pool is started.
    ///
    /// # Errors
    /// As [`PackedGroupwise::new`]; [`Error::OutOfRange`] for zero threads.
    pub fn with_threads(weights: &GroupwiseWeights, threads: Threads) -> Result<PackedGroupwise> {
        threads.check()?;
        let (k, n, format) = (weights.k(), weights.n(), weights.format());
        let size = format.group_size.elements();
        let depth_of = |g: usize| size.min(k - g * size).next_multiple_of(GROUP_CHUNK);
        // Without columns, K may be any number.
        let groups = if n == 0 { 0 } else { weights.groups() };
        let chunks: Arc<[u32]> = (0..groups).map(|g| (depth_of(g) / GROUP_CHUNK) as u32).collect();
        let layout = layout(format);
        let overflow = Error::Overflow { what: "packed groupwise weights" };
        let panel_bytes = (0..groups)
            .try_fold(0usize, |sum, g| sum.checked_add(layout.group_bytes(depth_of(g))))
            .ok_or(overflow.clone())?;
        let panels = n.div_ceil(GROUP_PANEL);
        let bytes = panels.checked_mul(panel_bytes).filter(|&b| b <= isize::MAX as usize - 64).ok_or(overflow)?;
        let mut data = Lines::zeroed("packed groupwise weights", bytes)?;
        if panel_bytes > 0 {
            let data = &mut data.of_mut::<u8>()[..bytes];
            share(threads, data.chunks_exact_mut(panel_bytes).enumerate().collect(), &|(p, panel)| {
                fill_panel(weights, layout, p * GROUP_PANEL, panel);
            });
        }
        let largest = weights.scales().iter().fold(0f32, |largest, scale| largest.max(scale.to_f32()));
        let scales = GroupScales::up_to(largest);
        Ok(PackedGroupwise { k, n, format, chunks, panel_bytes, scales, data: Arc::new(data) })
    }

    /// Rows of the weights.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Columns of the weights.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The format of the weights.
    pub fn format(&self) -> GroupwiseFormat {
        self.format
    }

    /// Bytes of memory that the weights take.
    pub fn size_in_bytes(&self) -> usize {
        self.data.size_in_bytes()
    }

    /// The kernel for these weights.
    pub(crate) fn kernel(&self, tier: Tier, rows: usize, prefetch: Prefetch) -> GroupKernelDesc {
        GroupKernelDesc { tier, layout: layout(self.format), rows: rows as u8, prefetch }
    }

    pub(crate) fn chunks(&self) -> &[u32] {
        &self.chunks
    }

    /// Depth of A as kernels read it.
    pub(crate) fn padded_k(&self) -> usize {
        self.chunks.iter().map(|&c| c as usize).sum::<usize>() * GROUP_CHUNK
    }

    /// Panel `p` and those behind it.
    pub(crate) fn panels_from(&self, p: usize) -> &[u8] {
        &self.data.of()[p * self.panel_bytes..]
    }

    /// As what kernels of the float family read them.
    pub(crate) fn float_weights(&self) -> FloatWeights {
        let GroupwiseFormat { group_size, .. } = self.format;
        let size = group_size.elements() as u8;
        FloatWeights::Groups(WeightGroups { layout: layout(self.format), size, scales: self.scales })
    }

    /// Bytes from panel to panel.
    pub(crate) fn panel_bytes(&self) -> usize {
        self.panel_bytes
    }

    /// The packed bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.data.of()
    }
}

fn layout(format: GroupwiseFormat) -> GroupLayout {
    GroupLayout {
        bits: match format.bits {
            Bits::Two => 2,
            Bits::Four => 4,
        },
        zero_points: match format.zero_points {
            ZeroPoints::Middle => GroupZeroPoints::Middle,
            ZeroPoints::Each => GroupZeroPoints::PerColumn,
        },
    }
}

/// Columns from `first` on, as far as there are any; others stay zero.
fn fill_panel(weights: &GroupwiseWeights, layout: GroupLayout, first: usize, panel: &mut [u8]) {
    let (k, n, size) = (weights.k(), weights.n(), weights.format().group_size.elements());
    let columns = first..n.min(first + GROUP_PANEL);
    let mut rest = panel;
    for g in 0..weights.groups() {
        let rows = g * size..k.min((g + 1) * size);
        let (group, next) = rest.split_at_mut(layout.group_bytes(rows.len().next_multiple_of(GROUP_CHUNK)));
        rest = next;
        let (header, packed) = group.split_at_mut(layout.header_bytes());
        for (j, column) in columns.clone().enumerate() {
            header[2 * j..][..2].copy_from_slice(&weights.scales()[g * n + column].to_le_bytes());
            if let Some(zero_points) = weights.zero_points() {
                header[2 * (GROUP_PANEL + j)..][..2]
                    .copy_from_slice(&u16::from(zero_points[g * n + column]).to_le_bytes());
            }
        }
        for (i, row) in rows.enumerate() {
            let (step, in_step) = (i / layout.step_depth(), i % layout.step_depth());
            let shift = in_step / 4 * usize::from(layout.bits);
            let bytes = packed[step * GROUP_PANEL * 4 + in_step % 4..].iter_mut().step_by(4);
            let values = &weights.values()[row * n..][columns.clone()];
            bytes.zip(values).for_each(|(byte, &q)| *byte |= q << shift);
        }
    }
}
