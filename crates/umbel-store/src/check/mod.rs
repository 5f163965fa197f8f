//! Whether a store holds what it should: every key and record is read, every checksum computed, and
//! what one record says is held against all others.
//!
//! It walks job by job and keeps at most a few bits for each invocation of one job in memory.

mod blocks;
mod functions;
mod job;
mod report;
mod story;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use umbel_core::change::JobStatus;
use umbel_core::id::JobId;
use umbel_proto::disk::{self, Format};

use crate::key::{self, Key, Kind, OF_JOB, Whole};
use crate::store::scan::{self, Item, Items};
use crate::{
    Commit, Direction, Engine, Error, Listener, Scan, Settings, SledEngine, directory, format,
};

pub use report::{PROBLEMS_KEPT_MAX, Problem, Progress, Report};

/// Checks a data directory that no coordinator uses. The data are not changed, except that the
/// engine recovers them as every open does. `progress` is told now and then how far it came.
///
/// # Errors
///
/// When there are no data, another process uses them, or the engine cannot read them at all.
pub fn check(settings: &Settings, progress: &mut dyn FnMut(Progress)) -> Result<Report, Error> {
    if !settings.dir.join(format::FILE).exists() {
        return Err(Error::NoData {
            dir: settings.dir.clone(),
        });
    }
    directory::refuse_foreign(&settings.dir)?;
    let engine: Arc<dyn Engine> = Arc::new(SledEngine::open(settings, Arc::new(Unheard))?);
    let report = check_engine(&engine, progress)?;
    engine.close()?;
    Ok(report)
}

/// Checks what an engine holds while nobody writes to it.
///
/// # Errors
///
/// When the engine cannot be read.
pub fn check_engine(
    engine: &Arc<dyn Engine>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, Error> {
    let mut checker = Checker {
        engine: Arc::clone(engine),
        report: report::Making::new(progress),
        format: Format {
            version: 0,
            epoch: 0,
        },
    };
    checker.format()?;
    checker.strangers()?;
    checker.functions()?;
    checker.leases()?;
    checker.jobs()?;
    checker.live()?;
    Ok(checker.report.finish())
}

/// Nothing is written that somebody could wait for.
pub(crate) struct Unheard;

impl Listener for Unheard {
    fn durable(&self, _: u64) {}

    fn committed(&self, _: &Commit) {}

    fn failed(&self, _: &Error) {}

    fn fenced(&self, _: &Error) {}
}

/// A check under way.
struct Checker<'a> {
    engine: Arc<dyn Engine>,
    report: report::Making<'a>,
    format: Format,
}

impl Checker<'_> {
    fn format(&mut self) -> Result<(), Error> {
        let Some(value) = self.engine.get(&Key::Format.encode())? else {
            // A directory that was made and never opened by a coordinator.
            return Ok(());
        };
        self.format = disk::decode_format(value)?;
        if self.format.version != disk::VERSION {
            return Err(Error::Version {
                found: self.format.version,
                known: disk::VERSION,
            });
        }
        Ok(())
    }

    /// Keys of kinds that there are not, and those that belong to no job.
    fn strangers(&mut self) -> Result<(), Error> {
        let unknown = key::LAST as u8 + 1;
        let keys =
            |start: u8, end: u8| Bytes::copy_from_slice(&[start])..Bytes::copy_from_slice(&[end]);
        for keys in [
            keys(0, Kind::Format as u8 + 1),
            key::all(Kind::Function),
            key::all(Kind::Mark),
            key::all(Kind::Request),
            keys(unknown, u8::MAX),
        ] {
            for item in self.walk(keys) {
                self.note(None, item)?;
            }
        }
        Ok(())
    }

    fn leases(&mut self) -> Result<(), Error> {
        for item in self.walk(key::all(Kind::Lease)) {
            let Some(Item::Short(Key::Lease(id), value)) = self.note(None, item)? else {
                continue;
            };
            let key = format!("lease {id}");
            let lease = match disk::decode_lease(id, value) {
                Ok(lease) => lease,
                Err(error) => {
                    self.report.problem(None, key, error.to_string());
                    continue;
                }
            };
            if id.epoch > self.format.epoch {
                let what = format!("of an epoch after {}, the last one", self.format.epoch);
                self.report.problem(Some(lease.job), key, what);
            } else if id.epoch == self.format.epoch && !self.runs(lease.job)? {
                // Those of earlier epochs are void, whatever became of their jobs.
                let what = "its job does not run".to_owned();
                self.report.problem(Some(lease.job), key, what);
            }
        }
        Ok(())
    }

    /// Whether there is a job and it has not ended.
    fn runs(&self, job: JobId) -> Result<bool, Error> {
        let there = scan::load(&*self.engine, Whole::Job(job))?.is_some();
        let status = self.engine.get(&Key::Status(job).encode())?;
        let ended = |status| {
            let status: Result<JobStatus, _> = disk::decode_status(status);
            status.is_ok_and(|status| status.state.is_final())
        };
        Ok(there && !status.is_some_and(ended))
    }

    /// Walks the jobs in their order, and all that begins with a job's id.
    fn jobs(&mut self) -> Result<(), Error> {
        let mut next: BTreeMap<Kind, JobId> = BTreeMap::new();
        for kind in OF_JOB.into_iter().chain([Kind::Deleting]) {
            if let Some(job) = self.first_job(key::all(kind))? {
                next.insert(kind, job);
            }
        }
        while let Some(job) = next.values().min().copied() {
            self.job(job)?;
            let here = next.iter().filter(|(_, at)| **at == job);
            for kind in here.map(|(kind, _)| *kind).collect::<Vec<_>>() {
                let rest = key::under(kind, job).end..key::all(kind).end;
                match self.first_job(rest)? {
                    Some(job) => next.insert(kind, job),
                    None => next.remove(&kind),
                };
            }
        }
        Ok(())
    }

    /// Whether there is as much as is counted.
    fn live(&mut self) -> Result<(), Error> {
        let mark = Key::Mark.encode();
        let mut bytes = 0;
        let mut next = Some(Scan {
            keys: Bytes::new()..Bytes::from_static(&[u8::MAX]),
            direction: Direction::Forward,
            entries_max: 512,
            bytes_max: 1 << 20,
        });
        while let Some(scan) = next {
            let page = self.engine.scan(&scan)?;
            let entries = page.entries.iter().filter(|entry| entry.key != mark);
            bytes += entries
                .map(|entry| (entry.key.len() + entry.value.len()) as u64)
                .sum::<u64>();
            next = page.next;
        }
        let counted = self.engine.live_bytes();
        if counted != bytes {
            let what = format!("{counted} live bytes are counted, and {bytes} are there");
            self.report.problem(None, "Mark", what);
        }
        Ok(())
    }

    /// The first job in a range of keys of a kind.
    fn first_job(&mut self, mut keys: Range<Bytes>) -> Result<Option<JobId>, Error> {
        loop {
            let page = self.engine.scan(&Scan {
                keys: keys.clone(),
                direction: Direction::Forward,
                entries_max: 1,
                bytes_max: 1,
            })?;
            let Some(entry) = page.entries.into_iter().next() else {
                return Ok(None);
            };
            // The kind, then the job's 16 bytes; a key that is too short for them is told of.
            let job = entry.key.get(1..).and_then(|rest| rest.first_chunk());
            if let Some(job) = job {
                return Ok(Some(JobId(*job)));
            }
            if let Err(error) = Key::decode(&entry.key) {
                self.report.problem(None, "", error.to_string());
            }
            let Some(next) = page.next else {
                return Ok(None);
            };
            keys = next.keys;
        }
    }

    fn walk(&self, keys: Range<Bytes>) -> Items {
        Items::new(&self.engine, keys)
    }

    /// Counts what was read; what does not make sense becomes a problem.
    fn note(
        &mut self,
        job: Option<JobId>,
        item: Result<Item, Error>,
    ) -> Result<Option<Item>, Error> {
        match item {
            Ok(item) => {
                self.report.count(&item);
                Ok(Some(item))
            }
            Err(Error::Damaged { what }) => {
                self.report.problem(job, "", what);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
