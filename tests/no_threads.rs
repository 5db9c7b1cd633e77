//! Where the system refuses threads, products go on with those that there are, and say so once. In processes of their
//! own, whose limits are set.

#![cfg(all(target_os = "linux", not(miri)))]

mod common;

use std::process::Command;

use common::announce;
use gemmill::{Gemm, IntOutput, MatMut, MatRef, PackedB, Threads};

/// The environment variable that makes this process the one that is limited to so many more threads.
const CHILD: &str = "GEMMILL_TEST_THREADS_LEFT";
/// What a child says where the limit does not bind.
const UNLIMITED: &str = "threads can be started all the same";

/// Lets this process start `more` threads from now on, as far as can be told: users' other processes count as well.
fn limit(more: usize) {
    let tasks = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    // SAFETY: these touch no memory but the limit's.
    unsafe {
        // Root is not limited; another user without processes is.
        if libc::geteuid() == 0 {
            assert_eq!(libc::setgid(65_534) + libc::setuid(65_534), 0, "root may become anybody");
        }
        let limit = (tasks + more) as libc::rlim_t;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NPROC, &libc::rlimit { rlim_cur: limit, rlim_max: limit }), 0);
    }
}

/// Products with default threads, and packing.
fn products() {
    let (m, n, k) = (64, 512, 512);
    let b: Vec<i8> = (0..k * n).map(|i| (i % 100) as i8).collect();
    let a: Vec<u8> = (0..m * k).map(|i| (i % 256) as u8).collect();
    let (a, b) = (MatRef::row_major(&a, m, k).unwrap(), MatRef::row_major(&b, k, n).unwrap());
    let mut expected = vec![0i32; m * n];
    let run = |threads, c: &mut [i32]| {
        let packed = PackedB::builder(b).threads(threads).build().unwrap();
        let gemm = Gemm::builder(&packed, IntOutput::Store).threads(threads).build().unwrap();
        gemm.run(a, &mut MatMut::row_major(c, m, n).unwrap()).unwrap();
    };
    run(Threads::Max(1), &mut expected);
    for threads in [Threads::Auto, Threads::Exactly(4), Threads::Auto] {
        let mut c = vec![7i32; m * n];
        run(threads, &mut c);
        assert_eq!(c, expected);
    }
}

#[test]
fn products_go_on_with_the_threads_that_there_are() {
    if let Ok(more) = std::env::var(CHILD) {
        limit(more.parse().unwrap());
        if more == "0" && std::thread::Builder::new().spawn(|| ()).is_ok() {
            eprintln!("{UNLIMITED}");
        }
        return products();
    }
    for (more, says) in [(0, "work is done on the calling thread"), (2, "work is shared out among 2")] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "products_go_on_with_the_threads_that_there_are", "--nocapture"]);
        let child = child.env(CHILD, more.to_string()).env("RAYON_NUM_THREADS", "8").output().unwrap();
        let text = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{more} threads left: {}\n{text}", child.status);
        // SAFETY: asks for a number.
        let is_root = unsafe { libc::geteuid() } == 0;
        if text.contains(UNLIMITED) || (more > 0 && !is_root) {
            announce(format_args!("SKIPPED {more} threads left: {UNLIMITED}"));
            continue;
        }
        assert_eq!(text.matches("gemmill: the system refuses threads").count(), 1, "{text}");
        assert!(text.contains(says), "{text}");
    }
}
