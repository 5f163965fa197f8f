//! Commands that bring their own cluster: the demo, the bench, and `up`.

use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::{Process, UMBEL, eventually, quiet_environment, told};

/// A command whose temporary files go to `dir`.
fn umbel(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(UMBEL);
    quiet_environment(&mut command);
    command.args(arguments).current_dir(dir).env("TMPDIR", dir);
    command
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir)
        .expect("a directory")
        .next()
        .is_none()
}

#[test]
fn the_demo_loses_a_worker_and_nothing_else() {
    let dir = TempDir::new().expect("a directory");
    let output = umbel(dir.path(), &["demo"])
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{}", told(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("kill -9"), "{said}");
    assert!(said.contains("200 of 200 right, 0 twice"), "{said}");
    let verdict = said
        .lines()
        .find(|line| line.starts_with("100,000 of 100,000 right, 0 twice, "));
    let verdict = verdict.unwrap_or_else(|| panic!("no verdict in {said}"));
    assert!(
        verdict.ends_with(" attempts lost and run again"),
        "{verdict}"
    );
    assert!(is_empty(dir.path()), "it cleans up behind itself");
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let dir = TempDir::new().expect("a directory");
    let logs = TempDir::new().expect("a directory");
    let mut demo = Process::start(&mut umbel(dir.path(), &["demo"]), logs.path().join("log"));
    demo.line();
    demo.signal(Signal::INT);
    assert_eq!(demo.wait(), Some(130));
    assert!(is_empty(dir.path()), "it cleans up behind itself");
}

#[test]
fn the_bench_verifies_what_it_measures() {
    let dir = TempDir::new().expect("a directory");
    for source in [&["--jobs", "7"][..], &["--range"]] {
        let arguments = [
            &["bench", "fanout", "--n", "5000", "--output", "json"],
            source,
        ]
        .concat();
        let output = umbel(dir.path(), &arguments)
            .output()
            .expect("the binary runs");
        assert!(output.status.success(), "{}", told(&output));
        let report: Value = serde_json::from_slice(&output.stdout).expect("one document");
        assert_eq!(report["right"], 5_000, "{report}");
        assert_eq!(report["twice"], 0, "{report}");
        assert!(
            report["cpu_seconds_per_million"].as_f64() > Some(0.0),
            "{report}"
        );
        assert!(
            report["coordinator_memory_peak_bytes"].as_u64() > Some(0),
            "{report}"
        );
    }
    assert!(is_empty(dir.path()), "it cleans up behind itself");
}

/// `up` on a free port, and its URL.
fn up(dir: &Path) -> (Process, String) {
    let arguments = [
        "up",
        "--workers",
        "2",
        "--slots",
        "1",
        "--listen",
        "127.0.0.1:0",
        "--data",
    ];
    let mut command = umbel(dir, &arguments);
    command.arg(dir.join("data"));
    let mut up = Process::start(&mut command, dir.join("log"));
    let line = up.line();
    let url = line
        .strip_prefix("umbel ready on ")
        .expect("the ready line")
        .to_owned();
    (up, url)
}

/// The workers of an `up`, by their parent.
fn children(parent: u32) -> Vec<Pid> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let text = std::fs::read_to_string(path).expect("a living process");
    let ids = text.split_whitespace().map(|id| id.parse().expect("an id"));
    ids.map(|id| Pid::from_raw(id).expect("not zero")).collect()
}

/// Whether a process is gone, or a zombie that nobody has waited for yet.
fn has_ended(process: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_pid()));
    stat.map_or(true, |stat| {
        stat.rsplit_once(") ")
            .is_none_or(|(_, rest)| rest.starts_with('Z'))
    })
}

#[test]
fn up_is_a_whole_cluster_and_drains_when_told() {
    let dir = TempDir::new().expect("a directory");
    let (mut up, url) = up(dir.path());
    assert_eq!(children(up.id()).len(), 2);
    let arguments = [
        "map",
        "umbel.increment",
        "--range",
        "0..3",
        "--coordinator",
        &url,
    ];
    let output = umbel(dir.path(), &arguments)
        .output()
        .expect("the binary runs");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "1\n2\n3\n",
        "{}",
        told(&output)
    );
    up.signal(Signal::TERM);
    assert_eq!(up.wait(), Some(0));
}

#[test]
fn up_starts_a_killed_worker_again_and_takes_its_workers_along() {
    let dir = TempDir::new().expect("a directory");
    let (mut up, _) = up(dir.path());
    let victim = children(up.id())[0];
    rustix::process::kill_process(victim, Signal::KILL).expect("it is there");
    let workers = eventually("another takes its place", || {
        let workers = children(up.id());
        (workers.len() == 2 && !workers.contains(&victim)).then_some(workers)
    });
    up.kill();
    for worker in workers {
        eventually("the workers end with it", || {
            has_ended(worker).then_some(())
        });
    }
}
