//! `umbel job submit`.

use umbel_client::{Client, Error, Upload, v1};

use super::watch;
use crate::command::submission::{SubmissionArgs, after_acceptance, verdict, warn_if_empty};
use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, Job, Progress};
use crate::signal::Signals;

const EXAMPLES: &str = "\
Nothing runs before all inputs have arrived. The id is printed at once.

Examples:
  umbel job submit umbel.increment --range 0..1000000
  umbel job submit --inputs urls.txt --name crawl -- curl -fsS {}
  cat people.json | umbel job submit umbel.echo --inputs - --format json --wait";

/// What is said of a job whose upload can be taken up again.
const GOES_ON: &str =
    "has not all of its inputs; the same command with the same --request-id goes on";

/// The arguments of `job submit`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    submission: SubmissionArgs,
    /// Wait for the job to end; its summary goes to stderr
    #[arg(long, help_heading = "Job")]
    wait: bool,
}

/// Submits, and waits if that is asked for.
pub(crate) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let client = Client::connect(&global.coordinator)?;
    let mut signals = Signals::listen()?;
    let upload = args
        .submission
        .begin(&client, args.submission.spec()?, &mut signals)
        .await?;
    match global.output {
        OutputForm::Json => output::document(&Job::from(upload.job()))?,
        OutputForm::Table => output::line(&upload.job().id)?,
    }
    let resumable = args.submission.can_be_resumed();
    let job = send(&client, upload, resumable, &mut signals).await?;
    if !args.wait {
        return Ok(());
    }
    let mut progress = Progress::new();
    let ended = watch::follow(&client, &job.id, &mut signals, |job| {
        progress.show(job);
        Ok(())
    })
    .await;
    progress.clear();
    let job = ended?;
    output::remark(&output::summary(&job));
    verdict(&job)
}

/// Sends the inputs. Half a job is of use only to who can go on with it.
async fn send(
    client: &Client,
    upload: Upload<'static>,
    resumable: bool,
    signals: &mut Signals,
) -> Result<v1::Job, Exit> {
    let (id, complete) = (upload.job().id.clone(), upload.is_complete());
    tokio::select! {
        sent = upload.finish() => match sent {
            Ok(job) => {
                if !complete {
                    warn_if_empty(&job);
                }
                return Ok(job);
            }
            Err(error @ (Error::Source(_) | Error::InputTooLarge { .. })) => {
                output::remark(&format!("job {id} is cancelled"));
                return Err(error.into());
            }
            Err(error @ Error::Refused(_)) if resumable => {
                output::remark(&format!("job {id} {GOES_ON}"));
                return Err(error.into());
            }
            // Its id stands on stdout already, though the store may have become full since.
            Err(error @ Error::Refused(_)) if !error.is_passing() => {
                if client.cancel(&id).await.is_ok() {
                    output::remark(&format!("job {id} had not all of its inputs and is cancelled"));
                }
                return Err(error.into());
            }
            Err(error) => return Err(after_acceptance(&id, error)),
        },
        () = signals.next() => {}
    }
    if resumable {
        return Err(Exit::interrupted(format!("job {id} {GOES_ON}")));
    }
    match signals.unless_again(client.cancel(&id)).await? {
        Ok(_) => Err(Exit::interrupted(format!(
            "job {id} had not all of its inputs and is cancelled"
        ))),
        Err(error) => Err(after_acceptance(&id, error)),
    }
}
