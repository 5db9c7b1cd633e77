//! [`GroupwiseGemm`]: i8 activations, quantized row by row inside the call, by groupwise weights.

use std::sync::{Arc, PoisonError, RwLock};

use gemmill_codegen::{Core, GroupKernelDesc, Kernel, KernelCache, Machine, Prefetch, Tier, group_rows};

use super::packed::PackedGroupwise;
use crate::error::{Result, expect};
use crate::float::{Float, Function, Source};
use crate::gemm::Threads;
use crate::matrix::{MatMut, MatRef};
use crate::parallel::ParallelFor;
use crate::plan::{MACS_PER_THREAD, RowTiles, parts};
use crate::run::groupwise::{self, GroupwiseJob};

/// Bytes from a line of packed weights to the one that is prefetched while it is multiplied.
fn prefetch_distance(core: Core) -> usize {
    match core {
        // MEASURED on Zen 4, one row from memory: twice as far is no better.
        Core::Zen => 8192,
        // MEASURED on Granite Rapids, one row from memory: W4A8 is 1.08 times as fast as with 8 KiB, and nothing else differs.
        // On Emerald Rapids 8 KiB into the second level had been a quarter faster than 4 KiB into the first; this was not tried.
        Core::Intel => 4096,
    }
}

/// A product `C = f(A · B + bias)` of floating-point activations, quantized to i8 row by row inside the call, and weights of
/// 4 or 2 bits.
///
/// ```text
/// scale[i] = max_k |A[i][k]| / 127;   qa[i][k] = rne(A[i][k] / scale[i])
/// s[g]     = Σ_{k in g} qa[i][k] * (q[k][j] - zero_point[g][j])            i32, exact
/// acc      = fma(f32(s[g]), f32(scale[g][j]), acc)                         g ascending, from 0
/// C[i][j]  = round(f(fma(acc, scale[i], bias[j])))                         without a bias: acc * scale[i]
/// ```
///
/// Activations that are NaN count as zero. A row of zeros has the scale 0.1, and so has one whose scale would have no finite
/// reciprocal.
///
/// The bits are those of [`reference::groupwise`](mod@crate::reference::groupwise) on every tier, for every number of rows and
/// threads.
///
/// # Examples
/// ```
/// use gemmill::quant::{Bits, GroupSize, GroupwiseFormat, GroupwiseWeights, ZeroPoints};
/// use gemmill::{GroupwiseGemm, MatMut, MatRef, PackedGroupwise};
/// let (m, n, k) = (1, 2, 64);
/// let w: Vec<f32> = (0..k * n).map(|i| if i % 2 == 0 { 0.5 } else { -0.25 }).collect();
/// let format = GroupwiseFormat { bits: Bits::Four, group_size: GroupSize::G32, zero_points: ZeroPoints::Middle };
/// let weights = GroupwiseWeights::search(MatRef::row_major(&w, k, n)?, format, None)?;
/// let gemm = GroupwiseGemm::builder(&PackedGroupwise::new(&weights)?).build()?;
/// let (a, mut c) = (vec![1f32; k], [0f32; 2]);
/// gemm.run(MatRef::row_major(&a, m, k)?, &mut MatMut::row_major(&mut c, m, n)?)?;
/// assert!((c[0] - 32.0).abs() < 0.2 && (c[1] + 16.0).abs() < 0.1);
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug)]
pub struct GroupwiseGemm {
    packed: PackedGroupwise,
    tier: Tier,
    /// Empty if there is none.
    bias: Vec<f32>,
    function: Function,
    threads: Threads,
    /// By number of rows of a micro-tile.
    kernels: RwLock<Vec<Option<Arc<Kernel<GroupKernelDesc>>>>>,
}

/// Configures a [`GroupwiseGemm`]; made by [`GroupwiseGemm::builder`].
#[derive(Debug, Clone)]
pub struct GroupwiseGemmBuilder<'a> {
    packed: &'a PackedGroupwise,
    bias: Option<&'a [f32]>,
    function: Function,
    threads: Threads,
    tier: Option<Tier>,
}

impl<'a> GroupwiseGemmBuilder<'a> {
    /// A number for each column.
    pub fn bias(mut self, bias: &'a [f32]) -> Self {
        self.bias = Some(bias);
        self
    }

    /// What is stored of a sum.
    pub fn function(mut self, function: Function) -> Self {
        self.function = function;
        self
    }

    /// How many threads a product may use.
    pub fn threads(mut self, threads: Threads) -> Self {
        self.threads = threads;
        self
    }

    /// The tier of kernels: the best one of this CPU, or the one that `GEMMILL_TIER` names, if not given.
    pub fn tier(mut self, tier: Tier) -> Self {
        self.tier = Some(tier);
        self
    }

    /// Checks everything that does not depend on A.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a bias of the wrong length, [`Error::BadNumber`] for limits that are none,
    /// [`Error::OutOfRange`] for zero threads, [`Error::Tier`] for a tier that the CPU lacks.
    ///
    /// [`Error::Mismatch`]: crate::Error::Mismatch
    /// [`Error::BadNumber`]: crate::Error::BadNumber
    /// [`Error::OutOfRange`]: crate::Error::OutOfRange
    /// [`Error::Tier`]: crate::Error::Tier
    pub fn build(self) -> Result<GroupwiseGemm> {
        let tier = match self.tier {
            Some(tier) => tier.require()?,
            None => Tier::best()?,
        };
        self.threads.check()?;
        self.function.check()?;
        if let Some(bias) = self.bias {
            expect("bias", self.packed.n(), bias.len())?;
        }
        Ok(GroupwiseGemm {
            packed: self.packed.clone(),
            tier,
            bias: self.bias.unwrap_or_default().to_vec(),
            function: self.function,
            threads: self.threads,
            kernels: RwLock::new(vec![None; group_rows(tier) + 1]),
        })
    }
}

/// What may differ from run to run.
///
/// # Examples
/// ```
/// use gemmill::GroupwiseRunOptions;
/// assert_eq!(format!("{:?}", GroupwiseRunOptions::new()), "GroupwiseRunOptions { parallel_for: None }");
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct GroupwiseRunOptions<'a> {
    parallel_for: Option<&'a dyn ParallelFor>,
}

impl<'a> GroupwiseRunOptions<'a> {
    /// None of them.
    pub fn new() -> Self {
        Self::default()
    }

    /// Threads of the caller's own, instead of a rayon pool's. The operation's [`Threads`] say how many of them it may use.
    pub fn parallel_for(mut self, threads: &'a dyn ParallelFor) -> Self {
        self.parallel_for = Some(threads);
        self
    }
}

impl GroupwiseGemm {
    /// An operation with these weights.
    pub fn builder(packed: &PackedGroupwise) -> GroupwiseGemmBuilder<'_> {
        GroupwiseGemmBuilder { packed, bias: None, function: Function::Identity, threads: Threads::Auto, tier: None }
    }

    /// The packed weights.
    pub fn packed(&self) -> &PackedGroupwise {
        &self.packed
    }

    /// The tier of its kernels.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Whether a product of so many rows of A may use other threads than the calling one: if not, it asks no pool for any.
    pub fn may_use_threads(&self, rows: usize) -> bool {
        self.threads.may_be_several(rows, self.packed.k(), self.packed.n())
    }

    /// Computes C from A: M × K into M × N. A may have any strides.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if shapes don't fit, [`Error::BadNumber`] if an activation is infinite, also where C has no
    /// columns, [`Error::Codegen`] if the system refuses executable memory. C is untouched then.
    ///
    /// [`Error::Mismatch`]: crate::Error::Mismatch
    /// [`Error::BadNumber`]: crate::Error::BadNumber
    /// [`Error::Codegen`]: crate::Error::Codegen
    pub fn run<A: Float, C: Float>(&self, a: MatRef<'_, A>, c: &mut MatMut<'_, C>) -> Result<()> {
        self.run_with(a, c, &GroupwiseRunOptions::default())
    }

    /// As [`GroupwiseGemm::run`], with threads of the caller's own.
    ///
    /// # Errors
    /// Also [`Error::NotRun`](crate::Error::NotRun) if these did not run all tasks: C is written in part then.
    pub fn run_with<A: Float, C: Float>(
        &self,
        a: MatRef<'_, A>,
        c: &mut MatMut<'_, C>,
        options: &GroupwiseRunOptions<'_>,
    ) -> Result<()> {
        let (k, n) = (self.packed.k(), self.packed.n());
        expect("columns of A against rows of B", k, a.cols())?;
        expect("rows of C against rows of A", a.rows(), c.rows())?;
        expect("columns of C against columns of B", n, c.cols())?;
        groupwise::check_finite(a)?;
        if a.rows() == 0 || n == 0 {
            return Ok(());
        }
        let tiles = RowTiles::cut(a.rows(), a.rows().div_ceil(group_rows(self.tier)));
        let panels = n.div_ceil(gemmill_codegen::GROUP_PANEL);
        let threads = self.thread_count(a.rows(), options.parallel_for);
        let (row_parts, panel_parts) = parts(threads, tiles.count(), panels, true);
        let row_bytes = tiles.height * self.packed.padded_k().max(1);
        let tall = self.kernel(tiles.height)?;
        let short = if tiles.short > 0 { Some(self.kernel(tiles.height - 1)?) } else { None };
        let job = GroupwiseJob {
            packed: &self.packed,
            a: Source::new(a),
            tiles,
            tiles_per_block: (Machine::of_this_cpu().caches.l2 / 4 / row_bytes).max(1),
            row_parts,
            panel_parts,
            prefetch_distance: prefetch_distance(Machine::of_this_cpu().core),
            kernels: [Some(&tall), short.as_ref()].map(|k| k.map(Arc::as_ref)),
            bias: &self.bias,
            function: self.function,
        };
        groupwise::run(&job, c, options.parallel_for)
    }

    fn thread_count(&self, rows: usize, own_threads: Option<&dyn ParallelFor>) -> usize {
        let (k, n) = (self.packed.k(), self.packed.n());
        let threads = self.threads.of_product(rows, k, n, own_threads);
        match self.threads {
            Threads::Exactly(_) => threads,
            _ => threads.min(rows.saturating_mul(n).saturating_mul(k) / MACS_PER_THREAD).max(1),
        }
    }

    /// The kernel for micro-tiles of so many rows.
    fn kernel(&self, rows: usize) -> Result<Arc<Kernel<GroupKernelDesc>>> {
        // A panic elsewhere cannot leave the list half-written.
        if let Some(kernel) = &self.kernels.read().unwrap_or_else(PoisonError::into_inner)[rows] {
            return Ok(kernel.clone());
        }
        let prefetch = prefetch(Machine::of_this_cpu(), rows, self.packed.size_in_bytes());
        let kernel = KernelCache::<GroupKernelDesc>::global().get(&self.packed.kernel(self.tier, rows, prefetch))?;
        self.kernels.write().unwrap_or_else(PoisonError::into_inner)[rows] = Some(kernel.clone());
        Ok(kernel)
    }
}

/// What micro-tiles of so many rows prefetch of so many bytes of packed weights.
fn prefetch(machine: Machine, rows: usize, packed_bytes: usize) -> Prefetch {
    if packed_bytes <= machine.caches.l2 / 2 {
        return Prefetch::None;
    }
    match machine.core {
        // MEASURED on Zen 4, one row: from memory 2.2 times as fast as without, from the third-level cache 1.1 times.
        Core::Zen => Prefetch::ToFirstLevel,
        // MEASURED on Granite Rapids: from memory 1.2 times as fast as into the first level.
        Core::Intel if rows <= 2 => Prefetch::ToSecondLevel,
        // MEASURED on Granite Rapids, four rows: from memory 1.4 times as fast as without, from the third-level cache 1.1 times.
        Core::Intel => Prefetch::ToFirstLevel,
    }
}
