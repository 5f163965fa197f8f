//! Versions are rolled out in steps while jobs run, and a bad one is taken back by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::{Value, json};

use crate::cluster::{Cluster, eventually, has};
use crate::publish::{folder, publish, refused};

/// Invocations of the closing scenario. The debug build, which CI runs, gets fewer.
const INPUTS: u32 = if cfg!(debug_assertions) {
    20_000
} else {
    100_000
};

fn python(body: &str) -> String {
    format!("def handler(event, context):\n{body}")
}

const GOOD: &str = "    return {'version': 1, 'user': event['user']['id']}\n";
/// One user in ten meets the mistake.
const BAD: &str = "    if event['user']['id'] % 10 == 3:\n        raise ValueError('no such user')\n    return {'version': 3, 'user': event['user']['id']}\n";

/// A program in Rust that does the same; it is started for each invocation.
const RUST: &str = r#"
fn main() {
    let mut input = String::new();
    std::io::Read::read_to_string(&mut std::io::stdin(), &mut input).unwrap();
    let id = input.split("\"id\":").nth(1).unwrap();
    let id: String = id.chars().filter(char::is_ascii_digit).collect();
    println!("{{\"version\": 2, \"user\": {id}}}");
}
"#;

fn input(user: u32, country: &str) -> String {
    json!({"country": country, "user": {"id": user}}).to_string()
}

/// Publishes versions 1 to 3 of `resize`: in Python, in Rust, and in Python with a mistake. Points
/// `live` at the first.
fn versions(cluster: &Cluster) {
    let python_of = |name: &str, body: &str| folder(cluster, name, &[("app.py", &python(body))]);
    let python_args = ["--runtime", "python", "--handler", "app.handler"];
    let one = python_of("one", GOOD);
    publish(cluster, &[&["resize"], &python_args[..], &[&one]].concat());
    let source = folder(cluster, "rust", &[("main.rs", RUST)]);
    let built = folder(cluster, "two", &[]);
    std::fs::create_dir_all(&built).expect("a folder");
    let compiled = Command::new("rustc")
        .args([
            "-O",
            "-o",
            &format!("{built}/run"),
            &format!("{source}/main.rs"),
        ])
        .status()
        .expect("rustc runs");
    assert!(compiled.success());
    publish(cluster, &["resize", "--runtime", "exec", &built]);
    cluster.run(&["function", "point", "resize@live", "1"]);
    let three = python_of("three", BAD);
    publish(
        cluster,
        &[&["resize"], &python_args[..], &[&three]].concat(),
    );
}

fn rollout(cluster: &Cluster) -> Value {
    cluster.json(&["rollout", "get", "resize"])
}

/// Users of one country run on version 2, and one in ten of the others.
fn by_country_and_user(cluster: &Cluster) {
    cluster.run(&[
        "route",
        "set",
        "resize@live",
        "--rule",
        "input.country == \"DE\" => 2",
        "--split",
        "1=90%,2=10%",
        "--key",
        "/user/id",
        "--to",
        "1",
    ]);
}

/// Begins to replace version 1 by version 3.
fn start(cluster: &Cluster) {
    cluster.run(&[
        "rollout",
        "start",
        "resize@live",
        "--to",
        "3",
        "--steps",
        "5,25,100",
        "--guard",
        "failure_rate<=+0.5%,p95<=+400%,cold_p95<=+900%",
        "--min",
        "100",
    ]);
}

#[test]
fn a_bad_version_is_stopped_by_itself_in_the_middle_of_a_job_and_leaves_no_failed_result() {
    let test =
        "a_bad_version_is_stopped_by_itself_in_the_middle_of_a_job_and_leaves_no_failed_result";
    if !has(test, "python", "python3", &["--version"]) || !has(test, "rustc", "rustc", &["-V"]) {
        return;
    }
    let cluster = Cluster::with_workers(2, 2);
    versions(&cluster);
    by_country_and_user(&cluster);
    let before = cluster.json(&["route", "get", "resize"])["route"].clone();
    let country = |user: u32| if user.is_multiple_of(50) { "DE" } else { "FR" };
    let users: Vec<u32> = (0..INPUTS).map(|at| at % (INPUTS / 4)).collect();
    let file = cluster.inputs(users.iter().map(|user| input(*user, country(*user))));
    let file = file.to_str().expect("UTF-8");
    start(&cluster);
    let started = rollout(&cluster);
    assert_eq!(
        (&started["from"], &started["state"]),
        (&json!(1), &json!("advancing"))
    );

    let id = cluster.run(&["job", "submit", "resize", "--inputs", file]);
    let id = id.trim();
    let over = eventually("the bad version is stopped", || {
        let seen = rollout(&cluster);
        (seen["state"] != "advancing").then_some(seen)
    });

    assert_eq!(over["state"], "rolled_back", "{over}");
    assert_eq!(
        cluster.job(id)["state"],
        "running",
        "in the middle of the job"
    );
    assert!(over["by"].is_null(), "by itself");
    assert!(
        over["why"]
            .as_str()
            .expect("why")
            .starts_with("failure_rate<=+0.5%")
    );
    assert!(
        over["last_failure"]
            .as_str()
            .expect("words")
            .contains("no such user")
    );
    assert_eq!(cluster.json(&["route", "get", "resize"])["route"], before);
    let job = cluster.ended(id);
    assert_eq!(job["state"], "succeeded");
    assert_eq!(job["counts"]["failed"], 0);
    check(&cluster.results(id), &users, country);
    let watched = refused(&cluster, &["rollout", "watch", "resize"], 1);
    assert!(watched.contains("was rolled back"), "{watched}");
}

/// Each user of the rule ran in Rust; each other one on one arm but for what was rolled out
/// meanwhile, and what that got wrong ran on the version before.
fn check(results: &[Value], users: &[u32], country: impl Fn(u32) -> &'static str) {
    assert_eq!(results.len(), users.len());
    let mut arms: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
    let mut new = 0;
    for (result, user) in results.iter().zip(users) {
        let arm = result["arm"].as_str().expect("an arm");
        let version = match arm {
            "1" | "baseline" => 1,
            "2" | "rule:2" => 2,
            "3" => 3,
            other => panic!("no arm is named {other}"),
        };
        assert_eq!(result["output"], json!({"version": version, "user": user}));
        assert_eq!(result["version"], version);
        assert_eq!(
            arm == "rule:2",
            country(*user) == "DE",
            "{user} by the rule"
        );
        arms.entry(*user).or_default().insert(arm);
        new += u32::from(version == 3);
        assert!(version != 3 || user % 10 != 3, "what failed ran elsewhere");
    }
    assert!(
        new > 0,
        "what succeeded on the bad version stays, and bears its arm"
    );
    for (user, arms) in arms {
        assert!(
            !arms.contains("2") || arms.len() == 1,
            "{user} stays on 2: {arms:?}"
        );
    }
}

#[test]
fn a_good_version_is_promoted_and_a_killed_coordinator_goes_on_where_it_was() {
    let test = "a_good_version_is_promoted_and_a_killed_coordinator_goes_on_where_it_was";
    if !has(test, "python", "python3", &["--version"]) {
        return;
    }
    let mut cluster = Cluster::with_workers(2, 2);
    let handler = ["--runtime", "python", "--handler", "app.handler"];
    for (name, body) in [("one", GOOD), ("two", "    return {'version': 2}\n")] {
        let dir = folder(&cluster, name, &[("app.py", &python(body))]);
        publish(&cluster, &[&["resize"], &handler[..], &[&dir]].concat());
    }
    // It went along with the second as that was published.
    let start = [
        "rollout",
        "start",
        "resize",
        "--to",
        "2",
        "--from",
        "1",
        "--steps",
        "20,50,100",
        "--guard",
        "failure_rate<=+5%",
        "--min",
        "50",
        "--key",
        "/user/id",
    ];
    cluster.run(&start);
    assert!(refused(&cluster, &start, 4).contains("being rolled out"));
    assert!(refused(&cluster, &["function", "point", "resize", "2"], 4).contains("rollout"));
    cluster.run(&["rollout", "pause", "resize"]);
    let file = cluster.inputs((0..4_000).map(|user| input(user, "FR")));
    let file = file.to_str().expect("UTF-8");
    let id = cluster.run(&["job", "submit", "resize", "--inputs", file]);
    eventually("both arms have run", || {
        let seen = rollout(&cluster);
        let ended = |arm: &str| seen[arm]["ended"].as_u64().unwrap_or(0);
        (ended("candidate") > 100 && ended("baseline") > 100).then_some(())
    });

    cluster.restart_coordinator();

    let after = rollout(&cluster);
    assert_eq!(
        (&after["state"], &after["percent"]),
        (&json!("paused"), &json!(20.0))
    );
    assert!(
        after["candidate"]["ended"].as_u64() > Some(100),
        "its figures are there"
    );
    cluster.run(&["rollout", "resume", "resize"]);
    let output = cluster
        .umbel(&["rollout", "watch", "resize"])
        .output()
        .expect("it runs");
    assert!(output.status.success());
    assert_eq!(rollout(&cluster)["state"], "promoted");
    assert_eq!(cluster.json(&["route", "get", "resize"])["version"], 2);
    assert_eq!(cluster.ended(id.trim())["counts"]["succeeded"], 4_000);
    let back = cluster.json(&["function", "rollback", "resize"]);
    assert_eq!(back["version"], 1, "one step back is before it began");
}
