//! Refusals as `google.rpc.Status`. Each has one [`Reason`], which stands in its
//! `ErrorInfo` (domain `umbel`) with everything in the message that varies; a bad
//! field is named in a `BadRequest` besides. `proto/ERRORS.md` is the table below.

mod reason;
mod refusal;

use std::collections::BTreeMap;

use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};
use umbel_core::command::Refusal;

pub use reason::Reason;

use crate::convert::Invalid;

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "umbel";

/// A status travels in HTTP/2 headers, which peers bound to 8 or 16 KiB: message
/// and metadata are cut so that it always arrives.
const MESSAGE_BYTES_MAX: usize = 1_024;
const VALUE_BYTES_MAX: usize = 512;

/// What varies in a refusal, by the keys that [`Reason::keys`] names.
pub type Metadata = BTreeMap<String, String>;

/// The status of what the coordinator's machine refused.
#[must_use]
pub fn refused(refusal: &Refusal) -> Status {
    let (reason, metadata) = refusal::reason(refusal);
    status(reason, &refusal.to_string(), metadata)
}

/// The status of what a door did not let in.
#[must_use]
pub fn invalid(invalid: Invalid) -> Status {
    let mut details = details(invalid.reason, invalid.metadata);
    if !invalid.field.is_empty() {
        details.add_bad_request_violation(invalid.field, cut(&invalid.message, VALUE_BYTES_MAX));
    }
    Status::with_error_details(
        invalid.reason.code(),
        cut(&invalid.message, MESSAGE_BYTES_MAX),
        details,
    )
}

/// The status of any other refusal.
#[must_use]
pub fn status(reason: Reason, message: &str, metadata: Metadata) -> Status {
    let message = cut(message, MESSAGE_BYTES_MAX);
    Status::with_error_details(reason.code(), message, details(reason, metadata))
}

/// The reason of a status and what varies in it; `None` when umbel did not make it.
#[must_use]
pub fn reason_of(status: &Status) -> Option<(Reason, Metadata)> {
    let info = status.get_details_error_info()?;
    if info.domain != DOMAIN {
        return None;
    }
    let reason = Reason::of_name(&info.reason)?;
    Some((reason, info.metadata.into_iter().collect()))
}

fn details(reason: Reason, metadata: Metadata) -> ErrorDetails {
    let metadata = metadata
        .into_iter()
        .map(|(key, value)| (key, cut(&value, VALUE_BYTES_MAX).to_owned()));
    ErrorDetails::with_error_info(
        reason.as_str(),
        DOMAIN,
        metadata.collect::<std::collections::HashMap<_, _>>(),
    )
}

fn cut(text: &str, bytes_max: usize) -> &str {
    crate::convert::head(text, bytes_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_can_be_read_back_on_the_other_side() {
        let refusal = Refusal::UnknownFunction {
            name: "resise".into(),
            deleted: false,
            nearest: vec!["resize".into()],
        };
        let status = refused(&refusal);
        assert_eq!(status.code(), tonic::Code::NotFound);
        assert_eq!(
            status.message(),
            "no function is named \"resise\"; did you mean resize?"
        );
        let (reason, metadata) = reason_of(&status).unwrap();
        assert_eq!(reason, Reason::UnknownFunction);
        assert_eq!(metadata["function"], "resise");
        assert_eq!(metadata["nearest"], "resize");
    }

    #[test]
    fn a_bad_field_is_named() {
        let status = invalid(Invalid::bad(
            "spec.policy.max_attempts",
            "must be at least 1",
        ));
        let bad = status.get_details_bad_request().unwrap();
        assert_eq!(bad.field_violations[0].field, "spec.policy.max_attempts");
        assert_eq!(reason_of(&status).unwrap().0, Reason::BadRequest);
    }

    #[test]
    fn a_status_is_cut_to_fit_into_headers() {
        let long = "ü".repeat(50_000);
        let metadata = Metadata::from([("problem".to_owned(), long.clone())]);
        let status = status(Reason::StoreUnavailable, &long, metadata);
        // As headers bear them: percent signs for the message, base64 for the details.
        assert!(status.message().len() * 3 + status.details().len() * 4 / 3 < 8_192);
    }

    #[test]
    fn a_status_of_somebody_else_has_no_reason() {
        assert_eq!(reason_of(&Status::unavailable("proxy")), None);
    }
}
