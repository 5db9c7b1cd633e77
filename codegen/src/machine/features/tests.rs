//! CPUID and XCR0 of made-up machines, decoded. The machines serve the tests of dispatch too.

use super::*;

/// What a made-up machine answers: bits of CPUID by (leaf, subleaf, register, bit), the last leaf, and XCR0.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) name: String,
    bits: Vec<Bit>,
    last_leaf: u32,
    last_subleaf_of_7: u32,
    xcr0: u64,
    tiles_permitted: bool,
}

type Bit = (u32, u32, usize, u32);

const fn bit(leaf: u32, subleaf: u32, register: usize, bit: u32) -> Bit {
    (leaf, subleaf, register, bit)
}

/// SDM volume 2, table "Information Returned by CPUID Instruction", read once more.
const OSXSAVE: Bit = bit(1, 0, 2, 27);
pub(crate) const AVX: Bit = bit(1, 0, 2, 28);
pub(crate) const FMA: Bit = bit(1, 0, 2, 12);
const F16C: Bit = bit(1, 0, 2, 29);
pub(crate) const AVX2: Bit = bit(7, 0, 1, 5);
const AVX512: [Bit; 4] = [bit(7, 0, 1, 16), bit(7, 0, 1, 17), bit(7, 0, 1, 30), bit(7, 0, 1, 31)];
pub(crate) const AVX512_VNNI: Bit = bit(7, 0, 2, 11);
const AVX_VNNI: Bit = bit(7, 1, 0, 4);
const AVX512_BF16: Bit = bit(7, 1, 0, 5);
const AMX: [Bit; 3] = [bit(7, 0, 3, 22), bit(7, 0, 3, 24), bit(7, 0, 3, 25)];

/// XCR0: x87 and SSE; AVX; opmask, ZMM0-15, ZMM16-31; tile configuration and data.
const XCR0_SSE: u64 = 0b11;
const XCR0_AVX: u64 = 0b111;
const XCR0_AVX512: u64 = 0b1110_0111;
const XCR0_AMX: u64 = XCR0_AVX512 | 0b11 << 17;

impl Machine {
    fn new(name: &str, last_leaf: u32, xcr0: u64, bits: &[&[Bit]]) -> Machine {
        Machine {
            name: name.to_owned(),
            bits: bits.concat(),
            last_leaf,
            last_subleaf_of_7: 1,
            xcr0,
            tiles_permitted: true,
        }
    }

    pub(crate) fn sse2() -> Machine {
        Machine::new("SSE2", 5, 0, &[])
    }

    pub(crate) fn haswell() -> Machine {
        Machine { last_subleaf_of_7: 0, ..Machine::new("Haswell", 0xd, XCR0_AVX, &[&[OSXSAVE, AVX, FMA, F16C, AVX2]]) }
    }

    pub(crate) fn zen3() -> Machine {
        Machine { name: "Zen 3".to_owned(), last_leaf: 0x10, ..Machine::haswell() }
    }

    pub(crate) fn alder_lake() -> Machine {
        Machine::new("Alder Lake", 0x20, XCR0_AVX, &[&Machine::haswell().bits, &[AVX_VNNI]])
    }

    pub(crate) fn skylake_x() -> Machine {
        let bits = &[&Machine::haswell().bits[..], &AVX512];
        Machine { last_subleaf_of_7: 0, ..Machine::new("Skylake-X", 0x16, XCR0_AVX512, bits) }
    }

    pub(crate) fn ice_lake() -> Machine {
        let bits = &[&Machine::skylake_x().bits[..], &[AVX512_VNNI]];
        Machine { last_subleaf_of_7: 0, ..Machine::new("Ice Lake", 0x1b, XCR0_AVX512, bits) }
    }

    pub(crate) fn zen4() -> Machine {
        Machine::new("Zen 4", 0x10, XCR0_AVX512, &[&Machine::ice_lake().bits, &[AVX512_BF16]])
    }

    pub(crate) fn sapphire_rapids() -> Machine {
        Machine::new("Sapphire Rapids", 0x20, XCR0_AMX, &[&Machine::zen4().bits, &[AVX_VNNI], &AMX])
    }

    /// The same CPU under an operating system that saves SSE registers only.
    pub(crate) fn without_ymm(self) -> Machine {
        Machine { name: self.name + " without YMM", xcr0: self.xcr0 & XCR0_SSE, ..self }
    }

    /// The same CPU under an operating system that saves registers up to those of AVX.
    pub(crate) fn without_zmm(self) -> Machine {
        Machine { name: self.name + " without ZMM", xcr0: self.xcr0 & XCR0_AVX, ..self }
    }

    /// The same CPU under an operating system that saves registers up to those of AVX-512.
    pub(crate) fn without_tiles(self) -> Machine {
        Machine { name: self.name + " without tiles", xcr0: self.xcr0 & XCR0_AVX512, ..self }
    }

    /// The same machine, on which the process may not use tiles.
    pub(crate) fn without_permission(self) -> Machine {
        Machine { name: self.name + " without permission", tiles_permitted: false, ..self }
    }

    /// The same machine behind a hypervisor that hides a feature.
    pub(crate) fn hiding(mut self, hidden: Bit, name: &str) -> Machine {
        self.bits.retain(|&b| b != hidden);
        Machine { name: format!("{} hiding {name}", self.name), ..self }
    }

    /// Past the last leaf, CPUID answers with all bits set: nothing of that may be believed.
    fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        let mut answer = [0; 4];
        if leaf > self.last_leaf || leaf == 7 && subleaf > self.last_subleaf_of_7 {
            return [u32::MAX; 4];
        }
        match leaf {
            0 => answer[0] = self.last_leaf,
            7 if subleaf == 0 => answer[0] = self.last_subleaf_of_7,
            _ => {}
        }
        for &(.., register, bit) in self.bits.iter().filter(|b| (b.0, b.1) == (leaf, subleaf)) {
            answer[register] |= 1 << bit;
        }
        answer
    }

    pub(crate) fn features(&self) -> Features {
        let xcr0 = || {
            assert!(self.bits.contains(&OSXSAVE), "{}: XGETBV where there is none", self.name);
            self.xcr0
        };
        let offered = Features::decode(|leaf, subleaf| self.cpuid(leaf, subleaf), xcr0);
        let offered = offered.and(Features::CODE_PERMISSION);
        if self.tiles_permitted { offered.and(Features::AMX_PERMISSION) } else { offered }
    }
}

impl Features {
    /// Each CPU feature with its name.
    pub(crate) fn each() -> impl Iterator<Item = (Features, &'static str)> {
        Features::ANNOUNCED.iter().map(|a| (a.feature, a.name))
    }
}

fn names(machine: &Machine) -> String {
    machine.features().names().collect::<Vec<_>>().join(" ")
}

#[test]
fn features_are_distinct_and_in_order() {
    for (i, (feature, name)) in Features::each().enumerate() {
        assert_eq!(feature.0, 1 << i, "{name}: one bit each, in order");
        assert_eq!(feature.names().collect::<Vec<_>>(), [name]);
    }
    for c in Features::CONDITIONS {
        assert!(c.met.0.is_power_of_two() && c.met.0 >> Features::ANNOUNCED.len() != 0, "{}", c.name);
        assert_eq!(c.met.names().count(), 0, "{}: no feature of the CPU", c.name);
    }
    assert_eq!(Features::NONE.missing_from(Features::NONE), None);
    assert!(Features::AMX.contains(Features::AMX_INT8) && !Features::AMX.contains(Features::AVX));
}

#[test]
fn made_up_cpus_are_decoded() {
    const AVX2_CPU: &str = "AVX AVX2 FMA F16C";
    const AVX512_CPU: &str = "AVX512F AVX512BW AVX512DQ AVX512VL";
    assert_eq!(names(&Machine::sse2()), "");
    assert_eq!(names(&Machine::haswell()), AVX2_CPU);
    assert_eq!(names(&Machine::zen3()), AVX2_CPU);
    assert_eq!(names(&Machine::alder_lake()), format!("{AVX2_CPU} AVX_VNNI"));
    assert_eq!(names(&Machine::skylake_x()), format!("{AVX2_CPU} {AVX512_CPU}"));
    assert_eq!(names(&Machine::ice_lake()), format!("{AVX2_CPU} {AVX512_CPU} AVX512_VNNI"));
    assert_eq!(names(&Machine::zen4()), format!("{AVX2_CPU} {AVX512_CPU} AVX512_VNNI AVX512_BF16"));
    let all: Vec<&str> = Features::each().map(|(_, name)| name).collect();
    assert_eq!(names(&Machine::sapphire_rapids()), all.join(" "));
}

/// All bits set past the last leaf or subleaf, as some CPUs answer.
#[test]
fn leaves_past_the_last_are_not_believed() {
    let full = Machine::sapphire_rapids();
    for (last_leaf, expected) in [(0, ""), (1, "AVX FMA F16C"), (6, "AVX FMA F16C"), (7, &*names(&full))] {
        assert_eq!(names(&Machine { last_leaf, ..full.clone() }), expected, "last leaf {last_leaf}");
    }
    let without_subleaf = names(&Machine { last_subleaf_of_7: 0, ..full });
    assert!(!without_subleaf.contains("AVX_VNNI") && !without_subleaf.contains("BF16 "), "{without_subleaf}");
    assert!(without_subleaf.ends_with("AVX512_VNNI AMX_TILE AMX_INT8 AMX_BF16"), "{without_subleaf}");
}

/// Each bit of XCR0 counts, and XCR0 is only read where there is one.
#[test]
fn registers_are_supported_if_all_their_bits_are_set() {
    let states = [
        (Features::AVX_STATE, [1, 2].as_slice()),
        (Features::AVX512_STATE, &[1, 2, 5, 6, 7]),
        (Features::AMX_STATE, &[17, 18]),
    ];
    let full = Machine::sapphire_rapids();
    for (state, bits) in states {
        assert!(full.features().contains(state));
        for off in (0..64).filter(|b| XCR0_AMX >> b & 1 == 1) {
            let machine = Machine { xcr0: XCR0_AMX & !(1 << off), ..full.clone() };
            assert_eq!(machine.features().contains(state), !bits.contains(&off), "bit {off} of XCR0 is off");
        }
        let only = bits.iter().fold(0, |xcr0, b| xcr0 | 1u64 << b);
        assert!(Machine { xcr0: only, ..full.clone() }.features().contains(state), "XCR0 is {only:#x}");
        assert!(!full.clone().hiding(OSXSAVE, "OSXSAVE").features().contains(state));
    }
}

#[test]
fn what_is_missing_is_named_the_cpu_first() {
    let int8 = Features::AVX512F.and(Features::AMX_TILE).and(Features::AMX_INT8);
    let missing = |machine: Machine| int8.missing_from(machine.features());
    let full = Machine::sapphire_rapids;
    assert_eq!(missing(full()), None);
    assert_eq!(missing(full().without_ymm()), Some("operating-system support of YMM registers"));
    assert_eq!(missing(full().without_zmm()), Some("operating-system support of ZMM and mask registers"));
    assert_eq!(missing(full().without_tiles()), Some("operating-system support of tile registers"));
    assert_eq!(missing(full().without_permission()), Some(TILES_PERMITTED));
    assert_eq!(missing(full().hiding(AMX[2], "AMX_INT8").without_ymm()), Some("AMX_INT8"));
    assert_eq!(missing(Machine::zen4().without_zmm()), Some("AMX_TILE"));
    // What needs no vector registers does without them.
    assert_eq!(Features::AMX.missing_from(full().without_permission().features().and(Features::AMX_PERMISSION)), None);
    assert_eq!(Features::AVX2.missing_from(full().without_zmm().features()), None);
}
