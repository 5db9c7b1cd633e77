//! One product of a float kernel: operands that satisfy its contract, and the memory that they stand in.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use gemmill_codegen::*;
use half::{bf16, f16};

use crate::common::{Rng, sizes};
use crate::guarded::Guarded;

/// A product in one or more parts of K, with all its operands.
pub struct Case {
    pub desc: FloatKernelDesc,
    pub epilogue: FloatEpilogue,
    /// Depth of each part.
    pub parts: Vec<usize>,
    /// Micro-tiles, in the direction of the kernel's sweep.
    /// Micro-tiles of a grid's row.
    width: usize,
    tiles: usize,
    /// The column of its panel that the first strip begins with.
    first_column: usize,
    /// f32, or pairs of bf16 as their bits.
    a: Vec<u32>,
    /// Elements of `a`.
    a_row_stride: usize,
    /// Panels, one behind the other.
    b: Vec<u8>,
    panels: usize,
    pub c: Vec<u8>,
    pub c_row_stride: usize,
    bias: Vec<f32>,
    residual: Vec<u8>,
    beta: f32,
}

fn random_epilogue(rng: &mut Rng) -> FloatEpilogue {
    FloatEpilogue { bias: rng.below(2) == 1, residual: rng.below(2) == 1, function: rng.pick(&FUNCTIONS) }
}

/// What a case left behind.
pub struct Outcome {
    /// C with all that surrounds it.
    pub c: Vec<u8>,
    /// Partial sums, as bits: of the last part but one, in the tier's own order.
    pub scratch: Vec<u32>,
}

/// Room for the operands that kernels must not read past.
pub struct Memory([Guarded; 5]);

impl Memory {
    pub fn new() -> Memory {
        Memory(std::array::from_fn(|_| Guarded::new(1 << 21)))
    }
}

const FUNCTIONS: [FloatFunction; 4] =
    [FloatFunction::Identity, FloatFunction::Clamp, FloatFunction::Gelu, FloatFunction::Silu];

const PARTS: [&[usize]; 8] = [&[0], &[1], &[2], &[3], &[13], &[5, 1], &[8, 9], &[4, 3, 2]];

/// Depths of parts for weights of few bits: groups, and what the last part has besides.
const PARTS_OF_GROUPS: [(&[usize], usize); 12] = [
    (&[], 0),
    (&[], 1),
    (&[], 7),
    (&[], 8),
    (&[], 31),
    (&[1], 0),
    (&[1], 1),
    (&[2], 0),
    (&[1, 1], 0),
    (&[2, 1], 25),
    (&[1, 3], 15),
    (&[4], 16),
];

/// Micro-tiles of a case.
const TILES: [usize; 5] = [1, 1, 2, 3, 4];

/// Depths of parts for hardware dot products: groups, and what the last part has besides.
const GROUPS: [(&[usize], usize); 12] = [
    (&[], 0),
    (&[], 1),
    (&[], 2),
    (&[], 3),
    (&[], 13),
    (&[], 31),
    (&[], 33),
    (&[], 64),
    (&[1], 1),
    (&[2, 1], 0),
    (&[3, 1], 5),
    (&[2], 47),
];

/// A number of some magnitude, with few chances of overflow in f16.
fn number(rng: &mut Rng) -> f32 {
    match rng.below(24) {
        0 => 0.0,
        1 => -0.0,
        2 => 1e-7 * (rng.below(2000) as f32 - 1000.0),
        3 => 40.0 * (rng.below(2000) as f32 - 1000.0),
        _ => (rng.below(1 << 20) as f32 - (1 << 19) as f32) / (1 << 18) as f32,
    }
}

/// `count` numbers of a type, as bytes.
fn numbers(of: FloatType, count: usize, rng: &mut Rng) -> Vec<u8> {
    let one = |rng: &mut Rng| match of {
        FloatType::F32 => number(rng).to_le_bytes().to_vec(),
        FloatType::F16 => f16::from_f32(number(rng)).to_le_bytes().to_vec(),
        FloatType::Bf16 => bf16::from_f32(number(rng)).to_le_bytes().to_vec(),
    };
    (0..count).flat_map(|_| one(rng)).collect()
}

/// A panel of groups of few bits, as packing leaves it: zeros behind `depth`.
fn small_weights(of: WeightGroups, depth: usize, rng: &mut Rng) -> Vec<u8> {
    let (mut panel, size) = (Vec::new(), usize::from(of.size));
    for first in (0..depth).step_by(size) {
        let depth = size.min(depth - first);
        for _ in 0..GROUP_PANEL {
            let scale = match (rng.below(16), of.scales) {
                (0, _) => bf16::from_bits(1 + rng.below(200) as u16).to_f32(),
                (1, GroupScales::Moderate) => 1.5 * 2f32.powi(110),
                (1 | 2, GroupScales::Any) => 1.5 * 2f32.powi(122),
                _ => (1 + rng.below(1000)) as f32 / 8192.0,
            };
            panel.extend(bf16::from_f32(scale).to_le_bytes());
        }
        if of.layout.zero_points == GroupZeroPoints::PerColumn {
            (0..GROUP_PANEL).for_each(|_| panel.extend((rng.below(1 << of.layout.bits) as u16).to_le_bytes()));
        }
        let padded = depth.next_multiple_of(GROUP_CHUNK);
        for step in 0..padded / of.layout.step_depth() {
            for _ in 0..GROUP_PANEL {
                let mut bytes = [0; 4];
                for k in 0..of.layout.step_depth().min(depth.saturating_sub(step * of.layout.step_depth())) {
                    let q = rng.below(1 << of.layout.bits) as u8;
                    bytes[k % 4] |= q << (k / 4 * usize::from(of.layout.bits));
                }
                panel.extend(bytes);
            }
        }
    }
    panel
}

/// A number of bf16 whose products vanish or are flushed now and then, beside usual ones.
fn bf16_number(rng: &mut Rng) -> bf16 {
    match rng.below(24) {
        0 => bf16::from_bits(rng.next() as u16 & 0x80ff),
        1 => bf16::from_f32(number(rng) * 2f32.powi(-63)),
        _ => bf16::from_f32(number(rng)),
    }
}

/// Rows of pairs of bf16, zeros past `depth`; between the rows what is no number.
fn pairs(rows: usize, stride: usize, depth: usize, slots: usize, rng: &mut Rng) -> Vec<u32> {
    let mut half = |k: usize| if k < depth { bf16_number(rng).to_bits() } else { 0 };
    let mut slot =
        |s: usize| if s < slots { u32::from(half(2 * s)) | u32::from(half(2 * s + 1)) << 16 } else { u32::MAX };
    (0..rows).flat_map(|_| (0..stride).map(&mut slot).collect::<Vec<u32>>()).collect()
}

/// A kernel that goes through strips instead of rows, if there can be such a one.
fn swept_in_a_row(desc: FloatKernelDesc, rng: &mut Rng) -> FloatKernelDesc {
    if !desc.has_half_panels() && !desc.strip_cols().is_multiple_of(FLOAT_PANEL) {
        return desc;
    }
    FloatKernelDesc {
        sweep: Sweep::Row,
        cols: desc.strip_cols() as u8,
        expansion: Expansion::InRegisters,
        prefetch: rng.pick(&[FloatPrefetch::None, FloatPrefetch::Ahead]),
        ..desc
    }
}

impl Case {
    fn new(desc: FloatKernelDesc, epilogue: FloatEpilogue, parts: &[usize], tiles: usize, rng: &mut Rng) -> Case {
        let depth: usize = parts.iter().sum();
        let slots = desc.products.slots(depth);
        // A panel that is not full stands alone in its row.
        let width = if usize::from(desc.cols) < desc.strip_cols() { 1 } else { 1 + rng.below(3) };
        let (row_tiles, strips) = match desc.sweep {
            Sweep::Column => (tiles, 1),
            Sweep::Row => (1, tiles),
            Sweep::Grid { .. } => (tiles, width * desc.sweep.panels()),
        };
        let (rows, cols) = (usize::from(desc.rows) * row_tiles, usize::from(desc.cols) * strips);
        let a_row_stride = match desc.a {
            FloatRows::Strided => slots + rng.below(5),
            FloatRows::Interleaved => slots,
        };
        let a = match desc.products {
            FloatProducts::Chain => (0..a_row_stride * rows).map(|_| number(rng).to_bits()).collect(),
            FloatProducts::Dot(_) => pairs(rows, a_row_stride, depth, slots, rng),
        };
        let first_column = if desc.has_half_panels() { rng.pick(&[0, FLOAT_PANEL / 2]) } else { 0 };
        let panels = (first_column + desc.strip_cols() * strips).div_ceil(FLOAT_PANEL);
        let c_row_stride = cols + rng.below(4);
        Case {
            desc,
            epilogue,
            parts: parts.to_vec(),
            tiles,
            first_column,
            a,
            a_row_stride,
            b: match desc.weights {
                _ if desc.expansion == Expansion::Tiles => {
                    numbers(FloatType::Bf16, 2 * slots * FLOAT_PANEL * strips, rng)
                }
                FloatWeights::Numbers(of) => numbers(of, panels * depth * FLOAT_PANEL, rng),
                FloatWeights::Groups(of) => (0..panels).flat_map(|_| small_weights(of, depth, rng)).collect(),
            },
            panels,
            width,
            c: numbers(desc.c, c_row_stride * (rows - 1) + cols, rng),
            c_row_stride,
            bias: (0..desc.strip_cols() * strips).map(|_| number(rng)).collect(),
            residual: numbers(desc.c, c_row_stride * (rows - 1) + cols, rng),
            beta: number(rng),
        }
    }

    /// A micro-tile with random operands, sizes, strides and stages.
    pub fn random(tier: Tier, rows: usize, vectors: usize, rng: &mut Rng) -> Case {
        let strip = vectors * float_lanes(tier);
        let expansions = if vectors == 2 { 2 } else { 1 };
        let next = if strip > FLOAT_PANEL { FloatPrefetch::None } else { FloatPrefetch::Next };
        let desc = FloatKernelDesc {
            tier,
            products: FloatProducts::Chain,
            weights: rng.pick(&FloatType::ALL).into(),
            expansion: [Expansion::InRegisters, Expansion::Kept][rng.below(expansions)],
            a: rng.pick(&[FloatRows::Strided, FloatRows::Interleaved]),
            sweep: Sweep::Column,
            rows: rows as u8,
            vectors: vectors as u8,
            cols: if rng.below(2) == 0 { strip } else { 1 + rng.below(strip) } as u8,
            start: rng.pick(&[FloatStart::Zero, FloatStart::Beta]),
            finish: FloatFinish::Scratch,
            c: rng.pick(&FloatType::ALL),
            prefetch: rng.pick(&[FloatPrefetch::None, FloatPrefetch::Ahead, next]),
        };
        let desc = if rng.below(2) == 0 { swept_in_a_row(desc, rng) } else { desc };
        let tile = float_tiles(tier).iter().rev().find(|tile| vectors <= tile.vectors).expect("a micro-tile so wide");
        let mut epilogue = random_epilogue(rng);
        while rows > tile.max_rows_with(epilogue.function, desc.weights) {
            epilogue.function = rng.pick(&FUNCTIONS);
        }
        let parts = rng.pick(&PARTS);
        let tiles = rng.pick(sizes(&TILES, 3));
        Case::new(desc, epilogue, parts, tiles, rng)
    }

    /// The same with weights of few bits; `rows` as far as registers allow.
    pub fn random_groups(tier: Tier, rows: usize, vectors: usize, rng: &mut Rng) -> Case {
        let Case { desc, .. } = Case::random(tier, 1, vectors, rng);
        let layout = GroupLayout {
            bits: rng.pick(&[2, 4]),
            zero_points: rng.pick(&[GroupZeroPoints::Middle, GroupZeroPoints::PerColumn]),
        };
        let (size, scales) = (rng.pick(&[32u8, 64, 128]), rng.pick(&[GroupScales::Moderate, GroupScales::Any]));
        let desc = FloatKernelDesc {
            weights: FloatWeights::Groups(WeightGroups { layout, size, scales }),
            rows: rows as u8,
            prefetch: rng.pick(&[FloatPrefetch::None, FloatPrefetch::Ahead]),
            ..desc
        };
        let (groups, rest) = rng.pick(sizes(&PARTS_OF_GROUPS, 5));
        let mut parts: Vec<usize> = groups.iter().map(|count| count * usize::from(size)).collect();
        if rest > 0 || parts.is_empty() {
            parts.push(rest);
        }
        let (epilogue, tiles) = (random_epilogue(rng), rng.pick(sizes(&TILES, 3)));
        Case::new(desc, epilogue, &parts, tiles, rng)
    }

    /// The same with hardware dot products.
    pub fn random_dot(tier: Tier, dot: HardwareDot, rows: usize, vectors: usize, rng: &mut Rng) -> Case {
        let Case { desc, .. } = Case::random(tier, 1, vectors, rng);
        let desc = FloatKernelDesc {
            products: FloatProducts::Dot(dot),
            weights: FloatType::Bf16.into(),
            a: FloatRows::Strided,
            rows: rows as u8,
            ..desc
        };
        let desc = if desc.has_tiles() {
            let (expansion, sweep) = (Expansion::Kept, Sweep::Column);
            FloatKernelDesc { expansion, sweep, prefetch: FloatPrefetch::None, ..desc }
        } else {
            desc
        };
        if desc.has_tiles() && rng.below(2) == 1 {
            return Case::grid(desc, rng);
        }
        let (groups, rest) = rng.pick(sizes(&GROUPS, 5));
        let mut parts: Vec<usize> = groups.iter().map(|count| count * dot.group()).collect();
        if rest > 0 || parts.is_empty() {
            parts.push(rest);
        }
        let (epilogue, tiles) = (random_epilogue(rng), rng.pick(sizes(&TILES, 3)));
        Case::new(desc, epilogue, &parts, tiles, rng)
    }

    /// A grid of such micro-tiles, of one panel's columns or of full panels.
    fn grid(desc: FloatKernelDesc, rng: &mut Rng) -> Case {
        let full = usize::from(desc.cols) == FLOAT_PANEL;
        let steps = match rng.below(16) {
            0 => rng.pick(&[33, 64, 65, 72, 73, 81]),
            _ => rng.pick(&[1, 1, 2, 3, 8, 9]),
        };
        let k = 32 * steps - rng.pick(&[0, 0, 1, 2, 31]);
        let two = full && desc.rows <= 16 && rng.below(2) == 1;
        let sweep = Sweep::Grid {
            k: k as u32,
            panels: if two { Panels::Two } else { Panels::One },
            ahead: if full { rng.pick(&Ahead::ALL) } else { Ahead::Nothing },
        };
        let desc = FloatKernelDesc { sweep, expansion: Expansion::Tiles, start: FloatStart::Zero, ..desc };
        let (epilogue, tiles) = (random_epilogue(rng), rng.pick(&[1, 2, 3]));
        Case::new(desc, epilogue, &[k], tiles, rng)
    }

    /// Columns of C.
    pub fn cols(&self) -> usize {
        match self.desc.sweep {
            Sweep::Column => self.desc.cols.into(),
            Sweep::Row => usize::from(self.desc.cols) * self.tiles,
            Sweep::Grid { .. } => usize::from(self.desc.cols) * self.width * self.desc.sweep.panels(),
        }
    }

    /// The name of the kernel that ends it.
    pub fn name(&self) -> FloatKernelDesc {
        FloatKernelDesc { finish: FloatFinish::Epilogue(self.epilogue), ..self.desc }
    }

    /// What the kernels of a tier leave.
    pub fn run(&self, tier: Tier, memory: &mut Memory) -> Outcome {
        self.run_with(tier, memory, |kernel, args| {
            // SAFETY: the operands have the sizes that the description and the arguments say.
            unsafe { kernel.run(args) }
        })
    }

    /// The same, each kernel being run by `run`.
    pub fn run_with(
        &self,
        tier: Tier,
        memory: &mut Memory,
        mut run: impl FnMut(&Kernel<FloatKernelDesc>, &mut FloatKernelArgs),
    ) -> Outcome {
        // The portable tier has vectors of eight lanes.
        let vectors = (self.desc.strip_cols() / float_lanes(tier)) as u8;
        let of_tier = FloatKernelDesc { tier, vectors, ..self.desc };
        let (depth, height) = (self.parts.iter().sum::<usize>(), usize::from(self.desc.rows));
        let strip = self.desc.strip_cols();
        let [a_room, b_room, c_room, bias_room, residual_room] = &mut memory.0;
        let (a, b) = (a_room.put(&self.a), b_room.put(&self.b));
        let (c, bias, residual) = (c_room.put(&self.c), bias_room.put(&self.bias), residual_room.put(&self.residual));
        let mut scratch = vec![f32::NAN; (strip * height * self.tiles).max(self.desc.scratch_len())];
        let b_panel_stride = self.b.len() / self.panels;
        let place = |k: usize, column: usize| {
            column / FLOAT_PANEL * b_panel_stride + self.desc.weights.place(k, column % FLOAT_PANEL)
        };
        let element = self.desc.c.bytes();
        let mut first = 0;
        for (i, &part) in self.parts.iter().enumerate() {
            let last = i + 1 == self.parts.len();
            let desc = FloatKernelDesc {
                start: if i == 0 { of_tier.start } else { FloatStart::Scratch },
                finish: if last { FloatFinish::Epilogue(self.epilogue) } else { FloatFinish::Scratch },
                ..of_tier
            };
            let mut constants = vec![f32::NAN; desc.weights.constants_len(strip)];
            let mut expanded = vec![f32::NAN; desc.products.slots(part) * strip];
            let (a_offset, tile_elements) = match desc.a {
                FloatRows::Strided => (first / desc.products.depth_of_slot(), height * self.a_row_stride),
                FloatRows::Interleaved => (first * height, height * depth),
            };
            let args = FloatKernelArgs {
                a: a.wrapping_add(a_offset).cast(),
                a_row_stride: self.a_row_stride * size_of::<f32>(),
                a_tile_stride: tile_elements * size_of::<f32>(),
                b: match self.desc.expansion {
                    Expansion::Tiles => b,
                    _ => b.wrapping_add(place(first, self.first_column)),
                },
                b_strip_stride: place(0, self.first_column + strip).wrapping_sub(place(0, self.first_column)),
                scales_from_b: -2 * self.first_column as isize,
                constants: constants.as_mut_ptr(),
                b_panel_stride,
                next: std::ptr::null(),
                depth: part,
                tiles: self.tiles,
                grid: GridArgs::of_width(self.width),
                expanded: expanded.as_mut_ptr(),
                c,
                c_row_stride: self.c_row_stride * element,
                scratch: scratch.as_mut_ptr(),
                beta: self.beta,
                low: -1.5,
                high: 2.25,
                bias,
                residual,
                residual_row_stride: self.c_row_stride * element,
            };
            let mut run = |desc: FloatKernelDesc, mut args: FloatKernelArgs| {
                let kernel = Kernel::generate(&desc).unwrap_or_else(|e| panic!("{desc}: {e}"));
                run(&kernel, &mut args);
            };
            if desc.expansion == Expansion::Kept {
                // The first tile keeps what the others take.
                run(desc, FloatKernelArgs { tiles: 1, ..args });
                if self.tiles > 1 {
                    let rest = FloatKernelArgs {
                        a: args.a.wrapping_byte_add(args.a_tile_stride),
                        c: args.c.wrapping_add(height * args.c_row_stride),
                        residual: args.residual.wrapping_add(height * args.residual_row_stride),
                        scratch: args.scratch.wrapping_add(desc.scratch_len()),
                        tiles: self.tiles - 1,
                        b: std::ptr::null(),
                        ..args
                    };
                    run(FloatKernelDesc { expansion: Expansion::Reused, ..desc }, rest);
                }
            } else {
                run(desc, args);
            }
            first += part;
        }
        let scratch = scratch.iter().map(|x| x.to_bits()).collect();
        Outcome { c: c_room.take(self.c.len()), scratch }
    }
}

/// Runs a case on its tier and on the portable one, and compares C and what surrounds it.
pub fn compare(case: &Case, memory: &mut Memory) {
    let (expected, found) = (case.run(Tier::Portable, memory).c, case.run(case.desc.tier, memory).c);
    let (name, element) = (case.name(), case.desc.c.bytes());
    for (at, (e, f)) in expected.chunks(element).zip(found.chunks(element)).enumerate() {
        let place = (at / case.c_row_stride, at % case.c_row_stride);
        assert!(e == f || both_nan(case.desc.c, e, f), "{name}, parts {:?}: {place:?}: {e:x?} is {f:x?}", case.parts);
        let inside = place.1 < case.cols();
        let was = &case.c[at * element..][..element];
        assert!(inside || was == f, "{name}: wrote outside C at {place:?}");
    }
}

/// Which NaN an operation gives is not specified.
fn both_nan(of: FloatType, a: &[u8], b: &[u8]) -> bool {
    let is_nan = |x: &[u8]| match of {
        FloatType::F32 => f32::from_le_bytes([x[0], x[1], x[2], x[3]]).is_nan(),
        FloatType::F16 => f16::from_le_bytes([x[0], x[1]]).is_nan(),
        FloatType::Bf16 => bf16::from_le_bytes([x[0], x[1]]).is_nan(),
    };
    is_nan(a) && is_nan(b)
}
