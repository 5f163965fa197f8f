//! What is printed. Nothing else writes to stdout.

mod diff;
mod json;
mod progress;
mod show;
mod table;
mod text;

use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;

pub(crate) use diff::difference;
pub(crate) use json::{
    Alias, DeskResult, Experiment, Explained, Explanation, Functions, GotRoute, Invoked, Job,
    JobResult, Jobs, Published, PublishedFunction, Rollout, Shadow, ShadowDifference, Simulated,
    Status, Worker, Workers, failure_kind, invocation_state, job_state, runtime_word, time,
};
pub(crate) use progress::Progress;
pub(crate) use show::{failure_line, failure_text, job_lines, runtime_failure_text, summary};
pub(crate) use table::{Column, Table};
pub(crate) use text::{count, duration_us, one_line};
pub(crate) use umbel_core::size::size;

use crate::exit::Exit;

/// Prints a line on stdout.
pub(crate) fn line(text: &str) -> Result<(), Exit> {
    let mut out = Out::new();
    out.bytes(text.as_bytes())?;
    out.bytes(b"\n")?;
    out.flush()
}

/// Prints one JSON document on stdout.
pub(crate) fn document<T: Serialize + ?Sized>(value: &T) -> Result<(), Exit> {
    let mut out = Out::new();
    out.object(value)?;
    out.flush()
}

/// Prints a remark on stderr, for people.
pub(crate) fn remark(text: &str) {
    // Nobody is left to tell when stderr is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Stdout for a while, buffered: what streams prints through it.
#[derive(Debug)]
pub(crate) struct Out(BufWriter<StdoutLock<'static>>);

impl Out {
    pub(crate) fn new() -> Self {
        Self(BufWriter::with_capacity(64 << 10, io::stdout().lock()))
    }

    /// Prints bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Exit> {
        self.0.write_all(bytes).map_err(closed)
    }

    /// Prints an output as it is, with a newline only if it has none at its end.
    pub(crate) fn output(&mut self, output: &[u8]) -> Result<(), Exit> {
        self.bytes(output)?;
        if output.last() == Some(&b'\n') {
            Ok(())
        } else {
            self.bytes(b"\n")
        }
    }

    /// Prints an object on a line of its own.
    pub(crate) fn object<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Exit> {
        serde_json::to_writer(&mut self.0, value).map_err(|error| closed(error.into()))?;
        self.bytes(b"\n")
    }

    /// Lets everything be seen.
    pub(crate) fn flush(&mut self) -> Result<(), Exit> {
        self.0.flush().map_err(closed)
    }
}

fn closed(error: io::Error) -> Exit {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Exit::StdoutClosed;
    }
    Exit::Stdout(error.to_string())
}
