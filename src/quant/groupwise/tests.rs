use proptest::prelude::*;

use super::*;
use crate::reference::groupwise::{Accumulate, quantize_rows, quantized, weight_only};

const SIZES: [GroupSize; 3] = [GroupSize::G32, GroupSize::G64, GroupSize::G128];

fn formats() -> Vec<GroupwiseFormat> {
    let kinds = [ZeroPoints::Middle, ZeroPoints::Each];
    let all = [Bits::Two, Bits::Four].into_iter().flat_map(|bits| SIZES.map(|group_size| (bits, group_size)));
    let format = |(bits, group_size)| kinds.map(|zero_points| GroupwiseFormat { bits, group_size, zero_points });
    all.flat_map(format).collect()
}

/// Numbers in -1..1 that look random.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// About normal, with a variance of 1.
fn gaussian(len: usize, seed: u64) -> Vec<f32> {
    let mut noise = noise(seed);
    (0..len).map(|_| (0..3).map(|_| noise()).sum()).collect()
}

fn view(data: &[f32], k: usize, n: usize) -> MatRef<'_, f32> {
    MatRef::row_major(data, k, n).unwrap()
}

/// The squared error of one column of one group, with importances, in f64.
fn squared_error(q: &GroupwiseWeights, w: MatRef<'_, f32>, g: usize, j: usize, importance: Option<&[f32]>) -> f64 {
    let size = q.format().group_size.elements();
    let rows = g * size..((g + 1) * size).min(q.k());
    rows.map(|k| {
        let error = f64::from(w.at(k, j)) - f64::from(q.weight(k, j).unwrap());
        importance.map_or(1.0, |all| f64::from(all[k])) * error * error
    })
    .sum()
}

/// Every weight within half a scale and what rounding the scale adds; the search never worse, group by group.
fn check_quantizers(w: MatRef<'_, f32>, format: GroupwiseFormat, importance: Option<&[f32]>) {
    let nearest = GroupwiseWeights::round_to_nearest(w, format).unwrap();
    let searched = GroupwiseWeights::search(w, format, importance).unwrap();
    let n = w.cols();
    // A bf16 is off by 2^-8 of itself at most.
    let steps = 0.5 + f64::from(format.bits.highest()) / 255.0 + 1e-6;
    for k in 0..w.rows() {
        for j in 0..n {
            let scale = nearest.scales()[k / format.group_size.elements() * n + j].to_f64();
            let (w, back) = (f64::from(w.at(k, j)), f64::from(nearest.weight(k, j).unwrap()));
            assert!((w - back).abs() <= steps * scale, "{w:e} became {back:e} by {scale:e}, {format:?}");
        }
    }
    for g in 0..nearest.groups() {
        for j in 0..n {
            let [before, after] = [&nearest, &searched].map(|q| squared_error(q, w, g, j, importance));
            assert!(after <= before * (1.0 + 1e-12), "group {g}, column {j}: {after:e} after {before:e}, {format:?}");
        }
    }
    for q in [nearest, searched] {
        let mut back = vec![0f32; w.rows() * n];
        q.dequantize(&mut MatMut::row_major(&mut back, w.rows(), n).unwrap()).unwrap();
        for (i, x) in back.iter().enumerate() {
            assert!(x.is_finite());
            assert_eq!(x.to_bits(), q.weight(i / n, i % n).unwrap().to_bits());
        }
        assert_eq!(GroupwiseWeights::from_bytes(&q.to_bytes()).unwrap(), q);
        assert_eq!(GroupwiseWeights::from_parts(q.clone().into_parts()).unwrap(), q);
    }
}

#[test]
fn every_format_and_depth() {
    for format in formats() {
        let size = format.group_size.elements();
        for k in [0, 1, 31, size - 1, size, size + 1, 2 * size, 3 * size + 17] {
            for n in [0, 1, 7, 33] {
                let w = gaussian(k * n, (k * 100 + n) as u64);
                let importance: Vec<f32> = (0..k).map(|k| (k % 5) as f32 * 0.3).collect();
                check_quantizers(view(&w, k, n), format, None);
                check_quantizers(view(&w, k, n), format, Some(&importance));
            }
        }
    }
}

#[test]
fn extreme_weights() {
    let largest = (1u128 << 127) as f32;
    let columns: [&[f32]; 12] = [
        &[largest, -largest, 0.0, 1.0],
        &[largest, largest / 2.0, 0.0, largest],
        &[-largest, 0.0, -largest, 1e30],
        &[1e38, -1e38, 3e37, -0.0],
        &[f32::from_bits(1), -f32::from_bits(1), 0.0, 0.0],
        &[1e-40, -1e-39, 1e-38, 0.0],
        &[f32::MIN_POSITIVE, 0.0, -f32::MIN_POSITIVE, 1e-38],
        &[1e-37, 3e-37, 2e-37, 1e-37],
        &[0.0, -0.0, 0.0, -0.0],
        &[5.0, 5.0, 5.0, 5.0],
        &[-1e-3, -1e-3, -1e-3, -1e-3],
        &[1e38, 1e-38, -1e-45, 1.0],
    ];
    for format in formats() {
        for column in columns {
            let w: Vec<f32> = column.iter().cycle().take(150).copied().collect();
            check_quantizers(view(&w, 150, 1), format, None);
        }
        let zeros = GroupwiseWeights::round_to_nearest(view(&[0.0; 40], 40, 1), format).unwrap();
        assert!(zeros.scales().iter().all(|&scale| scale == bf16::ONE));
        assert!((0..40).all(|k| zeros.weight(k, 0) == Some(0.0)));
        assert_eq!(zeros.values()[0], zeros.zero_point(0, 0).unwrap());
    }
}

#[test]
fn known_values() {
    let format = GroupwiseFormat { bits: Bits::Four, group_size: GroupSize::G32, zero_points: ZeroPoints::Middle };
    let w = [-4.0f32, 3.5, 0.25, 0.75, 0.0, -0.3];
    let q = GroupwiseWeights::round_to_nearest(view(&w, 6, 1), format).unwrap();
    assert_eq!((q.scales(), q.values()), (&[bf16::from_f32(0.5)][..], &[0u8, 15, 8, 10, 8, 7][..]));
    assert_eq!(
        (q.zero_points(), q.zero_point(0, 0), q.zero_point(1, 0), q.zero_point(0, 1)),
        (None, Some(8), None, None)
    );
    let each = GroupwiseFormat { zero_points: ZeroPoints::Each, ..format };
    let q = GroupwiseWeights::round_to_nearest(view(&[-1.0, 6.5, 2.2, 0.0], 4, 1), each).unwrap();
    assert_eq!((q.scales()[0].to_f32(), q.zero_points(), q.values()), (0.5, Some(&[2u8][..]), &[0u8, 15, 6, 2][..]));
    assert_eq!((q.weight(4, 0), q.weight(0, 1)), (None, None));
    assert_eq!((q.k(), q.n(), q.groups(), q.format()), (4, 1, 1, each));
}

/// Where it matters: normal weights in 2 bits lose a third of their squared error at least, in 4 bits a twentieth.
#[test]
fn the_search_pays() {
    let w = gaussian(512 * 16, 3);
    for format in formats().into_iter().filter(|f| f.group_size == GroupSize::G128) {
        let w = view(&w, 512, 16);
        let before = GroupwiseWeights::round_to_nearest(w, format).unwrap().error(w).unwrap();
        let after = GroupwiseWeights::search(w, format, None).unwrap().error(w).unwrap();
        let share = if format.bits == Bits::Two { 0.67 } else { 0.95 };
        assert!(after.mean_squared <= share * before.mean_squared, "{format:?}: {before:?}, {after:?}");
        let variance = 1.0;
        let expected = if format.bits == Bits::Two { 0.13 } else { 0.014 };
        assert!(after.mean_squared < expected * variance, "{format:?}: {after:?}");
    }
}

#[test]
fn importance_moves_the_scale() {
    let format = GroupwiseFormat { bits: Bits::Two, group_size: GroupSize::G32, zero_points: ZeroPoints::Middle };
    let w: Vec<f32> = (0..32).map(|k| if k == 0 { -8.0 } else { 0.9 }).collect();
    let error = |importance: &[f32], k: usize| {
        let q = GroupwiseWeights::search(view(&w, 32, 1), format, Some(importance)).unwrap();
        (q.weight(k, 0).unwrap() - w[k]).abs()
    };
    let mut first = [0f32; 32];
    first[0] = 1.0;
    let mut others = [1f32; 32];
    others[0] = 0.0;
    assert!(error(&first, 0) < 0.05 && error(&others, 1) < 0.15);
    assert!(error(&first, 1) > 0.5 && error(&others, 0) > 4.0);
}

#[test]
fn strides_and_threads_make_no_difference() {
    let (k, n) = (200, 24);
    let w = gaussian(k * n, 9);
    let transposed: Vec<f32> = (0..n).flat_map(|j| (0..k).map(move |i| (i, j))).map(|(i, j)| w[i * n + j]).collect();
    for format in formats() {
        let columns = MatRef::col_major(&transposed, k, n).unwrap();
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let want = one.install(|| GroupwiseWeights::search(view(&w, k, n), format, None).unwrap());
        assert_eq!(GroupwiseWeights::search(columns, format, None).unwrap(), want);
        let nearest = GroupwiseWeights::round_to_nearest(view(&w, k, n), format).unwrap();
        assert_eq!(GroupwiseWeights::round_to_nearest(columns, format).unwrap(), nearest);
        let mut wide = vec![7f32; k * (n + 3)];
        want.dequantize(&mut MatMut::with_row_stride(&mut wide, k, n, n + 3).unwrap()).unwrap();
        for (i, row) in wide.chunks_exact(n + 3).enumerate() {
            assert!((0..n).all(|j| Some(row[j]) == want.weight(i, j)) && row[n..] == [7.0; 3]);
        }
    }
}

#[test]
fn bad_weights_are_refused() {
    let [format, ..] = formats()[..] else { panic!("no formats") };
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1.8e38] {
        let mut w = vec![1f32; 300];
        w[299] = bad;
        for result in [
            GroupwiseWeights::round_to_nearest(view(&w, 100, 3), format),
            GroupwiseWeights::search(view(&w, 100, 3), format, None),
        ] {
            assert!(matches!(result, Err(Error::BadNumber { what: "weight", .. })), "{bad}");
        }
    }
    let w = view(&[1.0; 6], 3, 2);
    assert!(matches!(GroupwiseWeights::search(w, format, Some(&[1.0; 2])), Err(Error::Mismatch { expected: 3, .. })));
    for bad in [-1.0, f32::NAN, f32::INFINITY] {
        let result = GroupwiseWeights::search(w, format, Some(&[1.0, bad, 1.0]));
        assert!(matches!(result, Err(Error::BadNumber { .. })), "{bad}");
    }
    for (rows, cols) in [(usize::MAX, usize::MAX), (usize::MAX, 1), (1, usize::MAX)] {
        let strides = [0, 0];
        let endless = MatRef::with_strides(&[1f32], rows, cols, strides[0], strides[1]).unwrap();
        let result = GroupwiseWeights::round_to_nearest(endless, format);
        assert!(matches!(result, Err(Error::Overflow { .. })), "{rows} x {cols}");
    }
    let empty = MatRef::with_strides(&[], usize::MAX, 0, 0, 0).unwrap();
    let q = GroupwiseWeights::round_to_nearest(empty, format).unwrap();
    assert_eq!(GroupwiseWeights::from_bytes(&q.to_bytes()).unwrap().k(), usize::MAX);
    let q = GroupwiseWeights::round_to_nearest(w, format).unwrap();
    assert!(q.dequantize(&mut MatMut::row_major(&mut [0.0; 6], 2, 3).unwrap()).is_err());
    assert!(q.error(view(&[0.0; 6], 2, 3)).is_err());
}

/// However wide or deep: without elements there is nothing to hold in memory.
#[test]
fn shapes_without_elements() {
    for format in formats() {
        for (k, n) in [(0, 0), (0, usize::MAX), (usize::MAX, 0)] {
            let q = GroupwiseWeights::round_to_nearest(MatRef::with_strides(&[], k, n, 0, 0).unwrap(), format).unwrap();
            let none = MatRef::with_strides(&[], k, n, 0, 0).unwrap();
            assert_eq!(GroupwiseWeights::search(none, format, (k == 0).then_some(&[])).unwrap(), q);
            q.dequantize(&mut MatMut::row_major(&mut [], k, n).unwrap()).unwrap();
            assert_eq!(q.error(none).unwrap(), GroupwiseError { max: 0.0, mean_squared: 0.0 });
            assert_eq!(GroupwiseWeights::from_bytes(&q.to_bytes()).unwrap(), q);
            assert_eq!(crate::PackedGroupwise::new(&q).unwrap().size_in_bytes(), 0);
        }
    }
}

/// An error that is none is no small one.
#[test]
fn errors_against_nan() {
    let [format, ..] = formats()[..] else { panic!("no formats") };
    let q = GroupwiseWeights::round_to_nearest(view(&[1.0; 3], 3, 1), format).unwrap();
    let error = q.error(view(&[1.0, f32::NAN, 1.5], 3, 1)).unwrap();
    assert!(error.max.is_nan() && error.mean_squared.is_nan());
    assert_eq!(q.error(view(&[1.0, f32::INFINITY, 1.5], 3, 1)).unwrap().max, f64::INFINITY);
}

#[test]
fn parts_are_checked() {
    let format = GroupwiseFormat { bits: Bits::Four, group_size: GroupSize::G32, zero_points: ZeroPoints::Each };
    let w = gaussian(40 * 3, 1);
    let good = GroupwiseWeights::round_to_nearest(view(&w, 40, 3), format).unwrap().into_parts();
    let refused = |change: &dyn Fn(&mut GroupwiseParts)| {
        let mut parts = good.clone();
        change(&mut parts);
        GroupwiseWeights::from_parts(parts).unwrap_err()
    };
    assert!(matches!(refused(&|p| p.k = 41), Error::Mismatch { what: "stored weights", .. }));
    assert!(matches!(refused(&|p| p.n = usize::MAX), Error::Overflow { .. }));
    assert!(matches!(refused(&|p| _ = p.scales.pop()), Error::Mismatch { what: "scales", .. }));
    assert!(matches!(refused(&|p| p.zero_points.push(0)), Error::Mismatch { what: "zero points", .. }));
    assert!(matches!(
        refused(&|p| p.format.zero_points = ZeroPoints::Middle),
        Error::Mismatch { what: "zero points", expected: 0, given: 6 }
    ));
    assert!(matches!(refused(&|p| p.values[119] = 16), Error::OutOfRange { what: "stored weight", given: 16, .. }));
    assert!(matches!(refused(&|p| p.zero_points[5] = 255), Error::OutOfRange { what: "zero point", given: 255, .. }));
    assert!(matches!(refused(&|p| p.format.bits = Bits::Two), Error::OutOfRange { high: 3, .. }));
    for bad in [bf16::ZERO, bf16::NEG_ZERO, bf16::NEG_ONE, bf16::NAN, bf16::INFINITY, bf16::MAX] {
        assert!(matches!(refused(&|p| p.scales[3] = bad), Error::BadNumber { .. }), "{bad}");
    }
    let mut smallest = good.clone();
    smallest.scales[0] = bf16::from_bits(1);
    assert!(GroupwiseWeights::from_parts(smallest).is_ok());
}

/// Every truncation and every changed bit is an error; content that was made up is one where it has to be.
#[test]
fn damaged_bytes_are_refused() {
    let format = GroupwiseFormat { bits: Bits::Two, group_size: GroupSize::G32, zero_points: ZeroPoints::Each };
    let w = gaussian(37 * 3, 5);
    let bytes = GroupwiseWeights::search(view(&w, 37, 3), format, None).unwrap().to_bytes();
    assert_eq!(bytes.len(), 20 + 20 + 6 * 2 + 2 + 28 + 8);
    for len in 0..bytes.len() {
        assert!(GroupwiseWeights::from_bytes(&bytes[..len]).is_err(), "{len} bytes");
    }
    for bit in 0..8 * bytes.len() {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let error = GroupwiseWeights::from_bytes(&changed).unwrap_err();
        match bit / 8 {
            0..8 => assert!(matches!(error, Error::NotGroupwiseWeights { .. }), "{error}"),
            8..12 => assert!(matches!(error, Error::Version { newest: 1, .. }), "{error}"),
            12..20 => assert!(matches!(error, Error::Truncated { .. } | Error::Inconsistent { .. }), "{error}"),
            _ => assert!(matches!(error, Error::Checksum { .. }), "{error}"),
        }
    }
    let made_up = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut content = bytes[20..bytes.len() - 8].to_vec();
        change(&mut content);
        GroupwiseWeights::from_bytes(&bytes::seal(&content))
    };
    assert!(made_up(&|_| ()).is_ok());
    assert!(matches!(made_up(&|c| c[0] = 3), Err(Error::OutOfRange { what: "bits of a weight", .. })));
    assert!(matches!(made_up(&|c| c[0] = 4), Err(Error::Truncated { .. })));
    assert!(matches!(made_up(&|c| c[1] = 2), Err(Error::OutOfRange { .. })));
    assert!(matches!(made_up(&|c| c[2] = 33), Err(Error::OutOfRange { what: "group size", .. })));
    assert!(matches!(made_up(&|c| c[11] = 0x80), Err(Error::Truncated { what: "scales", .. })));
    assert!(matches!(made_up(&|c| c[19] = 0x80), Err(Error::Overflow { .. })));
    assert!(matches!(made_up(&|c| c[9] = 1), Err(Error::Truncated { .. })));
    assert!(matches!(made_up(&|c| c.push(0)), Err(Error::Inconsistent { .. })));
    assert!(matches!(made_up(&|c| *c.last_mut().unwrap() |= 0xc0), Err(Error::Inconsistent { .. })));
    assert!(matches!(made_up(&|c| c[33] |= 0xf0), Err(Error::Inconsistent { .. })));
    assert!(matches!(made_up(&|c| c[20..22].fill(0)), Err(Error::BadNumber { .. })));
    let packed = crate::PackedB::new(MatRef::row_major(&[1i8; 4], 2, 2).unwrap()).unwrap().to_bytes();
    assert!(matches!(GroupwiseWeights::from_bytes(&packed), Err(Error::NotGroupwiseWeights { .. })));
    assert!(matches!(crate::PackedB::from_bytes(&bytes), Err(Error::NotWeights { .. })));
}

/// The reference of products against sums in f64.
#[test]
fn products_are_near_those_in_f64() {
    let (m, k, n) = (3, 150, 5);
    let (a, w) = (gaussian(m * k, 11), gaussian(k * n, 12));
    let (a, bias) = (view(&a, m, k), [0.5f32, -1.0, 2.0, 0.0, 3.0]);
    let start = vec![2f32; m * n];
    for format in formats() {
        let b = GroupwiseWeights::search(view(&w, k, n), format, None).unwrap();
        let plain = weight_only(a, &b, None);
        let started = weight_only(a, &b, Some(Accumulate { beta: 0.5, c: view(&start, m, n) }));
        let unread = Accumulate { beta: 0.0, c: view(&[f32::NAN; 15], m, n) };
        assert_eq!(weight_only(a, &b, Some(unread)), plain);
        let (qa, params) = quantize_rows(a).unwrap();
        let bytes = MatRef::row_major(&qa, m, k).unwrap();
        let (without, with) = (quantized(bytes, &params, &b, None), quantized(bytes, &params, &b, Some(&bias)));
        for i in 0..m {
            for (j, &bias) in bias.iter().enumerate() {
                let weight = |k| f64::from(b.weight(k, j).unwrap());
                let exact: f64 = (0..k).map(|k| f64::from(a.at(i, k)) * weight(k)).sum();
                let integer = |k| f64::from(i32::from(qa[i * a.cols() + k]));
                let rounded: f64 = (0..k).map(|k| f64::from(params[i]) * integer(k) * weight(k)).sum();
                let place = i * n + j;
                let near = |x: f32, want: f64| assert!((f64::from(x) - want).abs() < 1e-4, "{x} {want} {format:?}");
                near(plain[place], exact);
                near(started[place], exact + 1.0);
                near(without[place], rounded);
                near(with[place], rounded + f64::from(bias));
            }
        }
    }
    assert!(quantize_rows(view(&[f32::INFINITY], 1, 1)).is_err());
    assert_eq!(quantize_rows(view(&[f32::NAN], 1, 1)).unwrap().0, [0]);
}

fn cases() -> impl Strategy<Value = (Vec<f32>, usize, usize, GroupwiseFormat, bool)> {
    let weight = prop_oneof![
        4 => -2f32..2.0,
        1 => any::<f32>().prop_filter("usable", |w| w.abs() <= 1.7e38),
        1 => Just(0f32),
        1 => -1e-38f32..1e-38,
    ];
    (0usize..=140, 0usize..=5, 0usize..12, any::<bool>()).prop_flat_map(move |(k, n, format, with_importance)| {
        let weights = proptest::collection::vec(weight.clone(), k * n);
        (weights, Just(k), Just(n), Just(formats()[format]), Just(with_importance))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn quantizers_keep_their_bounds((w, k, n, format, with_importance) in cases()) {
        let importance: Vec<f32> = (0..k).map(|k| (k * k % 7) as f32).collect();
        check_quantizers(view(&w, k, n), format, with_importance.then_some(&importance[..]));
    }

    #[test]
    fn made_up_content_gives_no_panic(content in proptest::collection::vec(any::<u8>(), 0..80), head in 0usize..12) {
        let format = formats()[head];
        let mut bytes = vec![format.bits.count() as u8, u8::from(format.zero_points == ZeroPoints::Each)];
        bytes.extend((format.group_size.elements() as u16).to_le_bytes());
        bytes.extend([3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(content);
        if let Ok(q) = GroupwiseWeights::from_bytes(&bytes::seal(&bytes)) {
            prop_assert_eq!((q.k(), q.n()), (3, 2));
            prop_assert!((0..6).all(|i| q.weight(i / 2, i % 2).unwrap().is_finite()));
        }
    }
}
