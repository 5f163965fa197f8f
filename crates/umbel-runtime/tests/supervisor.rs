//! `kill -9` of a worker, with real processes: this test, started again, is the worker, and
//! started once more each of the worker's supervisors.

#![allow(
    clippy::expect_used,
    reason = "a test that cannot go on says why and ends"
)]

use std::env;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use umbel_runtime::{
    CancelFlag, Context, Executable, Lambda, Limits, Program, install_supervisor, supervise,
};

/// Which of the three this process is; unset, it is the test.
const ROLE: &str = "UMBEL_TEST_ROLE";
/// Where the processes tell who they are.
const MEETING: &str = "UMBEL_TEST_MEETING";
/// What no test should ever wait for.
const LONG: Duration = Duration::from_secs(60);
/// One that stays in its group, one that leaves it, and one that also leaves its parent and its
/// environment.
const FUNCTION: &str = "
sleep 600 & echo $! > new.near
setsid sh -c 'echo $$ > new.far; exec sleep 600' &
setsid sh -c '(exec env -i /bin/sh -c \"echo \\$\\$ > new.farthest; exec /bin/sleep 600\") &'
for name in near far farthest; do
  until [ -s new.$name ]; do sleep 0.01; done
  mv new.$name $PREFIX.$name
done
sleep 600
";

fn this_test(role: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("the test's own path"));
    command
        .args(["--exact", "--nocapture", "nothing_outlives_a_killed_worker"])
        .env(ROLE, role);
    command
}

fn wait_until(what: &str, fact: impl Fn() -> bool) {
    let limit = Instant::now() + LONG;
    while !fact() {
        assert!(Instant::now() < limit, "not in time: {what}");
        thread::yield_now();
    }
}

fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| {
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes()[0]);
        !matches!(state, Some(b'Z' | b'X'))
    })
}

fn function(meeting: &Path, prefix: &str) -> Program {
    let folder = meeting.join(prefix);
    fs::create_dir(&folder).expect("a folder for the function");
    Program::new(["/bin/sh", "-c", FUNCTION])
        .and_then(|program| program.with_variable("PREFIX", format!("../{prefix}")))
        .expect("a program")
        .with_working_dir(folder)
}

/// A worker with two functions that never end.
fn work() {
    let mut supervisor = this_test("supervisor");
    // The test's own arguments stay what they are: the scratch directory names no test.
    supervisor.arg("--skip");
    install_supervisor(supervisor).expect("a supervisor");
    let meeting = env::var_os(MEETING).expect("where to meet");
    let meeting = Path::new(&meeting);
    let program = function(meeting, "exec");
    let lambda = Lambda::command_line("f", function(meeting, "lambda"), "").with_init_timeout(LONG);
    let cancel = CancelFlag::new();
    let context = Context {
        job_id: "job",
        index: 0,
        attempt: 1,
        cancel: &cancel,
        deadline: None,
        limits: Limits::default(),
    };
    thread::scope(|scope| {
        for executable in [
            Executable::Exec(Arc::new(program)),
            Executable::Lambda(Arc::new(lambda)),
        ] {
            scope.spawn(move || executable.invoke(b"", &mut Vec::new(), &context));
        }
    });
}

/// A supervisor, which finds what it is told at the end of its arguments.
fn run_programs() {
    let scratch = env::args().next_back().expect("the scratch directory");
    let socket = io::stdin().as_fd().try_clone_to_owned().expect("a socket");
    supervise(socket, Path::new(&scratch)).expect("all is cleaned up");
}

#[test]
fn nothing_outlives_a_killed_worker() {
    match env::var(ROLE).as_deref() {
        Ok("worker") => return work(),
        Ok("supervisor") => return run_programs(),
        _ => {}
    }
    let meeting = tempfile::tempdir().expect("a directory");
    let scratch = meeting.path().join("scratch");
    fs::create_dir(&scratch).expect("a directory");
    let mut worker = this_test("worker")
        .env(MEETING, meeting.path())
        .env("TMPDIR", &scratch)
        .stdout(Stdio::null())
        .spawn()
        .expect("a worker");
    let names = ["near", "far", "farthest"];
    let paths: Vec<_> = ["exec", "lambda"]
        .iter()
        .flat_map(|prefix| names.map(|name| meeting.path().join(format!("{prefix}.{name}"))))
        .collect();
    wait_until("all processes run", || {
        paths.iter().all(|path| path.exists())
    });
    let pids: Vec<String> = paths
        .iter()
        .map(|path| fs::read_to_string(path).expect("a number"))
        .collect();
    assert!(pids.iter().all(|pid| is_alive(pid)), "{pids:?}");
    assert_eq!(fs::read_dir(&scratch).expect("a directory").count(), 1);

    worker.kill().expect("kill -9");
    worker.wait().expect("its end");

    let killed = Instant::now();
    wait_until("all have ended", || !pids.iter().any(|pid| is_alive(pid)));
    assert!(killed.elapsed() < Duration::from_secs(10));
    wait_until("no scratch is left", || {
        fs::read_dir(&scratch).is_ok_and(|left| left.count() == 0)
    });
}
