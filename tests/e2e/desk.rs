//! Functions at the desk: run and tested with no coordinator.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::{UMBEL, has, quiet_environment, told};

/// Runs the command in `dir`, where its temporary files go too.
fn umbel(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(UMBEL);
    quiet_environment(&mut command);
    command
        .args(arguments)
        .current_dir(dir)
        .output()
        .expect("the binary runs")
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().expect("a directory");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder above")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    folder
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const SHOUT: &str = "name = \"shout\"\nruntime = \"exec\"\ncommand = [\"sh\", \"shout.sh\"]\n";
const SCRIPT: &str = "read -r word; [ \"$word\" != bad ] || { echo 'no such word' >&2; exit 3; }\n\
                      echo heard >&2; echo \"$word$MARK\" | tr a-z A-Z\n";

#[test]
fn a_function_runs_with_no_coordinator_and_ends_as_its_input_does() {
    let shout = folder(&[("umbel.toml", SHOUT), ("shout.sh", SCRIPT)]);
    let ran = umbel(shout.path(), &["function", "run", ".", "hey"]);
    assert!(ran.status.success(), "{}", told(&ran));
    assert_eq!(
        (stdout(&ran).as_str(), stderr(&ran).as_str()),
        ("HEY\n", "heard\n")
    );

    let failed = umbel(shout.path(), &["function", "run", ".", "bad"]);
    assert_eq!(failed.status.code(), Some(1), "{}", told(&failed));
    let said = stderr(&failed);
    assert!(
        said.contains("no such word\nerror: shout failed: function ExitCode: exit status: 3"),
        "{said}"
    );

    std::fs::write(shout.path().join("words"), "a\nbad\nc\n").expect("a file");
    let many = umbel(
        shout.path(),
        &[
            "function", "run", ".", "--inputs", "words", "--output", "json", "--env", "MARK=!",
        ],
    );
    assert_eq!(many.status.code(), Some(1), "{}", told(&many));
    let results: Vec<Value> = stdout(&many)
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object a line"))
        .collect();
    assert_eq!(results[0]["output"], "A!");
    assert_eq!(results[0]["log"], "heard\n");
    assert_eq!(results[1]["failure"]["type"], "ExitCode");
    assert_eq!(results[1]["failure"]["stderr"], "no such word\n");
    assert_eq!(
        (&results[2]["index"], &results[2]["output"]),
        (&Value::from(2), &Value::from("C!"))
    );
    assert!(results[2]["duration_us"].is_u64(), "{results:?}");
}

#[test]
fn a_function_that_cannot_be_is_bad_usage_with_the_place() {
    let wrong = folder(&[("umbel.toml", "runtime = \"exec\"\ncomand = [\"cat\"]\n")]);
    let refused = umbel(wrong.path(), &["function", "run", "."]);
    assert_eq!(refused.status.code(), Some(2), "{}", told(&refused));
    let said = stderr(&refused);
    assert!(
        said.contains("umbel.toml:2: unknown option `comand`; did you mean `command`?"),
        "{said}"
    );

    let said = stderr(&umbel(wrong.path(), &["function", "run", "nowhere"]));
    assert!(said.contains("cannot read nowhere"), "{said}");
}

#[test]
fn an_error_of_a_handler_is_shown_with_its_stack() {
    let test = "an_error_of_a_handler_is_shown_with_its_stack";
    if !has(test, "python", "python3", &["--version"]) {
        return;
    }
    let source =
        "def handler(event, context):\n    print('seen', event)\n    raise KeyError(event)\n";
    let one = folder(&[("app.py", source)]);
    let failed = umbel(one.path(), &["function", "run", "app.py", "7", "-v"]);
    assert_eq!(failed.status.code(), Some(1), "{}", told(&failed));
    let said = stderr(&failed);
    for part in [
        "seen 7\n",
        "app.py\", line 3",
        "cold start: load ",
        "app failed: function KeyError: 7",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}

#[test]
fn the_cases_of_a_function_are_held_against_what_comes() {
    let cases = "# kept\n[[case]]\nname = \"loud\"\ninput = \"hey\"\noutput = \"HEY\"\n\n\
                 [[case]]\nname = \"wrong\"\ninput = \"ho\"\noutput = \"HA\"\n\n\
                 [[case]]\nname = \"fails\"\ninput = \"bad\"\nfailure = { type = \"ExitCode\" }\n";
    let shout = folder(&[
        ("umbel.toml", SHOUT),
        ("shout.sh", SCRIPT),
        ("tests.toml", cases),
        ("tests/more.input.json", "more\n"),
        ("tests/more.matches", "^M.RE$\n"),
    ]);
    let test = ["function", "test", "."];

    let ran = umbel(
        shout.path(),
        &[&test[..], &["--junit", "report.xml"]].concat(),
    );
    assert_eq!(ran.status.code(), Some(1), "{}", told(&ran));
    let said = stdout(&ran);
    let states: Vec<_> = said
        .lines()
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split("  (").next())
        .collect();
    assert_eq!(
        states,
        [
            "passed   loud",
            "failed   wrong",
            "passed   fails",
            "passed   more"
        ]
    );
    assert!(
        said.contains("    - \"HA\"\n    + \"HO\"\n    | heard\n"),
        "{said}"
    );
    assert!(stderr(&ran).contains("error: 1 of 4 cases are not as expected"));
    let report = std::fs::read_to_string(shout.path().join("report.xml")).expect("a report");
    assert!(report.contains("tests=\"4\" failures=\"1\""), "{report}");

    let only = umbel(shout.path(), &[&test[..], &["lou"]].concat());
    assert!(only.status.success(), "{}", told(&only));
    assert!(stdout(&only).ends_with("1 of 1 cases as expected\n"));
    let none = umbel(shout.path(), &[&test[..], &["nothing"]].concat());
    assert_eq!(none.status.code(), Some(2), "{}", told(&none));

    let updated = umbel(shout.path(), &[&test[..], &["--update"]].concat());
    assert!(updated.status.success(), "{}", told(&updated));
    let written = std::fs::read_to_string(shout.path().join("tests.toml")).expect("the cases");
    assert_eq!(written, cases.replace("\"HA\"", "\"HO\""));
    assert!(umbel(shout.path(), &test).status.success());
}

#[test]
fn a_zip_is_run_and_tested_as_the_folder_that_it_is() {
    let test = "a_zip_is_run_and_tested_as_the_folder_that_it_is";
    if !has(test, "python", "python3", &["--version"]) {
        return;
    }
    let cases = "[[case]]\nname = \"loud\"\ninput = \"hey\"\noutput = \"HEY\"\n";
    let shout = folder(&[
        ("shout/umbel.toml", SHOUT),
        ("shout/shout.sh", SCRIPT),
        ("shout/tests.toml", cases),
    ]);
    let zip = "import shutil; shutil.make_archive('shout', 'zip', 'shout')";
    let zipped = Command::new("python3")
        .args(["-c", zip])
        .current_dir(shout.path())
        .status();
    assert!(zipped.expect("python3 runs").success());

    let ran = umbel(shout.path(), &["function", "run", "shout.zip", "hey"]);
    assert_eq!(stdout(&ran), "HEY\n", "{}", told(&ran));
    let tested = umbel(shout.path(), &["function", "test", "shout.zip"]);
    assert!(tested.status.success(), "{}", told(&tested));
    assert!(stdout(&tested).ends_with("1 of 1 cases as expected\n"));
    let updated = umbel(shout.path(), &["function", "test", "shout.zip", "--update"]);
    assert_eq!(updated.status.code(), Some(2), "{}", told(&updated));
    assert!(
        stderr(&updated).contains("--update writes no zip"),
        "{}",
        told(&updated)
    );
}
