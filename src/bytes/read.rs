//! Reading numbers from bytes of which nothing is known.

use crate::error::{Error, Result};
use crate::machine::memory::with_capacity;

/// What has not been read yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, what: &'static str, count: usize) -> Result<&'a [u8]> {
        let truncated = Error::Truncated { what, needed: count, given: self.rest.len() };
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let truncated = Error::Truncated { what, needed: N, given: self.rest.len() };
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A size that fits this address space.
    pub(crate) fn size(&mut self, what: &'static str) -> Result<usize> {
        usize::try_from(self.u64(what)?).map_err(|_| Error::Overflow { what })
    }

    /// A code of at most `high`.
    pub(crate) fn code(&mut self, what: &'static str, high: u8) -> Result<u8> {
        let code = self.u8(what)?;
        if code > high {
            return Err(Error::OutOfRange { what, low: 0, high: high.into(), given: code.into() });
        }
        Ok(code)
    }

    /// `count` numbers of four bytes.
    pub(crate) fn numbers<T>(
        &mut self,
        what: &'static str,
        count: usize,
        from_bytes: impl Fn([u8; 4]) -> T,
    ) -> Result<Vec<T>> {
        let bytes = self.take(what, count.checked_mul(4).ok_or(Error::Overflow { what })?)?;
        let (fours, _) = bytes.as_chunks::<4>();
        let mut numbers = with_capacity(what, count)?;
        numbers.extend(fours.iter().map(|&four| from_bytes(four)));
        Ok(numbers)
    }

    /// Fails unless all has been read.
    pub(crate) fn end(self, what: &'static str) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            given => Err(Error::Inconsistent { what, expected: 0, given: given as i64 }),
        }
    }
}
