//! Packed weights as bytes: what is loaded is what was packed; what is damaged or made up is an error, or weights as
//! good as any.
mod common;

use common::file::{at, check_products, checksum, schedule_start, seal, set_size, size_at, zero_points};
use common::operand::{Order, Params, Stored, Weights};
use common::random::{Rng, Values};
use common::{Sample, announce, seed, share, share_of, tiers};
use gemmill::quant::QuantElement;
use gemmill::{Error, Gemm, IntOutput, MatRef, PackEffort, PackedB, PerColumn, Tier, TierError, Weight};

/// Random weights of every kind.
fn random_weights<B: Weight + QuantElement>(rng: &mut Rng) -> Weights<B> {
    let groups = rng.pick(&[1, 1, 1, 2, 3, 7]);
    let n = groups
        * match rng.below(40) {
            0 => 512 + rng.below(40),
            1..4 => rng.below(200),
            _ => rng.below(40),
        };
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
    for _ in 0..share_of(300) {
        round_trip::<i8>(rng, &tiers);
        round_trip::<u8>(rng, &tiers);
    }
}

/// Deep weights: many blocks, and the longest ones that there can be.
#[test]
fn every_cut_of_k_comes_back() {
    let (tiers, rng) = (tiers(), &mut Rng::new(seed()));
    let mut sample = Sample::new("cuts of K");
    for (k, n) in [(20_000, 3), (8192, 9), (8195, 1), (9000, 17), (16_385, 5), (33, 1), (65, 2), (10, 8), (600, 70)] {
        for kc in [None, Some(4), Some(32), Some(36), Some(100), Some(8192)] {
            if !sample.keeps() {
                continue;
            }
            let values = rng.pick(&Values::WEIGHTS);
            let mut weights = Weights::<i8>::plain(rng, k, n, values);
            weights.kc = kc;
            let tier = rng.pick(&tiers);
            let packed = weights.pack(tier);
            let loaded = load(&packed.to_bytes(), tier);
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

fn load(bytes: &[u8], tier: Tier) -> gemmill::Result<PackedB> {
    PackedB::loader(bytes).tier(tier).load()
}

/// A small file, and the tier that its weights were packed for.
struct SmallFile {
    tier: Tier,
    bytes: Vec<u8>,
}

/// Small files with schedules of several kinds, and some without any; of every tier that runs here.
fn small_files() -> Vec<SmallFile> {
    let rng = &mut Rng::new(11);
    let mut files = Vec::new();
    let mut add = |weights: &Weights<i8>, tier| files.push(SmallFile { tier, bytes: weights.pack(tier).to_bytes() });
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
        add(&weights, Tier::Portable);
    }
    for tier in tiers() {
        // Vectors of 512 bits where the tier has them.
        add(&Weights::plain(rng, 6, 17, Values::Outliers(30.0)), tier);
    }
    let b = [1u8, 2, 253, 4, 5, 6, 0, 8];
    let scaled = PackedB::builder(MatRef::row_major(&b, 2, 4).unwrap()).zero_points(PerColumn::Tensor(128));
    let scaled = scaled.scales(PerColumn::Column(&[0.5; 4])).tier(Tier::Portable).build().unwrap();
    files.push(SmallFile { tier: Tier::Portable, bytes: scaled.to_bytes() });
    files
}

#[test]
fn every_damaged_byte_is_an_error() {
    let mut sample = Sample::new("damaged bytes");
    for SmallFile { tier, bytes: file } in small_files() {
        let mut damaged = file.clone();
        for place in 0..file.len() {
            for change in (1..=255).filter(|_| sample.keeps()) {
                damaged[place] = file[place] ^ change;
                assert!(load(&damaged, tier).is_err(), "byte {place} changed by {change:#x}");
            }
            damaged[place] = file[place];
        }
    }
}

/// Bytes that are changed on purpose: an error, or weights that products are right for.
#[test]
fn every_byte_with_a_right_checksum() {
    let rng = &mut Rng::new(seed());
    let mut sample = Sample::new("bytes with a right checksum");
    let (mut accepted, mut refused) = (0, 0);
    for SmallFile { tier, bytes: file } in small_files() {
        for place in 0..file.len() - 8 {
            for change in (1..=255u8).filter(|_| sample.keeps()) {
                let mut made_up = file.clone();
                made_up[place] ^= change;
                seal(&mut made_up);
                match load(&made_up, tier) {
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
    let least = (1000.0 * share().sqrt()) as usize;
    assert!(accepted > least && refused > least, "{accepted} accepted, {refused} refused");
}

/// Several changes to the parts that steer loading, in larger files of all kinds.
#[test]
fn random_changes_with_a_right_checksum() {
    let (tiers, rng) = (tiers(), &mut Rng::new(seed()));
    let mut accepted = 0;
    for _ in 0..share_of(400) {
        let mut weights = random_weights::<i8>(rng);
        while weights.b.rows * weights.b.cols > 3000 {
            weights = random_weights(rng);
        }
        let tier = rng.pick(&tiers);
        let file = weights.pack(tier).to_bytes();
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
            let Ok(loaded) = load(&made_up, tier) else { continue };
            accepted += usize::from(made_up != file);
            check_products(rng, &loaded, &zero_points(&made_up))
                .unwrap_or_else(|e| panic!("{e}\n{}", weights.describe()));
        }
    }
    assert!(share() < 1.0 || accepted > 50, "{accepted} accepted");
}

#[test]
fn every_truncation_is_an_error() {
    for SmallFile { tier, bytes: file } in small_files() {
        for len in 0..file.len() {
            let error = load(&file[..len], tier).unwrap_err();
            assert!(matches!(error, Error::Truncated { .. }), "{len} of {} bytes: {error}", file.len());
        }
        // Content is missing, but length and checksum say that it is all.
        for len in at::SIGNED + 8..file.len() {
            let mut made_up = file[..len].to_vec();
            seal(&mut made_up);
            assert!(load(&made_up, tier).is_err(), "{len} of {} bytes", file.len());
        }
        let mut longer = file.clone();
        longer.push(0);
        assert!(matches!(load(&longer, tier), Err(Error::Inconsistent { .. })));
        seal(&mut longer);
        assert!(matches!(load(&longer, tier), Err(Error::Inconsistent { .. })));
    }
}

#[test]
fn other_bytes_and_other_versions_are_named() {
    let file = small_files().swap_remove(0).bytes;
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
    for SmallFile { tier, bytes: file } in small_files() {
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
                if let Ok(loaded) = load(&made_up, tier) {
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
            assert!(load(&made_up, tier).is_err(), "byte {place}: {bad}");
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
    assert_eq!(load(VERSION_1, Tier::Portable).unwrap(), packed);
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

/// Bytes of another kind of weights are told by name.
#[test]
fn other_kinds_of_weights_are_named() {
    use gemmill::PackedFloat;
    use gemmill::quant::{Bits, GroupSize, GroupwiseFormat, GroupwiseWeights, ZeroPoints};
    let format = GroupwiseFormat { bits: Bits::Four, group_size: GroupSize::G32, zero_points: ZeroPoints::Middle };
    let floats = MatRef::row_major(&[1f32, 2.0], 2, 1).unwrap();
    let int8 = PackedB::new(MatRef::row_major(&[1i8, 2], 2, 1).unwrap()).unwrap().to_bytes();
    let float = PackedFloat::new(floats).unwrap().to_bytes();
    let bits = GroupwiseWeights::round_to_nearest(floats, format).unwrap().to_bytes();
    let said = |error: Error| error.to_string();
    let of_int8 = "packed weights: expected those of 8 bits, given";
    assert_eq!(said(PackedB::from_bytes(&float).unwrap_err()), format!("{of_int8} floating-point weights"));
    assert_eq!(said(PackedB::from_bytes(&bits).unwrap_err()), format!("{of_int8} groupwise weights"));
    let of_float = "floating-point weights: given";
    assert_eq!(said(PackedFloat::from_bytes(&int8).unwrap_err()), format!("{of_float} packed weights of 8 bits"));
    assert_eq!(said(PackedFloat::from_bytes(&bits).unwrap_err()), format!("{of_float} groupwise weights"));
    let of_bits = "groupwise weights: given";
    assert_eq!(said(GroupwiseWeights::from_bytes(&int8).unwrap_err()), format!("{of_bits} packed weights of 8 bits"));
    assert_eq!(said(GroupwiseWeights::from_bytes(&float).unwrap_err()), format!("{of_bits} floating-point weights"));
}
