//! The kernels of this process, each generated once.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::families::int8::desc::KernelDesc;
use crate::kernel::{CodegenError, Description, Kernel};

/// Kernels by their whole description.
///
/// Generation runs outside the lock: threads that ask for different kernels don't wait for each other. Two threads that
/// ask for the same one at the same moment may both generate it; one result is kept. A failure is returned, not kept.
#[derive(Debug)]
pub struct KernelCache<D: Description = KernelDesc> {
    kernels: RwLock<HashMap<D, Arc<Kernel<D>>>>,
}

impl<D: Description> Default for KernelCache<D> {
    fn default() -> Self {
        KernelCache { kernels: RwLock::default() }
    }
}

impl<D: Description> KernelCache<D> {
    /// The family's cache that the whole process shares.
    pub fn global() -> &'static KernelCache<D> {
        D::global_cache()
    }

    /// The kernel of this description, generated if nobody has asked for it yet.
    ///
    /// # Errors
    /// As [`Kernel::generate`].
    ///
    /// # Examples
    /// ```
    /// use gemmill_codegen::*;
    /// let desc = KernelDesc {
    ///     tier: Tier::Portable,
    ///     layout: Layout::Columns8,
    ///     activations: Byte::U8,
    ///     rows: 1,
    ///     vectors: 1,
    ///     cols: 8,
    ///     sections: [Section::Narrow].into_iter().collect(),
    ///     start: Start::Zero,
    ///     finish: Finish::Scratch,
    ///     sweep: Sweep::Column,
    ///     prefetch: Prefetch::None,
    /// };
    /// let cache = KernelCache::default();
    /// let first = cache.get(&desc)?;
    /// assert!(std::sync::Arc::ptr_eq(&first, &cache.get(&desc)?));
    /// assert_eq!(cache.find(&desc.to_string()).unwrap().desc(), &desc);
    /// # Ok::<(), CodegenError>(())
    /// ```
    pub fn get(&self, desc: &D) -> Result<Arc<Kernel<D>>, CodegenError> {
        // A panic elsewhere cannot leave the map half-written: its only write is one insertion.
        let read = self.kernels.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = read.get(desc) {
            return Ok(kernel.clone());
        }
        drop(read);
        let kernel = Arc::new(Kernel::generate(desc)?);
        let mut write = self.kernels.write().unwrap_or_else(PoisonError::into_inner);
        Ok(write.entry(*desc).or_insert(kernel).clone())
    }

    /// The kernel of this name, if it has been generated.
    pub fn find(&self, name: &str) -> Option<Arc<Kernel<D>>> {
        let read = self.kernels.read().unwrap_or_else(PoisonError::into_inner);
        read.values().find(|k| k.desc().to_string() == name).cloned()
    }

    /// The descriptions of all kernels so far, sorted.
    pub fn descriptions(&self) -> Vec<D> {
        self.kernels().iter().map(|kernel| *kernel.desc()).collect()
    }

    /// All kernels so far, sorted by description.
    pub fn kernels(&self) -> Vec<Arc<Kernel<D>>> {
        let read = self.kernels.read().unwrap_or_else(PoisonError::into_inner);
        let mut kernels: Vec<_> = read.values().cloned().collect();
        kernels.sort_by_key(|kernel| *kernel.desc());
        kernels
    }
}
