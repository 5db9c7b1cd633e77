//! The conversions with AVX2 and F16C, sixteen elements at a time. Every function gives `false`, with nothing done, where
//! the CPU lacks these.

use std::arch::x86_64::*;

use bytemuck::Pod;
use gemmill_codegen::Caches;

use super::{bf16, f16};

/// Elements of a block.
const BLOCK: usize = 16;
/// Bytes of a vector.
const VECTOR: usize = size_of::<__m256i>();

fn available() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c")
}

/// A conversion of slices from one of blocks.
macro_rules! slices {
    ($name:ident, $from:ty => $to:ty, $block:expr) => {
        pub(super) fn $name(src: &[$from], dst: &mut [$to]) -> bool {
            #[target_feature(enable = "avx2,f16c")]
            fn with_avx2(src: &[$from], dst: &mut [$to]) {
                convert(src, dst, |block| $block(block));
            }
            if available() {
                // SAFETY: the features that the function is compiled for have just been found.
                unsafe { with_avx2(src, dst) };
                return true;
            }
            false
        }
    };
}

slices!(f32_to_f16, f32 => f16, block_to_f16);
slices!(f32_to_f16_saturating, f32 => f16, |x| block_to_f16(&clamp(x, 65504.0)));
slices!(f16_to_f32, f16 => f32, block_from_f16);
slices!(f32_to_bf16, f32 => bf16, block_to_bf16);
slices!(f32_to_bf16_saturating, f32 => bf16, |x| block_to_bf16(&clamp(x, f32::from_bits(0x7f7f_0000))));
slices!(bf16_to_f32, bf16 => f32, block_from_bf16);

/// Converts with `block`, whose vectors hold its results in order.
#[target_feature(enable = "avx2,f16c")]
#[inline]
fn convert<S: Pod, D: Pod, const N: usize>(src: &[S], dst: &mut [D], block: impl Fn(&[S; BLOCK]) -> [__m256i; N]) {
    const { assert!(N * VECTOR == BLOCK * size_of::<D>()) };
    let some = |src: &[S], dst: &mut [D]| {
        let mut padded = [S::zeroed(); BLOCK];
        padded[..src.len()].copy_from_slice(src);
        dst.copy_from_slice(&bytemuck::cast_slice(&block(&padded))[..src.len()]);
    };
    let past_caches = size_of_val(src) + size_of_val(dst) > Caches::of_this_cpu().l3;
    let head = if past_caches { elements_to_alignment(dst).min(dst.len()) } else { 0 };
    let ((src_head, src), (dst_head, dst)) = (src.split_at(head), dst.split_at_mut(head));
    some(src_head, dst_head);
    let ((src, src_rest), (dst, dst_rest)) = (src.as_chunks::<BLOCK>(), dst.as_chunks_mut::<BLOCK>());
    if past_caches {
        for (d, s) in dst.iter_mut().zip(src) {
            store_past_caches(d, block(s));
        }
        // Other threads may see streamed stores later than plain ones that follow, were it not for this.
        _mm_sfence();
    } else {
        for (d, s) in dst.iter_mut().zip(src) {
            d.copy_from_slice(bytemuck::cast_slice(&block(s)));
        }
    }
    some(src_rest, dst_rest);
}

/// How many elements precede the first one at a multiple of a vector's bytes.
fn elements_to_alignment<D>(data: &[D]) -> usize {
    (data.as_ptr() as usize).wrapping_neg() % VECTOR / size_of::<D>()
}

/// Writes a block that begins at a multiple of a vector's bytes without bringing it into the caches.
#[target_feature(enable = "avx2,f16c")]
#[inline]
fn store_past_caches<D: Pod, const N: usize>(dst: &mut [D; BLOCK], vectors: [__m256i; N]) {
    let place = dst.as_mut_ptr().cast::<__m256i>();
    debug_assert!(place.is_aligned());
    for (i, vector) in vectors.into_iter().enumerate() {
        // SAFETY: the block has as many bytes as the vectors, and `convert`, the only caller, begins at a multiple of a
        // vector's bytes. It ends with a fence, before anything else accesses the block.
        unsafe { _mm256_stream_si256(place.add(i), vector) };
    }
}

/// Limits numbers to `-largest..=largest`; `vminps` and `vmaxps` give their second operand if one is NaN.
#[target_feature(enable = "avx2,f16c")]
#[inline]
fn clamp(block: &[f32; BLOCK], largest: f32) -> [f32; BLOCK] {
    let (high, low) = (_mm256_set1_ps(largest), _mm256_set1_ps(-largest));
    bytemuck::cast(vectors(block).map(|x| _mm256_max_ps(low, _mm256_min_ps(high, x))))
}

#[target_feature(enable = "avx2,f16c")]
#[inline]
fn vectors(block: &[f32; BLOCK]) -> [__m256; 2] {
    bytemuck::cast(*block)
}

#[target_feature(enable = "avx2,f16c")]
#[inline]
fn block_to_f16(block: &[f32; BLOCK]) -> [__m256i; 1] {
    bytemuck::cast(vectors(block).map(|x| _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x)))
}

#[target_feature(enable = "avx2,f16c")]
#[inline]
fn block_from_f16(block: &[f16; BLOCK]) -> [__m256i; 2] {
    let halves: [__m128i; 2] = bytemuck::cast(*block);
    halves.map(|x| _mm256_castps_si256(_mm256_cvtph_ps(x)))
}

#[target_feature(enable = "avx2,f16c")]
#[inline]
fn block_to_bf16(block: &[f32; BLOCK]) -> [__m256i; 1] {
    // Adding just less than a half, or a half to odd numbers, carries where rounding is upwards. It would turn NaNs into
    // infinities.
    let upper = vectors(block).map(|x| {
        let bits = _mm256_castps_si256(x);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(1 << 22));
        let is_nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(x, x);
        let result = _mm256_blendv_ps(_mm256_castsi256_ps(rounded), _mm256_castsi256_ps(quiet), is_nan);
        _mm256_srli_epi32::<16>(_mm256_castps_si256(result))
    });
    // Packing interleaves the 128-bit lanes of its operands.
    [_mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(upper[0], upper[1]))]
}

#[target_feature(enable = "avx2,f16c")]
#[inline]
fn block_from_bf16(block: &[bf16; BLOCK]) -> [__m256i; 2] {
    let halves: [__m128i; 2] = bytemuck::cast(*block);
    halves.map(|x| {
        let bits = _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(x));
        let x = _mm256_castsi256_ps(bits);
        let is_nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(x, x));
        _mm256_or_si256(bits, _mm256_and_si256(is_nan, _mm256_set1_epi32(1 << 22)))
    })
}
