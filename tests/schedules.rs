//! Schedules in files, made by hand: those that are proven are used as they are, all others are errors or passed over.
mod common;

use common::file::{at, check_products, schedule_start, seal};
use common::operand::Params;
use common::random::Rng;
use common::{seed, tiers};
use gemmill::{Error, MatRef, PackedB, Tier};
use gemmill_codegen::{Section, micro_tiles, sections};

/// A schedule by hand: its fixed part, and blocks of bundles by section.
#[derive(Clone)]
struct Made {
    form: [u8; 3],
    reads: u8,
    vectors: u32,
    block: u32,
    length: Option<u64>,
    blocks: Vec<u16>,
}

const IN_PLACE: u8 = 0;
const FROM_PLANES: u8 = 1;
const CROSS: u16 = 1 << 13;
const EVEN: u16 = 3 << 13;

impl Made {
    /// One block of K elements: bundles of sum8, sum4, sum3, sum2, narrow, shuffled, wide, split, and what is placed.
    fn one_block(k: u32, reads: u8, bundles: [u16; 8], placed: &[u16]) -> Made {
        let blocks = [&bundles[..], placed].concat();
        Made { form: [1, 1, 8], reads, vectors: 1, block: k.next_multiple_of(4), length: None, blocks }
    }

    fn put_into(&self, file: &[u8]) -> Vec<u8> {
        let mut out = file[..schedule_start(file)].to_vec();
        out.extend(self.form);
        out.push(self.reads);
        out.extend(self.vectors.to_le_bytes());
        out.extend(self.block.to_le_bytes());
        out.extend(self.length.unwrap_or(2 * self.blocks.len() as u64).to_le_bytes());
        out.extend(self.blocks.iter().flat_map(|x| x.to_le_bytes()));
        out.extend([0; 8]);
        seal(&mut out);
        out
    }
}

/// Loads for a tier that sums pairs: other forms would pass the schedule over.
fn load(bytes: &[u8]) -> gemmill::Result<PackedB> {
    PackedB::loader(bytes).tier(Tier::Portable).load()
}

/// Whether a tier sums pairs in 16 bits, and so needs schedules.
fn sums_pairs(tier: Tier) -> bool {
    sections(tier).contains(Section::Narrow)
}

/// Weights of four steps in one panel, each safe alone and in any pairing, but hardly together.
fn four_steps() -> (PackedB, Vec<u8>) {
    let b: Vec<i8> = (0..16 * 8).map(|i| if i % 3 == 0 { -60 } else { 64 - i as i8 % 5 }).collect();
    let packed = PackedB::builder(MatRef::row_major(&b, 16, 8).unwrap()).tier(Tier::Portable).build().unwrap();
    let file = packed.to_bytes();
    (packed, file)
}

#[test]
fn schedules_made_by_hand_give_right_products() {
    let (tiers, rng) = (tiers(), &mut Rng::new(seed()));
    let (packed, file) = four_steps();
    for (reads, bundles, placed) in [
        (IN_PLACE, [0, 0, 0, 0, 4, 0, 0, 0], [0, 1, 2, 3]),
        (IN_PLACE, [0, 0, 0, 0, 4, 0, 0, 0], [3, 1, 0, 2]),
        (FROM_PLANES, [0, 0, 0, 0, 4, 0, 0, 0], [0, 1, CROSS | 2, 3]),
        (FROM_PLANES, [0, 0, 0, 0, 2, 0, 2, 0], [3, CROSS | 1, EVEN, EVEN | 2]),
        (FROM_PLANES, [0, 0, 0, 0, 0, 0, 4, 0], [EVEN, EVEN | 1, EVEN | 2, EVEN | 3]),
        (IN_PLACE, [0, 0, 0, 0, 0, 2, 0, 2], [CROSS | 3, CROSS, 1, 2]),
        (IN_PLACE, [0, 0, 0, 0, 0, 0, 0, 4], [0, 1, 2, 3]),
    ] {
        let made_up = Made::one_block(16, reads, bundles, &placed).put_into(&file);
        for &tier in &tiers {
            let loaded = PackedB::loader(&made_up).tier(tier).load().unwrap_or_else(|e| panic!("{bundles:?}: {e}"));
            check_products(rng, &loaded, &Params::Tensor(0)).unwrap_or_else(|e| panic!("{bundles:?}: {e}"));
            let reads_planes = placed.iter().any(|&p| p >= CROSS) && reads == FROM_PLANES;
            // All natural: such planes are read in place, and stored so.
            let stays = sums_pairs(tier) && (reads_planes || reads == IN_PLACE);
            assert_eq!(loaded.to_bytes() == made_up, stays, "tier {tier}, {bundles:?} {placed:?}");
            assert_eq!(loaded.repack(Tier::Portable).unwrap(), packed);
        }
    }
}

#[test]
fn hostile_schedules_are_errors() {
    let (_, file) = four_steps();
    let narrow = Made::one_block(16, IN_PLACE, [0, 0, 0, 0, 4, 0, 0, 0], &[0, 1, 2, 3]);
    assert!(load(&narrow.put_into(&file)).is_ok());
    let one = |reads, bundles, placed: &[u16]| Made::one_block(16, reads, bundles, placed);
    let max = u16::MAX;
    let cases = [
        ("a step twice", one(IN_PLACE, [0, 0, 0, 0, 4, 0, 0, 0], &[0, 1, 2, 2])),
        ("a step twice, in two sections", one(IN_PLACE, [0, 0, 0, 0, 3, 0, 0, 1], &[0, 1, 2, 2])),
        ("a step missing", one(IN_PLACE, [0, 0, 0, 0, 3, 0, 0, 0], &[0, 1, 2])),
        ("a step too many", one(IN_PLACE, [0, 0, 0, 0, 5, 0, 0, 0], &[0, 1, 2, 3, 3])),
        ("a step outside", one(IN_PLACE, [0, 0, 0, 0, 4, 0, 0, 0], &[0, 1, 2, 4])),
        ("a step far outside", one(IN_PLACE, [0, 0, 0, 0, 4, 0, 0, 0], &[0, 1, 2, 0x1fff])),
        ("an unsafe sum", one(IN_PLACE, [0, 0, 0, 1, 2, 0, 0, 0], &[0, 1, 2, 3])),
        ("an unsafe sum of four", one(IN_PLACE, [0, 1, 0, 0, 0, 0, 0, 0], &[0, 1, 2, 3])),
        ("a run that is too long", one(IN_PLACE, [1, 0, 0, 0, 0, 0, 0, 0], &[0])),
        ("other planes in place", one(IN_PLACE, [0, 0, 0, 0, 4, 0, 0, 0], &[0, CROSS | 1, 2, 3])),
        ("wide in place", one(IN_PLACE, [0, 0, 0, 0, 3, 0, 1, 0], &[0, 1, 2, EVEN | 3])),
        ("wide from the natural plane", one(FROM_PLANES, [0, 0, 0, 0, 3, 0, 1, 0], &[0, 1, 2, 3])),
        ("narrow from the even plane", one(FROM_PLANES, [0, 0, 0, 0, 4, 0, 0, 0], &[0, 1, 2, EVEN | 3])),
        ("split from planes", one(FROM_PLANES, [0, 0, 0, 0, 3, 0, 0, 1], &[0, 1, 2, 3])),
        ("split in another order", one(IN_PLACE, [0, 0, 0, 0, 3, 0, 0, 1], &[0, 1, 2, CROSS | 3])),
        ("shuffled in natural order", one(IN_PLACE, [0, 0, 0, 0, 3, 1, 0, 0], &[0, 1, 2, 3])),
        ("shuffled from planes", one(FROM_PLANES, [0, 0, 0, 0, 3, 1, 0, 0], &[0, 1, 2, CROSS | 3])),
        ("no such plane", one(FROM_PLANES, [0, 0, 0, 0, 4, 0, 0, 0], &[0, 1, 2, 3 | 4 << 13])),
        ("no such way to read", one(2, [0, 0, 0, 0, 4, 0, 0, 0], &[0, 1, 2, 3])),
        ("huge counts", one(IN_PLACE, [max; 8], &[0, 1, 2, 3])),
        ("huge counts of one section", one(IN_PLACE, [0, 0, 0, 0, max, 0, 0, 0], &[0, 1, 2, 3])),
        ("nothing", one(IN_PLACE, [0; 8], &[])),
        ("no blocks at all", Made { blocks: vec![], ..narrow.clone() }),
        ("half a block", Made { blocks: narrow.blocks[..9].to_vec(), ..narrow.clone() }),
        ("a block too many", Made { blocks: narrow.blocks.repeat(2), ..narrow.clone() }),
        ("no vectors", Made { vectors: 0, ..narrow.clone() }),
        ("many vectors", Made { vectors: 3, ..narrow.clone() }),
        ("endless vectors", Made { vectors: u32::MAX, ..narrow.clone() }),
        ("empty blocks", Made { block: 0, ..narrow.clone() }),
        ("short blocks", Made { block: 3, ..narrow.clone() }),
        ("other blocks", Made { block: 8, ..narrow.clone() }),
        ("blocks longer than K", Made { block: 20, ..narrow.clone() }),
        ("blocks that are too long", Made { block: 8196, ..narrow.clone() }),
        ("endless blocks", Made { block: u32::MAX, ..narrow.clone() }),
        ("no length", Made { length: Some(0), ..narrow.clone() }),
        ("a short length", Made { length: Some(8), ..narrow.clone() }),
        ("a long length", Made { length: Some(25), ..narrow.clone() }),
        ("an endless length", Made { length: Some(u64::MAX), ..narrow.clone() }),
    ];
    for (what, made) in cases {
        let error = load(&made.put_into(&file)).err().unwrap_or_else(|| panic!("{what}: accepted"));
        let kind = matches!(error, Error::Inconsistent { .. } | Error::OutOfRange { .. } | Error::Truncated { .. });
        assert!(kind, "{what}: {error:?}");
    }
}

/// The last step of a block whose length is no whole number of steps repeats elements: no run may hold it.
#[test]
fn a_run_ends_before_repeated_elements() {
    for (k, fits) in [(32, true), (31, false)] {
        let b = vec![1i8; k * 8];
        let file =
            PackedB::builder(MatRef::row_major(&b, k, 8).unwrap()).tier(Tier::Portable).build().unwrap().to_bytes();
        let run = Made::one_block(k as u32, IN_PLACE, [1, 0, 0, 0, 0, 0, 0, 0], &[0]);
        assert_eq!(load(&run.put_into(&file)).is_ok(), fits, "K {k}");
    }
}

/// Every lane of the widest panel is part of the proof.
#[test]
fn lanes_of_all_columns_are_proven() {
    let rng = &mut Rng::new(seed());
    for tier in tiers().into_iter().filter(|&tier| sums_pairs(tier)) {
        let widest = micro_tiles(tier)[0];
        let n = widest.layout.columns(widest.vectors);
        for heavy in 0..n {
            // Safe alone, but not together.
            let b: Vec<i8> = (0..8 * n).map(|i| if i % n == heavy { 64 } else { -1 }).collect();
            let view = MatRef::row_major(&b, 8, n).unwrap();
            let file = PackedB::builder(view).tier(tier).build().unwrap().to_bytes();
            let made = |bundles, placed: &[u16]| Made {
                form: [1, 1, widest.layout.lanes() as u8],
                vectors: widest.vectors as u32,
                ..Made::one_block(8, IN_PLACE, bundles, placed)
            };
            let load = |made: Made| PackedB::loader(&made.put_into(&file)).tier(tier).load();
            let apart = load(made([0, 0, 0, 0, 2, 0, 0, 0], &[0, 1])).unwrap();
            assert_eq!(apart.sequences().to_string(), "narrow 100%");
            check_products(rng, &apart, &Params::Tensor(0)).unwrap();
            let together = load(made([0, 0, 0, 1, 0, 0, 0, 0], &[0, 1])).unwrap_err();
            assert!(matches!(together, Error::OutOfRange { high: 128, given: 256, .. }), "column {heavy}: {together}");
        }
    }
}

/// The bound of the activations is part of the proof.
#[test]
fn schedules_are_proven_for_the_activations_of_their_file() {
    let b = [127i8; 64];
    let view = MatRef::row_major(&b, 8, 8).unwrap();
    let packed = PackedB::builder(view).activation_max(64).tier(Tier::Portable).build().unwrap();
    let mut file = packed.to_bytes();
    assert!(packed.sequences().to_string().contains("sum2"), "{}", packed.sequences());
    file[at::ACTIVATION_MAX] = 63;
    seal(&mut file);
    assert!(load(&file).is_ok());
    file[at::ACTIVATION_MAX] = 65;
    seal(&mut file);
    assert!(matches!(load(&file), Err(Error::OutOfRange { low: -504, high: 504, given: 508, .. })));
}

/// Schedules of forms that nobody knows are passed over, whatever they hold; so are files without one.
#[test]
fn other_forms_are_packed_anew() {
    let (packed, file) = four_steps();
    let slow = Made::one_block(16, IN_PLACE, [0, 0, 0, 0, 0, 0, 0, 4], &[0, 1, 2, 3]);
    assert_ne!(load(&slow.put_into(&file)).unwrap(), packed);
    for form in [[2, 1, 8], [1, 2, 8], [1, 1, 16], [1, 4, 16], [0, 0, 0], [255, 255, 255]] {
        for made in [slow.clone(), Made { blocks: vec![7; 3], reads: 9, vectors: 99, block: 1, ..slow.clone() }] {
            let loaded = load(&Made { form, ..made }.put_into(&file));
            assert_eq!(loaded.unwrap(), packed, "{form:?}");
        }
    }
    let mut without = file[..schedule_start(&file) + 8].to_vec();
    without[at::HAS_SCHEDULE] = 0;
    seal(&mut without);
    assert_eq!(load(&without).unwrap(), packed);
}
