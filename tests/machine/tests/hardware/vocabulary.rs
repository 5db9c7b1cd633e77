//! What the model is meant to know.

use std::collections::BTreeSet;

use iced_x86::{Code, Mnemonic, OpCodeOperandKind};

/// Every mnemonic of the model, and no other.
pub fn mnemonics() -> BTreeSet<Mnemonic> {
    use Mnemonic::*;
    let scalar = [
        Mov,
        Movzx,
        Movsx,
        Movsxd,
        Lea,
        Add,
        Sub,
        Cmp,
        And,
        Test,
        Or,
        Xor,
        Imul,
        Inc,
        Dec,
        Neg,
        Shl,
        Shr,
        Sar,
        Push,
        Pop,
        Ret,
        Nop,
        Jmp,
        Prefetcht0,
        Prefetcht1,
        Prefetcht2,
        Prefetchnta,
        Jo,
        Jno,
        Jb,
        Jae,
        Je,
        Jne,
        Jbe,
        Ja,
        Js,
        Jns,
        Jp,
        Jnp,
        Jl,
        Jge,
        Jle,
        Jg,
    ];
    let moves = [
        Vmovdqa, Vmovdqa32, Vmovdqa64, Vmovdqu, Vmovdqu8, Vmovdqu16, Vmovdqu32, Vmovdqu64, Vmovups, Vmovd, Vmovq,
        Vpmaskmovd, Vpextrb, Vpextrw, Vpextrd, Vpextrq, Vpinsrw, Vpinsrd, Vpinsrq, Kmovw, Kmovd, Kmovq, Vzeroupper,
    ];
    let integer = [
        Vpand, Vpandd, Vpandq, Vpandn, Vpandnd, Vpandnq, Vpor, Vpord, Vporq, Vpxor, Vpxord, Vpxorq, Vpternlogd,
        Vpternlogq, Vpaddw, Vpaddsw, Vpaddd, Vpsubd, Vpmulld, Vpmaddubsw, Vpmaddwd, Vpdpbusd, Vpdpwssd, Vphaddd,
        Vpminub, Vpmaxub, Vpminsb, Vpmaxsb, Vpminsd, Vpmaxsd, Vpsllw, Vpslld, Vpsrlw, Vpsrld, Vpsraw, Vpsrad,
        Vpmovzxbw, Vpmovzxbd, Vpmovzxwd, Vpmovsxbw, Vpmovsxbd, Vpmovsxwd, Vpmovdb, Vpmovsdb, Vpmovusdb, Vpmovwb,
    ];
    let float = [
        Vaddps,
        Vsubps,
        Vmulps,
        Vdivps,
        Vmaxps,
        Vminps,
        Vfmadd132ps,
        Vfmadd213ps,
        Vfmadd231ps,
        Vdpbf16ps,
        Vcvtdq2ps,
        Vcvtps2dq,
        Vcvtph2ps,
        Vcvtps2ph,
    ];
    let shuffles = [
        Vpshufb,
        Vpshufd,
        Vpermd,
        Vpermq,
        Vpermt2d,
        Vpermi2d,
        Vpunpckldq,
        Vpunpckhdq,
        Vpunpcklqdq,
        Vpunpckhqdq,
        Vshufi32x4,
        Valignd,
        Vpackssdw,
        Vpackuswb,
        Vpacksswb,
        Vpbroadcastb,
        Vpbroadcastw,
        Vpbroadcastd,
        Vpbroadcastq,
        Vbroadcasti128,
        Vbroadcasti32x4,
        Vbroadcasti32x8,
        Vbroadcasti64x4,
        Vextracti128,
        Vextracti32x4,
        Vextracti32x8,
        Vextracti64x4,
        Vinserti128,
        Vinserti32x4,
        Vinserti64x4,
    ];
    let tiles = [
        Ldtilecfg,
        Tilerelease,
        Tilezero,
        Tileloadd,
        Tileloaddt1,
        Tilestored,
        Tdpbssd,
        Tdpbsud,
        Tdpbusd,
        Tdpbuud,
        Tdpbf16ps,
    ];
    [&scalar[..], &moves, &integer, &float, &shuffles, &tiles].into_iter().flatten().copied().collect()
}

/// Whether an opcode of these mnemonics has operands that the test cannot make: segment registers, absolute addresses
/// of 64 bits, branches of 16 bits. The test of faults shows that the model refuses them.
pub fn is_left_out(code: Code) -> bool {
    use OpCodeOperandKind as K;
    let unusual = |&kind: &K| matches!(kind, K::seg_reg | K::fs | K::gs | K::mem_offs | K::br16_1 | K::br16_2);
    code.op_code().op_kinds().iter().any(unusual) || matches!(code, Code::Retnw | Code::Retnw_imm16 | Code::Jmp_rm16)
}
