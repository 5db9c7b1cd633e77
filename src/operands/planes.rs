//! Activations as kernels of 8-bit integers read them where these cannot read them where they lie: planes.
//!
//! [`step`](crate::weights::int8::step) draws them.

use gemmill_codegen::{Byte, KR, Layout};

use crate::weights::int8::step::{Block, Plane, Planes};

/// Writes one group's part of a row, block by block and plane by plane.
#[inline(always)]
pub(crate) fn write_planes(natural: &[u8], blocks: &[Block], planes: Planes, layout: Layout, out: &mut [u8]) {
    let depth = layout.step_depth();
    let mut out = out;
    for block in blocks {
        let elements = &natural[block.start..][..block.len];
        for plane in planes.iter() {
            let (this, rest) = out.split_at_mut(block.plane_bytes(depth));
            write_plane(elements, plane, depth, this);
            out = rest;
        }
    }
}

#[inline(always)]
fn write_plane(elements: &[u8], plane: Plane, depth: usize, out: &mut [u8]) {
    if plane == Plane::Natural || elements.len() < depth {
        let (copy, padding) = out.split_at_mut(elements.len());
        copy.copy_from_slice(elements);
        padding.fill(0);
        if plane != Plane::Natural {
            arrange_in_place(out, plane);
        }
        return;
    }
    let whole = elements.len() / depth * depth;
    arrange(&elements[..whole], plane, &mut out[..whole]);
    if whole < elements.len() {
        arrange(&elements[elements.len() - depth..], plane, &mut out[whole..]);
    }
}

#[inline(always)]
fn arrange(elements: &[u8], plane: Plane, out: &mut [u8]) {
    match plane {
        Plane::Natural => out.copy_from_slice(elements),
        Plane::Cross => each_quad(elements, out, |x| x & 0xff00_00ff | x >> 8 & 0xff00 | x << 8 & 0xff_0000),
        Plane::Outer => each_quad(elements, out, |x| x & 0xff | x >> 16 & 0xff00 | x << 8 & 0xffff_0000),
        Plane::Even => each_quad(elements, out, |x| x & 0x00ff_00ff),
        Plane::Odd => each_quad(elements, out, |x| x >> 8 & 0x00ff_00ff),
    }
}

#[inline(always)]
fn each_quad(elements: &[u8], out: &mut [u8], f: impl Fn(u32) -> u32) {
    let (quads, _) = elements.as_chunks::<KR>();
    let (out, _) = out.as_chunks_mut::<KR>();
    for (quad, out) in quads.iter().zip(out) {
        *out = f(u32::from_le_bytes(*quad)).to_le_bytes();
    }
}

/// A step shorter than the layout's: rare, and at most 63 elements.
fn arrange_in_place(out: &mut [u8], plane: Plane) {
    for quad in out.chunks_exact_mut(KR) {
        let copy = [quad[0], quad[1], quad[2], quad[3]];
        arrange(&copy, plane, quad);
    }
}

/// Sum of a row's elements, modulo 2^32.
#[inline(always)]
pub(crate) fn row_sum(elements: &[u8], activations: Byte) -> i32 {
    match activations {
        Byte::U8 => elements.iter().fold(0, |sum: i32, &x| sum.wrapping_add(x.into())),
        Byte::I8 => elements.iter().fold(0, |sum: i32, &x| sum.wrapping_add((x as i8).into())),
    }
}
