//! Codes of enums. They are `int32_t` where C gives them, for C may give any number.

use gemmill::quant::ZeroPoints;
use gemmill::{FloatType, Function, HardwareDot, PackEffort, PerColumn, Threads, Tier};

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
    /// float: activations that are quantized on the fly, dequantized outputs; operands of floating-point products.
    F32 = 3,
    /// IEEE 754 binary16, as uint16_t or a type with its bits: operands of floating-point products.
    F16 = 4,
    /// bfloat16, the upper half of a float, as uint16_t or a type with its bits: operands of floating-point products.
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
    /// One pass over neighbouring steps, in their natural pairing: one to two nanoseconds per weight, for weights that are used once
    /// or twice. Tiers with 32-bit dot products have nothing to search for, with either.
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

/// Dot products of bf16 that CPUs have instructions for, and that floating-point products use only if asked to: they round
/// otherwise. gemmill_float_gemm_set_hardware_dot has the formulas.
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
    /// Codes count from zero in this order.
    const ALL: &'static [Self];

    fn of(what: &str, code: i32) -> Outcome<Self> {
        let known = usize::try_from(code).ok().and_then(|code| Self::ALL.get(code));
        known.copied().ok_or_else(|| Failure::out_of_range(what, 0, Self::ALL.len() as i64 - 1, code.into()))
    }
}

impl Code for Type {
    const ALL: &'static [Type] = &[Type::U8, Type::I8, Type::I32, Type::F32, Type::F16, Type::Bf16];
}

impl Code for FunctionCode {
    const ALL: &'static [FunctionCode] =
        &[FunctionCode::Identity, FunctionCode::Relu, FunctionCode::Gelu, FunctionCode::Silu];
}

impl Code for HardwareDotCode {
    const ALL: &'static [HardwareDotCode] =
        &[HardwareDotCode::None, HardwareDotCode::Best, HardwareDotCode::Avx512Bf16, HardwareDotCode::AmxBf16];
}

impl Code for ZeroPointsCode {
    const ALL: &'static [ZeroPointsCode] = &[ZeroPointsCode::Middle, ZeroPointsCode::Each];
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

impl Type {
    /// The floating-point type of this code.
    pub(crate) fn float(what: &str, code: i32) -> Outcome<FloatType> {
        match Type::of(what, code)? {
            Type::F32 => Ok(FloatType::F32),
            Type::F16 => Ok(FloatType::F16),
            Type::Bf16 => Ok(FloatType::Bf16),
            Type::U8 | Type::I8 | Type::I32 => {
                Err(Failure::unsupported(format!("{what}: expected the type f32, f16 or bf16")))
            }
        }
    }

    pub(crate) fn from_float(float: FloatType) -> Type {
        match float {
            FloatType::F32 => Type::F32,
            FloatType::F16 => Type::F16,
            FloatType::Bf16 => Type::Bf16,
        }
    }
}

impl FunctionCode {
    pub(crate) fn function(self) -> Function {
        match self {
            FunctionCode::Identity => Function::Identity,
            FunctionCode::Relu => Function::Relu,
            FunctionCode::Gelu => Function::Gelu,
            FunctionCode::Silu => Function::Silu,
        }
    }
}

impl HardwareDotCode {
    /// The instruction, where one is named.
    pub(crate) fn named(self) -> Option<HardwareDot> {
        match self {
            HardwareDotCode::None | HardwareDotCode::Best => None,
            HardwareDotCode::Avx512Bf16 => Some(HardwareDot::Avx512Bf16),
            HardwareDotCode::AmxBf16 => Some(HardwareDot::AmxBf16),
        }
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

impl ZeroPointsCode {
    pub(crate) fn zero_points(self) -> ZeroPoints {
        match self {
            ZeroPointsCode::Middle => ZeroPoints::Middle,
            ZeroPointsCode::Each => ZeroPoints::Each,
        }
    }

    pub(crate) fn from_zero_points(zero_points: ZeroPoints) -> ZeroPointsCode {
        match zero_points {
            ZeroPoints::Middle => ZeroPointsCode::Middle,
            ZeroPoints::Each => ZeroPointsCode::Each,
        }
    }
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
        assert!(FunctionCode::ALL.iter().enumerate().all(|(index, &code)| code as usize == index));
        assert!(HardwareDotCode::ALL.iter().enumerate().all(|(index, &code)| code as usize == index));
        for dot in [None].into_iter().chain(HardwareDot::ALL.map(Some)) {
            assert_eq!(HardwareDotCode::from_dot(dot).named(), dot);
        }
        assert!(ZeroPointsCode::ALL.iter().enumerate().all(|(index, &code)| code as usize == index));
        for float in [FloatType::F32, FloatType::F16, FloatType::Bf16] {
            assert_eq!(Type::float("type", Type::from_float(float) as i32).unwrap(), float);
        }
        assert!(ThreadsCode::ALL.iter().enumerate().all(|(index, &code)| code as usize == index));
        for bad in [-1, 3, i32::MIN, i32::MAX] {
            assert!(Per::of("per", bad).is_err());
        }
    }
}
