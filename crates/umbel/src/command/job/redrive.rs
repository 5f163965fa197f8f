//! `umbel job redrive`.

use std::ops::Range;

use serde::Serialize;
use umbel_client::{Client, Redrive, v1};

use super::watch;
use crate::command::submission::verdict;
use crate::command::words::indices;
use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, Job, Progress};
use crate::signal::Signals;

const EXAMPLES: &str = "\
What succeeded stays, unless --arm takes back all that ended on an arm, such as one that was rolled
back: of any ended job, to be routed anew. What runs again has all its attempts anew, and its result replaces the
earlier one; a deadline of the job is counted anew. Of a published function it runs the version
that it ran before, wherever the alias points now, unless --target names another. What was cancelled and is left out leaves the
job cancelled in the end, to be redriven later.

Examples:
  umbel job redrive last --failed
  umbel job redrive crawl --type TimeoutError --type ExitCode --wait
  umbel job redrive last --cancelled --index 0..1000
  umbel job redrive last --failed --target resize-fixed
  umbel job redrive last --arm 8
  umbel job redrive last --failed -- curl -fsSL {}";

/// The arguments of `job redrive`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The job: its id, its name, or `last`; it must be failed or cancelled, or with --arm just have ended
    #[arg(value_name = "ID")]
    job: String,
    #[command(flatten)]
    filter: FilterArgs,
    /// Another function that runs it from now on
    #[arg(
        long,
        value_name = "TARGET",
        conflicts_with = "program",
        help_heading = "How"
    )]
    target: Option<String>,
    /// A program that runs it from now on
    #[arg(last = true, value_name = "PROGRAM", num_args = 1..)]
    program: Vec<String>,
    /// Makes it idempotent: the id of the latest redrive begins nothing new [default: a new UUID]
    #[arg(long, value_name = "TEXT", help_heading = "How")]
    request_id: Option<String>,
    /// Wait for the job to end; its summary goes to stderr
    #[arg(long, help_heading = "How")]
    wait: bool,
}

/// What runs again; nothing is no answer.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
#[command(next_help_heading = "What runs again, at least one of these")]
struct FilterArgs {
    /// What failed
    #[arg(long)]
    failed: bool,
    /// What was cancelled with its job, and so not run
    #[arg(long)]
    cancelled: bool,
    /// Only this input, or only these, half open; failed and cancelled ones unless one is named; may be repeated
    #[arg(long, value_name = "I|A..B", value_parser = indices)]
    index: Vec<Range<u64>>,
    /// Of what failed only failures of this type, such as ValueError or ExitCode; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only what ended on this arm, succeeded and failed alike, or only --failed; it is routed anew.
    /// Until it has ended again, its earlier results are not shown
    #[arg(long, value_name = "NAME", conflicts_with = "cancelled")]
    arm: Option<String>,
}

/// A job that was redriven.
#[derive(Serialize)]
struct Redriven<'a> {
    #[serde(flatten)]
    job: Job<'a>,
    /// How many invocations run again.
    redriven: u64,
}

impl Args {
    fn redrive(&self) -> Redrive {
        let filter = &self.filter;
        let mut redrive = Redrive::default();
        if filter.failed {
            redrive = redrive.failed();
        }
        if filter.cancelled {
            redrive = redrive.cancelled();
        }
        for range in &filter.index {
            redrive = redrive.indices(range.clone());
        }
        for error_type in &filter.types {
            redrive = redrive.of_type(error_type);
        }
        if let Some(arm) = &filter.arm {
            redrive = redrive.on_arm(arm);
        }
        if let Some(target) = &self.target {
            redrive = redrive.target(target);
        }
        if !self.program.is_empty() {
            redrive = redrive.program(&self.program);
        }
        match &self.request_id {
            Some(id) => redrive.request_id(id),
            None => redrive,
        }
    }
}

pub(super) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let client = Client::connect(&global.coordinator)?;
    let mut signals = Signals::listen()?;
    let response = client.redrive(&args.job, args.redrive()).await?;
    for warning in &response.warnings {
        output::remark(&format!("warning: {warning}"));
    }
    let job = response.job.unwrap_or_default();
    let document = |job: &v1::Job| {
        output::document(&Redriven {
            job: Job::from(job),
            redriven: response.invocations,
        })
    };
    let json = global.output == OutputForm::Json;
    if !json {
        output::line(&words(&job, response.invocations, response.existed))?;
    }
    if !args.wait {
        return if json { document(&job) } else { Ok(()) };
    }
    let mut progress = Progress::new();
    let ended = watch::follow(&client, &job.id, &mut signals, |job| {
        progress.show(job);
        Ok(())
    })
    .await;
    progress.clear();
    let job = ended?;
    // One document, of the job as it ended.
    if json {
        document(&job)?;
    }
    output::remark(&output::summary(&job));
    verdict(&job)
}

fn words(job: &v1::Job, invocations: u64, existed: bool) -> String {
    let (id, redrive) = (&job.id, job.redrives);
    let what = match invocations {
        1 => "1 invocation".to_owned(),
        count => format!("{} invocations", output::count(count)),
    };
    let known = if existed { ", as asked for before" } else { "" };
    format!("job {id}: {what} run again, redrive {redrive}{known}")
}
