//! `umbel coordinator start`.

use umbel_coordinator::{Coordinator, Error, Running};

use crate::config::{self, CoordinatorFlags};
use crate::exit::Exit;
use crate::global::Global;
use crate::log;
use crate::output;
use crate::signal::{self, Signals};

/// What the command takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints one line on stdout when it is ready; the log goes to stderr. SIGTERM and Ctrl-C drain, a
second one leaves at once. Options can also be set in a file (--config), and in the environment:
--cache-bytes as UMBEL_CACHE_BYTES.

Example:
  umbel coordinator start --data /var/lib/umbel --listen 127.0.0.1:7600")]
pub(crate) struct Args {
    #[command(flatten)]
    flags: CoordinatorFlags,
    /// The process to end with
    #[arg(long, hide = true)]
    die_with: Option<i32>,
}

/// Runs a coordinator until it is told to leave.
pub(crate) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    signal::die_with(args.die_with)?;
    let mut signals = Signals::listen()?;
    let mut running = start(args.flags, global).await?;
    output::line(&ready_line(&running))?;
    tokio::select! {
        () = signals.next() => {}
        // It has ended by itself: nothing is left to drain.
        error = running.wait() => return Err(exit(&error)),
    }
    signals
        .unless_again(running.drain())
        .await?
        .map_err(|error| exit(&error))
}

/// Reads the configuration, starts the log and the coordinator.
pub(super) async fn start(flags: CoordinatorFlags, global: &Global) -> Result<Running, Exit> {
    let config = config::Coordinator::read(flags, global)?;
    log::start(&config.log, Some(config.log_format))?;
    Coordinator::start(config.settings()?)
        .await
        .map_err(|error| exit(&error))
}

/// Where clients and workers find it.
pub(super) fn url(running: &Running) -> String {
    format!("http://{}", running.addr())
}

/// What is printed once it serves.
pub(super) fn ready_line(running: &Running) -> String {
    format!("umbel ready on {}", url(running))
}

/// How the process ends for an error of the coordinator.
pub(super) fn exit(error: &Error) -> Exit {
    match error {
        Error::NotLoopback { .. } => Exit::usage(error.to_string()),
        _ => Exit::internal(error.to_string()),
    }
}
