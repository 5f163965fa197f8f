//! Child processes of this same binary: coordinators and workers with a life of their own.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::exit::Exit;

/// How long a child may take to say that it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// What is shown of the log of a child that failed.
const LOG_LINES_SHOWN: usize = 5;

/// Where a child's log goes.
#[derive(Clone, Debug)]
pub(crate) enum Log {
    /// To this process's own stderr.
    Inherit,
    /// To the end of a file.
    File(PathBuf),
}

/// A child process. It is killed when this is dropped, and when this process ends in any way.
#[derive(Debug)]
pub(crate) struct Process {
    what: String,
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    log: Log,
}

impl Process {
    /// Starts this binary with other arguments. `what` names the child to people.
    pub(crate) fn start<A: AsRef<OsStr>>(
        what: impl Into<String>,
        arguments: impl IntoIterator<Item = A>,
        log: Log,
    ) -> Result<Self, Exit> {
        let what = what.into();
        let cannot = |error: io::Error| Exit::internal(format!("cannot start the {what}: {error}"));
        let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
        command.args(arguments);
        command
            .arg("--die-with")
            .arg(std::process::id().to_string());
        // A group of its own: Ctrl-C in a terminal is for the parent, which ends its children in
        // the right order.
        command
            .process_group(0)
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        // What was meant for this process is not meant for its children.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"UMBEL_") {
                command.env_remove(name);
            }
        }
        if let Log::File(path) = &log {
            let file = std::fs::File::options()
                .create(true)
                .append(true)
                .open(path);
            command.stderr(file.map_err(cannot)?);
        }
        let mut child = command.spawn().map_err(cannot)?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| cannot(io::ErrorKind::BrokenPipe.into()))?;
        Ok(Self {
            what,
            child,
            stdout: BufReader::new(stdout).lines(),
            log,
        })
    }

    /// Waits for the line on stdout that says that the child is ready.
    pub(crate) async fn ready(&mut self) -> Result<String, Exit> {
        match tokio::time::timeout(READY_TIMEOUT, self.stdout.next_line()).await {
            Ok(Ok(Some(line))) => Ok(line),
            Ok(_) => {
                let ended = self.child.wait().await;
                let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                let said = self.last_words();
                Err(Exit::internal(format!(
                    "the {} ended before it was ready ({how}){said}",
                    self.what
                )))
            }
            Err(_) => Err(Exit::internal(format!(
                "the {} was not ready within {READY_TIMEOUT:?}{}",
                self.what,
                self.last_words()
            ))),
        }
    }

    /// The end of the child's log, as the end of an error.
    fn last_words(&self) -> String {
        let Log::File(path) = &self.log else {
            return String::new();
        };
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let shown = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n  ");
        if shown.is_empty() {
            shown
        } else {
            format!("; its log ends in\n  {shown}")
        }
    }

    /// What the child is, for people.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// The process id, until the end of the process was seen.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// `kill -9`, and gone.
    pub(crate) async fn kill(&mut self) {
        if let Err(error) = self.child.kill().await {
            tracing::warn!("cannot kill the {}: {error}", self.what);
        }
    }

    /// Asks the child to finish and leave.
    pub(crate) fn terminate(&self) {
        let id = self
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        // Without an id it has ended already, and is not reaped, so the id is no other's.
        if let Some(id) = id
            && let Err(error) = kill_process(id, Signal::TERM)
        {
            tracing::warn!("cannot ask the {} to leave: {error}", self.what);
        }
    }

    /// Waits for the child's end.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }
}

/// Bytes of all files in a directory.
pub(crate) fn directory_bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => directory_bytes(&entry.path()),
            Ok(found) => found.len(),
            // It was removed in the meantime.
            Err(_) => 0,
        })
        .sum()
}
