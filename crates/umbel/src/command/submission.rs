//! What `map` and `job submit` share: a target or program, inputs, a policy.

use umbel_client::{Client, JobSpec, Upload};

use super::policy::PolicyArgs;
use super::words::{distinct, label};
use crate::exit::Exit;
use crate::input::{InputArgs, Inputs};
use crate::output;
use crate::signal::Signals;

/// A job, as flags.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SubmissionArgs {
    /// The function that each input is given to
    #[arg(
        value_name = "TARGET",
        required_unless_present = "program",
        conflicts_with = "program"
    )]
    target: Option<String>,
    /// In place of a function: the program that is run for each input, on stdin or where {} stands
    #[arg(last = true, value_name = "PROGRAM", num_args = 1..)]
    program: Vec<String>,
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Makes the submit idempotent: the same id gives the same job [default: a new UUID]
    #[arg(long, value_name = "TEXT", help_heading = "Job")]
    request_id: Option<String>,
    /// A name for people; the job can be found by it
    #[arg(long, value_name = "TEXT", help_heading = "Job")]
    name: Option<String>,
    /// A key and value for people and filters, at most 32; may be repeated
    #[arg(long, value_name = "K=V", value_parser = label, help_heading = "Job")]
    label: Vec<(String, String)>,
}

impl SubmissionArgs {
    /// Whether another process may go on with this submission.
    pub(crate) const fn can_be_resumed(&self) -> bool {
        self.request_id.is_some()
    }

    /// What to run, and how.
    pub(crate) fn spec(&self) -> Result<JobSpec, Exit> {
        let spec = match (&self.target, self.program.as_slice()) {
            (Some(target), []) => JobSpec::function(target),
            (None, argv @ [_, ..]) => JobSpec::program(argv),
            _ => return Err(Exit::usage("name a target, or a program behind --")),
        };
        let spec = spec
            .policy(self.policy.clone().into())
            .name(self.name.as_deref().unwrap_or(""));
        self.policy.check().map_err(Exit::usage)?;
        let labels = distinct("--label", &self.label).map_err(Exit::usage)?;
        Ok(labels
            .into_iter()
            .fold(spec, |spec, (key, value)| spec.label(key, value)))
    }

    /// Has the job accepted, and says on stderr what is worth a person's notice.
    pub(crate) async fn begin(
        &self,
        client: &Client,
        spec: JobSpec,
        signals: &mut Signals,
    ) -> Result<Upload<'static>, Exit> {
        let inputs = self.inputs.open()?;
        let mut submission = client.submit(spec);
        if let Some(id) = &self.request_id {
            submission = submission.request_id(id);
        }
        let begin = async {
            match inputs {
                Inputs::Range(range) => submission.begin_range(range).await,
                Inputs::Stream(inputs) => submission.begin(inputs).await,
            }
        };
        let upload = tokio::select! {
            upload = begin => upload?,
            () = signals.next() => {
                return Err(Exit::interrupted("interrupted before the job was accepted"));
            }
        };
        for warning in upload.warnings() {
            output::remark(&format!("warning: {warning}"));
        }
        // Inputs inside the request were compared; of those that stream, only the number is.
        if upload.existed() && upload.job().sealed && !upload.is_complete() {
            output::remark(&format!(
                "warning: the request id was used before; job {} keeps the inputs that it has, and \
                 only the number of those at hand is compared",
                upload.job().id
            ));
        }
        Ok(upload)
    }
}

/// An error behind the acceptance of a job: who cannot reach the coordinator any more should
/// know what goes on without him.
pub(crate) fn after_acceptance(job: &str, error: umbel_client::Error) -> Exit {
    match error {
        umbel_client::Error::Unreachable { .. } => Exit::unreachable(format!(
            "{error}; job {job} is accepted and goes on with its coordinator: umbel job watch {job}"
        )),
        error => error.into(),
    }
}

/// Says that a job has nothing to do, where the coordinator could not know when it accepted it.
pub(crate) fn warn_if_empty(job: &umbel_client::v1::Job) {
    if job.counts.unwrap_or_default().total == 0 {
        output::remark("warning: the source has no inputs, so the job has nothing to do");
    }
}

/// How a command that waited for a job ends.
pub(crate) fn verdict(job: &umbel_client::v1::Job) -> Result<(), Exit> {
    use umbel_client::v1::JobState;
    match (job.state(), &job.failure) {
        (JobState::Succeeded, _) => Ok(()),
        (JobState::Cancelled, _) => Err(Exit::failed(format!("job {} was cancelled", job.id))),
        (_, Some(failure)) => Err(Exit::failed(format!(
            "job {} failed: {}",
            job.id, failure.message
        ))),
        (_, None) => Err(Exit::failed(format!("job {} failed", job.id))),
    }
}
