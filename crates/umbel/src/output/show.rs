//! Jobs and failures in words.

use umbel_client::v1;

use super::json::{failure_kind, job_state};
use super::text::{count, duration_us, one_line};

/// Columns that the names of a job's properties take.
const NAMES: usize = 10;
const MESSAGE_WIDTH: usize = 400;

/// A job, a property a line.
pub(crate) fn job_lines(job: &v1::Job) -> Vec<String> {
    let mut lines = Vec::new();
    let mut property = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!(
                "{name:<NAMES$}  {}",
                one_line(&value, 100 - NAMES - 2)
            ));
        }
    };
    let counts = job.counts.unwrap_or_default();
    let time = |time: Option<&_>| time.map_or_else(String::new, ToString::to_string);
    let labels: Vec<_> = job
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    property("id", job.id.clone());
    property("name", job.name.clone());
    let pinned = job
        .version
        .filter(|_| job.policy.as_ref().is_some_and(|p| p.pin()));
    let pinned = pinned.map(|number| format!(", pinned to version {number}"));
    property(
        "target",
        format!("{}{}", job.target, pinned.unwrap_or_default()),
    );
    if !job.shadow_of.is_empty() {
        property("copies of", format!("job {}", job.shadow_of));
    }
    property("state", state(job));
    property(
        "inputs",
        format!(
            "{}{}",
            count(counts.total),
            if job.sealed { "" } else { " so far" }
        ),
    );
    property("", parts(&counts));
    property("attempts", count(job.attempts));
    if job.redrives > 0 {
        property("redrives", count(job.redrives.into()));
    }
    if let Some(usage) = job.usage {
        property(
            "run time",
            format!("{} over all attempts", duration_us(usage.duration_us)),
        );
    }
    property("created", time(job.created_at.as_ref()));
    property("started", time(job.started_at.as_ref()));
    property("finished", time(job.finished_at.as_ref()));
    property("labels", labels.join(" "));
    lines
}

fn state(job: &v1::Job) -> String {
    match &job.failure {
        Some(failure) => format!("{}: {}", job_state(job.state()), failure.message),
        None => job_state(job.state()).to_owned(),
    }
}

/// The invocations by state, those states that have any.
fn parts(counts: &v1::Counts) -> String {
    let parts = [
        (counts.succeeded, "succeeded"),
        (counts.failed, "failed"),
        (counts.cancelled, "cancelled"),
        (counts.leased, "leased"),
        (counts.waiting, "waiting"),
    ];
    let parts: Vec<_> = parts
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, state)| format!("{} {state}", count(number)))
        .collect();
    parts.join(", ")
}

/// How an ended job went, in a line.
pub(crate) fn summary(job: &v1::Job) -> String {
    let counts = job.counts.unwrap_or_default();
    let parts = if counts.total == 0 {
        "it had no inputs".to_owned()
    } else {
        parts(&counts)
    };
    let took = match (job.created_at, job.finished_at) {
        (Some(created), Some(finished)) => {
            format!(
                " in {}",
                duration_us(micros(finished).saturating_sub(micros(created)))
            )
        }
        _ => String::new(),
    };
    format!("job {} {}{took}: {parts}", job.id, job_state(job.state()))
}

fn micros(time: prost_types::Timestamp) -> u64 {
    let micros = i128::from(time.seconds) * 1_000_000 + i128::from(time.nanos / 1_000);
    u64::try_from(micros).unwrap_or_default()
}

/// A failed invocation in a line. Without a worker it was never run, or ended with its job.
pub(crate) fn failure_line(
    index: u64,
    failure: &v1::Failure,
    attempts: u32,
    worker: &str,
) -> String {
    let plural = if attempts == 1 { "" } else { "s" };
    let place = if worker.is_empty() {
        String::new()
    } else {
        format!(" on {worker}")
    };
    format!(
        "input {index} failed{place}: {} ({attempts} attempt{plural})",
        failure_text(failure)
    )
}

/// A failure in a line.
pub(crate) fn failure_text(failure: &v1::Failure) -> String {
    let kind = failure_kind(failure.kind());
    let space = if failure.r#type.is_empty() { "" } else { " " };
    let type_ = one_line(&failure.r#type, MESSAGE_WIDTH);
    format!(
        "{kind}{space}{type_}: {}",
        one_line(&joined(&failure.message), MESSAGE_WIDTH)
    )
}

/// The lines of a message as one.
fn joined(message: &str) -> String {
    let lines = message.lines().map(str::trim_end);
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

/// A failure that no coordinator has heard of, with its words as they are.
pub(crate) fn runtime_failure_text(failure: &umbel_runtime::Failure) -> String {
    format!(
        "{} {}: {}",
        failure.kind, failure.error_type, failure.message
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_names_only_what_there_is() {
        let counts = v1::Counts {
            total: 1_002,
            succeeded: 1_000,
            failed: 2,
            ..Default::default()
        };
        let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let job = v1::Job {
            id: "x".to_owned(),
            state: v1::JobState::Failed as i32,
            counts: Some(counts),
            created_at: time(100),
            finished_at: time(103),
            ..v1::Job::default()
        };
        assert_eq!(
            summary(&job),
            "job x failed in 3.0 s: 1,000 succeeded, 2 failed"
        );
    }

    #[test]
    fn a_failure_says_which_input_and_why() {
        let failure = v1::Failure {
            kind: v1::FailureKind::Function as i32,
            r#type: "ExitCode".to_owned(),
            message: "it exited\nwith 2".to_owned(),
            stderr: String::new(),
        };
        assert_eq!(
            failure_line(5, &failure, 1, "w0"),
            "input 5 failed on w0: function ExitCode: it exited; with 2 (1 attempt)"
        );
        assert!(failure_line(5, &failure, 0, "").starts_with("input 5 failed: function"));
    }
}
