//! A failure of the runtime, in the words and the bounds of the coordinator.

use umbel_core::limit;
use umbel_core::outcome::{Failure, FailureKind};

/// Takes a failure over, its texts cut at their limits: a native function writes them itself,
/// and however long they are they must fit into a report.
pub(crate) fn bounded(mut failure: umbel_runtime::Failure) -> Failure {
    use umbel_runtime::FailureKind as Kind;
    keep_first(&mut failure.error_type, limit::FAILURE_TYPE_BYTES_MAX);
    keep_first(&mut failure.message, limit::FAILURE_MESSAGE_BYTES_MAX);
    keep_last(&mut failure.log, limit::LOG_BYTES_MAX);
    Failure {
        kind: match failure.kind {
            Kind::Function => FailureKind::Function,
            Kind::Timeout => FailureKind::Timeout,
            Kind::Crashed => FailureKind::Crashed,
            Kind::Rejected => FailureKind::Rejected,
        },
        error_type: failure.error_type,
        message: failure.message,
        stderr: failure.log,
    }
}

/// Cuts off the end of a text, between characters.
fn keep_first(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        let mut edges = (0..=bytes_max).rev();
        let end = edges.find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or(0));
    }
}

/// Cuts off the beginning of a text, between characters.
fn keep_last(text: &mut String, bytes_max: usize) {
    let mut edges = text.len().saturating_sub(bytes_max)..text.len();
    let begin = edges.find(|&at| text.is_char_boundary(at));
    text.drain(..begin.unwrap_or(text.len()));
}

#[cfg(test)]
mod tests {
    use umbel_runtime::{Catalog, Limits};

    use super::*;

    #[test]
    fn texts_that_a_function_wrote_too_long_are_cut_between_characters() {
        let mut failure = umbel_runtime::Failure::function("", "");
        failure.error_type = "ü".repeat(limit::FAILURE_TYPE_BYTES_MAX);
        failure.message = format!("x{}", "ü".repeat(limit::FAILURE_MESSAGE_BYTES_MAX));
        failure.log = format!("{}y", "ü".repeat(limit::LOG_BYTES_MAX));

        let failure = bounded(failure);

        assert_eq!(failure.error_type.len(), limit::FAILURE_TYPE_BYTES_MAX - 1);
        assert_eq!(failure.message.len(), limit::FAILURE_MESSAGE_BYTES_MAX - 1);
        assert!(failure.message.starts_with('x'), "its beginning is kept");
        assert_eq!(failure.stderr.len(), limit::LOG_BYTES_MAX - 1);
        assert!(failure.stderr.ends_with('y'), "its end is kept");
    }

    #[test]
    fn texts_within_their_limits_are_kept_whole() {
        let mut failure = umbel_runtime::Failure::function("Type", "");
        failure.message = "m".repeat(limit::FAILURE_MESSAGE_BYTES_MAX);

        let failure = bounded(failure);

        assert_eq!(failure.error_type, "Type");
        assert_eq!(failure.message.len(), limit::FAILURE_MESSAGE_BYTES_MAX);
        assert_eq!(failure.stderr, "");
    }

    /// The runtime knows no coordinator, so its limits are numbers of its own.
    #[test]
    fn the_limits_of_the_runtime_are_those_of_the_coordinator() {
        assert_eq!(Limits::DEFAULT.output_bytes_max, limit::OUTPUT_BYTES_MAX);
        assert_eq!(Limits::DEFAULT.stderr_bytes_max, limit::LOG_BYTES_MAX);

        let long = "x".repeat(2 * limit::FAILURE_MESSAGE_BYTES_MAX);
        let failure = umbel_runtime::Failure::function(long.as_str(), long.as_str());
        assert_eq!(failure.error_type.len(), limit::FAILURE_TYPE_BYTES_MAX);
        assert_eq!(failure.message.len(), limit::FAILURE_MESSAGE_BYTES_MAX);

        let mut catalog = Catalog::new();
        let mut declare = |bytes| catalog.declare(&format!("{}=cat", "x".repeat(bytes)));
        assert!(declare(limit::NAME_BYTES_MAX).is_ok());
        assert!(declare(limit::NAME_BYTES_MAX + 1).is_err());
    }
}
