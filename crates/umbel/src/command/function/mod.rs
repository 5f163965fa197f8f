//! `umbel function`: functions, here and in the cluster.

pub(super) mod alias;
mod compare;
pub(super) mod get;
mod list;
pub(crate) mod publish;
mod run;
mod test;

use crate::exit::Exit;
use crate::global::Global;

/// The arguments of `function`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  umbel function publish resize --runtime python --handler app.handler ./resize/
  umbel function get resize
  umbel function rollback resize
  umbel function run ./resize/ '{\"width\": 4000}'")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the functions that are known, by name
    List(list::Args),
    /// Show a published function: its versions and aliases
    Get(get::Args),
    /// Publish a version of a function that lies here
    Publish(publish::Args),
    /// Point an alias at a version
    Point(alias::PointArgs),
    /// Point an alias back to where it pointed before
    Rollback(alias::RollbackArgs),
    /// Take a version, or a whole function, away from new jobs
    Delete(alias::DeleteArgs),
    /// Give the recorded inputs of a job to two functions and show what differs
    Compare(compare::Args),
    /// Run a function that lies here, with no coordinator
    Run(run::Args),
    /// Run the cases of a function that lies here, and compare
    Test(test::Args),
}

/// Carries the verb out.
pub(crate) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    match args.verb {
        Verb::List(list::Args {}) => list::run(global).await,
        Verb::Get(args) => get::run(args, global).await,
        Verb::Publish(args) => Box::pin(publish::run(args, global)).await,
        Verb::Point(args) => alias::point(args, global).await,
        Verb::Rollback(args) => alias::rollback(args, global).await,
        Verb::Delete(args) => alias::delete(args, global).await,
        Verb::Compare(args) => Box::pin(compare::run(args, global)).await,
        Verb::Run(args) => Box::pin(run::run(args, global)).await,
        Verb::Test(args) => Box::pin(test::run(args, global)).await,
    }
}

/// Who asks, as it is shown beside what was done: `user@host`.
pub(super) fn who() -> String {
    let user = ["USER", "LOGNAME"].map(std::env::var).into_iter();
    let user = user.flatten().find(|user| !user.is_empty());
    let user = user.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    let who = format!("{user}@{host}");
    let plain = who.chars().filter(|c| !c.is_control());
    plain.take(umbel_core::limit::BY_BYTES_MAX / 4).collect()
}
