//! `AppendInputs`: blocks are staged as they come, accepted in order, and answered once durable.
//! Many are under way at a time; the answers keep their order.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use umbel_core::command::{Refusal, Reply};
use umbel_core::event::Event;
use umbel_core::id::{Appender, Index, JobId};
use umbel_core::job::BlockRef;
use umbel_proto::block::Block;
use umbel_proto::convert::{Invalid, StagedBlock};
use umbel_proto::v1::append_inputs_request::Content;
use umbel_proto::{convert, status, v1};
use umbel_store::Refused;

use super::{Api, unexpected, unreadable};
use crate::engine::Pending;

/// Answers that wait for a client to read them.
pub(super) const ANSWERS_MAX: usize = 64;
/// Blocks under way from the network to the disk, for one upload.
const UNDER_WAY_MAX: usize = 256;

pub(super) type Answers = mpsc::Sender<Result<v1::AppendInputsResponse, Status>>;

/// One upload, as its messages are read.
struct Upload {
    api: Api,
    job: JobId,
    appender: Appender,
    /// The index that the next input must have, once all under way is accepted.
    next_index: Index,
    /// A block that is staged and not handed to the engine.
    staged: Option<BlockRef>,
    steps: mpsc::Sender<Step>,
}

/// What is to be answered, in order.
enum Step {
    /// A block is under way.
    Block(BlockRef, Pending),
    /// What came was there already, or nothing came: how far is it durable?
    Known,
    /// The inputs that came begin elsewhere than they must.
    Gap(Index),
    /// What came is refused for another reason.
    Refused(Status),
}

/// Takes in an upload until the client ends it or something is refused.
pub(super) async fn append(
    api: Api,
    mut messages: Streaming<v1::AppendInputsRequest>,
    answers: Answers,
) {
    let (first, opened) = match open(&api, &mut messages).await {
        Ok(Some(opened)) => opened,
        Ok(None) => return,
        // Who is gone needs no words; so below.
        Err(status) => return drop(answers.send(Err(status)).await),
    };
    let (job, appender, next_index) = opened;
    let (steps, to_answer) = mpsc::channel(UNDER_WAY_MAX);
    let over = CancellationToken::new();
    let replies = Replies {
        api: api.clone(),
        job,
        durable: next_index,
        answers,
    };
    tokio::spawn(replies.run(to_answer, over.clone()));
    let mut upload = Upload {
        api,
        job,
        appender,
        next_index,
        staged: None,
        steps,
    };
    tokio::select! {
        () = over.cancelled() => {}
        () = upload.api.engine.signals().draining.clone().cancelled_owned() => {
            let gone = super::gone(upload.api.engine.signals());
            let _ = upload.steps.send(Step::Refused(gone)).await;
        }
        () = upload.run(first, messages) => {}
    }
    let staged = upload.staged.into_iter().collect();
    upload.api.unstage(job, staged).await;
}

/// Reads the first message and opens the upload; none when the client is gone before it.
async fn open(
    api: &Api,
    messages: &mut Streaming<v1::AppendInputsRequest>,
) -> Result<Option<(convert::Append, (JobId, Appender, Index))>, Status> {
    let Some(first) = messages.message().await? else {
        return Ok(None);
    };
    let first = parse(first).map_err(status::invalid)?;
    let Some(job) = first.job else {
        let words = "the first message of an upload names its job";
        return Err(status::invalid(Invalid::bad("job_id", words)));
    };
    match api.ask(|reply| Event::OpenAppend { reply, job }).await? {
        Reply::AppendOpened {
            appender,
            next_index,
        } => Ok(Some((first, (job, appender, next_index)))),
        reply => Err(unexpected(&reply)),
    }
}

/// A block outlives its message: it is copied out of the network's buffer, which may be larger.
fn parse(mut wire: v1::AppendInputsRequest) -> Result<convert::Append, Invalid> {
    if let Some(Content::Block(block)) = &mut wire.content {
        *block = Bytes::copy_from_slice(block);
    }
    convert::append(wire)
}

impl Upload {
    async fn run(
        &mut self,
        first: convert::Append,
        mut messages: Streaming<v1::AppendInputsRequest>,
    ) {
        // Tells the client where to go on before it sends much.
        let mut alive = self.step(Step::Known).await;
        let mut blocks = first.blocks;
        while alive {
            for block in blocks {
                alive = alive && self.take(block).await;
            }
            // An error of the stream is its end: the client, or the way to it, is gone.
            let Ok(Some(message)) = messages.message().await else {
                return;
            };
            blocks = match parse(message) {
                Ok(message) if message.blocks.is_empty() => {
                    alive = alive && self.step(Step::Known).await;
                    Vec::new()
                }
                Ok(message) => message.blocks,
                Err(invalid) => {
                    self.step(Step::Refused(status::invalid(invalid))).await;
                    return;
                }
            };
        }
    }

    /// Takes in a block; false when the upload is over.
    async fn take(&mut self, block: StagedBlock) -> bool {
        let end = block.first.saturating_add(block.count);
        if end <= self.next_index {
            return self.step(Step::Known).await;
        }
        if block.first != self.next_index {
            self.step(Step::Gap(block.first)).await;
            return false;
        }
        let (job, appender) = (self.job, self.appender);
        let block = match self.api.stage(job, appender, block).await {
            Ok(block) => block,
            Err(status) => {
                self.step(Step::Refused(status)).await;
                return false;
            }
        };
        self.staged = Some(block);
        let engine = &self.api.engine;
        let pending = engine.upload(block.bytes as usize, |reply| Event::Append {
            reply,
            job,
            block,
        });
        match pending.await {
            Ok(pending) => {
                self.staged = None;
                self.next_index = end;
                self.step(Step::Block(block, pending)).await
            }
            Err(closed) => {
                let gone = self.api.gone(closed);
                self.step(Step::Refused(gone)).await;
                false
            }
        }
    }

    async fn step(&self, step: Step) -> bool {
        self.steps.send(step).await.is_ok()
    }
}

/// The answers of one upload.
struct Replies {
    api: Api,
    job: JobId,
    /// How far it is durable.
    durable: Index,
    answers: Answers,
}

impl Replies {
    /// Answers in order until something is refused; what is under way behind it is removed.
    async fn run(mut self, mut steps: mpsc::Receiver<Step>, over: CancellationToken) {
        let mut refused = false;
        let mut left = Vec::new();
        while let Some(step) = steps.recv().await {
            let answer = match step {
                Step::Block(block, pending) => match self.block(pending).await {
                    Ok(()) => Ok(()),
                    Err(status) => {
                        left.push(block);
                        Err(status)
                    }
                },
                Step::Known => Ok(()),
                Step::Gap(first_index) => Err(status::refused(&Refusal::AppendGap {
                    job: self.job,
                    next_index: self.durable,
                    first_index,
                })),
                Step::Refused(status) => Err(status),
            };
            if refused {
                continue;
            }
            refused = answer.is_err();
            let next_index = u64::from(self.durable);
            let answer = answer.map(|()| v1::AppendInputsResponse { next_index });
            // A client that is gone may have left blocks under way: they are followed to their end.
            let _ = self.answers.send(answer).await;
            if refused {
                over.cancel();
            }
        }
        self.api.unstage(self.job, left).await;
    }

    async fn block(&mut self, pending: Pending) -> Result<(), Status> {
        match pending.reply().await {
            Ok(Reply::Appended { next_index }) => {
                self.durable = next_index;
                Ok(())
            }
            Ok(Reply::Refused(refusal)) => Err(status::refused(&refusal)),
            Ok(reply) => Err(unexpected(&reply)),
            Err(closed) => Err(self.api.gone(closed)),
        }
    }
}

impl Api {
    /// Puts a block in line for the disk, ahead of its acceptance; waits for those in line before it,
    /// and is refused when the store is full by then.
    pub(super) async fn stage(
        &self,
        job: JobId,
        appender: Appender,
        block: StagedBlock,
    ) -> Result<BlockRef, Status> {
        let StagedBlock {
            first,
            count,
            bytes,
        } = block;
        // A message bounds it far below that.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let at = BlockRef {
            first,
            count,
            bytes: length,
            appender,
        };
        let parsed = Block::parse_stored(bytes.clone());
        let parsed = parsed.map_err(|error| unreadable(&error.to_string()))?;
        let room = &self.engine.signals().room;
        loop {
            // Waiting begins before the attempt, so that no room is missed in between.
            let mut freed = std::pin::pin!(room.notified());
            freed.as_mut().enable();
            let full = self.room.check(u64::from(length));
            full.map_err(|full| status::refused(&full))?;
            match self.store.stage(job, &at, &bytes) {
                Ok(()) => break,
                Err(Refused::Full(_)) => freed.await,
                Err(Refused::Failed(error)) => return Err(unreadable(&error.to_string())),
            }
        }
        self.blocks.keep(job, &at, parsed);
        Ok(at)
    }
}
