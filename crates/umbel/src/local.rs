//! A cluster of real processes in a directory of its own, for the demo and the benches.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::exit::Exit;
use crate::process::{Log, Process};

/// A coordinator and workers that live as long as this does.
#[derive(Debug)]
pub(crate) struct LocalCluster {
    /// Where the coordinator listens.
    pub(crate) url: String,
    /// The coordinator.
    pub(crate) coordinator: Process,
    /// The workers, in the order in which they were started.
    pub(crate) workers: Vec<Process>,
    directory: TempDir,
}

impl LocalCluster {
    /// Starts a coordinator on a free port, with its data in a new directory.
    pub(crate) async fn start() -> Result<Self, Exit> {
        let directory = tempfile::Builder::new()
            .prefix("umbel-")
            .tempdir()
            .map_err(|error| {
                Exit::internal(format!("cannot make a temporary directory: {error}"))
            })?;
        let (coordinator, url) = start_coordinator(directory.path()).await?;
        Ok(Self {
            url,
            coordinator,
            workers: Vec::new(),
            directory,
        })
    }

    /// Starts the coordinator again on its data, on another port, and waits until it is ready. It
    /// has to be gone, and workers of before do not find it.
    pub(crate) async fn restart_coordinator(&mut self) -> Result<(), Exit> {
        (self.coordinator, self.url) = start_coordinator(self.directory.path()).await?;
        Ok(())
    }

    /// Ends the coordinator in good order, so that its data can be looked at.
    pub(crate) async fn close_coordinator(&mut self) -> Result<(), Exit> {
        self.coordinator.terminate();
        let ended = self.coordinator.wait().await;
        ended.map_or_else(
            |error| Err(Exit::internal(format!("the coordinator: {error}"))),
            |_| Ok(()),
        )
    }

    /// Starts a worker by a command such as `worker start`, and waits until it has joined.
    pub(crate) async fn add_worker(&mut self, command: &[&str]) -> Result<(), Exit> {
        let name = format!("worker-{}", self.workers.len() + 1);
        let arguments = [command, &["--coordinator", &self.url, "--name", &name]].concat();
        let log = Log::File(self.directory.path().join(format!("{name}.log")));
        let mut worker = Process::start(name.clone(), arguments, log)?;
        worker.ready().await?;
        self.workers.push(worker);
        Ok(())
    }

    /// Where data and logs lie.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The coordinator's data.
    pub(crate) fn data(&self) -> PathBuf {
        data_in(self.directory.path())
    }

    /// Ends every process, then removes the directory, or keeps it and tells its path.
    pub(crate) async fn stop(mut self, keep: bool) -> Result<Option<PathBuf>, Exit> {
        for worker in &mut self.workers {
            worker.kill().await;
        }
        // The workers are killed first and the directory removed last, since nobody may write
        // into it any more. The data of a directory that is kept is closed in good order.
        if keep {
            self.coordinator.terminate();
            drop(self.coordinator.wait().await);
            return Ok(Some(self.directory.keep()));
        }
        self.coordinator.kill().await;
        let path = self.directory.path().to_owned();
        self.directory.close().map_err(|error| {
            Exit::internal(format!("cannot remove {}: {error}", path.display()))
        })?;
        Ok(None)
    }
}

async fn start_coordinator(directory: &Path) -> Result<(Process, String), Exit> {
    let mut arguments: Vec<OsString> =
        ["coordinator", "start", "--listen", "127.0.0.1:0", "--data"]
            .map(OsString::from)
            .into();
    arguments.push(data_in(directory).into());
    let log = Log::File(directory.join("coordinator.log"));
    let mut coordinator = Process::start("coordinator", arguments, log)?;
    let line = coordinator.ready().await?;
    let url = line.rsplit(' ').next().unwrap_or_default().to_owned();
    Ok((coordinator, url))
}

fn data_in(directory: &Path) -> PathBuf {
    directory.join("data")
}
