//! Single instructions against an independent disassembler, whatever their operands: for tests and fuzzing.

use iced_x86::{
    CpuidFeature, Decoder, DecoderOptions, Instruction as Decoded, InstructionInfoFactory, OpAccess, OpKind,
    Register as Iced,
};

use super::instruction::Tuple;
use super::table::ALL;
use super::*;
use crate::x86::features::Features;
use crate::x86::operand::{Gpr, Scale, Tile};

/// An instruction of the table with operands that it may or may not have.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// Which line of the table, counted on from the first when there is no such line.
    pub line: usize,
    /// 128, 256 or 512 bits: 0 to 2, others counted on from 0.
    pub width: u8,
    /// The register in ModRM.reg.
    pub reg: RegisterChoice,
    /// The register in vvvv.
    pub vvvv: RegisterChoice,
    /// What ModRM.rm says.
    pub rm: RmChoice,
    /// The number of an opmask, and whether other lanes become zero.
    pub mask: Option<(u8, bool)>,
    /// Whether memory holds one element, which is repeated.
    pub broadcast: bool,
    /// The immediate byte.
    pub immediate: Option<u8>,
}

/// A register, or none.
#[derive(Debug, Clone, Copy)]
pub struct RegisterChoice {
    /// Nothing, a vector, an opmask, a tile, a general-purpose register: 0 to 4. Others stand for what the line has
    /// there.
    pub kind: u8,
    /// The number; of a general-purpose register, counted on from rax, rsp not counted.
    pub number: u8,
}

impl RegisterChoice {
    fn register(self, field: Field, encoding: Encoding) -> Register {
        let kinds = [Kind::Nothing, Kind::Vector, Kind::Opmask, Kind::Tile, Kind::Gpr];
        let number = self.number;
        match kinds.get(usize::from(self.kind)).copied().unwrap_or(field.registers(encoding).kind) {
            Kind::Nothing => Register::NONE,
            Kind::Vector => Vector(number).into(),
            Kind::Opmask => Opmask(number).into(),
            Kind::Tile => Tile(number).into(),
            Kind::Gpr => GPRS[usize::from(number) % GPRS.len()].into(),
        }
    }
}

/// The operand in ModRM.rm.
#[derive(Debug, Clone, Copy)]
pub enum RmChoice {
    /// A register.
    Register(RegisterChoice),
    /// An address.
    Memory {
        /// Number of the base register, counted on from rax; rsp is not counted.
        base: u8,
        /// Number of the index register, likewise, and the binary logarithm of its factor.
        index: Option<(u8, u8)>,
        /// The displacement.
        displacement: i32,
    },
    /// A constant behind the code.
    Constant,
}

/// What became of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoded {
    /// It was refused, as it should be.
    Refused,
    /// It was encoded, and the disassembler found what was asked for.
    Decoded,
}

/// Encodes an instruction and decodes it again.
///
/// # Errors
/// What is wrong with the encoder: the bytes are not what was asked for, or the instruction was refused though it is
/// legal, or accepted though it is not.
pub fn check_instruction(choice: &Choice) -> Result<Encoded, String> {
    let (name, instruction) = ALL[choice.line % ALL.len()];
    let width = WIDTHS[usize::from(choice.width) % WIDTHS.len()];
    let mut asm = Assembler::new();
    let label = asm.constant(&[1; 8]);
    let gpr = |number: u8| GPRS[usize::from(number) % GPRS.len()];
    let rm = match choice.rm {
        RmChoice::Register(chosen) => chosen.register(instruction.rm, instruction.encoding).into(),
        RmChoice::Memory { base, index, displacement } => {
            let index = index.map(|(index, scale)| (gpr(index), SCALES[usize::from(scale) % SCALES.len()]));
            Rm::Memory(Mem { base: gpr(base), index, disp: displacement.into() })
        }
        RmChoice::Constant => Rm::Constant(label),
    };
    let operands = Operands {
        reg: choice.reg.register(instruction.reg, instruction.encoding),
        vvvv: choice.vvvv.register(instruction.vvvv, instruction.encoding),
        rm,
        mask: choice.mask.map(|(register, zeroing)| Mask { register: Opmask(register), zeroing }),
        broadcast: choice.broadcast,
        imm: choice.immediate,
    };
    asm.emit(instruction, width, operands);
    let end = asm.ops.offset().0;
    let wrong = |why: String| Err(format!("{name} {width:?} {operands:?}: {why}"));
    let legal = legal(instruction, width, &operands);
    if let Some(refused) = &asm.failure {
        return match (legal, end) {
            (false, 0) => Ok(Encoded::Refused),
            (false, _) => wrong(format!("{end} bytes, but refused: {refused}")),
            (true, _) => wrong(format!("legal, but refused: {refused}")),
        };
    }
    if !legal {
        return wrong("accepted, but not legal".to_owned());
    }
    let constant = matches!(rm, Rm::Constant(_)).then(|| end.next_multiple_of(64) as u64);
    let bytes = asm.finish().map_err(|e| e.to_string())?;
    let mut decoder = Decoder::new(64, &bytes[..end], DecoderOptions::NONE);
    let decoded = decoder.decode();
    if decoder.position() != end {
        return wrong(format!("{:02x?}: {} bytes decoded", &bytes[..end], decoder.position()));
    }
    let expected = Expected { instruction, width, operands: &operands, constant };
    match expected.check(&decoded, &mut InstructionInfoFactory::new()) {
        Ok(()) => Ok(Encoded::Decoded),
        Err(why) => wrong(format!("{:02x?} is {decoded}: {why}", &bytes[..end])),
    }
}

/// Whether an instruction can have these operands: the rules of the table, in the tests' own words.
fn legal(i: &Instruction, width: Width, o: &Operands) -> bool {
    let has = |field, register: Register| registers(i, field).contains(&register);
    let (form, stores) = match o.rm {
        Rm::Register(rm) => (i.forms.register() && has(i.rm, rm) && !o.broadcast, false),
        Rm::Memory(_) => (i.forms.memory(), i.stores()),
        Rm::Constant(_) => (i.forms.memory() && i.forms != Forms::Sib, i.stores()),
    };
    let mask =
        o.mask.is_none_or(|m| i.encoding == Encoding::Evex && (1..8).contains(&m.register.0) && !(m.zeroing && stores));
    let broadcast = !o.broadcast || i.encoding == Encoding::Evex && i.tuple.broadcast_element().is_some();
    let immediate = o.imm.is_some() == (i.immediate == Immediate::Byte);
    let fields = has(i.reg, o.reg) && has(i.vvvv, o.vvvv);
    i.widths.contains(width) && fields && form && allowed(i, o) && mask && broadcast && immediate
}

pub(in crate::x86) const GPRS: [Gpr; 15] = [
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
pub(in crate::x86) const SCALES: [Scale; 4] = [Scale::X1, Scale::X2, Scale::X4, Scale::X8];
pub(super) const WIDTHS: [Width; 3] = [Width::X, Width::Y, Width::Z];

/// The registers that a field may have.
pub(super) fn registers(i: &Instruction, field: Field) -> Vec<Register> {
    let vectors = if i.encoding == Encoding::Evex { 32 } else { 16 };
    match field {
        Field::Unused | Field::Digit(_) => vec![Register::NONE],
        Field::Operand(_, Class::Memory) => vec![],
        Field::Operand(_, Class::Opmask) => (0..8).map(|n| Opmask(n).into()).collect(),
        Field::Operand(_, Class::Tile) => (0..8).map(|n| Tile(n).into()).collect(),
        Field::Operand(_, Class::Gpr32) => GPRS.map(Register::from).to_vec(),
        Field::Operand(..) => (0..vectors).map(|n| Vector(n).into()).collect(),
    }
}

/// Three tiles of a product must differ.
pub(super) fn allowed(i: &Instruction, o: &Operands) -> bool {
    let tiles = i.vvvv == Field::Operand(Access::Read, Class::Tile);
    !tiles || matches!(o.rm, Rm::Register(rm) if rm != o.reg && rm != o.vvvv && o.reg != o.vvvv)
}

/// The register `number` places behind `first`.
fn nth(first: Iced, number: u8) -> Iced {
    first + u32::from(number)
}

/// The disassembler's name of a register.
fn iced_register(class: Class, width: Width, number: u8) -> Iced {
    let vector = |width| match width {
        Width::X => Iced::XMM0,
        Width::Y => Iced::YMM0,
        Width::Z => Iced::ZMM0,
    };
    let first = match (class, width) {
        (Class::Vector, _) => vector(width),
        (Class::HalfVector, Width::Z) | (Class::Ymm, _) => Iced::YMM0,
        (Class::HalfVector | Class::Xmm, _) => Iced::XMM0,
        (Class::Opmask, _) => Iced::K0,
        (Class::Tile, _) => Iced::TMM0,
        (Class::Gpr32, _) => Iced::EAX,
        (Class::Memory, _) => panic!("memory is no register"),
    };
    nth(first, number)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Reg,
    Vvvv,
    Rm,
}

/// The operand fields in the order of Intel's syntax: the destination, then the sources.
pub(super) fn order(i: &Instruction) -> Vec<(Place, Access, Class)> {
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

fn iced_feature(feature: CpuidFeature) -> Result<Features, String> {
    Ok(match feature {
        CpuidFeature::AVX => Features::AVX,
        CpuidFeature::AVX2 => Features::AVX2,
        CpuidFeature::FMA => Features::FMA,
        CpuidFeature::F16C => Features::F16C,
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
        other => return Err(format!("a feature that the table does not know: {other:?}")),
    })
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
pub(super) struct Expected<'a> {
    pub(super) instruction: &'static Instruction,
    pub(super) width: Width,
    pub(super) operands: &'a Operands,
    /// Address of the constant, if the operand is one.
    pub(super) constant: Option<u64>,
}

impl Expected<'_> {
    /// Compares with what the disassembler found.
    pub(super) fn check(&self, decoded: &Decoded, factory: &mut InstructionInfoFactory) -> Result<(), String> {
        let Expected { instruction: i, width, operands: o, .. } = *self;
        same!(decoded.is_invalid(), false, "invalid");
        same!(format!("{:?}", decoded.mnemonic()).to_lowercase(), i.name, "mnemonic");
        let evex = decoded.encoding() == iced_x86::EncodingKind::EVEX;
        same!(evex, i.encoding == Encoding::Evex, "EVEX");
        same!(decoded.op_mask(), o.mask.map_or(Iced::None, |m| nth(Iced::K0, m.register.0)), "mask");
        same!(decoded.zeroing_masking(), o.mask.is_some_and(|m| m.zeroing), "zeroing");
        same!(decoded.is_broadcast(), o.broadcast, "broadcast");
        same!(decoded.rounding_control(), iced_x86::RoundingControl::None, "rounding control");

        // The disassembler knows that a difference of equal registers does not depend on them; the table does not.
        let equal_sources = matches!(o.rm, Rm::Register(rm) if rm == o.vvvv);
        let zero_idiom = equal_sources && ["vpxor", "vpxord"].contains(&i.name);
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
                same!(decoded.op_register(n), iced_register(class, width, number.number), format!("{place:?}"));
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
        for &feature in decoded.cpuid_features() {
            features.add(iced_feature(feature)?);
        }
        same!(features, i.features(width), "features");
        Ok(())
    }

    fn check_memory(&self, decoded: &Decoded) -> Result<(), String> {
        let Expected { instruction: i, width, operands: o, constant } = *self;
        let (base, index, scale, address) = match (o.rm, constant) {
            (Rm::Memory(mem), None) => {
                let index = mem.index.map_or(Iced::None, |(index, _)| nth(Iced::RAX, index.id()));
                let scale = mem.index.map_or(1, |(_, scale)| 1 << scale as u32);
                (nth(Iced::RAX, mem.base.id()), index, scale, mem.disp.cast_unsigned())
            }
            (Rm::Constant(_), Some(address)) => (Iced::RIP, Iced::None, 1, address),
            _ => return Err("memory expected where none was given".to_owned()),
        };
        same!(decoded.memory_base(), base, "base");
        same!(decoded.memory_index(), index, "index");
        same!(decoded.memory_index_scale(), scale, "scale");
        same!(decoded.memory_displacement64(), address, "displacement");

        let bytes = decoded.memory_size().size();
        if o.broadcast {
            same!(Some(bytes as u32), i.tuple.broadcast_element(), "bytes of an element");
        } else if i.tuple != Tuple::Unscaled {
            same!(bytes, 1 << i.tuple.memory_shift(width, false), "bytes of memory");
        }
        Ok(())
    }
}

/// The disassembler's word for an access. With a merging mask, lanes stay as they are; a narrow vector is written all
/// the same, because the rest of its register becomes zero.
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
