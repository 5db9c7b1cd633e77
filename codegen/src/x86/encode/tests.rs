//! The encoder against an independent disassembler: every line of the table, at every width, with every register, every
//! address form, and displacements around the limits of their encodings.

use std::collections::{BTreeMap, BTreeSet};

use dynasmrt::{DynasmApi, DynasmLabelApi, dynasm};
use iced_x86::{
    CpuidFeature, Decoder, DecoderOptions, Instruction as Decoded, InstructionInfoFactory, OpAccess, OpKind, Register,
};

use super::table::{self, ALL};
use super::*;
use crate::x86::asm::{Gpr, Scale};

mod illegal;
mod llvm;

pub(super) const GPRS: [Gpr; 15] = [
    Gpr::Rax,
    Gpr::Rcx,
    Gpr::Rdx,
    Gpr::Rbx,
    Gpr::Rbp,
    Gpr::Rsi,
    Gpr::Rdi,
    Gpr::R8,
    Gpr::R9,
    Gpr::R10,
    Gpr::R11,
    Gpr::R12,
    Gpr::R13,
    Gpr::R14,
    Gpr::R15,
];
pub(super) const SCALES: [Scale; 4] = [Scale::X1, Scale::X2, Scale::X4, Scale::X8];
const WIDTHS: [Width; 3] = [Width::X, Width::Y, Width::Z];

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

/// The numbers that a field may have.
fn registers(i: &Instruction, field: Field) -> Vec<u8> {
    match field {
        Field::Unused | Field::Digit(_) => vec![0],
        Field::Operand(_, Class::Memory) => vec![],
        Field::Operand(_, Class::Opmask | Class::Tile) => (0..8).collect(),
        Field::Operand(_, Class::Gpr32 | Class::Gpr64) => (0..16).filter(|&r| r != 4).collect(),
        Field::Operand(..) if i.encoding == Encoding::Evex => (0..32).collect(),
        Field::Operand(..) => (0..16).collect(),
    }
}

/// Three tiles of a product must differ.
fn allowed(i: &Instruction, o: &Operands) -> bool {
    let tiles = i.vvvv == Field::Operand(Access::Read, Class::Tile);
    !tiles || matches!(o.rm, Rm::Register(rm) if rm != o.reg && rm != o.vvvv && o.reg != o.vvvv)
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
        let mut o = Operands::new(0, 0, rm);
        o.reg = self.numbers.of(&registers(i, i.reg));
        o.vvvv = self.numbers.of(&registers(i, i.vvvv));
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
            self.cases.push(o.masked(1 + self.numbers.below(7) as u8));
            if !(memory && matches!(i.rm, Field::Operand(Access::Write, _))) {
                self.cases.push(o.zeroed(1 + self.numbers.below(7) as u8));
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
            let [reg, vvvv, rm] = [n & 7, n >> 3 & 7, n >> 6 & 7].map(|r| r as u8);
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
        let mut displacements = vec![0, 1, -1, 127, 128, -128, -129, 1 << 20, -(1 << 20), i32::MAX, i32::MIN];
        for broadcast in [false, true] {
            let unit = 1 << i.tuple.displacement_shift(self.width, broadcast);
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

/// The register `number` places behind `first`.
fn nth(first: Register, number: u8) -> Register {
    first + u32::from(number)
}

/// The disassembler's name of a register.
fn iced_register(class: Class, width: Width, number: u8) -> Register {
    let vector = |width| match width {
        Width::X => Register::XMM0,
        Width::Y => Register::YMM0,
        Width::Z => Register::ZMM0,
    };
    let first = match (class, width) {
        (Class::Vector, _) => vector(width),
        (Class::HalfVector, Width::Z) | (Class::Ymm, _) => Register::YMM0,
        (Class::HalfVector | Class::QuarterVector | Class::Xmm, _) => Register::XMM0,
        (Class::Opmask, _) => Register::K0,
        (Class::Tile, _) => Register::TMM0,
        (Class::Gpr32, _) => Register::EAX,
        (Class::Gpr64, _) => Register::RAX,
        (Class::Memory, _) => panic!("memory is no register"),
    };
    nth(first, number)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Reg,
    Vvvv,
    Rm,
}

/// The operand fields in the order of Intel's syntax: the destination, then the sources.
fn order(i: &Instruction) -> Vec<(Place, Access, Class)> {
    let sources = match i.vvvv {
        // Tile products name ModRM.rm before vvvv.
        Field::Operand(_, Class::Tile) => [(Place::Rm, i.rm), (Place::Vvvv, i.vvvv)],
        _ => [(Place::Vvvv, i.vvvv), (Place::Rm, i.rm)],
    };
    let mut operands: Vec<_> = [(Place::Reg, i.reg)]
        .into_iter()
        .chain(sources)
        .filter_map(|(place, field)| match field {
            Field::Operand(access, class) => Some((place, access, class)),
            _ => None,
        })
        .collect();
    operands.sort_by_key(|(_, access, _)| *access == Access::Read);
    operands
}

fn iced_feature(feature: CpuidFeature) -> Features {
    match feature {
        CpuidFeature::AVX512F => Features::AVX512F,
        CpuidFeature::AVX512BW => Features::AVX512BW,
        CpuidFeature::AVX512DQ => Features::AVX512DQ,
        CpuidFeature::AVX512VL => Features::AVX512VL,
        CpuidFeature::AVX512_VNNI => Features::AVX512_VNNI,
        CpuidFeature::AVX512_BF16 => Features::AVX512_BF16,
        CpuidFeature::AVX_VNNI => Features::AVX_VNNI,
        CpuidFeature::AMX_TILE => Features::AMX_TILE,
        CpuidFeature::AMX_INT8 => Features::AMX_INT8,
        CpuidFeature::AMX_BF16 => Features::AMX_BF16,
        other => panic!("a feature that the table does not know: {other:?}"),
    }
}

/// Leaves the function with an error if something is not as expected.
macro_rules! same {
    ($found:expr, $expected:expr, $what:expr) => {
        let (found, expected) = ($found, $expected);
        if found != expected {
            return Err(format!("{}: {found:?}, expected {expected:?}", $what));
        }
    };
}

/// Where an operand lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Location {
    Memory,
    WholeRegister,
    Register,
}

/// What an instruction was made from.
struct Expected<'a> {
    instruction: &'static Instruction,
    width: Width,
    operands: &'a Operands,
    /// Address of the constant, if the operand is one.
    constant: Option<u64>,
}

impl Expected<'_> {
    fn check(&self, decoded: &Decoded, factory: &mut InstructionInfoFactory) -> Result<(), String> {
        let Expected { instruction: i, width, operands: o, .. } = *self;
        same!(decoded.is_invalid(), false, "invalid");
        same!(format!("{:?}", decoded.mnemonic()).to_lowercase(), i.name, "mnemonic");
        let evex = decoded.encoding() == iced_x86::EncodingKind::EVEX;
        same!(evex, i.encoding == Encoding::Evex, "EVEX");
        same!(decoded.op_mask(), o.mask.map_or(Register::None, |m| nth(Register::K0, m.register)), "mask");
        same!(decoded.zeroing_masking(), o.mask.is_some_and(|m| m.zeroing), "zeroing");
        same!(decoded.is_broadcast(), o.broadcast, "broadcast");
        same!(decoded.rounding_control(), iced_x86::RoundingControl::None, "rounding control");

        // The disassembler knows that a difference of equal registers does not depend on them; the table does not.
        let equal_sources = matches!(o.rm, Rm::Register(rm) if rm == o.vvvv);
        let zero_idiom = equal_sources && ["vpxord", "vpxorq", "vpsubd"].contains(&i.name);
        let fields = order(i);
        same!(decoded.op_count() as usize, fields.len() + o.imm.is_some() as usize, "operands");
        for (n, (place, access, class)) in (0..).zip(fields) {
            let memory = place == Place::Rm && !matches!(o.rm, Rm::Register(_));
            if memory {
                same!(decoded.op_kind(n), OpKind::Memory, "kind");
                self.check_memory(decoded)?;
            } else {
                let number = match (place, o.rm) {
                    (Place::Reg, _) => o.reg,
                    (Place::Vvvv, _) => o.vvvv,
                    (Place::Rm, Rm::Register(rm)) => rm,
                    (Place::Rm, _) => return Err("a register expected where memory was given".to_owned()),
                };
                same!(decoded.op_kind(n), OpKind::Register, "kind");
                same!(decoded.op_register(n), iced_register(class, width, number), format!("{place:?}"));
            }
            let location = match decoded.op_register(n) {
                _ if memory => Location::Memory,
                register if register.is_zmm() => Location::WholeRegister,
                _ => Location::Register,
            };
            let access = expected_access(access, location, o.mask);
            if !zero_idiom {
                same!(factory.info(decoded).op_access(n), access, format!("access to {place:?}"));
            }
        }
        if let Some(imm) = o.imm {
            same!(decoded.op_kind(decoded.op_count() - 1), OpKind::Immediate8, "kind");
            same!(decoded.immediate8(), imm, "immediate");
        }
        // The disassembler leaves AVX512F out where another feature implies it.
        let mut features = if evex && width == Width::Z { Features::AVX512F } else { Features::NONE };
        decoded.cpuid_features().iter().for_each(|&f| features.add(iced_feature(f)));
        same!(features, i.features(width), "features");
        Ok(())
    }

    fn check_memory(&self, decoded: &Decoded) -> Result<(), String> {
        let Expected { instruction: i, width, operands: o, constant } = *self;
        let (base, index, scale, address) = match (o.rm, constant) {
            (Rm::Memory(mem), None) => {
                let index = mem.index.map_or(Register::None, |(index, _)| nth(Register::RAX, index.id()));
                let scale = mem.index.map_or(1, |(_, scale)| 1 << scale as u32);
                (nth(Register::RAX, mem.base.id()), index, scale, mem.disp as i64 as u64)
            }
            (Rm::Constant(_), Some(address)) => (Register::RIP, Register::None, 1, address),
            _ => return Err("memory expected where none was given".to_owned()),
        };
        same!(decoded.memory_base(), base, "base");
        same!(decoded.memory_index(), index, "index");
        same!(decoded.memory_index_scale(), scale, "scale");
        same!(decoded.memory_displacement64(), address, "displacement");

        let bytes = decoded.memory_size().size();
        let vector = matches!(i.reg, Field::Operand(_, Class::Vector | Class::HalfVector)) || i.vvvv != Field::Unused;
        if o.broadcast {
            same!(Some(bytes as u32), i.tuple.broadcast_element(), "bytes of an element");
        } else if i.tuple != Tuple::Unscaled {
            same!(bytes, 1 << i.tuple.displacement_shift(width, false), "bytes of memory");
        } else if vector {
            same!(bytes, 16 << width as usize, "bytes of memory");
        }
        Ok(())
    }
}

/// The disassembler's word for an access. With a merging mask, lanes stay as they are; a narrow vector is written all the
/// same, because the rest of its register becomes zero.
fn expected_access(access: Access, location: Location, mask: Option<Mask>) -> OpAccess {
    let merging = mask.is_some_and(|m| !m.zeroing);
    match (access, location) {
        (Access::Read, _) => OpAccess::Read,
        (_, Location::WholeRegister) if merging => OpAccess::ReadCondWrite,
        (_, Location::Register) if merging => OpAccess::ReadWrite,
        (Access::Update, _) => OpAccess::ReadWrite,
        (Access::Write, Location::Memory) if merging => OpAccess::CondWrite,
        (Access::Write, _) => OpAccess::Write,
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
            assert_eq!(asm.features(), instruction.features(width));
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
        let stores = matches!(i.rm, Field::Operand(Access::Write, _));
        if i.encoding == Encoding::Evex {
            forms = forms * 3 - if stores { memory_forms } else { 0 };
        }
        if i.tuple.broadcast_element().is_some() {
            forms += memory_forms * 3;
        }
        assert_eq!(covered[name].len(), forms, "{name}: forms tried");
    }
    println!("{} lines, {total} instructions", ALL.len());
}

#[test]
fn table_is_consistent() {
    let names: BTreeSet<_> = ALL.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), ALL.len());
    for (name, i) in ALL {
        assert!(name.to_lowercase().starts_with(i.name), "{name} is called {}", i.name);
        assert!(WIDTHS.iter().any(|&w| i.widths.contains(w)), "{name} has a width");
        assert_eq!(i.encoding == Encoding::Vex || !i.forms.memory(), i.tuple == Tuple::Unscaled, "{name}: tuple");
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
    asm.emit(&table::VPADDD, Width::Z, Operands::new(17, 2, Rm::Constant(constant)).broadcast());
    dynasm!(asm.ops ; .arch x64 ; vpaddd ymm1, ymm2, [=>constant]);
    asm.emit(&table::VPSHUFD, Width::Y, Operands::new(1, 0, Rm::Constant(constant)).imm(0x4E));
    asm.dec_jump_not_zero(Gpr::Rcx, top);
    asm.ret();
    assert_eq!(asm.features(), Features::AVX512F.and(Features::AVX512VL));
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
