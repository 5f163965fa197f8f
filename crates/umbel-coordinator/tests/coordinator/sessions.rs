//! Workers and their sessions.

use tonic::Code;
use umbel_core::id::WorkerId;
use umbel_proto::convert::FromCoordinator;
use umbel_proto::status::Reason;
use umbel_proto::v1;

use crate::support::{Cluster, create, ended, hello, refused, request, results, shouted};

#[tokio::test]
async fn a_report_under_a_lease_that_ended_changes_nothing() {
    let cluster = Cluster::start().await;
    let mut slow = cluster.worker("slow").await;
    let mut client = cluster.jobs().await;
    let job = create(&mut client, request(&["a"])).await;
    let (head, _) = slow.grant().await;
    let cancel = v1::CancelJobRequest {
        job_id: job.id.clone(),
    };
    client.cancel_job(cancel).await.unwrap();
    let report = slow.succeed(&head, &[b"late".to_vec()]);
    slow.acknowledged(report).await;

    let request = v1::StreamResultsRequest {
        job_id: job.id.clone(),
        ..Default::default()
    };
    let shown = results(&mut client, request).await;
    assert_eq!(shown[0].state(), v1::InvocationState::Cancelled);
    let job = ended(&mut client, &job.id).await;
    assert_eq!(job.counts.unwrap().succeeded, 0);
}

#[tokio::test]
async fn what_a_worker_acknowledged_is_durable_and_shown() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w").await;
    let mut client = cluster.jobs().await;
    let job = create(&mut client, request(&["a"])).await;
    let (head, inputs) = worker.grant().await;
    let report = worker.succeed(&head, &[shouted(&inputs[0])]);
    worker.acknowledged(report).await;
    let request = v1::StreamResultsRequest {
        job_id: job.id,
        ..Default::default()
    };
    assert_eq!(&results(&mut client, request).await[0].output[..], b"A");
}

#[tokio::test]
async fn a_name_that_a_live_worker_bears_is_refused() {
    let cluster = Cluster::start().await;
    let first = cluster.worker("w").await;
    let mut second = hello("w");
    second.worker = WorkerId([9; 16]);
    let mut second = cluster.connect(second).await.unwrap();
    assert_eq!(
        refused(second.next().await),
        (Code::AlreadyExists, Reason::WorkerNameTaken)
    );
    drop(first);
}

#[tokio::test]
async fn another_protocol_is_refused_with_both_versions() {
    let cluster = Cluster::start().await;
    let mut strange = hello("w");
    strange.protocol = 77;
    let mut strange = cluster.connect(strange).await.unwrap();
    let status = strange.next().await.unwrap_err();
    assert!(status.message().contains("77"), "{status:?}");
    assert_eq!(
        refused::<()>(Err(status)),
        (Code::FailedPrecondition, Reason::ProtocolMismatch)
    );
}

#[tokio::test]
async fn a_worker_that_breaks_the_protocol_is_told_and_its_work_goes_to_another() {
    let cluster = Cluster::start().await;
    let mut rude = cluster.worker("rude").await;
    let mut client = cluster.jobs().await;
    let job = create(&mut client, request(&["a"])).await;
    rude.grant().await;
    rude.say_raw(v1::ConnectRequest { message: None });
    let status = loop {
        if let Err(status) = rude.next().await {
            break status;
        }
    };
    assert_eq!(
        refused::<()>(Err(status)),
        (Code::InvalidArgument, Reason::ProtocolBroken)
    );

    let worker = cluster.worker("polite").await.shout();
    assert_eq!(
        ended(&mut client, &job.id).await.state(),
        v1::JobState::Succeeded
    );
    worker.abort();
}

#[tokio::test]
async fn a_worker_is_listed_and_asked_to_leave() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w").await;
    let mut client = cluster.cluster().await;
    let workers = client
        .list_workers(v1::ListWorkersRequest::default())
        .await
        .unwrap();
    let workers = workers.into_inner().workers;
    assert_eq!((workers[0].name.as_str(), workers[0].slots), ("w", 2));
    let status = client
        .get_cluster_status(v1::GetClusterStatusRequest {})
        .await
        .unwrap();
    let status = status.into_inner();
    assert_eq!((status.workers, status.slots, status.epoch), (1, 2, 1));
    assert_eq!(status.data_dir, cluster.dir().display().to_string());

    let drain = |name: &str| v1::DrainWorkerRequest {
        name: name.to_owned(),
    };
    client.drain_worker(drain("w")).await.unwrap();
    assert_eq!(worker.next().await.unwrap(), FromCoordinator::Drain);
    let answer = client.drain_worker(drain("nobody")).await;
    assert_eq!(refused(answer), (Code::NotFound, Reason::UnknownWorker));
}
