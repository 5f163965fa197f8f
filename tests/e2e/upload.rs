//! An upload that broke goes on where it was.

use futures::StreamExt as _;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};
use umbel_proto::v1::append_inputs_request::Content;
use umbel_proto::v1::job_service_client::JobServiceClient;
use umbel_proto::v1::{
    AppendInputsRequest, CreateJobRequest, Inputs, JobSpec, SealJobRequest, StartMode,
};

use crate::cluster::{Cluster, eventually};

type Client = JobServiceClient<Channel>;

async fn connect(url: &str) -> Client {
    let endpoint = Endpoint::from_shared(url.to_owned()).expect("a URL");
    Client::new(endpoint.connect().await.expect("it connects"))
}

fn message(job: &str, first: u64, count: u64) -> AppendInputsRequest {
    let inputs = (first..first + count)
        .map(|i| i.to_string().into())
        .collect();
    AppendInputsRequest {
        job_id: job.to_owned(),
        first_index: first,
        content: Some(Content::Inputs(Inputs { inputs })),
    }
}

/// Appends and tells how far the coordinator says it is durable.
async fn append(client: &mut Client, messages: Vec<AppendInputsRequest>, until: u64) -> u64 {
    // The request stream stays open until what was sent is answered.
    let open = futures::stream::iter(messages).chain(futures::stream::pending());
    let mut answers = client
        .append_inputs(Request::new(open))
        .await
        .expect("it opens")
        .into_inner();
    let mut next = 0;
    while let Some(answer) = answers.next().await {
        next = answer.expect("an answer").next_index;
        if next >= until {
            break;
        }
    }
    next
}

#[tokio::test]
async fn an_upload_goes_on_behind_what_is_durable_even_after_a_kill() {
    let mut cluster = Cluster::with_workers(1, 1);
    let mut client = connect(&cluster.url).await;
    let spec = JobSpec {
        target: "umbel.increment".to_owned(),
        start: StartMode::AsAppended.into(),
        ..JobSpec::default()
    };
    let request = CreateJobRequest {
        spec: Some(spec),
        ..CreateJobRequest::default()
    };
    let job = client
        .create_job(request)
        .await
        .expect("accepted")
        .into_inner()
        .job;
    let id = job.expect("a job").id;

    assert_eq!(
        append(&mut client, vec![message(&id, 0, 500)], 500).await,
        500
    );
    cluster.restart_coordinator();
    let mut client = connect(&cluster.url).await;
    // A message without inputs asks where to go on.
    let ask = AppendInputsRequest {
        job_id: id.clone(),
        ..AppendInputsRequest::default()
    };
    assert_eq!(append(&mut client, vec![ask], 500).await, 500);
    // What is durable already is answered and ignored; the rest is taken.
    let again = vec![message(&id, 0, 500), message(&id, 500, 500)];
    assert_eq!(append(&mut client, again, 1_000).await, 1_000);
    // What straddles the durable index, or leaves a gap, is refused with it.
    for first in [900, 1_500] {
        let open =
            futures::stream::iter([message(&id, first, 200)]).chain(futures::stream::pending());
        let mut answers = client
            .append_inputs(Request::new(open))
            .await
            .expect("open")
            .into_inner();
        let refused = loop {
            match answers.next().await.expect("an answer or a refusal") {
                Ok(_) => {}
                Err(refused) => break refused,
            }
        };
        assert!(refused.message().contains("1000"), "{refused:?}");
    }
    let seal = SealJobRequest {
        job_id: id.clone(),
        total: 1_000,
    };
    client.seal_job(seal).await.expect("sealed");
    let job = eventually("it ends", || {
        Some(cluster.job(&id)).filter(|job| job["state"] != "running")
    });
    assert_eq!(job["counts"]["succeeded"], 1_000);
    for (index, result) in cluster.results(&id).iter().enumerate() {
        assert_eq!(result["output"], index + 1);
    }
}
