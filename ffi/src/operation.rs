//! What handles of operations share: settings that calls change one by one, until a run freezes them, those that say
//! how and on which threads a product is carried out, and the run.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use gemmill::{AnyGemm, Element, ElementType, HardwareDot, Threads, Tier};

use crate::call::{Failure, Outcome, unpoisoned};
use crate::caller::Caller;
use crate::memory::{Matrix, check_apart, copied, overflow, size};
use crate::pool::{Pool, Workers};
use crate::run_options::Arrays;
use crate::status::Status;

/// Settings, and what runs use, which is made of them once.
#[derive(Debug, Default)]
pub(crate) struct Stages<S> {
    settings: Mutex<S>,
    /// Set once, under the lock of the settings.
    prepared: OnceLock<Prepared>,
}

impl<S> Stages<S> {
    /// What runs use; made of the settings by the first call that succeeds, which freezes them.
    pub(crate) fn prepared(&self, prepare: impl FnOnce(&S) -> Outcome<Prepared>) -> Outcome<&Prepared> {
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
    pub(crate) pool: Option<Arc<Workers>>,
}

impl Execution {
    /// Asks for: [`Caller::optional`].
    pub(crate) fn set_pool(&mut self, caller: Caller<'_>, pool: *const Pool) -> Outcome {
        self.pool = caller.optional(pool)?.map(|pool| pool.workers.clone());
        Ok(())
    }
}

/// What runs use.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) gemm: AnyGemm,
    /// The dot products of the CPU that it uses, if it was asked to.
    pub(crate) dot: Option<HardwareDot>,
    pub(crate) pool: Option<Arc<Workers>>,
}

impl Prepared {
    /// Asks for: [`Caller::any`] for A, [`Caller::any_mut`] for C, and what [`Arrays::options`] asks for.
    pub(crate) fn run(&self, caller: Caller<'_>, operands: Operands, arrays: &Arrays) -> Outcome {
        let (a, c) = operands.matrices(&self.gemm)?;
        let c_at = c.footprint()?;
        check_apart(&c_at, &a.footprint()?)?;
        let options = arrays.options(caller, (c.rows, c.cols), &c_at)?;
        let (rows, a, c) = (c.rows, caller.any(&a)?, caller.any_mut(&c)?);
        let run = || self.gemm.run(a, c, &options);
        let pool = self.pool.as_deref().filter(|_| arrays.own_threads.is_none() && self.gemm.may_use_threads(rows));
        let pool = pool.and_then(Workers::here);
        Ok(match pool {
            Some(pool) => pool.install(run),
            None => run(),
        }?)
    }
}

/// A, C and their strides, as C gives them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operands {
    pub(crate) types: Types,
    pub(crate) m: i64,
    pub(crate) a: *const c_void,
    pub(crate) a_row_stride: i64,
    pub(crate) a_col_stride: i64,
    pub(crate) c: *mut c_void,
    pub(crate) c_row_stride: i64,
}

impl Operands {
    /// A and C of a product.
    fn matrices(&self, gemm: &AnyGemm) -> Outcome<(Matrix<'static>, Matrix<'static>)> {
        let rows = size("m", self.m)?;
        let depth = gemm.k().checked_mul(gemm.groups()).ok_or_else(|| overflow("K times groups"))?;
        let a = Matrix::input("a", (self.types.a, self.a), (rows, depth), (self.a_row_stride, self.a_col_stride));
        Ok((a, Matrix::output("c", (self.types.c, self.c), (rows, gemm.n()), self.c_row_stride)))
    }
}

/// The types of A and C.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Types {
    pub(crate) a: ElementType,
    pub(crate) c: ElementType,
}

/// A copy of one value for each of `n` columns; nothing for null and a count of 0. Asks for: [`Caller::elements`].
pub(crate) fn optional_columns<T: Element>(
    caller: Caller<'_>, what: &'static str, (values, count): (*const T, i64), n: usize,
) -> Outcome<Option<Vec<T>>> {
    if values.is_null() && count == 0 {
        return Ok(None);
    }
    let values = caller.elements(what, values, size("count", count)?)?;
    expect_count(what, n, values.len())?;
    copied(what, values).map(Some)
}

pub(crate) fn expect_count(what: &'static str, expected: usize, given: usize) -> Outcome {
    if expected == given { Ok(()) } else { Err(gemmill::Error::Mismatch { what, expected, given }.into()) }
}
