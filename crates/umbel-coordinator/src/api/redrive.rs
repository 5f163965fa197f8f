//! `RedriveJob`: what the job's records say is read here, since the machine keeps only figures of
//! an ended job; whether they still hold when they arrive is the machine's to judge.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tonic::Status;
use umbel_core::command::{Refusal, Reply};
use umbel_core::event::Event;
use umbel_core::id::JobId;
use umbel_core::redrive::{Redrive, Standing};
use umbel_core::view::JobView;
use umbel_proto::convert::{self, RedriveRequest};
use umbel_proto::{status, v1};

use super::{Api, accepted, unexpected};

/// Jobs whose records are read at a time: each takes some bits for every invocation.
pub(super) const AT_ONCE_MAX: usize = 2;
/// How often a job is read anew when somebody else redrove it meanwhile.
const TRIES_MAX: u32 = 3;

impl Api {
    pub(super) async fn redrive(
        &self,
        request: v1::RedriveJobRequest,
    ) -> Result<v1::RedriveJobResponse, Status> {
        let name = request.job_id.clone();
        let wish = convert::redrive(request).map_err(status::invalid)?;
        let job = self.find(&name).await?;
        let room = Arc::clone(&self.redrives).acquire_owned().await;
        // Nobody closes it.
        let room = room.map_err(|_| Status::internal("no redrive is taken any more"))?;
        let api = self.clone();
        // Kept until the answer, also where the client goes away: what was read lies in memory as long.
        let redriven = tokio::spawn(async move {
            let _room = room;
            api.read_and_redrive(job, wish).await
        });
        redriven
            .await
            .map_err(|_| Status::internal("the request broke; see the log"))?
    }

    async fn read_and_redrive(
        &self,
        job: JobId,
        wish: RedriveRequest,
    ) -> Result<v1::RedriveJobResponse, Status> {
        let content_digest: [u8; 32] = Sha256::digest(wish.content()).into();
        let mut tries = 1;
        loop {
            let standing = self.standing(job, &wish).await?;
            let redrive = Box::new(Redrive {
                filter: wish.filter.clone(),
                target: wish.target.clone(),
                request_id: wish.request_id.clone(),
                refusal: self.room.check(0).err(),
                content_digest,
                standing,
            });
            let asked = self.engine.ask(|reply| Event::Redrive {
                reply,
                job,
                redrive,
            });
            let reply = asked.await.map_err(|closed| self.gone(closed))?;
            if matches!(reply, Reply::Refused(Refusal::JobChanged { .. })) && tries < TRIES_MAX {
                tries += 1;
                continue;
            }
            return match accepted(reply)? {
                Reply::Redriven {
                    job,
                    invocations,
                    existed,
                    warnings,
                } => Ok(v1::RedriveJobResponse {
                    job: Some(convert::job(&job)),
                    invocations,
                    existed,
                    warnings,
                }),
                reply => Err(unexpected(&reply)),
            };
        }
    }

    /// What the records of the job say; nothing where the machine will not ask for it.
    async fn standing(&self, job: JobId, wish: &RedriveRequest) -> Result<Standing, Status> {
        let view = self.view_again(job).await?;
        let redrives = view.status.redrives;
        if !view.status.state.is_final() || is_repeat(&view, wish) {
            return Ok(Standing::default());
        }
        let filter = wish.filter.clone();
        let function = view.record.spec.target.name();
        self.read(move |store| store.standing(job, &function, redrives, &filter))
            .await
    }
}

/// Whether the request was answered before.
fn is_repeat(view: &JobView, wish: &RedriveRequest) -> bool {
    let latest = view.status.redriven.as_ref();
    !wish.request_id.is_empty() && latest.is_some_and(|it| it.request_id == wish.request_id)
}
