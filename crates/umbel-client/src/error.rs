//! What can go wrong between a program and its coordinator.

use std::collections::BTreeMap;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Why a source of inputs failed; whatever the source says.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The coordinator's address is no URL.
    #[error("{url:?} is no address of a coordinator: {cause}; write http://HOST:PORT")]
    Address {
        /// The address as it was given.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Nothing answers at the address, or the link broke and stayed broken.
    #[error("no coordinator can be reached at {url}: {cause}")]
    Unreachable {
        /// The coordinator's address.
        url: String,
        /// What the operating system or the transport said.
        cause: String,
    },
    /// The coordinator refused.
    #[error("{}", .0.message)]
    Refused(Box<Refusal>),
    /// An input is longer than the limit.
    #[error("input {index} has {bytes} bytes; the limit is {max} (6 MiB) each")]
    InputTooLarge {
        /// Which input, from 0.
        index: u64,
        /// Its length.
        bytes: usize,
        /// The longest that is allowed.
        max: usize,
    },
    /// The source of the inputs failed midway. The job was cancelled.
    #[error("{0}")]
    Source(SourceError),
    /// The coordinator answered something that makes no sense here.
    #[error("the coordinator at {url} answered what it should not: {what}")]
    Nonsense {
        /// The coordinator's address.
        url: String,
        /// What was wrong with the answer.
        what: String,
    },
}

/// A refusal by the coordinator, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The gRPC code.
    pub code: Code,
    /// A stable name such as `UNKNOWN_JOB`; empty if none was given.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// What the reason is about: names, limits, indices.
    pub metadata: BTreeMap<String, String>,
}

impl Error {
    /// The stable name of a refusal, such as `UNKNOWN_JOB`.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) if !refusal.reason.is_empty() => Some(&refusal.reason),
            _ => None,
        }
    }

    /// Whether the same attempt may succeed in a while: the link is broken, or the coordinator
    /// says that it is unavailable for now.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(refusal) => refusal.code == Code::Unavailable,
            _ => false,
        }
    }

    pub(crate) fn from_status(url: &str, status: &Status) -> Self {
        if let Some(info) = status.get_details_error_info() {
            return Self::Refused(Box::new(Refusal {
                code: status.code(),
                reason: info.reason,
                message: status.message().to_owned(),
                metadata: info.metadata.into_iter().collect(),
            }));
        }
        // A status that grew on this side of the wire carries the transport's error; a
        // coordinator that is shutting down says Unavailable without a reason.
        let source = std::error::Error::source(status);
        if source.is_some() || status.code() == Code::Unavailable {
            let cause = source.map_or_else(|| status.message().to_owned(), innermost);
            return Self::Unreachable {
                url: url.to_owned(),
                cause,
            };
        }
        Self::Refused(Box::new(Refusal {
            code: status.code(),
            reason: String::new(),
            message: status.message().to_owned(),
            metadata: BTreeMap::new(),
        }))
    }
}

/// The first cause says what happened; those around it only say where.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_refusal_keeps_its_reason_words_and_metadata() {
        let info = [("job".to_owned(), "x".to_owned())];
        let details = ErrorDetails::with_error_info("UNKNOWN_JOB", "umbel", info.clone());
        let status = Status::with_error_details(Code::NotFound, "no job is named \"x\"", details);
        let error = Error::from_status("http://c", &status);
        assert_eq!(error.reason(), Some("UNKNOWN_JOB"));
        assert_eq!(error.to_string(), "no job is named \"x\"");
        assert!(!error.is_passing());
        let Error::Refused(refusal) = error else {
            panic!("a refusal")
        };
        assert_eq!(refusal.metadata, info.into());
    }

    #[test]
    fn a_broken_link_is_unreachable_and_names_the_first_cause() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let status = Status::from_error(Box::new(refused));
        let error = Error::from_status("http://c", &status);
        assert!(error.is_passing(), "{error}");
        assert_eq!(
            error.to_string(),
            "no coordinator can be reached at http://c: connection refused"
        );
    }

    #[test]
    fn a_store_that_is_away_for_now_is_passing() {
        let details = ErrorDetails::with_error_info("STORE_UNAVAILABLE", "umbel", []);
        let status = Status::with_error_details(Code::Unavailable, "it is opened again", details);
        assert!(Error::from_status("http://c", &status).is_passing());
    }
}
