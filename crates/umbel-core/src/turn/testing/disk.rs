//! What the store would have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::functions::content_of;
use crate::arm::ArmFigures;
use crate::change::{Change, JobRecord, JobStatus, KeptRequest, LeaseRecord, Record};
use crate::function::{Alias, FunctionRecord, Version, VersionId};
use crate::id::{Index, JobId, LeaseId};
use crate::job::BlockRef;
use crate::redrive::{Filter, Standing};
use crate::rollout::Rollout;
use crate::route::ArmId;

/// What the store would have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    functions: BTreeSet<String>,
    requests: BTreeMap<String, KeptRequest>,
    published: BTreeMap<String, FunctionRecord>,
    versions: BTreeMap<VersionId, (Arc<Version>, Option<u64>)>,
    aliases: BTreeMap<(String, String), Alias>,
    pub(crate) rollouts: BTreeMap<(String, String), Rollout>,
    pub(crate) arm_cells: BTreeMap<(ArmId, u64), Box<ArmFigures>>,
    pub(crate) arm_marks: BTreeMap<ArmId, (u64, Box<ArmFigures>)>,
    /// The artifacts by what is in them.
    pub(crate) artifacts: BTreeSet<String>,
    jobs: BTreeMap<JobId, (Arc<JobRecord>, Option<JobStatus>)>,
    blocks: BTreeMap<(JobId, Index), BlockRef>,
    records: Vec<Record>,
    pub(crate) leases: BTreeMap<LeaseId, LeaseRecord>,
    /// How each ended the last time, and under which redrive number.
    pub(crate) ended: BTreeMap<(JobId, Index), &'static str>,
    under: BTreeMap<(JobId, Index), u32>,
}

impl Disk {
    pub(super) fn persist(&mut self, change: Change) {
        match change {
            Change::FunctionSeen(name) => assert!(self.functions.insert(name), "seen once"),
            Change::Function(_)
            | Change::FunctionRemoved(_)
            | Change::Published(_)
            | Change::VersionRetired { .. }
            | Change::VersionRemoved(_)
            | Change::ArtifactRemoved(_)
            | Change::AliasMoved(_)
            | Change::AliasRemoved { .. } => self.persist_function(change),
            Change::ArmCell { .. } | Change::ArmMarked { .. } | Change::ArmForgotten(_) => {
                self.persist_arm(change);
            }
            Change::Rollout(rollout) => {
                let key = (rollout.function.clone(), rollout.alias.clone());
                self.rollouts.insert(key, *rollout);
            }
            Change::RolloutRemoved { function, alias } => {
                assert!(self.rollouts.remove(&(function, alias)).is_some());
            }
            Change::JobCreated(record) => {
                self.jobs.insert(record.id, (record, None));
            }
            Change::JobStatus { job, status } => self.jobs.get_mut(&job).unwrap().1 = Some(status),
            Change::Appended { job, block } => {
                self.blocks.insert((job, block.first), block);
            }
            Change::Granted(lease) => {
                self.leases.insert(lease.lease, lease);
            }
            Change::LeaseEnded(lease) => {
                assert!(self.leases.remove(&lease).is_some(), "{lease} ends once");
            }
            Change::Recorded(record) => self.record(*record),
            Change::RequestKept { request_id, kept } => {
                self.requests.insert(request_id, kept);
            }
            Change::RequestForgotten(request_id) => {
                assert!(self.requests.remove(&request_id).is_some());
            }
            Change::JobDeleted(job) => {
                self.jobs.remove(&job);
                self.records.retain(|record| record.job != job);
                self.blocks.retain(|(other, _), _| *other != job);
            }
        }
    }

    fn persist_arm(&mut self, change: Change) {
        match change {
            Change::ArmCell {
                arm,
                begin_ms,
                figures: Some(figures),
            } => drop(self.arm_cells.insert((arm, begin_ms), figures)),
            Change::ArmCell { arm, begin_ms, .. } => {
                self.arm_cells.remove(&(arm, begin_ms));
            }
            Change::ArmMarked {
                arm,
                at_ms,
                figures,
            } => drop(self.arm_marks.insert(arm, (at_ms, figures))),
            Change::ArmForgotten(arm) => {
                assert!(self.arm_cells.keys().all(|(other, _)| *other != arm));
                self.arm_marks.remove(&arm);
            }
            other => panic!("not about arms: {other:?}"),
        }
    }

    fn persist_function(&mut self, change: Change) {
        match change {
            Change::Function(record) => {
                self.published.insert(record.name.clone(), record);
            }
            Change::FunctionRemoved(name) => {
                let gone = self.published.remove(&name);
                assert!(gone.is_some_and(|record| record.deleted), "{name} is over");
                let mut versions = self.versions.values();
                assert!(!versions.any(|(version, _)| version.function == name));
            }
            Change::Published(version) => {
                self.artifacts.insert(content_of(version.artifact.upload));
                self.versions.insert(version.id, (version, None));
            }
            Change::VersionRetired { id, at_ms } => {
                self.versions.get_mut(&id).unwrap().1 = Some(at_ms);
            }
            Change::VersionRemoved(id) => {
                let gone = self.versions.remove(&id);
                assert!(gone.is_some(), "{id:?} is removed once");
            }
            Change::ArtifactRemoved(upload) => {
                let content = content_of(upload);
                let uses = |(version, _): &(Arc<Version>, _)| version.artifact.upload == upload;
                assert!(!self.versions.values().any(uses), "nothing needs {content}");
                assert!(self.artifacts.remove(&content), "{content} is removed once");
            }
            Change::AliasMoved(alias) => {
                let key = (alias.function.clone(), alias.name.clone());
                self.aliases.insert(key, alias);
            }
            Change::AliasRemoved { function, name } => {
                self.aliases.remove(&(function, name));
            }
            other => panic!("not about functions: {other:?}"),
        }
    }

    /// The version that each invocation of a job ended with, in the order of the indices.
    pub(crate) fn versions_of(&self, job: JobId) -> Vec<Option<u32>> {
        let mut versions = BTreeMap::new();
        for record in self.records.iter().filter(|record| record.job == job) {
            let failed = record.failed.iter().map(|failed| failed.index);
            let ended = record.succeeded.indices().chain(failed);
            versions.extend(ended.map(|index| (index, record.version)));
        }
        versions.into_values().collect()
    }

    /// The names of deleted functions of which something is kept.
    pub(crate) fn deleted(&self) -> Vec<&str> {
        let deleted = self.published.values().filter(|record| record.deleted);
        deleted.map(|record| record.name.as_str()).collect()
    }

    /// The arm that each invocation of a job ended for, in the order of the indices.
    pub(crate) fn arms_of(&self, job: JobId) -> Vec<String> {
        let mut arms = BTreeMap::new();
        for record in self.records.iter().filter(|record| record.job == job) {
            let failed = record.failed.iter().map(|failed| failed.index);
            let ended = record.succeeded.indices().chain(failed);
            let arm = record.arm.as_ref().map_or("", |arm| &arm.name);
            arms.extend(ended.map(|index| (index, arm.to_owned())));
        }
        arms.into_values().collect()
    }

    /// How many versions are kept.
    pub(crate) fn version_len(&self) -> usize {
        self.versions.len()
    }

    fn record(&mut self, record: Record) {
        let failed = record.failed.iter().map(|failed| (failed.index, "failed"));
        let succeeded = record.succeeded.indices().map(|index| (index, "succeeded"));
        let cancelled = record.cancelled.indices().map(|index| (index, "cancelled"));
        for (index, how) in failed.chain(succeeded).chain(cancelled) {
            let before = self.under.insert((record.job, index), record.redrive);
            assert!(
                before.is_none_or(|before| before < record.redrive),
                "{index} of {} ended twice under {}",
                record.job,
                record.redrive
            );
            self.ended.insert((record.job, index), how);
        }
        assert!(record.succeeded.minus(&record.reported).is_empty());
        self.records.push(record);
    }

    /// What a shell reads of an ended job.
    pub(super) fn standing(&self, job: JobId, filter: &Filter) -> Standing {
        let redrives = self.jobs.get(&job).and_then(|(_, status)| status.clone());
        let blocks = self.blocks.range((job, 0)..=(job, Index::MAX));
        let mut standing = Standing {
            redrives: redrives.map_or(0, |status| status.redrives),
            blocks: blocks.map(|(_, block)| *block).collect(),
            ..Standing::default()
        };
        for record in self.records.iter().filter(|record| record.job == job) {
            standing.take(record, filter);
        }
        standing
    }

    /// What a restore is fed with, in its order.
    pub(super) fn changes(&self) -> Vec<Change> {
        let functions = self.functions.iter().cloned().map(Change::FunctionSeen);
        let mut changes: Vec<Change> = functions.collect();
        let requests = self.requests.iter();
        changes.extend(requests.map(|(request_id, kept)| Change::RequestKept {
            request_id: request_id.clone(),
            kept: *kept,
        }));
        let published = self.published.values().cloned();
        changes.extend(published.map(Change::Function));
        for (version, retired_ms) in self.versions.values() {
            let id = version.id;
            changes.push(Change::Published(version.clone()));
            changes.extend(retired_ms.map(|at_ms| Change::VersionRetired { id, at_ms }));
        }
        changes.extend(self.aliases.values().cloned().map(Change::AliasMoved));
        let rollouts = self.rollouts.values().cloned();
        changes.extend(rollouts.map(|rollout| Change::Rollout(Box::new(rollout))));
        let cells = self.arm_cells.iter();
        changes.extend(cells.map(|(&(arm, begin_ms), figures)| Change::ArmCell {
            arm,
            begin_ms,
            figures: Some(figures.clone()),
        }));
        let marks = self.arm_marks.iter();
        changes.extend(marks.map(|(&arm, (at_ms, figures))| Change::ArmMarked {
            arm,
            at_ms: *at_ms,
            figures: figures.clone(),
        }));
        let jobs = self.jobs.values();
        changes.extend(jobs.map(|(record, _)| Change::JobCreated(record.clone())));
        let mut running = BTreeSet::new();
        for (id, (_, status)) in &self.jobs {
            let status = status.clone().unwrap();
            if !status.state.is_final() {
                running.insert(*id);
            }
            changes.push(Change::JobStatus { job: *id, status });
        }
        for ((job, _), block) in &self.blocks {
            let (job, block) = (*job, *block);
            changes.push(Change::Appended { job, block });
        }
        let records = self
            .records
            .iter()
            .filter(|record| running.contains(&record.job));
        changes.extend(records.map(|record| Change::Recorded(Box::new(record.clone()))));
        changes.extend(self.leases.values().cloned().map(Change::Granted));
        changes
    }
}
