//! From bytes to packed weights.

use gemmill_codegen::Tier;

use super::schedule::StoredSchedule;
use super::{ABSENT, ENVELOPE, PER_COLUMN, PER_GROUP, PER_TENSOR};
use crate::bytes::read::Reader;
use crate::error::{Error, Result};
use crate::machine::threads::Threads;
use crate::quant::per_column::OwnedPerColumn;
use crate::weights::int8::builder::PackEffort;
use crate::weights::int8::natural::Natural;
use crate::weights::int8::packed::{PackOptions, PackedB};

/// Loads packed weights with options. See [`PackedB::loader`].
///
/// # Examples
/// ```
/// use gemmill::{MatRef, PackedB, Tier};
/// let bytes = PackedB::new(MatRef::row_major(&[1i8, 2, 3, 4], 2, 2)?)?.to_bytes();
/// let loaded = PackedB::loader(&bytes).tier(Tier::Portable).load()?;
/// assert_eq!(loaded.tier(), Tier::Portable);
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Loader<'a> {
    bytes: &'a [u8],
    tier: Option<Tier>,
    threads: Threads,
}

impl<'a> Loader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Loader { bytes, tier: None, threads: Threads::Auto }
    }

    /// Packs for this tier instead of the best one, whatever tier the weights were packed for before.
    ///
    /// The schedule that the bytes hold is used where the tiers' layouts are the same; elsewhere another is searched
    /// for. See [`PackedB::loader`] for an example.
    pub fn tier(mut self, tier: Tier) -> Self {
        self.tier = Some(tier);
        self
    }

    /// Whether threads of the caller's rayon pool share the work, as
    /// [`PackBuilder::threads`](crate::PackBuilder::threads) says.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackedB, Threads};
    /// let packed = PackedB::new(MatRef::row_major(&[1i8, 2, 3, 4], 2, 2)?)?;
    /// assert_eq!(PackedB::loader(&packed.to_bytes()).threads(Threads::Max(1)).load()?, packed);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn threads(mut self, threads: Threads) -> Self {
        self.threads = threads;
        self
    }

    /// Loads.
    ///
    /// # Errors
    /// As [`PackedB::from_bytes`].
    pub fn load(self) -> Result<PackedB> {
        let content = ENVELOPE.open(self.bytes)?;
        let (natural, stored) = parse(Reader::new(content))?;
        natural.pack(self.tier, self.threads, stored)
    }
}

fn parse(mut reader: Reader<'_>) -> Result<(Natural<'_>, Option<StoredSchedule<'_>>)> {
    let signed = reader.code("type of the weights", 1)? == 1;
    let activation_max = reader.u8("largest activation")?;
    let effort = if reader.code("effort", 1)? == 1 { PackEffort::Full } else { PackEffort::Quick };
    let kc_given = reader.code("whether kc is given", 1)? == 1;
    let zero_points_are = reader.u8("kind of zero points")?;
    let scales_are = reader.u8("kind of scales")?;
    let has_schedule = reader.code("whether there is a schedule", 1)? == 1;
    reader.code("reserved byte", 0)?;
    let (k, n) = (reader.size("K")?, reader.size("N")?);
    let (groups, kc) = (reader.size("groups")?, reader.size("kc")?);
    if !kc_given && kc != 0 {
        return Err(Error::Inconsistent { what: "kc that was not given", expected: 0, given: kc as i64 });
    }
    let mut columns = Columns { reader: &mut reader, groups, n };
    let zero_points = columns.parameter("zero points", zero_points_are, i32::from_le_bytes)?;
    let scales = match scales_are {
        ABSENT => None,
        kind => Some(columns.parameter("scales", kind, f32::from_le_bytes)?),
    };
    let sums = reader.numbers("column sums", n, i32::from_le_bytes)?;
    let weights = reader.take("weights", k.checked_mul(n).ok_or(Error::Overflow { what: "K times N" })?)?;
    if has_schedule && weights.is_empty() {
        return Err(Error::Inconsistent { what: "schedules of no weights", expected: 0, given: 1 });
    }
    let stored = has_schedule.then(|| StoredSchedule::read(&mut reader)).transpose()?;
    reader.end("bytes between content and checksum")?;
    let options = PackOptions { kc: kc_given.then_some(kc), effort };
    let weights = weights.into();
    let natural = Natural { k, n, groups, signed, activation_max, options, zero_points, scales, weights };
    let found = natural.column_sums()?;
    if let Some(column) = (0..n).find(|&j| found[j] != sums[j]) {
        let (expected, given) = (found[column].into(), sums[column].into());
        return Err(Error::Inconsistent { what: "sum of a column", expected, given });
    }
    Ok((natural, stored))
}

/// Reads parameters of columns.
struct Columns<'r, 'a> {
    reader: &'r mut Reader<'a>,
    groups: usize,
    n: usize,
}

impl Columns<'_, '_> {
    fn parameter<T: Copy>(
        &mut self,
        what: &'static str,
        kind: u8,
        from_bytes: impl Fn([u8; 4]) -> T,
    ) -> Result<OwnedPerColumn<T>> {
        match kind {
            PER_TENSOR => Ok(OwnedPerColumn::Tensor(from_bytes(self.reader.array(what)?))),
            PER_GROUP => Ok(OwnedPerColumn::Group(self.reader.numbers(what, self.groups, from_bytes)?)),
            PER_COLUMN => Ok(OwnedPerColumn::Column(self.reader.numbers(what, self.n, from_bytes)?)),
            _ => Err(Error::OutOfRange { what, low: PER_TENSOR.into(), high: PER_COLUMN.into(), given: kind.into() }),
        }
    }
}
