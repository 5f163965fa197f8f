//! `umbel bench`: what umbel does on this machine, with real processes and verified results.

mod fanout;
mod invoke;
mod report;
mod usage;

use crate::exit::Exit;
use crate::global::Global;

/// What can be measured.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Fan no-op invocations out, durably, and verify each result
    Fanout(fanout::Args),
    /// Invoke a function on a warm worker, one invocation after another
    Invoke(invoke::Args),
}

/// Measures.
pub(crate) async fn run(command: Command, global: &Global) -> Result<(), Exit> {
    match command {
        Command::Fanout(args) => fanout::run(args, global).await,
        Command::Invoke(args) => invoke::run(args, global).await,
    }
}
