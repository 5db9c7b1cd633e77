//! The frame's instructions against an independent disassembler, and what the assembler refuses.

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Register};

use super::*;
use crate::x86::encode::inspect::{GPRS, SCALES};

fn decode(emit: impl FnOnce(&mut Assembler)) -> Instruction {
    let mut asm = Assembler::new();
    emit(&mut asm);
    let bytes = asm.finish().unwrap();
    let mut decoder = Decoder::new(64, &bytes, DecoderOptions::NONE);
    let decoded = decoder.decode();
    assert_eq!(decoder.position(), bytes.len(), "{bytes:02x?} is {decoded} and more");
    decoded
}

fn refusal(emit: impl FnOnce(&mut Assembler)) -> String {
    let mut asm = Assembler::new();
    emit(&mut asm);
    match asm.finish() {
        Err(CodegenError::Assemble(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// An instruction of a register and memory, by a function or with an immediate.
type WithMemory = fn(&mut Assembler, Gpr, Mem);

const WITH_MEMORY: [(WithMemory, Code); 11] = [
    (|asm, r, m| asm.load64(r, m), Code::Mov_r64_rm64),
    (|asm, r, m| asm.load32(r, m), Code::Mov_r32_rm32),
    (|asm, r, m| asm.load16(r, m), Code::Movzx_r32_rm16),
    (|asm, r, m| asm.store64(m, r), Code::Mov_rm64_r64),
    (|asm, r, m| asm.lea(r, m), Code::Lea_r64_m),
    (|asm, r, m| asm.add_from(r, m), Code::Add_r64_rm64),
    (|asm, r, m| asm.add_to(m, r), Code::Add_rm64_r64),
    (|asm, _, m| asm.add_imm_to(m, 127), Code::Add_rm64_imm8),
    (|asm, _, m| asm.add_imm_to(m, 128), Code::Add_rm64_imm32),
    (|asm, _, m| asm.prefetch(m), Code::Prefetcht0_m8),
    (|asm, _, m| asm.prefetch_l2(m), Code::Prefetcht1_m8),
];

#[test]
fn memory_operands_are_what_was_asked_for() {
    let register = |first, r: Gpr| first + u32::from(r.id());
    for (emit, code) in WITH_MEMORY {
        for (n, base) in GPRS.into_iter().enumerate() {
            let indices = GPRS.iter().flat_map(|&g| SCALES.map(|s| Some((g, s)))).chain([None]);
            for (i, index) in indices.enumerate() {
                let disp = [0, 1, 127, -128, 128, -129, 1 << 20, i64::from(i32::MAX), i64::from(i32::MIN)][(n + i) % 9];
                let reg = GPRS[(n + 7 * i) % GPRS.len()];
                let decoded = decode(|asm| emit(asm, reg, Mem { base, index, disp }));
                assert_eq!(decoded.code(), code, "{decoded}");
                assert_eq!(decoded.memory_base(), register(Register::RAX, base), "{decoded}");
                let found = (decoded.memory_index(), decoded.memory_index_scale());
                let expected = index.map(|(index, scale)| (register(Register::RAX, index), 1 << scale as u32));
                assert_eq!(found, expected.unwrap_or((Register::None, 1)), "{decoded}");
                assert_eq!(decoded.memory_displacement64(), disp.cast_unsigned(), "{decoded}");
                let registers = [decoded.op0_register(), decoded.op1_register()];
                let found = registers.into_iter().find(|&r| r != Register::None);
                assert!(found.is_none_or(|r| r.full_register() == register(Register::RAX, reg)), "{decoded}");
            }
        }
    }
}

#[test]
fn displacements_that_do_not_fit_are_refused() {
    let far = Mem::at(Gpr::Rax, 1 << 31);
    let before = Mem::at(Gpr::Rax, 0).before((1 << 31) + 1);
    let most = Mem::at(Gpr::Rax, usize::MAX).offset(usize::MAX);
    for (mem, disp) in [(far, 1 << 31), (before, -(1 << 31) - 1), (most, i64::MAX)] {
        for (emit, code) in WITH_MEMORY {
            let why = refusal(|asm| emit(asm, Gpr::Rcx, mem));
            assert!(why.ends_with(&format!(": displacement {disp}: expected a number of 32 bits")), "{code:?}: {why}");
        }
    }
    let why = refusal(|asm| {
        let label = asm.label();
        asm.place(label);
        asm.dec_mem_jump_not_zero(far, label);
    });
    assert!(why.contains("displacement 2147483648"), "{why}");
}

#[test]
fn immediates_are_whole_or_refused() {
    type WithImmediate = fn(&mut Assembler, usize);
    let cases: [WithImmediate; 6] = [
        |asm, imm| asm.add_imm(Gpr::R9, imm),
        |asm, imm| asm.sub_imm(Gpr::R9, imm),
        |asm, imm| asm.multiply_imm(Gpr::R9, imm),
        |asm, imm| asm.add_imm_to(Mem::at(Gpr::Rax, 0), imm),
        |asm, imm| {
            let label = asm.label();
            asm.jump_if_below(Gpr::R9, imm, label);
            asm.place(label);
        },
        |asm, imm| {
            let label = asm.label();
            asm.jump_if_not_below(Gpr::R9, imm, label);
            asm.place(label);
        },
    ];
    for (n, emit) in cases.into_iter().enumerate() {
        for imm in [0, 127, 128, 255, 256, 0x7fff_ffff] {
            let mut asm = Assembler::new();
            emit(&mut asm, imm);
            let decoded = Decoder::new(64, &asm.finish().unwrap(), DecoderOptions::NONE).decode();
            let last = decoded.op_count() - 1;
            assert_eq!(decoded.immediate(last), imm as u64, "case {n}: {decoded}");
        }
        for imm in [1 << 31, 1 << 32, usize::MAX] {
            assert_eq!(refusal(|asm| emit(asm, imm)), format!("immediate {imm}: expected 0 to 2147483647"));
        }
    }
    for imm in [0, 127, 128, 255] {
        assert_eq!(decode(|asm| asm.and_imm(Gpr::Rcx, imm)).immediate(1), imm.into());
    }
    assert_eq!(decode(|asm| asm.load_imm(Gpr::Rcx, u32::MAX)).immediate32(), u32::MAX);
    assert_eq!(decode(|asm| asm.shift_right_imm(Gpr::Rcx, 63)).immediate8(), 63);
    assert_eq!(refusal(|asm| asm.shift_right_imm(Gpr::Rcx, 64)), "shr: by 64 bits: expected 0 to 63");
}

#[test]
fn the_first_failure_is_the_one_that_is_told() {
    let why = refusal(|asm| {
        asm.constant(&[0; 4]);
        asm.fail("another reason");
        asm.shift_right_imm(Gpr::Rcx, 200);
    });
    assert_eq!(why, "a constant of 16 bytes: expected 32 or a multiple of 64");
    let why = refusal(|asm| {
        let label = asm.label();
        asm.jump_if_zero(Gpr::Rcx, label);
    });
    assert!(why.to_lowercase().contains("label"), "a label that is nowhere: {why}");
}
