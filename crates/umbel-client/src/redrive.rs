//! Running again what failed or was not run.

use std::ops::Range;

use umbel_proto::v1;
use uuid::Uuid;

use crate::patience::Patience;
use crate::{Client, Error};

/// What of a failed or cancelled job runs again, or what of any ended job ended on an arm, and what
/// runs it.
///
/// ```
/// use umbel_client::Redrive;
///
/// let fixed = Redrive::default().failed().of_type("ValueError").target("resize-fixed");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Redrive {
    filter: v1::RedriveFilter,
    target: String,
    program: Option<v1::Program>,
    request_id: Option<String>,
}

impl Redrive {
    /// Failed invocations.
    #[must_use]
    pub fn failed(mut self) -> Self {
        self.filter.failed = true;
        self
    }

    /// Cancelled invocations. If neither is said, both are meant, or only failed ones where types
    /// are named.
    #[must_use]
    pub fn cancelled(mut self) -> Self {
        self.filter.cancelled = true;
        self
    }

    /// Only those in this range of indices, or in another one that is named too; at most 1,000.
    #[must_use]
    pub fn indices(mut self, indices: Range<u64>) -> Self {
        self.filter.ranges.push(v1::IndexRange {
            begin: indices.start,
            end: indices.end,
        });
        self
    }

    /// Of the failed ones only those whose failure has this type, or another one that is named
    /// too; at most 32.
    #[must_use]
    pub fn of_type(mut self, error_type: impl Into<String>) -> Self {
        self.filter.types.push(error_type.into());
        self
    }

    /// Only those that ended on the arm of this name: succeeded and failed ones, or only failed ones
    /// if those or types are named. They are routed anew. A job that has succeeded can be redriven
    /// this way alone.
    #[must_use]
    pub fn on_arm(mut self, arm: impl Into<String>) -> Self {
        self.filter.arm = arm.into();
        self
    }

    /// Another function runs it from now on.
    #[must_use]
    pub fn target(mut self, function: impl Into<String>) -> Self {
        self.target = function.into();
        self
    }

    /// A program runs it from now on.
    #[must_use]
    pub fn program<S: Into<String>>(mut self, argv: impl IntoIterator<Item = S>) -> Self {
        let argv = argv.into_iter().map(Into::into).collect();
        self.program = Some(v1::Program { argv });
        self
    }

    /// Makes it idempotent: with the id of the job's latest redrive nothing new begins.
    #[must_use]
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }
}

impl Client {
    /// Runs again what of a failed or cancelled job failed or was not run.
    ///
    /// # Errors
    /// `UNKNOWN_JOB`, `JOB_RUNNING`, `NOT_REDRIVABLE`, `NOTHING_TO_REDRIVE`, `BAD_REQUEST` for a
    /// filter that names nothing, or the coordinator cannot be reached.
    pub async fn redrive(
        &self,
        job: &str,
        redrive: Redrive,
    ) -> Result<v1::RedriveJobResponse, Error> {
        let request_id = redrive.request_id;
        let request = v1::RedriveJobRequest {
            job_id: job.to_owned(),
            request_id: request_id.unwrap_or_else(|| Uuid::new_v4().to_string()),
            filter: Some(redrive.filter),
            target: redrive.target,
            program: redrive.program,
        };
        let mut patience = Patience::new(self);
        loop {
            // The request id makes it safe to ask again after a link broke in between.
            match self.answer(self.jobs().redrive_job(request.clone()).await) {
                Ok(response) => return Ok(response.into_inner()),
                Err(error) => patience.bear(error).await?,
            }
        }
    }
}
