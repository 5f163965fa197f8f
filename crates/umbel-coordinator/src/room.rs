//! Whether there is room for new work. What runs already always goes on: its results, deletes and
//! sweeps have a reserve below the cap, and may pass the cap where they must.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use umbel_core::command::Refusal;
use umbel_core::size::size;
use umbel_store::Store;

/// What bounds the store, in bytes; 0: nothing does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Live bytes, of which a tenth is kept for results, deletes and sweeps.
    pub store_bytes_max: u64,
    /// What must be free on the disk.
    pub disk_free_bytes_min: u64,
}

/// The gate before everything that makes the store larger and is not owed to anybody. A clone is
/// the same gate.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    store: Store,
    bounds: Bounds,
    data_dir: Arc<PathBuf>,
    /// What was free on the disk when it was looked at last.
    free_bytes: Arc<AtomicU64>,
}

impl Room {
    pub(crate) fn new(store: Store, bounds: Bounds, data_dir: PathBuf) -> Self {
        let room = Self {
            store,
            bounds,
            data_dir: Arc::new(data_dir),
            free_bytes: Arc::new(AtomicU64::new(u64::MAX)),
        };
        room.look();
        room
    }

    /// Looks at the disk; it may have to wait for it.
    pub(crate) fn look(&self) {
        let free_bytes = self.store.free_bytes().unwrap_or(u64::MAX);
        self.free_bytes.store(free_bytes, Ordering::Relaxed);
    }

    /// Whether so many bytes more may be taken in; costs next to nothing. Who asks right before it
    /// puts them in line passes the bound by no more than what others put in line that moment.
    ///
    /// # Errors
    ///
    /// [`Refusal::StoreFull`], which says how much there is, and of what.
    pub(crate) fn check(&self, more: u64) -> Result<(), Refusal> {
        let Bounds {
            store_bytes_max,
            disk_free_bytes_min,
        } = self.bounds;
        let limit = intake_max(store_bytes_max);
        let bytes = self.store.live_bytes() + self.store.undurable_bytes() as u64;
        if store_bytes_max > 0 && bytes.saturating_add(more) >= limit {
            let what = if more > 0 && bytes < limit {
                format!("{} more do not fit", size(more))
            } else {
                "more is taken".to_owned()
            };
            let problem = format!(
                "it holds {}, and {what} below {}, nine tenths of its cap of {} \
                 (store_bytes_max)",
                size(bytes),
                size(limit),
                size(store_bytes_max)
            );
            let bound = ("store_bytes_max", "raise store_bytes_max");
            return Err(self.refusal(bound, problem, bytes, limit));
        }
        let free = self.free_bytes.load(Ordering::Relaxed);
        if free < disk_free_bytes_min {
            let problem = format!(
                "{} are free on its disk, and {} are kept free for the results of what runs \
                 (disk_free_bytes_min)",
                size(free),
                size(disk_free_bytes_min)
            );
            let bound = ("disk_free_bytes_min", "make room on the disk");
            return Err(self.refusal(bound, problem, free, disk_free_bytes_min));
        }
        Ok(())
    }

    fn refusal(
        &self,
        (option, way_out): (&'static str, &'static str),
        problem: String,
        bytes: u64,
        limit: u64,
    ) -> Refusal {
        Refusal::StoreFull {
            data_dir: self.data_dir.display().to_string(),
            option,
            problem,
            way_out,
            bytes,
            limit,
        }
    }
}

/// Up to how many live bytes new work is taken below a cap.
fn intake_max(store_bytes_max: u64) -> u64 {
    store_bytes_max - store_bytes_max / 10
}

#[cfg(test)]
mod tests {
    use umbel_core::id::{Appender, JobId};
    use umbel_core::job::BlockRef;
    use umbel_store::MemoryEngine;

    use super::*;
    use crate::engine::Signals;

    fn store() -> Store {
        let engine = MemoryEngine::new(
            1 << 20,
            Signals::new(Arc::new(crate::metrics::Metrics::new())) as _,
        );
        Store::with_engine(Arc::new(engine)).unwrap().store
    }

    fn room(store: &Store, store_bytes_max: u64, disk_free_bytes_min: u64) -> Room {
        let bounds = Bounds {
            store_bytes_max,
            disk_free_bytes_min,
        };
        Room::new(store.clone(), bounds, "/data".into())
    }

    fn stage(store: &Store, bytes: usize) {
        let block = BlockRef {
            first: 0,
            count: 1,
            bytes: bytes as u32,
            appender: Appender(1),
        };
        store
            .stage(JobId([1; 16]), &block, &vec![0; bytes].into())
            .unwrap();
    }

    #[test]
    fn a_tenth_of_the_cap_is_kept_and_the_refusal_says_all_of_it() {
        let store = store();
        let room = room(&store, 20_000, 0);
        room.check(0).unwrap();
        stage(&store, 9_000);
        store.settle().unwrap();
        room.check(0).unwrap();
        // What would pass the bound is refused before it does.
        let words = room.check(10_000).unwrap_err().to_string();
        assert!(
            words.contains("9.7 KiB more do not fit below 17.5 KiB"),
            "{words}"
        );
        // What is on its way counts too.
        stage(&store, 9_000);
        let refusal = room.check(0).unwrap_err();
        let Refusal::StoreFull { option, limit, .. } = &refusal else {
            panic!("{refusal:?}")
        };
        assert_eq!((*option, *limit), ("store_bytes_max", 18_000));
        let words = refusal.to_string();
        for word in [
            "/data",
            "17.5 KiB",
            "19.5 KiB",
            "job delete",
            "raise store_bytes_max",
        ] {
            assert!(words.contains(word), "{words}");
        }
    }

    #[test]
    fn a_disk_with_little_room_takes_nothing_new() {
        let store = store();
        let room = room(&store, 0, 1 << 20);
        room.check(0).unwrap();
        room.free_bytes.store((1 << 20) - 1, Ordering::Relaxed);
        let words = room.check(0).unwrap_err().to_string();
        for word in ["1023.9 KiB are free", "disk_free_bytes_min", "make room"] {
            assert!(words.contains(word), "{words}");
        }
    }
}
