//! The store on a real directory: what went in comes back, also after the next open.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use umbel_core::change::{Change, JobRecord, JobStatus, Record};
use umbel_core::id::{Appender, JobId};
use umbel_core::job::{BlockRef, JobSpec, JobState, Source, StartMode, Target};
use umbel_core::policy::{Labels, Policy};
use umbel_core::ranges::Ranges;
use umbel_proto::columns::ColumnsBuilder;
use umbel_store::{
    Commit, Error, Gaps, Listener, Opened, Outcome, Reached, Settings, Store, Wanted,
};

const JOB: JobId = JobId([7; 16]);
const COUNT: u32 = 10_000;
const CHUNK: u32 = 700;

struct Silent;

impl Listener for Silent {
    fn durable(&self, _: u64) {}

    fn committed(&self, _: &Commit) {}

    fn failed(&self, error: &Error) {
        panic!("{error}");
    }

    fn fenced(&self, error: &Error) {
        panic!("{error}");
    }
}

fn open(dir: &Path) -> Opened {
    Store::open(&Settings::new(dir), Arc::new(Silent)).unwrap()
}

fn created() -> Change {
    Change::JobCreated(Arc::new(JobRecord {
        id: JOB,
        spec: JobSpec {
            name: "squares".to_owned(),
            target: Target::Program(vec!["square".to_owned()]),
            policy: Policy::default(),
            labels: Labels::new(),
            start: StartMode::AsAppended,
        },
        source: Source::Blocks,
        request_id: "request".to_owned(),
        content_digest: [1; 32],
        created_ms: 1,
        routing: None,
        shadow_of: None,
        version: None,
    }))
}

fn running() -> Change {
    let status = JobStatus {
        state: JobState::Running,
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
    Change::JobStatus { job: JOB, status }
}

fn square(index: u32) -> String {
    (u64::from(index) * u64::from(index)).to_string()
}

/// A chunk's report: each output is the square of its index.
fn recorded(first: u32) -> Change {
    let reported = Ranges::one(first..COUNT.min(first + CHUNK));
    let mut columns = ColumnsBuilder::new();
    for index in reported.indices() {
        columns.push(square(index).as_bytes(), 1, Some(1), 1_000_000);
    }
    Change::Recorded(Box::new(Record {
        job: JOB,
        worker: "worker".into(),
        function: "exec:square".into(),
        attempt: 1,
        succeeded: reported.clone(),
        reported,
        columns: columns.finish(),
        ..Record::default()
    }))
}

#[test]
fn a_job_and_its_results_outlive_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(dir.path());
    let (store, mut number) = (opened.store, opened.next_number);
    let inputs: Bytes = (0..200_000_u32).map(|i| i as u8).collect();
    let block = BlockRef {
        first: 0,
        count: COUNT,
        bytes: inputs.len() as u32,
        appender: Appender(1),
    };
    store.stage(JOB, &block, &inputs).unwrap();
    assert_eq!(
        store.load_block(JOB, &block).unwrap(),
        inputs,
        "at once, though it lies in line"
    );
    store
        .commit(
            number,
            &[created(), running(), Change::Appended { job: JOB, block }],
        )
        .unwrap();
    // Later chunks are reported first.
    for first in (0..COUNT)
        .step_by(CHUNK as usize)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        number += 1;
        store.commit(number, &[recorded(first)]).unwrap();
    }
    store.close().unwrap();
    drop(store);

    let opened = open(dir.path());
    assert_eq!(opened.epoch, 2);
    let changes: Vec<Change> = opened.changes.map(Result::unwrap).collect();
    assert_eq!(
        changes[..3],
        [created(), running(), Change::Appended { job: JOB, block }]
    );
    let records = changes[3..].iter().filter_map(|change| match change {
        Change::Recorded(record) => Some(record.succeeded.len()),
        _ => None,
    });
    assert_eq!(records.sum::<u64>(), u64::from(COUNT));
    assert_eq!(opened.store.load_block(JOB, &block).unwrap(), inputs);

    let mut reader = opened
        .store
        .in_order(JOB, 0..COUNT, Wanted::ALL, Gaps::StopAt);
    let mut next = 0;
    loop {
        let page = reader.page(opened.store.durable()).unwrap();
        for row in page.rows {
            assert_eq!(row.index, next);
            assert_eq!(row.outcome, Outcome::Succeeded(square(next).into()));
            next += 1;
        }
        if page.reached != Reached::Limit {
            break;
        }
    }
    assert_eq!(next, COUNT);
}
