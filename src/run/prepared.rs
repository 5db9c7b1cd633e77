//! The cache of prepared products: plans with their kernels, by what they depend on.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Values that are found without a lock.
const FIRST: usize = 16;
/// Values that are kept besides, the latest.
const LATER: usize = 32;

/// Values by key, each made once. The first ones are found without a lock, since a small product takes as long as one.
#[derive(Debug)]
pub(crate) struct PreparedCache<K, V> {
    /// Filled from the front.
    first: [OnceLock<(K, Arc<V>)>; FIRST],
    later: Mutex<Vec<(K, Arc<V>)>>,
}

impl<K, V> Default for PreparedCache<K, V> {
    fn default() -> Self {
        PreparedCache { first: [const { OnceLock::new() }; FIRST], later: Mutex::default() }
    }
}

impl<K: Copy + PartialEq, V> PreparedCache<K, V> {
    /// Calls `f` with the value of a key, made by `make` if nobody has asked for it yet. A failure is not kept.
    ///
    /// Values are made outside of the lock; of two threads that make the same one, the first to be done is kept.
    pub(crate) fn with<E, R>(
        &self,
        key: K,
        make: impl FnOnce() -> Result<V, E>,
        f: impl FnOnce(&V) -> Result<R, E>,
    ) -> Result<R, E> {
        if let Some(value) = self.find_first(key) {
            return f(value);
        }
        let found = find(&self.lock(), key);
        let value = match found {
            Some(value) => value,
            None => {
                let value = Arc::new(make()?);
                self.keep(key, value)
            }
        };
        f(&value)
    }

    fn find_first(&self, key: K) -> Option<&V> {
        self.first.iter().map_while(OnceLock::get).find(|(k, _)| *k == key).map(|(_, value)| &**value)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(K, Arc<V>)>> {
        // A panic elsewhere cannot leave the list half-written.
        self.later.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a value unless there is one by now, and gives the one that is kept.
    fn keep(&self, key: K, value: Arc<V>) -> Arc<V> {
        let mut later = self.lock();
        if let Some((_, value)) = self.first.iter().map_while(OnceLock::get).find(|(k, _)| *k == key) {
            return value.clone();
        }
        if let Some(value) = find(&later, key) {
            return value;
        }
        if let Some(free) = self.first.iter().find(|slot| slot.get().is_none()) {
            // Slots are only filled under the lock.
            let _ = free.set((key, value.clone()));
            return value;
        }
        if later.len() >= LATER {
            later.remove(0);
        }
        later.push((key, value.clone()));
        value
    }
}

fn find<K: PartialEq, V>(list: &[(K, Arc<V>)], key: K) -> Option<Arc<V>> {
    list.iter().find(|(k, _)| *k == key).map(|(_, value)| value.clone())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn values_are_made_once_and_failures_are_not_kept() {
        let cache = PreparedCache::<usize, usize>::default();
        let made = AtomicUsize::new(0);
        let get = |key: usize| {
            let make = || {
                made.fetch_add(1, Ordering::Relaxed);
                Ok::<_, ()>(key * 2)
            };
            cache.with(key, make, |&value| Ok(value))
        };
        assert_eq!(cache.with(3, || Err("no"), |_| Ok(0)), Err("no"));
        for round in 0..3 {
            for key in 0..FIRST + LATER {
                assert_eq!(get(key), Ok(2 * key));
            }
            assert_eq!(made.load(Ordering::Relaxed), FIRST + LATER, "round {round}");
        }
        // One more replaces the oldest of the later ones.
        assert_eq!((get(1000), get(FIRST)), (Ok(2000), Ok(2 * FIRST)));
        assert_eq!(made.load(Ordering::Relaxed), FIRST + LATER + 2);
    }

    #[test]
    fn threads_that_make_the_same_value_get_the_same() {
        let cache = PreparedCache::<u8, usize>::default();
        let barrier = std::sync::Barrier::new(4);
        let address = |i: usize| {
            let make = || {
                barrier.wait();
                Ok::<_, ()>(i)
            };
            cache.with(7, make, |value| Ok(std::ptr::from_ref(value).addr())).unwrap()
        };
        let found: Vec<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|i| scope.spawn(move || address(i))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(found.iter().all(|&address| address == found[0]));
    }
}
