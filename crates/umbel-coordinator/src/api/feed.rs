//! Feeds jobs of copies: as inputs of a job over an alias with a shadow come in, those of its sample
//! are appended to the job of its copies, and that is sealed when there are no more. What is missing
//! follows from the two jobs alone, so a restart goes on where it was.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tonic::Status;
use umbel_core::command::Reply;
use umbel_core::event::Event;
use umbel_core::id::{Appender, Index, JobId};
use umbel_core::job::Source;
use umbel_core::limit::BLOCK_INPUTS_MAX;
use umbel_core::shadow::ShadowOf;
use umbel_core::view::JobView;
use umbel_proto::{convert, status};

use super::results::EVERY;
use super::{Api, unexpected};

/// Jobs whose inputs are read at a time.
const AT_ONCE_MAX: usize = 4;

/// Jobs of copies that were accepted.
pub(crate) type Feeds = mpsc::UnboundedReceiver<JobId>;

/// Feeds what there is, and what comes, as long as there is an engine.
pub(crate) async fn run(api: Api, mut feeds: Feeds) {
    let room = Arc::new(Semaphore::new(AT_ONCE_MAX));
    let open = api.engine.look(|machine, _| machine.fed()).await;
    for job in open.into_iter().flatten() {
        tokio::spawn(feed(api.clone(), Arc::clone(&room), job));
    }
    while let Some(job) = feeds.recv().await {
        tokio::spawn(feed(api.clone(), Arc::clone(&room), job));
    }
}

async fn feed(api: Api, room: Arc<Semaphore>, job: JobId) {
    let signals = api.engine.signals();
    let fed = tokio::select! {
        () = signals.draining.cancelled() => return,
        fed = copy_all(&api, &room, job) => fed,
    };
    if let Err(error) = fed {
        // Somebody ended or deleted it, another feeds it, or the store is full: what it has is all.
        tracing::info!(%job, %error, "no more inputs are copied to the job");
    }
}

/// Why no more is copied.
enum Stop {
    /// The store takes no more, or what is to be copied cannot be read or be taken.
    Full(Status),
    /// The job takes no more from here.
    Over(Status),
}

/// What is copied from where.
struct Copying<'a> {
    api: &'a Api,
    /// The job of copies.
    to: JobId,
    of: ShadowOf,
    appender: Appender,
    /// How many copies there are.
    copied: Index,
    /// How many of those that come first are there already.
    known: Index,
    /// The next index of the job that is copied.
    next: Index,
}

async fn copy_all(api: &Api, room: &Semaphore, to: JobId) -> Result<(), Status> {
    let view = api.view_again(to).await?;
    let Some(of) = view.record.shadow_of.clone() else {
        return Ok(());
    };
    let opened = api
        .ask(|reply| Event::OpenAppend { reply, job: to })
        .await?;
    let Reply::AppendOpened {
        appender,
        next_index,
    } = opened
    else {
        return Err(unexpected(&opened));
    };
    let mut watched = api.engine.watch(of.job);
    let mut copying = Copying {
        api,
        to,
        of,
        appender,
        copied: 0,
        known: next_index,
        next: 0,
    };
    loop {
        let soonest = Instant::now() + EVERY;
        let Some(job) = copying.source().await? else {
            break;
        };
        let total = Index::try_from(job.counts.total).unwrap_or(Index::MAX);
        while copying.next < total {
            // Nobody closes it.
            let _room = room.acquire().await;
            match copying.some(&job, total).await {
                Ok(()) => {}
                // What there is of it is all that there will be.
                Err(Stop::Full(status)) => {
                    copying.seal().await?;
                    return Err(status);
                }
                // Another feeds it, somebody has ended it, or the coordinator stops.
                Err(Stop::Over(status)) => return Err(status),
            }
        }
        if job.status.sealed.is_some() || job.status.state.is_final() {
            break;
        }
        watched.changed().await;
        tokio::time::sleep_until(soonest).await;
    }
    copying.seal().await
}

impl Copying<'_> {
    /// The job that is copied; none: it is gone, or its alias has another shadow now, or none.
    async fn source(&self) -> Result<Option<JobView>, Status> {
        let of = self.of.clone();
        let found = self.api.engine.look(move |machine, _| {
            let alias = machine.shadow(&of.function, &of.alias).ok().flatten()?;
            let same = alias.shadow.is_some_and(|shadow| shadow.salt == of.salt);
            machine.job_view(of.job).filter(|_| same)
        });
        found.await.map_err(|closed| self.api.gone(closed))
    }

    /// Copies what is wanted of the next inputs, a block of them.
    async fn some(&mut self, job: &JobView, total: Index) -> Result<(), Stop> {
        let block = BLOCK_INPUTS_MAX;
        let (end, inputs) = match job.record.source {
            Source::Range { begin, .. } => {
                let end = total.min(self.next.saturating_add(block));
                let wanted = (self.next..end).filter(|index| self.of.takes(*index));
                let number = |index| begin.saturating_add(u64::from(index)).to_string();
                let inputs = wanted.map(|index| Bytes::from(number(index)));
                (end, inputs.collect())
            }
            Source::Blocks => self.read(job.record.id).await.map_err(Stop::Full)?,
        };
        self.next = end;
        self.append(inputs).await
    }

    /// The inputs that are wanted of the block with the next one, and where it ends.
    async fn read(&self, job: JobId) -> Result<(Index, Vec<Bytes>), Status> {
        let (next, of) = (self.next, self.of.clone());
        self.api
            .read(move |store| {
                let found = store.inputs(job, next).or_else(|_| {
                    // It may still lie in line.
                    store.settle()?;
                    store.inputs(job, next)
                });
                let (first, block) = found?;
                let inputs = (first..).zip(block.entries().shared());
                let wanted = inputs.filter(|(index, _)| *index >= next && of.takes(*index));
                let end = first.saturating_add(block.count()).max(next + 1);
                Ok((end, wanted.map(|(_, input)| input).collect()))
            })
            .await
    }

    /// Appends copies, but for those that were before a restart.
    async fn append(&mut self, mut inputs: Vec<Bytes>) -> Result<(), Stop> {
        let known = self.known.saturating_sub(self.copied) as usize;
        let known = inputs.drain(..known.min(inputs.len())).count();
        self.copied = self.copied.saturating_add(known as Index);
        let blocks = convert::encode_blocks(self.copied, &inputs);
        for block in blocks.map_err(|invalid| Stop::Full(status::invalid(invalid)))? {
            let staged = self.api.stage(self.to, self.appender, block).await;
            let block = staged.map_err(Stop::Full)?;
            let job = self.to;
            let pending = self
                .api
                .engine
                .upload(block.bytes as usize, |reply| Event::Append {
                    reply,
                    job,
                    block,
                });
            let reply = match pending.await {
                Ok(pending) => pending.reply().await,
                Err(closed) => Err(closed),
            };
            match reply.map_err(|closed| Stop::Over(self.api.gone(closed)))? {
                Reply::Appended { next_index } => self.copied = next_index,
                Reply::Refused(refusal) => {
                    self.api.unstage(job, vec![block]).await;
                    return Err(Stop::Over(status::refused(&refusal)));
                }
                reply => return Err(Stop::Over(unexpected(&reply))),
            }
        }
        Ok(())
    }

    async fn seal(&self) -> Result<(), Status> {
        let (job, total) = (self.to, u64::from(self.copied.max(self.known)));
        let sealed = self.api.ask(|reply| Event::Seal { reply, job, total });
        sealed.await.map(drop)
    }
}
