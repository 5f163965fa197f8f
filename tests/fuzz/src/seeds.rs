//! What a fuzzer begins with: one of each thing, made by the code that makes the real ones.

mod disk;

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use umbel_core::function::{
    Artifact, Digest, Holdings, Keep, Runtime, Runtimes, UploadId, Version, VersionId, VersionSpec,
};
use umbel_core::histogram::Histogram;
use umbel_core::id::{InvokeId, JobId, LeaseId, WorkerId};
use umbel_core::job::{Target, Usage};
use umbel_core::limit::PROTOCOL;
use umbel_core::message::{
    Begun, ChunkReport, FromWorker, GrantHead, Hello, InvokeDone, Offer, OfferAnswer, Report,
    TakenBack, ToWorker, Welcome,
};
use umbel_core::outcome::{FailedAttempt, Failure, FailureKind};
use umbel_core::policy::Policy;
use umbel_core::ranges::Ranges;
use umbel_core::route::ArmId;
use umbel_proto::block::{Block, BlockBuilder};
use umbel_proto::columns::ColumnsBuilder;
use umbel_proto::{convert, v1};

const JOB: JobId = JobId([5; 16]);
/// The lease that the machine of [`crate::session`] grants first.
const LEASE: LeaseId = LeaseId {
    epoch: 3,
    number: 1,
};

/// Seeds of all targets: the target, a name, the bytes. Each means something to its target.
#[must_use]
pub fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut add = |target, list: Vec<Vec<u8>>| {
        for (number, bytes) in list.into_iter().enumerate() {
            seeds.push((target, format!("seed-{number}"), bytes));
        }
    };
    add(
        "client",
        [client(), later_requests(), requests_of_routes()].concat(),
    );
    add("results", results());
    add("session_in", to_coordinator());
    add("session_out", to_worker());
    add(
        "disk",
        [
            disk::records(),
            disk::later_records(),
            disk::records_of_arms(),
        ]
        .concat(),
    );
    add("block", vec![block(&["a"]), block(&["", "bb", "ccc"])]);
    add("columns", vec![[&[3][..], &columns(3)].concat()]);
    add(
        "key",
        umbel_store::fuzzing::keys()
            .iter()
            .map(|key| key.to_vec())
            .collect(),
    );
    let entries: [(&[u8], &[u8]); 2] = [(b"\x01", b"value"), (b"\x02resize", b"")];
    add(
        "backup",
        vec![
            umbel_store::fuzzing::small_backup(&entries),
            umbel_store::fuzzing::small_backup(&[]),
        ],
    );
    add("artifact", artifacts());
    add("lines", texts(&["a\nb\n", "\n\nc", ""]));
    add(
        "csv",
        texts(&["a,b\n1,2\n\n\"x \"\"y\"\"\",\"\n\"\n", "n\n1\n"]),
    );
    add("json", texts(&["[1, \"a\", {\"b\": [null]}]", " [ ] "]));
    seeds
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn block(inputs: &[&str]) -> Vec<u8> {
    let mut builder = BlockBuilder::new();
    for input in inputs {
        builder.push(input.as_bytes());
    }
    builder.finish().to_vec()
}

fn columns(count: u32) -> Bytes {
    let mut builder = ColumnsBuilder::new();
    for i in 0..count {
        builder.push(i.to_string().as_bytes(), 10, Some(9), 1_000 + u64::from(i));
    }
    builder.finish()
}

/// Results in columns: of all that was reported, and of a part of it.
fn results() -> Vec<Vec<u8>> {
    let reported = Ranges::one(4..7);
    let from = convert::Provenance {
        function: "resize",
        version: Some(2),
        worker: "w-1",
        arm: "7",
    };
    let in_columns = |meant| convert::results_in_columns((&reported, meant), columns(3), 1, from);
    let response = |columns| v1::StreamResultsResponse {
        columns,
        token: "t".to_owned(),
        ..v1::StreamResultsResponse::default()
    };
    let (all, part) = (in_columns(&reported), in_columns(&Ranges::one(5..6)));
    let responses = [response(vec![all.clone()]), response(vec![all, part])];
    responses
        .iter()
        .map(prost::Message::encode_to_vec)
        .collect()
}

/// Behind the byte that tells which request it is.
fn tagged(tag: u8, message: &impl prost::Message) -> Vec<u8> {
    [vec![tag], message.encode_to_vec()].concat()
}

fn client() -> Vec<Vec<u8>> {
    let inputs = || v1::Inputs {
        inputs: vec![Bytes::from_static(b"a"), Bytes::from_static(b"bb")],
    };
    let range = v1::IndexRange { begin: 3, end: 9 };
    let create = |target: &str, source| v1::CreateJobRequest {
        request_id: "order-17".to_owned(),
        spec: Some(v1::JobSpec {
            name: "nightly".to_owned(),
            target: target.to_owned(),
            policy: Some(convert::wire_policy(&Policy::default())),
            labels: [("team".to_owned(), "a".to_owned())].into(),
            ..v1::JobSpec::default()
        }),
        source: Some(source),
        seal: true,
    };
    let append = |content| v1::AppendInputsRequest {
        job_id: JOB.to_string(),
        first_index: 4,
        content: Some(content),
    };
    let invoke = v1::InvokeRequest {
        program: Some(v1::Program {
            argv: vec!["wc".to_owned(), "-c".to_owned()],
        }),
        input: Bytes::from_static(b"in"),
        ..v1::InvokeRequest::default()
    };
    use v1::append_inputs_request::Content;
    use v1::create_job_request::Source as From;
    vec![
        tagged(0, &create("resize", From::Inputs(inputs()))),
        tagged(0, &create("umbel.echo", From::Range(range))),
        tagged(1, &append(Content::Inputs(inputs()))),
        tagged(1, &append(Content::Block(block(&["a", "b"]).into()))),
        tagged(2, &invoke),
        [&[3][..], JOB.to_string().as_bytes()].concat(),
        b"\x03last".to_vec(),
        tagged(4, &range),
    ]
}

/// What clients ask of ended jobs, and of published functions.
fn later_requests() -> Vec<Vec<u8>> {
    let redrive = v1::RedriveJobRequest {
        job_id: JOB.to_string(),
        request_id: "again-1".to_owned(),
        filter: Some(v1::RedriveFilter {
            failed: true,
            ranges: vec![v1::IndexRange { begin: 3, end: 9 }],
            types: vec!["ExitCode".to_owned()],
            ..v1::RedriveFilter::default()
        }),
        target: "resize@7".to_owned(),
        program: None,
    };
    let version = version();
    let publication = v1::Publication {
        function: version.function,
        spec: Some(convert::wire_version_spec(&version.spec)),
        artifact_digest: version.artifact.digest.0.to_vec().into(),
        packed_bytes: version.artifact.packed_bytes,
        published_by: version.published_by,
    };
    let point = v1::PointAliasRequest {
        function: "resize".to_owned(),
        alias: "canary".to_owned(),
        version: 3,
        by: "a@b".to_owned(),
    };
    vec![
        tagged(5, &redrive),
        tagged(6, &publication),
        tagged(7, &point),
    ]
}

/// Rules and a split.
fn set_route() -> v1::SetRouteRequest {
    let arm = |target: &str, weight| v1::Arm {
        target: target.to_owned(),
        weight,
        ..v1::Arm::default()
    };
    v1::SetRouteRequest {
        function: "resize".to_owned(),
        alias: "live".to_owned(),
        route: Some(v1::Route {
            rules: vec![v1::Rule {
                when: "input.country == \"DE\"".to_owned(),
                target: "@canary".to_owned(),
                name: "germans".to_owned(),
            }],
            split: Some(v1::Split {
                key: "/user/id".to_owned(),
                arms: vec![arm("7", 9_000), arm("8", 1_000)],
                ..v1::Split::default()
            }),
        }),
        by: "a@b".to_owned(),
        ..v1::SetRouteRequest::default()
    }
}

/// What clients ask of routes and what goes over them.
fn requests_of_routes() -> Vec<Vec<u8>> {
    let (function, alias, by) = ("resize".to_owned(), "live".to_owned(), "a@b".to_owned());
    let rollout = v1::StartRolloutRequest {
        function: function.clone(),
        alias: alias.clone(),
        to_version: 8,
        plan: Some(v1::RolloutPlan {
            steps: vec![100, 2_500, 10_000],
            guards: vec![
                "failure_rate<=+0.5%".to_owned(),
                "cold_p95<=+20%".to_owned(),
            ],
            min_invocations: 500,
            bake_ms: 60_000,
        }),
        key: "label:user".to_owned(),
        by: by.clone(),
        ..v1::StartRolloutRequest::default()
    };
    let pause = v1::PauseRolloutRequest {
        function: function.clone(),
        alias: alias.clone(),
        by: by.clone(),
    };
    let shadow = v1::StartShadowRequest {
        function: function.clone(),
        alias: alias.clone(),
        to_version: 8,
        sample: 500,
        by,
        ..v1::StartShadowRequest::default()
    };
    let experiment = v1::GetExperimentRequest {
        function,
        alias,
        job_id: "last".to_owned(),
        metrics: vec![v1::Metric {
            pointer: "/score".to_owned(),
            less_is_better: true,
        }],
        within_part: Some(0.1),
        ..v1::GetExperimentRequest::default()
    };
    vec![
        tagged(8, &set_route()),
        tagged(9, &rollout),
        tagged(10, &pause),
        tagged(11, &shadow),
        tagged(12, &experiment),
    ]
}

pub(crate) fn version() -> Version {
    Version {
        id: VersionId(7),
        function: "resize".to_owned(),
        number: 3,
        content: Digest([3; 32]),
        spec: VersionSpec {
            runtime: Runtime::Python,
            handler: "app.handler".to_owned(),
            command: Vec::new(),
            environment: [("LEVEL".to_owned(), "3".to_owned())].into(),
            memory_bytes: Some(128 << 20),
            files_max: Some(64),
            processes_max: Some(8),
            timeout_ms: Some(5_000),
            init_timeout_ms: Some(10_000),
            idle_timeout_ms: Some(60_000),
            warm: 1,
            pure: true,
        },
        artifact: Artifact {
            digest: Digest([1; 32]),
            upload: UploadId([4; 16]),
            packed_bytes: 1_000,
            unpacked_bytes: 3_000,
            file_count: 2,
        },
        epoch: 1,
        published_ms: 1_700_000_000_000,
        published_by: "a@b".to_owned(),
    }
}

/// The manifest of this crate, packed.
fn artifacts() -> Vec<Vec<u8>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let packed = umbel_artifact::pack(path.as_ref());
    packed.map(|packed| packed.bytes).into_iter().collect()
}

fn failure() -> Failure {
    Failure {
        kind: FailureKind::Timeout,
        error_type: "Timeout".to_owned(),
        message: "ran longer than 5 ms".to_owned(),
        stderr: "...".to_owned(),
    }
}

fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL,
        worker: WorkerId([9; 16]),
        name: "w-1".to_owned(),
        slots: 8,
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        functions: vec!["f".to_owned()],
        runs_programs: true,
        runtimes: Runtimes::from_iter([Runtime::Python, Runtime::Wasm]),
        holdings: Holdings {
            warm: vec![Digest([1; 32])],
            cached: vec![Digest([1; 32]), Digest([2; 32])],
            ..Holdings::default()
        },
        version: "0.1.0".to_owned(),
        offers: vec![Offer {
            lease: LEASE,
            job: JOB,
            indices: Ranges::one(3..9),
            attempt: 1,
            version: Some(VersionId(7)),
            arm: Some(ArmId(2)),
        }],
    }
}

fn to_coordinator() -> Vec<Vec<u8>> {
    let begun = Begun {
        lease: LEASE,
        count: 3,
    };
    let report = Report {
        number: 1,
        chunks: vec![ChunkReport {
            begun,
            succeeded: Ranges::one(0..2),
            columns: columns(2),
            failed: vec![FailedAttempt {
                index: 2,
                failure: failure(),
                started_at_us: 7,
                duration_us: 5_000,
                cpu_us: Some(40),
                no_retry: false,
                cold_start: None,
            }],
            usage: Usage {
                duration_us: 25,
                cpu_us: 9,
                attempts: 3,
            },
            handed_back: Ranges::new(),
            cold: Vec::new(),
            logs: Bytes::new(),
            warm: Histogram::default(),
        }],
    };
    let messages = [
        FromWorker::Heartbeat(vec![begun]),
        FromWorker::Report(report),
        FromWorker::TakenBack(TakenBack {
            begun,
            indices: Ranges::one(5..9),
        }),
        FromWorker::Holds(Holdings {
            warm: vec![Digest([1; 32])],
            cached: vec![Digest([2; 32])],
            standing: vec![(Digest([1; 32]), 2)],
            failed: vec![Digest([3; 32])],
        }),
        FromWorker::Leaving,
        FromWorker::InvokeDone(InvokeDone {
            id: InvokeId(1),
            outcome: Err(failure()),
            duration_us: 1,
            cpu_us: None,
            cold_start: None,
        }),
    ];
    let mut seeds = vec![convert::hello(hello()).encode_to_vec()];
    seeds.extend(messages.map(|message| convert::from_worker(message).encode_to_vec()));
    seeds
}

fn to_worker() -> Vec<Vec<u8>> {
    let head = GrantHead {
        lease: LEASE,
        job: JOB,
        target: Target::Function("f".to_owned()),
        version: Some(VersionId(7)),
        arm: Some(ArmId(2)),
        indices: Ranges::one(0..3),
        attempt: 1,
        timeout_ms: Some(900_000),
        slots: 1,
        log_basis_points: 0,
    };
    let whole = Block::parse_stored(block(&["a", "bb", ""]).into());
    let mut slices = Vec::new();
    if let Ok(whole) = whole {
        convert::cut(&whole, 0, &head.indices, &mut slices);
    }
    let welcome = Welcome {
        heartbeat_ms: 1_000,
        epoch: 3,
        answers: vec![OfferAnswer {
            old_lease: LEASE,
            kept: Some((LEASE, Ranges::one(1..3))),
            slots: 1,
        }],
    };
    let messages = [
        ToWorker::Welcome(welcome),
        ToWorker::Version(Arc::new(version())),
        ToWorker::Keep(vec![Keep {
            version: VersionId(7),
            instances: 2,
        }]),
        ToWorker::Ack(7),
        ToWorker::Revoke(vec![LEASE]),
        ToWorker::Drain,
    ];
    let mut seeds = vec![convert::grant_message(head, slices).encode_to_vec()];
    for message in messages {
        if let convert::Outgoing::Ready(message) = convert::outgoing(message) {
            seeds.push(message.encode_to_vec());
        }
    }
    seeds
}
