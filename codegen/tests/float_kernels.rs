//! Generated float kernels against the portable tier: the same arguments must leave the same bits in C, and nothing around
//! it. Operands end where a page begins that must not be touched.
//!
//! How partial sums and expanded weights lie in memory is a tier's own business: kernels that leave them are followed by
//! one that takes them, and what that one leaves in C is compared.

mod common;
#[path = "common/guarded.rs"]
mod guarded;

use common::{Rng, machine_tiers, share_of};
use gemmill_codegen::*;
use guarded::Guarded;
use half::{bf16, f16};

/// A product in one or two parts of K, with all its operands.
struct Case {
    desc: FloatKernelDesc,
    epilogue: FloatEpilogue,
    /// Depth of each part.
    parts: Vec<usize>,
    row_tiles: usize,
    a: Vec<f32>,
    a_row_stride: usize,
    b: Vec<u8>,
    c: Vec<u8>,
    c_row_stride: usize,
    bias: Vec<f32>,
    residual: Vec<u8>,
    beta: f32,
}

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

impl Case {
    fn new(desc: FloatKernelDesc, epilogue: FloatEpilogue, parts: &[usize], row_tiles: usize, rng: &mut Rng) -> Case {
        let depth: usize = parts.iter().sum();
        let rows = usize::from(desc.rows) * row_tiles;
        let a_row_stride = match desc.a {
            FloatRows::Strided => depth + rng.below(5),
            FloatRows::Interleaved => depth,
        };
        let panels = desc.strip_cols().div_ceil(FLOAT_PANEL);
        let c_row_stride = usize::from(desc.cols) + rng.below(4);
        Case {
            desc,
            epilogue,
            parts: parts.to_vec(),
            row_tiles,
            a: (0..a_row_stride * rows).map(|_| number(rng)).collect(),
            a_row_stride,
            b: numbers(desc.weights, panels * depth * FLOAT_PANEL, rng),
            c: numbers(desc.c, c_row_stride * (rows - 1) + usize::from(desc.cols), rng),
            c_row_stride,
            bias: (0..panels * FLOAT_PANEL).map(|_| number(rng)).collect(),
            residual: numbers(desc.c, c_row_stride * (rows - 1) + usize::from(desc.cols), rng),
            beta: number(rng),
        }
    }

    /// C as a tier leaves it.
    fn run(&self, tier: Tier, memory: &mut [Guarded; 5]) -> Vec<u8> {
        // The portable tier has vectors of eight lanes.
        let vectors = (self.desc.strip_cols() / float_lanes(tier)) as u8;
        let of_tier = FloatKernelDesc { tier, vectors, ..self.desc };
        let (depth, height) = (self.parts.iter().sum::<usize>(), usize::from(self.desc.rows));
        let strip = self.desc.strip_cols();
        let [a_room, b_room, c_room, bias_room, residual_room] = memory;
        let (a, b) = (a_room.put(&self.a), b_room.put(&self.b));
        let (c, bias, residual) = (c_room.put(&self.c), bias_room.put(&self.bias), residual_room.put(&self.residual));
        let mut scratch = vec![f32::NAN; strip * height * self.row_tiles];
        let element = self.desc.c.bytes();
        let mut first = 0;
        for (i, &part) in self.parts.iter().enumerate() {
            let last = i + 1 == self.parts.len();
            let desc = FloatKernelDesc {
                start: if i == 0 { of_tier.start } else { FloatStart::Scratch },
                finish: if last { FloatFinish::Epilogue(self.epilogue) } else { FloatFinish::Scratch },
                ..of_tier
            };
            let mut expanded = vec![f32::NAN; part * strip];
            let (a_offset, tile_elements) = match desc.a {
                FloatRows::Strided => (first, height * self.a_row_stride),
                FloatRows::Interleaved => (first * height, height * depth),
            };
            let args = FloatKernelArgs {
                a: a.wrapping_add(a_offset),
                a_row_stride: self.a_row_stride * size_of::<f32>(),
                a_tile_stride: tile_elements * size_of::<f32>(),
                b: b.wrapping_add(first * desc.panel_row_bytes()),
                b_panel_stride: depth * desc.panel_row_bytes(),
                next: std::ptr::null(),
                depth: part,
                row_tiles: self.row_tiles,
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
            let run = |desc: FloatKernelDesc, mut args: FloatKernelArgs| {
                let kernel = Kernel::generate(&desc).unwrap_or_else(|e| panic!("{desc}: {e}"));
                // SAFETY: the operands above have the sizes that the description and the arguments say.
                unsafe { kernel.run(&mut args) };
            };
            if desc.expansion == Expansion::Kept {
                // The first tile keeps what the others take.
                run(desc, FloatKernelArgs { row_tiles: 1, ..args });
                if self.row_tiles > 1 {
                    let rest = FloatKernelArgs {
                        a: args.a.wrapping_byte_add(args.a_tile_stride),
                        c: args.c.wrapping_add(height * args.c_row_stride),
                        residual: args.residual.wrapping_add(height * args.residual_row_stride),
                        scratch: args.scratch.wrapping_add(desc.scratch_len()),
                        row_tiles: self.row_tiles - 1,
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
        c_room.take(self.c.len())
    }

    fn compare(&self, memory: &mut [Guarded; 5]) {
        let (expected, found) = (self.run(Tier::Portable, memory), self.run(self.desc.tier, memory));
        let element = self.desc.c.bytes();
        for (at, (e, f)) in expected.chunks(element).zip(found.chunks(element)).enumerate() {
            let place = (at / self.c_row_stride, at % self.c_row_stride);
            let name = FloatKernelDesc { finish: FloatFinish::Epilogue(self.epilogue), ..self.desc };
            assert!(
                e == f || both_nan(self.desc.c, e, f),
                "{name}, parts {:?}: {place:?}: {e:x?} is {f:x?}",
                self.parts
            );
            let inside = place.1 < self.desc.cols.into();
            let was = &self.c[at * element..][..element];
            assert!(inside || was == f, "{name}: wrote outside C at {place:?}");
        }
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

const FUNCTIONS: [FloatFunction; 4] =
    [FloatFunction::Identity, FloatFunction::Clamp, FloatFunction::Gelu, FloatFunction::Silu];

/// Every micro-tile of every tier, with random operands, sizes, strides and stages.
#[test]
fn float_kernels_match_the_portable_tier() {
    let mut rng = Rng(7);
    let mut memory: [Guarded; 5] = std::array::from_fn(|_| Guarded::new(1 << 19));
    let mut count = 0;
    for tier in machine_tiers("float_kernels_match_the_portable_tier") {
        for tile in float_tiles(tier) {
            for rows in 1..=tile.max_rows {
                for vectors in (2..=tile.vectors).step_by(2) {
                    for _ in 0..share_of(24) {
                        let strip = vectors * float_lanes(tier);
                        let expansions = if vectors == 2 { 2 } else { 1 };
                        let next = if strip > FLOAT_PANEL { FloatPrefetch::None } else { FloatPrefetch::Next };
                        let desc = FloatKernelDesc {
                            tier,
                            weights: rng.pick(&FloatType::ALL),
                            expansion: [Expansion::InRegisters, Expansion::Kept][rng.below(expansions)],
                            a: rng.pick(&[FloatRows::Strided, FloatRows::Interleaved]),
                            rows: rows as u8,
                            vectors: vectors as u8,
                            cols: if rng.below(2) == 0 { strip } else { 1 + rng.below(strip) } as u8,
                            start: rng.pick(&[FloatStart::Zero, FloatStart::Beta]),
                            finish: FloatFinish::Scratch,
                            c: rng.pick(&FloatType::ALL),
                            prefetch: rng.pick(&[FloatPrefetch::None, FloatPrefetch::Ahead, next]),
                        };
                        let epilogue = FloatEpilogue {
                            bias: rng.below(2) == 1,
                            residual: rng.below(2) == 1,
                            function: rng.pick(&FUNCTIONS),
                        };
                        let parts: &[usize] = rng.pick(&[&[0], &[1], &[2], &[3], &[13], &[5, 1], &[8, 9], &[4, 3, 2]]);
                        let row_tiles = rng.pick(&[1, 1, 2, 3]);
                        Case::new(desc, epilogue, parts, row_tiles, &mut rng).compare(&mut memory);
                        count += 1;
                    }
                }
            }
        }
    }
    eprintln!("{count} kernels compared");
}

/// What is no kernel is refused.
#[test]
fn impossible_kernels_are_refused() {
    let desc = FloatKernelDesc {
        tier: Tier::Avx2,
        weights: FloatType::F16,
        expansion: Expansion::InRegisters,
        a: FloatRows::Strided,
        rows: 6,
        vectors: 2,
        cols: 16,
        start: FloatStart::Zero,
        finish: FloatFinish::Scratch,
        c: FloatType::F32,
        prefetch: FloatPrefetch::None,
    };
    for wrong in [
        FloatKernelDesc { rows: 0, ..desc },
        FloatKernelDesc { rows: 7, ..desc },
        FloatKernelDesc { vectors: 4, ..desc },
        FloatKernelDesc { vectors: 8, rows: 1, prefetch: FloatPrefetch::Next, ..desc },
        FloatKernelDesc { vectors: 3, ..desc },
        FloatKernelDesc { vectors: 0, ..desc },
        FloatKernelDesc { cols: 17, ..desc },
        FloatKernelDesc { cols: 0, ..desc },
        FloatKernelDesc { vectors: 4, rows: 1, expansion: Expansion::Kept, ..desc },
        FloatKernelDesc { tier: Tier::Portable, vectors: 200, ..desc },
    ] {
        assert!(matches!(Kernel::generate(&wrong), Err(CodegenError::Unsupported(_))), "{wrong}");
    }
}
