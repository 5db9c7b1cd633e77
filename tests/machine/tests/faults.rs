//! What machine code must not do: each fault provoked, and its opposite let pass.

use std::ffi::c_void;

use gemmill_machine::{Fault, Flags, Program, Reason, Statistics, call};
use iced_x86::{Mnemonic, Register};

/// 128 bytes to work on, at a multiple of 64.
#[repr(C, align(64))]
struct Memory([u8; 128]);

fn run_on(memory: &mut Memory, code: &[u8]) -> Result<Statistics, Fault> {
    // SAFETY: the codes of these tests access the 128 bytes that rdi points to, and their stack.
    unsafe { call(code, (&raw mut *memory).cast()) }
}

fn run(code: &[u8]) -> Result<Statistics, Fault> {
    run_on(&mut Memory([0; 128]), code)
}

/// Parts of code, one behind the other.
fn code(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn reason(code: &[u8]) -> Reason {
    match run(code) {
        Ok(statistics) => panic!("{code:02x?} passed: {statistics:?}"),
        Err(fault) => fault.reason,
    }
}

const RET: &[u8] = &[0xc3];
const NOP: &[u8] = &[0x90];
const VZEROUPPER: &[u8] = &[0xc5, 0xf8, 0x77];
/// `ldtilecfg [rdi]`
const LDTILECFG: &[u8] = &[0xc4, 0xe2, 0x78, 0x49, 0x07];
const TILERELEASE: &[u8] = &[0xc4, 0xe2, 0x78, 0x49, 0xc0];
/// `tilezero tmm3`
const TILEZERO_3: &[u8] = &[0xc4, 0xe2, 0x7b, 0x49, 0xd8];
/// `tdpbusd tmm0, tmm1, tmm2`
const TDPBUSD_0_1_2: &[u8] = &[0xc4, 0xe2, 0x69, 0x5e, 0xc1];

#[test]
fn a_fault_names_its_instruction() {
    // vmovdqa ymm1, [rdi + 1]
    let fault = run(&code(&[NOP, NOP, &[0xc5, 0xfd, 0x6f, 0x4f, 0x01], VZEROUPPER, RET])).unwrap_err();
    assert_eq!((fault.offset, fault.instruction.as_str()), (2, "vmovdqa ymm1,[rdi+1]"));
    let Reason::Misaligned { address, alignment: 32 } = fault.reason else { panic!("{fault}") };
    assert_eq!(address % 32, 1);
    assert_eq!(
        fault.to_string(),
        format!("0x2: vmovdqa ymm1,[rdi+1]: #GP: address {address:#x} is not a multiple of 32")
    );
}

#[test]
fn aligned_moves_want_aligned_addresses() {
    let vmovdqa_load = |distance| code(&[&[0xc5, 0xfd, 0x6f, 0x4f, distance], VZEROUPPER, RET]);
    let vmovdqa_store = |distance| code(&[&[0xc5, 0xf9, 0x7f, 0x4f, distance], RET]);
    assert!(run(&vmovdqa_load(32)).is_ok());
    assert!(matches!(reason(&vmovdqa_load(16)), Reason::Misaligned { alignment: 32, .. }));
    assert!(run(&vmovdqa_store(16)).is_ok());
    assert!(matches!(reason(&vmovdqa_store(8)), Reason::Misaligned { alignment: 16, .. }));
    // vmovdqu ymm1, [rdi + 1]
    assert!(run(&code(&[&[0xc5, 0xfe, 0x6f, 0x4f, 0x01], VZEROUPPER, RET])).is_ok());
}

#[test]
fn other_instructions_are_refused() {
    let refused: &[(&[u8], &str)] = &[
        (&[0x0f, 0xa2], "cpuid"),
        (&[0x0f, 0x58, 0xc1], "addps xmm0, xmm1: no VEX"),
        (&[0xc5, 0xf8, 0x51, 0xc1], "vsqrtps xmm0, xmm1"),
        (&[0xf0, 0x48, 0xff, 0x07], "lock inc qword ptr [rdi]"),
        (&[0xf3, 0xa4], "rep movsb"),
        (&[0x64, 0x48, 0x8b, 0x07], "mov rax, fs:[rdi]"),
        (&[0x67, 0x48, 0x8b, 0x07], "mov rax, [edi]"),
        (&[0x88, 0xe0], "mov al, ah"),
        (&[0x48, 0xf7, 0xef], "imul rdi"),
        (&[0x66, 0x50], "push ax"),
        (&[0x6a, 0x01], "push 1"),
        (&[0xff, 0x37], "push [rdi]"),
        (&[0x0f, 0xa0], "push fs"),
        (&[0x8c, 0xd8], "mov eax, ds"),
        (&[0x8e, 0xd8], "mov ds, eax"),
        (&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0], "mov al, [0]"),
        (&[0x48, 0xa3, 0, 0, 0, 0, 0, 0, 0, 0], "mov [0], rax"),
        (&[0xff, 0xe0], "jmp rax"),
        (&[0xff, 0xd0], "call rax"),
        (&[0xc2, 0x08, 0x00], "ret 8"),
        (&[0xc5, 0xf1, 0xd1, 0xc2], "vpsrlw xmm0, xmm1, xmm2"),
        (&[0x62, 0xf1, 0x74, 0x18, 0x58, 0xc2], "vaddps zmm0, zmm1, zmm2, {rn-sae}"),
        (&[0x62, 0xf1, 0x74, 0x18, 0x5f, 0xc2], "vmaxps zmm0, zmm1, zmm2, {sae}"),
        (&[0xe3, 0x00], "jrcxz to what follows"),
    ];
    for (bytes, name) in refused {
        let fault = run(&code(&[bytes, RET])).expect_err(name);
        assert!(matches!(fault.reason, Reason::NotModelled(_)), "{name}: {fault}");
        assert_eq!(fault.offset, 0, "{name}");
    }
}

#[test]
fn code_has_to_be_instructions() {
    assert_eq!(reason(&[0x06]), Reason::Undecodable);
    assert_eq!(reason(&[0x48]), Reason::Undecodable);
    assert_eq!(reason(&[]), Reason::LeavesCode { offset: 0 });
    assert_eq!(reason(NOP), Reason::LeavesCode { offset: 1 });
    // Jumps before the start, behind the end, and into a longer instruction.
    assert_eq!(reason(&[0xeb, 0xfd]), Reason::LeavesCode { offset: -1 });
    assert_eq!(reason(&[0x74, 0x10, 0xc3]), Reason::LeavesCode { offset: 18 });
    // je into the immediate number of mov eax, 0xc3c3c3c3
    assert_eq!(reason(&[0x74, 0x01, 0xb8, 0xc3, 0xc3, 0xc3, 0xc3, 0xc3]), Reason::Overlap);
    // What cannot be reached is not decoded.
    assert!(run(&[0xc3, 0x06]).is_ok());
    assert!(run(&[0xeb, 0x01, 0x06, 0xc3]).is_ok());
}

#[test]
fn jumps_want_defined_flags() {
    // imul rax, rdi; je +0
    let imul = [0x48, 0x0f, 0xaf, 0xc7];
    assert_eq!(reason(&code(&[&imul, &[0x74, 0x00], RET])), Reason::UndefinedFlag { flags: Flags::ZERO });
    // jo is defined.
    assert!(run(&code(&[&imul, &[0x70, 0x00], RET])).is_ok());
    // Nothing is at the entry.
    assert!(matches!(reason(&code(&[&[0x76, 0x00], RET])), Reason::UndefinedFlag { .. }));
    // shl eax, 2; jo
    assert!(matches!(reason(&[0xc1, 0xe0, 0x02, 0x70, 0x00, 0xc3]), Reason::UndefinedFlag { .. }));
    // cmp eax, eax; inc ecx; jb: the carry flag outlives an increment.
    assert!(run(&[0x39, 0xc0, 0xff, 0xc1, 0x72, 0x00, 0xc3]).is_ok());
}

#[test]
fn loops_end() {
    // jmp to itself
    let bytes = [0xeb, 0xfe];
    let program = Program::decode(&bytes).unwrap().with_limit(1000);
    // SAFETY: nothing is accessed.
    let fault = unsafe { program.run(std::ptr::null_mut::<c_void>()) }.unwrap_err();
    assert_eq!(fault.reason, Reason::TooManyInstructions { limit: 1000 });
    // mov ecx, 100; dec ecx; jne back; ret
    let bytes = [0xb9, 100, 0, 0, 0, 0xff, 0xc9, 0x75, 0xfc, 0xc3];
    let program = Program::decode(&bytes).unwrap();
    // SAFETY: nothing is accessed.
    let run = |limit| unsafe { program.clone().with_limit(limit).run(std::ptr::null_mut::<c_void>()) };
    let statistics = run(202).unwrap();
    assert_eq!(statistics.total(), 202);
    assert_eq!((statistics.count(Mnemonic::Dec), statistics.count(Mnemonic::Mov)), (100, 1));
    assert_eq!(run(201).unwrap_err().reason, Reason::TooManyInstructions { limit: 201 });
}

#[test]
fn the_stack_is_left_as_it_was() {
    // push rax, without its pop; pop rax, without its push
    assert_eq!(reason(&[0x50, 0xc3]), Reason::StackImbalance { by: -8 });
    assert_eq!(reason(&[0x58, 0xc3]), Reason::StackImbalance { by: 8 });
    assert!(run(&[0x50, 0x59, 0xc3]).is_ok());
    // mov [rsp], rdi
    assert_eq!(reason(&[0x48, 0x89, 0x3c, 0x24, 0xc3]), Reason::ReturnAddress);
    // push rax, again and again; pop rax likewise
    assert!(matches!(reason(&[0x50, 0xeb, 0xfd]), Reason::StackOverflow { .. }));
    assert!(matches!(reason(&[0x58, 0xeb, 0xfd]), Reason::StackOverflow { .. }));
    // sub rsp, 8; mov [rsp], rdi; add rsp, 8
    assert!(run(&[0x48, 0x83, 0xec, 0x08, 0x48, 0x89, 0x3c, 0x24, 0x48, 0x83, 0xc4, 0x08, 0xc3]).is_ok());
    // At the entry, the stack pointer is 8 above a multiple of 16: mov [rdi], rsp
    let mut memory = Memory([0; 128]);
    run_on(&mut memory, &[0x48, 0x89, 0x27, 0xc3]).unwrap();
    assert_eq!(memory.0[0] % 16, 8);
}

#[test]
fn callee_saved_registers_are_restored() {
    use Register::{R12, R13, R14, R15, RBP, RBX};
    // inc of each
    let saved: [(&[u8], Register); 6] = [
        (&[0x48, 0xff, 0xc3], RBX),
        (&[0x48, 0xff, 0xc5], RBP),
        (&[0x49, 0xff, 0xc4], R12),
        (&[0x49, 0xff, 0xc5], R13),
        (&[0x49, 0xff, 0xc6], R14),
        (&[0x49, 0xff, 0xc7], R15),
    ];
    for (increment, register) in saved {
        assert_eq!(reason(&code(&[increment, RET])), Reason::NotRestored(register));
    }
    // push rbx; inc rbx; pop rbx
    assert!(run(&[0x53, 0x48, 0xff, 0xc3, 0x5b, 0xc3]).is_ok());
    // The caller's: inc of rax, rdi, r11
    assert!(run(&[0x48, 0xff, 0xc0, 0x48, 0xff, 0xc7, 0x49, 0xff, 0xc3, 0xc3]).is_ok());
}

#[test]
fn upper_halves_are_clean_at_the_return() {
    // vpxor ymm1, ymm1, ymm1
    let ymm = [0xc5, 0xf5, 0xef, 0xc9];
    let fault = run(&code(&[&ymm, RET])).unwrap_err();
    assert_eq!((fault.reason, fault.offset), (Reason::UpperHalvesDirty, 4));
    assert!(run(&code(&[&ymm, VZEROUPPER, RET])).is_ok());
    assert_eq!(reason(&code(&[&ymm, VZEROUPPER, &ymm, RET])), Reason::UpperHalvesDirty);
    // vpxor xmm1, xmm1, xmm1
    assert!(run(&code(&[&[0xc5, 0xf1, 0xef, 0xc9], RET])).is_ok());
    // vpxord zmm17, zmm17, zmm17: vzeroupper does not reach it, and legacy code does not see it.
    assert!(run(&code(&[&[0x62, 0xa1, 0x75, 0x40, 0xef, 0xc9], RET])).is_ok());
    // vpxord zmm1, zmm1, zmm1
    assert_eq!(reason(&code(&[&[0x62, 0xf1, 0x75, 0x48, 0xef, 0xc9], RET])), Reason::UpperHalvesDirty);
}

/// Palette 1 and sizes of tiles 0, 1, 2 and so on: rows, bytes per row.
fn configuration(tiles: &[(u8, u16)]) -> Memory {
    let mut bytes = [0; 128];
    bytes[0] = 1;
    for (tile, (rows, row_bytes)) in tiles.iter().enumerate() {
        bytes[16 + 2 * tile..][..2].copy_from_slice(&row_bytes.to_le_bytes());
        bytes[48 + tile] = *rows;
    }
    Memory(bytes)
}

#[test]
fn tiles_are_configured_and_released() {
    assert_eq!(reason(&code(&[TILEZERO_3, RET])), Reason::TilesNotConfigured);
    assert_eq!(reason(&code(&[TDPBUSD_0_1_2, RET])), Reason::TilesNotConfigured);
    // tileloadd tmm3, [rdi + rax]; tilestored [rdi + rax], tmm3
    assert_eq!(reason(&code(&[&[0xc4, 0xe2, 0x7b, 0x4b, 0x1c, 0x07], RET])), Reason::TilesNotConfigured);
    assert_eq!(reason(&code(&[&[0xc4, 0xe2, 0x7a, 0x4b, 0x1c, 0x07], RET])), Reason::TilesNotConfigured);
    let mut memory = configuration(&[(16, 64); 4]);
    assert!(run_on(&mut memory, &code(&[LDTILECFG, TILEZERO_3, TILERELEASE, RET])).is_ok());
    let fault = run_on(&mut memory, &code(&[LDTILECFG, RET])).unwrap_err();
    assert_eq!(fault.reason, Reason::TilesNotReleased);
    let fault = run_on(&mut memory, &code(&[LDTILECFG, TILERELEASE, TILEZERO_3, RET])).unwrap_err();
    assert_eq!(fault.reason, Reason::TilesNotConfigured);
    let fault = run_on(&mut configuration(&[(16, 64); 3]), &code(&[LDTILECFG, TILEZERO_3, RET])).unwrap_err();
    assert_eq!(fault.reason, Reason::TileWithoutSize { tile: 3 });
    let fault = run_on(&mut configuration(&[(16, 64); 2]), &code(&[LDTILECFG, TDPBUSD_0_1_2, RET])).unwrap_err();
    assert_eq!(fault.reason, Reason::TileWithoutSize { tile: 2 });
}

#[test]
fn configurations_are_checked() {
    let fault = |change: &dyn Fn(&mut [u8; 128])| {
        let mut memory = configuration(&[(16, 64); 8]);
        change(&mut memory.0);
        match run_on(&mut memory, &code(&[LDTILECFG, TILERELEASE, RET])) {
            Err(Fault { reason: Reason::TileConfiguration(what), .. }) => what,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fault(&|c| c[0] = 2), "palette other than 0 and 1");
    for reserved in [2, 15, 32, 47, 56, 63] {
        assert_eq!(fault(&|c| c[reserved] = 1), "reserved bytes that are not zero");
    }
    assert_eq!(fault(&|c| c[48] = 17), "more than 16 rows");
    assert_eq!(fault(&|c| c[16] = 65), "more than 64 bytes per row");
    assert_eq!(fault(&|c| c[17] = 1), "more than 64 bytes per row");
    let half = "either rows or bytes per row are zero, but not both";
    assert_eq!(fault(&|c| c[55] = 0), half);
    assert_eq!(fault(&|c| c[30] = 0), half);
    assert!(run_on(&mut configuration(&[]), &code(&[LDTILECFG, TILERELEASE, RET])).is_ok());
    assert!(run_on(&mut configuration(&[(16, 64); 8]), &code(&[LDTILECFG, TILERELEASE, RET])).is_ok());
}

#[test]
fn products_want_tiles_that_fit() {
    let product = |tiles: &[(u8, u16)], bytes: &[u8]| {
        run_on(&mut configuration(tiles), &code(&[LDTILECFG, bytes, TILERELEASE, RET]))
    };
    let shapes = |tiles, bytes| match product(tiles, bytes) {
        Err(Fault { reason: Reason::TileShapes(what), .. }) => what,
        other => panic!("{other:?}"),
    };
    // Sums of 3 rows and 5 columns over 4 * 7 bytes.
    assert!(product(&[(3, 20), (3, 28), (7, 20)], TDPBUSD_0_1_2).is_ok());
    assert_eq!(
        shapes(&[(3, 20), (4, 28), (7, 20)], TDPBUSD_0_1_2),
        "the sums and the left factor differ in their rows"
    );
    let bytes_per_row = "the sums and the right factor differ in their bytes per row";
    assert_eq!(shapes(&[(3, 20), (3, 28), (7, 24)], TDPBUSD_0_1_2), bytes_per_row);
    let depth = "the left factor's bytes per row are not four for each row of the right factor";
    assert_eq!(shapes(&[(3, 20), (3, 28), (8, 20)], TDPBUSD_0_1_2), depth);
    let quads = "bytes per row are not a multiple of 4";
    assert_eq!(shapes(&[(3, 22), (3, 28), (7, 22)], TDPBUSD_0_1_2), quads);
    assert_eq!(shapes(&[(3, 20), (3, 30), (7, 20)], TDPBUSD_0_1_2), quads);
    // tdpbusd with tmm0, tmm0, tmm1, with tmm0, tmm1, tmm0 and with tmm0, tmm1, tmm1
    for bytes in [[0xc4, 0xe2, 0x71, 0x5e, 0xc0], [0xc4, 0xe2, 0x79, 0x5e, 0xc1], [0xc4, 0xe2, 0x71, 0x5e, 0xc1]] {
        let named_twice = product(&[(16, 64); 3], &bytes).unwrap_err();
        assert_eq!(named_twice.reason, Reason::Undecodable);
    }
}
