//! All that the machine knows, each kind in a table of its own. A table keeps its
//! own invariants and never touches another; a turn may touch many.

pub(crate) mod alarms;
pub(crate) mod arms;
pub(crate) mod backlog;
pub(crate) mod clock;
pub(crate) mod demands;
pub(crate) mod figures;
pub(crate) mod functions;
pub(crate) mod invokes;
pub(crate) mod job;
pub(crate) mod jobs;
pub(crate) mod leases;
pub(crate) mod pace;
pub(crate) mod paces;
pub(crate) mod registry;
pub(crate) mod requests;
pub(crate) mod rollouts;
pub(crate) mod roster;
pub(crate) mod sorted;

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Config;
use crate::function::VersionId;
use crate::id::{InvokeId, JobId, LeaseId, WorkerId};
use crate::route::ArmId;

use alarms::Alarms;
use arms::Arms;
use clock::Clock;
use demands::{Demands, GroupId};
use figures::Figures;
use functions::Functions;
use invokes::Invokes;
use jobs::Jobs;
use leases::Leases;
use paces::Paces;
use registry::Registry;
use requests::Requests;
use rollouts::Rollouts;
use roster::Roster;

/// All tables.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) config: Config,
    pub(crate) epoch: u32,
    pub(crate) clock: Clock,
    pub(crate) jobs: Jobs,
    pub(crate) requests: Requests,
    pub(crate) leases: Leases,
    pub(crate) roster: Roster,
    pub(crate) registry: Registry,
    pub(crate) functions: Functions,
    pub(crate) paces: Paces,
    pub(crate) figures: Figures,
    pub(crate) arms: Arms,
    pub(crate) rollouts: Rollouts,
    pub(crate) demands: Demands,
    pub(crate) invokes: Invokes,
    pub(crate) alarms: AllAlarms,
    pub(crate) marks: Marks,
    pub(crate) reclaim: Reclaim,
    /// Workers kept from new work until they can take a suspect that must be alone.
    pub(crate) reserved: BTreeMap<WorkerId, GroupId>,
}

/// When to look at what.
#[derive(Debug, Default)]
pub(crate) struct AllAlarms {
    /// In engine time: silence and graces of workers.
    pub(crate) workers: Alarms<WorkerId>,
    /// In engine time: idle uploads, and work that nobody can run.
    pub(crate) jobs: Alarms<JobId>,
    /// By the wall clock: deadlines and backoffs.
    pub(crate) walls: Alarms<JobId>,
    /// In engine time: timeouts of invokes.
    pub(crate) invokes: Alarms<InvokeId>,
    /// By the wall clock: steps of rollouts, by their candidates.
    pub(crate) rollouts: Alarms<ArmId>,
}

/// What this turn has touched, to be looked at once when it ends.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// Jobs whose place in line and alarms may have changed.
    pub(crate) jobs: BTreeSet<JobId>,
    /// Workers whose load may have changed.
    pub(crate) workers: BTreeSet<WorkerId>,
    /// Jobs whose view has changed.
    pub(crate) shown: BTreeSet<JobId>,
    /// Retired versions that may be needed no more.
    pub(crate) retired: BTreeSet<VersionId>,
    /// Functions of which nothing may be left but the record.
    pub(crate) spent: BTreeSet<String>,
    /// Jobs that want inputs sorted by what a route says of them.
    pub(crate) unsorted: BTreeSet<JobId>,
    /// Something may wait for a version that was rolled back.
    pub(crate) recall: bool,
    /// What versions are to stand ready may have changed for all workers.
    pub(crate) kept: bool,
    /// These workers were not told yet.
    pub(crate) newcomers: BTreeSet<WorkerId>,
    /// The turn met a bound; the next one is due at once.
    pub(crate) more: bool,
}

/// What is left of the leases of an earlier epoch.
#[derive(Debug, Default)]
pub(crate) struct Reclaim {
    /// Until when they are held back, in engine time.
    pub(crate) until_ms: Option<u64>,
    /// Leases whose invocations are held back, by their worker.
    pub(crate) leases: BTreeMap<WorkerId, Vec<LeaseId>>,
    /// The jobs they belong to.
    pub(crate) jobs: BTreeMap<WorkerId, BTreeSet<JobId>>,
    /// Leases that hold nothing back; the store need not keep them.
    pub(crate) void: Vec<LeaseId>,
}

impl Tables {
    /// Tables that know nothing.
    pub(crate) fn new(config: Config, epoch: u32) -> Self {
        Self {
            config,
            epoch,
            clock: Clock::default(),
            jobs: Jobs::default(),
            requests: Requests::default(),
            leases: Leases::new(epoch),
            roster: Roster::default(),
            registry: Registry::default(),
            functions: Functions::default(),
            paces: Paces::default(),
            figures: Figures::default(),
            arms: Arms::default(),
            rollouts: Rollouts::default(),
            demands: Demands::default(),
            invokes: Invokes::default(),
            alarms: AllAlarms::default(),
            marks: Marks::default(),
            reclaim: Reclaim::default(),
            reserved: BTreeMap::new(),
        }
    }

    /// Something that needed a version needs it no more.
    pub(crate) fn release(&mut self, version: VersionId) {
        if !self.functions.takes_jobs(version) {
            self.marks.retired.insert(version);
        }
    }

    /// A job's place in line may have changed.
    pub(crate) fn touch(&mut self, job: JobId) {
        self.marks.jobs.insert(job);
    }

    /// A job's view has changed, and perhaps its place in line.
    pub(crate) fn show(&mut self, job: JobId) {
        self.marks.jobs.insert(job);
        self.marks.shown.insert(job);
    }
}
