//! What was shown to clients, none of which may ever be unshown.

use std::collections::BTreeMap;

use umbel_core::function::VersionId;
use umbel_core::id::{Index, JobId};
use umbel_core::view::JobView;
use umbel_store::{Outcome, ResultRow};

use super::ledger::{Cell, JobCells, Ledger};

/// What was said of one job.
#[derive(Debug, Default)]
struct Promise {
    next_index: u32,
    view: Option<JobView>,
    rows: BTreeMap<Index, ResultRow>,
    /// Whether it may be gone.
    may_go: bool,
    /// Whether it must be.
    deleted: bool,
}

/// Everything that clients were told.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    jobs: BTreeMap<JobId, Promise>,
    requests: BTreeMap<String, JobId>,
    /// The newest version that a client was told of.
    version: u32,
}

impl Promises {
    /// A job was accepted, or found by its request id.
    pub(crate) fn created(&mut self, view: &JobView) {
        let (id, request) = (view.record.id, &view.record.request_id);
        let known = *self.requests.entry(request.clone()).or_insert(id);
        assert!(
            known == id,
            "request {request:?} made {known} and then {id}"
        );
        self.shown(view);
    }

    /// A version was published, and its client told.
    pub(crate) fn published(&mut self, version: VersionId) {
        self.version = self.version.max(version.0);
    }

    pub(crate) fn appended(&mut self, job: JobId, next_index: u32) {
        let promise = self.jobs.entry(job).or_default();
        promise.next_index = promise.next_index.max(next_index);
    }

    /// A view of a job was shown.
    pub(crate) fn shown(&mut self, view: &JobView) {
        let id = view.record.id;
        let counts = view.counts;
        let sum =
            counts.waiting + counts.leased + counts.succeeded + counts.failed + counts.cancelled;
        assert_eq!(
            sum, counts.total,
            "the counts of job {id} add up: {counts:?}"
        );
        let promise = self.jobs.entry(id).or_default();
        assert!(!promise.deleted, "job {id} was deleted and is shown");
        if let Some(before) = &promise.view {
            goes_on_from(before, view);
        }
        let total = u32::try_from(counts.total).unwrap_or(u32::MAX);
        assert!(
            total >= promise.next_index,
            "{} inputs were accepted",
            promise.next_index
        );
        promise.next_index = total;
        promise.view = Some(view.clone());
    }

    /// A result was shown.
    pub(crate) fn row(&mut self, job: JobId, row: ResultRow) {
        let promise = self.jobs.entry(job).or_default();
        let index = row.index;
        let redrive = row.redrive;
        if let Some(before) = promise.rows.insert(index, row)
            && before.redrive >= redrive
        {
            assert_eq!(
                Some(&before),
                promise.rows.get(&index),
                "a result of job {job} changed"
            );
        }
    }

    /// Somebody asked to delete the job, or its time has passed.
    pub(crate) fn may_go(&mut self, job: JobId) {
        self.jobs.entry(job).or_default().may_go = true;
    }

    pub(crate) fn deleted(&mut self, job: JobId) {
        self.jobs.entry(job).or_default().deleted = true;
    }

    /// A client was told that there is no such job.
    pub(crate) fn unknown(&self, job: JobId) {
        let promise = self.jobs.get(&job);
        let may = promise.is_none_or(|promise| promise.may_go);
        assert!(may, "job {job} was accepted and is unknown");
    }

    /// All that was shown is in what is durable.
    pub(crate) fn kept_by(&self, ledger: &Ledger) {
        let (told, last) = (VersionId(self.version), ledger.published.last_id());
        assert!(
            told <= last,
            "{told:?} was published, and the last that is kept is {last:?}"
        );
        for (id, promise) in &self.jobs {
            match ledger.jobs.get(id) {
                Some(job) => {
                    assert!(!promise.deleted, "job {id} was deleted and is back");
                    kept(promise, job);
                }
                None => assert!(promise.may_go, "job {id} was accepted and is gone"),
            }
        }
    }
}

fn goes_on_from(before: &JobView, view: &JobView) {
    let id = view.record.id;
    let (was, is) = (before.counts, view.counts);
    assert_eq!(before.record, view.record, "job {id} is what was accepted");
    if before.status.redrives != view.status.redrives {
        return goes_on_anew(before, view);
    }
    if before.status.state.is_final() {
        // The version that it kept to may be forgotten since, and its number with it.
        let version = view.version.and(before.version);
        let before = JobView {
            version,
            ..before.clone()
        };
        assert_eq!(before, *view, "job {id} had ended");
    }
    let sealed = before.status.sealed;
    assert!(
        sealed.is_none() || sealed == view.status.sealed,
        "job {id} was sealed"
    );
    assert!(
        was.total <= is.total
            && was.succeeded <= is.succeeded
            && was.failed <= is.failed
            && before.usage.attempts <= view.usage.attempts,
        "job {id} went back from {before:?} to {view:?}"
    );
}

/// What succeeded and what was used stays through a redrive.
fn goes_on_anew(before: &JobView, view: &JobView) {
    let id = view.record.id;
    let unsealed = before.status.sealed.is_none();
    assert!(
        before.status.redrives < view.status.redrives
            && before.counts.succeeded <= view.counts.succeeded
            && before.usage.attempts <= view.usage.attempts
            && (unsealed || before.status.sealed == view.status.sealed),
        "job {id} went back from {before:?} to {view:?}"
    );
}

fn kept(promise: &Promise, job: &JobCells) {
    let id = job.record.id;
    let inputs = job.cells.len();
    assert!(
        inputs >= promise.next_index as usize,
        "{} inputs of job {id} were accepted, {inputs} are left",
        promise.next_index
    );
    if let Some(view) = &promise.view {
        let counts = job.counts(0);
        let redriven = view.status.redrives < job.status.redrives;
        assert!(
            view.status.redrives <= job.status.redrives
                && view.counts.succeeded <= counts.succeeded
                && (redriven || view.counts.failed <= counts.failed)
                && view.usage.attempts <= job.usage.attempts,
            "job {id} was shown as {view:?} and is {counts:?}"
        );
        let sealed = view.status.sealed;
        assert!(
            sealed.is_none() || sealed == job.status.sealed,
            "job {id} was shown sealed"
        );
        if view.status.state.is_final() && !redriven {
            assert_eq!(view.status, job.status, "job {id} was shown ended");
        }
    }
    // What a later redrive has made run again is judged when it is read again.
    let again = |index: &Index, row: &ResultRow| {
        row.redrive < job.status.redrives && job.ended_under(*index) != Some(row.redrive)
    };
    for (index, row) in promise
        .rows
        .iter()
        .filter(|(index, row)| !again(index, row))
    {
        same(id, *index, row, job.cells.get(*index as usize));
    }
}

/// A row says what was recorded.
fn same(job: JobId, index: Index, row: &ResultRow, cell: Option<&Cell>) {
    let same = match (&row.outcome, cell) {
        (Outcome::Succeeded(shown), Some(Cell::Succeeded { output, attempts })) => {
            shown == output && row.attempts == *attempts
        }
        (Outcome::Failed(shown), Some(Cell::Failed(failed))) => {
            *shown == failed.failure && row.attempts == failed.attempts
        }
        (Outcome::Cancelled, Some(Cell::Cancelled)) => true,
        _ => false,
    };
    assert!(
        same,
        "{index} of job {job} was shown as {row:?} and is {cell:?}"
    );
}
