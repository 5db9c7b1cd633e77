//! Packed floating-point weights as bytes, for a file or a wire. Numbers are little-endian and stand side by side:
//!
//! ```text
//! magic             89 'g' 'e' 'm' 'm' 'f' 'l' 't'
//! version           u32      1
//! length            u64      bytes in all, magic and checksum included
//! type of a weight  u8       0 f32, 1 f16, 2 bf16
//! K, N              u64 × 2
//! weights           K × N, row after row
//! checksum          u64      CRC-64/XZ of all before it
//! ```
//!
//! As in [`bytes`](crate::bytes), nothing is allocated before its bytes are known to be there.

use std::sync::Arc;

use bytemuck::Pod;
use gemmill_codegen::{FLOAT_PANEL, FloatType};

use super::packed::{PackedFloat, packed_bytes};
use crate::bytes::envelope::Envelope;
use crate::bytes::read::Reader;
use crate::error::{Error, Result};
use crate::machine::memory::Lines;

const ENVELOPE: Envelope =
    Envelope { magic: *b"\x89gemmflt", version: 1, not_this: |given| Error::NotFloatWeights { given } };

/// Types by their codes.
const TYPES: [FloatType; 3] = [FloatType::F32, FloatType::F16, FloatType::Bf16];

impl PackedFloat {
    /// The weights as bytes, for [`PackedFloat::from_bytes`] on any CPU. The format has a version and a checksum.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{FloatType, MatRef, PackedFloat};
    /// let b = [0.5f32, -1.0, 2.0, 3.0];
    /// let weights = PackedFloat::builder(MatRef::row_major(&b, 2, 2)?).store(FloatType::Bf16).build()?;
    /// assert_eq!(PackedFloat::from_bytes(&weights.to_bytes())?, weights);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    ///
    /// # Panics
    /// If there is no memory for them: [`PackedFloat::try_to_bytes`] says so.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.try_to_bytes().unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`PackedFloat::to_bytes`].
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn try_to_bytes(&self) -> Result<Vec<u8>> {
        let (k, n, stored) = (self.k(), self.n(), self.stored());
        let mut out = ENVELOPE.begin(17 + k * n * stored.bytes())?;
        out.push(TYPES.iter().position(|&t| t == stored).unwrap_or_default() as u8);
        for size in [k, n] {
            out.extend((size as u64).to_le_bytes());
        }
        match stored {
            FloatType::F32 => self.write_rows::<4>(&mut out),
            FloatType::F16 | FloatType::Bf16 => self.write_rows::<2>(&mut out),
        }
        ENVELOPE.seal(&mut out);
        Ok(out)
    }

    /// Weights that [`PackedFloat::to_bytes`] wrote. The calling thread does all the work.
    ///
    /// # Errors
    /// [`Error::NotFloatWeights`], [`Error::Version`], [`Error::Truncated`], [`Error::Checksum`], [`Error::OutOfRange`]
    /// and [`Error::Inconsistent`] for bytes that are not what was written, [`Error::Overflow`] for sizes that no
    /// memory holds.
    pub fn from_bytes(bytes: &[u8]) -> Result<PackedFloat> {
        let mut reader = Reader::new(ENVELOPE.open(bytes)?);
        let stored = TYPES[usize::from(reader.code("type of a weight", TYPES.len() as u8 - 1)?)];
        let (k, n) = (reader.size("K")?, reader.size("N")?);
        let overflow = Error::Overflow { what: "K times N" };
        let size = k.checked_mul(n).and_then(|count| count.checked_mul(stored.bytes())).ok_or(overflow)?;
        let rows = reader.take("weights", size)?;
        reader.end("bytes between content and checksum")?;
        let mut data = Lines::zeroed("packed weights", packed_bytes(k, n, stored)?)?;
        match stored {
            FloatType::F32 => read_rows::<4>(data.of_mut(), rows, (k, n), stored),
            FloatType::F16 | FloatType::Bf16 => read_rows::<2>(data.of_mut(), rows, (k, n), stored),
        }
        Ok(PackedFloat::of_parts((k, n), stored, Arc::new(data)))
    }

    /// Weights of `S` bytes, row after row.
    fn write_rows<const S: usize>(&self, out: &mut Vec<u8>)
    where
        [u8; S]: Pod,
    {
        let (panels, _) = self.bytes().as_chunks::<S>();
        for_each_piece(self.k(), self.n(), |k, first, cols| {
            let row = &panels[(first / FLOAT_PANEL * self.k() + k) * FLOAT_PANEL..][..FLOAT_PANEL];
            out.extend((0..cols).flat_map(|j| little_endian(row[self.stored().place(j)])));
        });
    }
}

/// Fills zeroed panels with weights of `S` bytes that stand row after row.
fn read_rows<const S: usize>(panels: &mut [[u8; S]], rows: &[u8], (depth, n): (usize, usize), stored: FloatType) {
    let (weights, _) = rows.as_chunks::<S>();
    for_each_piece(depth, n, |k, first, cols| {
        let row = &mut panels[(first / FLOAT_PANEL * depth + k) * FLOAT_PANEL..][..FLOAT_PANEL];
        for (j, &weight) in weights[k * n + first..][..cols].iter().enumerate() {
            row[stored.place(j)] = little_endian(weight);
        }
    });
}

/// Calls `f` with row, first column and number of columns of every part of a row that lies in one panel, row after row.
fn for_each_piece(k: usize, n: usize, mut f: impl FnMut(usize, usize, usize)) {
    // Without columns, K may be any number.
    let rows = if n == 0 { 0 } else { k };
    for row in 0..rows {
        for first in (0..n).step_by(FLOAT_PANEL) {
            f(row, first, FLOAT_PANEL.min(n - first));
        }
    }
}

/// From this CPU's order of bytes to the format's, and back.
fn little_endian<const S: usize>(mut bytes: [u8; S]) -> [u8; S] {
    if cfg!(target_endian = "big") {
        bytes.reverse();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::{bf16, f16};
    use crate::views::MatRef;

    fn weights(k: usize, n: usize, stored: FloatType) -> PackedFloat {
        let b: Vec<f32> = (0..k * n).map(|i| (i as f32 * 0.37).sin() * 1e3).collect();
        PackedFloat::builder(MatRef::row_major(&b, k, n).unwrap()).store(stored).build().unwrap()
    }

    #[test]
    fn weights_survive() {
        for stored in TYPES {
            for (k, n) in [(0, 0), (0, 7), (5, 0), (1, 1), (3, 31), (7, 32), (4, 33), (9, 100)] {
                let packed = weights(k, n, stored);
                let bytes = packed.to_bytes();
                assert_eq!(bytes.len(), 20 + 17 + k * n * stored.bytes() + 8);
                let again = PackedFloat::from_bytes(&bytes).unwrap();
                assert_eq!(again, packed, "{k} x {n}");
                assert_eq!(again.unpack(), packed.unpack());
            }
        }
        let deep = PackedFloat::new(MatRef::<f32>::with_strides(&[], usize::MAX, 0, 1, 1).unwrap()).unwrap();
        assert_eq!(PackedFloat::from_bytes(&deep.to_bytes()).unwrap().k(), usize::MAX);
    }

    #[test]
    fn rows_stand_one_after_the_other() {
        let b = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0];
        let bytes = |stored| {
            let bytes =
                PackedFloat::builder(MatRef::row_major(&b, 2, 3).unwrap()).store(stored).build().unwrap().to_bytes();
            bytes[37..bytes.len() - 8].to_vec()
        };
        assert_eq!(bytes(FloatType::F32), b.map(f32::to_le_bytes).concat());
        assert_eq!(bytes(FloatType::F16), b.map(|x| f16::from_f32(x).to_le_bytes()).concat());
        assert_eq!(bytes(FloatType::Bf16), b.map(|x| bf16::from_f32(x).to_le_bytes()).concat());
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let bytes = weights(3, 5, FloatType::Bf16).to_bytes();
        for len in 0..bytes.len() {
            assert!(PackedFloat::from_bytes(&bytes[..len]).is_err(), "{len} bytes");
        }
        for bit in 0..8 * bytes.len() {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(PackedFloat::from_bytes(&changed).is_err(), "bit {bit}");
        }
        let int8 = crate::PackedB::new(MatRef::row_major(&[1i8; 4], 2, 2).unwrap()).unwrap().to_bytes();
        assert!(matches!(PackedFloat::from_bytes(&int8), Err(Error::NotFloatWeights { .. })));
        assert!(matches!(crate::PackedB::from_bytes(&bytes), Err(Error::NotWeights { .. })));
    }

    #[test]
    fn made_up_bytes_are_refused() {
        let sealed = |code: u8, k: u64, n: u64, weights: &[u8]| {
            let mut out = ENVELOPE.begin(0).unwrap();
            out.push(code);
            out.extend(k.to_le_bytes());
            out.extend(n.to_le_bytes());
            out.extend_from_slice(weights);
            ENVELOPE.seal(&mut out);
            PackedFloat::from_bytes(&out)
        };
        assert!(sealed(1, 1, 2, &[0; 4]).is_ok());
        assert!(matches!(sealed(3, 1, 2, &[0; 4]), Err(Error::OutOfRange { .. })));
        assert!(matches!(sealed(1, 1, 3, &[0; 4]), Err(Error::Truncated { .. })));
        assert!(matches!(sealed(1, 1, 1, &[0; 4]), Err(Error::Inconsistent { .. })));
        assert!(matches!(sealed(1, u64::MAX, 2, &[0; 4]), Err(Error::Overflow { .. })));
        assert!(matches!(sealed(0, 1 << 62, 1, &[0; 4]), Err(Error::Overflow { .. })));
        assert!(matches!(sealed(0, 1 << 40, 1, &[0; 4]), Err(Error::Truncated { .. })));
        // Without rows, columns may be any number: the packed size is 0.
        assert!(matches!(sealed(0, 0, u64::MAX, &[]), Ok(_) | Err(Error::Overflow { .. })));
    }
}
