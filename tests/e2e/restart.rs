//! A coordinator that comes back finds its workers, its jobs and their results.

use std::fs;

use crate::cluster::{Cluster, eventually};

/// Every program run leaves a line, so that a second run would be seen.
#[test]
fn work_finished_while_the_coordinator_was_away_is_not_run_again() {
    let mut cluster = Cluster::with_workers(2, 2);
    let ran = cluster.dir.path().join("ran");
    let gate = cluster.dir.path().join("gate");
    let script = format!(
        "echo $UMBEL_INDEX >> {}; while [ ! -e {} ]; do sleep 0.05; done; echo out-$UMBEL_INDEX",
        ran.display(),
        gate.display()
    );
    let id = cluster.run(&[
        "job", "submit", "--range", "0..4", "--", "/bin/sh", "-c", &script,
    ]);
    let id = id.trim();
    let lines = || fs::read_to_string(&ran).unwrap_or_default().lines().count();
    eventually("all four run", || (lines() == 4).then_some(()));
    cluster.coordinator.kill();
    fs::write(&gate, "").expect("the gate opens while nobody is there to be told");
    cluster.resume_coordinator();
    let job = cluster.ended(id);
    assert_eq!(job["counts"]["succeeded"], 4, "{job}");
    assert_eq!(lines(), 4, "each ran once");
    assert_eq!(job["attempts"], 4, "{job}");
    for (index, result) in cluster.results(id).iter().enumerate() {
        assert_eq!(result["output"], format!("out-{index}"));
    }
}

#[test]
fn an_ended_job_and_its_results_are_the_same_after_a_kill() {
    let mut cluster = Cluster::with_workers(1, 2);
    let arguments = [
        "job",
        "submit",
        "umbel.flaky",
        "--wait",
        "--backoff",
        "10ms..20ms",
    ];
    let inputs = [
        "--input",
        "{\"fail_attempts\":1}",
        "--input",
        "{\"fail_attempts\":9}",
    ];
    let output = cluster
        .umbel(&[&arguments[..], &inputs[..]].concat())
        .output()
        .expect("it runs");
    assert_eq!(
        output.status.code(),
        Some(1),
        "one of the two fails for good"
    );
    let id = String::from_utf8(output.stdout).expect("UTF-8");
    let before = (cluster.job(id.trim()), cluster.results(id.trim()));
    cluster.restart_coordinator();
    let after = (cluster.job(id.trim()), cluster.results(id.trim()));
    assert_eq!(before, after);
    assert_eq!(after.1[0]["attempts"], 2);
    assert_eq!(after.1[1]["attempts"], 3);
    assert_eq!(after.1[1]["failure"]["kind"], "function");
}

#[test]
fn the_same_request_id_gives_the_same_job_across_a_restart() {
    let mut cluster = Cluster::with_workers(1, 1);
    let submit = [
        "job",
        "submit",
        "umbel.echo",
        "--input",
        "a",
        "--request-id",
        "order-17",
    ];
    let first = cluster.run(&submit);
    cluster.restart_coordinator();
    assert_eq!(cluster.run(&submit), first);
    let other = [
        "job",
        "submit",
        "umbel.echo",
        "--input",
        "b",
        "--request-id",
        "order-17",
    ];
    let refused = cluster.umbel(&other).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("order-17"));
}
