//! What an operator can set: a file, overruled by the environment, overruled by flags.
//!
//! The files in the repository's `config/` show every option at its default; a test holds them
//! against the structs here.

mod coordinator;
mod data;
mod file;
mod worker;

use std::path::PathBuf;

use crate::exit::Exit;

pub(crate) use coordinator::{Coordinator, CoordinatorFlags};
pub(crate) use data::directory as data_directory;
pub(crate) use file::parse;
pub(crate) use worker::{Worker, WorkerFlags};

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file cannot be read.
    #[error("cannot read the config {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file has an option that does not exist.
    #[error("{path}:{line}: unknown option `{key}`; {hint}", path = path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The option.
        key: String,
        /// The nearest option, or all of them.
        hint: String,
    },
    /// The file is not TOML, or an option has a value of the wrong kind.
    #[error("{path}:{line}: {message}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// An option's value makes no sense.
    #[error("option `{option}`: {message}")]
    Option {
        /// The option's name in the file; as a flag it is written with dashes.
        option: &'static str,
        /// What is wrong with it and what would be right.
        message: String,
    },
}

impl Error {
    fn option(option: &'static str, message: impl Into<String>) -> Self {
        Self::Option {
            option,
            message: message.into(),
        }
    }
}

impl From<Error> for Exit {
    fn from(error: Error) -> Self {
        Self::usage(error.to_string())
    }
}

/// Puts a flag's value, if there is one, in place of the option's.
fn overrule<T>(option: &mut T, flag: Option<T>) {
    if let Some(value) = flag {
        *option = value;
    }
}
