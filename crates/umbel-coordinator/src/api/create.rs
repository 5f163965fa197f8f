//! `CreateJob`: inline inputs are staged first, then the machine decides.

use sha2::{Digest as _, Sha256};
use tonic::Status;
use umbel_core::command::Reply;
use umbel_core::event::{Event, INLINE, Proposal};
use umbel_core::id::JobId;
use umbel_core::job::BlockRef;
use umbel_proto::{convert, status, v1};
use uuid::Uuid;

use super::{Api, accepted, unexpected};

impl Api {
    /// Accepts a job. It goes on to its end though the client goes away, so that what was staged
    /// is accepted or removed.
    pub(super) async fn create(
        &self,
        request: v1::CreateJobRequest,
    ) -> Result<v1::CreateJobResponse, Status> {
        let request = convert::request(request).map_err(status::invalid)?;
        let api = self.clone();
        let created = tokio::spawn(async move { api.propose(request).await });
        created
            .await
            .map_err(|_| Status::internal("the request broke; see the log"))?
    }

    async fn propose(&self, request: convert::Request) -> Result<v1::CreateJobResponse, Status> {
        let id = JobId(Uuid::now_v7().into_bytes());
        let content_digest = Sha256::digest(request.content()).into();
        let blocks = convert::encode_blocks(0, &request.inline).map_err(status::invalid)?;
        let mut staged = Vec::with_capacity(blocks.len());
        // Without room nothing is staged; the machine still knows a repeat when it sees one.
        let bytes: u64 = blocks.iter().map(|block| block.bytes.len() as u64).sum();
        let refusal = self.room.check(bytes).err();
        let blocks = blocks.into_iter().filter(|_| refusal.is_none());
        for block in blocks {
            match self.stage(id, INLINE, block).await {
                Ok(block) => staged.push(block),
                Err(status) => {
                    self.unstage(id, staged).await;
                    return Err(status);
                }
            }
        }
        let proposal = Box::new(Proposal {
            id,
            spec: request.spec,
            source: request.source,
            blocks: staged.clone(),
            seal: request.seal,
            request_id: request.request_id,
            content_digest,
            refusal,
        });
        let bytes = staged.iter().map(|block| block.bytes as usize).sum();
        let pending = self
            .engine
            .upload(bytes, |reply| Event::CreateJob { reply, proposal });
        let reply = match pending.await {
            Ok(pending) => pending.reply().await,
            Err(closed) => Err(closed),
        };
        // An engine that has ended accepts nothing, and the next start sweeps what is staged.
        let reply = accepted(reply.map_err(|closed| self.gone(closed))?);
        match reply {
            Ok(Reply::Created {
                job,
                existed,
                warnings,
            }) => {
                if existed {
                    self.unstage(id, staged).await;
                }
                Ok(v1::CreateJobResponse {
                    job: Some(convert::job(&job)),
                    existed,
                    warnings,
                })
            }
            Ok(reply) => Err(unexpected(&reply)),
            Err(status) => {
                self.unstage(id, staged).await;
                Err(status)
            }
        }
    }

    /// Removes blocks that will not be accepted.
    pub(super) async fn unstage(&self, job: JobId, blocks: Vec<BlockRef>) {
        if blocks.is_empty() {
            return;
        }
        for block in &blocks {
            self.blocks.forget(job, block);
        }
        let removed = self.read(move |store| {
            blocks
                .iter()
                .try_for_each(|block| store.unstage(job, block))
        });
        if let Err(status) = removed.await {
            // The next start sweeps them.
            tracing::debug!(%job, %status, "staged blocks stay for now");
        }
    }
}
