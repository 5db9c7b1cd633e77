//! The instructions that [`Assembler::emit`](super::Assembler::emit) knows, one line each.
//!
//! Columns: name in Rust, name in assembly, encoding, prefix, opcode map, W, opcode; what the fields ModRM.reg, vvvv
//! and ModRM.rm hold; whether ModRM.rm is a register or memory; the immediate byte; how much memory is touched (and
//! whether an element may be broadcast); widths; feature.
//! Opcodes and roles: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2.
//!
//! There is a line for what lowerings emit, and for nothing else: what is tested here is what kernels are made of.

use super::instruction::Access::{self, Read, Update, Write};
use super::instruction::Class::{self, Gpr32, HalfVector, Memory, Opmask, Tile, Vector, Xmm, Ymm};
use super::instruction::Encoding::{Evex, Vex};
use super::instruction::Field::{self, Digit, Unused};
use super::instruction::Map::{M0F, M0F3A, M0F38};
use super::instruction::Prefix::{None as NP, P66, PF2, PF3};
use super::instruction::Tuple::{Fixed, Full32, FullMem, HalfMem, Unscaled};
use super::instruction::W::{W0, W1};
use super::instruction::{Forms, Immediate, Instruction, Widths};
use crate::x86::features::Features;

const XYZ: Widths = Widths(0b111);
const XY: Widths = Widths(0b011);
const YZ: Widths = Widths(0b110);
const Z: Widths = Widths(0b100);
/// 128 bits, or no vectors and the width bit 0.
const X: Widths = Widths(0b001);
/// 256 bits, or no vectors and the width bit 1.
const Y: Widths = Widths(0b010);

const REG: Forms = Forms::Register;
const MEM: Forms = Forms::Memory;
const ANY: Forms = Forms::Both;
const SIB: Forms = Forms::Sib;

const IMM: Immediate = Immediate::Byte;
const NO: Immediate = Immediate::None;

const fn field(access: Access, class: Class) -> Field {
    Field::Operand(access, class)
}

/// Read.
const RV: Field = field(Read, Vector);
const RH: Field = field(Read, HalfVector);
const RX: Field = field(Read, Xmm);
const RY: Field = field(Read, Ymm);
const RT: Field = field(Read, Tile);
const RD: Field = field(Read, Gpr32);
const RM: Field = field(Read, Memory);
/// Written.
const WV: Field = field(Write, Vector);
const WH: Field = field(Write, HalfVector);
const WX: Field = field(Write, Xmm);
const WY: Field = field(Write, Ymm);
const WK: Field = field(Write, Opmask);
const WT: Field = field(Write, Tile);
const WM: Field = field(Write, Memory);
/// Read and written.
const UV: Field = field(Update, Vector);
const UT: Field = field(Update, Tile);
/// No operand.
const NF: Field = Unused;
const D0: Field = Digit(0);
const D2: Field = Digit(2);
const D6: Field = Digit(6);

macro_rules! instructions {
    ($($constant:ident $name:literal $encoding:ident $prefix:ident $map:ident $w:ident $opcode:literal
       $reg:ident $vvvv:ident $rm:ident $forms:ident $immediate:ident $tuple:expr, $widths:ident $feature:ident;)*) => {
        $(pub(crate) static $constant: Instruction = Instruction {
            name: $name,
            encoding: $encoding,
            prefix: $prefix,
            map: $map,
            w: $w,
            opcode: $opcode,
            reg: $reg,
            vvvv: $vvvv,
            rm: $rm,
            forms: $forms,
            immediate: $immediate,
            tuple: $tuple,
            widths: $widths,
            feature: Features::$feature,
            registers: [$reg.registers($encoding), $vvvv.registers($encoding), $rm.registers($encoding)],
        };)*

        /// All lines of the table, with their names in Rust.
        #[cfg(any(test, feature = "inspect"))]
        pub(crate) static ALL: &[(&str, &Instruction)] = &[$((stringify!($constant), &$constant)),*];
    };
}

instructions! {
    // Moves.
    VMOVDQU8_STORE    "vmovdqu8"       Evex PF2 M0F   W0 0x7F RV NF WV ANY NO  FullMem,    XYZ AVX512BW;
    VMOVDQU16         "vmovdqu16"      Evex PF2 M0F   W1 0x6F WV NF RV ANY NO  FullMem,    XYZ AVX512BW;
    VMOVDQU16_STORE   "vmovdqu16"      Evex PF2 M0F   W1 0x7F RV NF WV ANY NO  FullMem,    XYZ AVX512BW;
    VMOVDQU32         "vmovdqu32"      Evex PF3 M0F   W0 0x6F WV NF RV ANY NO  FullMem,    XYZ AVX512F;
    VMOVDQU32_STORE   "vmovdqu32"      Evex PF3 M0F   W0 0x7F RV NF WV ANY NO  FullMem,    XYZ AVX512F;

    // One element, or a part of a vector, repeated.
    VPBROADCASTB      "vpbroadcastb"   Evex P66 M0F38 W0 0x78 WV NF RX ANY NO  Fixed(1),   XYZ AVX512BW;
    VPBROADCASTW      "vpbroadcastw"   Evex P66 M0F38 W0 0x79 WV NF RX ANY NO  Fixed(2),   XYZ AVX512BW;
    VPBROADCASTD      "vpbroadcastd"   Evex P66 M0F38 W0 0x58 WV NF RX ANY NO  Fixed(4),   XYZ AVX512F;
    VPBROADCASTQ      "vpbroadcastq"   Evex P66 M0F38 W1 0x59 WV NF RX ANY NO  Fixed(8),   XYZ AVX512F;

    // Parts of vectors.
    VEXTRACTI32X4     "vextracti32x4"  Evex P66 M0F3A W0 0x39 RV NF WX ANY IMM Fixed(16),  YZ  AVX512F;
    VEXTRACTI64X4     "vextracti64x4"  Evex P66 M0F3A W1 0x3B RV NF WY ANY IMM Fixed(32),  Z   AVX512F;
    VINSERTI64X4      "vinserti64x4"   Evex P66 M0F3A W1 0x3A WV RV RY ANY IMM Fixed(32),  Z   AVX512F;

    // Logic.
    VPANDD            "vpandd"         Evex P66 M0F   W0 0xDB WV RV RV ANY NO  Full32,     XYZ AVX512F;
    VPORD             "vpord"          Evex P66 M0F   W0 0xEB WV RV RV ANY NO  Full32,     XYZ AVX512F;
    VPXORD            "vpxord"         Evex P66 M0F   W0 0xEF WV RV RV ANY NO  Full32,     XYZ AVX512F;
    VPTERNLOGD        "vpternlogd"     Evex P66 M0F3A W0 0x25 UV RV RV ANY IMM Full32,     XYZ AVX512F;

    // Integer arithmetic.
    VPADDW            "vpaddw"         Evex P66 M0F   W0 0xFD WV RV RV ANY NO  FullMem,    XYZ AVX512BW;
    VPADDSW           "vpaddsw"        Evex P66 M0F   W0 0xED WV RV RV ANY NO  FullMem,    XYZ AVX512BW;
    VPADDD            "vpaddd"         Evex P66 M0F   W0 0xFE WV RV RV ANY NO  Full32,     XYZ AVX512F;
    VPMULLD           "vpmulld"        Evex P66 M0F38 W0 0x40 WV RV RV ANY NO  Full32,     XYZ AVX512F;
    VPMADDUBSW        "vpmaddubsw"     Evex P66 M0F38 W0 0x04 WV RV RV ANY NO  FullMem,    XYZ AVX512BW;
    VPMADDWD          "vpmaddwd"       Evex P66 M0F   W0 0xF5 WV RV RV ANY NO  FullMem,    XYZ AVX512BW;
    VPDPBUSD          "vpdpbusd"       Evex P66 M0F38 W0 0x50 UV RV RV ANY NO  Full32,     XYZ AVX512_VNNI;
    VPMAXUB           "vpmaxub"        Evex P66 M0F   W0 0xDE WV RV RV ANY NO  FullMem,    XYZ AVX512BW;
    VPMINUB           "vpminub"        Evex P66 M0F   W0 0xDA WV RV RV ANY NO  FullMem,    XYZ AVX512BW;
    VPMAXSB           "vpmaxsb"        Evex P66 M0F38 W0 0x3C WV RV RV ANY NO  FullMem,    XYZ AVX512BW;
    VPMINSB           "vpminsb"        Evex P66 M0F38 W0 0x38 WV RV RV ANY NO  FullMem,    XYZ AVX512BW;
    VPMINSD           "vpminsd"        Evex P66 M0F38 W0 0x39 WV RV RV ANY NO  Full32,     XYZ AVX512F;

    // Shifts by a constant.
    VPSRLW_IMM        "vpsrlw"         Evex P66 M0F   W0 0x71 D2 WV RV ANY IMM FullMem,    XYZ AVX512BW;
    VPSRLD_IMM        "vpsrld"         Evex P66 M0F   W0 0x72 D2 WV RV ANY IMM Full32,     XYZ AVX512F;
    VPSLLD_IMM        "vpslld"         Evex P66 M0F   W0 0x72 D6 WV RV ANY IMM Full32,     XYZ AVX512F;

    // Rearrangements.
    VPSHUFB           "vpshufb"        Evex P66 M0F38 W0 0x00 WV RV RV ANY NO  FullMem,    XYZ AVX512BW;
    VPERMD            "vpermd"         Evex P66 M0F38 W0 0x36 WV RV RV ANY NO  Full32,     YZ  AVX512F;
    VSHUFI32X4        "vshufi32x4"     Evex P66 M0F3A W0 0x43 WV RV RV ANY IMM Full32,     YZ  AVX512F;

    // Narrower and wider integers.
    VPACKSSDW         "vpackssdw"      Evex P66 M0F   W0 0x6B WV RV RV ANY NO  Full32,     XYZ AVX512BW;
    VPACKUSWB         "vpackuswb"      Evex P66 M0F   W0 0x67 WV RV RV ANY NO  FullMem,    XYZ AVX512BW;
    VPACKSSWB         "vpacksswb"      Evex P66 M0F   W0 0x63 WV RV RV ANY NO  FullMem,    XYZ AVX512BW;
    VPMOVZXWD         "vpmovzxwd"      Evex P66 M0F38 W0 0x33 WV NF RH ANY NO  HalfMem,    XYZ AVX512F;

    // Floating point.
    VADDPS            "vaddps"         Evex NP  M0F   W0 0x58 WV RV RV ANY NO  Full32,     XYZ AVX512F;
    VMULPS            "vmulps"         Evex NP  M0F   W0 0x59 WV RV RV ANY NO  Full32,     XYZ AVX512F;
    VDIVPS            "vdivps"         Evex NP  M0F   W0 0x5E WV RV RV ANY NO  Full32,     XYZ AVX512F;
    VMAXPS            "vmaxps"         Evex NP  M0F   W0 0x5F WV RV RV ANY NO  Full32,     XYZ AVX512F;
    VMINPS            "vminps"         Evex NP  M0F   W0 0x5D WV RV RV ANY NO  Full32,     XYZ AVX512F;
    VFMADD213PS       "vfmadd213ps"    Evex P66 M0F38 W0 0xA8 UV RV RV ANY NO  Full32,     XYZ AVX512F;
    VFMADD231PS       "vfmadd231ps"    Evex P66 M0F38 W0 0xB8 UV RV RV ANY NO  Full32,     XYZ AVX512F;
    VCVTDQ2PS         "vcvtdq2ps"      Evex NP  M0F   W0 0x5B WV NF RV ANY NO  Full32,     XYZ AVX512F;
    VCVTPS2DQ         "vcvtps2dq"      Evex P66 M0F   W0 0x5B WV NF RV ANY NO  Full32,     XYZ AVX512F;
    VCVTPH2PS         "vcvtph2ps"      Evex P66 M0F38 W0 0x13 WV NF RH ANY NO  HalfMem,    XYZ AVX512F;
    VCVTPS2PH         "vcvtps2ph"      Evex P66 M0F3A W0 0x1D RV NF WH ANY IMM HalfMem,    XYZ AVX512F;
    VDPBF16PS         "vdpbf16ps"      Evex PF3 M0F38 W0 0x52 UV RV RV ANY NO  Full32,     XYZ AVX512_BF16;

    // VEX: moves. Opcodes as above, where EVEX has the instruction too.
    VMOVDQU_VEX       "vmovdqu"        Vex  PF3 M0F   W0 0x6F WV NF RV ANY NO  FullMem,    XY  AVX;
    VMOVDQU_STORE_VEX "vmovdqu"        Vex  PF3 M0F   W0 0x7F RV NF WV ANY NO  FullMem,    XY  AVX;
    VPMASKMOVD_VEX    "vpmaskmovd"     Vex  P66 M0F38 W0 0x8C WV RV RM MEM NO  FullMem,    XY  AVX2;
    VPBROADCASTB_VEX  "vpbroadcastb"   Vex  P66 M0F38 W0 0x78 WV NF RX ANY NO  Fixed(1),   XY  AVX2;
    VPBROADCASTW_VEX  "vpbroadcastw"   Vex  P66 M0F38 W0 0x79 WV NF RX ANY NO  Fixed(2),   XY  AVX2;
    VPBROADCASTD_VEX  "vpbroadcastd"   Vex  P66 M0F38 W0 0x58 WV NF RX ANY NO  Fixed(4),   XY  AVX2;
    VPBROADCASTQ_VEX  "vpbroadcastq"   Vex  P66 M0F38 W0 0x59 WV NF RX ANY NO  Fixed(8),   XY  AVX2;

    // VEX: elements and parts.
    VMOVD_STORE_VEX   "vmovd"          Vex  P66 M0F   W0 0x7E RX NF WM MEM NO  Fixed(4),   X   AVX;
    VMOVQ_STORE_VEX   "vmovq"          Vex  P66 M0F   W0 0xD6 RX NF WM MEM NO  Fixed(8),   X   AVX;
    VPEXTRB_VEX       "vpextrb"        Vex  P66 M0F3A W0 0x14 RX NF WM MEM IMM Fixed(1),   X   AVX;
    VPEXTRW_VEX       "vpextrw"        Vex  P66 M0F3A W0 0x15 RX NF WM MEM IMM Fixed(2),   X   AVX;
    VPEXTRD_VEX       "vpextrd"        Vex  P66 M0F3A W0 0x16 RX NF WM MEM IMM Fixed(4),   X   AVX;
    VPEXTRQ_VEX       "vpextrq"        Vex  P66 M0F3A W1 0x16 RX NF WM MEM IMM Fixed(8),   X   AVX;
    VPINSRW_VEX       "vpinsrw"        Vex  P66 M0F   W0 0xC4 WX RX RM MEM IMM Fixed(2),   X   AVX;
    VPINSRD_VEX       "vpinsrd"        Vex  P66 M0F3A W0 0x22 WX RX RM MEM IMM Fixed(4),   X   AVX;
    VPINSRQ_VEX       "vpinsrq"        Vex  P66 M0F3A W1 0x22 WX RX RM MEM IMM Fixed(8),   X   AVX;
    VEXTRACTI128_VEX  "vextracti128"   Vex  P66 M0F3A W0 0x39 RV NF WX ANY IMM Fixed(16),  Y   AVX2;

    // VEX: integers.
    VPAND_VEX         "vpand"          Vex  P66 M0F   W0 0xDB WV RV RV ANY NO  FullMem,    Y   AVX2;
    VPOR_VEX          "vpor"           Vex  P66 M0F   W0 0xEB WV RV RV ANY NO  FullMem,    Y   AVX2;
    VPXOR_VEX         "vpxor"          Vex  P66 M0F   W0 0xEF WV RV RV ANY NO  FullMem,    Y   AVX2;
    VPADDW_VEX        "vpaddw"         Vex  P66 M0F   W0 0xFD WV RV RV ANY NO  FullMem,    Y   AVX2;
    VPADDSW_VEX       "vpaddsw"        Vex  P66 M0F   W0 0xED WV RV RV ANY NO  FullMem,    Y   AVX2;
    VPADDD_VEX        "vpaddd"         Vex  P66 M0F   W0 0xFE WV RV RV ANY NO  FullMem,    Y   AVX2;
    VPHADDD_VEX       "vphaddd"        Vex  P66 M0F38 W0 0x02 WV RV RV ANY NO  FullMem,    Y   AVX2;
    VPMULLD_VEX       "vpmulld"        Vex  P66 M0F38 W0 0x40 WV RV RV ANY NO  FullMem,    Y   AVX2;
    VPMADDUBSW_VEX    "vpmaddubsw"     Vex  P66 M0F38 W0 0x04 WV RV RV ANY NO  FullMem,    Y   AVX2;
    VPMADDWD_VEX      "vpmaddwd"       Vex  P66 M0F   W0 0xF5 WV RV RV ANY NO  FullMem,    Y   AVX2;
    VPMAXUB_VEX       "vpmaxub"        Vex  P66 M0F   W0 0xDE WV RV RV ANY NO  FullMem,    Y   AVX2;
    VPMINUB_VEX       "vpminub"        Vex  P66 M0F   W0 0xDA WV RV RV ANY NO  FullMem,    Y   AVX2;
    VPMAXSB_VEX       "vpmaxsb"        Vex  P66 M0F38 W0 0x3C WV RV RV ANY NO  FullMem,    Y   AVX2;
    VPMINSB_VEX       "vpminsb"        Vex  P66 M0F38 W0 0x38 WV RV RV ANY NO  FullMem,    Y   AVX2;
    VPMINSD_VEX       "vpminsd"        Vex  P66 M0F38 W0 0x39 WV RV RV ANY NO  FullMem,    Y   AVX2;
    VPACKSSDW_VEX     "vpackssdw"      Vex  P66 M0F   W0 0x6B WV RV RV ANY NO  FullMem,    Y   AVX2;
    VPACKUSWB_VEX     "vpackuswb"      Vex  P66 M0F   W0 0x67 WV RV RV ANY NO  FullMem,    Y   AVX2;
    VPACKSSWB_VEX     "vpacksswb"      Vex  P66 M0F   W0 0x63 WV RV RV ANY NO  FullMem,    Y   AVX2;
    VPSHUFB_VEX       "vpshufb"        Vex  P66 M0F38 W0 0x00 WV RV RV ANY NO  FullMem,    Y   AVX2;
    VPERMD_VEX        "vpermd"         Vex  P66 M0F38 W0 0x36 WV RV RV ANY NO  FullMem,    Y   AVX2;
    VPMOVZXWD_VEX     "vpmovzxwd"      Vex  P66 M0F38 W0 0x33 WV NF RH ANY NO  HalfMem,    Y   AVX2;
    VPSRLW_IMM_VEX    "vpsrlw"         Vex  P66 M0F   W0 0x71 D2 WV RV REG IMM Unscaled,   Y   AVX2;
    VPSRLD_IMM_VEX    "vpsrld"         Vex  P66 M0F   W0 0x72 D2 WV RV REG IMM Unscaled,   Y   AVX2;
    VPSLLD_IMM_VEX    "vpslld"         Vex  P66 M0F   W0 0x72 D6 WV RV REG IMM Unscaled,   Y   AVX2;
    VPDPBUSD_VEX      "vpdpbusd"       Vex  P66 M0F38 W0 0x50 UV RV RV ANY NO  FullMem,    XY  AVX_VNNI;

    // VEX: floating point.
    VADDPS_VEX        "vaddps"         Vex  NP  M0F   W0 0x58 WV RV RV ANY NO  FullMem,    XY  AVX;
    VMULPS_VEX        "vmulps"         Vex  NP  M0F   W0 0x59 WV RV RV ANY NO  FullMem,    XY  AVX;
    VDIVPS_VEX        "vdivps"         Vex  NP  M0F   W0 0x5E WV RV RV ANY NO  FullMem,    XY  AVX;
    VMAXPS_VEX        "vmaxps"         Vex  NP  M0F   W0 0x5F WV RV RV ANY NO  FullMem,    XY  AVX;
    VMINPS_VEX        "vminps"         Vex  NP  M0F   W0 0x5D WV RV RV ANY NO  FullMem,    XY  AVX;
    VFMADD213PS_VEX   "vfmadd213ps"    Vex  P66 M0F38 W0 0xA8 UV RV RV ANY NO  FullMem,    XY  FMA;
    VFMADD231PS_VEX   "vfmadd231ps"    Vex  P66 M0F38 W0 0xB8 UV RV RV ANY NO  FullMem,    XY  FMA;
    VCVTDQ2PS_VEX     "vcvtdq2ps"      Vex  NP  M0F   W0 0x5B WV NF RV ANY NO  FullMem,    XY  AVX;
    VCVTPS2DQ_VEX     "vcvtps2dq"      Vex  P66 M0F   W0 0x5B WV NF RV ANY NO  FullMem,    XY  AVX;
    VCVTPH2PS_VEX     "vcvtph2ps"      Vex  P66 M0F38 W0 0x13 WV NF RH ANY NO  HalfMem,    XY  F16C;
    VCVTPS2PH_VEX     "vcvtps2ph"      Vex  P66 M0F3A W0 0x1D RV NF WH ANY IMM HalfMem,    XY  F16C;

    // Opmasks.
    KMOVW_FROM_GPR    "kmovw"          Vex  NP  M0F   W0 0x92 WK NF RD REG NO  Unscaled,   X   AVX512F;
    KMOVD_FROM_GPR    "kmovd"          Vex  PF2 M0F   W0 0x92 WK NF RD REG NO  Unscaled,   X   AVX512BW;

    // AMX. Tiles of a product: `reg += rm · vvvv`.
    LDTILECFG         "ldtilecfg"      Vex  NP  M0F38 W0 0x49 D0 NF RM MEM NO  Unscaled,   X   AMX_TILE;
    TILERELEASE       "tilerelease"    Vex  NP  M0F38 W0 0x49 D0 NF NF REG NO  Unscaled,   X   AMX_TILE;
    TILEZERO          "tilezero"       Vex  PF2 M0F38 W0 0x49 WT NF NF REG NO  Unscaled,   X   AMX_TILE;
    TILELOADD         "tileloadd"      Vex  PF2 M0F38 W0 0x4B WT NF RM SIB NO  Unscaled,   X   AMX_TILE;
    TILELOADDT1       "tileloaddt1"    Vex  P66 M0F38 W0 0x4B WT NF RM SIB NO  Unscaled,   X   AMX_TILE;
    TILESTORED        "tilestored"     Vex  PF3 M0F38 W0 0x4B RT NF WM SIB NO  Unscaled,   X   AMX_TILE;
    TDPBSSD           "tdpbssd"        Vex  PF2 M0F38 W0 0x5E UT RT RT REG NO  Unscaled,   X   AMX_INT8;
    TDPBUSD           "tdpbusd"        Vex  P66 M0F38 W0 0x5E UT RT RT REG NO  Unscaled,   X   AMX_INT8;
    TDPBF16PS         "tdpbf16ps"      Vex  PF3 M0F38 W0 0x5C UT RT RT REG NO  Unscaled,   X   AMX_BF16;
}
