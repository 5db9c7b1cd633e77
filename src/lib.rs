//! Low-precision matrix products on x86 CPUs: int8, FP16, BF16, weights of 4 and 2 bits; with machine code generated at
//! run time for the shape, the weights and the epilogue.
//!
//! ```text
//! C[i][j] = epilogue( Σ_k (A[i][k] - A_zp[i]) * (B[k][j] - B_zp[j]) )
//! ```
//!
//! Of [`Gemm`], A holds activations (u8, i8, or f32 quantized on the fly), B weights (i8 or u8, packed once), C i32
//! sums, requantized bytes or f32; [`FloatGemm`] and [`GroupwiseGemm`] are for the other types. Sums never saturate on
//! the way, for any input, and every tier, shape and thread count gives the same bits: those of [`mod@reference`].
//!
//! # From zero to a requantized product
//! ```
//! use gemmill::{Gemm, MatMut, MatRef, PackedB, Requantize};
//!
//! let (m, n, k) = (2, 3, 4);
//! let a = [12u8, 200, 0, 7, 255, 255, 3, 90];
//! let b = [1i8, -2, 3, 4, -5, 6, 127, -128, 9, -10, 11, 12];
//! let mut c = [0u8; 6];
//! let weights = PackedB::new(MatRef::row_major(&b, k, n)?)?;
//! let gemm = Gemm::builder(&weights, Requantize::<u8>::new(0.01).zero_point(128)).a_zero_point(100).build()?;
//! gemm.run(MatRef::row_major(&a, m, k)?, &mut MatMut::row_major(&mut c, m, n)?)?;
//! assert_eq!(c, [13, 243, 111, 14, 240, 132]);
//! # Ok::<(), gemmill::Error>(())
//! ```
//!
//! # Where to look
//! - [`PackedB`]: weights, their zero points and groups; which sequences they allow; bytes for a file and back.
//! - [`Gemm`]: the operation. [`IntOutput`], [`Requantize`] and [`Dequantize`] say what C is.
//! - [`FloatGemm`] and [`PackedFloat`]: products of f32, f16 and bf16; [`mod@float_reference`]: their semantics.
//! - [`GroupwiseGemm`] and [`PackedGroupwise`]: weights of 4 and 2 bits.
//! - [`MatRef`], [`MatMut`]: matrices as pointer, shape and strides; [`AnyRef`], [`AnyMut`], [`AnyGemm`] where types
//!   are known when the program runs.
//! - [`ParallelFor`]: threads of the caller's own.
//! - [`convert`]: f32 to f16 and bf16, and back.
//! - [`quant`]: scales and zero points from ranges, quantizing and dequantizing.
//! - [`mod@reference`]: the semantics, as short loops.
//!
//! # Rooms, for readers of the source
//! Each uses those above it; `docs/architecture.md` draws the way of a product, and says how a family is added.
//! ```text
//! views          matrices as pointer, shape and strides, checked once
//! machine        memory on cache lines, threads, what was measured of cores
//! bytes          what all formats of files have in common
//! convert        f32 to 16 bits and back
//! quant          f32 to 8 bits and fewer, and back
//! weights        packed weights of every format; proofs of 16-bit sums
//! operands       A, from where it lies to what kernels read
//! plan           micro-tiles, cache blocks, threads: pure functions, pinned by golden tables
//! run            the loop driver, the bodies of the families, the calls into machine code
//! ops            one operation, and the typed doors: Gemm, FloatGemm, GroupwiseGemm
//! reference      the semantics, as short loops
//! gemmill-codegen                from a kernel's description to callable code
//! ```
//! Start with `ops/operation.rs`, then `run/mod.rs`.
//!
//! # The environment
//! `GEMMILL_TIER` names the tier of kernels (see [`Tier`]) where [`PackBuilder::tier`] does not; one that the CPU or
//! its operating system lacks is an error that says what is missing. `GEMMILL_PROFILE=perfmap` or `jitdump` names
//! kernels for `perf`.
//!
//! Where memory runs out, calls give [`Error::OutOfMemory`]; only if there is none for a few kilobytes does the process
//! end, as everywhere in Rust.

#![deny(unsafe_code)]

mod bytes;
pub mod convert;
mod error;
mod function;
mod machine;
mod operands;
mod ops;
mod plan;
pub mod quant;
pub mod reference;
// The calls into machine code, and the pointers to C that go into them.
#[allow(unsafe_code)]
mod run;
// Pointers with a shape.
#[allow(unsafe_code)]
mod views;
mod weights;

pub use error::{Error, Result};
pub use function::Function;
pub use gemmill_codegen::{CodegenError, FloatType, HardwareDot, Tier, TierError};
pub use half;
#[doc(hidden)]
pub use machine::pool::set_thread_pool;
pub use machine::threads::{ParallelFor, Threads};
pub use ops::{
    Activation, ActivationQuantization, AnyGemm, Dequantize, Description, FloatGemm, FloatGemmBuilder, Gemm,
    GemmBuilder, GroupwiseGemm, GroupwiseGemmBuilder, IntOutput, LargeSums, OutputStage, Requantize, RunOptions, Sums,
    Untyped, multiply,
};
pub use quant::per_column::PerColumn;
pub use quant::{Choose, QuantParams};
pub use reference::float as float_reference;
pub use views::{AnyMut, AnyRef, Element, ElementType, Float, MatMut, MatRef};
pub use weights::{
    FloatPackBuilder, Loader, PackBuilder, PackEffort, PackedB, PackedFloat, PackedGroupwise, SequenceSummary, Weight,
};

/// What kernels are: the types of [`Description::kernels`] and of [`SequenceSummary::shares`]; and how many are kept.
pub mod kernel {
    pub use gemmill_codegen::{
        AZeroPoint, BZeroPoint, Byte, Clamp, Dequantize, Epilogue, Finish, KernelDesc, Layout, Output, Requantize,
        Section, Sections, Start, set_kernel_limit,
    };
}

/// The examples of the README, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The examples of the page on half precision, as tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/half.md")]
struct HalfPrecision;

/// The example of `docs/few-bits.md`, as a test.
#[cfg(doctest)]
#[doc = include_str!("../docs/few-bits.md")]
struct FewBits;
