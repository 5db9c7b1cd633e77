//! Results do not depend on the mode of floating-point arithmetic (MXCSR) that the caller's threads are in, and the
//! mode is theirs again afterwards.

#![cfg(all(target_arch = "x86_64", not(miri)))]

mod common;

use std::arch::asm;

use common::everything::Everything;
use gemmill::{ParallelFor, Threads};

const USUAL: u32 = 0x1f80;
/// Exceptions that occurred.
const FLAGS: u32 = 0x3f;
const DAZ: u32 = 0x40;
const FTZ: u32 = 0x8000;
/// Rounding down, up, and towards zero.
const ROUNDINGS: [u32; 3] = [0x2000, 0x4000, 0x6000];

fn mode() -> u32 {
    let mut mode = 0u32;
    // SAFETY: writes the four bytes that it is given.
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut mode, options(nostack)) };
    mode
}

/// Calls `f` in a mode, and says which one it leaves behind.
fn in_mode<R>(wanted: u32, f: impl FnOnce() -> R) -> (R, u32) {
    #[inline(never)]
    fn apart<R>(f: impl FnOnce() -> R) -> R {
        f()
    }
    let before = mode();
    // SAFETY: reads four bytes; the mode is the usual one again before code depends on it that was not called for that.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const wanted, options(nostack)) };
    let result = apart(f);
    let left = mode();
    // SAFETY: as above.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const before, options(nostack)) };
    (result, left)
}

/// Threads that are in a mode of their own.
struct InMode(u32);

impl ParallelFor for InMode {
    fn threads(&self) -> usize {
        3
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            for i in 0..tasks {
                scope.spawn(move || in_mode(self.0, || task(i)));
            }
        });
    }
}

#[test]
fn the_callers_mode_makes_no_difference() {
    let modes = [FTZ, DAZ, FTZ | DAZ].into_iter().chain(ROUNDINGS).chain([FTZ | DAZ | ROUNDINGS[0]]);
    // Usual numbers, and those whose products, or that themselves, are subnormal.
    for unit in [1.0, 1e-20, 1e-39] {
        let everything = Everything::new(unit);
        let expected = everything.results(Threads::Max(1), None);
        for mode in modes.clone() {
            let wanted = USUAL | mode;
            for threads in [Threads::Max(1), Threads::Exactly(3)] {
                let (given, left) = in_mode(wanted, || everything.results(threads, None));
                assert!(given == expected, "unit {unit:e}, mode {wanted:#x}, {threads:?}: other bits");
                assert_eq!(left & !FLAGS, wanted, "unit {unit:e}, {threads:?}: the mode is not the caller's");
            }
            let own = everything.results(Threads::Exactly(3), Some(&InMode(wanted)));
            assert!(own == expected, "unit {unit:e}, mode {wanted:#x}, threads of the caller's: other bits");
        }
    }
}
