//! What the store would have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::change::{Change, JobRecord, JobStatus, KeptRequest, LeaseRecord, Record};
use crate::id::{Index, JobId, LeaseId};
use crate::job::BlockRef;
use crate::redrive::Standing;

/// What the store would have.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    functions: BTreeSet<String>,
    requests: BTreeMap<String, KeptRequest>,
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
    pub(super) fn standing(&self, job: JobId, types: &BTreeSet<String>) -> Standing {
        let redrives = self.jobs.get(&job).and_then(|(_, status)| status.clone());
        let blocks = self.blocks.range((job, 0)..=(job, Index::MAX));
        let mut standing = Standing {
            redrives: redrives.map_or(0, |status| status.redrives),
            blocks: blocks.map(|(_, block)| *block).collect(),
            ..Standing::default()
        };
        for record in self.records.iter().filter(|record| record.job == job) {
            standing.take(record, types);
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
