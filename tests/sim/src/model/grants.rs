//! Who may run and report what, as an onlooker between machine, wire and workers
//! sees it.

use std::collections::BTreeMap;

use umbel_core::change::{LeaseRecord, Record};
use umbel_core::config::Config;
use umbel_core::id::{Index, JobId, LeaseId, WorkerId};
use umbel_core::limit::CRASH_LIMIT;
use umbel_core::message::{ChunkReport, OfferAnswer, TakenBack};
use umbel_core::ranges::Ranges;
use umbel_core::route::ArmId;

use super::published::{Published, Way};

/// A report as its worker said it.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) worker: WorkerId,
    /// The session, and the report's number within it.
    pub(crate) link: u64,
    pub(crate) number: u64,
    pub(crate) chunks: Vec<ChunkReport>,
}

/// A live lease.
#[derive(Debug)]
struct Live {
    worker: WorkerId,
    job: JobId,
    /// What of it is neither reported nor given back.
    open: Ranges,
    way: Way,
    granted_ms: u64,
}

/// What was last heard of a worker's session, on the engine's clock.
#[derive(Clone, Copy, Debug)]
struct Hearing {
    heard_ms: u64,
    ended_ms: Option<u64>,
}

/// What took a worker process out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// An input that it ran.
    Input,
    /// A fault of the plan.
    Fault,
}

/// Leases, executions and losses.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    live: BTreeMap<LeaseId, Live>,
    /// Every lease there ever was, with its job.
    jobs: BTreeMap<LeaseId, JobId>,
    sent: BTreeMap<(JobId, Index), u32>,
    /// Attempts that were recorded, whether the record outlived a crash or not.
    recorded: BTreeMap<(JobId, Index), u32>,
    /// Leases that ended though it was neither reported nor given back: by a crash, an expiry, the
    /// end of its job, or since its worker did not know of it.
    lost: BTreeMap<(JobId, Index), u32>,
    starts: BTreeMap<(JobId, Index), u32>,
    running: BTreeMap<(WorkerId, JobId, Index), u64>,
    hearings: BTreeMap<WorkerId, Hearing>,
    deaths: BTreeMap<WorkerId, Loss>,
    /// How often a fault took away the worker that held an invocation.
    unlucky: BTreeMap<(JobId, Index), u32>,
}

impl Grants {
    /// The coordinator is gone, and with it all its leases.
    pub(crate) fn crashed(&mut self) {
        for lease in std::mem::take(&mut self.live).into_values() {
            self.loses(&lease);
        }
        self.hearings.clear();
    }

    /// How many invocations of a job are leased.
    pub(crate) fn open_of(&self, job: JobId) -> u64 {
        let leases = self.live.values().filter(|lease| lease.job == job);
        leases.map(|lease| lease.open.len()).sum()
    }

    /// Whether an invocation is open under a live lease that a worker has of a job.
    pub(crate) fn is_open(
        &self,
        lease: LeaseId,
        (worker, job): (WorkerId, JobId),
        index: Index,
    ) -> bool {
        self.live.get(&lease).is_some_and(|live| {
            live.worker == worker && live.job == job && live.open.contains(index)
        })
    }

    /// The arm for which an invocation is leased.
    pub(crate) fn arm_of(&self, job: JobId, index: Index) -> Option<ArmId> {
        let mut live = self.live.values();
        let live = live.find(|live| live.job == job && live.open.contains(index));
        live?.way.0
    }

    /// The job of a lease, though it may have ended.
    pub(crate) fn job_of(&self, lease: LeaseId) -> Option<JobId> {
        self.jobs.get(&lease).copied()
    }

    /// Which invocations of a job are leased.
    pub(crate) fn open_indices(&self, job: JobId) -> Ranges {
        let leases = self.live.values().filter(|lease| lease.job == job);
        leases.fold(Ranges::new(), |all, lease| all.union(&lease.open))
    }

    pub(crate) fn granted(&mut self, lease: &LeaseRecord, now_ms: u64) {
        let before = self.jobs.insert(lease.lease, lease.job);
        assert!(before.is_none(), "lease {} was granted before", lease.lease);
        for (id, live) in &self.live {
            let both = live.open.intersect(&lease.indices);
            assert!(
                live.job != lease.job || both.is_empty(),
                "{both:?} of job {} are leased as {id} and as {}",
                lease.job,
                lease.lease
            );
        }
        let live = Live {
            worker: lease.worker,
            job: lease.job,
            open: lease.indices.clone(),
            way: (lease.arm, lease.version),
            granted_ms: now_ms,
        };
        self.live.insert(lease.lease, live);
    }

    pub(crate) fn ended(&mut self, lease: LeaseId) {
        if let Some(lease) = self.live.remove(&lease) {
            self.loses(&lease);
        }
    }

    fn loses(&mut self, lease: &Live) {
        for index in lease.open.indices() {
            *self.lost.entry((lease.job, index)).or_default() += 1;
        }
    }

    /// A grant left for its worker.
    pub(crate) fn sent(&mut self, job: JobId, indices: &Ranges) {
        for index in indices.indices() {
            *self.sent.entry((job, index)).or_default() += 1;
        }
    }

    /// A lease went on with a session as far as it was kept.
    pub(crate) fn welcomed(&mut self, answers: &[OfferAnswer]) {
        for answer in answers {
            if let Some((lease, kept)) = &answer.kept
                && let Some(live) = self.live.get_mut(lease)
            {
                let rest = live.open.minus(kept);
                for index in rest.indices() {
                    *self.lost.entry((live.job, index)).or_default() += 1;
                }
                live.open = kept.clone();
            }
        }
    }

    pub(crate) fn taken_back(&mut self, worker: WorkerId, taken: &TakenBack) {
        if let Some(live) = self.held(taken.begun.lease, worker) {
            live.open = live.open.minus(&taken.indices);
        }
    }

    /// A report was handled; what it records must have been judged before.
    pub(crate) fn reported(&mut self, arrival: &Arrival) {
        for chunk in &arrival.chunks {
            let Some(live) = self.held(chunk.begun.lease, arrival.worker) else {
                continue;
            };
            let failed = failed(chunk);
            let (job, open) = (live.job, live.open.clone());
            for index in open.intersect(&chunk.succeeded.union(&failed)).indices() {
                *self.recorded.entry((job, index)).or_default() += 1;
            }
            let Some(live) = self.held(chunk.begun.lease, arrival.worker) else {
                continue;
            };
            let ended = chunk.succeeded.union(&failed).union(&chunk.handed_back);
            live.open = live.open.minus(&ended);
        }
    }

    fn held(&mut self, lease: LeaseId, worker: WorkerId) -> Option<&mut Live> {
        self.live
            .get_mut(&lease)
            .filter(|live| live.worker == worker)
    }

    /// A result counts only under a live lease of who reports it.
    pub(crate) fn judge(&self, record: &Record, arrival: Option<&Arrival>, published: &Published) {
        if record.worker.is_empty() {
            assert!(
                record.succeeded.is_empty(),
                "nobody reported {:?}",
                record.succeeded
            );
            return;
        }
        let Some(arrival) = arrival else {
            panic!("a report of {} was recorded, and none came", record.worker);
        };
        let (mut succeeded, mut unsucceeded) = (Ranges::new(), Ranges::new());
        for chunk in &arrival.chunks {
            let live = self.live.get(&chunk.begun.lease);
            let live = live.filter(|live| live.worker == arrival.worker && live.job == record.job);
            if let Some(live) = live {
                succeeded = succeeded.union(&chunk.succeeded.intersect(&live.open));
                unsucceeded = unsucceeded.union(&failed(chunk).intersect(&live.open));
            }
        }
        let dead = record.succeeded.minus(&succeeded);
        assert!(
            dead.is_empty(),
            "{dead:?} of job {} succeeded under a dead lease",
            record.job
        );
        let mut recorded = Ranges::new();
        for failed in &record.failed {
            recorded.insert(failed.index);
        }
        for waiting in &record.waiting {
            recorded = recorded.union(&waiting.indices);
        }
        self.judge_version(record, &recorded.union(&record.succeeded), published);
        let dead = recorded.minus(&unsucceeded);
        assert!(
            dead.is_empty(),
            "{dead:?} of job {} failed under a dead lease",
            record.job
        );
    }

    /// What is recorded ran the version of its lease, for its arm, and keeps both when it waits again,
    /// unless it goes back from a version that is rolled out.
    fn judge_version(&self, record: &Record, ended: &Ranges, published: &Published) {
        for live in self.live.values().filter(|live| live.job == record.job) {
            if live.open.intersect(ended).is_empty() {
                continue;
            }
            let (arm, version) = live.way;
            let ran = version.and_then(|id| published.version(id));
            // The arm's name is gone with its alias.
            let named = arm.filter(|arm| published.has_arm(*arm));
            assert_eq!(
                (record.arm.as_ref().map(|arm| arm.id), record.version),
                (named, ran.map(|version| version.number)),
                "arm and version of a record of job {}",
                record.job
            );
            let refuge = published.refuge(arm).map(|(way, _)| way);
            for waiting in &record.waiting {
                let found = (waiting.history.arm, waiting.history.version);
                assert!(
                    found == live.way || Some(found) == refuge,
                    "{:?} of job {} ran as {:?} and waits as {found:?}",
                    waiting.indices,
                    record.job,
                    live.way
                );
            }
        }
    }

    /// Under which lease what a dead one covered is held now; for a bug.
    pub(crate) fn successor(&self, chunk: &ChunkReport) -> Option<(LeaseId, WorkerId)> {
        if self.live.contains_key(&chunk.begun.lease) {
            return None;
        }
        let index = chunk.succeeded.first()?;
        let job = self.jobs.get(&chunk.begun.lease)?;
        let mut live = self.live.iter();
        let live = live.find(|(_, live)| live.job == *job && live.open.contains(index));
        live.map(|(id, live)| (*id, live.worker))
    }

    pub(crate) fn heard(&mut self, worker: WorkerId, engine_ms: u64) {
        self.hearings.insert(
            worker,
            Hearing {
                heard_ms: engine_ms,
                ended_ms: None,
            },
        );
    }

    pub(crate) fn session_ended(&mut self, worker: WorkerId, engine_ms: u64) {
        if let Some(hearing) = self.hearings.get_mut(&worker) {
            hearing.ended_ms.get_or_insert(engine_ms);
        }
    }

    /// A worker process is gone.
    pub(crate) fn died(&mut self, worker: WorkerId, loss: Loss) {
        self.deaths.entry(worker).or_insert(loss);
        self.running.retain(|(other, ..), _| *other != worker);
    }

    /// A lease expired: its worker must have been away or silent for long enough.
    pub(crate) fn expired(&mut self, lease: LeaseId, engine_ms: u64, config: &Config) {
        let Some(live) = self.live.get(&lease) else {
            panic!("lease {lease} expired and was not live");
        };
        let Some(hearing) = self.hearings.get(&live.worker) else {
            panic!("lease {lease} of a worker that was never heard expired");
        };
        let (since_ms, patience_ms) = match hearing.ended_ms {
            Some(ended_ms) => (ended_ms, config.reconnect_grace_ms),
            None => (hearing.heard_ms, config.lease_timeout_ms),
        };
        let waited_ms = engine_ms - since_ms;
        assert!(
            waited_ms >= patience_ms,
            "lease {lease} expired after {waited_ms} ms; {patience_ms} ms are promised"
        );
        if self.deaths.get(&live.worker) != Some(&Loss::Input) {
            let (job, open) = (live.job, live.open.clone());
            for index in open.indices() {
                *self.unlucky.entry((job, index)).or_default() += 1;
            }
        }
    }

    /// An invocation met the crash limit, and `guilty` tells whether it crashes.
    pub(crate) fn blamed(&self, job: JobId, index: Index, guilty: bool) {
        let unlucky = self.unlucky.get(&(job, index)).copied().unwrap_or(0);
        assert!(
            guilty || unlucky >= u32::from(CRASH_LIMIT),
            "{index} of job {job} is innocent and was blamed for crashes of its neighbours"
        );
    }

    /// A slot begins an invocation.
    pub(crate) fn started(&mut self, worker: WorkerId, job: JobId, index: Index, now_ms: u64) {
        let starts = self.starts.entry((job, index)).or_default();
        *starts += 1;
        let sent = self.sent.get(&(job, index)).copied().unwrap_or(0);
        assert!(
            *starts <= sent,
            "{index} of job {job} ran {starts} times on {sent} grants"
        );
        let starts = *starts;
        let of = |counts: &BTreeMap<_, u32>| counts.get(&(job, index)).copied().unwrap_or(0);
        let leased = self
            .live
            .values()
            .any(|live| live.job == job && live.open.contains(index));
        let (recorded, lost) = (of(&self.recorded), of(&self.lost));
        assert!(
            starts <= recorded + lost + u32::from(leased),
            "{index} of job {job} ran {starts} times; {recorded} attempts were recorded, {lost} grants lost"
        );
        let before = self.running.insert((worker, job, index), now_ms);
        assert!(
            before.is_none(),
            "{index} of job {job} runs twice on one worker"
        );
    }

    /// It ended, or was stopped; tells when it began.
    pub(crate) fn stopped(&mut self, worker: WorkerId, job: JobId, index: Index) -> Option<u64> {
        self.running.remove(&(worker, job, index))
    }

    /// No more run at a time than the job allows, of what runs under live leases and
    /// began under them.
    pub(crate) fn judge_concurrency(&self, job: JobId, limit: u32) {
        let counts = |(worker, of, index): &(WorkerId, JobId, Index), since: u64| {
            *of == job
                && self.live.values().any(|live| {
                    live.worker == *worker
                        && live.job == job
                        && live.open.contains(*index)
                        && live.granted_ms <= since
                })
        };
        let running = self
            .running
            .iter()
            .filter(|(key, since)| counts(key, **since))
            .count();
        assert!(
            running <= limit as usize,
            "{running} of job {job} run, {limit} may"
        );
    }

    /// How often anything was run.
    pub(crate) fn executions(&self) -> u64 {
        self.starts.values().map(|starts| u64::from(*starts)).sum()
    }
}

fn failed(chunk: &ChunkReport) -> Ranges {
    let mut failed = Ranges::new();
    for attempt in &chunk.failed {
        failed.insert(attempt.index);
    }
    failed
}
