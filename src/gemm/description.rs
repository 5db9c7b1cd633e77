//! A plan, told: which kernels, blocks and parts a product gets.

use std::fmt;

use gemmill_codegen::{KernelDesc, Tier};

use super::activation::Activation;
use super::operation::Gemm;
use crate::error::Result;
use crate::matrix::Element;
use crate::plan::Plan;
use crate::run;

impl<A: Activation, C: Element> Gemm<A, C> {
    /// How a product with `rows` rows of A is carried out, integer activations being row-major.
    ///
    /// # Errors
    /// [`Error::Overflow`](crate::Error::Overflow) if a packed row of A would not fit the address space.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Gemm, IntOutput, MatRef, PackedB};
    /// let b = vec![1i8; 64 * 16];
    /// let gemm = Gemm::<u8, i32>::builder(&PackedB::new(MatRef::row_major(&b, 64, 16)?)?, IntOutput::Store).build()?;
    /// let plan = gemm.describe(5)?;
    /// assert_eq!(plan.kernels.len(), 1);
    /// assert_eq!(plan.kernels[0].rows, 5);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn describe(&self, rows: usize) -> Result<Description> {
        let packed = self.packed.view();
        let in_place = run::reads_in_place(packed, !A::KIND.is_converted(packed), self.packed.k());
        let plan = Plan::new(&self.problem(in_place, rows, None)?);
        let places = plan.kernel_places(self.packed.view().blocks().len());
        let kernels = places.filter_map(|index| self.kernel_desc(&plan, self.bound.epilogue, index)).collect();
        Ok(Description {
            tier: self.packed.tier(),
            kernels,
            sequence: self.packed.sequences().to_string(),
            mc: plan.mc(),
            kc: self.packed.view().blocks().iter().map(|b| b.len).max().unwrap_or(0),
            packs_a: !in_place,
            row_parts: plan.row_parts,
            panel_parts: plan.panel_parts,
        })
    }
}

/// A plan, told. See [`Gemm::describe`].
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
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "tier {}, sequences {}", self.tier, self.sequence)?;
        writeln!(f, "MC {}, KC {}, A {}", self.mc, self.kc, if self.packs_a { "packed" } else { "read in place" })?;
        writeln!(f, "{} × {} parts", self.row_parts, self.panel_parts)?;
        self.kernels.iter().try_for_each(|kernel| writeln!(f, "{kernel}"))
    }
}
