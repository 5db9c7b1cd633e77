//! Products on the threads of a pool that the program has already, whose jobs are `'static`, without unsafe code.
//!
//! `cargo run --release --example pool` computes the same product on one thread and twice on the pool's.
//!
//! Tasks of a product borrow A and C, so they are no jobs for such a pool: nothing would keep a job from outliving
//! them. What is `'static` is a thread's time. The pool lends it: a job that is the main loop of a worker of rayon's,
//! until the rayon pool is dropped. What waits for tasks to end, before A and C go, is rayon then.

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use gemmill::{Gemm, IntOutput, MatMut, MatRef, PackedB, ParallelFor, RunOptions, Threads};
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

type Job = Box<dyn FnOnce() + Send>;

/// A pool as many programs have one: threads that take jobs from a queue. It stands for the program's own.
struct OwnPool {
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl OwnPool {
    fn new(threads: usize) -> OwnPool {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let worker = |i| {
            let queue = queue.clone();
            let work = move || {
                // The lock is held while a thread waits, and not while it works.
                let take = || queue.lock().expect("no job runs under the lock").recv();
                while let Ok(job) = take() {
                    job();
                }
            };
            thread::Builder::new().name(format!("own-{i}")).spawn(work).expect("the system has threads left")
        };
        OwnPool { jobs: Some(jobs), threads: (0..threads).map(worker).collect() }
    }

    fn execute(&self, job: impl FnOnce() + Send + 'static) {
        self.jobs.as_ref().expect("it is there until the pool is dropped").send(Box::new(job)).expect("threads wait");
    }
}

impl Drop for OwnPool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            thread.join().expect("jobs do not panic");
        }
    }
}

/// So many of the pool's threads, until what is returned is dropped. Lending costs a job for each of them: it is done
/// for a while, the passes of a network say, rather than for each product. A thread that is busy with a long job joins
/// late, so no more should be lent than the other work can do without.
fn lend(pool: &OwnPool, threads: usize) -> Result<ThreadPool, ThreadPoolBuildError> {
    let work = |worker: rayon::ThreadBuilder| {
        pool.execute(move || worker.run());
        Ok(())
    };
    ThreadPoolBuilder::new().num_threads(threads).spawn_handler(work).build()
}

/// For runs whose calling thread has to stay the caller's: it waits, and lent threads do the tasks.
struct Lent<'a> {
    threads: &'a ThreadPool,
    /// The names of the threads that did tasks.
    names: Mutex<Vec<String>>,
}

impl ParallelFor for Lent<'_> {
    fn threads(&self) -> usize {
        self.threads.current_num_threads()
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        self.threads.in_place_scope(|scope| {
            for i in 0..tasks {
                scope.spawn(move |_| {
                    self.names.lock().expect("nothing panics under it").push(name());
                    task(i);
                });
            }
        });
    }
}

fn name() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

/// The same product three times; fails if its bits differ, or if threads other than the pool's had a part in it.
fn products() -> Result<(), Box<dyn std::error::Error>> {
    let (m, n, k) = (64, 512, 256);
    let a: Vec<u8> = (0..m * k).map(|at| (at % 251) as u8).collect();
    let b: Vec<i8> = (0..k * n).map(|at| (at % 255) as i8).collect();
    let weights = PackedB::new(MatRef::row_major(&b, k, n)?)?;
    let a = MatRef::row_major(&a, m, k)?;

    let mut want = vec![0; m * n];
    let alone = Gemm::builder(&weights, IntOutput::Store).threads(Threads::Max(1)).build()?;
    alone.run(a, &mut MatMut::row_major(&mut want, m, n)?)?;

    let pool = OwnPool::new(3);
    let gemm = Gemm::builder(&weights, IntOutput::Store).threads(Threads::Exactly(2)).build()?;
    let lent = lend(&pool, 2)?;

    // The whole of a computation on lent threads: products find them by themselves.
    let mut c = vec![0; m * n];
    let caller = lent.install(|| -> gemmill::Result<String> {
        gemm.run(a, &mut MatMut::row_major(&mut c, m, n)?)?;
        Ok(name())
    })?;
    assert!(c == want && caller.starts_with("own-"), "on {caller}");

    // Products of this thread, whose tasks lent threads do.
    let mut c = vec![0; m * n];
    let by = Lent { threads: &lent, names: Mutex::default() };
    gemm.run_with(a, &mut MatMut::row_major(&mut c, m, n)?, &RunOptions::new().parallel_for(&by))?;
    let names = by.names.into_inner()?;
    assert!(c == want && !names.is_empty() && names.iter().all(|name| name.starts_with("own-")), "on {names:?}");

    // The pool has its threads back.
    drop(lent);
    let (done, each) = mpsc::channel();
    (0..3).for_each(|_| {
        let done = done.clone();
        pool.execute(move || done.send(()).expect("it is waited for"));
    });
    assert_eq!(each.iter().take(3).count(), 3);
    println!("{m} x {n} x {k}: the same bits on this thread, on {caller}, and by tasks on {names:?}");
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    products()
}

#[test]
fn products_on_lent_threads() {
    products().unwrap();
}
