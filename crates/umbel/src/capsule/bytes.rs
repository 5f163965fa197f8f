//! Bytes in JSON: text as it is, anything else in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

macro_rules! bytes_under {
    ($name:ident, $text:literal, $base64:literal) => {
        /// Bytes under one of two keys, or none.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub(super) struct $name {
            #[serde(rename = $text, default, skip_serializing_if = "Option::is_none")]
            text: Option<String>,
            #[serde(rename = $base64, default, skip_serializing_if = "Option::is_none")]
            base64: Option<String>,
        }

        impl $name {
            pub(super) fn of(bytes: Option<&Bytes>) -> Self {
                match bytes.map(|bytes| text_of(bytes).ok_or(bytes)) {
                    None => Self::default(),
                    Some(Ok(text)) => Self {
                        text: Some(text.to_owned()),
                        base64: None,
                    },
                    Some(Err(bytes)) => Self {
                        text: None,
                        base64: Some(STANDARD.encode(bytes)),
                    },
                }
            }

            /// Looks for what a file may say and no capsule has.
            pub(super) fn check(&self, what: &str, bytes_max: usize) -> Result<(), String> {
                if self.text.is_some() && self.base64.is_some() {
                    return Err(format!("it has both `{}` and `{}`", $text, $base64));
                }
                if let Some(base64) = &self.base64 {
                    let decoded = STANDARD.decode(base64);
                    decoded.map_err(|error| format!("its `{}` is broken: {error}", $base64))?;
                }
                let length = self.bytes().map_or(0, |bytes| bytes.len());
                if length > bytes_max {
                    return Err(format!(
                        "its {what} has {length} bytes, the limit is {bytes_max}"
                    ));
                }
                Ok(())
            }

            /// The bytes, if there are any.
            pub(super) fn bytes(&self) -> Option<Bytes> {
                let text = self.text.as_ref().map(|text| Bytes::from(text.clone()));
                let decoded = || STANDARD.decode(self.base64.as_ref()?).ok();
                text.or_else(|| decoded().map(Bytes::from))
            }
        }
    };
}

bytes_under!(InputBytes, "input", "input_base64");
bytes_under!(OutputBytes, "output", "output_base64");

/// The text that bytes are, if a file of JSON can show it: control characters would each take six
/// bytes, and nobody could read them.
fn text_of(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let shows = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    text.chars().all(shows).then_some(text)
}
