//! The log: on stderr, for people or as JSON.

use std::io;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use crate::exit::Exit;

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// A line for people.
    #[default]
    Human,
    /// An object a line.
    Json,
}

impl Format {
    /// The word for it on the command line and in config files.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Json => "json",
        }
    }
}

/// Starts the log. Called once, before anything is worth a line.
pub(crate) fn start(filter: &str, format: Option<Format>) -> Result<(), Exit> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Exit::usage(format!(
            "the log filter {filter:?} is malformed: {error}; write a level (error, warn, info, debug, \
             trace) or levels by module, such as `info,umbel_worker=debug`"
        ))
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let started = match format.unwrap_or_default() {
        Format::Human => {
            let colour = io::IsTerminal::is_terminal(&io::stderr());
            log.with_ansi(colour).with_target(false).try_init()
        }
        Format::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Exit::internal(format!("the log cannot start: {error}")))
}

/// A panic is a fault of umbel's own: one line says so, and no backtrace.
pub(crate) fn mute_backtraces() {
    std::panic::set_hook(Box::new(|panic| {
        let told = panic.to_string().replace('\n', " ");
        tracing::error!("an internal fault of umbel, worth a report: {told}");
    }));
}
