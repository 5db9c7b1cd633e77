//! Products of 8-bit integers as the operation asks for them.

use std::sync::atomic::{AtomicBool, Ordering};

use gemmill_codegen::{AZeroPoint, Epilogue, Output, Tier};

use super::activation::{ActivationKind, ActivationQuantization};
use super::bound::Bound;
use super::description::{Description, LargeSums};
use super::long::LongSums;
use crate::error::{Error, Result, expect};
use crate::operands::{Operand, Quantization, RowParameters, RowRange};
use crate::ops::RunOptions;
use crate::ops::operation::{Family, Product, Shape};
use crate::plan::Resources;
use crate::plan::int8::{Int8Plan, Int8Problem};
use crate::quant::check_scale;
use crate::run::int8::{Columns, Direction, Int8Kernels, Int8Product, a_row_bytes, kernel_desc, reads_in_place};
use crate::run::{self, Destination, Residual};
use crate::views::{AnyMut, AnyRef, ElementType};
use crate::weights::PackedB;

/// What products of 8-bit integers of an operation have in common.
#[derive(Debug)]
pub(crate) struct Int8Family {
    pub(crate) packed: PackedB,
    /// Types of A and C.
    pub(super) a: ElementType,
    pub(super) c: ElementType,
    pub(crate) kind: ActivationKind,
    pub(super) a_zero_point: i32,
    pub(super) quantization: Option<ActivationQuantization>,
    pub(crate) bound: Bound,
    /// Whether sums that leave i32 wrap.
    pub(super) may_wrap: bool,
    /// How sums that may leave i32 are added up, for floating-point outputs.
    pub(super) long: Option<LongSums>,
    /// Whether the next product of those that alternate begins with the last columns.
    pub(super) backwards: AtomicBool,
}

/// What plans and kernels depend on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Variant {
    in_place: bool,
    epilogue: Epilogue,
}

/// What products of so many rows need.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a few of them are kept, and nearly all are plans")]
pub(crate) enum Prepared {
    /// A plan, and its kernels for some epilogue.
    Whole(Int8Plan, Int8Kernels),
    /// Products of parts have their own.
    InParts,
}

impl Family for Int8Family {
    type Variant = Variant;
    type Prepared = Prepared;

    fn shape(&self) -> Shape {
        Shape { k: self.packed.k(), groups: self.packed.groups(), n: self.packed.n() }
    }

    fn tier(&self) -> Tier {
        self.packed.tier()
    }

    fn variant(&self, a: AnyRef<'_>, c: &AnyMut<'_>, options: &RunOptions<'_>) -> Result<Variant> {
        if a.element() != self.a || c.element() != self.c {
            return Err(Error::Unsupported { what: "A and C have the types that the operation was made for" });
        }
        let epilogue = self.epilogue(options, a.rows())?;
        if epilogue.output == Output::AddI32 && !c.is_initialised() {
            return Err(Error::Unsupported { what: "sums are added to C: it must be initialised" });
        }
        if let Some(residual) = options.residual {
            Residual::new(residual, c)?;
        }
        let packed = self.packed.view();
        let a = Operand::new(a, Quantization::None);
        let in_place = reads_in_place(packed, a.as_rows_of(self.kind.multiplied_as(packed)).is_some());
        Ok(Variant { in_place, epilogue })
    }

    fn fits_rows(&self) -> Option<RowRange> {
        matches!(self.quantization, Some(ActivationQuantization::DynamicPerRow)).then_some(RowRange::U8)
    }

    fn rows(&self, a: AnyRef<'_>, options: &RunOptions<'_>, parameters: &mut RowParameters) -> Result<()> {
        let moved = self.kind.moved(self.packed.view());
        if let Some(given) = options.row_zero_points {
            parameters.zero_points.extend(given.iter().map(|&z| z + moved));
        }
        parameters.scales.extend_from_slice(options.row_scales.unwrap_or_default());
        // Activations against the bound that packing was promised.
        let bound = self.packed.activation_max();
        if bound == u8::MAX {
            return Ok(());
        }
        match Operand::new(a, Quantization::None).largest_u8() {
            Some(max) if max > bound => {
                let what = "activation, by the bound that was declared when packing";
                Err(Error::OutOfRange { what, low: 0, high: bound.into(), given: max.into() })
            }
            _ => Ok(()),
        }
    }

    fn prepare(&self, rows: usize, variant: Variant, resources: Resources) -> Result<Prepared> {
        if self.long.is_some() {
            return Ok(Prepared::InParts);
        }
        let packed = self.packed.view();
        let plan = Int8Plan::new(&self.problem(variant.in_place, rows, resources)?);
        let kernels = Int8Kernels::new(packed, &plan, variant.epilogue, self.kind.multiplied_as(packed))?;
        Ok(Prepared::Whole(plan, kernels))
    }

    fn multiply(&self, product: Product<'_, Prepared>) -> Result<()> {
        if let Some(long) = &self.long {
            return long.multiply(self, product);
        }
        let Product { prepared: Prepared::Whole(plan, kernels), a, mut c, rows, options } = product else {
            return Err(Error::Unsupported { what: "products of parts are added up elsewhere" });
        };
        let (packed, bound) = (self.packed.view(), &self.bound);
        let epilogue = kernels.epilogue();
        let residual = options.residual.map(|residual| Residual::new(residual, &c)).transpose()?;
        let row_scale = matches!(epilogue.output, Output::Dequantize(d) if d.row_scale);
        let product = Int8Product {
            packed,
            plan,
            kernels,
            a: Operand::new(a, self.quantization(rows)),
            columns: Columns {
                term: if epilogue.a_zero_point == AZeroPoint::PerRow { &bound.bias_term } else { &bound.term },
                correction: packed.corrections(),
                zero_point: packed.column_zero_points(),
                scale: if row_scale { &bound.b_scale } else { &bound.scale },
                bias: &bound.bias,
            },
            rows,
            row_sum_factor: bound.row_sum_factor,
            c: Destination::new(&mut c),
            residual,
            limits: bound.limits,
            direction: self.direction(plan),
        };
        run::run(&product.body()?, options.parallel_for)
    }

    fn describe(&self, rows: usize, resources: Resources) -> Result<String> {
        self.description(rows, resources).map(|description| description.to_string())
    }
}

impl Int8Family {
    /// Whether C holds floats whose sums may leave i32.
    pub(super) fn has_long_sums(&self) -> bool {
        !self.bound.gives_integers() && self.packed.largest_sum() > i32::MAX as u64
    }

    /// How A becomes integers in a run with these parameters of rows.
    pub(super) fn quantization<'r>(&self, rows: &'r RowParameters) -> Quantization<'r> {
        match self.quantization {
            None => Quantization::None,
            Some(ActivationQuantization::Static(params)) => {
                Quantization::Static { inverse: params.inverse(), zero_point: params.zero_point() }
            }
            Some(ActivationQuantization::DynamicPerRow) => Quantization::PerRow(rows),
        }
    }

    /// The epilogue of a run with these options; checks them.
    fn epilogue(&self, options: &RunOptions<'_>, rows: usize) -> Result<Epilogue> {
        let mut epilogue = self.bound.epilogue;
        if self.kind == ActivationKind::Float {
            options.no_row_parameters("row zero points and scales are for integer activations")?;
        }
        if let Some(zero_points) = options.row_zero_points {
            expect("row zero points", rows, zero_points.len())?;
            zero_points.iter().try_for_each(|&z| self.kind.check_zero_point(z))?;
            epilogue.a_zero_point = AZeroPoint::PerRow;
        }
        if options.row_scales.is_some() || options.residual.is_some() {
            let Output::Dequantize(dequantize) = &mut epilogue.output else {
                return Err(Error::Unsupported { what: "row scales and a residual are for floating-point outputs" });
            };
            dequantize.residual = options.residual.is_some();
            dequantize.row_scale |= options.row_scales.is_some();
        }
        if let Some(scales) = options.row_scales {
            expect("row scales", rows, scales.len())?;
            for &scale in scales {
                check_scale("row scale of A", scale)?;
            }
        }
        Ok(epilogue)
    }

    /// The problem of a product on any machine: a pure function.
    pub(crate) fn problem(&self, in_place: bool, rows: usize, resources: Resources) -> Result<Int8Problem> {
        let packed = self.packed.view();
        Ok(Int8Problem {
            tier: self.packed.tier(),
            resources,
            rows,
            k: self.packed.k(),
            cols: self.packed.n(),
            layout: packed.layout(),
            activations: self.kind.multiplied_as(packed),
            vectors: packed.widest().map_or(1, |p| p.vectors),
            panels: packed.panels().len(),
            blocks: packed.blocks().len(),
            b_bytes: packed.data_bytes(),
            a_row_bytes: a_row_bytes(packed, in_place)?,
            packs_a: !in_place,
        })
    }

    /// The direction of this product's first block of rows: the other one than last time, where the plan says so.
    fn direction(&self, plan: &Int8Plan) -> Direction {
        // Which of two simultaneous products gets which does not matter.
        match plan.alternates && self.backwards.fetch_xor(true, Ordering::Relaxed) {
            true => Direction::Backwards,
            false => Direction::Forwards,
        }
    }

    /// How products of so many rows are carried out, integer activations being row-major.
    pub(super) fn description(&self, rows: usize, resources: Resources) -> Result<Description> {
        if let Some((long, first)) = self.long.as_ref().and_then(|long| Some((long, long.first()?))) {
            let large_sums = LargeSums::InParts(long.count(self.packed.groups()));
            return Ok(Description { large_sums, ..first.family.description(rows, resources)? });
        }
        let packed = self.packed.view();
        let in_place = reads_in_place(packed, !self.kind.is_converted(packed));
        let plan = Int8Plan::new(&self.problem(in_place, rows, resources)?);
        let activations = self.kind.multiplied_as(packed);
        let places = plan.kernel_places(packed.blocks().len());
        let kernels = places.filter_map(|i| kernel_desc(packed, &plan, self.bound.epilogue, activations, i)).collect();
        Ok(Description {
            tier: self.packed.tier(),
            kernels,
            sequence: self.packed.sequences().to_string(),
            mc: plan.loops.mc(),
            kc: packed.blocks().iter().map(|b| b.len).max().unwrap_or(0),
            packs_a: !in_place,
            row_parts: plan.loops.row_parts,
            panel_parts: plan.loops.column_parts,
            large_sums: if self.may_wrap { LargeSums::Wrap } else { LargeSums::Fit },
        })
    }
}
