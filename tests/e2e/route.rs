//! Aliases send invocations by rules and by sticky splits, for jobs and for single invocations.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cluster::{Cluster, eventually};
use crate::publish::{folder, publish, refused};

/// A program that says which version it is; the last one fails.
fn program(says: &str) -> String {
    let ends = if says == "bad" { "exit 3" } else { "exit 0" };
    format!("#!/bin/sh\ncat >/dev/null\necho {says}\n{ends}\n")
}

/// `f` has versions that say `one`, `two` and fail; `g` is another function.
fn cluster() -> Cluster {
    let cluster = Cluster::with_workers(2, 2);
    for (name, says) in [("f", "one"), ("f", "two"), ("f", "bad"), ("g", "other")] {
        let script = program(says);
        let dir = folder(&cluster, &format!("{name}-{says}"), &[("run", &script)]);
        publish(&cluster, &[name, "--runtime", "exec", &dir]);
    }
    cluster
}

fn user(id: u32, country: &str) -> String {
    json!({"country": country, "user": {"id": id}}).to_string()
}

/// What each user of a job's results ran, by the inputs in their order.
fn arms(cluster: &Cluster, inputs: &[(u32, String)]) -> BTreeMap<u32, String> {
    let file = cluster.inputs(inputs.iter().map(|(_, input)| input.clone()));
    let file = file.to_str().expect("UTF-8");
    let id = cluster.run(&["job", "submit", "f", "--inputs", file]);
    assert_eq!(cluster.ended(id.trim())["state"], "succeeded");
    let results = cluster.results(id.trim());
    assert_eq!(results.len(), inputs.len());
    let results = results.iter().zip(inputs).map(|(result, (id, _))| {
        let arm = result["arm"].as_str().expect("an arm").to_owned();
        let (function, version, output) = match &*arm {
            "rule:g" => ("g", 1, "other"),
            "1" => ("f", 1, "one"),
            "2" => ("f", 2, "two"),
            other => panic!("no arm is named {other}"),
        };
        assert_eq!(result["function"], function);
        assert_eq!(result["version"], version);
        assert_eq!(result["output"], output);
        (*id, arm)
    });
    results.collect()
}

#[test]
fn rules_go_before_a_split_that_keeps_owners_on_their_arm() {
    let cluster = cluster();
    let rule = "input.country == \"DE\" => g";
    let set = |split: &str| {
        cluster.json(&[
            "route", "set", "f@live", "--rule", rule, "--split", split, "--key", "/user/id",
        ])
    };
    let ten = set("1=90%,2=10%");
    assert_eq!(ten["route"]["split"]["arms"][1]["weight_percent"], 10.0);
    let country = |id: u32| if id.is_multiple_of(8) { "DE" } else { "FR" };
    let inputs: Vec<_> = (0..400).map(|id| (id, user(id, country(id)))).collect();

    let before = arms(&cluster, &inputs);

    for id in (0..400).step_by(8) {
        assert_eq!(before[&id], "rule:g");
    }
    let of =
        |arms: &BTreeMap<u32, String>, arm: &str| arms.values().filter(|one| *one == arm).count();
    let second = of(&before, "2");
    assert!((15..60).contains(&second), "{second} of 350 are 10 %");
    let file = cluster.inputs(inputs.iter().map(|(_, input)| input.clone()));
    let file = file.to_str().expect("UTF-8");
    let counted = cluster.json(&["route", "simulate", "f", "--inputs", file]);
    for arm in counted["arms"].as_array().expect("arms") {
        let name = arm["arm"].as_str().expect("a name");
        assert_eq!(
            arm["inputs"],
            of(&before, name),
            "a simulation counts what ran"
        );
    }
    for (id, arm) in before.iter().take(20) {
        let input = user(*id, country(*id));
        let said = cluster.json(&["route", "explain", "f", "--input", &input, "--index", "77"]);
        assert_eq!(said["arm"], **arm);
        let ran = cluster.json(&["invoke", "f", &input]);
        assert_eq!(ran["arm"], **arm, "an invoke goes the same way");
    }

    set("1=80%,2=20%");
    let shuffled: Vec<_> = inputs.iter().rev().cloned().collect();
    let after = arms(&cluster, &shuffled);
    for (id, arm) in &before {
        assert!(
            arm == "1" || after[id] == *arm,
            "{id} was moved out of {arm}"
        );
    }
    assert!(of(&after, "2") > second);

    let moves = cluster.json(&["route", "history", "f"]);
    let kinds = moves["moves"]
        .as_array()
        .expect("moves")
        .iter()
        .rev()
        .take(2);
    assert!(kinds.clone().all(|one| one["kind"] == "route_set"));
    cluster.run(&["function", "rollback", "f"]);
    let back = cluster.json(&["route", "get", "f"]);
    assert_eq!(back["route"]["split"], ten["route"]["split"]);
    assert_eq!(arms(&cluster, &inputs), before, "a step back undoes a step");
}

#[test]
fn an_arm_is_kept_by_retries_a_restart_and_a_redrive() {
    let mut cluster = cluster();
    cluster.run(&[
        "route",
        "set",
        "f",
        "--split",
        "1=50%,3=50%",
        "--key",
        "/user/id",
    ]);
    let file = cluster.inputs((0..60).map(|id| user(id, "FR")));
    let file = file.to_str().expect("UTF-8");
    let id = cluster.run(&[
        "job",
        "submit",
        "f",
        "--inputs",
        file,
        "--max-attempts",
        "3",
        "--backoff",
        "1s..1s",
    ]);
    let id = id.trim().to_owned();
    eventually(
        "all of the good arm has succeeded, and retries wait",
        || {
            let counts = &cluster.job(&id)["counts"];
            (counts["leased"] == 0 && counts["succeeded"].as_u64()? > 10).then_some(())
        },
    );
    cluster.run(&["route", "set", "f", "--split", "2=100%"]);
    cluster.restart_coordinator();

    assert_eq!(cluster.ended(&id)["state"], "failed");
    let arms = |results: &[Value]| -> Vec<String> {
        let arms = results.iter();
        arms.map(|one| format!("{} {}", one["arm"], one["state"]))
            .collect()
    };
    let first = cluster.results(&id);
    let expected = ["\"1\" \"succeeded\"", "\"3\" \"failed\""];
    assert!(arms(&first).iter().all(|arm| expected.contains(&&**arm)));
    assert!(
        first
            .iter()
            .filter(|one| one["state"] == "failed")
            .all(|one| one["attempts"] == 3)
    );
    cluster.run(&["job", "redrive", &id, "--failed"]);
    assert_eq!(cluster.ended(&id)["state"], "failed");
    assert_eq!(
        arms(&cluster.results(&id)),
        arms(&first),
        "a redrive keeps it too"
    );
}

#[test]
fn a_job_that_pins_keeps_its_route_and_numbers_are_inputs_too() {
    let cluster = cluster();
    cluster.run(&[
        "route",
        "set",
        "f",
        "--rule",
        "input >= 1000 => 2",
        "--to",
        "1",
    ]);
    let submit = ["job", "submit", "umbel.sleep", "--input", "600000"];
    let blocker: Vec<String> = (0..4)
        .map(|_| cluster.run(&submit).trim().to_owned())
        .collect();
    eventually("all slots are taken", || {
        let status = cluster.json(&["cluster", "status"]);
        (status["slots_used"] == 4).then_some(())
    });
    let job = |more: &[&str]| {
        let submit = [
            "job",
            "submit",
            "f",
            "--range",
            "990..1010",
            "--priority",
            "1",
        ];
        cluster.run(&[&submit[..], more].concat()).trim().to_owned()
    };
    let (free, pinned) = (job(&["--max-concurrency", "1"]), job(&["--pin"]));
    cluster.run(&["route", "set", "f", "--to", "1"]);
    for id in &blocker {
        cluster.run(&["job", "cancel", id]);
    }
    for (id, ran) in [
        (&free, [1; 20]),
        (&pinned, std::array::from_fn(|at| 1 + u64::from(at >= 10))),
    ] {
        assert_eq!(cluster.ended(id)["state"], "succeeded");
        let results = cluster.results(id);
        let versions: Vec<u64> = results
            .iter()
            .filter_map(|one| one["version"].as_u64())
            .collect();
        assert!(id == &free || versions == ran, "{versions:?}");
        assert_eq!(versions.len(), 20);
    }
}

#[test]
fn what_cannot_be_a_route_is_refused_with_its_reason_and_nothing_moves() {
    let cluster = cluster();
    cluster.run(&["route", "set", "f", "--split", "1=90%,2=10%"]);
    let before = cluster.run(&["route", "get", "f", "--output", "json"]);
    for (flags, code, words) in [
        (
            &["--split", "1=90%,2=5%"][..],
            2,
            "--split: the weights add up to 95%",
        ),
        (&["--split", "1=90%,9=10%"], 4, "has no version 9"),
        (
            &["--split", "1=100%", "--key", "user.id"],
            2,
            "is no JSON pointer",
        ),
        (&["--split", "1=100%", "--key", ""], 2, "the key is missing"),
        (
            &["--rule", "inptu.x == 1 => 2"],
            2,
            "--rule 1, line 1, column 1: nothing is named \"inptu\"",
        ),
        (
            &["--rule", "size == \"x\" => 2"],
            2,
            "column 6: a whole number cannot be compared",
        ),
        (&["--rule", "true"], 2, "is no rule"),
        (
            &["--rule", "true => f"],
            4,
            "would lead back to f@live itself",
        ),
        (
            &["--rule", "true => nope"],
            4,
            "no function is named \"nope\"",
        ),
        (
            &["--rule", "true => umbel.echo"],
            4,
            "is brought by workers",
        ),
        (&[], 2, "required"),
    ] {
        let told = refused(&cluster, &[&["route", "set", "f"], flags].concat(), code);
        assert!(told.contains(words), "{flags:?}: {told}");
    }
    assert_eq!(
        cluster.run(&["route", "get", "f", "--output", "json"]),
        before
    );
    let told = refused(&cluster, &["function", "delete", "f@1"], 4);
    assert!(told.contains("f@live"), "{told}");
}
