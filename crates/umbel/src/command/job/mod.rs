//! `umbel job`: submitted work.

mod capsule;
mod end;
mod logs;
mod read;
mod redrive;
mod results;
mod submit;
mod watch;

use crate::exit::Exit;
use crate::global::Global;

/// The arguments of `job`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  umbel job submit umbel.sleep --range 0..100
  umbel job watch last
  umbel job results last --state failed")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Submit a job and print its id
    Submit(Box<submit::Args>),
    /// Show where a job stands
    Get(read::GetArgs),
    /// Follow a job to its end
    Watch(watch::Args),
    /// Print a job's results
    Results(results::Args),
    /// Print what invocations printed
    Logs(logs::Args),
    /// Save an ended invocation, to run it again with `umbel replay`
    Capsule(capsule::Args),
    /// End a running job; what is not final becomes cancelled
    Cancel(end::CancelArgs),
    /// Run again what of a failed or cancelled job failed or was not run
    Redrive(redrive::Args),
    /// Forget an ended job with its inputs and results
    Delete(end::DeleteArgs),
    /// List jobs, newest first
    List(read::ListArgs),
    /// Say why a job's invocations wait
    Explain(read::ExplainArgs),
}

/// Carries the verb out.
pub(crate) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    match args.verb {
        Verb::Submit(args) => submit::run(*args, global).await,
        Verb::Get(args) => read::get(args, global).await,
        Verb::Watch(args) => watch::run(args, global).await,
        Verb::Results(args) => results::run(args, global).await,
        Verb::Logs(args) => logs::run(args, global).await,
        Verb::Capsule(args) => capsule::run(args, global).await,
        Verb::Cancel(args) => end::cancel(args, global).await,
        Verb::Redrive(args) => redrive::run(args, global).await,
        Verb::Delete(args) => end::delete(args, global).await,
        Verb::List(args) => read::list(args, global).await,
        Verb::Explain(args) => read::explain(args, global).await,
    }
}
