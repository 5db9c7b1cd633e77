//! The C interface: `include/gemmill.h` is made of this crate, and says what each function does.
//!
//! Every entry point goes through [`call::call`]: what panics becomes a status, and so does what is refused, with a
//! message for the calling thread. Those that C gives pointers go through [`caller::entry!`] too, whose
//! [`caller::Caller`] turns them into references; with [`memory`], which checks pointers, sizes and that operands lie
//! apart, it holds nearly all of the `unsafe`.
//!
//! [`operation`] holds what the handles of both kinds of operations have in common.
//!
//! Handles are boxes. They are only ever borrowed shared: what changes in them lies behind locks, so that threads that
//! use one handle at once, against the rules or not, see one change after the other.
//!
//! Sizes and strides are `int64_t`, so that negative ones are seen to be negative. Enums are `int32_t` where C gives
//! them. What is optional has a setter; no struct crosses, so that everything can be added to.

mod call;
mod caller;
mod memory;
mod operation;

// The header has what these define in this order.
mod status;
mod info;
mod codes;
mod packing;
mod weights;
mod pool;
mod gemm;
mod run_options;
mod parallel_for;
mod quantization;
mod float_weights;
mod groupwise_weights;
mod groupwise_packed;
mod float_gemm;
mod hardware_dot;
mod conversion;
