//! The model against the CPU: every form of every instruction in the model, on random registers and memory, has to
//! leave the same bits in all vector registers, masks, general-purpose registers, flags and memory.

#![cfg(target_arch = "x86_64")]

#[path = "../../../../codegen/tests/common/mod.rs"]
mod common;
mod features;
mod forms;
#[path = "../../../../codegen/tests/common/guarded.rs"]
mod guarded;
mod halves;
mod native;
mod suppression;
mod values;
mod vocabulary;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use common::Rng;
use forms::{Form, Place, Places, Variant};
use gemmill_machine::{Flags, Program, Reason, State, Vector};
use iced_x86::{Code, EncodingKind, Mnemonic, Register};
use native::{CONSTANT_BYTES, Harness, Registers, VectorFile};

/// Encodings of each form, and states for each encoding.
const ENCODINGS: usize = 4;
const STATES: usize = 6;

/// Bytes of the memory that instructions see, and the place of the stack pointer in it.
const WINDOW: usize = 1024;
const STACK: usize = 832;

#[derive(Clone)]
#[repr(C, align(64))]
struct Window([u8; WINDOW]);

/// Says something even where the test harness keeps output to itself.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Opcodes of encodings that the model knows, in 64-bit mode.
fn codes() -> impl Iterator<Item = Code> {
    Code::values().filter(|code| {
        let known = matches!(code.encoding(), EncodingKind::Legacy | EncodingKind::VEX | EncodingKind::EVEX);
        // Neither data directives nor what only an operating system may execute.
        known && code.op_code().mode64() && code.op_code().is_instruction() && !code.is_privileged()
    })
}

fn places_of(harness: &Harness) -> Places {
    Places { code: harness.snippet_address(), constants: harness.constants_address() }
}

/// Compares one instruction on one state.
struct Comparison {
    harness: Harness,
    file: VectorFile,
    window: Box<Window>,
}

impl Comparison {
    fn new(file: VectorFile, rng: &mut Rng) -> Comparison {
        let constants: [u8; CONSTANT_BYTES] =
            bytemuck::cast([values::vector(rng), values::vector(rng), values::vector(rng), values::vector(rng)]);
        Comparison { harness: Harness::new(file, &constants), file, window: Box::new(Window([0; WINDOW])) }
    }

    /// Registers at random, those of the memory operand such that it is in the window.
    fn registers(&mut self, form: &Form, rng: &mut Rng) -> Registers {
        let mut registers = Registers::new();
        registers.vectors = std::array::from_fn(|_| values::vector(rng));
        if self.file == VectorFile::Ymm {
            registers.vectors[16..].fill(Vector::ZERO);
            registers.vectors.iter_mut().for_each(|v| v.lanes_mut::<u64>()[4..].fill(0));
        } else {
            registers.masks = std::array::from_fn(|_| values::mask(rng));
        }
        registers.general = std::array::from_fn(|_| values::general(rng));
        registers.flags = rng.next() & Flags::ALL;

        self.window.0.as_chunks_mut::<64>().0.iter_mut().for_each(|c| *c = bytemuck::cast(values::vector(rng)));
        self.window.0[STACK..][..8].copy_from_slice(&self.harness.return_address().to_le_bytes());
        let start = self.window.0.as_mut_ptr().expose_provenance() as u64;
        registers.general[4] = start + STACK as u64;

        let instruction = &form.instruction;
        let base = instruction.memory_base();
        if base.is_gpr64() && base != Register::RSP {
            let aligned = needs_alignment(instruction.mnemonic());
            let target = start + if aligned { 64 * rng.below(8) } else { rng.below(512) } as u64;
            let index = match instruction.memory_index() {
                Register::None => 0,
                index => registers.general[index.number()].wrapping_mul(instruction.memory_index_scale().into()),
            };
            let rest = index.wrapping_add(instruction.memory_displacement64());
            registers.general[base.number()] = target.wrapping_sub(rest);
        }
        registers
    }

    /// Executes a form on random states. Its code must be in its place.
    fn compare(&mut self, form: &Form, program: &Program, rng: &mut Rng) {
        for _ in 0..STATES {
            let before = self.registers(form, rng);
            let memory = self.window.clone();
            let name = || format!("{:?} {}: {:02x?}", form.instruction.code(), form.instruction, form.bytes);

            let mut expected = before.clone();
            // SAFETY: the CPU has the instruction; its memory operand is in the window or among the constants, which
            // are only read; the return address is on its stack.
            unsafe { self.harness.run(&mut expected) };
            let expected_memory = self.window.clone();

            self.window.clone_from(&memory);
            let mut state = State::arbitrary();
            state.vectors = before.vectors;
            state.masks = before.masks;
            state.general[..16].copy_from_slice(&before.general);
            state.flags = Flags { bits: before.flags & Flags::ALL, undefined: 0 };
            // SAFETY: as above; the code is in its place.
            let result = unsafe { program.execute(&mut state) };
            let statistics = result.unwrap_or_else(|fault| panic!("{}: {fault}", name()));
            assert!(statistics.count(form.instruction.mnemonic()) >= 1, "{}", name());

            for (n, (e, f)) in expected.vectors.iter().zip(&state.vectors).enumerate().take(self.file.count()) {
                let bytes = ..self.file.bytes();
                let (e, f) = (&e.lanes::<u8>()[bytes], &f.lanes::<u8>()[bytes]);
                assert!(e == f, "{}: vector {n}:\n the CPU   {e:02x?}\n the model {f:02x?}\n{before:x?}", name());
            }
            if self.file == VectorFile::Zmm {
                assert_eq!(expected.masks, state.masks, "{}: masks (the CPU, the model)", name());
            }
            assert_eq!(expected.general, state.general[..16], "{}: registers (the CPU, the model)", name());
            assert_eq!(state.general[16], 0, "{}", name());
            let defined = Flags::ALL & !state.flags.undefined;
            assert_eq!(
                expected.flags & defined,
                state.flags.bits & defined,
                "{}: flags (the CPU, the model)\n{before:x?}",
                name()
            );
            let open = u64::from(documented_as_undefined(form)) | Flags::ADJUST;
            assert_eq!(state.flags.undefined & !open, 0, "{}: flags that are defined", name());
            let differs = (0..WINDOW).find(|&i| expected_memory.0[i] != self.window.0[i]);
            assert_eq!(differs, None, "{}: the first byte of memory that differs", name());
        }
    }
}

/// Flags that the instruction leaves undefined, by iced's tables.
fn documented_as_undefined(form: &Form) -> u32 {
    use iced_x86::RflagsBits as R;
    let flags = form.instruction.rflags_undefined();
    let pairs = [
        (R::CF, Flags::CARRY),
        (R::PF, Flags::PARITY),
        (R::ZF, Flags::ZERO),
        (R::SF, Flags::SIGN),
        (R::OF, Flags::OVERFLOW),
    ];
    let mut undefined = pairs.iter().filter(|&&(bit, _)| flags & bit != 0).map(|&(_, flag)| flag as u32).sum();
    // The tables do not look at counts: the carry flag is open for counts of the operand's width and above, the
    // overflow flag for all counts but one.
    if matches!(form.instruction.mnemonic(), Mnemonic::Shl | Mnemonic::Shr | Mnemonic::Sar) {
        undefined |= (Flags::CARRY | Flags::OVERFLOW) as u32;
    }
    undefined
}

fn needs_alignment(mnemonic: Mnemonic) -> bool {
    matches!(mnemonic, Mnemonic::Vmovdqa | Mnemonic::Vmovdqa32 | Mnemonic::Vmovdqa64)
}

/// What became of an opcode that the model has.
#[derive(Debug, Default)]
struct Checks {
    /// Forms, and the runs of all of them.
    forms: BTreeSet<Variant>,
    runs: usize,
}

#[test]
fn every_form_does_what_the_cpu_does() {
    let Some(file) = VectorFile::of_this_cpu() else {
        say("SKIPPED every_form_does_what_the_cpu_does: this CPU lacks AVX2");
        return;
    };
    let mut rng = Rng(21);
    let mut comparison = Comparison::new(file, &mut rng);
    let places = places_of(&comparison.harness);
    let mut modelled: BTreeMap<Code, Checks> = BTreeMap::new();
    let mut missing: BTreeMap<String, BTreeSet<Code>> = BTreeMap::new();
    let mut never_built = BTreeSet::new();
    let mut refused = BTreeSet::new();
    for code in codes() {
        let mut built = false;
        for variant in Variant::all() {
            for _ in 0..ENCODINGS {
                let Some(form) = forms::build(code, variant, places, &mut rng) else { continue };
                built = true;
                // Decoded at its place, which addresses are relative to.
                comparison.harness.place(&form.bytes);
                let program = match Program::decode(comparison.harness.snippet(form.bytes.len())) {
                    Ok(program) => program,
                    Err(fault) => {
                        assert!(matches!(fault.reason, Reason::NotModelled(_)), "{code:?}: {fault}");
                        refused.insert(code);
                        continue;
                    }
                };
                let checks = modelled.entry(code).or_default();
                if let Some(feature) = features::missing(code) {
                    missing.entry(feature).or_default().insert(code);
                    continue;
                }
                comparison.compare(&form, &program, &mut rng);
                checks.forms.insert(variant);
                checks.runs += STATES;
            }
        }
        if !built {
            never_built.insert(code);
        }
    }

    // Each opcode of the model was executed, or the CPU cannot.
    let listed: BTreeSet<Code> = missing.values().flatten().copied().collect();
    for (code, checks) in &modelled {
        let checked = checks.runs > 0;
        assert!(checked != listed.contains(code), "{code:?}: {checks:?}");
    }
    // A variant of an opcode is in the model if the opcode is.
    let halved: Vec<Code> = refused.iter().copied().filter(|code| modelled.contains_key(code)).collect();
    assert_eq!(halved, [], "opcodes of which some forms are in the model and some are not");
    // The test knows all forms of a mnemonic in the model.
    let mnemonics: BTreeSet<Mnemonic> = modelled.keys().map(|code| code.mnemonic()).collect();
    let unknown = never_built.into_iter().filter(|code| mnemonics.contains(&code.mnemonic()));
    let untried: Vec<Code> = unknown.filter(|&code| !vocabulary::is_left_out(code)).collect();
    assert_eq!(untried, [], "opcodes that the test never tries");
    assert_eq!(mnemonics, vocabulary::mnemonics(), "the model's mnemonics (found, expected)");

    for (feature, codes) in &missing {
        say(&format!("not checked on hardware: {} opcodes, as {feature}: {codes:?}", codes.len()));
    }
    let forms: usize = modelled.values().map(|checks| checks.forms.len()).sum();
    let runs: usize = modelled.values().map(|checks| checks.runs).sum();
    let checked = modelled.len() - listed.len();
    eprintln!("{checked} opcodes of {} mnemonics in {forms} forms compared, {runs} times", mnemonics.len());
    let by_place = |place| modelled.values().flat_map(|c| &c.forms).filter(|v| v.place == place).count();
    for place in [Place::Register, Place::Memory, Place::Stack, Place::Code, Place::Broadcast] {
        eprintln!("  {place:?}: {}", by_place(place));
    }
    let others: Vec<_> = refused.iter().filter(|code| mnemonics.contains(&code.mnemonic())).collect();
    eprintln!("opcodes of these mnemonics that the model refuses: {others:?}");
}
