//! Packed floating-point weights.
//!
//! ```text
//! panel p:  columns 32p .. 32p + 32 (zeros beyond N)       k = 0: 32 weights | k = 1: 32 weights | ...
//! ```
//!
//! A panel's row is one cache line of f16 or bf16, two of f32. The layout is the same for all tiers: vectors of 256
//! bits take a quarter of a row, those of 512 bits half of it. [`FloatType::place`] says where a column stands in a
//! row.

use std::sync::Arc;

use gemmill_codegen::{FLOAT_PANEL, FloatType};
use half::{bf16, f16};

use super::tiles::Tiles;
use crate::convert;
use crate::error::{Error, Result};
use crate::machine::memory::Lines;
use crate::machine::threads::{Threads, share};
use crate::views::{AnyRef, Float, MatRef};

/// Weights `B` (K × N) as f32, f16 or bf16, packed once for any number of products on any tier.
///
/// Cloning is cheap: clones share the weights.
///
/// # Examples
/// ```
/// use gemmill::{FloatType, MatRef, PackedFloat};
/// let b = [0.5f32, -1.0, 2.0, 1.0 + 1e-6, 0.0, 3.0];
/// let weights = PackedFloat::builder(MatRef::row_major(&b, 2, 3)?).store(FloatType::Bf16).build()?;
/// assert_eq!((weights.k(), weights.n(), weights.stored()), (2, 3, FloatType::Bf16));
/// assert_eq!(weights.get(1, 0), Some(1.0));
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PackedFloat {
    k: usize,
    n: usize,
    stored: FloatType,
    data: Arc<Lines>,
    tiles: Arc<Tiles>,
}

impl PackedFloat {
    /// Packs weights as they are, in their own type.
    ///
    /// # Errors
    /// As [`FloatPackBuilder::build`].
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackedFloat};
    /// let weights = PackedFloat::new(MatRef::col_major(&[1.0f32, 2.0], 1, 2)?)?;
    /// assert_eq!(weights.get(0, 1), Some(2.0));
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn new<T: Float>(b: MatRef<'_, T>) -> Result<PackedFloat> {
        Self::builder(b).build()
    }

    /// Configures packing.
    pub fn builder<T: Float>(b: MatRef<'_, T>) -> FloatPackBuilder<'_> {
        let (k, n) = (b.rows(), b.cols());
        let threads = Threads::Auto;
        FloatPackBuilder { b: b.into(), k, n, stored: T::FLOAT, alpha: 1.0, saturating: false, threads }
    }

    /// Weights whose panels are there.
    pub(super) fn of_parts((k, n): (usize, usize), stored: FloatType, data: Arc<Lines>) -> PackedFloat {
        PackedFloat { k, n, stored, data, tiles: Arc::default() }
    }

    /// Rows of B.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Columns of B.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The type of the packed weights.
    pub fn stored(&self) -> FloatType {
        self.stored
    }

    /// Bytes of memory that the weights take; as much again, rounded up to 32 rows, once there is an operation with
    /// [`HardwareDot::AmxBf16`](crate::HardwareDot::AmxBf16), which has them as tiles.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{FloatType, MatRef, PackedFloat};
    /// let b = vec![0f32; 100 * 64];
    /// let weights = PackedFloat::builder(MatRef::row_major(&b, 100, 64)?).store(FloatType::F16).build()?;
    /// assert_eq!(weights.size_in_bytes(), 100 * 64 * 2);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn size_in_bytes(&self) -> usize {
        self.data.size_in_bytes()
    }

    /// Weight `(k, j)` as it is multiplied, or `None` outside the matrix.
    pub fn get(&self, k: usize, j: usize) -> Option<f32> {
        if k >= self.k || j >= self.n {
            return None;
        }
        let row = (j / FLOAT_PANEL * self.k + k) * FLOAT_PANEL;
        let at = row + self.stored.place(j % FLOAT_PANEL);
        Some(match self.stored {
            FloatType::F32 => self.data.of::<f32>()[at],
            FloatType::F16 => self.data.of::<f16>()[at].to_f32(),
            FloatType::Bf16 => self.data.of::<bf16>()[at].to_f32(),
        })
    }

    /// The weights as they are multiplied: K × N, row by row.
    ///
    /// # Examples
    /// ```
    /// use gemmill::{MatRef, PackedFloat};
    /// let weights = PackedFloat::builder(MatRef::row_major(&[1.0f32, 2.0], 1, 2)?).alpha(3.0).build()?;
    /// assert_eq!(weights.unpack(), [3.0, 6.0]);
    /// # Ok::<(), gemmill::Error>(())
    /// ```
    pub fn unpack(&self) -> Vec<f32> {
        (0..self.k).flat_map(|k| (0..self.n).filter_map(move |j| self.get(k, j))).collect()
    }

    /// Bytes from panel to panel.
    pub(crate) fn panel_bytes(&self) -> usize {
        self.k * FLOAT_PANEL * self.stored.bytes()
    }

    /// The packed bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.data.of()
    }

    /// Makes tiles of weights of bf16, which the weights keep.
    ///
    /// # Errors
    /// As [`Tiles::make`].
    pub(crate) fn make_tiles(&self, threads: Threads) -> Result<()> {
        self.tiles.make(self.data.of(), self.k, threads)
    }

    /// The tiles, panel after panel, once they were made.
    pub(crate) fn tiles(&self) -> &[u8] {
        self.tiles.bytes()
    }
}

/// Configures how weights are packed; made by [`PackedFloat::builder`].
///
/// # Examples
/// ```
/// use gemmill::{FloatType, MatRef, PackedFloat};
/// let builder = PackedFloat::builder(MatRef::row_major(&[1e6f32], 1, 1)?).store(FloatType::F16);
/// assert_eq!(builder.build()?.get(0, 0), Some(f32::INFINITY));
/// assert_eq!(builder.saturating(true).build()?.get(0, 0), Some(65504.0));
/// # Ok::<(), gemmill::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct FloatPackBuilder<'a> {
    b: AnyRef<'a>,
    k: usize,
    n: usize,
    stored: FloatType,
    alpha: f32,
    saturating: bool,
    threads: Threads,
}

/// Bytes of packed weights.
pub(super) fn packed_bytes(k: usize, n: usize, stored: FloatType) -> Result<usize> {
    n.div_ceil(FLOAT_PANEL)
        .checked_mul(FLOAT_PANEL * stored.bytes())
        .and_then(|row| row.checked_mul(k))
        .filter(|&bytes| bytes <= isize::MAX as usize - 64)
        .ok_or(Error::Overflow { what: "packed weights" })
}

impl FloatPackBuilder<'_> {
    /// The type of packed weights; that of B if not given.
    pub fn store(mut self, stored: FloatType) -> Self {
        self.stored = stored;
        self
    }

    /// A factor that is folded into the weights: `stored = round(f32(alpha * b))`.
    pub fn alpha(mut self, alpha: f32) -> Self {
        self.alpha = alpha;
        self
    }

    /// Whether weights beyond the largest number of their type become that number instead of infinity.
    pub fn saturating(mut self, saturating: bool) -> Self {
        self.saturating = saturating;
        self
    }

    /// Whether threads of the caller's rayon pool share the panels, as they do unless told otherwise: with at most one,
    /// the calling thread does all, and no pool is started.
    pub fn threads(mut self, threads: Threads) -> Self {
        self.threads = threads;
        self
    }

    /// Packs the weights.
    ///
    /// # Errors
    /// [`Error::BadNumber`] if `alpha` is infinite or NaN, [`Error::OutOfRange`] for zero threads, [`Error::Overflow`]
    /// if the packed size does not fit the address space.
    pub fn build(self) -> Result<PackedFloat> {
        if !self.alpha.is_finite() {
            return Err(Error::BadNumber { what: "alpha", expected: "a finite number", given: self.alpha });
        }
        self.threads.check()?;
        let FloatPackBuilder { k, n, stored, .. } = self;
        let mut data = Lines::zeroed("packed weights", packed_bytes(k, n, stored)?)?;
        match stored {
            FloatType::F32 => self.fill::<f32>(data.of_mut()),
            FloatType::F16 => self.fill::<f16>(data.of_mut()),
            FloatType::Bf16 => self.fill::<bf16>(data.of_mut()),
        }
        Ok(PackedFloat::of_parts((k, n), stored, Arc::new(data)))
    }

    fn fill<T: Float>(&self, data: &mut [T]) {
        // Without columns, K may be any number.
        if self.k == 0 || self.n == 0 {
            return;
        }
        let largest = match T::FLOAT {
            FloatType::F32 => f32::MAX,
            FloatType::F16 => f16::MAX.to_f32(),
            FloatType::Bf16 => bf16::MAX.to_f32(),
        };
        let panels = data.chunks_exact_mut(self.k * FLOAT_PANEL).enumerate().collect();
        share(self.threads, panels, &|(p, panel): (usize, &mut [T])| {
            let first = p * FLOAT_PANEL;
            let cols = FLOAT_PANEL.min(self.n - first);
            let mut row = [0f32; FLOAT_PANEL];
            for (k, out) in panel.chunks_exact_mut(FLOAT_PANEL).enumerate() {
                let row = &mut row[..cols];
                convert::read_row(&self.b, k, first, row);
                for (j, &x) in row.iter().enumerate() {
                    let scaled = if self.alpha == 1.0 { x } else { self.alpha * x };
                    // A clamp leaves a NaN as it is.
                    let x = if self.saturating { scaled.clamp(-largest, largest) } else { scaled };
                    out[T::FLOAT.place(j)] = T::from_f32(x);
                }
            }
        });
    }
}
