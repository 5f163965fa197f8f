//! What provokes the reasons that are about redrives.

use tonic::Status;
use tonic::transport::Channel;
use umbel_proto::v1;
use v1::job_service_client::JobServiceClient;

use crate::errors::{shop, status};
use crate::support::{Cluster, create, ended, request};

pub(crate) fn redrive(job_id: String) -> v1::RedriveJobRequest {
    v1::RedriveJobRequest {
        job_id,
        filter: Some(v1::RedriveFilter {
            failed: true,
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(crate) async fn not_redrivable() -> Status {
    let (_cluster, mut client, worker) = shop().await;
    let _worker = worker.shout();
    let job = create(&mut client, request(&["a"])).await;
    ended(&mut client, &job.id).await;
    status(client.redrive_job(redrive(job.id)).await)
}

/// What was cancelled has not failed.
pub(crate) async fn nothing_to_redrive() -> Status {
    let (_cluster, mut client, _worker) = shop().await;
    let job_id = create(&mut client, request(&["a"])).await.id;
    let cancel = v1::CancelJobRequest {
        job_id: job_id.clone(),
    };
    client.cancel_job(cancel).await.expect("cancelled");
    status(client.redrive_job(redrive(job_id)).await)
}

/// A cancelled job.
async fn cancelled(client: &mut JobServiceClient<Channel>, inputs: &[&str]) -> String {
    let job_id = create(client, request(inputs)).await.id;
    let cancel = v1::CancelJobRequest {
        job_id: job_id.clone(),
    };
    client.cancel_job(cancel).await.expect("cancelled");
    job_id
}

fn redrive_all(job_id: String) -> v1::RedriveJobRequest {
    v1::RedriveJobRequest {
        job_id,
        filter: Some(v1::RedriveFilter {
            cancelled: true,
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(crate) async fn redrive_too_large() -> Status {
    let cluster = Cluster::start_with(|config| config.machine.redrive_runs_max = 0).await;
    let _worker = cluster.worker("w").await;
    let mut client = cluster.jobs().await;
    let job_id = cancelled(&mut client, &["a"]).await;
    status(client.redrive_job(redrive_all(job_id)).await)
}

pub(crate) async fn too_many_redrives() -> Status {
    let cluster = Cluster::start_with(|config| config.machine.redrives_max = 1).await;
    let _worker = cluster.worker("w").await;
    let mut client = cluster.jobs().await;
    let job_id = cancelled(&mut client, &["a"]).await;
    let first = client.redrive_job(redrive_all(job_id.clone())).await;
    first.expect("it is the first");
    let cancel = v1::CancelJobRequest {
        job_id: job_id.clone(),
    };
    client.cancel_job(cancel).await.expect("cancelled");
    status(client.redrive_job(redrive_all(job_id)).await)
}
