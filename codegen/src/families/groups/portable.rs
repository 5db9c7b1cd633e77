//! The groupwise family in plain Rust: the portable tier, and the oracle of the generated kernels.

use half::bf16;

use super::desc::{GROUP_CHUNK, GROUP_PANEL, GroupKernelArgs, GroupKernelDesc, GroupZeroPoints};

/// Runs the kernel that `desc` describes.
///
/// # Safety
/// As [`crate::Kernel::run`].
pub(super) unsafe fn run(desc: &GroupKernelDesc, args: &mut GroupKernelArgs) {
    let rows = usize::from(desc.rows);
    for _ in 0..args.tiles {
        let (mut b, mut k) = (args.b, 0);
        for g in 0..args.groups {
            // SAFETY: the caller provides the chunks of every group.
            let depth = unsafe { *args.chunks.add(g) } as usize * GROUP_CHUNK;
            for row in 0..rows {
                let a = args.a.wrapping_add(row * args.a_row_stride + k);
                // SAFETY: the caller provides all chunks of all rows, a term for each group and row, and the sums.
                unsafe {
                    let term = args.terms.add(g * rows + row).read();
                    let sums = std::slice::from_raw_parts_mut(args.sums.add(row * GROUP_PANEL), GROUP_PANEL);
                    add_group(desc, std::slice::from_raw_parts(a, depth), b, term, sums);
                }
            }
            k += depth;
            b = b.wrapping_add(desc.layout.group_bytes(depth));
        }
        args.a = args.a.wrapping_add(rows * args.a_row_stride);
        args.terms = args.terms.wrapping_add(rows * args.groups);
        args.sums = args.sums.wrapping_add(rows * GROUP_PANEL);
    }
}

/// Adds one group of one row.
///
/// # Safety
/// `group` is a packed group of `a.len()` k.
unsafe fn add_group(desc: &GroupKernelDesc, a: &[i8], group: *const u8, term: i32, sums: &mut [f32]) {
    // SAFETY: the caller's promise.
    let group = unsafe { std::slice::from_raw_parts(group, desc.layout.group_bytes(a.len())) };
    let half = |at: usize| u16::from_le_bytes([group[at], group[at + 1]]);
    let weights = &group[desc.layout.header_bytes()..];
    let mask = (1u8 << desc.layout.bits) - 1;
    for (j, sum) in sums.iter_mut().enumerate() {
        let mut s = match desc.layout.zero_points {
            GroupZeroPoints::Middle => term,
            GroupZeroPoints::PerColumn => term.wrapping_mul(half(2 * (GROUP_PANEL + j)).into()),
        };
        for (k, &x) in a.iter().enumerate() {
            let (step, within) = (k / desc.layout.step_depth(), k % desc.layout.step_depth());
            let byte = weights[(step * GROUP_PANEL + j) * 4 + within % 4];
            let q = byte >> (within / 4 * usize::from(desc.layout.bits)) & mask;
            s = s.wrapping_add(i32::from(x) * i32::from(q));
        }
        *sum = (s as f32).mul_add(bf16::from_bits(half(2 * j)).to_f32(), *sum);
    }
}
