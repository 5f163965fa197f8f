//! Jobs of all shapes, and what each must come to.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
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
    /// Attempts that fail; every fourth input for good.
    Flaky,
    /// Runs of up to two seconds, longer than most faults.
    Sleepers,
    /// Ended by its client before it can end.
    Cancelled,
}

const SHAPES: [(Shape, &str); 6] = [
    (Shape::Range, "jobs over a range"),
    (Shape::Appended, "jobs of uploaded inputs"),
    (Shape::Exec, "jobs of programs"),
    (Shape::Flaky, "jobs whose attempts fail"),
    (Shape::Sleepers, "jobs of long runs"),
    (Shape::Cancelled, "jobs that were cancelled"),
];

/// A job that was accepted and has not been looked through.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    id: String,
    shape: Shape,
    count: u64,
}

/// How often an input of a flaky job fails; those of 50 fail for good.
const FLAKY: [u64; 4] = [0, 1, 2, 50];

impl Shape {
    fn input(self, index: u64) -> String {
        match self {
            Self::Appended => (20 + index % 400).to_string(),
            Self::Flaky => json!({ "fail_attempts": FLAKY[at(index)] }).to_string(),
            Self::Sleepers => (index * 37 % 2_000).to_string(),
            Self::Range | Self::Exec | Self::Cancelled => index.to_string(),
        }
    }

    /// None: it fails for good.
    fn output(self, index: u64) -> Option<Value> {
        match self {
            Self::Range => Some((index + 1).into()),
            Self::Exec => Some(format!("<{index}>").into()),
            Self::Flaky if FLAKY[at(index)] == 50 => None,
            // They echo, and what is JSON is shown as such.
            _ => Some(serde_json::from_str(&self.input(index)).expect("JSON")),
        }
    }

    fn count(self, fleet: &mut Fleet) -> u64 {
        1 + match self {
            Self::Range => fleet.dice.below(30_000),
            Self::Appended => fleet.dice.below(20_000),
            Self::Exec => fleet.dice.below(150),
            Self::Flaky => fleet.dice.below(400),
            Self::Sleepers => fleet.dice.below(30),
            Self::Cancelled => fleet.dice.below(1_000),
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
    let (target, program): (&str, Vec<&str>) = match shape {
        Shape::Range => ("umbel.increment", vec![]),
        Shape::Appended => ("umbel.spin", vec![]),
        Shape::Flaky => ("umbel.flaky", vec![]),
        Shape::Sleepers => ("umbel.sleep", vec![]),
        Shape::Cancelled => ("umbel.sleep", vec![]),
        Shape::Exec => ("", vec!["--", "sh", "-c", "echo \"<$(cat)>\"", &mark]),
    };
    let mut line = vec![
        "job",
        "submit",
        "--request-id",
        &request,
        "--backoff",
        "50ms..200ms",
    ];
    if !target.is_empty() {
        line.push(target);
    }
    if matches!(shape, Shape::Range | Shape::Exec) {
        line.extend(["--range", &range]);
    } else {
        let mut text = String::new();
        for index in 0..count {
            // A job that is to be cancelled runs for ever.
            let input = match shape {
                Shape::Cancelled => "600000".to_owned(),
                shape => shape.input(index),
            };
            writeln!(text, "{input}").expect("a string takes text");
        }
        fs::write(path, text).expect("a file");
        line.extend(["--inputs", path]);
    }
    line.extend(program);
    if shape == Shape::Appended {
        kill_clients(fleet, &line, path);
    }
    let id = fleet.run(&line).trim().to_owned();
    if shape == Shape::Cancelled {
        cancel(fleet, &id);
    }
    fleet.tally.add(what, 1);
    fleet.tally.add("invocations", count);
    fleet.jobs.push(Job { id, shape, count });
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

fn cancel(fleet: &Fleet, id: &str) {
    fleet.run(&["job", "cancel", id]);
}

/// Looks through the jobs that have ended.
pub(crate) fn judge_ended(fleet: &mut Fleet) {
    let jobs = std::mem::take(&mut fleet.jobs);
    for job in jobs {
        if job.is_running(fleet) {
            fleet.jobs.push(job);
        } else {
            job.judge(fleet);
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

    fn judge(&self, fleet: &mut Fleet) {
        let view = self.view(fleet);
        if self.shape == Shape::Cancelled {
            assert_eq!(view["state"], "cancelled", "{view}");
            assert_eq!(view["counts"]["cancelled"], self.count, "{view}");
            return;
        }
        let failed = (0..self.count).filter(|&index| self.shape.output(index).is_none());
        let failed = failed.count() as u64;
        let counts = &view["counts"];
        assert_eq!(counts["total"], self.count, "{self:?}: {view}");
        assert_eq!(counts["failed"], failed, "{self:?}: {view}");
        assert_eq!(counts["succeeded"], self.count - failed, "{self:?}: {view}");
        let attempts = view["attempts"].as_u64().expect("a number");
        fleet.tally.add(
            "attempts beyond one for each invocation",
            attempts.saturating_sub(self.count),
        );

        let in_order = self.results(fleet, &[]);
        assert_eq!(in_order.len() as u64, self.count, "{self:?}");
        for (index, result) in (0..).zip(&in_order) {
            assert_eq!(result["index"], index, "{self:?}: {result}");
            match self.shape.output(index) {
                Some(output) => assert_eq!(result["output"], output, "{self:?}: {result}"),
                None => assert_eq!(result["failure"]["kind"], "function", "{self:?}: {result}"),
            }
        }
        let mut completed = self.results(fleet, &["--as-completed"]);
        completed.sort_by_key(|result| result["index"].as_u64());
        assert_eq!(
            completed, in_order,
            "{self:?}: in both orders the same, each once"
        );
    }

    fn results(&self, fleet: &Fleet, more: &[&str]) -> Vec<Value> {
        let line = [&["job", "results", &self.id, "--output", "json"], more].concat();
        let text = fleet.run(&line);
        let parse = |line| serde_json::from_str(line).expect("a JSON object");
        text.lines().map(parse).collect()
    }
}
