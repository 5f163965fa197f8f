//! The process that ends what a worker leaves behind, however that ended.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use umbel_runtime::{ReaperProcess, install_reaper, reap};

use crate::exit::Exit;
use crate::signal::Signals;

/// What a worker tells its reaper at the start.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What the marks of the worker's processes begin with
    mark: String,
    /// The directory to remove at the end
    scratch: PathBuf,
}

/// Waits for the end of the process at the other end of stdin, and cleans up after it.
pub(crate) fn run(args: &Args) -> Result<(), Exit> {
    // A service manager tells all processes of a service to end; this one is the last.
    let _unheard = Signals::listen()?;
    reap(io::stdin().lock(), &args.mark, &args.scratch).map_err(|error| {
        Exit::internal(format!("cannot remove {}: {error}", args.scratch.display()))
    })
}

/// Starts a reaper for this process and everything that it starts from now on.
pub(crate) fn install() -> Result<(), Exit> {
    let cannot = |error: io::Error| Exit::internal(format!("cannot start a reaper: {error}"));
    let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
    command.arg("reaper");
    let reaper = ReaperProcess::start(command).map_err(cannot)?;
    install_reaper(Box::new(reaper)).map_err(|_| Exit::internal("there is a reaper already"))
}
