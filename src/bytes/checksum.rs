//! CRC-64/XZ: finds every change of up to 64 bits in a row, and misses one other change in 2^64.
//!
//! The polynomial of ECMA-182, bits reflected, all ones before and after; the catalogue of CRC algorithms gives
//! 0x995dc9bbdf1939fa for `123456789`.

/// The polynomial, its highest power in the lowest bit.
const POLYNOMIAL: u64 = 0xc96c_5795_d787_0f42;

/// `TABLES[t][b]`: what byte `b` adds to the remainder once `t` more bytes have passed.
static TABLES: [[u64; 256]; 8] = tables();

const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            remainder = remainder >> 1 ^ if remainder & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        tables[0][byte] = remainder;
        byte += 1;
    }
    let mut later = 1;
    while later < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[later - 1][byte];
            tables[later][byte] = tables[0][(before & 0xff) as usize] ^ before >> 8;
            byte += 1;
        }
        later += 1;
    }
    tables
}

/// The checksum of some bytes, eight at a time.
pub(super) fn crc64(bytes: &[u8]) -> u64 {
    let mut remainder = u64::MAX;
    let (eights, rest) = bytes.as_chunks::<8>();
    for eight in eights {
        let mixed = (remainder ^ u64::from_le_bytes(*eight)).to_le_bytes();
        remainder = mixed.iter().enumerate().fold(0, |sum, (i, &b)| sum ^ TABLES[7 - i][usize::from(b)]);
    }
    for &byte in rest {
        remainder = TABLES[0][usize::from(remainder as u8 ^ byte)] ^ remainder >> 8;
    }
    !remainder
}

#[cfg(test)]
mod tests {
    use super::{POLYNOMIAL, crc64};

    /// The definition, bit by bit.
    fn by_bits(bytes: &[u8]) -> u64 {
        !bytes.iter().flat_map(|&byte| (0..8).map(move |i| u64::from(byte >> i & 1))).fold(
            u64::MAX,
            |remainder, bit| {
                let carry = (remainder ^ bit) & 1;
                (remainder >> 1) ^ (carry * POLYNOMIAL)
            },
        )
    }

    #[test]
    fn known_values() {
        assert_eq!(crc64(b""), 0);
        assert_eq!(crc64(b"123456789"), 0x995d_c9bb_df19_39fa);
    }

    #[test]
    fn eight_at_a_time_is_bit_by_bit() {
        let bytes: Vec<u8> = (0..200u32).map(|i| (i * i * 37 + 11) as u8).collect();
        for start in 0..9 {
            for end in start..bytes.len() {
                assert_eq!(crc64(&bytes[start..end]), by_bits(&bytes[start..end]), "{start}..{end}");
            }
        }
    }
}
