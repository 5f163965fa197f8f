//! The examples, each in another language, are one function: published, given the same job, and
//! held against each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::cluster::{Cluster, UMBEL, has, lacks, quiet_environment, told};
use crate::publish::publish;

pub(crate) fn examples() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("the crate lies two below the root")
        .join("examples/functions")
}

/// The example in Rust that has to be built before it can be published, or nothing if it was not.
pub(crate) fn rust_lambda(test: &str) -> Option<PathBuf> {
    let example = examples().join("resize_rust_lambda");
    if example.join("target/release/bootstrap").is_file() {
        return Some(example);
    }
    let manifest = "examples/functions/resize_rust_lambda/Cargo.toml";
    let build = format!("cargo build --release --manifest-path {manifest}");
    lacks(test, "lambda_runtime", &format!("no bootstrap; {build}"));
    None
}

/// The names of all examples that can run here.
fn present(test: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for (name, feature, program) in [("python", "python", "python3"), ("node", "node", "node")] {
        if has(test, feature, program, &["--version"]) {
            names.push(name);
        }
    }
    if rust_lambda(test).is_some() {
        names.push("rust_lambda");
    }
    if cfg!(feature = "wasm") {
        names.extend(["c", "rust_wasm"]);
    }
    names
}

/// Publishes the examples and gives each the same job: its id and its results by example.
fn all(cluster: &Cluster, names: &[&'static str]) -> BTreeMap<&'static str, (String, Vec<Value>)> {
    let sizes = examples().join("sizes.csv");
    let sizes = sizes.to_str().expect("UTF-8");
    let one = |name: &&'static str| {
        let folder = examples().join(format!("resize_{name}"));
        let published = publish(cluster, &[folder.to_str().expect("UTF-8")]);
        assert_eq!(published["version"], 1, "{published}");
        let target = format!("resize-{}", name.replace('_', "-"));
        let submit = ["job", "submit", &target, "--format", "csv", "--inputs"];
        let id = cluster.run(&[&submit[..], &[sizes, "--max-attempts", "1"]].concat());
        let id = id.trim().to_owned();
        let job = cluster.ended(&id);
        assert_eq!(job["state"], "failed", "{name}: {job}");
        let results = cluster.results(&id);
        (*name, (id, results))
    };
    names.iter().map(one).collect()
}

/// Holds the results of every example against what the function is to give, and runs what failed
/// again at the desk, from nothing but its capsule and the example's folder.
fn agree(cluster: &mut Cluster, names: &[&'static str]) {
    let jobs = all(cluster, names);
    let mut capsules = Vec::new();
    for (name, (id, results)) in &jobs {
        let outputs: Vec<_> = results.iter().map(|result| &result["output"]).collect();
        let expected = [
            "640x480".into(),
            "360x640".into(),
            Value::Null,
            "32x16".into(),
        ];
        assert_eq!(outputs, expected.iter().collect::<Vec<_>>(), "{name}");
        assert!(results.iter().all(|one| one["version"] == 1), "{name}");
        let failure = &results[2]["failure"];
        assert_eq!(failure["kind"], "function", "{name}: {failure}");
        let told = failure["stderr"].as_str().unwrap_or_default();
        let message = failure["message"].as_str().unwrap_or_default();
        if ["c", "rust_wasm"].contains(name) {
            // A program has no types of errors.
            assert_eq!(failure["type"], "ExitCode", "{name}: {failure}");
            assert!(message.contains("EmptyImage: 0x1080"), "{name}: {failure}");
        } else {
            assert_eq!(failure["type"], "EmptyImage", "{name}: {failure}");
            assert_eq!(message, "0x1080", "{name}: {failure}");
            assert!(told.contains("has a strange image\n"), "{name}: {told}");
        }
        if ["python", "node"].contains(name) {
            assert!(told.contains("app."), "no stack in {told}");
        }
        let path = cluster.dir.path().join(format!("{name}.capsule"));
        let capsule = cluster.run(&["job", "capsule", id, "2"]);
        std::fs::write(&path, capsule).expect("a file");
        capsules.push((name, path));
    }
    cluster.coordinator.kill();
    for (name, capsule) in capsules {
        let mut replay = Command::new(UMBEL);
        quiet_environment(&mut replay);
        replay.arg("replay").arg(capsule).arg("--code");
        replay.arg(examples().join(format!("resize_{name}")));
        replay.env("XDG_CACHE_HOME", cluster.dir.path().join("compiled"));
        let replayed = replay.output().expect("the binary runs");
        assert!(replayed.status.success(), "{name}: {}", told(&replayed));
        let said = String::from_utf8_lossy(&replayed.stdout);
        assert!(said.starts_with("same: it failed: function "), "{said}");
        assert!(said.contains("0x1080"), "{said}");
    }
}

#[test]
fn one_job_gives_the_same_through_every_example_and_its_failure_again_at_the_desk() {
    let test = "one_job_gives_the_same_through_every_example_and_its_failure_again_at_the_desk";
    let mut cluster = Cluster::start();
    let compiled = cluster.dir.path().join("compiled");
    let mut worker = cluster.spawn_worker_in("w", 2, &[], &[("XDG_CACHE_HOME", &compiled)]);
    worker.line();
    cluster.workers.push(worker);
    agree(&mut cluster, &present(test));
}

/// The step of CI that has WebAssembly runs what has it in its name.
#[test]
fn wasm_and_all_other_examples_agree() {
    if cfg!(feature = "wasm") {
        one_job_gives_the_same_through_every_example_and_its_failure_again_at_the_desk();
    } else {
        lacks(
            "wasm_and_all_other_examples_agree",
            "wasm",
            "built without it",
        );
    }
}

#[test]
fn the_examples_pass_their_own_cases() {
    let test = "the_examples_pass_their_own_cases";
    for name in present(test) {
        cases(name);
    }
}

/// A build without the runtime says so; one with it runs the examples.
#[test]
fn wasm_examples_pass_their_cases_or_are_refused_in_so_many_words() {
    for name in ["c", "rust_wasm"] {
        if cfg!(feature = "wasm") {
            cases(name);
            continue;
        }
        let ran = function_test(name);
        assert_eq!(ran.status.code(), Some(2), "{}", told(&ran));
        let said = told(&ran);
        assert!(said.contains("built without the runtime `wasm`"), "{said}");
    }
}

fn cases(name: &str) {
    let ran = function_test(name);
    assert!(ran.status.success(), "{}", told(&ran));
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(said.ends_with("4 of 4 cases as expected\n"), "{said}");
}

fn function_test(name: &str) -> std::process::Output {
    let cache = tempfile::TempDir::new().expect("a directory");
    let mut command = Command::new(UMBEL);
    quiet_environment(&mut command);
    command
        .args(["function", "test"])
        .arg(examples().join(format!("resize_{name}")))
        .env("XDG_CACHE_HOME", cache.path())
        .output()
        .expect("the binary runs")
}
