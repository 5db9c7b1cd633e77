//! Instruction-sequence peaks: what this core can multiply and add when nothing but registers is involved; and what it
//! reads ([`ReadBuffer`]) when nothing but memory is.
//!
//! The loops go through the same lowering as the kernels. Their figures are the denominators of every "percent of
//! peak".

mod read;

use crate::CodegenError;
use crate::families::float::dot::HardwareDot;
#[cfg(target_arch = "x86_64")]
use crate::families::int8::args::KernelArgs;
#[cfg(target_arch = "x86_64")]
use crate::frame::Build;
#[cfg(target_arch = "x86_64")]
use crate::machine::executable::Executable;
use crate::machine::tier::Tier;
#[cfg(target_arch = "x86_64")]
use crate::machine::tier::TierError;
#[cfg(target_arch = "x86_64")]
use crate::x86::asm::MachineCode;
#[cfg(target_arch = "x86_64")]
use crate::x86::lowering::Lowering;

pub use read::{ReadBuffer, ReadPattern};

/// A sequence of instructions whose throughput bounds a kernel.
///
/// # Examples
/// ```
/// use gemmill_codegen::{Tier, peak::Sequence};
/// assert_eq!(Sequence::of(Tier::Avx2)[0].name(), "narrow");
/// assert_eq!(Sequence::of(Tier::Avx512Vnni), [Sequence::Dot]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sequence {
    /// Pair products, widened by ones, accumulated: three instructions for four multiply-accumulates a lane.
    Narrow,
    /// 16-bit operands, two products summed, accumulated: four instructions for as many.
    Wide,
    /// Two pair products summed in 16 bits before one widening.
    Sum2,
    /// Three pair products summed in 16 bits.
    Sum3,
    /// Four pair products summed in 16 bits.
    Sum4,
    /// Eight pair products summed in 16 bits.
    Sum8,
    /// 32-bit dot products: one instruction for four multiply-accumulates a lane.
    Dot,
    /// Products of tiles: one instruction for 16 × 16 × 64 multiply-accumulates.
    Tiles,
    /// Fused multiply-adds of f32: one multiply-accumulate a lane.
    Fma,
    /// Hardware dot products of bf16 in vectors: two multiply-accumulates a lane.
    DotBf16,
    /// The same of tiles: one instruction for 16 × 16 × 32 multiply-accumulates.
    TilesBf16,
}

const OF_PAIRS: [Sequence; 6] =
    [Sequence::Narrow, Sequence::Wide, Sequence::Sum2, Sequence::Sum3, Sequence::Sum4, Sequence::Sum8];

impl Sequence {
    /// The sequences of a tier's integer kernels, in its widest registers; the first is the measure of its products.
    /// None on the portable tier.
    pub const fn of(tier: Tier) -> &'static [Sequence] {
        match tier {
            Tier::Portable => &[],
            _ if tier.facts().tiles => &[Sequence::Tiles, Sequence::Dot],
            _ if tier.facts().dots => &[Sequence::Dot],
            _ => &OF_PAIRS,
        }
    }

    /// The sequences of a tier's floating-point kernels: first the one of products as they are by default, then those
    /// of hardware dot products, which not all of its CPUs have. None on the portable tier.
    pub const fn of_floats(tier: Tier) -> &'static [Sequence] {
        match tier {
            Tier::Portable => &[],
            _ if tier.facts().tiles => &[Sequence::Fma, Sequence::DotBf16, Sequence::TilesBf16],
            _ if tier.facts().lanes == 16 => &[Sequence::Fma, Sequence::DotBf16],
            _ => &[Sequence::Fma],
        }
    }

    /// The sequence of hardware dot products.
    pub const fn of_dot(dot: HardwareDot) -> Sequence {
        match dot {
            HardwareDot::Avx512Bf16 => Sequence::DotBf16,
            HardwareDot::AmxBf16 => Sequence::TilesBf16,
        }
    }

    /// Whether it multiplies tiles.
    #[cfg(target_arch = "x86_64")]
    const fn has_tiles(self) -> bool {
        matches!(self, Sequence::Tiles | Sequence::TilesBf16)
    }

    /// Name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Sequence::Narrow => "narrow",
            Sequence::Wide => "wide",
            Sequence::Sum2 => "sum2",
            Sequence::Sum3 => "sum3",
            Sequence::Sum4 => "sum4",
            Sequence::Sum8 => "sum8",
            Sequence::Dot => "dot",
            Sequence::Tiles => "tiles",
            Sequence::Fma => "fma",
            Sequence::DotBf16 => "dot-bf16",
            Sequence::TilesBf16 => "tiles-bf16",
        }
    }

    /// Pair products that are summed before a widening.
    #[cfg(target_arch = "x86_64")]
    const fn steps(self) -> usize {
        match self {
            Sequence::Narrow | Sequence::Wide | Sequence::Dot | Sequence::Tiles => 1,
            Sequence::Fma | Sequence::DotBf16 | Sequence::TilesBf16 => 1,
            Sequence::Sum2 => 2,
            Sequence::Sum3 => 3,
            Sequence::Sum4 => 4,
            Sequence::Sum8 => 8,
        }
    }
}

/// Chains of accumulators: enough to cover the latency of the longest sequence.
#[cfg(target_arch = "x86_64")]
const ACCUMULATORS: usize = 10;
/// The same for 32-bit dot products and multiply-adds, which need no other registers: two more than a latency of five
/// cycles on two ports.
#[cfg(target_arch = "x86_64")]
const DOT_ACCUMULATORS: usize = 12;
/// The same in tiles: some four cover a latency of 52 cycles at 16 cycles each (Intel's figures).
#[cfg(target_arch = "x86_64")]
const TILE_ACCUMULATORS: usize = 6;

/// A generated loop over one sequence.
#[derive(Debug)]
pub struct PeakLoop {
    #[cfg(target_arch = "x86_64")]
    macs: u64,
    #[cfg(target_arch = "x86_64")]
    code: Executable,
}

impl PeakLoop {
    /// Generates the loop.
    ///
    /// # Errors
    /// [`CodegenError::Tier`] if the CPU lacks the tier, [`CodegenError::Unsupported`] if the tier has no such
    /// sequence, otherwise as [`crate::Kernel::generate`].
    ///
    /// # Examples
    /// ```
    /// use gemmill_codegen::{Tier, peak::{PeakLoop, Sequence}};
    /// if Tier::Avx2.missing_feature().is_none() {
    ///     let narrow = PeakLoop::new(Tier::Avx2, Sequence::Narrow)?;
    ///     assert_eq!(narrow.macs_per_iteration(), 320);
    ///     narrow.run(1000);
    /// }
    /// # Ok::<(), gemmill_codegen::CodegenError>(())
    /// ```
    pub fn new(tier: Tier, sequence: Sequence) -> Result<PeakLoop, CodegenError> {
        tier.require()?;
        if !Sequence::of(tier).contains(&sequence) && !Sequence::of_floats(tier).contains(&sequence) {
            return Err(CodegenError::Unsupported("the tier has no such sequence"));
        }
        #[cfg(target_arch = "x86_64")]
        {
            let code = crate::frame::lower(tier, tier.facts().lanes, sequence)?;
            // A tier may be one that the interpreter stands in for: these loops run on the CPU alone.
            if let Some(feature) = code.features.missing() {
                return Err(TierError::Missing { tier, feature }.into());
            }
            Ok(PeakLoop {
                macs: macs_per_iteration(tier, sequence),
                code: Executable::new(&code.bytes).map_err(CodegenError::memory)?,
            })
        }
        #[cfg(not(target_arch = "x86_64"))]
        Err(CodegenError::Unsupported("this architecture has the portable tier only"))
    }

    /// Multiply-accumulates of one iteration of [`PeakLoop::run`].
    pub fn macs_per_iteration(&self) -> u64 {
        #[cfg(target_arch = "x86_64")]
        return self.macs;
        #[cfg(not(target_arch = "x86_64"))]
        0
    }

    /// Runs the loop `iterations` times; zero counts as one. The example of [`PeakLoop::new`] does.
    pub fn run(&self, iterations: u64) {
        #[cfg(target_arch = "x86_64")]
        {
            let mut args = KernelArgs { tiles: iterations.max(1) as usize, ..KernelArgs::EMPTY };
            // SAFETY: the loop touches no memory but `tiles`, and `new` checked for the features of its instructions.
            unsafe { self.code.call(&mut args) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = iterations;
    }
}

#[cfg(target_arch = "x86_64")]
fn macs_per_iteration(tier: Tier, sequence: Sequence) -> u64 {
    let lanes = tier.facts().lanes;
    match sequence {
        Sequence::Tiles => (TILE_ACCUMULATORS * 16 * 16 * 64) as u64,
        Sequence::TilesBf16 => (TILE_ACCUMULATORS * 16 * 16 * 32) as u64,
        Sequence::Dot => (DOT_ACCUMULATORS * lanes * 4) as u64,
        Sequence::Fma => (DOT_ACCUMULATORS * lanes) as u64,
        Sequence::DotBf16 => (DOT_ACCUMULATORS * lanes * 2) as u64,
        _ => (ACCUMULATORS * sequence.steps() * lanes * 4) as u64,
    }
}

#[cfg(target_arch = "x86_64")]
impl Build for Sequence {
    fn build<L: Lowering>(self, low: L) -> Result<MachineCode, CodegenError> {
        generate_with(low, self)
    }
}

#[cfg(target_arch = "x86_64")]
fn generate_with(mut low: impl Lowering, sequence: Sequence) -> Result<MachineCode, CodegenError> {
    use crate::families::int8::desc::Byte;
    use crate::x86::asm::{Gpr, Mem};
    use crate::x86::lowering::{Op, Tile, TileOp, Vector};
    use crate::x86::tiles::MicroTile;

    let (ones, a, b) = (Vector(15), Vector(14), Vector(13));
    // The sum and the product of one chain at a time; renaming makes them new registers for each.
    let (sum, product) = (Vector(12), Vector(11));
    match sequence.has_tiles() {
        true => {
            MicroTile { rows: 32, vectors: 2 }.configure(&mut low);
            (0..8).for_each(|tile| low.tile(TileOp::Zero(Tile(tile))));
        }
        false => (0..16).for_each(|r| low.zero(Vector(r))),
    }
    low.asm().load64(Gpr::Rax, Mem::at(Gpr::Rdi, std::mem::offset_of!(KernelArgs, tiles)));
    let again = low.asm().label();
    low.asm().place(again);
    if sequence.has_tiles() {
        let (a, b) = (Tile(6), Tile(7));
        for sums in (0..TILE_ACCUMULATORS as u8).map(Tile) {
            low.tile(match sequence {
                Sequence::TilesBf16 => TileOp::DotBf16 { sums, a, b },
                _ => TileOp::Dot { sums, a, b, activations: Byte::U8 },
            });
        }
    }
    let chains = match sequence {
        Sequence::Tiles | Sequence::TilesBf16 => 0,
        Sequence::Dot | Sequence::Fma | Sequence::DotBf16 => DOT_ACCUMULATORS,
        _ => ACCUMULATORS,
    };
    for acc in (0..chains as u8).map(Vector) {
        match sequence {
            Sequence::Dot => {
                low.dot(acc, a, b.into());
                continue;
            }
            Sequence::Fma => {
                low.accumulate_f32(acc, a, b.into());
                continue;
            }
            Sequence::DotBf16 => {
                low.dot_bf16(acc, a, b.into());
                continue;
            }
            Sequence::Wide => {
                low.op(Op::MulPairsI16, sum, a, b.into());
                low.op(Op::MulPairsI16, product, b, a.into());
                low.op(Op::AddI32, sum, sum, product.into());
            }
            _ => {
                low.op(Op::MulPairsU8I8, sum, a, b.into());
                for _ in 1..sequence.steps() {
                    low.op(Op::MulPairsU8I8, product, b, a.into());
                    low.op(Op::AddI16, sum, sum, product.into());
                }
                low.op(Op::MulPairsI16, sum, sum, ones.into());
            }
        }
        low.op(Op::AddI32, acc, acc, sum.into());
    }
    low.asm().dec_jump_not_zero(Gpr::Rax, again);
    if sequence.has_tiles() {
        low.tile(TileOp::Release);
    }
    low.leave();
    low.asm().ret();
    low.finish()
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
