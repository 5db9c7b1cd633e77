//! Groupwise weights as kernels read them: panels of 32 columns, each a sequence of groups with their scales, as
//! [`GroupKernelDesc`] draws them. The same for all tiers.

use std::ops::Range;
use std::sync::Arc;

use gemmill_codegen::{GROUP_CHUNK, GROUP_PANEL, GroupCorrection, GroupKernelDesc, Tier};
use half::bf16;
use rayon::prelude::*;

use crate::aligned::Lines;
use crate::error::{Error, Result};
use crate::gemm::Threads;
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
        let desc = kernel(format, Tier::Portable, 1);
        let overflow = Error::Overflow { what: "packed groupwise weights" };
        let panel_bytes = (0..groups)
            .try_fold(0usize, |sum, g| sum.checked_add(desc.group_bytes(depth_of(g))))
            .ok_or(overflow.clone())?;
        let panels = n.div_ceil(GROUP_PANEL);
        let bytes = panels.checked_mul(panel_bytes).filter(|&b| b <= isize::MAX as usize - 64).ok_or(overflow)?;
        let mut data = Lines::zeroed(bytes);
        if panel_bytes > 0 {
            let data = &mut data.of_mut::<u8>()[..bytes];
            let fill = |(p, panel): (usize, &mut [u8])| fill_panel(weights, &desc, p * GROUP_PANEL, panel);
            match threads {
                Threads::Max(1) | Threads::Exactly(1) => data.chunks_exact_mut(panel_bytes).enumerate().for_each(fill),
                _ => data.par_chunks_exact_mut(panel_bytes).enumerate().for_each(fill),
            }
        }
        Ok(PackedGroupwise { k, n, format, chunks, panel_bytes, data: Arc::new(data) })
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
    pub(crate) fn kernel(&self, tier: Tier, rows: usize) -> GroupKernelDesc {
        kernel(self.format, tier, rows)
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

    /// The real weights of some k and of some columns of a panel, exactly: those of a k side by side, `pitch` elements from k
    /// to k. For use inside functions for a CPU's vectors.
    #[inline(always)]
    pub(crate) fn expand(
        &self,
        depth: Range<usize>,
        panel: usize,
        columns: Range<usize>,
        out: &mut [f32],
        pitch: usize,
    ) {
        let desc = kernel(self.format, Tier::Portable, 1);
        let size = self.format.group_size.elements();
        let start = panel * self.panel_bytes;
        let panel: (&[u8], &[u32]) = (&self.data.of()[start..], &self.data.of()[start / 4..]);
        let mut scales = [0f32; GROUP_PANEL];
        let mut zero_points = [f32::from(self.format.bits.middle()); GROUP_PANEL];
        let mut rows = out.chunks_mut(pitch);
        let mut k = depth.start;
        while k < depth.end {
            let (group, within) = (k / size, k % size);
            let start = group * desc.group_bytes(size);
            let (halves, _) = panel.0[start..][..desc.header_bytes()].as_chunks::<2>();
            for (j, half) in halves.iter().enumerate() {
                let half = u16::from_le_bytes(*half);
                match j {
                    0..GROUP_PANEL => scales[j] = bf16::from_bits(half).to_f32(),
                    _ => zero_points[j - GROUP_PANEL] = half.into(),
                }
            }
            let end = depth.end.min((group + 1) * size);
            let packed = &panel.1[(start + desc.header_bytes()) / 4..];
            let mut step = within / desc.step_depth();
            let mut in_step = within % desc.step_depth();
            while k < end {
                let count = (desc.step_depth() - in_step).min(end - k);
                let part = StepPart {
                    dwords: &packed[step * GROUP_PANEL..][columns.clone()],
                    scales: &scales[columns.clone()],
                    zero_points: &zero_points[columns.clone()],
                    bits: self.format.bits,
                    depth: in_step..in_step + count,
                };
                // Fixed widths are those of strips: the compiler makes whole vectors of them.
                match columns.len() {
                    32 => part.expand::<32>(&mut rows),
                    16 => part.expand::<16>(&mut rows),
                    8 => part.expand::<8>(&mut rows),
                    _ => part.expand_some(&mut rows),
                }
                (step, in_step, k) = (step + 1, 0, k + count);
            }
        }
    }
}

/// Some k of a step of packed weights, for some columns.
///
/// ```text
/// dword of a column:  byte i  =  k = i in the lowest bits | k = 4 + i in the next ones | ...
/// ```
struct StepPart<'a> {
    dwords: &'a [u32],
    scales: &'a [f32],
    zero_points: &'a [f32],
    bits: Bits,
    depth: Range<usize>,
}

impl StepPart<'_> {
    /// Where a k of the step is in its dword.
    #[inline(always)]
    fn shift(&self, in_step: usize) -> u32 {
        (in_step % 4 * 8 + in_step / 4 * self.bits.count()) as u32
    }

    #[inline(always)]
    fn expand<'o, const COLS: usize>(self, rows: &mut impl Iterator<Item = &'o mut [f32]>) {
        let fixed = "columns were counted";
        // Copies, of which the compiler knows that `row` does not overlap them.
        let dwords: [u32; COLS] = self.dwords.try_into().expect(fixed);
        let scales: [f32; COLS] = self.scales.try_into().expect(fixed);
        let zero_points: [f32; COLS] = self.zero_points.try_into().expect(fixed);
        let mask = u32::from(self.bits.highest());
        for (in_step, row) in self.depth.clone().zip(rows) {
            let shift = self.shift(in_step);
            let mut weights = [0f32; COLS];
            for j in 0..COLS {
                weights[j] = scales[j] * ((dwords[j] >> shift & mask) as i32 as f32 - zero_points[j]);
            }
            row[..COLS].copy_from_slice(&weights);
        }
    }

    #[inline(always)]
    fn expand_some<'o>(self, rows: &mut impl Iterator<Item = &'o mut [f32]>) {
        let mask = u32::from(self.bits.highest());
        for (in_step, row) in self.depth.clone().zip(rows) {
            let shift = self.shift(in_step);
            let columns = self.dwords.iter().zip(self.scales).zip(self.zero_points);
            for (to, ((dword, scale), zero_point)) in row.iter_mut().zip(columns) {
                *to = scale * ((dword >> shift & mask) as i32 as f32 - zero_point);
            }
        }
    }
}

fn kernel(format: GroupwiseFormat, tier: Tier, rows: usize) -> GroupKernelDesc {
    GroupKernelDesc {
        tier,
        bits: match format.bits {
            Bits::Two => 2,
            Bits::Four => 4,
        },
        rows: rows as u8,
        correction: match format.zero_points {
            ZeroPoints::Middle => GroupCorrection::PerRow,
            ZeroPoints::Each => GroupCorrection::PerColumn,
        },
    }
}

/// Columns from `first` on, as far as there are any; others stay zero.
fn fill_panel(weights: &GroupwiseWeights, desc: &GroupKernelDesc, first: usize, panel: &mut [u8]) {
    let (k, n, size) = (weights.k(), weights.n(), weights.format().group_size.elements());
    let columns = first..n.min(first + GROUP_PANEL);
    let mut rest = panel;
    for g in 0..weights.groups() {
        let rows = g * size..k.min((g + 1) * size);
        let (group, next) = rest.split_at_mut(desc.group_bytes(rows.len().next_multiple_of(GROUP_CHUNK)));
        rest = next;
        let (header, packed) = group.split_at_mut(desc.header_bytes());
        for (j, column) in columns.clone().enumerate() {
            header[2 * j..][..2].copy_from_slice(&weights.scales()[g * n + column].to_le_bytes());
            if let Some(zero_points) = weights.zero_points() {
                header[2 * (GROUP_PANEL + j)..][..2]
                    .copy_from_slice(&u16::from(zero_points[g * n + column]).to_le_bytes());
            }
        }
        for (i, row) in rows.enumerate() {
            let (step, in_step) = (i / desc.step_depth(), i % desc.step_depth());
            let shift = in_step / 4 * usize::from(desc.bits);
            let bytes = packed[step * GROUP_PANEL * 4 + in_step % 4..].iter_mut().step_by(4);
            let values = &weights.values()[row * n..][columns.clone()];
            bytes.zip(values).for_each(|(byte, &q)| *byte |= q << shift);
        }
    }
}
