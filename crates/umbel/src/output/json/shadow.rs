//! Shadows, as they are printed.

use serde::Serialize;
use umbel_client::v1;

use super::shown;

/// A shadow, and what came of its copies.
#[derive(Debug, Serialize)]
pub(crate) struct Shadow<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<Standing<'a>>,
    jobs: Vec<Job<'a>>,
    cut: bool,
}

#[derive(Debug, Serialize)]
struct Standing<'a> {
    function: &'a str,
    alias: &'a str,
    to: u32,
    sample_percent: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    by: &'a str,
}

#[derive(Debug, Serialize)]
struct Job<'a> {
    job_id: &'a str,
    shadow_job_id: &'a str,
    to: u32,
    copied: u64,
    compared: u64,
    different: u64,
}

/// Something that came out otherwise.
#[derive(Debug, Serialize)]
pub(crate) struct ShadowDifference<'a> {
    pub(crate) job_id: &'a str,
    pub(crate) index: u64,
    pub(crate) shadow_job_id: &'a str,
    pub(crate) shadow_index: u64,
    pub(crate) outcome: String,
    pub(crate) shadow: String,
    pub(crate) difference: String,
}

impl<'a> From<&'a v1::GetShadowResponse> for Shadow<'a> {
    fn from(found: &'a v1::GetShadowResponse) -> Self {
        let shadow = found.shadow.as_ref().map(|shadow| Standing {
            function: &shadow.function,
            alias: &shadow.alias,
            to: shadow.to_version,
            sample_percent: f64::from(shadow.sample) / 100.0,
            since: shown(shadow.since.as_ref()),
            by: &shadow.by,
        });
        let jobs = found.jobs.iter().map(|job| Job {
            job_id: &job.job_id,
            shadow_job_id: &job.shadow_job_id,
            to: job.to_version,
            copied: job.copied,
            compared: job.compared,
            different: job.different,
        });
        Self {
            shadow,
            jobs: jobs.collect(),
            cut: found.cut,
        }
    }
}
