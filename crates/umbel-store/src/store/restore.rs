//! What a restart reads: the changes from which the machine becomes what it was.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use umbel_core::change::Change;
use umbel_core::id::JobId;
use umbel_proto::disk;

use super::scan::{Entries, Item, Items};
use crate::key::{self, Key, Kind, Whole};
use crate::{Engine, Error};

/// The changes of a restart: functions with versions and aliases, request ids that outlive their
/// jobs, jobs, their statuses, then of the jobs that run the blocks
/// by first index and the records by commit, and at last the leases. Records come without columns,
/// since a restart needs no output.
///
/// It reads as it goes, and ends behind the first error.
#[derive(Debug)]
pub struct Changes {
    engine: Arc<dyn Engine>,
    /// Ranges of keys that are still to be read.
    legs: VecDeque<Range<Bytes>>,
    leg: Option<Items>,
    /// Jobs that are being deleted: nothing of them is told.
    deleting: BTreeSet<JobId>,
    /// What the jobs run that have not ended, as far as is known yet.
    running: BTreeMap<JobId, Arc<str>>,
    /// One name for all jobs that run the same.
    names: BTreeSet<Arc<str>>,
    phase: Phase,
}

/// How far the reading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Functions, request ids, jobs and statuses.
    Jobs,
    /// Everything else, of the jobs that run.
    Running,
}

impl Changes {
    pub(super) fn new(engine: &Arc<dyn Engine>) -> Result<Self, Error> {
        let mut deleting = BTreeSet::new();
        for entry in Entries::new(engine, key::all(Kind::Deleting)) {
            if let (Key::Deleting(job), _) = entry? {
                deleting.insert(job);
            }
        }
        Ok(Self {
            engine: Arc::clone(engine),
            legs: [
                Kind::Function,
                Kind::Published,
                Kind::Version,
                Kind::Retired,
                Kind::Alias,
                Kind::ArmCell,
                Kind::ArmMark,
                Kind::Rollout,
                Kind::Request,
                Kind::Job,
                Kind::Status,
            ]
            .map(key::all)
            .into(),
            leg: None,
            deleting,
            running: BTreeMap::new(),
            names: BTreeSet::new(),
            phase: Phase::Jobs,
        })
    }

    /// The next item, from this leg or a later one.
    fn item(&mut self) -> Option<Result<Item, Error>> {
        loop {
            if let Some(item) = self.leg.as_mut().and_then(Iterator::next) {
                return Some(item);
            }
            if self.legs.is_empty() && self.phase == Phase::Jobs {
                self.phase = Phase::Running;
                for kind in [Kind::Appended, Kind::Record] {
                    let legs = self.running.keys().map(|job| key::under(kind, *job));
                    self.legs.extend(legs);
                }
                self.legs.push_back(key::all(Kind::Lease));
            }
            self.leg = Some(Items::new(&self.engine, self.legs.pop_front()?));
        }
    }

    /// The change that an item tells; nothing when its job is being deleted.
    fn change(&mut self, item: Item) -> Result<Option<Change>, Error> {
        Ok(match item {
            Item::Short(Key::Function(name), _) => Some(Change::FunctionSeen(name)),
            Item::Short(Key::Request(request_id), value) => Some(Change::RequestKept {
                request_id,
                kept: disk::decode_request(value)?,
            }),
            Item::Whole(Whole::Job(job), _) if self.deleting.contains(&job) => None,
            Item::Whole(Whole::Job(job), value) => {
                let record = disk::decode_job(job, value)?;
                let name = self.name(&record.spec.target.name());
                self.running.insert(job, name);
                Some(Change::JobCreated(Arc::new(record)))
            }
            Item::Short(Key::Status(job), value) => {
                let status = disk::decode_status(value)?;
                let known = if status.state.is_final() {
                    self.running.remove(&job).is_some()
                } else {
                    self.running.contains_key(&job)
                };
                known.then_some(Change::JobStatus { job, status })
            }
            Item::Short(Key::Appended(job, block), value) => {
                let block = disk::decode_appended(block.first, block.appender, value)?;
                Some(Change::Appended { job, block })
            }
            Item::Whole(Whole::Record(job, _), value) => match self.running.get(&job) {
                Some(function) => {
                    let stored = disk::decode_record(job, Arc::clone(function), value)?;
                    let mut record = stored.record;
                    record.columns = Bytes::new();
                    Some(Change::Recorded(Box::new(record)))
                }
                None => None,
            },
            Item::Short(Key::Lease(lease), value) => {
                Some(Change::Granted(disk::decode_lease(lease, value)?))
            }
            Item::Short(key, value) => of_function(key, value)?,
            Item::Whole(..) => None,
        })
    }

    fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        self.names.insert(Arc::clone(&name));
        name
    }
}

/// The change that an item of a published function tells.
fn of_function(key: Key, value: Bytes) -> Result<Option<Change>, Error> {
    Ok(match key {
        Key::Published(name) => Some(Change::Function(disk::decode_function(name, value)?)),
        Key::Version(id) => {
            let version = disk::decode_version(id, value)?;
            Some(Change::Published(Arc::new(version)))
        }
        Key::Retired(id) => Some(Change::VersionRetired {
            id,
            at_ms: disk::decode_retired(value)?,
        }),
        Key::Alias(function, name) => Some(Change::AliasMoved(disk::decode_alias(
            function, name, value,
        )?)),
        Key::Rollout(function, alias) => {
            let rollout = disk::decode_rollout(function, alias, value)?;
            Some(Change::Rollout(Box::new(rollout)))
        }
        Key::ArmCell(arm, begin_ms) => {
            let figures = disk::decode_arm_cell(value)?;
            Some(Change::ArmCell {
                arm,
                begin_ms,
                figures: Some(Box::new(figures)),
            })
        }
        Key::ArmMark(arm) => {
            let (at_ms, figures) = disk::decode_arm_mark(value)?;
            Some(Change::ArmMarked {
                arm,
                at_ms,
                figures: Box::new(figures),
            })
        }
        _ => None,
    })
}

impl Iterator for Changes {
    type Item = Result<Change, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let item = self.item()?;
            match item.and_then(|item| self.change(item)) {
                Ok(Some(change)) => return Some(Ok(change)),
                Ok(None) => {}
                Err(error) => {
                    self.leg = None;
                    self.legs.clear();
                    self.phase = Phase::Running;
                    return Some(Err(error));
                }
            }
        }
    }
}
