//! What can be wrong with a file of inputs, in words that name the place.

use std::io;

use umbel_core::limit::INPUT_BYTES_MAX;

/// Why a source has no more inputs to give, though it has not ended well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It cannot be read.
    #[error("the inputs cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It is not what its format says.
    #[error("line {line} of the inputs: {what}")]
    Malformed {
        /// Its line, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// An input is over the limit.
    #[error("input {index} is longer than {INPUT_BYTES_MAX} bytes (6 MiB), the limit of each")]
    TooLarge {
        /// Which input, from 0.
        index: u64,
    },
}

impl Error {
    pub(super) fn malformed(line: u64, what: impl Into<String>) -> Self {
        Self::Malformed {
            line,
            what: what.into(),
        }
    }
}
