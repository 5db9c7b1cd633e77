//! Packed weights: the handle, and what the layers below see of it. `layout.rs` draws the form.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use gemmill_codegen::{Layout, Section, Sections, Tier, multiplies_signed};

use super::builder::{PackBuilder, PackEffort, Weight};
use super::layout::{PackedPanels, Panel, PanelData};
use super::step::{Block, Planes};
use crate::error::{Error, Result, expect};
use crate::quant::per_column::{OwnedPerColumn, PerColumn};
use crate::views::{MatMut, MatRef};

/// Weights in the layout that kernels read, with their zero points and column sums.
///
/// A handle: cloning it is cheap, and one may serve many threads at once.
///
/// # Examples
/// ```
/// use gemmill::{MatRef, PackedB};
/// let b = vec![1i8; 512 * 64];
/// let packed = PackedB::new(MatRef::row_major(&b, 512, 64)?)?;
/// assert_eq!((packed.k(), packed.n()), (512, 64));
/// assert!(packed.size_in_bytes() < 512 * 64 * 105 / 100 + 64 * 64);
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct PackedB {
    inner: Arc<Inner>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Inner {
    pub(super) k: usize,
    pub(super) group_cols: usize,
    pub(super) groups: usize,
    pub(super) tier: Tier,
    pub(super) signed: bool,
    pub(super) activation_max: u8,
    pub(super) panels: PackedPanels,
    pub(super) zero_points: ZeroPoints,
    /// By padded column: `K * zero_point - Σ_k b`, the factor of A's zero point.
    pub(super) corrections: Vec<i32>,
    /// By padded column, of i8 weights; empty where they are all alike.
    pub(super) column_zero_points: Vec<i32>,
    /// Not used by products: for whoever loads the weights.
    pub(super) scales: Option<OwnedPerColumn<f32>>,
    pub(super) options: PackOptions,
    /// As [`PackedB::largest_sum`].
    pub(super) largest_sum: u64,
}

/// Options of packing that leave no other trace, for packing again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PackOptions {
    pub(super) kc: Option<usize>,
    pub(super) effort: PackEffort,
}

/// Zero points of B as i8 kernels see them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ZeroPoints {
    /// One for all columns; often zero.
    Tensor(i32),
    /// Columns differ.
    PerColumn,
}

impl PackedB {
    /// Packs a `K × N` matrix of i8 or u8 weights with zero points of zero.
    ///
    /// # Errors
    /// As [`PackBuilder::build`].
    pub fn new<T: Weight>(b: MatRef<'_, T>) -> Result<PackedB> {
        PackedB::builder(b).build()
    }

    /// Packs with options: groups, zero points, a bound of the activations, the tier.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackedB, PerColumn};
    /// let b = [1u8, 2, 3, 4, 5, 6, 7, 8];
    /// // Two groups of two columns each, stored side by side.
    /// let packed = PackedB::builder(MatRef::row_major(&b, 2, 4)?)
    ///     .groups(2)
    ///     .zero_points(PerColumn::Group(&[128, 127]))
    ///     .build()?;
    /// assert_eq!((packed.k(), packed.n(), packed.groups()), (2, 4, 2));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn builder<T: Weight>(b: MatRef<'_, T>) -> PackBuilder<'_, T> {
        PackBuilder::new(b)
    }

    pub(super) fn from_inner(inner: Arc<Inner>) -> PackedB {
        PackedB { inner }
    }

    /// Depth of the product, per group.
    pub fn k(&self) -> usize {
        self.inner.k
    }

    /// Columns, of all groups together.
    pub fn n(&self) -> usize {
        self.inner.group_cols * self.inner.groups
    }

    /// Number of groups.
    pub fn groups(&self) -> usize {
        self.inner.groups
    }

    /// The tier that the weights were packed for.
    pub fn tier(&self) -> Tier {
        self.inner.tier
    }

    /// Whether the weights were i8 rather than u8.
    pub fn is_signed(&self) -> bool {
        self.inner.signed
    }

    /// The largest activation that the 16-bit sums were proven for.
    pub fn activation_max(&self) -> u8 {
        self.inner.activation_max
    }

    /// A bound of the sums of products with these weights: `|Σ_k (a - a_zp) * (b - b_zp)|` is at most this in every
    /// column, for all activations of 8 bits and all of their zero points.
    ///
    /// It is `255 max(p, q)`, with `p` and `q` the sums of a column's positive and negative `b - b_zp`, the largest of
    /// all columns; or, where K is too small for a sum to leave i32, what follows from K and the zero points alone.
    /// Outputs of integers wrap modulo 2^32 where it exceeds 2^31 - 1 ([`Sums`](crate::Sums) refuses that),
    /// floating-point ones are exact.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackedB};
    /// let ones = |k| PackedB::new(MatRef::with_strides(&[1i8], k, 1, 0, 1)?);
    /// assert_eq!(ones(70_000)?.largest_sum(), 255 * 70_000);
    /// let most = PackedB::new(MatRef::with_strides(&[127i8], 70_000, 1, 0, 1)?)?;
    /// assert_eq!(most.largest_sum(), 255 * 127 * 70_000);
    /// assert!(most.largest_sum() > i32::MAX as u64);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn largest_sum(&self) -> u64 {
        self.inner.largest_sum
    }

    /// The scales that came with the weights: see [`PackBuilder::scales`].
    pub fn scales(&self) -> Option<PerColumn<'_, f32>> {
        self.inner.scales.as_ref().map(OwnedPerColumn::get)
    }

    /// Bytes that the packed form takes, per-column arrays included.
    pub fn size_in_bytes(&self) -> usize {
        let inner = &*self.inner;
        inner.panels.size_in_bytes() + size_of_val(&inner.corrections[..]) + size_of_val(&inner.column_zero_points[..])
    }

    /// Which sequences the weights were proven fit for: 32-bit dot products for all weights on tiers with VNNI,
    /// otherwise what their values allow.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackedB, Tier};
    /// let b = vec![3i8; 1024 * 16];
    /// let packed = PackedB::builder(MatRef::row_major(&b, 1024, 16)?).tier(Tier::Portable).build()?;
    /// assert_eq!(packed.sequences().to_string(), "sum8 100%");
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn sequences(&self) -> SequenceSummary {
        let mut steps = [0u64; Section::ALL.len()];
        for header in &self.inner.panels.headers {
            for section in Section::ALL {
                steps[section as usize] += u64::from(header.bundles[section as usize]) * section.steps() as u64;
            }
        }
        SequenceSummary { steps }
    }

    /// Writes the weights as they were before packing.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if `b` is not `K × N`, [`Error::Unsupported`] if the type is not the one that was packed.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatMut, MatRef, PackedB};
    /// let b = [1i8, -2, 3, -4, 5, -6];
    /// let packed = PackedB::new(MatRef::row_major(&b, 3, 2)?)?;
    /// let mut back = [0i8; 6];
    /// packed.unpack(&mut MatMut::row_major(&mut back, 3, 2)?)?;
    /// assert_eq!(back, b);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn unpack<T: Weight>(&self, b: &mut MatMut<'_, T>) -> Result<()> {
        let inner = &*self.inner;
        if T::SIGNED != inner.signed {
            return Err(Error::Unsupported { what: "unpack: the weights were packed from the other 8-bit type" });
        }
        expect("rows of the unpacked matrix", inner.k, b.rows())?;
        expect("columns of the unpacked matrix", self.n(), b.cols())?;
        inner.panels.for_each_weight(|k, column, x| b.row_mut(k)[column] = T::from_i8(x));
        Ok(())
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(crate) fn view(&self) -> PackedView<'_> {
        PackedView { inner: &self.inner }
    }
}

/// Two handles are equal if they pack the same weights, zero points and scales with the same options, in the same
/// layout.
impl PartialEq for PackedB {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner) || *self.inner == *other.inner
    }
}

/// What the layers below the API see of packed weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PackedView<'a> {
    inner: &'a Inner,
}

impl<'a> PackedView<'a> {
    pub(crate) fn tier(&self) -> Tier {
        self.inner.tier
    }

    /// Depth of the product, per group.
    pub(crate) fn k(&self) -> usize {
        self.inner.k
    }

    pub(crate) fn layout(&self) -> Layout {
        self.inner.panels.layout
    }

    /// Whether kernels multiply signed activations as they are.
    pub(crate) fn multiplies_signed(&self) -> bool {
        multiplies_signed(self.inner.tier, self.layout())
    }

    pub(crate) fn planes(&self) -> Planes {
        self.inner.panels.planes
    }

    pub(crate) fn sections(&self) -> Sections {
        self.inner.panels.sections
    }

    pub(crate) fn blocks(&self) -> &'a [Block] {
        &self.inner.panels.blocks
    }

    /// Bytes of packed vectors.
    pub(crate) fn data_bytes(&self) -> usize {
        self.inner.panels.data_bytes()
    }

    pub(crate) fn panels(&self) -> &'a [Panel] {
        &self.inner.panels.panels
    }

    /// The first panel, which has as many columns as any, if there are panels.
    pub(crate) fn widest(&self) -> Option<&'a Panel> {
        self.inner.panels.panels.first()
    }

    /// The last panel of a group, if it has fewer columns than the others.
    pub(crate) fn tail(&self) -> Option<&'a Panel> {
        self.inner.panels.tail.as_ref()
    }

    pub(crate) fn groups(&self) -> usize {
        self.inner.groups
    }

    pub(crate) fn group_cols(&self) -> usize {
        self.inner.group_cols
    }

    pub(crate) fn zero_points(&self) -> ZeroPoints {
        self.inner.zero_points
    }

    /// By padded column: `K * zero_point - Σ_k b`.
    pub(crate) fn corrections(&self) -> &'a [i32] {
        &self.inner.corrections
    }

    /// By padded column; empty where zero points are all alike.
    pub(crate) fn column_zero_points(&self) -> &'a [i32] {
        &self.inner.column_zero_points
    }

    /// `panels` in runs that one call of a kernel can go through: of one group, all full, or one that is not.
    pub(crate) fn rows_of_panels(&self, panels: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<'a> {
        let all = self.panels();
        let mut left = panels;
        std::iter::from_fn(move || {
            let first = all[left.clone()].first()?;
            let like_first = |p: &&Panel| p.group == first.group && p.cols == first.cols;
            let end = left.start + all[left.clone()].iter().take_while(like_first).count();
            let row = left.start..end;
            left.start = end;
            Some(row)
        })
    }

    /// Bytes of a panel's packed vectors, all blocks.
    pub(crate) fn panel_bytes(&self, panel: usize) -> usize {
        self.inner.panels.panel_bytes(panel)
    }

    /// Blocks `first..` of panel `panel`.
    pub(crate) fn panel_data(&self, panel: usize, first: usize) -> PanelData<'a> {
        self.inner.panels.panel_data(panel, first)
    }
}

/// How many steps run in each sequence. See [`PackedB::sequences`].
///
/// # Examples
/// ```
/// use gemmill::{MatRef, PackedB, Tier, kernel::Section};
/// let b = vec![127i8; 64 * 16];
/// let packed = PackedB::builder(MatRef::row_major(&b, 64, 16)?).tier(Tier::Portable).build()?;
/// assert!(packed.sequences().shares().all(|(section, _)| section == Section::Split));
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceSummary {
    steps: [u64; Section::ALL.len()],
}

impl SequenceSummary {
    /// The sequences in use and the share of steps that each of them multiplies.
    pub fn shares(&self) -> impl Iterator<Item = (Section, f64)> + '_ {
        let total = self.steps.iter().sum::<u64>().max(1) as f64;
        Section::ALL
            .into_iter()
            .map(move |s| (s, self.steps[s as usize] as f64 / total))
            .filter(|&(_, share)| share > 0.0)
    }
}

impl fmt::Display for SequenceSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (section, share) in self.shares() {
            write!(f, "{separator}{} {:.0}%", section.name(), share * 100.0)?;
            separator = " ";
        }
        if separator.is_empty() { f.write_str("empty") } else { Ok(()) }
    }
}
