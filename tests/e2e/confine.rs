//! What functions reach of the machine, where their worker confines them.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::cluster::{Cluster, UMBEL, has, lacks, quiet_environment, told};
use crate::publish::{folder, publish};

/// Says what comes of each thing that it tries.
const TRIES: &str = r#"
import os, signal
def attempt(what):
    try:
        what()
        return "done"
    except OSError as error:
        return type(error).__name__
def handler(event, context):
    scratch = os.path.join(os.environ["TMPDIR"], "mine")
    return {
        "secret": attempt(lambda: open(event["secret"]).read()),
        "beside": attempt(lambda: open(event["secret"] + ".new", "w").write("x")),
        "own": attempt(lambda: open(os.path.join(os.path.dirname(__file__), "data")).read()),
        "own_code": attempt(lambda: open(__file__, "a").write("x")),
        "scratch": attempt(lambda: open(scratch, "w").write("x")),
        "program": attempt(lambda: os.stat("/") and os.popen("ls / >/dev/null").close()),
        "null": attempt(lambda: open("/dev/null", "w").write("x")),
        "supervisor": attempt(lambda: os.kill(os.getppid(), 0)),
    }
"#;

/// Whether this kernel can do it.
fn confines(test: &str) -> bool {
    let mut command = Command::new(UMBEL);
    quiet_environment(&mut command);
    // It never comes to start: the path is not there.
    let probe = command.args([
        "worker",
        "start",
        "--confine",
        "--confine-write",
        "/not/there",
    ]);
    let told = told(&probe.output().expect("the binary runs"));
    let can = !told.contains("this kernel cannot confine functions");
    if !can {
        lacks(test, "landlock", "the kernel has no Landlock");
    }
    can
}

fn tries(cluster: &Cluster, secret: &str) -> Value {
    let input = json!({ "secret": secret }).to_string();
    let output = cluster.run(&["invoke", "f", &input]);
    serde_json::from_str(&output).expect("JSON")
}

#[test]
fn a_confined_function_reaches_its_code_its_scratch_and_the_system_and_no_more() {
    let test = "a_confined_function_reaches_its_code_its_scratch_and_the_system_and_no_more";
    if !has(test, "python", "python3", &["--version"]) || !confines(test) {
        return;
    }
    let mut cluster = Cluster::start();
    cluster.add_worker("confined", 1, &["--confine"]);
    let code = folder(&cluster, "code", &[("app.py", TRIES), ("data", "x")]);
    let python = ["--runtime", "python", "--handler", "app.handler"];
    publish(&cluster, &[&["f"], &python[..], &[&code]].concat());
    let secret = cluster.dir.path().join("secret");
    fs::write(&secret, "another's").expect("a file");
    let secret = secret.to_str().expect("UTF-8").to_owned();

    let found = tries(&cluster, &secret);

    let expected = |what: &str| found[what].as_str().unwrap_or_default().to_owned();
    for what in ["own", "scratch", "program", "null"] {
        assert_eq!(expected(what), "done", "{what}: {found}");
    }
    for what in ["secret", "beside", "own_code"] {
        assert_eq!(expected(what), "PermissionError", "{what}: {found}");
    }
}

#[test]
fn programs_are_confined_too_and_what_an_operator_opens_is_open() {
    let test = "programs_are_confined_too_and_what_an_operator_opens_is_open";
    if !confines(test) {
        return;
    }
    let mut cluster = Cluster::start();
    let open = cluster.dir.path().join("open");
    let shared = cluster.dir.path().join("shared");
    for dir in [&open, &shared] {
        fs::create_dir(dir).expect("a folder");
        fs::write(dir.join("file"), "found").expect("a file");
    }
    let path = |dir: &std::path::Path| dir.join("file").to_str().expect("UTF-8").to_owned();
    let (opened, closed) = (path(&shared), path(&open));
    let shared = shared.to_str().expect("UTF-8").to_owned();
    let more = ["--confine", "--confine-read", shared.as_str()];
    cluster.add_worker("confined", 1, &more);
    let read = |file: &str| {
        let map = [
            "map",
            "--input",
            file,
            "--max-attempts",
            "1",
            "--",
            "cat",
            "{}",
        ];
        cluster.umbel(&map).output().expect("the binary runs")
    };
    assert_eq!(String::from_utf8_lossy(&read(&opened).stdout), "found\n");
    let refused = told(&read(&closed));
    assert!(refused.contains("Permission denied"), "{refused}");
}

#[test]
fn nothing_is_opened_where_nobody_is_confined_and_a_path_must_be_there() {
    let start = |arguments: &[&str]| {
        let mut command = Command::new(UMBEL);
        quiet_environment(&mut command);
        let output = command.args(["worker", "start"]).args(arguments).output();
        let output = output.expect("the binary runs");
        assert_eq!(output.status.code(), Some(2), "{}", told(&output));
        told(&output)
    };
    let told = start(&["--confine-read", "/tmp"]);
    assert!(told.contains("add --confine"), "{told}");
    let test = "nothing_is_opened_where_nobody_is_confined_and_a_path_must_be_there";
    if confines(test) {
        let told = start(&["--confine", "--confine-write", "/not/there"]);
        assert!(told.contains("`/not/there` cannot be opened"), "{told}");
    }
}
