//! What was measured of cores and decides how kernels of all families are built: no result depends on it. The sizes of
//! micro-tiles, some of them measured too, stand in each family's `registry`.

use crate::families::float::dot::HardwareDot;
use crate::machine::host::Core;

/// Whether hardware dot products of bf16 are faster than multiply-adds of f32.
pub(crate) fn hardware_dot_pays(dot: HardwareDot, core: Core) -> bool {
    match (dot, core) {
        // MEASURED on Sapphire Rapids: 0.6 times as fast at 16 × 1024 × 1024; half at its peak in registers.
        (HardwareDot::Avx512Bf16, Core::Intel) => false,
        // MEASURED on Zen 4: its peak is twice that of AVX2's multiply-adds.
        (HardwareDot::Avx512Bf16, Core::Zen) => true,
        // MEASURED on Sapphire Rapids: seven times as fast at 16 × 1024 × 1024; for one row a prototype was as fast.
        (HardwareDot::AmxBf16, _) => true,
    }
}

/// How far ahead of what is multiplied kernels of the float family prefetch, in each panel: less than a small page,
/// where the hardware's prefetchers stop. MEASURED on Granite Rapids, f16 and bf16 from memory: 3 KiB is up to 1.1
/// times as fast as 4, and 2 KiB is as fast as 4. A line now and then further ahead, into the second-level cache, cost
/// up to 7 %; on Emerald Rapids, at 4 KiB, it had gained as much. Zen: not measured.
pub const FLOAT_PREFETCH: usize = 3072;

/// Least fused multiply-adds of an iteration of the float family's main loop, within [`FLOAT_UNROLL`]: enough that the
/// loop's own instructions, some of which take a multiplier's port, hardly count. MEASURED on Emerald Rapids at 6 × 2
/// vectors: 8 steps make 1024³ 3 to 5 % faster than 2; 16 are no better.
#[cfg(target_arch = "x86_64")]
pub(crate) const FLOAT_UNROLLED_PRODUCTS: usize = 96;
/// Least and most steps of such an iteration.
#[cfg(target_arch = "x86_64")]
pub(crate) const FLOAT_UNROLL: [usize; 2] = [4, 8];

/// Most chains of fused multiply-adds with which a step over f16 weights has all its operands in registers before it
/// multiplies: with no more than the multipliers' latency asks for, a late operand holds them up. MEASURED on Emerald
/// Rapids, 4 rows × 2 vectors on AVX2: f16 3 % faster, which is then at the bound of its ports; f32 no change; bf16 1
/// to 2 % slower.
#[cfg(target_arch = "x86_64")]
pub(crate) const FEW_CHAINS: usize = 8;

/// How far ahead weights of few bits are prefetched where they become f32, into the second-level cache. MEASURED on
/// Emerald Rapids, one row from memory: with `avx512` 15 % faster than half as far ahead into the first-level one, with
/// `avx2` no change.
#[cfg(target_arch = "x86_64")]
pub(crate) const FEW_BITS_PREFETCH: usize = 8192;

/// How far ahead the int8 family's offsets are prefetched: each line of them stands for 2 to 16 KiB of weights, which
/// is too rare for the CPU's own prefetcher. MEASURED on Emerald Rapids at four rows: without it a line stalls as long
/// as memory takes.
#[cfg(target_arch = "x86_64")]
pub(crate) const OFFSETS_AHEAD: usize = 4 * crate::x86::asm::LINE_BYTES;

/// Products of an iteration of the int8 family's main loops, enough that the loop's own instructions do
/// not count.
#[cfg(target_arch = "x86_64")]
pub(crate) const INT8_UNROLLED_PRODUCTS: usize = 16;
/// Most units of such an iteration.
#[cfg(target_arch = "x86_64")]
pub(crate) const INT8_UNROLL: usize = 8;

/// Chains of 32-bit dot products that keep two ports busy for a latency of five cycles.
#[cfg(target_arch = "x86_64")]
pub(crate) const DOT_CHAINS: usize = 10;

/// Vectors of sums that pass the epilogue together between the products of a [grid](crate::frame::grid): narrowing to
/// bytes takes four at once.
#[cfg(target_arch = "x86_64")]
pub(crate) const GRID_EPILOGUE_VECTORS: usize = 4;

/// Steps of 32 rows of A that stay in the first-level cache while weights pass by; later ones are loaded as if they
/// passed too. MEASURED in a prototype on Sapphire Rapids (48 KiB), K = 2048: with 32 KiB that stay a step takes 70.5
/// cycles, with all of A 86 to 93.
#[cfg(target_arch = "x86_64")]
pub(crate) const GRID_STEPS_KEPT: usize = 16;

/// Micro-tiles from the one whose rows a [grid](crate::frame::grid) stores to the one whose lines of C it prefetches,
/// where operands exceed the second-level cache.
#[cfg(target_arch = "x86_64")]
pub(crate) const GRID_MICRO_TILES_AHEAD: usize = 4;
