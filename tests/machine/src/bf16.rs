//! Dot products of bf16, as the SDM's pseudo-code of `vdpbf16ps` and `tdpbf16ps` has them: chains of fused
//! multiplications in f32, to nearest even, with subnormal numbers zero as operands and as results.

/// The pair in a dword: the element of the lower half, and that of the upper half.
fn pair(dword: u32) -> [f32; 2] {
    [f32::from_bits(dword << 16), f32::from_bits(dword & 0xffff_0000)]
}

fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0f32.copysign(x) } else { x }
}

/// `a × b + sum` of numbers that are not subnormal.
///
/// Whether a result is too small is decided as everywhere on x86: by what rounding would give if exponents had no
/// bounds (SDM volume 1, "Numeric Underflow Exception").
fn multiply_add(a: f32, b: f32, sum: f32) -> f32 {
    let result = a.mul_add(b, sum);
    if result.is_nan() || result.abs() > f32::MIN_POSITIVE {
        return result;
    }
    // Exact in f64, since all operands are normal; then rounded to f32 where that is far from subnormal.
    let scaled = (f64::from(a) * f64::from(b) + f64::from(sum)) * 2f64.powi(100);
    if (scaled as f32).abs() < 2f32.powi(-126 + 100) { 0f32.copysign(result) } else { result }
}

/// One lane of `vdpbf16ps`: the upper elements first. The bits of a NaN are those of the first operand that is one, in
/// the order of the SDM's table of priorities.
pub(crate) fn dot_pair(sum: u32, a: u32, b: u32) -> u32 {
    let ([a0, a1], [b0, b1]) = (pair(a).map(flush), pair(b).map(flush));
    let result = multiply_add(a0, b0, multiply_add(a1, b1, flush(f32::from_bits(sum))));
    if !result.is_nan() {
        return result.to_bits();
    }
    match [a0, b0, a1, b1, f32::from_bits(sum)].into_iter().find(|x| x.is_nan()) {
        Some(nan) => nan.to_bits() | 0x0040_0000,
        None => 0xffc0_0000,
    }
}

/// One sum of `tdpbf16ps`. Even and odd elements are summed apart, each in one chain from zero; then one to the other,
/// and both to the old sum.
pub(crate) fn dot_tile(sum: f32, quads: impl Iterator<Item = ([u8; 4], [u8; 4])>) -> f32 {
    let (mut even, mut odd) = (0.0f32, 0.0f32);
    for (left, right) in quads {
        let [l, r] = [left, right].map(|quad| pair(u32::from_le_bytes(quad)).map(flush));
        even = multiply_add(l[0], r[0], even);
        odd = multiply_add(l[1], r[1], odd);
    }
    // Sums of two normal numbers are exact where they are subnormal.
    flush(flush(sum) + flush(even + odd))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dword(low: f32, high: f32) -> u32 {
        assert!(low.to_bits() & 0xffff == 0 && high.to_bits() & 0xffff == 0, "{low} or {high} is no bf16 number");
        low.to_bits() >> 16 | high.to_bits()
    }

    fn dot(sum: f32, a: [f32; 2], b: [f32; 2]) -> f32 {
        f32::from_bits(dot_pair(sum.to_bits(), dword(a[0], a[1]), dword(b[0], b[1])))
    }

    #[test]
    fn upper_elements_come_first() {
        let big = 2f32.powi(24);
        assert_eq!(dot(big, [1.0, -big], [1.0, 1.0]), 1.0);
        assert_eq!(dot(big, [-big, 1.0], [1.0, 1.0]), 0.0);
    }

    #[test]
    fn too_small_is_zero() {
        let least = f32::MIN_POSITIVE;
        let subnormal = f32::from_bits(0x0001_0000);
        assert_eq!(dot(0.0, [subnormal, 0.0], [2f32.powi(120), 0.0]), 0.0);
        assert_eq!(dot(f32::from_bits(1), [0.0; 2], [0.0; 2]), 0.0);
        assert_eq!(dot(1.5 * least, [-least, 0.0], [1.0, 0.0]).to_bits(), 0);
        assert_eq!(dot(-1.5 * least, [least, 0.0], [1.0, 0.0]).to_bits(), 1 << 31);
        // Half of the last bit below the smallest normal number rounds to it, more does not.
        let x = 2f32.powi(-75);
        assert_eq!(dot(least, [-x, 0.0], [x / 2.0, 0.0]), least);
        assert_eq!(dot(least, [-x, 0.0], [0.75 * x, 0.0]), 0.0);
        // Each of the two products is rounded for itself.
        assert_eq!(dot(least, [-x, -x], [x / 2.0, x / 4.0]), least);
    }

    #[test]
    fn nans_have_priorities() {
        let (low, high) = (0x7fc1_0000u32, 0x7fc2_0000u32);
        let one = dword(1.0, 1.0);
        assert_eq!(dot_pair(0x7fc0_0003, high | low >> 16, one), low);
        assert_eq!(dot_pair(0x7fc0_0003, high | 0x3f80, one), high);
        assert_eq!(dot_pair(0x7fc0_0003, one, one), 0x7fc0_0003);
        assert_eq!(dot_pair(0, 0x3f80_7f80, 0x3f80_0000), 0xffc0_0000);
    }
}
