//! Generated code: any description of a kernel, of any family, is refused, or decodes completely and does what the
//! portable tier does; any instruction of the table-driven encoder is refused, or decodes to what was asked for.
//!
//! Tiers that the CPU lacks are carried out by the emulated machine.
#![no_main]

#[allow(dead_code, reason = "the tests of kernels use the rest")]
#[path = "../../codegen/tests/common/case.rs"]
mod case;
#[path = "../../codegen/tests/common/mod.rs"]
mod common;
#[path = "../../codegen/tests/common/float_case.rs"]
mod float_case;
#[path = "../../codegen/tests/common/group_case.rs"]
mod group_case;
#[path = "../../codegen/tests/common/guarded.rs"]
mod guarded;
#[path = "../../codegen/tests/common/listing.rs"]
mod listing;

use std::cell::RefCell;

use arbitrary::Arbitrary;
use case::{Case, Fill, Memory, Shape};
use common::{Rng, Tile, epilogues, tiles};
use gemmill_codegen::inspect::{Choice, RegisterChoice, RmChoice, check_instruction, kernel_code};
use gemmill_codegen::*;
use guarded::Guarded;
use libfuzzer_sys::fuzz_target;
use listing::Listing;

#[derive(Arbitrary, Debug)]
enum Input {
    Kernel(KernelInput),
    Float(FloatInput),
    Groups(GroupInput),
    Instruction(InstructionInput),
}

fuzz_target!(
    init: {
        let lacking: Vec<Tier> = Tier::ALL.into_iter().filter(|tier| tier.missing_feature().is_some()).collect();
        gemmill_machine::stand_in_for(&lacking);
    },
    |input: Input| match input {
        Input::Kernel(input) => check_kernel(&input),
        Input::Float(input) => check_float(&input),
        Input::Groups(input) => check_groups(&input),
        Input::Instruction(input) => {
            check_instruction(&input.choice()).unwrap_or_else(|why| panic!("{why}"));
        }
    }
);

/// A description, and what the kernel is called with.
#[derive(Arbitrary, Debug)]
struct KernelInput {
    /// Below 64: fields are taken as they are. Most descriptions would be refused alike.
    wild: u8,
    tier: u8,
    layout: u8,
    signed: bool,
    rows: u8,
    vectors: u8,
    cols: u8,
    sections: u16,
    resumes: bool,
    /// Which epilogue; none where there is no such.
    finish: u8,
    /// What is prefetched; with the highest bit, a row of micro-tiles; with the next one, a grid where one can be.
    prefetch: u8,
    fill: u8,
    activation_max: u8,
    tiles: u8,
    blocks: u8,
    bundles: u8,
    seed: u64,
}

/// Bundle counts, also on both sides of every unrolling.
const BUNDLES: [&[u32]; 5] = [&[0], &[1], &[0, 1, 2, 3, 7, 8, 9, 16, 17], &[9], &[17]];

impl KernelInput {
    fn desc(&self) -> KernelDesc {
        let tier = Tier::ALL[usize::from(self.tier) % Tier::ALL.len()];
        let mut tile = Tile {
            layout: Layout::ALL[usize::from(self.layout) % Layout::ALL.len()],
            activations: if self.signed { Byte::I8 } else { Byte::U8 },
            rows: self.rows,
            vectors: self.vectors,
        };
        let mut cols = self.cols;
        let bits = |s: &Section| self.sections >> *s as u16 & 1 == 1;
        let mut chosen: Sections = Section::ALL.into_iter().filter(bits).collect();
        if self.wild >= 64 {
            let tiles = tiles(tier);
            tile = tiles[(usize::from(self.rows) << 8 | usize::from(self.vectors)) % tiles.len()];
            cols = 1 + cols % tile.panel_cols();
            chosen = chosen.iter().filter(|&s| sections(tier).contains(s)).collect();
        }
        let epilogue = epilogues().get(usize::from(self.finish)).copied();
        let desc = KernelDesc {
            cols,
            start: if self.resumes { Start::Scratch } else { Start::Zero },
            finish: epilogue.map_or(Finish::Scratch, Finish::Epilogue),
            sweep: if self.prefetch & 0x80 != 0 { Sweep::Row } else { Sweep::Column },
            prefetch: Prefetch::ALL[usize::from(self.prefetch) % Prefetch::ALL.len()],
            ..tile.desc(tier, chosen)
        };
        match self.prefetch & 0x40 != 0 && self.wild >= 64 && common::can_be_grid(&desc) {
            true => common::grid(desc, &mut common::Rng(self.seed)),
            false => desc,
        }
    }

    fn shape(&self) -> Shape {
        Shape {
            fill: Fill::ALL[usize::from(self.fill) % Fill::ALL.len()],
            activation_max: self.activation_max,
            tiles: usize::from(self.tiles % 3) + 1,
            width: usize::from(self.tiles / 3 % 3) + 1,
            blocks: usize::from(self.blocks % 3) + 1,
            bundles: BUNDLES[usize::from(self.bundles) % BUNDLES.len()],
        }
    }
}

/// Whether there is such a kernel, by the tests' list of micro-tiles.
fn is_legal(desc: &KernelDesc) -> bool {
    let KernelDesc { layout, activations, rows, vectors, .. } = *desc;
    let tile = Tile { layout, activations, rows, vectors };
    let portable = desc.tier == Tier::Portable;
    let fits =
        if portable { Tier::ALL.iter().any(|&t| tiles(t).contains(&tile)) } else { tiles(desc.tier).contains(&tile) };
    let cols = fits
        && (1..=tile.panel_cols()).contains(&desc.cols)
        && match desc.sweep {
            Sweep::Column => true,
            Sweep::Row => common::can_be_row(desc),
            Sweep::Grid { .. } => common::can_be_grid(desc),
        };
    cols && (portable || desc.sections.iter().all(|s| s.is_dot() == common::has_dots(desc.tier)))
}

fn check_kernel(input: &KernelInput) {
    let desc = input.desc();
    let kernel = match (Kernel::generate(&desc), is_legal(&desc)) {
        (Ok(kernel), true) => kernel,
        (Err(CodegenError::Unsupported(_)), false) => {
            assert!(kernel_code(&desc).is_err(), "{desc:?}");
            return;
        }
        (result, legal) => panic!("{desc:?}: legal: {legal}, but {result:?}"),
    };
    if desc.tier == Tier::Portable {
        assert!(kernel_code(&desc).is_err(), "the portable tier has no machine code");
        return;
    }
    check_code(&kernel);
    compare(&Case::new(desc, input.shape(), &mut Rng(input.seed)), &kernel);
}

/// Every instruction is one, needs what the code says, and jumps to another.
fn check_code<D: Description>(kernel: &Kernel<D>) {
    let desc = kernel.desc();
    let code = kernel_code(desc).unwrap_or_else(|e| panic!("{desc}: {e}"));
    assert_eq!(code.bytes, kernel.bytes(), "{desc}: generated twice");
    let listing = Listing::new(desc.to_string(), &code.bytes);
    for i in &listing.code {
        for feature in i.cpuid_features().iter().map(|f| format!("{f:?}")) {
            // The prefetch is the only instruction of SSE.
            let base = ["INTEL8086", "INTEL386", "X64", "SSE"].contains(&&feature[..]);
            assert!(base || code.features.contains(&&feature[..]), "{}: needs {feature}", listing.line(i));
        }
        let is_jump = i.is_jcc_short_or_near() || i.is_jmp_short_or_near();
        if is_jump || i.is_call_near() {
            let found = listing.code.binary_search_by_key(&i.near_branch_target(), |t| t.ip());
            assert!(is_jump && found.is_ok(), "{}: not to an instruction", listing.line(i));
        }
        assert!(!i.is_call_near_indirect() && !i.is_jmp_near_indirect(), "{}", listing.line(i));
        if i.is_ip_rel_memory_operand() {
            let place = i.ip_rel_memory_address() as usize;
            assert!((listing.code_bytes()..listing.bytes).contains(&place), "{}: no constant", listing.line(i));
        }
    }
}

/// Runs a case on its tier and on the portable one, and compares all that they wrote.
fn compare(case: &Case, kernel: &Kernel) {
    thread_local!(static MEMORY: RefCell<Memory> = RefCell::new(Memory::new()));
    let desc = KernelDesc { tier: Tier::Portable, ..case.desc };
    let portable = Kernel::generate(&desc).unwrap_or_else(|e| panic!("{desc}: {e}"));
    MEMORY.with_borrow_mut(|memory| {
        let expected = case.run(&portable, memory);
        let found = case.run(kernel, memory);
        let outside = |&at: &usize| expected.c[at] != case.c_before()[at] && case.place_in_c(at).is_none();
        assert_eq!((0..expected.c.len()).find(outside), None, "{desc}: written outside C");
        let different = (0..expected.c.len()).find(|&at| expected.c[at] != found.c[at]);
        assert_eq!(different.map(|at| (at, case.place_in_c(at))), None, "{}: C differs", case.desc);
        let different = (0..expected.scratch.len()).find(|&at| expected.scratch[at] != found.scratch[at]);
        assert_eq!(different, None, "{}: scratch memory differs", case.desc);
    });
}

/// A kernel of floating-point products that there is, and the seed of all else.
#[derive(Arbitrary, Debug)]
struct FloatInput {
    tier: u8,
    /// Of four: chains, chains with weights of few bits, either of the hardware dot products.
    products: u8,
    tile: u8,
    rows: u8,
    vectors: u8,
    /// What may contradict the rest: a number that stays in the description instead of what a case has there.
    wild: Option<(u8, u8)>,
    seed: u64,
}

fn check_float(input: &FloatInput) {
    thread_local!(static MEMORY: RefCell<float_case::Memory> = RefCell::new(float_case::Memory::new()));
    let tier = Tier::ALL[usize::from(input.tier) % Tier::ALL.len()];
    let few_bits = input.products % 4 == 1;
    let dot = usize::from(input.products % 4).checked_sub(2).map(|at| HardwareDot::ALL[at]);
    let dot = dot.filter(|dot| tier >= dot.lowest_tier() && dot.require(tier).is_ok());
    let tiles = float_tiles_of(tier, dot.map_or(FloatProducts::Chain, FloatProducts::Dot));
    let Some(tile) = tiles.get(usize::from(input.tile) % tiles.len().max(1)) else { return };
    let most = if few_bits { tile.rows } else { tile.max_rows };
    let rows = 1 + usize::from(input.rows) % most;
    let vectors = 2 + usize::from(input.vectors) % (tile.vectors / 2) * 2;
    let mut rng = Rng(input.seed);
    let case = match dot {
        Some(dot) => float_case::Case::random_dot(tier, dot, rows, vectors, &mut rng),
        None if few_bits => float_case::Case::random_groups(tier, rows, vectors, &mut rng),
        None => float_case::Case::random(tier, rows, vectors, &mut rng),
    };
    if let Some((field, value)) = input.wild {
        check_wild(case.desc, field, value);
    }
    check_generated(&case.desc);
    MEMORY.with_borrow_mut(|memory| float_case::compare(&case, memory));
}

/// Descriptions that the library never asks for are refused, or code.
fn check_wild(desc: FloatKernelDesc, field: u8, value: u8) {
    let desc = match field % 5 {
        0 => FloatKernelDesc { rows: value, ..desc },
        1 => FloatKernelDesc { vectors: value, ..desc },
        2 => FloatKernelDesc { cols: value, ..desc },
        3 => FloatKernelDesc { tier: Tier::ALL[usize::from(value) % Tier::ALL.len()], ..desc },
        _ => FloatKernelDesc { sweep: Sweep::Row, ..desc },
    };
    match Kernel::generate(&desc) {
        Ok(kernel) if desc.tier != Tier::Portable => check_code(&kernel),
        Ok(_) | Err(CodegenError::Unsupported(_)) => {}
        Err(error) => panic!("{desc:?}: {error:?}"),
    }
}

/// As [`check_code`], of a kernel that has to be one.
fn check_generated<D: Description>(desc: &D) {
    let kernel = Kernel::generate(desc).unwrap_or_else(|e| panic!("{desc}: {e}"));
    if desc.tier() != Tier::Portable {
        check_code(&kernel);
    }
}

/// A kernel of sums of groups by 8-bit activations.
#[derive(Arbitrary, Debug)]
struct GroupInput {
    tier: u8,
    bits: u8,
    zero_points: bool,
    rows: u8,
    prefetch: u8,
    seed: u64,
}

fn check_groups(input: &GroupInput) {
    thread_local!(static MEMORY: RefCell<[Guarded; 5]> = RefCell::new(std::array::from_fn(|_| Guarded::new(1 << 16))));
    let tier = Tier::ALL[usize::from(input.tier) % Tier::ALL.len()];
    let zero_points = if input.zero_points { GroupZeroPoints::PerColumn } else { GroupZeroPoints::Middle };
    let layout = GroupLayout { bits: input.bits % 8, zero_points };
    let prefetch = Prefetch::ALL[usize::from(input.prefetch) % Prefetch::ALL.len()];
    let desc = GroupKernelDesc { tier, layout, rows: input.rows % 16, prefetch };
    let legal = matches!(layout.bits, 2 | 4) && (1..=group_rows(tier)).contains(&usize::from(desc.rows));
    if !legal {
        let refused = matches!(Kernel::generate(&desc), Err(CodegenError::Unsupported(_)));
        assert!(refused || tier == Tier::Portable, "{desc:?}");
        return;
    }
    check_generated(&desc);
    let case = group_case::Case::random(desc, &mut Rng(input.seed));
    MEMORY.with_borrow_mut(|memory| {
        let (expected, found) = (case.run(Tier::Portable, memory), case.run(tier, memory));
        assert_eq!(expected, found, "{desc}, chunks {:?}", case.chunks);
    });
}

#[derive(Arbitrary, Debug)]
struct InstructionInput {
    line: u16,
    width: u8,
    reg: (u8, u8),
    vvvv: (u8, u8),
    rm: RmInput,
    mask: Option<(u8, bool)>,
    broadcast: bool,
    immediate: Option<u8>,
}

#[derive(Arbitrary, Debug, Clone, Copy)]
enum RmInput {
    Register((u8, u8)),
    Memory { base: u8, index: Option<(u8, u8)>, displacement: i32, shift: u8 },
    Constant,
}

impl InstructionInput {
    fn choice(&self) -> Choice {
        // Mostly of the kind that the instruction has there: others would be refused alike.
        let register = |(kind, number)| RegisterChoice { kind, number };
        Choice {
            line: self.line.into(),
            width: self.width,
            reg: register(self.reg),
            vvvv: register(self.vvvv),
            rm: match self.rm {
                RmInput::Register(chosen) => RmChoice::Register(register(chosen)),
                // Of any magnitude.
                RmInput::Memory { base, index, displacement, shift } => {
                    RmChoice::Memory { base, index, displacement: displacement >> (shift % 32) }
                }
                RmInput::Constant => RmChoice::Constant,
            },
            mask: self.mask,
            broadcast: self.broadcast,
            immediate: self.immediate,
        }
    }
}
