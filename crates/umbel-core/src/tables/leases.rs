//! What is promised to which worker. Sums by job and by worker are kept beside
//! the leases and change only here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::demands::GroupId;
use crate::history::History;
use crate::id::{JobId, LeaseId, WorkerId};
use crate::limit;
use crate::ranges::Ranges;

/// Unbegun work below this much run time is not worth asking for.
const SPARE_LEAST_US: u64 = 5_000;
/// What an unmeasured invocation is taken to run, for that question only.
const UNMEASURED_US: u64 = 1_000_000;

/// One promise.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    /// The worker process that holds it.
    pub(crate) worker: WorkerId,
    /// The job.
    pub(crate) job: JobId,
    /// Who else could run it.
    pub(crate) group: GroupId,
    /// What it covers, in the order in which it begins; less what came back unrun.
    pub(crate) granted: Ranges,
    /// What of that is not reported.
    pub(crate) open: Ranges,
    /// How many of `granted` have begun; none: the worker has not said yet.
    pub(crate) begun: Option<u32>,
    /// What has happened to each, with the version that it is granted under.
    pub(crate) history: History,
    /// The same without that: what each waits with again, should it come back unrun.
    pub(crate) waited: History,
    /// Slots that it may use.
    pub(crate) slots: u32,
    /// The load that each is to its worker.
    pub(crate) load_us: u64,
    /// The measured run time of each, when it was granted.
    pub(crate) run_us: Option<u64>,
    /// Whether nothing is ever asked back: it is alone, or its job may hold so few
    /// slots that another worker could not use what came back.
    pub(crate) stays: bool,
    /// Whether the worker was asked to give some back and has not answered.
    pub(crate) asked: bool,
    /// Whether it was asked and had nothing to give.
    pub(crate) spent: bool,
}

impl Lease {
    /// What of it was begun and not reported, as far as is known.
    pub(crate) fn begun_open(&self) -> Ranges {
        let mut begun = self.granted.clone();
        let _unbegun = begun.split_off(u64::from(self.begun.unwrap_or(0)));
        begun.intersect(&self.open)
    }

    /// How many have not begun. As long as the worker has not said, each of its
    /// slots is taken to have begun one.
    pub(crate) fn unbegun_len(&self) -> u64 {
        let begun = self.begun.unwrap_or(self.slots);
        let unbegun = self.granted.len().saturating_sub(u64::from(begun));
        unbegun.min(self.open.len())
    }

    fn spare(&self, id: LeaseId) -> Option<Spare> {
        let us = self.run_us.unwrap_or(UNMEASURED_US);
        let us = us.saturating_mul(self.unbegun_len());
        let asks = !self.stays && !self.asked && !self.spent && us >= SPARE_LEAST_US;
        asks.then_some((self.group, Reverse(us), id))
    }

    fn slots_used(&self) -> u64 {
        u64::from(self.slots).min(self.open.len())
    }
}

type Spare = (GroupId, Reverse<u64>, LeaseId);

/// Sums over the leases of a job or of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Side {
    ids: BTreeSet<LeaseId>,
    /// Invocations not reported.
    pub(crate) open: u64,
    /// Slots they may use at a time.
    pub(crate) slots: u64,
    /// The load they are.
    pub(crate) load_us: u64,
    /// Leases of one suspect that must be alone.
    pub(crate) lone: u64,
}

impl Side {
    /// How many leases.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    fn add(&mut self, id: LeaseId, lease: &Lease) {
        let open = lease.open.len();
        self.ids.insert(id);
        self.open += open;
        self.slots += lease.slots_used();
        self.load_us += open * lease.load_us;
        self.lone += u64::from(lease.history.is_lone_suspect());
    }

    fn sub(&mut self, id: LeaseId, lease: &Lease) {
        let open = lease.open.len();
        self.ids.remove(&id);
        self.open -= open;
        self.slots -= lease.slots_used();
        self.load_us -= open * lease.load_us;
        self.lone -= u64::from(lease.history.is_lone_suspect());
    }
}

/// All live leases.
#[derive(Debug)]
pub(crate) struct Leases {
    epoch: u32,
    granted: u64,
    leases: BTreeMap<LeaseId, Lease>,
    by_job: BTreeMap<JobId, Side>,
    by_worker: BTreeMap<WorkerId, Side>,
    spare: BTreeSet<Spare>,
    asked: BTreeMap<GroupId, usize>,
    nothing: Side,
}

impl Leases {
    /// No leases yet in this epoch.
    pub(crate) fn new(epoch: u32) -> Self {
        Self {
            epoch,
            granted: 0,
            leases: BTreeMap::new(),
            by_job: BTreeMap::new(),
            by_worker: BTreeMap::new(),
            spare: BTreeSet::new(),
            asked: BTreeMap::new(),
            nothing: Side::default(),
        }
    }

    /// The id that the next lease will have.
    pub(crate) fn next_id(&self) -> LeaseId {
        LeaseId {
            epoch: self.epoch,
            number: self.granted + 1,
        }
    }

    /// Grants a lease.
    pub(crate) fn grant(&mut self, lease: Lease) -> LeaseId {
        self.granted += 1;
        let id = LeaseId {
            epoch: self.epoch,
            number: self.granted,
        };
        self.link(id, lease);
        id
    }

    pub(crate) fn find(&self, id: LeaseId) -> Option<&Lease> {
        self.leases.get(&id)
    }

    /// The lease, if this worker holds it.
    pub(crate) fn held_by(&self, id: LeaseId, worker: WorkerId) -> Option<&Lease> {
        self.find(id).filter(|lease| lease.worker == worker)
    }

    /// Ends a lease.
    pub(crate) fn remove(&mut self, id: LeaseId) -> Option<Lease> {
        let lease = self.leases.remove(&id)?;
        unlink_side(&mut self.by_job, lease.job, id, &lease);
        unlink_side(&mut self.by_worker, lease.worker, id, &lease);
        if let Some(spare) = lease.spare(id) {
            self.spare.remove(&spare);
        }
        if lease.asked {
            let asked = self.asked.entry(lease.group).or_default();
            *asked -= 1;
            if *asked == 0 {
                self.asked.remove(&lease.group);
            }
        }
        Some(lease)
    }

    fn link(&mut self, id: LeaseId, lease: Lease) {
        self.by_job.entry(lease.job).or_default().add(id, &lease);
        let side = self.by_worker.entry(lease.worker).or_default();
        side.add(id, &lease);
        if let Some(spare) = lease.spare(id) {
            self.spare.insert(spare);
        }
        if lease.asked {
            *self.asked.entry(lease.group).or_default() += 1;
        }
        self.leases.insert(id, lease);
    }

    fn change(&mut self, id: LeaseId, change: impl FnOnce(&mut Lease)) {
        if let Some(mut lease) = self.remove(id) {
            change(&mut lease);
            self.link(id, lease);
        }
    }

    /// What of a lease has been reported or has come back; tells whether the
    /// lease has ended by it.
    pub(crate) fn close(&mut self, id: LeaseId, reported: &Ranges, unrun: &Ranges) -> bool {
        self.change(id, |lease| {
            lease.open = if *reported == lease.open {
                Ranges::new()
            } else {
                lease.open.minus(reported)
            };
            if !unrun.is_empty() {
                lease.open = lease.open.minus(unrun);
                lease.granted = lease.granted.minus(unrun);
            }
        });
        let ended = self.find(id).is_none_or(|lease| lease.open.is_empty());
        if ended {
            self.remove(id);
        }
        ended
    }

    /// After a reconnect: a lease covers just this.
    pub(crate) fn narrow(&mut self, id: LeaseId, kept: &Ranges) {
        self.change(id, |lease| {
            lease.granted = kept.clone();
            lease.open = kept.clone();
            lease.begun = None;
            lease.asked = false;
            lease.spent = false;
        });
    }

    /// How far a lease has begun; never goes back.
    pub(crate) fn begun(&mut self, id: LeaseId, count: u32) {
        let known = self.find(id).and_then(|lease| lease.begun);
        if known.is_none_or(|known| known < count) {
            self.change(id, |lease| lease.begun = Some(count));
        }
    }

    /// A job's invocations can be run by others than before.
    pub(crate) fn regroup(&mut self, job: JobId, group: GroupId) {
        for id in self.ids_of_job(job) {
            self.change(id, |lease| lease.group = group);
        }
    }

    /// A worker is asked to give back what it has not begun.
    pub(crate) fn ask(&mut self, id: LeaseId) {
        self.change(id, |lease| lease.asked = true);
    }

    /// It has answered.
    pub(crate) fn answered(&mut self, id: LeaseId, gave: bool) {
        self.change(id, |lease| {
            lease.asked = false;
            lease.spent = !gave;
        });
    }

    /// The lease of a group with the most work that has not begun.
    pub(crate) fn fullest(&self, group: GroupId) -> Option<LeaseId> {
        let first = LeaseId {
            epoch: 0,
            number: 0,
        };
        let (found, _, id) = self
            .spare
            .range((group, Reverse(u64::MAX), first)..)
            .next()?;
        (*found == group).then_some(*id)
    }

    /// The groups with work that could be taken back.
    pub(crate) fn groups_with_spare(&self) -> Vec<GroupId> {
        let mut groups = Vec::new();
        let mut next = self.spare.first();
        while let Some((group, _, _)) = next {
            groups.push(*group);
            let last = LeaseId {
                epoch: u32::MAX,
                number: u64::MAX,
            };
            let behind = (
                std::ops::Bound::Excluded((*group, Reverse(0), last)),
                std::ops::Bound::Unbounded,
            );
            next = self.spare.range(behind).next();
        }
        groups
    }

    /// How many workers of a group were asked and have not answered.
    pub(crate) fn asked(&self, group: GroupId) -> usize {
        self.asked.get(&group).copied().unwrap_or(0)
    }

    /// Sums over a job's leases.
    pub(crate) fn of_job(&self, job: JobId) -> &Side {
        self.by_job.get(&job).unwrap_or(&self.nothing)
    }

    /// Sums over a worker's leases.
    pub(crate) fn of_worker(&self, worker: WorkerId) -> &Side {
        self.by_worker.get(&worker).unwrap_or(&self.nothing)
    }

    /// A job's leases.
    pub(crate) fn ids_of_job(&self, job: JobId) -> Vec<LeaseId> {
        self.of_job(job).ids.iter().copied().collect()
    }

    /// A worker's leases.
    pub(crate) fn ids_of_worker(&self, worker: WorkerId) -> Vec<LeaseId> {
        self.of_worker(worker).ids.iter().copied().collect()
    }

    /// Whether a worker holds a lease of a job.
    pub(crate) fn holds(&self, worker: WorkerId, job: JobId) -> bool {
        let (job_ids, worker_ids) = (&self.of_job(job).ids, &self.of_worker(worker).ids);
        if job_ids.len() < worker_ids.len() {
            job_ids.iter().any(|id| worker_ids.contains(id))
        } else {
            worker_ids.iter().any(|id| job_ids.contains(id))
        }
    }

    /// The lease under which an index of a job is open.
    pub(crate) fn covering(&self, job: JobId, index: crate::id::Index) -> Option<&Lease> {
        let ids = self.of_job(job).ids.iter();
        let mut leases = ids.filter_map(|id| self.find(*id));
        leases.find(|lease| lease.open.contains(index))
    }

    /// All leases, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (LeaseId, &Lease)> {
        self.leases.iter().map(|(id, lease)| (*id, lease))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.leases.len()
    }

    /// How many invocations are leased.
    pub(crate) fn open_len(&self) -> u64 {
        self.by_job.values().map(|side| side.open).sum()
    }

    /// Walks the invariants.
    pub(crate) fn check(&self) {
        let mut by_job: BTreeMap<JobId, Side> = BTreeMap::new();
        let mut by_worker: BTreeMap<WorkerId, Side> = BTreeMap::new();
        for (id, lease) in &self.leases {
            assert!(!lease.open.is_empty(), "an ended lease is gone");
            assert_eq!(lease.open.minus(&lease.granted), Ranges::new());
            assert!(id.epoch == self.epoch && id.number <= self.granted);
            by_job.entry(lease.job).or_default().add(*id, lease);
            by_worker.entry(lease.worker).or_default().add(*id, lease);
            let spare = lease.spare(*id);
            assert!(spare.is_none_or(|spare| self.spare.contains(&spare)));
        }
        assert_eq!(by_job, self.by_job);
        assert_eq!(by_worker, self.by_worker);
        assert!(self.spare.len() <= self.leases.len());
        let asked = self.leases.values().filter(|lease| lease.asked).count();
        assert_eq!(asked, self.asked.values().sum::<usize>());
        for side in by_worker.values() {
            assert!(side.len() <= limit::WORKER_LEASES_MAX);
        }
    }
}

fn unlink_side<K: Ord>(sides: &mut BTreeMap<K, Side>, key: K, id: LeaseId, lease: &Lease) {
    if let Some(side) = sides.get_mut(&key) {
        side.sub(id, lease);
        if side.ids.is_empty() {
            sides.remove(&key);
        }
    }
}
