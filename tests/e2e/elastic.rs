//! Starting more worker processes is all it takes to scale.

use crate::cluster::{Cluster, eventually};

#[test]
fn ten_workers_that_join_in_mid_job_take_work() {
    let mut cluster = Cluster::with_workers(1, 1);
    let id = cluster.run(&["job", "submit", "umbel.sleep", "--range", "1000..1400"]);
    let id = id.trim();
    eventually("the job is under way", || {
        cluster.job(id)["counts"]["leased"]
            .as_u64()
            .filter(|&leased| leased > 0)
    });
    for number in 1..=10 {
        cluster.add_worker(&format!("w{number}"), 1, &[]);
    }
    // Each input sleeps for over a second and there are 400 of them, so a worker
    // without work would be seen idle.
    eventually("all eleven hold work", || {
        let workers = cluster.json(&["worker", "list"]);
        let workers = workers["workers"].as_array()?.clone();
        let busy = workers
            .iter()
            .filter(|worker| worker["leases"].as_u64() > Some(0))
            .count();
        (busy == 11).then_some(())
    });
    assert_eq!(
        cluster.job(id)["state"],
        "running",
        "the job was not over before they came"
    );
    cluster.run(&["job", "cancel", id]);
    let job = cluster.ended(id);
    assert_eq!(job["state"], "cancelled");
}

#[test]
fn ten_inputs_behind_a_million_are_done_before_it() {
    let cluster = Cluster::with_workers(2, 1);
    let big = cluster.run(&["job", "submit", "umbel.spin", "--range", "500..1000500"]);
    let big = big.trim();
    eventually("the big job is under way", || {
        cluster.job(big)["counts"]["succeeded"]
            .as_u64()
            .filter(|&done| done > 0)
    });
    let small = cluster.run(&["map", "umbel.increment", "--range", "0..10"]);
    assert_eq!(
        small.lines().collect::<Vec<_>>(),
        ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]
    );
    assert_eq!(
        cluster.job(big)["state"],
        "running",
        "the big job was still there"
    );
}
