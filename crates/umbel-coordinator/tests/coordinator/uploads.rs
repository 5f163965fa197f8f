//! Inputs that are appended.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use umbel_proto::block::BlockBuilder;
use umbel_proto::status::{Reason, reason_of};
use umbel_proto::v1;
use v1::append_inputs_request::Content;
use v1::job_service_client::JobServiceClient;

use crate::support::{Cluster, create, ended, open_request, refused, results, soon};

pub(crate) struct Upload {
    say: mpsc::UnboundedSender<v1::AppendInputsRequest>,
    answers: Streaming<v1::AppendInputsResponse>,
}

impl Upload {
    pub(crate) async fn open(
        client: &mut JobServiceClient<Channel>,
        job: &str,
    ) -> Result<Self, Status> {
        let (say, said) = mpsc::unbounded_channel();
        let job_id = job.to_owned();
        say.send(v1::AppendInputsRequest {
            job_id,
            ..Default::default()
        })
        .unwrap();
        let answers = client
            .append_inputs(UnboundedReceiverStream::new(said))
            .await?;
        Ok(Self {
            say,
            answers: answers.into_inner(),
        })
    }

    pub(crate) fn plain(&self, first_index: u64, inputs: &[&str]) {
        let inputs = inputs
            .iter()
            .map(|input| Bytes::copy_from_slice(input.as_bytes()));
        let content = Content::Inputs(v1::Inputs {
            inputs: inputs.collect(),
        });
        self.content(first_index, content);
    }

    pub(crate) fn content(&self, first_index: u64, content: Content) {
        let content = Some(content);
        self.say
            .send(v1::AppendInputsRequest {
                first_index,
                content,
                ..Default::default()
            })
            .unwrap();
    }

    pub(crate) async fn next(&mut self) -> Result<u64, Status> {
        Ok(soon(self.answers.message())
            .await?
            .expect("an answer")
            .next_index)
    }
}

fn block(inputs: &[&str]) -> Content {
    let mut builder = BlockBuilder::new();
    for input in inputs {
        builder.push(input.as_bytes());
    }
    Content::Block(builder.finish())
}

#[tokio::test]
async fn plain_inputs_and_blocks_become_one_job() {
    let cluster = Cluster::start().await;
    let worker = cluster.worker("w").await.shout();
    let mut client = cluster.jobs().await;
    let job = create(&mut client, open_request()).await;
    assert!(!job.sealed);
    let mut upload = Upload::open(&mut client, &job.id).await.unwrap();
    assert_eq!(upload.next().await.unwrap(), 0);
    upload.plain(0, &["a", "b"]);
    upload.content(2, block(&["c", "d", "e"]));
    assert_eq!(upload.next().await.unwrap(), 2);
    assert_eq!(upload.next().await.unwrap(), 5);

    let short = v1::SealJobRequest {
        job_id: job.id.clone(),
        total: 6,
    };
    let answer = client.seal_job(short).await;
    assert_eq!(
        refused(answer),
        (Code::FailedPrecondition, Reason::SealMismatch)
    );
    let seal = v1::SealJobRequest {
        job_id: job.id.clone(),
        total: 5,
    };
    assert!(
        client
            .seal_job(seal)
            .await
            .unwrap()
            .into_inner()
            .job
            .unwrap()
            .sealed
    );
    ended(&mut client, &job.id).await;
    let request = v1::StreamResultsRequest {
        job_id: job.id,
        ..Default::default()
    };
    let outputs = results(&mut client, request).await;
    let outputs: Vec<_> = outputs.iter().map(|result| &result.output[..]).collect();
    assert_eq!(outputs, [b"A", b"B", b"C", b"D", b"E"]);
    worker.abort();
}

#[tokio::test]
async fn an_upload_that_broke_goes_on_where_it_is_durable() {
    let cluster = Cluster::start().await;
    drop(cluster.worker("w").await);
    let mut client = cluster.jobs().await;
    let job = create(&mut client, open_request()).await;
    let mut first = Upload::open(&mut client, &job.id).await.unwrap();
    first.next().await.unwrap();
    first.plain(0, &["a", "b"]);
    assert_eq!(first.next().await.unwrap(), 2);
    drop(first);

    let mut second = Upload::open(&mut client, &job.id).await.unwrap();
    assert_eq!(second.next().await.unwrap(), 2, "it is told where to go on");
    second.plain(0, &["a", "b"]);
    assert_eq!(
        second.next().await.unwrap(),
        2,
        "what was there is answered and ignored"
    );
    second.plain(2, &["c"]);
    assert_eq!(second.next().await.unwrap(), 3);
}

#[tokio::test]
async fn a_gap_is_refused_with_where_to_go_on() {
    let cluster = Cluster::start().await;
    drop(cluster.worker("w").await);
    let mut client = cluster.jobs().await;
    let job = create(&mut client, open_request()).await;
    for (first, inputs) in [(3, &["d"][..]), (1, &["b", "c", "d"])] {
        let mut upload = Upload::open(&mut client, &job.id).await.unwrap();
        upload.next().await.unwrap();
        upload.plain(0, &["a", "b"]);
        assert_eq!(upload.next().await.unwrap(), 2);
        upload.plain(first, inputs);
        let status = upload.next().await.unwrap_err();
        let (reason, metadata) = reason_of(&status).unwrap();
        assert_eq!(reason, Reason::AppendGap, "{status:?}");
        assert_eq!(metadata["next_index"], "2");
    }
}

#[tokio::test]
async fn a_block_whose_lengths_lie_is_refused_and_its_upload_goes_on() {
    let cluster = Cluster::start().await;
    drop(cluster.worker("w").await);
    let mut client = cluster.jobs().await;
    let job = create(&mut client, open_request()).await;
    let mut upload = Upload::open(&mut client, &job.id).await.unwrap();
    upload.next().await.unwrap();
    let Content::Block(bytes) = block(&["a", "b"]) else {
        unreachable!()
    };
    let mut lies = bytes.to_vec();
    lies[16] = 9;
    upload.content(0, Content::Block(lies.into()));
    assert_eq!(
        refused(upload.next().await),
        (Code::InvalidArgument, Reason::BlockBroken)
    );
    let mut upload = Upload::open(&mut client, &job.id).await.unwrap();
    assert_eq!(upload.next().await.unwrap(), 0);
    upload.content(0, Content::Block(bytes));
    assert_eq!(upload.next().await.unwrap(), 2);
}

#[tokio::test]
async fn a_newer_upload_supersedes_the_older() {
    let cluster = Cluster::start().await;
    drop(cluster.worker("w").await);
    let mut client = cluster.jobs().await;
    let job = create(&mut client, open_request()).await;
    let mut older = Upload::open(&mut client, &job.id).await.unwrap();
    older.next().await.unwrap();
    let mut newer = Upload::open(&mut client, &job.id).await.unwrap();
    newer.next().await.unwrap();
    older.plain(0, &["old"]);
    assert_eq!(
        refused(older.next().await),
        (Code::Aborted, Reason::AppendSuperseded)
    );
    newer.plain(0, &["new"]);
    assert_eq!(newer.next().await.unwrap(), 1);
}
