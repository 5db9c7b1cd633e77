//! How weights are packed: settings that are made once and used for any number of weights.

use std::sync::Mutex;

use gemmill::{Loader, PackBuilder, PackEffort, PackedB, Threads, Tier, Weight};

use crate::call::{Failure, Outcome, unpoisoned};
use crate::caller::{collects, entry, set};
use crate::codes::{Code, Effort, ThreadsCode, TierCode, Values};
use crate::memory::at_least_one;
use crate::status::Status;

/// How weights are packed: groups, zero points, a bound of the activations, the tier, threads.
#[derive(Debug, Default)]
pub struct Packing {
    settings: Mutex<Settings>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    groups: Option<usize>,
    zero_points: Option<Values<i32>>,
    activation_max: Option<u8>,
    tier: Option<Tier>,
    effort: Option<PackEffort>,
    kc: Option<usize>,
    scales: Option<Values<f32>>,
    threads: Threads,
}

collects!(Packing: Settings, |packing| Ok(unpoisoned(packing.settings.lock())));

impl Settings {
    /// For weights that are used once.
    pub(crate) fn quick() -> Settings {
        Settings { effort: Some(PackEffort::Quick), ..Settings::default() }
    }

    /// Weights from bytes, which bring all settings but the tier and the threads: no others may be set.
    pub(crate) fn load(&self, loader: Loader<'_>) -> Outcome<PackedB> {
        let Settings { groups, zero_points, activation_max, tier, effort, kc, scales, threads } = self;
        let others = groups.is_some()
            || zero_points.is_some()
            || activation_max.is_some()
            || effort.is_some()
            || kc.is_some()
            || scales.is_some();
        if others {
            return Err(Failure::unsupported("packing: bytes bring all settings but the tier and the threads"));
        }
        let loader = loader.threads(*threads);
        Ok(tier.map_or(loader, |tier| loader.tier(tier)).load()?)
    }

    pub(crate) fn pack<'a, T: Weight>(&'a self, mut builder: PackBuilder<'a, T>) -> Outcome<PackedB> {
        builder = builder.threads(self.threads);
        if let Some(groups) = self.groups {
            builder = builder.groups(groups);
        }
        if let Some(zero_points) = &self.zero_points {
            builder = builder.zero_points(zero_points.per_column());
        }
        if let Some(max) = self.activation_max {
            builder = builder.activation_max(max);
        }
        if let Some(tier) = self.tier {
            builder = builder.tier(tier);
        }
        if let Some(effort) = self.effort {
            builder = builder.effort(effort);
        }
        if let Some(kc) = self.kc {
            builder = builder.kc(kc);
        }
        if let Some(scales) = &self.scales {
            builder = builder.scales(scales.per_column());
        }
        Ok(builder.build()?)
    }
}

/// *packing = new settings: one group, zero points of 0, activations of up to 255, the best tier, full effort, the
/// library's pool for many weights.
///
/// Ownership: the caller's, to be given back to gemmill_packing_destroy; null after a failure. Threads: any.
/// Errors: pointers.
///
/// # Safety
/// packing points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_packing_create(packing: *mut *mut Packing) -> Status {
    entry!("gemmill_packing_create", |c| c.create(packing, || Ok(Packing::default()))?)
}

/// Cuts the N columns of weights into groups of N / groups each: A has groups * K columns, and group g of C is the
/// product of columns g * K to g * K + K - 1 of A with group g of B.
///
/// Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for groups below 1; pointers. (Whether N can be divided is seen
/// when weights are packed.)
///
/// # Safety
/// packing is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_packing_set_groups(packing: *mut Packing, groups: i64) -> Status {
    set!("gemmill_packing_set_groups", packing.groups = Some(at_least_one("groups", groups)?))
}

/// B_zp[j] = zero_point for all columns j.
///
/// The range, 0 to 255 for u8 weights and -128 to 127 for i8 ones, is checked when weights are packed. Threads: any.
/// Errors: pointers.
///
/// # Safety
/// packing is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_packing_set_zero_point(packing: *mut Packing, zero_point: i32) -> Status {
    set!("gemmill_packing_set_zero_point", packing.zero_points = Some(Values::one(zero_point)))
}

/// B_zp[j] = zero_points[0], zero_points[group of j] or zero_points[j].
///
/// per: a gemmill_per. count: 1, the number of groups, or N. As many as that, and the range, are checked when weights
/// are packed. Ownership: values are copied. Threads: any.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE for per and count, GEMMILL_STATUS_MISMATCH for a count per tensor other than 1;
/// pointers.
///
/// # Safety
/// packing is a handle that is not destroyed meanwhile; zero_points has count elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_packing_set_zero_points(
    packing: *mut Packing, per: i32, zero_points: *const i32, count: i64,
) -> Status {
    entry!("gemmill_packing_set_zero_points", |c| {
        let mut settings = c.settings(packing)?;
        settings.zero_points = Some(Values::given(c, "zero points", per, (zero_points, count))?);
    })
}

/// Promises A[i][k] <= max for all products with u8 activations: more 16-bit sums are safe then, and faster.
///
/// Products check it. Other types of activations are refused then. Threads: any.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE unless max is 0 to 255; pointers.
///
/// # Safety
/// packing is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_packing_set_activation_max(packing: *mut Packing, max: i32) -> Status {
    entry!("gemmill_packing_set_activation_max", |c| {
        let range = |_| Failure::out_of_range("largest activation", 0, 255, max.into());
        let mut settings = c.settings(packing)?;
        settings.activation_max = Some(u8::try_from(max).map_err(range)?);
    })
}

/// Packs for this tier, a gemmill_tier, instead of the best one. Its bits are the same.
///
/// Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE if no tier has this number; pointers. (Whether this machine has it
/// is seen when weights are packed.)
///
/// # Safety
/// packing is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_packing_set_tier(packing: *mut Packing, tier: i32) -> Status {
    set!("gemmill_packing_set_tier", packing.tier = Some(TierCode::of("tier", tier)?))
}

/// How hard to search for fast sequences: effort is a gemmill_effort. Results are the same.
///
/// Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for another number; pointers.
///
/// # Safety
/// packing is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_packing_set_effort(packing: *mut Packing, effort: i32) -> Status {
    set!("gemmill_packing_set_effort", packing.effort = Some(Effort::of("effort", effort)?))
}

/// Most elements of K in a cache block, instead of what suits this CPU. Results are the same.
///
/// Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE for kc below 1; pointers.
///
/// # Safety
/// packing is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_packing_set_kc(packing: *mut Packing, kc: i64) -> Status {
    set!("gemmill_packing_set_kc", packing.kc = Some(at_least_one("kc", kc)?))
}

/// B_scale[j] = scales[0], scales[group of j] or scales[j] that go with the weights, into bytes too, for
/// gemmill_weights_scales to give back. Products take theirs from gemmill_gemm_set_b_scales.
///
/// per: a gemmill_per. count: 1, the number of groups, or N. As many as that, and that they are finite, above 0 and
/// have a finite reciprocal, is checked when weights are packed. Ownership: values are copied. Threads: any.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE for per and count, GEMMILL_STATUS_MISMATCH for a count per tensor other than 1;
/// pointers.
///
/// # Safety
/// packing is a handle that is not destroyed meanwhile; scales has count elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_packing_set_scales(
    packing: *mut Packing, per: i32, scales: *const f32, count: i64,
) -> Status {
    entry!("gemmill_packing_set_scales", |c| {
        let mut settings = c.settings(packing)?;
        settings.scales = Some(Values::given(c, "scales", per, (scales, count))?);
    })
}

/// Whether the threads of the library's pool share the work of packing. The weights are the same.
///
/// how: a gemmill_threads. threads: 0 for GEMMILL_THREADS_AUTO, which holds until another is set; otherwise 1 or more.
/// With 1, the calling thread packs alone, and no pool is started; with more, all of the pool's threads may. Holds for
/// gemmill_weights_from_bytes too. Threads: any. Errors: GEMMILL_STATUS_OUT_OF_RANGE; pointers.
///
/// # Safety
/// packing is a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_packing_set_threads(packing: *mut Packing, how: i32, threads: i64) -> Status {
    set!("gemmill_packing_set_threads", packing.threads = ThreadsCode::threads(how, threads)?)
}

/// Gives the settings back; null is nothing. Weights that were packed with them stay.
///
/// Threads: no other may use the handle meanwhile or later. Errors: GEMMILL_STATUS_MISALIGNED.
///
/// # Safety
/// packing is a handle or null, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_packing_destroy(packing: *mut Packing) -> Status {
    entry!("gemmill_packing_destroy", |c| c.destroy(packing)?)
}
