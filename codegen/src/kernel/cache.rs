//! The kernels of this process, each generated once, the latest used ones kept.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use crate::families::int8::desc::KernelDesc;
use crate::kernel::{CodegenError, Description, Kernel};

/// Kernels that a cache keeps unless told otherwise. A kernel takes a page or two (4 KiB each) and a mapping, of which
/// a process may have 65 530 on Linux; models use some hundreds of kernels.
pub(crate) const USUAL_LIMIT: usize = 4096;

/// Kernels by their whole description.
///
/// Generation runs outside the lock: threads that ask for different kernels don't wait for each other. Two threads that
/// ask for the same one at the same moment may both generate it; one result is kept. A failure is returned, not kept.
///
/// It keeps 4096 kernels, or as many as [`KernelCache::set_limit`] says: beyond that, those that nobody has asked for
/// the longest give way, an eighth of them at once. Whoever holds one keeps it: plans hold theirs.
#[derive(Debug)]
pub struct KernelCache<D: Description = KernelDesc> {
    kernels: RwLock<HashMap<D, Entry<D>>>,
    /// How often kernels were asked for.
    clock: AtomicU64,
    limit: AtomicUsize,
}

#[derive(Debug)]
struct Entry<D: Description> {
    kernel: Arc<Kernel<D>>,
    /// The clock when it was asked for last.
    used: AtomicU64,
}

impl<D: Description> Default for KernelCache<D> {
    fn default() -> Self {
        KernelCache { kernels: RwLock::default(), clock: AtomicU64::new(0), limit: AtomicUsize::new(USUAL_LIMIT) }
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
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        if let Some(entry) = self.read().get(desc) {
            entry.used.store(now, Ordering::Relaxed);
            return Ok(entry.kernel.clone());
        }
        let kernel = Arc::new(Kernel::generate(desc)?);
        // Dropped outside of the lock: giving back its pages takes a call of the system.
        let _given_up;
        let mut write = self.kernels.write().unwrap_or_else(PoisonError::into_inner);
        let entry = write.entry(*desc).or_insert(Entry { kernel, used: AtomicU64::new(now) });
        let kernel = entry.kernel.clone();
        _given_up = self.give_up(&mut write);
        Ok(kernel)
    }

    /// Keeps this many kernels at most, one at least.
    ///
    /// # Examples
    /// ```
    /// use gemmill_codegen::*;
    /// let layout = GroupLayout { bits: 4, zero_points: GroupZeroPoints::Middle };
    /// let cache = KernelCache::default();
    /// cache.set_limit(2);
    /// for rows in 1..=5 {
    ///     cache.get(&GroupKernelDesc { tier: Tier::Portable, layout, rows, prefetch: Prefetch::None })?;
    /// }
    /// assert_eq!(cache.descriptions().iter().map(|desc| desc.rows).collect::<Vec<_>>(), [4, 5]);
    /// # Ok::<(), CodegenError>(())
    /// ```
    pub fn set_limit(&self, kernels: usize) {
        self.limit.store(kernels.max(1), Ordering::Relaxed);
        // As above.
        let _given_up = self.give_up(&mut self.kernels.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Takes out the kernels that were asked for the longest ago, if there are too many, and an eighth more, so that
    /// this is not done for each new kernel.
    fn give_up(&self, kernels: &mut HashMap<D, Entry<D>>) -> Vec<Entry<D>> {
        let limit = self.limit.load(Ordering::Relaxed);
        if kernels.len() <= limit {
            return Vec::new();
        }
        let excess = kernels.len() - limit + limit / 8;
        let mut used: Vec<u64> = kernels.values().map(|entry| entry.used.load(Ordering::Relaxed)).collect();
        let (_, &mut last, _) = used.select_nth_unstable(excess - 1);
        kernels.extract_if(|_, entry| *entry.used.get_mut() <= last).map(|(_, entry)| entry).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<D, Entry<D>>> {
        // A panic elsewhere cannot leave the map half-written: it is written by insertions and removals.
        self.kernels.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The kernel of this name, if it has been generated and is kept.
    pub fn find(&self, name: &str) -> Option<Arc<Kernel<D>>> {
        let read = self.read();
        read.values().find(|e| e.kernel.desc().to_string() == name).map(|e| e.kernel.clone())
    }

    /// The descriptions of all kernels that are kept, sorted.
    pub fn descriptions(&self) -> Vec<D> {
        self.kernels().iter().map(|kernel| *kernel.desc()).collect()
    }

    /// All kernels that are kept, sorted by description.
    pub fn kernels(&self) -> Vec<Arc<Kernel<D>>> {
        let mut kernels: Vec<_> = self.read().values().map(|entry| entry.kernel.clone()).collect();
        kernels.sort_by_key(|kernel| *kernel.desc());
        kernels
    }
}
