//! What the tests of this crate share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use umbel_core::change::{Change, JobRecord, JobStatus, Record};
use umbel_core::function::{
    Alias, Artifact, Digest, FunctionRecord, LIVE, Runtime, UploadId, Version, VersionId,
    VersionSpec,
};
use umbel_core::id::{Appender, Index, JobId};
use umbel_core::job::{BlockRef, JobSpec, JobState, Source, StartMode, Target};
use umbel_core::policy::{Labels, Policy};
use umbel_core::ranges::Ranges;
use umbel_core::rollout::{Rollout, RolloutPlan, RolloutState};
use umbel_core::route::{ArmId, Route};
use umbel_proto::columns::ColumnsBuilder;

use crate::{Commit, Engine, Error, Listener, MemoryEngine, Opened, Store};

/// What a listener was told.
#[derive(Debug)]
pub(crate) enum Event {
    Durable(u64),
    Committed(Commit),
    Failed(Error),
    Fenced(Error),
}

impl Event {
    /// The number that became durable, if this is what was told.
    pub(crate) fn durable(&self) -> Option<u64> {
        match self {
            Self::Durable(number) => Some(*number),
            _ => None,
        }
    }
}

/// A listener that hands on what it is told.
pub(crate) struct Told(Sender<Event>);

impl Told {
    /// The listener and what it hears. The receiver ends with the engine.
    pub(crate) fn new() -> (Arc<Self>, Receiver<Event>) {
        let (sender, receiver) = channel();
        (Arc::new(Self(sender)), receiver)
    }

    fn tell(&self, event: Event) {
        // A test that has seen enough has dropped its end.
        let _ = self.0.send(event);
    }
}

impl Listener for Told {
    fn durable(&self, number: u64) {
        self.tell(Event::Durable(number));
    }

    fn committed(&self, commit: &Commit) {
        self.tell(Event::Committed(*commit));
    }

    fn failed(&self, error: &Error) {
        self.tell(Event::Failed(error.clone()));
    }

    fn fenced(&self, error: &Error) {
        self.tell(Event::Fenced(error.clone()));
    }
}

/// A store in memory that has just been opened, and its engine.
pub(crate) fn open() -> (Opened, Arc<MemoryEngine>) {
    reopen(Arc::new(MemoryEngine::new(usize::MAX, Told::new().0)))
}

/// A store over what an engine holds.
pub(crate) fn reopen(engine: Arc<MemoryEngine>) -> (Opened, Arc<MemoryEngine>) {
    let shared: Arc<dyn Engine> = Arc::clone(&engine) as Arc<dyn Engine>;
    (Store::with_engine(shared).unwrap(), engine)
}

/// The job with this number.
pub(crate) fn job(number: u8) -> JobId {
    JobId([number; 16])
}

/// The acceptance of a job over blocks.
pub(crate) fn created(number: u8) -> Change {
    Change::JobCreated(Arc::new(JobRecord {
        id: job(number),
        spec: JobSpec {
            name: format!("job {number}"),
            target: Target::Function("umbel.echo".to_owned()),
            policy: Policy::default(),
            labels: Labels::new(),
            start: StartMode::AsSealed,
        },
        source: Source::Blocks,
        request_id: String::new(),
        content_digest: [number; 32],
        created_ms: 1,
        routing: None,
        shadow_of: None,
        version: None,
    }))
}

/// A job's status, with nothing but its state.
pub(crate) fn status(number: u8, state: JobState) -> Change {
    let status = JobStatus {
        state,
        sealed: None,
        failure: None,
        started_ms: None,
        finished_ms: None,
        redrives: 0,
        redriven: None,
        pinned: None,
        routing: None,
        summary: None,
    };
    Change::JobStatus {
        job: job(number),
        status,
    }
}

/// A block of the first upload.
pub(crate) fn block(first: Index, count: u32, bytes: &Bytes) -> BlockRef {
    BlockRef {
        first,
        count,
        bytes: bytes.len() as u32,
        appender: Appender(1),
    }
}

/// The record of a worker that succeeded with `reported`; the output of each is its index in words,
/// padded to `bytes`.
pub(crate) fn record(number: u8, reported: Ranges, bytes: usize) -> Record {
    let mut columns = ColumnsBuilder::new();
    for index in reported.indices() {
        let words = output(index);
        let padding = padding(index, bytes.saturating_sub(words.len()));
        columns.push(
            (words + &padding).as_bytes(),
            duration_us(index),
            None,
            1_000,
        );
    }
    Record {
        job: job(number),
        worker: "worker".into(),
        function: "umbel.echo".into(),
        version: None,
        attempt: 1,
        succeeded: reported.clone(),
        reported,
        columns: columns.finish(),
        ..Record::default()
    }
}

/// The output that [`record`] gives an index.
pub(crate) fn output(index: Index) -> String {
    format!("output {index}")
}

/// A line end and noise behind an output, which no packing makes shorter.
fn padding(index: Index, bytes: usize) -> String {
    let mut state = u64::from(index) + 1;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005);
        state = state.wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + (state >> 33) as u8 % 90)
    });
    std::iter::once('\n').chain(noise).take(bytes).collect()
}

/// The run time that [`record`] gives an index.
pub(crate) fn duration_us(index: Index) -> u64 {
    u64::from(index) * 3
}

/// The publication of the only version of a function `f`, of an artifact that was staged.
pub(crate) fn rollout() -> Rollout {
    Rollout {
        function: "f".to_owned(),
        alias: LIVE.to_owned(),
        to: 2,
        from: 1,
        stable_version: VersionId(1),
        plan: RolloutPlan {
            steps: vec![100, 10_000],
            guards: vec!["p95<=+20%".parse().unwrap()],
            least: 500,
            bake_ms: 0,
        },
        state: RolloutState::Advancing,
        step: 0,
        step_ms: 1,
        started_ms: 1,
        ended_ms: None,
        by: "me@desk".to_owned(),
        why: "it was started".to_owned(),
        before: Route::plain(1),
        candidate: ArmId(1),
        baseline: ArmId(2),
        stable: ArmId(3),
        began: Arc::default(),
        ended: None,
        last_failure: String::new(),
    }
}

pub(crate) fn published(upload: UploadId, packed_bytes: u64) -> [Change; 3] {
    let version = Version {
        id: VersionId(1),
        function: "f".to_owned(),
        number: 1,
        content: Digest([2; 32]),
        spec: VersionSpec {
            runtime: Runtime::Exec,
            handler: String::new(),
            command: Vec::new(),
            environment: std::collections::BTreeMap::new(),
            memory_bytes: None,
            files_max: None,
            processes_max: None,
            timeout_ms: None,
            init_timeout_ms: None,
            idle_timeout_ms: None,
            warm: 0,
            pure: false,
        },
        artifact: Artifact {
            digest: Digest([1; 32]),
            upload,
            packed_bytes,
            unpacked_bytes: 2 * packed_bytes,
            file_count: 1,
        },
        epoch: 1,
        published_ms: 1,
        published_by: "me@desk".to_owned(),
    };
    let record = FunctionRecord {
        name: "f".to_owned(),
        last_number: 1,
        last_id: version.id,
        deleted: false,
        last_arm: ArmId(0),
    };
    let alias = Alias {
        function: "f".to_owned(),
        name: LIVE.to_owned(),
        route: Route::plain(1),
        shadow: None,
        follows: true,
        trail: Vec::new(),
        moves: Vec::new(),
        arms: BTreeMap::new(),
    };
    [
        Change::Function(record),
        Change::Published(Arc::new(version)),
        Change::AliasMoved(alias),
    ]
}
