//! Groupwise weights as bytes, for a file or a wire. Numbers are little-endian and stand side by side:
//!
//! ```text
//! magic             89 'g' 'e' 'm' 'm' 'g' 'r' 'p'
//! version           u32      1
//! length            u64      bytes in all, magic and checksum included
//! bits of a weight  u8       2 or 4
//! zero points are   u8       0 the middle everywhere, 1 one for each group of each column
//! group size        u16      32, 64 or 128
//! K, N              u64 × 2
//! scales            bf16 × groups × N
//! zero points       packed, groups × N, or none
//! weights           packed, K × N
//! checksum          u64      CRC-64/XZ of all before it
//! ```
//!
//! What is packed has as many bits as a weight, from the low bits of a byte to its high ones, row after row; unused
//! bits of the last byte are 0. As in [`bytes`](crate::bytes), nothing is allocated before its bytes are known to be
//! there.

use super::{Bits, GroupSize, GroupwiseFormat, GroupwiseParts, GroupwiseWeights, ZeroPoints};
use crate::bytes::envelope::Envelope;
use crate::bytes::read::Reader;
use crate::convert::bf16;
use crate::error::{Error, Result};
use crate::machine::memory::with_capacity;

const ENVELOPE: Envelope =
    Envelope { magic: *b"\x89gemmgrp", version: 1, not_this: |given| Error::NotGroupwiseWeights { given } };

impl GroupwiseWeights {
    /// The weights as bytes, for [`GroupwiseWeights::from_bytes`] on any CPU. The format has a version and a checksum.
    ///
    /// # Panics
    /// If there is no memory for them: [`GroupwiseWeights::try_to_bytes`] says so.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.try_to_bytes().unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`GroupwiseWeights::to_bytes`].
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn try_to_bytes(&self) -> Result<Vec<u8>> {
        let GroupwiseParts { k, n, format, values, scales, zero_points } = &self.parts;
        let bits = format.bits.count();
        let mut out = ENVELOPE.begin(20 + 2 * scales.len() + (values.len() + zero_points.len()) * bits / 8 + 2)?;
        out.extend([bits as u8, u8::from(format.zero_points == ZeroPoints::Each)]);
        out.extend((format.group_size.elements() as u16).to_le_bytes());
        for size in [k, n] {
            out.extend((*size as u64).to_le_bytes());
        }
        out.extend(scales.iter().flat_map(|scale| scale.to_le_bytes()));
        pack(&mut out, format.bits, zero_points);
        pack(&mut out, format.bits, values);
        ENVELOPE.seal(&mut out);
        Ok(out)
    }

    /// Weights that [`GroupwiseWeights::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::NotGroupwiseWeights`], [`Error::Version`], [`Error::Truncated`], [`Error::Checksum`] and
    /// [`Error::Inconsistent`] for bytes that are not what was written; the errors of [`GroupwiseWeights::from_parts`]
    /// for bytes that someone made up with a right checksum.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(ENVELOPE.open(bytes)?);
        let bits = match reader.u8("bits of a weight")? {
            2 => Bits::Two,
            4 => Bits::Four,
            given => return Err(out_of_range("bits of a weight", 2, 4, given.into())),
        };
        let zero_points = match reader.code("whether there are zero points", 1)? {
            0 => ZeroPoints::Middle,
            _ => ZeroPoints::Each,
        };
        let group_size = match reader.u16("group size")? {
            32 => GroupSize::G32,
            64 => GroupSize::G64,
            128 => GroupSize::G128,
            given => return Err(out_of_range("group size", 32, 128, given.into())),
        };
        let format = GroupwiseFormat { bits, group_size, zero_points };
        let (k, n) = (reader.size("K")?, reader.size("N")?);
        let overflow = Error::Overflow { what: "K times N" };
        let groups = format.groups(k).checked_mul(n).ok_or(overflow.clone())?;
        let scales = reader.take("scales", groups.checked_mul(2).ok_or(overflow.clone())?)?;
        let mut all_scales = with_capacity("scales", groups)?;
        all_scales.extend(scales.as_chunks::<2>().0.iter().map(|&two| bf16::from_le_bytes(two)));
        let zero_point_count = if zero_points == ZeroPoints::Each { groups } else { 0 };
        let zero_points = unpack(&mut reader, "zero points", bits, zero_point_count)?;
        let values = unpack(&mut reader, "weights", bits, k.checked_mul(n).ok_or(overflow)?)?;
        reader.end("bytes between content and checksum")?;
        GroupwiseWeights::from_parts(GroupwiseParts { k, n, format, values, scales: all_scales, zero_points })
    }
}

fn out_of_range(what: &'static str, low: i64, high: i64, given: i64) -> Error {
    Error::OutOfRange { what, low, high, given }
}

fn pack(out: &mut Vec<u8>, bits: Bits, values: &[u8]) {
    let bits = bits.count();
    let byte = |values: &[u8]| values.iter().enumerate().fold(0, |byte, (i, value)| byte | value << (i * bits));
    out.extend(values.chunks(8 / bits).map(byte));
}

fn unpack(reader: &mut Reader<'_>, what: &'static str, bits: Bits, count: usize) -> Result<Vec<u8>> {
    let in_byte = 8 / bits.count();
    let packed = reader.take(what, count.div_ceil(in_byte))?;
    let value = |byte: u8, i: usize| byte >> (i * bits.count()) & bits.highest();
    let unused = packed.last().map_or(0, |&last| match count % in_byte {
        0 => 0,
        used => last >> (used * bits.count()),
    });
    if unused != 0 {
        return Err(Error::Inconsistent { what: "unused bits of the last byte", expected: 0, given: unused.into() });
    }
    let mut values = with_capacity(what, packed.len() * in_byte)?;
    values.extend(packed.iter().flat_map(|&byte| (0..in_byte).map(move |i| value(byte, i))));
    values.truncate(count);
    Ok(values)
}

/// Bytes with this content, whatever it is.
#[cfg(test)]
pub(super) fn seal(content: &[u8]) -> Vec<u8> {
    let mut out = ENVELOPE.begin(content.len()).unwrap();
    out.extend_from_slice(content);
    ENVELOPE.seal(&mut out);
    out
}
