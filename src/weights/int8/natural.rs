//! Packed weights taken apart: the weights as they were before packing, with all that packing them again needs.

use std::borrow::Cow;

use gemmill_codegen::Tier;

use super::builder::{PackBuilder, Weight};
use super::file::StoredSchedule;
use super::layout::Panel;
use super::packed::{PackOptions, PackedB, ZeroPoints};
use crate::error::Result;
use crate::machine::memory::{filled, with_capacity};
use crate::machine::threads::Threads;
use crate::quant::per_column::OwnedPerColumn;
use crate::views::MatRef;

/// Weights in natural order, and the options that they are packed with.
pub(super) struct Natural<'a> {
    pub(super) k: usize,
    pub(super) n: usize,
    pub(super) groups: usize,
    pub(super) signed: bool,
    pub(super) activation_max: u8,
    pub(super) options: PackOptions,
    /// In the weights' range; by column unless they are all alike.
    pub(super) zero_points: OwnedPerColumn<i32>,
    pub(super) scales: Option<OwnedPerColumn<f32>>,
    /// Row-major `K × N`, i8 or u8.
    pub(super) weights: Cow<'a, [u8]>,
}

impl Natural<'static> {
    /// From the packed form.
    pub(super) fn of(packed: &PackedB) -> Result<Self> {
        let inner = packed.inner();
        let n = packed.n();
        let moved = if inner.signed { 0 } else { 128 };
        let zero_points = match packed.view().zero_points() {
            ZeroPoints::Tensor(z) => OwnedPerColumn::Tensor(z + moved),
            ZeroPoints::PerColumn => {
                let of_panel = |p: &Panel| &inner.column_zero_points[p.padded_column..][..p.cols];
                let values = inner.panels.panels.iter().flat_map(of_panel);
                let mut all = with_capacity("zero points", n)?;
                all.extend(values.map(|z| z + moved));
                OwnedPerColumn::Column(all)
            }
        };
        let mut weights = filled("weights", inner.k * n, 0)?;
        let to_byte = |x: i8| if inner.signed { x as u8 } else { u8::from_i8(x) };
        inner.panels.for_each_weight(|k, column, x| weights[k * n + column] = to_byte(x));
        Ok(Natural {
            k: inner.k,
            n,
            groups: inner.groups,
            signed: inner.signed,
            activation_max: inner.activation_max,
            options: inner.options,
            zero_points,
            scales: inner.scales.as_ref().map(|scales| scales.get().to_owned()).transpose()?,
            weights: weights.into(),
        })
    }
}

impl Natural<'_> {
    /// Packs for a tier, or for the best one. A stored schedule that is for another layout is not used.
    pub(super) fn pack(
        &self,
        tier: Option<Tier>,
        threads: Threads,
        stored: Option<StoredSchedule<'_>>,
    ) -> Result<PackedB> {
        match self.signed {
            true => self.builder::<i8>(bytemuck::cast_slice(&self.weights), tier, stored)?.threads(threads).build(),
            false => self.builder::<u8>(&self.weights, tier, stored)?.threads(threads).build(),
        }
    }

    fn builder<'a, T: Weight>(
        &'a self,
        weights: &'a [T],
        tier: Option<Tier>,
        stored: Option<StoredSchedule<'a>>,
    ) -> Result<PackBuilder<'a, T>> {
        let mut builder = PackedB::builder(MatRef::row_major(weights, self.k, self.n)?)
            .groups(self.groups)
            .zero_points(self.zero_points.get())
            .activation_max(self.activation_max)
            .effort(self.options.effort)
            .stored_schedule(stored);
        if let Some(kc) = self.options.kc {
            builder = builder.kc(kc);
        }
        if let Some(scales) = &self.scales {
            builder = builder.scales(scales.get());
        }
        if let Some(tier) = tier {
            builder = builder.tier(tier);
        }
        Ok(builder)
    }

    /// `Σ_k b` by column, modulo 2^32.
    pub(super) fn column_sums(&self) -> Result<Vec<i32>> {
        let mut sums = filled("column sums", self.n, 0i32)?;
        let rows = self.weights.chunks_exact(self.n.max(1));
        gemmill_codegen::vectorize(|| {
            for row in rows {
                for (sum, &byte) in sums.iter_mut().zip(row) {
                    let weight = if self.signed { i32::from(byte as i8) } else { i32::from(byte) };
                    *sum = sum.wrapping_add(weight);
                }
            }
        });
        Ok(sums)
    }
}

impl PackedB {
    /// Packs the same weights with the same options for another tier, or once more for this one: files that come from
    /// another CPU fit the caches of this one then.
    ///
    /// # Errors
    /// [`Error::Tier`](crate::Error::Tier) if the CPU lacks the tier.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackedB, Tier};
    /// let packed = PackedB::new(MatRef::row_major(&[1i8, 2, 3, 4], 2, 2)?)?;
    /// let portable = packed.repack(Tier::Portable)?;
    /// assert_eq!((portable.tier(), portable.n()), (Tier::Portable, 2));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn repack(&self, tier: Tier) -> Result<PackedB> {
        // Unpacking takes as long as a pass over the weights.
        tier.require()?;
        Natural::of(self)?.pack(Some(tier), Threads::Auto, None)
    }
}
