//! `umbel job watch`.

use std::pin::pin;

use futures::TryStreamExt as _;
use umbel_client::{Client, v1};

use crate::command::submission::{after_acceptance, verdict};
use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, Job, Progress};
use crate::signal::Signals;

const EXAMPLES: &str = "\
Ctrl-C leaves the job running.

Examples:
  umbel job watch last
  umbel job watch crawl --output json";

/// The arguments of `job watch`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The job: its id, its name, or `last`
    #[arg(value_name = "ID")]
    job: String,
}

/// Follows the job to its end.
pub(crate) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let client = Client::connect(&global.coordinator)?;
    let mut signals = Signals::listen()?;
    let mut progress = Progress::new();
    let ended = follow(&client, &args.job, &mut signals, |job| {
        match global.output {
            OutputForm::Json => output::document(&Job::from(job)),
            OutputForm::Table => {
                progress.show(job);
                Ok(())
            }
        }
    })
    .await;
    progress.clear();
    let job = ended?;
    if global.output == OutputForm::Table {
        output::line(&output::summary(&job))?;
    }
    verdict(&job)
}

/// Shows each state of a job, and tells the last. Ctrl-C leaves the job running.
pub(super) async fn follow(
    client: &Client,
    job: &str,
    signals: &mut Signals,
    mut show: impl FnMut(&v1::Job) -> Result<(), Exit>,
) -> Result<v1::Job, Exit> {
    let mut states = pin!(client.watch(job));
    let mut last: Option<v1::Job> = None;
    loop {
        // The id, once it is known: a name may mean another job later.
        let id = last.as_ref().map_or(job, |job| job.id.as_str());
        let state = tokio::select! {
            state = states.try_next() => match (state, &last) {
                (Ok(state), _) => state,
                (Err(error), Some(_)) => return Err(after_acceptance(id, error)),
                (Err(error), None) => return Err(error.into()),
            },
            () = signals.next() => {
                return Err(Exit::interrupted(format!(
                    "job {id} goes on; come back with: umbel job watch {id}"
                )));
            }
        };
        match (state, last) {
            (Some(state), _) => {
                show(&state)?;
                last = Some(state);
            }
            (None, Some(last)) => return Ok(last),
            (None, None) => return Err(Exit::refused("the coordinator told no state of the job")),
        }
    }
}
