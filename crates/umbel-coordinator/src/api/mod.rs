//! The services: each request is made core words, decided by the engine or read from the store,
//! and answered.

mod append;
mod backup;
mod capsule;
mod cluster;
mod create;
mod experiment;
pub(crate) mod feed;
mod function;
mod invocation;
mod job;
mod list;
mod logs;
mod publish;
mod redrive;
mod result;
mod results;
mod rollout;
mod route;
mod route_ask;
mod shadow;
mod token;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use umbel_core::command::{Refusal, Reply};
use umbel_core::event::Event;
use umbel_core::id::{JobId, ReplyId};
use umbel_core::view::JobView;
use umbel_proto::convert::{self, JobRef};
use umbel_proto::status::{self, Metadata, Reason};
use umbel_store::Store;

use crate::engine::{Closed, Engine, Signals};
use crate::room::Room;
use crate::session::blocks::Blocks;
use crate::sorter::Evaluator;
use crate::streams::{Streams, StreamsMax};

/// KiB of inputs of invokes that wait or run: they live in memory alone.
const INVOKES_KIB_MAX: usize = 128 << 10;

/// What all services share. A clone is the same.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    engine: Engine,
    store: Store,
    blocks: Blocks,
    room: Room,
    invokes: Arc<Semaphore>,
    /// Room for jobs that are read to be redriven.
    redrives: Arc<Semaphore>,
    /// Room for experiments whose results are read.
    experiments: Arc<Semaphore>,
    uploads: Streams,
    watches: Streams,
    results: Streams,
    publishes: Arc<Semaphore>,
    evaluator: Evaluator,
    about: Arc<About>,
}

/// What does not change as long as the coordinator runs.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) epoch: u32,
    pub(crate) started_ms: u64,
    pub(crate) data_dir: PathBuf,
    pub(crate) store_bytes_max: u64,
}

/// What stands beside engine and store.
#[derive(Debug)]
pub(crate) struct Beside {
    pub(crate) blocks: Blocks,
    pub(crate) room: Room,
    pub(crate) evaluator: Evaluator,
}

impl Api {
    pub(crate) fn new(
        engine: Engine,
        store: Store,
        beside: Beside,
        streams: StreamsMax,
        about: About,
    ) -> Self {
        let invokes = Arc::new(Semaphore::new(INVOKES_KIB_MAX));
        Self {
            engine,
            store,
            blocks: beside.blocks,
            room: beside.room,
            evaluator: beside.evaluator,
            invokes,
            redrives: Arc::new(Semaphore::new(redrive::AT_ONCE_MAX)),
            experiments: Arc::new(Semaphore::new(experiment::AT_ONCE_MAX)),
            uploads: Streams::new("uploads", streams.uploads),
            watches: Streams::new("watches", streams.watches),
            results: Streams::new("streams of results and logs", streams.results),
            publishes: Arc::new(Semaphore::new(publish::UNDER_WAY_MAX)),
            about: Arc::new(about),
        }
    }

    fn gone(&self, _: Closed) -> Status {
        gone(self.engine.signals())
    }

    /// Hands in what a client asks for; what the machine refuses becomes a status.
    async fn ask(&self, event: impl FnOnce(ReplyId) -> Event) -> Result<Reply, Status> {
        let reply = self
            .engine
            .ask(event)
            .await
            .map_err(|closed| self.gone(closed))?;
        accepted(reply)
    }

    /// The job of a UUID, a name or `last`.
    async fn find(&self, job: &str) -> Result<JobId, Status> {
        let job = match convert::job_ref(job).map_err(status::invalid)? {
            JobRef::Id(id) => return Ok(id),
            JobRef::Last | JobRef::Name(_) => job.to_owned(),
        };
        let found = self
            .engine
            .look(move |machine, _| machine.find_job(&job))
            .await;
        found
            .map_err(|closed| self.gone(closed))?
            .map_err(|refusal| status::refused(&refusal))
    }

    /// The same, as it is shown.
    async fn view(&self, job: &str) -> Result<JobView, Status> {
        convert::job_ref(job).map_err(status::invalid)?;
        let job = job.to_owned();
        let view = self.engine.look(move |machine, _| {
            let id = machine.find_job(&job)?;
            machine.job_view(id).ok_or(Refusal::UnknownJob { job })
        });
        let view = view.await.map_err(|closed| self.gone(closed))?;
        view.map_err(|refusal| status::refused(&refusal))
    }

    /// A job that was found before, as it is shown now.
    async fn view_again(&self, job: JobId) -> Result<JobView, Status> {
        let view = self
            .engine
            .look(move |machine, _| machine.job_view(job))
            .await;
        view.map_err(|closed| self.gone(closed))?
            .ok_or_else(|| unknown(job))
    }

    /// Reads the store on a thread that may wait for the disk.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, umbel_store::Error> + Send + 'static,
    ) -> Result<T, Status> {
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || read(&store)).await;
        let read = read.map_err(|error| unreadable(&error.to_string()))?;
        read.map_err(|error| unreadable(&error.to_string()))
    }
}

/// Nothing is accepted any more: why, and what to do.
pub(crate) fn gone(signals: &Signals) -> Status {
    let Some(failure) = signals.failure() else {
        let words = "the coordinator is stopping; try again once it is back";
        return status::status(Reason::ShuttingDown, words, Metadata::new());
    };
    unreadable(&failure.to_string())
}

pub(crate) fn unreadable(words: &str) -> Status {
    let metadata = Metadata::from([("problem".to_owned(), words.to_owned())]);
    status::status(Reason::StoreUnavailable, words, metadata)
}

/// Counts a stream that opens, or refuses it.
fn opened(streams: &Streams) -> Result<OwnedSemaphorePermit, Status> {
    streams.open().map_err(|refusal| status::refused(&refusal))
}

fn unknown(job: JobId) -> Status {
    status::refused(&Refusal::UnknownJob {
        job: job.to_string(),
    })
}

fn accepted(reply: Reply) -> Result<Reply, Status> {
    match reply {
        Reply::Refused(refusal) => Err(status::refused(&refusal)),
        reply => Ok(reply),
    }
}

/// The machine answered what does not belong to the question.
fn unexpected(reply: &Reply) -> Status {
    tracing::error!(?reply, "the machine answered another question");
    Status::internal("the engine answered another question; this is a bug worth a report")
}
