//! Packed weights as bytes, for a file or a wire. Numbers are little-endian and stand side by side:
//!
//! ```text
//! magic             89 'g' 'e' 'm' 'm' 'i' 'l' 'l'
//! version           u32      1
//! length            u64      bytes in all, magic and checksum included
//! weights are       u8       0 u8, 1 i8
//! activation_max    u8
//! effort            u8       0 quick, 1 full
//! kc was given      u8       0 or 1
//! zero points are   u8       0 per tensor, 2 per column
//! scales are        u8       0 per tensor, 1 per group, 2 per column, 255 not there
//! a schedule is     u8       0 not there, 1 there
//! nothing           u8       0
//! K, N, groups, kc  u64 × 4  kc is 0 if none was given
//! zero points       i32 × 1 or N, in the range of the weights
//! scales            f32 × 1, groups or N, or none
//! column sums       i32 × N  of the weights, modulo 2^32
//! weights           K × N bytes, row after row
//! schedule          see `schedule.rs`, or nothing
//! checksum          u64      CRC-64/XZ of all before it
//! ```
//!
//! What kernels read is never in a file: weights are laid out anew when they are loaded. That takes most of its time
//! for the search of a schedule, so a schedule may be stored; it is proven again against the weights. So whatever a
//! file holds, loading it gives an error or weights whose products are exact.
//! As in [`bytes`](crate::bytes), nothing is allocated before its bytes are known to be there.

mod load;
mod schedule;

use super::builder::PackEffort;
use super::natural::Natural;
use super::packed::PackedB;
use crate::bytes::envelope::Envelope;
use crate::error::{Error, Result};
use crate::quant::per_column::OwnedPerColumn;

pub use load::Loader;
pub(super) use schedule::StoredSchedule;

const ENVELOPE: Envelope =
    Envelope { magic: *b"\x89gemmill", version: 1, not_this: |given| Error::NotWeights { given } };

/// Codes of how parameters of columns are given.
const PER_TENSOR: u8 = 0;
const PER_GROUP: u8 = 1;
const PER_COLUMN: u8 = 2;
const ABSENT: u8 = 255;

impl PackedB {
    /// The weights with their zero points, scales, options and schedule as bytes, for [`PackedB::from_bytes`] on any
    /// CPU.
    ///
    /// The format has a version and a checksum: one byte for each weight, and few more.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackedB};
    /// let b: Vec<i8> = (0..64 * 16).map(|i| (i % 101) as i8 - 50).collect();
    /// let packed = PackedB::new(MatRef::row_major(&b, 64, 16)?)?;
    /// let bytes = packed.to_bytes();
    /// assert_eq!(PackedB::from_bytes(&bytes)?, packed);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    ///
    /// # Panics
    /// If there is no memory for them: [`PackedB::try_to_bytes`] says so.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.try_to_bytes().unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`PackedB::to_bytes`].
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn try_to_bytes(&self) -> Result<Vec<u8>> {
        let natural = Natural::of(self)?;
        let schedule = schedule::write(self)?;
        let of_schedule = schedule.as_ref().map_or(0, Vec::len);
        let mut out = ENVELOPE.begin(natural.weights.len() + of_schedule + 16 * natural.n + 128)?;
        out.extend([
            u8::from(natural.signed),
            natural.activation_max,
            u8::from(natural.options.effort == PackEffort::Full),
            u8::from(natural.options.kc.is_some()),
            code(&natural.zero_points),
            natural.scales.as_ref().map_or(ABSENT, code),
        ]);
        out.extend([u8::from(schedule.is_some()), 0]);
        for size in [natural.k, natural.n, natural.groups, natural.options.kc.unwrap_or(0)] {
            out.extend((size as u64).to_le_bytes());
        }
        put(&mut out, &natural.zero_points, i32::to_le_bytes);
        if let Some(scales) = &natural.scales {
            put(&mut out, scales, f32::to_le_bytes);
        }
        out.extend(natural.column_sums()?.into_iter().flat_map(i32::to_le_bytes));
        out.extend_from_slice(&natural.weights);
        out.extend(schedule.unwrap_or_default());
        ENVELOPE.seal(&mut out);
        Ok(out)
    }

    /// Weights that [`PackedB::to_bytes`] wrote, on this CPU or another, packed for the best tier of this one.
    ///
    /// # Errors
    /// [`Error::NotWeights`], [`Error::Version`], [`Error::Truncated`], [`Error::Checksum`] and [`Error::Inconsistent`]
    /// for bytes that are not what was written, and all errors of [`PackBuilder::build`] for content that could not
    /// have been packed. Bytes that someone made up with a right checksum give an error or weights as good as any.
    ///
    /// [`Error::NotWeights`]: crate::Error::NotWeights
    /// [`Error::Version`]: crate::Error::Version
    /// [`Error::Truncated`]: crate::Error::Truncated
    /// [`Error::Checksum`]: crate::Error::Checksum
    /// [`Error::Inconsistent`]: crate::Error::Inconsistent
    /// [`PackBuilder::build`]: crate::PackBuilder::build
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Error, MatRef, PackedB};
    /// let mut bytes = PackedB::new(MatRef::row_major(&[1i8, 2, 3, 4], 2, 2)?)?.to_bytes();
    /// assert_eq!(PackedB::from_bytes(&bytes)?.k(), 2);
    /// bytes[60] ^= 1;
    /// assert!(matches!(PackedB::from_bytes(&bytes), Err(Error::Checksum { .. })));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<PackedB> {
        Loader::new(bytes).load()
    }

    /// Loads bytes with options: the tier, and whether threads share the work.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackedB, Tier};
    /// let bytes = PackedB::new(MatRef::row_major(&[1i8; 12], 3, 4)?)?.to_bytes();
    /// let b = PackedB::loader(&bytes).tier(Tier::Portable).load()?;
    /// assert_eq!((b.tier(), b.n()), (Tier::Portable, 4));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn loader(bytes: &[u8]) -> Loader<'_> {
        Loader::new(bytes)
    }
}

fn code<T>(values: &OwnedPerColumn<T>) -> u8 {
    match values {
        OwnedPerColumn::Tensor(_) => PER_TENSOR,
        OwnedPerColumn::Group(_) => PER_GROUP,
        OwnedPerColumn::Column(_) => PER_COLUMN,
    }
}

fn put<T: Copy>(out: &mut Vec<u8>, values: &OwnedPerColumn<T>, to_bytes: impl Fn(T) -> [u8; 4]) {
    match values {
        OwnedPerColumn::Tensor(x) => out.extend(to_bytes(*x)),
        OwnedPerColumn::Group(values) | OwnedPerColumn::Column(values) => {
            out.extend(values.iter().flat_map(|&x| to_bytes(x)));
        }
    }
}
