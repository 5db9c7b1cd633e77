//! Operands with any strides, weights with the options that they are packed with, and outputs full of poison.

use gemmill::quant::QuantElement;
use gemmill::reference::{Rows, ZeroPoints};
use gemmill::{Element, MatMut, MatRef, PackEffort, PackedB, PerColumn, Tier, Weight};

use super::random::{Rng, Values, decode};
use super::{Bits, assert_same_bits};

/// How elements lie in memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    RowMajor,
    ColMajor,
    /// Row-major, this many elements between the rows.
    PaddedRows(usize),
    /// Column-major, this many elements between the columns.
    PaddedCols(usize),
    /// Row-major, only every second element in use.
    EverySecond,
    /// All rows in the same place.
    RepeatedRow,
    /// All columns in the same place.
    RepeatedCol,
    /// Rows that begin one element apart.
    Sliding,
}

impl Order {
    pub const ALL: [Order; 8] = [
        Order::RowMajor,
        Order::ColMajor,
        Order::PaddedRows(3),
        Order::PaddedCols(5),
        Order::EverySecond,
        Order::RepeatedRow,
        Order::RepeatedCol,
        Order::Sliding,
    ];

    /// Strides of rows and columns.
    pub fn strides(self, rows: usize, cols: usize) -> (usize, usize) {
        match self {
            Order::RowMajor => (cols, 1),
            Order::ColMajor => (1, rows),
            Order::PaddedRows(gap) => (cols + gap, 1),
            Order::PaddedCols(gap) => (1, rows + gap),
            Order::EverySecond => (2 * cols, 2),
            Order::RepeatedRow => (0, 1),
            Order::RepeatedCol => (1, 0),
            Order::Sliding => (1, 1),
        }
    }

    /// Often row-major, as in real life.
    pub fn random(rng: &mut Rng) -> Order {
        if rng.one_in(2) { Order::RowMajor } else { rng.pick(&Order::ALL) }
    }
}

/// A matrix that owns its memory, which has no element more than it needs.
#[derive(Clone)]
pub struct Stored<T> {
    pub data: Vec<T>,
    pub rows: usize,
    pub cols: usize,
    pub order: Order,
}

impl<T: Element> Stored<T> {
    /// Fills a matrix from `element(i, j)`, and what lies between its elements with `gap(place)`.
    pub fn new(
        (rows, cols): (usize, usize),
        order: Order,
        gap: impl Fn(usize) -> T,
        mut element: impl FnMut(usize, usize) -> T,
    ) -> Self {
        let (rs, cs) = order.strides(rows, cols);
        let len = if rows == 0 || cols == 0 { 0 } else { (rows - 1) * rs + (cols - 1) * cs + 1 };
        let mut data: Vec<T> = (0..len).map(gap).collect();
        for i in 0..rows {
            for j in 0..cols {
                data[i * rs + j * cs] = element(i, j);
            }
        }
        Stored { data, rows, cols, order }
    }

    pub fn view(&self) -> MatRef<'_, T> {
        let (rs, cs) = self.order.strides(self.rows, self.cols);
        MatRef::with_strides(&self.data, self.rows, self.cols, rs, cs).unwrap()
    }
}

impl<T: QuantElement> Stored<T> {
    /// Integers of a kind, no code above `max`.
    pub fn integers(rng: &mut Rng, shape: (usize, usize), order: Order, values: Values, max: u8) -> Self {
        let gap = |place: usize| decode(if place.is_multiple_of(2) { 255 } else { 0 });
        Stored::new(shape, order, gap, |i, j| decode(values.code(rng, i, j).min(max)))
    }
}

/// Parameters of columns that own their memory.
#[derive(Debug, Clone, PartialEq)]
pub enum Params<T> {
    Tensor(T),
    Group(Vec<T>),
    Column(Vec<T>),
}

impl<T: Copy> Params<T> {
    /// One, or as many as groups, or as many as columns.
    pub fn random(rng: &mut Rng, cols: usize, groups: usize, mut value: impl FnMut(&mut Rng) -> T) -> Self {
        match rng.below(3) {
            0 => Params::Tensor(value(rng)),
            1 => Params::Group((0..groups).map(|_| value(rng)).collect()),
            _ => Params::Column((0..cols).map(|_| value(rng)).collect()),
        }
    }

    pub fn get(&self) -> PerColumn<'_, T> {
        match self {
            Params::Tensor(x) => PerColumn::Tensor(*x),
            Params::Group(x) => PerColumn::Group(x),
            Params::Column(x) => PerColumn::Column(x),
        }
    }

    /// The parameter of column `j` of `cols`.
    pub fn at(&self, j: usize, cols: usize, groups: usize) -> T {
        match self {
            Params::Tensor(x) => *x,
            Params::Group(x) => x[j / (cols / groups).max(1)],
            Params::Column(x) => x[j],
        }
    }
}

/// Weights, and how they are packed.
pub struct Weights<B> {
    pub b: Stored<B>,
    pub values: Values,
    pub groups: usize,
    pub zero_points: Params<i32>,
    pub activation_max: u8,
    pub effort: PackEffort,
    pub kc: Option<usize>,
}

impl<B: Weight + QuantElement> Weights<B> {
    /// Row-major weights without zero points in one group.
    pub fn plain(rng: &mut Rng, k: usize, n: usize, values: Values) -> Self {
        Weights {
            b: Stored::integers(rng, (k, n), Order::RowMajor, values, 255),
            values,
            groups: 1,
            zero_points: Params::Tensor(0),
            activation_max: 255,
            effort: PackEffort::Full,
            kc: None,
        }
    }

    pub fn k(&self) -> usize {
        self.b.rows
    }

    pub fn n(&self) -> usize {
        self.b.cols
    }

    pub fn pack(&self, tier: Tier) -> PackedB {
        let mut builder = PackedB::builder(self.b.view())
            .groups(self.groups)
            .zero_points(self.zero_points.get())
            .activation_max(self.activation_max)
            .effort(self.effort)
            .tier(tier);
        if let Some(kc) = self.kc {
            builder = builder.kc(kc);
        }
        builder.build().unwrap_or_else(|e| panic!("{e}\n{}", self.describe()))
    }

    /// The normative sums.
    pub fn raw<A: QuantElement>(&self, a: MatRef<'_, A>, a_zero_points: Rows<'_, i32>) -> Vec<i32> {
        let zero_points = ZeroPoints { a: a_zero_points, b: self.zero_points.get() };
        gemmill::reference::raw(a, self.b.view(), self.groups, zero_points)
    }

    pub fn describe(&self) -> String {
        let Weights { b, values, groups, zero_points, activation_max, effort, kc } = self;
        format!(
            "B: {} [{}×{}] {values:?} {:?}, groups {groups}, zero points {zero_points:?}, \
             activations <= {activation_max}, {effort:?}, kc {kc:?}",
            std::any::type_name::<B>(),
            b.rows,
            b.cols,
            b.order,
        )
    }
}

/// A row-major output in the middle of poison: before it, between its rows, behind it.
pub struct Poisoned<T> {
    data: Vec<T>,
    shape: (usize, usize),
    stride: usize,
}

const MARGIN: usize = 37;

impl<T: Bits + Element> Poisoned<T> {
    pub fn new((rows, cols): (usize, usize), gap: usize) -> Self {
        let stride = cols + gap;
        let data = (0..2 * MARGIN + rows * stride).map(T::poison).collect();
        Poisoned { data, shape: (rows, cols), stride }
    }

    /// With `before` where the output is to be.
    pub fn holding(shape: (usize, usize), gap: usize, before: &[T]) -> Self {
        let mut poisoned = Self::new(shape, gap);
        poisoned.write(before);
        poisoned
    }

    fn write(&mut self, elements: &[T]) {
        let (rows, cols) = self.shape;
        for i in 0..rows {
            let start = MARGIN + i * self.stride;
            self.data[start..start + cols].copy_from_slice(&elements[i * cols..(i + 1) * cols]);
        }
    }

    pub fn view(&mut self) -> MatMut<'_, T> {
        let (rows, cols) = self.shape;
        MatMut::with_row_stride(&mut self.data[MARGIN..], rows, cols, self.stride).unwrap()
    }

    /// Fails unless the output is `want`, row after row, and everything else as it was.
    #[track_caller]
    pub fn assert_holds(&self, want: &[T], case: impl FnOnce() -> String) {
        let mut expected = Poisoned::new(self.shape, self.stride - self.shape.1);
        expected.write(want);
        assert_same_bits(&self.data, &expected.data, || {
            format!("(places: {MARGIN} of margin, then rows {} apart)\n{}", self.stride, case())
        });
    }

    /// Fails unless nothing at all was written.
    #[track_caller]
    pub fn assert_untouched(&self, case: &str) {
        let fresh = Poisoned::<T>::new(self.shape, self.stride - self.shape.1);
        assert_same_bits(&self.data, &fresh.data, || format!("written to after an error: {case}"));
    }
}
