//! Masked-out bytes are not touched: operands that reach into a page that nobody may touch. A model that reads more
//! than the CPU ends the test with a signal.

use gemmill_machine::{Flags, Program, State, Vector};
use iced_x86::{Code, EncodingKind, Mnemonic, Register};

use crate::common::Rng;
use crate::forms::{self, Form, Masking, Place, Variant};
use crate::guarded::Guarded;
use crate::native::{CONSTANT_BYTES, Harness, Registers, VectorFile};
use crate::{codes, features, places_of, say, values};

/// What the SDM's exception classes say of masked-out elements in memory: these suppress faults (classes E2, E4, E5, E6
/// without "NF").
fn suppresses_faults(mnemonic: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(
        mnemonic,
        Vmovdqa32
            | Vmovdqa64
            | Vmovdqu8
            | Vmovdqu16
            | Vmovdqu32
            | Vmovdqu64
            | Vmovups
            | Vpmaskmovd
            | Vpandd
            | Vpandq
            | Vpandnd
            | Vpandnq
            | Vpord
            | Vporq
            | Vpxord
            | Vpxorq
            | Vpternlogd
            | Vpternlogq
            | Vpaddw
            | Vpaddsw
            | Vpaddd
            | Vpsubd
            | Vpmulld
            | Vpdpbusd
            | Vpdpwssd
            | Vpminub
            | Vpmaxub
            | Vpminsb
            | Vpmaxsb
            | Vpminsd
            | Vpmaxsd
            | Vpsllw
            | Vpslld
            | Vpsrlw
            | Vpsrld
            | Vpsraw
            | Vpsrad
            | Vpmovzxbw
            | Vpmovzxbd
            | Vpmovzxwd
            | Vpmovsxbw
            | Vpmovsxbd
            | Vpmovsxwd
            | Vpmovdb
            | Vpmovsdb
            | Vpmovusdb
            | Vpmovwb
            | Vaddps
            | Vsubps
            | Vmulps
            | Vdivps
            | Vmaxps
            | Vminps
            | Vfmadd132ps
            | Vfmadd213ps
            | Vfmadd231ps
            | Vdpbf16ps
            | Vcvtdq2ps
            | Vcvtps2dq
            | Vcvtph2ps
            | Vcvtps2ph
            | Vpbroadcastb
            | Vpbroadcastw
            | Vpbroadcastd
            | Vpbroadcastq
            | Vbroadcasti32x4
            | Vbroadcasti32x8
            | Vbroadcasti64x4
    )
}

/// Lanes that a mask chooses from, where they correspond to elements of the memory operand.
fn lanes(form: &Form) -> Option<usize> {
    use Mnemonic::*;
    let instruction = &form.instruction;
    let bytes = instruction.memory_size().size();
    let lanes = match instruction.mnemonic() {
        Vpbroadcastb | Vpbroadcastw | Vpbroadcastd | Vpbroadcastq | Vbroadcasti32x4 | Vbroadcasti32x8
        | Vbroadcasti64x4 => return None,
        _ if instruction.is_broadcast() => return None,
        Vmovdqu8 | Vpminub | Vpmaxub | Vpminsb | Vpmaxsb | Vpmovdb | Vpmovsdb | Vpmovusdb | Vpmovwb | Vpmovzxbw
        | Vpmovzxbd | Vpmovsxbw | Vpmovsxbd => bytes,
        Vmovdqu16 | Vpaddw | Vpaddsw | Vpsllw | Vpsrlw | Vpsraw | Vpmovzxwd | Vpmovsxwd | Vcvtph2ps | Vcvtps2ph => {
            bytes / 2
        }
        Vmovdqa64 | Vmovdqu64 | Vpandq | Vpandnq | Vporq | Vpxorq | Vpternlogq => bytes / 8,
        _ => bytes / 4,
    };
    Some(lanes)
}

/// A page of memory before one that nobody may touch.
struct Edge {
    memory: Guarded,
    contents: Vec<u8>,
}

impl Edge {
    /// The address behind the last byte.
    fn reset(&mut self) -> u64 {
        self.memory.put(&self.contents).wrapping_add(self.contents.len()).expose_provenance() as u64
    }
}

#[test]
fn masked_out_bytes_are_not_touched() {
    let Some(file) = VectorFile::of_this_cpu() else {
        say("SKIPPED masked_out_bytes_are_not_touched: this CPU lacks AVX2");
        return;
    };
    if cfg!(not(target_os = "linux")) {
        say("SKIPPED masked_out_bytes_are_not_touched: no guard pages on this system");
        return;
    }
    let mut rng = Rng(22);
    let mut harness = Harness::new(file, &[0; CONSTANT_BYTES]);
    let places = places_of(&harness);
    let contents = (0..4096).map(|_| rng.next() as u8).collect();
    let mut edge = Edge { memory: Guarded::new(4096), contents };
    let mut stack = Guarded::new(4096);
    let (mut forms, mut runs) = (0, 0);
    for code in codes().filter(|code| suppresses_faults(code.mnemonic()) && features::missing(*code).is_none()) {
        let variants = Variant::all().filter(|v| matches!(v.place, Place::Memory | Place::Broadcast));
        for variant in variants {
            let by_vector = code.mnemonic() == Mnemonic::Vpmaskmovd;
            if (variant.masking == Masking::None) != by_vector {
                continue;
            }
            let Some(form) = forms::build(code, variant, places, &mut rng) else { continue };
            harness.place(&form.bytes);
            // Shifts by a count in a register are not in the model.
            let Ok(program) = Program::decode(harness.snippet(form.bytes.len())) else { continue };
            forms += 1;
            let lanes = lanes(&form);
            let bytes = form.instruction.memory_size().size();
            // Aligned operands cannot reach into the next page.
            let aligned = matches!(code.mnemonic(), Mnemonic::Vmovdqa32 | Mnemonic::Vmovdqa64);
            let counts = match lanes {
                Some(lanes) if !aligned => vec![0, 1, lanes / 2, lanes - 1, lanes],
                _ => vec![0],
            };
            for count in counts {
                let accessible = lanes.map_or(0, |lanes| count * bytes / lanes);
                compare(
                    &mut Setup {
                        form: &form,
                        program: &program,
                        harness: &mut harness,
                        edge: &mut edge,
                        stack: &mut stack,
                        count,
                        accessible,
                    },
                    file,
                    &mut rng,
                );
                runs += 1;
            }
        }
    }
    eprintln!("{forms} forms with operands at the edge of memory, {runs} runs");
    assert!(forms > 0);
}

struct Setup<'a> {
    form: &'a Form,
    program: &'a Program,
    harness: &'a mut Harness,
    edge: &'a mut Edge,
    stack: &'a mut Guarded,
    /// Active lanes, the first ones.
    count: usize,
    /// Bytes of the operand before the edge.
    accessible: usize,
}

fn compare(setup: &mut Setup, file: VectorFile, rng: &mut Rng) {
    let instruction = &setup.form.instruction;
    let mut before = Registers::new();
    before.vectors = std::array::from_fn(|_| values::vector(rng));
    if file == VectorFile::Ymm {
        before.vectors[16..].fill(Vector::ZERO);
        before.vectors.iter_mut().for_each(|v| v.lanes_mut::<u64>()[4..].fill(0));
    }
    // Lanes that there are not do not count.
    let beyond = if lanes(setup.form).is_none() {
        0
    } else {
        rng.next() & !((1u128 << lanes(setup.form).unwrap_or(0)) - 1) as u64
    };
    before.masks = [((1u128 << setup.count) - 1) as u64 | beyond; 8];
    if instruction.mnemonic() == Mnemonic::Vpmaskmovd {
        let mask = before.vectors[instruction.op1_register().number()].lanes_mut::<i32>();
        mask.iter_mut()
            .enumerate()
            .for_each(|(lane, x)| *x = if lane < setup.count { *x | i32::MIN } else { *x & i32::MAX });
    }
    before.general = std::array::from_fn(|_| values::general(rng));
    let at = setup.edge.reset().wrapping_sub(setup.accessible as u64);
    let index = match instruction.memory_index() {
        Register::None => 0,
        index => before.general[index.number()].wrapping_mul(instruction.memory_index_scale().into()),
    };
    let rest = index.wrapping_add(instruction.memory_displacement64());
    before.general[instruction.memory_base().number()] = at.wrapping_sub(rest);
    before.general[4] = setup.stack.put(&[setup.harness.return_address(), 0]).expose_provenance() as u64;

    let name = format!("{:?} {instruction}, {} active lanes", instruction.code(), setup.count);
    let mut expected = before.clone();
    // SAFETY: the CPU has the instruction and does not touch what is masked out; the return address is on its stack.
    unsafe { setup.harness.run(&mut expected) };
    let expected_memory: Vec<u8> = setup.edge.memory.take(4096);
    setup.edge.reset();
    let mut state = State::arbitrary();
    (state.vectors, state.masks) = (before.vectors, before.masks);
    state.general[..16].copy_from_slice(&before.general);
    state.flags = Flags::default();
    // SAFETY: as above.
    unsafe { setup.program.execute(&mut state) }.unwrap_or_else(|fault| panic!("{name}: {fault}"));
    let count = file.count();
    assert!(expected.vectors[..count] == state.vectors[..count], "{name}: vectors");
    assert!(expected_memory == setup.edge.memory.take::<u8>(4096), "{name}: memory");
}

/// The list above names what the CPU lets be masked, and nothing that has no masks.
#[test]
fn listed_instructions_can_be_masked() {
    let maskable = |code: &Code| {
        let info = code.op_code();
        let in_memory = |kind| forms::can_be_memory(kind).0;
        code.encoding() == EncodingKind::EVEX
            && info.can_use_op_mask_register()
            && info.op_kinds().iter().any(|&kind| in_memory(kind))
            || code.mnemonic() == Mnemonic::Vpmaskmovd
    };
    for mnemonic in Mnemonic::values().filter(|&m| suppresses_faults(m)) {
        assert!(codes().any(|code| code.mnemonic() == mnemonic && maskable(&code)), "{mnemonic:?}");
    }
}
