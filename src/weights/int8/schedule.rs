//! The schedule of a block: which steps are summed in 16 bits together, proven from the weights.
//!
//! A 16-bit lane adds up products of activations in `0..=amax` with some weights. The sum, and every partial sum of it,
//! fits i16 for all activations iff `amax * Σ b⁺ <= 32767` and `amax * Σ b⁻ <= 32768`, the sums over the lane's
//! positive and negative weights. (Activations of `amax` against the positive weights and 0 against the others reach
//! the bound.) So a bundle of steps is exact iff that holds in each of its lanes, and any part of such a bundle is
//! exact too.
//!
//! Finding the fewest bundles is bin packing with as many dimensions as lanes. First fit over the steps, the heaviest
//! first, into a window of open bundles comes close on gaussian weights: a step that fits no open bundle in any pairing
//! opens its own. A step that overflows alone in every pairing is multiplied as 16-bit numbers.
//!
//! Where A is read in place, other pairings are made by a byte shuffle in registers, which costs an instruction per row
//! and step, so only steps that overflow otherwise take one; and even and odd elements are split in registers.

use gemmill_codegen::{KR, Section};

use super::step::Plane;
use crate::error::{Error, Result};

/// The bounds of a lane's sums of positive and of negative weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    positive: u16,
    negative: u16,
}

impl Limits {
    /// The bounds for activations in `0..=activation_max`.
    pub(crate) fn for_activations(activation_max: u8) -> Limits {
        let amax = u16::from(activation_max.max(1));
        Limits { positive: 32767 / amax, negative: 32768 / amax }
    }
}

/// How hard to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Search {
    /// Open bundles that a step is tried in.
    pub(crate) window: usize,
    /// Whether A is worth writing to planes: for other pairings, if they are tried, and for wide steps.
    pub(crate) planes: bool,
    /// Whether other pairings are tried: all of them with planes, otherwise, by a shuffle, for steps that overflow
    /// alone.
    pub(crate) pairings: bool,
    /// Whether steps are taken heaviest first, rather than as they come.
    pub(crate) reorder: bool,
}

/// A step in one of its pairings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) step: usize,
    pub(crate) plane: Plane,
}

/// The bundles of a block, section by section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// Steps of each section in the order of [`Section::ALL`], bundle after bundle.
    pub(crate) sections: [Vec<Placed>; Section::ALL.len()],
}

impl Schedule {
    fn push(&mut self, section: Section, steps: &[Placed]) {
        assert_eq!(section.steps(), steps.len());
        self.sections[section as usize].extend_from_slice(steps);
    }

    /// Instructions on the vector ports per row, step and vector of columns, `vectors` being how many of these share
    /// what is done to A.
    pub(crate) fn cost(&self, vectors: usize) -> f64 {
        let shared = 1.0 / vectors as f64;
        let of_bundle = |section| match section {
            Section::Shuffled => 3.0 + shared,
            Section::Wide => 4.0,
            Section::Split => 4.0 + 2.0 * shared,
            Section::Dot8 | Section::Dot => section.steps() as f64,
            // A product and a sum for each step, a widening and the accumulation for all.
            _ => 2.0 * section.steps() as f64 + 1.0,
        };
        let steps: usize = Section::ALL.iter().map(|&s| self.bundles(s) * s.steps()).sum();
        let cost: f64 = Section::ALL.iter().map(|&s| self.bundles(s) as f64 * of_bundle(s)).sum();
        cost / steps.max(1) as f64
    }

    /// Whether steps are multiplied as they follow each other, from bytes: their packed form is that of natural order.
    pub(crate) fn is_natural(&self) -> bool {
        Section::ALL.iter().all(|&s| s.is_dot() || self.bundles(s) == 0)
    }

    /// Whether some steps overflow alone in their natural pairing.
    pub(crate) fn has_unsafe_steps(&self) -> bool {
        [Section::Shuffled, Section::Wide, Section::Split].iter().any(|&s| self.bundles(s) > 0)
    }

    /// Packed vectors for each vector of columns: one for a step, or two for a wide one.
    pub(crate) fn vectors(&self) -> usize {
        Section::ALL.iter().map(|&s| self.bundles(s) * s.vectors()).sum()
    }

    /// Packed vectors per step and vector of columns.
    pub(crate) fn vectors_per_step(&self) -> f64 {
        let steps: usize = Section::ALL.iter().map(|&s| self.bundles(s) * s.steps()).sum();
        self.vectors() as f64 / steps.max(1) as f64
    }

    /// Bundles of a section.
    pub(crate) fn bundles(&self, section: Section) -> usize {
        self.sections[section as usize].len() / section.steps()
    }
}

/// Sums of positive and of negative weights in `L` lanes.
#[derive(Debug, Clone, Copy)]
struct Lanes<const L: usize> {
    positive: [u16; L],
    negative: [u16; L],
}

impl<const L: usize> Lanes<L> {
    const ZERO: Lanes<L> = Lanes { positive: [0; L], negative: [0; L] };

    /// The lanes of a packed step in one pairing. Lanes past the weights are empty.
    #[inline(always)]
    fn of(weights: &[i8], plane: Plane) -> Lanes<L> {
        match plane {
            Plane::Cross => Self::of_quads(weights, |x| x & 0xff00_00ff | x >> 8 & 0xff00 | x << 8 & 0xff_0000),
            Plane::Outer => Self::of_quads(weights, |x| x & 0xff | x >> 16 & 0xff00 | x << 8 & 0xffff_0000),
            Plane::Natural | Plane::Even | Plane::Odd => Self::of_quads(weights, |x| x),
        }
    }

    /// The lanes of quads, each after `arrange`: in this form the compiler finds vectors for all of it.
    #[inline(always)]
    fn of_quads(weights: &[i8], arrange: impl Fn(u32) -> u32) -> Lanes<L> {
        let mut lanes = Self::ZERO;
        let halves = lanes.positive.as_chunks_mut::<2>().0.iter_mut().zip(lanes.negative.as_chunks_mut::<2>().0);
        for ((positive, negative), quad) in halves.zip(weights.as_chunks::<KR>().0) {
            let quad = arrange(u32::from_le_bytes(quad.map(|w| w as u8))).to_le_bytes();
            for half in 0..2 {
                let [x, y] = [quad[2 * half], quad[2 * half + 1]].map(|w| i16::from(w as i8));
                positive[half] = (x.max(0) + y.max(0)) as u16;
                negative[half] = (x.min(0) + y.min(0)).unsigned_abs();
            }
        }
        lanes
    }

    #[inline(always)]
    fn add(&mut self, other: &Lanes<L>) {
        for i in 0..L {
            self.positive[i] += other.positive[i];
            self.negative[i] += other.negative[i];
        }
    }

    #[inline(always)]
    fn within(&self, limits: Limits) -> bool {
        self.sum_within(&Self::ZERO, limits)
    }

    /// Whether the sum of both is within the limits.
    #[inline(always)]
    fn sum_within(&self, other: &Lanes<L>, limits: Limits) -> bool {
        let (mut positive, mut negative) = (0, 0);
        for i in 0..L {
            positive = (self.positive[i] + other.positive[i]).max(positive);
            negative = (self.negative[i] + other.negative[i]).max(negative);
        }
        positive <= limits.positive && negative <= limits.negative
    }

    /// The heaviest lane.
    #[inline(always)]
    fn weight(&self) -> u16 {
        self.positive.iter().chain(&self.negative).fold(0, |m, &x| m.max(x))
    }
}

/// A bundle that is still open.
struct Open<const L: usize> {
    lanes: Lanes<L>,
    steps: Vec<Placed>,
}

/// Most steps of a bundle whose steps do not follow each other.
const MAX_SCATTERED: usize = 4;

/// Steps of a bundle come from so many that follow each other. Elements of A that are read from all over a row make the
/// hardware's prefetchers lose track of the packed vectors. MEASURED on Zen 4, gaussian weights: 128 (512 elements of
/// A) costs nothing where all is in a cache, since nearly as many steps find company, and one row from memory gains 5
/// %; 32 costs 5 %.
const NEAR: usize = 128;

/// The packed vectors of a block's steps, in natural order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps<'a> {
    pub(crate) weights: &'a [i8],
    pub(crate) bytes_per_step: usize,
    /// Steps that follow each other in A without overlap: all, or all but the last.
    pub(crate) whole: usize,
}

/// Schedules a block for 32-bit dot products, which are exact for all weights: steps stay as they follow each other.
pub(crate) fn schedule_dots(steps: usize, whole: usize) -> Schedule {
    let mut schedule = Schedule::default();
    let placed = |step| Placed { step, plane: Plane::Natural };
    let in_runs = whole / Section::Dot8.steps() * Section::Dot8.steps();
    schedule.sections[Section::Dot8 as usize].extend((0..in_runs).map(placed));
    schedule.sections[Section::Dot as usize].extend((in_runs..steps).map(placed));
    schedule
}

/// Schedules a block for 16-bit sums.
pub(crate) fn schedule(steps: Steps<'_>, limits: Limits, search: Search) -> Schedule {
    gemmill_codegen::vectorize(|| match steps.bytes_per_step / 2 {
        ..=16 => schedule_lanes::<16>(steps, limits, search),
        17..=32 => schedule_lanes::<32>(steps, limits, search),
        _ => schedule_lanes::<64>(steps, limits, search),
    })
}

/// Proves a schedule that came with the weights: an error names the bounds that a lane breaks. Which steps and pairings
/// sections may have is the caller's to check.
pub(crate) fn prove(steps: Steps<'_>, schedule: &Schedule, limits: Limits) -> Result<()> {
    let overflow = gemmill_codegen::vectorize(|| match steps.bytes_per_step / 2 {
        ..=16 => first_overflow::<16>(steps, schedule, limits),
        17..=32 => first_overflow::<32>(steps, schedule, limits),
        _ => first_overflow::<64>(steps, schedule, limits),
    });
    let Some(given) = overflow else { return Ok(()) };
    let (low, high) = (-i64::from(limits.negative), limits.positive.into());
    Err(Error::OutOfRange { what: "weights that a bundle of the schedule sums in a lane", low, high, given })
}

/// The weight of the first lane that may leave 16 bits. Wide steps and dot products have no 16-bit sums.
#[inline(always)]
fn first_overflow<const L: usize>(steps: Steps<'_>, schedule: &Schedule, limits: Limits) -> Option<i64> {
    let sums_in_16_bits = |s: &Section| !s.is_dot() && !matches!(s, Section::Wide | Section::Split);
    for section in Section::ALL.into_iter().filter(sums_in_16_bits) {
        for bundle in schedule.sections[section as usize].chunks_exact(section.steps()) {
            let mut sum = Lanes::<L>::ZERO;
            for placed in bundle {
                let weights = &steps.weights[placed.step * steps.bytes_per_step..][..steps.bytes_per_step];
                sum.add(&Lanes::of(weights, placed.plane));
            }
            if !sum.within(limits) {
                let positive = sum.positive.iter().find(|&&x| x > limits.positive).map(|&x| i64::from(x));
                let negative = || sum.negative.iter().find(|&&x| x > limits.negative).map(|&x| -i64::from(x));
                return positive.or_else(negative);
            }
        }
    }
    None
}

#[inline(always)]
fn schedule_lanes<const L: usize>(steps: Steps<'_>, limits: Limits, search: Search) -> Schedule {
    let whole = steps.whole;
    let steps: Vec<&[i8]> = steps.weights.chunks_exact(steps.bytes_per_step).collect();
    let natural: Vec<Lanes<L>> = steps.iter().map(|w| Lanes::of(w, Plane::Natural)).collect();
    let mut schedule = Schedule::default();
    let mut rest = take_runs(&natural, whole, limits, &mut schedule);

    if search.reorder {
        rest.sort_by_key(|&step| (step / NEAR, std::cmp::Reverse(natural[step].weight())));
    }
    let mut open: Vec<Open<L>> = Vec::new();
    let mut closed: Vec<Vec<Placed>> = Vec::new();
    let mut neighbourhood = 0;
    for step in rest {
        if step / NEAR != neighbourhood {
            neighbourhood = step / NEAR;
            closed.extend(open.drain(..).map(|bundle| bundle.steps));
        }
        let natural = Some(&natural[step]).filter(|lanes| lanes.within(limits));
        let other = |plane| Some(Lanes::of(steps[step], plane)).filter(|lanes| lanes.within(limits));
        // The other pairings are of interest as long as they may be chosen.
        let others = match search.pairings && (search.planes || natural.is_none()) {
            true => [other(Plane::Cross), other(Plane::Outer)],
            false => [None, None],
        };
        let [cross, outer] = others.each_ref().map(Option::as_ref);
        let mut fitting = Plane::PAIRINGS.into_iter().zip([natural, cross, outer]);
        let mut fitting = std::iter::from_fn(|| fitting.find_map(|(plane, lanes)| Some((plane, lanes?)))).peekable();
        let Some(&(alone, alone_lanes)) = fitting.peek() else {
            match search.planes {
                true => schedule.push(Section::Wide, &[Placed { step, plane: Plane::Even }]),
                false => schedule.push(Section::Split, &[Placed { step, plane: Plane::Natural }]),
            }
            continue;
        };
        if alone != Plane::Natural && !search.planes {
            schedule.push(Section::Shuffled, &[Placed { step, plane: alone }]);
            continue;
        }
        let home = fitting.find_map(|(plane, lanes)| {
            let position = open.iter().position(|bundle| bundle.lanes.sum_within(lanes, limits))?;
            Some((position, plane, lanes))
        });
        match home {
            Some((position, plane, lanes)) => {
                let bundle = &mut open[position];
                bundle.lanes.add(lanes);
                bundle.steps.push(Placed { step, plane });
                if bundle.steps.len() == MAX_SCATTERED {
                    closed.push(open.remove(position).steps);
                }
            }
            None => {
                if open.len() >= search.window {
                    closed.push(open.remove(0).steps);
                }
                open.push(Open { lanes: *alone_lanes, steps: vec![Placed { step, plane: alone }] });
            }
        }
    }
    closed.extend(open.into_iter().map(|bundle| bundle.steps));
    // Rows of A are read about in order then.
    closed.iter_mut().for_each(|bundle| bundle.sort_by_key(|placed| placed.step));
    closed.sort_by_key(|bundle| bundle.first().map(|placed| placed.step));
    for section in [Section::Shuffled, Section::Wide, Section::Split] {
        schedule.sections[section as usize].sort_by_key(|p| p.step);
    }
    place_bundles(closed, &mut schedule);
    schedule
}

/// Takes the runs of eight steps that may be summed as they follow each other, and gives the steps that are left.
#[inline(always)]
fn take_runs<const L: usize>(
    natural: &[Lanes<L>],
    whole: usize,
    limits: Limits,
    schedule: &mut Schedule,
) -> Vec<usize> {
    let mut rest = Vec::with_capacity(natural.len());
    let run_len = Section::Sum8.steps();
    let mut step = 0;
    while step < natural.len() {
        let end = step + run_len;
        let mut sum = Lanes::ZERO;
        let mut fits = end <= whole;
        for lanes in natural.iter().take(end).skip(step) {
            // Sums only grow.
            fits = fits && sum.sum_within(lanes, limits);
            if !fits {
                break;
            }
            sum.add(lanes);
        }
        if fits {
            let run: Vec<Placed> = (step..end).map(|step| Placed { step, plane: Plane::Natural }).collect();
            schedule.push(Section::Sum8, &run);
            step = end;
        } else {
            rest.push(step);
            step += 1;
        }
    }
    rest
}

/// Bundles of one size that are too few to pay for leaving a loop are cut into smaller ones.
const WORTH_A_LOOP: usize = 3;

fn place_bundles(bundles: Vec<Vec<Placed>>, schedule: &mut Schedule) {
    let total = bundles.len();
    let count = |len: usize| bundles.iter().filter(|bundle| bundle.len() == len).count();
    let worth = |len: usize| total < 2 * WORTH_A_LOOP || count(len) >= WORTH_A_LOOP;
    let (four, three, two) = (worth(4), worth(3), worth(2) || count(4) + count(3) > 0);
    for bundle in &bundles {
        match *bundle.as_slice() {
            [a, b, c, d] if four => schedule.push(Section::Sum4, &[a, b, c, d]),
            [a, b, c, d] => {
                schedule.push(Section::Sum2, &[a, b]);
                schedule.push(Section::Sum2, &[c, d]);
            }
            [a, b, c] if three => schedule.push(Section::Sum3, &[a, b, c]),
            [a, b, c] => {
                schedule.push(Section::Sum2, &[a, b]);
                schedule.push(Section::Narrow, &[c]);
            }
            [a, b] if two => schedule.push(Section::Sum2, &[a, b]),
            _ => bundle.iter().for_each(|&step| schedule.push(Section::Narrow, &[step])),
        }
    }
}
