//! Sends a job's inputs, over as many links as it takes.

use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use umbel_proto::v1;
use umbel_proto::v1::append_inputs_request::Content;

use crate::patience::Patience;
use crate::submit::Upload;
use crate::{Client, Error};

/// Messages between the window and the link. The window bounds bytes; this bounds how far the
/// window runs ahead of what the link takes.
const LINK_MESSAGES: usize = 8;

impl Upload<'_> {
    /// Sends what is left, and seals the job. Goes on where it was when the link breaks.
    ///
    /// # Errors
    /// When the source fails or an input is too large, the job is cancelled. Else the coordinator
    /// refused, or stayed out of reach.
    pub async fn finish(mut self) -> Result<v1::Job, Error> {
        if self.complete {
            return Ok(self.job);
        }
        let mut patience = Patience::new(&self.client);
        let sent = if self.job.sealed {
            self.count().await
        } else {
            self.send(&mut patience).await
        };
        if let Err(error @ (Error::Source(_) | Error::InputTooLarge { .. })) = sent {
            give_up(&self.client, &self.job.id, &mut patience).await;
            return Err(error);
        }
        seal(&self.client, &self.job.id, sent?, &mut patience).await
    }

    /// An earlier submission under the same request id has sealed the job: what is left to learn
    /// is whether it had as many inputs.
    async fn count(&mut self) -> Result<u64, Error> {
        self.blocks.skip_until(u64::MAX);
        while let Some(block) = self.blocks.next().await {
            block?;
        }
        Ok(self.blocks.taken())
    }

    async fn send(&mut self, patience: &mut Patience) -> Result<u64, Error> {
        loop {
            match self.send_over_one_link(patience).await {
                Ok(total) => return Ok(total),
                Err(error) => patience.bear(error).await?,
            }
        }
    }

    async fn send_over_one_link(&mut self, patience: &mut Patience) -> Result<u64, Error> {
        let (link, mut answers) = open(&self.client, &self.job.id).await?;
        // The first answer says where to go on, after a break or for another process.
        let next_index = self.answer(&mut answers, patience).await?;
        self.window.rewind();
        if next_index > self.blocks.taken() {
            self.blocks.skip_until(next_index);
        }
        let (mut ended, mut link_open) = (false, true);
        while !(ended && self.window.is_empty()) {
            let (has_unsent, is_open) = (self.window.has_unsent(), self.window.is_open());
            tokio::select! {
                // In this order, so that the same network gives the same upload.
                biased;
                answer = answers.message() => {
                    let answer = self.client.answer(answer)?;
                    self.take_answer(answer, patience)?;
                }
                permit = link.reserve(), if has_unsent && link_open => match permit {
                    Ok(permit) => {
                        if let Some((first_index, block)) = self.window.send() {
                            let content = Some(Content::Block(block));
                            let job_id = String::new();
                            permit.send(v1::AppendInputsRequest { job_id, first_index, content });
                        }
                    }
                    // Why it closed comes as the last answer.
                    Err(_) => link_open = false,
                },
                block = self.blocks.next(), if is_open && !ended => match block {
                    Some(block) => self.window.push(block?),
                    None => ended = true,
                },
            }
        }
        Ok(self.blocks.taken())
    }

    async fn answer(
        &mut self,
        answers: &mut Streaming<v1::AppendInputsResponse>,
        patience: &mut Patience,
    ) -> Result<u64, Error> {
        let answer = self.client.answer(answers.message().await)?;
        self.take_answer(answer, patience)
    }

    fn take_answer(
        &mut self,
        answer: Option<v1::AppendInputsResponse>,
        patience: &mut Patience,
    ) -> Result<u64, Error> {
        let answer = answer.ok_or_else(|| self.client.broken("the upload's stream ended"))?;
        self.window.answered(answer.next_index).map_err(|_| {
            self.client.nonsense(format!(
                "input {} of job {} was cut differently; does another program upload to it?",
                answer.next_index, self.job.id
            ))
        })?;
        // A link that only ever opens is no progress.
        if answer.next_index > self.durable {
            self.durable = answer.next_index;
            patience.progress();
        }
        Ok(answer.next_index)
    }
}

/// Half a job is of no use to anybody. If it cannot be cancelled now, the coordinator does so
/// once nothing was appended for its upload timeout.
async fn give_up(client: &Client, job: &str, patience: &mut Patience) {
    while let Err(error) = client.cancel(job).await {
        if let Err(error) = patience.bear(error).await {
            tracing::debug!(job, %error, "the job could not be cancelled");
            return;
        }
    }
}

type Link = (
    mpsc::Sender<v1::AppendInputsRequest>,
    Streaming<v1::AppendInputsResponse>,
);

async fn open(client: &Client, job: &str) -> Result<Link, Error> {
    let (link, messages) = mpsc::channel(LINK_MESSAGES);
    let hello = v1::AppendInputsRequest {
        job_id: job.to_owned(),
        first_index: 0,
        content: None,
    };
    if link.try_send(hello).is_err() {
        return Err(client.broken("the upload's stream never opened"));
    }
    let answer = client
        .jobs()
        .append_inputs(ReceiverStream::new(messages))
        .await;
    Ok((link, client.answer(answer)?.into_inner()))
}

async fn seal(
    client: &Client,
    job: &str,
    total: u64,
    patience: &mut Patience,
) -> Result<v1::Job, Error> {
    loop {
        let request = v1::SealJobRequest {
            job_id: job.to_owned(),
            total,
        };
        match client.answer(client.jobs().seal_job(request).await) {
            Ok(response) => return client.present(response.into_inner().job, "job"),
            Err(error) => patience.bear(error).await?,
        }
    }
}
