//! What handles of operations share: settings that calls change one by one, until a run freezes them, and those that
//! say how and on which threads a product is carried out.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use gemmill::{Threads, Tier};
use rayon::ThreadPool;

use crate::call::{Failure, Outcome, unpoisoned};
use crate::caller::Caller;
use crate::memory::{Matrix, Plain, size};
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

    /// The settings, to be changed, unless they are frozen.
    pub(crate) fn settings(&self) -> Outcome<MutexGuard<'_, S>> {
        let settings = unpoisoned(self.settings.lock());
        if self.prepared.get().is_some() {
            let what = "settings: the operation has been prepared or run, expected a new one";
            return Err(Failure::new(Status::Frozen, what));
        }
        Ok(settings)
    }
}

/// How products are carried out, on which nothing in their results depends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Execution {
    pub(crate) threads: Threads,
    pub(crate) tier: Option<Tier>,
    pub(crate) pool: Option<Arc<ThreadPool>>,
}

impl Execution {
    /// Asks for: [`Caller::optional`].
    pub(crate) fn set_pool(&mut self, caller: Caller<'_>, pool: *const Pool) -> Outcome {
        self.pool = caller.optional(pool)?.map(|pool| pool.threads.clone());
        Ok(())
    }
}

/// What `run` gives, carried out on the threads of a pool if there is one.
pub(crate) fn on_pool<T: Send>(pool: Option<&ThreadPool>, run: impl FnOnce() -> T + Send) -> T {
    match pool {
        Some(pool) => pool.install(run),
        None => run(),
    }
}

/// A, C and their strides, as C gives them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operands {
    pub(crate) m: i64,
    pub(crate) a: *const c_void,
    pub(crate) a_row_stride: i64,
    pub(crate) a_col_stride: i64,
    pub(crate) c: *mut c_void,
    pub(crate) c_row_stride: i64,
}

impl Operands {
    /// A with `k` columns and C with `n`.
    pub(crate) fn matrices(&self, k: usize, n: usize) -> Outcome<(Matrix<'static>, Matrix<'static>)> {
        let rows = size("m", self.m)?;
        let a = Matrix::input("a", self.a, (rows, k), (self.a_row_stride, self.a_col_stride));
        Ok((a, Matrix::output("c", self.c, (rows, n), self.c_row_stride)))
    }
}

/// A copy of one value for each of `n` columns; nothing for null and a count of 0. Asks for: [`Caller::elements`].
pub(crate) fn optional_columns<T: Plain>(
    caller: Caller<'_>, what: &'static str, (values, count): (*const T, i64), n: usize,
) -> Outcome<Option<Vec<T>>> {
    if values.is_null() && count == 0 {
        return Ok(None);
    }
    let values = caller.elements(what, values, size("count", count)?)?;
    expect_count(what, n, values.len())?;
    Ok(Some(values.to_vec()))
}

pub(crate) fn expect_count(what: &'static str, expected: usize, given: usize) -> Outcome {
    if expected == given { Ok(()) } else { Err(gemmill::Error::Mismatch { what, expected, given }.into()) }
}
