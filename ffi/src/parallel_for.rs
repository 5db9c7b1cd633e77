//! Threads of the caller's own.

use std::any::Any;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;

use gemmill::ParallelFor;

use crate::call::{Failure, Outcome, unpoisoned};
use crate::caller::set;
use crate::pool::thread_count;
use crate::run_options::RunOptions;
use crate::status::Status;

/// One of the tasks of a run: called with the argument that came with it, and its index.
pub type TaskFunction = unsafe extern "C" fn(argument: *mut c_void, index: i64);

/// Calls task(argument, i) once for each i from 0 to tasks - 1, in any order and from any threads, and returns when all
/// have returned. context is what was given to gemmill_run_options_set_parallel_for.
/// Threads: that which runs the product calls it. Errors: it can tell of none, and must not throw.
pub type ParallelForFunction =
    Option<unsafe extern "C" fn(context: *mut c_void, tasks: i64, task: TaskFunction, argument: *mut c_void)>;

/// Threads of the caller's own, as C gives them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnThreads {
    run: unsafe extern "C" fn(context: *mut c_void, tasks: i64, task: TaskFunction, argument: *mut c_void),
    context: *mut c_void,
    threads: usize,
}

// SAFETY: who gives the function vouches that any thread that runs products with these options may call it with its
// context.
unsafe impl Send for OwnThreads {}
// SAFETY: as above.
unsafe impl Sync for OwnThreads {}

/// What tasks of a run share.
struct Tasks<'a> {
    task: &'a (dyn Fn(usize) + Sync),
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl ParallelFor for OwnThreads {
    fn threads(&self) -> usize {
        self.threads
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let shared = Tasks { task, panic: Mutex::new(None) };
        let argument = (&raw const shared).cast_mut().cast();
        // SAFETY: the function was given for this; by its contract all calls of the task return before it does, so that
        // `shared` outlives them.
        unsafe { (self.run)(self.context, tasks as i64, run_task, argument) };
        if let Some(panic) = unpoisoned(shared.panic.lock()).take() {
            resume_unwind(panic);
        }
    }
}

/// Nothing unwinds into the caller's threads: what panics there goes on in the thread that runs the product.
///
/// # Safety
/// The argument is null or that of [`OwnThreads::run`], which has not returned.
unsafe extern "C" fn run_task(argument: *mut c_void, index: i64) {
    // SAFETY: by this function's contract.
    let (Some(tasks), Ok(index)) = (unsafe { argument.cast::<Tasks<'_>>().as_ref() }, usize::try_from(index)) else {
        return;
    };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (tasks.task)(index))) {
        unpoisoned(tasks.panic.lock()).get_or_insert(panic);
    }
}

/// Threads from C; `None` for a null function and no threads.
fn own_threads(run: ParallelForFunction, context: *mut c_void, threads: i64) -> Outcome<Option<OwnThreads>> {
    match run {
        None if threads == 0 => Ok(None),
        None => Err(Failure::new(Status::NullPointer, "parallel for: expected a function, given null")),
        Some(run) => Ok(Some(OwnThreads { run, context, threads: thread_count(threads)? })),
    }
}

/// Runs with these options use threads of the caller's own, by calling parallel_for(context, tasks, task, argument),
/// instead of a pool; null and 0 for a pool again.
///
/// For all products. parallel_for calls task(argument, i) once for each i from 0 to tasks - 1, in any order and from
/// any threads, and returns when all have returned: a loop of OpenMP, for example, or of a pool that the program has
/// anyway. threads is how many can run at the same time; tasks is at most that, 1024, and what the operation's own
/// setting of threads allows. A run that is worth one task only does not call parallel_for. No run with these options
/// starts a thread or asks a pool for one. Caches are used best if i is the same thread from run to run.
/// A second call of the same i, or of an i that is none, does nothing. If some i was not called, the run gives
/// GEMMILL_STATUS_THREADS, and C is written in part. Results are the same with any order and number of threads.
/// parallel_for must not unwind: a C++ exception that leaves it is undefined behaviour. Tasks throw nothing.
/// Ownership: context is the caller's, and only handed on; both must be there in each run with these options. Threads:
/// any; runs on several threads at once call parallel_for on each of them.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE unless threads is 1 to 65535, GEMMILL_STATUS_NULL_POINTER for a null function
/// with threads; pointers.
///
/// # Safety
/// options is a handle that is not destroyed meanwhile; parallel_for does as said, with this context, in each run with
/// these options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_run_options_set_parallel_for(
    options: *mut RunOptions, parallel_for: ParallelForFunction, context: *mut c_void, threads: i64,
) -> Status {
    set!("gemmill_run_options_set_parallel_for", options.own_threads = own_threads(parallel_for, context, threads)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" fn backwards(context: *mut c_void, tasks: i64, task: TaskFunction, argument: *mut c_void) {
        // SAFETY: the tests below give a counter as the context.
        unsafe { *context.cast::<i64>() += tasks };
        // SAFETY: a null argument is allowed, and so are indices without a task.
        unsafe { task(std::ptr::null_mut(), 0) };
        // SAFETY: the run's own argument, while it runs.
        (-1..=tasks).rev().for_each(|i| unsafe { task(argument, i) });
    }

    #[test]
    fn tasks_are_called_through_c() {
        let mut given = 0i64;
        let own = own_threads(Some(backwards), (&raw mut given).cast(), 2).unwrap().unwrap();
        let called = Mutex::new(Vec::new());
        own.run(3, &|i| called.lock().unwrap().push(i));
        assert_eq!((own.threads(), given), (2, 3));
        assert_eq!(called.into_inner().unwrap(), [3, 2, 1, 0]);
    }

    #[test]
    fn panics_reach_the_caller_and_not_c() {
        let mut given = 0i64;
        let own = own_threads(Some(backwards), (&raw mut given).cast(), 2).unwrap().unwrap();
        let run = || own.run(2, &|i| assert_ne!(i, 1, "task {i}"));
        let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        assert!(panic.downcast_ref::<String>().unwrap().contains("task 1"));
        assert_eq!(given, 2);
    }
}
