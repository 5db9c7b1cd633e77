//! What [`KernelDesc`] stands for: the int8 family's kernels, generated or in plain Rust.

use super::portable;
#[cfg(all(target_arch = "x86_64", any(test, feature = "inspect")))]
use crate::families::element::FloatType;
use crate::families::int8::args::KernelArgs;
use crate::families::int8::desc::{Finish, KernelDesc, Layout, Prefetch, Start};
#[cfg(all(target_arch = "x86_64", any(test, feature = "inspect")))]
use crate::families::int8::registry::micro_tiles;
use crate::families::int8::registry::{micro_tile, multiplies, sections};
use crate::families::sweep::Sweep;
use crate::kernel::{CodegenError, Description, ensure};
use crate::machine::tier::Tier;

impl KernelDesc {
    /// What a row of micro-tiles asks for.
    fn check_row(&self) -> Result<(), CodegenError> {
        ensure(
            self.layout.lanes_per_column() == 1 && self.layout != Layout::Tiles,
            "panels of a row have a vector's lane for each column",
        )?;
        ensure(usize::from(self.cols) == self.panel_cols(), "panels of a row have full width")?;
        ensure(
            self.start == Start::Zero && self.finish != Finish::Scratch,
            "micro-tiles of a row go from zero to the epilogue",
        )
    }

    /// What a grid asks for.
    fn check_grid(&self) -> Result<(), CodegenError> {
        ensure(self.layout == Layout::Tiles, "micro-tiles of a grid are tiles")?;
        ensure(
            self.start == Start::Zero && self.finish != Finish::Scratch,
            "micro-tiles of a grid go from zero to the epilogue",
        )?;
        ensure(self.prefetch == Prefetch::None, "what a grid prefetches, its sweep says")?;
        let is_full = usize::from(self.cols) == self.panel_cols();
        ensure(self.sweep.panels() == 1 || self.vectors == 2, "panels side by side have two vectors each")?;
        self.sweep.check_grid(self.rows.into(), is_full, self.layout.step_depth() as u32)
    }
}

impl Description for KernelDesc {
    type Args = KernelArgs;

    fn tier(&self) -> Tier {
        self.tier
    }

    fn check(&self) -> Result<(), CodegenError> {
        let of_tier = |tier| {
            let tile = micro_tile(tier, self.layout, self.vectors.into());
            let fits = tile.is_some_and(|tile| (1..=tile.max_rows).contains(&self.rows.into()));
            fits && multiplies(tier, self.layout, self.activations)
        };
        let fits = if self.tier == Tier::Portable { Tier::ALL.into_iter().any(of_tier) } else { of_tier(self.tier) };
        ensure(fits, "the tier has no such micro-tile for these activations")?;
        ensure((1..=self.panel_cols()).contains(&self.cols.into()), "the columns do not fit the micro-tile")?;
        match self.sweep {
            Sweep::Column => {}
            Sweep::Row => self.check_row()?,
            Sweep::Grid { .. } => self.check_grid()?,
        }
        ensure(
            self.tier == Tier::Portable || self.sections.iter().all(|s| sections(self.tier).contains(s)),
            "the tier has no such main loop",
        )
    }

    unsafe fn run_portable(&self, args: &mut KernelArgs) {
        // SAFETY: the caller's promise is the same.
        unsafe { portable::run(self, args) }
    }

    #[cfg(all(target_arch = "x86_64", any(test, feature = "inspect")))]
    fn samples(tier: Tier) -> Vec<KernelDesc> {
        use crate::families::int8::desc::*;
        use crate::families::sweep::{Ahead, Panels};

        let dequantize = Dequantize { to: FloatType::F32, row_scale: true, bias: true, residual: true, clamp: true };
        let requantize = Requantize { to: Byte::U8, float_bias: true, clamp: Clamp::Narrowing };
        let floats = FloatType::ALL.map(|to| Output::Dequantize(Dequantize { to, ..dequantize }));
        let outputs = [Output::AddI32, Output::Requantize(requantize)].into_iter().chain(floats);
        let mut descs = Vec::new();
        for tile in micro_tiles(tier) {
            let panel_cols = tile.layout.columns(tile.vectors) as u8;
            for activations in [Byte::U8, Byte::I8].into_iter().filter(|&a| multiplies(tier, tile.layout, a)) {
                for (output, cols) in outputs.clone().flat_map(|output| [(output, 1), (output, panel_cols)]) {
                    let (a_zero_point, b_zero_point) = (AZeroPoint::PerRow, BZeroPoint::PerColumn);
                    descs.push(KernelDesc {
                        tier,
                        layout: tile.layout,
                        activations,
                        rows: tile.max_rows as u8,
                        vectors: tile.vectors as u8,
                        cols,
                        sections: sections(tier),
                        start: Start::Zero,
                        finish: Finish::Epilogue(Epilogue { a_zero_point, b_zero_point, output }),
                        sweep: match tile.layout {
                            // Steps that are unrolled and looped over, and the last one.
                            Layout::Tiles if cols > 1 => {
                                Sweep::Grid { k: 64 * 81 - 1, panels: Panels::One, ahead: Ahead::TwoRows }
                            }
                            _ => Sweep::Column,
                        },
                        prefetch: Prefetch::None,
                    });
                }
            }
        }
        descs
    }
}
