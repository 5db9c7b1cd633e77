//! Lanes in other places: shuffles, permutations, packing, broadcasts, parts of vectors.

use bytemuck::Pod;
use iced_x86::Mnemonic;

use crate::state::Vector;
use crate::vector::{Access, Entry, Extent, Function, Layout, Sources};

/// A function that moves lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shuffle {
    /// Bytes of each 128-bit lane by indices; zero where an index has its top bit set.
    Bytes,
    /// The immediate number's order, in each 128-bit lane.
    Dwords,
    /// 32-bit lanes of the second source by the indices in the first.
    Permute32,
    /// 64-bit lanes of the second source by the indices in the first.
    Permute64,
    /// The immediate number's order, in each 256-bit lane.
    Permute64Immediate,
    /// 32-bit lanes of destination and second source by the indices in the first.
    PermuteTables32,
    /// 32-bit lanes of first and second source by the indices in the destination.
    PermuteIndices32,
    UnpackLow32,
    UnpackHigh32,
    UnpackLow64,
    UnpackHigh64,
    /// 128-bit lanes: the lower half of them from the first source, the upper half from the second.
    Lanes128,
    /// The second source and the first one above it, shifted right by 32-bit lanes.
    Align32,
    PackI32I16,
    PackI16U8,
    PackI16I8,
    /// The first bytes, again and again.
    Broadcast(u8),
    /// One part of so many bytes.
    Extract(u8),
    /// The second source in place of one part of so many bytes.
    Insert(u8),
}

impl Shuffle {
    pub(crate) fn lookup(mnemonic: Mnemonic, layout: Layout) -> Option<Entry> {
        use Access::{Active, Whole};
        use Layout::{Three, ThreeImmediate, Two, TwoImmediate};
        use Mnemonic as M;
        use Shuffle as S;
        let extract = |bytes, element| {
            let function = Function::Shuffle(S::Extract(bytes));
            Some(Entry { function, element, access: Whole, result: Extent::Fixed(bytes) })
        };
        let (function, element, access) = match (mnemonic, layout) {
            (M::Vpshufb, Three) => (S::Bytes, 1, Whole),
            (M::Vpshufd, TwoImmediate) => (S::Dwords, 4, Whole),
            (M::Vpermd, Three) => (S::Permute32, 4, Whole),
            (M::Vpermq, Three) => (S::Permute64, 8, Whole),
            (M::Vpermq, TwoImmediate) => (S::Permute64Immediate, 8, Whole),
            (M::Vpermt2d, Three) => (S::PermuteTables32, 4, Whole),
            (M::Vpermi2d, Three) => (S::PermuteIndices32, 4, Whole),
            (M::Vpunpckldq, Three) => (S::UnpackLow32, 4, Whole),
            (M::Vpunpckhdq, Three) => (S::UnpackHigh32, 4, Whole),
            (M::Vpunpcklqdq, Three) => (S::UnpackLow64, 8, Whole),
            (M::Vpunpckhqdq, Three) => (S::UnpackHigh64, 8, Whole),
            (M::Vshufi32x4, ThreeImmediate) => (S::Lanes128, 4, Whole),
            (M::Valignd, ThreeImmediate) => (S::Align32, 4, Whole),
            (M::Vpackssdw, Three) => (S::PackI32I16, 2, Whole),
            (M::Vpackuswb, Three) => (S::PackI16U8, 1, Whole),
            (M::Vpacksswb, Three) => (S::PackI16I8, 1, Whole),
            (M::Vpbroadcastb, Two) => (S::Broadcast(1), 1, Active),
            (M::Vpbroadcastw, Two) => (S::Broadcast(2), 2, Active),
            (M::Vpbroadcastd, Two) => (S::Broadcast(4), 4, Active),
            (M::Vpbroadcastq, Two) => (S::Broadcast(8), 8, Active),
            (M::Vbroadcasti128 | M::Vbroadcasti32x4, Two) => (S::Broadcast(16), 4, Active),
            (M::Vbroadcasti32x8, Two) => (S::Broadcast(32), 4, Active),
            (M::Vbroadcasti64x4, Two) => (S::Broadcast(32), 8, Active),
            (M::Vinserti128 | M::Vinserti32x4, ThreeImmediate) => (S::Insert(16), 4, Whole),
            (M::Vinserti64x4, ThreeImmediate) => (S::Insert(32), 8, Whole),
            (M::Vpinsrw, ThreeImmediate) => (S::Insert(2), 2, Whole),
            (M::Vpinsrd, ThreeImmediate) => (S::Insert(4), 4, Whole),
            (M::Vpinsrq, ThreeImmediate) => (S::Insert(8), 8, Whole),
            (M::Vextracti128 | M::Vextracti32x4, TwoImmediate) => return extract(16, 4),
            (M::Vextracti32x8, TwoImmediate) => return extract(32, 4),
            (M::Vextracti64x4, TwoImmediate) => return extract(32, 8),
            (M::Vpextrb, TwoImmediate) => return extract(1, 1),
            (M::Vpextrw, TwoImmediate) => return extract(2, 2),
            (M::Vpextrd, TwoImmediate) => return extract(4, 4),
            (M::Vpextrq, TwoImmediate) => return extract(8, 8),
            _ => return None,
        };
        Some(Entry::new(Function::Shuffle(function), element, access))
    }

    pub(crate) fn apply(self, s: &Sources) -> Vector {
        let number = usize::from(s.immediate);
        match self {
            Shuffle::Bytes => by_lane128(s, |a: [u8; 16], b: [u8; 16]| {
                b.map(|index| if index & 0x80 != 0 { 0 } else { a[usize::from(index & 15)] })
            }),
            Shuffle::Dwords => by_lane128(s, |_: [u32; 4], b: [u32; 4]| -> [u32; 4] {
                std::array::from_fn(|i| b[number >> (2 * i) & 3])
            }),
            Shuffle::Permute32 => {
                let (indices, from) = (s.a.lanes::<u32>(), s.b.lanes::<u32>());
                filled(s, |lane, lanes| from[indices[lane] as usize & (lanes - 1)])
            }
            Shuffle::Permute64 => {
                let (indices, from) = (s.a.lanes::<u64>(), s.b.lanes::<u64>());
                filled(s, |lane, lanes| from[indices[lane] as usize & (lanes - 1)])
            }
            Shuffle::Permute64Immediate => {
                let from = s.b.lanes::<u64>();
                filled(s, |lane, _| from[(lane & !3) + (number >> (2 * (lane & 3)) & 3)])
            }
            Shuffle::PermuteTables32 => two_tables(s, s.a, [s.old, s.b]),
            Shuffle::PermuteIndices32 => two_tables(s, s.old, [s.a, s.b]),
            Shuffle::UnpackLow32 => by_lane128(s, |a: [u32; 4], b: [u32; 4]| [a[0], b[0], a[1], b[1]]),
            Shuffle::UnpackHigh32 => by_lane128(s, |a: [u32; 4], b: [u32; 4]| [a[2], b[2], a[3], b[3]]),
            Shuffle::UnpackLow64 => by_lane128(s, |a: [u64; 2], b: [u64; 2]| [a[0], b[0]]),
            Shuffle::UnpackHigh64 => by_lane128(s, |a: [u64; 2], b: [u64; 2]| [a[1], b[1]]),
            Shuffle::Lanes128 => {
                let (a, b) = (s.a.lanes::<[u64; 2]>(), s.b.lanes::<[u64; 2]>());
                filled(s, |lane, lanes| {
                    let from = if lane < lanes / 2 { a } else { b };
                    from[number >> (lane * (lanes / 2)) & (lanes - 1)]
                })
            }
            Shuffle::Align32 => {
                let (a, b) = (s.a.lanes::<u32>(), s.b.lanes::<u32>());
                filled(s, |lane, lanes| {
                    let from = lane + (number & (lanes - 1));
                    if from < lanes { b[from] } else { a[from - lanes] }
                })
            }
            Shuffle::PackI32I16 => by_lane128(s, |a: [i32; 4], b: [i32; 4]| {
                pack(a, b, |x| x.clamp(i16::MIN.into(), i16::MAX.into()) as i16) as [i16; 8]
            }),
            Shuffle::PackI16U8 => {
                by_lane128(s, |a: [i16; 8], b: [i16; 8]| pack(a, b, |x| x.clamp(0, 255) as u8) as [u8; 16])
            }
            Shuffle::PackI16I8 => {
                by_lane128(s, |a: [i16; 8], b: [i16; 8]| pack(a, b, |x| x.clamp(-128, 127) as i8) as [i8; 16])
            }
            Shuffle::Broadcast(1) => broadcast::<u8>(s),
            Shuffle::Broadcast(2) => broadcast::<u16>(s),
            Shuffle::Broadcast(4) => broadcast::<u32>(s),
            Shuffle::Broadcast(8) => broadcast::<u64>(s),
            Shuffle::Broadcast(16) => broadcast::<[u64; 2]>(s),
            Shuffle::Broadcast(_) => broadcast::<[u64; 4]>(s),
            Shuffle::Extract(part) => {
                let part = usize::from(part);
                let from = number % (s.bytes / part) * part;
                let mut result = Vector::ZERO;
                result.lanes_mut::<u8>()[..part].copy_from_slice(&s.b.lanes::<u8>()[from..][..part]);
                result
            }
            Shuffle::Insert(part) => {
                let part = usize::from(part);
                let to = number % (s.bytes / part) * part;
                let mut result = crate::vector::first_bytes(s.a, s.bytes);
                result.lanes_mut::<u8>()[to..][..part].copy_from_slice(&s.b.lanes::<u8>()[..part]);
                result
            }
        }
    }
}

/// 128-bit lanes of both sources.
fn by_lane128<A: Pod, B: Pod, R: Pod>(s: &Sources, f: impl Fn(A, B) -> R) -> Vector {
    let mut result = Vector::ZERO;
    let sources = s.a.lanes::<A>().iter().zip(s.b.lanes::<B>()).take(s.bytes / 16);
    result.lanes_mut::<R>().iter_mut().zip(sources).for_each(|(to, (&a, &b))| *to = f(a, b));
    result
}

/// Each lane from its index and the number of lanes.
fn filled<L: Pod>(s: &Sources, f: impl Fn(usize, usize) -> L) -> Vector {
    let mut result = Vector::ZERO;
    let lanes = s.bytes / size_of::<L>();
    result.lanes_mut::<L>()[..lanes].iter_mut().enumerate().for_each(|(lane, to)| *to = f(lane, lanes));
    result
}

fn broadcast<L: Pod>(s: &Sources) -> Vector {
    let first = s.b.lane::<L>(0);
    filled(s, |_, _| first)
}

fn two_tables(s: &Sources, indices: &Vector, tables: [&Vector; 2]) -> Vector {
    let (indices, tables) = (indices.lanes::<u32>(), tables.map(|table| table.lanes::<u32>()));
    filled(s, |lane, lanes| {
        let index = indices[lane] as usize & (2 * lanes - 1);
        tables[index / lanes][index % lanes]
    })
}

/// Narrowed elements of the first source, then of the second.
fn pack<L: Copy, R, const N: usize, const M: usize>(a: [L; N], b: [L; N], narrow: impl Fn(L) -> R) -> [R; M] {
    std::array::from_fn(|i| narrow(if i < N { a[i] } else { b[i - N] }))
}
