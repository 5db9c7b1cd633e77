//! The loop driver: a product's rows and columns in parts on threads, A written once for all of them, and what bodies
//! of all families share.
//!
//! ```text
//! parts (threads):  rows × columns                     each part writes its own rectangle of C
//!   LOOP 1  rows in blocks of MC                       A is written as kernels read it (`Body::prepare`), unless
//!                                                      they can read it where it lies
//!     LOOP 2 ..  the family's own                      (`Body::multiply`) panels or strips, passes over K, kernels
//! ```
//!
//! Where several parts share rows, A is written once for all of them: rounds of rows are prepared by all threads, a
//! piece each, and then multiplied by all threads.
//!
//! A body ([`int8`], [`float`], [`float_grid`], [`groupwise`]) is made by a constructor that checks the extent of all
//! that its kernels read and write; its fields are private. Each has one call into machine code.

pub(crate) mod float;
pub(crate) mod float_grid;
pub(crate) mod groupwise;
pub(crate) mod int8;
mod prepared;

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use gemmill_codegen::Tier;

use crate::error::{Error, Result, expect};
use crate::machine::memory::{Lines, resize};
use crate::machine::threads::{ParallelFor, piece, run_parts, run_pieces, worth_pieces};
use crate::plan::Loops;
use crate::views::{AnyMut, AnyRef, MatRef};

pub(crate) use prepared::PreparedCache;

/// What a row of A takes where it is written anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RowSize {
    /// Bytes of elements; none where kernels read A where it lies.
    pub(crate) bytes: usize,
    /// Numbers beside them.
    pub(crate) terms: usize,
}

/// Rows of A that are to be written: those of whole micro-tiles, one after the other.
#[derive(Debug)]
pub(crate) struct RowsMut<'a> {
    pub(crate) bytes: &'a mut [u8],
    pub(crate) terms: &'a mut [i32],
}

/// Rows of A that were written, and the first of their tiles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) terms: &'a [i32],
    pub(crate) first_tile: usize,
}

/// A block of a part: what [`Body::multiply`] multiplies.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) tiles: Range<usize>,
    /// Panels or strips.
    pub(crate) columns: Range<usize>,
    /// How many blocks of the part came before it.
    pub(crate) ordinal: usize,
}

/// What the driver needs of a product that is ready to be carried out: its kernels are there, and all was checked.
pub(crate) trait Body: Sync {
    fn loops(&self) -> &Loops;

    /// Panels or strips that columns are split by.
    fn columns(&self) -> usize;

    /// What is written of a row of A; nothing at all, where it is the default.
    fn row_size(&self) -> RowSize;

    /// Whether rows of a block can be prepared in pieces.
    fn prepares_in_pieces(&self) -> bool;

    /// Writes the rows of some micro-tiles.
    fn prepare(&self, tiles: Range<usize>, rows: RowsMut<'_>, scratch: &mut Scratch) -> Result<()>;

    /// Multiplies a block and writes its rectangle of C.
    fn multiply(&self, rows: Rows<'_>, block: Block, scratch: &mut Scratch) -> Result<()>;
}

/// A thread's memory for rows of A, kept from call to call so that calls after the first of a size allocate nothing.
#[derive(Debug, Default)]
struct RowMemory {
    bytes: Lines,
    terms: Vec<i32>,
}

impl RowMemory {
    fn make_room(&mut self, room: RowBytes) -> Result<()> {
        const WHAT: &str = "rows of A";
        self.bytes.grow(WHAT, room.bytes)?;
        resize(WHAT, &mut self.terms, room.terms, 0)
    }
}

/// A thread's memory for what bodies need besides.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Partial sums; whole cache lines, since sums of tiles pass through it by lines.
    pub(crate) sums: Lines,
    /// Expanded weights.
    pub(crate) expanded: Lines,
    /// Constants of groups.
    pub(crate) constants: Lines,
    /// Some rows of A as bytes, before they are arranged.
    pub(crate) natural: Vec<u8>,
}

thread_local! {
    static ROWS: RefCell<RowMemory> = RefCell::default();
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Runs `f` with this thread's memory. A run inside a run gets fresh one.
fn with<T: Default, R>(memory: &'static std::thread::LocalKey<RefCell<T>>, f: impl FnOnce(&mut T) -> R) -> R {
    memory.with(|memory| match memory.try_borrow_mut() {
        Ok(mut memory) => f(&mut memory),
        Err(_) => f(&mut T::default()),
    })
}

/// Most bytes of A that a round prepares, unless one block for each part takes more.
const ROUND_BYTES: usize = 32 << 20;

/// Carries out a product in as many parts as its plan says, on threads of the caller's own or of its rayon pool.
pub(crate) fn run(body: &impl Body, own: Option<&dyn ParallelFor>) -> Result<()> {
    let (loops, size) = (body.loops(), body.row_size());
    if size != RowSize::default() {
        let largest = RowLayout::new(loops, size).block(loops.tiles_per_block.min(loops.tiles.count()))?;
        if loops.column_parts > 1 {
            return run_in_rounds(body, size, largest, own);
        }
    }
    let parts = loops.row_parts * loops.column_parts;
    if parts == 1 {
        return run_part(body, size, 0..loops.tiles.count(), 0..body.columns());
    }
    run_parts(own, parts, &|part| {
        let (row_part, column_part) = (part / loops.column_parts, part % loops.column_parts);
        let tiles = piece(loops.tiles.count(), row_part, loops.row_parts);
        run_part(body, size, tiles, piece(body.columns(), column_part, loops.column_parts))
    })
}

/// One part: LOOP 1.
fn run_part(body: &impl Body, size: RowSize, tiles: Range<usize>, columns: Range<usize>) -> Result<()> {
    with(&SCRATCH, |scratch| {
        let blocks = blocks(tiles, body.loops().tiles_per_block).enumerate();
        if size == RowSize::default() {
            for (ordinal, tiles) in blocks {
                let rows = Rows { bytes: &[], terms: &[], first_tile: tiles.start };
                body.multiply(rows, Block { tiles, columns: columns.clone(), ordinal }, scratch)?;
            }
            return Ok(());
        }
        with(&ROWS, |memory| {
            for (ordinal, tiles) in blocks {
                let rows = prepare_block(body, size, tiles.clone(), memory, scratch)?;
                body.multiply(rows, Block { tiles, columns: columns.clone(), ordinal }, scratch)?;
            }
            Ok(())
        })
    })
}

/// The same where parts share rows: A is written once for all of them, in rounds.
fn run_in_rounds(body: &impl Body, size: RowSize, block: RowBytes, own: Option<&dyn ParallelFor>) -> Result<()> {
    let loops = *body.loops();
    let (count, layout) = (loops.tiles.count(), RowLayout::new(&loops, size));
    let blocks_of_round = (ROUND_BYTES / (block.bytes + 4 * block.terms).max(1)).max(loops.row_parts);
    let tiles_of_round = blocks_of_round.saturating_mul(loops.tiles_per_block).min(count).max(1);
    with(&ROWS, |memory| {
        for round in blocks(0..count, tiles_of_round) {
            let room = layout.of(&round);
            memory.make_room(room)?;
            let threads = loops.row_parts * loops.column_parts;
            let pieces = match body.prepares_in_pieces() {
                true => worth_pieces(room.bytes, threads).min(round.len()),
                false => 1,
            };
            let (mut bytes, mut terms) = (&mut memory.bytes.of_mut::<u8>()[..room.bytes], &mut memory.terms[..]);
            let pieces = (0..pieces).map(|i| {
                let piece = piece(round.len(), i, pieces);
                let tiles = round.start + piece.start..round.start + piece.end;
                let room = layout.of(&tiles);
                let bytes = bytes.split_off_mut(..room.bytes).unwrap_or_default();
                let terms = terms.split_off_mut(..room.terms).unwrap_or_default();
                (tiles, RowsMut { bytes, terms })
            });
            run_pieces(own, pieces, &|(tiles, rows): (Range<usize>, RowsMut<'_>)| {
                with(&SCRATCH, |scratch| body.prepare(tiles, rows, scratch))
            })?;
            let rows = Rows { bytes: memory.bytes.of(), terms: &memory.terms, first_tile: round.start };
            run_parts(own, threads, &|part| {
                let (row_part, column_part) = (part / loops.column_parts, part % loops.column_parts);
                let of_part = piece(round.len(), row_part, loops.row_parts);
                let tiles = round.start + of_part.start..round.start + of_part.end;
                let columns = piece(body.columns(), column_part, loops.column_parts);
                with(&SCRATCH, |scratch| {
                    for (ordinal, tiles) in blocks(tiles, loops.tiles_per_block).enumerate() {
                        body.multiply(rows, Block { tiles, columns: columns.clone(), ordinal }, scratch)?;
                    }
                    Ok(())
                })
            })?;
        }
        Ok(())
    })
}

/// Prepares a block of rows for one part.
fn prepare_block<'m>(
    body: &impl Body,
    size: RowSize,
    tiles: Range<usize>,
    memory: &'m mut RowMemory,
    scratch: &mut Scratch,
) -> Result<Rows<'m>> {
    let first_tile = tiles.start;
    let room = RowLayout::new(body.loops(), size).of(&tiles);
    memory.make_room(room)?;
    let rows = RowsMut { bytes: &mut memory.bytes.of_mut()[..room.bytes], terms: &mut memory.terms };
    body.prepare(tiles, rows, scratch)?;
    Ok(Rows { bytes: memory.bytes.of(), terms: &memory.terms, first_tile })
}

/// `range` in blocks of `len`, but for the last. (`step_by` divides, which takes as long as a small product's kernel.)
pub(crate) fn blocks(range: Range<usize>, len: usize) -> impl Iterator<Item = Range<usize>> {
    let Range { mut start, end } = range;
    std::iter::from_fn(move || {
        let block = start..end.min(start.saturating_add(len.max(1)));
        start = block.end;
        (!block.is_empty()).then_some(block)
    })
}

/// What rows of A take together.
#[derive(Debug, Clone, Copy)]
struct RowBytes {
    bytes: usize,
    terms: usize,
}

/// What tiles of A take.
struct RowLayout<'a> {
    loops: &'a Loops,
    size: RowSize,
}

impl<'a> RowLayout<'a> {
    fn new(loops: &'a Loops, size: RowSize) -> RowLayout<'a> {
        RowLayout { loops, size }
    }

    fn of(&self, tiles: &Range<usize>) -> RowBytes {
        let rows = self.loops.tiles.row(tiles.end) - self.loops.tiles.row(tiles.start);
        RowBytes { bytes: rows * self.size.bytes, terms: rows * self.size.terms }
    }

    /// What so many tall tiles take.
    ///
    /// # Errors
    /// [`Error::Overflow`] if it does not fit the address space.
    fn block(&self, tiles: usize) -> Result<RowBytes> {
        let overflow = Error::Overflow { what: "packed block of A" };
        let rows = tiles.checked_mul(self.loops.tiles.height);
        let fits = |size: usize| rows.and_then(|r| r.checked_mul(size)).filter(|&b| b <= isize::MAX as usize - 64);
        match (fits(self.size.bytes), fits(self.size.terms.saturating_mul(size_of::<i32>()))) {
            (Some(bytes), Some(terms)) => Ok(RowBytes { bytes, terms: terms / size_of::<i32>() }),
            _ => Err(overflow),
        }
    }
}

impl Rows<'_> {
    /// The written rows of some tiles.
    ///
    /// # Panics
    /// Unless these rows were written.
    fn of(&self, loops: &Loops, tiles: &Range<usize>, size: RowSize) -> MatRef<'_, u8> {
        let rows = loops.tiles.row(tiles.end) - loops.tiles.row(tiles.start);
        let before = loops.tiles.row(tiles.start) - loops.tiles.row(self.first_tile);
        let bytes = &self.bytes[before * size.bytes..];
        MatRef::row_major(bytes, rows, size.bytes).expect("the rows of a block were written")
    }
}

/// C, as kernels write it: borrowed until the product is done. Parts write disjoint rectangles of it.
#[derive(Debug)]
pub(crate) struct Destination<'c> {
    start: *mut u8,
    rows: usize,
    cols: usize,
    row_stride_bytes: usize,
    element_bytes: usize,
    borrowed: PhantomData<&'c mut [u8]>,
}

// SAFETY: the pointer is only written through for disjoint rectangles of C, one for each part of a product.
unsafe impl Sync for Destination<'_> {}

impl<'c> Destination<'c> {
    pub(crate) fn new(c: &'c mut AnyMut<'_>) -> Destination<'c> {
        Destination {
            start: c.as_mut_ptr(),
            rows: c.rows(),
            cols: c.cols(),
            row_stride_bytes: c.row_stride_bytes(),
            element_bytes: c.element().bytes(),
            borrowed: PhantomData,
        }
    }

    pub(crate) fn row_stride_bytes(&self) -> usize {
        self.row_stride_bytes
    }

    /// The address of a rectangle's first element.
    ///
    /// # Panics
    /// Unless all of it is in C.
    fn rectangle(&self, rows: Range<usize>, cols: Range<usize>) -> *mut u8 {
        assert!(rows.start <= rows.end && rows.end <= self.rows, "rows {rows:?} of C, which has {}", self.rows);
        assert!(cols.start <= cols.end && cols.end <= self.cols, "columns {cols:?} of C, which has {}", self.cols);
        self.start.wrapping_add(rows.start * self.row_stride_bytes + cols.start * self.element_bytes)
    }
}

/// A matrix of C's shape and type that is added to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Residual<'a> {
    bytes: MatRef<'a, u8>,
    element_bytes: usize,
}

impl<'a> Residual<'a> {
    /// Checks that the residual has C's shape and type, and rows that kernels can read.
    pub(crate) fn new(residual: AnyRef<'a>, c: &AnyMut<'_>) -> Result<Residual<'a>> {
        expect("rows of the residual", c.rows(), residual.rows())?;
        expect("columns of the residual", c.cols(), residual.cols())?;
        if residual.element() != c.element() {
            let what = "the residual of a product has the type of C";
            return Err(Error::Unsupported { what });
        }
        let Some(bytes) = residual.row_bytes() else {
            return Err(Error::Unsupported { what: "elements of a row of the residual must lie side by side" });
        };
        Ok(Residual { bytes, element_bytes: residual.element().bytes() })
    }

    fn row_stride_bytes(&self) -> usize {
        self.bytes.row_stride()
    }

    /// The address of element `(row, col)`, one of C's.
    fn at(&self, row: usize, col: usize) -> *const u8 {
        self.bytes.as_ptr().wrapping_add(row * self.bytes.row_stride() + col * self.element_bytes)
    }
}

/// A plan, told: its blocks, parts and kernels.
fn describe(tier: Tier, loops: &Loops, kernels: impl Iterator<Item = impl fmt::Display>) -> String {
    let Loops { row_parts, column_parts, .. } = loops;
    let head = format!("tier {tier}\nMC {}\n{row_parts} × {column_parts} parts\n", loops.mc());
    kernels.fold(head, |text, kernel| text + &format!("{kernel}\n"))
}

/// Pointer to element `first` of an array that has `first + count` at least, or none for an array that is empty because
/// the kernel does not read it.
///
/// # Panics
/// If the array is shorter.
fn from<T>(array: &[T], first: usize, count: usize) -> *const T {
    if array.is_empty() { std::ptr::null() } else { array[first..][..count].as_ptr() }
}
