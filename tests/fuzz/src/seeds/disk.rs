//! Records as they lie on disk.

use std::sync::Arc;

use umbel_core::arm::ArmFigures;
use umbel_core::change::{
    FailedRecord, JobRecord, JobStatus, KeptRequest, LeaseRecord, Record, WaitingRecord,
};
use umbel_core::function::{Alias, FunctionRecord, Move, MoveKind, Qualifier, VersionId};
use umbel_core::history::History;
use umbel_core::id::{Appender, JobId, LeaseId, WorkerId};
use umbel_core::job::{BlockRef, JobSpec, JobState, Source, StartMode, Target, Usage};
use umbel_core::policy::Policy;
use umbel_core::ranges::Ranges;
use umbel_core::rollout::{Compared, Rollout, RolloutPlan, RolloutState};
use umbel_core::route::{ArmId, Key, Lead, Node, Plan, RanArm, Route, Routing, Rule, Split};
use umbel_core::shadow::{Shadow, ShadowOf};
use umbel_proto::disk;

use super::{JOB, columns, failure, version};

pub(super) fn records() -> Vec<Vec<u8>> {
    let job = JobRecord {
        id: JOB,
        spec: JobSpec {
            name: "nightly".to_owned(),
            target: Target::Program(vec!["wc".to_owned()]),
            policy: Policy::default(),
            labels: [("team".to_owned(), "a".to_owned())].into(),
            start: StartMode::AsSealed,
        },
        source: Source::Blocks,
        request_id: "order-17".to_owned(),
        content_digest: [7; 32],
        created_ms: 1_700_000_000_000,
        shadow_of: Some(ShadowOf {
            job: JobId([6; 16]),
            function: "f".to_owned(),
            alias: "live".to_owned(),
            sample: 500,
            salt: 7,
        }),
        version: Some(VersionId(7)),
        routing: Some(Arc::new(routing())),
    };
    let status = JobStatus {
        state: JobState::Running,
        sealed: Some(9),
        failure: None,
        started_ms: Some(1),
        finished_ms: None,
        redrives: 0,
        redriven: None,
        pinned: Some(VersionId(7)),
        routing: Some(Arc::new(routing())),
        summary: None,
    };
    let block = BlockRef {
        first: 3,
        count: 2,
        bytes: 40,
        appender: Appender(2),
    };
    let lease = LeaseRecord {
        lease: LeaseId {
            epoch: 3,
            number: 17,
        },
        worker: WorkerId([9; 16]),
        job: JOB,
        indices: Ranges::one(3..9),
        version: Some(VersionId(7)),
        arm: Some(ArmId(8)),
    };
    let format = disk::Format {
        version: 1,
        epoch: 3,
    };
    [
        (0, disk::encode_job(&job)),
        (1, disk::encode_status(&status)),
        (2, disk::encode_appended(block)),
        (3, disk::encode_record(&record(), disk::Columns::Inline, 0)),
        (4, disk::encode_lease(&lease)),
        (10, disk::encode_format(format)),
    ]
    .map(|(tag, bytes)| [&[tag][..], &bytes].concat())
    .to_vec()
}

/// Rules and a split.
fn plan() -> Arc<Plan> {
    let lead = |number| Target::Version("f".to_owned(), Qualifier::Version(number));
    let arm = |id: u32, weight| (ArmId(id), id.to_string(), lead(id), weight);
    let arms = vec![arm(7, 9_000), arm(8, 1_000)];
    let key = Some(Key::Pointer("/user/id".to_owned()));
    Arc::new(Plan {
        rules: vec![Rule {
            arm: ArmId(6),
            name: "rule:g".to_owned(),
            when: "input.country == \"DE\"".to_owned(),
            target: Target::Function("g".to_owned()),
        }],
        split: Some(Split::succeed(None, key, 7, arms)),
    })
}

/// What a pinned job keeps to.
fn routing() -> Routing {
    let leads = [
        Lead::Node(0),
        Lead::Version(VersionId(7)),
        Lead::Version(VersionId(8)),
    ];
    Routing {
        revision: 0,
        nodes: vec![Node {
            function: "f".to_owned(),
            alias: "live".to_owned(),
            plan: plan(),
            leads: leads.into(),
            otherwise: VersionId(7),
        }],
    }
}

/// Records of published functions, and of request ids.
pub(super) fn later_records() -> Vec<Vec<u8>> {
    let function = FunctionRecord {
        name: "f".to_owned(),
        last_number: 3,
        last_id: VersionId(7),
        deleted: false,
        last_arm: ArmId(8),
    };
    let plan = plan();
    let alias = Alias {
        function: "f".to_owned(),
        name: "live".to_owned(),
        route: Route {
            to: 3,
            plan: Some(Arc::clone(&plan)),
        },
        shadow: Some(Shadow {
            to: 8,
            sample: 500,
            salt: 7,
            since_ms: 1_700_000_000_000,
            by: "a@b".to_owned(),
        }),
        follows: true,
        trail: vec![
            Route::plain(1),
            Route {
                to: 2,
                plan: Some(Arc::clone(&plan)),
            },
        ],
        moves: vec![Move {
            kind: MoveKind::Pointed,
            by: "a@b".to_owned(),
            at_ms: 1_700_000_000_000,
            from: Some(2),
            to: 3,
            plan: Some(plan),
        }],
        arms: [(ArmId(7), "7".to_owned()), (ArmId(8), "8".to_owned())].into(),
    };
    let kept = KeptRequest {
        job: JOB,
        until_ms: 1_700_000_000_000,
    };
    [
        (5, disk::encode_function(&function)),
        (6, disk::encode_version(&version())),
        (7, disk::encode_alias(&alias)),
        (8, disk::encode_retired(1_700_000_000_000)),
        (9, disk::encode_request(kept)),
    ]
    .map(|(tag, bytes)| [&[tag][..], &bytes].concat())
    .to_vec()
}

/// Figures of arms, a rollout, and a job of copies.
pub(super) fn records_of_arms() -> Vec<Vec<u8>> {
    let mut figures = ArmFigures {
        routed: 9,
        succeeded: 7,
        failed: [1, 0, 1, 0, 0],
        usage: Usage {
            duration_us: 25,
            cpu_us: 9,
            attempts: 10,
        },
        ..ArmFigures::default()
    };
    figures.warm.add(1_000);
    figures.cold.add(90_000);
    let compared = || {
        Arc::new(Compared {
            candidate: figures.clone(),
            baseline: figures.clone(),
        })
    };
    let guards = ["failure_rate<=+0.5%", "cold_p95<=+20%"];
    let rollout = Rollout {
        function: "f".to_owned(),
        alias: "live".to_owned(),
        to: 8,
        from: 7,
        stable_version: VersionId(7),
        plan: RolloutPlan {
            steps: vec![100, 2_500, 10_000],
            guards: guards.iter().flat_map(|guard| guard.parse()).collect(),
            least: 500,
            bake_ms: 60_000,
        },
        state: RolloutState::RolledBack,
        step: 1,
        step_ms: 1_700_000_000_000,
        started_ms: 1_699_000_000_000,
        ended_ms: Some(1_700_000_000_100),
        by: "a@b".to_owned(),
        why: "failure_rate is over its guard".to_owned(),
        before: Route {
            to: 7,
            plan: Some(plan()),
        },
        candidate: ArmId(8),
        baseline: ArmId(9),
        stable: ArmId(7),
        began: compared(),
        ended: Some(compared()),
        last_failure: "ExitCode: 1".to_owned(),
    };
    [
        (11, disk::encode_arm_cell(&figures)),
        (12, disk::encode_arm_mark(1_700_000_000_000, &figures)),
        (13, disk::encode_rollout(&rollout)),
    ]
    .map(|(tag, bytes)| [&[tag][..], &bytes].concat())
    .to_vec()
}

fn record() -> Record {
    Record {
        job: JOB,
        worker: Arc::from("w-1"),
        attempt: 1,
        version: Some(7),
        arm: Some(RanArm {
            id: ArmId(8),
            name: Arc::from("8"),
        }),
        reported: Ranges::one(0..3),
        succeeded: Ranges::one(0..2),
        columns: columns(3),
        failed: vec![FailedRecord {
            index: 4,
            failure: failure(),
            attempts: 3,
            started_at_us: 7,
            duration_us: 5,
            cpu_us: None,
            cold_start: None,
        }],
        waiting: vec![WaitingRecord {
            indices: Ranges::one(6..8),
            history: History::default(),
            due_ms: 1_700_000_000_200,
        }],
        cancelled: Ranges::one(9..11),
        function: Arc::from("f"),
        ..Record::default()
    }
}
