//! The coordinator's machine: facts in, effects out.

use crate::change::Change;
use crate::command::{Command, Refusal};
use crate::config::Config;
use crate::event::Event;
use crate::id::{Index, JobId};
use crate::time::Now;
use crate::view::{ClusterView, InvocationView, JobView, WaitReason, WorkerView};

/// All that the coordinator knows and decides. It belongs to one thread, and
/// the same events at the same times always give the same commands.
#[derive(Debug)]
pub struct Machine {
    config: Config,
    epoch: u32,
}

impl Machine {
    /// A machine that remembers nothing.
    #[must_use]
    pub fn new(config: Config, epoch: u32) -> Self {
        Self { config, epoch }
    }

    /// A machine that remembers what an earlier one persisted. The changes come
    /// in this order: functions seen, jobs created, their statuses, their blocks
    /// (ascending), the records of running jobs by commit (columns may be empty),
    /// and the leases that had not ended, ascending.
    #[must_use]
    pub fn restore(
        config: Config,
        epoch: u32,
        now: Now,
        changes: impl IntoIterator<Item = Change>,
    ) -> Self {
        let _ = (now, changes.into_iter().count());
        Self::new(config, epoch)
    }

    /// Takes in one fact.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Command>) {
        let _ = (self.config, self.epoch, now, event, out);
    }

    /// Ends a turn: does what has become due, then places work on free slots.
    pub fn advance(&mut self, now: Now, out: &mut Vec<Command>) {
        let _ = (now, out);
    }

    /// When [`Self::advance`] is due though no event came, in milliseconds of the
    /// monotonic clock.
    #[must_use]
    pub fn next_wake(&self) -> Option<u64> {
        None
    }

    /// Walks every invariant across the tables; for tests and simulations.
    ///
    /// # Panics
    /// When one does not hold.
    #[doc(hidden)]
    pub fn check(&self) {}

    /// The job of a UUID, a name (its newest) or `last`.
    ///
    /// # Errors
    /// [`Refusal::UnknownJob`] when there is none.
    pub fn find_job(&self, text: &str) -> Result<JobId, Refusal> {
        Err(Refusal::UnknownJob {
            job: text.to_owned(),
        })
    }

    /// A job as it is shown.
    #[must_use]
    pub fn job_view(&self, job: JobId) -> Option<JobView> {
        let _ = job;
        None
    }

    /// Jobs, newest first, beginning behind `before`; with where the next page
    /// begins, if there is more. The scan is bounded, so that a page may hold
    /// fewer than `limit` jobs (even none) and still have a next.
    #[must_use]
    pub fn jobs(
        &self,
        before: Option<JobId>,
        limit: usize,
        accept: &dyn Fn(&JobView) -> bool,
    ) -> (Vec<JobView>, Option<JobId>) {
        let _ = (before, limit, accept);
        (Vec::new(), None)
    }

    /// Where an invocation stands; none: there is no such job or index.
    #[must_use]
    pub fn invocation(&self, job: JobId, index: Index) -> Option<InvocationView> {
        let _ = (job, index);
        None
    }

    /// Workers by name, behind `after`.
    #[must_use]
    pub fn workers(&self, after: &str, limit: usize) -> Vec<WorkerView> {
        let _ = (after, limit);
        Vec::new()
    }

    /// Functions by name, behind `after`, with how many workers have each now.
    #[must_use]
    pub fn functions(&self, after: &str, limit: usize) -> Vec<(String, u32)> {
        let _ = (after, limit);
        Vec::new()
    }

    /// The whole, in figures.
    #[must_use]
    pub fn cluster(&self) -> ClusterView {
        ClusterView::default()
    }

    /// Why invocations of a job wait, the reason of most first.
    #[must_use]
    pub fn explain(&self, now: Now, job: JobId) -> Option<Vec<WaitReason>> {
        let _ = (now, job);
        None
    }
}
