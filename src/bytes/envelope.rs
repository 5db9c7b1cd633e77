//! What all formats of weights have in common: a magic number, a version and the length before the content, a checksum
//! behind it.

use super::checksum::crc64;
use super::read::Reader;
use crate::error::{Error, Result};
use crate::machine::memory::with_capacity;

/// Magic, version and length.
const PREFIX_BYTES: usize = 20;
const CHECKSUM_BYTES: usize = 8;

/// A format, in one version.
pub(crate) struct Envelope {
    pub(crate) magic: [u8; 8],
    /// The version that is written, and the only one that is read.
    pub(crate) version: u32,
    /// The error of bytes that begin otherwise.
    pub(crate) not_this: fn([u8; 8]) -> Error,
}

impl Envelope {
    /// Begins bytes with room for so many of content.
    pub(crate) fn begin(&self, content_bytes: usize) -> Result<Vec<u8>> {
        let mut out = with_capacity("weights as bytes", content_bytes.saturating_add(PREFIX_BYTES + CHECKSUM_BYTES))?;
        out.extend(self.magic);
        out.extend(self.version.to_le_bytes());
        // The length, once it is known.
        out.extend([0; 8]);
        Ok(out)
    }

    /// Ends bytes that [`begin`](Self::begin) began and that hold their content.
    pub(crate) fn seal(&self, out: &mut Vec<u8>) {
        let length = out.len() + CHECKSUM_BYTES;
        out[PREFIX_BYTES - 8..PREFIX_BYTES].copy_from_slice(&(length as u64).to_le_bytes());
        out.extend(crc64(out).to_le_bytes());
    }

    /// The bytes between the length and the checksum, both of which are right.
    pub(crate) fn open<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        let mut reader = Reader::new(bytes);
        let magic_given = &bytes[..bytes.len().min(self.magic.len())];
        if !self.magic.starts_with(magic_given) {
            let mut given = [0; 8];
            given[..magic_given.len()].copy_from_slice(magic_given);
            return Err((self.not_this)(given));
        }
        reader.take("magic", self.magic.len())?;
        let version = reader.u32("version")?;
        if version != self.version {
            return Err(Error::Version { newest: self.version, given: version });
        }
        let length = reader.size("length")?;
        if bytes.len() < length {
            return Err(Error::Truncated { what: "the whole", needed: length, given: bytes.len() });
        }
        if bytes.len() > length {
            let (expected, given) = (length as i64, bytes.len() as i64);
            return Err(Error::Inconsistent { what: "bytes in all", expected, given });
        }
        let too_short =
            Error::Truncated { what: "checksum", needed: PREFIX_BYTES + CHECKSUM_BYTES, given: bytes.len() };
        let (checked, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(too_short.clone())?;
        let (expected, given) = (crc64(checked), u64::from_le_bytes(*checksum));
        if expected != given {
            return Err(Error::Checksum { expected, given });
        }
        checked.get(PREFIX_BYTES..).ok_or(too_short)
    }
}
