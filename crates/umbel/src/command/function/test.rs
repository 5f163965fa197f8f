//! `umbel function test`: a function's cases, run at the desk.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Serialize;

use crate::desk::case::{self, Case};
use crate::desk::judge::judge;
use crate::desk::junit;
use crate::desk::update::update;
use crate::desk::{Attempt, Desk};
use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::manifest::{Source, SourceArgs};
use crate::output::{self, Out};
use crate::signal::Signals;

const EXAMPLES: &str = "\
Cases stand beside the code. In tests.toml, each with one or more of what is to come of its input:

  [[case]]
  name = \"fits the box\"
  input = { width = 4000, height = 3000, box = 640 }    # a text is given as it stands, all else as JSON
  output = \"640x480\"                 # all of it
  output_subset = { width = 640 }    # among other things
  output_matches = \"^\\\\d+x\\\\d+$\"     # a regular expression
  failure = { type = \"EmptyImage\" }  # that it fails; kind, type, and message as an expression

Or in tests/: NAME.input.json with NAME.output.json, NAME.subset.json, NAME.matches or
NAME.failure.json. --update writes down outputs that were exact and differ, or of which nothing
was said.

Exit codes: 0 all are as expected; 1 some are not; 2 bad usage; 130 interrupted.

Examples:
  umbel function test ./resize/
  umbel function test ./resize/ empty --junit report.xml";

/// The arguments of `function test`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    function: SourceArgs,
    /// Only the cases whose name has this in it
    #[arg(value_name = "NAME")]
    only: Option<String>,
    /// The cases, a file or a folder, if they do not lie beside the code
    #[arg(long, value_name = "PATH")]
    cases: Option<PathBuf>,
    /// Write down what came as what is expected from now on
    #[arg(long)]
    update: bool,
    /// Write the results as JUnit's XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// A case that has run.
struct Judged {
    case: Case,
    attempt: Attempt,
    verdict: Verdict,
}

enum Verdict {
    Passed,
    Updated,
    /// Why it is not as expected.
    Failed(String),
}

/// A case as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    case: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<&'a str>,
    duration_us: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    log: &'a str,
}

/// Runs the cases one after another, and tells of each.
pub(super) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let mut signals = Signals::listen()?;
    let source = args.function.source()?;
    if args.update && args.cases.is_none() && source.unpacked.is_some() {
        let what = "--update writes no zip; unpack it, or name its cases with --cases";
        return Err(Exit::usage(what.to_owned()));
    }
    let cases = chosen(&source, &args)?;
    let desk = Desk::open(&source)?;
    let mut judged = Vec::with_capacity(cases.len());
    for (index, case) in (0..).zip(cases) {
        let input = Bytes::from(case.input.clone());
        let attempt = desk.run(index, input, &mut signals).await?;
        let verdict = verdict(&case, &attempt, args.update)?;
        let one = Judged {
            case,
            attempt,
            verdict,
        };
        one.print(global.output)?;
        judged.push(one);
    }
    if let Some(path) = &args.junit {
        report(path, desk.name(), &judged)?;
    }
    let failed = judged
        .iter()
        .filter(|one| one.difference().is_some())
        .count();
    let count = judged.len();
    if failed > 0 {
        return Err(Exit::failed(format!(
            "{failed} of {count} cases are not as expected"
        )));
    }
    if global.output == OutputForm::Table {
        output::line(&format!("{count} of {count} cases as expected"))?;
    }
    Ok(())
}

/// The cases that are to be run.
fn chosen(source: &Source, args: &Args) -> Result<Vec<Case>, Exit> {
    let place = match &args.cases {
        Some(place) => place,
        None => &source.folder,
    };
    let mut cases = case::read(place)?;
    if let Some(only) = &args.only {
        let count = cases.len();
        cases.retain(|case| case.name.contains(only));
        if cases.is_empty() {
            return Err(Exit::usage(format!(
                "none of the {count} cases has `{only}` in its name"
            )));
        }
    }
    Ok(cases)
}

fn verdict(case: &Case, attempt: &Attempt, write: bool) -> Result<Verdict, Exit> {
    let judged = judge(&case.expected, attempt);
    let unsettled = judged.is_err() || case.expected.is_unsaid();
    if write && unsettled && attempt.execution.outcome.is_ok() && update(case, &attempt.output)? {
        return Ok(Verdict::Updated);
    }
    Ok(match judged {
        Ok(()) => Verdict::Passed,
        Err(difference) => Verdict::Failed(difference),
    })
}

fn report(path: &Path, function: &str, judged: &[Judged]) -> Result<(), Exit> {
    let told: Vec<_> = judged
        .iter()
        .map(|one| junit::Told {
            name: &one.case.name,
            duration: one.attempt.duration,
            difference: one.difference(),
            log: one.attempt.log(),
        })
        .collect();
    std::fs::write(path, junit::document(function, &told))
        .map_err(|error| Exit::internal(format!("cannot write {}: {error}", path.display())))
}

impl Judged {
    fn difference(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::Failed(difference) => Some(difference),
            Verdict::Passed | Verdict::Updated => None,
        }
    }

    const fn state(&self) -> &'static str {
        match self.verdict {
            Verdict::Passed => "passed",
            Verdict::Updated => "updated",
            Verdict::Failed(_) => "failed",
        }
    }

    fn print(&self, form: OutputForm) -> Result<(), Exit> {
        let mut out = Out::new();
        if form == OutputForm::Json {
            out.object(&Shown {
                case: &self.case.name,
                state: self.state(),
                difference: self.difference(),
                duration_us: u64::try_from(self.attempt.duration.as_micros()).unwrap_or(u64::MAX),
                log: self.attempt.log(),
            })?;
            return out.flush();
        }
        let name = output::one_line(&self.case.name, 70);
        let line = format!("{:<8} {name}  ({})\n", self.state(), self.attempt.times());
        out.bytes(line.as_bytes())?;
        if let Some(difference) = self.difference() {
            for line in difference.lines() {
                out.bytes(format!("    {line}\n").as_bytes())?;
            }
            for line in self.attempt.log().lines() {
                out.bytes(format!("    | {line}\n").as_bytes())?;
            }
        }
        out.flush()
    }
}
