#!/usr/bin/env python3
"""Makes llvm_table.txt, encodings by LLVM's assembler that the tests of the encoder compare with.

    llvm_table.py [path of llvm-mc]

Below stands what LLVM is asked to assemble: name in table.rs, mnemonic, widths, and the operands in the order of Intel's
syntax, each as FIELD=CLASS. Classes of FIELD rm may be alternatives: registers before the bar, memory behind it.
    v, h, q, x, y   vector of the instruction's width, half, a quarter, 128 bits, 256 bits
    k, t, d, g      opmask, tile, 32-bit and 64-bit general-purpose register
    v4, v8          memory: a vector, or a broadcast element of 4 or 8 bytes
    1 to 32         memory: so many bytes;  m: memory without a size;  sib: memory with an index
"""

import random
import re
import subprocess
import sys
from pathlib import Path

INSTRUCTIONS = """
VMOVDQU8_STORE   vmovdqu8        XYZ rm=v|v reg=v
VMOVDQU16        vmovdqu16       XYZ reg=v rm=v|v
VMOVDQU16_STORE  vmovdqu16       XYZ rm=v|v reg=v
VMOVDQU32        vmovdqu32       XYZ reg=v rm=v|v
VMOVDQU32_STORE  vmovdqu32       XYZ rm=v|v reg=v
VPBROADCASTB     vpbroadcastb    XYZ reg=v rm=x|1
VPBROADCASTW     vpbroadcastw    XYZ reg=v rm=x|2
VPBROADCASTD     vpbroadcastd    XYZ reg=v rm=x|4
VPBROADCASTQ     vpbroadcastq    XYZ reg=v rm=x|8
VEXTRACTI32X4    vextracti32x4   YZ  rm=x|16 reg=v imm
VEXTRACTI64X4    vextracti64x4   Z   rm=y|32 reg=v imm
VINSERTI64X4     vinserti64x4    Z   reg=v vvvv=v rm=y|32 imm
VPANDD           vpandd          XYZ reg=v vvvv=v rm=v|v4
VPORD            vpord           XYZ reg=v vvvv=v rm=v|v4
VPXORD           vpxord          XYZ reg=v vvvv=v rm=v|v4
VPTERNLOGD       vpternlogd      XYZ reg=v vvvv=v rm=v|v4 imm
VPADDW           vpaddw          XYZ reg=v vvvv=v rm=v|v
VPADDSW          vpaddsw         XYZ reg=v vvvv=v rm=v|v
VPADDD           vpaddd          XYZ reg=v vvvv=v rm=v|v4
VPMULLD          vpmulld         XYZ reg=v vvvv=v rm=v|v4
VPMADDUBSW       vpmaddubsw      XYZ reg=v vvvv=v rm=v|v
VPMADDWD         vpmaddwd        XYZ reg=v vvvv=v rm=v|v
VPDPBUSD         vpdpbusd        XYZ reg=v vvvv=v rm=v|v4
VPMAXUB          vpmaxub         XYZ reg=v vvvv=v rm=v|v
VPMINUB          vpminub         XYZ reg=v vvvv=v rm=v|v
VPMAXSB          vpmaxsb         XYZ reg=v vvvv=v rm=v|v
VPMINSB          vpminsb         XYZ reg=v vvvv=v rm=v|v
VPMINSD          vpminsd         XYZ reg=v vvvv=v rm=v|v4
VPSRLW_IMM       vpsrlw          XYZ vvvv=v rm=v|v imm
VPSRLD_IMM       vpsrld          XYZ vvvv=v rm=v|v4 imm
VPSLLD_IMM       vpslld          XYZ vvvv=v rm=v|v4 imm
VPSHUFB          vpshufb         XYZ reg=v vvvv=v rm=v|v
VPERMD           vpermd          YZ  reg=v vvvv=v rm=v|v4
VSHUFI32X4       vshufi32x4      YZ  reg=v vvvv=v rm=v|v4 imm
VPACKSSDW        vpackssdw       XYZ reg=v vvvv=v rm=v|v4
VPACKUSWB        vpackuswb       XYZ reg=v vvvv=v rm=v|v
VPACKSSWB        vpacksswb       XYZ reg=v vvvv=v rm=v|v
VPMOVZXWD        vpmovzxwd       XYZ reg=v rm=h|h
VADDPS           vaddps          XYZ reg=v vvvv=v rm=v|v4
VMULPS           vmulps          XYZ reg=v vvvv=v rm=v|v4
VDIVPS           vdivps          XYZ reg=v vvvv=v rm=v|v4
VMAXPS           vmaxps          XYZ reg=v vvvv=v rm=v|v4
VMINPS           vminps          XYZ reg=v vvvv=v rm=v|v4
VFMADD213PS      vfmadd213ps     XYZ reg=v vvvv=v rm=v|v4
VFMADD231PS      vfmadd231ps     XYZ reg=v vvvv=v rm=v|v4
VCVTDQ2PS        vcvtdq2ps       XYZ reg=v rm=v|v4
VCVTPS2DQ        vcvtps2dq       XYZ reg=v rm=v|v4
VCVTPH2PS        vcvtph2ps       XYZ reg=v rm=h|h
VCVTPS2PH        vcvtps2ph       XYZ rm=h|h reg=v imm
VDPBF16PS        vdpbf16ps       XYZ reg=v vvvv=v rm=v|v4
VMOVDQU_VEX       vmovdqu         XY  reg=v rm=v|v
VMOVDQU_STORE_VEX vmovdqu         XY  rm=v|v reg=v
VPMASKMOVD_VEX    vpmaskmovd      XY  reg=v vvvv=v rm=|v
VPBROADCASTB_VEX  vpbroadcastb    XY  reg=v rm=x|1
VPBROADCASTW_VEX  vpbroadcastw    XY  reg=v rm=x|2
VPBROADCASTD_VEX  vpbroadcastd    XY  reg=v rm=x|4
VPBROADCASTQ_VEX  vpbroadcastq    XY  reg=v rm=x|8
VMOVD_STORE_VEX   vmovd           X   rm=|4 reg=x
VMOVQ_STORE_VEX   vmovq           X   rm=|8 reg=x
VPEXTRB_VEX       vpextrb         X   rm=|1 reg=x imm
VPEXTRW_VEX       vpextrw         X   rm=|2 reg=x imm
VPEXTRD_VEX       vpextrd         X   rm=|4 reg=x imm
VPEXTRQ_VEX       vpextrq         X   rm=|8 reg=x imm
VPINSRW_VEX       vpinsrw         X   reg=x vvvv=x rm=|2 imm
VPINSRD_VEX       vpinsrd         X   reg=x vvvv=x rm=|4 imm
VPINSRQ_VEX       vpinsrq         X   reg=x vvvv=x rm=|8 imm
VEXTRACTI128_VEX  vextracti128    Y   rm=x|16 reg=v imm
VPAND_VEX         vpand           Y   reg=v vvvv=v rm=v|v
VPOR_VEX          vpor            Y   reg=v vvvv=v rm=v|v
VPXOR_VEX         vpxor           Y   reg=v vvvv=v rm=v|v
VPADDW_VEX        vpaddw          Y   reg=v vvvv=v rm=v|v
VPADDSW_VEX       vpaddsw         Y   reg=v vvvv=v rm=v|v
VPADDD_VEX        vpaddd          Y   reg=v vvvv=v rm=v|v
VPHADDD_VEX       vphaddd         Y   reg=v vvvv=v rm=v|v
VPMULLD_VEX       vpmulld         Y   reg=v vvvv=v rm=v|v
VPMADDUBSW_VEX    vpmaddubsw      Y   reg=v vvvv=v rm=v|v
VPMADDWD_VEX      vpmaddwd        Y   reg=v vvvv=v rm=v|v
VPMAXUB_VEX       vpmaxub         Y   reg=v vvvv=v rm=v|v
VPMINUB_VEX       vpminub         Y   reg=v vvvv=v rm=v|v
VPMAXSB_VEX       vpmaxsb         Y   reg=v vvvv=v rm=v|v
VPMINSB_VEX       vpminsb         Y   reg=v vvvv=v rm=v|v
VPMINSD_VEX       vpminsd         Y   reg=v vvvv=v rm=v|v
VPACKSSDW_VEX     vpackssdw       Y   reg=v vvvv=v rm=v|v
VPACKUSWB_VEX     vpackuswb       Y   reg=v vvvv=v rm=v|v
VPACKSSWB_VEX     vpacksswb       Y   reg=v vvvv=v rm=v|v
VPSHUFB_VEX       vpshufb         Y   reg=v vvvv=v rm=v|v
VPERMD_VEX        vpermd          Y   reg=v vvvv=v rm=v|v
VPMOVZXWD_VEX     vpmovzxwd       Y   reg=v rm=h|h
VPSRLW_IMM_VEX    vpsrlw          Y   vvvv=v rm=v imm
VPSRLD_IMM_VEX    vpsrld          Y   vvvv=v rm=v imm
VPSLLD_IMM_VEX    vpslld          Y   vvvv=v rm=v imm
VPDPBUSD_VEX      vpdpbusd        XY  reg=v vvvv=v rm=v|v
VADDPS_VEX        vaddps          XY  reg=v vvvv=v rm=v|v
VMULPS_VEX        vmulps          XY  reg=v vvvv=v rm=v|v
VDIVPS_VEX        vdivps          XY  reg=v vvvv=v rm=v|v
VMAXPS_VEX        vmaxps          XY  reg=v vvvv=v rm=v|v
VMINPS_VEX        vminps          XY  reg=v vvvv=v rm=v|v
VFMADD213PS_VEX   vfmadd213ps     XY  reg=v vvvv=v rm=v|v
VFMADD231PS_VEX   vfmadd231ps     XY  reg=v vvvv=v rm=v|v
VCVTDQ2PS_VEX     vcvtdq2ps       XY  reg=v rm=v|v
VCVTPS2DQ_VEX     vcvtps2dq       XY  reg=v rm=v|v
VCVTPH2PS_VEX     vcvtph2ps       XY  reg=v rm=h|h
VCVTPS2PH_VEX     vcvtps2ph       XY  rm=h|h reg=v imm
KMOVW_FROM_GPR   kmovw           X   reg=k rm=d
KMOVD_FROM_GPR   kmovd           X   reg=k rm=d
LDTILECFG        ldtilecfg       X   rm=|m
TILERELEASE      tilerelease     X
TILEZERO         tilezero        X   reg=t
TILELOADD        tileloadd       X   reg=t rm=|sib
TILELOADDT1      tileloaddt1     X   reg=t rm=|sib
TILESTORED       tilestored      X   rm=|sib reg=t
TDPBSSD          tdpbssd         X   reg=t rm=t vvvv=t
TDPBUSD          tdpbusd         X   reg=t rm=t vvvv=t
TDPBF16PS        tdpbf16ps       X   reg=t rm=t vvvv=t
"""

FEATURES = (
    "avx,avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,avxvnni,amx-tile,amx-int8,amx-bf16"
)
GPR64 = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split()
GPR32 = "eax ecx edx ebx esp ebp esi edi r8d r9d r10d r11d r12d r13d r14d r15d".split()
NOT_RSP = [n for n in range(16) if n != 4]
SIZES = {1: "byte", 2: "word", 4: "dword", 8: "qword", 16: "xmmword", 32: "ymmword", 64: "zmmword"}

numbers = random.Random(20240917)


def vector_bytes(kind, width):
    whole = {"X": 16, "Y": 32, "Z": 64}[width]
    return {"v": whole, "h": whole // 2, "q": whole // 4, "x": 16, "y": 32}[kind]


def register(kind, width, vex):
    """A random register of a class: its number and its name."""
    if kind in "dg":
        number = numbers.choice(NOT_RSP)
        return number, (GPR32 if kind == "d" else GPR64)[number]
    if kind in "kt":
        number = numbers.randrange(8)
        return number, ("k" if kind == "k" else "tmm") + str(number)
    number = numbers.randrange(16 if vex else 32)
    return number, SIZES[max(16, vector_bytes(kind, width))][:3] + str(number)


def memory(kind, width, index, broadcast):
    """A random address: its fields and its text."""
    size = None
    element = int(kind[1:]) if kind in ("v4", "v8") else None
    if kind.isdigit():
        size = int(kind)
    elif kind not in ("m", "sib"):
        size = element if broadcast else vector_bytes(kind[0], width)
    unit = size or 1
    # Displacements that compress, that just do not for their size, and that are no multiple of the unit.
    disp = numbers.choice([0, 127 * unit, -128 * unit, 128 * unit, -129 * unit, unit, -unit, 3 * unit + 1, 100000])
    base = numbers.choice(NOT_RSP)
    text = GPR64[base]
    fields = f"{base},-,1"
    if index or kind == "sib":
        index, scale = numbers.choice(NOT_RSP), numbers.choice([1, 2, 4, 8])
        text += f" + {scale}*{GPR64[index]}"
        fields = f"{base},{index},{scale}"
    if disp:
        text += f" {'+' if disp > 0 else '-'} {abs(disp)}"
    text = f"[{text}]" if size is None else f"{SIZES[size]} ptr [{text}]"
    if broadcast:
        text += f"{{1to{vector_bytes('v', width) // element}}}"
    return f"m{fields},{disp}", text


class Row:
    """One instruction with random operands of a form: what the encoder is given, and what LLVM is given."""

    def __init__(self, name, mnemonic, width, operands, form, always_masked):
        vex = name.endswith("_VEX") or not mnemonic.startswith("v")
        fields = {"reg": 0, "vvvv": 0, "rm": "r0", "mask": "-", "broadcast": "-", "imm": "-"}
        tiles = numbers.sample(range(8), 3)
        texts = []
        for operand in operands:
            if operand == "imm":
                fields["imm"] = numbers.randrange(256)
                texts.append(str(fields["imm"]))
                continue
            field, _, classes = operand.partition("=")
            of_register, _, of_memory = classes.partition("|")
            if field == "rm" and form != "register":
                fields["rm"], text = memory(of_memory, width, form == "index", form == "broadcast")
            else:
                number, text = register(of_register, width, vex)
                # Of others, LLVM takes the form with source and destination exchanged if that is shorter.
                if name.startswith("VMOVDQU_") and form == "register":
                    number %= 8
                    text = f"{text[:3]}{number}"
                if len(operands) == 3 and of_register == "t":
                    number = tiles.pop()
                    text = f"tmm{number}"
                fields[field] = f"r{number}" if field == "rm" else number
            texts.append(text)
        if form == "broadcast":
            fields["broadcast"] = "b"
        if not vex:
            zeroing = not (operands[0].startswith("rm") and form != "register")
            masks = ["none", "merge", "zero" if zeroing else "merge"]
            mask = numbers.choice(masks[1:] if always_masked else masks)
            if mask != "none":
                opmask = numbers.randrange(1, 8)
                fields["mask"] = f"k{opmask}" + ("z" if mask == "zero" else "")
                texts[0] += f" {{k{opmask}}}" + (" {z}" if mask == "zero" else "")
        # With a register on both sides, LLVM writes the form that loads unless told otherwise.
        if "_STORE" in name and form == "register":
            mnemonic += ".s"
        prefix = "" if not mnemonic.startswith("v") else "{vex} " if vex else "{evex} "
        self.text = f"{prefix}{mnemonic} {', '.join(texts)}".strip()
        self.fields = " ".join(str(f) for f in [name, width, *fields.values()])


def rows():
    for line in INSTRUCTIONS.split("\n"):
        if not line:
            continue
        name, mnemonic, widths, *operands = line.split()
        rm = next((o for o in operands if o.startswith("rm=")), "rm=r")
        of_register, _, of_memory = rm[3:].partition("|")
        forms = ["register"] * 2 * bool(of_register)
        forms += ["index", "index", "base"] * bool(of_memory)
        forms += ["broadcast"] * 2 * (of_memory in ("v4", "v8"))
        forms += ["register"] * (3 - len(forms)) if operands else []
        first = numbers.randrange(len(widths))
        for n, form in enumerate(forms if operands else ["register"]):
            yield Row(name, mnemonic, widths[(first + n) % len(widths)], operands, form, n == 1)


def main():
    assembler = sys.argv[1] if len(sys.argv) > 1 else "llvm-mc-14"
    version = re.search(r"LLVM version \S+", subprocess.check_output([assembler, "--version"], text=True))[0]
    made = list(rows())
    command = [assembler, "-triple=x86_64", "-show-encoding", "-x86-asm-syntax=intel"]
    command.append("-mattr=" + ",".join("+" + f for f in FEATURES.split(",")))
    answer = subprocess.run(
        command, input="\n".join(row.text for row in made), text=True, stdout=subprocess.PIPE, check=True
    )
    encodings = re.findall(r"encoding: \[([^\]]*)\]", answer.stdout)
    assert len(encodings) == len(made), "one encoding for each row"
    lines = [
        f"# Made by llvm_table.py with llvm-mc of {version}.",
        "# name in table.rs, width, reg, vvvv, rm (register, or memory: base,index,scale,displacement), opmask,",
        "# broadcast, immediate | bytes | what LLVM assembled",
    ]
    for row, encoding in zip(made, encodings):
        code = " ".join(byte[2:] for byte in encoding.split(","))
        lines.append(f"{row.fields} | {code} | {row.text}")
    Path(__file__).with_name("llvm_table.txt").write_text("\n".join(lines) + "\n")
    print(len(made), "encodings")


main()
