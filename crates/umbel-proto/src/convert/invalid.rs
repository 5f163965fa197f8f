//! What a door refuses.

use crate::status::{Metadata, Reason};

/// Why something from outside was not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// The field, as a path; empty when it is no field's fault.
    pub field: String,
    /// What was wrong, the limit and the way out.
    pub message: String,
    /// Why.
    pub reason: Reason,
    /// What varies in the message.
    pub metadata: Metadata,
}

impl Invalid {
    /// A client's field that is missing or outside its limits.
    #[must_use]
    pub fn bad(field: impl Into<String>, message: impl AsRef<str>) -> Self {
        let (field, problem) = (field.into(), message.as_ref());
        Self {
            message: format!("{field}: {problem}"),
            reason: Reason::BadRequest,
            metadata: Metadata::from([
                ("field".to_owned(), field.clone()),
                ("problem".to_owned(), problem.to_owned()),
            ]),
            field,
        }
    }

    /// Something that a session may not say.
    pub(crate) fn broken(field: impl Into<String>, message: impl AsRef<str>) -> Self {
        let field = field.into();
        let problem = format!("{field}: {}", message.as_ref());
        Self {
            message: format!("the protocol was broken: {problem}"),
            reason: Reason::ProtocolBroken,
            metadata: Metadata::from([("problem".to_owned(), problem)]),
            field,
        }
    }

    pub(crate) fn new(
        reason: Reason,
        field: impl Into<String>,
        message: impl Into<String>,
        pairs: &[(&str, &dyn std::fmt::Display)],
    ) -> Self {
        let pairs = pairs.iter();
        Self {
            field: field.into(),
            message: message.into(),
            reason,
            metadata: pairs
                .map(|(key, value)| ((*key).to_owned(), value.to_string()))
                .collect(),
        }
    }
}
