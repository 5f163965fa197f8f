use umbel_core::change::{Change, FailedRecord, Record, Summary, WaitingRecord};
use umbel_core::job::{BlockRef, Counts, JobState};
use umbel_core::outcome::{Failure, FailureKind};
use umbel_core::ranges::Ranges;
use umbel_proto::block::BlockBuilder;

use super::*;
use crate::key::{At, Block};
use crate::testing::{Told, block, created, job, open, record, status};
use crate::{MemoryEngine, Opened, WriteBatch};

/// A store with one job of 300 inputs in three blocks, of which 200 have succeeded.
struct Scene {
    opened: Opened,
    engine: Arc<MemoryEngine>,
    blocks: Vec<BlockRef>,
    number: u64,
}

impl Scene {
    fn new() -> Self {
        let (opened, engine) = open();
        let mut scene = Self {
            number: opened.next_number,
            opened,
            engine,
            blocks: Vec::new(),
        };
        let mut changes = vec![created(1)];
        for first in [0, 100, 200] {
            let mut builder = BlockBuilder::new();
            (first..first + 100).for_each(|index: u32| builder.push(index.to_string().as_bytes()));
            let bytes = builder.finish();
            let block = block(first, 100, &bytes);
            scene.opened.store.stage(job(1), &block, &bytes).unwrap();
            scene.blocks.push(block);
            changes.push(Change::Appended { job: job(1), block });
        }
        scene.commit(&changes);
        // One of them with columns that lie apart, one with its own.
        scene.commit(&[recorded(0..190, 20)]);
        scene.commit(&[recorded_with_logs(190..200)]);
        scene
    }

    fn commit(&mut self, changes: &[Change]) {
        self.opened.store.commit(self.number, changes).unwrap();
        self.number += 1;
    }

    /// The job ends, with these many succeeded, failed and cancelled.
    fn end(&mut self, succeeded: u64, failed: u64, cancelled: u64) {
        let Change::JobStatus { job, mut status } = status(1, JobState::Cancelled) else {
            panic!("no status")
        };
        status.summary = Some(Summary {
            counts: Counts {
                total: 300,
                succeeded,
                failed,
                cancelled,
                ..Counts::default()
            },
            ..Summary::default()
        });
        self.commit(&[Change::JobStatus { job, status }]);
    }

    fn put(&self, key: Key, value: impl Into<Bytes>) {
        let mut batch = WriteBatch::unnumbered();
        batch.put(key.encode(), value).unwrap();
        self.engine.submit(batch);
    }

    fn delete(&self, key: Key) {
        let mut batch = WriteBatch::unnumbered();
        batch.delete(key.encode());
        self.engine.submit(batch);
    }

    fn check(&self) -> Report {
        let engine: Arc<dyn Engine> = Arc::clone(&self.engine) as Arc<dyn Engine>;
        check_engine(&engine, &mut |_| {}).unwrap()
    }

    /// Each problem as it is printed, without the job's name.
    fn problems(&self) -> Vec<String> {
        let prefix = format!("job {}: ", job(1));
        let problems = self.check().problems.into_iter();
        problems
            .map(|problem| problem.to_string().replace(&prefix, ""))
            .collect()
    }

    /// Where the record of the turn that many turns ago lies.
    fn at(&self, ago: u64) -> At {
        At {
            commit: self.number - ago,
            n: 0,
        }
    }
}

fn recorded(indices: Range<u32>, bytes: usize) -> Change {
    Change::Recorded(Box::new(record(1, Ranges::one(indices), bytes)))
}

fn recorded_with_logs(indices: Range<u32>) -> Change {
    let mut columns = umbel_proto::columns::ColumnsBuilder::new();
    columns.push(b"", 0, None, 0);
    columns.log("printed");
    Change::Recorded(Box::new(Record {
        logs: columns.finish_logs(),
        ..record(1, Ranges::one(indices), 1)
    }))
}

fn failed(index: u32) -> FailedRecord {
    FailedRecord {
        index,
        failure: Failure {
            kind: FailureKind::Function,
            error_type: String::new(),
            message: "no".to_owned(),
            stderr: String::new(),
        },
        attempts: 1,
        started_at_us: 0,
        duration_us: 0,
        cpu_us: None,
        cold_start: None,
    }
}

fn rest() -> Record {
    Record {
        job: job(1),
        failed: vec![failed(200)],
        cancelled: Ranges::one(201..300),
        ..Record::default()
    }
}

#[test]
fn a_sound_store_has_no_problems_at_any_point_of_its_life() {
    let mut scene = Scene::new();
    assert_eq!(scene.problems(), [""; 0]);
    let looked_at = scene.check().looked_at;
    // Format; record; 3 blocks with their acceptance; 2 records, pointers; columns and logs apart.
    assert_eq!((looked_at.jobs, looked_at.keys), (1, 1 + 1 + 6 + 4 + 2));
    scene.commit(&[Change::Recorded(Box::new(rest()))]);
    scene.end(200, 1, 99);
    assert_eq!(scene.problems(), [""; 0]);
    // An upload that nobody has accepted yet, of a job that is not there yet.
    let bytes = Bytes::from_static(b"whatever");
    let staged = block(0, 1, &bytes);
    scene.opened.store.stage(job(2), &staged, &bytes).unwrap();
    assert_eq!(scene.problems(), [""; 0]);
    scene.commit(&[Change::JobDeleted(job(1))]);
    assert_eq!(scene.problems(), [""; 0]);
    scene.opened.store.sweep_step().unwrap();
    assert_eq!(scene.problems(), [""; 0]);
}

#[test]
fn a_redrive_may_end_again_what_has_ended_once_under_its_number() {
    let mut scene = Scene::new();
    scene.commit(&[Change::Recorded(Box::new(rest()))]);
    let again = |indices: Range<u32>| Record {
        job: job(1),
        redrive: 1,
        waiting: vec![WaitingRecord {
            indices: Ranges::one(indices),
            history: Default::default(),
            due_ms: 0,
        }],
        ..Record::default()
    };
    let Change::JobStatus { job: id, status } = status(1, JobState::Running) else {
        panic!("no status")
    };
    let status = umbel_core::change::JobStatus {
        redrives: 1,
        ..status
    };
    scene.commit(&[
        Change::Recorded(Box::new(again(200..210))),
        Change::JobStatus { job: id, status },
    ]);
    let mut second = record(1, Ranges::one(200..205), 20);
    second.redrive = 1;
    scene.commit(&[Change::Recorded(Box::new(second.clone()))]);
    assert_eq!(scene.problems(), [""; 0]);
    scene.commit(&[Change::Recorded(Box::new(second))]);
    let twice = scene.problems();
    assert!(
        twice[0].contains("index 200 ends twice under redrive 1"),
        "{twice:?}"
    );
    scene.commit(&[Change::Recorded(Box::new(again(200..201)))]);
    let problems = scene.problems();
    assert!(
        problems[1].contains("index 200 waits again and has ended"),
        "{problems:?}"
    );
}

#[test]
fn an_invocation_that_ended_twice_is_found() {
    let mut scene = Scene::new();
    scene.commit(&[recorded(150..151, 20)]);
    let problems = scene.problems();
    assert_eq!(problems.len(), 1);
    let at = scene.at(1);
    assert_eq!(
        problems[0],
        format!(
            "record 0 of commit {}: index 150 ends twice under redrive 0",
            at.commit
        )
    );
}

#[test]
fn a_summary_that_its_records_do_not_bear_out_is_found() {
    let mut scene = Scene::new();
    scene.commit(&[Change::Recorded(Box::new(rest()))]);
    scene.end(201, 0, 99);
    let problems = scene.problems();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("its summary counts"), "{problems:?}");
    let mut early = Scene::new();
    early.end(200, 0, 0);
    assert!(early.problems()[0].contains("100 of 300 invocations are not final"));
}

/// What is done to a sound store, and what is said of it.
type Damage = (&'static str, fn(&Scene), &'static str);

const DAMAGES: [Damage; 18] = [
    (
        "a byte of a block",
        |s| {
            let key = Key::Part(Whole::Input(job(1), name_of(s, 1)), 0);
            let mut bytes = s.engine.get(&key.encode()).unwrap().unwrap().to_vec();
            bytes[150] ^= 1;
            s.put(key, bytes);
        },
        "block of inputs at 100: the block's checksum",
    ),
    (
        "a short block",
        |s| {
            s.put(
                Key::Part(Whole::Input(job(1), name_of(s, 1)), 0),
                &b"short"[..],
            );
        },
        "block of inputs at 100: it has 5 bytes of",
    ),
    (
        "a block without its bytes",
        |s| {
            s.delete(Key::Part(Whole::Input(job(1), name_of(s, 2)), 0));
        },
        "block of inputs at 200: it is not stored",
    ),
    (
        "a gap",
        |s| {
            s.delete(Key::Appended(job(1), name_of(s, 1)));
            s.delete(Key::Part(Whole::Input(job(1), name_of(s, 1)), 0));
        },
        "block of inputs at 200: it begins at 200, the one before ends at 100",
    ),
    (
        "bytes that nobody accepted",
        |s| {
            s.delete(Key::Appended(job(1), name_of(s, 2)));
        },
        "block of inputs at 200: it is stored, and was neither accepted nor staged",
    ),
    (
        "a mark that would remove inputs",
        |s| {
            s.put(Key::Staged(job(1), name_of(s, 0)), Bytes::new());
        },
        "block of inputs at 0: it is accepted and still marked as staged",
    ),
    (
        "a record that is none",
        |s| {
            s.put(Key::Part(Whole::Record(job(1), s.at(1)), 0), &b"\xff"[..]);
        },
        "a record of kind IndexRecord cannot be read",
    ),
    (
        "outputs that are gone",
        |s| {
            s.delete(Key::Part(Whole::Columns(job(1), s.at(2)), 0));
        },
        "all 1 parts are missing",
    ),
    (
        "outputs of nothing",
        |s| {
            s.put(Key::Part(Whole::Columns(job(1), s.at(0)), 0), &b"x"[..]);
        },
        "they belong to no record",
    ),
    (
        "a byte of outputs",
        |s| {
            let key = Key::Part(Whole::Columns(job(1), s.at(2)), 0);
            let mut bytes = s.engine.get(&key.encode()).unwrap().unwrap().to_vec();
            bytes[1000] ^= 1;
            s.put(key, bytes);
        },
        "outputs of record 0 of commit",
    ),
    (
        "logs that are gone",
        |s| {
            s.delete(Key::Part(Whole::Logs(job(1), s.at(1)), 0));
        },
        "logs of record 0 of commit",
    ),
    (
        "logs of nothing",
        |s| {
            s.put(Key::Part(Whole::Logs(job(1), s.at(0)), 0), &b"x"[..]);
        },
        "1 belong to no record",
    ),
    (
        "a pointer that is gone",
        |s| {
            s.delete(Key::ByIndex(job(1), 190, s.at(1)));
        },
        "pointer from index 190 to record 0 of commit",
    ),
    (
        "a pointer to nothing",
        |s| {
            s.put(Key::ByIndex(job(1), 7, s.at(0)), &[0, 0, 0, 9][..]);
        },
        "its record is not there",
    ),
    (
        "a pointer beside its record",
        |s| {
            s.put(Key::ByIndex(job(1), 7, s.at(1)), &[0, 0, 0, 9][..]);
        },
        "its record does not tell of that index",
    ),
    (
        "a job without its record",
        |s| {
            s.delete(Key::Part(Whole::Job(job(1)), 0));
        },
        "Record: 2 of a job that is not there",
    ),
    (
        "a key of another time",
        |s| {
            let mut batch = WriteBatch::unnumbered();
            batch.put(&b"\x7fwhat"[..], Bytes::new()).unwrap();
            s.engine.submit(batch);
        },
        "a key of 5 bytes and kind 127 is not known: 7f77686174",
    ),
    (
        "a key that is cut",
        |s| {
            let mut batch = WriteBatch::unnumbered();
            let key = Key::ByIndex(job(1), 7, s.at(1)).encode();
            batch.put(key.slice(..9), Bytes::new()).unwrap();
            s.engine.submit(batch);
        },
        "a key of 9 bytes and kind 10 is not known",
    ),
];

#[test]
fn every_damage_is_found_and_named() {
    for (damage, inflict, words) in DAMAGES {
        let scene = Scene::new();
        inflict(&scene);
        let problems = scene.problems();
        assert!(
            problems.iter().any(|problem| problem.contains(words)),
            "{damage}: {problems:?}"
        );
    }
}

fn name_of(scene: &Scene, n: usize) -> Block {
    Block {
        first: scene.blocks[n].first,
        appender: scene.blocks[n].appender,
    }
}

#[test]
fn a_lease_of_this_epoch_belongs_to_a_job_that_runs() {
    let mut scene = Scene::new();
    let lease = |epoch, number, of| {
        Change::Granted(umbel_core::change::LeaseRecord {
            lease: umbel_core::id::LeaseId { epoch, number },
            worker: umbel_core::id::WorkerId([1; 16]),
            job: job(of),
            indices: Ranges::one(200..210),
            arm: None,
            version: None,
        })
    };
    scene.commit(&[lease(1, 1, 1), lease(0, 1, 2)]);
    assert_eq!(
        scene.problems(),
        [""; 0],
        "those of earlier epochs are void"
    );
    scene.commit(&[lease(1, 2, 2), lease(2, 1, 1)]);
    let problems = scene.problems();
    assert!(problems[0].contains("its job does not run"), "{problems:?}");
    assert!(problems[1].contains("of an epoch after 1"), "{problems:?}");
}

#[test]
fn a_thousand_problems_are_told_and_more_are_counted() {
    let scene = Scene::new();
    for n in 0..1_500_u32 {
        let at = At { commit: 1, n };
        scene.put(Key::Part(Whole::Columns(job(1), at), 0), &b"x"[..]);
    }
    let report = scene.check();
    assert_eq!(report.problems.len(), PROBLEMS_KEPT_MAX);
    assert_eq!(report.problems_count, 1_500);
}

#[test]
fn a_directory_is_checked_where_it_lies_and_not_made_where_it_does_not() {
    let root = tempfile::tempdir().unwrap();
    let settings = Settings::new(root.path().join("data"));
    let nothing = check(&settings, &mut |_| {}).unwrap_err().to_string();
    assert!(nothing.contains("holds no data of umbel"), "{nothing}");
    assert!(!settings.dir.exists());
    let opened = crate::Store::open(&settings, Told::new().0).unwrap();
    let store = opened.store;
    store.commit(opened.next_number, &[created(1)]).unwrap();
    let in_use = check(&settings, &mut |_| {}).unwrap_err();
    assert!(matches!(in_use, Error::InUse { .. }), "{in_use}");
    store.close().unwrap();
    let report = check(&settings, &mut |_| {}).unwrap();
    assert_eq!((report.looked_at.jobs, report.problems_count), (1, 0));
    let again = crate::Store::open(&settings, Told::new().0).unwrap();
    assert_eq!(again.epoch, 2, "a check is no start");
}
