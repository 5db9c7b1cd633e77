//! What the machine holds: registers, flags, tiles.

use bytemuck::{Pod, Zeroable};

/// A 512-bit vector register, bytes in little-endian order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Vector([u64; 8]);

impl Vector {
    /// All bits zero.
    pub const ZERO: Vector = Vector([0; 8]);

    /// A vector of these bytes.
    pub fn from_bytes(bytes: [u8; 64]) -> Vector {
        Vector(bytemuck::cast(bytes))
    }

    /// All lanes of a type.
    #[inline]
    pub fn lanes<L: Pod>(&self) -> &[L] {
        bytemuck::cast_slice(&self.0)
    }

    /// All lanes of a type, to write.
    #[inline]
    pub fn lanes_mut<L: Pod>(&mut self) -> &mut [L] {
        bytemuck::cast_slice_mut(&mut self.0)
    }

    /// One lane.
    #[inline]
    pub fn lane<L: Pod>(&self, index: usize) -> L {
        self.lanes::<L>()[index]
    }
}

/// The arithmetic flags, as bits of RFLAGS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// Values of the flags that are defined.
    pub bits: u64,
    /// Flags whose value the architecture leaves open. The adjust flag, which nothing in the model reads, always is.
    pub undefined: u64,
}

impl Flags {
    /// CF
    pub const CARRY: u64 = 1;
    /// PF
    pub const PARITY: u64 = 1 << 2;
    /// AF
    pub const ADJUST: u64 = 1 << 4;
    /// ZF
    pub const ZERO: u64 = 1 << 6;
    /// SF
    pub const SIGN: u64 = 1 << 7;
    /// OF
    pub const OVERFLOW: u64 = 1 << 11;
    /// All of them.
    pub const ALL: u64 = Flags::CARRY | Flags::PARITY | Flags::ADJUST | Flags::ZERO | Flags::SIGN | Flags::OVERFLOW;
}

/// Number of tile registers.
pub(crate) const TILES: usize = 8;
/// Most rows of a tile.
pub(crate) const TILE_ROWS: usize = 16;
/// Bytes of a whole row of a tile.
pub(crate) const TILE_ROW_BYTES: usize = 64;

/// The size of each tile, as `ldtilecfg` set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TileConfiguration {
    /// The row that the next tile load or store starts at.
    pub start_row: u8,
    /// Rows of each tile; zero for a tile that must not be used.
    pub rows: [u8; TILES],
    /// Bytes per row of each tile.
    pub row_bytes: [u16; TILES],
}

/// The matrix unit: its configuration, if there is one, and the data of its tiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiles {
    /// `None` while the unit is in its initial state.
    pub configuration: Option<TileConfiguration>,
    /// Rows of whole width for each tile. What the configuration leaves out is zero.
    pub data: Box<[[[u8; TILE_ROW_BYTES]; TILE_ROWS]; TILES]>,
}

impl Default for Tiles {
    fn default() -> Tiles {
        Tiles { configuration: None, data: Box::new([[[0; TILE_ROW_BYTES]; TILE_ROWS]; TILES]) }
    }
}

/// Index of a general-purpose register that is not there: absent base and index registers read it as zero.
pub(crate) const NO_REGISTER: u8 = 16;

/// Numbers of general-purpose registers in encodings.
pub(crate) const RSP: usize = 4;
pub(crate) const RDI: usize = 7;

/// All registers.
#[derive(Debug, Clone)]
pub struct State {
    /// zmm0 to zmm31, of which xmm and ymm registers are the lower parts.
    pub vectors: [Vector; 32],
    /// k0 to k7.
    pub masks: [u64; 8],
    /// General-purpose registers in the order of their encoding: rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 to r15, and
    /// behind them one that must stay zero.
    pub general: [u64; 17],
    /// Arithmetic flags.
    pub flags: Flags,
    /// The matrix unit.
    pub tiles: Tiles,
    /// Whether the upper part of one of zmm0 to zmm15 was written since the last `vzeroupper`.
    pub upper_dirty: bool,
}

impl State {
    /// Registers as a function may find them: with contents that mean nothing, all flags undefined, no tiles.
    pub fn arbitrary() -> State {
        let mut seed = 0x243f_6a88_85a3_08d3u64;
        let mut next = || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            seed ^ seed >> 29
        };
        let mut state = State {
            vectors: [Vector::ZERO; 32],
            masks: std::array::from_fn(|_| next()),
            general: std::array::from_fn(|_| next()),
            flags: Flags { bits: 0, undefined: Flags::ALL },
            tiles: Tiles::default(),
            upper_dirty: false,
        };
        state.general[NO_REGISTER as usize] = 0;
        for vector in &mut state.vectors {
            vector.lanes_mut::<u64>().fill_with(&mut next);
        }
        state
    }
}
