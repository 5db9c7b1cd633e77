//! Operands that instructions cannot have: an error that names the instruction and the reason, and no bytes.

use std::collections::BTreeSet;
use std::mem::discriminant;

use super::*;
use crate::CodegenError;

const MEMORY: Rm = Rm::Memory(Mem { base: Gpr::Rsi, index: None, disp: 64 });

/// Emits one instruction, and says how it was refused.
fn refusal(asm: &mut Assembler, i: &'static Instruction, width: Width, operands: Operands) -> Option<Illegal> {
    let before = asm.ops.offset();
    asm.emit(i, width, operands);
    let refused = asm.emitted.refused.take().map(|(name, reason)| {
        assert_eq!(name, i.name);
        reason
    });
    assert_eq!(refused.is_some(), asm.ops.offset() == before, "bytes exactly where nothing was refused");
    refused
}

/// Operands that the instruction can have, ModRM.rm a register if it may be one.
fn legal(i: &Instruction) -> Operands {
    let rm = if i.forms.register() { Rm::Register(0) } else { MEMORY };
    let mut operands = Operands::new(0, 0, rm);
    if i.vvvv == Field::Operand(Access::Read, Class::Tile) {
        (operands.reg, operands.vvvv) = (1, 2);
    }
    if i.immediate == Immediate::Byte {
        operands = operands.imm(1);
    }
    operands
}

/// The first number that is none of the field's, and why it is not.
fn beyond(i: &Instruction, field: Field, name: &'static str) -> (u8, Illegal) {
    match (registers(i, field).last(), field) {
        (Some(last), Field::Operand(..)) => {
            let given = last + 1;
            (given, Illegal::Register { field: name, given, registers: given })
        }
        _ => (1, Illegal::NoSuchField { field: name, given: 1 }),
    }
}

/// All that is wrong with an instruction at one of its widths.
fn wrong(i: &'static Instruction, label: DynamicLabel) -> Vec<(Operands, Illegal)> {
    let good = legal(i);
    let mut wrong = vec![];
    let (reg, why) = beyond(i, i.reg, "ModRM.reg");
    wrong.push((Operands { reg, ..good }, why));
    let (vvvv, why) = beyond(i, i.vvvv, "vvvv");
    wrong.push((Operands { vvvv, ..good }, why));
    if i.forms.register() {
        let (rm, why) = beyond(i, i.rm, "ModRM.rm");
        wrong.push((Operands { rm: Rm::Register(rm), ..good }, why));
    } else {
        wrong.push((Operands { rm: Rm::Register(0), ..good }, Illegal::RegisterForm));
    }
    if !i.forms.memory() {
        wrong.push((Operands { rm: MEMORY, ..good }, Illegal::MemoryForm));
        wrong.push((Operands { rm: Rm::Constant(label), ..good }, Illegal::MemoryForm));
    }
    if i.forms == Forms::Sib {
        wrong.push((Operands { rm: Rm::Constant(label), ..good }, Illegal::RipRelative));
    }
    let gpr = |field| matches!(field, Field::Operand(_, Class::Gpr32 | Class::Gpr64));
    if gpr(i.reg) {
        wrong.push((Operands { reg: 4, ..good }, Illegal::StackPointer { field: "ModRM.reg" }));
    }
    if gpr(i.rm) {
        wrong.push((Operands { rm: Rm::Register(4), ..good }, Illegal::StackPointer { field: "ModRM.rm" }));
    }
    if i.vvvv == Field::Operand(Access::Read, Class::Tile) {
        wrong.push((Operands { reg: 2, ..good }, Illegal::EqualTiles));
        wrong.push((Operands { rm: Rm::Register(1), ..good }, Illegal::EqualTiles));
        wrong.push((Operands { rm: Rm::Register(2), ..good }, Illegal::EqualTiles));
    }
    if i.encoding == Encoding::Vex {
        wrong.push((good.masked(1), Illegal::NoMasks));
    } else {
        wrong.extend([0, 8, 255].map(|k| (good.masked(k), Illegal::MaskRegister(k))));
        wrong.extend([0, 8].map(|k| (good.zeroed(k), Illegal::MaskRegister(k))));
        if matches!(i.rm, Field::Operand(Access::Write, _)) {
            wrong.push((Operands { rm: MEMORY, ..good }.zeroed(1), Illegal::ZeroedMemory));
            wrong.push((Operands { rm: Rm::Constant(label), ..good }.zeroed(1), Illegal::ZeroedMemory));
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

/// No register number at all gives wrong bytes. An index of rsp needs no check: [`Gpr`] has no such register.
#[test]
fn no_register_number_wraps() {
    let mut asm = Assembler::new();
    for &(name, i) in ALL {
        let width = WIDTHS.into_iter().find(|&w| i.widths.contains(w)).unwrap();
        for number in 0..=255u8 {
            let expected = |field| registers(i, field).contains(&number);
            let good = legal(i);
            for (field, operands) in [
                (i.reg, Operands { reg: number, ..good }),
                (i.vvvv, Operands { vvvv: number, ..good }),
                (i.rm, Operands { rm: Rm::Register(number), ..good }),
            ] {
                let refused = refusal(&mut asm, i, width, operands).is_some();
                assert_eq!(refused, !(expected(field) && allowed(i, &operands)), "{name}: {field:?} {number}");
            }
        }
    }
}

#[test]
fn the_first_refusal_is_what_finish_returns() {
    type Emit = fn(&mut Assembler);
    let error = |emit: Emit| {
        let mut asm = Assembler::new();
        asm.emit(&table::VPADDD, Width::Z, Operands::new(0, 1, Rm::Register(2)));
        emit(&mut asm);
        asm.emit(&table::TILEZERO, Width::X, Operands::new(9, 0, Rm::Register(0)));
        asm.emit(&table::VPADDD, Width::Z, Operands::new(0, 1, Rm::Register(2)));
        match asm.finish() {
            Err(CodegenError::Assemble(why)) => why,
            other => panic!("{other:?}"),
        }
    };
    let cases: [(Emit, &str); 8] = [
        (|_| {}, "tilezero: register 9 in ModRM.reg: expected 0 to 7"),
        (
            |asm| asm.emit(&table::VPDPBUSD_VEX, Width::Y, Operands::new(0, 16, MEMORY)),
            "vpdpbusd: register 16 in vvvv: expected 0 to 15",
        ),
        (
            |asm| asm.emit(&table::VPDPBUSD_VEX, Width::Z, Operands::new(0, 1, MEMORY)),
            "vpdpbusd: has no form of 512 bits",
        ),
        (
            |asm| asm.emit(&table::VPADDD, Width::X, Operands::new(0, 1, MEMORY).masked(0)),
            "vpaddd: opmask 0: expected 1 to 7",
        ),
        (
            |asm| asm.emit(&table::VPADDW, Width::X, Operands::new(0, 1, MEMORY).broadcast()),
            "vpaddw: has no broadcast form",
        ),
        (|asm| asm.emit(&table::VPSHUFD, Width::X, Operands::new(0, 0, MEMORY)), "vpshufd: needs an immediate byte"),
        (
            |asm| asm.emit(&table::KMOVW_TO_GPR, Width::X, Operands::new(0, 0, MEMORY)),
            "kmovw: takes a register, not memory, in ModRM.rm",
        ),
        (
            |asm| asm.emit(&table::TDPBUSD, Width::X, Operands::new(1, 2, Rm::Register(2))),
            "tdpbusd: takes three different tiles",
        ),
    ];
    for (emit, why) in cases {
        assert_eq!(error(emit), why);
    }
}
