//! `umbel job logs`.

use futures::StreamExt as _;
use serde::Serialize;
use umbel_client::{Client, LogsOptions, v1};

use crate::command::submission::after_acceptance;
use crate::command::words::indices;
use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, Out};

const EXAMPLES: &str = "\
Examples:
  umbel job logs last
  umbel job logs last --index 17
  umbel job logs last --follow --output json

What a failed invocation printed is kept always, also of earlier redrives (of one index, the last
is shown); of those that succeed it is kept where the job asked for it: `umbel map ... --logs all`
or `--logs 5%`.";

/// Logs that are printed as one when they are there together.
const AT_ONCE: usize = 256;

/// The arguments of `job logs`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The job: its id, its name, or `last`
    #[arg(value_name = "ID")]
    job: String,
    /// Only of this input, or of these, half open; of one the text alone is printed
    #[arg(long, value_name = "I|A..B", value_parser = indices)]
    index: Option<std::ops::Range<u64>>,
    /// Wait for logs that are not there yet, until the job has ended
    #[arg(long)]
    follow: bool,
}

/// What an invocation printed.
#[derive(Debug, Serialize)]
struct Log<'a> {
    index: u64,
    state: &'static str,
    attempt: u32,
    redrive: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    worker: &'a str,
    log: &'a str,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let client = Client::connect(&global.coordinator)?;
    // By its id: `last` may be another job when the link breaks.
    let job = client.get(&args.job).await?;
    judge(&job, args.index.as_ref())?;
    let is_one = args
        .index
        .as_ref()
        .is_some_and(|one| one.end - one.start == 1);
    let mut options = LogsOptions::default();
    if args.follow {
        options = options.follow();
    }
    if let Some(range) = args.index.clone() {
        options = options.range(range);
    }
    // Of one that was redriven the last says what came of it, and only the last is printed.
    let last_only = is_one && !args.follow && job.redrives > 0;
    let mut last = None;
    let mut ready = client.logs(&job.id, options).ready_chunks(AT_ONCE);
    let mut any = false;
    while let Some(logs) = ready.next().await {
        let mut out = Out::new();
        for log in logs {
            let log = log.map_err(|error| after_acceptance(&job.id, error))?;
            any = true;
            match global.output {
                OutputForm::Json => out.object(&object(&log))?,
                OutputForm::Table if last_only => last = Some(log),
                OutputForm::Table if is_one => out.output(log.text.as_bytes())?,
                OutputForm::Table => lines(&mut out, &log)?,
            }
        }
        out.flush()?;
    }
    if let Some(log) = last {
        let mut out = Out::new();
        out.output(log.text.as_bytes())?;
        out.flush()?;
        let stands = client.invocation(&job.id, log.index).await?;
        if !is_of(&log, &stands) {
            output::remark(&earlier(&log, &stands));
        }
    }
    if !any && global.output == OutputForm::Table {
        output::remark(&none(&job, args.index.as_ref()));
    }
    Ok(())
}

/// Whether a log is of the attempt that an invocation's result is of, and of no earlier redrive's.
fn is_of(log: &v1::InvocationLog, stands: &v1::Invocation) -> bool {
    let result = stands.result.as_ref();
    result.is_some_and(|result| {
        (result.state, result.attempts, &result.worker) == (log.state, log.attempt, &log.worker)
    })
}

fn earlier(log: &v1::InvocationLog, stands: &v1::Invocation) -> String {
    let before = output::invocation_state(log.state());
    let now = output::invocation_state(stands.state());
    format!(
        "this was printed before the redrive, when input {} {before}; its state is {now} now, and nothing that was printed since is kept",
        log.index
    )
}

/// Refuses indices that the job does not have.
fn judge(job: &v1::Job, wanted: Option<&std::ops::Range<u64>>) -> Result<(), Exit> {
    let total = job.counts.unwrap_or_default().total;
    match wanted {
        Some(range) if job.sealed && range.start >= total => Err(Exit::refused(format!(
            "job {} has no input {}: it has {}, counted from 0",
            job.id,
            range.start,
            output::count(total)
        ))),
        _ => Ok(()),
    }
}

fn object(log: &v1::InvocationLog) -> Log<'_> {
    Log {
        index: log.index,
        state: output::invocation_state(log.state()),
        attempt: log.attempt,
        redrive: log.redrive,
        worker: &log.worker,
        log: &log.text,
    }
}

/// Each line with the index before it, so that `grep` and `cut` do the rest, and with the redrive
/// that it is of, if it is of one.
fn lines(out: &mut Out, log: &v1::InvocationLog) -> Result<(), Exit> {
    let index = log.index;
    let of = match log.redrive {
        0 => String::new(),
        redrive => format!("redrive {redrive}: "),
    };
    for line in log.text.lines() {
        out.output(format!("{index:>9} | {of}{line}").as_bytes())?;
    }
    Ok(())
}

fn none(job: &v1::Job, wanted: Option<&std::ops::Range<u64>>) -> String {
    let who = match wanted {
        Some(one) if one.end - one.start == 1 => format!("input {} printed nothing", one.start),
        Some(some) => format!("inputs {} to {} printed nothing", some.start, some.end - 1),
        None => "nothing was printed".to_owned(),
    };
    let yet = if job.finished_at.is_some() {
        ""
    } else {
        " yet"
    };
    format!(
        "{who}{yet}, or none of it is kept: of invocations that succeed the log is kept with --logs all or --logs P%"
    )
}
