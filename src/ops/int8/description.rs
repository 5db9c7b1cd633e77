//! A plan, told: which kernels, blocks and parts a product gets.

use std::fmt;

use gemmill_codegen::{KernelDesc, Tier};

/// A plan, told. See [`Gemm::describe`](crate::Gemm::describe).
///
/// # Examples
/// ```
/// use gemmill::{Gemm, IntOutput, MatRef, PackedB};
/// let b = PackedB::new(MatRef::row_major(&[1i8; 64], 4, 16)?)?;
/// let plan = Gemm::<u8, i32>::builder(&b, IntOutput::Store).build()?.describe(4)?;
/// assert_eq!((plan.kernels[0].rows, plan.packs_a), (4, false));
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Description {
    /// The tier of the kernels.
    pub tier: Tier,
    /// The micro-kernels.
    pub kernels: Vec<KernelDesc>,
    /// Share of each multiplication sequence.
    pub sequence: String,
    /// Rows of a cache block.
    pub mc: usize,
    /// Depth of the longest block of K.
    pub kc: usize,
    /// Whether A is rewritten before it is multiplied.
    pub packs_a: bool,
    /// Parts among which threads split rows.
    pub row_parts: usize,
    /// Parts among which threads split columns.
    pub panel_parts: usize,
    /// What becomes of sums that leave i32.
    pub large_sums: LargeSums,
}

/// Whether sums can leave i32, whatever activations come, and what becomes of those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LargeSums {
    /// None can.
    Fit,
    /// They wrap modulo 2^32: C holds integers.
    Wrap,
    /// K is cut into so many parts, whose sums fit and are added up in 64 bits: C holds floats.
    InParts(usize),
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "tier {}, sequences {}", self.tier, self.sequence)?;
        writeln!(f, "MC {}, KC {}, A {}", self.mc, self.kc, if self.packs_a { "packed" } else { "read in place" })?;
        writeln!(f, "{} × {} parts", self.row_parts, self.panel_parts)?;
        match self.large_sums {
            LargeSums::Fit => {}
            LargeSums::Wrap => writeln!(f, "sums may leave i32: they wrap modulo 2^32")?,
            LargeSums::InParts(count) => writeln!(f, "sums may leave i32: K in {count} parts, added up in 64 bits")?,
        }
        self.kernels.iter().try_for_each(|kernel| writeln!(f, "{kernel}"))
    }
}
