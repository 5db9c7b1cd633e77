//! What [`FloatKernelDesc`] stands for: kernels, generated or in plain Rust.

use super::desc::{
    Expansion, FLOAT_PANEL, FloatFinish, FloatKernelArgs, FloatKernelDesc, FloatPrefetch, FloatProducts, FloatRows,
    FloatStart,
};
use super::dot::HardwareDot;
use super::portable;
use super::registry::max_rows;
use super::weights::WeightGroups;
use crate::families::element::FloatType;
use crate::families::sweep::Sweep;
use crate::kernel::{CodegenError, Description, ensure};
use crate::machine::tier::Tier;

impl FloatKernelDesc {
    /// What a row of micro-tiles asks for.
    fn check_row(&self) -> Result<(), CodegenError> {
        ensure(
            self.has_half_panels() || self.strip_cols().is_multiple_of(FLOAT_PANEL),
            "strips of a row are half a panel or whole ones",
        )?;
        ensure(usize::from(self.cols) == self.strip_cols(), "strips of a row have full width")?;
        ensure(self.expansion == Expansion::InRegisters, "strips of a row have no expanded weights")?;
        ensure(self.prefetch != FloatPrefetch::Next, "strips of a row do not prefetch each other")
    }

    /// What a grid asks for.
    fn check_grid(&self) -> Result<(), CodegenError> {
        let in_tiles = self.products == FloatProducts::Dot(HardwareDot::AmxBf16);
        ensure(in_tiles && self.strip_cols() == FLOAT_PANEL, "micro-tiles of a grid are tiles")?;
        ensure(
            self.start == FloatStart::Zero && self.finish != FloatFinish::Scratch,
            "micro-tiles of a grid go from zero to the epilogue",
        )?;
        self.sweep.check_grid(self.rows.into(), usize::from(self.cols) == FLOAT_PANEL, 1)
    }

    /// What hardware dot products ask for.
    fn check_dot(&self, dot: HardwareDot) -> Result<(), CodegenError> {
        ensure(dot.is_of(self.tier), "the tier has no such dot products")?;
        ensure(self.weights == FloatType::Bf16.into(), "hardware dot products are of bf16")?;
        ensure(self.a == FloatRows::Strided, "hardware dot products take rows of A with their elements side by side")?;
        ensure(
            !self.has_tiles() || self.expansion != Expansion::InRegisters,
            "tiles of weights are loaded from where they were kept",
        )?;
        ensure(!self.has_tiles() || self.prefetch == FloatPrefetch::None, "kernels of tiles do not prefetch")
    }
}

/// What weights of few bits ask for.
fn check_groups(desc: &FloatKernelDesc, groups: WeightGroups) -> Result<(), CodegenError> {
    ensure(
        matches!(groups.layout.bits, 2 | 4) && matches!(groups.size, 32 | 64 | 128),
        "weights have 2 or 4 bits, groups 32, 64 or 128 k",
    )?;
    ensure(
        desc.prefetch != FloatPrefetch::Next || desc.expansion == Expansion::Reused,
        "kernels that expand weights of few bits do not prefetch the next panel",
    )
}

impl Description for FloatKernelDesc {
    type Args = FloatKernelArgs;

    fn tier(&self) -> Tier {
        self.tier
    }

    fn check(&self) -> Result<(), CodegenError> {
        let (rows, vectors) = (usize::from(self.rows), usize::from(self.vectors));
        ensure(vectors > 0 && vectors.is_multiple_of(2), "micro-tiles have an even number of vectors a row")?;
        let fits = match self.tier {
            Tier::Portable => rows * self.strip_cols() <= portable::MAX_ACCUMULATORS,
            _ => rows <= max_rows(self),
        };
        ensure(rows > 0 && fits, "the micro-tile does not fit the registers")?;
        ensure((1..=self.strip_cols()).contains(&self.cols.into()), "the columns do not fit the micro-tile")?;
        ensure(
            self.prefetch != FloatPrefetch::Next || self.strip_cols() <= FLOAT_PANEL,
            "strips of several panels do not prefetch the next one",
        )?;
        ensure(
            self.expansion != Expansion::Kept || vectors == 2 || self.tier == Tier::Portable,
            "strips of two vectors are kept, no others",
        )?;
        match self.sweep {
            Sweep::Column => {}
            Sweep::Row => self.check_row()?,
            Sweep::Grid { .. } => self.check_grid()?,
        }
        let in_tiles = self.expansion == Expansion::Tiles;
        ensure(self.sweep.is_grid() == in_tiles, "weights of grids, and no others, are in tiles")?;
        if let Some(groups) = self.weights.groups() {
            check_groups(self, groups)?;
        }
        match self.products {
            FloatProducts::Chain => Ok(()),
            FloatProducts::Dot(dot) => self.check_dot(dot),
        }
    }

    unsafe fn run_portable(&self, args: &mut FloatKernelArgs) {
        // SAFETY: the caller's promise is the same.
        unsafe { portable::run(self, args) }
    }

    #[cfg(all(target_arch = "x86_64", any(test, feature = "inspect")))]
    fn samples(tier: Tier) -> Vec<FloatKernelDesc> {
        use super::desc::{FloatEpilogue, FloatFunction};
        use super::registry::float_tiles_of;
        use super::weights::{FloatWeights, GroupScales};
        use crate::families::groups::desc::{GroupLayout, GroupZeroPoints};
        use crate::families::sweep::{Ahead, Panels};

        let groups = [2, 4].map(|bits| {
            let layout = GroupLayout { bits, zero_points: GroupZeroPoints::PerColumn };
            FloatWeights::Groups(WeightGroups { layout, size: 128, scales: GroupScales::Moderate })
        });
        let chains = FloatType::ALL.map(FloatWeights::from).into_iter().chain(groups);
        let dots = HardwareDot::ALL.into_iter().filter(|dot| dot.is_of(tier));
        let products = chains.map(|weights| (FloatProducts::Chain, weights));
        let products = products.chain(dots.map(|dot| (FloatProducts::Dot(dot), FloatType::Bf16.into())));
        let mut descs = Vec::new();
        for (products, weights) in products {
            let tiles = products.in_tiles(tier);
            for (tile, c) in float_tiles_of(tier, products).iter().flat_map(|tile| FloatType::ALL.map(|c| (tile, c))) {
                let function = FloatFunction::Gelu;
                let desc = FloatKernelDesc {
                    tier,
                    products,
                    weights,
                    expansion: if tiles { Expansion::Kept } else { Expansion::InRegisters },
                    a: FloatRows::Strided,
                    sweep: Sweep::Column,
                    rows: tile.max_rows_with(function, weights) as u8,
                    vectors: tile.vectors as u8,
                    cols: 0,
                    start: FloatStart::Beta,
                    finish: FloatFinish::Epilogue(FloatEpilogue { bias: true, residual: true, function }),
                    c,
                    prefetch: if tiles { FloatPrefetch::None } else { FloatPrefetch::Ahead },
                };
                descs.extend(
                    [1, desc.strip_cols() - 1, desc.strip_cols()]
                        .map(|cols| FloatKernelDesc { cols: cols as u8, ..desc }),
                );
                if tiles {
                    let sweep = Sweep::Grid { k: 32 * 81, panels: Panels::One, ahead: Ahead::TwoRows };
                    let (expansion, start) = (Expansion::Tiles, FloatStart::Zero);
                    let cols = FLOAT_PANEL as u8;
                    descs.push(FloatKernelDesc { cols, expansion, sweep, start, ..desc });
                }
            }
        }
        descs
    }
}
