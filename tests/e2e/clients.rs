//! Clients in other languages start from reflection or from generated stubs.

use std::path::Path;
use std::process::Command;

use crate::cluster::{Cluster, has, told};

#[test]
fn reflection_and_reasons_are_there_for_any_grpc_tool() {
    let test = "reflection_and_reasons_are_there_for_any_grpc_tool";
    if !has(test, "buf", "buf", &["--version"]) {
        return;
    }
    let cluster = Cluster::with_workers(1, 1);
    let curl = |arguments: &[&str]| {
        let plain = ["curl", "--protocol", "grpc", "--http2-prior-knowledge"];
        Command::new("buf")
            .args(plain)
            .args(arguments)
            .output()
            .expect("buf runs")
    };
    let listed = curl(&["--list-methods", &cluster.url]);
    let methods = String::from_utf8_lossy(&listed.stdout).into_owned();
    for method in [
        "umbel.v1.JobService/CreateJob",
        "umbel.v1.ClusterService/ListWorkers",
    ] {
        assert!(methods.contains(method), "{}", told(&listed));
    }
    let job = |target: &str| {
        let body = format!(
            r#"{{"spec":{{"target":"{target}"}},"inputs":{{"inputs":["NDE="]}},"seal":true}}"#
        );
        curl(&[
            "-d",
            &body,
            &format!("{}/umbel.v1.JobService/CreateJob", cluster.url),
        ])
    };
    let created = job("umbel.increment");
    assert!(created.status.success(), "{}", told(&created));
    let refused = told(&job("umbel.incremet"));
    // The tool shows details as it got them: this is base64 of the reason UNKNOWN_FUNCTION.
    let reason = "ChBVTktOT1dOX0ZVTkNUSU9O";
    for words in [
        "not_found",
        "google.rpc.ErrorInfo",
        reason,
        "umbel.increment",
    ] {
        assert!(refused.contains(words), "{words} is missing in {refused}");
    }
    let health = curl(&[
        "-d",
        "{}",
        &format!("{}/grpc.health.v1.Health/Check", cluster.url),
    ]);
    assert!(told(&health).contains("SERVING"), "{}", told(&health));
}

#[test]
fn a_python_program_submits_and_reads_results() {
    let test = "a_python_program_submits_and_reads_results";
    if !has(test, "grpcio", "python3", &["-c", "import grpc_tools"]) {
        return;
    }
    let cluster = Cluster::with_workers(1, 1);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the root");
    let script = root.join("examples/clients/submit.py");
    let run = |target: &str| {
        let mut python = Command::new("python3");
        python
            .arg(&script)
            .args([cluster.address(), target, "1", "2", "41"]);
        python.output().expect("python runs")
    };
    let output = run("umbel.increment");
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0 2\n1 3\n2 42\n");
    let refused = told(&run("umbel.incremet"));
    assert!(refused.contains("NOT_FOUND"), "{refused}");
    assert!(refused.contains("did you mean"), "{refused}");
}
