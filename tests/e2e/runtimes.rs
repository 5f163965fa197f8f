//! Published functions of the runtimes that need more than an interpreter, and an upload that is cut
//! off.

use std::fs;
use std::path::Path;

use crate::cluster::{Cluster, eventually, has, told};
use crate::publish::{folder, publish, refused};

/// Speaks the Lambda Runtime API by itself.
const LOOP: &str = r#"#!/usr/bin/env python3
import os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(api + "next") as asked:
        request, event = asked.headers["Lambda-Runtime-Aws-Request-Id"], asked.read()
    urllib.request.urlopen(api + request + "/response", str(2 * int(event)).encode()).read()
"#;

#[test]
fn a_lambda_is_a_folder_with_a_bootstrap_or_one_with_a_command() {
    let test = "a_lambda_is_a_folder_with_a_bootstrap_or_one_with_a_command";
    if !has(test, "python", "python3", &["--version"]) {
        return;
    }
    let cluster = Cluster::with_workers(1, 2);
    let bootstrap = folder(&cluster, "bootstrapped", &[("bootstrap", LOOP)]);
    // Nothing says of what kind it is but the executable.
    publish(&cluster, &["bootstrapped", &bootstrap]);
    let manifest =
        "name = \"commanded\"\nruntime = \"lambda\"\ncommand = [\"python3\", \"loop.py\"]\n";
    let plain = LOOP.trim_start_matches("#!/usr/bin/env python3\n");
    let command = [("loop.py", plain), ("umbel.toml", manifest)];
    let command = folder(&cluster, "commanded", &command);
    publish(&cluster, &[&command]);
    for target in ["bootstrapped", "commanded"] {
        let id = cluster.run(&["job", "submit", target, "--range", "0..100"]);
        assert_eq!(cluster.ended(id.trim())["state"], "succeeded", "{target}");
        for (index, result) in cluster.results(id.trim()).iter().enumerate() {
            assert_eq!(result["output"], 2 * index, "{target}");
            assert_eq!(result["version"], 1, "{target}");
        }
        let table = cluster.run(&["job", "results", id.trim()]);
        let second = table.lines().nth(1).expect("a row");
        let words: Vec<_> = second.split_whitespace().collect();
        assert!(words.ends_with(&["1", "0"]), "version, output: {second}");
    }
}

#[test]
fn wasm_is_published_and_fanned_out_or_refused_in_so_many_words() {
    let mut cluster = Cluster::start();
    let compiled = cluster.dir.path().join("compiled");
    let mut worker = cluster.spawn_worker_in("w", 2, &[], &[("XDG_CACHE_HOME", &compiled)]);
    worker.line();
    cluster.workers.push(worker);
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).expect("the root");
    let example = root.join("examples/functions/resize_c");
    let example = example.to_str().expect("UTF-8");
    if !cfg!(feature = "wasm") {
        let told = refused(&cluster, &["function", "publish", example], 4);
        assert!(told.contains("can run wasm"), "{told}");
        assert!(told.contains("--features wasm"), "{told}");
        return;
    }
    publish(&cluster, &[example]);
    let size = |index: u32| format!(r#"{{"width":{},"height":200,"box":100}}"#, 400 + index);
    let inputs = cluster.inputs((0..500).map(size));
    let inputs = inputs.to_str().expect("UTF-8");
    let id = cluster.run(&["job", "submit", "resize-c", "--inputs", inputs]);
    assert_eq!(cluster.ended(id.trim())["state"], "succeeded");
    let results = cluster.results(id.trim());
    assert_eq!(results.len(), 500);
    assert_eq!(results[0]["output"], "100x50");
    assert!(results.iter().all(|result| result["version"] == 1));
    let failing = r#"{"width":0,"height":1,"box":1}"#;
    let output = cluster.umbel(&["invoke", "resize-c", failing]).output();
    let output = output.expect("the binary runs");
    assert!(told(&output).contains("EmptyImage"), "{}", told(&output));
}

fn bytes_in(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let lengths = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_in(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    lengths.sum()
}

#[test]
fn a_coordinator_that_is_killed_in_an_upload_has_published_all_of_it_or_nothing() {
    let mut cluster = Cluster::with_workers(1, 1);
    let path = folder(&cluster, "large", &[("run.sh", "#!/bin/sh\necho ran\n")]);
    // What gzip cannot make shorter.
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    });
    let noise: Vec<u8> = noise.take(8 << 20).collect();
    fs::write(Path::new(&path).join("noise"), noise).expect("a file");
    let manifest = "name = \"f\"\nruntime = \"exec\"\ncommand = [\"./run.sh\"]\n";
    fs::write(Path::new(&path).join("umbel.toml"), manifest).expect("a file");
    let data = cluster.dir.path().join("data");
    let before = bytes_in(&data);

    let mut publishing = cluster.umbel(&["function", "publish", &path]);
    let quiet = publishing.stdout(std::process::Stdio::null());
    let mut publishing = quiet.spawn().expect("the binary runs");
    eventually("some of it is on the disk", || {
        (bytes_in(&data) > before + (1 << 20)).then_some(())
    });
    cluster.coordinator.kill();
    // It looks for its coordinator, or had its answer.
    drop(publishing.kill());
    publishing.wait().expect("it ends");

    let data = data.to_str().expect("UTF-8");
    cluster.run(&["admin", "check", "--data", data]);
    cluster.resume_coordinator();
    let list = cluster.json(&["function", "list"]);
    let known = list.to_string().contains("\"f\"");
    if known {
        assert_eq!(cluster.run(&["invoke", "f", "1"]).trim(), "ran");
    }
    let again = publish(&cluster, &[&path]);
    assert_eq!(
        (&again["version"], &again["existed"]),
        (&1.into(), &known.into())
    );
    assert_eq!(cluster.run(&["invoke", "f", "1"]).trim(), "ran");
    cluster.coordinator.kill();
    cluster.run(&["admin", "check", "--data", data]);
}
