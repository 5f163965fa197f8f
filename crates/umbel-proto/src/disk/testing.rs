//! Core words of every shape, for the round trips.

use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use umbel_core::change::{
    FailedRecord, JobRecord, JobStatus, LeaseRecord, Record, Summary, WaitingRecord,
};
use umbel_core::cold_start::ColdStart;
use umbel_core::function::{
    Alias, Artifact, Digest, Move, MoveKind, Qualifier, Runtime, UploadId, Version, VersionId,
    VersionSpec,
};
use umbel_core::history::History;
use umbel_core::id::{JobId, LeaseId, WorkerId};
use umbel_core::job::{
    Counts, JobFailure, JobFailureKind, JobSpec, JobState, Source, StartMode, Target, Usage,
};
use umbel_core::outcome::{Failure, FailureKind};
use umbel_core::policy::{Labels, Policy, Tolerance};
use umbel_core::ranges::Ranges;
use umbel_core::redrive::Redriven;
use umbel_core::rollout::WHOLE;
use umbel_core::route::{
    ArmId, BUCKETS, Key, Lead, Node, Plan, RanArm, Route, Routing, Rule, Split,
};
use umbel_core::shadow::{Shadow, ShadowOf};

pub(super) fn ranges() -> impl Strategy<Value = Ranges> {
    vec((1_u32..1_000_000, 1_u32..1_000_000), 0..8).prop_map(|pairs| {
        let mut ranges = Ranges::new();
        let mut end = 0;
        for (distance, length) in pairs {
            ranges.push(end + distance..end + distance + length);
            end += distance + length;
        }
        ranges
    })
}

fn labels() -> impl Strategy<Value = Labels> {
    btree_map("[a-z]{1,8}", "[a-z]{0,8}", 0..4)
}

fn policy() -> impl Strategy<Value = Policy> {
    let tolerate = prop_oneof![
        any::<u64>().prop_map(Tolerance::Count),
        any::<u32>().prop_map(Tolerance::BasisPoints)
    ];
    let times = (
        any::<u64>(),
        any::<u64>(),
        any::<Option<u64>>(),
        any::<Option<u64>>(),
    );
    let rest = (
        any::<Option<u32>>(),
        option::of(tolerate),
        any::<Option<u64>>(),
        labels(),
    );
    let words = || btree_set("[a-zA-Z]{1,8}", 0..4);
    let more = (words(), words(), any::<Option<u64>>(), any::<(i32, u32)>());
    (1..u32::MAX, times, rest, more).prop_map(|(max_attempts, times, rest, more)| {
        let (retry_on, no_retry_on, enough, last) = more;
        Policy {
            max_attempts,
            backoff_initial_ms: times.0,
            backoff_max_ms: times.1,
            timeout_ms: times.2,
            deadline_ms: times.3,
            max_concurrency: rest.0,
            tolerate: rest.1,
            place_timeout_ms: rest.2,
            require: rest.3,
            priority: last.0,
            log_basis_points: last.1,
            retry_on,
            no_retry_on,
            enough,
            pin: last.0 % 2 == 0,
        }
    })
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        "[a-z]{1,8}".prop_map(Target::Function),
        vec("[a-z]{0,8}", 1..4).prop_map(Target::Program)
    ]
}

pub(super) fn job() -> impl Strategy<Value = JobRecord> {
    let source = prop_oneof![
        Just(Source::Blocks),
        any::<(u64, u32)>().prop_map(|(begin, count)| Source::Range { begin, count })
    ];
    let start = prop_oneof![Just(StartMode::AsSealed), Just(StartMode::AsAppended)];
    let spec = ("[a-z]{0,8}", target(), policy(), labels(), start);
    (
        any::<[u8; 16]>(),
        spec,
        source,
        "[a-z]{0,8}",
        any::<[u8; 32]>(),
        (any::<u64>(), routing(), option::of(shadow_of())),
    )
        .prop_map(
            |(
                id,
                (name, target, policy, labels, start),
                source,
                request_id,
                digest,
                (created_ms, routing, shadow_of),
            )| {
                JobRecord {
                    id: JobId(id),
                    spec: JobSpec {
                        name,
                        target,
                        policy,
                        labels,
                        start,
                    },
                    source,
                    request_id,
                    content_digest: digest,
                    created_ms,
                    version: (created_ms % 3 > 0).then_some(VersionId(9)),
                    routing,
                    shadow_of,
                }
            },
        )
}

fn shadow_of() -> impl Strategy<Value = ShadowOf> {
    let name = || "[a-z]{1,8}";
    (any::<[u8; 16]>(), name(), name(), 1..=WHOLE, any::<u64>()).prop_map(
        |(job, function, alias, sample, salt)| ShadowOf {
            job: JobId(job),
            function,
            alias,
            sample,
            salt,
        },
    )
}

fn shadow() -> impl Strategy<Value = Shadow> {
    let numbers = (any::<u32>(), 1..=WHOLE);
    (numbers, any::<u64>(), any::<u64>(), "[a-z ]{0,16}").prop_map(
        |((to, sample), salt, since_ms, by)| Shadow {
            to,
            sample,
            salt,
            since_ms,
            by,
        },
    )
}

fn usage() -> impl Strategy<Value = Usage> {
    any::<(u64, u64, u64)>().prop_map(|(duration_us, cpu_us, attempts)| Usage {
        duration_us,
        cpu_us,
        attempts,
    })
}

fn redriven() -> impl Strategy<Value = Redriven> {
    (
        any::<(u64, u64)>(),
        option::of(target()),
        any::<(u32, u64)>(),
        "[a-z]{0,8}",
        any::<[u8; 32]>(),
    )
        .prop_map(
            |((at_ms, invocations), target, (epoch, number), request_id, content_digest)| {
                Redriven {
                    at_ms,
                    target,
                    invocations,
                    first_lease: LeaseId { epoch, number },
                    request_id,
                    content_digest,
                }
            },
        )
}

pub(super) fn status() -> impl Strategy<Value = JobStatus> {
    let state = prop_oneof![
        Just(JobState::Running),
        Just(JobState::Succeeded),
        Just(JobState::Failed),
        Just(JobState::Cancelled)
    ];
    let kind = prop_oneof![
        Just(JobFailureKind::Tolerance),
        Just(JobFailureKind::Deadline),
        Just(JobFailureKind::Invocations)
    ];
    let failure = (kind, ".{0,8}").prop_map(|(kind, message)| JobFailure { kind, message });
    let counts =
        any::<(u64, u64, u64, u64)>().prop_map(|(total, succeeded, failed, cancelled)| Counts {
            total,
            waiting: 0,
            leased: 0,
            succeeded,
            failed,
            cancelled,
        });
    let summary = (counts, usage()).prop_map(|(counts, usage)| Summary { counts, usage });
    let times = (any::<Option<u64>>(), any::<Option<u64>>());
    (
        state,
        any::<Option<u32>>(),
        option::of(failure),
        times,
        (
            any::<u32>(),
            option::of(redriven()),
            (option::of((1u32..).prop_map(VersionId)), routing()),
        ),
        option::of(summary),
    )
        .prop_map(
            |(state, sealed, failure, (started_ms, finished_ms), again, summary)| {
                let (redrives, redriven, (pinned, routing)) = again;
                JobStatus {
                    state,
                    sealed,
                    failure,
                    started_ms,
                    finished_ms,
                    redrives,
                    redriven: redriven.map(Arc::new),
                    pinned,
                    routing,
                    summary,
                }
            },
        )
}

fn failed() -> impl Strategy<Value = FailedRecord> {
    let kind = prop_oneof![
        Just(FailureKind::Function),
        Just(FailureKind::Timeout),
        Just(FailureKind::Crashed),
        Just(FailureKind::Lost),
        Just(FailureKind::Rejected)
    ];
    let failure =
        (kind, ".{0,8}", ".{0,8}", ".{0,8}").prop_map(|(kind, error_type, message, stderr)| {
            Failure {
                kind,
                error_type,
                message,
                stderr,
            }
        });
    (
        0..u32::MAX,
        failure,
        any::<u32>(),
        any::<u64>(),
        any::<u64>(),
        any::<Option<u64>>(),
        any::<Option<[u64; 4]>>(),
    )
        .prop_map(
            |(index, failure, attempts, started_at_us, duration_us, cpu_us, cold)| FailedRecord {
                index,
                failure,
                attempts,
                started_at_us,
                duration_us,
                cpu_us,
                cold_start: cold.map(ColdStart::of_parts),
            },
        )
}

fn waiting() -> impl Strategy<Value = WaitingRecord> {
    let history = any::<(u16, u16, u8, u32, bool)>();
    let history = (history, version_id(), arm_id()).prop_map(|(some, version, arm)| {
        let (failed, lost, lost_alone, suspect_chunk, keeps_version) = some;
        History {
            failed,
            lost,
            lost_alone,
            suspect_chunk,
            version,
            arm,
            keeps_version,
        }
    });
    (ranges(), history, any::<u64>()).prop_map(|(indices, history, due_ms)| WaitingRecord {
        indices,
        history,
        due_ms,
    })
}

pub(super) fn record() -> impl Strategy<Value = Record> {
    let what = (ranges(), ranges(), any::<bool>(), vec(any::<u8>(), 0..64));
    let rest = (vec(failed(), 0..3), vec(waiting(), 0..3), ranges(), usage());
    (
        any::<[u8; 16]>(),
        any::<u32>(),
        "[a-z]{0,8}",
        any::<u32>(),
        what,
        rest,
    )
        .prop_map(
            |(job, redrive, worker, attempt, (reported, other, masked, columns), rest)| {
                let succeeded = if masked {
                    reported.minus(&other)
                } else {
                    reported.clone()
                };
                Record {
                    job: JobId(job),
                    redrive,
                    worker: worker.into(),
                    function: Arc::from("f"),
                    version: Some(attempt).filter(|attempt| *attempt > 0),
                    arm: Some(attempt)
                        .filter(|attempt| attempt % 2 > 0)
                        .map(|id| RanArm {
                            id: ArmId(id),
                            name: Arc::from("8"),
                        }),
                    attempt,
                    reported,
                    succeeded,
                    columns: Bytes::from(columns),
                    logs: Bytes::new(),
                    failed: rest.0,
                    waiting: rest.1,
                    cancelled: rest.2,
                    usage: rest.3,
                }
            },
        )
}

pub(super) fn lease() -> impl Strategy<Value = LeaseRecord> {
    (
        any::<u32>(),
        any::<u64>(),
        any::<[u8; 16]>(),
        any::<[u8; 16]>(),
        ranges(),
        (version_id(), arm_id()),
    )
        .prop_map(
            |(epoch, number, worker, job, indices, (version, arm))| LeaseRecord {
                lease: LeaseId { epoch, number },
                worker: WorkerId(worker),
                job: JobId(job),
                indices,
                version,
                arm,
            },
        )
}

fn version_id() -> impl Strategy<Value = Option<VersionId>> {
    option::of((1..u32::MAX).prop_map(VersionId))
}

pub(super) fn version() -> impl Strategy<Value = Version> {
    let texts = (
        "[a-z]{1,8}",
        "[a-z.]{0,8}",
        vec("[a-z]{1,4}", 0..3),
        "[a-z@]{0,8}",
    );
    let numbers = (1..u32::MAX, 1..u32::MAX, any::<(u64, u64, u32, u64)>());
    let spec = (
        0..Runtime::ALL.len(),
        any::<(Option<u64>, Option<u64>, u32, bool)>(),
        labels(),
    );
    let digests = any::<([u8; 32], [u8; 32], [u8; 16])>();
    (texts, numbers, spec, digests).prop_map(
        |((function, handler, command, published_by), numbers, spec, digests)| {
            let (id, number, (packed_bytes, unpacked_bytes, file_count, published_ms)) = numbers;
            let (runtime, (memory_bytes, timeout_ms, warm, pure), environment) = spec;
            Version {
                id: VersionId(id),
                function,
                number,
                content: Digest(digests.0),
                spec: VersionSpec {
                    runtime: Runtime::ALL[runtime],
                    handler,
                    command,
                    environment,
                    memory_bytes,
                    files_max: memory_bytes,
                    processes_max: timeout_ms,
                    timeout_ms,
                    init_timeout_ms: memory_bytes,
                    idle_timeout_ms: timeout_ms,
                    warm,
                    pure,
                },
                artifact: Artifact {
                    digest: Digest(digests.1),
                    upload: UploadId(digests.2),
                    packed_bytes,
                    unpacked_bytes,
                    file_count,
                },
                epoch: number / 2,
                published_ms,
                published_by,
            }
        },
    )
}

pub(super) fn alias() -> impl Strategy<Value = Alias> {
    let kind = prop_oneof![
        Just(MoveKind::Published),
        Just(MoveKind::Pointed),
        Just(MoveKind::RolledBack),
        Just(MoveKind::RouteSet),
        Just(MoveKind::RolloutStarted),
        Just(MoveKind::RolloutStepped),
        Just(MoveKind::Promoted),
        Just(MoveKind::RolloutRolledBack)
    ];
    let one = (
        kind,
        "[a-z@]{0,8}",
        any::<(u64, u32)>(),
        option::of(1..u32::MAX),
        plan(),
    )
        .prop_map(|(kind, by, (at_ms, to), from, plan)| Move {
            kind,
            by,
            at_ms,
            from,
            to,
            plan,
        });
    let names = ("[a-z]{1,8}", "[a-z]{1,8}");
    (
        names,
        any::<(u32, bool)>(),
        plan(),
        vec((any::<u32>(), plan()), 0..4),
        vec(one, 0..4),
        btree_map(any::<u32>().prop_map(ArmId), "[a-z0-9]{1,8}", 0..4),
        option::of(shadow()),
    )
        .prop_map(
            |(names, (to, follows), plan, trail, moves, arms, shadow)| Alias {
                function: names.0,
                name: names.1,
                route: Route { to, plan },
                follows,
                trail: trail
                    .into_iter()
                    .map(|(to, plan)| Route { to, plan })
                    .collect(),
                moves,
                arms,
                shadow,
            },
        )
}

fn lead_target() -> impl Strategy<Value = Target> {
    let name = || "[a-z]{1,8}".prop_map(|name| name);
    prop_oneof![
        name().prop_map(Target::Function),
        (name(), 1..u32::MAX)
            .prop_map(|(name, number)| Target::Version(name, Qualifier::Version(number))),
        (name(), name()).prop_map(|(name, alias)| Target::Version(name, Qualifier::Alias(alias))),
    ]
}

fn arm_id() -> impl Strategy<Value = Option<ArmId>> {
    option::of((1..u32::MAX).prop_map(ArmId))
}

/// Rules and a split, as an alias may have them or not.
pub(super) fn plan() -> impl Strategy<Value = Option<Arc<Plan>>> {
    let rule = (1..u32::MAX, "[a-z:]{0,8}", ".{0,16}", lead_target()).prop_map(
        |(arm, name, when, target)| Rule {
            arm: ArmId(arm),
            name,
            when,
            target,
        },
    );
    let key = prop_oneof![
        "/[a-z]{0,8}".prop_map(|pointer| Some(Key::Pointer(pointer))),
        "[a-z]{1,8}".prop_map(|label| Some(Key::Label(label))),
        Just(None)
    ];
    let arm = ("[a-z0-9]{1,8}", lead_target());
    let split = (key, any::<u64>(), vec(arm, 1..4)).prop_map(|(key, salt, arms)| {
        let count = u16::try_from(arms.len()).unwrap();
        let arms = arms.into_iter().zip(1..).map(|((name, target), id)| {
            let rest = if id == 1 { BUCKETS % count } else { 0 };
            (ArmId(id), name, target, BUCKETS / count + rest)
        });
        Split::succeed(None, key, salt, arms.collect())
    });
    option::of(
        (vec(rule, 0..3), option::of(split))
            .prop_map(|(rules, split)| Arc::new(Plan { rules, split })),
    )
}

/// What a job may keep to.
pub(super) fn routing() -> impl Strategy<Value = Option<Arc<Routing>>> {
    plan().prop_map(|plan| {
        let plan = plan?;
        let leads = plan.targets().zip(0..);
        let leads = leads.map(|(_, at)| match at % 2 {
            0 => Lead::Version(VersionId(7)),
            _ => Lead::Node(0),
        });
        let node = Node {
            function: "f".to_owned(),
            alias: "live".to_owned(),
            leads: leads.collect(),
            otherwise: VersionId(3),
            plan,
        };
        Some(Arc::new(Routing {
            revision: 0,
            nodes: vec![node],
        }))
    })
}
