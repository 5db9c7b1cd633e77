//! What handles of operations share: settings that calls change one by one, until a run freezes them, and those that say how and
//! on which threads a product is carried out.

use std::sync::{Arc, Mutex, OnceLock};

use gemmill::{Threads, Tier};
use rayon::ThreadPool;

use crate::call::{Failure, Outcome, call, unpoisoned};
use crate::codes::{Code, ThreadsCode, TierCode};
use crate::pointer::{Plain, elements, object, optional_object, size};
use crate::pool::Pool;
use crate::status::Status;

/// Settings, and what runs use, which is made of them once.
#[derive(Debug)]
pub(crate) struct Stages<S, P> {
    settings: Mutex<S>,
    /// Set once, under the lock of the settings.
    prepared: OnceLock<P>,
}

impl<S: Default, P> Default for Stages<S, P> {
    fn default() -> Stages<S, P> {
        Stages { settings: Mutex::default(), prepared: OnceLock::new() }
    }
}

impl<S, P> Stages<S, P> {
    /// What runs use; made of the settings by the first call that succeeds, which freezes them.
    pub(crate) fn prepared(&self, prepare: impl FnOnce(&S) -> Outcome<P>) -> Outcome<&P> {
        if let Some(prepared) = self.prepared.get() {
            return Ok(prepared);
        }
        let settings = unpoisoned(self.settings.lock());
        if let Some(prepared) = self.prepared.get() {
            return Ok(prepared);
        }
        let prepared = prepare(&settings)?;
        Ok(self.prepared.get_or_init(|| prepared))
    }

    /// Changes settings, unless they are frozen.
    fn change(&self, change: impl FnOnce(&mut S) -> Outcome) -> Outcome {
        let mut settings = unpoisoned(self.settings.lock());
        if self.prepared.get().is_some() {
            let what = "settings: the operation has been prepared or run, expected a new one";
            return Err(Failure::new(Status::Frozen, what));
        }
        change(&mut settings)
    }
}

/// How products are carried out, on which nothing in their results depends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Execution {
    pub(crate) threads: Threads,
    pub(crate) tier: Option<Tier>,
    pub(crate) pool: Option<Arc<ThreadPool>>,
}

/// What the handle of an operation points to.
pub(crate) trait Operation: Sync {
    type Settings;
    type Prepared;

    fn stages(&self) -> &Stages<Self::Settings, Self::Prepared>;

    fn execution(settings: &mut Self::Settings) -> &mut Execution;
}

/// Changes one setting, unless they are frozen.
///
/// # Safety
/// As [`object`].
pub(crate) unsafe fn set<O: Operation>(
    function: &str,
    gemm: *mut O,
    change: impl FnOnce(&O, &mut O::Settings) -> Outcome,
) -> Status {
    call(function, || {
        // SAFETY: by this function's contract.
        let gemm = unsafe { object("gemm", gemm) }?;
        gemm.stages().change(|settings| change(gemm, settings))
    })
}

/// # Safety
/// As [`object`].
pub(crate) unsafe fn set_threads<O: Operation>(function: &str, gemm: *mut O, how: i32, threads: i64) -> Status {
    let change = |_: &O, settings: &mut O::Settings| {
        O::execution(settings).threads = ThreadsCode::of("how", how)?.threads(threads)?;
        Ok(())
    };
    // SAFETY: by this function's contract.
    unsafe { set(function, gemm, change) }
}

/// # Safety
/// As [`object`].
pub(crate) unsafe fn set_tier<O: Operation>(function: &str, gemm: *mut O, tier: i32) -> Status {
    let change = |_: &O, settings: &mut O::Settings| {
        O::execution(settings).tier = Some(TierCode::of("tier", tier)?.tier());
        Ok(())
    };
    // SAFETY: by this function's contract.
    unsafe { set(function, gemm, change) }
}

/// # Safety
/// As [`object`] for `gemm` and [`optional_object`] for `pool`.
pub(crate) unsafe fn set_pool<O: Operation>(function: &str, gemm: *mut O, pool: *const Pool) -> Status {
    let change = |_: &O, settings: &mut O::Settings| {
        // SAFETY: by this function's contract.
        O::execution(settings).pool = unsafe { optional_object("pool", pool) }?.map(|pool| pool.threads.clone());
        Ok(())
    };
    // SAFETY: by this function's contract.
    unsafe { set(function, gemm, change) }
}

/// A copy of one value for each of `n` columns; nothing for null and a count of 0.
///
/// # Safety
/// As [`elements`].
pub(crate) unsafe fn optional_columns<T: Plain>(
    what: &'static str,
    (values, count): (*const T, i64),
    n: usize,
) -> Outcome<Option<Vec<T>>> {
    if values.is_null() && count == 0 {
        return Ok(None);
    }
    // SAFETY: by this function's contract.
    let values = unsafe { elements(what, values, size("count", count)?) }?;
    expect_count(what, n, values.len())?;
    Ok(Some(values.to_vec()))
}

pub(crate) fn expect_count(what: &'static str, expected: usize, given: usize) -> Outcome {
    if expected == given { Ok(()) } else { Err(gemmill::Error::Mismatch { what, expected, given }.into()) }
}
