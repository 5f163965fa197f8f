//! One store, killed again and again in the middle of its work, goes on each time from all that it
//! had told to be durable, and is sound.
//!
//! `UMBEL_KILL_LOOPS` makes it more often.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "test code outside of test functions, and a child that speaks on its stdout"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use std::sync::{Arc, OnceLock};

use umbel_core::change::{Change, JobRecord, Record};
use umbel_core::id::{Appender, JobId};
use umbel_core::job::{BlockRef, JobSpec, Source, StartMode, Target};
use umbel_core::policy::{Labels, Policy};
use umbel_core::ranges::Ranges;
use umbel_proto::block::BlockBuilder;
use umbel_proto::columns::ColumnsBuilder;
use umbel_store::check::check;
use umbel_store::{Commit, Error, Listener, Opened, Settings, Store};

/// Where the child process writes; unset in the test itself.
const DIR: &str = "UMBEL_STORE_KILL_DIR";

const JOB: JobId = JobId([7; 16]);

/// Each turn appends a block of so many inputs and records their results.
const CHUNK: u32 = 20;

/// Tells the parent how many inputs are accepted and done for sure.
#[derive(Default)]
struct Printer {
    /// The number of the turn before the first, and how many inputs there were by then.
    base: OnceLock<(u64, u64)>,
}

impl Listener for Printer {
    fn durable(&self, number: u64) {
        if let Some((base, done)) = self.base.get() {
            println!("durable {}", done + (number - base) * u64::from(CHUNK));
            std::io::stdout().flush().unwrap();
        }
    }

    fn committed(&self, _: &Commit) {}

    fn failed(&self, error: &Error) {
        panic!("{error}");
    }

    fn fenced(&self, error: &Error) {
        panic!("{error}");
    }
}

fn created() -> Change {
    Change::JobCreated(Arc::new(JobRecord {
        id: JOB,
        spec: JobSpec {
            name: "killed".to_owned(),
            target: Target::Function("umbel.echo".to_owned()),
            policy: Policy::default(),
            labels: Labels::new(),
            start: StartMode::AsAppended,
        },
        source: Source::Blocks,
        request_id: String::new(),
        content_digest: [0; 32],
        created_ms: 1,
        routing: None,
        shadow_of: None,
        version: None,
    }))
}

/// A turn that accepts a block of inputs and all their results.
fn turn(store: &Store, first: u32) -> Vec<Change> {
    let mut block = BlockBuilder::new();
    let mut columns = ColumnsBuilder::new();
    for index in first..first + CHUNK {
        block.push(index.to_string().as_bytes());
        columns.push(&[index as u8; 700], 1, None, 1);
    }
    let bytes = block.finish();
    let block = BlockRef {
        first,
        count: CHUNK,
        bytes: bytes.len() as u32,
        appender: Appender(1),
    };
    store.stage(JOB, &block, &bytes).unwrap();
    let reported = Ranges::one(first..first + CHUNK);
    let record = Record {
        job: JOB,
        worker: "worker".into(),
        attempt: 1,
        succeeded: reported.clone(),
        reported,
        columns: columns.finish(),
        ..Record::default()
    };
    let recorded = Change::Recorded(Box::new(record));
    vec![Change::Appended { job: JOB, block }, recorded]
}

/// How many inputs have a result, by what a restart is told.
fn done(opened: &mut Opened) -> (bool, u32) {
    let (mut job, mut done) = (false, Ranges::new());
    for change in opened.changes.by_ref() {
        match change.unwrap() {
            Change::JobCreated(_) => job = true,
            Change::Recorded(record) => done = done.union(&record.succeeded),
            _ => {}
        }
    }
    assert!(done.run_count() <= 1, "turns are missing in the middle");
    (job, done.len() as u32)
}

/// The child's part; it does nothing when it is run as a test.
#[test]
fn work_until_killed() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let printer = Arc::new(Printer::default());
    let listener = Arc::clone(&printer) as Arc<dyn Listener>;
    let mut opened = Store::open(&Settings::new(Path::new(&dir)), listener).unwrap();
    let (job, mut first) = done(&mut opened);
    let (store, mut number) = (opened.store, opened.next_number);
    printer.base.set((number - 1, first.into())).unwrap();
    let mut create = (!job).then(created);
    loop {
        let mut changes: Vec<Change> = create.take().into_iter().collect();
        changes.extend(turn(&store, first));
        store.commit(number, &changes).unwrap();
        while store.undurable_bytes() > 1 << 20 {
            std::thread::yield_now();
        }
        first += CHUNK;
        number += 1;
    }
}

#[test]
fn thirty_kills_in_a_row_lose_nothing() {
    let loops = std::env::var("UMBEL_KILL_LOOPS").map_or(30, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::new(dir.path());
    let mut told: u64 = 0;
    for round in 0..loops {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "work_until_killed", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Some are killed as they open, some in the middle of their work.
        let after = told + round % 6 * 7 * u64::from(CHUNK);
        let mut killed = false;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            if let Some((_, durable)) = line.unwrap().split_once("durable ") {
                told = durable.parse().unwrap();
            }
            if !killed && told >= after {
                killed = true;
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        if !dir.path().join("umbel-format").exists() {
            // It was killed before there was anything.
            assert_eq!(told, 0);
            continue;
        }
        let report = check(&settings, &mut |_| {}).unwrap();
        assert_eq!(report.problems, [], "round {round}");
    }
    let printer = Arc::new(Printer::default());
    let mut opened = Store::open(&settings, printer).unwrap();
    let (_, done) = done(&mut opened);
    assert!(u64::from(done) >= told, "{done} of {told}");
    println!("{loops} kills, {told} inputs told to be durable, {done} found");
}
