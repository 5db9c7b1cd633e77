//! Operands that instructions cannot have: an error that names the instruction and the reason, and no bytes.

use std::collections::BTreeSet;
use std::mem::discriminant;

use super::*;
use crate::CodegenError;

const MEMORY: Rm = Rm::Memory(Mem { base: Gpr::Rsi, index: None, disp: 64 });
const FAR: Rm = Rm::Memory(Mem { base: Gpr::Rsi, index: None, disp: 1 << 31 });
const NOTHING: Register = Register::NONE;

/// Emits one instruction, and says how it was refused.
fn refusal(asm: &mut Assembler, i: &'static Instruction, width: Width, operands: Operands) -> Option<Illegal> {
    let before = asm.ops.offset();
    asm.emit(i, width, operands);
    let reason = encode(i, width, &operands).err();
    assert_eq!(asm.failure.take(), reason.map(|reason| format!("{}: {reason}", i.name)));
    assert_eq!(reason.is_some(), asm.ops.offset() == before, "bytes exactly where nothing was refused");
    reason
}

/// One register of each kind.
fn of_each_kind() -> [Register; 5] {
    [NOTHING, Vector(1).into(), Opmask(1).into(), Tile(1).into(), Gpr::Rcx.into()]
}

/// Operands that the instruction can have, ModRM.rm a register if it may be one.
fn legal(i: &Instruction) -> Operands {
    let first = |field| registers(i, field).first().copied();
    let rm = if i.forms.register() { first(i.rm).unwrap().into() } else { MEMORY };
    let mut operands = Operands::new(first(i.reg).unwrap(), first(i.vvvv).unwrap(), rm);
    if has_three_tiles(i) {
        (operands.reg, operands.vvvv) = (Tile(1).into(), Tile(2).into());
    }
    if i.immediate == Immediate::Byte {
        operands = operands.imm(1);
    }
    operands
}

fn has_three_tiles(i: &Instruction) -> bool {
    i.vvvv == Field::Operand(Access::Read, Class::Tile)
}

/// Registers that are none of the field's, and why: those of other kinds, and the first number that its kind does not
/// have.
fn beyond(i: &Instruction, of: Field, field: &'static str) -> Vec<(Register, Illegal)> {
    let last = *registers(i, of).last().unwrap();
    let others = of_each_kind().into_iter().filter(|r| r.kind != last.kind);
    let mut beyond: Vec<_> = others.map(|r| (r, Illegal::Kind { field, given: r.kind, expected: last.kind })).collect();
    let given = last.number + 1;
    match last.kind {
        Kind::Vector => beyond.push((Vector(given).into(), Illegal::Register { field, given, registers: given })),
        Kind::Opmask => beyond.push((Opmask(given).into(), Illegal::Register { field, given, registers: given })),
        Kind::Tile => beyond.push((Tile(given).into(), Illegal::Register { field, given, registers: given })),
        // All of their values are legal.
        Kind::Gpr | Kind::Nothing => {}
    }
    beyond
}

/// All that is wrong with an instruction at one of its widths.
fn wrong(i: &'static Instruction, label: DynamicLabel) -> Vec<(Operands, Illegal)> {
    let good = legal(i);
    let mut wrong = vec![];
    wrong.extend(beyond(i, i.reg, "ModRM.reg").into_iter().map(|(reg, why)| (Operands { reg, ..good }, why)));
    wrong.extend(beyond(i, i.vvvv, "vvvv").into_iter().map(|(vvvv, why)| (Operands { vvvv, ..good }, why)));
    if i.forms.register() {
        let beyond = beyond(i, i.rm, "ModRM.rm").into_iter();
        wrong.extend(beyond.map(|(rm, why)| (Operands { rm: rm.into(), ..good }, why)));
    } else {
        wrong.extend(of_each_kind().map(|rm| (Operands { rm: rm.into(), ..good }, Illegal::RegisterForm)));
    }
    if i.forms.memory() {
        wrong.push((Operands { rm: FAR, ..good }, Illegal::Displacement(1 << 31)));
    }
    if !i.forms.memory() {
        wrong.push((Operands { rm: MEMORY, ..good }, Illegal::MemoryForm));
        wrong.push((Operands { rm: Rm::Constant(label), ..good }, Illegal::MemoryForm));
    }
    if i.forms == Forms::Sib {
        wrong.push((Operands { rm: Rm::Constant(label), ..good }, Illegal::RipRelative));
    }
    if has_three_tiles(i) {
        wrong.push((Operands { reg: Tile(2).into(), ..good }, Illegal::EqualTiles));
        wrong.push((Operands { rm: Tile(1).into(), ..good }, Illegal::EqualTiles));
        wrong.push((Operands { rm: Tile(2).into(), ..good }, Illegal::EqualTiles));
    }
    if i.encoding == Encoding::Vex {
        wrong.push((good.masked(Opmask(1)), Illegal::NoMasks));
    } else {
        wrong.extend([0, 8, 255].map(Opmask).map(|k| (good.masked(k), Illegal::MaskRegister(k))));
        wrong.extend([0, 8].map(Opmask).map(|k| (good.zeroed(k), Illegal::MaskRegister(k))));
        if i.stores() {
            wrong.push((Operands { rm: MEMORY, ..good }.zeroed(Opmask(1)), Illegal::ZeroedMemory));
            wrong.push((Operands { rm: Rm::Constant(label), ..good }.zeroed(Opmask(1)), Illegal::ZeroedMemory));
        }
    }
    if i.tuple.broadcast_element().is_none() {
        wrong.push((good.broadcast(), Illegal::NoBroadcast));
    } else {
        wrong.push((good.broadcast(), Illegal::BroadcastRegister));
    }
    match i.immediate {
        Immediate::Byte => wrong.push((Operands { imm: None, ..good }, Illegal::ImmediateMissing)),
        Immediate::None => wrong.push((good.imm(9), Illegal::NoImmediate(9))),
    }
    wrong
}

#[test]
fn every_instruction_refuses_what_it_cannot_have() {
    let mut asm = Assembler::new();
    let label = asm.constant(&[0; 8]);
    let mut reasons = BTreeSet::new();
    for &(name, i) in ALL {
        for width in WIDTHS {
            let good = refusal(&mut asm, i, width, legal(i));
            if !i.widths.contains(width) {
                assert_eq!(good, Some(Illegal::Width(width)), "{name} {width:?}");
                reasons.insert(format!("{:?}", discriminant(&Illegal::Width(width))));
                continue;
            }
            assert_eq!(good, None, "{name} {width:?}");
            for (operands, why) in wrong(i, label) {
                assert_eq!(refusal(&mut asm, i, width, operands), Some(why), "{name} {width:?} {operands:?}");
                reasons.insert(format!("{:?}", discriminant(&why)));
            }
        }
    }
    assert_eq!(reasons.len(), 15, "each reason has been met");
}

/// No register number at all gives wrong bytes. That of rsp needs no check: [`Gpr`] has no such register.
#[test]
fn no_register_number_wraps() {
    let mut asm = Assembler::new();
    for &(name, i) in ALL {
        let width = WIDTHS.into_iter().find(|&w| i.widths.contains(w)).unwrap();
        let numbered = |n| [Vector(n).into(), Opmask(n).into(), Tile(n).into()];
        for register in (0..=255).flat_map(numbered).chain(GPRS.map(Register::from)) {
            let expected = |field| registers(i, field).contains(&register);
            let good = legal(i);
            for (field, operands) in [
                (i.reg, Operands { reg: register, ..good }),
                (i.vvvv, Operands { vvvv: register, ..good }),
                (i.rm, Operands { rm: register.into(), ..good }),
            ] {
                let refused = refusal(&mut asm, i, width, operands).is_some();
                assert_eq!(refused, !(expected(field) && allowed(i, &operands)), "{name}: {field:?} {register:?}");
            }
        }
    }
}

#[test]
fn the_first_refusal_is_what_finish_returns() {
    type Emit = fn(&mut Assembler);
    const V0: Vector = Vector(0);
    const V1: Vector = Vector(1);
    let error = |emit: Emit| {
        let mut asm = Assembler::new();
        asm.emit(&table::VPADDD, Width::Z, Operands::new(V0, V1, Vector(2)));
        emit(&mut asm);
        asm.emit(&table::TILEZERO, Width::X, Operands::two(Tile(9), NOTHING));
        asm.emit(&table::VPADDD, Width::Z, Operands::new(V0, V1, Vector(2)));
        match asm.finish() {
            Err(CodegenError::Assemble(why)) => why,
            other => panic!("{other:?}"),
        }
    };
    let cases: [(Emit, &str); 11] = [
        (|_| {}, "tilezero: register 9 in ModRM.reg: expected 0 to 7"),
        (
            |asm| asm.emit(&table::VPDPBUSD_VEX, Width::Y, Operands::new(V0, Vector(16), MEMORY)),
            "vpdpbusd: register 16 in vvvv: expected 0 to 15",
        ),
        (
            |asm| asm.emit(&table::VPDPBUSD_VEX, Width::Z, Operands::new(V0, V1, MEMORY)),
            "vpdpbusd: has no form of 512 bits",
        ),
        (
            |asm| asm.emit(&table::VPADDD, Width::X, Operands::new(V0, V1, MEMORY).masked(Opmask(0))),
            "vpaddd: opmask 0: expected 1 to 7",
        ),
        (
            |asm| asm.emit(&table::VPADDW, Width::X, Operands::new(V0, V1, MEMORY).broadcast()),
            "vpaddw: has no broadcast form",
        ),
        (|asm| asm.emit(&table::VCVTPS2PH, Width::X, Operands::two(V0, MEMORY)), "vcvtps2ph: needs an immediate byte"),
        (
            |asm| asm.emit(&table::VPADDD, Width::X, Operands::new(V0, Opmask(1), V1)),
            "vpaddd: an opmask in vvvv: expected a vector register",
        ),
        (
            |asm| asm.emit(&table::VMOVDQU32, Width::X, Operands::new(V0, V1, V1)),
            "vmovdqu32: a vector register in vvvv: expected nothing",
        ),
        (
            |asm| asm.emit(&table::VMOVDQU32, Width::X, Operands::two(V0, FAR)),
            "vmovdqu32: displacement 2147483648: expected a number of 32 bits",
        ),
        (
            |asm| asm.emit(&table::KMOVW_FROM_GPR, Width::X, Operands::two(Opmask(1), MEMORY)),
            "kmovw: takes a register, not memory, in ModRM.rm",
        ),
        (
            |asm| asm.emit(&table::TDPBUSD, Width::X, Operands::new(Tile(1), Tile(2), Tile(2))),
            "tdpbusd: takes three different tiles",
        ),
    ];
    for (emit, why) in cases {
        assert_eq!(error(emit), why);
    }
}
