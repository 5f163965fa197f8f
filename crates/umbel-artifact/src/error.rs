//! Why something is no artifact.

use std::io;
use std::path::PathBuf;

use umbel_core::function::Digest;
use umbel_core::limit;

/// Why something is no artifact, or cannot be packed or unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is nothing to pack.
    #[error("{path}: there is no file in it to publish")]
    Empty {
        /// What was given.
        path: PathBuf,
    },
    /// It cannot be read as an archive.
    #[error("the archive cannot be read: {what}")]
    Unreadable {
        /// What is wrong with it.
        what: String,
    },
    /// An entry's name leads somewhere that it may not.
    #[error("entry {name:?}: {problem}")]
    BadEntry {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Two entries have the same name.
    #[error("entry {name:?} is there twice, or is a file and a folder at once")]
    Twice {
        /// The name.
        name: String,
    },
    /// It has too many files.
    #[error(
        "it has more than {} files, the most there may be; leave out what the function does not need",
        limit::ARTIFACT_FILES_MAX
    )]
    TooManyFiles,
    /// It is too large unpacked.
    #[error(
        "its files have {bytes} bytes or more, the limit is {} ({} MiB); leave out what the function does not need",
        limit::ARTIFACT_UNPACKED_BYTES_MAX,
        limit::ARTIFACT_UNPACKED_BYTES_MAX >> 20
    )]
    TooLarge {
        /// What it has at the least.
        bytes: u64,
    },
    /// It is too large packed.
    #[error(
        "it has {bytes} bytes packed, the limit is {} ({} MiB); leave out what the function does not need",
        limit::ARTIFACT_PACKED_BYTES_MAX,
        limit::ARTIFACT_PACKED_BYTES_MAX >> 20
    )]
    TooLargePacked {
        /// What it has.
        bytes: u64,
    },
    /// It is another artifact than it was said to be.
    #[error("its digest is {found}, not {expected}")]
    OtherDigest {
        /// What it was said to be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
}

impl Error {
    /// The system refused something about a path.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn entry(name: &str, problem: impl Into<String>) -> Self {
        Self::BadEntry {
            name: name.chars().take(255).collect(),
            problem: problem.into(),
        }
    }

    /// Whether it is a matter of size or count.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(
            self,
            Self::TooManyFiles | Self::TooLarge { .. } | Self::TooLargePacked { .. }
        )
    }
}
