//! What a person types and reads.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::cluster::{Cluster, UMBEL, quiet_environment, told};

#[test]
fn map_prints_outputs_in_input_order_on_stdout_alone() {
    let cluster = Cluster::with_workers(2, 2);
    let output = cluster.run(&["map", "umbel.increment", "--range", "0..5000"]);
    let expected: Vec<String> = (1..=5_000).map(|i| i.to_string()).collect();
    assert_eq!(output.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn map_reads_stdin_when_asked_and_runs_programs() {
    let cluster = Cluster::with_workers(1, 2);
    let mut map = cluster
        .umbel(&["map", "--inputs", "-", "--", "tr", "a-z", "A-Z"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = map.stdin.take().expect("stdin is piped");
    stdin
        .write_all(b"alpha\n\nbeta\r\ngamma")
        .expect("it reads");
    drop(stdin);
    let output = map.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "ALPHA\n\nBETA\r\nGAMMA\n"
    );
}

#[test]
fn a_braces_argument_takes_the_input_and_no_shell_looks_at_it() {
    let cluster = Cluster::with_workers(1, 1);
    let arguments = ["map", "--input", "a; echo $HOME", "--", "echo", "<{}>"];
    assert_eq!(cluster.run(&arguments), "<a; echo $HOME>\n");
}

#[test]
fn a_failed_invocation_is_an_empty_line_and_exit_code_1() {
    let cluster = Cluster::with_workers(1, 1);
    let arguments = [
        "map",
        "umbel.increment",
        "--max-attempts",
        "1",
        "--input",
        "1",
        "--input",
    ];
    let output = cluster
        .umbel(&[&arguments[..], &["seven", "--input", "3"]].concat())
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "2\n\n4\n");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("seven"),
        "{}",
        told(&output)
    );
}

#[test]
fn a_source_without_inputs_succeeds_with_a_warning_and_none_is_bad_usage() {
    let cluster = Cluster::with_workers(1, 1);
    let empty = cluster.inputs(std::iter::empty());
    let empty = empty.to_str().expect("UTF-8");
    let output = cluster
        .umbel(&["map", "umbel.echo", "--inputs", empty])
        .output()
        .expect("runs");
    assert!(output.status.success(), "{}", told(&output));
    assert!(!output.stderr.is_empty(), "it warns");
    let output = cluster
        .umbel(&["map", "umbel.echo"])
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
}

#[test]
fn invoke_answers_on_stdout() {
    let cluster = Cluster::with_workers(1, 1);
    assert_eq!(
        cluster.run(&["invoke", "umbel.increment", "41"]).trim_end(),
        "42"
    );
    let output = cluster
        .umbel(&["invoke", "umbel.increment", "x"])
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
}

#[test]
fn json_shapes_are_those_that_scripts_rely_on() {
    let cluster = Cluster::with_workers(1, 1);
    let inputs = ["--input", "{\"a\":1.50}", "--input", "text", "--input", ""];
    let submit = ["job", "submit", "umbel.echo", "--wait", "--name", "shapes"];
    let id = cluster.run(&[&submit[..], &inputs[..]].concat());
    let job = cluster.job("shapes");
    assert_eq!(job["id"], id.trim());
    assert_eq!(job["target"], "umbel.echo");
    assert_eq!(job["sealed"], true);
    assert_eq!(job["usage"]["attempts"], 3);
    assert!(job["created_at"].as_str().expect("a time").ends_with('Z'));
    let lines = cluster.run(&["job", "results", "last", "--output", "json"]);
    let lines: Vec<&str> = lines.lines().collect();
    assert!(
        lines[0].contains("\"output\":{\"a\":1.50}"),
        "digits are kept: {}",
        lines[0]
    );
    assert!(lines[1].contains("\"output\":\"text\""), "{}", lines[1]);
    assert!(
        lines[0].contains("\"function\":\"umbel.echo\""),
        "{}",
        lines[0]
    );
    assert!(lines[0].contains("\"worker\":\"w0\""), "{}", lines[0]);
}

#[test]
fn explain_says_that_no_worker_is_there() {
    let cluster = Cluster::start();
    let id = cluster.run(&["job", "submit", "umbel.echo", "--input", "x"]);
    let said = cluster.run(&["job", "explain", id.trim()]);
    assert!(
        said.contains("no_worker") || said.contains("no worker"),
        "{said}"
    );
    cluster.run(&["job", "cancel", id.trim()]);
    assert_eq!(cluster.job(id.trim())["counts"]["cancelled"], 1);
    cluster.run(&["job", "delete", id.trim()]);
    let gone = cluster
        .umbel(&["job", "get", id.trim()])
        .output()
        .expect("runs");
    assert_eq!(gone.status.code(), Some(4), "{}", told(&gone));
}

#[test]
fn tolerance_ends_a_job_early() {
    let cluster = Cluster::with_workers(1, 1);
    let inputs = cluster.inputs((0..2_000).map(|_| "no number".to_owned()));
    let inputs = inputs.to_str().expect("UTF-8");
    let policy = ["--max-attempts", "1", "--tolerate", "5", "--wait"];
    let submit = ["job", "submit", "umbel.increment", "--inputs", inputs];
    let output = cluster
        .umbel(&[&submit[..], &policy[..]].concat())
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let job = cluster.job("last");
    assert_eq!(job["state"], "failed");
    assert_eq!(job["failure"]["kind"], "tolerance");
    assert!(job["counts"]["failed"].as_u64() > Some(5), "{job}");
}

#[test]
fn every_command_has_help_with_an_example() {
    let commands: &[&[&str]] = &[
        &["demo"],
        &["up"],
        &["coordinator", "start"],
        &["worker", "start"],
        &["worker", "list"],
        &["worker", "drain"],
        &["map"],
        &["invoke"],
        &["job", "submit"],
        &["job", "get"],
        &["job", "watch"],
        &["job", "results"],
        &["job", "cancel"],
        &["job", "delete"],
        &["job", "list"],
        &["job", "explain"],
        &["cluster", "status"],
        &["bench"],
        &["bench", "all"],
        &["bench", "fanout"],
        &["bench", "invoke"],
        &["bench", "single"],
        &["bench", "spin"],
        &["bench", "mixed"],
        &["bench", "sessions"],
        &["bench", "jobs"],
        &["bench", "calls"],
        &["bench", "coldstart"],
        &["bench", "restart"],
        &["completions"],
    ];
    for command in commands {
        let mut umbel = Command::new(UMBEL);
        quiet_environment(&mut umbel);
        let output = umbel
            .args(*command)
            .arg("--help")
            .output()
            .expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{command:?}: {}", told(&output));
        assert!(
            said.contains("xample"),
            "{command:?} has no example:\n{said}"
        );
    }
}

#[test]
fn a_fresh_cluster_says_that_its_lists_are_empty() {
    let cluster = Cluster::start();
    assert!(cluster.run(&["job", "list"]).contains("no jobs"));
    assert!(cluster.run(&["worker", "list"]).contains("no workers"));
}
