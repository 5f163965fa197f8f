//! House rules as a test: what a reviewer should never have to say.

#![allow(
    clippy::expect_used,
    reason = "a test that cannot go on says why and ends"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file without its tests.
const FILE_LINES_MAX: usize = 600;

/// Words that the vocabulary replaces, as whole identifiers in code. Each with the
/// word to use.
const WORDS: &[(&str, &str)] = &[
    ("payload", "input or output"),
    ("payloads", "inputs or outputs"),
    ("canceled", "cancelled"),
    ("Manager", "a word for what it does"),
    ("Helper", "a word for what it does"),
];

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("the crate lies two below the root")
        .to_path_buf()
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                rust_files(&path, found);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut paths = Vec::new();
    rust_files(&root().join("crates"), &mut paths);
    rust_files(&root().join("tests"), &mut paths);
    paths.sort();
    assert!(
        paths.len() > 50,
        "the walk found only {} files",
        paths.len()
    );
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source file is UTF-8");
            (path, text)
        })
        .collect()
}

fn without_tests(text: &str) -> &str {
    text.split_once("\n#[cfg(test)]\nmod ")
        .map_or(text, |(code, _)| code)
}

fn report(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        let lines = without_tests(&text).lines().count();
        if lines > FILE_LINES_MAX {
            complaints.push(format!("{}: {lines} lines without tests", path.display()));
        }
    }
    report(&complaints);
}

#[test]
fn one_word_for_each_concept() {
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        if path.ends_with("tests/tidy.rs") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            // A panic's words have this name in the standard library.
            let line = line.replace(".payload()", "");
            for word in line.split(|c: char| !c.is_alphanumeric() && c != '_') {
                for (wrong, right) in WORDS {
                    if word == *wrong
                        || (wrong.starts_with(char::is_uppercase) && word.ends_with(wrong))
                    {
                        complaints.push(format!(
                            "{}:{}: {word:?}: say {right}",
                            path.display(),
                            number + 1
                        ));
                    }
                }
            }
        }
    }
    report(&complaints);
}

#[test]
fn nothing_is_left_for_later_without_a_word() {
    let marks = ["TODO", "FIXME", "XXX", "HACK"];
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        if path.ends_with("tests/tidy.rs") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) || line.contains("#[ignore") {
                complaints.push(format!(
                    "{}:{}: {}",
                    path.display(),
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    report(&complaints);
}

#[test]
fn tests_wait_for_facts_and_never_for_time() {
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        if path.ends_with("tests/tidy.rs") || !path.starts_with(root().join("tests")) {
            continue;
        }
        // There time is simulated: nobody waits for it, and each wait ends when it is said to.
        if path.starts_with(root().join("tests/net")) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let sleeps = line.contains("thread::sleep") || line.contains("time::sleep");
            if sleeps && !line.contains("// poll") {
                complaints.push(format!(
                    "{}:{}: {}",
                    path.display(),
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    report(&complaints);
}

#[test]
fn only_the_store_names_sled_and_the_coordinator_never_meets_the_worker() {
    let forbidden = [
        (
            "umbel-core",
            &["tokio", "tonic", "prost", "sled", "tracing", "serde"][..],
        ),
        ("umbel-stats", &["umbel-core", "umbel-proto"][..]),
        ("umbel-proto", &["sled", "tokio", "axum"][..]),
        (
            "umbel-route",
            &["sled", "tokio", "tonic", "umbel-proto"][..],
        ),
        (
            "umbel-coordinator",
            &["sled", "umbel-worker", "umbel-runtime"][..],
        ),
        ("umbel-runtime", &["tonic", "sled", "umbel-proto"][..]),
        (
            "umbel-worker",
            &["sled", "umbel-coordinator", "umbel-store"][..],
        ),
        (
            "umbel-client",
            &["sled", "umbel-coordinator", "umbel-store", "umbel-worker"][..],
        ),
    ];
    let mut complaints = Vec::new();
    for (krate, names) in forbidden {
        let path = root().join("crates").join(krate).join("Cargo.toml");
        let text = fs::read_to_string(&path).expect("a manifest");
        for name in names {
            if text.lines().any(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with([' ', '.', '=']))
            }) {
                complaints.push(format!("{krate} depends on {name}"));
            }
        }
    }
    report(&complaints);
}

/// What `limit.rs` bounds inside, or between a worker of umbel and its coordinator: no limit of it is met
/// by who uses umbel.
const LIMITS_INSIDE: &[&str] = &[
    "ALIAS_MOVES_MAX",
    "ALIAS_TRAIL_MAX",
    "ARTIFACT_PART_BYTES",
    "BLOCK_BYTES_TARGET",
    "CHUNK_BYTES_MAX",
    "CHUNK_INVOCATIONS_MAX",
    "CHUNK_RUNS_MAX",
    "CRASH_LIMIT",
    "DUE_STEP_MS",
    "FIGURES_MAX",
    "GRANT_BYTES_MAX",
    "HOLD_US",
    "PAGE_SIZE_DEFAULT",
    "PROTOCOL",
    "RECORD_SPAN_MAX",
    "REDRIVE_RECORD_RUNS_MAX",
    "REPORT_BYTES_TARGET",
    "REPORT_INVOCATIONS_MAX",
    "REQUEST_ID_KEPT_MS",
    "RETRIES_WAITING_MAX",
    "SORT_AHEAD_LEAST",
    "SORT_BYTES_MAX",
    "SORT_INVOCATIONS_MAX",
    "TURN_EVENTS_MAX",
    "TURN_GAP_MAX_MS",
    "TURN_GRANTS_MAX",
    "TURN_SWEPT_MAX",
    "UNACKNOWLEDGED_BYTES_MAX",
    "UNDURABLE_BYTES_MAX",
    "VERSIONS_PAGE_MAX",
    "WORKER_HOLDINGS_MAX",
    "WORKER_INVOCATIONS_MAX",
    "WORKER_LEASES_MAX",
];

/// The ways in which people may write the value of a limit.
fn written(value: &str) -> Vec<String> {
    if value == "10 * 365 * 24 * 3_600_000" {
        return vec!["ten years".to_owned()];
    }
    let Some((number, shift)) = value.split_once(" << ") else {
        return vec![value.replace('_', ",")];
    };
    match shift {
        "10" => vec![format!("{number} KiB")],
        "20" => vec![format!("{number} MiB"), "1,048,576".to_owned()],
        _ => Vec::new(),
    }
}

#[test]
fn the_limits_that_users_meet_stand_in_the_readme() {
    let read =
        |path: &str| fs::read_to_string(root().join(path)).expect("a file of the repository");
    let (readme, limits) = (
        read("README.md"),
        read("crates/umbel-core/src/words/limit.rs"),
    );
    let mut complaints = Vec::new();
    let mut names = Vec::new();
    for line in limits.lines() {
        let Some((name, rest)) = line
            .strip_prefix("pub const ")
            .and_then(|rest| rest.split_once(": "))
        else {
            continue;
        };
        names.push(name);
        let value = rest.split_once(" = ").map_or("", |(_, value)| value);
        let row = readme
            .lines()
            .find(|row| row.starts_with("| ") && row.contains(&format!("`{name}`")));
        let is_inside = LIMITS_INSIDE.contains(&name);
        match row {
            None if !is_inside => complaints.push(format!("{name} stands in no row of the README")),
            Some(_) if is_inside => complaints.push(format!("{name} is inside, and in the README")),
            Some(row)
                if !written(value.trim_end_matches(';'))
                    .iter()
                    .any(|value| row.contains(value)) =>
            {
                complaints.push(format!("{name} is {value} and the README says: {row}"));
            }
            _ => {}
        }
    }
    assert!(names.len() > 50, "limit.rs was read");
    for inside in LIMITS_INSIDE {
        if !names.contains(inside) {
            complaints.push(format!("{inside} does not stand in limit.rs"));
        }
    }
    report(&complaints);
}
