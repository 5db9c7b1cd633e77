//! Children of fork() have threads of their own: nothing waits for those that the parent had, and bits are the same. In
//! a process of its own, for a pool that other tests use would be inherited as well.

#![cfg(all(unix, not(miri)))]

mod common;

use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::time::{Duration, Instant};

use common::everything::Everything;
use gemmill::Threads;

/// The bytes of all results.
fn everything(threads: Threads) -> Vec<u8> {
    Everything::new(1.0).results(threads, None)
}

/// What `f` gives in a forked child, which is killed if it takes too long.
fn in_child(what: &str, f: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let mut ends = [0; 2];
    // SAFETY: `pipe` writes two descriptors.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    // SAFETY: the child uses nothing that other threads of this process may have left locked but what is tested, and
    // the memory allocator, which the C library makes usable in children.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        // SAFETY: this end of the pipe is the child's alone.
        let mut pipe = unsafe { std::fs::File::from_raw_fd(ends[1]) };
        let written = result.is_ok_and(|bytes| pipe.write_all(&bytes).is_ok());
        drop(pipe);
        // SAFETY: nothing runs after it.
        unsafe { libc::_exit(i32::from(!written)) };
    }
    // SAFETY: these ends are the parent's.
    let mut pipe = unsafe {
        libc::close(ends[1]);
        std::fs::File::from_raw_fd(ends[0])
    };
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).map(|_| bytes)
    });
    let start = Instant::now();
    while !reader.is_finished() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let hangs = !reader.is_finished();
    let mut status = 0;
    // SAFETY: the process is a child of this one that nobody has waited for.
    unsafe {
        if hangs {
            libc::kill(child, libc::SIGKILL);
        }
        libc::waitpid(child, &mut status, 0);
    }
    assert!(!hangs, "{what}: the child hangs");
    assert_eq!(status, 0, "{what}: the child failed");
    reader.join().expect("it read").expect("a pipe can be read")
}

fn threads_of_this_process() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// One test, since all of a process's tests would be forked along.
#[test]
fn children_have_threads_of_their_own() {
    // As on a machine with four cores.
    rayon::ThreadPoolBuilder::new().num_threads(4).build_global().unwrap();
    // A pool that others have started, but that no product has used, is inherited as well.
    rayon::join(|| (), || ());
    let early = in_child("a child of a process that did no product", || everything(Threads::Auto));

    let expected = everything(Threads::Max(1));
    assert_eq!(early, expected);
    for threads in [Threads::Auto, Threads::Exactly(3)] {
        assert_eq!(everything(threads), expected);
        let what = format!("{threads:?}");
        let of_child = in_child(&what, || {
            let bytes = everything(threads);
            let count = threads_of_this_process();
            assert!(cfg!(not(target_os = "linux")) || count == 5, "four workers and this thread, given {count}");
            bytes
        });
        assert_eq!(of_child, expected, "{what}");
        let of_grandchild = in_child(&what, || {
            everything(threads);
            in_child("a grandchild", || everything(threads))
        });
        assert_eq!(of_grandchild, expected, "{what}");
        // A child that works in a pool of its own.
        let in_a_pool = in_child(&what, || {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
            pool.install(|| everything(threads))
        });
        assert_eq!(in_a_pool, expected, "{what}");
        assert_eq!(everything(threads), expected, "the parent's threads still work");
    }
    // A child of a worker.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let of_worker = pool.install(|| in_child("a child of a worker", || everything(Threads::Auto)));
    assert_eq!(of_worker, expected);
}
