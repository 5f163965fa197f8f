//! The arms of a split held against each other, and what a bad arm did taken back.

use serde_json::Value;

use crate::cluster::Cluster;
use crate::publish::{folder, publish, refused};

/// A program that prints a score; one of them fails.
fn program(score: u32) -> String {
    let ends = if score == 0 { "exit 3" } else { "exit 0" };
    format!("#!/bin/sh\ncat >/dev/null\necho '{{\"score\": {score}}}'\n{ends}\n")
}

/// `f` has versions that score 5, 9, and fail.
fn cluster() -> Cluster {
    let cluster = Cluster::with_workers(2, 2);
    for score in [5, 9, 0] {
        let script = program(score);
        let dir = folder(&cluster, &format!("f-{score}"), &[("run", &script)]);
        publish(&cluster, &["f", "--runtime", "exec", &dir]);
    }
    cluster
}

fn submit(cluster: &Cluster, inputs: &str, more: &[&str]) -> String {
    let submit = ["job", "submit", "f", "--range", inputs];
    let id = cluster.run(&[&submit[..], more].concat());
    id.trim().to_owned()
}

fn arm<'a>(report: &'a Value, name: &str) -> &'a Value {
    let mut arms = report["arms"].as_array().expect("arms").iter();
    arms.find(|arm| arm["arm"] == name)
        .expect("the arm is shown")
}

fn verdict<'a>(report: &'a Value, measure: &str) -> &'a str {
    let mut all = report["comparisons"]
        .as_array()
        .expect("comparisons")
        .iter();
    let found = all.find(|one| one["measure"] == measure);
    let found = found.expect("the measure is compared");
    found["verdict"].as_str().expect("a verdict")
}

#[test]
fn a_report_holds_arms_against_each_other_and_says_the_same_after_a_restart() {
    let mut cluster = cluster();
    cluster.run(&["route", "set", "f", "--split", "1=50%,3=50%"]);
    let job = submit(&cluster, "0..300", &["--max-attempts", "1"]);
    assert_eq!(cluster.ended(&job)["state"], "failed");
    let report = ["experiment", "report", "f", "--metric", "/score"];

    let found = cluster.json(&report);

    assert_eq!(found["baseline"], "1");
    assert_eq!(found["sample_ratio"], "as_set");
    let (good, bad) = (arm(&found, "1"), arm(&found, "3"));
    let ended = |arm: &Value, how: &str| arm[how].as_u64().expect("a number");
    assert_eq!(ended(good, "failed") + ended(bad, "succeeded"), 0);
    assert_eq!(ended(good, "succeeded") + ended(bad, "failed"), 300);
    assert_eq!(bad["failures"]["function"], bad["failed"]);
    assert_eq!(bad["routed"], bad["failed"]);
    assert!(good["warm"]["p50"]["us"].as_f64().expect("a time") > 0.0);
    assert!(good["cost"].as_f64().expect("a cost") > 0.0);
    assert_eq!(good["metrics"]["/score"]["mean"], 5.0);
    assert_eq!(bad["metrics"]["/score"]["mean"], Value::Null);
    assert_eq!(verdict(&found, "failure_rate"), "worse");
    assert_eq!(verdict(&found, "/score"), "not_enough_data");
    assert_eq!(verdict(&found, "cold_p95"), "not_enough_data");
    let of_job = cluster.json(&[&report[..], &["--job", "last"]].concat());
    assert_eq!(arm(&of_job, "3")["failed"], bad["failed"]);
    assert_eq!(of_job["results_read"], 300);
    assert_eq!(verdict(&of_job, "failure_rate"), "worse");

    cluster.restart_coordinator();
    let again = cluster.json(&report);
    assert_eq!(again["arms"], found["arms"]);
    assert_eq!(again["comparisons"], found["comparisons"]);

    cluster.run(&["route", "set", "f", "--split", "1=50%,2=50%"]);
    let fresh = cluster.json(&report);
    assert_eq!(arm(&fresh, "1")["succeeded"], 0, "it begins with its route");
    let whole = cluster.json(&[&report[..], &["--since", "1h"]].concat());
    assert_eq!(arm(&whole, "1")["succeeded"], good["succeeded"]);
    assert_eq!(whole["sample_ratio"], "not_judged");
    let job = submit(&cluster, "0..600", &[]);
    assert_eq!(cluster.ended(&job)["state"], "succeeded");
    let better = cluster.json(&report);
    assert_eq!(verdict(&better, "/score"), "better");
    let less = cluster.json(&["experiment", "report", "f", "--metric", "/score:less"]);
    assert_eq!(verdict(&less, "/score"), "worse");
    assert_eq!(verdict(&less, "failure_rate"), "not_enough_data");
    let shown = cluster.run(&report);
    assert!(
        shown.lines().all(|line| line.chars().count() <= 100),
        "{shown}"
    );
    assert!(shown.contains("better"), "{shown}");
}

#[test]
fn invokes_count_for_their_arm() {
    let cluster = cluster();
    cluster.run(&["route", "set", "f", "--split", "1=100%,2=0%"]);
    for _ in 0..5 {
        cluster.run(&["invoke", "f", "7"]);
    }
    let found = cluster.json(&["experiment", "report", "f"]);
    assert_eq!(arm(&found, "1")["succeeded"], 5);
    let ran = |when: &str| arm(&found, "1")[when]["count"].as_u64().expect("a count");
    assert_eq!(ran("warm") + ran("cold"), 5);
}

#[test]
fn what_cannot_be_compared_is_refused_with_its_reason() {
    let cluster = cluster();
    let report = |more: &[&str], code: i32| {
        refused(&cluster, &[&["experiment", "report"], more].concat(), code)
    };
    let told = report(&["f"], 4);
    assert!(
        told.contains("f@live has no split between two or more arms"),
        "{told}"
    );
    cluster.run(&["route", "set", "f", "--split", "1=50%,2=50%"]);
    let job = submit(&cluster, "0..1", &[]);
    cluster.ended(&job);
    cluster.run(&["job", "submit", "umbel.echo", "--range", "0..1", "--wait"]);
    for (more, code, words) in [
        (&["g"][..], 4, "no function is named \"g\""),
        (&["f@canary"], 4, "no alias \"canary\""),
        (
            &["f", "--baseline", "7"],
            4,
            "--baseline: f@live has no arm \"7\" in its split; it has 1, 2",
        ),
        (&["f", "--metric", "score"], 2, "is no JSON pointer"),
        (
            &["f", "--metric", "/a~2"],
            4,
            "--metric: \"/a~2\" is no JSON pointer",
        ),
        (&["f", "--within", "5"], 2, "is no percentage"),
        (
            &["f", "--job", "last"],
            4,
            "runs umbel.echo, and not f@live",
        ),
        (&["f", "--job", "none"], 4, "no job none"),
        (
            &["f", "--job", "last", "--since", "1h"],
            2,
            "cannot be used with",
        ),
    ] {
        let told = report(more, code);
        assert!(told.contains(words), "{more:?}: {told}");
    }
}

#[test]
fn what_a_rolled_back_arm_did_well_runs_again_and_is_replaced() {
    let mut cluster = cluster();
    cluster.run(&["route", "set", "f", "--split", "1=50%,2=50%"]);
    let job = submit(&cluster, "0..100", &[]);
    assert_eq!(cluster.ended(&job)["state"], "succeeded");
    let of_two = |cluster: &Cluster| {
        let results = cluster.results(&job);
        assert_eq!(results.len(), 100);
        results.iter().filter(|one| one["arm"] == "2").count()
    };
    let two = of_two(&cluster);
    assert!(two > 20, "{two} of 100 are half");
    cluster.run(&["function", "point", "f", "1"]);
    let told = refused(&cluster, &["job", "redrive", &job, "--failed"], 4);
    assert!(
        told.contains("only a failed or cancelled job is redriven"),
        "{told}"
    );
    let told = refused(&cluster, &["job", "redrive", &job, "--arm", "8"], 4);
    assert!(told.contains("nothing of job"), "{told}");
    let told = refused(
        &cluster,
        &["job", "redrive", &job, "--arm", "2", "--cancelled"],
        2,
    );
    assert!(told.contains("cannot be used with"), "{told}");

    let again = cluster.json(&["job", "redrive", &job, "--arm", "2"]);

    assert_eq!(again["redriven"], two);
    let ended = cluster.ended(&job);
    assert_eq!(ended["state"], "succeeded");
    assert_eq!(ended["counts"]["succeeded"], 100);
    assert_eq!(ended["usage"]["attempts"], 100 + two);
    assert_eq!(of_two(&cluster), 0);
    let outputs = cluster.results(&job);
    assert!(outputs.iter().all(|one| one["output"]["score"] == 5));
    cluster.restart_coordinator();
    assert_eq!(of_two(&cluster), 0, "the later results count");
    cluster.coordinator.kill();
    let data = cluster.dir.path().join("data");
    let check = ["admin", "check", "--data", data.to_str().expect("UTF-8")];
    cluster.run(&check);
}
