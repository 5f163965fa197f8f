//! SIGTERM in mid-job: a worker hands back what it has not begun, and nothing is
//! run twice.

use rustix::process::Signal;

use crate::cluster::{Cluster, eventually};

const TOTAL: u64 = 20_000;

#[test]
fn a_worker_that_is_told_to_leave_repeats_nothing() {
    let mut cluster = Cluster::with_workers(2, 2);
    let inputs = cluster.inputs((0..TOTAL).map(|i| (100 + i % 50).to_string()));
    let inputs = inputs.to_str().expect("UTF-8");
    let id = cluster.run(&["job", "submit", "umbel.spin", "--inputs", inputs]);
    let id = id.trim();
    eventually("the job is under way", || {
        cluster.job(id)["counts"]["succeeded"]
            .as_u64()
            .filter(|&done| done > TOTAL / 10)
    });
    cluster.workers[0].signal(Signal::TERM);
    assert_eq!(
        cluster.workers[0].wait(),
        Some(0),
        "a drained worker leaves with 0"
    );
    let job = cluster.ended(id);
    assert_eq!(job["counts"]["succeeded"], TOTAL, "{job}");
    assert_eq!(
        job["attempts"], TOTAL,
        "no attempt was lost and none repeated: {job}"
    );
}

#[test]
fn a_coordinator_that_is_told_to_leave_keeps_everything() {
    let mut cluster = Cluster::with_workers(1, 1);
    let id = cluster.run(&[
        "job",
        "submit",
        "umbel.spin",
        "--input",
        "1000",
        "--input",
        "2000",
    ]);
    let job = cluster.ended(id.trim());
    cluster.coordinator.signal(Signal::TERM);
    assert_eq!(
        cluster.coordinator.wait(),
        Some(0),
        "a drained coordinator leaves with 0"
    );
    cluster.resume_coordinator();
    assert_eq!(
        cluster.job(id.trim()),
        job,
        "an ended job looks the same after a restart"
    );
}

#[test]
fn a_worker_drained_by_name_leaves_by_itself() {
    let mut cluster = Cluster::with_workers(2, 1);
    cluster.run(&["worker", "drain", "w1"]);
    assert_eq!(cluster.workers[1].wait(), Some(0));
    eventually("only w0 is listed", || {
        let workers = cluster.run(&["worker", "list"]);
        (workers.contains("w0") && !workers.contains("w1")).then_some(())
    });
}
