//! Clients that ask for results and do not read them.

use std::time::Duration;

use tonic::transport::Channel;
use umbel_proto::status::Reason;
use umbel_proto::v1;
use v1::job_service_client::JobServiceClient;

use crate::support::{Cluster, create, ended, open_request, refused, request, results, soon};
use crate::uploads::Upload;

const RESULTS: u64 = 40;
const READERS_MAX: usize = 4;

/// A client whose windows take whole messages, as those of most languages do.
async fn wide(cluster: &Cluster) -> JobServiceClient<Channel> {
    let url = format!("http://{}", cluster.running.addr());
    let channel = Channel::from_shared(url)
        .expect("a URL")
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(16 << 20)
        .connect()
        .await
        .expect("it listens");
    JobServiceClient::new(channel).max_decoding_message_size(8 << 20)
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_never_read_large_results_hold_up_nobody() {
    let cluster = Cluster::start_with(|config| config.streams.results = READERS_MAX).await;
    let _worker = cluster.worker("one").await.shout();
    let mut jobs = cluster.jobs().await;
    let large = create(&mut jobs, open_request()).await;
    let mut upload = Upload::open(&mut jobs, &large.id).await.expect("open");
    upload.next().await.expect("open");
    let input = "x".repeat(1 << 20);
    for index in 0..RESULTS {
        upload.plain(index, &[&input]);
        upload.next().await.expect("taken in");
    }
    let seal = v1::SealJobRequest {
        job_id: large.id.clone(),
        total: RESULTS,
    };
    soon(jobs.seal_job(seal)).await.expect("sealed");
    ended(&mut jobs, &large.id).await;
    let wish = |order: v1::ResultOrder| v1::StreamResultsRequest {
        job_id: large.id.clone(),
        order: order.into(),
        ..Default::default()
    };

    // All but one of the streams that there may be; each on a connection of its own, and one message
    // is read, so that each is under way.
    let mut idle = Vec::new();
    for order in [
        v1::ResultOrder::Input,
        v1::ResultOrder::Completion,
        v1::ResultOrder::Input,
    ] {
        let mut client = wide(&cluster).await;
        let stream = soon(client.stream_results(wish(order))).await;
        let mut stream = stream.expect("a stream").into_inner();
        soon(stream.message()).await.expect("it begins");
        idle.push((client, stream));
    }

    // Another reader has all of it, jobs end, turns go on.
    assert_eq!(
        results(&mut jobs, wish(v1::ResultOrder::Input)).await.len() as u64,
        RESULTS
    );
    for _ in 0..20 {
        let next = create(&mut jobs, request(&["a", "b"])).await;
        ended(&mut jobs, &next.id).await;
    }

    // A reader that goes gives its place to another, one that stays keeps it.
    let mut client = wide(&cluster).await;
    let last = soon(client.stream_results(wish(v1::ResultOrder::Input))).await;
    idle.push((client, last.expect("one is left").into_inner()));
    let more = soon(jobs.stream_results(wish(v1::ResultOrder::Input))).await;
    assert_eq!(refused(more).1, Reason::TooManyStreams);
    drop(idle.remove(0));
    soon(async {
        while jobs
            .stream_results(wish(v1::ResultOrder::Input))
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;

    // Who begins to read after all has everything, in order.
    let (_client, mut late) = idle.pop().expect("one is left");
    let mut next = 0;
    while let Some(answer) = soon(late.message()).await.expect("results") {
        for result in answer.results {
            assert_eq!((result.index, result.output.len()), (next, 1 << 20));
            next += 1;
        }
    }
    assert_eq!(next, RESULTS);
}
