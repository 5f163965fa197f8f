//! What failed is mended and run again; what succeeded is left alone.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::cluster::{Cluster, check_counts, eventually, told};

/// A program that fails on odd numbers unless the file `fixed` is there, and leaves a line for
/// each run.
fn script(dir: &Path) -> String {
    let (ran, fixed) = (dir.join("ran"), dir.join("fixed"));
    format!(
        "read i; echo $i >> {}; [ -e {} ] || [ $((i % 2)) = 0 ] || exit $((i + 10)); echo out-$i",
        ran.display(),
        fixed.display()
    )
}

fn lines(dir: &Path) -> usize {
    let ran = fs::read_to_string(dir.join("ran"));
    ran.unwrap_or_default().lines().count()
}

/// A job of ten of which the odd ones have failed.
fn half_failed(cluster: &Cluster) -> String {
    let script = script(cluster.dir.path());
    let id = cluster.run(&[
        "job",
        "submit",
        "--range",
        "0..10",
        "--max-attempts",
        "1",
        "--",
        "sh",
        "-c",
        &script,
    ]);
    let id = id.trim().to_owned();
    let job = cluster.ended(&id);
    assert_eq!(job["state"], "failed", "{job}");
    assert_eq!(job["counts"]["failed"], 5, "{job}");
    id
}

fn redrive(cluster: &Cluster, id: &str, how: &[&str]) -> Value {
    let arguments = [&["job", "redrive", id, "--output", "json"], how].concat();
    let said = cluster.run(&arguments);
    serde_json::from_str(&said).expect("JSON")
}

/// The exit code and the words of a redrive that is refused.
fn refused(cluster: &Cluster, id: &str, how: &[&str]) -> (Option<i32>, String) {
    let output = cluster
        .umbel(&[&["job", "redrive", id], how].concat())
        .output()
        .expect("it runs");
    assert!(!output.status.success(), "{}", told(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

#[test]
fn what_failed_is_mended_and_only_that_runs_again() {
    let cluster = Cluster::with_workers(1, 2);
    let id = half_failed(&cluster);
    fs::write(cluster.dir.path().join("fixed"), "").expect("it is mended");
    let job = redrive(&cluster, &id, &["--failed"]);
    assert_eq!((&job["redriven"], &job["redrives"]), (&5.into(), &1.into()));
    let job = cluster.ended(&id);
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(
        (&job["attempts"], &job["counts"]["succeeded"]),
        (&15.into(), &10.into())
    );
    check_counts(&job);
    assert_eq!(
        lines(cluster.dir.path()),
        15,
        "what succeeded was left alone"
    );
    let results = cluster.results(&id);
    for (index, result) in results.iter().enumerate() {
        assert_eq!(result["output"], format!("out-{index}"));
        assert_eq!(result["attempts"], 1);
    }
    let completed = cluster.run(&["job", "results", &id, "--as-completed", "--output", "json"]);
    let lines = completed
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let mut completed: Vec<Value> = lines.collect();
    completed.sort_by_key(|result| result["index"].as_u64());
    assert_eq!(completed, results, "the later result alone, in both orders");
    let (code, said) = refused(&cluster, &id, &["--failed"]);
    assert_eq!(code, Some(4));
    assert!(said.contains("only a failed or cancelled job"), "{said}");
}

#[test]
fn a_part_is_redriven_by_index_or_type_and_the_rest_by_another_target() {
    let mut cluster = Cluster::with_workers(1, 2);
    let id = half_failed(&cluster);
    let (code, said) = refused(&cluster, &id, &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--failed"), "{said}");
    let (code, said) = refused(&cluster, &id, &["--type", "Nonesuch"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("5 failed and 0 cancelled"), "{said}");
    let (code, said) = refused(&cluster, &id, &["--failed", "--target", "umbel.incremet"]);
    assert_eq!(code, Some(4));
    assert!(said.contains("umbel.increment"), "{said}");

    let job = redrive(&cluster, &id, &["--index", "0..4"]);
    assert_eq!(job["redriven"], 2, "{job}");
    let job = cluster.ended(&id);
    assert_eq!(
        (&job["state"], &job["counts"]["failed"]),
        (&"failed".into(), &5.into())
    );
    cluster.restart_coordinator();
    let job = redrive(
        &cluster,
        &id,
        &["--type", "ExitCode", "--target", "umbel.increment"],
    );
    assert_eq!((&job["redriven"], &job["redrives"]), (&5.into(), &2.into()));
    let job = cluster.ended(&id);
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(job["target"], "umbel.increment");
    let results = cluster.results(&id);
    assert_eq!(results[3]["output"], 4, "{}", results[3]);
    assert_eq!(results[3]["function"], "umbel.increment");
    assert_eq!(results[4]["output"], "out-4", "{}", results[4]);
    assert_eq!(results[4]["function"], "exec:sh");
}

#[test]
fn a_cancelled_job_goes_on_and_a_request_id_redrives_it_once() {
    let mut cluster = Cluster::start();
    let id = cluster.run(&["job", "submit", "umbel.increment", "--range", "0..1000"]);
    let id = id.trim();
    let (_, said) = refused(&cluster, id, &["--cancelled"]);
    assert!(said.contains("has not ended"), "{said}");
    cluster.run(&["job", "cancel", id]);
    let how = ["--cancelled", "--request-id", "again-1"];
    assert_eq!(redrive(&cluster, id, &how)["redriven"], 1_000);
    assert_eq!(
        redrive(&cluster, id, &how)["redrives"],
        1,
        "said twice is said once"
    );
    let other = ["--cancelled", "--request-id", "again-1", "--index", "0..5"];
    let (code, said) = refused(&cluster, id, &other);
    assert_eq!(code, Some(4));
    assert!(said.contains("again-1"), "{said}");
    cluster.add_worker("w", 2, &[]);
    let job = cluster.ended(id);
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(
        redrive(&cluster, id, &how)["redrives"],
        1,
        "after its end too"
    );
}

#[test]
fn a_kill_in_the_middle_of_a_redrive_loses_and_repeats_nothing() {
    let mut cluster = Cluster::with_workers(2, 2);
    let id = half_failed(&cluster);
    let gate = cluster.dir.path().join("gate");
    let script = format!(
        "read i; while [ ! -e {} ]; do sleep 0.05; done; echo again-$i",
        gate.display()
    );
    redrive(&cluster, &id, &["--failed", "--", "sh", "-c", &script]);
    eventually("it runs again", || {
        (cluster.job(&id)["counts"]["leased"] == 4).then_some(())
    });
    cluster.coordinator.kill();
    fs::write(&gate, "").expect("it goes on while nobody is there to be told");
    cluster.resume_coordinator();
    let job = cluster.ended(&id);
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(
        (&job["redrives"], &job["attempts"]),
        (&1.into(), &15.into())
    );
    check_counts(&job);
    for (index, result) in cluster.results(&id).iter().enumerate() {
        let word = if index % 2 == 0 { "out" } else { "again" };
        assert_eq!(result["output"], format!("{word}-{index}"));
    }
    cluster.coordinator.kill();
    let data = cluster.dir.path().join("data");
    let check = ["admin", "check", "--data", data.to_str().expect("UTF-8")];
    cluster.run(&check);
}
