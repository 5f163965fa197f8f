//! The rules, kept apart from what they judge. Whoever breaks one panics, and the
//! runner turns that into a failure of the seed.

mod fairness;
mod grants;
mod ledger;
mod projection;
mod promises;
mod published;
mod retries;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use umbel_core::change::{Change, LeaseRecord, Record};
use umbel_core::id::JobId;
use umbel_core::job::{JobState, StartMode};
use umbel_core::machine::Machine;
use umbel_core::ranges::Ranges;
use umbel_core::view::{InvocationView, JobView};

pub(crate) use fairness::Eager;
use fairness::Fairness;
pub(crate) use grants::{Arrival, Grants, Loss};
pub(crate) use ledger::{Asked, Cell, JobCells, Ledger};
pub(crate) use projection::Projection;
pub(crate) use promises::Promises;

/// All that is known beside the system.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// What the running coordinator has said to its store.
    pub(crate) live: Ledger,
    /// What of that is durable.
    durable: Ledger,
    /// What is not yet, by batch, with what the machine was when it wrote it.
    line: VecDeque<(u64, Vec<Change>, Option<Projection>)>,
    /// What the machine was that wrote the last of what is durable.
    projected: Option<Projection>,
    /// What each report that is not acknowledged has made final, by session and number.
    unacknowledged: BTreeMap<(u64, u64), Vec<(JobId, Ranges)>>,
    pub(crate) grants: Grants,
    pub(crate) promises: Promises,
    pub(crate) fairness: Fairness,
}

impl Model {
    /// A turn's changes went to the store.
    pub(crate) fn committed(
        &mut self,
        number: u64,
        changes: Vec<Change>,
        projection: Option<Projection>,
    ) {
        self.line.push_back((number, changes, projection));
    }

    /// All batches up to this one are durable.
    pub(crate) fn became_durable(&mut self, number: u64) {
        while let Some((first, ..)) = self.line.front() {
            if *first > number {
                return;
            }
            self.take_first();
        }
    }

    /// Jobs that any worker of their kind could begin something of: nothing but the place in line
    /// holds them back.
    pub(crate) fn eager(&self, priority: &dyn Fn(JobId) -> i32) -> Vec<Eager> {
        let jobs = self.live.jobs.iter().filter(|(id, job)| {
            let spec = &job.record.spec;
            let begins = job.status.sealed.is_some() || spec.start == StartMode::AsAppended;
            let leased = self.grants.open_indices(**id);
            // What waits for a retry may not be due, and what was lost may travel alone.
            let waits = |(index, cell): (u32, &Cell)| match cell {
                Cell::Waiting { history, due_ms } => {
                    *due_ms == 0 && history.suspect_chunk == 0 && !leased.contains(index)
                }
                _ => false,
            };
            job.status.state == JobState::Running
                && !crate::publish::is_published_name(job.status.target(&job.record))
                && begins
                && spec.policy.max_concurrency.is_none()
                && (0..).zip(&job.cells).any(waits)
        });
        let eager = jobs.map(|(id, job)| Eager {
            job: *id,
            priority: priority(*id),
            need: need(job),
        });
        eager.collect()
    }

    /// Something is to be leased: nothing more urgent may wait for the same.
    pub(crate) fn judge_priority(&self, lease: &LeaseRecord, priority: &dyn Fn(JobId) -> i32) {
        let Some(job) = self.live.jobs.get(&lease.job) else {
            return;
        };
        let alone = lease.indices.indices().any(|index| {
            let cell = job.cells.get(index as usize);
            matches!(cell, Some(Cell::Waiting { history, .. }) if history.suspect_chunk > 0)
        });
        // What travels alone does so as soon as a worker is free of all else.
        if !alone {
            let eager = self.eager(priority);
            Fairness::leased(lease.job, priority(lease.job), &need(job), &eager);
        }
    }

    /// A redrive is asked for.
    pub(crate) fn redrive_asked(&mut self, request_id: &str, asked: &Asked) {
        for ledger in [&mut self.live, &mut self.durable] {
            Arc::make_mut(&mut ledger.asked).insert(request_id.to_owned(), asked.clone());
        }
    }

    /// The jobs that are submitted to keep to one version, by their numbers.
    pub(crate) fn pins(&mut self, pins: BTreeSet<u8>) {
        let pins = Arc::new(pins);
        self.live.pins = Arc::clone(&pins);
        self.durable.pins = pins;
    }

    /// A report has made something final.
    pub(crate) fn recorded(&mut self, record: &Record, arrival: &Arrival) {
        let mut ended = record.succeeded.clone();
        for failed in &record.failed {
            ended.insert(failed.index);
        }
        let reports = self
            .unacknowledged
            .entry((arrival.link, arrival.number))
            .or_default();
        reports.push((record.job, ended));
    }

    /// Reports up to a number are acknowledged: what they made final must be durable.
    pub(crate) fn acknowledged(&mut self, link: u64, number: u64) {
        let all = (link, 0)..=(link, number);
        let reports: Vec<_> = self.unacknowledged.range(all).map(|(of, _)| *of).collect();
        for of in reports {
            for (job, ended) in self.unacknowledged.remove(&of).unwrap_or_default() {
                self.must_be_durable(job, &ended);
            }
        }
    }

    fn must_be_durable(&self, id: JobId, ended: &Ranges) {
        if self.durable.deleted.contains(&id) {
            return;
        }
        let job = self.durable.jobs.get(&id);
        for index in ended.indices() {
            // A redrive may have made it wait again meanwhile.
            let durable = job.is_some_and(|job| job.has_ended(index));
            assert!(
                durable,
                "{index} of job {id} is not durable and was acknowledged"
            );
        }
    }

    fn take_first(&mut self) {
        let Some((_, changes, projection)) = self.line.pop_front() else {
            return;
        };
        for change in changes {
            self.durable.apply(&change);
        }
        self.projected = projection;
    }

    /// The coordinator is gone, and of its batches that were not durable the first
    /// `survivors` are found again.
    pub(crate) fn crashed(&mut self, survivors: usize) {
        for _ in 0..survivors {
            self.take_first();
        }
        self.line.clear();
        self.unacknowledged.clear();
        self.durable.remember_grants(&self.live);
        self.live = self.durable.clone();
        self.live.hold();
        self.grants.crashed();
        self.promises.kept_by(&self.durable);
    }

    /// What the store gives back is what was durable.
    pub(crate) fn restored(&self, changes: &[Change]) {
        let mut leases = self.durable.leases.values();
        let mut jobs = 0;
        let mut requests = self.durable.requests.iter();
        for change in changes {
            match change {
                Change::Granted(lease) => {
                    assert_eq!(Some(lease), leases.next(), "a lease that a restart finds");
                }
                Change::JobCreated(record) => {
                    jobs += 1;
                    let known = self.durable.jobs.get(&record.id);
                    assert_eq!(
                        Some(record),
                        known.map(|job| &job.record),
                        "a job comes back"
                    );
                }
                Change::JobStatus { job, status } => {
                    let known = self.durable.jobs.get(job).map(|job| &job.status);
                    assert_eq!(Some(status), known, "a status comes back");
                }
                Change::FunctionSeen(name) => {
                    assert!(
                        self.durable.functions.contains(name),
                        "{name} was never seen"
                    );
                }
                Change::RequestKept { request_id, kept } => {
                    let known = requests.next();
                    assert_eq!(Some((request_id, kept)), known, "a request id comes back");
                }
                // Read again below, all at once.
                Change::Appended { .. }
                | Change::Recorded(_)
                | Change::Function(_)
                | Change::Published(_)
                | Change::VersionRetired { .. }
                | Change::AliasMoved(_)
                | Change::Rollout(_)
                | Change::ArmCell { .. }
                | Change::ArmMarked { .. } => {}
                Change::LeaseEnded(_)
                | Change::JobDeleted(_)
                | Change::RequestForgotten(_)
                | Change::FunctionRemoved(_)
                | Change::VersionRemoved(_)
                | Change::ArtifactRemoved(_)
                | Change::AliasRemoved { .. }
                | Change::RolloutRemoved { .. }
                | Change::ArmForgotten(_) => {
                    panic!("a restart is not told of {change:?}")
                }
            }
        }
        self.durable.published.restored(changes);
        assert_eq!(leases.next(), None, "a lease that was not found again");
        assert_eq!(
            requests.next(),
            None,
            "a request id that was not found again"
        );
        assert_eq!(jobs, self.durable.jobs.len(), "jobs that come back");
    }

    /// A machine that was restored knows what was durable, to the last invocation.
    pub(crate) fn restored_machine(&self, machine: &Machine) {
        if let Some(projected) = &self.projected {
            projected.is_of(machine);
        }
        for (id, job) in &self.live.jobs {
            let view = self.same_view(machine, job);
            assert_eq!(
                view.status, job.status,
                "the status of job {id} after a restart"
            );
            if job.status.state.is_final() {
                continue;
            }
            for (index, cell) in (0..).zip(&job.cells) {
                let found = machine.invocation(*id, index);
                let expected = match cell {
                    Cell::Waiting { history, due_ms } => {
                        let mut history = *history;
                        if history.is_fresh()
                            && let Some(held) = job.held.get(&index)
                            && history.version.is_none()
                        {
                            (history.arm, history.version) = *held;
                        }
                        InvocationView::Waiting {
                            history,
                            due_ms: *due_ms,
                        }
                    }
                    Cell::Succeeded { .. } => InvocationView::Succeeded,
                    Cell::Failed(_) => InvocationView::Failed,
                    Cell::Cancelled => InvocationView::Cancelled,
                };
                assert_eq!(found, Some(expected), "{index} of job {id} after a restart");
            }
        }
        let kept = machine.cluster().jobs_kept;
        assert_eq!(kept, self.durable.jobs.len() as u64, "jobs after a restart");
    }

    /// A machine between two turns agrees with what it has told.
    pub(crate) fn same_machine(&self, machine: &Machine) {
        for (id, job) in &self.live.jobs {
            let view = self.same_view(machine, job);
            assert_eq!(view.status, job.status, "the status of job {id}");
            if view.status.state.is_final() {
                continue;
            }
            for (index, cell) in (0..).zip(&job.cells) {
                let same = match (cell, machine.invocation(*id, index)) {
                    (Cell::Succeeded { .. }, Some(InvocationView::Succeeded))
                    | (Cell::Failed(_), Some(InvocationView::Failed))
                    | (Cell::Cancelled, Some(InvocationView::Cancelled)) => true,
                    (
                        Cell::Waiting { history: told, .. },
                        Some(
                            InvocationView::Waiting { history, .. }
                            | InvocationView::Leased { history },
                        ),
                    ) => {
                        (told.failed, told.lost_alone) == (history.failed, history.lost_alone)
                            && (told.version.is_none() || told.version == history.version)
                    }
                    _ => false,
                };
                let found = machine.invocation(*id, index);
                assert!(
                    same,
                    "{index} of job {id} is {found:?}, and was told as {cell:?}"
                );
            }
        }
        assert_eq!(
            machine.cluster().jobs_kept,
            self.live.jobs.len() as u64,
            "jobs that are kept"
        );
    }

    fn same_view(&self, machine: &Machine, job: &JobCells) -> JobView {
        let id = job.record.id;
        let Some(view) = machine.job_view(id) else {
            panic!("job {id} is recorded, and the machine does not know it");
        };
        job.all_wait_again();
        let running = job.status.state == JobState::Running;
        let leased = if running { self.grants.open_of(id) } else { 0 };
        assert_eq!(view.counts, job.counts(leased), "the counts of job {id}");
        assert_eq!(view.usage, job.usage, "the usage of job {id}");
        assert_eq!(
            machine.find_job(&id.to_string()),
            Ok(id),
            "job {id} is found by its id"
        );
        view
    }
}

/// What a job needs of a worker, in words.
fn need(job: &JobCells) -> String {
    let target = job.status.target(&job.record);
    format!("{target:?} {:?}", job.record.spec.policy.require)
}
