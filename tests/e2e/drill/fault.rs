//! What is done to the processes.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use super::Dice;
use super::fleet::Fleet;
use crate::cluster::{UMBEL, eventually, quiet_environment, told};

/// Inputs of a job that fills a disk, of 200 KiB each.
const FILLERS: usize = 64;

/// One thing that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    KillCoordinator,
    KillWorkers,
    StopWorker,
    DrainWorker,
    DrainCoordinator,
    SecondCoordinator,
    CutLinks,
    FillDisk,
}

/// Each fault at least once, those that cost little more often, in an order by chance.
pub(crate) fn deck(dice: &mut Dice) -> Vec<Fault> {
    use Fault::{
        CutLinks, DrainCoordinator, DrainWorker, FillDisk, KillCoordinator, KillWorkers,
        SecondCoordinator, StopWorker,
    };
    let mut deck = vec![
        KillCoordinator,
        KillCoordinator,
        KillCoordinator,
        KillWorkers,
        KillWorkers,
        StopWorker,
        DrainWorker,
        DrainCoordinator,
        SecondCoordinator,
        CutLinks,
        CutLinks,
        FillDisk,
    ];
    for last in (1..deck.len()).rev() {
        deck.swap(last, dice.pick(last + 1));
    }
    deck
}

pub(crate) fn carry_out(fleet: &mut Fleet, fault: Fault) {
    match fault {
        Fault::KillCoordinator => kill_coordinator(fleet),
        Fault::KillWorkers => kill_workers(fleet),
        Fault::StopWorker => stop_worker(fleet),
        Fault::DrainWorker => drain_worker(fleet),
        Fault::DrainCoordinator => drain_coordinator(fleet),
        Fault::SecondCoordinator => second_coordinator(fleet),
        Fault::CutLinks => cut_links(fleet),
        Fault::FillDisk => fill_disk(fleet),
    }
}

fn kill_coordinator(fleet: &mut Fleet) {
    fleet.coordinator.kill();
    if fleet.dice.below(3) == 0 {
        fleet.check();
    }
    fleet.resume();
    fleet.tally.add("kills of the coordinator", 1);
}

/// One of them, or all at once.
fn kill_workers(fleet: &mut Fleet) {
    let all = fleet.dice.below(3) == 0;
    let count = if all { fleet.workers.len() } else { 1 };
    for _ in 0..count {
        let at = fleet.dice.pick(fleet.workers.len());
        let (_, mut worker) = fleet.workers.swap_remove(at);
        worker.kill();
        fleet.tally.add("kills of a worker", 1);
    }
    fleet.fill();
}

/// A worker that stands still until its leases are somebody else's, and then goes on.
fn stop_worker(fleet: &mut Fleet) {
    let at = fleet.dice.pick(fleet.workers.len());
    let name = fleet.workers[at].0.clone();
    eventually("the worker has joined", || {
        fleet.known_workers().contains(&name).then_some(())
    });
    fleet.workers[at].1.signal(Signal::STOP);
    let lost = || (!fleet.known_workers().contains(&name)).then_some(());
    eventually("the worker that stands still is lost", lost);
    fleet.workers[at].1.signal(Signal::CONT);
    fleet.tally.add("workers stopped past their lease", 1);
}

fn drain_worker(fleet: &mut Fleet) {
    let at = fleet.dice.pick(fleet.workers.len());
    let (name, mut worker) = fleet.workers.swap_remove(at);
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait(), Some(0), "{name}: {}", worker.stderr_text());
    fleet.fill();
    fleet.tally.add("drains of a worker", 1);
}

fn drain_coordinator(fleet: &mut Fleet) {
    fleet.coordinator.signal(Signal::TERM);
    let code = fleet.coordinator.wait();
    assert_eq!(code, Some(0), "{}", fleet.coordinator.stderr_text());
    fleet.resume();
    fleet.tally.add("drains of the coordinator", 1);
}

fn second_coordinator(fleet: &mut Fleet) {
    let mut command = Command::new(UMBEL);
    quiet_environment(&mut command);
    command.args(["coordinator", "start", "--listen", "127.0.0.1:0", "--data"]);
    let output = command.arg(fleet.data()).output().expect("the binary runs");
    let said = told(&output);
    assert!(
        !output.status.success() && said.contains("in use by another coordinator"),
        "{said}"
    );
    assert!(
        said.contains(fleet.data().to_str().expect("UTF-8")),
        "{said}"
    );
    assert!(
        !fleet.coordinator.is_gone(),
        "{}",
        fleet.coordinator.stderr_text()
    );
    fleet.known_workers();
    fleet.tally.add("second coordinators, refused", 1);
}

fn cut_links(fleet: &mut Fleet) {
    let cut = fleet.proxy.cut();
    fleet.tally.add("connections cut", cut);
}

/// No file of the data may grow beyond the longest, until the coordinator has closed its store;
/// then they may, and it goes on by itself.
fn fill_disk(fleet: &mut Fleet) {
    let id = i32::try_from(fleet.coordinator.id()).expect("a process id");
    let pid = Pid::from_raw(id).expect("not zero");
    let said = |fleet: &Fleet, words| fleet.coordinator.stderr_text().matches(words).count();
    let closed = said(fleet, "the store is closed");
    let opened = said(fleet, "the store is open again");
    let mut longest = longest_file(&fleet.data());
    let limit = |bytes| {
        let limit = Rlimit {
            current: Some(bytes),
            maximum: None,
        };
        prlimit(Some(pid), Resource::Fsize, limit).expect("its own process")
    };
    let free = limit(longest);
    let path = fleet.dir.path().join("filler");
    fs::write(&path, ("x".repeat(200 << 10) + "\n").repeat(FILLERS)).expect("a file");
    let filler = path.to_str().expect("UTF-8").to_owned();
    let mut clients: Vec<Filler> = Vec::new();
    eventually("the disk is full", || {
        // A client goes on when the store does. One that came to its end has found room.
        let waits = clients
            .last_mut()
            .is_some_and(|Filler(client)| client.try_wait().expect("a child").is_none());
        if !waits {
            if !clients.is_empty() {
                // There is room within the longest file: what comes next meets less of it.
                longest /= 2;
                limit(longest);
            }
            let mut client = fleet.umbel(&["job", "submit", "umbel.echo", "--inputs", &filler]);
            let client = client.stdout(Stdio::piped()).stderr(Stdio::null());
            clients.push(Filler(client.spawn().expect("the binary starts")));
        }
        (said(fleet, "the store is closed") > closed).then_some(())
    });
    prlimit(Some(pid), Resource::Fsize, free).expect("its own process");
    eventually("the store is open again", || {
        assert!(
            !fleet.coordinator.is_gone(),
            "{}",
            fleet.coordinator.stderr_text()
        );
        (said(fleet, "the store is open again") > opened).then_some(())
    });
    fleet.tally.add("disks filled, and freed", 1);
    // What was accepted is there. A client that came while the store was closed was refused.
    for mut client in clients {
        if let Some(id) = client.accepted() {
            let view = fleet.json(&["job", "get", &id]);
            assert_eq!(view["counts"]["total"], FILLERS, "{view}");
            eventually("what filled the disk is done", || {
                (fleet.json(&["job", "get", &id])["state"] != "running").then_some(())
            });
            fleet.delete(&id);
        }
    }
}

/// A client that submits what fills the disk. It ends with the drill, also where that fails.
struct Filler(Child);

impl Filler {
    /// The job's id, if the client came to a good end.
    fn accepted(&mut self) -> Option<String> {
        let mut said = String::new();
        let stdout = self.0.stdout.as_mut().expect("it is piped");
        stdout.read_to_string(&mut said).expect("text");
        let ended = self.0.wait().expect("it ends");
        ended.success().then(|| said.trim().to_owned())
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        // It may have ended, and been waited for, before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn longest_file(dir: &Path) -> u64 {
    let mut longest = 0;
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        longest = longest.max(if metadata.is_dir() {
            longest_file(&entry.path())
        } else {
            metadata.size()
        });
    }
    longest
}
