//! What a kernel is: a named, hashable description. It is the cache key, the name in `perf` and the unit of tests.

use std::fmt;

use crate::families::element::FloatType;
use crate::families::sweep::Sweep;
use crate::kernel::grid::GridArgs;
use crate::machine::tier::Tier;

/// Depth elements that are interleaved per dot lane.
pub const KR: usize = 4;

/// How packed weights lie, and how a micro-kernel meets an operand A that is row-major with a depth stride of one.
///
/// # Examples
/// ```
/// use gemmill_codegen::Layout;
/// assert_eq!((Layout::Columns8.columns(2), Layout::Columns8.step_depth()), (16, 4));
/// assert_eq!((Layout::Columns16.columns(2), Layout::Columns16.step_depth()), (32, 4));
/// assert_eq!((Layout::Depth.columns(2), Layout::Depth.step_depth()), (2, 32));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Layout {
    /// A step takes `KR` elements of a row and multiplies them into eight columns per vector of 256 bits.
    Columns8,
    /// A step takes `KR` elements of a row and multiplies them into sixteen columns per vector of 512 bits.
    Columns16,
    /// A step takes twice as many as `Columns8` and multiplies them into half as many columns per vector; pairs of
    /// lanes are summed at the end. For products of up to four columns.
    FourColumns,
    /// A step takes 32 elements of a row and multiplies them into one column per vector of 256 bits; all its lanes are
    /// summed at the end. For products of one or two columns.
    Depth,
    /// A step takes 64 elements of a row and multiplies them into sixteen columns per tile of 16 × 64 bytes.
    Tiles,
    /// The same packed bytes, multiplied by vectors of 512 bits: a row of a tile is four elements of sixteen columns.
    /// For products too small for tiles; weights are packed for [`Layout::Tiles`].
    RowsOfTiles,
}

impl Layout {
    /// All layouts.
    pub const ALL: [Layout; 6] =
        [Layout::Columns8, Layout::Columns16, Layout::FourColumns, Layout::Depth, Layout::Tiles, Layout::RowsOfTiles];

    /// 32-bit accumulators of a vector.
    pub const fn lanes(self) -> usize {
        match self {
            Layout::Columns8 | Layout::FourColumns | Layout::Depth => 8,
            Layout::Columns16 | Layout::Tiles | Layout::RowsOfTiles => 16,
        }
    }

    /// Elements of K that one step covers.
    pub const fn step_depth(self) -> usize {
        match self {
            Layout::Columns8 | Layout::Columns16 => KR,
            Layout::FourColumns => 2 * KR,
            Layout::Depth => 8 * KR,
            Layout::Tiles | Layout::RowsOfTiles => 16 * KR,
        }
    }

    /// Bytes of one packed vector of a step.
    pub const fn vector_bytes(self) -> usize {
        match self {
            Layout::Tiles | Layout::RowsOfTiles => self.lanes() * self.step_depth(),
            _ => self.lanes() * KR,
        }
    }

    /// Bytes of a vector of accumulators.
    pub const fn accumulator_bytes(self) -> usize {
        self.lanes() * size_of::<i32>()
    }

    /// Lanes of a vector whose sum belongs to one column.
    pub const fn lanes_per_column(self) -> usize {
        match self {
            Layout::Columns8 | Layout::Columns16 | Layout::Tiles | Layout::RowsOfTiles => 1,
            Layout::FourColumns => 2,
            Layout::Depth => 8,
        }
    }

    /// Columns that `vectors` accumulators of one row cover.
    pub const fn columns(self, vectors: usize) -> usize {
        vectors * (self.lanes() / self.lanes_per_column())
    }

    /// Where element `within` of a step of column `j` stands among the step's packed bytes.
    ///
    /// ```text
    /// vectors: column 0: k0..k3 | column 1: k0..k3 | ...        (Depth: column 0: k0..k31, the next column, ...)
    /// tiles:   k0..k3 of columns 0..16 | k4..k7 of columns 0..16 | ... | k60..k63 of columns 0..16, the next tile, ...
    /// ```
    pub const fn place(self, j: usize, within: usize) -> usize {
        match self {
            Layout::Tiles | Layout::RowsOfTiles => {
                let (tile, lane, quad) = (j / self.lanes(), j % self.lanes(), within / KR);
                tile * self.vector_bytes() + (quad * self.lanes() + lane) * KR + within % KR
            }
            _ => j * self.step_depth() + within,
        }
    }
}

/// A main loop that a kernel may contain. A block of packed weights holds a run of bundles for each of them.
///
/// A *step* multiplies [`Layout::step_depth`] elements of a row of A with as many of a column, four to a lane. In most
/// sections it does so in pairs, u8 by i8: two products, summed in 16 bits; a bundle adds the pair sums of its steps in
/// 16 bits, which packing has proven to be exact, and widens once. Dot sections sum in 32 bits from the start.
///
/// # Examples
/// ```
/// use gemmill_codegen::Section;
/// assert_eq!((Section::Sum4.steps(), Section::Sum4.vectors()), (4, 4));
/// assert_eq!((Section::Wide.steps(), Section::Wide.vectors()), (1, 2));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Section {
    /// Eight steps that follow each other in A.
    Sum8,
    /// Four steps, anywhere in A.
    Sum4,
    /// Three steps, anywhere in A.
    Sum3,
    /// Two steps, anywhere in A.
    Sum2,
    /// One step.
    Narrow,
    /// One step, its elements brought into another order by a byte shuffle.
    Shuffled,
    /// One step whose pair sums do not fit 16 bits: i16 weights, even and odd elements of A apart in memory.
    Wide,
    /// The same, even and odd elements taken apart in registers.
    Split,
    /// Eight steps that follow each other in A, summed in 32 bits: exact for all weights.
    Dot8,
    /// One step, summed in 32 bits.
    Dot,
}

impl Section {
    /// All sections, in the order in which a block holds them.
    pub const ALL: [Section; 10] = [
        Section::Sum8,
        Section::Sum4,
        Section::Sum3,
        Section::Sum2,
        Section::Narrow,
        Section::Shuffled,
        Section::Wide,
        Section::Split,
        Section::Dot8,
        Section::Dot,
    ];

    /// Steps that one bundle takes from A.
    pub const fn steps(self) -> usize {
        match self {
            Section::Sum8 | Section::Dot8 => 8,
            Section::Sum4 => 4,
            Section::Sum3 => 3,
            Section::Sum2 => 2,
            Section::Narrow | Section::Shuffled | Section::Wide | Section::Split | Section::Dot => 1,
        }
    }

    /// Offsets that one bundle stores: where its steps are in A (one for steps that follow each other, even and odd
    /// elements for wide ones); for a shuffled step also where its order is in [`SHUFFLES`].
    pub const fn offsets(self) -> usize {
        match self {
            Section::Sum8 | Section::Dot8 => 1,
            Section::Wide | Section::Shuffled => 2,
            _ => self.steps(),
        }
    }

    /// Packed vectors of one bundle, for one vector of columns.
    pub const fn vectors(self) -> usize {
        match self {
            Section::Wide | Section::Split => 2,
            _ => self.steps(),
        }
    }

    /// Whether a bundle's steps follow each other in A, so that one offset serves them all.
    pub const fn is_run(self) -> bool {
        matches!(self, Section::Sum8 | Section::Dot8)
    }

    /// Whether products are summed in 32 bits by one instruction, whatever the weights.
    pub const fn is_dot(self) -> bool {
        matches!(self, Section::Dot8 | Section::Dot)
    }

    /// Name in kernel names and summaries.
    pub const fn name(self) -> &'static str {
        match self {
            Section::Sum8 => "sum8",
            Section::Sum4 => "sum4",
            Section::Sum3 => "sum3",
            Section::Sum2 => "sum2",
            Section::Narrow => "narrow",
            Section::Shuffled => "shuffled",
            Section::Wide => "wide",
            Section::Split => "split",
            Section::Dot8 => "dot8",
            Section::Dot => "dot",
        }
    }
}

/// Orders of the elements of each four that a shuffled step can have. Its second offset is [`SHUFFLE_BYTES`] times an
/// index.
pub const SHUFFLES: [[usize; KR]; 2] = [[0, 2, 1, 3], [0, 3, 1, 2]];
/// Distance of two orders in a shuffled step's second offset.
pub const SHUFFLE_BYTES: usize = 64;

/// A set of sections.
///
/// # Examples
/// ```
/// use gemmill_codegen::{Section, Sections};
/// let sections: Sections = [Section::Narrow, Section::Sum2].into_iter().collect();
/// assert!(sections.contains(Section::Sum2));
/// assert_eq!(sections.to_string(), "sum2+narrow");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Sections(u16);

impl Sections {
    /// Adds a section.
    pub fn insert(&mut self, section: Section) {
        self.0 |= 1 << section as u8;
    }

    /// Whether the set holds a section.
    pub const fn contains(self, section: Section) -> bool {
        self.0 >> section as u8 & 1 == 1
    }

    /// The sections of the set, in the order in which a block holds them.
    pub fn iter(self) -> impl Iterator<Item = Section> {
        Section::ALL.into_iter().filter(move |&s| self.contains(s))
    }
}

impl FromIterator<Section> for Sections {
    fn from_iter<I: IntoIterator<Item = Section>>(iter: I) -> Self {
        let mut set = Sections::default();
        iter.into_iter().for_each(|s| set.insert(s));
        set
    }
}

impl fmt::Display for Sections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("empty");
        }
        for (i, section) in self.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { "+" }, section.name())?;
        }
        Ok(())
    }
}

/// Where a micro-tile's accumulators begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Start {
    /// At zero.
    Zero,
    /// At the partial sums that an earlier block of K left in scratch memory.
    Scratch,
}

/// What becomes of a micro-tile's accumulators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Finish {
    /// Partial sums go to scratch memory, for the next block of K.
    Scratch,
    /// The epilogue is applied and C written.
    Epilogue(Epilogue),
}

/// The stages that accumulators pass while they are in registers, in this order:
/// zero points of A, zero points of B, column term, output.
///
/// ```text
/// raw[i][j] = acc[i][j] + column_term[j] + zero-point stages          (i32, wrapping)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epilogue {
    /// Zero points of A.
    pub a_zero_point: AZeroPoint,
    /// Zero points of B.
    pub b_zero_point: BZeroPoint,
    /// What is made of `raw` and stored.
    pub output: Output,
}

/// How zero points of A are taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AZeroPoint {
    /// They are one number, folded into the column term.
    Folded,
    /// Every row has its own: `raw += row_zero_point[i] * column_correction[j]`.
    PerRow,
}

/// How zero points of B are taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BZeroPoint {
    /// They are all zero.
    Zero,
    /// They are one number: `raw += row_term[i]`.
    Tensor,
    /// Columns differ: `raw += row_term[i] * column_zero_point[j]`.
    PerColumn,
}

/// What is made of `raw` and stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Output {
    /// `C = raw`.
    StoreI32,
    /// `C += raw`, wrapping.
    AddI32,
    /// `C = zp + rne(clamp(x * multiplier[j], lo - zp, hi - zp))` as one byte.
    Requantize(Requantize),
    /// `C = fma(f32(raw), scale, bias[j])`, then residual and clamp, as a floating-point number.
    Dequantize(Dequantize),
}

impl Output {
    /// Bytes of an element of C.
    pub const fn element_bytes(self) -> usize {
        match self {
            Output::StoreI32 | Output::AddI32 => 4,
            Output::Requantize(_) => 1,
            Output::Dequantize(d) => d.to.bytes(),
        }
    }
}

/// Stages of a requantized output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Requantize {
    /// The type of C.
    pub to: Byte,
    /// `x = f32(raw) + float_bias[j]` instead of `x = f32(raw)`.
    pub float_bias: bool,
    /// Where the clamp happens.
    pub clamp: Clamp,
}

/// An 8-bit type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Byte {
    /// 0 to 255.
    U8,
    /// -128 to 127.
    I8,
}

/// Where a requantized output is clamped. The bits are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Clamp {
    /// Before rounding, in f32: right for every multiplier.
    Float,
    /// By saturating narrowing, then to `lo..hi` in bytes: right where `|x * multiplier[j]| < 2^31` for every `raw`,
    /// since limits are integers and rounding is monotonic.
    Narrowing,
    /// By saturating narrowing alone, where limits are those of the type and `Narrowing` is right.
    Type,
}

/// Stages of a dequantized output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dequantize {
    /// The type of C and of the residual, to which results are rounded at the end.
    pub to: FloatType,
    /// `scale = row_scale[i] * column_scale[j]` instead of `scale = column_scale[j]`.
    pub row_scale: bool,
    /// A bias is added in the same rounding as the product.
    pub bias: bool,
    /// `C += residual[i][j]` after the bias.
    pub residual: bool,
    /// `C = min(max(C, lo), hi)` at the end; a NaN stays one.
    pub clamp: bool,
}

/// What main loops ask for ahead of the packed vectors that they multiply. Hints, which change no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Prefetch {
    /// Nothing.
    None,
    /// Every line, [`crate::KernelArgs::prefetch_distance`] ahead, into the first-level cache.
    ToFirstLevel,
    /// Every line, as far ahead, into the second-level cache.
    ToSecondLevel,
}

impl Prefetch {
    /// All of them.
    pub const ALL: [Prefetch; 3] = [Prefetch::None, Prefetch::ToFirstLevel, Prefetch::ToSecondLevel];

    /// The end of a kernel's name.
    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            Prefetch::None => "",
            Prefetch::ToFirstLevel => "_prefetch1",
            Prefetch::ToSecondLevel => "_prefetch2",
        }
    }
}

/// A micro-kernel of the int8 family: `C[rows × cols]` from rows of A and one packed panel of B.
///
/// # Examples
/// ```
/// use gemmill_codegen::*;
/// let desc = KernelDesc {
///     tier: Tier::Avx2,
///     layout: Layout::Columns8,
///     activations: Byte::U8,
///     rows: 6,
///     vectors: 2,
///     cols: 16,
///     sections: [Section::Sum2, Section::Narrow].into_iter().collect(),
///     start: Start::Zero,
///     finish: Finish::Scratch,
///     sweep: Sweep::Column,
///     prefetch: Prefetch::None,
/// };
/// assert_eq!(desc.to_string(), "i8gemm_avx2_6x16_c16_sum2+narrow_zero_scratch");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelDesc {
    /// Instruction set.
    pub tier: Tier,
    /// How a step meets A.
    pub layout: Layout,
    /// The type of A's elements: [`Byte::I8`] where [`crate::multiplies_signed`] says so.
    pub activations: Byte,
    /// Rows of the micro-tile, at most MR.
    pub rows: u8,
    /// Vectors of accumulators per row.
    pub vectors: u8,
    /// Columns of the micro-tile that exist in C, at most `layout.columns(vectors)`.
    pub cols: u8,
    /// Main loops that the kernel has.
    pub sections: Sections,
    /// Where accumulators begin.
    pub start: Start,
    /// What becomes of them.
    pub finish: Finish,
    /// Which micro-tiles a call goes through. Those of a row or grid take all blocks of K, from zero to the epilogue.
    pub sweep: Sweep,
    /// What is prefetched: nothing by kernels of more than [`crate::MAX_PREFETCH_ROWS`] rows, nor by those of tiles.
    pub prefetch: Prefetch,
}

impl KernelDesc {
    /// Columns of the packed panel.
    pub const fn panel_cols(&self) -> usize {
        self.layout.columns(self.vectors as usize)
    }

    /// Bytes of scratch memory per micro-tile; in a grid, for all of it.
    pub const fn scratch_bytes(&self) -> usize {
        let sums = self.rows as usize * self.all_vectors() * self.layout.accumulator_bytes();
        match self.sweep {
            Sweep::Grid { .. } => sums + GridArgs::ROW_OF_NOTHING * size_of::<i32>(),
            _ => sums,
        }
    }

    /// Vectors of accumulators per row, of all panels side by side.
    pub const fn all_vectors(&self) -> usize {
        self.vectors as usize * self.sweep.panels()
    }
}

impl fmt::Display for KernelDesc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout = match self.layout {
            Layout::Columns8 => "",
            Layout::Columns16 => "zmm",
            Layout::FourColumns => "four",
            Layout::Depth => "depth",
            Layout::Tiles => "tiles",
            Layout::RowsOfTiles => "tilerows",
        };
        let signed = if self.activations == Byte::I8 { "signed" } else { "" };
        write!(f, "i8gemm_{}_{signed}{layout}{}x{}_c{}", self.tier, self.rows, self.panel_cols(), self.cols)?;
        write!(f, "_{}", self.sections)?;
        f.write_str(match self.start {
            Start::Zero => "_zero",
            Start::Scratch => "_resume",
        })?;
        match self.finish {
            Finish::Scratch => f.write_str("_scratch")?,
            Finish::Epilogue(e) => write!(f, "_{e}")?,
        }
        f.write_str(&self.sweep.suffix())?;
        f.write_str(self.prefetch.suffix())
    }
}

impl fmt::Display for Epilogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.a_zero_point {
            AZeroPoint::Folded => "",
            AZeroPoint::PerRow => "azrow-",
        })?;
        f.write_str(match self.b_zero_point {
            BZeroPoint::Zero => "",
            BZeroPoint::Tensor => "bz-",
            BZeroPoint::PerColumn => "bzcol-",
        })?;
        match self.output {
            Output::StoreI32 => f.write_str("i32"),
            Output::AddI32 => f.write_str("i32add"),
            Output::Requantize(r) => {
                f.write_str(match r.to {
                    Byte::U8 => "u8",
                    Byte::I8 => "i8",
                })?;
                f.write_str(if r.float_bias { "-fbias" } else { "" })?;
                f.write_str(match r.clamp {
                    Clamp::Float => "-fclamp",
                    Clamp::Narrowing => "",
                    Clamp::Type => "-full",
                })
            }
            Output::Dequantize(d) => {
                f.write_str(d.to.name())?;
                let stages =
                    [(d.row_scale, "-rowscale"), (d.bias, "-bias"), (d.residual, "-residual"), (d.clamp, "-clamp")];
                stages.iter().filter(|(on, _)| *on).try_for_each(|(_, name)| f.write_str(name))
            }
        }
    }
}
