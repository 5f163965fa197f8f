//! `umbel experiment`: the arms of a split held against each other.

mod report;
mod table;

use crate::exit::Exit;
use crate::global::Global;

/// The arguments of `experiment`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Any split with two or more arms is an experiment; there is nothing to start.

Examples:
  umbel route set resize@live --split 7=90%,8=10%
  umbel experiment report resize@live")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show the arms side by side, and what can be said of their differences
    Report(report::Args),
}

/// Carries the verb out.
pub(crate) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    match args.verb {
        Verb::Report(args) => report::run(args, global).await,
    }
}
