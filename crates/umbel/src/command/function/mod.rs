//! `umbel function`: functions, here and in the cluster.

mod list;
mod run;
mod test;

use crate::exit::Exit;
use crate::global::Global;

/// The arguments of `function`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  umbel function list
  umbel function run ./resize/ '{\"width\": 4000}'")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the functions that are known, by name
    List(list::Args),
    /// Run a function that lies here, with no coordinator
    Run(run::Args),
    /// Run the cases of a function that lies here, and compare
    Test(test::Args),
}

/// Carries the verb out.
pub(crate) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    match args.verb {
        Verb::List(list::Args {}) => list::run(global).await,
        Verb::Run(args) => Box::pin(run::run(args, global)).await,
        Verb::Test(args) => Box::pin(test::run(args, global)).await,
    }
}
