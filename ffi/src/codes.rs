//! Codes of enums. They are `int32_t` where C gives them, for C may give any number.

use gemmill::quant::ZeroPoints;
use gemmill::{Element, ElementType, Function, HardwareDot, PackEffort, PerColumn, Threads, Tier};

use crate::call::{Failure, Outcome};
use crate::caller::Caller;
use crate::memory::{at_least_one, copied, size};
use crate::operation::expect_count;

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
    /// float: activations that are quantized on the fly, dequantized outputs, operands of floating-point products.
    F32 = 3,
    /// IEEE 754 binary16, as uint16_t or a type with its bits: as float.
    F16 = 4,
    /// bfloat16, the upper half of a float, as uint16_t or a type with its bits: as float.
    Bf16 = 5,
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
    /// One pass over neighbouring steps, in their natural pairing: one to two nanoseconds per weight, for weights that
    /// are used once or twice. Tiers with 32-bit dot products have nothing to search for, with either.
    Quick = 0,
    /// A search over all steps of a block: some four nanoseconds per weight, once.
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

/// What becomes of the sums of a floating-point product.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionCode {
    /// x
    Identity = 0,
    /// max(x, 0)
    Relu = 1,
    /// x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))) / 2, to about the last bits of float
    Gelu = 2,
    /// x / (1 + exp(-x)), also called swish, to about the last bits of float
    Silu = 3,
}

/// Dot products of bf16 that CPUs have instructions for, and that floating-point products use only if asked to: they
/// round otherwise. gemmill_float_gemm_set_hardware_dot has the formulas.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HardwareDotCode {
    /// None of them: one chain of fused multiply-adds.
    #[default]
    None = 0,
    /// The last one below that the tier and the CPU have.
    Best = 1,
    /// AVX512-BF16, VDPBF16PS: of vectors. For the tiers from GEMMILL_TIER_AVX512 on.
    Avx512Bf16 = 2,
    /// AMX-BF16, TDPBF16PS: of tiles. For GEMMILL_TIER_AMX.
    AmxBf16 = 3,
}

/// Which integers stand for 0 in weights of few bits.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZeroPointsCode {
    /// The middle everywhere, 8 of 4 bits and 2 of 2: symmetric weights.
    Middle = 0,
    /// One for each group of each column: asymmetric weights.
    Each = 1,
}

/// An enum that C gives by number.
pub(crate) trait Code: Copy + 'static {
    /// What the codes stand for.
    type Meaning: Copy + PartialEq;

    /// Codes count from zero in this order.
    const ALL: &'static [(Self, Self::Meaning)];

    /// What a number stands for.
    fn of(what: &str, number: i32) -> Outcome<Self::Meaning> {
        let known = usize::try_from(number).ok().and_then(|number| Self::ALL.get(number));
        let highest = Self::ALL.len() as i64 - 1;
        known.map(|(_, meaning)| *meaning).ok_or_else(|| Failure::out_of_range(what, 0, highest, number.into()))
    }

    /// The code that stands for this; none for what the library has and this interface has not.
    fn meaning(meaning: Self::Meaning) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == meaning).map(|(code, _)| *code)
    }
}

/// Codes and what they stand for, where that has the same name.
macro_rules! codes {
    ($($code:ident: $meaning:ident { $($variant:ident),* })*) => {
        $(impl Code for $code {
            type Meaning = $meaning;

            const ALL: &'static [($code, $meaning)] = &[$(($code::$variant, $meaning::$variant)),*];
        })*
    };
}

codes! {
    Type: ElementType { U8, I8, I32, F32, F16, Bf16 }
    Per: Per { Tensor, Group, Column }
    TierCode: Tier { Portable, Avx2, Avx2Vnni, Avx512, Avx512Vnni, Amx }
    Effort: PackEffort { Quick, Full }
    ThreadsCode: ThreadsCode { Auto, Max, Exactly }
    FunctionCode: Function { Identity, Relu, Gelu, Silu }
    HardwareDotCode: HardwareDotCode { None, Best, Avx512Bf16, AmxBf16 }
    ZeroPointsCode: ZeroPoints { Middle, Each }
}

/// The Rust types of [`ElementType`]s, by its names.
pub(crate) mod types {
    pub(crate) type U8 = u8;
    pub(crate) type I8 = i8;
    pub(crate) type I32 = i32;
    pub(crate) type F32 = f32;
    pub(crate) type F16 = gemmill::half::f16;
    pub(crate) type Bf16 = gemmill::half::bf16;
}

/// `$body` with `$rust` for the type of an [`ElementType`] that is among those named, otherwise `$other`.
macro_rules! with_type {
    ($element:expr, $rust:ident in [$($name:ident)*] => $body:expr $(, else $other:expr)?) => {
        match $element {
            $(gemmill::ElementType::$name => {
                type $rust = crate::codes::types::$name;
                $body
            })*
            $(_ => $other,)?
        }
    };
}
pub(crate) use with_type;

impl Type {
    /// The floating-point type of this code.
    pub(crate) fn float(what: &str, code: i32) -> Outcome<ElementType> {
        let given = Type::of(what, code)?;
        given.float().map(|_| given).ok_or_else(|| Type::not_float(what, given))
    }

    pub(crate) fn not_float(what: &str, given: ElementType) -> Failure {
        Failure::unsupported(format!("{what}: expected the type f32, f16 or bf16, given {given}"))
    }
}

impl HardwareDotCode {
    /// The instruction, where one is named.
    pub(crate) fn named(self) -> Option<HardwareDot> {
        HardwareDot::ALL.into_iter().find(|dot| HardwareDotCode::from_dot(Some(*dot)) == self)
    }

    /// The instruction that is meant on a tier, or on the best one: none only for [`HardwareDotCode::None`].
    pub(crate) fn resolve(self, tier: Option<Tier>) -> gemmill::Result<Option<HardwareDot>> {
        if self != HardwareDotCode::Best {
            return Ok(self.named());
        }
        let tier = tier.map_or_else(Tier::best, Ok)?;
        Ok(Some(HardwareDot::best(tier)?))
    }

    pub(crate) fn from_dot(dot: Option<HardwareDot>) -> HardwareDotCode {
        match dot {
            None => HardwareDotCode::None,
            Some(HardwareDot::Avx512Bf16) => HardwareDotCode::Avx512Bf16,
            Some(HardwareDot::AmxBf16) => HardwareDotCode::AmxBf16,
        }
    }
}

impl TierCode {
    pub(crate) fn from_tier(tier: Tier) -> Outcome<TierCode> {
        TierCode::meaning(tier)
            .ok_or_else(|| Failure::unsupported(format!("tier {tier} has no code in this interface")))
    }
}

impl ThreadsCode {
    /// What `how` says of a number of threads.
    pub(crate) fn threads(how: i32, count: i64) -> Outcome<Threads> {
        match ThreadsCode::of("how", how)? {
            ThreadsCode::Auto if count != 0 => Err(Failure::out_of_range("threads, chosen automatically", 0, 0, count)),
            ThreadsCode::Auto => Ok(Threads::Auto),
            ThreadsCode::Max => at_least_one("threads", count).map(Threads::Max),
            ThreadsCode::Exactly => at_least_one("threads", count).map(Threads::Exactly),
        }
    }
}

/// Parameters of columns, the library's own copy.
#[derive(Debug, Clone)]
pub(crate) struct Values<T> {
    per: Per,
    values: Vec<T>,
}

impl<T: Element> Values<T> {
    pub(crate) fn one(value: T) -> Values<T> {
        Values { per: Per::Tensor, values: vec![value] }
    }

    /// Parameters as C gives them. Asks for: [`Caller::elements`].
    pub(crate) fn given(
        caller: Caller<'_>, what: &'static str, per: i32, (values, count): (*const T, i64),
    ) -> Outcome<Values<T>> {
        let per = Per::of("per", per)?;
        let values = caller.elements(what, values, size("count", count)?)?;
        if per == Per::Tensor {
            expect_count("values per tensor", 1, values.len())?;
        }
        Ok(Values { per, values: copied(what, values)? })
    }

    /// Refuses another number of values than columns in groups ask for.
    pub(crate) fn expect(self, what: &'static str, groups: usize, n: usize) -> Outcome<Values<T>> {
        let expected = match self.per {
            Per::Tensor => 1,
            Per::Group => groups,
            Per::Column => n,
        };
        expect_count(what, expected, self.values.len())?;
        Ok(self)
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

    fn counts_from_zero<C: Code>(number: impl Fn(C) -> i32) {
        for (index, &(code, meaning)) in C::ALL.iter().enumerate() {
            assert_eq!(number(code), index as i32);
            assert!(
                C::of("code", number(code)).unwrap() == meaning
                    && C::meaning(meaning).map(&number) == Some(index as i32)
            );
        }
        for bad in [-1, C::ALL.len() as i32, i32::MIN, i32::MAX] {
            assert!(C::of("code", bad).is_err());
        }
    }

    #[test]
    fn codes_count_from_zero() {
        counts_from_zero(|code: Type| code as i32);
        counts_from_zero(|code: Per| code as i32);
        counts_from_zero(|code: TierCode| code as i32);
        counts_from_zero(|code: Effort| code as i32);
        counts_from_zero(|code: ThreadsCode| code as i32);
        counts_from_zero(|code: FunctionCode| code as i32);
        counts_from_zero(|code: HardwareDotCode| code as i32);
        counts_from_zero(|code: ZeroPointsCode| code as i32);
    }

    #[test]
    fn what_the_library_has_has_a_code() {
        for (index, tier) in Tier::ALL.into_iter().enumerate() {
            assert_eq!(TierCode::from_tier(tier).unwrap() as usize, index);
        }
        assert_eq!(TierCode::ALL.len(), Tier::ALL.len());
        for dot in [None].into_iter().chain(HardwareDot::ALL.map(Some)) {
            assert_eq!(HardwareDotCode::from_dot(dot).named(), dot);
        }
        for element in ElementType::ALL {
            let code = Type::meaning(element).unwrap() as i32;
            assert_eq!(Type::float("type", code).is_ok(), element.float().is_some());
        }
    }
}
