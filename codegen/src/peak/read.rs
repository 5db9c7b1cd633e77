//! What one core reads a second: memory as packed weights have it, and loops that do nothing but load it.
//!
//! No single loop is the limit everywhere. Hardware prefetchers follow one or several streams, and stop at pages;
//! software prefetches help from memory and cost in caches. So all [`ReadPattern`]s of a tier are tried, and the
//! fastest counts.

use std::hint::black_box;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::machine::tier::Tier;

/// How memory is gone through.
///
/// # Examples
/// ```
/// use gemmill_codegen::{Tier, peak::{ReadBuffer, ReadPattern}};
/// let buffer = ReadBuffer::new(10_000);
/// for pattern in ReadPattern::of(Tier::Avx2) {
///     assert!(buffer.read(pattern, 0..buffer.len()) <= buffer.len());
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadPattern {
    /// Pieces of the memory that are read side by side.
    streams: usize,
    /// What is asked for ahead of it.
    prefetch: Prefetch,
    width: Width,
}

/// Software prefetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prefetch {
    None,
    /// Into the first level, so many bytes ahead.
    First(usize),
    /// Into the second level.
    Second(usize),
}

/// What is loaded at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    /// Whatever the compiler makes of plain Rust.
    Plain,
    #[cfg(target_arch = "x86_64")]
    Bits256,
    #[cfg(target_arch = "x86_64")]
    Bits512,
}

const STREAMS: [usize; 4] = [1, 2, 4, 8];
/// The distances of the kernels among them.
const PREFETCHES: [Prefetch; 7] = [
    Prefetch::None,
    Prefetch::First(512),
    Prefetch::First(1024),
    Prefetch::First(3072),
    Prefetch::First(4096),
    Prefetch::Second(4096),
    Prefetch::Second(8192),
];

impl ReadPattern {
    /// All patterns with the vectors of a tier, or with narrower ones; those that this CPU lacks are left out.
    pub fn of(tier: Tier) -> Vec<ReadPattern> {
        let mut all = Vec::new();
        for width in widths(tier) {
            let plain = width == Width::Plain;
            for streams in STREAMS {
                let prefetches = if plain { &PREFETCHES[..1] } else { &PREFETCHES };
                all.extend(prefetches.iter().map(|&prefetch| ReadPattern { streams, prefetch, width }));
            }
        }
        all
    }
}

/// Widths of vectors of a tier that this CPU has.
fn widths(tier: Tier) -> Vec<Width> {
    #[cfg(target_arch = "x86_64")]
    {
        let mut widths = Vec::new();
        if std::arch::is_x86_feature_detected!("avx2") {
            widths.push(Width::Bits256);
        }
        if tier.facts().lanes == 16 && std::arch::is_x86_feature_detected!("avx512f") {
            widths.push(Width::Bits512);
        }
        if !widths.is_empty() {
            return widths;
        }
    }
    let _ = tier;
    vec![Width::Plain]
}

/// Memory to read: as packed weights have it, on large pages from 2 MiB on where the system has them.
#[derive(Debug)]
pub struct ReadBuffer {
    memory: Memory,
    len: usize,
}

/// What all streams of all patterns divide.
const UNIT: usize = 4096;
/// Bytes of a stream that are read before the next stream's.
const STEP: usize = 128;

impl ReadBuffer {
    /// At least `bytes`, none of them zero.
    pub fn new(bytes: usize) -> ReadBuffer {
        let len = bytes.max(1).next_multiple_of(UNIT);
        let mut memory = Memory::new(len);
        // Memory that was never written may be one page of zeros, whatever its size.
        memory.bytes_mut().fill(0x5a);
        ReadBuffer { memory, len }
    }

    /// Bytes.
    #[allow(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Reads a range of it, as far as it goes, and gives the bytes that were loaded: less than all only in ranges that
    /// 1024 does not divide. The example of [`ReadPattern`] does.
    pub fn read(&self, pattern: ReadPattern, range: Range<usize>) -> usize {
        let bytes = self.memory.bytes();
        let bytes = &bytes[range.start.min(self.len)..range.end.min(self.len).max(range.start.min(self.len))];
        let streams = pattern.streams.max(1);
        let each = bytes.len() / streams / STEP * STEP;
        match pattern.width {
            Width::Plain => (0..streams).for_each(|s| plain(&bytes[s * each..][..each])),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `widths` gives these where the CPU has their features alone, and nobody else makes patterns.
            Width::Bits256 => unsafe { x86::by_streams_256(bytes, pattern) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Width::Bits512 => unsafe { x86::by_streams_512(bytes, pattern) },
        }
        each * streams
    }

    /// Bytes a second of the fastest pattern of a tier, in about `seconds`.
    ///
    /// Patterns are tried on pieces, the fastest two then on all of it, again and again.
    ///
    /// # Examples
    /// ```
    /// use gemmill_codegen::{Tier, peak::ReadBuffer};
    /// assert!(ReadBuffer::new(16 << 10).bytes_per_second(Tier::Avx2, 0.001) > 0.0);
    /// ```
    pub fn bytes_per_second(&self, tier: Tier, seconds: f64) -> f64 {
        let patterns = ReadPattern::of(tier);
        let piece = self.len.min(PIECE);
        let share = Duration::from_secs_f64(seconds.max(0.0) / 2.0 / patterns.len() as f64);
        let mut place = 0;
        let mut speeds: Vec<(f64, ReadPattern)> = patterns
            .iter()
            .map(|&pattern| {
                let speed = best_of(share, 1, || {
                    // The next piece each time, so that what comes from memory is not in a cache.
                    place = if place + 2 * piece <= self.len { place + piece } else { 0 };
                    self.read(pattern, place..place + piece)
                });
                (speed, pattern)
            })
            .collect();
        speeds.sort_by(|a, b| b.0.total_cmp(&a.0));
        // Pieces of a larger buffer say how patterns compare, not how long the whole takes.
        let tried = if piece == self.len { speeds[0].0 } else { 0.0 };
        let whole = Duration::from_secs_f64(seconds.max(0.0) / 4.0);
        let finalists =
            speeds.iter().take(2).map(|&(_, pattern)| best_of(whole, 2, || self.read(pattern, 0..self.len)));
        finalists.fold(tried, f64::max)
    }
}

/// What patterns are tried on: more than a second-level cache.
const PIECE: usize = 8 << 20;
/// What the clock resolves well.
const SAMPLE: Duration = Duration::from_micros(20);

/// Bytes a second of the fastest of many samples.
fn best_of(time: Duration, least: usize, mut read: impl FnMut() -> usize) -> f64 {
    read();
    let mut calls = 1u32;
    let (start, mut best, mut samples) = (Instant::now(), 0f64, 0);
    while samples < least || start.elapsed() < time {
        let sample = Instant::now();
        let bytes: usize = (0..calls).map(|_| read()).sum();
        let elapsed = sample.elapsed();
        if elapsed < SAMPLE && calls < 1 << 20 {
            calls *= 2;
            continue;
        }
        best = best.max(bytes as f64 / elapsed.as_secs_f64());
        samples += 1;
    }
    best
}

fn plain(bytes: &[u8]) {
    crate::vectorize(|| {
        let mut lanes = [0u8; STEP];
        for chunk in bytes.as_chunks::<STEP>().0 {
            lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane ^= x);
        }
        black_box(lanes);
    });
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _MM_HINT_T0, _MM_HINT_T1, _mm_prefetch, _mm256_loadu_si256, _mm256_setzero_si256, _mm256_xor_si256,
        _mm512_loadu_si512, _mm512_setzero_si512, _mm512_xor_si512,
    };
    use std::hint::black_box;

    use super::{Prefetch, ReadPattern, STEP};

    const NONE: u8 = 0;
    const FIRST: u8 = 1;
    const SECOND: u8 = 2;

    /// Loops with one kind of vector: by number of streams, then by prefetch, then the loop itself.
    macro_rules! loops {
        (
            $by_streams:ident, $by_prefetch:ident, $read:ident,
            $features:literal, $zero:ident, $load:ident, $xor:ident
        ) => {
            #[target_feature(enable = $features)]
            pub(super) fn $by_streams(bytes: &[u8], pattern: ReadPattern) {
                match pattern.streams {
                    1 => $by_prefetch::<1>(bytes, pattern.prefetch),
                    2 => $by_prefetch::<2>(bytes, pattern.prefetch),
                    4 => $by_prefetch::<4>(bytes, pattern.prefetch),
                    _ => $by_prefetch::<8>(bytes, pattern.prefetch),
                }
            }

            #[target_feature(enable = $features)]
            fn $by_prefetch<const STREAMS: usize>(bytes: &[u8], prefetch: Prefetch) {
                match prefetch {
                    Prefetch::None => $read::<STREAMS, NONE>(bytes, 0),
                    Prefetch::First(ahead) => $read::<STREAMS, FIRST>(bytes, ahead),
                    Prefetch::Second(ahead) => $read::<STREAMS, SECOND>(bytes, ahead),
                }
            }

            #[target_feature(enable = $features)]
            fn $read<const STREAMS: usize, const PREFETCH: u8>(bytes: &[u8], ahead: usize) {
                let each = bytes.len() / STREAMS / STEP * STEP;
                let streams: [&[u8]; STREAMS] = std::array::from_fn(|s| &bytes[s * each..][..each]);
                // Several, so that loads and not their sums are the limit.
                let mut sums = [$zero(); 8];
                let vector = size_of_val(&sums[0]);
                for at in (0..each).step_by(STEP) {
                    for (s, stream) in streams.iter().enumerate() {
                        let place = stream.as_ptr().wrapping_add(at);
                        for line in (0..STEP).step_by(64) {
                            let to = place.wrapping_add(ahead + line).cast();
                            // A hint, for any address: also beyond the end.
                            match PREFETCH {
                                FIRST => _mm_prefetch::<_MM_HINT_T0>(to),
                                SECOND => _mm_prefetch::<_MM_HINT_T1>(to),
                                _ => {}
                            }
                        }
                        for v in 0..STEP / vector {
                            // SAFETY: `at` is a multiple of STEP below `each`, which is one: these STEP bytes are the
                            // stream's.
                            let loaded = unsafe { $load(place.add(v * vector).cast()) };
                            let sum = &mut sums[(s * (STEP / vector) + v) % 8];
                            *sum = $xor(*sum, loaded);
                        }
                    }
                }
                black_box(sums);
            }
        };
    }

    loops!(
        by_streams_256,
        by_prefetch_256,
        read_256,
        "avx2",
        _mm256_setzero_si256,
        _mm256_loadu_si256,
        _mm256_xor_si256
    );
    loops!(
        by_streams_512,
        by_prefetch_512,
        read_512,
        "avx512f",
        _mm512_setzero_si512,
        _mm512_loadu_si512,
        _mm512_xor_si512
    );
}

#[derive(Debug)]
enum Memory {
    Heap(Vec<u8>),
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Pages {
        mapping: memmap2::MmapMut,
        range: Range<usize>,
    },
}

impl Memory {
    fn new(len: usize) -> Memory {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        {
            const LARGE: usize = 2 << 20;
            if len >= LARGE
                && let Some(total) = len.checked_add(LARGE)
                && let Ok(mapping) = memmap2::MmapOptions::new().len(total).map_anon()
            {
                // A hint: where the system has no large pages, ordinary ones do.
                let _ = mapping.advise(memmap2::Advice::HugePage);
                let address = mapping.as_ptr() as usize;
                let start = address.next_multiple_of(LARGE) - address;
                return Memory::Pages { mapping, range: start..start + len };
            }
        }
        Memory::Heap(vec![0; len])
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Memory::Heap(bytes) => bytes,
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Memory::Pages { mapping, range } => &mapping[range.clone()],
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Memory::Heap(bytes) => bytes,
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Memory::Pages { mapping, range } => &mut mapping[range.clone()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_reads_all_of_it() {
        for bytes in [0, 1, 4096, 100_000, (2 << 20) + 1] {
            let buffer = ReadBuffer::new(bytes);
            assert!(buffer.len() >= bytes && buffer.memory.bytes().iter().all(|&b| b == 0x5a));
            for tier in Tier::ALL {
                let patterns = ReadPattern::of(tier);
                assert!(!patterns.is_empty());
                for pattern in patterns {
                    assert_eq!(buffer.read(pattern, 0..buffer.len()), buffer.len(), "{pattern:?}");
                    assert_eq!(buffer.read(pattern, 1024..usize::MAX), buffer.len() - 1024, "{pattern:?}");
                    let odd = buffer.read(pattern, 3..3000);
                    assert!((1024..=2997).contains(&odd), "{pattern:?} {odd}");
                    assert_eq!(buffer.read(pattern, usize::MAX..usize::MAX), 0);
                }
            }
        }
    }

    #[test]
    fn reading_has_a_speed() {
        for bytes in [16 << 10, 20 << 20] {
            let speed = ReadBuffer::new(bytes).bytes_per_second(Tier::Avx2, 0.0);
            assert!(speed > 0.0 && speed.is_finite());
        }
    }
}
