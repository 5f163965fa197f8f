//! What no worker and no client of umbel says: each gets clear words and is counted, and the
//! coordinator serves a normal job afterwards.

use std::collections::HashMap;

use bytes::Bytes;
use futures::future::join_all;
use tonic::Status;
use umbel_core::id::LeaseId;
use umbel_core::message::{Begun, FromWorker, TakenBack};
use umbel_core::ranges::Ranges;
use umbel_proto::convert;
use umbel_proto::status::{Reason, reason_of};
use umbel_proto::v1;
use v1::connect_request::Message;

use crate::support::{Cluster, Worker, create, ended, hello, open_request, refused, request, soon};

/// A figure of `/metrics`; 0 where it is not shown.
async fn figure(cluster: &Cluster, name: &str) -> u64 {
    let text = cluster.text("/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |value| value.trim().parse().expect("a number"))
}

async fn refusals(cluster: &Cluster, reason: Reason) -> u64 {
    let reason = reason.as_str();
    figure(
        cluster,
        &format!("umbel_refusals_total{{reason=\"{reason}\"}}"),
    )
    .await
}

async fn ignored(cluster: &Cluster, reason: &str) -> u64 {
    figure(
        cluster,
        &format!("umbel_ignored_total{{reason=\"{reason}\"}}"),
    )
    .await
}

/// That it does what it is for, still.
async fn serves(cluster: &Cluster) {
    let worker = cluster.worker("honest").await.shout();
    let mut jobs = cluster.jobs().await;
    let job = create(&mut jobs, request(&["a", "b"])).await;
    let job = ended(&mut jobs, &job.id).await;
    assert_eq!(job.state(), v1::JobState::Succeeded);
    worker.abort();
}

/// How a session ends.
async fn last_words(worker: &mut Worker) -> Status {
    loop {
        if let Err(status) = worker.next().await {
            return status;
        }
    }
}

fn chunk(lease: u64) -> v1::ChunkReport {
    v1::ChunkReport {
        lease: Some(v1::LeaseId {
            epoch: 1,
            number: lease,
        }),
        ..v1::ChunkReport::default()
    }
}

fn report(number: u64, chunks: Vec<v1::ChunkReport>) -> Message {
    Message::Report(v1::Report { number, chunks })
}

fn range(first: u64, end: u64) -> v1::IndexRange {
    v1::IndexRange { begin: first, end }
}

/// Messages that break the protocol, by what is wrong with them.
fn broken() -> Vec<(&'static str, Option<Message>)> {
    let many = vec![v1::Begun::default(); 100_000];
    let wide = v1::ChunkReport {
        handed_back: vec![range(0, u64::MAX)],
        ..chunk(1)
    };
    let backwards = v1::ChunkReport {
        handed_back: vec![range(9, 3)],
        ..chunk(1)
    };
    let garbled = v1::ChunkReport {
        succeeded: vec![range(0, 3)],
        columns: Bytes::from_static(&[0xff; 64]),
        ..chunk(1)
    };
    let far = v1::ChunkReport {
        begun: u64::MAX,
        ..chunk(1)
    };
    vec![
        ("nothing at all", None),
        ("a report of number 0", Some(report(0, Vec::new()))),
        (
            "a heartbeat for 100,000 leases",
            Some(Message::Heartbeat(v1::Heartbeat { begun: many })),
        ),
        (
            "a lease without a number",
            Some(report(1, vec![v1::ChunkReport::default()])),
        ),
        ("all indices there are", Some(report(1, vec![wide]))),
        (
            "a range that runs backwards",
            Some(report(1, vec![backwards])),
        ),
        ("columns of noise", Some(report(1, vec![garbled]))),
        ("more begun than a chunk has", Some(report(1, vec![far]))),
        ("100,000 chunks", Some(report(1, vec![chunk(1); 100_000]))),
        (
            "the end of an invoke without an outcome",
            Some(Message::InvokeDone(v1::InvokeDone::default())),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_breaks_the_protocol_is_told_how_and_counted() {
    let cluster = Cluster::start().await;
    let mut told = 0;
    for (what, message) in broken() {
        let mut rude = cluster.worker("rude").await;
        rude.say_raw(v1::ConnectRequest { message });
        let status = last_words(&mut rude).await;
        let reason = reason_of(&status).unwrap_or_else(|| panic!("{what}: {status:?}"));
        assert!(
            matches!(reason.0, Reason::ProtocolBroken | Reason::BadRequest),
            "{what}: {status:?}"
        );
        assert!(!status.message().is_empty(), "{what}");
        told += 1;
    }
    let counted = refusals(&cluster, Reason::ProtocolBroken).await
        + refusals(&cluster, Reason::BadRequest).await;
    assert_eq!(counted, told);
    serves(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hellos_that_cannot_be_are_refused_by_their_field() {
    let cluster = Cluster::start().await;
    let labels: HashMap<String, String> = (0..100_000)
        .map(|number| (format!("key-{number}"), "value".to_owned()))
        .collect();
    let functions = (0..100_000).map(|number| format!("f{number}")).collect();
    type Change = Box<dyn Fn(&mut v1::Hello)>;
    let wrong: Vec<(Reason, &str, Change)> = vec![
        (
            Reason::ProtocolMismatch,
            "0",
            Box::new(|hello| hello.protocol = 0),
        ),
        (
            Reason::ProtocolMismatch,
            "4294967295",
            Box::new(|hello| hello.protocol = u32::MAX),
        ),
        (
            Reason::BadRequest,
            "hello.labels",
            Box::new(move |hello| hello.labels = labels.clone().into_iter().collect()),
        ),
        (
            Reason::BadRequest,
            "hello.functions",
            Box::new(move |hello| hello.functions = Vec::clone(&functions)),
        ),
        (
            Reason::BadRequest,
            "hello.slots",
            Box::new(|hello| hello.slots = u32::MAX),
        ),
        (
            Reason::BadRequest,
            "hello.name",
            Box::new(|hello| hello.name = "n".repeat(1 << 20)),
        ),
        (
            Reason::ProtocolBroken,
            "hello.worker_id",
            Box::new(|hello| hello.worker_id = Bytes::from_static(b"short")),
        ),
    ];
    for (reason, named, change) in &wrong {
        let message = convert::hello(hello("strange")).message;
        let Some(Message::Hello(mut hello)) = message else {
            panic!("a hello is a hello")
        };
        change(&mut hello);
        let mut strange = cluster
            .connect_raw(v1::ConnectRequest {
                message: Some(Message::Hello(hello)),
            })
            .await;
        let status = last_words(&mut strange).await;
        assert!(status.message().contains(named), "{named}: {status:?}");
        assert_eq!(refused::<()>(Err(status)).1, *reason, "{named}");
    }
    assert_eq!(refusals(&cluster, Reason::ProtocolMismatch).await, 2);
    assert_eq!(
        refusals(&cluster, Reason::BadRequest).await,
        wrong.len() as u64 - 3
    );
    serves(&cluster).await;
}

/// An old worker, or one that lies, may speak of leases that it never had, as often as it likes.
#[tokio::test(flavor = "multi_thread")]
async fn leases_that_nobody_granted_are_ignored_and_counted() {
    let cluster = Cluster::start().await;
    let mut liar = cluster.worker("liar").await;
    let mut jobs = cluster.jobs().await;
    let job = create(&mut jobs, request(&["a", "b"])).await;
    let (head, _) = liar.grant().await;
    let never = LeaseId {
        epoch: u32::MAX,
        number: u64::MAX,
    };
    for _ in 0..1_000 {
        let begun = Begun {
            lease: never,
            count: 4_096,
        };
        liar.say(FromWorker::Heartbeat(vec![begun]));
        liar.say(FromWorker::TakenBack(TakenBack {
            begun,
            indices: std::iter::once(0..4_096).collect::<Ranges>(),
        }));
    }
    // Its own lease, and so much time that no sum may hold it, twice.
    let long = |number| {
        let mut chunk = chunk(number);
        chunk.lease = Some(v1::LeaseId {
            epoch: head.lease.epoch,
            number,
        });
        (chunk.duration_us, chunk.cpu_us) = (u64::MAX, u64::MAX);
        chunk
    };
    let number = head.lease.number;
    let reports = [
        report(u64::MAX, vec![long(number), long(number), long(number + 7)]),
        report(u64::MAX, vec![chunk(number)]),
        report(1, vec![chunk(u64::MAX)]),
    ];
    for message in reports {
        liar.say_raw(v1::ConnectRequest {
            message: Some(message),
        });
    }
    liar.say_raw(v1::ConnectRequest { message: None });
    let status = last_words(&mut liar).await;
    assert_eq!(refused::<()>(Err(status)).1, Reason::ProtocolBroken);
    assert!(ignored(&cluster, "stale_lease").await >= 1, "it is counted");

    // Its honest follower runs what it left.
    let worker = cluster.worker("honest").await.shout();
    let job = ended(&mut jobs, &job.id).await;
    assert_eq!(job.state(), v1::JobState::Succeeded);
    worker.abort();
    serves(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_jobs_from_many_connections_is_answered_to_the_last() {
    const CONNECTIONS: usize = 40;
    const EACH: usize = 25;
    let cluster = Cluster::start_with(|config| config.machine.jobs_max = 200).await;
    let _worker = cluster.worker("one").await;
    let cluster_ref = &cluster;
    let flood = (0..CONNECTIONS).map(|_| async move {
        let mut jobs = cluster_ref.jobs().await;
        let mut accepted = 0;
        for _ in 0..EACH {
            match soon(jobs.create_job(request(&["a"]))).await {
                Ok(_) => accepted += 1,
                Err(status) => {
                    assert_eq!(refused::<()>(Err(status)).1, Reason::TooManyJobs);
                }
            }
        }
        accepted
    });
    let accepted: u64 = join_all(flood).await.into_iter().sum();
    assert_eq!(accepted, 200);
    let counted = refusals(&cluster, Reason::TooManyJobs).await;
    assert_eq!(counted, (CONNECTIONS * EACH) as u64 - 200);
    let mut jobs = cluster.jobs().await;
    let list = v1::ListJobsRequest::default();
    assert!(soon(jobs.list_jobs(list)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_with_absurd_numbers_and_label_maps_are_refused_by_their_field() {
    let cluster = Cluster::start().await;
    let _worker = cluster.worker("one").await;
    let mut jobs = cluster.jobs().await;
    type Change = fn(&mut v1::JobSpec);
    let wrong: [(&str, Change); 6] = [
        ("spec.labels", |spec| {
            let label = |number| (format!("key-{number}"), "value".to_owned());
            spec.labels = (0..100_000).map(label).collect();
        }),
        ("spec.name", |spec| spec.name = "n".repeat(1 << 20)),
        ("spec.policy.max_attempts", |spec| {
            spec.policy.get_or_insert_default().max_attempts = Some(u32::MAX);
        }),
        ("spec.policy.timeout_ms", |spec| {
            spec.policy.get_or_insert_default().timeout_ms = Some(u64::MAX);
        }),
        ("spec.policy.deadline_ms", |spec| {
            spec.policy.get_or_insert_default().deadline_ms = Some(u64::MAX);
        }),
        ("spec.policy.retry_on", |spec| {
            spec.policy.get_or_insert_default().retry_on = vec!["type".to_owned(); 100_000];
        }),
    ];
    for (field, change) in wrong {
        let mut wish = request(&["a"]);
        change(wish.spec.as_mut().expect("a spec"));
        let answer = soon(jobs.create_job(wish)).await;
        let status = answer.expect_err(field);
        let (_, metadata) = reason_of(&status).unwrap_or_else(|| panic!("{field}: {status:?}"));
        assert_eq!(metadata["field"], field, "{status:?}");
    }
    let endless = v1::CreateJobRequest {
        source: Some(v1::create_job_request::Source::Range(v1::IndexRange {
            begin: 0,
            end: u64::MAX,
        })),
        ..open_request()
    };
    let answer = soon(jobs.create_job(endless)).await;
    assert_eq!(refused(answer).1, Reason::TooManyInputs);
    assert_eq!(refusals(&cluster, Reason::BadRequest).await, 6);
    serves(&cluster).await;
}

/// Streams that open and say nothing are counted and bounded, and let go when their ends are gone.
#[tokio::test(flavor = "multi_thread")]
async fn half_open_streams_are_bounded_and_end_with_their_connections() {
    let cluster = Cluster::start_with(|config| {
        config.streams.newcomers = 8;
        config.streams.uploads = 8;
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(cluster.connect_silent().await.expect("there is room"));
    }
    let more = cluster.connect_silent().await;
    assert_eq!(refused(more.map(drop)).1, Reason::TooManyStreams);
    assert_eq!(refusals(&cluster, Reason::TooManyStreams).await, 1);
    drop(silent);
    soon(async {
        while cluster.connect_silent().await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    serves(&cluster).await;
}
