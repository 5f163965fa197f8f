//! Published functions by what changes have said: what each target meant, what took jobs, and what
//! was needed, read as simply as possible and apart from the system.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use umbel_core::change::Change;
use umbel_core::function::{Alias, FunctionRecord, LIVE, Qualifier, Version, VersionId};
use umbel_core::history::History;
use umbel_core::job::Target;
use umbel_core::rollout::{Rollout, RolloutState};
use umbel_core::route::{ArmId, Plan};

use super::ledger::{Cell, JobCells, Ledger};

/// A way that a target leads: the arm that decides, if one does, and the version.
pub(crate) type Way = (Option<ArmId>, Option<VersionId>);

/// Functions, versions, aliases and rollouts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Published {
    functions: BTreeMap<String, FunctionRecord>,
    versions: BTreeMap<VersionId, Arc<Version>>,
    retired_ms: BTreeMap<VersionId, u64>,
    aliases: BTreeMap<(String, String), Alias>,
    rollouts: BTreeMap<(String, String), Rollout>,
    /// When versions were retired, in changes; those too that are forgotten.
    retired: BTreeMap<VersionId, u64>,
    /// All that ever had a number of a function.
    numbers: BTreeMap<(String, u32), Vec<Arc<Version>>>,
    last_id: u32,
}

impl Published {
    /// Whether a version takes new jobs.
    pub(crate) fn takes_jobs(&self, id: VersionId) -> bool {
        self.versions.contains_key(&id) && !self.retired_ms.contains_key(&id)
    }

    /// Which version a target means, if it takes jobs.
    pub(crate) fn now(&self, target: &Target) -> Option<VersionId> {
        let (function, number) = match target {
            Target::Version(name, Qualifier::Version(number)) => (name.as_str(), *number),
            other => (other.function()?, self.alias(other)?.route.to),
        };
        let found = self.numbered(function, number)?.id;
        self.takes_jobs(found).then_some(found)
    }

    /// The alias that a target goes through.
    fn alias(&self, target: &Target) -> Option<&Alias> {
        let (function, alias) = match target {
            Target::Function(name) => (name, LIVE),
            Target::Version(name, Qualifier::Alias(alias)) => (name, alias.as_str()),
            Target::Version(_, Qualifier::Version(_)) | Target::Program(_) => return None,
        };
        self.aliases.get(&(function.clone(), alias.to_owned()))
    }

    /// The rules and the split that decide for a target.
    pub(super) fn plan(&self, target: &Target) -> Option<&Plan> {
        self.alias(target)?.route.plan.as_deref()
    }

    /// All ways that a target may lead now.
    pub(super) fn ways(&self, target: &Target) -> BTreeSet<Way> {
        let mut ways = BTreeSet::new();
        let plan = self.plan(target);
        // A split leaves nothing open.
        if plan.is_none_or(|plan| plan.split.is_none()) {
            ways.insert((None, self.now(target)));
        }
        for (arm, _, target) in plan.into_iter().flat_map(Plan::targets) {
            // Routes of the simulation name versions by their numbers.
            ways.insert((Some(arm), self.now(target)));
        }
        ways
    }

    /// Whether an alias knows the name of an arm.
    pub(crate) fn has_arm(&self, arm: ArmId) -> bool {
        let mut aliases = self.aliases.values();
        aliases.any(|alias| alias.arms.contains_key(&arm))
    }

    /// Where what fails on an arm goes before it is final, if a version is rolled out there and is
    /// not promoted, and whether it must.
    pub(crate) fn refuge(&self, arm: Option<ArmId>) -> Option<(Way, bool)> {
        let mut rollouts = self.rollouts.values();
        let rollout = rollouts.find(|rollout| Some(rollout.candidate) == arm)?;
        let there = self.versions.contains_key(&rollout.stable_version);
        let must = matches!(
            rollout.state,
            RolloutState::Advancing | RolloutState::Paused
        );
        let way = (Some(rollout.stable), Some(rollout.stable_version));
        (there && rollout.state != RolloutState::Promoted).then_some((way, must))
    }

    pub(crate) fn numbered(&self, function: &str, number: u32) -> Option<&Arc<Version>> {
        let mut versions = self.versions.values();
        versions.find(|version| version.function == function && version.number == number)
    }

    pub(crate) fn version(&self, id: VersionId) -> Option<&Arc<Version>> {
        self.versions.get(&id)
    }

    /// All that ever had this number.
    pub(crate) fn ever(&self, function: &str, number: u32) -> &[Arc<Version>] {
        let found = self.numbers.get(&(function.to_owned(), number));
        found.map_or(&[], Vec::as_slice)
    }

    /// Whether a version was retired before something that happened at a change.
    pub(crate) fn was_retired_before(&self, id: VersionId, change: u64) -> bool {
        self.retired.get(&id).is_some_and(|at| *at <= change)
    }

    /// The newest id that was ever given.
    pub(crate) fn last_id(&self) -> VersionId {
        VersionId(self.last_id)
    }

    fn function(&mut self, record: &FunctionRecord) {
        let name = &record.name;
        let known = self.functions.insert(name.clone(), record.clone());
        if record.deleted {
            assert!(
                known.is_some_and(|known| !known.deleted),
                "{name} is over once"
            );
            let mut left = self.versions.values();
            assert!(
                !left.any(|v| v.function == *name && self.takes_jobs(v.id)),
                "a deleted function has no version that takes jobs"
            );
            let mut aliases = self.aliases.keys();
            assert!(
                !aliases.any(|(function, _)| function == name),
                "a deleted function has no alias"
            );
            return;
        }
        if let Some(known) = &known
            && record.last_arm > known.last_arm
        {
            let last = (record.last_number, record.last_id);
            assert_eq!(last, (known.last_number, known.last_id), "{name} has arms");
            return;
        }
        let last = known.map_or(0, |known| known.last_number);
        assert_eq!(record.last_number, last + 1, "{name} is numbered on");
        assert!(record.last_id.0 > self.last_id, "no id is given twice");
    }

    fn publish(&mut self, version: &Arc<Version>) {
        let record = self.functions.get(&version.function);
        let given = record.map(|record| (record.last_number, record.last_id, record.deleted));
        assert_eq!(
            given,
            Some((version.number, version.id, false)),
            "as its function says"
        );
        self.last_id = version.id.0;
        let key = (version.function.clone(), version.number);
        self.numbers.entry(key).or_default().push(version.clone());
        self.versions.insert(version.id, version.clone());
    }

    fn move_alias(&mut self, alias: &Alias) {
        let to = self.numbered(&alias.function, alias.route.to);
        assert!(
            to.is_some_and(|to| self.takes_jobs(to.id)),
            "{}@{} points at what takes no jobs",
            alias.function,
            alias.name
        );
        let targets = alias.route.plan.iter().flat_map(|plan| plan.targets());
        for (arm, name, target) in targets {
            assert!(
                self.now(target).is_some(),
                "the arm {arm:?} ({name}) of {}@{} leads to {target:?}",
                alias.function,
                alias.name
            );
        }
        let split = alias.route.plan.iter().find_map(|plan| plan.split.as_ref());
        assert!(
            split.is_none_or(|split| split.is_whole()),
            "each bucket is in one arm: {split:?}"
        );
        let key = (alias.function.clone(), alias.name.clone());
        self.aliases.insert(key, alias.clone());
    }

    fn roll_out(&mut self, rollout: &Rollout) {
        let key = (rollout.function.clone(), rollout.alias.clone());
        assert!(self.aliases.contains_key(&key), "{key:?} is rolled out");
        let before = self.rollouts.insert(key, rollout.clone());
        let before = before.filter(|before| !before.state.is_over());
        let same = |before: &Rollout| {
            (before.candidate, before.started_ms) == (rollout.candidate, rollout.started_ms)
        };
        assert!(
            before.is_none_or(|before| same(&before) && rollout.step >= before.step),
            "a rollout under way goes on: {rollout:?}"
        );
    }

    fn remove(&mut self, id: VersionId) {
        assert!(
            self.retired_ms.remove(&id).is_some(),
            "{id:?} took jobs and is removed"
        );
        self.versions.remove(&id);
    }

    /// What a restart is told is what was said.
    pub(crate) fn restored(&self, changes: &[Change]) {
        let mut found = Self::default();
        for change in changes {
            match change {
                Change::Function(record) => {
                    found.functions.insert(record.name.clone(), record.clone());
                }
                Change::Published(version) => {
                    found.versions.insert(version.id, version.clone());
                }
                Change::VersionRetired { id, at_ms } => {
                    found.retired_ms.insert(*id, *at_ms);
                }
                Change::AliasMoved(alias) => {
                    let key = (alias.function.clone(), alias.name.clone());
                    found.aliases.insert(key, alias.clone());
                }
                Change::Rollout(rollout) => {
                    let key = (rollout.function.clone(), rollout.alias.clone());
                    found.rollouts.insert(key, Rollout::clone(rollout));
                }
                _ => {}
            }
        }
        assert_eq!(found.functions, self.functions, "functions come back");
        assert_eq!(found.versions, self.versions, "versions come back");
        assert_eq!(
            found.retired_ms, self.retired_ms,
            "what was retired comes back so"
        );
        assert_eq!(found.aliases, self.aliases, "aliases come back");
        assert_eq!(found.rollouts, self.rollouts, "rollouts come back");
    }
}

impl Ledger {
    /// Takes in what is about published functions.
    pub(super) fn apply_published(&mut self, change: &Change) {
        match change {
            Change::Function(record) => self.published.function(record),
            Change::FunctionRemoved(name) => self.forget_function(name),
            Change::Published(version) => self.published.publish(version),
            Change::VersionRetired { id, at_ms } => {
                assert!(self.published.takes_jobs(*id), "{id:?} is retired once");
                self.published.retired_ms.insert(*id, *at_ms);
                self.published.retired.insert(*id, self.changes);
            }
            Change::VersionRemoved(id) => {
                let mut jobs = self.jobs.values();
                let needs = jobs.find(|job| self.needs(job, *id));
                assert!(
                    needs.is_none(),
                    "{id:?} is removed, and job {:?} needs it",
                    needs.map(|job| job.record.id)
                );
                self.published.remove(*id);
            }
            Change::ArtifactRemoved(upload) => {
                let mut versions = self.published.versions.values();
                assert!(
                    !versions.any(|version| version.artifact.upload == *upload),
                    "the artifact {upload:?} is removed, and a version is made of it"
                );
            }
            Change::AliasMoved(alias) => self.published.move_alias(alias),
            Change::AliasRemoved { function, name } => {
                self.freeze(function, name);
                let key = (function.clone(), name.clone());
                assert!(
                    self.published.aliases.remove(&key).is_some(),
                    "it was there"
                );
            }
            Change::Rollout(rollout) => self.published.roll_out(rollout),
            Change::RolloutRemoved { function, alias } => {
                let key = (function.clone(), alias.clone());
                assert!(
                    self.published.rollouts.remove(&key).is_some(),
                    "it was there"
                );
            }
            other => panic!("not about functions: {other:?}"),
        }
    }

    fn forget_function(&mut self, name: &str) {
        let known = self.published.functions.remove(name);
        assert!(
            known.is_some_and(|known| known.deleted),
            "{name} was deleted"
        );
        let mut versions = self.published.versions.values();
        assert!(!versions.any(|version| version.function == name));
        let names = |job: &JobCells| job.status.target(&job.record).function() == Some(name);
        let job = self.jobs.values().find(|job| names(job));
        assert!(
            job.is_none(),
            "{name} is forgotten, and job {:?} names it",
            job.map(|job| job.record.id)
        );
    }

    /// An alias goes with its function: what runs keeps the version that it meant.
    fn freeze(&mut self, function: &str, alias: &str) {
        for job in self.jobs.values_mut().filter(|job| job.runs()) {
            let target = job.status.target(&job.record);
            let through = match target {
                Target::Function(name) => name == function && alias == LIVE,
                Target::Version(name, Qualifier::Alias(named)) => {
                    name == function && named == alias
                }
                Target::Version(..) | Target::Program(_) => false,
            };
            if through && job.keeps.is_none() {
                job.keeps = self.published.now(target);
                job.ways = self.published.ways(target);
            }
        }
    }

    /// The version that all of a new job or redrive keeps to.
    pub(super) fn pin(&self, job: &JobCells) -> Option<VersionId> {
        let target = job.status.target(&job.record);
        let by_number = matches!(target, Target::Version(_, Qualifier::Version(_)));
        let pins = self.pins.contains(&job.record.id.0[15]);
        self.published.now(target).filter(|_| by_number || pins)
    }

    /// The ways that all of a new job or redrive keeps to.
    pub(super) fn pinned_ways(&self, job: &JobCells) -> BTreeSet<Way> {
        let target = job.status.target(&job.record);
        match job.keeps {
            Some(_) => self.published.ways(target),
            None => BTreeSet::new(),
        }
    }

    /// Whether a running job may still run a version.
    fn needs(&self, job: &JobCells, id: VersionId) -> bool {
        let waits = |cell: &Cell| matches!(cell, Cell::Waiting { history, .. } if history.version == Some(id));
        let mut leases = self.leases.values();
        job.runs()
            && (job.keeps == Some(id)
                || job.ways.iter().any(|(_, version)| *version == Some(id))
                || job.cells.iter().any(waits)
                || leases.any(|lease| {
                    lease.job == job.record.id
                        && lease.version == Some(id)
                        && !job.is_outdated(lease.lease)
                }))
    }

    /// A lease runs the version that its invocations keep, or what their job means now, and nothing
    /// that was deleted before the job was accepted or redriven.
    pub(super) fn judge_version(&mut self, lease: &umbel_core::change::LeaseRecord) {
        let Some(job) = self.jobs.get(&lease.job) else {
            panic!("a lease of job {}, which is not there", lease.job)
        };
        let found: Way = (lease.arm, lease.version);
        let meant = match job.keeps {
            Some(_) => job.ways.clone(),
            None => self.published.ways(job.status.target(&job.record)),
        };
        for index in lease.indices.indices() {
            let Some(Cell::Waiting { history, .. }) = job.cells.get(index as usize) else {
                panic!("{index} of job {} is leased and does not wait", lease.job)
            };
            // An arm that is gone is not believed any more.
            let again = job.granted.get(&index).is_some_and(|granted| {
                let mut granted = granted.iter();
                granted.any(|way| *way == found || (None, way.1) == found)
            });
            let right = match history.version {
                Some(_) => {
                    // What comes back from a version that was rolled back goes to the old one.
                    let refuge = self.published.refuge(history.arm);
                    let back = refuge.filter(|(_, must)| !must).map(|(way, _)| way);
                    found == (history.arm, history.version) || Some(found) == back
                }
                // What failed before its name was published is dealt by no split.
                None if *history != History::FRESH && found.0.is_none() => {
                    meant.iter().any(|(_, version)| *version == found.1)
                        || found.1 == self.published.now(job.status.target(&job.record))
                        || again
                }
                None => meant.contains(&found) || again,
            };
            assert!(
                right,
                "{index} of job {} is leased as {found:?}; it waits as {history:?} and means {meant:?}",
                lease.job
            );
        }
        if let Some(id) = lease.version {
            assert!(
                !self.published.was_retired_before(id, job.since),
                "job {} is new and runs the deleted version {id:?}",
                lease.job
            );
        }
        if let Some(job) = self.jobs.get_mut(&lease.job) {
            for index in lease.indices.indices() {
                job.granted.entry(index).or_default().insert(found);
            }
        }
    }

    /// What was granted stays so, though the coordinator that did is forgotten.
    pub(super) fn remember_grants(&mut self, before: &Self) {
        for (id, job) in &mut self.jobs {
            if let Some(before) = before.jobs.get(id) {
                job.granted.clone_from(&before.granted);
            }
        }
    }

    /// What a restart holds back keeps the version of its lease.
    pub(super) fn hold(&mut self) {
        for job in self.jobs.values_mut() {
            job.held.clear();
        }
        for lease in self.leases.values() {
            let job = self.jobs.get_mut(&lease.job);
            if let Some(job) = job.filter(|job| !job.is_outdated(lease.lease))
                && let Some(version) = lease.version
            {
                for index in lease.indices.indices() {
                    job.held.insert(index, (lease.arm, Some(version)));
                }
            }
        }
    }
}

/// The jobs that a plan pins, by their numbers.
pub(crate) type Pins = Arc<BTreeSet<u8>>;
