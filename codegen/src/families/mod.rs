//! The families of kernels, a folder each: its description (`desc`), what a tier has of it (`registry`), its body in
//! the [frame](crate::frame) (`builder` and its parts), the same in plain Rust (`portable`), and what ties these
//! together (`family`). Shared are [`element`], floating-point elements of C and of the residual, and [`sweep`].
//!
//! One list names them all: a new family is one line of it, besides its own folder.
//! From the list come what [`Kernel`](crate::Kernel) and [`KernelCache`] ask of a family, the kernels of the process by
//! name, and the sample that tests and fuzzing walk through.

pub(crate) mod element;
pub(crate) mod float;
pub(crate) mod groups;
pub(crate) mod int8;
pub(crate) mod sweep;

use std::sync::LazyLock;

use crate::kernel::Description;
use crate::kernel::cache::KernelCache;
#[cfg(target_arch = "x86_64")]
use crate::{CodegenError, x86::asm::MachineCode};

/// What the list gives each family. There can be no other families than those of the list.
pub trait Listed: Sized {
    /// The code, on tiers that have some.
    #[cfg(target_arch = "x86_64")]
    fn machine_code(&self) -> Result<MachineCode, CodegenError>;
    /// The family's cache that the whole process shares.
    fn global_cache() -> &'static KernelCache<Self>
    where
        Self: Description;
}

/// A kernel of whichever family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCode {
    /// Its name.
    pub name: String,
    /// The code, constants behind it; empty on the portable tier.
    pub bytes: Vec<u8>,
}

fn of_cache<D: Description>() -> Vec<NamedCode> {
    let kernels = KernelCache::<D>::global().kernels();
    kernels.iter().map(|k| NamedCode { name: k.desc().to_string(), bytes: k.bytes().to_vec() }).collect()
}

macro_rules! families {
    ($($desc:ty),* $(,)?) => {
        $(
            impl Listed for $desc {
                #[cfg(target_arch = "x86_64")]
                fn machine_code(&self) -> Result<MachineCode, CodegenError> {
                    crate::frame::generate(*self)
                }

                fn global_cache() -> &'static KernelCache<$desc> {
                    static GLOBAL: LazyLock<KernelCache<$desc>> = LazyLock::new(KernelCache::default);
                    &GLOBAL
                }
            }
        )*

        /// The kernels that the global caches of all families hold, family by family, each sorted by description.
        ///
        /// # Examples
        /// ```
        /// use gemmill_codegen::*;
        /// let layout = GroupLayout { bits: 4, zero_points: GroupZeroPoints::Middle };
        /// let desc = GroupKernelDesc { tier: Tier::Portable, layout, rows: 6, prefetch: Prefetch::None };
        /// KernelCache::global().get(&desc)?;
        /// let kernel = generated().into_iter().find(|kernel| kernel.name == desc.to_string());
        /// assert!(kernel.is_some_and(|kernel| kernel.bytes.is_empty()));
        /// # Ok::<(), gemmill_codegen::CodegenError>(())
        /// ```
        pub fn generated() -> Vec<NamedCode> {
            [$(of_cache::<$desc>()),*].concat()
        }

        /// Each family's global cache keeps this many kernels at most, one at least: see [`KernelCache`].
        ///
        /// # Examples
        /// ```
        /// gemmill_codegen::set_kernel_limit(10_000);
        /// ```
        pub fn set_kernel_limit(kernels: usize) {
            $(KernelCache::<$desc>::global().set_limit(kernels);)*
        }

        /// Kernels of a tier, of all families, that have every kind of instruction and address between them.
        #[cfg(all(target_arch = "x86_64", any(test, feature = "inspect")))]
        pub(crate) fn samples(tier: crate::Tier) -> Vec<(String, Result<MachineCode, CodegenError>)> {
            let mut samples = Vec::new();
            $(samples.extend(<$desc>::samples(tier).iter().map(|d| (d.to_string(), d.machine_code())));)*
            samples
        }
    };
}

families!(crate::KernelDesc, crate::FloatKernelDesc, crate::GroupKernelDesc);

#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
