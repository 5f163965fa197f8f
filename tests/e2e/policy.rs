//! What of a job is tried again, and when it has had enough.

use crate::cluster::Cluster;

/// Submits, waits for the end, and gives the job.
fn ended(cluster: &Cluster, arguments: &[&str]) -> serde_json::Value {
    let id = cluster.run(&[&["job", "submit"], arguments].concat());
    cluster.ended(id.trim())
}

#[test]
fn only_failures_of_the_kinds_and_types_that_are_named_are_tried_again() {
    let cluster = Cluster::with_workers(1, 2);
    let fails = |policy: &[&str]| {
        let program = ["--", "sh", "-c", "exit 3"];
        let arguments = [&["--input", "x", "--backoff", "1ms..2ms"], policy, &program].concat();
        let job = ended(&cluster, &arguments);
        assert_eq!(job["state"], "failed", "{job}");
        job["attempts"].as_u64().expect("a number")
    };
    assert_eq!(fails(&[]), 3);
    assert_eq!(fails(&["--no-retry-on", "ExitCode"]), 1);
    assert_eq!(fails(&["--retry-on", "timeout"]), 1);
    assert_eq!(fails(&["--retry-on", "timeout,ExitCode"]), 3);
}

#[test]
fn an_attempt_whose_timeout_is_final_runs_once() {
    let cluster = Cluster::with_workers(1, 1);
    let job = ended(
        &cluster,
        &[
            "umbel.sleep",
            "--input",
            "60000",
            "--timeout",
            "50ms",
            "--no-retry-on",
            "timeout",
        ],
    );
    assert_eq!(
        (&job["state"], &job["attempts"]),
        (&"failed".into(), &1.into())
    );
}

#[test]
fn enough_successes_end_the_job_and_stop_what_runs() {
    let cluster = Cluster::with_workers(1, 2);
    let inputs = ["--input", "1", "--input", "600000", "--input", "600000"];
    let arguments = [&["umbel.sleep", "--enough", "1"], &inputs[..]].concat();
    let job = ended(&cluster, &arguments);
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(job["counts"]["cancelled"], 2, "{job}");
    let next = cluster.run(&["map", "umbel.increment", "--input", "1"]);
    assert_eq!(next, "2\n", "its slots are free");
}

#[test]
fn a_policy_that_contradicts_itself_is_refused_in_words() {
    let cluster = Cluster::start();
    for (flags, code, words) in [
        // What makes no sense by itself is bad usage; what two flags say together is refused.
        (
            ["--retry-on=rejected", "--enough=1"],
            2,
            "never tried again",
        ),
        (
            ["--retry-on=lost", "--no-retry-on=lost"],
            4,
            "name it in one",
        ),
    ] {
        let arguments = [&["job", "submit", "umbel.echo", "--input=x"], &flags[..]].concat();
        let output = cluster.umbel(&arguments).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "{said}");
    }
}
