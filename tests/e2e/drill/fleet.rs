//! The processes of a drill, and what must hold of all of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use rustix::process::Signal;

use super::job::{self, Job};
use super::proxy::Proxy;
use super::{Dice, Tally};
use crate::cluster::{Process, UMBEL, eventually, quiet_environment, told};

/// Workers that there are between two faults.
const WORKERS: usize = 3;
/// So that a worker that is stopped is lost within seconds.
const TIMES: [(&str, &str); 3] = [
    ("UMBEL_HEARTBEAT_MS", "300"),
    ("UMBEL_LEASE_TIMEOUT_MS", "2500"),
    ("UMBEL_RECLAIM_MS", "2000"),
];

/// A coordinator, a way to it, and workers.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) dir: TempDir,
    pub(crate) dice: Dice,
    pub(crate) tally: Tally,
    pub(crate) jobs: Vec<Job>,
    pub(crate) coordinator: Process,
    pub(crate) workers: Vec<(String, Process)>,
    pub(crate) proxy: Proxy,
    /// What each published version multiplies by.
    pub(crate) factors: BTreeMap<u64, u64>,
    address: String,
    /// Numbers workers and jobs.
    numbers: u64,
    /// Stands in the command line of every program that a job runs here.
    pub(crate) mark: String,
}

impl Fleet {
    pub(crate) fn start(seed: u64) -> Self {
        let dir = TempDir::new().expect("a directory");
        let mut coordinator = spawn_coordinator(&dir, "127.0.0.1:0");
        let address = ready(&mut coordinator);
        let proxy = Proxy::start(address.parse().expect("an address"));
        let mut fleet = Self {
            mark: format!("drill-{}-{seed}", std::process::id()),
            dir,
            dice: Dice(seed),
            tally: Tally::default(),
            jobs: Vec::new(),
            coordinator,
            workers: Vec::new(),
            proxy,
            factors: BTreeMap::new(),
            address,
            numbers: 0,
        };
        fleet.fill();
        fleet
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Starts workers until there are enough. A name is used once: the name of one that was
    /// killed is taken until it counts as lost.
    pub(crate) fn fill(&mut self) {
        while self.workers.len() < WORKERS {
            let name = format!("w{}", self.number());
            let mut command = Command::new(UMBEL);
            quiet_environment(&mut command);
            command
                .args(["worker", "start", "--slots", "2", "--name", &name])
                .args(["--coordinator", &self.proxy.url])
                .env("UMBEL_CACHE", self.dir.path().join("cache"));
            let log = self.dir.path().join(format!("{name}.log"));
            self.workers.push((name, Process::start(&mut command, log)));
        }
    }

    /// A new coordinator on the same data and port, where there is none.
    pub(crate) fn resume(&mut self) {
        self.coordinator = spawn_coordinator(&self.dir, &self.address);
        assert_eq!(ready(&mut self.coordinator), self.address);
    }

    /// A command that speaks with the coordinator by the way that can be cut.
    pub(crate) fn umbel(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(UMBEL);
        quiet_environment(&mut command);
        command
            .args(arguments)
            .env("UMBEL_COORDINATOR", &self.proxy.url)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command until it ends with 0. A link that was cut lets it end otherwise.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let mut last = String::new();
        let done = eventually_or(|| {
            let output = self.umbel(arguments).output().expect("the binary runs");
            last = told(&output);
            // Refused is refused: it would be the next time.
            assert_ne!(output.status.code(), Some(2), "umbel {arguments:?}: {last}");
            output.status.success().then_some(output.stdout)
        });
        let Some(stdout) = done else {
            panic!("umbel {arguments:?}: {last}")
        };
        String::from_utf8(stdout).expect("UTF-8")
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let text = self.run(&[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&text).expect("one JSON document")
    }

    /// Forgets a job that has ended; gone already is as good.
    pub(crate) fn delete(&mut self, id: &str) {
        let done = eventually_or(|| {
            let output = self.umbel(&["job", "delete", id]).output();
            let output = output.expect("the binary runs");
            let gone = output.status.success() || told(&output).contains("no job");
            gone.then_some(())
        });
        assert!(done.is_some(), "job {id} is not deleted");
        self.tally.add("jobs deleted", 1);
    }

    /// The names of the workers that the coordinator knows.
    pub(crate) fn known_workers(&self) -> Vec<String> {
        let listed = self.json(&["worker", "list"]);
        let workers = listed["workers"].as_array().expect("a list");
        let name = |worker: &Value| worker["name"].as_str().expect("a name").to_owned();
        workers.iter().map(name).collect()
    }

    /// Looks through the data of a coordinator that is not there.
    pub(crate) fn check(&mut self) {
        let data = self.data();
        let data = data.to_str().expect("UTF-8");
        let output = self.umbel(&["admin", "check", "--data", data]).output();
        let output: Output = output.expect("the binary runs");
        assert!(output.status.success(), "{}", told(&output));
        self.tally.add("checks of the data, all clean", 1);
    }

    /// Waits for the end of all jobs and looks at each, then at the data.
    pub(crate) fn settle(&mut self) {
        while !self.jobs.is_empty() {
            eventually("a job ends", || {
                job::judge_ended(self);
                let left = self.jobs.iter().any(|job| job.is_running(self));
                (!left).then_some(())
            });
            job::judge_ended(self);
        }
        self.coordinator.kill();
        self.check();
        self.resume();
    }

    /// Ends all in order; nothing of it may be left.
    pub(crate) fn end(mut self) -> Tally {
        for (name, worker) in &mut self.workers {
            worker.signal(Signal::TERM);
            assert_eq!(worker.wait(), Some(0), "{name}: {}", worker.stderr_text());
        }
        self.coordinator.signal(Signal::TERM);
        assert_eq!(self.coordinator.wait(), Some(0));
        self.check();
        let marks = [self.mark.clone(), self.dir.path().display().to_string()];
        eventually("no process is left", || {
            strays(&marks).is_empty().then_some(())
        });
        std::mem::take(&mut self.tally)
    }
}

impl Drop for Fleet {
    /// What fails leaves its data and logs, and says how far it had come.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.dir.disable_cleanup(true);
            super::say(&format!("data and logs are left in {:?}", self.dir.path()));
            self.tally.show();
        }
    }
}

/// As [`eventually`], for those who know why it came to nothing.
fn eventually_or<T>(mut fact: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = std::time::Instant::now();
    while begun.elapsed() < crate::cluster::patience() {
        if let Some(found) = fact() {
            return Some(found);
        }
        std::thread::sleep(std::time::Duration::from_millis(50)); // poll
    }
    None
}

/// Command lines of processes that name one of the marks.
fn strays(marks: &[String]) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("Linux").flatten();
    let lines = processes.filter_map(|process| {
        // It may end while it is looked at.
        let line = fs::read(process.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines
        .filter(|line| marks.iter().any(|mark| line.contains(mark)))
        .collect()
}

fn spawn_coordinator(dir: &TempDir, listen: &str) -> Process {
    let mut command = Command::new(UMBEL);
    quiet_environment(&mut command);
    command
        .args(["coordinator", "start", "--listen", listen, "--data"])
        .arg(dir.path().join("data"))
        .envs(TIMES);
    Process::start(&mut command, dir.path().join("coordinator.log"))
}

fn ready(coordinator: &mut Process) -> String {
    let line = coordinator.line();
    let address = line.strip_prefix("umbel ready on http://");
    address
        .unwrap_or_else(|| panic!("an unexpected first line: {line}"))
        .to_owned()
}
