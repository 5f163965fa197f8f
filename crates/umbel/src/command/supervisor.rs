//! The process under which a worker's programs run.

use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::Command;

use umbel_runtime::{install_supervisor, supervise};

use crate::exit::Exit;
use crate::signal::Signals;

/// What a worker tells its supervisors at the start.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory to remove when the worker is gone
    scratch: PathBuf,
}

/// Runs what the process at the other end of stdin asks for, and leaves nothing of it behind.
pub(crate) fn run(args: &Args) -> Result<(), Exit> {
    // A service manager tells all processes of a service to end; these are the last.
    let _unheard = Signals::listen()?;
    let socket = io::stdin().as_fd().try_clone_to_owned();
    socket
        .and_then(|socket| supervise(socket, &args.scratch))
        .map_err(|error| Exit::internal(format!("cannot supervise: {error}")))
}

/// Puts every process that this one starts for a function from now on under a supervisor.
pub(crate) fn install() -> Result<(), Exit> {
    // Not by its path, where another version may lie by then.
    let mut command = Command::new("/proc/self/exe");
    // The worker's own environment is nothing for a process that functions can look at.
    command.arg("supervisor").env_clear();
    install_supervisor(command)
        .map_err(|error| Exit::internal(format!("cannot start a supervisor: {error}")))
}
