//! What to run, and how.

use umbel_proto::v1;

/// What a job runs, and how; without its inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSpec(v1::JobSpec);

impl JobSpec {
    /// A job that gives each input to a function, such as `umbel.increment`.
    pub fn function(target: impl Into<String>) -> Self {
        Self(v1::JobSpec {
            target: target.into(),
            ..v1::JobSpec::default()
        })
    }

    /// A job that runs a program for each input: on its standard input, or where an argument
    /// contains `{}`. No shell looks at it.
    pub fn program<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        let argv = argv.into_iter().map(Into::into).collect();
        Self(v1::JobSpec {
            program: Some(v1::Program { argv }),
            ..v1::JobSpec::default()
        })
    }

    /// A name for people, by which the job can be found.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.0.name = name.into();
        self
    }

    /// A key and a value for people and for filters.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.labels.insert(key.into(), value.into());
        self
    }

    /// How failures, time and room are handled.
    #[must_use]
    pub fn policy(mut self, policy: v1::Policy) -> Self {
        self.0.policy = Some(policy);
        self
    }

    /// Runs invocations as their inputs arrive, not only once all have.
    #[must_use]
    pub const fn start_as_appended(mut self) -> Self {
        self.0.start = v1::StartMode::AsAppended as i32;
        self
    }
}

impl From<JobSpec> for v1::JobSpec {
    fn from(spec: JobSpec) -> Self {
        spec.0
    }
}
