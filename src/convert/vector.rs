//! The conversions with AVX2 and F16C, thirty-two elements at a time, and the longest one with AVX-512. Every function
//! gives `false`, with nothing done, where the CPU lacks these.

use std::arch::x86_64::*;

use bytemuck::Pod;
use gemmill_codegen::Caches;

use super::{bf16, f16};
use crate::machine::memory::LINE;

/// Elements of a block: those of 16 bits fill a cache line.
const BLOCK: usize = 32;
/// How far ahead of the elements that are converted their successors are asked for, bytes.
///
/// MEASURED on Granite Rapids, f32 to bf16: 4 % faster without a second prefetch 8 KiB ahead, which on Emerald Rapids
/// had made it 5 % faster; 1 to 3 KiB differ by 2 %. Zen: not measured since.
const PREFETCH: usize = 2048;
/// Parts that are converted side by side where memory is the limit: the hardware's own prefetching works page by page.
///
/// MEASURED, f32 to bf16: on Emerald Rapids 17.9 GB/s with one part, 20.0 with two, 20.7 with four to twelve; on
/// Granite Rapids 14.4, 18.4, 20.1 with four, 20.7 with six, 19.7 with eight.
const PARTS: usize = 6;

/// The upper half of an f32: a bf16.
const UPPER_HALF: i32 = !0xffff;
/// The bit of an f32 by which quiet NaNs differ from signalling ones.
const QUIET: i32 = 1 << 22;

const LARGEST_F16: f32 = 65504.0;
const LARGEST_BF16: f32 = f32::from_bits(0x7f7f_0000);

fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c")
}

fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

/// Whether a destination is better written past the caches: source and destination do not fit half of the last one, of
/// which this core may well have less.
fn exceeds_caches<S, D>(src: &[S], dst: &[D]) -> bool {
    size_of_val(src) + size_of_val(dst) > Caches::of_this_cpu().l3 / 2
}

/// How many elements precede the first one at the start of a cache line.
fn elements_to_line<D>(data: &[D]) -> usize {
    (data.as_ptr() as usize).wrapping_neg() % LINE / size_of::<D>()
}

/// Brings in what lies ahead of this block, where there is anything.
#[inline(always)]
fn prefetch<S>(block: &[S; BLOCK]) {
    for line in 0..size_of_val(block) / LINE {
        let line = block.as_ptr().wrapping_byte_add(line * LINE);
        // SAFETY: a prefetch is a hint for any address, and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.wrapping_byte_add(PREFETCH).cast()) };
    }
}

/// Defines a function that converts slices with `block`, whose vectors hold its results in order.
macro_rules! driver {
    ($name:ident, $features:literal, $vector:ty, $stream:ident) => {
        #[target_feature(enable = $features)]
        #[inline]
        fn $name<S: Pod, D: Pod, const N: usize>(
            src: &[S],
            dst: &mut [D],
            block: impl Fn(&[S; BLOCK]) -> [$vector; N],
        ) {
            const { assert!(N * size_of::<$vector>() == BLOCK * size_of::<D>()) };
            let past_caches = exceeds_caches(src, dst);
            let head = if past_caches { elements_to_line(dst).min(dst.len()) } else { 0 };
            let ((src_head, src), (dst_head, dst)) = (src.split_at(head), dst.split_at_mut(head));
            let ((src, src_rest), (dst, dst_rest)) = (src.as_chunks::<BLOCK>(), dst.as_chunks_mut::<BLOCK>());
            if past_caches {
                let part = dst.len() / PARTS;
                let side_by_side = (0..part).flat_map(|i| (0..PARTS).map(move |j| j * part + i));
                for at in side_by_side.chain(part * PARTS..dst.len()) {
                    prefetch(&src[at]);
                    let place = dst[at].as_mut_ptr().cast::<$vector>();
                    for (i, vector) in block(&src[at]).into_iter().enumerate() {
                        // SAFETY: the block has as many bytes as the vectors, and begins with a cache line, as all
                        // blocks behind the head do. The fence below comes before anything else accesses it.
                        unsafe { $stream(place.add(i).cast(), vector) };
                    }
                }
                // Other threads might see these stores later than those that follow, were it not for this.
                _mm_sfence();
            } else {
                for (d, s) in dst.iter_mut().zip(src) {
                    d.copy_from_slice(bytemuck::cast_slice(&block(s)));
                }
            }
            for (s, d) in [(src_head, dst_head), (src_rest, dst_rest)] {
                let mut padded = [S::zeroed(); BLOCK];
                padded[..s.len()].copy_from_slice(s);
                d.copy_from_slice(&bytemuck::cast_slice(&block(&padded))[..s.len()]);
            }
        }
    };
}

driver!(convert, "avx2,f16c", __m256i, _mm256_stream_si256);
driver!(convert_avx512, "avx512f,avx512bw", __m512i, _mm512_stream_si512);

/// Defines a conversion of slices from one of blocks, for the features that a driver needs.
macro_rules! slices {
    ($name:ident, $from:ty => $to:ty, $driver:ident with $features:literal if $has:ident, $block:expr) => {
        pub(in crate::convert) fn $name(src: &[$from], dst: &mut [$to]) -> bool {
            #[target_feature(enable = $features)]
            fn with_features(src: &[$from], dst: &mut [$to]) {
                $driver(src, dst, $block);
            }
            if $has() {
                // SAFETY: the features that the function is compiled for have just been found.
                unsafe { with_features(src, dst) };
                return true;
            }
            false
        }
    };
}

slices!(f32_to_f16, f32 => f16, convert with "avx2,f16c" if has_avx2, |x| to_f16(x));
slices!(f32_to_f16_saturating, f32 => f16, convert with "avx2,f16c" if has_avx2, |x| to_f16(&clamp(x, LARGEST_F16)));

pub(in crate::convert) fn f16_to_f32(src: &[f16], dst: &mut [f32]) -> bool {
    avx512::f16_to_f32(src, dst) || avx2::f16_to_f32(src, dst)
}

pub(in crate::convert) fn bf16_to_f32(src: &[bf16], dst: &mut [f32]) -> bool {
    avx512::bf16_to_f32(src, dst) || avx2::bf16_to_f32(src, dst)
}

pub(in crate::convert) fn f32_to_bf16(src: &[f32], dst: &mut [bf16]) -> bool {
    avx512::f32_to_bf16(src, dst) || avx2::f32_to_bf16(src, dst)
}

pub(in crate::convert) fn f32_to_bf16_saturating(src: &[f32], dst: &mut [bf16]) -> bool {
    avx512::f32_to_bf16_saturating(src, dst) || avx2::f32_to_bf16_saturating(src, dst)
}

/// With the features that every CPU of the last ten years has.
pub(in crate::convert) mod avx2 {
    use super::*;
    slices!(f16_to_f32, f16 => f32, convert with "avx2,f16c" if has_avx2, |x| from_f16(x));
    slices!(bf16_to_f32, bf16 => f32, convert with "avx2,f16c" if has_avx2, |x| from_bf16(x));
    slices!(f32_to_bf16, f32 => bf16, convert with "avx2,f16c" if has_avx2, |x| to_bf16(x));
    slices!(
        f32_to_bf16_saturating, f32 => bf16, convert with "avx2,f16c" if has_avx2, |x| to_bf16(&clamp(x, LARGEST_BF16))
    );
}

mod avx512 {
    use super::*;
    slices!(
        f16_to_f32, f16 => f32, convert_avx512 with "avx512f,avx512bw" if has_avx512, |x| from_f16_avx512(x)
    );
    slices!(
        bf16_to_f32, bf16 => f32, convert_avx512 with "avx512f,avx512bw" if has_avx512, |x| from_bf16_avx512(x)
    );
    slices!(
        f32_to_bf16, f32 => bf16, convert_avx512 with "avx512f,avx512bw" if has_avx512, |x| to_bf16_avx512(x)
    );
    slices!(
        f32_to_bf16_saturating, f32 => bf16, convert_avx512 with "avx512f,avx512bw" if has_avx512,
        |x| to_bf16_avx512(&clamp_avx512(x, LARGEST_BF16))
    );
}

/// Limits numbers to `-largest..=largest`; `vminps` and `vmaxps` give their second operand if one is NaN.
#[target_feature(enable = "avx2,f16c")]
#[inline]
fn clamp(block: &[f32; BLOCK], largest: f32) -> [f32; BLOCK] {
    let (high, low) = (_mm256_set1_ps(largest), _mm256_set1_ps(-largest));
    let vectors: [__m256; 4] = bytemuck::cast(*block);
    bytemuck::cast(vectors.map(|x| _mm256_max_ps(low, _mm256_min_ps(high, x))))
}

/// As [`clamp`].
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn clamp_avx512(block: &[f32; BLOCK], largest: f32) -> [f32; BLOCK] {
    let (high, low) = (_mm512_set1_ps(largest), _mm512_set1_ps(-largest));
    let vectors: [__m512; 2] = bytemuck::cast(*block);
    bytemuck::cast(vectors.map(|x| _mm512_max_ps(low, _mm512_min_ps(high, x))))
}

#[target_feature(enable = "avx2,f16c")]
#[inline]
fn to_f16(block: &[f32; BLOCK]) -> [__m256i; 2] {
    let vectors: [__m256; 4] = bytemuck::cast(*block);
    bytemuck::cast(vectors.map(|x| _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x)))
}

#[target_feature(enable = "avx2,f16c")]
#[inline]
fn from_f16(block: &[f16; BLOCK]) -> [__m256i; 4] {
    let halves: [__m128i; 4] = bytemuck::cast(*block);
    halves.map(|x| _mm256_castps_si256(_mm256_cvtph_ps(x)))
}

/// Makes NaNs quiet, and their lower halves 0. They are rare: where there is none, that takes one branch.
#[target_feature(enable = "avx2,f16c")]
#[inline]
fn quiet(bits: [__m256i; 4]) -> [__m256i; 4] {
    let [a, b, c, d] = bits.map(|x| _mm256_castsi256_ps(x));
    let nan = _mm256_or_ps(_mm256_cmp_ps::<_CMP_UNORD_Q>(a, b), _mm256_cmp_ps::<_CMP_UNORD_Q>(c, d));
    if _mm256_movemask_ps(nan) == 0 {
        return bits;
    }
    bits.map(|bits| {
        let x = _mm256_castsi256_ps(bits);
        let quiet = _mm256_or_si256(_mm256_and_si256(bits, _mm256_set1_epi32(UPPER_HALF)), _mm256_set1_epi32(QUIET));
        _mm256_blendv_epi8(bits, quiet, _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(x, x)))
    })
}

/// As [`quiet`].
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn quiet_avx512(bits: [__m512i; 2]) -> [__m512i; 2] {
    let [a, b] = bits.map(|x| _mm512_castsi512_ps(x));
    if _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, b) == 0 {
        return bits;
    }
    bits.map(|bits| {
        let x = _mm512_castsi512_ps(bits);
        let quiet = _mm512_or_si512(_mm512_and_si512(bits, _mm512_set1_epi32(UPPER_HALF)), _mm512_set1_epi32(QUIET));
        _mm512_mask_mov_epi32(bits, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x), quiet)
    })
}

#[target_feature(enable = "avx2,f16c")]
#[inline]
fn to_bf16(block: &[f32; BLOCK]) -> [__m256i; 2] {
    // Rounding leaves a NaN alone whose lower half is 0.
    let bits = quiet(bytemuck::cast(*block));
    // Adding just less than a half, or a half to odd numbers, carries where rounding is upwards.
    let [a, b, c, d] = bits.map(|bits| {
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
        _mm256_srli_epi32::<16>(rounded)
    });
    // Packing interleaves the 128-bit lanes of its operands.
    [_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d)].map(|x| _mm256_permute4x64_epi64::<0b11_01_10_00>(x))
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn to_bf16_avx512(block: &[f32; BLOCK]) -> [__m512i; 1] {
    /// Every second 16-bit element of two vectors side by side, from this one on.
    const fn every_second(from: u16) -> [u16; BLOCK] {
        let mut places = [0; BLOCK];
        let mut i = 0;
        while i < BLOCK {
            places[i] = 2 * i as u16 + from;
            i += 1;
        }
        places
    }
    // Rounding leaves a NaN alone whose lower half is 0.
    let [a, b] = quiet_avx512(bytemuck::cast(*block));
    let lower = _mm512_permutex2var_epi16(a, bytemuck::cast(const { every_second(0) }), b);
    let upper = _mm512_permutex2var_epi16(a, bytemuck::cast(const { every_second(1) }), b);
    // Upwards above a half, or from a half on if the number is odd.
    let one = _mm512_set1_epi16(1);
    let last_down = _mm512_sub_epi16(_mm512_set1_epi16(i16::MIN), _mm512_and_si512(upper, one));
    let up = _mm512_cmpgt_epu16_mask(lower, last_down);
    [_mm512_mask_add_epi16(upper, up, upper, one)]
}

#[target_feature(enable = "avx2,f16c")]
#[inline]
fn from_bf16(block: &[bf16; BLOCK]) -> [__m256i; 4] {
    let zero = _mm256_setzero_si256();
    let halves: [__m256i; 2] = bytemuck::cast(*block);
    // Unpacking takes half of each 128-bit lane.
    let [a, b] = halves.map(|x| _mm256_permute4x64_epi64::<0b11_01_10_00>(x));
    let bits = [
        _mm256_unpacklo_epi16(zero, a),
        _mm256_unpackhi_epi16(zero, a),
        _mm256_unpacklo_epi16(zero, b),
        _mm256_unpackhi_epi16(zero, b),
    ];
    quiet(bits)
}

/// As [`from_f16`].
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn from_f16_avx512(block: &[f16; BLOCK]) -> [__m512i; 2] {
    let halves: [__m256i; 2] = bytemuck::cast(*block);
    halves.map(|x| _mm512_castps_si512(_mm512_cvtph_ps(x)))
}

/// As [`from_bf16`].
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn from_bf16_avx512(block: &[bf16; BLOCK]) -> [__m512i; 2] {
    let halves: [__m256i; 2] = bytemuck::cast(*block);
    quiet_avx512(halves.map(|x| _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(x))))
}
