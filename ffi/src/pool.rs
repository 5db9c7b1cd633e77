//! Pools of threads.

use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::call::{Failure, Outcome};
use crate::caller::{create, entry};
use crate::memory::ranged;
use crate::status::Status;

/// Threads that products may be carried out on, instead of those of the library's own pool.
#[derive(Debug)]
pub struct Pool {
    pub(crate) threads: Arc<ThreadPool>,
}

/// A number of threads that is not chosen by the library.
pub(crate) fn thread_count(given: i64) -> Outcome<usize> {
    ranged("threads", 1..=65535, given)
}

/// *pool = as many new threads, which sleep until a product needs them.
///
/// Without a pool, products use the library's own, which is started by the first large product with as many threads as
/// the machine has cores, or as the environment variable RAYON_NUM_THREADS says. An operation that may use one thread
/// only needs no pool and starts none. Pools don't survive fork(): a child that wants threads must create its own.
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
        Ok(Pool { threads: Arc::new(threads) })
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
        threads.set(pool.threads.current_num_threads() as i64);
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
