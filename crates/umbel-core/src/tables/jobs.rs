//! All jobs that are kept, and the ways to find one.

use std::collections::{BTreeMap, BTreeSet};

use super::job::{Job, Running};
use crate::id::JobId;

/// Jobs by id, by request id and by name.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    jobs: BTreeMap<JobId, Job>,
    by_request: BTreeMap<String, JobId>,
    by_name: BTreeMap<String, BTreeSet<JobId>>,
    running: BTreeSet<JobId>,
    /// By when they ended.
    ended: BTreeSet<(u64, JobId)>,
    by_function: BTreeMap<String, BTreeSet<JobId>>,
    /// Under which function each running job stands in `by_function`.
    functions: BTreeMap<JobId, String>,
    /// Running jobs of which routes decide what runs, or have decided.
    routed: BTreeSet<JobId>,
}

impl Jobs {
    /// Adds a job.
    pub(crate) fn insert(&mut self, job: Job) {
        let id = job.id();
        let record = &job.record;
        if !record.request_id.is_empty() {
            self.by_request.insert(record.request_id.clone(), id);
        }
        if !record.spec.name.is_empty() {
            let named = self.by_name.entry(record.spec.name.clone()).or_default();
            named.insert(id);
        }
        if job.running.is_some() {
            self.running.insert(id);
        } else {
            self.ended.insert((job.ended_ms(), id));
        }
        self.jobs.insert(id, job);
        self.relink(id);
    }

    /// Forgets a job.
    pub(crate) fn remove(&mut self, id: JobId) -> Option<Job> {
        let job = self.jobs.remove(&id)?;
        self.by_request.remove(&job.record.request_id);
        let name = &job.record.spec.name;
        if let Some(named) = self.by_name.get_mut(name) {
            named.remove(&id);
            if named.is_empty() {
                self.by_name.remove(name);
            }
        }
        self.ended.remove(&(job.ended_ms(), id));
        self.running.remove(&id);
        self.relink(id);
        Some(job)
    }

    /// Gives a job that had ended at a time what only a running one has.
    pub(crate) fn start(&mut self, id: JobId, ended_ms: u64, running: Running) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.running = Some(Box::new(running));
            self.running.insert(id);
            self.ended.remove(&(ended_ms, id));
        }
        self.relink(id);
    }

    /// Drops what only a running job has.
    pub(crate) fn stop(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.running = None;
            self.running.remove(&id);
            self.ended.insert((job.ended_ms(), id));
        }
        self.relink(id);
    }

    /// The job that ended first, with when, milliseconds since 1970.
    pub(crate) fn first_ended(&self) -> Option<(u64, JobId)> {
        self.ended.first().copied()
    }

    /// A job began or ended to run, or runs something else: whom it concerns that a function
    /// changes.
    pub(crate) fn relink(&mut self, id: JobId) {
        if let Some(function) = self.functions.remove(&id)
            && let Some(of_function) = self.by_function.get_mut(&function)
        {
            of_function.remove(&id);
            if of_function.is_empty() {
                self.by_function.remove(&function);
            }
        }
        let job = self.find(id).filter(|job| job.running.is_some());
        match job {
            None => drop(self.routed.remove(&id)),
            Some(job) if job.record.routing.is_some() || job.status.routing.is_some() => {
                self.routed.insert(id);
            }
            Some(_) => {}
        }
        let job = self.find(id).filter(|job| job.running.is_some());
        let function = job.and_then(|job| job.target().function());
        if let Some(function) = function.map(str::to_owned) {
            let of_function = self.by_function.entry(function.clone()).or_default();
            of_function.insert(id);
            self.functions.insert(id, function);
        }
    }

    /// Running jobs whose target names a function.
    pub(crate) fn of_function(&self, function: &str) -> impl Iterator<Item = &Job> {
        let ids = self.by_function.get(function).into_iter().flatten();
        ids.filter_map(|id| self.find(*id))
    }

    /// Those of some functions that no job names, whether it runs or has ended.
    pub(crate) fn unnamed(&self, mut functions: BTreeSet<String>) -> BTreeSet<String> {
        for job in self.jobs.values() {
            if functions.is_empty() {
                break;
            }
            if let Some(name) = job.target().function() {
                functions.remove(name);
            }
        }
        functions
    }

    /// A route decides what runs of a running job.
    pub(crate) fn route(&mut self, id: JobId) {
        self.routed.insert(id);
    }

    /// Running jobs of which routes decide what runs, or have decided.
    pub(crate) fn routed(&self) -> impl Iterator<Item = &Job> {
        self.routed.iter().filter_map(|id| self.find(*id))
    }

    pub(crate) fn find(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    pub(crate) fn find_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.jobs.get_mut(&id)
    }

    /// The job that a request id made.
    pub(crate) fn by_request(&self, request_id: &str) -> Option<&Job> {
        self.find(*self.by_request.get(request_id)?)
    }

    /// The newest job of a name; ids of version 7 sort by time.
    pub(crate) fn newest_named(&self, name: &str) -> Option<JobId> {
        self.by_name.get(name)?.last().copied()
    }

    /// The newest job that somebody submitted.
    pub(crate) fn newest(&self) -> Option<JobId> {
        let own = |(_, job): &(&JobId, &Job)| !job.is_of_copies();
        self.jobs.iter().rev().find(own).map(|(id, _)| *id)
    }

    /// Running jobs whose inputs are copies of another's, and may be more.
    pub(crate) fn fed(&self) -> impl Iterator<Item = JobId> {
        let open = self.running().filter(|job| job.status.sealed.is_none());
        open.filter(|job| job.is_of_copies()).map(Job::id)
    }

    /// Jobs before one, newest first.
    pub(crate) fn before(&self, before: Option<JobId>) -> impl Iterator<Item = &Job> {
        let end = before.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let range = (std::ops::Bound::Unbounded, end);
        self.jobs.range(range).rev().map(|(_, job)| job)
    }

    /// Running jobs, oldest first.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Job> {
        self.running.iter().filter_map(|id| self.find(*id))
    }

    /// How many run.
    pub(crate) fn running_len(&self) -> usize {
        self.running.len()
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Walks the invariants.
    pub(crate) fn check(&self) {
        for (id, job) in &self.jobs {
            assert_eq!(*id, job.id());
            assert_eq!(job.running.is_some(), self.running.contains(id));
            assert_eq!(
                job.running.is_none(),
                self.ended.contains(&(job.ended_ms(), *id))
            );
            assert_eq!(job.status.state.is_final(), job.running.is_none());
            assert_eq!(job.status.state.is_final(), job.status.summary.is_some());
        }
        assert!(
            self.by_request
                .values()
                .all(|id| self.jobs.contains_key(id))
        );
        assert!(self.running.iter().all(|id| self.jobs.contains_key(id)));
        assert_eq!(self.running.len() + self.ended.len(), self.jobs.len());
        assert!(self.routed.iter().all(|id| self.running.contains(id)));
        for (function, ids) in &self.by_function {
            let names = |id: &JobId| {
                let job = &self.jobs[id];
                job.target().function() == Some(function)
            };
            assert!(!ids.is_empty() && ids.iter().all(|id| self.running.contains(id) && names(id)));
        }
    }
}
