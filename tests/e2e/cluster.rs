//! A cluster of real processes, told as a story: start, add workers, kill, ask.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// The binary that this build made.
pub(crate) const UMBEL: &str = env!("CARGO_BIN_EXE_umbel");

/// How long a fact may take to come true on a slow, busy machine.
/// `UMBEL_TEST_PATIENCE` says another, in seconds.
pub(crate) fn patience() -> Duration {
    let given = std::env::var("UMBEL_TEST_PATIENCE").ok();
    let seconds = given.map_or(120, |text| text.parse().expect("a number of seconds"));
    Duration::from_secs(seconds)
}

/// Waits until `fact` gives something, asking again and again.
pub(crate) fn eventually<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let (begun, patience) = (Instant::now(), patience());
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(
            begun.elapsed() < patience,
            "not within {patience:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(20)); // poll
    }
}

/// A child process whose standard output is read line by line and whose standard
/// error goes to a file. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    stderr: PathBuf,
}

impl Process {
    pub(crate) fn start(command: &mut Command, stderr: PathBuf) -> Self {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&stderr)
            .expect("a log file");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            lines,
            stderr,
        }
    }

    /// The next line on standard output.
    pub(crate) fn line(&mut self) -> String {
        match self.lines.recv_timeout(patience()) {
            Ok(line) => line,
            Err(gone) => panic!("no line ({gone}); stderr:\n{}", self.stderr_text()),
        }
    }

    pub(crate) fn stderr_text(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        kill_process(Pid::from_raw(id).expect("not zero"), signal).expect("the process is there");
    }

    /// `kill -9`, and gone.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    pub(crate) fn is_gone(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Waits for its end and tells the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        eventually("the process ends", || {
            self.child.try_wait().expect("a child")
        })
        .code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "what the processes said tells why")]
            {
                eprintln!("--- stderr of {}:\n{}", self.child.id(), self.stderr_text());
            }
        }
    }
}

/// A coordinator and its workers.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) dir: TempDir,
    pub(crate) url: String,
    pub(crate) coordinator: Process,
    pub(crate) workers: Vec<Process>,
    environment: Vec<(String, String)>,
}

impl Cluster {
    /// A coordinator alone.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// A coordinator with environment variables of its own.
    pub(crate) fn start_with(environment: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().expect("a directory");
        let environment: Vec<_> = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut coordinator = spawn_coordinator(dir.path(), "127.0.0.1:0", &environment);
        let url = ready_url(&mut coordinator);
        Self {
            dir,
            url,
            coordinator,
            workers: Vec::new(),
            environment,
        }
    }

    /// A coordinator and workers `w0`, `w1`, ... that have joined.
    pub(crate) fn with_workers(count: usize, slots: usize) -> Self {
        let mut cluster = Self::start();
        for number in 0..count {
            cluster.add_worker(&format!("w{number}"), slots, &[]);
        }
        cluster
    }

    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").expect("a plain URL")
    }

    /// Starts a worker and waits until it has joined.
    pub(crate) fn add_worker(&mut self, name: &str, slots: usize, more: &[&str]) -> usize {
        let mut worker = self.spawn_worker(name, slots, more);
        let line = worker.line();
        assert_eq!(
            line,
            format!("umbel worker {name} ready, {slots} slot{}", plural(slots))
        );
        self.workers.push(worker);
        self.workers.len() - 1
    }

    /// Starts a worker without waiting.
    pub(crate) fn spawn_worker(&self, name: &str, slots: usize, more: &[&str]) -> Process {
        self.spawn_worker_in(name, slots, more, &[])
    }

    /// The same with environment variables of its own.
    pub(crate) fn spawn_worker_in(
        &self,
        name: &str,
        slots: usize,
        more: &[&str],
        environment: &[(&str, &Path)],
    ) -> Process {
        let mut command = Command::new(UMBEL);
        command
            .args([
                "worker",
                "start",
                "--coordinator",
                &self.url,
                "--name",
                name,
                "--slots",
            ])
            .arg(slots.to_string())
            .args(more);
        quiet_environment(&mut command);
        command.env("UMBEL_CACHE", self.dir.path().join("cache"));
        command.envs(environment.iter().copied());
        Process::start(
            &mut command,
            self.dir.path().join(format!("worker-{name}.log")),
        )
    }

    /// `kill -9` of the coordinator, then a new one on the same data and port.
    pub(crate) fn restart_coordinator(&mut self) {
        self.coordinator.kill();
        self.resume_coordinator();
    }

    /// A new coordinator on the same data and port.
    pub(crate) fn resume_coordinator(&mut self) {
        let address = self.address().to_owned();
        self.coordinator = spawn_coordinator(self.dir.path(), &address, &self.environment);
        assert_eq!(ready_url(&mut self.coordinator), self.url);
    }

    /// A command of the command line for this cluster.
    pub(crate) fn umbel(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(UMBEL);
        quiet_environment(&mut command);
        command
            .args(arguments)
            .env("UMBEL_COORDINATOR", &self.url)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command and gives what it printed, if it ended with 0.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.umbel(arguments).output().expect("the binary runs");
        assert!(
            output.status.success(),
            "umbel {arguments:?}: {}",
            told(&output)
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Runs a command that prints one JSON document.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.extend(["--output", "json"]);
        serde_json::from_str(&self.run(&all)).expect("one JSON document")
    }

    /// The job as `job get` shows it.
    pub(crate) fn job(&self, id: &str) -> Value {
        let job = self.json(&["job", "get", id]);
        check_counts(&job);
        job
    }

    /// Waits for the end of a job and gives it.
    pub(crate) fn ended(&self, id: &str) -> Value {
        eventually("the job ends", || {
            Some(self.job(id)).filter(|job| job["state"] != "running")
        })
    }

    /// Each result of an ended job, in input order.
    pub(crate) fn results(&self, id: &str) -> Vec<Value> {
        let lines = self.run(&["job", "results", id, "--output", "json"]);
        lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("a JSON object"))
            .collect()
    }

    /// Writes a file of inputs, one a line.
    pub(crate) fn inputs(&self, inputs: impl Iterator<Item = String>) -> PathBuf {
        let mut text = String::new();
        for input in inputs {
            writeln!(text, "{input}").expect("a string takes text");
        }
        let path = self.dir.path().join("inputs.txt");
        std::fs::write(&path, text).expect("a file");
        path
    }
}

/// The states of a job's invocations always add up to its total.
pub(crate) fn check_counts(job: &Value) {
    let counts = &job["counts"];
    let states = ["waiting", "leased", "succeeded", "failed", "cancelled"];
    let sum: u64 = states
        .iter()
        .map(|state| counts[state].as_u64().expect("a count"))
        .sum();
    assert_eq!(Some(sum), counts["total"].as_u64(), "{job}");
}

/// What a process said, for a failed assertion.
pub(crate) fn told(output: &Output) -> String {
    format!(
        "{}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Nothing of the machine's own settings reaches a test.
pub(crate) fn quiet_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("UMBEL_") {
            command.env_remove(name);
        }
    }
}

fn spawn_coordinator(dir: &Path, listen: &str, environment: &[(String, String)]) -> Process {
    let mut command = Command::new(UMBEL);
    quiet_environment(&mut command);
    command
        .args(["coordinator", "start", "--listen", listen, "--data"])
        .arg(dir.join("data"))
        .envs(environment.iter().map(|(name, value)| (name, value)));
    Process::start(&mut command, dir.join("coordinator.log"))
}

fn ready_url(coordinator: &mut Process) -> String {
    let line = coordinator.line();
    let url = line.strip_prefix("umbel ready on ");
    url.unwrap_or_else(|| panic!("an unexpected first line: {line}"))
        .to_owned()
}

/// Whether a test's tool is there; if not, see [`lacks`].
pub(crate) fn has(test: &str, feature: &str, program: &str, arguments: &[&str]) -> bool {
    let tried = Command::new(program).args(arguments).output();
    let found = tried.is_ok_and(|output| output.status.success());
    if !found {
        lacks(test, feature, &format!("no {feature} on this machine"));
    }
    found
}

/// A test that lacks what it needs says so and passes, unless `UMBEL_TEST_REQUIRE` (such as
/// `python,node`) names that.
#[expect(clippy::print_stdout, reason = "a test that was left out must be seen")]
pub(crate) fn lacks(test: &str, feature: &str, why: &str) {
    let required = std::env::var("UMBEL_TEST_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|one| one.trim() == feature),
        "{test} needs {feature}, which UMBEL_TEST_REQUIRE asks for: {why}"
    );
    println!("SKIPPED {test}: {why}");
}
