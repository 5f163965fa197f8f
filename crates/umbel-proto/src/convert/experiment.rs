//! What is asked of an experiment.

use umbel_core::limit::{ARM_NAME_BYTES_MAX, METRICS_MAX, ROUTE_KEY_BYTES_MAX};

use super::function::{alias_name, function_name};
use super::{Invalid, job_ref};
use crate::v1;

/// A difference of failure rates that counts as none, unless the request says otherwise.
const WITHIN_RATE: f64 = 0.005;
/// A difference of times and metrics that counts as none, as a part of the baseline's.
const WITHIN_PART: f64 = 0.05;

/// What is asked of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// The function.
    pub function: String,
    /// The alias.
    pub alias: String,
    /// Since when, milliseconds since 1970; none: since the route was set.
    pub since_ms: Option<u64>,
    /// Of which job; none: of whatever came to the alias.
    pub job: Option<String>,
    /// Numbers in outputs.
    pub metrics: Vec<MetricWish>,
    /// The arm that others are held against; none: the one that has most of the split.
    pub baseline: Option<String>,
    /// A difference of failure rates that counts as none.
    pub within_rate: f64,
    /// A difference of times and metrics that counts as none, as a part of the baseline's.
    pub within_part: f64,
}

/// A number in outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricWish {
    /// A JSON pointer; whether it is one is not looked at.
    pub pointer: String,
    /// Whether less of it is better.
    pub less_is_better: bool,
}

/// Reads a request for an experiment.
///
/// # Errors
/// When a field is missing or over its limit.
pub fn experiment(request: v1::GetExperimentRequest) -> Result<Experiment, Invalid> {
    let function = function_name("function", request.function)?;
    let alias = alias_name("alias", request.alias)?;
    let since_ms = request.since.map(|since| {
        let ms = i128::from(since.seconds) * 1_000 + i128::from(since.nanos / 1_000_000);
        u64::try_from(ms).map_err(|_| Invalid::bad("since", "it is before 1970 or no time at all"))
    });
    let since_ms = since_ms.transpose()?;
    let job = Some(request.job_id).filter(|job| !job.is_empty());
    if let Some(job) = &job {
        job_ref(job)?;
        if since_ms.is_some() {
            let words = "a job is compared as a whole; leave the time out, or the job";
            return Err(Invalid::bad("since", words));
        }
    }
    if request.metrics.len() > METRICS_MAX {
        let words = format!(
            "there are {}, the limit is {METRICS_MAX}",
            request.metrics.len()
        );
        return Err(Invalid::bad("metrics", words));
    }
    let metrics = request.metrics.into_iter().enumerate().map(|(at, metric)| {
        let bytes = metric.pointer.len();
        if bytes > ROUTE_KEY_BYTES_MAX {
            let words = format!("it has {bytes} bytes, the limit is {ROUTE_KEY_BYTES_MAX}");
            return Err(Invalid::bad(format!("metrics[{at}].pointer"), words));
        }
        Ok(MetricWish {
            pointer: metric.pointer,
            less_is_better: metric.less_is_better,
        })
    });
    let metrics = metrics.collect::<Result<_, Invalid>>()?;
    if request.baseline.len() > ARM_NAME_BYTES_MAX {
        let bytes = request.baseline.len();
        let words = format!("it has {bytes} bytes, the limit is {ARM_NAME_BYTES_MAX}");
        return Err(Invalid::bad("baseline", words));
    }
    Ok(Experiment {
        function,
        alias,
        since_ms,
        job,
        metrics,
        baseline: Some(request.baseline).filter(|name| !name.is_empty()),
        within_rate: within("within_rate", request.within_rate, WITHIN_RATE)?,
        within_part: within("within_part", request.within_part, WITHIN_PART)?,
    })
}

fn within(field: &str, asked: Option<f64>, default: f64) -> Result<f64, Invalid> {
    let within = asked.unwrap_or(default);
    if (0.0..=1.0).contains(&within) {
        return Ok(within);
    }
    let words = format!("it is {within}; a difference that counts as none is from 0 to 1");
    Err(Invalid::bad(field, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> v1::GetExperimentRequest {
        v1::GetExperimentRequest {
            function: "f".to_owned(),
            alias: "live".to_owned(),
            ..v1::GetExperimentRequest::default()
        }
    }

    #[test]
    fn defaults_are_those_of_the_document() {
        let asked = experiment(request()).unwrap();
        assert_eq!(
            (asked.since_ms, asked.job, asked.baseline),
            (None, None, None)
        );
        assert!((asked.within_rate - 0.005).abs() < 1e-12);
        assert!((asked.within_part - 0.05).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_asked_names_its_field() {
        let since = |seconds| prost_types::Timestamp { seconds, nanos: 0 };
        let metric = |pointer: String| v1::Metric {
            pointer,
            less_is_better: false,
        };
        let wrong = [
            (
                "alias",
                v1::GetExperimentRequest {
                    alias: String::new(),
                    ..request()
                },
            ),
            (
                "since",
                v1::GetExperimentRequest {
                    since: Some(since(-1)),
                    ..request()
                },
            ),
            (
                "since",
                v1::GetExperimentRequest {
                    since: Some(since(1)),
                    job_id: "last".to_owned(),
                    ..request()
                },
            ),
            (
                "metrics",
                v1::GetExperimentRequest {
                    metrics: vec![metric("/a".to_owned()); METRICS_MAX + 1],
                    ..request()
                },
            ),
            (
                "metrics[0].pointer",
                v1::GetExperimentRequest {
                    metrics: vec![metric("/".repeat(ROUTE_KEY_BYTES_MAX + 1))],
                    ..request()
                },
            ),
            (
                "within_rate",
                v1::GetExperimentRequest {
                    within_rate: Some(f64::NAN),
                    ..request()
                },
            ),
            (
                "within_part",
                v1::GetExperimentRequest {
                    within_part: Some(1.5),
                    ..request()
                },
            ),
        ];
        for (field, request) in wrong {
            let error = experiment(request).unwrap_err();
            assert!(error.to_string().contains(field), "{field}: {error}");
        }
    }
}
