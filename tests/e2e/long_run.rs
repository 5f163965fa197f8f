//! A lease is held by signs of life, not by the length of the run.

use std::fs;

use crate::cluster::Cluster;

#[test]
fn a_run_of_thirty_seconds_outlives_a_lease_and_runs_once() {
    let cluster = Cluster::with_workers(1, 2);
    let ran = cluster.dir.path().join("ran");
    let script = format!("echo run >> {}; sleep 30", ran.display());
    let program = ["map", "--input", "x", "--", "/bin/sh", "-c", &script];
    let native = cluster
        .umbel(&["map", "umbel.sleep", "--input", "30000"])
        .spawn();
    cluster.run(&program);
    let native = native
        .expect("the binary starts")
        .wait_with_output()
        .expect("it ends");
    assert!(native.status.success());
    assert_eq!(fs::read_to_string(&ran).expect("it ran"), "run\n");
    for job in cluster.json(&["job", "list"])["jobs"]
        .as_array()
        .expect("a list")
    {
        assert_eq!(job["attempts"], 1, "{job}");
        assert_eq!(job["state"], "succeeded", "{job}");
    }
}
