//! The encoder against an independent disassembler: every line of the table, at every width, with every register, every
//! address form, and displacements around the limits of their encodings.

use std::collections::{BTreeMap, BTreeSet};

use dynasmrt::{DynasmApi, DynasmLabelApi, dynasm};
use iced_x86::{Decoder, DecoderOptions, InstructionInfoFactory};

use super::inspect::{
    Choice, Encoded, Expected, GPRS, RegisterChoice, RmChoice, SCALES, WIDTHS, allowed, check_instruction, order,
    registers,
};
use super::instruction::Tuple;
use super::table::{self, ALL};
use super::*;
use crate::x86::features::Features;
use crate::x86::operand::{Gpr, Scale, Tile};

mod illegal;
mod llvm;

/// A generator of numbers that look random, the same ones in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// What the tests try of one instruction at one width.
struct Cases<'a> {
    instruction: &'static Instruction,
    width: Width,
    constants: &'a [DynamicLabel],
    numbers: Numbers,
    cases: Vec<Operands>,
}

impl Cases<'_> {
    /// Random operands, but for what `fix` sets; all kinds of masks that are legal with them.
    fn add(&mut self, rm: Rm, fix: impl Fn(&mut Operands)) {
        let i = self.instruction;
        let (reg, vvvv) = (self.numbers.of(&registers(i, i.reg)), self.numbers.of(&registers(i, i.vvvv)));
        let mut o = Operands::new(reg, vvvv, rm);
        if i.immediate == Immediate::Byte {
            o = o.imm(self.numbers.below(256) as u8);
        }
        let memory = !matches!(rm, Rm::Register(_));
        o.broadcast = memory && i.tuple.broadcast_element().is_some() && self.numbers.below(2) == 0;
        fix(&mut o);
        if !allowed(i, &o) {
            return;
        }
        self.cases.push(o);
        if i.encoding == Encoding::Evex {
            self.cases.push(o.masked(Opmask(1 + self.numbers.below(7) as u8)));
            if !(memory && i.stores()) {
                self.cases.push(o.zeroed(Opmask(1 + self.numbers.below(7) as u8)));
            }
        }
    }

    fn registers(&mut self) {
        let i = self.instruction;
        if !i.forms.register() {
            return;
        }
        let rms = registers(i, i.rm);
        for &reg in &registers(i, i.reg) {
            let rm = self.numbers.of(&rms);
            self.add(Rm::Register(rm), |o| o.reg = reg);
        }
        for &vvvv in &registers(i, i.vvvv) {
            let rm = self.numbers.of(&rms);
            self.add(Rm::Register(rm), |o| o.vvvv = vvvv);
        }
        for rm in rms {
            self.add(Rm::Register(rm), |_| {});
        }
        // All tiles of a product; the forms without operands.
        for n in 0..512u32 {
            let [reg, vvvv, rm] = [n & 7, n >> 3 & 7, n >> 6 & 7].map(|r| Register::from(Tile(r as u8)));
            if i.feature != Features::AMX_TILE && i.vvvv == Field::Operand(Access::Read, Class::Tile) {
                self.add(Rm::Register(rm), |o| (o.reg, o.vvvv) = (reg, vvvv));
            }
        }
    }

    fn memory(&mut self) {
        let i = self.instruction;
        if !i.forms.memory() {
            return;
        }
        let (most, least) = (i64::from(i32::MAX), i64::from(i32::MIN));
        let mut displacements = vec![0, 1, -1, 127, 128, -128, -129, 1 << 20, -(1 << 20), most, least];
        for broadcast in [false, true] {
            let unit = 1 << i.displacement_shift(self.width, broadcast);
            for units in [1, 2, 126, 127, 128, 129, -1, -2, -127, -128, -129] {
                displacements.extend([units * unit, units * unit + 1, units * unit - 1, units * unit + unit / 2]);
            }
        }
        for base in GPRS {
            for index in GPRS.iter().flat_map(|&g| SCALES.map(|s| Some((g, s)))).chain([None; 8]) {
                let disp = self.numbers.of(&displacements);
                self.add(Rm::Memory(Mem { base, index, disp }), |_| {});
            }
        }
        for &disp in &displacements {
            for broadcast in [false, i.tuple.broadcast_element().is_some()] {
                let (base, index) = (self.numbers.of(&GPRS), (self.numbers.of(&GPRS), self.numbers.of(&SCALES)));
                for index in [None, Some(index)] {
                    self.add(Rm::Memory(Mem { base, index, disp }), |o| o.broadcast = broadcast);
                }
            }
        }
        if i.forms != Forms::Sib {
            for _ in 0..8 {
                let label = self.numbers.of(self.constants);
                self.add(Rm::Constant(label), |_| {});
            }
        }
    }
}

#[test]
fn disassembles_to_what_was_asked_for() {
    let mut factory = InstructionInfoFactory::new();
    let mut covered = BTreeMap::<&str, BTreeSet<usize>>::new();
    let mut total = 0;
    for (n, &(constant_name, instruction)) in ALL.iter().enumerate() {
        for width in WIDTHS.into_iter().filter(|&w| instruction.widths.contains(w)) {
            let mut asm = Assembler::new();
            let constants = [asm.constant(&[1; 8]), asm.constant(&[2; 8])];
            let numbers = Numbers(0x9E37_79B9_7F4A_7C15 ^ (n << 2 | width as usize) as u64);
            let mut cases = Cases { instruction, width, constants: &constants, numbers, cases: vec![] };
            cases.registers();
            cases.memory();

            let mut ends = vec![];
            for operands in &cases.cases {
                asm.emit(instruction, width, *operands);
                ends.push(asm.ops.offset().0);
            }
            assert_eq!(asm.features, instruction.features(width));
            let bytes = asm.finish().unwrap();
            let code = *ends.last().unwrap();
            let constants_at = code.next_multiple_of(64);
            assert_eq!(bytes.len(), constants_at + 64);

            let mut decoder = Decoder::new(64, &bytes[..code], DecoderOptions::NONE);
            for (operands, end) in cases.cases.iter().zip(ends) {
                let start = decoder.position();
                let decoded = decoder.decode();
                let constant = match operands.rm {
                    Rm::Constant(label) => {
                        let index = constants.iter().position(|&c| c == label).unwrap();
                        Some((constants_at + 32 * index) as u64)
                    }
                    _ => None,
                };
                let expected = Expected { instruction, width, operands, constant };
                let code = &bytes[start..end];
                assert_eq!(decoder.position(), end, "{constant_name} {width:?} {operands:?}: length of {code:02x?}");
                if let Err(why) = expected.check(&decoded, &mut factory) {
                    panic!("{constant_name} {width:?} {operands:?}: {code:02x?} is {decoded}: {why}");
                }
                let kind = match operands.rm {
                    Rm::Register(_) => 0,
                    Rm::Memory(_) => 1,
                    Rm::Constant(_) => 2,
                };
                let mask = operands.mask.map_or(0, |m| 1 + m.zeroing as usize);
                covered.entry(constant_name).or_default().insert(kind + 3 * mask + 9 * operands.broadcast as usize);
                total += 1;
            }
        }
    }
    // Each line has been tried in each of its forms.
    assert_eq!(covered.len(), ALL.len());
    for &(name, i) in ALL {
        let kinds = [i.forms.register(), i.forms.memory(), i.forms.memory() && i.forms != Forms::Sib];
        let mut forms = kinds.iter().filter(|&&k| k).count();
        let memory_forms = kinds[1..].iter().filter(|&&k| k).count();
        if i.encoding == Encoding::Evex {
            forms = forms * 3 - if i.stores() { memory_forms } else { 0 };
        }
        if i.tuple.broadcast_element().is_some() {
            forms += memory_forms * 3;
        }
        assert_eq!(covered[name].len(), forms, "{name}: forms tried");
    }
    println!("{} lines, {total} instructions", ALL.len());
}

/// Fields that know nothing of each other: most of these are illegal, and must be refused.
#[test]
fn any_fields_decode_or_are_refused() {
    let mut numbers = Numbers(0x2545_F491_4F6C_DD1D);
    let (mut decoded, mut refused) = (0, 0);
    for _ in 0..100_000 {
        let number = |n: &mut Numbers| {
            let most = n.of(&[1, 8, 16, 32, 256]);
            n.below(most) as u8
        };
        // Mostly of the kind that the line has.
        let register = |n: &mut Numbers| RegisterChoice { kind: n.below(40) as u8, number: number(n) };
        let n = &mut numbers;
        let rm = match n.below(4) {
            0 => RmChoice::Constant,
            1 => RmChoice::Memory {
                base: number(n),
                index: (n.below(2) == 0).then(|| (number(n), number(n))),
                displacement: n.below(1 << 32) as i32 >> n.below(32),
            },
            _ => RmChoice::Register(register(n)),
        };
        let choice = Choice {
            line: n.below(ALL.len()),
            width: number(n),
            reg: register(n),
            vvvv: register(n),
            rm,
            mask: (n.below(4) == 0).then(|| (number(n), n.below(2) == 0)),
            broadcast: n.below(4) == 0,
            immediate: (n.below(4) == 0).then(|| number(n)),
        };
        match check_instruction(&choice).unwrap_or_else(|why| panic!("{choice:?}: {why}")) {
            Encoded::Decoded => decoded += 1,
            Encoded::Refused => refused += 1,
        }
    }
    assert!(decoded > 10_000 && refused > 10_000, "{decoded} decoded, {refused} refused");
}

#[test]
fn table_is_consistent() {
    let names: BTreeSet<_> = ALL.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), ALL.len());
    for (name, i) in ALL {
        assert!(name.to_lowercase().starts_with(i.name), "{name} is called {}", i.name);
        assert!(WIDTHS.iter().any(|&w| i.widths.contains(w)), "{name} has a width");
        let sized = i.forms.memory() && !i.feature.common(Features::AMX).contains(i.feature);
        assert_eq!(sized, i.tuple != Tuple::Unscaled, "{name}: tuple");
        let memory_only = matches!(i.rm, Field::Operand(_, Class::Memory));
        assert_eq!(memory_only, !i.forms.register(), "{name}: forms");
        if let Tuple::Fixed(bytes) = i.tuple {
            assert!(bytes.is_power_of_two(), "{name}: {bytes} bytes");
        }
    }
}

/// Instructions of both assemblers, with jumps and constants across them.
#[test]
fn mixes_with_dynasm() {
    let mut asm = Assembler::new();
    let constant = asm.constant(&[7; 8]);
    let top = asm.label();
    asm.place(top);
    asm.emit(&table::VPADDD, Width::Z, Operands::new(Vector(17), Vector(2), Rm::Constant(constant)).broadcast());
    dynasm!(asm.ops ; .arch x64 ; vpaddd ymm1, ymm2, [=>constant]);
    let operands = Operands::new(Vector(1), Vector(2), Rm::Constant(constant)).imm(0x4E);
    asm.emit(&table::VPTERNLOGD, Width::Y, operands);
    asm.dec_jump_not_zero(Gpr::Rcx, top);
    asm.ret();
    assert_eq!(asm.features, Features::AVX512F.and(Features::AVX512VL));
    let bytes = asm.finish().unwrap();
    let decoded: Vec<_> = Decoder::new(64, &bytes, DecoderOptions::NONE).into_iter().take(6).collect();
    assert_eq!(decoded.last().unwrap().mnemonic(), iced_x86::Mnemonic::Ret);
    let constant_at = decoded.last().unwrap().next_ip().next_multiple_of(32);
    for n in [0, 1, 2] {
        assert_eq!(decoded[n].memory_displacement64(), constant_at, "{}", decoded[n]);
    }
    assert_eq!(decoded[4].near_branch64(), 0);
    assert_eq!(bytes[constant_at as usize..], [7u32; 8].map(u32::to_le_bytes).concat());
}
