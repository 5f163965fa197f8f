//! The coordinator's machine: facts in, effects out.

mod check;

use std::sync::Arc;

use crate::change::Change;
use crate::command::{Command, Refusal};
use crate::config::Config;
use crate::event::Event;
use crate::function::{Alias, Artifact, Digest, Version, VersionId};
use crate::id::{Index, JobId};
use crate::job::Target;
use crate::rollout::RolloutView;
use crate::route::{RouteTally, Routing};
use crate::tables::Tables;
use crate::time::Now;
use crate::turn;
use crate::view::{
    ClusterView, ExperimentView, FunctionView, InvocationView, JobView, PublishedView, WaitReason,
    WorkerView,
};

/// All that the coordinator knows and decides. It belongs to one thread, and
/// the same events at the same times always give the same commands.
#[derive(Debug)]
pub struct Machine {
    tables: Tables,
}

impl Machine {
    /// A machine that remembers nothing.
    #[must_use]
    pub fn new(config: Config, epoch: u32) -> Self {
        Self {
            tables: Tables::new(config, epoch),
        }
    }

    /// A machine that remembers what an earlier one persisted. The changes come
    /// in this order: functions seen and published, versions, those retired, aliases, rollouts,
    /// request ids kept, jobs created, their statuses, their blocks
    /// (ascending), the records of running jobs by commit (columns may be empty),
    /// and the leases that had not ended, ascending.
    #[must_use]
    pub fn restore(
        config: Config,
        epoch: u32,
        now: Now,
        changes: impl IntoIterator<Item = Change>,
    ) -> Self {
        let mut machine = Self::new(config, epoch);
        machine.tables.clock.observe(now);
        turn::restore(&mut machine.tables, changes);
        machine
    }

    /// Takes in one fact.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Command>) {
        self.tables.clock.observe(now);
        turn::handle(&mut self.tables, out, event);
    }

    /// Ends a turn: does what has become due, then places work on free slots.
    pub fn advance(&mut self, now: Now, out: &mut Vec<Command>) {
        self.tables.clock.observe(now);
        turn::advance(&mut self.tables, out);
    }

    /// When [`Self::advance`] is due though no event came, in milliseconds of the
    /// monotonic clock.
    #[must_use]
    pub fn next_wake(&self) -> Option<u64> {
        let t = &self.tables;
        if t.marks.more {
            return Some(t.clock.mono_ms());
        }
        let engine = [
            t.alarms.workers.next(),
            t.alarms.jobs.next(),
            t.alarms.invokes.next(),
            t.reclaim.until_ms,
            t.functions.ahead_until_ms(),
            t.arms.due_ms(),
        ];
        let engine = engine.into_iter().flatten().min();
        let engine = engine.map(|due| t.clock.wake_at_engine(due));
        let wall = [
            t.alarms.walls.next(),
            t.alarms.rollouts.next(),
            turn::next_sweep(t),
        ];
        let wall = wall.into_iter().flatten().min();
        let wall = wall.map(|due| t.clock.wake_at_wall(due));
        [engine, wall].into_iter().flatten().min()
    }

    /// Walks every invariant across the tables; for tests and simulations.
    ///
    /// # Panics
    /// When one does not hold.
    #[doc(hidden)]
    pub fn check(&self) {
        check::check(&self.tables);
    }

    /// The job of a UUID, a name (its newest) or `last`.
    ///
    /// # Errors
    /// [`Refusal::UnknownJob`] when there is none.
    pub fn find_job(&self, text: &str) -> Result<JobId, Refusal> {
        turn::find_job(&self.tables, text)
    }

    /// Where copies of what is submitted over an alias go; none: nowhere.
    ///
    /// # Errors
    ///
    /// When there is no such alias.
    pub fn shadow(&self, function: &str, alias: &str) -> Result<Option<Alias>, Refusal> {
        turn::shadow(&self.tables, function, alias)
    }

    /// Running jobs whose inputs are copied from other jobs, and are not all there.
    #[must_use]
    pub fn fed(&self) -> Vec<JobId> {
        self.tables.jobs.fed().collect()
    }

    /// A job as it is shown.
    #[must_use]
    pub fn job_view(&self, job: JobId) -> Option<JobView> {
        turn::job_view(&self.tables, job)
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
        turn::jobs(&self.tables, before, limit, accept)
    }

    /// Where an invocation stands; none: there is no such job or index, or the job
    /// has ended, after which only the store knows.
    #[must_use]
    pub fn invocation(&self, job: JobId, index: Index) -> Option<InvocationView> {
        turn::invocation(&self.tables, job, index)
    }

    /// Workers by name, behind `after`.
    #[must_use]
    pub fn workers(&self, after: &str, limit: usize) -> Vec<WorkerView> {
        turn::workers(&self.tables, after, limit)
    }

    /// Functions by name, behind `after`.
    #[must_use]
    pub fn functions(&self, after: &str, limit: usize) -> Vec<FunctionView> {
        turn::functions(&self.tables, after, limit)
    }

    /// A published function with its aliases, and its versions below the number `before`,
    /// newest first.
    ///
    /// # Errors
    /// [`Refusal::UnknownFunction`] or [`Refusal::NotPublished`] when there are no versions.
    pub fn function(
        &self,
        name: &str,
        before: Option<u32>,
        limit: usize,
    ) -> Result<PublishedView, Refusal> {
        turn::function(&self.tables, name, before, limit)
    }

    /// The rules and splits behind a target: of an alias that has any.
    ///
    /// # Errors
    /// [`Refusal::UnknownFunction`] and the like, when a job could not name the target.
    pub fn routing(&self, target: &Target) -> Result<Option<Arc<Routing>>, Refusal> {
        turn::route::known(&self.tables, target)?;
        Ok(turn::route::routing_of(&self.tables, target).cloned())
    }

    /// What happened to inputs that an alias's rules and split were asked about, since the
    /// coordinator started.
    #[must_use]
    pub fn route_tally(&self, function: &str, alias: &str) -> RouteTally {
        self.tables.functions.tally_of(function, alias)
    }

    /// The arms of an alias that splits, with their figures over the same time: from about
    /// `since_ms` until now, or since its route was set.
    ///
    /// # Errors
    /// [`Refusal::UnknownFunction`], [`Refusal::UnknownAlias`] and the like when there is no such
    /// alias, [`Refusal::NoExperiment`] when it has no two arms.
    pub fn experiment(
        &self,
        now: Now,
        (function, alias): (&str, &str),
        since_ms: Option<u64>,
    ) -> Result<ExperimentView, Refusal> {
        turn::experiment(&self.tables, function, alias, (since_ms, now.wall_ms))
    }

    /// The rollout of an alias, with what its guards say now.
    ///
    /// # Errors
    /// [`Refusal::NoRollout`] when there never was one, or the alias is not there.
    pub fn rollout(&self, function: &str, alias: &str) -> Result<RolloutView, Refusal> {
        turn::rollout_view(&self.tables, function, alias)
    }

    /// A version by its id.
    #[must_use]
    pub fn version(&self, id: VersionId) -> Option<&Arc<Version>> {
        self.tables.functions.version(id)
    }

    /// A function as it stands in the list.
    #[must_use]
    pub fn function_view(&self, name: &str) -> Option<FunctionView> {
        turn::function_view(&self.tables, name)
    }

    /// Where the bytes of an artifact lie, if some version is made of it.
    #[must_use]
    pub fn artifact(&self, digest: Digest) -> Option<Artifact> {
        self.tables.functions.artifact(digest)
    }

    /// The whole, in figures.
    #[must_use]
    pub fn cluster(&self) -> ClusterView {
        turn::cluster(&self.tables)
    }

    /// Why invocations of a job wait, the reason of most first.
    #[must_use]
    pub fn explain(&self, now: Now, job: JobId) -> Option<Vec<WaitReason>> {
        turn::explain(&self.tables, now.wall_ms, job)
    }
}
