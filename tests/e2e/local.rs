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

/// One run of a bench, as JSON.
fn bench(dir: &Path, arguments: &[&str]) -> Value {
    let arguments = [&["bench"], arguments, &["--output", "json"]].concat();
    let output = umbel(dir, &arguments).output().expect("the binary runs");
    assert!(output.status.success(), "{}", told(&output));
    serde_json::from_slice(&output.stdout).expect("one document")
}

/// The median of a figure of the first scenario.
fn figure(document: &Value, name: &str) -> f64 {
    let figures = document["scenarios"][0]["figures"].as_array();
    let mut figures = figures.expect("figures").iter();
    let figure = figures.find(|figure| figure["name"] == name);
    let figure = figure.unwrap_or_else(|| panic!("no {name} in {document}"));
    figure["median"].as_f64().expect("a number")
}

#[test]
fn the_bench_verifies_what_it_measures() {
    let dir = TempDir::new().expect("a directory");
    for source in [&["--jobs", "7", "--repeat", "2"][..], &["--range"]] {
        let document = bench(dir.path(), &[&["fanout", "--n", "5000"], source].concat());
        for name in [
            "invocations_per_second",
            "invocation_cpu_us",
            "coordinator_memory_peak_bytes",
            "result_live_bytes",
        ] {
            assert!(figure(&document, name) > 0.0, "{name} in {document}");
        }
        let runs = document["scenarios"][0]["runs"].as_array().expect("runs");
        assert_eq!(runs.len(), if source.len() == 1 { 1 } else { 2 });
        for run in runs {
            assert!(run.get("wrong").is_none(), "{run}");
            assert!(run["turn_seconds"]["count"].as_u64() > Some(0), "{run}");
            assert!(run["commit_seconds"]["count"].as_u64() > Some(0), "{run}");
            assert_eq!(run["processes"].as_array().expect("processes").len(), 4);
        }
    }
    assert!(is_empty(dir.path()), "it cleans up behind itself");
}

#[test]
fn every_scenario_of_the_bench_runs_and_is_right() {
    let dir = TempDir::new().expect("a directory");
    let scenarios: [(&[&str], &str); 9] = [
        (&["invoke", "--n", "20"], "latency_p50_us"),
        (&["single", "--n", "5"], "latency_p50_us"),
        (&["spin", "--n", "20", "--us", "100"], "cpu_efficiency"),
        (&["mixed", "--n", "20"], "wall_efficiency"),
        (&["jobs", "--n", "40", "--inputs", "10"], "jobs_per_second"),
        (
            &["restart", "--n", "5000", "--jobs", "2"],
            "restart_seconds",
        ),
        (&["sessions", "--sessions", "20", "--n", "5000"], "slowdown"),
        (
            &["calls", "--n", "200", "--runtime", "lambda"],
            "lambda_calls_per_second",
        ),
        (
            &["coldstart", "--n", "2", "--runtime", "lambda"],
            "lambda_cold_p50_us",
        ),
    ];
    for (arguments, name) in scenarios {
        assert!(figure(&bench(dir.path(), arguments), name) > 0.0, "{name}");
    }
    assert!(is_empty(dir.path()), "it cleans up behind itself");
}

#[test]
fn a_bench_is_held_against_an_earlier_one() {
    let dir = TempDir::new().expect("a directory");
    let mut old = bench(dir.path(), &["all", "--only", "single"]);
    let figures = old["scenarios"][0]["figures"]
        .as_array_mut()
        .expect("figures");
    for figure in figures {
        let better = if figure["better"] == "lower" {
            1e-9
        } else {
            1e9
        };
        figure["median"] = Value::from(figure["median"].as_f64().expect("a number") * better);
    }
    let file = TempDir::new().expect("a directory");
    let file = file.path().join("old.json");
    std::fs::write(&file, old.to_string()).expect("a file");
    let file = file.to_string_lossy();
    let again = ["bench", "all", "--only", "single", "--compare", &file];

    let told_only = umbel(dir.path(), &again).output().expect("the binary runs");
    assert!(told_only.status.success(), "{}", told(&told_only));
    assert!(
        told(&told_only).contains("WORSE BY"),
        "{}",
        told(&told_only)
    );

    let bounded = [&again[..], &["--fail-beyond", "1.5"]].concat();
    let bounded = umbel(dir.path(), &bounded)
        .output()
        .expect("the binary runs");
    assert_eq!(bounded.status.code(), Some(1), "{}", told(&bounded));
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
