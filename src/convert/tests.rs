use gemmill_codegen::Caches;

use super::*;

/// Fills `dst` by a conversion of slices and compares it bit by bit with two conversions of elements: the reference and
/// the crate `half`.
struct Check<S, D> {
    name: &'static str,
    slices: fn(&[S], &mut [D]) -> Result<()>,
    reference: fn(S) -> D,
    peer: fn(S) -> D,
}

impl<S: Copy + std::fmt::Debug, D: bytemuck::Pod + std::fmt::Debug> Check<S, D> {
    fn run(&self, src: &[S]) {
        let mut dst = vec![D::zeroed(); src.len()];
        (self.slices)(src, &mut dst).unwrap();
        let bits = |x: &D| bytemuck::bytes_of(x).to_vec();
        for (&s, d) in src.iter().zip(&dst) {
            let (r, p) = ((self.reference)(s), (self.peer)(s));
            if bytemuck::bytes_of(&r) != bytemuck::bytes_of(d) || bytemuck::bytes_of(&p) != bytemuck::bytes_of(d) {
                panic!("{}: {s:?} gave {:x?}, reference {:x?}, half {:x?}", self.name, bits(d), bits(&r), bits(&p));
            }
        }
    }
}

const TO_F16: Check<f32, f16> =
    Check { name: "f32_to_f16", slices: f32_to_f16, reference: reference::f32_to_f16, peer: f16::from_f32 };
const TO_F16_SATURATING: Check<f32, f16> = Check {
    name: "f32_to_f16_saturating",
    slices: f32_to_f16_saturating,
    reference: reference::f32_to_f16_saturating,
    peer: |x| {
        let converted = f16::from_f32(x);
        if converted.is_infinite() { f16::MAX.copysign(converted) } else { converted }
    },
};
const FROM_F16: Check<f16, f32> =
    Check { name: "f16_to_f32", slices: f16_to_f32, reference: reference::f16_to_f32, peer: f16::to_f32 };
const TO_BF16: Check<f32, bf16> =
    Check { name: "f32_to_bf16", slices: f32_to_bf16, reference: reference::f32_to_bf16, peer: bf16::from_f32 };
const TO_BF16_SATURATING: Check<f32, bf16> = Check {
    name: "f32_to_bf16_saturating",
    slices: f32_to_bf16_saturating,
    reference: reference::f32_to_bf16_saturating,
    peer: |x| {
        let converted = bf16::from_f32(x);
        if converted.is_infinite() { bf16::MAX.copysign(converted) } else { converted }
    },
};
const FROM_BF16: Check<bf16, f32> =
    Check { name: "bf16_to_f32", slices: bf16_to_f32, reference: reference::bf16_to_f32, peer: bf16::to_f32 };

fn check_from_f32(src: &[f32]) {
    TO_F16.run(src);
    TO_F16_SATURATING.run(src);
    TO_BF16.run(src);
    TO_BF16_SATURATING.run(src);
}

#[test]
fn every_half_goes_up() {
    let all = || 0..=u16::MAX;
    FROM_F16.run(&all().map(f16::from_bits).collect::<Vec<_>>());
    FROM_BF16.run(&all().map(bf16::from_bits).collect::<Vec<_>>());
}

/// What is a number comes back as it was; a NaN comes back quiet.
#[test]
fn up_and_down_is_the_identity() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    let mut single = vec![0f32; all.len()];
    let (mut halves, mut brains) = (vec![f16::ZERO; all.len()], vec![bf16::ZERO; all.len()]);
    f16_to_f32(bytemuck::cast_slice(&all), &mut single).unwrap();
    f32_to_f16(&single, &mut halves).unwrap();
    for (&before, after) in all.iter().zip(&halves) {
        let quiet = if f16::from_bits(before).is_nan() { 1 << 9 } else { 0 };
        assert_eq!(after.to_bits(), before | quiet);
    }
    bf16_to_f32(bytemuck::cast_slice(&all), &mut single).unwrap();
    f32_to_bf16(&single, &mut brains).unwrap();
    for (&before, after) in all.iter().zip(&brains) {
        let quiet = if bf16::from_bits(before).is_nan() { 1 << 6 } else { 0 };
        assert_eq!(after.to_bits(), before | quiet);
    }
}

/// Every sign and exponent, with the fractions around which rounding changes: of every number of bits, a bit and its
/// neighbours in every place, all upper bits with every pattern of the lower ones that matters.
#[test]
fn every_exponent_goes_down() {
    let mut fractions = vec![0u32, 0x7f_ffff];
    for bit in 0..23 {
        let one = 1u32 << bit;
        fractions.extend([one, one - 1, one + 1, 0x80_0000 - one, 0x7f_ffff - one, one | one >> 1, one | 1 << 22]);
        // One bit kept with all others: ties to even and to odd neighbours.
        for kept in bit..23 {
            fractions.extend([1 << kept | one, (1 << kept | one) - 1, (1 << kept | one) + 1]);
        }
    }
    for upper in 0..1u32 << 11 {
        fractions.extend([upper << 12, upper << 12 | 1, (upper << 12).wrapping_sub(1)]);
    }
    fractions.iter_mut().for_each(|f| *f &= 0x7f_ffff);
    fractions.sort_unstable();
    fractions.dedup();
    for upper in 0..512u32 {
        let src: Vec<f32> = fractions.iter().map(|f| f32::from_bits(upper << 23 | f)).collect();
        check_from_f32(&src);
    }
}

/// All 2^32 patterns if `GEMMILL_TEST_LONG` is set and not 0; otherwise one in 65521 of them.
#[test]
fn every_f32_goes_down() {
    let long = std::env::var("GEMMILL_TEST_LONG").is_ok_and(|text| text != "0");
    if !long {
        let patterns: Vec<f32> = (0..=u32::MAX).step_by(65_521).map(f32::from_bits).collect();
        eprintln!("SKIPPED all but {} patterns of f32: GEMMILL_TEST_LONG is not set", patterns.len());
        return check_from_f32(&patterns);
    }
    use rayon::prelude::*;
    (0..1u32 << 12).into_par_iter().for_each(|upper| {
        check_from_f32(&(0..1 << 20).map(|lower| f32::from_bits(upper << 20 | lower)).collect::<Vec<_>>());
    });
}

/// Every length and alignment, with elements around the destination that must stay.
#[test]
fn slices_of_every_length() {
    let numbers: Vec<f32> = (0..200).map(|i| (i as f32 - 90.0) * 1.37e3 + 0.1).collect();
    for len in 0..80 {
        for start in 0..17 {
            let src = &numbers[start..start + len];
            let mut halves = vec![f16::NAN; start + len + 1];
            f32_to_f16(src, &mut halves[start..start + len]).unwrap();
            let mut brains = vec![bf16::NAN; start + len + 1];
            f32_to_bf16(src, &mut brains[start..start + len]).unwrap();
            let mut back = vec![f32::NAN; start + len + 1];
            bf16_to_f32(&brains[start..start + len], &mut back[start..start + len]).unwrap();
            for (i, &x) in src.iter().enumerate() {
                assert_eq!(halves[start + i], f16::from_f32(x));
                assert_eq!(brains[start + i], bf16::from_f32(x));
                assert_eq!(back[start + i], bf16::from_f32(x).to_f32());
            }
            assert!(halves[..start].iter().all(|x| x.is_nan()) && halves[start + len].is_nan());
            assert!(brains[..start].iter().all(|x| x.is_nan()) && brains[start + len].is_nan());
            assert!(back[..start].iter().all(|x| x.is_nan()) && back[start + len].is_nan());
        }
    }
}

/// Slices that are written past the caches, from an address that is no multiple of a vector.
#[test]
fn slices_larger_than_caches() {
    let len = Caches::of_this_cpu().l3 / 6 + 1000;
    let brains: Vec<bf16> = (0..len).map(|i| bf16::from_bits(((i * 40_503) >> 3) as u16)).collect();
    let mut single = vec![0f32; len + 1];
    bf16_to_f32(&brains, &mut single[1..]).unwrap();
    assert_eq!(single[0], 0.0);
    assert!(brains.iter().zip(&single[1..]).all(|(b, s)| b.to_f32().to_bits() == s.to_bits()));
    let mut down = vec![bf16::ZERO; len + 1];
    f32_to_bf16(&single[1..], &mut down[1..]).unwrap();
    assert_eq!(down[0], bf16::ZERO);
    assert!(single[1..].iter().zip(&down[1..]).all(|(s, d)| bf16::from_f32(*s).to_bits() == d.to_bits()));
}

#[test]
fn lengths_must_agree() {
    let error = f32_to_f16(&[1.0; 3], &mut [f16::ZERO; 2]).unwrap_err();
    assert_eq!(error.to_string(), "length of the destination against the source: expected 3, given 2");
    let mut untouched = [bf16::ONE; 4];
    assert!(f32_to_bf16(&[2.0; 3], &mut untouched).is_err());
    assert!(f32_to_bf16_saturating(&[2.0; 5], &mut untouched).is_err());
    assert_eq!(untouched, [bf16::ONE; 4]);
    assert!(bf16_to_f32(&untouched, &mut [0.0; 3]).is_err());
    assert!(f16_to_f32(&[f16::ONE], &mut []).is_err());
    assert!(f32_to_f16_saturating(&[], &mut [f16::ONE]).is_err());
}

/// What runs on CPUs without AVX-512, in case this one has it.
#[cfg(target_arch = "x86_64")]
#[test]
fn without_avx512() {
    let src: Vec<f32> = (0..=u32::MAX).step_by(9973).map(f32::from_bits).collect();
    let mut dst = vec![bf16::ZERO; src.len()];
    if !vector::avx2::f32_to_bf16(&src, &mut dst) {
        eprintln!("SKIPPED conversions with AVX2, which this CPU lacks");
        return;
    }
    assert!(src.iter().zip(&dst).all(|(&s, d)| bf16::from_f32(s).to_bits() == d.to_bits()));
    assert!(vector::avx2::f32_to_bf16_saturating(&src, &mut dst));
    let saturated = |s: f32| reference::f32_to_bf16_saturating(s).to_bits();
    assert!(src.iter().zip(&dst).all(|(&s, d)| saturated(s) == d.to_bits()));
    let halves: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    let brains: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
    let mut single = vec![0f32; halves.len()];
    assert!(vector::avx2::f16_to_f32(&halves, &mut single));
    assert!(halves.iter().zip(&single).all(|(h, s)| h.to_f32().to_bits() == s.to_bits()));
    assert!(vector::avx2::bf16_to_f32(&brains, &mut single));
    assert!(brains.iter().zip(&single).all(|(b, s)| b.to_f32().to_bits() == s.to_bits()));
}

/// What runs on CPUs without AVX2.
#[test]
fn plain_loops_convert_every_element() {
    let src: Vec<f32> = (0..=u32::MAX).step_by(10_000_019).map(f32::from_bits).collect();
    let mut dst = vec![f16::ZERO; src.len()];
    plain(&src, &mut dst, reference::f32_to_f16);
    assert!(src.iter().zip(&dst).all(|(&s, d)| f16::from_f32(s).to_bits() == d.to_bits()));
}
