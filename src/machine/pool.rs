//! The threads that work is shared out among where the caller brings none of its own.
//!
//! ```text
//! the calling thread works in a rayon pool ──────────────────────────► that pool
//! otherwise: it was given a pool (set_thread_pool) ──────────────────► that pool
//! otherwise, found once for each process:
//!   rayon's global pool can be had, and does work ───────────────────► the global pool
//!   it was inherited over fork(), or its threads could not be started ► a pool of as many threads as can be started
//!   none can be started ─────────────────────────────────────────────► the calling thread, and a message
//! ```
//!
//! fork() leaves a child with the thread that called it alone: a pool that the parent had started is there, but nobody
//! works in it, and whoever waits for it waits for ever. What was found is therefore kept with the id of its process.

use std::cell::RefCell;
use std::error::Error;
use std::io::Write;
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};

/// Where work is done.
#[derive(Debug, Clone)]
enum Place {
    /// Where rayon's functions do it: in the pool that the calling thread works in, or in the global one.
    Rayon,
    Pool(Arc<ThreadPool>),
    /// On the calling thread.
    Here,
}

impl Place {
    /// The place for the calling thread.
    fn of_this_thread() -> Place {
        if rayon::current_thread_index().is_some() {
            return Place::Rayon;
        }
        let given = GIVEN.with_borrow(|given| given.clone());
        match given {
            Some((process, pool)) if process == std::process::id() => Place::Pool(pool),
            _ => Place::of_this_process().clone(),
        }
    }

    fn of_this_process() -> &'static Place {
        let process = std::process::id();
        loop {
            let (mut end, mut inherited) = (&FOUND, None);
            while let Some(found) = end.get() {
                if found.process == process {
                    return &found.place;
                }
                (end, inherited) = (&found.next, Some(&found.place));
            }
            let found = Found { process, place: Place::find(inherited), next: OnceLock::new() };
            // Of threads that get here together, one has its place kept, which all of them then use.
            let _ = end.set(Box::new(found));
        }
    }

    /// Finds a place, after what the process inherited.
    fn find(inherited: Option<&Place>) -> Place {
        let wanted = match inherited {
            Some(Place::Rayon) => rayon::current_num_threads(),
            Some(Place::Pool(pool)) => pool.current_num_threads(),
            Some(Place::Here) => usual_threads(),
            None => match ThreadPoolBuilder::new().build_global() {
                Ok(()) => return Place::Rayon,
                // The system refused threads: rayon keeps that in mind for ever.
                Err(error) if error.source().is_some() => {
                    std::thread::sleep(TO_END);
                    usual_threads()
                }
                Err(_) if global_pool_works() => return Place::Rayon,
                Err(_) => rayon::current_num_threads(),
            },
        };
        Place::with_threads(wanted)
    }

    /// A pool of `wanted` threads, or as many of them as the system lets be started.
    fn with_threads(wanted: usize) -> Place {
        let mut count = wanted;
        let mut refused = None;
        while count > 1 {
            let builder = ThreadPoolBuilder::new().num_threads(count);
            match builder.thread_name(|index| format!("gemmill-{index}")).build() {
                Ok(pool) => {
                    if let Some(error) = refused {
                        let count = pool.current_num_threads();
                        warn(&format!("the system refuses threads ({error}): work is shared out among {count}"));
                    }
                    return Place::Pool(Arc::new(pool));
                }
                Err(error) => {
                    count /= 2;
                    refused = Some(error);
                    std::thread::sleep(TO_END);
                }
            }
        }
        if let Some(error) = refused {
            warn(&format!("the system refuses threads ({error}): work is done on the calling thread"));
        }
        Place::Here
    }
}

/// What the threads of a pool that could not be started as a whole need to end. The system counts them until then.
const TO_END: Duration = Duration::from_millis(20);

/// As many threads as rayon starts unless told otherwise: what RAYON_NUM_THREADS says, or one for each core.
fn usual_threads() -> usize {
    let said = std::env::var("RAYON_NUM_THREADS").ok().and_then(|count| count.parse().ok());
    said.filter(|&count| count > 0).unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Writes a line to standard error, if there is one.
fn warn(line: &str) {
    let _ = std::io::stderr().write_all(format!("gemmill: {line}\n").as_bytes());
}

/// How long rayon's global pool may take for an empty task before it is held for one without threads. One that is busy
/// for longer is left alone too, which costs threads, not results.
const PATIENCE: Duration = Duration::from_millis(200);

/// Whether somebody works in rayon's global pool, which others have started, perhaps in a process before a fork.
fn global_pool_works() -> bool {
    let (done, is_done) = channel();
    rayon::spawn(move || {
        // Nobody may be waiting any more.
        let _ = done.send(());
    });
    is_done.recv_timeout(PATIENCE).is_ok()
}

/// What processes found: the first one, and those that were forked one from the other. (A child that outlives its
/// parents may have the id of one of them only after all other ids were used.)
static FOUND: OnceLock<Box<Found>> = OnceLock::new();

#[derive(Debug)]
struct Found {
    process: u32,
    place: Place,
    next: OnceLock<Box<Found>>,
}

thread_local! {
    /// The process, and a pool that it gave this thread.
    static GIVEN: RefCell<Option<(u32, Arc<ThreadPool>)>> = const { RefCell::new(None) };
}

/// From now on, the calling thread's work is shared out among the threads of `pool`, where it works in none itself;
/// with none, among those of rayon's global pool again. A child of fork() does not inherit it.
///
/// For other languages' interfaces: in Rust, [`ThreadPool::install`] says the same for a block.
#[doc(hidden)]
pub fn set_thread_pool(pool: Option<Arc<ThreadPool>>) {
    GIVEN.set(pool.map(|pool| (std::process::id(), pool)));
}

/// How many threads the calling one has work shared out among.
pub(super) fn threads() -> usize {
    match Place::of_this_thread() {
        Place::Rayon => rayon::current_num_threads(),
        Place::Pool(pool) => pool.current_num_threads(),
        Place::Here => 1,
    }
}

/// Calls `shared` where rayon's functions find threads, or `alone` where there are none.
pub(super) fn with_threads<R: Send>(shared: impl FnOnce() -> R + Send, alone: impl FnOnce() -> R) -> R {
    match Place::of_this_thread() {
        Place::Rayon => shared(),
        Place::Pool(pool) => pool.install(shared),
        Place::Here => alone(),
    }
}
