//! What is kept and for how long, and what happens when there is too much.

use std::time::Duration;

use umbel_core::limit::JOBS_MAX;
use umbel_proto::status::{Reason, reason_of};
use umbel_proto::v1;

use crate::support::{Cluster, create, ended, open_request, refused, request, results, soon};
use crate::uploads::Upload;

/// A job of so many inputs of 1 KiB each, which no packing makes shorter.
fn large(kib: usize) -> v1::CreateJobRequest {
    let mut state = 1u64;
    let mut noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005);
        state = state.wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + (state >> 33) as u8 % 64)
    });
    let inputs: Vec<String> = std::iter::repeat_with(|| noise.by_ref().take(1 << 10).collect())
        .take(kib)
        .collect();
    request(&inputs.iter().map(String::as_str).collect::<Vec<_>>())
}

fn named(request: v1::CreateJobRequest, request_id: &str) -> v1::CreateJobRequest {
    v1::CreateJobRequest {
        request_id: request_id.to_owned(),
        ..request
    }
}

async fn status(cluster: &Cluster) -> v1::GetClusterStatusResponse {
    let status = v1::GetClusterStatusRequest {};
    let answer = cluster.cluster().await.get_cluster_status(status).await;
    answer.expect("it answers").into_inner()
}

/// Waits until the cluster is as is asked for.
async fn until(cluster: &Cluster, holds: impl Fn(&v1::GetClusterStatusResponse) -> bool) {
    soon(async {
        while !holds(&status(cluster).await) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_store_near_its_cap_takes_nothing_new_and_what_runs_ends() {
    let cluster = Cluster::start_with(|config| config.bounds.store_bytes_max = 400 << 10).await;
    let _worker = cluster.worker("one").await.shout();
    let mut jobs = cluster.jobs().await;
    let open = create(&mut jobs, open_request()).await;
    let first = create(&mut jobs, named(large(180), "first")).await;
    ended(&mut jobs, &first.id).await;
    // Its outputs are in the store now, beside its inputs: nine tenths of the cap are reached.
    let status_full = status(&cluster).await;
    assert_eq!(status_full.store_bytes_max, 400 << 10);
    assert!(status_full.live_bytes > 360 << 10, "{status_full:?}");

    let full = soon(jobs.create_job(request(&["more"]))).await;
    let words = full.as_ref().expect_err("it is full").clone();
    assert_eq!(
        refused(full),
        (tonic::Code::ResourceExhausted, Reason::StoreFull)
    );
    let (_, metadata) = reason_of(&words).expect("a reason");
    assert_eq!(metadata["option"], "store_bytes_max");
    assert_eq!(metadata["limit"], (360 << 10).to_string());
    assert!(words.message().contains("job delete"), "{words}");

    // A repeat of what was accepted is answered, results are read, and an append is refused.
    let again = soon(jobs.create_job(named(large(180), "first"))).await;
    assert!(again.expect("a repeat").into_inner().existed);
    let append = v1::AppendInputsRequest {
        job_id: open.id.clone(),
        first_index: 0,
        content: Some(v1::append_inputs_request::Content::Inputs(v1::Inputs {
            inputs: vec!["more".into()],
        })),
    };
    let stream = tokio_stream::iter([append]);
    let mut answers = soon(jobs.append_inputs(stream))
        .await
        .expect("a stream")
        .into_inner();
    assert!(soon(answers.message()).await.is_ok(), "how far it is");
    assert_eq!(refused(soon(answers.message()).await).1, Reason::StoreFull);
    let shown = v1::StreamResultsRequest {
        job_id: first.id.clone(),
        ..v1::StreamResultsRequest::default()
    };
    assert_eq!(results(&mut jobs, shown).await.len(), 180);

    // The way out that the words name.
    let delete = v1::DeleteJobRequest { job_id: first.id };
    soon(jobs.delete_job(delete)).await.expect("it is deleted");
    until(&cluster, |status| status.live_bytes < 100 << 10).await;
    create(&mut jobs, request(&["more"])).await;
}

/// What does not fit is refused before it comes, not once it has made the store too large.
#[tokio::test]
async fn what_would_pass_the_bound_is_refused_whole() {
    let cluster = Cluster::start_with(|config| config.bounds.store_bytes_max = 400 << 10).await;
    // It runs nothing: what is in the store is what came in.
    let _worker = cluster.worker("one").await;
    let mut jobs = cluster.jobs().await;
    create(&mut jobs, large(200)).await;
    let before = status(&cluster).await.live_bytes;
    let full = soon(jobs.create_job(large(200))).await;
    let words = full.as_ref().expect_err("it is too much").message();
    assert!(words.contains("more do not fit below 360.0 KiB"), "{words}");
    assert_eq!(refused(full).1, Reason::StoreFull);

    let open = create(&mut jobs, open_request()).await;
    let mut upload = Upload::open(&mut jobs, &open.id).await.expect("open");
    upload.next().await.expect("open");
    let input = "x".repeat(200 << 10);
    upload.plain(0, &["small"]);
    upload.plain(1, &[&input]);
    assert_eq!(upload.next().await.expect("there is room for it"), 1);
    assert_eq!(refused(upload.next().await).1, Reason::StoreFull);
    let after = status(&cluster).await.live_bytes;
    assert!(after < before + (10 << 10), "{before} {after}");
}

/// What makes the store larger passes one gate, by whichever call it comes.
#[tokio::test]
async fn a_full_store_takes_no_redrive_and_no_version() {
    let cluster = Cluster::start_with(|config| config.bounds.store_bytes_max = 400 << 10).await;
    let _worker = cluster.worker("one").await.shout();
    let mut jobs = cluster.jobs().await;
    let job = create(&mut jobs, open_request()).await;
    let cancel = v1::CancelJobRequest {
        job_id: job.id.clone(),
    };
    soon(jobs.cancel_job(cancel))
        .await
        .expect("it is cancelled");
    let filling = create(&mut jobs, large(180)).await;
    ended(&mut jobs, &filling.id).await;

    let redrive = v1::RedriveJobRequest {
        job_id: job.id.clone(),
        filter: Some(v1::RedriveFilter {
            failed: true,
            ..v1::RedriveFilter::default()
        }),
        ..v1::RedriveJobRequest::default()
    };
    let full = soon(jobs.redrive_job(redrive.clone())).await;
    let words = full.as_ref().expect_err("it is full").message().to_owned();
    assert_eq!(refused(full).1, Reason::StoreFull);
    assert!(
        words.contains("below 360.0 KiB") && words.contains("cap of 400.0 KiB"),
        "{words}"
    );

    let publication = v1::Publication {
        function: "resize".to_owned(),
        spec: Some(v1::VersionSpec {
            runtime: v1::Runtime::Python.into(),
            handler: "app.handler".to_owned(),
            ..v1::VersionSpec::default()
        }),
        artifact_digest: vec![7; 32].into(),
        packed_bytes: 10,
        published_by: "me@desk".to_owned(),
    };
    let first = v1::PublishVersionRequest {
        part: Some(v1::publish_version_request::Part::Publication(publication)),
    };
    let mut functions = cluster.functions().await;
    // Nothing follows: it is refused before its artifact comes.
    let open = tokio_stream::StreamExt::chain(tokio_stream::iter([first]), tokio_stream::pending());
    let full = soon(functions.publish_version(open)).await;
    assert_eq!(refused(full).1, Reason::StoreFull);

    for job_id in [job.id, filling.id] {
        let delete = v1::DeleteJobRequest { job_id };
        soon(jobs.delete_job(delete)).await.expect("it is deleted");
    }
    until(&cluster, |status| status.live_bytes < 100 << 10).await;
    let gone = soon(jobs.redrive_job(redrive)).await;
    assert_eq!(refused(gone).1, Reason::UnknownJob, "there is room again");
}

#[tokio::test]
async fn the_cap_is_the_same_after_a_restart() {
    let cluster = Cluster::start().await;
    let _worker = cluster.worker("one").await;
    let mut jobs = cluster.jobs().await;
    create(&mut jobs, large(100)).await;
    drop(jobs);
    let before = status(&cluster).await.live_bytes;
    assert!(before > 100 << 10, "{before}");
    let cluster = cluster.restart().await;
    assert_eq!(status(&cluster).await.live_bytes, before);
}

#[tokio::test]
async fn a_disk_with_little_room_is_named() {
    let cluster =
        Cluster::start_with(|config| config.bounds.disk_free_bytes_min = u64::MAX - 1).await;
    let mut jobs = cluster.jobs().await;
    let full = soon(jobs.create_job(request(&["more"]))).await;
    let words = full.expect_err("the disk has less").to_string();
    assert!(words.contains("make room on the disk"), "{words}");
}

#[tokio::test]
async fn old_jobs_are_swept_and_their_request_ids_are_known() {
    let cluster = Cluster::start_with(|config| config.machine.keep_ms = 1_000).await;
    let _worker = cluster.worker("one").await.shout();
    let mut jobs = cluster.jobs().await;
    let job = create(&mut jobs, named(large(100), "once")).await;
    ended(&mut jobs, &job.id).await;
    until(&cluster, |status| status.jobs_kept == 0).await;
    until(&cluster, |status| status.live_bytes < 10 << 10).await;

    let request = v1::GetJobRequest { job_id: job.id };
    let gone = soon(jobs.get_job(request)).await;
    assert!(
        gone.as_ref()
            .is_err_and(|gone| gone.message().contains("swept"))
    );
    assert_eq!(refused(gone).1, Reason::UnknownJob);
    let again = soon(jobs.create_job(named(large(100), "once"))).await;
    assert_eq!(refused(again).1, Reason::RequestIdReused);
}

#[tokio::test]
async fn for_room_the_oldest_go_until_it_is_enough() {
    let cluster = Cluster::start_with(|config| config.machine.keep_bytes = 300 << 10).await;
    let _worker = cluster.worker("one").await.shout();
    let mut jobs = cluster.jobs().await;
    let mut last = String::new();
    for _ in 0..6 {
        last = create(&mut jobs, large(50)).await.id;
        ended(&mut jobs, &last).await;
    }
    until(&cluster, |status| {
        status.live_bytes <= 300 << 10 && status.jobs_kept >= 2
    })
    .await;
    let newest = v1::GetJobRequest { job_id: last };
    assert!(soon(jobs.get_job(newest)).await.is_ok(), "the newest stays");
}

#[tokio::test]
async fn no_more_jobs_are_kept_than_there_may_be() {
    assert_eq!(JOBS_MAX, umbel_core::config::Config::default().jobs_max);
    let cluster = Cluster::start_with(|config| config.machine.jobs_max = 1).await;
    let _worker = cluster.worker("one").await;
    let mut jobs = cluster.jobs().await;
    create(&mut jobs, request(&["one"])).await;
    let refusal = refused(soon(jobs.create_job(request(&["two"]))).await);
    assert_eq!(
        refusal,
        (tonic::Code::ResourceExhausted, Reason::TooManyJobs)
    );
}
