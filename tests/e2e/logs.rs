//! What invocations print: kept of failures always, of successes on request or by sample.

use serde_json::Value;

use crate::cluster::{Cluster, Process, told};

/// Prints a line on stderr, and fails on the number 3.
const TALKER: &str = "read n; echo \"saw $n\" >&2; test \"$n\" != 3";

fn submit(cluster: &Cluster, more: &[&str], script: &str) -> String {
    let submit = ["job", "submit", "--range", "0..6", "--max-attempts", "1"];
    let program = ["--", "sh", "-c", script];
    let id = cluster.run(&[&submit[..], more, &program].concat());
    let id = id.trim().to_owned();
    cluster.ended(&id);
    id
}

fn logs(cluster: &Cluster, more: &[&str]) -> Vec<Value> {
    let lines = cluster.run(&[&["job", "logs"], more, &["--output", "json"]].concat());
    let mut logs: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON object"))
        .collect();
    logs.sort_by_key(|log| log["index"].as_u64());
    logs
}

#[test]
fn logs_are_kept_of_failures_and_on_request_of_all() {
    let mut cluster = Cluster::with_workers(2, 2);

    let failed = submit(&cluster, &[], TALKER);
    let kept = logs(&cluster, &[&failed]);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0]["state"], "failed");
    assert_eq!(kept[0]["log"], "saw 3\n");

    let all = submit(&cluster, &["--logs", "all"], TALKER);
    let check = |cluster: &Cluster| {
        let kept = logs(cluster, &[&all]);
        assert_eq!(kept.len(), 6, "{kept:?}");
        for (index, log) in kept.iter().enumerate() {
            let state = if index == 3 { "failed" } else { "succeeded" };
            assert_eq!(log["state"], state);
            assert_eq!(log["log"], format!("saw {index}\n"));
            assert_eq!(log["attempt"], 1);
        }
        assert_eq!(
            cluster.run(&["job", "logs", &all, "--index", "5"]),
            "saw 5\n"
        );
        assert_eq!(logs(cluster, &[&all, "--index", "2..4"]).len(), 2);
        let lines = cluster.run(&["job", "logs", &all]);
        assert!(lines.contains("        4 | saw 4\n"), "{lines}");
    };
    check(&cluster);
    cluster.restart_coordinator();
    check(&cluster);

    let data = cluster.dir.path().join("data");
    cluster.run(&["job", "delete", &failed]);
    cluster.coordinator.kill();
    let data = data.to_str().expect("UTF-8");
    let report = cluster.json(&["admin", "check", "--data", data]);
    assert_eq!(report["ok"], true, "{report}");
}

#[test]
fn a_sample_of_logs_is_the_same_whoever_runs_it() {
    let cluster = Cluster::with_workers(1, 2);
    let sample = || {
        let more = ["--range", "0..60", "--logs", "20%"];
        let submit = [
            &["job", "submit"],
            &more[..],
            &["--", "sh", "-c", "echo x >&2"],
        ]
        .concat();
        let id = cluster.run(&submit);
        cluster.ended(id.trim());
        let logs = logs(&cluster, &[id.trim()]).into_iter();
        logs.map(|log| log["index"].as_u64().expect("an index"))
            .collect::<Vec<_>>()
    };
    let first = sample();
    assert!((3..=25).contains(&first.len()), "{first:?}");
    assert_eq!(sample(), first);
}

#[test]
fn a_log_that_is_long_or_no_text_is_cut_and_made_text() {
    let cluster = Cluster::with_workers(1, 1);
    let script = "yes spam | head -c 3000000 >&2; printf 'caf\\351 end' >&2";
    let id = submit(&cluster, &["--logs", "all"], script);

    let kept = logs(&cluster, &[&id]);

    assert_eq!(kept.len(), 6);
    for log in kept {
        let text = log["log"].as_str().expect("text");
        assert!(text.len() <= 16 * 1024 && text.len() > 15 * 1024);
        assert!(text.ends_with("caf\u{fffd} end"), "{text}");
    }
}

#[test]
fn logs_are_followed_while_their_job_runs() {
    let cluster = Cluster::with_workers(1, 1);
    let gate = cluster.dir.path().join("gate");
    let wait = format!(
        "read n; echo \"saw $n\" >&2; test $n = 0 || until test -e {}; do sleep 0.02; done",
        gate.display()
    );
    let submit = ["job", "submit", "--range", "0..2", "--logs", "all"];
    let id = cluster.run(&[&submit[..], &["--", "sh", "-c", &wait]].concat());
    let mut command = cluster.umbel(&["job", "logs", id.trim(), "--follow"]);
    let told = cluster.dir.path().join("follower.log");
    let mut follower = Process::start(&mut command, told);

    assert_eq!(follower.line(), "        0 | saw 0");
    std::fs::write(&gate, "").expect("a file");

    assert_eq!(follower.line(), "        1 | saw 1");
    assert_eq!(follower.wait(), Some(0));
    let quiet = cluster.run(&["job", "submit", "umbel.echo", "--input", "x", "--wait"]);
    let output = cluster.umbel(&["job", "logs", quiet.trim()]).output();
    let words = String::from_utf8(output.expect("it runs").stderr).expect("UTF-8");
    assert!(words.contains("--logs all"), "{words}");
}

#[test]
fn what_an_index_printed_last_is_shown_and_one_that_is_not_there_is_refused() {
    let cluster = Cluster::with_workers(1, 1);
    let flag = cluster.dir.path().join("flag");
    let script = format!(
        "echo began >&2; test -e {0} && echo again >&2; touch {0}; exit 1",
        flag.display()
    );
    let submit = [
        "job",
        "submit",
        "--range",
        "0..1",
        "--max-attempts",
        "1",
        "--",
    ];
    let program = ["sh", "-c", &script];
    let id = cluster.run(&[&submit[..], &program].concat());
    let id = id.trim();
    assert_eq!(cluster.ended(id)["state"], "failed");
    let of_the_index = || cluster.run(&["job", "logs", id, "--index", "0"]);
    let first = of_the_index();
    cluster.run(&["job", "redrive", id, "--failed"]);
    assert_eq!(cluster.ended(id)["redrives"], 1);
    let second = of_the_index();
    assert!(
        !first.contains("again") && second.contains("again"),
        "{first}{second}"
    );
    assert_eq!(second.matches("began").count(), 1, "the last alone");
    let lines = cluster.run(&["job", "logs", id]);
    assert!(lines.contains("        0 | began\n"), "{lines}");
    assert!(lines.contains("        0 | redrive 1: again\n"), "{lines}");
    let all = cluster.run(&["job", "logs", id, "--output", "json"]);
    let all: Vec<Value> = all
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(
        (&all[0]["redrive"], &all[1]["redrive"]),
        (&0.into(), &1.into())
    );
    let output = cluster.umbel(&["job", "logs", id, "--index", "1"]).output();
    let output = output.expect("the binary runs");
    assert_eq!(output.status.code(), Some(4));
    assert!(told(&output).contains("has no input 1: it has 1"));
}

#[test]
fn what_was_printed_before_a_redrive_is_not_taken_for_what_came_of_it() {
    let cluster = Cluster::with_workers(1, 1);
    let flag = cluster.dir.path().join("flag");
    let script = format!(
        "echo began >&2; test -e {0} && exit 0; touch {0}; exit 1",
        flag.display()
    );
    let submit = ["job", "submit", "--range", "0..1", "--max-attempts", "1"];
    let id = cluster.run(&[&submit[..], &["--", "sh", "-c", &script]].concat());
    let id = id.trim();
    cluster.ended(id);
    let told_of = || {
        let output = cluster.umbel(&["job", "logs", id, "--index", "0"]).output();
        let output = output.expect("the binary runs");
        (output.stdout.clone(), told(&output))
    };
    let (printed, told) = told_of();
    assert_eq!(printed, b"began\n");
    assert!(!told.contains("redrive"), "{told}");
    cluster.run(&["job", "redrive", id, "--failed"]);
    assert_eq!(cluster.ended(id)["state"], "succeeded");

    let (printed, told) = told_of();

    assert_eq!(printed, b"began\n");
    let words = "before the redrive, when input 0 failed; its state is succeeded now";
    assert!(told.contains(words), "{told}");
}
