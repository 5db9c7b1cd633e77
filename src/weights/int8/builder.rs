//! Packing with options, and its checks.

use std::sync::Arc;

use gemmill_codegen::{Machine, Section, Tier, sections};

use super::choice::{Packing, choose_layout, full_panel_vectors};
use super::file::StoredSchedule;
use super::gather::Gather;
use super::layout::{Draft, PackedPanels, panels};
use super::packed::{Inner, PackOptions, PackedB, ZeroPoints};
use super::schedule::{Limits, Search};
use super::sums::largest_sum;
use crate::error::{Error, Result};
use crate::machine::memory::{filled, require};
use crate::machine::threads::{Threads, share};
use crate::machine::tuning::MIN_WEIGHTS_FOR_THREADS;
use crate::quant::check_scale;
use crate::quant::per_column::PerColumn;
use crate::views::{Element, MatRef};

mod sealed {
    pub trait Sealed {}
    impl Sealed for i8 {}
    impl Sealed for u8 {}
}

/// A type of weights: `i8` or `u8`.
pub trait Weight: Element + PartialEq + sealed::Sealed {
    #[doc(hidden)]
    const SIGNED: bool;
    /// The bits of a byte that [`Weight::to_i8`] changes.
    #[doc(hidden)]
    const FLIP: u8 = if Self::SIGNED { 0 } else { 0x80 };
    #[doc(hidden)]
    fn bytes(weights: &[Self]) -> &[u8];
    #[doc(hidden)]
    fn to_i8(self) -> i8;
    #[doc(hidden)]
    fn from_i8(x: i8) -> Self;
}

impl Weight for i8 {
    const SIGNED: bool = true;
    fn bytes(weights: &[i8]) -> &[u8] {
        bytemuck::cast_slice(weights)
    }
    fn to_i8(self) -> i8 {
        self
    }
    fn from_i8(x: i8) -> i8 {
        x
    }
}

/// Kernels multiply i8 weights: unsigned ones are moved down by 128, and so are their zero points.
impl Weight for u8 {
    const SIGNED: bool = false;
    fn bytes(weights: &[u8]) -> &[u8] {
        weights
    }
    fn to_i8(self) -> i8 {
        (self ^ 0x80) as i8
    }
    fn from_i8(x: i8) -> u8 {
        x as u8 ^ 0x80
    }
}

/// How hard packing searches for steps that may be summed in 16 bits.
///
/// # Examples
/// ```
/// use gemmill::{MatRef, PackEffort, PackedB};
/// let b = MatRef::row_major(&[1i8, 2, 3, 4], 2, 2)?;
/// let packed = PackedB::builder(b).effort(PackEffort::Quick).build()?;
/// assert_eq!(packed.k(), 2);
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PackEffort {
    /// One pass over neighbouring steps, in their natural pairing: one to two nanoseconds per weight, for weights that
    /// are used once or twice. Tiers with 32-bit dot products have nothing to search for, with either.
    Quick,
    /// A search over all steps of a block and three pairings: some four nanoseconds per weight, once.
    #[default]
    Full,
}

/// Packs weights with options. See [`PackedB::builder`].
///
/// # Examples
/// ```
/// use gemmill::{MatRef, PackBuilder, PackedB};
/// let builder: PackBuilder<'_, i8> = PackedB::builder(MatRef::row_major(&[1i8, 2, 3, 4], 2, 2)?);
/// assert_eq!(builder.activation_max(127).build()?.activation_max(), 127);
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct PackBuilder<'a, T> {
    b: MatRef<'a, T>,
    groups: usize,
    zero_points: PerColumn<'a, i32>,
    activation_max: u8,
    tier: Option<Tier>,
    effort: PackEffort,
    kc: Option<usize>,
    scales: Option<PerColumn<'a, f32>>,
    threads: Threads,
    stored: Option<StoredSchedule<'a>>,
}

impl<'a, T: Weight> PackBuilder<'a, T> {
    pub(super) fn new(b: MatRef<'a, T>) -> Self {
        PackBuilder {
            b,
            groups: 1,
            zero_points: PerColumn::Tensor(0),
            activation_max: u8::MAX,
            tier: None,
            effort: PackEffort::Full,
            kc: None,
            scales: None,
            threads: Threads::Auto,
            stored: None,
        }
    }

    /// Cuts the columns into `groups` blocks of N / groups each, multiplied with as many blocks of K columns of A.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackedB};
    /// let b = MatRef::row_major(&[1i8, 2, 3, 4], 1, 4)?;
    /// assert_eq!(PackedB::builder(b).groups(2).build()?.groups(), 2);
    /// assert!(PackedB::builder(b).groups(3).build().is_err());
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Zero points, in the range of the weights' type.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackedB};
    /// let b = MatRef::row_major(&[1u8, 2, 3, 4], 2, 2)?;
    /// assert!(PackedB::builder(b).zero_points(&[128, 130]).build().is_ok());
    /// assert!(PackedB::builder(b).zero_points(256).build().is_err());
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn zero_points(mut self, zero_points: impl Into<PerColumn<'a, i32>>) -> Self {
        self.zero_points = zero_points.into();
        self
    }

    /// Declares that u8 activations will not exceed `max`: more 16-bit sums are safe then. Products check it.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackedB};
    /// // Sixteen times 127 in a lane: safe for activations of 7 bits, two at a time.
    /// let b = [127i8; 64];
    /// let packed = PackedB::builder(MatRef::row_major(&b, 64, 1)?).activation_max(127).build()?;
    /// assert!(!packed.sequences().to_string().contains("wide"));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn activation_max(mut self, max: u8) -> Self {
        self.activation_max = max;
        self
    }

    /// Packs for this tier instead of the best one.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackedB, Tier};
    /// let packed = PackedB::builder(MatRef::row_major(&[1i8], 1, 1)?).tier(Tier::Portable).build()?;
    /// assert_eq!(packed.tier(), Tier::Portable);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn tier(mut self, tier: Tier) -> Self {
        self.tier = Some(tier);
        self
    }

    /// How hard to search for fast sequences.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackEffort, PackedB};
    /// let b = PackedB::builder(MatRef::row_major(&[1i8; 12], 3, 4)?).effort(PackEffort::Quick).build()?;
    /// assert_eq!((b.k(), b.n()), (3, 4));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn effort(mut self, effort: PackEffort) -> Self {
        self.effort = effort;
        self
    }

    /// Most elements of K in a block, instead of what fits this CPU's first-level cache: rounded down to whole steps of
    /// the layout (4, 8, 32 or 64), at least one of them and at most 8192 elements.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackedB};
    /// let b = vec![1i8; 1000 * 16];
    /// assert_eq!(PackedB::builder(MatRef::row_major(&b, 1000, 16)?).kc(256).build()?.k(), 1000);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn kc(mut self, kc: usize) -> Self {
        self.kc = Some(kc);
        self
    }

    /// Scales that go with the weights, into files too. Products take theirs from their output, which may well be
    /// these.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{Dequantize, Gemm, MatRef, PackedB, quant};
    /// let (b, scales) = quant::symmetric_per_column(MatRef::row_major(&[0.5f32, -1.0, 0.25, 2.0], 2, 2)?)?;
    /// let packed = PackedB::builder(MatRef::row_major(&b, 2, 2)?).scales(&scales).build()?;
    /// let loaded = PackedB::from_bytes(&packed.to_bytes())?;
    /// let scales = loaded.scales().expect("they were written");
    /// let gemm = Gemm::<u8, f32>::builder(&loaded, Dequantize::new(scales).a_scale(0.02)).build()?;
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn scales(mut self, scales: impl Into<PerColumn<'a, f32>>) -> Self {
        self.scales = Some(scales.into());
        self
    }

    /// Whether threads of the caller's rayon pool share the panels, as they do unless told otherwise where there are
    /// many weights: with at most one, the calling thread does all, and no pool is started. The packed form is the
    /// same.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackedB, Threads};
    /// let b = MatRef::row_major(&[1i8, 2, 3, 4], 2, 2)?;
    /// assert_eq!(PackedB::builder(b).threads(Threads::Max(1)).build()?, PackedB::new(b)?);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn threads(mut self, threads: Threads) -> Self {
        self.threads = threads;
        self
    }

    /// Takes this schedule rather than searching for one, if it is for the layout that packing chooses.
    pub(super) fn stored_schedule(mut self, stored: Option<StoredSchedule<'a>>) -> Self {
        self.stored = stored;
        self
    }

    /// Packs.
    ///
    /// # Errors
    /// [`Error::Groups`] if N is not divisible by the groups, [`Error::Mismatch`] if there are not as many zero points
    /// or scales as groups or columns, [`Error::OutOfRange`] if a zero point is outside the weights' type,
    /// [`Error::BadNumber`] if a scale is not a finite number above 0 with a finite reciprocal, [`Error::Tier`] if the
    /// CPU lacks the tier, [`Error::Overflow`] if the packed form would not fit the address space. Also
    /// [`Error::OutOfRange`] for zero threads.
    pub fn build(self) -> Result<PackedB> {
        let tier = match self.tier {
            Some(tier) => tier.require()?,
            None => Tier::best()?,
        };
        self.pack_for(tier, Machine::of_this_cpu())
    }

    /// Packs for any tier and machine, whether or not this is one: a pure function.
    pub(crate) fn pack_for(self, tier: Tier, machine: Machine) -> Result<PackedB> {
        self.threads.check()?;
        let (k, n) = (self.b.rows(), self.b.cols());
        if self.groups == 0 || n % self.groups != 0 {
            return Err(Error::Groups { cols: n, groups: self.groups });
        }
        let (low, high) = if T::SIGNED { (-128, 127) } else { (0, 255) };
        let moved = if T::SIGNED { 0 } else { -128 };
        let zero_points = self.zero_points.expand("zero points of B", n, self.groups)?;
        for z in zero_points.iter() {
            if !(low..=high).contains(&z) {
                let what = "zero point of B";
                return Err(Error::OutOfRange { what, low: low.into(), high: high.into(), given: z.into() });
            }
        }
        if let Some(scales) = self.scales {
            scales
                .expand("scales of B", n, self.groups)?
                .iter()
                .try_for_each(|s| check_scale("scale of B", s).map(drop))?;
        }
        let group_cols = n / self.groups;
        check_size(k, n, self.groups)?;
        // Before anything goes through them: a view may have more weights than memory has bytes.
        require("packed weights", k.saturating_mul(n))?;
        let largest_sum = largest_sum(self.b, &zero_points);
        let zero_point = |column: usize| zero_points.get(column) + moved;
        let layout = choose_layout(tier, k, group_cols);
        let search = match self.effort {
            PackEffort::Quick => Search { window: 1, planes: false, pairings: false, reorder: false },
            PackEffort::Full => Search { window: 32, planes: false, pairings: true, reorder: true },
        };
        let dots = sections(tier).contains(Section::Dot);
        // Dot products take a byte for each weight.
        let streams = dots && k.saturating_mul(n) > machine.caches.l2 / 2;
        let mut packing = Packing {
            gather: Gather::new(self.b, layout),
            machine,
            layout,
            widest: full_panel_vectors(tier, layout, group_cols, streams),
            dots,
            limits: Limits::for_activations(self.activation_max),
            search,
        };
        let stored = self.stored.filter(|stored| stored.is_for(tier, layout));
        let (blocks, panel_vectors) = match &stored {
            Some(stored) => (stored.blocks(k, layout)?, stored.panel_vectors(packing.widest)?),
            None => packing.cut(k, group_cols, self.kc),
        };
        let panels = panels(self.groups, group_cols, layout, panel_vectors);
        let padded = panels.last().map_or(0, |p| p.padded_column + p.padded_cols(layout));
        let per_column = (1..n).any(|j| zero_points.get(j) != zero_points.get(0));
        let mut corrections = filled("column sums", padded, 0i32)?;
        let mut column_zero_points = filled("zero points", if per_column { padded } else { 0 }, 0i32)?;
        for panel in &panels {
            for j in 0..panel.cols {
                let z = zero_point(panel.column + j);
                corrections[panel.padded_column + j] = (k as i32).wrapping_mul(z);
                if per_column {
                    column_zero_points[panel.padded_column + j] = z;
                }
            }
        }
        let threads = match self.threads {
            Threads::Auto | Threads::Max(_) if k.saturating_mul(n) < MIN_WEIGHTS_FOR_THREADS => Threads::Max(1),
            threads => threads,
        };
        // The packed form, and 16 bytes for each step of a panel, in pieces too small to be asked for. Where there is
        // something to search for, vectors are there twice for a while, and steps take more.
        let (times, of_step) = if dots { (1, 16) } else { (2, 48) };
        let steps: usize = blocks.iter().map(|block| block.steps(layout.step_depth())).sum();
        let of_steps = steps.saturating_mul(of_step).saturating_mul(panels.len());
        require("packed weights", k.saturating_mul(padded).saturating_mul(times).saturating_add(of_steps))?;
        let mut drafts = Draft::of_panels(&panels, layout, &mut corrections);
        if let Some(mut stored) = stored {
            for draft in &mut drafts {
                draft.schedules = packing.stored_schedules(&blocks, &mut stored)?;
            }
            stored.end()?;
        }
        let mut scheduled = vec![Ok(()); drafts.len()];
        share(threads, drafts.iter_mut().zip(&mut scheduled).collect(), &|(draft, result)| {
            *result = packing.schedule(draft, &blocks);
        });
        scheduled.into_iter().collect::<Result<()>>()?;
        let gather = packing.gather;
        let panels = PackedPanels::new(layout, blocks, drafts, threads, &|panel, block, weights, sums| {
            gather.block_into(panel, block, weights);
            gather.subtract_column_sums(panel, weights, sums);
        })?;

        let zero_points = match per_column {
            true => ZeroPoints::PerColumn,
            false => ZeroPoints::Tensor(if n > 0 { zero_point(0) } else { 0 }),
        };
        let inner = Inner {
            k,
            group_cols,
            groups: self.groups,
            tier,
            signed: T::SIGNED,
            activation_max: self.activation_max,
            panels,
            zero_points,
            corrections,
            column_zero_points,
            scales: self.scales.map(PerColumn::to_owned).transpose()?,
            options: PackOptions { kc: self.kc, effort: self.effort },
            largest_sum,
        };
        Ok(PackedB::from_inner(Arc::new(inner)))
    }
}

/// Whether the packed form of `k × n` weights fits the address space: panels are padded to whole vectors, K to whole
/// steps, wide weights take two bytes each, and every column and every step has some entries of its own.
fn check_size(k: usize, n: usize, groups: usize) -> Result<()> {
    const ENTRIES: usize = 64;
    const MAX_PANEL_COLS: usize = 64;
    let padded = |x: usize| x.checked_add(ENTRIES);
    let columns = groups.checked_mul(MAX_PANEL_COLS).and_then(|x| x.checked_add(n)).and_then(padded);
    let bytes = columns.zip(padded(k)).and_then(|(c, k)| c.checked_mul(k)).and_then(|x| x.checked_mul(4));
    match bytes {
        Some(bytes) if bytes <= isize::MAX as usize => Ok(()),
        _ => Err(Error::Overflow { what: "packed weights" }),
    }
}
