//! `umbel replay`: one recorded invocation, run again here.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use umbel_artifact::digest_of;
use umbel_client::Client;
use umbel_runtime::{Catalog, Executable, Program};

use crate::capsule::{self, Capsule, Failure, Outcome, Verdict};
use crate::desk::{Attempt, Desk, Place};
use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::manifest::{OptionArgs, Source};
use crate::output::{self, duration_us};
use crate::signal::Signals;

const EXAMPLES: &str = "\
The code is what --code names, else the program that the capsule names, else umbel's own function,
else what the coordinator has of the very version, by the digest in the capsule.
A capsule that names a program is as good as a script: replay what you trust. The outcome is the
same when the output is, to the byte; a failure is by its kind, type and message. Code without an
umbel.toml is run as the capsule's version was.

Exit codes: 0 the same outcome; 1 another; 2 no capsule, or no code; 130 interrupted.

Examples:
  umbel job capsule last 2 > case.capsule
  umbel replay case.capsule
  umbel replay case.capsule --code ./resize/ --env LEVEL=3
  umbel replay case.capsule --code ./resize/ --add-to-tests ./resize/";

/// The arguments of `replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The file that `umbel job capsule` wrote
    capsule: PathBuf,
    /// The function's code: a folder, its umbel.toml, or a single file
    #[arg(long, value_name = "PATH")]
    code: Option<PathBuf>,
    /// Add it as a case to the tests of the function in this folder, with the outcome that it
    /// has here (see `umbel function test`)
    #[arg(long, value_name = "DIR")]
    add_to_tests: Option<PathBuf>,
    #[command(flatten)]
    options: OptionArgs,
}

/// What came of it, for scripts.
#[derive(Debug, Serialize)]
struct Replayed<'a> {
    same: bool,
    index: u64,
    recorded: Option<String>,
    found: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    difference: &'a str,
    duration_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_duration_us: Option<u64>,
}

/// Runs it again and says whether it ended the same.
pub(crate) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let mut signals = Signals::listen()?;
    let capsule = Capsule::read(&args.capsule)?;
    let desk = desk(&args, &capsule, global).await?;
    tell_variables(&args, &capsule);
    let place = Place {
        job_id: capsule.job.clone(),
        index: capsule.index,
        attempt: capsule.attempt.max(1),
        timeout: capsule.timeout_ms.map(Duration::from_millis),
    };
    let attempt = desk.run_at(place, capsule.input(), &mut signals).await?;
    if global.output == OutputForm::Table && !attempt.log().is_empty() {
        output::remark(attempt.log().trim_end_matches('\n'));
    }
    let found = outcome_of(&attempt);
    let recorded = capsule.outcome();
    let verdict = recorded.as_ref().map(|first| Verdict::of(first, &found));
    if let Some(folder) = &args.add_to_tests {
        let name = capsule::add_to_tests(folder, &capsule, &found)?;
        output::remark(&format!("added the case {name} to {}", folder.display()));
    }
    tell(
        &capsule,
        &attempt,
        (&found, verdict.as_ref()),
        global.output,
    )?;
    match verdict {
        Some(verdict) if !verdict.same => Err(Exit::failed(
            "the outcome is another than the recorded one".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// Names the variables that the version had, and that nobody has set here.
fn tell_variables(args: &Args, capsule: &Capsule) {
    let declared = capsule.function.iter();
    let declared = declared.flat_map(|function| &function.environment_names);
    let unset: Vec<&str> = declared
        .map(String::as_str)
        .filter(|name| !args.options.sets(name))
        .collect();
    if !unset.is_empty() {
        output::remark(&format!(
            "a capsule holds no values of variables; set by --env, or by the code's umbel.toml: {}",
            unset.join(", ")
        ));
    }
}

/// The function, from wherever its code is to be had.
async fn desk(args: &Args, capsule: &Capsule, global: &Global) -> Result<Desk, Exit> {
    if let Some(code) = &args.code {
        let published = capsule.function.as_ref();
        let known = published.map(capsule::Function::manifest);
        let source = Source::at_or(code, &args.options, known.unwrap_or_default())?;
        return Desk::open(&source);
    }
    if let Some(function) = &capsule.function {
        return Desk::open(&fetched(args, function, global).await?);
    }
    if args.options.is_given() {
        let words =
            "--runtime, --handler, --env and the like are said about code; name it with --code";
        return Err(Exit::usage(words));
    }
    let target = &capsule.target;
    if let Some(argv) = &capsule.program {
        let program = Program::new(argv)
            .map_err(|error| Exit::usage(format!("the program of the capsule: {error}")))?;
        return Desk::of(target, Executable::Exec(program.into()));
    }
    match Catalog::with_builtins(false).find(target) {
        Some(executable) => Desk::of(target, executable),
        None => Err(Exit::usage(format!(
            "the capsule names {target} and holds no code; name it: umbel replay {} --code PATH",
            args.capsule.display()
        ))),
    }
}

/// The code of a version, from the coordinator that published it.
async fn fetched(
    args: &Args,
    function: &capsule::Function,
    global: &Global,
) -> Result<Source, Exit> {
    let (name, number) = (&function.name, function.version);
    let elsewhere = |why: String| {
        let capsule = args.capsule.display();
        Exit::usage(format!(
            "the code of {name}@{number} is not to be had: {why}; name it: umbel replay {capsule} --code PATH"
        ))
    };
    let digest = digest_of(&function.digest)
        .ok_or_else(|| elsewhere("the capsule names no digest".to_owned()))?;
    let client = Client::connect(&global.coordinator)?;
    let packed = client.artifact(digest.0).await;
    let packed = packed.map_err(|error| elsewhere(error.to_string()))?;
    let known = function.manifest();
    let mut source = Source::in_artifact(&packed, digest, &args.options, known)?;
    source.manifest.name.clone_from(name);
    Ok(source)
}

fn outcome_of(attempt: &Attempt) -> Outcome {
    match &attempt.execution.outcome {
        Ok(()) => Outcome::Succeeded(attempt.output.clone().into()),
        Err(failure) => Outcome::Failed(Failure {
            kind: failure.kind.to_string(),
            type_: failure.error_type.clone(),
            message: failure.message.clone(),
        }),
    }
}

fn tell(
    capsule: &Capsule,
    attempt: &Attempt,
    (found, verdict): (&Outcome, Option<&Verdict>),
    form: OutputForm,
) -> Result<(), Exit> {
    let recorded = capsule.outcome();
    if form == OutputForm::Json {
        return output::document(&Replayed {
            same: verdict.is_some_and(|verdict| verdict.same),
            index: capsule.index,
            recorded: recorded.as_ref().map(Outcome::words),
            found: found.words(),
            difference: verdict.map_or("", |verdict| &verdict.difference),
            duration_us: u64::try_from(attempt.duration.as_micros()).unwrap_or(u64::MAX),
            recorded_duration_us: capsule.duration_us,
        });
    }
    match (verdict, &recorded) {
        (Some(verdict), Some(recorded)) if !verdict.same => {
            output::line(&format!("different: it {}", found.words()))?;
            output::line(&format!("recorded:  it {}", recorded.words()))?;
            output::line(verdict.difference.trim_end())?;
        }
        (Some(_), _) => output::line(&format!("same: it {}", found.words()))?,
        (None, _) => output::line(&format!(
            "it {}; nothing is recorded to compare, since the invocation was cancelled",
            found.words()
        ))?,
    }
    let then = capsule.duration_us.map_or_else(String::new, |us| {
        format!(" (recorded: {})", duration_us(us))
    });
    output::remark(&format!("took {}{then}", attempt.times()));
    Ok(())
}
