//! The portable bodies of all families in memory of exactly the promised size: for Miri, which sees every access
//! outside of it (`cargo miri test -p gemmill-codegen --test portable`). Elsewhere operands that move about must leave
//! the same results.

#[allow(dead_code, reason = "every test binary uses a part of it")]
#[path = "common/case.rs"]
mod case;
mod common;
#[path = "common/float_case.rs"]
mod float_case;
#[path = "common/group_case.rs"]
mod group_case;

use common::{Rng, epilogues, section_sets, sizes, tiles, vary};
use gemmill_codegen::*;

/// Allocations in the place of guarded pages, which Miri does not know.
mod guarded {
    use std::alloc::{Layout, alloc_zeroed, dealloc};

    /// One argument's own allocation, of its size.
    pub struct Guarded {
        start: *mut u8,
        layout: Layout,
    }

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes.max(1), 64).expect("a size")
    }

    impl Guarded {
        pub fn new(_: usize) -> Guarded {
            // SAFETY: the size is not zero.
            Guarded { start: unsafe { alloc_zeroed(layout(0)) }, layout: layout(0) }
        }

        /// Copies `data` into a new allocation.
        pub fn put<T: Copy>(&mut self, data: &[T]) -> *mut T {
            let new = layout(size_of_val(data));
            // SAFETY: the old allocation has the old layout; the new one has room for `data`, aligned.
            unsafe {
                dealloc(self.start, self.layout);
                (self.start, self.layout) = (alloc_zeroed(new), new);
                self.start.cast::<T>().copy_from_nonoverlapping(data.as_ptr(), data.len());
            }
            self.start.cast()
        }

        /// The `len` elements of the allocation, as they are now.
        pub fn take<T: Copy>(&mut self, len: usize) -> Vec<T> {
            assert!(len * size_of::<T>() <= self.layout.size());
            // SAFETY: within the allocation, aligned, written by `put` or zero; the caller chose a plain `T`.
            unsafe { std::slice::from_raw_parts(self.start.cast(), len) }.to_vec()
        }
    }

    impl Drop for Guarded {
        fn drop(&mut self) {
            // SAFETY: the allocation has this layout.
            unsafe { dealloc(self.start, self.layout) }
        }
    }
}

/// Fewer cases where each takes long.
fn cases(count: usize) -> usize {
    if cfg!(miri) { count.div_ceil(60) } else { count }
}

#[test]
fn int8_kernels_stay_inside_their_operands() {
    let (mut rng, mut memory) = (Rng(21), case::Memory::new());
    let epilogues = epilogues();
    let tiles: Vec<_> =
        Tier::ALL.into_iter().flat_map(|tier| tiles(tier).into_iter().map(move |t| (tier, t))).collect();
    let is_small = |tile: &common::Tile| !cfg!(miri) || tile.rows * tile.vectors <= 3;
    let tiles: Vec<_> = tiles.into_iter().filter(|(_, tile)| is_small(tile)).collect();
    for i in 0..cases(600) {
        let (tier, tile) = rng.pick(&tiles);
        let sections = rng.pick(&section_sets(tier));
        let cols = rng.within(1, tile.panel_cols().into()) as u8;
        let desc = KernelDesc {
            cols: rng.pick(&[cols, tile.panel_cols()]),
            start: rng.pick(&[Start::Zero, Start::Scratch]),
            finish: Finish::Epilogue(epilogues[(i * 7) % epilogues.len()]),
            ..tile.desc(Tier::Portable, sections)
        };
        let desc = if i % 8 == 0 { KernelDesc { finish: Finish::Scratch, ..desc } } else { desc };
        let shape = case::Shape {
            fill: case::Fill::Random,
            activation_max: 255,
            tiles: rng.pick(sizes(&[1, 2, 3], 2)),
            width: rng.pick(sizes(&[1, 2, 3], 2)),
            blocks: rng.pick(&[1, 2]),
            bundles: sizes(&[0, 1, 2], 2),
        };
        let case = case::Case::new(vary(desc, &mut rng), shape, &mut rng);
        let kernel = Kernel::generate(&case.desc).unwrap();
        let [first, second] = [(); 2].map(|()| case.run(&kernel, &mut memory));
        assert_eq!(first, second, "{}", case.desc);
        for (at, (&was, &is)) in case.c_before().iter().zip(&first.c).enumerate() {
            assert!(was == is || case.place_in_c(at).is_some(), "{}: written outside C, byte {at}", case.desc);
        }
    }
}

#[test]
fn float_kernels_stay_inside_their_operands() {
    let (mut rng, mut memory) = (Rng(22), float_case::Memory::new());
    for i in 0..cases(600) {
        let most_rows = if i % 3 == 1 || cfg!(miri) { 2 } else { 6 };
        let (rows, vectors) = (1 + rng.below(most_rows), rng.pick(sizes(&[2, 2, 4, 8], 2)));
        let rows =
            float_tiles(Tier::Portable).iter().rev().find(|t| vectors <= t.vectors).map_or(1, |t| rows.min(t.rows));
        let case = match i % 4 {
            0 => float_case::Case::random_dot(Tier::Portable, rng.pick(&HardwareDot::ALL), rows, vectors, &mut rng),
            1 | 2 => float_case::Case::random_groups(Tier::Portable, rows, vectors, &mut rng),
            _ => float_case::Case::random(Tier::Portable, rows, vectors, &mut rng),
        };
        let [first, second] = [(); 2].map(|()| case.run(Tier::Portable, &mut memory));
        let name = case.name();
        assert!(first.c == second.c && first.scratch == second.scratch, "{name}");
        let row_bytes = case.c_row_stride * case.desc.c.bytes();
        for (at, (was, is)) in case.c.iter().zip(&first.c).enumerate() {
            let inside = at % row_bytes < case.cols() * case.desc.c.bytes();
            assert!(was == is || inside, "{name}: written outside C, byte {at}");
        }
    }
}

#[test]
fn group_kernels_stay_inside_their_operands() {
    let mut rng = Rng(23);
    let mut memory = std::array::from_fn(|_| guarded::Guarded::new(0));
    for _ in 0..cases(300) {
        let layout = GroupLayout {
            bits: rng.pick(&[2, 4]),
            zero_points: rng.pick(&[GroupZeroPoints::Middle, GroupZeroPoints::PerColumn]),
        };
        let rows = 1 + rng.below(if cfg!(miri) { 2 } else { 12 }) as u8;
        let desc = GroupKernelDesc { tier: Tier::Portable, layout, rows, prefetch: Prefetch::None };
        let case = group_case::Case::random(desc, &mut rng);
        if cfg!(miri) && case.chunks.iter().sum::<u32>() > 3 {
            continue;
        }
        let [first, second] = [(); 2].map(|()| case.run(Tier::Portable, &mut memory));
        assert_eq!(first, second, "{desc}");
    }
}
