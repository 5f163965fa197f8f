//! A failure seen in a job is run again at the desk, from its capsule alone.

use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use crate::cluster::{Cluster, UMBEL, eventually, has, quiet_environment, told};
use crate::examples::examples;

/// A command that knows of no coordinator.
fn desk(arguments: &[&str]) -> Output {
    let mut command = std::process::Command::new(UMBEL);
    quiet_environment(&mut command);
    command.args(arguments).output().expect("the binary runs")
}

fn save(cluster: &Cluster, job: &str, index: &str) -> PathBuf {
    let path = cluster.dir.path().join(format!("case-{index}.capsule"));
    let text = cluster.run(&["job", "capsule", job, index]);
    std::fs::write(&path, text).expect("a file");
    path
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_failure_of_a_job_is_run_again_from_its_capsule() {
    let test = "a_failure_of_a_job_is_run_again_from_its_capsule";
    if !has(test, "python", "python3", &["--version"]) {
        return;
    }
    let mut cluster = Cluster::start();
    let config = examples().join("worker.toml");
    cluster.add_worker("w0", 2, &["--config", text(&config)]);
    let sizes = examples().join("sizes.csv");
    let submit = ["job", "submit", "resize-python", "--format", "csv"];
    let id = cluster.run(&[&submit[..], &["--inputs", text(&sizes)]].concat());
    let id = id.trim();
    assert_eq!(cluster.ended(id)["state"], "failed");

    let case = save(&cluster, id, "2");
    let capsule = std::fs::read_to_string(&case).expect("a file");
    let capsule: Value = serde_json::from_str(&capsule).expect("JSON");
    assert_eq!(capsule["umbel_capsule"], 1);
    assert_eq!(
        (&capsule["job"], &capsule["index"]),
        (&id.into(), &2.into())
    );
    assert_eq!(capsule["attempt"], 3);
    assert_eq!(capsule["outcome"]["failure"]["type"], "EmptyImage");
    let log = capsule["log"].as_str().expect("a log");
    assert!(log.contains("has a strange image"), "{log}");
    let input: Value =
        serde_json::from_str(capsule["input"].as_str().expect("text")).expect("JSON");
    assert_eq!(input["name"], "nothing");
    // From here on nothing but the file and the code is needed.
    cluster.coordinator.kill();

    let code = examples().join("resize_python");
    let same = desk(&["replay", text(&case), "--code", text(&code)]);
    assert!(same.status.success(), "{}", told(&same));
    let stdout = String::from_utf8_lossy(&same.stdout);
    assert_eq!(stdout, "same: it failed: function EmptyImage: 0x1080\n");
    assert!(String::from_utf8_lossy(&same.stderr).contains("has a strange image"));

    fixed_code_ends_otherwise_and_becomes_a_case(&cluster, &case);

    let codeless = desk(&["replay", text(&case)]);
    assert_eq!(codeless.status.code(), Some(2));
    assert!(
        told(&codeless).contains("--code PATH"),
        "{}",
        told(&codeless)
    );
}

/// The same capsule with other code: what differs is shown, and can be added to the tests.
fn fixed_code_ends_otherwise_and_becomes_a_case(cluster: &Cluster, case: &std::path::Path) {
    let fixed = cluster.dir.path().join("app.py");
    std::fs::write(
        &fixed,
        "def handler(event, context):\n    return 'nothing'\n",
    )
    .expect("a file");
    let different = desk(&["replay", text(case), "--code", text(&fixed)]);
    assert_eq!(different.status.code(), Some(1), "{}", told(&different));
    let stdout = String::from_utf8_lossy(&different.stdout);
    assert!(
        stdout.starts_with("different: it succeeded with \"nothing\"\n"),
        "{stdout}"
    );
    assert!(stdout.contains("- 0x1080\n+ \"nothing\"\n"), "{stdout}");

    let folder = cluster.dir.path();
    let add = [
        "replay",
        text(case),
        "--code",
        text(&fixed),
        "--add-to-tests",
        text(folder),
    ];
    let added = desk(&add);
    assert!(
        told(&added).contains("added the case job-"),
        "{}",
        told(&added)
    );
    std::fs::write(
        folder.join("umbel.toml"),
        "runtime = \"python\"\nhandler = \"app.handler\"\n",
    )
    .expect("a file");
    let tested = desk(&["function", "test", text(folder)]);
    assert!(tested.status.success(), "{}", told(&tested));
    let again = desk(&add);
    assert!(told(&again).contains("already"), "{}", told(&again));
}

#[test]
fn code_without_a_manifest_is_replayed_as_its_version_ran() {
    let test = "code_without_a_manifest_is_replayed_as_its_version_ran";
    if !has(test, "python", "python3", &["--version"]) {
        return;
    }
    let mut cluster = Cluster::start();
    cluster.add_worker("w0", 1, &[]);
    let code = cluster.dir.path().join("code");
    std::fs::create_dir(&code).expect("a folder");
    let source = "def invert(event, context):\n    return 1 / event\n";
    std::fs::write(code.join("inverse.py"), source).expect("a file");
    let publish = ["function", "publish", "invert", "--runtime", "python"];
    let handler = ["--handler", "inverse.invert", text(&code)];
    cluster.run(&[&publish[..], &handler].concat());
    let submit = [
        "job",
        "submit",
        "invert",
        "--max-attempts",
        "1",
        "--input",
        "0",
    ];
    let id = cluster.run(&submit);
    cluster.ended(id.trim());
    let case = save(&cluster, id.trim(), "0");
    let same = desk(&["replay", text(&case), "--code", text(&code)]);
    let stdout = String::from_utf8_lossy(&same.stdout);
    assert_eq!(
        stdout,
        "same: it failed: function ZeroDivisionError: division by zero\n",
        "{}",
        told(&same)
    );
    let log = String::from_utf8_lossy(&same.stderr);
    assert!(log.contains("ZeroDivisionError: division by zero"), "{log}");

    // The coordinator has the code of the very version, as long as that is there.
    let fetched = cluster.umbel(&["replay", text(&case)]).output();
    assert_eq!(
        String::from_utf8_lossy(&fetched.expect("it runs").stdout),
        stdout
    );
    cluster.run(&["job", "delete", id.trim()]);
    cluster.run(&["function", "delete", "invert"]);
    let gone = eventually("the version is forgotten", || {
        let gone = cluster.umbel(&["replay", text(&case)]).output();
        let gone = gone.expect("it runs");
        (!gone.status.success()).then_some(gone)
    });
    assert_eq!(gone.status.code(), Some(2));
    let told = told(&gone);
    assert!(
        told.contains("the code of invert@1 is not to be had"),
        "{told}"
    );
    assert!(told.contains("--code PATH"), "{told}");
}

#[test]
fn programs_and_umbels_own_functions_need_no_code() {
    let cluster = Cluster::with_workers(1, 2);
    let inputs = cluster.inputs(["one", "two"].map(str::to_owned).into_iter());
    let submit = [
        "job",
        "submit",
        "--max-attempts",
        "1",
        "--inputs",
        text(&inputs),
    ];
    let script = "read w; echo $w $UMBEL_INDEX; test $w = one";
    let id = cluster.run(&[&submit[..], &["--", "sh", "-c", script]].concat());
    let id = id.trim();
    cluster.ended(id);
    for (index, words) in [
        ("0", "same: it succeeded with one 0\n"),
        ("1", "same: it failed: function ExitCode: exit status: 1\n"),
    ] {
        let case = save(&cluster, id, index);
        let same = desk(&["replay", text(&case)]);
        assert!(same.status.success(), "{}", told(&same));
        assert_eq!(String::from_utf8_lossy(&same.stdout), words);
    }
    let id = cluster.run(&[
        "job",
        "submit",
        "umbel.increment",
        "--range",
        "40..42",
        "--wait",
    ]);
    let case = save(&cluster, id.trim(), "1");
    let same = desk(&["replay", text(&case), "--output", "json"]);
    let json: Value = serde_json::from_slice(&same.stdout).expect("JSON");
    assert_eq!(
        (&json["same"], &json["index"]),
        (&true.into(), &1.into()),
        "{json}"
    );
}

#[test]
fn what_has_no_capsule_and_what_is_none_is_said() {
    let cluster = Cluster::with_workers(1, 1);
    let id = cluster.run(&["job", "submit", "umbel.sleep", "--input", "600000"]);
    let id = id.trim();
    let refused = |index: &str| {
        let output = cluster.umbel(&["job", "capsule", id, index]).output();
        let output = output.expect("the binary runs");
        assert_eq!(output.status.code(), Some(4), "{}", told(&output));
        told(&output)
    };
    assert!(refused("0").contains("has not ended"));
    assert!(refused("1").contains("counted from 0"));
    cluster.run(&["job", "cancel", id]);
    let case = save(&cluster, id, "0");
    let cancelled = std::fs::read_to_string(&case).expect("a file");
    assert!(
        cancelled.contains("\"state\": \"cancelled\""),
        "{cancelled}"
    );

    for (bytes, said) in [
        (&b"\x00\xff\x00"[..], "is no capsule"),
        (b"{\"umbel_capsule\": 9}", "its format is 9"),
        (b"[]", "is no capsule"),
    ] {
        let path = cluster.dir.path().join("bad.capsule");
        std::fs::write(&path, bytes).expect("a file");
        let output = desk(&["replay", text(&path)]);
        assert_eq!(output.status.code(), Some(2), "{}", told(&output));
        assert!(told(&output).contains(said), "{}", told(&output));
    }
    let huge = cluster.dir.path().join("huge.capsule");
    let file = std::fs::File::create(&huge).expect("a file");
    file.set_len(1 << 40).expect("a sparse file");
    let output = desk(&["replay", text(&huge)]);
    assert!(
        told(&output).contains("at most 33554432"),
        "{}",
        told(&output)
    );
}

#[test]
fn recorded_inputs_tell_two_functions_apart() {
    let mut cluster = Cluster::start();
    let declared = ["--exec", "upper=tr a-z A-Z", "--exec", "also=tr a-y A-Y"];
    cluster.add_worker("w0", 2, &declared);
    let words = ["ab", "xyz", "q", "zz"].map(str::to_owned);
    let inputs = cluster.inputs(words.into_iter());
    let id = cluster.run(&[
        "job",
        "submit",
        "upper",
        "--inputs",
        text(&inputs),
        "--wait",
    ]);
    let compare = ["function", "compare", "upper"];
    let job = ["--job", id.trim()];

    let same = cluster.run(&[&compare[..], &["upper"], &job].concat());
    assert!(
        same.starts_with("4 inputs: 4 the same, 0 different\n"),
        "{same}"
    );

    let differ = cluster
        .umbel(&[&compare[..], &["also"], &job].concat())
        .output();
    let differ = differ.expect("the binary runs");
    assert_eq!(differ.status.code(), Some(1), "{}", told(&differ));
    let stdout = String::from_utf8_lossy(&differ.stdout);
    assert!(
        stdout.starts_with("4 inputs: 2 the same, 2 different\n"),
        "{stdout}"
    );
    assert!(stdout.contains("input 1:\n- XYZ\n+ XYz\n"), "{stdout}");
}
