//! What a restart keeps, and what a drain says.

use tonic::Code;
use umbel_proto::status::Reason;
use umbel_proto::v1;

use crate::support::{Cluster, create, ended, refused, request, results, shouted, soon};

#[tokio::test]
async fn a_restart_keeps_jobs_results_and_functions() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w").await;
    let mut client = cluster.jobs().await;
    let done = create(&mut client, request(&["a", "b"])).await;
    let mut left = 2;
    while left > 0 {
        let (head, inputs) = worker.grant().await;
        let outputs: Vec<_> = inputs.iter().map(|input| shouted(input)).collect();
        left -= outputs.len();
        worker.succeed(&head, &outputs);
    }
    ended(&mut client, &done.id).await;
    drop(worker);
    let waiting = create(&mut client, request(&["c"])).await;

    let cluster = cluster.restart().await;
    let mut client = cluster.jobs().await;
    let wish = v1::StreamResultsRequest {
        job_id: done.id.clone(),
        ..Default::default()
    };
    let outputs = results(&mut client, wish).await;
    let outputs: Vec<_> = outputs.iter().map(|result| &result.output[..]).collect();
    assert_eq!(outputs, [b"A", b"B"]);
    assert_eq!(
        ended(&mut client, &done.id).await.state(),
        v1::JobState::Succeeded
    );
    create(&mut client, request(&["d"])).await;

    let worker = cluster.worker("w").await.shout();
    assert_eq!(
        ended(&mut client, &waiting.id).await.state(),
        v1::JobState::Succeeded
    );
    worker.abort();
}

#[tokio::test]
async fn a_drain_tells_workers_and_watchers() {
    let cluster = Cluster::start().await;
    let mut worker = cluster.worker("w").await;
    let mut client = cluster.jobs().await;
    let job = create(&mut client, request(&["a"])).await;
    let watch = v1::WatchJobRequest { job_id: job.id };
    let mut watcher = client.watch_job(watch).await.unwrap().into_inner();
    soon(watcher.message()).await.unwrap();

    let drained = tokio::spawn(cluster.running.drain());
    let told = loop {
        if let Err(status) = worker.next().await {
            break status;
        }
    };
    assert_eq!(
        refused::<()>(Err(told)),
        (Code::Unavailable, Reason::ShuttingDown)
    );
    let told = loop {
        match soon(watcher.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the job has not ended"),
            Err(status) => break status,
        }
    };
    assert_eq!(
        refused::<()>(Err(told)),
        (Code::Unavailable, Reason::ShuttingDown)
    );
    soon(drained).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_store_that_fails_ends_the_coordinator_with_words_and_acknowledges_nothing() {
    let mut cluster = Cluster::start().await;
    let mut worker = cluster.worker("w").await;
    let mut client = cluster.jobs().await;
    std::fs::remove_dir_all(cluster.dir()).unwrap();
    let answer = soon(client.create_job(request(&["a"]))).await;
    assert_eq!(
        refused(answer),
        (Code::Unavailable, Reason::StoreUnavailable)
    );
    let error = soon(cluster.running.wait()).await;
    let dir = cluster.dir().display().to_string();
    assert!(error.to_string().contains(&dir), "{error}");
    let told = loop {
        if let Err(status) = worker.next().await {
            break status;
        }
    };
    assert_eq!(
        refused::<()>(Err(told)),
        (Code::Unavailable, Reason::StoreUnavailable)
    );
}
