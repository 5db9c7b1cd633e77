//! What the integration tests share: seeds, data generators, operands with strides, guard pages, comparison of bits.
#![allow(dead_code, reason = "every test binary uses a part of it")]

pub mod allocator;
pub mod everything;
pub mod file;
pub mod guard;
pub mod operand;
pub mod products;
pub mod random;

use std::fmt::Arguments;
use std::io::Write;

use gemmill::Tier;
use gemmill::half::{bf16, f16};
use gemmill_machine::{Exercised, Lacking};

/// Writes a line that the test harness does not capture.
pub fn announce(line: Arguments<'_>) {
    // A closed standard error stream is no reason to fail.
    // In one piece: scripts look for lines.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// The tiers that are exercised, and which are not: the portable one, and those that `GEMMILL_INTERPRET` names on the
/// emulated machine; if it names none, those that the CPU has. Fails if `GEMMILL_EXPECT_TIERS` names another one.
pub fn tiers() -> Vec<Tier> {
    let exercised = Exercised::in_this_process(Lacking::LeftOut);
    for (tier, why) in &exercised.left_out {
        announce(format_args!("SKIPPED tier {tier}: {why}"));
    }
    let mut tiers: Vec<Tier> = exercised.native.iter().chain(&exercised.interpreted).copied().collect();
    tiers.sort();
    tiers
}

/// Those of [`tiers`] that the CPU runs itself: the emulated machine asks for memory of its own.
pub fn native_tiers() -> Vec<Tier> {
    let mut tiers = tiers();
    tiers.retain(|tier| {
        let interpreted = Exercised::in_this_process(Lacking::LeftOut).interpreted.contains(tier);
        if interpreted {
            announce(format_args!("SKIPPED tier {tier}: its kernels are interpreted"));
        }
        !interpreted
    });
    tiers
}

/// The seed of this run: `GEMMILL_TEST_SEED` (decimal or 0x...), or a fixed one. Long runs take it from the clock.
pub fn seed() -> u64 {
    match std::env::var("GEMMILL_TEST_SEED") {
        Ok(text) => {
            let parsed = match text.strip_prefix("0x") {
                Some(hex) => u64::from_str_radix(hex, 16),
                None => text.parse(),
            };
            parsed.unwrap_or_else(|e| panic!("GEMMILL_TEST_SEED={text}: {e}"))
        }
        Err(_) if long_mode().is_some() => {
            let seed = std::time::UNIX_EPOCH.elapsed().map_or(1, |t| t.as_nanos() as u64);
            announce(format_args!("GEMMILL_TEST_SEED={seed}"));
            seed
        }
        Err(_) => 0x6765_6d6d_696c_6c00,
    }
}

/// Names the seed of a case if the case panics, wherever that happens.
pub struct SeedOfPanic(pub u64);

impl Drop for SeedOfPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            announce(format_args!("the first case with GEMMILL_TEST_SEED={} panicked", self.0));
        }
    }
}

/// How many products `GEMMILL_TEST_LONG` asks for: a million for 1, otherwise its value; `None` if it is unset or 0.
pub fn long_mode() -> Option<u64> {
    let text = std::env::var("GEMMILL_TEST_LONG").ok()?;
    match text.parse().unwrap_or_else(|e| panic!("GEMMILL_TEST_LONG={text}: {e}")) {
        0 => None,
        1 => Some(1_000_000),
        products => Some(products),
    }
}

/// The share of a test's cases that this run does: `GEMMILL_TEST_SHARE`, above 0 and at most 1, which it is unless set.
/// For machines on which all would take too long.
pub fn share() -> f64 {
    let Ok(text) = std::env::var("GEMMILL_TEST_SHARE") else { return 1.0 };
    let share = text.parse().unwrap_or_else(|e| panic!("GEMMILL_TEST_SHARE={text}: {e}"));
    assert!(share > 0.0 && share <= 1.0, "GEMMILL_TEST_SHARE={text}: expected a number above 0 and at most 1");
    share
}

/// This run's share of so many random cases; at least one.
pub fn share_of(cases: u64) -> u64 {
    ((cases as f64 * share()).ceil() as u64).clamp(1, cases.max(1))
}

/// Which cases of a systematic sweep this run does: all, or a sample that the seed chooses. A sweep's cases are fewer
/// than random ones and tell more: it keeps the square root of the share. Says how many it kept.
pub struct Sample {
    what: &'static str,
    share: f64,
    rng: random::Rng,
    kept: u64,
    seen: u64,
}

impl Sample {
    pub fn new(what: &'static str) -> Sample {
        Sample { what, share: share().sqrt(), rng: random::Rng::new(seed()), kept: 0, seen: 0 }
    }

    /// Whether the next case is done. The first one always is.
    pub fn keeps(&mut self) -> bool {
        let kept = self.share >= 1.0 || f64::from(self.rng.unit()) < self.share || self.seen == 0;
        self.seen += 1;
        self.kept += u64::from(kept);
        kept
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        if self.kept < self.seen {
            announce(format_args!("GEMMILL_TEST_SHARE: {}: {} of {} cases", self.what, self.kept, self.seen));
        }
    }
}

/// Elements that are compared bit by bit.
pub trait Bits: Copy + std::fmt::Debug {
    fn bits(self) -> u32;
    /// A value that no product leaves by chance, different from place to place.
    fn poison(place: usize) -> Self;
}

impl Bits for u8 {
    fn bits(self) -> u32 {
        self.into()
    }
    fn poison(place: usize) -> u8 {
        (place as u8).wrapping_mul(29) ^ 0xa5
    }
}

impl Bits for i8 {
    fn bits(self) -> u32 {
        self as u8 as u32
    }
    fn poison(place: usize) -> i8 {
        u8::poison(place) as i8
    }
}

impl Bits for i32 {
    fn bits(self) -> u32 {
        self as u32
    }
    fn poison(place: usize) -> i32 {
        place as i32 ^ 0x5a5a_a5a5
    }
}

impl Bits for f32 {
    fn bits(self) -> u32 {
        self.to_bits()
    }
    /// Signalling NaNs: arithmetic on one would change its bits.
    fn poison(place: usize) -> f32 {
        f32::from_bits(0x7fa0_0000 | (place as u32 & 0xf_ffff))
    }
}

/// Signalling NaNs, as for f32.
impl Bits for f16 {
    fn bits(self) -> u32 {
        self.to_bits().into()
    }
    fn poison(place: usize) -> f16 {
        f16::from_bits(0x7d00 | (place as u16 & 0xff))
    }
}

impl Bits for bf16 {
    fn bits(self) -> u32 {
        self.to_bits().into()
    }
    fn poison(place: usize) -> bf16 {
        bf16::from_bits(0x7f80 | (place as u16 & 0x3f) | 1)
    }
}

/// Fails with the first difference and `case` unless both hold the same bits.
#[track_caller]
pub fn assert_same_bits<T: Bits>(got: &[T], want: &[T], case: impl FnOnce() -> String) {
    assert_eq!(got.len(), want.len());
    let different = || got.iter().zip(want).enumerate().filter(|(_, (g, w))| g.bits() != w.bits());
    if let Some((place, (g, w))) = different().next() {
        let count = different().count();
        let (gb, wb) = (g.bits(), w.bits());
        let case = case();
        panic!("{count} of {} wrong, first at {place}: got {g:?} ({gb:#x}), want {w:?} ({wb:#x})\n{case}", got.len());
    }
}
