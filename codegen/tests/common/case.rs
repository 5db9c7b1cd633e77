//! One call of a kernel: operands that satisfy its contract, and the memory that they stand in.

use gemmill_codegen::*;

use crate::common::Rng;
use crate::guarded::Guarded;

/// What activations and weights are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Random, within the bounds.
    Random,
    /// Activations as large as they may be; lanes as heavy as they may be, all positive.
    Largest,
    /// The same with negative weights.
    Smallest,
    /// Activations 0 or as large as they may be; lanes as heavy as they may be in both directions.
    Extremes,
}

impl Fill {
    pub const ALL: [Fill; 4] = [Fill::Random, Fill::Largest, Fill::Smallest, Fill::Extremes];
}

/// The size of a case and what its numbers are like.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub fill: Fill,
    /// The largest activation, which bounds the lanes of 16-bit sums.
    pub activation_max: u8,
    /// Micro-tiles: of a column or a row; or rows of them, in a grid.
    pub tiles: usize,
    /// Micro-tiles of a grid's row.
    pub width: usize,
    pub blocks: usize,
    /// Bundles of a section in a block: one of these.
    pub bundles: &'static [u32],
}

/// The arrays that arguments point to.
pub struct Case {
    pub desc: KernelDesc,
    shape: Shape,
    a: Vec<u8>,
    a_row_stride: usize,
    b: Vec<u8>,
    offsets: Vec<u16>,
    blocks: Vec<BlockHeader>,
    c: Vec<u8>,
    c_row_stride: usize,
    scratch: Vec<i32>,
    columns: [Vec<i32>; 3],
    column_scale: Vec<f32>,
    column_bias: Vec<f32>,
    rows: [Vec<i32>; 2],
    row_scale: Vec<f32>,
    /// Elements of the type of C.
    residual: Vec<u8>,
    residual_row_stride: usize,
    /// `low`, `high`, `zero_point`, the limits as bytes, and the distance of prefetches.
    constants: KernelArgs,
}

/// What a kernel left behind: C with all that surrounds it, and scratch memory.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub c: Vec<u8>,
    pub scratch: Vec<i32>,
}

/// Bytes of poison before C.
const MARGIN: usize = 64;

/// A signed activation, in whose sums all weights are allowed.
fn signed(fill: Fill, rng: &mut Rng) -> i8 {
    match fill {
        Fill::Random => rng.next() as i8,
        Fill::Largest | Fill::Smallest => 127,
        Fill::Extremes => rng.pick(&[-128, 127]),
    }
}

/// Number of elements of A that a bundle of a section reads from one of its offsets on.
fn reach(section: Section, depth: usize) -> usize {
    if section.is_run() { section.steps() * depth } else { depth }
}

/// Weights of one lane of a 16-bit sum, as heavy as `activation_max` lets them be if `fill` says so.
fn lane(rng: &mut Rng, fill: Fill, activation_max: u8, len: usize) -> Vec<i8> {
    let amax = i32::from(activation_max.max(1));
    let mut left = [32767 / amax, 32768 / amax];
    let mut weights = vec![0i8; len];
    let first = rng.below(len);
    for place in 0..len {
        let negative = match fill {
            Fill::Largest => false,
            Fill::Smallest => true,
            _ => rng.below(2) == 1,
        };
        let most = left[usize::from(negative)].min(if negative { 128 } else { 127 });
        // What later places cannot carry has to be here for the lane to be full.
        let later = (len - place - 1) as i32 * 127;
        let least = if fill == Fill::Random { 0 } else { (left[usize::from(negative)] - later).clamp(0, most) };
        let weight = rng.within(least, most);
        left[usize::from(negative)] -= weight;
        weights[(first + place) % len] = if negative { -weight as i8 } else { weight as i8 };
    }
    weights
}

impl Case {
    /// A random case for a kernel.
    pub fn new(desc: KernelDesc, shape: Shape, rng: &mut Rng) -> Case {
        // A grid has steps as they follow each other.
        let blocks = if matches!(desc.sweep, Sweep::Grid { .. }) { 1 } else { shape.blocks };
        let mut case = Case {
            desc,
            // A panel that is not full stands alone in its row.
            shape: Shape {
                blocks,
                width: if usize::from(desc.cols) < desc.panel_cols() { 1 } else { shape.width },
                ..shape
            },
            a: Vec::new(),
            a_row_stride: 0,
            b: Vec::new(),
            offsets: Vec::new(),
            blocks: Vec::new(),
            c: Vec::new(),
            c_row_stride: 0,
            scratch: Vec::new(),
            columns: Default::default(),
            column_scale: Vec::new(),
            column_bias: Vec::new(),
            rows: Default::default(),
            row_scale: Vec::new(),
            residual: Vec::new(),
            residual_row_stride: 0,
            constants: KernelArgs::EMPTY,
        };
        case.fill_operands(rng);
        let advances = desc.start == Start::Scratch || desc.finish == Finish::Scratch;
        let scratch_tiles = if advances { shape.tiles } else { 1 };
        let scratch_len = scratch_tiles * desc.scratch_bytes() / size_of::<i32>();
        case.scratch = (0..scratch_len).map(|_| rng.next() as i32).collect();
        case.constants.prefetch_distance = rng.pick(&[0, 4096, usize::MAX >> 1]);
        if let Finish::Epilogue(epilogue) = desc.finish {
            case.fill_epilogue(epilogue, rng);
        }
        case
    }

    fn row_count(&self) -> usize {
        let tiles = if self.desc.sweep == Sweep::Row { 1 } else { self.shape.tiles };
        tiles * usize::from(self.desc.rows)
    }

    /// Packed panels.
    fn panels(&self) -> usize {
        match self.desc.sweep {
            Sweep::Column => 1,
            Sweep::Row => self.shape.tiles,
            Sweep::Grid { .. } => self.shape.width * self.desc.sweep.panels(),
        }
    }

    /// Columns of C.
    fn cols(&self) -> usize {
        self.panels() * usize::from(self.desc.cols)
    }

    /// A, packed weights, offsets and headers.
    fn fill_operands(&mut self, rng: &mut Rng) {
        let (desc, shape, depth) = (self.desc, self.shape, self.desc.layout.step_depth());
        let longest = desc.sections.iter().map(|s| reach(s, depth)).max().unwrap_or(1);
        let natural = match desc.sweep {
            Sweep::Grid { k, .. } => k as usize,
            _ => longest + rng.below(3 * depth),
        };
        // Elements as 16-bit numbers stand behind the others.
        let words = if desc.sections.contains(Section::Wide) { (depth + rng.below(2 * depth)) & !1 } else { 0 };
        let row_bytes = shape.blocks * (natural + words);
        self.a_row_stride = row_bytes + rng.below(70);
        self.a = vec![0xee; (self.row_count() - 1) * self.a_row_stride + row_bytes];
        for row in 0..self.row_count() {
            for block in 0..shape.blocks {
                let start = row * self.a_row_stride + block * (natural + words);
                let elements = &mut self.a[start..][..natural + words];
                for (i, x) in elements.iter_mut().enumerate() {
                    let amax = shape.activation_max;
                    *x = match shape.fill {
                        _ if desc.activations == Byte::I8 => signed(shape.fill, rng) as u8,
                        _ if i >= natural && (i - natural) % 2 == 1 => 0,
                        Fill::Random => rng.within(0, amax.into()) as u8,
                        Fill::Largest | Fill::Smallest => amax,
                        Fill::Extremes => rng.pick(&[0, amax]),
                    };
                }
            }
        }
        if matches!(desc.sweep, Sweep::Grid { .. }) {
            return self.fill_panels_of_grid(natural, rng);
        }
        for _ in 0..self.panels() * shape.blocks {
            let mut header = BlockHeader { a_advance: (natural + words) as u32, ..BlockHeader::default() };
            for section in desc.sections.iter() {
                let bundles = rng.pick(shape.bundles);
                header.bundles[section as usize] = bundles;
                for bundle in 0..bundles {
                    self.push_weights(section, rng);
                    let (first, end) = match section {
                        Section::Wide => (natural, natural + words),
                        _ => (0, natural),
                    };
                    let furthest = end - reach(section, depth);
                    for i in 0..section.offsets() {
                        let mut offset =
                            if bundle + 1 == bundles { furthest } else { first + rng.below(furthest - first + 1) };
                        if section == Section::Wide {
                            offset -= (offset - first) % 2;
                        }
                        let is_order = section == Section::Shuffled && i == 1;
                        let offset = if is_order { rng.below(SHUFFLES.len()) * SHUFFLE_BYTES } else { offset };
                        self.offsets.push(offset as u16);
                    }
                }
            }
            self.blocks.push(header);
        }
    }

    /// Panels whose steps follow each other, the last one reaching back.
    fn fill_panels_of_grid(&mut self, k: usize, rng: &mut Rng) {
        let (depth, runs) = (self.desc.layout.step_depth(), Section::Dot8.steps());
        let steps = k.div_ceil(depth);
        let whole_runs = k / depth / runs;
        for _ in 0..self.panels() {
            let mut header = BlockHeader { a_advance: k as u32, ..BlockHeader::default() };
            header.bundles[Section::Dot8 as usize] = whole_runs as u32;
            header.bundles[Section::Dot as usize] = (steps - whole_runs * runs) as u32;
            for run in 0..whole_runs {
                self.push_weights(Section::Dot8, rng);
                self.offsets.push((run * runs * depth) as u16);
            }
            for step in whole_runs * runs..steps {
                self.push_weights(Section::Dot, rng);
                self.offsets.push((step * depth).min(k - depth) as u16);
            }
            self.blocks.push(header);
        }
    }

    /// The packed vectors of one bundle.
    fn push_weights(&mut self, section: Section, rng: &mut Rng) {
        let vectors = usize::from(self.desc.vectors);
        let start = self.b.len();
        let step_bytes = vectors * self.desc.layout.vector_bytes();
        self.b.resize(start + section.vectors() * step_bytes, 0);
        let bundle = &mut self.b[start..];
        if matches!(section, Section::Wide | Section::Split) {
            for weight in bundle.as_chunks_mut::<2>().0 {
                *weight = match self.shape.fill {
                    Fill::Random => rng.within(-128, 127) as i16,
                    Fill::Largest => 127,
                    Fill::Smallest => -128,
                    Fill::Extremes => rng.pick(&[-128i16, 127]),
                }
                .to_le_bytes();
            }
            return;
        }
        if section.is_dot() {
            let fill = self.shape.fill;
            let weight = |rng: &mut Rng| match fill {
                Fill::Random => rng.next() as u8,
                Fill::Largest => 127,
                Fill::Smallest => 128,
                Fill::Extremes => rng.pick(&[127, 128]),
            };
            bundle.iter_mut().for_each(|w| *w = weight(rng));
            return;
        }
        for pair in (0..step_bytes).step_by(2) {
            let weights = lane(rng, self.shape.fill, self.shape.activation_max, 2 * section.steps());
            for (step, weights) in weights.chunks_exact(2).enumerate() {
                bundle[step * step_bytes + pair] = weights[0] as u8;
                bundle[step * step_bytes + pair + 1] = weights[1] as u8;
            }
        }
    }

    /// C, and the arrays and limits of the epilogue.
    fn fill_epilogue(&mut self, epilogue: Epilogue, rng: &mut Rng) {
        let (rows, cols) = (self.row_count(), self.cols());
        let element = epilogue.output.element_bytes();
        self.c_row_stride = element * (cols + rng.pick(&[0, 0, 1, 3, 17]));
        let c_len = MARGIN + (rows - 1) * self.c_row_stride + cols * element;
        self.c = (0..c_len).map(|_| rng.next() as u8).collect();

        // Whole vectors, as packing lays per-column arrays out.
        let padded = self.panels() * self.desc.panel_cols().next_multiple_of(self.desc.layout.lanes());
        let wild = rng.below(2) == 1;
        let number = |rng: &mut Rng| if wild { rng.next() as i32 } else { rng.within(-3000, 3000) };
        self.columns.iter_mut().for_each(|c| c.extend((0..padded).map(|_| number(rng))));
        self.rows.iter_mut().for_each(|r| r.extend((0..rows).map(|_| number(rng))));

        let narrowing = matches!(epilogue.output, Output::Requantize(r) if r.clamp != Clamp::Float);
        let floats = match epilogue.output {
            Output::Dequantize(d) => Some(d.to),
            _ => None,
        };
        let biggest = if narrowing { 1e6 } else { 3.4e38 };
        self.column_scale = (0..padded).map(|_| scale(rng, narrowing, floats.is_some())).collect();
        let bias = |rng: &mut Rng| match rng.below(4) {
            0 => (rng.unit() - 0.5) * 2.0 * biggest,
            1 => -0.0,
            2 => rng.within(-2000, 2000) as f32 * 0.5,
            _ => (rng.unit() - 0.5) * 1e4,
        };
        self.column_bias = (0..padded).map(|_| bias(rng)).collect();
        self.row_scale = (0..rows).map(|_| scale(rng, false, true)).collect();
        if let Some(of) = floats {
            let row = cols + rng.below(3);
            self.residual_row_stride = row * of.bytes();
            self.residual = residual(of, (rows - 1) * row + cols, rng);
        }

        let constants = &mut self.constants;
        match epilogue.output {
            Output::Requantize(r) => {
                let (least, most) = if r.to == Byte::U8 { (0, 255) } else { (-128, 127) };
                let between = |rng: &mut Rng, low| if rng.below(2) == 0 { most } else { rng.within(low, most) };
                constants.zero_point = if rng.below(4) == 0 { least } else { between(rng, least) };
                constants.low_byte = if rng.below(2) == 0 { least } else { between(rng, least) };
                constants.high_byte = between(rng, constants.low_byte);
                if r.clamp == Clamp::Type {
                    (constants.low_byte, constants.high_byte) = (least, most);
                }
                constants.low = (constants.low_byte - constants.zero_point) as f32;
                constants.high = (constants.high_byte - constants.zero_point) as f32;
            }
            _ => {
                let limits = [(0.0, f32::INFINITY), (-100.0, 100.0), (0.0, 6.0), (-0.0, 0.0), (f32::MIN, f32::MAX)];
                (constants.low, constants.high) = rng.pick(&limits);
            }
        }
    }

    /// The row and column that byte `at` of an outcome's C belongs to; `None` for poison.
    pub fn place_in_c(&self, at: usize) -> Option<(usize, usize)> {
        let Finish::Epilogue(epilogue) = self.desc.finish else { return None };
        let element = epilogue.output.element_bytes();
        let at = at.checked_sub(MARGIN)?;
        let (row, column) = (at / self.c_row_stride, at % self.c_row_stride / element);
        (column < self.cols()).then_some((row, column))
    }

    /// C as it was before the call.
    pub fn c_before(&self) -> &[u8] {
        &self.c
    }

    /// Scratch memory as it was before the call.
    pub fn scratch_before(&self) -> &[i32] {
        &self.scratch
    }

    /// Bundles of a section in all blocks.
    pub fn bundles(&self, section: Section) -> u32 {
        self.blocks.iter().map(|b| b.bundles[section as usize]).sum()
    }

    /// Calls a kernel of this case's description, on whichever tier.
    pub fn run(&self, kernel: &Kernel, memory: &mut Memory) -> Outcome {
        assert_eq!(KernelDesc { tier: self.desc.tier, ..*kernel.desc() }, self.desc);
        // SAFETY: `run_with` makes arguments that satisfy the contract of a kernel of this description.
        self.run_with(memory, |args| unsafe { kernel.run(args) })
    }

    /// Has `execute` do what a kernel of this case's description does with its arguments.
    pub fn run_with(&self, memory: &mut Memory, execute: impl FnOnce(&mut KernelArgs)) -> Outcome {
        let mut args = KernelArgs {
            a: memory.a.put(&self.a),
            a_row_stride: self.a_row_stride,
            b: memory.b.put(&self.b),
            offsets: memory.offsets.put(&self.offsets),
            blocks: memory.blocks.put(&self.blocks),
            block_count: self.shape.blocks,
            tiles: self.shape.tiles,
            grid: GridArgs::of_width(self.shape.width),
            ..self.constants
        };
        // The sums of tiles pass through scratch memory, whatever they leave there.
        let has_tiles = self.desc.layout == Layout::Tiles;
        let compares_scratch = match self.desc.finish {
            Finish::Scratch => true,
            Finish::Epilogue(_) => self.desc.start == Start::Scratch && !has_tiles,
        };
        if compares_scratch || has_tiles {
            args.scratch = memory.scratch.put(&self.scratch);
        }
        if let Finish::Epilogue(epilogue) = self.desc.finish {
            self.place_epilogue(epilogue, memory, &mut args);
        }
        // What a kernel asks for: A holds every row with all steps that the offsets lead to; headers, offsets and
        // packed vectors were made for each other and for `desc.sections`, with lanes bounded by `lane`; C, scratch
        // memory and the arrays that the description names have all rows and padded columns, and stay in `memory`
        // during the call.
        execute(&mut args);
        let scratch = if compares_scratch { memory.scratch.take(self.scratch.len()) } else { Vec::new() };
        Outcome { c: memory.c.take(self.c.len()), scratch }
    }

    /// C and what the epilogue reads. What it does not name stays null.
    fn place_epilogue(&self, epilogue: Epilogue, memory: &mut Memory, args: &mut KernelArgs) {
        args.c = memory.c.put(&self.c).wrapping_add(MARGIN);
        args.c_row_stride = self.c_row_stride;
        args.column_term = memory.columns[0].put(&self.columns[0]);
        if epilogue.a_zero_point == AZeroPoint::PerRow {
            args.column_correction = memory.columns[1].put(&self.columns[1]);
            args.row_zero_point = memory.rows[0].put(&self.rows[0]);
        }
        if epilogue.b_zero_point != BZeroPoint::Zero {
            args.row_term = memory.rows[1].put(&self.rows[1]);
        }
        if epilogue.b_zero_point == BZeroPoint::PerColumn {
            args.column_zero_point = memory.columns[2].put(&self.columns[2]);
        }
        let (scale, bias, row_scale, residual) = match epilogue.output {
            Output::StoreI32 | Output::AddI32 => (false, false, false, false),
            Output::Requantize(r) => (true, r.float_bias, false, false),
            Output::Dequantize(d) => (true, d.bias, d.row_scale, d.residual),
        };
        if scale {
            args.column_scale = memory.columns[3].put(&self.column_scale);
        }
        if bias {
            args.column_bias = memory.columns[4].put(&self.column_bias);
        }
        if row_scale {
            args.row_scale = memory.rows[2].put(&self.row_scale);
        }
        if residual {
            args.residual = memory.residual.put(&self.residual);
            args.residual_row_stride = self.residual_row_stride;
        }
    }
}

/// `count` elements of a type, as bytes: numbers of some magnitude, and NaN, infinities, largest and subnormal numbers.
fn residual(of: FloatType, count: usize, rng: &mut Rng) -> Vec<u8> {
    let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, -0.0, f32::from_bits(1 << 16)];
    let special16 = [0x7e00, 0x7c00, 0xfc00, 0x7bff, 0xfbff, 0x8000, 0x0001];
    let one = |rng: &mut Rng| {
        let x = if rng.below(8) == 0 { rng.pick(&special) } else { (rng.unit() - 0.5) * 1e3 };
        match of {
            FloatType::F32 => x.to_le_bytes().to_vec(),
            FloatType::Bf16 => x.to_le_bytes()[2..].to_vec(),
            FloatType::F16 if rng.below(8) == 0 => u16::to_le_bytes(rng.pick(&special16)).to_vec(),
            // Below 1024, of both signs.
            FloatType::F16 => ((rng.below(0x6400) | rng.below(2) << 15) as u16).to_le_bytes().to_vec(),
        }
    };
    (0..count).flat_map(|_| one(rng)).collect()
}

/// A finite scale or multiplier; with `narrowing`, such that no product with a sum reaches 2^31.
fn scale(rng: &mut Rng, narrowing: bool, moderate: bool) -> f32 {
    let exponent = match (narrowing, moderate) {
        (true, _) => rng.within(-30, -2),
        // Two small ones make subnormal results.
        (_, true) if rng.below(4) == 0 => rng.within(-75, -60),
        (_, true) => rng.within(-40, 8),
        _ => rng.within(-60, 100),
    };
    match rng.below(4) {
        // Half-way cases.
        0 => 0.5,
        1 => 0.125,
        _ => (1.0 + rng.unit()) * 2f32.powi(exponent) * rng.pick(&[1.0, 1.0, -1.0]),
    }
}

/// A guarded place for each argument, used call after call.
pub struct Memory {
    a: Guarded,
    b: Guarded,
    offsets: Guarded,
    blocks: Guarded,
    c: Guarded,
    scratch: Guarded,
    columns: [Guarded; 5],
    rows: [Guarded; 3],
    residual: Guarded,
}

impl Memory {
    pub fn new() -> Memory {
        let large = || Guarded::new(1 << 18);
        let small = || Guarded::new(1 << 12);
        Memory {
            a: Guarded::new(1 << 20),
            b: Guarded::new(1 << 21),
            offsets: large(),
            blocks: small(),
            c: large(),
            scratch: large(),
            columns: std::array::from_fn(|_| small()),
            rows: std::array::from_fn(|_| small()),
            residual: large(),
        }
    }
}
