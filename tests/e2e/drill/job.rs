//! Jobs of all shapes, and what each must come to.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::{Value, json};

use super::fleet::Fleet;
use crate::cluster::check_counts;

/// What a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Numbers without inputs on disk.
    Range,
    /// Inputs that are uploaded by a client which may be killed on the way.
    Appended,
    /// A program for each input.
    Exec,
    /// The versions of a published function, which others are published beside.
    Published,
    /// Attempts that fail; every fourth input for good.
    Flaky,
    /// Every second input fails until that is mended; then it is redriven.
    Redriven,
    /// Runs of up to two seconds, longer than most faults.
    Sleepers,
    /// Ended by its client before it can end.
    Cancelled,
    /// The same, and then redriven by a function that ends.
    Resumed,
}

const SHAPES: [(Shape, &str); 9] = [
    (Shape::Range, "jobs over a range"),
    (Shape::Appended, "jobs of uploaded inputs"),
    (Shape::Exec, "jobs of programs"),
    (Shape::Published, "jobs of published functions"),
    (Shape::Flaky, "jobs whose attempts fail"),
    (Shape::Redriven, "jobs that failed, redriven"),
    (Shape::Sleepers, "jobs of long runs"),
    (Shape::Cancelled, "jobs that were cancelled"),
    (Shape::Resumed, "jobs that were cancelled, redriven"),
];

/// A job that was accepted and has not been looked through.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    id: String,
    number: u64,
    shape: Shape,
    count: u64,
    /// The version that all of it must run, where it names one.
    version: Option<u64>,
    /// What failed in it is mended, and runs again.
    mended: bool,
}

/// Inputs of a job that runs for ever, in milliseconds.
const FOR_EVER: u64 = 600_000;

/// Different codes that are published, at most; one that was published before is the same version.
const FACTORS: u64 = 40;

/// How often an input of a flaky job fails; those of 50 fail for good.
const FLAKY: [u64; 4] = [0, 1, 2, 50];

impl Shape {
    fn input(self, index: u64) -> String {
        match self {
            Self::Appended => (20 + index % 400).to_string(),
            Self::Flaky => json!({ "fail_attempts": FLAKY[at(index)] }).to_string(),
            Self::Sleepers => (index * 37 % 2_000).to_string(),
            Self::Cancelled | Self::Resumed => FOR_EVER.to_string(),
            Self::Range | Self::Exec | Self::Published | Self::Redriven => index.to_string(),
        }
    }

    fn has_range(self) -> bool {
        matches!(
            self,
            Self::Range | Self::Exec | Self::Published | Self::Redriven
        )
    }

    /// Whether an input fails for good.
    fn fails(self, index: u64, mended: bool) -> bool {
        match self {
            Self::Flaky => FLAKY[at(index)] == 50,
            Self::Redriven => !mended && index % 2 == 1,
            _ => false,
        }
    }

    fn count(self, fleet: &mut Fleet) -> u64 {
        1 + match self {
            Self::Range => fleet.dice.below(30_000),
            Self::Appended => fleet.dice.below(20_000),
            Self::Exec | Self::Published => fleet.dice.below(150),
            // At least one of them fails.
            Self::Redriven => 1 + fleet.dice.below(100),
            Self::Flaky => fleet.dice.below(400),
            Self::Sleepers => fleet.dice.below(30),
            Self::Cancelled | Self::Resumed => fleet.dice.below(1_000),
        }
    }
}

fn at(index: u64) -> usize {
    usize::try_from(index % 4).expect("below 4")
}

/// Submits a job of a shape by chance. It has a request id, so that it is one job however often
/// its client dies on the way.
pub(crate) fn submit(fleet: &mut Fleet) {
    let (shape, what) = SHAPES[fleet.dice.pick(SHAPES.len())];
    let count = shape.count(fleet);
    let number = fleet.number();
    let request = format!("request-{number}");
    let path = fleet.dir.path().join(format!("inputs-{number}"));
    let path = path.to_str().expect("UTF-8");
    let mark = fleet.mark.clone();
    let range = format!("0..{count}");
    let fixed = mended(fleet, number);
    let until_mended =
        format!("read i; [ -e {fixed} ] || [ $((i % 2)) = 0 ] || exit 7; echo out-$i");
    let (published, version) = match shape {
        Shape::Published => publish(fleet),
        _ => (String::new(), None),
    };
    let (target, program): (&str, Vec<&str>) = match shape {
        Shape::Range => ("umbel.increment", vec![]),
        Shape::Appended => ("umbel.spin", vec![]),
        Shape::Flaky => ("umbel.flaky", vec![]),
        Shape::Published => (&published, vec![]),
        Shape::Sleepers | Shape::Cancelled | Shape::Resumed => ("umbel.sleep", vec![]),
        Shape::Exec => ("", vec!["--", "sh", "-c", "echo \"<$(cat)>\"", &mark]),
        Shape::Redriven => ("", vec!["--", "sh", "-c", &until_mended, &mark]),
    };
    let mut line = vec!["job", "submit", "--request-id", &request];
    line.extend(["--backoff", "50ms..200ms"]);
    if !target.is_empty() {
        line.push(target);
    }
    if shape == Shape::Redriven {
        line.extend(["--max-attempts", "1"]);
    }
    if shape.has_range() {
        line.extend(["--range", &range]);
    } else {
        write_inputs(path, shape, count);
        line.extend(["--inputs", path]);
    }
    line.extend(program);
    if shape == Shape::Appended {
        kill_clients(fleet, &line, path);
    }
    let id = fleet.run(&line).trim().to_owned();
    if matches!(shape, Shape::Cancelled | Shape::Resumed) {
        fleet.run(&["job", "cancel", &id]);
    }
    if shape == Shape::Resumed {
        let how = ["--cancelled", "--target", "umbel.echo"];
        redrive(fleet, &id, &how);
    }
    fleet.tally.add(what, 1);
    fleet.tally.add("invocations", count);
    fleet.jobs.push(Job {
        id,
        number,
        shape,
        count,
        version,
        mended: false,
    });
}

fn write_inputs(path: &str, shape: Shape, count: u64) {
    let mut text = String::new();
    for index in 0..count {
        writeln!(text, "{}", shape.input(index)).expect("a string takes text");
    }
    fs::write(path, text).expect("a file");
}

/// The file whose being there mends a job.
fn mended(fleet: &Fleet, number: u64) -> String {
    let path = fleet.dir.path().join(format!("mended-{number}"));
    path.to_str().expect("UTF-8").to_owned()
}

/// It has a request id, so that it is one redrive however often it is asked for.
fn redrive(fleet: &mut Fleet, id: &str, how: &[&str]) {
    let request = format!("redrive-{id}");
    let line = [&["job", "redrive", id, "--request-id", &request], how].concat();
    fleet.run(&line);
    fleet.tally.add("redrives", 1);
}

/// Publishes a version of `scale`, or points it elsewhere, while jobs of it run. Tells what to
/// run, and which version that must be, if it is one.
fn publish(fleet: &mut Fleet) -> (String, Option<u64>) {
    let factor = 2 + fleet.dice.below(FACTORS);
    let path = fleet.dir.path().join(format!("scale-{factor}.sh"));
    let script = format!("#!/bin/sh\nread -r i || true\necho $((i * {factor}))\n");
    fs::write(&path, script).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    let path = path.to_str().expect("UTF-8");
    let told = fleet.json(&["function", "publish", "scale", "--runtime", "exec", path]);
    let number = told["version"].as_u64().expect("a number");
    let known = *fleet.factors.entry(number).or_insert(factor);
    assert_eq!(known, factor, "a number means one version: {told}");
    fleet.tally.add("functions published", 1);
    let numbers: Vec<u64> = fleet.factors.keys().copied().collect();
    let any = numbers[fleet.dice.pick(numbers.len())];
    match fleet.dice.below(3) {
        0 => {
            let point = ["function", "point", "scale", &any.to_string()];
            fleet.run(&point);
            fleet.tally.add("aliases pointed elsewhere", 1);
            ("scale".to_owned(), None)
        }
        1 => ("scale".to_owned(), None),
        _ => (format!("scale@{any}"), Some(any)),
    }
}

/// Clients that die after they have read some of their inputs, before one that is left alone.
fn kill_clients(fleet: &mut Fleet, line: &[&str], path: &str) {
    let text = fs::read(path).expect("it was written");
    let line: Vec<&str> = line
        .iter()
        .map(|&word| if word == path { "-" } else { word })
        .collect();
    for _ in 0..fleet.dice.below(3) {
        let mut client = fleet.umbel(&line);
        let client = client.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut client = client.stderr(Stdio::null()).spawn().expect("it starts");
        let some = fleet.dice.pick(text.len());
        let mut stdin = client.stdin.take().expect("it is piped");
        // Its end of the pipe stays open: it waits for more when it dies.
        stdin.write_all(&text[..some]).expect("it reads");
        drop(client.kill());
        drop(client.wait());
        fleet.tally.add("kills of a client in mid-upload", 1);
    }
}

/// Looks through the jobs that have ended.
pub(crate) fn judge_ended(fleet: &mut Fleet) {
    let jobs = std::mem::take(&mut fleet.jobs);
    for job in jobs {
        if job.is_running(fleet) {
            fleet.jobs.push(job);
        } else if job.shape == Shape::Redriven && !job.mended {
            let job = job.mend(fleet);
            fleet.jobs.push(job);
        } else {
            job.judge(fleet);
            // Most are forgotten, so that the data does not only grow.
            if fleet.dice.below(4) > 0 {
                fleet.delete(&job.id);
            }
        }
    }
}

impl Job {
    fn view(&self, fleet: &Fleet) -> Value {
        let view = fleet.json(&["job", "get", &self.id]);
        check_counts(&view);
        view
    }

    pub(crate) fn is_running(&self, fleet: &Fleet) -> bool {
        self.view(fleet)["state"] == "running"
    }

    /// Runs again what failed, with what lets it succeed.
    fn mend(self, fleet: &mut Fleet) -> Self {
        let view = self.view(fleet);
        assert_eq!(view["state"], "failed", "{self:?}: {view}");
        assert_eq!(view["counts"]["failed"], self.count / 2, "{self:?}: {view}");
        fs::write(mended(fleet, self.number), "").expect("a file");
        redrive(fleet, &self.id, &["--failed"]);
        Self {
            mended: true,
            ..self
        }
    }

    fn judge(&self, fleet: &mut Fleet) {
        let view = self.view(fleet);
        if self.shape == Shape::Cancelled {
            assert_eq!(view["state"], "cancelled", "{view}");
            assert_eq!(view["counts"]["cancelled"], self.count, "{view}");
            return;
        }
        let in_order = self.results(fleet, &[]);
        assert_eq!(in_order.len() as u64, self.count, "{self:?}");
        let mut given_up = 0;
        for (index, result) in (0..).zip(&in_order) {
            assert_eq!(result["index"], index, "{self:?}: {result}");
            given_up += u64::from(self.judge_result(fleet, index, result));
        }
        let failed = (0..self.count).filter(|&index| self.shape.fails(index, self.mended));
        let failed = failed.count() as u64 + given_up;
        let counts = &view["counts"];
        assert_eq!(counts["total"], self.count, "{self:?}: {view}");
        assert_eq!(counts["failed"], failed, "{self:?}: {view}");
        assert_eq!(counts["succeeded"], self.count - failed, "{self:?}: {view}");
        let attempts = view["attempts"].as_u64().expect("a number");
        fleet.tally.add(
            "attempts beyond one for each invocation",
            attempts.saturating_sub(self.count),
        );
        fleet
            .tally
            .add("long runs given up, three workers lost", given_up);

        let mut completed = self.results(fleet, &["--as-completed"]);
        completed.sort_by_key(|result| result["index"].as_u64());
        assert_eq!(
            completed, in_order,
            "{self:?}: in both orders the same, each once"
        );
    }

    /// Looks at one result. Tells whether it is that of a long run which three workers were lost
    /// with: it counts as what killed them.
    fn judge_result(&self, fleet: &Fleet, index: u64, result: &Value) -> bool {
        let failure = &result["failure"];
        if self.shape == Shape::Sleepers && failure["type"] == "CrashLimit" {
            return true;
        }
        if self.shape.fails(index, self.mended) {
            assert_eq!(failure["kind"], "function", "{self:?}: {result}");
            return false;
        }
        let output: Value = match self.shape {
            Shape::Range => (index + 1).into(),
            Shape::Exec => format!("<{index}>").into(),
            Shape::Redriven => format!("out-{index}").into(),
            Shape::Published => {
                let version = result["version"].as_u64().expect("it was one of them");
                assert_eq!(
                    self.version.unwrap_or(version),
                    version,
                    "{self:?}: {result}"
                );
                (index * fleet.factors[&version]).into()
            }
            // They echo, and what is JSON is shown as such.
            shape => serde_json::from_str(&shape.input(index)).expect("JSON"),
        };
        assert_eq!(result["output"], output, "{self:?}: {result}");
        false
    }

    fn results(&self, fleet: &Fleet, more: &[&str]) -> Vec<Value> {
        let line = [&["job", "results", &self.id, "--output", "json"], more].concat();
        let text = fleet.run(&line);
        let parse = |line| serde_json::from_str(line).expect("a JSON object");
        text.lines().map(parse).collect()
    }
}
