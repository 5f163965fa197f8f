//! Functions are published, fanned out over workers that fetch them, moved and rolled back under
//! running jobs, and deleted.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cluster::{Cluster, eventually, has, told};

/// A folder of the cluster's with these files.
pub(crate) fn folder(cluster: &Cluster, name: &str, files: &[(&str, &str)]) -> String {
    let dir = cluster.dir.path().join(name);
    for (name, content) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, content).expect("a file");
        let mode = if content.starts_with("#!") {
            0o755
        } else {
            0o644
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
    }
    dir.to_str().expect("UTF-8").to_owned()
}

pub(crate) fn publish(cluster: &Cluster, arguments: &[&str]) -> Value {
    cluster.json(&[&["function", "publish"], arguments].concat())
}

pub(crate) fn refused(cluster: &Cluster, arguments: &[&str], code: i32) -> String {
    let output = cluster.umbel(arguments).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(code), "{}", told(&output));
    String::from_utf8(output.stderr).expect("UTF-8")
}

const PYTHON: &str = "def handler(event, context):\n    return event * 2\n";
const NODE: &str = "exports.handler = async (event) => event * 2;\n";
const EXEC: &str = "#!/bin/sh\nread -r i || true\necho $((i * 2))\n";

#[test]
fn a_function_of_any_language_is_published_and_fanned_out_over_workers() {
    let test = "a_function_of_any_language_is_published_and_fanned_out_over_workers";
    if !has(test, "python", "python3", &["--version"]) || !has(test, "node", "node", &["--version"])
    {
        return;
    }
    let cluster = Cluster::with_workers(2, 2);
    let python = folder(&cluster, "double", &[("app.py", PYTHON)]);
    let node = folder(
        &cluster,
        "double_node",
        &[
            ("app.js", NODE),
            (
                "umbel.toml",
                "name = \"double-node\"\nruntime = \"node\"\nhandler = \"app.handler\"\n",
            ),
        ],
    );
    let exec = folder(&cluster, "double_exec", &[("double.sh", EXEC)]) + "/double.sh";
    let first = publish(
        &cluster,
        &[
            "double",
            "--runtime",
            "python",
            "--handler",
            "app.handler",
            &python,
        ],
    );
    assert_eq!(
        (&first["function"], &first["version"]),
        (&"double".into(), &1.into())
    );
    publish(&cluster, &[&node]);
    publish(&cluster, &["double-exec", "--runtime", "exec", &exec]);

    for (target, count) in [
        ("double", 1_000),
        ("double-node", 1_000),
        ("double-exec@1", 50),
    ] {
        let range = format!("0..{count}");
        let id = cluster.run(&["job", "submit", target, "--range", &range]);
        let job = cluster.ended(id.trim());
        assert_eq!(
            (&job["state"], &job["target"]),
            (&"succeeded".into(), &target.into())
        );
        let results = cluster.results(id.trim());
        assert_eq!(results.len(), count);
        for (index, result) in results.iter().enumerate() {
            assert_eq!(result["output"], 2 * index, "{target}");
            assert_eq!(result["version"], 1, "{target}");
        }
        let function = target.split('@').next().expect("a name");
        assert!(results.iter().all(|result| result["function"] == function));
    }
    assert_eq!(cluster.run(&["invoke", "double", "21"]).trim(), "42");
}

#[test]
fn what_is_published_twice_is_one_version_and_an_artifact_is_stored_once() {
    let cluster = Cluster::start();
    let path = folder(&cluster, "f", &[("run.sh", EXEC)]) + "/run.sh";
    let again = |name: &str| publish(&cluster, &[name, "--runtime", "exec", &path]);
    let first = again("f");
    assert_eq!(
        (&first["existed"], &first["version"]),
        (&false.into(), &1.into())
    );
    let second = again("f");
    assert_eq!(
        (&second["existed"], &second["version"]),
        (&true.into(), &1.into())
    );
    let other = again("g");
    assert_eq!(other["artifact_digest"], first["artifact_digest"]);
    let env = publish(
        &cluster,
        &["f", "--runtime", "exec", "--env", "SECRET=s3cret", &path],
    );
    assert_eq!(env["version"], 2, "with another spec it is another version");
    let shown = cluster.run(&["function", "get", "f", "--output", "json"]);
    assert!(
        shown.contains("SECRET") && !shown.contains("s3cret"),
        "{shown}"
    );
    let listed = cluster.run(&["function", "list"]);
    assert!(
        listed
            .lines()
            .any(|line| line.starts_with("f ") && line.contains("exec"))
    );
}

/// A program that waits for a file before it answers, and fails its first attempt.
fn gated(cluster: &Cluster, version: &str, fails: bool) -> String {
    let gate = cluster.dir.path().join("gate");
    let fails = if fails {
        "[ \"$UMBEL_ATTEMPT\" = 1 ] && exit 3"
    } else {
        ":"
    };
    let script = format!(
        "#!/bin/sh\nwhile [ ! -e {} ]; do sleep 0.05; done\n{fails}\necho {version}\n",
        gate.display()
    );
    folder(cluster, version, &[("run.sh", &script)]) + "/run.sh"
}

fn versions(results: &[Value]) -> Vec<u64> {
    let versions = results.iter().map(|result| result["version"].as_u64());
    versions
        .map(|version| version.expect("a version"))
        .collect()
}

#[test]
fn an_alias_moves_under_a_running_job_and_retries_keep_their_version() {
    let mut cluster = Cluster::with_workers(1, 2);
    let one = gated(&cluster, "one", true);
    publish(&cluster, &["f", "--runtime", "exec", &one]);
    let submit = |more: &[&str]| {
        let submit = ["job", "submit", "f", "--range", "0..10"];
        cluster.run(&[&submit[..], more].concat()).trim().to_owned()
    };
    let moving = submit(&[]);
    let pinned = submit(&["--pin"]);
    eventually("two invocations are leased", || {
        (cluster.job(&moving)["counts"]["leased"] == 2).then_some(())
    });
    let two = gated(&cluster, "two", false);
    publish(&cluster, &["f", "--runtime", "exec", &two]);
    cluster.restart_coordinator();
    fs::write(cluster.dir.path().join("gate"), "").expect("a file");

    assert_eq!(cluster.ended(&moving)["state"], "succeeded");
    let results = cluster.results(&moving);
    assert_eq!(versions(&results), [1, 1, 2, 2, 2, 2, 2, 2, 2, 2]);
    for result in &results {
        let (output, attempts) = if result["version"] == 1 {
            ("one", 2)
        } else {
            ("two", 1)
        };
        assert_eq!(
            (&result["output"], &result["attempts"]),
            (&output.into(), &attempts.into())
        );
    }
    assert_eq!(cluster.ended(&pinned)["state"], "succeeded");
    assert_eq!(versions(&cluster.results(&pinned)), [1; 10]);

    let back = cluster.json(&["function", "rollback", "f"]);
    assert_eq!(
        (&back["version"], &back["follows"]),
        (&1.into(), &false.into())
    );
    cluster.restart_coordinator();
    assert_eq!(cluster.run(&["invoke", "f@2"]).trim(), "two");
    let after = cluster.run(&["job", "submit", "f", "--range", "0..2"]);
    cluster.ended(after.trim());
    assert_eq!(versions(&cluster.results(after.trim())), [1, 1]);
    let moves = &cluster.json(&["function", "get", "f"])["aliases"][0]["moves"];
    let moves = moves.as_array().expect("moves").iter();
    let kinds: Vec<_> = moves
        .map(|one| one["kind"].as_str().expect("a kind"))
        .collect();
    assert_eq!(kinds, ["published", "published", "rolled_back"]);
}

#[test]
fn a_worker_finds_in_its_cache_what_an_earlier_one_fetched() {
    let mut cluster = Cluster::with_workers(1, 1);
    let path = folder(&cluster, "f", &[("run.sh", EXEC)]) + "/run.sh";
    let digest = publish(&cluster, &["f", "--runtime", "exec", &path]);
    assert_eq!(cluster.run(&["invoke", "f", "4"]).trim(), "8");
    let digest = digest["artifact_digest"].as_str().expect("a digest");
    let cached = cluster.dir.path().join("cache").join(digest).join("run.sh");
    let fetched = fs::metadata(&cached).expect("it is cached");
    assert!(fetched.permissions().readonly(), "nobody may change it");

    cluster.workers[0].kill();
    cluster.workers.clear();
    cluster.add_worker("again", 1, &[]);
    assert_eq!(cluster.run(&["invoke", "f", "5"]).trim(), "10");
    let inode = |metadata: &fs::Metadata| std::os::unix::fs::MetadataExt::ino(metadata);
    let found = fs::metadata(&cached).expect("it is still there");
    assert_eq!(inode(&found), inode(&fetched), "it was not fetched again");
}

#[test]
fn what_a_job_needs_is_kept_until_it_has_ended() {
    let cluster = Cluster::with_workers(1, 1);
    let path = gated(&cluster, "one", false);
    publish(&cluster, &["f", "--runtime", "exec", &path]);
    let id = cluster.run(&["job", "submit", "f", "--range", "0..3"]);
    let id = id.trim();
    let in_use = refused(&cluster, &["function", "delete", "f@1"], 4);
    assert!(in_use.contains("f@live points at version 1"), "{in_use}");
    cluster.run(&["function", "delete", "f"]);
    let gone = refused(&cluster, &["job", "submit", "f", "--range", "0..3"], 4);
    assert!(gone.contains("no function is named"), "{gone}");
    let kept = cluster.run(&["function", "get", "f"]);
    assert!(
        kept.contains("deleted") && kept.contains("retired"),
        "{kept}"
    );
    fs::write(cluster.dir.path().join("gate"), "").expect("a file");
    assert_eq!(cluster.ended(id)["state"], "succeeded");
    assert_eq!(cluster.results(id)[2]["output"], "one");
    eventually("nothing of it is left", || {
        let output = cluster.umbel(&["function", "get", "f"]).output();
        let output = output.expect("the binary runs");
        (!output.status.success()).then_some(())
    });
}

/// A zip of one stored entry, made by hand, so that its name can be anything.
fn zip(path: &Path, name: &str, content: &[u8]) {
    let crc = !content.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (!(crc & 1)).wrapping_add(1))
        })
    });
    let length = u32::try_from(content.len()).expect("short").to_le_bytes();
    let name_length = u16::try_from(name.len()).expect("short").to_le_bytes();
    let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    common.extend(crc.to_le_bytes());
    common.extend([length, length].concat());
    common.extend([name_length, [0, 0]].concat());
    let mut zip = [b"PK\x03\x04", &common[..], name.as_bytes(), content].concat();
    let begin = u32::try_from(zip.len()).expect("short");
    zip.extend(
        [
            b"PK\x01\x02",
            &[20, 0][..],
            &common,
            &[0; 14],
            name.as_bytes(),
        ]
        .concat(),
    );
    let size = u32::try_from(zip.len()).expect("short") - begin;
    zip.extend([&b"PK\x05\x06"[..], &[0, 0, 0, 0, 1, 0, 1, 0]].concat());
    zip.extend([size.to_le_bytes(), begin.to_le_bytes()].concat());
    zip.extend([0, 0]);
    fs::File::create(path)
        .expect("a file")
        .write_all(&zip)
        .expect("written");
}

#[test]
fn what_is_no_function_is_refused_with_words() {
    let cluster = Cluster::start();
    let dir: PathBuf = cluster.dir.path().to_owned();
    let path = |name: &str| dir.join(name).to_str().expect("UTF-8").to_owned();
    zip(&dir.join("slip.zip"), "../out.py", b"x");
    zip(&dir.join("good.zip"), "app.py", PYTHON.as_bytes());
    let sparse = fs::File::create(dir.join("large.py")).expect("a file");
    sparse.set_len(300 << 20).expect("a length");
    fs::create_dir(dir.join("empty")).expect("a folder");
    let python = folder(&cluster, "python", &[("app.py", PYTHON)]);
    for (name, more, words) in [
        ("slip.zip", "--handler=app.handler", "climbs out"),
        ("large.py", "--handler=large.handler", "256 MiB"),
        ("empty", "--handler=app.handler", "no file"),
        ("missing", "--handler=app.handler", "missing"),
        ("python", "--handler=other.handler", "no module `other`"),
        ("python", "--handler=app", "is no handler"),
    ] {
        let told = refused(
            &cluster,
            &[
                "function",
                "publish",
                "f",
                "--runtime",
                "python",
                more,
                &path(name),
            ],
            2,
        );
        assert!(told.contains(words), "{name}: {told}");
    }
    let publish_as = |name: &str| {
        let publish = ["function", "publish", name, "--runtime", "python"];
        refused(
            &cluster,
            &[&publish[..], &["--handler=app.handler", &python]].concat(),
            4,
        )
    };
    assert!(publish_as("umbel.mine").contains("umbel's own"));
    assert!(publish_as("a@b").contains("cannot name a function"));
    let digest = |path: &str| {
        let python = ["z", "--runtime", "python", "--handler=app.handler", path];
        publish(&cluster, &python)["artifact_digest"].clone()
    };
    assert_eq!(
        digest(&path("good.zip")),
        digest(&python),
        "a zip is its folder"
    );
    for (target, words) in [
        ("z@9", "has no version 9"),
        ("z@canary", "no alias \"canary\"; it has live"),
        ("zz", "did you mean z?"),
        ("umbel.echo@1", "brought by workers"),
    ] {
        let told = refused(&cluster, &["job", "submit", target, "--range", "0..1"], 4);
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn what_lacks_a_runtime_waits_and_says_so() {
    let mut cluster = Cluster::start();
    let python = folder(&cluster, "python", &[("app.py", PYTHON)]);
    publish(
        &cluster,
        &[
            "f",
            "--runtime",
            "python",
            "--handler",
            "app.handler",
            &python,
        ],
    );
    let id = cluster.run(&["job", "submit", "f", "--range", "0..1"]);
    // A worker whose PATH has no interpreter.
    let path = cluster.dir.path().to_owned();
    let mut worker = cluster.spawn_worker_in("bare", 1, &[], &[("PATH", &path)]);
    worker.line();
    cluster.workers.push(worker);
    eventually("it is explained", || {
        let told = cluster.json(&["job", "explain", id.trim()]);
        let reason = told["reasons"][0]["reason"].as_str()?.to_owned();
        (reason == "runtime_missing").then_some(())
    });
}
