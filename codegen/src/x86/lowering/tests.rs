//! What a tier cannot do makes generation fail, in every build.

use super::*;
use crate::x86::asm::Gpr;
use crate::x86::avx2::Avx2;
use crate::x86::avx512::Avx512;

const V: Vector = Vector(0);
const MEM: Mem = Mem { base: Gpr::Rax, index: None, disp: 0 };

/// What a lowering is asked for, and why it refuses.
type Case<L> = (fn(&mut L), &'static str);

fn are_refused<L: Lowering>(new: impl Fn() -> L, cases: &[Case<L>]) {
    for (n, (emit, why)) in cases.iter().enumerate() {
        let mut low = new();
        emit(&mut low);
        low.leave();
        match low.finish() {
            Err(CodegenError::Assemble(found)) => assert_eq!(found, *why, "case {n}"),
            Err(other) => panic!("case {n}: {other}"),
            Ok(code) => panic!("case {n}: {:02x?}, expected {why}", code.bytes),
        }
    }
}

#[test]
fn what_256_bits_do_not_have() {
    let cases: &[Case<Avx2>] = &[
        (|low| low.dot(V, V, V.into()), "the tier has no 32-bit dot products"),
        (|low| low.exchange_halves(V, V, V), NOT_IN_256_BITS),
        (|low| low.prepare_pairs(), NOT_IN_256_BITS),
        (|low| low.load_even_pairs(V, MEM, None), NOT_IN_256_BITS),
        (|low| low.load_odd_pairs(V, MEM, None), NOT_IN_256_BITS),
        (|low| low.dot_bf16(V, V, V.into()), NOT_IN_256_BITS),
        (|low| low.tile(TileOp::Release), NOT_IN_256_BITS),
        (|low| low.zero(Vector(16)), "vpxor: register 16 in ModRM.reg: expected 0 to 15"),
        (|low| low.part(V, V, 0), "part 0 of a vector: expected 1 to 1"),
        (|low| low.part(V, V, 2), "part 2 of a vector: expected 1 to 1"),
        (|low| low.load_first(V, V, MEM, 9), "the first 9 lanes: expected at most 8"),
        (|low| low.load_first16(V, MEM, 9), "the first 9 lanes: expected at most 8"),
        (|low| low.store_first(MEM, V, 9), "20 bytes from 0: expected at most 16, from 0 or 8"),
        (|low| low.store_first16(MEM, V, 9), "18 bytes from 0: expected at most 16, from 0 or 8"),
        (|low| low.store_bytes(MEM, V, 4, 4), "4 bytes from 4: expected at most 16, from 0 or 8"),
        (|low| low.store_bytes(MEM, V, 8, 9), "9 bytes from 8: expected at most 16, from 0 or 8"),
        (
            |low| low.load(V, MEM.offset(1 << 31).into()),
            "vmovdqu: displacement 2147483648: expected a number of 32 bits",
        ),
    ];
    are_refused(|| Avx2::new(None), cases);
}

#[test]
fn what_512_bits_do_not_have() {
    let cases: &[Case<Avx512>] = &[
        (|low| low.op(Op::HorizontalAddI32, V, V, V.into()), "vphaddd: has no form of 512 bits"),
        (|low| low.zero(Vector(32)), "vpxord: register 32 in ModRM.reg: expected 0 to 31"),
        (|low| low.part(V, V, 4), "part 4 of a vector: expected 1 to 3"),
        (|low| low.load_first(V, V, MEM, 17), "the first 17 lanes: expected at most 16"),
        (|low| low.load_first16(V, MEM, 17), "the first 17 lanes: expected at most 16"),
        (|low| low.store_first(MEM, V, 32), "the first 32 lanes: expected at most 16"),
        (|low| low.store_first16(MEM, V, 17), "the first 17 lanes: expected at most 16"),
        (|low| low.store_bytes(MEM, V, 0, 17), "the first 17 lanes: expected at most 16"),
        (|low| low.store_bytes(MEM, V, 8, 4), "bytes from 8: expected 0 in vectors of 512 bits"),
        (|low| low.tile(TileOp::Zero(Tile(8))), "tilezero: register 8 in ModRM.reg: expected 0 to 7"),
        (
            |low| low.tile(TileOp::Dot { sums: Tile(0), a: Tile(1), b: Tile(1), activations: Byte::U8 }),
            "tdpbusd: takes three different tiles",
        ),
    ];
    are_refused(Avx512::new, cases);
}

/// Constants of bf16 that are not given are the ones that [`Lowering::bf16_constants`] would give.
#[test]
fn constants_of_bf16_need_not_be_given() {
    fn code<L: Lowering>(mut low: L, given: bool) -> Vec<u8> {
        let constants = if given { low.bf16_constants() } else { [None; 2] };
        low.even_bf16(V, MEM.into(), constants[0]);
        low.odd_bf16(V, MEM.into(), constants[1]);
        low.finish().unwrap().bytes
    }
    assert_eq!(code(Avx2::new(None), true), code(Avx2::new(None), false));
    assert_eq!(code(Avx512::new(), true), code(Avx512::new(), false));
}
