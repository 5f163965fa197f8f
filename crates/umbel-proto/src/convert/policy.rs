//! A policy, with its defaults filled in.

use std::collections::BTreeSet;

use umbel_core::limit::{ATTEMPTS_MAX, DURATION_MS_MAX, FAILURE_TYPE_BYTES_MAX, FAILURE_WORDS_MAX};
use umbel_core::outcome::FailureKind;
use umbel_core::policy::{BASIS_POINTS, Policy, Tolerance};

use super::Invalid;
use super::name::check_labels;
use crate::v1;

/// The type by which a worker fails an output over the limit.
const OUTPUT_TOO_LARGE: &str = "OutputTooLarge";

/// Reads a policy; what is absent gets its default.
pub(super) fn policy(wire: v1::Policy) -> Result<Policy, Invalid> {
    let default = Policy::default();
    let policy = Policy {
        max_attempts: wire.max_attempts.unwrap_or(default.max_attempts),
        backoff_initial_ms: wire
            .backoff_initial_ms
            .unwrap_or(default.backoff_initial_ms),
        backoff_max_ms: wire.backoff_max_ms.unwrap_or(default.backoff_max_ms),
        timeout_ms: match wire.timeout_ms {
            None => default.timeout_ms,
            Some(0) => None,
            some => some,
        },
        deadline_ms: wire.deadline_ms,
        max_concurrency: wire.max_concurrency,
        tolerate: tolerance(wire.tolerate_count, wire.tolerate_basis_points)?,
        place_timeout_ms: wire.place_timeout_ms,
        require: wire.require,
        priority: wire.priority.unwrap_or(default.priority),
        log_basis_points: wire.log_basis_points.unwrap_or(default.log_basis_points),
        retry_on: failure_words("spec.policy.retry_on", wire.retry_on)?,
        no_retry_on: failure_words("spec.policy.no_retry_on", wire.no_retry_on)?,
        enough: wire.enough,
        pin: wire.pin.unwrap_or(default.pin),
    };
    check(&policy)?;
    Ok(policy)
}

fn tolerance(count: Option<u64>, points: Option<u32>) -> Result<Option<Tolerance>, Invalid> {
    match (count, points) {
        (None, None) => Ok(None),
        (Some(count), None) => Ok(Some(Tolerance::Count(count))),
        (None, Some(points)) if points <= BASIS_POINTS => Ok(Some(Tolerance::BasisPoints(points))),
        (None, Some(points)) => Err(bad(
            "tolerate_basis_points",
            format!("it is {points}, the limit is {BASIS_POINTS} (all of them)"),
        )),
        (Some(_), Some(_)) => Err(bad(
            "tolerate_basis_points",
            "failures are tolerated by number and by share; give one of them",
        )),
    }
}

/// Kinds and types of failures, each named once.
pub(super) fn failure_words(field: &str, words: Vec<String>) -> Result<BTreeSet<String>, Invalid> {
    if words.len() > FAILURE_WORDS_MAX {
        let count = words.len();
        return Err(Invalid::bad(
            field,
            format!("there are {count}, the limit is {FAILURE_WORDS_MAX}"),
        ));
    }
    let mut lengths = words.iter().map(String::len);
    if let Some(length) = lengths.find(|len| !(1..=FAILURE_TYPE_BYTES_MAX).contains(len)) {
        return Err(Invalid::bad(
            field,
            format!("one has {length} bytes, allowed are 1 to {FAILURE_TYPE_BYTES_MAX}"),
        ));
    }
    Ok(words.into_iter().collect())
}

/// What is never tried again cannot be asked for.
fn check_retries(policy: &Policy) -> Result<(), Invalid> {
    for word in [FailureKind::Rejected.as_str(), OUTPUT_TOO_LARGE] {
        if policy.retry_on.contains(word) {
            return Err(bad(
                "retry_on",
                format!("{word} is never tried again; leave it out"),
            ));
        }
    }
    if let Some(word) = policy.retry_on.intersection(&policy.no_retry_on).next() {
        return Err(bad(
            "no_retry_on",
            format!("{word:?} is named in retry_on too; name it in one of them"),
        ));
    }
    if policy.enough == Some(0) {
        return Err(bad(
            "enough",
            "0 successes would be enough before anything ran; leave it out",
        ));
    }
    Ok(())
}

fn check(policy: &Policy) -> Result<(), Invalid> {
    check_retries(policy)?;
    if !(1..=ATTEMPTS_MAX).contains(&policy.max_attempts) {
        return Err(bad(
            "max_attempts",
            format!(
                "it is {}, allowed are 1 to {ATTEMPTS_MAX}",
                policy.max_attempts
            ),
        ));
    }
    if policy.max_concurrency == Some(0) {
        return Err(bad(
            "max_concurrency",
            "with 0 slots nothing would ever run; leave it out",
        ));
    }
    for (field, value, least) in [
        ("backoff_initial_ms", Some(policy.backoff_initial_ms), 0),
        ("backoff_max_ms", Some(policy.backoff_max_ms), 0),
        ("timeout_ms", policy.timeout_ms, 0),
        ("deadline_ms", policy.deadline_ms, 1),
        ("place_timeout_ms", policy.place_timeout_ms, 1),
    ] {
        if let Some(value) = value.filter(|value| !(least..=DURATION_MS_MAX).contains(value)) {
            return Err(bad(
                field,
                format!("it is {value}, allowed are {least} to {DURATION_MS_MAX} (ten years)"),
            ));
        }
    }
    if policy.log_basis_points > BASIS_POINTS {
        let points = policy.log_basis_points;
        let words = format!("it is {points}, the limit is {BASIS_POINTS} (all of them)");
        return Err(bad("log_basis_points", words));
    }
    let (initial, max) = (policy.backoff_initial_ms, policy.backoff_max_ms);
    if initial > max {
        return Err(bad(
            "backoff_initial_ms",
            format!("the first wait, {initial} ms, is longer than the longest, {max} ms"),
        ));
    }
    check_labels("spec.policy.require", &policy.require)
}

fn bad(field: &str, message: impl AsRef<str>) -> Invalid {
    Invalid::bad(format!("spec.policy.{field}"), message)
}

/// A policy with every default written out.
#[must_use]
pub fn wire_policy(policy: &Policy) -> v1::Policy {
    let (tolerate_count, tolerate_basis_points) = match policy.tolerate {
        None => (None, None),
        Some(Tolerance::Count(count)) => (Some(count), None),
        Some(Tolerance::BasisPoints(points)) => (None, Some(points)),
    };
    v1::Policy {
        max_attempts: Some(policy.max_attempts),
        backoff_initial_ms: Some(policy.backoff_initial_ms),
        backoff_max_ms: Some(policy.backoff_max_ms),
        timeout_ms: Some(policy.timeout_ms.unwrap_or(0)),
        deadline_ms: policy.deadline_ms,
        max_concurrency: policy.max_concurrency,
        tolerate_count,
        tolerate_basis_points,
        place_timeout_ms: policy.place_timeout_ms,
        require: policy.require.clone(),
        priority: Some(policy.priority),
        log_basis_points: Some(policy.log_basis_points).filter(|&points| points > 0),
        retry_on: policy.retry_on.iter().cloned().collect(),
        no_retry_on: policy.no_retry_on.iter().cloned().collect(),
        enough: policy.enough,
        pin: Some(policy.pin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_is_every_default() {
        assert_eq!(policy(v1::Policy::default()), Ok(Policy::default()));
    }

    #[test]
    fn a_policy_comes_back() {
        for tolerate in [
            None,
            Some(Tolerance::Count(0)),
            Some(Tolerance::BasisPoints(250)),
        ] {
            let asked = Policy {
                max_attempts: 7,
                backoff_initial_ms: 1,
                backoff_max_ms: 2,
                timeout_ms: None,
                deadline_ms: Some(60_000),
                max_concurrency: Some(4),
                tolerate,
                place_timeout_ms: Some(5),
                require: [("zone".to_owned(), "a".to_owned())].into(),
                priority: -3,
                log_basis_points: 50,
                retry_on: ["timeout", "ValueError"].map(str::to_owned).into(),
                no_retry_on: ["lost".to_owned()].into(),
                enough: Some(8),
                pin: true,
            };
            assert_eq!(policy(wire_policy(&asked)), Ok(asked));
        }
    }

    #[test]
    fn each_field_outside_its_limits_is_named() {
        let refused = |change: fn(&mut v1::Policy)| {
            let mut wire = v1::Policy::default();
            change(&mut wire);
            policy(wire).unwrap_err().field
        };
        for (field, change) in [
            (
                "max_attempts",
                (|p| p.max_attempts = Some(0)) as fn(&mut v1::Policy),
            ),
            ("max_attempts", |p| p.max_attempts = Some(1_001)),
            ("max_concurrency", |p| p.max_concurrency = Some(0)),
            ("backoff_initial_ms", |p| {
                p.backoff_initial_ms = Some(30_001)
            }),
            ("backoff_max_ms", |p| p.backoff_max_ms = Some(u64::MAX)),
            ("timeout_ms", |p| p.timeout_ms = Some(u64::MAX)),
            ("deadline_ms", |p| p.deadline_ms = Some(0)),
            ("place_timeout_ms", |p| p.place_timeout_ms = Some(0)),
            ("tolerate_basis_points", |p| {
                p.tolerate_basis_points = Some(10_001)
            }),
            ("tolerate_basis_points", |p| {
                (p.tolerate_count, p.tolerate_basis_points) = (Some(1), Some(1));
            }),
            ("log_basis_points", |p| p.log_basis_points = Some(10_001)),
            ("require", |p| {
                p.require.insert(String::new(), String::new());
            }),
            ("retry_on", |p| p.retry_on = vec![String::new()]),
            ("retry_on", |p| p.retry_on = vec!["A".to_owned(); 33]),
            ("retry_on", |p| p.retry_on = vec!["rejected".to_owned()]),
            ("retry_on", |p| {
                p.retry_on = vec!["OutputTooLarge".to_owned()]
            }),
            ("no_retry_on", |p| p.no_retry_on = vec!["x".repeat(256)]),
            ("no_retry_on", |p| {
                p.retry_on = vec!["lost".to_owned()];
                p.no_retry_on = vec!["lost".to_owned()];
            }),
            ("enough", |p| p.enough = Some(0)),
        ] {
            assert_eq!(refused(change), format!("spec.policy.{field}"));
        }
    }
}
