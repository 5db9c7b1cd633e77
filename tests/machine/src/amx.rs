//! The matrix unit: tile configuration, loads, stores and products.

use iced_x86::{Instruction, Mnemonic, OpKind};

use crate::address::{self, Address};
use crate::bf16::dot_tile;
use crate::fault::Reason;
use crate::state::{State, TILE_ROW_BYTES, TILE_ROWS, TILES, TileConfiguration, Tiles};

/// The element types of a product's sources, the left one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elements {
    I8I8,
    I8U8,
    U8I8,
    U8U8,
    Bf16,
}

/// A decoded instruction.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tile {
    Configure(Address),
    Release,
    Zero(u8),
    Load { tile: u8, from: Address },
    Store { tile: u8, to: Address },
    Multiply { elements: Elements, sums: u8, left: u8, right: u8 },
}

impl Tile {
    /// `None` for instructions of other kinds.
    pub(crate) fn decode(instruction: &Instruction) -> Result<Option<Tile>, Reason> {
        let tile = |index| match instruction.op_kind(index) {
            OpKind::Register if instruction.op_register(index).is_tmm() => {
                Ok(instruction.op_register(index).number() as u8)
            }
            _ => Err(Reason::NotModelled("an operand that should be a tile")),
        };
        let multiply =
            |elements| Ok(Some(Tile::Multiply { elements, sums: tile(0)?, left: tile(1)?, right: tile(2)? }));
        match instruction.mnemonic() {
            Mnemonic::Ldtilecfg => Ok(Some(Tile::Configure(Address::decode(instruction)?))),
            Mnemonic::Tilerelease => Ok(Some(Tile::Release)),
            Mnemonic::Tilezero => Ok(Some(Tile::Zero(tile(0)?))),
            Mnemonic::Tileloadd | Mnemonic::Tileloaddt1 => {
                Ok(Some(Tile::Load { tile: tile(0)?, from: Address::decode(instruction)? }))
            }
            Mnemonic::Tilestored => Ok(Some(Tile::Store { tile: tile(1)?, to: Address::decode(instruction)? })),
            Mnemonic::Tdpbssd => multiply(Elements::I8I8),
            Mnemonic::Tdpbsud => multiply(Elements::I8U8),
            Mnemonic::Tdpbusd => multiply(Elements::U8I8),
            Mnemonic::Tdpbuud => multiply(Elements::U8U8),
            Mnemonic::Tdpbf16ps => multiply(Elements::Bf16),
            _ => Ok(None),
        }
    }

    /// # Safety
    /// Memory operands must be accessible: for loads and stores the rows that the configuration gives the tile.
    pub(crate) unsafe fn execute(&self, state: &mut State) -> Result<(), Reason> {
        let general = &state.general;
        match *self {
            Tile::Configure(address) => {
                let mut bytes = [0; 64];
                // SAFETY: the caller's promise.
                unsafe { address::read_bytes(address.resolve(general), &mut bytes) };
                state.tiles = Tiles { configuration: configuration(&bytes)?, ..Tiles::default() };
            }
            Tile::Release => state.tiles = Tiles::default(),
            Tile::Zero(tile) => {
                size(&state.tiles, tile)?;
                state.tiles.data[usize::from(tile)] = [[0; TILE_ROW_BYTES]; TILE_ROWS];
                restart(&mut state.tiles);
            }
            Tile::Load { tile, from } => {
                let (start, stride) = (from.start(general), from.stride(general));
                let Size { rows, row_bytes } = size(&state.tiles, tile)?;
                let first = state.tiles.configuration.map_or(0, |c| c.start_row);
                let data = &mut state.tiles.data[usize::from(tile)];
                for (row, to) in data.iter_mut().enumerate().skip(first.into()) {
                    *to = [0; TILE_ROW_BYTES];
                    if row < rows {
                        let at = start.wrapping_add(stride.wrapping_mul(row as u64));
                        // SAFETY: the caller's promise.
                        unsafe { address::read_bytes(at, &mut to[..row_bytes]) }
                    }
                }
                restart(&mut state.tiles);
            }
            Tile::Store { tile, to } => {
                let (start, stride) = (to.start(general), to.stride(general));
                let Size { rows, row_bytes } = size(&state.tiles, tile)?;
                let first = state.tiles.configuration.map_or(0, |c| c.start_row);
                let data = &state.tiles.data[usize::from(tile)];
                for (row, from) in data.iter().enumerate().take(rows).skip(first.into()) {
                    let at = start.wrapping_add(stride.wrapping_mul(row as u64));
                    // SAFETY: the caller's promise.
                    unsafe { address::write_bytes(at, &from[..row_bytes]) }
                }
                restart(&mut state.tiles);
            }
            Tile::Multiply { elements, sums, left, right } => {
                multiply(&mut state.tiles, elements, [sums, left, right])?;
                restart(&mut state.tiles);
            }
        }
        Ok(())
    }
}

/// What 64 bytes of memory configure; `None` for palette 0, which is the initial state.
fn configuration(bytes: &[u8; 64]) -> Result<Option<TileConfiguration>, Reason> {
    let bad = |what| Err(Reason::TileConfiguration(what));
    match bytes[0] {
        0 => return Ok(None),
        1 => {}
        _ => return bad("palette other than 0 and 1"),
    }
    if bytes[2..16].iter().chain(&bytes[32..48]).chain(&bytes[56..]).any(|&b| b != 0) {
        return bad("reserved bytes that are not zero");
    }
    let mut configuration = TileConfiguration { start_row: bytes[1], ..TileConfiguration::default() };
    for tile in 0..TILES {
        let row_bytes = u16::from_le_bytes([bytes[16 + 2 * tile], bytes[17 + 2 * tile]]);
        let rows = bytes[48 + tile];
        if usize::from(row_bytes) > TILE_ROW_BYTES {
            return bad("more than 64 bytes per row");
        }
        if usize::from(rows) > TILE_ROWS {
            return bad("more than 16 rows");
        }
        if (rows == 0) != (row_bytes == 0) {
            return bad("either rows or bytes per row are zero, but not both");
        }
        (configuration.rows[tile], configuration.row_bytes[tile]) = (rows, row_bytes);
    }
    Ok(Some(configuration))
}

struct Size {
    rows: usize,
    row_bytes: usize,
}

fn size(tiles: &Tiles, tile: u8) -> Result<Size, Reason> {
    let configuration = tiles.configuration.as_ref().ok_or(Reason::TilesNotConfigured)?;
    match configuration.rows[usize::from(tile)] {
        0 => Err(Reason::TileWithoutSize { tile }),
        rows => Ok(Size { rows: rows.into(), row_bytes: configuration.row_bytes[usize::from(tile)].into() }),
    }
}

/// Every tile instruction that completes leaves the start row at zero.
fn restart(tiles: &mut Tiles) {
    if let Some(configuration) = &mut tiles.configuration {
        configuration.start_row = 0;
    }
}

/// The tiles are three different ones: otherwise the instruction could not be decoded.
fn multiply(tiles: &mut Tiles, elements: Elements, [sums, left, right]: [u8; 3]) -> Result<(), Reason> {
    let bad = |what| Err(Reason::TileShapes(what));
    let (c, a, b) = (size(tiles, sums)?, size(tiles, left)?, size(tiles, right)?);
    if [&c, &a, &b].iter().any(|tile| tile.row_bytes % 4 != 0) {
        return bad("bytes per row are not a multiple of 4");
    }
    if c.rows != a.rows {
        return bad("the sums and the left factor differ in their rows");
    }
    if c.row_bytes != b.row_bytes {
        return bad("the sums and the right factor differ in their bytes per row");
    }
    if a.row_bytes / 4 != b.rows {
        return bad("the left factor's bytes per row are not four for each row of the right factor");
    }
    let (a_data, b_data) = (tiles.data[usize::from(left)], tiles.data[usize::from(right)]);
    let c_data = &mut tiles.data[usize::from(sums)];
    for (row, (to, from)) in c_data.iter_mut().zip(&a_data).enumerate() {
        if row >= c.rows {
            *to = [0; TILE_ROW_BYTES];
            continue;
        }
        let quads = &from.as_chunks::<4>().0[..b.rows];
        let columns = &mut to.as_chunks_mut::<4>().0[..c.row_bytes / 4];
        for (column, sum) in columns.iter_mut().enumerate() {
            let weights = b_data.iter().map(|row| row.as_chunks::<4>().0[column]);
            let pairs = quads.iter().copied().zip(weights);
            *sum = match elements {
                Elements::Bf16 => dot_tile(f32::from_le_bytes(*sum), pairs).to_le_bytes(),
                _ => dot_bytes(elements, i32::from_le_bytes(*sum), pairs).to_le_bytes(),
            };
        }
        to[c.row_bytes..].fill(0);
    }
    Ok(())
}

fn dot_bytes(elements: Elements, sum: i32, quads: impl Iterator<Item = ([u8; 4], [u8; 4])>) -> i32 {
    let number = |byte: u8, signed| if signed { i32::from(byte as i8) } else { i32::from(byte) };
    let left_signed = matches!(elements, Elements::I8I8 | Elements::I8U8);
    let right_signed = matches!(elements, Elements::I8I8 | Elements::U8I8);
    quads.fold(sum, |sum, (left, right)| {
        let product = |i: usize| number(left[i], left_signed) * number(right[i], right_signed);
        (0..4).map(product).fold(sum, i32::wrapping_add)
    })
}
