use bytes::Bytes;
use umbel_core::arm::ArmFigures;
use umbel_core::change::{Change, FailedRecord, LeaseRecord, Record};
use umbel_core::id::{LeaseId, WorkerId};
use umbel_core::job::JobState;
use umbel_core::outcome::{Failure, FailureKind};
use umbel_core::ranges::Ranges;
use umbel_core::route::ArmId;

use super::*;
use crate::testing::{Told, block, created, job, open, record, reopen, status};
use crate::{MemoryEngine, VALUE_BYTES_MAX};

fn changes(opened: Opened) -> Vec<Change> {
    opened.changes.map(Result::unwrap).collect()
}

fn recorded(record: &Record) -> Change {
    Change::Recorded(Box::new(record.clone()))
}

fn without_columns(record: &Record) -> Change {
    recorded(&Record {
        columns: Bytes::new(),
        ..record.clone()
    })
}

fn granted(number: u64) -> Change {
    Change::Granted(LeaseRecord {
        lease: LeaseId { epoch: 1, number },
        worker: WorkerId([7; 16]),
        job: job(1),
        indices: Ranges::one(0..4),
        arm: None,
        version: None,
    })
}

#[test]
fn a_restart_is_told_everything_in_the_machines_order() {
    let (opened, engine) = open();
    let (store, mut number) = (opened.store, opened.next_number);
    let early = record(1, Ranges::one(0..3), 0);
    let late = record(1, Ranges::one(3..900), 20);
    let of_ended = record(2, Ranges::one(0..3), 0);
    let bytes = Bytes::from("inputs");
    let appended = |first| Change::Appended {
        job: job(1),
        block: block(first, 4, &bytes),
    };
    let turns = [
        vec![granted(2), granted(1), appended(4), created(2), created(1)],
        vec![
            status(1, JobState::Running),
            status(2, JobState::Running),
            appended(0),
        ],
        vec![recorded(&early), recorded(&of_ended)],
        vec![recorded(&late), status(2, JobState::Succeeded)],
        vec![
            Change::FunctionSeen("f".to_owned()),
            Change::LeaseEnded(LeaseId {
                epoch: 1,
                number: 2,
            }),
        ],
    ];
    for turn in turns {
        store.commit(number, &turn).unwrap();
        number += 1;
    }

    let told = changes(reopen(engine).0);
    let expected = [
        Change::FunctionSeen("f".to_owned()),
        created(1),
        created(2),
        status(1, JobState::Running),
        status(2, JobState::Succeeded),
        appended(0),
        appended(4),
        without_columns(&early),
        without_columns(&late),
        granted(1),
    ];
    assert_eq!(told, expected);
}

#[test]
fn epochs_and_numbers_ascend_over_restarts() {
    let (first, engine) = open();
    first
        .store
        .commit(first.next_number + 41, &[created(1)])
        .unwrap();
    let (second, _) = reopen(engine);
    assert_eq!((first.epoch, second.epoch), (1, 2));
    assert!(second.next_number > first.next_number + 41);
    assert_eq!(second.store.durable(), second.next_number - 1);
}

#[test]
fn a_long_record_is_cut_into_parts_and_put_together() {
    let (opened, engine) = open();
    let mut long = record(1, Ranges::one(0..2), 0);
    long.failed = (2..7)
        .map(|index| FailedRecord {
            index,
            failure: Failure {
                kind: FailureKind::Function,
                error_type: "Long".to_owned(),
                message: "m".repeat(VALUE_BYTES_MAX),
                stderr: "s".repeat(16 << 10),
            },
            attempts: 1,
            started_at_us: 0,
            duration_us: 0,
            cpu_us: None,
            cold_start: None,
        })
        .collect();
    let turn = [created(1), status(1, JobState::Running), recorded(&long)];
    opened.store.commit(opened.next_number, &turn).unwrap();
    let told = changes(reopen(engine).0);
    assert_eq!(told.last(), Some(&without_columns(&long)));
}

#[test]
fn a_block_comes_back_as_it_was_staged() {
    let (opened, _engine) = open();
    let store = opened.store;
    for bytes in [1, VALUE_BYTES_MAX, VALUE_BYTES_MAX + 1, 3 * VALUE_BYTES_MAX] {
        let bytes: Bytes = (0..bytes).map(|i| i as u8).collect();
        let block = block(0, 1, &bytes);
        store.stage(job(1), &block, &bytes).unwrap();
        assert_eq!(store.load_block(job(1), &block).unwrap(), bytes);
        store.unstage(job(1), &block).unwrap();
        assert!(matches!(
            store.load_block(job(1), &block),
            Err(Error::Missing { .. })
        ));
    }
}

#[test]
fn an_accepted_block_is_not_unstaged() {
    let (opened, _engine) = open();
    let bytes = Bytes::from("inputs");
    let block = block(0, 1, &bytes);
    opened.store.stage(job(1), &block, &bytes).unwrap();
    let accepted = Change::Appended { job: job(1), block };
    opened
        .store
        .commit(opened.next_number, &[created(1), accepted])
        .unwrap();
    opened.store.unstage(job(1), &block).unwrap();
    assert_eq!(opened.store.load_block(job(1), &block).unwrap(), bytes);
}

#[test]
fn what_was_staged_and_never_accepted_is_swept_at_open() {
    let (opened, engine) = open();
    let bytes = Bytes::from(vec![1; 2 * VALUE_BYTES_MAX]);
    let (accepted, forgotten) = (block(0, 1, &bytes), block(1, 1, &bytes));
    for block in [&accepted, &forgotten] {
        opened.store.stage(job(1), block, &bytes).unwrap();
    }
    let change = Change::Appended {
        job: job(1),
        block: accepted,
    };
    opened
        .store
        .commit(opened.next_number, &[created(1), change])
        .unwrap();

    let (again, _) = reopen(engine);
    assert_eq!(again.store.load_block(job(1), &accepted).unwrap(), bytes);
    let gone = again.store.load_block(job(1), &forgotten);
    assert!(matches!(gone, Err(Error::Missing { .. })), "{gone:?}");
}

#[test]
fn a_deleted_job_is_gone_at_once_and_its_rest_step_by_step_over_restarts() {
    let (opened, engine) = open();
    let (store, number) = (opened.store, opened.next_number);
    store
        .commit(
            number,
            &[created(1), created(2), status(2, JobState::Running)],
        )
        .unwrap();
    for turn in 1..1_500 {
        let record = record(1, Ranges::one(turn..turn + 1), 0);
        store
            .commit(number + u64::from(turn), &[recorded(&record)])
            .unwrap();
    }
    store
        .commit(number + 1_500, &[Change::JobDeleted(job(1))])
        .unwrap();
    assert!(store.sweep_step().unwrap());

    let (again, _) = reopen(engine);
    let store = again.store.clone();
    assert_eq!(changes(again), [created(2), status(2, JobState::Running)]);
    let mut steps = 0;
    while store.sweep_step().unwrap() {
        steps += 1;
    }
    assert!(steps >= 2, "{steps} steps for 3,000 keys");
    for kind in crate::key::OF_JOB {
        let left = scan::Entries::new(store.engine(), crate::key::under(kind, job(1))).count();
        assert_eq!(left, 0, "{kind:?}");
    }
}

#[test]
fn figures_of_arms_come_back_as_they_were_the_last_time() {
    let figures = |succeeded| {
        Box::new(ArmFigures {
            succeeded,
            ..ArmFigures::default()
        })
    };
    let cell = |arm, begin_ms, figures| Change::ArmCell {
        arm: ArmId(arm),
        begin_ms,
        figures,
    };
    let mark = |arm, at_ms, figures| Change::ArmMarked {
        arm: ArmId(arm),
        at_ms,
        figures,
    };
    let (opened, engine) = open();
    let turns = [
        vec![
            cell(1, 0, Some(figures(1))),
            cell(1, 300_000, Some(figures(2))),
            cell(2, 300_000, Some(figures(3))),
            mark(1, 7, figures(1)),
            mark(2, 7, figures(0)),
        ],
        // One joined the other; another arm made room.
        vec![
            cell(1, 0, Some(figures(3))),
            cell(1, 300_000, None),
            mark(1, 9, figures(3)),
            cell(2, 300_000, None),
            Change::ArmForgotten(ArmId(2)),
        ],
    ];
    for (number, turn) in (opened.next_number..).zip(turns) {
        opened.store.commit(number, &turn).unwrap();
    }
    let expected = [cell(1, 0, Some(figures(3))), mark(1, 9, figures(3))];
    assert_eq!(changes(reopen(engine).0), expected);
}

#[test]
fn records_of_another_version_are_refused() {
    let engine = MemoryEngine::new(usize::MAX, Told::new().0);
    let mut batch = WriteBatch::unnumbered();
    batch
        .put(
            Key::Format.encode(),
            disk::encode_format(Format {
                version: 9,
                epoch: 1,
            }),
        )
        .unwrap();
    engine.submit(batch);
    let error = Store::with_engine(Arc::new(engine))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("version 9") && error.contains("reads 1"),
        "{error}"
    );
}

#[test]
fn a_damaged_record_ends_the_restart_with_words() {
    let (opened, engine) = open();
    opened
        .store
        .commit(opened.next_number, &[created(1)])
        .unwrap();
    let mut batch = WriteBatch::unnumbered();
    batch
        .put(Key::Status(job(1)).encode(), &b"\xff"[..])
        .unwrap();
    engine.submit(batch);
    let mut told = reopen(engine).0.changes;
    assert_eq!(told.next().unwrap().unwrap(), created(1));
    let error = told.next().unwrap().unwrap_err().to_string();
    assert!(error.contains("JobStatus"), "{error}");
    assert!(told.next().is_none());
}
