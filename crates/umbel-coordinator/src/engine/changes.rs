//! Who wants to know when a job's view has changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use umbel_core::id::JobId;

/// The jobs that somebody watches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    jobs: Arc<Mutex<HashMap<JobId, watch::Sender<()>>>>,
}

/// Sees that a job has changed, some time after the change is durable.
#[derive(Debug)]
pub(crate) struct Watched {
    job: JobId,
    changed: watch::Receiver<()>,
    changes: Changes,
}

impl Changes {
    /// From now on changes of the job are seen.
    pub(crate) fn watch(&self, job: JobId) -> Watched {
        let mut jobs = self.lock();
        let sender = jobs.entry(job).or_insert_with(|| watch::Sender::new(()));
        Watched {
            job,
            changed: sender.subscribe(),
            changes: self.clone(),
        }
    }

    pub(super) fn is_watched(&self, job: JobId) -> bool {
        self.lock().contains_key(&job)
    }

    pub(super) fn tell(&self, job: JobId) {
        if let Some(sender) = self.lock().get(&job) {
            sender.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, watch::Sender<()>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// Returns once there was a change since this was last asked.
    pub(crate) async fn changed(&mut self) {
        // The sender stays as long as this watcher does.
        let _ = self.changed.changed().await;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut jobs = self.changes.lock();
        // The last one is this one.
        if jobs
            .get(&self.job)
            .is_some_and(|sender| sender.receiver_count() <= 1)
        {
            jobs.remove(&self.job);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_seen_by_all_and_forgotten_with_the_last() {
        let (changes, job) = (Changes::default(), JobId([7; 16]));
        let (mut a, mut b) = (changes.watch(job), changes.watch(job));
        changes.tell(job);
        a.changed().await;
        b.changed().await;
        drop(a);
        assert!(changes.is_watched(job));
        drop(b);
        assert!(!changes.is_watched(job));
    }
}
