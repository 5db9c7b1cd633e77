//! Quads: four elements of a column side by side, as kernels multiply them. Columns or rows of bytes become rows of
//! quads here, and rows of quads sums of columns, fast enough for weights that are multiplied only once.
//!
//! ```text
//! columns:  a0 a1 a2 a3 a4 ...        rows:  a0 b0 ...        rows of quads:  a0 a1 a2 a3  b0 b1 b2 b3 ...
//!           b0 b1 b2 b3 b4 ...               a1 b1 ...                        a4 a5 a6 a7  b4 b5 b6 b7 ...
//! ```

use crate::families::int8::desc::KR;

/// Columns that [`interleave_quads`] takes: a cache line of quads.
pub const QUAD_COLUMNS: usize = 16;

/// Bytes of a row of quads.
const ROW: usize = QUAD_COLUMNS * KR;

/// Where rows of quads are written: row `q` begins at byte `q * pitch`.
///
/// # Examples
/// ```
/// let mut bytes = [0; 24];
/// let rows = gemmill_codegen::QuadRows { bytes: &mut bytes, pitch: 12, count: 2 };
/// assert_eq!(rows.bytes.len(), rows.pitch * rows.count);
/// ```
#[derive(Debug)]
pub struct QuadRows<'a> {
    /// All of them.
    pub bytes: &'a mut [u8],
    /// From the first byte of a row to that of the next.
    pub pitch: usize,
    /// Most rows that are written.
    pub count: usize,
}

/// `rows[q][4 * j + i] = columns[j][4 * q + i] ^ flip` for `i` in `0..4` and every `q` for which all columns have a
/// whole quad and `rows` has room. Gives the number of rows that were written.
///
/// # Examples
/// ```
/// use gemmill_codegen::{QuadRows, interleave_quads};
/// let columns: Vec<[u8; 9]> = (0..16).map(|j| std::array::from_fn(|k| 16 * k as u8 + j)).collect();
/// let mut rows = [0; 128];
/// let to = QuadRows { bytes: &mut rows, pitch: 64, count: 10 };
/// let written = interleave_quads(&std::array::from_fn(|j| &columns[j][..]), 0, to);
/// assert_eq!((written, &rows[..8], &rows[64..68]), (2, &[0, 16, 32, 48, 1, 17, 33, 49][..], &[64, 80, 96, 112][..]));
/// ```
pub fn interleave_quads(columns: &[&[u8]; QUAD_COLUMNS], flip: u8, rows: QuadRows<'_>) -> usize {
    let QuadRows { bytes: rows, pitch, count } = rows;
    let quads = columns.iter().map(|column| column.len() / KR).min().unwrap_or(0);
    let quads = quads.min(count).min(whole_pieces(rows.len(), ROW, pitch));
    #[cfg(target_arch = "x86_64")]
    let done = if avx2::offered() {
        // SAFETY: the CPU has AVX2.
        unsafe { avx2::interleave(columns, flip, rows, pitch, quads) }
    } else {
        0
    };
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    for q in done..quads {
        for (to, column) in rows[q * pitch..][..ROW].as_chunks_mut::<KR>().0.iter_mut().zip(columns) {
            for (to, from) in to.iter_mut().zip(&column[q * KR..]) {
                *to = from ^ flip;
            }
        }
    }
    quads
}

/// `rows[q][4 * j + i] = line(4 * q + i)[j] ^ flip` for `i` in `0..4` and every column `j` of the lines, of which the
/// first one has as many as all. The first row that `rows` has no room for ends it. Gives the number of rows that were
/// written.
///
/// # Panics
/// If a line has fewer columns than the first.
///
/// # Examples
/// ```
/// use gemmill_codegen::{QuadRows, stack_quads};
/// let mut rows = [0; 8];
/// let lines = [[1, 2], [3, 4], [5, 6], [7, 8]];
/// assert_eq!(stack_quads(|i| &lines[i], 0, QuadRows { bytes: &mut rows, pitch: 8, count: 1 }), 1);
/// assert_eq!(rows, [1, 3, 5, 7, 2, 4, 6, 8]);
/// ```
pub fn stack_quads<'a>(line: impl Fn(usize) -> &'a [u8], flip: u8, rows: QuadRows<'_>) -> usize {
    let QuadRows { bytes: rows, pitch, count } = rows;
    if count == 0 {
        return 0;
    }
    let columns = line(0).len();
    let count = count.min(whole_pieces(rows.len(), columns.saturating_mul(KR), pitch));
    #[cfg(target_arch = "x86_64")]
    let done = if avx2::offered() {
        // SAFETY: the CPU has AVX2.
        unsafe { avx2::stack(&line, columns, flip, rows, pitch, count) }
    } else {
        0
    };
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    if done < columns {
        for q in 0..count {
            let lines: [&[u8]; KR] = std::array::from_fn(|i| line(q * KR + i));
            let quads = rows[q * pitch..][..columns * KR].as_chunks_mut::<KR>().0;
            for (j, quad) in quads.iter_mut().enumerate().skip(done) {
                *quad = lines.map(|line| line[j] ^ flip);
            }
        }
    }
    count
}

/// How many pieces of `len` bytes, `pitch` apart, lie within `bytes`.
fn whole_pieces(bytes: usize, len: usize, pitch: usize) -> usize {
    bytes.checked_sub(len).map_or(0, |rest| rest.checked_div(pitch).map_or(usize::MAX, |after| after.saturating_add(1)))
}

/// `sums[j] -= Σ rows[q * pitch + 4 * j + i]` over `i` in `0..4` and `q` in `0..count`, modulo 2^32. Rows are `pitch`
/// bytes apart; one that does not hold a quad for every sum ends the sum.
///
/// # Examples
/// ```
/// let mut sums = [10, 0];
/// gemmill_codegen::subtract_quads(&[1, 2, 3, 4, -1, -2, -3, -4, 5, 5, 5, 5, 100, 100, 100, 100], 8, 2, &mut sums);
/// assert_eq!(sums, [10 - 30, 10 - 400]);
/// ```
pub fn subtract_quads(rows: &[i8], pitch: usize, count: usize, sums: &mut [i32]) {
    let row_bytes = sums.len() * KR;
    let count = count.min(whole_pieces(rows.len(), row_bytes, pitch));
    #[cfg(target_arch = "x86_64")]
    let done = if avx2::offered() {
        // SAFETY: the CPU has AVX2.
        unsafe { avx2::subtract(rows, pitch, count, sums) }
    } else {
        0
    };
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    for q in 0..count {
        let quads = rows[q * pitch..][..row_bytes].as_chunks::<KR>().0;
        for (sum, quad) in sums.iter_mut().zip(quads).skip(done) {
            *sum = sum.wrapping_sub(quad.iter().map(|&w| i32::from(w)).sum());
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{KR, QUAD_COLUMNS};

    /// Columns that a vector has a quad of, and rows that it has of a column.
    const LANES: usize = 8;
    const BYTES: usize = LANES * KR;

    pub(super) fn offered() -> bool {
        std::arch::is_x86_feature_detected!("avx2")
    }

    #[target_feature(enable = "avx2")]
    fn load(bytes: &[u8; BYTES]) -> __m256i {
        // SAFETY: the array has as many bytes as the vector.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    fn store(bytes: &mut [u8; BYTES], vector: __m256i) {
        // SAFETY: the array has as many bytes as the vector.
        unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) }
    }

    /// Eight rows at a time; gives how many were written.
    #[target_feature(enable = "avx2")]
    pub(super) fn interleave(
        columns: &[&[u8]; QUAD_COLUMNS],
        flip: u8,
        rows: &mut [u8],
        pitch: usize,
        quads: usize,
    ) -> usize {
        let flip = _mm256_set1_epi8(flip as i8);
        let pieces = columns.map(|column| column.as_chunks::<BYTES>().0);
        for first in 0..quads / LANES {
            for half in 0..QUAD_COLUMNS / LANES {
                let mut vectors = [_mm256_setzero_si256(); LANES];
                for (vector, pieces) in vectors.iter_mut().zip(&pieces[half * LANES..]) {
                    *vector = _mm256_xor_si256(load(&pieces[first]), flip);
                }
                for (i, vector) in transposed(vectors).into_iter().enumerate() {
                    let row = &mut rows[(first * LANES + i) * pitch + half * BYTES..];
                    store(row.first_chunk_mut().expect("rows have room for a quad of each column"), vector);
                }
            }
        }
        quads / LANES * LANES
    }

    /// Sixteen columns at a time; gives how many were written.
    #[target_feature(enable = "avx2")]
    pub(super) fn stack<'a>(
        line: &impl Fn(usize) -> &'a [u8],
        columns: usize,
        flip: u8,
        rows: &mut [u8],
        pitch: usize,
        count: usize,
    ) -> usize {
        let flip = _mm_set1_epi8(flip as i8);
        for q in 0..count {
            let lines: [&[u8]; KR] = std::array::from_fn(|i| &line(q * KR + i)[..columns]);
            let pieces = lines.map(|line| line.as_chunks::<QUAD_COLUMNS>().0);
            let (row, _) = rows[q * pitch..][..columns * KR].as_chunks_mut::<{ QUAD_COLUMNS * KR }>();
            for (i, quads) in row.iter_mut().enumerate() {
                // SAFETY: a piece has as many bytes as the vector.
                let load = |line: usize| unsafe { _mm_loadu_si128(pieces[line][i].as_ptr().cast()) };
                let line = |i: usize| _mm_xor_si128(load(i), flip);
                let (a, b, c, d) = (line(0), line(1), line(2), line(3));
                let (ab, cd) = (_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d));
                let (ab_high, cd_high) = (_mm_unpackhi_epi8(a, b), _mm_unpackhi_epi8(c, d));
                let vectors = [
                    _mm_unpacklo_epi16(ab, cd),
                    _mm_unpackhi_epi16(ab, cd),
                    _mm_unpacklo_epi16(ab_high, cd_high),
                    _mm_unpackhi_epi16(ab_high, cd_high),
                ];
                for (vector, quads) in vectors.into_iter().zip(quads.as_chunks_mut::<16>().0) {
                    // SAFETY: the array has as many bytes as the vector.
                    unsafe { _mm_storeu_si128(quads.as_mut_ptr().cast(), vector) };
                }
            }
        }
        columns / QUAD_COLUMNS * QUAD_COLUMNS
    }

    /// Exchanges rows and columns of 8 × 8 words.
    #[target_feature(enable = "avx2")]
    fn transposed(v: [__m256i; LANES]) -> [__m256i; LANES] {
        // Pairs of words, then fours of each half, then halves.
        let lo = |i: usize| _mm256_unpacklo_epi32(v[i], v[i + 1]);
        let hi = |i: usize| _mm256_unpackhi_epi32(v[i], v[i + 1]);
        let pairs = [lo(0), hi(0), lo(2), hi(2), lo(4), hi(4), lo(6), hi(6)];
        let lo = |i: usize| _mm256_unpacklo_epi64(pairs[i], pairs[i + 2]);
        let hi = |i: usize| _mm256_unpackhi_epi64(pairs[i], pairs[i + 2]);
        let (left, right) = ([lo(0), hi(0), lo(1), hi(1)], [lo(4), hi(4), lo(5), hi(5)]);
        let lower = |i: usize| _mm256_permute2x128_si256::<0x20>(left[i], right[i]);
        let upper = |i: usize| _mm256_permute2x128_si256::<0x31>(left[i], right[i]);
        [lower(0), lower(1), lower(2), lower(3), upper(0), upper(1), upper(2), upper(3)]
    }

    /// Eight columns at a time; gives how many were summed.
    #[target_feature(enable = "avx2")]
    pub(super) fn subtract(rows: &[i8], pitch: usize, count: usize, sums: &mut [i32]) -> usize {
        let (ones, pair_ones) = (_mm256_set1_epi8(1), _mm256_set1_epi16(1));
        let (groups, _) = sums.as_chunks_mut::<LANES>();
        for (group, sums) in groups.iter_mut().enumerate() {
            let mut total = _mm256_setzero_si256();
            for q in 0..count {
                let quads: &[i8; BYTES] =
                    rows[q * pitch + group * BYTES..].first_chunk().expect("counted rows are whole");
                // SAFETY: the array has as many bytes as the vector.
                let quads = unsafe { _mm256_loadu_si256(quads.as_ptr().cast()) };
                // A pair of bytes, and a pair of these, never leaves 16 bits.
                let pairs = _mm256_maddubs_epi16(ones, quads);
                total = _mm256_add_epi32(total, _mm256_madd_epi16(pairs, pair_ones));
            }
            let mut words = [0u8; BYTES];
            store(&mut words, total);
            for (sum, word) in sums.iter_mut().zip(words.as_chunks().0) {
                *sum = sum.wrapping_sub(i32::from_le_bytes(*word));
            }
        }
        groups.len() * LANES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(count: usize, seed: u64) -> Vec<u8> {
        let mut x = seed;
        let next = |_| {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (x >> 56) as u8
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn rows_of_quads_are_the_columns() {
        for (len, pitch, flip) in [(0, 64, 0), (3, 64, 0), (4, 64, 128), (67, 64, 1), (128, 256, 128), (1000, 65, 0)] {
            let all = bytes(len * QUAD_COLUMNS, len as u64);
            let columns = std::array::from_fn(|j| &all[j * len..][..len]);
            for room in [len / 4 * pitch + 64, len / 4 * pitch / 2, 63, 0] {
                let mut rows = vec![0xaa; room];
                let written = interleave_quads(&columns, flip, QuadRows { bytes: &mut rows, pitch, count: 1000 });
                assert_eq!(written, (len / 4).min(if room < 64 { 0 } else { (room - 64) / pitch + 1 }));
                let mut expected = vec![0xaa; room];
                for (q, j, i) in (0..written).flat_map(|q| (0..64).map(move |x| (q, x / 4, x % 4))) {
                    expected[q * pitch + 4 * j + i] = columns[j][4 * q + i] ^ flip;
                }
                assert_eq!(rows, expected, "{len} elements, {pitch} bytes apart, room for {room}");
            }
        }
    }

    #[test]
    fn rows_of_quads_are_stacked_rows() {
        for (columns, stride, count, flip) in [
            (1, 1, 2, 0),
            (16, 16, 3, 128),
            (19, 40, 5, 7),
            (64, 64, 2, 128),
            (50, 0, 1, 0),
            (0, 1, 2, 0),
            (3, 3, 0, 0),
        ] {
            let data = bytes(4 * count * stride + columns, columns as u64);
            let pitch = 4 * columns + 5;
            for room in [count * pitch, (count * pitch).saturating_sub(6), 4 * columns] {
                let mut rows = vec![0xaa; room];
                let line = |i: usize| &data[i * stride..][..columns];
                let written = stack_quads(line, flip, QuadRows { bytes: &mut rows, pitch, count });
                assert_eq!(written, (0..count).take_while(|&q| q * pitch + 4 * columns <= room).count());
                let mut expected = vec![0xaa; room];
                for (q, j, i) in (0..written).flat_map(|q| (0..4 * columns).map(move |x| (q, x / 4, x % 4))) {
                    expected[q * pitch + 4 * j + i] = data[(4 * q + i) * stride + j] ^ flip;
                }
                assert_eq!(rows, expected, "{columns} columns, {count} rows");
            }
        }
    }

    #[test]
    #[should_panic(expected = "out of")]
    fn short_lines_are_refused() {
        let lines: [&[u8]; 4] = [&[1, 2], &[3, 4], &[5], &[7, 8]];
        stack_quads(|i| lines[i], 0, QuadRows { bytes: &mut [0; 8], pitch: 8, count: 1 });
    }

    #[test]
    fn sums_are_those_of_bytes_one_by_one() {
        for (columns, pitch, count) in [(0, 0, 3), (1, 4, 5), (7, 28, 2), (8, 32, 1), (19, 80, 300), (64, 256, 33)] {
            for extreme in [None, Some(-128i8), Some(127)] {
                let random = bytes((count - 1) * pitch + 4 * columns, 7 + columns as u64);
                let rows: Vec<i8> = random.iter().map(|&x| extreme.unwrap_or(x as i8)).collect();
                let mut sums: Vec<i32> = (0..columns as i32).map(|j| i32::MIN + j).collect();
                let expected: Vec<i32> = (0..columns)
                    .map(|j| {
                        let quad = |q: usize| rows[q * pitch + 4 * j..][..4].iter().map(|&w| i32::from(w)).sum::<i32>();
                        sums[j].wrapping_sub((0..count).map(quad).sum())
                    })
                    .collect();
                // More rows than there are.
                subtract_quads(&rows, pitch, count, &mut sums);
                assert_eq!(sums, expected, "{columns} columns, {count} rows");
            }
        }
        let mut sums = [0; 2];
        subtract_quads(&[1; 20], 8, 1000, &mut sums);
        assert_eq!(sums, [-8, -8], "the third row is not whole");
    }
}
