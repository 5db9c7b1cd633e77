//! Schedules checked by brute force against what 16 bits hold; blocks, steps and planes against their definitions.

use gemmill_codegen::{KR, Layout, Machine, Section, Tier};

const LANES: usize = Layout::Columns8.lanes();
const VECTOR_BYTES: usize = Layout::Columns8.vector_bytes();

use super::PackedB;
use super::schedule::{Limits, Schedule, Search, Steps, schedule};
use super::step::{Block, MAX_KC, Plane, Planes, group_row_bytes, packed_row_bytes};
use crate::error::Error;
use crate::machine::threads::Threads;
use crate::operands::planes::write_planes;
use crate::reference;
use crate::views::{MatMut, MatRef};

/// Random numbers (splitmix64): the same on every run.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    /// In `low..=high`.
    fn within(&mut self, low: i32, high: i32) -> i32 {
        low + (self.next() >> 33) as i32 % (high - low + 1)
    }
}

/// All ways to search that packing uses, and some between.
fn searches() -> Vec<Search> {
    let mut searches = Vec::new();
    for window in [1, 4, 32] {
        for (planes, pairings) in [(false, false), (false, true), (true, false), (true, true)] {
            searches.extend([false, true].map(|reorder| Search { window, planes, pairings, reorder }));
        }
    }
    searches
}

/// The least and the greatest sum that a 16-bit lane of a bundle can take on, by going through every activation that
/// makes a difference: a product is smallest or largest at an activation of 0 or `amax`.
fn extremes(weights: impl Iterator<Item = i8>, amax: i64) -> (i64, i64) {
    weights.fold((0, 0), |(least, most), w| {
        let products = [0, amax].map(|a| a * i64::from(w));
        (least + products[0].min(products[1]), most + products[0].max(products[1]))
    })
}

fn fits_i16((least, most): (i64, i64)) -> bool {
    i64::from(i16::MIN) <= least && most <= i64::from(i16::MAX)
}

/// The two weights that meet in a pair of a step.
fn pair(step: &[i8], quad: usize, half: usize, order: [usize; KR]) -> [i8; 2] {
    [0, 1].map(|i| step[quad * KR + order[2 * half + i]])
}

/// Whether a step fits 16 bits by itself.
fn fits_alone(step: &[i8], order: [usize; KR], amax: i64) -> bool {
    let quads = step.len() / KR;
    (0..quads).all(|q| [0, 1].iter().all(|&h| fits_i16(extremes(pair(step, q, h, order).into_iter(), amax))))
}

/// Checks everything that kernels rely on in a schedule.
fn check(schedule: &Schedule, input: Steps<'_>, amax: u8, search: Search) {
    let steps: Vec<&[i8]> = input.weights.chunks_exact(input.bytes_per_step).collect();
    let amax = i64::from(amax.max(1));
    let mut seen = vec![0; steps.len()];
    for section in Section::ALL {
        let placed = &schedule.sections[section as usize];
        assert_eq!(placed.len() % section.steps(), 0, "{section:?}: whole bundles");
        assert_eq!(placed.len() / section.steps(), schedule.bundles(section));
        for bundle in placed.chunks_exact(section.steps()) {
            bundle.iter().for_each(|p| seen[p.step] += 1);
            let wide = matches!(section, Section::Wide | Section::Split);
            if wide {
                let [p] = bundle else { unreachable!() };
                let pairings = if search.pairings { &Plane::PAIRINGS[..] } else { &[Plane::Natural] };
                let mut orders = pairings.iter().map(|plane| plane.order());
                assert!(!orders.any(|o| fits_alone(steps[p.step], o, amax)), "{p:?} need not be wide");
            } else {
                for (quad, half) in (0..input.bytes_per_step / KR).flat_map(|q| [(q, 0), (q, 1)]) {
                    let weights = bundle.iter().flat_map(|p| pair(steps[p.step], quad, half, p.plane.order()));
                    let sums = extremes(weights, amax);
                    assert!(fits_i16(sums), "{section:?} {bundle:?}: lane {quad}.{half} reaches {sums:?}");
                }
            }
            for p in bundle {
                let pairing = Plane::PAIRINGS.contains(&p.plane);
                let legal = match section {
                    Section::Sum8 | Section::Split => p.plane == Plane::Natural,
                    Section::Wide => p.plane == Plane::Even,
                    Section::Shuffled => {
                        search.pairings && pairing && !fits_alone(steps[p.step], Plane::Natural.order(), amax)
                    }
                    _ => {
                        if search.planes {
                            pairing
                        } else {
                            p.plane == Plane::Natural
                        }
                    }
                };
                assert!(legal, "{section:?}: {p:?} with {search:?}");
            }
            if section == Section::Sum8 {
                assert!(bundle.windows(2).all(|w| w[1].step == w[0].step + 1), "{bundle:?} follow each other");
                assert!(bundle[7].step < input.whole, "{bundle:?}: the last step overlaps the one before");
            }
        }
    }
    assert!(seen.iter().all(|&n| n == 1), "each step once: {seen:?}");
    let not_of_the_search: &[Section] =
        if search.planes { &[Section::Shuffled, Section::Split] } else { &[Section::Wide] };
    assert!(not_of_the_search.iter().all(|&s| schedule.bundles(s) == 0), "{search:?}");
}

/// Schedules weights in every way and checks each.
fn check_all(weights: &[i8], vectors: usize, whole: usize) {
    let input = Steps { weights, bytes_per_step: vectors * VECTOR_BYTES, whole };
    for amax in [255, 200, 128, 127, 15, 1, 0] {
        for search in searches() {
            check(&schedule(input, Limits::for_activations(amax), search), input, amax, search);
        }
    }
}

#[test]
fn random_weights_of_any_size_are_scheduled_soundly() {
    let mut rng = Rng(1);
    for vectors in 1..=2 {
        for size in [1, 7, 20, 31, 32, 63, 64, 65, 100, 127] {
            for steps in [1, 2, 7, 8, 9, 16, 40] {
                let weights: Vec<i8> =
                    (0..steps * vectors * VECTOR_BYTES).map(|_| rng.within(-size - 1, size) as i8).collect();
                check_all(&weights, vectors, steps - usize::from(rng.within(0, 1) == 1));
            }
        }
    }
}

/// Mostly small weights, and a few large ones: the steps that hold them must be kept apart.
#[test]
fn outliers_are_scheduled_soundly() {
    let mut rng = Rng(2);
    for vectors in 1..=2 {
        for share in [1, 10, 100, 1000] {
            let mut weight = || if rng.within(0, share) == 0 { rng.within(-128, 127) } else { rng.within(-9, 9) } as i8;
            let weights: Vec<i8> = (0..48 * vectors * VECTOR_BYTES).map(|_| weight()).collect();
            check_all(&weights, vectors, 48);
        }
    }
}

/// Weights at the very bound and one past it, in each lane alone and in each place of a pair.
#[test]
fn the_bound_is_exact() {
    let natural = Search { window: 32, planes: false, pairings: true, reorder: true };
    let one = |weights: &[i8], amax: u8| {
        let input = Steps { weights, bytes_per_step: VECTOR_BYTES, whole: weights.len() / VECTOR_BYTES };
        let schedule = schedule(input, Limits::for_activations(amax), natural);
        check(&schedule, input, amax, natural);
        schedule
    };
    for lane in 0..LANES * KR / 2 {
        for (x, y, section) in [
            (127, 1, Section::Narrow),
            (1, 127, Section::Narrow),
            (64, 64, Section::Narrow),
            (-128, 0, Section::Narrow),
            (-1, -127, Section::Narrow),
            (127, -128, Section::Narrow),
            (127, 2, Section::Shuffled),
            (65, 64, Section::Shuffled),
            (-128, -1, Section::Shuffled),
            (-65, -64, Section::Shuffled),
        ] {
            let mut weights = [0i8; VECTOR_BYTES];
            (weights[2 * lane], weights[2 * lane + 1]) = (x, y);
            assert_eq!(one(&weights, 255).bundles(section), 1, "({x}, {y}) in lane {lane}");
        }
        // 258 * 127 = 32766; 256 * -128 = -32768.
        let mut weights = [0i8; 2 * VECTOR_BYTES];
        for (amax, values, together) in [
            (127, [127, 127, 4, 0], true),
            (127, [127, 127, 4, 1], false),
            (128, [-128, -128, 0, 0], true),
            (128, [-128, -128, -1, 0], false),
            (255, [-64, -64, 127, 1], true),
            (255, [-64, -64, -1, 1], false),
        ] {
            for (i, value) in values.into_iter().enumerate() {
                weights[i / 2 * VECTOR_BYTES + 2 * lane + i % 2] = value;
            }
            assert_eq!(one(&weights, amax).bundles(Section::Sum2), usize::from(together), "{values:?}, {amax}");
        }
    }
}

/// Full lanes everywhere leave only wide steps; no weights at all, one sum of eight.
#[test]
fn uniform_weights_take_one_section() {
    for (weight, planes, section) in [
        (127, false, Section::Split),
        (-128, false, Section::Split),
        (127, true, Section::Wide),
        (-128, true, Section::Wide),
        (64, false, Section::Narrow),
        (32, false, Section::Sum2),
        (-16, true, Section::Sum4),
        (8, false, Section::Sum8),
        (0, true, Section::Sum8),
    ] {
        let weights = vec![weight; 16 * VECTOR_BYTES];
        let input = Steps { weights: &weights, bytes_per_step: VECTOR_BYTES, whole: 16 };
        let search = Search { window: 32, planes, pairings: true, reorder: true };
        let schedule = schedule(input, Limits::for_activations(255), search);
        check(&schedule, input, 255, search);
        assert_eq!(schedule.bundles(section) * section.steps(), 16, "{weight}: {schedule:?}");
    }
}

#[test]
fn costs_are_those_of_the_sections() {
    let cost = |weight: i8, planes: bool, vectors: usize| {
        let weights = vec![weight; 16 * VECTOR_BYTES];
        let input = Steps { weights: &weights, bytes_per_step: VECTOR_BYTES, whole: 16 };
        let schedule =
            schedule(input, Limits::for_activations(255), Search { window: 32, planes, pairings: true, reorder: true });
        (schedule.cost(vectors), schedule.vectors_per_step())
    };
    assert_eq!(cost(8, false, 1), (17.0 / 8.0, 1.0));
    assert_eq!(cost(16, false, 2), (9.0 / 4.0, 1.0));
    assert_eq!(cost(32, false, 2), (5.0 / 2.0, 1.0));
    assert_eq!(cost(64, false, 2), (3.0, 1.0));
    assert_eq!(cost(127, true, 2), (4.0, 2.0));
    assert_eq!(cost(127, false, 2), (5.0, 2.0));
    assert_eq!(Schedule::default().cost(2), 0.0);
}

#[test]
fn blocks_cover_k_exactly() {
    for depth in Layout::ALL.map(Layout::step_depth) {
        for k in (0..300).chain([1000, 1023, 1024, 1025, 4096, 8191, 8192, 8193, 20_000, 100_001]) {
            for kc in [0, 1, 3, 4, 8, 31, 32, 33, 64, 100, 256, 1000, 4096, MAX_KC] {
                let blocks = Block::cut(k, kc, depth);
                let context = format!("k {k}, kc {kc}, depth {depth}: {blocks:?}");
                let mut end = 0;
                for block in &blocks {
                    assert_eq!(block.start, end, "{context}");
                    end += block.len;
                }
                assert_eq!(end, k, "{context}");
                let (last, others) = blocks.split_last().unwrap();
                assert!(others.iter().all(|b| b.len > 0 && b.len % depth == 0), "{context}: whole steps");
                // What files of packed weights rely on: the length of the first block gives the same cut.
                assert_eq!(
                    Block::cut(k, blocks[0].len.next_multiple_of(depth).min(MAX_KC), depth),
                    blocks,
                    "{context}"
                );
                let room = kc / depth * depth;
                if others.iter().any(|b| b.len % (8 * depth) != 0) {
                    assert!(others[0].len.next_multiple_of(8 * depth) > room, "{context}: runs of steps have no room");
                }
                assert!(last.len >= depth.min(k), "{context}: the last is a step at least");
                let most = (kc / depth).max(1) * depth;
                assert!(others.iter().all(|b| b.len <= most) && last.len < most + depth, "{context}: too long");
                // About equal: a block more than needed would cost a pass.
                assert!(blocks.len() <= k.div_ceil(most).max(1), "{context}: too many");
            }
        }
    }
}

/// The sets of planes that packing can ask for.
fn plane_sets() -> Vec<Planes> {
    let set = |bits: usize| {
        let mut planes = Planes::default();
        Plane::ALL.into_iter().filter(|&p| bits >> p as u8 & 1 == 1).for_each(|p| planes.insert(p));
        planes
    };
    (1..32).map(set).collect()
}

#[test]
fn sets_of_planes_count_and_order_their_planes() {
    for planes in plane_sets() {
        let listed: Vec<Plane> = planes.iter().collect();
        assert_eq!(listed.len(), planes.count());
        for (slot, &plane) in listed.iter().enumerate() {
            assert!(planes.contains(plane) && planes.slot(plane) == slot, "{planes:?}");
        }
        assert_eq!(planes.only_natural(), listed == [Plane::Natural]);
    }
    assert!(Planes::default().only_natural(), "no elements are in every plane");
}

#[test]
fn offsets_stay_within_their_planes_and_sixteen_bits() {
    for layout in Layout::ALL {
        let depth = layout.step_depth();
        // As long as a block can be: a rest shorter than a step joins it.
        for len in [1, 3, depth - 1, depth, depth + 1, 1000, MAX_KC, MAX_KC + depth - 1] {
            let block = Block { start: 0, len };
            for planes in plane_sets() {
                for plane in planes.iter() {
                    let first = planes.slot(plane) * block.plane_bytes(depth);
                    for step in 0..block.steps(depth) {
                        let offset = block.offset(step, plane, planes, depth);
                        assert!(offset >= first && offset + depth <= first + block.plane_bytes(depth), "{planes:?}");
                        assert!(u16::try_from(offset).is_ok(), "{layout:?}, {len}: offset {offset}");
                    }
                }
                // A natural row of the user's ends with its last element.
                let last = block.step_start(block.steps(depth) - 1, depth);
                assert!(last + depth <= len || len < depth, "{layout:?}, {len}: reads past the row");
            }
        }
    }
}

/// A step's elements in the arrangement of a plane, by the definition.
fn arranged(step: &[u8], plane: Plane) -> Vec<u8> {
    let quads = step.chunks_exact(KR);
    match plane {
        Plane::Even => quads.flat_map(|q| [q[0], 0, q[2], 0]).collect(),
        Plane::Odd => quads.flat_map(|q| [q[1], 0, q[3], 0]).collect(),
        _ => quads.flat_map(|q| plane.order().map(|i| q[i])).collect(),
    }
}

#[test]
fn offsets_lead_to_the_elements_of_their_step() {
    let mut rng = Rng(3);
    for layout in Layout::ALL {
        let depth = layout.step_depth();
        for k in (1..80).chain([200, 257]) {
            let natural: Vec<u8> = (0..k).map(|_| rng.next() as u8).collect();
            for (kc, planes) in
                [16, 64, 1 << 12].into_iter().flat_map(|kc| plane_sets().into_iter().map(move |p| (kc, p)))
            {
                let blocks = Block::cut(k, kc, depth);
                let mut row = vec![0xee; group_row_bytes(&blocks, planes, layout)];
                write_planes(&natural, &blocks, planes, layout, &mut row);
                let mut start = 0;
                for block in &blocks {
                    for (plane, step) in planes.iter().flat_map(|p| (0..block.steps(depth)).map(move |s| (p, s))) {
                        let found = &row[start + block.offset(step, plane, planes, depth)..][..depth];
                        let mut expected = vec![0; depth];
                        let from = block.start + block.step_start(step, depth);
                        let elements = &natural[from..][..depth.min(block.len)];
                        expected[..elements.len()].copy_from_slice(elements);
                        assert_eq!(found, arranged(&expected, plane), "{layout:?}, k {k}, kc {kc}: {plane:?} {step}");
                    }
                    start += planes.count() * block.plane_bytes(depth);
                }
                assert_eq!(start, row.len());
            }
        }
    }
}

#[test]
fn packed_rows_have_room_and_rows_of_a_tile_different_sets() {
    for k in [1, 31, 32, 63, 64, 255, 256, 1024, 4096, 10_000] {
        for (layout, groups) in Layout::ALL.into_iter().flat_map(|l| [(l, 1), (l, 3), (l, 32)]) {
            let blocks = Block::cut(k, 1024, layout.step_depth());
            for planes in plane_sets() {
                let needed = groups * group_row_bytes(&blocks, planes, layout);
                let bytes = packed_row_bytes(&blocks, planes, layout, groups).unwrap();
                assert!((needed..needed + 128).contains(&bytes), "{bytes} bytes for {needed}");
                assert!(needed < 256 || bytes % 128 == 64, "{bytes}: an odd number of cache lines");
            }
        }
    }
    let blocks = [Block { start: 0, len: 1024 }];
    let mut natural = Planes::default();
    natural.insert(Plane::Natural);
    assert!(packed_row_bytes(&blocks, natural, Layout::Columns8, usize::MAX / 512).is_err());
    let most = usize::MAX / 1024;
    assert!(packed_row_bytes(&blocks, natural, Layout::Columns8, most).is_ok_and(|bytes| bytes >= most * 1024));
}

/// Weights of every kind, for tiers with and without dot products, in layouts of all kinds.
#[test]
fn the_packed_form_does_not_depend_on_threads() {
    let mut rng = Rng(4);
    for (k, n, groups) in [(1000, 300, 1), (257, 96, 3), (4096, 2, 1), (64, 4, 1), (5, 33, 1), (0, 40, 1), (70, 0, 1)] {
        let b: Vec<i8> = (0..k * n).map(|_| rng.within(-90, 90) as i8 / (rng.within(1, 9) as i8)).collect();
        for (tier, columns) in Tier::ALL.into_iter().flat_map(|tier| [(tier, false), (tier, true)]) {
            let b = if columns { MatRef::col_major(&b, k, n) } else { MatRef::row_major(&b, k, n) }.unwrap();
            let pack = |threads| {
                let builder = PackedB::builder(b).groups(groups).threads(threads);
                builder.pack_for(tier, Machine::of_this_cpu()).unwrap()
            };
            let one = pack(Threads::Max(1));
            assert_eq!(pack(Threads::Exactly(2)), one, "{tier}, {k} x {n}");
            let mut back = vec![0; k * n];
            one.unpack(&mut MatMut::row_major(&mut back, k, n).unwrap()).unwrap();
            assert_eq!(back, reference::to_row_major(b), "{tier}, {k} x {n}");
        }
    }
    let none = PackedB::builder(MatRef::row_major(&[1i8], 1, 1).unwrap()).threads(Threads::Max(0)).build();
    assert!(matches!(none, Err(Error::OutOfRange { what: "threads", .. })));
}
