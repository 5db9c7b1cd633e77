//! Packed weights as bytes: what is loaded is what was packed; what is damaged or made up is an error, or weights as good as
//! any.
mod common;

use common::file::{at, check_products, checksum, schedule_start, seal, set_size, size_at, zero_points};
use common::operand::{Order, Params, Stored, Weights};
use common::random::{Rng, Values};
use common::{announce, seed, tiers};
use gemmill::quant::QuantElement;
use gemmill::{Error, Gemm, IntOutput, MatRef, PackEffort, PackedB, PerColumn, Tier, TierError, Weight};

/// Random weights of every kind.
fn random_weights<B: Weight + QuantElement>(rng: &mut Rng) -> Weights<B> {
    let groups = rng.pick(&[1, 1, 1, 2, 3, 7]);
    let n = groups * if rng.one_in(40) { 512 + rng.below(40) } else { rng.below(40) };
    let k = if rng.one_in(4) { rng.below(14) } else { rng.below(260) };
    let (values, order) = (rng.pick(&Values::WEIGHTS), rng.pick(&Order::ALL));
    Weights {
        b: Stored::integers(rng, (k, n), order, values, 255),
        values,
        groups,
        zero_points: Params::random(rng, n, groups, |rng| rng.range(0, 127)),
        activation_max: rng.pick(&[255, 255, 255, 0, 1, 15, 127, 128, 200]),
        effort: rng.pick(&[PackEffort::Quick, PackEffort::Full]),
        kc: rng.pick(&[None, None, Some(0), Some(1), Some(8), Some(12), Some(64), Some(100), Some(usize::MAX)]),
    }
}

fn round_trip<B: Weight + QuantElement>(rng: &mut Rng, tiers: &[Tier]) {
    let weights = random_weights::<B>(rng);
    let case = || weights.describe();
    for &tier in tiers {
        let packed = weights.pack(tier);
        let bytes = packed.to_bytes();
        let loaded = PackedB::loader(&bytes).tier(tier).load().unwrap_or_else(|e| panic!("{e}\n{}", case()));
        assert_eq!(loaded, packed, "tier {tier}, {}", case());
        assert_eq!(loaded.to_bytes(), bytes, "tier {tier}, {}", case());
        check_products(rng, &loaded, &weights.zero_points).unwrap_or_else(|e| panic!("{e}\n{}", case()));
        for &other in tiers {
            let want = weights.pack(other);
            assert!(PackedB::loader(&bytes).tier(other).load().unwrap() == want, "{tier} to {other}, {}", case());
            assert!(packed.repack(other).unwrap() == want, "{tier} repacked for {other}, {}", case());
        }
    }
}

#[test]
fn loaded_is_what_was_packed() {
    let (tiers, rng) = (tiers(), &mut Rng::new(seed()));
    for _ in 0..300 {
        round_trip::<i8>(rng, &tiers);
        round_trip::<u8>(rng, &tiers);
    }
}

/// Deep weights: many blocks, and the longest ones that there can be.
#[test]
fn every_cut_of_k_comes_back() {
    let rng = &mut Rng::new(seed());
    for (k, n) in [(20_000, 3), (8192, 9), (8195, 1), (9000, 17), (16_385, 5), (33, 1), (65, 2), (10, 8)] {
        for kc in [None, Some(4), Some(32), Some(36), Some(100), Some(8192)] {
            let values = rng.pick(&Values::WEIGHTS);
            let mut weights = Weights::<i8>::plain(rng, k, n, values);
            weights.kc = kc;
            let packed = weights.pack(Tier::Portable);
            let loaded = load(&packed.to_bytes());
            assert!(loaded.unwrap() == packed, "{}", weights.describe());
        }
    }
}

#[test]
fn scales_travel_with_the_weights() {
    let b = [1i8, -2, 3, 4, 5, -6, 7, 8];
    let view = MatRef::row_major(&b, 2, 4).unwrap();
    for scales in [
        PerColumn::Tensor(0.25),
        PerColumn::Group(&[0.5, f32::MIN_POSITIVE]),
        PerColumn::Column(&[1.0, 2.0, 3.0, f32::MAX / 4.0]),
    ] {
        let packed = PackedB::builder(view).groups(2).scales(scales).build().unwrap();
        assert_eq!(packed.scales(), Some(scales));
        let loaded = PackedB::from_bytes(&packed.to_bytes()).unwrap();
        assert_eq!((loaded.scales(), &loaded), (Some(scales), &packed));
        assert_eq!(packed.repack(Tier::Portable).unwrap().scales(), Some(scales));
    }
    let without = PackedB::builder(view).groups(2).build().unwrap();
    assert_eq!(without.scales(), None);
    assert_eq!(PackedB::from_bytes(&without.to_bytes()).unwrap().scales(), None);
    let refused = |scales| PackedB::builder(view).groups(2).scales(scales).build().unwrap_err();
    assert!(matches!(refused(PerColumn::Column(&[1.0; 3])), Error::Mismatch { expected: 4, given: 3, .. }));
    assert!(matches!(refused(PerColumn::Group(&[1.0])), Error::Mismatch { expected: 2, given: 1, .. }));
    for bad in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-40] {
        assert!(matches!(refused(PerColumn::Tensor(bad)), Error::BadNumber { .. }), "{bad}");
    }
}

/// Products run on the tier that their weights were packed for, and say so when another is asked for.
#[test]
fn another_tier_is_refused() {
    let tiers = tiers();
    for &tier in &tiers {
        let packed = PackedB::builder(MatRef::row_major(&[1i8; 12], 3, 4).unwrap()).tier(tier).build().unwrap();
        let gemm = |packed: &PackedB, asked| Gemm::<u8, i32>::builder(packed, IntOutput::Store).tier(asked).build();
        assert!(gemm(&packed, tier).is_ok());
        for &asked in tiers.iter().filter(|&&other| other != tier) {
            let error = gemm(&packed, asked).unwrap_err();
            assert_eq!(error, Error::PackedFor { tier, asked });
            assert!(error.to_string().contains("repack"), "{error}");
            assert!(gemm(&packed.repack(asked).unwrap(), asked).is_ok());
        }
    }
}

/// A tier that this CPU lacks is refused wherever it is asked for, by the name of the feature.
#[test]
fn a_tier_that_is_missing_is_named() {
    let view = MatRef::row_major(&[1i8; 12], 3, 4).unwrap();
    let packed = PackedB::builder(view).tier(Tier::Portable).build().unwrap();
    let bytes = packed.to_bytes();
    let mut found = false;
    for tier in Tier::ALL {
        let Some(feature) = tier.missing_feature() else { continue };
        found = true;
        let want = Error::Tier(TierError::Missing { tier, feature });
        assert!(want.to_string().contains(feature));
        assert_eq!(PackedB::builder(view).tier(tier).build().unwrap_err(), want);
        assert_eq!(PackedB::loader(&bytes).tier(tier).load().unwrap_err(), want);
        assert_eq!(packed.repack(tier).unwrap_err(), want);
    }
    if !found {
        announce(format_args!("SKIPPED a_tier_that_is_missing_is_named: this CPU runs all tiers"));
    }
}

/// Small files with schedules of several kinds, and one without any.
fn small_files() -> Vec<Vec<u8>> {
    let rng = &mut Rng::new(11);
    let mut files = Vec::new();
    for (k, n, groups, values) in [
        (9, 5, 1, Values::Outliers(30.0)),
        (40, 1, 1, Values::Uniform),
        (13, 2, 2, Values::Gaussian(30.0)),
        (34, 3, 1, Values::Int4),
        (0, 3, 1, Values::Min),
        (7, 0, 1, Values::Min),
    ] {
        let mut weights = Weights::<i8>::plain(rng, k, n, values);
        weights.groups = groups;
        weights.kc = Some(16);
        weights.zero_points = Params::Column((0..n as i32).collect());
        files.push(weights.pack(Tier::Portable).to_bytes());
    }
    let b = [1u8, 2, 253, 4, 5, 6, 0, 8];
    let scaled = PackedB::builder(MatRef::row_major(&b, 2, 4).unwrap()).zero_points(PerColumn::Tensor(128));
    files.push(scaled.scales(PerColumn::Column(&[0.5; 4])).tier(Tier::Portable).build().unwrap().to_bytes());
    files
}

#[test]
fn every_damaged_byte_is_an_error() {
    for file in small_files() {
        let mut damaged = file.clone();
        for place in 0..file.len() {
            for change in 1..=255 {
                damaged[place] = file[place] ^ change;
                assert!(PackedB::from_bytes(&damaged).is_err(), "byte {place} changed by {change:#x}");
            }
            damaged[place] = file[place];
        }
    }
}

/// Bytes that are changed on purpose: an error, or weights that products are right for.
#[test]
fn every_byte_with_a_right_checksum() {
    let rng = &mut Rng::new(seed());
    let (mut accepted, mut refused) = (0, 0);
    for file in small_files() {
        for place in 0..file.len() - 8 {
            for change in 1..=255u8 {
                let mut made_up = file.clone();
                made_up[place] ^= change;
                seal(&mut made_up);
                match load(&made_up) {
                    Err(_) => refused += 1,
                    Ok(loaded) => {
                        accepted += 1;
                        check_products(rng, &loaded, &zero_points(&made_up))
                            .unwrap_or_else(|e| panic!("byte {place} changed by {change:#x}: {e}"));
                    }
                }
            }
        }
    }
    assert!(accepted > 1000 && refused > 1000, "{accepted} accepted, {refused} refused");
}

/// Several changes to the parts that steer loading, in larger files of all kinds.
#[test]
fn random_changes_with_a_right_checksum() {
    let rng = &mut Rng::new(seed());
    let mut accepted = 0;
    for _ in 0..400 {
        let mut weights = random_weights::<i8>(rng);
        while weights.b.rows * weights.b.cols > 3000 {
            weights = random_weights(rng);
        }
        let file = weights.pack(Tier::Portable).to_bytes();
        for _ in 0..20 {
            let mut made_up = file.clone();
            let steering = schedule_start(&file)..file.len() - 8;
            for _ in 0..1 + rng.below(3) {
                let within =
                    if steering.is_empty() || rng.one_in(8) { at::SIGNED..file.len() - 8 } else { steering.clone() };
                let place = within.start + rng.below(within.len());
                made_up[place] = match rng.below(3) {
                    0 => rng.bits() as u8,
                    1 => made_up[place] ^ 1 << rng.below(8),
                    _ => file[within.start + rng.below(within.len())],
                };
            }
            seal(&mut made_up);
            let Ok(loaded) = load(&made_up) else { continue };
            accepted += usize::from(made_up != file);
            check_products(rng, &loaded, &zero_points(&made_up))
                .unwrap_or_else(|e| panic!("{e}\n{}", weights.describe()));
        }
    }
    assert!(accepted > 50, "{accepted} accepted");
}

#[test]
fn every_truncation_is_an_error() {
    for file in small_files() {
        for len in 0..file.len() {
            let error = PackedB::from_bytes(&file[..len]).unwrap_err();
            assert!(matches!(error, Error::Truncated { .. }), "{len} of {} bytes: {error}", file.len());
        }
        // Content is missing, but length and checksum say that it is all.
        for len in at::SIGNED + 8..file.len() {
            let mut made_up = file[..len].to_vec();
            seal(&mut made_up);
            assert!(PackedB::from_bytes(&made_up).is_err(), "{len} of {} bytes", file.len());
        }
        let mut longer = file.clone();
        longer.push(0);
        assert!(matches!(PackedB::from_bytes(&longer), Err(Error::Inconsistent { .. })));
        seal(&mut longer);
        assert!(matches!(PackedB::from_bytes(&longer), Err(Error::Inconsistent { .. })));
    }
}

#[test]
fn other_bytes_and_other_versions_are_named() {
    let file = small_files().swap_remove(0);
    let mut other = file.clone();
    other[0] = b'P';
    assert!(matches!(PackedB::from_bytes(&other), Err(Error::NotWeights { given }) if given[0] == b'P'));
    let error = PackedB::from_bytes(b"RIFF").unwrap_err();
    assert!(matches!(error, Error::NotWeights { .. }) && error.to_string().contains("[52, 49, 46, 46"), "{error}");
    assert!(matches!(PackedB::from_bytes(&[]), Err(Error::Truncated { .. })));
    for version in [0, 2, u32::MAX] {
        let mut other = file.clone();
        other[at::VERSION..at::VERSION + 4].copy_from_slice(&version.to_le_bytes());
        seal(&mut other);
        assert_eq!(PackedB::from_bytes(&other).unwrap_err(), Error::Version { newest: 1, given: version });
    }
}

/// Sizes that no memory has room for, or that contradict the rest.
#[test]
fn made_up_headers() {
    for file in small_files() {
        for (place, values) in [
            (at::K, &[0, 1, 1 << 20, 1 << 40, 1 << 62, u64::MAX][..]),
            (at::N, &[0, 1, 1 << 20, 1 << 40, 1 << 62, u64::MAX]),
            (at::GROUPS, &[0, 2, 5, 1 << 20, 1 << 40, 1 << 62, u64::MAX]),
            (at::KC, &[0, 1, 1 << 20, 1 << 40, 1 << 62, u64::MAX]),
        ] {
            for &value in values {
                let mut made_up = file.clone();
                set_size(&mut made_up, place, value);
                seal(&mut made_up);
                if let Ok(loaded) = PackedB::from_bytes(&made_up) {
                    let depth = loaded.k().checked_mul(loaded.n()).unwrap();
                    assert!(depth <= file.len() && loaded.size_in_bytes() < 1 << 16, "{place}: {value}");
                }
            }
        }
        for (place, bad) in [
            (at::SIGNED, 2),
            (at::ZERO_POINTS_ARE, 3),
            (at::ZERO_POINTS_ARE, 255),
            (at::SCALES_ARE, 3),
            (at::HAS_SCHEDULE, 2),
            (at::RESERVED, 1),
        ] {
            let mut made_up = file.clone();
            made_up[place] = bad;
            seal(&mut made_up);
            assert!(PackedB::from_bytes(&made_up).is_err(), "byte {place}: {bad}");
        }
    }
}

/// Weights of no columns have any depth, and no more memory for it.
#[test]
fn depth_without_columns() {
    let b = MatRef::row_major(&[0i8; 0], 1 << 40, 0).unwrap();
    let packed = PackedB::builder(b).kc(1).build().unwrap();
    assert!(packed.size_in_bytes() < 1000);
    assert_eq!(PackedB::from_bytes(&packed.to_bytes()).unwrap(), packed);
}

#[test]
fn column_sums_are_verified() {
    let mut file = PackedB::new(MatRef::row_major(&[3i8, 4, 5, 6], 2, 2).unwrap()).unwrap().to_bytes();
    let sums = at::ZERO_POINTS + 4;
    assert_eq!(file[sums..sums + 8], [8, 0, 0, 0, 10, 0, 0, 0]);
    file[sums + 4] = 11;
    seal(&mut file);
    let what = "sum of a column";
    assert_eq!(PackedB::from_bytes(&file).unwrap_err(), Error::Inconsistent { what, expected: 10, given: 11 });
}

/// A schedule by hand: its fixed part, and blocks of groups by section.
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
    /// One block of K elements: groups of sum8, sum4, sum3, sum2, narrow, shuffled, wide, split, and what is placed.
    fn one_block(k: u32, reads: u8, groups: [u16; 8], placed: &[u16]) -> Made {
        let blocks = [&groups[..], placed].concat();
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

/// Weights of four steps in one panel, each safe alone and in any pairing, but hardly together.
fn four_steps() -> (PackedB, Vec<u8>) {
    let b: Vec<i8> = (0..16 * 8).map(|i| if i % 3 == 0 { -60 } else { 64 - i as i8 % 5 }).collect();
    let packed = PackedB::builder(MatRef::row_major(&b, 16, 8).unwrap()).tier(Tier::Portable).build().unwrap();
    let file = packed.to_bytes();
    (packed, file)
}

#[test]
fn schedules_made_by_hand_give_right_products() {
    let rng = &mut Rng::new(seed());
    let (packed, file) = four_steps();
    for (reads, groups, placed) in [
        (IN_PLACE, [0, 0, 0, 0, 4, 0, 0, 0], [0, 1, 2, 3]),
        (IN_PLACE, [0, 0, 0, 0, 4, 0, 0, 0], [3, 1, 0, 2]),
        (FROM_PLANES, [0, 0, 0, 0, 4, 0, 0, 0], [0, 1, CROSS | 2, 3]),
        (FROM_PLANES, [0, 0, 0, 0, 2, 0, 2, 0], [3, CROSS | 1, EVEN, EVEN | 2]),
        (FROM_PLANES, [0, 0, 0, 0, 0, 0, 4, 0], [EVEN, EVEN | 1, EVEN | 2, EVEN | 3]),
        (IN_PLACE, [0, 0, 0, 0, 0, 2, 0, 2], [CROSS | 3, CROSS, 1, 2]),
        (IN_PLACE, [0, 0, 0, 0, 0, 0, 0, 4], [0, 1, 2, 3]),
    ] {
        let made_up = Made::one_block(16, reads, groups, &placed).put_into(&file);
        for tier in tiers() {
            let loaded = PackedB::loader(&made_up).tier(tier).load().unwrap_or_else(|e| panic!("{groups:?}: {e}"));
            check_products(rng, &loaded, &Params::Tensor(0)).unwrap_or_else(|e| panic!("{groups:?}: {e}"));
            let reads_planes = placed.iter().any(|&p| p >= CROSS) && reads == FROM_PLANES;
            // All natural: such planes are read in place, and stored so.
            assert_eq!(loaded.to_bytes() == made_up, reads_planes || reads == IN_PLACE, "{groups:?} {placed:?}");
            assert_eq!(loaded.repack(Tier::Portable).unwrap(), packed);
        }
    }
}

#[test]
fn hostile_schedules_are_errors() {
    let (_, file) = four_steps();
    let narrow = Made::one_block(16, IN_PLACE, [0, 0, 0, 0, 4, 0, 0, 0], &[0, 1, 2, 3]);
    assert!(load(&narrow.put_into(&file)).is_ok());
    let one = |reads, groups, placed: &[u16]| Made::one_block(16, reads, groups, placed);
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
    for form in [[2, 1, 8], [1, 2, 8], [1, 1, 16], [0, 0, 0], [255, 255, 255]] {
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

/// Version 1 as it was first written.
#[rustfmt::skip]
const VERSION_1: &[u8] = &[
    // magic
    0x89, 0x67, 0x65, 0x6d, 0x6d, 0x69, 0x6c, 0x6c,
    // version
    0x01, 0x00, 0x00, 0x00,
    // length
    0xcc, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    // codes
    0x00, 0xc8, 0x01, 0x01, 0x02, 0x01, 0x01, 0x00,
    // K, N, groups, kc
    0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    // zero points
    0x80, 0x00, 0x00, 0x00, 0x80, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00,
    // scales
    0x00, 0x00, 0x00, 0x3f, 0x00, 0x00, 0x00, 0x3e,
    // column sums
    0x50, 0x04, 0x00, 0x00, 0x55, 0x04, 0x00, 0x00, 0x5a, 0x04, 0x00, 0x00, 0x5f, 0x04, 0x00, 0x00,
    // weights
    0x00, 0x1d, 0x3a, 0x57, 0x74, 0x91, 0xae, 0xcb, 0xe8, 0x05, 0x22, 0x3f, 0x5c, 0x79, 0x96, 0xb3,
    0xd0, 0xed, 0x0a, 0x27, 0x44, 0x61, 0x7e, 0x9b, 0xb8, 0xd5, 0xf2, 0x0f, 0x2c, 0x49, 0x66, 0x83,
    0xa0, 0xbd, 0xda, 0xf7,
    // schedule
    0x01, 0x02, 0x08, 0x00, 0x01, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x28, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00,
    // checksum
    0xad, 0x1b, 0x39, 0x30, 0xde, 0xc6, 0x3a, 0xe6,
];

#[test]
fn version_1_stays_readable() {
    let b: Vec<u8> = (0..9 * 4).map(|i| (i * 29 % 256) as u8).collect();
    let view = MatRef::row_major(&b, 9, 4).unwrap();
    let builder = PackedB::builder(view).groups(2).zero_points(PerColumn::Group(&[128, 5])).activation_max(200).kc(64);
    let packed = builder.scales(PerColumn::Group(&[0.5, 0.125])).tier(Tier::Portable).build().unwrap();
    assert_eq!(load(VERSION_1).unwrap(), packed);
    assert_eq!(packed.to_bytes(), VERSION_1);
    // What the header says, by the format's table.
    assert_eq!(VERSION_1[..8], *b"\x89gemmill");
    assert_eq!([at::K, at::N, at::GROUPS, at::KC].map(|place| size_at(VERSION_1, place)), [9, 4, 2, 64]);
    let (content, sum) = VERSION_1.split_last_chunk::<8>().unwrap();
    assert_eq!(checksum(content).to_le_bytes(), *sum);
    for tier in tiers() {
        assert_eq!(PackedB::loader(VERSION_1).tier(tier).load().unwrap().scales(), packed.scales());
    }
}
