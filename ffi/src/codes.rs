//! Codes of enums. They are `int32_t` where C gives them, for C may give any number.

use gemmill::{PackEffort, PerColumn, Threads, Tier};

use crate::call::{Failure, Outcome};
use crate::pointer::size;

/// Types of elements.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// uint8_t: activations, weights, requantized outputs.
    U8 = 0,
    /// int8_t: activations, weights, requantized outputs.
    I8 = 1,
    /// int32_t: sums.
    I32 = 2,
    /// float: activations that are quantized on the fly, dequantized outputs.
    F32 = 3,
}

/// By what parameters of columns are given.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// One value for all columns.
    Tensor = 0,
    /// One value for each group of columns.
    Group = 1,
    /// One value for each column.
    Column = 2,
}

/// Clusters of CPU features that kernels are generated for, the best last. All give the same bits.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TierCode {
    /// No machine code, on every CPU.
    Portable = 0,
    /// AVX2, FMA and F16C.
    Avx2 = 1,
    /// AVX2 and AVX-VNNI.
    Avx2Vnni = 2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512 = 3,
    /// AVX-512 and its VNNI.
    Avx512Vnni = 4,
    /// AVX-512, its VNNI, and AMX-INT8.
    Amx = 5,
}

/// How hard packing searches for fast sequences.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// One pass over neighbouring steps: for weights that are used once or twice.
    Quick = 0,
    /// A search over all steps of a block: some ten nanoseconds per weight, once.
    Full = 1,
}

/// How many threads a product may use.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadsCode {
    /// As many as the pool has, if the product is large enough for them.
    Auto = 0,
    /// At most so many, if the product is large enough. With one, the calling thread does all.
    Max = 1,
    /// So many, however small the product, as far as the pool has them and C can be cut.
    Exactly = 2,
}

/// An enum that C gives by number.
pub(crate) trait Code: Copy + 'static {
    /// Codes count from zero in this order.
    const ALL: &'static [Self];

    fn of(what: &str, code: i32) -> Outcome<Self> {
        let known = usize::try_from(code).ok().and_then(|code| Self::ALL.get(code));
        known.copied().ok_or_else(|| Failure::out_of_range(what, 0, Self::ALL.len() as i64 - 1, code.into()))
    }
}

impl Code for Type {
    const ALL: &'static [Type] = &[Type::U8, Type::I8, Type::I32, Type::F32];
}

impl Code for Per {
    const ALL: &'static [Per] = &[Per::Tensor, Per::Group, Per::Column];
}

impl Code for TierCode {
    const ALL: &'static [TierCode] = &[
        TierCode::Portable,
        TierCode::Avx2,
        TierCode::Avx2Vnni,
        TierCode::Avx512,
        TierCode::Avx512Vnni,
        TierCode::Amx,
    ];
}

impl Code for Effort {
    const ALL: &'static [Effort] = &[Effort::Quick, Effort::Full];
}

impl Code for ThreadsCode {
    const ALL: &'static [ThreadsCode] = &[ThreadsCode::Auto, ThreadsCode::Max, ThreadsCode::Exactly];
}

impl TierCode {
    pub(crate) fn tier(self) -> Tier {
        match self {
            TierCode::Portable => Tier::Portable,
            TierCode::Avx2 => Tier::Avx2,
            TierCode::Avx2Vnni => Tier::Avx2Vnni,
            TierCode::Avx512 => Tier::Avx512,
            TierCode::Avx512Vnni => Tier::Avx512Vnni,
            TierCode::Amx => Tier::Amx,
        }
    }

    pub(crate) fn from_tier(tier: Tier) -> Outcome<TierCode> {
        let code = TierCode::ALL.iter().find(|code| code.tier() == tier);
        code.copied().ok_or_else(|| Failure::unsupported(format!("tier {tier} has no code in this interface")))
    }
}

impl Effort {
    pub(crate) fn effort(self) -> PackEffort {
        match self {
            Effort::Quick => PackEffort::Quick,
            Effort::Full => PackEffort::Full,
        }
    }
}

impl ThreadsCode {
    /// `count` is for the codes that take one.
    pub(crate) fn threads(self, count: i64) -> Outcome<Threads> {
        let positive = || {
            if count < 1 { Err(Failure::out_of_range("threads", 1, i64::MAX, count)) } else { size("threads", count) }
        };
        match self {
            ThreadsCode::Auto if count != 0 => Err(Failure::out_of_range("threads, chosen automatically", 0, 0, count)),
            ThreadsCode::Auto => Ok(Threads::Auto),
            ThreadsCode::Max => positive().map(Threads::Max),
            ThreadsCode::Exactly => positive().map(Threads::Exactly),
        }
    }
}

/// Parameters of columns, the library's own copy.
#[derive(Debug, Clone)]
pub(crate) struct Values<T> {
    per: Per,
    values: Vec<T>,
}

impl<T: Copy> Values<T> {
    pub(crate) fn one(value: T) -> Values<T> {
        Values { per: Per::Tensor, values: vec![value] }
    }

    pub(crate) fn new(per: Per, values: &[T]) -> Outcome<Values<T>> {
        if per == Per::Tensor && values.len() != 1 {
            return Err(gemmill::Error::Mismatch { what: "values per tensor", expected: 1, given: values.len() }.into());
        }
        Ok(Values { per, values: values.to_vec() })
    }

    pub(crate) fn per_column(&self) -> PerColumn<'_, T> {
        match self.per {
            Per::Tensor => PerColumn::Tensor(self.values[0]),
            Per::Group => PerColumn::Group(&self.values),
            Per::Column => PerColumn::Column(&self.values),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tier_has_a_code_and_codes_count_from_zero() {
        for (index, tier) in Tier::ALL.into_iter().enumerate() {
            let code = TierCode::from_tier(tier).unwrap();
            assert_eq!((code as usize, code.tier()), (index, tier));
        }
        assert_eq!(TierCode::ALL.len(), Tier::ALL.len());
        for (index, &code) in Type::ALL.iter().enumerate() {
            assert_eq!(code as usize, index);
        }
        assert!(Per::ALL.iter().enumerate().all(|(index, &code)| code as usize == index));
        assert!(Effort::ALL.iter().enumerate().all(|(index, &code)| code as usize == index));
        assert!(ThreadsCode::ALL.iter().enumerate().all(|(index, &code)| code as usize == index));
        for bad in [-1, 3, i32::MIN, i32::MAX] {
            assert!(Per::of("per", bad).is_err());
        }
    }
}
