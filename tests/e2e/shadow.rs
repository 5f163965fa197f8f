//! Copies of a sample of inputs run on another version, and what comes out otherwise is listed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cluster::{Cluster, eventually};
use crate::publish::{folder, publish, refused};

const INPUTS: u64 = 300;

/// Versions of `f` that say the number they got: the first as it is, the second, marked pure, in
/// another form, and wrong for numbers that end with 3; it fails for those that end with 4. The third
/// is like the first.
fn versions(cluster: &Cluster) {
    let one = "#!/bin/sh\nread -r i || true\necho \"{\\\"n\\\":$i,\\\"of\\\":1}\"\n";
    let two = "#!/bin/sh\nread -r i || true\ncase $i in *4) exit 3;; *3) n=-1;; *) n=$i;; esac\necho \"{ \\\"of\\\": 1, \\\"n\\\": $n }\"\n";
    let pure = "name = \"f\"\nruntime = \"exec\"\npure = true\n";
    let first = folder(cluster, "one", &[("run", one)]);
    publish(cluster, &["f", "--runtime", "exec", &first]);
    let second = folder(cluster, "two", &[("run", two), ("umbel.toml", pure)]);
    publish(cluster, &[&second]);
    let third = folder(cluster, "three", &[("run", one), ("more", "x")]);
    publish(cluster, &["f", "--runtime", "exec", &third]);
    cluster.run(&["function", "point", "f", "1"]);
}

fn shadow(cluster: &Cluster) -> Value {
    cluster.json(&["rollout", "shadow", "f"])
}

/// All that was copied of the newest job, once it has been compared.
fn compared(cluster: &Cluster, jobs: usize) -> Value {
    eventually("all copies are compared", || {
        let found = shadow(cluster);
        let found = found["jobs"].as_array().expect("jobs");
        let job = found.first()?.clone();
        let id = job["shadow_job_id"].as_str().expect("an id");
        let ended = cluster.job(id)["state"] != "running" && job["compared"] == job["copied"];
        (found.len() == jobs && ended).then_some(job)
    })
}

fn submit(cluster: &Cluster) -> String {
    let range = format!("0..{INPUTS}");
    let id = cluster.run(&["job", "submit", "f", "--range", &range]);
    id.trim().to_owned()
}

#[test]
fn what_copies_do_otherwise_is_listed_by_index_and_changes_nothing() {
    let cluster = Cluster::with_workers(2, 2);
    versions(&cluster);
    cluster.run(&["rollout", "shadow", "f", "--to", "2", "--sample", "50%"]);

    let id = submit(&cluster);

    let job = cluster.ended(&id);
    let found = compared(&cluster, 1);
    assert_eq!(job["state"], "succeeded");
    assert_eq!(job["usage"]["attempts"], INPUTS);
    let own = cluster.results(&id);
    assert!(
        (0..)
            .zip(&own)
            .all(|(n, one)| one["output"] == json!({"n": n, "of": 1}))
    );
    assert_eq!(found["job_id"], id.as_str());
    let copies = found["shadow_job_id"].as_str().expect("an id");
    assert_eq!(cluster.job(copies)["shadow_of"], id.as_str());
    assert_eq!(
        cluster.job("last")["id"],
        id.as_str(),
        "nobody submitted copies"
    );
    let copied = found["copied"].as_u64().expect("a count");
    assert!(
        (100..200).contains(&copied),
        "{copied} of {INPUTS} are half"
    );
    let listed = [
        "rollout",
        "differences",
        "f",
        "--limit",
        "1000",
        "--output",
        "json",
    ];
    let listed = cluster.run(&listed);
    let listed: Vec<Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let indices: BTreeSet<u64> = listed
        .iter()
        .map(|one| one["index"].as_u64().expect("an index"))
        .collect();
    assert_eq!(found["different"], indices.len());
    assert!(indices.iter().all(|index| matches!(index % 10, 3 | 4)));
    let wrong = cluster.results(copies);
    let wrong = wrong
        .iter()
        .filter(|one| one["state"] == "failed" || one["output"]["n"] == -1);
    assert_eq!(wrong.count(), indices.len(), "all of them, and no other");
    let shown = cluster.run(&["rollout", "differences", "f", "--job", &id, "--limit", "2"]);
    assert_eq!(shown.matches("input ").count(), 2, "{shown}");
}

#[test]
fn a_restart_copies_what_is_missing_and_nothing_twice() {
    let mut cluster = Cluster::with_workers(2, 2);
    versions(&cluster);
    cluster.run(&["rollout", "shadow", "f", "--to", "2", "--sample", "100%"]);
    let id = submit(&cluster);
    cluster.coordinator.kill();
    cluster.restart_coordinator();
    assert_eq!(cluster.ended(&id)["state"], "succeeded");
    let found = compared(&cluster, 1);
    assert_eq!(found["copied"], INPUTS);
    assert_eq!(found["different"], INPUTS / 5, "those that end with 3 or 4");
    cluster.run(&["rollout", "shadow", "f", "--stop"]);
    submit(&cluster);
    assert_eq!(shadow(&cluster)["jobs"].as_array().map(Vec::len), Some(1));
    cluster.coordinator.kill();
    let data = cluster.dir.path().join("data");
    cluster.run(&["admin", "check", "--data", data.to_str().expect("UTF-8")]);
}

#[test]
fn a_version_that_is_not_pure_runs_copies_only_for_who_insists() {
    let cluster = Cluster::with_workers(1, 1);
    versions(&cluster);
    let to = |more: &[&str], code| {
        refused(
            &cluster,
            &[&["rollout", "shadow", "f"], more].concat(),
            code,
        )
    };
    let told = to(&["--to", "3"], 4);
    assert!(
        told.contains("version 3 of \"f\" is not marked pure"),
        "{told}"
    );
    for (more, code, words) in [
        (&["--to", "9"][..], 4, "has no version 9"),
        (&["--to", "2", "--sample", "0%"], 2, "is no part"),
        (&["--stop"], 4, "nothing is copied from f@live"),
        (&["--stop", "--to", "2"], 2, "cannot be used with"),
    ] {
        let told = to(more, code);
        assert!(told.contains(words), "{more:?}: {told}");
    }
    cluster.run(&["rollout", "shadow", "f", "--to", "3", "--force"]);
    assert_eq!(shadow(&cluster)["shadow"]["to"], 3);
    assert_eq!(shadow(&cluster)["shadow"]["sample_percent"], 5.0);
}
