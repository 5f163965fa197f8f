//! `WatchJob`: a job now, and whenever it has changed, until it has ended.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;
use umbel_core::id::JobId;
use umbel_proto::{convert, v1};

use super::Api;

/// How often a watcher is told at most. A job changes thousands of times a second.
const EVERY: Duration = Duration::from_millis(100);

pub(super) type Answers = mpsc::Sender<Result<v1::WatchJobResponse, Status>>;

/// Tells about the job until it has ended, the client is gone or the coordinator stops.
pub(super) async fn watch(api: Api, job: JobId, answers: Answers) {
    let ended = tokio::select! {
        () = answers.closed() => return,
        () = api.engine.signals().draining.cancelled() => Err(super::gone(api.engine.signals())),
        ended = tell(&api, job, &answers) => ended,
    };
    if let Err(status) = ended {
        // Who is gone needs no words.
        let _ = answers.send(Err(status)).await;
    }
}

async fn tell(api: &Api, job: JobId, answers: &Answers) -> Result<(), Status> {
    // Watched before the first look, so that no change falls in between.
    let mut watched = api.engine.watch(job);
    loop {
        let next = Instant::now() + EVERY;
        let view = api.view_again(job).await?;
        let is_final = view.status.state.is_final();
        let answer = v1::WatchJobResponse {
            job: Some(convert::job(&view)),
        };
        if answers.send(Ok(answer)).await.is_err() || is_final {
            return Ok(());
        }
        watched.changed().await;
        tokio::time::sleep_until(next).await;
    }
}
