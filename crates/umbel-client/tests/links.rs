//! Stories of broken links, told with a coordinator that plays a script.

#![allow(
    clippy::unwrap_used,
    reason = "clippy knows the tests here, but not what they share"
)]

mod script;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use script::Script;
use umbel_client::{Client, Error, JobSpec, ResultsOptions, SourceError, v1};

/// Enough for many blocks: more than travels inside the submission, and more than one window.
const MANY: u64 = 50_000;

fn spec() -> JobSpec {
    JobSpec::function("umbel.echo")
}

fn numbers(count: u64) -> impl Iterator<Item = String> + Send {
    (0..count).map(|i| format!("input {i}"))
}

fn expected(count: u64) -> Vec<Bytes> {
    numbers(count).map(Bytes::from).collect()
}

async fn start(script: &Script) -> Client {
    Client::connect(script.clone().serve().await).unwrap()
}

#[tokio::test]
async fn few_inputs_travel_with_the_submission() {
    let script = Script::default();
    let client = start(&script).await;
    let job = client.submit(spec()).inputs(numbers(1_000)).await.unwrap();
    assert!(job.sealed);
    assert_eq!(script.inputs(), expected(1_000));
    assert_eq!(script.links(), 0, "nothing was left to upload");
}

#[tokio::test]
async fn an_upload_whose_link_breaks_goes_on_where_it_was() {
    let script = Script::default();
    // Each link breaks once it has taken so many blocks, of which the last goes unanswered.
    script.break_links_after([1, 3, 2]);
    let client = start(&script).await;
    let job = client.submit(spec()).inputs(numbers(MANY)).await.unwrap();
    assert!(job.sealed);
    assert_eq!(
        script.inputs(),
        expected(MANY),
        "every input once and in order"
    );
    assert_eq!(script.links(), 4);
}

#[tokio::test]
async fn another_process_goes_on_under_the_same_request_id() {
    let script = Script::default();
    let client = start(&script).await;
    let cut = stream::iter(numbers(30_000).map(|input| Ok(Bytes::from(input))));
    let upload = client
        .submit(spec())
        .request_id("r")
        .begin(cut.chain(stream::pending()));
    // The first process sends what it has and is then gone.
    let upload = upload.await.unwrap().finish();
    tokio::select! {
        _ = upload => panic!("its source never ends"),
        () = script.until_durable(30_000) => {}
    }
    let job = client
        .submit(spec())
        .request_id("r")
        .inputs(numbers(MANY))
        .await
        .unwrap();
    assert!(job.sealed);
    assert_eq!(script.inputs(), expected(MANY));
}

#[tokio::test]
async fn a_sealed_job_is_not_sent_again_but_counted() {
    let script = Script::default();
    let client = start(&script).await;
    for _ in 0..2 {
        client
            .submit(spec())
            .request_id("r")
            .inputs(numbers(MANY))
            .await
            .unwrap();
    }
    assert_eq!(script.links(), 1);
    let error = client
        .submit(spec())
        .request_id("r")
        .inputs(numbers(MANY - 1))
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Some("JOB_SEALED"), "{error}");
}

#[tokio::test]
async fn a_source_that_fails_midway_cancels_the_job() {
    let script = Script::default();
    let client = start(&script).await;
    let inputs = numbers(MANY).map(|input| Ok(Bytes::from(input)));
    let malformed = Err(SourceError::from("line 50001 is malformed"));
    let error = client
        .submit(spec())
        .stream(stream::iter(inputs.chain([malformed])))
        .await;
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Source(_)), "{error}");
    assert_eq!(error.to_string(), "line 50001 is malformed");
    assert!(script.is_cancelled());
}

#[tokio::test]
async fn results_go_on_behind_the_last_token() {
    let script = Script::default();
    let client = start(&script).await;
    let job = client.submit(spec()).inputs(numbers(1_000)).await.unwrap();
    script.break_links_after([0, 2, 1]);
    let results = client.results(&job.id, ResultsOptions::default().follow());
    let outputs: Vec<Bytes> = results
        .map_ok(|result| result.output)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(outputs, expected(1_000), "every result once and in order");
    assert_eq!(script.links(), 4);
}

#[tokio::test]
async fn a_page_says_the_same_as_its_results() {
    let script = Script::default();
    let client = start(&script).await;
    let job = client.submit(spec()).inputs(numbers(1_000)).await.unwrap();
    script.break_links_after([3]);
    let results: Vec<v1::Result> = client
        .results(&job.id, ResultsOptions::default())
        .try_collect()
        .await
        .unwrap();
    script.break_links_after([1, 4]);
    let mut pages = client.results_pages(&job.id, ResultsOptions::default());
    let mut results = results.into_iter();
    while let Some(page) = pages.try_next().await.unwrap() {
        assert!(page.len() == 100 && !page.is_empty());
        for row in page.rows() {
            let result = results.next().unwrap();
            assert_eq!((row.index, row.output), (result.index, &result.output[..]));
            assert_eq!(
                (row.state, row.failure),
                (result.state(), result.failure.as_ref())
            );
            assert_eq!(
                (row.worker, row.duration_us),
                (&*result.worker, result.duration_us)
            );
        }
    }
    assert_eq!(results.next(), None);
    assert_eq!(script.links(), 3);
}

#[tokio::test]
async fn a_watch_comes_back_and_ends_with_the_job() {
    let script = Script::default();
    let client = start(&script).await;
    let job = client.submit(spec()).inputs(numbers(10)).await.unwrap();
    script.break_links_after([1, 1]);
    let states: Vec<v1::Job> = client.watch(&job.id).try_collect().await.unwrap();
    let states: Vec<_> = states.iter().map(v1::Job::state).collect();
    use v1::JobState::{Running, Succeeded};
    assert_eq!(states, [Running, Running, Succeeded]);
}

#[tokio::test]
async fn a_refusal_is_not_tried_again() {
    let script = Script::default();
    let client = start(&script).await;
    let error = client.watch("nobody").try_next().await.unwrap_err();
    assert_eq!(error.reason(), Some("UNKNOWN_JOB"), "{error}");
    assert_eq!(script.links(), 1);
}
