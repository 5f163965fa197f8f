//! `umbel job results`.

use std::ops::Range;

use clap::ValueEnum;
use futures::StreamExt as _;
use umbel_client::{Client, ResultsOptions, v1};

use crate::command::submission::after_acceptance;
use crate::command::words::indices;
use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, JobResult, Out};

const EXAMPLES: &str = "\
Examples:
  umbel job results last
  umbel job results crawl --state failed --output json
  umbel job results last --index 7
  umbel job results last --index 100..200 --raw
  umbel job results last --follow --as-completed";

/// Results that are printed as one when they are there together.
const AT_ONCE: usize = 4_096;
const OUTPUT_WIDTH: usize = 36;

/// The arguments of `job results`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The job: its id, its name, or `last`
    #[arg(value_name = "ID")]
    job: String,
    /// Only this input, or only these, half open
    #[arg(long, value_name = "I|A..B", value_parser = indices)]
    index: Option<Range<u64>>,
    /// Only results in this state
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Wait for results that are not there yet, until the job has ended
    #[arg(long)]
    follow: bool,
    /// As they were recorded, not in input order
    #[arg(long)]
    as_completed: bool,
    /// Outputs alone, byte for byte, a newline added only where one is missing
    #[arg(long)]
    raw: bool,
}

/// A result's state, as a filter.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Succeeded,
    Failed,
    Cancelled,
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Raw,
    Json,
    Table,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let form = form(args.raw, global.output)?;
    let client = Client::connect(&global.coordinator)?;
    // By its id: `last` may be another job when the link breaks.
    let job = client.get(&args.job).await?;
    let mut ready = client
        .results(&job.id, options(&args))
        .ready_chunks(AT_ONCE);
    let mut any = false;
    while let Some(results) = ready.next().await {
        let mut out = Out::new();
        for result in results {
            let result = result.map_err(|error| after_acceptance(&job.id, error))?;
            if form == Form::Table && !any {
                out.output(TITLES.as_bytes())?;
            }
            any = true;
            print(&mut out, &result, form)?;
        }
        out.flush()?;
    }
    if !any && form == Form::Table {
        output::line(none(&job, &args))?;
    }
    Ok(())
}

fn form(raw: bool, output: OutputForm) -> Result<Form, Exit> {
    match (raw, output) {
        (true, OutputForm::Json) => Err(Exit::usage(
            "--raw prints outputs as they are and --output json as JSON; name one of the two",
        )),
        (true, OutputForm::Table) => Ok(Form::Raw),
        (false, OutputForm::Json) => Ok(Form::Json),
        (false, OutputForm::Table) => Ok(Form::Table),
    }
}

fn options(args: &Args) -> ResultsOptions {
    let mut options = ResultsOptions::default();
    if args.as_completed {
        options = options.as_completed();
    }
    if args.follow {
        options = options.follow();
    }
    if let Some(range) = &args.index {
        options = options.range(range.clone());
    }
    match args.state {
        None => options,
        Some(State::Succeeded) => options.state(v1::InvocationState::Succeeded),
        Some(State::Failed) => options.state(v1::InvocationState::Failed),
        Some(State::Cancelled) => options.state(v1::InvocationState::Cancelled),
    }
}

const TITLES: &str =
    "    INDEX  STATE      ATTEMPTS        TOOK  START  VERSION  OUTPUT OR FAILURE";

fn print(out: &mut Out, result: &v1::Result, form: Form) -> Result<(), Exit> {
    match form {
        Form::Json => out.object(&JobResult::from(result)),
        Form::Table => out.output(row(result).as_bytes()),
        Form::Raw => {
            if let Some(failure) = &result.failure {
                output::remark(&output::failure_line(
                    result.index,
                    failure,
                    result.attempts,
                    &result.worker,
                ));
            }
            out.output(&result.output)
        }
    }
}

fn row(result: &v1::Result) -> String {
    let text = match &result.failure {
        Some(failure) => output::failure_text(failure),
        None => String::from_utf8_lossy(&result.output)
            .trim_end_matches('\n')
            .to_owned(),
    };
    let took = result
        .duration_us
        .map_or_else(String::new, output::duration_us);
    let state = output::invocation_state(result.state());
    let (index, attempts) = (result.index, result.attempts);
    let start = if result.cold_start.is_some() {
        "cold"
    } else {
        ""
    };
    // Only of a published function there are any.
    let version = result.version.map(|version| version.to_string());
    let version = version.unwrap_or_default();
    let text = output::one_line(&text, OUTPUT_WIDTH);
    format!("{index:>9}  {state:<9}  {attempts:>8}  {took:>10}  {start:<5}  {version:>7}  {text}")
        .trim_end()
        .to_owned()
}

const fn none(job: &v1::Job, args: &Args) -> &'static str {
    if args.index.is_some() || args.state.is_some() {
        return "no such results; without --index and --state all are printed";
    }
    if args.follow || job.finished_at.is_some() {
        return "no results: the job had no inputs";
    }
    "no results yet; --follow waits for them, `umbel job explain` says what they wait for"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_not_printed_in_two_forms_at_once() {
        assert_eq!(form(true, OutputForm::Table), Ok(Form::Raw));
        assert_eq!(form(true, OutputForm::Json).unwrap_err().code(), 2);
    }

    #[test]
    fn a_row_fits_the_terminal_whatever_the_output_is() {
        let result = v1::Result {
            index: 99_999_999,
            state: v1::InvocationState::Succeeded as i32,
            output: vec![b'\n'; 10_000].into(),
            attempts: 1_000,
            duration_us: Some(59_999_999),
            cold_start: Some(v1::ColdStart::default()),
            version: Some(9_999_999),
            ..v1::Result::default()
        };
        let row = row(&result);
        assert!(row.chars().count() <= 100 && !row.contains('\n'), "{row}");
    }
}
