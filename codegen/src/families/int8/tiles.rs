//! The int8 family on [tiles]: sums stay in tile registers while the main loops run, then pass through scratch memory
//! to the epilogue, which works on vectors as everywhere. Tiles of weights are 16 quads of k × 16 columns.
//!
//! [tiles]: crate::frame::tiles

use super::builder::{Builder, role};
use super::epilogue;
use crate::families::int8::desc::{Finish, KernelDesc, Layout, Section, Start};
use crate::x86::lowering::{Lowering, TileOp};
use crate::x86::tiles::ROW_BYTES;

/// The beginning of a micro-tile: strides, and sums at zero or what an earlier block left.
pub(super) fn start<L: Lowering>(b: &mut Builder<L>) {
    match b.desc.start {
        Start::Zero => b.zero_tiles(),
        Start::Scratch => b.load_tiles(),
    }
    b.load_tile_strides(ROW_BYTES);
}

/// The products of a bundle, the `index`-th from where the pointers stand; row 0 is at the first of the steps'
/// registers.
pub(super) fn products<L: Lowering>(b: &mut Builder<L>, section: Section, index: usize) {
    let (layout, vectors, activations) = (b.desc.layout, b.vectors(), b.desc.activations);
    let place_of_b = |step, vector| ((index * section.vectors() + step) * vectors + vector) * layout.vector_bytes();
    let dot = |sums, a, b| TileOp::Dot { sums, a, b, activations };
    b.multiply_tiles((role::STEPS[0], layout.step_depth()), (role::B, place_of_b), section.steps(), dot);
}

/// The end of a micro-tile: sums go to scratch memory, from where the epilogue takes them some rows at a time.
pub(super) fn finish<L: Lowering>(b: &mut Builder<L>) {
    b.store_tiles();
    let Finish::Epilogue(epilogue) = b.desc.finish else { return };
    // To the epilogue, kernels of vectors that resume from scratch memory.
    let of_rows = |whole, rows| KernelDesc { layout: Layout::Columns16, rows, start: Start::Scratch, ..whole };
    b.in_vectors(of_rows, |b, place| {
        b.load_accs(place);
        epilogue::stages(b, epilogue);
    });
}
