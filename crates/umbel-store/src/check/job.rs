//! One job: its record, its status, and whether the rest of it agrees with them.

use umbel_core::change::{JobRecord, JobStatus};
use umbel_core::id::JobId;
use umbel_core::job::Source;
use umbel_proto::disk;

use super::Checker;
use super::story::Story;
use crate::Error;
use crate::key::{self, Key, Kind, OF_JOB, Whole};
use crate::store::scan::Item;

impl Checker<'_> {
    pub(super) fn job(&mut self, job: JobId) -> Result<(), Error> {
        self.report.count_job();
        if self.engine.get(&Key::Deleting(job).encode())?.is_some() {
            return self.deleted(job);
        }
        let record = self.record(job)?;
        let status = self.status(job)?;
        let Some(record) = record else {
            return self.orphans(job);
        };
        let appended = self.blocks(job, Some(record.source))?;
        let total = match record.source {
            Source::Blocks => appended,
            Source::Range { count, .. } => count,
        };
        let story = self.records(job, total, status.as_ref())?;
        if let Some(status) = status {
            self.agree(job, total, &status, &story);
        }
        Ok(())
    }

    /// Of a job that was deleted anything may be left; it only has to be readable.
    fn deleted(&mut self, job: JobId) -> Result<(), Error> {
        for kind in OF_JOB.into_iter().chain([Kind::Deleting]) {
            for item in self.walk(key::under(kind, job)) {
                match item {
                    // A step may have removed the first parts of a long value.
                    Err(Error::Damaged { .. }) => {}
                    item => drop(self.note(Some(job), item)?),
                }
            }
        }
        Ok(())
    }

    fn record(&mut self, job: JobId) -> Result<Option<JobRecord>, Error> {
        let mut found = None;
        for item in self.walk(key::under(Kind::Job, job)) {
            if let Some(Item::Whole(Whole::Job(_), value)) = self.note(Some(job), item)? {
                match disk::decode_job(job, value) {
                    Ok(record) => found = Some(record),
                    Err(error) => self.report.problem(Some(job), "record", error.to_string()),
                }
            }
        }
        Ok(found)
    }

    fn status(&mut self, job: JobId) -> Result<Option<JobStatus>, Error> {
        let mut found = None;
        for item in self.walk(key::under(Kind::Status, job)) {
            if let Some(Item::Short(Key::Status(_), value)) = self.note(Some(job), item)? {
                match disk::decode_status(value) {
                    Ok(status) => found = Some(status),
                    Err(error) => self.report.problem(Some(job), "status", error.to_string()),
                }
            }
        }
        Ok(found)
    }

    /// Keys of a job that has no record; only staged blocks may be there before it.
    fn orphans(&mut self, job: JobId) -> Result<(), Error> {
        self.blocks(job, None)?;
        for kind in [
            Kind::Status,
            Kind::Appended,
            Kind::ByIndex,
            Kind::Record,
            Kind::Columns,
            Kind::Logs,
        ] {
            let mut count = 0_u64;
            for item in self.walk(key::under(kind, job)) {
                count += u64::from(self.note(Some(job), item)?.is_some());
            }
            if count > 0 {
                let what = format!("{count} of a job that is not there");
                self.report.problem(Some(job), format!("{kind:?}"), what);
            }
        }
        Ok(())
    }

    /// Holds a job's status against what its blocks and records add up to.
    fn agree(&mut self, job: JobId, total: u32, status: &JobStatus, story: &Story) {
        let mut problem = |what: String| self.report.problem(Some(job), "status", what);
        if let Some(sealed) = status.sealed
            && sealed != total
        {
            problem(format!(
                "sealed at {sealed} inputs, and {total} were accepted"
            ));
        }
        if !status.state.is_final() {
            return;
        }
        let Some(summary) = status.summary else {
            return problem(format!("{} without a summary", status.state.as_str()));
        };
        let left = u64::from(total).saturating_sub(story.final_count());
        if left > 0 {
            problem(format!(
                "{} while {left} of {total} invocations are not final",
                status.state.as_str()
            ));
        }
        let counts = story.counts(total);
        if summary.counts != counts {
            problem(format!(
                "its summary counts {:?}, its records {counts:?}",
                summary.counts
            ));
        }
        if summary.usage != story.usage {
            problem(format!(
                "its summary has used {:?}, its records {:?}",
                summary.usage, story.usage
            ));
        }
    }
}
