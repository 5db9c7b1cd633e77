//! Pools of threads.

use std::mem;
use std::sync::Arc;

use gemmill::set_thread_pool;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::call::{Failure, Outcome};
use crate::caller::{create, entry};
use crate::memory::ranged;
use crate::status::Status;

/// Threads that products may be carried out on, instead of those of the library's own pool.
#[derive(Debug)]
pub struct Pool {
    pub(crate) workers: Arc<Workers>,
}

/// Threads of a pool, and the process that has them.
#[derive(Debug)]
pub(crate) struct Workers {
    threads: Arc<ThreadPool>,
    process: u32,
}

impl Workers {
    /// The threads, in the process that started them: a child that inherited the pool has none of them.
    pub(crate) fn here(&self) -> Option<&Arc<ThreadPool>> {
        (self.process == std::process::id()).then_some(&self.threads)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if self.here().is_none() {
            // Telling threads to end takes locks that they may have held when the process was forked.
            mem::forget(self.threads.clone());
        }
    }
}

/// A number of threads that is not chosen by the library.
pub(crate) fn thread_count(given: i64) -> Outcome<usize> {
    ranged("threads", 1..=65535, given)
}

/// *pool = as many new threads, which sleep until a product needs them.
///
/// Without a pool, products use the library's own, which is started by the first large product with as many threads as
/// the machine has cores, or as the environment variable RAYON_NUM_THREADS says, or with as many as the system lets be
/// started, which a line on standard error tells then. An operation that may use one thread only needs no pool and
/// starts none. In a child of fork() a pool of the parent's has no threads: the library's own, which is started anew
/// there, takes its place. (No thread may be in a call of the library while another one forks.)
/// Ownership: the caller's, to be given back to gemmill_pool_destroy; null after a failure. Operations that use the
/// pool keep its threads. Threads: any; one pool may serve many at once.
/// Errors: GEMMILL_STATUS_OUT_OF_RANGE unless threads is 1 to 65535, GEMMILL_STATUS_THREADS if the system refuses them;
/// pointers.
///
/// # Safety
/// pool points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_pool_create(threads: i64, pool: *mut *mut Pool) -> Status {
    create!("gemmill_pool_create", pool, |c| {
        let builder = ThreadPoolBuilder::new().num_threads(thread_count(threads)?);
        let built = builder.thread_name(|index| format!("gemmill-{index}")).build();
        let threads = built.map_err(|e| Failure::new(Status::Threads, format!("threads: {e}")))?;
        Ok(Pool { workers: Arc::new(Workers { threads: Arc::new(threads), process: std::process::id() }) })
    })
}

/// *threads = the number of threads of the pool.
///
/// Threads: any. Errors: pointers.
///
/// # Safety
/// pool is a handle that is not destroyed meanwhile; threads points to an int64_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_pool_threads(pool: *const Pool, threads: *mut i64) -> Status {
    entry!("gemmill_pool_threads", |c| {
        let (pool, threads) = (c.object(pool)?, c.out("threads", threads)?);
        threads.set(pool.workers.threads.current_num_threads() as i64);
    })
}

/// From now on, calls of this thread that take no pool (packing, quantizing, reading and converting weights, operations
/// without one) share out their work among the threads of this pool; with null, among the library's own again.
///
/// Results are the same. Ownership: the thread keeps the pool's threads, not the handle, until another call or its own
/// end. Threads: any, each for itself; a child of fork() begins with none. Errors: pointers.
///
/// # Safety
/// pool is null or a handle that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_thread_set_pool(pool: *const Pool) -> Status {
    entry!("gemmill_thread_set_pool", |c| {
        set_thread_pool(c.optional(pool)?.and_then(|pool| pool.workers.here().cloned()));
    })
}

/// Gives a pool back; null is nothing. Its threads end once no operation uses them.
///
/// Threads: no other may use the handle meanwhile or later. Errors: GEMMILL_STATUS_MISALIGNED.
///
/// # Safety
/// pool is a handle or null, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gemmill_pool_destroy(pool: *mut Pool) -> Status {
    entry!("gemmill_pool_destroy", |c| c.destroy(pool)?)
}
