//! A loss of power: a real run is recorded write by write, the disk is cut at many points with any
//! part of what was not synced, and what opens then is held against what was acknowledged.
//!
//! `UMBEL_POWER_POINTS` and `UMBEL_POWER_TURNS` make it longer, `UMBEL_POWER_SEED` another one,
//! `UMBEL_POWER_LINE_BYTES` its commits larger.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "test code outside of test functions, and a drill that tells its figures"
)]

#[path = "power/disk.rs"]
mod disk;
#[path = "power/random.rs"]
mod random;
#[path = "power/trace.rs"]
mod trace;
#[path = "power/workload.rs"]
mod workload;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use umbel_store::{Commit, Direction, Engine, Error, Listener, Scan, Settings, SledEngine};

use disk::{Bytes, Disk, Names};
use random::Random;
use trace::{Event, Trace};

/// Where the recorded process writes; unset in the test itself.
const ROOT: &str = "UMBEL_RECORD_ROOT";

struct Silent;

impl Listener for Silent {
    fn durable(&self, _: u64) {}

    fn committed(&self, _: &Commit) {}

    fn failed(&self, _: &Error) {}

    fn fenced(&self, _: &Error) {}
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Memory, where there is a file system of it: thousands of directories are written and forgotten.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

/// The recorded process's part; it does nothing when it is run as a test.
#[test]
fn write_under_the_recorder() {
    if let Some(root) = std::env::var_os(ROOT) {
        let line_bytes = setting("UMBEL_POWER_LINE_BYTES", 64 << 10) as usize;
        workload::run(
            Path::new(&root),
            setting("UMBEL_POWER_TURNS", 400),
            line_bytes,
        );
    }
}

fn record(scratch: &Path) -> Trace {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/power/record.c");
    let recorder = scratch.join("record.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&recorder)
        .args([source, "-ldl", "-lpthread"])
        .status()
        .expect("a C compiler named cc builds the recorder");
    assert!(built.success(), "the recorder did not build");
    let root = scratch.join("root");
    std::fs::create_dir(&root).unwrap();
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "write_under_the_recorder", "--nocapture"])
        .env("LD_PRELOAD", &recorder)
        .env(ROOT, &root)
        .env("UMBEL_RECORD_TRACE", scratch.join("trace"))
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    Trace::read(&scratch.join("trace"), &root)
}

/// How many numbers were acknowledged before each event.
fn acknowledged(trace: &Trace) -> Vec<u64> {
    let mut ack = None;
    let mut number = 0;
    let told = trace.events.iter().map(|event| {
        match event {
            Event::Create { inode, path } if path == "ack" => ack = Some(*inode),
            Event::Write { inode, bytes, .. } if Some(*inode) == ack => {
                number = u64::from_le_bytes(trace.bytes[bytes.clone()].try_into().unwrap());
            }
            _ => {}
        }
        number
    });
    std::iter::once(0).chain(told.collect::<Vec<_>>()).collect()
}

/// Where to cut: anywhere, and often just behind what changes names or lengths, or was synced.
fn points(trace: &Trace, count: u64, random: &mut Random) -> Vec<usize> {
    let turning = |event: &Event| {
        !matches!(
            event,
            Event::Write { .. } | Event::SyncRange | Event::Sync { .. }
        )
    };
    let turns: Vec<usize> = (0..trace.events.len())
        .filter(|at| turning(&trace.events[*at]))
        .collect();
    let mut points: Vec<usize> = (0..count)
        .map(|number| {
            if number % 3 == 0 {
                let at = turns[random.below(turns.len() as u64) as usize];
                (at + random.below(6) as usize).min(trace.events.len())
            } else {
                random.below(trace.events.len() as u64 + 1) as usize
            }
        })
        .collect();
    points.sort_unstable();
    points
}

/// What became of the data of one cut.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// All that was acknowledged is there, and each turn whole or absent.
    Kept,
    /// It does not open.
    Closed(String),
    /// It opens, and something acknowledged is missing.
    Lost,
    /// It opens, and is what no turn left.
    Torn(String),
}

fn judge(dir: &Path, acknowledged: u64) -> Verdict {
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let engine = SledEngine::open(&Settings::new(dir), Arc::new(Silent))?;
        let found = read(&engine)?;
        engine.close()?;
        Ok::<_, Error>(found)
    }));
    let found = match opened {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Verdict::Closed(error.to_string()),
        Err(_) => return Verdict::Closed("a panic".to_owned()),
    };
    let number = found
        .get(workload::NUMBER)
        .map_or(0, |value| u64::from_le_bytes(value[..].try_into().unwrap()));
    if number < acknowledged {
        return Verdict::Lost;
    }
    let expected = workload::expected(number);
    if found.len() != expected.len() {
        return Verdict::Torn(format!("{} keys of {}", found.len(), expected.len()));
    }
    for (key, (turn, len)) in &expected {
        if found
            .get(key)
            .is_none_or(|value| *value != workload::value(*turn, *len))
        {
            return Verdict::Torn(format!("the value of {}", String::from_utf8_lossy(key)));
        }
    }
    Verdict::Kept
}

fn read(engine: &SledEngine) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Error> {
    let mut found = BTreeMap::new();
    let mut next = Some(Scan {
        // Behind the engine's own keys.
        keys: (&[14][..]).into()..(&[255][..]).into(),
        direction: Direction::Forward,
        entries_max: 1024,
        bytes_max: 4 << 20,
    });
    while let Some(scan) = next {
        let page = engine.scan(&scan)?;
        found.extend(
            page.entries
                .iter()
                .map(|entry| (entry.key.to_vec(), entry.value.to_vec())),
        );
        next = page.next;
    }
    Ok(found)
}

/// How often each verdict was given, and the first event behind which it was.
#[derive(Debug, Default)]
struct Findings {
    verdicts: BTreeMap<(Names, Bytes, Verdict), (u64, usize)>,
}

impl Findings {
    fn count(&self, counted: impl Fn(&Verdict) -> bool) -> u64 {
        let counted = self
            .verdicts
            .iter()
            .filter(|((_, _, verdict), _)| counted(verdict));
        counted.map(|(_, (times, _))| times).sum()
    }

    fn print(&self) {
        for ((names, bytes, verdict), (times, first)) in &self.verdicts {
            println!("{times:5} {names:?} {bytes:?}: {verdict:?}, first behind event {first}");
        }
    }
}

/// What a drill does to the disk besides cutting its power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing: this is how umbel runs.
    Umbel,
    /// It does not hear the store's own syncs: this would be sled as it is.
    SledAlone,
    /// It loses the snapshots too, which sled reads first and could do without.
    NoSnapshots,
}

/// Cuts the power at `count` points of a run.
fn drill(scratch: &Path, trace: &Trace, kind: Kind, count: u64, seed: u64) -> Findings {
    let acknowledged = acknowledged(trace);
    let mut random = Random::new(seed);
    let mut findings = Findings::default();
    for names in [Names::Strict, Names::Journal] {
        let mut disk = Disk::new(trace, names, kind != Kind::SledAlone);
        for point in points(trace, count / 2, &mut random) {
            disk.advance(point);
            let bytes = Bytes::any(&mut random);
            let root = scratch.join("cut");
            disk.cut(&root, bytes, &mut random);
            if kind == Kind::NoSnapshots {
                remove_snapshots(&root.join("data/sled"));
            }
            let verdict = judge(&root.join("data"), acknowledged[point]);
            if verdict != Verdict::Kept && kind != Kind::SledAlone {
                keep(&root, point);
            }
            std::fs::remove_dir_all(&root).unwrap();
            let times = findings.verdicts.entry((names, bytes, verdict));
            times.or_insert((0, point)).0 += 1;
        }
    }
    println!("{kind:?}, {count} points, seed {seed}");
    findings.print();
    findings
}

fn remove_snapshots(sled_dir: &Path) {
    for entry in std::fs::read_dir(sled_dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if name.starts_with("snap.") {
            std::fs::remove_file(&path).unwrap();
        }
    }
}

#[test]
fn what_was_acknowledged_outlives_a_loss_of_power_at_any_point() {
    if std::env::var_os(ROOT).is_some() {
        return;
    }
    let count = setting("UMBEL_POWER_POINTS", 40);
    let seed = setting("UMBEL_POWER_SEED", 1);
    let scratch = scratch();
    let trace = record(scratch.path());
    let (events, mib) = (trace.events.len(), trace.bytes.len() >> 20);
    println!(
        "{events} events, {mib} MiB, {} MiB of them over others",
        trace.rewritten() >> 20
    );
    for (kind, count) in [(Kind::Umbel, count), (Kind::NoSnapshots, count / 4)] {
        let findings = drill(scratch.path(), &trace, kind, count, seed);
        let broken = findings.count(|verdict| *verdict != Verdict::Kept);
        assert_eq!(broken, 0, "{kind:?}: {findings:?}");
    }
    // The drill bites: were it not for our own sync, it would miss what was acknowledged.
    let findings = drill(scratch.path(), &trace, Kind::SledAlone, count / 4, seed);
    assert!(
        findings.count(|verdict| *verdict == Verdict::Lost) > 0,
        "{findings:?}"
    );
}

/// Keeps a cut that did not come back, where `UMBEL_POWER_KEEP` says so.
fn keep(root: &Path, point: usize) {
    if let Some(to) = std::env::var_os("UMBEL_POWER_KEEP") {
        let to = PathBuf::from(to).join(format!("point-{point}"));
        let copied = Command::new("cp")
            .arg("-a")
            .arg(root)
            .arg(&to)
            .status()
            .unwrap();
        assert!(copied.success());
    }
}
