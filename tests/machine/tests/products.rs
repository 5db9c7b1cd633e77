//! Products of tiles, and the VEX forms of AVX-VNNI, against plain loops: CPUs without these instructions have no other
//! witness.

#[path = "../../../codegen/tests/common/mod.rs"]
mod common;

use common::Rng;
use gemmill_machine::{Program, State, Vector};
use iced_x86::{Code, Encoder, Instruction, MemoryOperand, Register};

/// The bytes of instructions, one behind the other.
fn assemble(instructions: impl IntoIterator<Item = Instruction>) -> Vec<u8> {
    let mut encoder = Encoder::new(64);
    let mut length = 0;
    for instruction in instructions {
        length += encoder.encode(&instruction, length as u64).expect("encodable");
    }
    encoder.take_buffer()
}

/// What the code of a tile product is called with.
#[repr(C)]
struct Arguments {
    configuration: *const u8,
    a: *const u8,
    a_stride: usize,
    b: *const u8,
    b_stride: usize,
    c: *mut u8,
    c_stride: usize,
}

/// Loads three tiles, multiplies and stores the sums.
fn product_code(product: Code, load: Code) -> Vec<u8> {
    use Register::{R8, R9, R10, RAX, RCX, RDI, RDX, TMM1, TMM5, TMM7};
    let argument = |offset: usize| MemoryOperand::with_base_displ(RDI, offset as i64);
    let fetch = |register, offset| Instruction::with2(Code::Mov_r64_rm64, register, argument(offset)).unwrap();
    let rows = |base, index| MemoryOperand::with_base_index_scale(base, index, 1);
    assemble([
        fetch(RAX, std::mem::offset_of!(Arguments, configuration)),
        Instruction::with1(Code::VEX_Ldtilecfg_m512, MemoryOperand::with_base(RAX)).unwrap(),
        fetch(RAX, std::mem::offset_of!(Arguments, a)),
        fetch(RCX, std::mem::offset_of!(Arguments, a_stride)),
        fetch(RDX, std::mem::offset_of!(Arguments, b)),
        fetch(R8, std::mem::offset_of!(Arguments, b_stride)),
        fetch(R9, std::mem::offset_of!(Arguments, c)),
        fetch(R10, std::mem::offset_of!(Arguments, c_stride)),
        Instruction::with2(load, TMM1, rows(RAX, RCX)).unwrap(),
        Instruction::with2(load, TMM5, rows(RDX, R8)).unwrap(),
        Instruction::with2(load, TMM7, rows(R9, R10)).unwrap(),
        Instruction::with3(product, TMM7, TMM1, TMM5).unwrap(),
        Instruction::with2(Code::VEX_Tilestored_sibmem_tmm, rows(R9, R10), TMM7).unwrap(),
        Instruction::with(Code::VEX_Tilerelease),
        Instruction::with(Code::Retnq),
    ])
}

/// Rows of sums, columns of sums, and groups of four bytes that are summed over.
#[derive(Debug, Clone, Copy)]
struct Shape {
    m: usize,
    n: usize,
    k: usize,
}

/// Palette 1 with the left factor in tile 1, the right one in tile 5, the sums in tile 7.
fn configuration(shape: Shape) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    for (tile, rows, row_bytes) in [(1, shape.m, 4 * shape.k), (5, shape.k, 4 * shape.n), (7, shape.m, 4 * shape.n)] {
        bytes[16 + 2 * tile] = row_bytes as u8;
        bytes[48 + tile] = rows as u8;
    }
    bytes
}

struct Operands {
    shape: Shape,
    a: Vec<u8>,
    a_stride: usize,
    b: Vec<u8>,
    b_stride: usize,
    c: Vec<u8>,
    c_stride: usize,
}

impl Operands {
    fn new(rng: &mut Rng, mut byte: impl FnMut(&mut Rng) -> u8) -> Operands {
        let size = |rng: &mut Rng| if rng.below(4) == 0 { 16 } else { 1 + rng.below(16) };
        let shape = Shape { m: size(rng), n: size(rng), k: size(rng) };
        let stride = |rng: &mut Rng, columns: usize| 4 * columns + rng.below(9);
        let (a_stride, b_stride, c_stride) = (stride(rng, shape.k), stride(rng, shape.n), stride(rng, shape.n));
        let mut bytes = |rng: &mut Rng, rows: usize, stride: usize| (0..rows * stride).map(|_| byte(rng)).collect();
        let (a, b) = (bytes(rng, shape.m, a_stride), bytes(rng, shape.k, b_stride));
        Operands { shape, a, a_stride, b, b_stride, c: bytes(rng, shape.m, c_stride), c_stride }
    }

    /// C behind the product, everything between its rows included.
    fn run(&self, program: &Program) -> Vec<u8> {
        let configuration = configuration(self.shape);
        let mut c = self.c.clone();
        let mut arguments = Arguments {
            configuration: configuration.as_ptr(),
            a: self.a.as_ptr(),
            a_stride: self.a_stride,
            b: self.b.as_ptr(),
            b_stride: self.b_stride,
            c: c.as_mut_ptr(),
            c_stride: self.c_stride,
        };
        // SAFETY: the matrices have all rows of the configuration, each with room for its stride.
        let statistics = unsafe { program.run((&raw mut arguments).cast()) };
        assert_eq!(statistics.unwrap_or_else(|fault| panic!("{fault}")).total(), 15);
        c
    }

    fn a(&self, row: usize, byte: usize) -> u8 {
        self.a[row * self.a_stride + byte]
    }

    /// What stands in B for column `column` of the sums and byte `byte` of a row of A.
    fn b(&self, column: usize, byte: usize) -> u8 {
        self.b[byte / 4 * self.b_stride + 4 * column + byte % 4]
    }

    /// C where each sum is made by `f` from its row, its column and its old bytes.
    fn expected(&self, f: impl Fn(usize, usize, [u8; 4]) -> [u8; 4]) -> Vec<u8> {
        let mut c = self.c.clone();
        for row in 0..self.shape.m {
            for column in 0..self.shape.n {
                let place = &mut c[row * self.c_stride + 4 * column..][..4];
                let sum = f(row, column, (&*place).try_into().unwrap());
                place.copy_from_slice(&sum);
            }
        }
        c
    }
}

#[test]
fn products_of_bytes_match_a_loop() {
    let mut rng = Rng(31);
    let unsigned = |x: u8| i64::from(x);
    let signed = |x: u8| i64::from(x as i8);
    type Number = fn(u8) -> i64;
    let kinds: [(Code, Number, Number); 4] = [
        (Code::VEX_Tdpbssd_tmm_tmm_tmm, signed, signed),
        (Code::VEX_Tdpbsud_tmm_tmm_tmm, signed, unsigned),
        (Code::VEX_Tdpbusd_tmm_tmm_tmm, unsigned, signed),
        (Code::VEX_Tdpbuud_tmm_tmm_tmm, unsigned, unsigned),
    ];
    for (code, left, right) in kinds {
        for load in [Code::VEX_Tileloadd_tmm_sibmem, Code::VEX_Tileloaddt1_tmm_sibmem] {
            let bytes = product_code(code, load);
            let program = Program::decode(&bytes).unwrap();
            for _ in 0..200 {
                let extremes = rng.below(2) == 0;
                let byte = |rng: &mut Rng| if extremes { rng.pick(&[0, 1, 127, 128, 255]) } else { rng.next() as u8 };
                let operands = Operands::new(&mut rng, byte);
                let expected = operands.expected(|row, column, old| {
                    let products = (0..4 * operands.shape.k)
                        .map(|byte| left(operands.a(row, byte)) * right(operands.b(column, byte)));
                    ((i64::from(i32::from_le_bytes(old)) + products.sum::<i64>()) as i32).to_le_bytes()
                });
                assert_eq!(operands.run(&program), expected, "{code:?} {load:?} {:?}", operands.shape);
            }
        }
    }
}

fn bf16(bytes: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
}

/// Small integers, whose sums are exact in every order.
#[test]
fn products_of_bf16_match_a_loop_where_they_are_exact() {
    let mut rng = Rng(32);
    let bytes = product_code(Code::VEX_Tdpbf16ps_tmm_tmm_tmm, Code::VEX_Tileloadd_tmm_sibmem);
    let program = Program::decode(&bytes).unwrap();
    for _ in 0..200 {
        let mut operands = Operands::new(&mut rng, |_| 0);
        let mut integer = |_: usize| {
            let bits = (rng.within(-100, 100) as f32).to_bits();
            ((bits >> 16) as u16).to_le_bytes()
        };
        let Shape { m, n, k } = operands.shape;
        for row in 0..m {
            for i in 0..2 * k {
                operands.a[row * operands.a_stride + 2 * i..][..2].copy_from_slice(&integer(i));
            }
        }
        for row in 0..k {
            for i in 0..2 * n {
                operands.b[row * operands.b_stride + 2 * i..][..2].copy_from_slice(&integer(i));
            }
        }
        for row in 0..m {
            for i in 0..n {
                let sum = (i as f32 - 7.0).to_le_bytes();
                operands.c[row * operands.c_stride + 4 * i..][..4].copy_from_slice(&sum);
            }
        }
        let expected = operands.expected(|row, column, old| {
            let products = (0..2 * k).map(|i| {
                let left = bf16([operands.a(row, 2 * i), operands.a(row, 2 * i + 1)]);
                left * bf16([operands.b(column, 2 * i), operands.b(column, 2 * i + 1)])
            });
            (f32::from_le_bytes(old) + products.sum::<f32>()).to_le_bytes()
        });
        assert_eq!(operands.run(&program), expected, "{:?}", operands.shape);
    }
}

/// One sum of `pairs` of bf16 numbers.
fn one_bf16_sum(pairs: &[[f32; 2]], sum: f32) -> f32 {
    assert!(pairs.len().is_multiple_of(2));
    let bytes = product_code(Code::VEX_Tdpbf16ps_tmm_tmm_tmm, Code::VEX_Tileloadd_tmm_sibmem);
    let program = Program::decode(&bytes).unwrap();
    let half = |x: f32| {
        assert_eq!(x.to_bits() & 0xffff, 0, "{x} is no bf16 number");
        ((x.to_bits() >> 16) as u16).to_le_bytes()
    };
    let operands = Operands {
        shape: Shape { m: 1, n: 1, k: pairs.len() / 2 },
        a: pairs.iter().flat_map(|p| half(p[0])).collect(),
        a_stride: 2 * pairs.len(),
        b: pairs.iter().flat_map(|p| half(p[1])).collect(),
        b_stride: 4,
        c: sum.to_le_bytes().to_vec(),
        c_stride: 4,
    };
    f32::from_le_bytes(operands.run(&program).try_into().unwrap())
}

/// The order of additions and the treatment of denormals, as the SDM's pseudo-code has them.
#[test]
fn products_of_bf16_round_as_documented() {
    let big = 2f32.powi(24);
    // Even elements have a sum of their own: 1 + 2^24 is 2^24 there, and the odd sum takes 2^24 away again.
    assert_eq!(one_bf16_sum(&[[1.0, 1.0], [0.0, 0.0], [big, 1.0], [-big, 1.0]], 0.0), 0.0);
    // In one sum it would be lost: 2^24 + 1 in the odd one, less 2^24 in the same one.
    assert_eq!(one_bf16_sum(&[[1.0, 1.0], [big, 1.0], [0.0, 0.0], [-big, 1.0]], 0.0), 1.0);
    // The old value is added last.
    assert_eq!(one_bf16_sum(&[[1.0, 1.0], [-1.0, 1.0]], big), big);
    assert_eq!(one_bf16_sum(&[[1.0, 1.0], [1.0, 1.0]], big), big + 2.0);
    // A product is not rounded before it is added: (1 + 2^-7)^2 - 1 needs 15 bits, and 2^-14 is kept beside 2^10 -
    // 2^10.
    let x = 1.0 + 2f32.powi(-7);
    assert_eq!(one_bf16_sum(&[[1.0, -1.0], [0.0, 0.0], [x, x], [0.0, 0.0]], 0.0), 2f32.powi(-6) + 2f32.powi(-14));
    // Denormal factors, sums and old values count as zero, and keep their sign.
    let denormal = 2f32.powi(-130);
    assert_eq!(one_bf16_sum(&[[denormal, 2f32.powi(100)], [0.0, 0.0]], 0.0), 0.0);
    assert_eq!(one_bf16_sum(&[[2f32.powi(-70), 2f32.powi(-70)], [0.0, 0.0]], 0.0), 0.0);
    assert_eq!(one_bf16_sum(&[[0.0, 0.0], [0.0, 0.0]], denormal), 0.0);
    assert_eq!(one_bf16_sum(&[[1.0, f32::INFINITY], [0.0, 0.0]], 0.0), f32::INFINITY);
    assert!(one_bf16_sum(&[[0.0, f32::INFINITY], [0.0, 0.0]], 0.0).is_nan());
}

/// A load fills what is below its rows and behind their bytes with zeros; `tilezero` and `ldtilecfg` clear; a start row
/// is where a load continues.
#[test]
fn tiles_are_cleared_and_continued() {
    use Register::{RAX, RCX, RDI, TMM3};
    let configure = Instruction::with1(Code::VEX_Ldtilecfg_m512, MemoryOperand::with_base(RDI)).unwrap();
    let rows = MemoryOperand::with_base_index_scale(RAX, RCX, 4);
    let load = Instruction::with2(Code::VEX_Tileloadd_tmm_sibmem, TMM3, rows).unwrap();
    let zero = Instruction::with1(Code::VEX_Tilezero_tmm, TMM3).unwrap();
    let back = Instruction::with(Code::Retnq);
    let data: Vec<u8> = (0..16 * 64).map(|i| i as u8 | 1).collect();
    let run = |configuration: &[u8; 64], stride: u64, code: Vec<u8>| {
        let mut state = State::arbitrary();
        state.general[7] = configuration.as_ptr().expose_provenance() as u64;
        state.general[0] = data.as_ptr().expose_provenance() as u64;
        state.general[1] = stride / 4;
        let program = Program::decode(&code).unwrap();
        // SAFETY: the configuration has 64 bytes and the data all rows of the tile; nothing else is accessed.
        unsafe { program.execute(&mut state) }.unwrap();
        state
    };
    let mut configuration = [0; 64];
    (configuration[0], configuration[16 + 6], configuration[48 + 3]) = (1, 24, 5);

    let state = run(&configuration, 32, assemble([configure, load, back]));
    for (row, found) in state.tiles.data[3].iter().enumerate() {
        let mut expected = [0; 64];
        if row < 5 {
            expected[..24].copy_from_slice(&data[32 * row..][..24]);
        }
        assert_eq!(*found, expected, "row {row}");
    }
    assert_eq!(state.tiles.configuration.unwrap().start_row, 0);

    let mut continued = configuration;
    continued[1] = 3;
    let state = run(&continued, 64, assemble([configure, load, back]));
    for (row, found) in state.tiles.data[3].iter().enumerate() {
        let loaded = (3..5).contains(&row);
        assert_eq!(found[..24] == data[64 * row..][..24], loaded, "row {row}");
        assert!(loaded || *found == [0; 64], "row {row}");
    }
    assert_eq!(state.tiles.configuration.unwrap().start_row, 0, "a load ends the continuation");

    for code in [[configure, load, zero, back], [configure, load, configure, back]] {
        let state = run(&configuration, 64, assemble(code));
        assert!(state.tiles.configuration.is_some());
        assert_eq!(*state.tiles.data, [[[0; 64]; 16]; 8]);
    }
    let mut initial = [0xff; 64];
    initial[0] = 0;
    let state = run(&initial, 64, assemble([configure, back]));
    assert_eq!(state.tiles.configuration, None, "palette 0 is the initial state");
}

/// `vpdpbusd` and `vpdpwssd` in VEX encoding, from registers and from memory.
#[test]
fn vex_dot_products_match_a_loop() {
    use Register::{RDI, XMM0, YMM0};
    let mut rng = Rng(33);
    let codes = [
        (Code::VEX_Vpdpbusd_xmm_xmm_xmmm128, XMM0, 16, true),
        (Code::VEX_Vpdpbusd_ymm_ymm_ymmm256, YMM0, 32, true),
        (Code::VEX_Vpdpwssd_xmm_xmm_xmmm128, XMM0, 16, false),
        (Code::VEX_Vpdpwssd_ymm_ymm_ymmm256, YMM0, 32, false),
    ];
    for (code, first, bytes, of_bytes) in codes {
        for round in 0..400 {
            let in_memory = round % 2 == 0;
            let [sum, left, right] = [(); 3].map(|()| rng.below(16));
            let instruction = if in_memory {
                Instruction::with3(code, first + sum as u32, first + left as u32, MemoryOperand::with_base(RDI))
            } else {
                Instruction::with3(code, first + sum as u32, first + left as u32, first + right as u32)
            };
            let code_bytes = assemble([instruction.unwrap(), Instruction::with(Code::Retnq)]);
            let program = Program::decode(&code_bytes).unwrap();
            let mut state = State::arbitrary();
            for vector in &mut state.vectors {
                vector.lanes_mut::<u8>().fill_with(|| rng.pick(&[0, 1, 127, 128, 255, 77]));
            }
            let memory = Vector::from_bytes(std::array::from_fn(|_| rng.next() as u8));
            state.general[7] = (&raw const memory).expose_provenance() as u64;
            let before = state.clone();
            // SAFETY: 64 bytes lie at the address.
            unsafe { program.execute(&mut state) }.unwrap();

            let (a, b) = (&before.vectors[left], if in_memory { &memory } else { &before.vectors[right] });
            let mut expected = Vector::ZERO;
            for lane in 0..bytes / 4 {
                let products: i64 = if of_bytes {
                    let at = |i: usize| 4 * lane + i;
                    (0..4).map(|i| i64::from(a.lane::<u8>(at(i))) * i64::from(b.lane::<i8>(at(i)))).sum()
                } else {
                    let at = |i: usize| 2 * lane + i;
                    (0..2).map(|i| i64::from(a.lane::<i16>(at(i))) * i64::from(b.lane::<i16>(at(i)))).sum()
                };
                let old = i64::from(before.vectors[sum].lane::<i32>(lane));
                expected.lanes_mut::<i32>()[lane] = (old + products) as i32;
            }
            let mut vectors = before.vectors;
            vectors[sum] = expected;
            assert!(state.vectors == vectors, "{code:?}: {sum} {left} {right}, in memory: {in_memory}");
            assert_eq!(state.upper_dirty, bytes == 32, "{code:?}");
        }
    }
}
