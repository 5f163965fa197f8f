//! `umbel function run`: a function at the desk, by the code that a worker runs it with.

use bytes::Bytes;
use clap::ArgGroup;
use futures::StreamExt as _;

use crate::command::invoke;
use crate::desk::{Attempt, Desk};
use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::input::{FileArgs, Inputs};
use crate::manifest::SourceArgs;
use crate::output::{self, DeskResult, Out};
use crate::signal::Signals;

const EXAMPLES: &str = "\
No coordinator is needed: the code that a worker would run it with runs it here. What the function
prints goes to stderr, its output to stdout. PATH is a folder (with an umbel.toml that says what
runs it; see config/umbel.toml), such a file, or a single file of code.

Exit codes: 0 done; 1 the function failed; 2 bad usage; 130 interrupted.

Examples:
  umbel function run ./resize/ '{\"width\": 4000, \"height\": 3000, \"box\": 640}'
  umbel function run ./resize/app.py - < input.json
  umbel function run ./resize/ --inputs sizes.csv --format csv --verbose";

/// The arguments of `function run`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("source").args(["input", "inputs"]))]
pub(super) struct Args {
    #[command(flatten)]
    function: SourceArgs,
    /// The input (6 MiB at most), or - to read it from stdin [default: empty]
    #[arg(allow_hyphen_values = true)]
    input: Option<String>,
    #[command(flatten)]
    inputs: FileArgs,
    /// Tell on stderr how long each input took, and the parts of a cold start
    #[arg(long, short)]
    verbose: bool,
}

/// Runs the inputs one after another, and prints what comes of them.
pub(super) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let mut signals = Signals::listen()?;
    let desk = Desk::open(&args.function.source()?)?;
    let many = args.inputs.is_given();
    let mut inputs = match args.inputs.open()? {
        Some(Inputs::Stream(inputs)) => inputs,
        _ => {
            let input = invoke::input(args.input).await?;
            futures::stream::once(async { Ok(Bytes::from(input)) }).boxed()
        }
    };
    let (mut index, mut failed) = (0, 0);
    let mut first_failure = None;
    while let Some(input) = inputs.next().await {
        let input = input.map_err(|error| Exit::usage(error.to_string()))?;
        let attempt = desk.run(index, input, &mut signals).await?;
        print(index, &attempt, args.verbose, global.output)?;
        if let Err(failure) = &attempt.execution.outcome {
            failed += 1;
            let why = output::runtime_failure_text(failure);
            if many {
                output::remark(&format!("input {index} failed: {why}"));
            }
            first_failure.get_or_insert(why);
        }
        index += 1;
    }
    match first_failure {
        None => Ok(()),
        Some(_) if many => Err(Exit::failed(format!("{failed} of {index} inputs failed"))),
        Some(why) => Err(Exit::failed(format!("{} failed: {why}", desk.name()))),
    }
}

/// Prints one output; on stderr what the function printed, and the times if they are asked for.
fn print(index: u64, attempt: &Attempt, verbose: bool, form: OutputForm) -> Result<(), Exit> {
    let mut out = Out::new();
    match form {
        OutputForm::Json => out.object(&DeskResult::new(index, attempt))?,
        // A failed input is an empty line, so that line i is input i.
        OutputForm::Table => {
            if !attempt.log().is_empty() {
                output::remark(attempt.log().trim_end_matches('\n'));
            }
            out.output(&attempt.output)?;
        }
    }
    out.flush()?;
    if verbose {
        output::remark(&format!("input {index}: {}", attempt.times()));
    }
    Ok(())
}
