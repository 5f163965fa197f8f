//! Instances stand ready before there is work for them, and a cold start says what it was made of.

use serde_json::Value;

use crate::cluster::{Cluster, eventually, has};
use crate::publish::{folder, publish, refused};

/// Sleeps, so that two at a time need two instances; `die` ends the instance.
const SLOW: &str = "\
import os, time
def handler(event, context):
    if event == 'die':
        os._exit(3)
    time.sleep(0.05)
    return os.getpid()
";

fn version(cluster: &Cluster, function: &str, number: u64) -> Value {
    let found = cluster.json(&["function", "get", function]);
    let versions = found["versions"].as_array().expect("versions");
    let mut versions = versions.iter();
    let found = versions.find(|version| version["number"] == number);
    found.expect("the version").clone()
}

/// Waits until so many instances stand ready, of as many that are kept.
fn ready(cluster: &Cluster, function: &str, number: u64, count: u64) {
    eventually(&format!("{count} of {function}@{number} are ready"), || {
        let found = version(cluster, function, number);
        let both = [&found["ready_instances"], &found["kept_instances"]];
        (both == [&Value::from(count); 2]).then_some(())
    });
}

fn invoke(cluster: &Cluster, target: &str, input: &str) -> Value {
    cluster.json(&["invoke", target, input])
}

#[test]
fn instances_stand_ready_before_there_is_work_and_are_replaced() {
    let test = "instances_stand_ready_before_there_is_work_and_are_replaced";
    if !has(test, "python", "python3", &["--version"]) {
        return;
    }
    let mut cluster = Cluster::with_workers(1, 2);
    let slow = folder(&cluster, "slow", &[("app.py", SLOW)]);
    let python = ["--runtime", "python", "--handler", "app.handler"];
    publish(
        &cluster,
        &[&["slow", &slow, "--warm", "5"], &python[..]].concat(),
    );
    ready(&cluster, "slow", 1, 2);

    let id = cluster.run(&["job", "submit", "slow", "--range", "0..2"]);
    assert_eq!(cluster.ended(id.trim())["state"], "succeeded");
    for result in cluster.results(id.trim()) {
        assert_eq!(result["cold_start"], Value::Null, "{result}");
    }

    let died = cluster.umbel(&["invoke", "slow", "\"die\""]).output();
    assert_eq!(died.expect("the binary runs").status.code(), Some(1));
    ready(&cluster, "slow", 1, 2);
    assert_eq!(invoke(&cluster, "slow", "1")["cold_start"], Value::Null);

    cluster.add_worker("late", 1, &[]);
    ready(&cluster, "slow", 1, 3);
    cluster.run(&["function", "delete", "slow"]);
}

#[test]
fn functions_of_the_same_code_have_instances_of_their_own_and_know_what_they_are() {
    let test = "functions_of_the_same_code_have_instances_of_their_own_and_know_what_they_are";
    if !has(test, "python", "python3", &["--version"]) {
        return;
    }
    let code = "\
import os
def handler(event, context):
    env = lambda name: os.environ['AWS_LAMBDA_FUNCTION_' + name]
    return [env('NAME'), env('VERSION'), context.function_name, context.function_version]
";
    let cluster = Cluster::with_workers(1, 1);
    let path = folder(&cluster, "who", &[("app.py", code)]);
    let python = ["--runtime", "python", "--handler", "app.handler"];
    for name in ["one", "two"] {
        publish(&cluster, &[&[name, &path], &python[..]].concat());
    }
    publish(
        &cluster,
        &[&["one", &path, "--env", "A=1"], &python[..]].concat(),
    );
    for (target, name, version) in [
        ("one@1", "one", "1"),
        ("two", "two", "1"),
        ("one", "one", "2"),
    ] {
        let output = cluster.run(&["invoke", target, "0"]);
        let output: Value = serde_json::from_str(&output).expect("JSON");
        assert_eq!(output, serde_json::json!([name, version, name, version]));
    }
}

#[test]
fn an_alias_waits_for_a_version_that_is_to_stand_ready() {
    let test = "an_alias_waits_for_a_version_that_is_to_stand_ready";
    if !has(test, "python", "python3", &["--version"]) {
        return;
    }
    let cluster = Cluster::with_workers(1, 2);
    let python = ["--runtime", "python", "--handler", "app.handler"];
    let old = folder(&cluster, "old", &[("app.py", SLOW)]);
    publish(&cluster, &[&["f", &old], &python[..]].concat());
    cluster.run(&["function", "point", "f@stable", "1"]);
    let new = folder(&cluster, "new", &[("app.py", SLOW), ("new.txt", "")]);
    publish(
        &cluster,
        &[&["f", &new, "--warm", "2"], &python[..]].concat(),
    );
    cluster.run(&["function", "rollback", "f"]);
    ready(&cluster, "f", 2, 0);

    cluster.run(&["function", "point", "f", "2", "--when-warm"]);

    let found = version(&cluster, "f", 2);
    assert_eq!(found["ready_instances"], 2, "{found}");
    let invoked = invoke(&cluster, "f", "1");
    assert_eq!(
        (&invoked["version"], &invoked["cold_start"]),
        (&2.into(), &Value::Null)
    );
    let point = ["function", "point", "f@stable", "1", "--when-warm"];
    let told = refused(&cluster, &point, 4);
    assert!(told.contains("--warm N"), "{told}");
}

#[test]
fn the_first_cold_start_says_how_long_the_artifact_took_to_come() {
    let test = "the_first_cold_start_says_how_long_the_artifact_took_to_come";
    if !has(test, "python", "python3", &["--version"]) {
        return;
    }
    let cluster = Cluster::with_workers(1, 2);
    let slow = folder(&cluster, "slow", &[("app.py", SLOW)]);
    let python = ["--runtime", "python", "--handler", "app.handler"];
    publish(&cluster, &[&["slow", &slow], &python[..]].concat());
    let cold = invoke(&cluster, "slow", "1")["cold_start"].clone();
    for part in ["fetch_us", "load_us", "init_us", "first_call_us"] {
        assert!(
            cold[part].as_u64().expect("a number") > 0,
            "{part} in {cold}"
        );
    }
    let died = cluster.umbel(&["invoke", "slow", "\"die\""]).output();
    assert_eq!(died.expect("the binary runs").status.code(), Some(1));
    let again = invoke(&cluster, "slow", "1")["cold_start"].clone();
    assert_eq!(again["fetch_us"], 0, "it is here: {again}");
    assert!(again["init_us"].as_u64().expect("a number") > 0);

    let found = version(&cluster, "slow", 1);
    let figures = &found["figures"];
    assert_eq!(figures["cold"]["count"], 2, "{found}");
    assert_eq!(figures["cold_parts"]["init"]["count"], 2, "{found}");
    assert!(
        figures["warm"]["count"].as_u64().expect("a number") > 0,
        "{found}"
    );
    assert!(figures["cold"]["p50_us"].as_u64() > figures["warm"]["p50_us"].as_u64());
    let table = cluster.run(&["function", "get", "slow"]);
    assert!(table.contains("FETCH"), "{table}");
    assert!(
        table.lines().all(|line| line.chars().count() <= 100),
        "{table}"
    );

    // A program has no instances; what it waited for was its code.
    let program = "#!/bin/sh\ncat\n";
    let program = folder(&cluster, "program", &[("cat.sh", program)]) + "/cat.sh";
    publish(&cluster, &["cat", "--runtime", "exec", &program]);
    let cold = invoke(&cluster, "cat", "1")["cold_start"].clone();
    assert!(cold["fetch_us"].as_u64().expect("a number") > 0, "{cold}");
    assert_eq!(invoke(&cluster, "cat", "1")["cold_start"], Value::Null);
}
