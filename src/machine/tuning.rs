//! What was measured of cores, for packing and planning. Figures marked MEASURED name the core; those marked ASSUMPTION
//! are taken over from the cores that were measured.

use gemmill_codegen::{Core, Layout, Prefetch};

/// Products of so few columns run along K.
pub(crate) const MAX_DEPTH_COLS: usize = 2;
/// ... if K is long enough for that.
pub(crate) const MIN_DEPTH_K: usize = 2 * Layout::Depth.step_depth();

/// Share of the cost of full panels that narrow ones must not exceed: each step of A serves fewer columns.
pub(crate) fn narrow_pay_below(core: Core) -> f64 {
    match core {
        // Never. MEASURED on Zen 4: weights quantized by tensor are 0.8 times as fast in narrow panels at 16 to 256
        // rows and as fast at one; weights quantized by column as fast at many rows and 0.85 times as fast at one.
        Core::Zen => 0.0,
        Core::Intel => 0.97,
    }
}

/// Columns of a group from which on panels are full: weights stream past single rows fastest.
pub(crate) const MIN_COLS_FOR_FULL_PANELS: usize = 512;

/// Share of the in-place cost that planes of A must not exceed.
pub(crate) fn planes_pay_below(core: Core) -> f64 {
    match core {
        // MEASURED on Zen 4: gaussian weights quantized by column, at 0.90, are 3 % slower with planes at 64 rows, and
        // up to 20 % with one row, whose planes don't stay in the first-level cache; uniform ones, at 0.80, gain.
        Core::Zen => 0.88,
        // MEASURED on Granite Rapids: those at 0.90 are 1.1 times as fast with planes at 64 rows.
        Core::Intel => 0.93,
    }
}

/// Columns of a group that make planes of A worth writing.
pub(crate) const MIN_COLS_FOR_PLANES: usize = 512;

/// Weights from which on packing uses threads, unless a number of them is insisted on: some hundred microseconds of
/// work.
pub(crate) const MIN_WEIGHTS_FOR_THREADS: usize = 1 << 18;

/// Most micro-tiles of 8-bit integers that go along rows of panels in a call each: with `mostly_wide`, about half of
/// `b_bytes` of weights take two bytes, or padding takes as much.
pub(crate) fn most_tiles_in_rows(core: Core, mostly_wide: bool, b_bytes: usize) -> usize {
    /// Bytes of weights in a row of micro-tiles from which on its call takes much longer than making it.
    const LEAST_OF_A_ROW: usize = 8192;
    match core {
        // MEASURED on Zen 4, `avx2`: one row is 1.1 to 1.5 times as fast as by columns, eight tiles of weights of one
        // block of K 1.01 times, of several blocks any number of tiles 1.03 to 1.05 times; where most weights are wide,
        // 0.95 times.
        Core::Zen if !mostly_wide && b_bytes >= LEAST_OF_A_ROW => usize::MAX,
        // ASSUMPTION, not measured: rows pay where calls are saved.
        Core::Zen | Core::Intel => 8,
    }
}

/// What kernels of 8-bit integers prefetch of weights that come from beyond the second-level cache: with `dots`, they
/// multiply by 32-bit dot products.
pub(crate) fn int8_prefetch(core: Core, dots: bool, rows: usize, tiles: usize) -> Prefetch {
    match core {
        // MEASURED on Zen 4: the hardware's prefetcher keeps up with one stream that has no gaps. Prefetches into the
        // first level cost it up to a third. Where sums of scattered steps and several rows of A break the stream, it
        // needs help from memory: from three rows on 1.2 to 1.7 times as fast, from the third-level cache 2 % slower;
        // two rows lose.
        Core::Zen if dots || rows <= 2 => Prefetch::None,
        Core::Zen => Prefetch::ToSecondLevel,
        // MEASURED on Emerald Rapids: a micro-tile that streams past weights is 1.1 to 1.3 times as fast from the
        // third-level cache, and up to 1.6 times from memory; with several ones, dot products eat weights faster than
        // prefetches into the first-level cache can have them under way (10 × 4096 × 1024: 182 instead of 208).
        Core::Intel if dots && tiles > 1 => Prefetch::None,
        Core::Intel => Prefetch::ToFirstLevel,
    }
}

/// How far ahead packed vectors of 8-bit integers are prefetched that a micro-tile streams past, in bytes.
pub(crate) fn int8_stream_ahead(prefetch: Prefetch) -> usize {
    match prefetch {
        // Less than a small page, where the hardware's prefetchers stop: MEASURED on Granite Rapids, one row from
        // memory, 3 KiB is 1.1 times as fast as 4 or 8. A line now and then further ahead, into the second-level cache,
        // cost 14 %. On Emerald Rapids 4 KiB had been worse than 8, with such lines.
        Prefetch::None | Prefetch::ToFirstLevel => 3072,
        // MEASURED on Zen 4, three and more rows from memory: 16 KiB is up to 10 % better than 8, and 32 no better.
        Prefetch::ToSecondLevel => 16384,
    }
}

/// Whether one row of f16 or bf16 weights streams fastest without prefetches.
pub(crate) fn one_row_of_halves_streams_by_itself(core: Core) -> bool {
    match core {
        // MEASURED on Zen 4: without prefetches 1.4 times as fast from the third-level cache.
        Core::Zen => true,
        // MEASURED on Granite Rapids, 3 KiB ahead: with them 1.03 to 1.06 times from memory, the same from the third
        // level.
        Core::Intel => false,
    }
}

/// Whether f16 become f32 in ports that do not multiply.
pub(crate) fn converts_f16_beside_products(core: Core) -> bool {
    match core {
        // MEASURED on Zen 4: six rows of f16 that are converted in every micro-tile reach 95 to 98 % of the peak.
        // ASSUMPTION: several tiles of them gain as those of bf16 do.
        Core::Zen => true,
        // MEASURED on Granite Rapids: conversion takes the multipliers' ports.
        Core::Intel => false,
    }
}

/// What micro-tiles of so many rows prefetch of weights of few bits that come from beyond the second-level cache,
/// multiplied as integers.
pub(crate) fn groupwise_prefetch(core: Core, rows: usize) -> Prefetch {
    match core {
        // MEASURED on Zen 4, one row: from memory 2.2 times as fast as without, from the third-level cache 1.1 times.
        Core::Zen => Prefetch::ToFirstLevel,
        // MEASURED on Granite Rapids: from memory 1.2 times as fast as into the first level.
        Core::Intel if rows <= 2 => Prefetch::ToSecondLevel,
        // MEASURED on Granite Rapids, four rows: from memory 1.4 times as fast as without, from the third level 1.1
        // times.
        Core::Intel => Prefetch::ToFirstLevel,
    }
}

/// Bytes from a line of packed weights of few bits to the one that is prefetched while it is multiplied.
pub(crate) fn groupwise_stream_ahead(core: Core) -> usize {
    match core {
        // MEASURED on Zen 4, one row from memory: twice as far is no better.
        Core::Zen => 8192,
        // MEASURED on Granite Rapids, one row from memory: 1.08 times as fast as with 8 KiB, and nothing else differs.
        // On Emerald Rapids 8 KiB into the second level had been a quarter faster than 4 KiB into the first.
        Core::Intel => 4096,
    }
}
