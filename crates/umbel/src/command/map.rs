//! `umbel map`: submit, follow, and print outputs in input order.

use futures::StreamExt as _;
use tokio::task::JoinHandle;
use umbel_client::{Client, Error, ResultsOptions, Upload, v1};

use super::submission::{SubmissionArgs, after_acceptance, verdict, warn_if_empty};
use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, JobResult, Out, Progress};
use crate::signal::Signals;

const EXAMPLES: &str = "\
Line i of what is printed is the output of input i; a failed one is an empty line, and its failure
stands on stderr. Outputs that hold newlines need --output json. Ctrl-C cancels the job.

Examples:
  seq 1000 | umbel map umbel.increment --inputs -
  umbel map --inputs urls.txt --max-concurrency 8 -- curl -fsS {}
  umbel map umbel.echo --inputs people.csv --format csv --output json";

/// The arguments of `map`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    submission: SubmissionArgs,
}

/// Runs it to the end of the job.
pub(crate) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let client = Client::connect(&global.coordinator)?;
    let mut signals = Signals::listen()?;
    let spec = args.submission.spec()?.start_as_appended();
    let upload = args.submission.begin(&client, spec, &mut signals).await?;
    let id = upload.job().id.clone();
    let progress = Progress::beside_outputs();
    let watching = progress
        .is_shown()
        .then(|| watch(client.clone(), id.clone(), progress.clone()));
    let ended = tokio::select! {
        ended = follow(&client, upload, global.output, &progress) => ended,
        () = signals.next() => Err(Exit::interrupted(format!("job {id} is cancelled"))),
    };
    if let Some(watching) = watching {
        watching.abort();
    }
    progress.clear();
    match ended {
        Ok(job) => {
            progress.epilogue(&output::summary(&job));
            verdict(&job)
        }
        Err(exit @ Exit::Interrupted(_)) => cancel(&client, &id, &mut signals).await.and(Err(exit)),
        Err(Exit::StdoutClosed) => {
            cancel(&client, &id, &mut signals).await?;
            Err(Exit::failed(format!(
                "stdout was closed, so job {id} is cancelled"
            )))
        }
        // Nobody would see the outputs that are still to come.
        Err(exit @ Exit::Stdout(_)) => {
            cancel(&client, &id, &mut signals).await?;
            Err(Exit::internal(format!("{exit}; job {id} is cancelled")))
        }
        Err(exit) => Err(exit),
    }
}

async fn cancel(client: &Client, id: &str, signals: &mut Signals) -> Result<(), Exit> {
    match signals.unless_again(client.cancel(id)).await? {
        Ok(_) => Ok(()),
        // It ended by itself in the meantime.
        Err(error) if error.reason() == Some("JOB_FINISHED") => Ok(()),
        Err(error) => Err(after_acceptance(id, error)),
    }
}

/// Sends the inputs while the outputs are printed, and tells how the job ended.
async fn follow(
    client: &Client,
    upload: Upload<'static>,
    form: OutputForm,
    progress: &Progress,
) -> Result<v1::Job, Exit> {
    let (id, complete) = (upload.job().id.clone(), upload.is_complete());
    let printing = print(client.clone(), id.clone(), form, progress.clone());
    // On tasks of their own, so that a slow stdout holds up neither the upload nor Ctrl-C.
    let (mut uploading, mut printing) = (
        Abort(tokio::spawn(upload.finish())),
        Abort(tokio::spawn(printing)),
    );
    let mut uploaded = false;
    loop {
        tokio::select! {
            sent = &mut uploading.0, if !uploaded => {
                uploaded = true;
                match joined(sent)? {
                    Ok(job) if !complete => warn_if_empty(&job),
                    Ok(_) => {}
                    // It ended early, as more failed than is tolerated; its results say so.
                    Err(error) if error.reason() == Some("JOB_FINISHED") => {}
                    Err(error @ (Error::Source(_) | Error::InputTooLarge { .. })) => {
                        return Err(error.into());
                    }
                    // Nobody else has the rest of its inputs.
                    Err(error @ Error::Refused(_)) if !error.is_passing() => {
                        if client.cancel(&id).await.is_ok() {
                            output::remark(&format!("job {id} is cancelled"));
                        }
                        return Err(error.into());
                    }
                    Err(error) => return Err(after_acceptance(&id, error)),
                }
            }
            printed = &mut printing.0 => {
                joined(printed)??;
                return client.wait(&id).await.map_err(|error| after_acceptance(&id, error));
            }
        }
    }
}

/// A task that ends with whoever waits for it.
struct Abort<T>(JoinHandle<T>);

impl<T> Drop for Abort<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn joined<T>(joined: Result<T, tokio::task::JoinError>) -> Result<T, Exit> {
    joined.map_err(|error| Exit::internal(format!("a part of the command ended: {error}")))
}

/// Results that are printed as one when they are there together.
const RESULTS_AT_ONCE: usize = 4_096;

async fn print(
    client: Client,
    id: String,
    form: OutputForm,
    progress: Progress,
) -> Result<(), Exit> {
    let options = ResultsOptions::default().follow();
    let mut ready = client.results(&id, options).ready_chunks(RESULTS_AT_ONCE);
    while let Some(results) = ready.next().await {
        let mut out = Out::new();
        for result in results {
            let result = match result {
                Ok(result) => result,
                Err(error) => {
                    // What came before it was recorded all the same.
                    out.flush()?;
                    return Err(after_acceptance(&id, error));
                }
            };
            match form {
                OutputForm::Json => out.object(&JobResult::from(&result))?,
                OutputForm::Table => out.output(&result.output)?,
            }
            if let Some(failure) = &result.failure {
                progress.remark(&output::failure_line(
                    result.index,
                    failure,
                    result.attempts,
                    &result.worker,
                ));
            }
        }
        out.flush()?;
    }
    Ok(())
}

fn watch(client: Client, id: String, mut progress: Progress) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut states = std::pin::pin!(client.watch(&id));
        while let Some(Ok(job)) = states.next().await {
            progress.show(&job);
        }
    })
}
