//! A small cluster for tests: workers that do as they are told, a disk that
//! remembers, and a clock that stands until it is moved. After every event the
//! machine is checked.

mod disk;
mod functions;
pub(crate) mod rollout;
pub(crate) mod route;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::command::{Command, Ignored, Note, Refusal, Reply};
use crate::config::Config;
use crate::event::{Event, Proposal};
use crate::function::{Holdings, Keep, Runtime, Runtimes, Version};
use crate::histogram::{self, Histogram};
use crate::id::{Index, JobId, LeaseId, ReplyId, SessionId, WorkerId};
use crate::job::{Counts, JobSpec, JobState, Source, StartMode, Target, Usage};
use crate::limit;
use crate::machine::Machine;
use crate::message::{
    Begun, ChunkReport, FromWorker, Grant, Hello, Invoke, Offer, Report, TakenBack, ToWorker,
};
use crate::outcome::{FailedAttempt, Failure, FailureKind};
use crate::policy::{Labels, Policy};
use crate::ranges::Ranges;
use crate::redrive::{Filter, Redrive};
use crate::time::Now;
use crate::view::JobView;

pub(crate) use disk::Disk;

/// What one worker process knows.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) id: WorkerId,
    pub(crate) session: Option<SessionId>,
    pub(crate) slots: u32,
    pub(crate) functions: Vec<String>,
    pub(crate) labels: Labels,
    pub(crate) runs_programs: bool,
    pub(crate) runtimes: Runtimes,
    pub(crate) holdings: Holdings,
    pub(crate) told: Vec<Arc<Version>>,
    pub(crate) kept: Vec<Keep>,
    pub(crate) reports: u64,
    pub(crate) held: BTreeMap<LeaseId, Grant>,
    pub(crate) open: BTreeMap<LeaseId, Ranges>,
    pub(crate) asked: Vec<(LeaseId, u32)>,
    pub(crate) invokes: Vec<Invoke>,
    pub(crate) acked: u64,
    pub(crate) drains: bool,
}

impl Process {
    /// It has these runtimes.
    pub(crate) fn can(&mut self, runtimes: impl IntoIterator<Item = Runtime>) {
        self.runtimes = runtimes.into_iter().collect();
    }
}

/// The cluster.
#[derive(Debug)]
pub(crate) struct Env {
    pub(crate) machine: Machine,
    pub(crate) now: Now,
    pub(crate) disk: Disk,
    pub(crate) workers: BTreeMap<String, Process>,
    pub(crate) replies: Vec<(ReplyId, Reply)>,
    pub(crate) ignored: Vec<Ignored>,
    pub(crate) notes: Vec<Note>,
    pub(crate) closed: Vec<Refusal>,
    pub(crate) changed: Vec<JobId>,
    /// What shells were asked to sort.
    pub(crate) sortings: Vec<crate::route::Sorting>,
    pub(crate) fed: Vec<JobId>,
    /// Whether they are slow, and answer when [`Env::sort`] is called.
    pub(crate) sorts_late: bool,
    config: Config,
    epoch: u32,
    made: u64,
}

/// The most common wishes of a test.
pub(crate) fn spec(target: &str) -> JobSpec {
    JobSpec {
        name: String::new(),
        target: Target::Function(target.to_owned()),
        policy: Policy::default(),
        labels: Labels::new(),
        start: StartMode::AsSealed,
    }
}

/// An index range.
pub(crate) fn run(run: std::ops::Range<Index>) -> Ranges {
    Ranges::one(run)
}

impl Env {
    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    /// The same with other settings.
    pub(crate) fn with(config: Config) -> Self {
        Self {
            machine: Machine::new(config, 1),
            now: Now {
                mono_ms: 77_000,
                wall_ms: 1_000_000,
            },
            disk: Disk::default(),
            workers: BTreeMap::new(),
            replies: Vec::new(),
            ignored: Vec::new(),
            notes: Vec::new(),
            closed: Vec::new(),
            changed: Vec::new(),
            sortings: Vec::new(),
            fed: Vec::new(),
            sorts_late: false,
            config,
            epoch: 1,
            made: 0,
        }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// Handles events in one turn; what is to be sorted then is, in turns of its own.
    pub(crate) fn turn(&mut self, events: impl IntoIterator<Item = Event>) {
        self.one_turn(events);
        if !self.sorts_late {
            self.sort();
        }
    }

    pub(crate) fn one_turn(&mut self, events: impl IntoIterator<Item = Event>) {
        let mut out = Vec::new();
        for event in events {
            self.machine.handle(self.now, event, &mut out);
            self.machine.check();
        }
        self.machine.advance(self.now, &mut out);
        self.machine.check();
        for command in out {
            self.carry_out(command);
        }
    }

    /// Turns until the machine wants no turn at once.
    pub(crate) fn settle(&mut self) {
        while self.machine.next_wake() == Some(self.now.mono_ms) {
            self.turn([]);
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Persist(change) => self.disk.persist(change),
            Command::Reply { to, reply } => self.replies.push((to, reply)),
            Command::Send { session, message } | Command::SendDurable { session, message } => {
                self.deliver(session, message);
            }
            Command::Close { session, refusal } => {
                self.closed.push(refusal);
                for worker in self.workers.values_mut() {
                    if worker.session == Some(session) {
                        worker.session = None;
                    }
                }
            }
            Command::JobChanged(job) => self.changed.push(job),
            Command::Sort(sorting) => self.sortings.push(*sorting),
            Command::Feed(job) => self.fed.push(job),
            Command::Ignored(why) => self.ignored.push(why),
            Command::Note(note) => self.notes.push(note),
        }
    }

    fn deliver(&mut self, session: SessionId, message: ToWorker) {
        let mut workers = self.workers.values_mut();
        let Some(worker) = workers.find(|worker| worker.session == Some(session)) else {
            return;
        };
        match message {
            ToWorker::Welcome(welcome) => {
                let old = std::mem::take(&mut worker.open);
                let mut held = std::mem::take(&mut worker.held);
                for answer in welcome.answers {
                    assert!(old.contains_key(&answer.old_lease));
                    if let Some((lease, kept)) = answer.kept {
                        worker.open.insert(lease, kept);
                        if let Some(mut grant) = held.remove(&answer.old_lease) {
                            grant.head.lease = lease;
                            worker.held.insert(lease, grant);
                        }
                    }
                }
            }
            ToWorker::Version(version) => {
                let known = worker.told.iter().any(|known| known.id == version.id);
                assert!(!known, "{:?} is told once in a session", version.id);
                worker.told.push(version);
            }
            ToWorker::Keep(kept) => {
                for keep in &kept {
                    let known = worker.told.iter().any(|known| known.id == keep.version);
                    assert!(known, "it is told what a version is");
                }
                worker.kept = kept;
            }
            ToWorker::Grant(grant) => {
                let version = grant.head.version;
                let told = |id| worker.told.iter().any(|known| known.id == id);
                assert!(version.is_none_or(told), "it is told what a version is");
                let head = &grant.head;
                worker.open.insert(head.lease, head.indices.clone());
                worker.held.insert(head.lease, grant);
            }
            ToWorker::Ack(number) => worker.acked = number,
            ToWorker::TakeBack { lease, keep } => worker.asked.push((lease, keep)),
            ToWorker::Revoke(leases) => {
                worker.open.retain(|lease, _| !leases.contains(lease));
            }
            ToWorker::Drain => worker.drains = true,
            ToWorker::Invoke(invoke) => worker.invokes.push(invoke),
            ToWorker::InvokeCancel(id) => worker.invokes.retain(|invoke| invoke.id != id),
        }
    }

    /// Moves both clocks, in steps that the engine could have been asleep for;
    /// workers with a session stay alive.
    pub(crate) fn advance(&mut self, ms: u64) {
        self.advance_but(ms, "");
    }

    /// The same, with one worker that stays silent.
    pub(crate) fn advance_but(&mut self, ms: u64, silent: &str) {
        let mut left = ms;
        while left > 0 {
            let step = left.min(500);
            left -= step;
            self.now.mono_ms += step;
            self.now.wall_ms += step;
            let alive = self.workers.iter().filter(|(name, _)| *name != silent);
            let sessions = alive.filter_map(|(_, worker)| worker.session);
            let heard: Vec<Event> = sessions.map(Event::Heard).collect();
            self.turn(heard);
            self.settle();
        }
    }

    /// A worker with the built-in functions connects.
    pub(crate) fn worker(&mut self, name: &str, slots: u32) {
        self.worker_with(name, slots, |_| {});
    }

    pub(crate) fn worker_with(&mut self, name: &str, slots: u32, with: impl FnOnce(&mut Process)) {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.next().to_be_bytes());
        let mut worker = Process {
            id: WorkerId(id),
            session: None,
            slots,
            functions: crate::tables::registry::BUILT_IN.map(str::to_owned).into(),
            labels: Labels::new(),
            runs_programs: true,
            runtimes: Runtimes::NONE,
            holdings: Holdings::default(),
            told: Vec::new(),
            kept: Vec::new(),
            reports: 0,
            held: BTreeMap::new(),
            open: BTreeMap::new(),
            asked: Vec::new(),
            invokes: Vec::new(),
            acked: 0,
            drains: false,
        };
        with(&mut worker);
        self.workers.insert(name.to_owned(), worker);
        self.connect(name);
    }

    /// A known process says hello, with what it holds.
    pub(crate) fn connect(&mut self, name: &str) {
        let session = SessionId(self.next());
        let worker = self.workers.get_mut(name).unwrap();
        worker.session = Some(session);
        worker.reports = 0;
        worker.told.clear();
        worker.kept.clear();
        worker.asked.clear();
        let offers = worker.open.iter().map(|(lease, indices)| Offer {
            lease: *lease,
            job: worker.held[lease].head.job,
            indices: indices.clone(),
            attempt: worker.held[lease].head.attempt,
            version: worker.held[lease].head.version,
            arm: worker.held[lease].head.arm,
        });
        let hello = Hello {
            protocol: limit::PROTOCOL,
            worker: worker.id,
            name: name.to_owned(),
            slots: worker.slots,
            labels: worker.labels.clone(),
            functions: worker.functions.clone(),
            runs_programs: worker.runs_programs,
            runtimes: worker.runtimes,
            holdings: worker.holdings.clone(),
            version: "0.1.0".to_owned(),
            offers: offers.collect(),
        };
        self.turn([Event::Hello {
            session,
            hello: Box::new(hello),
        }]);
    }

    /// A worker's stream breaks; the process lives on.
    pub(crate) fn cut(&mut self, name: &str) {
        let session = self.workers.get_mut(name).unwrap().session.take();
        self.turn(session.map(Event::SessionEnded));
    }

    /// A worker process dies, and its grace passes.
    pub(crate) fn kill(&mut self, name: &str) {
        self.cut(name);
        self.workers.remove(name);
        self.advance(Config::default().reconnect_grace_ms);
    }

    /// The coordinator dies and comes back with what is on its disk.
    pub(crate) fn restart(&mut self) {
        self.epoch += 1;
        for worker in self.workers.values_mut() {
            worker.session = None;
            worker.invokes.clear();
        }
        self.sortings.clear();
        let changes = self.disk.changes();
        self.machine = Machine::restore(self.config, self.epoch, self.now, changes);
        self.machine.check();
        self.settle();
    }

    /// Submits a job over a range.
    pub(crate) fn submit_range(&mut self, count: u32) -> JobId {
        self.submit(count, |_| {})
    }

    /// The same with other wishes.
    pub(crate) fn submit(&mut self, count: u32, with: impl FnOnce(&mut Proposal)) -> JobId {
        match self.propose(count, with) {
            Reply::Created { job, .. } => job.record.id,
            other => panic!("not created: {other:?}"),
        }
    }

    /// The same, with the answer.
    pub(crate) fn propose(&mut self, count: u32, with: impl FnOnce(&mut Proposal)) -> Reply {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.next().to_be_bytes());
        let mut proposal = Proposal {
            id: JobId(id),
            spec: spec("umbel.echo"),
            source: Source::Range { begin: 0, count },
            blocks: Vec::new(),
            seal: true,
            request_id: String::new(),
            content_digest: [0; 32],
            refusal: None,
        };
        with(&mut proposal);
        self.ask(|reply| Event::CreateJob {
            reply,
            proposal: Box::new(proposal),
        })
    }

    /// An open job without inputs that takes blocks.
    pub(crate) fn submit_open(&mut self, start: StartMode) -> JobId {
        self.submit(0, |proposal| {
            proposal.source = Source::Blocks;
            proposal.seal = false;
            proposal.spec.start = start;
        })
    }

    /// Sends an event of a client; gives the answer.
    pub(crate) fn ask(&mut self, event: impl FnOnce(ReplyId) -> Event) -> Reply {
        let to = ReplyId(self.next());
        self.turn([event(to)]);
        self.answer(to).expect("an answer in the same turn")
    }

    pub(crate) fn answer(&mut self, to: ReplyId) -> Option<Reply> {
        let at = self.replies.iter().position(|(other, _)| *other == to)?;
        Some(self.replies.remove(at).1)
    }

    pub(crate) fn refused(&mut self, event: impl FnOnce(ReplyId) -> Event) -> Refusal {
        match self.ask(event) {
            Reply::Refused(refusal) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// A redrive as a shell hands it in.
    pub(crate) fn wish(&self, job: JobId, filter: Filter) -> Redrive {
        Redrive {
            standing: self.disk.standing(job, &filter),
            filter,
            target: None,
            request_id: String::new(),
            refusal: None,
            content_digest: [0; 32],
        }
    }

    /// Redrives a job; gives the answer.
    pub(crate) fn redrive(&mut self, job: JobId, redrive: Redrive) -> Reply {
        let redrive = Box::new(redrive);
        self.ask(|reply| Event::Redrive {
            reply,
            job,
            redrive,
        })
    }

    pub(crate) fn view(&self, job: JobId) -> JobView {
        self.machine.job_view(job).unwrap()
    }

    pub(crate) fn state(&self, job: JobId) -> JobState {
        self.view(job).status.state
    }

    pub(crate) fn counts(&self, job: JobId) -> Counts {
        self.view(job).counts
    }

    /// What a worker holds and has not reported, by lease.
    pub(crate) fn open(&self, name: &str) -> Vec<(LeaseId, Ranges)> {
        let open = self.workers[name].open.iter();
        open.map(|(lease, indices)| (*lease, indices.clone()))
            .collect()
    }

    pub(crate) fn open_len(&self, name: &str) -> u64 {
        self.workers[name].open.values().map(Ranges::len).sum()
    }

    /// A worker says something.
    pub(crate) fn say(&mut self, name: &str, message: FromWorker) {
        let session = self.workers[name].session.expect("a session");
        self.turn([Event::Worker { session, message }]);
    }

    /// A report of what happened under one lease, each attempt of a given time.
    pub(crate) fn report(
        &mut self,
        name: &str,
        lease: LeaseId,
        (succeeded, failed): (Ranges, Vec<FailedAttempt>),
        each_us: u64,
    ) {
        let worker = self.workers.get_mut(name).unwrap();
        let mut reported = succeeded.clone();
        for attempt in &failed {
            reported.insert(attempt.index);
        }
        let attempts = succeeded.len() + failed.len() as u64;
        if let Some(open) = worker.open.get_mut(&lease) {
            *open = open.minus(&reported);
            if open.is_empty() {
                worker.open.remove(&lease);
            }
        }
        worker.reports += 1;
        let mut warm = Histogram::new();
        warm.add_bucket(histogram::bucket(each_us), attempts);
        let report = Report {
            number: worker.reports,
            chunks: vec![ChunkReport {
                begun: Begun {
                    lease,
                    count: u32::try_from(attempts).unwrap(),
                },
                succeeded,
                columns: Bytes::from_static(b"columns"),
                logs: Bytes::new(),
                failed,
                usage: Usage {
                    duration_us: attempts * each_us,
                    cpu_us: attempts,
                    attempts,
                },
                handed_back: Ranges::new(),
                warm,
                cold: Vec::new(),
            }],
        };
        self.say(name, FromWorker::Report(report));
    }

    /// A worker reports all that it holds as succeeded.
    pub(crate) fn report_all(&mut self, name: &str) {
        for (lease, indices) in self.open(name) {
            self.report(name, lease, (indices, Vec::new()), 1_000);
        }
    }

    /// All workers work until nothing changes any more.
    pub(crate) fn work_off(&mut self) {
        let names: Vec<String> = self.workers.keys().cloned().collect();
        loop {
            let mut idle = true;
            for name in &names {
                if self.workers[name].session.is_some() {
                    self.give_back(name);
                    idle &= self.open(name).is_empty();
                    self.report_all(name);
                }
            }
            if idle {
                return;
            }
        }
    }

    /// A worker answers what it was asked to give back, beginning nothing.
    pub(crate) fn give_back(&mut self, name: &str) {
        let worker = self.workers.get_mut(name).unwrap();
        for (lease, keep) in std::mem::take(&mut worker.asked) {
            let worker = self.workers.get_mut(name).unwrap();
            let mut indices = Ranges::new();
            if let Some(open) = worker.open.get_mut(&lease) {
                indices = open.split_off(u64::from(keep));
                if open.is_empty() {
                    worker.open.remove(&lease);
                }
            }
            let begun = Begun { lease, count: 0 };
            self.say(name, FromWorker::TakenBack(TakenBack { begun, indices }));
        }
    }
}

/// A failed attempt.
pub(crate) fn failed(index: Index, kind: FailureKind) -> FailedAttempt {
    FailedAttempt {
        index,
        failure: Failure {
            kind,
            error_type: "ValueError".to_owned(),
            message: "it did not work".to_owned(),
            stderr: String::new(),
        },
        started_at_us: 0,
        duration_us: 10,
        cpu_us: None,
        cold_start: None,
        no_retry: false,
    }
}
