//! How many threads work may have ([`Threads`]), threads of the caller's own ([`ParallelFor`]), and how parts of a
//! product are shared out among these or rayon's.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use gemmill_codegen::in_default_float_mode;
use rayon::prelude::*;

use super::pool;
use crate::error::{Error, Result};

/// How many threads a product may use. They come from the rayon pool that the caller runs in, or from the global one,
/// unless the run has a [`ParallelFor`].
///
/// A process that was forked from one that had started these threads gets a pool of its own, of as many (if no thread
/// was in a call of the library while another one forked). Where the system refuses threads, as many are used as it
/// allows, down to the calling one alone, and a line on standard error says so once.
///
/// # Examples
/// ```
/// use gemmill::Threads;
/// assert_eq!(Threads::default(), Threads::Auto);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Threads {
    /// As many as the pool has, if the product is large enough for them.
    #[default]
    Auto,
    /// At most this many, if the product is large enough. With one, the calling thread does all.
    Max(usize),
    /// This many, however small the product, as far as the pool has them and C can be cut.
    Exactly(usize),
}

/// Multiply-accumulates that a thread has to itself, unless a number of threads is insisted on: some ten times what
/// handing it work costs.
pub(crate) const MACS_PER_THREAD: usize = 1 << 20;

/// Whether a product is large enough for a second thread.
pub(crate) fn worth_threads(rows: usize, k: usize, cols: usize) -> bool {
    rows.saturating_mul(cols).saturating_mul(k) >= 2 * MACS_PER_THREAD
}

impl Threads {
    /// Refuses none at all.
    pub(crate) fn check(self) -> Result<()> {
        match self {
            Threads::Max(0) | Threads::Exactly(0) => {
                Err(Error::OutOfRange { what: "threads", low: 1, high: i64::MAX, given: 0 })
            }
            _ => Ok(()),
        }
    }

    /// Whether the calling thread does all.
    fn is_one(self) -> bool {
        matches!(self, Threads::Max(1) | Threads::Exactly(1))
    }

    /// Whether a product of this size may use more than the calling thread.
    pub(crate) fn may_be_several(self, rows: usize, k: usize, cols: usize) -> bool {
        match self {
            _ if self.is_one() => false,
            Threads::Exactly(_) => true,
            _ => worth_threads(rows, k, cols),
        }
    }

    /// The most that a product of this size may use.
    pub(crate) fn of_product(self, rows: usize, k: usize, cols: usize, own: Option<&dyn ParallelFor>) -> usize {
        match self {
            // Asking the pool costs as much as a small product.
            _ if !self.may_be_several(rows, k, cols) => 1,
            Threads::Auto => available_threads(own),
            Threads::Max(n) | Threads::Exactly(n) => n.min(available_threads(own)),
        }
    }
}

/// Threads of the caller's own, that runs may use instead of a rayon pool: a program that has threads already, whose
/// other work would be held up by a second set of them, hands these over.
///
/// [`RunOptions::parallel_for`] takes one. A run then starts no thread and asks no pool. Results have the same bits.
/// `examples/pool` has products on the threads of an ordinary pool, whose jobs are `'static`, without unsafe code.
///
/// [`RunOptions::parallel_for`]: crate::RunOptions::parallel_for
///
/// # Examples
/// ```
/// use gemmill::{Gemm, IntOutput, MatMut, MatRef, PackedB, ParallelFor, RunOptions, Threads};
///
/// struct NewThreads(usize);
///
/// impl ParallelFor for NewThreads {
///     fn threads(&self) -> usize {
///         self.0
///     }
///
///     fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
///         std::thread::scope(|scope| (0..tasks).for_each(|i| drop(scope.spawn(move || task(i)))));
///     }
/// }
///
/// let weights = PackedB::new(MatRef::row_major(&[2i8; 64 * 512], 64, 512)?)?;
/// let gemm = Gemm::<u8, i32>::builder(&weights, IntOutput::Store).threads(Threads::Exactly(2)).build()?;
/// let mut c = [0; 512];
/// let options = RunOptions::new().parallel_for(&NewThreads(2));
/// gemm.run_with(MatRef::row_major(&[3u8; 64], 1, 64)?, &mut MatMut::row_major(&mut c, 1, 512)?, &options)?;
/// assert_eq!(c, [384; 512]);
/// # Ok::<(), gemmill::Error>(())
/// ```
pub trait ParallelFor: Sync {
    /// How many tasks can run at the same time. A run has at most as many, and 1024; 0 is taken for 1.
    fn threads(&self) -> usize;

    /// Calls `task(i)` once for each `i` below `tasks`, in any order, from any threads, and returns when all have
    /// returned.
    ///
    /// A product may need this more than once: to quantize or pack rows of A, and then to multiply. One that is worth
    /// one task only is carried out without it. Caches are used best if `i` is the same thread from
    /// call to call. A second call of the same `i`, or one of `i >= tasks`, does nothing. A run whose tasks were not
    /// all called gives [`Error::NotRun`]. A task that panics has to unwind into the caller, or the process to end.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));
}

impl fmt::Debug for dyn ParallelFor + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParallelFor").field("threads", &self.threads()).finish_non_exhaustive()
    }
}

/// Most tasks of a run on threads of the caller's own.
const MOST_TASKS: usize = 1024;

/// Threads that a product may have at most: the caller's own, or those of the rayon pool that it runs in.
pub(crate) fn available_threads(own: Option<&dyn ParallelFor>) -> usize {
    own.map_or_else(pool::threads, |own| own.threads().clamp(1, MOST_TASKS))
}

/// Carries out parts `0..count` of a product, each once, on threads of the caller's own or of the rayon pool that it
/// runs in, in the usual mode of floating-point arithmetic. Of parts that fail, the error of one.
pub(crate) fn run_parts(
    own: Option<&dyn ParallelFor>,
    count: usize,
    part: &(impl Fn(usize) -> Result<()> + Sync),
) -> Result<()> {
    let part = &|index| in_default_float_mode(|| part(index));
    match own {
        Some(own) if count > 1 => on_own_threads(own, count, part),
        _ if count > 1 => pool::with_threads(|| in_pool(0..count, part), || (0..count).try_for_each(part)),
        _ => part(0),
    }
}

/// Most pieces of [`run_pieces`].
const MOST_PIECES: usize = 64;
/// What a piece is worth a thread's while with: reading or writing so many bytes takes a few times what handing it over
/// does.
const PIECE_BYTES: usize = 32 << 10;

/// How many pieces of work over so many bytes are worth that many threads.
pub(crate) fn worth_pieces(bytes: usize, threads: usize) -> usize {
    (bytes / PIECE_BYTES).clamp(1, threads.clamp(1, MOST_PIECES))
}

/// Calls `f` with each of at most [`worth_pieces`] pieces once, as [`run_parts`] carries out parts. Allocates nothing.
pub(crate) fn run_pieces<T: Send>(
    own: Option<&dyn ParallelFor>,
    mut pieces: impl ExactSizeIterator<Item = T>,
    f: &(impl Fn(T) -> Result<()> + Sync),
) -> Result<()> {
    let count = pieces.len();
    assert!(count <= MOST_PIECES, "{count} pieces, of which there are {MOST_PIECES} at most");
    let pieces: [Mutex<Option<T>>; MOST_PIECES] = std::array::from_fn(|_| Mutex::new(pieces.next()));
    let take = |index: usize| pieces.get(index)?.lock().unwrap_or_else(PoisonError::into_inner).take();
    match count {
        0 => Ok(()),
        _ => run_parts(own, count, &|index| take(index).map_or(Ok(()), f)),
    }
}

/// Calls `f` with each piece, on the threads of the rayon pool that the caller runs in, or, with at most one thread, on
/// the calling one.
pub(crate) fn share<T: Send>(threads: Threads, pieces: Vec<T>, f: &(impl Fn(T) + Sync)) {
    let all = |piece| {
        f(piece);
        Ok(())
    };
    // None fails.
    let _ = try_share(threads, pieces, &all);
}

/// The same for what can fail: the error of one piece that did; others may not have been begun then.
pub(crate) fn try_share<T: Send>(
    threads: Threads,
    pieces: Vec<T>,
    f: &(impl Fn(T) -> Result<()> + Sync),
) -> Result<()> {
    let f = &|piece| in_default_float_mode(|| f(piece));
    let alone = |pieces: Vec<T>| pieces.into_iter().try_for_each(f);
    if threads.is_one() || pieces.len() <= 1 {
        return alone(pieces);
    }
    // One of the two takes them.
    let pieces = Mutex::new(pieces);
    let take = || std::mem::take(&mut *pieces.lock().unwrap_or_else(PoisonError::into_inner));
    pool::with_threads(|| take().into_par_iter().try_for_each(f), || alone(take()))
}

/// Piece `index` of `count` about equal pieces of `0..total`.
pub(crate) fn piece(total: usize, index: usize, count: usize) -> Range<usize> {
    let start = |i: usize| total / count * i + (total % count).min(i);
    start(index)..start(index + 1)
}

fn in_pool(parts: Range<usize>, part: &(impl Fn(usize) -> Result<()> + Sync)) -> Result<()> {
    if parts.len() > 1 {
        let middle = parts.start + parts.len() / 2;
        let (a, b) = rayon::join(|| in_pool(parts.start..middle, part), || in_pool(middle..parts.end, part));
        return a.and(b);
    }
    part(parts.start)
}

fn on_own_threads(own: &dyn ParallelFor, count: usize, part: &(impl Fn(usize) -> Result<()> + Sync)) -> Result<()> {
    let (claims, done, failure) = (Claims::new(count), AtomicUsize::new(0), OnceLock::new());
    own.run(count, &|index| {
        if claims.claim(index) {
            if let Err(error) = part(index) {
                // One error is enough.
                let _ = failure.set(error);
            }
            done.fetch_add(1, Ordering::Release);
        }
    });
    // What tasks wrote is there for this thread, however the caller's threads tell each other that they are done.
    let done = done.load(Ordering::Acquire);
    match failure.into_inner() {
        Some(error) => Err(error),
        None if done < count => Err(Error::NotRun { tasks: count, done }),
        None => Ok(()),
    }
}

/// Which tasks have been begun: two calls of one must not write the same part of C.
struct Claims {
    count: usize,
    bits: [AtomicU64; MOST_TASKS / 64],
}

impl Claims {
    fn new(count: usize) -> Claims {
        Claims { count, bits: [const { AtomicU64::new(0) }; MOST_TASKS / 64] }
    }

    /// Whether there is such a task and nobody else has claimed it.
    fn claim(&self, index: usize) -> bool {
        let bit = 1 << (index % 64);
        index < self.count
            && self.bits.get(index / 64).is_some_and(|bits| bits.fetch_or(bit, Ordering::Relaxed) & bit == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls the indices that it holds, in this order.
    struct Calls(Vec<usize>);

    impl ParallelFor for Calls {
        fn threads(&self) -> usize {
            self.0.len()
        }

        fn run(&self, _: usize, task: &(dyn Fn(usize) + Sync)) {
            self.0.iter().for_each(|&i| task(i));
        }
    }

    #[test]
    fn each_part_is_carried_out_once() {
        for (calls, tasks, done) in [
            (vec![0, 1, 2], 3, 3),
            (vec![2, 1, 0], 3, 3),
            (vec![1, 1, 0, 2, 0, 1], 3, 3),
            (vec![7, 0, usize::MAX, 1, 64, 2], 3, 3),
            (vec![], 2, 0),
            (vec![2, 3, 1], 2, 1),
            (vec![1023, 1024, 0], 1024, 2),
            ((0..1024).rev().collect(), 1024, 1024),
            ((0..2000).collect(), 2000, 1024),
        ] {
            let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
            let count = |i: usize| {
                counts[i].fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            let given = run_parts(Some(&Calls(calls.clone())), tasks, &count);
            let expected = if done == tasks { Ok(()) } else { Err(Error::NotRun { tasks, done }) };
            assert_eq!(given, expected, "{calls:?}");
            for (i, n) in counts.iter().enumerate() {
                assert_eq!(n.load(Ordering::Relaxed), usize::from(i < 1024 && calls.contains(&i)), "{i}, {calls:?}");
            }
        }
    }

    /// Many threads that all call all tasks.
    #[test]
    fn a_part_has_one_thread() {
        struct All;

        impl ParallelFor for All {
            fn threads(&self) -> usize {
                8
            }

            fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
                let start = std::sync::Barrier::new(8);
                let all = |first: usize| {
                    start.wait();
                    (0..tasks).for_each(|i| task((i + first) % tasks));
                };
                std::thread::scope(|scope| (0..8).for_each(|first| drop(scope.spawn(move || all(first)))));
            }
        }

        for _ in 0..100 {
            let counts = [const { AtomicUsize::new(0) }; 65];
            let count = |i: usize| {
                counts[i].fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            run_parts(Some(&All), counts.len(), &count).unwrap();
            assert!(counts.iter().all(|n| n.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn errors_are_passed_on() {
        let error = || Error::Overflow { what: "a part" };
        let fails = |i: usize| if i == 1 { Err(error()) } else { Ok(()) };
        for own in [None, Some(&Calls(vec![1, 0, 2]) as &dyn ParallelFor), Some(&Calls(vec![1]))] {
            assert_eq!(run_parts(own, 3, &fails), Err(error()));
        }
        // A single part needs nobody.
        assert_eq!(run_parts(Some(&Calls(vec![])), 1, &|_| Ok(())), Ok(()));
    }

    #[test]
    fn threads_are_at_least_one_and_no_more_than_can_be_told_apart() {
        for (calls, threads) in [(0, 1), (1, 1), (3, 3), (5000, MOST_TASKS)] {
            assert_eq!(available_threads(Some(&Calls(vec![0; calls]))), threads);
        }
        assert_eq!(format!("{:?}", &Calls(vec![0; 3]) as &dyn ParallelFor), "ParallelFor { threads: 3, .. }");
    }

    #[test]
    fn each_piece_is_given_once() {
        for own in [None, Some(&Calls(vec![2, 0, 0, 1, 3, 1]) as &dyn ParallelFor)] {
            let mut data = [0; 9];
            run_pieces(own, data.chunks_mut(3), &|piece: &mut [i32]| {
                piece.iter_mut().for_each(|x| *x += 1);
                Ok(())
            })
            .unwrap();
            assert_eq!(data, [1; 9]);
        }
        for threads in [Threads::Auto, Threads::Max(1), Threads::Exactly(3)] {
            let mut data = [0; 9];
            share(threads, data.iter_mut().collect(), &|x| *x += 1);
            assert_eq!(data, [1; 9]);
        }
    }

    #[test]
    fn pieces_cover_everything_once_and_are_about_equal() {
        for total in 0..100 {
            for count in 1..40 {
                let pieces: Vec<Range<usize>> = (0..count).map(|i| piece(total, i, count)).collect();
                assert_eq!((pieces[0].start, pieces[count - 1].end), (0, total));
                assert!(pieces.windows(2).all(|w| w[0].end == w[1].start), "{total} in {count}: {pieces:?}");
                let lens: Vec<usize> = pieces.iter().map(ExactSizeIterator::len).collect();
                let (least, most) = (lens.iter().min().unwrap(), lens.iter().max().unwrap());
                assert!(most - least <= 1, "{total} in {count}: {pieces:?}");
            }
        }
    }

    #[test]
    fn pieces_of_large_totals_do_not_overflow() {
        let total = usize::MAX - 3;
        let pieces: Vec<Range<usize>> = (0..128).map(|i| piece(total, i, 128)).collect();
        assert_eq!((pieces[0].start, pieces[127].end), (0, total));
        assert!(pieces.windows(2).all(|w| w[0].end == w[1].start));
    }
}
