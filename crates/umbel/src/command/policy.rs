//! How a job runs, as flags.

use umbel_client::v1::Policy;

use super::words::{Backoff, Logs, Timeout, Tolerate, distinct, label};

/// The flags of a job's policy. What is absent has the coordinator's default.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Policy")]
pub(crate) struct PolicyArgs {
    /// Attempts of one invocation [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_attempts: Option<u32>,
    /// First and longest wait before another attempt; doubles, with jitter [default: 200ms..30s]
    #[arg(long, value_name = "A..B", value_parser = Backoff::parse)]
    backoff: Option<Backoff>,
    /// Try again only after these: function, timeout, crashed, or a failure's type [default: all]
    ///
    /// Kinds (function, timeout, crashed, lost) and types (such as ValueError or ExitCode), with
    /// commas or repeated. The type of a failure is asked before its kind, and --no-retry-on before
    /// --retry-on; what neither names is tried again unless --retry-on is given. What was rejected,
    /// and an output over the limit, is never tried again; what was lost with its worker is, unless
    /// --no-retry-on names lost.
    #[arg(long, value_name = "KIND|TYPE", value_delimiter = ',', value_parser = failure_word)]
    retry_on: Vec<String>,
    /// Do not try again after these kinds or types; with lost, what a lost worker had begun fails
    #[arg(long, value_name = "KIND|TYPE", value_delimiter = ',', value_parser = failure_word)]
    no_retry_on: Vec<String>,
    /// How long one attempt may run, or `none` [default: 15m]
    #[arg(long, value_name = "TIME", value_parser = Timeout::parse)]
    timeout: Option<Timeout>,
    /// How long the whole job may take [default: none]
    #[arg(long, value_name = "TIME", value_parser = Timeout::parse)]
    deadline: Option<Timeout>,
    /// Slots that the job may hold at a time, or `none` [default: none]
    #[arg(long, value_name = "N", value_parser = slots)]
    max_concurrency: Option<Slots>,
    /// End the job once more than N, or more than P%, have failed; unset: it runs to the end
    #[arg(long, value_name = "N|P%", value_parser = Tolerate::parse)]
    tolerate: Option<Tolerate>,
    /// End the job as succeeded once N have succeeded; fewer at its end are a failure
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    enough: Option<u64>,
    /// How long work may wait for a worker that can run it [default: none]
    #[arg(long, value_name = "TIME", value_parser = Timeout::parse)]
    place_timeout: Option<Timeout>,
    /// Only workers that bear this label; may be repeated
    #[arg(long, value_name = "K=V", value_parser = label)]
    require: Vec<(String, String)>,
    /// Jobs of a higher number go first [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Keep what invocations print: of those that fail, of all, or of P% of those that succeed
    /// besides [default: failed]
    #[arg(long, value_name = "failed|all|P%", value_parser = Logs::parse)]
    logs: Option<Logs>,
    /// Keep the version that the target means now, though its alias is moved meanwhile
    #[arg(long)]
    pin: bool,
}

impl PolicyArgs {
    /// Refuses what flags say together and not alone.
    pub(crate) fn check(&self) -> Result<(), String> {
        distinct("--require", &self.require).map(drop)
    }
}

/// A kind or a type of failure.
fn failure_word(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("name a kind, such as timeout, or a type, such as ValueError".to_owned()),
        "rejected" => Err("what was rejected is never tried again; leave it out".to_owned()),
        word => match misspelled(word) {
            Some(kind) => Err(format!("did you mean {kind}?")),
            None => Ok(word.to_owned()),
        },
    }
}

/// The kind that a word was surely meant to be: any other word is a type, and would silently match
/// nothing. Types are names in some language, so few are all small letters.
fn misspelled(word: &str) -> Option<&'static str> {
    const KINDS: [&str; 4] = ["function", "timeout", "crashed", "lost"];
    if KINDS.contains(&word) || !word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return None;
    }
    let near = |kind: &&str| strsim::levenshtein(word, kind) <= 2;
    KINDS
        .into_iter()
        .find(|kind| (kind.len() > 4 && near(kind)) || word.starts_with(kind))
}

/// A number of slots, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slots(Option<u32>);

fn slots(text: &str) -> Result<Slots, String> {
    match text {
        "none" => Ok(Slots(None)),
        text => match text.parse() {
            Ok(0) | Err(_) => Err(format!(
                "{text:?} is no number of slots; write 1 or more, or none"
            )),
            Ok(slots) => Ok(Slots(Some(slots))),
        },
    }
}

impl From<PolicyArgs> for Policy {
    fn from(args: PolicyArgs) -> Self {
        let (tolerate_count, tolerate_basis_points) = match args.tolerate {
            None => (None, None),
            Some(Tolerate::Count(count)) => (Some(count), None),
            Some(Tolerate::BasisPoints(points)) => (None, Some(points)),
        };
        Self {
            max_attempts: args.max_attempts,
            backoff_initial_ms: args.backoff.map(|backoff| backoff.initial_ms),
            backoff_max_ms: args.backoff.map(|backoff| backoff.max_ms),
            // On the wire an absent timeout has the default, and 0 is without end.
            timeout_ms: args.timeout.map(|Timeout(ms)| ms.unwrap_or(0)),
            deadline_ms: args.deadline.and_then(|Timeout(ms)| ms),
            max_concurrency: args.max_concurrency.and_then(|Slots(slots)| slots),
            tolerate_count,
            tolerate_basis_points,
            place_timeout_ms: args.place_timeout.and_then(|Timeout(ms)| ms),
            require: args.require.into_iter().collect(),
            priority: args.priority,
            log_basis_points: args.logs.map(|Logs(points)| points),
            retry_on: args.retry_on,
            no_retry_on: args.no_retry_on,
            enough: args.enough,
            pin: args.pin.then_some(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        policy: PolicyArgs,
    }

    fn policy(flags: &[&str]) -> Policy {
        let line = Line::try_parse_from([&["x"], flags].concat()).unwrap();
        line.policy.into()
    }

    #[test]
    fn no_flag_leaves_every_default_to_the_coordinator() {
        assert_eq!(policy(&[]), Policy::default());
    }

    #[test]
    fn every_flag_arrives() {
        let all = policy(&[
            "--max-attempts=5",
            "--backoff=1s..1m",
            "--timeout=none",
            "--deadline=2h",
            "--max-concurrency=7",
            "--tolerate=1.5%",
            "--place-timeout=3s",
            "--require=zone=eu",
            "--require=gpu=yes",
            "--priority=-3",
            "--logs=2.5%",
            "--retry-on=timeout,ValueError",
            "--retry-on=crashed",
            "--no-retry-on=lost",
            "--enough=8",
            "--pin",
        ]);
        let expected = Policy {
            max_attempts: Some(5),
            backoff_initial_ms: Some(1_000),
            backoff_max_ms: Some(60_000),
            timeout_ms: Some(0),
            deadline_ms: Some(7_200_000),
            max_concurrency: Some(7),
            tolerate_count: None,
            tolerate_basis_points: Some(150),
            place_timeout_ms: Some(3_000),
            require: [("zone", "eu"), ("gpu", "yes")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            priority: Some(-3),
            log_basis_points: Some(250),
            retry_on: ["timeout", "ValueError", "crashed"]
                .map(str::to_owned)
                .into(),
            no_retry_on: vec!["lost".to_owned()],
            enough: Some(8),
            pin: Some(true),
        };
        assert_eq!(all, expected);
    }

    #[test]
    fn what_makes_no_sense_is_bad_usage() {
        for flag in [
            "--max-attempts=0",
            "--max-concurrency=0",
            "--enough=0",
            "--retry-on=",
            "--retry-on=rejected",
            "--retry-on=timeot",
            "--no-retry-on=crash",
            "--timeout=0s",
            "--priority=high",
            "--logs=some",
            "--logs=101%",
        ] {
            assert!(Line::try_parse_from(["x", flag]).is_err(), "{flag}");
        }
    }
}
