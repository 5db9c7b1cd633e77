//! What the tests of generated kernels share: all legal micro-tiles, all epilogues, random numbers.

#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::fmt::Arguments;
use std::io::Write;

use gemmill_codegen::*;
use gemmill_machine::{Exercised, Lacking};

/// The size of a micro-tile, and what it multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    pub layout: Layout,
    pub activations: Byte,
    pub rows: u8,
    pub vectors: u8,
}

/// Every legal micro-tile of a tier, from a list of its own rather than from the rule that is tested.
pub fn tiles(tier: Tier) -> Vec<Tile> {
    let columns: &[(Layout, u8, u8)] = match tier {
        Tier::Avx2 | Tier::Avx2Vnni | Tier::Portable => &[(Layout::Columns8, 1, 12), (Layout::Columns8, 2, 6)],
        Tier::Avx512 => &[(Layout::Columns8, 1, 12), (Layout::Columns16, 1, 12), (Layout::Columns16, 2, 12)],
        Tier::Avx512Vnni | Tier::Amx => &[
            (Layout::Columns8, 1, 12),
            (Layout::Columns16, 1, 12),
            (Layout::Columns16, 2, 12),
            (Layout::Columns16, 3, 8),
            (Layout::Columns16, 4, 6),
        ],
        other => panic!("{other} is not in the list"),
    };
    let few_columns = [(Layout::FourColumns, 1, 12), (Layout::Depth, 1, 12), (Layout::Depth, 2, 6)];
    let each = |activations| {
        move |(layout, vectors, most)| (1..=most).map(move |rows| Tile { layout, activations, rows, vectors })
    };
    let mut tiles: Vec<Tile> = columns.iter().copied().chain(few_columns).flat_map(each(Byte::U8)).collect();
    if tier == Tier::Amx {
        tiles.extend([(Layout::RowsOfTiles, 1, 12), (Layout::RowsOfTiles, 2, 12)].into_iter().flat_map(each(Byte::U8)));
        for activations in [Byte::U8, Byte::I8] {
            tiles.extend([(Layout::Tiles, 1, 32), (Layout::Tiles, 2, 32)].into_iter().flat_map(each(activations)));
        }
    }
    tiles
}

/// Whether a tier multiplies by 32-bit dot products.
pub fn has_dots(tier: Tier) -> bool {
    matches!(tier, Tier::Avx2Vnni | Tier::Avx512Vnni | Tier::Amx)
}

impl Tile {
    /// Columns of its packed panel.
    pub fn panel_cols(self) -> u8 {
        self.layout.columns(self.vectors.into()) as u8
    }

    /// A kernel of this tile for whole panels, which leaves partial sums.
    pub fn desc(self, tier: Tier, sections: Sections) -> KernelDesc {
        KernelDesc {
            tier,
            layout: self.layout,
            activations: self.activations,
            rows: self.rows,
            vectors: self.vectors,
            cols: self.panel_cols(),
            sections,
            start: Start::Zero,
            finish: Finish::Scratch,
            sweep: Sweep::Column,
            prefetch: Prefetch::None,
        }
    }
}

/// Whether there are rows of such micro-tiles.
pub fn can_be_row(desc: &KernelDesc) -> bool {
    let tile = Tile { layout: desc.layout, activations: desc.activations, rows: desc.rows, vectors: desc.vectors };
    let lane_for_each_column = matches!(desc.layout, Layout::Columns8 | Layout::Columns16 | Layout::RowsOfTiles);
    let whole = desc.start == Start::Zero && desc.finish != Finish::Scratch;
    lane_for_each_column && whole && desc.cols == tile.panel_cols()
}

/// Whether there are grids of such micro-tiles.
pub fn can_be_grid(desc: &KernelDesc) -> bool {
    desc.layout == Layout::Tiles && desc.start == Start::Zero && desc.finish != Finish::Scratch
}

/// A grid of a kernel that can be one, with steps of any number: K next to multiples of a step, on both sides of what
/// is unrolled.
pub fn grid(desc: KernelDesc, rng: &mut Rng) -> KernelDesc {
    let full = usize::from(desc.cols) == desc.panel_cols();
    let two = full && desc.rows <= 16 && desc.vectors == 2 && rng.below(2) == 1;
    let steps = match rng.below(16) {
        0 => rng.pick(&[33, 64, 65, 72, 73, 81]),
        _ => rng.pick(&[1, 1, 2, 2, 3, 8, 9]),
    };
    let k = (64 * steps - rng.pick(&[0, 0, 1, 17, 63])).max(64);
    let sweep = Sweep::Grid {
        k,
        panels: if two { Panels::Two } else { Panels::One },
        ahead: if full { rng.pick(&Ahead::ALL) } else { Ahead::Nothing },
    };
    let sections = [Section::Dot8, Section::Dot].into_iter().collect();
    KernelDesc { sections, sweep, prefetch: Prefetch::None, ..desc }
}

/// The kernel with prefetches of any kind, and for a row, a grid or a column of micro-tiles.
pub fn vary(desc: KernelDesc, rng: &mut Rng) -> KernelDesc {
    let other = rng.below(2) == 1;
    if other && can_be_grid(&desc) {
        return grid(desc, rng);
    }
    let sweep = if other && can_be_row(&desc) { Sweep::Row } else { Sweep::Column };
    KernelDesc { sweep, prefetch: rng.pick(&Prefetch::ALL), ..desc }
}

/// Every epilogue there is; of floating-point outputs one type in turns, where zero points do not all fold into the
/// column term.
pub fn epilogues() -> Vec<Epilogue> {
    let both = [false, true];
    let mut outputs = vec![Output::StoreI32, Output::AddI32];
    for to in [Byte::U8, Byte::I8] {
        for clamp in [Clamp::Float, Clamp::Narrowing, Clamp::Type] {
            outputs.extend(both.map(|float_bias| Output::Requantize(Requantize { to, float_bias, clamp })));
        }
    }
    for bits in 0..16 {
        let on = |bit: u8| bits >> bit & 1 == 1;
        outputs.extend(FloatType::ALL.map(|to| {
            Output::Dequantize(Dequantize { to, row_scale: on(0), bias: on(1), residual: on(2), clamp: on(3) })
        }));
    }
    let mut epilogues = Vec::new();
    for a_zero_point in [AZeroPoint::Folded, AZeroPoint::PerRow] {
        for b_zero_point in [BZeroPoint::Zero, BZeroPoint::Tensor, BZeroPoint::PerColumn] {
            let folds = a_zero_point == AZeroPoint::Folded && b_zero_point == BZeroPoint::Zero;
            for (i, &output) in outputs.iter().enumerate() {
                let is_left_out =
                    matches!(output, Output::Dequantize(d) if !folds && d.to != FloatType::ALL[i / 3 % 3]);
                if !is_left_out {
                    epilogues.push(Epilogue { a_zero_point, b_zero_point, output });
                }
            }
        }
    }
    epilogues
}

/// Every section of a tier alone, none, all, and mixes that packing makes.
pub fn section_sets(tier: Tier) -> Vec<Sections> {
    use Section::*;
    let sections = || Section::ALL.into_iter().filter(|s| s.is_dot() == has_dots(tier));
    let mut sets: Vec<Sections> = sections().map(|s| Sections::from_iter([s])).collect();
    sets.extend([Sections::default(), sections().collect()]);
    if !has_dots(tier) {
        sets.extend([
            Sections::from_iter([Sum8, Sum4, Sum2, Narrow]),
            Sections::from_iter([Sum4, Sum3, Sum2, Narrow, Wide]),
            Sections::from_iter([Sum2, Narrow, Shuffled, Split]),
        ]);
    }
    sets
}

/// Random numbers (splitmix64): the same on every run.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    /// In `0..end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 11) as usize % end
    }

    /// In `low..=high`.
    pub fn within(&mut self, low: i32, high: i32) -> i32 {
        low + self.below((high - low + 1) as usize) as i32
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// In `0.0..1.0`.
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }
}

/// Sizes of cases: under Miri, where large ones take minutes, only so many of the first.
pub fn sizes<T>(all: &'static [T], small: usize) -> &'static [T] {
    if cfg!(miri) { &all[..small] } else { all }
}

/// The share of a test's cases that this run does: `GEMMILL_TEST_SHARE`, above 0 and at most 1, which it is unless set.
/// For machines on which all would take too long.
pub fn share() -> f64 {
    let Ok(text) = std::env::var("GEMMILL_TEST_SHARE") else { return 1.0 };
    let share = text.parse().unwrap_or_else(|e| panic!("GEMMILL_TEST_SHARE={text}: {e}"));
    assert!(share > 0.0 && share <= 1.0, "GEMMILL_TEST_SHARE={text}: expected a number above 0 and at most 1");
    share
}

/// This run's share of so many cases; at least one.
pub fn share_of(cases: usize) -> usize {
    ((cases as f64 * share()).ceil() as usize).clamp(1, cases.max(1))
}

/// Which cases of a systematic sweep this run does: all, or a sample. Says how many it kept.
pub struct Sample {
    what: &'static str,
    share: f64,
    rng: Rng,
    kept: u64,
    seen: u64,
}

impl Sample {
    pub fn new(what: &'static str) -> Sample {
        Sample { what, share: share(), rng: Rng(6), kept: 0, seen: 0 }
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
            say(format_args!("GEMMILL_TEST_SHARE: {}: {} of {} cases", self.what, self.kept, self.seen));
        }
    }
}

/// The tiers with machine code that are exercised: natively, or by the emulated machine where the CPU lacks them (or
/// where `GEMMILL_INTERPRET` says so). Says aloud which a test leaves out, and fails if `GEMMILL_EXPECT_TIERS` names
/// one of them.
pub fn machine_tiers(test: &str) -> Vec<Tier> {
    let exercised = Exercised::in_this_process(Lacking::Interpreted);
    for (tier, why) in &exercised.left_out {
        skipped(test, *tier, why);
    }
    let mut tiers: Vec<Tier> = exercised.native.iter().chain(&exercised.interpreted).copied().collect();
    tiers.retain(|&tier| tier != Tier::Portable);
    tiers.sort();
    tiers
}

/// Those that this CPU runs itself, for tests that are about the CPU. Says aloud which a test leaves out.
pub fn native_tiers(test: &str) -> Vec<Tier> {
    Tier::ALL.into_iter().filter(|&tier| tier != Tier::Portable && is_native(test, tier)).collect()
}

/// Whether this CPU runs a tier itself. Says aloud if a test is skipped since it does not.
pub fn is_native(test: &str, tier: Tier) -> bool {
    let exercised = Exercised::in_this_process(Lacking::Interpreted);
    if exercised.interpreted.contains(&tier) {
        skipped(test, tier, "its kernels are interpreted");
    }
    for (_, why) in exercised.left_out.iter().filter(|(left_out, _)| *left_out == tier) {
        skipped(test, tier, why);
    }
    exercised.native.contains(&tier)
}

fn skipped(test: &str, tier: Tier, why: &str) {
    say(format_args!("SKIPPED {test} on {tier}: {why}"));
}

/// Writes a line to stderr, not by `eprintln!`, which the test harness keeps to itself.
pub fn say(line: Arguments<'_>) {
    // A closed stderr is no reason to fail.
    // In one piece: scripts look for lines.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
