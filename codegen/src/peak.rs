//! Instruction-sequence peaks: what this core can multiply and add when nothing but registers is involved.
//!
//! The loops go through the same lowering as the kernels. Their figures are the denominators of every "percent of peak".

use crate::CodegenError;
#[cfg(target_arch = "x86_64")]
use crate::args::KernelArgs;
#[cfg(target_arch = "x86_64")]
use crate::memory::Executable;
use crate::tier::Tier;

/// A sequence of vector instructions whose throughput bounds a kernel.
///
/// # Examples
/// ```
/// use gemmill_codegen::peak::Sequence;
/// assert_eq!(Sequence::ALL[0].name(), "narrow");
/// assert_eq!(Sequence::Sum2.macs_per_iteration(), 2 * Sequence::Narrow.macs_per_iteration());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sequence {
    /// Pair products, widened by ones, accumulated: three instructions for 32 multiply-accumulates.
    Narrow,
    /// 16-bit operands, two products summed, accumulated: four instructions for 32.
    Wide,
    /// Two pair products summed in 16 bits before one widening.
    Sum2,
    /// Three pair products summed in 16 bits.
    Sum3,
    /// Four pair products summed in 16 bits.
    Sum4,
    /// Eight pair products summed in 16 bits.
    Sum8,
}

impl Sequence {
    /// All sequences; the first is the measure of the others.
    pub const ALL: [Sequence; 6] =
        [Sequence::Narrow, Sequence::Wide, Sequence::Sum2, Sequence::Sum3, Sequence::Sum4, Sequence::Sum8];

    /// Name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Sequence::Narrow => "narrow",
            Sequence::Wide => "wide",
            Sequence::Sum2 => "sum2",
            Sequence::Sum3 => "sum3",
            Sequence::Sum4 => "sum4",
            Sequence::Sum8 => "sum8",
        }
    }

    /// Pair products that are summed before a widening.
    const fn steps(self) -> usize {
        match self {
            Sequence::Narrow | Sequence::Wide => 1,
            Sequence::Sum2 => 2,
            Sequence::Sum3 => 3,
            Sequence::Sum4 => 4,
            Sequence::Sum8 => 8,
        }
    }

    /// Multiply-accumulates of one iteration of [`PeakLoop::run`].
    pub const fn macs_per_iteration(self) -> u64 {
        (ACCUMULATORS * self.steps() * 32) as u64
    }
}

/// Chains of accumulators: enough to cover the latency of the longest sequence.
const ACCUMULATORS: usize = 10;

/// A generated loop over one sequence.
#[derive(Debug)]
pub struct PeakLoop {
    #[cfg(target_arch = "x86_64")]
    code: Executable,
}

impl PeakLoop {
    /// Generates the loop.
    ///
    /// # Errors
    /// [`CodegenError::Tier`] where there is no AVX2, otherwise as [`crate::Kernel::generate`].
    ///
    /// # Examples
    /// ```
    /// use gemmill_codegen::{Tier, peak::{PeakLoop, Sequence}};
    /// if Tier::Avx2.missing_feature().is_none() {
    ///     PeakLoop::new(Sequence::Narrow)?.run(1000);
    /// }
    /// # Ok::<(), gemmill_codegen::CodegenError>(())
    /// ```
    pub fn new(sequence: Sequence) -> Result<PeakLoop, CodegenError> {
        Tier::Avx2.require()?;
        #[cfg(target_arch = "x86_64")]
        return Ok(PeakLoop { code: Executable::new(&generate(sequence)?.bytes)? });
        #[cfg(not(target_arch = "x86_64"))]
        Err(CodegenError::Unsupported(sequence.name()))
    }

    /// Runs the loop `iterations` times; zero counts as one.
    pub fn run(&self, iterations: u64) {
        #[cfg(target_arch = "x86_64")]
        {
            let mut args = KernelArgs { row_tiles: iterations.max(1) as usize, ..KernelArgs::EMPTY };
            // SAFETY: the loop touches no memory but `row_tiles`, and `new` checked for AVX2.
            unsafe { self.code.call(&mut args) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = iterations;
    }
}

#[cfg(target_arch = "x86_64")]
fn generate(sequence: Sequence) -> Result<crate::x86::asm::MachineCode, CodegenError> {
    use crate::x86::asm::{Gpr, Mem};
    use crate::x86::avx2::Avx2;
    use crate::x86::lowering::{Lowering, Op, Vector};

    let mut low = Avx2::new(None);
    let (ones, a, b) = (Vector(15), Vector(14), Vector(13));
    // The sum and the product of one chain at a time; renaming makes them new registers for each.
    let (sum, product) = (Vector(12), Vector(11));
    (0..16).for_each(|r| low.zero(Vector(r)));
    low.asm().load64(Gpr::Rax, Mem::at(Gpr::Rdi, std::mem::offset_of!(KernelArgs, row_tiles)));
    let again = low.asm().label();
    low.asm().place(again);
    for acc in (0..ACCUMULATORS as u8).map(Vector) {
        if sequence == Sequence::Wide {
            low.op(Op::MulPairsI16, sum, a, b.into());
            low.op(Op::MulPairsI16, product, b, a.into());
            low.op(Op::AddI32, sum, sum, product.into());
        } else {
            low.op(Op::MulPairsU8I8, sum, a, b.into());
            for _ in 1..sequence.steps() {
                low.op(Op::MulPairsU8I8, product, b, a.into());
                low.op(Op::AddI16, sum, sum, product.into());
            }
            low.op(Op::MulPairsI16, sum, sum, ones.into());
        }
        low.op(Op::AddI32, acc, acc, sum.into());
    }
    low.asm().dec_jump_not_zero(Gpr::Rax, again);
    low.leave();
    low.asm().ret();
    low.finish()
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
