//! The machine that kernels run on: what a CPU and its operating system offer ([`features`]), which clusters of
//! features kernels are generated for ([`tier`]) and what each of them has ([`facts`]), which core and caches plans
//! reckon with ([`host`]), and plain loops compiled for its vectors ([`quads`]).

#[cfg(target_arch = "x86_64")]
pub(crate) mod executable;
pub(crate) mod facts;
pub(crate) mod features;
pub(crate) mod float_mode;
pub(crate) mod host;
pub(crate) mod quads;
pub(crate) mod tier;
